"""What holds for every notebook, and for the files made from them."""

import ast
import filecmp
import os
import re
import shlex
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert.filters import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import readme
from tools.notebooks import (
    ROOT,
    UnfitNotebook,
    canonical,
    execute,
    notebook_paths,
    problems,
    read,
    serialized,
    source_table,
)
from tools.translations import anchors

NOTEBOOKS = notebook_paths()
CHAPTERS = [path for path in NOTEBOOKS if path.parent == ROOT / "nbs" and path.stem != "index"]
SOURCES = [path.stem for path in NOTEBOOKS if path.parent == ROOT / "nbs" / "source"]
NUMBERS = {path.stem.partition("_")[2]: int(path.stem.partition("_")[0]) for path in CHAPTERS}
TRANSLATIONS = sorted((ROOT / "nbs" / "zh").glob("*.ipynb"))
PACKAGE = ROOT / "masking_tutorial"
# Some lessons export nothing.
MODULES = [cell.source.splitlines()[0].removeprefix("#| default_exp ") for path in NOTEBOOKS for cell in read(path).cells
           if cell.source.startswith("#| default_exp ")]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def run(*arguments, cwd=ROOT, env=None):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)


# A small notebook, to show that the tools and the options of pytest see what they should see.

SVG = """display({"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'><text>three steps</text></svg>",
         "text/plain": "a figure"}, raw=True)"""


def store(path, *cells, **metadata):
    notebook = new_notebook(cells=list(cells), metadata=metadata)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(nbformat.v4.writes(notebook), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def small_project(tmp_path_factory):
    """This project's options for pytest, and one notebook, executed."""
    project = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "pyproject.toml", project)
    execute(store(project / "nbs" / "small.ipynb", new_code_cell("print('three steps')"), new_code_cell(SVG)))
    return project


def tampered(project, destination, cell_number, change):
    shutil.copytree(project, destination, dirs_exist_ok=True)
    path = destination / "nbs" / "small.ipynb"
    notebook = read(path)
    change(notebook.cells[cell_number].outputs[0])
    path.write_text(serialized(notebook), encoding="utf-8")
    return destination


def change_text(output):
    output.text = output.text.replace("three", "four")


def change_svg(output):
    output.data["image/svg+xml"] = output.data["image/svg+xml"].replace("three", "four")


def run_pytest(project, *options):
    return run("-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *options, cwd=project)


def test_pytest_accepts_the_stored_output(small_project):
    result = run_pytest(small_project)
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout


@pytest.mark.parametrize("cell_number, change", [(0, change_text), (1, change_svg)])
def test_pytest_refuses_a_tampered_output(small_project, tmp_path, cell_number, change):
    result = run_pytest(tampered(small_project, tmp_path, cell_number, change))
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed" in result.stdout
    assert "Cell outputs differ" in result.stdout


def test_pytest_collects_lessons_and_sources_only(small_project, tmp_path):
    shutil.copytree(small_project, tmp_path, dirs_exist_ok=True)
    for folder in ["nbs/source", "nbs/.ipynb_checkpoints", "nbs/source/.ipynb_checkpoints", "nbs/zh", ".venv", "build"]:
        (tmp_path / folder).mkdir()
        shutil.copy(tmp_path / "nbs" / "small.ipynb", tmp_path / folder / "other.ipynb")
    collected = run_pytest(tmp_path, "--collect-only", "-q").stdout
    assert set(re.findall(r"^(.*)::", collected, re.MULTILINE)) == {"nbs/small.ipynb", "nbs/source/other.ipynb"}


def test_executing_again_changes_nothing(small_project, tmp_path):
    path = Path(shutil.copy(small_project / "nbs" / "small.ipynb", tmp_path))
    stored = path.read_bytes()
    execute(path)
    assert path.read_bytes() == stored
    assert problems(path) == []


def test_executing_stores_no_output_written_past_python(tmp_path):
    path = store(tmp_path / "log.ipynb", new_code_cell("import os\n_ = os.write(2, b'log line')"))
    # A kernel started under pytest never captures it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    result = run("-m", "tools.notebooks", "execute", str(path), env=environment)
    assert result.returncode == 0, result.stderr
    assert read(path).cells[0].outputs == []


@pytest.mark.parametrize(
    "source, message",
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("object()", r"unfit.ipynb: cell 1 \(id .*\): a memory address in the text/plain output: 0x"),
    ],
)
def test_executing_stores_nothing_unfit(tmp_path, source, message):
    path = store(tmp_path / "unfit.ipynb", new_code_cell(source))
    stored = path.read_bytes()
    with pytest.raises(UnfitNotebook, match=message):
        execute(path)
    assert path.read_bytes() == stored


