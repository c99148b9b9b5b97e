"""What happens to a fleet: a small file that a person can read and write. Pure.

    hours: 2
    devices: 60
    faults:
      - {kind: offline, devices: 5, at_min: 20, for_min: 30}
      - {kind: flap, devices: 3, at_min: 10, for_min: 40, every_min: 5}
      - {kind: duplicate, devices: 10, at_min: 0, for_min: 100, chance: 0.3}

Which devices are hit is drawn by the seed, for each fault anew, so a scenario says how many and a
run can be repeated exactly. Times are minutes since the start and multiples of the step.
"""

import enum
import random
from pathlib import Path
from typing import Annotated, Final

import msgspec

from vedette import config
from vedette.config import entry
from vedette.errors import ConfigError

STEP_S: Final = 10
"""Simulated seconds between two looks at everything."""


class Kind(enum.StrEnum):
    """What can happen to a device."""

    OFFLINE = "offline"  # works on, cannot reach central
    SITE_CUT = "site_cut"  # the same for whole sites
    POWER = "power"  # off; boots at the end
    CLOCK = "clock"  # the wall clock is wrong by `by_min` minutes; far back: it says 1970
    WAKE_1970 = "wake_1970"  # boots with the clock at 1970, put right at the end
    FLAP = "flap"  # a camera goes and comes, each for `every_min`
    LOST_SPOOL = "lost_spool"  # cannot reach central, then everything that waited is gone
    QUOTA = "quota"  # cannot reach central, and only `messages` fit into the spool
    DUPLICATE = "duplicate"  # a batch is sent twice at once
    REORDER = "reorder"  # the second half of a batch overtakes the first
    TRUNCATE = "truncate"  # a body breaks off
    REPLAY = "replay"  # an old request is sent again
    LOSE_ANSWER = "lose_answer"  # central's answer never arrives
    CLONE = "clone"  # a second device with the same key and a copy of the spool


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of trouble for some devices."""

    kind: Annotated[Kind, entry("What happens")]
    devices: Annotated[int, entry("How many devices (site_cut: sites)", ge=1)] = 1
    at_min: Annotated[float, entry("From when", unit="min", ge=0)] = 0.0
    for_min: Annotated[float, entry("For how long", unit="min", ge=0)] = 0.0
    by_min: Annotated[int, entry("clock: how far it is wrong", unit="min")] = 0
    every_min: Annotated[float, entry("flap: how long up, how long down", unit="min", ge=1)] = 5.0
    chance: Annotated[float, entry("For each batch", ge=0, le=1)] = 0.2
    messages: Annotated[int, entry("quota: what fits", ge=10)] = 100


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fleet and its troubles."""

    hours: Annotated[float, entry("Simulated time", unit="h", gt=0, le=24 * 14)] = 2.0
    devices: Annotated[int, entry("How many", ge=1, le=10_000)] = 60
    cameras: Annotated[int, entry("Of each device", ge=1, le=64)] = 2
    per_site: Annotated[int, entry("Devices of one site", ge=1)] = 5
    seed: Annotated[int, entry("Of all chance")] = 1
    events_per_h: Annotated[float, entry("Of each camera", ge=0)] = 4.0
    faults: Annotated[list[Fault], entry("What happens")] = []


class Spell(msgspec.Struct, frozen=True):
    """A fault as it meets one device, in milliseconds since the start."""

    fault: Fault
    start_ms: int
    end_ms: int


def load(path: Path) -> Scenario:
    """Return the scenario of a YAML or JSON file.

    Raises:
        ConfigError: Not one; the text names the entry.
    """
    found = config.load(path, Scenario)
    check(found)
    return found


