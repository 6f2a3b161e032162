#!/usr/bin/env bash
# A job that is told to start again when a rank is killed, and whose rank is killed each time before anything was saved: after
# three restarts the program ends with 93, and the job stays down.
# Usage: no_progress.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/slurm/cluster.sh"

cat > "$work/dies" << 'S'
#!/usr/bin/env bash
# The program; rank 0 is killed at its 10th update.
if [[ $SLURM_PROCID == 0 ]]; then
  me=$$
  (while [[ -e /proc/$me ]]; do
    if (($(cat "$RUN/log.jsonl" 2> /dev/null | wc -l) >= 10)); then rm "$RUN/log.jsonl"; kill -KILL $me; exit; fi
    sleep 0.05
  done) > /dev/null 2>&1 &  # Slurm waits for the end of a step's output
fi
exec "$PROGRAM" "$@"
S
chmod +x "$work/dies"
export FMTRAIN=$work/dies PROGRAM=$fmtrain RUN=$work/run FMTRAIN_AGAIN="75 7 137"
submit "$slurm/train.sbatch" $(training run 100000)
for restart in 1 2 3 4; do requeued $restart; done
ended_as FAILED 93
[[ $(recorded run code) == 93 ]] || fail "exit.json says $(recorded run code)"
grep -q '3 restarts from step 0 ended before a newer checkpoint was saved' "$work"/output-* || fail "no word on why"
sleep 3
[[ $(of_job JobState) == FAILED && $(of_job Restarts) == 4 ]] ||
  fail "the job is $(of_job JobState), restart $(of_job Restarts)"
echo "killed at the start and in 3 restarts; the 4th ends with 93 and the job stays down"
