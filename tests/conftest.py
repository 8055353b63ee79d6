"""Shared by all tests: Hypothesis without a clock (timings belong in bench/)."""

from hypothesis import settings

settings.register_profile("tre", deadline=None)
settings.load_profile("tre")
