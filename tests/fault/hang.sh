#!/usr/bin/env bash
# A rank of 4 in an endless loop ends the job within its deadline with 8 and is named; every rank leaves its last 64 collectives and
# the stack of its main thread. (hangs.py, crashes.py, signals.py: the other ways to hang and to end.)
# Usage: hang.sh FMTRAIN SOURCE LOOP_ON_SIGNAL
set -euo pipefail
fmtrain=$1 source=$2 loop=$3
source "$source/tests/support/whole_run.sh"
export FMTRAIN_WAIT_LIMIT=8 FMTRAIN_STEP_LIMIT=5 FMTRAIN_WATCH_PERIOD=0.2

processes() { pgrep -f "^$fmtrain .*run.dir=$work/looping " || true; }
pid_of() {  # RANK
  local pid
  for pid in $(processes); do
    if tr '\0' '\n' 2> /dev/null < "/proc/$pid/environ" | grep -qxE "(OMPI_COMM_WORLD|PMI)_RANK=$1"; then echo "$pid"; return; fi
  done
  return 1
}
wait_until() {  # SECONDS WHAT COMMAND...
  local i seconds=$1 what=$2
  shift 2
  for ((i = 0; i < seconds * 20; ++i)); do
    if "$@"; then return; fi
    sleep 0.05
  done
  fail "$what, $seconds s later"
}
has_steps() { [[ -f $work/looping/log.jsonl ]] && (($(wc -l < "$work/looping/log.jsonl") >= 100)); }
has_ended() { ! kill -0 "$job" 2> /dev/null; }
none_left() { [[ -z $(processes) ]]; }

mpirun -np 4 env "LD_PRELOAD=$loop" "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/looping" --set report.progress=off \
  --set report.bootstrap=0 --set data.validation=null --set data.test=null --set schedule.steps=100000 --set checkpoint.every=20 \
  > "$work/output" 2>&1 &
job=$!
wait_until 30 "no 100 steps" has_steps
kill -USR2 "$(pid_of 2)"
wait_until 14 "the job lives" has_ended
code=0
wait "$job" || code=$?
((code != 0)) || fail "exit 0 with a rank in an endless loop"
grep -q '"code": 8' "$work/looping/exit.json" || fail "exit.json does not say 8"
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
wait_until 5 "processes of the job live" none_left
echo "rank 2 in an endless loop: exit $code, named, stacks and collectives of all ranks"
