"""Cases from the field, F1 to F16 and F24, each with its kin: padding that leaks is found, and what is right is not blamed.

What is true of each one is measured first, by brute force and without the instruments."""

import re
from functools import partial, reduce
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from brute import evaluated, leak, valid_steps
from keras import layers, ops

from masking_tutorial import assert_padding_contract, audit, check_padding, find_leaks, lint_batch

pytestmark = [
    pytest.mark.usefixtures("seeded", "without_graphs"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
    pytest.mark.filterwarnings("ignore:.*does not support mask"),
]
LEAKS, ROUNDING = 1e-3, 2e-6  # what is surely more than rounding in float32, and what is surely no more

SEQUENCES = [[3, 7, 9], [4, 8, 2, 6, 5], [1, 9]]
LENGTHS = np.array([3, 5, 2])
IDS = keras.utils.pad_sequences(SEQUENCES, padding="post")
PRE = keras.utils.pad_sequences(SEQUENCES)
VALID = valid_steps(LENGTHS, 5)
LONG_LENGTHS = np.array([3, 5, 8])
LONG = np.random.default_rng(0).integers(1, 10, (3, 8)) * valid_steps(LONG_LENGTHS, 8)
RANDOM = np.random.default_rng(1)
VECTORS = (RANDOM.normal(size=(3, 5, 4)) * VALID[:, :, None]).astype("float32")
PRE_VECTORS = np.stack([np.roll(vectors, 5 - length, axis=0) for vectors, length in zip(VECTORS, LENGTHS)])
WINDOW = RANDOM.normal(size=(3, 8, 2)).astype("float32")  # never padded


def ids_input(name=None, steps=None):
    return keras.Input((steps,), dtype="int32", name=name)


def embed(mask=True, **options):
    return layers.Embedding(10, 4, mask_zero=mask, embeddings_initializer=keras.initializers.RandomNormal(stddev=1), **options)


def stack(*more, mask=True):
    return keras.Sequential([embed(mask), *more])


def chain(*parts):
    return keras.Sequential(list(parts))


def functional(build, steps=None):
    ids = ids_input(steps=steps)
    return keras.Model(ids, build(ids))


def compiled(model, loss="mse", **options):
    model.compile(loss=loss, **options)
    return model


def broken(report):
    return {name for name, row in report.clauses.items() if row.status == "broken"}


def said(row):
    "What a row says in words."
    return " ".join(str(getattr(row, name)) for name in ("name", "reason", "where", "problem", "advice") if hasattr(row, name))


def plain(name):
    "A name without the number that Keras adds."
    return re.sub(r"_\d+$", "", name)


class Case(NamedTuple):
    make: object        # gives the model
    batch: object       # what the instruments get
    lengths: object     # of each input, for the brute force; None for one that is never padded
    options: dict = {}  # what the instruments are told
    side: object = "post"  # of the padding, for the brute force
    spoiled: tuple = ()    # the inputs whose padding may hold other values, for the brute force
    behind: int = 0        # how many layers make the mask: the brute force spoils what comes out of them
    clauses: str = "amount"  # that are broken
    first: str = ""          # name of the first offender, or its beginning

    def leaks(self):
        "How far padding moves the answer, as a share of it."
        model = self.make()
        if self.behind:  # none of the layers in this table uses the mask
            model = partial(reduce, lambda x, layer: layer(x), model.layers[self.behind :])
        return leak(model, self.batch, self.lengths, self.side, self.spoiled)


# Padding leaks, and the instruments say so: F1, F2, F4.


class Sum(layers.Layer):
    "Over the axes that are named, whatever the mask."

    def __init__(self, *axes, **options):
        super().__init__(**options)
        self.axes = axes

    def call(self, inputs):
        return ops.sum(inputs, axis=self.axes)

    def compute_mask(self, inputs, mask=None):
        return None


class Pairs(layers.Layer):
    "Adds up the differences of two features: the same value in both of them cancels out."

    def call(self, inputs):
        return ops.sum(inputs[..., ::2] - inputs[..., 1::2], axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


def vectors_through(*more):
    return chain(layers.Masking(), *more)


def pair(name_a="source", name_b="target", steps=None):
    return ids_input(name_a, steps), ids_input(name_b, steps)


def encoder_decoder(source_mask=False, target_mask=True, as_dict=False, reverse=False, pooled=True):
    source, target = pair()
    words, translated = embed(source_mask)(source), embed(target_mask)(target)
    if pooled:
        state = layers.GlobalAveragePooling1D(name="encoder")(words)
        decoded = layers.Dense(4, name="decoder")(translated + state[:, None])
    else:
        state = layers.GRU(4, name="encoder")(words)
        decoded = layers.GRU(4, return_sequences=True, name="decoder")(translated, initial_state=state)
    inputs = [target, source] if reverse else [source, target]
    return keras.Model({tensor.name: tensor for tensor in inputs} if as_dict else inputs, decoded)


def pooled_vectors_beside_ids():
    features, target = keras.Input((None, 4), name="features"), ids_input("target")
    pooled = layers.GlobalAveragePooling1D(name="pooled")(features)
    return keras.Model([features, target], layers.concatenate([pooled, layers.GlobalAveragePooling1D()(embed()(target))]))


def masked_beside_unmasked():
    source, target = pair()
    parts = [layers.GlobalAveragePooling1D(name=name)(embed(name == "a")(ids)) for name, ids in zip("ab", (source, target))]
    return keras.Model([source, target], layers.concatenate(parts))


def three_inputs():
    inputs = [ids_input(name) for name in ("title", "body", "tags")]
    parts = [layers.GlobalAveragePooling1D(name=f"mean_of_{ids.name}")(embed(ids.name != "tags")(ids))
             for ids in inputs]
    return keras.Model({ids.name: ids for ids in inputs}, layers.concatenate(parts))


THREE = {"title": IDS, "body": LONG, "tags": LONG[:, [0, 1, 5, 6]]}
THREE_LENGTHS = {"title": LENGTHS, "body": LONG_LENGTHS, "tags": np.array([2, 2, 4])}
LONG_PRE = np.stack([np.roll(row, 8 - length) for row, length in zip(LONG, LONG_LENGTHS)])
BOTH = [LONG_LENGTHS, LENGTHS]
TOLD, SIDE = {"lengths": LENGTHS}, {"side": "pre"}
CONTENT = {"spoiled": (0,), "behind": 1, "clauses": "content"}

LEAKING = {
    "F1": Case(lambda: stack(layers.LSTM(4, return_sequences=True, name="lstm"), mask=False), PRE, LENGTHS, TOLD, "pre", first="lstm"),
    "F1, the side instead of lengths": Case(lambda: stack(layers.Conv1D(3, 3, padding="causal", name="conv"), mask=False), PRE, LENGTHS, SIDE, "pre", first="conv"),
    "F1, a convolution": Case(lambda: stack(layers.Conv1D(3, 2, padding="causal", name="conv"), mask=False), PRE, LENGTHS, TOLD, "pre", first="conv"),
    "F1, vectors": Case(lambda: keras.Sequential([layers.SimpleRNN(3, return_sequences=True, bias_initializer="ones", name="rnn")]), PRE_VECTORS, LENGTHS, TOLD, "pre", first="rnn"),
    "F1, five steps only": Case(lambda: functional(lambda ids: layers.Conv1D(3, 2, padding="causal", name="conv")(embed(False)(ids)), steps=5), PRE, None, TOLD, "pre", first="conv"),
    "F2": Case(lambda: vectors_through(Sum(1, 2, name="total")), VECTORS, LENGTHS, **CONTENT, first="total"),
    "F2, one after the other": Case(lambda: vectors_through(Sum(2, name="features"), Sum(1, name="steps")), VECTORS, LENGTHS, **CONTENT, first="steps"),
    "F2, differences of features": Case(lambda: vectors_through(Pairs(name="pairs")), VECTORS, LENGTHS, **CONTENT, first="pairs"),
    "F4": Case(partial(encoder_decoder, pooled=False), [LONG, IDS], BOTH, first="encoder"),
    "F4, by name": Case(lambda: encoder_decoder(as_dict=True), {"source": LONG, "target": IDS}, dict(zip(("source", "target"), BOTH)), {"lengths": {"source": LONG_LENGTHS, "target": LENGTHS}}, first="encoder"),
    "F4, as many steps": Case(encoder_decoder, [LONG, np.pad(IDS, ((0, 0), (0, 3)))], BOTH, first="encoder"),
    "F4, the target first": Case(lambda: encoder_decoder(reverse=True), [IDS, LONG], BOTH[::-1], first="encoder"),
    "F4, the source in front": Case(encoder_decoder, [LONG_PRE, IDS], BOTH, {"side": {"source": "pre", "target": "post"}}, {0: "pre", 1: "post"}, first="encoder"),
    "F4, vectors": Case(pooled_vectors_beside_ids, [VECTORS, LONG], BOTH[::-1], first="pooled"),
    "F4, the second has no mask": Case(masked_beside_unmasked, [LONG, IDS], BOTH, first="b"),
    "F4, the third has no mask": Case(three_inputs, THREE, THREE_LENGTHS, first="mean_of_tags"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKING)
def test_the_truth_padding_moves_a_valid_answer(name):
    case = LEAKING[name]
    if case.lengths is None:  # it takes one number of steps: its copy with free steps tells
        case = case._replace(make=lambda: stack(layers.Conv1D(3, 2, padding="causal"), mask=False), lengths=LENGTHS)
    assert case.leaks() > LEAKS


# the contract is the dearer of the two: where find_leaks alone tells of a kind, it is enough
FOUND_BY_LEAKS = {"F4, the target first", "F4, the third has no mask", "F9, the side instead of lengths", "F10, the window first",
                  "F10, lengths by place", "F11, other steps", "F11, a dict", "F15, segments first"}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LEAKING.keys() - FOUND_BY_LEAKS))
def test_padding_that_leaks_breaks_the_contract_and_the_right_clause(name):
    case = LEAKING[name]
    report = check_padding(case.make(), case.batch, **case.options)
    assert not report.ok and not report
    assert broken(report) >= set(case.clauses.split()), f"\n{report}"


@pytest.mark.parametrize("name", LEAKING)
def test_the_first_offender_is_the_layer_that_lets_padding_in(name):
    case = LEAKING[name]
    leaks = find_leaks(case.make(), case.batch, **case.options)
    assert not leaks.ok and leaks.first is not None, f"\n{leaks}"
    assert plain(leaks.first.name) == case.first, f"\n{leaks}"


# What raises at padding is a finding: F3.


class Raises(layers.Layer):
    "Raises where `when` says so of the values and the mask; in a graph it has no values to look at."

    def __init__(self, when, **options):
        super().__init__(**options)
        self.when, self.supports_masking = when, True

    def call(self, inputs, mask=None):
        if hasattr(inputs, "numpy"):
            valid = np.ones(inputs.shape[:2], bool) if mask is None else np.asarray(mask)
            if self.when(np.asarray(inputs), valid):
                raise ValueError("these values cannot be")
        return inputs

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


RAISING = {
    "F3": lambda x, valid: (x > 5).any(),
    "F3, below": lambda x, valid: (x < -5).any(),
    "F3, anything at padding": lambda x, valid: (x[~valid] != 0).any(),
}


def checked(when):
    return keras.Sequential([layers.Masking(), Raises(when, name="checked"), layers.GlobalAveragePooling1D()])


@pytest.mark.parametrize("name", RAISING)
def test_what_raises_because_of_what_padding_holds_is_a_finding_and_not_kept(name):
    layer = Raises(RAISING[name])
    layer(VECTORS, mask=VALID)
    for value in (30, -30):
        if (value > 0) != (name == "F3, below"):
            with pytest.raises(ValueError, match="these values cannot be"):
                layer(np.where(VALID[:, :, None], VECTORS, np.float32(value)), mask=VALID)
    model = checked(RAISING[name])
    report = check_padding(model, VECTORS)
    assert not report.ok and "content" in broken(report), f"\n{report}"
    assert "checked" in said(report.clauses["content"]), f"\n{report}"
    with pytest.raises(AssertionError):
        assert_padding_contract(model, VECTORS)
    leaks = find_leaks(model, VECTORS)
    assert (leaks.first.name, leaks.first.verdict) == ("checked", "raises"), f"\n{leaks}"


def test_what_raises_because_there_is_padding_at_all_is_a_finding():
    model = checked(lambda x, valid: not valid.all())
    with pytest.raises(ValueError, match="these values cannot be"):
        model(VECTORS)
    assert model(VECTORS[1:2]).shape == (1, 4)
    report = check_padding(model, VECTORS)
    assert not report.ok and "checked" in repr(report)
    assert find_leaks(model, VECTORS).first.name == "checked"


# Statistics in training: F5.


class Running(layers.Layer):
    "Keeps a running mean of all steps in training, and takes it away from them."

    def build(self, shape):
        self.seen = self.add_weight(shape=shape[-1:], initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if training:
            self.seen.assign(0.5 * self.seen + 0.5 * ops.mean(inputs, axis=(0, 1)))
        return inputs - self.seen


def after_a_product(norm):
    return functional(lambda ids: norm(embed()(ids) * 1.0))


STATISTICS = {
    "F5": (lambda: after_a_product(layers.BatchNormalization(name="norm")), IDS, True),
    "F5, before a pooling": (lambda: functional(lambda ids: layers.GlobalAveragePooling1D()(layers.BatchNormalization(name="norm")(ops.relu(embed()(ids))), mask=ops.not_equal(ids, 0))), IDS, True),
    "F5, vectors": (lambda: keras.Sequential([layers.Masking(), layers.RMSNormalization(), layers.BatchNormalization(name="norm")]), VECTORS, True),
    "F5, of one's own": (lambda: stack(Running(name="norm")), IDS, True),
    "F5, with its mask": (lambda: stack(layers.BatchNormalization(name="norm")), IDS, False),
    "F5, dropout": (lambda: stack(layers.BatchNormalization(name="norm"), layers.Dropout(0.5)), IDS, False),
}  # fmt: skip


def moved_in_training(model, batch):
    "How far more padding moves the valid answers in training, and the variables that change there."
    before, answers = [variable.numpy() for variable in model.variables], []
    for steps in (0, 3):
        wide = np.pad(batch, [(0, 0), (0, steps)] + [(0, 0)] * (batch.ndim - 2))
        keras.utils.set_random_seed(0)
        answer = np.asarray(model(wide, training=True))
        answer = answer[:, :2] if answer.ndim > 2 else answer
        answers.append([answer, *(variable.numpy() for variable in model.non_trainable_variables)])
        for variable, value in zip(model.variables, before):
            variable.assign(value)
    return max(float(np.abs(first - second).max()) for first, second in zip(*answers) if first.dtype.kind == "f")


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_that_padding_moves_in_training_break_a_clause_of_their_own(name):
    make, batch, moves = STATISTICS[name]
    model = make()
    model(batch)
    if name != "F5, dropout":  # which is not the same twice
        assert (moved_in_training(model, batch) > 1e-4) == moves
    before = [variable.numpy() for variable in model.variables]
    report = check_padding(model, batch)
    assert all(np.array_equal(earlier, after.numpy()) for earlier, after in zip(before, model.variables))
    assert report.ok != moves, f"\n{report}"
    if moves:
        assert "training" in broken(report) and "norm" in said(report.clauses["training"]), f"\n{report}"
    else:
        assert report.clauses["training"].status == "kept", f"\n{report}"


# Metrics and losses of one output or several: F6, F7.


def taggers(metrics, as_dict=False, count=2):
    ids = ids_input()
    words = embed()(ids)
    heads = {f"head_{k}": layers.Dense(1, activation="sigmoid", name=f"head_{k}")(words) for k in range(count)}
    model = keras.Model(ids, heads if as_dict else list(heads.values()))
    loss = dict.fromkeys(heads, "binary_crossentropy")
    metrics = {name: metrics if name == "head_1" else [] for name in heads}
    return compiled(model, loss if as_dict else list(loss.values()), metrics=metrics if as_dict else list(metrics.values()))


TAGS = RANDOM.integers(0, 2, (3, 5, 1)).astype("float32")
METRICS = {
    "F6": (lambda: taggers([keras.metrics.AUC(name="area")]), [TAGS, TAGS], "area"),
    "F6, by name": (lambda: taggers([keras.metrics.FalsePositives(thresholds=0.0, name="wrong")], as_dict=True), {"head_0": TAGS, "head_1": TAGS}, "wrong"),
    "F6, means": (lambda: taggers(["accuracy", "mse"]), [TAGS, TAGS], None),
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_one_of_several_outputs_that_counts_padding_is_found(name):
    make, targets, expected = METRICS[name]
    model = make()
    short, long = (evaluated(model, IDS, targets, LENGTHS, more) for more in (0, 4))
    moved = {key for key in short if abs(short[key] - long[key]) > 1e-4}
    assert moved == ({f"head_1_{expected}"} if expected else set())
    report = audit(model, IDS, targets)
    assert report.ok == (expected is None), f"\n{report}"
    row = report.contract.clauses["metrics"]
    assert row.status == ("kept" if expected is None else "broken")
    assert expected is None or expected in said(row) and expected in repr(report)
    assert report.contract.clauses["loss"].status == "kept"


class Pool(layers.Layer):
    "An average of valid steps that passes on its mask, though there are no steps any more."

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        weights = ops.cast(mask, inputs.dtype)[:, :, None]
        return ops.sum(inputs * weights, axis=1) / ops.sum(weights, axis=1)


EIGHT = np.random.default_rng(2).integers(1, 10, (8, 8)) * valid_steps(np.arange(1, 9), 8)


@pytest.mark.parametrize("size, batch", [(8, LONG), (8, EIGHT)], ids=["F7", "F7, as many sequences as steps"])
def test_a_stale_mask_that_spoils_the_loss_is_a_finding_at_the_layer_that_passes_it_on(size, batch):
    model = compiled(stack(Pool(name="pool"), layers.Dense(size)))
    targets = np.random.default_rng(3).normal(size=(len(batch), size)).astype("float32")
    right = float(np.mean((np.asarray(model(batch)) - targets) ** 2))
    try:  # it raises, or weighs wrongly
        assert abs(model.evaluate(batch, targets, verbose=0, batch_size=8) - right) > 1e-3
    except tf.errors.InvalidArgumentError:
        pass
    report = audit(model, batch, targets)
    assert not report.ok and report.contract.clauses["loss"].status == "broken", f"\n{report}"
    assert report.leaks.first is not None and report.leaks.first.name == "pool", f"\n{report}"
    # an answer for the whole needs no mask
    mended = compiled(stack(layers.GlobalAveragePooling1D(), layers.Dense(size)))
    assert audit(mended, batch, targets).contract.clauses["loss"].status == "kept"


# Text: F8.


def text_model(shape=()):
    vectorize = layers.TextVectorization()
    vectorize.adapt(TEXTS)
    words = keras.Input(shape, dtype="string")
    return keras.Model(words, layers.GlobalAveragePooling1D()(embed(False)(vectorize(words))))


TEXTS = np.array(["a b c d e", "b c", "d", "a a b"])


@pytest.mark.parametrize("tool", [check_padding, find_leaks, audit])
@pytest.mark.parametrize("texts", [TEXTS, tf.constant(TEXTS), TEXTS[:, None], None], ids=["F8", "F8, a tensor", "F8, a column", "F8, none"])
def test_a_text_model_is_refused_with_the_way_to_test_it(tool, texts):
    model = text_model((1,) if texts is not None and len(texts.shape) == 2 else ())
    if tool is check_padding and texts is TEXTS:
        alone = np.concatenate([np.asarray(model(tf.constant(TEXTS[[row]]))) for row in range(4)])
        assert np.abs(np.asarray(model(tf.constant(TEXTS))) - alone).max() > LEAKS
    with pytest.raises(ValueError, match="TextVectorization"):
        tool(model, texts)


# Right models are not blamed: F9, F10, F11, F15, and what is right beside F1 to F4.


def by_hand(ids, *segments):
    "The mean of the steps whose id is not 0, without any mask of Keras."
    weights = ops.cast(ops.not_equal(ids, 0), "float32")[:, :, None]
    x = embed(False)(ids)
    for segment_ids in segments:
        x = x + layers.Embedding(9, 4)(segment_ids)
    return ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)


def with_segments(first="token_ids", second="segment_ids"):
    inputs = {name: ids_input(name) for name in (first, second)}
    return keras.Model(inputs, layers.Dense(2)(by_hand(inputs["token_ids"], inputs[second if first == "token_ids" else first])))


def beside_a_window(first=False, recurrent=False):
    ids, window = ids_input("ids"), keras.Input((None, 2), name="window")
    looked_at = (layers.LSTM(3) if recurrent else layers.GlobalAveragePooling1D())(window)
    joined = layers.concatenate([layers.GlobalAveragePooling1D()(embed()(ids)), looked_at])
    return keras.Model([window, ids] if first else [ids, window], joined)


def beside_weekdays():
    ids, days = ids_input("ids"), ids_input("weekdays")
    return keras.Model({"ids": ids, "weekdays": days}, layers.concatenate([layers.GlobalAveragePooling1D()(embed(mask)(part)) for mask, part in ((True, ids), (False, days))]))


WEEKDAYS = np.random.default_rng(4).integers(1, 8, (3, 8))


class Translator(keras.Model):
    "Encoder, decoder, and a mask beside the ids of each, as plain BART and T5 take them."

    def __init__(self, mask_zero=False, names=("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")):
        super().__init__()
        self.table, self.names = embed(mask_zero), names
        self.encode, self.decode, self.cross = (layers.MultiHeadAttention(2, 2, name=name) for name in ("encode", "decode", "cross"))

    def call(self, batch):
        source, source_mask, target, target_mask = (batch[name] for name in self.names)
        source_mask, target_mask = ops.cast(source_mask, "bool"), ops.cast(target_mask, "bool")
        source, target = self.table(source), self.table(target)
        source = source + self.encode(source, source, query_mask=source_mask, value_mask=source_mask)
        target = target + self.decode(target, target, attention_mask=target_mask[:, None], use_causal_mask=True)
        return self.cross(target, source, query_mask=target_mask, value_mask=source_mask)


def translator(mask_zero):
    inputs = [keras.Input((None,), dtype=dtype, name=name) for name, dtype in (("e", "int32"), ("em", "bool"), ("d", "int32"), ("dm", "bool"))]
    e, em, d, dm = inputs
    table = embed(mask_zero)
    x = layers.MultiHeadAttention(2, 2)(table(e), table(e), query_mask=em, value_mask=em)
    y = layers.MultiHeadAttention(2, 2)(table(d), table(d), query_mask=dm, value_mask=dm, use_causal_mask=True)
    return keras.Model(inputs, layers.MultiHeadAttention(2, 2)(y, x, query_mask=dm, value_mask=em))


SHORT = np.pad(IDS[[1, 0, 2]], ((0, 0), (0, 3)))  # as many steps as LONG, and other lengths
FOUR = [LONG, LONG != 0, SHORT, SHORT != 0]
FOUR_LENGTHS = [LONG_LENGTHS, LONG_LENGTHS, LENGTHS[[1, 0, 2]], LENGTHS[[1, 0, 2]]]
NAMES = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")


def translated(steps):
    return dict(zip(NAMES, (LONG, (LONG != 0).astype("int32"), SHORT[:, :steps], (SHORT[:, :steps] != 0).astype("int32"))))


SEGMENTS = {"token_ids": LONG, "segment_ids": np.zeros_like(LONG)}
NO_SEGMENTS = {"spoiled": ("segment_ids",)}

SOUND = {
    "F1, padding after the data": Case(lambda: stack(layers.Conv1D(3, 2, padding="causal"), mask=False), IDS, LENGTHS, TOLD),
    "F3, valid steps are looked at": Case(lambda: checked(lambda x, valid: (x[valid] > 5).any()), VECTORS, LENGTHS),
    "F4, both masked": Case(lambda: encoder_decoder(True), [LONG, IDS], BOTH),
    "F4, both masked and in front": Case(lambda: encoder_decoder(True), [LONG_PRE, IDS], BOTH, {"side": {"source": "pre", "target": "post"}}, {0: "pre", 1: "post"}),
    "F9": Case(lambda: functional(by_hand), PRE, LENGTHS, TOLD, "pre"),
    "F9, the side instead of lengths": Case(lambda: functional(by_hand), PRE, LENGTHS, SIDE, "pre"),
    "F9, the largest": Case(lambda: functional(lambda ids: ops.max(ops.where(ops.not_equal(ids, 0)[:, :, None], embed(False)(ids), -1e9), axis=1)), PRE, LENGTHS, TOLD, "pre"),
    "F9, an answer for each step": Case(lambda: functional(lambda ids: layers.Dense(2)(embed(False)(ids))), PRE, LENGTHS, TOLD, "pre"),
    "F9, a function": Case(lambda: partial(lambda table, ids: table(ids) * ops.cast(ops.not_equal(ids, 0), "float32")[:, :, None], embed(False)), PRE, LENGTHS, TOLD, "pre"),
    "F10": Case(partial(beside_a_window, recurrent=True), [LONG, WINDOW], [LONG_LENGTHS, None]),
    "F10, the window first": Case(lambda: beside_a_window(first=True), [WINDOW, LONG], [None, LONG_LENGTHS]),
    "F10, lengths by name": Case(beside_a_window, [LONG, WINDOW], [LONG_LENGTHS, None], {"lengths": {"ids": LONG_LENGTHS}}),
    "F10, lengths by place": Case(beside_a_window, [LONG, WINDOW], [LONG_LENGTHS, None], {"lengths": {"0": LONG_LENGTHS}}),
    "F10, ids": Case(beside_weekdays, {"ids": LONG, "weekdays": WEEKDAYS}, {"ids": LONG_LENGTHS}),
    "F11": Case(lambda: translator(True), FOUR, FOUR_LENGTHS),
    "F11, no mask_zero": Case(lambda: translator(False), FOUR, FOUR_LENGTHS, spoiled=(0, 2)),
    "F11, other steps": Case(lambda: translator(True), [LONG, LONG != 0, SHORT[:, :6], SHORT[:, :6] != 0], FOUR_LENGTHS),
    "F11, a dict": Case(Translator, translated(8), dict(zip(NAMES, FOUR_LENGTHS)), spoiled=(NAMES[0], NAMES[2])),
    "F15": Case(with_segments, SEGMENTS, dict.fromkeys(SEGMENTS, LONG_LENGTHS), **NO_SEGMENTS),
    "F15, segments first": Case(lambda: with_segments("a_segment_ids", "token_ids"), {"a_segment_ids": SEGMENTS["segment_ids"], "token_ids": LONG}, {"a_segment_ids": LONG_LENGTHS, "token_ids": LONG_LENGTHS}, spoiled=("a_segment_ids",)),
    "F15, the second segment is padding's": Case(with_segments, {"token_ids": LONG, "segment_ids": np.where(np.arange(8) < 2, 0, LONG != 0).astype("int32")}, dict.fromkeys(SEGMENTS, LONG_LENGTHS), **NO_SEGMENTS),
    "F15, positions": Case(lambda: with_segments(second="positions"), {"token_ids": LONG, "positions": np.tile(np.arange(8), (3, 1))}, {"token_ids": LONG_LENGTHS, "positions": LONG_LENGTHS}),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_the_truth_padding_moves_no_valid_answer(name):
    assert SOUND[name].leaks() < ROUNDING


@pytest.mark.parametrize("name", sorted(SOUND.keys() - FOUND_BY_LEAKS))
def test_a_right_model_is_not_blamed_by_the_contract(name):
    case = SOUND[name]
    report = check_padding(case.make(), case.batch, **case.options)
    assert report.ok and report, f"\n{report}"
    assert report.clauses["amount"].status == "kept", f"\n{report}"


@pytest.mark.parametrize("name", SOUND)
def test_no_layer_of_a_right_model_is_blamed(name):
    case = SOUND[name]
    leaks = find_leaks(case.make(), case.batch, **case.options)
    assert leaks.ok and leaks.first is None, f"\n{leaks}"


def test_the_report_says_which_input_was_never_padded():
    for report in (check_padding(beside_a_window(), [LONG, WINDOW]), find_leaks(beside_a_window(), [LONG, WINDOW])):
        assert any("window" in note for note in report.notes), report.notes
        assert "window" in repr(report) and "window" in report._repr_html_() and "window" in report.to_json()


class Fourier(keras.Model):
    "Mixes all steps by a Fourier transform, padded or not, as FNet does."

    def __init__(self, kind=0):
        super().__init__()
        self.tokens, self.segments, self.norm, self.kind = embed(False), layers.Embedding(2, 4), layers.LayerNormalization(), kind

    def call(self, batch):
        x = self.tokens(batch["token_ids"]) + self.segments(batch["segment_ids"])
        mixed = ops.fft2((x, ops.zeros_like(x)))[0] if self.kind == 0 else ops.mean(x, axis=1, keepdims=True)
        return self.norm(x + mixed)


@pytest.mark.parametrize("kind", [0, 1], ids=["F15, a Fourier transform", "F15, a mean"])
def test_a_model_without_a_mask_beside_segments_of_zeros_is_judged_and_not_refused(kind):
    assert leak(Fourier(kind), SEGMENTS, dict.fromkeys(SEGMENTS, LONG_LENGTHS)) > LEAKS
    assert "amount" in broken(check_padding(Fourier(kind), SEGMENTS))
    assert find_leaks(Fourier(kind), SEGMENTS).first is not None


# A loss that leaves padding out in its own way is right: F12.


def left_out(label, y, scores):
    "Leaves a label out, and divides by what is left."
    kept = ops.cast(ops.not_equal(ops.cast(y, "int32"), label), "float32")
    loss = keras.losses.sparse_categorical_crossentropy(ops.maximum(ops.cast(y, "int32"), 0), scores, from_logits=True)
    return ops.sum(loss * kept) / ops.sum(kept)


def by_all_steps(y, scores):
    kept = ops.cast(ops.not_equal(y, 0), "float32")
    return ops.mean(keras.losses.sparse_categorical_crossentropy(y, scores, from_logits=True) * kept)


def in_logits(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


LABELS = LONG % 5 + (LONG != 0)
LOSSES = {  # the loss, whether the embedding makes a mask, the targets, and whether the loss is right
    "F12": (partial(left_out, 0), False, LABELS, True),
    "F12, beside a mask": (partial(left_out, 0), True, LABELS, True),
    "F12, another label": (partial(left_out, -100), False, np.where(LONG != 0, LABELS, -100), True),
    "F12, ignore_class": (in_logits(ignore_class=0), False, LABELS, True),
    "F12, no mask": (in_logits(), False, LABELS, False),
    "F12, divided by all steps": (by_all_steps, False, LABELS, False),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_right_if_more_padding_does_not_move_it(name):
    loss, mask, labels, right = LOSSES[name]
    model = compiled(stack(layers.Dense(7), mask=mask), loss)
    short, long = (evaluated(model, LONG, labels, LONG_LENGTHS, more)["loss"] for more in (0, 4))
    assert (abs(short - long) < 1e-5) == right
    report = audit(model, LONG, labels, lengths=LONG_LENGTHS)
    assert report.contract.clauses["loss"].status == ("kept" if right else "broken"), f"\n{report}"
    assert report.ok == right, f"\n{report}"
    assert not right or "sample_weight" not in repr(report)


# Half precision: F13. The same arithmetic on each sequence alone is the reference.


MANY = np.array([3000, 2000, 1500])
MANY_IDS = np.random.default_rng(0).integers(1, 10, (3, 3000)) * valid_steps(MANY, 3000)


@pytest.mark.graphs
@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "bfloat16"])
def test_rounding_of_half_precision_is_no_break(dtype):
    table = layers.Embedding(10, 4, mask_zero=True, dtype=dtype, embeddings_initializer=keras.initializers.RandomUniform(0.5, 1))
    model = keras.Sequential([table, layers.GlobalAveragePooling1D(dtype=dtype)])

    def answer(ids):
        return np.asarray(ops.cast(model(ids), "float32"))

    alone = np.concatenate([answer(row[None, row != 0]) for row in MANY_IDS])
    exact = np.stack([
        np.asarray(ops.cast(table.embeddings, "float32"))[row[row != 0]].mean(axis=0) for row in MANY_IDS])
    assert np.abs(alone - exact).max() > 2e-3  # without any padding
    assert np.abs(alone - answer(MANY_IDS)).max() <= np.abs(alone - exact).max()
    assert find_leaks(model, MANY_IDS).ok
    report = check_padding(model, MANY_IDS)
    assert report.ok, f"\n{report}"


@pytest.mark.graphs
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_leak_in_half_precision_is_found_all_the_same(dtype):
    model = keras.Sequential([layers.Embedding(10, 4, dtype=dtype), layers.GlobalAveragePooling1D(dtype=dtype, name="mean")])
    assert "amount" in broken(check_padding(model, IDS)) and find_leaks(model, IDS).first.name == "mean"


# A tokenizer's batch is what it should be: F14.

TOKENS = {"input_ids": LONG, "attention_mask": (LONG != 0).astype("int64"), "token_type_ids": np.zeros_like(LONG)}
TOKENIZED = {
    "F14": TOKENS | {"position_ids": np.tile(np.arange(8), (3, 1)), "labels": np.where(LONG != 0, LONG % 3, -100)},
    "F14, no labels": TOKENS,
    "F14, two sentences": TOKENS | {"token_type_ids": np.where(np.arange(8) < 2, 0, LONG != 0).astype("int64")},
    "F14, an answer": TOKENS | {"labels": np.array([0, 1, 0])},
    "F14, KerasHub": {"token_ids": LONG, "padding_mask": LONG != 0, "segment_ids": np.zeros_like(LONG)},
    "F14, words of a special kind": TOKENS | {"special_tokens_mask": (LONG == 1).astype("int64")},
}


@pytest.mark.parametrize("name", TOKENIZED)
def test_lint_finds_nothing_wrong_with_the_batch_of_a_tokenizer(name):
    report = lint_batch(TOKENIZED[name])
    assert report.ok and not report.rows, f"\n{report}"


def test_lint_still_finds_what_is_wrong_in_such_a_batch():
    ids = np.where(np.arange(8) == 1, -3, LONG)
    assert "input_ids" in {row.name for row in lint_batch(TOKENS | {"input_ids": ids}).rows}
    assert "input_ids" in {row.name for row in lint_batch(TOKENS | {"input_ids": LONG * (np.arange(8) != 1)}).rows}


# A function can be audited: F16.


def readme():
    table, lstm = embed(), layers.LSTM(4)
    return lambda ids: lstm(table(ids) * 2)


def right_function():
    table, mean = embed(), layers.GlobalAveragePooling1D()
    return lambda ids: mean(table(ids))


FUNCTIONS = {
    "F16": (readme, IDS, False),
    "F16, right": (right_function, IDS, True),
    "F16, of a dict": (lambda: (lambda function: lambda batch: function(batch["ids"]))(right_function()), {"ids": IDS}, True),
    "F16, a layer": (embed, IDS, True),
}


@pytest.mark.graphs
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_can_be_audited(name):
    make, batch, right = FUNCTIONS[name]
    report = audit(make(), batch)
    assert report.ok == right and (report.first is None) == right, f"\n{report}"
    for clause in ("loss", "metrics", "saved"):
        assert report.contract.clauses[clause].status in ("not applicable", "could not be tested")


# Zeros in front, and nobody says so: F24.

FRONT = {
    "F24": (lambda: stack(layers.LSTM(4), mask=False), PRE, False),
    "F24, each step": (lambda: stack(layers.Conv1D(3, 2, padding="causal"), mask=False), PRE, False),
    "F24, vectors": (lambda: keras.Sequential([layers.SimpleRNN(3, bias_initializer="ones")]), PRE_VECTORS, False),
    "F24, masked by hand": (lambda: functional(by_hand), PRE, True),
    "F24, a mask": (lambda: stack(layers.GlobalAveragePooling1D()), PRE, True),
}


@pytest.mark.parametrize("name, tool", [*((name, find_leaks) for name in FRONT), *((name, check_padding) for name in ("F24", "F24, masked by hand"))])
def test_zeros_in_front_are_judged_on_that_side_or_refused_with_what_to_pass(name, tool):
    make, batch, right = FRONT[name]
    model = make()
    assert (leak(model, batch, LENGTHS, "pre") < ROUNDING) == right
    try:
        report = tool(model, batch)
    except ValueError as refusal:
        assert re.search("side=|lengths=", str(refusal)) and name != "F24, a mask"
    else:
        assert report.ok == right, f"\n{report}"
        assert any("pre" in note or "front" in note or "before" in note for note in report.notes), report.notes


