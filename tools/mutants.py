"""Changes a module in many small ways and counts how many of the changes its tests notice.

    python -m tools.mutants MODULE [FUNCTION ...]

Each change is a mutant: a plus becomes a minus, an argument is left out. The tests kill it, or it survives. Wording is
left as it is: docstrings, texts of more than one word, and what is raised.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.notebooks import ROOT

# The tests that belong to a module; tests/test_MODULE.py where nothing is said.
TESTS = {
    "batching": ["test_batching.py", "test_padding.py"],
    "custom_layers": ["test_layers.py"],
    "losses_and_metrics": ["test_losses.py"],
    "mask_generation": ["test_masks.py"],
    "packing": ["test_batching.py"],
    "plans": ["test_batching.py"],
    "ruler": ["test_masks.py"],
}

# A mutant that runs forever, or ends Python, is noticed as well.
KILLED = {"killed", "timeout", "segfault", "suspicious"}

# Of all mutants, without those in wording, the share that must be killed.
ENOUGH = 0.95

CONFIGURATION = """
[tool.mutmut]
source_paths = ["masking_tutorial"]
only_mutate = ["masking_tutorial/{module}.py"]
also_copy = ["conftest.py", "tests"]
pytest_add_cli_args_test_selection = [{tests}]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:nbval"]
# A mutant that runs for five times as long as the tests is taken to run forever.
timeout_multiplier = 5.0
"""


# Most mutants are killed by a test of one case, so these come before those of many.
CONFTEST = """

def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: hasattr(item.obj, "hypothesis"))
"""


class Plain(ast.NodeTransformer):
    """A module of which mutmut changes all but the wording.

    It changes neither f-strings nor functions with a decorator, so wording becomes the first, and the second get
    theirs in a line of its own.
    """

    def visit_Constant(self, node):
        has_words = isinstance(node.value, str) and re.search(r"\w[^\w]* [^\w]*\w", node.value)
        return ast.JoinedStr([node]) if has_words else node

    def visit_JoinedStr(self, node):
        return node

    def visit_MatchValue(self, node):
        return node

    def visit_Expr(self, node):  # a docstring is written in three quotes, which mutmut leaves alone
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Module(self, node):
        body = []
        for statement in self.generic_visit(node).body:
            body.append(statement)
            if isinstance(statement, ast.FunctionDef):
                for decorator in reversed(statement.decorator_list):
                    name = ast.Name(statement.name, ast.Load())
                    body.append(ast.Assign([ast.Name(statement.name, ast.Store())], ast.Call(decorator, [name], [])))
                statement.decorator_list = []
        node.body = body
        return node


def without_wording(source: str) -> str:
    """The same module, one statement a line; see `Plain`. What is raised is marked for mutmut to leave alone."""
    plain = ast.unparse(ast.fix_missing_locations(Plain().visit(ast.parse(source))))
    return re.sub(r"^( *raise .*)$", r"\1  # pragma: no mutate", plain, flags=re.MULTILINE)


def mutmut(*arguments: str, cwd: Path) -> str:
    result = subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=cwd, capture_output=True, text=True)
    if result.returncode:
        # without the lines of a spinner
        lines = [line for line in (result.stdout + result.stderr).splitlines() if not re.match("[\u2800-\u28ff]", line)]
        raise SystemExit("\n".join([f"mutmut {arguments[0]} ended with {result.returncode}:", *lines]))
    return result.stdout


def run(module: str, tests: list[str], functions: list[str], folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """How each mutant ended, and what those that were not killed change."""
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("masking_tutorial", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=hidden)
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text(encoding="utf-8") + CONFTEST, encoding="utf-8")
    source = folder / "masking_tutorial" / f"{module}.py"
    source.write_text(without_wording(source.read_text(encoding="utf-8")), encoding="utf-8")
    selection = ", ".join(f'"tests/{test}"' for test in tests)
    (folder / "pyproject.toml").write_text(CONFIGURATION.format(module=module, tests=selection), encoding="utf-8")

    # one at a time: TensorFlow uses all processors by itself
    mutmut("run", "--max-children", "1", *(f"*[_\u01c1]{function}__mutmut_*" for function in functions), cwd=folder)
    lines = [line.strip().partition(": ") for line in mutmut("results", "--all", "true", cwd=folder).splitlines()]
    states = {name: state for name, _, state in lines if state not in ("", "not checked")}
    return states, {name: mutmut("show", name, cwd=folder) for name, state in states.items() if state not in KILLED}


def changed_lines(shown: str) -> str:
    """Of a mutant as mutmut shows it, its state and the lines that differ."""
    state = shown.splitlines()[0].rpartition(": ")[2]
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join([f"  {state}", *(f"    {line}" for line in lines)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module", help="a module of the package, such as padding")
    parser.add_argument("functions", nargs="*", help="functions or methods of the module; all if none is given")
    arguments = parser.parse_args()
    tests = TESTS.get(arguments.module, [f"test_{arguments.module}.py"])
    missing = [path for path in (f"masking_tutorial/{arguments.module}.py", *(f"tests/{test}" for test in tests))
               if not (ROOT / path).exists()]  # fmt: skip
    if missing:
        parser.error(f"there is no {missing[0]}")

    with tempfile.TemporaryDirectory() as folder:
        states, left = run(arguments.module, tests, arguments.functions, Path(folder))
    killed = len(states) - len(left)
    print(f"{arguments.module}, with {', '.join(tests)}: {killed} of {len(states)} mutants killed, "
          f"{killed / len(states):.1%}")
    for name, shown in left.items():
        print(name.rpartition(".")[2])
        print(changed_lines(shown))
    return 0 if killed > ENOUGH * len(states) else 1


if __name__ == "__main__":
    sys.exit(main())
