#!/usr/bin/env bash
# A save behind the next updates holds the state of its own step, also where those come long before the state is copied: with a large
# table of words and a save after every update, the checkpoints of two ranks are those of a rank that waits for its saves.
# Usage: async_saves.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

cp -r "$source/configs/tiny_model" "$work/model"
sed -i 's/"vocab_size": 600/"vocab_size": 400000/' "$work/model/config.json"  # 154 MB of state
run() {  # RANKS DIRECTORY ASYNC
  timeout -k 5 120 mpirun -np "$1" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$2" --set "model.path=$work/model" \
    --set "checkpoint.async=$3" --set checkpoint.every=1 --set checkpoint.keep=4 --set schedule.steps=4 --set data.validation=null \
    --set data.test=null --set report.progress=off > "$work/output-$2" 2>&1 || fail "$2: exit $?"
}
run 1 waits false
run 2 goes_on true
for step in 1 2 3 4; do
  "$fmtrain" checkpoint diff "$work/waits/checkpoints/step-$step" "$work/goes_on/checkpoints/step-$step" || fail "other checkpoints of step $step"
done
