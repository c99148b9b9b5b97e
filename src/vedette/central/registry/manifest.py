"""What central reads of a bundle's manifest, and where a version comes from.

Central has no runtime and no OpenCV, so it does not read manifests as devices do
(`inference.manifest`): it takes the few facts that people look at, under limits, and the digest
over all of it. The rule: what is not understood here is still in the digest.
"""

import hashlib
import re
from typing import Annotated, Any, Final

import msgspec

from vedette.errors import MalformedReport, TooLarge
from vedette.ids import is_slug
from vedette.wire.evaluation import (
    FORMAT,
    MAX_DEPTH,
    MAX_LABELS,
    MAX_MANIFEST_BYTES,
    canonical,
    depth,
    is_digest,
    manifest_digest,
)
from vedette.wire.numbers import Count, Finite

MAX_FILES: Final = 64
MAX_LABEL_CHARS: Final = 100
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HINT: Final = "Send bundle.json of a whole bundle as it is; `vedette bundle verify` checks one."


class FileFact(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a bundle."""

    sha256: str
    bytes: Count


class HeadFact(msgspec.Struct, frozen=True, kw_only=True):
    """The family of the output head."""

    kind: str = ""


class CardFact(msgspec.Struct, frozen=True, kw_only=True):
    """The model card."""

    summary: str = ""
    license: str = ""
    source: str = ""
    made_with: str = ""
    limits: str = ""


class MadeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures that the maker put into the bundle; nothing here judges by them."""

    data: str = ""
    method: str = ""
    figures: dict[str, Finite] = {}
    at: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What central knows of a bundle."""

    format: int
    name: str
    version: str
    model: str
    files: dict[str, FileFact]
    labels: list[str]
    preprocess: dict[str, Any]
    head: HeadFact | None = None
    task: dict[str, Any] | None = None
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.4
    thresholds: dict[str, Annotated[float, msgspec.Meta(ge=0, le=1)]] = {}
    golden: list[dict[str, Any]] = []
    evaluation: list[MadeFigures] = []
    calibration_sha256: str | None = None
    card: CardFact = CardFact()

    @property
    def head_kind(self) -> str:
        """The family of the head, or what else the model is for."""
        if self.head is not None:
            return self.head.kind[:64]
        return str((self.task or {}).get("kind", "unknown"))[:64]

    @property
    def input_px(self) -> tuple[int, int] | None:
        """Width and height of what it takes; None where the manifest does not say."""
        match self.preprocess.get("size"):
            case [int(width), int(height)]:
                return width, height
            case _:
                return None

    @property
    def preprocess_version(self) -> str:
        """Twelve hex digits over how pixels become numbers: the same where those are the same."""
        text = msgspec.json.encode(self.preprocess, order="sorted")
        return hashlib.sha256(text).hexdigest()[:12]

    @property
    def total_bytes(self) -> int:
        """Length of all files together."""
        return sum(file.bytes for file in self.files.values())


class Lineage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a version comes from, as whoever registered it says; empty: not told.

    Attributes:
        data_version: Of the data set that it was trained on.
        training_run: How the run is called where it was made.
        parent: Digest of the version that it was made from.
        calibration_sha256: Of the calibration set; what the manifest says comes first.
        preprocess_version: Of whatever prepared the training data.
    """

    data_version: Annotated[str, msgspec.Meta(max_length=200)] = ""
    training_run: Annotated[str, msgspec.Meta(max_length=200)] = ""
    parent: Annotated[str, msgspec.Meta(max_length=80)] = ""
    calibration_sha256: Annotated[str, msgspec.Meta(max_length=64)] = ""
    preprocess_version: Annotated[str, msgspec.Meta(max_length=200)] = ""
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""


def parse(data: bytes) -> tuple[Facts, bytes, str]:
    """Return the facts of a manifest, its canonical bytes and its digest.

    Raises:
        TooLarge: More bytes or deeper than a manifest has any reason to be.
        MalformedReport: Not a manifest, of another format, or one that no bundle can have.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise TooLarge(f"a manifest of more than {MAX_MANIFEST_BYTES} bytes", operator_hint=_HINT)
    if depth(data) > MAX_DEPTH:
        raise TooLarge(f"a manifest nested deeper than {MAX_DEPTH} levels", operator_hint=_HINT)
    try:
        data.decode()
        facts = msgspec.json.decode(data, type=Facts)
        whole, digest = canonical(data), manifest_digest(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError) as error:
        raise MalformedReport(f"not a bundle's manifest: {error}", operator_hint=_HINT) from error
    problem = _problem(facts)
    if problem:
        raise MalformedReport(f"this manifest cannot be: {problem}", operator_hint=_HINT)
    return facts, whole, digest


def read(canonical_bytes: bytes) -> Facts:
    """Return the facts of a manifest that `parse` has let in."""
    return msgspec.json.decode(canonical_bytes, type=Facts)


def check_lineage(lineage: Lineage, digest: str) -> None:
    """Return where a version can come from there.

    Raises:
        MalformedReport: It cannot.
    """
    if lineage.parent and not is_digest(lineage.parent):
        raise MalformedReport("`parent` is not the digest of a bundle: sha256: and 64 hex digits")
    if lineage.parent == digest:
        raise MalformedReport("a version is not made from itself")
    if lineage.calibration_sha256 and not _SHA256.fullmatch(lineage.calibration_sha256):
        raise MalformedReport("`calibration_sha256` is not 64 hex digits")


def _problem(facts: Facts) -> str:
    if facts.format != FORMAT:
        return f"it has format {facts.format}; this central reads {FORMAT}"
    if not is_slug(facts.name):
        return f"name {facts.name[:80]!r} is not of the form a-z 0-9 . _ -"
    if not _VERSION.fullmatch(facts.version):
        return f"version {facts.version[:80]!r} is not of the form 1.2.3"
    if not 1 <= len(facts.files) <= MAX_FILES or facts.model not in facts.files:
        return "its files are none, too many, or without the network itself"
    for path, file in facts.files.items():
        if len(path) > 200 or not path.isprintable() or not _SHA256.fullmatch(file.sha256):
            return f"file {path[:80]!r} has a name or hash that no bundle has"
    return _labels_problem(facts.labels)


def _labels_problem(labels: list[str]) -> str:
    if len(labels) > MAX_LABELS or len(set(labels)) != len(labels):
        return f"more than {MAX_LABELS} labels, or one of them twice"
    bad = (n for n in labels if not n.strip() or len(n) > MAX_LABEL_CHARS or not n.isprintable())
    label = next(bad, None)
    return "" if label is None else f"label {label[:40]!r} is empty, too long or not printable"
