#!/usr/bin/env bash
#
# Usage: Scripts/count-gates.sh [--record]
#
# Counts the cost of a step in units that do not depend on the load of the machine, and compares the counts with those
# recorded in Tests/CountGates/counts.txt: instructions (callgrind), allocations, system calls (strace), and bytes
# between processes. Everything is counted for two numbers of steps and the difference is compared, so the cost of
# starting cancels out.
#
# Prints a line per count: ok; worse or better by more than its tolerance; new or gone; skipped, with the reason. Exit
# status 1 if a count is worse, new or gone. With --record, the counts are recorded instead.
#
# Examples:
#   Scripts/count-gates.sh
#   Scripts/count-gates.sh --record     after a change that intentionally costs more, or an improvement

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
# Settings in the caller's environment must not change the counts.
unset "${!DESCENT_@}"
# shellcheck source=Scripts/count-gates/verdicts.sh
. "$root/Scripts/count-gates/verdicts.sh"

readonly gates="$root/Tests/CountGates" recorded="$root/Tests/CountGates/counts.txt"

# Processes that start together do not always start in the same order: a worker that asks twice receives its first work
# twice. Counts over several processes are therefore repeated, up to this many times, until they match the record. A
# cost of every step appears in every attempt.
readonly attempts=5

# add NAME UNIT FORMAT FEWER MORE DIVISOR: adds (MORE - FEWER) / DIVISOR as the count NAME.
add() {
  awk -v name="$1" -v unit="$2" -v format="$3" -v fewer="$4" -v more="$5" -v divisor="$6" 'BEGIN {
    if (fewer == "" || more == "") { exit 1 }
    count = sprintf(format, (more - fewer) / divisor)
    print name, count + 0 == 0 ? 0 : count, unit
  }' >>"$notes" || fail 1 "cannot count $1"
}

# repeatedly COMMAND...: runs a counting command in `stage`, a new directory, until every count matches the record.
repeatedly() {
  local attempt former=$notes
  notes="$work/attempts"
  : >"$notes"
  for ((attempt = 1; attempt <= attempts; attempt++)); do
    stage=$(mktemp -d "$work/stage.XXXXXX")
    "$@"
    if [[ -z $is_recording ]] && is_as_recorded; then break; fi
  done
  if [[ -n $is_recording ]]; then typical_attempts; else best_attempts; fi <"$notes" >>"$former"
  notes=$former
}

# --- Instructions -----------------------------------------------------------------------------------------------------

# instructions CASE KERNEL REPETITIONS: the instructions of one run of counted-cases.
instructions() {
  local log="$work/callgrind.$1.$2.$3"
  # Deterministic hashing makes runs comparable. The debugging information is stripped, as valgrind may not support it.
  env SWIFT_DETERMINISTIC_HASHING=1 DESCENT_KERNEL="$2" \
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" \
    "$work/counted-cases" "$1" "$3" >"$log.amount" || fail 1 "counted-cases $1 $3 with the kernel $2 failed under valgrind"
  sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log"
}

# count_instructions CASE KERNEL FEWER MORE, where the numbers are repetitions.
count_instructions() {
  local name="instructions/$1/$2" fewer more amount unit
  fewer=$(instructions "$1" "$2" "$3")
  more=$(instructions "$1" "$2" "$4")
  read -r amount unit <"$work/callgrind.$1.$2.$4.amount"
  add "$name" "per $unit" '%.6g' "$fewer" "$more" $(((${4} - ${3}) * amount))
}

count_all_instructions() {
  local kernel kernels=(portable)
  if [[ $(uname -m) != x86_64 ]]; then
    skip 'instructions/*' "recorded on x86_64, this is $(uname -m)"
    return
  fi
  if ! valgrind --tool=none true >"$work/valgrind" 2>&1; then
    skip 'instructions/*' "valgrind does not work here: $(tail -n 1 -- "$work/valgrind")"
    return
  fi
  if grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo; then
    kernels+=(avx2)
  else
    skip 'instructions/*/avx2' 'this processor has no AVX2'
  fi
  strip --strip-debug -o "$work/counted-cases" "$programs/counted-cases"
  for kernel in "${kernels[@]}"; do
    count_instructions gradient-softmax "$kernel" 1 2
    count_instructions gradient-hinge "$kernel" 1 2
    count_instructions gradient-network "$kernel" 1 2
    count_instructions gradient-sparse "$kernel" 1 2
    count_instructions update "$kernel" 2 6
    count_instructions exchange "$kernel" 2 6
  done
  count_instructions checksum portable 10 20
  count_instructions codec portable 100 200
  count_instructions schedule portable 64 128
}

# --- Allocations and bytes --------------------------------------------------------------------------------------------

# Steps only: no evaluation, no checkpoint, no heartbeat.
readonly quiet=(--heartbeat-seconds 60 --lease-seconds 240 --rendezvous-seconds 60)
readonly only_steps=(--epochs 100000 --evaluate-every 0 --checkpoint-every 0)

