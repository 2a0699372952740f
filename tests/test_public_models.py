"""Models as examples publish them: the leak of each is there, and find_leaks names what lets padding through."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers as L
from public_models import (
    CASES,
    LENGTHS,
    Case,
    change_without_padding,
    ids,
    padding_error,
    public_case,
    trained,
    unrolled,
)
from thorough import some_of

from masking_tutorial import find_leaks

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
]

case_of = cache(public_case)


@pytest.mark.parametrize("name", CASES)
def test_padding_changes_the_answer(name):
    case = case_of(name)
    with unrolled(case.model):
        assert padding_error(case.model, case) > 1e-2


@pytest.mark.parametrize("name", some_of(CASES, 3))
def test_the_culprit_is_named_first(name):
    case = case_of(name)
    with unrolled(case.model):
        report = find_leaks(case.model, case.batch, **case.options)
    assert case.culprit in report.first.name.split("/"), report


@pytest.mark.parametrize("name", CASES)
def test_a_model_is_built_again_from_its_config(name):
    case = case_of(name)
    again = type(case.model).from_config(case.model.get_config())
    again.set_weights(case.model.get_weights())
    for actual, expected in zip(
            keras.tree.flatten(again(case.batch)), keras.tree.flatten(case.model(case.batch)), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_what_is_said_is_complete():
    for name in CASES:
        case = case_of(name)
        assert case.name == name and case.fault and case.reason
        assert case.mendable in (True, False, "partly")


# The measures.


def average(mask_zero, seed=0):
    "Ids, their vectors, and the average."
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None,), dtype="int32"), L.Embedding(20, 4, mask_zero=mask_zero), L.GlobalAveragePooling1D()])
    trained(model, np.random.default_rng(seed))
    return model


def test_without_a_leak_there_is_no_error_and_a_mask_changes_nothing_without_padding():
    case = Case(average(False), ids(np.random.default_rng(1)), LENGTHS, "", "", True, "")
    assert padding_error(case.model, case) > 0.1
    mended = average(True)
    assert padding_error(mended, case) < 1e-6
    assert change_without_padding(case.model, mended, case) < 1e-6
    assert change_without_padding(case.model, average(True, seed=2), case) > 0.1


def joined(masked):
    "Ids for a fixed number of steps, their vectors, and weights for each of them."
    x = entry = keras.Input((6,), dtype="int32")
    x = L.Embedding(20, 4, name="words")(x)
    if masked:
        x = x * keras.ops.cast(entry != 0, "float32")[..., None]
    model = keras.Model(entry, L.Dense(2)(L.Flatten()(x)))
    trained(model, np.random.default_rng(0))
    return model


def test_where_the_number_of_steps_is_fixed_what_stands_at_padding_is_changed():
    case = Case(joined(False), ids(np.random.default_rng(1)), LENGTHS, "", "", True, "", padding_vector="words")
    kept = case.model.get_weights()
    assert padding_error(case.model, case) > 0.1
    assert all(np.array_equal(after, before) for after, before in zip(case.model.get_weights(), kept))
    mended = joined(True)
    assert padding_error(mended, case) == 0
    assert change_without_padding(case.model, mended, case) < 1e-6
