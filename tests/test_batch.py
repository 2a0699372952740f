"""The module `batch`: how a padded batch is put together anew, and what tells which of its steps are valid."""

import types
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from masking_tutorial.batch import (
    Axis,
    Batch,
    as_array,
    check_ids,
    choose_rows,
    is_float,
    is_told,
    make_batch,
    random_like,
    read_batch,
    take_apart,
)

IDS = np.array([[3, 7, 9, -1], [4, 8, -1, -1], [1, 6, 2, 5]])
LENGTHS = np.array([3, 2, 4])
POST, PRE = Axis((0,), LENGTHS, 4, "post", "told"), Axis((0,), LENGTHS, 4, "pre", "told")
ZEROS = np.array([[3, 7, 9, 0], [4, 8, 0, 0], [1, 6, 2, 5]])
FRONT = np.array([[0, 3, 7, 9], [0, 0, 4, 8], [1, 6, 2, 5]])
ONES = (ZEROS != 0).astype(int)


def same(inputs):
    return inputs


class Taking:
    "A function that knows its inputs, as a Functional model does."

    def __init__(self, *inputs, call=same, structure=None):
        self.inputs, self.input, self.call = list(inputs), inputs[0] if structure is None else structure, call

    def __call__(self, inputs):
        return self.call(inputs)


class Maker(layers.Layer):
    "Makes the mask that it is told to make."

    def __init__(self, mask, name="maker"):
        super().__init__(name=name, autocast=False)
        self.mask, self.supports_masking = mask, True

    def call(self, inputs):
        return ops.copy(inputs)

    def compute_mask(self, inputs, mask=None):
        return ops.convert_to_tensor(self.mask)


def read(model, batch, **options):
    return read_batch(model, batch, **options)[0]


def axes_of(batch):
    "The axes in short: names of the inputs, lengths, side and how it was found out."
    return [([batch.names[n] for n in axis.inputs], axis.lengths.tolist(), axis.side, axis.how) for axis in batch.axes]


# An axis.


def test_padding_stands_after_the_valid_steps_of_a_post_axis():
    assert POST.valid.astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]


