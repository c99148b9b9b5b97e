"""The blurred copy: nobody in it, not between two looks either, and whole where nobody can say."""

import dataclasses
import threading
from datetime import timedelta
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.edge.evidence_kit import (
    DOOR,
    decoded,
    event,
    full_ring,
    packets_of,
    settings,
)
from vedette.clock import ManualClock
from vedette.edge.capture import EncodedPacket
from vedette.edge.evidence import facts
from vedette.edge.evidence.blur import blurred_copy, covered
from vedette.edge.evidence.cover import GAP_S, HOLD_S, Cover
from vedette.edge.evidence.examine import examine
from vedette.edge.evidence.export import export
from vedette.edge.evidence.facts import BlurredFacts, FrameBoxes, read_facts
from vedette.edge.evidence.origin import own_keys
from vedette.edge.evidence.signing import PackageSigner
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.frame import planes
from vedette.errors import EvidenceError
from vedette.sim import footage
from vedette.vision.picture import Picture
from vedette.vision.pixelation import Area
from vedette.wire.envelope import ClockState
from vedette.wire.messages import Box, EventKind
from vedette.wire.signed import PixelPolicy

FPS = 20
LOOKS_PER_S = 4
SIZE = (320, 192)
PERSON = (24, 60)


def where(t_s: float) -> Area:
    """Return where somebody is who runs to and fro, three widths and more between two looks."""
    x = 140 + 130 * np.sin(t_s * 1.9)
    y = 60 + 30 * np.sin(t_s * 0.7)
    return (float(x), float(y), float(x) + PERSON[0], float(y) + PERSON[1])


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[EncodedPacket]:
    """Ten seconds of a runner with a fine pattern, which shows wherever it is not covered."""
    path = tmp_path_factory.mktemp("clips") / "runner.mp4"
    pattern = np.indices(PERSON[::-1]).sum(axis=0) % 2 * 255

    def picture(t_s: float) -> np.ndarray:
        canvas = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
        x, y = (round(value) for value in where(t_s)[:2])
        canvas[y : y + PERSON[1], x : x + PERSON[0]] = pattern[..., None]
        return canvas

    footage.encode(path, (picture(n / FPS) for n in range(10 * FPS)), fps=FPS, gop_s=1.0)
    return packets_of(path)


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


def make(
    folder: Path,
    clock: ManualClock,
    packets: list[EncodedPacket],
    *,
    mode: str = "people",
    watches: bool = True,
    kind: EventKind = EventKind.LINE_CROSSED,
    looks: bool = True,
) -> tuple[EvidenceStore, Path]:
    """Return a store with one reported package that waits for its blurred copy."""
    store = EvidenceStore(folder, settings(blur=mode), clock)
    for n in range(10 * LOOKS_PER_S if looks else 0):
        t_s = n / LOOKS_PER_S
        store.note(DOOR, 1000 + t_s, [Box(xyxy=where(t_s), label="person", confidence=1, track=1)])
    wanted = event(clock)
    report = msgspec.structs.replace(wanted.event, kind=kind)
    wanted = dataclasses.replace(wanted, event=report, watches_people=watches)
    store.request(wanted, full_ring(store, packets))
    (record,) = store.work()
    assert record.status == "complete", record.detail
    store.mark_reported(record.evidence)
    return store, store.list_packages()[0].path


def blur(store: EvidenceStore, path: Path) -> BlurredFacts:
    """Make the copy and return what it says."""
    record = store.blur_one(threading.Event())
    assert record is not None
    assert record.blurred
    return msgspec.json.decode((path / "blurred.json").read_bytes(), type=BlurredFacts)


def detail(luma: np.ndarray) -> float:
    """Return how much of the fine pattern is left: the mean size of the second derivative."""
    return float(np.abs(cv2.Laplacian(luma.astype(np.float32), cv2.CV_32F)).mean())


