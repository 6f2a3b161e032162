#!/usr/bin/env bash
# cpack's tarball: unpacked and moved, it looks in no folder of the build, finds LibTorch by a link beside bin/ and by
# LD_LIBRARY_PATH, and trains with the weights of the build.
# Usage: package.sh FMTRAIN BUILD SOURCE
set -euo pipefail
fmtrain=$1 build=$2 source=$3
source "$source/tests/support/whole_run.sh"

cd "$work"
mkdir packed unpacked
cpack --config "$build/CPackConfig.cmake" -B packed > output-pack 2>&1 || fail "cpack: exit $?"
tar -C unpacked -xzf packed/fmtrain-*.tar.gz
mv unpacked/fmtrain-* "a place"
package="$work/a place"
version=$("$fmtrain" version)
torch=$(awk '$1 == "libtorch" { print $2 }' <<< "$version")
torch=$(dirname "$(dirname "$torch")")

for file in bin/fmtrain share/fmtrain/configs/tiny_cpu.yaml share/fmtrain/cluster/slurm/train.sbatch share/fmtrain/LICENSE; do
  [[ -e $package/$file ]] || fail "no $file in the package"
done
grep -rqF "$build" "$package/bin" && fail "a path of the build in the package"
path=$(readelf -d "$package/bin/fmtrain" | sed -n 's/.*(RUNPATH).*\[\(.*\)\]/\1/p')
[[ -n $path ]] || fail "no RUNPATH"
while read -r folder; do
  [[ $folder == '$ORIGIN/../torch/'* ]] || fail "the program looks for libraries in $folder"
done <<< "${path//:/$'\n'}"

clean() { env -i PATH=/usr/bin:/bin HOME="$work" OMP_NUM_THREADS=1 "$@"; }
from() { clean "$@" ldd "$package/bin/fmtrain" | awk '$1 == "libtorch_cpu.so" { print $3, $4 }'; }
[[ $(from) == "not found" ]] || fail "without LibTorch: $(from)"
clean "$package/bin/fmtrain" version > output-none 2>&1 && fail "it runs without LibTorch"
ln -s "$torch" other
[[ $(from env LD_LIBRARY_PATH="$work/other/lib") == "$work/other/lib/"* ]] || fail "LD_LIBRARY_PATH does not name LibTorch"
[[ $(clean env LD_LIBRARY_PATH="$work/other/lib" "$package/bin/fmtrain" version) == "$version" ]] ||
  fail "LD_LIBRARY_PATH: other versions"
ln -s "$torch" "$package/torch"
[[ $(from) == "$package/bin/../torch/lib/"* ]] || fail "a link does not name LibTorch: $(from)"
[[ $(clean "$package/bin/fmtrain" version) == "$version" ]] || fail "a link: other versions"

tiny() { echo "configs/tiny_cpu.yaml --set report.progress=off --set report.bootstrap=0 --set run.dir=$work/$1"; }
(cd "$source" && clean timeout -k 5 60 "$fmtrain" $(tiny built)) > output-built 2>&1 || fail "the build does not train"
(cd "$package/share/fmtrain" && clean timeout -k 5 60 "$package/bin/fmtrain" $(tiny packed)) > output-packed 2>&1 ||
  fail "the package does not train"
[[ $(tail -n 1 packed/report.txt) == "$(tail -n 1 built/report.txt)" ]] || fail "other weights than the build's"
echo "$(du -h packed/fmtrain-*.tar.gz | cut -f1), moved: the weights of the build"
