"""Rules, ladders, schedules and contacts as they were written: every version, who, when, why.

Here: what stands now (`current`), changing one document, what each was before. Not here: files
(`applying`), what the words mean (`rules`).

The rule: a document is never changed, a newer version of it is written, with an entry in the audit
log in the same transaction; what was removed is a version without a body. All documents together
are one book with one number, and two people do not write in it at the same moment.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from vedette.central import audit
from vedette.central.alerting import people, rules
from vedette.central.alerting.facts import MAX_RULES, Book, Contact, Ladder, Rule, Schedule
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

Kind = Literal["rule", "ladder", "schedule", "contacts"]
Body = Rule | Ladder | Schedule | list[Contact]

KINDS: Final[tuple[Kind, ...]] = ("rule", "ladder", "schedule", "contacts")
_TYPES: Final[dict[str, object]] = {
    "rule": Rule,
    "ladder": Ladder,
    "schedule": Schedule,
    "contacts": list[Contact],
}
MAX_NOTE_CHARS: Final = 500


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one document; `body` None: it was removed then."""

    kind: str
    name: str
    version: int
    body: bytes | None
    changed_by: str
    changed_ms: int
    note: str = ""

    def read(self) -> Body | None:
        """Return what it says; None where it was removed, or is of a release yet to come."""
        return _decode(self.kind, self.body)


def _decode(kind: str, body: bytes | None) -> Body | None:
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=_TYPES[kind])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


async def current(tx: Tx) -> Book:
    """Return everything as it stands now, and who can be reached."""
    version = await tx.value("alert_book_version")
    found: dict[str, dict[str, Body]] = {kind: {} for kind in KINDS}
    versions: dict[str, int] = {}
    for row in await tx.all("alert_documents_now", Version):
        body = row.read()
        if body is not None:
            found[row.kind][row.name] = body
        if row.kind == "ladder":
            versions[row.name] = row.version
    return Book(
        version=version if isinstance(version, int) else 0,
        rules=found["rule"],  # type: ignore[arg-type]
        ladders=found["ladder"],  # type: ignore[arg-type]
        schedules=found["schedule"],  # type: ignore[arg-type]
        contacts=found["contacts"],  # type: ignore[arg-type]
        ladder_versions=versions,
        reach=await people.reach(tx),
    )


async def hold(tx: Tx) -> int:
    """Have nobody else write in the book until this transaction ends; return its number."""
    version = await tx.value("alert_book_hold")
    return version if isinstance(version, int) else 0


async def put(  # noqa: PLR0917 - what, and who says so, when and why
    tx: Tx, kind: Kind, name: str, body: Body | None, by: str, now_ms: int, note: str = ""
) -> int:
    """Have a document say this from now on (None: removed); return its version.

    One that says so already stays as it is, without another version.

    Raises:
        ConfigError: It cannot be, too many, or there is nothing to remove.
    """
    if len(note) > MAX_NOTE_CHARS or not note.replace("\n", " ").isprintable():
        raise ConfigError(f"a note has at most {MAX_NOTE_CHARS} printable characters")
    if body is not None:
        rules.check(kind, body, name)
        _check_name(body, name)
    await hold(tx)
    before = await tx.one("alert_document_now", Version, kind=kind, name=name)
    was = before.body if before else None
    encoded = None if body is None else msgspec.json.encode(body)
    if encoded is None and was is None:
        raise ConfigError(f"there is no {kind} {name[:64]!r}")
    if before is not None and encoded == was:
        return before.version
    if was is None and await tx.value("alert_documents_count", kind=kind) == MAX_RULES:
        raise ConfigError(f"at most {MAX_RULES} of a kind", operator_hint="remove one first")
    version = before.version + 1 if before else 1
    await tx.run(
        "alert_document_add",
        kind=kind,
        name=name,
        version=version,
        body=encoded,
        by=by,
        now_ms=now_ms,
        note=note,
    )
    await tx.run("alert_book_turn")
    detail: dict[str, object] = {"version": version, "note": note}
    if kind != "contacts":  # addresses of people do not belong into a log that is kept for good
        detail["body"] = None if encoded is None else msgspec.json.decode(encoded)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=by,
        action=f"alerts.{kind}.{'remove' if body is None else 'put'}",
        target=name,
        detail=detail,
    )
    return version


def _check_name(body: Body, name: str) -> None:
    named = {Rule: "rule", Ladder: "ladder", Schedule: "schedule"}.get(type(body))
    own = getattr(body, named) if named else name
    if own != name:
        raise ConfigError(
            f"it calls itself {own[:64]!r}, not {name[:64]!r}",
            operator_hint="to rename it, write it under the new name and remove the old one",
        )


async def now(tx: Tx, kind: Kind) -> Sequence[Version]:
    """Return the newest version of every document of a kind, those that were removed too."""
    return [row for row in await tx.all("alert_documents_now", Version) if row.kind == kind]


async def versions(
    tx: Tx, kind: Kind, name: str, *, below: int | None = None, limit: int = 100
) -> Sequence[Version]:
    """Return what a document said, newest first."""
    return await tx.all(
        "alert_document_versions",
        Version,
        kind=kind,
        name=name,
        below=below or 2**62,
        limit=limit,
    )