def test_padding_stands_before_the_valid_steps_of_a_pre_axis():
    assert PRE.valid.astype(int).tolist() == [[0, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    "axis, row, steps, span",
    [(POST, 0, 4, (0, 3)), (POST, 1, 6, (0, 2)), (POST, 2, 4, (0, 4)), (PRE, 0, 4, (1, 4)), (PRE, 1, 6, (4, 6)), (PRE, 2, 4, (0, 4))],
)
def test_a_span_holds_the_valid_steps(axis, row, steps, span):
    assert axis.span(row, steps) == slice(*span)


# A batch, and how it is arranged.

ALONE = Batch(IDS, ("ids",), (IDS,), (POST,), (), ())
KINDS = np.array([[10], [20], [30]])
BESIDE = Batch([IDS, IDS >= 0, KINDS], ("ids", "mask", "kind"), (IDS, IDS >= 0, KINDS),
               (Axis((0, 1), LENGTHS, 4, "post", "told"),), (1,), ())  # fmt: skip
TEXT, REPLY = np.array([[1, 2, 0], [3, 0, 0]]), np.array([[0, 5], [6, 7]])
TWO = Batch([TEXT, REPLY], ("text", "reply"), (TEXT, REPLY),
            (Axis((0,), np.array([2, 1]), 3, "post", "told"), Axis((1,), np.array([1, 2]), 2, "pre", "told")), (), ())  # fmt: skip


def test_a_batch_has_as_many_rows_as_sequences():
    assert BESIDE.rows == 3


def test_a_sequence_is_empty_without_a_valid_step_on_one_axis():
    axes = (Axis((0,), np.array([2, 0, 1]), 3, "post", ""), Axis((1,), np.array([1, 2, 0]), 2, "post", ""))
    assert Batch([], ("a", "b"), (np.zeros((3, 3)), np.zeros((3, 2))), axes, (), ()).empty == [1, 2]


def test_no_sequence_is_empty_where_all_have_steps():
    assert BESIDE.empty == []


@pytest.mark.parametrize("rows, more, steps", [([0, 1], 0, 4), ([0, 1], 3, 7), ([0, 1], None, 3), ([1], None, 2), ([1, 2], None, 4)])
def test_an_axis_has_its_steps_and_more_or_those_of_the_longest(rows, more, steps):
    assert ALONE.steps(POST, rows, more) == steps


def test_no_steps_are_added_unless_asked_for():
    assert ALONE.steps(POST, [1]) == 4


def test_the_filler_is_what_stands_at_the_first_padded_step():
    ids = np.array([[3, 7, 8], [4, 11, 12]])
    assert Batch(ids, ("ids",), (ids,), (Axis((0,), np.array([3, 1]), 3, "post", ""),), (), ()).filler(0, Axis((0,), np.array([3, 1]), 3, "post", "")) == 11


@pytest.mark.parametrize(
    "structure, packed", [({"a": 0, "b": 0}, {"a": 5, "b": 6}), ([0, 0], [5, 6]), ((0, 0), (5, 6)), (np.zeros(1), 5)]
)
def test_arrays_are_packed_as_the_model_takes_them(structure, packed):
    assert Batch(structure, (), (), (), (), ()).packed([5, 6]) == packed


@pytest.mark.parametrize(
    "rows, options, arranged",
    [
        ([0, 1, 2], {}, IDS.tolist()),
        ([2, 0], {}, [[1, 6, 2, 5], [3, 7, 9, -1]]),
        ([1, 1], {}, [[4, 8, -1, -1], [4, 8, -1, -1]]),
        ([1], {"more": 1}, [[4, 8, -1, -1, -1]]),
        ([1], {"more": None}, [[4, 8]]),
        ([1, 0], {"more": None}, [[4, 8, -1], [3, 7, 9]]),
        ([0, 1], {"side": "pre"}, [[-1, 3, 7, 9], [-1, -1, 4, 8]]),
        ([0, 1], {"side": "pre", "more": 1}, [[-1, -1, 3, 7, 9], [-1, -1, -1, 4, 8]]),
        ([0, 1], {"side": "post", "more": None}, [[3, 7, 9], [4, 8, -1]]),
    ],
)
def test_sequences_are_put_together_with_other_padding(rows, options, arranged):
    assert ALONE.arrange(rows, **options).tolist() == arranged


def test_padding_in_front_is_taken_away_in_front():
    ids = np.array([[-1, 3, 7, 9], [-1, -1, 4, 8], [1, 6, 2, 5]])
    batch = Batch(ids, ("ids",), (ids,), (PRE,), (), ())
    assert batch.arrange([0, 1], more=None).tolist() == [[3, 7, 9], [-1, 4, 8]]
    assert batch.arrange([1], side="post").tolist() == [[4, 8, -1, -1]]


def test_an_iterator_of_rows_serves_all_inputs():
    arranged = BESIDE.arrange(iter([1]))
    assert [leaf.tolist() for leaf in arranged] == [[[4, 8, -1, -1]], [[True, True, False, False]], [[20]]]


def test_the_mask_and_what_has_no_steps_go_along():
    ids, mask, kind = BESIDE.arrange([2, 1], more=1)
    assert mask.tolist() == [[True] * 4 + [False], [True, True, False, False, False]]
    assert kind.tolist() == [[30], [20]] and mask.dtype == bool and ids.dtype == IDS.dtype


def test_vectors_are_padded_step_by_step():
    values = np.array([[[1, 2], [3, 4]], [[5, 6], [0, 9]]], "float32")
    batch = Batch(values, ("x",), (values,), (Axis((0,), np.array([2, 1]), 2, "post", ""),), (), ())
    arranged = batch.arrange([1, 0], more=1)
    assert arranged.tolist() == [[[5, 6], [0, 9], [0, 9]], [[1, 2], [3, 4], [0, 9]]] and arranged.dtype == "float32"


def test_garbage_stands_at_padded_steps_of_all_but_masks():
    ids, mask, _ = BESIDE.arrange([0, 1], more=1, garbage=lambda values, count: np.arange(100, 100 + count))
    assert ids.tolist() == [[3, 7, 9, 100, 101], [4, 8, 102, 103, 104]]
    assert mask.sum() == 5


def test_garbage_is_made_from_the_valid_values_of_all_sequences():
    asked = []
    ALONE.arrange([0, 1], garbage=lambda values, count: asked.append((values.tolist(), count)) or np.zeros(count))
    assert asked == [([3, 7, 9, 4, 8, 1, 6, 2, 5], 3)]


def test_only_the_inputs_that_are_named_get_garbage():
    def ones_of(values, count):
        return np.ones(count, values.dtype)

    ids, mask, _ = BESIDE.arrange([1], garbage=ones_of, only=[1])
    assert ids.tolist() == [[4, 8, -1, -1]] and mask.all()
    ids, mask, _ = BESIDE.arrange([1], garbage=ones_of, only=[])
    assert ids.tolist() == [[4, 8, -1, -1]] and mask.sum() == 2
    ids, mask, _ = BESIDE.arrange([1], garbage=ones_of, only={0})
    assert ids.tolist() == [[4, 8, 1, 1]] and mask.sum() == 2


def test_all_axes_are_varied_unless_some_are_named():
    text, reply = TWO.arrange([0, 1], more=1)
    assert text.tolist() == [[1, 2, 0, 0], [3, 0, 0, 0]] and reply.tolist() == [[0, 0, 5], [0, 6, 7]]


@pytest.mark.parametrize(
    "vary, text, reply",
    [
        (0, [[1, 2, 0, 0], [3, 0, 0, 0]], [[0, 5], [6, 7]]),
        (1, [[1, 2, 0], [3, 0, 0]], [[5, 0, 0], [6, 7, 0]]),
    ],
)
def test_only_the_axes_that_are_named_are_varied(vary, text, reply):
    arranged = TWO.arrange([0, 1], more=1, side="post", vary=[TWO.axes[vary]])
    assert [leaf.tolist() for leaf in arranged] == [text, reply]


def test_an_axis_that_is_not_varied_keeps_its_padding():
    text, reply = TWO.arrange([1], more=None, vary=[TWO.axes[0]])
    assert text.tolist() == [[3]] and reply.tolist() == [[6, 7]]
    assert TWO.arrange([0], more=None, vary=[TWO.axes[0]])[1].tolist() == [[0, 5]]


def test_an_axis_that_is_not_varied_keeps_its_side():
    text, reply = TWO.arrange([0, 1], side="pre", vary=[TWO.axes[1]])
    assert text.tolist() == TEXT.tolist() and reply.tolist() == REPLY.tolist()


def test_strangers_stand_at_the_valid_steps_of_all_but_the_first():
    asked = []

    def strangers(values, count):
        asked.append((values.tolist(), count))
        return np.arange(50, 50 + count)

    ids, mask, kind = BESIDE.arrange([0, 1, 2], strangers=strangers)
    assert ids.tolist() == [[3, 7, 9, -1], [50, 51, -1, -1], [52, 53, 54, 55]]
    assert asked == [([3, 7, 9, 4, 8, 1, 6, 2, 5], 6)]
    assert mask.sum() == 9 and kind.tolist() == KINDS.tolist()


def test_the_first_is_the_first_that_is_asked_for():
    arranged = ALONE.arrange([1, 0], strangers=lambda values, count: np.arange(50, 50 + count))
    assert arranged.tolist() == [[4, 8, -1, -1], [50, 51, 52, -1]]


# Inputs with several time axes.

EDGES = np.array([[[1, 2, 0], [3, 4, 0], [0, 0, 0]], [[5, 0, 0], [0, 0, 0], [0, 0, 0]]])
GRAPH_AXIS = Axis((0,), np.array([2, 1]), 3, "post", "told")
GRAPH = Batch(EDGES, ("edges",), (EDGES,), (GRAPH_AXIS,), (), (), (), {0: {2: GRAPH_AXIS}})


@pytest.mark.parametrize(
    "rows, options, arranged",
    [
        ([0, 1], {}, EDGES.tolist()),
        ([1, 0], {"more": None}, [[[5, 0], [0, 0]], [[1, 2], [3, 4]]]),
        ([1], {"more": None}, [[[5]]]),
        ([1, 1], {"more": None}, [[[5]], [[5]]]),
        ([0], {"more": 1}, [[[1, 2, 0, 0], [3, 4, 0, 0], [0] * 4, [0] * 4]]),
        ([0], {"side": "pre"}, [[[0, 0, 0], [0, 1, 2], [0, 3, 4]]]),
        ([0], {"side": "pre", "more": 1}, [[[0] * 4, [0] * 4, [0, 0, 1, 2], [0, 0, 3, 4]]]),
        ([0], {"side": "pre", "more": 1, "vary": []}, [EDGES[0].tolist()]),
        ([0], {"more": None, "vary": [GRAPH_AXIS]}, [[[1, 2], [3, 4]]]),
        ([1], {"more": None, "vary": []}, [EDGES[1].tolist()]),
    ],
)
def test_steps_by_steps_are_padded_on_both_axes(rows, options, arranged):
    assert GRAPH.arrange(rows, **options).tolist() == arranged


def test_a_sequence_without_padding_borrows_the_filler_of_the_first_that_has_some():
    edges = np.array([[[1, 2], [3, 4]], [[5, 7], [7, 7]], [[6, 8], [8, 8]]])
    axis = Axis((0,), np.array([2, 1, 1]), 2, "post", "")
    batch = Batch(edges, ("edges",), (edges,), (axis,), (), (), (), {0: {2: axis}})
    assert batch.arrange([0], more=1).tolist() == [[[1, 2, 7], [3, 4, 7], [7, 7, 7]]]
    assert batch.arrange([2, 0], more=1).tolist()[0] == [[6, 8, 8], [8, 8, 8], [8, 8, 8]]


def test_an_axis_that_stands_third_alone_leaves_the_second_as_it_is():
    values = np.array([[[1, 2, 0], [3, 4, 0]], [[0, 0, 5], [0, 0, 6]]])
    heads = Batch(values, ("mask",), (values,), (), (), (), (), {0: {2: Axis((), np.array([2, 1]), 3, "post", "")}})
    assert heads.arrange([0], more=None).tolist() == [[[1, 2], [3, 4]]]


def test_padding_in_front_on_both_axes():
    edges = np.flip(EDGES, (1, 2))
    axis = Axis((0,), np.array([2, 1]), 3, "pre", "")
    batch = Batch(edges, ("edges",), (edges,), (axis,), (), (), (), {0: {2: axis}})
    assert batch.arrange([0], more=None).tolist() == [[[4, 3], [2, 1]]]
    assert batch.arrange([1], more=1).tolist() == [[[0] * 4, [0] * 4, [0] * 4, [0, 0, 0, 5]]]
    assert batch.arrange([1], side="post").tolist() == [[[5, 0, 0], [0, 0, 0], [0, 0, 0]]]


def test_two_axes_of_one_input_have_lengths_of_their_own():
    leaf = np.array([[[1, 2, 0], [0, 0, 0]], [[3, 0, 0], [4, 0, 0]]])
    rows, columns = Axis((0,), np.array([1, 2]), 2, "post", ""), Axis((1,), np.array([2, 1]), 3, "post", "")
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    batch = Batch([leaf, ids], ("cross", "ids"), (leaf, ids), (rows, columns), (), (), (), {0: {2: columns}})
    assert [array.tolist() for array in batch.arrange([0], more=None)] == [[[[1, 2]]], [[1, 2]]]
    assert [array.tolist() for array in batch.arrange([1], more=None)] == [[[[3], [4]]], [[3]]]
    cross, ids = batch.arrange([0], more=1, vary=[columns])
    assert cross.tolist() == [[[1, 2, 0, 0], [0, 0, 0, 0]]] and ids.tolist() == [[1, 2, 0, 0]]


# Garbage.


@pytest.mark.parametrize("seed", [0, 1])
def test_ids_are_drawn_from_ids_that_occur(seed):
    drawn = random_like(np.array([3, 7, 9]), 50, np.random.default_rng(seed))
    assert set(drawn.tolist()) == {3, 7, 9} and len(drawn) == 50


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool"])
def test_what_is_drawn_is_of_the_same_kind(dtype):
    drawn = random_like(np.ones((2, 3), dtype), 4, np.random.default_rng(0))
    assert drawn.shape == (4, 3) and drawn.dtype == dtype


def test_without_valid_steps_zeros_are_drawn():
    drawn = random_like(np.ones((0, 3), "int32"), 2, np.random.default_rng(0))
    assert drawn.tolist() == [[0, 0, 0]] * 2 and drawn.dtype == "int32"


@pytest.mark.parametrize(
    "values, scale",
    [([1.0, -2.0], 20), ([0.0, 0.0], 10), ([3.0, np.nan], 30), ([3.0, -np.inf], 30), ([1e3, 0.0], 1e4), ([1e9, 0.0], 1e4), ([np.nan], 10)],
)
def test_floats_are_ten_times_as_large_and_never_without_bound(values, scale):
    drawn = random_like(np.array(values), 5, np.random.default_rng(0))
    random = np.random.default_rng(0)
    random.integers(0, len(values), 5)
    np.testing.assert_allclose(drawn, random.normal(size=5) * scale)


@pytest.mark.parametrize(
    "dtype, answer",
    [(np.dtype("float32"), True), ("float16", True), (tf.bfloat16.as_numpy_dtype(0).dtype, True), ("bfloat16", True),
     (np.dtype("int32"), False), (np.dtype(bool), False), ("string", False), (tf.float32, True)],
)  # fmt: skip
def test_floats_are_told_by_the_name_of_their_type(dtype, answer):
    assert is_float(dtype) is answer


# Which sequences tell most.


def lengths_batch(*lengths, steps=10):
    axes = tuple(Axis((n,), np.array(of_axis), steps, "post", "") for n, of_axis in enumerate(lengths))
    return Batch([], (), (np.zeros((len(lengths[0]), steps)),), axes, (), ())


@pytest.mark.parametrize(
    "lengths, most, rows",
    [
        ([4, 8, 3], 2, [1, 2]),  # the longest first, then the one with other remainders
        ([8, 4, 3], 1, [0, 1]),  # two at least
        ([8, 8, 3, 3], 4, [0, 2]),  # of each length the first
        ([8, 8, 8], 4, [0, 1]),
        ([0, 8, 8], 4, [1, 2]),
        ([0, 8], 4, [1]),
        ([10, 9, 8, 1], 2, [1, 2]),  # full and of one step: they tell least
        ([10, 9, 1], 2, [0, 1]),
        ([10, 9, 1], 3, [0, 1, 2]),
        ([1, 10], 1, [0, 1]),
        ([1, 10], 2, [0, 1]),
        ([6, 2, 4, 5], 3, [0, 2, 3]),
        ([6, 8, 7, 2], 2, [1, 2]),
    ],
)
def test_sequences_of_different_lengths_are_chosen(lengths, most, rows):
    assert choose_rows(lengths_batch(lengths), most) == rows


def test_a_sequence_is_full_only_if_it_is_full_on_all_axes():
    assert choose_rows(lengths_batch([10, 10, 2], [10, 9, 2]), 2) == [1, 2]


def test_a_sequence_of_one_step_on_one_axis_tells_little():
    assert choose_rows(lengths_batch([9, 5, 6], [1, 5, 6]), 2) == [1, 2]


# Whether a model is told what is padding.


@pytest.mark.parametrize(
    "beside, told",
    [
        (LENGTHS, True),
        (LENGTHS[:, None], True),
        (LENGTHS.astype("float32"), True),
        (LENGTHS.astype("uint8"), True),
        (LENGTHS + 1, False),
        (LENGTHS.astype("U1"), False),
        (np.stack([LENGTHS, LENGTHS], 1), False),
    ],
)
def test_a_model_is_told_by_lengths_among_its_inputs(beside, told):
    assert is_told(Batch([IDS, beside], ("ids", "beside"), (IDS, beside), (POST,), (), ()), POST) is told


def test_a_model_is_told_by_a_mask_of_the_axis():
    assert is_told(BESIDE, BESIDE.axes[0]) is True


def test_a_mask_of_another_axis_tells_nothing():
    assert is_told(Batch([TEXT, REPLY], ("text", "mask"), (TEXT, REPLY), TWO.axes, (1,), ()), TWO.axes[0]) is False


def test_an_input_with_steps_of_its_own_is_no_list_of_lengths():
    column = np.array([[2], [1]])
    axes = (TWO.axes[0], Axis((1,), np.array([1, 0]), 1, "post", ""))
    assert is_told(Batch([TEXT, column], ("text", "column"), (TEXT, column), axes, (), ()), axes[0]) is False


def test_flags_are_no_lengths():
    axis, flags = Axis((0,), np.array([1, 1]), 2, "post", ""), np.array([True, True])
    assert is_told(Batch([REPLY, flags], ("ids", "flags"), (REPLY, flags), (axis,), (), ()), axis) is False


# What people have.


def test_a_data_set_gives_inputs_targets_and_weights():
    data = tf.data.Dataset.from_tensors((np.ones((2, 3)), np.zeros(2), np.full(2, 5)))
    inputs, targets, weights, lengths = take_apart(None, data)
    assert inputs.shape == (2, 3) and ops.convert_to_numpy(targets).tolist() == [0, 0] and ops.convert_to_numpy(weights).tolist() == [5, 5]
    assert lengths is None


@pytest.mark.parametrize("given, told", [(("x",), ("x", None, None)), (("x", "y"), ("x", "y", None)), (("x", "y", "w"), ("x", "y", "w"))])
def test_a_tuple_of_a_data_set_is_taken_apart(given, told):
    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, number):
            return given if number == 0 else "another"

    assert take_apart(None, Data()) == (*told, None)


