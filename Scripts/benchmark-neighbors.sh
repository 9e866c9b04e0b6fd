#!/usr/bin/env bash
#
# Usage: Scripts/benchmark-neighbors.sh [--data DIR] [--distance l1|l2] [--repetitions N] [--python PROGRAM]
#
# Compares `descent neighbors` with FAISS IndexFlat on this machine, in alternation: the exact seven nearest of all training
# images of CIFAR-10 for every test image. Prints the medians of the seconds that the searches take and their ratio, after
# comparing what both have found. Without FAISS only Descent is measured, with a message.
#
#   --data DIR         binary files of CIFAR-10 (default: DESCENT_DATA or data/cifar10)
#   --distance l1|l2   only one distance; L1 takes FAISS some minutes
#   --repetitions N    searches of each (default 3)
#   --python PROGRAM   a Python with NumPy and faiss-cpu (default python3)
#
# Examples:
#   Scripts/benchmark-neighbors.sh --data data/cifar10 --distance l2
#   Scripts/benchmark-neighbors.sh --data data/cifar10 --repetitions 1 --python ~/venv/bin/python

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

data='' repetitions=3 python=python3
more=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      print_help
      exit 0
      ;;
    --data | --distance | --repetitions | --python) ;;
    *) fail "$exit_usage" "unknown argument $1" "See Scripts/${0##*/} --help." ;;
  esac
  [[ -n ${2-} ]] || fail "$exit_usage" "$1 needs a value"
  case $1 in
    --data) data=$2 ;;
    --distance)
      [[ $2 =~ ^l[12]$ ]] || fail "$exit_usage" "--distance must be l1 or l2, but is $2"
      more+=(--distance "$2")
      ;;
    --repetitions) repetitions=$2 ;;
    --python) python=$2 ;;
  esac
  shift 2
done
[[ $repetitions =~ ^[1-9][0-9]{0,3}$ ]] ||
  fail "$exit_usage" "--repetitions must be 1 to 9999, but is $repetitions"
command -v -- "$python" >/dev/null || fail "$exit_unavailable" "there is no $python: name one with --python"

ensure_programs
if [[ -z $data ]]; then
  find_real_data
  data=${DESCENT_DATA-}
  [[ -n $data ]] || fail "$exit_missing_input" 'there is no CIFAR-10: fetch it with Scripts/fetch-cifar10.sh, or name it with --data'
fi
# These settings would affect only one of the two.
unset "${!DESCENT_@}"
exec "$python" "$root/Scripts/peers/neighbors.py" --descent "$programs/descent" --data "$data" \
  --repetitions "$repetitions" "${more[@]}"
