#!/usr/bin/env bash
# A run that diverges ends with 6 within one step of the third skipped in a row, with the ids of its samples in exit.json and
# failure.json, on any number of ranks alike; the last good checkpoint stays and loads. Usage: diverging.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"

# Weight decay of 1 at a rate of 10 multiplies every weight by -9 a step, until products of activations are beyond fp32.
for ranks in 1 2; do
  code=0
  timeout -k 5 60 mpirun -np $ranks "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/r$ranks" --set report.progress=off \
    --set report.bootstrap=0 --set data.validation=null --set data.test=null --set optimizer.name=sgd --set optimizer.momentum=0 \
    --set optimizer.lr=10 --set optimizer.weight_decay=1 --set schedule.name=constant --set schedule.warmup=0 --set schedule.steps=100 \
    --set checkpoint.every=5 --set checkpoint.async=false > "$work/output" 2>&1 || code=$?
  ((code == 6)) || fail "exit $code, not 6"
  (($(grep -c "was skipped: .* is not finite; samples [0-9]" "$work/output") == 2)) || fail "not two skipped steps before the last"
  "$fmtrain" checkpoint verify "$work/r$ranks" > "$work/output" 2>&1 || fail "a checkpoint does not verify"
  "$fmtrain" checkpoint export "$work/r$ranks/checkpoints/step-10" -o "$work/r$ranks.safetensors" > "$work/output" 2>&1 || fail "the last good one is gone"
done
cmp "$work/r1.safetensors" "$work/r2.safetensors" || fail "other weights on two ranks"
python3 - "$work" <<'P' || fail "the records are not right"
import json, re, struct, sys
def at(name): return json.load(open(f"{sys.argv[1]}/{name}"))
def last_step(run): return [json.loads(line)["step"] for line in open(f"{sys.argv[1]}/{run}/log.jsonl")][-1]
records = [at(f"{run}/{name}.json") for run in ("r1", "r2") for name in ("exit", "failure")]
assert all(r["code"] == 6 and r["reason"] == records[0]["reason"] for r in records), records
step, ids = re.search(r"at step (\d+) .*; samples ([0-9, ]+)$", records[0]["reason"]).groups()
assert len(ids.split(",")) == 16, ids
assert {last_step("r1"), last_step("r2")} == {int(step) - 1}, step
warnings = [[json.loads(line) for line in open(f"{sys.argv[1]}/{run}/warnings.jsonl")] for run in ("r1", "r2")]
assert warnings[0] == warnings[1], warnings
skipped = [w for w in warnings[0] if w["kind"] == "not_finite"]
assert [w["step"] for w in skipped] == [int(step) - 2, int(step) - 1, int(step)], skipped
assert ", ".join(map(str, skipped[-1]["samples"])) == ids and len(skipped[-1]["texts"]) == 16, (skipped[-1], ids)
data = open(f"{sys.argv[1]}/r1.safetensors", "rb").read()
weights = struct.unpack(f"<{(len(data) - 8 - struct.unpack('<Q', data[:8])[0]) // 4}f", data[8 + struct.unpack("<Q", data[:8])[0]:])
assert all(abs(w) < 3e38 for w in weights), "the checkpoint is not a good one"
print(records[0]["reason"])
P
