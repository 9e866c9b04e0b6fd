"""The job of `descent train` in PyTorch: softmax regression on CIFAR-10, or a network with one hidden layer of ReLU
units, in one process or one of several.

Takes settings of Descent by their names. Several processes are DistributedDataParallel over gloo; start as many of them
as --ranks says, each with its --rank, and the same path for --store. Rank 0 prints one JSON object.
"""

import argparse
import json
import math
import pathlib
import time

import numpy
import torch
import torch.distributed as distributed
from torch.nn.functional import cross_entropy

PIXELS, CLASSES = 3072, 10
# Images that are converted at once: what this needs stays in the cache.
BLOCK = 256


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="directory with the binary files of CIFAR-10")
    parser.add_argument("--batch-size", type=int, required=True, help="examples per step, over all ranks together")
    parser.add_argument("--epochs", type=int, required=True, help="passes over the training examples")
    parser.add_argument("--validation-examples", type=int, required=True, help="held out of the training examples")
    parser.add_argument("--evaluate-every", type=int, required=True, help="steps between evaluations")
    parser.add_argument("--learning-rate", type=float, required=True, help="falls to zero as half a cosine wave")
    parser.add_argument("--l2", type=float, required=True, help="times the sum of squared weights is the penalty")
    parser.add_argument("--initial-standard-deviation", type=float, required=True, help="of the weights")
    parser.add_argument("--hidden", type=int, default=0, help="units of the hidden layer; 0 is the linear model")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="file to save the trained model in")
    parser.add_argument("--threads", type=int, default=1, help="per process")
    parser.add_argument("--ranks", type=int, default=1, help="processes")
    parser.add_argument("--rank", type=int, default=0, help="which of them this is")
    parser.add_argument("--store", type=pathlib.Path, help="file that does not exist, for the ranks to meet in")
    return parser.parse_args()


def read_records(paths: list[pathlib.Path]) -> torch.Tensor:
    """Records of a label and 3,072 pixels: [examples, 3073], uint8."""
    sizes = [path.stat().st_size for path in paths]
    records = numpy.empty(sum(sizes), numpy.uint8)
    for path, part in zip(paths, numpy.split(records, numpy.cumsum(sizes)[:-1])):
        with path.open("rb") as file:
            file.readinto(part)
    return torch.from_numpy(records.reshape(-1, 1 + PIXELS))


