"""Runs one job once: with `descent train`, or with pytorch_job.py in one process or two."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

# After which a run has failed.
LONGEST_RUN_SECONDS = 900
# What it then has to end by itself.
FAREWELL_SECONDS = 10

Arguments = list[str]
Settings = dict[str, Any]


class Failure(Exception):
    """What went wrong, for people."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    steps: int
    # From before the first process is started to after the last one has ended.
    wall_seconds: float
    # From the first step to the last, evaluations between them included.
    training_seconds: float
    # From the first evaluation to the last step: what comes before is the warm-up.
    images_per_second: float
    test_accuracy: float


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    # Processes of PyTorch and threads of each; 0 for Descent.
    processes: int
    threads: int

    def run(self, settings: Settings, descent: pathlib.Path, directory: pathlib.Path) -> Outcome:
        """Does the job of these settings of Descent in an empty directory."""
        if self.processes == 0:
            return run_descent(settings, descent, directory)
        return run_pytorch(settings, self.processes, self.threads, directory)


DESCENT = Contender("Descent, server + coordinator + 2 workers", 0, 0)
DISTRIBUTED = Contender("PyTorch DistributedDataParallel, gloo, 2 processes", 2, 1)
CONTENDERS = (
    DESCENT,
    DISTRIBUTED,
    Contender("PyTorch, 1 process of 1 thread", 1, 1),
    Contender("PyTorch, 1 process of 2 threads", 1, 2),
)


def flags(settings: Settings) -> Arguments:
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def run_descent(settings: Settings, descent: pathlib.Path, directory: pathlib.Path) -> Outcome:
    run = directory / "run"
    command = [str(descent), "train", *flags(settings), "--run-dir", str(run), "--json", "--quiet"]
    wall, output = run_processes([command], {}, directory)
    result = json.loads(output)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # The first row is before the first step, and so before the warm-up.
    first, last = rows[1], rows[-1]
    if last["step"] <= first["step"]:
        raise Failure(f"the run of {result['steps']} steps has no steady state")
    rate = (last["examples"] - first["examples"]) / (last["seconds"] - first["seconds"])
    return Outcome(result["steps"], wall, result["seconds"], rate, result["test_accuracy"])


# What the PyTorch job can be told. Everything else it has fixed; see compare.FIXED.
TOLD = (
    "data", "batch-size", "epochs", "validation-examples", "evaluate-every", "learning-rate", "l2",
    "initial-standard-deviation", "seed", "hidden",
)


def run_pytorch(settings: Settings, processes: int, threads: int, directory: pathlib.Path) -> Outcome:
    told = {name: settings[name] for name in TOLD if name in settings}
    told |= {"model": directory / "model.pt", "threads": threads, "ranks": processes, "store": directory / "store"}
    job = str(pathlib.Path(__file__).with_name("pytorch_job.py"))
    # All at once and without a launcher, which would import PyTorch before they do.
    commands = [[sys.executable, job, *flags(told | {"rank": rank})] for rank in range(processes)]
    # The ranks talk over the loopback interface; without this gloo looks the name of the host up.
    environment = {"OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo"}
    wall, output = run_processes(commands, environment, directory)
    result = json.loads(output)
    return Outcome(
        result["steps"], wall, result["training_seconds"], result["images_per_second"], result["test_accuracy"]
    )


def run_processes(
    commands: list[Arguments], environment: dict[str, str], directory: pathlib.Path
) -> tuple[float, str]:
    """Runs them side by side. Seconds until all have ended, and what the first wrote to standard output.

    If one fails, or they take too long, the others are killed; in any case none is left.
    """
    errors = directory / "errors"
    running: dict[int, subprocess.Popen[bytes]] = {}
    with open(directory / "output", "w+b") as output, open(errors, "wb") as error:
        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(LONGEST_RUN_SECONDS)
        began = time.monotonic()
        try:
            for number, command in enumerate(commands):
                process = subprocess.Popen(
                    command, env=os.environ | environment, stdin=subprocess.DEVNULL, stderr=error,
                    stdout=output if number == 0 else subprocess.DEVNULL,
                )
                running[process.pid] = process
            while running:
                identifier, status = os.wait()
                process = running.pop(identifier)
                process.returncode = os.waitstatus_to_exitcode(status)
                if status != 0:
                    said = errors.read_text(errors="replace")[-4000:]
                    raise Failure(f"{' '.join(process.args)}\nended with status {process.returncode}:\n{said}")
            seconds = time.monotonic() - began
        finally:
            signal.alarm(0)
            for process in running.values():
                end(process)
        output.seek(0)
        return seconds, output.read().decode()


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks first: `descent train` then ends the processes that it started."""
    process.terminate()
    try:
        process.wait(FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def give_up(_signal: int, _frame: object) -> None:
    raise Failure(f"a run took more than {LONGEST_RUN_SECONDS} s")
