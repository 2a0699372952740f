"""The benchmarks can be called as their README says; what they measure is not tested, for that depends on the machine."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.notebooks import notebooks
from benchmarks.scale import drawn_lengths, hosts_wait, plain_plan, planned, waiting
from masking_tutorial import plans

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("__") and path.stem != "common")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_called(name, monkeypatch, capsys):
    # in this process, as `python -m` does it: TensorFlow is imported once and not by each script
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert not ended.value.code and "usage:" in capsys.readouterr().out
    assert f"`{name}`" in (ROOT / "benchmarks" / "README.md").read_text()


def test_all_notebooks_are_timed_unless_one_is_named():
    assert {path.relative_to(ROOT) for path in notebooks()} == {
        path.relative_to(ROOT) for folder in ("nbs", "nbs/source") for path in (ROOT / folder).glob("*.ipynb")}
    assert {"00_why_padding_matters", "index", "masks"} <= {path.stem for path in notebooks()}
    assert [path.stem for path in notebooks("09")] == ["09_mask_debugger"]


def test_waiting_is_the_share_of_the_time_in_which_a_host_has_nothing_to_do():
    assert waiting(np.array([[4, 2], [4, 2]])) == 0
    assert waiting(np.array([[4, 1], [2, 3]])) == pytest.approx(4 / 14)  # 2 x (4 + 3) seconds, of which 10 are work


def test_hosts_with_one_plan_wait_less_and_one_host_never_waits():
    lengths = drawn_lengths(20_000)
    assert lengths.dtype == "uint8" and lengths.max() == 186
    waits = hosts_wait(lengths, (1, 4))
    for (name, hosts), shares in waits.items():
        if hosts == 1:
            assert shares == [0] * 6
        else:
            own, dealt = shares[2:4]
            assert dealt < own / 2 and own > 0.2, name


def test_a_plan_is_made_in_a_process_of_its_own():
    seconds, size, batches = planned(100_000, {"token_budget": 2048})
    assert seconds > 0 and size > 4 and batches == len(plans.plan_batches(drawn_lengths(100_000), token_budget=2048))
    assert planned(1000, None, plain=True)[2] == len(plain_plan(drawn_lengths(1000))) == 16
