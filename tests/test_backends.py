"""What the instruments say is the same on each backend: run with KERAS_BACKEND set to tensorflow, jax or torch."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from masking_tutorial import (
    Batches,
    CarryMask,
    MaskedConv1D,
    MaskedMetric,
    PaddingGuard,
    assert_padding_contract,
    attach_mask,
    check_padding,
    find_leaks,
    get_mask,
    influence,
    masked_mean,
    mend,
    padding_error,
    trace_masks,
)
from masking_tutorial.backend import BACKEND

pytestmark = pytest.mark.usefixtures("seeded")

IDS = np.array([[3, 7, 9, 0, 0, 0], [4, 8, 2, 6, 5, 1], [1, 9, 0, 0, 0, 0]], "int32")
FLOATS = np.where(IDS[:, :, None] > 0, np.random.default_rng(0).normal(size=(3, 6, 4)), 0).astype("float32")


class Mean(layers.Layer):
    """A mean over all steps, padded ones too."""

    def call(self, x):
        return ops.mean(x * 2.0, axis=1)


class OnlyEager(layers.Layer):
    """A mean over valid steps, but over all steps where it is compiled."""

    supports_masking = True

    def call(self, x, mask=None):
        return ops.sum(x * ops.cast(mask, x.dtype)[..., None], axis=1) if BACKEND.is_eager() else ops.sum(x, axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class Classifier(keras.Model):
    """A subclassed model with an operator that loses the mask."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(10, 4, mask_zero=True, name="embedding")
        self.dense = layers.Dense(4, name="dense")
        self.mean = layers.GlobalAveragePooling1D(name="mean")

    def call(self, x):
        y = self.dense(self.embedding(x))
        y = y * 1.5
        return self.mean(y)


def functional(body, mask=True):
    """A Functional model of word ids, with some layers behind the embedding."""
    inputs = keras.Input((None,), dtype="int32", name="words")
    x = body(layers.Embedding(10, 4, mask_zero=mask, name="embedding")(inputs))
    return keras.Model(inputs, layers.Dense(1, name="score")(x))


def pooled(x):
    return layers.GlobalAveragePooling1D(name="mean")(x)


