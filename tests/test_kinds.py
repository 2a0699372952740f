"""Kinds of models and batches that once got a wrong verdict, each in its smallest form."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from thorough import some_of

from masking_tutorial import check_padding, find_leaks

pytestmark = pytest.mark.filterwarnings("ignore")
RANDOM = np.random.default_rng(0)


def vectors(lengths, *size, steps=None, side="post"):
    steps = max(lengths) if steps is None else steps
    rows = []
    for length in lengths:
        values, padding = RANDOM.normal(size=(length, *size)), np.zeros((steps - length, *size))
        rows.append(np.concatenate([values, padding] if side == "post" else [padding, values]))
    return np.stack(rows).astype("float32")


def ids_of(lengths, steps=None, side="post"):
    steps = max(lengths) if steps is None else steps
    rows = [np.r_[RANDOM.integers(1, 10, length), np.zeros(steps - length)] for length in lengths]
    return np.stack([row if side == "post" else np.roll(row, steps - length) for row, length in zip(rows, lengths)]).astype("int32")


def embed(mask=True):
    return layers.Embedding(10, 8, mask_zero=mask, embeddings_initializer="normal")


IDS, PLACES = ids_of([3, 5, 2]), np.arange(5)
FEW, EVEN = vectors([3, 6, 9], 3), vectors([4, 6, 8], 3)


def functional(build, *shape, dtype="float32"):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, build(inputs))


def valid(x):
    return ops.cast(ops.any(x != 0, axis=-1, keepdims=True), "float32")


def by_the_longest(x):
    return ops.sum(x * valid(x), 1) / ops.max(ops.sum(valid(x), 1))


def masked_scores(low):
    weights, question = RANDOM.normal(size=10).astype("float32"), np.arange(64)[None] < 1

    def scores(ids):
        hidden = ops.sum(ops.one_hot(ids, 10) * weights, -1)
        return ops.where(question[:, : ids.shape[1]], low, hidden - ops.mean(hidden, 1, keepdims=True))

    return scores


def times_beside_ids():
    embedding = embed()

    def model(batch):
        weights = ops.exp(-batch["dt"])
        known = weights * ops.cast(batch["ids"] != 0, "float32")
        return ops.sum(embedding(batch["ids"]) * known[..., None], 1) / ops.sum(weights, 1)[:, None]

    return model


def edges_and_nodes():
    nodes, edges = keras.Input((None, 3), name="nodes"), keras.Input((None, None), name="edges")
    return keras.Model([nodes, edges], ops.mean(ops.relu(ops.matmul(edges, layers.Dense(4)(nodes))), 1))


def in_fours():
    embedding = embed()

    def model(ids):
        known = embedding(ids) * ops.cast(ids != 0, "float32")[..., None]
        return ops.sum(ops.reshape(known, (ids.shape[0], ids.shape[1] // 4, 4, 8)), (1, 2)) / ops.cast(ids.shape[1], "float32")

    return model


def one_row_of_many():
    batch = np.abs(vectors([5, 6, 7, 8, 9, 10, 11, 12] * 4, 2, steps=14))
    batch[25, :, 1] *= -1
    return batch


def one_row_that_is_large():
    batch = vectors([3, 5, 2], 1)
    batch[0, :3] = 1e6
    return batch


LEAKING = {
    "a stride of three, and all lengths multiples of it": (
        lambda: functional(lambda x: layers.GlobalMaxPooling1D()(layers.Conv1D(
            4, 3, strides=3, padding="same", use_bias=False, activation="relu")(x)), None, 3), FEW, {"lengths": [3, 6, 9]}),
    "a stride of three behind padding in front": (
        lambda: functional(lambda x: layers.GlobalMaxPooling1D()(ops.abs(layers.Conv1D(4, 3, strides=3, use_bias=False)(x))), None, 3),
        vectors([3, 6, 9], 3, side="pre"), {"lengths": [3, 6, 9], "side": "pre"}),
    "a stride of two, and all lengths even": (
        lambda: functional(lambda x: layers.UpSampling1D(2)(layers.Conv1D(4, 3, strides=2, padding="same", use_bias=False)(x)), None, 3),
        EVEN, {"lengths": [4, 6, 8]}),
    "a division by the longest of the batch, which stands first": (
        lambda: functional(by_the_longest, None, 3), vectors([6, 4, 3], 3), {}),
    "complex answers": (lambda: lambda x: tf.complex(tf.reduce_sum(x, 1), tf.reduce_mean(x, 1)), vectors([3, 5, 2], 3), {}),
    "scores of minus a billion at valid steps": (lambda: masked_scores(-1e9), IDS, {}),
    "scores of minus ten thousand at valid steps": (lambda: masked_scores(-1e4), IDS, {}),
    "one sequence of 32 leaks": (lambda: functional(lambda x: layers.GlobalMaxPooling1D()(x), None, 2), one_row_of_many(), {}),
    "one sequence has answers a million times as large": (
        lambda: lambda x: ops.sum(x, 1) + ops.cast(ops.shape(x)[1], "float32"), one_row_that_is_large(), {"lengths": [3, 5, 2]}),
    "floats for each step beside ids": (times_beside_ids, {"ids": IDS, "dt": np.abs(vectors([3, 5, 2]))}, {}),
    "nodes and edges": (edges_and_nodes, [vectors([3, 5, 2], 3), np.stack(
        [np.pad(np.ones((n, n), "float32"), (0, 5 - n)) for n in (3, 5, 2)])], {}),
    "numbers of steps that four divides": (in_fours, ids_of([3, 8, 5]), {}),
    "padding that is not one value": (lambda: functional(layers.LSTM(4), None, 3), RANDOM.normal(size=(3, 5, 3)).astype("float32"),
                                      {"lengths": [3, 5, 2]}),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKING)
def test_a_leak_is_found(name):
    make, batch, options = LEAKING[name]
    model = make()
    assert not check_padding(model, batch, **options)
    assert not find_leaks(model, batch, **options)


class Noise(layers.Layer):
    """Dropout of one's own, with a seed as Keras documents it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed, self.supports_masking = keras.random.SeedGenerator(3), True

    def call(self, inputs, training=False):
        return keras.random.dropout(inputs, 0.5, seed=self.seed) if training else inputs


