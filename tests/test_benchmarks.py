"""The benchmarks can be called as their README says; what they measure is not tested, for that depends on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.notebooks import notebooks

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("__") and path.stem != "common")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_called(name):
    ran = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0 and "usage:" in ran.stdout, ran.stderr
    assert f"`{name}`" in (ROOT / "benchmarks" / "README.md").read_text()


def test_all_notebooks_are_timed_unless_one_is_named():
    assert {path.relative_to(ROOT) for path in notebooks()} == {
        path.relative_to(ROOT) for folder in ("nbs", "nbs/source") for path in (ROOT / folder).glob("*.ipynb")}
    assert {"00_why_padding_matters", "index", "masks"} <= {path.stem for path in notebooks()}
    assert [path.stem for path in notebooks("09")] == ["09_mask_debugger"]
