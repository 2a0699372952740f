"""Each exported layer: saved and loaded, in every mode, with anything in the padding, and against its Keras counterpart."""

import inspect
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers, ops
from thorough import examples

from masking_tutorial.custom_layers import CustomEmbedding, MyActivation, TemporalSoftmax, TemporalSplit
from masking_tutorial.manual_masks import MyLayer
from masking_tutorial.mask_generation import get_mask, mask_from_lengths, padding_error
from masking_tutorial.masked_windows import MaskedConv1D, MaskedGlobalMaxPooling1D, mask_of_windows
from masking_tutorial.padding import pad_sequences

WORDS, FEATURES = 12, 4
# Even lengths, which TemporalSplit needs.
SEQUENCES = [[3, 1], [4, 1, 5, 9, 2, 6], [5, 3, 5, 8]]
LENGTHS, STEPS = [2, 6, 4], 6
IDS = pad_sequences(SEQUENCES, padding="post")

pytestmark = pytest.mark.usefixtures("seeded")
OF_IDS = {
    "MyLayer": lambda **options: MyLayer(WORDS, FEATURES, 3, **options),
    "CustomEmbedding": lambda **options: CustomEmbedding(WORDS, FEATURES, mask_zero=True, **options),
}
OF_VECTORS = {
    "TemporalSplit": TemporalSplit,
    "MyActivation": MyActivation,
    "TemporalSoftmax": TemporalSoftmax,
    "MaskedGlobalMaxPooling1D": MaskedGlobalMaxPooling1D,
    "MaskedConv1D": lambda **options: MaskedConv1D(3, 3, padding="same", bias_initializer="ones", **options),
    "MaskedConv1D causal": lambda **options: MaskedConv1D(3, 3, padding="causal", dilation_rate=2, **options),
    "MaskedConv1D valid": lambda **options: MaskedConv1D(3, 2, strides=2, bias_initializer="ones", **options),
}
ALL = {**OF_IDS, **OF_VECTORS}

each_layer = pytest.mark.parametrize("name", ALL)
each_layer_of_vectors = pytest.mark.parametrize("name", OF_VECTORS)


def functional(kind, /, **options):
    """A model with the layer between an embedding that makes a mask and the output, and the layer."""
    ids = keras.Input((None,), dtype="int32")
    layer = ALL[kind](**options)
    vectors = ids if kind in OF_IDS else layers.Embedding(WORDS, FEATURES, mask_zero=True, embeddings_initializer="normal")(ids)
    return keras.Model(ids, layer(vectors)), layer