def test_a_data_set_without_targets_gives_its_inputs():
    inputs, targets, *_ = take_apart(None, tf.data.Dataset.from_tensors(np.ones((2, 3))))
    assert inputs.shape == (2, 3) and targets is None


def test_a_tuple_of_four_is_refused():
    with pytest.raises(ValueError, match=r"^the batch is a tuple of 4: a data set gives \(x,\), \(x, y\) or \(x, y, sample_weight\)$"):
        take_apart(None, tf.data.Dataset.from_tensors((1, 2, 3, 4)))


def test_an_empty_data_set_gives_no_batch():
    with pytest.raises(ValueError, match="^no batch can be read from the data set: StopIteration: "):
        take_apart(None, tf.data.Dataset.from_tensors(1).take(0))


@pytest.mark.parametrize(
    "count, batch, told",
    [
        (1, ("x", "y"), ("x", "y", None)),
        (1, ("x", "y", "w"), ("x", "y", "w")),
        (2, ("x", "y"), (("x", "y"), None, None)),
        (2, (["a", "b"], "y"), (["a", "b"], "y", None)),
        (2, ("x", ["a", "b"]), (("x", ["a", "b"]), None, None)),
        (1, ("x",), (("x",), None, None)),
        (1, ("x", "y", "w", "v"), (("x", "y", "w", "v"), None, None)),
        (3, ("x", "y", "w"), (("x", "y", "w"), None, None)),
        (0, ("x", "y"), (("x", "y"), None, None)),
    ],
)
def test_the_model_tells_targets_from_inputs(count, batch, told):
    assert take_apart(SimpleNamespace(inputs=[None] * count), batch) == (*told, None)


def test_a_function_takes_all_of_a_tuple():
    assert take_apart(same, ("x", "y")) == (("x", "y"), None, None, None)


def test_a_list_is_never_inputs_and_targets():
    assert take_apart(SimpleNamespace(inputs=[None]), ["x", "y"]) == (["x", "y"], None, None, None)


def test_a_mapping_becomes_a_dict():
    from collections import OrderedDict

    inputs, *_ = take_apart(None, OrderedDict(a=1))
    assert type(inputs) is dict and inputs == {"a": 1}


def test_a_ragged_tensor_is_padded_and_tells_its_lengths():
    inputs, _, _, lengths = take_apart(None, tf.ragged.constant([[3, 7, 9], [4, 8]]))
    assert inputs.tolist() == [[3, 7, 9], [4, 8, 0]] and lengths.tolist() == [3, 2]


def test_a_ragged_tensor_keeps_its_targets():
    model = SimpleNamespace(inputs=[None])
    _, targets, weights, _ = take_apart(model, (tf.ragged.constant([[1], [2, 3]]), "y", "w"))
    assert (targets, weights) == ("y", "w")


def test_ragged_tensors_among_inputs_tell_their_lengths_by_place():
    inputs, _, _, lengths = take_apart(None, {"a": {"b": tf.ragged.constant([[1], [2, 3]])}, "c": 5})
    assert inputs["a"]["b"].tolist() == [[1, 0], [2, 3]] and inputs["c"] == 5
    assert {key: value.tolist() for key, value in lengths.items()} == {"a/b": [1, 2]}


def test_lengths_of_a_ragged_tensor_give_way_to_those_of_the_caller():
    ragged = tf.ragged.constant([[3, 7, 9], [4, 8]])
    assert axes_of(read(same, ragged)) == [(["the batch"], [3, 2], "post", "from lengths")]
    assert axes_of(read(same, ragged, lengths=[3, 1])) == [(["the batch"], [3, 1], "post", "from lengths")]


@pytest.mark.parametrize("leaf", [[1, 2], tf.constant([1, 2]), np.array([1, 2])])
def test_an_input_becomes_an_array(leaf):
    array = as_array(leaf, "ids")
    assert isinstance(array, np.ndarray) and array.tolist() == [1, 2]


@pytest.mark.parametrize("leaf", [["a", "b"], np.array(["a", b"b"], object)])
def test_texts_may_be_objects(leaf):
    assert as_array(leaf, "texts").tolist()[0] == "a"


def test_lists_that_are_not_padded_are_refused():
    with pytest.raises(ValueError, match=r"^input words is no array: .* \(pad a list of sequences first, with pad_sequences\)$"):
        as_array([[3, 7, 9], [4, 8]], "words")


def test_objects_are_refused():
    with pytest.raises(ValueError, match="^input words holds objects of type list, which are no numbers: pad a list of sequences first, with pad_sequences$"):
        as_array(np.array([[3, 7, 9], [4, 8]], object), "words")


def test_one_object_among_texts_is_refused():
    with pytest.raises(ValueError, match="^input texts holds objects of type .*, which are no numbers"):
        as_array(np.array(["a", None], object), "texts")


class Unreadable:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("no\n  values " + "x" * 200)


def test_the_error_of_what_is_no_array_is_short_and_in_one_line():
    with pytest.raises(ValueError, match="input") as raised:
        as_array(Unreadable(), "ids")
    assert str(raised.value) == "input ids is no array: no values " + "x" * 140 + " (pad a list of sequences first, with pad_sequences)"


# Ids that an embedding does not know.


def embedding_run(ids, **layer):
    layer = SimpleNamespace(**{"input_dim": 10, "output_dim": 2, **layer})
    return SimpleNamespace(calls={0: SimpleNamespace(layer=layer, inputs=(ops.convert_to_tensor(ids),), name="embedding")})


@pytest.mark.parametrize("ids, worst", [([0, 10], 10), ([-11, 3], -11), ([-20, 12], 12), ([0.0, 10.0], 10)])
def test_an_id_out_of_range_is_refused(ids, worst):
    with pytest.raises(ValueError, match=f"^the batch holds the id {worst}, but layer 'embedding' knows the ids 0 to 9 only$"):
        check_ids(embedding_run(ids))


@pytest.mark.parametrize(
    "ids, layer",
    [([0, 9], {}), ([-10, 9], {}), ([0.5, 99.0], {}), (np.zeros((0,)), {}), ([99], {"input_dim": None}), ([99], {"input_dim": (3, 4)})],
)
def test_what_an_embedding_knows_is_let_through(ids, layer):
    assert check_ids(embedding_run(ids, **layer)) is None


@pytest.mark.parametrize(
    "call",
    [
        SimpleNamespace(layer=SimpleNamespace(input_dim=3), inputs=(ops.convert_to_tensor([9]),), name="dense"),
        SimpleNamespace(layer=SimpleNamespace(input_dim=3, output_dim=3), inputs=(), name="none"),
        SimpleNamespace(layer=SimpleNamespace(input_dim=3, output_dim=3), inputs=(object(),), name="symbolic"),
        SimpleNamespace(layer=None, inputs=(ops.convert_to_tensor([9]),), name="operation"),
    ],
)
def test_what_is_no_embedding_of_values_is_let_through_and_the_next_is_checked(call):
    run = embedding_run([10])
    with pytest.raises(ValueError, match="the id 10"):
        check_ids(SimpleNamespace(calls={0: call, 1: run.calls[0]}))
    assert check_ids(SimpleNamespace(calls={0: call})) is None


def test_a_batch_with_an_unknown_id_is_refused():
    with pytest.raises(ValueError, match="the batch holds the id 9, but layer 'words' knows the ids 0 to 4 only"):
        read(layers.Embedding(5, 2, name="words"), ZEROS)


# What a batch must be.


@pytest.mark.parametrize("batch", [["some text", "text"], np.array([["some text"], ["text"]]), np.array(["a", "b"], object),
                                   np.array([b"a", b"b"]), {"ids": ZEROS[:2], "text": np.array([["a"], ["b"]])}])  # fmt: skip
def test_a_model_of_texts_is_tested_behind_its_vectorization(batch):
    batch = np.array(batch) if isinstance(batch, list) else batch
    with pytest.raises(ValueError, match=r"^the model takes text, which has no padding yet: test what comes after the TextVectorization, "
                       r"on the ids that it gives: check_padding\(keras.Sequential\(model.layers\[1:\]\), model.layers\[0\]\(texts\)\)$"):  # fmt: skip
        read(same, batch)


def test_words_that_are_padded_with_nothing_are_no_text():
    assert axes_of(read(same, np.array([["a", "b"], ["c", ""]]))) == [(["the batch"], [2, 1], "post", "from zeros at one end")]


