"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Started in a shell's background, Ctrl-C is ignored here and in every child; those that are tested
# with it need it as a terminal gives it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
