"""The disagreements that wait for a person: the next one, blind, and what they make of it.

The rules: nobody is told which side is the model in use, and which side that is goes by chance,
another for each thing and reviewer; a part is judged by two people; who may see the site may
review; each look at a picture and each judgement is in the audit log.
"""

import hashlib
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.review import evidence, gate
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.wire import codec
from vedette.wire.messages import Box
from vedette.wire.updates import Disagreement

TWICE: Final = "33333333333333333333333333333333"
"""Lots below this one are judged by two people: a fifth of all."""

SAME_LOOK_S: Final = 300
UNDO_S: Final = 600
SIDES: Final = ("first", "second", "neither", "unclear")
_SALT: Final = b"vedette review side"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the review of one rollout is, for one reviewer.

    Attributes:
        frames: Pictures that both models saw; `differing` of them differ.
        sent: Disagreements that came; at least one person judged `reviewed` of them.
        waiting: For this reviewer.
        needed: So many reviewed ones it takes for the next verdict.
        agreement: Cohen's kappa of those judged by two; null where there are none.
    """

    rollout: str
    slot: str
    frames: int
    differing: int
    failed: int
    shed: int
    devices: int
    cameras: int
    sent: int
    reviewed: int
    waiting: int
    needed: int
    verdict: str
    reasons: list[str]
    agreement: float | None


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """One disagreement as a reviewer sees it: two answers, and not whose they are.

    Attributes:
        window_px: What of the picture is shown, xyxy; boxes are in pixels of the whole.
        withheld: Why there is no picture, in words.
    """

    device: str
    disagreement: str
    rollout: str
    slot: str
    site: str
    camera: str
    at_ms: int
    picture_px: tuple[int, int]
    window_px: tuple[int, int, int, int]
    first: list[Box]
    second: list[Box]
    has_picture: bool
    withheld: str = ""


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    disagreement: str
    rollout: str
    slot: str
    site: str
    camera: str
    at_ms: int
    received_ms: int
    body: bytes
    has_picture: bool


class _Counts(msgspec.Struct, frozen=True, kw_only=True):
    rollout: str
    sent: int
    reviewed: int
    waiting: int


async def progress(
    tx: Tx, reviewer: str, sites: list[str] | None, *, rollout: str = ""
) -> list[Progress]:
    """Return how far review is, by rollout, the newest first."""
    found = await evidence.compared(tx, rollout=rollout, sites=sites)
    asked = {"reviewer": reviewer, "sites": sites, "rollout": rollout, "twice": TWICE}
    counts = {row.rollout: row for row in await tx.all("review_counts", _Counts, **asked)}
    return [
        _progress(one, counts.get(one.rollout), await evidence.judgements(tx, one.rollout))
        for one in found
    ]


def _progress(
    of: evidence.Compared, counts: _Counts | None, found: list[evidence.Judgement]
) -> Progress:
    said = gate.decide(of.frames, of.differing, evidence.outcomes(found))
    return Progress(
        rollout=of.rollout,
        slot=of.slot,
        frames=of.frames,
        differing=of.differing,
        failed=of.failed,
        shed=of.shed,
        devices=of.devices,
        cameras=of.cameras,
        sent=counts.sent if counts else 0,
        reviewed=said.reviewed,
        waiting=counts.waiting if counts else 0,
        needed=said.needed,
        verdict=str(said.verdict),
        reasons=said.reasons,
        agreement=evidence.agreed(found),
    )


async def next_item(
    tx: Tx, reviewer: str, sites: list[str] | None, rollout: str
) -> ReviewItem | None:
    """Return the next disagreement for a reviewer; None where none waits."""
    asked = {"reviewer": reviewer, "sites": sites, "rollout": rollout, "twice": TWICE}
    row = await tx.one("review_next", _Row, **asked)
    return _item(row, reviewer) if row else None


async def one_item(
    tx: Tx, reviewer: str, sites: list[str] | None, place: tuple[str, str]
) -> ReviewItem | None:
    """Return the disagreement (device, id) as this reviewer sees it; None: out of their scope."""
    row = await tx.one("review_one", _Row, device=place[0], disagreement=place[1], sites=sites)
    return _item(row, reviewer) if row else None


async def judge(tx: Tx, reviewer: str, item: ReviewItem, side: str, *, now_ms: int) -> None:
    """Note what a reviewer makes of a disagreement, and who it was.

    Raises:
        ConfigError: No such verdict.
    """
    if side not in SIDES:
        raise ConfigError(
            f"{side[:20]!r} is no verdict", operator_hint=f"one of {', '.join(SIDES)}"
        )
    place = {"device": item.device, "disagreement": item.disagreement, "reviewer": reviewer}
    verdict = _meant(item, reviewer, side)
    await tx.run("judgement_put", **place, verdict=verdict, now_ms=now_ms)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=reviewer,
        action="review.judge",
        target=f"{item.device}/{item.disagreement}",
        detail={"rollout": item.rollout, "side": side, "verdict": verdict},
    )


async def take_back(
    tx: Tx, reviewer: str, sites: list[str] | None, rollout: str, *, now_ms: int
) -> tuple[str, str] | None:
    """Have a reviewer's last judgement of a rollout no more; return what it was of."""
    asked = {"reviewer": reviewer, "rollout": rollout, "sites": sites}
    rows = await tx.tuples("judgement_last", **asked, since_ms=now_ms - UNDO_S * 1000)
    if not rows:
        return None
    device, disagreement = rows[0]
    await tx.run("judgement_drop", device=device, disagreement=disagreement, reviewer=reviewer)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=reviewer,
        action="review.take_back",
        target=f"{device}/{disagreement}",
        detail={"rollout": rollout},
    )
    return device, disagreement


