"""Who is told of an incident, and when: climbing its ladder. Pure.

    round 1: step 1 ── after_s ──▶ step 2 ── … ── repeat_s ──▶ round 2 … until acknowledged

What lives here: which steps are due, whom they reach, what an acknowledgement stops and its end
begins. What does not: which incident there is (`planner`), who is on call (`oncall`), sending
(`channels`).

The rules: a round is climbed by the ladder as it was when the round began. A step that reaches
nobody is said on the timeline and the next one is taken at once; after the last one,
the administrators are told. What became due while nobody looked is taken once, in one look,
and a new round begins in a later look than the last step of the one before. One target is told once
in one look. While an incident is silenced, inhibited or late news alone, it stays where it is.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central.alerting import reaching, seeing
from vedette.central.alerting.facts import (
    Ask,
    Book,
    Climb,
    History,
    Incident,
    IncidentState,
    Ladder,
    LadderStep,
    Notice,
    NoticeKind,
    Override,
    Target,
)

MIN_REPEAT_S: Final = 60.0
MAX_TOLD: Final = 200


class Climbed(msgspec.Struct, frozen=True, kw_only=True):
    """The incident after a look at its ladder, who is to be told, and what the timeline says."""

    incident: Incident
    notices: list[Notice] = []
    asks: list[Ask] = []
    history: list[History] = []


# ------------------------------------------------------------------------------------ climbing


def climb(incident: Incident, book: Book, overrides: Sequence[Override], now_ms: int) -> Climbed:
    """Return what follows of an open incident's ladder at `now_ms`.

    Asking again at the same moment changes nothing and tells nobody; `climb.due_ms` of the
    incident that is returned says when to ask next, and lies after `now_ms` or is None.

    Args:
        incident: Open or acknowledged; of one that is resolved nothing follows.
        book: As it is now.
        overrides: Of all schedules.
        now_ms: By central's clock.
    """
    look = _Look(incident, book, overrides, now_ms)
    look.take()
    return look.result()


class _Look:
    """One look at one ladder: what is found is gathered, then handed over."""

    def __init__(
        self, incident: Incident, book: Book, overrides: Sequence[Override], now_ms: int
    ) -> None:
        self.incident = incident
        self.book = book
        self.overrides = overrides
        self.now_ms = now_ms
        self.notices: list[Notice] = []
        self.asks: list[Ask] = []
        self.history: list[History] = []
        self._reached: set[tuple[str, str]] = set()

    def result(self) -> Climbed:
        """Return what was found; notices show the incident as it is after this look."""
        shown = shown_incident(self.incident)
        notices = [replace(notice, incident=shown) for notice in self.notices]
        return Climbed(
            incident=self.incident, notices=notices, asks=self.asks, history=self.history
        )

    # ------------------------------------------------------------------------- in this order

    def take(self) -> None:
        """Take what is due: the end of an acknowledgement, a new round, steps."""
        if self.incident.state is IncidentState.RESOLVED:
            return self._rest()
        if is_quiet(self.incident):
            return self._rest(self.incident.ack_until_ms)
        self._mend_clock()
        began = self._raised() or self._expired()
        if self.incident.state is IncidentState.ACKNOWLEDGED:
            return self._rest(self.incident.ack_until_ms)
        if not began and not self._next_round():
            return None
        return self._steps()

    def _rest(self, until_ms: int | None = None) -> None:
        """Have nothing due before `until_ms`; what has passed waits for news."""
        due_ms = until_ms if until_ms is not None and until_ms > self.now_ms else None
        self._climb(due_ms=due_ms)

    def _mend_clock(self) -> None:
        """Where the clock went back, wait no longer than the ladder would from now on."""
        climb = self.incident.climb
        if climb.began_ms > self.now_ms:
            self._climb(began_ms=self.now_ms)
        if climb.as_was is None:
            return
        latest_ms = self.now_ms + _longest_ms(climb.as_was)
        if climb.due_ms is not None and climb.due_ms > latest_ms:
            self._climb(due_ms=latest_ms)
        ends_ms = self.now_ms + round(climb.as_was.ack_s * 1000)
        if (self.incident.ack_until_ms or 0) > ends_ms:
            self.incident = replace(self.incident, ack_until_ms=ends_ms)

    def _raised(self) -> bool:
        """Begin a new climb where the incident became graver than what it climbs for."""
        climb, incident = self.incident.climb, self.incident
        if climb.round == 0 or incident.severity.rank <= climb.severity.rank:
            return False
        self._say("escalated", f"now {incident.severity}, it was {climb.severity}: told again")
        self._reopen()
        return self._begin(NoticeKind.ESCALATED, is_new=True)

    def _expired(self) -> bool:
        """Begin a new climb where an acknowledgement ran out."""
        until_ms, by = self.incident.ack_until_ms, self.incident.ack_by
        if self.incident.state is not IncidentState.ACKNOWLEDGED:
            return False
        if until_ms is None or until_ms > self.now_ms:
            return False
        self._say("ack_expired", f"the acknowledgement by {by} ran out, and it is still open")
        self._reopen()
        return self._begin(NoticeKind.ACK_EXPIRED, is_new=True)

    def _next_round(self) -> bool:
        """Return True where steps of a round may be due; begin the first or the next one."""
        climb = self.incident.climb
        if climb.round == 0:
            return self._begin(NoticeKind.OPENED, is_new=True)
        if climb.as_was is None or not climb.ladder:
            self._rest()
            return False
        if climb.step < len(climb.as_was.steps):
            return True
        at_ms = _repeat_ms(climb, climb.as_was)
        if at_ms is None:
            self._rest()
            return False
        if self.now_ms < (climb.due_ms if climb.due_ms is not None else at_ms):
            return False
        return self._begin(NoticeKind.REPEATED, is_new=False)

    # -------------------------------------------------------------------------------- rounds

    def _begin(self, kind: NoticeKind, *, is_new: bool) -> bool:
        """Begin a round by the ladder as it is now; False where there is none to climb."""
        before = self.incident.climb
        ladder = self._ladder()
        if ladder is None:
            self._climb(due_ms=None)
            return False
        if self.incident.severity.rank < ladder.least.rank:
            self._climb(ladder=ladder.ladder, due_ms=None)
            return False
        self._climb(
            ladder=ladder.ladder,
            version=self.book.ladder_versions.get(ladder.ladder, 0),
            as_was=ladder,
            round=before.round + 1,
            first_round=before.round + 1 if is_new else before.first_round,
            kind=kind,
            severity=self.incident.severity,
            began_ms=self.now_ms,
            step=0,
            due_ms=self.now_ms,
        )
        return True

    def _ladder(self) -> Ladder | None:
        """Return what to climb: as written now, as it was, or the administrators."""
        climb = self.incident.climb
        rule = self.book.rules.get(self.incident.rule)
        name = rule.ladder if rule is not None else climb.ladder
        if not name:
            if climb.round:
                self._say("ladder", "its rule names no ladder any more: nobody is told again")
            self._climb(ladder="")
            return None
        found = self.book.ladders.get(name)
        if found is not None:
            return found
        if climb.as_was is not None and climb.ladder == name:
            self._say("ladder", f"ladder {name} was removed: climbed on as it was")
            return climb.as_was
        self._say("ladder", f"there is no ladder {name}: the administrators are told")
        return Ladder(ladder=name, steps=[LadderStep(tell=_admins(self.book))])

    # --------------------------------------------------------------------------------- steps

    def _steps(self) -> None:
        """Take every step that is due; one that reaches nobody has the next taken at once."""
        ladder = self.incident.climb.as_was
        if ladder is None:
            return
        is_due_now = not ladder.steps
        while (number := self.incident.climb.step) < len(ladder.steps):
            due_ms = self._step_ms(ladder, number)
            if due_ms > self.now_ms and not is_due_now:
                self._climb(due_ms=due_ms)
                return
            has_reached = self._tell(
                ladder.steps[number].tell, number + 1, min(due_ms, self.now_ms)
            )
            if ladder.steps[number].ask_clip:
                self._ask_clip()
            is_due_now = not has_reached
            self._climb(step=number + 1)
        if is_due_now:
            self._nobody(len(ladder.steps) + 1)
        self._ended(ladder)

    def _ask_clip(self) -> None:
        seen = self.incident.seen
        if seen is not None and seen.evidence:
            self.asks.append(Ask(incident=self.incident.incident, seen=seen))

    def _step_ms(self, ladder: Ladder, number: int) -> int:
        return self.incident.climb.began_ms + round(ladder.steps[number].after_s * 1000)

    def _ended(self, ladder: Ladder) -> None:
        """Know when the next round begins, or say that there is none."""
        at_ms = _repeat_ms(self.incident.climb, ladder)
        if at_ms is None:
            self._say("ladder", "the last step was taken: nobody is told again by itself")
            self._climb(due_ms=None)
            return
        self._climb(due_ms=max(at_ms, self.now_ms + round(MIN_REPEAT_S * 1000)))

    def _tell(self, tell: Iterable[str], number: int, due_ms: int) -> bool:
        """Tell whoever a step reaches; False where that is nobody."""
        found = reaching.resolve(
            tell, self.incident.severity, self.book, self.overrides, self.now_ms
        )
        for why in found.missed:
            self._say("unreached", f"step {number}: {why}")
        self._notify_all(found.targets, number, due_ms)
        if not found.targets:
            self._say("unreached", f"step {number} reached nobody: the next one is taken at once")
        return bool(found.targets)

    def _nobody(self, number: int) -> None:
        """Tell the administrators where the last steps reached nobody."""
        found = reaching.resolve(
            _admins(self.book), self.incident.severity, self.book, self.overrides, self.now_ms
        )
        self._notify_all(found.targets, number, self.now_ms)
        if not found.targets:
            self._say("unreached", "no administrator has a contact that carries: nobody was told")

    def _notify_all(self, targets: Iterable[Target], number: int, due_ms: int) -> None:
        for target in targets:
            where = (target.channel, target.address)
            if where not in self._reached:
                self._reached.add(where)
                self._notify(target, number, due_ms)

    def _notify(self, target: Target, number: int, due_ms: int) -> None:
        climb = self.incident.climb
        self.notices.append(
            Notice(
                key=key_of(self.incident, f"{climb.round}:{number}:{climb.kind}", target),
                kind=climb.kind,
                channel=target.channel,
                address=target.address,
                person=target.person,
                due_ms=due_ms,
                incident=self.incident,
                round=climb.round,
                step=number,
                **seeing.proof(self.incident),
            )
        )
        whom = f"{target.person} by {target.channel}" if target.person else target.channel
        self._say("told", f"round {climb.round}, step {number}: {whom}")
        if target not in climb.told and len(climb.told) < MAX_TOLD:
            self._climb(told=[*climb.told, target])

    # ------------------------------------------------------------------------------- writing

    def _reopen(self) -> None:
        self.incident = _unacknowledged(self.incident)

    def _climb(self, **changes: object) -> None:
        self.incident = replace(self.incident, climb=replace(self.incident.climb, **changes))

    def _say(self, kind: str, text: str) -> None:
        self.history.append(_line(self.incident, kind, text, self.now_ms))


# ------------------------------------------------------------------------ acknowledged, resolved


def acknowledged(
    incident: Incident,
    ladder: Ladder | None,
    by: str,
    now_ms: int,
    note: str = "",
    *,
    how: str = "",
) -> Climbed:
    """Have somebody on it: nobody is told any further while it holds, and who was told hears it.

    Args:
        incident: Open or acknowledged already; the later acknowledgement stands.
        ladder: In force now; None: as it was when the round began.
        by: Who takes it on.
        now_ms: By central's clock.
        note: In their words.
        how: By what, where that is worth a word on the timeline.
    """
    rules = incident.climb.as_was or ladder
    until_ms = now_ms + round(rules.ack_s * 1000) if rules and rules.ack_s > 0 else None
    taken = replace(
        incident,
        state=IncidentState.ACKNOWLEDGED,
        ack_by=by,
        ack_ms=now_ms,
        ack_until_ms=until_ms,
        ack_note=note,
        changed_ms=now_ms,
        climb=replace(incident.climb, due_ms=until_ms),
    )
    tells = rules is not None and rules.tell_acknowledged and not is_quiet(incident)
    others = [target for target in incident.climb.told if target.person != by]
    notices = _word(taken, NoticeKind.ACKNOWLEDGED, others, now_ms) if tells else []
    said = f"{by} is on it{how}" + (f": {note}" if note else "")
    line = replace(_line(taken, "acknowledged", said, now_ms), actor=by)
    return Climbed(incident=taken, notices=notices, history=[line])


def unacknowledged(incident: Incident, by: str, now_ms: int) -> Climbed:
    """Have nobody on it any more: a new round begins with the next look."""
    if incident.state is not IncidentState.ACKNOWLEDGED:
        return Climbed(incident=incident)
    line = replace(_line(incident, "unacknowledged", f"{by} gave it back", now_ms), actor=by)
    given = replace(_unacknowledged(incident), changed_ms=now_ms)
    return Climbed(incident=again(given, now_ms), history=[line])


def again(incident: Incident, now_ms: int) -> Incident:
    """Return the incident so that its next look begins a new climb: given back, or opened again."""
    climb = incident.climb
    if climb.round == 0 or climb.as_was is None:
        return replace(incident, climb=replace(climb, due_ms=now_ms))
    return replace(
        incident,
        climb=replace(
            climb,
            first_round=climb.round + 1,
            step=len(climb.as_was.steps),
            due_ms=now_ms,
            began_ms=min(climb.began_ms, now_ms),
        ),
    )


def resolved(incident: Incident, ladder: Ladder | None, now_ms: int) -> Climbed:
    """Have it over: no step is taken any more, and who was told hears it.

    Args:
        incident: With `state` resolved, and when and why, as the planner says.
        ladder: In force now; None: as it was when the round began.
        now_ms: By central's clock.
    """
    rules = incident.climb.as_was or ladder
    over = replace(incident, climb=replace(incident.climb, due_ms=None))
    tells = rules is not None and rules.tell_resolved and not is_quiet(incident)
    told = incident.climb.told if tells else []
    notices = _word(over, NoticeKind.RESOLVED, told, now_ms)
    history = [_line(over, "told", f"told {len(told)} that it is over", now_ms)] if told else []
    return Climbed(incident=over, notices=notices, history=history)


def _word(
    incident: Incident, kind: NoticeKind, targets: Iterable[Target], now_ms: int
) -> list[Notice]:
    """Return notices to people who were told before; their key holds what they are about."""
    at_ms = incident.ack_ms if kind is NoticeKind.ACKNOWLEDGED else incident.resolved_ms
    return [
        Notice(
            key=key_of(incident, f"{incident.climb.round}:{kind}:{at_ms or now_ms}", target),
            kind=kind,
            channel=target.channel,
            address=target.address,
            person=target.person,
            due_ms=now_ms,
            incident=shown_incident(incident),
            **seeing.proof(incident),
        )
        for target in targets
    ]


# ---------------------------------------------------------------------------------- small words


def is_quiet(incident: Incident) -> bool:
    """True while nobody may be told of it."""
    return bool(incident.silenced or incident.inhibited or incident.late_only)


def key_of(incident: Incident, which: str, target: Target) -> str:
    """Return a notice's key; the address is in it as a digest, since keys are shown."""
    digest = hashlib.sha256(f"{target.channel}|{target.address}".encode()).hexdigest()
    return f"{incident.incident}:{which}:{digest[:16]}"


