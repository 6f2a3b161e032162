#!/usr/bin/env bash
# With evaluate.weights: ema the model of a run is the average that its checkpoints hold, and the training is that of a run that
# evaluates the trained weights; the same after a resume on another number of ranks and stage. Usage: average.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

run() {  # RANKS ZERO DIRECTORY ARGUMENTS...
  local ranks=$1 zero=$2 dir=$3
  shift 3
  timeout -k 5 60 mpirun -np "$ranks" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$dir" --set "engine.zero=$zero" \
    --set report.progress=off --set data.test=null --set report.bootstrap=0 --set schedule.steps=8 --set evaluate.every=4 \
    --set evaluate.metric=loss --set checkpoint.every=4 --set checkpoint.keep=100 --set optimizer.ema=0.8 "$@"
}
averaged=(--set evaluate.weights=ema)
results() {  # losses of all steps, evaluations without their seconds, weights
  python3 - "$work/$1" <<'P'
import json, sys
def lines(name): return [json.loads(line) for line in open(f"{sys.argv[1]}/{name}")]
print([(r["step"], r["loss_hex"], r["grad_norm"]) for r in lines("log.jsonl")], [(r["step"], r["loss"]) for r in lines("eval.jsonl")],
      json.load(open(f"{sys.argv[1]}/report.json"))["weights_sha256"])
P
}

run 2 2 averaged "${averaged[@]}"
run 2 1 trained
"$fmtrain" checkpoint diff "$work/averaged/checkpoints/step-8" "$work/trained/checkpoints/step-8" > "$work/diff" || true  # the configs differ
grep -q "evaluate.weights=ema" "$work/diff" || fail "no difference in the config"
[[ $(tail -n 1 "$work/diff") =~ ^([0-9]+)" of "([0-9]+)" common tensors are equal"$ && ${BASH_REMATCH[1]} -eq ${BASH_REMATCH[2]} ]] ||
  fail "the evaluation changed the training: $(tail -n 3 "$work/diff")"
[[ $(results averaged) != "$(results trained)" ]] || fail "the average is the trained model"

# Loss falls at this rate, so that the last model is the best.
"$fmtrain" checkpoint export "$work/averaged/checkpoints/step-8" -o "$work/average"
python3 - "$work" <<'P' || fail "the model is not the average of the last checkpoint"
import json, sys
def tensors(path):
    data = open(path, "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    return {name: data[start + t["data_offsets"][0]:start + t["data_offsets"][1]]
            for name, t in json.loads(data[8:start]).items() if name != "__metadata__"}
work = sys.argv[1]
assert json.load(open(f"{work}/averaged/model/fmtrain.json"))["lineage"]["step"] == 8
assert tensors(f"{work}/averaged/model/model.safetensors") == tensors(f"{work}/average")
assert tensors(f"{work}/trained/model/model.safetensors") != tensors(f"{work}/average")
P

# What a kill between steps 4 and 8 leaves.
run 1 0 resumed "${averaged[@]}"
rm -r "$work/resumed/checkpoints/step-8" "$work/resumed/report.json"
run 4 3 resumed "${averaged[@]}"
[[ $(results resumed) == "$(results averaged)" ]] || fail "resumed and whole run differ"
echo "equal bits: averaged, trained, resumed"
