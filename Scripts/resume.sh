#!/usr/bin/env bash
#
# Usage: Scripts/resume.sh --run-dir DIR [--workers N] [--data DIR] [SETTINGS OF descent train]
#
# Goes on with a run from its newest checkpoint, however it ended: starts a coordinator with --resume must, a server and
# N workers in the background, with the settings in DIR/config.yaml. N may be another number than before; under `bsp`
# the weights end with the same bits. Settings that would change the weights are refused.
#
# Examples:
#   Scripts/resume.sh --run-dir runs/mine
#   Scripts/resume.sh --run-dir runs/mine --workers 5 --max-steps 0
#
# A run that was killed before its first checkpoint begins again with --resume auto.

set -euo pipefail
# shellcheck source=Scripts/roles.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/roles.sh"

# A setting of the run, as the program wrote it: `key: value`, in double quotes where need be.
setting() {
  local value
  value=$(sed -n "s/^$1: //p" -- "$run_config")
  if [[ $value == '"'*'"' ]]; then
    value=${value:1:-1}
    value=${value//\\\"/\"}
    value=${value//\\\\/\\}
  fi
  printf '%s' "$value"
}

take_location "$@"
[[ -z $coordinator ]] || fail "$exit_usage" 'a run is resumed where its directory is: --run-dir DIR'
readonly run_config="$run_directory/config.yaml"
[[ -r $run_config ]] || fail "$exit_missing_input" "there is no run in $run_directory: no config.yaml"
workers=$(value_of --workers "${others[@]}")
workers=${workers:-$(setting workers)}
[[ $workers =~ ^[1-9][0-9]*$ ]] || workers=1
data=$(value_of --data "${others[@]}")
data=${data:-$(setting data)}
[[ -d $data ]] || fail "$exit_missing_input" "the data set is not in $data" 'Name its directory with --data.'
ensure_programs
refuse_second coordinator

# Servers and workers that outlived their coordinator would go on with the next one, beside those that are started here.
leftover=$(living)
terminate "$leftover"
wait_until 10000 nobody_lives || fail "$exit_cannot_create" 'of the earlier run there still are:' "$(living)"

timing=()
for key in heartbeat-seconds lease-seconds rendezvous-seconds; do
  timing+=("--$key" "$(value_of "--$key" "${others[@]}")")
  [[ -n ${timing[-1]} ]] || timing[-1]=$(setting "$key")
done
# Keys and the address to listen on are the run's own; that nobody proves who they are is to be said again.
peers=()
keys=$(value_of --keys "${others[@]}")
keys=${keys:-$(setting keys)}
[[ -z $keys ]] || peers+=(--keys "$keys")
[[ " ${others[*]-} " != *' --insecure-plaintext-beyond-this-host '* ]] || peers+=(--insecure-plaintext-beyond-this-host)
bind=$(value_of --bind "${others[@]}")
bind=${bind:-$(setting bind)}
start_roles coordinator 1 --config "$run_config" --run-dir "$run_directory" --resume must --data "$data" \
  --workers "$workers" "${others[@]}"
start_roles server 1 --run-dir "$run_directory" --bind "${bind:-127.0.0.1}" "${timing[@]}" "${peers[@]}"
start_roles worker "$workers" --run-dir "$run_directory" --data "$data" "${timing[@]}" "${peers[@]}"
