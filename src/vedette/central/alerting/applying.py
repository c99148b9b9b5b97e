"""A file against what stands: which names nobody knows, what would change, and having it so.

Here: checking against the database, the difference, applying it. Not here: what a file may say by
itself (`rules`), keeping versions (`documents`).

The rule: a file is applied as a whole or not at all; what it does not name stays as it is, unless
`prune` is asked for.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from vedette.central.alerting import documents, doubts, rules
from vedette.central.alerting.channels.facts import NO_NOTICES
from vedette.central.alerting.documents import Body, Kind
from vedette.central.alerting.facts import Book, Contact, Ladder, Rule, Schedule, Where
from vedette.central.alerting.rules import Path, RulesFile, Wrong
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

MAX_SAID: Final = 20
_LISTED: Final[dict[Kind, str]] = {
    "rule": "rules",
    "ladder": "ladders",
    "schedule": "schedules",
    "contacts": "contacts",
}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Names that a file may speak of; channels None: not looked up.

    Attributes:
        buckets: Channels that carry no notices.
    """

    channels: frozenset[str] | None = None
    buckets: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    without_hours: int = 0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one document; `lines` say what of it is other."""

    kind: Kind
    name: str
    what: Literal["new", "changed", "same", "removed", "kept"]
    lines: list[str] = []


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a file comes to; `doubts` hold nothing up, `book` is the number of what it is over."""

    changes: list[Change]
    book: int = 0
    doubts: list[str] = []
    applied: bool = False


async def known(tx: Tx, book: Book) -> Known:
    """Return the names that are known now."""
    found: dict[str, set[str]] = {}
    for what, name in await tx.tuples("alert_names"):
        found.setdefault(str(what), set()).add(str(name))
    folders = {
        "/".join(steps[:end])
        for folder in found.get("folder", set())
        for steps in [folder.split("/")]
        for end in range(1, len(steps) + 1)
    }
    channels = book.reach.channels
    return Known(
        channels=None if channels is None else frozenset(channels),
        buckets=frozenset(name for name, why in (channels or {}).items() if why == NO_NOTICES),
        users=frozenset(found.get("user", set())),
        groups=frozenset(found.get("group", set())),
        folders=frozenset(folders),
        sites=frozenset(found.get("site", set())),
        devices=frozenset(found.get("device", set())),
        without_hours=len(found.get("without hours", set())),
    )


# ------------------------------------------------------------------------------------- checking


def unknown(file: RulesFile, book: Book, names: Known) -> Iterable[tuple[Path, Wrong]]:
    """Yield the names in a file that nobody has: where, and what with what to do about it."""
    ladders = {one.ladder for one in file.ladders} | set(book.ladders)
    schedules = {one.schedule for one in file.schedules} | set(book.schedules)
    for n, rule in enumerate(file.rules):
        if rule.ladder and rule.ladder not in ladders:
            yield ("rules", str(n), "ladder"), _none("ladder", rule.ladder, ladders)
        for m, group in enumerate(rule.where.groups):
            if group not in names.groups:
                yield (
                    ("rules", str(n), "where", "groups", str(m)),
                    _none("group", group, names.groups),
                )
    for n, ladder in enumerate(file.ladders):
        for m, step in enumerate(ladder.steps):
            for k, target in enumerate(step.tell):
                wrong = _of_target(target, names, schedules)
                if wrong:
                    yield ("ladders", str(n), "steps", str(m), "tell", str(k)), wrong
    for n, schedule in enumerate(file.schedules):
        for m, shift in enumerate(schedule.shifts):
            for k, person in enumerate(shift.people):
                if person not in names.users:
                    at = ("schedules", str(n), "shifts", str(m), "people", str(k))
                    yield at, _none("user", person, names.users)
    for person, contacts in file.contacts.items():
        if person not in names.users:
            yield ("contacts", person), _none("user", person, names.users)
        for n, contact in enumerate(contacts):
            wrong = _of_target(f"channel:{contact.channel}", names, schedules)
            if wrong:
                yield ("contacts", person, str(n), "channel"), wrong


def _of_target(target: str, names: Known, schedules: Iterable[str]) -> Wrong | None:
    kind, _, name = target.partition(":")
    if kind == "channel" and name in names.buckets:
        return f"channel {name} cannot tell anybody: {NO_NOTICES}", "name another channel"
    there = {"channel": names.channels, "person": names.users, "oncall": schedules}[kind]
    if there is None or name in there:
        return None
    return _none({"person": "user", "oncall": "schedule"}.get(kind, kind), name, there)


