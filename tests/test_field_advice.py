"""Cases from the field, F17 to F23 and F25 to F33, each with its kin: the cause, the advice, the report, and what is a batch.

That advice helps is measured by brute force, on the model that follows it by the letter."""

import re
from collections import OrderedDict, UserDict
from functools import partial
from types import MappingProxyType

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from brute import leak, valid_steps
from keras import layers, ops
from test_field import (
    BOTH,
    IDS,
    LEAKS,
    LENGTHS,
    LONG,
    PRE,
    PRE_VECTORS,
    RANDOM,
    ROUNDING,
    SEQUENCES,
    SIDE,
    TAGS,
    TOLD,
    VALID,
    VECTORS,
    broken,
    chain,
    compiled,
    embed,
    encoder_decoder,
    functional,
    ids_input,
    in_logits,
    pair,
    plain,
    pooled_vectors_beside_ids,
    said,
    stack,
    taggers,
)
from thorough import some_of

from masking_tutorial import VERDICTS, audit, check_padding, find_leaks, lint_batch, main

pytestmark = [
    pytest.mark.usefixtures("seeded", "without_graphs"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
    pytest.mark.filterwarnings("ignore:.*does not support mask"),
]

OFFENDING = {"leaks", "loses the mask", "spoils the mask", "makes NaN", "raises", "mixes sequences"}


def offenders(report):
    return [row for row in report.rows if row.verdict in OFFENDING]


# Causes and advice: F17 to F22. Following the advice by the letter mends the model.


class Told(keras.Model):
    "A recurrent layer with initial states, for which Keras hands on no mask."

    def __init__(self, kind, hand=False):
        super().__init__()
        self.table, self.rnn, self.hand = embed(), kind(6, name="rnn"), hand
        self.count = 2 if kind is layers.LSTM else 1

    def call(self, ids):
        state = ops.ones((ops.shape(ids)[0], 6)) / 2
        x = self.table(ids)
        return self.rnn(x, initial_state=[state] * self.count, **({"mask": ops.not_equal(ids, 0)} if self.hand else {}))


def told_functional(hand):
    ids, state = ids_input("ids"), keras.Input((6,), name="state")
    options = {"mask": ops.not_equal(ids, 0)} if hand else {}
    return keras.Model([ids, state], layers.LSTM(6, name="rnn")(embed()(ids), initial_state=[state, state], **options))


class TokensAndPositions(layers.Layer):
    def __init__(self, supports, computes, kind="sum"):
        super().__init__(name="tokens_and_positions")
        self.supports_masking, self.kind = supports, kind
        self.tokens, self.positions, self.norm = embed(), layers.Embedding(40, 4), layers.LayerNormalization()
        if computes:
            self.compute_mask = lambda inputs, mask=None: self.tokens.compute_mask(inputs)

    def call(self, ids):
        places = self.positions(ops.arange(ops.shape(ids)[1]))
        return self.norm(self.tokens(ids) + places) if self.kind == "norm" else self.tokens(ids) + places


def positions(supports, kind="sum"):
    "Before and after the advice is followed."
    return lambda hand: chain(TokensAndPositions(supports or hand, hand, kind), layers.GlobalAveragePooling1D(name="mean"))


def attended(hand, layer=lambda: layers.MultiHeadAttention(2, 2, name="attend"), change=lambda x: x * 2):
    def build(ids):
        x = change(embed()(ids))
        return layer()(x, x, **({"attention_mask": ops.not_equal(ids, 0)[:, None]} if hand else {}))

    return functional(build)


def attended_twice(hand):
    "A query with steps of its own looks at a source that has lost its mask."
    source, target = pair()
    options = {"attention_mask": ops.not_equal(source, 0)[:, None]} if hand else {}
    return keras.Model([source, target], layers.MultiHeadAttention(2, 2, name="attend")(embed()(target), embed()(source) * 2, **options))


def attention(hand):
    def build(ids):
        x, valid = embed()(ids) * 2, ops.not_equal(ids, 0)
        return layers.Attention(name="attend")([x, x], **({"mask": [valid, valid]} if hand else {}))

    return functional(build)


STATE = RANDOM.normal(size=(3, 6)).astype("float32")
# the model before and after the advice is followed, the batch, its lengths, what leaks, words that help, words that do not
ADVICE = {
    "F17": (told_functional, [IDS, STATE], [LENGTHS, None], "rnn", ["mask="], ["replace it"]),
    "F17, GRU": (partial(Told, layers.GRU), IDS, LENGTHS, "rnn", ["mask="], ["replace it"]),
    "F17, SimpleRNN": (partial(Told, layers.SimpleRNN), IDS, LENGTHS, "rnn", ["mask="], ["replace it"]),
    "F19": (positions(True), IDS, LENGTHS, "mean", ["compute_mask"], ["supports_masking"]),
    "F19, a norm at the end": (positions(True, "norm"), IDS, LENGTHS, "mean", ["compute_mask"], ["supports_masking"]),
    "F19, no mask is supported": (positions(False), IDS, LENGTHS, "mean", ["compute_mask", "supports_masking"], []),
    "F20": (attended, IDS, LENGTHS, "attend", ["attention_mask="], [" mask="]),
    "F20, grouped": (partial(attended, layer=lambda: layers.GroupQueryAttention(2, 2, 1, name="attend")), IDS, LENGTHS, "attend", ["attention_mask="], [" mask="]),
    "F20, another operation": (partial(attended, change=ops.relu), IDS, LENGTHS, "attend", ["attention_mask="], [" mask="]),
    "F20, two sequences": (attended_twice, [LONG, IDS], BOTH, "attend", ["attention_mask="], [" mask="]),
    "F20, Attention": (attention, IDS, LENGTHS, "attend", ["mask="], ["attention_mask="]),
}  # fmt: skip


@pytest.mark.parametrize("name", some_of(ADVICE, 2))
def test_the_advice_by_the_letter_mends_the_model(name):
    make, batch, lengths, leaking, helps, useless = ADVICE[name]
    before, after = make(hand=False), make(hand=True)
    assert leak(before, batch, lengths) > LEAKS > ROUNDING > leak(after, batch, lengths)
    leaks = find_leaks(before, batch)
    assert leaking in [plain(row.name) for row in leaks.rows if row.verdict == "leaks"], f"\n{leaks}"
    advice = " ".join(row.advice for row in offenders(leaks))
    assert all(word in advice for word in helps) and not any(word in advice for word in useless), f"\n{leaks}"
    mended = find_leaks(after, batch)
    assert mended.ok, f"\n{mended}"


def test_a_mask_that_never_reaches_call_was_not_used():
    fates = {hand: next(row.mask for row in find_leaks(Told(layers.GRU, hand), IDS).rows if row.name == "rnn") for hand in (False, True)}
    assert fates[True].startswith("used") and not fates[False].startswith("used"), fates


def test_a_mask_that_is_computed_and_not_supported_needs_supports_masking():
    model = chain(TokensAndPositions(False, True), layers.GlobalAveragePooling1D())
    assert leak(model, IDS, LENGTHS) > LEAKS
    leaks = find_leaks(model, IDS)
    assert not leaks.ok and "supports_masking" in " ".join(row.advice for row in offenders(leaks)), f"\n{leaks}"


MINUS_ONES = np.where(VALID[:, :, None], VECTORS, np.float32(-1))


def made_by(maker, *more):
    return lambda: chain(maker(), *(more or [layers.GlobalAveragePooling1D()]))


MINUS_ONE = {"mask_value": -1.0}
MAKERS = {  # the model, the batch, what the instruments are told, and what lint is told
    "F18": (made_by(lambda: layers.Masking(-1.0, name="maker"), layers.LSTM(3)), VECTORS, {}, MINUS_ONE),
    "F18, with lengths": (made_by(lambda: layers.Masking(-1.0, name="maker")), VECTORS, TOLD, MINUS_ONE),
    "F18, pooled": (made_by(lambda: layers.Masking(-1.0, name="maker")), VECTORS, {}, MINUS_ONE),
    "F18, the other way round": (made_by(lambda: layers.Masking(name="maker")), MINUS_ONES, TOLD, {}),
    "F18, in front": (made_by(lambda: layers.Masking(-1.0, name="maker")), PRE_VECTORS, TOLD | SIDE, MINUS_ONE),
    "F18, NaN": (made_by(lambda: layers.Masking(np.nan, name="maker")), VECTORS, TOLD, {"mask_value": np.nan}),
    "F18, ids": (made_by(lambda: embed(name="maker")), np.where(VALID, IDS % 9 + (IDS == 9), 9), TOLD, {}),
    "F18, a valid step is masked": (made_by(lambda: embed(name="maker")), IDS * (np.arange(5) != 1), TOLD, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_a_maker_of_masks_that_marks_other_steps_is_the_first_offender(name):
    make, batch, options, mask_value = MAKERS[name]
    model, side = make(), options.get("side", "post")
    mask = np.asarray(model.layers[0].compute_mask(tf.constant(batch)))
    assert not np.array_equal(mask, valid_steps(LENGTHS, 5, side))
    if name != "F18, a valid step is masked":
        assert leak(model, batch, LENGTHS, side) > LEAKS
    leaks = find_leaks(model, batch, **options)
    assert leaks.first is not None and leaks.first.name == "maker", f"\n{leaks}"
    assert not check_padding(model, batch, **options).ok
    lint = lint_batch(batch, **{key: value for key, value in options.items() if key == "lengths"}, **mask_value)
    assert not lint.ok, f"\n{lint}"
    if name != "F18, a valid step is masked":
        assert any(re.search("mask.value", f"{row.kind} {row.problem}") for row in lint.rows), f"\n{lint}"


class WithLooks(layers.Layer):
    "Beside what it gives it looks at its input, which has no effect on the answer."

    def __init__(self, look):
        super().__init__(name="own")
        self.dense, self.look, self.seen = layers.Dense(4), look, []

    def call(self, inputs):
        nothing = self.look(inputs)
        self.seen.append(nothing)
        doubled = self.dense(inputs) * 2
        return doubled if len(nothing.shape) < 3 else doubled + nothing


class Loop(layers.Layer):
    "A recurrent layer as a loop in Python, that also keeps something of each state."

    def __init__(self, look, inner=None):
        super().__init__(name="loop")
        self.look, self.inner, self.seen = look, inner, []

    def build(self, shape):
        self.weight = self.add_weight(shape=(4, 4))

    def call(self, inputs):
        state = ops.zeros_like(inputs[:, 0])
        for step in range(inputs.shape[1] or 1):
            before = self.inner(state) if self.inner else ops.matmul(state, self.weight)
            state = ops.tanh(inputs[:, step] + before)
            self.seen.append(self.look(state))
        return state

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((inputs.shape[0], 4))


def loop_in_a_function():
    table, dense, seen = embed(), layers.Dense(4), []

    def model(ids):
        x = table(ids)
        state = ops.zeros_like(x[:, 0])
        for step in range(x.shape[1]):
            seen.append(ops.argmax(x[:, step], axis=-1))
            state = ops.tanh(x[:, step] + dense(state))
        return state

    return model


# words of what has no effect, and of the line that has one
LOOKED = ["self.look", "seen.append"]
DEAD = {
    "F21": (lambda: stack(WithLooks(ops.zeros_like), layers.GlobalAveragePooling1D()), ["ZerosLike", *LOOKED], "self.dense(inputs) * 2"),
    "F21, the largest": (lambda: stack(WithLooks(lambda x: ops.max(x, axis=1)), layers.GlobalAveragePooling1D()), ["Max", *LOOKED], "self.dense(inputs) * 2"),
    "F21, a slice": (lambda: stack(WithLooks(lambda x: x[:, 0]), layers.GlobalAveragePooling1D()), ["StridedSlice", *LOOKED], "self.dense(inputs) * 2"),
    "F22": (lambda: stack(Loop(lambda state: ops.argmax(state, axis=-1))), ["ArgMax", *LOOKED], "ops.tanh("),
    "F22, no mask": (lambda: stack(Loop(lambda state: ops.argmax(state, axis=-1)), mask=False), ["ArgMax", *LOOKED], "ops.tanh("),
    "F22, a mean": (lambda: stack(Loop(lambda state: ops.mean(state, axis=-1))), ["Mean", *LOOKED], "ops.tanh("),
    "F22, a layer inside": (lambda: stack(Loop(lambda state: ops.argmax(state, axis=-1), layers.Dense(4))), ["ArgMax", *LOOKED], "ops.tanh("),
    "F22, a function": (loop_in_a_function, ["ArgMax", *LOOKED], "ops.tanh("),
}  # fmt: skip


@pytest.mark.parametrize("name", DEAD)
def test_the_operation_and_the_line_that_are_named_have_an_effect_on_the_answer(name):
    make, dead, alive = DEAD[name]
    model = make()
    assert leak(model, IDS, LENGTHS) > LEAKS
    leaks = find_leaks(model, IDS)
    assert leaks.first is not None, f"\n{leaks}"
    for row in offenders(leaks):
        assert not any(word in f"{row.kind} {row.place}" for word in dead), f"\n{leaks}"
    assert not leaks.first.place or alive in leaks.first.place, f"\n{leaks}"


# NaN and infinity in a loss are called by their names, with where they come from: F23.


def tagger(mask_lost, loss="mse"):
    return compiled(functional(lambda ids: layers.Dense(1)(embed()(ids) * 1.0 if mask_lost else embed()(ids))), loss)


AT_PADDING, AT_VALID = (0, 3), (1, 2)
NUMBERS = {
    "F23": (np.nan, AT_PADDING, True, "NaN"),
    "F23, with a mask": (np.nan, AT_PADDING, False, "NaN"),
    "F23, at a valid step": (np.nan, AT_VALID, False, "NaN"),
    "F23, infinite": (np.inf, AT_PADDING, True, "infinit"),
    "F23, too large": (1e20, AT_PADDING, True, "infinit"),
    "F23, infinite at a valid step": (np.inf, AT_VALID, False, "infinit"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_loss_that_is_no_number_is_named_with_where_that_comes_from(name):
    value, (row, step), mask_lost, word = NUMBERS[name]
    targets = np.ones((3, 5, 1), "float32")
    targets[row, step] = value
    model = tagger(mask_lost)
    assert not np.isfinite(model.evaluate(IDS, targets, verbose=0))
    report = check_padding(model, IDS, targets=targets)
    clause = report.clauses["loss"]
    assert clause.status != "kept", f"\n{report}"
    assert all(part in said(clause) for part in (word, "targets", f"sequence {row}", f"step {step}")), said(clause)


def test_targets_of_several_outputs_are_named_with_the_output_where_nan_stands():
    model = taggers([])
    targets = TAGS.copy()
    targets[AT_VALID] = np.nan
    clause = audit(model, IDS, [TAGS, targets]).contract.clauses["loss"]
    assert clause.status != "kept" and "NaN" in said(clause) and "head_1" in said(clause)


# A class that is missing is named in full: F25.


def local_class(name):
    "A layer of a class that no import can find."
    return type(name, (layers.Layer,), {"call": lambda self, inputs: inputs + 0})


def sine(x):
    return ops.sin(x)


LOCAL = {
    "F25": (lambda: local_class("TokenAndSinePosition")(name="own"), "TokenAndSinePosition"),
    "F25, deep inside": (lambda: keras.Sequential([keras.Input((None, 4)), keras.Sequential([keras.Input((None, 4)), local_class("DeepInsideOfModels")(name="own")])]), "DeepInsideOfModels"),
    "F25, a long name": (lambda: local_class("Relative" * 12 + "Bias")(name="own"), "Relative" * 12 + "Bias"),
    "F25, a Lambda": (lambda: layers.Lambda(lambda x: x * 2, name="doubled"), "Lambda"),
}


@pytest.mark.parametrize("name", LOCAL)
def test_a_class_that_is_missing_is_named_in_full_by_the_command(name, tmp_path, capsys):
    make, missing = LOCAL[name]
    path = str(tmp_path / "model.keras")
    keras.Sequential([ids_input(), embed(), make(), layers.GRU(2)]).save(path)
    assert main([path]) == 2
    err = capsys.readouterr().err
    assert missing in err and (missing == "Lambda" or "--import" in err)


# A stateful layer whose states are reset: F26.


class Reset:
    "A function that resets the states of a model before it asks it."

    def __init__(self, *more, mask=True):
        self.model = stack(*more, mask=mask)

    def __call__(self, ids):
        for layer in self.model.layers:
            if getattr(layer, "stateful", False) and layer.built:
                layer.reset_state()
        return self.model(ids)


STATEFUL = {
    "F26": (lambda: Reset(layers.LSTM(4, stateful=True)), True),
    "F26, each step": (lambda: Reset(layers.SimpleRNN(4, stateful=True, return_sequences=True), layers.Dense(2)), True),
    "F26, no mask": (lambda: Reset(layers.SimpleRNN(4, stateful=True), mask=False), False),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_a_stateful_model_whose_states_are_reset_is_judged(name):
    make, right = STATEFUL[name]
    model = make()
    model(IDS)  # from now on it takes three sequences, and no other number

    def three(ids):
        return model(np.repeat(ids, 3, axis=0))[:1] if len(ids) == 1 else model(ids)

    assert (leak(three, IDS, LENGTHS) < ROUNDING) == right
    report, leaks = check_padding(model, IDS), find_leaks(model, IDS)
    assert report.ok == leaks.ok == right, f"\n{report}\n{leaks}"
    assert report.clauses["amount"].status == ("kept" if right else "broken"), f"\n{report}"


# Many equal findings: F27.


class Block(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.attend = layers.MultiHeadAttention(1, 2, name="attention_over_all_the_steps")
        self.norm, self.feed = layers.LayerNormalization(name="norm"), layers.Dense(4, name="feed_forward_network")

    def call(self, x):
        x = self.norm(x + self.attend(x, x))
        return x + self.feed(x)


def encoder(count):
    def build(ids):
        x = embed(False)(ids)
        for number in range(count):
            x = Block(name=f"transformer_encoder_block_{number}")(x)
        return x

    return functional(build)


def convolutions(count):
    def build(ids):
        x = embed(False)(ids)
        for number in range(count):
            x = keras.Sequential([keras.Input((None, 4)), layers.Conv1D(4, 3, padding="same", bias_initializer="ones", name="conv")], name=f"stage_{number}")(x)
        return x

    return functional(build)


@pytest.mark.parametrize("make, count, kind", [(encoder, 12, "MultiHeadAttention"), (convolutions, 5, "Conv1D")], ids=["F27", "F27, convolutions"])
def test_equal_findings_are_grouped_with_a_way_to_each(make, count, kind):
    leaks = find_leaks(make(count), IDS)
    rows = [row for row in leaks.rows if row.verdict == "leaks"]
    assert [row.kind for row in rows] == [kind] * count and len({row.inside for row in rows}) == count
    text = repr(leaks)
    assert re.search(rf"\b{count}\s*[x×]\s*{kind}", text) or re.search(rf"\b{count}\s*[x×]", text), text
    assert max(map(len, text.splitlines())) <= 100, text
    (advice,) = {row.advice for row in rows}
    assert text.count(advice[:40]) <= 2, text
    inside = rows[-1].inside
    assert all(part in inside for part in (f"_{count - 1}",)), inside


@pytest.mark.parametrize(
    "make, batch",
    [(lambda: encoder(2), IDS), (lambda: stack(layers.GlobalAveragePooling1D()), IDS), (encoder_decoder, [LONG, IDS])],
    ids=["leaking", "sound", "two inputs"],
)
def test_no_line_of_a_report_is_longer_than_a_hundred_columns(make, batch):
    model = make()
    for report in (check_padding(model, batch), find_leaks(model, batch)):
        assert max(map(len, repr(report).splitlines())) <= 100, report


# Data: F29, F30, F32, F33.


def with_value(dtype, value, row=1, step=2):
    changed = VECTORS.astype(dtype)
    changed[row, step, 0] = value
    return changed


NOT_FINITE = {
    "F29": (with_value(ml_dtypes.bfloat16, np.nan), "valid"),
    "F29, at padding": (with_value(ml_dtypes.bfloat16, np.nan, *AT_PADDING), "padded"),
    "F29, infinite": (with_value(ml_dtypes.bfloat16, np.inf), "valid"),
    "F29, eight bits": (with_value(ml_dtypes.float8_e5m2, np.nan), "valid"),
    "F29, in a dict": ({"x": with_value(ml_dtypes.bfloat16, np.nan)}, "valid"),
    "F29, a tensor": (tf.constant(with_value("float32", np.nan)), "valid"),
    "F29, a tensor of bfloat16": (tf.cast(tf.constant(with_value("float32", np.nan)), "bfloat16"), "valid"),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_lint_finds_nan_whatever_the_type(name):
    batch, where = NOT_FINITE[name]
    rows = [row for row in lint_batch(batch, lengths=LENGTHS).rows if row.kind == "not finite"]
    assert len(rows) == 1 and where in rows[0].problem and "sequence" in rows[0].problem


@pytest.mark.graphs
def test_lint_of_bfloat16_without_trouble_finds_nothing():
    assert lint_batch(VECTORS.astype(ml_dtypes.bfloat16), lengths=LENGTHS).ok


class Encoding(UserDict):
    "As the tokenizers of a well-known library return it."


MAPPINGS = {"F30": UserDict, "F30, a class of it": Encoding, "F30, read only": MappingProxyType, "F30, ordered": OrderedDict}


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_batch_may_be_any_mapping(name):
    batch = MAPPINGS[name]({"source": LONG, "target": IDS})
    right, wrong = encoder_decoder(True, as_dict=True), encoder_decoder(as_dict=True)
    assert find_leaks(right, batch).ok and find_leaks(wrong, batch).first.name == "encoder"
    if name == "F30":
        assert check_padding(right, batch).ok and "amount" in broken(audit(wrong, batch).contract)
    assert lint_batch(batch).ok
    assert "target" in {row.name for row in lint_batch(MAPPINGS[name]({"source": LONG, "target": PRE})).rows}


def as_dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(3)


STEP_TARGETS, WEIGHTS = TAGS, VALID.astype("float32")
FED = {
    "F32": lambda: next(iter(as_dataset(IDS, STEP_TARGETS))),
    "F32, with weights": lambda: next(iter(as_dataset(IDS, STEP_TARGETS, WEIGHTS))),
    "F32, a dataset": lambda: as_dataset(IDS, STEP_TARGETS),
    "F32, a dataset of three": lambda: as_dataset(IDS, STEP_TARGETS, WEIGHTS),
}


@pytest.mark.parametrize("name", FED)
def test_targets_and_weights_come_from_the_batch_of_a_dataset(name):
    # a weighted loss is divided by its weights only where that is asked for
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    right, lost = tagger(False, loss), tagger(True, loss)
    report = check_padding(right, FED[name]())
    assert report.ok and report.clauses["loss"].status == "kept", f"\n{report}"
    # such weights of padding mend a loss without a mask
    weighted = name in ("F32, with weights", "F32, a dataset of three")
    report = audit(lost, FED[name]())
    assert report.contract.clauses["loss"].status == ("kept" if weighted else "broken"), f"\n{report}"
    assert find_leaks(right, FED[name]()).ok
    assert lint_batch(FED[name]()).ok


def test_lint_says_what_is_wrong_with_the_targets_of_a_batch():
    targets = np.where(VALID[:, :, None], STEP_TARGETS, np.nan).astype("float32")
    report = lint_batch((tf.constant(IDS), tf.constant(targets)))
    assert not report.ok and any("target" in said(row) or row.name in ("y", "1") for row in report.rows), f"\n{report}"


RAGGED = {
    "F32, ragged": lambda: tf.ragged.constant(SEQUENCES),
    "F32, a dataset without targets": lambda: as_dataset(IDS),
    "F32, a dataset of ragged tensors": lambda: tf.data.Dataset.from_tensor_slices(tf.ragged.constant(SEQUENCES)).ragged_batch(3),
}


@pytest.mark.parametrize("name", RAGGED)
def test_a_ragged_batch_or_a_dataset_is_a_batch(name):
    assert check_padding(stack(layers.GlobalAveragePooling1D()), RAGGED[name]()).ok
    wrong = stack(layers.GlobalAveragePooling1D(name="mean"), mask=False)
    assert "amount" in broken(check_padding(wrong, RAGGED[name]()))
    assert find_leaks(wrong, RAGGED[name]()).first.name == "mean"
    lint_batch(RAGGED[name]())


def test_a_ragged_tensor_of_vectors_beside_ids_is_a_batch():
    ragged = tf.RaggedTensor.from_tensor(VECTORS, lengths=LENGTHS)
    assert find_leaks(pooled_vectors_beside_ids(), [ragged, LONG]).first.name == "pooled"


UNFIT = {
    "F33": (lambda: compiled(stack(layers.Dense(1))), LENGTHS.tolist()),
    "F33, an array": (lambda: compiled(stack(layers.Dense(1))), LENGTHS),
    "F33, an answer of four": (lambda: compiled(stack(layers.GlobalAveragePooling1D())), LENGTHS),
    "F33, a class for each step": (lambda: compiled(stack(layers.Dense(7)), in_logits()), LENGTHS),
}


@pytest.mark.parametrize("name", UNFIT)
def test_lengths_by_place_are_no_targets(name):
    make, lengths = UNFIT[name]
    with pytest.raises(ValueError, match="lengths="):
        audit(make(), IDS, lengths)


def test_one_target_for_each_sequence_is_no_length_where_the_output_has_one_answer():
    classes = compiled(stack(layers.GlobalAveragePooling1D(), layers.Dense(7)), in_logits())
    assert audit(classes, IDS, [3, 5, 2]).contract.clauses["loss"].status == "kept"
    score = compiled(stack(layers.GlobalAveragePooling1D(), layers.Dense(1)))
    assert audit(score, IDS, LENGTHS.astype("float32")).contract.clauses["loss"].status == "kept"


def test_the_offending_verdicts_are_those_that_are_listed():
    assert OFFENDING <= set(VERDICTS)
