"""The numbers that OptimizationTests compares the Swift code with, computed by NumPy in float64.

Written from the definitions, not from the Swift code: numpy.random.Philox gives the random words, everything else is
spelled out below. Run it beside the tests to write trajectories.json anew:

    python3 trajectories.py

Last run with Python 3.11.7 and NumPy 2.4.6.
"""

import json
import math
import pathlib

import numpy as np

CLASSES, PIXELS = 10, 3072
EXAMPLES, VALIDATION, SHARDS, BATCH = 253, 34, 4, 32
SEED, STEPS = 20_170_411, 20
INITIAL_STREAM, SPLIT_STREAM, ORDER_STREAM = 1, 2, 3

# ---------------------------------------------------------------------------------------------- random numbers


def philox(seed, stream, counter):
    """The bit generator whose first block is that of `counter`, four words, the first one running.

    NumPy adds one to the 256-bit counter before it computes a block.
    """
    number = sum(int(word) << (64 * place) for place, word in enumerate(counter))
    before = (number - 1) % (1 << 256)
    words = [(before >> (64 * place)) & (2**64 - 1) for place in range(4)]
    return np.random.Philox(key=np.array([seed, stream], np.uint64), counter=np.array(words, np.uint64))


def words(generator):
    while True:
        yield from (int(word) for word in generator.random_raw(256))


def below(stream, bound):
    """Lemire's unbiased integer in 0 ..< bound."""
    while True:
        product = next(stream) * bound
        if product % 2**64 >= 2**64 % bound:
            return product >> 64


def shuffled(elements, stream):
    elements = list(elements)
    for last in range(len(elements) - 1, 0, -1):
        chosen = below(stream, last + 1)
        elements[chosen], elements[last] = elements[last], elements[chosen]
    return elements


def normal(seed, index):
    first, second = (int(word) for word in philox(seed, INITIAL_STREAM, (index, 0, 0, 0)).random_raw(2))
    radius = math.sqrt(-2 * math.log(((first >> 11) + 1) / 2**53))
    return radius * math.cos(2 * math.pi * (second >> 11) / 2**53)


# ------------------------------------------------------------------------------------------- data and sampling


