#!/usr/bin/env bash
#
# Usage: Scripts/boot-units.sh
#
# Starts the units in Deploy/systemd by a real systemd: a virtual machine with a fresh Debian, in which they are installed
# as descent@.target describes. There a run is started, stopped, resumed, and loses each of its processes. Prints a line
# for each thing that holds, and at the end whether the weights are those of `descent train --workers 0`. Exit status 1 if
# something does not hold, 69 where no machine can be booted: it takes root and the packages debootstrap,
# qemu-system-x86 and e2fsprogs, and where kvm does not work some minutes.
#
# DEBIAN_MIRROR   where Debian comes from; else the first mirror of this machine's apt
# DESCENT_CONSOLE where the console of the machine is written, to look at afterwards
# DESCENT_DEBIAN  a directory with a Debian that debootstrap has made, with the packages below; else one is made

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

case ${1-} in
  '') ;;
  -h | --help)
    print_help
    exit 0
    ;;
  *) fail "$exit_usage" "unknown argument $1" 'See Scripts/boot-units.sh --help.' ;;
esac
readonly packages=systemd,systemd-sysv,libnss-systemd,dbus,udev,kmod,linux-image-cloud-amd64,libzmq5,libsodium23,libpng16-16,libjpeg62-turbo
readonly boot_seconds=1200
(($(id -u) == 0)) || fail "$exit_unavailable" 'takes root'
PATH="$PATH:/usr/sbin:/sbin"
for need in qemu-system-x86_64 mke2fs; do
  command -v "$need" >/dev/null || fail "$exit_unavailable" "$need is missing (Debian: qemu-system-x86 e2fsprogs)"
done
ensure_programs

work=$(mktemp -d)
machine=''
trap 'if [[ -n $machine ]]; then kill "$machine" || true; fi; rm -rf -- "$work"' EXIT
console=${DESCENT_CONSOLE:-$work/console}
readonly work system="$work/system"

# --- The system -------------------------------------------------------------------------------------------------------

if [[ -n ${DESCENT_DEBIAN-} ]]; then
  cp --archive -- "$DESCENT_DEBIAN" "$system"
