"""The mask debugger: the first offender is the right one, sound models raise no alarm, and nothing is left behind."""

import json
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from test_contract import (
    BROKEN,
    DICT,
    IDS,
    SOUND,
    VALID,
    VECTORS,
    WORDS,
    Block,
    compiled,
    embed,
    ids_input,
    of_vectors,
    s1_stripped,
    s4_positions,
    s5_official_example,
    s6_boundary,
    s7_autoencoder,
    stack,
)
from thorough import some_of

from masking_tutorial import (
    VERDICTS,
    audit,
    check_padding,
    find_leaks,
    get_mask,
    influence,
    lint_batch,
    main,
    observe,
    trace_masks,
)

pytestmark = [
    pytest.mark.usefixtures("seeded", "without_graphs"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
    pytest.mark.filterwarnings("ignore:.*does not support mask"),
]


# Sound models raise no alarm.


@pytest.mark.parametrize("name", some_of(SOUND, 3))
def test_a_sound_model_raises_no_alarm(name):
    make, batch, options, *_ = *SOUND[name], {}
    options = {key: value for key, value in options.items() if key != "targets"}
    leaks = find_leaks(make(), batch, **options)
    assert leaks and leaks.first is None, f"\n{leaks}"
    assert leaks.rows


# Broken models are found, and the first offender is the right one.


class Told(keras.Model):
    "Attention with a mask by hand, and an average over valid steps."

    def __init__(self, convert):
        super().__init__()
        self.embed, self.attend, self.convert = layers.Embedding(WORDS, 4), layers.MultiHeadAttention(2, 2, name="attend"), convert

    def call(self, batch):
        x, mask = self.embed(batch["token_ids"]), batch["padding_mask"]
        x = self.attend(x, x, attention_mask=self.convert(mask))
        weights = ops.expand_dims(ops.cast(mask, x.dtype), -1)
        return ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)


class OfficialSoftmax(layers.Layer):
    def call(self, inputs, mask=None):
        exp = ops.exp(inputs) * ops.expand_dims(ops.cast(mask, "float32"), -1)
        return exp / ops.sum(exp, axis=-1, keepdims=True)


def official_softmax():
    ids = ids_input()
    x = embed()(ids)
    return keras.Model(ids, ops.sum(OfficialSoftmax(name="shares")(layers.Dense(1)(x)) * x, axis=1))


class Positional(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.tokens, self.positions = embed(), layers.Embedding(20, 4)

    def call(self, ids):
        return self.tokens(ids) + self.positions(ops.arange(ops.shape(ids)[1]))


class TransformerBlock(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.attend, self.norm = layers.MultiHeadAttention(2, 2, name="inner_attend"), layers.LayerNormalization()
        self.feed = keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(4)])

    def call(self, x):
        x = self.norm(x + self.attend(x, x))
        return self.norm(x + self.feed(x))


def official_example_with_mask_zero():
    ids = ids_input()
    x = TransformerBlock(name="block")(Positional(name="positional")(ids))
    return keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def nested_twice(*inner):
    "The inner layers, two models deep."
    middle = keras.Sequential([keras.Input((None, 4)), keras.Sequential([keras.Input((None, 4)), *inner])])
    return stack(middle, layers.GlobalAveragePooling1D())


class Mean(layers.Layer):
    def call(self, inputs):
        return ops.mean(inputs, axis=1)


class ByAllSteps(layers.Layer):
    "A sum over valid steps, divided by the number of all steps."

    def call(self, inputs, mask=None):
        total = ops.sum(inputs * ops.cast(mask, inputs.dtype)[:, :, None], axis=1)
        return total / inputs.shape[1]

    def compute_mask(self, inputs, mask=None):
        return None


class WrongMask(layers.Layer):
    "Passes on a mask that is one step too long."

    def call(self, inputs, mask=None):
        return inputs + 0

    def compute_mask(self, inputs, mask=None):
        return ops.concatenate([mask[:, :1], mask[:, :-1]], axis=1)


def concatenated_with_unmasked():
    ids = ids_input()
    return keras.Model(ids, layers.LSTM(3)(layers.Concatenate(name="both")([embed()(ids), layers.Embedding(WORDS, 4)(ids)])))


def shared_layer():
    "One embedding and one recurrent layer, called twice; the second time without a mask."
    ids, table, lstm = ids_input(), embed(), layers.LSTM(3, name="shared")
    return keras.Model(ids, lstm(table(ids)) + lstm(table(ids) * 2))


