"""What trace_masks says about each layer call, and that it leaves no trace itself."""

import re
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from masking_tutorial.mask_generation import get_mask
from masking_tutorial.propagation import MaskTrace, trace_masks
from masking_tutorial.trace import closed

IDS = np.array([[3, 1, 2, 4], [4, 0, 0, 0]])
MASK = IDS != 0
WAIT = 60  # seconds until a thread that got stuck fails its test


def embedding(name="embedding"):
    return layers.Embedding(5, 4, mask_zero=True, name=name)


def described(trace):
    """The rows in short: depth and name, class, how many masks go in and out, and the fate with its marks."""

    def count(masks):
        several = masks if isinstance(masks, tuple) else (masks,)
        return sum(mask is not None for mask in several)

    marks = {"warned": [row.warned for row in trace], "stripped": [row.stripped for row in trace]}
    return [
        (
            ". " * row.depth + row.name,
            row.class_name,
            f"{count(row.mask_in)}>{count(row.mask_out)}",
            " ".join([row.fate] + [mark for mark, rows in marks.items() if rows[place]]),
        )
        for place, row in enumerate(trace)
    ]


def fates(trace):
    return [(row.name, row.fate) for row in trace]


# Kinds of models.


def sequential():
    return keras.Sequential(
        [keras.Input((None,), dtype="int32"), embedding(), layers.Dropout(0.5, name="dropout"), layers.LSTM(2, name="lstm")],
        name="model",
    )


def functional():
    ids = keras.Input((None,), dtype="int32")
    hidden = layers.Dropout(0.5, name="dropout")(embedding()(ids))
    return keras.Model(ids, layers.LSTM(2, name="lstm")(hidden), name="model")


class Subclass(keras.Model):
    def __init__(self, built):
        super().__init__(name="model")
        self.embedding = embedding()
        self.dropout = layers.Dropout(0.5, name="dropout")
        self.lstm = layers.LSTM(2, name="lstm")
        if built:
            self(IDS)

    def call(self, ids):
        return self.lstm(self.dropout(self.embedding(ids)))


@pytest.mark.parametrize(
    "make",
    [
        sequential,
        functional,
        lambda: Subclass(built=True),
        lambda: Subclass(built=False),
        lambda: keras.Sequential(sequential().layers, name="model"),
        lambda: keras.Sequential([embedding(), layers.Dropout(0.5, name="dropout"), layers.LSTM(2, name="lstm")], name="model"),
    ],
)
def test_the_rows_are_those_of_every_kind_of_model(make):
    model = make()
    trace = trace_masks(model, IDS)
    assert described(trace) == [
        ("model", type(model).__name__, "0>0", "none"),
        (". embedding", "Embedding", "0>1", "made"),
        (". dropout", "Dropout", "1>1", "passed"),
        (". lstm", "LSTM", "1>0", "used"),
    ]
    for mask in (trace[1].mask_out, trace[2].mask_in, trace[2].mask_out, trace[3].mask_in):
        assert isinstance(mask, np.ndarray)
        np.testing.assert_array_equal(mask, MASK)
    assert trace[1].mask_in is None and trace[3].mask_out is None


def test_a_function_and_a_layer_are_traced_too():
    embed, lstm = embedding(), layers.LSTM(2, name="lstm")
    assert fates(trace_masks(lambda ids: lstm(embed(ids)), IDS)) == [("embedding", "made"), ("lstm", "used")]
    assert fates(trace_masks(embed, IDS)) == [("embedding", "made")]
    assert list(trace_masks(lambda ids: ids, IDS)) == []


@pytest.mark.filterwarnings("ignore:Layer 'block'")
def test_nested_models_are_deeper():
    inside = keras.Sequential([keras.Input((None, 4)), layers.Dropout(0.5, name="dropout")], name="inside")
    block = keras.Sequential([keras.Input((None, 4)), inside, layers.Dense(3, name="dense")], name="block")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), embedding(), block], name="model")
    trace = trace_masks(model, IDS)
    assert [(row.name, row.depth) for row in trace] == [
        ("model", 0),
        ("embedding", 1),
        ("block", 1),
        ("inside", 2),
        ("dropout", 3),
        ("dense", 2),
    ]
    assert [row.mask_out is not None for row in trace] == [True] * 6
    assert [row.fate for row in trace] == ["made", "made", "passed", "passed", "passed", "passed"]


