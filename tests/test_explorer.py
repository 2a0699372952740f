"""The explorer: its frames are those of a trace, its errors those of the ruler, and its page works beside another one."""

import json
import re

import keras
import numpy as np
import pytest
from bs4 import BeautifulSoup
from keras import layers, ops

from masking_tutorial import MaskedAdd, explore, get_mask, mask_from_lengths, mend, padding_error, trace_masks
from masking_tutorial.explorer import MARKS, Grid

pytestmark = pytest.mark.usefixtures("seeded")

SEQUENCES = [[3, 7, 9], [4, 8, 5, 2, 6], [1, 2, 3, 4, 5, 6]]
LENGTHS = [len(sequence) for sequence in SEQUENCES]
VALID = mask_from_lengths(LENGTHS)
IDS = np.where(VALID, [[*sequence, 0, 0, 0][:6] for sequence in SEQUENCES], 0)
AMOUNTS = range(4)


@pytest.fixture(scope="module")
def pair():
    """Functions of the same layers: one multiplies and loses the mask, the other hands it over."""
    keras.utils.set_random_seed(0)
    embedding, pool = layers.Embedding(10, 2, "random_normal", mask_zero=True, name="embedding"), layers.GlobalAveragePooling1D(name="pool")

    def broken(ids):
        return pool(embedding(ids) * 50)

    def repaired(ids):
        x = embedding(ids)
        return pool(x * 50, mask=get_mask(x))

    return broken, repaired


@pytest.fixture(scope="module")
def shown(pair):
    return explore(pair[0], IDS, mended=pair[1], amounts=AMOUNTS)


def page_of(*explorers):
    return BeautifulSoup("".join(explorer._repr_html_() for explorer in explorers), "html.parser")


def marks_of(mask):
    """What a grid shows for a mask of this batch."""
    pairs = {(True, True): "1", (False, False): "0", (True, False): "!", (False, True): "x"}
    return ["".join(pairs[bool(marked), bool(valid)] for marked, valid in zip(*rows)) for rows in zip(mask, VALID)]


# Frames.


@pytest.mark.tensorflow  # other backends have no operations between layers
def test_the_frames_are_those_of_the_trace(shown, pair):
    for version, model in zip(shown.versions, pair):
        trace = trace_masks(model, IDS)
        first, *frames = shown.versions[version]
        assert first.name == "the batch" and first.gives[0].marks == marks_of(VALID)
        assert [frame.name for frame in frames] == [f"{row.name} ({row.class_name})" for row in trace]
        assert [frame.words for frame in frames] == ["" if row.fate == "none" else row.words for row in trace]
        assert [frame.offends for frame in frames] == [row.offends for row in trace]
        for frame, row in zip(frames[:-1], trace):
            gone = np.ones_like(VALID) if row.mask_out is None else row.mask_out
            assert [grid.marks for grid in frame.gives] == [marks_of(gone)]
    assert [grid.marks for grid in shown.versions["as it is"][-1].reads] == [marks_of(np.ones_like(VALID))]
    (read,) = shown.versions["repaired"][-1].reads
    assert read.marks == marks_of(VALID) and read.words == "mask by hand"


def test_a_grid_tells_what_counts_from_what_is_valid():
    counts, valid = np.array([[True, True, False, False]]), np.array([[True, False, True, False]])
    assert Grid("", "", counts, valid, None).marks == ["1!x0"]
    assert Grid("", "", counts, None, None).marks == ["1100"]
    assert Grid("", "", None, None, None).marks == []
    assert set("1!x0") == set(MARKS)


def test_a_merge_reads_two_tensors_and_a_mask_that_was_taken_off():
    embedding, attention = layers.Embedding(10, 4, mask_zero=True, name="embedding"), layers.MultiHeadAttention(1, 4, name="attention")
    add, pool = layers.Add(name="add"), layers.GlobalAveragePooling1D(name="pool")

    def block(ids):
        x = embedding(ids)
        return pool(add([x, attention(x, x)]))

    frames = {frame.name: frame for frame in explore(block, IDS, amounts=[0]).versions["as it is"]}
    assert {grid.title: (grid.marks, grid.words) for grid in frames["add (Add)"].reads} == {
        "embedding": (marks_of(np.ones_like(VALID)), "mask taken off: every step counts"),
        "attention": (marks_of(VALID), "mask")}


