"""What answers for rules: the list, one rule, its versions, the file of all.

The rule: looking and changing are what the operator API does, by the same functions and within the
same scope; what was typed is never lost, and whoever changed a rule meanwhile is named.
"""

import functools
from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from vedette.central.accounts import Session
from vedette.central.alerting import documents, looking, rules, starter
from vedette.central.alerting.documents import Version
from vedette.central.alerting.facts import Book, Rule
from vedette.central.alerting.views import RuleRow
from vedette.central.api import access, ruling
from vedette.central.api.access import AnyRequest, HTTPException, NotThere, TheServices, TheSession
from vedette.central.api.ruling import MAX_RULE_NOTE_CHARS, RulesText, RuleVersion, TryOut
from vedette.central.api.tagging import ChangedMeanwhile, tag_of
from vedette.central.console.alerts import rules as pages
from vedette.central.console.alerts import writing
from vedette.central.console.alerts.rules import DAYS, Edited, Start, Tried, rule_url
from vedette.central.console.doors import Form, sentence
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.console.page import Page, page, page_of, see_other
from vedette.central.rollups import DAY_MS
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, VedetteError
from vedette.ids import is_slug

RULE: Final = "/rules/{rule:str}"
_NEW: Final = writing.RESERVED
_VERSIONS: Final = 10
Refusal = (VedetteError, HTTPException)


def _operator(session: Session) -> None:
    access.require(session, "operator")


def _whole(session: Session) -> bool:
    """True where somebody sees the whole fleet: ladders and the file are theirs to look at."""
    return session.sites is None


def _said(error: VedetteError | HTTPException) -> str:
    if isinstance(error, VedetteError):
        return sentence(error)
    return error.detail[:1].upper() + error.detail[1:]


# ---------------------------------------------------------------------------------------- all


@get("/rules", include_in_schema=False)
async def rules_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rule: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show every rule that somebody may know of, those that hold now first."""
    made = page_of(request, services, session)
    return page(await _list(services, session, made, removed=rule, done=done))


async def _list(
    services: Services,
    session: Session,
    made: Page,
    *,
    removed: str = "",
    done: str = "",
    problem: str = "",
) -> str:
    _operator(session)
    start = None
    async with services.db.transaction() as tx:
        written = [
            (row, rule)
            for row in await documents.now(tx, "rule")
            if isinstance(rule := row.read(), Rule) and ruling.may(session, rule)
        ]
        rows = await looking.rule_rows(tx, written, _sites(session), made.now_ms)
        if not rows and _whole(session) and access.may(session, "admin"):
            start = _start(await documents.current(tx))
    return pages.list_html(
        rows,
        made,
        whole=_whole(session),
        start=start,
        removed=removed if done == "removed" and is_slug(removed) else "",
        done=done,
        problem=problem,
    )


def _sites(session: Session) -> list[str] | None:
    return None if session.sites is None else list(session.sites)


def _start(book: Book) -> Start:
    given = _given()
    return Start(
        rules=len(given),
        off=sum(not rule.enabled for rule in given),
        tells=[
            *(f"channel:{name}" for name in sorted(book.reach.channels or {})),
            *(f"oncall:{name}" for name in sorted(book.schedules)),
        ][:100],
    )


@functools.cache
def _given() -> tuple[Rule, ...]:
    """Return the rules to begin with."""
    return tuple(rules.load(starter.text().encode()).rules)


@post("/rules", include_in_schema=False, status_code=200)
async def start_rules(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Have the rules to begin with, where there is none yet."""
    access.require(session, "admin")
    access.require_whole(session)
    try:
        async with services.db.transaction() as tx:
            book = await documents.current(tx)
        if book.rules:
            raise ConfigError(
                "there are rules already", operator_hint="the file of all rules takes more"
            )
        text = starter.text(data.get("tell", "").strip()[:100])
        wanted = RulesText(text=text, book=book.version, apply=True, note="rules to begin with")
        await ruling.post_file.fn(services, session, wanted)
    except Refusal as error:
        made = msgspec.structs.replace(page_of(request, services, session), self_url="/rules")
        return page(await _list(services, session, made, problem=_said(error)), 422)
    return see_other("/rules?done=started")


# ---------------------------------------------------------------------------------------- one


@get(RULE, include_in_schema=False)
async def rule_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rule: FromPath[str],
    like: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Response[str]:
    """Show one rule with its versions; of one that was removed, what it said last."""
    _operator(session)
    made = page_of(request, services, session)
    if rule == _NEW:
        edited = await _begun(services, session, like)
        return page(pages.rule_html(edited, made, whole=_whole(session)))
    async with services.db.transaction() as tx:
        edited = await _edited(tx, session, rule, made.now_ms)
    return page(pages.rule_html(edited, made, whole=_whole(session), done=done))


