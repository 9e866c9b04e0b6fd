#!/usr/bin/env bash
#
# Usage: Scripts/long-run.sh [STEPS] [--data DIR] [--workers N] [--seconds N] [--seed N] [--coordinator] [--keep DIR]
#
# Trains for STEPS steps (default 200000). Every N seconds (default 3) a process drawn from the seed is killed with
# SIGKILL and restarted; once a second, the memory, open files and threads of every process and the size of the run
# directory are sampled. Prints them as a table with a verdict whether they stay constant. Kills workers and the server,
# with --coordinator also the coordinator. Without --data it trains on a synthetic set. Exit status 1 if something
# grows, or if the weights differ from those of the undisturbed run.
#
# Examples:
#   Scripts/long-run.sh > long-run.md
#   Scripts/long-run.sh 20000 --seed 7 --seconds 2 --keep /tmp/long-run

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

steps=200000 data='' workers=2 pause=3 seed=1 roles=(worker worker worker worker server) keep=''
while (($# > 0)); do
  case $1 in
    -h | --help)
      print_help
      exit 0
      ;;
    --coordinator) roles+=(coordinator) ;;
    --data | --workers | --seconds | --seed | --keep)
      (($# > 1)) || fail "$exit_usage" "$1 needs a value"
      case $1 in
        --data) data=$2 ;;
        --workers) workers=$2 ;;
        --seconds) pause=$2 ;;
        --seed) seed=$2 ;;
        --keep) keep=$2 ;;
      esac
      shift
      ;;
    [1-9]*) steps=$1 ;;
    *) fail "$exit_usage" "unknown argument $1" 'See Scripts/long-run.sh --help.' ;;
  esac
  shift
done
for number in "$steps" "$workers" "$pause" "$seed"; do
  [[ $number =~ ^[1-9][0-9]{0,8}$ ]] || fail "$exit_usage" "values must be whole numbers above 0, but one is $number"
done
ensure_programs

work=$(mktemp -d)
readonly work
run_directory=${keep:-$work}/run
[[ ! -e $run_directory ]] || fail "$exit_cannot_create" "$run_directory already exists"

# On every exit: kills all processes, and removes the directory unless --keep is given.
# shellcheck disable=SC2317 # called by the trap
clear_away() {
  local name id
  while read -r name id; do [[ -z $name ]] || kill -KILL "$id" 2>/dev/null || true; done <<<"$(running)"
  rm -rf -- "$work"
}
trap clear_away EXIT

if [[ -z $data ]]; then
  data=$work/data
  "$programs/descent" data synthesize "$data" --train-examples 10000 --test-examples 1000 --seed 3 >/dev/null
fi
readonly settings=(--batch-size 128 --validation-examples 1000 --max-steps "$steps" --epochs 1000000
  --evaluate-every 500 --checkpoint-every 2000 --keep-last 2 --seed 5)
readonly timing=(--heartbeat-seconds 0.2 --lease-seconds 1 --rendezvous-seconds 30)

start_role() {
  case $1 in
    coordinator)
      local resume=never
      [[ ! -e $run_directory/run.json ]] || resume=auto
      start_roles coordinator 1 --run-dir "$run_directory" --data "$data" --workers "$workers" --resume "$resume" \
        --quiet "${settings[@]}" "${timing[@]}"
      ;;
    server) start_roles server 1 --run-dir "$run_directory" --quiet "${timing[@]}" ;;
    worker) start_roles worker "${2:-1}" --run-dir "$run_directory" --data "$data" --quiet "${timing[@]}" ;;
  esac
}

newest_step() {
  tail -n 1 -- "$run_directory/metrics.jsonl" 2>/dev/null | sed -n 's/^{"step":\([0-9]*\).*/\1/p'
}

# A line per process: seconds, role, pid, memory in kB, open files, threads; and one for the directory.
sample() {
  local name id memory threads files
  while read -r name id; do
    memory=$(sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$id/status" 2>/dev/null) || continue
    threads=$(sed -n 's/^Threads:[[:space:]]*//p' "/proc/$id/status" 2>/dev/null) || continue
    files=$(find "/proc/$id/fd" -mindepth 1 2>/dev/null | wc -l) || continue
    [[ -z $memory ]] || printf '%s %s %s %s %s %s\n' "$SECONDS" "${name%%[-@]*}" "$id" "$memory" "$files" "$threads"
  done <<<"$(running)" >>"$work/samples"
  # A checkpoint may be removed while du reads it.
  printf '%s directory %s %s %s 0\n' "$SECONDS" "$(newest_step)" \
    "$(du -sk -- "$run_directory" 2>/dev/null | cut -f 1)" \
    "$(du -sk -- "$run_directory/checkpoints" 2>/dev/null | cut -f 1)" >>"$work/samples"
}

# kill_one: kills a running process and starts another of its role.
kill_one() {
  local role=${roles[RANDOM % ${#roles[@]}]} candidates name id
  candidates=$(running "$role")
  [[ -n $candidates ]] || return 0
  read -r name id <<<"$(sed -n "$((RANDOM % $(wc -l <<<"$candidates") + 1))p" <<<"$candidates")"
  kill -KILL "$id" 2>/dev/null || return 0
  wait_until 2000 is_gone "$id"
  printf '%s %s\n' "$SECONDS" "$role" >>"$work/kills"
  # The run may have finished meanwhile: without a coordinator there is no run to join.
  [[ $role == coordinator || -n $(running coordinator) ]] || return 0
  # In a subshell, because start_roles exits if the run has finished meanwhile.
  (start_role "$role") 2>>"$work/log" || true
}

# shellcheck disable=SC2317 # called by wait_until
is_gone() { ! start_time "$1" >/dev/null; }

RANDOM=$seed
say "Training for $steps steps, with a kill every $pause s"
touch -- "$work/kills" "$work/samples"
start_role coordinator
start_role server
start_role worker "$workers"
began=$SECONDS next=$((SECONDS + pause))
while [[ -n $(running coordinator) ]]; do
  sample
  if ((SECONDS >= next)); then
    kill_one
    next=$((SECONDS + pause))
  fi
  sleep 1
done
seconds=$((SECONDS - began))
wait_until 40000 none_is_running || say "Still running: $(running)"

sha_of() { sed -n 's/.*"weights_sha256": *"\([0-9a-f]*\)".*/\1/p'; }
disturbed=$(sha_of <"$run_directory/result.json" 2>/dev/null) || true
say 'Training undisturbed, without workers'
undisturbed=$("$programs/descent" train --workers 0 --data "$data" --run-dir "$work/undisturbed" --json --quiet \
  "${settings[@]}" | sha_of)

verdict=0
printf '%s steps in %s s, %s killed: ' "$steps" "$seconds" "$(wc -l <"$work/kills")"
cut -d ' ' -f 2 "$work/kills" | sort | uniq -c | awk '{ printf "%s%s %s", n++ ? ", " : "", $1, $2 } END { print "." }'
python3 "$root/Scripts/faults/growth.py" "$work/samples" "$(du -sk -- "$run_directory/logs" | cut -f 1)" || verdict=1
if [[ -n $disturbed && $disturbed == "$undisturbed" ]]; then
  printf 'The weights are those of the undisturbed run: %s.\n' "${disturbed:0:12}"
else
  printf 'The weights are NOT those of the undisturbed run: %s, %s.\n' "${disturbed:-none}" "${undisturbed:-none}"
  verdict=1
fi
exit "$verdict"