def test_a_mask_that_is_not_handed_over_does_not_count():
    embedding, gru = layers.Embedding(10, 4, mask_zero=True, name="embedding"), layers.GRU(2, name="gru")
    frame = explore(lambda ids: gru(embedding(ids), initial_state=ops.ones((len(ids), 2))), IDS, amounts=[0]).versions["as it is"][-1]
    (read,) = frame.reads
    assert frame.words == "not handed over" and read.marks == marks_of(np.ones_like(VALID))
    assert read.words == "mask not handed over: every step counts"


def test_a_stale_mask_is_not_drawn_on_the_steps_of_the_batch():
    class EverySecond(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, x):
            return x[:, ::2]

    model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True, name="embedding"), EverySecond(name="second"),
                              layers.GRU(2, unroll=True, name="gru")], name="model")
    frame = explore(model, IDS, amounts=[0]).versions["as it is"][2]
    (gives,) = frame.gives
    assert "stale" in frame.words and gives.words == "mask of 6 steps, on (3, 3, 4)"
    assert gives.valid is None and gives.tokens is None and gives.marks == ["111000", "111110", "111111"]


# Answers.


@pytest.mark.parametrize("side", ["post", "pre"])
def test_the_error_is_that_of_the_ruler(pair, side):
    batch = IDS if side == "post" else np.stack([np.roll(row, 6 - length) for row, length in zip(IDS, LENGTHS)])
    shown = explore(pair[0], batch, mended=pair[1], amounts=AMOUNTS)
    for version, model in zip(shown.versions, pair):
        errors = [row.error for row in shown.of(version)]
        assert np.allclose(
            errors, [padding_error(model, SEQUENCES, maxlen=6 + more, padding=side) for more in AMOUNTS], atol=1e-7)
    assert all(row.error > 0.01 and row.offends for row in shown.of("as it is"))
    assert all(row.error < 1e-6 and not row.offends and not any(row.moves) for row in shown.of("repaired"))
    assert not shown.ok and "BROKEN as it is" in shown.verdict and "KEPT repaired" in shown.verdict


def test_the_answers_are_those_of_the_model(pair, shown):
    longest = shown.of("as it is")[-1]
    assert longest.more == 3
    padded = ops.convert_to_numpy(pair[0](np.pad(IDS, ((0, 0), (0, 3)))))
    assert all(np.isclose(padded[row], number).any() for row, number in enumerate(longest.answers))
    alone = [ops.convert_to_numpy(pair[0](np.array([sequence])))[0] for sequence in SEQUENCES]
    apart = np.array([np.abs(output - expected).max() for output, expected in zip(padded, alone)])
    assert np.allclose(longest.moved, apart, atol=1e-6) and np.isclose(longest.error, apart.max(), atol=1e-6)
    # the longest sequence has no padding yet, so its answer does not move
    assert shown.of("as it is")[0].moves == (True, True, False)


def test_answers_at_each_step_are_compared_at_valid_steps():
    model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True, name="embedding"), layers.GRU(3, return_sequences=True)], name="m")
    assert explore(model, IDS, amounts=AMOUNTS).ok
    shown = explore(lambda ids: model.layers[1](model.layers[0](ids) * 2), IDS, amounts=AMOUNTS)
    assert shown.ok  # after the data, a GRU reads padding too late to change a valid step
    backwards = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")
    assert not explore(lambda ids: backwards(model.layers[0](ids) * 2), IDS, amounts=AMOUNTS).ok


def test_several_inputs_by_name_and_features():
    ids, speeds = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None, 2), name="speeds")
    embedding = layers.Embedding(10, 2, mask_zero=True, name="embedding")
    adds = {add: keras.Model({"ids": ids, "speeds": speeds}, layers.GlobalAveragePooling1D(name="pool")(add(name="add")([embedding(ids), speeds])),
                             name=add.__name__) for add in (layers.Add, MaskedAdd)}
    broken, repaired = adds.values()
    repaired.set_weights(broken.get_weights())
    batch = {"ids": IDS, "speeds": np.random.default_rng(0).normal(size=(3, 6, 2)) * VALID[..., None]}
    shown = explore(broken, batch, mended=repaired, amounts=AMOUNTS)
    assert shown.name == "Add" and [grid.title for grid in shown.versions["as it is"][0].gives] == ["batch.ids", "batch.speeds"]
    assert all(row.offends for row in shown.of("as it is")) and not any(row.offends for row in shown.of("repaired"))


@pytest.mark.tensorflow  # the only backend with texts
def test_texts_have_a_first_frame_too():
    model = keras.Sequential([layers.StringLookup(vocabulary=list("abcde"), mask_token=""), layers.Embedding(7, 4, mask_zero=True),
                              layers.GlobalAveragePooling1D()], name="of_texts")
    shown = explore(model, np.array([["a", "b", "c"], ["d", "", ""]]), amounts=[0])
    assert shown.ok and shown.versions["as it is"][0].gives[0].marks == ["111", "100"]


