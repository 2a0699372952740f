"""Run all benchmarks, one after another."""

import subprocess
import sys

from benchmarks.common import ROOT

if __name__ == "__main__":
    failed = 0
    for name in ("pad_sequences", "packing", "training", "scale", "debugger", "guard", "verdicts", "mend", "imports",
                 "notebooks"):
        print(f"\n==== {name} ====", flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT).returncode
    sys.exit(failed)
