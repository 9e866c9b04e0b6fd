#!/usr/bin/env bash
#
# Usage: Scripts/fuzz.sh [TARGET|all] [SECONDS]
#
# Fuzzes the parsers of untrusted input with libFuzzer and the address sanitizer, SECONDS (default 60) per target,
# starting from the corpora in Tests/Fuzzing/Corpora and from valid inputs. Without arguments: every target. Prints
# executions, seconds, coverage and findings. An input that fails is kept under .build/fuzz/findings; copy it into the
# corpus of its target when the fault is fixed. FuzzingTests runs the corpora, and mutations of them, in every test run.
# Exit status 1 if there was a finding.
#
# All code is instrumented, so the build has a directory of its own, .build/fuzz.
#
# Examples:
#   Scripts/fuzz.sh
#   Scripts/fuzz.sh message 600

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

readonly corpora="$root/Tests/Fuzzing/Corpora" fuzz_build="$root/.build/fuzz"
# Longer inputs reach no further code; three records of CIFAR-10 fit.
readonly longest_input=9300
# lld, because gold warns about every symbol of the sanitizer.
readonly fuzz_flags=(-Xswiftc '-sanitize=fuzzer,address' -Xswiftc '-use-ld=lld'
  -Xcc '-fsanitize=address,fuzzer-no-link')

# fuzz TARGET SECONDS
fuzz() {
  local target=$1 seconds=$2 status=0
  local found="$fuzz_build/corpora/$1" first="$fuzz_build/seeds/$1" log="$fuzz_build/$1.log"
  mkdir -p -- "$found" "$first" "$fuzz_build/findings"
  # Swift's backtrace of a crash would wait for a debugger.
  SWIFT_BACKTRACE=enable=no DESCENT_FUZZ=$target DESCENT_FUZZ_SEEDS=$first "$fuzz_build/release/descent-fuzz" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len="$longest_input" -print_final_stats=1 \
    -artifact_prefix="$fuzz_build/findings/$target-" "$found" "$first" "$corpora/$target" \
    >"$log" 2>&1 </dev/null || status=$?
  local executions edges verdict='no finding'
  executions=$(sed -nE 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  edges=$(grep_log -oE 'cov: [0-9]+' "$log" | tail -n 1 | tr -dc 0-9 || true)
  ((status == 0)) || verdict="FINDING, see $log"
  printf '%-14s %12s executions %5s s %7s edges  %s\n' "$target" "${executions:-?}" "$seconds" "${edges:-?}" "$verdict"
  if ((status == 0)); then
    add_evidence bytes "inputs of the parser $target, by what its code does (libFuzzer)" "${executions:-0}" \
      'refused with a typed error, or read right; nothing for the address sanitizer' \
      "${executions:-0} executions in $seconds s, ${edges:-0} edges, no finding"
  fi
  return "$status"
}

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
esac
readonly chosen=${1-all} limit=${2-60}
[[ $limit =~ ^[1-9][0-9]*$ ]] ||
  fail "$exit_usage" "SECONDS must be a whole number above 0, but is $limit" 'See Scripts/fuzz.sh --help.'
if [[ $chosen == all ]]; then
  mapfile -t targets < <(find "$corpora" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | LC_ALL=C sort)
elif [[ -d $corpora/$chosen ]]; then
  targets=("$chosen")
else
  fail "$exit_usage" "unknown target $chosen: $corpora/$chosen does not exist" 'See Scripts/fuzz.sh --help.'
fi

require_packages "${build_needs[@]}"
require_swift
say 'Building with the fuzzer; the first build takes a few minutes'
mkdir -p -- "$fuzz_build"
# Package.swift declares the fuzzer only if this is set.
if ! DESCENT_FUZZ=build swift build --package-path "$root" --configuration release --product descent-fuzz \
  --scratch-path "$fuzz_build" "${fuzz_flags[@]}" >"$fuzz_build/build.log" 2>&1; then
  fail 1 'the build failed' "$(tail -n 20 -- "$fuzz_build/build.log")"
fi
has_finding=''
for target in "${targets[@]}"; do fuzz "$target" "$limit" || has_finding=yes; done
[[ -z $has_finding ]]