else
  command -v debootstrap >/dev/null || fail "$exit_unavailable" 'debootstrap is missing'
  # A Debian has one of these two places; grep fails for want of the other.
  mirror=${DEBIAN_MIRROR:-$(grep -rhoE '^(deb |URIs: ).*' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?' | head -n 1 || true)}
  [[ -n $mirror ]] || fail "$exit_unavailable" 'apt names no mirror of Debian: set DEBIAN_MIRROR'
  say 'Installing a Debian'
  debootstrap --variant=minbase --include="$packages" bookworm "$system" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    fail "$exit_unavailable" 'debootstrap failed:' "$(tail -n 5 -- "$work/debootstrap.log")"
fi

# As Deploy/systemd/descent@.target says.
for name in descent descent-coordinator descent-server descent-worker; do
  install -m 755 -- "$programs/$name" "$system/usr/local/bin/$name"
done
# Programs that are not from install.sh need the libraries of the toolchain too.
while read -r library; do
  install -D -m 644 -- "$library" "$system$library"
done < <(ldd "$programs"/descent* | awk '$3 ~ /swift/ { print $3 }' | sort -u)
units="$system/etc/systemd/system"
cp -- "$root/Deploy/systemd/"{descent@.target,descent-coordinator@.service,descent-server@.service} "$units"
for number in 1 2; do cp -- "$root/Deploy/systemd/descent-worker@.service" "$units/descent-worker-$number@.service"; done
"$programs/descent" data synthesize "$system/srv/cifar10" --train-examples 6000 --test-examples 1000 >/dev/null
settings=(EPOCHS=10000 BATCH_SIZE=64)
install -D -m 644 -- "$root/Deploy/systemd/descent.env" "$system/etc/descent/cifar.env"
printf 'DESCENT_%s\n' "${settings[@]}" >>"$system/etc/descent/cifar.env"

cat >"$units/stories.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/local/bin/stories
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
END
# A login prompt would hang up the terminal that the stories write to.
ln -s /dev/null "$units/serial-getty@ttyS0.service"
mkdir -p -- "$units/multi-user.target.wants"
ln -s ../stories.service "$units/multi-user.target.wants/stories.service"
cat >"$system/usr/local/bin/stories" <<'END'
#!/bin/bash
# Runs in the machine, and turns it off.
trap 'systemctl poweroff --force' EXIT
run=/var/lib/descent/cifar
parts=(descent-coordinator@cifar descent-server@cifar descent-worker-{1,2}@cifar)
holds() { echo "STORY ok  $*"; }
fail() { echo "STORY not $*"; journalctl --no-pager --lines 40 | sed 's/^/STORY     /'; exit; }
# wait_for SECONDS COMMAND...
wait_for() { local end=$((SECONDS + $1)); shift; until "$@"; do ((SECONDS < end)) || return 1; sleep 0.1; done; }
lines() { cat $run/metrics.jsonl 2>/dev/null | wc -l; }
reached() { (($(lines) >= $1)); }
value() { systemctl show --property "$1" --value "$2"; }
is_active() { [[ $(value ActiveState "$1") == active ]]; }
other_process() { is_active "$1" && [[ $(value MainPID "$1") != "$2" ]]; }

grep -oE 'DESCENT_[A-Z_]+=[0-9]+' /proc/cmdline >>/etc/descent/cifar.env
echo "STORY ok  $(systemctl --version | head -n 1)"
systemctl enable --quiet "${parts[@]}" || fail 'the units cannot be enabled'
systemctl start descent@cifar.target || fail 'the target does not start'
wait_for 240 reached 4 || fail 'no run is under way'
holds "the target starts all processes, as user $(stat --format %U "/proc/$(value MainPID descent-server@cifar)")"
descent status --run-dir $run >/dev/null || fail 'descent status does not find the run'
systemctl stop descent@cifar.target
for part in "${parts[@]}"; do
  [[ $(value Result $part) == success ]] || fail "$part ended with $(value Result $part)"
done
# systemd forgets the exit status of a unit that nothing needs.
grep -q 'interrupted at step' $run/logs/coordinator*.jsonl || fail 'the coordinator was not interrupted'
descent status --run-dir $run >/dev/null; (($? == 75)) || fail 'the run cannot be resumed'
holds 'stopping the target saves a checkpoint; every unit ends with success'
before=$(lines)
systemctl start descent@cifar.target
wait_for 240 reached $((before + 2)) || fail 'the run is not resumed'
holds 'starting it again resumes the run'
for part in "${parts[@]:1}" "${parts[0]}"; do
  process=$(value MainPID $part)
  systemctl kill --signal KILL $part
  wait_for 30 other_process $part "$process" || fail "$part is not restarted"
  before=$(lines)
  wait_for 240 reached $((before + 2)) || [[ -e $run/result.json ]] || fail "no step after $part was killed"
  [[ ! -e $run/result.json ]] || fail 'the run was over too early'
  holds "$part is killed, and restarted after ${RESTART:-$(value RestartUSec $part)}"
done
wait_for 600 test -e $run/result.json || fail 'the run does not end'
inactive() { [[ $(value ActiveState "$1") == inactive ]]; }
for part in "${parts[@]}"; do
  wait_for 30 inactive $part || fail "$part does not end with the run"
  [[ $(value Result $part) == success ]] || fail "$part ended with $(value Result $part)"
done
holds 'when the run is over all units end with success'
echo "STORY weights $(grep -oE '"weights_sha256": *"[0-9a-f]+"' $run/result.json | grep -oE '[0-9a-f]{64}')"
END
chmod 755 -- "$system/usr/local/bin/stories"

# --- The machine ------------------------------------------------------------------------------------------------------

kernel=$(find "$system/boot" -name 'vmlinuz-*' | sort -V | tail -n 1)
initrd=$(find "$system/boot" -name 'initrd.img-*' | sort -V | tail -n 1)
[[ -n $kernel && -n $initrd ]] || fail 1 'the Debian has no kernel'
cp -- "$kernel" "$initrd" "$work"
mke2fs -q -t ext4 -d "$system" "$work/disk" 2G 2>"$work/mke2fs.log" || fail 1 'mke2fs failed:' "$(cat -- "$work/mke2fs.log")"
# boot STEPS ACCELERATOR [OPTIONS OF QEMU]: the stories, of a run of so many steps. 76 where the accelerator does not work,
# which shows when it is used: qemu then stops the machine, and waits for a debugger.
boot() {
  local status=0
  length=("MAX_STEPS=$1" "EVALUATE_EVERY=$(($1 / 200))" "CHECKPOINT_EVERY=$(($1 / 200))")
  shift
  say "Booting it with $1"
  timeout "$boot_seconds" qemu-system-x86_64 -accel "$@" -smp 2 -m 1536 -nographic -no-reboot \
    -kernel "$work/${kernel##*/}" -initrd "$work/${initrd##*/}" \
    -append "root=/dev/vda rw console=ttyS0 ${length[*]/#/DESCENT_}" \
    -drive "file=$work/disk,format=raw,if=virtio,snapshot=on" -nic none </dev/null >"$console" 2>&1 &
  machine=$!
  while kill -0 "$machine" 2>/dev/null; do
    if grep -qaE 'KVM internal error|failed to initialize kvm' "$console"; then
      kill "$machine" 2>/dev/null
      wait "$machine" || true
      machine=''
      return 76
    fi
    sleep 0.5
  done
  wait "$machine" || status=$?
  machine=''
  return "$status"
}
status=76
# shellcheck disable=SC2054 # the commas are those of qemu
if [[ -w /dev/kvm ]]; then boot 250000 kvm -cpu host,-arch-capabilities && status=0 || status=$?; fi
# tcg works everywhere, and its steps take about a thousand times as long.
if ((status == 76)); then boot 4000 tcg,thread=multi -cpu max && status=0 || status=$?; fi
found=$(tr -d '\r\000' <"$console" | sed -n 's/^.*STORY //p')
printf '%s\n' "$found"
((status == 0)) || fail 1 "the machine ended with $status:" "$(tail -n 20 -- "$console")"
! grep -q '^not ' <<<"$found" || exit 1
settings+=("${length[@]}")
weights=$(env "${settings[@]/#/DESCENT_}" "$programs/descent" train --workers 0 --quiet --json \
  --data "$system/srv/cifar10" --run-dir "$work/reference" | grep -oE '"weights_sha256": *"[0-9a-f]+"' | grep -oE '[0-9a-f]{64}')
grep -qF "weights $weights" <<<"$found" || fail 1 "the weights are not those of an undisturbed run, $weights"
printf 'ok  the weights are those of an undisturbed run\n'
