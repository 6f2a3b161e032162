#!/usr/bin/env bash
# The bundle of cluster/bundle.sh: unpacked elsewhere and moved, in an environment of nothing, it finds LibTorch in every place
# that it names and trains with the weights of the build; without LibTorch, or with another one, it says so.
# Usage: bundle.sh FMTRAIN BUILD SOURCE
set -euo pipefail
fmtrain=$1 build=$2 source=$3
source "$source/tests/support/whole_run.sh"

"$source/cluster/bundle.sh" "$work/made/small.tar.gz" --build "$build" > "$work/output-pack" 2>&1 && fail "packed into no folder"
mkdir "$work/made" "$work/empty" "$work/home" "$work/home/bin"
touch "$work/home/bin/mine"
code=0
"$source/cluster/bundle.sh" "$work/home" --build "$build" > "$work/output-pack" 2>&1 || code=$?
[[ $code == 2 && -e $work/home/bin/mine ]] || fail "a folder of something else: exit $code, $(ls "$work/home/bin")"
grep -q "name a new folder" "$work/output-pack" || fail "said $(cat "$work/output-pack")"
cd "$work"
"$source/cluster/bundle.sh" "$work/made/small.tar.gz" --build "$build" > output-pack
tar -C empty -xzf made/small.tar.gz
mkdir "a place"
mv empty/small "a place/moved"
bundle="$work/a place/moved"
torch=$("$fmtrain" version | awk '$1 == "libtorch" { print $2 }')
torch=$(dirname "$(dirname "$torch")")
mpi=$("$fmtrain" version | awk '$1 == "libmpi" { print $2 }')  # this machine's, in its folders of libraries
ln -s "$torch" "$work/my torch"

clean() { env -i PATH=/usr/bin:/bin HOME="$work" TERM=dumb OMP_NUM_THREADS=1 "$@"; }
tiny() { echo "share/fmtrain/configs/tiny_cpu.yaml --set report.progress=off --set report.bootstrap=0 --set run.dir=$work/$1"; }
sha() { tail -n 1 "$work/$1/report.txt"; }
timeout -k 5 60 "$fmtrain" "$source/configs/tiny_cpu.yaml" --set report.bootstrap=0 --set run.dir="$work/built" > output-built 2>&1
cd "$bundle"
finds() {  # HOW COMMAND...
  local version
  version=$(clean "${@:2}" version) || fail "$1: $version"
  [[ $version == *"libtorch   $torch/lib/libtorch_cpu.so"* ]] || fail "$1: another LibTorch: $version"
  [[ $version == *"libmpi     $mpi"* ]] || fail "$1: another MPI than this machine's: $version"
  echo "found: $1"
}
refuses() {  # TEXT COMMAND...
  local said code=0
  said=$(clean "${@:2}" 2>&1) || code=$?
  [[ $code == 2 && $said == *"$1"* ]] || fail "exit $code, not 2 with \"$1\": $said"
}

refuses 'no LibTorch 2.' bin/fmtrain version
finds "--torch" bin/fmtrain --torch "$work/my torch"
finds FMTRAIN_TORCH env FMTRAIN_TORCH="$work/my torch" bin/fmtrain
finds LD_LIBRARY_PATH env LD_LIBRARY_PATH="/nowhere:$work/my torch/lib" bin/fmtrain
ln -s "$torch" libtorch; finds "in the bundle" bin/fmtrain; rm libtorch
ln -s "$torch" ../torch; finds "beside the bundle" bin/fmtrain
mkdir "$work/bin"
ln -s "$bundle/bin/fmtrain" "$work/bin/"
finds "by a link in PATH" env PATH="$work/bin:/usr/bin:/bin" fmtrain
rm ../torch
mkdir -p "$work/old/lib"
touch "$work/old/lib/libtorch_cpu.so"
echo "__version__ = '1.13.1+cu117'" > "$work/old/version.py"
refuses 'is LibTorch 1.13; this program was built with 2.' bin/fmtrain --torch "$work/old" version
refuses 'no lib/libtorch_cpu.so in it' bin/fmtrain --torch "$work/empty" version
path=$(readelf -d libexec/fmtrain | sed -n 's/.*(RUNPATH).*\[\(.*\)\]/\1/p')
[[ $path == '$ORIGIN/../lib' ]] || fail "the program looks for libraries in $path"

clean timeout -k 5 60 bin/fmtrain --torch "$work/my torch" $(tiny moved) > "$work/output-moved"
[[ $(sha moved) == "$(sha built)" ]] || fail "other weights than the build's"
clean env FMTRAIN_TORCH="$work/my torch" $(env | grep ^OMPI_) timeout -k 5 60 mpirun -np 2 bin/fmtrain $(tiny ranks) \
  > "$work/output-ranks" 2>&1 || fail "two ranks: exit $?"
[[ $(sha ranks) == "$(sha built)" ]] || fail "two ranks: other weights than the build's"
echo "weights of the build, alone and on two ranks; $(cut -f1 "$work/output-pack")"
