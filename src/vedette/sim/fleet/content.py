"""What a plausible device says: seeded, realistic in size and shape, cheap to make.

The sketches come from a small stock that is made once, so that a thousand reports a second can be
had; counts differ from report to report. Pure. Nothing here knows of sequence numbers or clocks.
"""

import random
from collections.abc import Sequence
from functools import cache
from typing import Final

from vedette.sim.fleet import performance
from vedette.sim.fleet.performance import Performance
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.wire.messages import (
    Aggregate,
    Bins,
    CameraHealth,
    Drop,
    EventKind,
    EventReport,
    Frames,
    HealthReport,
    Heatmap,
    Histogram,
    LineCounts,
    ModelHealth,
    NetworkHealth,
    PipelineHealth,
    Span,
    SpoolHealth,
    State,
    SystemHealth,
    ZoneCounts,
)

MINUTE_MS: Final = 60_000
MODEL: Final = "centernet@1"
RATE_FPS: Final = 5.0

_STOCK: Final = 16
_ROWS, _COLUMNS = 9, 16
_STAGES: Final = (("decode", 3.0), ("preprocess", 3.0), ("inference", 60.0), ("total", 80.0))


def camera_names(count: int) -> tuple[str, ...]:
    """Return the names of a device's cameras."""
    return tuple(f"camera-{n + 1}" for n in range(count))


@cache
def _histograms(median: float) -> tuple[Histogram, ...]:
    rng = random.Random(median)  # noqa: S311 - load, not secrets
    made: list[Histogram] = []
    for _ in range(_STOCK):
        sketch = ExpHistogram()
        sketch.add_many(rng.lognormvariate(0, 0.25) * median for _ in range(300))
        made.append(sketch.to_wire())
    return tuple(made)


@cache
def _bins(size: int) -> tuple[Bins, ...]:
    rng = random.Random(size)  # noqa: S311 - load, not secrets
    made: list[Bins] = []
    for _ in range(_STOCK):
        bins = LinearBins(size)
        bins.add_many(rng.betavariate(5, 2) for _ in range(200))
        made.append(bins.to_wire())
    return tuple(made)


@cache
def _heatmaps() -> tuple[Heatmap, ...]:
    rng = random.Random(9)  # noqa: S311 - load, not secrets
    made: list[Heatmap] = []
    for _ in range(_STOCK):
        cells = [0] * (_ROWS * _COLUMNS)
        for _ in range(25):
            cells[rng.randrange(len(cells))] += rng.randint(1, 90)
        made.append(Heatmap(rows=_ROWS, columns=_COLUMNS, deciseconds=cells))
    return tuple(made)


def frames(rng: random.Random, seconds: float) -> Frames:
    """Return an account of `seconds` that adds up."""
    captured = round(seconds * RATE_FPS)
    gated = rng.randint(0, captured // 2)
    stale = min(rng.randint(0, 2), captured - gated)
    return Frames(
        captured=captured,
        analysed=captured - gated - stale,
        gated=gated,
        dropped={Drop.STALE: stale} if stale else {},
    )


def aggregate(  # noqa: PLR0917 - chance, camera, its time, and what it was like
    rng: random.Random,
    camera: str,
    start_ms: int,
    end_ms: int,
    spans: Sequence[Span],
    like: Performance | None = None,
    slowness: float = 1.0,
) -> Aggregate:
    """Return what one camera counted; what it observed is in `spans`, what it runs in `like`."""
    seconds = sum(span.end_ms - span.start_ms for span in spans if span.cause is None) / 1000
    counted = frames(rng, seconds)
    if not counted.captured:
        return Aggregate(camera=camera, start_ms=start_ms, end_ms=end_ms, spans=list(spans))
    entered = rng.randint(0, 9)
    zone = ZoneCounts(
        entered=entered,
        left=entered,
        occupancy_s=round(rng.uniform(0, 90), 1),
        occupancy_max=rng.randint(1, 6),
        dwell_s=rng.choice(_histograms(20.0)),
        visits=entered,
    )
    lines = LineCounts(forward=rng.randint(0, 6), backward=rng.randint(0, 6))
    return Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=end_ms,
        spans=list(spans),
        frames=counted,
        model=like.name if like else MODEL,
        zones={"till": {"person": zone}, "aisle": {"person": zone}},
        lines={"entrance": {"person": lines}},
        presence_s={"person": round(rng.uniform(0, seconds), 1)},
        heatmap=rng.choice(_heatmaps()),
        stage_ms=_stages(rng, like, slowness),
        confidence={"person": _confidence(rng, like)},
        entropy={"person": rng.choice(_bins(32))},
        detections={"person": like.detections if like else 200},
        quality={"sharpness": rng.choice(_bins(20)), "brightness": rng.choice(_bins(20))},
    )


