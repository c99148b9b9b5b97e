"""What of a package may go to central by the site's policy: nothing, the blurred copy, or the clip.

Here: the decision, and the files with their hashes. Not here: who asked and sending (`edge.clips`).
The rules: the policy decides alone, whatever central says; what the device cannot vouch for, to the
byte, is not sent as evidence.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vedette.edge.evidence import catalog, facts
from vedette.edge.evidence.catalog import PackageInfo
from vedette.errors import EvidenceError
from vedette.wire.evidence import (
    BLURRED,
    CLIP,
    MAX_CLIP_BYTES,
    MAX_FILES,
    SIGNED_FROM_VERSION,
    BlobFile,
    media_type,
    most_bytes,
    signature_of,
)
from vedette.wire.signed import PixelPolicy

STAYS: Final = "it stays on the site: the site's policy lets no clip leave"
GONE: Final = "it is no longer on the device"
_PACKING: Final = "the device is still packing it"
_SIGNING: Final = "the device is still signing it"
_BLURRING: Final = "the blurred copy is being made, and only that may leave the site"
_NO_COPY: Final = (
    "only blurred copies may leave the site, and this clip has none (evidence.blur on the device)"
)


class Stays(Exception):
    """Nothing goes now.

    Attributes:
        may_come: True where it is worth asking again: it is being made.
    """

    def __init__(self, why: str, *, may_come: bool = False) -> None:
        super().__init__(why)
        self.may_come: Final = may_come


@dataclass(frozen=True, slots=True)
class Leaving:
    """What goes: `form` is that of `wire.evidence`; each file with where it lies."""

    form: str
    files: tuple[tuple[BlobFile, Path], ...]


def form_of(pixels: PixelPolicy) -> str:
    """Return in which form clips may leave; empty where they may not."""
    if not pixels.evidence_leaves:
        return ""
    return BLURRED if pixels.evidence_blurred else CLIP


def leaving(root: Path, evidence: str, pixels: PixelPolicy) -> Leaving:
    """Return what of this package may leave the site.

    Args:
        root: The folder with all packages.
        evidence: The package's whole id.
        pixels: The site's policy, as this device accepted it.

    Raises:
        Stays: Nothing may, or nothing can now; it says why in words for an operator.
    """
    form = form_of(pixels)
    if not form:
        raise Stays(STAYS)
    try:
        package = next((p for p in catalog.packages(root) if p.evidence == evidence), None)
        if package is None:
            waits = (root / ".wanted" / evidence).exists()
            raise Stays(_PACKING if waits else GONE, may_come=waits)
        names = _blurred(package) if form == BLURRED else _whole(package)
        files = _described(package.path, form, names)
        return Leaving(form, (*files, *_signature(package.path, form)))
    except EvidenceError as error:
        raise Stays(f"it does not verify: {error}"[:500]) from error


def _signature(path: Path, form: str) -> tuple[tuple[BlobFile, Path], ...]:
    """Return the signature of a form; nothing for a package of before there were any.

    Raises:
        Stays: The agent is about to make it.
    """
    name = signature_of(form)
    if (path / name).exists():
        return _described(path, form, {name: ""})
    if facts.read_facts(path).version >= SIGNED_FROM_VERSION:
        raise Stays(_SIGNING, may_come=True)
    return ()


def _whole(package: PackageInfo) -> dict[str, str]:
    """Return the files of a clip with the hashes they must have; empty: any."""
    said = facts.read_facts(package.path)
    names = {entry.file: entry.sha256 for entry in said.clips} or {facts.CLIP: said.record.sha256}
    poster = {facts.POSTER: ""} if (package.path / facts.POSTER).exists() else {}
    return {**names, facts.FACTS: "", **poster}


def _blurred(package: PackageInfo) -> dict[str, str]:
    if not package.has_blurred:
        if package.wants_blur:
            raise Stays(_BLURRING, may_come=True)
        raise Stays(_NO_COPY)
    pictures = facts.blurred_files(facts.read_blurred(package.path))
    return {**pictures, facts.BLURRED_FACTS: "", facts.FACTS: ""}


def _described(path: Path, form: str, names: dict[str, str]) -> tuple[tuple[BlobFile, Path], ...]:
    """Return each file with its hash, which must be the stated one.

    Raises:
        EvidenceError: It is another, or not readable.
        Stays: More than central takes.
    """
    if len(names) > MAX_FILES:
        raise EvidenceError(f"{len(names)} files")
    sums = facts.read_sums(path)
    files: list[tuple[BlobFile, Path]] = []
    for name, stated in names.items():
        if not media_type(form, name):
            raise EvidenceError(f"its facts name a file {name[:40]!r}")
        found = facts.digest(path / name)
        if found != (stated or sums.get(name, found)):
            raise EvidenceError(f"{name} is not what was written")
        size = (path / name).stat().st_size
        if not 0 < size <= most_bytes(media_type(form, name)):
            raise Stays(f"{name} has {size} bytes, which is more than central takes")
        files.append((BlobFile(name=name, sha256=found, bytes=size), path / name))
    if sum(file.bytes for file, _ in files) > MAX_CLIP_BYTES:
        raise Stays(f"it has more than {MAX_CLIP_BYTES // 1024 // 1024} MB")
    return tuple(files)
