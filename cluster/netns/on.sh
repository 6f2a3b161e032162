#!/usr/bin/env bash
# Runs a command on a host that up.sh made, in this directory, with this environment; mpirun there starts ranks on the others.
# Usage: on.sh DIR HOST COMMAND...   (its words are joined and read by a shell, as ssh does it)
# on.sh DIR h1 mpirun --host h1:2,h2:2 PROGRAM; on.sh DIR hub ip link set v2 down; on.sh DIR h2 tc qdisc add dev eth0 root tbf ...
set -euo pipefail
if (($# < 3)); then sed -n 's/^# \{0,1\}//; 2,4p' "$0" >&2; exit 2; fi
dir=$(realpath "$1") host=$2
shift 2
export OMPI_MCA_plm_rsh_agent="$(realpath "$0") $dir" OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 \
  OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_orte_tmpdir_base=/dev/shm \
  HYDRA_LAUNCHER=rsh HYDRA_LAUNCHER_EXEC="$dir/rsh" HYDRA_IFACE=eth0 UCX_TLS=self,tcp
exec nsenter --target "$(cat "$dir/$host")" --net --uts --mount -- bash -c 'cd "$1" && eval "$2"' _ "$PWD" "$*"
