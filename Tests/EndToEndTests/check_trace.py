"""Checks a merged trace against the rules of the Trace Event Format, without any of Descent's code.

Usage: check_trace.py TRACE.json FIRST LAST KIND

KIND is `cluster`; `partial` if a process may have left no trace; or `sequential`.
Prints a line per problem; the last line counts slices, arrows and processes. Exit status 1 if there was a problem.
"""

import collections
import decimal
import json
import sys

path, first, last, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
problems = []


def refuse_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        problems.append(f"a key is there twice: {names}")
    return dict(pairs)


with open(path, encoding="utf-8") as file:
    trace = json.load(file, object_pairs_hook=refuse_duplicates, parse_float=decimal.Decimal)
slices, arrows, names = collections.defaultdict(list), collections.defaultdict(list), {}
for event in trace["traceEvents"]:
    thread = (event["pid"], event["tid"])
    if event["ph"] == "M":
        if event["name"] in ("process_name", "thread_name"):
            names[event["name"], thread] = event["args"]["name"]
    elif event["ph"] == "X":
        begin, duration = round(event["ts"] * 1000), round(event["dur"] * 1000)
        if begin < 0 or duration < 0:
            problems.append(f"a slice outside of the trace: {event}")
        if not first <= event["args"]["step"] <= last:
            problems.append(f"a step that was not asked for: {event}")
        slices[thread].append((begin, begin + duration, event["name"], event["args"]["step"]))
    elif event["ph"] in "stf":
        if event["ph"] == "f" and event.get("bp") != "e":
            problems.append(f"an arrow that ends at the next slice: {event}")
        arrows[event["cat"], event["name"], event["id"]].append((event["ph"], thread, round(event["ts"] * 1000)))
    else:
        problems.append(f"an unknown phase: {event}")

for thread, found in slices.items():
    if ("thread_name", thread) not in names or ("process_name", (thread[0], 0)) not in names:
        problems.append(f"thread {thread} has no name")
    stack = []
    for begin, end, name, _ in sorted(found, key=lambda item: (item[0], -item[1])):
        while stack and stack[-1] <= begin:
            stack.pop()
        if stack and stack[-1] < end:
            problems.append(f"{name} of {thread} crosses the slice around it at {begin}")
        stack.append(end)


def enclosing(thread, time):
    return next((item for item in slices[thread] if item[0] <= time < item[1]), None)


updated = collections.Counter()
for key, ends in arrows.items():
    kinds = collections.Counter(phase for phase, _, _ in ends)
    if kinds["s"] != 1 or kinds["f"] != 1:
        problems.append(f"arrow {key} has {kinds['s']} beginnings and {kinds['f']} ends")
        continue
    bound = {phase: enclosing(thread, time) for phase, thread, time in ends}
    if not all(bound.values()):
        problems.append(f"an end of arrow {key} lies in no slice")
        continue
    if bound["s"][2] != "send" or bound["f"][2] not in ("sum", "update", "drop"):
        problems.append(f"arrow {key} leads from {bound['s'][2]} to {bound['f'][2]}")
    if bound["f"][2] == "update":
        updated[bound["f"][3]] += 1
    order = {"s": 0, "t": 1, "f": 2}
    times = [time for _, _, time in sorted(ends, key=lambda end: order[end[0]])]
    if times != sorted(times):
        problems.append(f"arrow {key} goes back in time")

phases = collections.defaultdict(set)
for thread, found in slices.items():
    role = names["process_name", (thread[0], 0)].split("@")[0].split("-")[0]
    for _, _, name, step in found:
        phases[role, name].add(step)
steps = set(range(first, last + 1))
for role, phase in [("worker", "compute"), ("worker", "send"), ("worker", "wait"), ("server", "update")]:
    if kind != "sequential" and phases[role, phase] != steps:
        problems.append(f"{phase} of {role}: missing steps {sorted(steps - phases[role, phase])}")
if kind == "cluster" and set(updated) != steps:
    problems.append(f"updates without an arrow: {sorted(steps - set(updated))}")
if kind == "sequential" and phases["train", "compute"] != steps:
    problems.append("the sequential trainer lacks steps")

for problem in problems[:20]:
    print(problem)
print(f"{sum(map(len, slices.values()))} slices, {len(arrows)} arrows, {len({thread[0] for thread in slices})} processes")
sys.exit(1 if problems else 0)
