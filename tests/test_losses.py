"""Reductions over valid steps, every metric of Keras in MaskedMetric, and the regularizer: what the chapter cannot show."""

import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, metrics, ops
from thorough import examples, some_of

from masking_tutorial.losses_and_metrics import (
    BlankAtPadding,
    MaskedActivityRegularization,
    MaskedMetric,
    masked_max,
    masked_mean,
    masked_std,
    masked_sum,
)
from masking_tutorial.masks import attach_mask, get_mask, mask_from_lengths

pytestmark = [pytest.mark.usefixtures("seeded"), pytest.mark.filterwarnings("ignore:You are passing weight as `float`, but dtype is `int`")]
REDUCTIONS = {masked_sum: np.sum, masked_mean: np.mean, masked_max: np.max, masked_std: np.std}
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda function: function.__name__)
LENGTHS = np.array([3, 1, 6, 5])
VALID = mask_from_lengths(LENGTHS, 8)


def with_mask(values, mask):
    return attach_mask(ops.convert_to_tensor(values), mask)


# Reductions.


@examples(on_jax=10)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 3), st.sampled_from([0, 1e30, np.nan, -np.inf]))
def test_reductions_are_those_of_the_valid_steps(lengths, features, padding):
    mask = mask_from_lengths(lengths, 7)
    draw = np.random.default_rng(len(lengths)).normal(size=(len(lengths), 7, *range(2, 2 + features - 1)))
    values = np.where(mask.reshape(mask.shape + (1,) * (draw.ndim - 2)), draw, padding)
    for reduction, expected in REDUCTIONS.items():
        actual = ops.convert_to_numpy(reduction(values, mask))
        # JAX has no float64 unless it is asked for
        close = {"rtol": 1e-6, "atol": 1e-9} if actual.dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}
        wanted = expected(values[mask], axis=0) if mask.any() else np.zeros(values.shape[2:])
        np.testing.assert_allclose(actual, wanted, **close)
        actual = ops.convert_to_numpy(reduction(values, mask, per_sequence=True))
        wanted = [expected(row[valid], axis=0) if valid.any() else np.zeros(values.shape[2:]) for row, valid in zip(values, mask)]
        np.testing.assert_allclose(actual, wanted, **close)


@pytest.mark.tensorflow
@each_reduction
@pytest.mark.parametrize("per_sequence", [False, True])
@pytest.mark.parametrize("mask", [VALID, VALID & False, VALID & [[False], [True], [False], [True]]], ids=["some", "none", "rows"])
def test_gradients_are_finite_and_zero_at_padding(reduction, per_sequence, mask):
    values = tf.Variable(np.where(mask, 1.0, np.nan))  # constant rows: the worst case for a root
    with tf.GradientTape() as tape:
        result = ops.sum(reduction(values, mask, per_sequence=per_sequence))
    gradient = tape.gradient(result, values).numpy()
    assert np.isfinite(gradient).all() and (gradient[~mask] == 0).all()
    if reduction is masked_sum:
        assert (gradient[mask] == 1).all()


@pytest.mark.tensorflow
def test_gradients_are_finite_where_all_weights_are_zero():
    values, weights = tf.Variable(np.ones((4, 8))), tf.Variable(np.zeros((4, 8), "float32"))
    with tf.GradientTape() as tape:
        result = ops.sum(masked_mean(values, VALID, weights, per_sequence=True))
    assert result == 0 and all(np.isfinite(gradient).all() for gradient in tape.gradient(result, [values, weights]))


@pytest.mark.tensorflow
@each_reduction
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "int64", "bool"])
def test_dtypes(reduction, dtype):
    values = ops.cast(np.arange(32).reshape(4, 8) % 2, dtype)
    actual = reduction(values, VALID)
    assert actual.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(actual, REDUCTIONS[reduction]((np.arange(32).reshape(4, 8) % 2)[VALID]), rtol=1e-6)


def test_half_precision_counts_beyond_its_own_limits():
    values = np.ones((1, 70_000), "float16")
    mask = np.ones((1, 70_000), bool)
    assert masked_sum(values, mask) == 70_000
    assert masked_mean(values, mask) == 1


