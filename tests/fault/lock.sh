#!/usr/bin/env bash
# One run directory, one run: a second starter ends with 9, names the owner and disturbs nothing; after a kill the next start goes
# on at once; an owner that slept through a takeover ends with 9 and publishes nothing; prune keeps off a run that is running; with
# several ranks all that start second end with 9; nor does one that fails before it comes to the lock leave a record.
# Usage: lock.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

run() {  # DIRECTORY STEPS: as the process itself, so that $! is its id
  exec timeout -k 5 120 "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$1" --set report.progress=off --set report.bootstrap=0 \
    --set data.validation=null --set data.test=null --set "schedule.steps=$2" --set checkpoint.every=20
}
pid_of() { pgrep -f "^$fmtrain .*run.dir=$work/$1 "; }
newest() { { ls "$work/$1/checkpoints" 2> /dev/null || true; } | sed -n 's/^step-//p' | sort -n | tail -n 1; }
start() {  # DIRECTORY: sets job, waits for a checkpoint that is newer than the newest now
  local before i
  before=$(newest "$1")
  run "$1" 100000 > "$work/output" 2>&1 &
  job=$!
  for ((i = 0; i < 1200; ++i)); do
    if [[ $(newest "$1") != "$before" ]]; then return; fi
    sleep 0.05
  done
  fail "no checkpoint after a minute"
}
code_of() { local code=0; ("$@") || code=$?; echo "$code"; }

start shared
begun=$(date +%s%N)
code=$(code_of run shared 100000 2> "$work/output2")
took=$((($(date +%s%N) - begun) / 1000000))
[[ $code == 9 ]] || fail "the second starter ended with $code"
grep -q "$(pid_of shared)" "$work/output2" || fail "the owner's process is not named"
[[ ! -e $work/shared/exit.json && ! -e $work/shared/failure.json ]] || fail "the second starter left a record in another's directory"
[[ $(code_of "$fmtrain" checkpoint prune "$work/shared" --keep 1 2> "$work/output2") == 9 ]] || fail "prune in a directory that is in use"
echo "second starter: exit 9 after $took ms"

kill -KILL "$(pid_of shared)"
wait "$job" 2> /dev/null || true
start shared
echo "after a kill: goes on at once"

sleeper=$(pid_of shared) sleeping=$job
kill -STOP "$sleeper"
touch -d "10 minutes ago" "$work/shared/lock.json"
start shared
kill -USR1 "$(pid_of shared | grep -vx "$sleeper")"
code=0
wait "$job" || code=$?
[[ $code == 75 ]] || fail "the new owner ended with $code"
manifests=$(sha256sum "$work"/shared/checkpoints/step-*/manifest.json)
kill -CONT "$sleeper"
code=0
wait "$sleeping" || code=$?
[[ $code == 9 ]] || fail "the old owner ended with $code"
[[ $(sha256sum "$work"/shared/checkpoints/step-*/manifest.json) == "$manifests" ]] || fail "the old owner changed a checkpoint"
"$fmtrain" checkpoint verify "$work/shared" > "$work/output2" || fail "a checkpoint is damaged"
echo "taken over: the old owner ends with 9 and changes nothing"

pair() {  # STEPS ARGUMENTS...
  local steps=$1
  shift
  timeout -k 5 240 mpirun -np 2 "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/pair" --set report.progress=off \
    --set report.bootstrap=0 --set data.validation=null --set data.test=null --set "schedule.steps=$steps" --set checkpoint.every=20 "$@"
}
nothing_left() {
  kill -0 "$job" 2> /dev/null || fail "the first run had ended before"
  local left
  left=$(cd "$work/pair" && ls -d exit.json* failure.* 2> /dev/null || true)
  [[ -z $left ]] || fail "the second starter on two ranks left $left"
}
pair 3000 > "$work/output" 2>&1 &
job=$!
for ((i = 0; i < 1200; ++i)); do
  [[ -z $(newest pair) ]] || break
  sleep 0.05
done
for attempt in 1 2 3; do
  code=$(code_of pair 2000 2> "$work/output2")
  [[ $code == 9 ]] || fail "the second starter on two ranks ended with $code"
  owner=$(sed -n 's/.*in use by process \([0-9]*\) .*/\1/p' "$work/output2")
  pid_of pair | grep -qx "$owner" || fail "the owner of a run on two ranks is not named"
  nothing_left
done
code=$(CUDA_VISIBLE_DEVICES='' code_of pair 2000 --set engine.device=cuda 2> "$work/output2")
[[ $code == 2 ]] || fail "a starter without a GPU ended with $code"
nothing_left
code=0
wait "$job" || code=$?
[[ $code == 0 ]] || fail "the first run on two ranks ended with $code"
grep -q '"code": 0' "$work/pair/exit.json" || fail "the record of the first run on two ranks is not its own"
[[ ! -e $work/pair/failure.json && ! -e $work/pair/failure.txt ]] || fail "a second starter says that the first run broke"
echo "two ranks: all of the second starter end with 9, the first goes on"
