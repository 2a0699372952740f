"""Timing side by side, tables and drawings for the benchmarks."""

import argparse
import gc
import importlib.util
import os
import platform
import time
from pathlib import Path
from statistics import median

from masking_tutorial.datasets import PADDING, VALID, as_svg, new_figure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def arguments(description, **defaults):
    """The options of a script: its own numbers, each with a default."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    return parser.parse_args()


def installed(module):
    return importlib.util.find_spec(module) is not None


def side_by_side(contenders, rounds, enough=10.0):
    """Median seconds of each contender: a function, or None where it is not to be had.

    In each round all of them run once, in turn, so that a busy moment of the machine meets all alike. A round before
    the first is not counted. A slow contender that has used `enough` seconds in three rounds or more is left out of
    those that follow."""
    seconds = {name: [] for name, function in contenders.items() if function}
    for number in range(rounds + 1):
        for name in seconds:
            if number > 3 and sum(seconds[name]) > enough:
                continue
            gc.disable()
            started = time.perf_counter()
            result = contenders[name]()
            stopped = time.perf_counter()
            gc.enable()
            del result
            if number:
                seconds[name].append(stopped - started)
    return {name: median(seconds[name]) if name in seconds else None for name in contenders}


def table(title, columns, rows):
    """Print a table; numbers are rounded to two decimals, None is a dash."""
    cells = [columns, *[[shown(cell) for cell in row] for row in rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  ".join(cell.rjust(width) if place else cell.ljust(width)
                        for place, (cell, width) in enumerate(zip(row, widths))))
        if not number:
            print("  ".join("-" * width for width in widths))


def shown(cell):
    if cell is None:
        return "-"
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def bars(name, title, groups, unit, marked=()):
    """Draw numbers as horizontal bars, one axis for each group, and store them as SVG in results/.

    `groups` is a dict from a heading to a dict from a label to a number or None; `marked` has the labels to colour."""
    tallest = max(len(group) for group in groups.values())
    figure, axes = new_figure(rows=len(groups), height=0.45 + 0.24 * tallest)
    for axis, (heading, group) in zip(axes, groups.items()):
        group = {label: number for label, number in group.items() if number is not None}
        axis.barh(list(group), group.values(), color=[VALID if label in marked else PADDING for label in group])
        for place, number in enumerate(group.values()):
            axis.text(number, place, f" {number:.3g}", va="center", fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_title(heading, loc="left", fontsize=10)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel(unit)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.svg"
    as_svg(figure, title).save(path)
    print(f"drawn: {path.relative_to(ROOT)}")


def verdict(aim, holds):
    print(f"{'[met]   ' if holds else '[missed]'} {aim}")


def machine():
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
