"""A clip on its way to central: an operator asked for it, and the site's policy lets it leave.

    POST /v1/evidence/{request}    `Offer`: which files, how large, with which hashes → `Standing`
    POST /v1/evidence/{request}    `application/problem+json` (`Refusal`): why there is none
    PUT  /v1/blobs/{sha256}        a part of one, `Content-Range: bytes 0-65535/1048576` → `Taken`

A file is named by its SHA-256. Parts follow one another without gap or overlap; where central has
another length than the device thinks, the offer is made again and `Standing` says where to go on.
So either side may stop at any time. What an `evidence.json` says is here too: the device writes it,
central and its player read it; and what a device signs of a package (`Statement`).
"""

import re
from typing import Final

import msgspec

from vedette.wire.circumstances import Circumstances, Surroundings
from vedette.wire.messages import Box, EventReport, EvidenceRecord
from vedette.wire.numbers import Count
from vedette.wire.signed import Signed

EVIDENCE: Final = "evidence"
"""The kind of the request in the desired state; `Request.evidence` names the package."""

CLIP: Final = "clip"
BLURRED: Final = "blurred"

SIGNATURE: Final = "signature.json"
BLURRED_SIGNATURE: Final = "blurred-signature.json"
"""A `PackageSignature` over all other files of that form."""

POSTER: Final = "poster.jpg"
BLURRED_POSTER: Final = "blurred.jpg"
"""The still picture of a clip, and of its blurred copy: each only ever goes with its own form."""

STATEMENT_TYPE: Final = "vedette/evidence"

FACTS_VERSION: Final = 2
"""Of `evidence.json`. 1, which does not say so: of before 0.2; whoever reads this reads both."""

SIGNED_FROM_VERSION: Final = 2
"""Packages of this version and later are signed by the device that made them."""

MAX_FILES: Final = 8
MAX_CLIP_BYTES: Final = 256 * 1024 * 1024
"""All files of one clip together, on their way to central."""

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
MAX_POSTER_BYTES: Final = 4 * 1024 * 1024
MAX_SIGNATURE_BYTES: Final = 64 * 1024
MAX_PART_BYTES: Final = 512 * 1024
MAX_REFUSAL_BYTES: Final = 4_096

MP4: Final = "video/mp4"
JPEG: Final = "image/jpeg"
JSON: Final = "application/json"

_JSON_FILES: Final = {
    CLIP: ("evidence.json", SIGNATURE),
    BLURRED: ("evidence.json", "blurred.json", BLURRED_SIGNATURE),
}
_VIDEO = re.compile(r"clip(?:-[2-9])?\.mp4")
_HASH = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")


class BlobFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is named by its content."""

    name: str
    sha256: str
    bytes: Count


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is about to send.

    Attributes:
        form: `clip`, or `blurred`: a copy that shows nobody, which is all that the policy lets go.
    """

    evidence: str
    form: str
    files: list[BlobFile]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes of each file central has, by hash; `done` where it has all of all."""

    have: dict[str, Count]
    done: bool = False


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes of this file central has now; `done` where the whole clip is there."""

    have: Count
    done: bool = False


