"""Events that nobody may let go, with their evidence: a hold, here and on the device.

The rule: what is held outlives every retention, budget and age, in the database, among the files
and on the device, until somebody releases it; both stand in the audit log with a reason. The device
is asked in its desired state and answers; where its disk has no room for holds it says so, and that
is shown beside the hold. Two events with one package: it is let go with the second.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central import audit, desired
from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, NotAllowed
from vedette.ids import new_id
from vedette.wire import holds

ASK_S: Final = 400 * 86_400
"""A device that was away for long still learns of it."""

MAX_HOLDS: Final = 10_000
MAX_REASON_CHARS: Final = 200


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is held, why and by whom.

    Attributes:
        evidence: Its package; empty: it has none.
        answered_ms: When the device answered; None: not yet.
        refused: Why the device does not hold it, in its words.
        on_device: `none` (no package), `asked`, `held` or `refused`.
    """

    device: str
    event: str
    evidence: str
    site: str
    camera: str
    reason: str
    held_by: str
    held_ms: int
    answered_ms: int | None = None
    refused: str = ""
    on_device: str = "none"


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    event: str
    site: str
    camera: str
    evidence: str | None


async def hold(tx: Tx, device: str, event: str, *, reason: str, by: str, now_ms: int) -> Hold:
    """Have an event held with its evidence; one that is held already stays as it is.

    Call `tell` after the commit.

    Raises:
        ConfigError: No reason is given, or there is no such event.
        NotAllowed: Too many are held already.
    """
    reason = checked(reason)
    found = await tx.one("hold_event", _Event, device=device, event=event)
    if found is None:
        raise ConfigError("there is no such event")
    count = await tx.value("holds_count")
    if isinstance(count, int) and count >= MAX_HOLDS:
        raise NotAllowed(
            f"{count} events are held already", operator_hint="release what is over first"
        )
    put = {**msgspec.structs.asdict(found), "evidence": found.evidence or ""}
    if await tx.value("hold_put", **put, reason=reason, by=by, now_ms=now_ms) is True:
        if found.evidence:
            await _ask(tx, device, found.evidence, holds.HOLD, reason, by, now_ms)
        await _write(tx, "evidence.hold", found, by, now_ms, reason)
    held = await one(tx, device, event)
    assert held is not None
    return held


async def release(
    tx: Tx, device: str, event: str, *, reason: str = "", by: str, now_ms: int
) -> bool:
    """Have it held no more; False where it was not. Call `tell` after the commit.

    Raises:
        ConfigError: The reason cannot be shown.
    """
    reason = checked(reason) if reason else ""
    held = await one(tx, device, event)
    evidence = await tx.value("hold_drop", device=device, event=event)
    if held is None or evidence is None:
        return False
    if evidence and await tx.value("hold_names", device=device, evidence=evidence) is None:
        await _ask(tx, device, str(evidence), holds.RELEASE, reason, by, now_ms)
    await _write(tx, "evidence.release", held, by, now_ms, reason)
    return True


def checked(reason: str) -> str:
    """Return a reason in one line.

    Raises:
        ConfigError: There is none, or it has characters that nobody can read.
    """
    line = " ".join(reason.split())
    if not line or not line.isprintable() or len(line) > MAX_REASON_CHARS:
        raise ConfigError(
            f"a hold says why, in at most {MAX_REASON_CHARS} characters",
            operator_hint="as: claim 2026-114",
        )
    return line


async def one(tx: Tx, device: str, event: str) -> Hold | None:
    """Return why an event is held; None where it is not."""
    return await tx.one("hold_of", Hold, device=device, event=event)


async def is_held(tx: Tx, device: str, evidence: str) -> bool:
    """True while an event holds this evidence."""
    return await tx.value("hold_names", device=device, evidence=evidence) is True


async def page(
    tx: Tx,
    scope: Sequence[str] | None,
    *,
    site: str = "",
    after: tuple[int, str, str] | None,
    limit: int,
) -> list[Hold]:
    """Return what is held, the newest first, after one of (held_ms, device, event)."""
    after_ms, after_device, after_event = after or (2**62, "", "")
    return await tx.all(
        "holds_page",
        Hold,
        scope=None if scope is None else list(scope),
        site=site,
        after_ms=after_ms,
        after_device=after_device,
        after_event=after_event,
        limit=limit,
    )


def tell(bulletin: Bulletin, device: str) -> None:
    """Have the device, and pages that show it, know that something changed."""
    bulletin.publish(f"desired:{device}", f"device:{device}")


async def _ask(  # noqa: PLR0917 - what is asked of which, by whom, why
    tx: Tx, device: str, evidence: str, kind: str, reason: str, by: str, now_ms: int
) -> None:
    await tx.run("hold_requests_over", device=device, evidence=evidence, now_ms=now_ms)
    await tx.run(
        "hold_request_put",
        request=new_id("rq"),
        device=device,
        kind=kind,
        evidence=evidence,
        reason=reason,
        by=by,
        now_ms=now_ms,
        expires_ms=now_ms + ASK_S * 1000,
    )
    await desired.refresh(tx, device, now_ms)


async def _write(  # noqa: PLR0917 - who did what to which, why
    tx: Tx, action: str, of: Hold | _Event, by: str, now_ms: int, reason: str
) -> None:
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=by,
        action=action,
        target=f"{of.device}/{of.event}",
        detail={"evidence": of.evidence or "", "reason": reason},
    )
