"""`vedette central incidents …` and `… silences …`: what is wrong, and who looks after it.

Thin: reads arguments, calls `central.alerting`, prints. The rule: an action is stored here and its
consequences are drawn by the running central within a second. Who types says who they are with
`--by`: it stands on the timeline and in the audit log.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import click

from vedette.central.alerting import acting, documents, looking, silences
from vedette.central.alerting.facts import History, Incident, Severity, Silence, Where
from vedette.central.alerting.silences import NewSilence
from vedette.central.alerting.views import IncidentRow, IncidentView, SilenceRow
from vedette.central.hours import read as read_hours
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.cli.printable import clean
from vedette.clock import from_wall_ms, wall_ms
from vedette.errors import ConfigError

_LINES: Final = 40

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_by = click.option("--by", default="", help="Who you are; it stands on the timeline.")
_note = click.option("--note", default="", help="Why, or what you do about it.")
_names = click.argument("names", metavar="INCIDENT...", nargs=-1, required=True)


@click.group("incidents", short_help="What is wrong now, who was told, and taking it on.")
def incidents_group() -> None:
    """Incidents: what rules found, who was told of it, and who looks after it."""


@incidents_group.command("list")
@click.option(
    "--state",
    type=click.Choice(["unresolved", "open", "acknowledged", "resolved", "all"]),
    default="unresolved",
    help="Only those in this state.",
)
@click.option(
    "--severity",
    type=click.Choice([one.value for one in Severity]),
    help="Only those as bad as this.",
)
@click.option("--site", default="", help="Only those that concern this site.")
@click.option("--rule", default="", help="Only of this rule.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="At most so many.")
@_as_json
@click.pass_obj
def list_command(  # noqa: PLR0917 - each is an option
    config: CentralConfig,
    state: str,
    severity: str | None,
    site: str,
    rule: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List incidents, newest first."""
    filters = looking.Filters(
        state="" if state == "all" else state, severity=severity or "", site=site, rule=rule
    )

    async def read(tx: Tx) -> list[IncidentRow]:
        book = await documents.current(tx)
        return await looking.page(tx, filters, None, book=book, now_ms=now_ms(), limit=limit)

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.incident.incident,
            str(one.incident.severity),
            _state(one.incident),
            _at(one.incident.opened_ms),
            str(one.incident.count),
            clean(one.incident.title),
            _next(one),
        ]
        for one in found
    ]
    head = ["incident", "severity", "state", "began", "times", "what", "told next"]
    show_table(head, rows, "no such incidents")


@incidents_group.command("show")
@click.argument("incident")
@_as_json
@click.pass_obj
def show_command(config: CentralConfig, incident: str, *, as_json: bool) -> None:
    """Show one incident: what is in it and all that happened to it."""

    async def read(tx: Tx) -> IncidentView:
        book = await documents.current(tx)
        found = await looking.one(tx, incident, None, book=book, now_ms=now_ms())
        if found is None:
            raise acting.NoIncident(
                "there is no such incident", operator_hint="vedette central incidents list"
            )
        return found

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    of = found.row.incident
    click.echo(f"{of.incident}: {clean(of.title)}")
    click.echo(f"  {of.severity}, {_state(of)}, since {_at(of.opened_ms)}, rule {of.rule}")
    for line in filter(None, (of.todo, of.resolved_why, of.ack_note)):
        click.echo(f"  {clean(line)}")
    if found.row.next_ms is not None:
        click.echo(f"  told next: {_next(found.row)} at {_at(found.row.next_ms)}")
    members = [
        [
            _where(one.subject.site, one.subject.device, one.subject.camera, one.subject.place),
            _at(one.began_ms),
            _at(one.ended_ms) if one.ended_ms else "",
            str(one.count),
            clean(one.text)[:60],
        ]
        for one in of.members[:_LINES]
    ]
    show_table(["where", "began", "ended", "times", "what"], members, "nothing in it")
    lines = [_line(row.history) for row in found.timeline[:_LINES]]
    show_table(["when", "who", "what", "in words"], lines, "nothing happened")


