"""What changed from one health report to the next: that is what happened to a device. Pure.

The rule: only what a report says counts. What a report does not tell (`None`, an empty text) is no
change; a first report is compared with nothing; and where reports are missing for a while, a spell
of heat ends with the last report before the hole, for nobody saw what came after.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

KINDS: Final = ("reboot", "heat", "software", "pipeline", "agent", "clock", "problem")
MAX_AT_ONCE: Final = 20
SILENT_PERIODS: Final = 4.0
STEP_MS: Final = 5_000.0
"""A clock that is off by this much more or less than a report ago was set."""

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_MAX_TEXT: Final = 300


class _System(msgspec.Struct, frozen=True):
    boot_id: str = ""
    throttle_flags: list[str] | None = None
    reboot_cause: str = ""
    reboot_detail: str = ""
    agent_crashes: int | None = None
    agent_exit: str = ""


class _Pipeline(msgspec.Struct, frozen=True):
    running: bool = True
    restarts: int = 0
    last_exit: str = ""
    crashes: int = 0


class _Model(msgspec.Struct, frozen=True):
    model: str
    digest: str = ""


class _Network(msgspec.Struct, frozen=True):
    clock_offset_ms: float | None = None


class Glimpse(msgspec.Struct, frozen=True):
    """A health report as far as a timeline needs it: the rest is skipped, not decoded."""

    version: str = ""
    period_s: float = 30.0
    system: _System = _System()
    pipeline: _Pipeline | None = None
    models: list[_Model] = []
    network: _Network = _Network()
    config_version: str = ""
    site_policy_version: int = 0
    problems: list[str] = []


glimpse = msgspec.msgpack.Decoder(Glimpse).decode


class Last(msgspec.Struct, frozen=True, kw_only=True):
    """How a device was at its last report, as far as the next is compared with it."""

    at_ms: int
    period_s: float = 30.0
    boot_id: str = ""
    version: str = ""
    config_version: str = ""
    policy_version: int = 0
    models: dict[str, str] = {}
    flags: list[str] = []
    occurred: list[str] | None = None
    hot_since_ms: int | None = None
    running: bool | None = None
    crashes: int = 0
    agent_crashes: int | None = None
    clock_state: str = ""
    offset_ms: float | None = None
    problems: list[str] = []


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One change; what `detail` holds depends on the kind."""

    at_ms: int
    kind: str
    detail: dict[str, object] = {}


def changes(
    reports: Iterable[tuple[int, str, Glimpse]], last: Last | None
) -> tuple[list[Happening], Last | None]:
    """Return what happened over `(made_ms, clock_state, report)` in order, and how it ended."""
    found: list[Happening] = []
    for at_ms, clock_state, report in reports:
        if last is not None and at_ms <= last.at_ms:
            continue
        now = _last(at_ms, clock_state, report, last)
        if last is not None:
            found += _between(last, now, report)[:MAX_AT_ONCE]
        elif now.flags:
            found.append(_hot(now))
        last = now
    return found, last


def _last(at_ms: int, clock_state: str, report: Glimpse, before: Last | None) -> Last:
    system, pipeline = report.system, report.pipeline
    flags = sorted(f for f in system.throttle_flags or [] if not f.endswith("-occurred"))
    goes_on = before is not None and bool(before.flags) and not _is_silent(before, at_ms)
    since_ms = before.hot_since_ms if before is not None and goes_on else at_ms
    offset_ms = report.network.clock_offset_ms
    return Last(
        at_ms=at_ms,
        period_s=max(1.0, report.period_s),
        boot_id=system.boot_id or (before.boot_id if before else ""),
        version=report.version or (before.version if before else ""),
        config_version=report.config_version or (before.config_version if before else ""),
        policy_version=report.site_policy_version or (before.policy_version if before else 0),
        models={one.model: one.digest for one in report.models}
        or (before.models if before else {}),
        flags=[flag[:60] for flag in flags[:8]],
        occurred=_occurred(system.throttle_flags),
        hot_since_ms=since_ms if flags else None,
        running=pipeline.running if pipeline else (before.running if before else None),
        crashes=pipeline.crashes if pipeline else (before.crashes if before else 0),
        agent_crashes=system.agent_crashes
        if system.agent_crashes is not None
        else (before.agent_crashes if before else None),
        clock_state=clock_state or (before.clock_state if before else ""),
        offset_ms=offset_ms if offset_ms is not None else (before.offset_ms if before else None),
        problems=sorted({plain(text) for text in report.problems})[:20],
    )


def _occurred(flags: list[str] | None) -> list[str] | None:
    """Return what was since the machine started: those flags stay until it starts again."""
    if flags is None:
        return None
    return sorted(
        flag.removesuffix("-occurred")[:60] for flag in flags if flag.endswith("-occurred")
    )


def _is_silent(before: Last, at_ms: int) -> bool:
    return at_ms - before.at_ms > max(120_000.0, SILENT_PERIODS * before.period_s * 1000)


