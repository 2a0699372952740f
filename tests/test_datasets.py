"""The data that the package ships, the tokenizer, and the tools of the notebooks."""

import os
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking_tutorial.datasets import (
    SNIPPET_DOMAINS,
    Svg,
    Tokenizer,
    as_svg,
    load_snippets,
    load_vowels,
    new_figure,
    tokenize,
)

ROOT = Path(__file__).resolve().parent.parent

snippets = pytest.fixture(scope="module")(load_snippets)


# Snippets.


def test_snippets_have_a_text_a_rating_and_a_domain_each(snippets):
    texts, ratings, domains = snippets
    assert len(texts) == len(ratings) == len(domains) == 19503
    assert Counter(domains.tolist()) == {"movie": 10605, "product": 3708, "editorial": 5190}
    assert ratings.dtype == "float32" and -4 <= ratings.min() < 0 < ratings.max() <= 4
    assert all(isinstance(text, str) and text.strip() for text in texts)


@pytest.mark.parametrize("domain", SNIPPET_DOMAINS)
def test_the_snippets_of_a_domain_are_those_of_the_whole(snippets, domain):
    chosen = snippets.domains == domain
    texts, ratings, domains = load_snippets(domain)
    assert texts == [text for text, taken in zip(snippets.texts, chosen, strict=True) if taken]
    np.testing.assert_array_equal(ratings, snippets.ratings[chosen])
    assert set(domains.tolist()) == {domain}


@pytest.mark.parametrize("domain", ["films", "", "Movie", 1])
def test_an_unknown_domain_is_refused(domain):
    with pytest.raises(ValueError, match=f"^unknown domain {domain!r}: choose one of movie, product, editorial, or None for all$"):
        load_snippets(domain)


# Vowels.


@pytest.mark.parametrize(
    "split, each_speaker",
    [("train", [30] * 9), ("test", [31, 35, 88, 44, 29, 24, 40, 50, 29])],
)
def test_vowels_have_the_recordings_that_their_authors_describe(split, each_speaker):
    sequences, speakers = load_vowels(split)
    assert len(sequences) == len(speakers) == sum(each_speaker)
    assert speakers.dtype == "int64" and np.bincount(speakers).tolist() == each_speaker
    assert {(sequence.dtype.name, sequence.shape[1]) for sequence in sequences} == {("float32", 12)}
    assert all(7 <= len(sequence) <= 29 and np.isfinite(sequence).all() for sequence in sequences)


def test_no_recording_is_in_both_splits():
    train, test = ({sequence.tobytes() for sequence in load_vowels(split).sequences} for split in ("train", "test"))
    assert not train & test


@pytest.mark.parametrize("split", ["validation", None, True])
def test_an_unknown_split_is_refused(split):
    with pytest.raises(ValueError, match=f"^unknown split {split!r}: choose one of train, test$"):
        load_vowels(split)


def test_the_data_are_shipped_with_their_provenance():
    data = resources.files("masking_tutorial") / "data"
    provenance = (data / "README.md").read_text(encoding="utf-8")
    for name in ["snippets", "japanese_vowels"]:
        assert name in provenance
        assert (data / f"LICENSE-{name}.txt").read_text(encoding="utf-8").strip()


# The tokenizer.


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("It's GREAT, really!", ["it's", "great", ",", "really", "!"]),
        ("ten 10 \u00e9t\u00e9", ["ten", "1", "0", "\u00e9", "t", "\u00e9"]),
        (" \t\n", []),
        ("", []),
    ],
)
def test_tokens_are_words_and_single_signs(text, tokens):
    assert tokenize(text) == tokens


@given(st.text(max_size=30))
def test_tokens_are_the_text_without_its_white_space(text):
    assert "".join(tokenize(text)) == "".join(text.lower().split())


def test_decoding_is_the_inverse_of_encoding(snippets):
    tokenizer = Tokenizer.from_texts(snippets.texts)
    for text in snippets.texts[::100]:
        ids = tokenizer.encode(text)
        assert min(ids) > 1
        assert tokenizer.decode(ids) == tokenize(text)


def test_frequent_words_get_small_ids():
    tokenizer = Tokenizer.from_texts(["b a", "c b a", "b"])
    assert tokenizer.words == ["", "[UNK]", "b", "a", "c"]
    assert len(tokenizer) == 5
    assert tokenizer(["a b", "", "c d"]) == [[3, 2], [], [4, 1]]
    assert tokenizer.decode([3, 2, 1, 0]) == ["a", "b", "[UNK]", ""]
    assert tokenizer.decode(np.array([4, 0])) == ["c", ""]
    assert tokenizer.decode([]) == []


@pytest.mark.parametrize("size, words", [(0, []), (2, ["b", "a"]), (9, ["b", "a", "c"])])
def test_a_smaller_vocabulary_keeps_the_frequent_words(size, words):
    tokenizer = Tokenizer.from_texts(["b a", "c b a", "b"], size)
    assert tokenizer.words[2:] == words
    assert tokenizer.encode("c")[0] == (4 if "c" in words else 1)


@pytest.mark.parametrize("words, twice", [(["a", "b", "a"], "a"), (["", "a"], ""), (["[UNK]"], r"\[UNK\]")])
def test_a_word_cannot_have_two_ids(words, twice):
    with pytest.raises(ValueError, match=f"^the word '{twice}' stands more than once in the list; the empty word and "):
        Tokenizer(words)


@pytest.mark.parametrize("ids, span", [([-1, 2], "-1 to 2"), ([3, 4], "3 to 4"), (np.array([9]), "9 to 9")])
def test_an_id_without_a_word_is_refused(ids, span):
    with pytest.raises(ValueError, match=f"^ids must lie between 0 and 3, got {span}$"):
        Tokenizer(["a", "b"]).decode(ids)


def test_a_single_text_is_not_read_letter_by_letter():
    with pytest.raises(TypeError, match=r"^one str where a list of sentences was expected: use encode\(text\)$"):
        Tokenizer(["a"])("a")


# Figures.

DRAW = """
from masking_tutorial.datasets import as_svg, new_figure

figure, axes = new_figure(rows=2)
axes[0].hist([1, 2, 2, 3], label="lengths")
axes[0].legend()
axes[1].scatter([1, 2], [3, 4])
print(as_svg(figure, "lengths & <counts>").source, end="")
"""


def drawn_in_a_new_process(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", DRAW]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout


def test_a_figure_is_the_same_in_every_process():
    first, second = drawn_in_a_new_process("1"), drawn_in_a_new_process("2")
    assert first == second
    assert first.startswith(b"<svg") and b"lengths &amp; &lt;counts&gt;" in first


def test_a_figure_is_drawn_the_same_again():
    figure, (axis,) = new_figure()
    axis.plot([1, 2])
    assert as_svg(figure, "a line").source == as_svg(figure, "a line").source


def test_a_figure_shows_as_svg_and_reads_as_text(tmp_path):
    figure = Svg("<svg>\u00e9</svg>", "one letter")
    assert (figure._repr_svg_(), repr(figure)) == ("<svg>\u00e9</svg>", "one letter")
    figure.save(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8") == "<svg>\u00e9</svg>"


def test_figures_say_what_to_install_where_matplotlib_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"^figures need matplotlib: pip install 'masking_tutorial\[figures\]'$"):
        new_figure()
