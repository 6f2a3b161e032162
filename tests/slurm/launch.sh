#!/usr/bin/env bash
# srun and mpirun start ranks in jobs, on one node and on two: the weights are those of a run without Slurm. srun without PMIx
# is refused, and so is a job that does not find the program. A run says where each rank is.
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
export SLURM_PMIX_FENCE=ring  # as in train.sbatch
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

submit --job-name=check --nodes=2 "$slurm/train.sbatch" check $(training unmade 13)
ended_as COMPLETED 0
grep -q "^ok       launcher       4 ranks" "output-check-$job" || fail "train.sbatch check: no check of 4 ranks"
[[ ! -e unmade ]] || fail "train.sbatch check: has made the run directory"
mkdir absent  # srun would take the folder of a bundle for the program
echo "--set run.seed=1" > lines
for script in train train_mpirun sweep; do
  submit --job-name=lost --array=1 --export=FMTRAIN=absent "$slurm/$script.sbatch" "$source/configs/tiny_cpu.yaml" lines
  ended_as FAILED 2
  grep -q "no program absent in this job: set PATH or FMTRAIN" output-lost-* || fail "$script: no word on the program"
  rm output-lost-*
done

code=0
timeout -k 5 60 srun --mpi=none --ntasks=2 "$fmtrain" $(training none 13) > output-none 2>&1 || code=$?
((code)) || fail "srun without PMIx: exit 0"
[[ ! -e $work/none ]] || fail "srun without PMIx: ranks that do not know of each other have trained"
grep -q "OMPI was not built with SLURM's PMI support" output-none || fail "no word on PMI"
echo "without PMIx: refused"
