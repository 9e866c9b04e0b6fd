#!/usr/bin/env bash
#
# Usage: Scripts/arm.sh
#
# Compares what the kernels compute on a 64-bit Arm processor, which qemu emulates, with what they compute on this one: the
# checksum of the results of every kernel, on the models, losses, activations and optimizers of Tests/Sanitizers/kernels.c.
# Prints both checksums. Exit status 1 if they differ. Takes about a minute; installs a cross compiler's libraries and
# qemu if they are missing (Debian and Ubuntu).

set -euo pipefail
# shellcheck source=Scripts/common.sh
. "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"

readonly triple=aarch64-linux-gnu
readonly arm_needs=(
  'qemu-aarch64 qemu-user'
  "/usr/lib/gcc-cross/$triple/*/libgcc.a gcc-$triple"
  "/usr/$triple/include/math.h libc6-dev-arm64-cross"
)

# built PROGRAM [FLAG...]: compiles the kernels and their calls with the flags of Package.swift.
built() {
  local program=$1
  shift
  "$(c_compiler)" "$@" -fuse-ld=lld -std=gnu11 -O2 -ffp-contract=off -fno-math-errno \
    -I "$root/Sources/CKernels/include" -o "$program" "$root"/Sources/CKernels/*.c "$root/Tests/Sanitizers/kernels.c" -lm
}

# results COMMAND...: runs it and prints the checksum that it prints.
results() {
  local output
  output=$("$@") || fail 1 "$output"
  sed -n 's/^results //p' <<<"$output"
}

case ${1-} in
  '') ;;
  -h | --help)
    print_help
    exit
    ;;
  *) fail "$exit_usage" "unexpected argument: $1" ;;
esac

require_swift
require_packages "${arm_needs[@]}"
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
libraries=$(compgen -G "/usr/lib/gcc-cross/$triple/*/libgcc.a" | sort -V | tail -n 1)
built "$scratch/here"
built "$scratch/arm" --target="$triple" --gcc-install-dir="${libraries%/*}" --sysroot="/usr/$triple" \
  -isystem "/usr/$triple/include" -L "/usr/$triple/lib" -static
here=$(results "$scratch/here")
arm=$(results qemu-aarch64 "$scratch/arm")
printf '%s %s\n' "$(uname -m)" "$here" aarch64 "$arm"
[[ -n $here && $here == "$arm" ]] || fail 1 'the kernels compute something else on Arm'
