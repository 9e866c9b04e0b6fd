#!/usr/bin/env bash
#
# Usage: Scripts/train-local.sh [ARGUMENTS OF descent train]
#
# Trains a classifier on this machine, starting from a clean clone: installs missing packages and the Swift toolchain
# (fetch-swift.sh), builds, fetches the data set (fetch-cifar10.sh), and runs `descent train` with a coordinator, a server
# and two workers. All arguments are passed to it, and its exit status is returned. The result and the run directory are
# printed at the end.
#
# Examples:
#   Scripts/train-local.sh
#   Scripts/train-local.sh --data ~/cifar10 --loss svm
#   Scripts/train-local.sh --workers 4 --run-dir runs/mine --json
#
# The data set is the first of: --data, DESCENT_DATA, `data` in the file of --config, data/cifar10 in this repository,
# the official CIFAR-10 downloaded into it, and without a network a synthetic set in data/synthetic, whose accuracies
# say nothing about CIFAR-10.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

readonly synthetic_data="$root/data/synthetic"

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
  data=$default_data
  has_cifar10 "$data" && return
  say "Downloading CIFAR-10 into $data"
  local status=0
  "$root/Scripts/fetch-cifar10.sh" "$data" >&2 || status=$?
  case $status in
    0) ;;
    "$exit_unavailable" | "$exit_bad_data")
      synthesize
      data=$synthetic_data
      ;;
    *)
      say 'Name the data set with --data DIR, and the directory of the run with --run-dir DIR.'
      exit "$status"
      ;;
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
# exec: signals reach the program directly, which then saves a checkpoint.
exec "$programs/descent" train "${chosen[@]}" "$@"
