#!/usr/bin/env bash
# Address space that is enough for leaves of one sample and not for leaves of 512: the run ends with 2, failure.json holds what was
# asked for and what the rank's tensors held, and the advice leads to a run that fits.
# Usage: memory.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
export MALLOC_ARENA_MAX=2
cp -r "$source/configs/tiny_model" "$work/model"
for size in hidden_size:512 intermediate_size:4096 num_attention_heads:8; do
  sed -i "s/\"${size%:*}\": [0-9]*/\"${size%:*}\": ${size#*:}/" "$work/model/config.json"
done

run() {  # DIRECTORY MICRO ARGUMENTS...
  exec "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/$1" --set "model.path=$work/model" --set "batch.micro=$2" \
    --set batch.global=512 --set schedule.steps=1 --set data.validation=null --set data.test=null --set report.progress=off "${@:3}"
}

run small 1 > "$work/output" 2>&1 &
pid=$! peak=0
while kill -0 $pid 2> /dev/null; do
  now=$(sed -n 's/^VmPeak:[[:space:]]*\([0-9]*\) kB$/\1/p' /proc/$pid/status 2> /dev/null) || true
  peak=${now:-$peak}
  sleep 0.02
done
wait $pid || fail "the small run fails"
limit=$((peak + 80 * 1024))

code=0
(ulimit -v $limit; run large 512) > "$work/output" 2>&1 || code=$?
((code == 2)) || fail "exit $code, not 2, when memory runs out"
micro=$(python3 - "$work/large/failure.json" << 'END'
import json, re, sys
failure = json.load(open(sys.argv[1]))
ledger = failure["memory"]["ledger"]
assert failure["code"] == 2 and failure["phase"] == "train", failure
assert ledger["asked"] > 1 << 20 and ledger["parameters"]["now"] > 30 << 20 and ledger["activations"]["now"] > 30 << 20, ledger
advised = re.search(r"batch.micro: (\d+) instead of 512", failure["reason"])
assert failure["reason"].startswith("out of memory: ") and advised, failure
print(advised[1])
END
) || fail "failure.json is not what it should be"
(ulimit -v $limit; run advised "$micro") > "$work/output" 2>&1 || fail "batch.micro: $micro was advised and does not fit"
echo "out of memory at $((limit / 1024)) MiB: exit 2, need and ledger recorded; batch.micro: $micro, which was advised, fits"
