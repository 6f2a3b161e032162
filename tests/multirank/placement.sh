#!/usr/bin/env bash
# A run says where each rank is: what mpirun's binding made of it, and alone. Usage: placement.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
tiny() {
  echo "$source/configs/tiny_cpu.yaml --set report.progress=plain --set data.test=null --set data.validation=null" \
    "--set report.bootstrap=0 --set schedule.steps=2 --set run.dir=$work/$1"
}
places() { sed -n "s/.*placement  \(rank .*\)/\1/p" "$work/output-$1"; }

all=$(sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status)
timeout -k 5 60 "$fmtrain" $(tiny alone) > "$work/output-alone" 2>&1 || fail "alone: exit $?"
[[ $(places alone) == "rank 0, local rank 0 on "*": cpu, 1 thread, CPUs $all" ]] || fail "alone: $(places alone)"
if ((2 <= $(nproc))); then
  OMP_NUM_THREADS= timeout -k 5 60 mpirun -np 2 --bind-to core "$fmtrain" $(tiny bound) > "$work/output-bound" 2>&1 ||
    fail "bound: exit $?"
  [[ $(places bound | cut -d' ' -f1-5) == $'rank 0, local rank 0\nrank 1, local rank 1' ]] || fail "bound: $(places bound)"
  [[ $(places bound | sed 's/.*CPUs //' | sort -u | wc -l) == 2 && $(places bound) != *"CPUs $all"* ]] ||
    fail "bound to the same: $(places bound)"
fi
timeout -k 5 60 mpirun -np 2 --bind-to none "$fmtrain" $(tiny free) > "$work/output-free" 2>&1 || fail "not bound: exit $?"
[[ $(places free | grep -c "cpu, 1 thread, CPUs $all\$") == 2 ]] || fail "not bound: $(places free)"
echo "alone, bound and not bound: each rank is named with its CPUs"
