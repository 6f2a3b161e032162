#!/usr/bin/env bash
# scancel: all ranks save and are gone in bounded time, the run directory says so, and the job stays down; submitted again, it
# goes on.
# Usage: cancel.sh FMTRAIN SOURCE train|train_mpirun
set -euo pipefail
fmtrain=$1 source=$2 script=$3
source "$source/tests/slurm/cluster.sh"

submit "$slurm/$script.sbatch" $(training run 100000)
runs_until run 20
began=$(date +%s%N)
scancel "$job"
wait_for 15 '[[ $(of_job JobState) == CANCELLED && -z $(pgrep -f "run.dir=$work/run") ]]' "ranks or the job live"
took=$((($(date +%s%N) - began) / 1000000))
[[ $(recorded run code) == 75 ]] || fail "exit.json says $(recorded run code)"
step=$(recorded run step)
"$fmtrain" checkpoint verify "$work/run/checkpoints/step-$step" > output-verify || fail "the state of step $step is not saved"
sleep 3
[[ $(of_job JobState) == CANCELLED && $(of_job Restarts) == 0 ]] || fail "the job is $(of_job JobState) again"
echo "$script: saved at step $step and gone after $took ms"

submit "$slurm/$script.sbatch" $(training run 100000)
runs_until run $((step + 20))
grep -q "\"step\":$((step + 1))," run/log.jsonl || fail "did not go on from step $step"
