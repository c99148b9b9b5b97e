"""Answering a question: which cameras, which steps, and for each step value, coverage and causes.

    Question → cameras in scope → sums by hour (or minute) → steps and groups → Answer

Hours come from what is laid out by day, with hours that are not merged yet added from their
minutes where those are few, and else left out: `complete_to_ms` says up to where the answer speaks.
The rule: a step of which nothing was observed is null, never 0; a step that was observed and in
which nothing was counted is 0; a step with little coverage says so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from vedette.central import tree
from vedette.central.query import catalogue, grid, minutes, openings, packing, runs, scalars, strips
from vedette.central.query.catalogue import STATS, Kind, Metric
from vedette.central.query.grid import Grid
from vedette.central.rollups import DAY_MS, HOUR_MS, floor_ms
from vedette.central.store.db import TupleRow, Tx
from vedette.central.views import Coverage, Segment
from vedette.errors import ConfigError

Scope = Sequence[str] | None
Array = npt.NDArray[np.float64]
Key = tuple[str, ...]

GROUPS: Final = ("site", "device", "camera", "name", "label", "model")
MAX_LINES: Final = 500
MAX_CELLS: Final = 200_000
MAX_BODIES: Final = 40_000
MAX_UNMERGED: Final = 12
MAX_LATE: Final = 1_000_000
"""Camera-hours that may wait to be merged: 1,000 devices of four cameras after ten days away."""

MAX_BY_HOUR: Final = 50
"""Sketches of more cameras than this over three days or more are of whole UTC days."""

LITTLE: Final = 0.5
"""A step of which less than this was observed says that it is little."""

FEW: Final = 20
"""Quantiles of fewer observations say so."""


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked; see docs/ask-the-fleet.md.

    Attributes:
        of: A selection of cameras, as `site:lisbon` or `folder:europe/**`; `*` is the fleet.
        model: Only hours in which this model version ran.
        clock: `site`: days begin at each site's midnight; `utc`: all at the same moment.
        by: One line for each of these together: site, device, camera, name, label, model.
        names, labels: Only these zones, lines, stages …; only these classes. Empty: all.
        stat: Which number of a gauge or distribution.
        per_hour: Counts over observed hours instead of counts.
        hours: `open` or `closed`: only the hours in which each site is; `all` of them.
    """

    metric: str
    from_ms: int
    to_ms: int
    of: str = "*"
    model: str = ""
    step: str = "total"
    clock: str = "site"
    by: list[str] = []
    names: list[str] = []
    labels: list[str] = []
    stat: str = ""
    per_hour: bool = False
    hours: str = "all"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one line: null where nothing was observed."""

    t_ms: int
    end_ms: int
    value: float | None
    coverage: Coverage
    note: str = ""
    count: int | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of one group."""

    group: dict[str, str]
    points: list[Step]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question.

    Attributes:
        complete_to_ms: What came after this is not merged yet and not in the answer.
        unmerged_hours: Camera-hours before it that came late and are not in yet: neither in values
            nor in what was observed, but pending.
    """

    metric: str
    unit: str
    kind: str
    stat: str
    from_ms: int
    to_ms: int
    step: str
    clock: str
    complete_to_ms: int
    unmerged_hours: int
    cameras: int
    lines: list[Line]
    hours: str = "all"


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """A camera that is asked about."""

    site: str
    device: str
    camera: str
    known_from_ms: int
    drained_to_ms: int | None
    time_zone: str
    revoked_ms: int | None = None
    opening: bytes | None = None


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an answer is computed from, before it is put into lines.

    Attributes:
        opened: By site, the units that are asked about; None where all are.
        whole: The devices of which every camera is asked about.
    """

    question: Question
    metric: Metric
    cameras: list[Camera]
    grid: Grid
    complete_to_ms: int
    unmerged: list[tuple[str, str, int]]
    left_out: list[tuple[str, str, int]]
    opened: dict[str, openings.Mask] | None = None
    whole: frozenset[str] = frozenset()

    @property
    def devices(self) -> list[str]:
        """The devices asked about."""
        return sorted({camera.device for camera in self.cameras})


