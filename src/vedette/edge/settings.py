"""The device's configuration: the one tree that `edge.yaml` holds.

What touches the site (camera addresses, pixels) may also come in the signed site policy, and what
central may set (zones, thresholds, periods) in its signed settings: `edge.desired` lays both over
this tree. There is no entry for pixels here: only the site's key may say what leaves.
"""

import difflib
import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from vedette import config
from vedette.config import entry
from vedette.edge import address
from vedette.errors import ConfigError
from vedette.ids import is_slug
from vedette.inference.providers import ProviderOptions
from vedette.wire.limits import LOITER_WINDOW_S, MAX_CAMERAS, MAX_CONFIRM_S
from vedette.wire.signed import Line, Zone

BUDGET_MS: dict[str, float] = {
    "capture": 33.0,
    "preprocess": 10.0,
    "inference": 100.0,
    "postprocess": 20.0,
    "dispatch": 50.0,
}


class CentralLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where central is."""

    url: Annotated[str, entry("Address of central", examples=["https://vedette.example.com"])]
    allow_insecure: Annotated[
        bool, entry("Allow http:// to another machine; tokens then cross the network in clear")
    ] = False


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a picture is worth analysing."""

    enabled: Annotated[bool, entry("Analyse only pictures in which something moved")] = True
    full_scan_s: Annotated[
        float,
        entry("Analyse a picture at least this often, moved or not", unit="s", gt=0, le=300),
    ] = 10.0
    min_changed_fraction: Annotated[
        float, entry("Part of the picture, or of its regions, that must have changed", gt=0, le=1)
    ] = 0.002
    still_after_s: Annotated[
        float,
        entry("Who has stood still for so long is known and no reason to analyse", unit="s", gt=0),
    ] = 30.0


class Tier(enum.StrEnum):
    """How fast a camera's pictures must become results."""

    REALTIME = "realtime"
    BATCH = "batch"


Corner = tuple[float, float]


