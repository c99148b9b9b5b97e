"""Which rules an event fires, and how an alert says it. Pure: the caller tells the time."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from vedette.wire.alerts import LocalAlert, LocalRule, Turn, any_like, is_about
from vedette.wire.messages import EventReport

MAX_REMEMBERED: Final = 1000
"""Events that one rule counts on one camera: as many as `at_least` can ask for."""


class Place:
    """Who speaks: what every alert of this device says of it."""

    def __init__(self, site: str, device: str) -> None:
        self.site: Final = site
        self.device: Final = device


class Matcher:
    """Counts and quiet times by rule and camera. Thread: one at a time."""

    def __init__(self) -> None:
        self._seen_s: dict[tuple[str, str], deque[float]] = {}
        self._quiet_until_s: dict[tuple[str, str], float] = {}

    def fire(
        self, rules: Sequence[LocalRule], event: EventReport, place: Place, now_s: float
    ) -> Iterator[tuple[LocalRule, LocalAlert]]:
        """Yield what an event fires.

        Args:
            rules: Those that hold here.
            event: What happened.
            place: This device.
            now_s: Monotonic; only differences count.
        """
        for rule in rules:
            match = rule.event
            if match is None or not is_about(match, event):
                continue
            if any_like(rule.cameras, event.camera) and self._is_enough(rule, event, now_s):
                yield rule, alert_of(rule, event, place)

    def keep(self, rules: Sequence[LocalRule]) -> None:
        """Forget what rules of before counted."""
        names = {rule.rule for rule in rules}
        for memory in (self._seen_s, self._quiet_until_s):
            for key in [key for key in memory if key[0] not in names]:
                del memory[key]

    def _is_enough(self, rule: LocalRule, event: EventReport, now_s: float) -> bool:
        key = (rule.rule, event.camera)
        match = rule.event
        if match is not None and match.at_least > 1:
            seen = self._seen_s.setdefault(key, deque(maxlen=MAX_REMEMBERED))
            seen.append(now_s)
            while seen and seen[0] < now_s - match.within_s:
                seen.popleft()
            if len(seen) < match.at_least:
                return False
            seen.clear()
        if rule.quiet_s <= 0:
            return True
        if now_s < self._quiet_until_s.get(key, now_s):
            return False
        self._quiet_until_s[key] = now_s + rule.quiet_s
        return True


def alert_of(rule: LocalRule, event: EventReport, place: Place) -> LocalAlert:
    """Return the alert about an event; the same event and rule give the same name again."""
    return LocalAlert(
        alert=name_of(place.device, rule.rule, event.event),
        rule=rule.rule,
        severity=rule.severity,
        turn=Turn.EVENT,
        site=place.site,
        device=place.device,
        at_ms=event.at_ms,
        text=in_words(event),
        camera=event.camera,
        place=event.where,
        kind=event.kind,
        label=event.label,
        direction=event.direction,
        confidence=event.confidence,
        value=event.dwell_s if event.dwell_s is not None else event.score,
        event=event.event,
        evidence=event.evidence,
    )


def name_of(*parts: str) -> str:
    """Return an alert's name: made of what it is about, without a full stop."""
    text = "\0".join(parts).encode()
    return "la-" + hashlib.sha256(text).hexdigest()[:24]


def in_words(event: EventReport) -> str:
    """Return what happened as people say it."""
    what = str(event.kind).replace("_", " ")
    where = f" at {event.where}" if event.where else ""
    who = f" ({event.label})" if event.label else ""
    return f"{event.camera}: {what}{where}{who}"[:500]
