"""Figures that somebody else measures (receipts, scrap, turnover), pushed in by the hour or day.

A figure speaks of one site and one stretch of time; sent again for the same beginning it replaces
the first, so whoever pushes may repeat. Two figures of one site must not overlap: their sum would
count something twice. Laid into steps, a sum is shared out by time and a level is averaged by time;
a step that no figure speaks of is null, and one that is partly covered says how much.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from vedette.central import audit
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import is_slug

MAX_VALUES: Final = 5_000
"""Figures in one push."""

MAX_READ: Final = 200_000
MAX_STEPS: Final = 2_000
MAX_KPIS: Final = 500
_LONGEST_MS: Final = 366 * 86_400_000


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of figure; `adds_up` is true for sums over time and false for levels."""

    kpi: str
    title: str
    unit: str
    adds_up: bool


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure."""

    site: str
    start_ms: int
    end_ms: int
    value: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a series.

    Attributes:
        value: None where no figure speaks of it.
        covered: Share of the step, over all sites asked, that figures speak of; 0 to 1.
    """

    start_ms: int
    value: float | None
    covered: float


async def put(
    tx: Tx, kpi: str, *, title: str, unit: str, adds_up: bool, actor: str, now_ms: int
) -> Kpi:
    """Have this kind of figure.

    Raises:
        ConfigError: A name or title that cannot be, too many, or another nature than it had: the
            figures that are there would change their meaning.
    """
    if not is_slug(kpi):
        raise ConfigError(f"{kpi[:40]!r} cannot name a figure", operator_hint="use a-z 0-9 . _ -")
    if len(title) > 120 or len(unit) > 40 or not (title + unit).isprintable():
        raise ConfigError("a title has at most 120 printable characters, a unit 40")
    there = {row.kpi: row for row in await kinds(tx)}
    if kpi in there and there[kpi].adds_up != adds_up:
        raise ConfigError(
            f"{kpi} {'adds up' if there[kpi].adds_up else 'is a level'} already",
            operator_hint="use another name, or delete it with its figures",
        )
    if kpi not in there and len(there) >= MAX_KPIS:
        raise ConfigError(f"there are {MAX_KPIS} kinds of figures already")
    made = Kpi(kpi=kpi, title=title or kpi, unit=unit, adds_up=adds_up)
    await tx.run("kpi_put", **msgspec.structs.asdict(made), now_ms=now_ms, actor=actor)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="kpi.put", target=kpi)
    return made


async def drop(tx: Tx, kpi: str, *, actor: str, now_ms: int) -> None:
    """Have no such figure, nor its values.

    Raises:
        ConfigError: There is none.
    """
    await get(tx, kpi)
    await tx.run("kpi_drop", kpi=kpi)
    await audit.write(tx, at_ms=now_ms, actor=actor, action="kpi.delete", target=kpi)


async def kinds(tx: Tx) -> list[Kpi]:
    """Return every kind of figure."""
    return await tx.all("kpis_all", Kpi)


async def get(tx: Tx, kpi: str) -> Kpi:
    """Return one kind of figure.

    Raises:
        ConfigError: There is none.
    """
    found = await tx.one("kpi_get", Kpi, kpi=kpi[:128].replace("\0", ""))
    if found is None:
        raise ConfigError(f"there is no figure {kpi[:40]!r}", operator_hint="make it first")
    return found


def check(values: Sequence[Value], now_ms: int) -> None:
    """Return where these figures can be.

    Raises:
        ConfigError: None or too many, backwards, far off, not a number, or one place twice.
    """
    if not 1 <= len(values) <= MAX_VALUES:
        raise ConfigError(f"a push has 1 to {MAX_VALUES} figures, not {len(values)}")
    seen: set[tuple[str, int]] = set()
    for value in values:
        where = f"figure of {value.site[:40]} at {value.start_ms}"
        if not 0 <= value.start_ms < value.end_ms <= value.start_ms + _LONGEST_MS:
            raise ConfigError(f"{where}: start_ms must be before end_ms, a year apart at most")
        if value.start_ms > now_ms + _LONGEST_MS:
            raise ConfigError(f"{where}: is far in the future")
        if not abs(value.value) < 1e15:
            raise ConfigError(f"{where}: {value.value} is no figure")
        if (value.site, value.start_ms) in seen:
            raise ConfigError(f"{where}: stands twice in this push")
        seen.add((value.site, value.start_ms))


