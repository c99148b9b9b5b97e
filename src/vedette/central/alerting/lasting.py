"""Trouble that lasts: when it counts as such, and when it is over.

Here: one row for each rule and place where something is wrong, and the two moments at which that
becomes a signal. Not here: what is wrong (`standing`, `reports`, `slow`: one for each source).

The rule: whoever looks notes what is so now (`note`, pure); a signal is made only where a row's
time has come (`come`, pure), in the transaction of the turn, so that none is made twice and none is
lost with a process. No data is not well: what cannot be judged is not noted, and a device that
nobody hears neither begins nor ends anything that its reports tell.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from vedette.central import hours
from vedette.central.alerting import places
from vedette.central.alerting.facts import Book, Health, Rule, Severity, Signal, Subject, Turn
from vedette.central.alerting.places import Places
from vedette.central.store import arrays
from vedette.central.store.db import Tx

DUE_AT_ONCE: Final = 2_000
AGAIN_MS: Final = 30_000
"""A row that cannot be decided about now is looked at again so much later."""

MENDING: Final = 50_000
"""So much that is well again for a while is known to a decision; of more, pages go out."""

HOURS_AGAIN_MS: Final = 3_600_000

TOLD_BY_DEVICES: Final = frozenset(
    {
        Health.CAMERA_DOWN,
        Health.TAMPERED,
        Health.DEGRADED,
        Health.THROTTLED,
        Health.MEMORY_LEAK,
        Health.DISK,
        Health.NETWORK_LOSS,
        Health.SPOOL_FILLING,
        Health.CLOCK,
        Health.LATENCY_BUDGET,
        Health.PIPELINE_CRASHED,
        Health.UPDATE_FAILED,
    }
)
"""What is known of a device by its own word alone: nothing, while nobody hears it."""


WELL_BY: Final[dict[Health, frozenset[str]]] = {
    Health.CAMERA_DOWN: frozenset({"ok", "degraded", "tampered", "off"}),
    Health.TAMPERED: frozenset({"ok", "degraded"}),
    Health.DEGRADED: frozenset({"ok"}),
}
"""States of a camera that say that it is not so; all others say nothing about it."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `alert_conditions`: something is wrong there, or was until a moment ago.

    Attributes:
        subject: See `key_of`.
        since_ms: When it began, as far as known.
        well_ms: Since when it is well again; None: it is not.
        raised_ms: When it was made a signal; None: it was not long enough yet.
        due_ms: When it is decided about next without news; None: not.
        gone: Nobody asks for it any more: over at once.
    """

    rule: str
    subject: str
    since_ms: int
    well_ms: int | None = None
    raised_ms: int | None = None
    value: float | None = None
    text: str = ""
    due_ms: int | None = None
    gone: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How something is, now, in the eyes of a rule.

    Attributes:
        at_ms: Since when, as far as that is known; else now.
    """

    rule: str
    subject: str
    state: Literal["bad", "well", "gone"]
    at_ms: int
    value: float | None = None
    text: str = ""


def key_of(subject: Subject) -> str:
    """Return a subject as one text: site|device|camera|place|what."""
    return f"{subject.site}|{subject.device}|{subject.camera}|{subject.place}|{subject.what}"


def subject_of(key: str) -> Subject:
    """Return the subject of such a text."""
    site, device, camera, place, what = key.split("|", 4)
    return Subject(site=site, device=device, camera=camera, place=place, what=what)


# -------------------------------------------------------------------------------------- deciding


def note(row: Row | None, seen: Seen, for_s: float, clear_s: float, now_ms: int) -> Row | None:
    """Return the row after something was seen; None: there is none any more."""
    if seen.state == "bad":
        since_ms = min(seen.at_ms, now_ms)
        if row is None or row.gone:
            raised_ms = row.raised_ms if row else None
            row = Row(rule=seen.rule, subject=seen.subject, since_ms=since_ms, raised_ms=raised_ms)
        due_ms = None if row.raised_ms is not None else row.since_ms + round(for_s * 1000)
        return msgspec.structs.replace(
            row, well_ms=None, gone=False, due_ms=due_ms, value=seen.value, text=seen.text
        )
    if row is None or row.raised_ms is None:
        return None
    is_gone = seen.state == "gone"
    well_ms = row.well_ms if row.well_ms is not None else max(row.since_ms, seen.at_ms)
    well_ms = min(well_ms, now_ms)
    due_ms = now_ms if is_gone else well_ms + round(clear_s * 1000)
    text = seen.text if row.well_ms is None or is_gone else row.text
    return msgspec.structs.replace(row, well_ms=well_ms, due_ms=due_ms, gone=is_gone, text=text)


def come(
    row: Row, rule: Rule | None, *, is_heard: bool, opens_ms: int | None, now_ms: int
) -> tuple[Row | None, Signal | None]:
    """Return a row whose time has come as it is after that, and the signal that it makes.

    Args:
        row: Of `alert_conditions`.
        rule: None: there is no such rule any more, or it is switched off.
        is_heard: False where only the device could tell, and it is dark.
        opens_ms: When the rule's hours begin; None: they hold now.
        now_ms: By central's clock.
    """
    if rule is None or rule.health is None or row.gone:
        return None, (_signal(row, rule, Turn.CLEARED, now_ms) if row.raised_ms else None)
    if row.raised_ms is not None and row.well_ms is None:
        return msgspec.structs.replace(row, due_ms=None), None
    if not is_heard:
        return msgspec.structs.replace(row, due_ms=now_ms + AGAIN_MS), None
    if row.well_ms is not None:
        over_ms = row.well_ms + round(rule.health.clear_s * 1000)
        if now_ms < over_ms:
            return msgspec.structs.replace(row, due_ms=over_ms), None
        return None, _signal(row, rule, Turn.CLEARED, now_ms)
    counts_ms = row.since_ms + round(rule.health.for_s * 1000)
    if now_ms < counts_ms:
        return msgspec.structs.replace(row, due_ms=counts_ms), None
    if opens_ms is not None:
        return msgspec.structs.replace(row, due_ms=opens_ms), None
    raised = msgspec.structs.replace(row, raised_ms=now_ms, due_ms=None)
    return raised, _signal(raised, rule, Turn.RAISED, now_ms)


