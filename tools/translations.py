"""The Chinese edition: a catalogue for each lesson, and the notebooks that are built from it.

    python -m tools.translations update    # take over what has changed in the English lessons
    python -m tools.translations build     # write nbs/zh/*.ipynb
    python -m tools.translations check     # change nothing; say what is missing, doubtful or wrong

A catalogue, nbs/zh/po/NAME.po, has one entry for each cell of prose: its id as context, the whole cell as message.
Where the English cell has changed, the entry is marked fuzzy, until someone has looked at it and takes the mark away.
"""

import argparse
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import polib
from bs4 import BeautifulSoup
from nbconvert.filters import markdown2html
from nbformat import NotebookNode

from tools.notebooks import ROOT, read, serialized

METADATA = {"Language": "zh_CN", "MIME-Version": "1.0", "Content-Type": "text/plain; charset=UTF-8",
            "Content-Transfer-Encoding": "8bit"}

HAN = r"\u3400-\u9fff"
CODE = re.compile(r"^```.*?^```$|(`+)(?!`).+?(?<!`)\1(?!`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
HEADINGS = "h1, h2, h3, h4, h5, h6"


class Untranslated(Exception):
    """A lesson that cannot be built, with the cells that are missing, doubtful or gone."""


# The catalogues.


def new_catalogue() -> polib.POFile:
    # A line of the cell is a line of the file, however long: so a diff shows what was changed.
    catalogue = polib.POFile(wrapwidth=0)
    catalogue.metadata = METADATA
    return catalogue


def updated(old: polib.POFile, english: dict[str, str]) -> polib.POFile:
    """The catalogue with an entry for each cell, in the order of the lesson; what has no cell any more comes last."""
    entries = {entry.msgctxt: entry for entry in old}
    new = new_catalogue()
    for cell_id, message in english.items():
        entry = deepcopy(entries.pop(cell_id, polib.POEntry(msgctxt=cell_id, msgid=message)))
        entry.obsolete = False
        if entry.msgid != message and entry.msgstr:
            entry.previous_msgid = entry.previous_msgid or entry.msgid
            entry.flags = ["fuzzy"]
        entry.msgid = message
        new.append(entry)
    for entry in entries.values():
        if entry.msgstr:
            entry.obsolete = True
            new.append(entry)
    return new


def states(opened: polib.POFile, english: dict[str, str]) -> list[str]:
    """What keeps a catalogue from being complete, each with what to do."""
    entries = {entry.msgctxt: entry for entry in opened}
    problems = []
    for cell_id, message in english.items():
        entry, start = entries.pop(cell_id, None), message.strip().partition("\n")[0][:60]
        if entry is None or entry.obsolete:
            problems.append(f"cell {cell_id} ({start}) has no entry: run `make zh`, and translate it")
        elif entry.msgid != message:
            problems.append(f"cell {cell_id} ({start}) has changed: run `make zh`, and look at its translation")
        elif not entry.msgstr.strip():
            problems.append(f"cell {cell_id} ({start}) is not translated")
        elif entry.fuzzy:
            problems.append(f"cell {cell_id} ({start}) has changed: look at its translation, then take `fuzzy` away")
    return problems + [f"entry {cell_id} has no cell: move what it says to the cell that took its place, then delete it"
                       for cell_id in entries]


# What a translation has in common with its cell.


def _without_code(text: str) -> str:
    return CODE.sub("`", text)


def _words(text: str) -> str:
    """The text without code and without the addresses of links."""
    return LINK.sub("", _without_code(text))


def _in_own_words(text: str) -> str:
    """The words without the names of others: titles that lead elsewhere, and paths such as keras-team/keras."""
    without_titles = re.sub(r"\[[^]]*\]\(\w+:[^)]*\)", "", _without_code(text))
    return re.sub(r"[\w-]+/[\w-]+", "", LINK.sub("", without_titles))


def _code(text: str) -> set[str]:
    """The names and blocks of code, without comments."""
    return {re.sub(r"\s+#.*", "", match[0]) for match in CODE.finditer(text)}


def _tables(text: str) -> list[int]:
    """The cells in each row of each table."""
    return [line.count("|") for line in _without_code(text).splitlines() if line.lstrip().startswith("|")]


def _asterisks(text: str) -> int:
    """Asterisks that a reader sees: beside Chinese punctuation, some emphasis is not taken for one."""
    page = BeautifulSoup(markdown2html(text), "html.parser")
    for tag in page.select("code, .math, pre"):
        tag.decompose()
    return page.get_text().count("*")


IN_COMMON = {
    "links": lambda text: Counter(LINK.findall(_without_code(text))),
    "code": _code,
    "numbers": lambda text: Counter(re.findall(r"\d+(?:[.,]\d+)*", _words(text))),
    "rows and columns": _tables,
    "headings": lambda text: re.findall(r"^#+(?= )", _without_code(text), re.MULTILINE),
    "list items": lambda text: len(re.findall(r"^ *(?:[-*]|\d+\.) ", _without_code(text), re.MULTILINE)),
    "asterisks that are seen": _asterisks,
}

TYPOGRAPHY = {
    "no blank between Chinese and what is not": rf"[{HAN}](?:[A-Za-z0-9`]|\[[A-Za-z0-9`])|[A-Za-z0-9%`][{HAN}]",
    "a mark that is not Chinese after Chinese": rf"[{HAN}][,;:?!]",
    "a Chinese mark with a blank beside it": r"[，。；：？！、] (?! *$|\|)| [，。；：？！、]",
}


class Term(NamedTuple):
    """A row of the glossary."""

    english: re.Pattern
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@cache
def glossary(path: Path) -> tuple[Term, ...]:
    """The first table of the glossary: how to find a term in English, what it is in Chinese, and what it is not."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", path.read_text(encoding="utf-8"), re.MULTILINE)[2:]
    return tuple(
        Term(re.compile(rf"\b(?:{'|'.join(map(re.escape, english.split(', ')))})\b", re.IGNORECASE),
             tuple(chinese.split("、")), tuple(filter(None, wrong.split("、"))))
        for english, chinese, wrong in rows)


def differences(english: str, chinese: str, terms: Iterable[Term]) -> list[str]:
    """What a translation does not have in common with its cell, or says in other words than the glossary."""
    problems = []
    for what, of in IN_COMMON.items():
        wanted, given = of(english), of(chinese)
        if wanted != given:
            problems.append(f"{what}: {_difference(wanted, given)}")
    # Code is a word among others, here.
    words = CODE.sub(lambda match: "`x`", LINK.sub("", chinese))
    for what, pattern in TYPOGRAPHY.items():
        if match := re.search(pattern, words, re.MULTILINE):
            problems.append(f"{what}: {words[max(0, match.start() - 8):match.end() + 8]!r}")
    for term in terms:
        used, right = term.english.search(_in_own_words(english)), " or ".join(term.right)
        if used and not any(word in chinese for word in term.right):
            problems.append(f"glossary: {used[0]!r} is {right}")
        problems += [f"glossary: {word!r} should be {right}"
                     for word in term.wrong if word in chinese.replace(f"“{word}”", "")]  # in quotes it is spoken of
    return problems


def _difference(wanted, given) -> str:
    if isinstance(wanted, (Counter, set)):
        return f"missing {sorted(wanted - given)}, not in the English cell {sorted(given - wanted)}"
    return f"{given} instead of {wanted}"


# The edition.


def anchors(cells: dict[str, str]) -> dict[str, tuple[str, int]]:
    """The anchor of each heading, as JupyterLab makes it: the cell that it is in, and its number there."""
    with_headings = {cell_id: text for cell_id, text in cells.items() if re.search("^#", text, re.MULTILINE)}
    return {unquote(tag["id"]): (cell_id, number)
            for cell_id, text in with_headings.items()
            for number, tag in enumerate(BeautifulSoup(markdown2html(text), "html.parser").select(HEADINGS))}


def with_links(text: str, mapped: Callable[[str], str]) -> str:
    """The text with each of its links mapped; what stands in code is no link."""
    pieces, start = [], 0
    for code in CODE.finditer(text):
        pieces += [LINK.sub(lambda link: mapped(link[0]), text[start:code.start()]), code[0]]
        start = code.end()
    return "".join([*pieces, LINK.sub(lambda link: mapped(link[0]), text[start:])])


@dataclass(frozen=True)
class Edition:
    """The Chinese lessons of a project, their catalogues, and the English lessons that they are made from."""

    root: Path = ROOT

    @property
    def folder(self) -> Path:
        return self.root / "nbs" / "zh"

    @cached_property
    def names(self) -> list[str]:
        return [path.stem for path in sorted((self.root / "nbs").glob("*.ipynb"))]

    def english(self, name: str) -> NotebookNode:
        return read(self.root / "nbs" / f"{name}.ipynb")

    def prose(self, name: str) -> dict[str, str]:
        """The cells of an English lesson that are to be translated, by their ids."""
        return {cell.id: cell.source for cell in self.english(name).cells if cell.cell_type == "markdown"}

    def catalogue_path(self, name: str) -> Path:
        return self.folder / "po" / f"{name}.po"

    def catalogue(self, name: str) -> polib.POFile:
        path = self.catalogue_path(name)
        return polib.pofile(str(path), wrapwidth=0) if path.exists() else new_catalogue()

    def update(self, name: str) -> None:
        """Take over into a catalogue what has changed in its lesson."""
        self.catalogue_path(name).parent.mkdir(parents=True, exist_ok=True)
        updated(self.catalogue(name), self.prose(name)).save(str(self.catalogue_path(name)))

    @cached_property
    def _anchors(self) -> dict[str, tuple[dict, dict]]:
        """For each lesson, the English anchors with their places, and the places with their Chinese anchors."""
        return {name: (anchors(self.prose(name)),
                       {place: anchor for anchor, place in
                        anchors({entry.msgctxt: entry.msgstr for entry in self.catalogue(name)}).items()})
                for name in self.names}

    def mapped_link(self, link: str, name: str) -> str:
        """A link of an English lesson as it stands in the Chinese one, which is in the folder below."""
        address, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", address):
            return link
        if address.startswith("zh/"):
            own = address.removeprefix("zh/")
            # From here, the other edition of a lesson is the English one.
            return f"../{own}" if own.removesuffix(".ipynb") in self.names else own
        lesson = address.removesuffix(".ipynb") if address else name
        if lesson not in self.names:
            return posixpath.normpath(f"../{address}") + link.removeprefix(address)
        if not fragment:
            return link
        places, chinese = self._anchors[lesson]
        anchor = chinese.get(places.get(unquote(fragment)))
        if anchor is None:
            raise Untranslated(f"{name}.ipynb: the link {link} leads to no heading that is translated")
        return f"{address}#{anchor.replace('(', '%28').replace(')', '%29')}"

    def built(self, name: str) -> NotebookNode:
        """The Chinese notebook: prose from the catalogue, all else as it stands in the English one.

        Raises `Untranslated` if a cell is missing, doubtful or gone, or a link leads nowhere.
        """
        catalogue = self.catalogue(name)
        if problems := states(catalogue, self.prose(name)):
            raise Untranslated("\n".join(f"{name}.po: {problem}" for problem in problems))
        chinese = {entry.msgctxt: entry.msgstr for entry in catalogue}
        notebook = self.english(name)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = with_links(chinese[cell.id], lambda link: self.mapped_link(link, name))
        return notebook

    def build(self, name: str) -> None:
        (self.folder / f"{name}.ipynb").write_text(serialized(self.built(name)), encoding="utf-8")

    def problems(self, name: str) -> list[str]:
        """What is wrong with a catalogue or its notebook: an empty list if nothing is."""
        catalogue, terms = self.catalogue(name), glossary(self.folder / "glossary.md")
        problems = [f"{name}.po: {problem}" for problem in states(catalogue, self.prose(name))]
        for entry in catalogue:
            if entry.msgstr and not entry.obsolete:
                problems += [f"{name}.po, cell {entry.msgctxt}: {difference}"
                             for difference in differences(entry.msgid, entry.msgstr, terms)]
        if not problems:
            path = self.folder / f"{name}.ipynb"
            if not path.exists() or path.read_text(encoding="utf-8") != serialized(self.built(name)):
                problems.append(f"nbs/zh/{name}.ipynb is not what its catalogue gives: run `make zh`")
        return problems

    def strangers(self) -> list[str]:
        """Files of the edition that belong to no lesson."""
        paths = [*self.folder.glob("*.ipynb"), *self.folder.glob("po/*.po")]
        return [f"{path.relative_to(self.root)} belongs to no lesson: rename it with its lesson, or delete it"
                for path in sorted(paths) if path.stem not in self.names]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["update", "build", "check"])
    parser.add_argument("names", nargs="*", help="lessons, such as 01_padding; all if none is given")
    arguments = parser.parse_args()

    edition = Edition()
    problems = edition.strangers()
    for name in arguments.names or edition.names:
        if arguments.command == "update":
            edition.update(name)
        elif arguments.command == "build":
            try:
                edition.build(name)
            except Untranslated as error:
                problems += str(error).splitlines()
        else:
            problems += edition.problems(name)
    print(*problems, sep="\n", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
