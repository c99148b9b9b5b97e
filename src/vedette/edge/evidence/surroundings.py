"""What a camera lived through lately: remembered for the packages that will be made.

Here: listening to what the pipeline says anyway (events, spans, corrections), and looking it up
when a package is made. Not here: pixels and boxes (`store`). The rule: what this process did not
see it does not tell of; a package is made without any of this where it is not known.

Thread: `take` from any; `around` and `tend` from the evidence thread.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from vedette.clock import NS_PER_MS, NS_PER_S, Clock, wall_ms
from vedette.edge.evidence.pattern import Pattern
from vedette.errors import SpoolError
from vedette.wire.circumstances import (
    ClockFacts,
    CoverageFacts,
    PatternFacts,
    RelatedEvent,
    Surroundings,
)
from vedette.wire.envelope import ClockState
from vedette.wire.messages import Aggregate, CoverageReport, EventReport, Span

_LOG = logging.getLogger(__name__)

AROUND_MS: Final = 300_000
"""Coverage and related events are told of for so long before and after an event."""

MAX_RELATED: Final = 50
SAVE_EVERY_S: Final = 1800.0
FILE: Final = ".pattern.msgpack"
_KEPT_MS: Final = 2 * AROUND_MS
_MAX_EVENTS: Final = 500
_MAX_SPANS: Final = 400

Peek = Callable[[int], list[Span]]
"""Returns the spans of a camera's slice that is being built, up to a wall time (ms)."""


@dataclass(slots=True)
class _Camera:
    events: deque[RelatedEvent] = field(default_factory=lambda: deque(maxlen=_MAX_EVENTS))
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=_MAX_SPANS))
    peek: Peek = lambda _until_ms: []


