"""Whether a program's artefact can be installed: asked of pip where it is built.

A wheel that was forgotten is noticed at the desk, and not by the first canary. What pip cannot be
asked here (another Python, none at all) is said, not guessed. The rule: the same arguments as on a
device, and nothing is installed.
"""

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from vedette.edge.updating import app_file, archive, tool
from vedette.edge.updating.app_file import AppManifest
from vedette.errors import ConfigError

_LIMIT_S: Final = 300.0
_DRY: Final = ("install", "--dry-run", "--ignore-installed")
HINT: Final = (
    "put the wheels of everything it needs beside it (docs: build an artefact); --extra names"
    " which parts a device has, --no-rehearsal packs what is for another kind of machine"
)


def rehearse(file: Path, manifest: AppManifest) -> str:
    """Return why an artefact could not be tried here; empty: pip would install all of it.

    Args:
        file: The artefact.
        manifest: What it says about itself.

    Raises:
        ConfigError: Something that it needs is not in it.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if manifest.python and manifest.python != here:
        return f"it is for Python {manifest.python}, this is {here}"
    if find_spec("pip") is None:
        return f"{sys.executable} has no pip"
    with tempfile.TemporaryDirectory(prefix="vedette-rehearsal-") as name:
        parts = Path(name) / "parts"
        archive.unpack(file, parts)
        ended = tool.call(
            [sys.executable, "-I", "-m", "pip", *_DRY, *app_file.pip_install(parts)],
            limit_s=_LIMIT_S,
            extra={"PIP_CONFIG_FILE": os.devnull, "TMPDIR": name, "HOME": name},
            folder=Path(name),
        )
    if ended.status != 0:
        raise ConfigError(
            f"devices could not install {manifest.name} {manifest.version}: {ended.why()}",
            operator_hint=HINT,
        )
    return ""
