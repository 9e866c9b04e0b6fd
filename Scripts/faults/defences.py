"""Switches defences off one by one and expects the tests of the table to fail. Called by defences.sh.

In a copy of the tree each marked defence (markers.py) asks, while the programs run, whether it is among those that the
variable DEFENCE_OFF names. So one build serves all trials, and the same build with the variable empty is the proof that
the tests pass where nothing is switched off.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

from markers import VARIABLE, Stale, mutated, tree
from switches import SWITCHES, TRIALS, Trial

# Longer than any trial takes: a test that hangs has expected nothing.
LIMIT_SECONDS = 600
TABLE = "Tests/Evidence/faults.md"
OUTCOMES = "Tests/Evidence/defences.md"


def check(root: str) -> dict[str, str]:
    """That every marker has its switch, every switch its markers and a trial, and every test of the table a trial."""
    texts = mutated(root)
    used = {name for trial in TRIALS for name in trial.off}
    problems = [f"no trial uses the switch {name}" for name in SWITCHES if name not in used]
    problems += [f"there is no switch {name}" for name in used if name not in SWITCHES]
    with open(os.path.join(root, TABLE), encoding="utf-8") as file:
        table = file.read()
    # A test's name is "DONE: EXPECTED"; a script is its own.
    rows = {
        test if test.startswith("Scripts/") else f"{test}/{done}"
        for done, test in re.findall(r"^\| (.*?) \| .* `(\w+\.\w+|Scripts/[\w.-]+)` \|$", table, re.MULTILINE)}
    tried = {test for trial in TRIALS for test in trial.tests}
    problems += [f"{TABLE} has a row of {test}, and no defence is switched off for it" for test in sorted(rows - tried)]
    problems += [f"{test} has no row in {TABLE}" for test in sorted(tried - rows)]
    if problems:
        raise Stale("\n".join(["Bring Scripts/faults/switches.py up to date:"] + problems))
    return texts


def missing_outcomes(root: str) -> list[str]:
    """Trials without their row in the table of outcomes, and rows whose trial is gone."""
    with open(os.path.join(root, OUTCOMES), encoding="utf-8") as file:
        shown = set(re.findall(r"^\| (.*?) \| `(.*?)` \| failed, as it must \|", file.read(), re.MULTILINE))
    played = {(described(trial), test) for trial in TRIALS for test in trial.tests}
    return [
        *(f"{OUTCOMES} has no row of {test} without: {what}" for what, test in sorted(played - shown)),
        *(f"{OUTCOMES} has a row of no trial, {test} without: {what}" for what, test in sorted(shown - played))]


def described(trial: Trial) -> str:
    return "; ".join(SWITCHES[name].what for name in trial.off)


# --- The copy ---------------------------------------------------------------------------------------------------------


def synchronize(root: str, copy: str, texts: dict[str, str]) -> None:
    """Makes the copy the tree of now with the switches in it. What is the same stays as it is, or it is built again."""
    wanted = set(tree(root))
    for path in sorted(wanted | set(texts)):
        target = os.path.join(copy, path)
        if path in texts:
            content, mode = texts[path].encode(), 0o644
        else:
            source = os.path.join(root, path)
            with open(source, "rb") as file:
                content = file.read()
            mode = os.stat(source).st_mode & 0o777
        if os.path.isfile(target):
            with open(target, "rb") as file:
                if file.read() == content:
                    continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(content)
        os.chmod(target, mode)
    for top in ("Sources", "Tests"):
        for directory, _, names in os.walk(os.path.join(copy, top)):
            for name in names:
                path = os.path.relpath(os.path.join(directory, name), copy)
                if path not in wanted and path not in texts:
                    os.unlink(os.path.join(copy, path))


def build(copy: str) -> None:
    result = subprocess.run(
        ["swift", "build", "--package-path", copy, "--configuration", "release", "--build-tests"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        errors = [line for line in result.stdout.splitlines() if "error:" in line] or result.stdout.splitlines()[-20:]
        raise Stale("\n".join(["The copy does not build with the switches in it:"] + errors[:20]))


# --- Trials -----------------------------------------------------------------------------------------------------------


class Outcome:
    def __init__(self, verdict: str, issues: int, line: str):
        self.verdict, self.issues, self.line = verdict, issues, line


def run(copy: str, command: list[str], off: list[str], complete: bool) -> tuple[int | None, str]:
    """The exit status (None if it did not end) and all that was said."""
    environment = {key: value for key, value in os.environ.items() if key != "DESCENT_EVIDENCE"}
    # Swift's own report of a crash waits for a debugger that is not there.
    environment |= {VARIABLE: ",".join(off), "SWIFT_BACKTRACE": "enable=no"}
    if complete:
        environment["DESCENT_EVERY_FAULT"] = "yes"
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True)
    try:
        text, _ = process.communicate(timeout=LIMIT_SECONDS)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        status = None
    return status, text.decode(errors="replace")


def play(copy: str, work: str, test: str, trial: Trial) -> Outcome:
    """What became of one test without the defences of the trial."""
    if test.startswith("Scripts/"):
        status, text = run(copy, [os.path.join(copy, test), *trial.arguments], trial.off, False)
        failed, issues = status not in (0, None), re.findall(r"^(?:SUMMARY|.*runtime error).*", text, re.MULTILINE)
    else:
        suite, done = test.split("/", 1)
        report = os.path.join(work, "report.xml")
        if os.path.exists(report):
            os.unlink(report)
        status, text = run(
            copy,
            ["swift", "test", "--configuration", "release", "--skip-build", "--disable-xctest", "--no-parallel",
             "--xunit-output", report, "--filter", "^" + re.escape(suite) + "/`" + re.escape(done) + ": "],
            trial.off, trial.complete)
        issues = re.findall(r"^✘ Test .*recorded an issue.*(?:\n↳ .*)*", text, re.MULTILINE)
        failed, ran = verdict_of(report, suite, done)
        crash = re.search(r"Fatal error.*|exited with unexpected signal.*", text)
        if not ran and crash is not None and status not in (0, None):
            failed, issues = True, issues + [crash.group(0)]
        elif not ran:
            return Outcome("DID NOT RUN", 0, last_line(text) if status is not None else f"no end in {LIMIT_SECONDS} s")
    with open(os.path.join(work, "log"), "a", encoding="utf-8") as log:
        log.write(f"=== {test} without {', '.join(trial.off) or 'nothing'}: {status}\n{text}\n")
    if not failed:
        return Outcome("passed", len(issues), last_line(text))
    missing = [text for text in trial.expects if not any(re.search(text, issue) for issue in issues)]
    if trial.off and (missing or not issues):
        return Outcome("FAILED OTHERWISE", len(issues), f"expected {missing}: " + shown(issues))
    meant = [issue for issue in issues if any(re.search(text, issue) for text in trial.expects)]
    return Outcome("failed", len(issues), shown(meant or issues))


def verdict_of(report: str, suite: str, done: str) -> tuple[bool, bool]:
    """Whether a test failed, and whether it ran to its end at all."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (FileNotFoundError, ElementTree.ParseError):
        return False, False
    for case in cases:
        if case.get("classname") == suite and (case.get("name") or "").startswith(f"`{done}: "):
            return case.find("failure") is not None, case.find("skipped") is None
    return False, False


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return shown(lines[-1:])


