# shellcheck shell=bash
#
# What the other scripts share: messages, prerequisites, and the release build. To be sourced after `set -euo pipefail`.
#
# A name that one script makes readonly is local in none: a function here would fail in the script that calls it.
# Scripts/test.sh checks it.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly root
# DESCENT_PROGRAMS names a directory with the programs, such as /usr/local/bin; then nothing is built. To the programs
# themselves it would be a misspelt setting.
readonly named_programs=${DESCENT_PROGRAMS-}
unset DESCENT_PROGRAMS
readonly programs=${named_programs:-$root/.build/release}
readonly executables=(descent descent-coordinator descent-server descent-worker descent-benchmark)

# Exit statuses, those of the programs.
# shellcheck disable=SC2034 # used by the scripts that source this
readonly exit_usage=64 exit_bad_data=65 exit_missing_input=66 exit_unavailable=69 exit_cannot_create=73

# Everything a script says goes to standard error: standard output is for results.
say() { printf '%s\n' "$@" >&2; }

# fail STATUS LINE...
fail() {
  local status=$1
  shift
  say "${0##*/}: $1" "${@:2}"
  exit "$status"
}

# add_evidence SECTION DONE TIMES EXPECTED OBSERVED: a row for the table of faults.sh, where DESCENT_EVIDENCE names the
# file that collects them. The texts have no quotes.
add_evidence() {
  [[ -n ${DESCENT_EVIDENCE-} ]] || return 0
  printf '{"section":"%s","done":"%s","times":%d,"expected":"%s","observed":"%s","recovery":[],"test":"Scripts/%s"}\n' \
    "$@" "${0##*/}" >>"$DESCENT_EVIDENCE"
}

# What tests and programs print may hold any bytes: NUL, or text in no encoding. grep would call it binary and show nothing.
grep_log() { LC_ALL=C grep --text "$@"; }

# The comment at the head of the script that runs, as its help: from the third line to the first that is no comment.
print_help() { sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"; }

# --- Prerequisites ----------------------------------------------------------------------------------------------------

# What building needs, each with the Debian package that brings it: a command, or a path that must match.
readonly build_needs=(
  'git git'
  'curl curl'
  'ld binutils'
  '/etc/ssl/certs/ca-certificates.crt ca-certificates'
  '/usr/lib/gcc/*/*/libstdc++.so g++'
  '/usr/include/zmq.h libzmq3-dev'
  '/usr/include/sodium.h libsodium-dev'
  '/usr/include/nettle/sha2.h nettle-dev'
  '/usr/include/png.h libpng-dev'
  '/usr/include/turbojpeg.h libturbojpeg0-dev'
)
# What the checks need besides.
# shellcheck disable=SC2034 # used by test.sh
readonly check_needs=(
  'shellcheck shellcheck'
  'strace strace'
  'valgrind valgrind'
  'python3 python3'
  '/usr/lib/python3/dist-packages/numpy python3-numpy'
  '/*bin/ip iproute2'
  '/usr/sbin/nft nftables'
)
# The libraries that the Swift toolchain itself needs, installed only when it does not start.
readonly toolchain_needs=(
  '/usr/lib/*/libcurl.so.4 libcurl4'
  '/usr/lib/*/libncurses.so.6 libncurses6'
  '/usr/lib/*/libsqlite3.so.0 libsqlite3-0'
  '/usr/lib/*/libxml2.so.2 libxml2'
)

is_there() {
  case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# require_packages NEED...: installs the packages of the unmet needs. Where it may not install, it says what to run.
require_packages() {
  local need missing=() as_root=() apt_output
  for need in "$@"; do
    is_there "${need% *}" || missing+=("${need##* }")
  done
  ((${#missing[@]} > 0)) || return 0
  command -v apt-get >/dev/null ||
    fail "$exit_unavailable" "missing packages (Debian names): ${missing[*]}" \
      'Install them with the package manager of this system, then run this again.'
  if (($(id -u) != 0)); then
    sudo -n true 2>/dev/null ||
      fail "$exit_unavailable" 'some packages are missing. Install them, then run this again:' \
        "  sudo apt-get update && sudo apt-get install --yes --no-install-recommends ${missing[*]}"
    as_root=(sudo -n)
  fi
  say "Installing ${missing[*]}"
  if ! apt_output=$({ "${as_root[@]}" apt-get --quiet update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get --quiet --yes install --no-install-recommends "${missing[@]}"; } </dev/null 2>&1); then
    fail "$exit_unavailable" "apt-get cannot install ${missing[*]}:" "$apt_output"
  fi
}

require_swift() {
  local version trouble advice='Get one at https://www.swift.org/install/linux/ and put its usr/bin on PATH.'
  command -v swift >/dev/null ||
    fail "$exit_unavailable" 'there is no Swift toolchain on PATH; version 6.2 or later is needed' "$advice"
  swift build --version >/dev/null 2>&1 || require_packages "${toolchain_needs[@]}"
  trouble=$(swift build --version 2>&1) || fail "$exit_unavailable" "swift does not start: $trouble"
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
  if [[ $(printf '%s\n' 6.2 "$version" | sort -V | head -n 1) != 6.2 ]]; then
    fail "$exit_unavailable" "Swift must be version 6.2 or later, but is ${version:-of an unknown version}" "$advice"
  fi
}

# The compiler of C that belongs to the one of Swift.
c_compiler() {
  local compiler
  compiler="$(dirname -- "$(readlink -f -- "$(command -v swift)")")/clang"
  if [[ -x $compiler ]]; then printf '%s\n' "$compiler"; else command -v clang; fi
}

# --- Build ------------------------------------------------------------------------------------------------------------

# Touched when a build begins that succeeds, so that what was edited meanwhile is newer.
readonly build_stamp="$root/.build/release-build.stamp"

is_built() {
  local name
  if [[ -n $named_programs ]]; then
    [[ -x $programs/descent ]] || fail "$exit_missing_input" "there is no descent in $programs (DESCENT_PROGRAMS)"
    return
  fi
  for name in "${executables[@]}"; do
    [[ -x $programs/$name ]] || return 1
  done
  [[ -e $build_stamp ]] || return 1
  # Directories as well: they are newer when a file was added, renamed or removed.
  [[ -z $(find "$root/Package.swift" "$root/Sources" "$root/Tests/CountGates/CountedCases" -newer "$build_stamp" -print -quit) ]]
}

# build_release [FLAG...]: everything in release mode. Shows progress in a terminal; elsewhere nothing but an error.
# shellcheck disable=SC2120 # test.sh gives flags
build_release() {
  local began=$SECONDS status=0
  mkdir -p -- "$root/.build"
  touch -- "$build_stamp.new"
  if [[ -t 2 ]]; then
    swift build --package-path "$root" --configuration release "$@" >&2 || status=$?
  else
    local build_log="$root/.build/release-build.log"
    swift build --package-path "$root" --configuration release "$@" >"$build_log" 2>&1 || status=$?
    ((status == 0)) || cat -- "$build_log" >&2
  fi
  if ((status != 0)); then
    rm -f -- "$build_stamp.new"
    say "The build failed after $((SECONDS - began)) s."
    return "$status"
  fi
  mv -f -- "$build_stamp.new" "$build_stamp"
  say "Built in $((SECONDS - began)) s."
}

# The programs, built if they are not or if a source is newer.
ensure_programs() {
  is_built && return
  require_packages "${build_needs[@]}"
  require_swift
  say 'Building the programs in release mode; the first time takes some minutes'
  # shellcheck disable=SC2119 # no flags here
  build_release || exit 1
}
