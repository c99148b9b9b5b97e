"""Which trouble of this device is new, and which is over. Pure.

Read from the health report that goes to central, and from news of cameras between two of them. The
rule: what was not measured is not trouble.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vedette.edge.alerts.matching import Place, name_of
from vedette.wire.alerts import LocalAlert, LocalHealth, LocalRule, Turn, any_like
from vedette.wire.messages import HealthReport, State

DEFAULT_ABOVE: Final = {
    LocalHealth.MEMORY_LEAK: 20.0,  # MB an hour
    LocalHealth.DISK: 0.9,
    LocalHealth.NETWORK_LOSS: 0.05,
    LocalHealth.SPOOL_FILLING: 0.5,
    LocalHealth.CLOCK: 5.0,  # seconds away from central's
}
_OF_CAMERA: Final = {
    LocalHealth.CAMERA_DOWN: State.DOWN,
    LocalHealth.TAMPERED: State.TAMPERED,
    LocalHealth.DEGRADED: State.DEGRADED,
}


@dataclass(slots=True)
class Facts:
    """What is known now.

    Attributes:
        cameras: State and its reason in words, by camera.
        report: The newest.
        crashed: The pipeline ended unasked since the report before.
        cut_off_s: For how long central has not answered; None: it does.
    """

    cameras: dict[str, tuple[State, str]]
    report: HealthReport | None = None
    crashed: bool = False
    cut_off_s: float | None = None


@dataclass(slots=True)
class _Seen:
    since_s: float
    since_ms: int
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Said:
    turn: Turn
    camera: str
    since_ms: int
    text: str
    value: float | None = None


class Conditions:
    """What is wrong, since when, and whether it was told. Thread: one at a time."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def look(
        self,
        rules: Sequence[LocalRule],
        facts: Facts,
        place: Place,
        now: tuple[float, int],
    ) -> Iterator[tuple[LocalRule, LocalAlert]]:
        """Yield what was not told yet: trouble that lasted long enough, and its end.

        Args:
            rules: Those that hold here.
            facts: What is known.
            place: This device.
            now: Monotonic seconds, and wall milliseconds.
        """
        now_s, now_ms = now
        wanted: set[tuple[str, str]] = set()
        for rule in rules:
            if rule.health is None:
                continue
            true = dict(_troubles(rule, facts))
            wanted |= {(rule.rule, camera) for camera in true}
            for camera, (value, text) in true.items():
                seen = self._seen.setdefault((rule.rule, camera), _Seen(now_s, now_ms))
                if not seen.told and now_s - seen.since_s >= rule.health.for_s:
                    seen.told = True
                    said = _Said(Turn.RAISED, camera, seen.since_ms, text, value)
                    yield rule, _alert(rule, place, said, seen.since_ms)
        by_name = {rule.rule: rule for rule in rules}
        for key in [key for key in self._seen if key not in wanted]:
            seen = self._seen.pop(key)
            rule = by_name.get(key[0])
            if seen.told and rule is not None:
                text = f"{_subject(rule, key[1])}: over"
                said = _Said(Turn.CLEARED, key[1], seen.since_ms, text)
                yield rule, _alert(rule, place, said, now_ms)

    @property
    def waits(self) -> bool:
        """True while something is wrong that did not last long enough yet."""
        return any(not seen.told for seen in self._seen.values())


def _troubles(rule: LocalRule, facts: Facts) -> Iterator[tuple[str, tuple[float | None, str]]]:
    """Yield camera (empty: the device), value and words of what is wrong by one rule."""
    match = rule.health
    if match is None:
        return
    what = match.is_
    if what in _OF_CAMERA:
        for camera, (state, detail) in facts.cameras.items():
            if state is _OF_CAMERA[what] and any_like(rule.cameras, camera):
                said = f": {detail}" if detail else ""
                yield camera, (None, f"{_subject(rule, camera)}{said}"[:500])
        return
    if what is LocalHealth.CENTRAL_UNREACHABLE:
        if facts.cut_off_s is not None:
            text = f"central does not answer since {facts.cut_off_s:.0f} s"
            yield "", (round(facts.cut_off_s, 1), text)
        return
    if facts.report is None:
        return
    if what is LocalHealth.THROTTLED:
        flags = facts.report.system.throttle_flags
        if flags:
            yield "", (None, f"throttled: {', '.join(flags)}"[:500])
    elif what is LocalHealth.PIPELINE_CRASHED:
        pipeline = facts.report.pipeline
        if facts.crashed or (pipeline is not None and not pipeline.running):
            yield "", (None, f"the pipeline ended: {pipeline.last_exit if pipeline else ''}"[:500])
    else:
        value = measured(what, facts.report)
        above = DEFAULT_ABOVE[what] if match.above is None else match.above
        if value is not None and value > above:
            yield "", (round(value, 4), f"{_subject(rule, '')}: {value:.3g}, above {above:.3g}")


def measured(what: LocalHealth, report: HealthReport) -> float | None:
    """Return the number that a condition is about; None where it was not measured."""
    system, spool = report.system, report.spool
    offset_ms = report.network.clock_offset_ms
    found: Mapping[LocalHealth, float | None] = {
        LocalHealth.MEMORY_LEAK: max(system.growth_mb_per_h.values(), default=None),
        LocalHealth.DISK: system.disk_used_fraction,
        LocalHealth.NETWORK_LOSS: report.network.loss_fraction,
        LocalHealth.SPOOL_FILLING: spool.bytes / spool.quota_bytes if spool.quota_bytes else None,
        LocalHealth.CLOCK: None if offset_ms is None else abs(offset_ms) / 1000,
    }
    return found.get(what)


def _subject(rule: LocalRule, camera: str) -> str:
    what = str(rule.health.is_).replace("_", " ") if rule.health else rule.rule
    return f"{camera}: {what}" if camera else what


def _alert(rule: LocalRule, place: Place, said: _Said, at_ms: int) -> LocalAlert:
    return LocalAlert(
        alert=name_of(place.device, rule.rule, said.camera, said.turn, str(said.since_ms)),
        rule=rule.rule,
        severity=rule.severity,
        turn=said.turn,
        site=place.site,
        device=place.device,
        at_ms=at_ms,
        text=said.text,
        camera=said.camera,
        kind=str(rule.health.is_) if rule.health else "",
        value=said.value,
    )
