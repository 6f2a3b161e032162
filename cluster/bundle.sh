#!/usr/bin/env bash
# The program with the shared libraries that a machine with LibTorch may lack, in one folder that runs wherever it is put:
#   cluster/bundle.sh OUT [--build BUILD] [--tests]          OUT: a folder, or a file that ends in .tar.gz
# LibTorch, CUDA and the C library stay out; OUT/bin/fmtrain --help-bundle says where it looks for LibTorch. Open MPI's
# libraries are in it for machines without; several ranks need the other machine's own Open MPI of the same series (mpirun or
# srun, plugins). --tests: the test programs with label gpu too. The other machine's C library must be as new as this one's or
# newer.
set -euo pipefail
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2; }

source=$(cd "$(dirname "$0")/.." && pwd)
build=$source/build out='' programs=(fmtrain)
while (($#)); do
  case $1 in
    --build) [[ $# -ge 2 ]] || usage; build=$2; shift ;;
    --tests) programs+=(tests/ops_gpu_test tests/train_gpu_test tests/comm_nccl) ;;
    -*) usage ;;
    *) [[ -z $out ]] || usage; out=$1 ;;
  esac
  shift
done
[[ -n $out ]] || usage
for program in "${programs[@]}"; do
  [[ -x $build/$program ]] || { echo "bundle: $build/$program is missing: build it first" >&2; exit 2; }
done
[[ $("$build/fmtrain" version) == *"Open MPI"* ]] || { echo "bundle: $build/fmtrain has another MPI than Open MPI: use cpack" >&2; exit 2; }
folder=$out
if [[ $out == *.tar.gz ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  folder=$work/$(basename "$out" .tar.gz)
fi

needed() { ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }'; }  # by the loader: those of all its libraries too
torch=$(needed "$build/fmtrain" | grep '/libtorch_cpu\.so$')
torch=$(dirname "$(dirname "$torch")")
# A library is LibTorch's or CUDA's where LibTorch's own libraries bring it; the C library's parts fit their kernel's loader
# only. LibTorch has its own libgomp.
own() {
  local system='libc|libm|libdl|librt|libpthread|libresolv|libutil|libgomp|libcuda'
  grep -vE "^($(dirname "$torch")/|/usr/local/cuda)|/($system)\.so" || true
}
# What MPI alone needs lies apart: a machine's own Open MPI must not meet it.
without_mpi() {
  local program
  for program in "${programs[@]}"; do
    readelf -d "$build/$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^libmpi\.' | while read -r name; do
      needed "$build/$program" | awk -v name="/$name" 'substr($0, length($0) - length(name) + 1) == name'
    done
  done | sort -u | own | while read -r library; do echo "$library"; needed "$library"; done | own | sort -u
}
every() { for program in "${programs[@]}"; do needed "$build/$program"; done | own | sort -u; }

if [[ -n $(ls -A "$folder" 2> /dev/null) && ! -e $folder/lib/torch-version ]]; then
  echo "bundle: $folder holds something else than a bundle: name a new folder" >&2
  exit 2
fi
rm -rf "${folder:?}"/{bin,libexec,lib,share}
mkdir -p "$folder"/{libexec,lib/mpi}
cmake --install "$build" --prefix "$folder" > /dev/null
for program in "${programs[@]}"; do strip --strip-all -o "$folder/libexec/$(basename "$program")" "$build/$program"; done
echo 'file(RPATH_SET FILE "${PROGRAM}" NEW_RPATH "\$ORIGIN/../lib")' > "$folder/lib/rpath.cmake"  # no path of this machine stays
for program in "$folder"/libexec/*; do cmake -DPROGRAM="$program" -P "$folder/lib/rpath.cmake" > /dev/null; done
rm "$folder/lib/rpath.cmake"
without_mpi | xargs -r cp -L -t "$folder/lib"
comm -13 <(without_mpi) <(every) | xargs -r cp -L -t "$folder/lib/mpi"
"$build/fmtrain" version | awk '$1 == "torch" { print $2 }' | cut -d. -f1,2 > "$folder/lib/torch-version"
cp "$source/cluster/start.sh" "$folder/bin/fmtrain"
for program in "${programs[@]:1}"; do ln -sf fmtrain "$folder/bin/$(basename "$program")"; done

if [[ $out == *.tar.gz ]]; then tar -C "$work" -czf "$out" "$(basename "$folder")"; fi
du -sh "$out"
