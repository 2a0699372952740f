"""The layer atlas: the stored survey is what the installed Keras does, and the survey sees what a layer does."""

import inspect
import json
import random

import keras
import numpy as np
import pytest
from keras import layers, ops

from masking_tutorial.atlas import FATES, Atlas, LayerRow, layer_atlas, survey_layer, survey_layers
from masking_tutorial.mask_generation import get_mask

ATLAS = layer_atlas()
CLASSES = {member for member in vars(layers).values() if inspect.isclass(member)}


# The stored data.


@pytest.mark.thorough
def test_the_stored_atlas_is_what_a_survey_finds():
    differences = ATLAS.differences(survey_layers())
    assert not differences, "\n".join([
        f"Keras {keras.__version__} does not do what the atlas of Keras {ATLAS.keras_made} says;",
        "if that is right, renew the data as the end of nbs/10_layer_atlas.ipynb says:", *differences])


def test_every_class_has_a_row_and_no_alias_has():
    assert {getattr(layers, row.name) for row in ATLAS} == CLASSES
    assert len({row.name for row in ATLAS}) == len(CLASSES)


def test_a_row_is_complete_or_says_why_not():
    for row in ATLAS:
        assert row.fate in FATES
        measured = all([row.mask, row.graph, row.uses, row.mixes, row.warned, row.strips, row.empty])
        assert measured != bool(row.note), row


def test_rows_are_told_apart_by_what_is_printed():
    printed = repr(ATLAS).splitlines()
    assert len(printed) == len(set(printed)) == len(ATLAS) + 2


@pytest.mark.parametrize("seed", [1, 2])
def test_verdicts_do_not_depend_on_the_weights(seed):
    keras.utils.set_random_seed(seed)
    names = ["Conv1D", "GlobalMaxPooling1D", "GroupNormalization", "LSTM", "MultiHeadAttention", "RandomFlip"]
    assert ATLAS.where(name=tuple(names)).differences(survey_layers(names)) == []


# The survey, on layers of which we know what they do.


class Known(layers.Layer):
    """A layer with a given call and compute_mask."""

    def __init__(self, supports=True):
        super().__init__()
        self.supports_masking = supports


class Pointwise(Known):
    def call(self, inputs):
        return inputs * 2


class Shifted(Known):
    """Each step gets the value of another one as well."""

    def __init__(self, back):
        super().__init__()
        self.back = back

    def call(self, inputs):
        zeros = ops.zeros_like(inputs[:, :1])
        moved = [zeros, inputs[:, :-1]] if self.back else [inputs[:, 1:], zeros]
        return inputs + ops.concatenate(moved, axis=1)


class Multiplied(Known):
    """NaN times zero is NaN."""

    def call(self, inputs, mask=None):
        masked = inputs if mask is None else inputs * ops.cast(mask, "float32")[:, :, None]
        return inputs + ops.sum(masked, axis=1, keepdims=True)


class Guarded(Multiplied):
    def call(self, inputs, mask=None):
        masked = inputs if mask is None else ops.where(mask[:, :, None], inputs, 0)
        return inputs + ops.sum(masked, axis=1, keepdims=True)


class Ending(Guarded):
    def call(self, inputs, mask=None):
        return ops.sum(inputs if mask is None else ops.where(mask[:, :, None], inputs, 0), axis=1)

    def compute_mask(self, inputs, mask=None):
        return None


class Forgetting(Guarded):
    def compute_mask(self, inputs, mask=None):
        return None


class Silent(Pointwise):
    def compute_mask(self, inputs, mask=None):
        return None


class Stale(Known):
    def call(self, inputs):
        return inputs[:, 2:]


class AllValid(Pointwise):
    def compute_mask(self, inputs, mask=None):
        return None if mask is None else ops.ones_like(mask)


class Shortened(Known):
    def call(self, inputs):
        return inputs[:, 1:]

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[:, 1:]


class Neighbours(Known):
    def call(self, inputs):
        return inputs + ops.mean(inputs, axis=0, keepdims=True)


