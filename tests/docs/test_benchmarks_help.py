"""`benchmarks/run.py` says what it takes, and runs nothing that nobody asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, "run only those whose name holds"),
        (["--halp"], 2, "unrecognized arguments: --halp"),
        (["no-such-topic"], 2, "no benchmark is named like no-such-topic"),
    ],
)
def test_asking_for_help_or_nonsense_runs_no_benchmark(
    words: list[str], status: int, said: str
) -> None:
    """The answer comes at once, and no figure is written."""
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert ended.returncode == status
    assert said in ended.stdout + ended.stderr
    assert "[1/" not in ended.stdout
