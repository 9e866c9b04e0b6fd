"""Defences are marked in the sources where they stand. This makes the program that asks, at each, whether it is off.

A marker is a comment, `// defence: NAME`, at the end of a line or alone on the line before it. What it means follows
from the form of the code that it marks, never from the names in it:

    guard A, B else { ... }       without the defence, the condition counts as holding
    if A, B { ... }               ... as failing
      A,                          one condition of several on a line of its own: it counts as holding
    func f() {, case .a:          returns at once
    f(x)                          a statement: it is left out

`// defence: NAME holds` and `NAME fails` say which, where a guard or an if means the other. A switch of switches.py may
state instead what stands in the place of the value, of one word, or before the statement: see Switch there.
"""

import os
import re
import subprocess
from dataclasses import dataclass

from switches import SWITCHES, Switch

VARIABLE = "DEFENCE_OFF"

# In the target that all others see. Read once: some defences are asked for in every message.
HELPER = "Sources/Diagnostics/DefenceSwitch.swift"
HELPER_TEXT = """import Glibc
private let names = getenv("%s").map { Set(String(cString: $0).split(separator: ",").map(String.init)) } ?? []
public func defenceIsOff(_ name: String) -> Bool { !names.isEmpty && names.contains(name) }
""" % VARIABLE

MARKER = re.compile(r"//[ ]*defence:(.*)$", re.MULTILINE)
SUFFIXES = (".swift", ".c", ".h", ".inc")


class Stale(Exception):
    """The markers, the list of switches and the trials do not fit each other."""


def tree(root: str) -> list[str]:
    """The files of the tree of now, whether added to the index or not."""
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True).stdout
    return sorted({path for path in listing.split("\0") if path and os.path.isfile(os.path.join(root, path))})


# --- Reading the code -------------------------------------------------------------------------------------------------


def code(text: str, is_c: bool) -> str:
    """The text with its comments blank and its strings as underscores, so that positions stay the same."""
    result = list(text)

    def cover(begin: int, end: int, by: str) -> None:
        for index in range(begin, min(end, len(text))):
            if text[index] != "\n":
                result[index] = by

    def string(begin: int) -> int:
        """The position after the string that begins here."""
        quote = re.match(r'(#*)("""|")|\'', text[begin:])
        hashes = quote.group(1) or ""
        closing = (quote.group(2) or "'") + hashes
        position = begin + len(quote.group(0))
        while position < len(text) and not text.startswith(closing, position):
            if not is_c and text.startswith("\\" + hashes + "(", position):
                position = interpolation(position + 2 + len(hashes))
            else:
                position += 2 if text[position] == "\\" and not hashes else 1
        return position + len(closing)

    def interpolation(position: int) -> int:
        depth = 1
        while position < len(text) and depth > 0:
            if text[position] == '"':
                position = string(position)
                continue
            depth += {"(": 1, ")": -1}.get(text[position], 0)
            position += 1
        return position

    position = 0
    while position < len(text):
        if text.startswith("//", position):
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            cover(position, end, " ")
        elif text.startswith("/*", position):
            end = text.find("*/", position) + 2
            cover(position, end, " ")
        elif re.match(r'#*"' if not is_c else "[\"']", text[position:position + 8]):
            end = string(position)
            cover(position, end, "_")
        else:
            end = position + 1
        position = end
    return "".join(result)


def depth_after(code_text: str, begin: int, end: int) -> int:
    part = code_text[begin:end]
    return sum(part.count(character) for character in "([{") - sum(part.count(character) for character in ")]}")


def find_at_depth_0(code_text: str, pattern: str, begin: int) -> int:
    """Where the pattern first stands outside of all brackets that open after `begin`; -1 if it does not."""
    for match in re.finditer(pattern, code_text[begin:]):
        if depth_after(code_text, begin, begin + match.start()) == 0:
            return begin + match.start()
    return -1


