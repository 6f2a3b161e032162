#!/usr/bin/env bash
# Stuck, dead and signalled ranks of 4: a stopped rank ends the job within its deadline with 8 and is named, and so is one in an
# endless loop, with its stack and the collectives of all; a job that was
# suspended as a whole goes on; ranks die with their launcher; a rank ended by any signal is named by the others; signals at random
# instants end with 75 and leave whole checkpoints.
# Usage: hang.sh FMTRAIN SOURCE LOOP_ON_SIGNAL
set -euo pipefail
fmtrain=$1 source=$2 loop=$3
work=$(mktemp -d)
trap 'kill -9 $(processes .*) 2> /dev/null || true; rm -rf $work' EXIT
export FMTRAIN_HOME=$work/home OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none \
  FMTRAIN_WAIT_LIMIT=8 FMTRAIN_STEP_LIMIT=5 FMTRAIN_WATCH_PERIOD=0.2
ranks=4 steps=100000

run() {  # DIRECTORY ARGUMENTS...: mpirun is the process itself, so that $! is its id
  local dir=$1
  shift
  exec mpirun -np $ranks -x "LD_PRELOAD=$loop" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$dir" --set report.progress=off \
    --set report.bootstrap=0 --set data.validation=null --set data.test=null --set schedule.steps=$steps --set checkpoint.every=20 "$@"
}
fail() { echo "hang.sh: $*"; cat "$work/output" "$work"/*/failure.txt 2> /dev/null || true; exit 1; }
processes() { pgrep -f "^$fmtrain .*run.dir=$work/$1 " || true; }
pid_of() {  # DIRECTORY RANK
  local pid
  for pid in $(processes "$1"); do
    if tr '\0' '\n' 2> /dev/null < "/proc/$pid/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$2"; then echo "$pid"; return; fi
  done
  return 1
}
lines() { if [[ -f $work/$1/log.jsonl ]]; then wc -l < "$work/$1/log.jsonl"; else echo 0; fi; }
wait_for_steps() {  # DIRECTORY LINES
  local i
  for ((i = 0; i < 600; ++i)); do
    if (($(lines "$1") >= $2)); then return; fi
    sleep 0.05
  done
  fail "no $2 steps after 30 s"
}
start() {  # DIRECTORY ARGUMENTS...: sets job, and waits for 20 steps
  rm -f "$work/$1/log.jsonl"
  run "$@" > "$work/output" 2>&1 &
  job=$!
  wait_for_steps "$1" 20
}
finish() {  # SECONDS: sets code
  local i
  for ((i = 0; i < $1 * 20; ++i)); do
    kill -0 "$job" 2> /dev/null || break
    sleep 0.05
  done
  ! kill -0 "$job" 2> /dev/null || fail "the job lives $1 s later"
  code=0
  wait "$job" || code=$?
}
none_left() {  # DIRECTORY SECONDS
  local i
  for ((i = 0; i < $2 * 20; ++i)); do
    if [[ -z $(processes "$1") ]]; then return; fi
    sleep 0.05
  done
  fail "processes of $1 live $2 s later"
}
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/$1" "$2"; }

for rank in 0 2; do
  start stopped$rank
  kill -STOP "$(pid_of stopped$rank $rank)"
  finish 14
  ((code != 0)) || fail "exit 0 with a stopped rank"
  [[ $(field stopped$rank/exit.json code) == 8 ]] || fail "exit.json does not say 8"
  grep -qE "(at fault|missing): rank $rank on .*stopped" "$work/stopped$rank/failure.txt" || fail "rank $rank is not named"
  none_left stopped$rank 5
  echo "rank $rank stopped: exit $code, named"
done

start looping
wait_for_steps looping 100
kill -USR2 "$(pid_of looping 2)"
finish 14
((code != 0)) || fail "exit 0 with a rank in an endless loop"
[[ $(field looping/exit.json code) == 8 ]] || fail "exit.json does not say 8"
grep -qE "at fault: rank 2 on " "$work/looping/failure.txt" || fail "rank 2 is not named"
last="^  rank [0-3] on .*, last [a-z_]+ of [0-9]+ bytes \(collective [0-9]+, (issued|running|done) for [0-9]+ s\)"
(($(grep -cE "$last" "$work/looping/failure.txt") == 4)) || fail "failure.txt lacks the last collectives of the ranks"
for rank in 0 1 2 3; do
  file=$work/looping/failure.rank-$rank.json
  [[ -f $file ]] || fail "rank $rank left no record"
  (($(stat -c %s "$file") < 60000)) || fail "$file is large"
  python3 - "$file" "$rank" << 'END' || fail "the record of rank $rank is not what it should be"
import json, sys
record, rank = json.load(open(sys.argv[1])), int(sys.argv[2])
calls, stack = record["collectives"], record["stack"]
assert record["rank"] == rank and len(record["ranks_of_host"]) == 4, record
assert len(calls) == 64 and [c["seq"] for c in calls] == list(range(calls[0]["seq"], calls[0]["seq"] + 64)), calls
assert any("endless_loop" in line for line in stack) == (rank == 2), stack
assert rank == 2 or any("Peers::await" in line for line in stack), stack
assert rank == 2 or any(call["state"] == "running" for call in calls), calls
END
done
none_left looping 5
echo "rank 2 in an endless loop: exit $code, named, stacks and collectives of all ranks"

start suspended
kill -STOP $(processes suspended)
sleep 10
before=$(lines suspended)
kill -CONT $(processes suspended)
wait_for_steps suspended $((before + 20))
kill -USR1 "$(pid_of suspended 1)"
finish 20
((code == 75)) || fail "exit $code, not 75, after a suspended job was continued"
echo "suspended and continued: no alarm"

for ((i = 0; i < 3; ++i)); do
  start launcher$i
  kill -KILL "$job"
  wait "$job" 2> /dev/null || true
  none_left launcher$i 10
done
echo "launcher killed 3 times: no rank left"

rank=1
for signal in KILL SEGV ABRT; do
  start died$signal
  kill -$signal "$(pid_of died$signal $rank)"
  finish 10
  ((code != 0)) || fail "exit 0 after $signal"
  none_left died$signal 5
  grep -qE "rank $rank on .* has ended" "$work/died$signal/failure.txt" || fail "rank $rank is not named after $signal"
  echo "rank $rank ended by $signal: exit $code, named"
  rank=$((rank + 1))
done

for ((i = 0; i < 6; ++i)); do
  start signalled
  sleep 0.$((RANDOM % 90 + 10))
  if ((i % 2)); then target=$(pid_of signalled $((i % ranks))); else target=$(processes signalled); fi
  kill -$( ((i % 3)) && echo USR1 || echo TERM) $target
  kill -USR1 $target 2> /dev/null || true
  finish 20
  ((code == 75)) || fail "exit $code, not 75, after a signal"
  [[ $(field signalled/exit.json code) == 75 ]] || fail "exit.json does not say 75"
done
"$fmtrain" checkpoint verify "$work/signalled" > "$work/output" 2>&1 || fail "a checkpoint is damaged"
echo "6 signals: exit 75, checkpoints verified"
