"""The rules in pyproject.toml: those of ruff for every Python file, those of mypy for the package; and names."""

import ast
import re
import subprocess
import sys

import pytest

from tools.notebooks import ROOT, notebook_paths, read

LINTED = ("benchmarks", "conftest.py", "masking_tutorial", "setup.py", "site", "tests", "tools")
PYTHON_FILES = [path for name in LINTED for path in [ROOT / name, *(ROOT / name).rglob("*.py")] if path.suffix == ".py"]


def run(*command, **options):
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, **options)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("command", [("ruff", "check"), ("mypy",)], ids=["ruff", "mypy"])
def test_the_code_keeps_the_rules(command):
    code, output = run(*command)
    assert code == 0, output


def test_ruff_looks_at_every_python_file():
    _, output = run("ruff", "check", "--show-files")
    assert set(map(str, PYTHON_FILES)) <= set(output.splitlines())


# Of each kind of rule, a line that breaks it.
@pytest.mark.parametrize("place", ["tests/test_new.py", "masking_tutorial/new.py", "tools/new.py"])
@pytest.mark.parametrize(
    "line, rule",
    [
        ("import os", "F401"),
        ("print(unknown)", "F821"),
        ("def f(x=[]):\n    return x", "B006"),
        ("x = 1 ;", "E703"),
        ("import pytest\nwith pytest.raises(ValueError):\n    pytest.skip()", "PT011"),
        ("print('%s' % 3)", "UP031"),
        ("x = 1  # noqa: F401", "RUF100"),
    ],
)
def test_ruff_finds_what_breaks_a_rule(place, line, rule):
    code, output = run("ruff", "check", "--output-format", "concise", "--stdin-filename", place, "-", input=line + "\n")
    assert code == 1 and f" {rule} " in output, output


@pytest.mark.parametrize("body", ["return 1 + 'a'", "return len(3)", "import numpy as np\n    return np.nothing"])
def test_mypy_looks_into_functions_without_types(body, tmp_path):
    (tmp_path / "new.py").write_text(f"def f():\n    {body}\n")
    code, output = run("mypy", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "new.py"))
    assert code == 1 and "new.py:" in output and "Found 1 error" in output, output


EMPTY_NAMES = {"one", "found", "other", "others", "each"}


def bound(source):
    """The names that Python source binds: variables, arguments, functions and classes."""
    for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def code_of(path):
    return [path.read_text()] if path.suffix == ".py" else [cell.source for cell in read(path).cells if cell.cell_type == "code"]


def test_names_say_what_they_hold():
    empty = {f"{path.relative_to(ROOT)}: {name}" for path in [*notebook_paths(), *PYTHON_FILES]
             for source in code_of(path) for name in EMPTY_NAMES.intersection(bound(source))}
    assert not empty


@pytest.mark.parametrize("line", [
    "one = 1", "for other in []: pass", "[found for found in ()]", "lambda each: each", "def f(*others): pass", "def found(): pass",
    "with open('a') as one: pass", "a, *others = range(3)", "if (found := 1): pass", "class other: pass", "%time 1\none: int = 1"])
def test_an_empty_name_is_seen(line):
    assert EMPTY_NAMES.intersection(bound(line))
