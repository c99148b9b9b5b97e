"""The whole pipeline on files whose truth is known, into a real spool, with time moved by media."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from tests.unit.schema_kit import check
from vedette.clock import ManualClock, wall_ms
from vedette.edge import heartbeat
from vedette.edge.evidence.shelf import read_facts, verify
from vedette.edge.settings import Camera, EdgeConfig, Gate, PipelineSettings, Telemetry, Tier
from vedette.sim import footage
from vedette.sim.closed_world import Quirk, Route, World, back_and_forth, write_bundle
from vedette.sim.pipeline_rig import PipelineRig, read_spool
from vedette.wire import codec, streams
from vedette.wire.messages import (
    Aggregate,
    CameraState,
    Cause,
    CoverageReport,
    Drop,
    EventKind,
    EventReport,
    EvidenceRecord,
    Span,
    State,
)
from vedette.wire.signed import Line, Zone

START_AT = datetime(2026, 3, 2, 8, 0, 35, tzinfo=UTC)
START_MS = wall_ms(START_AT)
FPS = 5
LENGTH_S = 48
MID = Line(name="mid", a=(0.5, 0.0), b=(0.5, 1.0), evidence=True)
RIGHT = Zone(name="right", polygon=[(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
ROUTES = (
    back_and_forth(1, y=0.6, start_s=0.4, legs=9, leg_s=5.0),
    back_and_forth(2, y=0.95, start_s=2.0, legs=7, leg_s=6.0),
)

Config = Callable[..., EdgeConfig]


def crossings(routes: tuple[Route, ...]) -> list[tuple[float, str]]:
    """Return when the line in the middle is crossed, and which way, by the truth."""
    found = []
    for route in routes:
        for (t0, x0, _), (t1, x1, _) in itertools.pairwise(route.passes):
            if (x0 < 0.5) != (x1 < 0.5):
                at_s = t0 + (t1 - t0) * (0.5 - x0) / (x1 - x0)
                found.append((at_s, "backward" if x1 > x0 else "forward"))
    return sorted(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every quirk."""
    folder = tmp_path_factory.mktemp("closed-world")
    for quirk in (Quirk.NONE, Quirk.NAN, Quirk.FAILS):
        write_bundle(folder / "models" / f"walkers-{quirk}", quirk)
    return folder


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> Config:
    """Make a configuration of one camera that reads a clip."""

    def make(clip: Path, *, quirk: Quirk = Quirk.NONE, **camera: object) -> EdgeConfig:
        fields: dict[str, object] = {
            "id": "door",
            "source": str(clip),
            "model": f"walkers-{quirk}",
            "max_fps": FPS,
            "lines": [MID],
            "zones": [RIGHT],
            "gate": Gate(enabled=False),
        }
        return EdgeConfig(
            state_dir=tmp_path / "state",
            models_dir=folder / "models",
            cameras=[Camera(**{**fields, **camera})],
            pipeline=PipelineSettings(workers=2),
            telemetry=Telemetry(aggregate_period_s=20.0),
        )

    return make


@pytest.fixture(scope="module")
def busy_clip(folder: Path) -> Path:
    """Two people who walk to and fro for most of a minute."""
    clip = folder / "busy.mp4"
    footage.encode(clip, World(ROUTES).pictures(LENGTH_S, FPS), fps=FPS, gop_s=1.0)
    return clip


def run(config: EdgeConfig) -> PipelineRig:
    """Read the files of a configuration to their end; return the rig, stopped."""
    with PipelineRig(config, ManualClock(START_AT)) as rig:
        rig.read_to_the_end()
    return rig


@pytest.fixture(scope="module")
def busy(folder: Path, busy_clip: Path) -> PipelineRig:
    """The busy clip, read once for all tests that only look."""
    return run(
        EdgeConfig(
            state_dir=folder / "busy-state",
            models_dir=folder / "models",
            cameras=[
                Camera(
                    id="door",
                    source=str(busy_clip),
                    model="walkers-none",
                    max_fps=FPS,
                    lines=[MID],
                    zones=[RIGHT],
                    gate=Gate(enabled=False),
                )
            ],
            pipeline=PipelineSettings(workers=2),
            telemetry=Telemetry(aggregate_period_s=20.0),
        )
    )


