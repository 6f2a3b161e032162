#!/usr/bin/env bash
# The program as it is built and installed: position independent, bound at start, no memory both writable and executable, and
# libraries looked for in absolute folders that are no stubs. Usage: binary.sh FMTRAIN BUILD
set -euo pipefail
program=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

wrong() {
  echo "$1"
  failed=1
}
check() {  # PROGRAM
  local dynamic segments path folder
  dynamic=$(readelf -dW "$1") segments=$(readelf -lW "$1")
  [[ $dynamic =~ FLAGS_1.*PIE ]] || wrong "$1: not position independent"
  [[ $dynamic =~ FLAGS_1.*NOW ]] || wrong "$1: not bound at start"
  [[ $segments == *GNU_RELRO* ]] || wrong "$1: no segment that is read-only after relocation"
  [[ $segments == *GNU_STACK* ]] || wrong "$1: nothing forbids an executable stack"
  grep -E '^ +[A-Z_]+ +0x' <<< "$segments" | grep -E ' RWE ' && wrong "$1: a segment is writable and executable"
  [[ $dynamic != *'(RPATH)'* ]] || wrong "$1: RPATH goes before LD_LIBRARY_PATH; use RUNPATH"
  path=$(sed -n 's/.*(RUNPATH).*\[\(.*\)\]$/\1/p' <<< "$dynamic")
  [[ -n $path ]] || wrong "$1: no RUNPATH"
  while IFS= read -r folder; do
    case $folder in
      '') wrong "$1: an empty folder in RUNPATH is the working directory: $path" ;;
      *stubs* | */lib/intel64* | */lib/win-x64* | */./* | */../*) wrong "$1: $folder in RUNPATH" ;;
      /*) [[ -d $folder ]] || wrong "$1: no folder $folder, named in RUNPATH" ;;
      *) wrong "$1: a folder in RUNPATH that is not absolute: $folder" ;;
    esac
  done <<< "${path//:/$'\n'}"
}

check "$program"
cmake --install "$build" --prefix "$work" > "$work/log" || wrong "cmake --install fails: $(cat "$work/log")"
check "$work/bin/fmtrain"
cd "$work"
version=$(env -u LD_LIBRARY_PATH "$work/bin/fmtrain" version) || wrong 'the installed program does not run'
[[ $version == fmtrain\ * ]] || wrong "the installed program says: $version"
missing=$(env -u LD_LIBRARY_PATH ldd "$work/bin/fmtrain" | grep 'not found') && wrong "libraries are not found: $missing"

((failed)) || echo 'built and installed program are as they must be'
exit "$failed"
