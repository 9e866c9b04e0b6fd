#!/usr/bin/env bash
#
# Usage: Scripts/stop.sh --run-dir DIR [--seconds N]
#
# Stops a run whose processes were started with start-*.sh: the coordinator saves a checkpoint and shuts the other
# processes down. Without a coordinator, SIGTERM goes to each process. Waits at most N seconds (default 30) for all to
# exit; then it lists those still running, and the exit status is 1.
#
# Examples:
#   Scripts/stop.sh --run-dir runs/mine
#   Scripts/stop.sh --run-dir runs/mine --seconds 120

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

take_location "$@"
seconds=30
if ((${#others[@]} > 0)); then
  seconds=$(value_of --seconds "${others[@]}")
  [[ $seconds =~ ^[0-9]+$ ]] || fail "$exit_usage" 'the only other flag is --seconds N' "See ${0##*/} --help."
fi

all=$(running)
if [[ -z $all ]]; then
  say "No processes are running in $run_directory."
  exit 0
fi
chief=$(running coordinator)
terminate "${chief:-$all}"
# The coordinator cannot save what a server that is stopped does not send.
signal_each CONT "$all"
if wait_until "$((10#$seconds * 1000))" none_is_running; then
  say "Stopped: $(cut -d ' ' -f 1 <<<"$all" | paste -s -d ' ')."
  suggest_resume
  exit 0
fi
left=$(running)
say "Still running after $seconds s:"
while read -r name id; do say "  $name (pid $id)"; done <<<"$left"
say "To end them without a checkpoint: kill -9 $(cut -d ' ' -f 2 <<<"$left" | paste -s -d ' ')"
exit 1
