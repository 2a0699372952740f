"""Matrices: what is drawn is what is told, row by row."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking_tutorial import LEAK, PADDING, VALID, draw_influence, draw_matrix
from masking_tutorial.matrix import _strips

CELLS = {"one": {"salt": "yes", "sugar": "no"}, "two": {"sugar": "yes", "salt": "unheard of"}}
COLORS = {"yes": LEAK, "no": PADDING}


def test_the_text_holds_every_word():
    picture = draw_matrix(CELLS, COLORS, "What is put in.")
    sentence, _, head, *rows = repr(picture).splitlines()
    assert sentence == "What is put in." and head.split() == ["salt", "sugar"]
    assert [row.split() for row in rows] == [["one", "yes", "no"], ["two", "unheard", "of", "yes"]]


def test_a_square_for_each_word_and_one_in_the_legend():
    source = draw_matrix(CELLS, COLORS, "What is put in.").source
    assert source.count(f"fill: {LEAK}") == 2 + 1
    assert source.count(f"fill: {PADDING}") == 1 + 1
    assert "What is put in." in source and "unheard of" not in source


def test_marks_and_heads_are_drawn():
    source = draw_matrix(CELLS, COLORS, "t", marks={"yes": "@"}, heads={"two": "others"}).source
    assert source.count(">@<") == 2 + 1
    assert source.index(">one<") < source.index(">others<") < source.index(">two<")


def test_a_missing_word_is_left_white():
    picture = draw_matrix({"one": {"salt": "yes"}, "two": {"sugar": "yes"}}, COLORS, "t")
    assert picture.source.count(f"fill: {LEAK}") == 2 + 1
    assert repr(picture).splitlines()[-1].split() == ["two", "yes"]


def test_the_same_bytes_each_time():
    assert draw_matrix(CELLS, COLORS, "t", strips=2).source == draw_matrix(CELLS, COLORS, "t", strips=2).source


@given(st.integers(1, 30), st.sets(st.integers(0, 29)), st.integers(1, 4))
def test_strips_hold_all_lines_in_order_and_end_with_no_head(count, with_head, strips):
    names = [f"row {number}" for number in range(count)]
    heads = {f"row {number}": f"head {number}" for number in with_head if number < count}
    parts = _strips(names, heads, strips)
    lines = [line for part in parts for line in part]
    assert lines == [line for name in names for line in [(True, heads.get(name))] * (name in heads) + [(False, name)]]
    assert len(parts) <= strips and not any(part[-1][0] for part in parts)


def looks(by_padding):
    """What `influence` returns, for a sequence of two valid steps and one of padding."""
    matrix = np.array([[[1.0, 0.0, 0.0], [0.5, 1.0, by_padding], [np.nan] * 3]])
    return SimpleNamespace(matrix=matrix, valid=np.array([[True, True, False]]),
                           rows=[SimpleNamespace(padding=by_padding, offends=by_padding > 0)])


@pytest.mark.parametrize("by_padding", [0.0, 0.3])
def test_red_is_what_padding_tells(by_padding):
    picture = draw_influence({"model": looks(by_padding)}, ["good", "film", "pad"])
    assert picture.source.count(f"fill: {LEAK}") == (by_padding > 0)  # what has no influence is not filled
    assert picture.text.endswith("padding has 0.30 of the strongest influence." if by_padding else "padding has none.")


def test_matrices_of_several_models_stand_side_by_side():
    picture = draw_influence({"before": looks(0.3), "after": looks(0.0)})
    assert "before: padding has 0.30 of the strongest influence; after: padding has none." in picture.text
    assert picture.source.index(">before<") < picture.source.index(">after<")
    assert picture.source.count(f"fill: {VALID}") == 2 * 3  # one valid step has no influence on another
