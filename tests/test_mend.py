"""`mend` keeps its promise: no padding changes the answers, without padding they stay, and all that belongs to a model survives."""

import keras
import numpy as np
import pytest
from brute import apart, change_alone, leak, valid_steps
from keras import layers as L
from keras import ops
from thorough import some_of

from masking_tutorial.command_line import main
from masking_tutorial.contract import check_padding
from masking_tutorial.masks import get_mask
from masking_tutorial.mend import mend

pytestmark = pytest.mark.usefixtures("seeded", "without_graphs")

LENGTHS, STEPS = np.array([4, 2, 3]), 5
NOTHING, SOMETHING = 1e-5, 1e-3  # the largest difference that is rounding, and the smallest one that is a fault


def ids(lengths=LENGTHS, steps=STEPS, side="post", padding=0):
    "Ids (batch, time), the valid ones from 1 to 6."
    valid = valid_steps(lengths, steps, side)
    return np.where(valid, np.random.default_rng(0).integers(1, 7, valid.shape), padding).astype("int32")


def floats(side="post", padding=0.0, lengths=LENGTHS, steps=STEPS):
    "Features (batch, time, 2)."
    valid = valid_steps(lengths, steps, side)[..., None]
    return np.where(valid, np.random.default_rng(0).normal(size=(*valid.shape[:2], 2)), padding).astype("float32")


def words(name="words"):
    return keras.Input((None,), dtype="int32", name=name)


def embedded(tokens, name="embedding", **options):
    return L.Embedding(9, 3, embeddings_initializer="normal", name=name, **options)(tokens)


def state(model):
    "What must not change: config, weights, whether they are trained, and the graph of every layer."
    return (model.to_json(), [np.asarray(weight).tobytes() for weight in model.variables],
            [weight.path for weight in model.trainable_weights], model.compiled,
            [[id(tensor) for node in layer._inbound_nodes for tensor in node.output_tensors] for layer in model.layers])


def same_parts(mended, model):
    "The names, and the weights under them, as far as a model has them."
    assert mended.name == model.name and {layer.name for layer in model.layers} <= {layer.name for layer in mended.layers}
    for layer in model.layers:
        own = mended.get_layer(layer.name)
        for new, old in zip(own.weights, layer.weights, strict=True):
            np.testing.assert_array_equal(new, old)
            assert new.trainable == old.trainable and new.dtype == old.dtype, new.path


# Models with a fault: each function gives the model, the batch, and what mend is told.


def embedding_without_mask():
    tokens = words()
    return keras.Model(tokens, L.GlobalMaxPooling1D(name="pool")(embedded(tokens)), name="plain"), ids(), {}


def convolution_before_pooling():
    tokens = words()
    hidden = L.Conv1D(3, 3, padding="same", bias_initializer="ones", name="conv")(embedded(tokens, mask_zero=True))
    return keras.Model(tokens, L.GlobalMaxPooling1D(name="pool")(-hidden), name="conv_pool"), ids(), {}


def operations_over_time():
    tokens = words()
    hidden = L.Dense(3, name="dense")(embedded(tokens, mask_zero=True))
    return keras.Model(tokens, [ops.mean(hidden, axis=1), ops.max(hidden, axis=1)], name="operations"), ids(), {}


def floats_with_padding_in_front():
    features = keras.Input((None, 2), name="features")
    hidden = L.SimpleRNN(2, return_sequences=True, name="rnn")(features)
    return keras.Model(features, hidden, name="front"), floats("pre", -1.0), {"side": "pre"}


def padding_of_nan():
    features = keras.Input((None, 2), name="features")
    return keras.Model(features, L.GlobalAveragePooling1D(name="mean")(features), name="nan"), floats(padding=np.nan), {}


def ids_padded_with_eight():
    tokens = words()
    return keras.Model(tokens, L.GlobalAveragePooling1D(name="mean")(embedded(tokens)), name="eight"), ids(padding=8), {}


def attention_without_mask():
    tokens = words()
    x = embedded(tokens)
    x = L.Add(name="add")([x, L.MultiHeadAttention(1, 2, name="attention")(x, x)])
    return keras.Model(tokens, L.LayerNormalization(name="norm")(x), name="attention_block"), ids(), {}


