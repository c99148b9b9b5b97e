"""Whether somebody wants to hear of it now: silences and planned work. Pure.

What lives here: which silence holds for a subject at a time, and until when; what an inhibitor is.
What does not: keeping silences (`silences`), what follows (`planner`). The rule: a silence holds
from its first millisecond to the one before its last; a weekly one by the site's own clock.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central import hours
from vedette.central.alerting import places as fleet
from vedette.central.alerting.facts import Silence, Subject
from vedette.central.alerting.places import Places
from vedette.central.hours import Hours

_WEEK_MS: Final = 8 * 86_400_000


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """A silence that holds now, and until when it does without a break."""

    silence: str
    until_ms: int
    is_maintenance: bool = False


def concerns(silence: Silence, rule: str, subject: Subject, places: Places) -> bool:
    """True where a silence speaks of this rule here, whenever it holds."""
    if silence.rules and not any(fleet.fits(text, rule) for text in silence.rules):
        return False
    return fleet.holds(silence.where, subject, places)


def window(silence: Silence, site: str, places: Places, now_ms: int) -> tuple[int, int] | None:
    """Return the stretch in which it holds now, or the next one that it will; None: it is over."""
    to_ms = silence.to_ms
    if silence.ended_ms is not None:
        to_ms = min(to_ms, silence.ended_ms)
    if now_ms >= to_ms:
        return None
    if not silence.weekly:
        return silence.from_ms, to_ms
    zone = places.sites.get(site, fleet.Site(site=site)).zone()
    start_ms = max(silence.from_ms, now_ms - _WEEK_MS)
    end_ms = min(to_ms, max(start_ms, now_ms) + _WEEK_MS)
    for begin, end in hours.spells(Hours(weekly=silence.weekly), zone, start_ms, end_ms):
        if end > now_ms:
            return begin, end
    return None if end_ms >= to_ms else (end_ms, end_ms)


def over(
    silences: Sequence[Silence],
    rule: str,
    subject: Subject,
    places: Places,
    now_ms: int,
    *,
    maintenance: bool = False,
) -> Quiet | None:
    """Return the silence over a subject that holds longest from now on; None: none does.

    With `maintenance` only planned work is asked for.
    """
    best: Quiet | None = None
    for silence in silences:
        if maintenance and not silence.is_maintenance:
            continue
        if not concerns(silence, rule, subject, places):
            continue
        held = window(silence, subject.site, places, now_ms)
        if held is None or held[0] > now_ms or held[0] == held[1]:
            continue
        if best is None or held[1] > best.until_ms:
            best = Quiet(
                silence=silence.silence, until_ms=held[1], is_maintenance=silence.is_maintenance
            )
    return best


def next_ms(
    silences: Sequence[Silence], rule: str, subject: Subject, places: Places, now_ms: int
) -> int | None:
    """Return when a silence next begins or ends over a subject; None: none will."""
    edges: list[int] = []
    for silence in silences:
        if concerns(silence, rule, subject, places):
            held = window(silence, subject.site, places, now_ms)
            edges += [edge for edge in held or () if edge > now_ms]
    return min(edges, default=None)
