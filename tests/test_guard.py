"""The guard in training, and the assertion for tests."""

import importlib
import random
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from masking_tutorial.batch import NothingToLearn, read_batch
from masking_tutorial.case import BROKEN, ClauseRow
from masking_tutorial.contract import PaddingReport
from masking_tutorial.guard import (
    PaddingError,
    PaddingGuard,
    PaddingWarning,
    assert_padding_contract,
    culprit_words,
    rules_of,
)

pytestmark = pytest.mark.usefixtures("seeded")

RANDOM = np.random.default_rng(0)
LENGTHS = np.array([2, 5, 3, 4, 5, 1, 3, 2, 4, 5])
IDS = np.where(np.arange(5) < LENGTHS[:, None], RANDOM.integers(1, 10, (10, 5)), 0)
TARGETS = RANDOM.integers(0, 2, (10, 1)).astype("float32")
SHARE = 1 - LENGTHS.sum() / IDS.size
FULL = RANDOM.integers(1, 10, (4, 5))


def times_two(x):
    return x * 2.0  # an operator drops the mask


def model_of(between=None, **options):
    """A mean of word vectors with dropout; `options` are those of compile. Most tests make no graph, which takes longer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None,), dtype="int32", name="words")
    x = layers.Embedding(10, 4, mask_zero=True, name="embedding")(inputs)
    x = layers.Dropout(0.3)(between(x) if between else x)
    model = keras.Model(inputs, layers.Dense(1, name="logit")(layers.GlobalAveragePooling1D(name="mean")(x)))
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True), **({"run_eagerly": True} | options))
    return model


class Pairs(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, number):
        return IDS[2 * number : 2 * number + 2], TARGETS[2 * number : 2 * number + 2]


def generated():
    for number in range(5):
        yield IDS[2 * number : 2 * number + 2], TARGETS[2 * number : 2 * number + 2]


def arrays(**more):
    return {"x": IDS, "y": TARGETS, "batch_size": 2} | more


def quick(**options):
    """A guard that asks two clauses only."""
    return PaddingGuard(**{"clauses": ("amount", "content")} | options)


def fit(model, *callbacks, data=None, **options):
    """The history of a training, and the PaddingWarnings that were given."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", PaddingWarning)
        history = model.fit(**(arrays() if data is None else data), callbacks=list(callbacks), **({"verbose": 0} | options)).history
    return history, [str(warning.message) for warning in told if warning.category is PaddingWarning]


# A broken contract.


def test_a_leaking_model_is_not_trained():
    model, guard = model_of(times_two), quick()
    before, plain = model.get_weights(), model.make_train_function() or model.train_function
    with pytest.raises(PaddingError, match="broken on batch 1 of fit\nBROKEN: amount, content\nfirst to blame: multiply"
                                           ".*, which loses the mask\nwhat to do: operations drop the mask") as raised:
        model.fit(**arrays(), verbose=0, callbacks=[guard])
    assert raised.value.report is guard.report and not guard.report
    assert model.train_function is plain and "train_step" not in vars(model)
    assert model.optimizer.iterations == 0
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_with_warn_a_leaking_model_is_trained_and_told_of():
    model, guard = model_of(times_two), quick(action="warn")
    history, told = fit(model, guard)
    assert len(told) == 1 and "first to blame: multiply" in told[0] and not guard.report
    assert model.optimizer.iterations == 5 and history["padding_share"] == [pytest.approx(SHARE)]


def test_a_batch_of_ones_own_is_checked_before_training():
    with pytest.raises(PaddingError, match="broken on the batch that was given"):
        fit(model_of(times_two), quick(batch=(IDS, TARGETS)))
    history, told = fit(model_of(), quick(batch=IDS[:4], lengths=LENGTHS[:4]))  # lengths are not those of fit's batches
    assert not told and history["padding_share"] == [pytest.approx(SHARE)]
    with pytest.raises(NothingToLearn, match="0 padded steps"):
        fit(model_of(), quick(batch=FULL))


