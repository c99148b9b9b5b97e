"""From signals and time to incidents, and who is told. Pure: no clock, no database.

    1. signals are put to incidents (`joining`), what would explain others first
    2. what is over is resolved: all ended, no event for a while, flapping came to rest
    3. what is kept quiet is marked: a silence, a dark site or device above it
    4. what is left climbs its ladder (`ladder`): notices
    5. each incident says when it has to be looked at again

The rule: the same inputs give the same decision, and a decision that was taken once more after a
crash gives notices with the same keys.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from vedette.central.alerting import ladder, quiet
from vedette.central.alerting.facts import (
    Ask,
    Book,
    Decision,
    Health,
    Incident,
    IncidentState,
    Member,
    Notice,
    NoticeKind,
    Rule,
    Signal,
    Silence,
    Subject,
)
from vedette.central.alerting.joining import Desk, Draft, World
from vedette.central.alerting.ladder import Climbed

QUIET_MS: Final = 900_000
"""So long has what flapped to be well before it is over."""

GRACE_MS: Final = 60_000
"""What a dark site kept quiet is given so long to be well too, once the site is back."""

MENDING_MS: Final = 5_000
"""What is well for the moment tells nobody, and is looked at so much later: it may come back."""

_ABOVE: Final = (Health.SITE_DARK, Health.DEVICE_DARK)
_SUBJECTS_ASKED: Final = 50
"""Members whose silences' edges are looked for; more are of the same storm."""


def plan(  # noqa: PLR0917 - the facts of a decision, in the order of its steps
    signals: Sequence[Signal],
    open_incidents: Sequence[Incident],
    book: Book,
    silences: Sequence[Silence],
    world: World,
    now_ms: int,
) -> Decision:
    """Return what follows from `signals` at `now_ms`.

    Args:
        signals: In the order in which they were found.
        open_incidents: Those that the signals may belong to, those that are due, and every open
            one of a rule about dark sites and devices.
        book: Rules and ladders.
        silences: That are not over.
        world: Sites, overrides, what was before.
        now_ms: Central's steady time.
    """
    desk = Desk(open_incidents, book, silences, world, now_ms)
    for signal in sorted(signals, key=lambda one: _rank(book.rules.get(one.rule))):
        desk.take(signal)
    return _Settling(desk).decision()


def _rank(rule: Rule | None) -> int:
    """Return the place in the order: what explains others before them."""
    health = rule.health.is_ if rule and rule.health else None
    return _ABOVE.index(health) if health in _ABOVE else len(_ABOVE)


class Above(msgspec.Struct, frozen=True, kw_only=True):
    """Which open incident says that a site or device is dark."""

    sites: dict[str, str] = {}
    devices: dict[tuple[str, str], str] = {}

    def of(self, subject: Subject, health: Health) -> str:
        """Return the incident that explains trouble of this kind there; empty: none does."""
        if health is Health.SITE_DARK:
            return ""
        found = self.sites.get(subject.site, "")
        if not found and health is not Health.DEVICE_DARK:
            found = self.devices.get((subject.site, subject.device), "")
        return found


def above(drafts: Iterable[Draft], book: Book) -> Above:
    """Return what is dark by the incidents that are open."""
    found = Above(sites={}, devices={})
    for draft in drafts:
        rule = book.rules.get(draft.incident.rule)
        if rule is None or rule.health is None or not draft.is_open:
            continue
        for member in draft.wrong:
            if rule.health.is_ is Health.SITE_DARK:
                found.sites[member.subject.site] = draft.incident.incident
            elif rule.health.is_ is Health.DEVICE_DARK:
                place = (member.subject.site, member.subject.device)
                found.devices[place] = draft.incident.incident
    return found


