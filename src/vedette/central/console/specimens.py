"""Made-up views: every component in every state, for `/-/patterns` and for tests.

Nothing here speaks of a real place. The rule: whatever a template can show, some specimen shows.
"""

import math
from typing import Final

import msgspec

from vedette.central.views import (
    CameraRow,
    CameraView,
    CountRow,
    Coverage,
    DeviceRow,
    EventRow,
    FleetView,
    Point,
    Segment,
    SiteRow,
    Stage,
    ThumbnailView,
)
from vedette.wire.messages import Box, Cause

NOW_MS: Final = 1_772_445_600_000  # 2 March 2026, 10:00 UTC
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
FROM_MS: Final = NOW_MS - DAY_MS


def strip(*parts: tuple[float, str | None, str]) -> list[Segment]:
    """Return a strip of the last day from (hours, cause, detail), oldest first."""
    out: list[Segment] = []
    at = float(FROM_MS)
    for hours, cause, detail in parts:
        end = at + hours * HOUR_MS
        if cause != "UNKNOWN":
            rate = 5.0 if cause is None else None
            out.append(
                Segment(
                    start_ms=round(at), end_ms=round(end), cause=cause, rate_fps=rate, detail=detail
                )
            )
        at = end
    return out


def coverage_of(segments: list[Segment]) -> Coverage:
    """Return the coverage that a strip amounts to."""
    observed = sum(s.end_ms - s.start_ms for s in segments if s.cause is None) / 1000
    causes: dict[str, float] = {}
    for segment in segments:
        if segment.cause not in {None, "AWAITING"}:
            lost_s = (segment.end_ms - segment.start_ms) / 1000
            causes[str(segment.cause)] = causes.get(str(segment.cause), 0.0) + lost_s
    accountable = observed + sum(causes.values())
    fraction = observed / accountable if accountable else None
    return Coverage(
        fraction=fraction, observed_s=observed, accountable_s=accountable, causes=causes
    )


STRIPS: Final[dict[str, list[Segment]]] = {
    "ok": strip((23.99, None, ""), (0.01, "AWAITING", "")),
    "degraded": strip(
        (9, None, ""),
        (0.7, Cause.CAMERA_DOWN, "no answer from the camera"),
        (14.28, None, ""),
        (0.02, "AWAITING", ""),
    ),
    "tampered": strip((17, None, ""), (7, Cause.TAMPERED, "ImageTooDark, Covered")),
    "down": strip(
        (12, None, ""),
        (1.2, Cause.CENTRAL_DOWN, ""),
        (6, None, ""),
        (4.8, Cause.CAMERA_DOWN, "connection refused"),
    ),
    "dark": strip(
        (3, Cause.PENDING_BACKFILL, ""),
        (6, None, ""),
        (2, Cause.EVICTED, "disk full"),
        (9.6, None, ""),
        (3.4, Cause.DEVICE_DARK, ""),
    ),
    "off": strip((8, Cause.SCHEDULED_OFF, ""), (10, None, ""), (6, Cause.SCHEDULED_OFF, "")),
    "starting": strip((23.9, "UNKNOWN", ""), (0.1, "AWAITING", "")),
    "unknown": [],
    "mixed": strip(
        (4, None, ""),
        (1, Cause.CLOCK_UNTRUSTED, ""),
        (5, None, ""),
        (0.8, Cause.PIPELINE_STOPPED, "restarting"),
        (3, None, ""),
        (0.004, Cause.CAMERA_DOWN, "15 s"),
        (10, None, ""),
    ),
}

_DETAIL: Final = {
    "down": "connection refused by the camera",
    "tampered": "",
    "degraded": "p95 over budget",
}
_SINCE_MS: Final = {"dark": 204 * 60_000}
_SIGNS: Final = {"tampered": ["Covered", "ImageTooDark"], "degraded": ["ImageTooBlurry"]}
_ADVICE: Final = {
    "degraded": ["The picture is out of focus: focus the lens and clean its front."],
}


