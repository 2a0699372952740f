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
