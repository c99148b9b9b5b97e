"""What API, console and command line show of incidents, read from the database.

What lives here: from rows to `views`. What does not: who is asking; they give a scope. The rule: an
incident is seen by whoever sees one of its sites, and of it they see what concerns theirs: members,
lines, events and names of other sites are left out, and how many there are is said.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central import events
from vedette.central.alerting import ladder, simulate, store
from vedette.central.alerting.channels import looking as channels
from vedette.central.alerting.documents import Version
from vedette.central.alerting.facts import (
    Book,
    History,
    Incident,
    IncidentState,
    Override,
    Rule,
    Severity,
    Subject,
)
from vedette.central.alerting.views import (
    IncidentRow,
    IncidentView,
    RuleRow,
    Tally,
    TimelineRow,
)
from vedette.central.store.db import Tx
from vedette.central.views import EventRow

TIMELINE: Final = 100
EVENTS: Final = 50
DELIVERIES: Final = 50
LATELY_MS: Final = 7 * 86_400_000
MAX_COUNTED: Final = 50_000
"""Incidents of a week that are counted by rule, newest first."""

STATES: Final = ("", "unresolved", *map(str, IncidentState))
QUIET: Final = ("", "silenced", "inhibited", "no")
_LAST: Final = 2**62
_FOREVER_MS: Final = 2**53
Scope = list[str] | None

_incident = msgspec.json.Decoder(Incident).decode
_history = msgspec.json.Decoder(History).decode


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents; empty fields ask for all.

    Attributes:
        state: A state, or `unresolved`.
        quiet: `silenced`, `inhibited` or `no`: neither.
        late: With those that hold nothing but late news.
        from_ms, to_ms: When it began.
    """

    state: str = ""
    severity: str = ""
    site: str = ""
    device: str = ""
    rule: str = ""
    quiet: str = ""
    late: bool = True
    from_ms: int | None = None
    to_ms: int | None = None


async def page(
    tx: Tx,
    filters: Filters,
    scope: Scope,
    *,
    book: Book,
    now_ms: int,
    after: tuple[int, str] | None = None,
    limit: int,
) -> list[IncidentRow]:
    """Return incidents in scope, newest first; `after` is (opened, name) of the last one seen."""
    cursor_ms, cursor = after or (_LAST, "")
    rows = await tx.tuples(
        "incidents_page",
        scope=scope,
        state=_clean(filters.state),
        severity=_clean(filters.severity),
        site=_clean(filters.site),
        device=_clean(filters.device),
        rule=_clean(filters.rule),
        quiet=filters.quiet,
        with_late=filters.late,
        from_ms=_bounded(filters.from_ms, 0),
        to_ms=_bounded(filters.to_ms, _FOREVER_MS),
        cursor_ms=cursor_ms,
        cursor_incident=cursor,
        limit=limit,
    )
    overrides = await store.overrides(tx, now_ms)
    return [
        _row(_incident(body), str(name), int(sites), scope, book, overrides, now_ms)
        for body, name, sites in rows
    ]


async def one(
    tx: Tx,
    incident: str,
    scope: Scope,
    *,
    book: Book,
    now_ms: int,
    may_act: bool = False,
) -> IncidentView | None:
    """Return all about one incident; None where there is none in scope.

    `may_act`: whoever asks is an operator; then it says whether they may act on this one, and what
    was sent to whom.
    """
    rows = await tx.tuples("incident_look", incident=_clean(incident), scope=scope)
    if not rows:
        return None
    [(body, name, sites)] = rows
    whole = _incident(body)
    overrides = await store.overrides(tx, now_ms)
    rule = book.rules.get(whole.rule)
    return IncidentView(
        row=_row(whole, str(name), int(sites), scope, book, overrides, now_ms),
        ladder=whole.climb.as_was or (book.ladders.get(rule.ladder) if rule else None),
        timeline=await timeline(tx, incident, scope, limit=TIMELINE),
        deliveries=await _deliveries(tx, incident, scope) if may_act else [],
        events=await events_of(tx, incident, scope, limit=EVENTS),
        events_count=int(str(await tx.value("incident_events_count", incident=incident))),
        may_act=may_act and await acts_in(tx, incident, scope),
    )


async def _deliveries(tx: Tx, incident: str, scope: Scope) -> list[channels.DeliveryRow]:
    which = channels.After(incident=_clean(incident))
    return await channels.deliveries(tx, scope, which, DELIVERIES)


async def in_scope(tx: Tx, incident: str, scope: Scope) -> bool:
    """True where there is such an incident and the looker sees a site of it."""
    return bool(await tx.tuples("incident_look", incident=_clean(incident), scope=scope))


