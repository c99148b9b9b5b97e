"""Which events a rule is about: the same code for what happens now and for what happened.

Here: matching (pure: `Matcher`), and taking the inbox. Not here: trouble without events
(`conditions`), what becomes of a signal (`planner`).

The rule: an event that does not carry the number that a rule asks for does not match; nothing is
guessed. A rule that wants several within a time counts by its group, and what waited on a device
counts among itself: enough of it is one late signal, and never a page.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from vedette.central.alerting import places
from vedette.central.alerting.facts import Book, EventMatch, Group, Rule, Signal, Subject, Turn
from vedette.central.alerting.places import Places
from vedette.central.store.db import Tx
from vedette.wire.messages import EventKind, EventReport

LIMIT: Final = 500

_report = msgspec.msgpack.Decoder(EventReport)
_KINDS: Final = frozenset(EventKind)


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `events`, as far as rules ask; `body` is an `EventReport` as msgpack."""

    device: str
    event: str
    site: str
    camera: str
    kind: str
    at_ms: int
    received_ms: int
    late: bool
    label: str
    where_name: str
    evidence: str
    body: bytes

    def subject(self) -> Subject:
        """Return what it is about."""
        return Subject(
            site=self.site, device=self.device, camera=self.camera, place=self.where_name
        )


def group_key(rule: Rule, subject: Subject) -> str:
    """Return what makes signals of this rule one incident, without the rule's name."""
    group = rule.group or (Group.CAMERA if rule.event is not None else None)
    parts = (subject.site, subject.device, subject.camera, subject.place)
    if group is None:
        return "|".join((*parts, subject.what))
    order = (Group.RULE, Group.SITE, Group.DEVICE, Group.CAMERA, Group.PLACE)
    return "|".join(parts[: order.index(group)])


def is_meant(match: EventMatch, happened: Happened, report: EventReport | None) -> bool:
    """True where an event is one of those that a rule is about, wherever and whenever it was."""
    if happened.kind not in match.kinds:
        return False
    if match.labels and happened.label not in match.labels:
        return False
    if match.places and not any(places.fits(one, happened.where_name) for one in match.places):
        return False
    asks = match.direction or not (
        match.confidence is None and match.dwell_s is None and match.score is None
    )
    if not asks:
        return True
    if report is None or (match.direction and report.direction != match.direction):
        return False
    return (
        _reaches(report.confidence, match.confidence)
        and _reaches(report.dwell_s, match.dwell_s)
        and _reaches(report.score, match.score)
    )


def _reaches(value: float | None, least: float | None) -> bool:
    return least is None or (value is not None and value >= least)


def count(times: list[int], at_ms: int, match: EventMatch) -> tuple[list[int], bool]:
    """Return the newest `at_least` times with `at_ms` among them, and whether that is enough.

    It is where those lie within `within_s` and this one is of them.
    """
    newest = times[:]
    insort(newest, at_ms)
    newest = newest[-match.at_least :]
    is_enough = (
        len(newest) == match.at_least
        and newest[-1] - newest[0] <= match.within_s * 1000
        and at_ms >= newest[0]
    )
    return newest, is_enough


Counts = dict[tuple[str, str], list[int]]


