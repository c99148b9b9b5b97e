"""Where installed things lie, what may go, and whether there is room for one more.

    updates/parts/  updates/files/      on the way, and come (`download`)
    updates/installed/{kind}/{digest}/  prepared; what runs and what ran before stay

The rule: space is known to be there before a byte is asked for, and what makes room is never what
runs, nor what would run after going back.
"""

import logging
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from vedette.edge.updating.download import FILES, PARTS
from vedette.edge.updating.journal import ENDED, FOLDER, Book
from vedette.errors import Retry, VedetteError
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

log = logging.getLogger(__name__)

INSTALLED: Final = "installed"
RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Left free for the spool, whatever is installed."""

SPARE_BYTES: Final = 512 * 1024 * 1024
"""Files that only save a download stay while so much is free."""

PROVEN: Final = ".proven"
"""What models were tried in a process of their own; empty files."""


class NoRoom(VedetteError):
    """The disk has too little space for what was assigned."""

    retry = Retry.LATER


def home(state_dir: Path) -> Path:
    """Return the folder of all that belongs to updates."""
    return state_dir / FOLDER


def folder_of(state_dir: Path, kind: ArtefactKind, digest: str) -> Path:
    """Return where something of this digest is, or will be, installed."""
    return home(state_dir) / INSTALLED / kind.value / digest.removeprefix("sha256:")


def free_bytes(state_dir: Path) -> int:
    """Return what this process may still write."""
    return shutil.disk_usage(state_dir).free


def need(artefact: Artefact, state_dir: Path, beside: int) -> int:
    """Return the bytes that are still to be written: the rest of the file, and `beside` it."""
    part = home(state_dir) / PARTS / artefact.sha256
    have = part.stat().st_size if part.exists() else 0
    return max(artefact.bytes - have, 0) + beside + RESERVE_BYTES


def refuse_full(needed: int, free: int) -> None:
    """Raise `NoRoom` where there is less free than needed."""
    if free < needed:
        raise NoRoom(
            f"the disk has {free // 1_000_000} MB free, {needed // 1_000_000} MB are needed",
            operator_hint="free some space; the download begins by itself then",
        )


def sweep(
    state_dir: Path, book: Book, in_use: Iterable[str], keeps_file: Collection[ArtefactKind]
) -> None:
    """Remove what is neither running, nor what ran before, nor on its way to either.

    Args:
        state_dir: The agent's.
        book: What runs, ran and comes.
        in_use: Other folders that stay.
        keeps_file: Kinds whose downloaded file stays as long as it is what runs.
    """
    coming, files, folders = _kept(state_dir, book, keeps_file)
    folders |= {Path(folder) for folder in in_use if folder}
    for name in (PARTS, FILES):
        folder = home(state_dir) / name
        _clear(folder, [*_named_by(folder, coming), *(folder / sha256 for sha256 in files)])
    for kind in ArtefactKind:
        _clear(home(state_dir) / INSTALLED / kind.value, folders)


def _kept(
    state_dir: Path, book: Book, keeps_file: Collection[ArtefactKind]
) -> tuple[set[str], set[str], set[Path]]:
    """Return hashes of files that come, of others that stay, and folders that stay."""
    coming: set[str] = set()
    files: set[str] = set()
    folders: set[Path] = set()
    for job in book.jobs.values():
        if job.state not in ENDED:
            artefact = job.assigned.artefact
            coming.add(artefact.sha256)
            folders.add(folder_of(state_dir, artefact.kind, artefact.digest))
    for slot in book.slots.values():
        for one in (slot.running, slot.previous):
            if one is not None and one.folder:
                folders.add(Path(one.folder))
        if slot.running is not None and slot.kind in keeps_file:
            files.add(slot.running.sha256)
    return coming, files, folders


def _named_by(folder: Path, files: Collection[str]) -> list[Path]:
    """Return what lies in `folder` under these hashes, or under one and an ending."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if path.name.partition(".")[0] in files]


def _clear(folder: Path, keep: Collection[Path]) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path in keep or path.name == PROVEN:
            continue
        log.info("an old version is removed", extra={"event": "updates.swept", "what": path.name})
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def file_of(state_dir: Path, sha256: str) -> Path:
    """Return where a whole file lies."""
    return home(state_dir) / FILES / sha256


def clear_out(folder: Path) -> None:
    """Remove what an attempt left that was cut off."""
    if folder.exists():
        shutil.rmtree(folder)