@pytest.mark.parametrize("batch, shapes", [([np.ones((2, 3)), np.ones((3, 3))], r"\[\(2, 3\), \(3, 3\)\]"), (np.float32(3), r"\[\(\)\]"),
                                           ([np.ones((n, 1)) for n in range(1, 8)], r"\[\(1, 1\), \(2, 1\), \(3, 1\), \(4, 1\), \(5, 1\), \(6, 1\)\]")])  # fmt: skip
def test_all_inputs_hold_as_many_sequences(batch, shapes):
    with pytest.raises(ValueError, match=f"^the inputs have the shapes {shapes}: the first axis of each must be the batch, of one size "
                       r"\(a list means several inputs; pad a list of sequences first, with pad_sequences\)$"):  # fmt: skip
        read(same, batch)


@pytest.mark.parametrize("batch", [np.ones(3), [np.ones(3), np.zeros(3)]])
def test_a_batch_without_steps_is_refused(batch):
    with pytest.raises(ValueError, match=r"^no input has a time axis, so there is no padding: a batch is \(batch, time\) or \(batch, time, size\)$"):
        read(same, batch)


@pytest.mark.parametrize("batch, said", [(ZEROS[:1], "1 sequences and 1 padded steps"), (ZEROS[2:], "1 sequences and 0 padded steps"),
                                         (ZEROS[[2, 2]], "2 sequences and 0 padded steps"), (ZEROS[1:2], "1 sequences and 2 padded steps")])  # fmt: skip
def test_one_sequence_or_no_padding_is_not_enough(batch, said):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        read(same, batch)
    assert str(raised.value) == (
        f"the batch has {said}: at least two sequences and some padding are needed, or nothing can be learnt (without a mask, zeros at one "
        "end count as padding; if yours holds something else, pass lengths=, and side='pre' if it stands before the data)")


def test_two_sequences_and_one_padded_step_are_enough():
    assert read(same, ZEROS[[0, 2]]).axes[0].lengths.tolist() == [3, 4]


# Names.


@pytest.mark.parametrize("name", ["b/c", 1, "1", "words"])
def test_an_input_goes_by_its_key_its_place_and_the_name_of_its_spec(name):
    model = Taking(keras.Input((None,)), keras.Input((None,), name="words"))
    batch = {"a": ZEROS, "b": {"c": ZEROS}}
    assert [axis.lengths.tolist() for axis in read(model, batch, lengths={name: [1, 2, 3]}).axes if 1 in axis.inputs] == [[1, 2, 3]]


@pytest.mark.parametrize("argument, value", [("lengths", {"word": [1, 2, 3]}), ("side", {"word": "pre"}), ("static", ["word"]), ("static", "word")])
def test_a_name_that_no_input_has_is_refused(argument, value):
    with pytest.raises(ValueError, match=f"^{argument} names word, but the inputs are a, b$"):
        read(same, {"a": ZEROS, "b": ZEROS}, **{argument: value})


@pytest.mark.parametrize("spec, label", [("words", "words"), (None, "0"), ("0", "0")])
def test_a_report_calls_an_input_by_the_name_it_was_given(spec, label):
    model = Taking(keras.Input((None,), name=spec) if spec != "0" else SimpleNamespace(name="0", shape=(None, None)))
    batch = read(model, [ZEROS])
    assert batch.names == (label,)


def test_an_input_that_stands_alone_is_called_the_batch():
    assert read(same, ZEROS).names == ("the batch",)


def test_specs_are_found_by_the_keys_of_the_model():
    words, flags = keras.Input((None,), name="x"), keras.Input((4,), name="y")
    model = Taking(flags, words, structure={"a": words, "b": flags})
    assert read(model, {"a": ZEROS, "b": ONES}).names == ("x", "y")


def test_specs_are_found_by_their_names():
    model = Taking(keras.Input((4,), name="b"), keras.Input((None,), name="a"))
    batch = read(model, {"a": ZEROS, "b": ONES})
    assert batch.names == ("a", "b") and axes_of(batch) == [(["a"], [3, 2, 4], "post", "from zeros at one end")]


def test_specs_are_found_by_their_order():
    assert read(Taking(keras.Input((None,), name="x"), keras.Input((4,), name="y")), [ZEROS, ONES]).names == ("x", "y")


def test_specs_of_another_number_are_not_known():
    assert read(Taking(keras.Input((None,), name="x")), [ZEROS, ONES]).names == ("0", "1")


# Which inputs have a time axis.


def test_features_beside_ids_have_no_steps():
    batch = read(same, {"ids": ZEROS, "x": np.ones((3, 4))})
    assert axes_of(batch) == [(["ids"], [3, 2, 4], "post", "from zeros at one end")]
    assert batch.notes[0] == "x: its second axis was not taken for time, so it was not varied"


def test_an_input_without_a_second_axis_needs_no_note():
    assert read(same, {"ids": ZEROS, "x": np.ones(3)}).notes == ("valid steps of ids: from zeros at one end; padding is 'post'",)


def test_floats_alone_have_steps():
    assert axes_of(read(same, ZEROS.astype("float32"))) == [(["the batch"], [3, 2, 4], "post", "from zeros at one end")]


def test_floats_of_a_known_number_have_no_steps():
    with pytest.raises(ValueError, match="no input has a time axis"):
        read(Taking(keras.Input((4,))), ZEROS.astype("float32"))


def test_floats_of_a_free_number_have_steps():
    batch = read(Taking(keras.Input((None,), name="ids"), keras.Input((None,), name="x")), [ZEROS, ZEROS * 0.5])
    assert axes_of(batch) == [(["ids", "x"], [3, 2, 4], "post", "from zeros at one end")]


def test_an_axis_of_a_known_size_beside_a_free_one_is_no_time():
    batch = read(Taking(keras.Input((None,), name="ids"), keras.Input((4,), name="flags")), [ZEROS, ZEROS])
    assert axes_of(batch) == [(["ids"], [3, 2, 4], "post", "from zeros at one end")]


def test_axes_of_known_sizes_are_time_where_none_is_free():
    batch = read(Taking(keras.Input((4,), name="ids"), keras.Input((4, 1), name="x")), [ZEROS, ZEROS[..., None] * 0.5])
    assert axes_of(batch)[0][0] == ["ids", "x"]


def test_an_input_without_steps_that_is_free_makes_no_axis_free():
    batch = read(Taking(keras.Input((4,), name="ids"), keras.Input((), name="x")), [ZEROS, np.ones(3)])
    assert axes_of(batch)[0][0] == ["ids"]


def test_one_column_beside_longer_inputs_has_no_steps():
    batch = read(same, {"ids": ZEROS, "kind": np.array([[1], [0], [2]])})
    assert axes_of(batch)[0][0] == ["ids"] and batch.notes[0].startswith("kind: its second axis was not taken for time")


def test_one_column_has_steps_if_lengths_say_so():
    batch = read(same, {"ids": ZEROS, "kind": np.array([[1], [0], [2]])}, lengths={"kind": [1, 0, 1]})
    assert (["kind"], [1, 0, 1], "post", "from lengths") in axes_of(batch)


def test_one_column_alone_has_steps():
    assert axes_of(read(same, np.array([[1], [0], [2]]))) == [(["the batch"], [1, 0, 1], "post", "from zeros at one end")]


@pytest.mark.parametrize("static", ["b", ["b"], [1], ("b",)])
def test_a_static_input_has_no_steps(static):
    batch = read(same, {"a": ZEROS, "b": ZEROS}, static=static)
    assert axes_of(batch)[0][0] == ["a"] and batch.notes[0] == "b: its second axis was not taken for time, so it was not varied"


def test_lengths_of_a_static_input_are_refused():
    with pytest.raises(ValueError, match=r"^lengths are given for input b, which has no time axis: its shape is \(3, 4\) and static names it$"):
        read(same, {"a": ZEROS, "b": ZEROS}, static="b", lengths={"b": [1, 2, 3]})


def test_lengths_of_an_input_without_steps_are_refused():
    with pytest.raises(ValueError, match=r"^lengths are given for input b, which has no time axis: its shape is \(3,\)$"):
        read(same, {"a": ZEROS, "b": np.ones(3)}, lengths={"b": [1, 2, 3]})


def test_lengths_for_all_are_not_asked_of_what_has_no_steps():
    assert axes_of(read(same, {"a": ZEROS, "b": np.ones(3)}, lengths=[1, 2, 3])) == [(["a"], [1, 2, 3], "post", "from lengths")]


def test_a_time_axis_that_is_not_the_second_is_refused():
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        read(Taking(keras.Input((3, None), name="x")), np.ones((2, 3, 4)))
    assert str(raised.value) == (
        "input x has the shape (None, 3, None): its time axis is not the second one, as everywhere in Keras. Test the part of the model that "
        "comes after the transposition, or a function that transposes the input before it calls the model")


@pytest.mark.parametrize("shape, beside, static", [((3, None), (None,), ()), ((3, None), (4,), ["x"]), ((3, 4), (4,), ())])
def test_a_time_axis_elsewhere_is_let_through_beside_a_second_one(shape, beside, static):
    model = Taking(keras.Input(shape, name="x"), keras.Input(beside, name="ids"))
    assert 1 in read(model, [np.ones((3, 3, 4)), ZEROS], static=static).axes[0].inputs


def test_two_free_axes_are_let_through():
    assert read(Taking(keras.Input((None, None))), WINDOW * [[1], [1], [1], [0]]).axes[0].lengths.tolist() == [3, 3, 3]


def test_features_have_steps_if_lengths_say_so():
    batch = read(same, {"ids": ZEROS, "x": SOURCE * 0.5}, lengths={"x": [1, 2, 3]})
    assert (["x"], [1, 2, 3], "post", "from lengths") in axes_of(batch)


# The order in which evidence counts.


def test_lengths_count_more_than_zeros():
    assert axes_of(read(same, ZEROS, lengths=[4, 3, 2])) == [(["the batch"], [4, 3, 2], "post", "from lengths")]