def camera_row(
    state: str, *, camera: str, name: str = "", device: str, site: str, key: str = ""
) -> CameraRow:
    """Return a camera in this state."""
    segments = STRIPS[key or state]
    live = state in {"ok", "degraded", "tampered"}
    blind = state in {"unknown", "starting"}
    return CameraRow(
        camera=camera,
        name=name,
        device=device,
        site=site,
        state=state,
        since_ms=None if state == "unknown" else NOW_MS - _SINCE_MS.get(state, 5 * HOUR_MS),
        signs=_SIGNS.get(state, []),
        detail=_DETAIL.get(state, ""),
        rate_fps=4.97 if live else None,
        strip=segments,
        coverage=coverage_of(segments),
        events_24h=None if blind else 1204 if state == "ok" else 12,
        source="rtsp://camera-3.local/stream",
        advice=_ADVICE.get(state, []),
    )


def device_row(
    state: str, *, device: str, site: str, cameras: list[CameraRow], problems: list[str]
) -> DeviceRow:
    """Return a device in this state with these cameras."""
    return DeviceRow(
        device=device,
        site=site,
        state=state,
        since_ms=NOW_MS - 3 * HOUR_MS,
        last_contact_ms=None
        if state == "never"
        else NOW_MS - (12_000 if state == "ok" else 12_240_000),
        version="0.1.0",
        hardware="Raspberry Pi 5",
        clock_state="trusted" if state == "ok" else "floor",
        spool_depth=3 if state == "ok" else 18_412,
        pending_backfill_s=0.0 if state == "ok" else 12_240.0,
        temperature_c=None if state == "never" else 61.3,
        throttled=bool(problems),
        problems=problems,
        config_version="7",
        desired_version="7" if state == "ok" else "8",
        cameras=cameras,
    )


def fleet() -> FleetView:
    """Return a small fleet with everything wrong that can be."""
    north = [
        camera_row("down", camera="dock", name="Loading dock", device="north-1", site="north"),
        camera_row("tampered", camera="aisle-2", name="Aisle 2", device="north-1", site="north"),
        camera_row("ok", camera="door", name="Front door", device="north-1", site="north"),
    ]
    harbour = [
        camera_row("dark", camera="till", name="Tills", device="harbour-a", site="harbour"),
        camera_row("dark", camera="gate", name="", device="harbour-a", site="harbour"),
    ]
    mill = [
        camera_row("degraded", camera="hall", name="Hall", device="mill-1", site="mill"),
        camera_row("starting", camera="attic", name="Attic", device="mill-1", site="mill"),
        camera_row("off", camera="yard", name="Yard", device="mill-1", site="mill"),
        camera_row("unknown", camera="cellar", device="mill-1", site="mill"),
        camera_row(
            "ok",
            camera="stairs",
            name="A camera with quite a long name over the stairs",
            device="mill-1",
            site="mill",
            key="mixed",
        ),
    ]
    sites = [
        _site(
            "north",
            "North store",
            "down",
            [
                device_row(
                    "ok", device="north-1", site="north", cameras=north, problems=["disk 94 % full"]
                )
            ],
        ),
        _site(
            "harbour",
            "Harbour",
            "dark",
            [device_row("dark", device="harbour-a", site="harbour", cameras=harbour, problems=[])],
        ),
        _site(
            "mill",
            "The Mill",
            "degraded",
            [
                device_row("ok", device="mill-1", site="mill", cameras=mill, problems=[]),
                device_row("never", device="mill-2", site="mill", cameras=[], problems=[]),
            ],
        ),
    ]
    counts: dict[str, int] = {}
    for row in (*north, *harbour, *mill):
        counts[row.state] = counts.get(row.state, 0) + 1
    return FleetView(at_ms=NOW_MS, from_ms=FROM_MS, to_ms=NOW_MS, counts=counts, sites=sites)


def _site(site: str, name: str, state: str, devices: list[DeviceRow]) -> SiteRow:
    return SiteRow(site=site, name=name, time_zone="Europe/Oslo", state=state, devices=devices)


def wide_fleet(sites: int = 200) -> FleetView:
    """Return a fleet of many healthy sites behind a few that are not: for weight and speed."""
    bad = fleet()
    good = [
        _site(
            f"site-{n:03d}",
            f"Store {n:03d}",
            "ok",
            [
                device_row(
                    "ok",
                    device=f"box-{n:03d}",
                    site=f"site-{n:03d}",
                    problems=[],
                    cameras=[
                        camera_row(
                            "ok", camera=name, device=f"box-{n:03d}", site=f"site-{n:03d}", key=key
                        )
                        for name, key in (("door", "ok"), ("tills", "degraded"), ("aisle", "mixed"))
                    ],
                )
            ],
        )
        for n in range(sites)
    ]
    counts = bad.counts | {"ok": bad.counts.get("ok", 0) + 3 * sites}
    return msgspec.structs.replace(bad, sites=[*bad.sites, *good], counts=counts)


