"""What stands in a package beside the picture: by which model and limits, how well it was watched.

Part of `wire.evidence.Facts`. The rule: what is not known is null or not there, and never zero;
what is counted says how much of the time was observed.
"""

import msgspec

from vedette.wire.messages import Span
from vedette.wire.numbers import Count, Finite
from vedette.wire.signed import Line, Zone


class ClockFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How far the wall times of a package can be believed.

    Attributes:
        state: As `envelope.ClockState`, when the package was made; empty: nobody knew.
        made_ms: Wall time at which it was made.
        mono_ms: The same moment by the clock that nobody can set, within `boot_id`.
    """

    state: str
    made_ms: Count
    mono_ms: Count
    boot_id: str
    time_zone: str = "UTC"


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Which model looked, and from which confidence on what it said counted.

    Attributes:
        thresholds: By label, 0 to 1, for the labels that the camera looks for.
        asked_from: Confidence from which a known track was followed on.
    """

    name: str
    version: str
    digest: str
    thresholds: dict[str, Finite]
    asked_from: Finite


class QualityFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on the picture at the event.

    Attributes:
        scores: By name, 0 (bad) to 1.
        problems: Of the last picture that was judged (once a second).
        signs: Of tampering, as of `CameraState`.
        advice: What a person should do about it.
    """

    scores: dict[str, Finite] = {}
    problems: list[str] = []
    signs: list[str] = []
    advice: list[str] = []


class CoverageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed around the event, and why not what was not.

    Attributes:
        window_ms: What was asked for.
        known_from_ms: Before this nothing is known here: the process that watches began then.
        spans: Without hole or overlap from there (or from the window's start) on.
    """

    window_ms: tuple[Count, Count]
    known_from_ms: Count
    spans: list[Span]


class RelatedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Another event of the same camera, near in time."""

    event: str
    kind: str
    at_ms: Count
    where: str = ""
    label: str = ""
    track: Count | None = None
    evidence: str = ""


class DayHour(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of one day.

    Attributes:
        day: Local date.
        observed_s: How much of the hour was observed.
        events: How many such events there were; null where nothing was observed.
    """

    day: str
    observed_s: Finite
    events: Count | None


class PatternFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How often such an event happens here at this hour: same camera, kind and place.

    Attributes:
        hour: Local hour, 0 to 23.
        days: The days before, oldest first, then this day so far: with this event, and only as
            much of its hour as was over.
    """

    kind: str
    where: str
    hour: int
    time_zone: str
    days: list[DayHour]


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What was known at the event.

    Attributes:
        zone: As it was set then, where a zone's rule saw the event; likewise `line`.
    """

    camera_name: str = ""
    model: ModelFacts | None = None
    zone: Zone | None = None
    line: Line | None = None
    quality: QualityFacts | None = None


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked up when the package was made.

    Attributes:
        site, device: Empty where the device belongs to no central; `signature.json` vouches.
        related: Within five minutes on either side, as far as they had happened by then.
        related_left_out: How many more there were.
    """

    site: str = ""
    device: str = ""
    clock: ClockFacts | None = None
    coverage: CoverageFacts | None = None
    related: list[RelatedEvent] = []
    related_left_out: Count = 0
    pattern: PatternFacts | None = None
