#!/usr/bin/env bash
#
# Usage: Scripts/start-server.sh --run-dir DIR | --coordinator ENDPOINT [FLAGS OF descent-server]
#
# Starts the parameter server of a run in the background. It may be started before the coordinator. Where the server of a
# run has died, another one goes on from the coordinator's newest state; it is refused as long as the coordinator takes
# the dead one for alive (lease-seconds, 2 by default).
#
# With --coordinator alone, its process id and output go to runs/by-hand, or to the --run-dir that is given besides.
#
# Examples:
#   Scripts/start-server.sh --run-dir runs/mine
#   Scripts/start-server.sh --coordinator "$(head -n 1 runs/mine/coordinator.endpoint)"

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

take_location "$@"
locate_coordinator
ensure_programs
refuse_second server
start_roles server 1 "${location[@]}" "${others[@]}"
