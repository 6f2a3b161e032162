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
launch() {  # SLOTS DIRECTORY ARGUMENTS...: on these hosts
  # shellcheck disable=SC2046
  timeout -k 5 60 "$netns/on.sh" "$net" h1 mpirun --host "$1" $(training "$2" 6 "${@:3}") > "$work/output" 2>&1
}
trains() {  # HOSTS SLOTS: at all stages, with the bits of one host
  local zero group run
  for zero in 0 1 2 3; do
    for group in world node; do
      if ((zero == 0)) && [[ $group == node ]]; then continue; fi
      run=hosts$1-zero$zero-$group
      launch "$2" "$run" --set engine.zero=$zero --set engine.shard_group=$group || fail "$2, stage $zero, $group: exit $?"
      [[ $(bits "$run") == "$(bits one)" ]] || fail "$2, stage $zero, $group: other bits than on one host"
    done
  done
  echo "$1 hosts: equal bits at all stages, with one copy and with one on every host"
}
goes_on() {  # DIRECTORY: forgets what came after its checkpoint of update 3
  rm -rf "$work/$1/checkpoints/step-6" "$work/$1/report.json" "$work/$1/model"
  [[ -d $work/$1/checkpoints/step-3 ]] || fail "no checkpoint of update 3"
}

timeout -k 5 60 mpirun -np 4 $(training one 6 --set engine.zero=0) > "$work/output" 2>&1 || fail "one host: exit $?"
for slots in h1:2,h2:2 h1,h2,h3,h4; do
  names=${slots//[^h]/}
  hosts_up ${#names}
  timeout -k 5 60 "$netns/on.sh" "$net" h1 mpirun --host "$slots" "$contract" > "$work/output" 2>&1 || fail "$slots: the contract is broken"
  grep -E "PASSED" "$work/output"
  trains ${#names} "$slots"
done

# A checkpoint of copies on hosts goes on as one copy elsewhere, and the other way round.
hosts_up 2
launch h1:2,h2:2 resumed --set engine.zero=2 --set engine.shard_group=node --set checkpoint.every=3 || fail "stage 2, node: exit $?"
goes_on resumed
timeout -k 5 60 mpirun -np 2 $(training resumed 6 --set engine.zero=1 --set checkpoint.every=3) > "$work/output" 2>&1 || fail "resumed on one host: exit $?"
[[ $(bits resumed) == "$(bits one)" ]] || fail "other bits after a copy on every host was resumed as one"
goes_on resumed
launch h1:2,h2:2 resumed --set engine.zero=3 --set engine.shard_group=node --set checkpoint.every=3 || fail "resumed on hosts: exit $?"
[[ $(bits resumed) == "$(bits one)" ]] || fail "other bits after one copy was resumed as one on every host"
echo "checkpoints of either go on as the other"

# Hosts that are no branches of the tree are refused before the first update, with what each has.
refused() {  # SLOTS WORDS
  local code=0
  launch "$1" refused --set engine.shard_group=node || code=$?
  ((code == 2)) || fail "$1: exit $code, not 2"
  grep -q "engine.shard_group: node needs the same power of two" "$work/output" || fail "$1: no message: $(cat "$work/output")"
  grep -q "$2" "$work/output" || fail "$1: no table with \"$2\": $(cat "$work/output")"
  [[ ! -e $work/refused/log.jsonl ]] || fail "$1: an update was made"
}
refused h1:2,h2:1 "h2: 1, rank 2"
refused h1:3,h2:3 "h1: 3, rank 0 1 2"

# From stage 1 on parameters lie once on every host, padded to blocks of 4096 for each of 4 ranks.
once=$(($(parameters one) / 4))
for run in hosts{2,4}-zero{1,2,3}-{world,node}; do
  bytes=$(parameters "$run")
  ((bytes >= once && bytes <= once + 4 * 4096 * 4)) || fail "$run: $bytes bytes of parameters on a host, not $once"
done
echo "$once bytes of parameters once on every host"
