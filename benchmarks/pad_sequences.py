"""How long padding takes, beside the peers that start from the same input and beside the least that must be done.

The floor reads the values once, fills the result once and writes as many values into it, all in one piece and thus
not in their places: no function that returns the padded array can do much less.
"""

import os
from itertools import chain

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.common import arguments, bars, installed, machine, side_by_side, table, verdict
from masking_tutorial.padding import pad_flat, pad_sequences

SIZES = {"100,000 of about 8": (100_000, 8), "20,000 of about 40": (20_000, 40), "2,000 of about 400": (2_000, 400)}
OURS, FLOOR = "masking_tutorial", "floor"


def made(count, mean):
    """Ids in three forms: lists, arrays, and flat values with lengths. The lengths are log-normal."""
    random = np.random.default_rng(0)
    sigma = 0.6
    lengths = np.maximum(1, random.lognormal(np.log(mean) - sigma**2 / 2, sigma, count).round().astype(int))
    flat = random.integers(1, 20_000, lengths.sum(), dtype="int32")
    # each array has memory of its own, as it has where sequences come one by one
    arrays = [part.copy() for part in np.split(flat, np.cumsum(lengths)[:-1])]
    return [part.tolist() for part in arrays], arrays, flat, lengths


def floor(values, count, steps):
    padded = np.full((count, steps), 0, "int32")
    padded.reshape(-1)[: len(values)] = values
    return padded


def contenders(count, mean):
    """For each form of input, what turns it into one array (sequences, steps) padded after the data."""
    lists, arrays, flat, lengths = made(count, mean)
    steps = int(lengths.max())
    of_torch = of_awkward = None
    if installed("torch"):
        import torch

        def of_torch(tensors):
            return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True).numpy()

    if installed("awkward"):
        import awkward

        def of_awkward(ragged):
            return awkward.to_numpy(awkward.fill_none(awkward.pad_none(ragged, steps, clip=True), 0))

    groups = {
        "lists": {
            OURS: lambda: pad_sequences(lists, padding="post"),
            "keras": lambda: keras.utils.pad_sequences(lists, padding="post"),
            "torch": of_torch and (lambda: of_torch([torch.tensor(sequence, dtype=torch.int32) for sequence in lists])),
            "tf.ragged": lambda: tf.ragged.constant(lists, dtype="int32").to_tensor().numpy(),
            "awkward": of_awkward and (lambda: of_awkward(awkward.Array(lists))),
            FLOOR: lambda: floor(np.array(list(chain.from_iterable(lists)), "int32"), count, steps),
        },
        "arrays": {
            OURS: lambda: pad_sequences(arrays, padding="post"),
            "keras": lambda: keras.utils.pad_sequences(arrays, padding="post"),
            "torch": of_torch and (lambda: of_torch([torch.from_numpy(array) for array in arrays])),
            "tf.ragged": lambda: tf.RaggedTensor.from_row_lengths(
                np.concatenate(arrays), [len(array) for array in arrays]).to_tensor().numpy(),
            "awkward": of_awkward and (lambda: of_awkward(
                awkward.unflatten(np.concatenate(arrays), [len(array) for array in arrays]))),
            FLOOR: lambda: floor(np.concatenate(arrays), count, steps),
        },
        "flat values": {
            OURS: lambda: pad_flat(flat, lengths, padding="post"),
            "keras": lambda: keras.utils.pad_sequences(np.split(flat, np.cumsum(lengths)[:-1]), padding="post"),
            "torch": of_torch and (lambda: of_torch(torch.split(torch.from_numpy(flat), lengths.tolist()))),
            "tf.ragged": lambda: tf.RaggedTensor.from_row_lengths(flat, lengths).to_tensor().numpy(),
            "awkward": of_awkward and (lambda: of_awkward(awkward.unflatten(flat, lengths))),
            FLOOR: lambda: floor(flat, count, steps),
        },
    }
    expected = pad_sequences(lists, padding="post")
    for form, group in groups.items():
        for name, function in group.items():
            assert name == FLOOR or not function or np.array_equal(function(), expected), (form, name)
    return groups


def main():
    options = arguments(__doc__, rounds=9)
    machine()
    rows, ratios = [], {}
    for size, (count, mean) in SIZES.items():
        for form, group in contenders(count, mean).items():
            seconds = side_by_side(group, options.rounds, enough=3.0)
            ours = seconds[OURS]
            ratios[size, form] = {name: time and time / ours for name, time in seconds.items()}
            rows.append([size, form, f"{1000 * ours:.1f}",
                         *[ratios[size, form][name] for name in group if name not in (OURS, FLOOR)],
                         ours / seconds[FLOOR]])
    peers = [name for name in group if name not in (OURS, FLOOR)]
    table(f"Padding: ours in milliseconds, others as a multiple of ours, and ours as a multiple of the floor "
          f"(medians of {options.rounds})", ["sequences", "input", "ours/ms", *peers, "ours/floor"], rows)
    print("(a dash: not installed)\n")
    verdict("never slower than a peer that starts from the same input",
            min(group[peer] for group in ratios.values() for peer in peers if group[peer]) >= 1)
    verdict("at least 4 times keras on 100,000 short arrays", ratios["100,000 of about 8", "arrays"]["keras"] >= 4)
    verdict("within 1.5 times the floor for arrays",
            all(1 / ratios[size, "arrays"][FLOOR] <= 1.5 for size in SIZES))
    bars("pad_sequences", "How much longer than ours each takes to pad arrays",
         {size: ratios[size, "arrays"] for size in SIZES}, "times as long as ours, from arrays", marked=[OURS])


if __name__ == "__main__":
    main()
