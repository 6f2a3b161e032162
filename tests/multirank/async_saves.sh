#!/usr/bin/env bash
# A save behind the next updates holds the state of its own step, also where those come long before the state is copied: with a large
# table of words the checkpoints of two ranks are those of a rank that waits for its saves. One of them lies before an update in which
# only one rank has samples.
# Usage: async_saves.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

cp -r "$source/configs/tiny_model" "$work/model"
sed -i 's/"vocab_size": 600/"vocab_size": 400000/' "$work/model/config.json"  # 154 MB of state
grep -q 400000 "$work/model/config.json" || fail "the model is not larger"
run() {  # RANKS DIRECTORY ASYNC ARGUMENTS...
  timeout -k 5 120 mpirun -np "$1" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$2" --set "model.path=$work/model" \
    --set "checkpoint.async=$3" --set checkpoint.every=4 --set checkpoint.keep=4 --set data.validation=null --set data.test=null \
    --set report.progress=off "${@:4}" > "$work/output-$2" 2>&1 || fail "$2: exit $?"
}
run 1 waits false
for stage in 0 1 2; do
  run 2 "stage$stage" true --set "engine.zero=$stage"
  for step in 4 8 12 13; do
    "$fmtrain" checkpoint diff "$work/waits/checkpoints/step-$step" "$work/stage$stage/checkpoints/step-$step" ||
      fail "stage $stage: other checkpoint of step $step"
  done
  rm -r "$work/stage$stage"
done