@incidents_group.command("ack")
@_names
@_note
@_by
@click.pass_obj
def ack_command(config: CentralConfig, names: tuple[str, ...], note: str, by: str) -> None:
    """Take incidents on: nobody is told any further."""
    _each(config, names, lambda tx, name: acting.acknowledge(
        tx, name, by=by or ACTOR, note=note, now_ms=now_ms()
    ))  # fmt: skip


@incidents_group.command("unack")
@_names
@_by
@click.pass_obj
def unack_command(config: CentralConfig, names: tuple[str, ...], by: str) -> None:
    """Give incidents back: their ladders are climbed anew."""
    _each(config, names, lambda tx, name: acting.unacknowledge(
        tx, name, by=by or ACTOR, now_ms=now_ms()
    ))  # fmt: skip


@incidents_group.command("resolve")
@_names
@_note
@_by
@click.pass_obj
def resolve_command(config: CentralConfig, names: tuple[str, ...], note: str, by: str) -> None:
    """Have incidents over because you say so."""
    _each(config, names, lambda tx, name: acting.resolve(
        tx, name, by=by or ACTOR, reason=note, now_ms=now_ms()
    ))  # fmt: skip


@incidents_group.command("reopen")
@_names
@_note
@_by
@click.pass_obj
def reopen_command(config: CentralConfig, names: tuple[str, ...], note: str, by: str) -> None:
    """Have incidents open again; people are told anew."""
    _each(config, names, lambda tx, name: acting.reopen(
        tx, name, by=by or ACTOR, note=note, now_ms=now_ms()
    ))  # fmt: skip


@incidents_group.command("note")
@click.argument("incident")
@click.argument("text")
@_by
@click.pass_obj
def note_command(config: CentralConfig, incident: str, text: str, by: str) -> None:
    """Write a line onto an incident's timeline."""
    _each(config, (incident,), lambda tx, name: acting.note(
        tx, name, by=by or ACTOR, text=text, now_ms=now_ms()
    ))  # fmt: skip


def _each(
    config: CentralConfig,
    names: tuple[str, ...],
    act: Callable[[Tx, str], Awaitable[Incident]],
) -> None:
    """Do it to each; all of it or nothing."""

    async def all_of_it(tx: Tx) -> list[Incident]:
        return [await act(tx, name) for name in dict.fromkeys(names)]

    for one in in_transaction(config, all_of_it):
        click.echo(f"{one.incident}: {_state(one)}: {clean(one.title)}")


# ------------------------------------------------------------------------------------ silences


@click.group("silences", short_help="Have nobody told for a while; planned work.")
def silences_group() -> None:
    """Silences: incidents are kept, nobody is told. Planned work: what is over by then is none."""


_several: Final = {"multiple": True, "default": ()}


@silences_group.command("list")
@click.option(
    "--state",
    type=click.Choice(["now", "to_come", "over", "all"]),
    default="all",
    help="Only those in this state.",
)
@_as_json
@click.pass_obj
def list_silences(config: CentralConfig, state: str, *, as_json: bool) -> None:
    """List silences, those that end last first."""

    async def read(tx: Tx) -> list[SilenceRow]:
        wanted = "" if state == "all" else state
        return await silences.page(tx, now_ms=now_ms(), state=wanted, limit=1000)

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    rows = [
        [
            one.silence.silence,
            one.state,
            "planned work" if one.silence.is_maintenance else "silence",
            _at(one.silence.from_ms),
            _at(one.silence.ended_ms or one.silence.to_ms),
            _places(one.silence),
            str(one.hides),
            clean(one.silence.reason)[:60],
        ]
        for one in found
    ]
    head = ["silence", "state", "kind", "from", "to", "where", "hides", "why"]
    show_table(head, rows, "no silences")


