#!/usr/bin/env bash
# The rules of docs/architecture.md that no compiler checks. Usage: sources.sh SOURCE. Each break is a line
# "file:line:text  <- rule", and the exit code is 1.
set -uo pipefail
cd "$1" || exit 2
broken=0

rule() {  # RULE: every line of standard input breaks it
  while IFS= read -r line; do
    printf '%s  <- %s\n' "$line" "$1"
    broken=1
  done
}
code() {  # FOLDER...: C++ and CUDA
  find "$@" -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) 2> /dev/null | sort
}
search() { xargs -r -d '\n' grep -HnE "$@"; }         # files on standard input
outside() { grep -vE "^($1)"; }                        # lines that begin with other paths
include='^[[:space:]]*#[[:space:]]*include[[:space:]]*'

# ---- who may include whom -----------------------------------------------------------------------
arrows() {  # FOLDER ALLOWED|ALLOWED...
  rule "$1 may include $2 only" < <(code "$1" | search "$include\"" | grep -vE "include[[:space:]]*\"($2)/")
}
arrows models 'models'
arrows comm 'comm'
arrows runtime 'runtime|models|comm'
arrows launch 'launch|runtime|models|comm'
arrows bench 'bench|runtime|models|comm'

# ---- third-party libraries behind their fences ---------------------------------------------------
fence() {  # HEADERS ALLOWED: a pattern of headers, and the paths that may include them
  rule "only $2 may include $1" < <(code launch runtime models comm bench | search "$include[<\"]($1)" | outside "$2")
}
fence 'mpi\.h|nccl\.h' 'comm/'
fence 'hdf5|H5' 'runtime/data/h5\.cpp:'
fence 'yaml-cpp' 'runtime/config/'
fence 'CLI/' 'launch/|bench/'
fence 'benchmark/' 'bench/'
rule 'a header includes ATen/core/Tensor.h' < <(code launch runtime models comm | grep '\.h$' | search "$include<(torch/(torch|types|autograd)|ATen/ATen)\.h")

# ---- the environment ------------------------------------------------------------------------------
rule 'the environment is read in launch' < <(code runtime models comm | search '\b(secure_)?getenv\b|\benviron\b')

# ---- what never appears ---------------------------------------------------------------------------
rule 'pickle runs code: use safetensors' < <(code launch runtime models comm bench tests |
  search '\b(torch::load|torch::pickle_load|pickle_load|jit::load|jit::import)\b')
rule 'no unfinished work in the tree' < <(find CMakeLists.txt launch runtime models comm bench tests configs cluster docs README.md -type f \
  -not -path 'tests/architecture/*' 2> /dev/null | sort | search '\b(TODO|FIXME)\b')
rule 'a header is guarded by #pragma once' < <(code launch runtime models comm bench tests | grep '\.h$' | xargs -r -d '\n' grep -L '^#pragma once')

rule 'a header includes what it names of the standard library' < <(code launch runtime models comm | grep '\.h$' | xargs -r -d '\n' awk '
  function needs(header, pattern) { pattern_of[header] = pattern }
  BEGIN {
    split("array atomic deque filesystem map optional set span string string_view thread tuple unordered_map variant vector", same)
    for (i in same) needs(same[i], "std::" same[i] "[^a-z_]")
    needs("chrono", "std::chrono"); needs("cstdint", "(^|[^a-z_])u?int(8|16|32|64)_t"); needs("functional", "std::function<")
    needs("memory", "std::((make_)?(unique|shared)|weak)_?(ptr)?<"); needs("mutex", "std::(mutex|unique_lock)")
    needs("stdexcept", "std::(runtime_error|invalid_argument|logic_error)"); needs("utility", "std::(pair<|move\\()")
  }
  function report() { for (h in named) if (!((file, h) in given)) print named[h] " (<" h ">)"; delete named }
  FNR == 1 { report(); file = FILENAME }
  /^#include </ { gsub(/[<>]/, "", $2); given[FILENAME, $2] = 1; next }
  { sub(/\/\/.*/, ""); for (h in pattern_of) if (!(h in named) && $0 ~ pattern_of[h]) named[h] = FILENAME ":" FNR ":" $0 }
  END { report() }')

rule 'a type has a name of its own: what two headers give, a linker mixes up' < <(code launch runtime models comm | grep '\.h$' |
  xargs -r -d '\n' awk '
  { sub(/alignas\([0-9]+\) /, "") }
  /^(struct|class|enum class) [A-Za-z]+[^;]*\{/ {
    name = $1 == "enum" ? $3 : $2
    if (name in first) print FILENAME ":" FNR ":" $0 " (and " first[name] ")"
    first[name] = FILENAME
  }')

builds() { find CMakeLists.txt bench tests cmake -type f \( -name CMakeLists.txt -o -name '*.cmake' \) 2> /dev/null | sort; }
rule 'a build needs no network' < <(builds | search -i 'FetchContent|ExternalProject|\bDOWNLOAD\b|\b(curl|wget|pip)\b|git clone')
rule 'a second OpenMP runtime: use at::parallel_for' < <({ builds; code launch runtime models comm bench; } |
  search -e 'find_package\(OpenMP|#[[:space:]]*pragma[[:space:]]+omp')

# ---- sizes ----------------------------------------------------------------------------------------
rule 'a file has at most 400 lines' < <({ code launch runtime models comm bench tests; builds
  find launch cluster bench tests -type f \( -name '*.sh' -o -name '*.py' \) 2> /dev/null; } | sort -u |
  while IFS= read -r file; do
    lines=$(wc -l < "$file")
    if ((lines > 400)); then echo "$file:$lines lines"; fi
  done)
total=$(code launch runtime models comm | xargs -r -d '\n' cat | wc -l)
conditions=$(code launch runtime models comm | xargs -r -d '\n' cat | grep -cE '^[[:space:]]*#[[:space:]]*(if|elif)')
if ((conditions * 1000 > total)); then
  code launch runtime models comm | search '^[[:space:]]*#[[:space:]]*(if|elif)' |
    rule "$conditions conditions of the preprocessor in $total lines; at most 1 in 1000"
  broken=1
fi

((broken)) || echo "sources.sh: $total lines of program keep the rules"
exit "$broken"