def test_a_layer_that_is_called_twice_has_two_rows():
    embed, lstm = embedding(), layers.LSTM(4, return_sequences=True, name="lstm")
    assert described(trace_masks(lambda ids: lstm(lstm(embed(ids))), IDS)) == [
        ("embedding", "Embedding", "0>1", "made"),
        ("lstm", "LSTM", "1>1", "used"),
        ("lstm", "LSTM", "1>1", "used"),
    ]


@pytest.mark.parametrize("kind", [list, dict])
def test_several_inputs_have_a_mask_each(kind):
    first, second = (keras.Input((None,), dtype="int32", name=name) for name in ("first", "second"))
    merged = layers.Concatenate(axis=1, name="merged")([embedding("one")(first), embedding("two")(second)])
    arrays = {"first": IDS, "second": IDS[::-1].copy()}
    inputs, given = ({"first": first, "second": second}, arrays) if kind is dict else ([first, second], list(arrays.values()))
    trace = trace_masks(keras.Model(inputs, merged, name="model"), given)
    assert described(trace) == [
        ("model", "Functional", "0>1", "made"),
        (". one", "Embedding", "0>1", "made"),
        (". two", "Embedding", "0>1", "made"),
        (". merged", "Concatenate", "2>1", "passed"),
    ]
    np.testing.assert_array_equal(trace[3].mask_in, [MASK, MASK[::-1]])
    np.testing.assert_array_equal(trace[3].mask_out, np.concatenate([MASK, MASK[::-1]], axis=1))


# What becomes of the mask.


class TakesMask(layers.Layer):
    def call(self, inputs, mask=None):
        return inputs + 1


class Switch(layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, use_causal_mask=False):
        return inputs + 1


class NoMask(layers.Layer):
    def compute_mask(self, inputs, mask=None):
        return None

    def call(self, inputs):
        return inputs + 1


class StaleMask(NoMask):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: layers.BatchNormalization(), [("BatchNormalization", "1>1", "used")]),
        (lambda: layers.Dense(2), [("Dense", "1>1", "passed")]),
        (lambda: layers.Flatten(), [("Flatten", "1>0", "dropped warned")]),
        (lambda: layers.GlobalMaxPooling1D(), [("GlobalMaxPooling1D", "1>0", "dropped warned")]),
        (lambda: layers.GlobalAveragePooling1D(), [("GlobalAveragePooling1D", "1>0", "used")]),
        (lambda: NoMask(), [("NoMask", "1>0", "dropped")]),
        (lambda: Switch(), [("Switch", "1>1", "passed")]),
        (lambda: StaleMask(), [("StaleMask", "1>1", "passed")]),
        (lambda: TakesMask(), [("TakesMask", "1>0", "dropped warned")]),
        (lambda: layers.Masking(), [("Masking", "1>1", "passed")]),
        (lambda: layers.RNN(layers.LSTMCell(2)), [("RNN", "1>0", "used")]),
        (
            lambda: layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            [("Bidirectional", "1>1", "used"), (". LSTM", "1>1", "used"), (". LSTM", "1>1", "used")],
        ),
        (lambda: layers.TimeDistributed(layers.Dense(2)), [("TimeDistributed", "1>1", "used")]),
        (
            lambda: layers.TimeDistributed(keras.Sequential([layers.Dense(2), layers.Dropout(0.5)])),
            [("TimeDistributed", "1>1", "used")],
        ),
    ],
)
def test_the_fate_of_the_mask_in_a_layer(make, expected):
    embed, layer = embedding(), make()
    trace = trace_masks(lambda ids: layer(embed(ids)), IDS)[1:]
    rows = [(". " * row.depth + class_name, *rest) for row, (_, class_name, *rest) in zip(trace, described(trace), strict=True)]
    assert rows == expected


def test_without_a_mask_nothing_becomes_of_it():
    model = keras.Sequential([layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2)])
    trace = trace_masks(model, IDS)
    assert {(row.mask_in is None, row.mask_out is None, row.fate, row.warned, row.stripped) for row in trace} == {
        (True, True, "none", False, False)
    }


