#!/usr/bin/env bash
#
# Usage: Scripts/start-server.sh --run-dir DIR | --coordinator ENDPOINT [FLAGS OF descent-server]
#
# Starts the parameter server of a run in the background. It may start before the coordinator. A server that replaces a
# crashed one continues from the coordinator's newest snapshot; the coordinator rejects it until the lease of the
# crashed server has expired (lease-seconds, default 2).
#
# With --coordinator alone, the pid file and the output go to runs/by-hand; --run-dir names another place.
#
# Examples:
#   Scripts/start-server.sh --run-dir runs/mine
#   Scripts/start-server.sh --coordinator "$(head -n 1 runs/mine/coordinator.endpoint)"

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

take_location "$@"
locate_coordinator
ensure_programs
refuse_second server
start_roles server 1 "${location[@]}" "${others[@]}"
