"""Packages that were handed over: a folder, a folder of them, or a .zip from central or `export`.

The rules: what is in an archive is hostile until it is examined: names are plain, numbers and sizes
are limited before anything is unpacked, and what is unpacked is gone afterwards.
"""

import contextlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vedette.edge.evidence import facts
from vedette.errors import EvidenceError
from vedette.wire.evidence import MAX_CLIP_BYTES

MAX_PACKAGES: Final = 200
MAX_FILES: Final = 16
_CHUNK: Final = 1024 * 1024


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[Path]]:
    """Give the folders of all packages in `path`.

    Raises:
        EvidenceError: There is none, or it is no archive of packages.
    """
    if path.is_dir():
        found = [path] if (path / facts.FACTS).exists() else _within(path)
        yield _some(found, path)
        return
    if not path.exists():
        raise EvidenceError(
            f"there is no {path}",
            operator_hint="give a folder, or the .zip from central or `evidence export`",
        )
    with tempfile.TemporaryDirectory(prefix="vedette-evidence-") as name:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, Path(name))
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as why:
            raise EvidenceError(
                f"{path} cannot be read as a .zip: {why}",
                operator_hint="give a folder, or the .zip from central or `evidence export`",
            ) from why
        yield _some(_within(Path(name)), path)


def _within(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if (one / facts.FACTS).is_file())


def _some(found: list[Path], path: Path) -> list[Path]:
    if not found:
        raise EvidenceError(
            f"there is no package in {path}", operator_hint=f"a package has an {facts.FACTS}"
        )
    if len(found) > MAX_PACKAGES:
        raise EvidenceError(f"{path} has more than {MAX_PACKAGES} packages")
    return found


def _unpack(archive: zipfile.ZipFile, to: Path) -> None:
    """Write `<package>/<file>` of an archive, and nothing else.

    Raises:
        EvidenceError: Other names, too many, or too large.
    """
    counts: dict[str, int] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        folder, _, name = info.filename.partition("/")
        if not facts.is_plain_name(folder) or not facts.is_plain_name(name):
            raise EvidenceError(f"the archive has a file {info.filename[:80]!r}")
        counts[folder] = counts.get(folder, 0) + 1
        if len(counts) > MAX_PACKAGES or counts[folder] > MAX_FILES:
            raise EvidenceError("the archive has more files than packages have")
        (to / folder).mkdir(exist_ok=True)
        _write(archive, info, to / folder / name)


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path) -> None:
    size = 0
    with archive.open(info) as source, place.open("xb") as file:
        while chunk := source.read(_CHUNK):  # counted here: what the archive says may be a lie
            size += len(chunk)
            if size > MAX_CLIP_BYTES:
                raise EvidenceError(f"{info.filename[:80]!r} has more than a clip may have")
            file.write(chunk)
