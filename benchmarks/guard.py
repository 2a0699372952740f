"""What PaddingGuard costs: a training step with it and without, in turn, and its look at the first batch."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.common import arguments, machine, table, verdict
from masking_tutorial.guard import PaddingGuard

MOST = 1.0  # percent of a training step that counting may take


def model_of(kind, size):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(5000, size, mask_zero=True)(inputs)
    x = layers.GRU(size, return_sequences=True)(x) if kind == "GRU" else layers.Dense(4 * size, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def data_of(rows, steps, batches):
    """An endless data set whose batches are all at hand, so that nothing but the step is timed."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, steps + 1, rows * batches)
    ids = random.integers(1, 5000, (rows * batches, steps)).astype("int32")
    ids[np.arange(steps) >= lengths[:, None]] = 0
    targets = random.integers(0, 2, (rows * batches, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((ids, targets)).batch(rows).cache().repeat()


class Kept(keras.callbacks.Callback):
    """Keeps the train function of a fit."""
    def on_train_batch_end(self, batch, logs=None):
        self.function = self.model.train_function


def steps_of(kind, options, guard):
    """A function that makes training steps as fit does, hooks of the guard included."""
    model, data = model_of(kind, options.size), data_of(options.rows, options.steps, 4)
    kept = Kept()
    model.fit(data, steps_per_epoch=2, shuffle=False, verbose=0, callbacks=[*([guard] if guard else []), kept])
    iterator = iter(data)
    watched = kept.function
    if guard:
        guard.on_train_batch_begin(0)
    watched(iterator)  # the graph is there from now on

    def steps():
        for number in range(options.repeat):
            if guard:
                guard.on_train_batch_begin(number)
            logs = watched(iterator)
        return float(logs["loss"])

    return steps


def cpu_seconds(contenders, rounds):
    """CPU seconds that each contender takes, (rounds,): all of them in turn, another one first in each round.

    None follows itself, with what it needs still in the cache. The time is that of the processor and not that of the
    clock, since the difference is smaller than what other programs do."""
    seconds = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name in np.roll(list(contenders), number):
            started = time.process_time()
            contenders[name]()
            seconds[name].append(time.process_time() - started)
    return {name: np.array(times[1:]) for name, times in seconds.items()}


def main():
    options = arguments(__doc__, rounds=30, repeat=5, rows=64, steps=64, size=64)
    machine()
    rows, shares = [], {}
    for kind in ("Dense", "GRU"):
        guard = PaddingGuard()
        contenders = {"plain": steps_of(kind, options, None), "guarded": steps_of(kind, options, guard),
                      "plain again": steps_of(kind, options, None)}
        seconds = cpu_seconds(contenders, options.rounds)
        plain = (seconds["plain"] + seconds["plain again"]) / 2
        more = 100 * (np.median(seconds["guarded"] / plain) - 1)
        apart = 100 * abs(np.median(seconds["plain again"] / seconds["plain"]) - 1)
        shares[kind] = more, apart
        milliseconds = (1000 * float(np.median(times)) / options.repeat for times in seconds.values())
        rows.append([kind, *milliseconds, f"{more:+.2f}%", guard.seconds])
    table(f"CPU milliseconds of a training step on {options.rows} sequences of {options.steps} steps (medians of "
          f"{options.rounds} rounds of {options.repeat} steps), and seconds that the look at the first batch took",
          ["model", "plain", "guarded", "plain again", "more", "first s"], rows)
    print()
    for kind, (more, apart) in shares.items():
        verdict(f"{kind}: counting takes less than {MOST:.0f}% of a step ({more:+.2f}%; the same step without a guard, "
                f"timed twice, differs by {apart:.2f}%)", more < MOST)


if __name__ == "__main__":
    main()
