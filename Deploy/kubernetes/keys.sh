#!/usr/bin/env bash
#
# Usage: Deploy/kubernetes/keys.sh [WORKERS] | kubectl apply --filename -
#
# Makes the keys of a run of that many workers (3) with `descent keygen`, and prints them as the Secrets that the
# manifests mount: of coordinator and observer, of the server, and of the workers. The keys exist nowhere else. Without
# the last part of the command line it prints secret keys.
#
# DESCENT_PROGRAMS names the directory of descent if it is not on PATH. Exit statuses are those of descent.

set -euo pipefail

case ${1-} in
  -h | --help)
    sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
workers=${1:-3}
if [[ ! $workers =~ ^[1-9][0-9]{0,3}$ ]]; then
  printf '%s: WORKERS is a number from 1 to 1024, not %q\n' "${0##*/}" "$workers" >&2
  exit 64
fi
descent=${DESCENT_PROGRAMS:+$DESCENT_PROGRAMS/}descent
if ! command -v "$descent" >/dev/null; then
  printf '%s: there is no %s. Install it with Scripts/install.sh, or name its directory with DESCENT_PROGRAMS.\n' \
    "${0##*/}" "$descent" >&2
  exit 66
fi

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
names=coordinator,server,observer
for ((i = 0; i < workers; i++)); do names+=,worker-$i; done
"$descent" keygen --output "$work/keys" --names "$names" >/dev/null

# secret ROLE FILE...
secret() {
  local file
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: descent-%s-keys\n' "$1"
  printf '  labels: {app.kubernetes.io/name: descent}\ntype: Opaque\ndata:\n'
  for file in "${@:2}" "$work/keys/allow-list"; do
    printf '  %s: %s\n' "${file##*/}" "$(base64 --wrap 0 <"$file")"
  done
}

secret coordinator "$work/keys/"{coordinator,observer}.key
secret server "$work/keys/server.key"
secret worker "$work/keys/"worker-*.key
