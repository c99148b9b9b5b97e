"""Write golden messages for this version: `python tests/golden/make.py 0.1`.

A golden file of a released version is never written again; it must always parse.
"""

import sys
from pathlib import Path

import msgspec

from vedette.wire import messages as m
from vedette.wire import slots, streams
from vedette.wire import updates as u

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
BINS = m.Bins(counts=[1, 2, 3])
HISTOGRAM = m.Histogram(zero=1, offset=-3, counts=[1, 0, 2], sum=4.5)
BOX = m.Box(xyxy=(1.0, 2.0, 30.5, 40.5), label="person", confidence=0.75, track=7)
SPAN = m.Span(start_ms=1_000, end_ms=2_000, cause=m.Cause.CAMERA_DOWN, detail="refused")
FRAMES = m.Frames(captured=10, analysed=6, gated=3, dropped={m.Drop.STALE: 1})
CAMERA = m.CameraHealth(
    camera="door",
    state=m.State.OK,
    since_ms=1_000,
    frames=FRAMES,
    rate_fps=4.9,
    stage_ms={"inference": HISTOGRAM},
    picture_px=(768, 576),
    quality={"blur": 0.2},
)

EXAMPLES: dict[str, msgspec.Struct] = {
    "event.v1": m.EventReport(
        event="ev-1",
        camera="door",
        kind=m.EventKind.LINE_CROSSED,
        at_ms=1_500,
        where="entrance",
        direction="forward",
        label="person",
        confidence=0.75,
        track=7,
        boxes=[BOX],
        picture_px=(768, 576),
        model="sha256:00",
        evidence="evd-1",
        latency_ms=88.5,
    ),
    "camera_state.v1": m.CameraState(
        camera="door",
        at_ms=1_000,
        noticed_ms=11_000,
        state=m.State.DOWN,
        cause=m.Cause.CAMERA_DOWN,
        signs=["ImageTooDark"],
        detail="connection refused",
    ),
    "coverage.v1": m.CoverageReport(camera="door", spans=[SPAN]),
    "tombstone.v1": m.Tombstone(
        lane="live", epoch=1, ranges=[(3, 9)], start_ms=1, end_ms=2, cameras=["door"]
    ),
    "health.v1": m.HealthReport(
        at_ms=2_000,
        period_s=30.0,
        version="0.1.0",
        system=m.SystemHealth(cpu_fraction=0.5, temperatures_c={"cpu": 61.0}, throttle_flags=[]),
        pipeline=m.PipelineHealth(running=True, since_ms=1, cameras=[CAMERA]),
        models=[m.ModelHealth(model="centernet", digest="00", confidence={"person": BINS})],
        network=m.NetworkHealth(sent_bytes=9, round_trip_ms=HISTOGRAM, clock_offset_ms=-3.5),
        spool=m.SpoolHealth(depth={"live": 4}, bytes=8_192, quota_bytes=1 << 30, epoch=1),
        problems=["policy refused"],
    ),
    "aggregate.v1": m.Aggregate(
        camera="door",
        start_ms=0,
        end_ms=60_000,
        spans=[SPAN],
        frames=FRAMES,
        zones={"shop": {"person": m.ZoneCounts(entered=2, left=1, dwell_s=HISTOGRAM)}},
        lines={"entrance": {"person": m.LineCounts(forward=2, backward=1)}},
        presence_s={"person": 12.5},
        heatmap=m.Heatmap(rows=1, columns=3, deciseconds=[0, 5, 1]),
        stage_ms={"inference": HISTOGRAM},
        confidence={"person": BINS},
        entropy={"person": BINS},
        detections={"person": 33},
        quality={"blur": BINS},
    ),
    "evidence.v1": m.EvidenceRecord(
        evidence="evd-1",
        event="ev-1",
        camera="door",
        wanted_ms=(0, 8_000),
        actual_ms=(100, 8_000),
        shortfall="starts 0.1 s late",
        sha256="00",
        bytes=123,
        codec="h264",
        picture_px=(768, 576),
        poster="one person",
        boxes=[BOX],
    ),
    "commission.v1": m.CommissionReport(
        camera="door",
        at_ms=2_000,
        by="Ann",
        confirmed=["view", "sample"],
        refused=["focus"],
        skipped=["light"],
        problems=["ImageTooDark"],
        picture_px=(768, 576),
        model="centernet",
        model_digest="00",
        settings_sha256="11",
        sharpness=0.25,
        pictures=2,
        right=5,
        wrong=1,
        missed=2,
        baseline_s=60.0,
        observed_fraction=0.98,
        captured=300,
        analysed=280,
        gated=12,
    ),
    "update.v1": u.UpdateReport(
        at_ms=2_000,
        rollout="rol-1",
        slot="centernet",
        kind=slots.ArtefactKind.MODEL,
        attempt=1,
        digest=B,
        state=slots.UpdateState.PROBATION,
        was=slots.UpdateState.ACTIVATING,
        running=B,
        detail="loaded in 2.1 s",
    ),
    "shadow.v1": u.ShadowReport(
        rollout="rol-1",
        slot="centernet",
        camera="door",
        a=A,
        b=B,
        start_ms=0,
        end_ms=60_000,
        frames=6,
        differing=2,
        objects={"person": u.Paired(both=7, only_a=2)},
        stage_ms_b={"inference": HISTOGRAM},
        confidence_a={"person": BINS},
    ),
    "disagreement.v1": u.Disagreement(
        disagreement="dis-1",
        rollout="rol-1",
        slot="centernet",
        camera="door",
        at_ms=1_500,
        a=A,
        b=B,
        picture_px=(768, 576),
        boxes_a=[BOX],
        weight=2.0,
        withheld="the site lets no pictures leave",
    ),
}


def main(version: str) -> None:
    """Write one file per schema, unless it is there."""
    folder = Path(__file__).parent / f"wire-{version}"
    folder.mkdir(exist_ok=True)
    for row in streams.STREAMS:
        path = folder / f"{row.schema}.msgpack"
        if not path.exists():
            path.write_bytes(msgspec.msgpack.encode(EXAMPLES[row.schema]))


if __name__ == "__main__":
    main(sys.argv[1])
