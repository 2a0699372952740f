"""What `make mutants` gives to mutmut, and what it says of a mutant; mutmut itself is not needed here."""

import subprocess
import sys

import pytest

from tools.mutants import TESTS, changed_lines, without_wording
from tools.notebooks import ROOT

MODULES = sorted(path.stem for path in (ROOT / "masking_tutorial").glob("[!_]*.py"))

SOURCE = '''"A module of two functions."
from __future__ import annotations
import functools


@functools.cache
@functools.wraps(str)
def double(x, name="ab"):
    "Say it twice."
    if not x:
        raise ValueError("there is "
                         f"no {x}")
    return "key", "two words", f"{x} {x} {'ab'}", " "


def plain():
    match "two words":
        case "two words":
            return True
'''


def test_wording_is_out_of_reach_and_all_else_stays():
    lines = without_wording(SOURCE).splitlines()
    assert lines[:2] == ['"""A module of two functions."""', "from __future__ import annotations"]
    assert '    """Say it twice."""' in lines
    assert "        raise ValueError(f'there is no {x}')  # pragma: no mutate" in lines
    assert "    return ('key', f'two words', f\"{x} {x} {'ab'}\", ' ')" in lines
    assert [line for line in lines if line.startswith("double =")] == [
        "double = functools.wraps(str)(double)",
        "double = functools.cache(double)",
    ]
    assert not any(line.startswith("@") for line in lines)


def test_a_module_without_wording_does_the_same():
    original, reworded = {}, {}
    exec(SOURCE, original)
    exec(without_wording(SOURCE), reworded)
    for x in (3, "three"):
        assert reworded["double"](x) == original["double"](x)
    assert reworded["double"].cache_info().misses == 2 and reworded["double"].__name__ == "str" and reworded["plain"]()
    with pytest.raises(ValueError, match="^there is no 0$"):
        reworded["double"](0)


@pytest.mark.parametrize("module", MODULES)
def test_each_module_is_still_python(module):
    compile(without_wording((ROOT / "masking_tutorial" / f"{module}.py").read_text(encoding="utf-8")), module, "exec")


def test_the_tests_of_a_module_are_there():
    assert set(TESTS) <= set(MODULES)
    assert all((ROOT / "tests" / test).exists() for tests in TESTS.values() for test in tests)


def test_a_mutant_is_told_by_its_lines():
    shown = "# padding.x_f__mutmut_1: survived\n--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n def f():\n-    return 1\n+    return 2\n"
    assert changed_lines(shown) == "  survived\n    -    return 1\n    +    return 2"


def test_a_module_that_does_not_exist_is_refused():
    command = [sys.executable, "-m", "tools.mutants", "paddings"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2 and "there is no masking_tutorial/paddings.py" in result.stderr
