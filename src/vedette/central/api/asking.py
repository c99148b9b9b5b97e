"""Questions through the operator API: any metric, for any part of the fleet, over any window.

Thin: reads parameters, asks `central.query` within the asker's scope. Every value stands beside its
coverage and the causes of what is missing; what was not observed is null.
"""

from typing import Annotated, Final

import msgspec
from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.api.paging import Cursor, Cursors, Limit, cut, paged
from vedette.central.query import answers, shapes
from vedette.central.query.catalogue import METRICS, STATS
from vedette.central.query.engine import Answer, Question
from vedette.central.rollups import DAY_MS
from vedette.central.services import Services

_MAX_CHARS: Final = 2_000


class MetricView(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the catalogue."""

    name: str
    unit: str
    kind: str
    about: str
    merges: str
    levels: list[str]
    stats: list[str]
    name_is: str
    label_is: str


MetricName = Annotated[str, QueryParameter(description="A name from /v1/metrics", max_length=64)]
Of = Annotated[
    str, QueryParameter(description="A selection, as folder:europe/**", max_length=_MAX_CHARS)
]
Model = Annotated[str, QueryParameter(description="Only hours of this model", max_length=200)]
FromMs = Annotated[int | None, QueryParameter(description="Start, ms since 1970 UTC", ge=0)]
ToMs = Annotated[int | None, QueryParameter(description="End, ms since 1970 UTC; now", ge=0)]
Words = Annotated[str, QueryParameter(description="Words with commas", max_length=_MAX_CHARS)]
Short = Annotated[str, QueryParameter(max_length=20)]
Hours = Annotated[
    str, QueryParameter(description="all, or each site's open or closed hours", max_length=20)
]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _window(services: Services, from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
    end = services.now_ms() if to_ms is None else to_ms
    return (end - DAY_MS if from_ms is None else from_ms), end


@get("/metrics", summary="Every metric that can be asked for")
async def read_metrics(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,  # noqa: ARG001 - the door
    cursor: Cursor = "",
    limit: Limit = 500,
) -> Response[list[MetricView]]:
    """Return the catalogue, in its own order."""
    cursors = Cursors(services, "metrics")
    found, further = cut(enumerate(METRICS), lambda row: (row[0],), cursors, cursor, limit)
    views = [
        MetricView(
            name=metric.name,
            unit=metric.unit,
            kind=str(metric.kind),
            about=metric.about,
            merges=metric.merges,
            levels=list(metric.levels),
            stats=list(STATS.get(metric.kind, ())),
            name_is=metric.name_is,
            label_is=metric.label_is,
        )
        for _, metric in found
    ]
    return paged(request, views, further)


@get("/query", summary="Any metric over a window: values, coverage, causes")
async def read_query(
    *,
    services: TheServices,
    session: TheSession,
    metric: MetricName = "",
    of: Of = "*",
    model: Model = "",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    step: Short = "total",
    clock: Short = "site",
    group_by: Words = "",
    names: Words = "",
    labels: Words = "",
    stat: Short = "",
    per_hour: FromQuery[bool] = False,
    hours: Hours = "all",
) -> Answer:
    """Return a line of steps for each group."""
    start, end = _window(services, from_ms, to_ms)
    question = Question(
        metric=metric,
        of=of,
        model=model,
        from_ms=start,
        to_ms=end,
        step=step,
        clock=clock,
        by=_words(group_by),
        names=_words(names),
        labels=_words(labels),
        stat=stat,
        per_hour=per_hour,
        hours=hours,
    )
    async with services.db.transaction() as tx:
        return await answers.ask(tx, question, session.sites, services.now_ms())


@get("/worst", summary="The worst first, those with too little coverage apart")
async def read_worst(
    *,
    services: TheServices,
    session: TheSession,
    metric: MetricName = "",
    of: Of = "*",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    group_by: Words = "",
    names: Words = "",
    labels: Words = "",
    stat: Short = "",
    model: Model = "",
    hours: Hours = "all",
    order: Short = "",
    limit: Annotated[int, QueryParameter(ge=1, le=shapes.MAX_WORST)] = 50,
) -> shapes.Worst:
    """Return cameras, or what `group_by` says, by one metric."""
    start, end = _window(services, from_ms, to_ms)
    question = Question(
        metric=metric,
        of=of,
        from_ms=start,
        to_ms=end,
        by=_words(group_by),
        names=_words(names),
        labels=_words(labels),
        stat=stat,
        model=model,
        hours=hours,
    )
    async with services.db.transaction() as tx:
        return await shapes.worst(
            tx, question, session.sites, services.now_ms(), order=order, limit=limit
        )


@get("/distribution", summary="A merged distribution: quantiles and bins")
async def read_distribution(
    *,
    services: TheServices,
    session: TheSession,
    metric: MetricName = "",
    of: Of = "*",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    group_by: Words = "",
    names: Words = "",
    labels: Words = "",
    model: Model = "",
    hours: Hours = "all",
) -> shapes.Distributions:
    """Return one distribution for each group."""
    start, end = _window(services, from_ms, to_ms)
    question = Question(
        metric=metric,
        of=of,
        from_ms=start,
        to_ms=end,
        by=_words(group_by),
        names=_words(names),
        labels=_words(labels),
        model=model,
        hours=hours,
    )
    async with services.db.transaction() as tx:
        return await shapes.distribution(tx, question, session.sites, services.now_ms())


@get("/dwell", summary="How long people stayed in zones: quantiles and bins")
async def read_dwell(
    *,
    services: TheServices,
    session: TheSession,
    of: Of = "*",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    group_by: Words = "name",
    names: Words = "",
    labels: Words = "",
    model: Model = "",
    hours: Hours = "all",
) -> shapes.Distributions:
    """Return the merged distribution of finished visits, by zone unless asked otherwise."""
    start, end = _window(services, from_ms, to_ms)
    question = Question(
        metric="dwell",
        of=of,
        from_ms=start,
        to_ms=end,
        by=_words(group_by),
        names=_words(names),
        labels=_words(labels),
        model=model,
        hours=hours,
    )
    async with services.db.transaction() as tx:
        return await shapes.distribution(tx, question, session.sites, services.now_ms())


@get("/heatmap", summary="Where tracks stood in front of one camera")
async def read_heatmap(
    *,
    services: TheServices,
    session: TheSession,
    of: Of = "",
    from_ms: FromMs = None,
    to_ms: ToMs = None,
    model: Model = "",
    hours: Hours = "all",
) -> shapes.HeatmapView:
    """Return the merged heatmap of one camera."""
    start, end = _window(services, from_ms, to_ms)
    question = Question(metric="dwell", of=of, from_ms=start, to_ms=end, model=model, hours=hours)
    async with services.db.transaction() as tx:
        return await shapes.heatmap(tx, question, session.sites, services.now_ms())


ROUTES: Final = [
    read_metrics,
    read_query,
    read_worst,
    read_distribution,
    read_dwell,
    read_heatmap,
]
