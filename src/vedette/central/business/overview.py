"""What people did, for the page about the business: one figure, over days, by zone and by site.

    which cameras count it → their steps in the window → total, course, zones, sites, week

The rule: a number speaks for the cameras that count the figure, also for those that saw nothing of
the window; a camera without such a zone neither adds to a number nor to its coverage. Nothing is
compared that was hardly observed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from vedette.central.business.windows import Window, hour_of_week
from vedette.central.query import answers
from vedette.central.query.engine import LITTLE, Answer, Question, Scope, Step
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Tx
from vedette.central.views import Coverage

CELLS: Final = 7 * 24
_ROOTS_MS: Final = 90 * DAY_MS
_MAX_CAMERAS: Final = 20_000
_HOURLY_CAMERAS: Final = 60
"""More cameras than this have no table by hour of the week: it would read too much."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is counted.

    Attributes:
        where: What it is counted at, zone or line.
        twice: Why a sum over several of them may count one person more than once.
    """

    name: str
    metric: str
    title: str
    where: Literal["zone", "line"]
    about: str
    twice: str = "whoever visits two zones counts in both"


FIGURES: Final[dict[str, Figure]] = {
    figure.name: figure
    for figure in (
        Figure(
            name="visits",
            metric="zone.visits",
            title="Visits",
            where="zone",
            about="stays in a zone that began; stepping out for a moment does not end one",
        ),
        Figure(
            name="entered",
            metric="zone.entered",
            title="Entered",
            where="zone",
            about="times that somebody came into a zone",
        ),
        Figure(
            name="left",
            metric="zone.left",
            title="Left",
            where="zone",
            about="times that somebody left a zone",
        ),
        Figure(
            name="forward",
            metric="line.forward",
            title="Crossed forward",
            where="line",
            about="crossings of a line from its left to its right",
            twice="whoever crosses two lines counts at both",
        ),
        Figure(
            name="backward",
            metric="line.backward",
            title="Crossed backward",
            where="line",
            about="crossings of a line from its right to its left",
            twice="whoever crosses two lines counts at both",
        ),
        Figure(
            name="picked",
            metric="zone.picked",
            title="Picked",
            where="zone",
            about="things taken from a shelf",
            twice="",
        ),
        Figure(
            name="placed",
            metric="zone.placed",
            title="Put back or stocked",
            where="zone",
            about="things put onto a shelf",
            twice="",
        ),
        Figure(
            name="loitered",
            metric="zone.loitered",
            title="Loitered",
            where="zone",
            about="visits that added up to too long",
        ),
    )
}
DEFAULT_FIGURE: Final = "visits"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """A count with how much of its time was observed; `value` is None where nothing was."""

    value: float | None
    coverage: Coverage

    @property
    def is_little(self) -> bool:
        """True where less than half was observed: too little to compare or to scale up."""
        return (self.coverage.fraction or 0.0) < LITTLE

    @property
    def per_hour(self) -> float | None:
        """The count by observed camera-hour."""
        if self.value is None or not self.coverage.observed_s:
            return None
        return self.value / (self.coverage.observed_s / 3600)

    @property
    def scaled(self) -> float | None:
        """What the count would be, had the rest been like what was seen; None where too bold."""
        fraction = self.coverage.fraction
        if self.value is None or fraction is None or self.is_little:
            return None
        return self.value / fraction


class Course(Tally, frozen=True, kw_only=True):
    """One step of the course."""

    t_ms: int
    end_ms: int


class SiteTally(Tally, frozen=True, kw_only=True):
    """A site beside others; `before` is the stretch before, `change` by observed hour."""

    site: str
    cameras: int
    before: Tally
    change: float | None
    course: list[float | None]


class ZoneTally(Tally, frozen=True, kw_only=True):
    """A zone or a line of one camera."""

    site: str
    device: str
    camera: str
    name: str
    label: str
    dwell_p50_s: float | None = None
    dwell_p95_s: float | None = None
    dwell_count: int = 0
    occupancy: float | None = None
    occupancy_max: float | None = None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows.

    Attributes:
        week: Counts per observed camera-hour by weekday and hour, 7 rows of 24; None where no
            hour of the window was observed then. Empty where it cannot be told in one clock.
        complete_to_ms: Later hours are not merged yet and not in it.
    """

    total: Tally
    before: Tally
    change: float | None
    course: list[Course]
    zones: list[ZoneTally]
    sites: list[SiteTally]
    week: list[list[float | None]]
    cameras: int
    others: int
    complete_to_ms: int
    unmerged_hours: int


