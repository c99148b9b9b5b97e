"""What is said of a model version: its identity, and how well and how fast it did on what.

What lives here: the digest of a bundle's manifest, the evaluation record with its checks, the
waiver of a gate. What does not: the manifest in full (`inference.manifest`), measuring
(`lab.evaluating`), bounds and verdicts (`stats.gates`). The rule: a record holds counts and never
shares, by camera-day, so that whoever reads it can say how sure they are; and its counts add up.
"""

import hashlib
import re
from typing import Annotated, Final

import msgspec

from vedette.errors import MalformedReport, TooLarge
from vedette.wire.numbers import Count, Finite

MAX_MANIFEST_BYTES: Final = 1024 * 1024
MAX_RECORD_BYTES: Final = 3 * 1024 * 1024
MAX_DEPTH: Final = 16
MAX_DAYS: Final = 20_000
MAX_LABELS: Final = 10_000
MAX_COUNT: Final = 1_000_000_000
FORMAT: Final = 1
WAIVER_TYPE: Final = "vedette/gate-waiver"
BACKGROUND: Final = ""
"""In the confusion matrix: nothing there, or nothing found."""

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DAY: Final = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
_MARKS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]')

Name = Annotated[str, msgspec.Meta(max_length=128)]
Words = Annotated[str, msgspec.Meta(max_length=2000)]
Objects = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


def canonical(data: bytes) -> bytes:
    """Return the JSON with sorted keys and no spaces, unknown fields included."""
    return msgspec.json.encode(msgspec.json.decode(data), order="sorted")


def manifest_digest(data: bytes) -> str:
    """Return a bundle's identity, `sha256:` and hex, over its canonical manifest.

    The manifest holds the hash of every file, so this one value stands for all of them.
    """
    return f"sha256:{hashlib.sha256(canonical(data)).hexdigest()}"


def is_digest(text: str) -> bool:
    """True where `text` can be the digest of a bundle."""
    return _DIGEST.fullmatch(text) is not None


def depth(data: bytes) -> int:
    """Return how deep brackets are nested in JSON, outside of strings."""
    deepest = level = 0
    for mark in _MARKS.findall(data):
        if mark in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif mark in b"]}":
            level -= 1
    return deepest


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """Objects of one class: found rightly, found where none was, not found."""

    right: Objects = 0
    wrong: Objects = 0
    missed: Objects = 0


class CameraDay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the pictures of one camera on one day.

    Attributes:
        site, camera: Where; a name of its own where the picture stands for itself.
        day: Local date, `2026-05-17`; empty where none is known.
        tallies: By label; a label without an object or a find may be left out.
    """

    site: Name = ""
    camera: Name = ""
    day: Name = ""
    pictures: Objects = 0
    tallies: dict[str, Tally] = {}


class Confused(msgspec.Struct, frozen=True, array_like=True):
    """So many objects of class `truth` were taken for `found`; "" is background."""

    truth: Name
    found: Name
    objects: Objects


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """The pictures and what is true of them.

    Attributes:
        sha256: Over every picture and its truth: two records of the same are of the same pictures.
    """

    name: Name
    sha256: str
    version: Name = ""
    pictures: Objects = 0
    license: Name = ""


class StepTime(msgspec.Struct, frozen=True, kw_only=True):
    """How long one step took on one machine.

    Attributes:
        p95_low_ms, p95_high_ms: One-sided 95 % bounds of the 95th percentile, by order statistics;
            None: too few runs for one.
    """

    runs: Objects
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    p99_ms: Milliseconds
    p95_low_ms: Milliseconds | None = None
    p95_high_ms: Milliseconds | None = None


class HardwareTimes(msgspec.Struct, frozen=True, kw_only=True):
    """What the model did on one kind of machine.

    Attributes:
        hardware: What devices of this kind call themselves.
        steps: `preprocess`, `inference`, `postprocess`, others of the budget where measured, and
            `model` for those three together, run by run.
        load_s: Opening, compiling, first run and golden frames.
        golden_ok: None: not looked at.
    """

    hardware: Name
    runtime: Name = ""
    threads: Count = 1
    steps: dict[str, StepTime] = {}
    load_s: Finite | None = None
    golden_ok: bool | None = None


class EvaluationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one version: quality, speed, or both.

    Attributes:
        digest: Of the bundle that was measured.
        iou: From which overlap a box counts as found.
        confusion: Sparse; where it is given it adds up to the tallies.
    """

    format: int = FORMAT
    digest: str
    at_ms: Count
    by: Words = ""
    method: Words = ""
    iou: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    data: DataSet | None = None
    days: Annotated[list[CameraDay], msgspec.Meta(max_length=MAX_DAYS)] = []
    confusion: Annotated[list[Confused], msgspec.Meta(max_length=100_000)] = []
    hardware: Annotated[list[HardwareTimes], msgspec.Meta(max_length=64)] = []


class Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """These gates shall not hold back this version, for this reason, until then. Signed.

    Attributes:
        gates: Names, as the verdict has them: `recall/person`; `*` at the end stands for the rest.
        by: Who answers for it, in words.
    """

    digest: str
    gates: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=200)]
    reason: Annotated[str, msgspec.Meta(min_length=10, max_length=2000)]
    by: Name
    issued_ms: Count
    expires_ms: Count


