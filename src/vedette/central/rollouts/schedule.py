"""What a rollout would do and when: the dry run, with dates. Pure.

The rule: it uses the choice and the limits of the planner itself, so that what it prints is what
happens if every device stays reachable, every hour is covered and no gate has anything to say. All
times are the earliest ones.
"""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from vedette.amounts import counted
from vedette.central import hours
from vedette.central.rollouts import choice, taking, windows
from vedette.central.rollouts.facts import Device, Evidence, Plan, RolloutState
from vedette.errors import ConfigError


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One device in a stage.

    Attributes:
        from_ms, to_ms: Its first window in this stage; None where there is none.
        local: The same by the clock on the wall of its site.
        reason: Why it was chosen.
        obstacle: Why it would be skipped if it stayed as it is; empty: it would not.
    """

    device: str
    site: str
    from_ms: int | None
    to_ms: int | None
    local: str
    reason: str
    obstacle: str = ""


class StageDates(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the dry run.

    Attributes:
        allowed: Devices in it and in the stages before.
        from_ms: When it could begin; end_ms: when it could be left; None: no device has a window.
    """

    number: int
    state: RolloutState
    allowed: int
    from_ms: int
    end_ms: int | None
    devices: list[Planned]


def dates(
    plan: Plan, devices: Sequence[Device], evidence: Evidence, start_ms: int
) -> list[StageDates]:
    """Return for each stage who would be in it, and from when, if it began at `start_ms`."""
    ordered = choice.in_order(plan, devices)
    obstacles = {d.device: taking.obstacle(plan, d, evidence, start_ms) for d in ordered}
    able = [d for d in ordered if not obstacles[d.device]]
    found: list[StageDates] = []
    begins_ms, taken = start_ms, 0
    alike = Counter(d.strata for d in ordered)
    for index, stage in enumerate(plan.stages):
        allowed = taking.allowed(plan, index, len(ordered))
        first = 0 if stage.state is RolloutState.SHADOW else taken
        is_last = index + 1 == len(plan.stages)
        members = able[first:allowed]
        held_up = [d for d in ordered if obstacles[d.device]] if is_last else []
        planned = [
            _planned(plan, d, obstacles[d.device], begins_ms, alike[d.strata])
            for d in [*members, *held_up]
        ]
        if stage.state is not RolloutState.SHADOW:
            taken = max(taken, min(allowed, len(able)))
        ends = [p.from_ms for p in planned if p.from_ms is not None and not p.obstacle]
        soak_ms = math.ceil(stage.soak_h * 3_600_000 + plan.probation_s * 1000)
        end_ms = max(ends) + soak_ms if ends else None
        found.append(
            StageDates(
                number=index + 1,
                state=stage.state,
                allowed=allowed,
                from_ms=begins_ms,
                end_ms=end_ms,
                devices=planned,
            )
        )
        begins_ms = end_ms or begins_ms + soak_ms
    return found


def in_words(stages: Sequence[StageDates], time_zone: str = "UTC") -> list[str]:
    """Return the dry run as lines, dates by one clock and windows by each site's.

    Raises:
        ConfigError: No such time zone.
    """
    zone = hours.zone_of(time_zone)
    lines: list[str] = []
    for stage in stages:
        lines.append(f"{stage.number}. {stage.state}: {_span(stage, zone)}")
        lines += [
            f"   {d.device} ({d.site}): "
            + (f"skipped: {d.obstacle}" if d.obstacle else f"{d.local}; {d.reason}")
            for d in stage.devices
        ]
    return lines


def _span(stage: StageDates, zone: ZoneInfo) -> str:
    """Return when a stage is, and of how many, in words."""
    if not stage.devices:
        return f"no device of its own; those before it are {stage.allowed} already"
    new = counted(len(stage.devices), "more device")
    more = f"{new}, {stage.allowed} with those before"
    from_at = _at(stage.from_ms, zone)
    if stage.end_ms is None:
        return f"from {from_at}, but no device of it can change over; {more}"
    return f"{from_at} to {_at(stage.end_ms, zone)} at the earliest, {more}"


def _planned(plan: Plan, device: Device, why: str, from_ms: int, alike: int) -> Planned:
    """Return when one device could change over in a stage that begins then."""
    is_pinned = device.device in plan.pinned
    reason = choice.PINNED if is_pinned else choice.reason_of(device, alike)
    span: tuple[int, int] | None = None
    local = ""
    try:
        span = windows.next_window(plan.windows, device.time_zone, from_ms)
        zone = hours.zone_of(device.time_zone)
        local = f"any time from {_at(span[0], zone)}"
        if plan.windows:
            local = f"{_at(span[0], zone)} to {_at(span[1], zone)}"
    except ConfigError as error:
        why = why or str(error)
    return Planned(
        device=device.device,
        site=device.site,
        from_ms=span[0] if span else None,
        to_ms=span[1] if span else None,
        local=local,
        reason=reason,
        obstacle=why,
    )


def _at(at_ms: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M %Z")
