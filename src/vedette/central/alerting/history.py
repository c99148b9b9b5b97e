"""A rule against history: how often it would have fired, before it is switched on.

Here: reading the past as far as it is kept, and saying how far that is. Not here: matching, judging
and counting, which are those of the present (`matching`, `judging`, `lasting`) and `replay`.

The rule: where history cannot tell, that is said with the share that it can; nothing is estimated.
Health reports are kept for a week as they came; what central wrote down of them is kept longer.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Final

import msgspec

from vedette.central.alerting import (
    judging,
    lasting,
    places,
    quiet,
    replay,
    reports,
    slow,
    store,
)
from vedette.central.alerting.facts import Health, Rule, Signal, Subject
from vedette.central.alerting.lasting import Row, Seen, key_of
from vedette.central.alerting.matching import Happened, Matcher
from vedette.central.alerting.places import Places
from vedette.central.alerting.replay import Fired, Replay, Spell
from vedette.central.alerting.reports import Told
from vedette.central.query import runs, strips
from vedette.central.rollups import DAY_MS
from vedette.central.store.db import Database, Tx
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError
from vedette.wire.streams import DARK_AFTER_S, stream

MAX_DAYS: Final = 92
MAX_EVENTS: Final = 200_000
MAX_REPORTS: Final = 40_000
MAX_COVERED: Final = 300
"""Devices of which the coverage is added up; of more, so many by lot."""

PAGE: Final = 2_000
_THIN: Final = 10
_REPORT_DAYS: Final = stream("health.v1").retention_days
_EVENT_DAYS: Final = stream("event.v1").retention_days
_DARK_MS: Final = int(DARK_AFTER_S * 1000)


class Hindsight(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule would have said of a window.

    Attributes:
        since_ms: From when on anything that it speaks of is known: `from_ms`, when the first device
            joined, or since when such is kept.
        until_ms: Until when it was looked at; None: until `to_ms`.
        told: Share of the window and the places that history can tell of, 0 to 1; None: of nothing.
        cannot: What it cannot tell, in words.
        observed: For events: part of camera time that was seen at all; None: not known.
    """

    rule: str
    from_ms: int
    to_ms: int
    since_ms: int
    fired: Fired
    told: float | None = 1.0
    until_ms: int | None = None
    cannot: list[str] = []
    observed: float | None = None