def mask_that_is_inverted():
    tokens = words()
    x = embedded(tokens)
    hidden = L.MultiHeadAttention(1, 2, name="attention")(x, x)
    pooled = L.GlobalAveragePooling1D(name="mean")(hidden, mask=ops.less(tokens, 1))
    return keras.Model(tokens, pooled, name="inverted"), ids(), {}


def dicts_of_two_padded_inputs():
    source, target = words("source"), words("target")
    keys = ops.tanh(embedded(source, "of_source", mask_zero=True))
    queries = embedded(target, "of_target", mask_zero=True)
    hidden = L.Attention(name="attention")([queries, keys])
    model = keras.Model({"source": source, "target": target},
                        {"target_tags": L.Dense(2, name="target_tags")(hidden)}, name="pairs")
    target_lengths = np.array([2, 3, 1])
    batch = {"source": ids(), "target": ids(target_lengths, 3)}
    return model, batch, {"lengths": {"source": LENGTHS, "target": target_lengths}}


def nested_models():
    inner = keras.Input((None, 3), name="hidden")
    innermost = keras.Sequential([keras.Input((None, 3)), L.Conv1D(3, 3, padding="same", name="conv")], name="innermost")
    pooling = keras.Model(inner, L.GlobalAveragePooling1D(name="mean")(innermost(inner)), name="inner")
    tokens = words()
    return keras.Model(tokens, pooling(embedded(tokens, mask_zero=True)), name="outer"), ids(), {}


def shared_encoder():
    encoder = keras.Sequential([L.Embedding(9, 3, name="embedding"), L.GlobalAveragePooling1D(name="mean")], name="encoder")
    left, right = words("left"), words("right")
    difference = ops.subtract(encoder(left), encoder(right))
    right_lengths = np.array([1, 5, 3])
    batch = {"left": ids(), "right": ids(right_lengths, 5)}
    return (keras.Model({"left": left, "right": right}, difference, name="siamese"), batch,
            {"lengths": {"left": LENGTHS, "right": right_lengths}})


def frozen_inner_model():
    encoder = keras.Sequential([L.Embedding(9, 3, name="embedding"), L.GlobalAveragePooling1D(name="mean")], name="encoder")
    encoder.trainable = False
    tokens = words()
    return keras.Model(tokens, L.Dense(1, name="score")(encoder(tokens)), name="frozen"), ids(), {}


def inner_model_with_statistics():
    hidden = keras.Input((None, 3), name="hidden")
    norm = L.BatchNormalization(name="norm")
    inner = keras.Model(hidden, norm(hidden), name="inner")
    norm.moving_mean.assign([3.0, 4.0, 5.0])
    tokens = words()
    pooled = L.GlobalAveragePooling1D(name="mean")(inner(embedded(tokens)))
    return keras.Model(tokens, pooled, name="statistics"), ids(), {}


def attention_pooling_by_hand():
    tokens = words()
    hidden = embedded(tokens, mask_zero=True)
    shares = ops.softmax(L.Dense(1, name="score")(hidden), axis=1)
    return keras.Model(tokens, ops.sum(hidden * shares, axis=1), name="by_hand"), ids(), {}


def lengths_as_an_input():
    tokens, lengths = words(), keras.Input((), dtype="int32", name="lengths")
    mean = L.GlobalAveragePooling1D(name="mean")(embedded(tokens))
    model = keras.Model({"words": tokens, "lengths": lengths}, mean / ops.cast(lengths, "float32")[:, None], name="lengths_too")
    # padding is an id that valid steps have, too
    return model, {"words": ids(padding=3), "lengths": LENGTHS.astype("int32")}, {"lengths": {"words": LENGTHS}}


MENDED = [embedding_without_mask, convolution_before_pooling, operations_over_time, floats_with_padding_in_front, padding_of_nan,
          ids_padded_with_eight, attention_without_mask, dicts_of_two_padded_inputs, nested_models, shared_encoder,
          frozen_inner_model, inner_model_with_statistics, attention_pooling_by_hand, lengths_as_an_input]


