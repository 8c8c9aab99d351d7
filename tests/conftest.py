"""Hypothesis draws the same examples in every run, so a test that passes today passes tomorrow."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "isospike",
    derandomize=True,
    deadline=None,
    max_examples=25,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("isospike")
