"""One document of the book as text on a page, and back.

The rule: it is the same text as in the file of all rules, checked and kept by the same functions; a
page holds one document, so a text with others, or with another name, is refused.
"""

from typing import Final

from vedette.central.accounts import Session
from vedette.central.alerting import applying, documents, jobs, rules
from vedette.central.alerting.documents import Body, Kind
from vedette.central.alerting.facts import Book, Ladder, Rule, Schedule
from vedette.central.console.alerts.rules import Version
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.errors import ConfigError, ConflictError
from vedette.ids import is_slug

MAX_CHARS: Final = 20_000
RESERVED: Final = "new"
"""Where the page of a new one is."""

NEW: Final[dict[Kind, str]] = {
    "rule": """\
rules:
  - rule: lens-covered
    severity: critical
    todo: "Look at the camera: tape, a bag, a ladder before it?"
    health: {is: tampered, for_s: 30}
    ladder: ""
""",
    "ladder": """\
ladders:
  - ladder: shops
    steps:
      - tell: ["channel:NAME"]
      - {after_s: 600, tell: ["oncall:SCHEDULE"]}
    repeat_s: 3600
    rounds: 3
""",
    "schedule": """\
schedules:
  - schedule: nights
    time_zone: Europe/Oslo
    shifts:
      - {people: [anna, ben], start: "2026-03-02T09:00", turn_days: 7}
""",
}
"""What a new one begins with."""


def text_of(body: Rule | Ladder | Schedule) -> str:
    """Return a document as the file of all rules has it."""
    match body:
        case Rule():
            return applying.text_of(Book(rules={body.rule: body}))
        case Ladder():
            return applying.text_of(Book(ladders={body.ladder: body}))
        case Schedule():
            return applying.text_of(Book(schedules={body.schedule: body}))


def read(text: str, kind: Kind, name: str) -> Rule | Ladder | Schedule:
    """Return the one document that a page's text says; `name` empty: a new one.

    Raises:
        ConfigError: It cannot be, there are others in it, or it goes by another name.
    """
    text = text.replace("\r\n", "\n")
    if len(text) > MAX_CHARS:
        raise ConfigError(f"{len(text)} characters", operator_hint=f"at most {MAX_CHARS} of them")
    file = rules.load(text.encode(errors="replace"), name="the text")
    found: list[Rule | Ladder | Schedule] = [*file.rules, *file.ladders, *file.schedules]
    wanted = {"rule": Rule, "ladder": Ladder, "schedule": Schedule}[kind]
    if len(found) != 1 or file.contacts or not isinstance(found[0], wanted):
        raise ConfigError(
            f"this page keeps one {kind}", operator_hint="vedette central rules apply takes a file"
        )
    if name_of(found[0]) == RESERVED and not name:
        raise ConfigError(f"{RESERVED!r} is no name for one", operator_hint="give it another")
    if name and name_of(found[0]) != name:
        raise ConfigError(
            f"it calls itself {name_of(found[0])!r}, not {name!r}",
            operator_hint="to rename it, write a new one and remove this",
        )
    return found[0]


def name_of(body: Rule | Ladder | Schedule) -> str:
    """Return what a document is called."""
    match body:
        case Rule():
            return body.rule
        case Ladder():
            return body.ladder
        case Schedule():
            return body.schedule


async def keep(  # noqa: PLR0917 - whose text of what, over which version
    services: Services, session: Session, kind: Kind, name: str, text: str, version: str
) -> str:
    """Keep what a page's text says; return the name of the document.

    Raises:
        ConfigError: It cannot be.
        ConflictError: Somebody kept another version in between.
    """
    body = read(text, kind, name)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        await documents.hold(tx)
        present = await present_version(tx, kind, name_of(body))
        if version.isdecimal() and present != int(version):
            raise ConflictError(
                "somebody changed it in between", operator_hint="copy your text, then look again"
            )
        if not version and present:
            raise ConflictError(f"there is a {kind} {name_of(body)} already")
        await applying.look(tx, text.encode(), now_ms, name="the text")
        await documents.put(tx, kind, name_of(body), body, session.username, now_ms)
    wake(services)
    return name_of(body)


async def change(
    services: Services, session: Session, kind: Kind, name: str, body: Body | None
) -> None:
    """Keep another version of a document, or none any more."""
    async with services.db.transaction() as tx:
        await documents.put(tx, kind, name, body, session.username, services.now_ms())
    wake(services)


def wake(services: Services) -> None:
    """Have the engine and open pages look at the book again."""
    services.bulletin.publish(jobs.NOW, "ladders", "incidents")


async def present_version(tx: Tx, kind: Kind, name: str) -> int:
    """Return the version that stands; 0 where there is none."""
    rows = await documents.versions(tx, kind, name, limit=1) if is_slug(name) else []
    return rows[0].version if rows and rows[0].body is not None else 0


async def versions_of(tx: Tx, kind: Kind, name: str) -> list[Version]:
    """Return the last versions of a document, newest first."""
    return [
        Version(
            version=one.version,
            changed_by=one.changed_by,
            changed_ms=one.changed_ms,
            note=one.note,
            removed=one.body is None,
        )
        for one in await documents.versions(tx, kind, name, limit=10)
    ]
