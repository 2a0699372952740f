"""How many models with a padding fault `mend` mends, what it changes, and what it costs; measured, not as it says.

The models are those of tests/public_models.py, and the broken graphs among those of tests/random_models.py, one for
each seed. To see one of them with its report: python -m benchmarks.mend --only wavenet, or --only random --first 26
--models 1.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time
import warnings
from dataclasses import dataclass
from statistics import median_low

from benchmarks.common import ROOT, arguments, machine, side_by_side, table, verdict

sys.path.insert(0, str(ROOT / "tests"))  # the models stand with the tests

ROUNDING = {"float16": 1e-2, "float32": 1e-5}  # a smaller difference of two answers is rounding; above MOVED it is none
MOVED = {"float16": 2e-2, "float32": 1e-3}
SHARE = 0.9  # that is to be mended of the faults that have a remedy
NO_REMEDY = (  # faults of random models that no mask and no zeros mend, unless answers without padding change
    "neighbours mixed",       # the other sequences count, with padding and without
    "mask inverted by hand",  # without padding it rules out all steps: turned round, those answers change
    "division by zero",       # no mask keeps NaN out of a gradient
)


@dataclass
class Mending:
    "What mend made of one model, and what was measured."
    name: str
    fault: str       # kind of the fault
    mendable: object # True, "partly" or False
    mended: str      # "yes", "partly", "no" or "raised"
    reason: str      # why not, as mend says
    edits: int
    change: object   # largest change of an answer without padding; None where nothing was mended
    before: float    # padding error
    after: object
    passes: float    # what mend took, in forward passes of the model
    dtype: str = "float32"

    @property
    def wrong(self):
        "What is wrong, or nothing; also of a model that is mended in part."
        changed = self.change is not None and not self.change <= ROUNDING[self.dtype]
        leaks = self.mended == "yes" and not self.after <= MOVED[self.dtype]
        return ("an answer without padding changed" if changed else "padding still changes the answers" if leaks
                else "raised" if self.mended == "raised" else "")

    def cells(self):
        errors = [exponent(number) for number in (self.change, self.before, self.after)]
        return [self.mended, self.edits, *errors, self.passes]


COLUMNS = ["mended", "edits", "change without padding", "error before", "error after", "forward passes"]


def exponent(number):
    return None if number is None else f"{number:.0e}" if number else "0"


def attempt(mend, model, batch, options):
    "The mended model or None, its report or what was raised, and the forward passes that it took."
    started = time.perf_counter()
    try:
        mended, report = mend(model, batch, partial=True, **options)
    except Exception as raised:  # whatever it is, it is counted
        mended, report = None, raised
    seconds = time.perf_counter() - started
    return mended, report, seconds / side_by_side({"forward": lambda: model(batch)}, 3)["forward"]


def outcome(mended, report):
    "Whether it was mended, why not, and the number of edits."
    if isinstance(report, Exception):
        return "raised", f"{type(report).__name__}: {' '.join(str(report).split())[:160]}", 0
    state = "no" if mended is None else "yes" if report.ok else "partly"
    return state, "; ".join(report.left) or report.verdict * (state != "yes"), len(report.edits)


# Both kinds of models.


def of_public(mend, name):
    "Mend a model of the examples."
    from public_models import change_without_padding, padding_error, public_case, unrolled

    case = public_case(name)
    mended, report, passes = attempt(mend, case.model, case.batch, case.options)
    with unrolled(case.model):
        before = padding_error(case.model, case)
    change = after = None
    if mended is not None:
        change, after = change_without_padding(case.model, mended, case), padding_error(mended, case)
    state, reason, edits = outcome(mended, report)
    dtype = case.model.outputs[0].dtype
    return Mending(name, case.fault, case.mendable, state, reason, edits, change, before, after, passes, dtype), report


def of_random(mend, case):
    "Mend a random model, in the form that takes any number of steps, if it can be had."
    from random_models import Built, Meter, batch_of

    meter = case.meter
    plan, model = meter.plan, meter.built.model
    batch = batch_of(plan, meter.form)
    mended, report, passes = attempt(mend, model, batch, case.options)
    change = after = None
    if mended is not None:
        again = Meter(plan, meter.form, Built(mended, dict(layers_by_name(mended)), {}))
        again.known = [spoil for spoil in again.known if not spoil.behind or spoil.name in again.built.layers]
        after = error_of(again.measured())
        change = again.difference(without_padding(again), without_padding(meter))
    state, reason, edits = outcome(mended, report)
    mendable = case.kind not in NO_REMEDY and not in_own_layer(plan, meter.form)
    return Mending(f"seed {case.seed}", case.kind, mendable, state, reason, edits, change, error_of(case.truth), after,
                   passes), report


def error_of(truth):
    "The largest of what was measured; what cannot be had is left out, and a wrong mask counts as much as an answer."
    return max([size for size in truth.sizes if size == size] + [float(truth.mask)])


def layers_by_name(model):
    "Names and layers of a model, also of models in it."
    for layer in model.layers:
        yield layer.name, layer
        if hasattr(layer, "layers"):
            yield from layers_by_name(layer)


def without_padding(meter):
    "Answers for sequences without padding: each alone, or those that fill a fixed number of steps."
    if not meter.plan.one_length:
        return meter.alone()
    groups = meter.plan.groups.values()
    full = [row for row in range(meter.plan.rows) if all(group.lengths[row] == group.steps for group in groups)]
    return {key: answer for row in full for key, answer in meter.answers([row]).items()}


def in_own_layer(plan, form):
    "Whether the fault is inside of a layer that is not one of Keras: only what is around can be mended."
    planted = [place for place, step in enumerate(plan.steps) if step.name in plan.planted]
    first, last, kind = form.nest or (0, -1, "")
    return any(kind == "layer" and first <= place <= last or plan.steps[place].made
               and not plan.steps[place].made.kind.__module__.startswith("keras.") for place in planted)


def broken_graphs(seeds):
    "The random models that mend is made for."
    from random_models import random_case

    for seed in seeds:
        case = random_case(seed, small=True)
        if case.meter.form.graph and case.truth.broken:
            yield case


# What is printed.


def random_table(mendings):
    "A row for each kind of fault; those that have no remedy, or are in a layer of one's own, apart."
    kinds = {}
    for mending in mendings:
        why = " (no remedy)" if mending.fault in NO_REMEDY else "" if mending.mendable else " (own layer)"
        kinds.setdefault(mending.fault + why, []).append(mending)
    states = ("yes", "partly", "no", "raised")
    table("Random models by the fault that was planted: how many were mended; medians of edits and passes; the largest "
          "change, and the largest errors", ["fault", *states, *COLUMNS[1:]],
          [[kind, *(sum(mending.mended == state for mending in group) for state in states), *summary(group)]
           for kind, group in sorted(kinds.items())])


def summary(group):
    "The numbers of a row; errors afterwards are those of models that are said to be mended."
    numbers = ([mending.change for mending in group], [mending.before for mending in group],
               [mending.after for mending in group if mending.mended == "yes"])
    largest = [max((number for number in column if number is not None), default=None) for column in numbers]
    return [median_low(mending.edits for mending in group), *map(exponent, largest),
            median_low(mending.passes for mending in group)]


def judge(title, mendings):
    "Say which aims are met."
    with_remedy = [mending for mending in mendings if mending.mendable is True]
    if with_remedy:
        share = sum(mending.mended == "yes" and not mending.wrong for mending in with_remedy) / len(with_remedy)
        verdict(f"{title}: of {len(with_remedy)} faults that have a remedy {share:.1%} are mended: {SHARE:.0%}",
                share >= SHARE)
    for wrong in ("an answer without padding changed", "padding still changes the answers", "raised"):
        count = sum(mending.wrong == wrong for mending in mendings)
        verdict(f"{title}: {count} times {wrong}: none", not count)


def main():
    options = arguments(__doc__, models=200, first=0, only="")
    warnings.filterwarnings("ignore")  # the models are broken on purpose, and Keras says so
    import tensorflow as tf
    from public_models import CASES

    from masking_tutorial.mend import mend

    tf.get_logger().setLevel("ERROR")
    if options.only not in ("", "public", "random", *CASES):
        sys.exit(f"--only {options.only}: choose public, random, or one of {', '.join(CASES)}")
    names = {"": CASES, "public": CASES, "random": ()}.get(options.only, [options.only])
    seeds = range(options.first, options.first + options.models) if options.only in ("", "random") else ()
    machine()
    public, random, reports = [], [], []
    for name in names:
        mending, report = of_public(mend, name)
        public.append(mending)
        reports.append(report)
        print(f"{name}: {mending.mended}", flush=True)
    for case in broken_graphs(seeds):
        mending, report = of_random(mend, case)
        random.append(mending)
        reports.append(report)
        if len(random) % 20 == 0:
            print(f"{len(random)} random models", flush=True)
    if len(reports) == 1:
        print(f"\n{reports[0]}")
    if public:
        table("Models as examples publish them", ["model", "has a remedy", *COLUMNS],
              [[mending.name, {True: "yes", False: "no"}.get(mending.mendable, mending.mendable), *mending.cells()]
               for mending in public])
    if random:
        random_table(random)
    print()
    for mending in public + random:
        if mending.wrong or mending.mended != "yes" and mending.mendable is not False:
            print(f"{mending.name} ({mending.fault}): {mending.wrong or mending.mended}; {mending.reason}")
    print()
    for title, mendings in (("examples", public), ("random models", random)):
        if mendings:
            judge(title, mendings)


if __name__ == "__main__":
    main()