def shown(mime_type, value):
    return [new_output("display_data", {mime_type: value})]


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"source": " "}, "an empty code cell"),
        ({"source": "# NBVAL_IGNORE_OUTPUT"}, "a marker or tag that changes how the cell is tested"),
        ({"metadata": {"tags": ["nbval-skip"]}}, "a marker or tag that changes how the cell is tested"),
        ({"metadata": {"tags": ["skip-execution"]}}, "a marker or tag that changes how the cell is tested"),
        ({"metadata": {"collapsed": True}}, "metadata is {'collapsed': True} instead of {}"),
        ({"execution_count": 2}, "execution count 2 instead of 1"),
        ({"execution_count": None}, "execution count None instead of 1"),
        ({"outputs": shown("image/png", "AAAA")}, "image/png output is not compared when tested"),
        ({"outputs": shown("text/plain", "<a at 0x7f12ab34cd56>")}, "a memory address in the text/plain output"),
        ({"outputs": shown("text/plain", "'/home/me/a.keras'")}, "an absolute path in the text/plain output"),
        ({"outputs": shown("text/plain", "C:\\Users")}, "an absolute path in the text/plain output"),
    ],
)
def test_problems_are_found(tmp_path, changes, problem):
    path = tmp_path / "unfit.ipynb"
    cell = new_code_cell("print(1)", id="one", execution_count=1)
    path.write_text(serialized(canonical(new_notebook(cells=[cell]))), encoding="utf-8")
    assert problems(path) == []

    notebook = read(path)
    notebook.cells[0].update(nbformat.from_dict(changes))
    path.write_text(serialized(notebook), encoding="utf-8")
    (message,) = problems(path)
    assert message.startswith(f"unfit.ipynb: cell 1 (id one): {problem}")


def test_another_layout_of_the_file_is_found(small_project, tmp_path):
    path = Path(shutil.copy(small_project / "nbs" / "small.ipynb", tmp_path))
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    assert problems(path) == ["small.ipynb: the file is not laid out as nbformat writes it"]


def test_canonical_form_drops_traces_of_editing():
    cell = new_code_cell(
        "print(1)",
        execution_count=1,
        metadata={
            "scrolled": True,
            "tags": ["solution"],
            "jupyter": {"source_hidden": True, "outputs_hidden": True},
            "execution": {"iopub.status.busy": "now"},
        },
        outputs=[
            new_output("stream", text="1"),
            new_output("stream", text="\n"),
            new_output("display_data", {"text/plain": "2"}, metadata={"needs_background": "light"}),
        ],
    )
    edited = new_notebook(metadata={"language_info": {"name": "python", "version": "3.11.7"}})
    edited.cells = [cell, new_code_cell("print(1)", id=cell.id)]
    notebook = canonical(edited)

    first, second = notebook.cells
    assert first.metadata == {"tags": ["solution"], "jupyter": {"source_hidden": True}}
    assert first.outputs == [
        new_output("stream", text="1\n"),
        new_output("display_data", {"text/plain": "2"}),
    ]
    assert first.id == cell.id != second.id
    assert "3.11.7" not in serialized(notebook)
    assert canonical(notebook) == notebook


def test_canonical_form_does_not_depend_on_which_stream_comes_first():
    pieces = [new_output("stream", name=name, text=text) for name, text in [("stderr", "a"), ("stdout", "b"), ("stderr", "c")]]
    for outputs in (pieces, pieces[1:2] + pieces[::2]):
        notebook = canonical(new_notebook(cells=[new_code_cell("print(1)", execution_count=1, outputs=outputs)]))
        assert [(output.name, output.text) for output in notebook.cells[0].outputs] == [
            ("stdout", "b"), ("stderr", "ac")]


# The notebooks of the course.