def test_lengths_by_name_are_of_this_input_only():
    batch = read(same, {"a": ZEROS[..., None], "b": ZEROS[:, :3]}, lengths={"b": [1, 2, 3]})
    assert axes_of(batch) == [(["b"], [1, 2, 3], "post", "from lengths"), (["a"], [3, 2, 4], "post", "from zeros at one end")]


def test_a_mask_among_the_inputs_counts_more_than_zeros():
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    batch = read(same, {"ids": ZEROS + 1, "mask": mask})
    assert axes_of(batch) == [(["mask", "ids"], [2, 1, 4], "post", "from the mask mask")] and batch.masks == (1,)


def test_a_mask_among_the_inputs_counts_more_than_lengths_among_them():
    batch = read(same, {"ids": ZEROS, "lengths": np.array([3, 2, 3]), "mask": ONES})
    assert axes_of(batch) == [(["mask", "ids"], [3, 2, 4], "post", "from the mask mask")]


def test_lengths_that_contradict_a_mask_are_refused():
    with pytest.raises(ValueError, match="^the input mask marks other steps than lengths: a mask is True where a step is valid$"):
        read(same, {"ids": ZEROS, "mask": ONES}, lengths=[1, 2, 3])


def test_lengths_that_agree_with_a_mask_are_taken():
    assert axes_of(read(same, {"ids": ZEROS, "mask": ONES}, lengths=[3, 2, 4]))[0][:2] == (["ids", "mask"], [3, 2, 4])


def test_lengths_among_the_inputs_count_more_than_the_mask_that_a_layer_makes():
    maker = Maker(ZEROS > 3)
    batch = read(lambda inputs: maker(inputs["ids"]), {"ids": np.array([[3, 7, 7, 7], [4, 7, 7, 7], [1, 6, 7, 7]]), "lengths": np.array([1, 1, 2])})
    assert axes_of(batch) == [(["ids"], [1, 1, 2], "post", "from lengths among the inputs")]


@pytest.mark.parametrize(
    "lengths, how",
    [
        (np.array([3, 2, 4]), "from lengths among the inputs"),
        (np.array([[3], [2], [4]]), "from lengths among the inputs"),
        (np.array([3, 2, 4], "uint8"), "from lengths among the inputs"),
        (np.array([3, 2, 3]), "from zeros at one end"),  # what lies behind is not one value
        (np.array([4, 4, 4]), "from zeros at one end"),  # no padding at all
        (np.array([3, 2, 5]), "from zeros at one end"),
        (np.array([3, -1, 4]), "from zeros at one end"),
        (np.array([3.0, 2.0, 4.0]), "from zeros at one end"),
    ],
)
def test_lengths_among_the_inputs_count_if_one_value_lies_behind_them(lengths, how):
    assert axes_of(read(same, {"ids": ZEROS, "len": lengths})) == [(["ids"], [3, 2, 4], "post", how)]


@pytest.mark.parametrize("label, how", [("Lengths", "from lengths among the inputs"), ("seq_len", "from lengths among the inputs"), ("count", "from zeros at one end")])
def test_lengths_among_the_inputs_go_by_their_name(label, how):
    assert axes_of(read(same, {"ids": ZEROS, label: LENGTHS}))[0][3] == how


def test_lengths_among_the_inputs_may_be_zero():
    batch = read(same, {"ids": np.array([[1, 2], [7, 7]]), "len": np.array([2, 0])})
    assert axes_of(batch) == [(["ids"], [2, 0], "post", "from lengths among the inputs")]


def test_lengths_among_the_inputs_tell_of_padding_in_front():
    assert axes_of(read(same, {"ids": FRONT, "len": LENGTHS})) == [(["ids"], [3, 2, 4], "pre", "from lengths among the inputs")]


def test_lengths_among_the_inputs_keep_to_the_side_that_is_named():
    ids = np.array([[7, 1, 7], [7, 2, 7]])
    assert axes_of(read(same, {"ids": ids, "len": np.array([2, 2])}, side="pre"))[0][1:3] == ([2, 2], "pre")
    assert axes_of(read(same, {"ids": ids, "len": np.array([2, 2])}))[0][1:3] == ([2, 2], "post")


def test_the_mask_that_a_layer_makes_counts_more_than_zeros():
    batch = read(Maker([[True, True, False, False], [True, False, False, False], [True] * 4]), ZEROS)
    assert axes_of(batch) == [(["the batch"], [2, 1, 4], "post", "from the mask that 'maker' makes")] and batch.faulty == ()


def test_zeros_at_one_end_count_last():
    assert axes_of(read(same, ZEROS)) == [(["the batch"], [3, 2, 4], "post", "from zeros at one end")]


def test_the_model_runs_once_and_its_run_comes_along():
    ran = []
    batch, targets, weights, run = read_batch(lambda inputs: ran.append(1) or inputs, ZEROS)
    assert ran == [1] and run.error is None and targets is None and weights is None


def test_targets_and_weights_come_along():
    _, targets, weights, _ = read_batch(same, tf.data.Dataset.from_tensors((ZEROS, np.ones(3), np.zeros(3))))
    assert ops.convert_to_numpy(targets).tolist() == [1, 1, 1] and ops.convert_to_numpy(weights).tolist() == [0, 0, 0]


def test_a_model_that_raises_is_no_error_here():
    def model(inputs):
        raise TypeError("no")

    batch, _, _, run = read_batch(model, ZEROS)
    assert isinstance(run.error, TypeError) and batch.axes[0].lengths.tolist() == [3, 2, 4]


# Masks among the inputs.


@pytest.mark.parametrize("name, mask", [("known", ONES.astype(bool)), ("my_Mask", ONES), ("mask", ONES * 1.0)])
def test_a_mask_is_known_by_its_type_or_its_name(name, mask):
    assert read(Taking(keras.Input((None,), name="ids"), keras.Input((None,), name=name)), [ZEROS, mask]).masks == (1,)


def test_ones_and_zeros_of_another_name_are_no_mask():
    batch = read(same, {"flags": ONES, "ids": ZEROS})
    assert batch.masks == () and batch.axes[0].inputs == (1, 0)


def test_a_mask_that_holds_other_values_is_refused():
    with pytest.raises(ValueError, match=r"^the input mask is no mask: it holds values other than 0 and 1 \(if it is not meant as one, name it in static\)$"):
        read(same, {"ids": ZEROS, "mask": ONES * 2})


def test_a_static_mask_is_let_through():
    assert read(same, {"ids": ZEROS, "mask": ONES * 2}, static="mask").masks == ()


def test_a_mask_that_is_true_at_padding_is_turned_round():
    batch = read(same, {"ids": ZEROS, "mask": ZEROS == 0})
    assert axes_of(batch) == [(["mask", "ids"], [3, 2, 4], "post", "from the mask mask, which is True at padding")]


@pytest.mark.parametrize("ids", [ZEROS * 0.5, ZEROS[:, :3], ZEROS * 0 + 5])
def test_a_mask_is_turned_round_only_for_ids_of_its_steps(ids):
    mask = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]])
    assert axes_of(read(same, {"ids": ids, "mask": mask}))[0][1:] == ([2, 3, 4], "pre", "from the mask mask")


def test_a_mask_is_not_turned_round_for_another_mask():
    batch = read(same, {"a_mask": ONES, "b_mask": 1 - ONES[[1, 0, 0]]})
    assert "True at padding" not in " ".join(batch.notes)


def test_a_mask_that_marks_one_value_and_leaves_another_is_as_it_says():
    ids = np.array([[7, 7, 0], [7, 0, 0]])
    assert axes_of(read(same, {"ids": ids, "mask": ids != 0}))[0][1:] == ([2, 1], "post", "from the mask mask")


def test_a_mask_that_marks_all_of_a_constant_is_as_it_says():
    batch = read(same, {"a": np.full((2, 2), 5), "a_mask": np.ones((2, 2), int), "b": np.array([[[1.0], [2], [3]], [[4], [5], [0]]])})
    assert axes_of(batch) == [(["b"], [3, 2], "post", "from zeros at one end")]
    assert batch.notes[0] == "a_mask, a: no padding in this batch, so it was not varied" and batch.masks == ()


def test_a_mask_is_not_turned_round_for_another_mask_that_marks_more():
    less, more = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[1, 1, 0], [1, 1, 1]])
    batch = read(same, {"a_ids": SOURCE[:2, :3], "a_mask": less, "b_mask": more})
    assert (["a_mask", "a_ids"], [1, 2], "post", "from the mask a_mask") in axes_of(batch)


SOME = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 1]])


def test_a_mask_of_some_valid_steps_is_data_that_gets_no_garbage():
    batch = read(same, {"ids": ZEROS, "padding_mask": ONES, "some_mask": SOME})
    assert axes_of(batch) == [(["padding_mask", "ids", "some_mask"], [3, 2, 4], "post", "from the mask padding_mask")]
    assert batch.masks == (1, 2)


def test_a_mask_that_is_named_after_an_input_is_no_part_of_another():
    batch = read(same, {"some_ids": ZEROS, "ids": ZEROS, "padding_mask": ONES, "some_mask": ONES * np.array([1, 1, 0, 0])})
    assert (["some_mask", "some_ids"], [2, 2, 2], "post", "from the mask some_mask") in axes_of(batch)


def test_a_mask_that_marks_other_steps_too_is_no_part_of_another():
    batch = read(same, {"ids": ZEROS, "a_mask": ONES, "b_mask": ONES[[1, 0, 2]]})
    assert [axis.lengths.tolist() for axis in batch.axes] == [[3, 2, 4], [2, 3, 4]] and batch.masks == (0, 1)


def test_masks_of_the_same_steps_are_both_masks():
    batch = read(same, {"ids": ZEROS, "a_mask": ONES, "b_mask": ONES})
    assert batch.masks == (0, 1) and batch.axes[0].inputs == (0, 1, 2)


def test_masks_of_other_sizes_are_compared_with_nothing():
    batch = read(same, {"a_mask": ONES, "b_mask": ONES[:, :3] * 0 + [1, 0, 0]})
    assert [axis.lengths.tolist() for axis in batch.axes] == [[3, 2, 4], [1, 1, 1]]