def test_multi_head_attention_takes_the_mask_off_its_input():
    embed, attention = embedding(), layers.MultiHeadAttention(1, 2, name="attention")

    def model(ids):
        hidden = embed(ids)
        return attention(hidden, hidden)

    row = trace_masks(model, IDS)[1]
    assert (row.name, row.depth, row.fate, row.stripped, row.warned) == ("attention", 0, "used", True, False)
    assert len(row.mask_in) == 2
    for mask in (*row.mask_in, row.mask_out):
        np.testing.assert_array_equal(mask, MASK)


def test_a_causal_attention_is_given_no_mask():
    unmasked, attention = layers.Embedding(5, 4), layers.MultiHeadAttention(1, 2, name="attention")

    def model(ids):
        hidden = unmasked(ids)
        return attention(hidden, hidden, use_causal_mask=True)

    row = trace_masks(model, IDS)[1]
    assert (row.mask_in, row.mask_out, row.fate) == ((None, None), None, "none")


def test_a_mask_given_by_keyword_is_the_one_that_goes_in():
    embed, lstm = embedding(), layers.LSTM(2, name="lstm")
    mask = np.array([[True] * 4, [True, True, False, False]])
    row = trace_masks(lambda ids: lstm(embed(ids), mask=keras.ops.convert_to_tensor(mask)), IDS)[1]
    np.testing.assert_array_equal(row.mask_in, mask)
    assert row.fate == "used"


def test_masks_of_queries_and_values_given_by_keyword_go_in_too():
    unmasked, attention = layers.Embedding(5, 4), layers.MultiHeadAttention(1, 2, name="attention")

    def model(ids):
        hidden = unmasked(ids)
        return attention(hidden, hidden, value_mask=keras.ops.not_equal(ids, 0))

    row = trace_masks(model, IDS)[1]
    np.testing.assert_array_equal([mask for mask in row.mask_in if mask is not None], [MASK])
    assert row.fate == "used"


def test_a_list_of_masks_goes_in_as_several():
    unmasked, attention = layers.Embedding(5, 4), layers.Attention(name="attention")

    def model(ids):
        hidden, mask = unmasked(ids), keras.ops.not_equal(ids, 0)
        return attention([hidden, hidden], mask=[mask, mask])

    row = trace_masks(model, IDS)[1]
    np.testing.assert_array_equal(row.mask_in, [MASK, MASK])
    assert row.fate == "used"


def test_merging_with_an_unmasked_tensor_drops_the_mask():
    embed, positions, add = embedding(), layers.Embedding(5, 4), layers.Add(name="add")
    row = trace_masks(lambda ids: add([embed(ids), positions(ids)]), IDS)[2]
    assert (row.mask_in[1], row.mask_out, row.fate, row.warned) == (None, None, "dropped", False)
    np.testing.assert_array_equal(row.mask_in[0], MASK)


def test_a_layer_of_several_outputs_has_a_mask_for_each():
    class Twice(layers.Layer):
        def call(self, inputs):
            return inputs, inputs + 1

        def compute_mask(self, inputs, mask=None):
            return mask, None

    embed, twice = embedding(), Twice(name="twice")
    row = trace_masks(lambda ids: twice(embed(ids)), IDS)[1]
    np.testing.assert_array_equal(row.mask_out[0], MASK)
    assert row.mask_out[1] is None and row.fate == "passed"


# What is left as it was.


class Raises(layers.Layer):
    def __init__(self, note=None, **kwargs):
        super().__init__(**kwargs)
        self.note = note

    def call(self, inputs):
        error = KeyError("on purpose")
        if self.note:
            error.add_note(self.note)
        raise error


def states(*recurrent):
    return [keras.ops.convert_to_numpy(state) for layer in recurrent for state in layer.states]


class Everything(keras.Model):
    """Whatever a call can change: states, moving averages and seeds."""

    def __init__(self, raises=False):
        super().__init__()
        self.embedding = embedding()
        self.lstm = layers.LSTM(3, stateful=True, return_sequences=True)
        self.normalization = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.5)
        self.end = Raises(name="end") if raises else layers.Identity(name="end")

    def call(self, ids):
        hidden = self.normalization(self.lstm(self.embedding(ids)), training=True)
        return self.end(self.dropout(hidden, training=True))

    def contents(self):
        return [keras.ops.convert_to_numpy(variable) for variable in self.variables] + states(self.lstm)


