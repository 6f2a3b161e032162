#!/usr/bin/env bash
# The main job on this machine: set up, fine-tune MiniLM on WNUT-17 with 2 ranks, print the before/after table.
#   launch/demo.sh [RUN_DIRECTORY]      (default runs/demo; a finished or broken run there is continued)
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-runs/demo}
launch/setup.sh

export OMP_NUM_THREADS=1
options=(-np 2 --bind-to none)
if [[ $(id -u) == 0 ]]; then options+=(--allow-run-as-root); fi
if (($(nproc) < 2)); then options+=(--oversubscribe); fi
precision=bf16
if ! grep -q avx512_bf16 /proc/cpuinfo; then
  precision=fp32
  echo "demo: in fp32, which is faster than bf16 on this processor: it has no instructions for products in bf16"
fi
mpirun "${options[@]}" build/fmtrain configs/ner_wnut17.yaml --set run.dir="$run" --set engine.precision="$precision"

echo
cat "$run/report.txt"
echo
echo "report: $run/report.html"