async def _begun(services: Services, session: Session, like: str) -> Edited:
    """Return a new rule, like another one where one is named."""
    given = {rule.rule: rule for rule in _given()}
    found = given.get(like)
    if found is None and is_slug(like):
        async with services.db.transaction() as tx:
            rows = await documents.versions(tx, "rule", like, limit=1)
        body = rows[0].read() if rows else None
        found = body if isinstance(body, Rule) and ruling.may(session, body) else None
    text = writing.NEW["rule"] if found is None else writing.text_of(found)
    return Edited(text=text, likes=list(given))


async def _edited(tx: Tx, session: Session, name: str, now_ms: int) -> Edited:
    """Return a rule as its page shows it.

    Raises:
        NotThere: There never was one that they may know of.
    """
    found = await documents.versions(tx, "rule", name[:64].replace("\0", ""), limit=_VERSIONS + 1)
    stands = next((body for row in found[:2] if isinstance(body := row.read(), Rule)), None)
    if stands is None or not ruling.may(session, stands):
        raise NotThere(detail="there is no such rule")
    row, doubts = None, list[str]()
    if found[0].body is not None:
        row = await _row(tx, session, found[0], stands, now_ms)
        doubts = await _doubts(tx, session, stands, now_ms)
    return Edited(
        name=name,
        row=row,
        text=writing.text_of(stands),
        doubts=doubts,
        versions=_versions(ruling.told_versions(session, found)[:_VERSIONS], is_there=bool(row)),
    )


async def _row(tx: Tx, session: Session, version: Version, rule: Rule, now_ms: int) -> RuleRow:
    [row] = await looking.rule_rows(tx, [(version, rule)], _sites(session), now_ms)
    return row


async def _doubts(tx: Tx, session: Session, rule: Rule, now_ms: int) -> list[str]:
    try:
        return await ruling.checked(tx, rule, now_ms, session)
    except Refusal as error:
        return [_said(error)]


def _versions(found: Sequence[RuleVersion], *, is_there: bool) -> list[pages.Version]:
    return [
        pages.Version(
            version=one.version,
            changed_by=one.changed_by,
            changed_ms=one.changed_ms,
            note=one.note,
            removed=one.removed,
            changed=one.changed,
            may_return=one.rule is not None and (n > 0 or not is_there),
        )
        for n, one in enumerate(found)
    ]


@post(RULE, include_in_schema=False, status_code=200)
async def keep_rule(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rule: FromPath[str],
    data: Form,
) -> Response[str]:
    """Keep what was written of a rule, or say what it would have done."""
    _operator(session)
    name = "" if rule == _NEW else rule
    tried = None
    if name:  # of one that they may not know of, nothing is said but that
        async with services.db.transaction() as tx:
            await _edited(tx, session, name, services.now_ms())
    try:
        body = _read(data.get("text", ""), name)
        if data.get("do") != "try":
            await ruling.put_rule.fn(
                services=services,
                session=session,
                rule=body.rule,
                data=body,
                note=data.get("note", "").strip()[:MAX_RULE_NOTE_CHARS],
                **_over(data.get("version", "")),
            )
            return see_other(f"{rule_url(body.rule)}?done=kept")
        tried = await _try(services, session, body, data.get("days", ""))
    except Refusal as error:
        return await _again(request, services, session, name, data, error=error)
    return await _again(request, services, session, name, data, tried=tried)


def _read(text: str, name: str) -> Rule:
    body = writing.read(text, "rule", name)
    if not isinstance(body, Rule):
        raise ConfigError("this page keeps one rule")
    return body


def _over(version: str) -> dict[str, str | None]:
    """Return what a change is held against: the version that the form was filled in over."""
    if _number(version):
        return {"if_match": tag_of(_number(version)), "if_none_match": None}
    return {"if_match": None, "if_none_match": "*"}


async def _try(services: Services, session: Session, draft: Rule, days: str) -> Tried:
    now_ms = services.now_ms()
    from_ms = now_ms // DAY_MS * DAY_MS - (_days(days) - 1) * DAY_MS
    wanted = TryOut(draft=draft, from_ms=min(from_ms, now_ms - 1), to_ms=now_ms)
    return pages.tried_of(await ruling.test_rule.fn(services, session, draft.rule, wanted))


def _days(text: str) -> int:
    return int(text) if text in set(map(str, DAYS)) else 7


