#!/usr/bin/env bash
# fmtrain check under mpirun: one table, one verdict and one exit code, whatever is wrong and on whichever rank.
# Usage: preflight.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
config=$source/configs/tiny_cpu.yaml json=
words() { echo "$fmtrain check $config --set run.dir=$work/run $json $*"; }
both() { timeout -k 5 60 mpirun -np 2 $(words "$@"); }              # two equal ranks
uneven() { timeout -k 5 60 mpirun -np 1 $(words) : -np 1 $(words "$@"); }  # the second one with more arguments
row() {  # NAME: "STATUS EXIT_CODE FOUND | FIX | DETAILS" of $work/output
  python3 - "$work/output" "$1" <<'P'
import json, sys
for row in json.load(open(sys.argv[1]))["checks"]:
    if row["name"] == sys.argv[2]:
        print(row["status"], row["exit_code"], row["found"], "|", row["fix"], "|", *row["details"])
P
}
expect() {  # CODE ROW PATTERN COMMAND...: ends with CODE, and the row says PATTERN
  local code=0
  "${@:4}" > "$work/output" 2> "$work/output2" || code=$?
  ((code == $1)) || fail "${*:4}: exit $code, not $1"
  [[ $(row "$2") =~ $3 ]] || fail "${*:4}: \"$3\" is not in: $(row "$2")"
  [[ $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["exit_code"])' "$work/output") == "$1" ]] || fail "the table has another code than $1"
  echo "$2: $(row "$2")"
}

both > "$work/output" 2> "$work/output2" || fail "exit $? where nothing is wrong"
grep -q '^ *rank  host' "$work/output" && grep -q '^verdict: start' "$work/output" || fail "no table, or no verdict"
(($(grep -c '^verdict:' "$work/output") == 1)) || fail "not one verdict"
[[ ! -e $work/run ]] || fail "a check made run.dir"
json=--json
both > "$work/output" 2> "$work/output2" || fail "exit $? with --json"
python3 - "$work/output" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
assert r["version"] == 1 and r["exit_code"] == 0 and r["ranks"] == 2 and r["hosts"] == 1 and r["verdict"] in ("ok", "warnings"), r
names = [c["name"] for c in r["checks"]]
assert names == ["launcher", "config", "placement", "devices", "program", "collectives", "nccl", "hosts", "clocks", "plan", "data", "weights", "memory",
                 "shared memory", "storage", "lock", "checkpoint", "time"], names
assert [p["rank"] for p in r["placement"]] == [0, 1] and [p["local_rank"] for p in r["placement"]] == [0, 1], r["placement"]
assert r["run"]["steps"]["ranks"] == 2 and r["run"]["data"]["train"]["sha256"], r["run"]
P

expect 2 program 'failed 2 .*rank 1 on [^ ]*: another config' uneven --set optimizer.lr=0.5
expect 2 config "failed 2 rank 1 on [^ ]*: " uneven --set no.such=1
expect 3 data 'failed 3 .*rank 1 on [^ ]*: another data' uneven --set "data.train=$source/data/wnut17/dev.conll"
expect 2 config 'failed 2 rank 1 on .*none.conll' uneven --set "data.train=$work/none.conll"
echo "not HDF5" > "$work/bad.h5"
expect 3 data 'failed 3 rank 1 on .*bad.h5' uneven --set "data.train=$work/bad.h5"
expect 5 storage 'failed 5 cannot make a directory' both --set "run.dir=$config/run"
expect 2 memory 'failed 2 .*no setting' both --memory 1MB
expect 2 plan 'failed 2 batch' both --set batch.micro=16
expect 2 weights 'failed 2 ' both --set model.init=pretrained
expect 0 placement 'warning 0 .*core 0 .*bind each rank' env OMPI_MCA_rmaps_base_oversubscribe=1 timeout -k 5 60 mpirun -np 2 taskset -c 0 $(words)

# As many worlds of one as the launcher started: each ends with 2, the first one speaks.
for number in 0 1; do
  code=0
  SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=$number timeout -k 5 60 $(words) > "$work/output.$number" 2> "$work/output2" || code=$?
  ((code == 2)) || fail "a world of one of two ended with $code"
done
[[ ! -s $work/output.1 ]] || fail "the second of two worlds of one speaks too"
mv "$work/output.0" "$work/output"
[[ $(row launcher) =~ "failed 2 the launcher started 2 processes but MPI sees a world of 1".*--mpi=pmix ]] || fail "$(row launcher)"

# What would be resumed, by whom.
timeout -k 5 60 mpirun -np 2 "$fmtrain" "$config" --set "run.dir=$work/run" --set report.progress=off --set report.bootstrap=0 --set schedule.steps=4 \
  --set data.validation=null --set data.test=null --set checkpoint.every=4 > "$work/output" 2>&1 || fail "the run ends with $?"
same=(--set schedule.steps=4 --set data.validation=null --set data.test=null)
expect 0 checkpoint 'ok 0 the run goes on from step 4' both "${same[@]}"
expect 2 checkpoint 'failed 2 .*optimizer.lr' both "${same[@]}" --set optimizer.lr=0.5
expect 3 checkpoint 'failed 3 .*data' both "${same[@]}" --set "data.train=$source/data/wnut17/dev.conll"
for shard in "$work"/run/checkpoints/step-*/shard-00000-*; do printf 'x' | dd of="$shard" bs=1 seek=4000 conv=notrunc 2> /dev/null; done
expect 4 checkpoint 'failed 4 .*none of' both "${same[@]}"
