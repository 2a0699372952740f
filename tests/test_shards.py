"""One step on several shards: a loss with one mean for all, weights for micro-batches, and the clause that plays replicas.

The replicas of `replicas.py` are real ones, on logical devices and in two processes on this machine."""

import functools
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from masking_tutorial import assert_padding_contract, audit, check_padding
from masking_tutorial.command_line import main
from masking_tutorial.losses_and_metrics import SharedMeanLoss, shared_weights
from masking_tutorial.masks import attach_mask, mask_from_lengths
from masking_tutorial.shards import shard_gradients, shard_rows
from tests.replicas import CASES, IDS, LABELS, MSE, VALID, Y, each_step, one_number, tagger, two_outputs

pytestmark = pytest.mark.usefixtures("seeded", "without_graphs")
PROGRAM = Path(__file__).with_name("replicas.py")


def started(program=PROGRAM, *arguments, **environment):
    paths = os.pathsep.join([str(PROGRAM.parent.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
    )  # fmt: skip


def printed(process):
    output, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


@functools.cache
def on_replicas():
    return printed(started())


# Real replicas.


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_replicas_take_the_step_of_one_device_or_not(name):
    case = on_replicas()["cases"][name]
    # half precision is off by the rounding of one number of 11 bits
    rounding = 2**-11 if "half" in name else 1e-6
    if name.startswith("shared") or name in ("plain, without a mask", "plain, added up", "weights of the data"):
        assert case["apart"] <= rounding * max(case["largest"], 1)
        for kind in ("shown", "loss", "metric"):
            assert case[kind][0] == pytest.approx(case[kind][1], rel=2 * rounding)
    else:
        assert not case["apart"] < 0.05  # NaN, too


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_what_is_played_is_what_replicas_do(name):
    case = on_replicas()["cases"][name]
    if name == "plain, divided by hand":
        assert np.isnan([case["apart"], case["played"]]).all()
    else:
        assert case["played"] <= 1e-6 * max(case["largest"], 1)


@pytest.mark.thorough
def test_a_step_of_replicas_that_do_not_share_is_far_off():
    case = on_replicas()["cases"]["plain"]
    assert case["apart"] > case["largest"] > 0.1
    halved = on_replicas()["cases"]["plain, a shard without a valid step"]
    assert halved["apart"] == pytest.approx(halved["largest"] / 2) and halved["shown"][1] == pytest.approx(halved["shown"][0] / 2)
    doubled = on_replicas()["cases"]["plain, one number"]
    assert doubled["apart"] == pytest.approx(doubled["largest"])


@pytest.mark.thorough
@pytest.mark.parametrize("name, same", {
    "a last batch of 3": True,
    "a last batch of 1, none for the other replica": True,
    "a loop of one's own": True,
    "a loop of one's own, plain": False,
    "micro-batches, plain": False,
    "micro-batches, shared": False,
    "micro-batches, with weights of the data": True,
}.items())  # fmt: skip
def test_steps_one_after_another(name, same):
    apart = on_replicas()["steps"][name]
    assert apart < 1e-6 if same else apart > 0.1


def test_two_processes():
    listening = [socket.socket() for _ in range(2)]
    for server in listening:
        server.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in listening]
    for server in listening:
        server.close()
    tasks = [json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}) for index in range(2)]
    for result in map(printed, [started(TF_CONFIG=task) for task in tasks]):
        assert result["shared"] < 1e-6 and result["plain"] > 0.1


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_two_processes_of_torch(tmp_path):
    program = PROGRAM.with_name("replicas_torch.py")
    result = printed(started(program, str(tmp_path / "meeting"), KERAS_BACKEND="torch"))
    assert max(sum(result["shared"].values(), [])) < 1e-6
    assert min(sum(result["plain"].values(), [])) > 0.1


# The loss on one device.

