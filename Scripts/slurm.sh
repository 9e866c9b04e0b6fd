#!/usr/bin/env bash
#
# Usage: Scripts/slurm.sh [WORD]
#
# Plays stories with the scripts in Deploy/slurm under a real Slurm of two nodes (Scripts/slurm/nodes.sh): ends, signals,
# limits, preemption, nodes and cables that are lost. Prints a table: what was done, what was expected, how job and run
# ended, and whether the weights are those of `descent train --workers 0`. WORD, a regular expression, chooses among the
# stories. It takes some fifteen minutes. Exit status 1 if a story ended otherwise, 69 where Slurm cannot be brought up:
# it takes root and the packages slurmctld, slurmd, slurm-client, munge and iproute2; bindfs for file locks of one node.
#
# SLURM_STEPS sets the steps of a run (12,000).
#
# Examples:
#   Scripts/slurm.sh > slurm.md
#   Scripts/slurm.sh 'node'

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
  -*) fail "$exit_usage" "unknown argument $1" 'See Scripts/slurm.sh --help.' ;;
esac
readonly chosen=${1-} nodes="$root/Scripts/slurm/nodes.sh" most_steps=${SLURM_STEPS:-12000}
(($(id -u) == 0)) || fail "$exit_unavailable" 'namespaces take root'
PATH="$PATH:/usr/sbin:/sbin"
for need in slurmctld slurmd srun munged ip nsenter; do
  command -v "$need" >/dev/null ||
    fail "$exit_unavailable" "$need is missing (Debian: slurmctld slurmd slurm-client munge iproute2)"
done
ensure_programs

work=$(mktemp -d)
readonly work
readonly batch_scripts="$work/installed/share/descent/Deploy/slurm"
export SLURM_STATE="$work/slurm" SHARED="$work" INSTALLED="$work/installed" DESCENT_DATA="$work/data"
trap '"$nodes" down 2>/dev/null; rm -rf -- "$work"' EXIT
chmod 755 -- "$work"
mkdir -p -- "$work/slurm" "$INSTALLED/bin" "$INSTALLED/share/descent"
for name in "${executables[@]}"; do
  [[ ! -x $programs/$name ]] || cp -- "$programs/$name" "$INSTALLED/bin/"
done
cp -R -- "$root/Deploy" "$INSTALLED/share/descent/"
"$programs/descent" data synthesize "$DESCENT_DATA" --train-examples 6000 --test-examples 1000 >&2
readonly settings=(--batch-size 64 --epochs 1000 --max-steps "$most_steps" --evaluate-every 500 --checkpoint-every 500)

# --- What a story does ------------------------------------------------------------------------------------------------

# Jobs inherit the environment.
slurm() { env --unset=DESCENT_PROGRAMS "$nodes" run "$@"; }

# submit SCRIPT OPTION... [-- SETTING...]: sets `job`. The run is in the directory `run`.
submit() {
  local script=$1 options=()
  shift
  while (($# > 0)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  (($# == 0)) || shift
  job=$(cd -- "$place" && RUN=$run slurm sbatch --parsable --output "$place/job-%j.log" "${options[@]}" \
    "$batch_scripts/$script" "${settings[@]}" "$@")
  jobs+=("$job")
}
submit_two_nodes() { submit train.sbatch --nodes=2 --ntasks-per-node=1 "$@"; }

# field NAME [JOB]: what Slurm says of a job.
field() { slurm scontrol --oneliner show job "${2:-$job}" 2>/dev/null | grep -oE "(^| )$1=[^ ]*" | head -n 1 | cut -d = -f 2 || true; }
has_ended() { [[ $(field JobState "${1:-$job}") =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|BOOT_FAIL)$ ]]; }
is_under_way() { (($(cat -- "$run/metrics.jsonl" 2>/dev/null | wc -l) >= 4)); }

# until_true SECONDS WHAT COMMAND...
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    if ((SECONDS >= end)); then
      trouble="waited in vain until $what"
      return 1
    fi
    sleep 0.2
  done
}
under_way() { until_true 60 'the run is under way' is_under_way; }
the_end() { until_true "${1:-120}" 'the job has ended' has_ended; }
# Processes of a role on the nodes.
kill_role() {
  local node
  for node in node0 node1; do "$nodes" on "$node" pkill -KILL -f "^$INSTALLED/bin/descent-$1 " && return; done
  return 0
}

