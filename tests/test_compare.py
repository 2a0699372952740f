"""What counts as equal, where valid steps stand in a tensor of the batch, and how far they are from the truth."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from masking_tutorial.batch import Axis, Batch
from masking_tutorial.compare import (
    Arrangement,
    Deviation,
    as_numbers,
    deviation,
    difference,
    places,
    share_apart,
    sizes_of,
    tolerance_of,
    worst_of,
)

NAN, INF = np.nan, np.inf


def batch_of(*axes):
    """A batch with an input of zeros for each axis: (lengths, steps, side)."""
    made = tuple(Axis((number,), np.array(lengths), steps, side, "as given") for number, (lengths, steps, side) in enumerate(axes))
    return Batch([None] * len(made), tuple("abc"[:len(made)]), tuple(np.zeros((len(axis.lengths), axis.steps)) for axis in made),
                 made, (), ())


POST, PRE = batch_of(([3, 5, 2], 6, "post")), batch_of(([3, 5, 2], 6, "pre"))


def arranged(batch=POST, rows=(0, 1, 2), **options):
    return Arrangement(batch, rows, **options)


# Numbers.


@pytest.mark.parametrize("dtypes, tolerance", [
    ([], 1e-4), (["float32"], 1e-4), (["float16", "float32"], 2e-2), (["bfloat16", "float16"], 1e-1)])
def test_the_tolerance_is_that_of_the_coarsest_type(dtypes, tolerance):
    assert tolerance_of(dtypes) == tolerance


def test_floats_of_any_kind_become_doubles_and_integers_stay():
    assert as_numbers(np.array([1], ml_dtypes.bfloat16)).dtype == as_numbers(tf.constant([1.0])).dtype == "float64"
    assert as_numbers(np.array([1], "int8")).dtype == "int8" and as_numbers(np.array([True])).dtype == bool


@pytest.mark.parametrize("a, b, apart", [
    (1.0, 3.5, 2.5), (3, 1, 2), (NAN, NAN, 0), (NAN, 1.0, INF), (1.0, NAN, INF), (INF, INF, 0), (-INF, INF, INF), (INF, 1.0, INF),
    (1 + 2j, 1 - 1j, 3), (True, False, 1)])
def test_the_difference_of_two_values(a, b, apart):
    assert difference(np.array([a]), np.array([b])).tolist() == [apart]


def test_half_precision_is_subtracted_as_doubles():
    a, b = np.array([60000], "float16"), np.array([-60000], "float16")
    assert difference(a, b).tolist() == [120000]


# Sizes.


def of_rows(*rows, dtype="float32"):
    return [np.array(row, dtype)[None] for row in rows]


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_another_id_is_another_id(dtype):
    assert [size.tolist() for size in sizes_of(of_rows([1, 90], [0, 1], dtype=dtype))] == [[1.0], [1.0]]


def test_all_is_a_share_of_the_largest_value():
    assert {float(size) for sizes in sizes_of(of_rows([1, -4], [2, 0, 3])) for size in np.ravel(sizes)} == {4.0}


def test_of_zeros_the_size_is_one():
    assert {float(size) for sizes in sizes_of(of_rows([0, 0], [0])) for size in np.ravel(sizes)} == {1.0}


def test_what_is_not_finite_counts_for_nothing():
    assert np.ravel(sizes_of(of_rows([1, NAN, 2], [INF, -INF]))[0]).tolist() == [2, 2, 2]


def test_complex_values_are_measured_by_their_absolute_value():
    assert np.ravel(sizes_of([np.array([[3 + 4j, 1]], "complex64")])[0]).tolist() == [5, 5]


def test_features_of_usual_size_share_one_and_one_that_dwarfs_them_has_its_own():
    sizes = sizes_of([np.array([[[1, 3, 1e6]]]), np.array([[[2, 1, 2e6], [0.5, 1, 1]]])])
    assert np.unique(sizes[0][0, :, :2]).tolist() == [3] and np.unique(sizes[1][..., 2]).tolist() == [2e6]


def test_a_feature_is_usual_up_to_a_thousand_times_the_others():
    assert np.unique(sizes_of([np.array([[[1.0, 1, 1000]]])])[0]).tolist() == [1000]
    assert sizes_of([np.array([[[1.0, 1, 1001]]])])[0].tolist() == [[[1, 1, 1001]]]


def test_a_value_that_dwarfs_the_others_is_left_out_where_the_batch_holds_the_same():
    alone = of_rows([1, -1e9, 2], [3, -1e9])
    close = [np.array([[False, True, False]]), np.array([[False, True]])]
    assert [size.tolist() for size in sizes_of(alone, close)] == [[[3, 1e9, 3]], [[3, 1e9]]]
    assert np.ravel(sizes_of(alone)[0]).tolist() == [1e9] * 3


def test_values_up_to_a_thousand_times_the_median_count():
    alone, close = of_rows([1, 1, 1000], [1]), [np.ones((1, 3), bool), np.ones((1, 1), bool)]
    assert np.ravel(sizes_of(alone, close)[0]).tolist() == [1000] * 3
    assert np.ravel(sizes_of(of_rows([1, 1, 1001], [1]), close)[0]).tolist() == [1, 1, 1001]


def test_small_values_are_a_share_of_the_largest_of_them():
    assert np.ravel(sizes_of(of_rows([0.5, 0.25], [0.125]))[0]).tolist() == [0.5, 0.5]
    assert sizes_of([np.array([[[0.5, 0.25], [0.125, 0.25]]])])[0][0, 0].tolist() == [0.5, 0.5]


def test_features_of_an_output_without_time_have_sizes_of_their_own_too():
    assert sizes_of([np.array([[1.0, 2.0, 3.0, 1e6]])] * 2)[0].tolist() == [[3, 3, 3, 1e6]]


def test_zeros_do_not_make_all_else_large():
    alone, close = of_rows([0, 0, 0, 0, 5], [6, 0, 0]), [np.ones((1, 5), bool), np.ones((1, 3), bool)]
    assert np.ravel(sizes_of(alone, close)[1]).tolist() == [6, 6, 6]


def test_nan_among_the_values_leaves_the_usual_size_as_it_is():
    alone, close = of_rows([NAN, 1, -1e9], [2, 3]), [np.ones((1, 3), bool), np.ones((1, 2), bool)]
    assert np.ravel(sizes_of(alone, close)[1]).tolist() == [3, 3]


# Where valid steps stand.


def test_an_arrangement_knows_its_padding_and_its_side():
    (axis,) = POST.axes
    assert arranged().padding(axis) == ([3, 1, 4], "post")
    assert arranged(rows=(2, 0), more=2).padding(axis) == ([6, 5], "post")
    assert arranged(rows=(2, 0), more=None).padding(axis) == ([1, 0], "post")
    assert arranged(side="pre").padding(axis) == ([3, 1, 4], "pre")
    assert arranged(more=2, side="pre", vary=()).padding(axis) == ([3, 1, 4], "post")
    assert arranged(more=2, side="pre", vary=(axis,)).padding(axis) == ([5, 3, 6], "pre")


def test_an_arrangement_puts_the_inputs_together():
    assert [leaf.shape for leaf in arranged(rows=(2,), more=1).inputs()] == [(1, 7)]


def test_side_axes_and_further_options_go_to_the_batch():
    both = batch_of(([3, 5, 2], 6, "post"), ([4, 2, 1], 5, "post"))
    for leaf, values in zip(both.leaves, (7.0, 8.0)):
        leaf[:, :1] = values
    first, second = arranged(both, rows=(2,), more=1, side="pre", vary=(both.axes[0],)).inputs(
        garbage=lambda values, count: np.full(count, -1.0))
    assert first.tolist() == [[-1, -1, -1, -1, -1, 7, 0]] and second.tolist() == [[8, -1, -1, -1, -1]]


def test_each_axis_of_a_tensor_is_cut_on_its_own_side():
    both = batch_of(([3, 5, 2], 6, "pre"), ([4, 2, 6], 7, "post"))
    where = places((3, 6, 7), [(1, 3, 4), (1, 5, 2), (1, 2, 6)], arranged(both))
    assert where[0] == (0, slice(3, 6), slice(0, 4)) and where[2] == (2, slice(4, 6), slice(0, 6))
    twins = batch_of(([3, 5, 2], 6, "pre"), ([4, 6, 3], 7, "post"))  # with as much padding
    assert places((3, 7), [(1, 4), (1, 6), (1, 3)], arranged(twins))[0] == (0, slice(0, 4))


def test_the_side_is_that_of_the_axis_with_so_much_padding():
    both = batch_of(([3, 5, 2], 6, "pre"), ([4, 2, 1], 5, "post"))
    assert arranged(both).side_of([3, 1, 4], 6) == "pre" and arranged(both).side_of([1, 3, 4], 5) == "post"
    assert arranged(both).side_of([9, 9, 9], 20) == "pre"  # nobody knows: that of the first


def test_of_two_axes_with_as_much_padding_the_one_of_that_size_tells():
    both = batch_of(([3, 5, 2], 5, "pre"), ([4, 2, 6], 6, "post"))
    assert arranged(both, rows=(0,)).side_of([2], 6) == "post" and arranged(both, rows=(0,)).side_of([2], 5) == "pre"


def test_valid_steps_stand_at_the_start_or_at_the_end():
    alone = [(1, 3, 4), (1, 5, 4), (1, 2, 4)]
    assert [place[1] for place in places((3, 6, 4), alone, arranged())] == [slice(0, 3), slice(0, 5), slice(0, 2)]
    assert [place[1] for place in places((3, 6, 4), alone, arranged(PRE))] == [slice(3, 6), slice(1, 6), slice(4, 6)]
    assert [(place[0], place[2]) for place in places((3, 6, 4), alone, arranged(PRE))] == [(row, slice(0, 4)) for row in range(3)]


def test_an_output_without_time_is_compared_whole():
    assert places((3, 4), [(1, 4)] * 3, arranged(PRE)) == [(row, slice(0, 4)) for row in range(3)]
    assert places((3,), [(1,)] * 3, arranged()) == [(0,), (1,), (2,)]


@pytest.mark.parametrize("shape, alone", [
    ((2, 6), [(1, 3), (1, 5), (1, 2)]),   # fewer rows than sequences
    ((3, 6), [(1, 3, 1), (1, 5), (1, 2)]),  # another number of axes
    ((3, 6), [(3, 3), (1, 5), (1, 2)]),   # more than one sequence alone
    ((3, 4), [(1, 3), (1, 5), (1, 2)]),   # more steps alone than in the batch
])
def test_shapes_that_do_not_tell_are_not_compared(shape, alone):
    assert places(shape, alone, arranged()) is None
    assert deviation(np.zeros(shape), [np.zeros(size) for size in alone], arranged()) is None


# Deviations.


def together(alone, steps=6, fill=9.0):
    return np.stack([np.concatenate([answer[0], np.full((steps - len(answer[0]), *answer.shape[2:]), fill)])
                     for answer in alone])


ALONE = of_rows([1, 2, 3], [5, 4, 3, 2, 1], [2, 1])


def test_padding_is_not_compared():
    assert deviation(together(ALONE), ALONE, arranged()) == Deviation(0.0)


@pytest.mark.parametrize("row, step", [(0, 2), (1, 0), (1, 4), (2, 1)])
def test_the_largest_difference_is_named_with_its_place(row, step):
    tensor = together(ALONE)
    tensor[row, step] += 1
    tensor[0, 0] += 0.1
    difference = deviation(tensor, ALONE, arranged(), output=2)
    assert difference == Deviation(pytest.approx(0.2), row, step, 2)
    assert difference.words(arranged(), False) == f"sequence {row}, step {step}"
    assert difference.words(arranged(rows=(7, 8, 9)), True) == f"sequence {row + 7}, step {step}, output 2"


def test_an_output_without_time_has_no_step():
    alone = [np.array([[1.0, 2.0]])] * 3
    tensor = np.concatenate(alone)
    tensor[1, 1] += 1
    difference = deviation(tensor, alone, arranged())
    assert difference == Deviation(0.5, 1, None) and difference.words(arranged(), False) == "sequence 1"
    assert deviation(np.array([1.0, 2.0, 4.0]), of_rows(1, 2, 3), arranged()) == Deviation(pytest.approx(1 / 3), 2, None)


def test_a_full_sequence_has_steps_where_the_others_have():
    tensor = together(ALONE, steps=5)
    tensor[1, 3] += 1
    assert deviation(tensor, ALONE, arranged(batch_of(([3, 5, 2], 5, "post")))).step == 3


def test_one_sequence_alone_has_steps_where_it_is_padded():
    arrangement = arranged(rows=(0,))
    assert deviation(np.array([[1.0, 2, 4, 9, 9, 9]]), ALONE[:1], arrangement) == Deviation(pytest.approx(1 / 3), 0, 2)
    assert deviation(np.array([[1.0, 2.0, 4.0]]), ALONE[:1], arranged(batch_of(([3], 3, "post")), rows=(0,))).step is None


def test_no_difference_belongs_to_the_output_that_was_asked_about():
    assert deviation(together(ALONE), ALONE, arranged(), output=3) == Deviation(0.0, output=3)


def test_rounding_of_a_large_value_in_half_precision_is_no_difference_of_its_own():
    alone = of_rows([-6e4, 1, 2], [-6e4, 1, 2, 3, 4], [-6e4, 1], dtype="float16")
    tensor = together(alone).astype("float16")
    tensor[:, 0] = -59968
    assert deviation(tensor, alone, arranged()).size < 1e-3
    tensor[2, 1] += 1
    assert deviation(tensor, alone, arranged()) == Deviation(0.25, 2, 1)


def test_a_large_value_that_moves_by_a_tenth_counts_as_large_for_all():
    alone = of_rows([-1e9, 1, 2], [-1e9, 1, 2, 3, 4], [-1e9, 1])
    tensor = together(alone)
    tensor[:, 0] *= 0.9
    tensor[2, 1] += 1
    assert deviation(tensor, alone, arranged()).size == pytest.approx(0.1)


def test_scores_of_minus_a_billion_hide_no_other_scores():
    alone = of_rows([-1e9, 1, 2], [-1e9, 1, 2, 3, 4], [-1e9, 1])
    tensor = together(alone)
    assert deviation(tensor, alone, arranged()).size == 0
    tensor[2, 1] += 1
    assert deviation(tensor, alone, arranged()) == Deviation(0.25, 2, 1)


def test_a_large_value_that_moves_is_not_left_out():
    alone = of_rows([-1e9, 1, 2], [-1e9, 1, 2, 3, 4], [-1e9, 1])
    tensor = together(alone)
    tensor[0, 0] = -2e9
    assert deviation(tensor, alone, arranged()) == Deviation(1.0, 0, 0)


def test_a_number_in_place_of_infinity_is_infinitely_far():
    alone = of_rows([1, INF, 2], [1, 2, 3, 4, 5], [1, 1])
    tensor = together(alone)
    assert deviation(tensor, alone, arranged()).size == 0
    tensor[0, 1] = 1
    assert deviation(tensor, alone, arranged()) == Deviation(INF, 0, 1)


def test_what_other_sequences_give_tells_what_is_usual():
    alone = of_rows([-1e9, 1])
    tensor = np.array([[-1e9, 1.5, 7]])
    arrangement = arranged(batch_of(([2], 3, "post")), rows=(0,))
    assert deviation(tensor, alone, arrangement).size < 1e-8
    assert deviation(tensor, alone, arrangement, beside=of_rows([1, 1, 1, 1])).size == 0.5


def test_the_worst_of_deviations_is_the_largest_and_of_none_is_nan():
    assert worst_of([Deviation(0.1), Deviation(0.3, 2), Deviation(0.2)]) == Deviation(0.3, 2)
    assert worst_of([Deviation(0.3, 0, 1), Deviation(0.3, 0, None, 1)]) == Deviation(0.3, 0, 1)
    assert np.isnan(worst_of([]).size)


def test_two_runs_are_apart_by_a_share_of_the_second():
    assert share_apart(np.array([1.0, 5.0]), np.array([1.0, 4.0])) == 0.25
    assert share_apart(np.array([3]), np.array([9])) == 6 and share_apart(np.zeros((0, 2)), np.zeros((0, 2))) == 0
