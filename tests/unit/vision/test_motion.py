"""The gate: motion passes, stillness does not, and nothing is hidden for long."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from vedette.vision.motion import MotionGate, MotionSettings
from vedette.vision.picture import Picture, Plane

SCENE = np.tile(np.linspace(40, 200, 160), (120, 1)).astype(np.uint8)


def _noisy(rng: np.random.Generator, plane: Plane = SCENE) -> Plane:
    return np.clip(plane + rng.normal(0, 2, plane.shape), 0, 255).astype(np.uint8)


def _with_person(left: int) -> Plane:
    """Return the scene with somebody small, 6 by 12 of 160 by 120."""
    scene = SCENE.copy()
    scene[60:72, left : left + 6] ^= 0x60
    return scene


def test_the_first_picture_is_analysed() -> None:
    """Without a background everything may be new."""
    decision = MotionGate().look(SCENE, 0.0)
    assert (decision.analyse, decision.reason) == (True, "first")
    assert decision.skip_reason is None


def test_a_still_scene_is_scanned_every_ten_seconds_and_otherwise_skipped() -> None:
    """Noise alone does not pass; the full scan does, on time."""
    gate, rng = MotionGate(), np.random.default_rng(3)
    decisions = [gate.look(_noisy(rng), n * 0.5) for n in range(81)]
    assert {d.reason for d in decisions[1:]} == {"still", "scan"}
    assert [n * 0.5 for n, d in enumerate(decisions) if d.analyse] == [0, 10, 20, 30, 40]
    assert decisions[1].skip_reason == "still"


def test_somebody_small_passes_and_holds_the_gate_open() -> None:
    """A moving person of 0.4 % of the picture is motion; the gate stays open a little longer."""
    gate, rng = MotionGate(), np.random.default_rng(3)
    for n in range(10):
        gate.look(_noisy(rng), n * 0.2)
    assert gate.look(_noisy(rng, _with_person(30)), 2.0).reason == "motion"
    assert gate.look(_noisy(rng, _with_person(40)), 2.2).reason == "motion"
    assert gate.look(_noisy(rng), 2.4).reason == "hold"
    assert gate.look(_noisy(rng), 3.4).reason == "still"


def test_one_who_stands_still_becomes_background_but_stays_while_tracked() -> None:
    """After a minute without moving only tracking or the scan looks at them."""
    gate = MotionGate()
    gate.look(SCENE, 0.0)
    person = _with_person(50)
    reasons = [gate.look(person, 0.5 * n).reason for n in range(1, 181)]
    assert reasons[0] == "motion"
    assert set(reasons[-20:]) == {"still", "scan"}
    assert gate.look(person, 100.0, tracked=True).reason == "tracked"


def test_whoever_is_known_is_background_at_once_and_motion_when_they_go() -> None:
    """What stands in an absorbed box is still from the next look on; that it goes is motion."""
    gate, person = MotionGate(), _with_person(50)
    gate.look(SCENE, 0.0)
    assert gate.look(person, 5.0).reason == "motion"
    gate.absorb((50 / 160, 60 / 120, 56 / 160, 72 / 120))
    assert gate.look(person, 5.2).reason == "hold"
    assert gate.look(person, 6.4).reason == "still"
    assert gate.look(_with_person(58), 6.6).reason == "motion"
    assert gate.look(SCENE, 6.8).reason == "motion"


def test_light_that_changes_slowly_is_not_motion() -> None:
    """Sunset over ten minutes passes no picture but the scans."""
    gate = MotionGate()
    planes = ((SCENE * (1 - 0.3 * n / 600)).astype(np.uint8) for n in range(600))
    reasons = {gate.look(plane, float(n)).reason for n, plane in enumerate(planes)}
    assert reasons == {"first", "still", "scan"}


def test_a_gate_that_is_off_lets_everything_through() -> None:
    """Not one picture is skipped."""
    gate = MotionGate(MotionSettings(enabled=False))
    assert {gate.look(SCENE, float(n)).reason for n in range(20)} == {"off"}


def test_another_size_or_a_clock_that_went_back_starts_anew() -> None:
    """Neither fails nor hides: the picture counts as a first one."""
    gate = MotionGate()
    gate.look(SCENE, 5.0)
    assert gate.look(np.ascontiguousarray(SCENE[:90]), 6.0).reason == "first"
    assert gate.look(np.ascontiguousarray(SCENE[:90]), 1.0).reason == "first"


def test_the_pedestrians_pass(vtest: list[Picture]) -> None:
    """In footage that always has people walking, no picture is skipped."""
    gate = MotionGate()
    decisions = [gate.look(picture.small_luma(), float(n)) for n, picture in enumerate(vtest)]
    assert all(decision.analyse for decision in decisions)
    assert sum(decision.reason == "motion" for decision in decisions) >= len(vtest) - 2


@given(st.lists(st.floats(0.01, 30.0), min_size=1, max_size=40), st.floats(1.0, 20.0))
def test_no_pause_is_longer_than_the_scan_allows(pauses_s: list[float], scan_s: float) -> None:
    """Whatever the frame times, a picture at least `full_scan_s` after the last one passes."""
    gate = MotionGate(MotionSettings(full_scan_s=scan_s))
    tiny: npt.NDArray[np.uint8] = SCENE[::8, ::8]
    t_s = analysed_s = 0.0
    gate.look(tiny, t_s)
    for pause_s in pauses_s:
        t_s += pause_s
        decision = gate.look(tiny, t_s)
        assert decision.analyse == (t_s - analysed_s >= scan_s)
        analysed_s = t_s if decision.analyse else analysed_s
