"""Run the whole suite; a test or two that fail beside others are run once more, by themselves.

The suite starts thousands of real processes, sockets and browsers, several tests at a time on two
cores. A test that fails there and passes alone is unstable, which is a fault of the test or of what
it tests: it is named at the end in so many words, to be mended. A test that fails twice fails the
run, and so do more than three, a crashed worker and everything that is not a failed test.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 3
"""More failed tests than this are not chance."""

_FAILED_TESTS = 1  # pytest's exit status; a crashed worker, Ctrl-C and bad usage have others
_LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def run(arguments: list[str], workers: str) -> int:
    """Run pytest over `arguments`, then what failed; return the exit status for `make`."""
    _LAST_FAILED.unlink(missing_ok=True)
    # A file's tests stay together, so that what they share is made once. Those that wait stand
    # between those that compute (tests/conftest.py), so that more workers than cores keep two cores
    # busy. A worker that crashes fails its test and the run, and is not replaced.
    spread = ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    status = _pytest(["-q", *spread, "--max-worker-restart=0", *arguments])
    if status != _FAILED_TESTS:
        return status
    failed = sorted(json.loads(_LAST_FAILED.read_text("utf-8")))
    if not 0 < len(failed) <= MOST:
        return status
    print(f"\nfailed beside others, so once more by itself: {', '.join(failed)}\n", flush=True)
    again = _pytest(["-q", "-n", "0", *failed])
    if again == 0:
        print("\nUNSTABLE: failed beside others, passed alone; the reason stands above, mend it:")
        print("\n".join(f"  {name}" for name in failed), flush=True)
    return again


def _pytest(arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[2:], sys.argv[1]))
