#!/usr/bin/env bash
#
# Usage: Scripts/sanitize.sh kernels|address|thread [FILTER]
#
# Runs code under the compiler's sanitizers; any report is a failure.
#
#   kernels   every kernel of every variant, with memory of exactly the size that it may touch: addresses and undefined
#             behaviour. Takes seconds; Scripts/test.sh runs it.
#   address   the parsers, the rings of shared memory and the disk store: addresses. Some minutes, nearly all of it to
#             build. Scripts/fuzz.sh has the parsers under the same sanitizer.
#   thread    the cluster within one process, the rings of shared memory and the transport: data races. As long.
#
# FILTER, a regular expression, chooses other tests. libzmq is not instrumented: what the thread sanitizer says of it is
# suppressed by Tests/Sanitizers/thread.supp, which says why.
#
# Undefined behaviour is a matter of C; Swift's is what traps and exclusive access are for, which every build has.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

readonly settings="$root/Tests/Sanitizers"

kernels() {
  local compiler scratch
  compiler=$(c_compiler)
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064 # the directory of now
  trap "rm -rf -- '$scratch'" EXIT
  # The flags of Package.swift, less speed.
  "$compiler" -fuse-ld=lld -std=gnu11 -O1 -g -ffp-contract=off -fno-math-errno -fsanitize=address,undefined \
    -fno-sanitize-recover=all -I "$root/Sources/CKernels/include" -o "$scratch/kernels" \
    "$root"/Sources/CKernels/*.c "$settings/kernels.c" -lm
  local output calls status=0
  # Not through /dev/stderr: opening it would empty the file that standard error goes to.
  output=$("$scratch/kernels") || status=$?
  say "$output"
  calls=$(sed -nE 's/^([0-9]+) calls.*/\1/p' <<<"$output")
  [[ $status == 0 && -n $calls ]] || fail 1 'a sanitizer found something'
  add_evidence races 'the kernels in C, under the sanitizers of addresses and undefined behaviour' "$calls" 'no report' \
    "$calls calls, no report"
}

# sanitized NAME FILTER: the tests, built with the sanitizer of that name.
sanitized() {
  local name=$1 filter=$2 build="$root/.build/sanitize-$1" status=0
  local flags=(--package-path "$root" --configuration release --sanitize "$name" -Xswiftc -use-ld=lld --scratch-path "$build")
  mkdir -p -- "$build"
  say "Building with the $name sanitizer; the first time takes some minutes"
  if ! swift build --build-tests "${flags[@]}" >"$build/build.log" 2>&1; then
    fail 1 'the build failed' "$(tail -n 20 -- "$build/build.log")"
  fi
  rm -f -- "$build"/report.*
  # Swift's own report of a crash waits for a debugger that is not there. What is never freed is no matter here: the
  # runtimes of Swift and libzmq keep some.
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
    sanitized address "${2-FuzzingTests|MessagingTests|SharedMemoryTests|JSONTextTests|CheckpointsTests|KernelTests|DatasetsTests}"
    ;;
  thread)
    require_packages "${build_needs[@]}"
    require_swift
    sanitized thread "${2-NodeRuntimeTests|SharedMemoryTests|ZeroMQTransportTests}"
    ;;
  *) fail "$exit_usage" "unknown sanitizer ${1-}" 'See Scripts/sanitize.sh --help.' ;;
esac
