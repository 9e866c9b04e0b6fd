#!/usr/bin/env bash
#
# Usage: Scripts/sanitize.sh kernels|address|thread [FILTER]
#
# Runs code under the compiler's sanitizers. Any report is a failure.
#
#   kernels   addresses and undefined behaviour: every kernel in every variant, on buffers of exactly the size it may
#             touch. Takes seconds; Scripts/test.sh runs it.
#   address   addresses: the parsers, the shared-memory rings and the checkpoint store. A few minutes, mostly the build.
#             Scripts/fuzz.sh runs the parsers under the same sanitizer.
#   thread    data races: a cluster within one process, the shared-memory rings and the transport. A few minutes.
#
# FILTER, a regular expression, selects other tests. libzmq is not instrumented; Tests/Sanitizers/thread.supp suppresses
# the reports about it and gives the reasons.
#
# Undefined behaviour is checked in C only: Swift traps on it in every build.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

readonly settings="$root/Tests/Sanitizers"

kernels() {
  local compiler scratch
  compiler=$(c_compiler)
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064 # the present value
  trap "rm -rf -- '$scratch'" EXIT
  # The flags of Package.swift except optimization.
  "$compiler" -fuse-ld=lld -std=gnu11 -O1 -g -ffp-contract=off -fno-math-errno -fsanitize=address,undefined \
    -fno-sanitize-recover=all -I "$root/Sources/CKernels/include" -o "$scratch/kernels" \
    "$root"/Sources/CKernels/*.c "$settings/kernels.c" -lm
  local output calls status=0
  # Not through /dev/stderr: opening it would empty the file that standard error goes to.
  output=$("$scratch/kernels") || status=$?
  say "$output"
  calls=$(sed -nE 's/^([0-9]+) calls.*/\1/p' <<<"$output")
  [[ $status == 0 && -n $calls ]] || fail 1 'a sanitizer reported an error'
  add_evidence races 'the kernels in C, under the sanitizers of addresses and undefined behaviour' "$calls" 'no report' \
    "$calls calls, no report"
}

# sanitized NAME FILTER: runs the tests, built with the sanitizer NAME.
sanitized() {
  local name=$1 filter=$2 build="$root/.build/sanitize-$1" status=0
  local flags=(--package-path "$root" --configuration release --sanitize "$name" -Xswiftc -use-ld=lld --scratch-path "$build")
  mkdir -p -- "$build"
  say "Building with the $name sanitizer; the first build takes a few minutes"
  if ! swift build --build-tests "${flags[@]}" >"$build/build.log" 2>&1; then
    fail 1 'the build failed' "$(tail -n 20 -- "$build/build.log")"
  fi
  rm -f -- "$build"/report.*
  # Swift's backtrace of a crash would wait for a debugger. Leaks are ignored, as the runtimes of Swift and libzmq never
  # free some of their memory.
  SWIFT_BACKTRACE=enable=no ASAN_OPTIONS="detect_leaks=0:log_path=$build/report" \
    TSAN_OPTIONS="suppressions=$settings/thread.supp:log_path=$build/report:exitcode=66" \
    swift test --skip-build --disable-xctest --no-parallel "${flags[@]}" --filter "$filter" >"$build/test.log" 2>&1 ||
    status=$?
  grep_log -E 'Test run with' "$build/test.log" | tail -n 1 | sed 's/^[^T]*//'
  local reports
  reports=$(find "$build" -maxdepth 1 -name 'report.*' -size +0 -exec cat {} + | grep_log -c '^SUMMARY' || true)
  printf '%s reports of the %s sanitizer\n' "$reports" "$name"
  local tests
  tests=$(sed -nE 's/.*Test run with ([0-9]+) tests.*/\1/p' "$build/test.log" | tail -n 1)
  ((${tests:-0} > 0)) || fail 1 'no test ran' "See $build/test.log"
  if ((status != 0 || reports != 0)); then
    fail 1 "see $build/test.log and $build/report.*" \
      "$(find "$build" -maxdepth 1 -name 'report.*' -exec cat {} + | grep_log '^SUMMARY' | sort | uniq -c | sort -rn | head -n 20)"
  fi
  add_evidence races "the tests $filter, under the $name sanitizer" "$tests" 'no report' "$tests tests, $reports reports"
}

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
  kernels)
    require_swift
    kernels
    ;;
  address)
    require_packages "${build_needs[@]}"
    require_swift
    sanitized address "${2-FuzzingTests|MessagingTests|ChannelTests|HostileMemoryTests|DiagnosticsTests|CheckpointsTests|KernelTests|DatasetsTests}"
    ;;
  thread)
    require_packages "${build_needs[@]}"
    require_swift
    sanitized thread "${2-NodeRuntimeTests|TransportTests}"
    ;;
  *) fail "$exit_usage" "unknown sanitizer ${1-}" 'See Scripts/sanitize.sh --help.' ;;
esac