def test_nan_at_a_valid_step_gets_through():
    values = np.where(np.arange(8) == 0, np.nan, np.ones((4, 8)))
    assert np.isnan(masked_mean(values, VALID)) and np.isnan(masked_sum(values, VALID, per_sequence=True)).all()


@each_reduction
def test_the_mask_that_values_carry_is_used(reduction):
    values = np.random.default_rng(0).normal(size=(4, 8, 2))
    np.testing.assert_array_equal(reduction(with_mask(values, VALID)), reduction(values, VALID))
    np.testing.assert_array_equal(reduction(with_mask(values, ~VALID), VALID), reduction(values, VALID))


@pytest.mark.tensorflow
@each_reduction
@pytest.mark.parametrize("jit_compile", [False, True])
def test_reductions_compile(reduction, jit_compile):
    values = np.random.default_rng(0).normal(size=(4, 8, 2))
    compiled = tf.function(reduction, jit_compile=jit_compile, input_signature=[
        tf.TensorSpec((None, None, 2), "float64"), tf.TensorSpec((None, None), "bool")])
    np.testing.assert_allclose(compiled(values, VALID), reduction(values, VALID), rtol=1e-9)


@each_reduction
def test_reductions_in_a_functional_model(reduction):
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, reduction(layers.Embedding(9, 3, mask_zero=True)(ids), mask=ids != 0, per_sequence=True))
    alone = model(np.array([[1, 2]]))
    np.testing.assert_allclose(model(np.array([[1, 2, 0, 0], [3, 4, 5, 6]]))[:1], alone, rtol=1e-6)


SQUARE = np.random.default_rng(0).normal(size=(4, 4))
SQUARE_MASK = mask_from_lengths([1, 4, 2, 3])
OF_SEQUENCES = np.array([1.0, 0.0, 2.0, 0.5])
OF_STEPS = np.arange(16.0).reshape(4, 4)


@pytest.mark.parametrize("weights, expected", [
    (OF_SEQUENCES, OF_SEQUENCES[:, None]), (OF_SEQUENCES[:, None], OF_SEQUENCES[:, None]), (OF_STEPS, OF_STEPS),
    (OF_STEPS[:, :, None], OF_STEPS), (3, np.array(3.0)), (np.where(SQUARE_MASK, OF_STEPS, np.nan), OF_STEPS),
], ids=["sequences", "column", "steps", "with features", "one number", "NaN at padding"])
def test_weights_go_by_their_axes(weights, expected):
    expected = np.broadcast_to(expected, (4, 4)) * SQUARE_MASK
    total = (SQUARE * expected).sum()
    assert np.isclose(masked_sum(SQUARE, SQUARE_MASK, weights), total)
    assert np.isclose(masked_mean(SQUARE, SQUARE_MASK, weights), total / expected.sum())
    sums = expected.sum(axis=1)
    rows = np.divide((SQUARE * expected).sum(axis=1), sums, out=np.zeros(4), where=sums > 0)
    np.testing.assert_allclose(masked_mean(SQUARE, SQUARE_MASK, weights, per_sequence=True), rows, rtol=1e-6)


@pytest.mark.parametrize("call, message", [
    (lambda: masked_mean(SQUARE), "values carries no mask, so it is not known which steps are valid: pass mask"),
    (lambda: masked_max([1.0, 2.0], [True, True]), "values has the shape (2,): it must be (batch, time, ...)"),
    (lambda: masked_std(SQUARE, SQUARE_MASK.astype("int32")), "the mask has the dtype int32: a mask is boolean"),
    (lambda: masked_sum(SQUARE, SQUARE_MASK[:3]), "the mask has the shape (3, 4), but values has (4, 4)"),
    (lambda: masked_sum(SQUARE, SQUARE_MASK[:, :, None]), "the mask has the shape (4, 4, 1): a mask is (batch, time)"),
    (lambda: masked_sum(SQUARE, SQUARE_MASK[0]), "the mask has the shape (4,), but values has (4, 4)"),
    (lambda: masked_sum(SQUARE, SQUARE_MASK, OF_SEQUENCES[:3]), "the weights have the shape (3, 1), the mask has (4, 4)"),
    (lambda: masked_mean(SQUARE, SQUARE_MASK, np.ones((1, 4))), "the weights have the shape (1, 4), the mask has (4, 4)"),
    (lambda: masked_mean(SQUARE, SQUARE_MASK, np.ones((4, 4, 2))), "the weights have the shape (4, 4, 2)"),
])
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# MaskedMetric, for every class of keras.metrics.