class Camera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera and what is looked for in it."""

    id: Annotated[str, entry("Short name, unique on this device: a-z 0-9 . _ -", min_length=1)]
    source: Annotated[
        str,
        entry(
            "Where the pictures come from: an rtsp:// address, an http:// address of motion JPEG, "
            "a device as /dev/video0, a GStreamer pipeline as gst:…, a folder of pictures, or the "
            "path of a video file",
            examples=["rtsp://user:password@192.0.2.7/stream1", "clips/door.mp4"],
        ),
    ] = ""
    evidence_source: Annotated[
        str,
        entry(
            "The camera's second, larger stream: kept for clips and never decoded; "
            "empty: clips are cut from `source`"
        ),
    ] = ""
    rtsp_client: Annotated[
        Literal["auto", "vedette", "ffmpeg"],
        entry(
            "Who speaks RTSP with the camera; ffmpeg gives each picture out when the next begins; "
            "auto: vedette, and ffmpeg for cameras that it cannot read"
        ),
    ] = "auto"
    onvif_port: (
        Annotated[
            int,
            entry(
                "Where the camera is asked by ONVIF for make, model and firmware; null: the usual "
                "ports; 0: not at all",
                ge=0,
                le=65_535,
            ),
        ]
        | None
    ) = None
    rotate: Annotated[
        Literal["auto", 0, 90, 180, 270, "0", "90", "180", "270"],
        entry("Turn pictures clockwise by so many degrees; auto: as the stream itself says"),
    ] = "auto"
    tier: Annotated[
        Tier, entry("realtime: each picture within `budget_ms`; batch: one every `batch_every_s`")
    ] = Tier.REALTIME
    budget_ms: (
        Annotated[
            float,
            entry("Oldest a picture may get; null: `pipeline.deadline_ms`", unit="ms", gt=0),
        ]
        | None
    ) = None
    batch_every_s: Annotated[
        float, entry("One picture every so often, in the tier batch", unit="s", gt=0, le=10)
    ] = 5.0
    regions: Annotated[
        list[list[Corner]],
        entry("Polygons; only what happens in them is looked at. Empty: the whole picture"),
    ] = []
    idle_keyframes: Annotated[
        bool,
        entry(
            "Decode keyframes only while nothing moves, if they come often enough: saves work, "
            "and may miss who is in view for less than two seconds. The tier batch always does"
        ),
    ] = False
    name: Annotated[str, entry("What people call it")] = ""
    model: Annotated[str, entry("A model of `models_dir`")] = "centernet"
    max_fps: Annotated[
        float, entry("Look at no more pictures than this", unit="1/s", gt=0, le=120)
    ] = 5.0
    loop: Annotated[bool, entry("Start a file again at its end, as if it were a camera")] = False
    threshold: (
        Annotated[
            float, entry("Lowest confidence that counts; null: what the model says", ge=0, le=1)
        ]
        | None
    ) = None
    labels: Annotated[list[str], entry("Classes that count; empty: all of the model's")] = []
    zones: Annotated[list[Zone], entry("Polygons in fractions of the picture (0 to 1)")] = []
    lines: Annotated[list[Line], entry("Lines A→B in fractions of the picture (0 to 1)")] = []
    presence_evidence: Annotated[
        bool, entry("Keep a clip when somebody appears after nobody was there")
    ] = False
    class_hold_s: Annotated[
        float,
        entry("A class must be the answer for so long to be held", unit="s", ge=0, le=3600),
    ] = 3.0
    anomaly_looks: Annotated[
        int, entry("Looks on end that must be strange before that is an event", ge=1, le=1000)
    ] = 3
    scene_evidence: Annotated[
        bool, entry("Keep a clip when the class changes or a picture is strange")
    ] = False
    off_hours: Annotated[
        list[tuple[str, str]], entry("Local times when nothing is analysed, as 22:00 to 06:00")
    ] = []
    gate: Annotated[Gate, entry("When a picture is worth analysing")] = Gate()


class PipelineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the pipeline process spends the machine."""

    workers: Annotated[
        int, entry("Inference threads over one shared session; 0: one per core", ge=0, le=64)
    ] = 0
    deadline_ms: Annotated[
        float, entry("A picture older than this is dropped, not analysed", unit="ms", gt=0)
    ] = 500.0
    budget_ms: Annotated[
        dict[str, float], entry("Budget per stage that the console shows", unit="ms")
    ] = msgspec.field(default_factory=lambda: dict(BUDGET_MS))
    providers: Annotated[
        list[str],
        entry(
            "Execution providers of ONNX Runtime, best first: cpu, cuda, tensorrt, openvino, "
            "coreml; the next one is taken, and said, where one does not start"
        ),
    ] = msgspec.field(default_factory=lambda: ["cpu"])
    runtime: Annotated[
        Literal["onnxruntime", "openvino"], entry("What executes models; openvino is an extra")
    ] = "onnxruntime"
    provider_options: Annotated[
        ProviderOptions, entry("Options of the providers of ONNX Runtime")
    ] = ProviderOptions()
    batch_sizes: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=64)]],
        entry("Pictures that one call of an accelerator may take together; on a CPU one is best"),
    ] = msgspec.field(default_factory=lambda: [1])


class EvidenceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clips kept on the device."""

    before_s: Annotated[float, entry("Time before the event", unit="s", ge=0, le=60)] = 4.0
    after_s: Annotated[float, entry("Time after the event", unit="s", ge=0, le=60)] = 4.0
    ring_s: Annotated[float, entry("Packets kept per camera", unit="s", gt=0, le=300)] = 20.0
    ring_mb: Annotated[float, entry("Packets kept per camera", unit="MB", gt=0, le=1024)] = 16.0
    daily_mb: Annotated[float, entry("New clips in any 24 hours at most", unit="MB", ge=0)] = 512.0
    keep_mb: Annotated[
        float, entry("All clips at most; the oldest for its priority goes", unit="MB", ge=0)
    ] = 4096.0
    hold_mb: Annotated[
        float, entry("Held clips at most, and half of `keep_mb`", unit="MB", ge=0)
    ] = 1024.0
    keep_days: Annotated[
        float,
        entry("Clips older than this go, held ones excepted; 0: only budgets", unit="days", ge=0),
    ] = 0.0
    blur: Annotated[
        Literal["none", "people", "picture"],
        entry("A second, encoded copy of each clip: people pixelated, or the whole picture"),
    ] = "none"
    blur_max_s: Annotated[
        float, entry("Longest that making one blurred copy may take", unit="s", gt=0, le=3600)
    ] = 120.0


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often the device speaks."""

    report_period_s: Annotated[float, entry("Health report", unit="s", ge=1, le=300)] = 30.0
    aggregate_period_s: Annotated[
        float, entry("Counts per camera; never across a minute's edge", unit="s", ge=1, le=60)
    ] = 60.0


class BandwidthWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local times with another cap on what had waited."""

    start: Annotated[str, entry("Local time of day", examples=["09:00"])]
    end: Annotated[str, entry("Local time of day; before `start`: past midnight")]
    backfill_kbit_s: Annotated[
        float, entry("Cap on what had waited; 0: none of it now", unit="kbit/s", ge=0)
    ]
    days: Annotated[
        list[str], entry("Days it holds: mon tue wed thu fri sat sun; empty: every day")
    ] = []


class UplinkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the site's line may be used. Alerts and fresh reports are never held back."""

    backfill_kbit_s: Annotated[
        float, entry("Cap on what had waited, outside of `windows`", unit="kbit/s", gt=0)
    ] = 4096.0
    windows: Annotated[
        list[BandwidthWindow], entry("Times with another cap; the first that holds counts")
    ] = []
    keep_acknowledged_h: Annotated[
        float,
        entry(
            "Keep what central acknowledged for so long, while there is room: what a central "
            "restored from an older backup is sent again",
            unit="h",
            ge=0,
            le=720,
        ),
    ] = 24.0


class LocalMetrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's own page and Prometheus metrics, for people and programs at the site."""

    enabled: Annotated[bool, entry("Serve `/` and `/metrics`")] = False
    host: Annotated[str, entry("Address to listen on")] = "127.0.0.1"
    port: Annotated[int, entry("Port; 0: any free one", ge=0, le=65535)] = 9188