EMPTY_FLEET: Final = FleetView(at_ms=NOW_MS, from_ms=FROM_MS, to_ms=NOW_MS, counts={}, sites=[])


def event(status: str = "on_site", *, late: bool = False) -> EventRow:
    """Return an event whose evidence has this status."""
    at_ms = NOW_MS - 4 * HOUR_MS if late else NOW_MS - 95_000
    return EventRow(
        event=f"ev-5d1c9a30{len(status):02d}",
        camera="door",
        device="north-1",
        site="north",
        kind="line_crossed",
        at_ms=at_ms,
        received_ms=NOW_MS - 90_000,
        late=late,
        where="entrance",
        direction="forward",
        label="person",
        confidence=0.87,
        track=41,
        dwell_s=None,
        boxes=[
            Box(xyxy=(210.0, 130.5, 322.0, 430.0), label="person", confidence=0.87, track=41),
            Box(xyxy=(502.0, 160.0, 580.5, 372.0), label="person", confidence=0.61, track=44),
        ],
        picture_px=(768, 576),
        latency_ms=173.4,
        model="centernet@1",
        evidence="evd-1" if status else "",
        evidence_status=status,
        evidence_json=evidence(at_ms) if status == "on_site" else None,
    )


def evidence(at_ms: int) -> dict[str, object]:
    """Return an evidence record whose clip begins later than was asked for."""
    return {
        "evidence": "evd-1",
        "event": "ev-5d1c9a3007",
        "camera": "door",
        "wanted_ms": [at_ms - 4000, at_ms + 4000],
        "actual_ms": [at_ms - 1900, at_ms + 4200],
        "shortfall": "the ring held only 1.9 s before the event",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "bytes": 1_483_220,
        "codec": "h264",
        "picture_px": [768, 576],
        "stays_on_site": True,
        "poster": "2 people near the entrance, one crossing the line to the inside",
        "boxes": [],
        "status": "complete",
        "detail": "",
    }


def events() -> list[EventRow]:
    """Return one event for each way that evidence can be, one late and one tamper."""
    rows = [event(status) for status in ("on_site", "waiting", "refused", "failed", "")]
    dwell = msgspec.structs.replace(
        event("", late=True), kind="dwell", where="tills", direction="", dwell_s=312.0
    )
    tamper = msgspec.structs.replace(
        event(""),
        kind="tamper",
        where="",
        direction="",
        label="",
        track=None,
        confidence=None,
        latency_ms=None,
        boxes=[],
        picture_px=None,
    )
    named = enumerate([*rows, dwell, tamper])
    return [msgspec.structs.replace(row, event=f"ev-5d1c9a30{n:02d}") for n, row in named]


def scene_events() -> list[EventRow]:
    """Return what models of whole pictures tell: a change, an end, an anomaly."""
    whole = msgspec.structs.replace(event(""), where="", direction="", track=None, boxes=[])
    changed = msgspec.structs.replace(
        whole, kind="class_changed", label="open", was="closed", confidence=0.93, score=0.93
    )
    ended = msgspec.structs.replace(changed, label="", was="smoke", confidence=None, score=0.04)
    strange = msgspec.structs.replace(whole, kind="anomaly", label="", confidence=None, score=0.71)
    return [changed, ended, strange]


def scene_camera() -> CameraView:
    """Return the page of a camera whose model answers for whole pictures."""
    held = [
        CountRow(what="picture", kind="class_s", label=label, value=value)
        for label, value in (("closed", 61_200.0), ("open", 23_400.0))
    ]
    return msgspec.structs.replace(
        camera(),
        counts=held,
        occupancy={},
        heatmap=None,
        confidence={"closed": _bell(50), "open": _bell(50)},
        scores={"anomaly": _bell(50)},
        zones=[],
        lines=[],
        events=scene_events(),
    )


