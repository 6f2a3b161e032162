#!/usr/bin/env bash
# `fmtrain bench scaling` and `bench compare` on one and two ranks. Usage: bench_scaling.sh FMTRAIN SOURCE
set -uo pipefail
fmtrain=$1 config=$2/configs/tiny_cpu.yaml
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; tail -n 5 "$dir"/err* ; exit 1; }
printf '#!/bin/sh\n[ -e "$0.done" ] && exit 1\ntouch "$0.done"\nexec "$@"\n' > "$dir/once"
chmod +x "$dir/once"
has() { grep -qF -- "$2" "$1" || fail "$1 lacks: $2"; }

timeout -k 5 60 "$fmtrain" bench scaling "$config" --ranks 1,2 --steps 4 --warmup 1 --repetitions 1 --launcher 'mpirun -np {ranks}' \
  -o "$dir/out" > "$dir/text" 2> "$dir/err" || fail "ended with $?"
has "$dir/text" 'equal losses in every update and equal weights'
has "$dir/out/scaling.json" '"version": 1'
has "$dir/out/scaling.html" '<section>'
[ "$(grep -c '| \(strong\|weak\) | [12] x 1 | ' "$dir/out/scaling.md")" = 4 ] || fail 'no row for each mode and number of ranks'
[ "$(ls "$dir/out" | grep -c runs)" = 0 ] || fail 'the folder of the runs is left'

timeout -k 5 20 "$fmtrain" bench compare "$dir/out/scaling.json" "$dir/out/scaling.json" > "$dir/same" 2> "$dir/err" || fail 'compare'
has "$dir/same" 'within the noise'
grep -q ' changed$' "$dir/same" && fail 'a result differs from itself'

# One running sum a rank is another order of additions: a table of such runs is no scaling.
timeout -k 5 60 "$fmtrain" bench scaling "$config" --ranks 1,2 --strong --steps 4 --warmup 1 --repetitions 1 --set numerics.exact=false \
  -o "$dir/other" > "$dir/text" 2> "$dir/err"
[ $? = 6 ] || fail 'different bits did not end with 6'
has "$dir/text" 'do not have equal bits'

# Ended in its second repetition, it leaves the first one's results.
timeout -k 5 60 "$fmtrain" bench scaling "$config" --ranks 1 --steps 3 --warmup 1 --repetitions 2 --launcher "$dir/once" -o "$dir/ended" \
  > "$dir/text" 2> "$dir/err"
[ $? = 2 ] || fail 'a launcher that fails did not end with 2'
has "$dir/ended/scaling.json" '"repetitions": 1'

refused() {  # WHAT ARGUMENTS...
  local what=$1; shift
  timeout -k 5 30 "$fmtrain" bench scaling "$@" -o "$dir/no" > /dev/null 2> "$dir/err"
  [ $? = 2 ] || fail "$* did not end with 2"
  has "$dir/err" "$what"
}
refused 'batch.micro=1' "$config" --ranks 16
refused '{ranks} is missing' "$config" --ranks 2 --launcher 'mpirun -np 2'
refused 'nowhere: cannot be started' "$config" --ranks 1 --launcher nowhere
refused 'leaves nothing' "$config" --ranks 1 --steps 3 --warmup 3
refused 'in place of 2' "$config" --ranks 2 --steps 2 --warmup 1 --launcher 'env RANKS={ranks}'
OMPI_COMM_WORLD_SIZE=2 refused 'start it without mpirun' "$config" --ranks 1
printf '#!/bin/sh\nexec sleep 60\n' > "$dir/sleeps" && chmod +x "$dir/sleeps"
refused 'raise --limit' "$config" --ranks 1 --steps 2 --warmup 1 --limit 1 --launcher "$dir/sleeps {ranks}"

# Asked to stop, it ends what it has started and leaves no folder of runs.
timeout -k 5 60 "$fmtrain" bench scaling "$config" --ranks 2 --steps 2 --warmup 1 --launcher "$dir/sleeps {ranks}" -o "$dir/stopped" \
  > "$dir/text" 2> "$dir/err" &
bench=$!
for i in $(seq 100); do sleep 0.1; pgrep -f "^sleep 60$" > /dev/null && break; done
pkill -TERM -P "$bench" fmtrain
wait "$bench"; [ $? = 75 ] || fail 'asked to stop, it did not end with 75'
has "$dir/err" 'asked to stop'
[ "$(ls "$dir/stopped" | grep -c runs)" = 0 ] || fail 'the folder of the runs is left'

