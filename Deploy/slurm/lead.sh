#!/usr/bin/env bash
#
# Usage: lead.sh --data DIR --run-dir DIR [--requeues N] [-- SETTINGS OF descent train]
#
# Leads a training run inside an allocation of Slurm, from its batch script: train.sbatch, sweep.sbatch and hetjob.sbatch
# end with this command. On one node it runs `descent train` with a worker for each task. On several nodes coordinator
# and server are steps on the node of the batch script and each task is a worker; they know one another by keys beside
# the run directory. In a heterogeneous job the tasks of its second part are the workers.
#
# The run is resumed if the directory holds one, so the same job continues after it was requeued. Whether it is requeued
# follows from the exit status of the run, at most N times (10):
#
#   0                 finished                                                                 no
#   75                stopped by a signal: the warning of a time limit, preemption             yes; not after scancel
#   69, 128 and more  a peer is missing, or a process was killed                               yes
#   others            what another start does not mend (Deploy/operations.md)                  no
#
# The exit status is that of the run. The job needs a signal some time before its limit, which is for the batch script:
# --signal=B:USR1@90. Slurm looks at limits every 30 s, so less than 60 s may be too little.

set -u

# A dead process of the run is started again so often.
readonly most_restarts=5 lease=10
data='' run='' requeues=10

say() { printf '%(%H:%M:%S)T lead: %s\n' -1 "$*"; }
fail() {
  say "$2"
  exit "$1"
}

while (($# > 0)); do
  case $1 in
    -h | --help)
      sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    --data | --run-dir | --requeues) (($# > 1)) || fail 64 "$1 needs a value" ;;&
    --data) data=$2 ;;
    --run-dir) run=$2 ;;
    --requeues) requeues=$2 ;;
    *) fail 64 "unknown argument $1" ;;
  esac
  shift 2
done
settings=("$@")
[[ -n ${SLURM_JOB_ID-} ]] || fail 64 'this is for a batch script of Slurm'
[[ -n $data && -n $run ]] || fail 64 '--data and --run-dir are needed'
bin=${DESCENT_PROGRAMS:-$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/../../../../bin" 2>/dev/null && pwd)}
[[ -x $bin/descent-coordinator ]] ||
  fail 66 "there are no programs in ${bin:-../../../../bin}: install them with Scripts/install.sh, or set DESCENT_PROGRAMS"
# What Slurm counts: the parts of a heterogeneous job are jobs of consecutive numbers.
restarts=${SLURM_RESTART_COUNT:-0}
if [[ -n ${SLURM_HET_SIZE-} ]]; then
  here=(--het-group=0) there=(--het-group=1)
  nodes=2 workers=${SLURM_NTASKS_HET_GROUP_1:-${SLURM_JOB_NUM_NODES_HET_GROUP_1:-1}}
else
  here=() there=()
  nodes=$SLURM_JOB_NUM_NODES workers=${SLURM_NTASKS:-$nodes}
fi

# --- Steps ------------------------------------------------------------------------------------------------------------

# Each step has a name, by which it can be signalled: a signal to its srun would kill its tasks at once.
step() { exec srun --overlap --no-kill --kill-on-bad-exit=0 --open-mode=append --label --job-name "$@"; }
on_this_node() { step "$1" "${here[@]}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" "${@:2}"; }

# step_signal SIGNAL NAME
step_signal() {
  local id
  while read -r id; do
    [[ -z $id ]] || scancel --signal="$1" "$id"
  done < <(squeue --noheader --steps --jobs="$SLURM_JOB_ID" --format='%i %j' | awk -v name="$2" '$2 == name { print $1 }')
}

start_run() {
  if ((nodes == 1)); then
    on_this_node run "$bin/descent" train --data "$data" --run-dir "$run" --resume auto --workers "$workers" \
      "${settings[@]}" &
  else
    on_this_node run "$bin/descent-coordinator" --data "$data" --run-dir "$run" --resume auto --workers "$workers" \
      --transport tcp --bind "$address" "${common[@]}" "${settings[@]}" &
  fi
  lead=$!
}

start_server() {
  on_this_node server "$bin/descent-server" --run-dir "$run" --bind "$address" "${common[@]}" &
  server=$!
}

# What each task runs. If the node of this script is lost, Slurm goes on with the others (--no-kill), and nothing else would
# notice that nothing leads: a worker that has heard nothing for long ends with 69, and has the job requeued.
# shellcheck disable=SC2016 # for the shell of each task
readonly task='
  head=$1 allowed=$2
  shift 2
  trap : TERM
  status=0
  "$@" --key "worker-$SLURM_PROCID" --name "worker-$SLURM_PROCID" || status=$?
  if [ $status -eq 69 ] && [ $allowed -gt 0 ] &&
    nodes=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%N) && [ -n "$nodes" ] &&
    ! scontrol show hostnames "$nodes" | grep -qxF "$head"; then
    echo "the node $head is lost, which led the run: requeueing the job"
    scontrol requeue "$SLURM_JOB_ID"
  fi
  exit $status'
