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
INITIAL_STREAM, SPLIT_STREAM, ORDER_STREAM, DROPOUT_STREAM = 1, 2, 3, 5

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


def excess(scores, labels, margin):
    rows = np.arange(len(labels))
    excess = np.maximum(scores - scores[rows, labels][:, None] + margin, 0)
    excess[rows, labels] = 0
    return excess


def hinge_of_margin(scores, labels, margin):
    violations = excess(scores, labels, margin)
    derivative = (violations > 0).astype(np.float64)
    derivative[np.arange(len(labels)), labels] = -derivative.sum(axis=1)
    return violations.sum(axis=1), derivative


def squared_hinge(scores, labels, margin):
    violations = excess(scores, labels, margin)
    derivative = 2 * violations
    derivative[np.arange(len(labels)), labels] = -derivative.sum(axis=1)
    return (violations**2).sum(axis=1), derivative


def logistic(scores, labels, _):
    targets = np.eye(CLASSES)[labels]
    return np.logaddexp(0, np.where(targets == 1, -scores, scores)).sum(axis=1), 1 / (1 + np.exp(-scores)) - targets


def squared_error(scores, labels, _):
    errors = scores - np.eye(CLASSES)[labels]
    return (errors**2).sum(axis=1), 2 * errors


def sigmoid_squared_error(scores, labels, _):
    outputs = 1 / (1 + np.exp(-scores))
    errors = outputs - np.eye(CLASSES)[labels]
    return (errors**2).sum(axis=1), 2 * errors * outputs * (1 - outputs)


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


def optimizer(settings):
    """The direction d of w -= rate * d as a function of the step t = 1, 2, ..., the gradient and the vectors of the state."""
    mu = float(np.float32(settings["momentum"]))
    rho, beta1, beta2, epsilon = 0.99, 0.9, 0.999, 1e-8

    def polyak(t, gradient, velocity, _):
        velocity *= mu
        velocity += gradient
        return velocity

    def nesterov(t, gradient, velocity, _):
        return gradient + mu * polyak(t, gradient, velocity, _)

    def adagrad(t, gradient, square_sum, _):
        square_sum += gradient**2
        return gradient / (np.sqrt(square_sum) + epsilon)

    def rmsprop(t, gradient, square_average, _):
        square_average *= rho
        square_average += (1 - rho) * gradient**2
        return gradient / (np.sqrt(square_average) + epsilon)

    def adam(t, gradient, m, v):
        m *= beta1
        m += (1 - beta1) * gradient
        v *= beta2
        v += (1 - beta2) * gradient**2
        return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)

    return locals()["adam" if settings["kind"] == "adamw" else settings["kind"]]


def trajectory(settings, inputs, labels, shards):
    """W is [K, D] and b is [K]; the penalty counts W alone, and so does the limit of the norms of its rows."""
    loss = {"softmax": softmax, "hinge": hinge}[settings["loss"]]
    l2, l1, limit = (float(np.float32(settings.get(name, 0))) for name in ("l2", "l1", "maxNorm"))
    direction = optimizer(settings)
    deviation = float(np.float32(settings["initialStandardDeviation"]))
    weight = np.array([np.float32(deviation * normal(SEED, i)) for i in range(CLASSES * PIXELS)], np.float64)
    weight, bias = weight.reshape(CLASSES, PIXELS), np.zeros(CLASSES)
    states = [[np.zeros_like(parameters), np.zeros_like(parameters)] for parameters in (weight, bias)]
    losses, norms, correct, kink = [], [], [], np.inf
    for step in range(STEPS):
        indices = [index for shard in range(SHARDS) for index in minibatch(shards, shard, step)]
        x, y = inputs[indices], labels[indices]
        scores = x @ weight.T + bias
        values, derivative = loss(scores, y)
        if settings["loss"] == "hinge":
            kink = min(kink, nearest_kink(scores, y))
        penalties = [2 * l2 * weight + l1 * np.sign(weight), np.zeros_like(bias)]
        gradients = [derivative.T @ x / BATCH + penalties[0], derivative.mean(axis=0)]
        losses.append(values.mean())
        norms.append(math.sqrt(sum((g * g).sum() for g in gradients)))
        correct.append(int((scores.argmax(axis=1) == y).sum()))
        for parameters, gradient, penalty, state in zip([weight, bias], gradients, penalties, states):
            decoupled = penalty if settings["kind"] == "adamw" else 0
            parameters -= rate(settings, step) * (direction(step + 1, gradient - decoupled, *state) + decoupled)
        if limit:
            lengths = np.linalg.norm(weight, axis=1, keepdims=True)
            weight *= np.minimum(1, limit / lengths)
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