@silences_group.command("add")
@click.option("--site", "sites", help="A site; several times for several.", **_several)
@click.option("--folder", "folders", help="A folder with everything below.", **_several)
@click.option("--group", "groups", help="A group of sites or devices.", **_several)
@click.option("--device", "devices", help="A device.", **_several)
@click.option("--camera", "cameras", help="A camera by name, with * and ?.", **_several)
@click.option("--rule", "rules", help="Only of this rule, with * and ?.", **_several)
@click.option("--from", "begin", default="", help="2026-03-02T22:00 (UTC); default: now.")
@click.option("--to", "end", default="", help="Until then.")
@click.option("--hours", type=click.FloatRange(0.01, 8784), help="Or for so many hours.")
@click.option("--weekly", default="", help="Repeated by the site's clock: mo-fr 22:00-04:00.")
@click.option("--maintenance", is_flag=True, help="Planned work: what is over by then is none.")
@click.option("--reason", default="", help="Why; shown beside it.")
@click.option("--preview", is_flag=True, help="Only say what it would hide now.")
@_by
@_as_json
@click.pass_obj
def add_silence(  # noqa: PLR0917 - each is an option
    config: CentralConfig,
    begin: str,
    end: str,
    hours: float | None,
    weekly: str,
    reason: str,
    by: str,
    *,
    maintenance: bool,
    preview: bool,
    as_json: bool,
    **where: tuple[str, ...],
) -> None:
    """Have nobody told for a while, everywhere or where you say."""
    at_ms = now_ms()
    from_ms = _when(begin) if begin else None
    if bool(end) == (hours is not None):
        raise ConfigError("say when it ends", operator_hint="with --to or with --hours")
    to_ms = _when(end) if end else (from_ms or at_ms) + round((hours or 0) * 3_600_000)
    wanted = NewSilence(
        from_ms=from_ms,
        to_ms=to_ms,
        where=Where(
            sites=list(where["sites"]),
            folders=list(where["folders"]),
            groups=list(where["groups"]),
            devices=list(where["devices"]),
            cameras=list(where["cameras"]),
        ),
        rules=list(where["rules"]),
        weekly=read_hours(weekly, []).weekly if weekly else {},
        is_maintenance=maintenance,
        reason=reason,
    )
    for one in in_transaction(config, lambda tx: silences.not_there(tx, wanted.where)):
        click.echo(clean(f"doubtful: {one}"), err=True)
    if preview:
        shown = in_transaction(
            config,
            lambda tx: silences.preview(tx, wanted, by=by or ACTOR, now_ms=at_ms, sites=None),
        )
        if as_json:
            show_json(shown)
            return
        click.echo(f"would hide {shown.hides} open incident{'' if shown.hides == 1 else 's'} now")
        for one in shown.incidents:
            click.echo(f"  {one.incident}: {clean(one.title)}")
        return
    made = in_transaction(config, lambda tx: silences.add(tx, wanted, by=by or ACTOR, now_ms=at_ms))
    if as_json:
        show_json(made)
        return
    click.echo(f"{made.silence}: until {_at(made.to_ms)}, {_places(made)}")


@silences_group.command("end")
@click.argument("silence")
@_by
@click.pass_obj
def end_silence(config: CentralConfig, silence: str, by: str) -> None:
    """End a silence now."""
    ended = in_transaction(
        config, lambda tx: silences.end(tx, silence, by=by or ACTOR, now_ms=now_ms())
    )
    click.echo(f"{ended.silence}: over since {_at(ended.ended_ms or ended.to_ms)}")


# --------------------------------------------------------------------------------- small words


def _when(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text[:40]!r} is no time", operator_hint="as in 2026-03-02T22:00, which is UTC"
        ) from error
    return wall_ms(at if at.tzinfo else at.replace(tzinfo=UTC))


def _at(at_ms: int) -> str:
    return f"{from_wall_ms(at_ms):%Y-%m-%d %H:%M:%S}"


def _where(*parts: str) -> str:
    return clean("/".join(part for part in parts if part)) or "everywhere"


def _places(silence: Silence) -> str:
    where = silence.where
    names = (*where.sites, *where.folders, *where.groups, *where.devices, *where.cameras)
    return clean(", ".join((*names, *silence.rules))[:60]) or "everywhere"


def _state(incident: Incident) -> str:
    quiet = " (silenced)" if incident.silenced else " (inhibited)" if incident.inhibited else ""
    late = " (late)" if incident.late_only else ""
    by = f" by {incident.ack_by}" if incident.ack_by else ""
    flapping = " (flapping)" if incident.flapping_ms else ""
    return clean(f"{incident.state}{by}{quiet}{late}{flapping}")


def _next(row: IncidentRow) -> str:
    return clean(", ".join(row.next_tell))[:60]


def _line(history: History) -> list[str]:
    words = clean(history.text)[:80]
    return [_at(history.at_ms), clean(history.actor), history.kind, words]
