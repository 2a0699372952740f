"""The Chinese edition says what the English one says, and the tools that hold it to that notice where it does not."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.notebooks import canonical, read, serialized
from tools.translations import Edition, Untranslated, differences, glossary

EDITION = Edition()
TERMS = glossary(EDITION.folder / "glossary.md")

each_lesson = pytest.mark.parametrize("name", EDITION.names)


@each_lesson
def test_catalogue_is_complete_and_built(name):
    assert EDITION.problems(name) == []


@each_lesson
def test_code_and_outputs_are_those_of_the_english_lesson(name):
    english, chinese = (read(folder / f"{name}.ipynb") for folder in (EDITION.root / "nbs", EDITION.folder))
    assert [cell.id for cell in chinese.cells] == [cell.id for cell in english.cells]
    pairs = [pair for pair in zip(english.cells, chinese.cells) if pair[0].cell_type == "code"]
    assert [cell.id for cell, copy in pairs if cell != copy] == []
    assert pairs


@each_lesson
def test_prose_is_chinese(name):
    cells = [cell for cell in read(EDITION.folder / f"{name}.ipynb").cells if cell.cell_type == "markdown"]
    assert [cell.id for cell in cells if not re.search(r"[\u3400-\u9fff]", cell.source)] == []


def test_no_file_of_the_edition_is_left_over():
    assert EDITION.strangers() == []


# What a translation must have in common with its cell.

ENGLISH = """## The mask, twice