# train STEPS FLAG...: trains with counted allocations, 64 examples per step.
train() {
  local steps=$1 directory="$stage/$1"
  shift
  mkdir -- "$directory" "$directory/allocations"
  env ALLOCATION_COUNTS="$directory/allocations" LD_PRELOAD="$work/count_allocations.so" \
    "$programs/descent" train --data "$work/data" --run-dir "$directory/run" --batch-size 64 --max-steps "$steps" \
    "${only_steps[@]}" "${quiet[@]}" "$@" --quiet >"$directory/out" 2>&1 || {
    cat -- "$directory/out" >&2
    fail 1 "the training with $* failed"
  }
}

# allocations DIRECTORY PROGRAM: the allocations of all processes of that program, summed.
allocations() {
  local file sum=0
  for file in "$1/allocations/$2".*; do sum=$((sum + $(od -An -t u8 "$file"))); done
  printf '%d' "$sum"
}

# transported DIRECTORY ROLE FIELD: the sum of a field in the final log lines of a role's processes.
transported() {
  sed -n 's/.*"event":"transport".*"'"$3"'":"\{0,1\}\([0-9]*\).*/\1/p' "$1"/run/logs/"$2"*.jsonl |
    awk '{ sum += $1 } END { if (NR) print sum }'
}

# count_training NAME STEPS FLAG...
count_training() {
  local name=$1 steps=$2 role field
  local fewer="$stage/$steps" more="$stage/$((2 * steps))"
  train "$steps" "${@:3}"
  train $((2 * steps)) "${@:3}"
  if [[ $name == sequential ]]; then
    # To a tenth, which ignores what is allocated less often than every twentieth step.
    add "allocations/$name" 'per step' '%.1f' "$(allocations "$fewer" descent)" "$(allocations "$more" descent)" "$steps"
    return
  fi
  for role in coordinator server worker; do
    add "allocations/$name/$role" 'per step' '%.1f' \
      "$(allocations "$fewer" "descent-$role")" "$(allocations "$more" "descent-$role")" "$steps"
  done
  # Two workers take over from each other what is late, and how much of it there is depends on the machine.
  [[ " $* " == *' --workers 1 '* ]] || return 0
  for role in coordinator server worker; do
    for field in sockets memory; do
      add "bytes/$name/to-$role-from-$field" 'per step' '%.0f' \
        "$(transported "$fewer" "$role" "bytes-from-$field")" "$(transported "$more" "$role" "bytes-from-$field")" \
        "$steps"
    done
  done
}

count_all_trainings() {
  "$(c_compiler)" -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -shared -o "$work/count_allocations.so" \
    "$gates/count_allocations.c"
  "$programs/descent" data synthesize "$work/data" --train-examples 20000 --seed 0 >/dev/null
  repeatedly count_training sequential 2000 --workers 0
  repeatedly count_training memory 2000 --workers 2 --transport memory
  repeatedly count_training memory-ssp 2000 --workers 2 --transport memory --consistency ssp:2 --momentum 0.9
  # All steps are recorded; what is written at the end is allocated once, whatever their number.
  repeatedly count_training memory-traced 2000 --workers 2 --transport memory --trace-steps 1..65536
  # Bytes, and what libzmq allocates for a message, are those of one worker.
  repeatedly count_training one-memory 2000 --workers 1 --transport memory
  repeatedly count_training one-memory-ssp 2000 --workers 1 --transport memory --consistency ssp:2 --momentum 0.9
  repeatedly count_training one-ipc 500 --workers 1 --transport ipc
  repeatedly count_training one-tcp 500 --workers 1 --transport tcp
}

# --- System calls -----------------------------------------------------------------------------------------------------

# sched_yield is not counted: a process that polls calls it as often as the peer takes. Untraced calls run at full
# speed.
trace() { strace -f --seccomp-bpf -c -e 'trace=!sched_yield' -o "$@"; }

# calls FILE KIND: the number of calls of a kind in a summary of strace.
#   transfer: bytes through a socket.
#   looking: polling or waiting for a message, and the bookkeeping of the socket library.
#   waking: waking other threads and processes, and being woken.
#   other: files, memory, processes; a step needs none.
calls() {
  awk -v wanted="$2" '
    $4 ~ /^[0-9]+$/ && $NF != "total" {
      kind = "other"
      if ($NF ~ /^(send|recv)/) { kind = "transfer" }
      if ($NF ~ /^(poll|ppoll|read|getpid|restart_syscall|clock_nanosleep)$/) { kind = "looking" }
      if ($NF ~ /^(futex|write|epoll_.*)$/) { kind = "waking" }
      sum[kind] += $4
    }
    END { print sum[wanted] + 0 }' "$1"
}

