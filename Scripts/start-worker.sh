#!/usr/bin/env bash
#
# Usage: Scripts/start-worker.sh [N] --run-dir DIR | --coordinator ENDPOINT --data DIR [FLAGS OF descent-worker]
#
# Starts N workers (default 1) in the background. Workers may join a run, be stopped with SIGTERM, and crash at any
# time: the coordinator reassigns their shards, and under `bsp` the weights keep the same bits.
#
# Each worker is named worker-N@HOST, by the first free number on this host. With --coordinator alone, pid files and
# output go to runs/by-hand; --run-dir names another place.
#
# Examples:
#   Scripts/start-worker.sh 2 --run-dir runs/mine --data data/cifar10
#   Scripts/start-worker.sh --coordinator tcp://127.0.0.1:5555 --data data/cifar10
#   Scripts/start-worker.sh 2 --coordinator tcp://10.0.0.1:5555 --keys keys --data data/cifar10     on another host

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

count=1
if [[ ${1-} =~ ^[0-9]+$ ]]; then
  count=$1
  shift
fi
((10#$count >= 1)) || fail "$exit_usage" "the number of workers must be at least 1, but is $count"
take_location "$@"
locate_coordinator
ensure_programs
start_roles worker "$((10#$count))" "${location[@]}" "${others[@]}"
