#!/usr/bin/env bash
#
# Usage: Scripts/fetch-swift.sh
#
# Installs the Swift toolchain with which this project is tested, the official release 6.3.1 for this distribution and
# architecture, into a directory of its own: about 1 GB is downloaded, and 4 GB of disk are needed. Nothing else of the
# system changes. The other scripts do this themselves where `swift` is missing or older than 6.2. Prints the directory
# to put on PATH. After an interruption, run it again to continue.
#
# The archive must have the SHA-256 checksum that is listed in this script. Its signature is verified as well where gpg
# is installed and the signature can be downloaded.
#
# Environment:
#   DESCENT_SWIFT_DIR       where toolchains are installed (default: descent in XDG_DATA_HOME or in ~/.local/share)
#   DESCENT_SWIFT_MIRROR    a mirror of https://download.swift.org, also http://127.0.0.1:PORT or file:///...; it has the
#                           key in keys/release-key-swift-6.x.asc
#   DESCENT_SWIFT_PLATFORM  the toolchain of another distribution, such as ubuntu24.04
#   DESCENT_SWIFT_SHA256    the checksum of another archive
#
# Exit status: 0 installed, 65 wrong checksum, wrong signature or damaged archive, 69 cannot download or no toolchain for
# this system, 73 cannot write, 74 write error.
#
# Example:
#   export PATH="$(Scripts/fetch-swift.sh):$PATH"

set -euo pipefail
# shellcheck source=Scripts/download.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/download.sh"

readonly release=6.3.1
# swift.org publishes signatures, but no checksums. These are the ones that Bazel's rules_swift lists, which also
# downloads the archives from swift.org (swift/internal/extensions/swift_release_metadata.json, commit d7fa5cea).
readonly archive_checksums='
1dfa4a000d7cd5565cae340be8feeb342f5c3caa735a0dec67391c2d2e1370c9  amazonlinux2
c6847f4eb89cb6f4faae1695f7b63b276b26aae5fd57dc22ebf968b48c797857  amazonlinux2-aarch64
aff7ae1a3d84418d481b8a3146d4f7ab356206945f8f5dce6d7aa5fc53ce2baf  amazonlinux2023
d81ca190b89b9263b6d770b0d3c33207f1275a6a6df81899ed7178f665502df9  amazonlinux2023-aarch64
5b234de265eefebbd9880c5bb100448dd0de7edd0e77b39cf7e695fc9c0660c8  debian12
41daa682341df209ca7dfe8cc137c6bd1f4bcde47f9ff6d5c66fd83acf6b5dcd  debian12-aarch64
1ffd09f11c21be86f6b6aec9cecc830443c50ea189c8cc176de7a8727a40ecfa  fedora39
9e7ea022b55c6d7fc8dcf2c484928365bec67d38caa763866f0146546b694c14  fedora39-aarch64
5069eb6e60a9ca317fc82cb16541726b45f4855e3e3545d216d23aac3b4e4ade  fedora41
3cb6276f4845c2117397ced3019ca29e3d1b565e7735f7ae3a0c18da38fe2ee6  fedora41-aarch64
8914741adb96e9c8b0191670e45b407e7b9e074601c92ebcee8cf45813ef8d54  ubi9
a90664eb4b51d45eb43da738a0af7fd88264d3fc11c33944ec5436b2f6d69440  ubi9-aarch64
5cbade3ba55fda182f877ac04d83de405f1c79d19649d21cabdf9178bd64c69b  ubuntu22.04
a48460921cffb91d7d5a45eaea10a5bee430bf1acff7eab498b9654c594097e0  ubuntu22.04-aarch64
c7928abfda6b916d812d231a5c724a6a6bdf25878298f6bdece451f585ab9a5f  ubuntu24.04
fd34dc151e360c3f474dde9ace9b79f7ebfd33882e5b7f5503892519603d7d34  ubuntu24.04-aarch64'
# The Swift 6.x Release Signing Key, as on https://swift.org/keys/active. It has signed this release and has expired
# since, which gpg accepts for a signature made before.
readonly signing_key=52BB7E3DE28A71BE22EC05FFEF80A866B47A981F
readonly own_toolchain='Or install Swift 6.2 or later yourself (https://www.swift.org/install/linux/) and put its usr/bin on PATH.'

