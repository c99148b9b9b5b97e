"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Started in a shell's background, Ctrl-C is ignored here and in every child; those that are tested
# with it need it as a terminal gives it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite asks the same questions on every machine, however slow it is: what it says is about the
# change, never about luck. `pytest --hypothesis-profile explore` looks for new examples.
_PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None, print_blob=True
)
settings.register_profile("suite", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT, derandomize=False)
settings.load_profile("suite")


def skip_or_fail(reason: str) -> NoReturn:
    """Skip for want of something on this machine; in CI that is a failure, never a silent pass."""
    if os.environ.get("CI"):
        pytest.fail(f"must run in CI, but: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real clips and models beside the checkout; it is not part of the project."""
    for candidate in (os.environ.get("VEDETTE_TESTDATA"), ROOT.parent / "shared" / "testdata"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no test material: set VEDETTE_TESTDATA or put shared/testdata beside the checkout")