ARGUMENTS = {
    **dict.fromkeys(("IoU", "OneHotIoU"), {"num_classes": 3, "target_class_ids": [0, 1]}),
    **dict.fromkeys(("MeanIoU", "OneHotMeanIoU"), {"num_classes": 3}),
    **dict.fromkeys(("TopKCategoricalAccuracy", "SparseTopKCategoricalAccuracy"), {"k": 2}),
    "PrecisionAtRecall": {"recall": 0.5}, "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5}, "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "MeanMetricWrapper": {"fn": keras.losses.mean_squared_error},
}
CLASSES = sorted(name for name, kind in vars(metrics).items() if isinstance(kind, type) and issubclass(kind, metrics.Metric))
PAIRS = [name for name in CLASSES if name not in ("Metric", "Mean", "Sum")]
each_pair = pytest.mark.parametrize("name", some_of(PAIRS, on_jax=4))
INTEGER = {name for name in PAIRS if "IoU" in name}  # their confusion matrices count in integers


def make(name):
    return getattr(metrics, name)(**ARGUMENTS.get(name, {}))


def batch(lengths, steps, seed, garbage=None):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, (len(lengths), 40))[:, :steps]
    scores = draw.random((len(lengths), 40, 3), "float32")[:, :steps]
    mask = mask_from_lengths(lengths, steps)
    scores /= scores.sum(axis=-1, keepdims=True)
    if garbage is not None:
        scores[~mask] = garbage
    return labels, scores, mask


def suited(name, labels, scores):
    if name in ("Accuracy", "IoU", "MeanIoU"):
        return labels, np.nan_to_num(scores).argmax(axis=-1)
    if name == "BinaryIoU":
        return (labels == 0)[:, :, None].astype("float32"), scores[:, :, :1]
    return (labels if name.startswith("Sparse") else np.eye(3, dtype="float32")[labels]), scores


def unpadded(name, batches):
    metric = make(name)
    for labels, scores, mask in batches:
        y_true, y_pred = suited(name, labels, scores)
        metric.update_state(y_true[mask], y_pred[mask])
    return np.asarray(metric.result())


def explicitly_weighted(name, batches, weights):
    metric = make(name)
    for (labels, scores, mask), weight in zip(batches, weights):
        y_true, y_pred = (array.reshape(-1, *array.shape[2:]) for array in suited(name, labels, scores))
        metric.update_state(y_true, y_pred, sample_weight=(np.where(mask, weight, 0)).ravel())
    return np.asarray(metric.result())


def wrapped(metric, name, batches, weights=(None, None)):
    for (labels, scores, mask), weight in zip(batches, weights):
        y_true, y_pred = suited(name, labels, scores)
        metric.update_state(y_true, with_mask(y_pred, mask), sample_weight=weight)
    return np.asarray(metric.result())


MANY = np.arange(20) % 6 + 1
FEW = np.arange(13) % 5 + 2
BATCHES = [batch(MANY, 6, 0), batch(FEW, 17, 1)]


def test_the_sweep_is_over_every_class():
    assert {"AUC", "Recall", "R2Score", "MeanIoU", "F1Score", "RootMeanSquaredError"} < set(PAIRS)
    assert len(PAIRS) == len(CLASSES) - 3


@each_pair
def test_the_result_is_that_of_the_unpadded_steps(name):
    np.testing.assert_allclose(wrapped(MaskedMetric(make(name)), name, BATCHES), unpadded(name, BATCHES), rtol=1e-5)


@each_pair
def test_the_result_is_that_of_an_explicit_sample_weight(name):
    ones = [np.ones(mask.shape, "int32") for *_, mask in BATCHES]
    np.testing.assert_allclose(wrapped(MaskedMetric(make(name)), name, BATCHES), explicitly_weighted(name, BATCHES, ones), rtol=1e-5)