def check(scenario: Scenario) -> None:
    """Return where this scenario can be run and judged.

    Raises:
        ConfigError: A fault outlasts the run, or hits more than there is.
    """
    sites = -(-scenario.devices // scenario.per_site)
    for fault in scenario.faults:
        if fault.at_min + fault.for_min > scenario.hours * 60:
            raise ConfigError(
                f"{fault.kind} ends after the run",
                operator_hint="at_min + for_min must be within hours: what lasts is not judged",
            )
        if fault.devices > (sites if fault.kind is Kind.SITE_CUT else scenario.devices):
            raise ConfigError(f"{fault.kind} hits more devices or sites than there are")


def spells(scenario: Scenario) -> list[list[Spell]]:
    """Return, for each device, what happens to it, by start."""
    rng = random.Random(scenario.seed)  # noqa: S311 - repeatable chance, no secrets
    found: list[list[Spell]] = [[] for _ in range(scenario.devices)]
    step_ms = STEP_S * 1000
    for fault in scenario.faults:
        start_ms = round(fault.at_min * 60_000 / step_ms) * step_ms
        spell = Spell(fault, start_ms, start_ms + round(fault.for_min * 60_000 / step_ms) * step_ms)
        for number in _hit(fault, scenario, rng, found):
            found[number].append(spell)
    for spelled in found:
        spelled.sort(key=lambda spell: spell.start_ms)
    return found


_ALONE: Final = {Kind.CLOCK, Kind.WAKE_1970, Kind.LOST_SPOOL, Kind.CLONE}
"""Kinds that need a device for themselves: with others nobody could say what is right."""
_HARMLESS: Final = {Kind.DUPLICATE, Kind.REORDER, Kind.REPLAY, Kind.TRUNCATE, Kind.LOSE_ANSWER}


def _hit(
    fault: Fault, scenario: Scenario, rng: random.Random, found: list[list[Spell]]
) -> list[int]:
    if fault.kind is Kind.SITE_CUT:
        sites = rng.sample(range(-(-scenario.devices // scenario.per_site)), fault.devices)
        return [n for n in range(scenario.devices) if n // scenario.per_site in sites]

    def is_free(number: int) -> bool:
        kinds = {spell.fault.kind for spell in found[number]} - _HARMLESS
        if fault.kind in _HARMLESS:
            return Kind.CLONE not in kinds
        return not kinds if fault.kind in _ALONE else not kinds & _ALONE

    free = [n for n in range(scenario.devices) if is_free(n)]
    if len(free) < fault.devices:
        raise ConfigError(
            f"{fault.kind} finds only {len(free)} devices without other lasting faults",
            operator_hint="more devices, or fewer faults",
        )
    return rng.sample(free, fault.devices)


DEFAULT: Final = Scenario(
    hours=1.5,
    faults=[
        Fault(kind=Kind.OFFLINE, devices=5, at_min=12, for_min=25),
        Fault(kind=Kind.SITE_CUT, devices=1, at_min=30, for_min=12),
        Fault(kind=Kind.POWER, devices=5, at_min=20, for_min=7),
        Fault(kind=Kind.POWER, devices=3, at_min=50, for_min=1),
        Fault(kind=Kind.FLAP, devices=6, at_min=8, for_min=60, every_min=4),
        Fault(kind=Kind.CLOCK, devices=2, at_min=15, for_min=20, by_min=-90),
        Fault(kind=Kind.CLOCK, devices=2, at_min=25, for_min=20, by_min=60 * 24 * 400),
        Fault(kind=Kind.WAKE_1970, devices=3, at_min=18, for_min=30),
        Fault(kind=Kind.LOST_SPOOL, devices=3, at_min=40, for_min=12),
        Fault(kind=Kind.OFFLINE, devices=4, at_min=33, for_min=9),
        Fault(kind=Kind.QUOTA, devices=4, at_min=10, for_min=40, messages=60),
        Fault(kind=Kind.DUPLICATE, devices=12, at_min=0, for_min=85, chance=0.3),
        Fault(kind=Kind.REORDER, devices=12, at_min=0, for_min=85, chance=0.3),
        Fault(kind=Kind.TRUNCATE, devices=6, at_min=0, for_min=85, chance=0.1),
        Fault(kind=Kind.REPLAY, devices=8, at_min=0, for_min=85, chance=0.2),
        Fault(kind=Kind.LOSE_ANSWER, devices=8, at_min=0, for_min=85, chance=0.2),
    ],
)
"""Every fault once or more; what `vedette sim fleet --check` runs unless it is told otherwise."""
