"""Who is known to stand still: nobody too early, and never who moves, comes or is missing."""

import numpy as np

from vedette.vision.stillness import DOUBT_S, StillWatch
from vedette.vision.tracking import Tracks

PARKED = (100.0, 100.0, 160.0, 140.0)


def _tracks(boxes: dict[int, tuple], *, observed: bool = True, confirmed: bool = True) -> Tracks:
    n = len(boxes)
    return Tracks(
        track_id=np.array(list(boxes), np.int64),
        boxes_xyxy=np.array(list(boxes.values()), np.float32).reshape(n, 4),
        class_id=np.zeros(n, np.int32),
        confidence=np.full(n, 0.9, np.float32),
        confirmed=np.full(n, confirmed),
        born_t_s=np.zeros(n),
        seen_t_s=np.zeros(n),
        observed=np.full(n, observed),
    )


def _moved(by: float) -> tuple:
    return tuple(side + by for side in PARKED)


def test_nobody_in_view_is_no_reason_to_look() -> None:
    """Nor is one who is not confirmed."""
    watch = StillWatch(30.0)
    assert not watch.update(_tracks({}), 0.0)
    assert not watch.update(_tracks({1: PARKED}, confirmed=False), 0.2)


def test_who_keeps_the_place_is_known_after_the_time() -> None:
    """A reason to look for thirty seconds, then none, in spite of a detector's jitter."""
    watch, rng = StillWatch(30.0), np.random.default_rng(1)
    news = [
        watch.update(_tracks({1: tuple(np.array(PARKED) + rng.normal(0, 1.5, 4))}), n * 0.5)
        for n in range(100)
    ]
    assert news == [True] * 60 + [False] * 40


def test_where_somebody_came_to_be_known_is_told_once() -> None:
    """Their box, at the moment that they are known and not again."""
    watch = StillWatch(10.0)
    told = []
    for n in range(40):
        watch.update(_tracks({1: PARKED}), n * 0.5)
        told += [(n, tuple(box)) for box in watch.take_settled()]
    assert told == [(20, PARKED)]


def test_who_moves_is_a_reason_again() -> None:
    """Also where the way is so slow that no two looks differ."""
    watch = StillWatch(10.0)
    for n in range(40):
        watch.update(_tracks({1: PARKED}), n * 0.5)
    slowly = [watch.update(_tracks({1: _moved(0.2 * n)}), 20 + n * 0.5) for n in range(1, 200)]
    assert not slowly[0]
    assert any(slowly)
    assert watch.update(_tracks({1: _moved(200.0)}), 200.0)


def test_somebody_new_is_a_reason_beside_one_who_is_known() -> None:
    """The one known does not hide the one who comes."""
    watch = StillWatch(10.0)
    for n in range(40):
        watch.update(_tracks({1: PARKED}), n * 0.5)
    assert not watch.update(_tracks({1: PARKED}), 20.5)
    assert watch.update(_tracks({1: PARKED, 2: _moved(50.0)}), 21.0)


def test_a_known_one_who_is_missing_is_looked_for() -> None:
    """One look without them, and every picture is a reason until it is clear that they went."""
    watch = StillWatch(10.0)
    for n in range(40):
        watch.update(_tracks({1: PARKED}), n * 0.5)
    assert watch.update(_tracks({}), 20.0)
    assert watch.update(_tracks({}), 20.0 + DOUBT_S - 0.1)
    assert not watch.update(_tracks({}), 20.0 + DOUBT_S)


def test_a_prediction_is_nobody_seen() -> None:
    """A track that is only coasting is a reason to look, however long it stood before."""
    watch = StillWatch(10.0)
    for n in range(40):
        watch.update(_tracks({1: PARKED}), n * 0.5)
    assert watch.update(_tracks({1: PARKED}, observed=False), 20.0)


def test_after_a_gap_nobody_is_known() -> None:
    """Time before an interruption counts for nothing."""
    watch = StillWatch(10.0)
    for n in range(40):
        watch.update(_tracks({1: PARKED}), n * 0.5)
    watch.interrupt()
    assert watch.update(_tracks({1: PARKED}), 20.0)
