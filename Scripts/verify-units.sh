#!/usr/bin/env bash
#
# Usage: Scripts/verify-units.sh
#
# Checks the units in Deploy/systemd with `systemd-analyze verify`. It requires every program and file of a unit to
# exist, so it is run on copies in which /usr/local/bin and /etc/descent are replaced by a directory of empty stand-ins.

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

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
cp -- "$root"/Deploy/systemd/* "$stand_in"
sed -i -e "s#/usr/local/bin#$stand_in#g" -e "s#/etc/descent#$stand_in#g" "$stand_in"/*.service
# A template is checked through one of its instances.
ln -s -- "$stand_in/descent-worker@.service" "$stand_in/descent-worker@1.service"

systemd-analyze verify --man=no --recursive-errors=no \
  "$stand_in"/descent.target "$stand_in"/descent-{coordinator,server,worker@1}.service
