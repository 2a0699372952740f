"""How long importing takes: each module in a fresh Python, beside what it needs anyway."""

import os
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from statistics import median

from benchmarks.common import ROOT, arguments, bars, machine, table, verdict

MODULES = sorted(path.stem for path in (ROOT / "masking_tutorial").glob("*.py") if not path.stem.startswith("_"))
NUMPY_ONLY = ["datasets", "padding"]

# what comes before the module is not timed
PROGRAM = """
import sys, time
import {before}
started = time.perf_counter()
import masking_tutorial.{module}
print(time.perf_counter() - started, "tensorflow" in sys.modules)
"""


def seconds_of(module, before):
    program = PROGRAM.format(module=module, before=before)
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, tensorflow = ran.stdout.split()
    return float(seconds), tensorflow == "True"


def main():
    options = arguments(__doc__, rounds=5)
    machine()
    milliseconds, with_tensorflow = {module: [] for module in MODULES}, {}
    for _ in range(options.rounds):
        for module in MODULES:
            seconds, with_tensorflow[module] = seconds_of(module, "numpy" if module in NUMPY_ONLY else "keras")
            milliseconds[module].append(1000 * seconds)
    medians = {module: median(times) for module, times in milliseconds.items()}
    table(f"Importing a module of the package (medians of {options.rounds} fresh processes)",
          ["module", "after importing", "adds ms", "loads TensorFlow"],
          [[module, "numpy" if module in NUMPY_ONLY else "keras", f"{medians[module]:.1f}",
            "yes" if with_tensorflow[module] else "no"] for module in MODULES])
    print()
    verdict("padding is imported without TensorFlow", not with_tensorflow["padding"])
    verdict("every other module adds less than 50 ms to importing Keras",
            all(time < 50 for module, time in medians.items() if module not in NUMPY_ONLY))
    bars("imports", "What importing a module adds",
         {"after importing Keras (NumPy for datasets and padding)": medians}, "milliseconds")


if __name__ == "__main__":
    main()
