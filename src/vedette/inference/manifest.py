"""What `bundle.json` says, format 1, and the checks that make it safe to believe.

What lives here: the structs, their limits, parsing and the digest. What does not: files on disk
(`inference.bundle`). The rule: a manifest is hostile until `parse` has returned it. Unknown fields
are kept in the digest and otherwise ignored, so that a later format 1 with one more field still
loads; anything that would change the meaning gets a new format number.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated

import msgspec

from vedette.errors import ModelLoadFailed
from vedette.ids import is_slug
from vedette.vision.heads import HeadSpec
from vedette.vision.preprocess import Preprocess
from vedette.vision.tasks import Task, kind_of, labels_problem, reference_of
from vedette.wire.evaluation import MAX_DEPTH, MAX_LABELS, MAX_MANIFEST_BYTES, depth

FORMAT = 1
MANIFEST_NAME = "bundle.json"
MAX_FILES = 64
MAX_FILE_BYTES = 1024 * 1024 * 1024
MAX_TOTAL_BYTES = 2 * MAX_FILE_BYTES
MAX_LABEL_CHARS = 100
MAX_PROBES = 4096

_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*){0,3}")

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the bundle: lower-case hex SHA-256 and length in bytes."""

    sha256: str
    bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_FILE_BYTES)]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Some values of one raw output tensor.

    Attributes:
        shape: Shape of the tensor.
        span: Largest minus smallest value of the whole tensor; tolerances are parts of it.
        at: Positions in the flattened tensor.
        values: What was there, as long as `at`.
    """

    shape: list[int]
    span: float
    at: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(max_length=MAX_PROBES)]
    values: Annotated[list[float], msgspec.Meta(max_length=MAX_PROBES)]


class ExpectedBox(msgspec.Struct, frozen=True, kw_only=True):
    """One detection that the golden frame has; the box in pixels of the picture."""

    label: str
    confidence: Fraction
    box_xyxy: tuple[float, float, float, float]


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """How far another machine, backend or precision may be away and still be the same model."""

    output: Fraction = 0.02  # of the probe's span
    confidence: Fraction = 0.05
    iou: Fraction = 0.85


class GoldenFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A picture in the bundle (PNG) and what the model made of it where the bundle was made.

    Attributes:
        scores: Of a task beside detection: probability by label, `anomaly`, `similarity`; within
            `tolerance.confidence`.
    """

    picture: str
    outputs: dict[str, Probe]
    boxes: list[ExpectedBox] = []
    scores: dict[str, Fraction] | msgspec.UnsetType = msgspec.UNSET
    tolerance: Tolerance = Tolerance()


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of the model's quality: what on, how, and the figures by name."""

    data: str
    method: str
    figures: dict[str, float]
    at: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The model card: what a person has to know before using the model."""

    summary: str = ""
    license: str = ""
    license_text: str = ""
    source: str = ""
    made_with: str = ""
    limits: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `bundle.json`.

    Attributes:
        files: Path inside the bundle → hash and length; nothing else is ever read.
        model: The ONNX file, one of `files`.
        labels: Class names; `class_id` is the position. None for a task that knows none.
        head: How outputs become boxes; None where `task` says what else the model is for.
        task: What the model is for where it gives no boxes; left out: detection.
        threshold: Confidence below which nothing is reported.
        thresholds: Label → its own threshold.
        calibration_sha256: Of the calibration set, where the model is quantized.
    """

    format: int
    name: str
    version: str
    model: str
    files: dict[str, FileEntry]
    labels: list[str]
    preprocess: Preprocess
    head: HeadSpec | None = None
    task: Task | msgspec.UnsetType = msgspec.UNSET  # left out of the bytes too: digests stay
    threshold: Fraction = 0.4
    thresholds: dict[str, Fraction] = {}
    golden: list[GoldenFrame] = []
    evaluation: list[Evaluation] = []
    calibration_sha256: str | None = None
    card: Card = Card()

    @property
    def purpose(self) -> str:
        """`detection`, `classification`, `embedding` or `anomaly`."""
        return "detection" if self.task is msgspec.UNSET else kind_of(self.task)

    @property
    def head_kind(self) -> str:
        """The family of the head, or the task where there is none."""
        return self.head.kind if self.head else self.purpose