class OneHotBesideIds(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.dense = embed(), layers.LSTM(4), layers.Dense(3)

    def call(self, batch):
        return ops.concatenate([self.lstm(self.embedding(batch[0])), self.dense(ops.cast(batch[1], "float32"))], -1)


def attention_among_steps():
    ids = keras.Input((None,), dtype="int32", name="ids")
    allowed = keras.Input((None, None), dtype="bool", name="attention_mask")
    hidden = embed(False)(ids)
    return keras.Model([ids, allowed], layers.MultiHeadAttention(2, 4)(hidden, hidden, attention_mask=allowed))


def two_sides():
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    _, hidden, cell = layers.LSTM(6, return_state=True)(embed()(source))
    decoder = layers.LSTM(6, return_sequences=True)
    return keras.Model([source, target], decoder(embed()(target), initial_state=[hidden, cell], mask=target != 0))


def last_token_by_its_id():
    ids = keras.Input((None,), dtype="int32", name="input_ids")
    known = keras.Input((None,), dtype="int32", name="attention_mask")
    hidden = embed(False)(ids)
    hidden = layers.MultiHeadAttention(2, 4)(hidden, hidden, attention_mask=ops.cast(known, "bool")[:, None])
    last = ops.sum(ops.cast(ids != 0, "int32"), 1) - 1
    return keras.Model([ids, known], ops.take_along_axis(hidden, last[:, None, None], 1)[:, 0])


def sorted_inside():
    embedding, lstm = embed(), layers.LSTM(4)

    def model(ids):
        order = ops.argsort(-ops.sum(ops.cast(ids != 0, "int32"), 1))
        return ops.take(lstm(embedding(ops.take(ids, order, 0))), ops.argsort(order), 0)

    return model


def true_at_padding():
    embedding = embed(False)
    return lambda batch: ops.sum(ops.where(batch["key_padding_mask"][..., None], 0.0, embedding(batch["ids"])), 1)


def told_lengths():
    embedding = embed(False)

    def model(batch):
        known = ops.cast(np.arange(batch["ids"].shape[1]) < batch["length"][:, None], "float32")
        return ops.sum(embedding(batch["ids"]) * known[..., None], 1)

    return model


def beside(name, size):
    embedding, user, lstm, dense = embed(), layers.Embedding(5, 4), layers.LSTM(4), layers.Dense(3)

    def model(batch):
        rest = user(batch[name]) if size else batch[name]
        return ops.concatenate([lstm(embedding(batch["ids"])), dense(ops.reshape(rest, (rest.shape[0], -1)))], -1)

    return model


def words_and_segments():
    words, segments = keras.Input((None, 3), name="words"), keras.Input((None,), dtype="int32", name="segments")
    hidden = layers.Dense(8)(words) + layers.Embedding(3, 8)(segments)
    return keras.Model([words, segments], ops.sum(hidden * valid(words), 1))


def segments_that_end_before():
    segments = np.zeros((3, 5), "int32")
    segments[0, 0] = segments[1, :3] = segments[2, 0] = 1  # the last part of each sequence has segment 0
    return [vectors([3, 5, 2], 3), segments]


def with_dark_rows():
    image = RANDOM.random((3, 4, 4, 1)).astype("float32")
    image[0, 3] = image[1, 2:] = 0
    return {"ids": IDS, "image": image}


def zero_is_a_word():
    ids = IDS.copy()
    ids[0, 2] = ids[1, 4] = 0
    return {"ids": ids, "length": np.array([3, 5, 2], "int32")}


SOUND = {
    "one-hot integers beside ids": (OneHotBesideIds, [IDS, np.eye(8, dtype="int32")[[1, 3, 2]]], {}),
    "a mask of steps by steps": (attention_among_steps, [IDS, (IDS != 0)[:, None] & (IDS != 0)[:, :, None]], {}),
    "randomness of one's own": (lambda: functional(lambda ids: layers.LSTM(4)(Noise()(embed()(ids))), None, dtype="int32"), IDS, {}),
    "padding in front of the source, and behind the target": (
        two_sides, [ids_of([3, 5, 2], side="pre"), ids_of([4, 2, 6])], {}),
    "the last token is found by its id, though a mask is given": (last_token_by_its_id, [IDS, (IDS != 0).astype("int32")], {}),
    "sequences sorted inside, and sorted back": (sorted_inside, IDS, {}),
    "lengths among the inputs": (told_lengths, zero_is_a_word(), {}),
    "a mask that is true at padding": (true_at_padding, {"ids": IDS, "key_padding_mask": IDS == 0}, {}),
    "the same, with more padding": (true_at_padding, {"ids": ids_of([3, 5, 2], 7), "key_padding_mask": ids_of([3, 5, 2], 7) == 0}, {}),
    "a user id that is 0": (lambda: beside("user", 1), {"ids": IDS, "user": np.array([[0], [1], [2]], "int32")}, {}),
    "categories, one of them 0": (lambda: beside("kinds", 3), {"ids": IDS, "kinds": np.array(
        [[2, 1, 0], [1, 0, 0], [2, 3, 1]], "int32")}, {}),
    "segments whose zeros begin before the padding": (words_and_segments, segments_that_end_before(), {}),
    "the same padding before the source and after the target": (
        two_sides, [ids_of([3, 5, 2], side="pre"), ids_of([3, 1, 5])], {}),
    "an image with black rows": (lambda: beside("image", 0), with_dark_rows(), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", some_of(SOUND, 2))
def test_no_alarm_is_raised(name):
    make, batch, options = SOUND[name]
    model = make()
    contract, leaks = check_padding(model, batch, **options), find_leaks(model, batch, **options)
    assert contract and leaks, f"{contract}\n{leaks}"
    assert contract.clauses["amount"].status == "kept"


def test_a_model_that_gives_all_sequences_one_answer_tells_nothing():
    model = functional(lambda x: ops.relu(ops.mean(x, 1) - 1e6), None, 3)
    for instrument in (check_padding, find_leaks):
        assert "all sequences get the same answer" in str(instrument(model, vectors([3, 5, 2], 3)))


def test_targets_with_steps_of_their_own_are_left_to_the_loss():
    model = keras.Sequential([embed(False), layers.LSTM(6, return_sequences=True), layers.Dense(5)])
    model.compile(loss=keras.losses.CTC())
    report = check_padding(model, ids_of([5, 7, 4]), targets=np.array([[1, 2, 0], [3, 1, 2], [2, 0, 0]]), clauses=["amount", "loss"])
    assert report.clauses["loss"].status == "broken"


def test_a_loss_whose_targets_cannot_be_padded_is_not_tested():
    model = functional(lambda ids: layers.Dense(10, activation="softmax")(layers.LSTM(4, return_sequences=True)(embed()(ids)))[:, :-1],
                       None, dtype="int32")  # fmt: skip
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=0))
    report = check_padding(model, IDS, targets=IDS[:, 1:], clauses=["amount", "loss"])
    assert report and report.not_tested == ["loss"]


def test_targets_of_a_data_set_are_no_mistake_of_a_model_without_a_loss():
    data = tf.data.Dataset.from_tensor_slices((IDS, np.ones((3, 1)))).batch(3)
    model = keras.Sequential([embed(), layers.LSTM(4), layers.Dense(1)])
    assert check_padding(model, data, clauses=["amount", "loss"]).clauses["loss"].status == "not applicable"


def test_a_time_axis_that_is_not_the_second_is_named():
    model = functional(lambda x: layers.LSTM(4)(layers.Permute((2, 1))(x)), 40, None)
    for instrument in (check_padding, find_leaks):
        with pytest.raises(ValueError, match="its time axis is not the second one"):
            instrument(model, np.zeros((3, 40, 20), "float32"), lengths=[12, 20, 9])


def test_an_answer_in_numpy_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="return what its layers give"):
        check_padding(lambda ids: np.asarray(ids, "float32"), IDS)


