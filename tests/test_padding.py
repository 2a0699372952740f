"""Padding against Keras' own, against Python's exact numbers, and against its inverse."""

import collections
import math
import subprocess
import sys
from bisect import bisect
from fractions import Fraction
from functools import cache
from types import MappingProxyType, SimpleNamespace

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masking_tutorial.padding import as_sequences, pad_flat, pad_sequences, padding_waste, unpad

INTEGER_DTYPES = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOAT_DTYPES = ["float16", "float32", "float64"]

sides = st.sampled_from(["pre", "post"])


def assert_same(ours, theirs):
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours, theirs)


# Keras' own function, wherever that is right. With maxlen=0 it is not: it cuts nothing off where it should cut all.


@st.composite
def options(draw):
    maxlen = draw(st.one_of(st.none(), st.integers(1, 9)))
    return {"maxlen": maxlen, "padding": draw(sides), "truncating": draw(sides)}


def contained(steps, dtype):
    return st.sampled_from([list, tuple, lambda sequence: np.array(sequence, dtype)]).map(lambda kind: kind(steps))


def batches(elements, dtype):
    sequence = st.lists(elements, max_size=6).flatmap(lambda steps: contained(steps, dtype))
    return st.lists(sequence, min_size=1, max_size=5)


@given(data=st.data(), dtype=st.sampled_from(INTEGER_DTYPES), options=options())
def test_integers_are_padded_as_by_keras(data, dtype, options):
    limits = np.iinfo(dtype)
    numbers = st.integers(int(limits.min), int(limits.max))
    # Keras goes through int64 for a value like this.
    value = data.draw(st.integers(int(limits.min), min(int(limits.max), 2**63 - 1)))
    sequences = data.draw(batches(numbers, dtype))
    assert_same(
        pad_sequences(sequences, dtype=dtype, value=value, **options),
        keras.utils.pad_sequences(sequences, dtype=dtype, value=value, **options),
    )


@given(starts=st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9)), min_size=1, max_size=5), options=options())
def test_ranges_are_padded_as_by_keras(starts, options):
    sequences = [range(start, start + steps) for start, steps in starts]
    assert_same(pad_sequences(sequences, **options), keras.utils.pad_sequences(sequences, **options))


@given(data=st.data(), bits=st.sampled_from([32, 64]), options=options())
def test_floats_are_padded_as_by_keras(data, bits, options):
    dtype = f"float{bits}"
    numbers = st.floats(width=bits)
    sequences, value = data.draw(batches(numbers, dtype)), data.draw(numbers)
    assert_same(
        pad_sequences(sequences, dtype=dtype, value=value, **options),
        keras.utils.pad_sequences(sequences, dtype=dtype, value=value, **options),
    )


@given(sequences=batches(st.booleans(), "bool"), value=st.booleans(), options=options())
def test_booleans_are_padded_as_by_keras(sequences, value, options):
    assert_same(
        pad_sequences(sequences, dtype="bool", value=value, **options),
        keras.utils.pad_sequences(sequences, dtype="bool", value=value, **options),
    )


@given(sequences=batches(st.text(max_size=4), object), value=st.text(max_size=4), options=options())
def test_strings_are_padded_as_by_keras(sequences, value, options):
    assert_same(
        pad_sequences(sequences, dtype=object, value=value, **options),
        keras.utils.pad_sequences(sequences, dtype=object, value=value, **options),
    )