def test_of_a_large_batch_sequences_of_different_lengths_are_taken(pair):
    shown = explore(pair[0], np.concatenate([IDS, IDS, IDS]), amounts=[2])
    assert len(shown.alone) == 3 and any("of 9 sequences" in note for note in shown.notes)
    assert np.isclose(shown.rows[0].error, padding_error(pair[0], SEQUENCES, maxlen=8), atol=1e-6)


@pytest.mark.tensorflow
def test_what_mend_gives_is_a_repair():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(10, 4, mask_zero=True, name="embedding")(ids)
    model = keras.Model(ids, layers.GlobalAveragePooling1D(name="pool")(x * 50), name="model")
    shown = explore(model, IDS, mended=mend(model, IDS)[0], amounts=AMOUNTS)
    assert all(row.offends for row in shown.of("as it is")) and not any(row.offends for row in shown.of("repaired"))


def test_one_model_without_a_repair(pair):
    shown = explore(pair[1], IDS, amounts=AMOUNTS)
    assert shown.ok and list(shown.versions) == ["as it is"] and shown.verdict.startswith("KEPT as it is")
    assert not page_of(shown).select("fieldset.choice") and len(page_of(shown).select("polyline")) == 1


def test_up_to_four_sequences_are_all_taken(pair):
    shown = explore(pair[0], IDS[[0, 0, 1, 2]], amounts=[0])
    assert len(shown.alone) == 4 and shown.alone[0] == shown.alone[1]


