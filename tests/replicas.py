"""What real replicas do: `python tests/replicas.py` prints it as JSON.

It is a process of its own: once TensorFlow has started, it takes no further logical devices."""

import contextlib
import json
import os

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from masking_tutorial.losses_and_metrics import MaskedMetric, SharedMeanLoss, shared_weights
from masking_tutorial.masks import get_mask, mask_from_lengths
from masking_tutorial.shards import shard_gradients

DRAW = np.random.default_rng(0)
LENGTHS = [1, 1, 6, 6]
VALID = mask_from_lengths(LENGTHS)
IDS = np.where(VALID, DRAW.integers(1, 9, VALID.shape), 0)
Y = DRAW.normal(size=(4, 6, 1)).astype("float32")
LABELS = DRAW.integers(0, 3, (4, 6))
WEIGHTS = DRAW.random((4, 6)).astype("float32")


def tagger(features=1, mask=True):
    ids = keras.Input((None,), dtype="int32")
    return keras.Model(ids, layers.Dense(features)(layers.Embedding(10, 4, mask_zero=mask)(ids)))


def two_outputs():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True)(ids)
    return keras.Model(ids, {"a": layers.Dense(1, name="a")(x), "b": layers.Dense(3, name="b")(layers.GRU(3)(x))})


class InAGrid(layers.Layer):
    "(batch, time, 6) as (batch, time, 3, 2), so that the loss has two axes for each step."

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, x):
        return ops.reshape(x, (*ops.shape(x)[:2], 3, 2))


def in_a_grid():
    return keras.Sequential([tagger(6), InAGrid()])


def with_penalty():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10, 4, mask_zero=True)(ids)
    return keras.Model(ids, layers.Dense(1, kernel_regularizer="l2")(x))


def one_number(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2)


def each_step(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2, axis=-1)


def divided_by_hand(y_true, y_pred):
    "A mean as many write it: 0 / 0 for a shard without a valid step."
    mask = get_mask(y_pred)
    mask = ops.cast(ops.ones(ops.shape(y_pred)[:2]) if mask is None else mask, "float32")
    return ops.sum(each_step(y_true, y_pred) * mask) / ops.sum(mask)


MSE = keras.losses.MeanSquaredError
IGNORING = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
NO_STEP = np.where(np.arange(4)[:, None] < 2, 0, IDS)
BOTH = {"a": Y, "b": np.arange(4) % 3}

# From the name of a case to the loss, and what else is not as usual: model, x, y, sample_weight, options of compile.
CASES = {
    "plain": (MSE, {}),
    "plain, without a mask": (MSE, {"model": lambda: tagger(mask=False)}),
    "plain, added up": (lambda: MSE(reduction="sum"), {}),
    "plain, a shard without a valid step": (MSE, {"x": NO_STEP}),
    "plain, one number": (lambda: one_number, {"model": lambda: tagger(mask=False)}),
    "plain, divided by hand": (lambda: divided_by_hand, {"x": NO_STEP}),
    "plain, weighted": (lambda: MSE(reduction="mean_with_sample_weight"), {"sample_weight": WEIGHTS}),
    "shared": (lambda: SharedMeanLoss(MSE()), {"metric": True}),
    "shared, a function": (lambda: SharedMeanLoss(each_step), {}),
    "shared, without a mask": (lambda: SharedMeanLoss("mse"), {"model": lambda: tagger(mask=False)}),
    "shared, a shard without a valid step": (lambda: SharedMeanLoss("mse"), {"x": NO_STEP}),
    "shared, no valid step at all": (lambda: SharedMeanLoss("mse"), {"x": IDS * 0}),
    "shared, weights of steps": (lambda: SharedMeanLoss("mse"), {"sample_weight": WEIGHTS}),
    "shared, weights of sequences": (lambda: SharedMeanLoss("mse"), {"sample_weight": WEIGHTS[:, :1]}),
    "shared, divided by weights": (lambda: SharedMeanLoss(MSE(reduction="mean_with_sample_weight")), {"sample_weight": WEIGHTS}),
    "shared, ignore_class": (lambda: SharedMeanLoss(IGNORING), {"model": lambda: tagger(3), "y": LABELS}),
    "shared, several axes": (lambda: SharedMeanLoss(MSE()), {"model": in_a_grid, "y": DRAW.normal(size=(4, 6, 3, 2))}),
    "shared, two outputs": (
        lambda: {"a": SharedMeanLoss("mse"), "b": SharedMeanLoss(keras.losses.SparseCategoricalCrossentropy(from_logits=True))},
        {"model": two_outputs, "y": BOTH},
    ),
    "shared, a penalty on weights": (lambda: SharedMeanLoss("mse"), {"model": with_penalty}),
    "shared, eager": (lambda: SharedMeanLoss("mse"), {"run_eagerly": True}),
    "shared, half precision": (lambda: SharedMeanLoss("mse"), {"policy": "mixed_float16"}),
    "weights of the data": (lambda: MSE(reduction="sum"), {"sample_weight": shared_weights(VALID)}),
}


