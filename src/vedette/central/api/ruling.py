"""Rules of alerts through the operator API: reading, changing, switching, testing on history.

The rule: whoever sees the whole fleet may look at every rule and change it; a scoped operator knows
of rules that hold within their sites alone, and writes no others. The file, which has ladders and
people too, is for those who see the whole fleet.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from vedette.central.accounts import Session
from vedette.central.alerting import applying, documents, history, jobs, rules, silences
from vedette.central.alerting.applying import Outcome
from vedette.central.alerting.documents import Version
from vedette.central.alerting.facts import Book, Rule
from vedette.central.alerting.history import Hindsight
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, Forbidden, NotThere, TheServices, TheSession
from vedette.central.api.changing import Refused
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.tagging import (
    ChangedMeanwhile,
    IfMatch,
    IfNoneMatch,
    require_match,
    require_none,
    tag_of,
    tagged,
)
from vedette.central.rollups import DAY_MS
from vedette.central.services import Services
from vedette.central.store.db import Tx

RULE: Final = "/rules/{rule:str}"
MAX_DAYS: Final = 31
MAX_RULE_NOTE_CHARS: Final = 200
MAX_TRY_S: Final = 60.0
"""A look into history that takes longer is given up, its time in the queue included."""

_TRYING: Final = asyncio.Semaphore(1)
"""One look into history at a time: it reads much, and nobody waits for it but who asked."""

Note = Annotated[
    str,
    QueryParameter(
        description="Why; it stands in the history of versions", max_length=MAX_RULE_NOTE_CHARS
    ),
]


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule as it stands; `of` and `where` are what it is about in words."""

    rule: Rule
    of: str
    where: str
    version: int
    changed_by: str
    changed_ms: int
    note: str = ""


class RuleVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule said; null: it was removed then, or held where the asker sees nothing.

    Attributes:
        changed: What was other than before.
        removed: It was removed then.
    """

    version: int
    rule: Rule | None
    removed: bool = False
    changed_by: str
    changed_ms: int
    note: str
    changed: list[str]


class RuleWritten(msgspec.Struct, frozen=True, kw_only=True):
    """What stands now, and what is doubtful about it although it can be."""

    version: int
    doubts: list[str] = []


class TryOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window of history; null: the last seven days until now.

    Attributes:
        draft: Tried instead of the rule as it is stored.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    draft: Rule | None = None


class RulesText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file, as YAML.

    Attributes:
        book: The number of all that is written, as it is with this text; a change that shows it
            is refused where somebody wrote something else meanwhile. Null: whatever it is.
        prune: Remove what it does not name.
        apply: Have it so; else only say what it would change.
    """

    text: Annotated[str, msgspec.Meta(max_length=rules.MAX_FILE_BYTES)]
    book: int | None = None
    prune: bool = False
    apply: bool = False
    note: Annotated[str, msgspec.Meta(max_length=MAX_RULE_NOTE_CHARS)] = ""


def may(session: Session, rule: Rule) -> bool:
    """True where somebody may know of a rule, and change it."""
    return silences.may_make(rule.where, session.sites, session.folders)


def _clean(name: str) -> str:
    return name[:64].replace("\0", "")


async def _theirs(tx: Tx, session: Session, name: str) -> tuple[Version, Rule]:
    """Return a rule that the asker may know of.

    Raises:
        NotThere: There is none.
    """
    found = await documents.versions(tx, "rule", _clean(name), limit=1)
    rule = found[0].read() if found else None
    if not isinstance(rule, Rule) or not may(session, rule):
        raise NotThere(detail="there is no such rule")
    return found[0], rule


def _row(version: Version, rule: Rule) -> RuleRow:
    return RuleRow(
        rule=rule,
        of=rules.what_of(rule),
        where=rules.where_of(rule.where),
        version=version.version,
        changed_by=version.changed_by,
        changed_ms=version.changed_ms,
        note=version.note,
    )


@get("/rules", summary="Rules of alerts (operator)")
async def read_rules(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[RuleRow]]:
    """Return the rules by name, switched on or off."""
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        rows = await documents.now(tx, "rule")
    found = [
        _row(row, rule)
        for row in rows
        if isinstance(rule := row.read(), Rule) and may(session, rule)
    ]
    cursors = Cursors(services, "rules")
    page, further = cut(found, lambda one: (one.rule.rule,), cursors, cursor, limit)
    return paged(request, page, further)


