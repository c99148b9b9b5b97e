"""`vedette central oncall …` and `… ladders …`: who is told of incidents, and when.

Thin: reads arguments, calls `central.alerting`, prints. Ladders and schedules are written in the
rules file (`vedette central rules apply`). The rule: times of a schedule are read and shown by its
own clock on the wall; no address is shown.
"""

from datetime import datetime, timedelta

import click

from vedette.central import hours
from vedette.central.alerting import documents, doubts, handover, people, rota, simulate
from vedette.central.alerting.facts import Book, Ladder, Override, Schedule, Severity
from vedette.central.alerting.handing import Left
from vedette.central.alerting.rota import OnCall
from vedette.central.alerting.views import Duty, Followed, LadderRow
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.cli.printable import clean
from vedette.clock import from_wall_ms, wall_ms
from vedette.errors import ConfigError

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_by = click.option("--by", default="", help="Who you are; it stands in the audit log.")


@click.group("oncall", short_help="Who is on call now and later; taking over.")
def oncall_group() -> None:
    """Who is on call, by schedules and by whoever took over."""


@oncall_group.command("now", short_help="Say who is on call now, and who is next.")
@_as_json
@click.pass_obj
def now_command(config: CentralConfig, *, as_json: bool) -> None:
    """Say who is on call now in each schedule, until when, and who is next."""

    async def read(tx: Tx) -> tuple[Book, list[OnCall]]:
        book, at_ms = await documents.current(tx), now_ms()
        overrides = await people.overrides(tx, at_ms)
        return book, [
            rota.on_call(schedule, book, overrides, at_ms)
            for _, schedule in sorted(book.schedules.items())
        ]

    book, found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.schedule,
            one.person or "NOBODY",
            _until(book.schedules[one.schedule], one.until_ms),
            one.next_person or "-",
            "; ".join([*filter(None, [one.gap]), *one.problems])
            or ("took over" if one.override else ""),
        ]
        for one in found
    ]
    show_table(["schedule", "on call", "until", "then", ""], rows, "no schedules yet")


@oncall_group.command("show", short_help="Show a schedule from when to when.")
@click.argument("schedule")
@click.option("--days", type=click.IntRange(1, 90), default=14, show_default=True)
@_as_json
@click.pass_obj
def show_command(config: CentralConfig, schedule: str, days: int, *, as_json: bool) -> None:
    """Show who is on call in SCHEDULE, from when to when, and when nobody is."""
    start_ms = now_ms()
    end_ms = start_ms + round(timedelta(days=days).total_seconds()) * 1000

    async def read(tx: Tx) -> tuple[Schedule, list[Override], list[str]]:
        book = await documents.current(tx)
        of = _known(book, schedule)
        overrides = await people.overrides(tx, start_ms, schedule)
        return of, overrides, doubts.of_schedule(of, book, overrides, start_ms)

    of, overrides, doubtful = in_transaction(config, read)
    duties = rota.calendar(of, overrides, start_ms, end_ms)
    if as_json:
        show_json({"duties": duties, "overrides": overrides, "doubts": doubtful})
        return
    click.echo(f"{schedule}, by the clock of {of.time_zone}:")
    show_table(["from", "to", "on call", ""], [_duty(of, one) for one in duties], "nothing")
    for one in overrides:
        click.echo(
            f"{one.override}: {clean(one.person)} takes over from "
            f"{doubts.at_words(of, one.from_ms)} to {doubts.at_words(of, one.to_ms)}"
            f" ({clean(one.made_by)}) {clean(one.note)}"
        )
    for line in doubtful:
        click.echo(f"! {clean(line)}")


