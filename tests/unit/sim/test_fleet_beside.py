"""A simulated candidate in shadow: its steps, its counts, its samples, and who reviews them."""

import random

import pytest

from vedette.central.review.queue import ReviewItem
from vedette.central.rollouts.facts import RolloutState
from vedette.sim.fleet import performance
from vedette.sim.fleet.beside import Beside, Truths
from vedette.sim.fleet.performance import Candidate
from vedette.sim.fleet.reviewing import Reviewer
from vedette.sim.fleet.taking import Taking
from vedette.sim.fleet.wish import Wish
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import (
    Artefact,
    Assigned,
    Assignment,
    Disagreement,
    ShadowPlan,
    ShadowReport,
    UpdateReport,
)

OLD = performance.incumbent("sha256:" + "aa" * 32)
DIGEST = "sha256:" + "bb" * 32
HOUR_MS = 3_600_000
ITEM = Assigned(
    rollout="ro",
    slot="people",
    artefact=Artefact(
        kind=ArtefactKind.MODEL, target="models/x", sha256="b" * 64, bytes=9, digest=DIGEST
    ),
    shadow=ShadowPlan(every_s=5.0, samples_per_day=480),
)


def lived(what: Candidate) -> tuple[list[UpdateState], list[ShadowReport], list[Disagreement]]:
    """Two hours of one camera."""
    like = performance.candidate(DIGEST, what)
    beside = Beside("box", ITEM, like, ["door"], {}, random.Random(1), 0)
    said = [one for at_ms in range(0, 2 * HOUR_MS + 60_000, 10_000)
            for _, one in beside.step(at_ms, OLD)]  # fmt: skip
    return (
        [one.state for one in said if isinstance(one, UpdateReport)],
        [one for one in said if isinstance(one, ShadowReport)],
        [one for one in said if isinstance(one, Disagreement)],
    )


@pytest.mark.parametrize(
    ("what", "least", "most"),
    [(Candidate.GOOD, 0.05, 0.17), (Candidate.BAD, 0.25, 0.45), (Candidate.SLOW, 0.02, 0.12)],
)
def test_a_candidate_is_counted_as_often_as_it_differs(what, least, most):
    """Steps first, counts each five minutes, and at most twenty samples an hour."""
    states, reports, samples = lived(what)
    assert states == [UpdateState.DOWNLOADED, UpdateState.VERIFIED, UpdateState.SHADOWING]
    frames = sum(one.frames for one in reports)
    assert frames > 1300
    assert least < sum(one.differing for one in reports) / frames < most
    assert 20 <= len(samples) <= 40
    assert all(one.weight >= 1.0 and not one.picture and one.withheld for one in samples)


def test_a_reviewer_sides_with_who_saw_what_stood_there():
    """Whichever side that is; neither where both are as right, and unclear where nobody knows."""
    truths: Truths = {}
    like = performance.candidate(DIGEST, Candidate.BAD)
    beside = Beside("box", ITEM, like, ["door"], truths, random.Random(1), 0)
    samples = [one for at_ms in range(0, 4 * HOUR_MS, 10_000)
               for _, one in beside.step(at_ms, OLD) if isinstance(one, Disagreement)]  # fmt: skip
    reviewer = Reviewer("vera", truths, seed=1)

    def side(one, *, is_turned):
        boxes = (one.boxes_b, one.boxes_a) if is_turned else (one.boxes_a, one.boxes_b)
        item = ReviewItem(
            device="box", disagreement=one.disagreement, rollout="ro", slot="people", site="s",
            camera="door", at_ms=1, picture_px=(1280, 720), window_px=(0, 0, 1280, 720),
            first=boxes[0], second=boxes[1], has_picture=False,
        )  # fmt: skip
        return reviewer.side(item)

    plain = [side(one, is_turned=False) for one in samples]
    turned = [side(one, is_turned=True) for one in samples]
    assert plain.count("first") > 0.6 * len(samples), "the old one saw more"
    assert turned.count("second") > 0.6 * len(samples)
    truths.clear()
    assert side(samples[0], is_turned=False) == "unclear"


def test_a_candidate_beside_runs_for_as_long_as_it_is_assigned():
    """It changes nothing of what is in use, and ends with the assignment or where it is refused."""
    begun: list[int] = []

    def begin(item: Assigned, at_ms: int) -> Beside:
        begun.append(at_ms)
        like = performance.candidate(DIGEST, Candidate.GOOD)
        return Beside("box", item, like, ["door"], {}, random.Random(1), at_ms)

    taking = Taking("people", OLD, {}, time_zone="UTC", begin=begin)

    def hear(version: int, items: list[Assigned], why: str = "") -> None:
        said = Assignment(device="box", version=version, issued_ms=1, items=items)
        taking.hear(said, lambda _: why, version)

    hear(1, [ITEM])
    hear(2, [ITEM])
    assert begun == [1], "heard twice, begun once"
    assert (taking.item, taking.running) == (None, OLD)
    hear(3, [])
    assert taking.beside is None
    hear(4, [ITEM], "not approved")
    assert taking.beside is None


@pytest.mark.parametrize(
    ("model", "shadow", "ends"),
    [
        (Candidate.GOOD, True, RolloutState.DONE),
        (Candidate.BAD, True, RolloutState.SHADOW),
        (Candidate.BAD, False, RolloutState.CANARY),
        (Candidate.SLOW, True, RolloutState.CANARY),
    ],
)
def test_each_candidate_has_an_end_that_it_deserves(model, shadow, ends):
    """What is only slow passes people, who look at boxes; what misses people does not."""
    assert Wish(model=model, shadow=shadow).ends_at is ends
