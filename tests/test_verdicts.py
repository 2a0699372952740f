"""The verdicts of check_padding and find_leaks on random models, and the truth that they are measured against."""

from collections import Counter
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import random_layers as own
from keras import layers as L
from random_models import Form, Meter, Plan, Spoil, build, new_group, new_source, random_case
from thorough import some_of

from benchmarks.verdicts import judged

pytestmark = [
    pytest.mark.usefixtures("seeded", "without_graphs"),
    pytest.mark.filterwarnings("ignore:.*destroy the mask"),
    pytest.mark.filterwarnings("ignore:.*does not have a `build"),
    pytest.mark.filterwarnings("ignore:.*does not support mask"),
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis"),
]

SEEDS = range(60)


@cache
def case_of(seed):
    return random_case(seed, small=True)


@cache
def judged_case(seed):
    return judged(case_of(seed))


@pytest.mark.parametrize("seed", some_of(SEEDS, 5))
def test_the_verdict_is_right(seed):
    verdict = judged_case(seed)
    wrong = verdict.contract_error or verdict.leaks_error or not verdict.apart
    assert not wrong, "\n".join([*verdict.lines(), verdict.case.text, f"options: {verdict.case.options}"])


@pytest.mark.parametrize("seeds", [SEEDS[::5], pytest.param(SEEDS, marks=pytest.mark.thorough)], ids=["some", "all"])
def test_the_culprit_is_named_first(seeds):
    verdicts = [judged_case(seed) for seed in seeds]
    counts = Counter(verdict.culprit for verdict in verdicts if verdict.culprit)
    assert counts["right"] >= 0.95 * sum(counts.values()), "\n".join(
        line for verdict in verdicts for line in verdict.lines())


def test_what_is_said_wrongly_is_counted():
    def says(*broken, first=None):
        clauses = {name: SimpleNamespace(status="broken" if name in broken else "kept")
                   for name in ("amount", "content", "neighbours")}
        report = type("Report", (), {"__bool__": lambda self: not broken, "clauses": clauses, "first": first})()
        return lambda *arguments, **options: report

    def row(name, verdict="leaks"):
        return SimpleNamespace(name=name, verdict=verdict, inside="", place="")

    cases = [case_of(seed) for seed in range(12)]
    sound = next(case for case in cases if not case.truth.broken)
    leaks = next(case for case in cases if case.truth.leaks and not case.truth.mixes)
    alarm = judged(sound, says("amount"), says("amount", first=row("tees")))
    assert (alarm.contract_error, alarm.leaks_error, alarm.culprit) == ("false alarm", "false alarm", "")
    comfort = judged(leaks, says(), says())
    assert (comfort.contract_error, comfort.leaks_error, comfort.culprit) == ("wrong comfort", "wrong comfort", "missed")
    wrong = judged(leaks, says("neighbours"), says("amount", first=row("thames_9")))
    assert (wrong.contract_error, wrong.leaks_error, wrong.culprit, wrong.apart) == ("", "", "wrong", False)
    right = judged(leaks, says("amount"), says("amount", first=row(f"net/{min(leaks.names)}")))
    assert (right.culprit, right.apart, list(right.lines())) == ("right", True, [])


# The truth.


def masked(write, of_ids=True):
    "A plan in which vectors with a mask go through what `write` adds to it."
    plan = Plan(np.random.default_rng(0))
    group = new_group(plan, "steps", "post")
    if of_ids:
        ids = new_source(plan, "words", group, "ids")
        x = plan.add(L.Embedding, ids, to=4, input_dim=own.IDS, output_dim=4, mask_zero=True)
    else:
        x = plan.add(L.Masking, new_source(plan, "words", group, "floats", 4))
    plan.spoils.append(Spoil(group, plan.steps[-1].name, True))
    plan.outputs.append(write(plan, x))
    return plan


MEASURED = {
    "a mean with the mask": (lambda plan, x: plan.add(L.GlobalAveragePooling1D, x, time=False), set()),
    "each step by itself": (lambda plan, x: plan.add(own.halved, plan.add(L.Dense, x, to=4, units=4)), set()),
    "a convolution of zeros": (lambda plan, x: plan.add(own.Birch, x, to=4, filters=4), set()),
    "a normalization with the mask": (lambda plan, x: plan.add(L.BatchNormalization, x), set()),
    "a mean of all steps": (lambda plan, x: plan.add(own.Box, x, time=False), {"amount", "content"}),
    "a division by all steps": (lambda plan, x: plan.add(own.Bay, x, time=False), {"amount"}),
    "a convolution": (lambda plan, x: plan.add(own.Poplar, x, to=4, filters=4), {"amount", "content"}),
    "a mean over the batch": (lambda plan, x: plan.add(
        own.Plum, plan.add(L.GlobalAveragePooling1D, x, time=False)), {"neighbours"}),
    "a normalization without the mask": (lambda plan, x: plan.add(
        L.BatchNormalization, plan.add(own.halved, x)), {"training"}),
    "a mask one step late": (lambda plan, x: plan.add(own.Lime, x), {"mask"}),
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_truth_is_measured(name):
    write, expected = MEASURED[name]
    assert clauses_of(masked(write)) == expected


def test_what_only_zeros_hide_is_measured():
    def total(plan, x):
        return plan.add(own.Juniper, plan.add(L.Dense, x, to=4, units=4, use_bias=False), time=False)

    assert clauses_of(masked(total, of_ids=False)) == {"content"}


def test_gradients_that_are_no_numbers_are_measured():
    def mean(plan, x):
        return plan.add(own.Ash, plan.add(own.Quince, plan.add(L.Dense, x, to=4, units=4, use_bias=False)), time=False)

    assert clauses_of(masked(mean, of_ids=False)) == {"gradients"}


def clauses_of(plan):
    form = Form("functional", "single", fixed=False)
    truth = Meter(plan, form, build(plan, form)).measured()
    assert truth.clear
    clauses = {name for name in ("amount", "content", "neighbours", "training", "gradients")
               if getattr(truth, name) > 1e-3}
    return clauses | ({"mask"} if truth.mask else set())


def test_a_seed_stands_for_one_case():
    first, again, another = random_case(5, small=True), case_of(5), case_of(6)
    same = [(case.text, case.kind, case.names, str(case.truth)) for case in (first, again)]
    assert same[0] == same[1]
    assert first.text != another.text
