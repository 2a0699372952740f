"""Renders nbs/index.ipynb into README.md and its pictures, and the Chinese index into README.zh.md.

    python -m tools.readme           # write them
    python -m tools.readme --check   # say what differs
"""

import argparse
import posixpath
import re
import sys
from pathlib import Path

from nbconvert import MarkdownExporter
from nbformat import NotebookNode

from tools.notebooks import ROOT, read

# Each page at the root, and the notebook that it is made from.
PAGES = {"README.md": "nbs/index.ipynb", "README.zh.md": "nbs/zh/index.ipynb"}
IMAGES = "images"
IMAGE_NAME = "readme-{number}"
NOTICE = "<!-- Made from {index} by `make readme`: change the notebook, not this file. -->"

RELATIVE_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])[^)\s]+")
DIRECTIVE_LINES = re.compile(r"\A(?:#\|.*(?:\n|\Z))+")
# nbconvert has no description for a picture of its own.
TEMPLATE = """
{%- extends 'markdown/index.md.j2' -%}
{%- block data_svg %}
![{{ output.data['text/plain'] }}]({{ output.metadata.filenames['image/svg+xml'] | path2url }})
{% endblock data_svg -%}
"""


class MissingDescription(Exception):
    """A picture that says nothing to someone who cannot see it."""


def render(root: Path = ROOT) -> dict[str, str]:
    """The text of each page and of each picture, by path from the root of the repository.

    The editions have the same pictures, since their outputs are the same.
    """
    files: dict[str, str] = {}
    for page, index in PAGES.items():
        if (root / index).exists():
            files |= _rendered(root, page, index)
    return files


def _rendered(root: Path, page: str, index: str) -> dict[str, str]:
    """One page and its pictures."""
    notebook = read(root / index)
    folder = posixpath.dirname(index)
    notebook.cells = [cell for cell in notebook.cells if not _is_hidden(cell)]
    number = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _from_root(cell.source, folder)
        elif cell.cell_type == "code":
            cell.source = DIRECTIVE_LINES.sub("", cell.source)
            if cell.metadata.get("jupyter", {}).get("source_hidden"):
                cell.metadata["transient"] = {"remove_source": True}
            for output in cell.outputs:
                data = output.get("data", {})
                if "text/markdown" in data:
                    data["text/markdown"] = _from_root(data["text/markdown"], folder)
                if "image/svg+xml" in data:
                    number += 1
                    output.metadata["filename"] = IMAGE_NAME.format(number=number)
                    data["text/plain"] = _description(index, cell, data)
    exporter = MarkdownExporter(raw_template=TEMPLATE)
    body, resources = exporter.from_notebook_node(notebook, {"output_files_dir": IMAGES})
    pictures = {name: content.decode() for name, content in resources["outputs"].items()}
    return {page: f"{NOTICE.format(index=index)}\n\n{_tidy(body)}"} | pictures


def _is_hidden(cell: NotebookNode) -> bool:
    return cell.source.partition("\n")[0].strip() == "#| hide"


def _from_root(markdown: str, folder: str) -> str:
    """Turn links that start in the notebook's folder into links that start at the root, to the pages made from one."""
    pages = {index: page for page, index in PAGES.items()}

    def from_root(link: re.Match) -> str:
        path = posixpath.normpath(f"{folder}/{link[0]}")
        return pages.get(path, path)

    return RELATIVE_LINK.sub(from_root, markdown)


def _description(index: str, cell: NotebookNode, data: dict) -> str:
    """The picture's text form on one line; Python's own representation of an object describes nothing."""
    text = " ".join(data.get("text/plain", "").split())
    if not text or text.startswith("<"):
        raise MissingDescription(
            f"{index}, cell {cell.id}: the picture's text/plain output should describe it, but it is {text!r}"
        )
    return text


def _tidy(body: str) -> str:
    """Drop the blank lines that templates leave outside code."""
    without_trailing_blanks = re.sub(r"^[ \t]+$", "", body, flags=re.MULTILINE)
    parts = re.split(r"(^```.*?^```$)", without_trailing_blanks, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [re.sub(r"\n{3,}", "\n\n", part) for part in parts[::2]]
    return "".join(parts).strip() + "\n"


def differences(root: Path = ROOT) -> list[str]:
    """What rendering would change: an empty list if nothing."""
    files = render(root)
    outdated = [
        f"{name} is not what {PAGES.get(name, 'nbs/index.ipynb')} renders to"
        for name, content in files.items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != content
    ]
    return outdated + [f"{path.relative_to(root)} is no longer used" for path in _stale_pictures(root, files)]


def write(root: Path = ROOT) -> None:
    files = render(root)
    for name, content in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    for path in _stale_pictures(root, files):
        path.unlink()


def _stale_pictures(root: Path, files: dict[str, str]) -> list[Path]:
    pictures = (root / IMAGES).glob(IMAGE_NAME.format(number="*") + ".svg")
    return [path for path in sorted(pictures) if path.relative_to(root).as_posix() not in files]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, and fail if anything would change")
    if not parser.parse_args().check:
        write()
        return 0
    messages = differences()
    if messages:
        print(*messages, "Run `make readme`.", sep="\n", file=sys.stderr)
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
