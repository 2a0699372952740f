"""Random models with a known truth: `random_case(seed)` draws a model, a padded batch and perhaps one fault.

A model is written down as a plan, a list of steps, before it is built. So the same plan can be built as a Functional,
Sequential or subclassed model or as a function, with one number of steps or with any, and in parts that are models of
their own. A fault is one step of the plan.

Whether the fault does anything is not taken from the plan: it is measured, by nothing but runs of the model, each
sequence alone without padding against batches with several amounts of padding. What is neither clearly right nor
clearly wrong is drawn anew. Each layer is named after a river, so that no name gives its kind away.
"""

import inspect
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial

import keras
import numpy as np
import random_layers as own
import tensorflow as tf
from keras import layers as L
from keras import ops
from random_layers import IDS

RECURRENT = (L.GRU, L.LSTM, L.SimpleRNN)
ACTIVATIONS = ("leaky_relu", "tanh", "gelu")  # none that can be zero for all values, and hide what is before it
NOTHING, SOMETHING = 1e-5, 1e-3  # a difference below the first is rounding, one above the second is a fault
RIVERS = """avon cam cherwell coln dart dee derwent don eden esk exe fal ivel kennet kent lea lune mersey mole nene orwell
    ouse parrett ribble severn soar stour swale tamar tame tees teme thames trent tyne ure wear wey wye yare""".split()


# Writing a model down.


@dataclass
class Made:
    "A layer that is still to be made, or a function that makes one."
    kind: object
    options: dict = field(default_factory=dict)

    def layer(self, name=None):
        options = {key: value.layer() if isinstance(value, Made) else value for key, value in self.options.items()}
        return self.kind(**options, **({"name": name} if name else {}))

    def __str__(self):
        options = ", ".join(f"{key}={getattr(value, '__name__', None) or value}" for key, value in self.options.items())
        return f"{self.kind.__name__}({options})"


@dataclass
class Step:
    "One line of a plan: a layer or an operation, what it takes and what it gives."
    name: str    # of the layer; that of an operation only the plan knows
    made: object # a Made, or None for an operation
    call: object # function of the layer and the values, or of the values
    takes: tuple # names of values
    gives: str   # name of a value

    def run(self, layers, values):
        taken = [values[name] for name in self.takes]
        return self.call(layers[self.name], *taken) if self.made else self.call(*taken)

    def __str__(self):
        what = self.made or self.call.__name__
        how = f", {self.call.__name__}" if self.made and self.call is not own.applied else ""
        return f"{self.gives} = {self.name}: {what}{how} of {', '.join(self.takes)}"


@dataclass
class Group:
    "Inputs that are padded alike."
    side: str
    lengths: np.ndarray
    steps: int

    def mask(self, rows, steps):
        ones = np.arange(steps) < self.lengths[list(rows)][:, None]
        return ones if self.side == "post" else ones[:, ::-1]

    def valid(self, array, row):
        "The valid steps of one row."
        length = self.lengths[row]
        return array[:length] if self.side == "post" else array[len(array) - length:]


@dataclass
class Source:
    "An input."
    name: str
    rows: list    # an array for each sequence
    group: str    # name of its Group, or None if it is never padded
    kind: str     # "ids", "floats" or "mask"
    filler: float # what stands at padded steps
    most: int     # ids are smaller than this

    @property
    def dtype(self):
        return self.rows[0].dtype


@dataclass
class Spoil:
    "A place where padded steps may hold other values without changing any mask."
    group: str
    name: str          # of an input, or of the layer behind which they are changed
    behind: bool       # whether it is that of a layer
    known: bool = True # whether the model is told which steps are padding there


@dataclass
class Value:
    "What a step gives, as far as the plan has to know it. About masks it takes for granted that all is well."
    name: str
    size: int = None      # features
    group: str = None     # the Group of its time axis, or None if it has none
    mask: str = "none"    # "carried" by the tensor, "by hand" as a value of its own, or "none"
    told: object = None   # the Value that is the mask by hand
    origin: object = None # the Value of the input that it comes from


class Plan:
    "A model, written down."

    def __init__(self, random, small=False):
        self.random, self.rows, self.small = random, int(random.integers(4, 6)), small
        self.steps, self.groups, self.sources, self.spoils, self.outputs = [], {}, {}, [], []
        self.kind, self.planted = None, ()  # of the fault, and the names of its steps
        self.needs_lengths = set()          # groups that no mask tells
        self.graph = self.chance(0.65)      # whether it is built as a graph: Functional or Sequential
        self.fixed = self.graph and self.chance(0.35)  # whether for one number of steps
        self.one_length = False             # whether it cannot be built for any number of steps
        # recurrent layers, and how many there may be, for they take most of the time
        self.recurrent, self.most_recurrent = 0, int(self.chance(0.25)) if small else 2
        self.zeros = self.multiplies = self.per_step = False  # whether padded steps stay zeros, and how it must end
        self.values = {}                    # name, shape without the batch, and dtype of each value
        self.rivers = [str(river) for river in random.permutation(RIVERS)]

    def chance(self, share):
        return self.random.random() < share

    def pick(self, *options):
        return options[self.random.integers(len(options))]

    def add(self, kind, /, *values, to=None, time=True, call=own.applied, planted=None, dtype="float32", **options):
        """Write a step down, and return what it gives.

        `kind` is the class of a layer, or the function that an operation is; `to` are the features of what it gives,
        `time` says whether that has a time axis; `planted` is the kind of the fault that the step is."""
        first, is_layer = values[0], isinstance(kind, type)
        step = Step(self.rivers[len(self.steps)], Made(kind, options) if is_layer else None, call if is_layer else kind,
                    tuple(value.name for value in values), f"v{len(self.steps)}")
        self.steps.append(step)
        if planted:
            self.kind, self.planted = planted, (*self.planted, step.name)
        self.recurrent += kind in (*RECURRENT, L.Bidirectional)
        kept = dict(group=first.group, mask=first.mask, told=first.told) if time else {}
        return self.note(Value(step.gives, to or first.size, origin=first.origin, **kept), dtype)

    def note(self, value, dtype, steps=None):
        "Remember a value; `steps` is the size of a time axis that is never padded."
        time = (None,) if value.group else (steps,) if steps else ()
        self.values[value.name] = value, (*time, *([value.size] if value.size else [])), dtype
        return value

    def text(self):
        groups = [f"{name}: lengths {group.lengths.tolist()} of {group.steps}, padding {group.side}"
                  for name, group in self.groups.items()]
        sources = [f"{source.name}: {source.kind}, {source.group or 'never padded'}, {source.filler} at padding"
                   for source in self.sources.values()]
        steps = [f"{step}" + "   <- planted" * (step.name in self.planted) for step in self.steps]
        return "\n".join([*groups, *sources, *steps, "outputs: " + ", ".join(value.name for value in self.outputs)])


# Building it.


def layers_of(steps):
    return {step.name: step.made.layer(step.name) for step in steps if step.made}


def run(steps, layers, values, seen=None):
    "Run steps on values, tensors or symbolic ones; adds what they give to the values."
    for step in steps:
        values[step.gives] = step.run(layers, values)
        if seen:
            seen(step, values)
    return values


