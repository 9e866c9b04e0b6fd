#!/usr/bin/env bash
#
# Usage: Scripts/status.sh --run-dir DIR | --coordinator ENDPOINT [FLAGS OF descent status]
#
# Shows which roles that were started by hand are alive, and what the coordinator says: step, server, workers and their
# shards, newest checkpoint. Without a coordinator, how the run ended. Exit status 0 if the coordinator answers.
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
    printf '%-14s alive, process %s\n' "${name%.pid}" "$pid"
  else
    printf '%-14s ended\n' "${name%.pid}"
  fi
done
status=0
"$programs/descent" status "${location[@]}" "${others[@]}" || status=$?
# A flag that is none is not a run without a coordinator.
((status != exit_usage)) || exit "$status"
if ((status != 0)) && [[ -r $run_directory/run.json ]]; then
  # One member a line, as the program writes it.
  sed -n 's/^ *"\(status\|stop_reason\|updated\)": *"\([^"]*\)".*/\1: \2/p' -- "$run_directory/run.json"
fi
exit "$status"