# The platform of the official toolchain that runs on this distribution.
distribution() {
  local ID='' VERSION_ID='' PRETTY_NAME='this system' UBUNTU_CODENAME=''
  if [[ -n ${DESCENT_SWIFT_PLATFORM-} ]]; then
    printf '%s' "$DESCENT_SWIFT_PLATFORM"
    return
  fi
  # shellcheck source=/dev/null
  [[ ! -r /etc/os-release ]] || . /etc/os-release
  # Distributions made from Ubuntu name its release too.
  case ${UBUNTU_CODENAME:-$ID $VERSION_ID} in
    jammy) printf ubuntu22.04 ;;
    noble) printf ubuntu24.04 ;;
    'debian 12' | 'debian 13') printf debian12 ;;
    'fedora 39' | 'fedora 40') printf fedora39 ;;
    'fedora 4'*) printf fedora41 ;;
    'amzn 2') printf amazonlinux2 ;;
    'amzn 2023') printf amazonlinux2023 ;;
    'rhel 9'* | 'rocky 9'* | 'almalinux 9'* | 'centos 9'*) printf ubi9 ;;
    *)
      fail "$exit_unavailable" "there is no official Swift toolchain for $PRETTY_NAME" \
        'DESCENT_SWIFT_PLATFORM=ubuntu24.04 takes the one of another distribution.' "$own_toolchain"
      ;;
  esac
}

# download_beside ADDRESS FILE: a small file, without the progress of the large one.
download_beside() {
  command -v curl >/dev/null || return 1
  curl --fail --location --silent --retry 2 --connect-timeout 20 --max-time 60 --output "$2" -- "$1"
}

# Sets `verified` to what is known of the archive. A wrong signature is an error.
verify_signature() {
  verified='SHA-256'
  if ! command -v gpg >/dev/null; then
    verified+=', not the signature: gpg is not installed'
    return
  fi
  local home="$work/gnupg" answer
  if ! download_beside "$archive_address.sig" "$archive.sig" || ! download_beside "$key_address" "$work/key.asc"; then
    verified+=', not the signature: it cannot be downloaded'
    return
  fi
  mkdir -m 700 -- "$home" 2>/dev/null || true
  gpg --homedir "$home" --batch --quiet --import "$work/key.asc" 2>/dev/null || true
  answer=$(gpg --homedir "$home" --batch --status-fd 1 --verify "$archive.sig" "$archive" 2>/dev/null) || true
  grep -qE "^\[GNUPG:\] VALIDSIG ([0-9A-F]+ .*)?$signing_key\b" <<<"$answer" ||
    fail "$exit_bad_data" "$archive_address is not signed by the key $signing_key of swift.org" \
      "gpg answers: $(sed -n 's/^\[GNUPG:\] //p' <<<"$answer" | paste -s -d ';')"
  verified+=' and the signature of swift.org'
}

unpack() {
  rm -rf -- "$unpacked"
  mkdir -- "$unpacked"
  say "Unpacking Swift $release"
  tar -xzf "$archive" -C "$unpacked" --strip-components=1 --no-same-owner ||
    fail "$exit_input_output" "cannot unpack $archive. Is the disk full? The toolchain takes 3.5 GB."
  [[ -x $unpacked/usr/bin/swift ]] || fail "$exit_bad_data" "$archive must contain usr/bin/swift"
  mv -T -- "$unpacked" "$destination"
}

case ${1-} in
  '') ;;
  -h | --help)
    print_help
    exit 0
    ;;
  *) fail "$exit_usage" "unknown argument $1" 'See Scripts/fetch-swift.sh --help.' ;;
esac

system=$(distribution)
case $(uname -m) in
  x86_64) ;;
  aarch64) system+=-aarch64 ;;
  *) fail "$exit_unavailable" "there is no official Swift toolchain for $(uname -m)" ;;
esac
checksum=${DESCENT_SWIFT_SHA256:-$(awk -v name="$system" '$2 == name { print $1 }' <<<"$archive_checksums")}
[[ -n $checksum ]] || fail "$exit_unavailable" "there is no official Swift $release for $system" "$own_toolchain"
directory=${DESCENT_SWIFT_DIR:-${XDG_DATA_HOME:-${HOME:-/root}/.local/share}/descent}
name=swift-$release-RELEASE-$system
readonly destination="$directory/$name" release_path=swift-$release-release/${system//./}/swift-$release-RELEASE
readonly work="$destination.download"
readonly archive="$work/$name.tar.gz" unpacked="$work/unpacked"
mirror=${DESCENT_SWIFT_MIRROR-}
readonly archive_address="${mirror:-https://download.swift.org}/$release_path/$name.tar.gz"
readonly key_address="${mirror:-https://www.swift.org}/keys/release-key-swift-6.x.asc"

if [[ ! -x $destination/usr/bin/swift ]]; then
  prepare_download "$work" 'DESCENT_SWIFT_DIR names another directory for the toolchain.'
fi
# Another process may have installed it meanwhile.
if [[ ! -x $destination/usr/bin/swift ]]; then
  say "Downloading Swift $release for $system into $directory: about 1 GB, 4 GB unpacked"
  download_verified "$archive_address" "$archive" "$checksum" \
    'DESCENT_SWIFT_MIRROR=URL names a mirror.' "$own_toolchain"
  verify_signature
  unpack
  rm -rf -- "$work"
  say "Swift $release is in $destination. Verified: $verified."
fi
printf '%s\n' "$destination/usr/bin"
