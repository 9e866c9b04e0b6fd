#!/usr/bin/env bash
#
# Usage: Scripts/verify-units.sh
#
# Checks the units in Deploy/systemd with `systemd-analyze verify`, as the instances of two runs with two workers each.
# It requires every program and file of a unit to exist, so it is run on copies in which /usr/local/bin and /etc/descent
# are replaced by a directory of empty stand-ins. Prints the units that it found good.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
esac
command -v systemd-analyze >/dev/null || fail "$exit_unavailable" 'systemd-analyze is not installed'

stand_in=$(mktemp -d)
trap 'rm -rf -- "$stand_in"' EXIT
for name in "${executables[@]}"; do
  install -m 755 /dev/null "$stand_in/$name"
done
cp -- "$root"/Deploy/systemd/*@* "$stand_in"
sed -i -e "s#/usr/local/bin#$stand_in#g" -e "s#/etc/descent#$stand_in#g" "$stand_in"/*.service
# Installed once for each worker, as descent@.target describes.
for number in 1 2; do cp -- "$stand_in/descent-worker@.service" "$stand_in/descent-worker-$number@.service"; done
rm -- "$stand_in/descent-worker@.service"

units=()
for run in first second; do
  cp -- "$root/Deploy/systemd/descent.env" "$stand_in/$run.env"
  units+=("descent@$run.target" "descent-"{coordinator,server,worker-1,worker-2}"@$run.service")
done
# An instance of a template is found through its full path.
for unit in "${units[@]}"; do
  ln -s -- "$stand_in/${unit%@*}@.${unit##*.}" "$stand_in/$unit"
done
status=0
trouble=$(systemd-analyze verify --man=no --recursive-errors=no "${units[@]/#/$stand_in/}" 2>&1) || status=$?
[[ $status == 0 && -z $trouble ]] || fail 1 'systemd-analyze reports:' "$trouble"
printf 'Good: %s\n' "${units[*]}"
