#!/usr/bin/env bash
# The tests of our own code that need no second program, under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer, in
# build-asan, and a run of the program on 1 and 2 ranks that saves, is stopped and resumes. The first report ends a test. The last line
# is a row for bench/results/faults.md.
# Usage: tests/sanitize.sh [build|run] [TEST...]   both, and all tests below, unless given; TEST "program" is that run
set -euo pipefail
cd "$(dirname "$0")/.."
part=all
if [[ ${1:-} == build || ${1:-} == run ]]; then part=$1 && shift; fi
tests=("$@")
if ((!$#)); then
  tests=(safetensors_test train_state_test config_test raw_data_test hostile_file_test plan_test metrics_test report_test run_lock_test
    tokenizer_test watch_test journal_test dataset_test checkpoint_store_test average_test unfreeze_test engine_parts_test sharded_engine_test
    skipped_steps_test leaf_check_test comm_threads damage_test power_loss_test kill_test program)
fi

if [[ $part != run ]]; then  # no GPU code: its driver needs the address space that the sanitizer takes; -O1: quick to build, whole stacks
  cmake -G Ninja -S . -B build-asan -DFMTRAIN_SANITIZE=address,undefined -DFMTRAIN_WITH_CUDA=OFF -DFMTRAIN_WERROR=OFF \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 > /dev/null
  cmake --build build-asan -j "$(nproc)" --target "${tests[@]/#program/fmtrain}"
fi
if [[ $part == build ]]; then exit; fi

# No detect_stack_use_after_return: GCC 12 then places vectors of 64 bytes where their instructions fault.
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS=suppressions=$PWD/tests/sanitize.supp:print_suppressions=0 OMP_NUM_THREADS=1
source tests/fault/ranks.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export FMTRAIN_HOME=$work/home
passed=0 failed=()

check() {  # NAME COMMAND...
  local code=0
  timeout -k 5 500 "${@:2}" > "$work/output" 2>&1 || code=$?
  if ((code)) || grep -qE "runtime error:|Sanitizer:" "$work/output"; then
    failed+=("$1")
    echo "$1: exit $code"
    grep -vE "^\[ +(OK|RUN)|^  what" "$work/output" | tail -n 60
  else
    passed=$((passed + 1))
    echo "$1: clean, $SECONDS s"
  fi
}
train() {  # RANKS DIRECTORY ZERO ASYNC
  check "$1 ranks, stage $3, checkpoint.async $4" mpirun -np "$1" build-asan/fmtrain configs/tiny_cpu.yaml --set "run.dir=$work/$2" \
    --set "engine.zero=$3" --set schedule.steps=20 --set report.progress=off --set report.bootstrap=0 --set data.limit=100 \
    --set "data.validation=$work/few.conll" --set data.test=null --set checkpoint.every=5 --set "checkpoint.async=$4"
}

program() {  # Open MPI's frames have no frame pointers: whose an allocation is, only the slow unwinder tells
  export ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0
  awk -v RS= -v ORS='\n\n' 'NR <= 20' data/wnut17/dev.conll > "$work/few.conll"
  cut -f 1 "$work/few.conll" | paste -sd ' ' > "$work/few.txt"
  train 1 one 0 true
  train 2 two 2 true
  rm -rf "$work"/two/checkpoints/step-20 "$work"/two/checkpoints/step-15 "$work"/two/report.json  # what a kill leaves
  train 2 two 3 false
  check predict build-asan/fmtrain predict "$work/one/model" "$work/few.txt"
  check "checkpoint verify" build-asan/fmtrain checkpoint verify "$work/two"
}

for test in "${tests[@]}"; do
  case $test in
    program) program ;;
    watch_test) check $test build-asan/tests/$test --gtest_filter=-Stack.NamesTheEndlessLoop ;;  # the sanitizer puts a frame of its own on the stack
    *) check "$test" "build-asan/tests/$test" ;;
  esac
done
((!${#failed[@]})) || { echo "sanitize.sh: reports or failures in: ${failed[*]}"; exit 1; }
echo "R21: ASan, UBSan, LSan: $passed trials, 0 failures; 0 own leaks and reports, $SECONDS s"