def test_a_step_that_is_taken_by_its_place_is_no_matter_of_a_mask():
    embedding = embed()
    assert "gather those" in find_leaks(lambda ids: embedding(ids)[:, -1], IDS).first.advice


# Models that take some numbers of steps only.


def in_pairs(x):
    "Raises for an odd number of steps."
    return layers.Concatenate()([layers.UpSampling1D(2)(layers.MaxPooling1D(2)(x)), x])


def placed(x):
    "Vectors of ids, each with that of its position; there are as many positions as the longest sequence of IDS has steps."
    return embed(False)(x) + layers.Embedding(5, 8)(ops.cumsum(ops.ones_like(x), 1) - 1)


def in_training(model, batch, **options):
    return check_padding(model, batch, clauses=["amount", "influence", "training"], **options).clauses["training"]


def test_statistics_are_tested_with_as_much_padding_as_the_model_takes():
    model = functional(lambda x: layers.BatchNormalization()(in_pairs(x)), None, 3)
    assert in_training(model, EVEN, lengths=[4, 6, 8]).status == "broken"


def test_statistics_are_not_tested_where_the_model_takes_no_more_padding():
    row = in_training(functional(lambda x: layers.BatchNormalization()(placed(x)), None, dtype="int32"), IDS)
    assert row.status == "could not be tested" and "no more steps" in row.reason


