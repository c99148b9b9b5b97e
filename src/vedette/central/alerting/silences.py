"""Silences and planned work: making, prolonging, ending, and what they would hide.

What lives here: the rows and their checks. What does not: whether one holds somewhere now
(`quiet`), what follows (`planner`). The rule: a silence ends by itself, at most a year after it
began; each change is in the audit log, and every open incident is looked at again at once.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from vedette.central import audit, hours
from vedette.central.alerting import applying, places, quiet, store, wording
from vedette.central.alerting.facts import Book, Incident, Silence, Where
from vedette.central.alerting.views import SilenceRow
from vedette.central.hours import Hours, Stretch
from vedette.central.scopes import folder_in_scope
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import new_id

MAX_MS: Final = 366 * 86_400_000
MAX_RULES: Final = 50
MAX_SILENCES: Final = 1_000
MAX_REASON_CHARS: Final = 300
STATES: Final = ("", "now", "to_come", "over")
_LOOKED: Final = 5_000
_LAST: Final = 2**62

_incident = msgspec.json.Decoder(Incident).decode
_silence = msgspec.json.Decoder(Silence).decode


class NoSilence(ConfigError):
    """There is no such silence."""


class NewSilence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be quiet, and when; see `Silence`. `from_ms` None: from now on."""

    to_ms: int
    from_ms: int | None = None
    where: Where = msgspec.field(default_factory=Where)
    rules: list[str] = []
    weekly: dict[str, list[Stretch]] = {}
    is_maintenance: bool = False
    reason: str = ""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a silence would hide now: how many incidents, and some of them."""

    hides: int
    incidents: list[Incident] = []


def check(wanted: NewSilence, by: str, now_ms: int, *, silence: str = "") -> Silence:
    """Return the silence that is wanted.

    Raises:
        ConfigError: It cannot be; the message says what to change.
    """
    from_ms = now_ms if wanted.from_ms is None else wanted.from_ms
    if not max(0, from_ms) < wanted.to_ms:
        raise ConfigError("a silence ends after it begins", operator_hint="give a later end")
    if wanted.to_ms <= now_ms:
        raise ConfigError("a silence that is over hides nothing", operator_hint="give a later end")
    if wanted.to_ms - from_ms > MAX_MS:
        raise ConfigError(
            "a silence lasts a year at most",
            operator_hint="what nobody shall ever hear of is a rule to switch off",
        )
    places.check(wanted.where)
    if len(wanted.rules) > MAX_RULES or any(not _is_pattern(name) for name in wanted.rules):
        raise ConfigError(f"at most {MAX_RULES} rules, by name with * and ?")
    hours.check(Hours(weekly=wanted.weekly))
    return Silence(
        silence=silence or new_id("si"),
        from_ms=from_ms,
        to_ms=wanted.to_ms,
        where=wanted.where,
        rules=wanted.rules,
        weekly=wanted.weekly,
        is_maintenance=wanted.is_maintenance,
        reason=wording.plain(wanted.reason, MAX_REASON_CHARS),
        made_by=by,
        made_ms=now_ms,
    )


def _is_pattern(text: str) -> bool:
    return 0 < len(text) <= 130 and all(
        char.isascii() and (char.isalnum() or char in "._-*?/") for char in text
    )


async def add(tx: Tx, wanted: NewSilence, *, by: str, now_ms: int) -> Silence:
    """Have a silence.

    Raises:
        ConfigError: It cannot be, or there are too many.
    """
    made = check(wanted, by, now_ms)
    await store.hold(tx)
    if int(str(await tx.value("alert_silences_count", now_ms=now_ms))) >= MAX_SILENCES:
        raise ConfigError(
            f"{MAX_SILENCES} silences are not over yet", operator_hint="end some of them"
        )
    return await _keep(tx, made, "add", by, now_ms)


async def change(tx: Tx, silence: str, wanted: NewSilence, *, by: str, now_ms: int) -> Silence:
    """Have a silence be another; who made it and when stays.

    Raises:
        NoSilence: There is none.
        ConfigError: It cannot be, or it is over.
    """
    await store.hold(tx)
    known = await get(tx, silence)
    _require_not_over(known, now_ms)
    from_ms = known.from_ms if wanted.from_ms is None else wanted.from_ms
    made = check(replace(wanted, from_ms=from_ms), by, now_ms, silence=silence)
    changed = replace(made, made_by=known.made_by, made_ms=known.made_ms)
    return await _keep(tx, changed, "change", by, now_ms)


async def end(tx: Tx, silence: str, *, by: str, now_ms: int) -> Silence:
    """Have a silence over now; one that is over stays as it is.

    Raises:
        NoSilence: There is none.
    """
    await store.hold(tx)
    known = await get(tx, silence)
    if state_of(known, now_ms) == "over":
        return known
    return await _keep(tx, replace(known, ended_ms=now_ms), "end", by, now_ms)


def _require_not_over(silence: Silence, now_ms: int) -> None:
    if state_of(silence, now_ms) == "over":
        raise ConfigError("this silence is over", operator_hint="make a new one")


async def get(tx: Tx, silence: str) -> Silence:
    """Return a silence, held.

    Raises:
        NoSilence: There is none.
    """
    body = await tx.value("alert_silence_hold", silence=silence.replace("\0", "")[:128])
    if not isinstance(body, bytes):
        raise NoSilence("there is no such silence", operator_hint="vedette central silences list")
    return _silence(body)


async def _keep(tx: Tx, silence: Silence, action: str, by: str, now_ms: int) -> Silence:
    await tx.run(
        "alert_silence_put",
        silence=silence.silence,
        from_ms=silence.from_ms,
        to_ms=silence.to_ms,
        ended_ms=silence.ended_ms,
        body=msgspec.json.encode(silence),
    )
    await tx.run("incidents_wake_all", now_ms=now_ms)
    await tx.run("alert_held_release", silence=silence.silence, now_ms=now_ms)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=by,
        action=f"silence.{action}",
        target=silence.silence,
        detail=msgspec.to_builtins(silence),
    )
    return silence


# ------------------------------------------------------------------------------------- looking


def state_of(silence: Silence, now_ms: int) -> str:
    """Return whether it is `now`, `to_come` or `over`; a weekly one is `now` between its ends."""
    to_ms = silence.to_ms if silence.ended_ms is None else min(silence.to_ms, silence.ended_ms)
    if now_ms >= to_ms:
        return "over"
    return "now" if now_ms >= silence.from_ms else "to_come"


async def page(
    tx: Tx,
    *,
    now_ms: int,
    state: str = "",
    after: tuple[int, str] | None = None,
    limit: int,
    sites: list[str] | None = None,
    folders: list[str] | None = None,
) -> list[SilenceRow]:
    """Return silences in scope, those that end last first, with what each hides now."""
    cursor_ms, cursor = after or (_LAST, "")
    found: list[tuple[Silence, int]] = []
    while len(found) < limit:
        rows = await tx.tuples(
            "alert_silences_page",
            state=state,
            now_ms=now_ms,
            cursor_ms=cursor_ms,
            cursor_silence=cursor,
            limit=limit,
        )
        decoded = [(_silence(body), int(hidden)) for body, hidden in rows]
        found += [one for one in decoded if may_see(one[0], sites, folders or [])]
        if len(rows) < limit:
            break
        cursor_ms, cursor = decoded[-1][0].to_ms, decoded[-1][0].silence
    hides = await _hides(tx, [silence for silence, _ in found[:limit]], sites)
    return [
        SilenceRow(
            silence=theirs(silence, sites),
            state=state_of(silence, now_ms),
            hides=hides.get(silence.silence, 0),
            hidden=hidden if may_make(silence.where, sites, folders or []) else 0,
        )
        for silence, hidden in found[:limit]
    ]


def may_see(silence: Silence, sites: list[str] | None, folders: list[str]) -> bool:
    """True where somebody with this scope may know of a silence: it speaks of something theirs."""
    where = silence.where
    if sites is None or where == Where():
        return True
    if where.sites:
        return bool(set(where.sites) & set(sites))
    return bool(where.folders) and any(
        folder_in_scope(sites, folders, folder) for folder in where.folders
    )


def may_make(where: Where, sites: list[str] | None, folders: list[str]) -> bool:
    """True where somebody with this scope may silence there: all that it means is theirs."""
    if sites is None:
        return True
    if where.sites:
        return set(where.sites) <= set(sites)
    return bool(where.folders) and all(
        folder_in_scope(sites, folders, folder) for folder in where.folders
    )


def theirs(silence: Silence, sites: list[str] | None) -> Silence:
    """Return a silence without the sites that are out of scope."""
    if sites is None or not silence.where.sites:
        return silence
    theirs = [site for site in silence.where.sites if site in sites]
    return replace(silence, where=replace(silence.where, sites=theirs))


async def _hides(tx: Tx, silences: list[Silence], sites: list[str] | None) -> dict[str, int]:
    """Return how many open incidents each of these keeps quiet."""
    found: dict[str, int] = {}
    if silences:
        for incident in await _unresolved(tx, sites):
            found[incident.silenced] = found.get(incident.silenced, 0) + 1
    return found


async def preview(
    tx: Tx, wanted: NewSilence, *, by: str, now_ms: int, sites: list[str] | None
) -> Preview:
    """Return the open incidents that a silence would hide if it held now. Nothing is stored.

    Raises:
        ConfigError: It cannot be.
    """
    silence = check(wanted, by, now_ms)
    fleet = await places.read(tx, None, silence.where.groups)
    hidden = [
        incident
        for incident in await _unresolved(tx, sites)
        if all(
            quiet.concerns(silence, incident.rule, member.subject, fleet)
            for member in [one for one in incident.members if one.ended_ms is None]
            or incident.members
        )
    ]
    return Preview(hides=len(hidden), incidents=hidden[:20])


async def not_there(tx: Tx, where: Where) -> list[str]:
    """Return which places of a silence nobody has: a slip in a name silences nothing."""
    known = await applying.known(tx, Book())
    return [
        f"there is no {of[:-1]} {name}"
        for of in ("sites", "devices", "folders", "groups")
        for name in getattr(where, of)
        if name not in getattr(known, of)
    ]


async def _unresolved(tx: Tx, sites: list[str] | None) -> list[Incident]:
    rows = await tx.tuples("incidents_unresolved", limit=_LOOKED)
    found = [_incident(body) for (body,) in rows]
    if sites is None:
        return found
    return [one for one in found if all(member.subject.site in sites for member in one.members)]
