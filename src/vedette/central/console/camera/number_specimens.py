"""The pages of a camera's numbers in every state."""

import math
from collections.abc import Callable
from typing import Final

from vedette.central import camera_numbers as told
from vedette.central.console import specimens
from vedette.central.console.camera import numbers
from vedette.central.console.page import Page
from vedette.central.query.shapes import Distribution, HeatmapView
from vedette.central.reference import Then
from vedette.central.views import Coverage, Point
from vedette.wire.messages import Cause, SceneHealth

_NOTHING: Final = Coverage(fraction=None, observed_s=0.0, accountable_s=0.0)
_DARK: Final = Coverage(
    fraction=0.0, observed_s=0.0, accountable_s=86_400.0, causes={Cause.DEVICE_DARK: 86_400.0}
)
_PART: Final = Coverage(
    fraction=0.84,
    observed_s=72_576.0,
    accountable_s=86_400.0,
    causes={Cause.CAMERA_DOWN: 10_000.0, Cause.TAMPERED: 3_824.0},
)
_HOURS: Final = range(specimens.FROM_MS, specimens.NOW_MS, specimens.HOUR_MS)


def _coverage(state: str) -> Coverage:
    return {"empty": _NOTHING, "dark": _DARK}.get(state, _PART)


def _line(level: float, swing: float, state: str) -> list[Point]:
    """Return a point each hour; nothing where the camera was not observed."""
    return [
        Point(
            t_ms=at,
            value=None
            if state == "dark" or 6 <= n < 9
            else round(level + swing * math.sin(n / 3), 3),
        )
        for n, at in enumerate(_HOURS)
    ]


def _speed(state: str) -> told.Speed:
    stages = [] if state == "empty" else specimens.camera("degraded").stages
    return told.Speed(
        step="hour",
        complete_to_ms=specimens.NOW_MS,
        unmerged_hours=3 if state == "dark" else 0,
        coverage=_coverage(state),
        rate=[] if state == "empty" else _line(5, 0.3, state),
        stages=[
            told.StageTrend(
                stage=stage,
                lines={
                    name: _line(value, value / 8, state)
                    for name, value in (("p50", stage.p50_ms), ("p95", stage.p95_ms))
                    if value is not None
                },
            )
            for stage in stages
        ],
        drops={} if state in {"empty", "dark"} else {"stale": _line(120, 60, state)},
    )


def _quality(state: str) -> told.Quality:
    levels = {"sharpness": 0.62, "brightness": 0.48, "contrast": 0.5, "noise": 0.12, "odd": 0.3}
    return told.Quality(
        step="hour",
        complete_to_ms=specimens.NOW_MS,
        unmerged_hours=3 if state == "dark" else 0,
        coverage=_coverage(state),
        lines={}
        if state == "empty"
        else {name: _line(level, 0.05, state) for name, level in levels.items()},
        means={name: None if state == "dark" else level for name, level in levels.items()},
    )


def _counts(state: str) -> told.Counts:
    columns = [] if state == "empty" else [_columns("entrance", "entered", state)]
    if state == "full":
        columns.append(_columns("a-doorway-with-quite-a-long-name", "forward", state))
    blind = state in {"empty", "dark"}
    heat = specimens.camera("ok").heatmap
    assert heat is not None
    bell = [round(900 * math.exp(-(((n - 36) / 7) ** 2))) for n in range(50)]
    moved = [round(700 * math.exp(-(((n - 29) / 8) ** 2))) for n in range(50)]
    dwell = Distribution(
        group={"name": "entrance"}, count=412, mean=31.0, p50=18.0, p95=96.0, p99=240.0,
        upper=[4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0], counts=[31, 60, 120, 98, 60, 30, 13],
        coverage=_PART, note="",
    )  # fmt: skip
    return told.Counts(
        step="hour",
        complete_to_ms=specimens.NOW_MS - 2 * specimens.HOUR_MS,
        unmerged_hours=3 if state == "dark" else 0,
        coverage=_coverage(state),
        columns=columns,
        dwell=[] if blind else [dwell],
        heatmap=HeatmapView(
            rows=heat[0], columns=heat[1], seconds=None if blind else heat[2],
            from_ms=specimens.FROM_MS, to_ms=specimens.NOW_MS, coverage=_coverage(state),
            left_out=0,
        ),
        compared=[]
        if blind
        else [
            told.Compared(
                label="person", now=bell, before=moved, distance=told.distance(bell, moved)
            ),
            told.Compared(label="bicycle", now=[0] * 49 + [12], before=moved, distance=None),
        ],
        before=_PART,
    )  # fmt: skip


def _columns(name: str, kind: str, state: str) -> told.Columns:
    steps: list[tuple[int, int, float | None, Coverage]] = []
    for n, at in enumerate(_HOURS):
        hole = state == "dark" or 6 <= n < 9
        cover = _DARK if hole else _PART if n % 5 == 0 else Coverage(
            fraction=1.0, observed_s=3600.0, accountable_s=3600.0
        )  # fmt: skip
        value = None if hole else float(max(0, round(60 * math.sin(n / 4) + 12)))
        steps.append((at, at + specimens.HOUR_MS, value, cover))
    seen = [value for _, _, value, _ in steps if value is not None]
    return told.Columns(name=name, kind=kind, steps=steps, total=sum(seen) if seen else None)


def _shown(state: str) -> numbers.Shown:
    view = specimens.camera({"empty": "unknown", "dark": "dark"}.get(state, "ok"))
    of = told.Camera(
        device="north-1", camera="door", from_ms=specimens.FROM_MS, to_ms=specimens.NOW_MS,
        now_ms=specimens.NOW_MS,
    )  # fmt: skip
    return numbers.Shown(view=view, of=of, range_name="24h")


def _then(state: str) -> Then:
    """Return a camera that was moved; in the dark nothing can be compared."""
    if state == "empty":
        return Then()
    if state == "dark":
        return Then(scene=SceneHealth(), said_ms=specimens.NOW_MS - 3 * specimens.HOUR_MS)
    scene = SceneHealth(
        likeness=0.31, right=-0.051, down=0.004, strength=24.0, is_pinned=True,
        pinned_ms=specimens.FROM_MS,
    )  # fmt: skip
    return Then(scene=scene, said_ms=specimens.NOW_MS - 20_000, pending="ada")


def _page(what: str, state: str, page: Page) -> str:
    shown = _shown(state)
    if what == "speed":
        asked = "more than 3000 points: take a longer step" if state == "error" else _speed(state)
        return numbers.speed_html(shown, asked, page)
    if what == "picture":
        return numbers.picture_html(shown, _quality(state), _then(state), page, may_request=True)
    return numbers.counts_html(shown, _counts(state), page)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    f"camera-{what}{'' if state == 'full' else f'-{state}'}": (
        lambda page, what=what, state=state: _page(what, state, page)
    )
    for what, states in (
        ("picture", ("full", "empty", "dark")),
        ("speed", ("full", "empty", "dark", "error")),
        ("counts", ("full", "partial", "empty", "dark")),
    )
    for state in states
}
