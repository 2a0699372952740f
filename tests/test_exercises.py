"""What a reader is told of an answer: the truth, in the words that help."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from masking_tutorial.exercises import agrees, check_answer, reason, shown
from masking_tutorial.masks import attach_mask, get_mask

pytestmark = pytest.mark.usefixtures("seeded")

DONE = "Done: every case holds."


@pytest.fixture
def told(capsys):
    """What is printed for an answer, as lines."""

    def check(answer, cases):
        check_answer(answer, cases)
        return capsys.readouterr().out.splitlines()

    return check


# What counts as right.


@pytest.mark.parametrize(
    "got, expected",
    [
        (0.30000001, 0.3),
        (np.float32(0.1), 0.1),
        (np.int64(3), 3),
        (3.0, 3),
        (2e-8, 0),
        (np.quantile([3, 5, 9], 0.5, method="inverted_cdf"), 5),
        (1e6 + 1, 1e6),
        (np.nan, np.nan),
        (tf.constant([[1.0, 2.0]]), [[1, 2]]),
        ([[1, 2]], np.array([[1, 2]])),
        ((1, 2), [1, 2]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (("a", 2.00001), ("a", 2)),
        ({"a": tf.constant([1.0])}, {"a": [1]}),
        (np.True_, True),
        (tf.constant(True), True),
        (np.array([True, False]), [True, False]),
        (np.uint8([1, 2]), np.array([1, 2])),
        (tf.zeros((2, 3)).shape, (2, 3)),
        (keras.Input((3,)).shape, (None, 3)),
        ("bool", bool),
        (tf.bool, bool),
        (np.dtype("float32"), "float32"),
        (np.str_("post"), "post"),
        (None, None),
        (tf.ragged.constant([[1], [2, 3]]), [[1], [2, 3]]),
        (np.array(["a", "b"]), ["a", "b"]),
        ({1, 2}, {2, 1}),
        (range(3), [0, 1, 2]),
        (1 + 2j, 1 + 2j),
    ],
)
def test_right_within_rounding(got, expected):
    assert agrees(got, expected)


@pytest.mark.parametrize(
    "got, expected",
    [
        (0.31, 0.3),
        (0.001, 0),
        (4, 3),
        (np.nan, 0.0),
        (0.0, np.nan),
        (1, True),
        (True, 1),
        (1.0, True),
        (np.array([1, 0]), [True, False]),
        (np.array([True, False]), [1, 0]),
        (np.array([1.0, 2.0]), np.array([1, 2])),
        ([3.0], [[3.0]]),
        (3.0, [3.0]),
        (np.ones((2, 3)), np.ones((3, 2))),
        (np.ones((1, 3)), np.ones((2, 3))),
        ([1, 2], [1, 2, 3]),
        ([1, [2, 3]], [1, [2, 4]]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"b": 1}),
        ([1], {"a": 1}),
        ((None, 3), (2, 3)),
        ("pre", "post"),
        (3, "3"),
        (None, 0),
        (0, None),
        (np.zeros(0), None),
        ([None], [0]),
        ("int32", bool),
        (np.ones(2, "int32"), bool),
        (keras.Input((3,)), [1, 2, 3]),
        (["a", 3], ["a", "3"]),
        (np.array(["1"]), [1]),
        (2**53 + 1, 2**53),
        ({1, 2}, {1}),
        (lambda x: x, 3),
    ],
)
def test_wrong_beyond_rounding(got, expected):
    assert not agrees(got, expected)


# What is printed.


def double(number):
    return 2 * number


CASES = {"doubles a number": (lambda f: f(2), 4), "keeps zero": (lambda f: f(0), 0)}


def test_a_right_answer_is_accepted(told):
    assert told(double, CASES) == ["[ok]    doubles a number", "[ok]    keeps zero", DONE]


def test_a_wrong_answer_is_shown_beside_the_right_one(told):
    def triple(number):
        return 3 * number

    assert told(triple, CASES) == [
        "[wrong] doubles a number",
        "        call      triple(2)",
        "        came out  6",
        "        expected  4",
        "[ok]    keeps zero",
        "1 of 2 cases hold.",
    ]


def test_what_the_answer_returned_is_shown_where_something_else_is_compared(told):
    lines = told(lambda x: [x, x], {"is one": (lambda f: len(f(3)), 1)})
    assert lines[1:5] == [
        "        call      answer(3)",
        "        returned  [3, 3]",
        "        came out  2",
        "        expected  1",
    ]


def test_the_last_call_is_the_one_that_is_shown(told):
    lines = told(double, {"both": (lambda f: [f(1), f(np.arange(2), )], [2, 3])})
    assert lines[1] == "        call      double(int64 [0, 1])"


def test_large_arrays_are_told_by_their_shape_and_by_where_they_differ(told):
    wrong = np.zeros((3, 50))
    wrong[1, 7] = 2
    lines = told(lambda x, scale=1: wrong, {"zeros": (lambda f: f(np.ones((3, 50), "float32"), scale=2), np.zeros((3, 50)))})
    assert lines[1:5] == [
        "        call      answer(float32 (3, 50), scale=2)",
        "        came out  float64 (3, 50)",
        "        expected  float64 (3, 50)",
        "        differs   first at [1, 7]: 2.0 instead of 0.0",
    ]


def test_large_arrays_that_differ_in_dtype_say_so(told):
    lines = told(lambda: np.ones(50), {"ones": (lambda f: f(), np.ones(50, int))})
    assert lines[-2] == "        differs   in dtype: float64 instead of int64"


def test_no_line_is_long(told):
    def long(*args, **kwargs):
        raise ValueError("word " * 100)

    lines = told(long, {"short": (lambda f: f([list(range(12))] * 12, "x" * 500, key={"a": list(range(12))}), {"b" * 99: 1})})
    assert max(map(len, lines)) <= 320 and len(lines) <= 7


@pytest.mark.parametrize(
    "expected, holds", [(ValueError, True), (Exception, True), (KeyError, False)]
)
def test_an_error_can_be_what_is_expected(told, expected, holds):
    def refusing(number):
        raise ValueError("no")

    lines = told(refusing, {"refuses": (lambda f: f(1), expected)})
    assert (lines[-1] == DONE) == holds
    assert ("        expected  a KeyError" in lines) != holds


def test_no_error_where_one_is_expected(told):
    assert told(double, {"refuses": (lambda f: f(1), ValueError)})[1:4] == [
        "        call      double(1)",
        "        came out  2",
        "        expected  a ValueError",
    ]


# An error in the answer.


def test_an_error_is_reported_with_its_line_and_not_raised(told):
    def answer(number):
        return {}["mask"] if number else 0

    assert told(answer, CASES) == [
        "[wrong] doubles a number",
        "        call      answer(2)",
        "        raised    KeyError: 'mask'",
        """        in        return {}["mask"] if number else 0""",
        "[ok]    keeps zero",
        "1 of 2 cases hold.",
    ]


def test_an_error_in_the_call_itself_is_reported_without_a_line_of_the_answer(told):
    lines = told(double, {"has a shape": (lambda f: f(2).shape, (1,))})
    assert lines[1:] == ["        call      double(2)", "        raised    AttributeError: 'int' object has no attribute 'shape'",
                         "0 of 1 cases hold."]


class Shifted(layers.Layer):
    def call(self, x):
        return x + ops.ones((3, 8))


@keras.saving.register_keras_serializable(package="tests")
class Branching(layers.Layer):
    def call(self, x):
        return x if ops.sum(x) > 1 else x * 2


X = np.ones((2, 4, 8), "float32")


@tf.function
def gathered(x):
    return tf.gather(x, tf.argmax(x[0]) + 99)


ERRORS = {
    "eager": (lambda: Shifted()(X), "InvalidArgumentError in Shifted.call(): Incompatible shapes: [2,4,8] vs. [3,8]"),
    "symbolic": (
        lambda: Shifted()(keras.Input((4, 8))),
        "ValueError in Shifted.call(): Dimensions must be equal, but are 4 and 3 for AddV2 with input shapes: [?,4,8], [3,8].",
    ),
    "predict": (
        lambda: keras.Sequential([Shifted()]).predict(X, verbose=0),
        "ValueError in Shifted.call(): Dimensions must be equal, but are 4 and 3 for AddV2 with input shapes: [2,4,8], [3,8].",
    ),
    "branch": (
        lambda: Branching()(keras.Input((4, 8))),
        "OperatorNotAllowedInGraphError in Branching.call(): Using a symbolic `tf.Tensor` as a Python `bool` is not allowed.",
    ),
    "ids": (lambda: layers.Embedding(3, 2)(np.array([[9]])), "InvalidArgumentError in Embedding.call(): indices[0,0] = 9 is not in [0, 3)"),
    "graph": (lambda: gathered(np.ones((2, 2))), "indices = 99 is not in [0, 2)"),
    "autograph": (lambda: tf.function(lambda x: tf.reshape(x, (3, 3)))(X), "ValueError: Cannot reshape a tensor with 64 elements to shape [3,3]"),
    "symbolic in tf": (lambda: tf.nn.relu(keras.Input((4,))), "ValueError: A KerasTensor cannot be used as input to a TensorFlow function."),
    "rank": (lambda: layers.LSTM(2)(np.ones((2, 3))), "is incompatible with the layer: expected ndim=3, found ndim=2."),
    "no message": (lambda: [].__iter__().__next__(), "StopIteration: without a message"),
    "cast": (lambda: tf.constant([1]) + tf.constant([1.0]), "was expected to be a int32 tensor but is a float tensor"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_reason_is_what_keras_meant(name):
    action, words = ERRORS[name]
    with pytest.raises(Exception) as caught:  # noqa: PT011
        action()
    lines = reason(caught.value)
    text = " ".join(lines)
    assert words in text
    assert len(lines) <= 3 and all(line and len(line) <= 100 for line in lines)
    for noise in ("{{", "http", "resolutions", "[Op:", "Arguments received", "\x1b", "Error encountered", "Exception encountered", "File "):
        assert noise not in text, noise


# Untouched stubs.


def stub(x):
    ...  # your answer


def stub_with_words(x):
    """Return x."""
    return ...  # your answer


class StubLayer(layers.Layer):
    def call(self, x, mask=None):
        ...  # your answer

    def compute_mask(self, x, mask=None):
        return None


class HalfStub(layers.Layer):
    def call(self, x):
        y = x * 2  # noqa: F841
        return None


class EmptyStub(layers.Embedding):
    ...  # your answer


@pytest.mark.parametrize("answer", [stub, stub_with_words, StubLayer, HalfStub, EmptyStub, lambda x: ..., ..., None])
def test_a_stub_gets_one_line(told, answer):
    lines = told(answer, {"is one": (lambda f: (f() if isinstance(f, type) else f)(X), 1), "is two": (lambda f: 1, 2)})
    assert len(lines) == 1 and lines[0].endswith(
        "returns nothing yet: write your answer in the place of `...`, run its cell, then this one.")


@pytest.mark.parametrize("answer", [lambda x: 0, lambda x: False, lambda x: []])
def test_an_answer_that_is_false_is_no_stub(told, answer):
    assert len(told(answer, {"is one": (lambda f: f(1), 1)})) > 1


def test_nothing_can_be_the_right_answer(told):
    def without_mask(x):
        return get_mask(x)

    assert told(without_mask, {"there is none": (lambda f: f(tf.constant([1])), None)})[-1] == DONE


# Layers.


class PassesMask(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        return x if mask is None else ops.where(mask[:, :, None], x, 0)


def test_a_class_stays_what_it_is(told):
    before = dict(vars(PassesMask))
    mask = np.array([[True, True, False, False]] * 2)
    lines = told(PassesMask, {
        "it is given the mask": (lambda f: f()(attach_mask(X, mask)), X * mask[:, :, None]),
        "it hands the mask on": (lambda f: get_mask(f()(attach_mask(X, mask))), mask),
        "it is the same class": (lambda f: f is PassesMask and type(f(name="a")) is PassesMask, True),
        "its name is kept": (lambda f: f(name="a").get_config()["name"], "a"),
        "it runs in a graph": (lambda f: keras.Sequential([f()]).predict(X, verbose=0), X),
    })
    assert lines[-1] == DONE, lines
    assert dict(vars(PassesMask)) == before


def test_a_class_that_inherits_its_call_gets_none_of_its_own(told):
    class Child(PassesMask):
        def compute_mask(self, x, mask=None):
            return None

    assert told(Child, {"no mask": (lambda f: get_mask(f()(attach_mask(X, X[:, :, 0] > 0))), None)})[-1] == DONE
    assert "call" not in vars(Child)


def test_the_call_of_a_layer_is_shown(told):
    mask = np.array([[True, False, False, False]])
    lines = told(PassesMask, {"zero": (lambda f: f()(X[:1, :, :1], mask=mask), np.zeros((1, 4, 1)))})
    assert lines[1:4] == [
        "        call      PassesMask.call(float32 [[[1.0], [1.0], [1.0], [1.0]]], mask=bool [[True, False, False, False]])",
        "        came out  float32 [[[1.0], [0.0], [0.0], [0.0]]]",
        "        expected  float64 [[[0.0], [0.0], [0.0], [0.0]]]",
    ]


def test_an_instance_is_listened_to_and_others_of_its_class_are_not(told):
    before = layers.Dense.call
    model = layers.Dense(3, kernel_initializer="ones"), layers.Dense(2, kernel_initializer="zeros")
    lines = told(model[0], {"three": (lambda f: model[1](f(np.ones((1, 4)))).shape, (1, 3))})
    assert lines[1:3] == [
        "        call      Dense.call(float32 [[1.0, 1.0, 1.0, 1.0]])",
        "        returned  float32 [[4.0, 4.0, 4.0]]",
    ]
    assert layers.Dense.call is before


def test_a_class_is_as_before_after_an_error(told):
    before = dict(vars(Shifted))
    assert "Incompatible shapes" in "".join(told(Shifted, {"adds": (lambda f: f()(X), 1)}))
    assert dict(vars(Shifted)) == before


def test_a_metric_is_listened_to(told):
    class Count(keras.metrics.Metric):
        def update_state(self, *args):
            pass

        def result(self):
            return 3

    assert told(Count, {"counts": (lambda f: f().result(), 4)})[1:4] == [
        "        call      Count.result()",
        "        came out  3",
        "        expected  4",
    ]


# How values look.


class Manifold:
    def __repr__(self):
        return "one line\nand another"


@pytest.mark.parametrize(
    "value, text",
    [
        (0.1 + 0.2, "0.3"),
        (np.float32(0.1), "0.1"),
        (-1e-9, "0.0"),
        (np.inf, "inf"),
        (np.arange(3), "int64 [0, 1, 2]"),
        (np.zeros((4, 4)), "float64 (4, 4)"),
        (tf.constant([True]), "bool [True]"),
        (keras.Input((3,)), "float32 (None, 3)"),
        ([1, [2.00001, "a"]], "[1, [2.0, 'a']]"),
        ((1,), "(1,)"),
        (list(range(99)), "list of 99"),
        (["long word" * 5] * 9, "list of 9"),
        ({"a": np.ones(2, int)}, "{'a': int64 [1, 1]}"),
        (bool, "bool"),
        (double, "double"),
        (layers.Dense(1, name="last"), "last"),
        (tf.zeros((2, 3)).shape, "(2, 3)"),
        (np.full(12, 1.2345), "float64 (12,)"),
        ([1.23456] * 12, "list of 12"),
        (Manifold(), "Manifold"),
        ("a\nb" * 99, "'" + "a\\nb" * 24 + "..."),
        (None, "None"),
        (np.array(["a"]), "<U1 ['a']"),
    ],
)
def test_a_value_is_shown_on_one_line(value, text):
    assert re.sub(r"str\d+", "<U1", shown(value)) == text


def test_checking_needs_no_tensorflow():
    code = ("import sys\nfrom masking_tutorial.exercises import check_answer\n"
            "check_answer(lambda x: x, {'same': (lambda f: f(2), 2)})\nprint({'tensorflow', 'keras'} & sys.modules.keys())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == [DONE, "set()"], done.stderr


def test_an_object_that_is_named_like_the_answer_is_not_the_answer():
    assert not agrees(keras.layers.Dense(1, name="conv"), "conv") and agrees("conv", "conv")
    assert agrees(np.zeros(1, "float32").dtype, "float32")
