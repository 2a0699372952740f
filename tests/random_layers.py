"""What random models are made of besides the layers of Keras: layers of one's own, and operations between layers.

The layers have the names of trees, so that no name gives away what is wrong with one.
"""

import keras
from keras import layers as L
from keras import ops

IDS = 12  # ids that an embedding knows, 0 for padding among them

register = keras.saving.register_keras_serializable(package="random_models")


def column(mask, x):
    "A mask (batch, time) as bool (batch, time, 1); without one every step is valid."
    if mask is None:
        return ops.ones_like(x[..., :1], dtype="bool")
    return ops.expand_dims(ops.cast(mask, "bool"), -1)


class Passing(L.Layer):
    "A layer that passes its mask on, as most layers do that change each step by itself."

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True


class Ending(L.Layer):
    "A layer whose output has no time axis, and thus no mask."

    def compute_mask(self, x, mask=None):
        return None


# Layers that keep the promise.


@register
class Alder(L.Layer):
    "A gate for each feature; without `passes` it drops the mask, as a layer does that says nothing about masks."

    def __init__(self, passes=True, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = passes

    def build(self, shape):
        self.gate = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="gate")

    def call(self, x):
        return x * ops.sigmoid(self.gate) + 0.1 * ops.tanh(x)


@register
class Ash(Ending):
    "The mean over valid steps; with `multiplies`, padded steps are multiplied by zero instead of replaced."

    def __init__(self, multiplies=False, **kwargs):
        super().__init__(**kwargs)
        self.multiplies = multiplies

    def call(self, x, mask=None):
        valid = column(mask, x)
        weights = ops.cast(valid, x.dtype)
        return ops.sum(x * weights if self.multiplies else ops.where(valid, x, 0), axis=1) / ops.sum(weights, axis=1)


@register
class Aspen(Ending):
    "The largest value over valid steps."

    def call(self, x, mask=None):
        return ops.max(ops.where(column(mask, x), x, -float("inf")), axis=1)


@register
class Beech(Ending):
    "A weighted mean over valid steps, with weights that are learnt."

    def build(self, shape):
        self.query = self.add_weight(shape=(shape[-1], 1), initializer="random_normal", name="query")

    def call(self, x, mask=None):
        scores = ops.where(column(mask, x), ops.matmul(x, self.query), -float("inf"))
        return ops.sum(ops.where(column(mask, x), x, 0) * ops.softmax(scores, axis=1), axis=1)


@register
class Birch(Passing):
    "A convolution for which padded steps are zeros."

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Conv1D(filters, 3, padding="same", name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x, mask=None):
        return self.inner(ops.where(column(mask, x), x, 0))


@register
class Cedar(Passing):
    "Subtracts the mean over valid steps, and divides by their deviation."

    def call(self, x, mask=None):
        valid = column(mask, x)
        count = ops.sum(ops.cast(valid, x.dtype), axis=1, keepdims=True)
        mean = ops.sum(ops.where(valid, x, 0), axis=1, keepdims=True) / count
        variance = ops.sum(ops.where(valid, x - mean, 0) ** 2, axis=1, keepdims=True) / count
        return (x - mean) / ops.sqrt(variance + 0.01)


@register
class Cherry(Passing):
    "Adds a wave that depends on the position, counted from the first valid step."

    def call(self, x, mask=None):
        place = ops.cumsum(ops.cast(column(mask, x), x.dtype), axis=1)
        return x + ops.sin(place * (1.0 + ops.arange(x.shape[-1], dtype=x.dtype)) / 3)


@register
class Elm(Passing):
    "The mean over all valid steps so far."

    def call(self, x, mask=None):
        weights = ops.cast(column(mask, x), x.dtype)
        count = ops.maximum(ops.cumsum(weights, axis=1), 1)
        return ops.cumsum(ops.where(column(mask, x), x, 0), axis=1) / count


@register
class Holly(Ending):
    "The last valid step."

    def call(self, x, mask=None):
        valid = column(mask, x)
        places = ops.cumsum(ops.ones_like(valid, dtype="int32"), axis=1)
        last = places == ops.max(ops.where(valid, places, 0), axis=1, keepdims=True)
        return ops.sum(ops.where(last, x, 0), axis=1)


