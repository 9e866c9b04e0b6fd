#!/usr/bin/env bash
#
# Usage: Scripts/install.sh [PREFIX]
#
# Installs the programs into PREFIX/bin, and the scripts that start and stop the processes of a run, the configurations
# and the systemd units into PREFIX/share/descent. PREFIX is /usr/local for root, otherwise ~/.local. Builds if
# necessary, with the Swift libraries inside the programs, so that no toolchain is needed to run them. Installs missing
# packages, or names them. Prints the line that puts PREFIX/bin on PATH, if it is not. Run it again to upgrade.
#
# DESCENT_PROGRAMS=DIR installs the programs in DIR instead of building.
#
# Examples:
#   Scripts/install.sh
#   sudo DESCENT_PROGRAMS="$HOME/.local/bin" Scripts/install.sh /usr/local     the same programs, for all users

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

readonly installed_programs=(descent descent-coordinator descent-server descent-worker)
readonly installed_scripts=(common download fetch-cifar10 roles start-coordinator start-server start-worker status stop
  resume)
# The libraries of the programs, and the packages that provide them: of libjpeg, Debian's and Ubuntu's.
readonly run_needs=(
  'libzmq.so.5 libzmq5'
  'libsodium.so.23 libsodium23'
  'libpng16.so.16 libpng16-16'
  'libz.so.1 zlib1g'
  'libjpeg.so.62 libjpeg62-turbo'
  'libjpeg.so.8 libjpeg-turbo8'
  'libstdc++.so.6 libstdc++6'
)
readonly install_build="$root/.build/install"

# Sets `from` to the directory of the programs.
find_programs() {
  from=$named_programs
  if [[ -n $from ]]; then
    is_built
    return
  fi
  require_packages "${build_needs[@]}"
  require_swift
  make_build_directory
  say 'Building with the Swift libraries inside; the first build takes a few minutes'
  local product build_log="$root/.build/install-build.log"
  : >"$build_log"
  for product in "${installed_programs[@]}"; do
    swift build --package-path "$root" --configuration release --static-swift-stdlib --scratch-path "$install_build" \
      --product "$product" >>"$build_log" 2>&1 || fail 1 'the build failed' "$(tail -n 30 -- "$build_log")"
  done
  from="$install_build/release"
}

# Installs the libraries that the installed programs do not find, or prints the command that does.
require_libraries() {
  local missing need needs=()
  missing=$(ldd "$bin/descent" 2>/dev/null | awk '/not found/ { print $1 }') || true
  for need in "${run_needs[@]}"; do
    grep -qxF -- "${need% *}" <<<"$missing" || continue
    needs+=("/missing/${need% *} ${need##* }")
  done
  require_packages "${needs[@]}"
}

case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
  -*) fail "$exit_usage" "unknown argument $1" 'See Scripts/install.sh --help.' ;;
esac
(($# <= 1)) || fail "$exit_usage" 'there is one PREFIX' 'See Scripts/install.sh --help.'
prefix=${1:-$( (($(id -u) == 0)) && printf /usr/local || printf '%s/.local' "$HOME")}
prefix=$(readlink -m -- "$prefix")
readonly bin="$prefix/bin" share="$prefix/share/descent"

# Before a build that takes minutes.
cause=$(mkdir -p -- "$bin" "$share/Scripts" 2>&1) ||
  fail "$exit_cannot_create" "cannot write to $prefix: ${cause##*: }" \
    'Choose a directory of yours, such as ~/.local, or use sudo.'
find_programs
for name in "${installed_programs[@]}"; do
  install -m 755 -- "$from/$name" "$bin/$name" || fail "$exit_cannot_create" "cannot install $bin/$name"
done
for name in "${installed_scripts[@]}"; do
  install -m 755 -- "$root/Scripts/$name.sh" "$share/Scripts/$name.sh" ||
    fail "$exit_cannot_create" "cannot install $share/Scripts/$name.sh"
done
cp -R -- "$root/Config" "$root/Deploy" "$share/"
require_libraries
trouble=$("$bin/descent" --help 2>&1 >/dev/null) || fail "$exit_unavailable" "descent does not start: $trouble"
if ldd "$bin/descent" 2>/dev/null | grep -q libswiftCore; then
  say "The programs in $from need the Swift libraries of the toolchain that built them; do not remove it."
fi

say "Installed in $bin: ${installed_programs[*]}." "Scripts, configurations and systemd units are in $share."
if [[ ":$PATH:" != *":$bin:"* ]]; then
  say 'To find the programs, type this line, and add it to ~/.profile:'
  printf 'export PATH="%s:%s"\n' "$bin" "\$PATH"
fi
