"""What an inference costs: devices, energy and the line, over the pictures that were analysed.

A device costs by the hour from its enrolment on, whether it is on or not. Energy is what it says it
draws, times the hours in which it was heard; where it cannot tell, the rate's `watts`, and then the
cost is marked as estimated. The line costs what was sent. Without pictures that were analysed there
is no cost per inference: null, not zero and not infinite.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.business import places
from vedette.central.query import answers
from vedette.central.query.engine import Answer, Question
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.central.views import Coverage
from vedette.errors import ConfigError
from vedette.wire.messages import Cause

_HOUR_MS: Final = 3_600_000
_MOST: Final = 1e6


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What things cost at a place.

    Attributes:
        currency: As people write it: EUR.
        device_hour: Purchase, care and replacement of one device, per hour.
        kwh: Energy, per kilowatt-hour.
        gigabyte: Sent over the line, per 10^9 bytes.
        watts: What a device draws that cannot tell.
    """

    currency: str
    device_hour: float = 0.0
    kwh: float = 0.0
    gigabyte: float = 0.0
    watts: float = 10.0


class _Placed(Rates, frozen=True, kw_only=True):
    place: str


class SiteCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one site cost in a window.

    Attributes:
        inferences: Pictures analysed; null where nothing was observed.
        per_1000: Cost of a thousand of them; null without any.
        estimated: True where a device did not tell what it draws.
    """

    site: str
    name: str
    currency: str
    rates_of: str
    devices: int
    device_hours: float
    kwh: float
    gigabytes: float
    device_cost: float
    energy_cost: float
    line_cost: float
    cost: float
    inferences: float | None
    per_1000: float | None
    estimated: bool
    coverage: Coverage


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What sites cost, the dearest inference first, and those that nobody set rates for."""

    from_ms: int
    to_ms: int
    sites: list[SiteCost]
    without_rates: list[str]


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    device: str
    enrolled_ms: int
    revoked_ms: int | None = None


class _Facts(msgspec.Struct, kw_only=True):
    """What was measured at one site."""

    inferences: float | None = None
    coverage: Coverage = Coverage(fraction=None, observed_s=0.0, accountable_s=0.0)
    sent_bytes: float = 0.0
    watts: dict[str, float] = {}


async def set_rates(
    tx: Tx, place: str, rates: Rates | None, *, actor: str, now_ms: int
) -> dict[str, Rates]:
    """Return every place's rates after one was set (None: has no own ones any more).

    Raises:
        ConfigError: No such place, or rates that cannot be.
    """
    places.check(place)
    if rates is None:
        await tx.run("cost_rate_drop", place=place)
    else:
        numbers = (rates.device_hour, rates.kwh, rates.gigabyte, rates.watts)
        if not all(0 <= number <= _MOST for number in numbers):
            raise ConfigError(f"rates are from 0 to {_MOST:g}")
        if not rates.currency or len(rates.currency) > 8 or not rates.currency.isprintable():
            raise ConfigError("which currency?", operator_hint="as EUR")
        await tx.run(
            "cost_rate_put",
            place=place,
            **msgspec.structs.asdict(rates),
            now_ms=now_ms,
            actor=actor,
        )
    await audit.write(
        tx, at_ms=now_ms, actor=actor, action="cost.rates", target=place or "everywhere"
    )
    return await rates_by_place(tx)


async def rates_by_place(tx: Tx) -> dict[str, Rates]:
    """Return what things cost, by place."""
    found = await tx.all("cost_rates_all", _Placed)
    return {
        one.place: Rates(
            currency=one.currency,
            device_hour=one.device_hour,
            kwh=one.kwh,
            gigabyte=one.gigabyte,
            watts=one.watts,
        )
        for one in found
    }


