"""The bodies that devices send: what each field means, in which unit.

Numbers that merge are kept in a form that merges exactly: counts, sums and the sketches of
`stats.sketch` (as `Histogram` and `Bins`). A rate or a mean is never sent, only what it is made of.
Wall times are milliseconds since 1970 UTC by the device's clock; central moves them when the
envelope says that the clock was not trusted. A value that was not measured is `None`, never zero.
"""

import enum

import msgspec

from vedette.wire.numbers import Count, Finite
from vedette.wire.slots import UpdateHealth


class Cause(enum.StrEnum):
    """Why a stretch of time was not observed."""

    CAMERA_DOWN = "CAMERA_DOWN"
    PIPELINE_STOPPED = "PIPELINE_STOPPED"
    DEVICE_DARK = "DEVICE_DARK"
    PENDING_BACKFILL = "PENDING_BACKFILL"
    EVICTED = "EVICTED"
    SCHEDULED_OFF = "SCHEDULED_OFF"
    TAMPERED = "TAMPERED"
    CLOCK_UNTRUSTED = "CLOCK_UNTRUSTED"
    CENTRAL_DOWN = "CENTRAL_DOWN"


class Drop(enum.StrEnum):
    """Why a frame that was captured was neither analysed nor gated."""

    STALE = "stale"  # a newer frame replaced it in the slot, or its deadline passed
    UNDECODABLE = "undecodable"
    BAD_OUTPUT = "bad_output"
    BACKEND = "backend"  # the runtime refused or failed
    SHUTDOWN = "shutdown"


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """An exponential histogram; see `stats.sketch.ExpHistogram`.

    Attributes:
        scale: Grid scale: bucket i holds (2^(i/2^scale), 2^((i+1)/2^scale)].
        zero: Observations at or below the smallest bucket.
        offset: Index of the first bucket in `counts`.
        counts: Observations per bucket, without gaps.
        sum: Sum of all observations, in the unit of the field.
    """

    scale: Count = 5
    zero: Count = 0
    offset: int = 0
    counts: list[Count] = []
    sum: Finite = 0.0


