"""Each layer with windows against its original in Keras: every sequence alone, without padding, is the truth."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from thorough import some_of

from masking_tutorial import check_padding
from masking_tutorial.masked_windows import (
    WINDOW_COUNTERPARTS,
    MaskedAveragePooling1D,
    MaskedConv1D,
    MaskedConv1DTranspose,
    MaskedCropping1D,
    MaskedGlobalAveragePooling1D,
    MaskedMaxPooling1D,
    MaskedZeroPadding1D,
    output_steps,
)
from masking_tutorial.masks import get_mask, mask_from_lengths

GLOBAL = (layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D)
pytestmark = pytest.mark.usefixtures("seeded")
# One that is shorter than most windows, and one without a valid step.
LENGTHS, FEATURES = [9, 6, 4, 1, 0], 3
BIAS = {"bias_initializer": "ones"}


def cases():
    """From a name to a layer of Keras."""
    for padding, (size, stride) in itertools.product(["valid", "same"], [(3, 1), (2, 3), (4, 2)]):
        name = f"{padding} {size} {stride}"
        yield f"Conv {name}", layers.Conv1D(2, size, strides=stride, padding=padding, **BIAS)
        yield f"DepthwiseConv {name}", layers.DepthwiseConv1D(size, strides=stride, padding=padding, depth_multiplier=2, **BIAS)
        yield f"SeparableConv {name}", layers.SeparableConv1D(2, size, strides=stride, padding=padding, **BIAS)
        yield f"ConvTranspose {name}", layers.Conv1DTranspose(2, size, strides=stride, padding=padding, **BIAS)
        yield f"MaxPooling {name}", layers.MaxPooling1D(size, stride, padding)
        yield f"AveragePooling {name}", layers.AveragePooling1D(size, stride, padding)
    for stride in (1, 2, 3):
        yield f"Conv causal {stride}", layers.Conv1D(3, 3, strides=stride, padding="causal", activation="tanh", **BIAS)
    for padding in ("valid", "same", "causal"):
        yield f"Conv {padding} dilated", layers.Conv1D(2, 3, padding=padding, dilation_rate=2, **BIAS)
    yield "DepthwiseConv dilated", layers.DepthwiseConv1D(3, padding="same", dilation_rate=3, **BIAS)
    yield "ConvTranspose shorter", layers.Conv1DTranspose(2, 3, strides=2, padding="same", output_padding=0, **BIAS)
    yield "ConvTranspose longer", layers.Conv1DTranspose(2, 2, strides=3, output_padding=2, **BIAS)
    for keepdims in (False, True):
        yield f"GlobalMaxPooling {keepdims}", layers.GlobalMaxPooling1D(keepdims=keepdims)
        yield f"GlobalAveragePooling {keepdims}", layers.GlobalAveragePooling1D(keepdims=keepdims)
    yield "Conv grouped", layers.Conv1D(3, 2, strides=2, padding="same", groups=3, **BIAS)
    yield "UpSampling", layers.UpSampling1D(3)
    yield "ZeroPadding", layers.ZeroPadding1D((2, 1))
    yield "ZeroPadding behind", layers.ZeroPadding1D((0, 2))
    yield "Cropping", layers.Cropping1D((1, 2))
    yield "Cropping in front", layers.Cropping1D((2, 0))


CASES = dict(cases())
each_case = pytest.mark.parametrize("name", some_of(CASES, on_jax=5))
# One of each class, with strides where it has them.
EACH_CLASS = ["Conv same 2 3", "DepthwiseConv same 4 2", "SeparableConv valid 2 3", "ConvTranspose valid 2 3", "MaxPooling same 2 3",
              "AveragePooling same 4 2", "GlobalMaxPooling True", "GlobalAveragePooling False", "UpSampling", "ZeroPadding", "Cropping"]


def pair(name, **options):
    """The layer of Keras and ours, with the same configuration and weights."""
    original = type(CASES[name]).from_config(CASES[name].get_config())
    ours = WINDOW_COUNTERPARTS[type(original)].from_config({**original.get_config(), **options})
    for layer in (original, ours):
        layer.build((None, None, FEATURES))
    ours.set_weights(original.get_weights())
    return original, ours


def sequences():
    return [np.random.default_rng(length).normal(size=(length, FEATURES)).astype("float32") for length in LENGTHS]


def padded(steps, side, content=np.nan):
    """The sequences as a batch (batch, steps, features), and its mask."""
    mask = mask_from_lengths(LENGTHS, steps, side)
    batch = np.full((*mask.shape, FEATURES), content, "float32")
    batch[mask] = np.concatenate(sequences())
    return batch, mask


def alone(original, sequence):
    """What a layer of Keras gives for one sequence; None where there are too few steps for it."""
    try:
        original.compute_output_shape((1, *sequence.shape))
    except ValueError:
        return None
    return original(sequence[None])[0] if len(sequence) else None


def answers_of(original):
    return [alone(original, sequence) for sequence in sequences()]


def assert_right(answers, outputs, mask, side, atol=2e-6):
    """Whether values and mask are those of each sequence alone; the global layers give no mask."""
    outputs = np.asarray(outputs, "float32")
    if mask is None:
        expected = np.stack([np.zeros_like(outputs[0]) if answer is None else answer for answer in answers])
    else:
        expected, right = np.zeros_like(outputs), mask_from_lengths(
            [0 if answer is None else len(answer) for answer in answers], outputs.shape[1], side)
        np.testing.assert_array_equal(mask, right)
        expected[right] = np.concatenate([answer for answer in answers if answer is not None])
    np.testing.assert_allclose(outputs, expected, atol=atol, rtol=atol)


@each_case
def test_each_sequence_gets_what_it_gets_alone(name):
    original, ours = pair(name)
    answers, without_mask = answers_of(original), isinstance(original, GLOBAL)
    for side, steps in (("post", 12), ("pre", 11), ("pre", 14)):
        batch, mask = padded(steps, side)
        outputs = ours(batch, mask=mask)
        assert tuple(outputs.shape) == tuple(original.compute_output_shape(batch.shape))
        assert (get_mask(outputs) is None) == without_mask
        assert_right(answers, outputs, get_mask(outputs), side)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", [*EACH_CLASS, "Conv valid 3 1", "MaxPooling valid 3 1"])
def test_gradients_are_those_of_each_sequence_alone(name):
    original, ours = pair(name)
    batch, mask = padded(12, "pre")
    alone_steps = [tf.constant(sequence[None]) for sequence in sequences()]
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.constant(batch)
        tape.watch([inputs, *alone_steps])
        together = ops.sum(ours(inputs, mask=mask) ** 2)
        answers = [original(sequence) for sequence in alone_steps if alone(original, sequence[0]) is not None]
        apart = sum(ops.sum(answer**2) for answer in answers)
    at_inputs = tape.gradient(together, inputs).numpy()
    assert not at_inputs[~mask].any()
    expected = [gradient if gradient is not None else tf.zeros_like(steps)
                for gradient, steps in zip(tape.gradient(apart, alone_steps), alone_steps)]
    np.testing.assert_allclose(
        at_inputs[mask], np.concatenate([gradient[0] for gradient in expected]), atol=1e-4, rtol=1e-4)
    for first, second in zip(tape.gradient(together, ours.trainable_variables), tape.gradient(apart, original.trainable_variables)):
        np.testing.assert_allclose(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", EACH_CLASS)
def test_without_padding_a_layer_is_that_of_keras(name):
    original, ours = pair(name)
    batch = np.random.default_rng(0).normal(size=(2, 9, FEATURES)).astype("float32")
    assert get_mask(ours(batch)) is None
    np.testing.assert_array_equal(ours(batch), original(batch))
    np.testing.assert_allclose(ours(batch, mask=np.ones((2, 9), bool)), original(batch), atol=1e-6)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["Conv same 2 3", "MaxPooling valid 4 2", "ConvTranspose valid 2 3", "GlobalMaxPooling True", "ZeroPadding"])
def test_steps_may_be_unknown(name):
    original, ours = pair(name)
    features, mask = keras.Input((None, FEATURES)), keras.Input((None,), dtype="bool")
    model = keras.Model([features, mask], ours(features, mask=mask))
    in_graph = tf.function(model, input_signature=[[tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), tf.bool)]])
    for side, steps in (("post", 11), ("pre", 14)):
        batch, valid = padded(steps, side)
        assert_right(answers_of(original), in_graph([batch, valid]), ours.compute_mask(None, valid), side)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["Conv same 2 3", "MaxPooling valid 4 2", "Cropping"])
def test_a_layer_is_compiled_by_xla_with_its_gradients(name):
    original, ours = pair(name)

    @tf.function(jit_compile=True)
    def run(inputs, mask):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = ours(inputs, mask=mask)
            total = ops.sum(outputs)
        return outputs, ours.compute_mask(None, mask), tape.gradient(total, inputs)

    batch, mask = padded(12, "pre")
    outputs, valid, gradient = run(batch, mask)
    assert_right(answers_of(original), outputs, valid, "pre", atol=1e-5)
    assert np.isfinite(gradient).all() and not gradient.numpy()[~mask].any()


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", EACH_CLASS)
def test_half_precision_keeps_padding_out(name):
    original, ours = pair(name, dtype="mixed_float16")
    batch, mask = padded(12, "pre")
    outputs = ours(batch, mask=mask)
    assert outputs.dtype == "float16"
    assert_right(answers_of(original), outputs, get_mask(outputs), "pre", atol=2e-2)


def test_a_mean_in_half_precision_does_not_overflow():
    batch, mask = np.full((2, 5000, 1), 20.0), np.stack([np.arange(5000) < 4500, np.zeros(5000, bool)])
    assert ops.convert_to_numpy(MaskedGlobalAveragePooling1D(dtype="float16")(batch, mask=mask)).tolist() == [[20.0], [0.0]]


def small_model(name, steps=None):
    """Masking, the layer, and a mean over the steps that its mask marks."""
    inputs = keras.Input((steps, FEATURES))
    outputs = pair(name)[1](layers.Masking()(inputs))
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(outputs) if len(outputs.shape) == 3 else outputs)


@pytest.mark.parametrize("name", ["Conv same 2 3", "ConvTranspose same 4 2", "ZeroPadding"])
def test_a_saved_model_gives_the_same(name, tmp_path):
    model, (batch, _) = small_model(name), padded(12, "pre", content=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(batch[:4]), model(batch[:4]))
    assert len(loaded.operations) == len(model.operations) <= 7


@pytest.mark.parametrize("name", some_of(EACH_CLASS, on_jax=3))
@pytest.mark.usefixtures("without_graphs")
def test_a_model_keeps_the_promise(name):
    batch = np.random.default_rng(1).normal(size=(2, 7, FEATURES)).astype("float32")
    batch[~mask_from_lengths([7, 5], 7)] = 0
    report = check_padding(small_model(name), batch)
    assert report.ok, report


@pytest.mark.parametrize("name", ["Conv same 2 3", "Conv causal 2", "MaxPooling valid 4 2", "ConvTranspose valid 2 3", "Cropping"])
def test_padding_may_stand_on_both_sides(name):
    original, ours = pair(name)
    sequence = sequences()[1]
    for front in range(7):
        batch, mask = np.full((1, 12, FEATURES), np.nan, "float32"), np.zeros((1, 12), bool)
        batch[0, front:front + 6], mask[0, front:front + 6] = sequence, True
        outputs = ours(batch, mask=mask)
        valid = ops.convert_to_numpy(get_mask(outputs))[0]
        assert np.count_nonzero(np.diff(valid, prepend=False, append=False)) == 2  # the valid steps stand side by side
        np.testing.assert_allclose(ops.convert_to_numpy(outputs)[0][valid], alone(original, sequence), atol=2e-6)


def test_windows_stand_as_far_along_as_the_sequence():
    masks = np.array([(np.arange(12) >= front) & (np.arange(12) < front + 6) for front in range(7)])
    valid = ops.convert_to_numpy(MaskedMaxPooling1D(2).compute_mask(None, masks))
    assert valid.argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2, 3] and valid.sum(axis=1).tolist() == [3] * 7


# A step within a sequence that is invalid.

HOLE = np.array([[True, True, False, True, True, False]])
STEPS = np.array([[[1.0], [2.0], [np.nan], [4.0], [5.0], [np.nan]]], "float32")


@pytest.mark.parametrize(
    "layer, outputs, mask",
    [
        (MaskedMaxPooling1D(3, 1, "same"), [2, 2, 0, 5, 5, 0], [1, 1, 0, 1, 1, 0]),
        (MaskedAveragePooling1D(3, 1, "same"), [1.5, 1.5, 0, 4.5, 4.5, 0], [1, 1, 0, 1, 1, 0]),
        (MaskedConv1D(1, 2, kernel_initializer="ones"), [3, 0, 0, 9, 0], [1, 0, 0, 1, 0]),
        (MaskedConv1D(1, 2, strides=2, padding="causal", kernel_initializer="ones"), [1, 0, 9], [1, 0, 1]),
        (MaskedConv1DTranspose(1, 1, kernel_initializer="ones"), [1, 2, 0, 4, 5, 0], [1, 1, 0, 1, 1, 0]),
        (MaskedZeroPadding1D((1, 0)), [0, 1, 2, 0, 4, 5, 0], [1, 1, 1, 0, 1, 1, 0]),
        (MaskedCropping1D((1, 0)), [2, 0, 4, 5, 0], [1, 0, 1, 1, 0]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.Layer) else None,
)
def test_an_invalid_step_within_a_sequence_does_not_count(layer, outputs, mask):
    output = layer(STEPS, mask=HOLE)
    assert ops.convert_to_numpy(output)[0, :, 0].tolist() == outputs
    assert ops.convert_to_numpy(get_mask(output)).astype(int).tolist() == [mask]


# The number of steps, and bad input.


@pytest.mark.parametrize("padding, layer", [("valid", layers.Conv1D), ("same", layers.Conv1D), ("causal", layers.Conv1D), ("same", layers.MaxPooling1D)])
def test_the_number_of_output_steps_is_that_of_keras(padding, layer):
    for size, stride, dilation in [(1, 1, 1), (3, 1, 1), (3, 2, 1), (2, 5, 1), (5, 3, 1), (3, 1, 4)]:
        if layer is layers.MaxPooling1D:
            original, dilation = layer(size, stride, padding), 1
        else:
            original = layer(1, size, strides=stride, dilation_rate=dilation, padding=padding)
        steps = list(range(20))
        expected = [0 if padding == "valid" and count <= (size - 1) * dilation
                    else original.compute_output_shape((1, count, 1))[1] for count in steps[1:]]
        assert [output_steps(count, size, stride, dilation, padding) for count in steps] == [0, *expected]
        assert ops.convert_to_numpy(output_steps(ops.convert_to_tensor(steps), size, stride, dilation, padding)).tolist() == [0, *expected]


@pytest.mark.parametrize("ours", [
    lambda **options: MaskedConv1D(2, 3, **options), MaskedMaxPooling1D, MaskedZeroPadding1D, MaskedGlobalAveragePooling1D])
def test_a_layer_without_a_time_axis_at_its_place_is_refused(ours):
    with pytest.raises(ValueError, match="^layer 'ours': data_format='channels_first' has no time axis at position 1; use 'channels_last'"):
        ours(data_format="channels_first", name="ours")


@pytest.mark.parametrize(
    "mask, message",
    [
        (np.ones((2, 6), "float32"), "layer 'ours': the mask has the dtype float32"),
        (np.ones((2, 6, 1), bool), r"layer 'ours': the mask has the shape \(2, 6, 1\)"),
        (np.ones((2, 5), bool), r"layer 'ours': the mask has the shape \(2, 5\), the inputs are \(2, 6, 3\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        MaskedConv1D(2, 3, name="ours")(np.zeros((2, 6, 3), "float32"), mask=mask)


def test_each_counterpart_is_registered_and_of_the_kind_of_its_original():
    for original, ours in WINDOW_COUNTERPARTS.items():
        assert issubclass(ours, original)
        assert keras.saving.get_registered_name(ours) == f"masking_tutorial>Masked{original.__name__}"