def test_each_chapter_has_a_number_and_a_name_of_its_own():
    # a page that belongs to a chapter, such as 05_symptoms, has the number of the chapter
    assert [path.stem for path in CHAPTERS] == [f"{number:02}_{name}" for name, number in NUMBERS.items()]
    assert set(NUMBERS.values()) == set(range(max(NUMBERS.values()) + 1))
    assert len(NUMBERS) == len(CHAPTERS) == len(NOTEBOOKS) - len(SOURCES) - 1 > 0


def test_each_source_notebook_is_named_like_its_module():
    for name in SOURCES:
        assert read(ROOT / "nbs" / "source" / f"{name}.ipynb").cells[1].source == f"#| default_exp {name}"


@each_notebook
def test_notebook_is_executed_and_canonical(path):
    assert problems(path) == []


# A lesson can be read and typed: nothing of it is hidden, and its cells are short.

MOST_LINES, MOST_LINES_OF_A_FIGURE_OR_CLASS = 12, 25

# Cells that may be longer, by their id, each with the reason.
LONGER_CELLS: dict[str, str] = {}


def counted_lines(source):
    """The lines of a cell that a reader has to read: neither blank ones, nor directives, nor imports."""
    imports = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    left_out = {number for node in imports for number in range(node.lineno, node.end_lineno + 1)}
    return [line for number, line in enumerate(source.splitlines(), start=1)
            if line.strip() and not line.startswith("#|") and number not in left_out]


def unfit_cells(path):
    """What a reader of a lesson could not see, or would have to scroll past."""
    messages = []
    for cell in read(path).cells:
        if cell.cell_type != "code" or cell.id in LONGER_CELLS:
            continue
        lines = counted_lines(cell.source)
        special = any(re.match(r"class |.*\b(new_figure|as_svg)\(", line) for line in lines)
        most = MOST_LINES_OF_A_FIGURE_OR_CLASS if special else MOST_LINES
        if len(lines) > most:
            messages.append(f"cell {cell.id}: {len(lines)} lines, of which {most} are allowed")
        if cell.metadata.get("jupyter", {}).get("source_hidden") or re.match(r"#\|\s*hide", cell.source):
            messages.append(f"cell {cell.id}: hidden")
    return messages


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_cells_of_a_lesson_are_short_and_seen(path):
    assert unfit_cells(path) == []


def test_longer_cells_exist():
    assert LONGER_CELLS.keys() <= {cell.id for path in CHAPTERS for cell in read(path).cells}


@pytest.mark.parametrize(
    "source, metadata, problem",
    [
        ("x = 1\n" * 12 + "\n\n", {}, None),
        ("#| export\n" + "x = 1\n" * 12, {}, None),
        ("import a\nfrom b import (\n    c,\n    d)\n" + "x = 1\n" * 12, {}, None),
        ("x = 1\n" * 13, {}, "13 lines, of which 12 are allowed"),
        ("figure, axes = new_figure()\n" + "x = 1\n" * 24, {}, None),
        ("@decorated\nclass A:\n" + "    x = 1\n" * 23, {}, None),
        ("class A:\n" + "    x = 1\n" * 25, {}, "26 lines, of which 25 are allowed"),
        ("subclass = 1\n" * 13, {}, "13 lines, of which 12 are allowed"),
        ("#| hide\nx = 1", {}, "hidden"),
        ("#|hide_input\nx = 1", {}, "hidden"),
        ("x = 1", {"jupyter": {"source_hidden": True}}, "hidden"),
    ],
)
def test_unfit_cells_are_found(tmp_path, source, metadata, problem):
    path = store(tmp_path / "lesson.ipynb", new_code_cell(source, id="one", metadata=metadata), new_markdown_cell("x\n" * 99))
    assert unfit_cells(path) == ([f"cell one: {problem}"] if problem else [])


