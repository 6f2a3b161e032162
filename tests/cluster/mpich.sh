#!/usr/bin/env bash
# The build of preset mpich-cpu, where it was made, under MPICH's launcher: the weights of this build on 1, 2 and 4 ranks; and a
# program says so when another MPI's launcher starts it. Exit 77 where there is no MPICH or no such build.
# Usage: mpich.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
mpich=$source/build-mpich-cpu/fmtrain launcher=$(command -v mpiexec.mpich || true)
if [[ -z $launcher ]]; then echo "skipped: no MPICH here (apt-get install libmpich-dev mpich)"; exit 77; fi
if [[ ! -x $mpich ]]; then
  echo "skipped: no build-mpich-cpu (cmake --preset mpich-cpu; cmake --build --preset mpich-cpu)"
  exit 77
fi
[[ $("$fmtrain" version) != *MPICH* ]] || { echo "skipped: this build has MPICH too"; exit 77; }

"$mpich" version > "$work/output-version"
grep -qE '^mpi +MPICH [34]\.' "$work/output-version" || fail "it does not say which MPI it has"
grep -qE '^libmpi +/.*libmpi(ch)?\.so' "$work/output-version" || fail "it does not say which library it has"
code=0
"$source/cluster/bundle.sh" "$work/bundle" --build "$source/build-mpich-cpu" > "$work/output-bundle" 2>&1 || code=$?
[[ $code == 2 && $(cat "$work/output-bundle") == *"another MPI than Open MPI"* ]] || fail "a bundle of it: exit $code"
cd "$work"
tiny() { echo "$source/configs/tiny_cpu.yaml --set report.progress=off --set report.bootstrap=0 --set run.dir=$work/$1"; }
weights() { tail -n 1 "$1/report.txt"; }
timeout -k 5 60 "$fmtrain" $(tiny built) > output-built 2>&1 || fail "this build: exit $?"
timeout -k 5 60 "$mpich" $(tiny alone) > output-alone 2>&1 || fail "without a launcher: exit $?"
[[ $(weights alone) == "$(weights built)" ]] || fail "without a launcher: other weights than this build's"
for ranks in 1 2 4; do
  timeout -k 5 100 "$launcher" -n "$ranks" "$mpich" $(tiny "mpich-$ranks") > "output-$ranks" 2>&1 ||
    fail "$ranks ranks: exit $?"
  grep -q "^tiny_cpu: $ranks ranks\? " "mpich-$ranks/report.txt" ||
    fail "not $ranks ranks: $(head -n 3 "mpich-$ranks/report.txt")"
  [[ $(weights "mpich-$ranks") == "$(weights built)" ]] || fail "$ranks ranks: other weights than this build's"
done

refused() {  # WHO COMMAND...: every rank would be a world of its own
  local code=0
  timeout -k 5 60 "${@:2}" $(tiny mixed) > "output-mixed" 2>&1 || code=$?
  ((code)) || fail "$1: exit 0"
  grep -q "the launcher started 2 processes but MPI sees a world of 1: use the mpirun of $1" output-mixed ||
    fail "$1: it does not say why"
  [[ ! -e mixed/report.txt ]] || fail "$1: ranks that do not know of each other have trained"
}
refused MPICH mpirun -np 2 "$mpich"
refused "Open MPI" "$launcher" -n 2 "$fmtrain"
echo "MPICH on 1, 2, 4 ranks: the weights of this build; $(grep ^mpi "$work/output-version")"