def activations(kind, parameter):
    """f and f′ of z."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    return {
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
        "leaky-relu": (lambda z: np.where(z > 0, z, parameter * z), lambda z: np.where(z > 0, 1, parameter)),
        "elu": (
            lambda z: np.where(z > 0, z, parameter * np.expm1(np.minimum(z, 0))),
            lambda z: np.where(z > 0, 1, parameter * np.exp(np.minimum(z, 0))),
        ),
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
        "identity": (lambda z: z, np.ones_like),
    }[kind]


def dropout_mask(p, step, examples, layer, units):
    """0 where a 32-bit number is below p · 2³², and 1 / (1 − p) elsewhere; eight numbers to a block."""
    threshold = int(p * 2**32)
    if p == 0:
        return np.ones((len(examples), units))
    rows = []
    for example in examples:
        halves = []
        for block in range((units + 7) // 8):
            for word in philox(SEED, DROPOUT_STREAM, (block, example, step, layer)).random_raw(4):
                halves += [int(word) & (2**32 - 1), int(word) >> 32]
        rows.append([half >= threshold for half in halves[:units]])
    return np.array(rows) * float(np.float32(1 / (1 - p)))


def network(settings, inputs, labels, shards):
    """Fully connected layers, each with W [outputs, inputs] and b [outputs]; Polyak's momentum, a constant rate."""
    loss = {
        "softmax": lambda scores, labels, _: softmax(scores, labels), "svm": hinge_of_margin,
        "squared-hinge": squared_hinge, "logistic": logistic, "squared-error": squared_error,
        "sigmoid-squared-error": sigmoid_squared_error,
    }[settings["loss"]]
    l2, mu, eta, margin, p, parameter = (
        float(np.float32(settings[name]))
        for name in ("l2", "momentum", "learningRate", "margin", "dropout", "activationParameter"))
    f, derivative_of_f = activations(settings["activation"], parameter)
    sizes = [PIXELS] + settings["hidden"] + [CLASSES]
    layers, index = [], 0
    for columns, rows in zip(sizes, sizes[1:]):
        deviation = {
            "normal": 0.001, "he": math.sqrt(2 / columns), "xavier": math.sqrt(2 / (columns + rows)),
        }[settings["initialization"]]
        deviation = float(np.float32(deviation)) if settings["initialization"] == "normal" else deviation
        weight = [float(np.float32(deviation * normal(SEED, index + i))) for i in range(rows * columns)]
        layers.append((np.array(weight).reshape(rows, columns), np.zeros(rows)))
        index += rows * columns + rows
    velocities = [tuple(np.zeros_like(part) for part in layer) for layer in layers]
    divisor = BATCH if settings["reduction"] == "mean" else 1
    losses, norms, correct, kink = [], [], [], np.inf
    for step in range(STEPS):
        indices = [index for shard in range(SHARDS) for index in minibatch(shards, shard, step)]
        h, y = [inputs[indices]], labels[indices]
        z, masks = [], []
        for place, (weight, bias) in enumerate(layers):
            z.append(h[-1] @ weight.T + bias)
            if place + 1 < len(layers):
                masks.append(dropout_mask(p, step, indices, place, len(bias)))
                h.append(f(z[-1]) * masks[-1])
                if settings["activation"] in ("relu", "leaky-relu", "elu"):
                    kink = min(kink, np.abs(z[-1]).min())
        values, dz = loss(z[-1], y, margin)
        if settings["loss"] == "svm":
            kink = min(kink, nearest_kink(z[-1] + (margin - 1) * (1 - np.eye(CLASSES)[y]), y))
        gradients = [None] * len(layers)
        dz = dz / divisor
        for place in reversed(range(len(layers))):
            weight, _ = layers[place]
            gradients[place] = (dz.T @ h[place] + 2 * l2 * weight, dz.sum(axis=0))
            if place:
                dz = (dz @ weight) * masks[place - 1] * derivative_of_f(z[place - 1])
        losses.append(values.mean())
        norms.append(math.sqrt(sum((part * part).sum() for gradient in gradients for part in gradient)))
        correct.append(int((z[-1].argmax(axis=1) == y).sum()))
        for layer, gradient, velocity in zip(layers, gradients, velocities):
            for parameters, g, v in zip(layer, gradient, velocity):
                v *= mu
                v += g
                parameters -= eta * v
    flat = np.concatenate([part.ravel() for layer in layers for part in layer])
    chosen = list(range(0, flat.size, 1024)) + list(range(flat.size - CLASSES, flat.size))
    return {
        "settings": settings,
        "losses": losses,
        "gradientNorms": norms,
        "correct": correct,
        "nearestKink": None if np.isinf(kink) else kink,
        "chosenIndices": chosen,
        "chosenParameters": flat[chosen].tolist(),
        "sumOfSquares": (flat * flat).sum(),
    }