def shown(issues: list[str]) -> str:
    """The first of them, short and without what differs from machine to machine."""
    if not issues:
        return ""
    head, *details = issues[0].split("\n")
    text = re.sub(r"^✘ Test .*? recorded an issue (?:with \d+ arguments? )?", "", head)
    if text.endswith("Issue recorded") and details:
        text = text.removesuffix("Issue recorded") + details[0].removeprefix("↳ ")
    text = re.sub(r"/[^\s\"]*descent-(?:test-[0-9A-F]{8}|\d{8}-[0-9a-f-]+)", "DIR", text)
    text = re.sub(r"^exited", "a trap: exited", text)
    text = re.sub(r"/[^\s:]*/(?=\w+\.(?:swift|c)\b)", "", text)
    text = re.sub(r"^==\d+==", "", text)
    return (text[:170] + "…" if len(text) > 170 else text).replace("|", "\\|")


# --- The whole --------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def without_switches(copy: str, work: str, chosen: list[Trial]) -> bool:
    """Whether every test of the trials passes while nothing is switched off."""
    good, seen = True, set()
    for trial in chosen:
        for test in trial.tests:
            if test in seen:
                continue
            seen.add(test)
            began = time.monotonic()
            outcome = play(copy, work, test, Trial([], [test], complete=trial.complete, arguments=trial.arguments))
            say(f"{outcome.verdict:8} {time.monotonic() - began:5.0f} s  {test} with all defences")
            if outcome.verdict != "passed":
                say("  " + outcome.line)
                good = False
    return good


def switched_off(copy: str, work: str, chosen: list[Trial]) -> bool:
    """Prints the table; whether all failed as they must."""
    count, good = 0, True
    print("| switched off | test | outcome | issues | the first of them |\n|---|---|---|---:|---|", flush=True)
    for trial in chosen:
        for test in trial.tests:
            began = time.monotonic()
            outcome = play(copy, work, test, trial)
            say(f"{outcome.verdict:8} {time.monotonic() - began:5.0f} s  {test} without {', '.join(trial.off)}")
            is_good = outcome.verdict == "failed"
            if not is_good:
                say("  " + outcome.line)
                good = False
            verdict = "failed, as it must" if is_good else f"{outcome.verdict} (bad)"
            print(f"| {described(trial)} | `{test}` | {verdict} | {outcome.issues} | {outcome.line} |", flush=True)
            count += 1
    tests = {test for trial in chosen for test in trial.tests}
    print(f"\n{count} trials of {len(tests)} tests, {len({n for t in chosen for n in t.off})} switches.")
    return good


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["list", "check", "trials"])
    parser.add_argument("root")
    parser.add_argument("--copy", default="")
    parser.add_argument("--work", default="")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    try:
        texts = check(options.root)
        chosen = [
            trial for trial in TRIALS
            if re.search(options.only, " ".join(trial.off + trial.tests + [SWITCHES[name].what for name in trial.off]))]
        if not chosen:
            raise Stale(f"no trial has {options.only} in it")
        if options.mode == "list":
            stale = missing_outcomes(options.root)
            if stale:
                raise Stale("\n".join(["Play the trials with Scripts/defences.sh, and put their rows in:"] + stale))
            print(f"{len(SWITCHES)} switches, {sum(len(trial.tests) for trial in chosen)} trials: all in place")
            return 0
        synchronize(options.root, options.copy, texts)
        began = time.monotonic()
        build(options.copy)
        say(f"Built in {time.monotonic() - began:.0f} s.")
    except Stale as problem:
        say(str(problem))
        return 65
    if options.mode == "check":
        return 0 if without_switches(options.copy, options.work, chosen) else 1
    return 0 if switched_off(options.copy, options.work, chosen) else 1


sys.exit(main())
