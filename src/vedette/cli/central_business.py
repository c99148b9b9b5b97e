"""`vedette central slo, kpi, overrides, cost`: what was promised, what others say, what it costs.

Thin: reads arguments, calls `central.business`, prints.
"""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import msgspec

from vedette.central import tree
from vedette.central.business import cost, kpi, overrides, slo
from vedette.central.business.kpi import Kpi, Value
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.cli.central_places import must_name_sites
from vedette.errors import ConfigError

_DAY_MS: Final = 86_400_000
_WORDS: Final = {
    "met": "met",
    "missed": "MISSED",
    "undecided": "undecided: records wait on devices",
    "too_little": "too little to judge",
}

_of = click.option("--of", default="", help="A selection, as 'folder:europe/**'. Default: all.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


async def chosen(tx: Tx, of: str) -> list[SitePlace]:
    """Return the sites that a selection means; all for an empty one."""
    found = await tree.sites(tx, None)
    if not of.strip():
        return found
    wanted = {place.site for place in await tree.select(tx, of, "site", None)}
    if not wanted:
        await must_name_sites(tx, of)
    return [site for site in found if site.site in wanted]


# ----------------------------------------------------------------------------------- objectives


@click.group("slo", short_help="Objectives, and how much of a month was observed.")
def slo_group() -> None:
    """Objectives: how much of a month must be observed, and how much was."""


@slo_group.command("report")
@click.option("--month", default="", help="As 2026-10. Default: this month, so far.")
@_of
@click.option("--opening-hours", is_flag=True, help="Count opening hours only.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one row per site.")
@_as_json
@click.pass_obj
def slo_report(
    config: CentralConfig, *, month: str, of: str, opening_hours: bool, as_csv: bool, as_json: bool
) -> None:
    """Show each site's month against its objective, worst first.

    \b
    Exit status 1 where a site missed it.
      vedette central slo report --month 2026-10 --of 'folder:europe/**'
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped

    async def read(tx: Tx) -> slo.Report:
        now = now_ms()
        return await slo.report(
            tx,
            await chosen(tx, of),
            month=month or slo.this_month(now),
            now_ms=now,
            opening_hours_only=opening_hours,
        )

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
    elif as_csv:
        _csv(found)
    else:
        _show_report(found)
    if found.counts.get("missed"):
        sys.exit(1)


def _show_report(found: slo.Report) -> None:
    rows = [
        [
            one.site,
            str(one.cameras),
            _percent(one.fraction),
            f"{one.objective_percent:g} %",
            "–" if one.spent is None else f"{one.spent * 100:.0f} %",
            _hours(sum(one.lost_s.values())),
            ", ".join(f"{cause} {_hours(s)}" for cause, s in _worst_first(one.lost_s)),
            _WORDS[one.verdict] + ("" if one.is_over else ", so far"),
        ]
        for one in found.sites
    ]
    head = [
        "site",
        "cameras",
        "observed",
        "objective",
        "budget spent",
        "lost",
        "causes",
        found.month,
    ]
    show_table(head, rows, "no site here")


def _csv(found: slo.Report) -> None:
    causes = sorted({cause for one in found.sites for cause in one.lost_s})
    writer = csv.writer(sys.stdout)
    head = ["month", "site", "cameras", "fraction", "objective_percent", "verdict", "observed_s"]
    writer.writerow([*head, "pending_s", "exempt_s", *(f"lost_s.{cause}" for cause in causes)])
    for one in found.sites:
        fraction = "" if one.fraction is None else one.fraction
        row = [found.month, one.site, one.cameras, fraction, one.objective_percent, one.verdict]
        times = [one.observed_s, one.pending_s, one.exempt_s]
        writer.writerow([*row, *times, *(one.lost_s.get(cause, 0.0) for cause in causes)])


def _worst_first(lost_s: dict[str, float]) -> Iterable[tuple[str, float]]:
    return sorted(lost_s.items(), key=lambda item: -item[1])


def _percent(fraction: float | None) -> str:
    # never rounded up: 99.699 % is not 99.7 %
    return "no data" if fraction is None else f"{int(fraction * 100_000) / 1000:.3f} %"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min"


@slo_group.command("objective")
@click.argument("place", required=False)
@click.argument("percent", required=False, type=float)
@click.option("--clear", is_flag=True, help="Have no own objective at PLACE any more.")
@_as_json
@click.pass_obj
def slo_objective(
    config: CentralConfig, place: str | None, percent: float | None, *, clear: bool, as_json: bool
) -> None:
    """Show the objectives, or set the one of PLACE.

    \b
    PLACE is site:NAME, folder:PATH, or 'everywhere'.
      vedette central slo objective folder:europe/portugal 99.9
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if place is not None and percent is None and not clear:
        raise ConfigError("which objective?", operator_hint="give a percentage, or --clear")
    where = "" if place == "everywhere" else place

    async def do(tx: Tx) -> dict[str, float]:
        if where is not None:
            wanted = None if clear else percent
            return await slo.set_target(tx, where, wanted, actor=ACTOR, now_ms=now_ms())
        return await slo.targets(tx)

    found = in_transaction(config, do)
    found.setdefault("", slo.DEFAULT_PERCENT)
    if as_json:
        show_json(found)
        return
    rows = [[at or "everywhere", f"{value:g} %"] for at, value in sorted(found.items())]
    show_table(["place", "objective"], rows, "")


# -------------------------------------------------------------------------------------- figures


@click.group("kpi", short_help="Figures of the business, measured elsewhere.")
def kpi_group() -> None:
    """Figures that somebody else measures: receipts, scrap, turnover."""


@kpi_group.command("list")
@_as_json
@click.pass_obj
def kpi_list(config: CentralConfig, *, as_json: bool) -> None:
    """List the kinds of figures."""
    found = in_transaction(config, kpi.kinds)
    if as_json:
        show_json(found)
        return
    rows = [[k.kpi, k.title, k.unit, "adds up" if k.adds_up else "level"] for k in found]
    show_table(["figure", "title", "unit", ""], rows, "no figures yet: vedette central kpi make")


@kpi_group.command("make")
@click.argument("name")
@click.option("--title", default="")
@click.option("--unit", default="")
@click.option("--level", is_flag=True, help="A level (queue length), not a sum over time.")
@click.pass_obj
def kpi_make(config: CentralConfig, name: str, *, title: str, unit: str, level: bool) -> None:
    """Have a kind of figure called NAME."""

    async def do(tx: Tx) -> Kpi:
        return await kpi.put(
            tx, name, title=title, unit=unit, adds_up=not level, actor=ACTOR, now_ms=now_ms()
        )

    click.echo(f"{in_transaction(config, do).kpi} can be pushed to /v1/kpis/{name}/values")


@kpi_group.command("push", short_help="Push the figures in FILE, a list in JSON.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.pass_obj
def kpi_push(config: CentralConfig, name: str, file: Path) -> None:
    """Push the figures in FILE: JSON, a list of {site, start_ms, end_ms, value}."""
    try:
        values = msgspec.json.decode(file.read_bytes(), type=list[Value])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no list of figures: {error}") from error

    async def do(tx: Tx) -> int:
        return await kpi.push(tx, name, values, now_ms=now_ms())

    click.echo(f"{in_transaction(config, do)} figures taken")


# ------------------------------------------------------------------------------------- overrides


@click.command("overrides", short_help="Show how often people said a model was wrong.")
@_of
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 3650))
@_as_json
@click.pass_obj
def overrides_command(config: CentralConfig, *, of: str, days: int, as_json: bool) -> None:
    """Show how often people said that a model was wrong, by camera, model and answer."""

    async def read(tx: Tx) -> list[overrides.Counted]:
        sites = [site.site for site in await chosen(tx, of)]
        now = now_ms()
        return await overrides.counted(tx, sites, from_ms=now - days * _DAY_MS, to_ms=now + 1)

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            f"{one.site}/{one.device}/{one.camera}",
            one.model or "–",
            one.said or "–",
            str(one.overridden),
            str(one.agreed + one.overridden),
            _share(one),
        ]
        for one in found
    ]
    head = ["camera", "model", "said", "overridden", "of", "share (95 % interval)"]
    show_table(head, rows, "nobody said anything in this time")