def _signal(row: Row, rule: Rule | None, turn: Turn, now_ms: int) -> Signal:
    at_ms = row.since_ms if turn is Turn.RAISED or row.well_ms is None else row.well_ms
    return Signal(
        rule=row.rule,
        turn=turn,
        subject=subject_of(row.subject),
        at_ms=at_ms,
        known_ms=now_ms,
        value=row.value,
        text=row.text,
        severity=rule.severity if rule else Severity.WARNING,
    )


# --------------------------------------------------------------------------------------- the table


async def take(
    tx: Tx, rules: Iterable[Rule], seen: Sequence[Seen], rows: Iterable[Row], now_ms: int
) -> int:
    """Write what was seen; return how many rows that changed. `rows` are held by the caller."""
    of = {rule.rule: rule.health for rule in rules if rule.health is not None}
    before = {(row.rule, row.subject): row for row in rows}
    changed: list[Row] = []
    ended: list[tuple[str, str]] = []
    for one in seen:
        key = one.rule, one.subject
        was, match = before.get(key), of.get(one.rule)
        if match is None:
            continue
        now = note(was, one, match.for_s, match.clear_s, now_ms)
        if now is None and was is not None:
            ended.append(key)
        elif now is not None and (was is None or _moved(was, now)):
            changed.append(now)
    await write(tx, changed, ended)
    return len(changed) + len(ended)


def _moved(was: Row, now: Row) -> bool:
    """True where more than a number changed: what is said of it is as it was when it began."""
    return (was.since_ms, was.well_ms, was.due_ms, was.gone) != (
        now.since_ms,
        now.well_ms,
        now.due_ms,
        now.gone,
    )


_COLUMNS: Final = (
    "rule", "subject", "since_ms", "well_ms", "raised_ms", "value", "text", "due_ms", "gone",
)  # fmt: skip


async def write(tx: Tx, rows: Iterable[Row], ended: Iterable[tuple[str, str]] = ()) -> None:
    """Have these rows as they are, and no more of those that ended."""
    # In one order, so that nobody waits for whom they hold up.
    values = [msgspec.structs.astuple(row) for row in sorted(rows, key=_order)]
    if values:
        await tx.run("alert_conditions_put", **arrays.columns(values, *_COLUMNS))
    gone = sorted(ended)
    if gone:
        await tx.run("alert_conditions_drop", **arrays.columns(gone, "rule", "subject"))


def _order(row: Row) -> tuple[str, str]:
    return row.rule, row.subject


async def mending(tx: Tx) -> frozenset[tuple[str, Subject]]:
    """Return what is well again by rule and subject, though not for long enough to be over."""
    rows = await tx.tuples("alert_conditions_mending", limit=MENDING)
    return frozenset((str(rule), subject_of(subject)) for rule, subject in rows)


class _Due(Row, frozen=True, kw_only=True):
    is_dark: bool = False


async def due(tx: Tx, book: Book, now_ms: int, limit: int = DUE_AT_ONCE) -> list[Signal]:
    """Return what begins to count as trouble and what is over, of the rows whose time has come."""
    rows = await tx.all("alert_conditions_due", _Due, now_ms=now_ms, limit=limit)
    if not rows:
        return []
    rules = {rule.rule: rule for rule in book.enabled()}
    asking = {row.rule for row in rows if _has_hours(rules.get(row.rule))}
    sites = {subject_of(row.subject).site for row in rows if row.rule in asking}
    at = await places.read(tx, sites) if sites else Places()
    kept: list[Row] = []
    ended: list[tuple[str, str]] = []
    signals: list[Signal] = []
    for row in rows:
        rule = rules.get(row.rule)
        told = rule is not None and rule.health is not None and rule.health.is_ in TOLD_BY_DEVICES
        begins_ms = opens_ms(rule, row.subject, at, now_ms) if _has_hours(rule) else None
        now, signal = come(
            row, rule, is_heard=not (told and row.is_dark), opens_ms=begins_ms, now_ms=now_ms
        )
        if now is None:
            ended.append((row.rule, row.subject))
        else:
            kept.append(Row(**{name: getattr(now, name) for name in _COLUMNS}))
        signals += [signal] if signal else []
    await write(tx, kept, ended)
    return signals


def _has_hours(rule: Rule | None) -> bool:
    return rule is not None and rule.hours != "always"


def opens_ms(rule: Rule | None, subject: str, at: Places, now_ms: int) -> int | None:
    """Return when a rule's hours begin at a site; None: they hold now."""
    site = subject_of(subject).site
    if rule is None or at.hours_hold(rule.hours, site, now_ms):
        return None
    place = at.sites.get(site)
    again_ms = now_ms + HOURS_AGAIN_MS  # hours may be set or changed meanwhile
    if place is None or place.opening is None:
        return again_ms
    change_ms = hours.next_change_ms(place.opening, place.zone(), now_ms)
    return min(again_ms, change_ms or again_ms)