class LocalApi(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device's own HTTP interface for programs beside it: `vedette edge serve`."""

    host: Annotated[str, entry("Address to listen on")] = "127.0.0.1"
    port: Annotated[int, entry("Port; 0: any free one", ge=0, le=65535)] = 8088
    token_file: (
        Annotated[Path, entry("File with the token that callers must show; null: one is made")]
        | None
    ) = None
    sure: Annotated[
        float, entry("Confidence from which nobody has to look at a picture", ge=0, le=1)
    ] = 0.6
    at_once: Annotated[
        int, entry("Pictures worked on at once; as many again may wait", ge=1, le=64)
    ] = 2


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The durable queue."""

    quota_mb: Annotated[
        float,
        entry("Largest size; then the least important goes, with a tombstone", unit="MB", ge=1),
    ] = 1024.0


class SystemCommands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Programs that install a system image; lists of arguments, run as root, never by a shell."""

    examine: Annotated[list[str], entry("Refuses a {file} that is not for this machine")] = []
    install: Annotated[list[str], entry("Installs {file}, where it runs at the next boot")] = []
    running: Annotated[list[str], entry("Prints a name of the system that runs")] = []
    keep: Annotated[list[str], entry("Makes final what runs")] = []
    take_back: Annotated[list[str], entry("Has the system of before run at the next boot")] = []
    needs_boot: Annotated[bool, entry("The machine boots after `install` and `take_back`")] = True


class SystemSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the operating system is updated. Only the device's own file may say it."""

    adapter: Annotated[
        Literal["none", "rauc", "mender", "apt", "command"],
        entry("The machine's update tool; none: its system is not Vedette's business"),
    ] = "none"
    commands: Annotated[SystemCommands, entry("For the adapter `command`")] = SystemCommands()
    reboot: Annotated[list[str], entry("Has the machine boot")] = msgspec.field(
        default_factory=lambda: ["systemctl", "reboot"]
    )
    limit_s: Annotated[
        float, entry("Longest that one installation may take", unit="s", gt=0, le=14_400)
    ] = 3600.0


class EdgeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in `edge.yaml`."""

    state_dir: Annotated[Path, entry("Spool, evidence, keys and accepted policies live here")]
    models_dir: Annotated[Path, entry("Model bundles live here")]
    cameras: Annotated[
        list[Camera], entry("The cameras of this device", max_length=MAX_CAMERAS)
    ] = []
    central: Annotated[CentralLink | None, entry("Where central is; null: run alone")] = None
    pipeline: Annotated[PipelineSettings, entry("How the machine is spent")] = PipelineSettings()
    evidence: Annotated[EvidenceSettings, entry("Clips kept on the device")] = EvidenceSettings()
    telemetry: Annotated[Telemetry, entry("How often the device speaks")] = Telemetry()
    spool: Annotated[SpoolSettings, entry("The durable queue")] = SpoolSettings()
    uplink: Annotated[UplinkSettings, entry("How much of the line is used")] = UplinkSettings()
    local_metrics: Annotated[LocalMetrics, entry("The device's own page and metrics")] = (
        LocalMetrics()
    )
    local_api: Annotated[LocalApi, entry("The device's own HTTP interface")] = LocalApi()
    system: Annotated[SystemSettings, entry("How the operating system is updated")] = (
        SystemSettings()
    )
    time_zone: Annotated[str, entry("The site's time zone, for off-hours")] = "UTC"
    build_hint: Annotated[str, entry("Free text shown as hardware, e.g. a closet's name")] = ""


def load(path: Path) -> EdgeConfig:
    """Return the device's configuration with paths made absolute, relative to the file.

    Raises:
        ConfigError: As `config.load`; also for two cameras of one name, polygons that are none, …
    """
    loaded = config.load(path, EdgeConfig)
    base = path.resolve().parent
    check(loaded, str(path))
    return msgspec.structs.replace(
        loaded, state_dir=base / loaded.state_dir, models_dir=base / loaded.models_dir
    )


def check(tree: EdgeConfig, name: str = "configuration") -> None:
    """Raise `ConfigError` for what types alone cannot say."""
    seen: set[str] = set()
    for camera in tree.cameras:
        where = f"{name}: camera {camera.id!r}"
        if not is_slug(camera.id):
            raise ConfigError(
                f"{where}: not a short name", operator_hint="use 1 to 64 of a-z 0-9 . _ -"
            )
        if camera.id in seen:
            raise ConfigError(f"{where} stands twice", operator_hint="give each its own id")
        seen.add(camera.id)
        _check_sources(camera, where)
        _check_geometry(camera, where)
        for start, end in camera.off_hours:
            minute_of_day(start)
            minute_of_day(end)
    _check_windows(tree.uplink, name)
    if tree.central and not tree.central.url.startswith(("http://", "https://")):
        raise ConfigError(
            f"{name}: central.url: {tree.central.url!r} is no address",
            operator_hint="write https://host or, on this machine only, http://127.0.0.1:8080",
        )


def _check_windows(uplink: UplinkSettings, name: str) -> None:
    days = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
    for window in uplink.windows:
        minute_of_day(window.start)
        minute_of_day(window.end)
        wrong = set(window.days) - days
        if wrong:
            raise ConfigError(
                f"{name}: uplink.windows: {min(wrong)!r} is no day",
                operator_hint="write mon tue wed thu fri sat sun",
            )


def _check_sources(camera: Camera, where: str) -> None:
    try:
        address.check_source(camera.source)
        address.check_evidence_source(camera.evidence_source)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}", operator_hint=error.operator_hint) from error


def _check_geometry(camera: Camera, where: str) -> None:
    names = [shape.name for shape in (*camera.zones, *camera.lines)]
    for name in names:
        if not is_slug(name):
            raise ConfigError(f"{where}: zone or line {name!r}: use 1 to 64 of a-z 0-9 . _ -")
        if names.count(name) > 1:
            raise ConfigError(f"{where}: zone or line {name!r} stands twice")
    for zone in camera.zones:
        if not 3 <= len(zone.polygon) <= 32:
            raise ConfigError(f"{where}: zone {zone.name!r}: a polygon has 3 to 32 corners")
        _check_rules(zone, f"{where}: zone {zone.name!r}")
    for polygon in camera.regions:
        if not 3 <= len(polygon) <= 32:
            raise ConfigError(
                f"{where}: regions: a polygon of {len(polygon)} corners",
                operator_hint="give each region 3 to 32 corners",
            )
    points = [p for z in camera.zones for p in z.polygon]
    points += [p for polygon in camera.regions for p in polygon]
    points += [p for line in camera.lines for p in (line.a, line.b)]
    if any(not (0 <= x <= 1 and 0 <= y <= 1) for x, y in points):
        raise ConfigError(
            f"{where}: a corner lies outside the picture",
            operator_hint="corners are fractions of width and height: 0 to 1, from the top left",
        )
    for line in camera.lines:
        if line.a == line.b:
            raise ConfigError(f"{where}: line {line.name!r} has no length")
        if not 0 <= line.confirm_s <= MAX_CONFIRM_S:
            raise ConfigError(
                f"{where}: line {line.name!r}: confirm_s: {line.confirm_s:g} is too long",
                operator_hint=f"write 0 to {MAX_CONFIRM_S:g} seconds; one or two are usual",
            )


def _check_rules(zone: Zone, where: str) -> None:
    if zone.dwell_s is not None and not 0 < zone.dwell_s <= 86_400:
        raise ConfigError(f"{where}: dwell_s lies between 0 and 86400 seconds")
    if zone.loiter_s is not None and not 0 < zone.loiter_s <= LOITER_WINDOW_S:
        raise ConfigError(
            f"{where}: loiter_s: {zone.loiter_s:g} cannot be reached",
            operator_hint=f"stays of the last {LOITER_WINDOW_S:g} s add up: write at most that",
        )
    if zone.heading_deg is not None and not -360 <= zone.heading_deg <= 360:
        raise ConfigError(
            f"{where}: heading_deg: {zone.heading_deg:g} is no direction",
            operator_hint="0 is right in the picture, 90 down, 180 left, 270 up",
        )
    if not 0 < zone.heading_tolerance_deg <= 180:
        raise ConfigError(f"{where}: heading_tolerance_deg lies between 0 and 180")


def check_labels(camera: Camera, model: str, labels: Sequence[str]) -> None:
    """Raise `ConfigError` where a camera looks for a class that its model does not know."""
    for label in camera.labels:
        if label not in labels:
            near = difflib.get_close_matches(label, labels, n=1)
            advice = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(
                f"camera {camera.id!r}: model {model!r} knows no {label!r}",
                operator_hint=f"{advice}its labels begin with: {', '.join(labels[:12])}",
            )


def minute_of_day(text: str) -> int:
    """Return minutes since midnight for `HH:MM`.

    Raises:
        ConfigError: Not a time of day.
    """
    hours, _, minutes = text.partition(":")
    is_plain = text.isascii() and hours.isdecimal() and minutes.isdecimal() and len(text) <= 5
    if is_plain and int(hours) <= 24 and int(minutes) < 60:
        return int(hours) * 60 + int(minutes)
    raise ConfigError(f"{text!r} is no time of day", operator_hint="write it as 22:00")
