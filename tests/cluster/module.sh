#!/usr/bin/env bash
# The module file of an installation, by Lmod: load, help, unload. Exit 77 where there is no Lmod.
# Usage: module.sh BUILD SOURCE
set -euo pipefail
build=$1 source=$2
source "$source/tests/support/whole_run.sh"
source "$source/tests/cluster/lmod.sh"
if ! start_lmod; then echo "skipped: no Lmod here (apt-get install lmod)"; exit 77; fi

cmake --install "$build" --prefix "$work/installed" > "$work/output-install" || fail "not installed"
module use "$work/installed/share/fmtrain/modulefiles"
before=$(command -v fmtrain || true)
module load fmtrain
[[ $(command -v fmtrain) == "$work/installed/bin/fmtrain" ]] || fail "loaded, PATH has $(command -v fmtrain)"
fmtrain version > "$work/output-version" || fail "loaded, it does not run"
module list 2>&1 | grep -q 'fmtrain/[0-9]' || fail "module list: $(module list 2>&1)"
module help fmtrain 2>&1 | grep -q "$work/installed/share/fmtrain/cluster/slurm" ||
  fail "module help: $(module help fmtrain 2>&1)"
module whatis fmtrain 2>&1 | grep -q 'equal bits' || fail "module whatis: $(module whatis fmtrain 2>&1)"
module unload fmtrain
[[ $(command -v fmtrain || true) == "$before" ]] || fail "unloaded, PATH has $(command -v fmtrain)"
mkdir -p "$work/elsewhere/fmtrain"
cp "$source/cluster/modules/fmtrain.lua" "$work/elsewhere/fmtrain/1.lua"
module unuse "$work/installed/share/fmtrain/modulefiles"
module use "$work/elsewhere"
module load fmtrain > "$work/output-elsewhere" 2>&1 && fail "copied, it loads without the name of an installation"
grep -q "name the installation in" "$work/output-elsewhere" || fail "copied, it says $(cat "$work/output-elsewhere")"
echo "Lmod loads, explains and unloads it"
