"""Settings that every Python test shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

PROFILE = "EFL_HYPOTHESIS_PROFILE"

# No deadline: the first call of a kernel starts the thread pool, and shared machines stall.
settings.register_profile("fast", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("deep", max_examples=5_000, deadline=None, print_blob=True)


def pytest_configure(config):
    name = os.environ.get(PROFILE, "fast")
    if name not in ("fast", "ci", "deep"):
        raise pytest.UsageError(f"{PROFILE} must be fast, ci or deep, not {name!r}")
    settings.load_profile(name)

    try:
        import efl_core
    except ImportError as error:
        raise pytest.UsageError(f"cannot import efl_core ({error}): run `make test-python`") from error
    if Path(efl_core.__file__).is_relative_to(config.rootpath / "python"):
        raise pytest.UsageError(
            "efl_core comes from ./python: test the installed wheel, with `make test-python`"
        )


def pytest_report_header():
    import efl_core

    return f"efl_core: {Path(efl_core.__file__).parent}; hypothesis: {os.environ.get(PROFILE, 'fast')}"