_MAKE: Final = {
    "channel": "; add one: vedette central channels add",
    "user": "; add one: vedette central user add",
    "group": "; have one: vedette central group set",
}


def _none(what: str, name: str, there: Iterable[str]) -> Wrong:
    listed = sorted(there)
    known_ = ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
    hint = f"there is {known_ or 'none yet'}{_MAKE.get(what, '')}"
    return f"there is no {what} {name[:64]!r}", hint


def check(file: RulesFile, book: Book, names: Known, line_of: Callable[[Path], str]) -> None:
    """Refuse a file that speaks of what nobody has.

    Raises:
        ConfigError: The first such name, with its line.
    """
    for path, wrong in unknown(file, book, names):
        raise ConfigError(f"{line_of(path)}: {wrong[0]}", operator_hint=wrong[1])


def doubtful(file: RulesFile, book: Book, names: Known, now_ms: int) -> list[str]:
    """Return what may be meant so, and may not: places that are not there, hours that no site has.

    And who would not be reached by what the file says.
    """
    found: list[str] = []
    for rule in file.rules:
        for of in ("sites", "devices", "folders"):
            missing = [one for one in getattr(rule.where, of) if one not in getattr(names, of)]
            if missing:
                found.append(f"rule {rule.rule}: there is no {of[:-1]} {', '.join(missing[:5])}")
    by_hours = [rule.rule for rule in file.rules if rule.hours != "always"]
    if by_hours and names.without_hours:
        who = "a site has" if names.without_hours == 1 else f"{names.without_hours} sites have"
        found.append(
            f"{_rules(by_hours)}: {who} no opening hours, so nothing fires there:"
            " vedette central site set SITE --hours …"
        )
    untold = [rule.rule for rule in file.rules if rule.enabled and not rule.ladder]
    if untold:
        found.append(f"{_rules(untold)}: nobody is told; incidents stand in the console alone")
    found += doubts.of_book(after(file, book), [], now_ms)
    return found[:MAX_SAID] + (
        [f"and {len(found) - MAX_SAID} more"] if len(found) > MAX_SAID else []
    )