finish() {
  submit_two_nodes
  the_end
}
finish_one_node() {
  submit train.sbatch --nodes=1 --ntasks=2
  the_end
}
cancel() {
  submit_two_nodes
  under_way
  slurm scancel "$job"
  the_end 40
  cancelled=$(field JobState)
  [[ $(recorded) == interrupted ]] || trouble="run.json says $(recorded) after scancel"
  submit_two_nodes
  the_end
}
warn() {
  # The warning comes 90 s before the end of two minutes.
  submit_two_nodes --time=2 -- --max-steps "$((most_steps * 5))"
  the_end 200
}
preempt() {
  submit_two_nodes
  under_way
  slurm sbatch --partition=high --nodes=2 --exclusive --output /dev/null --wrap 'sleep 3' >/dev/null
  the_end 150
}
lose_process() {
  submit_two_nodes
  under_way
  kill_role "$1"
  the_end
}
lose_node() {
  submit_two_nodes
  under_way
  "$nodes" kill "$1"
  sleep 15
  "$nodes" start "$1"
  the_end 180
}
cut_cable() {
  submit_two_nodes
  under_way
  "$nodes" cut "$1"
  sleep "$2"
  "$nodes" heal "$1"
  the_end 180
}
two_jobs() {
  submit_two_nodes
  first=$job run=$run-2
  submit_two_nodes
  the_end
  until_true 120 'the first job has ended' has_ended "$first"
  [[ $(weights "${run%-2}") == "$(weights)" ]] || trouble='the two runs differ'
}
as_user() {
  export SLURM_AS=games
  chown games -- "$place"
  submit_two_nodes
  the_end || true
  export SLURM_AS=
}
sweep() {
  submit sweep.sbatch --array=0-1 --ntasks-per-node=1 -- --test end
  the_end
  until_true 60 'both runs are over' test -e "$run/0/result.json" -a -e "$run/1/result.json"
  [[ $(weights "$run/0") != "$(weights "$run/1")" ]] || trouble='both runs have the same weights'
}
heterogeneous() {
  job=$(cd -- "$place" && RUN=$run slurm sbatch --parsable --output "$place/job-%j.log" \
    "$batch_scripts/hetjob.sbatch" "${settings[@]}")
  jobs+=("$job")
  the_end
}

# The launcher without the scripts of Deploy/slurm, as Deploy/operations.md shows it.
launch() {
  job=$(cd -- "$place" && slurm sbatch --parsable --output "$place/job-%j.log" --nodes=2 --signal=B:USR1@90 --no-kill \
    --wrap "exec $INSTALLED/bin/descent train --launcher slurm --data $DESCENT_DATA --run-dir $run --resume auto \
      --warning-signal USR1 --workers 4 ${settings[*]} ${*}" "${options[@]}")
  jobs+=("$job")
}
launch_finish() {
  local options=()
  launch
  the_end
}
launch_cancel() {
  local options=()
  launch
  under_way
  slurm scancel "$job"
  the_end 40
  cancelled=$(field JobState)
  [[ $(recorded) == interrupted ]] || trouble="run.json says $(recorded) after scancel"
  launch
  the_end
}
launch_warn() {
  local options=(--time=2)
  launch --max-steps "$((most_steps * 5))"
  the_end 200
  cancelled="$(field JobState) with $(field ExitCode)"
  [[ $(recorded) == interrupted ]] || trouble="run.json says $(recorded) after the warning"
  options=()
  launch --max-steps "$((most_steps * 5))"
  the_end 200
}
launch_lose_node() {
  local options=()
  launch
  under_way
  "$nodes" kill node1
  sleep 15
  "$nodes" start node1
  the_end 180
}

# --- The table --------------------------------------------------------------------------------------------------------

weights() { sed -nE 's/.*"weights_sha256": *"([0-9a-f]+)".*/\1/p' -- "${1:-$run}/result.json" 2>/dev/null | head -n 1 || true; }
recorded() { sed -nE 's/^ *"status": *"([a-z]+)".*/\1/p' -- "$run/run.json" 2>/dev/null | head -n 1 || true; }

