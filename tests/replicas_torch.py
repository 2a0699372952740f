"""Two processes of PyTorch's DistributedDataParallel: `python tests/replicas_torch.py FILE` prints as JSON what they do.

FILE is where they meet, and does not exist yet. KERAS_BACKEND must be torch."""

import json
import sys

import keras
import numpy as np
import torch
from keras import layers
from torch import distributed, multiprocessing

from masking_tutorial.losses_and_metrics import SharedMeanLoss

DRAW = np.random.default_rng(0)
VALID = np.arange(6) < np.array([1, 1, 6, 6])[:, None]
IDS = np.where(VALID, DRAW.integers(1, 9, VALID.shape), 0)
Y = DRAW.normal(size=(4, 6, 1)).astype("float32")
BATCHES = {"as it is": IDS, "an empty shard": np.where(np.arange(4)[:, None] < 2, 0, IDS)}
LOSSES = {"plain": keras.losses.MeanSquaredError, "shared": lambda: SharedMeanLoss("mse")}


def step(loss, ids, y, wrap=lambda model: model):
    "The loss and the gradients of a model on some sequences."
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(10, 4, mask_zero=True), layers.Dense(1)])
    wrapped = wrap(model)  # while it is there, gradients are averaged
    value = loss(torch.tensor(y), wrapped(torch.tensor(ids)))
    value.backward()
    return float(value.detach()), [weight.value.grad.numpy() for weight in model.trainable_variables]


def of_process(rank, meeting, results):
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    own, wrap = slice(2 * rank, 2 * rank + 2), torch.nn.parallel.DistributedDataParallel
    results.put({(name, loss): step(make(), ids[own], Y[own], wrap)
                 for name, ids in BATCHES.items() for loss, make in LOSSES.items()})  # fmt: skip
    distributed.destroy_process_group()


def apart(result, truth):
    return max(abs(result[0] - truth[0]), *(float(np.abs(a - b).max()) for a, b in zip(result[1], truth[1])))


if __name__ == "__main__":
    results = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(of_process, (sys.argv[1], results), nprocs=2)
    of_processes = [results.get() for _ in range(2)]
    truth = {name: step(LOSSES["plain"](), ids, Y) for name, ids in BATCHES.items()}
    print(json.dumps({loss: {name: [apart(result[name, loss], truth[name]) for result in of_processes]
                             for name in BATCHES}
                      for loss in LOSSES}))  # fmt: skip
