#!/usr/bin/env bash
# Starts the program of a bundle (cluster/bundle.sh) with a LibTorch of this machine. A folder with LibTorch is a wheel's
# torch/, or an unpacked libtorch/; the first of these is taken:
#   fmtrain --torch FOLDER ...           the variable FMTRAIN_TORCH
#   a folder in LD_LIBRARY_PATH that has libtorch_cpu.so
#   torch/ or libtorch/ in the bundle, or beside it
#   that of python3, where `import torch` would find it
# `fmtrain version` names the one that was found.
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.." && pwd)
name=$(basename "$0")
needs=$(cat "$here/lib/torch-version")
fail() { echo "fmtrain: $*" >&2; exit 2; }
has_torch() { [[ -e $1/lib/libtorch_cpu.so ]]; }

if [[ ${1:-} == --help-bundle ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; fi
torch=${FMTRAIN_TORCH:-}
if [[ ${1:-} == --torch ]]; then
  torch=${2:?"--torch FOLDER"}
  shift 2
fi
IFS=: read -ra path <<< "${LD_LIBRARY_PATH:-}"
if [[ -n $torch ]]; then
  has_torch "$torch" || fail "$torch: no lib/libtorch_cpu.so in it; name a wheel's torch/ or an unpacked libtorch/"
else
  places=("$here/torch" "$here/libtorch" "$here/../torch" "$here/../libtorch")
  for folder in "${path[@]}"; do
    if [[ -e $folder/libtorch_cpu.so ]]; then places=("$folder/.." "${places[@]}"); break; fi
  done
  for torch in "${places[@]}" ''; do
    if [[ -n $torch ]] && has_torch "$torch"; then break; fi
  done
  if [[ -z $torch ]]; then
    where='from importlib.util import find_spec; print(find_spec("torch").submodule_search_locations[0])'
    torch=$(python3 -c "$where" 2> /dev/null || true)
  fi
  [[ -n $torch ]] || fail "no LibTorch $needs found; name one with --torch FOLDER or FMTRAIN_TORCH (fmtrain --help-bundle)"
fi
torch=$(cd "$torch" && pwd)
found=$(cat "$torch"/{version.py,build-version} 2> /dev/null | sed -nE "s/^(__version__ = ['\"])?([0-9]+\.[0-9]+).*/\2/p" || true)
[[ -z $found || $found == "$needs" ]] || fail "$torch is LibTorch $found; this program was built with $needs"

# The bundle's Open MPI only where this machine has none: its own one knows the launcher and finds its plugins.
mpi=:$here/lib/mpi
for folder in "${path[@]}" "$(dirname "$(dirname "$(command -v mpirun || true)")")"/lib*; do
  if compgen -G "$folder/libmpi.so.40*" > /dev/null; then mpi=; fi
done
if [[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2> /dev/null) == *libmpi.so.40* ]]; then mpi=; fi
cuda=
for folder in "$torch"/../nvidia/*/lib; do  # the CUDA libraries of a wheel
  if [[ -d $folder ]]; then cuda+=$(cd "$folder" && pwd):; fi
done
export LD_LIBRARY_PATH=$cuda$torch/lib:$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}$mpi
exec "$here/libexec/$name" "$@"