@st.composite
def feature_sequences(draw, dtype="float32"):
    features = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)))
    lengths = draw(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    # Keras takes the shape of a step from the first sequence that has one.
    lengths[0] = max(1, lengths[0])
    numbers = st.floats(-9, 9, width=32) if dtype == "float32" else st.integers(-9, 9)
    return [draw(hnp.arrays(dtype, (length, *features), elements=numbers)) for length in lengths]


@given(sequences=feature_sequences(), as_lists=st.booleans(), options=options())
def test_feature_sequences_are_padded_as_by_keras(sequences, as_lists, options):
    if as_lists:
        sequences = [sequence.tolist() for sequence in sequences]
    assert_same(
        pad_sequences(sequences, dtype="float32", **options),
        keras.utils.pad_sequences(sequences, dtype="float32", **options),
    )


def test_strings_in_sequences_of_several_kinds_stay_strings():
    padded = pad_sequences([["a"], np.array(["b", "c"], object), ("d",)], dtype=object, value="")
    assert [type(word) for word in padded.ravel()] == [str] * 6


def test_the_defaults_are_those_of_keras():
    sequences = [[711, 632, 71], [73, 9, 3215, 55, 927], [83, 91, 1, 645, 1253, 927]]
    assert_same(pad_sequences(sequences), keras.utils.pad_sequences(sequences))


@given(
    sequences=st.lists(st.lists(st.integers(-99, 99), max_size=6), min_size=1, max_size=5),
    maxlen=st.one_of(st.none(), st.integers(0, 9)),
    padding=sides,
    truncating=sides,
)
def test_a_ragged_tensor_is_padded_like_its_lists(sequences, maxlen, padding, truncating):
    ragged = tf.ragged.constant(sequences, dtype="int32")
    assert_same(
        pad_sequences(ragged, maxlen, padding=padding, truncating=truncating),
        pad_sequences(sequences, maxlen, padding=padding, truncating=truncating),
    )


def test_the_sequences_of_a_batch_and_their_lengths():
    for batch in ([[1], [2, 3]], tf.ragged.constant([[1], [2, 3]]), {1: 0, 2: 0}.items()):
        sequences, lengths = as_sequences(batch)
        assert list(map(len, sequences)) == lengths.tolist() and len(sequences) == 2


def test_a_ragged_tensor_of_feature_sequences_is_padded_like_its_arrays():
    arrays = [np.ones((2, 3), "float32"), np.zeros((0, 3), "float32"), np.full((4, 3), 2, "float32")]
    ragged = tf.RaggedTensor.from_row_lengths(np.concatenate(arrays), [2, 0, 4])
    assert_same(pad_sequences(ragged, dtype="float32"), pad_sequences(arrays, dtype="float32"))


@pytest.mark.parametrize("sequence", [[1, 2, 3], np.array([1, 2, 3]), range(1, 4)])
@pytest.mark.parametrize("truncating", ["pre", "post"])
def test_maxlen_of_zero_leaves_no_steps(sequence, truncating):
    assert pad_sequences([sequence], maxlen=0, truncating=truncating).shape == (1, 0)


def test_maxlen_of_zero_keeps_the_features():
    assert pad_sequences([np.ones((2, 3))], maxlen=0).shape == (1, 0, 3)


def test_no_sequence_gives_no_row():
    assert_same(pad_sequences([], maxlen=4), np.zeros((0, 4), "int32"))


def test_tensors_are_padded_like_lists():
    assert_same(pad_sequences([tf.constant([1]), tf.constant([2, 3])]), np.array([[0, 1], [2, 3]], "int32"))


# Short and long sequences take different ways; a loop over rows is the judge of both.


def padded_in_a_loop(sequences, maxlen, padding, truncating, value):
    maxlen = max(map(len, sequences)) if maxlen is None else maxlen
    rows = []
    for sequence in sequences:
        kept = list(sequence[max(len(sequence) - maxlen, 0) :] if truncating == "pre" else sequence[:maxlen])
        fill = [value] * (maxlen - len(kept))
        rows.append(fill + kept if padding == "pre" else kept + fill)
    return np.array(rows, "int32").reshape(len(rows), maxlen)


@given(
    sequences=st.lists(st.lists(st.integers(-99, 99), max_size=6), min_size=1, max_size=5),
    maxlen=st.none() | st.integers(0, 9),
    padding=sides,
    truncating=sides,
    value=st.integers(-1, 1),
    repeat=st.sampled_from([1, 150]),
)
def test_lists_arrays_and_flat_values_are_padded_as_by_a_loop(sequences, maxlen, padding, truncating, value, repeat):
    sequences = [sequence * repeat for sequence in sequences]
    expected = padded_in_a_loop(sequences, maxlen, padding, truncating, value)
    options = dict(maxlen=maxlen, padding=padding, truncating=truncating, value=value)
    arrays = [np.array(sequence, "int64") for sequence in sequences]
    assert_same(pad_sequences(sequences, **options), expected)
    assert_same(pad_sequences(arrays, **options), expected)
    assert_same(pad_flat(np.concatenate(arrays), list(map(len, arrays)), **options), expected)


@given(sequences=feature_sequences(), options=options())
def test_flat_features_are_padded_like_their_arrays(sequences, options):
    assert_same(
        pad_flat(np.concatenate(sequences), [len(sequence) for sequence in sequences], dtype="float32", **options),
        pad_sequences(sequences, dtype="float32", **options),
    )


@pytest.mark.parametrize(
    "sequences, options",
    [
        ([[1], [2, 3]], {}),
        ([[1], [2, 3]], {"dtype": "uint8"}),
        ([[], []], {"maxlen": 2}),
        ([[], []], {"maxlen": 1, "dtype": str, "value": "-"}),
        ([(1,), range(2, 4)], {}),
        ([[1], [2, 3]], {"dtype": ">i4"}),
        ([[1000.5], [2, 3]], {"dtype": "float32"}),
        ([[2**60], [2, 3]], {"dtype": "complex128"}),
        ([[[1, 2]], [[3, 4.5], (5, 6)]], {"dtype": "float32"}),
        ([[1.5], [2j, 3]], {"dtype": "complex64"}),
        ([[True], [False]], {"dtype": "bool"}),
        ([["a"], ["bc", "d"]], {"dtype": str, "value": ""}),
        ([[["a", "b"]], [["c", "d"]]], {"dtype": str, "value": ""}),
        ([["a"], [None, "d"]], {"dtype": object, "value": ""}),
        ([np.array([1]), np.array([2, 3])], {}),
        ([np.array([1]), np.array([2.0, 3])], {}),
        ([np.ones((2, 3)), np.ones((1, 3))], {"dtype": "bfloat16"}),
        ([{1: 0}.keys(), [2, 3]], {}),
    ],
)
def test_sequences_that_are_alike_are_not_looked_at_step_by_step(sequences, options, monkeypatch):
    padded = pad_sequences(sequences, **options)
    monkeypatch.delattr("masking_tutorial.padding._flat_step_by_step")
    assert_same(pad_sequences(sequences, **options), padded)


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
@pytest.mark.parametrize("sequences", [[[1], [2, 3]], [(1,), range(2, 4)], [[np.int64(1)], [True]], [[], []]])
def test_integers_in_lists_are_read_as_they_are(sequences, dtype, monkeypatch):
    padded = pad_sequences(sequences, 2, dtype)
    monkeypatch.delattr("masking_tutorial.padding.chain")  # all other lists are joined by this
    assert_same(pad_sequences(sequences, 2, dtype), padded)


def test_padding_is_exactly_the_value_that_was_asked_for():
    assert np.signbit(pad_sequences([[]], 1, "float32", value=-0.0)).all()
    assert pad_sequences([[], ["a"]], dtype=object, value=None).tolist() == [[None], ["a"]]


@pytest.mark.parametrize("dtype", ["int32", ">i4", "int8", "uint64", "float32", "bool", object])
def test_numpy_numbers_and_booleans_in_lists_are_padded(dtype):
    assert pad_sequences([[np.int64(1)], [True, np.uint8(0)]], dtype=dtype, padding="post").tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(
    "values, lengths, options, message",
    [
        (3, [1], {}, r"values is array\(3\), a single value"),
        ([1, 2], 2, {}, r"lengths has the shape \(\) and dtype int64: it must be a list of integers"),
        ([1, 2], [2.0], {}, r"lengths has the shape \(1,\) and dtype float64: it must be a list of integers"),
        ([1, 2], [3, -1], {}, "sequence 1 has the length -1: it must be 0 or more"),
        ([1, 2], [1, 2], {}, "the lengths add up to 3, but there are 2 values"),
        ([], [], {}, "there are no sequences, so there is no longest one"),
        ([1, 0.5], [1, 1], {}, "sequence 1, step 0 is 0.5, which does not fit into dtype int32"),
        ([1, 2, 3, 0.5], [1, 3], {"maxlen": 2}, "sequence 1, step 2 is 0.5, which does not fit into dtype int32"),
        ([1, 2, 3, 0.5], [1, 2, 1], {}, "sequence 2, step 0 is 0.5, which does not fit into dtype int32"),
        ([1], [1], {"value": 0.5}, "value is 0.5, which does not fit into dtype int32"),
        (np.ma.array([1, 2], mask=[0, 1]), [2], {}, "values is a masked array in which values are masked: pass its"),
        ([1], [1], {"dtype": "int33"}, "dtype='int33': NumPy knows no such type"),
        ([1], [1], {"padding": "left"}, "padding='left': choose 'pre'"),
        ([1], [1], {"truncating": "left"}, "truncating='left': choose 'pre'"),
        (np.array(["a"], object), [1], {"dtype": object}, "value=0.0 would stand among words"),
    ],
)
def test_padding_of_flat_values_refuses(values, lengths, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        pad_flat(values, lengths, **options)


# Unpadding.


@given(sequences=feature_sequences("int32"), side=sides, extra=st.integers(0, 3))
def test_unpadding_is_the_inverse_of_padding_features(sequences, side, extra):
    lengths = [len(sequence) for sequence in sequences]
    padded = pad_sequences(sequences, max(lengths) + extra, padding=side, value=7)
    for unpadded, sequence in zip(unpad(padded, lengths, side), sequences, strict=True):
        assert_same(unpadded, sequence)


@given(sequences=st.lists(st.lists(st.text(max_size=3), max_size=5), min_size=1, max_size=5), side=sides)
def test_unpadding_is_the_inverse_of_padding_strings(sequences, side):
    padded = pad_sequences(sequences, dtype=object, padding=side, value="")
    unpadded = unpad(padded, [len(sequence) for sequence in sequences], side)
    assert [sequence.tolist() for sequence in unpadded] == sequences


def test_what_is_padded_with_the_defaults_is_unpadded_with_the_defaults():
    assert [row.tolist() for row in unpad(pad_sequences([[1], [2, 3]]), [1, 2])] == [[1], [2, 3]]
    assert [row.tolist() for row in unpad(pad_flat([1, 2, 3], [1, 2]), [1, 2])] == [[1], [2, 3]]


def test_unpadding_copies():
    padded = np.array([[1, 2, 0]])
    unpad(padded, [2], "post")[0][:] = 9
    assert padded.tolist() == [[1, 2, 0]]


# What padding costs.


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=12), batch_size=st.none() | st.integers(1, 14))
def test_waste_is_the_share_of_padding_in_the_padded_batches(lengths, batch_size):
    step = batch_size or len(lengths)
    batches = [lengths[start : start + step] for start in range(0, len(lengths), step)]
    cells = np.concatenate([pad_sequences([[1] * length for length in batch]).ravel() for batch in batches])
    assert padding_waste(lengths, batch_size) == pytest.approx(np.mean(cells == 0) if cells.size else 0)