@pytest.mark.parametrize("path", [*NOTEBOOKS, *TRANSLATIONS], ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_links_of_the_notebook_resolve(path):
    markdown = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    assert broken_links(markdown, path) == []


@pytest.mark.parametrize("page", readme.PAGES)
def test_links_of_the_readme_resolve(page):
    path = ROOT / page
    assert broken_links(path.read_text(encoding="utf-8"), path) == []


def broken_links(markdown: str, source: Path) -> list[str]:
    """The relative links that lead to no file, or to no heading of a notebook."""
    page = BeautifulSoup(markdown2html(markdown), "html.parser")
    # nbconvert gives each heading a link to itself.
    targets = [tag["href"] for tag in page.select("a[href]:not(.anchor-link)")] + [tag["src"] for tag in page.select("img[src]")]
    return [target for target in targets if not urlsplit(target).scheme and not resolves(target, source)]


def resolves(target: str, source: Path) -> bool:
    parts = urlsplit(target)
    path = source.parent / unquote(parts.path) if parts.path else source
    if not path.exists() or not parts.fragment:
        return path.exists()
    return path.suffix == ".ipynb" and unquote(parts.fragment) in heading_anchors(path)


def heading_anchors(path: Path) -> set[str]:
    """The anchors that JupyterLab gives to a notebook's headings."""
    return set(anchors({cell.id: cell.source for cell in read(path).cells if cell.cell_type == "markdown"}))


@pytest.mark.parametrize(
    "link, broken",
    [
        ("[a](there.ipynb)", []),
        ("[a](there.ipynb#One-heading)", []),
        ("[a](https://example.org/missing)", []),
        ("[a](missing.ipynb)", ["missing.ipynb"]),
        ("[a](there.ipynb#Another)", ["there.ipynb#Another"]),
        ('<img src="missing.svg">', ["missing.svg"]),
    ],
)
def test_broken_links_are_found(tmp_path, link, broken):
    path = store(tmp_path / "there.ipynb", new_markdown_cell("# One heading"))
    assert broken_links(link, path) == broken


# The files made from the notebooks.


def export(project):
    """Export as `make export` does."""
    (recipe,) = re.findall(r"^\t\$\(BIN\)/(nbdev_export.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    command, *options = shlex.split(recipe.replace("$$", "$"))
    result = run(Path(sys.executable).parent / command, *options, cwd=project)
    assert result.returncode == 0, result.stderr


def test_exporting_changes_nothing(tmp_path):
    shutil.copy(ROOT / "settings.ini", tmp_path)
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs")
    exported = tmp_path / PACKAGE.name
    exported.mkdir()
    # this file is written by hand, but for the version, which comes from settings.ini
    face = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    (exported / "__init__.py").write_text(re.sub(r"(?m)^__version__ = .*", '__version__ = "0"', face), encoding="utf-8")
    export(tmp_path)

    names = {path.name for folder in (PACKAGE, exported) for path in folder.glob("*.py")}
    same, different, missing = filecmp.cmpfiles(PACKAGE, exported, names, shallow=False)
    assert (different, missing) == ([], []), "run `make export`"


def test_translations_export_nothing(tmp_path):
    shutil.copy(ROOT / "settings.ini", tmp_path)
    for folder in ("", "source", "zh"):
        name = folder or "lesson"
        store(tmp_path / "nbs" / folder / f"{name}.ipynb",
              new_code_cell(f"#| default_exp {name}"), new_code_cell(f"#| export\n{name} = 1"))
    (tmp_path / PACKAGE.name).mkdir()
    export(tmp_path)
    assert {path.name for path in (tmp_path / PACKAGE.name).glob("[a-z]*.py")} == {"lesson.py", "source.py"}


def test_rendering_the_readme_changes_nothing():
    assert readme.differences() == []


def test_a_picture_in_the_readme_needs_a_description(tmp_path):
    execute(store(tmp_path / "nbs" / "index.ipynb", new_code_cell(SVG.replace("a figure", "<Figure>"))))
    with pytest.raises(readme.MissingDescription, match="nbs/index.ipynb, .* should describe it, but it is '<Figure>'"):
        readme.render(tmp_path)


def test_readme_is_the_index_seen_from_the_root(tmp_path):
    hidden_source = new_code_cell(SVG, metadata={"jupyter": {"source_hidden": True}})
    link = "[a](01_a.ipynb), [b](../LICENSE), [c](https://example.org), [d](zh/index.ipynb)"
    index = store(
        tmp_path / "nbs" / "index.ipynb",
        new_markdown_cell(link),
        new_code_cell("#| hide\nprint('left out')"),
        new_code_cell("#| eval: true\nprint('shown')"),
        hidden_source,
    )
    execute(index)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "readme-2.svg").write_text("of an earlier index")
    assert readme.differences(tmp_path) == [
        "README.md is not what nbs/index.ipynb renders to",
        "images/readme-1.svg is not what nbs/index.ipynb renders to",
        "images/readme-2.svg is no longer used",
    ]

    readme.write(tmp_path)
    assert readme.differences(tmp_path) == []
    assert (tmp_path / "README.md").read_text().split("\n\n", 1)[1] == (
        "[a](nbs/01_a.ipynb), [b](LICENSE), [c](https://example.org), [d](README.zh.md)\n\n"
        "```python\nprint('shown')\n```\n\n    shown\n\n"
        "![a figure](images/readme-1.svg)\n"
    )
    assert "three steps" in (tmp_path / "images" / "readme-1.svg").read_text()


def test_the_readme_of_a_translation_is_its_index_seen_from_the_root(tmp_path):
    for folder, link in [("nbs", "zh/index.ipynb"), ("nbs/zh", "../index.ipynb")]:
        path = store(tmp_path / folder / "index.ipynb",
                     new_markdown_cell(f"[other]({link}), [a](01_a.ipynb), [b](../../LICENSE)"), new_code_cell(SVG))
        execute(path)
    readme.write(tmp_path)
    assert readme.differences(tmp_path) == []
    assert "[other](README.md), [a](nbs/zh/01_a.ipynb), [b](LICENSE)" in (tmp_path / "README.zh.md").read_text()
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["readme-1.svg"]


# The package.


def modules_imported_by(module):
    return imported_modules(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", sorted(set(MODULES) & set(NUMBERS) - set(SOURCES)))
def test_lesson_imports_only_earlier_lessons(module):
    lessons = modules_imported_by(module) & NUMBERS.keys() - set(SOURCES)
    assert {name for name in lessons if NUMBERS[name] >= NUMBERS[module]} == set()


def test_modules_import_only_what_comes_before_them():
    # raises CycleError, with the modules of the circle, where there is no such order
    order = TopologicalSorter({module: modules_imported_by(module) for module in MODULES}).static_order()
    assert set(order) == set(MODULES)


def test_the_index_says_of_each_source_notebook_what_it_says_of_itself():
    said = {name: read(ROOT / "nbs" / "source" / f"{name}.ipynb").cells[0].source.splitlines()[2].removeprefix("> ")
            for name in SOURCES}
    assert source_table() == said


def test_the_index_lists_source_notebooks_in_the_order_of_their_imports():
    order = list(source_table())
    later = {name: modules_imported_by(name) & set(order[place:]) for place, name in enumerate(order)}
    assert {name: names for name, names in later.items() if names} == {}


def imported_modules(tree: ast.AST) -> set[str]:
    """The modules of this package that a module imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == PACKAGE.name):
            path = node.module.removeprefix(PACKAGE.name).strip(".") if node.module else ""
            names |= {path.split(".")[0]} if path else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith(f"{PACKAGE.name}.")}
    return names


def test_imported_modules_are_found():
    source = "import masking_tutorial.a\nfrom .b import x\nfrom masking_tutorial.c import x\nfrom . import d\nimport ast"
    assert imported_modules(ast.parse(source)) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_private_name_crosses_a_module(module):
    assert private_imports(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))) == set()


def private_imports(tree: ast.AST) -> set[str]:
    """The names with an underscore that a module imports from this package."""
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            and (node.level or node.module.split(".")[0] == PACKAGE.name)
            for alias in node.names if alias.name.startswith("_")}


def test_private_imports_are_found():
    source = "from masking_tutorial.a import _a, b\nfrom .c import (d,\n  _e)\nfrom ast import _f\nfrom . import _g"
    assert private_imports(ast.parse(source)) == {"_a", "_e", "_g"}


@pytest.mark.parametrize("module", ["datasets", "exercises", "padding", "plans", "reports"])
def test_module_needs_no_tensorflow(module):
    loaded = run("-c", f"import sys, masking_tutorial.{module}; print({{'tensorflow', 'keras'}} & sys.modules.keys())")
    assert loaded.stdout == "set()\n", loaded.stderr