# Nothing else changes.


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}], ids=str)
def test_training_is_the_same_with_a_guard(options):
    (plain, _), (guarded, told) = [fit(model_of(**({"run_eagerly": False} | options)), *guards, epochs=2)
                                   for guards in ([], [quick(clauses="amount")])]
    assert guarded["loss"] == plain["loss"] and not told
    assert guarded["padding_share"] == [pytest.approx(SHARE)] * 2


def test_validation_is_not_counted():
    guarded, _ = fit(model_of(), quick(), validation_split=0.2)
    assert guarded["padding_share"] == [pytest.approx(1 - LENGTHS[:8].sum() / 40)] and "val_loss" in guarded


@pytest.mark.parametrize("data", [
    lambda: {"x": tf.data.Dataset.from_tensor_slices((IDS, TARGETS)).batch(2)},
    lambda: {"x": Pairs()},
    lambda: {"x": generated()},
    lambda: arrays(sample_weight=np.arange(10.0)),
    lambda: arrays(x={"words": IDS}),
    lambda: arrays(class_weight={0: 1.0, 1: 2.0}),
], ids=["tf.data", "PyDataset", "generator", "sample weights", "dict", "class weights"])
def test_every_kind_of_data_is_checked_and_counted_and_none_is_lost(data):
    plain, _ = fit(model_of(), data=data())
    guarded, told = fit(model := model_of(), guard := quick(), data=data())
    assert guarded["loss"] == plain["loss"] and not told
    assert guard.report and guard.rule == "steps of words that hold only 0"
    assert guarded["padding_share"] == [pytest.approx(SHARE)] and model.optimizer.iterations == 5


def test_the_whole_check_leaves_all_states_alone():
    model = model_of(metrics=["accuracy"])
    model.fit(**arrays(), verbose=0)  # so that optimizer, metrics and seeds have states
    random.seed(3), np.random.seed(3)
    before = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables, *model.metrics_variables]]
    guard = PaddingGuard(batch=(IDS, TARGETS))
    guard.set_model(model)
    guard.on_train_begin()
    guard.on_train_end()
    after = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables, *model.metrics_variables]]
    assert guard.report.not_tested == [] and all(np.array_equal(a, b) for a, b in zip(before, after))
    assert (random.random(), np.random.rand()) == (random.Random(3).random(), np.random.RandomState(3).rand())


def test_the_training_step_is_traced_once():
    class Traced(keras.Model):
        traces = 0

        def train_step(self, data):
            self.traces += not tf.executing_eagerly()
            return super().train_step(data)

    base = model_of()
    model = Traced(base.inputs, base.outputs)
    model.compile("sgd", "mse")
    fit(model, quick(), data={"x": tf.data.Dataset.from_tensor_slices((IDS, TARGETS)).batch(2)}, epochs=2)
    assert model.traces == 1


def test_the_second_fit_takes_the_train_function_of_the_first():
    model, guard = model_of(), quick()
    fit(model, guard)
    made = guard.made
    assert fit(model, guard)[0]["padding_share"] == [pytest.approx(SHARE)]
    assert guard.made is made
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model, guard)
    assert guard.made is not made


def test_what_an_error_leaves_behind_is_removed_at_the_next_step():
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = model_of()
    with pytest.raises(KeyboardInterrupt):
        fit(model, quick(), Failing())
    left = model.train_function
    fit(model)
    assert model.train_function is not left and model.optimizer.iterations == 6
    model.fit(**arrays(), verbose=0, callbacks=[guard := quick()])
    assert guard.report


# What is counted, and where it is logged.