def to_floats(records: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixels [indices, 3072] of these records as float32 from 0 to 255, and their sum over the images [3072]."""
    images, total = torch.empty(len(indices), PIXELS), torch.zeros(PIXELS)
    for block, chosen in zip(images.split(BLOCK), indices.split(BLOCK)):
        block.copy_(records.index_select(0, chosen)[:, 1:])
        total += block.sum(0)
    return images, total


def normalize(images: torch.Tensor, mean_image: torch.Tensor) -> None:
    """(pixel - mean) / 127.5, in place."""
    for block in images.split(BLOCK):
        block.sub_(mean_image).div_(127.5)


class Job:
    """One rank's share of the data, and the model."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.ranks, self.rank = arguments.ranks, arguments.rank
        self.random = torch.Generator().manual_seed(arguments.seed)
        self.read_training_set()
        self.module = self.make_module()
        # From here on every rank draws numbers of its own.
        self.random.manual_seed(arguments.seed + 1 + self.rank)
        self.model = self.module
        if self.ranks > 1:
            self.model = torch.nn.parallel.DistributedDataParallel(self.module, gradient_as_bucket_view=True)
        # The penalty is l2 times the sum of squares, so its gradient is twice l2 times the weight. Not the bias.
        groups = [
            {"params": [p for p in self.module.parameters() if p.dim() == 2], "weight_decay": 2 * arguments.l2},
            {"params": [p for p in self.module.parameters() if p.dim() == 1], "weight_decay": 0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=arguments.learning_rate)

    def make_module(self) -> torch.nn.Module:
        """The linear model with the chosen standard deviation, a network with that of He et al.; biases are zero."""
        hidden = self.arguments.hidden
        if hidden == 0:
            layers = [torch.nn.Linear(PIXELS, CLASSES)]
            torch.nn.init.normal_(
                layers[0].weight, std=self.arguments.initial_standard_deviation, generator=self.random
            )
        else:
            layers = [torch.nn.Linear(PIXELS, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, CLASSES)]
            for layer in layers[::2]:
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=self.random)
        for layer in layers[::2]:
            torch.nn.init.zeros_(layer.bias)
        return torch.nn.Sequential(*layers)

    def sum_over_ranks(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.ranks > 1:
            distributed.all_reduce(tensor)
        return tensor

    def read_training_set(self) -> None:
        records = read_records(sorted(self.arguments.data.glob("data_batch_*.bin")))
        order = torch.randperm(len(records), generator=self.random)
        held_out, training = order.tensor_split([self.arguments.validation_examples])
        mine = training[self.rank :: self.ranks]
        self.batch_size = self.arguments.batch_size // self.ranks
        self.steps_per_epoch = len(training) // self.ranks // self.batch_size
        self.images, total = to_floats(records, mine)
        self.labels = records[mine, 0].long()
        self.mean_image = self.sum_over_ranks(total) / len(training)
        normalize(self.images, self.mean_image)
        self.validation = self.share(records, held_out)

    def share(self, records: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """This rank's part of a set to evaluate on: normalized images, labels."""
        mine = indices[self.rank :: self.ranks]
        images, _ = to_floats(records, mine)
        normalize(images, self.mean_image)
        return images, records[mine, 0].long()

    @torch.inference_mode()
    def accuracy(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Over the shares of all ranks, as a fraction; of no images it is not a number."""
        right = (self.module(images).argmax(1) == labels).sum()
        right, count = self.sum_over_ranks(torch.stack([right, torch.tensor(len(labels))])).tolist()
        return right / count if count > 0 else math.nan

    def train(self) -> dict[str, float]:
        """All epochs. The rate is that of the steady state: from the first evaluation to the last step."""
        steps, batch_size = self.arguments.epochs * self.steps_per_epoch, self.batch_size
        minibatch = torch.empty(batch_size, PIXELS)
        warm_up, began = 0, time.perf_counter()
        warm = began
        for step in range(steps):
            start = step % self.steps_per_epoch * batch_size
            if start == 0:
                order = torch.randperm(len(self.images), generator=self.random)
            chosen = order[start : start + batch_size]
            # Into the same memory each time: fresh memory would have to be mapped page by page.
            torch.index_select(self.images, 0, chosen, out=minibatch)
            for group in self.optimizer.param_groups:
                group["lr"] = self.arguments.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            self.optimizer.zero_grad()
            cross_entropy(self.model(minibatch), self.labels[chosen]).backward()
            self.optimizer.step()
            if (step + 1) % self.arguments.evaluate_every == 0 or step + 1 == steps:
                self.accuracy(*self.validation)
                if warm_up == 0:
                    warm_up, warm = step + 1, time.perf_counter()
        ended = time.perf_counter()
        if warm_up == steps:
            raise SystemExit(f"the run of {steps} steps has no steady state")
        rate = (steps - warm_up) * batch_size * self.ranks / (ended - warm)
        return {"steps": steps, "training_seconds": ended - began, "images_per_second": rate}

    def test(self) -> float:
        records = read_records([self.arguments.data / "test_batch.bin"])
        return self.accuracy(*self.share(records, torch.arange(len(records))))


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.ranks > 1:
        distributed.init_process_group(
            "gloo", init_method=arguments.store.resolve().as_uri(), rank=arguments.rank, world_size=arguments.ranks
        )
    job = Job(arguments)
    result = job.train()
    result["test_accuracy"] = job.test()
    if arguments.rank == 0:
        torch.save(job.module.state_dict(), arguments.model)
        print(json.dumps(result))
    if arguments.ranks > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
