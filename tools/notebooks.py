"""Runs the notebooks from a fresh kernel and holds them to one canonical form.

    python -m tools.notebooks execute [PATH ...]
    python -m tools.notebooks check [PATH ...]
"""

import argparse
import hashlib
import re
import reprlib
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from nbval.plugin import find_comment_markers, find_metadata_tags

ROOT = Path(__file__).resolve().parent.parent

# Neither names a Python version, so another one leaves the file alone.
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "python3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# What a reader sees in JupyterLab: everything else in a cell's metadata is a trace of editing.
KEPT_CELL_METADATA = {"jp-MarkdownHeadingCollapsed", "tags"}
KEPT_JUPYTER_METADATA = {"source_hidden"}

# nbclient leaves out a cell with this tag.
SKIP_TAG = "skip-execution"

# nbval does not compare these, so a change in them would pass unseen.
UNCOMPARED_MIME_TYPES = {"image/png", "image/jpeg", "application/vnd.jupyter.widget-view+json"}

# What differs between machines or runs. A path starts a word, unlike the slash in "and/or".
VARYING_TEXT = {
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "an absolute path": re.compile(
        rf"(?<![\w.:/])(?:/(?:home|root|Users|tmp|var|usr|opt|etc|mnt)/|{re.escape(str(ROOT))})[^\s'\"<>]*"
        r"|[^\s'\"<>]*site-packages[^\s'\"<>]*"
        r"|\b[A-Z]:\\{1,2}Users\b"
    ),
}


class UnfitNotebook(Exception):
    """A notebook that cannot be stored, with the reasons."""


def notebook_paths() -> list[Path]:
    """The lessons in reading order, `index` last, then the source notebooks; translations are not among them."""
    return [path for folder in ("nbs", "nbs/source") for path in sorted((ROOT / folder).glob("*.ipynb"))]


def source_table(index: Path = ROOT / "nbs" / "index.ipynb") -> dict[str, str]:
    """What the index says of each source notebook, in its order."""
    prose = "\n".join(cell.source for cell in read(index).cells if cell.cell_type == "markdown")
    return dict(re.findall(r"^\| \[(\w+)\]\(source/\1\.ipynb\) \| (.*) \|$", prose, re.MULTILINE))


def read(path: Path) -> NotebookNode:
    """The notebook as it is stored, with nothing mended on the way in."""
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))


def serialized(notebook: NotebookNode) -> str:
    nbformat.validate(notebook)
    return nbformat.v4.writes(notebook) + "\n"


