# Sourced by tests that start the program; the caller has set source. Sets work, an empty directory that goes when the test ends, with
# every run whose directory lies in it.
source "$source/tests/fault/ranks.sh"
work=$(mktemp -d)
trap 'pkill -9 -f "run.dir=$work/" || true; rm -rf "$work"' EXIT
export FMTRAIN_HOME=$work/home
fail() { echo "$(basename "$0"): $*"; cat "$work"/output* "$work"/*/exit.json "$work"/*/failure.txt 2> /dev/null || true; exit 1; }