@get(RULE, summary="One rule (operator)")
async def read_rule(
    request: AnyRequest, services: TheServices, session: TheSession, rule: FromPath[str]
) -> Response[RuleRow]:
    """Return it with its version, under the tag that a change is held against."""
    access.require(session, "operator")
    async with services.db.transaction() as tx:
        version, found = await _theirs(tx, session, rule)
    return tagged(request, _row(version, found), tag_of(version.version))


@get(f"{RULE}/versions", summary="What a rule said before, newest first (operator)")
async def read_versions(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rule: FromPath[str],
    cursor: Cursor = "",
    limit: Limit = 100,
) -> Response[list[RuleVersion]]:
    """Return who changed what of it, when and why."""
    access.require(session, "operator")
    cursors = Cursors(services, "rule-versions", rule)
    after = cursors.read(cursor, tuple[int])
    async with services.db.transaction() as tx:
        await _theirs(tx, session, rule)
        # One more to say where it goes on, and one to compare the last of the page with.
        rows = await documents.versions(
            tx, "rule", _clean(rule), below=after[0] if after else None, limit=limit + 1
        )
    page, further = cursors.ends(list(rows), lambda one: (one.version,), limit)
    return paged(request, told_versions(session, rows)[: len(page)], further)


def told_versions(session: Session, rows: Sequence[Version]) -> list[RuleVersion]:
    """Return what somebody may know of versions, newest first, each compared with the next."""
    said = [row.read() for row in rows]
    found = []
    for n, row in enumerate(rows):
        now, was = said[n], said[n + 1] if n + 1 < len(said) else None
        theirs = now if isinstance(now, Rule) and may(session, now) else None
        is_known = isinstance(was, Rule) and may(session, was) and theirs is not None
        found.append(
            RuleVersion(
                version=row.version,
                rule=theirs,
                removed=row.body is None,
                changed_by=row.changed_by,
                changed_ms=row.changed_ms,
                note=row.note,
                changed=applying.compared(was, theirs) if is_known and was and theirs else [],
            )
        )
    return found


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """What a change is held against; see `tagging`."""

    if_match: str | None = None
    if_none_match: str | None = None