@each_pair
def test_weights_of_steps_and_of_sequences_are_honoured(name):
    draw = np.random.default_rng(5)
    steps = [draw.integers(0, 4, mask.shape).astype("int32" if name in INTEGER else "float32") for *_, mask in BATCHES]
    result = wrapped(MaskedMetric(make(name)), name, BATCHES, steps)
    np.testing.assert_allclose(result, explicitly_weighted(name, BATCHES, steps), rtol=1e-5)
    sequences = [weights[:, 0] for weights in steps]
    result = wrapped(MaskedMetric(make(name)), name, BATCHES, sequences)
    np.testing.assert_allclose(
        result, explicitly_weighted(name, BATCHES, [weights[:, None] for weights in sequences]), rtol=1e-5)


def test_integer_weights_stay_integers():
    metric = metrics.MeanIoU(3, dtype="int32")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "You are passing weight as `float`")
        wrapped(MaskedMetric(metric), "MeanIoU", BATCHES, [np.ones(mask.shape, "int32") for *_, mask in BATCHES])


@each_pair
def test_nan_at_padding_and_a_batch_of_padding_alone_change_nothing(name):
    with_nan = [batch(MANY, 6, 0, np.nan), batch(FEW, 17, 1, np.nan)]
    metric = MaskedMetric(make(name))
    wrapped(metric, name, with_nan[:1])
    wrapped(metric, name, [batch([0, 0], 5, 9, np.nan)])
    result = wrapped(metric, name, with_nan[1:])
    np.testing.assert_allclose(result, unpadded(name, BATCHES), rtol=1e-5)


