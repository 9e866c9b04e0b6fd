#!/usr/bin/env bash
#
# Downloads the binary version of CIFAR-10 from its authors' site, verifies its checksum, and unpacks it. After an
# interruption, run it again to continue.

set -euo pipefail
# shellcheck source=Scripts/download.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/download.sh"

readonly official_url='https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz'
# MD5 on the authors' page: c32a1d4ab5d03f1284b67883e8d87530. TensorFlow Datasets lists the same archive by SHA-256:
readonly official_sha256='c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd'
# The files in it, to recognize those already present. Only the archive's checksum is trusted.
readonly official_files='
cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5  data_batch_1.bin
a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed  data_batch_2.bin
bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67  data_batch_3.bin
014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48  data_batch_4.bin
755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add  data_batch_5.bin
8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b  test_batch.bin'

usage() {
  cat <<EOF
Usage: Scripts/fetch-cifar10.sh [DIR]

Fetches CIFAR-10 (binary version, 162 MB) into the directory DIR. The default is where every script and test looks for
it: DESCENT_DATA, else data/cifar10 in this repository.
Files with the right checksum are kept; files with other contents are never overwritten.
An interrupted download stays in DIR.download, and the next run continues it.

Environment:
  DESCENT_DATA             the default of DIR
  DESCENT_CIFAR10_URL      another URL of the archive (a mirror, or file:///...)
  DESCENT_CIFAR10_SHA256   the checksum of another archive (the checksums of the official files are then ignored)

Exit status: 0 done, 64 usage error, 65 wrong checksum or damaged archive, 69 cannot download,
73 cannot write to DIR, or it holds other data, 74 write error.
EOF
}

is_complete() {
  [[ -d $destination ]] || return 1
  (cd -- "$destination" && sha256sum --check --status - <<<"${official_files:1}") 2>/dev/null
}

# Fails if the destination has a data file that is not in a list of checksums in the format of sha256sum.
refuse_other_data() {
  local file expected found
  for file in "$destination"/data_batch_*.bin "$destination"/test_batch.bin; do
    [[ -e $file ]] || continue
    expected=$(awk -v name="${file##*/}" '$2 == name { print $1 }' <<<"$1")
    found=$(sha256_of "$file")
    [[ $found == "$expected" ]] && continue
    fail "$exit_cannot_create" "$file holds other data and is not overwritten" \
      "  found    sha256 $found" "  expected sha256 ${expected:-none (not in the archive)}" \
      'Name another directory, or remove the file first.'
  done
}

unpack() {
  rm -rf -- "$unpacked"
  mkdir -- "$unpacked"
  # Writing in pieces of 8 MB places the files in large pages, which speeds up training.
  tar --extract --gzip --blocking-factor 16384 --no-same-owner --strip-components 1 --directory "$unpacked" \
    --file "$archive" ||
    fail "$exit_input_output" "cannot unpack $archive. Is the disk full?"
  [[ -f $unpacked/data_batch_1.bin && -f $unpacked/test_batch.bin ]] ||
    fail "$exit_bad_data" "$archive must contain data_batch_1.bin and test_batch.bin"

  # A new directory is moved into place as a whole; in an existing one, each file is.
  rmdir -- "$destination" 2>/dev/null || true
  if [[ ! -e $destination ]]; then
    mv -T -- "$unpacked" "$destination"
    return
  fi
  refuse_other_data "$(cd -- "$unpacked" && sha256sum -- *.bin)"
  local file
  for file in "$unpacked"/*; do
    cmp --quiet -- "$file" "$destination/${file##*/}" || mv -f -- "$file" "$destination/"
  done
}

case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*)
    usage >&2
    exit "$exit_usage"
    ;;
esac
if (($# > 1)); then
  usage >&2
  exit "$exit_usage"
fi

destination=${1:-${DESCENT_DATA:-$default_data}}
destination=${destination%/}
readonly destination
readonly url=${DESCENT_CIFAR10_URL:-$official_url}
readonly expected_sha256=${DESCENT_CIFAR10_SHA256:-$official_sha256}
readonly work="$destination.download"
readonly archive="$work/cifar-10-binary.tar.gz"
readonly unpacked="$work/unpacked"

if [[ $expected_sha256 == "$official_sha256" ]]; then
  if is_complete; then
    printf 'CIFAR-10 is already in %s; its checksums are correct.\n' "$destination"
    exit 0
  fi
  refuse_other_data "$official_files"
fi
prepare_download "$work" 'Name a directory that can be written: Scripts/fetch-cifar10.sh DIR'
download_verified "$url" "$archive" "$expected_sha256" \
  'Without a network, descent data synthesize DIR makes a synthetic set to train on.'
unpack
rm -rf -- "$work"
printf 'CIFAR-10 is in %s.\n' "$destination"