def arrays(outputs):
    return [ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def masks(outputs):
    return [get_mask(output) if get_mask(output) is None else ops.convert_to_numpy(get_mask(output))
            for output in keras.tree.flatten(outputs)]


def assert_alike(first, second, **tolerance):
    for actual, expected in zip(first, second, strict=True):
        np.testing.assert_allclose(actual, expected, **tolerance)


def measured(model):
    """The padding error, where the output has the steps of the input or none; two halves are joined again."""
    if isinstance(model.outputs, list) and len(model.outputs) == 2:
        return padding_error(lambda batch: ops.concatenate(model(batch), axis=1), SEQUENCES, padding="post")
    return padding_error(model, SEQUENCES, padding="post", maxlen=8)


# Saving and loading.


@each_layer
def test_a_layer_is_registered_under_the_name_of_the_package(name):
    layer = ALL[name]()
    assert keras.saving.get_registered_name(type(layer)) == f"masking_tutorial>{name.split()[0]}"


@each_layer
def test_a_layer_is_made_again_from_its_configuration(name):
    model, layer = functional(name, name="a_name")
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config() and copy.name == "a_name"
    inputs = IDS if name in OF_IDS else model.layers[1](IDS)
    expected, _ = layer(inputs), copy(inputs)
    copy.set_weights(layer.get_weights())
    assert_alike(arrays(copy(inputs)), arrays(expected))
    np.testing.assert_equal(masks(copy(inputs)), masks(expected))


@each_layer
def test_a_saved_layer_loads_with_its_outputs_masks_and_padding_error(name, tmp_path):
    model, _ = functional(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_alike(arrays(loaded(IDS)), arrays(model(IDS)))
    np.testing.assert_equal(masks(loaded(IDS)), masks(model(IDS)))
    if name != "MaskedConv1D valid":
        assert measured(model) < 1e-6 and measured(loaded) == measured(model)


# Every mode.


@each_layer
def test_a_layer_gives_the_same_eager_functional_and_compiled(name):
    model, layer = functional(name)
    expected = arrays(model(IDS))
    inputs = IDS if name in OF_IDS else model.layers[1](IDS)
    assert_alike(arrays(layer(inputs)), expected)
    np.testing.assert_equal(masks(layer(inputs)), masks(model(IDS)))
    for jit_compile in (False, True):
        model.compile(jit_compile=jit_compile)
        assert_alike(arrays(model.predict_on_batch(IDS)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.tensorflow
@each_layer
def test_a_layer_works_in_mixed_precision(name):
    model, layer = functional(name)
    mixed, mixed_layer = functional(name, dtype="mixed_float16")
    mixed.set_weights(model.get_weights())
    outputs = mixed(IDS)
    assert {output.dtype.name for output in keras.tree.flatten(outputs)} == {"float16"}
    assert {weight.dtype for weight in mixed_layer.weights} <= {"float32"}
    assert_alike(arrays(outputs), arrays(model(IDS)), atol=5e-3)
    np.testing.assert_equal(masks(outputs), masks(model(IDS)))


@pytest.mark.parametrize("name", OF_IDS)
def test_large_ids_survive_mixed_precision(name):
    ids = np.array([[4097.0, 2049.0]], "float32")
    kind = MyLayer if name == "MyLayer" else CustomEmbedding
    layer, mixed = kind(5000, FEATURES), kind(5000, FEATURES, dtype="mixed_float16")
    layer(ids), mixed(ids)
    layer.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in layer.get_weights()])
    mixed.set_weights(layer.get_weights())
    assert_alike(arrays(mixed(ids)), arrays(layer(ids)), atol=2e-2)


# The padding contract: values and gradients at valid steps, whatever the padding holds.


def call(layer, vectors, mask):
    takes_mask = "mask" in inspect.signature(layer.call).parameters
    return layer(vectors, mask=mask) if takes_mask else layer(vectors)


def values_and_gradients(layer, vectors, mask):
    """The valid outputs, and the gradients of their weighted sum: at the inputs and at the weights."""
    vectors = tf.convert_to_tensor(vectors)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        outputs = keras.tree.flatten(call(layer, vectors, mask))
        out_masks = keras.tree.flatten(layer.compute_mask(vectors, mask)) if layer.supports_masking else [None]
        valid = [output if m is None else tf.where(m[..., None], output, 0)
                 for output, m in zip(outputs, out_masks, strict=True)]
        loss = sum(tf.reduce_sum(output * tf.reshape(tf.range(1.0, tf.size(output) + 1), tf.shape(output)))
                   for output in valid)
    gradients = tape.gradient(loss, [vectors, *layer.trainable_variables])
    return arrays(valid), arrays(gradients)


@pytest.mark.tensorflow
@each_layer_of_vectors
@pytest.mark.parametrize("padding", ["post", "pre"])
@pytest.mark.parametrize("content", [math.nan, math.inf, -1e30, 7.0])
def test_what_the_padding_holds_changes_no_value_and_no_gradient(name, padding, content):
    layer = ALL[name]()
    mask = mask_from_lengths(LENGTHS, STEPS, padding)
    vectors = np.random.default_rng(0).normal(size=(*mask.shape, FEATURES)).astype("float32")
    layer(np.where(mask[..., None], vectors, 0).astype("float32"))
    expected = values_and_gradients(layer, np.where(mask[..., None], vectors, 0).astype("float32"), mask)
    actual = values_and_gradients(layer, np.where(mask[..., None], vectors, content).astype("float32"), mask)
    for these, those in zip(actual, expected, strict=True):
        assert all(np.isfinite(array).all() for array in these)
        assert_alike(these, those, rtol=1e-5, atol=1e-6)
    at_inputs = actual[1][0]
    assert np.any(at_inputs[mask]) and not np.any(at_inputs[~mask])


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", OF_IDS)
def test_the_vector_of_the_padding_changes_no_value_and_no_gradient(name):
    layer = ALL[name]()
    layer(IDS)
    results = []
    for content in (0.0, 50.0):
        weights = layer.get_weights()
        weights[0][0] = content
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            outputs = layer(IDS)
            if name == "CustomEmbedding":
                outputs = tf.where(get_mask(outputs)[..., None], outputs, 0)
            loss = tf.reduce_sum(outputs**2)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, layer.trainable_variables)]
        assert not np.any(gradients[0][0])
        results.append(arrays([outputs, *gradients]))
    assert_alike(*results, rtol=1e-5, atol=1e-7)


@pytest.mark.tensorflow
@each_layer
def test_a_row_of_padding_gives_finite_values_and_gradients(name):
    model, _ = functional(name)
    ids = np.concatenate([IDS, np.zeros((1, STEPS), "int32")])
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(model(ids))
        loss = sum(tf.reduce_sum(output**2) for output in outputs)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.isfinite(array).all() for array in arrays([*outputs, *map(tf.convert_to_tensor, gradients)]))
    assert all(not mask[-1].any() for mask in masks(outputs) if mask is not None)
    assert_alike([output[:-1] for output in arrays(outputs)], arrays(model(IDS)), atol=1e-6)
    if name in ("TemporalSoftmax", "MaskedGlobalMaxPooling1D"):
        assert not np.any(outputs[0][-1])


