#!/usr/bin/env bash
#
# Usage: Scripts/benchmark-peers.sh [--data DIR] [--repetitions N] [--hidden UNITS] [--json FILE] [--quick]
#
# Compares Descent with PyTorch on this machine: the same softmax regression on CIFAR-10 and the same networks with one
# hidden layer, in alternation, on two cores. Prints images per second in the steady state, the wall time from the shell
# prompt to a trained model, the ratios, and each target with the measured figure. Exit status 0 whether or not the
# targets are reached.
#
#   --data DIR        binary files of CIFAR-10 (default: DESCENT_DATA or data/cifar10, else a synthetic set, on which
#                     the time to an accuracy means nothing)
#   --repetitions N   runs of each job by each contender (default 3)
#   --hidden UNITS    only the jobs of one model: 0 (linear), 100 or 1024 units
#   --json FILE       also write every figure to FILE
#   --quick           shorter runs, whose figures vary more
#
# Builds the programs if necessary. PyTorch is installed once into a virtual environment in XDG_CACHE_HOME or ~/.cache:
# 1 GB where pip finds a build for CPUs only (configure pip, for instance with PIP_FIND_LINKS), otherwise about 5 GB. To
# remove it, delete the directory that is printed on standard error. The jobs: Scripts/peers/pytorch_job.py.
#
# Examples:
#   Scripts/benchmark-peers.sh --data data/cifar10
#   Scripts/benchmark-peers.sh --data data/cifar10 --quick --repetitions 1 --json peers.json

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

# Pinned versions; their other dependencies are pure Python.
readonly packages=(torch==2.13.0 numpy==2.4.6)
readonly python_needs=(
  '/usr/bin/python3 python3'
  '/usr/lib/python3*/ensurepip python3-venv'
)
readonly environment="${XDG_CACHE_HOME:-$HOME/.cache}/descent-peers"
readonly synthetic_data="$root/data/synthetic"

# A stamp with the package versions marks a complete virtual environment.
ensure_pytorch() {
  local stamp="$environment/complete"
  if [[ -e $stamp && $(<"$stamp") == "${packages[*]}" ]]; then
    say "PyTorch: $environment"
    return
  fi
  require_packages "${python_needs[@]}"
  rm -rf -- "$environment"
  mkdir -p -- "$environment"
  /usr/bin/python3 -m venv "$environment"
  local plan free size=1
  plan=$("$environment/bin/pip" install --dry-run "${packages[@]}") ||
    fail "$exit_unavailable" "pip cannot find ${packages[*]}"
  [[ $plan != *nvidia-* ]] || size=5
  free=$(df --human-readable --output=avail -- "$environment" | tail -n 1)
  say "Installing ${packages[*]} into $environment (about $size GB; ${free// /}B are free)"
  "$environment/bin/pip" install --quiet --no-cache-dir "${packages[@]}" >&2 ||
    fail "$exit_unavailable" "cannot install ${packages[*]}"
  printf '%s\n' "${packages[*]}" >"$stamp"
}

# Sets `data`.
find_data() {
  [[ -z $data ]] || return 0
  find_real_data
  data=${DESCENT_DATA-}
  [[ -z $data ]] || return 0
  data=$synthetic_data
  if [[ ! -f $data/test_batch.bin ]]; then
    "$programs/descent" data synthesize "$data" >&2
  fi
  say '' \
    '*** No --data, no DESCENT_DATA and no data/cifar10. Comparing on a SYNTHETIC data set:' \
    '*** speeds are comparable, accuracies say nothing about CIFAR-10, and the time to one does not apply.' \
    ''
}

data='' repetitions=3 hidden=''
more=()
# The command line, quoted for reuse, for the report.
command="Scripts/${0##*/}$( (($# == 0)) || printf ' %q' "$@")"
while (($# > 0)); do
  case $1 in
    -h | --help)
      print_help
      exit 0
      ;;
    --quick)
      more+=(--quick)
      shift
      continue
      ;;
    --data | --repetitions | --hidden | --json) ;;
    *) fail "$exit_usage" "unknown argument $1" "See Scripts/${0##*/} --help." ;;
  esac
  [[ -n ${2-} ]] || fail "$exit_usage" "$1 needs a value"
  case $1 in
    --data) data=$2 ;;
    --repetitions) repetitions=$2 ;;
    --hidden)
      hidden=$2
      more+=(--hidden "$2")
      ;;
    --json) more+=(--json "$2") ;;
  esac
  shift 2
done
[[ -z $hidden || $hidden =~ ^(0|100|1024)$ ]] || fail "$exit_usage" "--hidden must be 0, 100 or 1024, but is $hidden"
[[ $repetitions =~ ^[1-9][0-9]{0,3}$ ]] ||
  fail "$exit_usage" "--repetitions must be 1 to 9999, but is $repetitions"

ensure_programs
find_data
ensure_pytorch
# These settings would affect only one of the two contenders.
unset "${!DESCENT_@}"
exec "$environment/bin/python3" "$root/Scripts/peers/compare.py" --descent "$programs/descent" --data "$data" \
  --repetitions "$repetitions" --command "$command" "${more[@]}"
