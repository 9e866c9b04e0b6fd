#!/usr/bin/env bash
#
# Usage: Scripts/benchmark.sh [--quick] [--data DIR] [--json FILE] [GROUP...]
#
# Measures Descent on this machine and prints tables, then each target beside the figure reached: the gradient, whole
# steps beside the peak of two cores, the parts of a step, exchanges per second compared with a bare socket, the cost
# of determinism, evaluation, checkpoints and logs, memory, start-up, and how speed and cost grow with workers and
# examples, with a model, also of clusters that are larger than this machine (group cluster: three minutes and 10 GB).
# Takes about a quarter of an hour on an otherwise idle machine; --quick takes two minutes. Every result is checked.
# Builds if necessary. A missed target is no failure: exit status 0 if everything could be measured.
#
# The data set is that of --data, else of DESCENT_DATA or data/cifar10, else synthetic. Scripts/benchmark-peers.sh
# compares with PyTorch.
#
# Examples:
#   Scripts/benchmark.sh --data data/cifar10 --json benchmark.json
#   Scripts/benchmark.sh --quick exchange growth
#   Scripts/benchmark.sh --data data/cifar10 --json cluster.json cluster

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

for argument in "$@"; do
  case $argument in
    -h | --help)
      print_help
      exit 0
      ;;
  esac
done

ensure_programs
find_real_data
# Holds everything the runs write. Kept after a failure, for inspection.
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
began=$SECONDS
status=0
TMPDIR=$work "$programs/descent-benchmark" "$@" || status=$?
if ((status != 0)); then
  trap - EXIT
  rmdir --ignore-fail-on-non-empty -- "$work"
  exit "$status"
fi
say "Measured in $((SECONDS - began)) s."
