"""What find_leaks, check_padding and audit cost: their time as multiples of one forward pass, and peak memory."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import re
import resource
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.common import ROOT, arguments, machine, side_by_side, table, verdict
from masking_tutorial.audit import audit
from masking_tutorial.contract import check_padding
from masking_tutorial.leaks import find_leaks
from masking_tutorial.transformer import TransformerBlock

LENGTHS = [24, 17, 9, 5]
MOST = {"find_leaks": 12, "check_padding": 40}  # forward passes that each may take on a sound model
MOST_MEMORY = 2  # times what the model's own run takes
STEPS = {"built-in layers": 16384, "transformer blocks": 1024}  # so many that all else is small


def batch_of(steps):
    """Four sequences of different lengths, padded to `steps`."""
    lengths = np.array(LENGTHS) * steps // LENGTHS[0]
    ids = np.random.default_rng(0).integers(1, 1000, (4, steps))
    return np.where(np.arange(steps) < lengths[:, None], ids, 0)


BATCH = batch_of(LENGTHS[0])


def of_built_in_layers(depth, broken):
    """Dense layers and an average; where broken, every second one is a convolution that lets padding through."""
    hidden = [keras.layers.Conv1D(32, 3, padding="same") if broken and number % 2 else keras.layers.Dense(32)
              for number in range(depth - 1)]
    return [*hidden, keras.layers.GlobalAveragePooling1D()]


def of_blocks(depth, broken):
    """Transformer blocks with layers inside; where broken, the average behind them gets no mask."""
    end = keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=1)) if broken else keras.layers.GlobalAveragePooling1D()
    return [*(TransformerBlock(2, 16, 64) for _ in range(depth - 1)), end]


KINDS = {"built-in layers": of_built_in_layers, "transformer blocks": of_blocks}


def model_of(make, depth, broken):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Embedding(1000, 32, mask_zero=True), *make(depth, broken)])
    model(BATCH)
    return model


def traced(model):
    """The model as a graph that XLA will compile, as the clause `compiled` makes one anew each time."""
    return tf.function(model, jit_compile=True, autograph=False).get_concrete_function(tf.constant(BATCH))


def traced_and_compiled(model):
    return traced(model)(tf.constant(BATCH))  # compiled when it is first called


def costs_of(model, all_three, rounds):
    """Forward passes that find_leaks takes, or all three instruments; and the milliseconds of one pass."""
    contenders = {"forward": partial(model, BATCH), "find_leaks": partial(find_leaks, model, BATCH)}
    if all_three:
        contenders |= {"check_padding": partial(check_padding, model, BATCH, progress=False),
                       "audit": partial(audit, model, BATCH, progress=False),
                       "traced": partial(traced, model), "compiled": partial(traced_and_compiled, model)}
    seconds = side_by_side(contenders, rounds, enough=60.0)
    forward = seconds["forward"]
    passes = {name: time / forward for name, time in seconds.items()}
    if all_three:  # predict, which is compiled too, was compiled in the round that is not counted
        passes["XLA"] = passes.pop("compiled") - passes.pop("traced")
        passes["check_padding"] -= passes["XLA"]
        passes["audit"] -= passes["XLA"]
    return passes | {"forward": 1000 * forward}


def time_table(options):
    all_costs, columns = {}, ["find_leaks", "check_padding", "audit", "XLA"]
    for kind, make in KINDS.items():
        for broken in (False, True):
            for depth in (options.shallow, options.deep):
                model = model_of(make, depth, broken)
                report = find_leaks(model, BATCH)
                assert report.ok != broken, report
                all_three = not broken and depth == options.shallow
                all_costs[kind, broken, depth] = costs_of(model, all_three, options.rounds)
    table(f"Forward passes that each takes on a batch of {len(LENGTHS)} sequences, without what XLA takes to compile "
          f"(medians of {options.rounds} rounds)",
          ["layers", "model", "depth", "forward ms", *columns],
          [[kind, "broken" if broken else "sound", depth, costs["forward"], *(costs.get(name) for name in columns)]
           for (kind, broken, depth), costs in all_costs.items()])
    return all_costs


def judge_times(all_costs, options):
    sound = [costs for (_, broken, _), costs in all_costs.items() if not broken]
    for name, most in MOST.items():
        worst = max(costs[name] for costs in sound if name in costs)
        verdict(f"{name}: no more than {most} forward passes on a sound model ({worst:.1f})", worst <= most)
    # the same work in the same round differs by some percent
    more = max(costs["audit"] / (costs["find_leaks"] + costs["check_padding"]) for costs in sound if "audit" in costs)
    verdict(f"audit: no more than find_leaks and check_padding together ({more:.2f} of them)", more <= 1.05)
    for kind in KINDS:
        for broken in (False, True):
            few, many = (all_costs[kind, broken, depth]["find_leaks"] for depth in (options.shallow, options.deep))
            passes = f"{many:.0f} forward passes for {options.deep} layers, {few:.0f} for {options.shallow}"
            state = "broken" if broken else "sound"
            verdict(f"find_leaks, {state} {kind}: the cost grows linearly with depth ({passes})",
                    many < 1.5 * few)


def megabytes():
    """The most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, what getrusage tells begins with the memory of the parent
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def print_memory(what, kind, depth, steps):
    """Run a sound model or search it, and print the megabytes that this adds; for a process of its own."""
    model, batch = model_of(KINDS[kind], depth, broken=False), batch_of(steps)
    find_leaks(model, BATCH)  # what is loaded when first used is not counted
    before = megabytes()
    if what == "find_leaks":
        assert find_leaks(model, batch)
    else:
        model(batch)
    print(megabytes() - before)


def memory_of(what, kind, depth, steps):
    program = f"from benchmarks.debugger import print_memory; print_memory({what!r}, {kind!r}, {depth}, {steps})"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    return float(ran.stdout)


def memory_table(options):
    rows = []
    for kind, steps in STEPS.items():
        own, search = (memory_of(what, kind, options.shallow, steps) for what in ("model", "find_leaks"))
        rows.append([kind, steps, f"{own:.0f}", f"{search:.0f}", search / own])
    table(f"Peak memory, in megabytes, that a sound model of {options.shallow} layers adds to its process on "
          f"{len(LENGTHS)} long sequences, and that find_leaks adds",
          ["layers", "steps", "own run", "find_leaks", "multiple"], rows)
    return max(row[-1] for row in rows)


def main():
    options = arguments(__doc__, rounds=3, shallow=6, deep=48)
    warnings.filterwarnings("ignore", message=".*destroy the mask")  # the models are broken on purpose
    machine()
    all_costs = time_table(options)
    worst = memory_table(options)
    print()
    judge_times(all_costs, options)
    verdict(f"find_leaks: no more than {MOST_MEMORY} times the peak memory of the model's own run ({worst:.1f})",
            worst <= MOST_MEMORY)


if __name__ == "__main__":
    main()
