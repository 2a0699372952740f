"""Attention: the builders on random and bad input, in a graph and symbolically; the layers under the whole contract."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers, ops
from thorough import examples, some_of

from masking_tutorial.attention import (
    block_mask,
    causal_mask,
    combine_masks,
    mask_from_convention,
    padding_mask,
    segment_positions,
    show_attention,
)
from masking_tutorial.backend import BACKEND
from masking_tutorial.guard import assert_padding_contract
from masking_tutorial.mask_generation import get_mask, mask_from_lengths, padding_error
from masking_tutorial.reports import LEAK
from masking_tutorial.transformer import PositionalEmbedding, TransformerBlock

pytestmark = pytest.mark.usefixtures("seeded")
WORDS = 12
SEQUENCES = [[7, 6, 3], [7, 9, 2, 5, 8], [8, 9, 1, 6, 1, 9]]
IDS = np.array([[7, 6, 3, 0, 0, 0], [7, 9, 2, 5, 8, 0], [8, 9, 1, 6, 1, 9]])
VALID = IDS != 0
VECTORS = np.random.default_rng(0).normal(size=(3, 6, 8)).astype("float32")


def few(shape):
    return st.tuples(*(st.integers(1, size) for size in shape))


# The builders.


@given(hnp.arrays(bool, few((3, 5))))
def test_padding_mask_is_the_mask_for_each_query(mask):
    made = ops.convert_to_numpy(padding_mask(mask))
    assert made.dtype == bool and made.shape == (len(mask), 1, mask.shape[1])
    assert np.array_equal(made[:, 0], mask)


@given(st.integers(0, 7))
def test_causal_mask_is_lower_triangular(steps):
    assert np.array_equal(causal_mask(steps), np.tril(np.ones((1, steps, steps), bool)))


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "steps",
    [4, np.int64(4), np.zeros((2, 4)), np.zeros((2, 4, 3)), tf.zeros((2, 4, 3, 5)), tf.constant(4)],
)
def test_causal_mask_counts_the_steps_of_what_it_is_given(steps):
    assert np.array_equal(causal_mask(steps)[0], np.tril(np.ones((4, 4), bool)))


@examples()
@given(hnp.arrays("int32", few((2, 6)), elements=st.integers(0, 3)))
def test_block_mask_and_positions_agree_with_loops(ids):
    steps = ids.shape[1]
    expected = np.array([[[a == b != 0 for b in row] for a in row] for row in ids])
    assert np.array_equal(block_mask(ids), expected)
    places = [[sum(row[earlier] == row[step] for earlier in range(step)) if row[step] else 0 for step in range(steps)] for row in ids]
    assert np.array_equal(segment_positions(ids), places)


@examples()
@given(st.data())
def test_combined_masks_allow_what_each_of_them_allows(data):
    batch, queries, keys = data.draw(few((3, 4, 4)))
    shapes = st.tuples(*(st.sampled_from(sorted({1, size})) for size in (batch, queries, keys)))
    masks = data.draw(st.lists(st.one_of(st.none(), shapes.flatmap(lambda shape: hnp.arrays(bool, shape))), max_size=4))
    combined, given_masks = combine_masks(*masks), [mask for mask in masks if mask is not None]
    if not given_masks:
        assert combined is None
    else:
        expected = np.broadcast_to(True, np.broadcast_shapes(*(mask.shape for mask in given_masks)))
        for mask in given_masks:
            expected = expected & mask
        assert np.array_equal(combined, expected)


BUILDERS = {
    "padding": lambda ids: padding_mask(ops.not_equal(ids, 0)),
    "causal": causal_mask,
    "causal, of vectors": lambda ids: causal_mask(ops.stack([ids, ids], axis=2)),
    "block": block_mask,
    "positions": segment_positions,
    "combined": lambda ids: combine_masks(padding_mask(ops.not_equal(ids, 0)), None, causal_mask(ids), block_mask(ids)),
    "inverted": lambda ids: mask_from_convention(ops.equal(ids, 0), "inverted"),
    "additive": lambda ids: mask_from_convention(ops.cast(ids, "float32") * -1e9, "additive"),
    "binary": lambda ids: mask_from_convention(ops.minimum(ids, 1), "binary"),
}


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", BUILDERS)
def test_builders_give_the_same_eagerly_in_a_graph_and_symbolically(name):
    build, ids = BUILDERS[name], tf.constant([[1, 1, 2, 0, 0], [3, 3, 3, 3, 0]])
    expected = build(ids).numpy()
    unknown = tf.TensorSpec((None, None), "int32")
    for compiled in (False, True):
        assert np.array_equal(tf.function(build, input_signature=[unknown], jit_compile=compiled)(ids), expected)
    inputs = keras.Input((None,), dtype="int32")
    symbolic = build(inputs)
    assert symbolic.shape[0] is None and symbolic.dtype == expected.dtype
    # the mask of a symbolic tensor has a batch axis
    assert np.array_equal(keras.Model(inputs, symbolic)(ids), np.broadcast_to(expected, (2, *expected.shape[1:])))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: padding_mask(VALID.astype("int32")), "dtype int32: a mask is boolean"),
        (lambda: padding_mask(VALID.astype("float32")), "mask_from_convention converts"),
        (lambda: padding_mask(VALID[0]), r"the mask has the shape \(6,\): it must be \(batch, keys\)$"),
        (lambda: padding_mask(VALID[:, None]), r"it must be \(batch, keys\)$"),
        (lambda: padding_mask(keras.Input((None,), dtype="int32")), "dtype int32"),
        (lambda: causal_mask(-1), "steps is -1"),
        (lambda: causal_mask(True), "steps is True"),
        (lambda: causal_mask(2.0), "steps is 2.0"),
        (lambda: causal_mask(None), "steps is None"),
        (lambda: causal_mask(np.zeros(3)), "steps is array"),
        (lambda: causal_mask(tf.constant(2.0)), "steps is <tf.Tensor"),
        (lambda: combine_masks(causal_mask(6), VALID), r"mask 1 has the shape \(3, 6\).*padding_mask makes one"),
        (lambda: combine_masks(VALID[:, None, None]), "it has no axis for heads"),
        (lambda: combine_masks(None, np.where(VALID, 0, -1e9)[:, None]), "mask 1 has the dtype float64"),
        (lambda: combine_masks(padding_mask(VALID), causal_mask(5)), r"\(1, 5, 5\), which does not fit .* 5 keys against 6"),
        (lambda: combine_masks(padding_mask(VALID), block_mask(IDS[:2])), "2 batch against 3"),
        (lambda: block_mask(VALID), "the dtype bool: they must be"),
        (lambda: block_mask(IDS.astype("float32")), "the dtype float32: they must be"),
        (lambda: block_mask(IDS[0]), r"the shape \(6,\)"),
        (lambda: block_mask([[1, 2], [1, -1]]), "row 1 of the segment ids holds a negative number"),
        (lambda: segment_positions([[1, -1]]), "row 0 of the segment ids"),
        (lambda: mask_from_convention(VALID, "torch"), "unknown convention 'torch': choose one of additive"),
        (lambda: mask_from_convention(VALID, "additive"), "dtype bool: an additive mask holds floats"),
        (lambda: mask_from_convention([[0.0, -9999.0]], "additive"), "holds -9999.0: an additive mask"),
        (lambda: mask_from_convention([[0.0, 1.0]], "additive"), "holds 1.0: an additive mask"),
        (lambda: mask_from_convention([[0.0, np.nan]], "additive"), "holds nan: an additive mask"),
        (lambda: mask_from_convention([[0, 1]], "inverted"), "an inverted mask is boolean"),
        (lambda: mask_from_convention([[0, 2]], "binary"), "holds 2: a binary mask"),
    ],
)
def test_builders_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@examples()
@given(hnp.arrays(bool, few((3, 5))), st.sampled_from([-1e4, -3e4, -1e9, -float("inf")]), st.sampled_from(["float16", "float32"]))
def test_conventions_come_back(mask, fill, dtype):
    with np.errstate(over="ignore"):
        additive = np.where(mask, 0, fill).astype(dtype)
    assert np.array_equal(mask_from_convention(additive, "additive"), mask)
    assert np.array_equal(mask_from_convention(~mask, "inverted"), mask)
    for binary in (mask, mask.astype("int64"), mask.astype("float32")):
        assert np.array_equal(mask_from_convention(binary, "binary"), mask)


# The figure.


def test_figure_shows_each_panel_and_word():
    picture = show_attention({"a mask": causal_mask(2)[0], "weights": np.array([[0.5, 0.5], [1, 0]])}, ["q$1", "q2"], ["k1", "k2"])
    assert repr(picture) == "a mask\n# .\n# #\nweights\n0.5 0.5\n1.0 0.0"
    for word in ("a mask", "weights", "q$1", "k2"):
        assert word in picture.source


def test_figure_has_a_bar_for_the_weight_of_padding():
    weights, valid = np.array([[0.5, 0.5, 0], [0.25, 0, 0.75]]), [True, True, False]
    picture = show_attention({"a mask": weights > 0, "weights": weights}, valid=valid)
    assert repr(picture) == "a mask\n# # .\n# . #\nweights\n0.5 0.5 0.0  padding: 0.00\n0.2 0.0 0.8  padding: 0.75"
    without = show_attention({"weights": weights})
    # two cells for each weight; beside each row two more, the bar and what it is a part of
    assert picture.source.count("<path") - show_attention({"a mask": weights > 0, "weights": weights}).source.count("<path") == 4
    assert LEAK in picture.source and LEAK not in without.source


@pytest.mark.parametrize(
    "panel, options, message",
    [
        (np.ones((1, 2, 2)), {}, r"panel 'x' has the shape \(1, 2, 2\)"),
        (np.ones((2, 3)), {"queries": ["a"] * 3}, "queries has 3 entries"),
        (np.ones((2, 3)), {"keys": ["a"] * 2}, "keys has 2 entries"),
        (np.ones((2, 3)), {"valid": [True]}, "valid has 1 entries"),
        (np.full((2, 3), -1.0), {}, "outside 0 to 1"),
        (np.full((2, 3), np.nan), {}, "outside 0 to 1"),
    ],
)
def test_figure_says_what_is_wrong(panel, options, message):
    with pytest.raises(ValueError, match=message):
        show_attention({"x": panel}, **options)


# The layers, under the whole contract.


def embed():
    return layers.Embedding(WORDS, 8, mask_zero=True, embeddings_initializer="normal")


def functional(*more, **options):
    ids = keras.Input((None,), dtype="int32")
    x = TransformerBlock(2, 4, 16, **options)(PositionalEmbedding(16)(embed()(ids)))
    for layer in more:
        x = layer(x)
    return keras.Model(ids, x)


@keras.saving.register_keras_serializable(package="test_attention")
class Subclassed(keras.Model):
    def __init__(self, pooled=False, **options):
        super().__init__()
        self.options = {"pooled": pooled, **options}
        self.table, self.positions = embed(), PositionalEmbedding(16)
        self.blocks = [TransformerBlock(2, 4, 16, **options) for _ in range(2)]
        self.pool = layers.GlobalAveragePooling1D() if pooled else None

    def call(self, ids):
        x = self.positions(self.table(ids))
        for block in self.blocks:
            x = block(x)
        return self.pool(x) if self.pool else x

    def get_config(self):
        return self.options


MODELS = {
    "Functional": lambda: functional(dropout=0.2),
    "Functional, norm first": lambda: functional(norm_first=True),
    "Functional, causal": lambda: functional(causal=True, activation="gelu"),
    "Functional, two blocks and a mean": lambda: functional(TransformerBlock(1, 8, 4), layers.GlobalAveragePooling1D()),
    "subclassed": Subclassed,
    "subclassed, pooled": lambda: Subclassed(pooled=True, norm_first=True, causal=True),
}


@pytest.mark.parametrize("name", some_of(MODELS, on_jax=6))
def test_models_with_the_block_keep_the_contract(name):
    model = MODELS[name]()
    steps = () if model(IDS).ndim == 2 else (6,)
    model.compile(loss="mse")
    assert_padding_contract(
        model, IDS, sides=("pre", "post"), nan=True, targets=np.ones((3, *steps, 8)),
        require=("amount", "side", "content", "neighbours", "gradients", "predict", "loss", "saved")
        + ("mask",) * bool(steps) + ("compiled",) * (not BACKEND.why_not_compiled),
    )


@pytest.mark.tensorflow
@pytest.mark.parametrize("make", [functional, Subclassed])
@pytest.mark.parametrize("policy, tolerance", [
    ("float32", 1e-5), pytest.param("mixed_float16", 1e-2, marks=pytest.mark.thorough)])
def test_padding_error_is_zero_under_xla_and_predict(make, policy, tolerance):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = make()
        model.compile(jit_compile=True)
        assert model(IDS).dtype == ("float16" if "16" in policy else "float32")
        for way in (model, model.predict_on_batch, tf.function(model, jit_compile=True)):
            for side in ("pre", "post"):
                assert padding_error(way, SEQUENCES[::2], maxlen=9, padding=side) < tolerance
    finally:
        keras.mixed_precision.set_global_policy("float32")


# The block by itself.


def block(**options):
    return TransformerBlock(2, 4, 16, **options)


def test_explicit_and_implicit_mask_are_the_same():
    layer = block()
    masked = layers.Masking()(np.where(VALID[:, :, None], VECTORS, 0))
    explicit, implicit = layer(VECTORS, mask=VALID), layer(masked)
    np.testing.assert_allclose(explicit, implicit, atol=1e-6)
    assert np.array_equal(get_mask(explicit), VALID) and np.array_equal(get_mask(implicit), VALID)
    # with a second tensor Keras does not fill in the mask, and the layer must find it
    np.testing.assert_allclose(layer(masked, attention_mask=np.ones((1, 1, 6), bool)), implicit, atol=1e-6)


def test_input_keeps_its_mask_and_padding_gives_zeros():
    masked = layers.Masking()(np.where(VALID[:, :, None], VECTORS, 0))
    result = block()(masked)
    assert np.array_equal(get_mask(masked), VALID)
    assert np.array_equal(ops.convert_to_numpy(result)[~VALID], np.zeros((4, 8))) and ops.convert_to_numpy(result)[VALID].any(axis=-1).all()


def test_causal_block_is_the_block_with_a_causal_mask():
    layer, causal = block(), block(causal=True)
    layer.build(VECTORS.shape), causal.build(VECTORS.shape)
    causal.set_weights(layer.get_weights())
    expected = layer(VECTORS, mask=VALID, attention_mask=causal_mask(6))
    np.testing.assert_allclose(causal(VECTORS, mask=VALID), expected, atol=1e-6)
    changed = VECTORS.copy()
    changed[:, 4:] += 1
    np.testing.assert_allclose(causal(changed)[:, :4], causal(VECTORS)[:, :4], atol=1e-6)
    assert np.abs(layer(changed)[:, :4] - layer(VECTORS)[:, :4]).max() > 0.01


@pytest.mark.tensorflow
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_neither_values_nor_gradients_see_what_padding_holds(norm_first, garbage):
    layer, empty = block(norm_first=norm_first), VALID.copy()
    empty[0] = False
    results = []
    for held in (0.0, garbage):
        x = tf.constant(np.where(empty[:, :, None], VECTORS, held).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = layer(x, mask=empty)
            loss = ops.sum(output**2 * np.arange(8))
        results.append([output, *tape.gradient(loss, [x, *layer.trainable_weights])])
    for clean, dirty in zip(*results, strict=True):
        assert np.isfinite(clean).all() and np.array_equal(clean, dirty)
    assert np.array_equal(results[0][0][0], np.zeros((6, 8)))


@pytest.mark.tensorflow
@pytest.mark.parametrize("compiled", [False, True])
def test_query_without_keys_takes_nothing(compiled):
    layer, allowed = block(), np.ones((3, 6, 6), bool)
    allowed[:, 2] = False
    run = tf.function(lambda x: layer(x, attention_mask=allowed), jit_compile=compiled)
    reordered = VECTORS[::-1].copy()
    reordered[:, 2] = VECTORS[:, 2]
    assert np.array_equal(run(tf.constant(VECTORS))[:, 2], run(tf.constant(reordered))[:, 2])


def test_dropout_acts_in_training_only():
    layer = block(dropout=0.5)
    assert np.array_equal(layer(VECTORS), layer(VECTORS))
    for part in range(2):  # each of the two parts has dropout
        rates = [drop.rate for drop in layer.drops]
        layer.drops[part].rate = 0
        assert not np.allclose(layer(VECTORS, training=True), layer(VECTORS, training=True))
        layer.drops[part].rate = rates[part]
    assert np.array_equal(ops.convert_to_numpy(layer(VECTORS, mask=VALID, training=True))[~VALID], np.zeros((4, 8)))


def test_packed_sequences_are_what_they_are_alone():
    layer, positional, table = block(), PositionalEmbedding(6), embed()
    table.mask_zero = False
    rows = np.array([[7, 6, 3, 7, 9, 2, 5, 8, 0], [8, 9, 1, 6, 1, 9, 0, 0, 0]])
    ids = np.array([[1, 1, 1, 2, 2, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1, 0, 0, 0]])

    def run(rows, ids):
        x = positional(table(rows), mask=ids != 0, positions=segment_positions(ids))
        return ops.convert_to_numpy(layer(x, mask=ids != 0, attention_mask=block_mask(ids)))

    packed = run(rows, ids)
    for row, segment, sequence in ((0, 1, SEQUENCES[0]), (0, 2, SEQUENCES[1]), (1, 1, SEQUENCES[2])):
        alone = run(np.array([sequence]), np.ones((1, len(sequence)), int))[0]
        np.testing.assert_allclose(packed[row][ids[row] == segment], alone, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mask": VALID.astype("float32")}, "layer 'b': the mask has the dtype float32"),
        ({"mask": VALID[:, :5]}, r"the mask has the shape \(3, 5\), the inputs are \(3, 6, 8\)"),
        ({"mask": VALID[:2]}, r"the mask has the shape \(2, 6\)"),
        ({"mask": VALID[:, None]}, r"the mask has the shape \(3, 1, 6\): it must be \(batch, time\)"),
        ({"attention_mask": VALID}, r"the attention mask has the shape \(3, 6\).*padding_mask makes one"),
        ({"attention_mask": np.zeros((3, 1, 6))}, "the attention mask has the dtype float32: a mask is boolean"),
        ({"attention_mask": np.ones((1, 5, 5), bool)}, r"the attention mask has the shape \(1, 5, 5\), which does not fit"),
        ({"attention_mask": np.ones((2, 1, 6), bool)}, r"shape \(2, 1, 6\), which does not fit"),
    ],
)
def test_block_refuses_masks_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        block(name="b")(VECTORS, **options)


@pytest.mark.parametrize("layer", [block(name="b"), PositionalEmbedding(6, name="b")])
def test_layers_refuse_ids(layer):
    with pytest.raises(ValueError, match=r"layer 'b' got the shape \(3, 6\).*an Embedding comes first"):
        layer(IDS)


def test_misfits_are_found_while_a_functional_model_is_built():
    x, mask = keras.Input((None, 8)), keras.Input((None,), dtype="bool")
    for wrong, message in ((mask, "padding_mask makes one"), (ops.cast(padding_mask(mask), "int32"), "dtype int32")):
        with pytest.raises(ValueError, match=message):
            block()(x, attention_mask=wrong)


# Positions.


def test_positions_count_valid_steps_and_the_mask_is_passed():
    layer = PositionalEmbedding(6)
    layer.build((None, None, 8))
    table = ops.convert_to_numpy(layer.embeddings)
    for side in ("pre", "post"):
        mask = mask_from_lengths([3, 6, 1], 9, side)
        result = layer(np.zeros((3, 9, 8), "float32"), mask=mask)
        assert np.array_equal(get_mask(result), mask)
        for row, length in enumerate((3, 6, 1)):
            assert np.array_equal(ops.convert_to_numpy(result)[row, mask[row]], table[:length])
    assert np.array_equal(layer(np.zeros((1, 4, 8)))[0], table[:4])
    assert np.array_equal(layer(np.zeros((1, 2, 8)), positions=np.array([[5, 0]]))[0], table[[5, 0]])


@pytest.mark.tensorflow
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("positions", [[[0, 1, 6]], [[0, 1, -1]]])
def test_a_position_outside_raises_or_gives_nan_in_a_graph(policy, positions):
    layer, x, positions = PositionalEmbedding(6, name="p", dtype=policy), np.zeros((1, 3, 8), "float32"), np.array(positions)
    with pytest.raises(ValueError, match=r"layer 'p': sequence 0 has a valid step at position (6|-1), but the positions are 0 to 5"):
        layer(x, positions=positions)
    assert np.isfinite(layer(x, positions=positions, mask=np.array([[True, True, False]]))).all()
    for compiled in (False, True):
        result = tf.function(lambda x: layer(x, positions=positions), jit_compile=compiled)(x).numpy()
        assert result.dtype == layer.compute_dtype
        assert np.isfinite(result[0, :2]).all() and np.isnan(result[0, 2]).all()


@pytest.mark.parametrize("positions", [np.arange(6), np.zeros((3, 6)), np.zeros((2, 6), int), np.zeros((3, 5), int)])
def test_positions_that_do_not_fit_are_refused(positions):
    with pytest.raises(ValueError, match="layer 'p': the positions have the shape"):
        PositionalEmbedding(6, name="p")(VECTORS, positions=positions)


# Saving.


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "layer",
    [
        TransformerBlock(2, 4, 16, dropout=0.1, activation="gelu", norm_first=True, causal=True, dtype="mixed_float16"),
        PositionalEmbedding(6, dtype="mixed_float16"),
    ],
)
def test_config_comes_back(layer):
    config = layer.get_config()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer) and again.get_config() == config
    first, second = layer(VECTORS), again(VECTORS)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(VECTORS), again(VECTORS), atol=1e-3)
    assert first.dtype == second.dtype == "float16"
