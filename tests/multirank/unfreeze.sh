#!/usr/bin/env bash
# Gradual unfreezing in whole runs: saved at a boundary and inside a phase, resumed with other ranks and another stage, the bits are
# those of a run that nobody stopped; check shows the schedule. Usage: unfreeze.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

options=(--set report.progress=plain --set data.test=null --set data.validation=null --set report.bootstrap=0 --set schedule.steps=10
  --set finetune.unfreeze_every=3 --set checkpoint.every=2 --set checkpoint.keep=100 --set finetune.l2_start=1 --set optimizer.ema=0.8)
run() {  # RANKS ZERO DIRECTORY
  timeout -k 5 60 mpirun -np "$1" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$3" --set "engine.zero=$2" "${options[@]}" > "$work/output" 2>&1 ||
    { cat "$work/output"; exit 1; }
}
results() {
  python3 - "$work/$1" <<'P'
import json, sys
print([(r["step"], r["loss_hex"], r["grad_norm"]) for r in map(json.loads, open(f"{sys.argv[1]}/log.jsonl"))],
      json.load(open(f"{sys.argv[1]}/report.json"))["weights_sha256"])
P
}

schedule="head, from step 3 layer 1, from step 6 layer 0, from step 9 embeddings"
run 2 1 whole
grep -q "$schedule" "$work/output" || fail "the run does not say what it trains"
"$fmtrain" check "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/none" "${options[@]}" > "$work/output"
grep -q "^trained  *$schedule$" "$work/output" || fail "check does not show the schedule"

# What a kill after step 6 (a boundary) and after step 8 leaves.
run 1 0 resumed
rm -r "$work/resumed/checkpoints/step-8" "$work/resumed/checkpoints/step-10" "$work/resumed/report.json"
run 4 3 resumed
[[ $(results resumed) == "$(results whole)" ]] || fail "stopped at a boundary: other bits"
rm -r "$work/resumed/checkpoints/step-10" "$work/resumed/report.json"
run 2 2 resumed
[[ $(results resumed) == "$(results whole)" ]] || fail "stopped inside a phase: other bits"

# Of two checkpoints of one phase the frozen layers are equal, and the others are not.
"$fmtrain" checkpoint diff "$work/whole/checkpoints/step-2" "$work/whole/checkpoints/step-4" > "$work/diff" || true
grep -q "^param/bert.encoder.layer.1.output.dense.weight: " "$work/diff" || fail "layer 1 did not move"
grep -q "^param/bert.encoder.layer.0\|^param/bert.embeddings" "$work/diff" && fail "a frozen layer moved"
echo "equal bits: whole, stopped at a boundary, stopped inside a phase"