SOUND = {
    "a mean": (lambda: functional(lambda x: pooled(layers.Dense(4)(x))), IDS),
    "a GRU": (lambda: functional(layers.GRU(3)), IDS),
    "attention": (lambda: functional(lambda x: pooled(layers.MultiHeadAttention(2, 2)(x, x))), IDS),
    "floats": (lambda: keras.Sequential([keras.Input((None, 4)), layers.Masking(), layers.SimpleRNN(3)]), FLOATS),
    "a masked convolution": (lambda: functional(lambda x: pooled(MaskedConv1D(4, 3, 2, "same")(x))), IDS),
    "a mask that is carried": (lambda: functional(lambda x: pooled(CarryMask()([x * 1.5, x]))), IDS),
}
#: name: (model, batch, lengths, first culprit, of JAX alone, edits that mend it)
BROKEN = {
    "an operator": (lambda: functional(lambda x: pooled(x * 1.5)), None, "multiply", None, 1),
    "a convolution": (lambda: functional(lambda x: pooled(layers.Conv1D(4, 3, padding="same", name="conv")(x))), None, "conv", None, 1),
    "no mask": (lambda: functional(pooled, mask=False), [3, 6, 2], "mean", None, 1),
    "a layer of one's own": (lambda: functional(Mean(name="own")), None, "own", None, 0),
    "a subclassed model": (Classifier, None, {"tensorflow": "Mul", "torch": "mul"}.get(BACKEND.name), "mean", 0),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_raises_no_alarm(name):
    make, batch = SOUND[name]
    model = make()
    report = check_padding(model, batch)
    assert report.ok and not report.not_tested, report
    assert {name: row.status for name, row in report.clauses.items() if row.status == "not applicable"}.keys() == {
        "side", "mask", "loss", "metrics", "regularizers", "shards", *(["compiled"] if BACKEND.why_not_compiled else [])}
    assert find_leaks(model, batch).ok
    assert influence(model, batch).ok
    assert mend(model, batch)[0] is model


@pytest.mark.parametrize("name", BROKEN)
def test_a_leak_is_found_and_mended(name):
    make, lengths, culprit, on_jax, edits = BROKEN[name]
    keras.utils.clear_session()  # names of operations begin anew
    model = make()
    report = check_padding(model, IDS, lengths=lengths)
    assert report.breaks("amount") and report.breaks("influence") and report.breaks("gradients"), report
    assert "compiled" not in report.not_tested
    leaks = find_leaks(model, IDS, lengths=lengths)
    assert leaks.first.name.rpartition("/")[2] == (culprit if BACKEND.sees_operations else on_jax or culprit), leaks
    assert not influence(model, IDS, lengths=lengths).ok
    mended, how = mend(model, IDS, lengths=lengths)
    assert (len(how.edits), mended is None) == (edits, not edits), how
    if mended is not None:
        assert check_padding(mended, IDS, lengths=lengths).ok
        np.testing.assert_allclose(BACKEND.to_numpy(mended(IDS[1:2])), BACKEND.to_numpy(model(IDS[1:2])), atol=1e-6)


def test_where_operations_are_not_seen_that_is_said():
    model = Classifier()
    leaks = find_leaks(model, IDS)
    assert ("not seen with JAX" in repr(leaks)) == (not BACKEND.sees_operations)
    # the embedding makes a mask: to advise mask_zero=True would be wrong
    assert "mask_zero" not in repr(leaks)
    if not BACKEND.sees_operations:
        assert "though 'dense' gives one" in " ".join(repr(leaks).split())


def test_a_mask_that_is_lost_only_where_the_model_is_compiled():
    report = check_padding(functional(OnlyEager()), IDS)
    if BACKEND.why_not_compiled:
        assert report.clauses["compiled"].status == "not applicable"
        assert "PyTorch" in report.clauses["compiled"].reason
    else:
        assert report.breaks("compiled") and not report.breaks("amount"), report


def test_with_pytorch_a_model_that_is_to_be_compiled_is_not_called_kept():
    model = functional(pooled)
    model.compile("sgd", "mse", jit_compile=True)
    row = check_padding(model, IDS, clauses=["amount", "compiled"]).clauses["compiled"]
    assert row.status == ("could not be tested" if BACKEND.why_not_compiled else "kept")


def test_a_compiled_loss_and_metric():
    class Unmasked(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred))

    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(1)(layers.Embedding(10, 4, mask_zero=True)(inputs)))
    targets = np.random.default_rng(0).normal(size=(3, 6, 1)).astype("float32")
    for loss, kept in (("mse", True), (Unmasked(), False)):
        model.compile("sgd", loss)
        report = check_padding(model, IDS, targets=targets, clauses=["loss", "amount"])
        assert report.ok is kept and report.breaks("loss") is not kept, report


def test_with_jax_metrics_count_padding_in_fit():
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(1)(layers.Embedding(10, 4, mask_zero=True)(inputs)))
    targets = np.random.default_rng(0).normal(size=(3, 6, 1)).astype("float32")
    for metric, on_jax in (("mae", "broken"), (MaskedMetric("mae"), "could not be tested")):
        model.compile("sgd", "mse", metrics=[metric])
        row = check_padding(model, IDS, targets=targets, clauses=["amount", "metrics"]).clauses["metrics"]
        assert row.status == (on_jax if BACKEND.fit_loses_masks else "kept"), row
    # that is what Keras does
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    in_fit = model.fit(IDS, targets, verbose=0).history["mae"][0]
    assert (in_fit == pytest.approx(model.evaluate(IDS, targets, verbose=0)[1], rel=1e-4)) is not BACKEND.fit_loses_masks


