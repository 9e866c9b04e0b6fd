#!/usr/bin/env bash
#
# Usage: Scripts/verify-kubernetes.sh
#
# Checks the manifests in Deploy/kubernetes, without a cluster: renders the base and each overlay with `kubectl kustomize`,
# validates them against the schemas of the oldest and the newest Kubernetes that they are said to work with, and then
# what no schema sees (Scripts/pods/check.py): selectors, ports, names, flags and settings that the programs know,
# exit statuses, users, grace periods. Each of these checks is tried on a manifest that is wrong. Prints what it found
# good, and what it could not check. Exit status 1 if something is wrong, 69 without kubectl or Python's yaml.
#
# The validator is kubernetes-validate of PyPI, with schemas of its own, for the Python that DESCENT_PYTHON names (python3).

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

readonly oldest=1.31 newest=1.37 manifests="$root/Deploy/kubernetes" checks="$root/Scripts/pods"

case ${1-} in
  '') ;;
  -h | --help)
    print_help
    exit 0
    ;;
  *) fail "$exit_usage" "unknown argument $1" 'See Scripts/verify-kubernetes.sh --help.' ;;
esac
command -v kubectl >/dev/null || fail "$exit_unavailable" 'kubectl is not installed'
python=${DESCENT_PYTHON:-python3}
"$python" -c 'import yaml' 2>/dev/null ||
  fail "$exit_unavailable" "$python has no module yaml" 'Install it (Debian: python3-yaml), or name another with DESCENT_PYTHON.'

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
readonly work

with_programs=$programs
is_built || with_programs=''
[[ -n $with_programs ]] || say 'Not checked: flags and settings, as the programs are not built.'

render() {
  local directory
  for directory in "$manifests/base" "$manifests"/overlays/*/; do
    kubectl kustomize "$directory" >"$work/$(basename -- "$directory").yaml"
  done
}

# The schemas that kubernetes-validate brings know no JobSet, but the Jobs in it.
validate() {
  local file version
  if ! "$python" -c 'import kubernetes_validate' 2>/dev/null; then
    say "Not checked: the schemas, as $python has no module kubernetes_validate."
    return
  fi
  for file in "$work"/*.yaml; do
    "$python" "$checks/jobs.py" "$file" >"$work/jobs"
    for version in "$oldest" "$newest"; do
      "$python" -c 'import sys; from kubernetes_validate.__main__ import main; sys.exit(main())' \
        --quiet --no-warn --strict --kubernetes-version "$version" "$work/jobs" >&2 ||
        fail 1 "$(basename -- "$file" .yaml) does not agree with the schemas of Kubernetes $version"
    done
  done
  schemas="valid for Kubernetes $oldest and $newest"
}

# Each line: what is done to the rendered base, and a part of what the checks must then say.
readonly mistakes='s/runAsUser: 65532/runAsUser: 0/|runs as root
s/fsGroup: 65532/fsGroup: 0/|cannot read its keys
s/terminationGracePeriodSeconds: 90/terminationGracePeriodSeconds: 10/|shorter than a save
s/- 75$/- 69/|75 must be ignored
s/- 66$/- 69/|FailJob for
s/secretName: descent-server-keys/secretName: keys/|keys.sh makes no keys
s/defaultMode: 288/defaultMode: 420/|others can read
s/targetPort: descent/targetPort: http/|leads nowhere
s/"5555"/"5556"/|another port
s/- --resume/- --resum/|has no --resum
s/DESCENT_LEASE_SECONDS/DESCENT_LEASE/|DESCENT_LEASE
s#/usr/local/bin/descent-worker#/usr/local/bin/descent-work#|no program
s/claimName: descent-runs/claimName: runs/|no claim
s/parallelism: 3/parallelism: 4/|of 3 workers
s/succeededCount: 1/succeededCount: 3/|waits in vain
s/minAvailable: 2/minAvailable: 3/|minAvailable
s/WORKER_INDEX$/INDEX/|has no value
s/podReplacementPolicy: Failed/podReplacementPolicy: TerminatingOrFailed/|share a key
s/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/|can write to its image
s/enableServiceLinks: false/enableServiceLinks: true/|variables of services
s/mountPath: .runs$/mountPath: \/run/|is in no volume
s/- status$/- verify/|verify
s/component: coordinator$/component: leader/|leader'

try_mistakes() {
  local change word found=0
  while IFS='|' read -r change word; do
    [[ -n $word ]] || continue
    case $word in 'has no --'* | 'no program' | DESCENT_LEASE) [[ -n $with_programs ]] || continue ;; esac
    sed "$change" "$work/base.yaml" >"$work/mistake.yml"
    ! cmp --silent "$work/base.yaml" "$work/mistake.yml" || fail 1 "$change changes nothing in the base"
    ! "$python" "$checks/check.py" "$with_programs" "$work/mistake.yml" >"$work/found" ||
      fail 1 "$change is not noticed"
    grep -qF -- "$word" "$work/found" || fail 1 "$change is noticed otherwise than as $word:" "$(cat -- "$work/found")"
    found=$((found + 1))
  done <<<"$mistakes"
  noticed=$found
}

render
schemas='' noticed=0
validate
problems=$("$python" "$checks/check.py" "$with_programs" "$work"/*.yaml) || fail 1 'the manifests are wrong:' "$problems"
keys=$([[ -z $with_programs ]] || DESCENT_PROGRAMS=$with_programs "$manifests/keys.sh" 2)
[[ -z $keys || $(grep -c '^kind: Secret' <<<"$keys") == 3 ]] || fail 1 'keys.sh must print three Secrets:' "$keys"
try_mistakes
names=("$work"/*.yaml)
names=("${names[@]##*/}")
printf 'Good: %s%s; %d mistakes noticed.\n' "${names[*]%.yaml}" "${schemas:+, $schemas}" "$noticed"
