#!/usr/bin/env bash
# Files in cluster/ that a test cannot run are at least read by what will read them; every file is listed in cluster/README.md.
# Usage: parse.sh SOURCE
set -euo pipefail
cd "$1/cluster"
failed=0 units=()
wrong() { echo "$*"; failed=1; }
while IFS= read -r file; do
  grep -qF "\`${file#./}\`" README.md || wrong "$file is not in cluster/README.md"
  case $file in
    *.sh | *.sbatch)
      bash -n "$file" || wrong "$file: not bash"
      if [[ $file == *.sbatch ]]; then
        awk '/^#SBATCH/ && code { exit 1 } !/^#/ && NF { code = 1 }' "$file" || wrong "$file: #SBATCH after the first command"
      else
        [[ -x $file ]] || wrong "$file: not executable"
      fi ;;
    *.lua)
      if ! command -v luac > /dev/null; then echo "no luac here: $file is not read"
      else luac -p "$file" || wrong "$file: not Lua"; fi ;;
    *.service | *.timer)
      if command -v systemd-analyze > /dev/null; then units+=("$file"); fi ;;
  esac
done < <(find . -type f ! -name README.md | sort)
# The programs that units name need not be on this machine; all else that systemd says is a mistake in them.
if ((${#units[@]})); then
  said=$(systemd-analyze verify --man=no --recursive-errors=no "${units[@]}" 2>&1 |
    grep -v 'Command .* is not executable' || true)
  if [[ -n $said ]]; then wrong "systemd: $said"; fi
else
  echo "no systemd-analyze here: units are not read"
fi
python3 ../tests/cluster/recipes.py .. || failed=1
presets=$(cd .. && cmake --list-presets) || wrong "CMakePresets.json: $presets"
for preset in {openmpi,mpich}-{cpu,cuda}; do
  [[ $presets == *"\"$preset\""* ]] || wrong "CMakePresets.json: no preset $preset"
done
((failed)) || echo "every file in cluster/ is listed and reads well"
exit "$failed"
