"""The padding contract as a function: no alarm for sound models, the right clause for broken ones, no trace left."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from thorough import some_of

from masking_tutorial.contract import CLAUSES, check_padding
from masking_tutorial.custom_layers import CustomEmbedding, TemporalSoftmax
from masking_tutorial.guard import assert_padding_contract
from masking_tutorial.masked_windows import MaskedConv1D, MaskedGlobalMaxPooling1D

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
    pytest.mark.filterwarnings("ignore:.*does not support mask"),
]
WORDS = 12
IDS = np.array([[7, 6, 3, 0, 0, 0], [7, 9, 2, 5, 8, 0], [8, 9, 1, 6, 1, 9]])
VALID = IDS != 0
LENGTHS = VALID.sum(axis=1)
VECTORS = (np.random.default_rng(0).normal(size=(3, 6, 4)) * VALID[:, :, None]).astype("float32")
DICT = {"token_ids": IDS, "padding_mask": VALID.astype("int32"), "segment_ids": np.where(VALID, np.arange(6) // 3, 0)}


def ids_input(steps=None, name=None):
    return keras.Input((steps,), dtype="int32", name=name)


def embed(size=4, words=WORDS):
    return layers.Embedding(words, size, mask_zero=True)


def stack(*more):
    return keras.Sequential([embed(), *more])


def of_vectors(*more):
    return keras.Sequential([layers.Masking(), *more])


def compiled(model, loss="mse"):
    model.compile(loss=loss)
    return model


def broken_clauses(report):
    return {name for name, clause in report.clauses.items() if clause.status == "broken"}


# Sound models raise no alarm.


def implicit_transformer():
    ids = ids_input()
    x = embed()(ids)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 2)(x, x)]))
    return keras.Model(ids, layers.GlobalAveragePooling1D()(x))


def explicit_parts(padding_mask, x):
    x = x + layers.MultiHeadAttention(2, 2)(x, x, attention_mask=ops.expand_dims(padding_mask, 1))
    weights = ops.expand_dims(ops.cast(padding_mask, x.dtype), -1)
    return ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)


def explicit_transformer():
    inputs = {name: ids_input(name=name) for name in DICT}
    x = layers.Embedding(WORDS, 4)(inputs["token_ids"]) + layers.Embedding(2, 4)(inputs["segment_ids"])
    return keras.Model(inputs, explicit_parts(inputs["padding_mask"], x))


class Transformer(keras.Model):
    def __init__(self, mean_over_all=False):
        super().__init__()
        self.tokens, self.segments = layers.Embedding(WORDS, 4), layers.Embedding(2, 4)
        self.attention, self.mean_over_all = layers.MultiHeadAttention(2, 2), mean_over_all

    def call(self, inputs):
        x = self.tokens(inputs["token_ids"]) + self.segments(inputs["segment_ids"])
        x = x + self.attention(x, x, attention_mask=ops.expand_dims(inputs["padding_mask"], 1))
        weights = ops.expand_dims(ops.cast(inputs["padding_mask"], x.dtype), -1)
        return ops.mean(x, axis=1) if self.mean_over_all else ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)


def attention_pooling():
    ids = ids_input()
    x = embed()(ids)
    weights = TemporalSoftmax()(layers.Dense(1)(x))
    return keras.Model(ids, ops.sum(weights * x, axis=1))


def nested():
    inner = keras.Sequential([keras.Input((None, 4)), layers.LSTM(4, return_sequences=True), layers.Dense(3)])
    outer = keras.Sequential([keras.Input((None, 4)), inner, layers.GRU(3)])
    return stack(outer)


def with_features():
    ids, features = ids_input(name="ids"), keras.Input((6,), name="features")  # 6, like the steps
    joined = layers.Concatenate()([layers.LSTM(3)(embed()(ids)), layers.Dense(2)(features)])
    return keras.Model({"ids": ids, "features": features}, joined)


FEATURES = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")


def listed_features():
    model = with_features()
    return keras.Model([model.input["ids"], model.input["features"]], model.output)


def nested_outputs():
    ids = ids_input()
    x = layers.LSTM(4, return_sequences=True)(embed()(ids))
    return keras.Model(ids, {"steps": x, "whole": [layers.GlobalAveragePooling1D()(x), layers.LSTM(2)(x)]})


def mixed(head):
    keras.mixed_precision.set_global_policy("mixed_float16")
    return stack(layers.Bidirectional(layers.LSTM(16, return_sequences=True)), layers.LSTM(16), layers.Dense(4, dtype=head))


def fixed_length(pooled=True):
    ids = ids_input(6)
    return keras.Model(ids, layers.LSTM(3, return_sequences=not pooled)(embed()(ids)))


def function():
    table, lstm = embed(), layers.LSTM(3)
    return lambda ids: lstm(table(ids))


class Positions(layers.Layer):
    def __init__(self, longest):
        super().__init__()
        self.supports_masking, self.table = True, layers.Embedding(longest, 4)

    def call(self, inputs):
        return inputs + self.table(ops.arange(ops.shape(inputs)[1]))


def two_sequences():
    source, target = ids_input(), ids_input()
    state = layers.LSTM(4)(embed()(source))
    decoded = layers.LSTM(4, return_sequences=True)(embed()(target), initial_state=[state, state])
    return keras.Model([source, target], decoded)


TARGETS = np.array([[3, 4, 5, 2, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0], [4, 2, 2, 2, 2, 0, 0]])


def told_lengths():
    dense = layers.Dense(2)

    def mean(batch):
        steps = ops.arange(batch["x"].shape[1])
        weights = ops.cast(steps < ops.reshape(ops.cast(batch["n"], "int32"), (-1, 1)), "float32")[:, :, None]
        return dense(ops.sum(batch["x"] * weights, axis=1) / ops.sum(weights, axis=1))

    return mean


def implicit_and_explicit():
    ids, mask = ids_input(name="ids"), keras.Input((None,), dtype="bool", name="mask")
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(embed()(ids))
    weights = ops.expand_dims(ops.cast(mask, "float32"), -1)
    return keras.Model({"ids": ids, "mask": mask}, ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1))


def chosen_positions():
    inputs = {"token_ids": ids_input(), "padding_mask": ids_input(), "mask_positions": ids_input(2)}
    x = layers.Embedding(WORDS, 4)(inputs["token_ids"]) * ops.expand_dims(ops.cast(inputs["padding_mask"], "float32"), -1)
    return keras.Model(inputs, ops.take_along_axis(x, ops.expand_dims(inputs["mask_positions"], -1), axis=1))


CHOSEN = {"token_ids": IDS, "padding_mask": DICT["padding_mask"], "mask_positions": np.array([[0, 2], [1, 3], [0, 1]])}


def scores():
    table, attention = embed(), layers.MultiHeadAttention(2, 2)
    return lambda ids: attention(table(ids), table(ids), return_attention_scores=True)


class WithInfinity(layers.Layer):
    "A column of -inf, as for a class that cannot be."

    def call(self, inputs):
        return ops.concatenate([inputs, ops.full((ops.shape(inputs)[0], 1), -float("inf"))], axis=-1)


def never_the_last_class():
    return stack(layers.LSTM(3), WithInfinity())


def ignoring():
    return compiled(
        keras.Sequential([layers.Embedding(WORDS, 4), layers.Dense(5)]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
    )


SOUND = {
    "LSTM": (lambda: stack(layers.LSTM(3)), IDS),
    "GRU": (lambda: stack(layers.GRU(3)), IDS),
    "SimpleRNN": (lambda: stack(layers.SimpleRNN(3)), IDS),
    "Bidirectional": (lambda: stack(layers.Bidirectional(layers.LSTM(3))), IDS),
    "stacked, an output for each step": (lambda: stack(layers.GRU(4, return_sequences=True), layers.LSTM(3, return_sequences=True), layers.Dense(2)), IDS),
    "floats": (lambda: of_vectors(layers.LSTM(3)), VECTORS),
    "GlobalAveragePooling1D": (lambda: stack(layers.Dense(4), layers.GlobalAveragePooling1D()), IDS),
    "Functional transformer, implicit": (implicit_transformer, IDS),
    "Functional transformer, explicit": (explicit_transformer, DICT),
    "subclassed transformer, explicit": (Transformer, DICT),
    "masked convolution and pooling": (lambda: stack(MaskedConv1D(4, 3, padding="same"), MaskedGlobalMaxPooling1D()), IDS),
    "causal convolution": (lambda: stack(layers.Conv1D(3, 2, padding="causal")), IDS),
    "fewer steps than the input": (lambda: stack(MaskedConv1D(3, 2), layers.Dense(2)), IDS),
    "attention pooling": (attention_pooling, IDS),
    "attention scores": (scores, IDS),
    "nested": (nested, IDS),
    "BatchNormalization and Dropout": (lambda: stack(layers.BatchNormalization(), layers.Dropout(0.5), layers.LSTM(3, dropout=0.5)), IDS),
    "an input without time": (with_features, {"ids": IDS, "features": FEATURES}),
    "inputs as a list, the batch by name": (listed_features, {"ids": IDS, "features": FEATURES}),
    "nested outputs": (nested_outputs, IDS),
    "mixed_float16": (lambda: mixed("float16"), IDS),
    "mixed_float16 with a float32 head": (lambda: mixed("float32"), IDS),
    "fixed length": (fixed_length, IDS),
    "fixed length, an output for each step": (lambda: fixed_length(pooled=False), IDS),
    "pre-padded": (lambda: stack(layers.LSTM(3, return_sequences=True)), IDS[:, ::-1]),
    "pre-padded, with lengths": (lambda: stack(layers.LSTM(3)), IDS[:, ::-1], {"lengths": LENGTHS}),
    "a function": (function, IDS),
    "a layer": (lambda: layers.Conv1D(3, 2, padding="causal"), VECTORS, {"lengths": LENGTHS}),
    "positions for no more steps": (lambda: stack(Positions(6), layers.LSTM(3)), IDS),
    "an encoder and a decoder": (two_sequences, [IDS, TARGETS], {"static": ("1",)}),
    "an encoder and a decoder of as many steps": (two_sequences, [IDS, TARGETS[:, :6]], {"static": ("1",)}),
    "two sequences, each with its own padding": (two_sequences, [IDS, TARGETS]),
    "two sequences of as many steps, each with its own padding": (two_sequences, [IDS, TARGETS[:, :6]]),
    "told the lengths": (told_lengths, {"x": VECTORS, "n": LENGTHS}),
    "implicit and explicit": (implicit_and_explicit, {"ids": IDS, "mask": VALID}),
    "mask_positions": (chosen_positions, CHOSEN, {"static": ("mask_positions",)}),
    "an infinite output": (never_the_last_class, IDS),
    "a loss for each step": (lambda: compiled(stack(layers.Dense(1))), IDS, {"targets": np.ones((3, 6, 1))}),
    "a loss for the whole": (lambda: compiled(stack(layers.LSTM(2))), IDS, {"targets": np.ones((3, 2))}),
    "as many classes as steps": (lambda: compiled(stack(layers.LSTM(6), layers.Softmax()), "categorical_crossentropy"), IDS, {"targets": np.eye(6)[:3]}),
    "a loss that ignores a class": (ignoring, IDS, {"targets": np.where(VALID, IDS % 5, -1)}),
}
# these know of no mask
AMOUNT_ONLY = {"a layer", "a loss that ignores a class"}


@pytest.mark.parametrize("name", some_of(SOUND, 3))
def test_a_sound_model_raises_no_alarm(name):
    make, batch, options, *_ = *SOUND[name], {}
    report = check_padding(make(), batch, **options)
    assert report, f"\n{report}"
    # the graph of a model of one length takes others, too
    assert report.clauses["amount"].status == report.clauses["gradients"].status == "kept", f"\n{report}"
    if name not in AMOUNT_ONLY:
        assert report.clauses["content"].status == "kept", f"\n{report}"
    if "loss" in name or "classes" in name:
        assert report.clauses["loss"].status == "kept", f"\n{report}"


def test_a_model_that_keeps_both_sides_and_nan_out_is_found_sound():
    report = check_padding(stack(layers.LSTM(3)), IDS, sides=("pre", "post"), nan=True)
    assert report and report.clauses["side"].status == "kept"
    assert check_padding(stack(layers.LSTM(3)), IDS, sides="pre").clauses["side"].status == "kept"


def test_what_cannot_run_in_a_graph_is_no_alarm_and_not_tested():
    class Eager(keras.Model):
        def __init__(self):
            super().__init__()
            self.table, self.lstm = embed(), layers.LSTM(3)

        def call(self, ids):
            float(ops.max(ids))
            return self.lstm(self.table(ids))

    report = check_padding(Eager(), IDS)
    assert report and report.clauses["amount"].status == "kept"
    for name in ("predict", "compiled"):
        assert report.clauses[name].status == "could not be tested" and "TypeError" in report.clauses[name].reason


# Broken models are found, and by the right clause.


class Block(keras.Model):
    "An embedding, and what the case does with it."

    def __init__(self, inner, *parts):
        super().__init__()
        self.table, self.parts, self.inner = embed(), list(parts), inner

    def call(self, ids):
        return self.inner(self.table(ids), *self.parts)


def s1_stripped():
    return Block(
        lambda x, attention, add, mean: mean(add([x, attention(x, x)])),
        layers.MultiHeadAttention(2, 2), layers.Add(), layers.GlobalAveragePooling1D(),
    )


def s4_positions():
    ids = ids_input()
    x = embed()(ids)
    positions = layers.Embedding(20, 4)(ops.cumsum(ops.ones_like(ids), axis=1))
    return keras.Model(ids, layers.LSTM(3)(layers.Add()([x, positions])))


def s5_official_example():
    ids = ids_input()
    x = layers.Embedding(WORDS, 4)(ids)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 2)(x, x))
    return keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def s6_boundary():
    pool = layers.GlobalAveragePooling1D()
    pooled = tf.function(lambda x: pool(x), autograph=False)
    return Block(lambda x: pooled(x))


def s7_autoencoder():
    return compiled(of_vectors(layers.LSTM(4), layers.RepeatVector(6), layers.LSTM(4, return_sequences=True), layers.Dense(4)))


def s10(change):
    inputs = {name: ids_input(name=name) for name in DICT}
    x = layers.Embedding(WORDS, 4)(inputs["token_ids"])
    mask = change(ops.expand_dims(inputs["padding_mask"], 1))
    return keras.Model(inputs, layers.MultiHeadAttention(1, 2)(x, x, attention_mask=mask))


class Total(layers.Layer):
    def call(self, inputs):
        return ops.sum(inputs, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class MinusBatchMean(layers.Layer):
    def call(self, inputs):
        return inputs - ops.mean(inputs, axis=0, keepdims=True)


class SharesOfSum(layers.Layer):
    def call(self, inputs, mask=None):
        shares = inputs / ops.sum(inputs, axis=-1, keepdims=True)
        return ops.sum(ops.where(mask[:, :, None], shares, 0), axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class EverySecond(layers.Layer):
    "Forgets to shorten its mask."

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        return ops.where(mask[:, :, None], inputs, 0)[:, ::2]


class OnlyWithMuchPadding(layers.Layer):
    def call(self, inputs, mask=None):
        valid = ops.cast(mask, "float32")[:, :, None]
        many = ops.cast(ops.sum(1 - valid, axis=1) > 5, "float32")
        return ops.sum(inputs * valid, axis=1) + many

    def compute_mask(self, inputs, mask=None):
        return None


class OfOthers(layers.Layer):
    "0/0 for a sequence of one step, and a mean that counts padding for all others."

    def call(self, inputs, mask=None):
        count = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
        return ops.mean(inputs, axis=1) * (count - 1) / (count - 1)

    def compute_mask(self, inputs, mask=None):
        return None


class LastStep(layers.Layer):
    "The last valid step, if padding comes after the data."

    def call(self, inputs, mask=None):
        last = ops.sum(ops.cast(mask, "int32"), axis=1) - 1
        return ops.take_along_axis(inputs, last[:, None, None], axis=1)[:, 0]

    def compute_mask(self, inputs, mask=None):
        return None


@keras.saving.register_keras_serializable(package="test_contract")
class Forgetful(CustomEmbedding):
    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "mask_zero"}


def shares():
    return of_vectors(layers.Dense(4, use_bias=False, kernel_initializer=keras.initializers.RandomUniform(0.5, 1)), SharesOfSum())


ONE_STEP = IDS * np.array([[1, 0, 0, 0, 0, 0], [1] * 6, [1] * 6])

BROKEN = {
    "S1": (s1_stripped, IDS, {"amount", "content", "gradients"}),
    "S3": (lambda: Block(lambda x, lstm: lstm(x * 2), layers.LSTM(3)), IDS, {"amount", "content", "gradients"}),
    "S3, a loss": (lambda: compiled(Block(lambda x, dense: dense(x * 2), layers.Dense(1))), IDS, {"loss"}, {"targets": np.ones((3, 6, 1))}),
    "S4": (s4_positions, IDS, {"amount", "content", "gradients"}),
    "S5": (s5_official_example, IDS, {"amount", "gradients"}),
    "S6": (s6_boundary, IDS, {"amount", "content", "gradients"}),
    "S7": (s7_autoencoder, VECTORS, {"loss"}, {"targets": VECTORS}),
    "S10, additive": (lambda: s10(lambda mask: (1 - ops.cast(mask, "float32")) * -1e9), DICT, {"amount", "content"}),
    "S10, inverted": (lambda: s10(lambda mask: 1 - mask), DICT, {"amount", "content"}),
    "L4": (lambda: stack(layers.Conv1D(3, 3, padding="same", bias_initializer="ones"), layers.Conv1D(3, 3, padding="same")), IDS, {"amount", "content"}),
    "L5, softmax over the wrong axis": (lambda: stack(layers.Dense(1), layers.Lambda(lambda x: ops.softmax(x, axis=1))), IDS, {"amount", "content"}),
    "flattened": (lambda: keras.Sequential([ids_input(6), embed(), layers.Flatten(), layers.Dense(2)]), IDS, {"content"}),
    "an explicit mask is not used": (lambda: Transformer(mean_over_all=True), DICT, {"amount", "content"}),
    "content only": (lambda: of_vectors(Total()), VECTORS, {"content", "influence"}),
    "neighbours": (lambda: stack(layers.LSTM(3), MinusBatchMean()), IDS, {"neighbours"}),
    "gradients only": (shares, np.abs(VECTORS), {"gradients", "influence"}),
    "a stale mask of three axes": (lambda: stack(EverySecond()), IDS, {"mask"}),
    "more padding only": (lambda: stack(OnlyWithMuchPadding()), IDS, {"amount"}),
    "NaN for one sequence alone": (lambda: stack(OfOthers()), ONE_STEP, {"amount"}),
    "infinity beside a leak": (lambda: stack(layers.Lambda(lambda x: ops.mean(x, axis=1)), WithInfinity()), IDS, {"amount", "content"}),
    "side": (lambda: stack(LastStep()), IDS, {"side"}, {"sides": ("pre",)}),
    "lost on saving": (lambda: keras.Sequential([Forgetful(WORDS, 4, mask_zero=True), layers.LSTM(3)]), IDS, {"saved"}),
    "a mask lost on saving": (lambda: keras.Sequential([Forgetful(WORDS, 4, mask_zero=True), layers.Dense(3)]), IDS, {"saved"}),
}
ALONE = { "a stale mask of three axes", "side", "S7", "S3, a loss",
         "lost on saving", "a mask lost on saving"}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_is_found_by_the_right_clause(name):
    make, batch, expected, options, *_ = *BROKEN[name], {}
    report = check_padding(make(), batch, **options)
    assert not report
    clauses = broken_clauses(report)
    assert clauses == expected if name in ALONE else clauses >= expected, f"\n{report}"


def test_nan_in_padding_is_tested_where_it_is_asked_for():
    class Zeroed(Total):
        def call(self, inputs, mask=None):
            return ops.sum(inputs * ops.cast(mask, inputs.dtype)[:, :, None], axis=1)

    assert check_padding(stack(Zeroed()), IDS)
    report = check_padding(stack(Zeroed()), IDS, nan=True)
    assert broken_clauses(report) == {"content"} and report.clauses["content"].difference == math.inf


# Bad input is refused, by message.


class Moody(layers.Layer):
    def call(self, inputs):
        return ops.mean(inputs, axis=1) * keras.random.uniform(())


def lstm():
    return stack(layers.LSTM(3))


REFUSED = {
    "one sequence": (lstm, IDS[:1], {}, "the batch has 1 sequences and 3 padded steps: at least two sequences"),
    "no padding": (lstm, IDS[2:].repeat(2, axis=0), {}, "the batch has 2 sequences and 0 padded steps"),
    "padding alone": (lstm, IDS * [[1], [0], [1]], {}, "sequence 1 has no valid step"),
    "a mask with a hole": (lstm, IDS * [1, 0, 1, 1, 1, 1], {}, "sequence 0 has a hole: valid steps go on at step 2"),
    "a mask of other numbers": (explicit_transformer, DICT | {"padding_mask": IDS}, {}, "the input padding_mask is no mask: it holds values other than 0 and 1"),
    "no time axis": (lambda: layers.Dense(3), np.ones(4), {}, "no input has a time axis"),
    "several batch sizes": (explicit_transformer, DICT | {"token_ids": IDS[:2]}, {}, "the first axis of each must be the batch"),
    "randomness": (Moody, VECTORS, {}, "the model gives two answers for the same batch"),
    "a state that changes": (lambda: stack(layers.LSTM(3, stateful=True)), IDS, {}, "the model gives two answers for the same batch"),
    "no tensor": (lambda: lambda ids: "answer", IDS, {}, "the model returns str, which is no tensor"),
    "strings": (lambda: lambda ids: tf.strings.as_string(ids), IDS, {}, "the model returns strings"),
    "no batch axis": (lambda: lambda x: ops.sum(x), VECTORS, {}, "its first axis must be the batch"),
    "nothing to make a batch from": (Moody, None, {}, "the model has no input specs"),
    "features, and no time": (lambda: keras.Sequential([keras.Input((6,)), layers.Dense(2)]), IDS.astype("float32"), {}, "no input has a time axis"),
    "ids out of range": (lambda: keras.Sequential([embed(words=9), layers.LSTM(3)]), IDS, {}, "the batch holds the id 9, but layer 'embedding.*' knows the ids 0 to 8 only"),
    "too few lengths": (lstm, IDS, {"lengths": [3, 5]}, r"lengths has the shape \(2,\): it must hold a number for each of the 3"),
    "too long": (lstm, IDS, {"lengths": [3, 5, 7]}, "sequence 2 has the length 7"),
    "too few targets": (lambda: compiled(stack(layers.Dense(1))), IDS, {"targets": np.ones((2, 6, 1))}, "there are 2 targets for 3 sequences"),
    "an unknown side": (lstm, IDS, {"sides": "left"}, "sides='left': choose 'pre'"),
    "too short for the model": (lambda: stack(layers.Conv1D(3, 3), layers.LSTM(3)), ONE_STEP, {}, "for sequence 0 alone, with its 1 steps"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_by_name(name):
    make, batch, options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        check_padding(make(), batch, **options)


# The model is left as it was.


def everything(model):
    variables = [*model.variables, *model.metrics_variables, *(getattr(model.layers[-1], "states", None) or [])]
    return [variable.numpy().copy() for variable in variables]


@pytest.mark.parametrize("stateful", [False, True])
def test_the_model_and_keras_are_left_as_they_were(stateful):
    model = stack(layers.BatchNormalization(), layers.Dropout(0.5), layers.LSTM(2, stateful=stateful))
    model.compile(loss="mse", metrics=["mae"])
    model.fit(IDS, np.ones((3, 2)), batch_size=3, verbose=0)
    before, call = everything(model), keras.layers.Layer.__call__
    if stateful:
        with pytest.raises(ValueError, match="two answers"):
            check_padding(model, IDS, targets=np.ones((3, 2)))
    else:
        assert check_padding(model, IDS, targets=np.ones((3, 2))).clauses["loss"].status == "kept"
    assert keras.layers.Layer.__call__ is call
    for old, new in zip(before, everything(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_model_and_keras_are_left_as_they_were_after_an_exception():
    class Failing(layers.Layer):
        def __init__(self):
            super().__init__()
            self.count, self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False), 0

        def call(self, inputs):
            self.count.assign_add(1)
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("three are too many")
            return inputs

    layer, call = Failing(), keras.layers.Layer.__call__
    with pytest.raises(RuntimeError, match="three are too many"):
        check_padding(layer, VECTORS, lengths=LENGTHS)
    assert keras.layers.Layer.__call__ is call and float(layer.count) == 0


# The report.


@pytest.fixture(scope="module")
def reports():
    keras.utils.set_random_seed(0)
    leak = stack(layers.Conv1D(3, 3, padding="same"))
    return check_padding(lstm(), IDS), check_padding(leak, IDS)


def test_a_report_is_true_if_nothing_is_broken_and_lists_every_clause(reports):
    sound, broken = reports
    assert sound and not broken
    for report in reports:
        assert tuple(report.clauses) == tuple(CLAUSES)
        lines = repr(report).splitlines()
        assert lines[0] == report.verdict and [line.split()[0] for line in lines if not line.startswith(" ") and line][1:-1] == ["clause", *CLAUSES]
        assert report._repr_html_().count("<tr") == 1 + len(CLAUSES)
        assert "<lambda>" not in report._repr_html_()
    assert "broken" in repr(broken) and "broken" not in repr(sound)


def test_a_report_is_json_that_says_the_same(reports):
    for report in reports:
        read = json.loads(report.to_json(), parse_constant=pytest.fail)
        assert read["ok"] == bool(report) and read["tolerance"] == report.tolerance
        assert read["verdict"] == report.verdict
        assert {row["name"]: row["status"] for row in read["rows"]} == {name: clause.status for name, clause in report.clauses.items()}
    report = check_padding(of_vectors(Total()), VECTORS, nan=True)
    read = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert next(row for row in read["rows"] if row["name"] == "content")["difference"] is None


class Spoiled(layers.Layer):
    "Adds what padding holds to one step of one sequence."

    def call(self, inputs, mask=None):
        padding = ops.sum(ops.where(mask[:, :, None], 0, 1.0), axis=1)
        at_step_one = ops.cast(ops.arange(ops.shape(inputs)[1]) == 1, "float32")[None, :, None]
        short = ops.cast(ops.sum(ops.cast(mask, "int32"), axis=1) == 5, "float32")[:, None, None]
        return inputs + at_step_one * short * padding[:, None]


def test_where_names_the_sequence_the_step_and_the_output():
    ids = ids_input()
    x = embed()(ids)
    model = keras.Model(ids, [layers.LSTM(5)(x), Spoiled()(x)])  # 5 features are no steps
    report = check_padding(model, IDS)
    assert report.clauses["amount"].where == "sequence 1, step 1, output 1"
    report = check_padding(model, IDS[:, ::-1])
    assert report.clauses["amount"].status == "broken"
    report = check_padding(stack(layers.Lambda(lambda x: ops.repeat(ops.max(x, axis=1), 2, axis=-1)[:, :5])), IDS)
    assert report.clauses["content"].where.startswith("sequence ") and "step" not in report.clauses["content"].where


def test_assert_padding_contract_raises_with_the_report():
    assert assert_padding_contract(lstm(), IDS) is None
    with pytest.raises(AssertionError, match=r"^the padding contract is broken\nBROKEN: amount, .*\n\nclause +status(.|\n)*amount +broken"):
        assert_padding_contract(stack(layers.Conv1D(3, 3, padding="same")), IDS)


def test_a_tolerance_of_zero_is_taken_at_its_word():
    assert check_padding(lstm(), IDS, tolerance=0).tolerance == 0
    assert check_padding(stack(layers.Conv1D(3, 3, padding="same")), IDS, tolerance=1e6)


# Without a batch one is made.


@pytest.mark.parametrize(
    "make",
    [explicit_transformer, fixed_length, implicit_transformer, with_features, lambda: keras.Sequential([keras.Input((None, 4)), layers.Masking(), layers.GRU(3)])],
    ids=["explicit", "fixed", "implicit", "features", "floats"],
)
def test_without_a_batch_one_is_made(make):
    report = check_padding(make())
    assert report and report.clauses["content"].status == "kept", f"\n{report}"


def test_a_made_batch_finds_a_broken_model():
    assert "content" in broken_clauses(check_padding(s4_positions()))


def masked_lstm():
    return keras.Sequential([layers.Embedding(WORDS, 4, mask_zero=True), layers.LSTM(3)])


def pooled_by_mask():
    ids, mask = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None,), dtype="bool", name="mask")
    return keras.Model({"ids": ids, "mask": mask}, layers.LSTM(3)(layers.Embedding(WORDS, 4)(ids), mask=mask))


def test_a_mask_that_says_other_than_the_lengths_is_refused():
    with pytest.raises(ValueError, match="^the input mask marks other steps than lengths: a mask is True where a step is valid$"):
        check_padding(pooled_by_mask(), {"ids": IDS, "mask": VALID}, lengths=[6, 5, 3])


def test_a_name_in_static_that_no_input_has_is_refused():
    with pytest.raises(ValueError, match="^static names nothing, but the inputs are ids, mask$"):
        check_padding(pooled_by_mask(), {"ids": IDS, "mask": VALID}, static=("nothing",))


def test_lists_that_are_not_padded_yet_are_refused_with_advice():
    with pytest.raises(ValueError, match=r"pad a list of sequences first, with pad_sequences\)$"):
        check_padding(masked_lstm(), [[7, 6, 3], [7, 9]])


def test_a_required_clause_must_have_been_tested():
    assert_padding_contract(masked_lstm(), IDS, require=["amount", "gradients", "saved"])
    with pytest.raises(AssertionError, match="^not tested, but required: side, loss\n"):
        assert_padding_contract(masked_lstm(), IDS, require=["amount", "side", "loss"])
    with pytest.raises(ValueError, match="^there is no clause speed: the clauses are amount, "):
        assert_padding_contract(masked_lstm(), IDS, require=["speed"])


def test_the_report_names_the_inputs_that_were_not_varied():
    ids, size = keras.Input((None,), dtype="int32", name="ids"), keras.Input((4,), name="size")
    words = layers.LSTM(4)(layers.Embedding(WORDS, 4, mask_zero=True)(ids))
    report = check_padding(keras.Model([ids, size], words + size), [IDS, VECTORS[:, 0]])
    assert report and any("size" in note and "not varied" in note for note in report.notes)
    assert "not varied" in repr(report) and "not varied" in report._repr_html_() and json.loads(report.to_json())["notes"] == report.notes


def test_a_batch_is_made_for_a_model_that_takes_few_steps():
    ids = keras.Input((None,), dtype="int32")
    places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    words = layers.Add()([layers.Embedding(WORDS, 4, mask_zero=True)(ids), layers.Embedding(6, 4)(places)])
    report = check_padding(keras.Model(ids, layers.LSTM(3)(words)))
    assert report.clauses["amount"].status == "broken"  # Add drops the mask


def test_the_level_of_tensorflow_s_logger_is_left_as_it_was():
    tf.get_logger().setLevel("INFO")
    check_padding(masked_lstm(), IDS)
    assert tf.get_logger().level == 20


def test_a_large_output_does_not_hide_a_small_one():
    ids = ids_input()
    banned = np.where(np.arange(4) == 0, np.float32(-1e9), np.float32(0))
    x = layers.GlobalAveragePooling1D()(layers.Embedding(WORDS, 4)(ids))
    assert "amount" in broken_clauses(check_padding(keras.Model(ids, layers.Dense(4)(x) + banned), IDS))


def test_nan_that_is_always_there_is_refused():
    ids = ids_input()
    model = keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(embed()(ids))))
    model.layers[-1].bias.assign([np.nan, np.nan])
    with pytest.raises(ValueError, match="output 0 is NaN at valid steps of sequence 0, with and without padding"):
        check_padding(model, IDS)