See [chapter 2](02_masks.ipynb#A-ruler): `get_mask` gives 3 masks, **no more**, in `[None]` [a](b).

```python
x = 1  # one
```

| a | b |
|---|---|
| 1,500 | `a | b` |

- one
- two"""

CHINESE = """## 掩码，两次

见[第 2 章](02_masks.ipynb#A-ruler)：`get_mask` 给出 3 个掩码，**不会更多**，在 `[None]` [a](b) 里。

```python
x = 1  # 一
```

| 甲 | 乙 |
|---|---|
| 1,500 | `a | b` |

- 一
- 二"""


def test_a_good_translation_has_no_differences():
    assert differences(ENGLISH, CHINESE, TERMS) == []


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("#A-ruler", "#A-rule", "links: missing ['02_masks.ipynb#A-ruler'], not in the English cell ['02_masks.ipynb#A-rule']"),
        ("[a](b) ", "", "links: missing ['b']"),
        ("`get_mask`", "`mask`", "code: missing ['`get_mask`'], not in the English cell ['`mask`']"),
        ("x = 1", "x = 2", "code: missing"),
        ("3 个", "三个", "numbers: missing ['3']"),
        ("1,500", "1,600", "numbers: missing ['1,500'], not in the English cell ['1,600']"),
        ("\n| 1,500 | `a | b` |", "\n\n1,500 `a | b`", "rows and columns: [3, 3] instead of [3, 3, 3]"),
        ("| 甲 | 乙 |", "| 甲 |", "rows and columns: [2, 3, 3] instead of [3, 3, 3]"),
        ("## 掩码", "### 掩码", "headings: ['###'] instead of ['##']"),
        ("- 一\n- 二", "- 一，二", "list items: 1 instead of 2"),
        ("，**不会更多**，", "，**不会更多，**", "asterisks that are seen: 4 instead of 0"),
        ("给出 3 个掩码", "给出 3 个", None),
        ("掩码", "遮盖", "glossary: 'mask' is 掩码"),
        ("给出 3 个掩码", "给出 3 个遮罩", "glossary: '遮罩' should be 掩码"),
        ("给出 3 个掩码", "给出 3 个“遮罩”", None),
        ("3 个", "3个", "no blank between Chinese and what is not: '：`x` 给出 3个掩码，**不会更'"),
        ("见[第 2 章]", "见[chapter 2]", "no blank between Chinese and what is not"),
        ("，两次", ",两次", "a mark that is not Chinese after Chinese"),
        ("，两次", "， 两次", "a Chinese mark with a blank beside it"),
    ],
)
def test_a_translation_that_was_tampered_with_is_noticed(old, new, problem):
    assert old in CHINESE
    messages = differences(ENGLISH, CHINESE.replace(old, new), TERMS)
    assert any(text.startswith(problem) for text in messages) if problem else messages == [], messages


def test_titles_and_names_of_others_are_no_terms():
    english = "See [Attention is all you need](https://example.org/a), google/sequence-layers and [source/masks](source/masks.ipynb)."
    chinese = "见 [Attention is all you need](https://example.org/a)、google/sequence-layers 和 [source/masks](source/masks.ipynb)。"
    assert differences(english, chinese, TERMS) == []
    assert differences("See [the mask](masks.ipynb).", "见[它](masks.ipynb)。", TERMS) == ["glossary: 'mask' is 掩码"]


def test_the_glossary_is_read():
    (mask,) = [term for term in TERMS if term.english.fullmatch("mask")]
    assert mask.right == ("掩码",)
    assert "遮盖" in mask.wrong
    assert [term.english.pattern for term in TERMS if not all(term.right) or not all(term.wrong)] == []


# A small project with two lessons.


def cell(kind, cell_id, source, **more):
    return kind(source, id=cell_id, **more)


@pytest.fixture
def edition(tmp_path):
    lessons = {
        "01_one": [cell(new_markdown_cell, "a", "# One\n\nA mask."),
                   cell(new_code_cell, "b", "print('# [x](02_two.ipynb)')", execution_count=1,
                        outputs=[new_output("stream", name="stdout", text="# [x](02_two.ipynb)\n")]),
                   cell(new_markdown_cell, "c", "## A part (here)\n\nSee [two](02_two.ipynb#The-end-of-it), `[l](m)`.")],
        "02_two": [cell(new_markdown_cell, "d", "# Two\n\n[one](01_one.ipynb), [part](01_one.ipynb#A-part-(here))"
                                                .replace("(here)", "%28here%29")),
                   cell(new_markdown_cell, "e", "## The `end` of it\n\n[source](source/masks.ipynb#Why), [licence](../LICENSE), "
                                                "[web](https://example.org/#x), [up](#Two), [zh](zh/02_two.ipynb), [terms](zh/glossary.md)")],
    }
    for name, cells in lessons.items():
        path = tmp_path / "nbs" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(serialized(canonical(new_notebook(cells=cells))), encoding="utf-8")
    (tmp_path / "nbs" / "zh").mkdir()
    (tmp_path / "nbs" / "zh" / "glossary.md").write_text("| a | b | c |\n| - | - | - |\n| mask | 掩码 | |\n", encoding="utf-8")
    return Edition(tmp_path)


CELLS = {"01_one": {"a": "# 一\n\n掩码。", "c": "## 一节（这里）\n\n见[二](02_two.ipynb#The-end-of-it)、`[l](m)`。"},
         "02_two": {"d": "# 二\n\n[一](01_one.ipynb)、[节](01_one.ipynb#A-part-%28here%29)",
                    "e": "## 它的 `end`\n\n[源](source/masks.ipynb#Why)、[许可](../LICENSE)、[网](https://example.org/#x)、[上](#Two)、"
                         "[en](zh/02_two.ipynb)、[词](zh/glossary.md)"}}


def translate(edition, names=CELLS):
    for name in names:
        edition.update(name)
        catalogue = edition.catalogue(name)
        for entry in catalogue:
            entry.msgstr = CELLS[name][entry.msgctxt]
        catalogue.save(str(edition.catalogue_path(name)))


def rewrite(edition, name, change):
    path = edition.root / "nbs" / f"{name}.ipynb"
    notebook = read(path)
    change(notebook.cells)
    path.write_text(serialized(notebook), encoding="utf-8")


def test_a_lesson_is_built_from_its_catalogue(edition):
    translate(edition)
    for name in edition.names:
        edition.build(name)
        assert edition.problems(name) == []
    first, second = (read(edition.folder / f"{name}.ipynb") for name in edition.names)
    assert first.cells[1] == edition.english("01_one").cells[1]
    assert first.cells[2].source == "## 一节（这里）\n\n见[二](02_two.ipynb#它的-end)、`[l](m)`。"
    assert second.cells[0].source == "# 二\n\n[一](01_one.ipynb)、[节](01_one.ipynb#一节（这里）)"
    assert second.cells[1].source.partition("\n\n")[2] == (
        "[源](../source/masks.ipynb#Why)、[许可](../../LICENSE)、[网](https://example.org/#x)、[上](#二)、[en](../02_two.ipynb)、[词](glossary.md)")


def test_updating_again_changes_nothing(edition):
    translate(edition)
    stored = edition.catalogue_path("01_one").read_bytes()
    edition.update("01_one")
    assert edition.catalogue_path("01_one").read_bytes() == stored


def test_a_changed_cell_is_doubtful_until_someone_has_looked(edition):
    translate(edition)
    edition.build("01_one")
    rewrite(edition, "01_one", lambda cells: cells[0].update(source="# One\n\nA better mask."))
    (problem,) = edition.problems("01_one")
    assert problem == "01_one.po: cell a (# One) has changed: run `make zh`, and look at its translation"

    for _ in range(2):  # updating again does not take the mark away
        edition.update("01_one")
        (problem,) = edition.problems("01_one")
        assert problem == "01_one.po: cell a (# One) has changed: look at its translation, then take `fuzzy` away"
    with pytest.raises(Untranslated, match="01_one.po: cell a"):
        edition.build("01_one")

    catalogue = edition.catalogue("01_one")
    assert (catalogue[0].previous_msgid, catalogue[0].msgstr) == ("# One\n\nA mask.", "# 一\n\n掩码。")
    catalogue[0].flags, catalogue[0].msgstr = [], "# 一\n\n更好的掩码。"
    catalogue.save(str(edition.catalogue_path("01_one")))
    assert edition.problems("01_one") == ["nbs/zh/01_one.ipynb is not what its catalogue gives: run `make zh`"]
    edition.build("01_one")
    assert edition.problems("01_one") == []


def test_missing_and_new_cells_are_named(edition):
    translate(edition, ["01_one"])
    rewrite(edition, "01_one", lambda cells: cells.append(nbformat.from_dict(
        {"cell_type": "markdown", "id": "n", "metadata": {}, "source": "New"})))
    assert edition.problems("01_one") == ["01_one.po: cell n (New) has no entry: run `make zh`, and translate it"]
    edition.update("01_one")
    assert edition.problems("01_one") == ["01_one.po: cell n (New) is not translated"]
    assert len(edition.problems("02_two")) == 2


def test_an_entry_whose_cell_is_gone_keeps_its_words(edition):
    translate(edition)
    rewrite(edition, "01_one", lambda cells: cells.pop())
    gone = "01_one.po: entry c has no cell: move what it says to the cell that took its place, then delete it"
    assert edition.problems("01_one") == [gone]
    edition.update("01_one")
    assert edition.problems("01_one") == [gone]
    assert edition.catalogue("01_one")[-1].msgstr == CELLS["01_one"]["c"]


def test_a_link_to_a_heading_that_is_not_translated_is_named(edition):
    translate(edition, ["01_one"])
    with pytest.raises(Untranslated, match="01_one.ipynb: the link 02_two.ipynb#The-end-of-it leads to no heading"):
        edition.built("01_one")


def test_a_notebook_that_was_edited_by_hand_is_noticed(edition):
    translate(edition)
    edition.build("01_one")
    path = edition.folder / "01_one.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("掩码", "面具"), encoding="utf-8")
    assert edition.problems("01_one") == ["nbs/zh/01_one.ipynb is not what its catalogue gives: run `make zh`"]


def test_files_that_belong_to_no_lesson_are_named(edition):
    translate(edition)
    (edition.root / "nbs" / "02_two.ipynb").rename(edition.root / "nbs" / "02_three.ipynb")
    assert Edition(edition.root).strangers() == [
        "nbs/zh/po/02_two.po belongs to no lesson: rename it with its lesson, or delete it"]