def hand_made_attention(masked):
    "Attention from operations alone, in which the scores of padded steps are there for a while."

    class Attention(layers.Layer):
        def __init__(self):
            super().__init__(name="by_hand")
            self.query, self.key, self.supports_masking = layers.Dense(4), layers.Dense(4), True

        def call(self, x, mask=None):
            scores = ops.matmul(self.query(x), ops.transpose(self.key(x), (0, 2, 1)))
            scores = scores - ops.max(scores, axis=-1, keepdims=True)
            if masked:
                scores = ops.where(mask[:, None], scores, -1e9)
            return ops.matmul(ops.softmax(scores), x)

    return stack(Attention(), layers.GlobalAveragePooling1D())


WHOLE = {name: np.concatenate([leaf, leaf]) for name, leaf in DICT.items()}  # as many sequences as steps
EMPTY = np.concatenate([IDS, np.zeros((1, 6), int)])

# the model, a batch, the name of the first offender (or what it ends with), its verdict, a word of the advice
FIRST = {
    "S1": (s1_stripped, IDS, "multi_head_attention", "loses the mask", "takes the mask off"),
    "S3, a product": (lambda: Block(lambda x, lstm: lstm(x * 2), layers.LSTM(3)), IDS, "Mul", "loses the mask", "supports_masking"),
    "S3, a slice": (lambda: Block(lambda x, lstm: lstm(x[:, ::1]), layers.LSTM(3)), IDS, "StridedSlice", "loses the mask", "operations"),
    "S3, keras.ops": (lambda: Block(lambda x, lstm: lstm(ops.relu(x)), layers.LSTM(3)), IDS, "Relu", "loses the mask", "operations"),
    "S3, a cast": (lambda: Block(lambda x, lstm: lstm(ops.cast(x, "float64")), layers.LSTM(3)), IDS, "Cast", "loses the mask", "operations"),
    "S3, Functional": (lambda: stack(layers.Dense(4), layers.LSTM(3)) and functional_product(), IDS, "multiply", "loses the mask", "operations"),
    "S4, positions": (s4_positions, IDS, "add", "loses the mask", "one of its inputs has no mask"),
    "S4, concatenated": (concatenated_with_unmasked, IDS, "both", "spoils the mask", "does not fit"),
    "S5": (s5_official_example, IDS, "multi_head_attention", "leaks", "mask_zero=True"),
    "S5, with mask_zero": (official_example_with_mask_zero, IDS, "positional/AddV2", "loses the mask", "compute_mask"),
    "S6": (s6_boundary, IDS, "<lambda>", "leaks", "tf.function"),
    "S10, inverted": (lambda: Told(lambda mask: ops.equal(mask, 0)[:, None]), DICT, "attend", "leaks", "inverted"),
    "S10, additive": (lambda: Told(lambda mask: (1 - ops.cast(mask, "float32"))[:, None] * -1e9), DICT, "attend", "leaks", "additive"),
    "S10, queries": (lambda: Told(lambda mask: mask), WHOLE, "attend", "leaks", "(queries, keys)"),
    "L1": (lambda: stack(layers.Dense(4), layers.Softmax(name="classes")), IDS, "classes", "raises", "without"),
    "L1, silent": (lambda: stack(layers.Dense(6), layers.Softmax(name="classes")), np.concatenate([IDS, IDS]), "classes", "raises", "without"),
    "L2": (lambda: stack(layers.GlobalAveragePooling1D(name="mean")), EMPTY, "mean", "makes NaN", "without any valid step"),
    "L4, convolution": (lambda: stack(layers.Conv1D(3, 3, padding="same", bias_initializer="ones", name="first"), layers.Conv1D(3, 3, padding="same", bias_initializer="ones", name="second")), IDS, "first", "leaks", "zero"),
    "L4, largest": (lambda: stack(layers.GlobalMaxPooling1D(name="largest")), IDS, "largest", "leaks", "low value"),
    "L4, flattened": (lambda: keras.Sequential([ids_input(6), embed(), layers.Flatten(name="flat"), layers.Dense(2)]), IDS, "flat", "leaks", "whatever the mask"),
    "L5": (official_softmax, IDS, "shares", "makes NaN", "divide only where"),
    "a layer that drops the mask": (lambda: stack(layers.RMSNormalization(name="norm"), layers.GRU(3)), IDS, "norm", "loses the mask", "by hand to 'gru"),
    "a layer of one's own": (lambda: stack(Mean(name="average")), IDS, "average", "leaks", "padded steps"),
    "the number of steps": (lambda: stack(ByAllSteps(name="average")), IDS, "average", "leaks", "their number"),
    "a wrong mask": (lambda: stack(WrongMask(name="shift"), layers.GlobalAveragePooling1D()), IDS, "shift", "spoils the mask", "does not fit"),
    "two models deep": (lambda: nested_twice(layers.Conv1D(4, 3, padding="same", bias_initializer="ones", name="deep")), IDS, "deep", "leaks", "zero"),
    "floats": (lambda: of_vectors(layers.Conv1D(4, 3, padding="same", bias_initializer="ones", name="conv"), layers.GlobalAveragePooling1D()), VECTORS, "conv", "leaks", "zero"),
    "pre-padded": (lambda: stack(layers.Lambda(lambda x: x * 1, name="plain"), layers.LSTM(3)), IDS[:, ::-1], "plain", "loses the mask", "drops the mask"),
    "attention by hand": (lambda: hand_made_attention(masked=False), IDS, "by_hand/Max", "leaks", "mask in hand"),
    "a shared layer": (shared_layer, IDS, "multiply", "loses the mask", "operations"),
    "a fixed length and no mask": (lambda: keras.Sequential([ids_input(6), layers.Embedding(WORDS, 4), layers.Flatten(name="flat"), layers.Dense(2)]), IDS, "flat", "leaks", "whatever the mask"),
    "no mask at all": (lambda: keras.Sequential([layers.Embedding(WORDS, 4), layers.LSTM(3, name="state")]), IDS, "state", "leaks", "no mask reaches it"),
}  # fmt: skip


