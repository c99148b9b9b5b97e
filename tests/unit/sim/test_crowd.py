"""The simulated crowd: the same world at every rate, and errors of the kinds it promises."""

import itertools

import msgspec
import numpy as np
import pytest

from vedette.sim.crowd import FPS, PLACES, CrowdSettings, watch
from vedette.vision.geometry import box_overlap

QUICK = CrowdSettings(duration_s=6.0, people_per_minute=60.0)


def test_a_lower_rate_looks_at_the_same_world() -> None:
    """Every fifth look is the same look, truth and errors alike."""
    for many, few in zip(watch(QUICK)[::5], watch(QUICK, every=5), strict=True):
        assert many.t_s == few.t_s
        assert (many.person == few.person).all()
        assert (many.boxes_xyxy == few.boxes_xyxy).all()
        assert (many.found.boxes_xyxy == few.found.boxes_xyxy).all()


def test_another_seed_is_another_world() -> None:
    """Nothing random is left to chance, and nothing is the same by mistake."""
    other = msgspec.structs.replace(QUICK, seed=2)
    assert watch(QUICK)[50].boxes_xyxy.tolist() != watch(other)[50].boxes_xyxy.tolist()


def test_people_walk_as_fast_as_people() -> None:
    """Nobody jumps: between two looks a body moves by less than a third of its height."""
    looks = watch(QUICK)
    for before, after in itertools.pairwise(looks):
        _, old, new = np.intersect1d(before.person, after.person, return_indices=True)
        a, b = before.boxes_xyxy[old], after.boxes_xyxy[new]
        moved = np.abs(a[:, 2:] - b[:, 2:]).max(axis=1, initial=0.0)
        assert (moved < (a[:, 3] - a[:, 1]) / 3.0).all()


@pytest.mark.parametrize("name", list(PLACES))
def test_every_place_is_seen_mostly_but_not_fully(name: str) -> None:
    """Detections are sound; most people are found, some are missed, some boxes are nobody."""
    place = msgspec.structs.replace(PLACES[name], duration_s=20.0)
    people = found = boxes = right = 0
    for look in watch(place, every=10):
        assert look.found.confidence.min(initial=1.0) > 0.1
        sure = look.found.where(look.found.confidence >= 0.4)
        fits = box_overlap(look.boxes_xyxy, sure.boxes_xyxy.astype(np.float64)) >= 0.5
        people, boxes = people + len(look.person), boxes + len(sure)
        found += int(fits.any(axis=1).sum())
        right += int((fits.sum(axis=0) == 1).sum())
    assert 0.6 < found / people < 0.98
    assert 0.6 < right / boxes < 0.98


def test_who_stands_behind_somebody_is_found_less_often() -> None:
    """In the crush of a low camera fewer are found than in a lonely place."""
    shares = []
    for people_per_minute in (6.0, 240.0):
        low = msgspec.structs.replace(
            QUICK, camera_m=1.6, pitch_deg=0.0, people_per_minute=people_per_minute, duration_s=20.0
        )
        looks = watch(low, every=10)
        sure = sum(int((look.found.confidence >= 0.4).sum()) for look in looks)
        shares.append(sure / sum(len(look.person) for look in looks))
    assert shares[1] < shares[0] - 0.15


def test_it_lasts_as_long_as_it_says() -> None:
    """Six seconds are 150 looks, at their times."""
    looks = watch(QUICK)
    assert len(looks) == int(6.0 * FPS)
    assert looks[-1].t_s == pytest.approx(6.0 - 1.0 / FPS)
