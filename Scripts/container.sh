#!/usr/bin/env bash
#
# Usage: Scripts/container.sh
#
# Tries the content of the image in Deploy/container without an engine: builds it (Deploy/container/content.sh), and runs
# it as a container runtime does: in namespaces of its own, as process 1, as a user that is not root, without a right,
# and with a root that cannot be written. Prints a line for each thing that holds, and the libraries in the image. Where
# there is a hadolint, on PATH or beside DESCENT_PYTHON, it checks the Containerfile. Exit status 1 if one does not hold,
# 69 without root or iproute2.
#
# DESCENT_PROGRAMS=DIR tries the programs in DIR; those of Scripts/install.sh need the fewest libraries.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

case ${1-} in
  '') ;;
  -h | --help)
    print_help
    exit 0
    ;;
  *) fail "$exit_usage" "unknown argument $1" 'See Scripts/container.sh --help.' ;;
esac
(($(id -u) == 0)) || fail "$exit_unavailable" 'namespaces take root'
for need in ip unshare nsenter python3; do
  command -v "$need" >/dev/null || fail "$exit_unavailable" "$need is not installed"
done
ensure_programs

readonly image_user=65532
work=$(mktemp -d)
pod=''
trap '[[ -z $pod ]] || kill -KILL "$pod" 2>/dev/null; rm -rf -- "$work"' EXIT
readonly work
chmod 755 -- "$work"

# start DESCRIPTION ARGUMENT...: descent as process 1; sets `pod` to the process that waits for it and `first` to process
# 1 as it is seen from here. Volumes are /runs, /tmp and /data.
start() {
  rm -rf -- "$work/root" "$work/ready" "$work/output"
  cp --archive --link -- "$work/content" "$work/root"
  python3 - "$work" "$image_user" "$@" >"$work/pod.json" <<'PYTHON'
import json, sys
work, user, *arguments = sys.argv[1:]
mounts = [{"source": f"{work}/{name}", "target": f"/{name}"} for name in ["runs", "tmp"]]
mounts.append({"source": f"{work}/data", "target": "/data", "readonly": True})
json.dump({
    "root": f"{work}/root", "hostname": "container", "mounts": mounts, "environment": {"PATH": "/usr/local/bin"},
    "command": ["/usr/local/bin/descent", *arguments], "uid": int(user), "gid": int(user), "groups": [int(user)],
    "readonly": True, "ready": f"{work}/ready", "go": f"{work}/go", "output": f"{work}/output"}, sys.stdout)
PYTHON
  unshare --net --uts --ipc --mount --pid --fork --kill-child -- \
    python3 "$root/Scripts/pods/pod.py" "$work/pod.json" </dev/null 2>>"$work/output" &
  pod=$!
  until [[ -e $work/ready ]] || ! kill -0 "$pod" 2>/dev/null; do sleep 0.01; done
  read -r first _ <"/proc/$pod/task/$pod/children" || true
  nsenter --target "$first" --net ip link set lo up
}

# finish EXPECTED: waits for process 1, and compares its exit status.
finish() {
  local status=0
  wait "$pod" || status=$?
  pod=''
  ((status == $1)) || fail 1 "exit status $status instead of $1:" "$(tail -n 20 -- "$work/output")"
}
holds() { printf 'ok  %s\n' "$*"; }

"$root/Deploy/container/content.sh" "$programs" "$work/content"
"$programs/descent" data synthesize "$work/data" --train-examples 6000 --test-examples 1000 >/dev/null
mkdir -- "$work/runs" "$work/tmp"
chown "$image_user:$image_user" -- "$work/runs"
chmod 1777 -- "$work/tmp"
touch -- "$work/go"

found=$(find "$work/content" -type f -perm /111 ! -name '*.so*' ! -name 'ld-*' ! -path '*/usr/local/bin/descent*')
[[ -z $found ]] || fail 1 'there are programs besides those of Descent:' "$found"
found=$(find "$work/content" -perm /6000)
[[ -z $found ]] || fail 1 'there are programs that give rights:' "$found"
holds "the image has $(du -sm -- "$work/content" | cut -f 1) MB, no shell and no other program"