# One rank's update recorded and replayed, beside what was measured above.
timeout -k 5 60 "$fmtrain" bench simulate --record "$config" --steps 4 --warmup 1 --ranks 1,2,1024 --rank-hours 50000 \
  --measured "$dir/out/scaling.json" -o "$dir/sim" > "$dir/text" 2> "$dir/err" || fail "simulate ended with $?"
has "$dir/text" 'it is arithmetic on these inputs'
has "$dir/text" '| strong | 2 | '
has "$dir/sim/timeline.json" '"kind": "fmtrain timeline"'
timeout -k 5 20 "$fmtrain" bench simulate "$dir/sim/timeline.json" --ranks 2 --zero 0 --json -o "$dir/sim" > "$dir/json" 2> "$dir/err" || fail 'simulate again'
has "$dir/json" '"kind": "fmtrain simulation"'
timeout -k 5 20 "$fmtrain" bench simulate --published > "$dir/text" 2> "$dir/err" || fail 'published'
has "$dir/text" '| fails |'
timeout -k 5 20 "$fmtrain" bench simulate > /dev/null 2> "$dir/err"
[ $? = 2 ] || fail 'neither a timeline nor a config did not end with 2'
has "$dir/err" 'name a timeline'
timeout -k 5 30 "$fmtrain" bench simulate --record "$config" --set engine.device=cuda > /dev/null 2> "$dir/err"
[ $? = 2 ] || fail 'a recording on a GPU did not end with 2'
has "$dir/err" 'add --set engine.device=cpu'
timeout -k 5 20 "$fmtrain" bench simulate "$dir/sim/timeline.json" --comm "$dir/out/scaling.json" > /dev/null 2> "$dir/err"
[ $? = 3 ] || fail 'a scaling.json was taken for measured collectives'
has "$dir/err" 'holds no all-reduces'
timeout -k 5 60 mpirun -np 2 "$fmtrain" bench comm --to 4M --rounds 1 --json "$dir/comm.json" > /dev/null 2> "$dir/err" || fail 'bench comm'
# Figures of a law from here on: what was measured beside other processes may fit no link.
python3 - "$dir/comm.json" <<'P'
import json, sys
comm = json.load(open(sys.argv[1]))
for row in comm["result"]["rows"]:
    row["seconds"] = dict.fromkeys(("median", "min", "max"), 1e-4 + row["bytes"] / 2e8)
json.dump(comm, open(sys.argv[1], "w"))
P
timeout -k 5 20 "$fmtrain" bench simulate "$dir/sim/timeline.json" --comm "$dir/comm.json" --ranks 2 > "$dir/text" 2> "$dir/err" || fail "simulate --comm: $(cat "$dir/err")"
again() { timeout -k 5 20 "$fmtrain" bench simulate "$dir/sim/timeline.json" --per-node 1 --ranks 2 "$@" > "$dir/text" 2> "$dir/err"; }
between() { sed "s/\"nodes\": 1/\"nodes\": $1/; s/\"ranks\": 2/\"ranks\": $2/" "$dir/comm.json" > "$dir/between.json"; }
between 2 2
again --comm "$dir/comm.json" --comm "$dir/between.json" || fail "simulate --comm twice: $(cat "$dir/err")"
grep -q 'inside \(.* GB/s)\); between nodes, a rank: \1$' "$dir/text" || fail "not the same links: $(grep collectives "$dir/text")"
between 2 4
again --comm "$dir/between.json"
[ $? = 3 ] || fail 'collectives of several nodes with several ranks each were taken'
has "$dir/err" 'one rank on each'
timeout -k 5 20 "$fmtrain" bench simulate "$dir/sim/timeline.json" --per-node 2 --ranks 4 --comm "$dir/between.json" > "$dir/text" 2> "$dir/err" ||
  fail "collectives of several nodes with --per-node ranks each: $(cat "$dir/err")"
timeout -k 5 20 "$fmtrain" bench simulate "$dir/out/scaling.json" > /dev/null 2> "$dir/err"
[ $? = 3 ] || fail 'a scaling.json was taken for a timeline'