def _share(one: overrides.Counted) -> str:
    if one.overridden_share is None or one.interval is None:
        return "no data"
    low, high = one.interval
    return f"{one.overridden_share * 100:.0f} % ({low * 100:.0f} to {high * 100:.0f} %)"


# ----------------------------------------------------------------------------------------- costs


@click.group("cost")
def cost_group() -> None:
    """What sites cost, and a thousand inferences."""


@cost_group.command("rates", short_help="Show what things cost, or set it for PLACE.")
@click.argument("place", required=False)
@click.option("--currency", default="EUR", show_default=True)
@click.option("--device-hour", type=float, help="One device, per hour.")
@click.option("--kwh", type=float, default=0.0, help="Energy, per kilowatt-hour.")
@click.option("--gigabyte", type=float, default=0.0, help="Sent, per 10^9 bytes.")
@click.option("--watts", type=float, default=10.0, help="Of devices that cannot tell.")
@click.option("--clear", is_flag=True, help="Have no own rates at PLACE any more.")
@_as_json
@click.pass_obj
def cost_rates(
    config: CentralConfig,
    place: str | None,
    *,
    currency: str,
    device_hour: float | None,
    kwh: float,
    gigabyte: float,
    watts: float,
    clear: bool,
    as_json: bool,
) -> None:
    """Show what things cost, or set it for PLACE: site:NAME, folder:PATH or 'everywhere'.

    \b
      vedette central cost rates everywhere --device-hour 0.02 --kwh 0.24 --gigabyte 0.5
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if place is not None and device_hour is None and not clear:
        raise ConfigError("what does a device cost?", operator_hint="give --device-hour")
    rates = None
    if device_hour is not None and not clear:
        rates = cost.Rates(
            currency=currency, device_hour=device_hour, kwh=kwh, gigabyte=gigabyte, watts=watts
        )
    where = "" if place == "everywhere" else place

    async def do(tx: Tx) -> dict[str, cost.Rates]:
        if where is not None:
            return await cost.set_rates(tx, where, rates, actor=ACTOR, now_ms=now_ms())
        return await cost.rates_by_place(tx)

    found = in_transaction(config, do)
    if as_json:
        show_json(found)
        return
    rows = [
        [at or "everywhere", r.currency, f"{r.device_hour:g}", f"{r.kwh:g}", f"{r.gigabyte:g}"]
        for at, r in sorted(found.items())
    ]
    show_table(["place", "currency", "device-hour", "kWh", "GB"], rows, "no rates yet")


@cost_group.command("report")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 90))
@_of
@_as_json
@click.pass_obj
def cost_report(config: CentralConfig, *, days: int, of: str, as_json: bool) -> None:
    """Show what each site cost, the dearest inference first."""

    async def read(tx: Tx) -> cost.Costs:
        now = now_ms()
        sites = await chosen(tx, of)
        return await cost.costs(tx, sites, from_ms=now - days * _DAY_MS, to_ms=now, now_ms=now)

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.site,
            f"{one.cost:.2f} {one.currency}" + (" (estimated)" if one.estimated else ""),
            f"{one.device_cost:.2f} / {one.energy_cost:.2f} / {one.line_cost:.2f}",
            "no data" if one.inferences is None else f"{one.inferences:,.0f}",
            "–" if one.per_1000 is None else f"{one.per_1000:.4f}",
            _percent(one.coverage.fraction),
        ]
        for one in found.sites
    ]
    head = ["site", f"{days} days", "device / energy / line", "inferences", "per 1,000", "observed"]
    show_table(head, rows, "no site with rates: vedette central cost rates everywhere …")
    if found.without_rates:
        click.echo(f"without rates: {', '.join(found.without_rates[:10])}", err=True)
