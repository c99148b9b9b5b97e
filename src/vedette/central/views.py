"""What the pages and the operator API show: one struct per thing a person looks at.

The store's queries return these, the API serialises them as they are, the templates render them.
Every number that speaks of time carries its `Coverage`; a value without coverage is `None`.
"""

import msgspec

from vedette.wire.messages import Box


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the coverage ledger: observed (`cause` is None) or a gap with its cause.

    `cause` is one of `wire.messages.Cause`, or `AWAITING` for the fresh edge that a healthy
    device has not reported yet (it counts neither as observed nor as a gap).
    """

    start_ms: int
    end_ms: int
    cause: str | None = None
    rate_fps: float | None = None
    detail: str = ""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the asked time was observed, and what took the rest.

    Attributes:
        fraction: Observed over accountable seconds, 0 to 1; None where nothing was accountable.
        causes: Seconds lost by cause.
    """

    fraction: float | None
    observed_s: float
    accountable_s: float
    causes: dict[str, float] = {}


class CameraRow(msgspec.Struct, frozen=True, kw_only=True):
    """A camera in a list."""

    camera: str
    name: str
    device: str
    site: str
    state: str  # ok degraded tampered down off starting dark unknown
    since_ms: int | None
    signs: list[str]
    detail: str
    rate_fps: float | None
    strip: list[Segment]
    coverage: Coverage
    events_24h: int | None
    source: str = ""
    advice: list[str] = []  # what a person should do about the picture


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A device in a list."""

    device: str
    site: str
    state: str  # ok dark never quarantined
    since_ms: int | None
    last_contact_ms: int | None
    version: str
    hardware: str
    clock_state: str
    spool_depth: int | None
    pending_backfill_s: float
    temperature_c: float | None
    throttled: bool | None
    problems: list[str]
    config_version: str
    desired_version: str
    cameras: list[CameraRow]


class SiteRow(msgspec.Struct, frozen=True, kw_only=True):
    """A site with its devices; worst first.

    Attributes:
        dark_since_ms: Last sign of life of a site that is dark as a whole; None where it is not.
        dark_together: The devices that fell silent together then.
    """

    site: str
    name: str
    time_zone: str
    state: str
    devices: list[DeviceRow]
    dark_since_ms: int | None = None
    dark_together: list[str] = []
    folder: str = ""


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the fleet page."""

    at_ms: int
    from_ms: int
    to_ms: int
    counts: dict[str, int]  # cameras by state
    sites: list[SiteRow]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the pipeline against its budget."""

    stage: str
    budget_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    count: int


class CountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One counted thing; `value` is None where nothing was observed."""

    what: str  # zone or line name, "presence" or "picture"
    kind: str  # entered left occupancy_s forward backward presence_s class_s
    label: str
    value: float | None


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a series; None breaks the line."""

    t_ms: int
    value: float | None


class ThumbnailView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest privacy-safe thumbnail and the state of an open request."""

    taken_ms: int | None
    url: str
    pending: bool
    requested_by: str = ""


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event in a list."""

    event: str
    camera: str
    device: str
    site: str
    kind: str
    at_ms: int
    received_ms: int
    late: bool
    where: str
    direction: str
    label: str
    confidence: float | None
    track: int | None
    dwell_s: float | None
    boxes: list[Box]
    picture_px: tuple[int, int] | None
    latency_ms: float | None
    model: str
    evidence: str
    evidence_status: str  # "" none · waiting · on_site · here · refused · failed
    evidence_json: dict[str, object] | None = None
    score: float | None = None  # of an anomaly or a class
    was: str = ""  # the class before
    has_poster: bool = False  # a picture came with the clip
    poster: str = ""  # its name: poster.jpg, or blurred.jpg of a blurred copy


class CameraView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on a camera's page, over `from_ms` to `to_ms`."""

    row: CameraRow
    at_ms: int
    from_ms: int
    to_ms: int
    gaps: list[Segment]
    stages: list[Stage]
    frames: dict[str, int]  # captured analysed gated dropped.<cause>
    counts: list[CountRow]
    rate: list[Point]
    latency_p95: list[Point]
    occupancy: dict[str, list[Point]]
    heatmap: tuple[int, int, list[float]] | None
    confidence: dict[str, list[int]]
    scores: dict[str, list[int]]  # of whole pictures, by name: anomaly, similarity
    zones: list[dict[str, object]]
    lines: list[dict[str, object]]
    thumbnail: ThumbnailView
    events: list[EventRow]
    device: DeviceRow