def _stages(rng: random.Random, like: Performance | None, slowness: float) -> dict[str, Histogram]:
    """Return the latencies of a minute, by what runs and how slow the machine is."""
    if like is None:
        return {stage: rng.choice(_histograms(median)) for stage, median in _STAGES}
    medians = {"inference": like.inference_ms, "total": like.inference_ms + performance.OTHER_MS}
    return {
        stage: rng.choice(performance.stage_ms(round(ms * slowness, 3)))
        for stage, ms in medians.items()
    }


def _confidence(rng: random.Random, like: Performance | None) -> Bins:
    return rng.choice(_bins(50) if like is None else performance.confidences(like.confidence))


def model_health(rng: random.Random, like: Performance) -> ModelHealth:
    """Return what a device says of the model that it runs."""
    return ModelHealth(
        model=like.name,
        digest=like.digest,
        backend="simulated",
        load_s=like.load_s,
        golden_ok=like.golden_ok,
        inferences=rng.randint(300, 600),
        confidence={"person": _confidence(rng, like)},
        detections={"person": 2 * like.detections},
    )


def camera_health(
    rng: random.Random, camera: str, *, state: State, since_ms: int, last_frame_ms: int | None
) -> CameraHealth:
    """Return one camera's part of a health report."""
    is_well = state in {State.OK, State.DEGRADED}
    return CameraHealth(
        camera=camera,
        state=state,
        since_ms=since_ms,
        frames=frames(rng, 30.0) if is_well else Frames(),
        rate_fps=RATE_FPS if is_well else None,
        stage_ms={"total": rng.choice(_histograms(80.0))} if is_well else {},
        last_frame_ms=last_frame_ms,
        source=f"rtsp://192.0.2.7/{camera}",
        codec="h264",
        picture_px=(1280, 720),
        quality={"sharpness": 0.71, "brightness": 0.55},
        tier="full",
        decode="all",
    )


def health(
    rng: random.Random,
    *,
    at_ms: int,
    boot_id: str,
    uptime_s: float,
    cameras: Sequence[CameraHealth],
    spool: SpoolHealth,
    since_ms: int,
    last_contact_ms: int | None = None,
) -> HealthReport:
    """Return a device's report of itself; its pipeline runs since `since_ms`."""
    return HealthReport(
        at_ms=at_ms,
        period_s=30.0,
        version="sim",
        system=SystemHealth(
            uptime_s=uptime_s,
            boot_id=boot_id,
            cpu_fraction=round(rng.uniform(0.2, 0.6), 3),
            load_1m=round(rng.uniform(0.5, 3.0), 2),
            memory_used_fraction=0.41,
            agent_rss_mb=61.0,
            pipeline_rss_mb=402.0,
            disk_free_mb=40_960.0,
            disk_used_fraction=0.31,
            temperatures_c={"cpu": round(rng.uniform(45, 70), 1), "gpu": 58.5},
            clocks_mhz={"cpu": 1800.0},
            throttle_flags=[],
            hardware="simulated",
        ),
        pipeline=PipelineHealth(running=True, since_ms=since_ms, cameras=list(cameras)),
        models=[
            ModelHealth(
                model=MODEL,
                digest="0" * 64,
                backend="simulated",
                load_s=1.2,
                golden_ok=True,
                inferences=rng.randint(300, 600),
                confidence={"person": rng.choice(_bins(50))},
                detections={"person": 400},
            )
        ],
        network=NetworkHealth(
            sent_bytes=rng.randint(4_000, 9_000),
            received_bytes=400,
            requests=1,
            round_trip_ms=rng.choice(_histograms(40.0)),
            clock_offset_ms=round(rng.uniform(-5, 5), 1),
            last_contact_ms=last_contact_ms,
        ),
        spool=spool,
        config_version="sim-1",
        site_policy_version=1,
    )


def event(rng: random.Random, name: str, camera: str, at_ms: int) -> EventReport:
    """Return something that happened in front of a camera."""
    return EventReport(
        event=name,
        camera=camera,
        kind=EventKind.LINE_CROSSED,
        at_ms=at_ms,
        where="entrance",
        direction=rng.choice(("forward", "backward")),
        label="person",
        confidence=round(rng.uniform(0.5, 0.99), 3),
        track=rng.randint(1, 9_999),
        picture_px=(1280, 720),
        model=MODEL,
        latency_ms=round(rng.uniform(60, 200), 1),
    )
