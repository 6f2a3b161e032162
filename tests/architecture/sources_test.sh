#!/usr/bin/env bash
# Every rule of sources.sh can fail: a small tree that keeps them all passes; with one break added it does not, and the file is
# named. Usage: sources_test.sh SOURCES.SH
set -euo pipefail
script=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

tree() {  # a tree that keeps the rules
  rm -rf "$work/tree"
  mkdir -p "$work"/tree/{launch,runtime/config,runtime/data,models,comm,bench,tests}
  cd "$work/tree"
  echo 'project(x)' > CMakeLists.txt
  printf '#pragma once\n#include <ATen/core/Tensor.h>\n' > models/good.h
  printf '#include "comm/good.h"\n#include <mpi.h>\n' > comm/good.cpp
  printf '#pragma once\nstruct alignas(64) Twice {\n};\n' > comm/twice.h
  printf '#include <hdf5.h>\n' > runtime/data/h5.cpp
  printf '#include <yaml-cpp/parser.h>\n#include "models/good.h"\n#include "comm/good.h"\n' > runtime/config/good.cpp
  printf '#include "runtime/good.h"\n#include <CLI/CLI.hpp>\nconst char* home = std::getenv("HOME");\n' > launch/good.cpp
  yes '// a line' | head -n 1100 | split -l 390 --additional-suffix=.cpp - models/filler_ || true
  printf '#if defined(__x86_64__)\n#endif\n' > models/one_condition.cpp
}

breaks() {  # FILE TEXT: the file named, with this text, breaks a rule
  tree
  printf "$2" > "$1"
  if output=$(bash "$script" . 2>&1); then
    echo "not noticed: $1 with $2"
    failed=1
  elif [[ $output != *"$1:"* && $output != "$1 "* ]]; then
    echo "$1 with $2 is not named in: $output"
    failed=1
  fi
}

tree
if ! bash "$script" . ; then
  echo 'a tree that keeps the rules is refused'
  failed=1
fi

breaks models/x.cpp '#include "comm/good.h"\n'
breaks comm/x.cpp '#include "models/good.h"\n'
breaks comm/x.h '#pragma once\n#  include "runtime/good.h"\n'
breaks runtime/x.cpp '#include "launch/good.h"\n'
breaks runtime/x.cpp '#include "tests/support/good.h"\n'
breaks runtime/x.cpp '#include "good.h"\n'
breaks bench/x.cpp '#include "launch/good.h"\n'
breaks models/x.cu '#include "comm/good.h"\n'
breaks launch/x.cpp '#include <mpi.h>\n'
breaks runtime/x.cpp '#include <nccl.h>\n'
breaks launch/x.cpp '#include <hdf5.h>\n'
breaks runtime/data/x.cpp '#include <H5public.h>\n'
breaks runtime/x.cpp '#include <yaml-cpp/yaml.h>\n'
breaks runtime/x.cpp '#include <CLI/App.hpp>\n'
breaks models/x.h '#pragma once\n#include <torch/torch.h>\n'
breaks runtime/x.cpp 'const char* home = std::getenv("HOME");\n'
breaks comm/x.cpp 'const char* size = secure_getenv("PMI_SIZE");\n'
breaks models/x.cpp 'char** all = environ;\n'
breaks models/x.cpp 'auto x = torch::jit::load(file);\n'
breaks tests/x.cpp 'torch::load(x, file);\n'
breaks runtime/x.cpp 'torch::pickle_load(data);\n'
breaks runtime/x.cpp '// TODO: later\n'
breaks bench/x.sh '# FIXME\n'
breaks models/x.h 'int x;\n'
breaks CMakeLists.txt 'include(FetchContent)\n'
breaks tests/x.cmake 'file(DOWNLOAD a b)\n'
breaks CMakeLists.txt 'execute_process(COMMAND curl a)\n'
breaks runtime/x.h '#pragma once\n#include <string>\nint a(std::vector<int> x);\n'
breaks runtime/x.h '#pragma once\nint64_t a();\n'
breaks runtime/x.h '#pragma once\nclass Twice final : Other {\n};\n'
breaks CMakeLists.txt 'find_package(OpenMP)\n'
breaks runtime/x.cpp '#pragma omp parallel\n'
breaks models/x.cpp "$(yes '//\n' | head -n 401 | tr -d '\n')"
breaks comm/x.cpp '#ifdef A\n#endif\n'

((failed)) || echo 'every rule can fail'
exit "$failed"
