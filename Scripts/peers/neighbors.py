"""Times the exact nearest neighbours of every CIFAR-10 test image: `descent neighbors` and FAISS IndexFlat, in turns.

Called by Scripts/benchmark-neighbors.sh.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import time

K = 7
RECORD = 3073


def descent(program, data, distance):
    """The seconds that the search among all training images takes, as the command reports them, and its result."""
    command = [program, "neighbors", "--data", data, "--distance", distance, "--k", str(K), "--json"]
    # The validation split is a search as well; a small one leaves the time to the test.
    command += ["--validation-examples", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = re.findall(r"^test: ([0-9,]+) of \1 examples, each against ([0-9,]+): ([0-9.]+) s$", done.stderr, re.M)
    queries, examples, seconds = lines[-1]
    return float(seconds), f"{queries} × {examples}", json.loads(done.stdout)


def read(directory, pattern):
    import numpy as np

    files = sorted(pathlib.Path(directory).rglob(pattern))
    records = np.concatenate([np.fromfile(file, dtype=np.uint8).reshape(-1, RECORD) for file in files])
    return np.ascontiguousarray(records[:, 1:].astype(np.float32)), records[:, 0]


def faiss_index(distance, training):
    import faiss

    metric = faiss.METRIC_L1 if distance == "l1" else faiss.METRIC_L2
    index = faiss.IndexFlat(training.shape[1], metric)
    index.add(training)
    return index


def require_agreement(distance, result, distances):
    """The images shown must be as far from their neighbours as FAISS says, which computes in single precision."""
    for example in result["examples"]:
        for neighbor, found in zip(example["neighbors"], distances[example["index"]]):
            expected = neighbor["distance"] if distance == "l1" else neighbor["distance"] ** 2
            if abs(found - expected) > 1e-4 * expected:
                sys.exit(f"benchmark-neighbors: FAISS and Descent differ for test image {example['index']}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--descent", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--distance", choices=["l1", "l2"], action="append")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    try:
        import faiss  # noqa: F401
    except ImportError:
        faiss = None
        print("FAISS is skipped: this Python has no module faiss. Install it: pip install faiss-cpu", file=sys.stderr)
    if faiss:
        training, _ = read(arguments.data, "data_batch_*.bin")
        test, _ = read(arguments.data, "test_batch.bin")
    for distance in arguments.distance or ["l2", "l1"]:
        index = faiss_index(distance, training) if faiss else None
        ours, theirs = [], []
        for _ in range(arguments.repetitions):
            seconds, size, result = descent(arguments.descent, arguments.data, distance)
            ours.append(seconds)
            if index is None:
                continue
            began = time.perf_counter()
            distances, _ = index.search(test, K)
            theirs.append(time.perf_counter() - began)
            require_agreement(distance, result, distances)
        line = f"{distance}, k = {K}, {size}: Descent {statistics.median(ours):.2f} s"
        if theirs:
            median = statistics.median(theirs)
            line += f", FAISS {faiss.__version__} {median:.1f} s ({median / statistics.median(ours):.1f} times)"
        print(line, flush=True)


main()
