"""The tracker: one object one track, in real seconds, whatever the detector throws at it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.vision.detections import Detections
from vedette.vision.kalman import BoxMotion
from vedette.vision.tracking import Tracker, TrackerSettings, Tracks

Seen = tuple[float, float, float, float, float, int]  # x1 y1 x2 y2 confidence class


def found(*boxes: Seen) -> Detections:
    """Return detections; entropy is of no interest here."""
    rows = np.array(boxes, np.float64).reshape(-1, 6)
    with np.errstate(over="ignore"):
        return Detections(
            rows[:, :4].astype(np.float32),
            rows[:, 4].astype(np.float32),
            rows[:, 5].astype(np.int32),
            np.zeros(len(rows), np.float32),
        )


def walker(x: float, y: float = 100.0, confidence: float = 0.9, class_id: int = 0) -> Seen:
    """Return a standing person of 30 × 80 px at x."""
    return (x, y, x + 30.0, y + 80.0, confidence, class_id)


def only(tracks: Tracks) -> int:
    """Return the id of the one track."""
    assert len(tracks) == 1
    return int(tracks.track_id[0])


def test_two_sure_looks_confirm_and_one_does_not() -> None:
    """A single flicker is never confirmed."""
    tracker = Tracker()
    assert not tracker.update(found(walker(0)), 0.0).confirmed[0]
    second = tracker.update(found(walker(2)), 0.1)
    assert second.confirmed[0]
    assert (second.born_t_s[0], second.seen_t_s[0], second.observed[0]) == (0.0, 0.1, True)


def test_unsure_objects_need_more_looks() -> None:
    """Two detections of 0.5 are not yet evidence, three are."""
    tracker = Tracker()
    confirmed = [
        bool(tracker.update(found(walker(0, confidence=0.5)), t * 0.1).confirmed[0])
        for t in range(3)
    ]
    assert confirmed == [False, False, True]


@pytest.mark.parametrize("fps", [0.5, 2.0, 5.0, 30.0])
def test_one_walker_is_one_track_at_any_rate(fps: float) -> None:
    """The same walk at the same speed, looked at 0.5 to 30 times a second."""
    tracker = Tracker()
    speed_px_s = min(40.0, 18.0 * fps)
    ids = {only(tracker.update(found(walker(speed_px_s * n / fps)), n / fps)) for n in range(40)}
    assert ids == {1}


@pytest.mark.parametrize("period_s", [3.0, 5.0, 10.0, 30.0, 100.0])
def test_who_stands_is_one_track_however_rarely_is_looked(period_s: float) -> None:
    """Doubt does not grow with the period; but who is seen far away is somebody else."""
    tracker = Tracker(TrackerSettings(bridge_s=1000.0))
    tracks = [tracker.update(found(walker(n)), n * period_s) for n in range(4)]
    assert {only(one) for one in tracks} == {1}
    assert tracks[1].confirmed[0]
    other = tracker.update(found(walker(600)), 4 * period_s)
    assert only(other.where(other.observed)) == 2


def test_two_walkers_who_pass_each_other_keep_their_tracks() -> None:
    """Motion tells them apart where overlap cannot."""
    tracker = Tracker()
    first = last = np.zeros(0)
    for n in range(60):
        t = n * 0.1
        boxes = found(walker(20 + 50 * t), walker(320 - 50 * t, y=104))
        tracks = tracker.update(boxes, t)
        order = np.argsort(tracks.track_id)
        centres = tracks.boxes_xyxy[order, 0]
        first = centres if n == 0 else first
        last = centres
    assert len(last) == 2
    assert first[0] < first[1]
    assert last[0] > last[1]


def test_unsure_detections_keep_a_track_but_start_none() -> None:
    """A half-hidden person goes on; a ghost of 0.2 never begins."""
    tracker = Tracker()
    track = 0
    for n in range(5):
        track = only(tracker.update(found(walker(2 * n)), n * 0.1))
    for n in range(5, 15):
        ghost = walker(400, confidence=0.2)
        tracks = tracker.update(found(walker(2 * n, confidence=0.2), ghost), n * 0.1)
        assert only(tracks) == track
        assert tracks.observed[0]


def test_an_occluded_walker_comes_back_as_the_same_track() -> None:
    """One second behind a pillar, walking on at the same speed."""
    tracker = Tracker()
    track = 0
    for n in range(20):
        track = only(tracker.update(found(walker(4 * n)), n * 0.1))
    for n in range(20, 30):
        tracker.update(found(), n * 0.1)
    assert only(tracker.update(found(walker(4 * 30)), 3.0)) == track


def test_a_lost_track_is_over_after_its_seconds() -> None:
    """Patience is in seconds: many quick looks and few slow ones end alike."""
    for step_s in (0.05, 1.0):
        tracker = Tracker(TrackerSettings(lost_s=2.0))
        track = 0
        for n in range(3):
            track = only(tracker.update(found(walker(0)), n * 0.1))
        t = 0.2
        while t < 2.5:
            t += step_s
            tracker.update(found(), t)
        assert only(tracker.update(found(walker(0)), t + 0.1)) != track


def test_coasting_is_reported_briefly_and_said_so() -> None:
    """A missed detection does not make a person vanish at once, nor stay for ever."""
    tracker = Tracker(TrackerSettings(coast_s=0.5))
    for n in range(10):
        tracker.update(found(walker(5 * n)), n * 0.1)
    coasting = tracker.update(found(), 1.0)
    assert not coasting.observed[0]
    assert coasting.seen_t_s[0] == pytest.approx(0.9)
    assert coasting.boxes_xyxy[0, 0] == pytest.approx(50.0, abs=2.0)
    assert len(tracker.update(found(), 1.5)) == 0


def test_classes_never_mix() -> None:
    """A dog where a person was is another track."""
    tracker = Tracker()
    tracker.update(found(walker(0, class_id=0)), 0.0)
    tracks = tracker.update(found(walker(0, class_id=1)), 0.1)
    assert {int(t) for t in tracks.track_id[tracks.class_id == 1]} == {2}


def test_a_double_of_a_tracked_object_starts_no_track() -> None:
    """Two boxes on one person are one person."""
    tracker = Tracker()
    for n in range(5):
        only(tracker.update(found(walker(0)), n * 0.1))
    assert len(tracker.update(found(walker(0), walker(2, y=102)), 0.5)) == 1


def test_a_gap_breaks_every_track() -> None:
    """Beyond `bridge_s`, and after `interrupt`, nobody is who they were; ids are never reused."""
    tracker = Tracker()
    first = only(tracker.update(found(walker(0)), 0.0))
    second = only(tracker.update(found(walker(0)), 11.0))
    tracker.interrupt()
    third = only(tracker.update(found(walker(0)), 11.1))
    assert (first, second, third) == (1, 2, 3)


def test_still_keeps_whoever_stands_still() -> None:
    """Thirty seconds behind a closed motion gate, then the full scan finds the same person."""
    tracker = Tracker()
    track = 0
    for n in range(10):
        track = only(tracker.update(found(walker(3 * n)), n * 0.1))
    for n in range(1, 60):
        tracks = tracker.still(0.9 + n * 0.5)
        assert only(tracks) == track
        assert tracks.observed[0]
        assert tracks.boxes_xyxy[0, 0] == pytest.approx(27.0, abs=1.5)
    assert only(tracker.update(found(walker(27)), 31.0)) == track


def test_still_does_not_revive_the_lost() -> None:
    """Who was not seen at the last look goes on being lost, and is over in time."""
    tracker = Tracker()
    track = 0
    for n in range(5):
        track = only(tracker.update(found(walker(0)), n * 0.1))
    tracker.update(found(), 0.5)
    assert not tracker.still(0.6).observed.any()
    tracker.still(3.0)
    assert only(tracker.update(found(walker(0)), 3.1)) != track


def test_still_before_any_look_is_nothing() -> None:
    """A gate that is closed from the start has no tracks."""
    assert len(Tracker().still(5.0)) == 0


@pytest.mark.parametrize("t_s", [0.2, 0.0, -5.0, math.nan, math.inf])
def test_time_that_stands_still_or_runs_back_is_survived(t_s: float) -> None:
    """The track goes on at the last good time."""
    tracker = Tracker()
    track = 0
    for n in range(3):
        track = only(tracker.update(found(walker(0)), n * 0.1))
    tracks = tracker.update(found(walker(1)), t_s)
    assert only(tracks) == track
    assert tracks.seen_t_s[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "broken",
    [
        (math.nan, 0.0, 10.0, 10.0, 0.9, 0),
        (0.0, 0.0, math.inf, 10.0, 0.9, 0),
        (-1e30, 0.0, 1e30, 10.0, 0.9, 0),
        (5.0, 5.0, 5.0, 9.0, 0.9, 0),
        (9.0, 9.0, 5.0, 5.0, 0.9, 0),
        (0.0, 0.0, 10.0, 10.0, math.nan, 0),
    ],
)
def test_broken_boxes_are_ignored(broken: Seen) -> None:
    """NaN, infinity, no area and inverted boxes neither crash nor become tracks."""
    tracker = Tracker()
    tracks = Tracks.empty()
    for n in range(3):
        tracks = tracker.update(found(broken, walker(2 * n)), n * 0.1)
    assert only(tracks) == 1
    assert np.isfinite(tracks.boxes_xyxy).all()


boxes = st.tuples(
    st.floats(-50, 700, width=32),
    st.floats(-50, 500, width=32),
    st.floats(-10, 300, width=32),
    st.floats(-10, 300, width=32),
    st.floats(0, 1, width=32),
    st.integers(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-1.0, 30.0), st.lists(boxes, max_size=8)), max_size=15))
def test_any_stream_gives_sound_tracks(looks: list[tuple[float, list[Seen]]]) -> None:
    """Finite boxes, distinct ids that only grow, and never more observed tracks than boxes."""
    tracker = Tracker()
    t_s, largest = 0.0, 0
    for step_s, seen in looks:
        t_s += step_s
        corners = [(x, y, x + w, y + h, c, k) for x, y, w, h, c, k in seen]
        tracks = tracker.update(found(*corners), t_s)
        assert np.isfinite(tracks.boxes_xyxy).all()
        ids = tracks.track_id.tolist()
        assert len(set(ids)) == len(ids)
        assert int(tracks.observed.sum()) <= len(seen)
        assert (tracks.born_t_s <= tracks.seen_t_s).all()
        new = [i for i in ids if i > largest]
        assert len(new) <= len(seen)
        largest = max([largest, *ids])


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=10))
def test_prediction_in_parts_is_prediction_at_once(steps_s: list[float]) -> None:
    """Real time, not frames: the place depends only on the seconds that passed."""
    start = np.array([[100.0, 100.0, 30.0, 80.0]])
    one, many = (BoxMotion.at(start, np.ones(1)) for _ in range(2))
    one.speed[:] = many.speed[:] = np.array([[12.0, -7.0, 0.0, 0.0]])
    one.predict(sum(steps_s))
    for dt_s in steps_s:
        many.predict(dt_s)
    assert many.position == pytest.approx(one.position, rel=1e-9)
    assert many.speed == pytest.approx(one.speed, rel=1e-9)


def test_the_filter_learns_speed_and_its_doubt_shrinks() -> None:
    """After a second of 10 fps the speed is known within a tenth and doubt is below the jitter."""
    jitter = np.random.default_rng(3)
    motion = BoxMotion.at(np.array([[0.0, 50.0, 30.0, 80.0]]), np.ones(1))
    for n in range(1, 31):
        motion.predict(0.1)
        seen = np.array([[6.0 * n, 50.0, 30.0, 80.0]]) + jitter.normal(0, 0.5, (1, 4))
        motion.correct(np.array([0]), seen, np.ones(1))
    assert motion.speed[0, 0] == pytest.approx(60.0, rel=0.1)
    assert (motion.p_pp > 0.0).all()
    assert motion.p_ps[0, 0] ** 2 <= motion.p_pp[0, 0] * motion.p_ss[0, 0]


def test_zero_time_changes_nothing() -> None:
    """Two looks at one moment add no doubt."""
    motion = BoxMotion.at(np.array([[0.0, 50.0, 30.0, 80.0]]), np.ones(1))
    before = motion.p_pp.copy()
    motion.predict(0.0)
    assert (motion.p_pp == before).all()