@pytest.mark.parametrize("strides, dilation_rate, padding", [(1, 1, "valid"), (2, 1, "valid"), (1, 2, "valid"), (2, 1, "causal")])
def test_the_valid_steps_of_a_convolution_are_those_of_each_sequence_alone(strides, dilation_rate, padding):
    layer = MaskedConv1D(3, 3, strides=strides, dilation_rate=dilation_rate, padding=padding)
    mask = mask_from_lengths([9, 5, 7], 9)
    vectors = np.random.default_rng(0).normal(size=(3, 9, FEATURES)).astype("float32")
    vectors[~mask] = math.nan
    outputs, valid = layer(vectors, mask=mask), arrays(layer.compute_mask(None, mask))[0]
    for number, length in enumerate([9, 5, 7]):
        alone = layer(vectors[number : number + 1, :length])
        np.testing.assert_allclose(outputs[number][valid[number]], alone[0], rtol=1e-5, atol=1e-6)


# Without a mask, and masks in detail.


@pytest.mark.parametrize(
    "ours, theirs",
    [(MaskedGlobalMaxPooling1D, layers.GlobalMaxPooling1D), (TemporalSoftmax, lambda: layers.Softmax(axis=1)), (MyActivation, layers.ReLU)],
)
def test_without_a_mask_a_layer_is_its_keras_counterpart(ours, theirs):
    vectors = np.random.default_rng(0).normal(size=(3, 5, FEATURES)).astype("float32")
    np.testing.assert_array_equal(ours()(vectors), theirs()(vectors))


def settings_of_convolutions():
    for padding, strides, dilation, groups in itertools.product(["valid", "same", "causal"], [1, 2], [1, 2], [1, 2]):
        if not (strides > 1 and dilation > 1):  # Keras refuses that
            yield {"padding": padding, "strides": strides, "dilation_rate": dilation, "groups": groups}


@pytest.mark.parametrize("options", list(settings_of_convolutions()), ids=lambda options: "-".join(map(str, options.values())))
def test_without_a_mask_a_convolution_is_that_of_keras(options):
    vectors = np.random.default_rng(0).normal(size=(3, 9, FEATURES)).astype("float32")
    ours, theirs = (kind(4, 3, activation="tanh", **options) for kind in (MaskedConv1D, layers.Conv1D))
    ours(vectors), theirs(vectors)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_array_equal(ours(vectors), theirs(vectors))
    everything_valid = np.ones((3, 9), bool)
    np.testing.assert_array_equal(ours(vectors, mask=everything_valid), theirs(vectors))
    mask = arrays(ours.compute_mask(vectors, everything_valid))[0]
    assert mask.all() and mask.shape == ours(vectors).shape[:2]


@examples(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    kernel=st.integers(1, 4),
    wide=st.integers(1, 3),
    strided=st.booleans(),
    extra=st.integers(0, 5),
)
@example(seed=0, kernel=2, wide=3, strided=False, extra=5)
def test_a_step_of_a_valid_convolution_is_valid_if_all_that_it_looks_at_is(seed, kernel, wide, strided, extra):
    strides, dilation = (wide, 1) if strided else (1, wide)
    steps = (kernel - 1) * dilation + 1 + extra
    mask = np.random.default_rng(seed).random((8, steps)) < 0.7
    mask[:, 0] |= strided  # with strides the first window starts at the first valid step
    layer = MaskedConv1D(1, kernel, strides=strides, dilation_rate=dilation)
    starts = range(0, steps - (kernel - 1) * dilation, strides)
    expected = [[all(row[start + dilation * tap] for tap in range(kernel)) for start in starts] for row in mask]
    out_mask = arrays(layer.compute_mask(None, ops.convert_to_tensor(mask)))[0]
    assert out_mask.tolist() == expected
    assert layer.compute_output_shape((8, steps, 3))[:2] == out_mask.shape


@pytest.mark.parametrize(
    "options, expected",
    [({}, [1, 0, 0, 0, 1]), ({"stride": 2}, [1, 0, 1]), ({"stride": 4}, [1, 1]), ({"dilation": 2}, [1, 0, 1]), ({"dilation": 3}, [0])],
)
def test_a_window_is_valid_if_all_of_its_steps_are(options, expected):
    mask = ops.convert_to_tensor([[True, True, True, False, True, True, True]])
    assert ops.convert_to_numpy(mask_of_windows(mask, 3, **options)).astype(int).tolist() == [expected]


