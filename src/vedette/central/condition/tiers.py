"""Of what a device depends on, what is well: power, heat, disk, memory, clock, network, … Pure.

One health report in, a row for each part out. The rule: what a machine cannot tell is `unknown`,
never `ok`; a part that is not `ok` says what to do.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.amounts import counted
from vedette.central.throttle_words import flag_text
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import HealthReport

HOT_C: Final = 80.0
FULL: Final = 0.90
VERY_FULL: Final = 0.97
SLOW_MS: Final = 2_000.0
LOSSY: Final = 0.03
OFF_MS: Final = 5_000.0
WEAK_DBM: Final = -80.0

_POWER: Final = ("under-voltage", "on-battery", "over-current", "power")
"""Parts of the names of throttle flags that speak of power, not of heat."""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a device: `state` is ok, degraded, down or unknown; `said` are its numbers."""

    name: str
    state: str
    said: str
    todo: str = ""


def held_back(flags: list[str] | None) -> list[str]:
    """Return the flags by which a machine is held back now, not those that only once were."""
    return [flag for flag in flags or [] if not flag.endswith("-occurred")]


def tiers(report: HealthReport | None, clock_state: str) -> list[Tier]:
    """Return every part of a device as its newest report tells it; all unknown without one."""
    if report is None:
        return [Tier(name=name, state="unknown", said="never reported") for name in NAMES]
    made = [judge(report) for judge in _JUDGES.values()]
    made.insert(_CLOCK_AT, _clock(report, clock_state))
    return made


def _power(report: HealthReport) -> Tier:
    system = report.system
    flags = [flag for flag in held_back(system.throttle_flags) if is_power(flag)]
    drawn = f"{system.power_w:.1f} W" if system.power_w is not None else ""
    if flags:
        todo = "Use a stronger supply and a shorter, thicker cable; look at plug and battery."
        said = f"{flag_text(flags)}, {drawn}" if drawn else flag_text(flags)
        return Tier(name="power", state="degraded", said=said, todo=todo)
    was = [f for f in system.throttle_flags or [] if f.endswith("-occurred") and is_power(f)]
    if was:
        return Tier(
            name="power",
            state="degraded",
            said=f"{flag_text([was[0].removesuffix('-occurred')])} since the last start, not now",
            todo="The supply was too weak for a moment: use a stronger one before it crashes.",
        )
    if system.throttle_flags is None:
        return Tier(name="power", state="unknown", said=drawn or "this machine cannot tell")
    return Tier(name="power", state="ok", said=drawn or "no sign of want")


def is_power(flag: str) -> bool:
    """True where a throttle flag speaks of power, not of heat."""
    return any(part in flag for part in _POWER)


def _heat(report: HealthReport) -> Tier:
    system = report.system
    hottest = max(system.temperatures_c.values(), default=None)
    said = f"{hottest:.0f} °C" if hottest is not None else ""
    flags = [flag for flag in held_back(system.throttle_flags) if not is_power(flag)]
    if flags:
        return Tier(
            name="heat",
            state="degraded",
            said=f"held back now: {flag_text(flags)}{f', at {said}' if said else ''}",
            todo="Give it air: clean fan and slots, a cooler place; until then it is slower.",
        )
    if hottest is not None and hottest >= HOT_C:
        todo = f"Above {HOT_C:.0f} °C machines slow down: give it air before it does."
        return Tier(name="heat", state="degraded", said=said, todo=todo)
    if hottest is None:
        return Tier(name="heat", state="unknown", said="no sensor")
    return Tier(name="heat", state="ok", said=said)


def _disk(report: HealthReport) -> Tier:
    used, free_mb = report.system.disk_used_fraction, report.system.disk_free_mb
    if used is None:
        return Tier(name="disk", state="unknown", said="not told")
    free = f", {free_mb / 1000:.1f} GB free" if free_mb is not None else ""
    said = f"{used * 100:.0f} % used{free}"
    if used < FULL:
        return Tier(name="disk", state="ok", said=said)
    return Tier(
        name="disk",
        state="down" if used >= VERY_FULL else "degraded",
        said=said,
        todo="Free space or fit a larger disk: a full one makes the device drop what it kept.",
    )


def _memory(report: HealthReport) -> Tier:
    system, pipeline = report.system, report.pipeline
    used = system.memory_used_fraction
    if pipeline is not None and pipeline.memory_kills:
        killed = counted(pipeline.memory_kills, "time")
        return Tier(
            name="memory",
            state="down",
            said=f"the kernel ended the pipeline {killed} for want of memory",
            todo="Fewer workers, a smaller model or stream, or more memory.",
        )
    if system.growth_mb_per_h:
        said = ", ".join(f"{who} +{n:.1f} MB/h" for who, n in system.growth_mb_per_h.items())
        todo = "It grows for hours: restart it before it is full, and report it with the log."
        return Tier(name="memory", state="degraded", said=said, todo=todo)
    if used is None:
        return Tier(name="memory", state="unknown", said="not told")
    of = f" of {system.memory_mb / 1000:.1f} GB" if system.memory_mb else ""
    said = f"{used * 100:.0f} % used{of}"
    if used >= FULL:
        todo = "Little is left: fewer workers or a smaller model, before the kernel ends one."
        return Tier(name="memory", state="degraded", said=said, todo=todo)
    return Tier(name="memory", state="ok", said=said)


