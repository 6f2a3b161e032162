#!/usr/bin/env bash
# Prepared data that is damaged, cut short or replaced while a run uses it: that run never trains on it and ends with the bits of a
# run that nobody disturbed; the next start ends with 3 and names the file, the chunk, or the difference.
# Usage: data.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

run() {  # DIRECTORY DATA
  exec timeout -k 5 60 "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$1" --set "data.train=$2" --set report.progress=off \
    --set report.bootstrap=0 --set data.validation=null --set data.test=null --set schedule.steps=100
}
prepare() { "$fmtrain" prepare --model "$source/configs/tiny_model" "$1" -o "$2" > "$work/output" 2>&1 || fail "prepare"; }
weights() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["weights_sha256"])' "$work/$1/report.json"; }
damage() {  # KIND FILE
  case $1 in
    flip) python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(20000); b = f.read(1)[0]; f.seek(20000); f.write(bytes([b ^ 1]))' "$2" ;;
    cut) truncate -s -1000 "$2" ;;
    replace) cp "$work/other.h5" "$work/new.h5" && mv "$work/new.h5" "$2" ;;
  esac
}

for name in sound other; do  # the first 200 texts, which are trained on, are the same
  head -n $([[ $name == sound ]] && echo 9000 || echo 6000) "$source/data/wnut17/train.conll" > "$work/$name.conll"
  prepare "$work/$name.conll" "$work/$name.h5"
done
(run undisturbed "$work/sound.h5") > "$work/output" 2>&1 || fail "the undisturbed run"
declare -A says=([flip]='data set tokens: is damaged \(checksum\) in the chunk of elements [0-9]+ to [0-9]+' [cut]='is .*damaged'
  [replace]='another run: .*data: "[0-9a-f]{64}" then, "[0-9a-f]{64}" now')
for kind in flip cut replace; do
  data=$work/$kind.h5
  cp "$work/sound.h5" "$data"
  run $kind "$data" > "$work/output" 2>&1 &
  job=$!
  for ((i = 0; i < 1000; ++i)); do
    if [[ -s $work/$kind/log.jsonl ]]; then break; fi
    sleep 0.02
  done
  kill -0 $job 2> /dev/null || fail "$kind: the run ended before its data were damaged"
  damage $kind "$data"
  wait $job || fail "$kind: the run ended with $?"
  [[ $(weights $kind) == $(weights undisturbed) ]] || fail "$kind: other weights"
  code=0
  (run $kind "$data") > "$work/output" 2>&1 || code=$?
  [[ $code == 3 ]] || fail "$kind: exit $code, not 3, at the next start"
  grep -qE "^fmtrain: $work/$kind.*${says[$kind]}" "$work/output" || fail "$kind: the message lacks: ${says[$kind]}"
  echo "$kind: not trained on; then exit 3: $(grep -oE "${says[$kind]}" "$work/output")"
done
