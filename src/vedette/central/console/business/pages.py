"""What answers for the page about the business, and for its export."""

import re
from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from vedette.central import tree
from vedette.central.accounts import Session
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.business import kpi
from vedette.central.business import overview as counted
from vedette.central.business.overview import DEFAULT_FIGURE, FIGURES, Overview, Topic
from vedette.central.business.windows import Window, window
from vedette.central.console.business import present
from vedette.central.console.business.present import Choice, Filters, KpiRow, Shown
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.console.page import page, page_of
from vedette.central.services import Services
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.errors import ConfigError

MAX_CHOICES: Final = 300
_MAX_CHARS: Final = 500

FirstDay = Annotated[str, QueryParameter(name="from", description="A day, as 2026-11-17")]
LastDay = Annotated[str, QueryParameter(name="to", description="A day, as 2026-11-17")]
RangeName = Annotated[str, QueryParameter(name="range")]


class _Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about, and the sites that it is about."""

    topic: Topic
    sites: list[SitePlace]


@get("/business", include_in_schema=False)
async def business_page(
    *,
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    of: FromQuery[str] = "",
    figure: FromQuery[str] = "",
    label: FromQuery[str] = "",
    hours: FromQuery[str] = "",
    range_name: RangeName = "",
    first: FirstDay = "",
    last: LastDay = "",
) -> Response[str]:
    """Show what was counted, and how sure that is."""
    filters = _filters(of, figure, label, hours, range_name, first, last)
    shown = await _shown(services, session, filters)
    made = present.business_html(shown, page_of(request, services, session))
    return page(made, 422 if shown.problem else 200)


@get("/business.csv", include_in_schema=False)
async def business_csv(
    *,
    services: TheServices,
    session: TheSession,
    of: FromQuery[str] = "",
    figure: FromQuery[str] = "",
    label: FromQuery[str] = "",
    hours: FromQuery[str] = "",
    range_name: RangeName = "",
    first: FirstDay = "",
    last: LastDay = "",
) -> Response[str]:
    """Send the same as a table for a spreadsheet."""
    filters = _filters(of, figure, label, hours, range_name, first, last)
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        ground = await _ground(tx, filters, session, now_ms)
        told = await counted.rows(tx, ground.topic, session.sites, now_ms)
    days = ground.topic.window
    name = f"vedette-{ground.topic.figure.name}-{days.first}-{days.last}.csv"
    headers = SECURITY_HEADERS | {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    text = present.csv_text(ground.topic.figure, told)
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _filters(*told: str) -> Filters:
    of, figure, label, hours, range_name, first, last = told
    return Filters(
        of=of.strip()[:_MAX_CHARS],
        figure=figure if figure in FIGURES and figure != DEFAULT_FIGURE else "",
        label=label[:64],
        hours=hours if hours in {"open", "closed"} else "",
        range_name=range_name[:20],
        first=first[:10],
        last=last[:10],
    )


async def _shown(services: Services, session: Session, filters: Filters) -> Shown:
    now_ms = services.now_ms()
    figure = FIGURES[filters.figure or DEFAULT_FIGURE]
    async with services.db.transaction() as tx:
        everywhere = await tree.sites(tx, session.sites)
        names = {site.site: site.name or site.site for site in everywhere}
        places = _choices(everywhere)
        try:
            ground = await _ground(tx, filters, session, now_ms)
            view = await counted.overview(tx, ground.topic, session.sites, now_ms)
        except ConfigError as error:
            return Shown(
                filters=filters,
                figure=figure,
                window=None,
                view=None,
                places=places,
                site_names=names,
                problem=str(error),
                hint=_meant(filters.of, everywhere) + (error.operator_hint or ""),
            )
        kpis = await _kpis(tx, ground, view)
    return Shown(
        filters=filters,
        figure=figure,
        window=ground.topic.window,
        view=view,
        places=places,
        site_names=names,
        zones=sorted({site.time_zone for site in ground.sites}),
        where=names[ground.sites[0].site] if filters.of and len(ground.sites) == 1 else "",
        kpis=kpis,
    )


async def _ground(tx: Tx, filters: Filters, session: Session, now_ms: int) -> _Ground:
    """Return what the filters ask about.

    Raises:
        ConfigError: A selection or dates that cannot be read.
    """
    everywhere = await tree.sites(tx, session.sites)
    of = as_selection(filters.of, everywhere)
    chosen = everywhere
    if of != "*":
        found = {place.site for place in await tree.select(tx, of, "camera", session.sites)}
        chosen = [site for site in everywhere if site.site in found]
    days: Window = window(
        filters.range_name,
        filters.first,
        filters.last,
        (site.time_zone for site in chosen),
        now_ms,
    )
    figure = FIGURES[filters.figure or DEFAULT_FIGURE]
    return _Ground(
        topic=Topic(
            figure=figure,
            of=of,
            window=days,
            label=filters.label,
            hours=filters.hours or "all",
        ),
        sites=chosen,
    )


def as_selection(text: str, sites: list[SitePlace]) -> str:
    """Return a selection: a site's plain name or id means that site, nothing means everything."""
    wanted = text.strip().casefold()
    if not wanted:
        return "*"
    for site in sites:
        if wanted in {site.site.casefold(), site.name.casefold()}:
            return f"site:{site.site}"
    alike = sites_alike(wanted, sites)
    return f"site:{alike[0].site}" if len(alike) == 1 else text.strip()


def sites_alike(text: str, sites: list[SitePlace]) -> list[SitePlace]:
    """Return the sites that have every word of `text`; "site 17" means site-017.

    A text in the language of selections is like none: `field:value`, brackets, `-`, `*`.
    """
    if re.search(r"[:()*]|(^|\s)-", text):
        return []
    wanted = _parts(text)
    return [site for site in sites if wanted and wanted <= _parts(site.site) | _parts(site.name)]


def _parts(text: str) -> set[str]:
    """Return words and numbers, numbers without the noughts before them."""
    return {part.lstrip("0") or "0" for part in re.findall(r"[^\W\d_]+|\d+", text.casefold())}


def _meant(text: str, sites: list[SitePlace]) -> str:
    """Return a sentence that names the sites that were perhaps meant, or nothing."""
    found = sites_alike(text, sites)[:5]
    return f"Several sites are called so: {', '.join(one.site for one in found)}. " if found else ""


def _choices(sites: list[SitePlace]) -> list[Choice]:
    folders = sorted({site.folder for site in sites if site.folder})
    made = [Choice(value=f"folder:{folder}/**", text=f"all of {folder}") for folder in folders]
    made += [Choice(value=f"site:{site.site}", text=site.name or site.site) for site in sites]
    return made[:MAX_CHOICES]


async def _kpis(tx: Tx, ground: _Ground, view: Overview) -> list[KpiRow]:
    """Return what others measured at the same sites in the same days."""
    sites = [site.site for site in ground.sites]
    days = ground.topic.window
    rows: list[KpiRow] = []
    for kind in await kpi.kinds(tx) if sites else []:
        found = await kpi.values(tx, kind.kpi, sites, from_ms=days.from_ms, to_ms=days.to_ms)
        step = kpi.over(kind, found, len(sites), days.from_ms, days.to_ms)
        total = view.total.value
        each = step.value / total if step.value is not None and total and kind.adds_up else None
        rows.append(KpiRow(kind=kind, step=step, each=each))
    return rows


OWN: Final = [business_page, business_csv]
