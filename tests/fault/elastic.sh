#!/usr/bin/env bash
# A run that is killed again and again and goes on each time with another number of ranks and another ZeRO stage ends with the bits of a
# run that nobody disturbed: losses of every step and weights. From a leg on 3 ranks on, which add in another order, losses stay
# within 1e-5 of them for 200 steps. FMTRAIN_FAULT_SCALE: how often.
# Usage: elastic.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

run() {  # RANKS ZERO DIRECTORY
  timeout -k 5 120 mpirun -np "$1" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$3" --set "engine.zero=$2" \
    --set report.progress=off --set report.bootstrap=0 --set data.validation=null --set data.test=null --set schedule.steps=600 \
    --set checkpoint.every=7
}
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

chain() {  # RANKS:STAGE...: all legs but the last are killed
  local leg
  rm -rf "$work/chain"
  for leg in "${@:1:$#-1}"; do killed "${leg%:*}" "${leg#*:}"; done
  leg=${*: -1}
  run "${leg%:*}" "${leg#*:}" chain
  "$fmtrain" checkpoint verify "$work/chain" > "$work/output" 2>&1 || fail "a checkpoint is damaged"
}
near() {  # prints the largest relative distance of the 200 losses from the first on that is not equal
  python3 - "$work/undisturbed/log.jsonl" "$work/chain/log.jsonl" <<'P'
import json, sys
right, found = ([json.loads(line)["loss"] for line in open(path)] for path in sys.argv[1:])
first = next(i for i, (a, b) in enumerate(zip(right, found)) if a != b)
assert len(found) == len(right) and len(right) - first >= 200, (len(found), first)
most = max(abs(b / a - 1) for a, b in zip(right[first:first + 200], found[first:first + 200]))
assert most <= 1e-5, most
print(f"{most:.1e} in the 200 steps from step {first + 1}")
P
}

run 4 0 undisturbed
trials=${FMTRAIN_FAULT_SCALE:-1}
for ((trial = 0; trial < trials; ++trial)); do
  for legs in "4:1 2:3 8:2 1:0 4:3" "1:2 4:1"; do
    chain $legs
    [[ $(results undisturbed) == "$(results chain)" ]] || fail "other bits than the undisturbed run after $legs"
  done
  chain 4:1 2:0 3:2 4:3
  distance=$(near) || fail "too far from the undisturbed run after a leg on 3 ranks"
done
echo "R11: killed and resumed on 4, 2, 8, 1, 4 and on 1, 4 ranks, stages mixed: $((2 * trials)) trials, 0 failures; bits equal to the undisturbed run"
echo "R11: killed and resumed on 4, 2, 3, 4 ranks: $trials trials, 0 failures; relative distance of losses in the last at most $distance"