class Memory:
    """What every camera lived through in the last minutes, and its hours of five weeks.

    Args:
        root: The evidence folder, where hours are kept across restarts.
        clock: Time.
        boot_id: Of this boot.
        time_zone: The site's; UTC where there is none such.
        who: Site and device; empty where the device belongs to no central.
        clock_state: How far the wall clock can be believed now.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock,
        *,
        boot_id: str,
        time_zone: str = "UTC",
        who: tuple[str, str] = ("", ""),
        clock_state: Callable[[], ClockState],
    ) -> None:
        self._path: Final = root / FILE
        self._clock: Final = clock
        self._boot_id: Final = boot_id
        self._who: Final = who
        self._ask_clock: Final = clock_state
        self._lock: Final = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        self._began_ms: Final = wall_ms(clock.now_at())
        try:
            zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError):  # the cameras refuse it, in words
            zone = ZoneInfo("UTC")
        self._time_zone: Final = zone.key
        self._pattern: Final = Pattern(zone)
        self._pattern.load(self._path)
        self._saved_ns = clock.mono_ns()
        self.is_believed = True

    def watch(self, camera: str, peek: Peek) -> None:
        """Ask `peek` for the part of a camera's coverage that no aggregate carries yet."""
        with self._lock:
            self._cameras.setdefault(camera, _Camera()).peek = peek

    def take(self, message: msgspec.Struct) -> None:
        """Remember what is said of a camera; other messages are nothing here."""
        if isinstance(message, EventReport):
            self._take_event(message)
        elif isinstance(message, Aggregate):
            with self._lock:
                self._take_spans(message.camera, message.spans)
        elif isinstance(message, CoverageReport):
            with self._lock:
                self._correct(message.camera, message.spans)

    def around(self, event: EventReport) -> Surroundings:
        """Return what is known of the time around an event, now."""
        state = self._clock_state()
        now_ms = wall_ms(self._clock.now_at())
        window = (max(0, event.at_ms - AROUND_MS), event.at_ms + AROUND_MS)
        with self._lock:
            camera = self._cameras.get(event.camera) or _Camera()
            known, events, peek = list(camera.spans), list(camera.events), camera.peek
            hour, days = self._pattern.days(event.camera, event.at_ms, event.kind, event.where)
        # Not under our lock: it asks the lane, which may be handing us a message.
        spans = known + [s for s in peek(now_ms) if not known or s.end_ms > known[-1].end_ms]
        related = [
            one
            for one in events
            if window[0] <= one.at_ms <= window[1] and one.event != event.event
        ]
        nearest = sorted(related, key=lambda one: abs(one.at_ms - event.at_ms))[:MAX_RELATED]
        return Surroundings(
            site=self._who[0],
            device=self._who[1],
            clock=ClockFacts(
                state=state,
                made_ms=now_ms,
                mono_ms=self._clock.mono_ns() // NS_PER_MS,
                boot_id=self._boot_id,
                time_zone=self._time_zone,
            ),
            coverage=CoverageFacts(
                window_ms=(window[0], min(window[1], max(now_ms, window[0]))),
                known_from_ms=self._began_ms,
                spans=within(spans, *window),
            ),
            related=sorted(nearest, key=lambda one: one.at_ms),
            related_left_out=len(related) - len(nearest),
            pattern=PatternFacts(
                kind=event.kind,
                where=event.where,
                hour=hour,
                time_zone=self._time_zone,
                days=days,
            ),
        )

    def tend(self) -> None:
        """Save the hours now and then, and look whether times can be believed."""
        self.is_believed = self._clock_state() != ClockState.UNTRUSTED
        if self._clock.mono_ns() - self._saved_ns >= SAVE_EVERY_S * NS_PER_S:
            self.save()

    def save(self) -> None:
        """Save the hours; what the disk refuses is tried again with the next time."""
        self._saved_ns = self._clock.mono_ns()
        try:
            with self._lock:
                self._pattern.save(self._path)
        except OSError as problem:
            _LOG.warning(
                "the pattern of hours is not kept: %s",
                problem,
                extra={"event": "evidence.pattern_not_kept"},
            )

    # ------------------------------------------------------------------------------- internals

    def _clock_state(self) -> str:
        try:
            return self._ask_clock().value
        except SpoolError:
            return ""

    def _take_event(self, event: EventReport) -> None:
        one = RelatedEvent(
            event=event.event,
            kind=event.kind,
            at_ms=event.at_ms,
            where=event.where,
            label=event.label,
            track=event.track,
            evidence=event.evidence,
        )
        with self._lock:
            self._cameras.setdefault(event.camera, _Camera()).events.append(one)
            if self.is_believed:
                self._pattern.count(event.camera, event.at_ms, event.kind, event.where)

    def _take_spans(self, name: str, spans: list[Span]) -> None:
        kept = self._cameras.setdefault(name, _Camera()).spans
        for span in spans:
            kept.append(span)
            if span.cause is None and self.is_believed:
                self._pattern.observe(name, span.start_ms, span.end_ms)
        while kept and kept[0].end_ms < kept[-1].end_ms - _KEPT_MS:
            kept.popleft()

    def _correct(self, name: str, spans: list[Span]) -> None:
        """Put gaps that were noticed late over what was said before."""
        camera = self._cameras.setdefault(name, _Camera())
        for gap in spans:
            before = [s for s in camera.spans if s.cause is None]
            lost = within(before, gap.start_ms, gap.end_ms)
            kept = covered_by(list(camera.spans), gap)
            camera.spans.clear()
            camera.spans.extend(kept)
            if self.is_believed:
                for span in lost:
                    self._pattern.observe(name, span.start_ms, span.end_ms, sign=-1)


def within(spans: list[Span], start_ms: int, end_ms: int) -> list[Span]:
    """Return the parts of `spans` that lie in a window, neighbours that say the same as one."""
    found: list[Span] = []
    for span in spans:
        start, end = max(span.start_ms, start_ms), min(span.end_ms, end_ms)
        if start >= end:
            continue
        if found and found[-1].end_ms == start and _says(found[-1]) == _says(span):
            found[-1] = msgspec.structs.replace(found[-1], end_ms=end)
        else:
            found.append(msgspec.structs.replace(span, start_ms=start, end_ms=end))
    return found


def _says(span: Span) -> tuple[object, ...]:
    return span.cause, span.detail, span.rate_fps


def covered_by(spans: list[Span], gap: Span) -> list[Span]:
    """Return `spans` with `gap` over what was said of that time as observed."""
    found: list[Span] = []
    for span in spans:
        if span.cause is not None or span.end_ms <= gap.start_ms or span.start_ms >= gap.end_ms:
            found.append(span)
            continue
        if span.start_ms < gap.start_ms:
            found.append(msgspec.structs.replace(span, end_ms=gap.start_ms))
        start, end = max(span.start_ms, gap.start_ms), min(span.end_ms, gap.end_ms)
        found.append(msgspec.structs.replace(gap, start_ms=start, end_ms=end))
        if span.end_ms > gap.end_ms:
            found.append(msgspec.structs.replace(span, start_ms=gap.end_ms))
    return found
