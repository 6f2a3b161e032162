#!/usr/bin/env bash
# cluster/enroot/train.sbatch with an srun that writes down what it is asked, for Pyxis is on no machine of the tests: the options
# of the container, the words of the run, and what is queued again.
# Usage: enroot.sh SOURCE
set -euo pipefail
source=$1
source "$source/tests/support/whole_run.sh"
script=$source/cluster/enroot/train.sbatch
mkdir "$work/bin" "$work/job"
printf '#!/usr/bin/env bash\nprintf "%%s\\n" "$@" > "$SAID"\nexit "$CODE"\n' > "$work/bin/srun"
printf '#!/usr/bin/env bash\necho "$@" > "$REQUEUED"\n' > "$work/bin/scontrol"
printf '#!/usr/bin/env bash\necho 2030-01-01T00:00:00\n' > "$work/bin/squeue"
chmod +x "$work"/bin/*
cd "$work/job"
job() {  # CODE: the job, whose srun ends with that
  rm -f "$work/output-said" "$work/requeued"
  code=0
  env PATH="$work/bin:$PATH" SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=2 SAID="$work/output-said" REQUEUED="$work/requeued" \
    CODE="$1" "${@:2}" bash "$script" run.yaml --set "run.name=a b" > "$work/output-job" 2>&1 || code=$?
}

job 0 FMTRAIN_IMAGE=/images/fmtrain.sqsh
[[ $code == 0 && ! -e $work/requeued ]] || fail "a complete run: exit $code"
printf '%s\n' --mpi=pmix --kill-on-bad-exit=0 --container-image=/images/fmtrain.sqsh "--container-mounts=$PWD:$PWD" \
  "--container-workdir=$PWD" fmtrain run.yaml --set "run.name=a b" | diff - "$work/output-said" || fail "other words for srun"
job 75 FMTRAIN_IMAGE=/images/fmtrain.sqsh FMTRAIN_MOUNTS=/data:/data:ro
[[ $code == 75 && $(cat "$work/requeued") == "requeue 7" ]] || fail "stopped: exit $code, not queued again"
grep -qxF -- "--container-mounts=$PWD:$PWD,/data:/data:ro" "$work/output-said" || fail "other mounts"
job 93 FMTRAIN_IMAGE=/images/fmtrain.sqsh
[[ $code == 93 && ! -e $work/requeued ]] || fail "without progress: exit $code"
job 0 FMTRAIN_IMAGE=
[[ $code != 0 && ! -e $work/output-said ]] || fail "without an image: exit $code"
grep -q "FMTRAIN_IMAGE: the image" "$work/output-job" || fail "without an image it says $(cat "$work/output-job")"
echo "one srun with the container's options; 75 is queued again"