def canonical(notebook: NotebookNode) -> NotebookNode:
    """The same notebook, without what depends on the editor, the machine or the Python version.

    Outputs and execution counts are those of the run: only `execute` makes them right.
    """
    taken_ids: set[str] = set()
    return nbformat.from_dict(
        {
            "cells": [_canonical_cell(cell, taken_ids) for cell in notebook.cells],
            "metadata": NOTEBOOK_METADATA,
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )


def _canonical_cell(cell: NotebookNode, taken_ids: set[str]) -> dict:
    result = {
        "cell_type": cell.cell_type,
        "id": _free_id(cell, taken_ids),
        "metadata": _canonical_cell_metadata(cell.metadata),
        "source": cell.source,
    }
    if cell.cell_type == "code":
        result["execution_count"] = cell.execution_count
        result["outputs"] = _canonical_outputs(cell.outputs)
    elif cell.get("attachments"):
        result["attachments"] = cell.attachments
    return result


def _free_id(cell: NotebookNode, taken_ids: set[str]) -> str:
    """The cell's own id; where it has none or shares one, an id made from its source."""
    candidate, attempt = cell.get("id"), 0
    while not candidate or candidate in taken_ids:
        candidate = hashlib.sha256(f"{attempt}{cell.cell_type}{cell.source}".encode()).hexdigest()[:8]
        attempt += 1
    taken_ids.add(candidate)
    return candidate


def _canonical_cell_metadata(metadata: dict) -> dict:
    jupyter = {key: value for key, value in metadata.get("jupyter", {}).items() if key in KEPT_JUPYTER_METADATA}
    kept = {key: value for key, value in metadata.items() if key in KEPT_CELL_METADATA} | {"jupyter": jupyter}
    return {key: value for key, value in kept.items() if value}


def _canonical_outputs(outputs: list) -> list[dict]:
    result: list[dict] = []
    for output in outputs:
        if output.output_type == "stream":
            # Where two streams are cut into pieces, and which of them comes first, depends on timing.
            first = len(result)
            while first and result[first - 1]["output_type"] == "stream":
                first -= 1
            same = next((stream for stream in result[first:] if stream["name"] == output.name), None)
            if same:
                same["text"] += output.text
            else:
                place = first if output.name == "stdout" else len(result)
                result.insert(place, {"output_type": "stream", "name": output.name, "text": output.text})
        elif output.output_type == "error":
            result.append(dict(output))
        else:
            kept = {"output_type": output.output_type, "data": output.data, "metadata": {}}
            if output.output_type == "execute_result":
                kept["execution_count"] = output.execution_count
            result.append(kept)
    return result


def problems(path: Path) -> list[str]:
    """What keeps a stored notebook from being fit to publish: an empty list if nothing does."""
    notebook = read(path)
    wanted = canonical(notebook)
    reasons = _defects(notebook) + _differences(notebook, wanted)
    if not reasons and path.read_text(encoding="utf-8") != serialized(wanted):
        reasons.append("the file is not laid out as nbformat writes it")
    return [f"{path.name}: {problem}" for problem in reasons]


def _differences(notebook: NotebookNode, wanted: NotebookNode) -> list[str]:
    """What `canonical` would change."""
    changes = _changed_keys("the notebook", notebook, wanted, {"nbformat", "nbformat_minor"})
    changes += _changed_keys("the metadata", notebook.metadata, wanted.metadata)
    for place, cell, wanted_cell in zip(_places(wanted), notebook.cells, wanted.cells):
        changes += _changed_keys(place, cell, wanted_cell)
    return changes


def _changed_keys(place: str, stored: dict, wanted: dict, keys: set[str] | None = None) -> list[str]:
    return [
        f"{place}: {key} is {reprlib.repr(stored.get(key))} instead of {reprlib.repr(wanted.get(key))}"
        for key in sorted(keys or stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key)
    ]


def _defects(notebook: NotebookNode) -> list[str]:
    """What only a change of the notebook, or another run, can mend."""
    defects = []
    count = 0
    for place, cell in zip(_places(notebook), notebook.cells):
        if cell.cell_type != "code":
            continue
        count += 1
        if not cell.source.strip():
            defects.append(f"{place}: an empty code cell")
        if cell.execution_count != count:
            defects.append(
                f"{place}: execution count {cell.execution_count} instead of {count}, "
                "so its output is not that of a run from top to bottom"
            )
        if SKIP_TAG in cell.metadata.get("tags", []) or [
            *find_comment_markers(cell.source),
            *find_metadata_tags(cell.metadata),
        ]:
            defects.append(f"{place}: a marker or tag that changes how the cell is tested")
        for output in cell.outputs:
            defects += [f"{place}: {defect}" for defect in _output_defects(output)]
    return defects


def _output_defects(output: NotebookNode) -> list[str]:
    if output.output_type == "error":
        return [f"stopped with {output.ename}: {output.evalue}"]
    if output.output_type == "stream":
        texts = {output.name: output.text}
    else:
        texts = {mime_type: str(value) for mime_type, value in output.data.items()}
    defects = [f"{mime_type} output is not compared when tested" for mime_type in texts.keys() & UNCOMPARED_MIME_TYPES]
    for name, text in texts.items():
        for what, pattern in VARYING_TEXT.items():
            if match := pattern.search(text):
                defects.append(f"{what} in the {name} output: {match[0]}")
    return defects


def _places(notebook: NotebookNode) -> list[str]:
    return [f"cell {number} (id {cell.get('id')})" for number, cell in enumerate(notebook.cells, start=1)]


def execute(path: Path) -> None:
    """Run a notebook from a fresh kernel in its own folder and store it in canonical form.

    Raises `UnfitNotebook`, and leaves the file alone, if a cell fails or the result could not be tested.
    """
    notebook = canonical(read(path))
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        # What the kernel writes past Python is no output: TensorFlow's log lines, above all.
        client.execute(stderr=subprocess.DEVNULL)
    except (CellControlSignal, DeadKernelError) as error:
        raise UnfitNotebook(f"{path.name}: {strip_ansi(str(error))}") from error
    result = canonical(notebook)
    if defects := _defects(result):
        raise UnfitNotebook("\n".join(f"{path.name}: {defect}" for defect in defects))
    path.write_text(serialized(result), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["execute", "check"])
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks; all of nbs/ and nbs/source/ if none is given")
    arguments = parser.parse_args()
    paths = arguments.paths or notebook_paths()

    if arguments.command == "check":
        messages = [problem for path in paths for problem in problems(path)]
        print(*messages, sep="\n", file=sys.stderr)
        return 1 if messages else 0

    for path in paths:
        started = time.monotonic()
        try:
            execute(path)
        except UnfitNotebook as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{path.name}: {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
