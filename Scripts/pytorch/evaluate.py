# Accuracy of a checkpoint's network in PyTorch: evaluate.py MODEL.safetensors DATA
import sys, numpy, safetensors, torch
from torch import nn

with safetensors.safe_open(sys.argv[1], "pt") as file:
    tensors, name = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()["activation"]
    parameter = float(file.metadata().get("activation_parameter", 0))
kinds = {"relu": nn.ReLU, "leaky-relu": lambda: nn.LeakyReLU(parameter), "elu": lambda: nn.ELU(parameter),
         "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}
mean = tensors.pop("mean_image")
shapes = [tensors[f"{2 * layer}.weight"].shape for layer in range(len(tensors) // 2)]
layers = [part for rows, columns in shapes for part in (nn.Linear(columns, rows), kinds[name]())]
model = nn.Sequential(*layers[:-1])
model.load_state_dict(tensors)
records = torch.from_numpy(numpy.fromfile(sys.argv[2] + "/test_batch.bin", numpy.uint8).reshape(-1, 1 + len(mean)))
print((model((records[:, 1:] - mean) / 127.5).argmax(1) == records[:, 0]).float().mean().item())
