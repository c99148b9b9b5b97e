"""Objectives, figures of the business and people's word, through the operator API.

The rule: every answer that speaks of what was seen carries its coverage; pushing a figure takes an
operator, setting an objective an administrator, judging an event a reviewer.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from vedette.central import meters, tree
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.api.reading import FromMs, ToMs, window
from vedette.central.business import cost, kpi, overrides, places, slo
from vedette.central.business.cost import Costs, Rates
from vedette.central.business.kpi import Kpi, Step, Value
from vedette.central.business.overrides import Counted, NewOverride, Override
from vedette.central.query import answers, engine
from vedette.central.query.engine import Question
from vedette.central.store.db import Tx
from vedette.central.tree import SitePlace
from vedette.central.views import Coverage

Of = Annotated[str, QueryParameter(description="A selection, as folder:europe/**; empty: all")]


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """Objectives in percent by place: `site:…`, `folder:…`, or empty for everywhere."""

    default_percent: float
    percent: dict[str, float]


class NewObjective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An objective; null takes the own one of that place away."""

    place: str = ""
    percent: float | None


class NewKpi(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of figure; `adds_up`: a sum over time (receipts), otherwise a level (queue)."""

    title: str = ""
    unit: str = ""
    adds_up: bool = True


class Push(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures of one kind."""

    values: list[Value]


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """How many figures stand now."""

    taken: int


class KpiSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of figure over a window; `covered` says how much of a step figures speak of."""

    kpi: Kpi
    from_ms: int
    to_ms: int
    step_ms: int
    sites: int
    steps: list[Step]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a figure beside what the cameras counted.

    Attributes:
        figure: Null where no figure speaks of it; `figure_covered` says how much of it they do.
        counted: Null where nothing was observed; `coverage` says how much was, and why not more.
        per_counted: The figure over the count; null where either is, or the count is zero.
    """

    t_ms: int
    end_ms: int
    figure: float | None
    figure_covered: float
    counted: float | None
    coverage: Coverage
    per_counted: float | None


class KpiBeside(msgspec.Struct, frozen=True, kw_only=True):
    """A figure beside a metric."""

    kpi: Kpi
    metric: str
    unit: str
    sites: int
    steps: list[Beside]


class RatesView(msgspec.Struct, frozen=True, kw_only=True):
    """What things cost, by place."""

    rates: dict[str, Rates]


class NewRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What things cost at a place; null takes its own rates away."""

    place: str = ""
    rates: Rates | None


class OverridesView(msgspec.Struct, frozen=True, kw_only=True):
    """People's words in a window."""

    from_ms: int
    to_ms: int
    rows: list[Counted]


async def sites_of(tx: Tx, session: Session, of: str) -> list[SitePlace]:
    """Return the sites in the asker's scope that a selection means.

    Raises:
        ConfigError: The selection cannot be read.
    """
    found = await tree.sites(tx, session.sites)
    if not of.strip():
        return found
    chosen = {place.site for place in await tree.select(tx, of, "site", session.sites)}
    return [site for site in found if site.site in chosen]


@get("/slo", summary="How much of a month was observed, against what was promised")
async def read_slo(
    services: TheServices,
    session: TheSession,
    month: FromQuery[str] = "",
    of: Of = "",
    opening_hours: Annotated[bool, QueryParameter(description="Count opening hours only")] = False,
) -> slo.Report:
    """Return each site's month, worst first."""
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        sites = await sites_of(tx, session, of)
        return await slo.report(
            tx,
            sites,
            month=month or slo.this_month(now_ms),
            now_ms=now_ms,
            opening_hours_only=opening_hours,
        )


@get("/slo/objectives", summary="What is promised, by place")
async def read_objectives(services: TheServices, session: TheSession) -> Objectives:
    """Return the objectives that hold for sites in scope, and everybody's."""
    async with services.db.transaction() as tx:
        found = await slo.targets(tx)
        sites = await tree.sites(tx, session.sites)
    if session.sites is not None:
        holding = {(places.nearest(found, s.site, s.folder) or ("", 0.0))[0] for s in sites}
        found = {place: percent for place, percent in found.items() if place in holding | {""}}
    return Objectives(default_percent=slo.DEFAULT_PERCENT, percent=found)


@put("/slo/objectives", summary="Set an objective (admin of the whole fleet)")
async def put_objective(
    services: TheServices, session: TheSession, data: JSONBody[NewObjective]
) -> Objectives:
    """Set or take away the objective of one place."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        found = await slo.set_target(
            tx, data.place, data.percent, actor=session.username, now_ms=services.now_ms()
        )
    return Objectives(default_percent=slo.DEFAULT_PERCENT, percent=found)


@get("/kpis", summary="Kinds of figures that are pushed in")
async def read_kpis(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,  # noqa: ARG001 - who asks
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[Kpi]]:
    """Return the kinds of figures."""
    async with services.db.transaction() as tx:
        found = await kpi.kinds(tx)
    cursors = Cursors(services, "kpis")
    return paged(request, *cut(found, lambda kind: (kind.kpi,), cursors, cursor, limit))


@put("/kpis/{name:str}", summary="Have a kind of figure (admin of the whole fleet)")
async def put_kpi(
    services: TheServices, session: TheSession, name: FromPath[str], data: JSONBody[NewKpi]
) -> Kpi:
    """Make a kind of figure, or change its title and unit."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        return await kpi.put(
            tx,
            name,
            title=data.title,
            unit=data.unit,
            adds_up=data.adds_up,
            actor=session.username,
            now_ms=services.now_ms(),
        )