@each_pair
def test_reset_and_configuration(name):
    metric = MaskedMetric(make(name), name="renamed")
    wrapped(metric, name, BATCHES[1:])
    metric.reset_state()
    np.testing.assert_allclose(wrapped(metric, name, BATCHES), unpadded(name, BATCHES), rtol=1e-5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert copy.name == "renamed" and type(copy.metric) is type(metric.metric)
    np.testing.assert_allclose(wrapped(copy, name, BATCHES), unpadded(name, BATCHES), rtol=1e-5)


def tagger(units=3):
    return keras.Sequential([
        keras.Input((None,)), layers.Embedding(10, 4, mask_zero=True), layers.Dense(units, activation="softmax")])


IDS = np.where(VALID, np.random.default_rng(0).integers(1, 10, VALID.shape), 0)


def form(name):
    "Classes that take labels and scores of the same form can share a model."
    labels = np.random.default_rng(1).integers(0, 3, VALID.shape)
    return suited(name, labels, np.zeros((*VALID.shape, 3)))[0]


@pytest.mark.parametrize("options", [
    {}, {"run_eagerly": True}, pytest.param({"jit_compile": True}, marks=pytest.mark.thorough)], ids=["graph", "eager", "XLA"])
def test_every_class_in_a_compiled_model(options):
    own_form = {"Accuracy", "IoU", "MeanIoU", "BinaryIoU"}  # these take classes, or one column, where the model gives three
    for sparse in (False, True):
        names = [name for name in PAIRS if name not in own_form and name.startswith("Sparse") == sparse]
        model, y = tagger(), form(names[0])
        predicted = ops.convert_to_numpy(model(IDS))
        model.compile(loss=("sparse_" * sparse + "categorical_crossentropy"), **options,
                      metrics=[MaskedMetric(make(name), name=name) for name in names])
        logs = model.evaluate(IDS, y, batch_size=4, verbose=0, return_dict=True)
        for name in names:
            metric = make(name)
            metric.update_state(y[VALID], predicted[VALID])
            np.testing.assert_allclose(logs[name], metric.result(), rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_metrics_of_values(name):
    values = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    for given_mask in (None, VALID):
        metric = MaskedMetric(name)
        tensor = with_mask(values, VALID) if given_mask is None else values
        metric.update_state(tensor, mask=given_mask)
        metric.update_state(tensor, mask=given_mask, sample_weight=OF_SEQUENCES)
        weighted = (values * OF_SEQUENCES[:, None])[VALID].sum()
        total = values[VALID].sum() + weighted
        count = VALID.sum() + (OF_SEQUENCES[:, None] * VALID).sum()
        np.testing.assert_allclose(metric.result(), total if name == "Sum" else total / count, rtol=1e-5)


def test_adjusted_r2_counts_valid_steps_where_a_sample_weight_does_not():
    def adjusted():
        return metrics.R2Score(num_regressors=2)

    alone, weighted, masked = adjusted(), adjusted(), MaskedMetric(adjusted())
    labels, scores, mask = BATCHES[1]
    y_true = np.eye(3, dtype="float32")[labels]
    alone.update_state(y_true[mask], scores[mask])
    weighted.update_state(y_true.reshape(-1, 3), scores.reshape(-1, 3), sample_weight=mask.ravel().astype("float32"))
    masked.update_state(y_true, with_mask(scores, mask))
    assert np.isclose(masked.result(), alone.result(), rtol=1e-5)
    assert not np.isclose(weighted.result(), alone.result(), rtol=1e-5)


@pytest.mark.parametrize("y_true, y_pred", [
    (np.ones((4, 8)), np.full((4, 8), 0.9)), (np.ones((4, 8, 1)), np.full((4, 8, 1), 0.9)),
    (np.ones((4, 8)), np.full((4, 8, 1), 0.9)), (np.ones((4, 8, 1)), np.full((4, 8), 0.9)),
], ids=["no features", "one feature", "targets without", "predictions without"])
def test_a_step_without_features_has_one(y_true, y_pred):
    wrong = np.where(VALID.reshape(4, 8, *[1] * (y_pred.ndim - 2)), y_pred, 0.0)
    for name, expected in (("BinaryAccuracy", 1), ("Recall", 1), ("MeanSquaredError", 0.01), ("TruePositives", VALID.sum())):
        metric = MaskedMetric(name)
        metric.update_state(y_true, with_mask(wrong, VALID))
        assert np.isclose(metric.result(), expected), name
    # over two batches, each step counts alike
    metric, first_steps = MaskedMetric("MeanSquaredError"), mask_from_lengths([1] * 4, 8)
    metric.update_state(y_true, with_mask(wrong, VALID))
    metric.update_state(y_true, with_mask(wrong - 0.4, first_steps))
    assert np.isclose(metric.result(), (VALID.sum() * 0.1**2 + 4 * 0.5**2) / (VALID.sum() + 4))


def test_all_that_is_said_about_validity_is_combined():
    first, second, weights = (np.random.default_rng(seed).random((4, 8)) > 0.3 for seed in range(3))
    y_true, y_pred = np.random.default_rng(9).normal(size=(2, 4, 8, 1))
    metric = MaskedMetric("MeanAbsoluteError")
    metric.update_state(y_true, with_mask(y_pred, first), sample_weight=weights.astype("float32"), mask=second)
    assert np.isclose(metric.result(), np.abs(y_true - y_pred)[first & second & weights].mean())
    metric.reset_state()
    metric.update_state(y_true, np.where(weights[:, :, None], y_pred, np.nan), sample_weight=weights.astype("float32"))
    assert np.isclose(metric.result(), np.abs(y_true - y_pred)[weights].mean())


class Unweighted(metrics.Metric):
    "A metric that takes no weights: the number of steps that it has seen."

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = self.add_weight(name="seen", initializer="zeros")

    def update_state(self, y_true, y_pred):
        self.seen.assign_add(ops.cast(ops.shape(y_pred)[0], "float32"))

    def result(self):
        return self.seen


def test_a_metric_that_takes_no_weights_sees_valid_steps_and_refuses_weights():
    metric = MaskedMetric(Unweighted())
    metric.update_state(np.ones((4, 8)), with_mask(np.ones((4, 8, 1)), VALID))
    assert metric.result() == VALID.sum()
    with pytest.raises(ValueError, match="takes no sample_weight: pass mask instead, or leave the weights out"):
        metric.update_state(np.ones((4, 8)), np.ones((4, 8, 1)), sample_weight=VALID.astype("float32"))


@pytest.mark.parametrize("function", [
    lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred), axis=-1), lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred)),
], ids=["a value for each step", "one number"])
def test_a_function_becomes_a_mean_over_valid_steps(function):
    y_true, y_pred = np.random.default_rng(9).normal(size=(2, 4, 8, 2)).astype("float32")
    metric = MaskedMetric(function, name="mine")
    metric.update_state(y_true, with_mask(y_pred, VALID))
    assert np.isclose(metric.result(), np.abs(y_true - y_pred)[VALID].mean())


BINARY = np.ones((4, 8, 1), "float32")