def _rules(names: Sequence[str]) -> str:
    """Return `rule a`, or `rules a, b and 3 more`."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"rule{'s' if len(names) > 1 else ''} {', '.join(names[:10])}{more}"


# ------------------------------------------------------------------------------------- difference


def written(file: RulesFile) -> dict[tuple[Kind, str], Body]:
    """Return every document of a file by its kind and name."""
    found: dict[tuple[Kind, str], Body] = {}
    found |= {("schedule", one.schedule): one for one in file.schedules}
    found |= {("ladder", one.ladder): one for one in file.ladders}
    found |= {("contacts", person): listed for person, listed in file.contacts.items()}
    found |= {("rule", one.rule): one for one in file.rules}
    return found


def standing(book: Book) -> dict[tuple[Kind, str], Body]:
    """Return every document of the book likewise."""
    return written(file_of(book))


def file_of(book: Book) -> RulesFile:
    """Return the book as a file."""
    return RulesFile(
        rules=[book.rules[name] for name in sorted(book.rules)],
        ladders=[book.ladders[name] for name in sorted(book.ladders)],
        schedules=[book.schedules[name] for name in sorted(book.schedules)],
        contacts={name: book.contacts[name] for name in sorted(book.contacts)},
    )


def after(file: RulesFile, book: Book) -> Book:
    """Return the book as it would be with this file."""
    return msgspec.structs.replace(
        book,
        rules=book.rules | {one.rule: one for one in file.rules},
        ladders=book.ladders | {one.ladder: one for one in file.ladders},
        schedules=book.schedules | {one.schedule: one for one in file.schedules},
        contacts=book.contacts | file.contacts,
    )


def difference(file: RulesFile, book: Book, *, prune: bool = False) -> list[Change]:
    """Return what would become of every document, new and changed ones first."""
    new, old = written(file), standing(book)
    changes: list[Change] = []
    for (kind, name), body in new.items():
        was = old.get((kind, name))
        lines = [] if was is None else compared(was, body)
        what = "new" if was is None else "changed" if lines else "same"
        changes.append(Change(kind=kind, name=name, what=what, lines=lines))
    changes += [
        Change(kind=kind, name=name, what="removed" if prune else "kept")
        for kind, name in old
        if (kind, name) not in new
    ]
    order = ("new", "changed", "removed", "same", "kept")
    return sorted(changes, key=lambda one: (order.index(one.what), one.kind, one.name))


def compared(was: Body, now: Body) -> list[str]:
    """Return what of a document is other, a line for each entry: `severity: warning → critical`."""
    before, later = _flat(msgspec.to_builtins(was)), _flat(msgspec.to_builtins(now))
    return [
        f"{path}: {before.get(path, '–')} → {later.get(path, '–')}"
        for path in sorted(before.keys() | later.keys())
        if before.get(path) != later.get(path)
    ]


def _flat(value: object, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        parts = [_flat(one, f"{path}.{key}" if path else str(key)) for key, one in value.items()]
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        parts = [
            _flat(one, f"{path}.{n + 1}" if path else str(n + 1)) for n, one in enumerate(value)
        ]
    else:
        return {path: msgspec.json.encode(value).decode()[:200]}
    return {key: one for part in parts for key, one in part.items()}


# ------------------------------------------------------------------------------------- applying


async def look(tx: Tx, text: bytes, now_ms: int, *, name: str, prune: bool = False) -> Outcome:
    """Return what a file would come to.

    Raises:
        ConfigError: It cannot be; see `rules.load` and `check`.
    """
    file, line_of = rules.load_lines(text, name=name)
    return await look_at(tx, file, now_ms, line_of=line_of, name=name, prune=prune)


async def look_at(
    tx: Tx,
    file: RulesFile,
    now_ms: int,
    *,
    line_of: Callable[[Path], str],
    name: str,
    prune: bool = False,
) -> Outcome:
    """As `look`, for a file that was read already."""
    book = await documents.current(tx)
    names = await known(tx, book)
    check(file, book, names, lambda path: f"{name}{line_of(path)}: {'.'.join(path)}")
    return Outcome(
        changes=difference(file, book, prune=prune),
        book=book.version,
        doubts=doubtful(file, book, names, now_ms),
    )


async def apply(
    tx: Tx, file: RulesFile, outcome: Outcome, *, by: str, now_ms: int, note: str = ""
) -> Outcome:
    """Have it so: each change is a version with its author, all in this transaction.

    Raises:
        ConfigError: Too many of a kind, or a note that cannot be.
    """
    new = written(file)
    for one in sorted(outcome.changes, key=lambda change: change.what != "removed"):
        if one.what == "removed":
            await documents.put(tx, one.kind, one.name, None, by, now_ms, note)
        elif one.what in {"new", "changed"}:
            body = new[one.kind, one.name]
            await documents.put(tx, one.kind, one.name, body, by, now_ms, note)
    return msgspec.structs.replace(outcome, applied=True)


# ------------------------------------------------------------------------------------ as a file


def text_of(book: Book) -> str:
    """Return the book as a file that `rules.load` reads; defaults are left out."""
    file = file_of(book)
    parts: list[str] = []
    for of, listed in (
        ("rules", file.rules),
        ("ladders", file.ladders),
        ("schedules", file.schedules),
    ):
        if listed:
            parts.append(f"{of}:\n" + "\n".join(_document(one) for one in listed))
    if file.contacts:
        people = "\n".join(
            f"  {_quoted(name)}: {_inline([_slim(one) for one in listed])}"
            for name, listed in file.contacts.items()
        )
        parts.append(f"contacts:\n{people}")
    return "\n\n".join(parts) + "\n" if parts else "rules: []\n"


def _document(one: Rule | Ladder | Schedule) -> str:
    entries = list(_slim(one).items())
    lines = [f"{key}: {_inline(value)}" for key, value in entries]
    return "\n".join(f"  {'- ' if n == 0 else '  '}{line}" for n, line in enumerate(lines))


def _slim(one: Rule | Ladder | Schedule | Contact | Where) -> dict[str, object]:
    """Return a document without what is at its default anyway."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(type(one)):
        value = getattr(one, field.name)
        if not field.required and value == _default(field):
            continue
        found[field.encode_name] = _builtin(value)
    return found


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None


def _builtin(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return _slim(value)  # type: ignore[arg-type]
    if isinstance(value, list):
        return [_builtin(one) for one in value]
    return msgspec.to_builtins(value)


def _inline(value: object) -> str:
    """Return a value as YAML in one line: JSON is YAML, and names need no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(str(k))}: {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    if isinstance(value, float):  # YAML 1.1 knows no power of ten without a point
        mantissa, e, power = repr(value).partition("e")
        return f"{mantissa}{'' if '.' in mantissa or not e else '.0'}{e}{power}"
    return _quoted(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _quoted(text: str) -> str:
    words = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
    is_plain = text.replace("_", "").replace("-", "").isalnum() and text[0].isalpha()
    if is_plain and text.isascii() and text.lower() not in words:
        return text
    return msgspec.json.encode(text).decode()
