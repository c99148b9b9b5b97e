"""What people write about alerts, read from one file: rules, ladders, schedules, contacts. Pure.

Here: the file, what it may say, and where it contradicts itself. Not here: keeping it
(`documents`), and what only the database knows: channels, users, sites (`applying`).

The rule: a file is taken whole or refused with its line and what to do; what can be judged without
looking at the fleet is judged here.
"""

import string
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from vedette import config
from vedette.central import hours, selection
from vedette.central.alerting import oncall
from vedette.central.alerting.facts import (
    MAX_LADDER_STEPS,
    MAX_NAME_CHARS,
    MAX_RULES,
    MAX_TEXT_CHARS,
    Contact,
    EventMatch,
    Group,
    Health,
    HealthMatch,
    Ladder,
    LadderStep,
    Rule,
    Schedule,
    Where,
)
from vedette.errors import ConfigError
from vedette.ids import is_slug

MAX_FILE_BYTES: Final = 256 * 1024
MAX_LIST: Final = 500
MAX_PEOPLE: Final = 500
MAX_AT_LEAST: Final = 1_000
MAX_S: Final = 90 * 86_400.0

PLACEHOLDERS: Final = ("camera", "device", "site", "place", "label", "count", "value")
HOURS: Final = ("always", "open", "closed")

_SITE_ONLY: Final = frozenset({Health.SITE_DARK, Health.COVERAGE})
_CAMERA: Final = frozenset(
    {
        Health.CAMERA_DOWN,
        Health.TAMPERED,
        Health.DEGRADED,
        Health.LATENCY_BUDGET,
        Health.ACCURACY,
        Health.DRIFT,
    }
)
DEFAULT_ABOVE: Final[dict[Health, float]] = {
    Health.MEMORY_LEAK: 0.0,
    Health.DISK: 0.9,
    Health.NETWORK_LOSS: 0.03,
    Health.SPOOL_FILLING: 0.9,
    Health.CLOCK: 5.0,
    Health.LATENCY_BUDGET: 0.05,
    Health.PIPELINE_CRASHED: 0.0,
    Health.ACCURACY: 0.2,
    Health.DRIFT: 0.2,
    Health.COVERAGE: 1.0,
}
"""What a number has to pass where a rule does not say; conditions that are not here have none."""

_TAKES_ABOVE: Final = frozenset({*DEFAULT_ABOVE, Health.THROTTLED})


class RulesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: what it does not name stays as it is."""

    rules: list[Rule] = []
    ladders: list[Ladder] = []
    schedules: list[Schedule] = []
    contacts: dict[str, list[Contact]] = {}


def load(text: bytes, *, name: str = "rules") -> RulesFile:
    """Return what a file says; `name` stands for it in errors.

    Raises:
        ConfigError: As `load_lines`.
    """
    return load_lines(text, name=name)[0]


def load_lines(
    text: bytes, *, name: str = "rules"
) -> tuple[RulesFile, Callable[[tuple[str, ...]], str]]:
    """Return what a file says, and what tells in which line (`:12`) an entry of it stands.

    Raises:
        ConfigError: Not YAML, too large, unknown keys or names, or rules that cannot be; the
            message names the line, the hint what to write instead.
    """
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{name}: {len(text)} bytes; such a file has at most {MAX_FILE_BYTES}",
            operator_hint="apply it in parts: what a file does not name stays as it is",
        )
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 text", operator_hint="save it as UTF-8") from error
    found, line_of = config.parse_lines(decoded, RulesFile, name=name)
    for path, wrong in problems(found):
        raise ConfigError(
            f"{name}{line_of(path)}: {'.'.join(path)}: {wrong[0]}", operator_hint=wrong[1]
        )
    return found, line_of


Path = tuple[str, ...]
Wrong = tuple[str, str]


def problems(file: RulesFile) -> Iterable[tuple[Path, Wrong]]:
    """Yield what is wrong within a file: where, and what with what to do about it."""
    for of, names in (
        ("rules", [one.rule for one in file.rules]),
        ("ladders", [one.ladder for one in file.ladders]),
        ("schedules", [one.schedule for one in file.schedules]),
    ):
        if len(names) > MAX_RULES:
            yield (of,), (f"more than {MAX_RULES}", "fewer, that say more")
        for n, name in enumerate(names):
            if name in names[:n]:
                yield (of, str(n), of[:-1]), (f"{name!r} stands twice", "give one another name")
    for n, rule in enumerate(file.rules):
        yield from _at(("rules", str(n)), rule_problems(rule))
    for n, ladder in enumerate(file.ladders):
        yield from _at(("ladders", str(n)), ladder_problems(ladder))
    for n, schedule in enumerate(file.schedules):
        yield from _at(("schedules", str(n)), schedule_problems(schedule))
    if len(file.contacts) > MAX_PEOPLE:
        yield ("contacts",), (f"more than {MAX_PEOPLE} people", "apply them in parts")
    for person, contacts in file.contacts.items():
        yield from _at(("contacts", person), contacts_problems(person, contacts))


def _at(path: Path, found: Iterable[tuple[Path, Wrong]]) -> Iterable[tuple[Path, Wrong]]:
    for inner, wrong in found:
        yield (*path, *inner), wrong


def check(kind: str, body: Rule | Ladder | Schedule | Sequence[Contact], name: str = "") -> None:
    """Refuse a single document that cannot be.

    Raises:
        ConfigError: What is wrong with it, and what to do.
    """
    found: Iterable[tuple[Path, Wrong]]
    if isinstance(body, Rule):
        found = rule_problems(body)
    elif isinstance(body, Ladder):
        found = ladder_problems(body)
    elif isinstance(body, Schedule):
        found = schedule_problems(body)
    else:
        found = contacts_problems(name, body)
    for path, wrong in found:
        raise ConfigError(f"{kind} {'.'.join(path)}: {wrong[0]}", operator_hint=wrong[1])


# -------------------------------------------------------------------------------------- rules


def rule_problems(rule: Rule) -> Iterable[tuple[Path, Wrong]]:
    """Yield what is wrong with one rule."""
    yield from _name(rule.rule, ("rule",))
    yield from _text(rule.title, ("title",))
    yield from _text(rule.todo, ("todo",))
    yield from _placeholders(rule.title)
    if (rule.event is None) == (rule.health is None):
        yield (), ("a rule is of events or of health", "give one of `event` and `health`")
        return
    if rule.hours not in HOURS:
        yield ("hours",), (f"{rule.hours[:40]!r} is none", f"one of {', '.join(HOURS)}")
    if rule.ladder and not is_slug(rule.ladder):
        yield ("ladder",), (f"{rule.ladder[:40]!r} cannot name a ladder", "use a-z 0-9 . _ -")
    yield from _seconds(rule.resolve_s, ("resolve_s",), least=1.0)
    yield from _at(("where",), _where_problems(rule.where))
    if rule.event is not None:
        yield from _at(("event",), _event_problems(rule.event))
    if rule.health is not None:
        yield from _at(("health",), _health_problems(rule.health))
        yield from _reach_problems(rule, rule.health.is_)


def _event_problems(match: EventMatch) -> Iterable[tuple[Path, Wrong]]:
    if not match.kinds:
        yield ("kinds",), ("no kind of event is named", "as kinds: [line_crossed]")
    yield from _names(match.places, ("places",))
    yield from _names(match.labels, ("labels",))
    yield from _text(match.direction, ("direction",), most=MAX_NAME_CHARS)
    for name in ("confidence", "score"):
        part = getattr(match, name)
        if part is not None and not 0.0 <= part <= 1.0:
            yield (name,), (f"{part:g} is no share", "from 0 to 1")
    if match.dwell_s is not None:
        yield from _seconds(match.dwell_s, ("dwell_s",))
    if not 1 <= match.at_least <= MAX_AT_LEAST:
        yield ("at_least",), (f"{match.at_least} cannot be", f"from 1 to {MAX_AT_LEAST}")
    yield from _seconds(match.within_s, ("within_s",))
    if match.at_least > 1 and match.within_s <= 0:
        yield ("within_s",), ("is missing", f"{match.at_least} events within how many seconds?")


def _health_problems(match: HealthMatch) -> Iterable[tuple[Path, Wrong]]:
    yield from _seconds(match.for_s, ("for_s",))
    yield from _seconds(match.clear_s, ("clear_s",))
    if match.above is None:
        return
    if match.is_ not in _TAKES_ABOVE:
        yield ("above",), (f"{match.is_} has no number to pass", "leave it out")
    elif not 0 <= match.above < float("inf"):
        yield ("above",), (f"{match.above:g} can never be passed sensibly", "0 or more")


def _reach_problems(rule: Rule, what: Health) -> Iterable[tuple[Path, Wrong]]:
    """Yield where a rule asks for smaller places than its trouble is about: it could never hold."""
    where = rule.where
    if what is Health.ROLLOUT and where != Where():
        yield (
            ("where",),
            (
                "a rollout is of the fleet",
                "leave `where` out, or use update_failed, which is of one device",
            ),
        )
    if where.devices and what in _SITE_ONLY:
        yield ("where", "devices"), (f"{what} is of a whole site", "name sites or folders")
    if where.cameras and what not in _CAMERA:
        yield ("where", "cameras"), (f"{what} is of no camera", "name devices or sites")
    if rule.group in {Group.CAMERA, Group.PLACE} and what not in _CAMERA:
        yield ("group",), (f"{what} is of no camera", "one of rule, site, device")
    if rule.group is Group.DEVICE and what in _SITE_ONLY:
        yield ("group",), (f"{what} is of a whole site", "one of rule, site")


def _where_problems(where: Where) -> Iterable[tuple[Path, Wrong]]:
    for of in ("sites", "devices", "groups"):
        for n, name in enumerate(getattr(where, of)):
            if not is_slug(name):
                yield (of, str(n)), (f"{name[:40]!r} cannot be one", "use a-z 0-9 . _ -")
    for n, folder in enumerate(where.folders):
        if not folder or not selection.is_folder(folder):
            yield ("folders", str(n)), (f"{folder[:60]!r} is no folder", "as europe/portugal")
    yield from _names(where.cameras, ("cameras",), most=2 * MAX_NAME_CHARS + 1)
    for of in ("sites", "devices", "groups", "folders"):
        if len(getattr(where, of)) > MAX_LIST:
            yield (of,), (f"more than {MAX_LIST}", "use folders or a group")


# ---------------------------------------------------------------------- ladders, schedules, people


def ladder_problems(ladder: Ladder) -> Iterable[tuple[Path, Wrong]]:
    """Yield what is wrong with one ladder."""
    yield from _name(ladder.ladder, ("ladder",))
    if not 1 <= len(ladder.steps) <= MAX_LADDER_STEPS:
        yield ("steps",), (f"{len(ladder.steps)} steps", f"from 1 to {MAX_LADDER_STEPS}")
    before_s = 0.0
    for n, step in enumerate(ladder.steps):
        yield from _at(("steps", str(n)), _step_problems(step))
        if step.after_s < before_s:
            yield (
                ("steps", str(n), "after_s"),
                (
                    "is before the step above",
                    "put the steps into order",
                ),
            )
        before_s = max(before_s, step.after_s)
    yield from _seconds(ladder.repeat_s, ("repeat_s",))
    yield from _seconds(ladder.ack_s, ("ack_s",))
    if 0 < ladder.repeat_s <= before_s:
        yield (
            ("repeat_s",),
            (
                f"the round would begin again before its last step at {before_s:g} s",
                f"more than {before_s:g}, or 0 for never",
            ),
        )
    if not 1 <= ladder.rounds <= 100:
        yield ("rounds",), (f"{ladder.rounds} cannot be", "from 1 to 100")


TARGETS: Final = ("channel", "person", "oncall")


def _step_problems(step: LadderStep) -> Iterable[tuple[Path, Wrong]]:
    yield from _seconds(step.after_s, ("after_s",))
    if not 1 <= len(step.tell) <= MAX_LADDER_STEPS:
        yield ("tell",), (f"{len(step.tell)} targets", f"from 1 to {MAX_LADDER_STEPS}")
    for n, target in enumerate(step.tell):
        kind, colon, name = target.partition(":")
        if kind not in TARGETS or not colon:
            yield (
                ("tell", str(n)),
                (
                    f"{target[:40]!r} is nobody",
                    "channel:NAME, person:USER or oncall:SCHEDULE",
                ),
            )
        elif not name or len(name) > 128 or not name.isprintable():
            yield ("tell", str(n)), (f"{target[:40]!r} names nobody", f"as {kind}:NAME")


def schedule_problems(schedule: Schedule) -> Iterable[tuple[Path, Wrong]]:
    """Yield what is wrong with one schedule."""
    yield from _name(schedule.schedule, ("schedule",))
    try:
        hours.zone_of(schedule.time_zone)
    except ConfigError as error:
        yield ("time_zone",), (str(error), error.operator_hint or "")
    if not 1 <= len(schedule.shifts) <= MAX_LADDER_STEPS:
        yield ("shifts",), (f"{len(schedule.shifts)} shifts", f"from 1 to {MAX_LADDER_STEPS}")
    for n, shift in enumerate(schedule.shifts):
        at = ("shifts", str(n))
        if not 1 <= len(shift.people) <= MAX_PEOPLE:
            yield (*at, "people"), (f"{len(shift.people)} people", f"from 1 to {MAX_PEOPLE}")
        for m, person in enumerate(shift.people):
            yield from _at(at, _person(person, ("people", str(m))))
        if not 1 <= shift.turn_days <= 366:
            yield (*at, "turn_days"), (f"{shift.turn_days} cannot be", "from 1 to 366")
        if not oncall.is_start(shift.start):
            yield (
                (*at, "start"),
                (
                    f"{shift.start[:40]!r} is no local date and time",
                    'as "2026-03-02T09:00"; the schedule has the time zone',
                ),
            )
        try:
            hours.check(hours.Hours(weekly=shift.weekly))
        except ConfigError as error:
            yield (*at, "weekly"), (str(error), 'as mo: [["09:00", "17:00"]], in quotes')


def contacts_problems(person: str, contacts: Sequence[Contact]) -> Iterable[tuple[Path, Wrong]]:
    """Yield what is wrong with how a person is reached."""
    yield from _person(person, ())
    if len(contacts) > MAX_LADDER_STEPS:
        yield (), (f"{len(contacts)} contacts of one person", f"at most {MAX_LADDER_STEPS}")
    for n, contact in enumerate(contacts):
        if not is_slug(contact.channel):
            yield (
                (str(n), "channel"),
                (
                    f"{contact.channel[:40]!r} cannot name a channel",
                    "use a-z 0-9 . _ -",
                ),
            )
        yield from _text(contact.address, (str(n), "address"))
        try:
            hours.check(hours.Hours(weekly=contact.quiet))
            hours.zone_of(contact.time_zone)
        except ConfigError as error:
            hint = 'as sa: [["00:00", "24:00"]], and Europe/Berlin'
            yield (str(n), "quiet"), (str(error), hint)


# ------------------------------------------------------------------------------------- pieces


def _person(name: str, path: Path) -> Iterable[tuple[Path, Wrong]]:
    if not name or len(name) > 128 or not name.isprintable():
        yield path, (f"{name[:40]!r} cannot be a user", "a user's name, as in central")


def _name(name: str, path: Path) -> Iterable[tuple[Path, Wrong]]:
    if not is_slug(name):
        yield path, (f"{name[:40]!r} cannot be a name", "1 to 64 of a-z 0-9 . _ -")


def _names(
    names: Sequence[str], path: Path, most: int = MAX_NAME_CHARS
) -> Iterable[tuple[Path, Wrong]]:
    if len(names) > MAX_LIST:
        yield path, (f"more than {MAX_LIST}", "use `*` and `?`")
    for n, name in enumerate(names):
        if not name or len(name) > most or not name.isprintable():
            yield (*path, str(n)), (f"{name[:40]!r} cannot be one", f"1 to {most} characters")


def _text(text: str, path: Path, *, most: int = MAX_TEXT_CHARS) -> Iterable[tuple[Path, Wrong]]:
    if len(text) > most:
        yield path, (f"{len(text)} characters", f"at most {most}")
    elif not text.replace("\n", " ").isprintable():
        yield path, ("has characters that cannot be shown", "plain text")


def _seconds(value: float, path: Path, *, least: float = 0.0) -> Iterable[tuple[Path, Wrong]]:
    if not least <= value <= MAX_S:
        yield path, (f"{value:g} seconds cannot be", f"from {least:g} to {MAX_S:g}")


def _placeholders(title: str) -> Iterable[tuple[Path, Wrong]]:
    known: Callable[[str], bool] = PLACEHOLDERS.__contains__
    try:
        parts = list(string.Formatter().parse(title))
    except ValueError as error:
        yield ("title",), (f"brackets: {error}", "a bracket itself is written twice: {{")
        return
    for _, field, spec, conversion in parts:
        if field is not None and (not known(field) or spec or conversion):
            yield (
                ("title",),
                (
                    f"{{{field[:40]}}} is not known here",
                    ", ".join(f"{{{one}}}" for one in PLACEHOLDERS),
                ),
            )


# -------------------------------------------------------------------------------------- words


def what_of(rule: Rule) -> str:
    """Return what a rule is about, in words."""
    if rule.health is not None:
        match = rule.health
        above = f" above {match.above:g}" if match.above is not None else ""
        lasting = f", for {match.for_s:g} s" if match.for_s else ""
        return f"{match.is_}{above}{lasting}"
    if rule.event is None:
        return ""
    match = rule.event
    said = "/".join(match.kinds)
    said += f" of {'/'.join(match.labels)}" if match.labels else ""
    said += f" at {'/'.join(match.places)}" if match.places else ""
    return said + (f", {match.at_least} in {match.within_s:g} s" if match.at_least > 1 else "")


def where_of(where: Where) -> str:
    """Return where something holds, in words."""
    parts = [
        f"{of} {', '.join(listed[:5])}{', …' if len(listed) > 5 else ''}"
        for of, listed in msgspec.structs.asdict(where).items()
        if listed
    ]
    return "; ".join(parts) or "everywhere"