@pytest.mark.parametrize("tensor", [IDS, FLOATS], ids=["ids", "floats"])
def test_a_mask_is_attached_and_read(tensor):
    mask = tensor.reshape(3, 6, -1).any(axis=-1)
    carrying = attach_mask(ops.convert_to_tensor(tensor), mask)
    np.testing.assert_array_equal(BACKEND.to_numpy(get_mask(carrying)), mask)
    assert get_mask(ops.copy(carrying)) is None and get_mask(attach_mask(carrying, None)) is None
    embedded = layers.Embedding(10, 4, mask_zero=True)(IDS)
    np.testing.assert_array_equal(BACKEND.to_numpy(get_mask(embedded)), IDS != 0)


def test_masks_are_traced():
    rows = {row.name: row.fate for row in trace_masks(Classifier(), IDS).rows}
    assert rows["embedding"] == "made" and rows["dense"] == "passed" and rows["mean"] == "none"
    assert ("*" in rows) == BACKEND.sees_operations


def test_the_error_of_padding():
    sequences = [[3, 7, 9], [4, 8, 2, 6, 5, 1], [1, 9]]
    assert padding_error(functional(pooled), sequences) < 1e-6
    assert padding_error(Classifier(), sequences) > 1e-3


def test_training_counts_valid_steps_only():
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(1)(layers.Embedding(10, 4, mask_zero=True)(inputs)))
    model.compile("sgd", "mse", weighted_metrics=[MaskedMetric(keras.metrics.MeanAbsoluteError(name="mae"))])
    targets = np.random.default_rng(0).normal(size=(3, 6, 1)).astype("float32")
    before = BACKEND.to_numpy(model(IDS))
    logs = model.evaluate(IDS, targets, verbose=0, return_dict=True)
    assert logs["masked_mae"] == pytest.approx(np.abs(before - targets)[IDS != 0].mean(), rel=1e-5)
    history = model.fit(IDS, targets, sample_weight=(IDS != 0).astype("float32"), epochs=2, verbose=0).history
    assert history["masked_mae"][0] == pytest.approx(logs["masked_mae"], rel=1e-5)
    assert history["loss"][1] < history["loss"][0]
    if BACKEND.fit_loses_masks:
        with pytest.raises(ValueError, match="pass sample_weight"):
            model.fit(IDS, targets, verbose=0)


def test_derivatives_stop_at_padding():
    values = ops.convert_to_tensor(FLOATS)
    ((gradient,),) = BACKEND.gradients(lambda tensors: [masked_mean(tensors[0][:, :, 0], IDS != 0)], [values])
    expected = np.zeros(FLOATS.shape)
    expected[..., 0] = (IDS != 0) / (IDS != 0).sum()
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_a_callback_of_tensorflow_says_that_it_is_one():
    if BACKEND.name == "tensorflow":
        assert PaddingGuard().action == "raise"
        return
    with pytest.raises(NotImplementedError, match="assert_padding_contract"):
        PaddingGuard()
    with pytest.raises(AssertionError, match="multiply"):
        assert_padding_contract(functional(lambda x: pooled(x * 1.5)), IDS)


@pytest.mark.skipif(BACKEND.name != "torch", reason="a DataLoader is PyTorch's own")
def test_a_data_loader_takes_batches_as_they_are():
    from torch.utils.data import DataLoader

    draw = np.random.default_rng(0)
    sequences = [draw.integers(1, 10, length).tolist() for length in draw.integers(1, 9, 40)]
    tags = [[float(number % 3) for number in sequence] for sequence in sequences]
    weights = []
    for workers in (None, 2):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((None,), dtype="int32")
        model = keras.Model(inputs, layers.Dense(1)(layers.Embedding(10, 4, mask_zero=True)(inputs))[..., 0])
        model.compile("sgd", "mse")
        batches = Batches(sequences, tags, batch_size=8)
        if workers is not None:
            batches.set_epoch(1)  # in `fit` a plain Batches begins with epoch 1
        model.fit(batches if workers is None else DataLoader(batches, batch_size=None, num_workers=workers), shuffle=False, verbose=0)
        weights.append(np.concatenate([np.ravel(weight) for weight in model.get_weights()]))
    np.testing.assert_allclose(*weights, atol=1e-6)