@oncall_group.command("override", short_help="Have somebody take over for a while.")
@click.argument("schedule")
@click.argument("person")
@click.option("--from", "begin", default="", help="As 2026-03-02T22:00; default: now.")
@click.option("--to", "end", default="", help="Until then.")
@click.option("--hours", "for_h", type=click.FloatRange(0.01, 2208), help="Or for so many hours.")
@click.option("--note", default="", help="Why.")
@_by
@_as_json
@click.pass_obj
def override_command(  # noqa: PLR0917 - each is an option
    config: CentralConfig,
    schedule: str,
    person: str,
    begin: str,
    end: str,
    for_h: float | None,
    note: str,
    by: str,
    *,
    as_json: bool,
) -> None:
    """Have PERSON on call in SCHEDULE for a while; times are by the schedule's own clock."""
    if bool(end) == (for_h is not None):
        raise ConfigError("say when it ends", operator_hint="with --to or with --hours")

    async def take(tx: Tx) -> tuple[Schedule, Override]:
        book, at_ms = await documents.current(tx), now_ms()
        of = _known(book, schedule)
        from_ms = _when(of, begin) if begin else at_ms
        wanted = Override(
            override="",
            schedule=schedule,
            person=person,
            from_ms=from_ms,
            to_ms=_when(of, end) if end else from_ms + round((for_h or 0) * 3_600_000),
            made_by=by or ACTOR,
            made_ms=at_ms,
            note=note,
        )
        return of, await people.take_over(tx, book, wanted)

    of, made = in_transaction(config, take)
    if as_json:
        show_json(made)
        return
    since, until = (doubts.at_words(of, at_ms) for at_ms in (made.from_ms, made.to_ms))
    click.echo(f"{made.override}: {clean(person)} from {since} to {until} ({of.time_zone})")


@oncall_group.command("hand-over", short_help="Leave a note to whoever comes on call.")
@click.argument("schedule")
@click.option("--note", default="", help="What they should know; empty: take it back.")
@_by
@click.pass_obj
def hand_over_command(config: CentralConfig, schedule: str, note: str, by: str) -> None:
    """Leave a note to whoever is on call next in SCHEDULE: told with the hand-over, once."""

    async def leave(tx: Tx) -> Left:
        book = await documents.current(tx)
        who = by or ACTOR
        return await handover.leave(tx, book, schedule, note, by=who, now_ms=now_ms())

    left = in_transaction(config, leave)
    click.echo(f"{schedule}: {'kept for whoever comes' if left.note else 'nothing is kept'}")


@oncall_group.command("end", short_help="End an override now.")
@click.argument("override")
@_by
@click.pass_obj
def end_command(config: CentralConfig, override: str, by: str) -> None:
    """End an override now; the schedule decides again."""
    ended = in_transaction(
        config, lambda tx: people.give_back(tx, override, actor=by or ACTOR, now_ms=now_ms())
    )
    click.echo(f"{ended.override}: over")


# ------------------------------------------------------------------------------------- ladders


@click.group("ladders", short_help="Who is told of incidents, and what a ladder would do.")
def ladders_group() -> None:
    """Ladders: who is told, by which channel, after how long, until somebody acknowledges."""


@ladders_group.command("list")
@_as_json
@click.pass_obj
def list_ladders(config: CentralConfig, *, as_json: bool) -> None:
    """List ladders, with the rules that climb them and what is doubtful."""

    async def read(tx: Tx) -> list[LadderRow]:
        return await rota.ladder_rows(tx, await documents.current(tx))

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.ladder.ladder,
            str(len(one.ladder.steps)),
            f"{one.ladder.rounds} x" if one.ladder.repeat_s else "once",
            ", ".join(one.rules) or "-",
            "; ".join(one.problems[:3]),
        ]
        for one in found
    ]
    show_table(["ladder", "steps", "rounds", "rules", ""], rows, "no ladders yet")


@ladders_group.command("show")
@click.argument("ladder")
@_as_json
@click.pass_obj
def show_ladder(config: CentralConfig, ladder: str, *, as_json: bool) -> None:
    """Show one ladder, rung by rung."""

    async def read(tx: Tx) -> LadderRow:
        book = await documents.current(tx)
        _rungs(book, ladder)
        [found] = await rota.ladder_rows(tx, book, [ladder])
        return found

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    of = found.ladder
    rows = [
        [str(number), _after(step.after_s), ", ".join(step.tell), "yes" if step.ask_clip else ""]
        for number, step in enumerate(of.steps, 1)
    ]
    show_table(["step", "after", "tells", "asks for the clip"], rows, "no steps")
    again = f"again after {_after(of.repeat_s)}, {of.rounds} rounds at most"
    click.echo(again if of.repeat_s else "once")
    click.echo(
        f"an acknowledgement holds {_after(of.ack_s)}" if of.ack_s else "acknowledged for good"
    )
    click.echo(f"rules: {', '.join(found.rules) or 'none'}")
    for line in found.problems:
        click.echo(f"! {clean(line)}")


