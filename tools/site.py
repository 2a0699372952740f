"""Builds the site from the stored notebooks, a folder for each language and a page in front of them.

    python -m tools.site            # English and Chinese
    python -m tools.site en         # one language alone

Sphinx reads what is written to site/_build/source: the notebooks as a reader should see them, with their links mapped,
the pages of the API, and the other files of the repository that are linked to. Opens without a server:
site/_build/html/index.html.
"""

import argparse
import copy
import html
import importlib.util
import json
import posixpath
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from tools.api_pages import PACKAGE, UnknownModule, api_pages
from tools.notebooks import ROOT, problems, read, source_table
from tools.readme import DIRECTIVE_LINES, RELATIVE_LINK

SITE = Path("site")  # in the repository
BUILT = SITE / "_build"
# As matplotlib writes it, in points. A wider figure scrolls on a phone, where its words would be too small (site.css).
WIDTH = re.compile(r'<svg\b[^>]*\bwidth="([\d.]+)pt"')
WIDE = 360


@dataclass(frozen=True)
class Edition:
    """A language, and the few words that the site adds."""

    folder: str  # of its notebooks, from the root of the repository
    locale: str  # the name that Sphinx has for it
    lessons: str
    in_words: str  # above the text form of a figure
    renew: str  # the command that makes its notebooks


EDITIONS = {
    "en": Edition("nbs", "en", "The lessons", "The figure in words", "make notebooks"),
    "zh": Edition("nbs/zh", "zh_CN", "课程", "图的文字说明", "make zh"),
}

# What Furo says in English, whatever the language.
FURO_IN_CHINESE = {
    'aria-label="Toggle site navigation sidebar"': 'aria-label="显示或隐藏导航栏"',
    'aria-label="Toggle table of contents sidebar"': 'aria-label="显示或隐藏本页目录"',
    'aria-label="Toggle Light / Dark / Auto color theme"': 'aria-label="切换浅色、深色或自动主题"',
    'aria-label="Toggle navigation of ': 'aria-label="展开或收起：',
    "Skip to content": "跳到正文",
    "<span>Back to top</span>": "<span>回到顶部</span>",
    "On this page": "本页目录",
    "<span>Next</span>": "<span>下一章</span>",
    "<span>Previous</span>": "<span>上一章</span>",
    '<div class="title">Home</div>': '<div class="title">首页</div>',
    'Made with <a href="https://www.sphinx': '制作工具：<a href="https://www.sphinx',
    'Sphinx</a> and <a class="muted-link"': 'Sphinx</a> 和 <a class="muted-link"',
    "@pradyunsg</a>'s": "@pradyunsg</a> 的",
}

# The longest text of a figure that a screen reader gets in one go; the figure in words has the rest.
LONGEST_ALTERNATIVE = 300

HEADING = re.compile(r"^(#{1,6}) +(.*?) *#*$")
FENCE = re.compile(r"^ *(```|~~~)")


class UnfitSite(Exception):
    """What keeps the site from being built, with the reasons and what to do."""


def anchor(title: str) -> str:
    """What JupyterLab calls a heading in a link; MyST asks for it, too."""
    return re.sub(r"\s+", "-", title.strip())


@dataclass(frozen=True)
class Heading:
    cell: str  # id of its cell
    text: str  # without marks of Markdown
    folded: bool  # whether JupyterLab shows what is below it only when asked

    @property
    def anchor(self) -> str:
        return anchor(self.text)


def headings(notebook: NotebookNode) -> list[Heading]:
    all_headings = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        fenced = False
        for line in cell.source.splitlines():
            fenced ^= bool(FENCE.match(line))
            if not fenced and (heading := HEADING.match(line)):
                text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading[2])
                all_headings.append(Heading(cell.id, text, bool(cell.metadata.get("jp-MarkdownHeadingCollapsed"))))
    return all_headings


def heading_ids(notebook: NotebookNode) -> list[str]:
    """An id for each heading, the same in all languages if `notebook` is the English one."""
    ids: list[str] = []
    for heading in headings(notebook):
        plain = re.sub(r"[^a-z0-9]+", "-", heading.text.lower()).strip("-")
        number = sum(plain == re.sub(r"-\d+$", "", taken) or plain == taken for taken in ids)
        ids.append(f"{plain}-{number + 1}" if number else plain)
    return ids