@pytest.mark.parametrize("call, message", [
    (lambda: MaskedMetric(metrics.CosineSimilarity(axis=1)), "metric 'cosine_similarity' compares along axis 1"),
    (lambda: MaskedMetric(metrics.PearsonCorrelation(axis=1)), "metric 'pearson_correlation' compares along axis 1"),
    (lambda: MaskedMetric(metrics.ConcordanceCorrelation(axis=0)), "compares along axis 0"),
    (lambda: MaskedMetric(metrics.MeanMetricWrapper(metrics.pearson_correlation, axis=1)), "compares along axis 1"),
    (lambda: MaskedMetric(metrics.OneHotIoU(3, [0], axis=1)), "compares along axis 1"),
    (lambda: MaskedMetric(MaskedMetric("Recall")), "MaskedMetric cannot be wrapped"),
    (lambda: MaskedMetric(metrics.Metric()), "Metric cannot be wrapped"),
    (lambda: MaskedMetric(keras.losses.MeanSquaredError()), "MeanSquaredError cannot be wrapped"),
    (lambda: MaskedMetric(None), "NoneType cannot be wrapped"),
    (lambda: MaskedMetric("accuracy"), "'accuracy' stands for several metrics: name BinaryAccuracy"),
    (lambda: MaskedMetric("Acc"), "'Acc' stands for several metrics"),
    (lambda: MaskedMetric("exactness"), "Could not interpret metric identifier: exactness"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, BINARY), "' does not know which steps are valid"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, BINARY, sample_weight=np.ones(4)), "does not know which steps"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, BINARY, sample_weight=np.ones((4, 1))), "does not know which steps"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, mask=VALID), "takes 2 tensor(s), but 1 were given"),
    (lambda: MaskedMetric("Mean").update_state(BINARY, BINARY, mask=VALID), "metric 'mean' takes 1 tensor(s), but 2 were given"),
    (lambda: MaskedMetric("Recall").update_state(np.ones(4), BINARY, mask=VALID), "y_true has the shape (4,), but y_pred has (4, 8, 1)"),
    (lambda: MaskedMetric("Recall").update_state(BINARY[:, 1:], BINARY, mask=VALID), "y_true has the shape (4, 7, 1)"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, BINARY, mask=VALID[:, :7]), "the mask has the shape (4, 7), but y_pred has"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, BINARY, mask=VALID.astype("float32")), "the mask has the dtype float32"),
    (lambda: MaskedMetric("Recall").update_state(np.ones(4), np.ones(4), mask=VALID), "y_pred has the shape (4,)"),
    (lambda: MaskedMetric("Recall").update_state(np.ones((4, 1)), with_mask(np.ones((4, 1)), VALID)), "the mask has the shape (4, 8)"),
    (lambda: MaskedMetric("Recall").update_state(BINARY, BINARY, np.ones((4, 7)), VALID), "the weights have the shape (4, 7)"),
])
def test_a_metric_that_cannot_be_right_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_in_fit_saved_and_loaded(tmp_path):
    model = tagger()
    y = np.random.default_rng(1).integers(0, 3, VALID.shape)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[MaskedMetric("SparseCategoricalAccuracy", name="right")],
                  weighted_metrics=[MaskedMetric(metrics.SparseCategoricalCrossentropy(name="nll"))])
    history = model.fit(IDS, y, sample_weight=VALID * 2.0, validation_data=(IDS, y), epochs=2, verbose=0).history
    assert set(history) == {key for name in ("loss", "right", "masked_nll") for key in (name, f"val_{name}")}
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before, after = (version.evaluate(IDS, y, verbose=0, return_dict=True) for version in (model, loaded))
    assert np.isclose(before["right"], (ops.convert_to_numpy(model(IDS)).argmax(axis=-1) == y)[VALID].mean())
    for key in before:
        assert np.isclose(before[key], after[key], rtol=1e-5), key


def test_early_stopping_wants_its_mode():
    model = tagger()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[MaskedMetric("SparseCategoricalAccuracy", name="right")])
    y = np.zeros(VALID.shape)
    with pytest.raises(ValueError, match="Pass `mode='max'`"):
        model.fit(IDS, y, verbose=0, callbacks=[keras.callbacks.EarlyStopping("right")])
    model.fit(IDS, y, verbose=0, callbacks=[keras.callbacks.EarlyStopping("right", mode="max")])


