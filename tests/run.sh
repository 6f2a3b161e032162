#!/usr/bin/env bash
# Set up this machine, build, run every test. Arguments go to ctest (e.g. -L unit, -R engine). The last lines are ctest's.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup.sh
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cd build
exec ctest --output-on-failure -j "$(nproc)" "$@"
