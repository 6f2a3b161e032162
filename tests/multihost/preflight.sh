#!/usr/bin/env bash
# The host whose link is slow is named by fmtrain check, among three and among four; hosts are counted and placed; clocks agree.
# Usage: preflight.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/multihost/hosts.sh"

check() {  # SLOTS ARGUMENTS...
  timeout -k 5 60 "$netns/on.sh" "$net" h1 mpirun --host "$1" "$fmtrain check $source/configs/tiny_cpu.yaml --set run.dir=$work/run --json ${*:2}" \
    > "$work/output" 2> "$work/output2" || fail "$1: exit $?"
}
# HOST RATE: of what it sends; a rate that processes beside this test leave alone.
limited() {
  on "$1" tc qdisc replace dev eth0 root tbf rate "$2" burst 256kbit latency 400ms
}
says() { python3 - "$work/output" "$@" || fail "$(grep -v '^ *"' "$work/output2" | head -n 20)"; }  # reads a program

for names in h1,h2,h3 h1:2,h2,h3,h4; do
  count=$(tr -cd h <<< "$names" | wc -c)
  hosts_up "$count"
  for ((host = 1; host <= count; ++host)); do limited "h$host" 400mbit || true; done
  check "$names"
  says <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
rows = {c["name"]: c for c in r["checks"]}
n = r["hosts"]
assert rows["hosts"]["values"]["measured"] == rows["hosts"]["values"]["pairs"] == n * (n - 1) // 2, rows["hosts"]
assert rows["hosts"]["values"].get("slow_hosts", []) == [], rows["hosts"]
assert rows["clocks"]["status"] == "ok" and rows["clocks"]["values"]["most_apart_s"] < 0.1, rows["clocks"]
assert rows["storage"]["status"] == "ok", rows["storage"]
print(n, "hosts:", rows["hosts"]["found"])
P
  check "$names" --expect-gbs 1000
  says <<'P'
import json, sys
rows = {c["name"]: c for c in json.load(open(sys.argv[1]))["checks"]}
assert rows["hosts"]["status"] == "warning" and len(rows["hosts"]["values"]["slow"]) == rows["hosts"]["values"]["pairs"], rows["hosts"]
P
  limited h3 20mbit || { echo "no token bucket filter in this kernel"; exit 77; }
  check "$names"
  says <<'P'
import json, sys
rows = {c["name"]: c for c in json.load(open(sys.argv[1]))["checks"]}
assert rows["hosts"]["status"] == "warning" and rows["hosts"]["values"]["slow_hosts"] == ["h3"], rows["hosts"]
print("h3 is slow:", rows["hosts"]["found"])
P
done
