#!/usr/bin/env bash
# cluster/continual/continual.sbatch, submitted twice: the two never run at once; one that is stopped in its cycle is queued
# again and ends it; at the end one job waits for the next hour, and it submits its successor too.
# Usage: continual.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/slurm/cluster.sh"
script=$source/cluster/continual/continual.sbatch

python3 "$source/tests/support/drifting_stream.py" "$work/stream" --windows 4 --texts 700
cat > c.yaml << Y
model: {path: $source/configs/tiny_model, task: sequence-classification, init: random}
data: {train: stream/base-train.jsonl, test: stream/base-test.jsonl}
batch: {global: 32, micro: 8}
optimizer: {lr: 5.0e-3}
schedule: {epochs: 20}
engine: {device: cpu}
report: {progress: 'off', bootstrap: 0, tensorboard: false}
continual: {registry: registry, schedule: manual, brakes: {min_hours: 0, cooldown_hours: 0, max_per_week: 1000}}
Y
timeout -k 5 150 "$fmtrain" continual init c.yaml --set schedule.epochs=2 > output-init 2>&1 || fail "init: exit $?"
cp stream/windows/02.jsonl registry/incoming/window.jsonl

cat > starts << 'S'
#!/usr/bin/env bash
# The program, which is asked for a cycle in the first job; rank 0 writes down when it runs.
say() { if [[ $SLURM_PROCID == 0 ]]; then echo "$1 $SLURM_JOB_ID" >> "$WORK/starts.log"; fi; }
say begin
code=0
if [[ $SLURM_JOB_ID == 1 ]]; then set -- "$@" --now; fi
"$PROGRAM" "$@" || code=$?
say end
exit $code
S
chmod +x starts
export FMTRAIN=$work/starts PROGRAM=$fmtrain WORK=$work
training_of_cycle() { [[ -s $work/registry/cycles/000001/run/log.jsonl ]]; }

submit "$script" c.yaml
first=$job
submit "$script" c.yaml
second=$job
job=$first
wait_for 90 training_of_cycle "no training in the cycle"
[[ $(job=$second; of_job JobState) == PENDING ]] || fail "the second runs beside the first"
pkill -USR1 -f "^$fmtrain continual run"
requeued 1  # the first, stopped in its cycle
ended_as COMPLETED 0
job=$second
ended
"$fmtrain" continual status c.yaml > output-status
grep -qE '^cycle 1 .* version 000002' output-status || fail "cycle 1 has not ended"
grep -q 'goes on with cycle 1' output-fmtrain-continual-"$first" || fail "the cycle was begun anew"

waiting() { squeue -h --name=fmtrain-continual --states=PENDING -o %i; }
[[ $(waiting | wc -l) == 1 ]] || fail "$(waiting | wc -l) jobs wait, not 1"
third=$(waiting)
job=$third
away=$(($(date -d "$(of_job StartTime)" +%s) - $(date +%s)))
((away > 3400 && away <= 3600)) || fail "the next starts in $away s, not in an hour"
scontrol update JobId="$third" StartTime=now
ended
[[ $(waiting | wc -l) == 1 && $(waiting) != "$third" ]] || fail "the third has no successor"

# Between the begin and the end of one job there is no other's.
awk '$1 == "begin" { if (open) exit 1; open = $2 } $1 == "end" { if (open != $2) exit 1; open = "" }' starts.log ||
  fail "jobs overlap: $(cat starts.log)"
[[ $(grep -c begin starts.log) == 4 ]] || fail "not 4 starts: $(cat starts.log)"
echo "4 starts of 3 jobs, one after the other; the next waits for its hour"