class Sums:
    """Sums by unit of time for every group and time zone."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.values: dict[tuple[Key, str], dict[str, Array]] = defaultdict(dict)
        self.coverage: dict[tuple[Key, str], dict[str, Array]] = defaultdict(dict)

    def add(self, into: dict[str, Array], name: str, found: Array) -> None:
        """Add to one row."""
        if name not in into:
            into[name] = np.zeros(self.units)
        into[name] += found

    def largest(self, into: dict[str, Array], name: str, found: Array) -> None:
        """Have the larger of one row and `found`."""
        into[name] = np.maximum(into[name], found) if name in into else found


# ---------------------------------------------------------------------------------- the ground


async def prepare(tx: Tx, question: Question, scope: Scope, now_ms: int) -> Ground:
    """Return what a question is about: metric, cameras and steps, within limits.

    Raises:
        ConfigError: It cannot be answered as it stands; the message says what to change.
    """
    metric = prepare_metric(question)
    await tx.value("ask_plans")
    cameras = await tx.all("ask_cameras", Camera, scope=None if scope is None else list(scope))
    cameras = [c for c in cameras if c.revoked_ms is None or c.revoked_ms > question.from_ms]
    known = Counter(camera.device for camera in cameras)
    if question.of.strip() != "*":
        level: tree.Level = "device" if metric.of_device else "camera"
        places = await tree.select(tx, question.of, level, scope, past=True)
        wanted = {(place.device, "" if metric.of_device else place.camera) for place in places}
        cameras = [c for c in cameras if (c.device, "" if metric.of_device else c.camera) in wanted]
    zones = {c.time_zone for c in cameras} if question.clock == "site" else {"UTC"}
    devices = sorted({c.device for c in cameras})
    whole = frozenset(d for d, n in Counter(c.device for c in cameras).items() if n == known[d])
    from_ms, to_ms = question.from_ms, min(question.to_ms, now_ms)
    if _is_large(question, metric, len(cameras)) and len(whole) == len(devices):
        from_ms, to_ms = floor_ms(from_ms, DAY_MS), floor_ms(to_ms, DAY_MS)
    made = grid.make(from_ms, to_ms, question.step, zones)
    late = await tx.tuples(
        "ask_unmerged", devices=devices, from_ms=made.from_ms, to_ms=made.to_ms, limit=MAX_LATE
    )
    asked = {(c.device, c.camera) for c in cameras}
    unmerged = [(d, c, hour_ms) for d, c, hour_ms in late if (d, c) in asked]
    complete_ms = min(made.to_ms, now_ms)
    if len(unmerged) > MAX_UNMERGED and made.unit_ms == HOUR_MS:
        recent = [at for _, _, at in unmerged if at >= now_ms - 3 * HOUR_MS]
        complete_ms = min([complete_ms, *recent])
        unmerged = [row for row in unmerged if row[2] < complete_ms]
    left = unmerged if len(unmerged) > MAX_UNMERGED and made.unit_ms == HOUR_MS else []
    return Ground(
        question=question,
        metric=metric,
        cameras=cameras,
        grid=made,
        complete_to_ms=complete_ms,
        unmerged=[] if left else unmerged,
        left_out=left,
        whole=whole,
        opened=openings.masks(
            ((c.site, c.opening, c.time_zone) for c in cameras), made, question.hours
        ),
    )


def _is_large(question: Question, metric: Metric, cameras: int) -> bool:
    """True where sketches of so many cameras over days are only read by the whole day."""
    return (
        metric.kind is Kind.DISTRIBUTION
        and can_pack(question)
        and question.step in {"total", "day", "week", "month"}
        and cameras > MAX_BY_HOUR
        and question.to_ms - question.from_ms >= 3 * DAY_MS
    )


def can_pack(question: Question) -> bool:
    """True where sketches merged by device and day answer, if whole devices are asked about."""
    return question.hours == "all" and set(question.by) <= {"site", "device", "model"}


def prepare_metric(question: Question) -> Metric:
    """Return the metric that a question is about.

    Raises:
        ConfigError: There is no such metric, or it cannot be asked for like this.
    """
    metric = catalogue.find(question.metric)
    unknown = [word for word in question.by if word not in GROUPS]
    if unknown:
        raise ConfigError(
            f"cannot group by {unknown[0][:40]!r}", operator_hint=f"use {', '.join(GROUPS)}"
        )
    if metric.of_device and ({"camera", "model"} & set(question.by) or question.model):
        raise ConfigError(
            f"{metric.name} speaks of devices", operator_hint="group by site, device or name"
        )
    if question.clock not in {"site", "utc"}:
        raise ConfigError("no such clock", operator_hint="use site or utc")
    if question.hours not in openings.HOURS:
        raise ConfigError("no such hours", operator_hint="use all, open or closed")
    choice = STATS.get(metric.kind, ())
    if question.stat and question.stat not in choice:
        raise ConfigError(
            f"{metric.name} has no {question.stat[:20]!r}",
            operator_hint=f"it has {', '.join(choice)}" if choice else "it is one number",
        )
    if question.per_hour and metric.kind not in {Kind.COUNTER, Kind.DURATION}:
        raise ConfigError("only counts and seconds can be told per hour")
    return metric


def group_of(question: Question, camera: Camera, series: packing.Series, model: str = "") -> Key:
    """Return which line a series of a camera belongs to."""
    values = {
        "site": camera.site,
        "device": camera.device,
        "camera": camera.camera,
        "name": series[1],
        "label": series[2],
        "model": model,
    }
    return tuple(values[word] for word in question.by)


def joined(models: Iterable[str]) -> str:
    """Return the models of one hour under one name, as merging names them."""
    return ",".join(sorted({name for model in models for name in model.split(",") if name}))


def is_wanted(question: Question, series: packing.Series) -> bool:
    """True where the question is about this name and class."""
    _, name, label = series
    return (not question.names or name in question.names) and (
        not question.labels or label in question.labels
    )


# ------------------------------------------------------------------------------------- reading


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Several series of one metric of one device over the window; float64, (series, units)."""

    device: str
    metric: str
    series: list[packing.Series]
    units: Array


