"""The audit log: filtered by its address, paged, exported, its chain followed.

Administrators of the whole fleet only: it speaks of every site. The rule: whoever takes a copy of
it stands in it.
"""

import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from vedette.central import audit
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.audit import Entry
from vedette.central.console.headers import PAGE_HEADERS
from vedette.central.console.page import page, see_other
from vedette.central.console.settings import asking, present_log
from vedette.central.console.settings.asking import Done
from vedette.central.console.settings.frame import done_url
from vedette.central.console.settings.present_log import LogQuery
from vedette.central.store.db import Database

A_PAGE: Final = 100
EXPORT_AT_ONCE: Final = 1000
MAX_EXPORT: Final = 200_000
CHECK_AGAIN_MS: Final = 10_000
AUDIT: Final = "/settings/audit"

From = Annotated[str, QueryParameter(name="from")]
To = Annotated[str, QueryParameter(name="to")]


@get(AUDIT, include_in_schema=False)
async def audit_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    who: FromQuery[str] = "",
    what: FromQuery[str] = "",
    target: FromQuery[str] = "",
    from_text: From = "",
    to_text: To = "",
    below: FromQuery[str] = "",
    done: Done = "",
) -> Response[str]:
    """Show the audit log, newest first, and how far its chain was followed."""
    asking.require_whole_admin(session)
    query = _query(who, what, target, from_text, to_text, below)
    async with services.db.transaction() as tx:
        entries = await audit.search(
            tx, query.filters(), below=query.below_number(), limit=A_PAGE + 1
        )
        checked = await audit.last_check(tx)
    frame = asking.frame_of(request, services, session, done=done)
    return page(
        present_log.audit_html(
            frame, query, entries[:A_PAGE], checked, has_more=len(entries) > A_PAGE
        )
    )


def _query(  # noqa: PLR0917 - the fields of one form
    who: str, what: str, target: str, from_text: str, to_text: str, below: str = ""
) -> LogQuery:
    return LogQuery(
        who=who.strip()[:128],
        what=what.strip()[:64],
        target=target.strip()[:200],
        from_text=from_text[:25],
        to_text=to_text[:25],
        below=below[:20],
    )


@post(f"{AUDIT}/check", include_in_schema=False, status_code=200)
async def check_chain(services: TheServices, session: TheSession) -> Response[str]:
    """Follow the chain from its beginning, unless that was done a moment ago."""
    asking.require_whole_admin(session)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        known = await audit.last_check(tx)
    if known is None or now_ms - known.whole_ms >= CHECK_AGAIN_MS:
        await audit.follow(services.db, now_ms, whole=True)
    return see_other(done_url(AUDIT, "chain"))


# --------------------------------------------------------------------------------------- export


@get(f"{AUDIT}/export/{{form:str}}", include_in_schema=False)
async def export(
    *,
    services: TheServices,
    session: TheSession,
    form: FromPath[str],
    who: FromQuery[str] = "",
    what: FromQuery[str] = "",
    target: FromQuery[str] = "",
    from_text: From = "",
    to_text: To = "",
) -> Stream:
    """Send what the filters leave as `audit.csv` or `audit.json`; that it was sent is recorded."""
    asking.require_whole_admin(session)
    if form not in {"audit.csv", "audit.json"}:
        raise NotThere(detail="the log is exported as audit.csv or audit.json")
    query = _query(who, what, target, from_text, to_text)
    async with services.db.transaction() as tx:
        await audit.write(
            tx,
            at_ms=services.now_ms(),
            actor=session.username,
            action="audit.export",
            target=form,
            detail={"filters": query.address()},
        )
    rows = entries_of(services.db, query.filters())
    is_csv = form == "audit.csv"
    return Stream(
        csv_lines(rows) if is_csv else json_lines(rows),
        media_type="text/csv; charset=utf-8" if is_csv else "application/json",
        headers=PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{form}"'},
    )


async def entries_of(db: Database, filters: audit.Filters) -> AsyncIterator[Entry]:
    """Yield entries, newest first, at most `MAX_EXPORT`; each page is its own transaction."""
    below: int | None = None
    for _ in range(MAX_EXPORT // EXPORT_AT_ONCE):
        async with db.transaction() as tx:
            entries = await audit.search(tx, filters, below=below, limit=EXPORT_AT_ONCE)
        for entry in entries:
            yield entry
        if len(entries) < EXPORT_AT_ONCE:
            return
        below = entries[-1].number


async def csv_lines(rows: AsyncIterator[Entry]) -> AsyncIterator[bytes]:
    """Yield a table; what a spreadsheet would take for a formula is made text."""
    yield b"number,at,actor,action,target,detail,hash\r\n"
    async for row in rows:
        line = io.StringIO()
        cells = [
            str(row.number),
            present_log.iso(row.at_ms),
            row.actor,
            row.action,
            row.target,
            row.detail.decode(),
            row.hash.hex(),
        ]
        csv.writer(line).writerow([_cell(cell) for cell in cells])
        yield line.getvalue().encode()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


async def json_lines(rows: AsyncIterator[Entry]) -> AsyncIterator[bytes]:
    """Yield one JSON array; with both hashes, so that whoever has it whole can follow the chain."""
    opening = b"[\n"
    async for row in rows:
        yield opening + msgspec.json.encode(
            {
                "number": row.number,
                "at_ms": row.at_ms,
                "actor": row.actor,
                "action": row.action,
                "target": row.target,
                "detail": msgspec.Raw(row.detail),
                "prev_hash": row.prev_hash.hex(),
                "hash": row.hash.hex(),
            }
        )
        opening = b",\n"
    yield b"[]\n" if opening == b"[\n" else b"\n]\n"


OWN: Final[list[Any]] = [audit_page, check_chain, export]
