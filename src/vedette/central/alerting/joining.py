"""Which incident a signal belongs to. Pure.

What lives here: keys and groups, de-duplication, storms, flapping, late news, planned work. What
does not: who is told and when it is over (`planner`).

    event            the open incident of its key, or a new one
    raised           the incident that it is in already · what began together · a new one
    cleared          ends it where it is; an incident ends when all in it did
    late             written down at the incident that was open then, or as one that is over

The rule: a thing that is wrong is in one open incident of its rule at most, so it is told once,
however often it is said.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from vedette.central.alerting import quiet, seeing, wording
from vedette.central.alerting.facts import (
    Book,
    Climb,
    Group,
    Happened,
    Health,
    Held,
    History,
    Incident,
    IncidentState,
    Member,
    Override,
    Rule,
    Signal,
    Silence,
    Subject,
    Turn,
)
from vedette.central.alerting.places import Places

MAX_EVENT_MEMBERS: Final = 200
MAX_MEMBERS: Final = 1_000
"""Of health; what comes then is the next incident."""

TOGETHER_MS: Final = 300_000
"""Sites that fell silent so shortly after each other did so for one reason."""

STORM: Final = 5
"""So many incidents of a health rule within `TOGETHER_MS` are a storm: the next join the last."""

FLAP_WINDOW_MS: Final = 1_800_000
FLAPS: Final = 3
"""So many returns of the same trouble within the window are flapping."""

SETTLE_MS: Final[dict[Health, int]] = {Health.SITE_DARK: 30_000, Health.DEVICE_DARK: 40_000}
"""Devices report every 30 s, so those that lost one line are missed one after the other."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What else a decision knows.

    Attributes:
        before: The newest incident of each key in question that is over.
        gone: Devices that were revoked or removed.
        mending: What is well again by rule and subject, though not for long enough to be over.
    """

    places: Places = Places()
    overrides: list[Override] = []
    before: dict[str, Incident] = {}
    gone: frozenset[str] = frozenset()
    mending: frozenset[tuple[str, Subject]] = frozenset()


def group_of(rule: Rule) -> Group | None:
    """Return what makes signals of a rule one incident; None: what each is about."""
    if rule.group is None and rule.event is not None:
        return Group.CAMERA
    return rule.group


def key_of(rule: Rule, subject: Subject) -> str:
    """Return the key of the incident that a rule makes of a subject."""
    parts = [subject.site, subject.device, subject.camera, subject.place, subject.what]
    group = group_of(rule)
    if group is not None:
        parts = parts[
            : (Group.RULE, Group.SITE, Group.DEVICE, Group.CAMERA, Group.PLACE).index(group)
        ]
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in (rule.rule, *parts))


def common(subjects: Iterable[Subject]) -> Subject:
    """Return what subjects have in common; a part that differs is empty, and all below it."""
    found = list(subjects)
    parts: dict[str, str] = {}
    for name in ("site", "device", "camera", "place", "what"):
        values = {getattr(subject, name) for subject in found}
        if len(values) != 1:
            break
        parts[name] = values.pop()
    return Subject(**parts)


class Draft:
    """An incident that is being worked on."""

    def __init__(self, incident: Incident, *, is_new: bool = False) -> None:
        self.before: Final = None if is_new else incident
        self.incident = incident
        self.members = {one.subject: one for one in incident.members}
        self.history: list[History] = []
        self.late = 0
        self.began_again = False

    @property
    def is_open(self) -> bool:
        """True until it is resolved."""
        return self.incident.state is not IncidentState.RESOLVED

    @property
    def wrong(self) -> list[Member]:
        """What is not over in it."""
        return [one for one in self.members.values() if one.ended_ms is None]

    @property
    def newest_ms(self) -> int:
        """When the last of it began."""
        return max((one.began_ms for one in self.members.values()), default=0)

    def set(self, **changes: object) -> None:
        """Have the incident with these fields changed."""
        self.incident = msgspec.structs.replace(self.incident, **changes)

    def tell(
        self,
        at_ms: int,
        kind: str,
        text: str = "",
        *,
        subject: Subject | None = None,
        event: str = "",
    ) -> None:
        """Add a line to its timeline."""
        line = History(
            incident=self.incident.incident,
            at_ms=at_ms,
            kind=kind,
            text=wording.plain(text, 500),
            subject=subject or Subject(),
            event=event,
        )
        self.history.append(line)


class Desk:
    """Where signals are put to incidents. Made for one decision."""

    def __init__(
        self,
        open_incidents: Sequence[Incident],
        book: Book,
        silences: Sequence[Silence],
        world: World,
        now_ms: int,
    ) -> None:
        self.book, self.silences, self.world, self.now_ms = book, silences, world, now_ms
        self.drafts: dict[str, Draft] = {}
        self.by_key: dict[str, Draft] = {}
        self.by_member: dict[tuple[str, Subject], Draft] = {}
        self.happened: list[Happened] = []
        self.held: list[Held] = []
        self.dropped: list[tuple[str, Subject]] = []
        self.hidden: dict[str, int] = {}
        for incident in open_incidents:
            self._put(Draft(incident))

    def _put(self, draft: Draft) -> None:
        self.drafts[draft.incident.incident] = draft
        if draft.is_open:
            self.by_key[draft.incident.key] = draft
            for subject in draft.members:
                self.by_member[draft.incident.rule, subject] = draft

    def take(self, signal: Signal) -> None:
        """Put one signal where it belongs."""
        if signal.turn is Turn.CLEARED:
            self._clear(signal)
            return
        rule = self.book.rules.get(signal.rule)
        if rule is None or not rule.enabled:
            return
        if signal.late:
            self._late(signal, rule)
        elif not self._is_planned(signal):
            (self._event if signal.turn is Turn.EVENT else self._raise)(signal, rule)

    # ------------------------------------------------------------------------ planned work

    def _is_planned(self, signal: Signal) -> bool:
        """True where planned work explains it: an event is over at once, trouble is held."""
        if (signal.rule, signal.subject) in self.by_member and signal.turn is Turn.RAISED:
            return False
        over = quiet.over(
            self.silences, signal.rule, signal.subject, self.world.places, self.now_ms,
            maintenance=True,
        )  # fmt: skip
        if over is None:
            if signal.turn is Turn.RAISED:
                self.dropped.append((signal.rule, signal.subject))
            return False
        self.hidden[over.silence] = self.hidden.get(over.silence, 0) + 1
        if signal.turn is Turn.RAISED:
            self.held.append(Held(signal=signal, silence=over.silence, until_ms=over.until_ms))
        return True

    # ------------------------------------------------------------------------------ events

    def _event(self, signal: Signal, rule: Rule) -> None:
        key = key_of(rule, signal.subject)
        draft = self.by_key.get(key) or self._open(key, signal, rule)
        self._count(draft, signal)
        self._record(draft, signal)
        self._retitle(draft, rule, signal)

    def _count(self, draft: Draft, signal: Signal) -> None:
        known = draft.members.get(signal.subject)
        if known is None:
            if len(draft.members) >= MAX_EVENT_MEMBERS:
                draft.set(more=draft.incident.more + 1)
                return
            draft.members[signal.subject] = _member(signal)
            return
        draft.members[signal.subject] = msgspec.structs.replace(
            known,
            last_ms=max(known.last_ms, signal.at_ms),
            count=known.count + 1,
            late=known.late + signal.late,
            value=signal.value,
            text=signal.text[:300] or known.text,
        )

    def _record(self, draft: Draft, signal: Signal) -> None:
        draft.set(count=draft.incident.count + 1)
        if signal.event:
            draft.set(seen=seeing.newer(draft.incident.seen, signal, self.world.places))
            self.happened.append(
                Happened(
                    incident=draft.incident.incident,
                    device=signal.subject.device,
                    event=signal.event,
                    at_ms=signal.at_ms,
                    late=signal.late,
                )
            )

    def _late(self, signal: Signal, rule: Rule) -> None:
        """Write late news down where it would have been; it opens nothing and wakes nobody."""
        key = key_of(rule, signal.subject)
        draft = self.by_key.get(key) or self._was(key, signal, rule)
        if draft is None:
            draft = self._open(key, signal, rule, late=True)
        self._count(draft, signal)
        self._record(draft, signal)
        draft.late += 1

    def _was(self, key: str, signal: Signal, rule: Rule) -> Draft | None:
        """Return the incident that is over to which late news belongs; None: there is none."""
        found = self.world.before.get(key)
        if found is None:
            return None
        near_ms = round(rule.resolve_s * 1000)
        last_ms = max((one.last_ms for one in found.members), default=found.opened_ms)
        draft = self.drafts.get(found.incident)
        if draft is not None:
            last_ms = max((one.last_ms for one in draft.members.values()), default=last_ms)
        if not found.opened_ms - near_ms <= signal.at_ms <= last_ms + near_ms:
            return None
        if draft is None:
            draft = Draft(found)
            self.drafts[found.incident] = draft
        return draft

    # ------------------------------------------------------------------------------ health

    def _raise(self, signal: Signal, rule: Rule) -> None:
        draft = self.by_member.get((rule.rule, signal.subject))
        if draft is not None:
            self._again(draft, signal)
        else:
            key = key_of(rule, signal.subject)
            draft = self._free(key) or self._together(rule, signal)
            if draft is None:
                draft = self._open(self._unused(key), signal, rule)
            else:
                draft.tell(signal.at_ms, "joined", signal.text, subject=signal.subject)
            draft.members[signal.subject] = _member(signal)
            self.by_member[rule.rule, signal.subject] = draft
            draft.set(count=draft.incident.count + 1)
        self._record_health(draft, signal)
        self._retitle(draft, rule, signal)

    def _record_health(self, draft: Draft, signal: Signal) -> None:
        if signal.severity.rank > draft.incident.severity.rank:
            draft.set(severity=signal.severity)

    def _again(self, draft: Draft, signal: Signal) -> None:
        """Have a member wrong again that was over, or only what is known of it newer."""
        known = draft.members[signal.subject]
        if known.ended_ms is None:
            draft.members[signal.subject] = msgspec.structs.replace(
                known, value=signal.value, text=signal.text[:300] or known.text
            )
            return
        draft.members[signal.subject] = msgspec.structs.replace(
            known,
            began_ms=signal.at_ms, last_ms=signal.at_ms, ended_ms=None, count=known.count + 1,
            value=signal.value, text=signal.text[:300],
        )  # fmt: skip
        draft.set(count=draft.incident.count + 1)
        draft.tell(signal.at_ms, "again", signal.text, subject=signal.subject)
        self._flap(draft)

    def _clear(self, signal: Signal) -> None:
        self.dropped.append((signal.rule, signal.subject))
        self.held = [
            held for held in self.held
            if (held.signal.rule, held.signal.subject) != (signal.rule, signal.subject)
        ]  # fmt: skip
        draft = self.by_member.get((signal.rule, signal.subject))
        if draft is not None:
            self.end(draft, signal.subject, signal.at_ms, signal.text)

    def end(self, draft: Draft, subject: Subject, at_ms: int, text: str) -> None:
        """Have a member over."""
        known = draft.members[subject]
        if known.ended_ms is not None:
            return
        ended_ms = max(at_ms, known.began_ms)
        draft.members[subject] = msgspec.structs.replace(known, ended_ms=ended_ms, last_ms=ended_ms)
        draft.tell(ended_ms, "ended", text, subject=subject)

    def _flap(self, draft: Draft, carried: Sequence[int] = ()) -> None:
        """Note that trouble came back; often enough within the window, it is held open."""
        since_ms = self.now_ms - FLAP_WINDOW_MS
        flaps = [at_ms for at_ms in (carried or draft.incident.flaps) if at_ms > since_ms]
        if not flaps or flaps[-1] != self.now_ms:
            flaps.append(self.now_ms)
        draft.set(flaps=flaps[-2 * FLAPS :])
        if len(flaps) >= FLAPS and draft.incident.flapping_ms is None:
            draft.set(flapping_ms=self.now_ms)
            text = f"came back {len(flaps)} times in {FLAP_WINDOW_MS // 60_000} minutes"
            draft.tell(self.now_ms, "flapping", text)

    # ---------------------------------------------------------------------------- opening

    def _free(self, key: str) -> Draft | None:
        """Return the open incident of a key that has room; None: there is none."""
        number, draft = 1, self.by_key.get(key)
        while draft is not None and len(draft.members) >= MAX_MEMBERS:
            number += 1
            draft = self.by_key.get(f"{key}#{number}")
        return draft

    def _unused(self, key: str) -> str:
        """Return the key, or where its incident is full the next one's."""
        number, free = 1, key
        while free in self.by_key:
            number += 1
            free = f"{key}#{number}"
        return free

    def _together(self, rule: Rule, signal: Signal) -> Draft | None:
        """Return the incident of what began at the same time for the same reason; None: none did.

        A whole provider that is down is one incident. Only where a rule names no group: who names
        one gets it.
        """
        if rule.group is not None or rule.health is None:
            return None
        recent = [
            draft
            for draft in self.drafts.values()
            if draft.is_open
            and draft.incident.rule == rule.rule
            and len(draft.members) < MAX_MEMBERS
            and draft.wrong
            and abs(signal.at_ms - draft.newest_ms) <= TOGETHER_MS
        ]
        needed = 1 if rule.health.is_ is Health.SITE_DARK else STORM
        return max(recent, key=lambda one: one.newest_ms) if len(recent) >= needed else None

    def _open(self, key: str, signal: Signal, rule: Rule, *, late: bool = False) -> Draft:
        settle_ms = SETTLE_MS.get(rule.health.is_, 0) if rule.health and rule.inhibit else 0
        incident = Incident(
            incident=_name(key, signal, self.now_ms, self.world.before.get(key)),
            key=key,
            rule=rule.rule,
            severity=signal.severity,
            state=IncidentState.RESOLVED if late else IncidentState.OPEN,
            title=rule.rule,
            todo=wording.plain(rule.todo, wording.MAX_TODO_CHARS),
            subject=signal.subject,
            opened_ms=signal.at_ms,
            changed_ms=self.now_ms,
            known_ms=self.now_ms,
            resolved_ms=self.now_ms if late else None,
            resolved_why="late: it was over before central knew" if late else "",
            climb=Climb(ladder=rule.ladder),
            late_only=late,
            quiet_until_ms=self.now_ms + settle_ms if settle_ms else None,
        )
        draft = Draft(incident, is_new=True)
        self._put(draft)
        draft.tell(signal.at_ms, "late" if late else "opened", signal.text, subject=signal.subject,
                   event=signal.event)  # fmt: skip
        before = self.world.before.get(key)
        resolved_ms = before.resolved_ms if before and not before.late_only and not late else None
        if before and resolved_ms and self.now_ms - resolved_ms < FLAP_WINDOW_MS:
            self._flap(draft, before.flaps)
        if late:
            draft.set(title=wording.title(rule, [_member(signal)], signal, 1, self.world.places))
            self.world.before[key] = draft.incident
        return draft

    def _retitle(self, draft: Draft, rule: Rule, signal: Signal) -> None:
        members, count = list(draft.members.values()), draft.incident.count
        draft.set(
            title=wording.title(rule, members, signal, count, self.world.places),
            subject=common(one.subject for one in members),
        )


def _member(signal: Signal) -> Member:
    return Member(
        subject=signal.subject,
        began_ms=signal.at_ms,
        last_ms=signal.at_ms,
        count=1,
        late=int(signal.late),
        value=signal.value,
        text=wording.plain(signal.text, 300),
    )


def _name(key: str, signal: Signal, now_ms: int, before: Incident | None) -> str:
    """Return the name of a new incident; the same decision made twice gives the same one."""
    said = f"{key}\n{signal.at_ms}\n{now_ms}\n{before.incident if before else ''}"
    return f"in-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
