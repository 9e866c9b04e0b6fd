#!/usr/bin/env bash
#
# Usage: Deploy/container/content.sh PROGRAMS DIR
#
# Puts all that an image of Descent holds into DIR, which must not exist: the programs of the directory PROGRAMS, stripped
# where there is a `strip`, the libraries that they need, a user, and what is known of the libraries: packages, versions
# and licences in /usr/share/doc/descent/libraries.txt, the texts beside it. There is no shell and no other program. The
# Containerfile calls it, and Scripts/container.sh, which needs no engine. Needs ldd, and dpkg for the packages.
#
# Example:
#   Scripts/install.sh /tmp/descent && Deploy/container/content.sh /tmp/descent/bin /tmp/content

set -euo pipefail

# fail STATUS LINE
fail() {
  printf '%s: %s\n' "${0##*/}" "$2" >&2
  exit "$1"
}

case ${1-} in
  -h | --help)
    sed -n -e '1,2d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
(($# == 2)) || fail 64 'two arguments are expected: the directory of the programs and that of the content'
from=$1 content=$2
[[ ! -e $content ]] || fail 73 "$content exists already"
source=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd -P)
readonly bin="$content/usr/local/bin" documents="$content/usr/share/doc"

# Mode 0755 whatever the umask: another user starts the programs.
umask 022
mkdir -p -- "$bin" "$documents/descent" "$content"/{etc,data,keys,runs,proc,sys,dev}
mkdir -m 1777 -- "$content/tmp"
for name in descent descent-coordinator descent-server descent-worker; do
  [[ -x $from/$name ]] || fail 66 "there is no program $from/$name"
  install -m 755 -- "$from/$name" "$bin/$name"
  ! command -v strip >/dev/null || strip -- "$bin/$name"
done

# A user that is not root, with the number that manifests name, and the order of names: files, then a server. glibc has
# both built in from 2.34 on.
printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'descent:x:65532:65532:descent:/:/sbin/nologin' >"$content/etc/passwd"
printf '%s\n' 'root:x:0:' 'descent:x:65532:' >"$content/etc/group"
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files dns' >"$content/etc/nsswitch.conf"

# The libraries of the programs by the paths at which the loader finds them, and the loader.
libraries() { ldd "$bin"/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/.*ld-/ { print $1 }' | sort -u; }

# The package of a library: dpkg knows files by the path before or after /lib became a link to /usr/lib.
package_of() {
  local path=$1 real
  real=$(readlink -f -- "$path")
  for path in "$real" "${real#/usr}" "/usr$real"; do
    dpkg-query --search "$path" 2>/dev/null | sed -n '1s/: .*//p' | grep . && return
  done
  return 1
}

# The licences that a copyright file names: in the machine-readable form by field, else by the words that they have.
licences_of() {
  local named
  named=$(sed -nE 's/^License: *([^ ].*)/\1/p' "$1" | sort -u | paste -s -d ',' | sed 's/,/, /g')
  if [[ -z $named ]]; then
    named=$(tr -s '[:space:]' ' ' <"$1" | grep -oEi 'GNU (Lesser |Library )?General Public License|zlib|BSD|MIT' |
      sort -uf | paste -s -d ',' | sed 's/,/, /g')
  fi
  printf '%s' "${named:-see its text}"
}

missing=$(ldd "$bin"/* | awk '/not found/ { print $1 }' | sort -u | paste -s -d ' ')
[[ -z $missing ]] || fail 69 "libraries are missing: $missing"
while read -r library; do
  install -D -m "$([[ $library == */ld-* ]] && echo 755 || echo 644)" -- "$library" "$content$library"
  if package=$(package_of "$library"); then
    copyright=/usr/share/doc/${package%%:*}/copyright
    install -D -m 644 -- "$copyright" "$documents/${package%%:*}/copyright"
    # shellcheck disable=SC2016 # a format of dpkg
    printf '%s\t%s\t%s\t%s\n' "${library##*/}" "${package%%:*}" \
      "$(dpkg-query --show --showformat '${Version}' "$package")" "$(licences_of "$copyright")"
  else
    printf '%s\t%s\t%s\t%s\n' "${library##*/}" '-' '-' "$([[ $library == */swift/* ]] &&
      echo 'Apache-2.0 with Runtime Library Exception (swift.org)' || echo unknown)"
  fi
done < <(libraries) >"$documents/descent/libraries.txt"
! grep -q 'unknown$' "$documents/descent/libraries.txt" ||
  fail 1 "libraries of no package: $(sed -nE 's/\t.*unknown$//p' "$documents/descent/libraries.txt" | paste -s -d ' ')"
if [[ -e $source/LICENSE ]]; then install -m 644 -- "$source/LICENSE" "$documents/descent/copyright"; fi
