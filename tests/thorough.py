"""Which cases of a long table `make test` runs; `make thorough` runs the others."""

import pytest


def some_of(cases, every):
    """All cases as parameters; only every so-manyth of them is one of `make test`."""
    return [
        case if place % every == 0 else pytest.param(case, marks=pytest.mark.thorough, id=str(case))
        for place, case in enumerate(cases)
    ]
