#!/usr/bin/env bash
#
# Usage: Scripts/status.sh --run-dir DIR | --coordinator ENDPOINT [FLAGS OF descent status]
#
# Shows which processes that start-*.sh started on this host are running, and when and how the others ended, then what
# `descent status` prints: step, loss, server, workers, newest checkpoint, or how the run ended; and the command that
# resumes it. The exit status is that of `descent status`: 0 if the run is alive, 3 if it is finished. With --json, only
# its object is printed.
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

if [[ " ${others[*]-} " != *' --json '* ]]; then
  while read -r name; do
    [[ -n $name ]] || continue
    if is_alive "$name"; then
      printf '%-24s running (pid %s)\n' "$name" "$pid"
    else
      printf '%-24s %s\n' "$name" "$(how_ended "$name")"
    fi
  done <<<"$(started)"
fi
status=0
"$programs/descent" status "${location[@]}" "${others[@]}" || status=$?
# Crashed, failed or interrupted.
case $status in 69 | 70 | 75) suggest_resume ;; esac
exit "$status"
