#!/usr/bin/env bash
# A job array: each line of the file is a run of its own with its own arguments; a task that is stopped goes on by itself and
# the others are not disturbed.
# Usage: sweep.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/slurm/cluster.sh"

common="--set schedule.steps=150 --set data.test=null --set data.validation=null --set report.progress=off"
for seed in 1 2 3; do echo "--set run.seed=$seed $common"; done > sweep.txt
echo "# no run" >> sweep.txt
submit --array=1-4 "$slurm/sweep.sbatch" "$source/configs/tiny_cpu.yaml" sweep.txt "$work/sweep"
array=$job
task() { job=${array}_$1; }

task 2
runs_until sweep/2 20
scancel --signal=USR1 "$job"
requeued 1
for k in 1 2 3; do
  task $k
  ended_as COMPLETED 0
  [[ $(of_job Restarts) == $((k == 2)) ]] || fail "task $k: restarted $(of_job Restarts) times"
  words="--set run.dir=$work/alone-$k $(sed -n "${k}p" sweep.txt)"
  timeout -k 5 120 "$fmtrain" "$source/configs/tiny_cpu.yaml" $words > output-alone 2>&1 || fail "alone: exit $?"
  [[ $(weights sweep/$k) == "$(weights alone-$k)" ]] || fail "task $k: other weights than without Slurm"
done
task 4
ended_as COMPLETED 0
[[ ! -e sweep/4 ]] || fail "a comment was run"
[[ $(weights alone-1) != "$(weights alone-2)" ]] || fail "two seeds give the same weights"
echo "three tasks, one stopped and continued: weights as without Slurm"
