"""The counterparts of Keras layers: each sequence alone in the original, against padded batches in ours."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from masking_tutorial.contract import check_padding
from masking_tutorial.masked_layers import (
    LAYER_COUNTERPARTS,
    KeepMask,
    LastValidStep,
    MaskedAdd,
    MaskedBatchNormalization,
    MaskedBidirectional,
    MaskedConcatenate,
    MaskedDot,
    MaskedFlatten,
    MaskedGroupNormalization,
    MaskedGRU,
    MaskedLayerNormalization,
    MaskedLSTM,
    MaskedRepeatVector,
    ReverseSequence,
    ValidPositions,
)
from masking_tutorial.masks import attach_mask, get_mask, mask_from_lengths

pytestmark = pytest.mark.usefixtures("seeded")
LENGTHS, STEPS, FEATURES, UNITS = [2, 5, 3], 5, 4, 3
VALUES = np.random.default_rng(0).normal(size=(3, 3, 9, FEATURES)).astype("float32")  # input, sequence, step, feature
STATES = np.random.default_rng(1).normal(size=(4, 3, UNITS)).astype("float32")
PADDINGS = [("post", 0, np.nan), ("pre", 4, np.nan), ("post", 4, 1e4)]


@dataclasses.dataclass
class Case:
    make: Callable  # makes the layer of Keras
    inputs: str = "m"  # for each input: m with a mask, n without one, v a vector, o one step for all
    mask: str = "kept"  # what becomes of the mask
    states: int = 0  # number of initial states
    per_step: bool = False  # whether there are weights for each step

    def alone(self, row, steps=None):
        """The inputs of a sequence alone."""
        steps = LENGTHS[row] if steps is None else steps
        some = {"v": np.s_[row:row + 1, 0], "o": np.s_[row:row + 1, :1]}
        return [VALUES[k][some.get(kind, np.s_[row:row + 1, :steps])] for k, kind in enumerate(self.inputs)]

    def padded(self, side, more, filler, lengths=LENGTHS):
        """The inputs of all sequences, their masks, and the valid steps."""
        valid, tensors = mask_from_lengths(lengths, STEPS + more, side), []
        for k, kind in enumerate(self.inputs):
            if kind in "vo":
                tensors.append(VALUES[k, :, 0] if kind == "v" else VALUES[k, :, :1])
            else:
                tensors.append(np.full((*valid.shape, FEATURES), filler, "float32"))
                tensors[-1][valid] = np.concatenate([VALUES[k, row, :n] for row, n in enumerate(lengths)])
        return tensors, [valid if kind == "m" else None for kind in self.inputs], valid

    def call(self, layer, tensors, masks=(None,) * 3, rows=slice(None)):
        tensors = [tensor if mask is None else attach_mask(tensor, mask) for tensor, mask in zip(tensors, masks)]
        states = [ops.convert_to_tensor(state[rows]) for state in STATES[: self.states]]
        return layer(tensors if len(tensors) > 1 else tensors[0], **({"initial_state": states} if states else {}))

    def with_weights(self, layer, steps):
        """The layer, called once, with the first weights of a long list: those of a step do not depend on how many there are."""
        self.call(layer, self.alone(0, steps), rows=[0])
        shapes = [(9, *weight.shape[1:]) if self.per_step else weight.shape for weight in layer.get_weights()]
        weights = [np.random.default_rng(2).uniform(0.2, 1, shape) for shape in shapes]
        layer.set_weights([array[:steps] if self.per_step else array for array in weights])
        return layer

    def ours(self, steps=STEPS):
        theirs = self.make()
        return self.with_weights(LAYER_COUNTERPARTS[type(theirs)].from_config(theirs.get_config()), steps)

    def theirs(self, steps=STEPS):
        return self.with_weights(self.make(), steps)

    def truth(self):
        """The answers of the original for each sequence alone: a row for each step, or for each sequence where the mask ends."""
        layer = self.theirs()
        outputs = [self.call(self.theirs(n) if self.per_step else layer, self.alone(row), rows=[row]) for row, n in enumerate(LENGTHS)]
        return np.concatenate([np.asarray(output if self.mask == "ended" else output[0]) for output in outputs])

    def expected_mask(self, valid):
        first = np.ones((len(valid), 1), bool)
        return {"kept": valid, "ended": None, "backwards": valid[:, ::-1], "twice": np.hstack([valid, valid]),
                "one more": np.hstack([first, valid])}[self.mask]

    def check(self, output, valid, truth, **tolerance):
        mask = self.expected_mask(valid)
        np.testing.assert_equal(None if get_mask(output) is None else np.asarray(get_mask(output)), mask)
        np.testing.assert_allclose(np.asarray(output) if mask is None else np.asarray(output)[mask], truth, **tolerance)


def recurrent(kind, **options):
    return lambda: layers.RNN(layers.GRUCell(UNITS), **options) if kind is layers.RNN else kind(UNITS, **options)


def of_steps(back=False):
    return {"return_sequences": True, "go_backwards": back}


CASES = {
    **{f"{kind.__name__} {inputs}": Case(kind, inputs) for inputs in ("mm", "mn") for kind in (
        layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate)},
    **{f"{kind.__name__} {inputs}": Case(kind, inputs) for kind in (layers.Add, layers.Multiply) for inputs in ("mv", "om", "nmv")},
    "Concatenate time": Case(lambda: layers.Concatenate(axis=1), "mm", "twice"),
    "Concatenate a step and time": Case(lambda: layers.Concatenate(axis=-2), "om", "one more"),
    "Dot over time": Case(lambda: layers.Dot(1), "mm", "ended"),
    "Dot over time, one mask": Case(lambda: layers.Dot(1, normalize=True), "nm", "ended"),
    "Dot of a vector": Case(lambda: layers.Dot((1, 2)), "vm"),
    "GroupNormalization": Case(lambda: layers.GroupNormalization(2)),
    "GroupNormalization plain": Case(lambda: layers.GroupNormalization(1, scale=False, center=False)),
    "BatchNormalization": Case(layers.BatchNormalization),
    "UnitNormalization": Case(layers.UnitNormalization),
    "UnitNormalization time": Case(lambda: layers.UnitNormalization(axis=1)),
    "LayerNormalization": Case(layers.LayerNormalization),
    "LayerNormalization time": Case(lambda: layers.LayerNormalization(axis=1), per_step=True),
    "LayerNormalization both": Case(lambda: layers.LayerNormalization(axis=(1, 2)), per_step=True),
    "LayerNormalization plain": Case(lambda: layers.LayerNormalization(axis=(1, -1), scale=False, center=False)),
    "RMSNormalization": Case(layers.RMSNormalization),
    "RMSNormalization both": Case(lambda: layers.RMSNormalization(axis=(1, 2)), per_step=True),
    "Softmax": Case(layers.Softmax),
    "Softmax time": Case(lambda: layers.Softmax(axis=1)),
    "LSTM steps": Case(recurrent(layers.LSTM, **of_steps()), states=2),
    "LSTM backwards": Case(recurrent(layers.LSTM, **of_steps(back=True)), mask="backwards"),
    "GRU backwards": Case(recurrent(layers.GRU, **of_steps(back=True)), mask="backwards", states=1),
    "SimpleRNN last": Case(recurrent(layers.SimpleRNN, go_backwards=True), mask="ended", states=1),
    "RNN backwards": Case(recurrent(layers.RNN, **of_steps(back=True)), mask="backwards", states=1),
    "Bidirectional LSTM": Case(lambda: layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)), states=4),
    "Bidirectional SimpleRNN": Case(lambda: layers.Bidirectional(layers.SimpleRNN(UNITS)), mask="ended", states=2),
}
each_case = pytest.mark.parametrize("name", CASES)


@each_case
def test_padding_changes_nothing_and_the_mask_is_right(name):
    case = CASES[name]
    truth, layer = case.truth(), case.ours()
    for side, more, filler in PADDINGS:
        tensors, masks, valid = case.padded(side, more, filler)
        layer = case.ours(STEPS + more) if case.per_step else layer
        case.check(case.call(layer, tensors, masks), valid, truth, rtol=1e-4, atol=1e-5)


@each_case
def test_without_a_mask_it_is_the_layer_of_keras(name):
    case = CASES[name]
    tensors, *_ = case.padded("post", 0, 5)
    output = case.call(case.ours(), tensors)
    assert get_mask(output) is None and np.array_equal(output, case.call(case.theirs(), tensors))


@pytest.mark.tensorflow
@each_case
def test_gradients_stop_at_padding_and_an_empty_sequence_gives_no_nan(name):
    case = CASES[name]
    tensors, masks, valid = case.padded("pre", 2, np.nan, [2, 0, 3])
    layer = case.ours(STEPS + 2)
    with tf.GradientTape() as tape:
        tensors = [tf.constant(tensor) for tensor in tensors]
        tape.watch(tensors)
        output = case.call(layer, tensors, masks)
        loss = ops.sum(ops.square(output) * np.random.default_rng(0).normal(size=output.shape).astype("float32"))
    of_inputs, of_weights = tape.gradient(loss, [tensors, layer.trainable_weights])
    assert np.isfinite(output).all() and all(np.isfinite(gradient).all() for gradient in of_weights)
    for kind, gradient in zip(case.inputs, of_inputs):
        assert np.isfinite(gradient).all()
        assert kind in "vo" or not np.asarray(gradient)[~valid].any()


def test_the_table_has_a_case_for_each_layer():
    tested = {type(case.make()) for case in CASES.values()} | {layers.Flatten, layers.RepeatVector}
    assert set(LAYER_COUNTERPARTS) == tested


# In models: with an unknown number of steps, compiled, saved and in half precision.


def autoencoder(x, **dtype):
    state = LAYER_COUNTERPARTS[layers.LSTM](UNITS, **dtype)(x)
    return LAYER_COUNTERPARTS[layers.GRU](UNITS, return_sequences=True, go_backwards=True, **dtype)(
        MaskedRepeatVector(**dtype)([state, x]), initial_state=state)


def with_positions(x, **dtype):
    return MaskedAdd(**dtype)([x, layers.Embedding(9, FEATURES, **dtype)(ValidPositions(**dtype)(x))])


def attention(x, **dtype):
    pooled = MaskedDot(axes=1, **dtype)([LAYER_COUNTERPARTS[layers.Softmax](axis=1, **dtype)(layers.Dense(1, **dtype)(x)), x])
    return layers.Flatten(**dtype)(pooled)


MODELS = {
    "autoencoder": autoencoder,
    "positions": with_positions,
    "attention": attention,
    "reversed": lambda x, **dtype: MaskedFlatten(6, **dtype)(ReverseSequence(**dtype)(x)),
    "both ways": lambda x, **dtype: LAYER_COUNTERPARTS[layers.Bidirectional](layers.GRU(UNITS, **dtype), **dtype)(
        x, initial_state=[LastValidStep(**dtype)(x)[:, :UNITS]] * 2),
    "norms": lambda x, **dtype: MaskedConcatenate(axis=1, **dtype)([LAYER_COUNTERPARTS[kind](**options, **dtype)(x) for kind, options in (
        (layers.GroupNormalization, {"groups": 2}), (layers.RMSNormalization, {}), (layers.UnitNormalization, {"axis": 1}))]),
    "step by step": lambda x, **dtype: KeepMask(layers.EinsumDense("btf,fg->btg", (None, 2), activation="tanh", **dtype), **dtype)(x),
}


def model_of(name, **dtype):
    x, valid = keras.Input((None, FEATURES)), keras.Input((None,), dtype="bool")
    output = MODELS[name](attach_mask(x, valid), **dtype)
    if len(output.shape) == 3:
        output = layers.GlobalAveragePooling1D(**dtype)(output)  # reads the mask
    return keras.Model([x, valid], output)


def alone(model):
    return np.concatenate([model([VALUES[0, [row], :n], np.ones((1, n), bool)]) for row, n in enumerate(LENGTHS)])


def worst(run, truth, paddings=PADDINGS):
    """The largest change of an answer by padding, or by the way in which the model is run."""
    batches = [Case(None).padded(*padding) for padding in paddings]
    return max(np.abs(np.asarray(run([x, valid])) - truth).max() for (x,), _, valid in batches)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_unknown_steps_eager_and_saved(name, tmp_path):
    model = model_of(name)
    truth = alone(model)
    assert worst(model, truth) < 1e-5
    model.save(tmp_path / "model.keras")
    assert worst(keras.saving.load_model(tmp_path / "model.keras"), truth, PADDINGS[:1]) < 1e-5


@pytest.mark.parametrize("name", ["positions", "attention", "reversed", "norms", "step by step"])
def test_a_compiled_model(name):
    model = model_of(name)
    model.compile(jit_compile=True)
    assert worst(model.predict_on_batch, alone(model), PADDINGS[1:2]) < 1e-5


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"autoencoder", "both ways"}))
def test_a_model_in_half_precision(name):
    model, half = model_of(name), model_of(name, dtype="mixed_float16")
    half.set_weights(model.get_weights())
    assert half.outputs[0].dtype == "float16"
    assert worst(half, alone(model), PADDINGS[:2]) < 2e-2


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("name", ["positions", "attention", "reversed", "norms"])
def test_the_padding_contract_is_kept(name):
    x = keras.Input((None, FEATURES), name="x")
    output = MODELS[name](layers.Masking()(x))
    model = keras.Model(x, output if len(output.shape) == 2 else layers.GlobalAveragePooling1D()(output))
    batch = np.where(mask_from_lengths(LENGTHS)[:, :, None], VALUES[0, :, :5], 0)
    assert check_padding(model, batch, sides=("pre", "post")).ok


# Each by itself.


def padded(side, more=1, filler=np.nan, lengths=LENGTHS):
    (tensor,), _, valid = Case(None).padded(side, more, filler, lengths)
    return attach_mask(tensor, valid), valid


def test_a_merged_step_is_valid_where_it_is_in_all_inputs():
    x, valid = padded("post")
    shorter = mask_from_lengths([1, 5, 0], STEPS + 1)
    for layer in (MaskedAdd(), MaskedConcatenate()):
        assert np.array_equal(get_mask(layer([x, attach_mask(VALUES[1, :, :6], shorter), VALUES[2, :, :6]])), valid & shorter)
    one_for_all = attach_mask(VALUES[1, :, :1], np.zeros((3, 1), bool))  # of one step there is no padding
    assert np.array_equal(get_mask(MaskedAdd()([x, one_for_all])), valid)
    four_axes = [attach_mask(VALUES[k, :, :6, :, None], valid) for k in (0, 1)]
    assert np.array_equal(get_mask(MaskedConcatenate()(four_axes)), valid)
    assert np.array_equal(get_mask(MaskedConcatenate(axis=1)([attach_mask(VALUES[0, :, :6, 0], valid), VALUES[0, :, :2, 0]])),
                          np.hstack([valid, np.ones((3, 2), bool)]))
    with pytest.raises(ValueError, match="mask must be a list of 2"):
        MaskedAdd()([x, x], mask=valid)
    with pytest.raises(ValueError, match=r"layer 'add': the mask has the shape \(3, 5\), the inputs are \(3, 6, 4\)"):
        MaskedAdd(name="add")([x, x], mask=[valid[:, 1:], None])


@pytest.mark.parametrize("side", ["post", "pre"])
def test_attention_by_two_dots(side):
    x, _ = padded(side)
    scores = MaskedDot(axes=2)([x, x])
    output = MaskedDot(axes=(2, 1))([scores, x])
    alone = [VALUES[0, row, :n] @ VALUES[0, row, :n].T @ VALUES[0, row, :n] for row, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(np.asarray(output)[np.asarray(get_mask(output))], np.concatenate(alone), rtol=1e-4, atol=1e-5)


def test_batch_normalization_trains_on_valid_steps():
    x, valid = padded("pre")
    ours, theirs = MaskedBatchNormalization(momentum=0.5), layers.BatchNormalization(momentum=0.5)
    np.testing.assert_allclose(np.asarray(ours(x, training=True))[valid], theirs(np.asarray(x)[valid], training=True), atol=1e-5)
    for actual, expected in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("layer", [MaskedGroupNormalization(1, axis=1), MaskedBatchNormalization(axis=1)], ids=lambda layer: layer.name)
def test_a_normalization_of_places_is_refused_with_a_mask(layer):
    x, valid = padded("post")
    assert layer(VALUES[0, :, :6]).shape == x.shape
    with pytest.raises(ValueError, match="and axis that of the features"):
        layer(x)
    with pytest.raises(ValueError, match="the inputs must be"):
        type(layer).from_config({**layer.get_config(), "axis": -1})(attach_mask(VALUES[0, :, :6, 0], valid))


@pytest.mark.parametrize("kind", [lambda dtype: MaskedGroupNormalization(1, dtype=dtype), lambda dtype: MaskedLayerNormalization(axis=1, dtype=dtype)])
def test_statistics_over_many_steps_fit_half_precision(kind):
    x, valid = 100 + np.random.default_rng(0).normal(size=(1, 900, FEATURES)).astype("float16"), np.arange(900)[None] < 800
    half, full = (kind(dtype)(attach_mask(x.astype(dtype), valid)) for dtype in ("float16", "float32"))
    np.testing.assert_allclose(half[valid], full[valid], atol=0.02)


def test_layer_normalization_over_time_refuses_what_keras_has_given_up():
    with pytest.warns(UserWarning, match="rms_scaling"), pytest.raises(ValueError, match="use MaskedRMSNormalization"):
        MaskedLayerNormalization(axis=1, rms_scaling=True)(padded("post")[0])


@pytest.mark.parametrize("side", ["post", "pre"])
def test_bidirectional_layers_around_ours_and_their_states(side):
    x, valid = padded(side)
    states = [ops.convert_to_tensor(state) for state in STATES[:2]]
    around_ours = layers.Bidirectional(MaskedGRU(UNITS, return_sequences=True))
    ours = MaskedBidirectional(layers.GRU(UNITS, return_sequences=True, return_state=True), merge_mode=None)
    around_ours(x), ours(x)
    ours.set_weights(around_ours.get_weights())
    expected = around_ours(x, initial_state=states)
    forward, backward, *last = ours(x, initial_state=states)
    np.testing.assert_allclose(np.concatenate([forward, backward], axis=-1)[valid], np.asarray(expected)[valid], atol=1e-5)
    assert all(np.array_equal(get_mask(tensor), valid) for tensor in (expected, forward, backward))
    assert [get_mask(tensor) for tensor in last] == [None, None]
    np.testing.assert_allclose(last[0], [forward[row, np.flatnonzero(valid[row])[-1]] for row in range(3)], atol=1e-6)


def test_states_of_a_backward_layer_have_no_mask():
    x, valid = padded("post")
    output, *states = MaskedLSTM(UNITS, return_sequences=True, return_state=True, go_backwards=True)(x)
    assert np.array_equal(get_mask(output), valid[:, ::-1]) and [get_mask(state) for state in states] == [None, None]


@pytest.mark.parametrize("side, more", [("post", 0), ("pre", 1), ("post", 4)])
def test_flatten_has_valid_steps_first_and_zeros_behind(side, more):
    x, valid = padded(side, more)
    output = MaskedFlatten(steps=STEPS)(x)
    for row, n in enumerate(LENGTHS):
        assert np.array_equal(output[row], [*VALUES[0, row, :n].ravel(), *np.zeros((STEPS - n) * FEATURES)])
    assert get_mask(output) is None and np.array_equal(MaskedFlatten(steps=7)(x)[:, : STEPS * FEATURES], output)
    assert np.array_equal(MaskedFlatten()(x)[:, : STEPS * FEATURES], output)
    assert np.array_equal(MaskedFlatten(STEPS)(VALUES[0, :, :STEPS]), layers.Flatten()(VALUES[0, :, :STEPS]))
    plain = layers.Flatten()
    assert np.array_equal(MaskedFlatten.from_config(plain.get_config())(VALUES), plain(VALUES))


@pytest.mark.tensorflow
def test_flatten_says_what_it_cannot_do():
    x, valid = padded("post")
    with pytest.raises(ValueError, match="sequence 1 has 5 valid steps, and the layer keeps 4"):
        MaskedFlatten(4)(x)
    in_graph = np.asarray(tf.function(MaskedFlatten(4).call)(ops.convert_to_tensor(VALUES[0, :, :6]), mask=ops.convert_to_tensor(valid)))
    assert np.isnan(in_graph[1]).all() and np.isfinite(in_graph[[0, 2]]).all()
    with pytest.raises(ValueError, match="data_format must be 'channels_last'"):
        MaskedFlatten(data_format="channels_first")(x)
    for steps in (0, 2.0, True):
        with pytest.raises(ValueError, match="must be a positive integer"):
            MaskedFlatten(steps)
    with pytest.raises(ValueError, match="pass steps, as many as the longest sequence may have"):
        MaskedFlatten()(keras.Input((None, 2)), mask=keras.Input((None,), dtype="bool"))


def test_repeat_vector_takes_steps_and_mask_of_its_source():
    x, valid = padded("pre")
    vector = VALUES[1, :, 0]
    for output in (MaskedRepeatVector()([vector, x]), MaskedRepeatVector(6)([vector, x]), MaskedRepeatVector(6)(vector, mask=valid)):
        assert np.array_equal(output, layers.RepeatVector(6)(vector)) and np.array_equal(get_mask(output), valid)
    config = layers.RepeatVector(6).get_config()
    assert get_mask(MaskedRepeatVector.from_config(config)(vector)) is None
    assert MaskedRepeatVector()([keras.Input((2,)), keras.Input((None, 3))]).shape == (None, None, 2)
    for layer, inputs, message in ((MaskedRepeatVector(5), [vector, x], "n=5, but the source has 6 steps"),
                                   (MaskedRepeatVector(), vector, "pass n, or call it on"), (MaskedRepeatVector(2), x, "it repeats a vector")):
        with pytest.raises(ValueError, match=message):
            layer(inputs)


HOLES = np.array([[0, 1, 1, 0, 1, 0], [0] * 6, [1] * 6], bool)


@pytest.mark.tensorflow
def test_steps_by_their_place_among_the_valid_ones():
    x = attach_mask(np.where(HOLES[:, :, None], VALUES[0, :, :6], np.nan), HOLES)
    last, turned, places = LastValidStep()(x), ReverseSequence()(x), ValidPositions()(x)
    assert get_mask(last) is None and get_mask(places) is None and np.array_equal(get_mask(turned), HOLES)
    for row, valid in enumerate(HOLES):
        steps = VALUES[0, row, :6][valid]
        assert not turned[row].numpy()[~valid].any()
        assert np.array_equal(turned[row][valid], steps[::-1]) and np.array_equal(places[row][valid], range(len(steps)))
        assert np.array_equal(last[row], steps[-1] if len(steps) else np.zeros(FEATURES))
    with tf.GradientTape() as tape:
        inputs = tf.constant(np.where(HOLES[:, :, None], VALUES[0, :, :6], np.nan))
        tape.watch(inputs)
        loss = ops.sum(ReverseSequence()(inputs, mask=HOLES)) + ops.sum(LastValidStep()(inputs, mask=HOLES))
    assert np.array_equal(tape.gradient(loss, inputs)[:, :, 0], HOLES + np.array([[0, 0, 0, 0, 1, 0], [0] * 6, [0] * 5 + [1]]))
    plain = VALUES[0]
    assert np.array_equal(LastValidStep()(plain), plain[:, -1]) and np.array_equal(ReverseSequence()(plain), plain[:, ::-1])
    assert np.array_equal(ValidPositions()(plain), np.tile(np.arange(9), (3, 1)))


@pytest.mark.tensorflow
def test_keep_mask_around_layers_that_lose_it(tmp_path):
    words = attach_mask(np.array([["a", "b"], ["b", ""]]), np.array([[True, True], [True, False]]))
    looked_up = KeepMask(layers.StringLookup(vocabulary=["a", "b"]))(words)
    assert looked_up.numpy().tolist() == [[1, 2], [2, 0]] and get_mask(looked_up).numpy().tolist() == [[True, True], [True, False]]
    ids = attach_mask(np.array([[3, 0]]), np.array([[True, False]]))
    assert np.array_equal(get_mask(KeepMask(layers.Embedding(9, 2))(ids)), [[True, False]])
    x, valid = padded("post")
    for layer, shape in ((layers.Reshape((6, 2, 2)), (3, 6, 2, 2)), (layers.Softmax(), (3, 6, 4)), (layers.Dropout(0.5), (3, 6, 4))):
        output = KeepMask(layer)(x, training=True)
        assert output.shape == shape and np.isfinite(output).all() and np.array_equal(get_mask(output), valid)
    for layer in (layers.Permute((2, 1)), layers.GlobalMaxPooling1D(), layers.Conv1D(2, 2)):
        with pytest.raises(ValueError, match="keeps the number of steps"):
            KeepMask(layer)(x)
