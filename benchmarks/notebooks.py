"""Seconds for each notebook, tested as `make test` does it, one after another."""

import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.common import ROOT, arguments, bars, machine, table, verdict
from tools.notebooks import notebook_paths

LIMIT = 60  # seconds for a notebook


def notebooks(only=""):
    return [path for path in notebook_paths() if only in path.name]


def main():
    options = arguments(__doc__, only="")
    machine()
    seconds, passed = {}, {}
    for path in notebooks(options.only):
        started = time.perf_counter()
        ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", path], cwd=ROOT, capture_output=True)
        seconds[path.stem], passed[path.stem] = time.perf_counter() - started, ran.returncode == 0
    table("The notebooks under nbval", ["notebook", "seconds", "outputs agree"],
          [[name, f"{time:.0f}", "yes" if passed[name] else "no"] for name, time in seconds.items()])
    print()
    verdict(f"no notebook over {LIMIT} s", max(seconds.values(), default=0) <= LIMIT)
    bars("notebooks", "Seconds for each notebook under nbval", {"one after another": seconds}, "seconds")


if __name__ == "__main__":
    main()
