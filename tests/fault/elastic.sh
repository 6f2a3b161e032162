#!/usr/bin/env bash
# A run that is killed again and again and goes on each time with another number of ranks and another ZeRO stage (4, 2, 8, 1, 4
# ranks) ends with the bits of a run that nobody disturbed: losses of every step and weights. FMTRAIN_FAULT_SCALE: how often.
# Usage: elastic.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
work=$(mktemp -d)
trap 'pkill -9 -f "run.dir=$work/" || true; rm -rf $work' EXIT
export FMTRAIN_HOME=$work/home
source "$source/tests/fault/ranks.sh"

run() {  # RANKS ZERO DIRECTORY
  timeout -k 5 120 mpirun -np "$1" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$3" --set "engine.zero=$2" \
    --set report.progress=off --set report.bootstrap=0 --set data.validation=null --set data.test=null --set schedule.steps=600 \
    --set checkpoint.every=7
}
fail() { echo "elastic.sh: $*"; cat "$work/output" 2> /dev/null || true; exit 1; }
newest() { { ls "$work/chain/checkpoints" 2> /dev/null || true; } | sed -n "s/^step-//p" | sort -n | tail -n 1; }
results() {
  python3 - "$work/$1" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1] + "/log.jsonl")]
assert [line["step"] for line in lines] == list(range(1, len(lines) + 1)), "a step is missing or there twice"
print(json.load(open(sys.argv[1] + "/report.json"))["weights_sha256"], [(line["loss_hex"], line["grad_norm"]) for line in lines])
P
}
killed() {  # RANKS ZERO: all ranks at once, at a random instant after the leg's first checkpoint
  local before i
  before=$(newest)
  run "$1" "$2" chain > "$work/output" 2>&1 &
  local job=$!
  for ((i = 0; i < 1200; ++i)); do
    if [[ $(newest) != "$before" ]]; then break; fi
    sleep 0.05
  done
  [[ $(newest) != "$before" ]] || fail "no checkpoint after a minute"
  sleep "0.$((RANDOM % 90 + 10))"
  pkill -9 -f "^$fmtrain .*run.dir=$work/chain " || true
  wait $job && fail "the leg ended before it was killed"
  [[ $(newest) -ge ${before:-0} ]] || fail "the newest checkpoint went back"
  echo "$1 ranks, stage $2: killed after the checkpoint of step $(newest)"
}

run 4 0 undisturbed
trials=${FMTRAIN_FAULT_SCALE:-1}
for ((trial = 0; trial < trials; ++trial)); do
  rm -rf "$work/chain"
  killed 4 1
  killed 2 3
  killed 8 2
  killed 1 0
  run 4 3 chain
  [[ $(results undisturbed) == "$(results chain)" ]] || fail "other bits than the undisturbed run"
  "$fmtrain" checkpoint verify "$work/chain" > "$work/output" 2>&1 || fail "a checkpoint is damaged"
done
echo "R11: killed and resumed on 4, 2, 8, 1, 4 ranks at stages 1, 3, 2, 0, 3: $trials trials, 0 failures; bits equal to the undisturbed run"