# Nothing is stored as a different number.


def is_held(value, dtype):
    """Whether a dtype has a place for this number: exactly, or rounded (but not to 0) where a float becomes another float."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return value in (0, 1)
    if not math.isfinite(value):
        return dtype.kind == "f"
    if dtype.kind in "iu":
        return Fraction(value).denominator == 1 and np.iinfo(dtype).min <= int(value) <= np.iinfo(dtype).max
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return False  # NumPy itself has no number for it, so it is refused everywhere
    limits = np.finfo(dtype)
    digits = limits.nmant + 1
    if isinstance(value, float):
        half_a_step = Fraction(2) ** (int(limits.maxexp) - digits - 1)
        becomes_infinite = abs(Fraction(value)) >= Fraction(float(limits.max)) + half_a_step
        becomes_zero = 0 < abs(Fraction(value)) <= Fraction(float(limits.smallest_subnormal)) / 2
        return not (becomes_infinite or becomes_zero)
    size = abs(int(value))
    return not size or size <= int(limits.max) and (size // (size & -size)).bit_length() <= digits


def assert_held(stored, value):
    if isinstance(value, float) and stored.dtype.kind == "f":
        if not math.isfinite(value):
            np.testing.assert_equal(float(stored), value)
            return
        with np.errstate(over="ignore"):
            nearby = [np.nextafter(stored, stored.dtype.type(end)) for end in (-np.inf, np.inf)]
        distances = [abs(Fraction(float(candidate)) - Fraction(value))
                     for candidate in [stored, *nearby] if np.isfinite(candidate)]
        assert distances[0] == min(distances)
    else:
        assert stored.item() == value


def limits_of(dtype):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    return [int(limits.min), int(limits.max)]


powers = [sign * 2**exponent for sign in (-1, 1) for exponent in (8, 11, 16, 24, 31, 32, 53, 63, 64, 65, 128)]
edges = sorted({0, *powers, *(limit for dtype in INTEGER_DTYPES + FLOAT_DTYPES for limit in limits_of(dtype))})
integers = st.builds(int.__add__, st.sampled_from(edges), st.integers(-2, 2)).filter(
    lambda integer: abs(integer) < 2**1000)
floats = st.one_of(
    integers.map(float),
    st.builds(math.nextafter, integers.map(float), st.sampled_from([-math.inf, math.inf])),
    st.sampled_from([math.inf, -math.inf, math.nan, 0.5, -0.0, 65519.99, 65520.0, 1e300, 1e-300, 2**-25, 2**-24, -(2**-150), 2**-149]),
)
dtypes = st.sampled_from(["bool", *INTEGER_DTYPES, *FLOAT_DTYPES])


@st.composite
def sources(draw):
    """A sequence of one number, and the number in Python."""
    value = draw(st.one_of(integers, floats))
    kind = draw(st.sampled_from([list, "scalar", "array"]))
    if kind is list:
        return [value], value
    dtype = draw(st.sampled_from([*INTEGER_DTYPES, *FLOAT_DTYPES]))
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind in "iu":
            limits = np.iinfo(dtype)
            value = min(max(int(value) if math.isfinite(value) else 0, int(limits.min)), int(limits.max))
        array = np.array([value], dtype)
    return (array if kind == "array" else [array[0]]), array[0].item()


@given(source=sources(), dtype=dtypes)
@example(source=([-(2**63)], -(2**63)), dtype="float16")
@example(source=(np.array([-np.inf], "float16"), -math.inf), dtype="int64")
@example(source=(np.array([2**64 - 1], "uint64"), 2**64 - 1), dtype="float32")
@example(source=([2.0**63], 2.0**63), dtype="int64")
@example(source=([1e-300], 1e-300), dtype="float16")
@example(source=([math.nextafter(2**-25, 1)], math.nextafter(2**-25, 1)), dtype="float16")
def test_a_number_is_stored_as_it_is_or_refused(source, dtype):
    sequence, value = source
    if is_held(value, dtype):
        assert_held(pad_sequences([sequence], dtype=dtype)[0, 0], value)
    else:
        with pytest.raises(ValueError, match=f"^sequence 0, step 0 is .*, which does not fit into dtype {dtype}: pass "):
            pad_sequences([sequence], dtype=dtype)


@given(source=sources(), dtype=dtypes)
@example(source=([np.float16(-np.inf)], -math.inf), dtype="int32")
@example(source=([-(2**31)], -(2**31)), dtype="float16")
def test_what_the_padding_holds_is_stored_as_it_is_or_refused(source, dtype):
    (scalar,), value = source
    if is_held(value, dtype):
        assert_held(pad_sequences([[]], 1, dtype, value=scalar)[0, 0], value)
    else:
        with pytest.raises(ValueError, match=f"^value is .*, which does not fit into dtype {dtype}: pass "):
            pad_sequences([[]], 1, dtype, value=scalar)


@given(
    values=st.lists(st.one_of(integers, floats), min_size=2, max_size=3),
    dtype=st.sampled_from(["int64", "uint64", "float64"]),
    as_features=st.booleans(),
)
@example(values=[0.5, 2**53 + 1], dtype="float64", as_features=False)
@example(values=[0.5, 2**53 + 1], dtype="float64", as_features=True)
@example(values=[1.0, 2**53 + 1], dtype="int64", as_features=True)
@example(values=[2**63 + 1, -1], dtype="float64", as_features=True)
def test_a_number_is_stored_as_it_is_whatever_stands_beside_it(values, dtype, as_features):
    sequences = [[values]] if as_features else [values]
    if all(is_held(value, dtype) for value in values):
        for stored, value in zip(pad_sequences(sequences, dtype=dtype).ravel(), values, strict=True):
            assert_held(stored, value)
    else:
        with pytest.raises(ValueError, match=rf"^sequence 0, step \d is .*, which does not fit into dtype {dtype}: pass "):
            pad_sequences(sequences, dtype=dtype)


def test_arrays_of_different_dtypes_keep_their_numbers():
    sequences = [np.array([2**53 + 1]), np.array([0.5])]
    with pytest.raises(ValueError, match="^sequence 0, step 0 is 9007199254740993, which does not fit into dtype float64"):
        pad_sequences(sequences, dtype="float64")
    assert pad_sequences([np.array([2**53 + 1]), np.array([1.0])], dtype="int64").tolist() == [[2**53 + 1], [1]]


@pytest.mark.parametrize("dtype, longest", [(str, "<U5"), (bytes, "|S5"), ("U5", "<U5"), ("U8", "<U8")])
def test_text_is_as_wide_as_it_needs(dtype, longest):
    padded = pad_sequences([["a"], ["bbb", "c"]], dtype=dtype, value="-----")
    assert padded.dtype == longest
    assert padded.astype(str).tolist() == [["-----", "a"], ["bbb", "c"]]
    assert pad_sequences([[]], 1, dtype=dtype, value="-----").dtype == longest
    assert pad_sequences([[], ["bbb", "ccccc"]], dtype=dtype, value="-").astype(str).tolist() == [["-", "-"], ["bbb", "ccccc"]]


def test_steps_in_lists_and_in_arrays_have_the_same_features():
    sequences = [[[[1.5, 2], [3, 4]]], np.full((1, 2, 2), 5)]
    assert pad_sequences(sequences, dtype="float32").tolist() == [[[[1.5, 2], [3, 4]]], [[[5, 5], [5, 5]]]]


def test_steps_without_features_keep_the_dtype():
    assert_same(pad_sequences([[[]], np.zeros((2, 0))]), np.zeros((2, 2, 0), "int32"))


# Types that NumPy does not have itself, and complex numbers.

SMALL_FLOATS = [
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn",
]  # fmt: skip
SMALL_INTEGERS = ["uint2", "int4", "uint4"]


@cache
def all_of(dtype):
    """Every value of a small dtype, as that dtype and in Python."""
    size = np.dtype(dtype).itemsize
    values = np.arange(2 ** (8 * size), dtype=f"uint{8 * size}").view(dtype)
    return values, [float(value) for value in values]


@cache
def finite(dtype):
    return sorted({number for number in all_of(dtype)[1] if math.isfinite(number)})


@pytest.mark.parametrize("dtype", [*SMALL_FLOATS, *SMALL_INTEGERS])
@pytest.mark.parametrize("target", ["float64", "float32", "complex64"])
def test_every_value_of_a_small_type_is_kept_in_a_wider_one(dtype, target):
    values, numbers = all_of(dtype)
    for sequence in (values, list(values)):
        padded = pad_sequences([sequence], dtype=target)
        assert padded.dtype == target
        np.testing.assert_array_equal(padded[0], numbers)
    assert_same(pad_flat(values, [1, len(values) - 1], dtype=target)[1], padded[0][1:])
    assert pad_sequences([values], dtype=dtype, value=1).tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", [*SMALL_FLOATS, *SMALL_INTEGERS])
@pytest.mark.parametrize("target", ["int8", "uint64", "bool"])
def test_a_value_of_a_small_type_becomes_an_integer_only_if_it_is_one(dtype, target):
    pairs = list(zip(*all_of(dtype)))
    held = [pair for pair in pairs if is_held(pair[1], target)]
    assert held and pad_sequences([[value for value, _ in held]], dtype=target)[0].tolist() == [number for _, number in held]
    for value, number in pairs[:: len(pairs) // 50 + 1]:
        if not is_held(number, target):
            with pytest.raises(ValueError, match="^sequence 0, step 0 is "):
                pad_sequences([[value]], dtype=target)


def nearest(number, dtype):
    """The values that are as near as any, if one of them can be called `number` rounded; else nothing."""
    if not math.isfinite(number):
        return [value for value in all_of(dtype)[1] if value == number or value != value and number != number][:1]
    numbers = finite(dtype)
    beyond, half_a_step = abs(number) - numbers[-1], (numbers[-1] - numbers[-2]) / 2
    assume(beyond != half_a_step)
    if beyond > half_a_step:
        return []
    place = bisect(numbers, number)
    around = numbers[max(place - 1, 0) : place + 1]
    distance = min(abs(Fraction(neighbour) - Fraction(number)) for neighbour in around)
    nearest_values = [neighbour for neighbour in around if abs(Fraction(neighbour) - Fraction(number)) == distance]
    return nearest_values if number in nearest_values or distance < abs(Fraction(number)) else []


@given(dtype=st.sampled_from(SMALL_FLOATS), data=st.data())
@example(dtype="float4_e2m1fn", data=6.5)
@example(dtype="float4_e2m1fn", data=7.5)
@example(dtype="float4_e2m1fn", data=math.inf)
@example(dtype="float6_e3m2fn", data=-math.inf)
@example(dtype="float6_e2m3fn", data=math.nan)
@example(dtype="float8_e4m3fn", data=460.0)
@example(dtype="float8_e4m3fn", data=470.0)
@example(dtype="float8_e4m3fn", data=math.inf)
@example(dtype="float8_e8m0fnu", data=0.0)
@example(dtype="float8_e8m0fnu", data=-1.0)
@example(dtype="float8_e8m0fnu", data=3e-39)
@example(dtype="float8_e8m0fnu", data=2e-39)
@example(dtype="bfloat16", data=1.2345678)
@example(dtype="bfloat16", data=2.0**-134)
@example(dtype="bfloat16", data=3.4e38)
def test_a_float_is_rounded_to_a_small_type_or_refused(dtype, data):
    number = data if isinstance(data, float) else data.draw(st.floats(width=32) | st.floats(-8, 8, width=16))
    expected = nearest(number, dtype)
    for sequence in ([number], np.array([number]), np.array([number], "float32")):
        if expected:
            stored = pad_sequences([sequence], dtype=dtype, value=1)
            assert stored.dtype == dtype
            assert float(stored[0, 0]) in expected or number != number and stored[0, 0] != stored[0, 0]
        else:
            with pytest.raises(ValueError, match=f"^sequence 0, step 0 is .*, which does not fit into dtype {dtype}: pass "):
                pad_sequences([sequence], dtype=dtype, value=1)


@given(dtype=st.sampled_from([*SMALL_FLOATS, *SMALL_INTEGERS]), number=integers)
@example(dtype="bfloat16", number=256)
@example(dtype="bfloat16", number=257)
@example(dtype="bfloat16", number=2**63)
@example(dtype="int4", number=7)
@example(dtype="int4", number=-8)
@example(dtype="int4", number=8)
@example(dtype="uint4", number=-1)
def test_an_integer_is_stored_in_a_small_type_as_it_is_or_refused(dtype, number):
    if number in finite(dtype) and -(2**63) <= number < 2**64:
        assert float(pad_sequences([[number]], dtype=dtype, value=1)[0, 0]) == number
    else:
        with pytest.raises(ValueError, match=f"^sequence 0, step 0 is .*, which does not fit into dtype {dtype}: pass "):
            pad_sequences([[number]], dtype=dtype, value=1)


@pytest.mark.parametrize("dtype", ["bfloat16", ml_dtypes.bfloat16, np.dtype("bfloat16"), tf.bfloat16])
def test_a_dtype_may_be_said_in_any_way(dtype):
    sequences = [np.array([1.5, 2], "bfloat16"), np.array([3], "bfloat16")]
    expected = np.array([[1.5, 2], [9, 3]], "bfloat16")
    assert_same(pad_sequences(sequences, dtype=dtype, value=9), expected)
    assert_same(pad_sequences(tf.ragged.constant([[1.5, 2], [3]], dtype=tf.bfloat16), dtype=dtype, value=9), expected)
    assert_same(pad_sequences([tf.constant([1.5, 2]), tf.constant([3.0], tf.bfloat16)], dtype=dtype, value=9), expected)
    assert_same(pad_flat([1.5, 2, 3], [2, 1], dtype=dtype, value=9), expected)


parts = st.floats(allow_nan=False) | st.integers(-(2**60), 2**60).map(float)


@given(number=st.builds(complex, parts, parts | st.just(0.0)), dtype=st.sampled_from(["complex64", "complex128", "float32", "int32", "bool"]))
@example(number=complex(1e39, 1), dtype="complex64")
@example(number=complex(1, 1e-60), dtype="complex64")
@example(number=complex(math.nan, math.inf), dtype="complex64")
@example(number=complex(3, 0), dtype="int32")
@example(number=complex(3, 1), dtype="int32")
@example(number=complex(3, math.nan), dtype="float32")
def test_a_complex_number_is_stored_as_its_two_parts_are(number, dtype):
    part = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    held = is_held(number.real, part) and (is_held(number.imag, part) if part != dtype else number.imag == 0)
    for sequence in ([number], np.array([number])):
        if held:
            stored = pad_sequences([sequence], dtype=dtype)[0, 0]
            assert_held(stored.real, number.real)
            assert_held(stored.imag, number.imag)
        else:
            with pytest.raises(ValueError, match=f"^sequence 0, step 0 is .*, which does not fit into dtype {dtype}: pass "):
                pad_sequences([sequence], dtype=dtype)


@pytest.mark.parametrize("dtype, part", [("complex32", "float16"), ("bcomplex32", "bfloat16"), ("complex64", "float32")])
def test_complex_numbers_of_every_size(dtype, part):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    padded = pad_sequences([[1.2345678 + 2j], np.array([3])], dtype=dtype, padding="post", value=1j)
    assert padded.dtype == dtype
    rounded = complex(np.array(1.2345678).astype(part), 2)
    assert padded.astype("complex128").tolist() == [[rounded], [3]]
    assert pad_sequences([padded[0]], dtype="complex64")[0, 0] == rounded
    assert pad_sequences([padded[1]], dtype="int8")[0, 0] == 3
    with pytest.raises(ValueError, match="^sequence 0, step 0 is .*, which does not fit into dtype int8: pass dtype='complex64'"):
        pad_sequences([padded[0]], dtype="int8")


def test_a_large_integer_beside_a_complex_number_is_not_rounded():
    with pytest.raises(ValueError, match="^sequence 0, step 0 is 9007199254740993, which does not fit into dtype complex128"):
        pad_sequences([[2**53 + 1, 1j]], dtype="complex128")
    assert pad_sequences([[2**53 + 2, 1j]], dtype="complex128").tolist() == [[2**53 + 2, 1j]]
    with pytest.raises(ValueError, match="^sequence 0, step 0 is .*, which does not fit into dtype complex128"):
        pad_sequences([[[2**53 + 1, 1j]]], dtype="complex128")


def test_text_of_any_length_is_text():
    words = np.array(["a", "bcd"], np.dtypes.StringDType())
    assert pad_sequences([words], dtype=object, value="").tolist() == [["a", "bcd"]]
    assert_same(pad_sequences([words], dtype=str, value=""), np.array([["a", "bcd"]]))


WITHOUT_ALL_ELSE = """
import sys
for name in ("ml_dtypes", "keras", "tensorflow", "matplotlib"):
    sys.modules[name] = None  # an import of it raises
