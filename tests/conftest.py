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
def values_can_be_read(monkeypatch):
    """With PyTorch, derivatives are kept in `fit` alone, so that NumPy reads what a model returns elsewhere."""
    if os.environ.get("KERAS_BACKEND") != "torch":
        yield
        return
    import keras
    import torch

    for name in ("fit", "train_on_batch"):
        monkeypatch.setattr(keras.Model, name, torch.enable_grad()(getattr(keras.Model, name)))
    with torch.no_grad():
        yield
