"""The Markdown table of the rows that tests added (Tests/Evidence). Called by faults.sh with the file of rows."""

import json
import math
import re
import sys

TITLES = {
    "processes": "Processes: any of them, at any instant",
    "disk": "The disk",
    "network": "The network",
    "waiting": "Waiting, and long runs",
    "simulation": "Simulation",
    "intruders": "Intruders",
    "bytes": "Bad bytes",
    "races": "Races and memory errors",
    "trees": "Process trees: shells, terminals, schedulers and service managers",
    "starts": "Starts that fail",
    "limits": "Limits",
    "fileSystems": "File systems",
    "settings": "Settings from everywhere",
    "addresses": "Addresses and keys",
    "data": "Data that change while they are used",
    "pictures": "Pictures",
}


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def seconds(values: list[float]) -> str:
    if not values:
        return ""
    median, last = quantile(values, 0.5), quantile(values, 0.99)
    return f"{median:.2f}" if len(values) == 1 else f"{median:.2f}, {last:.2f}"


def cell(text: str) -> str:
    """One line, without the directories that the tests made for the time of a test."""
    text = re.sub(r"/\S*descent-test-[0-9A-F]{8}", "DIR", text)
    return text.replace("|", "\\|").replace("\n", " ")


def merged(rows: list[dict]) -> list[dict]:
    """One row for the parts of a test that say the same, with their numbers together."""
    result: dict[tuple, dict] = {}
    for row in rows:
        key = tuple(row[name] for name in ("section", "done", "variant", "expected", "observed", "test"))
        if key in result:
            result[key]["times"] += row["times"]
            result[key]["recovery"] += row["recovery"]
        else:
            result[key] = row
    return list(result.values())


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        rows = merged([json.loads(line) for line in file])
    for section, title in TITLES.items():
        chosen = [row for row in rows if row["section"] == section]
        if not chosen:
            continue
        print(f"## {title}\n")
        print("| done | which | times | expected | observed | recovery, s (median, 99th percentile) | test |")
        print("|---|---|---:|---|---|---:|---|")
        for row in sorted(chosen, key=lambda row: (row["test"], row["done"], row["variant"])):
            cells = [row["done"], row["variant"], str(row["times"]), row["expected"], row["observed"]]
            cells.append(seconds(row["recovery"]))
            print("| " + " | ".join(map(cell, cells)) + f" | `{row['test']}` |")
        print()
    print(f"{len(rows)} rows, {sum(row['times'] for row in rows)} faults and intrusions.")


main(sys.argv[1])