def plain(text: str) -> str:
    """Return a problem without its numbers: `disk 94 % full` an hour later is the same one."""
    return _NUMBER.sub("#", "".join(c for c in text if c.isprintable()))[:_MAX_TEXT]


def _between(last: Last, now: Last, report: Glimpse) -> list[Happening]:
    return [
        *_starts(last, now, report),
        *_heat(last, now),
        *_software(last, now),
        *_processes(last, now, report),
        *_clock(last, now),
        *_problems(last, now, report),
    ]


def _starts(last: Last, now: Last, report: Glimpse) -> list[Happening]:
    if not last.boot_id or not now.boot_id or last.boot_id == now.boot_id:
        return []
    system = report.system
    detail: dict[str, object] = {
        "cause": system.reboot_cause[:40],
        "said": system.reboot_detail[:_MAX_TEXT],
        "last_ms": last.at_ms,
    }
    return [Happening(at_ms=now.at_ms, kind="reboot", detail=detail)]


def _hot(now: Last) -> Happening:
    detail: dict[str, object] = {"is": "began", "flags": now.flags}
    return Happening(at_ms=now.at_ms, kind="heat", detail=detail)


def _heat(last: Last, now: Last) -> list[Happening]:
    found: list[Happening] = []
    is_silent = _is_silent(last, now.at_ms)
    if last.flags and (is_silent or not now.flags):
        detail: dict[str, object] = {
            "is": "unseen" if is_silent else "ended",
            "flags": last.flags,
            "since_ms": last.hot_since_ms,
        }
        # A moment after the report: it may have begun with that very one.
        at_ms = last.at_ms + 1 if is_silent else now.at_ms
        found.append(Happening(at_ms=at_ms, kind="heat", detail=detail))
    if now.flags and (is_silent or not last.flags):
        found.append(_hot(now))
    fresh = [flag for flag in now.occurred or [] if flag not in (last.occurred or [])]
    if fresh and last.occurred is not None and not last.flags and not now.flags:
        detail = {"is": "occurred", "flags": fresh[:8], "since_ms": last.at_ms}
        found.append(Happening(at_ms=now.at_ms, kind="heat", detail=detail))
    return found


def _software(last: Last, now: Last) -> list[Happening]:
    pairs: list[tuple[str, str, str]] = [
        ("program", last.version, now.version),
        ("settings", last.config_version, now.config_version),
        ("policy", str(last.policy_version or ""), str(now.policy_version or "")),
    ]
    if last.models != now.models and last.models and now.models:
        before = ", ".join(sorted(set(last.models) - set(now.models)))
        after = ", ".join(sorted(set(now.models) - set(last.models)))
        pairs.append(("model", before, after or ", ".join(sorted(now.models))))
    return [
        Happening(
            at_ms=now.at_ms,
            kind="software",
            detail={"what": what, "before": before[:120], "after": after[:120]},
        )
        for what, before, after in pairs
        if after and before != after
    ]


def _processes(last: Last, now: Last, report: Glimpse) -> list[Happening]:
    found: list[Happening] = []
    said = report.pipeline.last_exit[:_MAX_TEXT] if report.pipeline else ""
    if now.crashes > last.crashes:
        count = now.crashes - last.crashes
        detail: dict[str, object] = {"is": "crashed", "count": count, "said": said}
        found.append(Happening(at_ms=now.at_ms, kind="pipeline", detail=detail))
    if None not in {last.running, now.running} and last.running != now.running:
        detail = {"is": "runs" if now.running else "stopped", "said": "" if now.running else said}
        found.append(Happening(at_ms=now.at_ms, kind="pipeline", detail=detail))
    if (now.agent_crashes or 0) > (last.agent_crashes or 0) and last.agent_crashes is not None:
        detail = {"said": report.system.agent_exit[:_MAX_TEXT]}
        found.append(Happening(at_ms=now.at_ms, kind="agent", detail=detail))
    return found


def _clock(last: Last, now: Last) -> list[Happening]:
    found: list[Happening] = []
    if last.clock_state and now.clock_state and last.clock_state != now.clock_state:
        detail: dict[str, object] = {"before": last.clock_state, "after": now.clock_state}
        found.append(Happening(at_ms=now.at_ms, kind="clock", detail=detail))
    if last.offset_ms is not None and now.offset_ms is not None:
        step_ms = now.offset_ms - last.offset_ms
        if abs(step_ms) >= STEP_MS:
            detail = {"step_ms": round(step_ms)}
            found.append(Happening(at_ms=now.at_ms, kind="clock", detail=detail))
    return found


def _problems(last: Last, now: Last, report: Glimpse) -> list[Happening]:
    said = {plain(text): text[:_MAX_TEXT] for text in report.problems}
    return [
        Happening(at_ms=now.at_ms, kind="problem", detail={"said": said[name]})
        for name in now.problems
        if name not in last.problems
    ]