start_workers() {
  step workers "${there[@]}" --nodes="${worker_nodes:-$nodes}" --ntasks="$workers" \
    bash -c "$task" worker "$SLURMD_NODENAME" "$((requeues - restarts))" \
    "$bin/descent-worker" --run-dir "$run" --data "$data" "${common[@]}" &
  tasks=$!
}

# Sets `address` to the one by which other nodes reach this one, as Slurm knows it, and makes the keys.
prepare_several_nodes() {
  local names=() missing='' name i
  address=$(srun --overlap "${here[@]}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" \
    printenv SLURM_LAUNCH_NODE_IPADDR) || fail 69 'Slurm does not start a step on this node'
  [[ -z ${SLURM_HET_SIZE-} ]] || worker_nodes=$SLURM_JOB_NUM_NODES_HET_GROUP_1
  for ((i = 0; i < workers; i++)); do names+=("worker-$i"); done
  # Those of an earlier start stay: a process of it may still be there, and must be known.
  for name in coordinator server observer "${names[@]}"; do
    [[ -e $keys/$name.key ]] || missing+=,$name
  done
  mkdir -p -- "$(dirname -- "$run")"
  [[ -z $missing ]] || "$bin/descent" keygen --output "$keys" --names "${missing:1}" >/dev/null || exit
  # A network is allowed more than the memory of one host.
  common=(--keys "$keys" --lease-seconds "$lease" --rendezvous-seconds 60)
}

# --- The run ----------------------------------------------------------------------------------------------------------

# USR1 is the warning: the run saves and ends. TERM comes with scancel, to the steps too: it ends, and for good.
cancelled='' warned=''
trap 'warned=yes' USR1
trap 'cancelled=yes' TERM

keys="$run.keys" address='' common=() lead='' server='' tasks=''
say "restart $restarts on ${SLURM_JOB_NODELIST_HET_GROUP_1:-$SLURM_JOB_NODELIST}, $workers workers"
if ((nodes > 1)); then prepare_several_nodes; fi
start_run
if ((nodes > 1)); then
  start_server
  start_workers
fi

status='' left=$most_restarts
while [[ -z $status ]]; do
  if [[ $warned == yes ]]; then
    say 'the time is nearly over: saving'
    warned=told
    step_signal TERM run
  fi
  ended='' code=0
  # shellcheck disable=SC2086 # none, or a number
  wait -n -p ended $lead $server $tasks || code=$?
  # Unset after a signal.
  case ${ended-} in
    '') ;;
    "$lead")
      # A process that was killed, not one that ended: another one takes the run over.
      if ((code >= 128 && left > 0)) && [[ -z $cancelled$warned ]]; then
        say "the run was killed ($code): starting it again"
        left=$((left - 1))
        sleep 2
        start_run
      else
        status=$code
      fi
      ;;
    "$server")
      server=''
      # 0 and 75: the run is over, or about to be.
      if ((code != 0 && code != 75 && left > 0)); then
        say "the server ended with $code: starting it again when its lease has expired"
        left=$((left - 1))
        sleep "$((lease + 1))"
        start_server
      fi
      ;;
    "$tasks")
      # Of a task on a node that was lost it says nothing.
      tasks=''
      ;;
  esac
done
say "the run ended with $status"

# What is left has been told. The srun of a node that is lost would wait for Slurm's own deadline.
for ((i = 0; i < 100; i++)); do
  [[ -n $(jobs -rp) ]] || break
  sleep 0.1
done
# shellcheck disable=SC2046 # several numbers
[[ -z $(jobs -rp) ]] || kill -KILL $(jobs -rp) 2>/dev/null
# The batch script's own SIGTERM comes a little later than those of the steps.
sleep 1

if ((status == 0)); then
  rm -rf -- "$keys"
elif ((status == 69 || status == 75 || status >= 128)) && [[ -z $cancelled ]]; then
  if ((restarts >= requeues)); then
    say "not requeued: it has been, $restarts times"
  elif scontrol requeue "$SLURM_JOB_ID"; then
    say 'requeued'
    # Slurm ends this script.
    sleep 60
  else
    say "Slurm does not requeue this job; continue with: sbatch, and the run directory $run"
  fi
fi
exit "$status"