class Bins(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over equal bins of [0, 1]; see `stats.sketch.LinearBins`."""

    counts: list[Count]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time of one camera: observed (`cause` is None) or a gap with its cause.

    Attributes:
        rate_fps: Frames per second that were looked at (gated ones included), where observed.
    """

    start_ms: Count
    end_ms: Count
    cause: Cause | None = None
    rate_fps: Finite | None = None
    detail: str = ""


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """The accounting invariant: `captured == analysed + gated + sum(dropped.values())`."""

    captured: Count = 0
    analysed: Count = 0
    gated: Count = 0
    dropped: dict[Drop, Count] = {}


class ZoneCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one zone during one aggregate's time, for one class.

    Attributes:
        occupancy_s: Sum over tracks of the seconds they were inside: mean occupancy × time.
        dwell_s: Seconds inside, per finished visit.
        visits: Stays that began, seen entering or born inside.
        loitered, headed, picked, placed, shelf_changed: Events of these kinds; what happened on a
            shelf without a known track has the label of nobody, which is empty.
    """

    entered: Count = 0
    left: Count = 0
    occupancy_s: Finite = 0.0
    occupancy_max: Count = 0
    dwell_s: Histogram | None = None
    visits: Count = 0
    loitered: Count = 0
    picked: Count = 0
    placed: Count = 0
    headed: Count = 0
    shelf_changed: Count = 0


class LineCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Crossings of one line, for one class; `forward` is from the left of A→B to its right."""

    forward: Count = 0
    backward: Count = 0


class Heatmap(msgspec.Struct, frozen=True, kw_only=True):
    """Where tracks stood (foot points), on a coarse grid: merges by addition.

    Attributes:
        seconds: Row by row, track-seconds per cell ×10, rounded; length `rows * columns`.
    """

    rows: Count
    columns: Count
    deciseconds: list[Count]


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """Everything counted on one camera within at most one minute; never crosses a minute's edge.

    `zones[name][label]`, `lines[name][label]`, `presence_s[label]` (seconds with at least one
    confirmed track of that class), `stage_ms[stage]`, `confidence[label]`, `entropy[label]`,
    `class_s[label]` (seconds for which a classifier held that class), `scores[name]` (such as
    `anomaly`: distribution of a score from 0 to 1). `left_out` names what a message that would have
    been too large lacks (see `stats.fitting`); `slow_path_shed_s` are the seconds in which only the
    fast path ran: presence, occupancy, heatmap and detection statistics know nothing of them.
    """

    camera: str
    start_ms: Count
    end_ms: Count
    spans: list[Span] = []
    frames: Frames = Frames()
    model: str = ""
    zones: dict[str, dict[str, ZoneCounts]] = {}
    lines: dict[str, dict[str, LineCounts]] = {}
    presence_s: dict[str, Finite] = {}
    heatmap: Heatmap | None = None
    stage_ms: dict[str, Histogram] = {}
    confidence: dict[str, Bins] = {}
    entropy: dict[str, Bins] = {}
    detections: dict[str, Count] = {}
    quality: dict[str, Bins] = {}
    slow_path_shed_s: Finite = 0.0
    class_s: dict[str, Finite] = {}
    scores: dict[str, Bins] = {}
    left_out: list[str] = []


class State(enum.StrEnum):
    """How a camera is, in one word."""

    OK = "ok"
    DEGRADED = "degraded"
    TAMPERED = "tampered"
    DOWN = "down"
    OFF = "off"
    STARTING = "starting"


class CameraState(msgspec.Struct, frozen=True, kw_only=True):
    """A camera changed its state at `at_ms` (when it happened, not when it was noticed).

    Attributes:
        signs: ONVIF-style names where tampered or degraded, e.g. `ImageTooDark`,
            `GlobalSceneChange`, `ImageTooBlurry`, or our own `FrozenPicture`, `Covered`.
    """

    camera: str
    at_ms: Count
    noticed_ms: Count
    state: State
    cause: Cause | None = None
    signs: list[str] = []
    detail: str = ""


class CoverageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Spans that no aggregate carries: what the agent knows about a pipeline that was not there."""

    camera: str
    spans: list[Span]


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """What the spool had to evict: those sequence numbers will never come.

    Attributes:
        cameras: Cameras whose aggregates were among them; empty where unknown (then: all).
        start_ms: Start of the time that the evicted messages spoke of.
    """

    lane: str
    epoch: Count
    ranges: list[tuple[Count, Count]]
    start_ms: Count
    end_ms: Count
    cameras: list[str] = []
    reason: str = "quota"


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One object in one picture: xyxy in pixels of `EventReport.picture_px`."""

    xyxy: tuple[Finite, Finite, Finite, Finite]
    label: str
    confidence: Finite
    track: Count | None = None


class EventKind(enum.StrEnum):
    """What can happen."""

    PRESENCE = "presence"
    LINE_CROSSED = "line_crossed"
    ZONE_ENTERED = "zone_entered"
    ZONE_LEFT = "zone_left"
    DWELL = "dwell"
    TAMPER = "tamper"
    LOITER = "loiter"  # visits to a zone added up to too long
    HEADING = "heading"  # moved through a zone in the watched direction
    PICKED = "picked"  # something was taken from a shelf
    PLACED = "placed"  # something was put onto a shelf
    SHELF_CHANGED = "shelf_changed"  # something is lastingly another on a shelf: taken or put?
    CLASS_CHANGED = "class_changed"  # a classifier's answer is another, lastingly
    ANOMALY = "anomaly"  # a picture unlike those that the model was made from


class EventReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened in front of a camera."""

    event: str
    camera: str
    kind: EventKind
    at_ms: Count
    where: str = ""  # zone or line
    direction: str = ""
    label: str = ""
    confidence: Finite | None = None
    track: Count | None = None
    dwell_s: Finite | None = None
    boxes: list[Box] = []
    picture_px: tuple[Count, Count] | None = None
    model: str = ""
    evidence: str = ""  # the evidence id, where a clip was asked for
    latency_ms: Finite | None = None  # capture to this event
    score: Finite | None = None  # of an anomaly or a class, 0 to 1
    was: str = ""  # the class before, where a class changed
    compared_ms: tuple[Count, Count] | None = None  # the shelf's pictures, before and after


class EvidenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an evidence package holds; its pixels stay on the device unless the policy says so.

    Attributes:
        wanted_ms, actual_ms: The window asked for and the one in the clip (start, end).
        shortfall: In words, why the window is shorter; empty where it is not.
        stays_on_site: True where the pixel policy forbids the clip to leave.
        poster: What the poster shows, in words and boxes; not its pixels.
        status: `complete`, `refused` (budget) or `failed` (with `detail`).
    """

    evidence: str
    event: str
    camera: str
    wanted_ms: tuple[Count, Count]
    actual_ms: tuple[Count, Count] | None = None
    shortfall: str = ""
    sha256: str = ""
    bytes: Count = 0
    codec: str = ""
    picture_px: tuple[Count, Count] | None = None
    stays_on_site: bool = True
    poster: str = ""
    boxes: list[Box] = []
    status: str = "complete"
    detail: str = ""
    blurred: bool = False  # re-encoded with people made unrecognisable


# ---------------------------------------------------------------------------------------- health


class SystemHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The machine. Fractions are 0 to 1, temperatures in degrees Celsius by sensor name."""

    uptime_s: Finite | None = None
    boot_id: str = ""
    cpu_fraction: Finite | None = None
    load_1m: Finite | None = None
    memory_used_fraction: Finite | None = None
    agent_rss_mb: Finite | None = None
    pipeline_rss_mb: Finite | None = None
    disk_free_mb: Finite | None = None
    disk_used_fraction: Finite | None = None
    gpu_fraction: Finite | None = None
    temperatures_c: dict[str, Finite] = {}
    clocks_mhz: dict[str, Finite] = {}
    throttle_flags: list[str] | None = None  # None: this machine cannot tell
    power_mode: str = ""
    hardware: str = ""
    probe: str = ""  # who read it: linux, raspberry_pi, jetson; `+nvml` with an NVIDIA card
    power_w: Finite | None = None
    gpu_memory_fraction: Finite | None = None
    fan_fraction: Finite | None = None
    memory_mb: Finite | None = None  # total
    reboot_cause: str = ""  # why the last boot happened, see `edge.health.boots`; "": cannot tell
    reboots: Count | None = None  # boots that this device's state has seen after its first
    growth_mb_per_h: dict[str, Finite] = {}  # memory trend by process, only where it is significant
    reboot_detail: str = ""  # the reason for `reboot_cause`, in words
    agent_crashes: Count | None = None  # agents that died without a word
    agent_exit: str = ""  # how the agent before this one ended, in words


class SceneHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a camera's last picture lies on what it is compared with (`vision.reference`).

    Attributes:
        likeness: Best correlation of edges with anything known, -1 to 1.
        right, down: Parts of width and height by which the content is shifted, -0.5 to 0.5; None
            where it was so alike that nobody looked, or nothing could be compared.
        strength: How far that shift stands out; see `vision.registration.Shift`.
        is_pinned: It was compared with what a person pinned; else with what was learnt.
        pinned_ms: When that was pinned; None where nothing was.
    """

    likeness: Finite | None = None
    right: Finite | None = None
    down: Finite | None = None
    strength: Finite | None = None
    is_pinned: bool = False
    pinned_ms: Count | None = None


class CameraHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One camera since the last report."""

    camera: str
    state: State
    since_ms: Count
    frames: Frames = Frames()
    rate_fps: Finite | None = None
    queue_depth: Count = 0
    stage_ms: dict[str, Histogram] = {}
    reconnects: Count = 0
    last_frame_ms: Count | None = None
    source: str = ""  # without credentials
    codec: str = ""
    picture_px: tuple[Count, Count] | None = None
    quality: dict[str, Finite] = {}
    advice: list[str] = []  # what a person should do about the picture
    tier: str = ""
    decode: str = ""  # which pictures are decoded now: all, nonref, keyframes
    cause: Cause | None = None  # of the state, where it is a gap
    make: str = ""  # make, model, firmware: as the camera itself says (ONVIF, RTSP Server header)
    model: str = ""
    firmware: str = ""
    announced_fps: Finite | None = None  # as the stream announces it, whatever it really gives
    serial: str = ""  # of the camera, where ONVIF says it
    detail: str = ""  # why the state is what it is, in words
    signs: list[str] = []  # as of `CameraState`
    scene: SceneHealth | None = None


class ModelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One model since the last report."""

    model: str
    digest: str = ""
    backend: str = ""
    load_s: Finite | None = None
    golden_ok: bool | None = None
    inferences: Count = 0
    failures: Count = 0
    confidence: dict[str, Bins] = {}
    entropy: dict[str, Bins] = {}
    detections: dict[str, Count] = {}


class NetworkHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The way to central since the last report."""

    sent_bytes: Count = 0
    received_bytes: Count = 0
    requests: Count = 0
    failures: Count = 0
    round_trip_ms: Histogram | None = None
    clock_offset_ms: Finite | None = None
    last_contact_ms: Count | None = None
    loss_fraction: Finite | None = None  # retransmitted over sent segments of our connections
    interface: str = ""  # the one that the way to central begins with, as eth0, wlan0
    link: str = ""  # ethernet, wifi, cellular, other
    link_mbps: Finite | None = None
    signal_dbm: Finite | None = None
    throughput_mbps: Finite | None = None  # seen while sending bodies large enough to tell
    backfill_bytes: Count = 0  # part of `sent_bytes` that had waited


class SpoolHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The spool now."""

    depth: dict[str, Count] = {}
    bytes: Count = 0
    quota_bytes: Count = 0
    oldest_ms: Count | None = None  # of what waits, or may be asked for again at the next contact
    evicted: Count = 0
    epoch: Count = 0
    kept: Count = 0  # acknowledged messages still there, for a central restored from a backup
    written_bytes: Count | None = None  # by agent and pipeline since the last report: wear


class PipelineHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The pipeline process as the agent sees it.

    Attributes:
        settings_version: Of the settings that the running process works by; None from devices that
            do not say. `HealthReport.config_version` is what the agent accepted.
    """

    running: bool
    since_ms: Count | None = None
    restarts: Count = 0
    last_exit: str = ""
    cameras: list[CameraHealth] = []
    crashes: Count = 0  # ends that nobody asked for, since the agent started
    memory_kills: Count = 0  # of those, by the kernel for want of memory
    settings_version: Count | None = None


class LocallyDriven(msgspec.Struct, frozen=True, kw_only=True):
    """One alert that a device delivered by itself.

    Attributes:
        event: By its name, where it was one.
        central: `reachable` or `unreachable`, as the device saw it then.
    """

    rule: str
    channel: str
    at_ms: Count
    event: str = ""
    camera: str = ""
    central: str = ""


class LocalChannelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A local channel; counts since the agent started.

    Attributes:
        dropped: Alerts that were given up, by why: full, rate, expired, refused.
        waiting: Those that are tried again.
        problem: Why the last attempt failed, in words; empty where it did not.
    """

    channel: str
    kind: str
    when: str
    sent: Count = 0
    failed: Count = 0
    dropped: dict[str, Count] = {}
    waiting: Count = 0
    last_ms: Count | None = None
    problem: str = ""


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """A device, every 30 seconds."""

    at_ms: Count
    period_s: Finite
    version: str
    system: SystemHealth = SystemHealth()
    pipeline: PipelineHealth | None = None
    models: list[ModelHealth] = []
    network: NetworkHealth = NetworkHealth()
    spool: SpoolHealth = SpoolHealth()
    config_version: str = ""
    site_policy_version: Count = 0
    site_keys_version: Count = 0  # of the pinned keys of the site; 0: not known
    problems: list[str] = []
    time_zone: str = ""  # the site's, as this device was told; empty: of an older version
    assignment_version: Count = 0  # of the newest assignment that was accepted
    updates: list[UpdateHealth] = []  # by slot: what runs, what is coming
    tuf_versions: dict[str, Count] = {}  # role to version of the trusted metadata
    local_channels: list[LocalChannelHealth] = []
    locally_driven: list[LocallyDriven] = []  # since the last report, the newest 50


class CommissionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of commissioning a camera; no picture is in it.

    Attributes:
        by: Who did it, as they wrote it.
        confirmed, refused, skipped: Steps: view focus light zones reference sample baseline.
        right, wrong, missed: Boxes and objects of the sample that a person labelled.
        observed_fraction: Part of the baseline that was observed, 0 to 1.
        settings_sha256: Of the zones, lines, regions and rotation that were confirmed.
    """

    camera: str
    at_ms: Count
    by: str = ""
    confirmed: list[str] = []
    refused: list[str] = []
    skipped: list[str] = []
    problems: list[str] = []
    picture_px: tuple[Count, Count] | None = None
    model: str = ""
    model_digest: str = ""
    settings_sha256: str = ""
    sharpness: Finite | None = None
    pictures: Count = 0
    right: Count = 0
    wrong: Count = 0
    missed: Count = 0
    baseline_s: Finite | None = None
    observed_fraction: Finite | None = None
    captured: Count = 0
    analysed: Count = 0
    gated: Count = 0