async def _put(
    services: Services,
    session: Session,
    name: str,
    make: Callable[[Rule | None], Rule | None],
    *,
    over: Over,
    note: str = "",
) -> RuleWritten:
    """Write what `make` makes of a rule as it stands, held from reading to writing."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await documents.hold(tx)
        rows = await documents.versions(tx, "rule", _clean(name), limit=1)
        before = rows[0].read() if rows else None
        before = before if isinstance(before, Rule) else None
        theirs = before if before is not None and may(session, before) else None
        body = make(theirs)
        if body is not None and not may(session, body):
            raise Forbidden(
                detail="your rules hold within your sites: name some of them in `where`"
            )
        if theirs is None and (before is not None or body is None):
            raise NotThere(detail="there is no such rule")
        present = tag_of(rows[0].version) if before is not None else None
        require_match(over.if_match, present)
        require_none(over.if_none_match, present)
        doubts = [] if body is None else await checked(tx, body, now_ms, session)
        version = await documents.put(tx, "rule", name, body, session.username, now_ms, note)
    services.bulletin.publish(jobs.NOW, "rules")
    return RuleWritten(version=version, doubts=doubts)


async def checked(tx: Tx, rule: Rule, now_ms: int, session: Session) -> list[str]:
    """Return what is doubtful about a rule.

    Raises:
        ConfigError: It names what nobody has.
        Refused: Likewise, for somebody who sees a part of the fleet.
    """
    book = await documents.current(tx)
    names = await applying.known(tx, book)
    file = rules.RulesFile(rules=[rule])
    if session.sites is not None:  # names of the fleet are no business of theirs
        for path, (wrong, _) in applying.unknown(file, book, names):
            raise Refused(detail=f"{'.'.join(path[2:])}: {wrong}")
        return []
    applying.check(file, book, names, lambda path: ".".join(path[2:]))
    return applying.doubtful(file, _around(rule, book), names, now_ms)


def _around(rule: Rule, book: Book) -> Book:
    """Return as much of a book as what is doubtful about one rule depends on."""
    ladder = book.ladders.get(rule.ladder)
    told = {target for step in ladder.steps for target in step.tell} if ladder else set()
    return msgspec.structs.replace(
        book,
        rules={},
        ladders={ladder.ladder: ladder} if ladder else {},
        schedules={name: one for name, one in book.schedules.items() if f"oncall:{name}" in told},
    )


@put(RULE, summary="Have a rule say this (operator; within their sites)")
async def put_rule(
    *,
    services: TheServices,
    session: TheSession,
    rule: FromPath[str],
    data: JSONBody[Rule],
    note: Note = "",
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> RuleWritten:
    """Write a new version; it holds from the next second on."""
    access.require(session, "operator")
    over = Over(if_match=if_match, if_none_match=if_none_match)
    return await _put(services, session, rule, lambda _: data, over=over, note=note)


@delete(RULE, status_code=204, summary="Have no such rule (operator; within their sites)")
async def drop_rule(
    services: TheServices, session: TheSession, rule: FromPath[str], if_match: IfMatch = None
) -> None:
    """Remove it; its open incidents end, what it said is kept."""
    access.require(session, "operator")
    await _put(services, session, rule, lambda _: None, over=Over(if_match=if_match))


@post(f"{RULE}/enable", status_code=200, summary="Switch a rule on (operator)")
async def enable_rule(
    services: TheServices, session: TheSession, rule: FromPath[str], if_match: IfMatch = None
) -> RuleWritten:
    """Switch it on."""
    return await _switch(services, session, rule, if_match, on=True)


@post(f"{RULE}/disable", status_code=200, summary="Switch a rule off (operator)")
async def disable_rule(
    services: TheServices, session: TheSession, rule: FromPath[str], if_match: IfMatch = None
) -> RuleWritten:
    """Switch it off; what it holds to be wrong is over with that."""
    return await _switch(services, session, rule, if_match, on=False)


async def _switch(
    services: Services, session: Session, name: str, if_match: str | None, *, on: bool
) -> RuleWritten:
    access.require(session, "operator")

    def switched(rule: Rule | None) -> Rule | None:
        return None if rule is None else msgspec.structs.replace(rule, enabled=on)

    return await _put(services, session, name, switched, over=Over(if_match=if_match))


@post(f"{RULE}/test", status_code=200, summary="How often a rule would have fired (operator)")
async def test_rule(
    services: TheServices, session: TheSession, rule: FromPath[str], data: JSONBody[TryOut]
) -> Hindsight:
    """Try it, or a draft of it, on history: within the asker's sites. Nobody is told."""
    access.require(session, "operator")
    now_ms = services.now_ms()
    to_ms = now_ms if data.to_ms is None else data.to_ms
    from_ms = to_ms - 7 * DAY_MS if data.from_ms is None else data.from_ms
    if not 0 <= from_ms < to_ms <= now_ms + DAY_MS or to_ms - from_ms > MAX_DAYS * DAY_MS:
        raise Refused(detail=f"to_ms lies after from_ms, by {MAX_DAYS} days at most")
    wanted = data.draft
    if wanted is None:
        async with services.db.transaction() as tx:
            _, wanted = await _theirs(tx, session, rule)
    rules.check("rule", wanted)
    try:
        async with asyncio.timeout(MAX_TRY_S), _TRYING:
            return await history.try_out(
                services.db,
                wanted,
                from_ms=from_ms,
                to_ms=to_ms,
                now_ms=now_ms,
                scope=session.sites,
            )
    except TimeoutError as error:
        raise Refused(
            detail=f"history was not read within {MAX_TRY_S:g} s: ask for fewer days or places"
        ) from error


@get("/rules-file", summary="All that stands as a file (whole fleet)")
async def read_file(services: TheServices, session: TheSession) -> RulesText:
    """Return rules, ladders, schedules and contacts as YAML that `POST` takes."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        book = await documents.current(tx)
    return RulesText(text=applying.text_of(book), book=book.version)


@post("/rules-file", status_code=200, summary="Compare with a file, or apply it (whole fleet)")
async def post_file(
    services: TheServices, session: TheSession, data: JSONBody[RulesText]
) -> Outcome:
    """Say what a file would change; with `apply` have it so, all of it or nothing."""
    access.require(session, "admin")
    access.require_whole(session)
    now_ms = services.now_ms()
    file, line_of = await asyncio.to_thread(rules.load_lines, data.text.encode())
    async with services.db.transaction() as tx:
        version = await documents.hold(tx)
        if data.book not in {None, version}:
            raise ChangedMeanwhile(detail="it was changed since you read it: read it again")
        found = await applying.look_at(
            tx, file, now_ms, line_of=line_of, name="rules", prune=data.prune
        )
        if data.apply:
            found = await applying.apply(
                tx, file, found, by=session.username, now_ms=now_ms, note=data.note
            )
    if data.apply:
        services.bulletin.publish(jobs.NOW, "rules")
    return found


ROUTES: Final = [
    read_rules,
    read_rule,
    read_versions,
    put_rule,
    drop_rule,
    enable_rule,
    disable_rule,
    test_rule,
    read_file,
    post_file,
]