DRAW = np.random.default_rng(1)
PREDICTED = DRAW.normal(size=(4, 6, 3)).astype("float32")
LOSSES = {
    "MeanSquaredError": (PREDICTED * 2, {}), "MeanAbsoluteError": (PREDICTED * 2, {}), "Huber": (PREDICTED * 3, {"delta": 0.5}),
    "BinaryCrossentropy": ((PREDICTED > 0) * 1.0, {"from_logits": True, "label_smoothing": 0.1}),
    "CategoricalCrossentropy": (np.eye(3)[LABELS], {"from_logits": True}),
    "SparseCategoricalCrossentropy": (LABELS, {"from_logits": True, "ignore_class": 1}),
    "CosineSimilarity": (PREDICTED[..., ::-1], {}), "KLDivergence": (np.abs(PREDICTED), {}), "Hinge": (np.sign(PREDICTED), {}),
}  # fmt: skip


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("weights", [None, DRAW.random((4, 6)), DRAW.random((4, 1)), VALID * 1.0])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "mean_with_sample_weight"])
@pytest.mark.parametrize("name", LOSSES)
def test_on_one_device_it_is_the_loss_that_it_wraps(name, reduction, weights, masked):
    y_true, options = LOSSES[name]
    if reduction == "mean_with_sample_weight" and weights is not None and weights.shape == (4, 1):
        weights = np.repeat(weights, 6, axis=1)  # Keras divides by the sum of the weights as they are given
    alone = getattr(keras.losses, name)(reduction=reduction, **options)
    results = []
    for loss in (alone, SharedMeanLoss(alone)):
        predicted = tf.Variable(PREDICTED)
        with tf.GradientTape() as tape:
            value = loss(y_true, attach_mask(tf.identity(predicted), VALID) if masked else predicted, weights)
        results.append([value, tape.gradient(value, predicted)])
    assert results[0][0].dtype == results[1][0].dtype
    for wanted, actual in zip(*results):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=["graph", "eager", "XLA"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_it_trains_as_the_loss_that_it_wraps(options, policy):
    keras.mixed_precision.set_global_policy(policy)
    trained = []
    for loss in (MSE(), SharedMeanLoss(MSE())):
        keras.utils.set_random_seed(0)
        model = tagger()
        model.compile("sgd", loss, **options)
        shown = model.fit(IDS, Y, epochs=2, shuffle=False, verbose=0).history["loss"]
        trained.append([shown, *model.get_weights()])
    for a, b in zip(*trained):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_feature_axis_that_only_one_has_is_no_time_axis():
    loss = SharedMeanLoss(each_step)
    predicted = attach_mask(PREDICTED[..., :1], VALID)
    wanted = ((PREDICTED[..., 0] - Y[..., 0]) ** 2)[VALID].mean()
    assert [float(loss(y, predicted)) for y in (Y, Y[..., 0])] == pytest.approx([wanted] * 2)


def test_weights_of_sequences_are_no_weights_of_steps():
    square, mask = PREDICTED[:, :4], mask_from_lengths([1, 2, 3, 4])
    weights = np.array([0.0, 0.0, 0.0, 1.0])
    value = SharedMeanLoss("mse")(np.zeros((4, 4, 3)), attach_mask(square, mask), weights)
    assert float(value) == pytest.approx((square[3] ** 2).mean(axis=-1).sum() / 10, rel=1e-5)


def test_half_precision_counts_beyond_its_own_limits():
    loss = SharedMeanLoss(MSE(dtype="float16"))
    mean = loss(np.zeros((1, 70_000, 1)), attach_mask(np.ones((1, 70_000, 1), "float16"), np.ones((1, 70_000), bool)))
    assert mean.dtype == "float16" and mean == 1


def test_nothing_valid_gives_zero_and_no_gradient():
    predicted = tf.Variable(PREDICTED)
    with tf.GradientTape() as tape:
        value = SharedMeanLoss("mse")(PREDICTED * 2, attach_mask(tf.identity(predicted), VALID & False))
    assert value == 0 and (tape.gradient(value, predicted).numpy() == 0).all()


@pytest.mark.parametrize("loss", [
    MSE(), MSE(reduction="mean_with_sample_weight", dtype="float64"), "mse",
    keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
])  # fmt: skip
def test_it_is_saved_with_the_model(loss, tmp_path):
    model = tagger(3)
    model.compile("sgd", SharedMeanLoss(loss, name="mine"))
    y = LABELS if "sparse" in str(loss) else PREDICTED
    wanted = model.evaluate(IDS, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(IDS, y, verbose=0) == pytest.approx(wanted, rel=1e-6)
    assert loaded.loss.name == "mine" and type(loaded.loss.loss) is type(model.loss.loss)
    assert loaded.loss.reduction == model.loss.reduction and loaded.loss.dtype == model.loss.dtype


@pytest.mark.parametrize("loss, message", [
    (None, "no loss cannot be wrapped: pass a loss of Keras"),
    (SharedMeanLoss("mse"), "a SharedMeanLoss cannot be wrapped"),
    (MSE(reduction="sum"), "loss 'mean_squared_error' has the reduction 'sum', which divides by nothing"),
    (MSE(reduction=None), "has the reduction None, which divides by nothing"),
    ("nothing", "Could not interpret loss identifier: nothing"),
])  # fmt: skip
def test_what_cannot_be_wrapped_is_refused(loss, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SharedMeanLoss(loss)


@pytest.mark.parametrize("loss, mask, weights, message", [
    (keras.losses.Dice(), VALID, None, "loss 'dice' gives one number for a batch"),
    (one_number, VALID, None, "loss 'one_number' gives one number for a batch"),
    ("mse", VALID[:3], None, "the mask has the shape (3, 6), but the loss gives values of the shape (4, 6)"),
    ("mse", VALID[:, :5], None, "the mask has the shape (4, 5), but the loss gives values of the shape (4, 6)"),
    (lambda a, b: ops.mean((a - b) ** 2, (1, 2)), VALID, None, "the mask has the shape (4, 6), but the loss gives values of the shape (4,)"),
    ("mse", VALID, np.ones(6), "the weights have the shape (6,), but the loss gives values of the shape (4, 6)"),
    ("mse", VALID, np.ones((4, 5)), "the weights have the shape (4, 5), but the loss gives values of the shape (4, 6)"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(loss, mask, weights, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SharedMeanLoss(loss)(PREDICTED * 2, attach_mask(PREDICTED, mask), weights)


# Weights for micro-batches.


def test_weights_make_a_sum_the_mean_however_it_is_cut():
    masks = [mask_from_lengths([1, 2]), mask_from_lengths([9, 7, 5]), mask_from_lengths([4])]
    parts = [DRAW.normal(size=(*mask.shape, 1)) for mask in masks]
    wanted = np.concatenate([part[mask] ** 2 for part, mask in zip(parts, masks)]).mean()
    for averaged in (1, 3):
        weights = shared_weights(masks, averaged)
        sums = [MSE(reduction="sum")(part * 0, part, weight) for part, weight in zip(parts, weights)]
        assert float(sum(sums)) / averaged == pytest.approx(wanted, rel=1e-6)
        assert all(weight.dtype == "float32" and not weight[~mask].any() for weight, mask in zip(weights, masks))


def test_weights_of_a_pipeline():
    data = tf.data.Dataset.from_tensors((IDS, Y)).map(lambda x, y: (x, y, shared_weights(x != 0, 2))).unbatch().batch(2)
    shares = np.concatenate([weights for *_, weights in data])
    np.testing.assert_allclose(shares, shared_weights(VALID, 2), rtol=1e-6)
    empty = tf.data.Dataset.from_tensors(IDS * 0).map(lambda x: shared_weights(x != 0))
    assert not next(iter(empty)).numpy().any()


@pytest.mark.parametrize("masks, averaged, message", [
    (VALID * 1, 1, "mask 0 has the dtype int64 and the shape (4, 6): a mask is a boolean array (batch, time)"),
    ([VALID, VALID[0]], 1, "mask 1 has the dtype bool and the shape (6,)"),
    ([[True, False]], 1, "mask 0 is a list"),
    (VALID & False, 1, "no mask has a valid step"),
    (VALID, 0, "averaged=0: it is a number of gradients, at least 1"),
    (VALID, 1.5, "averaged=1.5"),
    (VALID, True, "averaged=True"),
])  # fmt: skip
def test_weights_refuse_bad_input(masks, averaged, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        shared_weights(masks, averaged)


# The clause.


def row_of(loss, x=IDS, y=Y, model=tagger, **options):
    model = model()
    model.compile("sgd", loss)
    return check_padding(model, x, targets=y, clauses=["amount", "shards"], **options).clauses["shards"]


def test_the_audit_and_the_command_ask_for_shards(tmp_path, capsys):
    path, data = str(tmp_path / "model.keras"), str(tmp_path / "batch.npz")
    np.savez(data, IDS, targets=Y)
    for loss, code in [("mse", 1), (SharedMeanLoss("mse"), 0)]:
        model = tagger()
        model.compile("sgd", loss)
        model.save(path)
        assert audit(model, IDS, Y, shards=2).ok == (code == 0)
        assert audit(model, IDS, Y).ok
        assert main([path, "--batch", data, "--shards", "2"]) == code, capsys.readouterr()
    assert main([path, "--batch", data, "--shards", "0"]) == 2
    assert main([path, "--batch", data, "--shards", "2", "--mend", str(tmp_path / "mended.keras")]) == 2
    assert "shards=0" in (said := capsys.readouterr().err) and "audit the mended model" in said


def test_shards_are_those_of_tf_distribute():
    for rows in range(1, 8):
        for shards in range(1, 6):
            cut = shard_rows(rows, shards)
            assert [row for shard in cut for row in range(rows)[shard]] == list(range(rows)) and len(cut) == shards
    assert [shard.stop - shard.start for shard in shard_rows(5, 4)] == [2, 2, 1, 0]


@pytest.mark.parametrize("shards", [2, 3, 4])
@pytest.mark.parametrize("loss, status", [
    ("mse", "broken"), (MSE(reduction="mean_with_sample_weight"), "broken"), (one_number, "broken"),
    (MSE(reduction="sum"), "kept"), (SharedMeanLoss("mse"), "kept"), (SharedMeanLoss(each_step), "kept"),
], ids=["mean", "by weights", "one number", "sum", "shared", "a function, shared"])  # fmt: skip
def test_the_clause(loss, status, shards):
    # the mask would make a step of the one number
    row = row_of(loss, shards=shards, model=functools.partial(tagger, mask=loss is not one_number))
    assert row.status == status, row
    assert ("SharedMeanLoss" in row.advice and row.where.startswith("weight ")) == (status == "broken")


def test_the_clause_of_several_outputs_and_weights():
    y = {"a": Y, "b": np.arange(4) % 3}
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert row_of({"a": "mse", "b": crossentropy}, y=y, model=two_outputs, shards=2).status == "broken"
    assert row_of({"a": SharedMeanLoss("mse"), "b": crossentropy}, y=y, model=two_outputs, shards=2).status == "kept"
    weighted = MSE(reduction="mean_with_sample_weight")
    for loss, status in ((weighted, "broken"), (SharedMeanLoss(weighted), "kept")):
        assert row_of(loss, shards=2, sample_weight=VALID * np.arange(1.0, 5)[:, None]).status == status


def test_the_clause_is_not_kept_by_the_luck_of_an_order():
    order = [0, 2, 1, 3]  # with 7 valid steps in each half
    row = row_of("mse", IDS[order], Y[order], shards=2)
    assert row.status == "broken" and "2 and 12 valid steps" in row.reason


def test_all_sequences_take_part():
    x, y = np.tile(IDS, (3, 1)), np.tile(Y, (3, 1, 1))
    row = row_of("mse", x, y, shards=6)
    assert row.status == "broken" and "2, 2, 2, 12, 12 and 12 valid steps" in row.reason
    assert row_of(SharedMeanLoss("mse"), x, y, shards=12).status == "kept"


def test_equal_lengths_need_no_shared_mean():
    x = np.pad(IDS[2:], ((0, 0), (0, 2)))
    assert row_of("mse", x, np.pad(Y[2:], ((0, 0), (0, 2), (0, 0))), shards=2).status == "kept"


def by_all_reduce(y_true, y_pred):
    "A mean that asks the other replicas by itself, the count only."
    mask = ops.cast(getattr(y_pred, "_keras_mask", ops.ones(ops.shape(y_pred)[:2])), "float32")
    count = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, ops.sum(mask))
    return each_step(y_true, y_pred) * mask / count


class OfItsOwn(keras.losses.Loss):
    "A loss from a function of y_true and y_pred that gives one number."

    def __init__(self, function):
        super().__init__(name="of_its_own")
        self.function = function

    def __call__(self, y_true, y_pred, sample_weight=None):
        return self.function(y_true, y_pred)


def test_a_loss_that_asks_other_replicas_itself_is_played_through():
    assert row_of(OfItsOwn(lambda *pair: ops.sum(by_all_reduce(*pair))), shards=2).status == "kept"

    def asks_twice(*pair):  # the second question needs the first answer
        context = tf.distribute.get_replica_context()
        mask = ops.cast(pair[1]._keras_mask, "float32")
        count = context.all_reduce("SUM", ops.sum(mask))
        share = context.all_reduce("SUM", ops.sum(mask) / count)  # all shares are 1 together
        return ops.sum(each_step(*pair) * mask) / count * share

    assert row_of(OfItsOwn(asks_twice), shards=3).status == "kept"

    def mean_of_counts(*pair):  # divides by the mean of the counts: twice too much for two replicas
        mask = ops.cast(pair[1]._keras_mask, "float32")
        return ops.sum(each_step(*pair) * mask) / tf.distribute.get_replica_context().all_reduce("MEAN", ops.sum(mask))

    row = row_of(OfItsOwn(mean_of_counts), shards=2)
    assert row.status == "broken" and row.difference == pytest.approx(1, rel=1e-4)


def test_what_cannot_be_played_is_not_tested():
    def differentiable(*pair):
        return tf.distribute.get_replica_context().all_reduce("SUM", ops.sum(each_step(*pair))) / 28

    row = row_of(OfItsOwn(differentiable), shards=2)
    assert row.status == "could not be tested" and "depends on the weights" in row.reason

    def unequal(*pair):
        if len(pair[0]) == 2:
            tf.distribute.get_replica_context().all_reduce("SUM", ops.ones(()))
        return ops.sum(each_step(*pair))

    row = row_of(OfItsOwn(unequal), IDS[:3], Y[:3], shards=2)
    assert row.status == "could not be tested" and "wait for each other forever" in row.reason


def test_a_shard_that_divides_by_zero_breaks_the_clause():
    def divided(y_true, y_pred):  # by the steps that have a target
        known = ops.cast(y_true[..., 0] != 0, "float32")
        return ops.sum(each_step(y_true, y_pred) * known) / ops.sum(known)

    y = np.where(np.arange(4)[:, None, None] < 2, 0, Y)
    row = row_of(divided, y=y, shards=2)
    assert row.status == "broken" and row.difference == np.inf
    assert row_of(SharedMeanLoss(MSE(reduction="mean_with_sample_weight")), y=y, shards=2,
                  sample_weight=(y[..., 0] != 0) * 1.0).status == "kept"  # fmt: skip


def test_the_clause_says_why_it_is_not_asked():
    model = tagger()
    for options in ({}, {"shards": 1}):
        row = check_padding(model, IDS, **options).clauses["shards"]
        assert row.status == "not applicable" and "pass shards=2, and targets" in row.reason
    assert check_padding(model, IDS, shards=2).clauses["shards"].reason == "the model is not compiled"
    model.compile("sgd", "mse")
    row = check_padding(model, IDS, shards=2).clauses["shards"]
    assert row.status == "could not be tested" and row.reason == "there are no targets; pass targets"
    model = tagger()
    model.compile("sgd")
    assert check_padding(model, IDS, targets=Y, shards=2).clauses["shards"].reason == "the model is not compiled with a loss"
    frozen = tagger()
    frozen.trainable = False
    frozen.compile("sgd", "mse")
    assert check_padding(frozen, IDS, targets=Y, shards=2).clauses["shards"].reason == "there are no trainable weights"


@pytest.mark.parametrize("shards, message", [
    (0, "shards=0: it is a number of devices, at least 1"), (2.0, "shards=2.0"), (True, "shards=True"),
    (5, "shards=5, but the batch has 4 sequences: pass a batch with at least one for each shard"),
])  # fmt: skip
def test_bad_numbers_of_shards_are_refused(shards, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        row_of("mse", shards=shards)


def test_a_zero_gradient_tells_nothing():
    row = row_of("mse", y=np.zeros((4, 6, 1)), model=lambda: keras.Sequential([tagger(), layers.Rescaling(0.0)]), shards=2)
    assert row.status == "could not be tested" and row.reason == "the gradient of the loss is 0 on one device"


def test_the_contract_can_require_it():
    model = tagger()
    model.compile("sgd", SharedMeanLoss("mse"))
    assert_padding_contract(model, IDS, targets=Y, shards=2, require=["shards"])
    model.compile("sgd", "mse")
    with pytest.raises(AssertionError, match="shards"):
        assert_padding_contract(model, IDS, targets=Y, shards=2)


def test_playing_leaves_no_strategy_behind():
    model = tagger()
    model.compile("sgd", "mse")
    loss, gradients = shard_gradients(model, IDS, Y, shards=2)
    assert not tf.distribute.has_strategy() and tf.distribute.get_strategy().num_replicas_in_sync == 1
    assert len(gradients) == len(model.trainable_variables) and np.isfinite(loss)