from masking_tutorial.padding import pad_sequences

print(pad_sequences([[1], [2, 3]], dtype="float32").tolist())
try:
    pad_sequences([[1]], dtype="bfloat16")
except ValueError as error:
    print(error)
del sys.modules["ml_dtypes"]
print(pad_sequences([[1], [2, 3]], dtype="bfloat16").astype(float).tolist())
"""


def test_padding_needs_numpy_alone_and_finds_other_types_by_name():
    result = subprocess.run([sys.executable, "-c", WITHOUT_ALL_ELSE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    padded, error, again = result.stdout.splitlines()
    assert padded == again == "[[0.0, 1.0], [2.0, 3.0]]"
    assert error.startswith("dtype='bfloat16': NumPy knows no such type; pass 'int32', 'float32', object or the like")


# Sequences of other kinds than lists and arrays.


class ArrowScalar:
    """A stand-in for the scalars of Arrow: what it is in Python only `as_py` knows."""

    def __init__(self, value):
        self.value = value

    def as_py(self):
        return self.value


class ArrowText(ArrowScalar):
    """Arrow's text has a buffer, which NumPy takes for numbers; here an array stands for it."""

    def __array__(self, dtype=None, copy=None):
        return np.frombuffer(self.value.encode(), "uint8").astype(dtype or "uint8")


