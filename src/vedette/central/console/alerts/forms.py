"""What fields of forms mean: moments, hours, names. Pure.

The rule: what makes no sense is refused in words that name the field.
"""

import math
import re
from datetime import UTC, datetime
from typing import Final

from vedette.errors import ConfigError

_PARTS: Final = re.compile(r"[,;\n]+")
_MAX_HOURS: Final = 24.0 * 366
_MAX_CHARS: Final = 20_000


def moment(text: str) -> int | None:
    """Return a `datetime-local` field as milliseconds of UTC; None where it is empty.

    Raises:
        ConfigError: It is no such time.
    """
    if not text.strip():
        return None
    try:
        at = datetime.fromisoformat(text.strip()[:32])
    except ValueError:
        raise ConfigError("that is no time", operator_hint="write it as 2026-03-02T10:00") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    try:
        return max(0, int(at.timestamp() * 1000))
    except (OverflowError, ValueError):
        raise ConfigError("that time cannot be") from None


def hours_ms(text: str) -> int:
    """Return a field of hours as milliseconds.

    Raises:
        ConfigError: It is no number above 0, or more than a year.
    """
    hours = number(text, "hours")
    if not 0 < hours <= _MAX_HOURS:
        raise ConfigError("hours are above 0, and a year at most")
    return int(hours * 3_600_000)


def number(text: str, what: str) -> float:
    """Return a field that is a number.

    Raises:
        ConfigError: It is none.
    """
    try:
        value = float(text.strip()[:20].replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{what}: that is no number")
    return value


def names(text: str) -> list[str]:
    """Return the names in a field that takes several, by commas or lines."""
    return [part.strip() for part in _PARTS.split(text[:_MAX_CHARS]) if part.strip()]
