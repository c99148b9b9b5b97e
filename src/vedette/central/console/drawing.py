"""What is drawn on the camera and event pages, as numbers that a template puts into SVG.

Pure geometry: no colours, no markup. Coordinates of scenes are in a picture 1000 wide; bars are in
percent. The rule: nothing is drawn for a value that is not there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from vedette.central.console.words import DROPS
from vedette.central.views import EventRow, Point, Stage
from vedette.wire.messages import Box

SCENE_W: Final = 1000.0


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A zone's polygon, a line or a box in scene coordinates, with where its name goes."""

    name: str
    points: str = ""
    x1: float = 0.0
    y1: float = 0.0
    x2: float = 0.0
    y2: float = 0.0
    label_x: float = 0.0
    label_y: float = 0.0
    main: bool = False


def scene_height(picture_px: tuple[int, int] | None) -> float:
    """Return the height of a scene 1000 wide: the picture's shape, or 16:9 where unknown."""
    if not picture_px or picture_px[0] <= 0 or picture_px[1] <= 0:
        return 562.5
    return round(SCENE_W * picture_px[1] / picture_px[0], 1)


def _pairs(value: object) -> list[tuple[float, float]]:
    """Return the points of a polygon as it stands in settings; nothing where it is not one."""
    try:
        return msgspec.convert(value, list[tuple[float, float]], strict=False)
    except msgspec.ValidationError:
        return []


def zone_shapes(zones: Sequence[Mapping[str, object]], height: float) -> list[Shape]:
    """Return the polygons of zones given in fractions of the picture."""
    out: list[Shape] = []
    for zone in zones:
        corners = _pairs(zone.get("polygon"))
        if len(corners) < 3:
            continue
        scaled = [(x * SCENE_W, y * height) for x, y in corners]
        out.append(
            Shape(
                name=str(zone.get("name", "")),
                points=" ".join(f"{x:.1f},{y:.1f}" for x, y in scaled),
                label_x=round(sum(x for x, _ in scaled) / len(scaled), 1),
                label_y=round(sum(y for _, y in scaled) / len(scaled) + 8, 1),
            )
        )
    return out


def line_shapes(lines: Sequence[Mapping[str, object]], height: float) -> list[Shape]:
    """Return lines given in fractions of the picture."""
    out: list[Shape] = []
    for line in lines:
        ends = _pairs([line.get("a"), line.get("b")])
        if len(ends) != 2:
            continue
        (x1, y1), (x2, y2) = ((x * SCENE_W, y * height) for x, y in ends)
        out.append(
            Shape(
                name=str(line.get("name", "")),
                x1=round(x1, 1),
                y1=round(y1, 1),
                x2=round(x2, 1),
                y2=round(y2, 1),
                label_x=round((x1 + x2) / 2, 1),
                label_y=round(max(24.0, (y1 + y2) / 2 - 12), 1),
            )
        )
    return out


def box_shapes(event: EventRow) -> list[Shape]:
    """Return an event's boxes; the one of the track it speaks of is `main`."""
    if not event.picture_px or event.picture_px[0] <= 0:
        return []
    scale = SCENE_W / event.picture_px[0]
    return [_box_shape(box, scale, event.track) for box in event.boxes]


def _box_shape(box: Box, scale: float, track: int | None) -> Shape:
    """Return one box in scene coordinates."""
    x1, y1, x2, y2 = (round(value * scale, 1) for value in box.xyxy)
    name = f"{box.label} {box.confidence:.2f}"
    if box.track is not None:
        name += f" #{box.track}"
    return Shape(
        name=name,
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        label_x=min(max(x1, 4), SCENE_W - 240),
        label_y=max(24.0, y1 - 8),
        main=track is not None and box.track == track,
    )


class HeatCell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a heat map that was stood in."""

    x: float
    y: float
    width: float
    height: float
    opacity: float
    seconds: float


def heat_cells(heatmap: tuple[int, int, list[float]], height: float) -> list[HeatCell]:
    """Return the cells that anybody stood in; opacity grows with the square root of the seconds."""
    rows, columns, seconds = heatmap
    peak = max(seconds, default=0.0)
    if rows <= 0 or columns <= 0 or peak <= 0:
        return []
    cell_w, cell_h = SCENE_W / columns, height / rows
    return [
        HeatCell(
            x=round(index % columns * cell_w, 2),
            y=round(index // columns * cell_h, 2),
            width=round(cell_w, 2),
            height=round(cell_h, 2),
            opacity=round(0.12 + 0.83 * (value / peak) ** 0.5, 2),
            seconds=value,
        )
        for index, value in enumerate(seconds[: rows * columns])
        if value > 0
    ]


class StageBar(msgspec.Struct, frozen=True, kw_only=True):
    """A stage's percentiles against its budget, in percent of the widest thing shown."""

    stage: Stage
    p50: float | None
    p95: float | None
    p99: float | None
    budget: float | None
    over: bool


def stage_bars(stages: Sequence[Stage]) -> list[StageBar]:
    """Return one bar per stage, each scaled to its own budget: the budget's mark is at 60 %."""
    return [_stage_bar(stage) for stage in stages]