@pytest.mark.parametrize("made", MENDED, ids=lambda made: made.__name__)
def test_no_padding_changes_the_answers_and_without_padding_they_stay(made):
    model, batch, options = made()
    lengths, side, before = options.get("lengths", LENGTHS), options.get("side", "post"), state(model)
    mended, report = mend(model, batch, progress=False, **{"lengths": LENGTHS, **options})

    assert report.ok and mended is not None and report.edits, report
    assert state(model) == before
    same_parts(mended, model)
    assert not leak(model, batch, lengths, side, amounts=(1,)) < SOMETHING  # else there is nothing to mend; NaN is a fault, too
    assert leak(mended, batch, lengths, side, amounts=(1, 3)) < NOTHING
    assert change_alone(model, mended, batch, lengths, side) < NOTHING


# What belongs to a model survives.


def scaled_error(true, predicted):
    return 3.0 * ops.mean(ops.square(true - predicted), axis=-1)


def compiled(loss="mse", metrics=("mae",), optimizer="adam"):
    "A model with a fault that was trained for a step, its batch, and targets."
    tokens = words()
    pooled = L.GlobalMaxPooling1D(name="pool")(embedded(tokens, mask_zero=True))
    model = keras.Model(tokens, L.Dense(1, name="score")(pooled), name="compiled")
    model.compile(optimizer, loss=loss, metrics=list(metrics))
    model.fit(ids(), np.ones((3, 1)), verbose=0)
    return model, ids(), np.ones((3, 1))


@pytest.mark.parametrize("loss, metric", [(keras.losses.Huber(2.0), "mae"), (scaled_error, lambda true, predicted: predicted)],
                         ids=["of Keras", "functions of one's own"])