def test_statistics_are_not_tested_where_nothing_about_padding_can_be_varied():
    model = functional(lambda x: layers.Dense(2)(layers.Flatten()(layers.BatchNormalization()(x))), 8, 3)
    assert in_training(model, EVEN, lengths=[4, 6, 8]).status == "could not be tested"


def test_statistics_of_a_fixed_number_of_steps_are_tested_with_other_values():
    model = functional(lambda ids: layers.Dense(2)(layers.Flatten()(layers.BatchNormalization()(embed(False)(ids)))), 5, dtype="int32")
    assert in_training(model, IDS, lengths=[3, 5, 2]).status == "broken"


def test_an_amount_that_the_model_refuses_does_not_end_the_test_of_others():
    model = functional(lambda x: ops.sum(in_pairs(x), 1) / ops.maximum(ops.sum(ops.ones_like(x[..., :1]), 1), 8), None, 3)
    row = check_padding(model, EVEN, lengths=[4, 6, 8], clauses=["amount"]).clauses["amount"]
    assert row.status == "broken"
    kept = check_padding(functional(lambda x: ops.sum(in_pairs(x), 1), None, 3), EVEN, lengths=[4, 6, 8], clauses=["amount"])
    assert "it takes no 1 more steps" in kept.clauses["amount"].reason


def test_the_loss_is_tested_with_as_much_padding_as_the_model_takes():
    model = functional(lambda x: layers.Dense(1)(in_pairs(x)), None, 3)
    model.compile(loss="mse", metrics=["mae"])
    report = check_padding(model, EVEN, lengths=[4, 6, 8], targets=vectors([4, 6, 8], 1), clauses=["amount", "loss", "metrics"])
    assert [report.clauses[name].status for name in ("loss", "metrics")] == ["broken", "broken"]


def test_a_metric_is_not_tested_where_nothing_about_it_can_be_varied():
    model = functional(lambda ids: layers.Reshape((5, 1))(layers.Dense(5)(layers.Flatten()(embed(False)(ids)))), 5, dtype="int32")
    model.compile(loss="mse", metrics=["mae"])
    targets = np.where(IDS == 0, -1, IDS)[..., None]  # no valid step has the target of padding
    report = check_padding(model, IDS, lengths=[3, 5, 2], targets=targets, clauses=["influence", "metrics"])
    assert report.clauses["metrics"].status == "could not be tested"


# One number of steps only, and layers that change it by some.


