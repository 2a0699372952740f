"""Models as examples and tutorials publish them, rebuilt small, with the faults about padding that they have.

`CASES` has a builder for each: a function of a NumPy Generator that returns a Case; `public_case(name)` is that of one
seed. What is said about a fault is measured in tests/test_public_models.py. The weights are random and none is zero, so
that no leak hides behind them.
Layers that the examples write themselves stay as they are published: an own layer that lets no mask through.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import brute
import keras
import numpy as np
from keras import layers as L
from keras import ops

IDS, MOST_STEPS = 20, 32  # ids are smaller than the first; positions are known for so many steps
SEED = 3  # with it each leak is far above rounding
LENGTHS = np.array([6, 4])


@dataclass
class Case:
    "A model, a padded batch, what is wrong with it, and what can be done about it."
    model: object
    batch: object          # the inputs as the model takes them: one array, or arrays by name
    lengths: object        # valid steps of each sequence, or by name of an input
    fault: str             # in words
    culprit: str           # name of the layer or operation that is to be named first
    mendable: object       # whether masks, counterparts of layers and filled steps can mend it: True, "partly" or False
    reason: str            # how, or why not
    side: str = "post"
    amounts: tuple = (3,)    # steps of padding more, with which the model can run
    padding_vector: str = ""  # where the number of steps is fixed: the embedding whose first vector stands at padding
    name: str = ""         # of the builder

    @property
    def options(self):
        "For the instruments."
        return {"lengths": self.lengths} | ({"side": self.side} if self.side != "post" else {})


CASES = {}


def case(builder):
    "Register a builder; its case begins with new names, and gets weights that are not zero."
    def named(random):
        keras.backend.clear_session(free_memory=False)  # the names that Keras makes depend on what was built before
        keras.utils.set_random_seed(int(random.integers(2**31)))
        made = builder(random)
        trained(made.model, random)
        made.name = builder.__name__
        return made

    CASES[builder.__name__] = named
    return named


def public_case(name, seed=SEED):
    return CASES[name](np.random.default_rng(seed))


def trained(model, random):
    "Give each weight values as training might: none is zero."
    for weight in model.weights:
        shape = weight.shape
        if "embeddings" in weight.path:
            values = random.normal(size=shape)
        elif any(word in weight.path for word in ("gamma", "variance")):
            values = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            values = random.normal(size=shape) * 1.5 / np.sqrt(np.prod(shape[:-1]))
        else:
            values = np.asarray(weight) + random.normal(size=shape) * 0.4
        weight.assign(values)


# Measuring.


def padding_error(model, case):
    "The largest change of a valid answer by padding, as a share of the largest answer."
    if case.padding_vector:
        return error_by_vector(model, case)
    return brute.leak(model, case.batch, case.lengths, case.side, amounts=case.amounts)


def error_by_vector(model, case):
    "The same where the number of steps is fixed: with other vectors in the place of the id that stands at padding."
    embedding = model.get_layer(case.padding_vector)
    kept, random = embedding.get_weights(), np.random.default_rng(0)
    expected, worst = np.asarray(model(case.batch)), 0.0
    for _ in range(3):
        table = kept[0].copy()
        table[0] = random.normal(size=table[0].shape)
        embedding.set_weights([table])
        worst = max(worst, np.abs(np.asarray(model(case.batch)) - expected).max() / np.abs(expected).max())
    embedding.set_weights(kept)
    return float(worst)


def change_without_padding(model, mended, case):
    "The largest change of an answer by mending, as a share of the largest, where there is no padding."
    if case.padding_vector:  # it takes no other number of steps than that of the longest sequence
        full = brute.repadded(case.batch, case.lengths, [0])
        return brute.apart(mended(full), model(full))
    return brute.change_alone(model, mended, case.batch, case.lengths, case.side)


@contextmanager
def unrolled(model):
    "Recurrent layers as loops of Python: run eagerly, those of TensorFlow take several times as long."
    recurrent = list(recurrent_layers(model))
    for layer in recurrent:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in recurrent:
            layer.unroll = False


def recurrent_layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from recurrent_layers(layer)
        layer = getattr(layer, "forward_layer", layer)  # not the backward one: Keras gets its mask wrong there
        if isinstance(layer, (L.GRU, L.LSTM)):
            yield layer


# Data.


def ids(random, lengths=LENGTHS, side="post"):
    "Ids from 1, padded with 0."
    valid = brute.valid_steps(lengths, max(lengths), side)
    return np.where(valid, random.integers(1, IDS, valid.shape), 0).astype("int32")


def frames(random, size):
    "Vectors, padded with zeros."
    valid = brute.valid_steps(LENGTHS, max(LENGTHS))
    return np.where(valid[..., None], random.normal(size=(*valid.shape, size)), 0).astype("float32")


# Layers that the examples write themselves.


own = keras.saving.register_keras_serializable(package="public_models")


@own
class TokenPosition(L.Layer):
    "Vectors of ids, with those of their positions added."

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.tokens, self.places = L.Embedding(IDS, size), L.Embedding(MOST_STEPS, size)

    def build(self, shape):
        self.tokens.build(shape)
        self.places.build(shape)

    def call(self, x):
        return self.tokens(x) + self.places(ops.arange(ops.shape(x)[-1]))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@own
class FramePosition(L.Layer):
    "Adds vectors of the positions to frames."

    def build(self, shape):
        self.places = L.Embedding(MOST_STEPS, shape[-1])
        self.places.build(shape)

    def call(self, x):
        return x + self.places(ops.arange(ops.shape(x)[1]))


@own
class Block(L.Layer):
    "Attention and two dense layers, each with a sum and a normalization behind it."

    def __init__(self, size, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.size, self.causal = size, causal
        self.attend = L.MultiHeadAttention(num_heads=2, key_dim=size // 2)
        self.dense = keras.Sequential([L.Dense(size, activation="relu"), L.Dense(size)])
        self.first, self.second, self.drop = L.LayerNormalization(), L.LayerNormalization(), L.Dropout(0.1)

    def build(self, shape):
        self.attend.build(shape, shape)
        for layer in (self.dense, self.first, self.second):
            layer.build(shape)

    def call(self, x, training=False):
        x = self.first(x + self.drop(self.attend(x, x, use_causal_mask=self.causal), training=training))
        return self.second(x + self.drop(self.dense(x), training=training))

    def get_config(self):
        return {**super().get_config(), "size": self.size, "causal": self.causal}


@own
class Encoder(L.Layer):
    "A block of video frames: it takes a mask, and no layer makes one."

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.attend = L.MultiHeadAttention(num_heads=1, key_dim=size)
        self.dense = keras.Sequential([L.Dense(4, activation="gelu"), L.Dense(size)])
        self.first, self.second = L.LayerNormalization(), L.LayerNormalization()

    def build(self, shape):
        self.attend.build(shape, shape)
        for layer in (self.dense, self.first, self.second):
            layer.build(shape)

    def call(self, x, mask=None):
        mask = None if mask is None else mask[:, None]
        x = self.first(x + self.attend(x, x, attention_mask=mask))
        return self.second(x + self.dense(x))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


# Texts.


@case
def word_average(random):
    model = keras.Sequential([
        keras.Input((None,), dtype="int32"), L.Embedding(IDS, 8, name="words"),
        L.GlobalAveragePooling1D(name="average"), L.Dense(8, activation="relu", name="dense"), L.Dense(1, name="score")])
    return Case(model, ids(random), LENGTHS, "the average counts padded steps, since no mask is made", "average",
                True, "mask_zero=True: the average knows masks")


@case
def text_transformer(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = Block(8, name="block")(TokenPosition(8, name="embed")(x))
    x = L.Dropout(0.1, name="drop")(L.GlobalAveragePooling1D(name="average")(x))
    x = L.Dense(2, activation="softmax", name="class")(L.Dense(6, activation="relu", name="dense")(x))
    return Case(keras.Model(entry, x), ids(random), LENGTHS,
                "the own embedding makes no mask: attention looks at padded steps, and the average counts them",
                "multi_head_attention", True, "a mask of the ids before the block reaches the attention inside; and before the average")


@case
def tagger(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Dropout(0.1, name="drop")(Block(8, name="block")(TokenPosition(8, name="embed")(x)))
    x = L.Dense(4, activation="softmax", name="tags")(L.Dense(8, activation="relu", name="dense")(x))
    return Case(keras.Model(entry, x), ids(random), LENGTHS,
                "the own embedding makes no mask: each tag depends on padded steps by attention",
                "multi_head_attention", True, "a mask of the ids before the block reaches the attention inside")


@case
def review_lstm(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Bidirectional(L.LSTM(4, return_sequences=True), name="both")(L.Embedding(IDS, 8, name="words")(x))
    x = L.Dense(6, activation="relu", name="dense")(L.GlobalMaxPooling1D(name="most")(x))
    x = L.Dense(1, activation="sigmoid", name="score")(L.Dropout(0.5, name="drop")(x))
    return Case(keras.Model(entry, x), ids(random), LENGTHS,
                "without a mask the backward LSTM begins in padded steps, and the maximum is taken over them",
                "both", True, "mask_zero=True, and a maximum over valid steps")


@case
def text_convolution(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Dropout(0.5, name="drop")(L.Embedding(IDS, 8, name="words")(x))
    x = L.Conv1D(6, 3, strides=2, activation="relu", name="first")(x)
    x = L.Conv1D(6, 2, strides=2, activation="relu", name="second")(x)
    x = L.Dense(6, activation="relu", name="dense")(L.GlobalMaxPooling1D(name="most")(x))
    lengths = np.array([9, 6])
    return Case(keras.Model(entry, L.Dense(1, activation="sigmoid", name="score")(x)), ids(random, lengths), lengths,
                "windows that reach into padded steps take part in the maximum", "most",
                True, "a window is valid if all its steps are; the maximum over valid windows")


def convolutions():
    "Convolutions of several widths."
    entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, name="words")(entry)
    parts = [L.GlobalMaxPooling1D(name=f"most{width}")(L.Conv1D(4, width, activation="relu", name=f"conv{width}")(x))
             for width in (2, 3, 4)]
    x = L.Dropout(0.5, name="drop")(L.Concatenate(name="joined")(parts))
    return keras.Model(entry, L.Dense(3, activation="softmax", name="class")(x))


@case
def text_cnn(random):
    return Case(convolutions(), ids(random), LENGTHS, "windows that reach into padded steps take part in each maximum", "most2",
                True, "a window is valid if all its steps are; the maximum over valid windows")


@case
def half_precision(random):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = convolutions()
    finally:
        keras.config.set_dtype_policy(policy)
    return Case(model, ids(random), LENGTHS, "as text_cnn, in half precision", "most2",
                True, "as text_cnn; what counts as very low must be a number of float16")


@case
def attention_by_hand(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, mask_zero=True, name="words")(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True), name="both")(x)
    share = L.Flatten(name="flat")(L.Dense(1, activation="tanh", name="score")(x))
    share = L.Activation("softmax", name="share")(share)
    share = L.Permute((2, 1), name="turned")(L.RepeatVector(8, name="repeated")(share))
    x = ops.sum(L.Multiply(name="weighted")([x, share]), axis=1)
    return Case(keras.Model(entry, L.Dense(2, activation="softmax", name="class")(x)), ids(random), LENGTHS,
                "the softmax over time has lost the mask and gives a share to padded steps", "share",
                True, "a softmax over valid steps; then padded steps weigh nothing in the sum")


@case
def last_step(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, mask_zero=True, name="words")(x)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True), name="both")(x)[:, -1]
    model = keras.Model(entry, L.Dense(2, activation="softmax", name="class")(x))
    return Case(model, ids(random), LENGTHS, "the last step is a padded one: the backward half has not read anything there",
                operation(model, "GetItem"), True, "the last valid step")


def operation(model, kind):
    "The name that Keras gave to the operation of a kind."
    return next(node.name for node in model.operations if type(node).__name__ == kind)


@case
def normalized_convolution(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, mask_zero=True, name="words")(x)
    x = L.Conv1D(8, 3, padding="same", name="conv1")(x)
    x = L.Activation("relu", name="relu1")(L.GroupNormalization(2, name="groups")(x))
    x = L.Conv1D(8, 3, padding="same", name="conv2")(x)
    x = L.Activation("relu", name="relu2")(L.LayerNormalization(name="layer")(x))
    x = L.GlobalAveragePooling1D(name="average")(x)
    return Case(keras.Model(entry, L.Dense(2, name="class")(x)), ids(random), LENGTHS,
                "the convolution reaches into padded steps, the normalization of groups and the average count them",
                "conv1", True, "zeros at padded steps before each convolution; statistics and average of valid steps")


@case
def inverted_mask(random):
    entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, name="words")(entry)
    padded = ops.equal(entry, 0)
    y = L.MultiHeadAttention(2, 4, name="attend")(x, x, attention_mask=padded[:, None])
    x = L.GlobalMaxPooling1D(name="most")(L.LayerNormalization(name="layer")(L.Add(name="add")([x, y])))
    return Case(keras.Model(entry, L.Dense(2, name="class")(x)), ids(random), LENGTHS,
                "the mask is True at padded steps, so that attention looks at nothing else", "attend",
                False, "without padding every step is ruled out and all count alike: turned round, those answers change")


@case
def attention_twice(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, mask_zero=True, name="words")(x)
    y = L.MultiHeadAttention(2, 4, name="attend1")(x, x)
    z = L.MultiHeadAttention(2, 4, name="attend2")(x, x)
    x = L.LayerNormalization(name="layer")(L.Add(name="add")([x, y, z]))
    x = L.GlobalAveragePooling1D(name="average")(x)
    return Case(keras.Model(entry, L.Dense(2, name="class")(x)), ids(random), LENGTHS,
                "the first attention takes the mask off the tensor that it reads, and the second gets none",
                "attend1", True, "the mask put back before the second attention, and before the sum")


@case
def mini_gpt(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = Block(8, causal=True, name="block")(TokenPosition(8, name="embed")(x))
    return Case(keras.Model(entry, L.Dense(IDS, name="next")(x)), ids(random, side="pre"), LENGTHS,
                "prompts padded in front: positions are counted from the padding, and attention looks at it", "embed",
                "partly", "a mask before the block helps attention; the positions are counted inside the own embedding",
                side="pre")


# Several inputs, or several outputs.


@case
def translation(random):
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    words = L.Embedding(IDS, 8, name="words")(source)
    encoded, *state = L.LSTM(6, return_sequences=True, return_state=True, name="encoder")(words)
    x = L.LSTM(6, return_sequences=True, name="decoder")(L.Embedding(IDS, 8, name="words2")(target), initial_state=state)
    x = L.Concatenate(name="joined")([x, L.Attention(name="attend")([x, encoded])])
    model = keras.Model({"source": source, "target": target}, L.Dense(IDS, activation="softmax", name="next")(x))
    lengths = {"source": LENGTHS, "target": np.array([3, 5])}
    return Case(model, {name: ids(random, own) for name, own in lengths.items()}, lengths,
                "the encoder ends in padded steps, and attention looks at them", "encoder",
                True, "mask_zero=True in both embeddings: LSTM and Attention know masks")


@case
def recommender(random):
    steps, size = 6, 8
    movies = keras.Input((steps,), dtype="int32", name="movies")
    ratings = keras.Input((steps,), name="ratings")
    target = keras.Input((1,), dtype="int32", name="target")
    embed = L.Embedding(IDS, size, name="movie")
    x = L.Add(name="placed")([embed(movies), L.Embedding(steps, size, name="place")(ops.arange(steps)[None])])
    x = L.Multiply(name="rated")([x, ops.expand_dims(ratings, -1)])
    x = L.Concatenate(axis=1, name="all")([x, embed(target)])
    y = L.MultiHeadAttention(2, 4, name="attend")(x, x)
    x = L.LayerNormalization(name="layer")(L.Add(name="add")([x, y]))
    x = L.Flatten(name="flat")(L.Add(name="add2")([x, L.Dense(size, activation="relu", name="dense")(x)]))
    model = keras.Model({"movies": movies, "ratings": ratings, "target": target}, L.Dense(1, name="rating")(x))
    watched = ids(random)
    batch = {"movies": watched, "ratings": np.where(watched > 0, random.integers(1, 6, watched.shape), 3).astype("float32"),
             "target": random.integers(1, IDS, (2, 1)).astype("int32")}
    return Case(model, batch, {"movies": LENGTHS, "ratings": LENGTHS},
                "attention looks at padded steps, and behind Flatten each has weights", "attend",
                "partly", "a mask in attention and zeros before Flatten; the number of steps stays fixed, and ends in weights",
                padding_vector="movie")


@case
def question_pairs(random):
    shared = keras.Sequential([keras.Input((None,), dtype="int32"), L.Embedding(IDS, 8, name="words"),
                               L.LSTM(4, name="read")], name="encoder")
    left, right = (keras.Input((None,), dtype="int32", name=name) for name in ("left", "right"))
    distance = ops.sum(ops.abs(shared(left) - shared(right)), axis=1, keepdims=True)
    lengths = {"left": LENGTHS, "right": np.array([3, 5])}
    return Case(keras.Model({"left": left, "right": right}, ops.exp(-distance)),
                {name: ids(random, own, "pre") for name, own in lengths.items()}, lengths,
                "both questions are padded in front, and the LSTM has read padding before their first word", "read",
                True, "mask_zero=True in the shared encoder", side="pre")


@case
def tickets(random):
    title, body = (keras.Input((None,), dtype="int32", name=name) for name in ("title", "body"))
    tags = keras.Input((5,), name="tags")
    first = L.LSTM(6, name="lstm1")(L.Embedding(IDS, 8, name="words1")(title))
    second = L.LSTM(4, name="lstm2")(L.Embedding(IDS, 8, name="words2")(body))
    x = L.Concatenate(name="joined")([first, second, tags])
    model = keras.Model({"title": title, "body": body, "tags": tags}, {
        "priority": L.Dense(1, name="priority")(x), "department": L.Dense(4, name="department")(x)})
    lengths = {"title": np.array([2, 4]), "body": LENGTHS}
    batch = {name: ids(random, own) for name, own in lengths.items()}
    return Case(model, {**batch, "tags": random.integers(0, 2, (2, 5)).astype("float32")}, lengths,
                "each LSTM ends in padded steps, since no mask is made", "lstm1", True, "mask_zero=True in both embeddings")


@case
def tags_and_class(random):
    x = entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.Embedding(IDS, 8, mask_zero=True, name="words")(x)
    x = L.Bidirectional(L.LSTM(6, return_sequences=True), name="both")(x)
    tags = L.Dense(3, activation="softmax", name="tags")(x)
    whole = L.Dense(2, activation="softmax", name="class")(L.GlobalMaxPooling1D(name="most")(x))
    return Case(keras.Model(entry, [tags, whole]), ids(random), LENGTHS,
                "the tags are right; the maximum for the class takes no notice of the mask", "most",
                True, "a maximum over valid steps")


@case
def nested_encoder(random):
    x = words = keras.Input((None,), dtype="int32", name="words")
    x = L.Embedding(IDS, 8, mask_zero=True, name="embed")(x)
    x = L.Conv1D(6, 3, padding="same", activation="relu", name="conv")(x)
    encoder = keras.Model(words, x, name="encoder")
    entry = keras.Input((None,), dtype="int32", name="ids")
    x = L.GRU(4, name="gru")(encoder(entry))
    return Case(keras.Model(entry, L.Dense(2, name="class")(x)), ids(random), LENGTHS,
                "the convolution in the encoder reaches into padded steps and drops the mask, which the GRU needs", "conv",
                True, "zeros at padded steps before the convolution, and its mask handed on through the encoder")


# Vectors.


@case
def video_transformer(random):
    x = entry = keras.Input((None, 6), name="frames")
    x = Encoder(6, name="encoder")(FramePosition(name="place")(x))
    x = L.Dropout(0.5, name="drop")(L.GlobalMaxPooling1D(name="most")(x))
    return Case(keras.Model(entry, L.Dense(3, activation="softmax", name="class")(x)), frames(random, 6), LENGTHS,
                "no mask is made of the frames that are zeros: attention and the maximum look at them",
                "multi_head_attention",
                True, "a mask of the frames for the encoder, which takes one, and a maximum over valid steps")


@case
def series_transformer(random):
    x = entry = keras.Input((None, 4), name="series")
    for place in (1, 2):
        y = L.Dropout(0.1, name=f"drop{place}")(L.MultiHeadAttention(2, 4, name=f"attend{place}")(x, x))
        x = L.LayerNormalization(name=f"layer{place}")(y) + x
        y = L.Conv1D(6, 1, activation="relu", name=f"wide{place}")(x)
        x = L.LayerNormalization(name=f"last{place}")(L.Conv1D(4, 1, name=f"narrow{place}")(y)) + x
    x = L.Dense(6, activation="relu", name="dense")(L.GlobalAveragePooling1D(name="average")(x))
    return Case(keras.Model(entry, L.Dense(2, activation="softmax", name="class")(x)), frames(random, 4), LENGTHS,
                "no mask is made: attention looks at padded steps, and the average counts them", "attend1",
                True, "a mask of the steps that are zeros, for each attention and the average")


@case
def acoustic(random):
    x = entry = keras.Input((None, 6), name="spectrum")
    x = L.Conv1D(8, 3, padding="same", use_bias=False, name="conv")(x)
    x = L.ReLU(name="relu")(L.BatchNormalization(name="batch")(x))
    x = L.Bidirectional(L.GRU(4, return_sequences=True), name="both")(x)
    x = L.Dense(8, activation="relu", name="dense")(L.Dropout(0.5, name="drop")(x))
    return Case(keras.Model(entry, L.Dense(5, activation="softmax", name="signs")(x)), frames(random, 6), LENGTHS,
                "the backward GRU begins in padded steps, since no mask is made", "both",
                True, "a mask of the frames that are zeros, for the GRU; the convolution reads zeros as it would alone")


@case
def acoustic_strided(random):
    x = entry = keras.Input((None, 6), name="spectrum")
    x = L.Conv1D(8, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True), name="both")(L.ReLU(name="relu")(x))
    return Case(keras.Model(entry, L.Dense(5, activation="softmax", name="signs")(x)), frames(random, 6), LENGTHS,
                "'same' begins one step earlier for an odd number of steps; the backward GRU begins in padded steps",
                "conv", "partly", "a mask for the GRU; where windows begin depends on the number of steps, odd or even")


@case
def autoencoder(random):
    steps = int(max(LENGTHS))
    model = keras.Sequential([
        keras.Input((None, 4), name="series"), L.LSTM(6, activation="relu", name="encoder"),
        L.RepeatVector(steps, name="repeat"), L.LSTM(6, activation="relu", return_sequences=True, name="decoder"),
        L.TimeDistributed(L.Dense(4), name="steps")])
    return Case(model, frames(random, 4), LENGTHS, "the encoder ends in padded steps, since no mask is made", "encoder",
                True, "a mask of the steps that are zeros, for the encoder")


@case
def wavenet(random):
    x = entry = keras.Input((None, 4), name="series")
    x = L.Conv1D(6, 1, name="wide")(L.Masking(name="masking")(x))
    for rate in (1, 2, 4):
        y = L.Conv1D(6, 2, padding="causal", dilation_rate=rate, activation="relu", name=f"conv{rate}")(x)
        x = L.Add(name=f"add{rate}")([x, L.Dropout(0.1, name=f"drop{rate}")(y)])
    x = L.GlobalAveragePooling1D(name="average")(x)
    return Case(keras.Model(entry, L.Dense(2, name="class")(x)), frames(random, 4), LENGTHS,
                "the first convolution drops the mask, which the average needs", "wide",
                True, "the mask put back before the average: no convolution looks ahead")


@case
def deep_sets(random):
    x = entry = keras.Input((None, 4), name="items")
    x = L.Dense(6, activation="relu", name="each")(L.Masking(name="masking")(x))
    x = ops.sum(x * 2, axis=1)
    model = keras.Model(entry, L.Dense(1, name="score")(L.Dense(6, activation="relu", name="dense")(x)))
    return Case(model, frames(random, 4), LENGTHS, "the sum counts padded steps, which the bias has filled",
                operation(model, "Sum"), True, "zeros at padded steps before the sum")


@case
def normalized_gru(random):
    x = entry = keras.Input((None, 4), name="series")
    x = L.Masking(name="masking")(L.BatchNormalization(name="batch")(x))
    x = L.GRU(6, name="gru")(x)
    return Case(keras.Model(entry, L.Dense(2, name="class")(x)), frames(random, 4), LENGTHS,
                "after the normalization padded steps are no longer zeros, and Masking finds none", "masking",
                True, "a mask of the steps that are zeros before the normalization")


@case
def unet(random):
    x = entry = keras.Input((None, 4), name="signal")
    fine = L.Conv1D(6, 3, padding="same", activation="relu", name="down")(x)
    x = L.Conv1D(8, 3, padding="same", activation="relu", name="middle")(L.MaxPooling1D(2, name="pool")(fine))
    x = L.Concatenate(name="skip")([L.UpSampling1D(2, name="grow")(x), fine])
    x = L.Conv1D(6, 3, padding="same", activation="relu", name="up")(x)
    return Case(keras.Model(entry, L.Dense(2, activation="softmax", name="steps")(x)), frames(random, 4), LENGTHS,
                "the bias fills padded steps, and the next convolution reaches into them", "middle",
                True, "zeros at padded steps before each convolution; the mask pooled and grown with the steps",
                amounts=(2,))