# reference SETTING...: the weights without any cluster.
reference() {
  env --unset=INSTALLED "$programs/descent" train --workers 0 --quiet --run-dir "$(mktemp -d -p "$work")/run" \
    "${settings[@]}" "$@" --json | sed -nE 's/.*"weights_sha256": *"([0-9a-f]+)".*/\1/p'
}

failures=0
# story NAME EXPECTED BITS COMMAND...: BITS is the hash of the weights that are expected, or - for other ones.
story() {
  local name=$1 expected=$2 bits=$3 began=$SECONDS same='' found
  shift 3
  [[ $name =~ $chosen ]] || return 0
  place="$work/$((++number))" run="$work/$number/run" job='' jobs=() trouble='' cancelled=''
  mkdir -p -- "$place"
  "$@" || trouble=${trouble:-the story failed}
  found="job $(field JobState), $(field Restarts) restarts, run $(recorded)"
  [[ -z $cancelled ]] || found="job $cancelled; again: $found"
  if [[ $bits != - ]]; then
    same=yes
    [[ $(weights) == "$bits" ]] || same=NO
  fi
  if [[ -n $trouble || $same == NO ]]; then
    failures=$((failures + 1))
    say "--- $name: $trouble" "$(tail -n 60 -- "$place"/*.log 2>/dev/null)"
    for job in "${jobs[@]}"; do slurm scancel "$job" 2>/dev/null || true; done
    sleep 12
  fi
  printf '| %s | %s | %s | %s | %d |\n' "$name" "$expected" "${trouble:+$trouble; }$found" "$same" "$((SECONDS - began))"
}

number=0
"$nodes" up 2
undisturbed=$(reference)
readonly undisturbed
printf '| what is done | expected | found | same bits | s |\n|---|---|---|---|---:|\n'
story 'nothing, two nodes' 'done' "$undisturbed" finish
story 'nothing, one node' 'done' "$undisturbed" finish_one_node
story 'scancel, and the same command again' 'saved; resumes' "$undisturbed" cancel
[[ ! 'the time is over' =~ $chosen ]] ||
  story 'the time is over' 'warned, saved, requeued, resumes' "$(reference --max-steps "$((most_steps * 5))")" warn
story 'preemption by another job' 'saved, requeued, resumes' "$undisturbed" preempt
story 'the coordinator is killed' 'goes on' "$undisturbed" lose_process coordinator
story 'the server is killed' 'goes on' "$undisturbed" lose_process server
story 'a worker is killed' 'goes on' "$undisturbed" lose_process worker
story "a worker's node is lost" 'goes on without it' "$undisturbed" lose_node node1
story 'the node of the coordinator is lost' 'requeued, resumes' "$undisturbed" lose_node node0
story "a worker's network is away for 4 s, less than the lease" 'goes on' "$undisturbed" cut_cable node1 4
story "a worker's network is away for 16 s, more than the lease" 'goes on without it' "$undisturbed" cut_cable node1 16
story "the coordinator's network is away for 4 s" 'goes on' "$undisturbed" cut_cable node0 4
story "the coordinator's network is away for 16 s" 'goes on, or requeued' "$undisturbed" cut_cable node0 16
story 'two jobs on the same nodes' 'both done' "$undisturbed" two_jobs
story 'another user than root' 'done' "$undisturbed" as_user
story 'an array as a sweep' 'two runs with different weights' - sweep
story 'a heterogeneous job' 'done' "$undisturbed" heterogeneous
story 'launcher: nothing, two nodes' 'done' "$undisturbed" launch_finish
story 'launcher: scancel, and the same command again' 'saved; resumes' "$undisturbed" launch_cancel
[[ ! 'launcher: the time is over, and the same command again' =~ $chosen ]] ||
  story 'launcher: the time is over, and the same command again' 'warned, saved; resumes' \
    "$(reference --max-steps "$((most_steps * 5))")" launch_warn
story "launcher: a worker's node is lost" 'goes on without it' "$undisturbed" launch_lose_node
if [[ 'file locks of one node each' =~ $chosen ]]; then
  if command -v bindfs >/dev/null && [[ -e /dev/fuse ]]; then
    "$nodes" down
    LOCAL_LOCKS=$work "$nodes" up 2
    story 'file locks of one node each' 'done' "$undisturbed" finish
  else
    say 'Skipped: file locks of one node each, as there is no bindfs.'
  fi
fi
((failures == 0)) || fail 1 "$failures stories ended otherwise than expected"
