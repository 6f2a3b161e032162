#!/usr/bin/env bash
# A rank that is killed ends the job: non-zero within 10 s, the rank and host are named, no process stays, and the same command
# goes on afterwards to the bits of a run that nobody disturbed. A rank that is asked to stop ends all with 75.
# Usage: kill.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
work=$(mktemp -d)
trap 'pkill -9 -f "run.dir=$work/" || true; rm -rf $work' EXIT
export FMTRAIN_HOME=$work/home
source "$source/tests/fault/ranks.sh"
ranks=4

run() {  # DIRECTORY ARGUMENTS...
  local dir=$1
  shift
  timeout -k 5 120 mpirun -np $ranks "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$dir" --set report.progress=off \
    --set report.bootstrap=0 --set data.validation=null --set data.test=null --set schedule.steps=400 --set checkpoint.every=20 "$@"
}
fail() { echo "kill.sh: $*"; cat "$work/output" 2> /dev/null || true; exit 1; }
now() { date +%s%N; }

pid_of() {  # DIRECTORY RANK
  local pid
  for pid in $(pgrep -f "run.dir=$work/$1 "); do
    if tr '\0' '\n' 2> /dev/null < "/proc/$pid/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$2"; then echo "$pid"; return; fi
  done
  fail "no process of rank $2"
}
wait_for_steps() {  # DIRECTORY LINES
  local i
  for ((i = 0; i < 600; ++i)); do
    if [[ -f $work/$1/log.jsonl && $(wc -l < "$work/$1/log.jsonl") -ge $2 ]]; then return; fi
    sleep 0.05
  done
  fail "no $2 steps after 30 s"
}
weights() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["weights_sha256"])' "$work/$1/report.json"; }

disturb() {  # DIRECTORY STEPS RANK SIGNAL: sets code and seconds
  run "$1" > "$work/output" 2>&1 &
  local job=$! start
  wait_for_steps "$1" "$2"
  start=$(now)
  kill "-$4" "$(pid_of "$1" "$3")"
  code=0
  wait $job || code=$?
  seconds=$((($(now) - start) / 1000000000))
}

run undisturbed
for rank in 0 1 3; do
  disturb killed $((30 + 60 * rank)) $rank KILL
  ((code != 0)) || fail "exit 0 after rank $rank was killed"
  ((seconds <= 10)) || fail "the job ended $seconds s after rank $rank was killed"
  grep -qE "rank $rank( |:|\)|\$).*" "$work/output" || fail "rank $rank is not named"
  sleep 1
  if pgrep -f "run.dir=$work/killed " > /dev/null; then fail "a process of the job lives on"; fi
  echo "rank $rank killed: exit $code after $seconds s"
done
run killed
[[ $(weights undisturbed) == "$(weights killed)" ]] || fail "other weights after three kills"

disturb stopped 50 2 USR1
((code == 75)) || fail "exit $code, not 75, after SIGUSR1 to one rank"
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["code"] == 75' "$work/stopped/exit.json" || fail "exit.json does not say 75"
run stopped
[[ $(weights undisturbed) == "$(weights stopped)" ]] || fail "other weights after a stop"
echo "equal weights after kills and after a stop"

# However long an epoch is, a checkpoint is never older than checkpoint.seconds.
run clock --set checkpoint.every=1000000 --set checkpoint.seconds=1 --set schedule.steps=2000 > "$work/output" 2>&1 || fail "the run with a clock failed"
(($(ls "$work/clock/checkpoints" | grep -c '^step-') > 1)) || fail "no checkpoint by the clock"
echo "checkpoints by the clock: $(ls "$work/clock/checkpoints" | grep '^step-' | tr '\n' ' ')"