def test_a_mask_with_a_hole_is_refused():
    with pytest.raises(ValueError, match="^sequence 1 has a hole: valid steps go on at step 2 after padding, so it has no length$"):
        read(same, {"ids": ZEROS, "mask": np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1]])})


# Which mask belongs to which input.

SOURCE, TARGET = np.array([[3, 7, 9, 2], [4, 8, 5, 1], [1, 6, 2, 5]]), np.array([[2, 2, 3, 4], [5, 1, 7, 8], [4, 3, 2, 1]])
SHORT, LONG = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]), np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]])


@pytest.mark.parametrize("masks", [("source_mask", "target_mask"), ("mask_source", "mask_target"), ("source_padding_mask", "target_padding_mask")])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_mask_belongs_to_the_input_that_it_is_named_after(masks, swapped):
    batch = read(same, {"source": SOURCE, "target": TARGET, **dict(zip(masks, [LONG, SHORT] if swapped else [SHORT, LONG]))})
    axis_of = {batch.names[n]: axis.lengths.tolist() for axis in batch.axes for n in axis.inputs}
    short, long = [2, 1, 3], [1, 3, 2]
    assert axis_of["source"] == (long if swapped else short) and axis_of["target"] == (short if swapped else long)


def test_of_names_of_no_common_word_the_one_with_the_same_beginning_counts():
    batch = read(same, {"src": SOURCE, "tgt": TARGET, "srcmask": SHORT, "tgtmask": LONG})
    assert [axis[0] for axis in axes_of(batch)] == [["srcmask", "src"], ["tgtmask", "tgt"]]


def test_of_masks_of_like_names_the_one_with_filler_counts():
    ids = SOURCE * LONG
    batch = read(same, {"ids": ids, "one_mask": SHORT, "two_mask": LONG})
    assert [axis[0] for axis in axes_of(batch)] == [["one_mask"], ["two_mask", "ids"]]


def test_of_masks_that_tell_nothing_the_one_of_padding_counts():
    batch = read(same, {"ids": SOURCE, "one_mask": SHORT, "padding_mask": LONG})
    assert [axis[0] for axis in axes_of(batch)] == [["one_mask"], ["padding_mask", "ids"]]


def test_an_input_of_another_number_of_steps_has_nothing_to_do_with_a_mask():
    batch = read(same, {"x": WINDOW[:, :3] * [[1], [1], [0]], "mask": ONES})
    assert [axis[0] for axis in axes_of(batch)] == [["mask"], ["x"]]


def test_a_mask_that_is_named_after_another_input_is_not_taken_for_its_own():
    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: embedding(x["answer_ids"]), {"question_ids": SOURCE * SHORT, "question_mask": SHORT, "answer_ids": TARGET * LONG})
    assert axes_of(batch) == [
        (["question_mask", "question_ids"], [2, 1, 3], "post", "from the mask question_mask"),
        (["answer_ids"], [1, 3, 2], "post", "from zeros at one end"),
    ]


def test_a_mask_that_is_named_after_another_input_is_taken_where_filler_agrees():
    batch = read(same, {"question_ids": SOURCE * SHORT, "question_mask": SHORT, "kinds": TARGET * SHORT})
    assert axes_of(batch) == [(["question_mask", "kinds", "question_ids"], [2, 1, 3], "post", "from the mask question_mask")]


def test_an_input_with_a_mask_of_its_own_maker_keeps_it():
    maker = Maker(SHORT.astype(bool))
    batch = read(lambda x: maker(x["kinds"]), {"question_ids": SOURCE * SHORT, "question_mask": SHORT, "kinds": TARGET * SHORT})
    assert "valid steps of question_mask, question_ids, kinds: from the mask question_mask; padding is 'post'" in batch.notes


def test_an_input_of_three_axes_goes_with_the_mask_of_its_steps():
    assert axes_of(read(same, {"x": np.ones((3, 4, 2)), "mask": ONES}))[0][0] == ["mask", "x"]


# Lengths and sides.


