"""What a rollout's gate is told of its candidate in shadow, and how far review is.

The rule: what two people judged differently counts as undecided; nobody's word counts twice.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from vedette.central.review import gate
from vedette.central.review.gate import Judged
from vedette.central.rollouts.facts import Shadowed
from vedette.central.store.db import Tx


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One person's verdict on one disagreement."""

    device: str
    disagreement: str
    weight: float
    reviewer: str
    verdict: str
    at_ms: int


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What devices counted of a rollout's candidate; objects are of all classes."""

    rollout: str
    slot: str
    frames: int
    differing: int
    failed: int
    shed: int
    both_n: int
    only_a: int
    only_b: int
    devices: int
    cameras: int
    last_ms: int


async def shadow_evidence(tx: Tx, rollout: str) -> Shadowed | None:
    """Return what people made of the disagreements; None before anything was compared."""
    found = await compared(tx, rollout=rollout)
    if not found:
        return None
    judged = outcomes(await judgements(tx, rollout))
    return gate.decide(found[0].frames, found[0].differing, judged)


async def compared(tx: Tx, *, rollout: str = "", sites: list[str] | None = None) -> list[Compared]:
    """Return what was compared, by rollout, the newest first; of these sites where given."""
    return await tx.all("review_rollouts", Compared, rollout=rollout, sites=sites)


async def judgements(tx: Tx, rollout: str) -> list[Judgement]:
    """Return every judgement of a rollout, in order of time."""
    return await tx.all("judgements_of", Judgement, rollout=rollout)


def outcomes(found: Sequence[Judgement]) -> list[Judged]:
    """Return what each disagreement came to, in the order in which they were judged first."""
    return [
        Judged(same[0].verdict if len({one.verdict for one in same}) == 1 else "unclear", weight)
        for same, weight in ((group, group[0].weight) for group in _by_thing(found))
    ]


def agreed(found: Sequence[Judgement]) -> float | None:
    """Return Cohen's kappa over what two people judged; None where there is nothing."""
    twice = [group[:2] for group in _by_thing(found) if len(group) > 1]
    return gate.agreement([(first.verdict, second.verdict) for first, second in twice])


def _by_thing(found: Sequence[Judgement]) -> list[list[Judgement]]:
    """Return the judgements of each thing, things in the order of their first judgement."""

    def thing(one: Judgement) -> tuple[str, str]:
        return one.device, one.disagreement

    groups: Iterable[list[Judgement]] = (
        list(group) for _, group in groupby(sorted(found, key=thing), key=thing)
    )
    in_order = [sorted(group, key=lambda one: one.at_ms) for group in groups]
    return sorted(in_order, key=lambda group: (group[0].at_ms, thing(group[0])))