class Behind(keras.Model):
    "A model whose mask does not get out."

    def __init__(self):
        super().__init__()
        self.inner = tagger()
        self.graph = tf.function(self.inner)

    def call(self, ids):
        return self.graph(ids)


@pytest.mark.tensorflow
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_lost_mask_is_an_error_in_a_compiled_model(run_eagerly):
    model = Behind()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[MaskedMetric("SparseCategoricalAccuracy")],
                  run_eagerly=run_eagerly)
    with pytest.raises(ValueError, match="does not know which steps are valid"):
        model.evaluate(IDS, np.zeros(VALID.shape), verbose=0)


@pytest.mark.tensorflow
@pytest.mark.parametrize("lost", [False, True])
def test_under_a_distribution_strategy(lost):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = Behind() if lost else tagger()
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=[MaskedMetric("SparseCategoricalAccuracy", name="right")])
    y = np.random.default_rng(1).integers(0, 3, VALID.shape)
    if lost:
        with pytest.raises(ValueError, match="does not know which steps are valid"):
            model.fit(IDS, y, verbose=0)
    else:
        wanted = (model(IDS).numpy().argmax(axis=-1) == y)[VALID].mean()
        assert np.isclose(model.fit(IDS, y, batch_size=4, verbose=0).history["right"][0], wanted)


# CTC.

FRAMES = np.random.default_rng(3).normal(size=(4, 8, 5)).astype("float32")
SPOKEN = np.array([[1, 2, 0], [3, 0, 0], [4, 4, 1], [2, 0, 0]])


def ctc_alone():
    labels = (SPOKEN != 0).sum(axis=1)
    return [float(keras.losses.ctc(SPOKEN[row:row + 1, :labels[row]], FRAMES[row:row + 1, :LENGTHS[row]])[0]) for row in range(4)]


@pytest.mark.tensorflow
@pytest.mark.parametrize("steps", [8, 40])
@pytest.mark.parametrize("padding", [0.0, 30.0, np.nan])
def test_ctc_is_that_of_the_frames_alone_and_so_is_its_gradient(steps, padding):
    mask = mask_from_lengths(LENGTHS, steps)
    wide = np.where(mask[:, :, None], np.pad(FRAMES, ((0, 0), (0, steps - 8), (0, 0))), padding)
    logits = tf.Variable(wide, dtype="float32")
    with tf.GradientTape() as tape:
        outputs = BlankAtPadding()(attach_mask(logits, mask))
        loss = keras.losses.CTC()(SPOKEN, outputs)
    assert get_mask(outputs) is None
    assert np.isclose(loss, np.mean(ctc_alone()), rtol=1e-5)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all() and (gradient[~mask] == 0).all() and gradient[mask].any(axis=-1).all()
    np.testing.assert_allclose(
        ops.ctc_loss(SPOKEN, np.nan_to_num(wide), (SPOKEN != 0).sum(axis=1), LENGTHS), ctc_alone(), rtol=1e-5)


@pytest.mark.tensorflow
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "bfloat16"])
def test_blanks_in_a_saved_model(tmp_path, dtype):
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(10, 5, mask_zero=True), BlankAtPadding(dtype=dtype)])
    model.compile("sgd", "ctc")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    outputs = loaded(IDS)
    assert np.isfinite(outputs).all() and (np.argmax(outputs, axis=-1)[~VALID] == 0).all()
    wide = np.pad(IDS, ((0, 0), (0, 9)))
    losses = [version.evaluate(x, SPOKEN, verbose=0) for version in (model, loaded) for x in (IDS, wide)]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


