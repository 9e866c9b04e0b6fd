#!/usr/bin/env bash
#
# Usage: Scripts/train-local.sh [ARGUMENTS OF descent train]
#
# Trains a classifier on this machine, starting from a clean clone: installs missing packages, builds, fetches the data
# set, and runs `descent train` with a coordinator, a server and two workers. All arguments are passed to it, and its
# exit status is returned. The result and the run directory are printed at the end.
#
# Examples:
#   Scripts/train-local.sh
#   Scripts/train-local.sh --data ~/cifar-10-batches-bin --loss svm
#   Scripts/train-local.sh --workers 4 --run-dir runs/mine --json
#
# The data set is the first of: --data, DESCENT_DATA, `data` in the file of --config, data/cifar10 in this repository,
# the official CIFAR-10 downloaded into it, and without a network a synthetic set in data/synthetic, whose accuracies
# say nothing about CIFAR-10.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

readonly real_data="$root/data/cifar10" synthetic_data="$root/data/synthetic"
# 10,000 records of a label and 3,072 pixels.
readonly batch_bytes=30730000

# Whether the arguments, the environment or the configuration file name the data.
data_is_named() {
  [[ -z ${DESCENT_DATA-} ]] || return 0
  local argument previous='' config=''
  for argument in "$@"; do
    case $argument in
      --data | --data=*) return 0 ;;
      --config=*) config=${argument#--config=} ;;
    esac
    [[ $previous == --config ]] && config=$argument
    previous=$argument
  done
  [[ -n $config && -r $config ]] && grep -Eq '^data:[[:space:]]*[^[:space:]#]' -- "$config"
}

# Whether all six files exist and have the right size.
real_data_is_complete() {
  local name
  for name in data_batch_{1..5} test_batch; do
    [[ -f $real_data/$name.bin && $(stat --format %s -- "$real_data/$name.bin") == "$batch_bytes" ]] || return 1
  done
}

synthesize() {
  if [[ ! -f $synthetic_data/test_batch.bin ]]; then
    "$programs/descent" data synthesize "$synthetic_data" >&2
  fi
  say '' \
    '*** CIFAR-10 could not be downloaded. Training on a SYNTHETIC data set instead:' \
    '*** its accuracy shows that training works, and says nothing about CIFAR-10.' \
    '*** For CIFAR-10: Scripts/train-local.sh --data DIR, or run this again with a network.' \
    ''
}

# Sets `data`.
find_data() {
  data=$real_data
  real_data_is_complete && return
  say "Downloading CIFAR-10 into $real_data"
  local status=0
  "$root/Scripts/fetch-cifar10.sh" "$real_data" >&2 || status=$?
  case $status in
    0) ;;
    "$exit_unavailable" | "$exit_bad_data")
      synthesize
      data=$synthetic_data
      ;;
    *) exit "$status" ;;
  esac
}

for argument in "$@"; do
  case $argument in
    -h | --help)
      print_help
      printf '\nThe settings: .build/release/descent train --help, and Config/reference.yaml.\n'
      exit 0
      ;;
  esac
done

ensure_programs
chosen=()
if ! data_is_named "$@"; then
  find_data
  chosen=(--data "$data")
  say "Data: $data"
fi
# Only fetch-cifar10.sh reads these; descent rejects them as unknown settings.
unset DESCENT_CIFAR10_URL DESCENT_CIFAR10_SHA256
# exec: signals reach the program directly, which then saves a checkpoint.
exec "$programs/descent" train "${chosen[@]}" "$@"