@pytest.mark.parametrize(
    "lengths, said",
    [
        ([3, 2], r"lengths has the shape \(2,\): it must hold a number for each of the 3 sequences of input the batch"),
        ([[3], [2], [4]], r"lengths has the shape \(3, 1\): it must hold a number for each of the 3 sequences of input the batch"),
        ([3.0, 2.0, 4.0], "lengths of input the batch has the dtype float64: it must hold integers"),
        ([3, 2, 5], "sequence 2 has the length 5, but input the batch has 4 steps"),
        ([3, -1, 5], "sequence 1 has the length -1, but input the batch has 4 steps"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        read(same, ZEROS, lengths=lengths)


@pytest.mark.parametrize("lengths", [[0, 4, 4], np.array([0, 4, 4], "uint8"), (0, 4, 4)])
def test_lengths_go_from_nothing_to_all(lengths):
    assert read(same, ZEROS, lengths=lengths).axes[0].lengths.tolist() == [0, 4, 4]


@pytest.mark.parametrize("side", ["pre", "post"])
def test_lengths_are_on_the_side_that_is_named(side):
    assert axes_of(read(same, SOURCE, lengths=[3, 2, 4], side=side)) == [(["the batch"], [3, 2, 4], side, "from lengths")]


def test_lengths_are_on_the_side_of_filler():
    assert read(same, FRONT, lengths=[3, 2, 4]).axes[0].side == "pre"
    assert read(same, ZEROS, lengths=[3, 2, 4]).axes[0].side == "post"


@pytest.mark.parametrize("ids", [SOURCE, np.array([[0, 7, 7, 0], [0, 0, 0, 0], [1, 6, 2, 5]])])
def test_lengths_count_from_the_start_where_nothing_tells(ids):
    assert read(same, ids, lengths=[3, 2, 4]).axes[0].side == "post"


def test_lengths_are_on_the_side_of_the_mask_that_a_layer_makes():
    batch = read(Maker(FRONT != 0), SOURCE, lengths=[3, 2, 4])
    assert batch.axes[0].side == "pre" and batch.faulty == ()


def test_lengths_are_on_the_side_of_a_mask_among_the_inputs():
    batch = read(same, {"ids": SOURCE, "mask": FRONT != 0}, lengths=[3, 2, 4])
    assert axes_of(batch) == [(["ids", "mask"], [3, 2, 4], "pre", "from lengths")]


@pytest.mark.parametrize("side", ["right", "", 3])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        read(same, ZEROS, side=side)
    assert str(raised.value) == f"side={side!r}: choose 'pre' (padding before the data) or 'post' (after it)"


@pytest.mark.parametrize("side, mask, row", [("pre", ONES, 0), ("post", FRONT != 0, 0), ("pre", ONES[[2, 2, 0]], 2)])
def test_a_side_that_contradicts_a_mask_is_refused(side, mask, row):
    with pytest.raises(ValueError, match=f"^side='{side}', but the mask of input mask has its padding on the other side, as in sequence {row}: leave side out, or mend the mask$"):
        read(same, {"ids": SOURCE, "mask": mask}, side=side)


def test_a_side_that_agrees_with_a_mask_is_taken():
    assert axes_of(read(same, {"ids": FRONT, "mask": FRONT != 0}, side="pre"))[0][2] == "pre"


def test_a_mask_without_padding_has_any_side():
    batch = read(same, {"ids": ZEROS[:, :3] * 0 + 1, "ids_mask": np.ones((3, 3), int), "b": ZEROS[..., None]}, side={"ids_mask": "pre"})
    assert axes_of(batch)[0][0] == ["b"]


def test_a_side_by_name_is_of_this_input_only():
    batch = read(same, {"a": FRONT[..., None], "b": ZEROS[:, :3, None] * [[1], [1], [0]]}, side={"a": "pre"})
    assert {axis[0][0]: axis[2] for axis in axes_of(batch)} == {"a": "pre", "b": "post"}


# Masks that layers make, and faults of theirs.


def test_a_maker_that_contradicts_lengths_is_faulty():
    batch = read(Maker(ONES.astype(bool)), ZEROS, lengths=[1, 2, 3])
    assert batch.faulty == (("maker", "the batch"),) and axes_of(batch)[0] == (["the batch"], [1, 2, 3], "post", "from lengths")


def test_a_maker_that_marks_nothing_is_faulty_where_zeros_stand_at_one_end():
    batch = read(Maker(np.ones((3, 4), bool)), ZEROS)
    assert batch.faulty == (("maker", "the batch"),)
    assert axes_of(batch) == [(["the batch"], [3, 2, 4], "post", "from zeros at one end: 'maker' marks none of them")]


def test_a_maker_that_marks_nothing_is_sound_where_there_is_no_zero():
    maker = Maker(np.ones((3, 4), bool))
    batch = read(lambda x: maker(x["a"]), {"a": SOURCE, "b": WINDOW[:, :3] * [[1], [1], [0]]})
    assert batch.faulty == () and batch.notes[0] == "a: no padding in this batch, so it was not varied"


def test_each_mask_belongs_to_the_input_that_its_maker_reads():
    first, second = Maker(SHORT.astype(bool), "one"), Maker(LONG.astype(bool), "two")
    batch = read(lambda x: [first(x["b"]), second(x["a"])], {"a": SOURCE, "b": TARGET})
    assert sorted(axes_of(batch)) == [(["a"], [1, 3, 2], "post", "from the mask that 'two' makes"), (["b"], [2, 1, 3], "post", "from the mask that 'one' makes")]


def test_the_first_maker_of_an_input_counts():
    first, second = Maker(SHORT.astype(bool), "one"), Maker(LONG.astype(bool), "two")
    assert axes_of(read(lambda x: [first(x), second(x)], SOURCE)) == [
        (["the batch"], [2, 1, 3], "post", "from the mask that 'one' makes")]


def test_a_layer_that_hands_a_mask_on_makes_none():
    first, second = Maker(SHORT.astype(bool), "one"), Maker(LONG.astype(bool), "two")
    assert axes_of(read(lambda x: second(first(x)), SOURCE))[0][3] == "from the mask that 'one' makes"


def test_a_maker_that_reads_what_an_operation_gave_speaks_for_an_input_of_its_steps():
    maker = Maker(SHORT.astype(bool))
    assert axes_of(read(lambda x: maker(x * 3), SOURCE)) == [(["the batch"], [2, 1, 3], "post", "from the mask that 'maker' makes")]


def test_a_maker_that_reads_what_an_operation_gave_speaks_for_no_mask():
    maker = Maker(SHORT.astype(bool))
    batch = read(lambda x: maker(x["x"] * 3), {"mask": LONG, "y": np.ones((3, 5)), "x": SOURCE}, static="y")
    assert batch.axes[0].lengths.tolist() == [1, 3, 2]


def test_a_maker_that_reads_what_an_operation_gave_is_paired_with_data_before_masks():
    maker = Maker(SHORT.astype(bool))
    batch = read(lambda x: maker(x["b"] * 3), {"a_mask": LONG, "b": SOURCE, "c_a": TARGET * LONG})
    assert axes_of(batch) == [(["a_mask", "c_a"], [1, 3, 2], "post", "from the mask a_mask"), (["b"], [2, 1, 3], "post", "from the mask that 'maker' makes")]


def test_the_layer_in_a_model_is_named_and_not_the_model():
    model = keras.Sequential([layers.Embedding(10, 2, mask_zero=True, name="inner")], name="outer")
    assert axes_of(read(model, ZEROS))[0][3] == "from the mask that 'inner' makes"


def test_a_layer_of_two_outputs_tells_nothing():
    class Twice(Maker):
        def call(self, inputs):
            return [ops.copy(inputs), ops.copy(inputs)]

        def compute_mask(self, inputs, mask=None):
            return [ops.convert_to_tensor(self.mask)] * 2

    assert axes_of(read(Twice(SHORT.astype(bool)), ZEROS))[0][3] == "from zeros at one end"


def test_a_maker_of_sequences_in_another_order_tells_nothing():
    maker = Maker((ZEROS != 0)[::-1])
    batch = read(lambda x: maker(x[::-1]), ZEROS)
    assert axes_of(batch) == [(["the batch"], [3, 2, 4], "post", "from zeros at one end")] and batch.faulty == ()


def test_a_maker_of_other_steps_tells_nothing():
    maker = Maker(SHORT[:, :3].astype(bool))
    assert axes_of(read(lambda x: maker(x[:, :3]), ZEROS))[0][3] == "from zeros at one end"


def test_masking_of_vectors_speaks_for_them():
    batch = read(layers.Masking(-1.0, name="masking"), np.array([[[1, 2], [-1, -1]], [[3, -1], [4, 5]]], "float32"))
    assert axes_of(batch) == [(["the batch"], [1, 2], "post", "from the mask that 'masking' makes")]


# Zeros at one end.


@pytest.mark.parametrize(
    "batch, lengths, side",
    [
        (ZEROS, [3, 2, 4], "post"),
        (FRONT, [3, 2, 4], "pre"),
        (np.array([[0, 1, 0, 0], [0, 1, 2, 0]]), [2, 3], "post"),  # more padding stands after the data
        (np.array([[0, 0, 1, 0], [0, 1, 2, 3]]), [2, 3], "pre"),
        (np.array([[0, 1, 0], [1, 2, 3]]), [2, 3], "post"),  # as much on both sides
        (np.array([[1, 0, 2], [3, 0, 0]]), [3, 1], "post"),  # zeros between ids are ids
        (np.array([[[0, 1], [0, 0]], [[1, 0], [0, 2]]]), [1, 2], "post"),  # a step of vectors is padding if all are zero
        (np.array([["a", "", "b"], ["c", "", ""]]), [3, 1], "post"),
        (np.array([["", "a"], ["b", "c"]], object), [1, 2], "pre"),
        (np.array([[1, 2], [0, 0]]), [2, 0], "post"),
    ],
)
def test_zeros_are_padding_at_the_end_where_more_of_them_stand(batch, lengths, side):
    assert axes_of(read(same, batch)) == [(["the batch"], lengths, side, "from zeros at one end")]


@pytest.mark.parametrize("side, lengths", [("post", [2, 3]), ("pre", [3, 3])])
def test_zeros_are_padding_on_the_side_that_is_named(side, lengths):
    batch = np.array([[0, 1, 0, 0], [0, 1, 2, 0]])
    assert axes_of(read(same, batch, side=side))[0][1:3] == (lengths, side)


# Inputs that nothing speaks for.


def test_positions_share_the_axis_of_the_ids_beside_them():
    batch = read(lambda x: x["ids"] + x["positions"], {"ids": ZEROS, "positions": np.array([[0, 1, 2, 3]] * 3)})
    assert axes_of(batch)[0][0] == ["ids", "positions"] and batch.notes == ("valid steps of ids, positions: from zeros at one end; padding is 'post'",)


def test_filler_of_another_value_shares_an_axis():
    batch = read(same, {"ids": ZEROS, "segments": np.where(ZEROS, 1 + ZEROS % 2, 7)})
    assert axes_of(batch)[0][0] == ["ids", "segments"]


def test_an_input_that_an_embedding_reads_is_read_first():
    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: embedding(x["b"]), {"a": np.array([[1, 2, 0], [3, 4, 0]]), "b": np.array([[1, 0, 0], [3, 4, 5]])})
    assert batch.axes[0].inputs[0] == 1


def test_an_input_of_several_values_is_read_before_one_of_few():
    assert read(same, {"a": ONES, "b": ZEROS}).axes[0].inputs == (1, 0)


def test_of_inputs_alike_the_first_is_read_first():
    assert read(same, {"a": ZEROS, "b": ZEROS}).axes[0].inputs == (0, 1)


def test_an_input_with_an_empty_sequence_is_read_last():
    batch = read(same, {"a": np.array([[0, 0, 0], [1, 2, 3]]), "b": np.array([[1, 1, 0], [1, 1, 1]])})
    assert batch.axes[0].inputs[0] == 1


WINDOW = np.arange(1, 25).reshape(3, 4, 2) / 10


def test_a_window_that_the_model_takes_apart_from_the_ids_has_steps_of_its_own():
    batch = read(lambda x: [ops.sum(x["ids"], 1), ops.sum(x["window"], 1)], {"ids": ZEROS, "window": WINDOW})
    assert axes_of(batch) == [(["ids"], [3, 2, 4], "post", "from zeros at one end")]
    assert batch.notes[0] == "window: no padding in this batch, so it was not varied"


def test_a_window_that_the_model_joins_with_the_ids_step_by_step_shares_their_axis():
    batch = read(lambda x: ops.cast(x["ids"], "float32")[..., None] * ops.cast(x["window"], "float32"), {"ids": ZEROS, "window": WINDOW})
    assert axes_of(batch) == [(["ids", "window"], [3, 2, 4], "post", "from zeros at one end")]


def joined(inputs):
    return ops.cast(inputs["ids"], "float32")[..., None] * ops.cast(inputs["window"], "float32")


def apart(inputs):
    return [ops.sum(inputs["ids"], 1), ops.sum(inputs["window"], 1)]


@pytest.mark.parametrize(
    "ids, model, shared",
    [
        ([[1, 2, 3, 4], [5, 6, 0, 0]], joined, True),  # a full sequence, though the first, tells nothing
        ([[1, 2, 3, 4], [5, 6, 0, 0]], apart, False),
        ([[1, 0, 0, 0], [5, 6, 7, 0]], joined, True),  # one step is broadcast
        ([[1, 0, 0, 0], [5, 6, 7, 0]], apart, False),
        ([[1, 0, 0, 0], [5, 6, 7, 8]], joined, True),
        ([[1, 0, 0, 0], [5, 6, 7, 8]], apart, True),  # no sequence can tell
    ],
)
def test_a_sequence_of_two_steps_or_more_but_not_all_tells_whether_a_window_stands_apart(ids, model, shared):
    batch = read(model, {"ids": np.array(ids), "window": WINDOW[:2]})
    assert batch.axes[0].inputs == ((0, 1) if shared else (0,))


def test_inputs_of_other_axes_are_left_whole_where_a_window_is_tried():
    def model(inputs):
        assert inputs["other"].shape[1] == 3
        return apart(inputs)

    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: [embedding(x["ids"]), model(x)], {"ids": ZEROS, "other": WINDOW[:, :3] * [[1], [1], [0]], "window": WINDOW})
    assert [axis[0] for axis in sorted(axes_of(batch))] == [["ids"], ["other"]]


def test_floats_with_an_empty_sequence_share_an_axis():
    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: embedding(x["ids"]) * ops.cast(x["x"], "float32"), {"ids": ZEROS, "x": WINDOW * [[[1], [1], [1], [0]], [[1]] * 4, [[0]] * 4]})
    assert axes_of(batch) == [(["ids", "x"], [3, 2, 4], "post", "from zeros at one end")]


def test_an_input_without_padding_shares_its_axis_with_none():
    maker = Maker(np.ones((3, 4), bool))
    batch = read(lambda x: maker(x["a"]), {"a": SOURCE, "b": ZEROS[..., None]})
    assert axes_of(batch) == [(["b"], [3, 2, 4], "post", "from zeros at one end")]


def test_a_step_is_valid_where_one_of_two_inputs_that_are_joined_step_by_step_holds_something():
    values = WINDOW * np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]])[..., None]
    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: embedding(x["ids"]) * ops.cast(x["x"], "float32"), {"ids": ZEROS, "x": values})
    assert axes_of(batch) == [(["ids", "x"], [3, 3, 4], "post", "from zeros at one end")]


def test_floats_that_stand_apart_have_an_axis_of_their_own():
    values = WINDOW * np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]])[..., None]
    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: ops.sum(embedding(x["ids"]), 1) + ops.sum(ops.cast(x["x"], "float32"), 1)[:, :1],
                 {"ids": ZEROS, "x": values})
    assert {axis[0][0]: axis[1] for axis in axes_of(batch)} == {"ids": [3, 2, 4], "x": [1, 3, 2]}


