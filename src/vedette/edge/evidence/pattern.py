"""How often something happens on a camera at an hour of the day: five weeks, kept small.

Here: hours of local days with the time that was observed of each and events by kind and place. Pure
but for one small file. The rules: an hour in which nothing was observed has no count; counts and
observed time are saved together, so that what a crash loses is lost of both, and reads as not
observed.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from vedette.trust.keys import write_private
from vedette.wire.circumstances import DayHour

DAYS: Final = 28
"""Days before an event that its package tells of."""

MAX_DAYS: Final = 36
MAX_KINDS: Final = 64
"""Kinds and places of events that one hour counts; more are not counted, rarely met."""

MAX_CAMERAS: Final = 64
_MAX_BYTES: Final = 16 * 1024 * 1024
_LONGEST_MS: Final = 86_400_000
_LAST_MS: Final = 253_370_764_800_000  # the year 9999: no clock shows more


class Hour(msgspec.Struct, array_like=True):
    """What is kept of one hour; `events` by kind and place."""

    observed_ms: int = 0
    events: dict[str, int] = {}


class _Kept(msgspec.Struct, array_like=True):
    """The file: camera → local date → hour."""

    version: int
    cameras: dict[str, dict[str, dict[int, Hour]]]


class Pattern:
    """The hours of every camera. Thread: the caller's."""

    def __init__(self, zone: ZoneInfo) -> None:
        """Begin without a past; hours and days are those of `zone`."""
        self._zone = zone
        self._cameras: dict[str, dict[str, dict[int, Hour]]] = {}

    def count(self, camera: str, at_ms: int, kind: str, where: str) -> None:
        """Count an event."""
        day, hour, _ = self._place(at_ms)
        events = self._hour(camera, day, hour).events
        key = f"{kind}/{where}"
        if key in events or len(events) < MAX_KINDS:
            events[key] = events.get(key, 0) + 1

    def observe(self, camera: str, start_ms: int, end_ms: int, *, sign: int = 1) -> None:
        """Add a stretch that was observed; with `sign` -1 one that turns out not to have been."""
        if end_ms - start_ms > _LONGEST_MS:
            return  # no stretch that was watched: a clock was set
        for day, hour, part_ms in self._pieces(start_ms, end_ms):
            kept = self._hour(camera, day, hour)
            kept.observed_ms = max(0, kept.observed_ms + sign * part_ms)

    def days(self, camera: str, at_ms: int, kind: str, where: str) -> tuple[int, list[DayHour]]:
        """Return the local hour of a moment, and that hour of the days before and of its own."""
        today, hour, _ = self._place(at_ms)
        kept = self._cameras.get(camera, {})
        found: list[DayHour] = []
        for back in range(DAYS, -1, -1):
            day = (date.fromisoformat(today) - timedelta(days=back)).isoformat()
            one = kept.get(day, {}).get(hour, Hour())
            events = one.events.get(f"{kind}/{where}", 0)
            found.append(
                DayHour(
                    day=day,
                    observed_s=round(one.observed_ms / 1000, 1),
                    events=events if one.observed_ms or events else None,
                )
            )
        return hour, found

    def save(self, path: Path) -> None:
        """Have everything in a file, whole or as it was.

        Raises:
            OSError: The disk refuses.
        """
        write_private(path, msgspec.msgpack.encode(_Kept(1, self._cameras)))

    def load(self, path: Path) -> bool:
        """Take what a file keeps; False where it says nothing that makes sense."""
        try:
            if path.stat().st_size > _MAX_BYTES:
                return False
            kept = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        if kept.version != 1:
            return False
        self._cameras = {
            camera: {day: hours for day, hours in days.items() if _is_day(day)}
            for camera, days in kept.cameras.items()
        }
        return True

    def _hour(self, camera: str, day: str, hour: int) -> Hour:
        if camera not in self._cameras and len(self._cameras) >= MAX_CAMERAS:
            return Hour()
        days = self._cameras.setdefault(camera, {})
        if day not in days:
            days[day] = {}
            while len(days) > MAX_DAYS:
                # By number and not by age: a clock that was wrong once must not cost the past.
                oldest = min(days)
                del days[oldest]
                if oldest == day:
                    return Hour()
        return days[day].setdefault(hour, Hour(0, {}))

    def _place(self, at_ms: int) -> tuple[str, int, int]:
        """Return the local date and hour of a moment, and the milliseconds left of that hour."""
        at_ms = min(max(at_ms, 0), _LAST_MS)
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)
        past_ms = (local.minute * 60 + local.second) * 1000 + at_ms % 1000
        return local.date().isoformat(), local.hour, max(1, 3_600_000 - past_ms)

    def _pieces(self, start_ms: int, end_ms: int) -> Iterator[tuple[str, int, int]]:
        while start_ms < end_ms:
            day, hour, left_ms = self._place(start_ms)
            part_ms = min(left_ms, end_ms - start_ms)
            yield day, hour, part_ms
            start_ms += part_ms


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
