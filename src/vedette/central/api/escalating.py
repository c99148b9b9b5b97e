"""Who is told of incidents, through the operator API: ladders, schedules, who is on call.

How people are reached is `contacting`. The rule: ladders and schedules speak of the whole fleet, so
looking at them and changing them takes somebody who sees it whole; who is on call is for every
operator, by name and without any address.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting import (
    documents,
    doubts,
    handover,
    jobs,
    people,
    rota,
    rules,
    simulate,
)
from vedette.central.alerting.facts import (
    Book,
    Ladder,
    Override,
    Schedule,
    Severity,
)
from vedette.central.alerting.handing import Left
from vedette.central.alerting.rota import OnCall
from vedette.central.alerting.views import Duty, Followed, LadderRow, ScheduleRow
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.changing import Refused
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import IfMatch, require_match, tag_of, tagged
from vedette.central.services import Services
from vedette.central.store.db import Tx

LADDER: Final = "/ladders/{ladder:str}"
SCHEDULE: Final = "/schedules/{schedule:str}"
ON_CALL: Final = "/oncall/{schedule:str}"
MAX_CALENDAR_MS: Final = 92 * 86_400_000

Note = Annotated[
    str, QueryParameter(description="Why; it stands in the history of versions", max_length=200)
]


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What stands now, and what is doubtful about it although it can be."""

    version: int
    doubts: list[str] = []


class NewNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody leaves to whoever comes on call next; empty: nothing."""

    note: str = ""


class NewOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who shall be on call, from when to when; `from_ms` null: from now."""

    person: str
    to_ms: int
    from_ms: int | None = None
    note: Annotated[str, msgspec.Meta(max_length=people.MAX_NOTE_CHARS)] = ""


class Follow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An incident in thought; times null: now, nobody acknowledges, it is never over.

    Attributes:
        draft: Followed instead of the ladder as it is stored: what it would do once it is.
    """

    severity: Severity = Severity.WARNING
    at_ms: int | None = None
    ack_ms: int | None = None
    by: Annotated[str, msgspec.Meta(max_length=128)] = "somebody"
    resolved_ms: int | None = None
    draft: Ladder | None = None


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on call now, and from when to when who is, without a hole: nobody is a duty too."""

    now: OnCall
    duties: list[Duty]
    gaps: list[str]


def _whole(session: Session, role: str) -> None:
    access.require(session, role)
    access.require_whole(session)


def _require(of: Mapping[str, object], name: str) -> None:
    if name not in of:
        raise NotThere(detail="there is no such ladder or schedule")


async def _version(tx: Tx, kind: documents.Kind, name: str) -> int | None:
    rows = await documents.versions(tx, kind, name[:200].replace("\0", ""), limit=1)
    return rows[0].version if rows and rows[0].body is not None else None