def trained(strategy, loss, model=tagger, x=IDS, y=Y, sample_weight=None, policy="float32", metric=None, **options):
    "The change of each weight in one step of SGD, the loss that fit shows, and that and a metric of evaluate."
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy(policy)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = model()
        metrics = [MaskedMetric("mse", name="metric")] if metric else None
        model.compile(keras.optimizers.SGD(1.0), loss(), metrics=metrics, **options)
    before = [weight.numpy().astype("float64") for weight in model.trainable_variables]
    evaluated = model.evaluate(x, y, sample_weight=sample_weight, batch_size=4, verbose=0, return_dict=True)
    gradients = shard_gradients(model, x, y, sample_weight, shards=2)[1] if strategy is None else None
    shown = model.fit(x, y, sample_weight=sample_weight, batch_size=4, shuffle=False, verbose=0).history["loss"][0]
    after = [weight.numpy().astype("float64") for weight in model.trainable_variables]
    return [a - b for a, b in zip(before, after)], shown, evaluated, gradients


def apart(a, b):
    return float(max(np.abs(x - y).max() for x, y in zip(a, b)))


def compared(strategy, loss, options):
    single, shown, evaluated, played = trained(None, loss, **options)
    several, shown_there, evaluated_there, _ = trained(strategy, loss, **options)
    return {
        "largest": float(max(np.abs(change).max() for change in single)),
        "apart": apart(single, several), "played": apart(several, played),
        "shown": [shown, shown_there], "loss": [evaluated["loss"], evaluated_there["loss"]],
        "metric": [scores.get("metric", 0.0) for scores in (evaluated, evaluated_there)],
    }  # fmt: skip


def several_steps(strategy, loss, rows, batch_size=4, steps=None, weights=None, by_hand=False):
    "The change of each weight over an epoch of so many sequences, and the loss that fit shows; the last batch may be short."
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy("float32")
    x, y = np.tile(IDS, (2, 1))[:rows], np.concatenate([Y, -Y])[:rows]
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = tagger()
        model.compile(keras.optimizers.SGD(1.0, gradient_accumulation_steps=steps), loss())
    before, shown = [weight.numpy().astype("float64") for weight in model.trainable_variables], []
    if by_hand:
        step_by_hand(strategy or tf.distribute.get_strategy(), model, loss(), x, y)
    else:
        history = model.fit(x, y, sample_weight=weights, batch_size=batch_size, shuffle=False, verbose=0).history
        shown = [np.array(history["loss"])]
    return [a - weight.numpy() for a, weight in zip(before, model.trainable_variables)] + shown


def step_by_hand(strategy, model, loss, x, y):
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x))
        model.optimizer.apply_gradients(zip(tape.gradient(value, model.trainable_weights), model.trainable_weights))

    for data in strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors((x, y))):
        tf.function(strategy.run)(step, args=data)


def shared():
    return SharedMeanLoss("mse")


def summed():
    return MSE(reduction="sum")


def of_steps(strategy):
    "How far several steps on replicas are from those on one device, for each way to take them."
    whole = several_steps(None, MSE, 4)
    accumulated = {"batch_size": 2, "steps": 2, "weights": shared_weights(VALID, averaged=2)}
    return {
        "a last batch of 3": apart(several_steps(None, MSE, 7), several_steps(strategy, shared, 7)),
        "a last batch of 1, none for the other replica": apart(several_steps(None, MSE, 5), several_steps(strategy, shared, 5)),
        "a loop of one's own": apart(whole, several_steps(strategy, shared, 4, by_hand=True)),
        "a loop of one's own, plain": apart(whole, several_steps(strategy, MSE, 4, by_hand=True)),
        "micro-batches, plain": apart(whole, several_steps(None, MSE, 4, batch_size=2, steps=2)),
        "micro-batches, shared": apart(whole, several_steps(None, shared, 4, batch_size=2, steps=2)),
        "micro-batches, with weights of the data": apart(whole, several_steps(None, summed, 4, **accumulated)),
    }


def of_worker():
    """One of several processes of MultiWorkerMirroredStrategy, as TF_CONFIG says: how far its step is from that of one device.

    By hand, for `fit` of Keras 3.15 fails in it, before any loss is computed."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    whole = several_steps(None, MSE, 4)
    return {name: apart(whole, several_steps(strategy, loss, 4, by_hand=True)) for name, loss in (("plain", MSE), ("shared", shared))}


if __name__ == "__main__" and "TF_CONFIG" in os.environ:
    print(json.dumps(of_worker()))
elif __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    mirrored = tf.distribute.MirroredStrategy()  # one for all: a second one would count its messages from 0 again
    print(json.dumps({"cases": {name: compared(mirrored, *case) for name, case in CASES.items()}, "steps": of_steps(mirrored)}))