@register
class Elder(L.Layer):
    "An embedding of one's own, with a mask; with `late` its mask is one step late."

    def __init__(self, units, late=False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units, self.late = units, late

    def build(self, shape):
        self.table = self.add_weight(shape=(IDS, self.units), initializer="random_normal", name="table")

    def call(self, ids):
        return 10 * ops.take(self.table, ids, axis=0)

    def compute_mask(self, ids, mask=None):
        made = ops.not_equal(ids, 0)
        return ops.roll(made, 1, axis=1) if self.late else made


@register
class Fir(L.Layer):
    "Turns vectors into others, and makes a mask: True where a step does not hold zeros only."

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Dense(units, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)

    def compute_mask(self, x, mask=None):
        return ops.any(ops.not_equal(x, 0), axis=-1)


@register
class Hazel(L.Layer):
    "Takes vectors and a mask, and returns the vectors with that mask."

    def call(self, inputs):
        return inputs[0] * 1.0

    def compute_mask(self, inputs, mask=None):
        return ops.cast(inputs[1], "bool")


@register
class Maple(L.Layer):
    "Adds two inputs; the mask is that of the first."

    def call(self, inputs):
        return inputs[0] + inputs[1]

    def compute_mask(self, inputs, mask=None):
        return mask[0] if mask else None


# Layers that break it, each in its own way.


@register
class Bay(Ending):
    "The sum over valid steps, divided by the number of all steps."

    def call(self, x, mask=None):
        return ops.mean(ops.where(column(mask, x), x, 0), axis=1)


@register
class Box(Ending):
    "The mean over all steps, whatever the mask."

    def call(self, x, mask=None):
        return ops.mean(x, axis=1)


@register
class Gorse(Ending):
    "The largest value over all steps, whatever the mask."

    def call(self, x, mask=None):
        return ops.max(x, axis=1)


@register
class Hornbeam(Ending):
    "The sum over time and features at once, whatever the mask."

    def call(self, x):
        return ops.tanh(ops.sum(x, axis=(1, 2), keepdims=True)[:, 0] / 10)


@register
class Juniper(Ending):
    "The sum over all steps, whatever the mask: where padded steps hold zeros it is that over valid ones."

    def call(self, x):
        return ops.sum(x, axis=1) / 4


@register
class Larch(L.Layer):
    "A gate for each feature, and the inverse of the mask."

    def call(self, x):
        return ops.tanh(x) + 0.5 * x

    def compute_mask(self, x, mask=None):
        return None if mask is None else ops.logical_not(mask)


@register
class Lime(L.Layer):
    "A gate for each feature, and the mask of the step before, or with `steps=-1` of the step behind."

    def __init__(self, steps=1, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps

    def call(self, x):
        return ops.tanh(x) - 0.5 * x

    def compute_mask(self, x, mask=None):
        return None if mask is None else ops.roll(mask, self.steps, axis=1)


@register
class Oak(Passing):
    "Subtracts the mean over all steps, and divides by their deviation, whatever the mask."

    def call(self, x):
        return (x - ops.mean(x, axis=1, keepdims=True)) / (ops.std(x, axis=1, keepdims=True) + 0.1)


@register
class Pear(Passing):
    "Each step looks at all others, padded ones included."

    def call(self, x, mask=None):
        scores = ops.matmul(x, ops.transpose(x, (0, 2, 1))) / x.shape[-1]
        return x + ops.matmul(ops.softmax(scores), x)


@register
class Pine(Passing):
    "Weighs the steps by a softmax over all of them."

    def call(self, x, mask=None):
        return 4 * x * ops.softmax(x, axis=1)


@register
class Plum(Passing):
    "Subtracts the mean over the batch."

    def call(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


@register
class Poplar(Passing):
    "A convolution that sees padded steps, and passes the mask on."

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Conv1D(filters, 3, padding="same", name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x, mask=None):
        return self.inner(x)


@register
class Quince(Passing):
    "Divides each step by its length: 0 / 0 where it holds zeros only."

    def call(self, x):
        return 2 * x / ops.sqrt(ops.sum(x * x, axis=-1, keepdims=True))


@register
class Sallow(Passing):
    "Adds to each step how many steps the batch has left behind it."

    def call(self, x):
        ones = ops.ones_like(x[..., :1])
        left = ops.sum(ones, axis=1, keepdims=True) - ops.cumsum(ones, axis=1)
        return x + ops.sin(left * (1.0 + ops.arange(x.shape[-1], dtype=x.dtype)) / 3)


@register
class Chestnut(Passing):
    "Adds a wave that depends on the position, counted from the first step of the batch: right behind the data only."

    def call(self, x):
        place = ops.cumsum(ops.ones_like(x[..., :1]), axis=1)
        return x + ops.sin(place * (1.0 + ops.arange(x.shape[-1], dtype=x.dtype)) / 3)


@register
class Sorb(Passing):
    "Scales with the number of steps of the batch."

    def call(self, x):
        return x * ops.log(1.0 + ops.sum(ops.ones_like(x[..., :1]), axis=1, keepdims=True))


@register
class Spruce(Passing):
    "Sums the features, then takes the mean over all steps as a gate."

    def call(self, x):
        return x * ops.sigmoid(ops.mean(ops.sum(x, axis=-1, keepdims=True), axis=1, keepdims=True))


@register
class Willow(Passing):
    "Adds the step behind and the step before, which are padding at the ends."

    def call(self, x):
        around = ops.pad(x, ((0, 0), (1, 1), (0, 0)))
        return x + 0.5 * around[:, 2:] - 0.5 * around[:, :-2]


@register
class Yew(L.Layer):
    "A residual step that says nothing about masks."

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Dense(units, activation="tanh", name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return x + self.inner(x)


# Calls of layers, and operations between layers. They have names, for a report names the line of an operation.


def applied(layer, *values):
    return layer(values[0] if len(values) == 1 else list(values))


def masked_by_hand(layer, x, mask):
    return layer(x, mask=mask)


def from_state(layer, x, state):
    return layer(x, initial_state=states_of(layer, state))


def from_state_by_hand(layer, x, state, mask):
    return layer(x, initial_state=states_of(layer, state), mask=mask)


def states_of(layer, state):
    return [state, state] if isinstance(layer, L.LSTM) else state


def attending(layer, x):
    return layer(x, x)


def attending_to_the_past(layer, x):
    return layer(x, x, use_causal_mask=True)


def attending_by_hand(layer, x, mask):
    return layer(x, x, attention_mask=ops.expand_dims(mask, 1))


def attending_across(layer, x, y):
    return layer(x, y)


def attending_across_by_hand(layer, x, y, mask):
    return layer(x, y, attention_mask=ops.expand_dims(mask, 1))


def in_training(layer, x):
    return layer(x, training=True)


def not_zero(ids):
    return ops.not_equal(ids, 0)


def not_only_zeros(x):
    return ops.any(ops.not_equal(x, 0), axis=-1)


def as_bool(mask):
    return ops.cast(mask, "bool")


def inverse(mask):
    return ops.logical_not(mask)


def halved(x):
    return x / 2.0  # and not x * 0.5, which Keras takes for a sparse tensor in a graph


def squashed(x):
    return ops.tanh(x)


def shifted_values(x):
    return x + 0.3


def summed_up(x, y):
    return x + y


def side_by_side(x, y):
    return ops.concatenate([x, y], axis=-1)


def mean_of_all(x):
    return ops.mean(x, axis=1)


def largest_of_all(x):
    return ops.max(x, axis=1)


def mean_of_zeroed(x, mask):
    return ops.mean(x * ops.expand_dims(ops.cast(mask, x.dtype), -1), axis=1)


def mean_of_valid(x, mask):
    weights = ops.expand_dims(ops.cast(mask, x.dtype), -1)
    return ops.sum(x * weights, axis=1) / ops.sum(weights, axis=1)


def sum_of_all(x):
    return ops.sum(x, axis=1)


def sum_at_once(x):
    return ops.tanh(ops.sum(x, axis=(1, 2)) / 10)[:, None]


def gate_of_sums(x):
    return x * ops.sigmoid(ops.sum(x, axis=(1, 2), keepdims=True) / 10)


def centred_over_time(x):
    return x - ops.mean(x, axis=1, keepdims=True)


def softmax_over_time(x):
    return x * ops.softmax(x, axis=1)


def centred_over_batch(x):
    return x - ops.mean(x, axis=0, keepdims=True)


def share_of_batch(x):
    return x / (1.0 + ops.max(ops.abs(x), axis=0, keepdims=True))