start doctor --run-dir /runs
finish 0
holds "descent doctor: $(grep -c '^ *ok' "$work/output" || true) checks are ok, none is an error"

start train --data /data --run-dir /runs/whole --workers 2 --epochs 4 --json
finish 0
weights=$(grep -oE '"weights_sha256": *"[0-9a-f]+"' "$work/output" | grep -oE '[0-9a-f]{64}')
undisturbed=$("$programs/descent" train --data "$work/data" --run-dir "$work/reference" --workers 0 --epochs 4 --json \
  2>/dev/null | grep -oE '"weights_sha256": *"[0-9a-f]+"' | grep -oE '[0-9a-f]{64}')
[[ $weights == "$undisturbed" ]] || fail 1 'the weights are others than outside'
holds 'descent train: the weights are those outside'

start train --data /data --run-dir /runs/stopped --workers 2 --epochs 100000
until grep -qs '"event":"first_step"' "$work"/runs/stopped/logs/*; do
  kill -0 "$pod" 2>/dev/null || fail 1 'it ended early:' "$(cat -- "$work/output")"
  sleep 0.05
done
[[ $(awk '/^Uid:/ { print $2 $3 $4 $5 }' "/proc/$first/status") == "$image_user$image_user$image_user$image_user" ]] ||
  fail 1 'the user is another one'
[[ $(awk '/^Cap(Inh|Prm|Eff|Bnd|Amb):/ { sum = sum $2 } END { print sum }' "/proc/$first/status") =~ ^0+$ ]] ||
  fail 1 'it has rights'
[[ $(awk '/^NoNewPrivs:/ { print $2 }' "/proc/$first/status") == 1 ]] || fail 1 'it can gain rights'
holds 'its user is not root and has no rights'

# What `exec` and probes leave behind: a process whose parent ends becomes a child of process 1, which must take it in.
nsenter --target "$first" --pid --mount -- sh -c '(sleep 0.2 &) ; exit 0'
sleep 1
zombies=$(cat "/proc/$first/root/proc/"[0-9]*/stat 2>/dev/null | awk '$3 == "Z" || $2 ~ /sleep/' | wc -l)
((zombies == 0)) || fail 1 "$zombies processes that have ended are still there: process 1 does not take them in"
holds 'processes that others leave behind are taken in'

kill -TERM "$first"
finish 75
status=0
"$programs/descent" status --run-dir "$work/runs/stopped" >/dev/null 2>&1 || status=$?
((status == 75)) || fail 1 "after SIGTERM the status of the run is $status instead of 75"
"$programs/descent" verify "$work/runs/stopped" >/dev/null
holds 'SIGTERM to process 1 saves a checkpoint, and the status is 75'
[[ -z $(find "$work/tmp" -mindepth 1 -print -quit) ]] || fail 1 'sockets are left in /tmp' "$(find "$work/tmp" -mindepth 1)"
holds 'nothing is left in /tmp'

if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
  found=$(git -C "$root" ls-files --cached --ignored --exclude-from=.dockerignore)
  [[ -z $found ]] || fail 1 '.dockerignore leaves tracked files out, so the commit would be "-dirty":' "$found"
  holds 'the build of the image sees every tracked file'
else
  say 'Not checked: what .dockerignore leaves out, as the sources are no git work tree.'
fi

hadolint=$(command -v hadolint || printf '%s/hadolint' "$(dirname -- "${DESCENT_PYTHON:-/}")")
if [[ -x $hadolint ]]; then
  "$hadolint" "$root/Deploy/container/Containerfile" >&2 || fail 1 'hadolint complains'
  holds 'hadolint has no remarks on the Containerfile'
else
  say 'Not checked: the Containerfile, as there is no hadolint.'
fi
printf '\n| library | package | version | licences that its package names |\n|---|---|---|---|\n'
sed 's/\t/ | /g; s/^/| /; s/$/ |/' "$work/content/usr/share/doc/descent/libraries.txt"
