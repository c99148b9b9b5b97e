"""Deltas in a repository that people sign: made when a target is added, gone with it.

A delta is a target like any other, in the folder of its kind (`delta_paths`): the same people sign
it who sign what it makes. So nobody else can have a device unpack anything, central neither. A
device that finds none takes the whole file.

The rule: a delta is kept only where it saves enough; whether it does, each file tells.
"""

import re
from datetime import datetime
from typing import Final

import msgspec

from vedette.trust.delta_making import make
from vedette.trust.tuf.delta_paths import delta_path, read_delta_path
from vedette.trust.tuf.offline import DELEGATED, OfflineRepository
from vedette.wire.slots import ArtefactKind

MIN_BYTES: Final = 256 * 1024
"""Smaller files come in a second on any line."""

MOST: Final = 0.75
"""Of the whole file: a delta that is longer is not worth its processor time and its signature."""

BEFORE: Final = 3
"""From so many versions before; a device that is further behind takes the whole file."""

_NUMBERS: Final = re.compile(r"(\d+)")


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt to make a delta.

    Attributes:
        before: Path of the version that it is against.
        bytes: Of the delta; of the whole file.
        is_kept: It is in the repository, to be signed.
    """

    before: str
    bytes: int
    whole_bytes: int
    is_kept: bool


def versions_before(paths: list[str], path: str) -> list[str]:
    """Return the versions that come before `path` in its folder, the nearest first.

    By name, with numbers in it read as numbers: 1.9 comes before 1.10.
    """
    folder = path.rpartition("/")[0]
    near = [one for one in paths if one.rpartition("/")[0] == folder and _key(one) < _key(path)]
    return sorted(near, key=_key, reverse=True)[:BEFORE]


def add_deltas(
    offline: OfflineRepository, path: str, before: list[str], now_at: datetime
) -> list[Made]:
    """Stage deltas to the target `path` from these others, as far as each saves enough.

    Raises:
        ConfigError: A file is not there, or has changed.
    """
    kind = ArtefactKind(path.partition("/")[0])
    files = offline.named(kind.value)
    sha256, size, after = files[path]
    made: list[Made] = []
    for other in before:
        old_sha256, old_size, old = files[other]
        if min(size, old_size) < MIN_BYTES or old_sha256 == sha256:
            continue
        scratch = offline.folder / ".delta"
        try:
            length = make(old, after, kind, scratch)
            is_kept = length <= size * MOST
            if is_kept:
                offline.add_target(delta_path(kind, old_sha256, sha256), scratch, now_at)
        finally:
            scratch.unlink(missing_ok=True)
        made.append(Made(before=other, bytes=length, whole_bytes=size, is_kept=is_kept))
    return made


def remove_deltas(offline: OfflineRepository, now_at: datetime) -> list[str]:
    """Stage roles without deltas of which one side is not in the repository any more."""
    gone: list[str] = []
    for role in DELEGATED:
        files = offline.named(role)
        there = {sha256 for path, (sha256, _, _) in files.items() if not read_delta_path(path)}
        for path in files:
            said = read_delta_path(path)
            if said is not None and not {said.before, said.after} <= there:
                offline.remove_target(path, now_at)
                gone.append(path)
    return gone


def _key(path: str) -> list[tuple[int, int, str]]:
    """Return what orders names as people order versions."""
    name = path.rpartition("/")[2]
    return [
        (1, int(part[:18]), "") if part.isdigit() else (0, 0, part)
        for part in _NUMBERS.split(name)
        if part
    ]
