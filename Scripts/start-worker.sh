#!/usr/bin/env bash
#
# Usage: Scripts/start-worker.sh [N] --run-dir DIR | --coordinator ENDPOINT --data DIR [FLAGS OF descent-worker]
#
# Starts N workers in the background, one if there is no N. Workers may join a run at any time, be stopped at any time
# with SIGTERM, and die at any time: their shards go to the others, and under `bsp` the weights stay the same bits.
#
# With --coordinator alone, process ids and output go to runs/by-hand, or to the --run-dir that is given besides.
#
# Examples:
#   Scripts/start-worker.sh 2 --run-dir runs/mine --data data/cifar10
#   Scripts/start-worker.sh --coordinator tcp://127.0.0.1:5555 --data data/cifar10
#   Scripts/start-worker.sh 2 --coordinator tcp://10.0.0.1:5555 --keys keys --data data/cifar10     on another host

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

count=1
if [[ ${1-} =~ ^[0-9]+$ ]]; then
  count=$1
  shift
fi
((10#$count >= 1)) || fail "$exit_usage" 'the number of workers to start must be at least 1'
take_location "$@"
locate_coordinator
ensure_programs
start_roles worker "$((10#$count))" "${location[@]}" "${others[@]}"
