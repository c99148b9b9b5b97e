"""What answers for ladders and schedules: who is told, who is on call.

The rule: looking and changing take what the operator API takes, by the same functions.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting import applying, documents, handover, people, rota
from vedette.central.alerting.facts import Severity
from vedette.central.alerting.views import Followed
from vedette.central.api import access, escalating
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.escalating import Follow, NewNote, NewOverride
from vedette.central.console.alerts import forms, ladders, writing
from vedette.central.console.alerts.ladders import ladder_url, schedule_url
from vedette.central.console.doors import Form, sentence
from vedette.central.console.page import Page, page, page_of, see_other
from vedette.central.services import Services
from vedette.errors import ConfigError, ConflictError

LADDER: Final = "/ladders/{ladder:str}"
SCHEDULE: Final = "/oncall/{schedule:str}"
_NEW: Final = "new"
FollowFrom = Annotated[str, QueryParameter(name="from")]


def _whole(session: Session, least: str = "operator") -> None:
    access.require(session, least)
    access.require_whole(session)


# ------------------------------------------------------------------------------------- ladders


@get("/ladders", include_in_schema=False)
async def ladders_page(
    request: AnyRequest, services: TheServices, session: TheSession, done: FromQuery[str] = ""
) -> Response[str]:
    """Show every ladder."""
    _whole(session)
    async with services.db.transaction() as tx:
        rows = await rota.ladder_rows(tx, await documents.current(tx))
    return page(ladders.ladders_html(rows, page_of(request, services, session), done=done))


@get(LADDER, include_in_schema=False)
async def ladder_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    ladder: FromPath[str],
    begin: FollowFrom = "",
    severity: FromQuery[str] = "",
    ack: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one ladder, and whom it would reach."""
    made = page_of(request, services, session)
    _whole(session)
    if ladder == _NEW:
        return page(ladders.ladder_html(None, writing.NEW["ladder"], made))
    asked = {"from": begin[:32], "severity": severity[:16] or Severity.CRITICAL, "ack": ack[:16]}
    return page(await _ladder(services, session, made, ladder, asked=asked, done=done))