@delete("/kpis/{name:str}", status_code=204, summary="Delete a kind of figure and its values")
async def delete_kpi(services: TheServices, session: TheSession, name: FromPath[str]) -> None:
    """Delete it (admin of the whole fleet)."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        await kpi.drop(tx, name, actor=session.username, now_ms=services.now_ms())


@post("/kpis/{name:str}/values", status_code=200, summary="Push figures (operator)")
async def push_values(
    services: TheServices, session: TheSession, name: FromPath[str], data: JSONBody[Push]
) -> Pushed:
    """Take figures of sites in scope; one that begins at the same moment replaces the first."""
    access.require(session, "operator")
    for site in {value.site for value in data.values}:
        access.require_site(session, site)
    async with services.db.transaction() as tx:
        taken = await kpi.push(tx, name, data.values, now_ms=services.now_ms())
    return Pushed(taken=taken)


@get("/kpis/{name:str}", summary="A figure over time")
async def read_kpi(
    *,
    services: TheServices,
    session: TheSession,
    name: FromPath[str],
    of: Of = "",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    step_s: Annotated[int, QueryParameter(ge=60, le=31_622_400)] = 3600,
) -> KpiSeries:
    """Return the figure of the chosen sites together, by step."""
    start, end = window(from_ms, to_ms, services.now_ms())
    if from_ms is None:
        # Figures come for whole hours and days: steps that begin at the minute of asking cut each.
        start -= start % (step_s * 1000)
    async with services.db.transaction() as tx:
        kind = await kpi.get(tx, name)
        sites = await sites_of(tx, session, of)
        found = await kpi.values(tx, name, [s.site for s in sites], from_ms=start, to_ms=end)
    step_ms = step_s * 1000
    steps = kpi.steps(kind, found, len(sites), from_ms=start, to_ms=end, step_ms=step_ms)
    return KpiSeries(
        kpi=kind, from_ms=start, to_ms=end, step_ms=step_ms, sites=len(sites), steps=steps
    )


@get("/kpis/{name:str}/beside", summary="A figure beside what the cameras counted")
async def read_beside(
    *,
    services: TheServices,
    session: TheSession,
    name: FromPath[str],
    metric: Annotated[str, QueryParameter(description="As zone.entered", max_length=64)],
    of: Of = "",
    names: Annotated[str, QueryParameter(description="Zones or lines, with commas")] = "",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    step: FromQuery[str] = "day",
) -> KpiBeside:
    """Return both by step, as receipts per visitor: nothing is divided by what nobody saw."""
    start, end = window(from_ms, to_ms, services.now_ms())
    async with services.db.transaction() as tx:
        kind = await kpi.get(tx, name)
        sites = [site.site for site in await sites_of(tx, session, of)]
        question = Question(
            metric=metric,
            from_ms=start,
            to_ms=end,
            step=step,
            names=[word.strip() for word in names.split(",") if word.strip()],
        )
        answer = await answers.ask(tx, question, sites, services.now_ms())
        found = await kpi.values(tx, name, sites, from_ms=answer.from_ms, to_ms=answer.to_ms)
    points = answer.lines[0].points if answer.lines else []
    return KpiBeside(
        kpi=kind,
        metric=answer.metric,
        unit=answer.unit,
        sites=len(sites),
        steps=[_beside(kind, found, len(sites), point) for point in points],
    )


def _beside(kind: Kpi, found: list[Value], sites: int, point: engine.Step) -> Beside:
    figure = kpi.over(kind, found, sites, point.t_ms, point.end_ms)
    both = figure.value is not None and bool(point.value)
    return Beside(
        t_ms=point.t_ms,
        end_ms=point.end_ms,
        figure=figure.value,
        figure_covered=figure.covered,
        counted=point.value,
        coverage=point.coverage,
        per_counted=(figure.value or 0.0) / (point.value or 1.0) if both else None,
    )


@get("/costs", summary="What sites cost, and a thousand inferences")
async def read_costs(
    *,
    services: TheServices,
    session: TheSession,
    of: Of = "",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
) -> Costs:
    """Return devices, energy and line of each site in a window, the dearest inference first."""
    now_ms = services.now_ms()
    start, end = window(from_ms, to_ms, now_ms)
    async with services.db.transaction() as tx:
        sites = await sites_of(tx, session, of)
        return await cost.costs(tx, sites, from_ms=start, to_ms=end, now_ms=now_ms)


@put("/costs/rates", summary="Set what things cost at a place (admin of the whole fleet)")
async def put_rates(
    services: TheServices, session: TheSession, data: JSONBody[NewRates]
) -> RatesView:
    """Set or take away the rates of one place."""
    access.require(session, "admin")
    access.require_whole(session)
    async with services.db.transaction() as tx:
        found = await cost.set_rates(
            tx, data.place, data.rates, actor=session.username, now_ms=services.now_ms()
        )
    return RatesView(rates=found)


@post("/overrides", status_code=200, summary="Say whether an event was right (reviewer)")
async def say_override(
    services: TheServices, session: TheSession, data: JSONBody[NewOverride]
) -> Override:
    """Have the asker's word on one event; said again, it replaces the first."""
    access.require(session, "reviewer")
    async with services.db.transaction() as tx:
        said = await overrides.say(
            tx, data, scope=session.sites, actor=session.username, now_ms=services.now_ms()
        )
    if said is None:
        raise NotThere(detail="there is no such event")
    return said


@get("/overrides", summary="How often people said that a model was wrong")
async def read_overrides(
    *,
    services: TheServices,
    session: TheSession,
    of: Of = "",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
) -> OverridesView:
    """Return people's words by camera, model and answer, most overridden first."""
    start, end = window(from_ms, to_ms, services.now_ms())
    async with services.db.transaction() as tx:
        sites = await sites_of(tx, session, of)
        rows = await overrides.counted(tx, [s.site for s in sites], from_ms=start, to_ms=end)
    return OverridesView(from_ms=start, to_ms=end, rows=rows)


@get("/metrics", include_in_schema=False)
async def prometheus(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[bytes]:
    """Answer a scraper that shows an API token of somebody who sees the whole fleet."""
    access.require_whole(session)
    async with services.db.transaction() as tx:
        found = await meters.snapshot(tx, services.now_ms())
    body, content_type = services.meters.text(found, request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


ROUTES: Final = [
    read_slo,
    read_objectives,
    put_objective,
    read_kpis,
    put_kpi,
    delete_kpi,
    push_values,
    read_kpi,
    read_beside,
    read_costs,
    put_rates,
    say_override,
    read_overrides,
]

AT_THE_TOP: Final = [prometheus]
"""Routes whose address others prescribe."""
