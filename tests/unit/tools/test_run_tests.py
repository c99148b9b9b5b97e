"""What `make test` makes of failures: run once more alone, named, never hidden."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

_HOOKS = "from tests.conftest import _crashed, pytest_sessionfinish, pytest_testnodedown\n"
_UNSTABLE = """
from pathlib import Path

def test_well():
    pass

def test_first_time_not():
    seen = Path("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


def suite(folder: Path, tests: str, workers: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run a suite of one file as `make test` does, with no more plugins than it needs."""
    if workers:
        (folder / "conftest.py").write_text(_HOOKS)
    (folder / "test_some.py").write_text(tests)
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "run_tests.py"), str(workers), "."],
        cwd=folder,
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "-p xdist.plugin",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_passes_alone_is_named_and_does_not_fail_the_run(tmp_path: Path) -> None:
    """Its whole report stands above."""
    done = suite(tmp_path, _UNSTABLE)
    assert done.returncode == 0, done.stdout
    report, _, named = done.stdout.partition("UNSTABLE")
    assert "assert not True" in report
    assert "1 failed, 1 passed" in report
    assert named.endswith("  test_some.py::test_first_time_not\n")


@pytest.mark.parametrize(
    ("tests", "status", "runs"),
    [
        ("def test_all():\n    pass\n", 0, 1),
        ("def test_never():\n    assert False\n", 1, 2),
        (_UNSTABLE + "\ndef test_never():\n    assert False\n", 1, 2),
        ("\n".join(f"def test_{n}():\n    assert False\n" for n in range(4)), 1, 1),
        ("no python", 2, 1),
    ],
    ids=["none", "twice", "one of two twice", "more than three", "no test"],
)
def test_everything_else_fails_the_run_as_it_is(
    tmp_path: Path, tests: str, status: int, runs: int
) -> None:
    """A failure that lasts, too many of them, a worker's end, and a file that is no test."""
    done = suite(tmp_path, tests)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("once more" in done.stdout) == (runs == 2)
    assert "UNSTABLE" not in done.stdout


def test_a_crashed_worker_is_not_taken_for_a_failed_test(tmp_path: Path) -> None:
    """What it had left was not run."""
    crash = "import os\n\ndef test_crash():\n    os._exit(3)\n\ndef test_left():\n    pass\n"
    done = suite(tmp_path, crash, workers=1)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "crashed while running" in done.stdout
    assert "once more" not in done.stdout
