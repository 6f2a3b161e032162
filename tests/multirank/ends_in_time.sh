#!/usr/bin/env bash
# A run whose time ends saves before that and exits with 75: ten seconds and a save before the end of a Slurm job, so that the job can
# still ask to be queued again, and twice a save before run.time_limit, also before any save was timed. Usage: ends_in_time.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

run() {  # DIRECTORY ARGUMENTS...: its exit code
  local code=0
  timeout -k 5 60 "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$1" --set report.progress=off --set data.test=null \
    --set data.validation=null --set schedule.steps=1000000 --set checkpoint.every=1000000 "${@:2}" > "$work/output-$1" 2>&1 || code=$?
  echo "$code"
}
holds() { python3 -c "import sys; sys.exit(not ($1))" || fail "$2: not so: $1"; }
saved() { [[ -d $work/$1/checkpoints/step-$(wc -l < "$work/$1/log.jsonl") ]] || fail "$1: the last step is not saved"; }

end=$(($(date +%s) + 20))
code=$(SLURM_JOB_END_TIME=$end run job)
holds "$code == 75 and 7 < $end - $(date +%s.%N) < 14" "a job's end"
saved job

# 34 million parameters: 0.4 GB of state, four seconds for twice a save at 200 MB/s.
cp -r "$source/configs/tiny_model" "$work/wide_model"
sed -i 's/"intermediate_size": *[0-9]*/"intermediate_size": 262144/' "$work/wide_model/config.json"
start=$(date +%s.%N)
code=$(run limit --set run.time_limit=12 --set batch.global=1 --set batch.micro=1 --set "model.path=$work/wide_model")
holds "$code == 75 and 2 < $start + 12 - $(stat -c %.Y "$work/limit/log.jsonl") < 9" "a limit of 12 s: what is left after the last update"
saved limit