def totals(rig: PipelineRig) -> Counter[str]:
    """Return the frames of all slices together, checking the invariant in each of them."""
    found: Counter[str] = Counter()
    for message in rig.messages(Aggregate):
        frames = message.frames
        assert frames.captured == frames.analysed + frames.gated + sum(frames.dropped.values())
        found.update(captured=frames.captured, analysed=frames.analysed, gated=frames.gated)
        found.update({str(cause): n for cause, n in frames.dropped.items()})
    return found


def spans(rig: PipelineRig) -> Iterator[Span]:
    """Yield the spans of all slices, checking that they tile their slice and slices tile time."""
    end_ms = START_MS
    for message in rig.messages(Aggregate):
        assert message.start_ms == end_ms
        assert message.start_ms // 60_000 == (message.end_ms - 1) // 60_000, "over a minute's edge"
        for span in message.spans:
            assert span.start_ms == end_ms
            assert span.end_ms > span.start_ms or len(message.spans) == 1
            end_ms = span.end_ms
            yield span
        assert message.end_ms == end_ms


def gaps(rig: PipelineRig, cause: Cause) -> list[tuple[float, float]]:
    """Return what was stated as a gap of this cause, in seconds after the start, merged."""
    stated = [span for span in spans(rig) if span.cause is cause]
    for message in rig.messages(CoverageReport):
        stated += [span for span in message.spans if span.cause is cause]
    merged: list[list[int]] = []
    for span in sorted(stated, key=lambda one: one.start_ms):
        if merged and span.start_ms <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], span.end_ms)
        else:
            merged.append([span.start_ms, span.end_ms])
    return [((a - START_MS) / 1000, (b - START_MS) / 1000) for a, b in merged]


