"""`vedette central rules …`: what is worth an incident, in one file, tested before it counts.

Thin: reads arguments, calls `central.alerting`, prints.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click
import msgspec

from vedette.central.alerting import applying, documents, history, rules, starter
from vedette.central.alerting.applying import Outcome
from vedette.central.alerting.facts import Book, Rule
from vedette.central.alerting.history import Hindsight
from vedette.central.alerting.replay import Firing
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database, Tx
from vedette.cli.at_central import (
    ACTOR,
    in_transaction,
    now_ms,
    show_json,
    show_table,
    with_database,
)
from vedette.cli.central_query import moment
from vedette.cli.printable import clean
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError

WOULD_CHANGE: Final = 1
"""Exit status of `diff` where a file and what stands are not the same."""

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_file = click.argument(
    "file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
_prune = click.option("--prune", is_flag=True, help="Remove what the file does not name.")
_note = click.option("--note", default="", help="Why; stands with the version.")


@click.group("rules", short_help="Rules of alerts: check, test, diff, apply.")
def rules_group() -> None:
    """Rules of alerts, with ladders, schedules and contacts, in one file.

    \b
      vedette central rules starter --tell channel:ops > rules.yaml
      vedette central rules test rules.yaml
      vedette central rules apply rules.yaml --note "first rules"
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped


