"""What find_leaks costs, as a multiple of one forward pass, for a small and for a deep model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import warnings
from functools import partial

import keras
import numpy as np

from benchmarks.common import arguments, machine, side_by_side, table, verdict
from masking_tutorial.attention import TransformerBlock
from masking_tutorial.leaks import find_leaks

LENGTHS = [24, 17, 9, 5]
BATCH = np.where(np.arange(24) < np.array(LENGTHS)[:, None], np.random.default_rng(0).integers(1, 1000, (4, 24)), 0)


def of_built_in_layers(depth, broken):
    """Dense layers and an average; where broken, every second one is a convolution that lets padding through."""
    hidden = [keras.layers.Conv1D(32, 3, padding="same") if broken and number % 2 else keras.layers.Dense(32)
              for number in range(depth - 1)]
    return [*hidden, keras.layers.GlobalAveragePooling1D()]


def of_blocks(depth, broken):
    """Transformer blocks with layers inside; where broken, the average behind them gets no mask."""
    end = keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=1)) if broken else keras.layers.GlobalAveragePooling1D()
    return [*(TransformerBlock(2, 16, 64) for _ in range(depth - 1)), end]


def model_of(make, depth, broken):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Embedding(1000, 32, mask_zero=True), *make(depth, broken)])
    model(BATCH)
    return model


def main():
    options = arguments(__doc__, rounds=5, shallow=6, deep=48)
    warnings.filterwarnings("ignore", message=".*destroy the mask")  # the models are broken on purpose
    machine()
    rows, multiples = [], {}
    for words, make in (("built-in layers", of_built_in_layers), ("transformer blocks", of_blocks)):
        for broken in (False, True):
            for depth in (options.shallow, options.deep):
                model = model_of(make, depth, broken)
                found = find_leaks(model, BATCH)
                assert bool(found) != broken, found
                seconds = side_by_side({"forward": partial(model, BATCH), "search": partial(find_leaks, model, BATCH)},
                                       options.rounds, enough=60.0)
                multiples[words, broken, depth] = seconds["search"] / seconds["forward"]
                rows.append([words, "broken" if broken else "sound", depth, 1000 * seconds["forward"],
                             1000 * seconds["search"], multiples[words, broken, depth]])
    table(f"find_leaks on a batch of {len(LENGTHS)} sequences (medians of {options.rounds} rounds)",
          ["layers", "model", "depth", "forward ms", "find_leaks ms", "multiple"], rows)
    print()
    for (words, broken, depth), multiple in multiples.items():
        if depth == options.shallow:
            deep = multiples[words, broken, options.deep]
            verdict(f"{words}, {'broken' if broken else 'sound'}: {deep:.0f} forward passes for {options.deep} layers, "
                    f"{multiple:.0f} for {options.shallow}: the cost grows linearly with depth", deep < 1.5 * multiple)


if __name__ == "__main__":
    main()
