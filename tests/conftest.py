"""Fixtures that every test may use."""

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests import prepared

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


_FOLDERS = {("acceptance",), ("browser",)}
"""Whose tests mostly wait for processes and browsers."""
_APART = 2

_crashed: Final = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Have a folder for databases that all workers copy from (tests/prepared.py), until the end."""
    if prepared.FOLDER not in os.environ:  # workers have it from whom started them
        folder = tempfile.mkdtemp(prefix="vedette-prepared-")
        Path(folder).chmod(0o755)  # PostgreSQL is never root
        os.environ[prepared.FOLDER] = folder
        config.add_cleanup(lambda: os.environ.pop(prepared.FOLDER))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Remember that a worker crashed: the tests that it had left were not run."""
    if error:
        node.config.stash[_crashed] = True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End with a status of its own then, so that nobody takes it for a failed test or two."""
    if session.config.stash.get(_crashed, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have files that wait stand between files that compute, so that several workers use the cores.

    Files stay whole and in their order. The suite's workers take them from the front.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path in files if path.relative_to(ROOT).parts[1:2] in _FOLDERS]
    others = [path for path in files if path not in waiting]
    order: list[Path] = []
    while waiting or others:
        order += waiting[:1] + others[:_APART]
        waiting, others = waiting[1:], others[_APART:]
    items[:] = [item for path in order for item in files[path]]


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """What a command that a test calls in this process does to the logs ends with that test."""
    ours = [logging.getLogger(name) for name in ("vedette", "vedette.central")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in ours]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


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
