#!/usr/bin/env bash
#
# Usage: Scripts/resume.sh --run-dir DIR [--workers N] [--data DIR] [SETTINGS OF descent train]
#
# Resumes a run from its newest checkpoint, however it ended: starts a coordinator, a server and N workers in the
# background, with the settings in DIR/config.yaml. N may differ from the number before; under `bsp` the weights keep the
# same bits. Settings that would change the weights are rejected. Servers and workers that outlived their coordinator are
# named and replaced; a coordinator that still runs is not (stop.sh stops the run).
#
# Examples:
#   Scripts/resume.sh --run-dir runs/mine
#   Scripts/resume.sh --run-dir runs/mine --workers 5 --max-steps 0
#
# A run that was killed before its first checkpoint begins again at step 0.

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/roles.sh"

# A setting of the run, as descent wrote it: `key: value`, double-quoted if necessary.
setting() {
  local value
  value=$(sed -n "s/^$1: //p" -- "$run_config")
  if [[ $value == '"'*'"' ]]; then
    value=${value:1:-1}
    value=${value//\\\"/\"}
    value=${value//\\\\/\\}
  fi
  # A dollar sign of a path stands twice.
  printf '%s' "${value//\$\$/\$}"
}

take_location "$@"
[[ -z $coordinator ]] ||
  fail "$exit_usage" 'resuming requires --run-dir DIR; --coordinator applies to servers and workers only'
readonly run_config="$run_directory/config.yaml"
[[ -r $run_config ]] || fail "$exit_missing_input" "$run_directory contains no run: config.yaml is missing"
workers=$(value_of --workers "${others[@]}")
workers=${workers:-$(setting workers)}
[[ $workers =~ ^[1-9][0-9]*$ ]] || workers=1
data=$(value_of --data "${others[@]}")
data=${data:-$(setting data)}
[[ -d $data ]] || fail "$exit_missing_input" "the data set $data does not exist" 'Name its directory with --data.'
ensure_programs
refuse_second coordinator

# Servers and workers that outlived their coordinator would join the new one in addition to those started here.
leftover=$(running)
if [[ -n $leftover ]]; then
  say "Replacing what still runs without a coordinator: $(listed "$leftover")"
  terminate "$leftover"
  wait_until 10000 none_is_running ||
    fail "$exit_cannot_create" "these processes do not exit: $(listed "$(running)")" 'End them with kill -9, then run this again.'
fi

timing=()
for key in heartbeat-seconds lease-seconds rendezvous-seconds; do
  timing+=("--$key" "$(value_of "--$key" "${others[@]}")")
  [[ -n ${timing[-1]} ]] || timing[-1]=$(setting "$key")
done
# Keys and the listening address are settings of the run; running without keys must be requested again.
peers=()
keys=$(value_of --keys "${others[@]}")
keys=${keys:-$(setting keys)}
[[ -z $keys ]] || peers+=(--keys "$keys")
[[ " ${others[*]-} " != *' --insecure-plaintext-beyond-this-host '* ]] || peers+=(--insecure-plaintext-beyond-this-host)
resume=must
# Not by `latest`, which a copy may have lost.
if [[ -z $(find "$run_directory/checkpoints/" -mindepth 1 -maxdepth 1 -name 'step-*' 2>/dev/null) ]]; then
  resume=auto
  say "$run_directory has no checkpoint yet: the run begins again at step 0."
fi
bind=$(value_of --bind "${others[@]}")
bind=${bind:-$(setting bind)}
start_roles coordinator 1 --config "$run_config" --run-dir "$run_directory" --resume "$resume" --data "$data" \
  --workers "$workers" "${others[@]}"
start_roles server 1 --run-dir "$run_directory" --bind "${bind:-127.0.0.1}" "${timing[@]}" "${peers[@]}"
start_roles worker "$workers" --run-dir "$run_directory" --data "$data" "${timing[@]}" "${peers[@]}"
