"""A model that is rewritten without edits gives the same answers from weights of its own; the layers that are put in do one thing each."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from brute import apart
from keras import layers as L
from keras import ops

from masking_tutorial import mask_layers
from masking_tutorial.surgery import CannotBeRewritten, rewrite

pytestmark = pytest.mark.usefixtures("seeded")


def words(name="words", steps=None):
    return keras.Input((steps,), dtype="int32", name=name)


def embedded(tokens, name="embedding"):
    return L.Embedding(7, 3, mask_zero=True, name=name)(tokens)


IDS = np.array([[3, 1, 4, 2], [5, 6, 0, 0]], "int32")


# Graphs of many kinds: each function gives a model that takes IDS, once or twice.


def shared_layer():
    tokens, dense = words(), L.Dense(3, name="dense")
    return keras.Model(tokens, dense(dense(embedded(tokens))))


def nested_model_called_twice():
    encoder = keras.Sequential([L.Embedding(7, 3), L.Dense(2, "tanh"), L.GlobalAveragePooling1D()], name="encoder")
    first, second = words("first"), words("second")
    return keras.Model([first, second], L.Subtract()([encoder(first), encoder(second)]))


def models_in_models_in_models():
    hidden = keras.Input((None, 3), name="hidden")
    innermost = keras.Model(hidden, L.BatchNormalization(name="norm")(hidden), name="innermost")
    middle = keras.Sequential([keras.Input((None, 3)), innermost, L.Dense(2)], name="middle")
    tokens = words()
    return keras.Model(tokens, middle(embedded(tokens)))


def operations_with_keywords():
    tokens = words()
    x = embedded(tokens)
    x = ops.concatenate([x, ops.roll(x, shift=1, axis=-1)], axis=-1)
    return keras.Model(tokens, ops.max(ops.where(x > 0, x, -x), axis=1, keepdims=True)[:, 0, ::2])


def lambda_with_a_closure():
    tokens, factor = words(), 3.0
    return keras.Model(tokens, L.Lambda(lambda x: x * factor, name="scaled")(embedded(tokens)))


def masks_by_hand():
    tokens = words()
    valid, x = ops.not_equal(tokens, 0), L.Embedding(7, 3)(tokens)
    x = L.MultiHeadAttention(1, 2)(x, x, attention_mask=ops.expand_dims(valid, 1))
    return keras.Model(tokens, L.GlobalAveragePooling1D()(x, mask=valid))


def states_handed_on():
    tokens = words()
    _, *states = L.LSTM(3, return_state=True, name="encoder")(embedded(tokens))
    return keras.Model(tokens, L.LSTM(3, return_sequences=True, name="decoder")(embedded(tokens, "other"), initial_state=states))


def both_ways():
    tokens = words()
    return keras.Model(tokens, L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode="sum")(embedded(tokens)))


def at_each_step():
    tokens = words(steps=4)
    inner = keras.Sequential([keras.Input((3,)), L.Dense(2, "relu")])
    return keras.Model(tokens, L.TimeDistributed(inner, name="each")(embedded(tokens)))


def optional_input():
    tokens, bonus = words(), keras.Input((None, 3), name="bonus", optional=True)
    layer = Bonus(name="with_bonus")
    return keras.Model({"words": tokens, "bonus": bonus}, layer(embedded(tokens), bonus))


def constants_in_the_graph():
    tokens = words(steps=4)
    positions = L.Embedding(4, 3, name="positions")(ops.arange(4))
    return keras.Model(tokens, embedded(tokens) * np.array([1.0, 2.0, 3.0], "float32") + positions)


def dropout_in_a_recurrent_layer():
    tokens = words()
    x = L.GRU(2, dropout=0.5, recurrent_dropout=0.5, seed=1, return_sequences=True)(embedded(tokens))
    return keras.Model(tokens, L.Dropout(0.5, seed=2)(x))


def dicts_and_lists_of_outputs():
    tokens = words()
    x = embedded(tokens)
    return keras.Model([tokens], {"z": (x, L.Dense(2, name="dense")(x)), "a": [L.GlobalMaxPooling1D()(x)], "same": x})


@keras.saving.register_keras_serializable(package="test_surgery")
class Bonus(L.Layer):
    def call(self, inputs, bonus=None):
        return inputs if bonus is None else inputs + bonus


GRAPHS = [shared_layer, nested_model_called_twice, models_in_models_in_models, operations_with_keywords, lambda_with_a_closure,
          masks_by_hand, states_handed_on, both_ways, at_each_step, optional_input, constants_in_the_graph,
          dropout_in_a_recurrent_layer, dicts_and_lists_of_outputs]


def batch_of(model):
    if isinstance(model.input, dict):
        return {"words": IDS, "bonus": None}
    return [IDS] * len(model.inputs) if isinstance(model.input, list) else IDS


@pytest.mark.parametrize("made", GRAPHS, ids=lambda made: made.__name__)
def test_a_model_that_is_rewritten_gives_the_same_answers(made):
    model = made()
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    nodes = [(layer, len(layer._inbound_nodes), [id(tensor) for tensor in keras.tree.flatten(layer.output)]) for layer in model.layers]
    new, batch = rewrite(model).model, batch_of(model)
    answer = model(batch)
    keras.tree.assert_same_structure(new(batch), answer)
    assert apart(list(keras.tree.flatten(new(batch))), list(keras.tree.flatten(answer))) == 0
    assert [layer.name for layer in new.layers] == [layer.name for layer in model.layers]
    assert all(len(layer._inbound_nodes) == count and [id(tensor) for tensor in keras.tree.flatten(layer.output)] == made
               for layer, count, made in nodes)

    # the weights are its own
    for weight in new.weights:
        weight.assign(weight + 1)
    assert apart(list(keras.tree.flatten(model(batch))), list(keras.tree.flatten(answer))) == 0


def test_the_state_of_random_numbers_is_that_of_the_original():
    model = dropout_in_a_recurrent_layer()
    model(IDS, training=True)
    new = rewrite(model).model
    assert apart(new(IDS, training=True), model(IDS, training=True)) == 0


def test_masks_that_a_graph_carries_arrive_as_before():
    model = keras.Model(tokens := words(), embedded(tokens))
    np.testing.assert_array_equal(rewrite(model).model(IDS)._keras_mask, IDS != 0)


@pytest.mark.parametrize("frozen", ["embedding", "whole"])
def test_what_is_not_trained_stays_so(frozen):
    model = keras.Model(tokens := words(), L.Dense(1, name="dense")(embedded(tokens)))
    (model if frozen == "whole" else model.get_layer(frozen)).trainable = False
    new = rewrite(model).model
    assert len(new.trainable_weights) == len(model.trainable_weights) == (0 if frozen == "whole" else 2)
    assert new.trainable == model.trainable


class NotAGraph(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize("model", [NotAGraph(), keras.Sequential([L.Dense(1)])], ids=["subclassed", "not built"])
def test_a_model_without_a_graph_is_refused(model):
    with pytest.raises(CannotBeRewritten, match="graph"):
        rewrite(model)


# The layers that are put in: what each is given, what it gives, and the mask.

VALID = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
VALUES = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")


def masked(values):
    tensor = ops.convert_to_tensor(values)
    tensor._keras_mask = ops.convert_to_tensor(VALID)
    return tensor


def padded(value):
    return np.where(VALID[..., None], VALUES, np.asarray(value, "float32"))


PUT_IN = {  # the layer, what it is given, what it gives (None: its first input), and the mask of that
    "ids": (mask_layers.MakeMask(), lambda: ops.convert_to_tensor(IDS), None, VALID),
    "features": (mask_layers.MakeMask(-1.0), lambda: ops.convert_to_tensor(padded(-1.0)), None, VALID),
    "nan": (mask_layers.MakeMask(np.nan), lambda: ops.convert_to_tensor(padded(np.nan)), None, VALID),
    "lengths": (mask_layers.MakeMaskFromLengths(), lambda: [ops.convert_to_tensor(VALUES), ops.convert_to_tensor([4, 2])], None, VALID),
    "lengths in front": (mask_layers.MakeMaskFromLengths("pre"), lambda: [ops.convert_to_tensor(VALUES), ops.convert_to_tensor([[4.0], [2.0]])],
                         None, VALID[:, ::-1]),
    "carried": (mask_layers.CarryMask(), lambda: [ops.convert_to_tensor(VALUES), masked(VALUES)], None, VALID),
    "as tensor": (mask_layers.MaskAsTensor(), lambda: masked(VALUES), VALID, None),
    "all valid": (mask_layers.MaskAsTensor(), lambda: ops.convert_to_tensor(VALUES), np.ones((2, 4), bool), None),
    "zeros": (mask_layers.FillPadding(), lambda: masked(padded(np.nan)), padded(0.0), VALID),
    "lowest": (mask_layers.FillPadding("lowest"), lambda: masked(padded(np.inf)), padded(np.finfo("float32").min), VALID),
    "last": (mask_layers.FillPadding(1.0, keeps_mask=False), lambda: masked(VALUES), padded(1.0), None),
    "no padding": (mask_layers.FillPadding(), lambda: ops.convert_to_tensor(VALUES), None, None),
    "ended": (mask_layers.EndMask(), lambda: masked(VALUES), None, None),
}


def mask_of(tensor):
    mask = getattr(tensor, "_keras_mask", None)
    return None if mask is None else np.asarray(mask)


@pytest.mark.parametrize("how", ["eager", "graph", "anew"])
@pytest.mark.parametrize("name", PUT_IN)
def test_a_layer_gives_the_values_and_the_mask_that_it_should(name, how):
    layer, given, wanted, mask = PUT_IN[name]
    if how == "anew":
        layer = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    inputs = given()
    first = inputs[0] if isinstance(inputs, list) else inputs
    if how == "graph":
        def traced():
            answer = layer(given())
            has_mask = getattr(answer, "_keras_mask", None) is not None
            return answer, answer._keras_mask if has_mask else tf.constant("none")
        answer, answer_mask = tf.function(traced, autograph=False)()  # whose cache takes no account of closures
        answer_mask = None if answer_mask.dtype == tf.string else np.asarray(answer_mask)
    else:
        answer = layer(inputs)
        answer_mask = mask_of(answer)
    np.testing.assert_array_equal(answer, first if wanted is None else wanted)
    np.testing.assert_array_equal(answer_mask, mask)
    assert mask_of(first) is None or np.array_equal(mask_of(first), VALID), "the input keeps its mask"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
def test_the_lowest_value_is_that_of_the_type(dtype):
    layer = mask_layers.FillPadding("lowest", dtype=dtype)
    answer = layer(masked(ops.cast(VALUES, layer.compute_dtype)))
    assert keras.backend.standardize_dtype(answer.dtype) == layer.compute_dtype
    padding = np.asarray(ops.cast(answer, "float64"))[~VALID]
    assert np.isfinite(padding).all() and (padding < -6e4).all()


@pytest.mark.parametrize("layer", [mask_layers.MakeMask(9.0, dtype="float16"), mask_layers.EndMask(dtype="float16")],
                         ids=lambda layer: layer.name)
def test_a_layer_that_copies_keeps_the_type_and_every_bit(layer):
    large = ops.convert_to_tensor(np.array([[16777217, 70000]]), "int32")
    assert layer(large).dtype == "int32" and (np.asarray(layer(large)) == [[16777217, 70000]]).all()
    exact = ops.convert_to_tensor(VALUES)
    np.testing.assert_array_equal(layer(exact), VALUES)


@pytest.mark.parametrize("name, padding", [("features", 1.0), ("carried", 1.0), ("zeros", 0.0), ("ended", 1.0)])
def test_gradients_pass_a_layer_and_none_comes_to_filled_steps(name, padding):
    layer, given, *_ = PUT_IN[name]
    inputs = given()
    first = inputs[0] if isinstance(inputs, list) else inputs
    with tf.GradientTape() as tape:
        tape.watch(first)
        total = tf.reduce_sum(layer(inputs) * 2.0)
    np.testing.assert_array_equal(tape.gradient(total, first), np.where(VALID[..., None], 2.0, 2.0 * padding) + 0 * VALUES)


def test_an_unknown_value_for_padding_is_refused():
    with pytest.raises(ValueError, match="'smallest'.*'lowest' or 'highest'"):
        mask_layers.FillPadding("smallest")