async def _ladder(
    services: Services,
    session: Session,
    made: Page,
    ladder: str,
    *,
    asked: dict[str, str] | None = None,
    text: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    asked = asked or {"severity": Severity.CRITICAL}
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        if ladder not in book.ladders:
            raise NotThere(detail="there is no such ladder")
        [row] = await rota.ladder_rows(tx, book, [ladder])
        versions = await writing.versions_of(tx, "ladder", ladder)
    followed = None
    try:
        followed = await _follow(services, session, ladder, asked)
    except ConfigError as error:
        problem = problem or sentence(error)
    return ladders.ladder_html(
        row,
        text or writing.text_of(row.ladder),
        made,
        followed=followed,
        asked=asked,
        versions=versions,
        done=done,
        problem=problem,
    )


async def _follow(
    services: Services, session: Session, ladder: str, asked: dict[str, str]
) -> Followed:
    begin = forms.moment(asked.get("from", ""))
    start_ms = services.now_ms() if begin is None else begin
    ack_ms = None
    if asked.get("ack"):
        ack_ms = start_ms + int(min(max(forms.number(asked["ack"], "minutes"), 0), 1e6) * 60_000)
    severity = asked.get("severity", "")
    wanted = Follow(
        severity=Severity(severity) if severity in set(Severity) else Severity.CRITICAL,
        at_ms=start_ms,
        ack_ms=ack_ms,
    )
    return await escalating.follow_ladder.fn(services, session, ladder, wanted)


@post(LADDER, include_in_schema=False, status_code=200)
async def keep_ladder(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    ladder: FromPath[str],
    data: Form,
) -> Response[str]:
    """Keep what was written of a ladder."""
    _whole(session)
    name, text = "" if ladder == _NEW else ladder, data.get("text", "")
    try:
        version = data.get("version", "")
        name = await writing.keep(services, session, "ladder", name, text, version)
    except (ConfigError, ConflictError) as error:
        made = page_of(request, services, session)
        if not name:
            return page(ladders.ladder_html(None, text, made, problem=sentence(error)), 422)
        html = await _ladder(services, session, made, name, text=text, problem=sentence(error))
        return page(html, 422)
    return see_other(f"{ladder_url(name)}?done=kept")


@post(f"{LADDER}/remove", include_in_schema=False, status_code=200)
async def remove_ladder(
    services: TheServices, session: TheSession, ladder: FromPath[str]
) -> Response[str]:
    """Have a ladder no more; rules that name it have the administrators told."""
    await escalating.drop_ladder.fn(services, session, ladder)
    return see_other("/ladders?done=removed")


# ----------------------------------------------------------------------------------- schedules


def _window(now_ms: int) -> tuple[int, int]:
    return now_ms, now_ms + rota.AHEAD_MS


@get("/oncall", include_in_schema=False)
async def oncall_page(
    request: AnyRequest, services: TheServices, session: TheSession, done: FromQuery[str] = ""
) -> Response[str]:
    """Show who is on call, now and in the weeks to come."""
    _whole(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        rows = await rota.schedule_rows(tx, await documents.current(tx), now_ms)
    made = page_of(request, services, session)
    return page(ladders.oncall_html(rows, made, _window(now_ms), done=done))


@get(SCHEDULE, include_in_schema=False)
async def schedule_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one schedule with its calendar, and who takes over."""
    made = page_of(request, services, session)
    _whole(session)
    if schedule == _NEW:
        window = _window(made.now_ms)
        return page(ladders.schedule_html(None, writing.NEW["schedule"], made, window))
    return page(await _schedule(services, made, schedule, done=done))


async def _schedule(
    services: Services,
    made: Page,
    schedule: str,
    *,
    asked: dict[str, str] | None = None,
    text: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
        if schedule not in book.schedules:
            raise NotThere(detail="there is no such schedule")
        [row] = await rota.schedule_rows(tx, book, now_ms, [schedule])
        versions = await writing.versions_of(tx, "schedule", schedule)
        overrides = await people.overrides(tx, now_ms, schedule)
        left = await handover.left_of(tx, schedule)
        told = await handover.said_of(tx, schedule)
        users = (await applying.known(tx, book)).users
    return ladders.schedule_html(
        row,
        text or writing.text_of(row.schedule),
        made,
        _window(now_ms),
        people=[(name, bool(book.contacts.get(name))) for name in sorted(users)],
        overrides=[
            (one.override, one.person, one.from_ms, one.to_ms, one.note) for one in overrides
        ],
        versions=versions,
        asked=asked,
        left=left,
        told=told,
        done=done,
        problem=problem,
    )


@post(SCHEDULE, include_in_schema=False, status_code=200)
async def keep_schedule(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    data: Form,
) -> Response[str]:
    """Keep what was written of a schedule."""
    _whole(session)
    name, text = "" if schedule == _NEW else schedule, data.get("text", "")
    try:
        version = data.get("version", "")
        name = await writing.keep(services, session, "schedule", name, text, version)
    except (ConfigError, ConflictError) as error:
        made, said = page_of(request, services, session), sentence(error)
        if not name:
            window = _window(made.now_ms)
            return page(ladders.schedule_html(None, text, made, window, problem=said), 422)
        return page(await _schedule(services, made, name, text=text, problem=said), 422)
    return see_other(f"{schedule_url(name)}?done=kept")


@post(f"{SCHEDULE}/remove", include_in_schema=False, status_code=200)
async def remove_schedule(
    services: TheServices, session: TheSession, schedule: FromPath[str]
) -> Response[str]:
    """Have a schedule no more."""
    await escalating.drop_schedule.fn(services, session, schedule)
    return see_other("/oncall?done=removed")


@post(f"{SCHEDULE}/hand-over", include_in_schema=False, status_code=200)
async def leave_note(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    data: Form,
) -> Response[str]:
    """Keep a note for whoever comes on call next."""
    _whole(session)
    try:
        note = NewNote(note=data.get("note", ""))
        await escalating.leave_note.fn(services, session, schedule, note)
    except ConfigError as error:
        made = msgspec.structs.replace(
            page_of(request, services, session), self_url=schedule_url(schedule)
        )
        html = await _schedule(services, made, schedule, problem=sentence(error))
        return page(html, 422)
    return see_other(f"{schedule_url(schedule)}?done=left")


@post(f"{SCHEDULE}/overrides", include_in_schema=False, status_code=200)
async def take_over(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    data: Form,
) -> Response[str]:
    """Have somebody take over for a while."""
    _whole(session)
    try:
        from_ms = forms.moment(data.get("from", ""))
        begin_ms = services.now_ms() if from_ms is None else from_ms
        wanted = NewOverride(
            person=data.get("person", "").strip()[:128],
            from_ms=from_ms,
            to_ms=begin_ms + forms.hours_ms(data.get("hours", "")),
            note=data.get("note", "").strip()[: people.MAX_NOTE_CHARS],
        )
        await escalating.add_override.fn(services, session, schedule, wanted)
    except ConfigError as error:
        made = msgspec.structs.replace(
            page_of(request, services, session), self_url=schedule_url(schedule)
        )
        html = await _schedule(services, made, schedule, asked=data, problem=sentence(error))
        return page(html, 422)
    return see_other(f"{schedule_url(schedule)}?done=over")


@post(f"{SCHEDULE}/overrides/{{override:str}}/end", include_in_schema=False, status_code=200)
async def end_override(
    services: TheServices,
    session: TheSession,
    schedule: FromPath[str],
    override: FromPath[str],
) -> Response[str]:
    """Have the schedule decide again."""
    await escalating.end_override.fn(services, session, schedule, override)
    return see_other(f"{schedule_url(schedule)}?done=ended")


OWN: Final = [
    ladders_page,
    ladder_page,
    keep_ladder,
    remove_ladder,
    oncall_page,
    schedule_page,
    keep_schedule,
    remove_schedule,
    leave_note,
    take_over,
    end_override,
]