class Matcher:
    """Rules over events, one event after another. Thread: one at a time.

    Attributes:
        counts: When what rules count happened last, by rule and key.
        changed: Those of them that moved.
    """

    def __init__(self, rules: Iterable[Rule], at: Places, counts: Counts | None = None) -> None:
        """Begin with what was counted before."""
        self._places: Final = at
        self._of: Final[dict[str, list[Rule]]] = defaultdict(list)
        for rule in rules:
            for kind in set(rule.event.kinds) if rule.event else ():
                self._of[kind].append(rule)
        self.counts: Final[Counts] = counts if counts is not None else {}
        self.changed: Final[set[tuple[str, str]]] = set()

    def meant(self, happened: Happened) -> list[Rule]:
        """Return the rules that an event is one of, at its place and hour."""
        rules = self._of.get(happened.kind)
        if not rules:
            return []
        report = _decode(happened.body)
        subject = happened.subject()
        return [
            rule
            for rule in rules
            if rule.event is not None
            and is_meant(rule.event, happened, report)
            and places.holds(rule.where, subject, self._places)
            and self._places.hours_hold(rule.hours, happened.site, happened.at_ms)
        ]

    def take(self, happened: Happened) -> list[Signal]:
        """Return the signals that an event makes."""
        return [
            signal_of(rule, happened)
            for rule in self.meant(happened)
            if rule.event is not None and self._is_enough(rule, rule.event, happened)
        ]

    def _is_enough(self, rule: Rule, match: EventMatch, happened: Happened) -> bool:
        if match.at_least <= 1:
            return True
        key = rule.rule, count_key(rule, happened)
        self.counts[key], is_enough = count(self.counts.get(key, []), happened.at_ms, match)
        self.changed.add(key)
        return is_enough


def count_key(rule: Rule, happened: Happened) -> str:
    """Return under which key a rule counts an event: late ones among themselves."""
    return ("late|" if happened.late else "now|") + group_key(rule, happened.subject())


def _decode(body: bytes) -> EventReport | None:
    """Return a report; None where it is of a release yet to come."""
    try:
        return _report.decode(body)
    except msgspec.MsgspecError:
        return None


def signal_of(rule: Rule, happened: Happened) -> Signal:
    """Return what a rule says of an event."""
    report = _decode(happened.body)
    value = None
    if report is not None:
        numbers = (report.dwell_s, report.score, report.confidence)
        value = next((one for one in numbers if one is not None), None)
    return Signal(
        rule=rule.rule,
        turn=Turn.EVENT,
        subject=happened.subject(),
        at_ms=happened.at_ms,
        known_ms=happened.received_ms,
        severity=rule.severity,
        late=happened.late,
        event=happened.event,
        evidence=happened.evidence,
        kind=happened.kind,
        label=happened.label,
        confidence=report.confidence if report is not None else None,
        value=value,
        text=_said(happened),
    )


def _said(happened: Happened) -> str:
    what = happened.kind.replace("_", " ")
    who = f": {happened.label}" if happened.label else ""
    where = f" at {happened.where_name}" if happened.where_name else ""
    return f"{what}{who}{where}"


# ------------------------------------------------------------------------------------- the inbox


class _Count(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    key: str
    at_ms: list[int]


async def take_inbox(tx: Tx, book: Book, now_ms: int, limit: int = LIMIT) -> list[Signal]:
    """Return the signals of events that came in, oldest first; what was looked at is out.

    All of it is in the caller's transaction: rolled back, the events are there again.
    """
    came = await tx.all("alert_inbox_take", Happened, limit=limit)
    rules = [rule for rule in book.enabled() if rule.event is not None]
    if not came or not rules:
        return []
    groups = {name for rule in rules for name in rule.where.groups}
    at = await places.read(tx, {one.site for one in came}, groups)
    matcher = Matcher(rules, at, await _counts(tx, rules, came))
    signals = [
        msgspec.structs.replace(signal, known_ms=now_ms)
        for happened in came
        for signal in matcher.take(happened)
    ]
    changed = [
        {"rule": rule, "key": key, "at_ms": matcher.counts[rule, key]}
        for rule, key in sorted(matcher.changed)
    ]
    await tx.many("alert_count_put", changed)
    return signals


async def _counts(tx: Tx, rules: Iterable[Rule], came: Iterable[Happened]) -> Counts:
    keys = {
        (rule.rule, count_key(rule, happened))
        for rule in rules
        if rule.event is not None and rule.event.at_least > 1
        for happened in came
        if happened.kind in rule.event.kinds
    }
    if not keys:
        return {}
    ordered = sorted(keys)
    found = await tx.all(
        "alert_counts_read",
        _Count,
        rules=[rule for rule, _ in ordered],
        keys=[key for _, key in ordered],
    )
    return {(row.rule, row.key): list(row.at_ms) for row in found}
