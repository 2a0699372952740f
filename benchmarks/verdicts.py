"""How often check_padding and find_leaks are right on random models whose truth is known.

The models are those of tests/random_models.py, one for each seed. To see one of them, with its truth and both
reports, name its seed: python -m benchmarks.verdicts --first 26 --models 1
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time
import warnings
from collections import Counter
from dataclasses import dataclass

from benchmarks.common import ROOT, arguments, machine, table, verdict

sys.path.insert(0, str(ROOT / "tests"))  # the generator stands with the tests

TRUTHS = ("sound", "leaks", "mixes", "other")
SAID = ("kept", "broken", "refused")


@dataclass
class Judged:
    "What the two instruments said of one case, beside what is true."
    case: object
    contract: str       # what check_padding said, one of SAID
    leaks: str          # what find_leaks said
    contract_note: str  # what is broken, or why it was refused
    leaks_note: str
    culprit: str        # "right", "wrong", "missed" or "refused"; empty where there is none to find
    apart: bool = True  # whether padding that leaks in and a sequence that does are told apart

    @property
    def truth(self):
        "Of the whole contract."
        if self.case.truth.leaks:
            return "leaks"
        return "mixes" if self.case.truth.mixes else "other" if self.case.truth.broken else "sound"

    @property
    def found_truth(self):
        "Of what find_leaks can see; None where no forward pass shows what is broken."
        return None if self.truth == "other" else self.truth

    @property
    def contract_error(self):
        return error(self.contract, self.truth)

    @property
    def leaks_error(self):
        return error(self.leaks, self.found_truth)

    def lines(self):
        "What went wrong, in words."
        where = f"seed {self.case.seed} ({self.case.kind}; {self.case.truth}; {self.case.text.splitlines()[0]})"
        if self.contract_error:
            yield f"{where}: check_padding, {self.contract_error}: {self.contract_note}"
        if self.leaks_error:
            yield f"{where}: find_leaks, {self.leaks_error}: {self.leaks_note}"
        if not self.apart:
            yield (f"{where}: leaking is taken for mixing, or mixing for leaking: {self.contract_note}; "
                   f"{self.leaks_note}")
        if self.culprit == "wrong":
            yield f"{where}: find_leaks names {self.leaks_note} instead of {' or '.join(sorted(self.case.names))}"


def error(said, truth):
    "What is wrong with a verdict, or nothing."
    if truth is None or said == ("kept" if truth == "sound" else "broken"):
        return ""
    return "refused" if said == "refused" else "wrong comfort" if said == "kept" else "false alarm"


def judged(case, check=None, find=None):
    "Ask both instruments about a case; `check` and `find` take the place of check_padding and find_leaks."
    from masking_tutorial import check_padding, find_leaks

    contract, report = said_by(check or check_padding, case)
    clauses = report.clauses if contract == "broken" else {}
    broken = [name for name, clause in clauses.items() if clause.status == "broken"]
    contract_note = ", ".join(broken) or str(report) * (contract == "refused")
    leaks, report = said_by(find or find_leaks, case)
    first = report.first if leaks == "broken" else None
    leaks_note = str(report) * (leaks == "refused")
    if first:
        leaks_note = f"{first.name} ({first.verdict})" + f" [{first.place}]" * bool(first.place)
    culprit = ""
    if case.leaks:
        right = first and case.is_named(first.name, first.inside, first.place)
        culprit = {"kept": "missed", "refused": "refused", "broken": "right" if right else "wrong"}[leaks]
    said_to_mix = ["neighbours" in broken] if broken else []
    said_to_mix += [first.verdict == "mixes sequences"] if first else []
    # what does both may be called either
    apart = case.truth.leaks == case.truth.mixes or all(mixes == case.truth.mixes for mixes in said_to_mix)
    return Judged(case, contract, leaks, contract_note, leaks_note, culprit, apart)


def said_by(instrument, case):
    "The verdict of an instrument, and its report or what it raised."
    try:
        report = instrument(case.model, case.batch, **case.options)
    except Exception as raised:  # whatever it is, it is a column of its own
        return "refused", f"{type(raised).__name__}: {' '.join(str(raised).split())[:160]}"
    return "kept" if report else "broken", report


def summary(judgements):
    "Print the matrices, and what went wrong."
    for name, said, truth in (("check_padding", "contract", "truth"), ("find_leaks", "leaks", "found_truth")):
        counts = Counter((getattr(judgement, truth), getattr(judgement, said)) for judgement in judgements)
        rows = [row for row in TRUTHS if row != "other" or truth == "truth"]
        table(f"{name}: what is true, and what was said", ["truth", *SAID],
              [[row, *(counts[row, column] for column in SAID)] for row in rows])
    kinds = Counter((judgement.case.kind, judgement.culprit) for judgement in judgements if judgement.culprit)
    columns = ("right", "wrong", "missed", "refused")
    table("find_leaks: what it names first, by the fault that was planted", ["fault", *columns],
          [[kind, *(kinds[kind, column] for column in columns)] for kind in sorted({kind for kind, _ in kinds})])
    print()
    for judgement in judgements:
        for line in judgement.lines():
            print(line)


def main():
    options = arguments(__doc__, models=500, first=0)
    warnings.filterwarnings("ignore")  # the models are broken on purpose, and Keras says so
    import tensorflow as tf
    from random_models import random_case

    tf.get_logger().setLevel("ERROR")
    machine()
    judgements, seconds = [], Counter()
    for seed in range(options.first, options.first + options.models):
        started = time.perf_counter()
        case = random_case(seed)
        seconds["drawing and measuring"] += time.perf_counter() - started
        started = time.perf_counter()
        judgements.append(judged(case))
        seconds["both instruments"] += time.perf_counter() - started
        if options.models > 1 and len(judgements) % 50 == 0:
            print(f"{len(judgements)} of {options.models} models", flush=True)
    if options.models == 1:
        from masking_tutorial import check_padding, find_leaks

        print(f"{case.kind}: {case.truth}\n{case.text}\noptions: {case.options}")
        for instrument in (check_padding, find_leaks):
            print(f"\n{instrument.__name__}\n{said_by(instrument, case)[1]}")
    summary(judgements)
    print("\n" + ", ".join(f"{name}: {duration:.0f} s" for name, duration in seconds.items())
          + f" for {len(judgements)} models\n")
    errors = Counter(error for judgement in judgements for error in (judgement.contract_error, judgement.leaks_error))
    named = Counter(judgement.culprit for judgement in judgements if judgement.culprit)
    for name in ("wrong comfort", "false alarm", "refused"):
        verdict(f"{errors[name]} times {name}: none", not errors[name])
    mistaken = sum(not judgement.apart for judgement in judgements)
    verdict(f"{mistaken} times leaking is taken for mixing, or mixing for leaking: none", not mistaken)
    share = named["right"] / max(1, sum(named.values()))
    verdict(f"the culprit is named first in {share:.1%} of {sum(named.values())}: 95%", share >= 0.95)


if __name__ == "__main__":
    main()
