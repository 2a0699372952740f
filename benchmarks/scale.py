"""From ten thousand sequences to a hundred million, and from one host to many.

The lengths are those of the snippets, drawn at random as often as needed. Each plan is made in a fresh process. Then
hosts that train together are simulated: at every step all wait for the slowest, so batches that differ in length cost
time. Each host plans for its own share, or all make one plan and deal it out.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import subprocess
import sys

import numpy as np

from benchmarks.common import ROOT, arguments, bars, machine, table, verdict
from masking_tutorial.datasets import load_snippets, tokenize
from masking_tutorial.plans import plan_batches

SIZES = {
    "64 sequences": {"batch_size": 64},
    "64 sequences, window of 4096": {"batch_size": 64, "window": 4096},
    "2048 tokens": {"token_budget": 2048},
    "2048 tokens, window of 4096": {"token_budget": 2048, "window": 4096},
}

# what one step of training takes, for layers that work cell by cell, step by step, and on pairs of steps
COSTS = {
    "cells": lambda rows, steps: rows * steps,
    "recurrent": lambda rows, steps: steps,
    "attention": lambda rows, steps: rows * steps**2,
}

# planned once for the time, and once more for the memory, whose counting takes time of its own
PROGRAM = """
import json, sys, time, tracemalloc
from benchmarks.scale import drawn_lengths, plain_plan
from masking_tutorial.plans import plan_batches
count, plain, sizes = json.loads(sys.argv[1])
lengths = drawn_lengths(count)
make = (lambda: plain_plan(lengths)) if plain else (lambda: plan_batches(lengths, **sizes))
started = time.perf_counter()
batches = len(make())
seconds = time.perf_counter() - started
tracemalloc.start()
make()
print(json.dumps([seconds, tracemalloc.get_traced_memory()[1] / count, batches]))
"""


def drawn_lengths(count, at_once=1_000_000):
    """So many lengths from the snippets, in one byte each; drawn in parts, so that drawing takes little memory."""
    lengths = np.array([len(tokenize(text)) for text in load_snippets().texts], "uint8")  # at most 186
    random, drawn = np.random.default_rng(0), np.empty(count, "uint8")
    for start in range(0, count, at_once):
        part = drawn[start : start + at_once]
        part[:] = lengths[random.integers(0, len(lengths), len(part))]
    return drawn


def plain_plan(lengths, size=64):
    """What chapter 11 builds: a list of arrays, in batches of 64."""
    random = np.random.default_rng(0)
    order = random.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    plan = [order[start : start + size] for start in range(0, len(order), size)]
    random.shuffle(plan)
    return plan


def planned(count, sizes, plain=False):
    """Seconds, peak bytes for each sequence, and the number of batches."""
    program = [sys.executable, "-c", PROGRAM, json.dumps([count, plain, sizes])]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def growth(exponents):
    """For each number of sequences and each way to plan: seconds and bytes."""
    grown = {}
    for exponent in exponents:
        for name, sizes in {"64 sequences, as in chapter 11": None, **SIZES}.items():
            grown[exponent, name] = planned(10**exponent, sizes, plain=sizes is None)
            print(f"10^{exponent} sequences, {name}: {grown[exponent, name][0]:.2f} s", flush=True)
    return grown


def waiting(costs):
    """The share of their time that hosts wait for the slowest; costs (hosts, steps) has the seconds of each step."""
    return 1 - costs.mean() / costs.max(axis=0).mean()


def shares_of(lengths, hosts, together, sizes):
    """For each host the rows and the steps of its batches, (hosts, batches) each, in as many batches as all have."""
    if together:
        first = plan_batches(lengths, shard_count=hosts, **sizes)
        plans = [first.share_of(index) for index in range(hosts)]
    else:
        plans = [plan_batches(lengths[index::hosts], seed=index, **sizes) for index in range(hosts)]
    batches = min(map(len, plans))
    rows = np.array([[len(batch) for batch in plan[:batches]] for plan in plans])
    return rows, np.array([plan.steps[:batches] for plan in plans])


def hosts_wait(lengths, all_hosts):
    """For each way to plan and number of hosts: the waiting for each cost, apart and together."""
    waits = {}
    for name, sizes in SIZES.items():
        for hosts in all_hosts:
            shares = [shares_of(lengths, hosts, together, sizes) for together in (False, True)]
            waits[name, hosts] = [waiting(cost(rows, steps)) for cost in COSTS.values() for rows, steps in shares]
    return waits


def main():
    options = arguments(__doc__, largest=8, sequences=1_000_000, hosts=64)
    machine()
    exponents, names = range(4, options.largest + 1), ["64 sequences, as in chapter 11", *SIZES]
    grown = growth(exponents)
    columns = ["sequences", *names]
    table("Seconds for a plan", columns,
          [[f"10^{exponent}", *[grown[exponent, name][0] for name in names]] for exponent in exponents])
    table("Peak memory on top of the lengths, bytes for each sequence", columns,
          [[f"10^{exponent}", *[f"{grown[exponent, name][1]:.1f}" for name in names]] for exponent in exponents])

    all_hosts = [2**power for power in range(options.hosts.bit_length()) if 2**power <= options.hosts]
    waits = hosts_wait(drawn_lengths(options.sequences), all_hosts)
    table(f"Share of the time that hosts wait for the slowest, {options.sequences:,} sequences in all; "
          "each with a plan of its own, or one plan dealt out",
          ["batches", "hosts", *[f"{cost}, {way}" for cost in COSTS for way in ("own", "dealt")]],
          [[name, hosts, *[f"{share:.1%}" for share in shares]] for (name, hosts), shares in waits.items()])

    print()
    largest = [grown[options.largest, name] for name in SIZES]
    verdict(f"10^{options.largest} lengths are planned in less than a minute",
            all(seconds < 60 for seconds, _, _ in largest))
    verdict(f"with less than 12 bytes for each of 10^{options.largest}", all(size < 12 for _, size, _ in largest))
    several = {key: shares for key, shares in waits.items() if key[1] > 1}
    verdict("where a step costs what its number of steps does, one plan dealt out saves four fifths of waiting",
            all(dealt < own / 5 for _, _, own, dealt, _, _ in several.values()))
    verdict("with a budget and all sorted, less than 5% of the time is waiting, whatever a step costs",
            all(max(shares[1::2]) < 0.05 for (name, _), shares in several.items() if name == "2048 tokens"))
    bars("scale", "Share of the time that hosts wait for the slowest", {
        f"{name}, a step costs what its number of steps does": {
            f"{hosts} hosts, {way}": waits[name, hosts][2 + place]
            for hosts in all_hosts[1:] for place, way in enumerate(("own", "dealt"))}
        for name in SIZES}, "share of the time", marked=[f"{hosts} hosts, dealt" for hosts in all_hosts])


if __name__ == "__main__":
    main()