def test_every_crossing_is_counted_once_in_its_direction(busy: PipelineRig) -> None:
    """Counted line crossings equal the truth, per direction and per minute."""
    counted: Counter[tuple[int, str]] = Counter()
    for message in busy.messages(Aggregate):
        for counts in message.lines.get("mid", {}).values():
            counted[message.start_ms // 60_000, "forward"] += counts.forward
            counted[message.start_ms // 60_000, "backward"] += counts.backward
    truth = Counter(
        ((START_MS + round(at_s * 1000)) // 60_000, way) for at_s, way in crossings(ROUTES)
    )
    assert len(truth) == 4
    assert counted == truth


def test_zone_entries_and_exits_equal_the_truth(busy: PipelineRig) -> None:
    """Who crosses the middle rightwards enters the right half; who comes back leaves it."""
    entered = left = 0
    for message in busy.messages(Aggregate):
        for counts in message.zones.get("right", {}).values():
            entered, left = entered + counts.entered, left + counts.left
    ways = Counter(way for _, way in crossings(ROUTES))
    assert (entered, left) == (ways["backward"], ways["forward"])


def test_events_are_dated_when_it_happened(busy: PipelineRig) -> None:
    """Each crossing's event lies within half a second of the truth and says its latency."""
    events = [e for e in busy.messages(EventReport) if e.kind is EventKind.LINE_CROSSED]
    truth = crossings(ROUTES)
    assert len(events) == len(truth)
    for event, (at_s, way) in zip(sorted(events, key=lambda e: e.at_ms), truth, strict=True):
        assert abs(event.at_ms - START_MS - at_s * 1000) <= 500
        assert (event.direction, event.label, event.where) == (way, "person", "mid")
        assert event.latency_ms is not None
        assert event.latency_ms >= 0
    assert all(event.model.startswith("sha256:") for event in events)


def test_frames_in_are_frames_out(busy: PipelineRig) -> None:
    """Every picture of the file is analysed: a file drops nothing, and nothing is counted twice."""
    assert totals(busy) == {"captured": LENGTH_S * FPS, "analysed": LENGTH_S * FPS, "gated": 0}


def test_slices_tile_time_and_end_at_minutes(busy: PipelineRig) -> None:
    """Slices follow each other without hole or overlap and none crosses a minute's edge."""
    found = list(spans(busy))
    assert {span.cause for span in found} == {None}
    edges = {message.end_ms for message in busy.messages(Aggregate)}
    assert wall_ms(datetime(2026, 3, 2, 8, 1, tzinfo=UTC)) in edges
    assert found[-1].end_ms - START_MS >= (LENGTH_S - 1) * 1000


def test_evidence_is_whole_and_plays(busy: PipelineRig, folder: Path) -> None:
    """Each crossing has one package; it verifies, begins with a keyframe and decodes to its end."""
    asked = {e.evidence: e for e in busy.messages(EventReport) if e.evidence}
    records = {r.evidence: r for r in busy.messages(EvidenceRecord)}
    assert len(asked) == len(crossings(ROUTES))
    assert set(records) == set(asked)
    packages = {p.evidence: p.path for p in busy.evidence.list_packages()}
    for evidence, record in records.items():
        assert record.status == "complete", record.detail
        assert verify(packages[evidence]).sha256 == record.sha256
        assert record.actual_ms is not None
        at_ms = asked[evidence].at_ms
        assert record.actual_ms[0] <= at_ms <= record.actual_ms[1]
        with av.open(str(packages[evidence] / "clip.mp4")) as clip:
            pictures = list(clip.decode(video=0))
        assert pictures[0].key_frame
        assert len(pictures) >= 4 * FPS
        facts = read_facts(packages[evidence])
        assert facts.event.event == record.event
        assert any(frame.boxes for frame in facts.frames)


def test_a_package_says_by_what_and_how_well_it_was_seen(busy: PipelineRig) -> None:
    """Model and limits, the line, quality, coverage, the other events and this hour's count."""
    packages = busy.evidence.list_packages()
    assert {check("evidence.json", (p.path / "evidence.json").read_bytes()) for p in packages} == {
        ""
    }
    found = [read_facts(one.path) for one in packages]
    said = max(found, key=lambda facts: facts.event.at_ms)
    at, around = said.circumstances, said.surroundings
    assert at is not None
    assert around is not None
    assert at.model is not None
    assert at.model.digest == said.event.model
    assert (at.model.name, at.line) == ("walkers-none", MID)
    assert set(at.model.thresholds) == {"person", "cart"}
    assert at.quality is not None
    assert set(at.quality.scores) >= {"sharpness"}
    assert around.coverage is not None
    assert any(span.cause is None for span in around.coverage.spans)
    assert around.clock is not None
    assert around.clock.state == "floor"
    mine = {e.event for e in busy.messages(EventReport)} - {said.event.event}
    before = {one.event for one in around.related}
    assert before <= mine
    assert len(before) >= len(found) - 1
    assert around.pattern is not None
    today = around.pattern.days[-1]
    assert today.events is not None
    assert today.events >= len(found) - 1
    assert today.observed_s > 20


def test_the_spool_holds_exactly_what_was_said(busy: PipelineRig, folder: Path) -> None:
    """After the end, each message stands in the spool once, within its stream's size limit."""
    held = read_spool(folder / "busy-state" / "spool")
    rows = {row.body: row for row in streams.STREAMS}
    said = [
        m
        for kind in (EventReport, CameraState, CoverageReport, Aggregate, EvidenceRecord)
        for m in busy.messages(kind)
    ]
    assert Counter(codec.encode(m) for _, m in held) == Counter(codec.encode(m) for m in said)
    for message in said:
        size = max(len(codec.encode(message)), len(msgspec.json.encode(message)))
        assert size <= rows[type(message)].max_bytes
        assert not isinstance(message, Aggregate) or size < 16_384


def test_the_heartbeat_says_how_far_time_is_covered(busy: PipelineRig, folder: Path) -> None:
    """The heartbeat file is small, readable and agrees with the last slice."""
    beat = heartbeat.read(folder / "busy-state")
    assert beat is not None
    assert beat.covered_until_ms == {"door": busy.messages(Aggregate)[-1].end_ms}
    assert beat.window >= 1
    assert beat.models[0].model == "walkers-none"
    assert (folder / "busy-state" / heartbeat.FILE).stat().st_size < 32_768


def test_counts_with_the_gate_are_the_counts_without(config: Config, folder: Path) -> None:
    """The gate saves most of a quiet clip's analysis and no crossing is missed by it."""
    routes = (
        Route(track=1, passes=((12.0, 0.1, 0.6), (17.0, 0.9, 0.6))),
        Route(track=2, passes=((30.0, 0.9, 0.95), (35.0, 0.1, 0.95))),
    )
    clip = folder / "quiet.mp4"
    footage.encode(clip, World(routes).pictures(45, FPS), fps=FPS, gop_s=1.0)
    rig = run(config(clip, gate=Gate(enabled=True)))
    frames = totals(rig)
    assert frames["captured"] == 45 * FPS
    assert frames["gated"] > 20 * FPS
    counted = [e for e in rig.messages(EventReport) if e.kind is EventKind.LINE_CROSSED]
    assert [e.direction for e in counted] == [way for _, way in crossings(routes)]
    assert {span.cause for span in spans(rig)} == {None}, "gated time is observed time"


@pytest.mark.parametrize(
    ("quirk", "cause"), [(Quirk.NAN, Drop.BAD_OUTPUT), (Quirk.FAILS, Drop.BACKEND)]
)
def test_a_model_that_misbehaves_costs_its_frames_only(
    config: Config, folder: Path, quirk: Quirk, cause: Drop
) -> None:
    """NaN and runtime failures are counted by cause; frames before and after are analysed."""
    clip = folder / f"hurt-{quirk}.mp4"
    world = World(ROUTES, hurt_s=[(6.0, 8.0)])
    footage.encode(clip, world.pictures(16, FPS), fps=FPS, gop_s=1.0)
    rig = run(config(clip, quirk=quirk))
    hurt = 2 * FPS
    assert totals(rig) == {
        "captured": 16 * FPS,
        "analysed": 16 * FPS - hurt,
        "gated": 0,
        str(cause): hurt,
    }
    after = [e for e in rig.messages(EventReport) if e.at_ms > START_MS + 8_500]
    assert [e.kind for e in after].count(EventKind.LINE_CROSSED) >= 2


def test_a_covered_camera_is_never_observed(config: Config, folder: Path) -> None:
    """Covered time is a gap with cause TAMPERED from when it began, also in slices cut before."""
    clip = folder / "covered.mp4"
    world = World(ROUTES, dark_s=[(12.0, 34.0)])
    footage.encode(clip, world.pictures(46, FPS), fps=FPS, gop_s=1.0)
    rig = run(config(clip))
    (gap,) = gaps(rig, Cause.TAMPERED)
    assert 10.9 <= gap[0] <= 12.1  # never later; the second before is not vouched for
    assert 34.0 <= gap[1] <= 40.0
    states = [m for m in rig.messages(CameraState) if m.state is State.TAMPERED]
    assert states[0].cause is Cause.TAMPERED
    assert {"Covered", "ImageTooDark"} & set(states[0].signs)
    during = [e for e in rig.messages(EventReport) if 12_500 < e.at_ms - START_MS < 33_500]
    assert not during
    after = [e for e in rig.messages(EventReport) if e.at_ms - START_MS > 40_000]
    assert EventKind.LINE_CROSSED in {e.kind for e in after}
    assert totals(rig)["captured"] == 46 * FPS


def test_a_frozen_picture_is_tampering(config: Config, folder: Path) -> None:
    """A camera that repeats one picture for half a minute is not observed any more."""
    clip = folder / "frozen.mp4"
    world = World(ROUTES)

    def pictures() -> Iterator[np.ndarray]:
        yield from world.pictures(10, FPS)
        for _ in range(40 * FPS):
            yield world.picture(10.0)

    footage.encode(clip, pictures(), fps=FPS, gop_s=60.0)
    rig = run(config(clip))
    (gap,) = gaps(rig, Cause.TAMPERED)
    assert gap[0] == pytest.approx(10.0, abs=1.5)
    states = [m for m in rig.messages(CameraState) if m.state is State.TAMPERED]
    assert states[0].signs == ["FrozenPicture"]


def test_nothing_is_analysed_in_off_hours(config: Config, busy_clip: Path) -> None:
    """Off-hours are a gap with cause SCHEDULED_OFF; no event comes of them, frames are gated."""
    rig = run(config(busy_clip, off_hours=[("08:01", "08:20")]))
    (gap,) = gaps(rig, Cause.SCHEDULED_OFF)
    assert gap[0] == pytest.approx(25.0, abs=0.3)
    edge_ms = wall_ms(datetime(2026, 3, 2, 8, 1, tzinfo=UTC))
    assert all(e.at_ms < edge_ms for e in rig.messages(EventReport))
    assert totals(rig) == {"captured": 240, "analysed": 125, "gated": 115}
    assert [m.state for m in rig.messages(CameraState)].count(State.OFF) == 1


def test_a_damaged_file_costs_its_damage_only(
    config: Config, busy_clip: Path, folder: Path
) -> None:
    """A transport stream with flipped bits that breaks off: what is whole counts, the rest too."""
    whole = folder / "whole.ts"
    with av.open(str(busy_clip)) as source, av.open(str(whole), "w", format="mpegts") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = bytearray(whole.read_bytes()[: whole.stat().st_size // 2])
    for at in range(len(data) // 2, len(data), 211):
        data[at] ^= 0x55
    broken = folder / "broken.ts"
    broken.write_bytes(bytes(data))
    rig = run(config(broken))
    frames = totals(rig)
    assert LENGTH_S * FPS / 5 < frames["analysed"] < LENGTH_S * FPS / 2
    assert frames["undecodable"] > 0
    assert frames["captured"] == frames["analysed"] + frames["undecodable"]
    assert rig.messages(CameraState)[-1].state is State.DOWN
    list(spans(rig))


def test_who_stands_still_for_long_is_known_and_stays_in_the_counts(
    config: Config, folder: Path, tmp_path: Path
) -> None:
    """After `still_after_s` scans alone look on; presence goes on; their leaving is seen."""
    places = ((1.0, 0.1, 0.8), (4.0, 0.7, 0.8), (40.0, 0.7, 0.8), (44.0, 0.1, 0.8))
    stands = Route(track=1, passes=places)
    clip = folder / "stands.mp4"
    footage.encode(clip, World((stands,)).pictures(46, FPS), fps=FPS, gop_s=1.0)
    gate = Gate(still_after_s=6.0, full_scan_s=5.0)
    known, unknown = (
        run(msgspec.structs.replace(config(clip, gate=one), state_dir=tmp_path / str(n)))
        for n, one in enumerate((gate, Gate(still_after_s=100.0, full_scan_s=5.0)))
    )
    seen = [sum(a.frames.analysed for a in rig.messages(Aggregate)) for rig in (known, unknown)]
    assert seen[1] > 190
    assert seen[0] < 110
    for rig in (known, unknown):
        presence_s = sum(a.presence_s.get("person", 0.0) for a in rig.messages(Aggregate))
        assert presence_s == pytest.approx(42.5, abs=1.5)
        crossed = [e.direction for e in rig.messages(EventReport) if e.where == "mid"]
        assert crossed == ["backward", "forward"]


def test_outside_its_regions_nothing_is_seen(config: Config, folder: Path, tmp_path: Path) -> None:
    """Of two walkers one is in the region, and only that one is counted."""
    low = back_and_forth(1, y=0.97, start_s=0.4, legs=3, leg_s=5.0)
    high = back_and_forth(2, y=0.45, start_s=0.4, legs=3, leg_s=5.0)
    clip = folder / "two-floors.mp4"
    footage.encode(clip, World((low, high)).pictures(16, FPS), fps=FPS, gop_s=1.0)
    floor = [(0.0, 0.6), (1.0, 0.6), (1.0, 1.0), (0.0, 1.0)]
    crossed = {}
    for name, regions in (("all", []), ("floor", [floor])):
        made = config(clip, regions=regions)
        rig = run(msgspec.structs.replace(made, state_dir=tmp_path / name))
        crossed[name] = [e for e in rig.messages(EventReport) if e.where == "mid"]
    assert len(crossed["all"]) == 6
    assert len(crossed["floor"]) == 3
    assert all(e.boxes[0].xyxy[3] > 0.9 * e.picture_px[1] for e in crossed["floor"])


def test_the_tier_batch_looks_every_few_seconds_and_says_so(config: Config, folder: Path) -> None:
    """One picture in two seconds is analysed; coverage states that rate, and tampering is found."""
    clip = folder / "batch.mp4"
    slow = Route(track=1, passes=((0.0, 0.1, 0.8), (40.0, 0.8, 0.8)))
    world = World((slow,), dark_s=[(20.0, 34.0)])
    footage.encode(clip, world.pictures(40, FPS), fps=FPS, gop_s=1.0)
    rig = run(config(clip, tier=Tier.BATCH, batch_every_s=2.0))
    found = totals(rig)
    assert found["captured"] == found["analysed"] + found["gated"]
    assert 17 <= found["analysed"] <= 21
    rates = [s.rate_fps for s in spans(rig) if s.cause is None and s.end_ms - s.start_ms > 5_000]
    assert rates
    assert all(rate == pytest.approx(0.5, abs=0.2) for rate in rates)
    ((start_s, _),) = gaps(rig, Cause.TAMPERED)
    assert 18.9 <= start_s <= 20.1
    assert rig.lanes[0].health(START_MS + 60_000, 0).tier == "batch"