@examples(30, on_jax=10)
@given(mask=hnp.arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 9)), fill=st.nothing()), strides=st.integers(1, 3))
def test_a_step_of_a_causal_convolution_is_valid_if_the_step_at_its_place_is(mask, strides):
    mask[:, 0] |= strides > 1  # with strides the first window starts at the first valid step
    layer = MaskedConv1D(1, 3, strides=strides, padding="causal")
    out_mask = arrays(layer.compute_mask(None, ops.convert_to_tensor(mask)))[0]
    np.testing.assert_array_equal(out_mask, mask[:, ::strides])
    assert layer.compute_output_shape((*mask.shape, 3))[:2] == out_mask.shape


@pytest.mark.parametrize("name", [name for name in OF_VECTORS if name.startswith("MaskedConv1D")])
def test_a_convolution_makes_no_mask_of_its_own(name):
    assert get_mask(ALL[name]()(np.ones((2, 6, FEATURES)))) is None


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3), (2, 4, 3, 2)])
def test_the_softmax_over_time_sums_to_one_over_the_valid_steps(shape):
    scores = np.random.default_rng(0).normal(scale=50, size=shape).astype("float32")
    mask = np.array([[True, True, False, True], [True, False, False, False]])
    weights = arrays(TemporalSoftmax()(scores, mask=mask))[0]
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert not np.any(weights[~mask])
    for number in range(2):
        valid = np.exp(scores[number, mask[number]].astype("float64"))
        np.testing.assert_allclose(weights[number, mask[number]], valid / valid.sum(axis=0), rtol=1e-4, atol=1e-30)


def test_the_largest_valid_value_may_be_negative():
    vectors = np.array([[[-3.0], [-2.0], [9.0]]])
    assert arrays(MaskedGlobalMaxPooling1D()(vectors, mask=np.array([[True, True, False]])))[0].tolist() == [[-2.0]]


@pytest.mark.parametrize("name, alive", [("MaskedGlobalMaxPooling1D", False), ("MyActivation", True), ("TemporalSoftmax", True)])
def test_a_mask_is_passed_on_or_ends(name, alive):
    model, _ = functional(name)
    (mask,) = masks(model(IDS))
    if alive:
        np.testing.assert_array_equal(mask, IDS != 0)
    else:
        assert mask is None


@pytest.mark.parametrize("mask_zero", [True, False])
def test_the_embedding_makes_a_mask_where_it_is_told_to(mask_zero):
    layer = CustomEmbedding(WORDS, FEATURES, mask_zero=mask_zero)
    outputs = layer(IDS)
    np.testing.assert_array_equal(outputs, layer.get_weights()[0][IDS])
    (mask,) = masks(outputs)
    assert mask is None if not mask_zero else mask.tolist() == (IDS != 0).tolist()


def test_my_layer_of_the_original_notes_has_an_output_of_32_by_32():
    assert MyLayer()(np.random.default_rng(0).integers(0, 5000, (32, 10))).shape == (32, 32)


# Two halves.


def test_the_halves_have_the_halves_of_the_mask():
    embed = layers.Embedding(WORDS, FEATURES, mask_zero=True)
    vectors = embed(IDS)
    first, second = TemporalSplit()(vectors)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), vectors)
    np.testing.assert_array_equal(masks([first, second]), [IDS[:, :3] != 0, IDS[:, 3:] != 0])


def test_the_halves_of_unmasked_steps_have_no_mask():
    assert masks(TemporalSplit()(np.ones((2, 4, 3)))) == [None, None]


@pytest.mark.parametrize("length, half", [(6, 3), (None, None)])
def test_stand_ins_have_halves_with_masks_too(length, half):
    ids = keras.Input((length,), dtype="int32")
    halves = TemporalSplit()(layers.Embedding(WORDS, FEATURES, mask_zero=True)(ids))
    for tensor in halves:
        assert tensor.shape == (None, half, FEATURES)
        assert (get_mask(tensor).shape, get_mask(tensor).dtype) == ((None, half), "bool")


ODD = r"layer 'split' got 5 steps: an odd number has no two halves; pad to an even one"


def test_an_odd_number_of_steps_is_refused():
    with pytest.raises(ValueError, match=ODD):
        TemporalSplit(name="split")(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=ODD):
        TemporalSplit(name="split")(keras.Input((5, 3)))


def test_an_odd_number_of_steps_is_refused_by_a_model_of_any_length():
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, TemporalSplit(name="split")(inputs))
    assert [output.shape for output in model(np.ones((2, 4, 3)))] == [(2, 2, 3)] * 2
    with pytest.raises(ValueError, match=ODD):
        model(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=ODD):
        model.predict_on_batch(np.ones((2, 5, 3)))