class FrameBoxes(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in one frame that was analysed, or held because nothing moved.

    Attributes:
        problems: The verdict on the picture, as it was judged last (once a second); see
            `vision.quality.QualityVerdict`.
    """

    at_ms: int
    boxes: list[Box]
    problems: list[str] = []


class ClipFile(msgspec.Struct, frozen=True, kw_only=True):
    """One video file of a package.

    Attributes:
        window_ms: When its first and its last picture are shown.
        picture_px: As it is coded; `rotation_deg` turns it clockwise for showing.
    """

    file: str
    sha256: str
    bytes: int
    codec: str
    picture_px: tuple[int, int]
    window_ms: tuple[int, int]
    packets: int
    rotation_deg: int = 0


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch within the window without pictures."""

    window_ms: tuple[int, int]
    cause: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in `evidence.json`; boxes are in pixels of the main clip.

    Attributes:
        clips: The video files in order of time; empty in packages of before version 0.2.
        holes: Where within the window there are no pictures.
        priority: What an alert's, an event's and another clip's budget is told by; 1: an event.
        watches_people: True where everybody in the picture was looked for: the model knows people,
            and no part of the picture was left out.
        slack_ms: How far the times of frames and of the clip may be apart: the clip is of another
            stream than the one that was analysed.
        version: `FACTS_VERSION` of the program that wrote it.
        circumstances: By which model, limits and rule; null in packages of before version 2.
        surroundings: How well it was watched then, and what else happened; likewise.
    """

    record: EvidenceRecord
    event: EventReport
    frames: list[FrameBoxes]
    clips: list[ClipFile] = []
    holes: list[Hole] = []
    priority: int = 1
    watches_people: bool = False
    slack_ms: int = 0
    version: int = 1
    circumstances: Circumstances | None = None
    surroundings: Surroundings | None = None


class BlurredPoster(msgspec.Struct, frozen=True, kw_only=True):
    """The still picture of a blurred copy: one of its pictures, as it was covered.

    Attributes:
        picture_px: Its own size; it may be smaller than the video.
        at_ms: When that picture is shown: at the event or next after it, or where the clip has no
            such, its first.
    """

    file: str
    sha256: str
    bytes: int
    picture_px: tuple[int, int]
    at_ms: int


class BlurredFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in `blurred.json`: what was done to make a copy that shows nobody.

    Attributes:
        made_from: SHA-256 of the main clip.
        mode: `people` or `picture`.
        whole_ms: Stretches in which the whole picture is pixelated, because nobody can say where
            people were.
        cells_px: Sides of the squares that were used, in pixels.
        poster: The still picture; null where none could be made, and in packages of before there
            were any.
    """

    evidence: str
    made_from: str
    clip: ClipFile
    mode: str
    whole_ms: list[tuple[int, int]] = []
    cells_px: list[int] = []
    poster: BlurredPoster | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a device signs of a package (payload type `vedette/evidence`).

    Attributes:
        form: `clip` or `blurred`: of which files it speaks.
        at_ms: When the event was, by the device's clock.
        signed_ms: When this was signed; `clock` says how far that can be believed, in the words of
            `envelope.ClockState`.
        device: Empty with `site` where the device belonged to no central.
        files: Every file of the form but the signature itself and `SHA256SUMS`.
    """

    version: int = 1
    evidence: str
    event: str
    camera: str
    site: str
    device: str
    form: str
    at_ms: int
    signed_ms: int
    clock: str
    files: list[BlobFile]


class PackageSignature(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in `signature.json`: a `Statement`, signed, and the key that it verifies with.

    The key proves nothing by standing here: whose it is must be known from elsewhere.
    """

    key: str
    document: Signed


def is_sha256(text: str) -> bool:
    """True for 64 lower-case hexadecimal digits: what may become the name of a file."""
    return _HASH.fullmatch(text) is not None


def media_type(form: str, name: str) -> str:
    """Return what a file of this name is, in a clip of this form; empty where it has none such."""
    if name in _JSON_FILES.get(form, ()):
        return JSON
    if form == BLURRED:
        return {"blurred.mp4": MP4, BLURRED_POSTER: JPEG}.get(name, "")
    if form == CLIP:
        return JPEG if name == POSTER else MP4 if _VIDEO.fullmatch(name) else ""
    return ""


def most_bytes(media: str) -> int:
    """Return how large a file of this kind may be."""
    return {JSON: MAX_JSON_BYTES, JPEG: MAX_POSTER_BYTES, MP4: MAX_CLIP_BYTES}.get(media, 0)


def signature_of(form: str) -> str:
    """Return the name of the file that signs a form."""
    return BLURRED_SIGNATURE if form == BLURRED else SIGNATURE


def content_range(start: int, size: int, total: int) -> str:
    """Return the header of a part (RFC 9110 section 14.4)."""
    return f"bytes {start}-{start + size - 1}/{total}"


def read_range(text: str) -> tuple[int, int, int] | None:
    """Return start, size and total of a part; None where the header makes no sense."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return None
    first, last, total = map(int, found.groups())
    return (first, last - first + 1, total) if first <= last < total else None
