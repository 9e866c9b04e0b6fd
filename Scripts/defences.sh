#!/usr/bin/env bash
#
# Usage: Scripts/defences.sh [--list | --check | --trials] [--copy DIR] [WORD]
#
# Shows that the tests behind the table of faults.sh depend on the defences that they test: with a defence switched off
# its test must fail, and by the expectation that is meant. Prints a table of what was switched off, the test, and how
# it failed. First all of the tests are run with nothing switched off, and must pass. WORD, a regular expression,
# chooses among the trials by the names of switches and tests. Exit status 1 if a test passed that must fail or failed
# that must pass, 65 if markers, switches and trials do not agree. It takes about half an hour on two cores.
#
#   --list      only whether every marker in the sources has its switch, every switch its markers and a trial, and
#               every test of Tests/Evidence/faults.md a trial, and every trial its row in Tests/Evidence/defences.md;
#               takes a second, and Scripts/test.sh does it
#   --check     only the tests with nothing switched off
#   --trials    only the tests with defences switched off
#   --copy DIR  make and keep the copy of the tree, with its build, in DIR
#
# A defence is marked where it stands by a comment, `// defence: NAME`. The form of the marked code determines how it is
# switched off (Scripts/faults/markers.py); switches.py beside it lists what the table says and the trials. The sources
# stay as they are: a copy of the tree is changed, built once, and reads from an environment variable which defence is
# off.
#
# Examples:
#   Scripts/defences.sh > Tests/Evidence/defences.md
#   Scripts/defences.sh --trials --copy .build/defences IntruderTests

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

modes=(check trials) copy='' word=''
while (($# > 0)); do
  case $1 in
    -h | --help)
      print_help
      exit 0
      ;;
    --list | --check | --trials) modes=("${1#--}") ;;
    --copy)
      (($# > 1)) || fail "$exit_usage" "$1 needs a value"
      copy=$2
      shift
      ;;
    -*) fail "$exit_usage" "unknown argument $1" 'See Scripts/defences.sh --help.' ;;
    *) word=$1 ;;
  esac
  shift
done

play() { python3 -B "$root/Scripts/faults/defences.py" "$1" "$root" --only "$word" "${@:2}"; }

if [[ ${modes[0]} == list ]]; then
  play list
  exit
fi

require_packages "${build_needs[@]}" "${check_needs[@]}"
require_swift
work=$(mktemp -d)
readonly work
trap 'rm -rf -- "$work"' EXIT
copy=${copy:-$work/copy}
mkdir -p -- "$copy"
copy=$(cd -- "$copy" && pwd -P)

if [[ ${modes[*]} == *trials* ]]; then
  printf 'Measured on %s, %s cores, %s.\n\n' "$(date -u +%Y-%m-%d)" "$(nproc)" \
    "$(sed -n "s/^model name[^:]*: //p" /proc/cpuinfo | head -n 1)"
fi
status=0
for mode in "${modes[@]}"; do
  play "$mode" --copy "$copy" --work "$work" || status=$?
  ((status != 65)) || break
done
if ((status != 0)); then
  kept="$root/.build/defences.log"
  mkdir -p -- "$root/.build"
  [[ ! -e $work/log ]] || cp -- "$work/log" "$kept"
  say "Not all is as it must be; what the tests said is in $kept"
fi
exit "$status"