async def _put(  # noqa: PLR0917 - what, of which kind, by whom, over which version
    services: Services,
    session: Session,
    kind: documents.Kind,
    name: str,
    body: documents.Body | None,
    if_match: str | None,
    note: str = "",
) -> tuple[int, Book]:
    """Write a document, hold it against what was read; return its version and the book after."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await documents.hold(tx)
        present = await _version(tx, kind, name)
        if body is None and present is None:
            raise NotThere(detail=f"there is no such {kind}")
        require_match(if_match, None if present is None else tag_of(present))
        version = await documents.put(tx, kind, name, body, session.username, now_ms, note)
        book = await documents.current(tx)
    services.bulletin.publish(jobs.NOW, "ladders")
    return version, book


# ------------------------------------------------------------------------------------- on call


@get("/oncall", summary="Who is on call now, in every schedule (operator)")
async def read_on_call(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[OnCall]]:
    """Return who is, until when, and who is next; nobody is said with until when."""
    access.require(session, "operator")
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        overrides = await people.overrides(tx, now_ms)
    cursors = Cursors(services, "oncall")
    names, further = cut(list(book.schedules), lambda name: (name,), cursors, cursor, limit)
    found = [rota.on_call(book.schedules[name], book, overrides, now_ms) for name in names]
    return paged(request, found, further)


@get(ON_CALL, summary="Who is on call in a schedule, from when to when (operator)")
async def read_calendar(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    from_ms: Annotated[int | None, QueryParameter(description="Null: now")] = None,
    to_ms: Annotated[int | None, QueryParameter(description="Null: four weeks later")] = None,
) -> Response[Calendar]:
    """Return a calendar of three months at most."""
    access.require(session, "operator")
    now_ms = services.now_ms()
    start_ms = now_ms if from_ms is None else from_ms
    end_ms = start_ms + rota.AHEAD_MS if to_ms is None else to_ms
    if not 0 <= start_ms < end_ms <= min(start_ms + MAX_CALENDAR_MS, people.LAST_MS):
        raise Refused(detail="to_ms lies after from_ms, by 92 days at most")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        overrides = await people.overrides(tx, min(start_ms, now_ms), schedule[:64])
    _require(book.schedules, schedule)
    of = book.schedules[schedule]
    found = Calendar(
        now=rota.on_call(of, book, overrides, now_ms),
        duties=rota.calendar(of, overrides, start_ms, end_ms),
        gaps=doubts.gap_words(of, overrides, start_ms, end_ms),
    )
    return tagged(request, found)


@get(f"{ON_CALL}/overrides", summary="Who takes over a schedule, now and later (whole fleet)")
async def read_overrides(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[Override]]:
    """Return overrides that are not over, by when they begin."""
    _whole(session, "operator")
    async with services.db.transaction() as tx:
        found = await people.overrides(tx, services.now_ms(), schedule[:64].replace("\0", ""))
    cursors = Cursors(services, "oncall-overrides", schedule)
    page = cut(found, lambda one: (one.from_ms, one.override), cursors, cursor, limit)
    return paged(request, *page)


@post(f"{ON_CALL}/overrides", status_code=201, summary="Have somebody take over (whole fleet)")
async def add_override(
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    data: JSONBody[NewOverride],
) -> Override:
    """Have a person on call instead of whoever would be; it ends by itself."""
    _whole(session, "operator")
    now_ms = services.now_ms()
    wanted = Override(
        override="",
        schedule=schedule,
        person=data.person,
        from_ms=now_ms if data.from_ms is None else data.from_ms,
        to_ms=data.to_ms,
        made_by=session.username,
        made_ms=now_ms,
        note=data.note,
    )
    async with services.db.transaction() as tx:
        made = await people.take_over(tx, await documents.current(tx), wanted)
    services.bulletin.publish(jobs.NOW, "ladders")
    return made


@put(f"{ON_CALL}/hand-over", summary="Leave a note to whoever comes on call (whole fleet)")
async def leave_note(
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    data: JSONBody[NewNote],
) -> Left:
    """Keep a note for whoever is on call next; told with the hand-over, once. Empty: none."""
    _whole(session, "operator")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        by, now_ms = session.username, services.now_ms()
        return await handover.leave(tx, book, schedule, data.note, by=by, now_ms=now_ms)


@delete(f"{ON_CALL}/overrides/{{override:str}}", status_code=204, summary="End it (whole fleet)")
async def end_override(
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    override: FromPath[str],
) -> None:
    """Have the schedule decide again, from now on."""
    _whole(session, "operator")
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        found = await people.overrides(tx, now_ms, schedule[:64].replace("\0", ""))
        if override not in {one.override for one in found}:
            raise NotThere(detail="there is no such override, or it is over")
        await people.give_back(tx, override, actor=session.username, now_ms=now_ms)
    services.bulletin.publish(jobs.NOW, "ladders")


# ------------------------------------------------------------------------------------- ladders


@get("/ladders", summary="Ladders: who is told, by what, after how long (whole fleet)")
async def read_ladders(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[LadderRow]]:
    """Return every ladder with the rules that climb it, and what is doubtful."""
    _whole(session, "operator")
    cursors = Cursors(services, "ladders")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        names, further = cut(list(book.ladders), lambda name: (name,), cursors, cursor, limit)
        rows = await rota.ladder_rows(tx, book, names)
    return paged(request, rows, further)


@get(LADDER, summary="One ladder (whole fleet)")
async def read_ladder(
    request: AnyRequest, services: TheServices, session: TheSession, ladder: FromPath[str]
) -> Response[LadderRow]:
    """Return it with its version, under the tag that a change is held against."""
    _whole(session, "operator")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        _require(book.ladders, ladder)
        [row] = await rota.ladder_rows(tx, book, [ladder])
    return tagged(request, row, tag_of(row.version))


@put(LADDER, summary="Have a ladder say this (operator of the whole fleet)")
async def put_ladder(
    *,
    services: TheServices,
    session: TheSession,
    ladder: FromPath[str],
    data: JSONBody[Ladder],
    note: Note = "",
    if_match: IfMatch = None,
) -> Written:
    """Write a new version. Incidents that climb it go on as it was until their next round."""
    _whole(session, "operator")
    version, book = await _put(services, session, "ladder", ladder, data, if_match, note)
    return Written(version=version, doubts=doubts.of_ladder(data, book))


@delete(LADDER, status_code=204, summary="Have no such ladder (operator of the whole fleet)")
async def drop_ladder(
    services: TheServices, session: TheSession, ladder: FromPath[str], if_match: IfMatch = None
) -> None:
    """Remove it; rules that name it have the administrators told until they name another."""
    _whole(session, "operator")
    await _put(services, session, "ladder", ladder, None, if_match)


@post(f"{LADDER}/follow", status_code=200, summary="What a ladder would do (whole fleet)")
async def follow_ladder(
    services: TheServices, session: TheSession, ladder: FromPath[str], data: JSONBody[Follow]
) -> Followed:
    """Return who would be told when, with whoever is on call at those times. Nobody is told."""
    _whole(session, "operator")
    start_ms = services.now_ms() if data.at_ms is None else data.at_ms
    for at_ms in (start_ms, data.ack_ms, data.resolved_ms):
        if at_ms is not None and not 0 <= at_ms <= people.LAST_MS:
            raise Refused(detail="a time is in ms since 1970, before the year 2096")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        overrides = await people.overrides(tx, start_ms)
    if data.draft is None:
        _require(book.ladders, ladder)
    else:
        rules.check("ladder", data.draft, ladder)
    return simulate.in_thought(
        book,
        overrides,
        data.draft or book.ladders[ladder],
        severity=data.severity,
        start_ms=start_ms,
        ack_ms=data.ack_ms,
        by=data.by,
        resolved_ms=data.resolved_ms,
    )


# ----------------------------------------------------------------------------------- schedules


@get("/schedules", summary="On-call schedules, with who is on call in four weeks (whole fleet)")
async def read_schedules(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Response[list[ScheduleRow]]:
    """Return every schedule, and the holes that it has."""
    _whole(session, "operator")
    cursors = Cursors(services, "schedules")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        names, further = cut(list(book.schedules), lambda name: (name,), cursors, cursor, limit)
        rows = await rota.schedule_rows(tx, book, services.now_ms(), names)
    return paged(request, rows, further)


@get(SCHEDULE, summary="One on-call schedule (whole fleet)")
async def read_schedule(
    request: AnyRequest, services: TheServices, session: TheSession, schedule: FromPath[str]
) -> Response[ScheduleRow]:
    """Return it with its version, under the tag that a change is held against."""
    _whole(session, "operator")
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        _require(book.schedules, schedule)
        [row] = await rota.schedule_rows(tx, book, services.now_ms(), [schedule])
    return tagged(request, row, tag_of(row.version))


@put(SCHEDULE, summary="Have a schedule say this (operator of the whole fleet)")
async def put_schedule(
    *,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    data: JSONBody[Schedule],
    note: Note = "",
    if_match: IfMatch = None,
) -> Written:
    """Write a new version, in force at once; the answer names the holes that it has."""
    _whole(session, "operator")
    version, book = await _put(services, session, "schedule", schedule, data, if_match, note)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        overrides = await people.overrides(tx, now_ms, schedule)
    return Written(version=version, doubts=doubts.of_schedule(data, book, overrides, now_ms))


@delete(SCHEDULE, status_code=204, summary="Have no such schedule (operator of the whole fleet)")
async def drop_schedule(
    services: TheServices, session: TheSession, schedule: FromPath[str], if_match: IfMatch = None
) -> None:
    """Remove it; steps that name it reach nobody by it, which the timeline says."""
    _whole(session, "operator")
    await _put(services, session, "schedule", schedule, None, if_match)


ROUTES: Final = [
    read_on_call,
    read_calendar,
    read_overrides,
    add_override,
    leave_note,
    end_override,
    read_ladders,
    read_ladder,
    put_ladder,
    drop_ladder,
    follow_ladder,
    read_schedules,
    read_schedule,
    put_schedule,
    drop_schedule,
]
