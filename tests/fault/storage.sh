#!/usr/bin/env bash
# A save that fails at the end of a run, or when the run was asked to stop, is in the exit code (5), with one line that says what is
# there and what is not. Usage: storage.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

broken() {  # DIRECTORY STEPS: starts a run and takes its folder for checkpoints away; sets job
  local i
  "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$1" --set report.progress=off --set report.bootstrap=0 \
    --set data.validation=null --set data.test=null --set "schedule.steps=$2" --set checkpoint.every=1000000 > "$work/output" 2>&1 &
  job=$!
  for ((i = 0; i < 1200; ++i)); do
    if [[ -f $work/$1/log.jsonl && $(wc -l < "$work/$1/log.jsonl") -ge 20 ]]; then break; fi
    sleep 0.05
  done
  rm -rf "$work/$1/checkpoints"
  touch "$work/$1/checkpoints"
}
ends_with_5() {  # TEXT
  local code=0
  wait "$job" || code=$?
  [[ $code == 5 ]] || fail "exit $code, not 5"
  grep -q "fmtrain: .*$1" "$work/output" || fail "the message lacks: $1"
}

broken finished 500
ends_with_5 "the model and the report are complete, but the last checkpoint is not: $work/finished/checkpoints"
[[ -f $work/finished/report.json && -f $work/finished/model/model.safetensors ]] || fail "no result beside the failed save"
broken stopped 100000
kill -USR1 "$job"
ends_with_5 "asked to stop, but the state could not be saved: $work/stopped/checkpoints"
echo "failed saves at the end and at a stop: exit 5, said in one line"
