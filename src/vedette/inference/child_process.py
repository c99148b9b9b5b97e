"""What a child process that tries a stranger's file is started with.

Apart from `guard`, so that the agent, which runs no inference, can start one too.
"""

import os
import sys
from pathlib import Path
from typing import Final

_KEPT: Final = {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "VIRTUAL_ENV"}


def environment() -> dict[str, str]:
    """Return the few variables that Python and its libraries need, and no credentials."""
    paths = os.pathsep.join(str(Path(place).absolute()) for place in sys.path if place)
    return {k: v for k, v in os.environ.items() if k in _KEPT} | {"PYTHONPATH": paths}
