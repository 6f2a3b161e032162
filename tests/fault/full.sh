#!/usr/bin/env bash
# No room for a checkpoint, on real file systems: a disk of 1.5 checkpoints, one without free names, one that becomes read-only, a
# directory that may not be written to. The checkpoint before stays intact, the message names path, needed and free bytes, training
# goes on and saves again once there is room, or ends with 5. Needs to mount: ends with 77 (skipped) where it may not.
# Usage: full.sh FMTRAIN SOURCE
set -euo pipefail
if [[ ${3:-} != inside ]]; then  # in a mount namespace of its own; as a user who is not root, in a user namespace too
  unshare -m true 2> /dev/null || map=-r
  unshare ${map:-} -m true 2> /dev/null || { echo "full.sh: skipped: no mount namespace here"; exit 77; }
  exec unshare ${map:-} -m "$0" "$1" "$2" inside
fi
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
trap 'pkill -9 -f "run.dir=$work/" || true; umount "$work/disk" 2> /dev/null || true; rm -rf "$work"' EXIT

mount_disk() {  # OPTIONS: a new disk, with the run directory's lock, logs and config outside the measured room
  umount "$work/disk" 2> /dev/null || true
  mkdir -p "$work/disk"
  mount -t tmpfs -o "$1" tmpfs "$work/disk" 2> /dev/null || { echo "full.sh: skipped: cannot mount"; exit 77; }
  rm -rf "$work/run"
  mkdir -p "$work/run"
  mkdir "$work/disk/checkpoints"
  ln -s "$work/disk/checkpoints" "$work/run/checkpoints"
}
run() {  # ARGUMENTS...: as the process itself
  exec ${without:-} "$fmtrain" "$source/configs/tiny_cpu.yaml" --set "run.dir=$work/run" --set report.progress=off --set report.bootstrap=0 \
    --set data.validation=null --set data.test=null --set schedule.steps=200 --set checkpoint.every=40 --set checkpoint.keep=1 "$@"
}
steps_done() { if [[ -f $work/run/log.jsonl ]]; then wc -l < "$work/run/log.jsonl"; else echo 0; fi; }
until_true() {  # WHAT COMMAND...
  local i what=$1
  shift
  for ((i = 0; i < 1000; ++i)); do
    if "$@"; then return; fi
    kill -0 "$job" 2> /dev/null || fail "the run ended before: $what"
    sleep 0.02
  done
  fail "waited 20 s for: $what"
}
newest() { { ls "$work/disk/checkpoints" 2> /dev/null || true; } | sed -n 's/^step-//p' | sort -n | tail -n 1; }
has_checkpoint() { [[ -n $(newest) ]]; }
newer_than() { [[ $(newest) -gt $1 ]]; }
says() { grep -qE "$1" "$work/output"; }
verified() { "$fmtrain" checkpoint verify "$work/run" > "$work/verify" 2>&1 || { cat "$work/verify"; fail "$1: a checkpoint is damaged"; }; }
ends_with() {
  local code=0
  wait "$job" || code=$?
  [[ $code == "$1" ]] || fail "$2: exit $code, not $1"
}
start() {
  run "$@" > "$work/output" 2>&1 &
  job=$!
}

# How large one is.
mount_disk size=64m
start --set schedule.steps=40
ends_with 0 "a disk with room"
bytes=$(cat "$work"/disk/checkpoints/step-40/* | wc -c)

# 1.5 checkpoints: the first fits, the second does not, and after three the run gives up. With more room the next start goes on.
mount_disk "size=$((bytes * 3 / 2))"
start
ends_with 5 "a disk of 1.5 checkpoints"
says "$work/run/checkpoints: no checkpoint of step 80: it needs [0-9]+ bytes, [0-9]+ are free" || fail "the message lacks path, needed or free bytes"
[[ $(newest) == 40 ]] || fail "the first checkpoint is gone"
verified "a disk of 1.5 checkpoints"
mount -o "remount,size=$((bytes * 4))" "$work/disk"
start
ends_with 0 "room again"
[[ $(newest) == 200 ]] || fail "no checkpoint at the end"
echo "disk of 1.5 checkpoints of $bytes bytes: exit 5 with the first one intact, then room and exit 0"

# No free names, and then some, within one run. The disk has bytes enough.
mount_disk "size=64m"
start --set schedule.steps=100000 --set checkpoint.every=100
until_true "a first checkpoint" has_checkpoint
mount -o "remount,nr_inodes=$(($(df --output=iused "$work/disk" | tail -n 1) + 1))" "$work/disk"
until_true "a failed save" says "cannot write the checkpoint of step [0-9]+: No space left on device"
verified "no free names"
mount -o "remount,nr_inodes=10000" "$work/disk"
until_true "a save after there was room" newer_than "$(newest)"
kill -USR1 "$job"
ends_with 75 "no free names"
verified "no free names"
echo "no free names: goes on, and saves once there are some"

# Read-only in the middle, for good: three failed saves, then 5.
mount_disk "size=64m"
start --set schedule.steps=100000 --set checkpoint.every=60
until_true "a first checkpoint" has_checkpoint
for ((i = 0; i < 500; ++i)); do  # while a save has a file open it cannot be
  if mount -o remount,ro "$work/disk" 2> /dev/null; then break; fi
  sleep 0.01
done
ends_with 5 "read-only"
says "$work/run/checkpoints: cannot write the checkpoint of step [0-9]+: Read-only file system" || fail "the message lacks path or cause"
verified "read-only"
echo "read-only in the middle: exit 5 with the older one intact"

# A directory that may not be written to: some failed saves, then it may again and the run saves; and then for good: 5. Root passes
# permission bits by a capability, which this run does without.
without="setpriv --bounding-set=-dac_override,-dac_read_search"
$without true 2> /dev/null || { echo "a directory that may not be written to: not tried: no setpriv here"; exit 0; }
mount_disk "size=64m"
start --set schedule.steps=100000 --set checkpoint.every=100
until_true "a first checkpoint" has_checkpoint
chmod 500 "$work/disk/checkpoints"
until_true "a failed save" says "$work/run/checkpoints: cannot write the checkpoint of step [0-9]+: Permission denied"
chmod 700 "$work/disk/checkpoints"
until_true "a save after it could be written to" newer_than "$(newest)"
chmod 500 "$work/disk/checkpoints"  # while no save is under way
verified "permission denied"
ends_with 5 "permission denied"
(($(grep -c "warning: .*Permission denied" "$work/output") >= 3)) || fail "fewer than three failed saves"
[[ -z $(find "$work/disk/checkpoints" -name '.tmp-*') ]] || fail "a broken save is left"
verified "permission denied"
chmod 700 "$work/disk/checkpoints"
echo "a directory that may not be written to: goes on and saves once it may; for good: exit 5 with the older one intact"
