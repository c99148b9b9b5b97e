"""The public conformance suite judges the client that devices use, where it is installed.

git clone https://github.com/theupdateframework/tuf-conformance, with an environment of its own
VEDETTE_TUF_CONFORMANCE=<folder of the clone> VEDETTE_TUF_PYTHON=<its python> pytest …
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = os.environ.get("VEDETTE_TUF_CONFORMANCE", "")
PYTHON = os.environ.get("VEDETTE_TUF_PYTHON", sys.executable)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not SUITE or not shutil.which("faketime"),
    reason="VEDETTE_TUF_CONFORMANCE names no clone of tuf-conformance, or faketime is not there",
)
def test_the_public_conformance_suite_passes(tmp_path: Path) -> None:
    """Every test of the suite, through `python -m vedette.trust.tuf.three`."""
    entry = tmp_path / "three"
    where = os.environ.get("PYTHONPATH", "")
    entry.write_text(
        f'#!/bin/sh\nPYTHONPATH="{where}" exec "{sys.executable}" -m vedette.trust.tuf.three "$@"\n'
    )
    entry.chmod(0o755)
    done = subprocess.run(
        [PYTHON, "-m", "pytest", "tuf_conformance", "--entrypoint", str(entry), "-q"],
        cwd=SUITE,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found
    assert int(found[1]) >= 113
