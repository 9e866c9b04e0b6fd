#!/usr/bin/env bash
#
# Usage: Scripts/start-coordinator.sh --run-dir DIR [SETTINGS OF descent train]
#
# Starts the coordinator of a run in the background. It owns the run directory, assigns shards, evaluates, decides when
# to stop, and saves checkpoints. It waits for a server and --workers workers (default 2), which find it through the run
# directory. Its address is the first line of DIR/coordinator.endpoint.
#
# Examples, in any order:
#   Scripts/start-coordinator.sh --run-dir runs/mine --data data/cifar10 --workers 2
#   Scripts/start-server.sh --run-dir runs/mine
#   Scripts/start-worker.sh 2 --run-dir runs/mine --data data/cifar10
#
# Then use status.sh, stop.sh and resume.sh, each with --run-dir runs/mine. The result is written to DIR/result.json.

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

take_location "$@"
[[ -z $coordinator ]] || fail "$exit_usage" '--coordinator applies to servers and workers only'
ensure_programs
refuse_second coordinator
start_roles coordinator 1 --run-dir "$run_directory" "${others[@]}"
