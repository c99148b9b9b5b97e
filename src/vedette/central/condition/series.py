"""From health reports to lines over time: heat, memory, spool, clock, network. Pure.

The rule: where reports are missing the line breaks; a reading that a machine cannot give has no
line at all.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from vedette.central.condition.tiers import round_trip_ms
from vedette.central.views import Point
from vedette.wire.messages import HealthReport

MAX_SENSORS: Final = 6
_BREAK: Final = 2.5
"""A line breaks where this many steps bring no report."""

Lines = dict[str, list[Point]]


def lines(reports: Sequence[tuple[int, HealthReport]], step_ms: int) -> dict[str, Lines]:
    """Return lines by panel: `heat`, `memory`, `spool`, `clock`, `trip`, `loss`, `rate`, `power`.

    `reports` are in order of their times, about one each `step_ms`.
    """
    found: dict[str, Lines] = defaultdict(lambda: defaultdict(list))
    before_ms: int | None = None
    for at_ms, report in reports:
        if before_ms is not None and at_ms - before_ms > _BREAK * step_ms:
            for panel in found.values():
                for line in panel.values():
                    if line[-1].value is not None:
                        line.append(Point(t_ms=before_ms + step_ms, value=None))
        before_ms = at_ms
        for panel, name, value in _readings(report):
            if value is not None:
                found[panel][name].append(Point(t_ms=at_ms, value=round(value, 3)))
    heat = sorted(found["heat"].items(), key=lambda item: -_top(item[1]))[:MAX_SENSORS]
    return {panel: dict(heat if panel == "heat" else rows.items()) for panel, rows in found.items()}


def _top(points: Sequence[Point]) -> float:
    return max((point.value for point in points if point.value is not None), default=0.0)


def _readings(report: HealthReport) -> list[tuple[str, str, float | None]]:
    system, net = report.system, report.network
    seconds = report.period_s
    found: list[tuple[str, str, float | None]] = [
        ("heat", sensor, value) for sensor, value in system.temperatures_c.items()
    ]
    return [
        *found,
        ("memory", "agent", system.agent_rss_mb),
        ("memory", "pipeline", system.pipeline_rss_mb),
        ("spool", "waiting", float(sum(report.spool.depth.values()))),
        ("clock", "offset", net.clock_offset_ms),
        ("trip", "p50", round_trip_ms(report, 0.5)),
        ("trip", "p95", round_trip_ms(report, 0.95)),
        ("loss", "lost", None if net.loss_fraction is None else net.loss_fraction * 100),
        ("rate", "sent", net.sent_bytes * 8 / 1000 / seconds if seconds > 0 else None),
        ("rate", "of it backlog", net.backfill_bytes * 8 / 1000 / seconds if seconds > 0 else None),
        ("power", "drawn", system.power_w),
    ]
