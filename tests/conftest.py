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
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    keras.utils.set_random_seed(0)
    yield
    keras.mixed_precision.set_global_policy("float32")