class _Settling:
    """The second half of a decision: over, quiet, told, due."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.now_ms, self.book = desk, desk.now_ms, desk.book
        self.notices: list[Notice] = []
        self.asks: list[Ask] = []
        self.wake: list[str] = []
        self.wake_sites: set[str] = set()

    def decision(self) -> Decision:
        drafts = list(self.desk.drafts.values())
        for draft in drafts:
            if draft.is_open:
                self._mend_clock(draft)
                self._end_what_is_gone(draft)
            draft.set(members=list(draft.members.values()))
            if draft.is_open:
                self._resolve_what_is_over(draft)
        dark = above(drafts, self.book)
        for draft in drafts:
            if draft.is_open:
                self._quieten(draft, dark)
                self._climb(draft)
            self._note_late(draft)
            self._finish(draft)
        changed = [draft for draft in drafts if draft.incident != draft.before]
        return Decision(
            incidents=[draft.incident for draft in changed],
            notices=self.notices,
            asks=self.asks,
            history=[line for draft in drafts for line in draft.history],
            happened=self.desk.happened,
            held=self.desk.held,
            dropped=self.desk.dropped,
            wake=self.wake,
            wake_sites=sorted(self.wake_sites),
            hidden=self.desk.hidden,
        )

    # ----------------------------------------------------------------------------- over

    def _mend_clock(self, draft: Draft) -> None:
        """Have nothing wait for a moment that time, set back, will not come to soon."""
        for subject, member in draft.members.items():
            if member.last_ms > self.now_ms:
                draft.members[subject] = msgspec.structs.replace(member, last_ms=self.now_ms)
        if (draft.incident.quiet_until_ms or 0) > self.now_ms + GRACE_MS:
            draft.set(quiet_until_ms=self.now_ms + GRACE_MS)

    def _end_what_is_gone(self, draft: Draft) -> None:
        for member in draft.wrong if self.desk.world.gone else ():
            if member.subject.device in self.desk.world.gone:
                self.desk.end(draft, member.subject, self.now_ms, "the device was removed")

    def _resolve_what_is_over(self, draft: Draft) -> None:
        rule = self.book.rules.get(draft.incident.rule)
        if rule is None or not rule.enabled:
            self._resolve(draft, "its rule was removed or switched off")
            return
        over_ms = over_at_ms(draft, rule)
        if over_ms is not None and over_ms <= self.now_ms:
            quiet_for = "no further event" if rule.event else "all is well again"
            self._resolve(draft, quiet_for)

    def _resolve(self, draft: Draft, why: str) -> None:
        for subject, member in draft.members.items():
            if member.ended_ms is None:
                draft.members[subject] = msgspec.structs.replace(member, ended_ms=member.last_ms)
        draft.set(members=list(draft.members.values()))
        draft.tell(self.now_ms, "resolved", why)
        climbed = resolve(draft.incident, self.book, why, self.now_ms)
        draft.incident = climbed.incident
        self.notices += climbed.notices
        draft.history += climbed.history

    # ---------------------------------------------------------------------------- quiet

    def _quieten(self, draft: Draft, dark: Above) -> None:
        """Mark what keeps it quiet now; it is quiet only where all that is wrong in it is."""
        silence, inhibitor = self._silenced(draft), self._inhibited(draft, dark)
        was = draft.incident
        if silence != was.silenced:
            draft.tell(
                self.now_ms,
                "silenced" if silence else "unsilenced",
                f"by {silence}" if silence else "",
            )
        if inhibitor != was.inhibited:
            draft.tell(
                self.now_ms,
                "inhibited" if inhibitor else "uninhibited",
                f"by {inhibitor}" if inhibitor else "",
            )
            if was.inhibited and not inhibitor:
                draft.set(quiet_until_ms=self.now_ms + GRACE_MS)
        draft.set(silenced=silence, inhibited=inhibitor)

    def _silenced(self, draft: Draft) -> str:
        found = ""
        for member in _asked(draft):
            over = quiet.over(
                self.desk.silences, draft.incident.rule, member.subject,
                self.desk.world.places, self.now_ms,
            )  # fmt: skip
            if over is None:
                return ""
            found = found or over.silence
        return found

    def _inhibited(self, draft: Draft, dark: Above) -> str:
        rule = self.book.rules.get(draft.incident.rule)
        if rule is None or rule.health is None or not rule.inhibit:
            return ""
        found = ""
        for member in draft.wrong:
            by = dark.of(member.subject, rule.health.is_)
            if not by or by == draft.incident.incident:
                return ""
            found = found or by
        return found

    # ----------------------------------------------------------------------------- told

    def _climb(self, draft: Draft) -> None:
        incident = draft.incident
        if incident.silenced or incident.inhibited or incident.late_only:
            return
        if incident.quiet_until_ms is not None:
            if self.now_ms < incident.quiet_until_ms:
                return
            draft.set(quiet_until_ms=None)
        if not self._is_wrong_now(draft) and not draft.incident.reopened_ms:
            return  # well, and only held open: nobody new is told of it
        climbed = ladder.climb(draft.incident, self.book, self.desk.world.overrides, self.now_ms)
        draft.incident = climbed.incident
        self.notices += climbed.notices
        self.asks += climbed.asks
        draft.history += climbed.history
        wrong = len(draft.wrong)
        if climbed.notices:
            draft.set(told_members=max(wrong, draft.incident.told_members))
        elif self._is_health(draft) and wrong >= 2 * max(1, draft.incident.told_members):
            self._tell_growth(draft, wrong)

    def _is_wrong_now(self, draft: Draft) -> bool:
        """True where something in it is not well, not even for a moment."""
        mending, rule = self.desk.world.mending, draft.incident.rule
        return any((rule, one.subject) not in mending for one in draft.wrong)

    def _is_health(self, draft: Draft) -> bool:
        rule = self.book.rules.get(draft.incident.rule)
        return rule is not None and rule.health is not None

    def _tell_growth(self, draft: Draft, wrong: int) -> None:
        """Tell those who know of it that it is twice as much: so 500 sites are nine notices."""
        incident = draft.incident
        if not incident.climb.told:
            return
        draft.set(told_members=wrong)
        draft.tell(self.now_ms, "grew", f"{wrong} are wrong now")
        shown = ladder.shown_incident(draft.incident)
        self.notices += [
            Notice(
                key=ladder.key_of(incident, f"{incident.climb.round}:grew:{wrong}", target),
                kind=NoticeKind.GREW,
                channel=target.channel,
                address=target.address,
                person=target.person,
                due_ms=self.now_ms,
                incident=shown,
            )
            for target in incident.climb.told
        ]

    def _note_late(self, draft: Draft) -> None:
        if draft.late:
            many = "events" if draft.late > 1 else "event"
            draft.tell(self.now_ms, "late", f"{draft.late} {many} that had waited on the device")

    # ------------------------------------------------------------------------------ due

    def _finish(self, draft: Draft) -> None:
        """Put the next look into the incident; wake what it kept quiet."""
        draft.set(due_ms=self._due_ms(draft) if draft.is_open else None)
        if draft.incident != draft.before:
            draft.set(changed_ms=self.now_ms, version=draft.incident.version + 1)
            self._wake_below(draft)

    def _due_ms(self, draft: Draft) -> int | None:
        incident, rule = draft.incident, self.book.rules.get(draft.incident.rule)
        dues = [over_at_ms(draft, rule)] if rule else []
        dues.append(self._edge_ms(draft))
        if not incident.silenced and not incident.inhibited:
            held = incident.quiet_until_ms
            climbs_ms = incident.climb.due_ms if draft.wrong or incident.reopened_ms else None
            climbs = climbs_ms is not None or incident.climb.round == 0
            if climbs and draft.wrong and not self._is_wrong_now(draft):
                climbs_ms = max(climbs_ms or 0, self.now_ms + MENDING_MS)
            dues.append(held if held is not None else climbs_ms)
        return min((due for due in dues if due is not None), default=None)

    def _edge_ms(self, draft: Draft) -> int | None:
        edges = [
            quiet.next_ms(
                self.desk.silences, draft.incident.rule, member.subject,
                self.desk.world.places, self.now_ms,
            )
            for member in _asked(draft)
        ]  # fmt: skip
        return min((edge for edge in edges if edge is not None), default=None)

    def _wake_below(self, draft: Draft) -> None:
        rule = self.book.rules.get(draft.incident.rule)
        if rule is None or rule.health is None or rule.health.is_ not in _ABOVE:
            return
        was = {one.subject for one in draft.before.members if one.ended_ms is None} \
            if draft.before else set()  # fmt: skip
        now = {one.subject for one in draft.wrong} if draft.is_open else set()
        if was - now:
            self.wake.append(draft.incident.incident)
        self.wake_sites |= {subject.site for subject in now - was}


def resolve(incident: Incident, book: Book, why: str, now_ms: int) -> Climbed:
    """Return an incident that is over, and word to those who were told of it.

    A silence holds for that word too; a dark site above does not: they wait to hear of it.
    """
    over = msgspec.structs.replace(
        incident,
        state=IncidentState.RESOLVED,
        resolved_ms=now_ms,
        resolved_why=why,
        inhibited="",
        quiet_until_ms=None,
        due_ms=None,
    )
    rule = book.rules.get(incident.rule)
    climbed = ladder.resolved(over, book.ladders.get(rule.ladder) if rule else None, now_ms)
    well = msgspec.structs.replace(climbed.incident, silenced="")
    return msgspec.structs.replace(climbed, incident=well)


def _asked(draft: Draft) -> list[Member]:
    """Return the members by which it is silenced: what is wrong in it, or all once nothing is."""
    return (draft.wrong or list(draft.members.values()))[:_SUBJECTS_ASKED]


def over_at_ms(draft: Draft, rule: Rule) -> int | None:
    """Return when an incident is over if nothing more happens; None: while it is not well."""
    members = draft.members.values()
    last_ms = max((one.last_ms for one in members), default=draft.incident.opened_ms)
    reopened_ms = draft.incident.reopened_ms
    if reopened_ms is not None and last_ms <= reopened_ms:
        return None  # a person wanted it open, and nothing happened since
    rest_ms = QUIET_MS if draft.incident.flapping_ms is not None else 0
    if rule.event is not None:
        return last_ms + max(round(rule.resolve_s * 1000), rest_ms)
    return None if draft.wrong else last_ms + rest_ms
