# shellcheck shell=bash
#
# Starts, finds and stops the processes of a run. Source it after `set -euo pipefail`; it sources common.sh.
#
# Each process has a file <run directory>/pids/<role>-<n>.pid with its process id and its start time, so that a later
# process with the same id is not mistaken for it. Its output goes to <run directory>/logs/<role>-<n>.out.

# shellcheck source=Scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

# The interval between two checks of a condition.
readonly poll_seconds=0.05

run_directory=${DESCENT_RUN_DIR-}
coordinator=''
others=()

# Sets `run_directory` and `coordinator` from the arguments; the other arguments go to `others`.
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
  # Pid files and output need a directory even if only an address is given.
  [[ -n $run_directory || -z $coordinator ]] || run_directory=runs/by-hand
  [[ -n $run_directory ]] || fail "$exit_usage" '--run-dir DIR is required' "See ${0##*/} --help."
}

# Sets `location`: the flags by which a program finds the coordinator.
locate_coordinator() {
  # shellcheck disable=SC2034 # used by the scripts that source this
  if [[ -n $coordinator ]]; then
    location=(--coordinator "$coordinator")
  else
    location=(--run-dir "$run_directory")
  fi
}

# value_of FLAG ARGUMENT...: the value of the last FLAG among the arguments, empty if absent.
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

# The start time of a process in clock ticks since boot: field 22 of /proc/PID/stat. The name in field 2 may contain
# blanks and parentheses.
start_time() {
  local text
  text=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  local fields
  read -r -a fields <<<"${text##*) }"
  [[ ${fields[0]} != Z ]] && printf '%s' "${fields[19]}"
}

# Whether the process of a pid file is running. Sets `pid`.
is_alive() {
  local started
  pid=''
  read -r pid started 2>/dev/null <"$1" && [[ $(start_time "$pid") == "$started" ]]
}

# The running processes whose names match the pattern (coordinator-1, worker-2), each with its process id.
running() {
  local file
  for file in "$run_directory"/pids/${1:-*}.pid; do
    if [[ -e $file ]] && is_alive "$file"; then
      file=${file##*/}
      printf '%s %s\n' "${file%.pid}" "$pid"
    fi
  done
}

milliseconds() { printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# wait_until MILLISECONDS COMMAND...: repeats the command until it succeeds; fails after that time.
wait_until() {
  local deadline=$(($(milliseconds) + $1))
  shift
  until "$@"; do
    (($(milliseconds) < deadline)) || return 1
    sleep "$poll_seconds"
  done
}

none_is_running() { [[ -z $(running "${1-}") ]]; }

# terminate NAMES-AND-IDS: SIGTERM to each.
terminate() {
  local name id
  while read -r name id; do
    [[ -z $name ]] || kill -TERM "$id" 2>/dev/null || true
  done <<<"$1"
}

# --- Starting ---------------------------------------------------------------------------------------------------------

# refuse_second ROLE: fails if the run already has this process, of which there is one.
refuse_second() {
  local there
  there=$(running "$1-*")
  [[ -z $there ]] || fail "$exit_cannot_create" "${there/ / (pid }) is already running in $run_directory" \
    "Stop it with: Scripts/stop.sh --run-dir $run_directory"
}

# start_roles ROLE COUNT ARGUMENT...: starts COUNT processes of descent-ROLE in the background, under the first free
# numbers. Returns when each has started or is waiting for the coordinator. If one has failed, the script exits with its
# status.
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
    say "$name started (pid $pid), output in $run_directory/logs/$name.out"
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

# Replaces the subshell by the command in a session of its own, which neither Ctrl-C nor the end of the terminal
# reaches. Inherited descriptors are closed, so that a reader waiting for the end of a pipe does not wait for the
# process.
detached() {
  local descriptor
  for descriptor in "/proc/$BASHPID/fd"/*; do
    descriptor=${descriptor##*/}
    ((descriptor <= 2)) || exec {descriptor}>&-
  done
  exec setsid -- "$@"
}

# Identifies one publication of the coordinator's address.
publication() { stat --format '%i %z' -- "$run_directory/coordinator.endpoint" 2>/dev/null || true; }

# Whether the process `pid` has started its work or has exited.
is_settled() {
  local role=$1 published=$2 now
  start_time "$pid" >/dev/null || return 0
  if [[ $role == coordinator ]]; then
    now=$(publication)
    [[ -n $now && $now != "$published" ]]
  else
    # A server or worker creates its log when it has found the coordinator.
    [[ -e $run_directory/logs/$role-$pid.jsonl ]]
  fi
}

# An exit with status 0 is no failure: the run has finished meanwhile.
ended_early() {
  local name=$1 status=0
  wait "$pid" || status=$?
  ((status != 0)) || return 0
  rm -f -- "$run_directory/pids/$name.pid"
  say "${0##*/}: $name exited at once with status $status:"
  tail -n 5 -- "$run_directory/logs/$name.out" >&2
  exit "$status"
}
