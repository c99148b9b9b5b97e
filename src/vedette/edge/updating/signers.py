"""Who may sign what root installs: the repository, verified anew by root from its own pinned root.

The metadata is the agent's copy, and nothing of it is believed for that: it follows from
`/etc/vedette/tuf-root.json`, which only root writes, or it is refused. Root keeps versions of its
own, so that an agent cannot bring older metadata back.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from vedette.clock import Clock
from vedette.edge.updating.door import ROOT_FOLDER, bounded, open_plain
from vedette.errors import NotAllowed
from vedette.trust.tuf.client import Repository
from vedette.trust.tuf.fetching import METADATA
from vedette.trust.tuf.refusals import NotThere
from vedette.wire.slots import ArtefactKind

MAX_ROOT_BYTES: Final = 256 * 1024
_HISTORY: Final = "root_history"


def verifier(
    state_dir: Path,
    clock: Clock,
    *,
    tuf_root: Path,
    verifies_itself: bool,
    root_folder: Path = ROOT_FOLDER,
) -> Callable[[str, Path], None]:
    """Return what raises unless a target of this name is signed for systems, and is this file.

    Args:
        state_dir: The agent's.
        clock: Judges expiry.
        tuf_root: The root that root pinned.
        verifies_itself: The machine's tool checks signatures against a keyring of root's: then the
            device need not be enrolled.
        root_folder: Where root keeps its versions.
    """

    def verify(target: str, image: Path) -> None:
        if not tuf_root.exists():
            if verifies_itself:
                return
            raise NotAllowed(
                f"nothing says who may sign systems here: there is no {tuf_root}",
                operator_hint="run `vedette edge install` again on the enrolled device",
            )
        if not target.startswith(f"{ArtefactKind.SYSTEM.value}/"):
            raise NotAllowed(f"{target[:60]!r} is nothing for a system")
        root = bounded(tuf_root, MAX_ROOT_BYTES)
        theirs = state_dir / "updates" / "tuf" / hashlib.sha256(root).hexdigest()[:16]
        repository = Repository(
            root_folder / "tuf",
            lambda path, offset, max_bytes: _metadata(theirs, path, offset, max_bytes),
            root=root,
            clock=clock,
        )
        repository.refresh()
        repository.verify(target, image)

    return verify


def _metadata(folder: Path, path: str, offset: int, most: int) -> Iterator[bytes]:
    """Give metadata that the agent keeps, as a repository would."""
    name = Path(path.removeprefix(METADATA)).name
    version, _, plain = name.partition(".")
    if version.isdigit() and plain == "root.json":
        found = folder / _HISTORY / name
    else:
        found = folder / (plain if version.isdigit() else name)
    try:
        with os.fdopen(open_plain(found), "rb") as file:
            file.seek(offset)
            yield file.read(most)
    except OSError as error:
        raise NotThere(f"{path} is not kept here") from error
