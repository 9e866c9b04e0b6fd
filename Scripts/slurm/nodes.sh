#!/usr/bin/env bash
#
# Usage: Scripts/slurm/nodes.sh up [N] | run COMMAND... | on NODE COMMAND... | kill NODE | start NODE | cut NODE |
#                               heal NODE | down
#
# A real Slurm on this machine: `ctl`, where jobs are submitted, and N nodes (2), node0, node1, ... Each has its network,
# host name, processes, munged, slurmctld or slurmd, /tmp, /run and /dev/shm; all other files are the same everywhere, as
# on a shared file system, and so are the directories below /tmp that SHARED names. Neither systemd nor control groups are
# needed; the machine's own network is left alone. Takes root, slurmctld, slurmd, slurm-client, munge and iproute2.
#
#   run, on       a command in this directory, on ctl or on a node
#   kill, start   a node loses its power, and is back
#   cut, heal     its cable is pulled, and plugged in
#
# SLURM_STATE   where state and logs are (/tmp/descent-slurm)     SLURM_AS    the user of `run` and `on` (root)
# SLURM_CPUS    processors that each node claims to have (4)      SHARED      directories below /tmp, with blanks between
# LOCAL_LOCKS   a directory whose file locks are of one node each, as on Lustre with -o localflock; takes bindfs

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../common.sh"

readonly state=${SLURM_STATE:-/tmp/descent-slurm} subnet=10.99.0
export PATH="$PATH:/usr/sbin:/sbin"

born() {
  local text
  text=$(cat "/proc/$1/stat" 2>/dev/null) && cut -d ' ' -f 20 <<<"${text##*) }"
}

# Sets `first`, process 1 of the node; false if it is down.
look_up() {
  local began
  { read -r first began <"$state/$1/pid"; } 2>/dev/null && [[ $(born "$first") == "$began" ]]
}

# Becomes the command, on the node. As user `as`, if it is set.
# shellcheck disable=SC2016 # for the shell over there
enter() {
  local node=$1
  shift
  look_up "$node" || fail "$exit_unavailable" "$node is not up"
  exec nsenter --target "$first" --all -- \
    bash -c 'cd -- "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" ${as:+runuser -u "$as" --} "$@"
}
# A command on the node, as root.
root_on() { (as='' && enter "$@"); }
network_of() { nsenter --target "$1" --net -- "${@:2}"; }