def _stage_bar(stage: Stage) -> StageBar:
    """Return the bar of one stage; the mark moves left where p99 would not fit."""
    widest = max(stage.p99_ms or 0.0, (stage.budget_ms or 0.0) / 0.6, 0.001)

    def percent(value: float | None) -> float | None:
        return None if value is None else round(value / widest * 100, 2)

    over = (
        stage.budget_ms is not None and stage.p95_ms is not None and stage.p95_ms > stage.budget_ms
    )
    return StageBar(
        stage=stage,
        p50=percent(stage.p50_ms),
        p95=percent(stage.p95_ms),
        p99=percent(stage.p99_ms),
        budget=percent(stage.budget_ms),
        over=over,
    )


class FrameShare(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the captured frames: where it lies in the bar, and what became of them."""

    key: str
    word: str
    count: int
    x: float
    width: float


class FrameAccount(msgspec.Struct, frozen=True, kw_only=True):
    """All captured frames and what became of them; `missing` is what nothing accounts for."""

    captured: int
    shares: list[FrameShare]
    missing: int


def frame_account(frames: Mapping[str, int]) -> FrameAccount | None:
    """Return the accounting; None where no frames were reported at all."""
    captured = frames.get("captured")
    if captured is None:
        return None
    words = {"analysed": "analysed", "gated": "still, not analysed"}
    words |= {
        f"dropped.{cause}": f"dropped: {DROPS.get(cause, cause)}"
        for cause in (key.removeprefix("dropped.") for key in frames if key.startswith("dropped."))
    }
    shares: list[FrameShare] = []
    before = 0
    for key, word in words.items():
        count = frames.get(key, 0)
        if key.startswith("dropped.") and not count:
            continue
        width = count / captured * 100 if captured else 0.0
        x = before / captured * 100 if captured else 0.0
        shares.append(
            FrameShare(key=key, word=word, count=count, x=round(x, 2), width=round(width, 2))
        )
        before += count
    return FrameAccount(captured=captured, shares=shares, missing=captured - before)


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of a histogram, in percent, and what it says."""

    x: float
    y: float
    width: float
    height: float
    title: str


def histogram_bars(counts: Sequence[int]) -> list[Bar]:
    """Return the bars of counts over equal bins of 0 to 1; empty bins have none."""
    peak = max(counts, default=0)
    if peak <= 0:
        return []
    width = 100 / len(counts)
    return [
        Bar(
            x=round(index * width, 2),
            y=round(100 - count / peak * 96, 2),
            width=round(width * 0.86, 2),
            height=round(count / peak * 96, 2),
            title=f"{index / len(counts):.2f} to {(index + 1) / len(counts):.2f}: {count:,}",
        )
        for index, count in enumerate(counts)
        if count
    ]


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted and the actual window of a clip and the event's moment, in percent of one axis."""

    wanted_x: float
    wanted_width: float
    actual_x: float | None
    actual_width: float | None
    moment_x: float
    start_ms: int
    end_ms: int


def evidence_windows(record: Mapping[str, object], at_ms: int) -> Windows | None:
    """Return where the windows of an evidence record lie; None where it names none."""
    wanted, actual = _window(record.get("wanted_ms")), _window(record.get("actual_ms"))
    if not wanted:
        return None
    start = min(wanted[0], actual[0] if actual else wanted[0], at_ms)
    end = max(wanted[1], actual[1] if actual else wanted[1], at_ms, start + 1)
    margin = (end - start) * 0.04

    def percent(ms: float) -> float:
        return round((ms - start + margin) / (end - start + 2 * margin) * 100, 2)

    return Windows(
        wanted_x=percent(wanted[0]),
        wanted_width=round(percent(wanted[1]) - percent(wanted[0]), 2),
        actual_x=percent(actual[0]) if actual else None,
        actual_width=round(percent(actual[1]) - percent(actual[0]), 2) if actual else None,
        moment_x=percent(at_ms),
        start_ms=start,
        end_ms=end,
    )


def _window(value: object) -> tuple[int, int] | None:
    """Return a window as it stands in an evidence record."""
    try:
        return msgspec.convert(value, tuple[int, int] | None, strict=False)
    except msgspec.ValidationError:
        return None


def series_json(
    series: Mapping[str, Sequence[Point]],
    unit: str,
    budget: float | None,
    from_ms: int,
    to_ms: int,
) -> str:
    """Return what `charts.js` draws: one time axis, several lines; null breaks a line."""
    times = sorted({point.t_ms for points in series.values() for point in points})
    lines = {
        name: _on_axis({point.t_ms: point.value for point in points}, times)
        for name, points in series.items()
    }
    return json.dumps(
        {
            "t": [t / 1000 for t in times],
            "lines": lines,
            "unit": unit,
            "budget": budget,
            "from": from_ms / 1000,
            "to": to_ms / 1000,
        },
        separators=(",", ":"),
    )


def _on_axis(values: Mapping[int, float | None], times: Sequence[int]) -> list[float | None]:
    """Return one line's values on the common axis."""
    return [values.get(t) for t in times]
