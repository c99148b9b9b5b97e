"""Rules, places and times in words. Pure.

The rule: a rule is read as one sentence, the same on every page.
"""

from collections.abc import Mapping, Sequence

from vedette.central.alerting.facts import EventMatch, HealthMatch, Rule, Silence, Where
from vedette.central.console.alerts import words
from vedette.central.console.text import duration_text
from vedette.central.console.words import EVENT_KINDS

_HOURS = {"open": "in opening hours", "closed": "outside opening hours"}


def where_text(where: Where) -> str:
    """Return where a rule or a silence holds, in words; `everywhere` where nothing is named."""
    parts = [
        f"{name} {listed(values)}"
        for name, values in (
            ("folder", where.folders),
            ("group", where.groups),
            ("site", where.sites),
            ("device", where.devices),
            ("camera", where.cameras),
        )
        if values
    ]
    return ", ".join(parts) or "everywhere"


def listed(values: Sequence[str], most: int = 4) -> str:
    """Return `a, b, c and 9 more`."""
    if len(values) <= most:
        return ", ".join(values)
    return f"{', '.join(values[:most])} and {len(values) - most} more"


def when_text(rule: Rule) -> str:
    """Return what a rule speaks of, as one sentence."""
    if rule.event is not None:
        said = _event_text(rule.event)
    elif rule.health is not None:
        said = _health_text(rule.health)
    else:
        said = "nothing"
    hours = _HOURS.get(rule.hours)
    return f"{said}, {hours}" if hours else said


def _event_text(match: EventMatch) -> str:
    kinds = listed([EVENT_KINDS.get(kind, str(kind)) for kind in match.kinds])
    parts = [kinds]
    if match.labels:
        parts.append(f"of {listed(match.labels)}")
    if match.places:
        parts.append(f"at {listed(match.places)}")
    if match.direction:
        parts.append(match.direction)
    if match.dwell_s is not None:
        parts.append(f"for at least {duration_text(match.dwell_s)}")
    if match.confidence is not None:
        parts.append(f"with confidence {match.confidence:g} or more")
    if match.score is not None:
        parts.append(f"with score {match.score:g} or more")
    if match.at_least > 1:
        parts.append(f"{match.at_least} times within {duration_text(match.within_s)}")
    return " ".join(parts)


def _health_text(match: HealthMatch) -> str:
    said = words.HEALTH.get(match.is_, str(match.is_))
    if match.above is not None:
        said += f", past {match.above:g}"
    if match.for_s:
        said += f", for {duration_text(match.for_s)}"
    return said


def silence_text(silence: Silence) -> str:
    """Return what a silence keeps quiet, as one sentence."""
    said = where_text(silence.where)
    if silence.rules:
        said = f"rule {listed(silence.rules)}: {said}"
    if silence.weekly:
        said += f", each {weekly_text(silence.weekly)}"
    return said


def weekly_text(weekly: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Return `mo 22:00–06:00, tu 22:00–06:00`."""
    return ", ".join(
        f"{day} {' '.join(f'{start}–{end}' for start, end in stretches)}"
        for day, stretches in weekly.items()
    )


def tell_text(target: str) -> str:
    """Return whom a step of a ladder tells: `on call of shops`, `Anna`, `channel phone`."""
    kind, _, name = target.partition(":")
    return {"oncall": f"on call of {name}", "person": name, "channel": f"channel {name}"}.get(
        kind, target
    )