async def costs(
    tx: Tx, sites: Sequence[SitePlace], *, from_ms: int, to_ms: int, now_ms: int
) -> Costs:
    """Return what these sites cost in a window, the dearest inference first."""
    names = [site.site for site in sites]
    rates = await rates_by_place(tx)
    devices: dict[str, list[_Device]] = defaultdict(list)
    for device in await tx.all("cost_devices", _Device, sites=names):
        devices[device.site].append(device)
    facts = await _facts(tx, names, from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)
    found: list[SiteCost] = []
    without: list[str] = []
    for site in sites:
        placed = places.nearest(rates, site.site, site.folder)
        if placed is None:
            without.append(site.site)
            continue
        window = (from_ms, min(to_ms, now_ms))
        measured = facts.get(site.site, _Facts())
        found.append(site_cost(site, placed, devices[site.site], measured, window))
    found.sort(key=lambda one: (-(one.per_1000 or 0.0), one.site))
    return Costs(from_ms=from_ms, to_ms=to_ms, sites=found, without_rates=without)


def site_cost(
    site: SitePlace,
    placed: tuple[str, Rates],
    devices: Sequence[_Device],
    facts: _Facts,
    window: tuple[int, int],
) -> SiteCost:
    """Return what one site cost; pure."""
    from_ms, to_ms = window
    place, rates = placed
    heard = _heard(facts.coverage)
    device_hours = kwh = 0.0
    estimated = False
    for device in devices:
        end_ms = to_ms if device.revoked_ms is None else min(to_ms, device.revoked_ms)
        hours = max(0, end_ms - max(from_ms, device.enrolled_ms)) / _HOUR_MS
        told = facts.watts.get(device.device)
        estimated = estimated or (told is None and hours > 0)
        device_hours += hours
        kwh += hours * heard * (rates.watts if told is None else told) / 1000
    gigabytes = facts.sent_bytes / 1e9
    parts = (device_hours * rates.device_hour, kwh * rates.kwh, gigabytes * rates.gigabyte)
    cost = sum(parts)
    return SiteCost(
        site=site.site,
        name=site.name,
        currency=rates.currency,
        rates_of=place or "everywhere",
        devices=sum(one.revoked_ms is None or one.revoked_ms > from_ms for one in devices),
        device_hours=device_hours,
        kwh=kwh,
        gigabytes=gigabytes,
        device_cost=parts[0],
        energy_cost=parts[1],
        line_cost=parts[2],
        cost=cost,
        inferences=facts.inferences,
        per_1000=cost / facts.inferences * 1000 if facts.inferences else None,
        estimated=estimated,
        coverage=facts.coverage,
    )


def _heard(coverage: Coverage) -> float:
    """Return the share of the time in which the devices were on, as far as is known."""
    if coverage.accountable_s <= 0:
        return 1.0
    dark_s = coverage.causes.get(Cause.DEVICE_DARK.value, 0.0)
    return max(0.0, 1 - dark_s / coverage.accountable_s)


async def _facts(
    tx: Tx, sites: Sequence[str], *, from_ms: int, to_ms: int, now_ms: int
) -> dict[str, _Facts]:
    facts: dict[str, _Facts] = defaultdict(_Facts)

    async def ask(metric: str, by: str) -> Answer:
        question = Question(
            metric=metric,
            from_ms=from_ms,
            to_ms=to_ms,
            by=["site"] if by == "site" else ["site", by],
        )
        return await answers.ask(tx, question, list(sites), now_ms)

    for line in (await ask("frames.analysed", "site")).lines:
        (point,) = line.points
        of = facts[line.group["site"]]
        of.inferences, of.coverage = point.value, point.coverage
    for line in (await ask("device.sent_bytes", "site")).lines:
        facts[line.group["site"]].sent_bytes = line.points[0].value or 0.0
    for line in (await ask("device.power_w", "device")).lines:
        value = line.points[0].value
        if value is not None:
            of = facts[line.group["site"]]
            of.watts = {**of.watts, line.group["device"]: value}
    return facts
