"""How a simulated device takes part: the steps, the way back, and each way to misbehave."""

import pytest

from vedette.sim.fleet import performance
from vedette.sim.fleet.taking import Conduct, Taking
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import Artefact, Assigned, Assignment

OLD = performance.incumbent("sha256:" + "aa" * 32)
NEW = performance.candidate("sha256:" + "bb" * 32, performance.Candidate.GOOD)
NOON_MS = 1_772_452_800_000  # 2 March 2026, 12:00 UTC
STEP_MS = 10_000


def _taking(conduct: Conduct = Conduct.NORMAL) -> Taking:
    known = {OLD.digest: OLD, NEW.digest: NEW}
    return Taking("app", OLD, known, time_zone="UTC", conduct=conduct)


def _said(
    digest: str,
    version: int = 1,
    attempt: int = 1,
    windows: list[tuple[str, str]] | None = None,
) -> Assignment:
    artefact = Artefact(
        kind=ArtefactKind.APP, target="app/x", sha256=digest[7:], bytes=3_000_000, digest=digest
    )
    item = Assigned(
        rollout="ro-1",
        slot="app",
        artefact=artefact,
        attempt=attempt,
        windows=windows or [],
        probation_s=120.0,
    )
    return Assignment(device="d", version=version, issued_ms=NOON_MS, items=[item])


def _live(
    taking: Taking, minutes: float, *, from_ms: int = NOON_MS, is_timed: bool = True
) -> list[UpdateState]:
    """Live on; return the states that were told."""
    told: list[UpdateState] = []
    for at_ms in range(from_ms, from_ms + round(minutes * 60_000), STEP_MS):
        said = taking.step(at_ms, is_timed=is_timed)
        if said is not None:
            told.append(said.state)
    return told


def test_it_goes_through_every_step_and_back() -> None:
    """Forward with a download, back without one; what it runs is what its numbers are made of."""
    taking = _taking()
    taking.hear(_said(NEW.digest), lambda _: "", NOON_MS)
    told = _live(taking, 10)
    assert told == [
        UpdateState.DOWNLOADED,
        UpdateState.VERIFIED,
        UpdateState.WAITING_WINDOW,
        UpdateState.ACTIVATING,
        UpdateState.PROBATION,
        UpdateState.CONFIRMED,
    ]
    assert taking.running is NEW
    assert taking.health(NOON_MS).previous == OLD.digest
    back_ms = NOON_MS + 600_000
    taking.hear(_said(OLD.digest, version=2, attempt=2), lambda _: "", back_ms)
    assert _live(taking, 10, from_ms=back_ms)[-1] is UpdateState.CONFIRMED
    assert taking.running is OLD


def test_what_is_refused_is_told_and_never_runs() -> None:
    """Without an approval, it goes back before it began, and says why."""
    taking = _taking()
    taking.hear(_said(NEW.digest), lambda _: "no approval", NOON_MS)
    assert taking.state is UpdateState.REVERTED
    assert taking.problem == "no approval"
    assert taking.running is OLD


def test_an_older_assignment_and_a_failed_attempt_change_nothing() -> None:
    """A replay is not heard; what failed is tried again only under a higher attempt."""
    taking = _taking(Conduct.REVERTS)
    taking.hear(_said(NEW.digest, version=5), lambda _: "", NOON_MS)
    assert _live(taking, 10)[-1] is UpdateState.REVERTED
    assert taking.running is OLD
    assert "golden frame" in taking.problem
    taking.hear(_said(NEW.digest, version=4, attempt=2), lambda _: "", NOON_MS)
    taking.hear(_said(NEW.digest, version=6), lambda _: "", NOON_MS)
    assert taking.state is UpdateState.REVERTED
    taking.hear(_said(NEW.digest, version=7, attempt=2), lambda _: "", NOON_MS)
    assert taking.state is UpdateState.ASSIGNED


@pytest.mark.parametrize(
    ("conduct", "windows", "is_timed", "ends"),
    [
        (Conduct.SLOW, [], True, UpdateState.ASSIGNED),
        (Conduct.WAKES_1970, [("11:00", "14:00")], False, UpdateState.WAITING_WINDOW),
        (Conduct.WRONG_WINDOW, [("11:00", "14:00")], True, UpdateState.WAITING_WINDOW),
        (Conduct.NORMAL, [("22:00", "05:00")], True, UpdateState.WAITING_WINDOW),
        (Conduct.NORMAL, [("11:00", "14:00")], True, UpdateState.CONFIRMED),
    ],
)
def test_who_is_late_and_where_they_wait(
    conduct: Conduct, windows: list[tuple[str, str]], is_timed: bool, ends: UpdateState
) -> None:
    """A slow line, a clock that cannot be believed, a wrong one, and a window that is not open."""
    taking = _taking(conduct)
    taking.hear(_said(NEW.digest, windows=windows), lambda _: "", NOON_MS)
    _live(taking, 4 if conduct is Conduct.SLOW else 12, is_timed=is_timed)
    assert taking.state is ends


def test_one_dies_with_the_new_one_and_one_goes_silent() -> None:
    """Lost: as soon as it runs it. Silent: from the moment it is told, and not before."""
    dead, silent = _taking(Conduct.LOST), _taking(Conduct.SILENT)
    for taking in (dead, silent):
        assert not taking.is_cut_off
        taking.hear(_said(NEW.digest), lambda _: "", NOON_MS)
    assert silent.is_cut_off
    _live(dead, 5)
    assert dead.has_died


def test_the_bad_model_is_worse_by_what_was_measured() -> None:
    """Slower and finding less in the very numbers that devices report."""
    bad = performance.candidate("sha256:" + "cc" * 32, performance.Candidate.BAD)
    assert bad.inference_ms > 2 * OLD.inference_ms
    assert bad.detections < 0.85 * OLD.detections
    slow = performance.stage_ms(bad.inference_ms)[0]
    fast = performance.stage_ms(OLD.inference_ms)[0]
    assert slow.sum > 2 * fast.sum
