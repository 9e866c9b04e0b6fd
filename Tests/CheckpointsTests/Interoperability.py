"""The other side of InteroperabilityTests.swift: the reference implementation of the safetensors format.

  Interoperability.py write FILE   write a model of 2 classes and 3 pixels
  Interoperability.py read FILE    print what a file holds, as one JSON object
"""

import json
import sys

import numpy
import safetensors
import safetensors.numpy


def write(path):
    tensors = {
        "weight": numpy.array([[1, -2, 3], [0.5, 0.25, -0.125]], dtype=numpy.float32),
        "bias": numpy.array([0.1, -0.2], dtype=numpy.float32),
        "mean_image": numpy.array([10, 20.5, 255], dtype=numpy.float32),
    }
    safetensors.numpy.save_file(tensors, path, metadata={"loss": "svm"})


def read(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        result = {
            "metadata": file.metadata(),
            "shapes": {name: list(array.shape) for name, array in tensors.items()},
            "bits": {name: array.view(numpy.uint32).flatten().tolist() for name, array in tensors.items()},
        }
    print(json.dumps(result))


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])