@ladders_group.command("follow", short_help="Say who would be told when; nobody is told.")
@click.argument("ladder")
@click.option(
    "--severity",
    type=click.Choice([one.value for one in Severity]),
    default="warning",
    show_default=True,
)
@click.option("--at", "begin", default="", help="As 2026-03-02T22:00+01:00; default: now.")
@click.option("--ack-after", type=click.FloatRange(0), help="Somebody is on it after MINUTES.")
@click.option("--over-after", type=click.FloatRange(0), help="It is over after MINUTES.")
@click.option("--by", default="somebody", help="Who acknowledges.")
@_as_json
@click.pass_obj
def follow_command(  # noqa: PLR0917 - each is an option
    config: CentralConfig,
    ladder: str,
    severity: str,
    begin: str,
    ack_after: float | None,
    over_after: float | None,
    by: str,
    *,
    as_json: bool,
) -> None:
    """Follow LADDER in thought, with whoever is on call at those times. Nobody is told."""
    start_ms = _moment(begin) if begin else now_ms()

    async def read(tx: Tx) -> Followed:
        book = await documents.current(tx)
        return simulate.in_thought(
            book,
            await people.overrides(tx, start_ms),
            _rungs(book, ladder),
            severity=Severity(severity),
            start_ms=start_ms,
            ack_ms=_later(start_ms, ack_after),
            by=by,
            resolved_ms=_later(start_ms, over_after),
        )

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            f"{from_wall_ms(one.at_ms):%a %d %b %H:%M:%S}",
            f"+{_after((one.at_ms - start_ms) / 1000)}",
            str(one.round),
            one.kind,
            one.problem or one.tell,
        ]
        for one in found.steps
    ]
    show_table(["when (UTC)", "", "round", "", "who"], rows, "nobody is told")
    click.echo(clean(found.end))


# --------------------------------------------------------------------------------- small words


def _known(book: Book, schedule: str) -> Schedule:
    if schedule not in book.schedules:
        raise ConfigError(
            f"there is no schedule {schedule[:64]!r}",
            operator_hint=f"there are: {', '.join(sorted(book.schedules)) or 'none yet'}",
        )
    return book.schedules[schedule]


def _rungs(book: Book, ladder: str) -> Ladder:
    if ladder not in book.ladders:
        raise ConfigError(
            f"there is no ladder {ladder[:64]!r}",
            operator_hint=f"there are: {', '.join(sorted(book.ladders)) or 'none yet'}",
        )
    return book.ladders[ladder]


def _when(schedule: Schedule, text: str) -> int:
    """Return a time that was typed; without an offset it is by the schedule's clock."""
    return _moment(text, schedule.time_zone)


def _moment(text: str, zone: str = "UTC") -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text[:40]!r} is no time", operator_hint="as in 2026-03-02T22:00"
        ) from error
    return wall_ms(at if at.tzinfo else at.replace(tzinfo=hours.zone_of(zone)))


def _later(start_ms: int, minutes: float | None) -> int | None:
    return None if minutes is None else start_ms + round(minutes * 60_000)


def _until(schedule: Schedule, at_ms: int | None) -> str:
    return "for weeks" if at_ms is None else doubts.at_words(schedule, at_ms)


def _duty(schedule: Schedule, duty: Duty) -> list[str]:
    return [
        doubts.at_words(schedule, duty.from_ms),
        doubts.at_words(schedule, duty.to_ms),
        duty.person or "NOBODY",
        "took over" if duty.override else "",
    ]


def _after(seconds: float) -> str:
    """Return a time as people say it: 0 min, 45 s, 1 h 30 min."""
    if seconds < 60 and seconds:
        return f"{seconds:g} s"
    whole_h, minutes = divmod(round(seconds / 60), 60)
    parts = [f"{whole_h} h"] * bool(whole_h) + [f"{minutes} min"] * bool(minutes or not whole_h)
    return " ".join(parts)
