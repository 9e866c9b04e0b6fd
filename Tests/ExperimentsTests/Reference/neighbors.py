"""The nearest neighbours that NeighborSearchTests compares the search with, found by scikit-learn's brute force.

The first 5,000 training examples and the first 1,000 test examples of CIFAR-10. Of each test example: the class of its
nearest training example, and whether another one is at the same distance. Run it beside the tests to replace neighbors.json:

    python3 neighbors.py DIRECTORY-OF-CIFAR-10

With --all it prints the accuracy on everything instead, which takes half an hour on two cores.

Last run with Python 3.11.7, NumPy 2.4.6 and scikit-learn 1.9.1.
"""

import json
import pathlib
import sys

import numpy as np
from sklearn.neighbors import NearestNeighbors

RECORD = 3073


def read(directory, name):
    records = np.fromfile(next(directory.rglob(name)), dtype=np.uint8).reshape(-1, RECORD)
    return records[:, 1:].astype(np.float64), records[:, 0]


def main():
    directory = pathlib.Path(sys.argv[1])
    takes_all = "--all" in sys.argv
    parts = [read(directory, f"data_batch_{number}.bin") for number in range(1, 6 if takes_all else 2)]
    training, labels = (np.concatenate(arrays) for arrays in zip(*parts))
    test, truth = read(directory, "test_batch.bin")
    if not takes_all:
        training, labels, test, truth = training[:5000], labels[:5000], test[:1000], truth[:1000]
    reference = {}
    for distance, metric in (("l1", "manhattan"), ("l2", "sqeuclidean")):
        search = NearestNeighbors(n_neighbors=2, algorithm="brute", metric=metric, n_jobs=-1).fit(training)
        distances, indices = search.kneighbors(test)
        predictions = labels[indices[:, 0]]
        print(distance, "accuracy", float((predictions == truth).mean()))
        reference[distance] = {
            "classes": "".join(str(label) for label in predictions),
            "distances": [int(distance) for distance in distances[:, 0]],
            "tied": [int(row) for row in np.flatnonzero(distances[:, 0] == distances[:, 1])],
        }
    if not takes_all:
        pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(reference) + "\n")


main()