def of_five_steps(build):
    "Ids of 5 steps and another id; what `build` makes of their vectors, and weights for each step."
    ids, target = keras.Input((5,), dtype="int32", name="ids"), keras.Input((1,), dtype="int32", name="target")
    built = build(embed(False)(ids), layers.Embedding(10, 8, name="target_vectors")(target))
    return keras.Model({"ids": ids, "target": target}, layers.Dense(2, name="answer")(layers.Flatten(name="flat")(built)))


def attended(x):
    return layers.MultiHeadAttention(2, 4, name="attend")(x, x)


CHANGED_STEPS = {
    "a step after the last one": (lambda x, y: attended(layers.Concatenate(1)([x, y])), "attend", "post"),
    "a step before the first one": (lambda x, y: attended(layers.Concatenate(1)([y, x])), "attend", "post"),
    "a step after padding in front": (lambda x, y: attended(ops.concatenate([x, y], 1)), "attend", "pre"),
    "a step before padding in front": (lambda x, y: attended(ops.concatenate([y, x], 1)), "attend", "pre"),
    "the steps twice": (lambda x, y: attended(layers.Concatenate(1)([x, y, x])), "attend", "post"),
    "zeros on both sides": (lambda x, y: attended(layers.ZeroPadding1D(1)(x)) + y, "attend", "post"),
    "cropped on both sides": (lambda x, y: attended(layers.Cropping1D(1)(x)) + y, "attend", "post"),
    "cropped by an index": (lambda x, y: attended(x[:, 1:]) + y, "attend", "pre"),
    "windows that lie within the steps": (lambda x, y: attended(layers.Conv1D(8, 2)(x)) + y, "attend", "post"),
    "windows that lie across both ends": (lambda x, y: attended(layers.Conv1DTranspose(8, 2)(x)) + y, "attend", "post"),
    "windows that hold padding for one sequence": (
        lambda x, y: layers.Conv1D(8, 4, name="conv")(x) + y, "conv", "post"),
    "the last steps": (lambda x, y: layers.Cropping1D((3, 0), name="last")(x) + y, "last", "post"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED_STEPS)
def test_steps_are_known_where_a_layer_adds_or_removes_some(name):
    build, culprit, side = CHANGED_STEPS[name]
    batch = {"ids": ids_of([3, 5, 2], side=side), "target": np.array([[4], [7], [1]])}
    report = find_leaks(of_five_steps(build), batch, lengths={"ids": [3, 5, 2]}, side={"ids": side})
    assert report.first.name == culprit, f"\n{report}"


@pytest.mark.parametrize("build", [lambda x: layers.Conv1D(4, 2, padding="valid")(x), lambda x: layers.ZeroPadding1D((1, 0))(x)])
def test_an_answer_with_some_steps_less_or_more_is_compared_at_valid_steps(build):
    entry = keras.Input((5,), dtype="int32")
    places = layers.Dense(8, name="places")(np.eye(5, dtype="float32"))  # a sum with it takes 5 steps only
    model = keras.Model(entry, build(embed(False)(entry) + places))
    options = {"lengths": [3, 5, 2]}
    contract = check_padding(model, IDS, **options, clauses=["content", "influence"])
    assert contract and contract.clauses["content"].status == "kept", f"\n{contract}"
    assert find_leaks(model, IDS, **options)


class Placed(layers.Layer):
    "Adds a weight for each of 5 steps, so that it takes no other number of them, and lets the mask through."

    def __init__(self):
        super().__init__()
        self.supports_masking, self.places = True, self.add_weight(shape=(5, 8), initializer="normal")

    def call(self, x):
        return x + self.places


def answer_of_the_target(mask):
    "Vectors of ids and of a target behind them, and what attention gives at the target."
    ids, target = keras.Input((5,), dtype="int32", name="ids"), keras.Input((1,), dtype="int32", name="target")
    joined = layers.Concatenate(1, name="joined")([Placed()(embed(mask)(ids)), layers.Embedding(10, 8)(target)])
    model = keras.Model({"ids": ids, "target": target}, layers.Dense(2)(attended(joined)[:, -1]))
    return find_leaks(model, {"ids": IDS, "target": np.array([[4], [7], [1]])}, lengths={"ids": [3, 5, 2]})


def test_a_mask_that_is_joined_with_the_steps_is_right():
    report = answer_of_the_target(True)
    (row,) = (row for row in report.rows if row.name == "joined")
    assert row.mask_out and "wrong" not in row.mask and report, f"\n{report}"


def test_a_step_that_stands_behind_padding_is_compared_too():
    report = answer_of_the_target(False)
    assert [row.name for row in report.rows if row.offends] == ["attend"], f"\n{report}"
