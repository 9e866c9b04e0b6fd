#!/usr/bin/env bash
#
# Usage: Scripts/status.sh --run-dir DIR | --coordinator ENDPOINT [FLAGS OF descent status]
#
# Shows which processes started with start-*.sh are running, and the status of the run from its coordinator: step,
# server, workers and their shards, newest checkpoint. Without a coordinator: how the run ended. Exit status 0 if the
# coordinator answers.
#
# Examples:
#   Scripts/status.sh --run-dir runs/mine
#   watch Scripts/status.sh --run-dir runs/mine
#   Scripts/status.sh --coordinator tcp://10.0.0.1:5555 --keys keys

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

take_location "$@"
locate_coordinator
ensure_programs

for file in "$run_directory"/pids/*.pid; do
  [[ -e $file ]] || continue
  name=${file##*/}
  if is_alive "$file"; then
    printf '%-14s running (pid %s)\n' "${name%.pid}" "$pid"
  else
    printf '%-14s exited\n' "${name%.pid}"
  fi
done
status=0
"$programs/descent" status "${location[@]}" "${others[@]}" || status=$?
# A usage error says nothing about the run.
((status != exit_usage)) || exit "$status"
if ((status != 0)) && [[ -r $run_directory/run.json ]]; then
  # descent writes one member per line.
  sed -n 's/^ *"\(status\|stop_reason\|updated\)": *"\([^"]*\)".*/\1: \2/p' -- "$run_directory/run.json"
fi
exit "$status"
