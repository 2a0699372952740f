"""Padding against Keras' own, against Python's exact numbers, and against its inverse."""

import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masking_tutorial.padding import pad_flat, pad_sequences, padding_waste, unpad

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
        pad_flat(np.concatenate(sequences), [len(one) for one in sequences], dtype="float32", **options),
        pad_sequences(sequences, dtype="float32", **options),
    )


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
        ([1], [1], {"value": 0.5}, "value is 0.5, which does not fit into dtype int32"),
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
        distances = [abs(Fraction(float(one)) - Fraction(value)) for one in [stored, *nearby] if np.isfinite(one)]
        assert distances[0] == min(distances)
    else:
        assert stored.item() == value


def limits_of(dtype):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    return [int(limits.min), int(limits.max)]


powers = [sign * 2**exponent for sign in (-1, 1) for exponent in (8, 11, 16, 24, 31, 32, 53, 63, 64, 65, 128)]
edges = sorted({0, *powers, *(limit for dtype in INTEGER_DTYPES + FLOAT_DTYPES for limit in limits_of(dtype))})
integers = st.builds(int.__add__, st.sampled_from(edges), st.integers(-2, 2)).filter(lambda one: abs(one) < 2**1000)
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
        ([[1], [2, None]], {}, "sequence 1, step 1 is None, which does not fit into dtype int32: None is no number"),
        ([[1], ["two", 2]], {}, "sequence 1, step 0 is 'two', which does not fit into dtype int32: for text, pass dtype=object"),
        ([[1], [2j]], {}, "sequence 1, step 0 is 2j, which does not fit into dtype int32: pass"),
        ([[1], [2.5]], {}, "sequence 1, step 0 is 2.5, which does not fit into dtype int32: pass dtype='float32'"),
        ([[1], [math.nan]], {}, "sequence 1, step 0 is nan, which does not fit into dtype int32: pass dtype='float32'"),
        ([[1], [2**31]], {}, "sequence 1, step 0 is 2147483648, which does not fit into dtype int32: pass"),
        ([np.array([1]), np.array([2, 2**31])], {}, "sequence 1, step 1 is 2147483648, which does not fit into dtype int32"),
        ([[[1, 2]], [[3, 4], [5, 0.5]]], {}, r"sequence 1, step 1 is \[5.*, 0.5\], which does not fit into dtype int32"),
        ([["a"], ["bcd"]], {"dtype": "U2", "value": ""}, "sequence 1, step 0 is 'bcd', which does not fit into dtype <U2"),
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
        ([["a"]], {"dtype": str}, "value is 0.0, which does not fit into dtype <U0: pass"),
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
