#!/usr/bin/env bash
# Two hosts of two ranks each. Where the link goes down or a rank stops, all ranks of both hosts end with 8 and name whom they miss;
# where all ranks of a host die, the other host records it with 7 before the launcher ends it too; a link that is only slow is no fault.
# link_copies: link, with a copy of the state on every host, which speak through communicators of their own.
# Usage: faults.sh FMTRAIN SOURCE link|link_copies|stop|kill_host|kill_host_loading|power_cut|slow
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/multihost/hosts.sh"
export FMTRAIN_WAIT_LIMIT=8 FMTRAIN_STEP_LIMIT=5 FMTRAIN_WATCH_PERIOD=0.2
group=world
if [[ $3 == *_copies ]]; then group=node; fi
if [[ $3 == kill_host* ]]; then unset FMTRAIN_WATCH_PERIOD; fi  # the launcher leaves 2 s: the program's own period must be short enough

ranks() { pgrep -f "^$fmtrain .*run.dir=$work/" || true; }
rank() {  # NUMBER: its process
  local pid
  for pid in $(ranks); do
    if grep -zqx "OMPI_COMM_WORLD_RANK=$1" "/proc/$pid/environ"; then echo "$pid"; fi
  done
}
steps() { if [[ -f $work/run/log.jsonl ]]; then wc -l < "$work/run/log.jsonl"; else echo 0; fi; }
wait_for() {  # SECONDS CONDITION WHAT
  local i
  for ((i = 0; i < $1 * 20; ++i)); do
    if eval "$2"; then return; fi
    sleep 0.05
  done
  fail "$3 after $1 s"
}
launch() {
  rm -rf "$work/run" "$work/ranks"
  on h1 mpirun --output-filename "$work/ranks" --host h1:2,h2:2 "$(training run 100000 --set checkpoint.every=1000000 --set engine.shard_group="$group")" > "$work/output" 2>&1 &
  job=$!
}
start() {
  launch
  wait_for 30 '(($(steps) >= 20))' "no 20 steps"
}
said() { cat "$work"/ranks/1/rank."$1"/stderr; }
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/run/$1" "$2"; }
ended() {  # SECONDS: no rank lives after them; the launcher may
  wait_for "$1" '[[ -z $(ranks) ]]' "ranks live"
}
expect() { [[ $2 =~ $1 ]] || fail "\"$1\" is not in: $2"; }  # PATTERN TEXT
recorded() {  # CODE REASON: exit.json and failure.json say the same
  [[ -f $work/run/exit.json ]] || fail "no exit.json"
  [[ $(field exit.json code) == "$1" ]] || fail "exit.json does not say $1"
  expect "$2" "$(field exit.json reason)"
  [[ $(field failure.json reason) == "$(field exit.json reason)" ]] || fail "failure.json has another reason than exit.json"
}

link() {
  on hub ip link set v2 down
  ended 15
  recorded 8 'rank [0-3] on h[12] waits for rank [0-3] on h[12]'
  expect 'rank [01] on h1 waits for rank [23] on h2' "$(said 0) $(said 1)"
  expect 'rank [23] on h2 waits for rank [01] on h1' "$(said 2) $(said 3)"
}
link_copies() { link; }
stop() {
  kill -STOP "$(rank 3)"
  ended 15
  recorded 8 'at fault: rank 3 on h2 .*stopped'
  [[ $(field exit.json host) == h2 ]] || fail "noticed first on $(field exit.json host), which cannot know it best"
}
kill_host() {  # the launcher sees it, ends all 2 s later, and has its own code for it; nobody on the host is left to say anything
  local code=0 two three
  two=$(rank 2) three=$(rank 3)
  sleep 2  # a connection must have stood at two looks
  kill -KILL "$two" "$three"
  ended 10
  wait "$job" || code=$?
  ((code)) || fail "exit 0 with a dead host"
  expect 'process rank [23] .*on node h2 exited on signal 9' "$(cat "$work/output")"
  recorded 7 'rank [01] on h1 waits for rank [23] on h2.* closed: that process, or its whole host, has died'
  [[ $(field exit.json host) == h1 ]] || fail "recorded on $(field exit.json host), which is dead"
}
kill_host_loading() {  # the same before the first step: the ranks of the host stop as soon as the run directory is this run's
  local two three i
  launch
  wait_for 20 '[[ -n $(rank 2) && -n $(rank 3) ]]' "no ranks"
  two=$(rank 2) three=$(rank 3)
  for ((i = 0; i < 2000; ++i)); do
    if [[ -e $work/run/config.yaml ]]; then break; fi
    sleep 0.005
  done
  kill -STOP "$two" "$three"
  kill_host
  [[ $(field exit.json phase) == load ]] || fail "the host died in phase $(field exit.json phase)"
}
power_cut() {  # nobody says that the host is gone
  on hub ip link set v2 down
  kill -KILL "$(rank 2)" "$(rank 3)"
  ended 15
  recorded 8 'rank [01] on h1 waits for rank [23] on h2'
}
usual() {  # LINE: seconds of an update from there on
  tail -n +"$1" "$work/run/log.jsonl" | python3 -c 'import json, statistics, sys
print(statistics.median(json.loads(line)["seconds"]["total"] for line in sys.stdin if line.endswith("\n")))'
}
slow() {
  local before after fast late
  before=$(steps)
  sleep 1
  fast=$(usual "$before")
  on h2 tc qdisc add dev eth0 root tbf rate 20mbit burst 32kbit latency 400ms || { echo "no token bucket filter in this kernel"; exit 77; }
  before=$(steps)
  sleep 6  # longer than an update may take
  after=$(($(steps) - before))
  ((after > 4)) || fail "$after updates in 6 s"
  late=$(usual $((before + 2)))  # one may have been under way
  python3 -c "import sys; sys.exit($late < 2 * $fast)" || fail "updates of $late s, before $fast s: the link is not slow"
  [[ ! -e $work/run/exit.json ]] || fail "a slow link was taken for a fault"
  kill -USR1 "$(rank 2)"
  wait "$job" || code=$?
  ((code == 75)) || fail "exit $code, not 75, after the stop"
  echo "updates of $fast s, then $after in 6 s, of $late s"
}

hosts_up 2
if [[ $3 != kill_host_loading ]]; then start; fi
began=$(date +%s%N)
code=0
$3
echo "$3: $((($(date +%s%N) - began) / 1000000)) ms; $(field exit.json reason 2> /dev/null || echo "no exit.json")"
