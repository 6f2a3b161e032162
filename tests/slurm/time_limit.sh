#!/usr/bin/env bash
# Two jobs that would train on past their time limit of a minute, as train.sbatch starts them: the one that asks Slurm for a
# signal saves at the signal; the other, whose signal comes too late, ends itself in time. Both are queued again and go on.
# Usage: time_limit.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/slurm/cluster.sh"
printf -v limits '%s ' --time=1 --nodes=1 --ntasks-per-node=1

submit --job-name=late $limits --signal=USR1@0 "$slurm/train.sbatch" $(training late 100000)
late=$job
submit --job-name=signal $limits --signal=USR1@50 "$slurm/train.sbatch" $(training signal 100000)
signal=$job
saved() {  # DIRECTORY: and went on
  requeued 1
  [[ $(recorded "$1" code) == 75 ]] || fail "$1: exit.json says $(recorded "$1" code)"
  local step
  step=$(recorded "$1" step)
  runs_until "$1" $((step + 10))
  [[ $(grep -c "\"step\":$((step + 1))," "$work/$1/log.jsonl") == 1 ]] || fail "$1: did not go on from step $step"
  echo "$1: saved at step $step after $2 s of a minute, and went on"
}
begun() { wait_for 90 '[[ $(of_job JobState) == RUNNING ]]' "the job does not start" && date -d "$(of_job StartTime)" +%s; }
signal_begun=$(begun)
late_begun=$(job=$late && begun)
wait_for 90 '[[ -e $work/signal/exit.json ]]' "no end at the signal"
after=$(($(stat -c %Y "$work/signal/exit.json") - signal_begun))
((after < 48)) || fail "the signal came after $after s"
saved signal "$after"
scancel "$job"
job=$late
wait_for 90 '[[ -e $work/late/exit.json ]]' "no end in time"
after=$(($(stat -c %Y "$work/late/exit.json") - late_begun))
((after >= 48 && after < 55)) || fail "ended after $after s, not ten before the end"
saved late "$after"
if grep -q TIME "$work"/output-late*; then fail "Slurm ended it: $(grep TIME "$work"/output-late*)"; fi