class Rowan(L.Layer):
    "Steps in a layer of one's own."

    def __init__(self, steps, keeps, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = keeps
        self.inside, self.parts = steps, layers_of(steps)

    def call(self, x):
        return run(self.inside, self.parts, {self.inside[0].takes[0]: x})[self.inside[-1].gives]

    def compute_output_spec(self, x, mask=None):
        return self.call(x)


class Net(keras.Model):
    "A plan as a subclassed model."

    def __init__(self, steps, structure, sources, outputs):
        super().__init__(name="net")
        self.inside, self.parts = steps, layers_of(steps)
        self.structure, self.sources, self.gives = structure, sources, outputs

    def call(self, inputs):
        values = run(self.inside, self.parts, unpacked(self.structure, self.sources, inputs))
        outputs = [values[name] for name in self.gives]
        return outputs if len(outputs) > 1 else outputs[0]


@dataclass
class Form:
    "How a plan is to be built."
    style: str        # "functional", "sequential", "subclassed" or "function"
    structure: str    # of the batch: "single", "list" or "dict"
    fixed: bool       # whether for one number of steps
    nest: tuple = ()  # (first step, last step, "functional", "sequential" or "layer") of a part of its own

    @property
    def graph(self):
        return self.style in ("functional", "sequential")

    def __str__(self):
        nest = f", steps {self.nest[0]} to {self.nest[1]} as a part ({self.nest[2]})" if self.nest else ""
        return f"{self.style}, {'one number of' if self.fixed else 'free'} steps, batch: {self.structure}{nest}"


@dataclass
class Built:
    model: object
    layers: dict      # all layers of the plan, by name
    operations: dict  # for an operation that is a fault, the names that Keras gave to its parts


def packed(structure, by_name):
    "The inputs of a model, in the form in which it takes them."
    return {"single": next(iter(by_name.values())), "list": list(by_name.values()), "dict": dict(by_name)}[structure]


def unpacked(structure, names, inputs):
    return dict(inputs) if structure == "dict" else dict(zip(names, inputs if structure == "list" else [inputs]))


def build(plan, form, weights=None):
    "Build a plan; `weights` are those of its layers by name, from an earlier build."
    inner, operations = {}, {}

    def seen(step, values):
        "Note which names Keras gives to the parts of an operation that is a fault."
        if step.name in plan.planted and not step.made:
            graph = keras.Model([values[name] for name in step.takes], values[step.gives])
            operations[step.name] = {
                operation.name for operation in graph.operations if not isinstance(operation, L.Layer)}

    def part(name):
        "What is nested."
        first, last, kind = form.nest
        inside = plan.steps[first:last + 1]
        if kind == "layer":
            layer = Rowan(inside, bool(plan.values[inside[-1].gives][0].group), name=name)
            inner.update(layer.parts)
            return layer
        inner.update(layers_of(inside))
        value, shape, dtype = plan.values[inside[0].takes[0]]
        entry = keras.Input(shape, dtype=dtype, name=value.name)
        if kind == "sequential":
            return keras.Sequential([entry, *(inner[step.name] for step in inside)], name=name)
        return keras.Model(entry, run(inside, inner, {value.name: entry}, seen)[inside[-1].gives], name=name)

    steps = list(plan.steps)
    if form.nest:
        first, last, _ = form.nest
        steps[first:last + 1] = [Step("part", Made(part), own.applied, steps[first].takes, steps[last].gives)]
    if form.graph:
        entries = {}
        for source in plan.sources.values():
            _, shape, dtype = plan.values[source.name]
            shape = (plan.groups[source.group].steps, *shape[1:]) if source.group and form.fixed else shape
            entries[source.name] = keras.Input(shape, dtype=dtype, name=source.name)
        layers = layers_of(steps)
        if form.style == "sequential":
            model = keras.Sequential([*entries.values(), *layers.values()])
        else:
            values = run(steps, layers, dict(entries), seen)
            outputs = [values[value.name] for value in plan.outputs]
            model = keras.Model(packed(form.structure, entries), outputs if len(outputs) > 1 else outputs[0])
    else:
        model = Net(steps, form.structure, list(plan.sources), [value.name for value in plan.outputs])
        layers = model.parts
        model(batch_of(plan, form))
    layers = {**layers, **inner}
    for name, values in (weights or {}).items():
        layers[name].set_weights(values)
    function = form.style == "function"
    return Built((lambda batch, **options: model(batch, **options)) if function else model, layers, operations)


# A batch.


def steps_of(plan, more=0, groups=None):
    "How many steps each group has in the batch, or in a longer one."
    return {name: group.steps + (more if groups is None or name in groups else 0) for name, group in plan.groups.items()}


def batch_of(plan, form, rows=None, steps=None, spoilt=(), random=None, data=None):
    """The inputs of a model for some rows, padded to some steps.

    Those in `spoilt` hold random values at padded steps; `data` are other rows for some inputs."""
    rows, steps = range(plan.rows) if rows is None else rows, steps or steps_of(plan)

    def padded(source):
        chosen = [(data or {}).get(source.name, source.rows)[row] for row in rows]
        if source.group is None:
            return np.stack(chosen)
        valid = plan.groups[source.group].mask(rows, steps[source.group])
        shape = (*valid.shape, *chosen[0].shape[1:])
        whole = np.full(shape, source.filler, source.dtype)
        if source.name in spoilt:
            whole[:] = (random.integers(1, source.most, shape) if source.kind == "ids"
                        else random.normal(size=shape, scale=3))
        whole[valid] = np.concatenate(chosen)
        return whole

    return packed(form.structure, {name: padded(source) for name, source in plan.sources.items()})


# Measuring.


@own.register
class Seen(own.Passing):
    "Keeps the mask that it was given."

    def call(self, x, mask=None):
        self.seen = mask
        return x


@dataclass
class Truth:
    "What was measured: the largest differences at valid steps, as shares of the largest answer."
    amount: float = 0.0      # with other amounts of padding; NaN if they cannot be had
    content: float = 0.0     # with other values at padded steps, where the model is told which those are
    unknown: float = 0.0     # the same, where it is not
    neighbours: float = 0.0  # with other sequences in the batch
    training: float = 0.0    # with other amounts and values, in training mode; of moving statistics, too
    gradients: float = 0.0   # of the gradients of the weights
    mask: bool = False       # whether an output carries a wrong mask
    alone: bool = True       # whether there is an answer without padding, and more than rounding

    @property
    def sizes(self):
        return [self.amount, self.content, self.neighbours, self.training, self.gradients]

    @property
    def clear(self):
        "Whether each difference is either rounding or large, and values that are not known as padding prove no more."
        return (self.alone and not any(NOTHING < size < SOMETHING for size in (*self.sizes, self.unknown))
                and (self.unknown <= NOTHING or self.leaks or self.mixes))

    @property
    def leaks(self):
        "Whether padding reaches valid steps."
        return self.amount > SOMETHING or self.content > SOMETHING

    @property
    def mixes(self):
        "Whether a sequence reaches another one."
        return self.neighbours > SOMETHING

    @property
    def broken(self):
        "Whether any clause of the promise is broken."
        return self.mask or any(size > SOMETHING for size in self.sizes)

    def __str__(self):
        return ", ".join(
            f"{name} {size:.0e}" for name, size in vars(self).items() if size and name != "alone") or "nothing"


class Meter:
    "Runs one build of a plan in many ways, and compares."

    def __init__(self, plan, form, built):
        self.plan, self.form, self.built = plan, form, built
        self.random = np.random.default_rng(0)
        self.known, self.unknown = ([spoil for spoil in plan.spoils if spoil.known == yes] for yes in (True, False))
        self.layers = list(built.layers.values())

    def answers(self, rows=None, steps=None, spoils=(), data=None, **options):
        "From (output, row) to the answer at valid steps."
        rows, steps = range(self.plan.rows) if rows is None else rows, steps or steps_of(self.plan)
        inputs = {spoil.name for spoil in spoils if not spoil.behind}
        batch = batch_of(self.plan, self.form, rows, steps, inputs, self.random, data)
        changed = [vars(self.built.layers[spoil.name]) for spoil in spoils if spoil.behind]
        for spoil in spoils:
            if spoil.behind:
                self.change(self.built.layers[spoil.name], self.plan.groups[spoil.group].mask(rows, steps[spoil.group]))
        try:
            outputs = self.built.model(batch, **options)
        finally:
            for attributes in changed:
                del attributes["call"]
        self.outputs = outputs
        return self.cut(outputs, rows)

    def change(self, layer, valid):
        "Put other values at padded steps of what a layer returns, until its `call` is taken off again."
        def call(*args, **kwargs):
            outputs = type(layer).call(layer, *args, **kwargs)
            garbage = self.random.normal(size=outputs.shape, scale=3).astype("float32")
            return ops.where(valid[:, :, None], outputs, garbage)

        vars(layer)["call"] = call

    def cut(self, outputs, rows):
        answers = {}
        for number, (value, output) in enumerate(zip(self.plan.outputs, keras.tree.flatten(outputs), strict=True)):
            for place, row in enumerate(rows):
                answer = output[place]
                answers[number, row] = self.plan.groups[value.group].valid(answer, row) if value.group else answer
        return answers

    def difference(self, answers, expected):
        answers, expected = (
            {key: np.asarray(answer) for key, answer in by_row.items()} for by_row in (answers, expected))
        scales, worst = Counter(), 0.0
        for (number, _), answer in expected.items():
            scales[number] = max(scales[number], float(np.abs(answer).max()))
        for key, answer in answers.items():
            if not (np.isfinite(answer).all() and np.isfinite(expected[key]).all()):
                return float("inf")
            worst = max(worst, float(np.abs(answer - expected[key]).max()) / (scales[key[0]] or 1.0))
        return worst

    def only_rounding(self, answers):
        "Whether an output holds nothing but rounding, as the mean over time does behind a normalization over time."
        largest = Counter()
        for (number, _), answer in answers.items():
            largest[number] = max(largest[number], float(np.abs(answer).max()))
        return any(0 < size < NOTHING for size in largest.values())

    def alone(self, more=0):
        "Each sequence alone, without padding or with `more` steps of it."
        answers = {}
        for row in range(self.plan.rows):
            answers |= self.answers(
                [row], {name: group.lengths[row] + more for name, group in self.plan.groups.items()})
        return answers

    def amounts(self):
        "Several amounts of padding, for all inputs together and one after the other."
        yield steps_of(self.plan)
        yield steps_of(self.plan, 2)
        yield steps_of(self.plan, 17)  # a mean over padded steps may begin to count late
        if len(self.plan.groups) > 1:
            yield from (steps_of(self.plan, 3, [name]) for name in self.plan.groups)

    def unroll(self, yes):
        "A loop in Python is several times as fast as one of TensorFlow that runs eagerly."
        for layer in self.layers:
            inner = getattr(layer, "forward_layer", layer)  # not the backward one: Keras gets its mask wrong there
            if isinstance(inner, RECURRENT):
                inner.unroll = yes

    def measured(self):
        self.unroll(True)
        try:
            return self.measure()
        finally:
            self.unroll(False)

    def measure(self):
        plan, truth, base = self.plan, Truth(), self.answers()
        truth.mask = self.wrong_mask(self.outputs)
        if plan.one_length:
            truth.amount = float("nan")
        else:
            alone = self.alone()
            truth.alone = all(np.isfinite(answer).all() for answer in alone.values()) and not self.only_rounding(alone)
            truth.amount = max(self.difference(self.answers(steps=steps), alone) for steps in self.amounts())
        if self.known:
            truth.content = self.difference(self.answers(spoils=self.known), base)
        if self.unknown:
            truth.unknown = self.difference(self.answers(spoils=self.unknown), base)
        kept = range(plan.rows // 2)
        answers = self.answers(data=self.other_data(kept))
        truth.neighbours = self.difference({key: answer for key, answer in answers.items() if key[1] in kept}, base)
        if truth.mixes and not plan.one_length:
            # neighbours change the answers, too: what padding does is seen where there are none
            truth.amount = self.difference(self.alone(3), alone)
            if truth.amount < NOTHING and self.known:
                truth.content = max(self.difference(self.answers([row], spoils=self.known), self.answers([row]))
                                    for row in range(plan.rows))
        if not truth.leaks and not truth.mixes:
            truth.training, truth.gradients = self.in_training(), self.gradients(base)
        return truth

    def other_data(self, kept):
        "Other sequences of the same lengths, where a row is not to be kept."
        draw = {"ids": lambda x, most: self.random.integers(1, most, x.shape).astype(x.dtype),
                "floats": lambda x, _: self.random.normal(size=x.shape).astype(x.dtype), "mask": lambda x, _: x}
        return {name: [sequence if row in kept else draw[source.kind](sequence, source.most)
                       for row, sequence in enumerate(source.rows)]
                for name, source in self.plan.sources.items()}

    def wrong_mask(self, outputs):
        "Whether an output carries a mask that does not fit it."
        for value, output in zip(self.plan.outputs, keras.tree.flatten(outputs)):
            probe, group = Seen(), self.plan.groups.get(value.group)
            probe(output)
            if probe.seen is not None and not (group and np.array_equal(
                    np.asarray(probe.seen), group.mask(range(self.plan.rows), group.steps))):
                return True
        return False

    def variations(self):
        "Ways to run it that must make no difference."
        yield from [dict(spoils=self.known)] * bool(self.known)
        yield from [dict(steps=steps_of(self.plan, 4))] * (not self.plan.one_length)

    def in_training(self):
        "Answers and moving statistics in training mode, without anything random."
        moving = [layer for layer in self.layers if isinstance(layer, L.BatchNormalization)]
        if not moving:
            return 0.0
        kept = [layer.get_weights() for layer in moving]
        rates = [(layer, layer.rate) for layer in self.layers if isinstance(layer, L.Dropout)]

        def answers_with(**options):
            answers = self.answers(**options, training=True)
            for number, (layer, weights) in enumerate(zip(moving, kept)):
                answers |= {(f"moving {number} {place}", 0): weight for place, weight in enumerate(layer.get_weights())}
                layer.set_weights(weights)
            return answers

        for layer, _ in rates:
            layer.rate = 0.0
        base = answers_with()
        worst = max(self.difference(answers_with(**options), base) for options in self.variations())
        for layer, rate in rates:
            layer.rate = rate
        return worst

    def gradients(self, base):
        weights = list({id(weight): weight.value
                        for layer in self.layers for weight in layer.trainable_variables}.values())
        pull = {key: self.random.normal(size=answer.shape).astype("float32") for key, answer in base.items()}

        def gradients_with(**options):
            with tf.GradientTape() as tape:
                total = sum(tf.reduce_sum(answer * pull[key]) for key, answer in self.answers(**options).items())
            return {("weights", number): np.zeros(1) if gradient is None else tf.convert_to_tensor(gradient)
                    for number, gradient in enumerate(tape.gradient(total, weights))}

        base = gradients_with()
        return max(self.difference(gradients_with(**options), base) for options in self.variations())

    def first_leak(self):
        "The name of the first step of the plan whose valid steps depend on padding."
        plan = self.plan

        def values(rows, steps):
            batch = unpacked(self.form.structure, list(plan.sources), batch_of(plan, self.form, rows, steps))
            return run(plan.steps, self.built.layers,
                       {name: ops.convert_to_tensor(array) for name, array in batch.items()})

        together = values(range(plan.rows), steps_of(plan, 2))
        alone = [values([row], {name: group.lengths[row] for name, group in plan.groups.items()})
                 for row in range(plan.rows)]
        for step in plan.steps:
            value, _, dtype = plan.values[step.gives]
            for row in range(plan.rows if dtype == "float32" else 0):
                output, expected = np.asarray(together[step.gives][row]), np.asarray(alone[row][step.gives][0])
                output = plan.groups[value.group].valid(output, row) if value.group else output
                if not np.abs(output - expected).max() <= SOMETHING * np.abs(expected).max():
                    return step.name
        return None


# Drawing: inputs.


def new_group(plan, name, side):
    steps = int(plan.random.integers(5, 10))
    lengths = plan.random.integers(1, steps + 1, plan.rows)
    lengths[plan.random.integers(plan.rows)] = steps - plan.chance(0.2)
    lengths[np.argmin(lengths)] = min(lengths.min(), plan.random.integers(1, steps - 1))
    plan.groups[name] = Group(side, lengths, steps)
    return name


def new_source(plan, name, group, kind, size=None, steps=None, least=1, most=IDS, filler=0, dtype=None):
    "An input, as a Value: ids, floats or a mask. Without a group it is never padded."
    rows = []
    for row in range(plan.rows):
        length = plan.groups[group].lengths[row] if group else steps
        shape = tuple(int(dimension) for dimension in (length, size) if dimension is not None)
        rows.append(np.ones(shape, dtype or "bool") if kind == "mask" else
                    plan.random.normal(size=shape).astype("float32") if kind == "floats" else
                    plan.random.integers(least, most, shape).astype("int32"))
    plan.sources[name] = Source(name, rows, group, kind, filler, most)
    value = Value(name, size, group)
    value.origin = value
    return plan.note(value, rows[0].dtype.name, steps)


def front(plan, group, name, mode, broken=None):
    """An input and what makes vectors of it. `mode` says what becomes of its mask: "carried", "by hand" or "none".

    `broken` is how a fault changes it: "none" for no mask at all, "other" for one that marks other steps."""
    size, ids = plan.pick(4, 6, 8), plan.chance(0.55) and not plan.zeros
    by_input = mode != "none" and not broken and not plan.zeros and plan.chance(0.3 if mode == "carried" else 0.6)
    by_value = mode == "carried" and not (ids or by_input or broken or plan.zeros or name == "target")
    data = new_source(plan, name, group, "ids" if ids else "floats", None if ids else size,
                      filler=plan.pick(0, -1) if by_value else 0)
    if by_input:
        return with_mask_as_input(plan, data, size, mode)
    if mode == "by hand":
        mask = mask_by_hand(plan, data)
        x = vectors(plan, data, size)
        plan.spoils.append(Spoil(group, last_name(plan), True, known=False))
        if plan.groups[group].side == "pre":
            plan.needs_lengths.add(group)
        return replace(x, mask=mode, told=mask)
    if mode == "none" or broken == "none":
        x = vectors(plan, data, size, planted="no mask made" if broken else None)
        plan.spoils.append(Spoil(group, name, False, known=False))
    else:
        x = with_mask_made(plan, data, size, "mask of other steps made" if broken else None)
        plan.spoils.append(Spoil(group, last_name(plan), True))
    if mode == "none" or broken:
        plan.needs_lengths.add(group)
    return replace(x, mask=mode)


def vectors(plan, data, size, **options):
    if plan.sources[data.name].kind == "floats":
        return plan.add(L.Dense, data, to=size, units=size, **options)
    return plan.add(L.Embedding, data, to=size, input_dim=IDS, output_dim=size,
                    embeddings_initializer="glorot_normal", **options)


def with_mask_as_input(plan, data, size, mode):
    mask = new_source(plan, f"{data.name}_mask", data.group, "mask", dtype=plan.pick("bool", "bool", "int32"))
    plan.spoils.append(Spoil(data.group, data.name, False))
    x = vectors(plan, data, size) if plan.sources[data.name].kind == "ids" or plan.chance(0.5) else data
    if mode == "carried":
        return replace(plan.add(own.Hazel, x, mask), mask=mode)
    if plan.sources[mask.name].dtype != bool:
        mask = plan.add(own.as_bool, mask, dtype="bool")
    return replace(x, mask=mode, told=mask)


def with_mask_made(plan, data, size, wrong=None):
    "Vectors with a mask that a layer makes; `wrong` is the kind of a fault in which it marks other steps."
    source = plan.sources[data.name]
    if source.kind == "ids" and not wrong and plan.chance(0.7):
        return vectors(plan, data, size, mask_zero=True)
    if source.kind == "ids":
        return plan.add(own.Elder, data, to=size, planted=wrong, units=size, late=bool(wrong))
    if not (wrong or plan.zeros or source.filler) and plan.chance(0.4):
        return plan.add(own.Fir, data, to=size, units=size)
    return plan.add(L.Masking, data, planted=wrong, mask_value=-1.0 if wrong else float(source.filler))


def mask_by_hand(plan, x):
    "The mask of a value, as a value of its own."
    if x.told:
        return x.told
    if f"{x.origin.name}_mask" in plan.sources:
        return plan.add(own.as_bool, plan.values[f"{x.origin.name}_mask"][0], dtype="bool")
    ids = plan.sources[x.origin.name].kind == "ids"
    return plan.add(own.not_zero if ids else own.not_only_zeros, x.origin, dtype="bool")


def last_name(plan):
    "The name of the last step that was written down."
    return plan.steps[-1].name


# Drawing: what keeps the promise.


def with_mask(plan, layer, x, /, **options):
    "A layer that needs the mask: it gets it with the tensor, or by hand."
    if x.mask == "by hand":
        return plan.add(layer, x, x.told, call=own.masked_by_hand, **options)
    return plan.add(layer, x, **options)


def dense(plan, x):
    size = plan.pick(4, 6, 8)
    if plan.zeros:
        return plan.add(L.Dense, x, to=size, units=size, use_bias=False)
    return plan.add(L.Dense, x, to=size, units=size, activation=plan.pick(*ACTIVATIONS))


def recurrent(plan, x, sequences=True, kind=with_mask):
    size = plan.pick(4, 5, 6)
    if x.mask != "none" and plan.chance(0.3):
        inner = Made(plan.pick(L.GRU, L.SimpleRNN), dict(units=size, return_sequences=sequences))
        return kind(plan, L.Bidirectional, x, to=2 * size, time=sequences, layer=inner)
    return kind(plan, plan.pick(*RECURRENT), x, to=size, time=sequences, units=size, return_sequences=sequences)


def last_state(plan, x):
    return recurrent(plan, x, sequences=False)


def time_distributed(plan, x):
    "For a known number of steps only: compiled for any number, Keras takes the wrong axis for time."
    return plan.add(L.TimeDistributed, x, to=5, layer=Made(L.Dense, dict(units=5, activation="tanh")))


def attention(plan, x):
    "With the normalization before: attention takes the mask off the tensor that it gets."
    h = plan.add(L.LayerNormalization, x)
    options = dict(num_heads=2, key_dim=plan.pick(2, 3, 4))
    if x.mask == "by hand":
        y = plan.add(L.MultiHeadAttention, h, x.told, call=own.attending_by_hand, **options)
    else:
        causal = x.mask == "none" or plan.chance(0.25)
        y = plan.add(L.MultiHeadAttention, h, call=own.attending_to_the_past if causal else own.attending, **options)
    return plan.add(L.Add, x, y)


def merged(plan, x):
    y = plan.add(L.Dense, x, units=x.size)
    if x.size < 9 and plan.chance(0.3):
        return plan.add(L.Concatenate, x, y, to=2 * x.size)
    return plan.add(plan.pick(L.Add, L.Multiply, L.Average, L.Maximum, L.Subtract), x, y)


def convolution(plan, x):
    size = plan.pick(4, 6)
    return plan.add(L.Conv1D, x, to=size, filters=size, kernel_size=3, padding="causal")


def operation(plan, x):
    if plan.chance(0.5):
        return plan.add(plan.pick(own.halved, own.squashed, own.shifted_values), x)
    y = plan.add(L.Dense, x, units=x.size)
    return plan.add(own.summed_up, x, y) if plan.chance(0.6) else plan.add(own.side_by_side, x, y, to=2 * x.size)


ANY, MASKED = {"carried", "by hand", "none"}, {"carried", "by hand"}

# how often, where, and what; without a mask the padding is behind the data, and no step may look ahead
PARTS = [
    (3, ANY, dense),
    (1, ANY, lambda plan, x: plan.add(L.Dropout, x, rate=0.4)),
    (1.5, ANY, lambda plan, x: plan.add(L.LayerNormalization, x)),
    (1.5, ANY, lambda plan, x: plan.add(own.Alder, x)),
    (0.5, ANY, lambda plan, x: plan.add(L.PReLU, x, shared_axes=[1])),
    (2, ANY, time_distributed),
    (1.2, MASKED, lambda plan, x: with_mask(plan, L.BatchNormalization, x)),
    (1.5, ANY, recurrent),
    (2, ANY, attention),
    (1, MASKED, lambda plan, x: with_mask(plan, own.Birch, x, to=6, filters=6)),
    (1, MASKED, lambda plan, x: with_mask(plan, own.Cedar, x)),
    (1, MASKED, lambda plan, x: with_mask(plan, own.Cherry, x)),
    (1, ANY, lambda plan, x: with_mask(plan, own.Elm, x)),
    (1.5, ANY, merged),
    (1, {"none"}, convolution),
    (1, {"by hand", "none"}, operation),
    (1, {"none"}, lambda plan, x: plan.add(own.Chestnut, x)),
]
# what leaves zeros as they are
KEEP_ZEROS = [
    (3, ANY, dense),
    (1, ANY, lambda plan, x: plan.add(L.Dropout, x, rate=0.4)),
    (1.5, ANY, lambda plan, x: plan.add(own.Alder, x)),
]
ENDS = [
    (3, MASKED, lambda plan, x: with_mask(plan, L.GlobalAveragePooling1D, x, time=False)),
    (2, MASKED, lambda plan, x: with_mask(plan, own.Ash, x, time=False, multiplies=plan.chance(0.5))),
    (1.5, MASKED, lambda plan, x: with_mask(plan, own.Aspen, x, time=False)),
    (1.5, MASKED, lambda plan, x: with_mask(plan, own.Beech, x, time=False)),
    (1.5, MASKED, lambda plan, x: with_mask(plan, own.Holly, x, time=False)),
    (2, MASKED, last_state),
    (1, {"by hand"}, lambda plan, x: plan.add(own.mean_of_valid, x, x.told, time=False)),
]


def drawn_from(plan, options, x):
    enough = plan.recurrent >= plan.most_recurrent
    never = {time_distributed: not plan.fixed, recurrent: enough, last_state: enough}
    options = [(weight, write) for weight, modes, write in options if x.mask in modes and not never.get(write)]
    weights = np.array([weight for weight, _ in options])
    return options[plan.random.choice(len(options), p=weights / weights.sum())][1](plan, x)


# Drawing: faults. Each is written down as one step, or two that belong together.


def dropped_by_operation(plan, x, kind):
    if plan.chance(0.5):
        return plan.add(plan.pick(own.halved, own.squashed, own.shifted_values), x, planted=kind)
    y = plan.add(L.Dense, x, units=x.size)
    if plan.chance(0.6):
        return plan.add(own.summed_up, x, y, planted=kind)
    return plan.add(own.side_by_side, x, y, to=2 * x.size, planted=kind)


def dropped_by_layer(plan, x, kind):
    layer, options = plan.pick(
        (own.Alder, dict(passes=False)), (own.Yew, dict(units=x.size)),
        (L.EinsumDense, dict(equation="btf,fg->btg", output_shape=(None, x.size))),
        (L.Reshape, dict(target_shape=(-1, x.size))), (L.Lambda, dict(function=own.squashed)),
        (L.Conv1D, dict(filters=x.size, kernel_size=1)),
        (L.Conv1D, dict(filters=x.size, kernel_size=2, padding="causal")))
    return plan.add(layer, x, planted=kind, **options)


def dropped_by_merge(plan, x, kind):
    y = vectors(plan, x.origin, x.size)
    if plan.chance(0.3):
        return plan.add(L.Concatenate, x, y, to=2 * x.size, planted=kind)
    return plan.add(plan.pick(L.Add, L.Multiply, L.Average, L.Maximum), x, y, planted=kind)


def stripped_by_attention(plan, x, kind):
    y = plan.add(L.MultiHeadAttention, x, call=own.attending, planted=kind, num_heads=2, key_dim=3)
    return plan.add(L.Add, x, y, planted=kind)


def changed_by_layer(plan, x, kind):
    layer, options = plan.pick((own.Larch, {}), (own.Lime, {}), (own.Lime, dict(steps=-1)))
    return plan.add(layer, x, planted=kind, **options)


def inverted_by_hand(plan, x, kind):
    inverted = plan.add(own.inverse, x.told, dtype="bool", planted=kind)
    y = plan.pick(recurrent, cedar, birch)(plan, replace(x, told=inverted))
    plan.planted = (*plan.planted, last_name(plan))
    return replace(y, told=x.told)


def cedar(plan, x, kind=with_mask):
    return kind(plan, own.Cedar, x)


def birch(plan, x, kind=with_mask):
    return kind(plan, own.Birch, x, to=6, filters=6)


def forgotten(plan, layer, x, /, **options):
    "As with_mask, but the layer gets no mask."
    return plan.add(layer, x, planted="mask not passed by hand", **options)


def not_passed_by_hand(plan, x, kind):
    if plan.chance(0.3):
        return forgotten(plan, L.MultiHeadAttention, x, call=own.attending, num_heads=2, key_dim=3)
    return plan.pick(recurrent, cedar, birch)(plan, x, kind=forgotten)


def pooled_without(plan, x, kind):
    if plan.chance(0.3):
        return recurrent(plan, x, sequences=False, kind=forgotten)
    layer = plan.pick(L.GlobalAveragePooling1D, own.Ash, own.Aspen, own.Beech, own.Holly)
    return forgotten(plan, layer, x, time=False)


def from_a_state(plan, x, kind, sequences=True):
    "A recurrent layer that is given a state gets no mask from its tensor."
    size = plan.pick(4, 6)
    state = plan.add(L.GlobalAveragePooling1D, x, time=False)
    state = plan.add(L.Dense, state, to=size, units=size)
    return plan.add(plan.pick(*RECURRENT), x, state, to=size, time=sequences, call=own.from_state, planted=kind,
                    units=size, return_sequences=sequences)


def over_time(plan, x, kind):
    if plan.chance(0.35):
        return plan.add(plan.pick(own.centred_over_time, own.softmax_over_time), x, planted=kind)
    layer, options = plan.pick((own.Oak, {}), (own.Pine, {}), (L.GroupNormalization, dict(groups=1)),
                               (L.GroupNormalization, dict(groups=-1)))
    return plan.add(layer, x, planted=kind, **options)


def over_batch(plan, x, kind):
    if x.mask == "carried" and plan.chance(0.3):
        return plan.add(L.BatchNormalization, x, call=own.in_training, planted=kind)
    return plan.add(plan.pick(own.Plum, own.centred_over_batch, own.share_of_batch), x, planted=kind)


def window(plan, x, kind):
    size = plan.pick(4, 6)
    layer, options = plan.pick(
        (L.Conv1D, dict(filters=size, kernel_size=3, padding="same")), (own.Poplar, dict(filters=size)), (own.Willow, {}),
        (L.MaxPooling1D, dict(pool_size=3, strides=1, padding="same")),
        (L.AveragePooling1D, dict(pool_size=3, strides=1, padding="same")))
    return plan.add(layer, x, to=size if "filters" in options else None, planted=kind, **options)


def features_first(plan, x, kind):
    return plan.add(own.gate_of_sums if plan.chance(0.4) else own.Spruce, x, planted=kind)


def steps_counted(plan, x, kind):
    behind = plan.groups[x.group].side == "post"
    return plan.add(plan.pick(own.Sallow, own.Sorb, *[own.Chestnut] * (not behind)), x, planted=kind)


def in_training_only(plan, x, kind):
    x = plan.add(plan.pick(own.halved, own.squashed), x, planted=kind)
    plan.per_step = True
    return plan.add(L.BatchNormalization, x)


def divided_by_zero(plan, x, kind):
    plan.multiplies = plan.chance(0.6)
    return plan.add(own.Quince, x, planted=kind)


def ended_by(*kinds):
    def write(plan, x, kind):
        which = plan.pick(*kinds)
        told = [x.told] if which is own.mean_of_zeroed else []
        size = 1 if which in (own.Hornbeam, own.sum_at_once) else None
        return plan.add(which, x, *told, to=size, time=False, planted=kind)

    return write


def flattened(plan, x, kind):
    steps = plan.groups[x.group].steps
    x = plan.add(L.Flatten, x, to=steps * x.size, time=False, planted=kind)
    return plan.add(L.Dense, x, to=4, units=4, activation="tanh", planted=kind)


@dataclass
class Fault:
    kind: str
    place: str      # "front", "within", "end" or "vector"
    modes: set      # the modes of the mask in which it is one
    write: object   # function of the plan, a value and the kind; of "front", how it is broken
    often: float = 1.0


CARRIED, BY_HAND = {"carried"}, {"by hand"}
FAULTS = [
    Fault("mask dropped by an operation", "within", CARRIED, dropped_by_operation, 2),
    Fault("mask dropped by a layer", "within", CARRIED, dropped_by_layer, 2),
    Fault("mask dropped by a merge", "within", CARRIED, dropped_by_merge, 1.5),
    Fault("mask taken off by attention", "within", CARRIED, stripped_by_attention),
    Fault("mask changed by a layer", "within", CARRIED, changed_by_layer, 1.5),
    Fault("mask inverted by hand", "within", BY_HAND, inverted_by_hand),
    Fault("mask not passed by hand", "within", BY_HAND, not_passed_by_hand),
    Fault("mask not passed by hand", "end", BY_HAND, pooled_without),
    Fault("mask not used", "within", CARRIED, from_a_state, 0.7),
    Fault("mask not used", "end", CARRIED, partial(from_a_state, sequences=False), 0.7),
    Fault("mask not used", "within", MASKED, lambda plan, x, kind: plan.add(own.Pear, x, planted=kind)),
    Fault("statistics over time", "within", ANY, over_time, 1.5),
    Fault("neighbours mixed", "within", ANY, over_batch),
    Fault("neighbours mixed", "vector", MASKED, over_batch),
    Fault("neighbouring steps mixed", "within", ANY, window, 2),
    Fault("largest of all steps", "end", ANY, ended_by(own.Gorse, L.GlobalMaxPooling1D, own.largest_of_all)),
    Fault("features summed first", "within", ANY, features_first),
    Fault("features summed first", "end", ANY, ended_by(own.Hornbeam, own.sum_at_once), 0.7),
    Fault("steps counted", "within", ANY, steps_counted, 1.5),
    Fault("steps counted", "end", ANY, ended_by(own.Box, own.mean_of_all)),
    Fault("steps counted", "end", MASKED, ended_by(own.Bay)),
    Fault("steps counted", "end", BY_HAND, ended_by(own.mean_of_zeroed)),
    Fault("steps counted", "end", CARRIED, flattened, 0.5),
    Fault("sum over zeros", "end", CARRIED, ended_by(own.Juniper, own.sum_of_all), 1.5),
    Fault("no mask made", "front", CARRIED, "none", 2),
    Fault("mask of other steps made", "front", CARRIED, "other"),
    Fault("statistics in training", "within", CARRIED, in_training_only, 0.7),
    Fault("division by zero", "within", CARRIED, divided_by_zero, 0.7),
]


# Drawing: whole models.


def path(plan, group, name, mode, fault=None, pooled=True, x=None):
    """An input, and steps behind it; returns the last value with a time axis, and one without, if `pooled`.

    `x` is where to go on if the input is there already. What has two inputs has a shorter path for each."""
    place = fault.place if fault else ""
    if x is None:
        x = front(plan, group, name, mode, fault.write if place == "front" else None)
    most = 1 if plan.small else 3 if len(plan.groups) == 1 else 2
    count = int(plan.random.integers(0, most + 1))
    at = plan.random.integers(count + 1) if place == "within" else None
    for number in range(count + 1):
        if number == at:
            x = fault.write(plan, x, fault.kind)
        if number < count:
            x = drawn_from(plan, KEEP_ZEROS if plan.zeros else PARTS, x)
    if place == "end":
        return x, fault.write(plan, x, fault.kind)
    if not pooled or plan.per_step:
        return x, None
    pool = plan.add(own.Ash, x, time=False, multiplies=True) if plan.multiplies else drawn_from(plan, ENDS, x)
    return x, fault.write(plan, pool, fault.kind) if place == "vector" else pool


def ended(plan, x, pool):
    "One output or two."
    if pool is not None:
        pool = plan.add(L.Dense, pool, to=5, units=5, activation=plan.pick(*ACTIVATIONS)) if plan.chance(0.4) else pool
        plan.outputs.append(plan.add(L.Dense, pool, to=3, units=3))
    if pool is None or plan.chance(0.2) and not plan.one_length:
        plan.outputs.append(plan.add(L.Dense, x, to=2, units=2) if plan.chance(0.7) else x)


def mode_for(plan, fault, without_mask=False):
    modes = {"carried": 0.6, "by hand": 0.3, "none": 0.15 * without_mask}
    modes = {mode: share for mode, share in modes.items() if share and (not fault or mode in fault.modes)}
    return list(modes)[plan.random.choice(len(modes), p=np.array(list(modes.values())) / sum(modes.values()))]


def one_input(plan, fault, side):
    mode = mode_for(plan, fault, without_mask=True)
    group = new_group(plan, "steps", "post" if mode == "none" else side)
    pooled = mode != "none" and plan.chance(0.75) or bool(fault and fault.place == "vector")
    return path(plan, group, plan.pick("words", "series", "tokens"), mode, fault, pooled)


def beside_one_that_is_never_padded(plan, fault, side):
    x, pool = path(plan, new_group(plan, "steps", side), "words", mode_for(plan, fault), fault)
    size, steps = plan.pick(3, 4, 6), int(plan.random.integers(4, 9))
    if plan.chance(0.3):
        steps = plan.groups["steps"].steps
    if plan.chance(0.35):
        static = plan.add(L.Dense, new_source(plan, "context", None, "floats", size), to=4, units=4)
    else:
        static = new_source(plan, "window", None, "floats", size, steps)
        static = plan.add(L.Conv1D, static, to=4, filters=4, kernel_size=3) if plan.chance(0.4) else static
        static = plan.add(plan.pick(L.GlobalMaxPooling1D, L.GlobalAveragePooling1D), static, time=False)
    return x, plan.add(L.Concatenate, pool, static, to=pool.size + static.size)


def two_that_are_aligned(plan, fault, side):
    mode = mode_for(plan, fault)
    group = new_group(plan, "steps", side)
    x = front(plan, group, "words", mode, fault.write if fault and fault.place == "front" else None)
    if plan.chance(0.5) or mode == "by hand":
        segments = new_source(plan, "segments", group, "ids", least=0, most=3)
        segments = plan.add(L.Embedding, segments, to=x.size, input_dim=3, output_dim=x.size)
        plan.spoils.append(Spoil(group, last_name(plan), True, known=False))
        x = plan.add(own.Maple, x, segments)
    else:
        tags = front(plan, group, "tags", mode)
        if plan.chance(0.5):
            x = plan.add(L.Concatenate, x, tags, to=x.size + tags.size)
        else:
            x = plan.add(plan.pick(L.Add, L.Multiply, L.Average), x, plan.add(L.Dense, tags, to=x.size, units=x.size))
        if plan.kind == "no mask made":  # it is the merge that makes a wrong mask of one and none
            plan.planted = (*plan.planted, last_name(plan))
    fault = fault if fault and fault.place != "front" else None
    return path(plan, group, None, mode, fault, plan.chance(0.7) or bool(fault and fault.place == "vector"), x)


def two_groups(plan, side, names):
    second_side = side if plan.chance(0.85) else {"pre": "post", "post": "pre"}[side]
    return [new_group(plan, name, padding) for name, padding in zip(names, (side, second_side))]


def two_side_by_side(plan, fault, side):
    names, pools = plan.pick(("left", "right"), ("question", "answer")), []
    mine = plan.random.integers(2)
    for number, (group, name) in enumerate(zip(two_groups(plan, side, names), names, strict=True)):
        here = fault if number == mine else None
        _, pool = path(plan, group, name, mode_for(plan, here), here)
        pools.append(pool)
    return None, plan.add(L.Concatenate, *pools, to=sum(pool.size for pool in pools))


def one_that_looks_at_another(plan, fault, side):
    "A source and a target: the target starts from a state of the source, or attends to its steps."
    source, target = two_groups(plan, side, ("source", "target"))
    by_state = plan.most_recurrent > 0 and plan.chance(0.5)
    mine = 0 if fault and fault.place in ("front", "within") and plan.chance(0.6) else 1
    faults = [fault if number == mine else None for number in range(2)]
    x, pool = path(plan, source, "source", mode_for(plan, faults[0]), faults[0], by_state)
    later = faults[1] if faults[1] and faults[1].place in ("end", "vector") else None
    behind = plan.groups[target].side == "post"
    mode = mode_for(plan, faults[1], without_mask=behind and not later)
    y, _ = path(plan, target, "target", mode, faults[1] if not later else None, pooled=False)
    if by_state:
        state = plan.add(L.Dense, pool, to=4, units=4)
        options = dict(to=4, units=4, return_sequences=True)
        if y.mask == "none" or y.mask == "carried" and behind and plan.chance(0.5):
            # it gets no mask, and needs none: padding comes last
            y = plan.add(plan.pick(*RECURRENT), y, state, call=own.from_state, **options)
        else:
            y = plan.add(plan.pick(*RECURRENT), y, state, mask_by_hand(plan, y), call=own.from_state_by_hand, **options)
    else:
        h, e = plan.add(L.LayerNormalization, y), plan.add(L.LayerNormalization, x)
        told, call = ([x.told], own.attending_across_by_hand) if x.mask == "by hand" else ([], own.attending_across)
        y = plan.add(L.Add, y, plan.add(L.MultiHeadAttention, h, e, *told, call=call, num_heads=2, key_dim=3))
    return path(plan, target, None, mode, later, bool(later) or mode != "none" and plan.chance(0.5), y)


LAYOUTS = {one_input: 4, beside_one_that_is_never_padded: 1.5, two_that_are_aligned: 1.5, two_side_by_side: 1.5,
           one_that_looks_at_another: 1.5}


def drawn_plan(random, fault, small):
    plan = Plan(random, small)
    layouts = dict(LAYOUTS)
    if fault and fault.kind in ("sum over zeros", "division by zero"):
        plan.zeros = True
    if fault and fault.write is flattened:
        plan.graph = plan.fixed = plan.one_length = True
    if plan.zeros or plan.one_length or fault and fault.write is in_training_only:
        layouts = {one_input: 1}
    shares = np.array(list(layouts.values()), float)
    layout = list(layouts)[random.choice(len(layouts), p=shares / shares.sum())]
    x, pool = layout(plan, fault, plan.pick("post", "pre"))
    ended(plan, x if x is not None else pool, pool)
    return plan


def drawn_form(plan):
    sources = list(plan.sources.values())
    taken = [sources[0].name, *(step.gives for step in plan.steps)]
    chain = len(sources) == 1 and [value.name for value in plan.outputs] == taken[-1:] and all(
        step.made and step.call is own.applied and step.takes == (name,) for step, name in zip(plan.steps, taken))
    style = "functional" if plan.graph else plan.pick("subclassed", "subclassed", "function")
    style = "sequential" if plan.graph and chain and plan.chance(0.6) else style
    structure = "single" if len(sources) == 1 else plan.pick("list", "dict")
    numbers = any(source.kind == "mask" and source.dtype != bool for source in sources)
    if numbers and style != "functional" and structure == "list":
        structure = "dict"  # only its name says that it is a mask
    form = Form(style, structure, plan.fixed)
    parts = parts_of(plan)
    if parts and plan.chance(0.4):
        first, last = plan.pick(*parts)
        inside = plan.steps[first:last + 1]
        linear = all(step.made and step.call is own.applied and len(step.takes) == 1 for step in inside)
        form.nest = first, last, plan.pick("functional", "functional", "layer", *["sequential"] * 2 * linear)
    return form


def parts_of(plan):
    "Ranges of steps that take one value from outside, and give one to it."
    given = {value.name for value in plan.outputs}
    ranges = []
    for first in range(len(plan.steps)):
        for last in range(first + 1, len(plan.steps)):
            inside, rest = plan.steps[first:last + 1], plan.steps[:first] + plan.steps[last + 1:]
            made = {step.gives for step in inside}
            taken = {name for step in inside for name in step.takes} - made
            needed = given | {name for step in rest for name in step.takes}
            chained = inside[0].takes == tuple(taken) and all(set(step.takes) & (made | taken) for step in inside)
            if len(taken) == 1 and chained and made & needed == {inside[-1].gives} and last - first < len(plan.steps) - 1:
                ranges.append((first, last))
    return ranges


def options_of(plan, form):
    "What a user would have to pass, and sometimes more."
    def name_of(source):
        by_name = form.graph or form.structure == "dict"
        return source.name if by_name else str(list(plan.sources).index(source.name))

    options, several = {}, len(plan.groups) > 1
    told = set(plan.groups) if plan.chance(0.2) else plan.needs_lengths
    inputs = [source for source in plan.sources.values() if source.group in told and source.kind != "mask"]
    if told:
        options["lengths"] = ({name_of(source): plan.groups[source.group].lengths.copy() for source in inputs} if several
                              else plan.groups["steps"].lengths.copy())
        sides = {name_of(source): plan.groups[source.group].side for source in inputs}
        if "pre" in sides.values() or len({group.side for group in plan.groups.values()}) > 1:
            options["side"] = sides if len({group.side for group in plan.groups.values()}) > 1 else "pre"
    static = [name_of(source) for source in plan.sources.values() if source.group is None
              and (source.rows[0].ndim > 1 or form.fixed or not form.graph)]
    return {**options, **({"static": tuple(static)} if static else {})}


# A case.


@dataclass
class Case:
    seed: int
    kind: str      # of the fault that was planted, "sound", or "harmless: ..." for one that does nothing
    model: object
    batch: object
    options: dict  # for the instruments: lengths, side and static, where they are needed
    truth: Truth
    names: set     # of the layers and operations that are the culprit
    lines: set     # of code, if it may be named by one
    text: str      # the plan in words
    meter: object  # the Meter that measured it; its model takes any number of steps, if that can be had

    @property
    def leaks(self):
        "Whether find_leaks has something to find; None where nothing in a forward pass shows what is broken."
        visible = self.truth.leaks or self.truth.mixes
        return None if self.truth.broken and not visible else visible

    def is_named(self, *words):
        "Whether one of these is the culprit: names with `/` between them, or the text of a line of code."
        parts = {part for word in words for part in word.split("/")}
        return bool(parts & self.names) or any(line in word for word in words for line in self.lines)


def random_case(seed, small=False, log=lambda why, plan: None):
    """A case. A small one has fewer layers and seldom a recurrent one, since those take long.

    `log` is called with what was drawn and not taken."""
    random = np.random.default_rng(seed)
    shares = np.array([fault.often for fault in FAULTS])
    planned = None if random.random() < 0.4 else FAULTS[random.choice(len(FAULTS), p=shares / shares.sum())]
    for attempt in range(100):
        case = attempted(seed, np.random.default_rng([seed, attempt]), planned, small, log)
        if case:
            return case
    raise RuntimeError(f"seed {seed}: nothing that is clear was drawn for {planned}")


def attempted(seed, random, fault, small, log):
    plan = drawn_plan(random, fault, small)
    if fault and not plan.planted:
        log("not planted", plan)
        return None
    form = drawn_form(plan)
    keras.backend.clear_session(free_memory=False)  # the names that Keras makes depend on what was built before
    keras.utils.set_random_seed(seed)
    built = build(plan, form)
    trained = plan.chance(0.6)
    if trained:  # what begins as zeros is none afterwards
        for layer in built.layers.values():
            layer.set_weights([plan.random.normal(size=weight.shape, scale=0.3)
                               if weight.size and not weight.any() else weight
                               for weight in layer.get_weights()])
    free = form
    if form.fixed and not plan.one_length:
        free = replace(form, fixed=False)
    twin = built if free is form else build(
        plan, free, {name: layer.get_weights() for name, layer in built.layers.items()})
    meter = Meter(plan, free, twin)
    truth = meter.measured()
    kind = fault.kind if fault else "sound"
    if not truth.clear or truth.broken and not fault:
        log(f"{kind}: {'not sound' if truth.clear else 'not clear'} ({truth})", plan)
        return None
    if fault and not truth.broken:
        # weights of zero may hide what it does
        if not trained or random.random() < 0.6:
            log(f"{kind}: harmless", plan)
            return None
        kind, plan.planted = f"harmless: {kind}", ()
    names, lines = set(plan.planted), set()
    if kind == "no mask made" and (first := meter.first_leak()):
        names.add(first)
    for step in plan.steps:
        if step.name in names and not step.made:
            lines |= {line.strip() for line in inspect.getsource(step.call).splitlines()[1:]}
            names |= built.operations.get(step.name, set())
            if form.nest and form.nest[2] == "layer" and step in plan.steps[form.nest[0]:form.nest[1] + 1]:
                names.add("part")
    return Case(seed, kind, built.model, batch_of(plan, form), options_of(plan, form), truth, names, lines,
                f"{form}\n{plan.text()}", meter)
