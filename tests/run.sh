#!/usr/bin/env bash
# Set up this machine, build, run every test. Arguments go to ctest (e.g. -L unit, -R engine). The last lines are ctest's.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup.sh --tests

# Python packages for the tests that compare with them; the program and all other tests need none.
packages=.deps/test-packages
if [[ -x .deps/venv/bin/pip ]] && ! sha256sum --status -c "$packages/installed" 2> /dev/null; then
  echo "tests: Python packages into $packages"
  rm -rf "$packages"
  .deps/venv/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes --target "$packages" -r tests/requirements.txt
  sha256sum tests/requirements.txt > "$packages/installed"
fi

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cd build
exec ctest --output-on-failure -j "$(nproc)" "$@"
