"""`vedette central query, worst, metrics`: questions about the fleet at a terminal.

Thin: reads arguments, asks `central.query`, prints a table with the course of each line, or JSON or
CSV. What was not observed is a gap in the course and an empty cell, never 0.
"""

import csv
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import click

from vedette.amounts import counted
from vedette.central.query import answers, shapes
from vedette.central.query.catalogue import METRICS
from vedette.central.query.engine import Answer, Line, Question
from vedette.central.query.grid import STEPS
from vedette.central.query.openings import HOURS
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.central.views import Coverage
from vedette.cli.at_central import in_transaction, now_ms, show_json, show_table
from vedette.cli.central_places import must_name_sites
from vedette.clock import from_wall_ms, wall_ms
from vedette.errors import ConfigError

_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_BARS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"
_COURSE: Final = 60
"""Most steps that a course shows; more are not, and the table says so."""

_ABOUT: Final = (
    click.option("--of", default="*", show_default=True, help="A selection: folder:europe/**"),
    click.option("--from", "start", default="24h", show_default=True, help="7d, 24h, or a time."),
    click.option("--to", "end", default="now", show_default=True, help="A time, or now."),
    click.option("--by", default="", help="A line for each: site,device,camera,name,label,model"),
    click.option("--names", default="", help="Only these zones, lines, stages …"),
    click.option("--labels", default="", help="Only these classes."),
    click.option("--stat", default="", help="p50, p95, p99, mean, count; mean, min, max, last."),
    click.option("--model", default="", help="Only hours in which this model version ran."),
    click.option(
        "--hours",
        type=click.Choice(HOURS),
        default="all",
        show_default=True,
        help="Only while each site is open, or closed.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def _about(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options that say what is asked about."""
    for option in reversed(_ABOUT):
        command = option(command)
    return command


def moment(text: str, now: int) -> int:
    """Return a time in ms: `now`, `7d` before now, or a date and time (UTC unless it says).

    Raises:
        ConfigError: It is none of these.
    """
    if text == "now":
        return now
    ago = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if ago:
        return now - int(ago[1]) * _UNITS_MS[ago[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text[:40]!r} is no time", operator_hint="write 24h, 7d or 2026-05-01T09:00"
        ) from error
    return wall_ms(at if at.tzinfo else at.replace(tzinfo=UTC))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _question(metric: str, asked: dict[str, str]) -> Question:
    now = now_ms()
    return Question(
        metric=metric,
        of=asked["of"],
        from_ms=moment(asked["start"], now),
        to_ms=moment(asked["end"], now),
        by=_words(asked["by"]),
        names=_words(asked["names"]),
        labels=_words(asked["labels"]),
        stat=asked["stat"],
        step=asked.get("step", "total"),
        clock=asked.get("clock", "site"),
        model=asked["model"],
        hours=asked["hours"],
    )


@click.command("query", short_help="Ask for METRIC over a window, with coverage.")
@click.argument("metric")
@click.option("--step", type=click.Choice(STEPS), default="total", show_default=True)
@click.option("--clock", type=click.Choice(["site", "utc"]), default="site", show_default=True)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row for each step.")
@_about
@click.pass_obj
def query_command(
    config: CentralConfig, metric: str, *, as_csv: bool, as_json: bool, **asked: str
) -> None:
    """Ask for METRIC over a window, with coverage and causes (`metrics` lists them all)."""
    question = _question(metric, asked)

    async def ask(tx: Tx) -> Answer:
        found = await answers.ask(tx, question, None, now_ms())
        if not found.cameras:
            await must_name_sites(tx, question.of)
        return found

    answer = in_transaction(config, ask)
    if as_json:
        show_json(answer)
    elif as_csv:
        _show_csv(answer)
    else:
        _show(answer)


def _show(answer: Answer) -> None:
    words = f"{answer.metric} {answer.stat}".strip()
    window = f"{_at(answer.from_ms)} to {_at(answer.to_ms)} UTC"
    click.echo(f"{words} [{answer.unit}] of {counted(answer.cameras, 'camera')}, {window}")
    if answer.complete_to_ms < answer.to_ms:
        click.echo(f"complete to {_at(answer.complete_to_ms)}; what came later is not merged yet")
    if answer.unmerged_hours:
        late = counted(answer.unmerged_hours, "camera-hour")
        click.echo(f"late minutes of {late} are not in yet")
    rows = [_row(line, answer) for line in answer.lines]
    show_table(["", "course", "least", "most", "last", "coverage", "missing"], rows, "no camera")


def _row(line: Line, answer: Answer) -> list[str]:
    values = [point.value for point in line.points]
    seen = [value for value in values if value is not None]
    observed_s = sum(point.coverage.observed_s for point in line.points)
    accountable_s = sum(point.coverage.accountable_s for point in line.points)
    causes: dict[str, float] = {}
    for point in line.points:
        for cause, lost_s in point.coverage.causes.items():
            causes[cause] = causes.get(cause, 0.0) + lost_s
    told = Coverage(
        fraction=observed_s / accountable_s if accountable_s else None,
        observed_s=observed_s,
        accountable_s=accountable_s,
        causes=causes,
    )
    return [
        " ".join(line.group.values()) or "all",
        course(values[-_COURSE:]) if answer.step != "total" else "",
        _shown(answer.metric, min(seen, default=None)),
        _shown(answer.metric, max(seen, default=None)),
        _shown(answer.metric, values[-1] if values else None),
        *_covered(told),
    ]


def _covered(coverage: Coverage) -> tuple[str, str]:
    fraction = "–" if coverage.fraction is None else f"{coverage.fraction:.1%}"
    worst = sorted(coverage.causes.items(), key=lambda row: -row[1])[:2]
    return fraction, ", ".join(f"{cause} {lasted(lost_s)}" for cause, lost_s in worst)


def lasted(seconds: float) -> str:
    """Return a length of time in the unit in which it is no 0.0."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def course(values: Sequence[float | None]) -> str:
    """Return values as bars from least to most; a dot where nothing was observed."""
    seen = [value for value in values if value is not None]
    if not seen:
        return _GAP * len(values)
    least, most = min(0.0, *seen), max(0.0, *seen)
    reach = (most - least) or 1.0
    top = len(_BARS) - 1
    return "".join(
        _GAP if value is None else _BARS[round((value - least) / reach * top)] for value in values
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"


def _shown(metric: str, value: float | None) -> str:
    """Return a value as people say it: the coverage of a line in percent, as beside it."""
    return f"{value:.1%}" if metric == "coverage" and value is not None else _number(value)


def _at(ms: int) -> str:
    return from_wall_ms(ms).strftime("%Y-%m-%d %H:%M")


def _show_csv(answer: Answer) -> None:
    by = list(answer.lines[0].group) if answer.lines else []
    out = csv.writer(sys.stdout)
    head = ["from", "to", "value", "coverage", "observed_s", "accountable_s", "causes", "note"]
    out.writerow([*by, *head])
    for line in answer.lines:
        for point in line.points:
            causes = " ".join(f"{c}={s:g}" for c, s in sorted(point.coverage.causes.items()))
            covered = point.coverage
            out.writerow(
                [
                    *(_harmless(line.group[word]) for word in by),
                    from_wall_ms(point.t_ms).isoformat(),
                    from_wall_ms(point.end_ms).isoformat(),
                    "" if point.value is None else point.value,
                    "" if covered.fraction is None else round(covered.fraction, 6),
                    covered.observed_s,
                    covered.accountable_s,
                    causes,
                    point.note,
                ]
            )


def _harmless(text: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


@click.command("worst", short_help="List the cameras with the worst METRIC first.")
@click.argument("metric")
@click.option("--order", type=click.Choice(["low", "high"]), help="What is bad; known for most.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, shapes.MAX_WORST))
@_about
@click.pass_obj
def worst_command(
    config: CentralConfig,
    metric: str,
    *,
    order: str | None,
    limit: int,
    as_json: bool,
    **asked: str,
) -> None:
    """List the cameras (or what --by says) with the worst METRIC first."""
    question = _question(metric, asked)

    async def ask(tx: Tx) -> shapes.Worst:
        found = await shapes.worst(tx, question, None, now_ms(), order=order or "", limit=limit)
        if not found.ranked and not found.little:
            await must_name_sites(tx, question.of)
        return found

    found = in_transaction(config, ask)
    if as_json:
        show_json(found)
        return
    beside = ["coverage"] if found.metric != "coverage" else []
    head = ["", f"{found.metric} {found.stat}".strip(), *beside, "missing", ""]

    def rows(listed: list[shapes.Ranked]) -> list[list[str]]:
        return [
            [
                " ".join(r.group.values()),
                _shown(found.metric, r.value),
                *_covered(r.coverage)[found.metric == "coverage" :],
                r.note,
            ]
            for r in listed
        ]

    show_table(head, rows(found.ranked), "nothing to rank")
    if found.little:
        click.echo("\nToo little was observed to rank these:")
        show_table(head, rows(found.little), "")


@click.command("metrics")
def metrics_command() -> None:
    """List what can be asked for."""
    rows = [[metric.name, metric.unit, str(metric.kind), metric.about] for metric in METRICS]
    show_table(["metric", "unit", "kind", "what it is"], rows, "")
