#!/usr/bin/env bash
# A check that loses a rank, or waits for one, ends: stopped 8, killed with the launcher's code for it.
# Usage: preflight.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
export FMTRAIN_WAIT_LIMIT=6 FMTRAIN_WATCH_PERIOD=0.2

ranks() { pgrep -f "^$fmtrain check .*run.dir=$work/" || true; }
hit() {  # SIGNAL: of a rank that has joined; sets code and took (ms)
  local began i both=()
  timeout -k 5 60 mpirun -np 2 "$fmtrain" check "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/run" > "$work/output" 2>&1 &
  job=$!
  for ((i = 0; i < 1000 && ${#both[@]} < 2; ++i)); do
    mapfile -t both < <(ranks)
    sleep 0.01
  done
  rank=${both[1]}
  for ((i = 0; i < 5000; ++i)); do  # until the storage is tried: no longer than 50 ms
    if compgen -G "$work/.fmtrain-check-*" > /dev/null; then break; fi
    sleep 0.002
  done
  kill "-$1" "$rank"
  began=$(date +%s%N)
  code=0
  wait "$job" || code=$?
  took=$((($(date +%s%N) - began) / 1000000))
  kill -KILL "$rank" 2> /dev/null || true
  rm -rf "$work"/.fmtrain-check-*
  [[ ! -e $work/run ]] || fail "a check made run.dir"
}

hit STOP
((code == 8)) || fail "stopped: exit $code, not 8"
echo "stopped: exit 8 after $took ms"
hit KILL
((code != 0 && took < 10000)) || fail "killed: exit $code after $took ms"
echo "killed: exit $code after $took ms"