@pytest.mark.tensorflow
@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_model_keeps_its_weights_states_and_seeds(raises, trainable):
    model = Everything(raises)
    model.trainable = trainable
    call = keras.layers.Layer.__call__
    try:
        model(IDS)
    except KeyError:
        pass
    before = model.contents()
    assert np.any(states(model.lstm)) and model.dropout.seed_generator.state.numpy()[1]
    try:
        trace_masks(model, IDS)
    except KeyError:
        assert raises
    for now, then in zip(model.contents(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert keras.layers.Layer.__call__ is call


def test_a_model_that_is_built_by_the_trace_starts_from_its_first_state():
    model = Everything()
    trace_masks(model, IDS)
    assert not np.any(states(model.lstm))
    assert keras.ops.convert_to_numpy(model.dropout.seed_generator.state)[1] == 0


@pytest.mark.parametrize("built", [False, True])
def test_the_layers_that_a_function_calls_keep_their_states(built):
    embed, lstm = embedding(), layers.Bidirectional(layers.LSTM(3, stateful=True))
    if built:
        lstm(embed(IDS))
    before = states(lstm.forward_layer, lstm.backward_layer) if built else [np.zeros((2, 3))] * 4
    trace_masks(lambda ids: lstm(embed(ids)), IDS)
    np.testing.assert_array_equal(states(lstm.forward_layer, lstm.backward_layer), before)


class Block(layers.Layer):
    """A layer around another; it ends the mask, and says so."""

    def __init__(self, inside):
        super().__init__(name="block")
        self.inside, self.supports_masking = inside, True

    def call(self, inputs):
        return self.inside(inputs)

    def compute_mask(self, inputs, mask=None):
        return None


def test_an_unbuilt_layer_around_a_single_one_has_no_row_twice():
    block = Block(layers.Dense(2, name="dense"))
    trace = trace_masks(block, np.ones((2, 3)))
    assert [row.name for row in trace] == ["block", "dense"]


def test_an_unbuilt_model_has_no_row_twice():
    trace = trace_masks(Everything(), IDS)
    assert [row.class_name for row in trace] == [
        "Everything",
        "Embedding",
        "LSTM",
        "BatchNormalization",
        "Dropout",
        "Identity",
    ]


@pytest.mark.parametrize("note", [None, "a note of the layer's own"])
def test_an_error_names_the_innermost_layer(note):
    block = keras.Sequential([layers.Dropout(0.5), Raises(note, name="culprit")], name="block")
    embed = embedding()
    call = keras.layers.Layer.__call__
    with pytest.raises(Exception, match="on purpose") as caught:
        trace_masks(lambda ids: block(embed(ids)), IDS)
    (named,) = [note for note in caught.value.__notes__ if note.startswith("raised in layer")]
    assert re.match(r"raised in layer 'culprit' \(of type Raises\), call number \d+$", named)
    assert keras.layers.Layer.__call__ is call


def test_an_error_that_the_model_handles_ends_no_trace():
    embed, culprit, dense = embedding(), Raises(name="culprit"), layers.Dense(2, name="dense")

    class Recovers(keras.Model):
        def call(self, ids):
            hidden = embed(ids)
            try:
                return culprit(hidden)
            except KeyError:
                return dense(hidden)

    trace = trace_masks(Recovers(name="model"), IDS)
    assert None not in trace
    assert [row.name for row in trace] == ["model", "embedding", "culprit", "dense"]
    assert trace[-1].fate == "passed"


# Warnings.


class Warns(layers.Layer):
    def call(self, inputs):
        warnings.warn("of another kind", RuntimeWarning, stacklevel=1)
        return inputs


@pytest.mark.tensorflow
def test_warnings_about_masks_become_part_of_the_trace_and_others_go_to_the_caller():
    warns = Warns(name="warns")
    warns.supports_masking = True
    embed, flatten = embedding(), layers.Flatten(name="flatten")
    with pytest.warns(RuntimeWarning, match="^of another kind$") as caught:
        trace = trace_masks(lambda ids: flatten(warns(embed(ids))), IDS)
    assert len(caught) == 1
    assert [row.warned for row in trace] == [False, False, True]


@pytest.mark.tensorflow
def test_warnings_about_masks_stay_in_the_trace_where_they_would_be_errors():
    embed, flatten = embedding(), layers.Flatten(name="flatten")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trace_masks(lambda ids: flatten(embed(ids)), IDS)[1].warned


def test_a_layer_is_not_blamed_for_a_warning_inside_it():
    embed, block = embedding(), Block(layers.Flatten(name="flatten"))
    trace = trace_masks(lambda ids: block(embed(ids)), IDS)
    assert [(row.name, row.warned) for row in trace] == [("embedding", False), ("block", False), ("flatten", True)]


# Threads.


class Does(layers.Layer):
    """Does something in the middle of a call; a mask is passed on."""

    def __init__(self, action, **kwargs):
        super().__init__(**kwargs)
        self.action, self.supports_masking = action, True

    def build(self, input_shape):
        pass

    def call(self, inputs):
        self.action()
        return inputs


def in_thread(function, *arguments):
    """Start a function; what is returned waits for its result."""
    results = []

    def work():
        try:
            results.append(function(*arguments))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def result():
        thread.join(WAIT)
        assert results, "the thread got stuck"
        if isinstance(results[0], BaseException):
            raise results[0]
        return results[0]

    return result


@pytest.mark.tensorflow
def test_two_threads_get_a_trace_each_and_a_third_gets_none():
    call, show, filters = keras.layers.Layer.__call__, warnings.showwarning, list(warnings.filters)
    both_began, first_ended = threading.Barrier(2), threading.Event()
    other_embed, other_flatten = embedding("other_embedding"), layers.Flatten(name="other_flatten")

    def untraced():
        other_flatten(other_embed(IDS))

    def first():
        embed, flatten = embedding("first"), layers.Flatten(name="first_flatten")
        meet, call_other = Does(lambda: both_began.wait(WAIT), name="meet"), Does(lambda: in_thread(untraced)(), name="other")
        try:
            return trace_masks(lambda ids: flatten(call_other(meet(embed(ids)))), IDS)
        finally:
            first_ended.set()

    def second():
        embed, dense = embedding("second"), layers.Dense(2, name="second_dense")
        meet, last = Does(lambda: both_began.wait(WAIT), name="meet"), Does(lambda: first_ended.wait(WAIT), name="wait")
        return trace_masks(lambda ids: dense(last(meet(embed(ids)))), IDS)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [in_thread(first), in_thread(second)]
        first_trace, second_trace = (result() for result in results)
        warnings.warn("after the traces", stacklevel=1)

    assert [(row.name, row.fate, row.warned) for row in first_trace] == [
        ("first", "made", False),
        ("meet", "passed", False),
        ("other", "passed", False),
        ("first_flatten", "dropped", True),
    ]
    assert [(row.name, row.fate, row.warned) for row in second_trace] == [
        ("second", "made", False),
        ("meet", "passed", False),
        ("wait", "passed", False),
        ("second_dense", "passed", False),
    ]
    untraced_warning, after = [str(warning.message) for warning in caught]
    assert "Layer 'other_flatten'" in untraced_warning and after == "after the traces"
    assert (keras.layers.Layer.__call__, warnings.showwarning, warnings.filters) == (call, show, filters)


def test_a_trace_inside_a_trace_has_its_own_rows():
    embed, inner_embed, inner = embedding(), embedding("inner"), []
    middle = Does(lambda: inner.append(trace_masks(inner_embed, IDS)), name="middle")
    outer = trace_masks(lambda ids: middle(embed(ids)), IDS)
    assert (fates(outer), fates(inner[0])) == ([("embedding", "made"), ("middle", "passed")], [("inner", "made")])


# How it shows.


def test_a_trace_prints_as_a_table():
    model = keras.Sequential([embedding(), layers.Flatten(name="flatten")], name="model")
    assert repr(trace_masks(model, IDS)).splitlines() == [
        "layer                    mask in  mask out  fate",
        "model (Sequential)       -        -         none",
        "  embedding (Embedding)  -        (2, 4)    made",
        "  flatten (Flatten)      (2, 4)   -         dropped, warned",
    ]


def test_a_trace_shows_as_the_same_figure_again():
    trace = trace_masks(sequential(), IDS)
    figure = trace.figure()
    assert figure.source == trace.figure().source == trace._repr_svg_()
    assert repr(figure) == repr(trace)
    for row in trace:
        assert f"{row.name} ({row.class_name})" in figure.source


def test_an_empty_trace_shows_too():
    assert repr(MaskTrace()) == "layer  mask in  mask out  fate"
    assert MaskTrace().figure().source.startswith("<svg")


# The flow.


def woven(trace):
    """The edges of a flow in short: from, to, "mask" where one travels, and where it is cut."""
    names = [step.label.partition(" ")[0] for step in trace.flow.steps]
    return {(names[edge.start], names[edge.end], "mask" * edge.alive, edge.cut) for edge in trace.flow.edges}


@pytest.mark.tensorflow
def test_a_flow_has_branches_and_shows_where_an_operation_loses_the_mask():
    embed, unmasked, dense = embedding("tokens"), layers.Embedding(5, 4, name="others"), layers.Dense(2, name="dense")
    trace = trace_masks(lambda ids: dense(embed(ids) + unmasked(ids)), IDS)
    assert woven(trace) == {("batch", "tokens", "", ""), ("batch", "others", "", ""), ("tokens", "+", "mask", ""),
                            ("others", "+", "", ""), ("+", "dense", "", "start"), ("dense", "answer", "", "")}
    assert [(row.name, row.fate) for row in trace] == [
        ("tokens", "made"), ("others", "none"), ("+", "dropped"), ("dense", "none")]
    assert (trace[2].class_name, trace[2].place) == (
        "operation", "trace = trace_masks(lambda ids: dense(embed(ids) + unmasked(ids)), IDS)")


def test_a_flow_shows_a_mask_that_attention_takes_off():
    embed, attention, add = embedding(), layers.MultiHeadAttention(1, 2, name="attention"), layers.Add(name="add")

    def model(ids):
        hidden = embed(ids)
        return add([hidden, attention(hidden, hidden)])

    assert woven(trace_masks(model, IDS)) == {
        ("batch", "embedding", "", ""), ("embedding", "attention", "mask", ""), ("embedding", "add", "", "start"),
        ("attention", "add", "mask", ""), ("add", "answer", "", "start")}


@pytest.mark.parametrize("kind", [list, dict])
def test_each_input_of_the_batch_has_its_own_place_and_tokens(kind):
    embed, add = embedding(), layers.Add(name="add")
    arrays = {"a": IDS, "b": IDS[::-1].copy()}
    given = arrays if kind is dict else list(arrays.values())
    flow = trace_masks(lambda inputs: add([embed(ids) for ids in keras.tree.flatten(inputs)]), given).flow
    names = ["batch.a", "batch.b"] if kind is dict else ["batch.0", "batch.1"]
    assert [step.label for step in flow.steps[:2]] == [f"{name} (2, 4)" for name in names]
    for step, array in zip(flow.steps[2:4], arrays.values(), strict=True):
        np.testing.assert_array_equal(step.tokens, array)
    assert [(edge.start, edge.end) for edge in flow.edges][:2] == [(0, 2), (1, 3)]


def test_a_layer_that_uses_the_mask_up_cuts_nothing():
    assert {edge.cut for edge in trace_masks(sequential(), IDS).flow.edges} == {""}


@pytest.mark.parametrize("all_steps", [False, True])
def test_a_mask_that_is_not_handed_over_dies_at_the_end_of_its_edge(all_steps):
    embed, lstm = embedding(), layers.LSTM(2, return_sequences=all_steps, name="lstm")
    trace = trace_masks(lambda ids: lstm(embed(ids), initial_state=[np.zeros((2, 2), "float32")] * 2), IDS)
    assert trace[1].fate == "not handed over"
    assert ("embedding", "lstm", "mask", "end") in woven(trace)


def test_a_mask_on_a_tensor_without_time_is_stale():
    class Mean(layers.Layer):
        def call(self, inputs):
            return keras.ops.mean(inputs, axis=1)

    embed, mean = embedding(), Mean(name="mean")
    mean.supports_masking = True
    trace = trace_masks(lambda ids: mean(embed(np.tile(ids, 2))), IDS)
    assert (trace[1].fate, trace[1].stale, trace[1].offends) == ("passed", "(2, 8) on (2, 4)", True)
    assert [edge.stale for edge in trace.flow.edges] == [False, True]
    assert "passed, stale: (2, 8) on (2, 4)" in trace.figure().source


def test_an_operation_inside_a_layer_that_keeps_the_mask_cuts_nothing():
    class Doubles(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    embed, doubles = embedding(), Doubles(name="doubles")
    doubles.supports_masking = True
    trace = trace_masks(lambda ids: doubles(embed(ids)), IDS)
    assert trace.ok and [step.label for step in trace.flow.steps[1:-1]] == ["embedding (Embedding)", "doubles (Doubles)"]


def test_a_mask_from_the_side_is_drawn_with_where_it_comes_from():
    embed, lstm = layers.Embedding(5, 4, name="embedding"), layers.LSTM(2, name="lstm")
    by_hand = trace_masks(lambda ids: lstm(embed(ids), mask=keras.ops.not_equal(ids, 0)), IDS)
    assert [step.given for step in by_hand.flow.steps] == ["", "", "mask by hand", ""]
    assert "mask by hand" in by_hand.figure().source


def test_symbolic_tensors_are_traced_and_drawn():
    embed, flatten = embedding(), layers.Flatten(name="flatten")
    trace = trace_masks(lambda ids: flatten(embed(ids)), keras.Input((4,), dtype="int32"))
    assert fates(trace) == [("embedding", "made"), ("flatten", "dropped")]
    assert "flatten (Flatten)" in trace.figure().source


@pytest.mark.parametrize("batch", [tf.ragged.constant([[1, 2], [3]]), [IDS, None], (IDS, 3.0), IDS.tolist(), tf.constant(IDS)])
def test_whatever_a_model_takes_can_be_drawn(batch):
    embed, pool = embedding(), layers.GlobalAveragePooling1D(name="pool")

    def model(given):
        given = given if hasattr(given, "shape") or not hasattr(given[0], "shape") else given[0]
        return pool(embed(given.to_tensor() if hasattr(given, "to_tensor") else np.asarray(given)))

    trace = trace_masks(model, batch)
    assert fates(trace) == [("embedding", "made"), ("pool", "used")] and "pool" in trace.figure().source


@pytest.mark.tensorflow
def test_frames_are_closed_at_a_depth():
    inside = keras.Sequential([layers.Dropout(0.5, name="dropout"), layers.Dense(3, name="dense")], name="inside")
    model = keras.Sequential([embedding(), inside], name="model")
    flow = trace_masks(model, IDS).flow
    names = {depth: [step.label.partition(" ")[0] for step in closed(flow, depth).steps] for depth in (0, 1, 2)}
    assert names == {0: ["batch", "model", "answer"], 1: ["batch", "embedding", "inside", "answer"],
                     2: ["batch", "embedding", "dropout", "dense", "answer"]}
    assert len(closed(flow, 1).edges) == 3
    drawn = [">dropout (Dropout)</text>" in trace_masks(model, IDS).figure(depth=depth).source for depth in (1, 2)]
    assert drawn == [False, True]


def test_a_trace_shows_no_verdict(monkeypatch):
    trace = trace_masks(keras.Sequential([embedding(), layers.Flatten(name="flatten")], name="model"), IDS)
    assert trace._repr_html_() is None and "BROKEN" not in trace.text() + trace.to_json() + trace.verdict
    assert (trace.verdict, trace_masks(sequential(), IDS).verdict) == ("mask lost: flatten", "no mask is lost")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert trace._repr_svg_() is None and trace._repr_html_().startswith("<table>") and "BROKEN" not in trace._repr_html_()


def test_the_mask_is_read_before_attention_strips_it():
    embed, attention = embedding(), layers.MultiHeadAttention(1, 2)
    hidden = embed(IDS)
    row = trace_masks(lambda tensor: attention(tensor, tensor), hidden)[0]
    assert row.stripped and get_mask(hidden) is None
    np.testing.assert_array_equal(row.mask_in[0], MASK)