class InTraining(Known):
    def call(self, inputs, training=False):
        return inputs + ops.mean(inputs, axis=1, keepdims=True) if training else inputs * 1


class Making(Known):
    def call(self, inputs):
        return inputs * 2

    def compute_mask(self, inputs, mask=None):
        return ops.any(ops.not_equal(inputs, 0), axis=-1)


class Refusing(Known):
    def call(self, inputs, mask=None):
        if mask is not None:
            raise ValueError("no mask is wanted here")
        return inputs


class Dividing(Ending):
    def call(self, inputs, mask=None):
        if mask is None:
            return ops.mean(inputs, axis=1)
        valid = ops.where(mask[:, :, None], inputs, 0)
        return ops.sum(valid, axis=1) / ops.sum(ops.cast(mask, "float32"), axis=1)[:, None]


class TwoOutputs(Known):
    """Only the second output leaks."""

    def call(self, inputs):
        return inputs * 2, inputs + ops.mean(inputs, axis=1, keepdims=True)

    def compute_mask(self, inputs, mask=None):
        return mask, mask


@pytest.mark.parametrize(
    "layer, expected",
    [
        (Pointwise(), {"fate": "passes", "mixes": "no", "leaks": "no", "empty": "step by step", "uses": "no"}),
        (Pointwise(supports=False), {"fate": "drops, warns", "warned": "yes", "leaks": "no", "mixes": "no"}),
        (Silent(), {"fate": "drops silently", "warned": "no", "mask": "none"}),
        (Shifted(back=True), {"fate": "passes", "mixes": "steps", "leaks": "left", "empty": "reads padding"}),
        (Shifted(back=False), {"fate": "passes", "mixes": "steps", "leaks": "right"}),
        (Multiplied(), {"fate": "uses, passes", "leaks": "NaN", "uses": "yes"}),
        (Guarded(), {"fate": "uses, passes", "leaks": "no", "mixes": "steps", "empty": "step by step"}),
        (Ending(), {"fate": "ends", "leaks": "no", "empty": "zeros"}),
        (Forgetting(), {"fate": "uses, then drops", "warned": "no"}),
        (Dividing(), {"fate": "ends", "empty": "NaN"}),
        (Stale(), {"fate": "changes", "mask": "stale", "graph": "stale"}),
        (AllValid(), {"fate": "changes", "mask": "all valid", "leaks": "yes"}),
        (Shortened(), {"fate": "changes", "mask": "changed", "graph": "changed", "leaks": "no"}),
        (Neighbours(), {"fate": "passes", "mixes": "sequences", "leaks": "yes"}),
        (InTraining(), {"leaks": "no", "mixes": "no", "training": "mixes steps, leaks yes"}),
        (Making(), {"fate": "makes", "mask": "same", "graph": "same", "leaks": ""}),
        (Refusing(), {"fate": "raises", "note": "ValueError: no mask is wanted here"}),
        (TwoOutputs(), {"fate": "passes", "leaks": "yes"}),
        (layers.Conv1D(3, 2, padding="same"), {"leaks": "right"}),
        (layers.AveragePooling1D(2), {"mixes": "steps", "leaks": "yes"}),
        (layers.MaxPooling1D(2), {"mixes": "steps", "leaks": "yes"}),
        (layers.Flatten(), {"mixes": "no", "leaks": "no", "fate": "drops, warns"}),
        (layers.MultiHeadAttention(1, 2), {"strips": "yes"}),
        (layers.SpectralNormalization(layers.Dense(2)), {"fate": "rides along", "mask": "same", "graph": "none"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_the_survey_sees_what_a_layer_does(layer, expected):
    inputs = [np.random.default_rng(0).normal(size=(4, 8, 5)).astype("float32")]
    row = survey_layer(layer, *inputs * (2 if isinstance(layer, layers.MultiHeadAttention) else 1))
    assert {name: getattr(row, name) for name in expected} == expected, str(row)


def test_a_constant_output_for_an_empty_sequence():
    class FromOnes(Ending):
        def call(self, inputs, mask=None):
            return super().call(inputs, mask) + 1

    assert survey_layer(FromOnes()).empty == "constant"


def test_inputs_without_a_mask_may_have_other_steps_and_are_not_changed():
    values = np.random.default_rng(0).normal(size=(4, 8, 5)).astype("float32")
    queries = values[:, 3:5] + 1
    row = survey_layer(layers.Attention(), [queries, values], masks=(False, True))
    assert (row.fate, row.leaks, row.empty) == ("ends", "NaN", "reads padding")


def test_ids_and_words():
    ids = np.random.default_rng(0).integers(1, 9, (12, 8))
    assert survey_layer(layers.Embedding(9, 2), ids).fate == "drops, warns"
    assert survey_layer(layers.CategoryEncoding(9), ids).leaks == "yes"
    words = np.random.default_rng(0).choice(list("abc"), (4, 8))
    assert survey_layer(layers.StringLookup(vocabulary=list("abc")), words).leaks == "no"


# What the survey leaves behind: nothing.


def test_the_survey_leaves_states_and_generators_as_they_were():
    random.seed(7)
    np.random.seed(7)
    layer = layers.BatchNormalization()
    x = np.random.default_rng(0).normal(size=(4, 8, 5)).astype("float32")
    layer(x)
    stateful = layers.LSTM(3, stateful=True)
    noise = layers.GaussianNoise(1.0, seed=0)
    noise(x, training=True)
    before = [variable.numpy() for variable in layer.variables + noise.variables]
    states = random.getstate(), np.random.get_state()[1].tolist(), layers.Layer.__call__
    for surveyed in (layer, stateful, noise):
        survey_layer(surveyed, x)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, layer.variables + noise.variables))
    assert all(not ops.any(state) for state in stateful.states)
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), layers.Layer.__call__)