async def _again(
    request: AnyRequest,
    services: Services,
    session: Session,
    name: str,
    data: dict[str, str],
    *,
    error: VedetteError | HTTPException | None = None,
    tried: Tried | None = None,
) -> Response[str]:
    """Return the page with what was typed in its field."""
    made = page_of(request, services, session)
    made = msgspec.structs.replace(made, self_url=rule_url(name or _NEW))
    edited = Edited(text="", likes=[one.rule for one in _given()])
    if name:
        async with services.db.transaction() as tx:
            edited = await _edited(tx, session, name, made.now_ms)
    edited = msgspec.structs.replace(
        edited,
        text=data.get("text", ""),
        note=data.get("note", "")[:MAX_RULE_NOTE_CHARS],
        days=_days(data.get("days", "")),
        tried=tried,
    )
    problem = "" if error is None else _said(error)
    if isinstance(error, ChangedMeanwhile) and name:
        problem = pages.said_meanwhile(name, edited.versions)
    elif isinstance(error, (ChangedMeanwhile, NotThere)):
        problem = "There is a rule of that name already: give this one another."
    html = pages.rule_html(edited, made, whole=_whole(session), problem=problem)
    return page(html, 200 if error is None else 422)


@post(f"{RULE}/{{action:str}}", include_in_schema=False, status_code=200)
async def change_rule(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rule: FromPath[str],
    action: FromPath[str],
    data: Form,
) -> Response[str]:
    """Switch a rule on or off, have it say what it said before, or remove it."""
    _operator(session)
    if action not in {"on", "off", "back", "remove"}:
        raise NotThere(detail="there is no such action")
    async with services.db.transaction() as tx:
        edited = await _edited(tx, session, rule, services.now_ms())
    try:
        if action == "back":
            await _back(services, session, rule, data)
        elif action == "remove":
            over = _over(data.get("version", ""))["if_match"]
            await ruling.drop_rule.fn(services, session, rule, over)
            return see_other(f"/rules?done=removed&rule={rule}")
        else:
            switch = ruling.enable_rule if action == "on" else ruling.disable_rule
            await switch.fn(services, session, rule)
    except Refusal as error:
        form = {"text": edited.text}
        return await _again(request, services, session, rule, form, error=error)
    return see_other(f"{rule_url(rule)}?done={action}")


async def _back(services: Services, session: Session, rule: str, data: dict[str, str]) -> None:
    """Have a rule say again what it said.

    Raises:
        NotThere: There is no such version that they may know of.
    """
    number = _number(data.get("to", ""))
    async with services.db.transaction() as tx:
        rows = await documents.versions(tx, "rule", rule, below=number + 1, limit=1)
    body = rows[0].read() if rows and rows[0].version == number else None
    if not isinstance(body, Rule) or not ruling.may(session, body):
        raise NotThere(detail="there is no such version")
    await ruling.put_rule.fn(
        services=services,
        session=session,
        rule=rule,
        data=body,
        note=f"as version {number}",
        **_over(data.get("version", "")),
    )


# ------------------------------------------------------------------------------- the file of all


@get("/rules.yaml", include_in_schema=False)
async def rules_yaml(services: TheServices, session: TheSession) -> Response[str]:
    """Send all that stands as a file."""
    found = await ruling.read_file.fn(services, session)
    headers = SECURITY_HEADERS | {
        "Cache-Control": "no-store",
        "Content-Disposition": 'attachment; filename="rules.yaml"',
    }
    return Response(found.text, media_type="application/yaml; charset=utf-8", headers=headers)


@get("/rules-file", include_in_schema=False)
async def file_page(
    request: AnyRequest, services: TheServices, session: TheSession, done: FromQuery[str] = ""
) -> Response[str]:
    """Show all that stands as one text, to be changed as one."""
    found = await ruling.read_file.fn(services, session)
    made = page_of(request, services, session)
    return page(pages.file_html(found.text, made, book=found.book or 0, done=done))


@post("/rules-file", include_in_schema=False, status_code=200)
async def change_file(
    request: AnyRequest, services: TheServices, session: TheSession, data: Form
) -> Response[str]:
    """Say what a file would change, or have it so."""
    access.require(session, "admin")
    access.require_whole(session)
    made = page_of(request, services, session)
    text, number = data.get("text", "").replace("\r\n", "\n"), data.get("book", "")
    book, prune = _number(number), data.get("prune") == "yes"
    is_seen = data.get("looked") == pages.looked_at(text, prune=prune)
    is_wanted = data.get("do") == "apply" and is_seen
    try:
        wanted = RulesText(
            text=text,
            book=book if is_wanted else None,
            prune=prune,
            apply=is_wanted,
            note=data.get("note", "").strip()[:MAX_RULE_NOTE_CHARS],
        )
        outcome = await ruling.post_file.fn(services, session, wanted)
    except Refusal as error:
        said = _said(error)
        if isinstance(error, ChangedMeanwhile):
            said = "Somebody changed it in between. Your text is below: look what it would change."
        return page(pages.file_html(text, made, book=book, asked=data, problem=said), 422)
    if outcome.applied:
        return see_other("/rules-file?done=applied")
    return page(pages.file_html(text, made, book=outcome.book, asked=data, outcome=outcome))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 16 else 0


OWN: Final = [
    rules_page,
    start_rules,
    rules_yaml,
    file_page,
    change_file,
    rule_page,
    keep_rule,
    change_rule,
]