# traced_cluster DIRECTORY STEPS FLAG...: trains with one worker, so that every wait is for a known peer.
traced_cluster() {
  local directory=$1 steps=$2 role pids=() status=0
  shift 2
  mkdir -- "$directory"
  trace "$directory/coordinator" "$programs/descent-coordinator" --run-dir "$directory/run" --data "$work/data" \
    --workers 1 --max-steps "$steps" "${only_steps[@]}" "${quiet[@]}" "$@" >"$directory/coordinator.out" 2>&1 &
  pids+=($!)
  trace "$directory/server" "$programs/descent-server" --run-dir "$directory/run" "${quiet[@]}" \
    >"$directory/server.out" 2>&1 &
  pids+=($!)
  trace "$directory/worker" "$programs/descent-worker" --run-dir "$directory/run" --data "$work/data" "${quiet[@]}" \
    >"$directory/worker.out" 2>&1 &
  pids+=($!)
  for role in "${pids[@]}"; do wait "$role" || status=$?; done
  ((status == 0)) || {
    cat -- "$directory"/*.out >&2
    fail 1 "the traced training in $directory failed"
  }
}

# count_cluster_calls NAME STEPS FLAG...
count_cluster_calls() {
  local name=$1 steps=$2 role kind waits
  local fewer="$stage/fewer" more="$stage/more"
  traced_cluster "$fewer" "$steps" "${@:3}"
  traced_cluster "$more" $((2 * steps)) "${@:3}"
  for kind in transfer looking waking other; do
    add_calls coordinator "$kind" 'per step' "$steps"
  done
  for role in server worker; do
    # The number of waits depends on timing; the cost of a wait hardly does.
    waits=$(($(transported "$more" "$role" waits) - $(transported "$fewer" "$role" waits)))
    ((waits > 0)) || fail 1 "the $role never waited in $name"
    add "calls/$name/$role/waits" 'per step' '%.2f' 0 "$waits" "$steps"
    add_calls "$role" looking 'per wait' "$waits"
    add_calls "$role" waking 'per step' "$steps"
    add_calls "$role" transfer 'per step' "$steps"
    add_calls "$role" other 'per step' "$steps"
  done
}

# add_calls ROLE KIND UNIT DIVISOR: for count_cluster_calls.
add_calls() {
  add "calls/$name/$1/$2" "$3" '%.1f' "$(calls "$fewer/$1" "$2")" "$(calls "$more/$1" "$2")" "$4"
}

# exchange_steps STEPS SUMMARY, sequential_steps STEPS SUMMARY
exchange_steps() { trace "$2" "$programs/counted-cases" exchange "$1"; }

sequential_steps() {
  trace "$2" "$programs/descent" train --data "$work/data" --workers 0 --run-dir "$stage/run.$1" --batch-size 64 \
    --max-steps "$1" "${only_steps[@]}" --quiet
}

# count_calls NAME FUNCTION: counts the calls of the program that FUNCTION runs.
count_calls() {
  local steps=1000 number kind
  for number in $steps $((2 * steps)); do
    "$2" "$number" "$stage/$number" >"$stage/out" 2>&1 || {
      cat -- "$stage/out" >&2
      fail 1 "the traced program for $1 failed"
    }
  done
  for kind in transfer looking waking other; do
    add "calls/$1/$kind" 'per step' '%.1f' \
      "$(calls "$stage/$steps" "$kind")" "$(calls "$stage/$((2 * steps))" "$kind")" "$steps"
  done
}

count_all_calls() {
  if ! strace -f -o /dev/null true 2>"$work/strace"; then
    skip 'calls/*' "strace does not work here: $(tail -n 1 -- "$work/strace")"
    return
  fi
  # A step without waiting makes no call at all.
  repeatedly count_calls exchange exchange_steps
  repeatedly count_calls sequential sequential_steps
  # So many examples that computing outlasts the polling: every wait sleeps.
  repeatedly count_cluster_calls memory-asleep 300 --transport memory --batch-size 4096
  repeatedly count_cluster_calls ipc 400 --transport ipc --batch-size 64
}

# --- Main -------------------------------------------------------------------------------------------------------------

is_recording=''
case ${1-} in
  '') ;;
  --record) is_recording=yes ;;
  -h | --help)
    print_help
    exit 0
    ;;
  *) fail "$exit_usage" "unknown argument $1" 'See Scripts/count-gates.sh --help.' ;;
esac

require_packages "${check_needs[@]}"
ensure_programs
[[ -x $programs/counted-cases ]] || fail "$exit_missing_input" "$programs/counted-cases does not exist"

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf -- "$work"' EXIT
readonly work counts="$work/counts" skips="$work/skips"
notes=$counts
stage=''
touch -- "$counts" "$skips"

# Counting instructions tolerates load; waiting calls may not.
count_all_instructions &
instructions_process=$!
count_all_trainings
wait "$instructions_process"
count_all_calls

if [[ -n $is_recording ]]; then
  [[ ! -s $skips ]] || fail 1 'nothing recorded, because some counts were skipped'
  { describe_tools && LC_ALL=C sort -- "$counts"; } >"$recorded.new"
  mv -- "$recorded.new" "$recorded"
  cat -- "$recorded"
else
  compare
fi
