"""The root metadata that this device pins: what every signature of the repository leads back to.

    updates/root.json            from central's answer at enrolment
    updates/root-by-hand.json    brought by a person; it counts, whatever central says

The rule: nothing that comes later over the network replaces either; new roots follow from them by
their own signatures (`trust.tuf.client`). Each has a folder of its own for metadata, so that
another root begins anew.
"""

import hashlib
from pathlib import Path
from typing import Final

from vedette.edge.updating.journal import FOLDER
from vedette.errors import ConfigError
from vedette.trust.keys import write_private

PINNED: Final = "root.json"
BY_HAND: Final = "root-by-hand.json"
MAX_BYTES: Final = 256 * 1024


def pin(state_dir: Path, root: bytes, *, by_hand: bool = False) -> None:
    """Have a root on the disk.

    Raises:
        ConfigError: It is too large to be one, or the disk refuses.
    """
    check_size(root)
    try:
        (state_dir / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(state_dir / FOLDER / (BY_HAND if by_hand else PINNED), root)
    except OSError as error:
        raise ConfigError(f"the root cannot be kept: {error}") from error


def check_size(root: bytes) -> None:
    """Raise `ConfigError` where this cannot be a root."""
    if not 0 < len(root) <= MAX_BYTES:
        raise ConfigError(
            f"a root of {len(root)} bytes",
            operator_hint="give the file N.root.json of the repository",
        )


def pinned(state_dir: Path) -> bytes | None:
    """Return the root that counts; None where this device trusts no repository yet."""
    for name in (BY_HAND, PINNED):
        try:
            with (state_dir / FOLDER / name).open("rb") as stream:
                return stream.read(MAX_BYTES)
        except FileNotFoundError:
            continue
    return None


def metadata_folder(state_dir: Path, root: bytes) -> Path:
    """Return where the metadata lies that follows from `root`."""
    return state_dir / FOLDER / "tuf" / name_of(root)


def name_of(root: bytes) -> str:
    """Return what people compare a root by: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(root).hexdigest()[:16]