def test_a_compiled_model_trains_on_as_the_original_would(loss, metric):
    model, batch, targets = compiled(loss, [metric], keras.optimizers.Adam(0.1, clipnorm=1.0))
    mended, report = mend(model, batch, targets, lengths=LENGTHS, progress=False)
    assert report.ok and mended is not model, report

    # without padding both do the same: so loss, metrics, optimizer and its slots are the same
    whole, wanted = ids(np.array([4, 4, 4]), 4), np.array([[1.0], [2.0], [3.0]])
    assert mended.optimizer.iterations == model.optimizer.iterations == 1
    scores = [version.evaluate(whole, wanted, verbose=0, return_dict=True) for version in (mended, model)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    for version in (mended, model):
        version.fit(whole, wanted, verbose=0)
    for new, old in zip(mended.trainable_weights, model.trainable_weights, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_mixed_precision_and_the_scaling_of_the_loss_survive():
    keras.mixed_precision.set_global_policy("mixed_float16")
    model, batch, targets = compiled()
    keras.mixed_precision.set_global_policy("float32")
    mended, _ = mend(model, batch, targets, lengths=LENGTHS, tolerance=1e-2, progress=False)
    assert {layer.name: layer.compute_dtype for layer in mended.layers if layer.weights} == dict.fromkeys(
        ("embedding", "score"), "float16")
    assert mended.dtype_policy.name == "mixed_float16" and isinstance(mended.optimizer, keras.optimizers.LossScaleOptimizer)


@pytest.fixture(scope="module")
def plain():
    "A model, the mended one, and its batch."
    model = keras.Sequential([words(), L.Embedding(9, 3, name="embedding"), L.GlobalMaxPooling1D(name="pool")], name="plain")
    return model, mend(model, ids(), lengths=LENGTHS, progress=False)[0], ids()


def test_a_mended_model_can_be_saved_and_loaded(plain, tmp_path):
    _, mended, batch = plain
    mended.save(tmp_path / "mended.keras")
    assert apart(keras.saving.load_model(tmp_path / "mended.keras")(batch), mended(batch)) == 0
    assert leak(keras.saving.load_model(tmp_path / "mended.keras"), batch, LENGTHS, amounts=(2,)) < NOTHING


def test_a_mended_model_can_be_compiled_with_xla(plain):
    _, mended, batch = plain
    mended.compile(jit_compile=True)
    np.testing.assert_allclose(mended.predict(batch, verbose=0), mended(batch), atol=1e-6)


def test_the_mended_model_takes_and_gives_what_the_sequential_one_did(plain):
    model, mended, _ = plain
    assert isinstance(mended.input, keras.KerasTensor) and isinstance(mended.output, keras.KerasTensor)
    assert mended.input_shape == model.input_shape and mended.output_shape == model.output_shape


# Where an input says what is padding.


def told_by_a_mask():
    tokens, told = words(), keras.Input((None,), dtype="bool", name="words_mask")
    return keras.Model([tokens, told], L.Dense(2, name="score")(L.LSTM(3, name="rnn")(embedded(tokens))), name="told")


def told_by_a_mask_around_a_model():
    inner = words("ids")
    part = keras.Model(inner, L.GlobalMaxPooling1D(name="pool")(embedded(inner)), name="part")
    tokens, told = words(), keras.Input((None,), dtype="bool", name="words_mask")
    return keras.Model([tokens, told], part(tokens), name="told_around")


def told_by_lengths():
    tokens, lengths = words(), keras.Input((), dtype="int32", name="lengths")
    mean = L.GlobalAveragePooling1D(name="mean")(embedded(tokens))
    return keras.Model([tokens, lengths], L.Dense(2, name="score")(mean), name="told_by_lengths")


@pytest.mark.parametrize("made", [told_by_a_mask, told_by_a_mask_around_a_model, told_by_lengths], ids=lambda made: made.__name__)
@pytest.mark.parametrize("side", some_of(["post", "pre"], 2))
def test_what_an_input_says_is_padding_may_hold_any_ids(made, side):
    model, valid = made(), valid_steps(LENGTHS, STEPS, side)
    told = LENGTHS.astype("int32") if made is told_by_lengths else valid
    mended, report = mend(model, [ids(side=side), told], side=side, progress=False)
    assert report.ok and report.edits, report
    assert not any("mask_zero" in row.edit for row in report.edits), report
    changed = np.where(valid, ids(side=side), 5).astype("int32")
    assert apart(mended([changed, told]), mended([ids(side=side), told])) < NOTHING
    assert apart(mended([changed, told]), model([changed, told])) > SOMETHING  # else there was nothing to mend


def test_an_edit_names_the_input_whose_mask_it_takes():
    mended, report = mend(told_by_a_mask(), [ids(), valid_steps(LENGTHS, STEPS)], progress=False)
    assert [row.edit for row in report.edits] == ["makes a mask: padding is False", "takes the mask of 'words_mask'"], report


def test_the_contract_says_which_ids_were_not_varied_beside_a_mask_among_the_inputs():
    tokens, told = words(), keras.Input((None,), dtype="bool", name="words_mask")
    pooled = L.GlobalAveragePooling1D(name="mean")(embedded(tokens, mask_zero=True))
    model = keras.Model([tokens, told], pooled)
    row = check_padding(model, [ids(), valid_steps(LENGTHS, STEPS)], clauses="content", progress=False).clauses["content"]
    assert row.status == "kept" and row.reason.endswith("but not in words, whose own values are read for what is padding"), row


def test_zeros_that_a_layer_passes_on_may_be_read_by_hand():
    features = keras.Input((None, 2), name="features")
    x = L.Masking(name="masking")(features)
    told = ops.cast(ops.any(ops.not_equal(x, 0), axis=-1, keepdims=True), "float32")
    model = keras.Model(features, ops.sum(L.Dense(2, name="dense")(x) * told, axis=1) / ops.sum(told, axis=1))
    report = check_padding(model, floats(), clauses=("amount", "content"), progress=False)
    assert report.ok, report
    assert mend(model, floats(), progress=False)[0] is model

    # what reads them for something else still counts as broken: no operation tells what is padding
    leaking = keras.Model(features, ops.max(L.Dense(2, name="mixed", bias_initializer="ones")(x), axis=1))
    assert check_padding(leaking, floats(), clauses="content", progress=False).breaks("content")


# What is not mended.


def test_an_axis_may_be_counted_from_the_end():
    tokens = words()
    model = keras.Model(tokens, ops.mean(embedded(tokens, mask_zero=True), axis=-2))
    mended, _ = mend(model, ids(), lengths=LENGTHS, progress=False)
    assert mended is not None and leak(mended, ids(), LENGTHS) < NOTHING


def test_a_model_without_a_fault_comes_back_as_it_is():
    tokens = words()
    model = keras.Model(tokens, L.GlobalAveragePooling1D(name="mean")(embedded(tokens, mask_zero=True)))
    mended, report = mend(model, ids(), lengths=LENGTHS, progress=False)
    assert mended is model and report.ok and not report.edits


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.pool = L.Embedding(9, 3, name="embedding"), L.GlobalMaxPooling1D(name="pool")

    def call(self, tokens):
        return self.pool(self.embedding(tokens))


def test_a_subclassed_model_gets_advice_with_the_code():
    mended, report = mend(Own(), ids(), lengths=LENGTHS, progress=False)
    assert mended is None and not report.ok and not report.edits
    assert any("'pool'" in line and "MaskedGlobalMaxPooling1D" in line for line in report.left), report.left


def test_what_is_mended_in_part_is_given_if_asked_for():
    tokens = keras.Input((4,), dtype="int32", name="words")
    pooled = L.GlobalMaxPooling1D(name="pool")(embedded(tokens))
    mixed = L.Permute((2, 1), name="turn")(L.Dense(4, name="mix")(L.Permute((2, 1), name="turned")(embedded(tokens, "own"))))
    model = keras.Model(tokens, [pooled, L.GlobalMaxPooling1D(name="mixed")(mixed)])
    batch, lengths = ids(np.array([4, 2, 3]), 4), np.array([4, 2, 3])
    mended, report = mend(model, batch, lengths=lengths, partial=True, progress=False)
    assert mended is not None and not report.ok and report.edits and report.left
    for whole in (batch[:1], np.full((2, 4), 3)):
        assert apart(mended(whole), model(whole)) < NOTHING


def test_what_would_change_answers_is_refused_with_the_difference():
    tokens = words()
    x = embedded(tokens)
    # where no step is padded, this mask hides all steps
    hidden = L.MultiHeadAttention(1, 2, name="attention")(x, x, attention_mask=ops.expand_dims(ops.equal(tokens, 0), 1))
    model = keras.Model(tokens, L.GlobalAveragePooling1D(name="mean")(hidden))
    mended, report = mend(model, ids(), lengths=LENGTHS, progress=False)
    assert mended is None and any("'attention'" in line and "would change answers without padding by" in line
                                  for line in report.refused), report


def test_a_batch_without_padding_is_refused():
    with pytest.raises(ValueError, match="padding"):
        mend(embedding_without_mask()[0], ids(np.array([5, 5, 5])), lengths=np.array([5, 5, 5]), progress=False)


@pytest.mark.parametrize("options, written", [((), False), (("--overwrite",), True)])
def test_a_file_is_written_over_only_if_asked_for(options, written, tmp_path, capsys):
    embedding_without_mask()[0].save(tmp_path / "model.keras")
    np.savez(tmp_path / "batch.npz", words=ids(), lengths=LENGTHS)
    (tmp_path / "mended.keras").write_text("mine")
    code = main([str(tmp_path / "model.keras"), "--batch", str(tmp_path / "batch.npz"), "--mend", str(tmp_path / "mended.keras"), *options])
    assert code == (0 if written else 2)
    assert ((tmp_path / "mended.keras").read_bytes() != b"mine") == written
    assert written or "--overwrite" in capsys.readouterr().err


@keras.saving.register_keras_serializable(package="tests")
class Lifted(L.Layer):
    "Takes a mask by hand, and passes it on."
    supports_masking = True

    def call(self, x, mask=None):
        return x + ops.cast(mask, "float32")[..., None]


class StaleOutput(keras.Model):
    "A model whose own compute_mask gives a mask of another shape, which no layer in it made."
    def __init__(self):
        super().__init__()
        self.embedding = L.Embedding(9, 3, mask_zero=True, name="embedding")
        self.pool = L.GlobalAveragePooling1D(name="mean")

    def call(self, tokens):
        return self.pool(self.embedding(tokens))

    def compute_mask(self, tokens, mask=None):
        return ops.not_equal(tokens, 0)


def test_a_wrong_mask_by_hand_that_goes_on_to_the_output_is_put_right():
    tokens, told = words(), keras.Input((None,), dtype="bool", name="words_mask")
    model = keras.Model([tokens, told], Lifted(name="lifted")(embedded(tokens), mask=ops.logical_not(told)))
    batch = [ids(), valid_steps(LENGTHS, STEPS)]
    mended, report = mend(model, batch, progress=False)
    mask = get_mask(mended(batch))
    assert report.ok and [row.name for row in report.edits][-1] == "lifted", report
    assert mask is None or np.array_equal(mask, batch[1])  # no mask is none that is wrong


def test_a_wrong_mask_that_no_layer_made_is_reported():
    mended, report = mend(StaleOutput(), ids(), lengths=LENGTHS, progress=False)
    assert mended is None and report.contract.breaks("mask"), report
