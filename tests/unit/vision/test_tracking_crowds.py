"""How well the tracker follows crowds whose truth is known, and what must hold in any crowd.

The floors lie a few hundredths below what is reached (benchmarks/bench_tracker.py prints it), above
what a matching of overlaps reaches.
"""

from pathlib import Path

import motmetrics
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.sim.crowd import PLACES, CrowdSettings, Look, watch
from vedette.vision.affinity import pairs
from vedette.vision.detections import Detections
from vedette.vision.geometry import box_overlap, to_centre
from vedette.vision.kalman import BoxMotion
from vedette.vision.tracking import Tracker, Tracks

Floats = npt.NDArray[np.float64]
SHORT = CrowdSettings(duration_s=12.0, people_per_minute=60.0)


def judged(looks: list[Look]) -> tuple[float, float]:
    """Return MOTA and IDF1 of the confirmed tracks that were seen, by motmetrics."""
    tracker, record = Tracker(), motmetrics.MOTAccumulator(auto_id=True)
    for look in looks:
        tracks = tracker.update(look.found, look.t_s)
        tracks = tracks.where(tracks.confirmed & tracks.observed)
        overlap = box_overlap(look.boxes_xyxy, tracks.boxes_xyxy.astype(np.float64))
        distance = np.where(overlap >= 0.5, 1.0 - overlap, np.nan)
        record.update(look.person.tolist(), tracks.track_id.tolist(), distance)
    figures = motmetrics.metrics.create().compute(record, metrics=["mota", "idf1"])
    return float(figures["mota"].iloc[0]), float(figures["idf1"].iloc[0])


@pytest.mark.parametrize(
    ("name", "every", "mota", "idf1"),
    [
        ("plaza", 3, 0.78, 0.80),
        ("plaza", 15, 0.81, 0.87),
        ("street", 3, 0.74, 0.80),
        ("street", 15, 0.71, 0.71),
        ("shop", 8, 0.42, 0.65),
        ("crush", 8, 0.67, 0.67),
        ("road", 5, 0.23, 0.38),
    ],
)
def test_crowds_are_followed(name: str, every: int, mota: float, idf1: float) -> None:
    """In each place, at 8 and at 1.7 looks a second, no worse than the floors."""
    place = msgspec.structs.replace(PLACES[name], duration_s=30.0)
    reached = judged(watch(place, every=every))
    assert reached[0] >= mota
    assert reached[1] >= idf1


@pytest.mark.parametrize(
    ("name", "mota", "idf1"), [("TUD-Campus", 0.50, 0.60), ("TUD-Stadtmitte", 0.53, 0.55)]
)
def test_shipped_sequences_are_followed(name: str, mota: float, idf1: float) -> None:
    """The real street scenes that lie in motmetrics, with the boxes beside their truth."""
    folder = Path(motmetrics.__file__).parent / "data" / name
    if not (folder / "test.txt").is_file():
        pytest.skip("this motmetrics has no data")
    true, boxes = (_frames(folder / file) for file in ("gt.txt", "test.txt"))
    looks = []
    for frame, rows in true.items():
        seen = boxes.get(frame, np.zeros((0, 5)))
        n = len(seen)
        found = Detections(
            seen[:, 1:].astype(np.float32),
            np.ones(n, np.float32),
            np.zeros(n, np.int32),
            np.zeros(n, np.float32),
        )
        looks.append(Look(frame / 25.0, rows[:, 0].astype(np.int64), rows[:, 1:], found))
    reached = judged(looks)
    assert reached[0] >= mota
    assert reached[1] >= idf1