def cut(ground: Ground, blocks: list[Block], *, none: float = 0.0) -> list[Block]:
    """Return the blocks without the units that the question is not about."""
    if ground.opened is not None:
        site_of = {camera.device: camera.site for camera in ground.cameras}
        for block in blocks:
            block.units[:, ~ground.opened[site_of[block.device]]] = none
    return blocks


def can_lump(ground: Ground) -> bool:
    """True where the coverage of each device's cameras ends in one line, and is added up there."""
    question = ground.question
    return (
        set(question.by) <= {"site", "device"}
        and not question.model
        and len(ground.whole) == len(ground.devices)
        and not ground.left_out
    )


def can_lump_values(ground: Ground) -> bool:
    """True where all that was counted on each device ends there, too."""
    question = ground.question
    return (
        can_lump(ground)
        and not (question.names or question.labels or ground.unmerged)
        and ground.metric.kind in {Kind.COUNTER, Kind.DURATION, Kind.RATIO}
    )


async def hours_of(
    tx: Tx, ground: Ground, metrics: Sequence[str], *, none: float = 0.0, lump: bool = False
) -> list[Block]:
    """Return what is laid out over the window; `none` where an hour says nothing.

    With `lump`, all series of a device are one, their sum, under the name of one of its cameras.
    """
    made = ground.grid
    first_day = floor_ms(made.from_ms, DAY_MS)
    days = len(runs.days(first_day, made.to_ms))
    skip = (made.from_ms - first_day) // HOUR_MS
    rows = await tx.packed(
        "ask_metric_days",
        metrics=list(metrics),
        devices=ground.devices,
        from_ms=first_day,
        to_ms=made.to_ms,
        lump=lump,
    )
    if lump:
        return _lumped(ground, rows, first_day, days, skip)
    found: list[Block] = []
    gathered: dict[tuple[str, str, str], tuple[list[bytes], list[bytes]]] = {}
    for device, metric, keys, day_bytes, hours in rows:
        days_of, hours_of_them = gathered.setdefault((device, metric, keys), ([], []))
        days_of.append(day_bytes)
        hours_of_them.append(hours)
    for (device, metric, keys), (day_bytes, hours) in gathered.items():
        series, matrix = packing.decode(keys, b"".join(hours))
        at = (np.frombuffer(b"".join(day_bytes), dtype=">i8") - first_day) // DAY_MS
        inside = (at >= 0) & (at < days)
        if not inside.all():  # a week reaches beyond the window
            at, matrix = at[inside], matrix[inside]
        dense = np.full((len(series), days, 24), none)
        dense[:, at, :] = matrix.transpose(1, 0, 2)
        flat = dense.reshape(len(series), days * 24)[:, skip : skip + made.units]
        found.append(Block(device=device, metric=metric, series=series, units=flat))
    return found