class ArrowList(ArrowScalar):
    """A list of Arrow as a scalar: of its length, and of scalars."""

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return map(ArrowScalar, self.value)


class ArrowArray:
    """An array of Arrow: NumPy makes NaN of what is missing."""

    def __init__(self, value):
        self.value = value

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return (ArrowList(part) if isinstance(part, list) else ArrowScalar(part) for part in self.value)

    def __array__(self, dtype=None, copy=None):
        return np.array([math.nan if number is None else number for number in self.value], dtype)

    def to_pylist(self):
        return self.value


@pytest.mark.parametrize(
    "sequences",
    [
        ArrowArray([[1], [2, 3]]),
        [ArrowArray([1]), ArrowArray([2, 3])],
        [ArrowList([1]), ArrowList([2, 3])],
        [[ArrowScalar(1)], [ArrowScalar(2), ArrowScalar(3)]],
        [[ArrowScalar(1)], (2, ArrowScalar(3))],
        ArrowList([[1], [2, 3]]),
        {1: [1], 2: [2, 3]}.values(),
        {(1,): 0, (2, 3): 0}.keys(),
        [{1: 0}.keys(), {2: 0, 3: 0}.keys()],
        [{0: 1}.values(), {0: 2, 1: 3}.values()],
        [collections.UserDict({1: 0}).keys(), collections.OrderedDict({2: 0, 3: 0}).keys()],
        [collections.deque([1]), collections.UserList([2, 3])],
        [np.ma.array([1]), memoryview(b"\x02\x03")],
        ([1], bytearray(b"\x02\x03")),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "float32", object])
