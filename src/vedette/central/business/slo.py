"""Service level reports: how much of a site's month was observed, against what was promised.

The objective is coverage: observed camera-seconds over accountable ones, from the ledger. Time that
was switched off on purpose is not accountable; everything else that was not seen is, whoever was
at fault, for a customer is not told "the router was not ours". What waits on devices is not known
yet: a month is met or missed only where what waits cannot change that; and a month of which little
is accountable says so instead of passing.

Source: Beyer and others, "Site Reliability Engineering", 2016, chapter 4 (objectives) and chapter 3
(error budgets): the budget is what may be missed, here in camera-seconds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from vedette.central import audit, coverage, hours, tree
from vedette.central.business import places
from vedette.central.query import runs, strips
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.central.views import Segment
from vedette.errors import ConfigError
from vedette.wire.messages import Cause

DEFAULT_PERCENT: Final = 99.7
LEAST_ACCOUNTABLE_S: Final = 24 * 3600.0
"""Fewer camera-seconds than one camera's day are no month to judge."""

_EXEMPT: Final = frozenset({Cause.SCHEDULED_OFF.value})
_UNKNOWN: Final = frozenset({Cause.PENDING_BACKFILL.value, coverage.AWAITING})

Verdict = Literal["met", "missed", "undecided", "too_little"]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the accountable time of some cameras, in camera-seconds.

    Attributes:
        observed_s: Seen.
        pending_s: Not known yet: it may still arrive as seen.
        lost_s: Not seen, by cause.
        exempt_s: Switched off on purpose, or outside of opening hours where asked so.
    """

    observed_s: float = 0.0
    pending_s: float = 0.0
    lost_s: dict[str, float] = {}
    exempt_s: float = 0.0


class SiteReport(msgspec.Struct, frozen=True, kw_only=True):
    """One site's month against its objective.

    Attributes:
        fraction: Observed over accountable; null without anything accountable.
        best_fraction: The same if all that waits were seen.
        budget_s: Camera-seconds that may be missed in the time so far.
        spent: Share of the budget that is gone, 1 and more: missed; null without a budget.
        verdict: `met`, `missed`, `undecided` (what waits decides) or `too_little` to be judged.
        is_over: False while the month still runs.
    """

    site: str
    name: str
    folder: str
    from_ms: int
    to_ms: int
    cameras: int
    objective_percent: float
    objective_of: str
    fraction: float | None
    best_fraction: float | None
    observed_s: float
    pending_s: float
    exempt_s: float
    lost_s: dict[str, float]
    budget_s: float
    spent: float | None
    verdict: Verdict
    is_over: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A month of several sites, worst first."""

    month: str
    opening_hours_only: bool
    counts: dict[str, int]
    sites: list[SiteReport]


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera, as far as its coverage needs it: a row of `slo_cameras`."""

    site: str
    device: str
    camera: str
    known_from_ms: int
    drained_to_ms: int | None
    revoked_ms: int | None = None

    def is_of(self, from_ms: int) -> bool:
        """True where it still was there in a window from `from_ms` on."""
        return self.revoked_ms is None or self.revoked_ms > from_ms


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    place: str
    percent: float


def month_ms(month: str, zone: ZoneInfo) -> tuple[int, int]:
    """Return start and end of a month by a site's own calendar.

    Raises:
        ConfigError: Not `YYYY-MM`.
    """
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=zone)
        if first.strftime("%Y-%m") != month or not 2000 <= first.year <= 2200:
            raise ValueError
    except ValueError:
        raise ConfigError(f"{month[:20]!r} is no month", operator_hint="as in 2026-10") from None
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return round(first.timestamp() * 1000), round(following.timestamp() * 1000)


def this_month(now_ms: int) -> str:
    """Return the month that now is in, UTC."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m")


def measure(segments: Iterable[Segment], open_spells: Sequence[tuple[int, int]] | None) -> Measured:
    """Return what became of one camera's time; outside of `open_spells` nothing is accountable."""
    observed = pending = exempt = 0.0
    lost: dict[str, float] = defaultdict(float)
    for segment in segments:
        length_ms = segment.end_ms - segment.start_ms
        counted_ms = length_ms if open_spells is None else _within(segment, open_spells)
        exempt += (length_ms - counted_ms) / 1000
        counted_s = counted_ms / 1000
        if segment.cause is None:
            observed += counted_s
        elif segment.cause in _EXEMPT:
            exempt += counted_s
        elif segment.cause in _UNKNOWN:
            pending += counted_s
        else:
            lost[segment.cause] += counted_s
    return Measured(observed_s=observed, pending_s=pending, lost_s=dict(lost), exempt_s=exempt)


def _within(segment: Segment, spells: Sequence[tuple[int, int]]) -> int:
    return sum(
        max(0, min(segment.end_ms, end_ms) - max(segment.start_ms, start_ms))
        for start_ms, end_ms in spells
    )


def together(parts: Iterable[Measured]) -> Measured:
    """Return the camera-seconds of several cameras."""
    observed = pending = exempt = 0.0
    lost: dict[str, float] = defaultdict(float)
    for part in parts:
        observed += part.observed_s
        pending += part.pending_s
        exempt += part.exempt_s
        for cause, lost_s in part.lost_s.items():
            lost[cause] += lost_s
    kept = {cause: lost_s for cause, lost_s in sorted(lost.items()) if lost_s > 0}
    return Measured(observed_s=observed, pending_s=pending, exempt_s=exempt, lost_s=kept)