def test_a_tensor_of_the_caller_gets_no_mask():
    x = ops.ones((4, 8, 5))
    survey_layer(layers.Dense(2), x)
    assert get_mask(x) is None


# What is asked for wrongly.


@pytest.mark.parametrize(
    "shapes, masks, message",
    [
        ([(3, 8, 5)], None, r"axes \[\(3, 8\)\]: all must begin with the same batch, a multiple of 4"),
        ([(4, 6, 5)], None, "more than 6 steps"),
        ([(4, 8, 5), (4, 9, 5)], None, r"\[\(4, 8\), \(4, 9\)\]"),
        ([(4,)], None, r"\[\(4,\)\]"),
        ([(4, 8, 5)], (True, False), "an entry for each of the 1 inputs"),
        ([(4, 8, 5)], (False,), "not all of them False"),
    ],
)
def test_unfit_inputs_are_refused(shapes, masks, message):
    with pytest.raises(ValueError, match=message):
        survey_layer(layers.Add(), [np.ones(shape, "float32") for shape in shapes], masks=masks)


def test_a_layer_that_raises_without_a_mask_is_no_row():
    with pytest.raises(ValueError, match="incompatible with the layer"):
        survey_layer(layers.Conv2D(2, 3))


@pytest.mark.parametrize(
    "asked, message",
    [
        ("conv1d", "no layer 'conv1d': did you mean Conv1D"),
        ("LayerNorm", "did you mean .*LayerNormalization"),
        ("Quux", "the atlas has no layer 'Quux'$"),
        ("Input", "the atlas has no layer 'Input'"),
        (Pointwise, "the class Pointwise is not in keras.layers: survey it with survey_layer"),
        (Pointwise(), "the class Pointwise is not in keras.layers"),
    ],
)
def test_an_unknown_layer_is_refused_with_near_names(asked, message):
    with pytest.raises(ValueError, match=message):
        layer_atlas(asked)


def test_a_class_of_the_same_name_is_not_taken_for_that_of_keras():
    class Conv1D(layers.Conv1D):
        pass

    with pytest.raises(ValueError, match="Conv1D is not in keras.layers"):
        layer_atlas(Conv1D)


def test_each_class_can_be_looked_up_by_all_its_names():
    for name, member in vars(layers).items():
        if inspect.isclass(member):
            assert layer_atlas(name) == layer_atlas(member) != [], name


