#!/usr/bin/env bash
# The program and the shared libraries that a machine with LibTorch may lack, in one folder to carry there:
#   launch/bundle.sh DIR [--build BUILD] [--tests]
# DIR/bin/fmtrain starts it; LibTorch comes from LD_LIBRARY_PATH or from `DIR/bin/fmtrain --torch TORCH ...` (a wheel's torch/
# folder). LibTorch, CUDA and the C library stay out. --tests: the test programs with label gpu too. Several ranks need the
# other machine's own Open MPI of this version (mpirun and plugins); one process needs none.
set -euo pipefail

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }

build=$(cd "$(dirname "$0")/.." && pwd)/build out='' programs=(fmtrain)
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

# A dependency is LibTorch's or CUDA's where LibTorch's own libraries bring it; the C library's parts fit their kernel's loader
# only. LibTorch has its own libgomp.
foreign() {
  grep -E "^($(dirname "$torch")/|/usr/local/cuda)|/(libc|libm|libdl|librt|libpthread|libresolv|libutil|libgomp|libcuda)\.so"
}
torch=$(ldd "$build/fmtrain" | awk '$1 == "libtorch_cpu.so" { print $3 }')
torch=$(dirname "$(dirname "$torch")")

rm -rf "${out:?}/bin" "${out:?}/libexec" "${out:?}/lib"
mkdir -p "$out/bin" "$out/libexec" "$out/lib"
for program in "${programs[@]}"; do
  ldd "$build/$program" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }'
  strip --strip-all -o "$out/libexec/$(basename "$program")" "$build/$program"
done | sort -u | while read -r library; do
  foreign <<< "$library" > /dev/null || cp -L "$library" "$out/lib/"
done

cat > "$out/bin/fmtrain" << 'EOF'
#!/usr/bin/env bash
# [--torch TORCH] first: LibTorch is the wheel's torch/ folder TORCH. Else a folder in LD_LIBRARY_PATH has it. The CUDA libraries
# of a wheel lie in the nvidia/ folder beside torch/.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
torch=''
if [[ ${1:-} == --torch ]]; then
  torch=$(cd "$2" && pwd)/lib
  shift 2
else
  IFS=: read -ra folders <<< "${LD_LIBRARY_PATH:-}"
  for folder in "${folders[@]}"; do [[ ! -e $folder/libtorch_cpu.so ]] || torch=$folder; done
fi
libraries=''
for folder in "$torch"/../../nvidia/*/lib "$torch"; do [[ ! -d $folder ]] || libraries+=$folder:; done
export LD_LIBRARY_PATH=$libraries$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$here/libexec/$(basename "$0")" "$@"
EOF
chmod +x "$out/bin/fmtrain"
for program in "${programs[@]:1}"; do ln -sf fmtrain "$out/bin/$(basename "$program")"; done
du -sh "$out"
