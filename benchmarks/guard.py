"""What PaddingGuard costs: a training step with it and without, side by side, and the check of the first batch."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.common import arguments, machine, side_by_side, table, verdict
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


def main():
    options = arguments(__doc__, rounds=9, repeat=10, rows=64, steps=64, size=64)
    machine()
    rows, shares = [], {}
    for kind in ("Dense", "GRU"):
        guard = PaddingGuard()
        started = time.perf_counter()
        guarded = steps_of(kind, options, guard)
        first = time.perf_counter() - started
        started = time.perf_counter()
        plain = steps_of(kind, options, None)
        first -= time.perf_counter() - started
        contenders = {"plain": plain, "guarded": guarded, "plain again": steps_of(kind, options, None)}
        seconds = side_by_side(contenders, options.rounds, 120.0)
        plain_ms, guarded_ms, again_ms = (1000 * seconds[name] / options.repeat for name in contenders)
        shares[kind] = 100 * (guarded_ms / min(plain_ms, again_ms) - 1), 100 * abs(again_ms / plain_ms - 1)
        rows.append([kind, plain_ms, again_ms, guarded_ms, f"{shares[kind][0]:+.2f}%", first])
    table(f"A training step on {options.rows} sequences of {options.steps} steps, in milliseconds (medians of "
          f"{options.rounds} rounds of {options.repeat} steps), and seconds that the check of the first batch takes",
          ["model", "plain", "plain again", "guarded", "more", "check s"], rows)
    print()
    for kind, (more, apart) in shares.items():
        verdict(f"{kind}: counting takes less than {MOST:.0f}% of a step ({more:+.2f}%; the same step without a guard, "
                f"timed twice, differs by {apart:.2f}%)", more < MOST)


if __name__ == "__main__":
    main()
