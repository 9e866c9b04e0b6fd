#!/usr/bin/env bash
#
# Usage: Scripts/benchmark.sh [--quick] [--data DIR] [--json FILE] [GROUP...]
#
# Measures Descent on this machine and prints tables, then every target with the figure that was reached beside it:
# the hot loops, the pieces of a step, exchanges a second beside a bare socket, what determinism, evaluation, checkpoints
# and logs cost, memory, start-up, and how speed and cost grow with workers and examples, with the model behind it. Takes
# about ten minutes and wants the machine for itself; --quick takes one or two. Every answer is checked. Builds if
# need be. A target that is missed is no failure: exit status 0 if everything could be measured.
#
# The data are those of --data, else of DESCENT_CIFAR10, else synthetic. The comparison with PyTorch is
# Scripts/benchmark-peers.sh.
#
# Examples:
#   Scripts/benchmark.sh --data data/cifar10 --json benchmark.json
#   Scripts/benchmark.sh --quick exchange growth

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

for argument in "$@"; do
  case $argument in
    -h | --help)
      print_help
      exit 0
      ;;
  esac
done

ensure_programs
# Everything that runs leave behind is in here. It stays when something failed, to be looked at.
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
began=$SECONDS
status=0
TMPDIR=$work "$programs/descent-benchmark" suite "$@" || status=$?
if ((status != 0)); then
  trap - EXIT
  rmdir --ignore-fail-on-non-empty -- "$work"
  exit "$status"
fi
say "Measured in $((SECONDS - began)) s."
