"""The losses that ExperimentsTests compares those of the kernels with, computed by NumPy in float64.

Weights, directions and data are those of the experiments: the first 500 examples of CIFAR-10's data_batch_1.bin, weights of
standard deviation 0.0001 for bytes, the generator Philox4x64 with the seed 1. Run it beside the tests to write slopes.json:

    DESCENT_DATA=data/cifar10 python3 slopes.py

Last run with Python 3.11.2 and NumPy 2.4.6.
"""

import json
import os
import pathlib

import numpy as np

CLASSES, PIXELS, EXAMPLES, SEED, SCALE, L2 = 10, 3072, 500, 1, 0.0001, 0.001
PARAMETERS = CLASSES * (PIXELS + 1)
WEIGHTS_STREAM, SLICE_STREAM = 7, 8


def normals(stream, first, count):
    """The numbers first ... of the sequence of normal numbers of a stream: Box and Muller, from a block of Philox each."""
    # NumPy adds one to the counter before the first block.
    generator = np.random.Philox(key=SEED + (stream << 64), counter=(first - 1) % 2**256)
    words = generator.random_raw(4 * count).reshape(count, 4)
    radius = np.sqrt(-2 * np.log(((words[:, 0] >> np.uint64(11)) + np.uint64(1)) * 2.0**-53))
    return radius * np.cos(2 * np.pi * (words[:, 1] >> np.uint64(11)) * 2.0**-53)


def single(values):
    return values.astype(np.float32).astype(np.float64)


def weights(index):
    w = SCALE * normals(WEIGHTS_STREAM, index * PARAMETERS, PARAMETERS)
    w[: CLASSES * PIXELS] *= 127.5
    return single(w)


def scores(w, x):
    return x @ w[: CLASSES * PIXELS].reshape(CLASSES, PIXELS).T + w[CLASSES * PIXELS :]


def losses(kind, s, y):
    """The loss of each example, and its derivative by each score."""
    rows = np.arange(len(y))
    if kind == "svm":
        margins = np.maximum(0, s - s[rows, y][:, None] + 1)
        margins[rows, y] = 0
        ds = (margins > 0).astype(np.float64)
        ds[rows, y] = -ds.sum(1)
        return margins.sum(1), ds
    s = s - s.max(1, keepdims=True)
    p = np.exp(s)
    total = p.sum(1)
    ds = p / total[:, None]
    ds[rows, y] -= 1
    return np.log(total) - s[rows, y], ds


def gradient(kind, w, x, y, l2):
    ds = losses(kind, scores(w, x), y)[1] / len(y)
    g = np.concatenate([(ds.T @ x).ravel(), ds.sum(0)])
    g[: CLASSES * PIXELS] += 2 * l2 * w[: CLASSES * PIXELS]
    return g


def unit(v):
    return v / np.linalg.norm(v)


def slices(kind, w, x, y):
    """L(W + a W1 + b W2) along random directions and along the gradient."""
    result = []
    second = unit(normals(SLICE_STREAM, PARAMETERS, PARAMETERS))
    gradients = {"random": normals(SLICE_STREAM, 0, PARAMETERS), "gradient": -gradient(kind, w, x, y, L2)}
    for along, direction in gradients.items():
        first = unit(direction)
        other = unit(second - (first @ second) * first)
        reach = 40 if along == "random" else 1
        for count in (1, 100, EXAMPLES):
            grid = [
                losses(kind, scores(w + a * first + b * other, x[:count]), y[:count])[0].mean()
                for b in (-reach, 0, reach) for a in (-reach, 0, reach)
            ]
            result.append({"loss": kind, "along": along, "range": reach, "examples": count, "plane": grid})
    return result


def main():
    file = pathlib.Path(os.environ["DESCENT_DATA"]) / "data_batch_1.bin"
    records = np.fromfile(file, np.uint8, EXAMPLES * (1 + PIXELS)).reshape(EXAMPLES, 1 + PIXELS)
    y, pixels = records[:, 0].astype(int), records[:, 1:].astype(np.float64)
    x = (pixels - single(pixels.mean(0))) / 127.5
    reference = {"examples": EXAMPLES, "seed": SEED, "scale": SCALE, "l2": L2, "tries": [], "steps": [], "slices": []}
    for kind in ("softmax", "svm"):
        for index in (0, 1, 2):
            s = scores(weights(index), x)
            reference["tries"].append({
                "loss": kind, "index": index, "value": losses(kind, s, y)[0].mean(),
                "accuracy": (s.argmax(1) == y).mean()})
        w = weights(0)
        g = gradient(kind, w, x, y, 0)
        for size in (1e-3, 1e-2, 1.0):
            value = losses(kind, scores(w - size * g, x), y)[0].mean()
            reference["steps"].append({
                "loss": kind, "size": size, "value": value, "gradientNorm": np.linalg.norm(g)})
        reference["slices"] += slices(kind, w, x, y)
    path = pathlib.Path(__file__).with_name("slopes.json")
    path.write_text(json.dumps(reference, indent=1) + "\n")


main()