class Told(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.names = sorted(logs)


def test_the_numbers_reach_history_the_progress_bar_and_what_comes_after(capsys):
    before, after = Told(), Told()
    history, _ = fit(model_of(), before, quick(), after, verbose=2)
    assert before.names == ["loss"] and after.names == sorted(history) == ["loss", "padding_share", "tokens_per_second"]
    assert "padding_share: 0.3200 - tokens_per_second: " in capsys.readouterr().out
    assert history["tokens_per_second"][0] > 0


def test_the_numbers_reach_tensorboard(monkeypatch, tmp_path):
    # the package tensorboard, which would write them, is not required
    written = {}
    monkeypatch.setattr(importlib.import_module("tensorflow.summary"), "scalar", lambda name, value, step: written.setdefault(name, value))
    fit(model_of(), quick(), keras.callbacks.TensorBoard(tmp_path, write_graph=False))
    assert written["epoch_padding_share"] == pytest.approx(SHARE) and "epoch_tokens_per_second" in written


def test_batches_without_padding_are_waited_for_and_counted():
    x, y = np.concatenate([FULL, IDS[:4]]), np.concatenate([TARGETS[:4], TARGETS[:4]])
    for options in ({}, {"steps_per_execution": 4, "run_eagerly": False}):
        guard, model = quick(), model_of(**options)
        history, told = fit(model, guard, data=arrays(x=x, y=y), shuffle=False)
        assert guard.report and guard.looked == 3 and not told and model.optimizer.iterations == 4
        assert history["padding_share"] == [pytest.approx(1 - (20 + LENGTHS[:4].sum()) / 40)]


def test_the_leak_is_told_at_the_first_batch_with_padding():
    x, y = np.concatenate([FULL, IDS[:4]]), np.concatenate([TARGETS[:4], TARGETS[:4]])
    with pytest.raises(PaddingError, match="batch 3 of fit"):
        fit(model_of(times_two), quick(), data=arrays(x=x, y=y), shuffle=False)


def test_it_says_so_where_no_batch_has_padding(monkeypatch):
    guard = quick()
    history, told = fit(model_of(), guard, data=arrays(x=FULL, y=TARGETS[:4]), epochs=2)
    assert len(told) == 1 and "none of the first 4 batches has padding" in told[0] and "not tested" in told[0]
    assert guard.report is None and sorted(history) == ["loss"] and guard.rule.startswith("not counted")
    monkeypatch.setattr("masking_tutorial.guard.MOST_BATCHES", 3)
    _, told = fit(model_of(), guard, data=arrays(x=FULL, y=TARGETS[:4]), epochs=2)
    assert len(told) == 1 and "none of the first 3 batches" in told[0]


def frames_model():
    inputs = keras.Input((None, 2), name="frames")
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(layers.Masking(-1.0)(inputs))))
    model.compile("adam", "mse")
    return model


def mean_of_valid(x, valid):
    valid = keras.ops.cast(valid, "float32")
    return keras.ops.sum(x[..., 0] * valid, axis=1) / keras.ops.sum(valid, axis=1)


STEPS = np.arange(5)
FRAMES = RANDOM.normal(size=(10, 5, 2)).astype("float32")
PRE = STEPS >= 5 - LENGTHS[:, None]
POST = STEPS < LENGTHS[:, None]


@pytest.mark.parametrize("model, batch, words", [
    (frames_model, np.where(PRE[..., None], FRAMES, -1).astype("float32"), "steps of frames that hold only -1.0"),
    (lambda: lambda x: mean_of_valid(x["frames"], x["mask"]), {"frames": FRAMES, "mask": PRE}, "where mask is False"),
    (lambda: lambda x: mean_of_valid(x["frames"], keras.ops.logical_not(x["mask"])),
     {"frames": np.where(POST[..., None], FRAMES, 0), "ids": np.where(POST, 3 + STEPS, 0), "mask": ~POST}, "where mask is True"),
    (lambda: lambda x: mean_of_valid(x["frames"], STEPS < x["lengths"][:, None]),
     {"frames": np.where(POST[..., None], FRAMES, 7), "lengths": LENGTHS}, "steps beyond lengths"),
    (lambda: lambda x: keras.ops.sum(x, axis=(1, 2)), np.where(PRE[..., None], FRAMES, 0),
     "steps at the start of the batch that hold only 0.0"),
    (lambda: lambda x: keras.ops.sum(x, axis=(1, 2)), np.where(POST[..., None] & (STEPS != 1)[:, None], FRAMES, 0)[LENGTHS != 2],
     "steps at the end of the batch that hold only 0.0"),
], ids=["masking", "mask", "inverted mask", "lengths", "zeros before", "zeros inside"])
def test_a_rule_counts_the_valid_steps(model, batch, words):
    read, *_ = read_batch(model(), batch)
    (rule,) = rules_of(read)
    assert rule.words == words
    rows = read.rows
    truth = LENGTHS[LENGTHS != 2][:rows] if rows < 10 else LENGTHS
    assert rule.lengths(read.leaves).numpy().tolist() == truth.tolist()
    assert tf.function(rule.count)([tf.constant(leaf) for leaf in read.leaves]).numpy().tolist() == [truth.sum(), rows * 5]