async def picture(tx: Tx, reviewer: str, item: ReviewItem, *, now_ms: int) -> bytes | None:
    """Return the picture after the look was written down; None where there is none."""
    place = {"device": item.device, "disagreement": item.disagreement}
    found = await tx.packed("review_picture", **place)
    if not found:
        return None
    same_ms = SAME_LOOK_S * 1000
    if await tx.value("review_look", **place, actor=reviewer, now_ms=now_ms, same_ms=same_ms):
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=reviewer,
            action="review.look",
            target=f"{item.device}/{item.disagreement}",
            detail={"camera": item.camera, "site": item.site},
        )
    return bytes(found[0][0])


def is_turned(place: tuple[str, str], reviewer: str) -> bool:
    """Return whether this reviewer sees the candidate first: by chance, and always the same."""
    text = "\0".join((*place, reviewer)).encode()
    return hashlib.blake2b(text, key=_SALT).digest()[0] % 2 == 1


def _meant(item: ReviewItem, reviewer: str, side: str) -> str:
    """Return whose side that is."""
    if side in {"neither", "unclear"}:
        return side
    turned = is_turned((item.device, item.disagreement), reviewer)
    return "a" if (side == "first") is not turned else "b"


def _item(row: _Row, reviewer: str) -> ReviewItem:
    said = codec.decode(row.body, Disagreement)
    sides = said.boxes_a, said.boxes_b
    first, second = sides[::-1] if is_turned((row.device, row.disagreement), reviewer) else sides
    width, height = said.picture_px
    withheld = said.withheld
    if not row.has_picture and not withheld:
        withheld = "the time for which pictures are kept is over"
    return ReviewItem(
        device=row.device,
        disagreement=row.disagreement,
        rollout=row.rollout,
        slot=row.slot,
        site=row.site,
        camera=row.camera,
        at_ms=row.at_ms,
        picture_px=said.picture_px,
        window_px=said.crop_px if said.crop_px and row.has_picture else (0, 0, width, height),
        first=first,
        second=second,
        has_picture=row.has_picture,
        withheld=withheld,
    )
