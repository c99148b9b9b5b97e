"""Numbers and times as people read them.

Pure formatting: no clock, no locale. Times are UTC everywhere and the page says so once. The rule:
a value that is not there is never formatted; templates ask first and show "no data".
"""

from datetime import UTC, datetime

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400
_LAST_MS = 253_402_300_799_999  # the end of year 9999


def _utc(ms: int) -> datetime:
    """Return the moment, or the nearest one that a calendar has: devices may say anything."""
    return datetime.fromtimestamp(min(max(ms, 0), _LAST_MS) / 1000, UTC)


def clock_text(ms: int, *, seconds: bool = True, day: bool | None = None) -> str:
    """Return `14:03:21`, with the day in front where `day` asks for it."""
    at = _utc(ms)
    text = at.strftime("%H:%M:%S" if seconds else "%H:%M")
    return f"{at.strftime('%d %b')} {text}" if day else text


def moment_text(ms: int) -> str:
    """Return `21 Nov 14:03:21`: what a list of moments shows."""
    return clock_text(ms, day=True)


def minute_text(ms: int) -> str:
    """Return `21 Nov 14:03`: where seconds would say nothing."""
    return clock_text(ms, seconds=False, day=True)


def iso_text(ms: int) -> str:
    """Return ISO 8601 with milliseconds, for `<time datetime>`."""
    at = _utc(ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def duration_text(seconds: float) -> str:
    """Return `48 s`, `12 min`, `3 h 05 min`, `2 d 4 h`: two parts at most."""
    whole = max(0, round(seconds))
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < 10 * _MINUTE_S:
        minutes, rest = divmod(whole, _MINUTE_S)
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    if whole < _HOUR_S:
        return f"{round(whole / _MINUTE_S)} min"
    if whole < _DAY_S:
        hours, rest = divmod(round(whole / _MINUTE_S), 60)
        return f"{hours} h {rest:02d} min" if rest else f"{hours} h"
    days, hours = divmod(round(whole / _HOUR_S), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def age_text(at_ms: int | None, now_ms: int) -> str:
    """Return `12 s ago`; a moment slightly ahead of us is `now`."""
    if at_ms is None:
        return "never"
    seconds = (now_ms - at_ms) / 1000
    return "now" if seconds < 1 else f"{duration_text(seconds)} ago"


def number_text(value: float, digits: int = 0) -> str:
    """Return `1,204` or `12.5`: thousands grouped, `digits` after the point."""
    return f"{value:,.{digits}f}"


def percent_text(fraction: float) -> str:
    """Return `93.8 %`; never rounds up to 100 nor down to 0, for those are promises."""
    percent = fraction * 100
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    if 0 < percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.0f} %" if percent in {0.0, 100.0} else f"{percent:.1f} %"


def ms_text(value_ms: float) -> str:
    """Return milliseconds with as many digits as are worth reading."""
    if value_ms >= 100:
        return f"{value_ms:,.0f}"
    return f"{value_ms:.1f}" if value_ms >= 10 else f"{value_ms:.2f}"


def bytes_text(count: int) -> str:
    """Return `3.4 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable: GB returns")


def harmless(text: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