def read_file(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes, no more than it may have, and what to call it in errors."""
    if str(path) == "-":
        return sys.stdin.buffer.read(rules.MAX_FILE_BYTES + 1), "standard input"
    with path.open("rb") as file:
        return file.read(rules.MAX_FILE_BYTES + 1), str(path)


def _look(config: CentralConfig, path: Path, *, prune: bool) -> Outcome:
    text, name = read_file(path)
    file, line_of = rules.load_lines(text, name=name)

    async def look(tx: Tx) -> Outcome:
        return await applying.look_at(tx, file, now_ms(), line_of=line_of, name=name, prune=prune)

    return in_transaction(config, look)


@rules_group.command("starter", short_help="Print rules to begin with.")
@click.option("--tell", default="", help="Whom: channel:NAME, person:USER, oncall:SCHEDULE.")
def starter_command(tell: str) -> None:
    """Print a file of rules to begin with. Without --tell nobody is told."""
    click.echo(starter.text(tell), nl=False)


@rules_group.command("check", short_help="Say whether a file can be applied.")
@_file
@_as_json
@click.pass_obj
def check_command(config: CentralConfig, file: Path, *, as_json: bool) -> None:
    """Say whether FILE can be applied here, and what in it is doubtful."""
    found = _look(config, file, prune=False)
    if as_json:
        show_json(found)
        return
    _print_doubts(found)
    count = sum(one.what != "kept" for one in found.changes)
    click.echo(f"{file} can be applied: {count} documents")


@rules_group.command("diff", short_help="Say what a file would change.")
@_file
@_prune
@_as_json
@click.pass_obj
def diff_command(config: CentralConfig, file: Path, *, prune: bool, as_json: bool) -> None:
    """Say what FILE would change. Exit status 1 where anything."""
    found = _look(config, file, prune=prune)
    if as_json:
        show_json(found)
    else:
        _print_outcome(found)
    if any(one.what in {"new", "changed", "removed"} for one in found.changes):
        sys.exit(WOULD_CHANGE)


@rules_group.command("apply", short_help="Have it as a file says.")
@_file
@_prune
@_note
@_as_json
@click.pass_obj
def apply_command(
    config: CentralConfig, file: Path, note: str, *, prune: bool, as_json: bool
) -> None:
    """Have it as FILE says, all of it or nothing. What it does not name stays."""
    text, name = read_file(file)
    read, line_of = rules.load_lines(text, name=name)

    async def apply(tx: Tx) -> Outcome:
        outcome = await applying.look_at(
            tx, read, now_ms(), line_of=line_of, name=name, prune=prune
        )
        return await applying.apply(tx, read, outcome, by=ACTOR, now_ms=now_ms(), note=note)

    found = in_transaction(config, apply)
    if as_json:
        show_json(found)
        return
    _print_outcome(found)
    click.echo("applied")


def _print_outcome(found: Outcome) -> None:
    for one in found.changes:
        if one.what in {"same", "kept"}:
            continue
        click.echo(clean(f"{one.what:8} {one.kind} {one.name}"))
        for line in one.lines:
            click.echo(clean(f"         {line}"))
    same = sum(one.what == "same" for one in found.changes)
    kept = [f"{one.kind} {one.name}" for one in found.changes if one.what == "kept"]
    if same:
        click.echo(f"{same} as they are")
    if kept:
        click.echo(clean(f"not in the file, and left as they are: {', '.join(kept)}"))
    _print_doubts(found)


def _print_doubts(found: Outcome) -> None:
    for doubt in found.doubts:
        click.echo(clean(f"doubtful: {doubt}"), err=True)


@rules_group.command("test", short_help="Say how often rules would have fired.")
@click.argument(
    "file",
    required=False,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
)
@click.option("--rule", "name", default="", help="This rule alone; without FILE: as it stands.")
@click.option("--from", "start", default="7d", show_default=True, help="7d, 24h, or a time.")
@click.option("--to", "end", default="now", show_default=True, help="A time, or now.")
@_as_json
@click.pass_obj
def test_command(
    config: CentralConfig, file: Path | None, name: str, start: str, end: str, *, as_json: bool
) -> None:
    """Say how often the rules of FILE would have fired, on or off.

    \b
    Nothing is written and nobody is told.
      vedette central rules test rules.yaml
      vedette central rules test --rule after-hours --from 30d
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    if file is None and not name:
        raise ConfigError("which rules?", operator_hint="give a FILE or --rule NAME")
    given = None
    if file is not None:
        text, called = read_file(file)
        given = rules.load(text, name=called)
    now = now_ms()
    window = {"from_ms": moment(start, now), "to_ms": moment(end, now), "now_ms": now}

    async def test(db: Database) -> list[Hindsight]:
        if given is None:
            async with db.transaction() as tx:
                listed = [_rule(await documents.current(tx), name)]
        else:
            book = Book(rules={one.rule: one for one in given.rules})
            listed = [_rule(book, name)] if name else given.rules
        return [await history.try_out(db, one, **window, scope=None) for one in listed]

    found = with_database(config, test)
    if as_json:
        show_json(found)
    else:
        _print_hindsight(found)


def _print_hindsight(found: list[Hindsight]) -> None:
    shared = [
        why
        for why in (found[0].cannot if len(found) > 1 else ())
        if all(why in one.cannot for one in found)
    ]
    for one in found:
        fired = one.fired
        if one.told is None:
            click.echo(f"{one.rule}: history cannot tell")
        else:
            times = "once" if fired.fired == 1 else f"{fired.fired} times"
            click.echo(f"{one.rule}: would have fired {times} in {_time_known(one)}")
        aside = [
            f"{count} {what}"
            for count, what in (
                (fired.inhibited, "under a dark site or device: nobody told"),
                (fired.silenced, "silenced"),
                (fired.outside_hours, "matches outside of its hours"),
                (fired.late, "late: written down, nobody told"),
            )
            if count
        ]
        for line in (
            *aside,
            *([f"by day: {_pairs(fired.by_day.items())}"] if fired.by_day else ()),
            *([f"worst: {_pairs(fired.worst)}"] if fired.worst else ()),
            *(
                f"{from_wall_ms(each.at_ms):%Y-%m-%d %H:%M} {_said(each)}"
                for each in fired.examples
            ),
            *(
                [f"known: {one.told * 100:.2g} % of the time asked for"]
                if one.told is not None and one.told < 1
                else ()
            ),
            *(f"cannot tell: {why}" for why in one.cannot if why not in shared),
        ):
            click.echo(clean(f"  {line}"))
    for why in shared:
        click.echo(clean(f"of all: cannot tell: {why}"))


def _time_known(one: Hindsight) -> str:
    """Return `7 days`, or how much of them is known: what was never seen counts for nothing."""
    window_ms, known_ms = one.to_ms - one.from_ms, one.to_ms - one.since_ms
    if known_ms >= window_ms:
        return _span(window_ms)
    return f"the {_span(known_ms)} known of {_span(window_ms)}"


def _span(span_ms: int) -> str:
    for unit_ms, name in ((86_400_000, "days"), (3_600_000, "hours")):
        if span_ms >= 2 * unit_ms:
            return f"{span_ms / unit_ms:.3g} {name}"
    return f"{span_ms / 60_000:.3g} minutes"


def _pairs(counted: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted)


def _said(one: Firing) -> str:
    subject = one.subject
    parts = (subject.site, subject.device, subject.camera, subject.place, subject.what)
    where = "/".join(part for part in parts if part)
    why = f"({one.kept_quiet})" if one.kept_quiet else ""
    return " ".join(part for part in (where, one.text, why) if part)


@rules_group.command("list", short_help="List the rules that stand.")
@_as_json
@click.pass_obj
def list_command(config: CentralConfig, *, as_json: bool) -> None:
    """List the rules that stand, switched on or off."""
    book = in_transaction(config, documents.current)
    if as_json:
        show_json(list(book.rules.values()))
        return
    rows = [
        [
            rule.rule,
            "on" if rule.enabled else "off",
            str(rule.severity),
            rules.what_of(rule),
            rules.where_of(rule.where),
            rule.hours,
            rule.ladder or "nobody",
        ]
        for rule in sorted(book.rules.values(), key=lambda rule: rule.rule)
    ]
    head = ["rule", "is", "severity", "of", "where", "hours", "tells"]
    show_table(head, rows, "no rules: vedette central rules starter")


@rules_group.command("show", short_help="Print what stands as a file, or one rule.")
@click.argument("rule", required=False)
@click.option("--versions", is_flag=True, help="What the rule said before, newest first.")
@_as_json
@click.pass_obj
def show_command(config: CentralConfig, rule: str | None, *, versions: bool, as_json: bool) -> None:
    """Print everything that stands as a file that `apply` takes, or one RULE of it."""
    if versions:
        _print_versions(config, rule or "", as_json=as_json)
        return
    book = in_transaction(config, documents.current)
    if rule:
        book = Book(rules={rule: _rule(book, rule)})
    if as_json:
        show_json(applying.file_of(book))
    else:
        click.echo(applying.text_of(book), nl=False)


def _rule(book: Book, name: str) -> Rule:
    if name not in book.rules:
        raise ConfigError(
            f"there is no rule {name[:64]!r}", operator_hint="vedette central rules list"
        )
    return book.rules[name]


def _print_versions(config: CentralConfig, rule: str, *, as_json: bool) -> None:
    async def read(tx: Tx) -> list[documents.Version]:
        return list(await documents.versions(tx, "rule", rule))

    found = in_transaction(config, read)
    if as_json:
        show_json(
            [
                {
                    "version": one.version,
                    "changed_by": one.changed_by,
                    "changed_ms": one.changed_ms,
                    "note": one.note,
                    "rule": one.read(),
                }
                for one in found
            ]
        )
        return
    bodies = [one.read() for one in found]
    rows = []
    for n, one in enumerate(found):
        now, was = bodies[n], bodies[n + 1] if n + 1 < len(found) else None
        if now is None:
            said = "removed"
        else:
            said = "new" if was is None else "; ".join(applying.compared(was, now))
        when = f"{from_wall_ms(one.changed_ms):%Y-%m-%d %H:%M}"
        rows.append([str(one.version), when, one.changed_by, said, one.note])
    show_table(["version", "when, UTC", "who", "what", "note"], rows, "there was no such rule")


def _switch(config: CentralConfig, names: tuple[str, ...], note: str, *, on: bool) -> None:
    async def switch(tx: Tx) -> None:
        book = await documents.current(tx)
        for name in names:
            changed = msgspec.structs.replace(_rule(book, name), enabled=on)
            await documents.put(tx, "rule", name, changed, ACTOR, now_ms(), note)

    in_transaction(config, switch)
    click.echo(f"{', '.join(names)}: {'on' if on else 'off'}")


@rules_group.command("enable", short_help="Switch rules on.")
@click.argument("names", metavar="RULE…", nargs=-1, required=True)
@_note
@click.pass_obj
def enable_command(config: CentralConfig, names: tuple[str, ...], note: str) -> None:
    """Switch rules on."""
    _switch(config, names, note, on=True)


@rules_group.command("disable", short_help="Switch rules off.")
@click.argument("names", metavar="RULE…", nargs=-1, required=True)
@_note
@click.pass_obj
def disable_command(config: CentralConfig, names: tuple[str, ...], note: str) -> None:
    """Switch rules off; what they hold to be wrong is over with that."""
    _switch(config, names, note, on=False)


@rules_group.command("remove", short_help="Have a rule no more.")
@click.argument("rule")
@_note
@click.pass_obj
def remove_command(config: CentralConfig, rule: str, note: str) -> None:
    """Have a rule no more; what it said is kept."""

    async def remove(tx: Tx) -> None:
        await documents.put(tx, "rule", rule, None, ACTOR, now_ms(), note)

    in_transaction(config, remove)
    click.echo(f"{rule}: removed")