def functional_product():
    ids = ids_input()
    return keras.Model(ids, layers.LSTM(3)(embed()(ids) * 2))


@pytest.mark.parametrize("name", some_of(FIRST, 2))
def test_the_first_offender_is_the_right_one(name):
    make, batch, expected, verdict, word = FIRST[name]
    leaks = find_leaks(make(), batch)
    assert leaks.first, f"\n{leaks}"
    name = leaks.first.name
    assert expected in (name, name.rstrip("0123456789").rstrip("_")), f"\n{leaks}"
    assert (leaks.first.verdict, word in leaks.first.advice) == (verdict, True), f"\n{leaks}"
    assert not leaks and leaks.first.offends and leaks.first.verdict in VERDICTS


# the others are broken in what is no value of the output: the loss, gradients, saving
IN_VALUES = [name for name, (_, _, clauses, *_) in BROKEN.items() if clauses & {"amount", "content", "neighbours"}]


@pytest.mark.parametrize("name", IN_VALUES)
def test_what_the_contract_finds_in_values_the_debugger_finds(name):
    make, batch, *_ = BROKEN[name]
    leaks = find_leaks(make(), batch)
    assert leaks.first is not None, f"\n{leaks}"


def test_sound_parts_are_not_blamed_and_what_leaks_later_is_found_too():
    assert find_leaks(hand_made_attention(masked=True), IDS)
    leaks = find_leaks(stack(layers.Conv1D(4, 3, padding="same", bias_initializer="ones"), layers.Dense(4), layers.LSTM(3)), IDS)
    assert [row.verdict for row in leaks.rows if row.offends] == ["leaks", "leaks"]
    assert [row.kind for row in leaks.rows if row.offends] == ["Conv1D", "LSTM"]
    assert next(row for row in leaks.rows if row.kind == "Dense").verdict == "keeps"


def test_masks_are_told_as_promised_and_as_they_arrive():
    ids = ids_input()
    x = embed()(ids)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="sum")([x, layers.MultiHeadAttention(2, 2)(x, x)]))
    leaks = find_leaks(keras.Model(ids, layers.GlobalAveragePooling1D()(x)), IDS)
    rows = {row.name: row for row in leaks.rows}
    assert leaks and rows["sum"].promised and not rows["sum"].mask_out
    assert "dropped, though promised" in repr(leaks)


def test_a_warning_is_told_and_is_no_verdict():
    leaks = find_leaks(stack(layers.Conv1D(3, 2, padding="causal", name="causal")), IDS)
    (row,) = [row for row in leaks.rows if row.name == "causal"]
    assert leaks and row.mask == "dropped, warned" and row.verdict == "keeps"


def test_the_line_of_code_is_named():
    class Doubling(keras.Model):
        def __init__(self):
            super().__init__()
            self.table, self.lstm = embed(), layers.LSTM(3)

        def call(self, ids):
            doubled = self.table(ids) * 2
            return self.lstm(doubled)

    assert find_leaks(Doubling(), IDS).first.place == "doubled = self.table(ids) * 2 (in call)"


# What could hide a leak.


def functional(build):
    ids = ids_input()
    return keras.Model(ids, build(ids))


class Gate(layers.Layer):
    "A residual block that is switched off, as ReZero is before training."

    def build(self, shape):
        self.gate, self.attend = self.add_weight(shape=(), initializer="zeros"), layers.MultiHeadAttention(2, 2)

    def call(self, x):
        return x + self.gate * self.attend(x, x)