def _frames(path: Path) -> dict[int, Floats]:
    """Return id and xyxy by frame of a MOT text file."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    rows[:, 4:6] += rows[:, 2:4]
    return {int(f): rows[rows[:, 0] == f, 1:6] for f in np.unique(rows[:, 0])}


def named(tracks: Tracks) -> dict[tuple[float, ...], int]:
    """Return the id at each box."""
    boxes = tracks.boxes_xyxy.round(1).tolist()
    return {tuple(b): int(i) for b, i in zip(boxes, tracks.track_id, strict=True)}


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 1000), st.sampled_from([1, 4, 10]))
def test_the_order_of_detections_does_not_matter(seed: int, every: int) -> None:
    """Shuffled detections give the same tracks, up to the numbers of those born together."""
    dice = np.random.default_rng(seed)
    one, other = Tracker(), Tracker()
    known: dict[int, int] = {}
    for look in watch(msgspec.structs.replace(SHORT, seed=seed), every=every)[:60]:
        first = named(one.update(look.found, look.t_s))
        shuffled = look.found.where(dice.permutation(len(look.found)))
        second = named(other.update(shuffled, look.t_s))
        assert first.keys() == second.keys()
        for box, track in first.items():
            assert known.setdefault(track, second[box]) == second[box]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 1000), st.sampled_from([0.5, 2.0, 4.0]))
def test_a_larger_picture_of_the_same_scene_gives_the_same_tracks(seed: int, times: float) -> None:
    """Everything is measured in box sizes: near and far, small and large pictures are alike."""
    one, other = Tracker(), Tracker()
    for look in watch(msgspec.structs.replace(SHORT, seed=seed), every=4)[:60]:
        found = look.found
        larger = Detections(
            (found.boxes_xyxy * np.float32(times)).astype(np.float32),
            found.confidence,
            found.class_id,
            found.entropy,
        )
        first, second = one.update(found, look.t_s), other.update(larger, look.t_s)
        assert first.track_id.tolist() == second.track_id.tolist()
        assert second.boxes_xyxy == pytest.approx(first.boxes_xyxy * times, abs=0.05)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 1000), st.integers(5, 50))
def test_nobody_crosses_an_interruption(seed: int, cut: int) -> None:
    """No id from before an interruption is ever seen after it, in any crowd."""
    tracker, before, after = Tracker(), set[int](), set[int]()
    for number, look in enumerate(watch(msgspec.structs.replace(SHORT, seed=seed), every=5)):
        if number == cut:
            tracker.interrupt()
        seen = before if number < cut else after
        ids = tracker.update(look.found, look.t_s).track_id.tolist()
        assert len(set(ids)) == len(ids)
        seen.update(ids)
    assert not before & after


@given(st.lists(st.floats(0.001, 2.0), min_size=1, max_size=12))
def test_many_short_steps_are_one_long_step(steps_s: list[float]) -> None:
    """Doubt too depends only on the seconds that passed: the filter has one scale of time."""
    start = np.array([[100.0, 100.0, 30.0, 80.0]])
    one, many = (BoxMotion.at(start, np.ones(1)) for _ in range(2))
    one.predict(sum(steps_s))
    for dt_s in steps_s:
        many.predict(dt_s)
    for name in ("position", "speed", "p_pp", "p_ps", "p_ss"):
        assert getattr(many, name) == pytest.approx(getattr(one, name), rel=1e-6)


def test_the_sparse_pairs_are_all_pairs_that_fit() -> None:
    """The gate leaves out nothing that the full likelihood would keep."""
    dice = np.random.default_rng(3)
    boxes = dice.random((40, 2)) * 300.0
    boxes = np.concatenate((boxes, boxes + dice.uniform(20.0, 90.0, (40, 2))), axis=1)
    motion = BoxMotion.at(to_centre(boxes[:25]), np.ones(25))
    motion.predict(0.3)
    centres, late = to_centre(boxes), dice.random(25)
    rows, columns, fit = pairs(motion, centres, strangers=0.01, handicap=late)
    sparse = np.full((25, 40), np.nan)
    sparse[rows, columns] = fit
    for r in range(25):
        here, variance = motion.position[r], motion.spread()[r]
        variance = variance / np.array([1.0, 1.0, here[2] ** 2, here[3] ** 2])
        for c in range(40):
            off = np.append(centres[c, :2] - here[:2], np.log(centres[c, 2:] / here[2:]))
            density = np.exp(-0.5 * (off**2 / variance).sum())
            density /= (2.0 * np.pi) ** 2 * np.sqrt(variance.prod())
            # the place in sizes: a square of the size is width times height
            ratio = np.log(max(density * here[2] * here[3], 1e-300) / 0.01) - late[r]
            assert (ratio > 0.0) == (not np.isnan(sparse[r, c]))
            if ratio > 0.0:
                assert sparse[r, c] == pytest.approx(ratio)


def test_a_track_in_doubt_cannot_take_the_box_of_one_that_is_sure() -> None:
    """Someone long hidden and someone in plain view: the box goes to the one in view."""
    start = to_centre(np.array([[100.0, 100.0, 130.0, 180.0], [104.0, 100.0, 134.0, 180.0]]))
    motion = BoxMotion.at(start, np.ones(2))
    motion.p_pp[0] *= 100.0
    rows, _, fit = pairs(
        motion, start[:1] + np.array([2.0, 0.0, 0.0, 0.0]), strangers=0.01, handicap=np.zeros(2)
    )
    assert rows[np.argmax(fit)] == 1