class Counter(layers.Layer):
    """Counts its calls."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign_add(1)
        return x


def test_the_model_is_left_as_it_was():
    counter = Counter(name="counter")
    model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True), counter, layers.GlobalAveragePooling1D()])
    model(IDS)
    before = float(counter.calls.value)
    explore(model, IDS, amounts=[0, 1])
    assert float(counter.calls.value) == before


# The page.


def test_the_page_is_the_same_each_time(pair, shown):
    again = explore(pair[0], IDS, mended=pair[1], amounts=AMOUNTS)
    assert again._repr_html_() == shown._repr_html_() and repr(again) == repr(shown)


def test_two_on_a_page_do_not_collide(shown):
    page = page_of(shown, shown)
    assert len(page.select("form.mask-explorer")) == 2
    assert not page.select("[id], [for], [aria-labelledby]")  # nothing is found by an id
    for radio in page.select("input[type=radio]"):  # a group of radio buttons ends with its form
        assert radio.find_parent("form") is not None
    for form in page.select("form"):
        for name in {radio["name"] for radio in form.select("input[type=radio]")}:
            assert len(form.select(f"input[name={name}][checked]")) == 1


def test_every_control_has_a_label_and_every_picture_a_text(shown):
    page = page_of(shown)
    assert all(control.find_parent("label") and control.find_parent("label").text.strip() for control in page.select("input"))
    assert page.select("[role=img]") and all(picture["aria-label"].strip() for picture in page.select("[role=img]"))
    assert all(fieldset.find("legend").text.strip() for fieldset in page.select("fieldset"))


def test_the_page_shows_the_marks_of_each_grid(shown):
    page, kinds = page_of(shown), {"1": "v", "0": "p", "!": "l", "x": "x"}
    for number, frames in enumerate(shown.versions.values()):
        drawn = [[[cell["class"][0] for cell in row.select("b")] for row in grid.select(":scope > span")]
                 for grid in page.select(f"fieldset.m{number} .grid")]
        grids = [grid for frame in frames for grid in (*frame.reads, *frame.gives) if grid.marks]
        assert drawn == [[[kinds[mark] for mark in row] for row in grid.marks] for grid in grids]


def test_the_slider_knows_what_the_rows_say(shown):
    form = page_of(shown).find("form")
    known = json.loads(form["data-known"])
    assert known["more"] == list(AMOUNTS) and form.select_one("input[type=range]")["max"] == "3"
    for version, told in zip(shown.versions, known["models"]):
        assert told["errors"] == [shown.written(row.error) for row in shown.of(version)]
        assert told["answers"] == [[shown.written(number) for number in row.answers] for row in shown.of(version)]
        assert told["moves"] == [[int(moves) for moves in row.moves] for row in shown.of(version)]
    # without the script: what the batch itself gives
    for part, version in zip(form.select(".answers"), shown.versions):
        first = shown.of(version)[0]
        assert [cell.text for cell in part.select("td.now")] == [shown.written(number) for number in first.answers]
        assert part.find("output").text == shown.written(first.error)
        assert [len(row.select("i.p:not([hidden])")) for row in part.select("tbody tr")] == [3, 1, 0]


def test_the_text_says_the_same(shown):
    text = repr(shown)
    assert text.splitlines()[0] == f"broken: {shown.verdict}"
    for version, frames in shown.versions.items():
        for frame in frames:
            for grid in (*frame.reads, *frame.gives):
                assert all(row in text for row in grid.marks)
        for row in shown.of(version):
            line = next(line for line in text.splitlines() if re.match(rf"{row.more} ", line))
            assert shown.written(row.error) in line and " ".join(map(shown.written, row.answers)) in line


def test_names_are_escaped(pair):
    shown = explore(pair[0], IDS, amounts=[0], name="<b>'A' & \"B\"</b>")
    form = page_of(shown).find("form")
    assert form["aria-label"] == "explorer: <b>'A' & \"B\"</b>" and form.find("p").text == "<b>'A' & \"B\"</b>"


def test_a_long_batch_and_answers_that_are_not_finite_are_drawn():
    batch = np.zeros((2, 40), "int32")
    batch[0, :30], batch[1] = 1, 2
    embedding = layers.Embedding(3, 2, mask_zero=True, name="embedding")
    shown = explore(lambda ids: ops.log(ops.sum(embedding(ids), axis=(1, 2)) * 0 - ops.cast(ops.shape(ids)[1] > 40, "float32")),
                    batch, amounts=[0, 2])
    assert "nan" in repr(shown) and not shown.ok
    # of many steps the first and the last, where the padding is
    assert "batch 111111…000000" in repr(shown)
    (batch, *_), drawn = shown.versions["as it is"], page_of(shown).select_one(".grid > span")
    assert batch.gives[0].marks[0] == "1" * 30 + "0" * 10
    assert drawn.text == "111111…000000" and [cell["class"] for cell in drawn.select("b")] == [["v"]] * 6 + [["p"]] * 6
    assert "nan" not in page_of(shown).select_one("polyline")["points"]


def test_small_numbers_have_two_digits():
    embedding = layers.Embedding(10, 2, mask_zero=True, name="embedding")
    shown = explore(lambda ids: ops.sum(embedding(ids), axis=(1, 2)) * 1e-4, IDS, amounts=[1])
    assert re.fullmatch(r"0\.0000\d*[1-9]\d*", shown.written(shown.rows[0].error))


# Bad input.


@pytest.mark.parametrize(
    "change, message",
    [
        ({"amounts": [0, -1]}, "amounts holds -1: each must be a number of steps, 0 or more"),
        ({"amounts": [1.5]}, "amounts holds 1.5"),
        ({"amounts": [True]}, "amounts holds True"),
        ({"amounts": []}, "amounts is empty: pass the steps of padding to try"),
        ({"batch": IDS[:1]}, "the batch has 1 sequences .* at least two sequences and some padding are needed"),
        ({"batch": IDS[2:].repeat(2, 0)}, "the batch has 2 sequences and 0 padded steps"),
        ({"batch": np.ones(3)}, "no input has a time axis, so there is no padding"),
        ({"mended": lambda ids: ops.zeros((len(ids), 3))}, r"the model gives .*\(2,\).*, the repaired one .*\(3,\)"),
        ({"mended": lambda ids: ops.zeros((len(ids), 2))}, "answers otherwise, by .*: give it the weights of the first"),
        ({"mended": lambda ids: ids["tokens"]}, r"the repaired model raises on this batch, .* \(it must take the inputs of the first\)"),
    ],
)
def test_bad_input_is_refused(pair, change, message):
    given = {"batch": IDS, "mended": pair[1], "amounts": [0, 1]} | change
    with pytest.raises(ValueError, match=message):
        explore(pair[0], given.pop("batch"), **given)


def test_a_model_of_one_number_of_steps_is_refused():
    model = keras.Sequential([layers.Embedding(10, 4, mask_zero=True), layers.Flatten(), layers.Dense(1)])
    model(IDS)
    with pytest.raises(ValueError, match=r"the model raises for \d steps, .*\(it must take any number of steps"):
        explore(model, IDS, amounts=[0, 1])


def test_an_answer_with_other_steps_is_refused():
    embedding = layers.Embedding(10, 4, mask_zero=True)
    with pytest.raises(ValueError, match="an answer must have .*the steps of the input"):
        explore(lambda ids: ops.reshape(embedding(ids), (-1, 4)), IDS, amounts=[1])