def shown_incident(incident: Incident) -> Incident:
    """Return the incident as a notice shows it: without whom else was told, and where."""
    climb = replace(incident.climb, told=[], as_was=None)
    return replace(incident, climb=climb)


def _repeat_ms(climb: Climb, ladder: Ladder) -> int | None:
    """Return when the next round may begin at the earliest; None: there is none."""
    if climb.round - climb.first_round + 1 >= ladder.rounds:
        return None
    if climb.round >= climb.first_round and ladder.repeat_s <= 0:
        return None
    last_s = ladder.steps[-1].after_s if ladder.steps else 0.0
    return climb.began_ms + round(max(ladder.repeat_s, last_s + MIN_REPEAT_S) * 1000)


def _longest_ms(ladder: Ladder) -> int:
    """Return the longest wait that the ladder has."""
    last_s = ladder.steps[-1].after_s if ladder.steps else 0.0
    return round(max(ladder.repeat_s, last_s + MIN_REPEAT_S, ladder.ack_s) * 1000)


def _unacknowledged(incident: Incident) -> Incident:
    return replace(
        incident,
        state=IncidentState.OPEN,
        ack_by="",
        ack_ms=None,
        ack_until_ms=None,
        ack_note="",
    )


def _admins(book: Book) -> list[str]:
    return [f"person:{name}" for name in book.reach.admins]


def _line(incident: Incident, kind: str, text: str, now_ms: int) -> History:
    return History(incident=incident.incident, at_ms=now_ms, kind=kind, text=text)
