# Sourced by tests on a Slurm cluster of two nodes on this machine (cluster/slurm/one_machine.sh). The caller has set fmtrain
# and source. Sets work, an empty directory that goes, with the cluster and its jobs, when the test ends. Exit 77 where there
# can be no cluster.
source "$source/tests/support/whole_run.sh"
slurm=$source/cluster/slurm
trap 'code=$?; if ((code && code != 77)); then tail -n 40 "$work"/cluster/*.log; fi
  "$slurm/one_machine.sh" down "$work/cluster"; pkill -9 -f "run.dir=$work/" || true; rm -rf "$work"; exit $code' EXIT
code=0
"$slurm/one_machine.sh" up "$work/cluster" 2 4 $$ || code=$?
if ((code)); then exit "$code"; fi
source "$work/cluster/env"
export FMTRAIN=$fmtrain
cd "$work"

training() {  # DIRECTORY STEPS ARGUMENTS...: the words of a short run, on its own or for a job script
  echo "$source/configs/tiny_cpu.yaml --set run.dir=$work/$1 --set schedule.steps=$2 --set data.test=null" \
    "--set data.validation=null --set checkpoint.every=1000000 --set report.progress=off --set report.bootstrap=0 ${*:3}"
}
submit() { job=$(sbatch --parsable --output="$work/output-%x-%j" "$@") || fail "sbatch $*: not submitted"; }
of_job() { scontrol show job "$job" | grep -oE "(^| )$1=[^ ]*" | head -n 1 | cut -d= -f2; }  # FIELD
steps() { if [[ -f $work/$1/log.jsonl ]]; then wc -l < "$work/$1/log.jsonl"; else echo 0; fi; }  # DIRECTORY
recorded() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/$1/exit.json" "$2"; }
weights() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["weights_sha256"])' "$work/$1/report.json"; }
wait_for() {  # SECONDS CONDITION WHAT
  local end=$((SECONDS + $1))
  until eval "$2"; do
    ((SECONDS < end)) || { scontrol show job "$job" >&2 || true; fail "$3 after $1 s"; }
    sleep 0.1
  done
}
runs_until() {  # DIRECTORY STEP
  wait_for 90 "[[ \$(of_job JobState) == RUNNING ]] && (($2 < \$(steps $1)))" "the job is not at step $2"
}
# RESTARTS: the job is in the queue again for the so-manyth time; it need not wait the two minutes that Slurm lets pass, only
# until nodes take its new start for another one than that which they ended.
requeued() {
  wait_for 90 "[[ \$(of_job JobState) == PENDING && \$(of_job Restarts) == $1 ]]" "no restart $1"
  scontrol update JobId="$job" StartTime=now+3
}
restart_node() {  # NAME: its daemon is killed and started anew, and the controller has it idle
  local daemon
  daemon=$(cat "$work/cluster/slurmd-$1.pid")
  kill -KILL "$daemon"
  wait_for 10 "[[ ! -e /proc/$daemon ]]" "the daemon of $1 lives"
  PATH=$PATH:/usr/sbin slurmd -N "$1" -f "$SLURM_CONF"
  wait_for 90 "[[ \$(sinfo -h -p debug -n $1 -o %t) == idle ]]" "$1 is not back"
}
ended() { wait_for 150 '[[ $(of_job JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)$ ]]' "the job does not end"; }
ended_as() {  # STATE CODE
  ended
  [[ $(of_job JobState) == "$1" && $(of_job ExitCode) == "$2":* ]] ||
    fail "the job ended as $(of_job JobState) with $(of_job ExitCode), not as $1 with $2"
}