class Found(msgspec.Struct, kw_only=True):
    """What was found of the past."""

    signals: list[Signal] = []
    outside_hours: int = 0
    told: float | None = 1.0
    since_ms: int = 0
    until_ms: int | None = None
    cannot: list[str] = msgspec.field(default_factory=list)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, a window, and the world as far as the rule asks."""

    rule: Rule
    from_ms: int
    to_ms: int
    now_ms: int
    sites: list[str]
    at: Places
    devices: dict[str, str]
    is_scoped: bool

    def opens_ms(self, subject: str, at_ms: int) -> int | None:
        return lasting.opens_ms(self.rule, subject, self.at, at_ms)


async def try_out(
    db: Database,
    rule: Rule,
    *,
    from_ms: int,
    to_ms: int,
    now_ms: int,
    scope: Sequence[str] | None,
) -> Hindsight:
    """Return how often a rule would have fired in a window, whether or not it is switched on.

    Raises:
        ConfigError: A window that cannot be.
    """
    if not from_ms < to_ms:
        raise ConfigError("the window ends before it begins")
    if to_ms - from_ms > MAX_DAYS * DAY_MS:
        raise ConfigError(f"a window has at most {MAX_DAYS} days", operator_hint="ask for less")
    async with db.transaction() as tx:
        listed = None if scope is None else list(scope)
        at = await places.read(tx, listed, rule.where.groups)
        silences = await store.silences(tx, from_ms)
        joined = await tx.tuples("alert_history_devices", scope=listed)
        devices = {str(device): str(site) for device, site, _ in joined}
        dark = await _dark(tx, devices, from_ms, to_ms)
    asked = _Asked(
        rule=rule,
        from_ms=from_ms,
        to_ms=min(to_ms, now_ms),
        now_ms=now_ms,
        sites=sorted(at.sites),
        at=at,
        devices=devices,
        is_scoped=scope is not None,
    )

    def why_quiet(subject: Subject, at_ms: int) -> str:
        if rule.health and rule.inhibit and _is_dark(rule.health.is_, subject, dark, at_ms):
            return "dark"
        over = quiet.over(silences, rule.rule, subject, at, at_ms)
        return over.silence if over else ""

    found = await (_of_events(db, asked) if rule.event else _of_health(db, asked, dark))
    observed = await _observed(db, asked) if rule.event else None
    since_ms, known = _known(asked, {str(device): int(at_ms) for device, _, at_ms in joined})
    cannot = [*found.cannot, *_without_hours(rule, at)]
    if not known:
        cannot.append("no device is known that it speaks of, in that time")
    elif since_ms > from_ms:
        cannot.append(f"the first device joined at {from_wall_ms(since_ms):%Y-%m-%d %H:%M} UTC")
    if rule.event and observed is not None and observed < 0.995:
        cannot.append(f"{(1 - observed) * 100:.1f} % of camera time was not observed")
    return Hindsight(
        rule=rule.rule,
        from_ms=from_ms,
        to_ms=to_ms,
        since_ms=max(since_ms, found.since_ms),
        fired=replay.tally(
            rule, found.signals, why_quiet, outside_hours=found.outside_hours, from_ms=from_ms
        ),
        told=None if found.told is None or not known else min(found.told, known),
        until_ms=found.until_ms,
        cannot=cannot,
        observed=observed,
    )


def _known(asked: _Asked, joined: Mapping[str, int]) -> tuple[int, float]:
    """Return since when devices that the rule means are known, and of how much of the window."""
    meant = [
        max(asked.from_ms, at_ms)
        for device, at_ms in joined.items()
        if _may_mean(asked, Subject(site=asked.devices[device], device=device))
    ]
    window_ms = asked.to_ms - asked.from_ms
    if not meant or window_ms <= 0:
        return asked.to_ms, 0.0
    share = sum(max(0, asked.to_ms - at_ms) for at_ms in meant) / (window_ms * len(meant))
    return min(*meant, asked.to_ms), share


def _without_hours(rule: Rule, at: Places) -> list[str]:
    without = sum(site.opening is None for site in at.sites.values())
    if rule.hours == "always" or not without:
        return []
    who = "1 site has" if without == 1 else f"{without} sites have"
    return [f"{who} no opening hours: it never fires there"]


# --------------------------------------------------------------------------------------- events


async def _of_events(db: Database, asked: _Asked) -> Found:
    rule, match = asked.rule, asked.rule.event
    found = Found()
    if match is None:
        return found
    matcher = Matcher([rule], asked.at)
    whenever = Matcher([msgspec.structs.replace(rule, hours="always")], asked.at)
    since_ms = max(asked.from_ms, asked.now_ms - _EVENT_DAYS * DAY_MS)
    _told_since(found, asked, since_ms, f"events are kept for {_EVENT_DAYS} days")
    after: tuple[int, str, str] = (since_ms - 1, "", "")
    looked = 0
    while looked < MAX_EVENTS:
        async with db.transaction() as tx:
            came = await tx.all(
                "alert_history_events",
                Happened,
                kinds=[str(kind) for kind in match.kinds],
                sites=asked.sites,
                after_ms=after[0],
                after_device=after[1],
                after_event=after[2],
                to_ms=asked.to_ms,
                limit=PAGE,
            )
        for one in came:
            found.signals += matcher.take(one)
            if rule.hours != "always" and whenever.meant(one) and not matcher.meant(one):
                found.outside_hours += 1
        looked += len(came)
        if len(came) < PAGE:
            return found
        after = (came[-1].at_ms, came[-1].device, came[-1].event)
    share = (after[0] - since_ms) / (asked.to_ms - asked.from_ms)
    found.told, found.until_ms = max(0.0, share), after[0]
    found.cannot.append(f"only the first {MAX_EVENTS} events were looked at: ask for less time")
    return found


def _told_since(found: Found, asked: _Asked, since_ms: int, why: str) -> None:
    """Note that the past is kept from a moment on only."""
    if since_ms > asked.from_ms:
        found.since_ms = min(since_ms, asked.to_ms)
        found.told = max(0.0, (asked.to_ms - since_ms) / (asked.to_ms - asked.from_ms))
        found.cannot.append(f"{why}: nothing is told of the time before")


async def _observed(db: Database, asked: _Asked) -> float | None:
    """Return which part of the time of the cameras that the rule means was seen."""
    async with db.transaction() as tx:
        cameras = [
            (Subject(site=site, device=device, camera=camera), known_ms, drained_ms)
            for site, device, camera, known_ms, drained_ms, _ in await tx.tuples(
                "slo_cameras", sites=asked.sites
            )
        ]
        meant = [one for one in cameras if places.holds(asked.rule.where, one[0], asked.at)]
        listed = sorted({subject.device for subject, _, _ in meant})
        step = max(1, ceil(len(listed) / MAX_COVERED))
        chosen = set(listed[::step])
        if not chosen:
            return None
        window = {"from_ms": asked.from_ms, "to_ms": asked.to_ms}
        book = await strips.read(tx, sorted(chosen), **window, now_ms=asked.now_ms)
    seen = whole = 0
    for subject, known_ms, drained_ms in meant:
        if subject.device in chosen:
            segments = book.segments(subject.device, subject.camera, known_ms, drained_ms)
            for one in runs.clip(segments, asked.from_ms, asked.to_ms):
                whole += one.end_ms - one.start_ms
                seen += one.end_ms - one.start_ms if one.cause is None else 0
    return seen / whole if whole else None


# ------------------------------------------------------------------------- trouble that was written

Spells = dict[Subject, list[Spell]]


class Dark(msgspec.Struct, frozen=True, kw_only=True):
    """When sites and devices were dark."""

    sites: Spells
    devices: Spells


async def _dark(tx: Tx, devices: Mapping[str, str], from_ms: int, to_ms: int) -> Dark:
    window = {"from_ms": from_ms - DAY_MS, "to_ms": to_ms}
    of_sites: Spells = defaultdict(list)
    for site, at_ms, state in await tx.tuples("alert_history_sites", **window):
        _turn(of_sites[Subject(site=site)], at_ms, state == "dark", "")
    of_devices: Spells = defaultdict(list)
    for device, at_ms, state in await tx.tuples("alert_history_dark", **window):
        if device in devices:
            subject = Subject(site=devices[device], device=device)
            _turn(of_devices[subject], at_ms, state == "dark", "nothing was heard of it")
    return Dark(sites=of_sites, devices=of_devices)


def _turn(found: list[Spell], at_ms: int, is_bad: bool, text: str) -> None:
    """Begin a spell, or end the one that is open."""
    is_open = bool(found) and found[-1][1] is None
    if is_bad and not is_open:
        found.append((at_ms, None, text))
    elif not is_bad and is_open:
        found[-1] = (found[-1][0], at_ms, found[-1][2])


def _is_dark(health: Health, subject: Subject, dark: Dark, at_ms: int) -> bool:
    """True where a dark site, or for anything of a device that device, stood above it then."""
    above = [] if health is Health.SITE_DARK else dark.sites.get(Subject(site=subject.site), [])
    if health not in {Health.SITE_DARK, Health.DEVICE_DARK} and subject.device:
        of = Subject(site=subject.site, device=subject.device)
        above = [*above, *dark.devices.get(of, [])]
    return any(begin <= at_ms and (end is None or at_ms < end) for begin, end, _ in above)


async def _of_health(db: Database, asked: _Asked, dark: Dark) -> Found:
    health = asked.rule.health.is_ if asked.rule.health else Health.QUARANTINED
    if health in judging.ASKED:
        return await _of_reports(db, asked)
    if health in _DAILY:
        return await _of_days(db, asked, health)
    found = Found()
    if health is Health.DEVICE_DARK:
        _replayed(found, asked, dark.devices)
    elif health is Health.SITE_DARK:
        _replayed(found, asked, dark.sites)
    elif health in _CAMERA_STATES:
        _replayed(found, asked, await _cameras(db, asked, health))
    elif health is Health.ROLLOUT and asked.is_scoped:
        found.told = None
        found.cannot.append("rollouts are of the whole fleet, and you see a part of it")
    elif health in {Health.ROLLOUT, Health.UPDATE_FAILED}:
        _replayed(found, asked, await _rollouts(db, asked, health))
    else:
        found.told = None
        found.cannot.append(f"when something was {health} is not kept: it cannot be told")
    return found


def _replayed(found: Found, asked: _Asked, listed: Spells) -> None:
    course = Replay(asked.rule, asked.opens_ms)
    for subject, spells in listed.items():
        is_theirs = subject.site in asked.at.sites or not subject.site
        if is_theirs and places.holds(asked.rule.where, subject, asked.at):
            replay.spells(course, asked.rule.rule, key_of(subject), spells, asked.to_ms)
    found.signals = course.signals


_CAMERA_STATES: Final = {
    Health.CAMERA_DOWN: "down",
    Health.TAMPERED: "tampered",
    Health.DEGRADED: "degraded",
}


async def _cameras(db: Database, asked: _Asked, health: Health) -> Spells:
    wanted, listed = _CAMERA_STATES[health], defaultdict[Subject, list[Spell]](list)
    async with db.transaction() as tx:
        rows = await tx.tuples(
            "alert_history_cameras", from_ms=asked.from_ms - DAY_MS, to_ms=asked.to_ms
        )
    for device, camera, at_ms, state, signs, detail in rows:
        site = asked.devices.get(device)
        if site is None:
            continue
        spells = listed[Subject(site=site, device=device, camera=camera)]
        if state == wanted:
            _turn(spells, at_ms, True, ": ".join(filter(None, (", ".join(signs), detail))))
        elif state in lasting.WELL_BY[health]:
            _turn(spells, at_ms, False, "")
    return listed


_BAD_ROLLOUT: Final = frozenset({"rolling_back", "rolled_back", "inconclusive", "stopped"})


async def _rollouts(db: Database, asked: _Asked, health: Health) -> Spells:
    listed: Spells = defaultdict(list)
    async with db.transaction() as tx:
        rows = await tx.tuples("alert_history_rollouts", from_ms=asked.from_ms, to_ms=asked.to_ms)
    for rollout, slot, device, at_ms, state, reason in rows:
        if health is Health.ROLLOUT and not device:
            _turn(listed[Subject(what=rollout)], at_ms, state in _BAD_ROLLOUT, f"{state}: {reason}")
        elif health is Health.UPDATE_FAILED and device in asked.devices:
            subject = Subject(site=asked.devices[device], device=device, what=slot)
            _turn(listed[subject], at_ms, state == "reverted", reason)
    return listed


# ---------------------------------------------------------------------- trouble that is computed

_DAILY: Final[dict[Health, Callable[..., object]]] = {
    Health.COVERAGE: slow.coverage,
    Health.ACCURACY: slow.accuracy,
    Health.DRIFT: slow.drift,
}


async def _of_days(db: Database, asked: _Asked, health: Health) -> Found:
    """Compute it as it was at the end of each day, by what is known today."""
    found, course = Found(), Replay(asked.rule, asked.opens_ms)
    listed = sorted(asked.devices)
    if health is Health.DRIFT and len(listed) > MAX_COVERED:
        step = ceil(len(listed) / MAX_COVERED)
        found.cannot.append(f"{len(listed[::step])} of {len(listed)} devices were compared")
        listed = listed[::step]
        found.told = 1 / step
    found.cannot.append("computed at the end of each day (UTC) by what is known today")
    day_ms = asked.from_ms // DAY_MS * DAY_MS + DAY_MS
    while day_ms <= asked.to_ms:
        async with db.transaction() as tx:
            if health is Health.DRIFT:
                told = await slow.drift(tx, [asked.rule], listed, day_ms - DAY_MS, day_ms)
            elif health is Health.COVERAGE:
                told = await slow.coverage(tx, [asked.rule], day_ms - 1)
            else:
                told = await slow.accuracy(tx, [asked.rule], day_ms)
        for one in told.get(asked.rule.rule, ()):
            if one.subject.site in asked.at.sites and places.holds(
                asked.rule.where, one.subject, asked.at
            ):
                course.see(
                    Seen(
                        rule=asked.rule.rule,
                        subject=key_of(one.subject),
                        state="bad" if one.is_bad else "well",
                        at_ms=day_ms,
                        value=one.value,
                        text=one.text,
                    ),
                    day_ms,
                )
        day_ms += DAY_MS
    for subject in list(course.rows):
        course.pass_to(subject, asked.to_ms)
    found.signals = course.signals
    return found


# ------------------------------------------------------------------------- trouble of the reports


async def _of_reports(db: Database, asked: _Asked) -> Found:
    """Judge the reports that are kept: of many devices, fewer of each, and of some devices."""
    found, course = Found(), Replay(asked.rule, asked.opens_ms)
    since_ms = max(asked.from_ms, asked.now_ms - _REPORT_DAYS * DAY_MS)
    _told_since(found, asked, since_ms, f"health reports are kept for {_REPORT_DAYS} days")
    meant = [
        device
        for device, site in sorted(asked.devices.items())
        if _may_mean(asked, Subject(site=site, device=device))
    ]
    days = max(0.0, (asked.to_ms - since_ms) / DAY_MS)
    wanted = len(meant) * days * DAY_MS / 30_000
    thin = max(1, min(_THIN, ceil(wanted / MAX_REPORTS)))
    step = max(1, ceil(wanted / thin / MAX_REPORTS))
    chosen = meant[::step]
    if thin > 1:
        found.cannot.append(f"one report in {thin} was looked at: what is shorter may be missed")
    if step > 1:
        found.told = (found.told or 0.0) * len(chosen) / len(meant)
        found.cannot.append(f"{len(chosen)} of {len(meant)} devices were looked at, by name")
    for device in chosen if days else ():
        async with db.transaction() as tx:
            rows = await tx.packed(
                "alert_history_reports",
                device=device,
                from_ms=since_ms,
                to_ms=asked.to_ms,
                thin=thin,
                from_day=since_ms // DAY_MS,
                to_day=asked.to_ms // DAY_MS,
            )
        _judge_all(course, asked, device, rows, thin * 30_000 + _DARK_MS)
    found.signals = course.signals
    return found


def _may_mean(asked: _Asked, subject: Subject) -> bool:
    """True where the rule may hold on a device, whatever it says of its cameras."""
    where = msgspec.structs.replace(asked.rule.where, cameras=[])
    return places.holds(where, subject, asked.at)


def _judge_all(
    course: Replay,
    asked: _Asked,
    device: str,
    rows: Iterable[tuple[int, str, bytes]],
    silent_ms: int,
) -> None:
    match = asked.rule.health
    if match is None:
        return
    crashed: list[int] = []
    crashes: int | None = None
    heard_ms = 0
    for made_ms, clock, body in rows:
        report = judging.decode(body)
        if report is None:
            continue
        before = _rows_of(course, device)
        for row in before:
            silent = made_ms - heard_ms > silent_ms
            course.pass_to(row.subject, made_ms, heard_ms=heard_ms if silent else None)
        if report.pipeline is not None:
            crashed = [at for at in crashed if at > made_ms - judging.CRASHED_MS]
            crashed += reports.grown(crashes, report.pipeline.crashes, made_ms)
            crashes = report.pipeline.crashes
        judged = judging.judge(match.is_, match.above, report, clock=clock, crashes=crashed)
        told = Told(
            device=device,
            site=asked.devices[device],
            clock=clock,
            health=b"",
            made_ms=made_ms,
            contact_ms=made_ms,
        )
        if judged.tells:
            rows_now = _rows_of(course, device)
            for seen in reports.said(asked.rule, told, judged, rows_now, asked.at, made_ms):
                course.see(seen, made_ms)
        heard_ms = made_ms
    for row in _rows_of(course, device):
        course.pass_to(row.subject, min(asked.to_ms, heard_ms + silent_ms))


def _rows_of(course: Replay, device: str) -> list[Row]:
    return [row for row in course.rows.values() if row.subject.split("|", 2)[1] == device]
