"""Accuracy, outcomes over seeds and their figure, on small and on bad input; and the outcomes that the course stores."""

import builtins
import random
import xml.etree.ElementTree as ElementTree

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking_tutorial.batching import Batches
from masking_tutorial.reports import LEAK, VALID
from masking_tutorial.training import Outcomes, accuracy, over_seeds, show_outcomes

SMALL = {
    ("a", "short", "lost"): [0.25, 0.75],
    ("a", "long", "lost"): [0.0, 0.5],
    ("a", "short", "kept"): [1.0, 0.5],
    ("b", "short", "lost"): [0.125, 0.125],
}


@pytest.fixture
def small():
    return Outcomes([3, 5], SMALL)


# Accuracy.


def answering(*logits):
    return lambda x: np.array(logits, "float32")


@pytest.mark.parametrize(
    "logits, labels, share",
    [
        ([[1.0], [-1.0], [2.0], [-2.0]], [1, 0, 0, 1], 0.5),
        ([[1.0], [-1.0]], [True, False], 1),
        ([[1.0], [-1.0]], [[1], [0]], 1),  # labels (batch, 1), as Keras' losses take them
        ([[0.0], [1.0]], [0, 1], 1),  # a logit of 0 is not positive
        ([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [2, 0], 1),
        ([[-1.0, -2.0], [-1.0, -2.0]], [0, 1], 0.5),
    ],
)
def test_accuracy_counts_right_answers(logits, labels, share):
    assert accuracy(answering(*logits), [(None, np.array(labels))]) == share


def test_accuracy_counts_sequences_and_not_batches():
    batches = [(np.ones((3, 1)), np.ones(3)), (-np.ones((1, 1)), np.ones(1))]
    assert accuracy(lambda x: x, batches) == 0.75


def test_accuracy_reads_the_batcher_and_a_keras_model():
    sequences, labels = [[1], [2, 3], [1, 1, 1], [3, 2]], [False, True, False, True]
    model = keras.Sequential([keras.layers.Embedding(4, 1, mask_zero=True), keras.layers.GlobalAveragePooling1D()])
    model(np.array([[1]]))
    model.set_weights([np.array([[0.0], [-1.0], [1.0], [1.0]])])
    for size in (1, 3, 4):
        assert accuracy(model, Batches(sequences, labels, batch_size=size)) == 1


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        ([[1.0], [np.nan]], [1, 0], "batch 0: the answer for sequence 1 is not finite"),
        ([[1.0, np.inf], [0.0, 0.0]], [1, 0], "batch 0: the answer for sequence 0 is not finite"),
        ([1.0, 2.0], [1, 0], r"answers of shape \(2,\) for 2 labels"),
        ([[1.0], [2.0]], [1, 0, 1], r"shape \(2, 1\) for 3 labels"),
        ([[[1.0]], [[2.0]]], [1, 0], r"shape \(2, 1, 1\) for 2 labels"),
        ([[1.0], [2.0]], [-1, 1], "the labels are -1 to 1, but 2 classes are numbered from 0 to 1"),
        ([[1.0, 2.0, 3.0]], [3], "the labels are 3 to 3, but 3 classes are numbered from 0 to 2"),
        ([[1.0]], [0.5], "the labels are 0.5 to 0.5"),
    ],
)
def test_accuracy_refuses_what_it_cannot_count(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        accuracy(answering(*logits), [(None, np.array(labels))])


def test_accuracy_names_the_batch():
    with pytest.raises(ValueError, match="batch 1: the answer for sequence 0"):
        accuracy(lambda x: x, [(np.ones((1, 1)), [1]), (np.full((1, 1), np.nan), [1])])


def test_accuracy_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="there is no batch"):
        accuracy(answering([1.0]), [])


# Outcomes.


def test_outcomes_print_mean_lowest_and_highest(small):
    assert repr(small).splitlines() == [
        "a  short  lost  50% (25 to 75)",
        "a  long   lost  25% (0 to 50)",
        "a  short  kept  75% (50 to 100)",
        "b  short  lost  12% (12 to 12)",
    ]


def test_names_are_in_order_and_of_one_panel(small):
    assert [small.names(place) for place in range(3)] == [["a", "b"], ["short", "long"], ["lost", "kept"]]
    assert small.names(1, "b") == ["short"]


@pytest.mark.parametrize(
    "accuracies, message",
    [
        ([0.5], "a, b, c: 1 numbers for 2 seeds"),
        ([0.5] * 3, "a, b, c: 3 numbers for 2 seeds"),
        ([0.5, 1.5], "a, b, c: .* is not from 0 to 1"),
        ([-0.1, 0.5], "a, b, c: .* is not from 0 to 1"),
        ([np.nan, 0.5], "a, b, c: .* is not from 0 to 1"),
    ],
)
def test_outcomes_refuse_other_numbers(accuracies, message):
    with pytest.raises(ValueError, match=message):
        Outcomes([0, 1], {("a", "b", "c"): accuracies})


def test_difference_compares_the_same_seeds(small):
    fewer = Outcomes([5], {("a", "short", "lost"): [0.5], ("a", "long", "lost"): [0.5]})
    assert fewer.difference(small) == 0.25  # with seed 5, and not with seed 3
    assert small.difference(small) == 0


