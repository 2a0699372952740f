"""Masks, the lengths that they stand for, the picture of a batch, and the course's ruler."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers, ops

from masking_tutorial.mask_generation import (
    get_mask,
    is_right_padded,
    lengths_from_mask,
    mask_from_lengths,
    padding_error,
    show_mask,
)
from masking_tutorial.masks import attach_mask, expand_mask

ROOT = Path(__file__).resolve().parent.parent

sides = st.sampled_from(["pre", "post"])
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6), fill=st.nothing())


# Lengths and masks.


@given(lengths=st.lists(st.integers(0, 6), max_size=6), extra=st.integers(0, 3), padding=sides)
def test_lengths_survive_the_way_to_a_mask_and_back(lengths, extra, padding):
    maxlen = max(lengths, default=0) + extra
    mask = mask_from_lengths(lengths, maxlen, padding)
    assert (mask.dtype, mask.shape) == (bool, (len(lengths), maxlen))
    assert lengths_from_mask(mask).tolist() == lengths
    for row, length in zip(mask, lengths, strict=True):
        assert row[:length].all() if padding == "post" else row[maxlen - length :].all()


@given(mask=masks)
def test_a_mask_with_a_hole_has_no_lengths_and_every_other_mask_has(mask):
    valid = ["".join(".x"[step] for step in row).strip(".") for row in mask.astype(int)]
    broken = [number for number, steps in enumerate(valid) if "." in steps]
    if broken:
        with pytest.raises(ValueError, match=f"^sequence {broken[0]} has a hole: valid steps go on at step "):
            lengths_from_mask(mask)
    else:
        lengths = lengths_from_mask(mask)
        assert (lengths.dtype, lengths.tolist()) == ("int64", [len(steps) for steps in valid])


def test_a_hole_is_named_by_the_step_behind_it():
    mask = np.array([[True, True, True, False], [False, True, False, True]])
    with pytest.raises(ValueError, match="^sequence 1 has a hole: valid steps go on at step 3 after padding, so it has no length$"):
        lengths_from_mask(mask)


def test_the_longest_sequence_sets_the_steps_of_the_mask():
    assert mask_from_lengths([2, 0, 3]).tolist() == [[True, True, False], [False] * 3, [True] * 3]


@pytest.mark.tensorflow
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("padding", ["pre", "post"])
def test_a_symbolic_mask_is_that_of_numpy(dtype, padding):
    lengths = np.array([3, 0, 5], dtype)
    expected = mask_from_lengths(lengths, 5, padding)

    symbolic = keras.Input((), dtype=dtype)
    mask = mask_from_lengths(symbolic, 5, padding)
    assert isinstance(mask, keras.KerasTensor) and (mask.shape, mask.dtype) == ((None, 5), "bool")
    np.testing.assert_array_equal(keras.Model(symbolic, mask)(lengths), expected)

    inside = tf.function(lambda lengths: mask_from_lengths(lengths, 5, padding))
    np.testing.assert_array_equal(inside(tf.constant(lengths)), expected)
    np.testing.assert_array_equal(mask_from_lengths(tf.constant(lengths), 5, padding), expected)


@pytest.mark.parametrize(
    "lengths, options, message",
    [
        (3, {}, r"lengths has the shape \(\) and dtype int64: it must be a list of integers"),
        ([[1], [2]], {}, r"lengths has the shape \(2, 1\) and dtype int64: it must be a list of integers"),
        ([1.0], {}, r"lengths has the shape \(1,\) and dtype float64: it must be a list of integers"),
        ([True], {}, r"lengths has the shape \(1,\) and dtype bool: it must be a list of integers"),
        ([1, -1], {}, "sequence 1 has the length -1: it must lie between 0 and maxlen=1"),
        ([1, 4], {"maxlen": 3}, "sequence 1 has the length 4: it must lie between 0 and maxlen=3"),
        ([1], {"maxlen": -1}, "maxlen=-1: it must be an integer, 0 or more"),
        ([1], {"maxlen": 1.5}, "maxlen=1.5: it must be an integer, 0 or more"),
        ([1], {"padding": "right"}, "padding='right': choose 'pre'"),
    ],
)
def test_making_a_mask_refuses(lengths, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        mask_from_lengths(lengths, **options)


@pytest.mark.parametrize(
    "shape, dtype, options, message",
    [
        ((), "int32", {}, "the lengths are symbolic, so the longest is not known yet: pass maxlen"),
        ((), "int32", {"maxlen": -1}, "maxlen=-1: it must be an integer, 0 or more"),
        ((), "int32", {"maxlen": 1.5}, "maxlen=1.5: it must be an integer, 0 or more"),
        ((1,), "int32", {"maxlen": 3}, r"lengths has the shape \(None, 1\) and dtype int32: it must be a list of integers"),
        ((), "float32", {"maxlen": 3}, r"lengths has the shape \(None,\) and dtype float32: it must be a list of integers"),
    ],
)
def test_making_a_symbolic_mask_refuses(shape, dtype, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        mask_from_lengths(keras.Input(shape, dtype=dtype), **options)


@pytest.mark.parametrize("function", [lengths_from_mask, is_right_padded, lambda mask: show_mask([[1, 2]], mask)])
@pytest.mark.parametrize(
    "mask, message",
    [
        ([[1, 0]], "the mask has the dtype int64: a mask is boolean, True where a step is valid"),
        ([["a", "b"]], "the mask has the dtype <U1: a mask is boolean"),
        (None, "the mask has the dtype object: a mask is boolean"),
        ([True, False], r"the mask has the shape \(2,\): a mask is \(batch, time\)"),
        ([[[True, False]]], r"the mask has the shape \(1, 1, 2\): a mask is \(batch, time\)"),
    ],
)
def test_what_is_no_mask_is_refused(function, mask, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        function(mask)


@given(mask=masks)
def test_right_padded_means_that_nothing_valid_follows_padding(mask):
    follows = any(row[later] and not row[earlier] for row in mask for later in range(len(row)) for earlier in range(later))
    assert is_right_padded(mask) is not follows


# Reading a mask.


def test_a_mask_is_read_from_a_tensor_and_from_a_stand_in():
    ids = np.array([[4, 2, 0]])
    embedding = layers.Embedding(5, 2, mask_zero=True)
    assert ops.convert_to_numpy(get_mask(embedding(ids))).tolist() == [[True, True, False]]
    mask = get_mask(embedding(keras.Input((3,), dtype="int32")))
    assert isinstance(mask, keras.KerasTensor) and (mask.shape, mask.dtype) == ((None, 3), "bool")


@pytest.mark.tensorflow
@pytest.mark.parametrize("tensor", [tf.constant([1]), keras.Input((3,)), tf.Variable([1.0])])
def test_a_tensor_without_a_mask_has_none(tensor):
    assert get_mask(tensor) is None


@pytest.mark.parametrize(
    "thing, message",
    [
        (None, "an object of type NoneType cannot carry a mask: only what a layer returns can"),
        (np.ones(3), "an object of type ndarray cannot carry a mask: only what a layer returns can"),
        (1.0, "an object of type float cannot carry a mask"),
        ([tf.constant([1])], "an object of type list cannot carry a mask: ask for each of its tensors"),
        ({"a": tf.constant([1])}, "an object of type dict cannot carry a mask: ask for each of its tensors"),
    ],
)
def test_what_is_no_tensor_cannot_carry_a_mask(thing, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        get_mask(thing)


# The picture of a batch.

TOKENS = [["it's", "a & b", "<x>", ""], ["$1$", ""]]
MASK = [[True, True, True, False], [True, False, False, False]]


def digest(figure):
    return hashlib.sha256(figure.source.encode()).hexdigest()


def test_a_batch_is_drawn_the_same_again_and_in_another_process():
    source = (
        "import hashlib\nfrom masking_tutorial.mask_generation import show_mask\n"
        f"print(hashlib.sha256(show_mask({TOKENS}, {MASK}).source.encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", source]
    printed = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert digest(show_mask(TOKENS, MASK)) == digest(show_mask(TOKENS, MASK)) == printed


def test_a_batch_reads_as_a_table_with_dots_for_padding():
    assert repr(show_mask(TOKENS, MASK)).splitlines() == [" it's a & b   <x>     \u00b7", "  $1$     \u00b7     \u00b7     \u00b7"]


def test_a_picture_shows_the_tokens_under_padding_too():
    assert ">9</text>" in show_mask([[1, 9]], [[True, False]]).source


def test_a_picture_shows_the_tokens_as_they_are():
    source = show_mask(TOKENS, MASK).source
    for token in ["it's", "a &amp; b", "&lt;x&gt;", "$1$"]:
        assert f">{token}</text>" in source


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", [np.array, tf.constant, tuple])
def test_a_batch_of_any_kind_is_drawn_alike(kind):
    ids, mask = [[711, 0], [73, 9]], [[True, False], [True, True]]
    expected = show_mask(ids, mask)
    figure = show_mask(kind(ids), kind(mask))
    assert (figure.source, repr(figure)) == (expected.source, expected.text)


@pytest.mark.parametrize(
    "tokens, message",
    [
        ([[1, 2]], "there are 1 rows of tokens, but the mask has 2"),
        ([[1, 2, 3], [1]], "sequence 0 has 3 tokens, but its mask has 2 steps, the last valid one at 1"),
        ([[1], [1]], "sequence 0 has 1 tokens, but its mask has 2 steps, the last valid one at 1"),
    ],
)
def test_tokens_that_do_not_fit_their_mask_are_refused(tokens, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        show_mask(tokens, [[True, True], [True, False]])


# The ruler.

FLOATS = [[2.0], [4.0, 6.0]]


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("value", [0, 1e30, math.nan])
def test_a_function_of_each_step_alone_has_no_padding_error(padding, value):
    assert padding_error(lambda batch: 3 * batch + 1, FLOATS, padding=padding, value=value, maxlen=4) == 0


def mean(batch):
    return ops.mean(batch, axis=1)


def running_sum(batch):
    return ops.cumsum(batch, axis=1)


# By hand: alone the means are 2 and 5, the running sums [2] and [4, 10].
@pytest.mark.parametrize(
    "function, options, error",
    [
        (mean, {}, 1),  # (2 + 0) / 2 for 2
        (mean, {"value": 10}, 4),  # (2 + 10) / 2 for 2
        (mean, {"maxlen": 4}, 2.5),  # (4 + 6) / 4 for 5
        (mean, {"value": math.nan}, math.nan),
        (running_sum, {"value": 10}, 0),
        (running_sum, {"value": 10, "padding": "pre"}, 10),
        (running_sum, {"value": 10, "padding": "pre", "maxlen": 3}, 20),
        (running_sum, {"value": math.nan, "padding": "pre"}, math.nan),
        (lambda batch: {"fine": batch, "more": [batch, {"leaks": mean(batch)}]}, {}, 1),
        (lambda batch: (batch, [{"broken": ops.where(ops.equal(batch, 6), math.nan, batch)}]), {}, math.nan),
        (lambda batch: ops.log(ops.less(batch, 5)), {}, 0),  # minus infinity both times
    ],
)
def test_the_padding_error_is_that_computed_by_hand(function, options, error):
    np.testing.assert_allclose(padding_error(function, FLOATS, **options), error, rtol=1e-6)


@pytest.mark.parametrize("padding", ["pre", "post"])
def test_a_function_that_heeds_the_mask_has_no_padding_error(padding):
    def masked_mean(batch, mask):
        assert mask.dtype == bool and mask.shape == batch.shape
        return ops.sum(ops.where(mask, batch, 0), axis=1) / mask.sum(axis=1, dtype="float32")

    options = {"maxlen": 5, "padding": padding, "value": math.nan}
    assert padding_error(masked_mean, FLOATS, with_mask=True, **options) == 0
    assert math.isnan(padding_error(mean, FLOATS, **options))


def test_a_function_that_leaks_only_into_padded_steps_has_no_padding_error():
    assert padding_error(lambda batch, mask: ops.where(mask, batch, mean(batch)[:, None]), FLOATS, with_mask=True) == 0


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [3, 5])
@pytest.mark.parametrize("step", range(5))
def test_a_difference_counts_at_every_valid_step_and_at_no_other(step, maxlen, padding):
    sequences = [[1.0, 2.0], [3.0, 4.0, 5.0]]

    def one_step_off(batch):
        changed = np.array(batch)
        if len(batch) > 1 and step < maxlen:
            changed[0, step] += 1
        return changed

    valid = step < 2 if padding == "post" else maxlen - 2 <= step < maxlen
    assert padding_error(one_step_off, sequences, maxlen=maxlen, padding=padding) == (1 if valid else 0)


def test_feature_sequences_are_measured():
    sequences = [np.ones((1, 2), "float32"), np.full((3, 2), 2, "float32")]
    assert padding_error(lambda batch: 2 * batch, sequences, value=5) == 0
    assert padding_error(mean, sequences) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "sequences, dtype",
    [([[1], [2, 3]], "int32"), ([[1], [2, 0.5]], "float32"), ([np.ones(1, "float64"), [2, 3]], "float32")],
)
def test_the_batch_has_the_dtype_of_its_numbers(sequences, dtype):
    seen = set()
    padding_error(lambda batch: seen.add(str(batch.dtype)) or batch, sequences)
    assert seen == {dtype}


@pytest.mark.parametrize("padding", ["pre", "post"])
def test_a_masked_model_has_no_padding_error_and_loses_that_with_the_mask(padding):
    keras.utils.set_random_seed(0)
    sequences = [[3, 1], [4, 1, 5, 7], [2]]
    for mask_zero in (True, False):
        model = keras.Sequential([layers.Embedding(9, 3, mask_zero=mask_zero), layers.LSTM(2)])
        assert (padding_error(model, sequences, padding=padding) < 1e-6) is mask_zero


@pytest.mark.parametrize(
    "function, sequences, options, message",
    [
        (mean, [[1.0], [2.0]], {}, "no sequence gets any padding, so nothing can be measured: add a shorter sequence, or pass"),
        (mean, [], {}, "no sequence gets any padding"),
        (mean, [[1.0], []], {}, "sequence 1 has 0 steps: it must have between 1 and maxlen=1"),
        (mean, [[1.0], [2.0, 3.0]], {"maxlen": 1}, "sequence 1 has 2 steps: it must have between 1 and maxlen=1"),
        (mean, FLOATS, {"maxlen": -1}, "maxlen=-1: it must be an integer, 0 or more"),
        (mean, FLOATS, {"padding": "left"}, "padding='left': choose 'pre'"),
        (mean, FLOATS, {"dtype": "int32", "value": 0.5}, "value is 0.5, which does not fit into dtype int32"),
        (mean, [[1], [2, None]], {}, "sequence 1, step 1 is None, which does not fit"),
        (mean, 3, {}, "sequences is 3, of type int: pass a list of sequences"),
        (mean, [[1], 2], {}, "sequence 1 is 2, of type int: each sequence must be a list, tuple or array of steps"),
        (
            lambda batch: ops.concatenate([batch, batch], axis=1),
            FLOATS,
            {"maxlen": 3},
            r"for 3 steps the output has the shape \(2, 6\), for the 1 steps of sequence 0 alone it has \(1, 2\): "
            "padding_error needs an output with the steps of the input, or without a time axis",
        ),
        (lambda batch: ops.mean(batch), FLOATS, {}, r".*the output has the shape \(\)"),
        (lambda batch: ops.sum(batch, axis=0), FLOATS, {}, r".*the output has the shape \(2,\)"),
    ],
)
def test_the_ruler_refuses(function, sequences, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        padding_error(function, sequences, **options)


def test_without_matplotlib_a_batch_is_shown_as_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    shown = show_mask([[7, 3], [9, 0]], np.array([[True, True], [True, False]]))
    assert repr(shown) == "7 3\n9 ·"
    assert shown._repr_svg_() is None
    with pytest.raises(ImportError, match="^figures need matplotlib"):
        shown.save("batch.svg")


# Attaching a mask, and giving it axes.


def variants(values):
    yield values
    yield ops.convert_to_tensor(values)


@pytest.mark.tensorflow
@pytest.mark.parametrize("values", [np.ones((2, 3, 4), "float32"), np.array([[1, 2, 0], [3, 0, 0]]), np.array([["a", "b", ""]])],
                         ids=["floats", "ids", "words"])
def test_a_mask_is_attached_to_a_copy(values):
    for tensor in variants(values):
        mask = mask_from_lengths([2] * len(values), 3)
        for form in variants(mask):
            attached = attach_mask(tensor, form)
            assert keras.ops.is_tensor(attached) and np.array_equal(attached, ops.convert_to_tensor(tensor))
            assert attached.dtype == ops.convert_to_tensor(values).dtype
            assert np.array_equal(get_mask(attached), mask)
            assert getattr(tensor, "_keras_mask", None) is None


def test_a_mask_is_replaced_and_taken_off_a_copy():
    embedded = keras.layers.Embedding(9, 2, mask_zero=True)(np.array([[1, 2, 0]]))
    replacement = np.array([[False, True, True]])
    assert get_mask(attach_mask(embedded, None)) is None
    assert np.array_equal(get_mask(attach_mask(embedded, replacement)), replacement)
    assert ops.convert_to_numpy(get_mask(embedded)).tolist() == [[True, True, False]]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("symbolic_mask", [True, False])
def test_a_symbolic_tensor_keeps_its_mask_in_each_run(symbolic_mask, policy, seeded):
    keras.mixed_precision.set_global_policy(policy)
    values = np.array([[1, 2, 3000]], "int32")  # float16 would round the last one
    inputs, mask = keras.Input((3,), dtype="int32"), np.array([[True, True, False]])
    form = keras.Input((3,), dtype="bool") if symbolic_mask else mask
    attached = attach_mask(inputs, form)
    assert attached.dtype == "int32" and attached.shape == (None, 3) and get_mask(inputs) is None
    model = keras.Model([inputs] + [form] * symbolic_mask, [attached, get_mask(attached)] if symbolic_mask else attached)
    run = keras.layers.Identity()(attached)
    assert (get_mask(run) is None) == (get_mask(attached) is None)
    results = model([values] + [mask] * symbolic_mask)
    assert np.array_equal(results[0] if symbolic_mask else results, values)
    assert np.array_equal(results[1] if symbolic_mask else get_mask(attached), mask)


def test_a_mask_is_taken_off_a_symbolic_tensor():
    embedded = keras.layers.Embedding(9, 2, mask_zero=True)(keras.Input((3,)))
    assert get_mask(attach_mask(embedded, None)) is None and get_mask(embedded) is not None


@pytest.mark.tensorflow
@pytest.mark.parametrize("axes", [(), (4,), (4, 5)])
def test_a_mask_gets_the_axes_of_a_tensor(axes):
    mask = mask_from_lengths([2, 3], 3)
    tensor = np.ones((2, 3, *axes), "float32")
    expected = mask.reshape(2, 3, *[1] * len(axes))
    for form in (mask, mask.astype("float32")):
        assert np.array_equal(expand_mask(form, tensor), expected) and isinstance(expand_mask(form, tensor), np.ndarray)
        assert expand_mask(form, tensor).dtype == bool
        made = expand_mask(ops.convert_to_tensor(form), ops.convert_to_tensor(tensor))
        assert np.array_equal(made, expected) and made.dtype == "bool"
    symbolic = expand_mask(keras.Input((3,)), keras.Input((3, *axes)))
    assert symbolic.shape == (None, 3, *[1] * len(axes)) and symbolic.dtype == "bool"