def test_sequences_of_other_kinds_are_padded_like_lists(sequences, dtype):
    assert pad_sequences(sequences, dtype=dtype).tolist() == [[0, 1], [2, 3]]


def test_the_items_of_a_dict_are_steps_of_two_features():
    assert pad_sequences([{1: 2, 3: 4}.items()]).tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize("dtype", [object, str, bytes])
@pytest.mark.parametrize("nested", [False, True])
def test_text_of_arrow_is_text(dtype, nested):
    sequences = [[ArrowText("so")], [ArrowText("good"), ArrowText("a")]]
    expected = [["", "so"], ["good", "a"]]
    if nested:
        sequences = [[[step, step] for step in sequence] for sequence in sequences]
        expected = [[[word, word] for word in row] for row in expected]
    assert pad_sequences(sequences, dtype=dtype, value="").astype(str).tolist() == expected


def test_arrow_values_are_padded_flat():
    assert pad_flat(ArrowArray([1, 2, 3]), [1, 2], value=ArrowScalar(9)).tolist() == [[9, 1], [2, 3]]
    with pytest.raises(ValueError, match="^sequence 1, step 0 is None, which does not fit into dtype float32"):
        pad_flat(ArrowArray([1, None, 3]), [1, 2], dtype="float32")


class Refusing:
    """A tensor that NumPy may not read, as one that lies on another device."""

    def __len__(self):
        return 2

    def __iter__(self):
        return iter([1, 2])

    def __array__(self, dtype=None, copy=None):
        raise TypeError("it lies elsewhere")


