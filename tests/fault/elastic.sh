#!/usr/bin/env bash
# A run that is killed again and again and goes on each time with another number of ranks and another ZeRO stage ends with the bits of a
# run that nobody disturbed: losses of every step and weights. From a leg on 3 ranks on, which add in another order, losses stay
# within 1e-5 of them for 200 steps, and the final metrics within 0.2 points. What each rank trained on, by its own record, is every sample
# once an epoch. FMTRAIN_FAULT_SCALE: how often.
# Usage: elastic.sh FMTRAIN_FAULTY SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
awk -v RS= -v ORS='\n\n' 'NR <= 200' "$source/data/wnut17/train.conll" > "$work/seen.conll"  # what is trained on: high figures

started=0
run() {  # RANKS ZERO DIRECTORY
  mkdir -p "$work/samples/$3"
  FMTRAIN_SAMPLES=$work/samples/$3/$started.$1 timeout -k 5 120 mpirun -np "$1" "$fmtrain" "$source/configs/tiny_cpu.yaml" \
    --set "run.dir=$work/$3" --set "engine.zero=$2" --set report.progress=off --set report.bootstrap=0 --set "data.validation=$work/seen.conll" \
    --set "data.test=$source/data/wnut17/dev.conll" --set schedule.steps=600 --set evaluate.every=1000000 --set checkpoint.every=7
}
newest() { { ls "$work/chain/checkpoints" 2> /dev/null || true; } | sed -n "s/^step-//p" | sort -n | tail -n 1; }
results() {
  python3 - "$work/$1" <<'P'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1] + "/log.jsonl")]
assert [line["step"] for line in lines] == list(range(1, len(lines) + 1)), "a step is missing or there twice"
print(json.load(open(sys.argv[1] + "/report.json"))["weights_sha256"], [(line["loss_hex"], line["grad_norm"]) for line in lines])
P
}
killed() {  # RANKS ZERO: all ranks at once, at a random instant after the leg's first checkpoint
  local before i
  before=$(newest)
  run "$1" "$2" chain > "$work/output" 2>&1 &
  local job=$!
  for ((i = 0; i < 1200; ++i)); do
    if [[ $(newest) != "$before" ]]; then break; fi
    sleep 0.05
  done
  [[ $(newest) != "$before" ]] || fail "no checkpoint after a minute"
  sleep "0.$((RANDOM % 90 + 10))"
  pkill -9 -f "^$fmtrain .*run.dir=$work/chain " || true
  wait $job && fail "the leg ended before it was killed"
  [[ $(newest) -ge ${before:-0} ]] || fail "the newest checkpoint went back"
  echo "$1 ranks, stage $2: killed after the checkpoint of step $(newest)"
}

# Files LEG.RANKS.RANK with lines "step epoch id id ...". A later leg does again what an earlier one lost: its records count from its
# first step on.
once() {  # DIRECTORY: prints what was found, or ends with what is wrong
  python3 - "$work/samples/$1" 600 <<'P'
import collections, os, sys
legs = collections.defaultdict(dict)
for name in os.listdir(sys.argv[1]):
    leg, ranks, rank = map(int, name.split("."))
    records = legs[leg, ranks][rank] = {}
    for line in open(f"{sys.argv[1]}/{name}"):
        step, epoch, *ids = map(int, line.split())
        assert step not in records, f"leg {leg}, rank {rank}: step {step} twice"
        records[step] = epoch, ids
starts = {leg: min(min(records) for records in ranks.values()) for leg, ranks in legs.items()}
epochs = collections.defaultdict(collections.Counter)
for step in range(int(sys.argv[2])):
    leg = max(leg for leg in legs if starts[leg] <= step)
    assert len(legs[leg]) == leg[1] and all(step in records for records in legs[leg].values()), f"step {step}: no record of a rank of leg {leg}"
    for records in legs[leg].values():
        epochs[records[step][0]].update(records[step][1])
last, samples = max(epochs), set(epochs[0])
for epoch, ids in epochs.items():
    assert max(ids.values()) == 1, f"epoch {epoch}: {ids.most_common(3)}"
    assert set(ids) == samples or (epoch == last and set(ids) < samples), f"epoch {epoch}: {len(ids)} of {len(samples)} samples"
assert samples == set(range(200)) and last == (int(sys.argv[2]) - 1) // 13, (len(samples), last)
inside = sum(start % 13 > 0 for start in starts.values())
print(f"{last + 1} epochs, {inside} of {len(legs) - 1} resumes inside one")
P
}

