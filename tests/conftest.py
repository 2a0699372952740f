import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from thorough import BACKEND_NAME

# JAX compiles each operation for each shape. What it has compiled once, for another test too, it finds here again.
if BACKEND_NAME == "jax":
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

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


#: Tests that fail because of Keras.
AVERAGE = "AveragePooling1D counts the zeros that padding='same' lays before a sequence"
NORMALIZATION = "LayerNormalization does not run over another axis than the last"
METRICS = "in `fit`, metrics get predictions without their masks"
DEFECTS_OF_KERAS = {"jax": {
    "test_in_fit_saved_and_loaded": METRICS,
    "test_early_stopping_wants_its_mode": METRICS,
}, "torch": {
    "test_each_sequence_gets_what_it_gets_alone[AveragePooling same 4 2]": AVERAGE,
    "test_without_padding_a_layer_is_that_of_keras[AveragePooling same 4 2]": AVERAGE,
    "test_padding_changes_nothing_and_the_mask_is_right[LayerNormalization time]": NORMALIZATION,
    "test_without_a_mask_it_is_the_layer_of_keras[LayerNormalization time]": NORMALIZATION,
}}


def pytest_collection_modifyitems(config, items):
    """Leave out the tests that are about TensorFlow, with another backend."""
    if BACKEND_NAME == "tensorflow":
        return
    left_out = [item for item in items if item.get_closest_marker("tensorflow")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        if reason := DEFECTS_OF_KERAS.get(BACKEND_NAME, {}).get(item.name):
            item.add_marker(pytest.mark.xfail(reason=reason))


@pytest.fixture(autouse=True)
def values_can_be_read(monkeypatch):
    """With PyTorch, derivatives are kept in `fit` alone, so that NumPy reads what a model returns elsewhere."""
    if BACKEND_NAME != "torch":
        yield
        return
    import keras
    import torch

    for name in ("fit", "train_on_batch"):
        monkeypatch.setattr(keras.Model, name, torch.enable_grad()(getattr(keras.Model, name)))
    with torch.no_grad():
        yield


@pytest.fixture(autouse=True, scope="module")
def compiled_functions_are_let_go():
    """JAX keeps what it has compiled, about 2 MB for each operation and shape: here for no longer than a file."""
    yield
    if BACKEND_NAME == "jax":
        import jax

        jax.clear_caches()