class InRowsOfFour(keras.Model):
    "Takes four sequences and no other number; counts all steps."

    def __init__(self):
        super().__init__()
        self.table = embed()

    def call(self, ids):
        x = ops.reshape(self.table(ids), (4, -1, 4))
        return ops.mean(x * ops.cast(ops.reshape(ids != 0, (4, -1, 1)), "float32"), axis=1)


class TakesMask(layers.Layer):
    "An average over valid steps, if it is told which these are."

    def call(self, inputs, mask=None):
        weights = ops.ones_like(inputs[:, :, :1]) if mask is None else ops.cast(mask, inputs.dtype)[:, :, None]
        return ops.sum(inputs * weights, axis=1) / ops.sum(weights, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


def unmasked():
    return layers.Embedding(WORDS, 4)


def beside(ids, features, pooling):
    return keras.Model([ids, features], layers.concatenate([layers.GRU(4)(embed()(ids)), pooling(features)]))


def traced():
    model = functional(lambda ids: layers.GlobalAveragePooling1D()(unmasked()(ids)))
    compiled_model = tf.function(model, autograph=False)
    return lambda ids: compiled_model(tf.constant(ids))


BANNED = np.where(np.arange(4) == 0, np.float32(-1e9), np.float32(0))
MANY = np.array([[3] * length + [0] * (12 - length) for length in (12, 2, 4, 6, 10, 3, 5, 7, 9)])
HIDING = {
    "a head of zeros": (lambda: functional(lambda ids: layers.Dense(3, kernel_initializer="zeros")(layers.GlobalAveragePooling1D()(unmasked()(ids)))), IDS),
    "a gate that is closed": (lambda: functional(lambda ids: Gate()(unmasked()(ids))), IDS),
    "lengths that few sequences have": (lambda: functional(lambda ids: layers.UpSampling1D(2)(layers.AveragePooling1D(2, padding="same")(unmasked()(ids)))), MANY),
    "a large output beside small ones": (lambda: functional(lambda ids: layers.Dense(4)(layers.GlobalAveragePooling1D()(unmasked()(ids))) + BANNED), IDS),
    "a large scale beside a small one": (lambda: functional(lambda ids: layers.concatenate([layers.GRU(3)(embed()(ids)) * 1e6, layers.GlobalAveragePooling1D()(unmasked()(ids))])), IDS),
    "a second input without a mask": (lambda: beside(ids_input(), keras.Input((None, 4)), layers.Lambda(lambda x: ops.sum(x, axis=1))), [IDS, VECTORS]),
    "a second input of fixed length": (lambda: beside(ids_input(6), keras.Input((6, 4)), layers.GlobalAveragePooling1D()), [IDS, VECTORS]),
    "one batch size only": (InRowsOfFour, np.concatenate([IDS, IDS[:1]])),
    "a function that TensorFlow has compiled": (traced, IDS),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDING)
def test_a_leak_that_hides_is_found(name):
    make, batch = HIDING[name]
    model = make()
    leaks = find_leaks(model, batch)
    assert leaks.first is not None, f"\n{leaks}"
    if name == "a head of zeros":
        assert not model.layers[-1].get_weights()[0].any()  # it got its zeros back
        assert "all zero" in repr(leaks)


class OfAMean(layers.Layer):
    """Adds a share of the mean over all steps, a share that begins with zero."""

    def build(self, input_shape):
        self.share = self.add_weight(shape=(), initializer="zeros", name="share")

    def call(self, inputs):
        return inputs + self.share * ops.mean(inputs, axis=1, keepdims=True)


class Positions(layers.Layer):
    """Multiplies each step with a learned weight for its place, all zero at first."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(64, input_shape[-1]), initializer="zeros", name="weight")

    def call(self, inputs):
        return inputs + ops.flip(inputs, axis=1) * self.weight[: ops.shape(inputs)[1]]


@pytest.mark.parametrize("layer", [OfAMean, Positions])
def test_what_a_weight_of_zero_hides_is_found_by_all_instruments_and_the_weight_stays_zero(layer):
    model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True), layer(name="hiding"), layers.GlobalAveragePooling1D()])
    model(IDS)
    leaks = find_leaks(model, IDS)
    contract = check_padding(model, IDS, clauses=["amount", "content"])
    assert leaks.first.name == "hiding" and not contract.clauses["amount"].status == "kept"
    assert not influence(model, IDS)
    assert "hiding" in repr(contract) and "all zero" in repr(contract)
    assert not model.layers[1].get_weights()[0].any()


def test_a_weight_of_zero_that_hides_nothing_raises_no_alarm():
    model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True), layers.LSTM(3, kernel_initializer="zeros"), layers.PReLU()])
    assert find_leaks(model, IDS) and check_padding(model, IDS, clauses=["amount", "content", "gradients"])


def test_arrays_that_a_function_hands_to_a_layer_are_its_inputs():
    embedding, mean = layers.Embedding(10, 4), layers.GlobalAveragePooling1D()
    leaks = find_leaks(lambda ids: mean(embedding(np.asarray(ids))), IDS)
    assert {row.kind: row.verdict for row in leaks} == {"Embedding": "keeps", "GlobalAveragePooling1D": "leaks"}


def test_a_model_inside_that_uses_the_mask_does_not_drop_it():
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, layers.LSTM(3)(vectors))
    trace = trace_masks(functional(lambda ids: inner(embed()(ids))), IDS)
    assert [row.fate for row in trace if row.class_name == "Functional"][-1] == "used"


def test_rounding_does_not_count_as_reached():
    leaks = find_leaks(functional(lambda ids: layers.Dense(3, name="behind")(layers.LSTM(3)(embed()(ids)))), MANY)
    assert {row.name: row.verdict for row in leaks}["behind"] == "not reached"


def test_building_a_layer_is_no_part_of_its_call():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs * 2.0)

    assert [call.kind for call in observe(Model(), VECTORS).calls.values()] == ["", "Model", "Mul", "Dense"]


def test_a_report_on_an_error_holds_no_graph_nodes_and_no_list_of_arguments():
    class Takes(layers.Layer):
        def call(self, inputs):
            return tf.matmul(inputs, tf.ones((4 if inputs.shape[1] < 7 else 3, 2)))

    embedding, takes = layers.Embedding(10, 4), Takes()
    for instrument in (find_leaks, check_padding):
        report = instrument(lambda ids: takes(embedding(ids)), np.pad(IDS, [(0, 0), (0, 1)]))
        assert not report and "Matrix size-incompatible" in str(report)
        assert "{{" not in str(report) and "[Op:" not in str(report) and "Arguments received" not in str(report)


@pytest.mark.parametrize("lost", [lambda x: ops.relu(x), layers.RMSNormalization(name="norm")], ids=["operation", "layer"])
def test_a_layer_that_would_use_a_mask_is_not_the_first_to_blame(lost):
    leaks = find_leaks(functional(lambda ids: TakesMask()(lost(embed()(ids)))), IDS)
    assert (leaks.first.kind, leaks.first.verdict) in [("Relu", "loses the mask"), ("RMSNormalization", "loses the mask")]
    assert [row.kind for row in leaks.rows if row.verdict == "leaks"] == ["TakesMask"]


def test_an_input_that_was_not_varied_is_named():
    ids, tags = ids_input(), ids_input()
    model = keras.Model([ids, tags], layers.concatenate([
        layers.GRU(4)(embed()(ids)), layers.GlobalAveragePooling1D()(unmasked()(tags))]))
    assert find_leaks(model, [IDS, MANY[:3]]).first.kind == "GlobalAveragePooling1D"
    leaks = find_leaks(model, [IDS, MANY[:3]], static=["1"])
    assert leaks and "not varied" in " ".join(leaks.notes) and "not varied" in repr(leaks)


def test_a_layer_deep_inside_is_named_with_what_is_around_it():
    leaks = find_leaks(nested_twice(layers.Conv1D(4, 3, padding="same", bias_initializer="ones", name="deep")), IDS)
    assert leaks.first.name == "deep" and leaks.first.inside.count("/") == 1 and "deep (in " in leaks.verdict


# What is left behind: nothing.


def test_keras_tensorflow_and_the_model_are_left_as_found_also_after_an_error():
    original, level = keras.layers.Layer.__call__, tf.get_logger().level
    model = stack(layers.BatchNormalization(), layers.LSTM(3))
    model(IDS)
    before = [variable.numpy() for variable in model.variables]

    class Stops(layers.Layer):
        def call(self, inputs):
            raise RuntimeError("stops")

    find_leaks(model, IDS)
    with pytest.raises(RuntimeError, match="stops"):
        find_leaks(stack(Stops()), IDS)
    assert keras.layers.Layer.__call__ is original and tf.get_logger().level == level
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.variables))
    from tensorflow.python.eager import context

    assert not context.context().op_callbacks


def test_two_threads_do_not_disturb_each_other():
    reports = {}

    def search(name, model):
        reports[name] = [find_leaks(model, IDS).first for _ in range(3)]

    models = {"sound": stack(layers.LSTM(3)), "broken": stack(Mean(name="average"))}
    threads = [threading.Thread(target=search, args=item) for item in models.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reports["sound"] == [None] * 3
    assert [first.name for first in reports["broken"]] == ["average"] * 3


# What cannot be tested is refused, with a reason.


class NoTensor(layers.Layer):
    def call(self, inputs):
        return None


class Random(layers.Layer):
    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs))


class Merged(layers.Layer):
    def call(self, inputs):
        return ops.reshape(inputs, (-1, inputs.shape[-1]))


class Backwards(layers.Layer):
    "Gives fewer steps for more."

    def call(self, inputs):
        return ops.mean(inputs, axis=1, keepdims=True) * ops.ones((1, 16 - inputs.shape[1], 1)) if inputs.shape[1] else inputs

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((None, None, 4))


def nan_model():
    model = functional(lambda ids: layers.Dense(2)(layers.GlobalAveragePooling1D()(unmasked()(ids))))
    model.layers[-1].bias.assign([np.nan, np.nan])
    return model


REFUSED = {
    "one sequence": (lambda: stack(layers.LSTM(3)), IDS[:1], "the batch has 1 sequences"),
    "no padding": (lambda: stack(layers.LSTM(3)), IDS[2:].repeat(2, axis=0), "0 padded steps"),
    "an unknown id": (lambda: stack(layers.LSTM(3)), IDS + 5 * VALID, "holds the id 14, but layer 'embedding"),
    "no tensor": (lambda: Block(lambda x: {"answer": "none"}), IDS, "which is no tensor"),
    "nothing": (lambda: Block(lambda x: None), IDS, "which is no tensor"),
    "a mask of numbers": (lambda: Told(lambda mask: mask), {"token_ids": IDS, "padding_mask": IDS}, "is no mask"),
    "two answers": (lambda: stack(Random()), IDS, "two answers"),
    "no batch axis": (lambda: stack(Merged()), IDS, "its first axis must be the batch"),
    "NaN with and without padding": (lambda: nan_model(), IDS, "is NaN at valid steps of sequence 0"),
    "an output that cannot be compared": (lambda: functional(lambda ids: [layers.GRU(4)(embed()(ids)), Backwards()(embed()(ids))]), IDS, "its output 1 has neither"),
    "a state that changes": (lambda: stack(layers.LSTM(3, stateful=True)), IDS, "two answers"),
    "only full and empty sequences": (lambda: stack(layers.LSTM(3)), EMPTY[2:], "full length"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_tested_is_refused_with_a_reason(name):
    make, batch, words = REFUSED[name]
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        find_leaks(make(), batch)


def test_without_a_batch_one_is_made():
    ids = ids_input()
    assert find_leaks(keras.Model(ids, layers.LSTM(3)(embed()(ids))))
    with pytest.raises(ValueError, match="pass a batch"):
        find_leaks(stack(layers.LSTM(3)))


# The report.


def test_the_report_gives_text_html_json_and_a_figure():
    leaks = find_leaks(stack(Mean(name="<average>")), IDS)
    assert "<- first" in repr(leaks) and "&lt;average&gt;" in leaks._repr_html_()
    told = json.loads(leaks.to_json())
    assert told["ok"] is False and told["first"] == "<average>"
    assert {"name", "kind", "verdict", "advice"} <= set(told["rows"][0])
    assert "leaks (first)" in leaks.figure().source
    nan = find_leaks(stack(layers.GlobalAveragePooling1D()), EMPTY)
    assert "NaN" not in nan.to_json().replace("makes NaN", "")


# The audit.


def tagger(*metrics, **options):
    model = stack(layers.GRU(4, return_sequences=True), layers.Dense(1, activation="sigmoid", **options))
    model.compile(loss="binary_crossentropy", metrics=list(metrics))
    return model


TARGETS = np.random.default_rng(2).integers(0, 2, (3, 6, 1)).astype("float32")


def test_s2_metrics_that_ignore_the_mask_are_found_and_others_are_not():
    metrics = ["accuracy", keras.metrics.Recall(thresholds=0.1), keras.metrics.FalseNegatives(thresholds=0.9), keras.metrics.AUC(), "mse"]
    report = audit(tagger(*metrics), IDS, TARGETS)
    row = report.contract.clauses["metrics"]
    assert {name.rstrip("0123456789").rstrip("_") for name in row.where.split(", ")} == {"false_negatives", "auc"}  # the recall is 1, with padding or without
    assert not report and report.leaks and [row.name for row in report.contract if row.offends] == ["metrics"]
    assert audit(tagger("accuracy"), IDS, TARGETS)


def test_s7_the_loss_of_an_autoencoder_and_the_layer_that_ends_the_mask():
    report = audit(s7_autoencoder(), VECTORS, VECTORS)
    assert report.first.kind == "RepeatVector" and "the loss" in report.first.advice
    assert report.contract.clauses["loss"].status == "broken"


def test_a_loss_that_gets_no_mask_leads_to_the_operation_that_lost_it():
    report = audit(compiled(Block(lambda x, dense: dense(x * 2), layers.Dense(1))), IDS, np.ones((3, 6, 1)))
    assert report.first.kind == "Mul" and report.contract.clauses["loss"].offends


def test_regularizers_that_count_padding_are_found():
    report = audit(tagger(activity_regularizer="l2"), IDS, TARGETS)
    assert report.contract.clauses["regularizers"].offends and not report
    assert audit(tagger(kernel_regularizer="l2"), IDS, TARGETS)


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="there are 2 targets for 3 sequences"):
        audit(tagger("accuracy"), IDS, TARGETS[:2])


def test_the_loss_of_each_output_is_looked_at():
    ids = ids_input()
    states = layers.GRU(4, return_sequences=True)(embed()(ids))
    model = keras.Model(ids, {"kept": layers.Dense(1, name="kept")(states), "lost": layers.Dense(1, name="lost")(states * 1)})
    model.compile(loss={"kept": "mse", "lost": "mse"})
    report = audit(model, IDS, {"kept": TARGETS, "lost": TARGETS})
    assert report.contract.clauses["loss"].where == "lost_loss"


def test_a_loss_that_cannot_be_evaluated_is_not_tested():
    report = audit(tagger(keras.metrics.F1Score()), IDS, TARGETS)
    assert report.not_tested == ["loss", "metrics"] and "evaluate raises" in report.contract.clauses["metrics"].reason


def test_a_loss_of_ones_own_that_counts_padding_is_found():
    class Own(Block):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred))

    model = Own(lambda x, dense: dense(x), layers.Dense(1))
    model.compile()
    assert audit(model, IDS, TARGETS).contract.clauses["loss"].offends


@pytest.mark.graphs
def test_an_audit_says_what_it_did_not_test():
    report = audit(stack(layers.LSTM(3)), IDS)
    assert report and report.contract.clauses["loss"].reason == "the model is not compiled" and not report.not_tested
    report = audit(compiled(stack(layers.LSTM(3))), IDS)
    assert report and report.not_tested == ["loss"] and "could not be tested: loss" in report.verdict
    report = audit(stack(layers.Dense(4), layers.Softmax()), IDS)
    assert not report and "raises" in report.contract.first.reason and report.first.verdict == "raises"
    assert json.loads(report.to_json())["contract"]["ok"] is False and "Layers and operations" in report._repr_html_()
    report = audit(stack(layers.LSTM(3)), EMPTY)
    assert report and report.contract is None and report.not_tested == ["the contract"]


# The look at a batch.


@pytest.mark.parametrize(
    "batch, options, kinds",
    [
        (IDS, {}, []),
        (EMPTY, {}, ["empty"]),
        (IDS[2:], {}, ["no padding"]),
        (IDS[:, ::-1], {}, ["side"]),
        (np.array([[3, 0, 4, 0], [5, 0, 0, 0]]), {}, ["collision"]),
        (np.array([[3, 2, 4, 0], [5, 0, 0, 0]]), {"lengths": [4, 2]}, ["collision", "collision"][:1]),
        ({"ids": np.array([[3, 2, 0], [5, 0, 0]]), "mask": np.array([[1, 1, 1], [1, 0, 0]])}, {}, ["collision"]),
        (np.array([[3, -1, 0], [5, 0, 0]]), {}, ["ids"]),
        (np.concatenate([IDS, IDS]), {}, ["shape"]),
        (VECTORS[:, :4], {"lengths": [3, 4, 4]}, ["collision", "shape"]),
        (np.where(VALID[:, :, None], np.float32(1), np.nan).repeat(4, 2), {"lengths": [3, 5, 6]}, ["not finite"]),
        (np.where(VALID[:, :, None], np.float32(1), 0).repeat(4, 2), {"mask_value": -999.9, "lengths": [3, 5, 6]}, ["mask value", "mask value"]),
        (np.where(VALID[:, :, None], np.float32(1), 0).repeat(4, 2), {"mask_value": np.nan, "lengths": [3, 5, 6]}, ["mask value"]),
    ],
)
def test_lint_finds_what_invites_trouble(batch, options, kinds):
    if kinds == ["collision", "shape"]:  # a sequence that holds a vector of zeros at a valid step
        batch = batch.copy()
        batch[1, 1] = 0
        batch[1, 3] = batch[2, 3] = 1
        options = {"lengths": [3, 4, 4]}
    findings = lint_batch(batch, **options)
    assert [finding.kind for finding in findings] == kinds, findings
    assert all(finding.problem and finding.advice for finding in findings)


def test_lint_refuses_what_is_no_batch():
    with pytest.raises(ValueError, match="single value"):
        lint_batch({"x": 3})
    with pytest.raises(ValueError, match="has 3 sequences"):
        lint_batch(IDS, lengths=[1, 2])


# The command.


@pytest.fixture
def model_file(tmp_path):
    def save(*more, name="model.keras"):
        model = keras.Sequential([ids_input(name="ids"), embed(), *more])
        model.save(tmp_path / name)
        return str(tmp_path / name)

    return save


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "batch.npz", **arrays)
    return str(tmp_path / "batch.npz")


def test_the_exit_code_tells_sound_from_broken_from_untested(model_file, tmp_path, capsys):
    batch = npz(tmp_path, ids=IDS)
    assert main([model_file(layers.LSTM(3)), "--batch", batch]) == 0
    assert main([model_file(layers.GlobalMaxPooling1D(name="largest")), "--batch", batch]) == 1
    out = capsys.readouterr()
    assert "largest (GlobalMaxPooling1D)" in out.out and "the padding contract: amount ..." in out.err
    assert main([model_file(layers.LSTM(3)), "--batch", npz(tmp_path, ids=IDS[2:])]) == 2
    assert "could not be tested: the batch has 1 sequences" in capsys.readouterr().err


def test_json_and_figure(model_file, tmp_path, capsys):
    figure, path = tmp_path / "out.svg", model_file(layers.GlobalMaxPooling1D(name="largest"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # what the report says need not be warned of
        assert main([path, "--json", "--figure", str(figure)]) == 1
    assert json.loads(capsys.readouterr().out)["leaks"]["first"] == "largest"
    assert "largest" in figure.read_text()
    assert main([str(tmp_path / "none.keras"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is None


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"other": IDS}, "the model also needs token_ids, padding_mask"),
        ({"token_ids": IDS, "padding_mask": IDS}, "is no mask"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(tmp_path, capsys, arrays, words):
    inputs = {name: ids_input(name=name) for name in ("token_ids", "padding_mask")}
    x = layers.Embedding(WORDS, 4)(inputs["token_ids"])
    weights = ops.expand_dims(ops.cast(inputs["padding_mask"], "float32"), -1)
    keras.Model(inputs, ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)).save(tmp_path / "model.keras")
    assert main([str(tmp_path / "model.keras"), "--batch", npz(tmp_path, **arrays)]) == 2
    assert words in capsys.readouterr().err
    assert main([str(tmp_path / "model.keras"), "--batch", npz(tmp_path, token_ids=IDS, padding_mask=VALID.astype("int32"))]) == 0


def test_what_is_no_model_and_no_npz_is_refused(tmp_path, model_file, capsys):
    (tmp_path / "text.keras").write_text("no model")
    assert main([str(tmp_path / "text.keras")]) == 2
    assert main([str(tmp_path / "missing.keras")]) == 2
    (tmp_path / "text.npz").write_text("no arrays")
    assert main([model_file(layers.LSTM(3)), "--batch", str(tmp_path / "text.npz")]) == 2
    err = capsys.readouterr().err
    assert all(words in err for words in ("cannot be loaded", "there is no file", "is no npz file"))


@keras.saving.register_keras_serializable(package="test_debugger")
class Own(layers.Layer):
    def call(self, inputs):
        return inputs + 0


def test_a_missing_custom_object_is_said_and_can_be_imported(model_file, capsys, monkeypatch, tmp_path):
    path = model_file(Own(name="own"), layers.LSTM(3))
    registered = keras.saving.get_custom_objects().pop("test_debugger>Own")
    (tmp_path / "own_layers.py").write_text(
        "import keras\n@keras.saving.register_keras_serializable(package='test_debugger')\n"
        "class Own(keras.layers.Layer):\n    def call(self, inputs):\n        return inputs + 0\n"
    )
    try:
        monkeypatch.setattr(Own, "__module__", "gone")
        assert main([path]) == 2
        assert "the class Own is not known" in (err := capsys.readouterr().err) and "--import MODULE" in err
        monkeypatch.syspath_prepend(tmp_path)
        assert main([path, "--import", "own_layers", "--batch", npz(tmp_path, ids=IDS)]) == 1
        assert "own (Own)" in capsys.readouterr().out
    finally:
        keras.saving.get_custom_objects()["test_debugger>Own"] = registered


def test_a_check_and_a_search_agree_on_a_model_that_was_mended():
    class Mended(Block):
        def call(self, ids):
            x = self.table(ids)
            mask = get_mask(x)
            attention, add, mean = self.parts
            return mean(add([x, attention(x, x)]), mask=mask)

    model = Mended(None, layers.MultiHeadAttention(2, 2), layers.Add(), layers.GlobalAveragePooling1D())
    assert find_leaks(model, IDS) and check_padding(model, IDS)
