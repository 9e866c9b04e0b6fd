# shellcheck shell=bash
#
# For starting, watching and stopping roles by hand. To be sourced after `set -euo pipefail`; brings common.sh along.
#
# A role that was started here has a file <run directory>/pids/<role>-<n>.pid with its process id and the time it was
# started, so that a later process of the same id is never taken for it, and what it says goes to
# <run directory>/logs/<role>-<n>.out.

# shellcheck source=Scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

# Between two looks at something that is waited for.
readonly poll_seconds=0.05

run_directory=${DESCENT_RUN_DIR-}
coordinator=''
others=()

# Takes --run-dir and --coordinator out of the arguments; what is left goes to `others`.
take_location() {
  while (($# > 0)); do
    case $1 in
      -h | --help)
        print_help
        exit 0
        ;;
      --run-dir | --coordinator)
        (($# > 1)) || fail "$exit_usage" "$1 needs a value"
        if [[ $1 == --run-dir ]]; then run_directory=$2; else coordinator=$2; fi
        shift
        ;;
      --run-dir=*) run_directory=${1#*=} ;;
      --coordinator=*) coordinator=${1#*=} ;;
      *) others+=("$1") ;;
    esac
    shift
  done
  # With an address alone there is no run directory; process ids and output have to be somewhere still.
  [[ -n $run_directory || -z $coordinator ]] || run_directory=runs/by-hand
  [[ -n $run_directory ]] || fail "$exit_usage" 'name the run: --run-dir DIR' "See ${0##*/} --help."
}

# Sets `location`: the flags that tell a program where the coordinator is.
locate_coordinator() {
  # shellcheck disable=SC2034 # used by the scripts that source this
  if [[ -n $coordinator ]]; then
    location=(--coordinator "$coordinator")
  else
    location=(--run-dir "$run_directory")
  fi
}

# value_of FLAG ARGUMENT...: the value of the last FLAG among the arguments; nothing if it is not there.
value_of() {
  local flag=$1 value=''
  shift
  while (($# > 0)); do
    case $1 in
      "$flag") value=${2-} ;;
      "$flag"=*) value=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "$value"
}

# --- Processes --------------------------------------------------------------------------------------------------------

# The time since boot at which a process began, in clock ticks: field 22 of /proc/PID/stat. The name in field 2 may hold
# blanks and parentheses.
start_time() {
  local text
  text=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  local fields
  read -r -a fields <<<"${text##*) }"
  [[ ${fields[0]} != Z ]] && printf '%s' "${fields[19]}"
}

# Whether the process of a pid file lives. Sets `pid`.
is_alive() {
  local started
  pid=''
  read -r pid started 2>/dev/null <"$1" && [[ $(start_time "$pid") == "$started" ]]
}

# The names of all live roles that match, as coordinator-1 or worker-2, each with its process id.
living() {
  local file
  for file in "$run_directory"/pids/${1:-*}.pid; do
    if [[ -e $file ]] && is_alive "$file"; then
      file=${file##*/}
      printf '%s %s\n' "${file%.pid}" "$pid"
    fi
  done
}

milliseconds() { printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# wait_until MILLISECONDS COMMAND...: whether the command succeeds within that time.
wait_until() {
  local deadline=$(($(milliseconds) + $1))
  shift
  until "$@"; do
    (($(milliseconds) < deadline)) || return 1
    sleep "$poll_seconds"
  done
}

nobody_lives() { [[ -z $(living "${1-}") ]]; }

# terminate NAMES-AND-IDS: SIGTERM to each.
terminate() {
  local name id
  while read -r name id; do
    [[ -z $name ]] || kill -TERM "$id" 2>/dev/null || true
  done <<<"$1"
}

# --- Starting ---------------------------------------------------------------------------------------------------------

# refuse_second ROLE: a run has one coordinator and one server.
refuse_second() {
  local there
  there=$(living "$1-*")
  [[ -z $there ]] || fail "$exit_cannot_create" "${there/ / (process }) already runs for $run_directory" \
    "To stop it: Scripts/stop.sh --run-dir $run_directory"
}

# start_roles ROLE COUNT ARGUMENT...: starts so many processes of descent-ROLE in the background, under the first numbers
# that are free. Comes back when each has found its place or is waiting for the coordinator. If one has failed, this
# script ends as it did.
start_roles() {
  local role=$1 count=$2 published name i names=() ids=()
  shift 2
  mkdir -p -- "$run_directory/pids" "$run_directory/logs" ||
    fail "$exit_cannot_create" "cannot create directories in $run_directory"
  published=$(publication)
  for ((i = 0; i < count; i++)); do
    start_one "$role" "$@"
    names+=("$name")
    ids+=("$pid")
  done
  for i in "${!names[@]}"; do
    name=${names[i]} pid=${ids[i]}
    wait_until "$([[ $role == coordinator ]] && echo 30000 || echo 500)" is_settled "$role" "$published" || true
    start_time "$pid" >/dev/null || ended_early "$name"
    say "$name: process $pid, output in $run_directory/logs/$name.out"
  done
}

# Sets `name` and `pid`.
start_one() {
  local role=$1 number=1 lock
  shift
  exec {lock}>"$run_directory/pids/lock"
  flock "$lock"
  while is_alive "$run_directory/pids/$role-$number.pid"; do number=$((number + 1)); done
  name=$role-$number
  detached "$programs/descent-$role" "$@" </dev/null >>"$run_directory/logs/$name.out" 2>&1 &
  pid=$!
  printf '%s %s\n' "$pid" "$(start_time "$pid" || printf '0')" >"$run_directory/pids/$name.pid"
  exec {lock}>&-
}

# Becomes the command, in a session of its own, so that neither Ctrl-C nor the end of the terminal reaches it, and
# without what this script has inherited, so that nobody who waits for that to close has to wait for a role.
detached() {
  local descriptor
  for descriptor in "/proc/$BASHPID/fd"/*; do
    descriptor=${descriptor##*/}
    ((descriptor <= 2)) || exec {descriptor}>&-
  done
  exec setsid -- "$@"
}

# What tells one appearance of the coordinator's address from another.
publication() { stat --format '%i %z' -- "$run_directory/coordinator.endpoint" 2>/dev/null || true; }

# Whether the process `pid` is seen to be at work, or has ended.
is_settled() {
  local role=$1 published=$2 now
  start_time "$pid" >/dev/null || return 0
  if [[ $role == coordinator ]]; then
    now=$(publication)
    [[ -n $now && $now != "$published" ]]
  else
    # The log of a server or worker begins when it has found the coordinator.
    [[ -e $run_directory/logs/$role-$pid.jsonl ]]
  fi
}

# A role that has ended is no failure if its run has ended well meanwhile.
ended_early() {
  local name=$1 status=0
  wait "$pid" || status=$?
  ((status != 0)) || return 0
  rm -f -- "$run_directory/pids/$name.pid"
  say "${0##*/}: $name ended at once, with exit status $status:"
  tail -n 5 -- "$run_directory/logs/$name.out" >&2
  exit "$status"
}