def test_difference_is_the_largest_of_all(small):
    backwards = Outcomes([5, 3], {key: accuracies[::-1] for key, accuracies in SMALL.items()})
    assert small.difference(backwards) == 0
    backwards.values["b", "short", "lost"][0] = 1
    assert small.difference(backwards) == 0.875


numbers = st.lists(st.integers(0, 1000).map(lambda thousandth: thousandth / 1000), min_size=2, max_size=2)


@given(values=st.dictionaries(st.tuples(*[st.text(max_size=5)] * 3), numbers, min_size=1, max_size=4))
def test_saved_outcomes_come_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("outcomes") / "found.json"
    Outcomes([0, 7], values).save(path)
    loaded = Outcomes.load(path)
    assert loaded.seeds == [0, 7] and list(loaded.values) == list(values)
    assert all(np.array_equal(loaded[key], accuracies) for key, accuracies in values.items())


def test_a_line_of_the_file_is_an_entry(small, tmp_path):
    small.save(tmp_path / "found.json")
    assert (tmp_path / "found.json").read_text().splitlines()[1] == '["a", "short", "lost", [0.25, 0.75]],'


# Runs over seeds.


def test_each_experiment_runs_once_for_each_seed(capsys):
    calls = []

    def experiment(seed):
        calls.append(seed)
        return {"short": random.random(), "long": float(np.random.random())}

    outcomes = over_seeds({("a", "lost"): experiment, ("a", "kept"): experiment}, seeds=[4, 2])
    assert calls == [4, 4, 2, 2] and outcomes.seeds == [4, 2]
    # every run begins with its own seed, so it does not depend on those before
    for way in ("short", "long"):
        assert np.array_equal(outcomes["a", way, "lost"], outcomes["a", way, "kept"])
        assert outcomes["a", way, "lost"][0] != outcomes["a", way, "lost"][1]
    assert capsys.readouterr() == ("4 runs: ■■■■ done\n", "")


def test_a_mark_is_written_after_each_run(capsys):
    seen = []

    def experiment(seed):
        seen.append(capsys.readouterr().out)
        return {"short": 0.5}

    over_seeds({("a", "lost"): experiment}, seeds=(seed for seed in range(3)))
    assert seen == ["3 runs: ", "■", "■"]


def test_ways_that_are_missing_for_a_seed_are_an_error():
    with pytest.raises(ValueError, match="a, odd, lost: 1 numbers for 2 seeds; each experiment must return the same ways"):
        over_seeds({("a", "lost"): lambda seed: {"odd": 1} if seed % 2 else {"even": 1}}, seeds=[1, 2])


# The figure.


def circles(svg, color):
    """How many points of a color the figure has."""
    root = ElementTree.fromstring(svg.source)
    return sum(f"fill: {color}" in use.get("style", "") for use in root.iter("{http://www.w3.org/2000/svg}use"))


def test_the_figure_has_a_point_for_each_seed(small):
    picture = show_outcomes(small)
    assert circles(picture, LEAK) == 6 and circles(picture, VALID) == 2
    for text in ("a", "b", "short", "long", "lost", "kept", "80%"):
        assert f">{text}<" in picture.source
    assert repr(small) in repr(picture)


def test_the_figure_shows_a_part_and_nothing_outside_of_it(small):
    fewer = Outcomes(
        [3, 5], {key: accuracies for key, accuracies in SMALL.items() if key[1] == "short" and key[0] == "a"})
    picture = show_outcomes(fewer, limits=(0.2, 1.0))
    assert circles(picture, LEAK) == 2 and ">0%<" not in picture.source and ">40%<" in picture.source
    for limits in ((0.3, 1.0), (0.2, 0.9)):
        with pytest.raises(ValueError, match=r"^a, short, (lost|kept): .* is not within the limits"):
            show_outcomes(fewer, limits=limits)


def test_the_figure_takes_other_colors(small):
    picture = show_outcomes(small, {"lost": "#123456", "kept": "#654321"})
    assert circles(picture, "#123456") == 6 and circles(picture, "#654321") == 2


def test_the_figure_needs_a_color_for_each_series(small):
    with pytest.raises(ValueError, match="no color for kept"):
        show_outcomes(small, {"lost": "#123456"})
    with pytest.raises(ValueError, match="3 series, but only two have a color"):
        show_outcomes(Outcomes([0], {("a", "b", name): [0.5] for name in "cde"}))


def test_without_matplotlib_the_table_is_there(small, monkeypatch):
    real = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    picture = show_outcomes(small)
    assert picture.source is None and repr(picture) == repr(small)


# What the course stores.


def test_the_stored_outcomes_are_laid_out_as_save_writes_them(tmp_path):
    from masking_tutorial.datasets import data_file

    Outcomes.load().save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == data_file("training.json").read_text()


def test_the_stored_outcomes_have_ten_seeds_and_both_series():
    stored = Outcomes.load()
    assert stored.seeds == list(range(10))
    assert stored.names(2) == ["mask lost", "mask kept"]
    assert all(stored.names(1, panel) == ["similar lengths", "mixed lengths", "fixed length"] for panel in stored.names(0))