def judge(measured: Measured, percent: float) -> tuple[float | None, float | None, float, Verdict]:
    """Return (fraction, best fraction, budget in seconds, verdict) against an objective.

    What waits counts as missed for `fraction` and as seen for the best; only where both are on the
    same side of the objective is it known.
    """
    missed_s = sum(measured.lost_s.values())
    accountable_s = measured.observed_s + measured.pending_s + missed_s
    budget_s = accountable_s * (1 - percent / 100)
    if accountable_s <= 0:
        return None, None, 0.0, "too_little"
    worst = measured.observed_s / accountable_s
    best = (measured.observed_s + measured.pending_s) / accountable_s
    if accountable_s < LEAST_ACCOUNTABLE_S:
        return worst, best, budget_s, "too_little"
    if missed_s > budget_s:
        return worst, best, budget_s, "missed"
    decided = missed_s + measured.pending_s <= budget_s
    return worst, best, budget_s, "met" if decided else "undecided"


async def report(
    tx: Tx,
    sites: Sequence[SitePlace],
    *,
    month: str,
    now_ms: int,
    opening_hours_only: bool = False,
) -> Report:
    """Return a month of these sites, worst first.

    Raises:
        ConfigError: Not a month, or one that has not begun.
    """
    names = [site.site for site in sites]
    cameras = await tx.all("slo_cameras", Camera, sites=names)
    of_site: dict[str, list[Camera]] = defaultdict(list)
    for camera in cameras:
        of_site[camera.site].append(camera)
    targets = {row.place: row.percent for row in await tx.all("slo_targets_all", _Target)}
    by_window: dict[tuple[int, int], list[SitePlace]] = defaultdict(list)
    for site in sites:
        from_ms, end_ms = month_ms(month, hours.zone_of(site.time_zone))
        by_window[from_ms, end_ms].append(site)
    if sites and min(from_ms for from_ms, _ in by_window) >= now_ms:
        raise ConfigError(f"{month} has not begun", operator_hint="ask for a month that has")
    found: list[SiteReport] = []
    for (from_ms, end_ms), group in by_window.items():
        to_ms = max(from_ms, min(end_ms, now_ms))
        devices = sorted({c.device for site in group for c in of_site[site.site]})
        book = await strips.read(tx, devices, from_ms=from_ms, to_ms=to_ms, now_ms=now_ms)
        for site in group:
            spells = _open(site, from_ms, to_ms) if opening_hours_only else None
            measured = together(_measured(book, of_site[site.site], spells))
            found.append(
                _site_report(
                    site,
                    measured,
                    targets,
                    window=(from_ms, to_ms),
                    cameras=sum(camera.is_of(from_ms) for camera in of_site[site.site]),
                    is_over=end_ms <= now_ms,
                )
            )
    found.sort(key=_badness)
    counts: dict[str, int] = defaultdict(int)
    for one in found:
        counts[one.verdict] += 1
    return Report(
        month=month, opening_hours_only=opening_hours_only, counts=dict(counts), sites=found
    )


def _open(site: SitePlace, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    opening = msgspec.json.decode(site.hours, type=hours.Hours) if site.hours else None
    return hours.spells(opening, hours.zone_of(site.time_zone), from_ms, to_ms)


def _measured(
    book: strips.Strips, cameras: Iterable[Camera], spells: Sequence[tuple[int, int]] | None
) -> Iterable[Measured]:
    for camera in cameras:
        segments = book.segments(
            camera.device, camera.camera, camera.known_from_ms, camera.drained_to_ms
        )
        yield measure(runs.clip(segments, book.from_ms, book.to_ms), spells)


def _site_report(
    site: SitePlace,
    measured: Measured,
    targets: Mapping[str, float],
    *,
    window: tuple[int, int],
    cameras: int,
    is_over: bool,
) -> SiteReport:
    of, percent = places.nearest(targets, site.site, site.folder) or ("default", DEFAULT_PERCENT)
    fraction, best, budget_s, verdict = judge(measured, percent)
    missed_s = sum(measured.lost_s.values())
    return SiteReport(
        site=site.site,
        name=site.name,
        folder=site.folder,
        from_ms=window[0],
        to_ms=window[1],
        cameras=cameras,
        objective_percent=percent,
        objective_of=of or "everywhere",
        fraction=fraction,
        best_fraction=best,
        observed_s=measured.observed_s,
        pending_s=measured.pending_s,
        exempt_s=measured.exempt_s,
        lost_s=measured.lost_s,
        budget_s=budget_s,
        spent=missed_s / budget_s if budget_s > 0 else None,
        verdict=verdict,
        is_over=is_over,
    )


def _badness(one: SiteReport) -> tuple[int, float, str]:
    order = ("missed", "undecided", "too_little", "met")
    return order.index(one.verdict), -(one.spent or 0.0), one.site


async def set_target(
    tx: Tx, place: str, percent: float | None, *, actor: str, now_ms: int
) -> dict[str, float]:
    """Return every objective after one was set (None: has no own one any more).

    Raises:
        ConfigError: No such place, or a share that cannot be.
    """
    places.check(place)
    if percent is None:
        await tx.run("slo_target_drop", place=place)
    elif 0 < percent < 100:
        await tx.run("slo_target_put", place=place, percent=percent, now_ms=now_ms, actor=actor)
    else:
        raise ConfigError(
            f"{percent} is no objective", operator_hint="above 0 and below 100, as 99.7"
        )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="slo.target",
        target=place or "everywhere",
        detail={"percent": percent},
    )
    return await targets(tx)


async def targets(tx: Tx) -> dict[str, float]:
    """Return every objective by place."""
    return {row.place: row.percent for row in await tx.all("slo_targets_all", _Target)}


async def sites_of(tx: Tx, scope: Sequence[str] | None, wanted: Sequence[str]) -> list[SitePlace]:
    """Return the sites in scope, or those of them that are `wanted`."""
    found = await tree.sites(tx, scope)
    return [site for site in found if not wanted or site.site in set(wanted)]
