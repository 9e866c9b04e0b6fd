#!/usr/bin/env bash
#
# Usage: Scripts/stop.sh --run-dir DIR [--seconds N]
#
# Stops a run whose roles were started by hand: the coordinator saves a checkpoint and tells the others to end. Without
# a coordinator the others are asked themselves. Waits at most N seconds (default 30) for all of them. Who is left then
# is named, and the exit status is 1.
#
# Examples:
#   Scripts/stop.sh --run-dir runs/mine
#   Scripts/stop.sh --run-dir runs/mine --seconds 120

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

take_location "$@"
seconds=30
if ((${#others[@]} > 0)); then
  seconds=$(value_of --seconds "${others[@]}")
  [[ $seconds =~ ^[0-9]+$ ]] || fail "$exit_usage" 'only --seconds N can be given besides' "See ${0##*/} --help."
fi

all=$(living)
if [[ -z $all ]]; then
  say "Nothing that was started by hand is alive in $run_directory."
  exit 0
fi
chief=$(living 'coordinator-*')
terminate "${chief:-$all}"
if wait_until "$((10#$seconds * 1000))" nobody_lives; then
  say "All have ended: $(cut -d ' ' -f 1 <<<"$all" | paste -s -d ' ')."
  exit 0
fi
left=$(living)
say "Still alive after $seconds s:"
while read -r name id; do say "  $name, process $id"; done <<<"$left"
say "To end them without saving anything: kill -9 $(cut -d ' ' -f 2 <<<"$left" | paste -s -d ' ')"
exit 1
