#!/usr/bin/env bash
#
# Usage: Scripts/status.sh --run-dir DIR | --coordinator ENDPOINT
#
# Shows which roles that were started by hand are alive, and what the coordinator says: step, server, workers and their
# shards, newest checkpoint. Without a coordinator, how the run ended. Exit status 0 if the coordinator answers.
#
# Examples:
#   Scripts/status.sh --run-dir runs/mine
#   watch Scripts/status.sh --run-dir runs/mine

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

take_location "$@"
locate_coordinator
((${#others[@]} == 0)) || fail "$exit_usage" "${others[0]} is not a flag of this script"
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
"$programs/descent" status "${location[@]}" || status=$?
if ((status != 0)) && [[ -r $run_directory/run.json ]]; then
  # One member a line, as the program writes it.
  sed -n 's/^ *"\(status\|stop_reason\|updated\)": *"\([^"]*\)".*/\1: \2/p' -- "$run_directory/run.json"
fi
exit "$status"
