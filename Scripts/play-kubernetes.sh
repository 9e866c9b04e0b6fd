#!/usr/bin/env bash
#
# Usage: Scripts/play-kubernetes.sh [WORD]
#
# Plays the manifests in Deploy/kubernetes without a cluster: each pod in namespaces of its own, with the command,
# environment, user, files, probes and signals of its manifest, in the content of an image (Deploy/container), on a bridge
# with the network policies. Deletes, evicts and kills pods, drains and loses nodes, cuts cables; Jobs, JobSets and
# StatefulSets replace pods by their rules. Prints a table of what was done, the exit statuses, and whether the run ended
# with the weights of `descent train --workers 0`. WORD, a regular expression, chooses among the stories. Exit status 1
# if a run ended otherwise, 69 where it cannot be played: it takes root, kubectl, iproute2, nftables and Python's yaml.
#
# DESCENT_PYTHON names the Python (python3), PLAY_STEPS the steps of a run (12,000).
#
# Example:
#   Scripts/play-kubernetes.sh 'base: the coordinator'

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
  -*) fail "$exit_usage" "unknown argument $1" 'See Scripts/play-kubernetes.sh --help.' ;;
esac
python=${DESCENT_PYTHON:-python3}
(($(id -u) == 0)) || fail "$exit_unavailable" 'namespaces take root'
for need in kubectl ip nft unshare nsenter; do
  command -v "$need" >/dev/null || fail "$exit_unavailable" "$need is not installed"
done
"$python" -c 'import yaml' 2>/dev/null || fail "$exit_unavailable" "$python has no module yaml (Debian: python3-yaml)"
ensure_programs

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
readonly work
mkdir -p -- "$work/manifests" "$work/stories"
chmod 755 -- "$work"
for directory in "$root/Deploy/kubernetes/base" "$root"/Deploy/kubernetes/overlays/*/; do
  kubectl kustomize "$directory" >"$work/manifests/$(basename -- "$directory").yaml"
done
DESCENT_PROGRAMS=$programs "$root/Deploy/kubernetes/keys.sh" 3 >"$work/secrets.yaml"
"$root/Deploy/container/content.sh" "$programs" "$work/content"
"$programs/descent" data synthesize "$work/data" --train-examples 6000 --test-examples 1000 >&2

status=0
"$python" "$root/Scripts/pods/play.py" "$programs" "$work/content" "$work/data" "$work/stories" "$work/secrets.yaml" \
  "$work/manifests" "${1-}" || status=$?
if ((status != 0)); then
  trap - EXIT
  say "What is left of the stories that failed is in $work/stories."
fi
exit "$status"
