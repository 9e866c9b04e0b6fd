#!/usr/bin/env bash
#
# Usage: Scripts/test.sh
#
# Runs every check of this repository, one pass after the other, and continues after a failure. Installs missing
# packages and the Swift toolchain, and builds in release mode with warnings as errors. The summary at the end lists
# failures, and skipped tests with the reason: without CIFAR-10 in data/cifar10 or DESCENT_DATA, those that need it. Exit
# status 0 if nothing failed.
#
# Examples:
#   Scripts/test.sh
#   DESCENT_DATA=DIR Scripts/test.sh                   with CIFAR-10 in DIR instead of data/cifar10
#   swift test -c release --filter OptimizationTests   run some of the tests

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

# These targets use no sockets, files, clocks or environment variables, which their imports show.
readonly pure_targets=(Diagnostics Optimization Messaging Cluster ClusterSimulation)
readonly impure_modules='Foundation|FoundationEssentials|Glibc|Dispatch|Logging|CZeroMQ|CSodium|CImages|Files'
readonly longest_file=400 longest_function=60
# Modules whose tests start processes and measure time: they run serially, after the other tests.
readonly process_modules='^(EndToEndTests|NodeRuntimeTests)\.'
readonly build_flags=(-Xswiftc -warnings-as-errors --explicit-target-dependency-import-check error)

# --- Passes: each is a function that fails, or returns `skip REASON` --------------------------------------------------

check_scripts() {
  local file status=0 scripts=("$root"/{Scripts,Scripts/*,Deploy/*}/*.sh "$root/.ci/run")
  shellcheck --external-sources "${scripts[@]}" || status=1
  check_names "${scripts[@]}" || status=1
  while read -r file; do
    # Parses only, without running it or writing a compiled file.
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])' "$file" || status=1
  done < <(find "$root/Scripts" "$root/Tests" -name '*.py')
  return "$status"
}

# Bash refuses to declare a local variable whose name a caller has made readonly, and takes the last of two functions of
# one name.
check_names() {
  local both twice file
  twice=$(for file; do sed -nE "s|^([a-z_0-9]+)\(\).*|$file: \1|p" -- "$file" | sort | uniq -d; done)
  [[ -z $twice ]] || say 'These functions are defined twice:' "$twice"
  both=$(comm -12 <(declared readonly "$@") <(declared local "$@"))
  [[ -z $both ]] || say 'These names are readonly in one script and local in another:' "$both"
  [[ -z $both && -z $twice ]]
}

# declared WORD FILE...: the names declared by lines that begin with WORD (readonly, local).
declared() {
  sed -nE "s/^ *$1 //p" -- "${@:2}" | sed -E "s/=(\([^)]*\)?|\"[^\"]*\"|'[^']*'|\\$\([^)]*\)|[^ ]*)//g" |
    grep -oE '(^| )[a-z_][a-z_0-9]*' | tr -d ' ' | LC_ALL=C sort -u
}

check_units() {
  command -v systemd-analyze >/dev/null || skip 'systemd-analyze is not installed' || return
  "$root/Scripts/verify-units.sh"
}

# attempt SCRIPT ARGUMENT...: skips what ends with 69, because this machine lacks something that the script names.
attempt() {
  local status=0
  "$root/Scripts/$1" "${@:2}" 2>"$work/attempt" || status=$?
  cat -- "$work/attempt" >&2
  ((status != exit_unavailable)) || skip "$(tail -n 1 -- "$work/attempt" | sed 's/^[a-z.-]*: //')" || return
  return "$status"
}

check_manifests() { attempt verify-kubernetes.sh; }
check_container() { attempt container.sh; }
# Of the stories that the scripts play, those that take the shortest time.
play_kubernetes() { attempt play-kubernetes.sh '^base: a worker is killed'; }
play_slurm() { attempt slurm.sh '^nothing, two nodes$'; }

check_format() {
  swift format lint --strict --recursive --parallel "$root/Package.swift" "$root/Sources" "$root/Tests"
}

check_imports() {
  local target found=0
  for target in "${pure_targets[@]}"; do
    if grep -rnE "^\s*(@\w+\s+)*((public|package|internal|fileprivate|private)\s+)?import\s+(\w+\s+)?($impure_modules)\b" \
      -- "$root/Sources/$target"; then
      found=1
    fi
  done
  ((found == 0)) || say 'Pure targets must not import files, sockets, clocks or Foundation.'
  return "$found"
}

# In files as `swift format` leaves them: a function ends with the first brace at its own indentation.
long_functions() {
  find "$root/Sources" -name '*.swift' -exec awk -v longest="$longest_function" '
    /^ *(@[A-Za-z]+(\([^)]*\))? |[a-z]+ )*(func |init[?(<])/ && !/}$/ {
      match($0, /^ */); indent = substr($0, 1, RLENGTH); start = FNR
    }
    start && $0 == indent "}" {
      if (FNR - start >= longest) print FILENAME ":" start ": " FNR - start + 1 " lines"
      start = 0
    }' {} +
}

