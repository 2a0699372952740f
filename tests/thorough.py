"""Which cases of a long table `make test` runs; `make thorough` runs the others."""

import os

import pytest
from hypothesis import settings

BACKEND_NAME = os.environ.get("KERAS_BACKEND", "tensorflow")


def some_of(cases, every=1, on_jax=1):
    """All cases as parameters; only every so-manyth of them is one of `make test`.

    With JAX, which compiles each operation for each shape, it may be fewer: `pytest -m thorough` runs the others there."""
    every *= on_jax if BACKEND_NAME == "jax" else 1
    return [
        case if place % every == 0 else pytest.param(case, marks=pytest.mark.thorough, id=str(case))
        for place, case in enumerate(cases)
    ]


def examples(most=100, on_jax=20):
    """How many examples a test with arrays of many shapes has: fewer with JAX."""
    return settings(max_examples=on_jax if BACKEND_NAME == "jax" else most)
