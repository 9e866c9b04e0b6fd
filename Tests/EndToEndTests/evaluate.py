# Loads a model of Descent with NumPy alone and prints its accuracy: evaluate.py model.safetensors DATA
import json, struct, sys
import numpy as np

raw = open(sys.argv[1], "rb").read()
size, = struct.unpack_from("<Q", raw)
header = json.loads(raw[8 : 8 + size])
tensor = lambda n: np.frombuffer(raw[8 + size :][slice(*header[n]["data_offsets"])], "<f4").reshape(header[n]["shape"])
records = np.fromfile(sys.argv[2] + "/test_batch.bin", np.uint8).reshape(-1, 3073)
x = (records[:, 1:] - tensor("mean_image")) / np.float32(127.5)
print(np.mean(np.argmax(x @ tensor("weight").T + tensor("bias"), axis=1) == records[:, 0]))
