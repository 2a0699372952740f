import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every run and on every machine, and no limit that depends on how fast it is.
settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("reproducible")


@pytest.fixture
def seeded():
    """The same random numbers for each test, no warnings of models compiled anew, and float32 afterwards."""
    # the tests of padding alone need no TensorFlow
    import keras

    from masking_tutorial.backend import BACKEND

    keras.utils.set_random_seed(0)
    with BACKEND.quiet():
        yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def without_graphs(request):
    """Leave out the clauses of graphs and files: they take most of the time, and have tests of their own.

    A test with the marker `graphs` has them all."""
    from masking_tutorial.contract import CLAUSES

    registered = dict(CLAUSES)
    if not request.node.get_closest_marker("graphs"):
        for name in ("predict", "compiled", "saved"):
            del CLAUSES[name]
    yield
    CLAUSES.clear()
    CLAUSES.update(registered)


@pytest.fixture(autouse=True)
def values_can_be_read():
    """With PyTorch, nothing is kept for derivatives, so that NumPy reads what a model returns."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        yield
        return
    from masking_tutorial.backend import BACKEND

    with BACKEND.without_gradients():
        yield
