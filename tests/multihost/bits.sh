#!/usr/bin/env bash
# Ranks on several hosts: the contract of communicators holds, and a training run has the bits of one host's at every ZeRO stage.
# Usage: bits.sh FMTRAIN COMM_MPI SOURCE
set -euo pipefail
fmtrain=$1 contract=$2 source=$3
source "$source/tests/multihost/hosts.sh"

bits() {  # DIRECTORY
  python3 - "$work/$1" <<'P'
import json, sys
print([(r["step"], r["loss_hex"], r["grad_norm"]) for r in map(json.loads, open(sys.argv[1] + "/log.jsonl"))])
print(json.load(open(sys.argv[1] + "/report.json"))["weights_sha256"])
P
}
parameters() {  # DIRECTORY: bytes that the ranks of a host book for parameters
  python3 - "$work/$1" <<'P'
import json, sys
report = json.load(open(sys.argv[1] + "/report.json"))
print(sum(rank["ledger"]["parameters"]["now"] for rank in report["memory"]) // report["run"]["hosts"])
P
}
trains() {  # HOSTS SLOTS: at all stages, with the bits of one host
  local zero
  for zero in 0 1 2 3; do
    timeout -k 5 60 "$netns/on.sh" "$net" h1 mpirun --host "$2" "$(training "hosts$1-zero$zero" 6 --set engine.zero=$zero)" > "$work/output" 2>&1 ||
      fail "$2, stage $zero: exit $?"
    [[ $(bits "hosts$1-zero$zero") == "$(bits one)" ]] || fail "$2, stage $zero: other bits than on one host"
  done
  echo "$1 hosts: equal bits at all stages"
}

timeout -k 5 60 mpirun -np 4 $(training one 6 --set engine.zero=0) > "$work/output" 2>&1 || fail "one host: exit $?"
for slots in h1:2,h2:2 h1,h2,h3,h4; do
  names=${slots//[^h]/}
  hosts_up ${#names}
  timeout -k 5 60 "$netns/on.sh" "$net" h1 mpirun --host "$slots" "$contract" > "$work/output" 2>&1 || fail "$slots: the contract is broken"
  grep -E "PASSED" "$work/output"
  trains ${#names} "$slots"
done

# From stage 1 on parameters lie once on every host, padded to blocks of 4096 for each of 4 ranks.
once=$(($(parameters one) / 4))
for run in hosts{2,4}-zero{1,2,3}; do
  bytes=$(parameters "$run")
  ((bytes >= once && bytes <= once + 4 * 4096 * 4)) || fail "$run: $bytes bytes of parameters on a host, not $once"
done
echo "$once bytes of parameters once on every host"
