#!/usr/bin/env bash
# ReFrame runs its checks, except for the one that builds, and EasyBuild (with Lmod) finds all that its recipes need, where these
# are in PATH (pip install easybuild reframe-hpc). Exit 77 where neither is.
# Usage: site_tools.sh FMTRAIN SOURCE
set -euo pipefail
fmtrain=$1 source=$2
source "$source/tests/support/whole_run.sh"
tried=()
if command -v reframe > /dev/null; then
  cat > "$work/site.py" <<'P'
site_configuration = {
    "systems": [{"name": "here", "hostnames": [".*"],
                 "partitions": [{"name": "cpu", "scheduler": "local", "launcher": "mpirun", "environs": ["plain"]}]}],
    "environments": [{"name": "plain", "cc": "cc", "cxx": "c++", "ftn": ""}],
}
P
  checks() {
    (cd "$work" && timeout -k 5 200 reframe -C site.py -c "$source/cluster/reframe/fmtrain_checks.py" -S fmtrain="$fmtrain" "$@")
  }
  checks --dry-run > "$work/output-dry" 2>&1 || fail "ReFrame, dry: exit $?"
  grep -q 'Ran 4/4' "$work/output-dry" || fail "ReFrame, dry: not all checks"
  checks -n 'TwoRanks|Invariance|Bandwidth' -r > "$work/output-reframe" 2>&1 || fail "ReFrame: exit $?"
  grep -q 'Ran 3/3' "$work/output-reframe" || fail "ReFrame: not all checks"
  grep -qE 'all_reduce: [0-9.]+ GB/s' "$work/output-reframe" || fail "ReFrame: no bandwidth"
  tried+=("ReFrame, which ran the checks")
fi
source "$source/tests/cluster/lmod.sh"
if command -v eb > /dev/null && start_lmod; then
  options=(--prefix="$work/eb" --robot="$work:" --dry-run)
  if [[ $(id -u) == 0 ]]; then options+=(--allow-use-as-root-and-accept-consequences); fi  # nothing is built
  # PyTorch 2.11 in the place of the one that a site brings.
  for suffix in '' -CUDA-12.9.1; do
    printf '%s\n' "easyblock = 'Bundle'" "name = 'PyTorch'" "version = '2.11.0'" "versionsuffix = '$suffix'" "homepage = 'none'" \
      "description = 'none'" "toolchain = {'name': 'foss', 'version': '2025b'}" "moduleclass = 'ai'" \
      > "$work/PyTorch-2.11.0-foss-2025b$suffix.eb"
    recipe=fmtrain-0.1.0-foss-2025b$suffix.eb
    timeout -k 5 100 eb "${options[@]}" "$source/cluster/easybuild/$recipe" > "$work/output-$recipe" 2>&1 ||
      fail "EasyBuild, $recipe: exit $?"
    grep -q "\[ \] .*/$recipe" "$work/output-$recipe" || fail "EasyBuild would not install $recipe"
  done
  tried+=(EasyBuild)
fi
if ((${#tried[@]} == 0)); then echo "skipped: neither reframe nor eb with Lmod is here"; exit 77; fi
printf -v text ', %s' "${tried[@]}"
echo "read by ${text:2}"