@pytest.mark.parametrize("logits, mask, message", [
    (FRAMES, None, "the logits carries no mask"),
    (FRAMES[:, :, 0], VALID, "the logits have the shape (4, 8): they must be (batch, time, labels)"),
    (FRAMES, VALID[:, :7], "the mask has the shape (4, 7), but the logits has (4, 8, 5)"),
])
def test_blanks_need_a_mask(logits, mask, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BlankAtPadding()(logits, mask=mask)


# What the chapter relies on: if Keras changes this, the chapter has to.


@pytest.mark.tensorflow
def test_ctc_of_keras_counts_every_frame_and_labels_below_zero():
    whole = float(keras.losses.CTC()(SPOKEN, FRAMES))
    assert not np.isclose(whole, np.mean(ctc_alone()), rtol=1e-2)
    assert not np.isclose(keras.losses.CTC()(np.where(SPOKEN == 0, -1, SPOKEN), FRAMES), whole, rtol=1e-2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
        keras.losses.CTC()(SPOKEN, attach_mask(FRAMES, VALID))


@pytest.mark.parametrize("reduction, moves", [
    ("sum_over_batch_size", True), ("mean", True), ("sum", False), ("mean_with_sample_weight", False)])
def test_weights_for_a_mask_and_the_reduction(reduction, moves):
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    losses = [float(loss(np.ones((1, steps, 1)), np.zeros((1, steps, 1)), mask_from_lengths([2], steps) * 1.0))
              for steps in (2, 8)]
    assert (losses[1] == losses[0] / 4) if moves else (losses[0] == losses[1])


def test_evaluate_weighs_batches_by_their_sequences():
    model, y = tagger(), np.random.default_rng(1).integers(0, 3, VALID.shape)
    model.compile(loss="sparse_categorical_crossentropy")
    losses = [model.evaluate(IDS[part], y[part], verbose=0) for part in (slice(3), slice(3, 4))]
    loss = model.evaluate(IDS, y, batch_size=3, verbose=0)
    assert np.isclose(loss, np.average(losses, weights=[3, 1]), rtol=1e-5)
    for wrong in ([1, 1], [VALID[:3].sum(), VALID[3].sum()]):
        assert not np.isclose(loss, np.average(losses, weights=wrong), rtol=1e-4)


@each_pair
def test_no_metric_of_keras_is_right_for_two_batches(name):
    metric = make(name)
    try:
        result = wrapped(metric, name, BATCHES)
    except ValueError as error:
        assert "2D inputs" in str(error)
    else:
        assert not np.allclose(result, unpadded(name, BATCHES), rtol=1e-5)


# The regularizer.


@pytest.mark.tensorflow
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_the_penalty_is_that_of_the_valid_steps(policy):
    keras.mixed_precision.set_global_policy(policy)
    values = np.where(VALID[:, :, None], np.random.default_rng(0).normal(size=(4, 8, 3)), np.nan)
    layer = MaskedActivityRegularization(l1=0.5, l2=0.25)
    with tf.GradientTape() as tape:
        inputs = tf.Variable(values, dtype="float32")
        outputs = layer(inputs, mask=VALID)
        loss = sum(layer.losses)
    valid = values[VALID].astype("float16" if policy == "mixed_float16" else "float32").astype("float64")
    assert np.isclose(loss, (0.5 * np.abs(valid).sum() + 0.25 * (valid**2).sum()) / 4, rtol=1e-5)
    gradient = tape.gradient(loss, inputs).numpy()
    assert np.isfinite(gradient).all() and (gradient[~VALID] == 0).all()
    assert outputs.dtype == layer.compute_dtype


def test_half_precision_does_not_overflow():
    layer = MaskedActivityRegularization(l2=1.0, dtype="mixed_float16")
    layer(np.full((1, 4, 2), 300.0), mask=np.ones((1, 4), bool))
    assert sum(layer.losses) == 8 * 300.0**2


def test_the_regularizer_passes_the_mask_and_is_loaded_as_saved(tmp_path):
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(10, 4, mask_zero=True),
                              MaskedActivityRegularization(l1=0.5, l2=0.25)])
    assert np.array_equal(get_mask(model(IDS)), VALID)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    model(IDS), loaded(IDS)
    assert np.isclose(sum(model.losses), sum(loaded.losses)) and sum(loaded.losses) > 0


def test_without_a_mask_it_is_that_of_keras():
    values = np.random.default_rng(0).normal(size=(4, 8, 3)).astype("float32")
    ours, theirs = MaskedActivityRegularization(l1=0.5, l2=0.25), layers.ActivityRegularization(l1=0.5, l2=0.25)
    ours(values), theirs(values)
    assert np.isclose(sum(ours.losses), sum(theirs.losses))


@pytest.mark.parametrize("factors", [{"l1": -1.0}, {"l2": float("nan")}])
def test_impossible_factors_are_refused(factors):
    with pytest.raises(ValueError, match=f"Invalid value for argument {next(iter(factors))}"):
        MaskedActivityRegularization(**factors)