async def acts_in(tx: Tx, incident: str, scope: Scope) -> bool:
    """True where all sites of an incident are in scope: what one does concerns them all."""
    if scope is None:
        return True
    sites = {site for (site,) in await tx.tuples("incident_sites_of", incident=_clean(incident))}
    return bool(sites) and sites <= set(scope)


async def timeline(
    tx: Tx, incident: str, scope: Scope, *, below: int = _LAST, limit: int
) -> list[TimelineRow]:
    """Return what happened to an incident, newest first, below a line's number."""
    rows = await tx.tuples(
        "incident_history_page", incident=_clean(incident), scope=scope, below=below, limit=limit
    )
    return [TimelineRow(number=number, history=_history(body)) for number, body in rows]


async def events_of(
    tx: Tx, incident: str, scope: Scope, *, after: events.Key | None = None, limit: int
) -> list[EventRow]:
    """Return the events of an incident, newest first."""
    return await events.of_incident(tx, _clean(incident), after, limit, scope)


async def tally(tx: Tx, scope: Scope) -> Tally:
    """Return how many incidents that are not over are how."""
    opened = dict.fromkeys(Severity, 0)
    acknowledged = silenced = inhibited = 0
    for state, severity, is_silenced, is_inhibited, count in await tx.tuples(
        "incidents_tally", scope=scope
    ):
        silenced += count if is_silenced else 0
        inhibited += count if is_inhibited else 0
        if state == IncidentState.ACKNOWLEDGED:
            acknowledged += count
        elif not is_silenced and not is_inhibited:
            opened[Severity(severity)] += count
    return Tally(open=opened, acknowledged=acknowledged, silenced=silenced, inhibited=inhibited)


async def rule_rows(
    tx: Tx, written: Sequence[tuple[Version, Rule]], scope: Scope, now_ms: int
) -> list[RuleRow]:
    """Return rules with what came of them in the last week, as far as a looker sees it."""
    counted = {
        str(rule): (int(open_), int(begun), last_ms, bool(is_cut))
        for rule, open_, begun, last_ms, is_cut in await tx.tuples(
            "incidents_by_rule", scope=scope, since_ms=now_ms - LATELY_MS, limit=MAX_COUNTED
        )
    }
    rows: list[RuleRow] = []
    for version, rule in written:
        open_, begun, last_ms, is_cut = counted.get(rule.rule, (0, 0, None, False))
        rows.append(
            RuleRow(
                rule=rule,
                version=version.version,
                changed_by=version.changed_by,
                changed_ms=version.changed_ms,
                open=open_,
                fired_7d=begun,
                last_ms=last_ms,
                at_least=is_cut,
            )
        )
    return rows


# ------------------------------------------------------------------------------------ one row


def _row(  # noqa: PLR0917 - what a row is made from
    incident: Incident,
    site_name: str,
    sites: int,
    scope: Scope,
    book: Book,
    overrides: list[Override],
    now_ms: int,
) -> IncidentRow:
    next_ms, tell = next_of(incident, book, overrides, now_ms)
    return IncidentRow(
        incident=seen(incident, scope),
        site_name=site_name if scope is None or incident.subject.site in scope else "",
        sites=max(sites, 1),
        next_ms=next_ms,
        next_tell=tell,
    )


def seen(incident: Incident, scope: Scope) -> Incident:
    """Return as much of an incident as somebody with this scope may know."""
    shown = ladder.shown_incident(incident)
    if scope is None:
        return shown
    if shown.seen is not None and shown.seen.subject.site not in scope:
        shown = replace(shown, seen=None)
    theirs = [one for one in shown.members if one.subject.site in scope]
    others = len(shown.members) - len(theirs)
    if not others:
        return shown
    return replace(
        shown,
        key=shown.rule,
        title=f"{shown.rule}: {len(theirs)} of yours, {others} elsewhere",
        subject=theirs[0].subject if len(theirs) == 1 else Subject(),
        members=theirs,
        more=shown.more + others,
    )


def next_of(
    incident: Incident, book: Book, overrides: list[Override], now_ms: int
) -> tuple[int | None, list[str]]:
    """Return when somebody is told next if nobody does anything, and whom, in words."""
    if incident.state is IncidentState.RESOLVED or ladder.is_quiet(incident):
        return None, []
    from_ms = max(now_ms, incident.quiet_until_ms or 0)
    return simulate.next_told(incident, book, overrides, from_ms) or (None, [])


def _clean(text: str) -> str:
    return text.replace("\0", "")[:128]


def _bounded(value: int | None, default: int) -> int:
    return default if value is None else max(0, min(value, _FOREVER_MS))