def test_an_unknown_name_is_not_surveyed():
    with pytest.raises(ValueError, match="no layer 'Conv9D': did you mean Conv"):
        survey_layers(["Conv9D"])


def test_an_unknown_column_is_refused():
    with pytest.raises(ValueError, match="there is no column leak: the columns are name, call"):
        ATLAS.where(leak="yes")


def test_classes_of_a_later_keras_are_tried_and_listed(monkeypatch):
    class NewLayer(Pointwise):
        def __init__(self):
            super().__init__()

    class NeedsMuch(Pointwise):
        def __init__(self, much):
            super().__init__()

    for new_class in (NewLayer, NeedsMuch):
        monkeypatch.setattr(layers, new_class.__name__, new_class, raising=False)
    passed, listed = survey_layers(["NewLayer", "NeedsMuch"])
    assert (passed.fate, passed.call) == ("passes", "NewLayer()")
    assert listed.fate == "not surveyed" and "missing 1 required positional argument: 'much'" in listed.note
    assert ATLAS.differences(Atlas([*ATLAS, passed], "4.0.0")) == ["+ NewLayer(): only in the second survey"]


# Differences, files and pictures.


def test_differences_are_named_row_by_row():
    first = ATLAS.where(name=("Add", "Conv1D", "Dense", "Dot"))
    rows = [row._replace(leaks="no", warned="no") if row.name == "Conv1D" else row for row in first if row.name != "Dense"]
    rows = [row for row in rows if "different" not in row.inputs]
    lines = first.differences(Atlas(rows, "4.0.0"))
    assert lines == [
        "- Add() on two inputs with different masks: only in the first survey",
        "! Conv1D(filters=3, kernel_size=3): leaks was 'yes', is 'no'; warned was 'yes', is 'no'",
        "! Conv1D(filters=3, kernel_size=3, padding='causal'): leaks was 'left', is 'no'; warned was 'yes', is 'no'",
        "! Conv1D(filters=3, kernel_size=3, padding='same'): leaks was 'yes', is 'no'; warned was 'yes', is 'no'",
        "- Dense(units=3): only in the first survey",
    ]


def test_a_saved_atlas_has_a_row_on_each_line(tmp_path):
    ATLAS.save(tmp_path / "atlas.json")
    lines = (tmp_path / "atlas.json").read_text(encoding="utf8").splitlines()
    assert [LayerRow(**json.loads(line.rstrip(","))) for line in lines[1:-1]] == ATLAS
    assert json.loads("\n".join(lines))["keras"] == ATLAS.keras_made
    assert "\n".join(lines) == ATLAS.to_json()


def test_rows_are_a_list_as_in_every_report():
    assert type(ATLAS.rows) is list and ATLAS.rows == ATLAS
    assert ATLAS.rows is not ATLAS


def test_what_is_stored_says_how_each_layer_is_made():
    # a survey makes the layers as the rows say, so a row that could not be read would never be renewed
    for row in ATLAS:
        assert row.call.partition("(")[0] == row.name
        assert ("(" in row.call) == (row.fate != "not surveyed")
    assert survey_layers(["InputSpec"]) == ATLAS.where(name="InputSpec")


def test_an_atlas_of_another_keras_says_so():
    old = Atlas(ATLAS[:3], "3.0.0")
    for text in (repr(old), old._repr_html_(), repr(Atlas([], "3.0.0"))):
        assert f"made with Keras 3.0.0; here is Keras {keras.__version__}" in text
    assert "here is" not in repr(Atlas(ATLAS, keras.__version__))


def test_html_is_escaped():
    row = ATLAS[0]._replace(call="Lambda(<b>)")
    for rows in ([row], [row, ATLAS[-1]]):
        assert "&lt;b&gt;" in Atlas(rows, "1")._repr_html_() and "<b>" not in Atlas(rows, "1")._repr_html_()


def test_the_figure_names_each_layer_once_and_shows_leaks_in_red():
    source = ATLAS.figure().source
    for name in {row.name for row in ATLAS if len(row.name) < 30}:
        assert source.count(f">{name}</text>") == 1, name
    assert "passes 26" in repr(ATLAS.figure())
