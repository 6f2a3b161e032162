#!/usr/bin/env bash
# A job that is stopped time and again (a signal as before its time limit, twice; scontrol requeue; a job that goes before it; a
# node that is lost) saves each time, is queued again, goes on from there, and ends with the weights of an uninterrupted run.
# Usage: requeue.sh FMTRAIN SOURCE train|train_mpirun
set -euo pipefail
fmtrain=$1 source=$2 script=$3
source "$source/tests/slurm/cluster.sh"
count=400

timeout -k 5 280 "$fmtrain" $(training alone $count) > output-alone 2>&1 &
alone=$!
submit --nodes=2 "$slurm/$script.sbatch" $(training run $count --set report.progress=plain)
restarts=0 at=0
stopped() {  # HOW: the job was stopped after it had gone on from the last save
  local step
  requeued $((++restarts))
  [[ $(recorded run code) == 75 ]] || fail "$1: exit.json says $(recorded run code)"
  step=$(recorded run step)
  ((step > at)) || fail "$1: stopped at step $step, no further than before"
  echo "$1: saved at step $step"
  at=$step
  rm "$work/run/exit.json"
}
signal() { if [[ $script == train ]]; then scancel --signal=USR1 "$job"; else scancel --batch --signal=USR1 "$job"; fi; }

runs_until run 20; signal; stopped "signal"
grep -q "^stopped    at step $at, which is saved" "output-fmtrain-$job" || fail "the log does not say that step $at is saved"
grep -q "^ended with 75: asks Slurm to queue job $job again" "output-fmtrain-$job" || fail "the log does not say what comes"
runs_until run $((at + 20)); signal; stopped "signal"
if [[ $script == train ]]; then
  runs_until run $((at + 20)); scontrol requeue "$job"; stopped "scontrol requeue"
  runs_until run $((at + 20))
  sbatch --quiet --partition=urgent --nodes=2 --exclusive --output=/dev/null --wrap "sleep 1"; stopped "preempted"
  runs_until run $((at + 20)); scontrol update nodename=n2 state=down reason=test
  wait_for 90 '[[ $(of_job JobState) == PENDING && $(of_job Restarts) == 5 ]]' "no restart after a node was lost"
  # Slurm does not wait for a lost node. What n2 says later of the old start would be taken for the new one's, which loses the
  # node by it; elsewhere the two minutes before a new start are there for that. So n2 comes back as after a crash.
  wait_for 90 '! compgen -G "$work/cluster/n2/*_$job.0" > /dev/null' "the step of the lost node lives"
  restart_node n2
  stopped "node lost"
fi
ended_as COMPLETED 0
wait $alone || fail "alone: exit $?"
[[ $(recorded run code) == 0 && $(recorded run step) == "$count" ]] || fail "not complete"
[[ $(weights run) == "$(weights alone)" ]] || fail "other weights than those of the uninterrupted run"
[[ $(steps run) == "$count" ]] || fail "log.jsonl has $(steps run) lines"
cmp <(grep -o '"loss_hex":"[^"]*"' run/log.jsonl) <(grep -o '"loss_hex":"[^"]*"' alone/log.jsonl) || fail "other losses"
echo "$restarts requeues; weights and losses of the uninterrupted run"
