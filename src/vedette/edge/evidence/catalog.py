"""Which packages lie in the folder: reading only, beside a pipeline that writes.

The rules: what is not a package of ours is passed over, links are never followed, and nothing is
changed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from vedette.edge.evidence import facts
from vedette.errors import EvidenceError
from vedette.ids import is_slug
from vedette.wire.evidence import BLURRED_SIGNATURE, SIGNATURE


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """One package in the folder."""

    evidence: str
    path: Path
    day: str
    bytes: int
    mtime_ns: int
    is_reported: bool
    priority: int = facts.DEFAULT_PRIORITY
    has_blurred: bool = False
    has_blurred_poster: bool = False
    wants_blur: bool = False
    is_signed: bool = False


def packages(root: Path) -> list[PackageInfo]:
    """Return every package below `root`, the oldest first; none where there is no such folder.

    Raises:
        EvidenceError: The folder cannot be read.
    """
    with facts.translated("the evidence folder cannot be read"):
        try:
            return sorted(_scan(root), key=lambda package: package.mtime_ns)
        except FileNotFoundError:
            return []


def place(root: Path, evidence: str) -> Path | None:
    """Return where a package of this whole id lies, without looking at any other.

    Raises:
        EvidenceError: The folder cannot be read.
    """
    with facts.translated("the evidence folder cannot be read"):
        try:
            days = [entry.name for entry in _folders(root) if _is_day(entry.name)]
        except FileNotFoundError:
            return None
    found = (root / day / evidence for day in sorted(days, reverse=True))
    return next((path for path in found if (path / facts.FACTS).is_file()), None)


def find(root: Path, evidence: str) -> PackageInfo:
    """Return one package by its id, or by the beginning of it that only it has.

    Raises:
        EvidenceError: There is none, or more than one.
    """
    found = [package for package in packages(root) if package.evidence.startswith(evidence)]
    exact = [package for package in found if package.evidence == evidence]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise EvidenceError(
            f"{len(found)} packages begin with {evidence!r}", operator_hint="write more of the id"
        )
    raise EvidenceError(
        f"there is no package {evidence!r}", operator_hint="`vedette evidence list` names them"
    )


def _scan(root: Path) -> Iterator[PackageInfo]:
    for day in _folders(root):
        if not _is_day(day.name):
            continue
        for entry in _folders(Path(day.path)):
            package = _package(entry, day.name) if is_slug(entry.name) else None
            if package:
                yield package


def _folders(path: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield entry


def _package(entry: "os.DirEntry[str]", day: str) -> PackageInfo | None:
    """Return what a folder holds; None where it is no package, or was deleted meanwhile."""
    sizes: dict[str, int] = {}
    try:
        with os.scandir(entry.path) as files:
            for file in files:
                if file.is_file(follow_symlinks=False):
                    sizes[file.name] = file.stat(follow_symlinks=False).st_size
        mtime_ns = entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return None
    if facts.FACTS not in sizes:
        return None
    marks = [name.removeprefix(facts.PRIORITY_MARK) for name in sizes]
    priority = next((int(m) for m in marks if m in {"0", "1", "2"}), facts.DEFAULT_PRIORITY)
    return PackageInfo(
        evidence=entry.name,
        path=Path(entry.path),
        day=day,
        bytes=sum(sizes.values()),
        mtime_ns=mtime_ns,
        is_reported=facts.REPORTED in sizes,
        priority=priority,
        has_blurred=facts.BLURRED_FACTS in sizes,
        has_blurred_poster=facts.BLURRED_FACTS in sizes and facts.BLURRED_POSTER in sizes,
        wants_blur=facts.BLUR_WANTED in sizes,
        is_signed=SIGNATURE in sizes
        and (facts.BLURRED_FACTS not in sizes or BLURRED_SIGNATURE in sizes),
    )


def _is_day(name: str) -> bool:
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True
