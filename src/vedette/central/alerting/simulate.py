"""The whole course of a ladder before anybody needs it: who would be told, when, by which channel.

What lives here: climbing in thought, from one due time to the next. What does not: climbing itself
(`ladder`), silences and inhibition (an incident in thought is neither). Pure.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central.alerting import ladder
from vedette.central.alerting.facts import (
    Book,
    History,
    Incident,
    IncidentState,
    Ladder,
    Notice,
    Override,
    Rule,
    Severity,
    Subject,
)
from vedette.central.alerting.views import Followed, FollowStep

MAX_LOOKS: Final = 500
_TOLD: Final = frozenset({"told", "ladder"})


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What happens at one time: who is told and what the timeline would say."""

    at_ms: int
    round: int = 0
    notices: list[Notice] = []
    history: list[History] = []


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What a ladder comes to.

    Attributes:
        moments: In order; those at which nothing happens are left out.
        incident: As it is at the end.
        is_cut: It goes on after these; there were too many.
    """

    moments: list[Moment]
    incident: Incident
    is_cut: bool = False

    @property
    def notices(self) -> list[Notice]:
        """Everybody who would be told, in order."""
        return [notice for moment in self.moments for notice in moment.notices]


def incident_of(rule: str, severity: Severity, subject: Subject, at_ms: int) -> Incident:
    """Return an incident in thought, as it would be when it was just opened."""
    return Incident(
        incident="simulated",
        key=f"{rule}|{subject.site}",
        rule=rule,
        severity=severity,
        state=IncidentState.OPEN,
        title=rule,
        subject=subject,
        opened_ms=at_ms,
        changed_ms=at_ms,
        known_ms=at_ms,
    )


def follow(
    incident: Incident,
    book: Book,
    overrides: Sequence[Override],
    start_ms: int,
    ack_at_ms: int | None = None,
    *,
    by: str = "somebody",
    resolve_at_ms: int | None = None,
) -> Course:
    """Return the course from `start_ms` until nothing is due any more.

    Whoever is on call is looked up as of each moment, by the schedules and overrides of now.

    Args:
        incident: As it is at `start_ms`: in thought, or a real one that goes on.
        book: What would be climbed.
        overrides: Of all schedules.
        start_ms: From when.
        ack_at_ms: Somebody acknowledges then; None: nobody ever does.
        by: Who acknowledges.
        resolve_at_ms: It is over then; None: never.
    """
    moments: list[Moment] = []
    due_ms: int | None = start_ms
    ack_at_ms = None if ack_at_ms is None else max(ack_at_ms, start_ms)
    resolve_at_ms = None if resolve_at_ms is None else max(resolve_at_ms, start_ms)
    for _ in range(MAX_LOOKS):
        asked = [at_ms for at_ms in (due_ms, ack_at_ms, resolve_at_ms) if at_ms is not None]
        if not asked:
            return Course(moments=moments, incident=incident)
        at_ms = min(asked)
        if at_ms == resolve_at_ms:
            climbed = ladder.resolved(_over(incident, at_ms), None, at_ms)
            moments.append(_moment(climbed, at_ms))
            return Course(moments=moments, incident=climbed.incident)
        if at_ms == ack_at_ms and at_ms != due_ms:
            climbed, ack_at_ms = ladder.acknowledged(incident, None, by, at_ms), None
        else:
            climbed = ladder.climb(incident, book, overrides, at_ms)
        incident, due_ms = climbed.incident, climbed.incident.climb.due_ms
        if climbed.notices or climbed.history:
            moments.append(_moment(climbed, at_ms))
    return Course(moments=moments, incident=incident, is_cut=True)


def followed(course: Course, start_ms: int, ack_ms: int | None = None) -> Followed:
    """Return a course as people look at it; addresses are not in it."""
    steps: list[FollowStep] = []
    last = ""
    for moment in course.moments:
        for line in moment.history:
            if line.kind == "ladder":
                last = line.text
            if line.kind not in _TOLD:
                is_hole = line.kind == "unreached"
                steps.append(
                    FollowStep(
                        at_ms=moment.at_ms,
                        kind=line.kind,
                        round=moment.round,
                        tell="" if is_hole else line.text,
                        problem=line.text if is_hole else "",
                    )
                )
        steps += [_step(notice, moment.at_ms) for notice in moment.notices]
    end = "there is more of it than is shown" if course.is_cut else _end(course, last)
    return Followed(
        start_ms=start_ms, ack_ms=ack_ms, steps=steps, end=end, climb=course.incident.climb
    )


def in_thought(
    book: Book,
    overrides: Sequence[Override],
    of: Ladder,
    *,
    severity: Severity = Severity.WARNING,
    start_ms: int,
    ack_ms: int | None = None,
    by: str = "somebody",
    resolved_ms: int | None = None,
) -> Followed:
    """Return what a ladder would do for an incident of this severity, stored or only drafted."""
    rule = Rule(rule="in thought", severity=severity, ladder=of.ladder)
    with_it = replace(
        book,
        rules={**book.rules, rule.rule: rule},
        ladders={**book.ladders, of.ladder: of},
    )
    incident = incident_of(rule.rule, severity, Subject(), start_ms)
    course = follow(
        incident, with_it, overrides, start_ms, ack_ms, by=by, resolve_at_ms=resolved_ms
    )
    return followed(course, start_ms, ack_ms)


def _step(notice: Notice, at_ms: int) -> FollowStep:
    return FollowStep(
        at_ms=at_ms,
        kind=notice.kind,
        round=notice.incident.climb.round,
        tell=words_of(notice),
        channel=notice.channel,
    )


def _end(course: Course, last: str) -> str:
    incident = course.incident
    if incident.state is IncidentState.RESOLVED:
        return "it is over"
    if incident.state is IncidentState.ACKNOWLEDGED:
        return f"{incident.ack_by} is on it: nobody is told any further"
    if not course.notices:
        return last or "nobody is told: it stands in the console"
    return last


def words_of(notice: Notice) -> str:
    """Return whom a notice tells, in words."""
    return f"{notice.person} by {notice.channel}" if notice.person else notice.channel


def next_told(
    incident: Incident, book: Book, overrides: Sequence[Override], now_ms: int
) -> tuple[int, list[str]] | None:
    """Return when somebody is told next if nobody acts, and who; None: nobody will be."""
    due_ms: int | None = incident.climb.due_ms or now_ms
    for _ in range(MAX_LOOKS):
        if due_ms is None or incident.state is IncidentState.RESOLVED:
            return None
        climbed = ladder.climb(incident, book, overrides, max(due_ms, now_ms))
        if climbed.notices:
            return max(due_ms, now_ms), [words_of(notice) for notice in climbed.notices]
        incident, due_ms = climbed.incident, climbed.incident.climb.due_ms
    return None


def _moment(climbed: ladder.Climbed, at_ms: int) -> Moment:
    return Moment(
        at_ms=at_ms,
        round=climbed.incident.climb.round,
        notices=climbed.notices,
        history=climbed.history,
    )


def _over(incident: Incident, at_ms: int) -> Incident:
    return replace(incident, state=IncidentState.RESOLVED, resolved_ms=at_ms, changed_ms=at_ms)