# Process 1 of a node, which also takes in the processes that Slurm's leave behind.
# shellcheck disable=SC2016 # for the shell over there
readonly process_1='
  set -eu
  node=$1 state=$2 locks=$3
  shift 3
  mount --make-rprivate /
  hostname "$node"
  ip link set lo up
  mount -t tmpfs -o mode=755 "$node" /run
  mount -t tmpfs -o mode=1777 "$node" /dev/shm
  mkdir -m 755 /run/munge
  mkdir -m 1777 /run/tmp
  for shared in "$state" "$@"; do
    case $shared in /tmp/*) mkdir -p "/run$shared"; mount --rbind "$shared" "/run$shared" ;; esac
  done
  mount --rbind /run/tmp /tmp
  [ -z "$locks" ] || bindfs -o allow_other "$locks" "$locks"
  mount --bind "$state/hosts" /etc/hosts
  mount --bind "$state/etc" /etc/slurm
  install -m 600 "$state/munge.key" /run/munge/key
  touch "$state/$node/ready"
  sleep infinity &
  while :; do wait -n || :; done'

# boot NODE NUMBER: its namespaces, its cable to the bridge of ctl, its daemons.
boot() {
  local node=$1 number=$2 outer hub shared daemon=slurmd i
  ! look_up "$node" || fail "$exit_cannot_create" "$node is up already"
  mkdir -p -- "$state/$node/spool"
  rm -f -- "$state/$node/ready"
  read -r -a shared <<<"${SHARED:-}"
  setsid unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc \
    bash -c "$process_1" init "$node" "$state" "${LOCAL_LOCKS:-}" "${shared[@]}" \
    </dev/null >"$state/$node/init.log" 2>&1 &
  outer=$!
  for ((i = 0; i < 100; i++)); do
    [[ ! -e $state/$node/ready ]] || break
    sleep 0.05
  done
  if [[ ! -e $state/$node/ready ]]; then
    kill -KILL "$outer" 2>/dev/null || true
    fail 1 "$node does not start:" "$(cat -- "$state/$node/init.log")"
  fi
  read -r first _ <"/proc/$outer/task/$outer/children" || true
  printf '%s %s\n' "$first" "$(born "$first")" >"$state/$node/pid"
  if [[ $node == ctl ]]; then
    daemon=slurmctld
    network_of "$first" ip link add eth0 type bridge
  else
    look_up ctl && hub=$first && look_up "$node"
    network_of "$hub" ip link delete "to-$node" 2>/dev/null || true
    ip link add eth0 netns "$first" type veth peer name "to-$node" netns "$hub"
    network_of "$hub" ip link set "to-$node" master eth0 up
  fi
  network_of "$first" ip address add "$subnet.$number/24" dev eth0
  network_of "$first" ip link set eth0 up
  root_on "$node" munged --key-file /run/munge/key --pid-file /run/munge/pid --log-file /run/munge/log \
    --seed-file /run/munge/seed --socket /run/munge/munge.socket.2
  root_on "$node" "$daemon"
}

# What keeps Slurm from needing control groups; and times that are shorter than on most sites: cred_expire, after which a
# requeued job may begin (120 s), SlurmdTimeout, after which a silent node is down (300 s), and KillWait (30 s).
configure() {
  local count=$1 i
  rm -rf -- "$state/state"
  mkdir -p -- "$state/etc" "$state/state"
  (umask 077 && head -c 128 /dev/urandom >"$state/munge.key")
  printf '%s\n' '127.0.0.1 localhost' "$subnet.1 ctl" >"$state/hosts"
  for ((i = 0; i < count; i++)); do printf '%s\n' "$subnet.$((i + 10)) node$i" >>"$state/hosts"; done
  cat >"$state/etc/slurm.conf" <<END
ClusterName=descent
SlurmctldHost=ctl($subnet.1)
SlurmUser=root
StateSaveLocation=$state/state
SlurmdSpoolDir=$state/%n/spool
SlurmctldLogFile=$state/ctl/slurmctld.log
SlurmdLogFile=$state/%n/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AuthInfo=cred_expire=10
SlurmdTimeout=10
KillWait=10
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=node[0-$((count - 1))] CPUs=${SLURM_CPUS:-4} RealMemory=2000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 GraceTime=20 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=10 PreemptMode=OFF
END
}

# Every process of a node ends with its first one.
stop_node() {
  if look_up "$1"; then
    kill -KILL "$first"
    while [[ -e /proc/$first ]]; do sleep 0.02; done
  fi
  rm -f -- "$state/$1/pid"
}

up() {
  local count=$1 i
  mkdir -p -- "$state"
  ! look_up ctl || fail "$exit_cannot_create" 'it is up already'
  configure "$count"
  boot ctl 1
  for ((i = 0; i < count; i++)); do boot "node$i" "$((i + 10))"; done
  for ((i = 0; i < 150; i++)); do
    (($(root_on ctl sinfo --noheader --Node --partition low --states idle 2>/dev/null | wc -l) < count)) || return 0
    sleep 0.2
  done
  fail 1 "not all nodes are idle after 30 s; the logs are in $state"
}

(($(id -u) == 0)) || fail "$exit_unavailable" 'takes root'
for need in slurmctld slurmd srun munged ip nsenter; do
  command -v "$need" >/dev/null ||
    fail "$exit_unavailable" "$need is missing (Debian: slurmctld slurmd slurm-client munge iproute2)"
done
as=${SLURM_AS-}
[[ $as != root ]] || as=''
verb=${1-}
shift || true
case $verb in
  up) up "${1:-2}" ;;
  run) enter ctl "$@" ;;
  on) enter "$@" ;;
  kill) stop_node "$1" ;;
  start) boot "$1" "$((${1#node} + 10))" ;;
  cut | heal)
    look_up "$1" || fail "$exit_unavailable" "$1 is not up"
    network_of "$first" ip link set eth0 "$([[ $verb == cut ]] && echo down || echo up)"
    ;;
  down)
    for file in "$state"/*/pid; do
      [[ ! -e $file ]] || stop_node "$(basename -- "${file%/pid}")"
    done
    ;;
  -h | --help) print_help ;;
  *) fail "$exit_usage" "unknown word ${verb:-(none)}" 'See Scripts/slurm/nodes.sh --help.' ;;
esac
