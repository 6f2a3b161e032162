#!/usr/bin/env bash
# A Slurm cluster on this machine, to try job scripts: a controller and the nodes n1 .. nN, all of them this host, in a
# directory DIR.
# Usage: one_machine.sh up DIR [NODES=2 [CPUS=4 [OWNER]]]: makes DIR; then `source DIR/env` and use sbatch, srun, squeue ...
#        one_machine.sh down DIR: ends its jobs and daemons and removes DIR. So does the end of the process OWNER (the caller).
# Partitions: debug, and urgent, whose jobs preempt those of debug. A requeued job waits for 2 minutes, as everywhere, unless it
# is told `scontrol update JobId=N StartTime=now+3`; a cancelled one has 10 s to end. Needs root and Debian's packages slurmctld
# slurmd slurm-client munge; exit 77 with the reason where something is missing. The machine's own Slurm and munge are neither
# used nor changed.
set -euo pipefail
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
(($# >= 2)) || usage
dir=$(realpath -m "$2") nodes=${3:-2} cpus=${4:-4} owner=${5:-$PPID} host=$(hostname -s)
export PATH=$PATH:/usr/sbin SLURM_CONF=$dir/slurm.conf
cannot() { echo "Slurm on one machine needs $1"; exit 77; }

daemons() {
  local pid
  for pid in $(cat "$dir"/*.pid "$dir/munge/pid" 2> /dev/null); do
    if grep -qF "$dir/" "/proc/$pid/cmdline" 2> /dev/null; then echo "$pid"; fi  # else a number that was used anew
  done
}
# What slurmd started for jobs: its own step daemons stay in DIR; the rest has this cluster in its environment.
of_jobs() {
  local process
  for process in /proc/[0-9]*; do
    if [[ $(readlink "$process/exe") == */slurmstepd* && $(readlink "$process/cwd") == "$dir"* ]] ||
      { grep -qzxF "SLURM_CONF=$SLURM_CONF" "$process/environ" && grep -qz '^SLURM_JOB_ID=' "$process/environ"; }; then
      echo "${process#/proc/}"
    fi
  done 2> /dev/null
}
down() {
  local guard all pid end=$((SECONDS + 5))
  grep -qsx ClusterName=one_machine "$SLURM_CONF" || return 0  # else it is not this script's to remove
  all=$(daemons)  # they remove their files of numbers before they have ended
  guard=$(cat "$dir/guard" 2> /dev/null || true)
  timeout 5 scancel --quiet --full --signal=KILL --user=root 2> /dev/null || true
  kill $all 2> /dev/null || true
  for pid in $all; do
    while ((SECONDS < end)) && [[ -e /proc/$pid ]]; do sleep 0.1; done
  done
  kill -KILL $all $(of_jobs) 2> /dev/null || true
  rm -rf "$dir"
  if [[ -n $guard && $guard != "$$" ]]; then kill -KILL -- "-$guard" 2> /dev/null || true; fi
}

free_ports() {  # COUNT: the first of so many in a row that nobody listens on
  local first port
  for ((first = 20000 + $$ % 500 * 20; first < 32000; first += 20)); do
    for ((port = first; port < first + $1; ++port)); do
      if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then continue 2; fi
    done
    echo "$first"
    return
  done
}
write_conf() {
  local port k
  port=$(free_ports $((nodes + 1)))
  cat << S
ClusterName=one_machine
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/%n
TmpFS=$dir/%n/tmp
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
MpiDefault=none
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
S
  for k in $(seq "$nodes"); do
    echo "NodeName=n$k NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + k)) CPUs=$cpus State=UNKNOWN"
  done
}
# Open MPI takes two nodes on one host for one host, and would give two ranks the same file in /dev/shm. Ranks that wait leave their
# core to others, for there may be more ranks than cores.
write_env() {
  cat << S
export SLURM_CONF=$SLURM_CONF OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1
S
}
up() {
  local program k
  ((EUID == 0)) || cannot "root"
  for program in munged slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || cannot "the program $program (apt-get install slurmctld slurmd slurm-client munge)"
  done
  down
  if [[ -n $(ls -A "$dir" 2> /dev/null) ]]; then echo "$dir is not empty: name a new directory" >&2; exit 2; fi
  mkdir -p "$dir"/{state,munge}
  chmod 700 "$dir/munge"
  for k in $(seq "$nodes"); do mkdir -p "$dir/n$k/tmp"; done
  (umask 077; head -c 1024 /dev/urandom > "$dir/munge/key")
  write_conf > "$SLURM_CONF"
  write_env > "$dir/env"
  setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" down "$3"' _ "$owner" "$(realpath "$0")" "$dir" \
    < /dev/null > /dev/null 2>&1 &
  echo $! > "$dir/guard"
  munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
  slurmctld -f "$SLURM_CONF"
  for k in $(seq "$nodes"); do slurmd -N "n$k" -f "$SLURM_CONF"; done
  for ((k = 0; k < 150; ++k)); do
    if [[ $(sinfo -h -p debug -t idle -o %D 2> /dev/null) == "$nodes" ]]; then return; fi
    sleep 0.1
  done
  tail -n 20 "$dir"/*.log >&2
  down
  exit 1
}

case $1 in up | down) "$1" ;; *) usage ;; esac
