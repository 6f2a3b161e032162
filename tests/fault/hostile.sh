#!/usr/bin/env bash
# A run directory where anyone may write is refused with 2, before anything is written. Usage: hostile.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
for place in run run/checkpoints run/model; do
  mkdir -p "$work/$place"
  chmod 777 "$work/$place"
  code=0
  timeout -k 5 60 "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/run" --set schedule.steps=2 > "$work/output" 2>&1 || code=$?
  [[ $code == 2 ]] && grep -q "^fmtrain: $work/$place: every user" "$work/output" || { cat "$work/output"; echo "hostile.sh: $place: exit $code"; exit 1; }
  [[ -z $(find "$work/run" -type f ! -name exit.json ! -name 'failure.*') ]] || { find "$work/run"; echo "hostile.sh: something was written"; exit 1; }
  rm -rf "$work/run"
done
echo "directories that anyone may write to: exit 2, nothing written"