async def push(tx: Tx, kpi: str, values: Sequence[Value], *, now_ms: int) -> int:
    """Have these figures; return how many.

    Raises:
        ConfigError: A figure or site that cannot be, or figures that overlap.
    """
    await get(tx, kpi)
    check(values, now_ms)
    sites = sorted({value.site for value in values})
    known = {site for (site,) in await tx.tuples("sites_known", sites=sites)}
    unknown = [site for site in sites if site not in known]
    if unknown:
        raise ConfigError(f"there is no site {unknown[0][:40]!r}")
    await tx.run(
        "kpi_values_put",
        kpi=kpi,
        sites=[value.site for value in values],
        starts=[value.start_ms for value in values],
        ends=[value.end_ms for value in values],
        values=[value.value for value in values],
        now_ms=now_ms,
    )
    overlap = await tx.tuples(
        "kpi_overlaps",
        kpi=kpi,
        sites=sites,
        from_ms=min(value.start_ms for value in values) - _LONGEST_MS,
        to_ms=max(value.end_ms for value in values) + 1,
    )
    for site, start_ms in overlap:
        raise ConfigError(
            f"figures of {site} overlap: the one at {start_ms} ends after the next begins",
            operator_hint="push stretches that only touch; the same start_ms replaces",
        )
    return len(values)


async def values(
    tx: Tx, kpi: str, sites: Sequence[str], *, from_ms: int, to_ms: int
) -> list[Value]:
    """Return the figures of sites that touch a window.

    Raises:
        ConfigError: More than can be read at once.
    """
    found = await tx.all(
        "kpi_values_of",
        Value,
        kpi=kpi,
        sites=list(sites),
        from_ms=from_ms,
        to_ms=to_ms,
        limit=MAX_READ + 1,
    )
    if len(found) > MAX_READ:
        raise ConfigError("too many figures at once", operator_hint="a shorter time, fewer sites")
    return found


def steps(
    kind: Kpi, found: Iterable[Value], sites: int, *, from_ms: int, to_ms: int, step_ms: int
) -> list[Step]:
    """Return figures laid into steps over all sites.

    A sum is shared out by time; levels are averaged by site-time.

    Raises:
        ConfigError: Too many steps, or none.
    """
    if step_ms <= 0 or from_ms >= to_ms or (to_ms - from_ms) / step_ms > MAX_STEPS:
        raise ConfigError(f"1 to {MAX_STEPS} steps can be asked for at once")
    sums: dict[int, float] = defaultdict(float)
    covered_ms: dict[int, int] = defaultdict(int)
    for value in found:
        begin = max(value.start_ms, from_ms)
        end = min(value.end_ms, to_ms)
        for at in range((begin - from_ms) // step_ms, max(0, end - from_ms - 1) // step_ms + 1):
            start = from_ms + at * step_ms
            shared_ms = min(end, start + step_ms) - max(begin, start)
            if shared_ms <= 0:
                continue
            covered_ms[at] += shared_ms
            whole_ms = value.end_ms - value.start_ms
            sums[at] += value.value * (shared_ms / whole_ms if kind.adds_up else shared_ms)
    made: list[Step] = []
    for at, start in enumerate(range(from_ms, to_ms, step_ms)):
        length_ms = min(step_ms, to_ms - start) * max(1, sites)
        value_ms = covered_ms.get(at, 0)
        total = None
        if value_ms:
            total = sums[at] if kind.adds_up else sums[at] / value_ms
        made.append(Step(start_ms=start, value=total, covered=min(1.0, value_ms / length_ms)))
    return made


def over(kind: Kpi, found: Iterable[Value], sites: int, start_ms: int, end_ms: int) -> Step:
    """Return figures over one stretch of time, over all sites."""
    length_ms = end_ms - start_ms
    (step,) = steps(kind, found, sites, from_ms=start_ms, to_ms=end_ms, step_ms=length_ms)
    return step