def networks():
    names = (
        "loss", "margin", "reduction", "hidden", "activation", "activationParameter", "dropout", "initialization",
        "l2", "momentum", "learningRate")
    rows = [
        ("squared-hinge", 1.0, "mean", [], "identity", 0, 0.0, "normal", 0.001, 0.0, 0.0005),
        ("logistic", 1.0, "mean", [], "identity", 0, 0.0, "normal", 0.001, 0.9, 0.002),
        ("squared-error", 1.0, "mean", [], "identity", 0, 0.0, "normal", 0.001, 0.0, 0.0005),
        ("sigmoid-squared-error", 1.0, "mean", [], "identity", 0, 0.0, "normal", 0.001, 0.9, 0.01),
        ("svm", 10.0, "sum", [], "identity", 0, 0.0, "normal", 0.001, 0.0, 0.00002),
        ("squared-hinge", 0.5, "mean", [], "identity", 0, 0.0, "normal", 0.01, 0.5, 0.0005),
        ("softmax", 1.0, "mean", [12], "relu", 0, 0.0, "he", 0.001, 0.9, 0.01),
        ("softmax", 1.0, "sum", [12, 9], "leaky-relu", 0.2, 0.0, "he", 0.001, 0.9, 0.0003),
        ("softmax", 1.0, "mean", [17], "relu", 0, 0.5, "he", 0.001, 0.9, 0.01),
        ("softmax", 1.0, "mean", [10, 6], "elu", 1.5, 0.25, "he", 0.01, 0.5, 0.01),
        ("softmax", 1.0, "mean", [12], "tanh", 0, 0.0, "xavier", 0.001, 0.9, 0.02),
        ("logistic", 1.0, "mean", [8, 8, 8], "sigmoid", 0, 0.0, "xavier", 0.0, 0.9, 0.05),
        ("svm", 1.0, "mean", [12], "relu", 0, 0.0, "he", 0.001, 0.0, 0.005),
        ("squared-hinge", 1.0, "mean", [12], "leaky-relu", 0.1, 0.0, "he", 0.001, 0.5, 0.001),
        ("squared-error", 1.0, "mean", [5, 7], "identity", 0, 0.1, "xavier", 0.001, 0.9, 0.001),
    ]
    return [dict(zip(names, row)) for row in rows]


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
    regularizers = [
        ("softmax", 0.9, "polyak", "constant", 0, 0.001, 0.0, 0.01),
        ("softmax", 0.0, "polyak", "constant", 0, 0.01, 0.1, 0.01),
        ("softmax", 0.9, "nesterov", "constant", 0, 0.001, 0.001, 0.01),
    ]
    optimizers = [
        ("softmax", 0.0, "adagrad", "constant", 0, 0.001, 0.001, 0.01),
        ("softmax", 0.0, "rmsprop", "cosine", 4, 0.0001, 0.001, 0.01),
        ("softmax", 0.0, "adam", "step", 3, 0.0005, 0.1, 0.01),
        ("softmax", 0.0, "adamw", "constant", 0, 0.0005, 0.1, 0.01),
        ("hinge", 0.0, "adam", "constant", 0, 0.0001, 0.01, 0.01),
    ]
    # Only L1, elastic net, and a limit that the first step of each row exceeds.
    additions = [{"l1": 0.001}, {"l1": 0.001}, {"maxNorm": 0.5}]
    rows += regularizers + optimizers
    additions = [{}] * 6 + additions + [{}] * len(optimizers)
    return [dict(zip(names, row)) | addition for row, addition in zip(rows, additions)]


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
        "networks": [network(settings, inputs, labels, shards) for settings in networks()],
        "trajectories": [trajectory(settings, inputs, labels, shards) for settings in variants()],
    }
    for result in reference["networks"] + reference["trajectories"]:
        print(result["settings"], result["losses"][0], result["losses"][-1], result["correct"][-1],
              result["nearestKink"])
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(one_line_per_part(reference))


def one_line_per_part(reference):
    parts = []
    for name, value in reference.items():
        is_list = name in ("networks", "trajectories")
        text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if is_list else json.dumps(value)
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    main()
