"""What a rule would have said of the past: the same code, with the past's time. Pure.

Here: trouble replayed through `lasting`, and signals counted as the incidents that they would have
been. Not here: where the past is read (`history`). The rule: counted is what would have opened an
incident; what would have been kept quiet is counted beside it, not left out.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from vedette.central.alerting import lasting
from vedette.central.alerting.facts import Rule, Signal, Subject, Turn
from vedette.central.alerting.joining import key_of
from vedette.central.alerting.lasting import Row, Seen
from vedette.clock import from_wall_ms

MAX_EXAMPLES: Final = 5
MAX_WORST: Final = 10
MAX_SIGNALS: Final = 50_000


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that would have been opened."""

    at_ms: int
    subject: Subject
    text: str = ""
    event: str = ""
    kept_quiet: str = ""


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """How often a rule would have fired.

    Attributes:
        fired: Incidents that it would have opened.
        signals: What they would have been made of.
        late: Signals of what had waited on devices: written down, nobody told.
        outside_hours: Matches that the rule's hours leave out.
        inhibited: Of `fired`, under a dark site or device: opened, nobody told.
        silenced: Of `fired`, under a silence that there was.
        by_site, by_day: Of `fired`; days are UTC, `2026-03-02`.
        worst: Places with the most, worst first.
    """

    fired: int = 0
    signals: int = 0
    late: int = 0
    outside_hours: int = 0
    inhibited: int = 0
    silenced: int = 0
    by_site: dict[str, int] = {}
    by_day: dict[str, int] = {}
    worst: list[tuple[str, int]] = []
    examples: list[Firing] = []


class Replay:
    """Trouble of one rule through the past, subject by subject. Thread: one at a time."""

    def __init__(self, rule: Rule, opens_ms: Callable[[str, int], int | None]) -> None:
        """Begin without trouble; `opens_ms` says when the rule's hours begin (None: they hold)."""
        self._rule: Final = rule
        self._opens_ms: Final = opens_ms
        self.rows: Final[dict[str, Row]] = {}
        self.signals: Final[list[Signal]] = []

    def see(self, seen: Seen, at_ms: int) -> None:
        """Take in what was so at a moment; moments of one subject come in order."""
        match = self._rule.health
        if match is None or len(self.signals) >= MAX_SIGNALS:
            return
        self.pass_to(seen.subject, at_ms)
        row = self.rows.get(seen.subject)
        self._keep(seen.subject, lasting.note(row, seen, match.for_s, match.clear_s, at_ms))

    def pass_to(self, subject: str, at_ms: int, *, heard_ms: int | None = None) -> None:
        """Decide what came due until a moment; after `heard_ms` nobody heard the device."""
        row = self.rows.get(subject)
        while row is not None and row.due_ms is not None and row.due_ms <= at_ms:
            now_ms = row.due_ms
            is_heard = heard_ms is None or now_ms <= heard_ms
            if not is_heard:
                return  # it is decided when it is heard again
            row, signal = lasting.come(
                row,
                self._rule,
                is_heard=True,
                opens_ms=self._opens_ms(subject, now_ms),
                now_ms=now_ms,
            )
            self.signals.extend([signal] if signal else [])
            self._keep(subject, row)

    def _keep(self, subject: str, row: Row | None) -> None:
        if row is None:
            self.rows.pop(subject, None)
        else:
            self.rows[subject] = row


Spell = tuple[int, int | None, str]
"""Begin, end (None: not yet) and words of a stretch of trouble."""


def spells(replay: Replay, rule: str, subject: str, found: Iterable[Spell], to_ms: int) -> None:
    """Replay stretches of trouble of one subject, in order."""
    for begin_ms, end_ms, text in found:
        bad = Seen(rule=rule, subject=subject, state="bad", at_ms=begin_ms, text=text)
        replay.see(bad, begin_ms)
        if end_ms is not None:
            replay.see(Seen(rule=rule, subject=subject, state="well", at_ms=end_ms), end_ms)
    replay.pass_to(subject, to_ms)


Quiet = Callable[[Subject, int], str]
"""Why nobody would have been told of a subject at a moment: `dark`, a silence, or empty."""


def tally(
    rule: Rule, signals: Sequence[Signal], quiet: Quiet, *, outside_hours: int = 0, from_ms: int = 0
) -> Fired:
    """Return how many incidents signals would have made, where and when."""
    ordered = sorted(signals, key=lambda one: one.known_ms if rule.health else one.at_ms)
    opened: list[Firing] = []
    open_: dict[str, set[Subject]] = defaultdict(set)
    last_ms: dict[str, int] = {}
    late = 0
    for one in ordered:
        key = key_of(rule, one.subject)
        if one.late:
            late += 1
            continue
        if one.turn is Turn.CLEARED:
            open_[key].discard(one.subject)
            continue
        is_new = (
            not open_[key]
            if one.turn is Turn.RAISED
            else one.at_ms - last_ms.get(key, -(10**15)) > rule.resolve_s * 1000
        )
        if one.turn is Turn.RAISED:
            open_[key].add(one.subject)
        last_ms[key] = one.at_ms
        if is_new and one.known_ms >= from_ms:
            opened.append(_firing(rule, one, quiet))
    return _counted(opened, len(ordered) - late, late, outside_hours)


def _firing(rule: Rule, one: Signal, quiet: Quiet) -> Firing:
    at_ms = one.known_ms if rule.health else one.at_ms
    return Firing(
        at_ms=at_ms,
        subject=one.subject,
        text=one.text,
        event=one.event,
        kept_quiet=quiet(one.subject, at_ms),
    )


def _counted(opened: Sequence[Firing], signals: int, late: int, outside_hours: int) -> Fired:
    places = Counter(
        "/".join(part for part in (s.site, s.device, s.camera, s.place, s.what) if part)
        or "the fleet"
        for s in (one.subject for one in opened)
    )
    quiet = Counter(one.kept_quiet for one in opened)
    inhibited = quiet.pop("dark", 0)
    quiet.pop("", None)
    return Fired(
        fired=len(opened),
        signals=signals,
        late=late,
        outside_hours=outside_hours,
        inhibited=inhibited,
        silenced=sum(quiet.values()),
        by_site=dict(Counter(one.subject.site for one in opened).most_common()),
        by_day=dict(sorted(Counter(day_of(one.at_ms) for one in opened).items())),
        worst=places.most_common(MAX_WORST),
        examples=list(opened[:MAX_EXAMPLES]),
    )


def day_of(at_ms: int) -> str:
    """Return the day of a moment, UTC, as `2026-03-02`."""
    return f"{from_wall_ms(at_ms):%Y-%m-%d}"