def statement_end(code_text: str, begin: int) -> int:
    """The position after the last character of the statement that begins here."""
    end = begin
    while True:
        line_end = code_text.find("\n", end)
        line_end = len(code_text) if line_end < 0 else line_end
        text = code_text[begin:line_end].rstrip()
        following = code_text[line_end:].lstrip()
        is_open = depth_after(code_text, begin, line_end) > 0 or re.search(r"([,=(&|+?:-]|->)$", text)
        if not is_open and not re.match(r"\.[a-z]|&&|\|\||\?|:|\+ |- |\{|else\b", following):
            return begin + len(text)
        if line_end == len(code_text):
            return begin + len(text)
        end = line_end + 1


def split_conditions(code_text: str, text: str, begin: int, end: int) -> list[str]:
    """The parts of a list of conditions."""
    parts, start = [], begin
    for match in re.finditer(",", code_text[begin:end]):
        if depth_after(code_text, begin, begin + match.start()) == 0:
            parts.append(text[start:begin + match.start()])
            start = begin + match.end()
    # A comment would hide what follows it.
    return [re.sub(r"//.*", "", part).strip() for part in parts + [text[start:end]]]


# --- Changing it ------------------------------------------------------------------------------------------------------


@dataclass
class Mark:
    name: str
    # holds, fails or nothing
    counts_as: str
    path: str
    line: int
    # Of the first character of the code that is marked.
    begin: int


@dataclass
class Edit:
    begin: int
    end: int
    text: str


def marks(path: str, text: str, code_text: str) -> list[Mark]:
    found = []
    for match in MARKER.finditer(text):
        if code_text[match.start()] != " ":
            continue
        line_begin = text.rfind("\n", 0, match.start()) + 1
        begin = line_begin
        if not code_text[line_begin:match.start()].strip():
            begin = match.end()
        while begin < len(text) and code_text[begin].isspace():
            begin += 1
        words = match.group(1).split()
        counts_as = words[1] if len(words) == 2 else ""
        line = text.count("\n", 0, match.start()) + 1
        if not words or len(words) > 2 or counts_as not in ("", "holds", "fails"):
            raise Stale(f"{path}:{line}: a marker reads `// defence: NAME`, `NAME holds` or `NAME fails`")
        found.append(Mark(words[0], counts_as, path, line, begin))
    return found


