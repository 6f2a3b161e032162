#!/usr/bin/env bash
# Ends the hosts of up.sh and every process on them; their networks and /dev/shm go with the last process.
# Usage: down.sh DIR
set -euo pipefail
if (($# != 1)); then sed -n 's/^# \{0,1\}//; 2,3p' "$0" >&2; exit 2; fi
own=$(readlink /proc/self/ns/net)
for file in "$1"/hub "$1"/h[0-9]*; do
  network=$(readlink "/proc/$(cat "$file" 2> /dev/null)/ns/net" || true)
  if [[ -z $network || $network == "$own" ]]; then continue; fi  # own: the number of a process that has ended was used anew
  while processes=$({ find /proc/[0-9]*/ns/net -maxdepth 0 -lname "${network//[\[\]]/?}" || true; } 2> /dev/null | grep -oE '[0-9]+'); do
    kill -KILL $processes 2> /dev/null || true
  done
done
guard=$(cat "$1/guard" 2> /dev/null || true)  # this process itself where OWNER has ended
if [[ -n $guard && $guard != "$$" ]]; then kill -KILL -- "-$guard" 2> /dev/null || true; fi
rm -f "$1"/hub "$1"/h[0-9]* "$1"/hosts "$1"/hub.log "$1/rsh" "$1/guard"