Where = tuple[str, str, str]
"""Site, device, camera."""

_CAMERA: Final = ["site", "device", "camera"]
_SERIES: Final = [*_CAMERA, "name", "label"]


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about: a figure, a selection of cameras, some days, one class or all.

    `hours` is `all`, or the hours in which each site is `open` or `closed`.
    """

    figure: Figure
    of: str
    window: Window
    label: str = ""
    hours: str = "all"

    def question(self, span: tuple[int, int] | None = None, step: str = "total") -> Question:
        """Return it as a question, over its window unless another span (ms) is given."""
        from_ms, to_ms = span or (self.window.from_ms, self.window.to_ms)
        return Question(
            metric=self.figure.metric,
            of=self.of,
            from_ms=from_ms,
            to_ms=to_ms,
            step=step,
            labels=[self.label] if self.label else [],
            hours=self.hours,
        )


class _Asker(msgspec.Struct, frozen=True):
    """Who asks, and when."""

    tx: Tx
    scope: Scope
    now_ms: int

    async def ask(self, question: Question, by: list[str]) -> Answer:
        asked = msgspec.structs.replace(question, by=by)
        return await answers.ask(self.tx, asked, self.scope, self.now_ms, max_lines=_MAX_CAMERAS)


async def overview(tx: Tx, topic: Topic, scope: Scope, now_ms: int) -> Overview:
    """Return one figure over the window for what is selected.

    Raises:
        ConfigError: A selection that cannot be read, or a question over a limit.
    """
    asker, window = _Asker(tx, scope, now_ms), topic.window
    whole = topic.question((min(window.from_ms, window.to_ms - _ROOTS_MS), window.to_ms))
    known = await asker.ask(msgspec.structs.replace(whole, hours="all"), _SERIES)
    roots = {_where(line.group) for line in known.lines}
    told = await asker.ask(topic.question(step=window.step), _CAMERA)
    earlier = await asker.ask(topic.question(window.before()), _CAMERA)
    steps = {_where(line.group): line.points for line in told.lines}
    counting = sorted(roots & set(steps))
    course = [_course(points) for points in zip(*(steps[where] for where in counting), strict=True)]
    by_camera = {
        where: together(Tally(value=p.value, coverage=p.coverage) for p in steps[where])
        for where in counting
    }
    before = {
        where: Tally(value=line.points[0].value, coverage=line.points[0].coverage)
        for line in earlier.lines
        if (where := _where(line.group)) in roots and line.points
    }
    total, total_before = together(by_camera.values()), together(before.values())
    return Overview(
        total=total,
        before=total_before,
        change=change(total, total_before),
        course=course,
        zones=await _zones(asker, topic, known, by_camera),
        sites=_sites(by_camera, before, {where: steps[where] for where in counting}),
        week=await _week(asker, topic, counting),
        cameras=len(counting),
        others=len(steps) - len(counting),
        complete_to_ms=told.complete_to_ms,
        unmerged_hours=told.unmerged_hours,
    )


async def rows(tx: Tx, topic: Topic, scope: Scope, now_ms: int) -> Answer:
    """Return the figure by site, camera, zone and step: what an export holds.

    Raises:
        ConfigError: As `overview`.
    """
    asker = _Asker(tx, scope, now_ms)
    return await asker.ask(topic.question(step=topic.window.step), _SERIES)


def _where(group: Mapping[str, str]) -> Where:
    return group["site"], group["device"], group["camera"]


# --------------------------------------------------------------------------------- putting together


def together(parts: Iterable[Tally]) -> Tally:
    """Return several counts as one; None where none of them has a value."""
    value: float | None = None
    observed_s = accountable_s = 0.0
    causes: dict[str, float] = {}
    for part in parts:
        if part.value is not None:
            value = (value or 0.0) + part.value
        observed_s += part.coverage.observed_s
        accountable_s += part.coverage.accountable_s
        for cause, lost_s in part.coverage.causes.items():
            causes[cause] = causes.get(cause, 0.0) + lost_s
    coverage = Coverage(
        fraction=observed_s / accountable_s if accountable_s else None,
        observed_s=observed_s,
        accountable_s=accountable_s,
        causes=causes,
    )
    return Tally(value=value, coverage=coverage)


def _course(points: Sequence[Step]) -> Course:
    """Return one step over several cameras."""
    whole = together(Tally(value=p.value, coverage=p.coverage) for p in points)
    return Course(
        t_ms=points[0].t_ms,
        end_ms=points[0].end_ms,
        value=whole.value,
        coverage=whole.coverage,
    )


def change(now: Tally, before: Tally) -> float | None:
    """Return by what share the count by observed hour changed; None where it cannot be told."""
    if now.is_little or before.is_little:
        return None
    new, old = now.per_hour, before.per_hour
    return None if new is None or not old else new / old - 1


def _sites(
    by_camera: Mapping[Where, Tally],
    before: Mapping[Where, Tally],
    steps: Mapping[Where, Sequence[Step]],
) -> list[SiteTally]:
    made: list[SiteTally] = []
    for site in sorted({where[0] for where in by_camera}):
        here = [where for where in by_camera if where[0] == site]
        now = together(by_camera[where] for where in here)
        old = together(tally for where, tally in before.items() if where[0] == site)
        columns = zip(*(steps[where] for where in here), strict=True)
        made.append(
            SiteTally(
                site=site,
                value=now.value,
                coverage=now.coverage,
                cameras=len(here),
                before=old,
                change=change(now, old),
                course=[_course(points).value for points in columns],
            )
        )
    made.sort(key=lambda one: (one.is_little, -(one.value or 0.0), one.site))
    return made


async def _zones(
    asker: _Asker, topic: Topic, known: Answer, by_camera: Mapping[Where, Tally]
) -> list[ZoneTally]:
    """Return every zone that was ever counted at, the most visited first."""
    total = topic.question()
    told = await asker.ask(total, _SERIES)
    values = {tuple(line.group.values()): line.points[0].value for line in told.lines}
    more: dict[str, dict[tuple[str, ...], tuple[float | None, int]]] = {}
    if topic.figure.where == "zone":
        for name, metric, stat in (
            ("p50", "dwell", "p50"),
            ("p95", "dwell", "p95"),
            ("mean", "occupancy", ""),
            ("max", "zone.occupancy_max", ""),
        ):
            other = msgspec.structs.replace(total, metric=metric, stat=stat)
            found = await asker.ask(other, _SERIES)
            more[name] = {
                tuple(line.group.values()): (line.points[0].value, line.points[0].count or 0)
                for line in found.lines
            }
    made: list[ZoneTally] = []
    for line in known.lines:
        key, tally = tuple(line.group.values()), by_camera.get(_where(line.group))
        if tally is None:
            continue
        seen = tally.coverage.observed_s > 0
        read = {name: found.get(key, (None, 0)) for name, found in more.items()}
        made.append(
            ZoneTally(
                site=line.group["site"],
                device=line.group["device"],
                camera=line.group["camera"],
                name=line.group["name"],
                label=line.group["label"],
                value=(values.get(key) or 0.0) if seen else None,
                coverage=tally.coverage,
                dwell_p50_s=read.get("p50", (None, 0))[0],
                dwell_p95_s=read.get("p95", (None, 0))[0],
                dwell_count=read.get("p50", (None, 0))[1],
                occupancy=read.get("mean", (None, 0))[0],
                occupancy_max=read.get("max", (None, 0))[0],
            )
        )
    made.sort(key=lambda one: (-(one.value or 0.0), one.site, one.camera, one.name))
    return made


async def _week(asker: _Asker, topic: Topic, counting: Sequence[Where]) -> list[list[float | None]]:
    """Return the count by observed camera-hour for every hour of the week."""
    days = topic.window.days
    if not counting or len(counting) > _HOURLY_CAMERAS or days > _ROOTS_MS // DAY_MS:
        return []
    told = await asker.ask(topic.question(step="hour"), _CAMERA)
    wanted = set(counting)
    parts: list[list[Tally]] = [[] for _ in range(CELLS)]
    for line in told.lines:
        if _where(line.group) not in wanted:
            continue
        for point in line.points:
            day, hour = hour_of_week(point.t_ms, topic.window.zone)
            parts[day * 24 + hour].append(Tally(value=point.value, coverage=point.coverage))
    cells = [together(found).per_hour for found in parts]
    return [cells[day * 24 : day * 24 + 24] for day in range(7)]