class Stage:
    """What Sphinx reads in one language."""

    def __init__(self, root: Path, language: str):
        self.root, self.language, self.edition = root, language, EDITIONS[language]
        self.folder = root / BUILT / "source" / language
        self.linked: dict[str, str] = {}  # pages of other files, by their path in the repository
        self.english = {
            path.relative_to(root).as_posix(): read(path)
            for folder in ("nbs", "nbs/source")
            for path in sorted((root / folder).glob("*.ipynb"))
        }
        self.ids = {path: heading_ids(notebook) for path, notebook in self.english.items()}

    def write(self) -> None:
        """Raises UnfitSite with all that is wrong with the notebooks."""
        shutil.rmtree(self.folder, ignore_errors=True)
        notebooks = self._notebooks()
        places = {}
        for path, notebook in notebooks.items():
            page = self._page_of(path)
            ids = self.ids[self._english_path(path)]
            places[page] = [[id, heading.folded] for id, heading in zip(ids, headings(notebook))]
            self._put(f"{page}.ipynb", nbformat.writes(self._staged(path, notebook)))
        if self.language == "en":
            for page, text in api_pages(self.root / PACKAGE, self._heading_above).items():
                self._put(f"api/{page}.md", text)
            self._put_linked()
        # It says what becomes of a notebook's headings; conf.py reads it.
        self._put("headings.json", json.dumps(places))

    def _put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _english_path(self, path: str) -> str:
        """The notebook of which this one is the translation; the outputs of both are the same, links included."""
        return path if self.language == "en" else f"nbs/{posixpath.basename(path)}"

    def _notebooks(self) -> dict[str, NotebookNode]:
        """The notebooks of this language, in reading order: `index` first, then the lessons, then the sources."""
        names = sorted(path for path in self.english if posixpath.dirname(path) == "nbs")
        names.sort(key=lambda path: path != "nbs/index.ipynb")
        if self.language == "en":
            wanted = names + [f"nbs/source/{name}.ipynb" for name in self._source_order()]
        else:
            wanted = [f"{self.edition.folder}/{posixpath.basename(name)}" for name in names]
        if missing := [path for path in wanted if not (self.root / path).exists()]:
            raise UnfitSite(
                "\n".join(f"{path} is missing" for path in missing)
                + f"\nRun `{self.edition.renew}`, or build the other language alone: make site LANGUAGES=en"
            )
        if messages := [problem for path in wanted for problem in problems(self.root / path)]:
            raise UnfitSite("\n".join([*messages, f"Run `{self.edition.renew}`: the site shows what is stored."]))
        notebooks = {path: read(self.root / path) for path in wanted}
        if self.language != "en":
            for path, notebook in notebooks.items():
                self._check_translation(path, notebook, self.english[f"nbs/{posixpath.basename(path)}"])
        return notebooks

    def _source_order(self) -> list[str]:
        """The source notebooks, as the table in the index lists them."""
        listed = [*source_table(self.root / "nbs" / "index.ipynb")]
        there = {Path(path).stem for path in self.english if path.startswith("nbs/source/")}
        if left_out := sorted(there - set(listed)):
            raise UnfitSite(f"nbs/index.ipynb lists no {', '.join(left_out)}: name each source notebook in its table")
        return [name for name in listed if name in there]

    def _check_translation(self, path: str, notebook: NotebookNode, english: NotebookNode) -> None:
        if [cell.id for cell in notebook.cells] != [cell.id for cell in english.cells]:
            raise UnfitSite(f"{path} has not the cells of the English notebook: run `{self.edition.renew}`")
        if [heading.cell for heading in headings(notebook)] != [heading.cell for heading in headings(english)]:
            raise UnfitSite(f"{path} has not the headings of the English notebook, cell by cell: mend its catalogue")

    def _heading_above(self, path: str, cell_id: str) -> str:
        """The anchor of the last heading before a cell, as a link."""
        notebook = self.english[path]
        place = [cell.id for cell in notebook.cells].index(cell_id)
        above = headings(nbformat.from_dict({"cells": notebook.cells[: place + 1]}))
        return f"/{self._page_of(path)}.ipynb#{above[-1].anchor}"

    # A notebook as the site shows it.

    def _staged(self, path: str, notebook: NotebookNode) -> NotebookNode:
        cells = [staged for cell in notebook.cells for staged in self._staged_cell(path, copy.deepcopy(cell))]
        if path == f"{self.edition.folder}/index.ipynb":
            cells.append(new_markdown_cell(self._contents()))
        return nbformat.from_dict({**notebook, "cells": cells})

    def _staged_cell(self, path: str, cell: NotebookNode) -> list[NotebookNode]:
        if cell.cell_type != "code":
            cell.source = self._mapped(cell.source, path)
            return [cell]
        directives = DIRECTIVE_LINES.match(cell.source)
        cell.source = DIRECTIVE_LINES.sub("", cell.source)
        tags = ["exported"] if directives and "export" in directives[0] else []
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            tags.append("remove-input")
        cell.metadata = {"tags": tags}
        shown = [cell] if cell.outputs or cell.source.strip() and "remove-input" not in tags else []
        for output in [*cell.outputs]:
            data = output.get("data", {})
            if "text/markdown" in data:
                shown.append(new_markdown_cell(self._mapped(data["text/markdown"], self._english_path(path))))
                cell.outputs.remove(output)
            elif "image/svg+xml" in data:
                words = data.get("text/plain", "").strip("\n")
                alternative = shortened(words)
                cell.metadata["mystnb"] = {"image": {"alt": alternative}}
                width = WIDTH.search(data["image/svg+xml"])
                if width and float(width[1]) > WIDE:
                    cell.metadata["mystnb"]["image"]["classes"] = "wide"
                if alternative != words:
                    shown.append(
                        new_markdown_cell(
                            f'<details class="in-words"><summary>{self.edition.in_words}</summary>\n'
                            f"<pre>{html.escape(words).replace(chr(10), '&#10;')}</pre></details>"
                        )
                    )
        return shown

    def _mapped(self, markdown: str, path: str) -> str:
        """The text of a file, with its links to other files of the repository as links to pages."""
        return RELATIVE_LINK.sub(lambda link: self._target(link[0], path), markdown)

    def _target(self, link: str, path: str) -> str:
        relative, _, fragment = link.partition("#")
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(relative)))
        if not (self.root / file).is_file():
            raise UnfitSite(f"{path}: the link {link} leads to no file of the repository")
        page = self._page_of(file)
        if self._is_own(file):
            # All links start at the top of what Sphinx reads.
            return f"/{page}{'.ipynb' if file.endswith('.ipynb') else '.md'}" + (f"#{fragment}" if fragment else "")
        if not fragment:
            return f"english:{page}"
        anchors = [heading.anchor for heading in headings(self.english[file])]
        if unquote(fragment) not in anchors:
            raise UnfitSite(f"{path}: the link {link} leads to no heading of {file}")
        return f"english:{page}#{self.ids[file][anchors.index(unquote(fragment))]}"

    def _is_own(self, file: str) -> bool:
        """Whether there is a page for a file in this language."""
        lesson = file.endswith(".ipynb") and posixpath.dirname(file) in ("nbs", self.edition.folder)
        return lesson or self.language == "en"

    def _page_of(self, file: str) -> str:
        """The page that shows a file of the repository, the same in all languages."""
        if file.endswith(".ipynb"):
            return re.sub(r"^nbs/(zh/)?|\.ipynb$", "", file)
        page = "project/" + re.sub(r"\W+", "-", file.removesuffix(".md").lower()).strip("-")
        self.linked[file] = page
        return page

    def _put_linked(self) -> None:
        """Pages of the other files that are linked to, and of those that these link to."""
        done: set[str] = set()
        while todo := sorted(self.linked.keys() - done):
            for file in todo:
                text = (self.root / file).read_text(encoding="utf-8")
                if file.endswith(".md"):
                    text = self._mapped(text, file)
                else:
                    text = f"# {posixpath.basename(file)}\n\n````text\n{text}\n````\n"
                self._put(f"{self.linked[file]}.md", text)
            done.update(todo)
        if done:
            pages = "\n".join(f"/{page}" for page in sorted(self.linked.values()))
            self._put("project/index.md", f"# The project\n\n```{{toctree}}\n{pages}\n```\n")

    def _contents(self) -> str:
        """The order of all pages, for the sidebar."""
        names = sorted(path for path in self.english if posixpath.dirname(path) == "nbs" and path != "nbs/index.ipynb")
        titles = {}
        for path in names:
            own = self.root / self.edition.folder / posixpath.basename(path)
            titles[own.stem] = f"{own.stem[:2]} {headings(read(own))[0].text}"
        parts = {self.edition.lessons: [f"{title} <{page}>" for page, title in titles.items()]}
        if self.language == "en":
            parts["How it is built"] = [f"source/{name}" for name in self._source_order()]
            parts["Reference"] = ["api/index", "project/index"]
        return "\n\n".join(
            f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(entries) + "\n```"
            for caption, entries in parts.items()
        )