def test_an_input_of_other_steps_that_nothing_speaks_for_is_not_varied():
    batch = read(same, {"ids": ZEROS, "kinds": np.array([[1, 2, 0]] * 3)})
    assert axes_of(batch) == [(["ids"], [3, 2, 4], "post", "from zeros at one end")]
    assert batch.notes[0] == "kinds: its second axis was not taken for time, so it was not varied"


def test_vectors_of_other_steps_have_an_axis_of_their_own():
    batch = read(same, {"ids": ZEROS, "x": WINDOW[:, :3] * [[1], [1], [0]]})
    assert (["x"], [2, 2, 2], "post", "from zeros at one end") in axes_of(batch)


def test_ids_of_other_steps_that_an_embedding_reads_have_an_axis_of_their_own():
    embedding = layers.Embedding(10, 2)
    batch = read(lambda x: [embedding(x["ids"]), embedding(x["kinds"])], {"ids": ZEROS, "kinds": np.array([[1, 2, 0]] * 3)})
    assert (["kinds"], [2, 2, 2], "post", "from zeros at one end") in axes_of(batch)


def test_ids_of_other_steps_that_are_free_have_an_axis_of_their_own():
    batch = read(Taking(keras.Input((None,), name="ids"), keras.Input((None,), name="kinds")), [ZEROS, np.array([[1, 2, 0]] * 3)])
    assert (["kinds"], [2, 2, 2], "post", "from zeros at one end") in axes_of(batch)


# The axes and the notes.


def test_what_was_found_is_told_in_words():
    batch = read(same, {"a": FRONT[..., None] * 1.0, "b": FRONT[..., None] * 1.0, "x": WINDOW[:, :3] * [[1], [1], [0]]})
    assert batch.notes == ("valid steps of x: from zeros at one end; padding is 'post'", "valid steps of a, b: from zeros at one end; padding is 'pre'")


def test_an_axis_has_the_steps_of_its_inputs():
    assert read(same, ZEROS).axes[0].steps == 4


def test_ids_of_three_axes_are_varied_on_one_and_that_is_noted():
    batch = read(same, ZEROS[..., None] * [1, 2, 3])
    assert batch.notes[0] == "the batch: its axis 1 was varied; axis 2, of 3, was not, so nothing is known about padding there"


def test_vectors_need_no_such_note():
    assert len(read(same, ZEROS[..., None] * [1.0, 2.0]).notes) == 1


def test_the_batch_keeps_its_structure():
    batch = read(same, {"a": ZEROS, "b": KINDS})
    assert batch.arrange([1], more=None)["a"].tolist() == [[4, 8]] and batch.structure["b"] is KINDS


# Masks of steps by steps.

SQUARE = ONES[:, :, None] * ONES[:, None, :]


@pytest.mark.parametrize("name, square", [("mask", SQUARE), ("attention_Mask", SQUARE), ("seen", SQUARE.astype(bool))])
def test_a_mask_of_steps_by_steps_has_the_axis_twice(name, square):
    batch = read(same, {"ids": ZEROS, name: square})
    assert [batch.across[n].keys() for n in batch.across] == [{2}] and batch.axes[0].steps == 4
    square = batch.arrange([1], more=None)[name]
    assert square.shape == (1, 2, 2) and square.all()


def test_a_mask_of_steps_by_steps_is_a_mask():
    assert read(same, {"ids": ZEROS, "mask": SQUARE}).masks == (1,)


@pytest.mark.parametrize("batch, static", [({"ids": ZEROS, "mask": SQUARE}, "mask"), ({"ids": ZEROS, "x": SQUARE * 1.0}, ()), ({"ids": ZEROS, "mask": SQUARE[..., :3]}, ())])
def test_what_is_static_no_mask_or_of_another_size_has_one_axis(batch, static):
    assert read(same, batch, static=static).across == {}


def test_a_mask_with_heads_has_its_axis_at_each_place_of_steps():
    batch = read(same, {"ids": ZEROS, "mask": SQUARE[:, None]})
    assert list(batch.across[1]) == [2, 3]
    assert batch.arrange([1], more=None)["mask"].shape == (1, 1, 2, 2)


def test_axes_that_a_spec_leaves_free_are_across():
    model = Taking(keras.Input((None,), name="ids"), keras.Input((None, None), name="edges"))
    assert list(read(model, [ZEROS, SQUARE * 1.0]).across) == [1]


def test_axes_of_a_known_size_are_not_across():
    model = Taking(keras.Input((None,), name="ids"), keras.Input((None, 4), name="mask"))
    assert read(model, [ZEROS, SQUARE * 1.0]).across == {}


# A batch for a model that has none.


@pytest.mark.parametrize("model", [same, SimpleNamespace(inputs=None), SimpleNamespace(inputs=[])])
def test_a_model_of_unknown_inputs_gets_no_batch(model):
    with pytest.raises(ValueError, match="^the model has no input specs from which a batch could be made: pass a batch$"):
        make_batch(model, np.random.default_rng(0))


def test_a_model_of_texts_gets_texts():
    assert make_batch(Taking(keras.Input((1,), dtype="string")), np.random.default_rng(0)).tolist() == [["some text"], ["text"]]


@pytest.mark.parametrize(
    "shape, most_steps, lengths",
    [((None,), 8, [8, 1, 4, 7]), ((None,), 5, [5, 1, 2, 4]), ((None,), 1, [1, 1, 1, 1]), ((6,), 8, [6, 1, 3, 5]), ((None, 2), 4, [4, 1, 2, 3])],
)
def test_sequences_are_of_one_step_to_all(shape, most_steps, lengths):
    made = make_batch(Taking(keras.Input(shape)), np.random.default_rng(0), most_steps)
    assert made.shape == (4, lengths[0], *shape[1:])
    known = (made != 0).reshape(4, lengths[0], -1)
    assert known.sum(axis=1)[:, 0].tolist() == lengths and known[:, 0].all()


def test_eight_steps_are_made_unless_asked_otherwise():
    assert make_batch(Taking(keras.Input((None,))), np.random.default_rng(0)).shape == (4, 8)


def test_ids_are_those_that_all_embeddings_know():
    class Model(Taking):
        layers = [SimpleNamespace(input_dim=9, output_dim=1), SimpleNamespace(layers=[SimpleNamespace(input_dim=4, output_dim=1)]),
                  SimpleNamespace(input_dim=2)]  # fmt: skip

    made = make_batch(Model(keras.Input((None,), dtype="int32")), np.random.default_rng(0), 50)
    assert set(np.unique(made)) == {0, 1, 2, 3} and made.dtype == "int32"


@pytest.mark.parametrize("known", [[], [SimpleNamespace(input_dim=1, output_dim=1)]])
def test_the_least_of_ids_is_one(known):
    model = Taking(keras.Input((None,), dtype="int64"))
    model.layers = known
    assert set(np.unique(make_batch(model, np.random.default_rng(0)))) == {0, 1}


@pytest.mark.parametrize("spec, dtype", [(("some_mask", "int32"), "int32"), (("known", "bool"), "bool"), (("mask", "float32"), "float32")])
def test_masks_mark_the_steps_of_each_sequence(spec, dtype):
    made = make_batch(Taking(keras.Input((None,), name=spec[0], dtype=spec[1])), np.random.default_rng(0), 4)
    assert made.astype(int).tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]] and made.dtype == dtype


def test_several_inputs_are_packed_as_the_model_takes_them():
    a, b, c = keras.Input((None,), name="a"), keras.Input((3,), name="b"), keras.Input((), name="c")
    made = make_batch(Taking(a, b, c, structure={"a": a, "b": b, "c": c}), np.random.default_rng(0), 6)
    assert {key: value.shape for key, value in made.items()} == {"a": (4, 6), "b": (4, 3), "c": (4,)}
    assert (made["b"] != 0).all() and (made["a"] != 0).sum() == 6 + 1 + 3 + 5


def test_an_axis_of_a_known_size_is_padded_if_it_is_as_long():
    a, b = keras.Input((None,), name="a"), keras.Input((6,), name="b")
    made = make_batch(Taking(a, b, structure=[a, b]), np.random.default_rng(0), 6)
    assert (made[1] != 0).sum(axis=1).tolist() == [6, 1, 3, 5]


def test_a_model_that_takes_fewer_steps_gets_fewer():
    def short(inputs):
        if inputs.shape[1] > 5:
            raise IndexError("too long")
        return inputs

    assert make_batch(Taking(keras.Input((None,)), call=short), np.random.default_rng(0)).shape == (4, 4)


@pytest.mark.parametrize("shape, tried", [((None,), [8, 6, 4, 2]), ((7,), [7])])
def test_a_model_that_takes_nothing_raises_its_own_error(shape, tried):
    seen = []

    def model(inputs):
        seen.append(inputs.shape[1])
        raise IndexError("never")

    with pytest.raises(IndexError, match="never"):
        make_batch(Taking(keras.Input(shape), call=model), np.random.default_rng(0))
    assert seen == tried


@pytest.mark.parametrize("dtype", ["object", "S1"])
def test_empty_bytes_are_padding_too(dtype):
    words = np.array([[b"a", b"b"], [b"c", b""]], dtype)
    assert read_batch(lambda batch: batch, words)[0].axes[0].lengths.tolist() == [2, 1]


def test_a_key_goes_before_the_place_of_another_input():
    batch = {"+": np.array([[3, 7, 0], [4, 0, 0]]), "0": np.array([[1, 1, 0], [1, 0, 0]])}
    assert read_batch(lambda given: given["+"], batch, static="0")[0].axes[0].inputs == (0,)


def test_an_input_is_named_static_by_its_place():
    batch = [np.array([[3, 7, 0], [4, 0, 0]]), np.array([[1, 1, 0], [1, 0, 0]])]
    assert read_batch(lambda given: given[0], batch, static=1)[0].axes[0].inputs == (0,)


def test_lengths_in_any_mapping_must_belong_to_a_sequence():
    lengths = types.MappingProxyType({"b": [1, 2]})
    with pytest.raises(ValueError, match="which has no time axis"):
        read_batch(lambda given: given["a"], {"a": np.array([[3, 7, 0], [4, 0, 0]]), "b": np.ones(2)}, lengths=lengths)
