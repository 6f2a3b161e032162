#!/usr/bin/env bash
# srun and mpirun start ranks in jobs, on one node and on two: the weights are those of a run without Slurm. srun without PMIx
# is refused. A run says where each rank is.
# Usage: launch.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/slurm/cluster.sh"

timeout -k 5 60 "$fmtrain" $(training alone 13) > output-alone 2>&1 || fail "alone: exit $?"
same() {  # DIRECTORY RANKS
  [[ $(weights "$1") == "$(weights alone)" ]] || fail "$1: other weights than without Slurm"
  grep -q "^tiny_cpu: $2 ranks" "$1/report.txt" || fail "$1: not $2 ranks"
  echo "$1: $2 ranks, weights as without Slurm"
}
for layout in 1x2 2x1 2x2; do
  size=(--nodes="${layout%x*}" --ntasks-per-node="${layout#*x}")
  timeout -k 5 60 srun --mpi=pmix "${size[@]}" "$fmtrain" $(training "srun-$layout" 13 --set report.progress=plain) > "output-srun-$layout" 2>&1 ||
    fail "srun, $layout: exit $?"
  same "srun-$layout" $((${layout%x*} * ${layout#*x}))
done
grep -q "placement  rank 3, local rank 1 on .*: cpu, 1 thread, CPUs " output-srun-2x2 || fail "srun, 2x2: it does not say where rank 3 is"
for script in train train_mpirun; do
  submit --job-name=$script --nodes=2 "$slurm/$script.sbatch" $(training $script 13)
  ended_as COMPLETED 0
  same $script 4
done

code=0
timeout -k 5 60 srun --mpi=none --ntasks=2 "$fmtrain" $(training none 13) > output-none 2>&1 || code=$?
((code)) || fail "srun without PMIx: exit 0"
[[ ! -e $work/none ]] || fail "srun without PMIx: ranks that do not know of each other have trained"
grep -q "OMPI was not built with SLURM's PMI support" output-none || fail "no word on PMI"
echo "without PMIx: refused"
