"""The repository's part of a backup: central's two online keys, and the files that metadata names.

The metadata itself is in the database, and so in its dump. The rules: a file goes in and comes back
under its hash, which is looked at both times; a file that is here already is left alone.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psycopg

from vedette.central.releases.keeping import ONLINE, key_file, release_blobs
from vedette.errors import StoreError
from vedette.trust.keys import write_private

UPLOAD: Final = "restore"
"""Stands for the sender in the names of files that come back in parts."""

_PART_BYTES: Final = 4 * 1024 * 1024


def keys(state: Path) -> dict[str, bytes]:
    """Return central's online keys by the names of their files; those that there are."""
    found = {role: key_file(state, role) for role in ONLINE}
    return {path.name: path.read_bytes() for path in found.values() if path.is_file()}


def files(conninfo: str, state: Path) -> tuple[dict[str, Path], int]:
    """Return where the files that metadata names lie, by hash, and how many are missing.

    Raises:
        StoreError: The database does not answer.
    """
    try:
        with psycopg.connect(conninfo, connect_timeout=10) as db:
            rows = db.execute("SELECT DISTINCT sha256 FROM release_files").fetchall()
    except psycopg.Error as error:
        raise StoreError(f"the database does not answer: {error}") from error
    blobs = release_blobs(state)
    named = sorted(str(row[0]) for row in rows)
    there = {sha256: blobs.path(sha256) for sha256 in named if blobs.has(sha256)}
    return there, len(named) - len(there)


def put_back(state: Path, kept: Iterable[tuple[str, Path]]) -> int:
    """Have files (hash, where they lie now) among those of the repository; return how many came.

    Raises:
        HashMismatch, StoreError, ConflictError: As `clips.blobs`.
    """
    blobs, count = release_blobs(state), 0
    for sha256, path in kept:
        if blobs.has(sha256):
            continue
        blobs.forget(sha256, UPLOAD)
        total, start = path.stat().st_size, 0
        with path.open("rb") as file:
            while True:
                part = file.read(_PART_BYTES)
                start = blobs.append(sha256, UPLOAD, start, part, total)
                if start >= total:
                    break
        blobs.finish(sha256, UPLOAD)
        count += 1
    return count


def put_keys_back(state: Path, kept: dict[str, bytes]) -> None:
    """Have central's online keys be those that were kept."""
    for role in ONLINE:
        path = key_file(state, role)
        if path.name in kept:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, kept[path.name])
