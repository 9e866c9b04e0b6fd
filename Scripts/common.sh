# shellcheck shell=bash disable=SC2317 # its functions are used by the scripts that source this
#
# Shared by the other scripts: messages, prerequisites, and the release build. Source it after `set -euo pipefail`.
#
# A name that is readonly in one script is local in none: otherwise a function here fails in the script that calls it.
# Scripts/test.sh checks this.

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
readonly root
# DESCENT_PROGRAMS names a directory with the programs; then nothing is built. Scripts that install.sh has installed,
# in PREFIX/share/descent, use those in PREFIX/bin, and the data below the current directory.
# shellcheck disable=SC2034 # default_data is used by the scripts that source this
if [[ -e $root/Package.swift ]]; then
  readonly named_programs=${DESCENT_PROGRAMS-} default_data="$root/data/cifar10"
else
  readonly named_programs=${DESCENT_PROGRAMS:-${root%/share/descent}/bin} default_data=data/cifar10
fi
readonly programs=${named_programs:-$root/.build/release}
readonly executables=(descent descent-coordinator descent-server descent-worker descent-benchmark)

# Exit statuses, those of the programs.
# shellcheck disable=SC2034 # used by the scripts that source this
readonly exit_usage=64 exit_bad_data=65 exit_missing_input=66 exit_unavailable=69 exit_cannot_create=73 exit_input_output=74

# Messages go to standard error; standard output is for results.
say() { printf '%s\n' "$@" >&2; }

# fail STATUS LINE...
fail() {
  local status=$1
  shift
  say "${0##*/}: $1" "${@:2}"
  exit "$status"
}

# add_evidence SECTION DONE TIMES EXPECTED OBSERVED: adds a row for the table of faults.sh to the file that
# DESCENT_EVIDENCE names, if it is set. The texts must not contain quotes.
add_evidence() {
  [[ -n ${DESCENT_EVIDENCE-} ]] || return 0
  printf '{"section":"%s","done":"%s","variant":"","times":%d,"expected":"%s","observed":"%s","recovery":[],"test":"Scripts/%s"}\n' \
    "$@" "${0##*/}" >>"$DESCENT_EVIDENCE"
}

# For logs: tests may print NUL and invalid UTF-8, which grep takes for a binary file, and then shows no line of it.
grep_log() { LC_ALL=C grep --text "$@"; }