def _clock(report: HealthReport, clock_state: str) -> Tier:
    offset_ms = report.network.clock_offset_ms
    off = f", {offset_ms / 1000:+.1f} s against central" if offset_ms is not None else ""
    if clock_state == "untrusted":
        todo = "It counts nothing until it knows the time: look at NTP and at the clock's battery."
        return Tier(name="clock", state="down", said=f"known to be wrong{off}", todo=todo)
    if clock_state == "floor":
        todo = "Not confirmed since it started; that comes with its next contact to central."
        said = f"not confirmed, but not before what it last knew{off}"
        return Tier(name="clock", state="degraded", said=said, todo=todo)
    if clock_state != "trusted":
        return Tier(name="clock", state="unknown", said=clock_state or "not told")
    if offset_ms is not None and abs(offset_ms) > OFF_MS:
        todo = "The machine's clock is off, and corrected for: let it ask an NTP server."
        return Tier(name="clock", state="degraded", said=f"agreed{off}", todo=todo)
    return Tier(name="clock", state="ok", said=f"agreed with central{off}")


def round_trip_ms(report: HealthReport, quantile: float = 0.5) -> float | None:
    """Return a quantile of the round trips to central in a report; None where there were none."""
    wire = report.network.round_trip_ms
    sketch = ExpHistogram.from_wire(wire) if wire is not None else None
    return sketch.quantile(quantile) if sketch is not None and sketch.count else None


def _network(report: HealthReport) -> Tier:
    net = report.network
    trip = round_trip_ms(report)
    parts = [f"{trip:.0f} ms" if trip is not None else ""]
    parts.append(f"{net.loss_fraction * 100:.1f} % lost" if net.loss_fraction is not None else "")
    parts.append(f"{net.signal_dbm:.0f} dBm" if net.signal_dbm is not None else "")
    parts.append(net.link)
    said = ", ".join(part for part in parts if part)
    if net.requests and net.failures * 2 >= net.requests:
        said = f"{net.failures} of {net.requests} requests failed" + (f", {said}" if said else "")
        todo = "Ask for a network test below: it names the step that fails."
        return Tier(name="network", state="degraded", said=said, todo=todo)
    is_bad = (net.loss_fraction or 0) > LOSSY or (trip or 0) > SLOW_MS
    if is_bad or (net.signal_dbm is not None and net.signal_dbm < WEAK_DBM):
        todo = "A poor line: move the antenna or the cable; a network test names the hop."
        return Tier(name="network", state="degraded", said=said, todo=todo)
    if not said:
        return Tier(name="network", state="unknown", said="not told")
    return Tier(name="network", state="ok", said=said)


def _spool(report: HealthReport) -> Tier:
    spool = report.spool
    depth = sum(spool.depth.values())
    share = spool.bytes / spool.quota_bytes if spool.quota_bytes else None
    said = f"{depth:,} waiting" + (f", {share * 100:.0f} % of its space" if share else "")
    if spool.evicted:
        todo = "What was dropped does not come back: a larger quota or disk, or a shorter outage."
        said = f"{spool.evicted:,} dropped for want of space, {said}"
        return Tier(name="spool", state="down", said=said, todo=todo)
    if share is not None and share >= FULL:
        todo = "Nearly full: it drops the least important first. Restore the line to central soon."
        return Tier(name="spool", state="degraded", said=said, todo=todo)
    return Tier(name="spool", state="ok", said=said)


def _pipeline(report: HealthReport) -> Tier:
    pipeline = report.pipeline
    if pipeline is None:
        return Tier(name="pipeline", state="unknown", said="not told")
    why = f": {pipeline.last_exit}" if pipeline.last_exit else ""
    if not pipeline.running:
        todo = "Ask for the log below; its end has the reason. Status 2 is a setting or a model."
        return Tier(name="pipeline", state="down", said=f"does not run{why}", todo=todo)
    if pipeline.crashes:
        todo = "It comes back by itself, but not for nothing: ask for the log below."
        said = f"runs; it ended {counted(pipeline.crashes, 'time')} unasked{why}"
        return Tier(name="pipeline", state="degraded", said=said, todo=todo)
    count = len(pipeline.cameras)
    return Tier(name="pipeline", state="ok", said=f"runs, {counted(count, 'camera')}")


_JUDGES: Final[dict[str, Callable[[HealthReport], Tier]]] = {
    "power": _power,
    "heat": _heat,
    "disk": _disk,
    "memory": _memory,
    "network": _network,
    "spool": _spool,
    "pipeline": _pipeline,
}
_CLOCK_AT: Final = 4
NAMES: Final = (*list(_JUDGES)[:_CLOCK_AT], "clock", *list(_JUDGES)[_CLOCK_AT:])
"""Every part, in the order in which they are told: what others depend on first."""