def parse(data: bytes) -> Manifest:
    """Return the manifest in `data`.

    Raises:
        ModelLoadFailed: Too large, too deep, not JSON, of another format, or inconsistent.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ModelLoadFailed(f"{MANIFEST_NAME} is larger than {MAX_MANIFEST_BYTES} bytes")
    if depth(data) > MAX_DEPTH:
        raise ModelLoadFailed(f"{MANIFEST_NAME} is nested deeper than {MAX_DEPTH} levels")
    try:
        data.decode()  # msgspec looks at text only where it needs it, and then raises another error
        head = msgspec.json.decode(data, type=_FormatOnly)
        if head.format != FORMAT:
            raise ModelLoadFailed(
                f"the bundle has format {head.format}, this version of Vedette reads {FORMAT}",
                operator_hint="Update Vedette on this machine, or make the bundle again.",
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelLoadFailed(f"{MANIFEST_NAME}: {error}") from error
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Return where everything in the manifest fits together.

    Raises:
        ModelLoadFailed: Something does not; the message says what.
    """
    problem = next(filter(None, (find(manifest) for find in _CHECKS)), None)
    if problem:
        raise ModelLoadFailed(
            f"{MANIFEST_NAME}: {problem}",
            operator_hint="The bundle is damaged or was not made by Vedette; make it again.",
        )


class _FormatOnly(msgspec.Struct):
    format: int


def _bad_names(manifest: Manifest) -> str | None:
    if not is_slug(manifest.name):
        return f"name {manifest.name!r} is not of the form a-z 0-9 . _ -"
    if not _VERSION.fullmatch(manifest.version):
        return f"version {manifest.version!r} is not of the form 1.2.3"
    return None


def _bad_files(manifest: Manifest) -> str | None:
    if not 1 <= len(manifest.files) <= MAX_FILES:
        return f"{len(manifest.files)} files; 1 to {MAX_FILES} are allowed"
    for path, entry in manifest.files.items():
        if not is_safe_path(path):
            return f"file name {path!r} is not allowed"
        if not _SHA256.fullmatch(entry.sha256):
            return f"the hash of {path} is not 64 lower-case hex digits"
    total = sum(entry.bytes for entry in manifest.files.values())
    if total > MAX_TOTAL_BYTES:
        return f"the files are {total} bytes together; {MAX_TOTAL_BYTES} are allowed"
    wanted = [manifest.model, *(frame.picture for frame in manifest.golden)]
    reference = None if manifest.task is msgspec.UNSET else reference_of(manifest.task)
    wanted += [reference.file] if reference else []
    missing = [path for path in wanted if path not in manifest.files]
    return f"{missing[0]!r} is not in its list of files" if missing else None


def _bad_labels(manifest: Manifest) -> str | None:
    labels = manifest.labels
    least = 1 if manifest.task is msgspec.UNSET else 0
    if not least <= len(labels) <= MAX_LABELS:
        return f"{len(labels)} labels; {least} to {MAX_LABELS} are allowed"
    if len(set(labels)) != len(labels):
        return "a label stands twice"
    for label in labels:
        if not label.strip() or len(label) > MAX_LABEL_CHARS or not label.isprintable():
            return f"label {label[:MAX_LABEL_CHARS]!r} is empty, too long or not printable"
    unknown = set(manifest.thresholds) - set(labels)
    return f"a threshold for {min(unknown)!r}, which is not a label" if unknown else None


def _bad_golden(manifest: Manifest) -> str | None:
    for frame in manifest.golden:
        for name, probe in frame.outputs.items():
            if len(probe.at) != len(probe.values):
                return f"golden {frame.picture}, {name}: positions and values differ in number"
    return None


def _bad_task(manifest: Manifest) -> str | None:
    if (manifest.head is None) is (manifest.task is msgspec.UNSET):
        return "either a head or another task than detection is needed, and not both"
    if manifest.task is msgspec.UNSET:
        return None
    return labels_problem(manifest.task, len(manifest.labels))


_CHECKS = (_bad_names, _bad_files, _bad_labels, _bad_golden, _bad_task)


def is_safe_path(path: str) -> bool:
    """Return whether `path` is a plain relative name that cannot leave the bundle."""
    return (
        len(path) <= 200
        and _PATH.fullmatch(path) is not None
        and ".." not in PurePosixPath(path).parts
        and path != MANIFEST_NAME
    )