# Prints the header comment of the running script: from its third line to the first line that is not a comment.
print_help() { sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"; }

# --- Prerequisites ----------------------------------------------------------------------------------------------------

# Build dependencies: a command or a path pattern, then the Debian package that provides it.
readonly build_needs=(
  'git git'
  'curl curl'
  'ld binutils'
  '/etc/ssl/certs/ca-certificates.crt ca-certificates'
  '/usr/lib/gcc/*/*/libstdc++.so g++'
  '/usr/include/zmq.h libzmq3-dev'
  '/usr/include/sodium.h libsodium-dev'
  '/usr/include/png.h libpng-dev'
  '/usr/include/zlib.h zlib1g-dev'
  '/usr/include/jpeglib.h libjpeg-dev'
)
# Additional dependencies of the checks.
# shellcheck disable=SC2034 # used by test.sh
readonly check_needs=(
  'shellcheck shellcheck'
  'strace strace'
  'valgrind valgrind'
  'mandoc mandoc'
  'zsh zsh'
  'fish fish'
  'python3 python3'
  '/usr/lib/python3/dist-packages/numpy python3-numpy'
  '/*bin/ip iproute2'
  '/usr/sbin/nft nftables'
)
# Libraries of the Swift toolchain itself, installed only if it does not start.
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

# require_packages NEED...: installs the packages of unmet dependencies, or prints the command to run if it has no right
# to.
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

# The version of the Swift on PATH, MAJOR.MINOR; empty if there is none or it does not start.
swift_version() {
  swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1
}

is_new_enough() { [[ $(printf '%s\n' 6.2 "$1" | sort -V | head -n 1) == 6.2 ]]; }

# Puts the toolchain of fetch-swift.sh on PATH if there is no Swift, or an older one than 6.2.
require_swift() {
  local version trouble toolchain
  version=$(swift_version) || true
  if ! command -v swift >/dev/null || { [[ -n $version ]] && ! is_new_enough "$version"; }; then
    say "Swift 6.2 or later is required; PATH has ${version:-none}."
    toolchain=$("$root/Scripts/fetch-swift.sh") || exit
    PATH="$toolchain:$PATH"
  fi
  swift build --version >/dev/null 2>&1 || require_packages "${toolchain_needs[@]}"
  trouble=$(swift build --version 2>&1) || fail "$exit_unavailable" "swift does not start: $trouble"
  version=$(swift_version) || true
  is_new_enough "$version" ||
    fail "$exit_unavailable" "Swift must be version 6.2 or later, but is ${version:-of an unknown version}" \
      'Remove it from PATH: without it, the scripts install their own.'
}

# The path of the C compiler of the Swift toolchain.
c_compiler() {
  local compiler
  compiler="$(dirname -- "$(readlink -f -- "$(command -v swift)")")/clang"
  if [[ -x $compiler ]]; then printf '%s\n' "$compiler"; else command -v clang; fi
}

# --- Build ------------------------------------------------------------------------------------------------------------

# Its modification time is the start of the last successful build, so a source edited during the build is newer.
readonly build_stamp="$root/.build/release-build.stamp"

is_built() {
  local name
  if [[ -n $named_programs ]]; then
    [[ -x $programs/descent ]] || fail "$exit_missing_input" "$programs/descent does not exist (DESCENT_PROGRAMS)"
    return
  fi
  for name in "${executables[@]}"; do
    [[ -x $programs/$name ]] || return 1
  done
  [[ -e $build_stamp ]] || return 1
  # Directories too: adding, renaming or removing a file makes them newer.
  [[ -z $(find "$root/Package.swift" "$root/Sources" "$root/Tests/CountGates/"{CountedCases,Pieces} -newer "$build_stamp" -print -quit) ]]
}

make_build_directory() {
  local cause
  cause=$({ mkdir -p -- "$root/.build" && : >>"$build_stamp.new"; } 2>&1) ||
    fail "$exit_cannot_create" "cannot write to $root/.build: ${cause##*: }" \
      'Build in a copy that can be written, or name a directory of built programs with DESCENT_PROGRAMS.'
}

# build_release [FLAG...]: builds everything in release mode. Shows progress on a terminal, elsewhere only errors.
# shellcheck disable=SC2120 # test.sh gives flags
build_release() {
  local began=$SECONDS status=0
  make_build_directory
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

# Builds the programs if they are missing or older than a source file.
ensure_programs() {
  is_built && return
  require_packages "${build_needs[@]}"
  require_swift
  say 'Building in release mode; the first build takes a few minutes'
  # shellcheck disable=SC2119 # no flags here
  build_release || exit 1
}

# --- Data -------------------------------------------------------------------------------------------------------------

# has_cifar10 DIR: whether the six files of CIFAR-10 are there and have the right size, 10,000 records of a label and
# 3,072 pixels.
has_cifar10() {
  local file
  for file in data_batch_{1..5} test_batch; do
    [[ -f $1/$file.bin && $(stat --format %s -- "$1/$file.bin") == 30730000 ]] || return 1
  done
}

# Exports DESCENT_DATA, as a full path, for programs and tests: as it is set, else where fetch-cifar10.sh puts the data,
# if it is there.
find_real_data() {
  if [[ -z ${DESCENT_DATA-} ]] && has_cifar10 "$default_data"; then DESCENT_DATA=$default_data; fi
  [[ -n ${DESCENT_DATA-} ]] || return 0
  DESCENT_DATA=$(readlink -m -- "$DESCENT_DATA")
  export DESCENT_DATA
}
