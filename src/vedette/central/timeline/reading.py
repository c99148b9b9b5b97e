"""Asking every source for its newest, and merging them into one page.

Sources are named queries that all take the place where the last page ended, so that however much
has happened a page costs the same. The rule: whoever asks has looked whether the site is in scope;
what people did is told to operators, and who did it too.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.central.store.db import Tx
from vedette.central.timeline import keeping, merging, spells, words
from vedette.central.timeline.merging import Entry, Place
from vedette.central.timeline.spells import Spell
from vedette.central.timeline.told import KINDS as TOLD_KINDS
from vedette.central.timeline.words import Row
from vedette.errors import ConfigError

MAX_DEVICES: Final = 200
_NEWEST: Final[Place] = (2**53, "")
_detail = msgspec.json.Decoder(dict[str, object]).decode


class Of(msgspec.Struct, frozen=True, kw_only=True):
    """Whose timeline: a site's, or that of one of its devices; and what of it.

    Attributes:
        kinds: Only these; empty: all.
        people: True for whoever may know what people did.
    """

    site: str
    device: str = ""
    kinds: frozenset[str] = frozenset()
    people: bool = False


def check_kinds(wanted: str) -> frozenset[str]:
    """Return the kinds in `contact,heat`; none for an empty text.

    Raises:
        ConfigError: There is no such kind.
    """
    kinds = frozenset(part for part in wanted.split(",") if part)
    unknown = sorted(kinds - set(words.KINDS))
    if unknown:
        raise ConfigError(
            f"there is no kind {unknown[0][:40]!r}",
            operator_hint=f"some of {', '.join(words.KINDS)}",
        )
    return kinds


_Source = tuple[str, frozenset[str], Callable[[Row], Entry]]

_OF_DEVICES: Final[tuple[_Source, ...]] = (
    ("timeline_contact", frozenset({"contact"}), words.of_contact),
    ("timeline_cameras", frozenset({"camera"}), words.of_camera),
    ("timeline_gaps", frozenset({"gap"}), words.of_gap),
    ("timeline_enrolled", frozenset({"trust"}), words.of_enrolled),
)


async def page(tx: Tx, of: Of, after: Place | None, limit: int, now_ms: int) -> list[Entry]:
    """Return at most `limit` entries of a timeline, newest first, older than `after`."""
    devices = [of.device] if of.device else await _devices(tx, of.site)
    at = after or _NEWEST
    base = {"at_ms": at[0], "key": at[1], "limit": limit}
    lists: list[Sequence[Entry]] = []
    for query, kinds, made in _OF_DEVICES:
        if _wanted(of, kinds):
            lists.append([made(row) for row in await tx.all(query, Row, devices=devices, **base)])
    if _wanted(of, {"contact"}):
        rows = await tx.all("timeline_site", Row, site=of.site, **base)
        lists.append([words.of_site(row) for row in rows])
    if _wanted(of, {"central"}):
        rows = await tx.all("timeline_central", Row, **base)
        lists.append([words.of_central(row) for row in rows])
    lists.append(await _told(tx, of, devices, base, now_ms))
    lists.append(await _audit(tx, of, devices, base))
    found = merging.merged(lists, after, limit)
    return found if of.people else words.without_actors(found)


async def _devices(tx: Tx, site: str) -> list[str]:
    return [name for (name,) in (await tx.tuples("timeline_devices", site=site))[:MAX_DEVICES]]


def _wanted(of: Of, kinds: frozenset[str] | set[str]) -> bool:
    return not of.kinds or bool(of.kinds & kinds)


async def _told(
    tx: Tx, of: Of, devices: list[str], base: dict[str, object], now_ms: int
) -> list[Entry]:
    kinds = [k for k in TOLD_KINDS if _wanted(of, {words.OF_TOLD.get(k, k)})]
    if not kinds:
        return []
    rows = await tx.all("timeline_told", Row, devices=devices, kinds=kinds, **base)
    found = [words.of_told(row) for row in rows]
    for device in devices:
        found += [
            words.told(device, words.told_key(device, number, one), one)
            for number, one in await keeping.edge(tx, device, now_ms)
            if one.kind in kinds
        ]
    return found


async def _audit(tx: Tx, of: Of, devices: list[str], base: dict[str, object]) -> list[Entry]:
    def chosen(table: dict[str, tuple[str, str, str]]) -> list[str]:
        return [
            action
            for action, (kind, _, _) in table.items()
            if _wanted(of, {kind}) and (of.people or kind != "operator")
        ]

    of_devices, of_sites = chosen(words.OF_DEVICES), chosen(words.OF_SITES)
    if not of_devices and not of_sites:
        return []
    rows = await tx.all(
        "timeline_audit",
        Row,
        targets=[*devices, of.site],
        devices=devices,
        site=of.site,
        device=of.device,
        of_devices=of_devices,
        of_sites=of_sites,
        **base,
    )
    return [words.of_audit(row) for row in rows]


async def heat(tx: Tx, device: str, from_ms: int, now_ms: int, known_ms: int) -> list[Spell]:
    """Return when a device was held back since `from_ms`, as far as is known: to `known_ms`."""
    rows = await tx.tuples("heat_edges", device=device, from_ms=from_ms)
    edges = [(at_ms, _detail(detail)) for at_ms, detail in rows]
    edge = await keeping.edge(tx, device, now_ms)
    fresh = [(one.at_ms, one.detail) for _, one in edge if one.kind == "heat"]
    return spells.spells([*edges, *fresh], from_ms, min(now_ms, known_ms))