def read_record(data: bytes) -> EvaluationRecord:
    """Return the record in JSON, after everything in it fits together.

    Raises:
        TooLarge: More bytes or deeper than a record has any reason to be.
        MalformedReport: Not a record, of another format, or counts that do not add up.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise TooLarge(
            f"an evaluation record of more than {MAX_RECORD_BYTES} bytes",
            operator_hint="Put fewer camera-days or classes into one record.",
        )
    if depth(data) > MAX_DEPTH:
        raise TooLarge(f"an evaluation record nested deeper than {MAX_DEPTH} levels")
    try:
        data.decode()
        record = msgspec.json.decode(data, type=EvaluationRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReport(
            f"not an evaluation record: {error}",
            operator_hint="`vedette bundle evaluate` and `vedette bundle test` write them; "
            "docs/model-gates.md has the fields.",
        ) from error
    problem = problem_of(record)
    if problem:
        raise MalformedReport(
            f"the evaluation record cannot be: {problem}",
            operator_hint="Write it again; do not repair it by hand.",
        )
    return record


def problem_of(record: EvaluationRecord) -> str:
    """Return what does not fit together; empty where all does."""
    if record.format != FORMAT:
        return f"format {record.format}; this version of Vedette reads {FORMAT}"
    if not is_digest(record.digest):
        return "`digest` is not sha256: and 64 hex digits"
    if not record.days and not record.hardware:
        return "it holds neither camera-days nor times"
    if record.days and record.data is None:
        return "camera-days without the data that they are of"
    if record.data and not re.fullmatch(r"[0-9a-f]{64}", record.data.sha256):
        return "`data.sha256` is not 64 hex digits"
    return _days_problem(record) or _confusion_problem(record) or _times_problem(record)


def totals(days: list[CameraDay]) -> dict[str, Tally]:
    """Return the tallies of all days together, by label."""
    sums: dict[str, list[int]] = {}
    for day in days:
        for label, tally in day.tallies.items():
            of = sums.setdefault(label, [0, 0, 0])
            of[0] += tally.right
            of[1] += tally.wrong
            of[2] += tally.missed
    return {label: Tally(*of) for label, of in sums.items()}


def _days_problem(record: EvaluationRecord) -> str:
    keys = [(day.site, day.camera, day.day) for day in record.days]
    if len(set(keys)) != len(keys):
        return "a camera-day stands twice"
    for day in record.days:
        if day.day and not _DAY.fullmatch(day.day):
            return f"{day.day[:20]!r} is not a day such as 2026-05-17"
        if not day.pictures:
            return f"camera-day {day.site}/{day.camera}/{day.day} without a picture"
    pictures = sum(day.pictures for day in record.days)
    if record.data and record.days and pictures != record.data.pictures:
        return f"its camera-days have {pictures} pictures, its data {record.data.pictures}"
    if len(totals(record.days)) > MAX_LABELS:
        return f"more than {MAX_LABELS} labels"
    return ""


def _confusion_problem(record: EvaluationRecord) -> str:
    if not record.confusion:
        return ""
    pairs = [(cell.truth, cell.found) for cell in record.confusion]
    if len(set(pairs)) != len(pairs):
        return "a cell of the confusion matrix stands twice"
    if (BACKGROUND, BACKGROUND) in pairs:
        return "nothing taken for nothing cannot be counted"
    sums: dict[str, list[int]] = {}
    for truth, found, objects in ((c.truth, c.found, c.objects) for c in record.confusion):
        if truth == found:
            sums.setdefault(truth, [0, 0, 0])[0] += objects
            continue
        sums.setdefault(found, [0, 0, 0])[1] += objects
        sums.setdefault(truth, [0, 0, 0])[2] += objects
    sums.pop(BACKGROUND, None)
    said = {k: t for k, t in totals(record.days).items() if t != Tally()}
    seen = {label: Tally(*of) for label, of in sums.items() if any(of)}
    if seen == said:
        return ""
    label = min(k for k in {*seen, *said} if seen.get(k) != said.get(k))
    return (
        f"the confusion matrix says {_told(seen.get(label))} of {label[:40]!r}, "
        f"the camera-days {_told(said.get(label))}"
    )


def _told(tally: Tally | None) -> str:
    tally = tally or Tally()
    return f"{tally.right} right, {tally.wrong} wrong, {tally.missed} missed"


def _times_problem(record: EvaluationRecord) -> str:
    names = [(one.hardware, one.runtime) for one in record.hardware]
    if len(set(names)) != len(names):
        return "the same hardware and runtime stand twice"
    for one in record.hardware:
        if not one.hardware:
            return "times without the hardware that they are of"
        if len(one.steps) > 32:
            return f"{len(one.steps)} steps on {one.hardware[:40]!r}"
        if one.load_s is not None and one.load_s < 0:
            return f"a load time below zero on {one.hardware[:40]!r}"
        for name, step in one.steps.items():
            if problem := _step_problem(step):
                return f"{name[:40]} on {one.hardware[:40]}: {problem}"
    return ""


def _step_problem(step: StepTime) -> str:
    if not step.runs:
        return "no run"
    if not step.p50_ms <= step.p95_ms <= step.p99_ms:
        return "its percentiles fall"
    low = step.p95_low_ms if step.p95_low_ms is not None else step.p95_ms
    high = step.p95_high_ms if step.p95_high_ms is not None else step.p95_ms
    return "" if low <= step.p95_ms <= high else "its bounds do not hold what lies between them"