check_house_rules() {
  local status=0
  if grep -rnE '\b(try!|as!|TODO|FIXME|XXX)(\s|$|:)' --include '*.swift' --include '*.[ch]' --include '*.inc' \
    -- "$root/Sources"; then
    say 'try!, as!, TODO, FIXME and XXX are not allowed in Sources.'
    status=1
  fi
  if find "$root/Sources" -name '*.swift' -exec wc -l {} + |
    awk -v longest="$longest_file" '$2 != "total" && $1 > longest { print; found = 1 } END { exit !found }' >&2; then
    say "Files must have at most $longest_file lines."
    status=1
  fi
  if long_functions | grep . >&2; then
    say "Functions must have at most $longest_function lines."
    status=1
  fi
  # The brackets keep this line from finding itself.
  if grep -rIniE '\b([w]ho(ever|m)?|([n]o|[s]ome)body|[a]new)\b' -- \
    "$root"/{Sources,Scripts,Deploy,Config,README.md,.github,.ci}; then
    say 'The subject of a sentence is a component: name it.'
    status=1
  fi
  "$root/Scripts/defences.sh" --list || status=1
  check_log_events || status=1
  check_tests || status=1
  return "$status"
}

# Tests are named by sentences, and the suites that the documents name exist.
check_tests() {
  local name status=0
  if find "$root/Tests" -name '*.swift' -exec awk '
    /^ *@Test/ { isTest = 1 }
    /^ *@Test\("/ || isTest && /func / && !/func `/ { print FILENAME ":" FNR ": " $0 }
    /func / { isTest = 0 }' {} + | grep . >&2; then
    say 'The name of a test is a raw identifier in sentence form.'
    status=1
  fi
  # shellcheck disable=SC2016 # the backticks are those of Markdown
  while read -r name; do
    [[ -d $root/Tests/$name ]] ||
      grep -rqE "(struct|class|enum|extension) $name\b" --include '*.swift' -- "$root/Tests" && continue
    say "There is no suite $name, which README.md or Deploy/security.md names."
    status=1
  done < <(grep -ohE '`[A-Z][A-Za-z]+Tests`' "$root/README.md" "$root/Deploy/security.md" | tr -d '`' | LC_ALL=C sort -u)
  return "$status"
}

# The names of log events in the sources: the second part of `.warning, event: "name"` and `.warning, "name"`, and the
# failures of each observer of a run that writes before the end.
log_events() {
  python3 - "$root/Sources" <<'PYTHON'
import pathlib, re, sys
names = set()
for path in pathlib.Path(sys.argv[1]).rglob("*.swift"):
    text = path.read_text(encoding="utf-8")
    names.update(re.findall(r'\.(?:debug|info|notice|warning|error),\s*(?:event:\s*)?"([a-z_]+)",', text))
    names.update(re.findall(r'event:\s*"([a-z_]+)"', text))
    if re.search(r": RunObserver\b", text) and re.search(r"func (membershipChanged|evaluated|workersMeasured)\([^{]*throws", text):
        names.update(f"{name}_failed" for name in re.findall(r'let name = "([a-z_]+)"', text))
print("\n".join(sorted(names)))
PYTHON
}

# Deploy/operations.md lists every log event, and no other.
check_log_events() {
  local listed
  # shellcheck disable=SC2016 # the backticks are those of Markdown
  listed=$(sed -nE 's/^\| `([a-z_]+)` \| (debug|info|notice|warning|error).*/\1/p' "$root/Deploy/operations.md" | sort)
  diff <(log_events) <(printf '%s\n' "$listed") || {
    say 'The table of log events in Deploy/operations.md (>) must name those of the sources (<).'
    return 1
  }
}

check_documentation() {
  [[ -n $is_build_good ]] || skip 'the build failed' || return
  "$root/Scripts/docs.sh"
}

# SwiftPM cannot turn warnings of C into errors.
check_c() {
  local compiler file
  compiler=$(c_compiler) || return
  for file in "$root"/Sources/{CKernels,CLinux,CImages}/*.c "$root"/Tests/CountGates/*.c; do
    "$compiler" -std=gnu11 -O1 -Wall -Wextra -Werror -I "$root/Sources/CKernels/include" -fsyntax-only "$file" ||
      return 1
  done
}

check_kernels() { "$root/Scripts/sanitize.sh" kernels; }

build() { build_release --build-tests "${build_flags[@]}"; }

run_tests() {
  [[ -n $is_build_good ]] || skip 'the build failed' || return
  swift test --package-path "$root" --configuration release --skip-build --disable-xctest "${build_flags[@]}" "$@" \
    2>&1 | tee -- "$pass_log"
  local status=${PIPESTATUS[0]}
  grep_log -E 'Test run with' "$pass_log" | tail -n 1 | sed 's/^[^T]*//' >>"$counts" || true
  grep_log -E '^✘ .* recorded an issue' "$pass_log" | cut -c 1-400 >>"$failures" || true
  LC_ALL=C sed -nE 's/^[^A-Za-z]*(Test|Suite) (.*) skipped: "?([^"]*)"?$/\3: \2/p' "$pass_log" >>"$skipped" || true
  if grep_log -qE 'Test run with 0 tests|No matching test' "$pass_log"; then
    say 'No test ran.'
    return 1
  fi
  return "$status"
}

unit_tests() { run_tests --skip "$process_modules"; }
process_tests() { run_tests --filter "$process_modules" --no-parallel; }

count_gates() {
  [[ -n $is_build_good ]] || skip 'the build failed' || return
  local status=0
  "$root/Scripts/count-gates.sh" | tee -- "$pass_log" || status=1
  grep_log -E '^(worse|new|gone) ' "$pass_log" | sed 's/^/counts: /' >>"$failures" || true
  sed -nE 's/^skipped +//p' "$pass_log" >>"$skipped"
  grep_log -E '^better ' "$pass_log" | sed 's/$/; keep it with Scripts\/count-gates.sh --record/' >>"$counts" || true
  return "$status"
}

# --- Main -------------------------------------------------------------------------------------------------------------

case ${1-} in
  '') ;;
  -h | --help)
    print_help
    exit 0
    ;;
  *) fail "$exit_usage" "unknown argument $1" 'See Scripts/test.sh --help.' ;;
