#!/usr/bin/env bash
#
# Usage: Scripts/docs.sh [--output DIR]
#
# Builds the documentation in Sources/Descent.docc with DocC. Every warning is an error: a page that names a symbol
# or a page that does not exist fails. The symbols come from the release build, which this script makes if necessary.
#
#   --output DIR   keep the documentation archive in DIR; the default is a temporary directory, so that only the check
#                  remains. View it with: docc preview Sources/Descent.docc
#
# Exit status 65 if a page is wrong, 69 if the Swift toolchain has no docc.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

# The libraries whose symbols the pages may name.
readonly documented_modules=(
  Diagnostics Optimization Messaging Cluster ClusterSimulation Files Datasets Checkpoints RunConfiguration Reporting
  NodeRuntime
)

output=''
while (($# > 0)); do
  case $1 in
    -h | --help)
      print_help
      exit 0
      ;;
    --output)
      (($# > 1)) || fail "$exit_usage" '--output requires a directory' 'See Scripts/docs.sh --help.'
      output=$2
      shift
      ;;
    *) fail "$exit_usage" "unknown argument $1" 'See Scripts/docs.sh --help.' ;;
  esac
  shift
done

ensure_programs
command -v docc >/dev/null ||
  fail "$exit_unavailable" 'the Swift toolchain has no docc' 'Install a toolchain from https://www.swift.org/install/linux/.'

symbols=$(mktemp -d)
readonly symbols
trap 'rm -rf -- "$symbols"' EXIT
mkdir -- "$symbols/graphs"

# Where the compiler finds the C modules that ours and their packages import.
clang_modules=()
while read -r map; do clang_modules+=(-Xcc "-fmodule-map-file=$map"); done < <(
  find "$root/Sources" "$root/.build/checkouts" "$root/.build/release/CKernels.build" -name module.modulemap
)
symbol_target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\([^"]*\)".*/\1/p' | head -n 1)
readonly clang_modules symbol_target

# extract MODULE: its public symbols
extract() {
  swift symbolgraph-extract -module-name "$1" -target "$symbol_target" -I "$root/.build/release/Modules" \
    -I "$root/Sources/CKernels/include" "${clang_modules[@]}" -output-dir "$symbols/graphs" \
    -minimum-access-level public -skip-synthesized-members
}

for module in "${documented_modules[@]}"; do extract "$module"; done

# docc wants all parameters of a declaration described or none; the sources describe those whose names do not suffice.
readonly allowed_warning="warning: Parameter '[^']*' is missing documentation"
status=0
docc convert "$root/Sources/Descent.docc" --additional-symbol-graph-dir "$symbols/graphs" \
  --output-path "${output:-$symbols/Descent.doccarchive}" --ide-console-output >"$symbols/log" 2>&1 || status=$?
if ((status != 0)) || grep -aE '(warning|error):' "$symbols/log" | grep -avE "$allowed_warning" >&2; then
  fail "$exit_bad_data" 'the documentation has errors or warnings'
fi
say "The documentation builds without warnings${output:+: $output}."
