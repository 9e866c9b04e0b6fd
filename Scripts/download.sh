# shellcheck shell=bash
#
# Downloads an archive, continues after an interruption, and verifies its checksum. Source it after `set -euo pipefail`;
# it sources common.sh.

# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

sha256_of() { sha256sum -- "$1" | cut -d ' ' -f 1; }

# prepare_download DIR HINT...: creates the directory in which a download is prepared, and waits until no other process
# uses it.
prepare_download() {
  local directory=$1 lock cause status=0
  cause=$({ mkdir -p -- "$directory" && : >>"$directory/lock"; } 2>&1) ||
    fail "$exit_cannot_create" "cannot write to $directory: ${cause##*: }" "${@:2}"
  exec {lock}>>"$directory/lock"
  flock --nonblock "$lock" 2>/dev/null || status=$?
  if ((status == 1)); then
    say "Another process downloads into $directory; waiting for it."
    flock "$lock"
  elif ((status != 0)); then
    say "$directory has no file locks: start no other download into it meanwhile."
  fi
}

# download ADDRESS FILE: continues a partial download. Returns the exit status of the tool.
download() {
  # A bar that redraws itself is for a terminal.
  local progress=(--progress-bar)
  [[ -t 2 ]] || progress=(--silent)
  if command -v curl >/dev/null; then
    curl --fail --location --show-error --retry 3 --connect-timeout 20 --speed-limit 1 --speed-time 60 \
      "${progress[@]}" --continue-at - --output "$2" -- "$1"
  elif command -v wget >/dev/null; then
    wget --no-verbose --continue --tries 3 --timeout 60 --output-document "$2" -- "$1"
  else
    fail "$exit_unavailable" 'curl or wget is required, but neither is installed'
  fi
}

# Whether a status of curl or wget means that the server cannot continue a partial download.
cannot_continue() {
  if command -v curl >/dev/null; then
    [[ $1 == 22 || $1 == 33 || $1 == 36 ]]
  else
    [[ $1 == 8 ]]
  fi
}

# download_verified ADDRESS FILE SHA256 HINT...: downloads a file that must have the checksum. The hints are for a
# download that fails.
download_verified() {
  local address=$1 file=$2 wanted=$3 status=0 found
  shift 3
  if [[ -f $file && $(sha256_of "$file") == "$wanted" ]]; then
    return
  fi
  download "$address" "$file" || status=$?
  if [[ -s $file ]] && cannot_continue "$status"; then
    say "${0##*/}: cannot continue the earlier download; starting again"
    rm -f -- "$file"
    status=0
    download "$address" "$file" || status=$?
  fi
  if ((status != 0)); then
    fail "$exit_unavailable" "cannot download $address" \
      'Check the network and run this again: it continues the partial download.' "$@"
  fi
  found=$(sha256_of "$file")
  if [[ $found != "$wanted" ]]; then
    rm -f -- "$file"
    fail "$exit_bad_data" "the archive from $address has the wrong checksum and was removed" \
      "  found    sha256 $found" "  expected sha256 $wanted"
  fi
}
