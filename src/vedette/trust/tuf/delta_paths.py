"""What a delta between two files is called as a target. Pure.

    models/deltas/{SHA-256 of the file before}/{SHA-256 of the file after}.vdelta

The rule: it lies in the folder of its kind, so whoever signs the files signs it; and its name says
from what and to what, so that nobody can offer it for anything else.
"""

import re
from typing import Final

import msgspec

from vedette.wire.slots import ArtefactKind

FOLDER: Final = "deltas"
SUFFIX: Final = ".vdelta"
_PATH: Final = re.compile(r"([a-z]+)/deltas/([0-9a-f]{64})/([0-9a-f]{64})\.vdelta")


class DeltaName(msgspec.Struct, frozen=True, kw_only=True):
    """What the path of a delta says: two hashes, lower-case hex."""

    kind: ArtefactKind
    before: str
    after: str


def delta_path(kind: ArtefactKind, before: str, after: str) -> str:
    """Return the target of a delta between two files, named by their hashes."""
    return f"{kind.value}/{FOLDER}/{before}/{after}{SUFFIX}"


def read_delta_path(path: str) -> DeltaName | None:
    """Return what a path says; None: it is not that of a delta."""
    found = _PATH.fullmatch(path)
    if found is None or found[1] not in set(ArtefactKind):
        return None
    return DeltaName(kind=ArtefactKind(found[1]), before=found[2], after=found[3])
