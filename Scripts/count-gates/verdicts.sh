# shellcheck shell=bash disable=SC2154
#
# The verdicts of Scripts/count-gates.sh: which of several attempts is used, by how much a count may differ, and which
# counts are worse, better, new, gone or skipped. That script sources this one and defines the files `recorded`,
# `counts`, `notes` and `skips` and the directory `work`.

# tolerance NAME: the allowed deviation above and below the record in per cent, and the absolute deviation always
# allowed.
tolerance() {
  case $1 in
    # They depend on the compiler and, a little, on the C library.
    instructions/*) printf '2 2 0' ;;
    # Half of them are made by ZeroMQ, some once per many messages.
    allocations/one-ipc/* | allocations/one-tcp/*) printf '4 50 0' ;;
    # A gradient and a copy of the weights for each step, and once a run a repetition.
    bytes/*/to-server-from-* | bytes/*/to-worker-from-*) printf '0.5 0.5 0' ;;
    # The coordinator takes no part in a step.
    calls/*/coordinator/*) printf '0 0 0.5' ;;
    # A server that sleeps before every message does the same at every wait. Others sometimes find a message that
    # arrived just before, and skip the second poll. The record is the maximum.
    calls/memory-asleep/server/looking) printf '2 50 0' ;;
    calls/*/*/looking) printf '15 75 1' ;;
    # Whether a peer must be woken depends on timing. The record is the maximum.
    calls/*/*/waking) printf '25 100 1.5' ;;
    # A spurious wake-up adds a wait.
    calls/*/waits) printf '50 75 0.5' ;;
    calls/*/looking | calls/*/waking | calls/*/transfer) printf '0 0 0.1' ;;
    calls/*/other) printf '0 0 0.5' ;;
    *) printf '0 0 0' ;;
  esac
}

# --- Several attempts -------------------------------------------------------------------------------------------------

# Whether each count matched the record in one of the attempts.
is_as_recorded() { best_attempts <"$notes" | judge | awk '$1 != "ok" { exit 1 }'; }

# The median of each name's counts; the maximum of those that depend on scheduling.
typical_attempts() {
  sort -k 1,1 -k 2,2g | awk '
    function typical() { return lines[name ~ /(looking|waking|waits)$/ ? n : int((n + 1) / 2)] }
    $1 != name { if (n) { print typical() } name = $1; n = 0 }
    { lines[++n] = $0 }
    END { if (n) { print typical() } }'
}

# For each name, the count nearest to the record.
best_attempts() {
  awk '
    function distance(a, b) { return a > b ? a - b : b - a }
    FILENAME != "-" { recorded[$1] = $2; next }
    !($1 in best) || distance($2, recorded[$1]) < distance(best[$1], recorded[$1]) { best[$1] = $2; line[$1] = $0 }
    END { for (name in line) { print line[name] } }' "$recorded" -
}

# --- Skipped counts ---------------------------------------------------------------------------------------------------

# skip PATTERN REASON: skips the counts whose names match.
skip() { printf 'skipped  %s: %s\n' "$1" "$2" | tee -a -- "$skips"; }

is_skipped() {
  local pattern
  while read -r _ pattern _; do
    # shellcheck disable=SC2053 # a pattern
    [[ $1 != ${pattern%:} ]] || return 0
  done <"$skips"
  return 1
}

# --- Verdicts ---------------------------------------------------------------------------------------------------------

# The tools on which the number of instructions depends.
describe_tools() {
  printf '# Counts of Scripts/count-gates.sh --record, with %s, %s, %s.\n' \
    "$(swift --version 2>/dev/null | sed -n 's/.*\(Swift version [0-9.]*\).*/\1/p' | head -n 1)" \
    "$(valgrind --version)" "$(ldd --version | sed -n '1s/.* /glibc /p')"
}

# Reads counts, and prints the verdict on each.
judge() {
  local name count unit old above below least
  while read -r name count unit; do
    read -r above below least <<<"$(tolerance "$name")"
    old=$(awk -v name="$name" '$1 == name { print $2 }' "$recorded")
    awk -v name="$name" -v old="$old" -v new="$count" -v unit="$unit" -v above="$above" -v below="$below" \
      -v least="$least" '
    function allowed(percent) { return old * percent / 100 > least ? old * percent / 100 : least }
    BEGIN {
      if (old == "") {
        printf "%-8s %-44s %s %s, not recorded\n", "new", name, new, unit
        exit
      }
      verdict = new > old + allowed(above) ? "worse" : new < old - allowed(below) ? "better" : "ok"
      change = old == 0 || new == old ? "" : sprintf(" (%+.1f %%)", (new / old - 1) * 100)
      printf "%-8s %-44s %s %s, recorded %s%s\n", verdict, name, new, unit, old, change
    }'
  done
}

compare() {
  local name count unit
  sort -- "$counts" | judge | tee -- "$work/verdicts"
  while read -r name count unit; do
    grep -q "^$name " "$counts" || is_skipped "$name" ||
      printf '%-8s %-44s recorded %s %s, not counted\n' gone "$name" "$count" "$unit" | tee -a -- "$work/verdicts"
  done < <(grep -v '^#' "$recorded")
  grep -qE '^(worse|new|gone) ' "$work/verdicts" || return 0
  [[ $(describe_tools) == "$(head -n 1 "$recorded")" ]] ||
    say 'The tools differ from those of the record, which can change the number of instructions:' \
      "  recorded: $(head -n 1 "$recorded")" "  here:     $(describe_tools)"
  return 1
}