def mix(x):
    """The finalizer of splitmix64 on an array of uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def synthetic_examples():
    """Labels in rising order, and pixels that are one quarter a pattern of the class and three quarters noise."""
    labels = np.arange(EXAMPLES) * CLASSES // EXAMPLES
    pixel = np.arange(1, PIXELS + 1, dtype=np.uint64)
    pattern = mix((labels.astype(np.uint64)[:, None] << np.uint64(32)) + pixel) >> np.uint64(56)
    example = np.arange(EXAMPLES, dtype=np.uint64)[:, None]
    noise = mix((np.uint64(1) << np.uint64(40)) + (example << np.uint64(12)) + pixel) >> np.uint64(56)
    return labels, ((pattern + np.uint64(3) * noise) // np.uint64(4)).astype(np.float64)


def split():
    order = shuffled(range(EXAMPLES), words(philox(SEED, SPLIT_STREAM, (0, 0, 0, 0))))
    training = order[VALIDATION:]
    return order[:VALIDATION], [training[shard::SHARDS] for shard in range(SHARDS)]


def minibatch(shards, shard, step):
    each = BATCH // SHARDS
    steps_per_epoch = min(map(len, shards)) // each
    epoch, place = divmod(step, steps_per_epoch)
    order = shuffled(shards[shard], words(philox(SEED, ORDER_STREAM, (0, epoch, shard, 0))))
    return order[place * each:(place + 1) * each]


# ------------------------------------------------------------------------------------------------ optimization


def softmax(scores, labels):
    rows = np.arange(len(labels))
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    derivative = exponentials / sums
    derivative[rows, labels] -= 1
    return np.log(sums[:, 0]) - shifted[rows, labels], derivative


def hinge(scores, labels):
    rows = np.arange(len(labels))
    margins = scores - scores[rows, labels][:, None] + 1
    margins[rows, labels] = -np.inf
    derivative = (margins > 0).astype(np.float64)
    derivative[rows, labels] = -derivative.sum(axis=1)
    return np.maximum(margins, 0).sum(axis=1), derivative


def nearest_kink(scores, labels):
    rows = np.arange(len(labels))
    margins = scores - scores[rows, labels][:, None] + 1
    margins[rows, labels] = np.inf
    return np.abs(margins).min()


def rate(settings, step):
    base, warmup = float(np.float32(settings["learningRate"])), settings["warmupSteps"]
    if step < warmup:
        return float(np.float32(base * (step + 1) / warmup))
    since = step - warmup
    factor = {
        "constant": lambda: 1.0,
        "step": lambda: 0.5 ** (since // 5),
        "cosine": lambda: (1 + math.cos(math.pi * since / (STEPS - warmup))) / 2,
    }[settings["schedule"]]()
    return float(np.float32(base * factor))


def trajectory(settings, inputs, labels, shards):
    """W is [K, D] and b is [K]; the penalty counts W alone."""
    loss = {"softmax": softmax, "hinge": hinge}[settings["loss"]]
    l2, mu = float(np.float32(settings["l2"])), float(np.float32(settings["momentum"]))
    deviation = float(np.float32(settings["initialStandardDeviation"]))
    weight = np.array([np.float32(deviation * normal(SEED, i)) for i in range(CLASSES * PIXELS)], np.float64)
    weight, bias = weight.reshape(CLASSES, PIXELS), np.zeros(CLASSES)
    velocities = [np.zeros_like(weight), np.zeros_like(bias)]
    losses, norms, correct, kink = [], [], [], np.inf
    for step in range(STEPS):
        indices = [index for shard in range(SHARDS) for index in minibatch(shards, shard, step)]
        x, y = inputs[indices], labels[indices]
        scores = x @ weight.T + bias
        values, derivative = loss(scores, y)
        if settings["loss"] == "hinge":
            kink = min(kink, nearest_kink(scores, y))
        gradients = [derivative.T @ x / BATCH + 2 * l2 * weight, derivative.mean(axis=0)]
        losses.append(values.mean())
        norms.append(math.sqrt(sum((g * g).sum() for g in gradients)))
        correct.append(int((scores.argmax(axis=1) == y).sum()))
        for parameters, gradient, velocity in zip([weight, bias], gradients, velocities):
            velocity *= mu
            velocity += gradient
            direction = gradient + mu * velocity if settings["kind"] == "nesterov" else velocity
            parameters -= rate(settings, step) * direction
    flat = np.concatenate([weight.ravel(), bias])
    chosen = list(range(0, flat.size, 1024)) + list(range(flat.size - CLASSES, flat.size))
    return {
        "settings": settings,
        "losses": losses,
        "gradientNorms": norms,
        "correct": correct,
        "nearestKink": None if np.isinf(kink) else kink,
        "chosenIndices": chosen,
        "chosenParameters": flat[chosen].tolist(),
        "sumOfParameters": flat.sum(),
        "sumOfSquares": (flat * flat).sum(),
        "sumOfMagnitudes": np.abs(flat).sum(),
    }


def variants():
    names = ("loss", "momentum", "kind", "schedule", "warmupSteps", "learningRate", "l2", "initialStandardDeviation")
    rows = [
        ("softmax", 0.0, "polyak", "constant", 0, 0.01, 0.0, 0.001),
        ("softmax", 0.9, "polyak", "cosine", 4, 0.01, 0.001, 0.001),
        ("softmax", 0.9, "nesterov", "step", 3, 0.01, 0.1, 0.01),
        ("hinge", 0.0, "polyak", "cosine", 0, 0.001, 0.001, 0.001),
        ("hinge", 0.5, "polyak", "step", 4, 0.0005, 0.1, 0.001),
        ("hinge", 0.9, "nesterov", "constant", 5, 0.00005, 0.001, 0.0),
    ]
    return [dict(zip(names, row)) for row in rows]


def philox_blocks():
    cases = [
        ((0, 0), (0, 0, 0, 0)),
        ((0, 0), (1, 0, 0, 0)),
        ((2**64 - 1, 2**64 - 1), (2**64 - 1, 2**64 - 1, 2**64 - 1, 2**64 - 1)),
        ((0x452821E638D01377, 0xBE5466CF34E90C6C),
         (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89)),
        ((SEED, ORDER_STREAM), (7, 3, 2, 0)),
    ]
    return [
        {"key": key, "counter": counter, "words": [int(w) for w in philox(*key, counter).random_raw(4)]}
        for key, counter in cases
    ]


def main():
    labels, pixels = synthetic_examples()
    validation, shards = split()
    training = sorted(index for shard in shards for index in shard)
    mean = pixels[training].mean(axis=0).astype(np.float32).astype(np.float64)
    inputs = (pixels - mean) / 127.5
    stream = words(philox(SEED, SPLIT_STREAM, (0, 5, 6, 0)))
    bounds = [1, 2, 3, 10, 1000, 2**32, 2**63 + 1, 2**64 - 1] * 4
    reference = {
        "philox": philox_blocks(),
        "bounded": {"epoch": 5, "shard": 6, "bounds": bounds, "values": [below(stream, bound) for bound in bounds]},
        "normals": [normal(SEED, index) for index in range(200)],
        "pixelSum": int(pixels.sum()),
        "validation": validation,
        "shards": shards,
        "minibatches": [
            {"shard": shard, "step": step, "examples": minibatch(shards, shard, step)}
            for shard, step in [(0, 0), (0, 1), (3, 5), (3, 6), (1, 19), (2, 6_000_000)]
        ],
        "trajectories": [trajectory(settings, inputs, labels, shards) for settings in variants()],
    }
    for result in reference["trajectories"]:
        print(result["settings"], result["losses"][0], result["losses"][-1], result["correct"][-1],
              result["nearestKink"])
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(one_line_per_part(reference))


def one_line_per_part(reference):
    parts = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in reference.items() if name != "trajectories")
    runs = ",\n".join(json.dumps(run) for run in reference["trajectories"])
    return "{\n" + ",\n".join(parts) + ',\n"trajectories": [\n' + runs + "\n]}\n"


if __name__ == "__main__":
    main()