esac

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
readonly work pass_log="$work/log" counts="$work/counts" skipped="$work/skipped" failures="$work/failures"
touch -- "$counts" "$skipped" "$failures"
results=()
has_failed=''
is_build_good=''
reason=''

# For a pass that cannot run on this machine: `skip REASON || return`.
skip() {
  reason=$1
  return 1
}

# pass NAME FUNCTION
pass() {
  local name=$1 began=$SECONDS verdict=ok
  reason=''
  printf '\n== %s\n' "$name"
  if ! "$2"; then
    if [[ -n $reason ]]; then
      verdict=skipped
      printf '%s: %s\n' "$reason" "$name" >>"$skipped"
    else
      verdict=FAILED
      has_failed=yes
    fi
  fi
  local line
  line=$(printf '%-8s %4d s  %s' "$verdict" $((SECONDS - began)) "$name")
  results+=("$line")
  printf '%s\n' "$line"
  [[ $verdict == ok ]]
}

require_packages "${build_needs[@]}" "${check_needs[@]}"
require_swift
find_real_data
cd -- "$root"

pass 'shell scripts' check_scripts || true
pass 'systemd units' check_units || true
pass 'format' check_format || true
pass 'imports of the pure targets' check_imports || true
pass 'house rules' check_house_rules || true
pass 'warnings of C' check_c || true
pass 'kernels under sanitizers' check_kernels || true
pass 'build, with warnings and undeclared imports as errors' build && is_build_good=yes
pass 'Kubernetes manifests' check_manifests || true
pass 'content of the image' check_container || true
pass 'Kubernetes, one story' play_kubernetes || true
pass 'Slurm, one story' play_slurm || true
pass 'documentation' check_documentation || true
pass 'unit and simulation tests' unit_tests || true
pass 'tests with processes' process_tests || true
pass 'counts of instructions, allocations, system calls and bytes' count_gates || true

printf '\n== Summary\n'
if [[ -s $skipped ]]; then
  printf 'Skipped:\n'
  sort -u -- "$skipped" | sed 's/^/  /'
fi
# Without NUL, so that another program can search the summary.
tr -d '\000' <"$failures"
printf '%s\n' "${results[@]}"
cat -- "$counts"
if [[ -n $has_failed ]]; then
  printf 'FAILED after %d s\n' "$SECONDS"
  exit 1
fi
printf 'All passed in %d s\n' "$SECONDS"
