#!/usr/bin/env bash
#
# Usage: Scripts/status.sh --run-dir DIR | --coordinator ENDPOINT [FLAGS OF descent status]
#
# Shows which processes that start-*.sh started on this host are running, and when and how the others ended, then the
# status of the run from its coordinator: step, server, workers and their shards, newest checkpoint. Without a
# coordinator: how the run ended, and the command that resumes it. Exit status 0 if the coordinator answers, 69 if not.
#
# Examples:
#   Scripts/status.sh --run-dir runs/mine
#   watch Scripts/status.sh --run-dir runs/mine
#   Scripts/status.sh --coordinator tcp://10.0.0.1:5555 --keys keys

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

take_location "$@"
locate_coordinator
ensure_programs

while read -r name; do
  [[ -n $name ]] || continue
  if is_alive "$name"; then
    printf '%-24s running (pid %s)\n' "$name" "$pid"
  else
    printf '%-24s %s\n' "$name" "$(how_ended "$name")"
  fi
done <<<"$(started)"
status=0
{ errors=$("$programs/descent" status "${location[@]}" "${others[@]}" 2>&1 1>&3 3>&-) || status=$?; } 3>&1
if ((status == exit_unavailable)) && [[ -n $(recorded_status) ]]; then
  # The run is over, or has lost its coordinator: what run.json says instead of the error. It has a member per line.
  [[ -z $errors ]] || sed -n 's/^ *"\(status\|stop_reason\|updated\)": *"\([^"]*\)".*/\1: \2/p' -- "$run_directory/run.json"
  suggest_resume
elif [[ -n $errors ]]; then
  say "$errors"
fi
exit "$status"