def test_what_no_rule_reproduces_is_not_counted():
    model, ids = model_of(), IDS.copy()
    model.layers[1].mask_zero = False
    ids[0] = 0  # padding holds what valid steps hold, too, up to their end
    guard = quick(action="warn", lengths=LENGTHS)
    history, told = fit(model, guard, data=arrays(x=ids, batch_size=10), shuffle=False)
    assert guard.rule == "not counted: no simple rule tells the padding of words" and sorted(history) == ["loss"]
    assert any("the share of padding is not logged" in message for message in told)


# What cannot be tested is told.


def test_a_model_that_cannot_be_tested_is_trained_with_a_warning():
    inputs = keras.Input((5,), name="features")
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    guard = quick()
    history, told = fit(model, guard, data=arrays(x=IDS.astype("float32")))
    assert len(told) == 1 and "no input has a time axis" in told[0] and "batch 1 of fit could not be tested" in told[0]
    assert sorted(history) == ["loss"] and guard.rule.startswith("not counted") and guard.report is None


def test_a_clause_that_could_not_be_tested_is_told():
    model = model_of()
    _, told = fit(model, quick(batch=IDS, clauses=("amount", "loss")))  # without targets
    assert len(told) == 1 and "on the batch that was given, could not be tested: loss (" in told[0]


def test_a_guard_that_is_bypassed_says_so():
    class Bypassing(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.make_train_function(force=True)

    guard = quick()
    history, told = fit(model_of(), guard, Bypassing(), epochs=2)
    assert len(told) == 1 and "has seen no batch" in told[0] and sorted(history) == ["loss"]


def test_evaluate_and_predict_are_left_alone():
    model = model_of(times_two)
    model.evaluate(IDS, TARGETS, verbose=0, callbacks=[quick()])
    model.predict(IDS, verbose=0, callbacks=[quick()])


@pytest.mark.parametrize("options, message", [
    ({"action": "stop"}, "action='stop': choose 'raise'"),
    ({"clauses": "amounts"}, "there is no clause amounts"),
    ({"sides": ("pre", "left")}, "sides='left': choose 'pre'"),
])
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        PaddingGuard(**options)


# The assertion.


def test_the_assertion_names_the_culprit_and_the_remedy():
    with pytest.raises(AssertionError, match="(?s)the padding contract is broken\nBROKEN: amount.*\n\nfirst to blame: multiply"
                                             ".*, which loses the mask\nwhat to do: operations drop the mask"):
        assert_padding_contract(model_of(times_two), IDS, clauses=("amount", "loss"), targets=TARGETS)


def test_where_no_layer_leaks_the_clause_has_the_advice():
    report = PaddingReport([ClauseRow("metrics", BROKEN, "mse is 1, and 2 with padding", advice="wrap it")], [], 1e-4)
    words = "first to blame: no layer; the clause metrics is broken\nwhat to do: wrap it"
    assert culprit_words(model_of(), IDS, report) == words


def test_the_assertion_warns_of_what_was_not_tested():
    with pytest.warns(PaddingWarning, match="could not be tested: loss \\(.*targets"):
        assert_padding_contract(model_of(), IDS, clauses=("amount", "loss"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PaddingWarning)
        assert_padding_contract(model_of(), (IDS, TARGETS), clauses=("amount", "loss"), require="loss")
