# shellcheck shell=bash
#
# Starts, finds and stops the processes of a run. Source it after `set -euo pipefail`; it sources common.sh.
#
# Each process has a name, coordinator@HOST, server@HOST or worker-N@HOST, which the programs use as well. In the run
# directory, pids/NAME.pid has its process id, and pids/NAME.start its start time, so that a later process with the same
# id is not mistaken for it. Its output goes to logs/NAME.out.

# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

# The interval between two checks of a condition.
readonly poll_seconds=0.05
# As gethostname gives it to the programs. The run directory may be shared with other hosts.
host=$(uname -n)
readonly host

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

# Whether the process of this name is running on this host. Sets `pid`.
is_alive() {
  local file="$run_directory/pids/$1" started=''
  pid=''
  { read -r pid <"$file.pid" && read -r started <"$file.start"; } 2>/dev/null || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]]
}

# started [ROLE]: the names of the processes that were started on this host, all or of one role.
started() {
  local file
  for file in "$run_directory"/pids/"${1-}"*"@$host.pid"; do
    [[ ! -e $file ]] || basename -- "$file" .pid
  done
}

# running [ROLE]: the running processes of this host, each with its process id.
running() {
  local name
  while read -r name; do
    [[ -z $name ]] || ! is_alive "$name" || printf '%s %s\n' "$name" "$pid"
  done <<<"$(started "${1-}")"
}

# The list that `running` prints, on one line for a message.
listed() {
  local name id text=''
  while read -r name id; do text+="${text:+, }$name (pid $id)"; done <<<"$1"
  printf '%s' "$text"
}

# how_ended NAME: when and how the process `pid` ended, from its log: its last line, unless it said why it ended.
how_ended() {
  local lines line format='ended \1 \2: \3'
  lines=$(tail -n 100 -- "$run_directory/logs/$1.jsonl" 2>/dev/null | grep -E "\"pid\":${pid}[,}]") || true
  line=$(grep -E '"event":"(ended|finished)"' <<<"$lines" | tail -n 1) || true
  if [[ -z $line ]]; then
    line=$(tail -n 1 <<<"$lines")
    format='killed or crashed after \1 \2, where its log ends: \3'
  fi
  if [[ -z $line ]]; then
    printf 'ended before it wrote a log: see logs/%s.out' "$1"
    return
  fi
  sed -nE 's/^\{"ts":"([^"]*)T([0-9:]*)[^"]*".*"msg":"(([^"\\]|\\.)*)".*/'"$format"'/p' <<<"$line"
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

# signal_each SIGNAL NAMES-AND-IDS: sends it to each process.
signal_each() {
  local name id
  while read -r name id; do
    [[ -z $name ]] || kill "-$1" "$id" 2>/dev/null || true
  done <<<"$2"
}

# terminate NAMES-AND-IDS: SIGTERM to each, and SIGCONT, without which a process that is stopped does not receive it.
terminate() {
  signal_each TERM "$1"
  signal_each CONT "$1"
}

# --- Starting ---------------------------------------------------------------------------------------------------------

# refuse_second ROLE: fails if the run already has this process, of which there is one.
refuse_second() {
  local there
  there=$(running "$1")
  [[ -z $there ]] || fail "$exit_cannot_create" "$(listed "$there") is already running in $run_directory" \
    "Stop it with: $(command_line stop)"
}

# start_roles ROLE COUNT ARGUMENT...: starts COUNT processes of descent-ROLE in the background, under the first free
# numbers. Returns when each has started or is waiting for the coordinator. If one has failed, the script exits with its
# status.
start_roles() {
  local role=$1 count=$2 published cause name i names=() ids=() sizes=() printed=()
  shift 2
  cause=$(mkdir -p -- "$run_directory/pids" "$run_directory/logs" 2>&1) ||
    fail "$exit_cannot_create" "cannot create directories in $run_directory: ${cause##*: }" \
      'Choose a place that can be written with --run-dir.'
  published=$(publication)
  for ((i = 0; i < count; i++)); do
    start_one "$role" "$@"
    names+=("$name")
    ids+=("$pid")
    sizes+=("$size")
    printed+=("$output")
  done
  for i in "${!names[@]}"; do
    name=${names[i]} pid=${ids[i]} size=${sizes[i]} output=${printed[i]}
    wait_until "$([[ $role == coordinator ]] && echo 30000 || echo 500)" is_settled "$role" "$published" || true
    start_time "$pid" >/dev/null || ended_early "$name"
    say "$name started (pid $pid), output in $run_directory/logs/$name.out"
  done
}

# Sets `name` and `pid`, and `size` and `output` to the sizes of its log and of its output before it starts: it appends to
# those of an earlier process with its name.
start_one() {
  local role=$1 number=1 lock file
  shift
  exec {lock}>"$run_directory/pids/lock"
  flock "$lock" 2>/dev/null || say "$run_directory has no file locks: start no other process there meanwhile."
  name=$role@$host
  if [[ $role == worker ]]; then
    while is_alive "worker-$number@$host"; do number=$((number + 1)); done
    name=worker-$number@$host
    set -- "$@" --name "worker-$number"
  fi
  size=$(log_size jsonl) output=$(log_size out)
  detached "$programs/descent-$role" "$@" </dev/null >>"$run_directory/logs/$name.out" 2>&1 &
  pid=$!
  file="$run_directory/pids/$name"
  rm -f -- "$file.pid"
  { start_time "$pid" || printf ended; } >"$file.start"
  printf '\n' >>"$file.start"
  printf '%s\n' "$pid" >"$file.pid"
  exec {lock}>&-
}

# log_size SUFFIX: the size of the log or output of the process `name`.
log_size() { stat --format %s -- "$run_directory/logs/$name.$1" 2>/dev/null || printf 0; }

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
    # A server or worker opens its log when it has found the coordinator.
    (($(log_size jsonl) > size))
  fi
}

# An exit with status 0 is no failure: the run has finished meanwhile.
ended_early() {
  local name=$1 status=0
  wait "$pid" || status=$?
  ((status != 0)) || return 0
  rm -f -- "$run_directory/pids/$name".{pid,start}
  say "${0##*/}: $name exited at once with status $status:"
  tail -c "+$((output + 1))" -- "$run_directory/logs/$name.out" | tail -n 5 >&2
  # The directory holds a run, and its coordinator was started as for a new one or with other settings.
  if [[ $name == coordinator@* && ($status == "$exit_cannot_create" || $status == 78) && -e $run_directory/config.yaml ]]; then
    say "To continue the run that is there, as it was: $(command_line resume)"
  fi
  exit "$status"
}

# command_line NAME: the command that calls another script for this run.
command_line() {
  local scripts
  scripts=$(dirname -- "$0")
  # The running script may have been called through a link.
  [[ -e $scripts/$1.sh ]] || scripts=$root/Scripts
  printf '%q --run-dir %q' "$scripts/$1.sh" "$run_directory"
}

# The status of the run in its run.json: running, finished, ... descent writes one member per line.
recorded_status() { sed -n 's/^ *"status": *"\([^"]*\)".*/\1/p' -- "$run_directory/run.json" 2>/dev/null | head -n 1; }

# Says how to continue the run, unless it is finished or there is none.
suggest_resume() {
  local outcome
  outcome=$(recorded_status) || true
  [[ -z $outcome || $outcome == finished ]] || say "Resume with: $(command_line resume)"
}