def shortened(words: str) -> str:
    """The words on one line; where they are many, their first paragraph or what comes first of it."""
    line = " ".join(words.split())
    if len(line) <= LONGEST_ALTERNATIVE:
        return line
    first = " ".join(re.split(r"\n\s*\n", words)[0].split())
    if len(first) <= LONGEST_ALTERNATIVE:
        return first
    return first[:LONGEST_ALTERNATIVE].rsplit(" ", 1)[0] + " ..."


def build(languages: list[str], root: Path = ROOT) -> None:
    """Raises UnfitSite."""
    if not importlib.util.find_spec("myst_nb") or not importlib.util.find_spec("furo"):
        raise UnfitSite(
            "Sphinx with MyST-NB and Furo is not installed. `make site` installs it, and so does\n"
            "pip install -c constraints.txt -e '.[site]'"
        )
    pages = root / BUILT / "html"
    shutil.rmtree(pages, ignore_errors=True)
    shutil.rmtree(root / BUILT / "pages", ignore_errors=True)
    for language in languages:
        Stage(root, language).write()
    running = {language: _sphinx(root, language, languages) for language in languages}
    failed = [language for language, process in running.items() if process.wait()]
    if failed:
        raise UnfitSite(
            f"Sphinx complains above about the pages in {' and '.join(failed)}: mend the notebook that it names."
        )
    pages.mkdir()
    for language in languages:
        _output(root, language).rename(pages / language)
    if "zh" in languages:
        for page in (pages / "zh").rglob("*.html"):
            text = page.read_text(encoding="utf-8")
            for english, chinese in FURO_IN_CHINESE.items():
                text = text.replace(english, chinese)
            page.write_text(text, encoding="utf-8")
    front = "front.html" if len(languages) > 1 else "front_of_one.html"
    text = (root / SITE / front).read_text(encoding="utf-8").replace("LANGUAGE", languages[0])
    (pages / "index.html").write_text(text, encoding="utf-8")


def _output(root: Path, language: str) -> Path:
    """Where Sphinx puts the pages of a language; MyST-NB puts what is not to be published in the folder above."""
    return root / BUILT / "pages" / language / "html"


def _sphinx(root: Path, language: str, languages: list[str]) -> subprocess.Popen:
    built = root / BUILT
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "-E", "-b", "html"),
            *("-c", root / SITE, "-d", built / "doctrees" / language, "-D", f"language={EDITIONS[language].locale}"),
            *("-A", f"languages={','.join(languages)}"),
            *(built / "source" / language, _output(root, language)),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "languages", nargs="*", metavar="language", help=f"of {', '.join(EDITIONS)}; all if none is given"
    )
    languages = parser.parse_args().languages or [*EDITIONS]
    if unknown := [language for language in languages if language not in EDITIONS]:
        parser.error(f"unknown language {unknown[0]!r}: choose from {', '.join(EDITIONS)}")
    try:
        build(languages)
    except (UnfitSite, UnknownModule) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Open {BUILT / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
