"""The weights that OptimizationTests compares the optimizers' formulas with, computed by PyTorch in float64.

Each optimizer of PyTorch follows the same ten gradients of one weight; a penalty of l2 * w**2 is its weight_decay of 2 * l2.
Run it beside the tests to write optimizers.json anew:

    python3 optimizers.py

Last run with Python 3.11.2 and PyTorch 2.13.0+cpu.
"""

import json
import pathlib

import torch

FIRST_WEIGHT, LEARNING_RATE = 0.75, 0.0625
GRADIENTS = [1.5, -0.25, 0.5, 2.0, -3.0, 0.125, 0.0, 1e-3, -1.0, 0.75]


def run(optimizer, l2, **hyperparameters):
    value = hyperparameters.get
    weight = torch.nn.Parameter(torch.tensor([FIRST_WEIGHT], dtype=torch.float64))
    make = {
        "sgd": lambda: torch.optim.SGD([weight], LEARNING_RATE, weight_decay=2 * l2),
        "momentum": lambda: torch.optim.SGD([weight], LEARNING_RATE, value("momentum"), weight_decay=2 * l2),
        "nesterov": lambda: torch.optim.SGD(
            [weight], LEARNING_RATE, value("momentum"), weight_decay=2 * l2, nesterov=True),
        "adagrad": lambda: torch.optim.Adagrad([weight], LEARNING_RATE, weight_decay=2 * l2, eps=value("epsilon")),
        "rmsprop": lambda: torch.optim.RMSprop(
            [weight], LEARNING_RATE, value("decay-rate"), value("epsilon"), weight_decay=2 * l2),
        "adam": lambda: torch.optim.Adam(
            [weight], LEARNING_RATE, (value("beta1"), value("beta2")), value("epsilon"), weight_decay=2 * l2),
        "adamw": lambda: torch.optim.AdamW(
            [weight], LEARNING_RATE, (value("beta1"), value("beta2")), value("epsilon"), weight_decay=2 * l2),
    }[optimizer]
    algorithm, weights = make(), []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        algorithm.step()
        weights.append(weight.item())
    return {"optimizer": optimizer, "hyperparameters": hyperparameters, "l2": l2, "weights": weights}


def main():
    adam = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    fast = {"beta1": 0.5, "beta2": 0.75, "epsilon": 1e-3}
    runs = []
    for l2 in (0, 0.25):
        runs += [
            run("sgd", l2),
            run("momentum", l2, momentum=0.9),
            run("nesterov", l2, momentum=0.9),
            run("adagrad", l2, epsilon=1e-10),
            run("rmsprop", l2, **{"decay-rate": 0.99, "epsilon": 1e-8}),
            run("adam", l2, **adam),
            run("adam", l2, **fast),
            run("adamw", l2, **adam),
            run("adamw", l2, **fast),
        ]
    reference = {"gradients": GRADIENTS, "firstWeight": FIRST_WEIGHT, "learningRate": LEARNING_RATE}
    lines = ",\n".join(json.dumps(result) for result in runs)
    text = json.dumps(reference)[:-1] + ', "runs": [\n' + lines + "\n]}\n"
    pathlib.Path(__file__).with_suffix(".json").write_text(text)


if __name__ == "__main__":
    main()
