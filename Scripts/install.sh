#!/usr/bin/env bash
#
# Usage: Scripts/install.sh [--uninstall] [PREFIX]
#
# Installs the programs into PREFIX/bin, and the scripts that start and stop the processes of a run, the configurations
# and the systemd units into PREFIX/share/descent; man pages and the completions of bash, zsh and fish below
# PREFIX/share, where man and the shells look for them. PREFIX is /usr/local for root, otherwise ~/.local. Builds if
# necessary, with the Swift libraries inside the programs, so that no toolchain is needed to run them. Installs missing
# packages, or names them. Prints the line that puts PREFIX/bin on PATH, if it is not. Run it again to upgrade.
#
#   --uninstall   remove what was installed, as PREFIX/share/descent/installed lists it, and nothing else
#
# DESCENT_PROGRAMS=DIR installs the programs in DIR instead of building.
#
# Examples:
#   Scripts/install.sh
#   sudo DESCENT_PROGRAMS="$HOME/.local/bin" Scripts/install.sh /usr/local     the same programs, for all users
#   Scripts/install.sh --uninstall

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

# Prints the lines of FILE, those that name no file below PREFIX aside: it may have been edited, and this may be root.
listed() {
  local name
  [[ -f $1 ]] || return 0
  while read -r name; do
    [[ -z $name || /$name/ == *//* || /$name/ == */./* || /$name/ == */../* ]] || printf '%s\n' "$name"
  done <"$1"
}

# remove_files NAME...: removes these files below the prefix, and the directories that they leave empty.
remove_files() {
  local name directory cause
  for name in "$@"; do
    [[ -e $prefix/$name || -L $prefix/$name ]] || continue
    cause=$(rm -f -- "$prefix/$name" 2>&1) ||
      fail "$exit_cannot_create" "cannot remove $prefix/$name: ${cause##*: }" 'Use sudo, if root has installed it.'
    directory=$(dirname -- "$name")
    while [[ $directory != . ]] && rmdir -- "$prefix/$directory" 2>/dev/null; do
      directory=$(dirname -- "$directory")
    done
  done
}

uninstall() {
  [[ -f $manifest ]] ||
    fail "$exit_missing_input" "nothing is installed in $prefix: there is no $manifest" \
      'Name the PREFIX that it was installed with. An earlier version installed without a list: install again first.'
  local names
  mapfile -t names < <(listed "$manifest")
  remove_files "${names[@]}"
  remove_files "${manifest#"$prefix/"}"
  say "Removed ${#names[@]} files from $prefix."
}

action=install
case ${1-} in
  -h | --help)
    print_help
    exit 0
    ;;
  --uninstall)
    action=uninstall
    shift
    ;;
esac
[[ ${1-} != -* ]] || fail "$exit_usage" "unknown argument $1" 'See Scripts/install.sh --help.'
(($# <= 1)) || fail "$exit_usage" 'there is one PREFIX' 'See Scripts/install.sh --help.'
prefix=${1:-$( (($(id -u) == 0)) && printf /usr/local || printf '%s/.local' "$HOME")}
prefix=$(readlink -m -- "$prefix")
readonly bin="$prefix/bin" share="$prefix/share/descent"
readonly manifest="$share/installed"
if [[ $action == uninstall ]]; then
  uninstall
  exit 0
fi

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
help_files=$("$bin/descent" write-help "$prefix/share") ||
  fail "$exit_cannot_create" "cannot install the man pages and completions in $prefix/share"
{
  printf 'bin/%s\n' "${installed_programs[@]}"
  printf 'share/descent/Scripts/%s.sh\n' "${installed_scripts[@]}"
  (cd -- "$root" && find Config Deploy -type f -printf 'share/descent/%p\n')
  printf '%s\n' "$help_files" | sed 's|^|share/|'
} | LC_ALL=C sort >"$manifest.new" || fail "$exit_cannot_create" "cannot write $manifest"
# What an earlier version has installed and this one has not.
mapfile -t superseded < <(LC_ALL=C comm -13 "$manifest.new" <(listed "$manifest" | LC_ALL=C sort))
remove_files "${superseded[@]}"
mv -f -- "$manifest.new" "$manifest"
if ldd "$bin/descent" 2>/dev/null | grep -q libswiftCore; then
  say "The programs in $from need the Swift libraries of the toolchain that built them; do not remove it."
fi

say "Installed in $bin: ${installed_programs[*]}." "Scripts, configurations and systemd units are in $share." \
  'Man pages and completions: man descent; shells offer them when they start the next time.'
# zsh searches its own directories and those of the system.
if [[ ${SHELL-} == */zsh && $prefix != /usr/local && $prefix != /usr ]]; then
  say "zsh: put this line before compinit into ~/.zshrc: fpath=($prefix/share/zsh/site-functions \$fpath)"
fi
if [[ ":$PATH:" != *":$bin:"* ]]; then
  say 'To find the programs, type this line, and add it to ~/.profile:'
  printf 'export PATH="%s:%s"\n' "$bin" "\$PATH"
fi
