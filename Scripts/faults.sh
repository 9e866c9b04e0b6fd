#!/usr/bin/env bash
#
# Usage: Scripts/faults.sh [FILTER]
#
# Runs the tests that do something to a run (kill, stop, cut, fill, attack), and prints the table of what was done, how
# often, what was expected, what was observed, and how long it took to recover (median, 99th percentile). Each row names
# its test. FILTER, a regular expression, chooses among the tests. Exit status 1 if a test failed. fuzz.sh and sanitize.sh
# take longer; with DESCENT_EVIDENCE set to a file they add their rows to it.
#
# What Scripts/test.sh plays of a long enumeration is drawn from a fixed seed; here all of it is played.
#
# Examples:
#   Scripts/faults.sh > Tests/Evidence/faults.md
#   Scripts/faults.sh 'IntruderTests'

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

# The files with a test that adds a row.
evidence_suites() {
  grep -rlE 'Evidence\.add\(' --include '*.swift' "$root/Tests" |
    sed -nE 's|^.*/([A-Za-z]+Tests)/([A-Za-z]+)\.swift$|^\1\\..*\2|p' | LC_ALL=C sort | paste -s -d '|'
}

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
  -*) fail "$exit_usage" "unknown argument $1" 'See Scripts/faults.sh --help.' ;;
esac

require_packages "${build_needs[@]}" "${check_needs[@]}"
require_swift
cd -- "$root"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
readonly work
touch -- "$work/rows"

build_release --build-tests >&2
export DESCENT_EVERY_FAULT=yes
status=0
DESCENT_EVIDENCE="$work/rows" swift test --configuration release --skip-build --disable-xctest --no-parallel \
  --filter "${1:-$(evidence_suites)}" 2>&1 | tee -- "$work/log" |
  { grep_log --line-buffered -E '^[^A-Za-z]*(Test|Suite) .* (passed|failed) after' || true; } >&2 || status=$?
DESCENT_EVIDENCE="$work/rows" "$root/Scripts/sanitize.sh" kernels >>"$work/log" 2>&1 || status=$?
grep_log -E '^✘ .* recorded an issue|^[^A-Za-z]*(Test|Suite) .* skipped' "$work/log" >&2 || true

printf 'Measured on %s, %s cores, %s.\n\n' "$(date -u +%Y-%m-%d)" "$(nproc)" "$(sed -n "s/^model name[^:]*: //p" /proc/cpuinfo | head -n 1)"
python3 "$root/Scripts/faults/table.py" "$work/rows"
if ((status != 0)); then fail 1 'a test failed: its row is missing' "$(tail -n 3 -- "$work/log")"; fi
