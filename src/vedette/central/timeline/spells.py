"""From began and ended to stretches of time: when a device was held back, how long. Pure."""

from collections.abc import Iterable

import msgspec


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch in which a device was held back; `is_open`: it is now, as far as it said."""

    start_ms: int
    end_ms: int
    flags: list[str]
    is_open: bool = False


def spells(edges: Iterable[tuple[int, dict[str, object]]], from_ms: int, to_ms: int) -> list[Spell]:
    """Return the spells that touch a window, clipped to it, oldest first.

    `edges` are `(at_ms, detail)` of happenings of the kind heat in order; `to_ms` is the last
    moment of which anything is known.
    """
    found: list[Spell] = []
    began_ms: int | None = None
    flags: list[str] = []
    for at_ms, detail in edges:
        if detail.get("is") == "began":
            began_ms, flags = at_ms, _texts(detail.get("flags"))
            continue
        since = detail.get("since_ms")
        start_ms = since if isinstance(since, int) else began_ms
        if start_ms is not None:
            flags = flags or _texts(detail.get("flags"))
            found.append(Spell(start_ms=start_ms, end_ms=at_ms, flags=flags))
        began_ms, flags = None, []
    if began_ms is not None:
        found.append(
            Spell(start_ms=began_ms, end_ms=max(began_ms, to_ms), flags=flags, is_open=True)
        )
    clipped = (
        msgspec.structs.replace(
            one, start_ms=max(one.start_ms, from_ms), end_ms=min(one.end_ms, to_ms)
        )
        for one in found
        if one.end_ms > from_ms and one.start_ms < to_ms
    )
    return [one for one in clipped if one.end_ms > one.start_ms or one.is_open]


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