def test_nothing_of_a_runner_is_left_in_any_picture(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Four looks a second, twenty pictures: in each one the person's place has no pattern."""
    store, path = make(tmp_path, clock, packets)
    said = blur(store, path)
    assert said.whole_ms == []
    original = decoded((path / "clip.mp4").read_bytes())
    copies = decoded((path / "blurred.mp4").read_bytes())
    assert len(copies) == len(original) == said.clip.packets
    first_ms = said.clip.window_ms[0] - (read_facts(path).event.at_ms - 5000)
    for before, after in zip(original, copies, strict=True):
        assert after.time == pytest.approx(before.time, abs=0.002)
        x0, y0, x1, y1 = (round(value) for value in where(before.time + first_ms / 1000))
        place = (slice(y0 + 2, y1 - 2), slice(x0 + 2, x1 - 2))
        assert detail(planes(before).y[place]) > 200
        assert detail(planes(after).y[place]) < 25
    assert examine(path).problems == ()
    assert store.blur_one(threading.Event()) is None
    assert store.list_packages()[0].has_blurred


def test_only_covered_pictures_reach_the_encoder(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Computed again from the original: the copy is the covered picture, but for the encoder."""
    store, path = make(tmp_path, clock, packets)
    blur(store, path)
    said = read_facts(path)
    cover = Cover(said.frames, watched=True)
    pairs = zip(
        decoded((path / "clip.mp4").read_bytes()),
        decoded((path / "blurred.mp4").read_bytes()),
        strict=True,
    )
    for before, after in pairs:
        at_ms = said.clips[0].window_ms[0] + round(before.time * 1000)
        areas = cover.areas(at_ms)
        assert areas
        expected = covered(planes(before), areas).y.astype(int)
        assert np.abs(expected - planes(after).y).mean() < 6


@pytest.mark.parametrize(
    "why",
    [
        {"mode": "picture"},
        {"watches": False},
        {"kind": EventKind.TAMPER},
        {"looks": False},
    ],
)
def test_where_nobody_can_say_the_whole_picture_is_squares(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket], why: dict
) -> None:
    """Asked for, nobody looked for, a tampered camera, or a detector that gave nothing."""
    store, path = make(tmp_path, clock, packets, **why)
    said = blur(store, path)
    assert said.whole_ms == [said.clip.window_ms]
    for frame in decoded((path / "blurred.mp4").read_bytes()):
        luma = planes(frame).y
        assert detail(luma) < 12
        assert len(np.unique(luma[::16, ::16] // 17)) <= 16


def test_a_copy_that_is_not_possible_leaves_the_original_and_says_so(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """The clip was damaged: no copy, a word in the package, the next one is not held up."""
    store, path = make(tmp_path, clock, packets)
    (path / "clip.mp4").write_bytes(b"junk")
    assert store.blur_one(threading.Event()) is None
    assert "could not be encoded" in (path / "blur-failed").read_text()
    assert not (path / "blurred.mp4").exists()
    assert not store.list_packages()[0].wants_blur


def test_a_copy_that_was_stopped_is_made_by_the_next_process(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """The device stops in the middle: nothing half, nothing forgotten."""
    store, path = make(tmp_path, clock, packets)
    stop = threading.Event()
    stop.set()
    assert store.blur_one(stop) is None
    assert not (path / "blurred.mp4").exists()
    again = EvidenceStore(tmp_path, settings(blur="people"), clock)
    assert blur(again, path).mode == "people"


def test_a_copy_has_a_limit_in_time(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Whoever asks between pictures is heard."""
    _, path = make(tmp_path, clock, packets)
    said = read_facts(path)
    data = (path / "clip.mp4").read_bytes()
    with pytest.raises(EvidenceError, match="too long"):
        blurred_copy(data, said, "people", should_stop=lambda: "too long")


def test_only_the_blurred_copy_leaves_where_the_policy_says_so(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """No original and no clear poster in the copy; it proves who made it without them."""
    store, path = make(tmp_path / "evidence", clock, packets)
    agent = PackageSigner(tmp_path, clock, lambda: ClockState.TRUSTED)
    assert agent.step() == 1
    blur(store, path)
    assert agent.step() == 1
    line = export(
        store.list_packages(),
        tmp_path / "out",
        pixels=PixelPolicy(evidence_leaves=True),
        on_site=False,
        log=tmp_path / "log",
        now_at=clock.now_at() + timedelta(1),
    )
    assert line.blurred_only
    names = {one.name for one in (tmp_path / "out" / path.name).iterdir()}
    assert names == {
        "blurred.mp4",
        "blurred.jpg",
        "blurred.json",
        "evidence.json",
        "blurred-signature.json",
        facts.SUMS,
    }
    copy, keys = tmp_path / "out" / path.name, own_keys(tmp_path)
    verdict = examine(copy, keys=keys, is_copy=True)
    assert verdict.problems == ()
    assert [one.form for one in verdict.origins] == ["blurred"]
    (copy / "blurred.mp4").write_bytes((path / "clip.mp4").read_bytes())
    files = {name: (copy / name).read_bytes() for name in facts.read_sums(copy)}
    (copy / facts.SUMS).write_bytes(facts.sums_text(files))
    problems = examine(copy, keys=keys, is_copy=True).problems
    assert "blurred.mp4 is not the one that was signed" in problems


def test_a_copy_of_another_clip_is_found_out(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Exchanged or damaged: the verdict says so."""
    store, path = make(tmp_path, clock, packets)
    said = blur(store, path)
    (path / "blurred.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(said, made_from="0" * 64))
    )
    assert "another clip" in examine(path).problems[0]
    (path / "blurred.json").write_bytes(msgspec.json.encode(said))
    data = (path / "blurred.mp4").read_bytes()
    (path / "blurred.mp4").write_bytes(data[:-1])
    assert "not the one" in examine(path).problems[0]


# ------------------------------------------------------------------------------------------ cover


def seen(*sightings: tuple[float, float]) -> list[FrameBoxes]:
    """Return looks at (seconds, left edge) of one track 20 pixels wide."""
    return [
        FrameBoxes(
            at_ms=round(t_s * 1000),
            boxes=[Box(xyxy=(x, 50, x + 20, 110), label="person", confidence=1, track=7)],
        )
        for t_s, x in sightings
    ]


def holds(areas: list[Area] | None, x: float) -> bool:
    """Return whether a person whose left edge is at `x` is covered."""
    return areas is None or any(a[0] <= x and a[2] >= x + 20 for a in areas)


@given(
    st.lists(st.tuples(st.floats(0.05, 2.4), st.floats(0, 600)), min_size=2, max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_whoever_goes_straight_between_two_looks_is_covered_all_the_way(
    steps: list[tuple[float, float]], which: float, part: float
) -> None:
    """However fast, whenever the picture was taken, at any even or uneven pace between."""
    t_s, sightings = 0.0, []
    for step_s, x in steps:
        t_s += step_s
        sightings.append((round(t_s, 3), x))
    cover = Cover(seen(*sightings), watched=True)
    n = int(which * (len(sightings) - 2))
    (from_s, from_x), (to_s, to_x) = sightings[n], sightings[n + 1]
    at_s = from_s + part * (to_s - from_s)
    for pace in (part, part**2, part**0.5):
        assert holds(cover.areas(at_s * 1000), from_x + pace * (to_x - from_x))


def test_who_is_lost_or_not_yet_found_is_held_and_grows() -> None:
    """A walker covers three widths a second; after `HOLD_S` nobody is assumed any more."""
    looks = [FrameBoxes(at_ms=n * 500, boxes=[]) for n in range(20)]
    both = [look for look in looks if look.at_ms not in {4000, 4500}]
    cover = Cover([*both, *seen((4.0, 300), (4.5, 300))], watched=True)
    for at_s, x in ((3.5, 275), (5.5, 355), (5.9, 220)):
        assert holds(cover.areas(at_s * 1000), x)
    assert cover.areas((4.5 + HOLD_S + 0.1) * 1000) == []
    assert cover.areas((4.0 - HOLD_S - 0.1) * 1000) == []


def test_a_gap_in_looking_covers_everything() -> None:
    """The detector was away: before, after, and in between where it lasted."""
    cover = Cover([*seen((1.0, 50)), *seen((1.0 + GAP_S + 0.2, 60))], watched=True)
    assert cover.areas(2000) is None
    assert cover.areas(0) is None
    assert cover.areas(9000) is None
    assert cover.areas(1000 + (GAP_S + 0.2) * 1000) is not None
    assert Cover([], watched=True).areas(0) is None
    assert Cover(seen((1.0, 50)), watched=False).areas(1000) is None


@pytest.mark.parametrize("corners", [(40, 60, 10, 20), (10, 60, 40, 20), (40, 20, 10, 60)])
def test_a_box_with_its_corners_the_wrong_way_round_is_covered(
    corners: tuple[float, float, float, float],
) -> None:
    """A model that mixes up its outputs: what lies between the corners is covered all the same."""
    box = Box(xyxy=corners, label="person", confidence=1.0, track=1)
    frames = [FrameBoxes(at_ms=at, boxes=[box]) for at in (1000, 1200)]
    (area,) = Cover(frames, watched=True).areas(1100) or []
    assert area[0] < 10
    assert area[1] < 20
    assert area[2] > 40
    assert area[3] > 60


def test_pictures_that_stand_otherwise_than_their_boxes_are_covered_whole(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """A turn that stands in the pictures and not in the facts: nobody can say where people are."""
    info = dataclasses.replace(packets[0].info, rotation_deg=90)
    turned = [dataclasses.replace(packet, info=info) for packet in packets]
    _, path = make(tmp_path, clock, turned)
    said = read_facts(path)
    entry = msgspec.structs.replace(said.clips[0], rotation_deg=0)
    data = (path / "clip.mp4").read_bytes()
    whole = blurred_copy(
        data, msgspec.structs.replace(said, clips=[entry]), "people", should_stop=lambda: ""
    ).facts.whole_ms
    assert whole == [(entry.window_ms[0], pytest.approx(entry.window_ms[1], abs=60))]
    as_stated = blurred_copy(data, said, "people", should_stop=lambda: "").facts
    assert as_stated.whole_ms == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_no_box_however_far_it_reaches_needs_more_than_the_pictures_memory(
    box: list[float],
) -> None:
    """What of it lies in the picture is covered; no square is larger than the picture."""
    luma = np.indices((48, 64)).sum(axis=0).astype(np.uint8) % 2 * 255
    x0, x1, y0, y1 = *sorted(box[:2]), *sorted(box[2:])
    cells: set[int] = set()
    shown = covered(Picture.from_gray(luma), [(x0, y0, x1, y1)], cells)
    assert max(cells) <= 64
    inside = luma[max(0, int(y0) + 1) : max(0, int(y1)), max(0, int(x0) + 1) : max(0, int(x1))]
    after = shown.y[max(0, int(y0) + 1) : max(0, int(y1)), max(0, int(x0) + 1) : max(0, int(x1))]
    if min(inside.shape, default=0) > 2:
        assert detail(after) < detail(inside) / 2


@given(st.floats(1.0, 8.0), st.floats(-0.5, 0.5))
def test_a_clip_of_another_stream_is_covered_wherever_its_clock_stands(
    t_s: float, off_s: float
) -> None:
    """Half a second early or late: the runner of that moment lies within what is covered."""
    frames = [
        FrameBoxes(
            at_ms=250 * n,
            boxes=[Box(xyxy=where(n / 4), label="person", confidence=1.0, track=1)],
        )
        for n in range(40)
    ]
    areas = Cover(frames, watched=True, slack_s=0.5).areas(round(1000 * t_s))
    assert areas is not None
    x0, y0, x1, y1 = where(t_s + off_s)
    assert any(a[0] <= x0 and a[1] <= y0 and x1 <= a[2] and y1 <= a[3] for a in areas)