chain() {  # RANKS:STAGE...: all legs but the last are killed
  local leg
  rm -rf "$work/chain" "$work/samples/chain"
  for leg in "${@:1:$#-1}"; do
    started=$((started + 1))
    killed "${leg%:*}" "${leg#*:}"
  done
  leg=${*: -1}
  started=$((started + 1))
  run "${leg%:*}" "${leg#*:}" chain
  "$fmtrain" checkpoint verify "$work/chain" > "$work/output" 2>&1 || fail "a checkpoint is damaged"
  local samples
  samples=$(once chain) || fail "not every sample once an epoch after $*"
  echo "$*: every sample once an epoch: $samples"
}
near() {  # prints the largest relative distance of the 200 losses from the first on that is not equal
  python3 - "$work/undisturbed/log.jsonl" "$work/chain/log.jsonl" <<'P'
import json, sys
right, found = ([json.loads(line)["loss"] for line in open(path)] for path in sys.argv[1:])
first = next(i for i, (a, b) in enumerate(zip(right, found)) if a != b)
assert len(found) == len(right) and len(right) - first >= 200, (len(found), first)
most = max(abs(b / a - 1) for a, b in zip(right[first:first + 200], found[first:first + 200]))
assert most <= 1e-5, most
print(f"{most:.1e} in the 200 steps from step {first + 1}")
P
}

metrics() {  # prints the largest distance of a final metric, in points, on the texts trained on and on others, and the undisturbed run's F1
  python3 - "$work/undisturbed/report.json" "$work/chain/report.json" <<'P'
import json, sys
right, found = ([json.load(open(path))["after"][split]["metrics"] for split in ("validation", "test")] for path in sys.argv[1:])
shares = [(a[name], b[name]) for a, b in zip(right, found) for name in a if "f1" in name or name in ("accuracy", "precision", "recall")]
most = max(100 * abs(b - a) for a, b in shares)
assert len(shares) >= 16 and all(0.05 < m["f1"] < 1 and 0.8 < m["token_weighted_f1"] < 1 for m in right) and most <= 0.2, (right, found)
print(f"{most:.2f} points of the undisturbed run's, whose F1 is {100 * right[0]['f1']:.1f} on the texts trained on, {100 * right[1]['f1']:.1f} on others")
P
}

run 4 0 undisturbed
once undisturbed > "$work/output" || fail "not every sample once an epoch in the undisturbed run"
trials=${FMTRAIN_FAULT_SCALE:-1}
for ((trial = 0; trial < trials; ++trial)); do
  for legs in "4:1 2:3 8:2 1:0 4:3" "1:2 4:1"; do
    chain $legs
    [[ $(results undisturbed) == "$(results chain)" ]] || fail "other bits than the undisturbed run after $legs"
  done
  chain 4:1 2:0 3:2 4:3
  distance=$(near) || fail "too far from the undisturbed run after a leg on 3 ranks"
  metric=$(metrics) || fail "another final metric after a leg on 3 ranks"
done
echo "R11: killed and resumed on 4, 2, 8, 1, 4 and on 1, 4 ranks, stages mixed: $((2 * trials)) trials, 0 failures; bits equal to the undisturbed run; in every rank's own record each sample once an epoch"
echo "R11: killed and resumed on 4, 2, 3, 4 ranks: $trials trials, 0 failures; relative distance of losses at most $distance, final metrics within $metric; each sample once an epoch"
