#!/usr/bin/env bash
# A run whose validation figure stops getting better ends at the step that evaluate.early_stop.patience says, on any number of ranks, also
# when it is stopped after its first bad evaluation and continued on another number. Usage: early_stop.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

# Evaluations every 2 steps of a model that a rate of 1e-12 leaves where it is, and gains below 0.5 do not count: step 2 is the
# best because it is the first, 4 and 6 are bad, and patience 2 ends the run at 6 of 13 steps.
run() {  # RANKS DIRECTORY ARGUMENTS...
  local ranks=$1 dir=$2
  shift 2
  timeout -k 5 60 mpirun -np "$ranks" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$dir" --set report.progress=off \
    --set optimizer.lr=1e-12 --set data.test=null --set report.bootstrap=0 --set evaluate.every=2 --set evaluate.metric=loss \
    --set evaluate.early_stop.patience=2 --set evaluate.early_stop.min_delta=0.5 --set checkpoint.every=2 --set checkpoint.keep=100 "$@"
}
facts() {  # steps of the log, the evaluations without their seconds, and the final weights
  python3 - "$work/$1" <<'P'
import json, sys
def lines(name): return [json.loads(line) for line in open(f"{sys.argv[1]}/{name}")]
def timeless(x): return {k: timeless(v) for k, v in x.items() if k != "time" and "second" not in k and "per_s" not in k} if isinstance(x, dict) else x
print([r["step"] for r in lines("log.jsonl")], [timeless(r) for r in lines("eval.jsonl")], json.load(open(f"{sys.argv[1]}/report.json"))["weights_sha256"])
P
}
last_step() { python3 -c 'import json,sys; print([json.loads(line)["step"] for line in open(sys.argv[1])][-1])' "$work/$1/log.jsonl"; }
require() { if [[ $1 != "$2" ]]; then printf '%s:\n%s\n%s\n' "$3" "$1" "$2"; exit 1; fi; }

run 2 whole
require "$(last_step whole)" 6 "last step of the whole run"

# What a kill between steps 4 and 6 leaves: the checkpoint of step 4, one bad evaluation counted, no report.
run 1 resumed
rm -r "$work/resumed/checkpoints/step-"*6 "$work/resumed/report.json"
run 4 resumed
require "$(facts resumed)" "$(facts whole)" "resumed and whole run"

# The comparison can fail: without patience the run goes on to its end.
run 2 endless --set evaluate.early_stop.patience=null
require "$(last_step endless)" 13 "last step without patience"
