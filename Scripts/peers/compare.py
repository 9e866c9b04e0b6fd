"""Compares Descent with PyTorch on the same jobs: in alternation, with medians, ratios and the targets.

Started by Scripts/benchmark-peers.sh, which brings the programs and PyTorch.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from typing import Callable

from contenders import CONTENDERS, DESCENT, DISTRIBUTED, Contender, Failure, Outcome, Settings, flags

WORKERS = 2
# What the job in PyTorch does and cannot be told otherwise. All other settings are those that Descent has by default.
FIXED: Settings = {
    "loss": "softmax", "activation": "relu", "initialization": "auto", "dropout": 0, "preprocessing": "mean-image",
    "reduction": "mean", "schedule": "cosine", "warmup-steps": 0, "optimizer": "sgd", "momentum": 0, "l1": 0,
    "max-norm": 0, "consistency": "bsp", "max-steps": 0,
    "target-accuracy": 0, "patience": 0, "gradient-norm": 0, "workers": WORKERS, "resume": "never",
    # The model is saved at the end and not before.
    "checkpoint-every": 0, "checkpoint-seconds": 0,
}
# As fractions. Test accuracies of the same job differ in less than this, whatever the random numbers.
SAME_ACCURACY = 0.02
ACCURACY_TO_REACH = 0.395


@dataclasses.dataclass(frozen=True)
class SteadyState:
    """A job whose images per second are compared once it has warmed up, and the target."""

    # Units of the hidden layer; 0 is the linear model.
    hidden: int
    # Per worker and step.
    examples: int
    # Passes over the training examples, so that the fastest run takes a second or so; and for --quick.
    epochs: int
    quick_epochs: int
    warm_up_steps: int
    # How many times faster than DistributedDataParallel.
    times: float

    @property
    def title(self) -> str:
        model = f"hidden {self.hidden}" if self.hidden else "linear"
        return f"{model}, {self.examples} examples per worker and step"

    def settings(self, is_quick: bool) -> Settings:
        return {
            "batch-size": self.examples * WORKERS, "epochs": self.quick_epochs if is_quick else self.epochs,
            "validation-examples": 0, "evaluate-every": self.warm_up_steps,
            # Each is rounded on its own, which is dear where it has few examples.
            "shards": self.examples * WORKERS // EXAMPLES_OF_SHARD,
        } | ({"hidden": self.hidden} if self.hidden else {})


# As with the default batch size and number of shards.
EXAMPLES_OF_SHARD = 32

STEADY_STATES = (
    SteadyState(0, 256, 30, 8, 300, 10),
    SteadyState(0, 64, 12, 3, 300, 13),
    SteadyState(100, 256, 6, 3, 100, 3),
    SteadyState(100, 64, 4, 2, 300, 4),
    SteadyState(1024, 256, 2, 1, 20, 1.7),
    SteadyState(1024, 64, 2, 1, 80, 2.5),
)

# The shortest cosine schedule, in whole epochs, that ends above the accuracy with a margin, whatever the seed. A stop
# at the first evaluation above it would depend more on which images the validation split drew than on speed.
EPOCHS_TO_ACCURACY = 4
EVALUATE_EVERY = 100
# Of the wall time of PyTorch, and in seconds.
WALL_TARGET = (1 / 10, 2.0)


@dataclasses.dataclass
class Comparison:
    """One job, and what every contender made of it."""

    title: str
    settings: Settings
    outcomes: dict[Contender, list[Outcome]] = dataclasses.field(
        default_factory=lambda: {contender: [] for contender in CONTENDERS}
    )

    def repeat(self, contender: Contender, descent: pathlib.Path) -> None:
        with tempfile.TemporaryDirectory(prefix="descent-peers-") as directory:
            self.outcomes[contender].append(contender.run(self.settings, descent, pathlib.Path(directory)))

    def values(self, contender: Contender, figure: str) -> list[float]:
        """One of the figures of `Outcome`, of every run."""
        return [getattr(outcome, figure) for outcome in self.outcomes[contender]]

    def median(self, contender: Contender, figure: str) -> float:
        return statistics.median(self.values(contender, figure))

    def check(self) -> None:
        """That all contenders did the same job."""
        everything = [outcome for outcomes in self.outcomes.values() for outcome in outcomes]
        steps = {outcome.steps for outcome in everything}
        accuracies = [outcome.test_accuracy for outcome in everything]
        if len(steps) > 1:
            raise Failure(f"{self.title}: not the same job, the numbers of steps are {sorted(steps)}")
        if max(accuracies) - min(accuracies) > SAME_ACCURACY:
            raise Failure(f"{self.title}: not the same job, test accuracies are {min(accuracies)} to {max(accuracies)}")


# --- Tables -----------------------------------------------------------------------------------------------------------


def spread(values: list[float], scale: float, digits: int) -> str:
    low, middle, high = (number / scale for number in (min(values), statistics.median(values), max(values)))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


# What the columns of a table show of a contender, by their heads.
Columns = dict[str, Callable[[Comparison, Contender], str]]
THROUGHPUT_COLUMNS: Columns = {
    "thousand images/s": lambda job, peer: spread(job.values(peer, "images_per_second"), 1e3, 1),
    "Descent / this": lambda job, peer: (
        f"{job.median(DESCENT, 'images_per_second') / job.median(peer, 'images_per_second'):.2f}"
    ),
    "test accuracy": lambda job, peer: f"{job.median(peer, 'test_accuracy'):.2%}",
}
WALL_COLUMNS: Columns = {
    "wall time, s": lambda job, peer: spread(job.values(peer, "wall_seconds"), 1, 2),
    "of it training, s": lambda job, peer: spread(job.values(peer, "training_seconds"), 1, 2),
    "this / Descent": lambda job, peer: f"{job.median(peer, 'wall_seconds') / job.median(DESCENT, 'wall_seconds'):.2f}",
    "lowest test accuracy": lambda job, peer: f"{min(job.values(peer, 'test_accuracy')):.2%}",
}


def comparison_table(job: Comparison, columns: Columns) -> str:
    rows = [[contender.name, *(show(job, contender) for show in columns.values())] for contender in CONTENDERS]
    return table(["", *columns], rows)


# --- Targets ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Target:
    what: str
    wanted: str
    found: str
    verdict: str


def verdict(is_reached: bool) -> str:
    return "reached" if is_reached else "MISSED"


def steady_target(job: SteadyState, comparison: Comparison) -> Target:
    ratio = comparison.median(DESCENT, "images_per_second") / comparison.median(DISTRIBUTED, "images_per_second")
    return Target(
        f"{job.title}: times DistributedDataParallel", f">= {job.times}", f"{ratio:.2f}", verdict(ratio >= job.times)
    )


def wall_targets(comparison: Comparison, is_synthetic: bool) -> list[Target]:
    share, seconds = WALL_TARGET
    found = comparison.median(DESCENT, "wall_seconds")
    peers = {contender.name: comparison.median(contender, "wall_seconds") for contender in CONTENDERS[1:]}
    what = f"shell prompt to {ACCURACY_TO_REACH:.1%} test accuracy"

    def judged(is_reached: bool) -> str:
        if is_synthetic:
            return "does not apply: the data are synthetic"
        lowest = min(min(comparison.values(contender, "test_accuracy")) for contender in CONTENDERS)
        return verdict(is_reached) if lowest >= ACCURACY_TO_REACH else f"not judged: a run ended at {lowest:.2%}"

    targets = [Target(f"{what}: seconds", f"< {seconds:.1f}", f"{found:.2f}", judged(found < seconds))]
    for name, peer in peers.items():
        is_reached = found / peer <= share
        targets.append(
            Target(f"{what}: share of {name}", f"<= {share:.3f}", f"{found / peer:.3f}", judged(is_reached))
        )
    return targets


# --- The run ----------------------------------------------------------------------------------------------------------


def settle(descent: pathlib.Path, data: pathlib.Path, chosen: Settings) -> Settings:
    """All settings of the job: ours, and the defaults of Descent."""
    command = [str(descent), "config", "show", "--json", *flags({"data": data} | FIXED | chosen)]
    shown = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {name: entry["value"] for name, entry in shown.items() if entry["value"] is not None and name != "run-dir"}


def describe_data(descent: pathlib.Path, data: pathlib.Path) -> tuple[str, bool]:
    """What the data are, and whether they are synthetic. Reads all of them, so they are in the page cache then."""
    command = [str(descent), "data", "check", str(data), "--json"]
    checked = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    origins = {file["origin"] for part in checked["parts"] for file in part["files"]}
    return f"{data} ({', '.join(sorted(origins))})", "synthetic" in origins


def processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--descent", type=pathlib.Path, required=True, help="the program")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="directory with the binary files of CIFAR-10")
    parser.add_argument("--repetitions", type=int, required=True)
    parser.add_argument("--json", type=pathlib.Path, help="file for all figures")
    parser.add_argument("--hidden", type=int, help="only the jobs of this hidden layer, where 0 is the linear model")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--command", required=True, help="what the person typed, for the report")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(comparison: Comparison, arguments: argparse.Namespace) -> None:
    """All contenders in turn, so that what else the machine does falls on all alike."""
    say(f"\n{comparison.title}")
    for repetition in range(arguments.repetitions):
        for contender in CONTENDERS:
            comparison.repeat(contender, arguments.descent)
            outcome = comparison.outcomes[contender][-1]
            speed = f"{outcome.images_per_second / 1e3:.1f} thousand images/s, {outcome.wall_seconds:.2f} s in all"
            say(f"  {repetition + 1}/{arguments.repetitions}  {contender.name:<52}{speed}")
    comparison.check()


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise Failure("this comparison is one of two processes on two cores, and here is only one")
    os.sched_setaffinity(0, cores)
    if arguments.json:
        # What cannot be written shall show now, and not after minutes.
        arguments.json.touch()
    data, is_synthetic = describe_data(arguments.descent, arguments.data)

    jobs = {
        job: Comparison(
            f"Steady state, {job.title}",
            settle(arguments.descent, arguments.data, job.settings(arguments.quick)),
        )
        for job in STEADY_STATES if arguments.hidden in (None, job.hidden)
    }
    chosen = {"epochs": EPOCHS_TO_ACCURACY, "evaluate-every": EVALUATE_EVERY}
    settings = settle(arguments.descent, arguments.data, chosen)
    title = (
        f"From the shell prompt to the end of {EPOCHS_TO_ACCURACY} epochs, {settings['batch-size']} examples a step, "
        f"evaluated every {EVALUATE_EVERY} steps"
    )
    whole = [] if arguments.hidden else [Comparison(title, settings)]

    say("Once without counting, so that programs and data are in memory")
    for contender in CONTENDERS:
        Comparison("", settings).repeat(contender, arguments.descent)
    for comparison in (*jobs.values(), *whole):
        measure(comparison, arguments)

    targets = [steady_target(job, comparison) for job, comparison in jobs.items()]
    targets += [target for comparison in whole for target in wall_targets(comparison, is_synthetic)]
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "command": arguments.command,
        "processor": f"{processor()}, {len(cores)} cores",
        "data": data,
        "versions": f"PyTorch {metadata.version('torch')}, NumPy {metadata.version('numpy')}, "
        f"Python {platform.python_version()}",
        "repetitions": arguments.repetitions,
    }
    print("\n".join(f"{name:<12} {value}" for name, value in facts.items()))
    if is_synthetic:
        print("*** The data are SYNTHETIC: accuracies say nothing about CIFAR-10, and the time to one does not apply.")
    print("Figures are medians, with the lowest and the highest; ratios are those of the medians.")
    for job in jobs.values():
        print(f"\n{job.title}\n{comparison_table(job, THROUGHPUT_COLUMNS)}")
    for job in whole:
        print(f"\n{job.title}\n{comparison_table(job, WALL_COLUMNS)}")
    rows = [list(dataclasses.astuple(target)) for target in targets]
    print(f"\n{table(['Target', 'wanted', 'found', ''], rows)}")
    if arguments.json:
        measured = [
            {
                "title": comparison.title,
                "settings": comparison.settings,
                "runs": {c.name: [dataclasses.asdict(o) for o in comparison.outcomes[c]] for c in CONTENDERS},
            }
            for comparison in (*jobs.values(), *whole)
        ]
        document = facts | {"jobs": measured, "targets": [dataclasses.asdict(target) for target in targets]}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        say(f"compare.py: {failure}")
        sys.exit(70)
    except subprocess.CalledProcessError as failure:
        say(f"compare.py: {shlex.join(failure.cmd)} ended with status {failure.returncode}")
        sys.exit(failure.returncode if failure.returncode > 0 else 70)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