OnlyLength = type("OnlyLength", (), {"__len__": lambda self: 2})


# Bad input.

TWO_RAGGED_AXES = tf.ragged.constant([[[1], [2, 3]], [[4]]])


@pytest.mark.parametrize(
    "sequences, options, message",
    [
        (3, {}, "sequences is 3, of type int: pass a list of sequences"),
        (None, {}, "sequences is None, of type NoneType: pass a list of sequences"),
        ("abc", {}, "sequences is 'abc', of type str: pass a list of sequences"),
        ({1: [2]}, {}, r"sequences is \{1: \[2\]\}, of type dict: pass a list of sequences"),
        (iter([[1]]), {}, "sequences is <.*>, of type list_iterator: pass a list of sequences"),
        ([[1], 2], {}, "sequence 1 is 2, of type int: each sequence must be a list, tuple or array of steps"),
        ([[1], None], {}, "sequence 1 is None, of type NoneType: each sequence must be"),
        ([[1], "two"], {}, "sequence 1 is 'two', of type str: each sequence must be"),
        ([[1], {2}], {}, r"sequence 1 is \{2\}, of type set: each sequence must be"),
        ([np.array(1)], {}, r"sequence 0 is array\(1\), of type ndarray: each sequence must be"),
        ([[1], {2: 3}], {}, r"sequence 1 is \{2: 3\}, of type dict: each sequence must be .*; if its values are meant, pass them"),
        ([[1], collections.UserDict({2: 3})], {}, r"sequence 1 is \{2: 3\}, of type UserDict: each sequence must be"),
        ([[1], MappingProxyType({2: 3})], {}, r"sequence 1 is mappingproxy\(\{2: 3\}\), of type mappingproxy: each sequence"),
        (collections.UserDict({(1, 2): 3}), {}, r"sequences is .*, of type UserDict: pass a list of sequences; if its values"),
        ({(1, 2), (3,)}, {}, "sequences is .*, of type set: pass a list of sequences$"),
        ([[1], frozenset([2])], {}, r"sequence 1 is frozenset\(\{2\}\), of type frozenset: each sequence must be"),
        ([[1], b"two"], {}, "sequence 1 is b'two', of type bytes: each sequence must be"),
        ([[1], collections.UserString("two")], {}, "sequence 1 is 'two', of type UserString: each sequence must be"),
        ([[1], (step for step in [2])], {}, "sequence 1 is <.*>, of type generator: each sequence must be"),
        ([[1], OnlyLength()], {}, "sequence 1 is <.*>, of type OnlyLength: each sequence must be"),
        ([[1], Refusing()], {}, "sequence 1, of type Refusing, cannot be read: it lies elsewhere; pass a list"),
        ([[1], [2, Refusing()]], {}, "sequence 1, step 1, of type Refusing, cannot be read: it lies elsewhere$"),
        ([[1], ArrowScalar(None)], {}, "sequence 1 is None, of type NoneType: each sequence must be"),
        ([[1], [ArrowScalar(None)]], {}, "sequence 1, step 0 is None, which does not fit into dtype int32: None is no number"),
        ([[1], ArrowArray([2, None])], {"dtype": "float32"}, "sequence 1, step 1 is None, which does not fit into dtype float32"),
        ([[1], [[ArrowText("a")]]], {}, r"sequence 1, step 0 has the shape \(1,\)"),
        ([[ArrowText("a")]], {}, "sequence 0, step 0 is 'a', which does not fit into dtype int32: for text, pass dtype=object"),
        ([[1], np.ma.array([2, 3], mask=[0, 1])], {}, "sequence 1 is a masked array in which steps are masked: pass its"),
        ([["a"], ["b", None]], {"dtype": str, "value": ""}, "sequence 1, step 1 is None, which does not fit into dtype <U0: None is no word"),
        ([np.array(["a", None], object)], {"dtype": str, "value": ""}, "sequence 0, step 1 is None, which does not fit into"),
        ([[["a", None]]], {"dtype": bytes, "value": ""}, r"sequence 0, step 0 is \['a', None\], which does not fit into"),
        ([[1]], {"dtype": "int33"}, "dtype='int33': NumPy knows no such type; pass 'int32', 'float32', object or the like"),
        ([[1]], {"dtype": SimpleNamespace(name="bfloat16")}, r"dtype=namespace\(name='bfloat16'\): NumPy knows no such type"),
        ([["a"]], {"dtype": np.dtypes.StringDType(), "value": ""}, "value is '', which does not fit into .*: for text, pass dtype=object"),
        ([[1], [2, None]], {}, "sequence 1, step 1 is None, which does not fit into dtype int32: None is no number"),
        ([[1], ["two", 2]], {}, "sequence 1, step 0 is 'two', which does not fit into dtype int32: for text, pass dtype=object"),
        ([[1], [2j]], {}, "sequence 1, step 0 is 2j, which does not fit into dtype int32: pass"),
        ([[1], [2.5]], {}, "sequence 1, step 0 is 2.5, which does not fit into dtype int32: pass dtype='float32'"),
        ([[1], [math.nan]], {}, "sequence 1, step 0 is nan, which does not fit into dtype int32: pass dtype='float32'"),
        ([[1], [2**31]], {}, "sequence 1, step 0 is 2147483648, which does not fit into dtype int32: pass"),
        ([np.array([1]), np.array([2, 2**31])], {}, "sequence 1, step 1 is 2147483648, which does not fit into dtype int32"),
        ([[[1, 2]], [[3, 4], [5, 0.5]]], {}, r"sequence 1, step 1 is \[5.*, 0.5\], which does not fit into dtype int32"),
        ([["a"], ["bcd"]], {"dtype": "U2", "value": ""}, "sequence 1, step 0 is 'bcd', .*: pass dtype=object, which holds any text$"),
        ([["a"], ["\u00e9"]], {"dtype": bytes, "value": ""}, "sequence 1, step 0 is '\u00e9', which does not fit into dtype |S"),
        ([[1], [[2]]], {}, r"sequence 1, step 0 has the shape \(1,\), but sequence 0, step 0 has \(\): all steps need"),
        ([np.ones((2, 3)), np.ones((1, 2))], {}, r"sequence 1, step 0 has the shape \(2,\), but sequence 0, step 0 has \(3,\)"),
        ([[[1, 2]], [[3, 4], [5]]], {}, r"sequence 1, step 1 has the shape \(1,\), but sequence 0, step 0 has \(2,\)"),
        ([[[1, [2]]]], {}, r"sequence 0, step 0 is \[1, \[2\]\], whose parts have different lengths"),
        (TWO_RAGGED_AXES, {}, "the RaggedTensor is ragged in more than one axis: only the time axis can be padded"),
        ([], {}, r"there are no sequences, so there is no longest one: pass maxlen for an array of shape \(0, maxlen\)"),
        ([[1]], {"maxlen": -1}, "maxlen=-1: it must be an integer, 0 or more"),
        ([[1]], {"maxlen": 2.5}, "maxlen=2.5: it must be an integer, 0 or more"),
        ([[1]], {"maxlen": "2"}, "maxlen='2': it must be an integer, 0 or more"),
        ([[1]], {"padding": "left"}, r"padding='left': choose 'pre' \(before the sequence\) or 'post' \(after it\)"),
        ([[1]], {"truncating": None}, "truncating=None: choose 'pre'"),
        ([[1]], {"value": 0.5}, "value is 0.5, which does not fit into dtype int32: pass dtype='float32'"),
        ([[1]], {"value": "-"}, "value is '-', which does not fit into dtype int32: for text, pass dtype=object"),
        ([[1]], {"value": None}, "value is None, which does not fit into dtype int32"),
        ([["a"]], {"dtype": str}, "value is 0.0, which does not fit into dtype <U0: pass a str as value$"),
    ],
)
def test_padding_refuses(sequences, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        pad_sequences(sequences, **options)


@pytest.mark.parametrize(
    "sequence, truncating, place",
    [([1, 2, 3, None, 5], "pre", 3), ([1, None, 3, 4, 5], "post", 1), (np.array([1.0, 2, 3, 0.5, 5]), "pre", 3)],
)
def test_the_step_that_is_named_counts_from_the_start_of_the_uncut_sequence(sequence, truncating, place):
    with pytest.raises(ValueError, match=f"^sequence 1, step {place} is "):
        pad_sequences([[1, 2], sequence], maxlen=3, truncating=truncating)


@pytest.mark.parametrize("truncating, kept", [("pre", [2, 3]), ("post", [1, 2])])
def test_what_is_cut_off_is_not_looked_at(truncating, kept):
    sequence = [None, 2, 3] if truncating == "pre" else [1, 2, None]
    assert pad_sequences([sequence], maxlen=2, truncating=truncating).tolist() == [kept]


def test_padding_leaves_its_input_as_it_was():
    sequences = [[1, 2, 3], np.array([4])]
    pad_sequences(sequences, maxlen=2)
    assert sequences[0] == [1, 2, 3] and sequences[1].tolist() == [4]


@pytest.mark.parametrize(
    "padded, lengths, padding, message",
    [
        ([1, 2], [1, 1], "pre", r"padded has the shape \(2,\): it must be \(sequences, steps\)"),
        ([[1, 2]], [1, 1], "pre", r"lengths has the shape \(2,\) and dtype int64: it must hold one integer for each of the 1 "),
        ([[1, 2]], 1, "pre", r"lengths has the shape \(\) and dtype int64: it must hold one integer"),
        ([[1, 2]], [1.0], "pre", r"lengths has the shape \(1,\) and dtype float64: it must hold one integer"),
        ([[1, 2], [3, 4]], [1, 3], "pre", "sequence 1 has the length 3, but there are 2 steps"),
        ([[1, 2], [3, 4]], [-1, 2], "pre", "sequence 0 has the length -1, but there are 2 steps"),
        ([[1, 2]], [1], "right", "padding='right': choose 'pre'"),
    ],
)
def test_unpadding_refuses(padded, lengths, padding, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        unpad(padded, lengths, padding)


@pytest.mark.parametrize(
    "lengths, batch_size, message",
    [
        ([], None, r"lengths is \[\]: it must be a list of integers, 0 or more, and not empty"),
        (5, None, "lengths is 5: it must be a list of integers"),
        ([1.5], None, r"lengths is \[1.5\]: it must be a list of integers"),
        ([2, -1], None, r"lengths is \[2, -1\]: it must be a list of integers, 0 or more"),
        ([1], 0, "batch_size=0: a batch has at least one sequence"),
        ([1], -1, "batch_size=-1: it must be an integer"),
        ([1], 1.5, "batch_size=1.5: it must be an integer"),
    ],
)
def test_waste_refuses(lengths, batch_size, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        padding_waste(lengths, batch_size)


def test_words_are_not_padded_with_a_number_by_default():
    with pytest.raises(ValueError, match=r"^value=0\.0 would stand among words: pass a str, such as value=''$"):
        pad_sequences([["so", "good"], ["tepid"]], dtype=object)