def _lumped(
    ground: Ground, rows: Sequence[TupleRow], first_day: int, days: int, skip: int
) -> list[Block]:
    """Return one series for each metric of each device, all of its series added up."""
    devices = ground.devices
    place = {device: at for at, device in enumerate(devices)}
    one_of = {camera.device: camera.camera for camera in ground.cameras}
    gathered: dict[tuple[str, str], list[tuple[int, bytes, bytes]]] = defaultdict(list)
    for device, metric, keys, day_bytes, hours in rows:
        gathered[metric, keys].append((place[device], day_bytes, hours))
    dense: dict[str, Array] = {}
    spoken: dict[str, set[int]] = defaultdict(set)
    for (metric, keys), listed in gathered.items():
        _, matrix = packing.decode(keys, b"".join(hours for _, _, hours in listed))
        at = (np.frombuffer(b"".join(b for _, b, _ in listed), dtype=">i8") - first_day) // DAY_MS
        whose = np.repeat([n for n, _, _ in listed], [len(b) // 8 for _, b, _ in listed])
        inside = (at >= 0) & (at < days)  # a week may reach beyond the window
        if metric not in dense:
            dense[metric] = np.zeros((len(devices), days, 24))
        one = matrix[:, 0] if matrix.shape[1] == 1 else matrix.sum(axis=1, dtype=np.float64)
        if not inside.all():
            whose, at, one = whose[inside], at[inside], one[inside]
        dense[metric][whose, at] = one
        spoken[metric] |= {n for n, _, _ in listed}
    return [
        Block(
            device=devices[n],
            metric=metric,
            series=[(one_of[devices[n]], "", "")],
            units=laid[n].reshape(1, days * 24)[:, skip : skip + ground.grid.units],
        )
        for metric, laid in dense.items()
        for n in sorted(spoken[metric])
    ]


async def coverage_of(tx: Tx, ground: Ground, now_ms: int) -> list[Block]:
    """Return milliseconds by unit of what was observed, and of each cause."""
    made = ground.grid
    end_ms = min(ground.complete_to_ms, made.to_ms)
    if made.unit_ms != HOUR_MS:
        book = await strips.read(
            tx, ground.devices, from_ms=made.from_ms, to_ms=end_ms, now_ms=now_ms
        )
        return [
            block
            for c in ground.cameras
            for block in _spread(
                ground, c, book.segments(c.device, c.camera, c.known_from_ms, c.drained_to_ms)
            )
        ]
    live_from = await strips.kept_through(tx, ground.devices, made.from_ms, end_ms)
    found = await hours_of(tx, ground, runs.METRICS, lump=can_lump(ground))
    for block in found:
        # What is kept is whole hours; late news may begin within one, which is then resolved anew.
        block.units[:, (live_from[block.device] - made.from_ms) // HOUR_MS :] = 0.0
    live_from = {
        device: made.from_ms + (at - made.from_ms) // HOUR_MS * HOUR_MS
        for device, at in live_from.items()
    }
    for devices, book in await strips.edge(tx, live_from, end_ms, now_ms):
        for c in ground.cameras:
            if c.device in devices:
                segments = book.segments(c.device, c.camera, c.known_from_ms, c.drained_to_ms)
                found += _spread(ground, c, runs.clip(segments, live_from[c.device], end_ms))
    return found


def _spread(ground: Ground, camera: Camera, segments: list[Segment]) -> list[Block]:
    made = ground.grid
    spread = runs.spread(segments, made.from_ms, made.unit_ms, made.units)
    return [
        Block(
            device=camera.device,
            metric=metric,
            series=[(camera.camera, "", "")],
            units=units.reshape(1, -1),
        )
        for metric, units in spread.items()
    ]


async def values_of(tx: Tx, ground: Ground, metrics: Iterable[str]) -> list[Block]:
    """Return the sums of some metrics by unit of time."""
    wanted = sorted(set(metrics))
    made = ground.grid
    if made.unit_ms != HOUR_MS:
        return await _from_minutes(tx, ground, set(wanted))
    found = await hours_of(tx, ground, wanted, lump=can_lump_values(ground))
    for device, camera, hour_ms in ground.unmerged:
        for block in found:
            if block.device == device:
                rows = [n for n, series in enumerate(block.series) if series[0] == camera]
                block.units[rows, (hour_ms - made.from_ms) // HOUR_MS] = 0.0
    for late in ground.unmerged:
        found += await _late_hour(tx, ground, set(wanted), late)
    return found


async def _late_hour(
    tx: Tx, ground: Ground, wanted: set[str], of: tuple[str, str, int]
) -> list[Block]:
    """Return the sums of one hour of a camera from its minutes, and a closed hour beside them."""
    device, camera, hour_ms = of
    window = {"from_ms": hour_ms, "to_ms": hour_ms + HOUR_MS}
    rows = await tx.packed("ask_minute_bodies", devices=[device], cameras=[camera], **window)
    closed = await tx.packed("ask_closed_hour", device=device, camera=camera, start_ms=hour_ms)
    found_counts = [scalars.counts_of(body) for *_, body in [*rows, *closed]]
    model = joined({counts.model for counts in found_counts})
    laid = scalars.lay(
        (
            (camera, hour_ms, msgspec.structs.replace(counts, model=model))
            for counts in found_counts
        ),
        floor_ms(hour_ms, DAY_MS),
    )
    at = (hour_ms - ground.grid.from_ms) // HOUR_MS
    found: list[Block] = []
    for metric in wanted & set(laid):
        units = np.zeros((len(laid[metric]), ground.grid.units))
        units[:, at] = [hours.max() for hours in laid[metric].values()]
        found.append(Block(device=device, metric=metric, series=list(laid[metric]), units=units))
    return found


def _kept_minutes(ground: Ground, kept: minutes.Kept) -> list[Block]:
    made = ground.grid
    series: dict[tuple[str, str], list[packing.Series]] = defaultdict(list)
    laid: dict[tuple[str, str], list[Array]] = defaultdict(list)
    for (device, camera), (starts, sums) in kept.items():
        at = (starts - made.from_ms) // made.unit_ms
        for metric, by_name in sums.items():
            for (name, label), values in by_name.items():
                units = np.zeros(made.units)
                units[at] = values
                series[device, metric].append((camera, name, label))
                laid[device, metric].append(units)
    return [
        Block(device=device, metric=metric, series=series[device, metric], units=np.array(units))
        for (device, metric), units in laid.items()
    ]


async def _from_minutes(tx: Tx, ground: Ground, wanted: set[str]) -> list[Block]:
    made = ground.grid
    if made.units * len(ground.cameras) > MAX_BODIES:
        raise ConfigError(
            f"more than {MAX_BODIES} camera-minutes",
            operator_hint="ask for fewer cameras, a shorter window, or step=hour",
        )
    if made.units <= minutes.RING and len(ground.cameras) <= minutes.MAX_CAMERAS:
        asked = [(c.device, c.camera) for c in ground.cameras]
        kept = await minutes.read(tx, asked, made.from_ms, made.to_ms, wanted)
        if kept is not None:
            return _kept_minutes(ground, kept)
    rows = await tx.packed(
        "ask_minute_bodies",
        devices=[c.device for c in ground.cameras],
        cameras=[c.camera for c in ground.cameras],
        from_ms=made.from_ms,
        to_ms=made.to_ms,
    )
    sums: dict[tuple[str, str, packing.Series], Array] = {}
    for device, camera, start_ms, body in rows:
        at = (start_ms - made.from_ms) // made.unit_ms
        for metric, name, label, value in scalars.of_counts(scalars.counts_of(body), wanted):
            if metric not in wanted:
                continue
            key = (device, metric, (camera, name, label))
            if key not in sums:
                sums[key] = np.zeros(made.units)
            sums[key][at] += value
    return [
        Block(device=device, metric=metric, series=[series], units=units.reshape(1, -1))
        for (device, metric, series), units in sums.items()
    ]