def camera(state: str = "ok", key: str = "") -> CameraView:
    """Return a camera's page in this state; `unknown` has nothing at all to show."""
    row = camera_row(
        state, camera="door", name="Front door", device="north-1", site="north", key=key
    )
    blind = state in {"unknown", "starting"}
    gaps = [s for s in reversed(row.strip) if s.cause not in {None, "AWAITING"}]
    device_state = "dark" if state == "dark" else "ok"
    return CameraView(
        row=row,
        at_ms=NOW_MS,
        from_ms=FROM_MS,
        to_ms=NOW_MS,
        gaps=gaps,
        stages=[] if blind else _stages(slow=state == "degraded"),
        frames={} if blind else _FRAMES,
        counts=_counts(blind=blind),
        rate=[] if blind else _series(row.strip, 5.0, 0.3),
        latency_p95=[] if blind else _series(row.strip, 148.0, 22.0),
        occupancy={} if blind else {"entrance": _series(row.strip, 1.2, 0.9)},
        heatmap=None if blind else _heatmap(),
        confidence={} if blind else {"person": _bell(50)},
        scores={},
        zones=[] if blind else _ZONES,
        lines=[] if blind else _LINES,
        thumbnail=ThumbnailView(
            taken_ms=None, url="", pending=state == "tampered", requested_by="ada"
        ),
        events=[] if blind else events(),
        device=device_row(device_state, device="north-1", site="north", cameras=[row], problems=[]),
    )


_FRAMES: Final = {
    "captured": 432_000,
    "analysed": 261_410,
    "gated": 168_002,
    "dropped.stale": 2_571,
    "dropped.undecodable": 17,
}
_ZONES: Final[list[dict[str, object]]] = [
    {"name": "entrance", "polygon": [(0.08, 0.55), (0.5, 0.5), (0.56, 0.95), (0.04, 0.95)]}
]
_LINES: Final[list[dict[str, object]]] = [{"name": "doorway", "a": (0.55, 0.35), "b": (0.9, 0.6)}]


def _stages(*, slow: bool) -> list[Stage]:
    rows = [
        ("capture", 33.0, 6.1, 11.0, 18.2),
        ("preprocess", 10.0, 2.2, 3.4, 5.1),
        ("inference", 100.0, 71.0, 138.0 if slow else 88.0, 171.0 if slow else 97.0),
        ("postprocess", 20.0, 1.4, 2.2, 3.8),
        ("dispatch", 50.0, 3.0, 8.8, 21.0),
        ("total", 213.0, 84.0, 160.0, 190.0),
    ]
    made = [
        Stage(stage=name, budget_ms=budget, p50_ms=p50, p95_ms=p95, p99_ms=p99, count=261_410)
        for name, budget, p50, p95, p99 in rows
    ]
    missing = Stage(stage="alert", budget_ms=500.0, p50_ms=None, p95_ms=None, p99_ms=None, count=0)
    return [*made, missing]


def _counts(*, blind: bool) -> list[CountRow]:
    rows = [
        ("entrance", "entered", 1204.0),
        ("entrance", "left", 1187.0),
        ("entrance", "occupancy_s", 48_110.0),
        ("doorway", "forward", 611.0),
        ("doorway", "backward", 598.0),
        ("presence", "presence_s", 31_400.0),
    ]
    return [
        CountRow(what=what, kind=kind, label="person", value=None if blind else value)
        for what, kind, value in rows
    ]


def _series(segments: list[Segment], level: float, swing: float) -> list[Point]:
    """Return a point each 10 minutes; null wherever the strip has a gap."""
    points: list[Point] = []
    for at in range(FROM_MS, NOW_MS, 600_000):
        seen = any(s.cause is None and s.start_ms <= at < s.end_ms for s in segments)
        wave = math.sin(at / 5e6) + 0.4 * math.sin(at / 9e5)
        points.append(Point(t_ms=at, value=round(level + swing * wave, 2) if seen else None))
    return points


def _heatmap() -> tuple[int, int, list[float]]:
    rows, columns = 18, 32
    cells = [
        900 * math.exp(-(((x - 10) / 5) ** 2) - ((y - 12) / 3) ** 2)
        + 400 * math.exp(-(((x - 23) / 3) ** 2) - ((y - 8) / 3) ** 2)
        for y in range(rows)
        for x in range(columns)
    ]
    return rows, columns, [round(value, 1) if value > 4 else 0.0 for value in cells]


def _bell(bins: int) -> list[int]:
    return [round(900 * math.exp(-(((n - 0.72 * bins) / (bins / 7)) ** 2))) for n in range(bins)]
