#!/usr/bin/env bash
#
# Usage: Scripts/start-coordinator.sh --run-dir DIR [SETTINGS OF descent train]
#
# Starts the coordinator of a run in the background: it owns the run directory, hands out the work, evaluates, decides
# when to stop, and saves checkpoints. It waits for a server and for as many workers as --workers says (2 if nothing
# does), which find it through the run directory. Its address is the first line of DIR/coordinator.endpoint.
#
# Examples, in any order:
#   Scripts/start-coordinator.sh --run-dir runs/mine --data data/cifar10 --workers 2
#   Scripts/start-server.sh --run-dir runs/mine
#   Scripts/start-worker.sh 2 --run-dir runs/mine --data data/cifar10
#
# Then status.sh, stop.sh and resume.sh, each with --run-dir runs/mine. The result goes to DIR/result.json.

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

take_location "$@"
[[ -z $coordinator ]] || fail "$exit_usage" '--coordinator is for servers and workers'
ensure_programs
refuse_second coordinator
start_roles coordinator 1 --run-dir "$run_directory" "${others[@]}"