def edits(mark: Mark, switch: Switch, text: str, code_text: str) -> list[Edit]:
    """What to change so that the marked code asks whether its defence is off (OFF)."""
    begin = mark.begin
    line_end = code_text.find("\n", begin)
    line = code_text[begin:line_end].rstrip()

    def wrong(reason: str) -> Stale:
        return Stale(f"{mark.path}:{mark.line}: defence {mark.name}: {reason}")

    def braces(statement: str, asked: str) -> str:
        return (f"if {asked}" if mark.path.endswith(".swift") else f"if ({asked})") + f" {{ {statement} }}"

    if switch.word is not None:
        old, new = switch.word
        pattern = re.compile(r"(?<![\w.])" + re.escape(old) + r"(?!\w)")
        places = [match.start() for match in pattern.finditer(text[begin:line_end])]
        if len(places) != 1:
            raise wrong(f"the line holds {old} {len(places)} times, expected once")
        return [Edit(begin + places[0], begin + places[0] + len(old), f"(OFF ? {new} : {old})")]
    if switch.before is not None:
        return [Edit(begin, begin, braces(switch.before, "OFF") + "\n")]
    if switch.instead is not None:
        end = statement_end(code_text, begin)
        return [Edit(begin, begin, braces(switch.instead, "OFF") + " else { "), Edit(end, end, " }")]
    if switch.value is not None:
        end = statement_end(code_text, begin)
        head = re.match(r"return\s+|[\w .:<>?\[\]]+\s=\s+", code_text[begin:end])
        start = begin + (head.end() if head else 0)
        return [Edit(start, start, f"OFF ? ({switch.value}) : ("), Edit(end, end, ")")]

    keyword = re.match(r"(?:\}\s*else\s+)?(guard|if)\b", line)
    if keyword is not None:
        start = begin + keyword.end()
        is_guard = keyword.group(1) == "guard"
        if (mark.counts_as or ("holds" if is_guard else "fails")) == "fails":
            return [Edit(start, start, " !OFF,")]
        end = find_at_depth_0(code_text, r"\belse\b" if is_guard else r"\{", start)
        parts = split_conditions(code_text, text, start, end)
        if any(re.match(r"(let|var|case)\b", part) for part in parts):
            raise wrong("what binds a name cannot count as holding; mark one condition on a line of its own")
        return [Edit(start, end, " " + " && ".join(f"({part})" for part in parts) + " || OFF ")]
    if mark.counts_as:
        raise wrong(f"neither a guard nor an if counts as {mark.counts_as}")
    if re.search(r"[{:]$", line):
        return [Edit(begin + len(line), begin + len(line), " " + braces("return", "OFF"))]
    before = code_text[:begin].rstrip()
    if re.search(r"(,|\bguard|\bif)$", before):
        end = begin + len(re.sub(r"(,|\s*\belse\s*\{.*|\s*\{)$", "", line))
        if depth_after(code_text, begin, end) != 0 or re.match(r"(let|var|case)\b", line):
            raise wrong("not one whole condition")
        return [Edit(begin, begin, "("), Edit(end, end, " || OFF)")]
    if re.match(r"(let|var|return|throw|\}|private|public|static)\b", line):
        raise wrong("cannot be left out")
    end = statement_end(code_text, begin)
    return [Edit(begin, end, braces(text[begin:end], "!OFF"))]


def condition(name: str, path: str) -> str:
    if path.endswith(".swift"):
        return f'defenceIsOff("{name}")'
    return f'(getenv("{VARIABLE}") && !strcmp(getenv("{VARIABLE}"), "{name}"))'


def mutated(root: str) -> dict[str, str]:
    """The files that change, with all switches in."""
    texts = {HELPER: HELPER_TEXT}
    counts = dict.fromkeys(SWITCHES, 0)
    problems = []
    for path in tree(root):
        if not path.endswith(SUFFIXES) or not path.startswith(("Sources/", "Tests/")):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        if not MARKER.search(text):
            continue
        code_text = code(text, not path.endswith(".swift"))
        changes: list[Edit] = []
        try:
            for mark in marks(path, text, code_text):
                if mark.name not in SWITCHES:
                    raise Stale(f"{path}:{mark.line}: there is no switch {mark.name}")
                counts[mark.name] += 1
                for edit in edits(mark, SWITCHES[mark.name], text, code_text):
                    edit.text = re.sub(r"\bOFF\b", condition(mark.name, path), edit.text)
                    changes.append(edit)
        except Stale as problem:
            problems.append(str(problem))
            continue
        changes.sort(key=lambda edit: (edit.begin, edit.end))
        end, parts = 0, []
        for edit in changes:
            if edit.begin < end:
                problems.append(f"{path}: two markers change the same code")
            parts += [text[end:edit.begin], edit.text]
            end = edit.end
        changed = "".join(parts + [text[end:]])
        is_helped = path.startswith("Sources/Diagnostics/") or re.search(r"^import Diagnostics$", changed, re.MULTILINE)
        if path.endswith(".swift") and not is_helped:
            changed = "import Diagnostics\n" + changed
        if not path.endswith(".swift"):
            changed = "#include <stdlib.h>\n#include <string.h>\n" + changed
        texts[path] = changed
    for name, switch in SWITCHES.items():
        if counts[name] != switch.places:
            problems.append(f"{name}: marked {counts[name]} times, expected {switch.places}")
    if problems:
        raise Stale("\n".join(["The markers of the defences and Scripts/faults/switches.py do not agree:"] + problems))
    return texts
