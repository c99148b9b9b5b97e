"""From an event that a device sent to an incident, its timeline and what is to be delivered."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from vedette.central import jobs as housework
from vedette.central import liveness, meters
from vedette.central.alerting import acting, documents, jobs, planner, store
from vedette.central.alerting.channels.facts import PAGES
from vedette.central.alerting.facts import (
    EventMatch,
    Health,
    HealthMatch,
    Ladder,
    LadderStep,
    Rule,
    Signal,
    Subject,
    Turn,
)
from vedette.central.alerting.jobs import Engine
from vedette.central.alerting.joining import World
from vedette.central.settings import Retention
from vedette.errors import ConflictError
from vedette.wire.messages import EventKind, EventReport

pytestmark = pytest.mark.anyio

INTRUSION = Rule(
    rule="intrusion",
    title="Somebody at {camera} of {site}",
    event=EventMatch(kinds=[EventKind.ZONE_ENTERED]),
    ladder="guards",
)
GUARDS = Ladder(ladder="guards", steps=[LadderStep(tell=["channel:guards"])])


async def write_book(fleet, *bodies: Rule | Ladder) -> None:
    """Write rules and ladders; the channels that they name lead nowhere."""
    async with fleet.db.transaction() as tx:
        for body in bodies:
            kind = "rule" if isinstance(body, Rule) else "ladder"
            name = body.rule if isinstance(body, Rule) else body.ladder
            await documents.put(tx, kind, name, body, "test", fleet.now_ms)
        for channel in ("guards", "boss"):
            await tx.connection.execute(
                b"INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
                b" VALUES (%s, 'webhook', %s, '', 0)",
                (channel, b'{"type":"webhook","url":"https://192.0.2.1/"}'),
            )


def event(device, number: int = 1, **changes: object):
    """Return somebody in the zone, now."""
    report = EventReport(
        event=f"ev-{number}", camera="door", kind=EventKind.ZONE_ENTERED, at_ms=device.now_ms,
        where="entrance", label="person", **changes,
    )  # fmt: skip
    return device.envelope("event.v1", report)


async def turned(fleet) -> None:
    """Have the engine done with what is there; central's own loop turns beside it."""
    await Engine(fleet.db, fleet.services.bulletin).turn(fleet.now_ms)


async def deliveries(fleet) -> list[str]:
    """Return what was to be told, in order."""
    return [kind for (kind,) in await fleet.rows("SELECT kind FROM deliveries ORDER BY made_ms")]


async def pages(fleet) -> list[str]:
    """Return what asked somebody to do something."""
    return [kind for kind in await deliveries(fleet) if kind in PAGES]


async def states(fleet) -> Sequence[tuple]:
    """Return how every incident is."""
    return await fleet.rows("SELECT state, title, late_only FROM incidents ORDER BY known_ms")


async def test_an_event_becomes_an_incident_and_a_delivery(fleet):
    """One turn takes it from the inbox to the deliveries, and a second one adds nothing."""
    await write_book(fleet, INTRUSION, GUARDS)
    device = await fleet.device(name="edge-1")
    await device.up(event(device))
    await device.up(event(device, 2))
    engine = Engine(fleet.db, fleet.services.bulletin)
    await engine.turn(fleet.now_ms)
    await engine.turn(fleet.now_ms)
    assert await states(fleet) == [("open", "Somebody at door of shop", False)]
    assert await fleet.rows("SELECT kind, channel FROM deliveries") == [("opened", "guards")]
    assert await fleet.rows("SELECT count(*) FROM incident_events") == [(2,)]
    assert await fleet.rows("SELECT count(*) FROM alert_inbox") == [(0,)]


async def test_two_workers_at_once_double_nothing(fleet):
    """Whoever decides holds the lock; every event is in one incident and every key is sent once."""
    await write_book(fleet, INTRUSION, GUARDS)
    devices = [await fleet.device(name=f"edge-{n}") for n in range(3)]
    engines = [Engine(fleet.db, fleet.services.bulletin) for _ in range(4)]
    for number in range(5):
        for device in devices:
            await device.up(event(device, number))
        await asyncio.gather(*(engine.turn(fleet.now_ms) for engine in engines))
    assert len(await states(fleet)) == 3
    assert await fleet.rows("SELECT count(*), count(DISTINCT key) FROM deliveries") == [(3, 3)]
    assert await fleet.rows("SELECT count(*) FROM incident_events") == [(15,)]


async def test_an_acknowledgement_stops_the_ladder_and_its_end_begins_it_anew(fleet):
    """Done twice it is done once; over an old version it is refused; each step has its line."""
    await write_book(fleet, INTRUSION, GUARDS)
    device = await fleet.device(name="edge-1")
    await device.up(event(device))
    await turned(fleet)
    [(name,)] = await fleet.rows("SELECT incident FROM incidents")
    by = {"by": "ann", "now_ms": fleet.now_ms}
    async with fleet.db.transaction() as tx:
        first = await acting.acknowledge(tx, name, note="on my way", **by)
    async with fleet.db.transaction() as tx:
        again = await acting.acknowledge(tx, name, note="on my way", **by)
    assert again.version >= first.version
    assert again.ack_by == "ann"
    fleet.clock.advance(200)
    await turned(fleet)
    assert await pages(fleet) == ["opened"]  # nobody is told any further
    async with fleet.db.transaction() as tx:
        await acting.unacknowledge(tx, name, by="ann", now_ms=fleet.now_ms)
    await turned(fleet)
    assert len(await pages(fleet)) == 2
    async with fleet.db.transaction() as tx:
        await acting.resolve(tx, name, by="ann", reason="it was the cat", now_ms=fleet.now_ms)
    async with fleet.db.transaction() as tx:
        with pytest.raises(ConflictError):
            await acting.acknowledge(tx, name, **by)
    async with fleet.db.transaction() as tx:
        await acting.reopen(tx, name, by="bob", now_ms=fleet.now_ms)
    await turned(fleet)
    kinds = await fleet.rows(
        "SELECT kind FROM incident_history WHERE actor IN ('ann', 'bob') ORDER BY number"
    )
    assert [kind for (kind,) in kinds] == ["acknowledged", "unacknowledged", "resolved", "reopened"]
    audited = await fleet.rows(
        "SELECT action FROM audit_log WHERE action LIKE 'incident.%%' ORDER BY number"
    )
    assert [action for (action,) in audited] == [
        "incident.acknowledge", "incident.unacknowledge", "incident.resolve", "incident.reopen"
    ]  # fmt: skip
    assert (await states(fleet))[0][0] == "open"


async def test_a_mistyped_clock_takes_no_step_of_a_ladder(fleet):
    """Forwards by a day no step is due at once, and back again none is waited for so long."""
    ladder = Ladder(
        ladder="guards",
        steps=[LadderStep(tell=["channel:guards"]), LadderStep(after_s=300, tell=["channel:boss"])],
    )
    await write_book(fleet, INTRUSION, ladder)
    device = await fleet.device(name="edge-1")
    await device.up(event(device))
    await turned(fleet)
    fleet.clock.step_wall(fleet.clock.now_at() + timedelta(days=1))
    await turned(fleet)
    assert await deliveries(fleet) == ["opened"]
    fleet.clock.advance(301)
    await turned(fleet)
    assert await fleet.rows("SELECT channel FROM deliveries ORDER BY made_ms, channel") == [
        ("guards",), ("boss",)
    ]  # fmt: skip


async def test_time_that_was_set_back_leaves_nothing_waiting(fleet):
    """The row that says when the engine turned last shows it; every incident is looked at."""
    await write_book(fleet, INTRUSION, GUARDS)
    device = await fleet.device(name="edge-1")
    await device.up(event(device))
    ahead_ms = fleet.now_ms + 5 * 86_400_000
    engine = Engine(fleet.db, fleet.services.bulletin)
    await engine.turn(ahead_ms)
    await engine.turn(ahead_ms - 2 * 86_400_000)
    [(due_ms,)] = await fleet.rows("SELECT due_ms FROM incidents WHERE state = 'open'") or [(0,)]
    assert due_ms <= ahead_ms - 2 * 86_400_000 + 900_000


async def test_a_removed_device_ends_what_was_wrong_with_it(fleet):
    """Nobody would ever say that it is well."""
    rule = Rule(rule="dark", health=HealthMatch(is_=Health.DISK))
    await write_book(fleet, rule)
    device = await fleet.device(name="edge-1")
    about = Subject(site="shop", device=device.device)
    signal = Signal(
        rule="dark", turn=Turn.RAISED, subject=about, at_ms=fleet.now_ms, known_ms=fleet.now_ms
    )
    async with fleet.db.transaction() as tx:
        await store.hold(tx)
        book = await documents.current(tx)
        decision = planner.plan([signal], [], book, [], World(), fleet.now_ms)
        await store.carry_out(tx, decision, book.rules, fleet.now_ms)
        await tx.connection.execute(b"UPDATE devices SET revoked_ms = 1")
    await turned(fleet)
    assert [state for state, *_ in await states(fleet)] == ["resolved"]
    assert await fleet.rows("SELECT count(*) FROM incident_members") == [(0,)]


async def test_central_itself_turns_when_an_event_is_committed(fleet):
    """Nobody calls the engine here: the commit wakes it."""
    await write_book(fleet, INTRUSION, GUARDS)
    device = await fleet.device(name="edge-1")
    async with fleet.services.bulletin.subscribe(jobs.CHANGED) as news:
        await device.up(event(device))
        while not await deliveries(fleet):
            assert await news.wait(30)
    assert await deliveries(fleet) == ["opened"]


async def test_what_cannot_be_decided_about_holds_up_nothing_else(fleet, monkeypatch):
    """One event that deciding stumbles over is left out, and an unreadable incident postponed."""
    await write_book(fleet, INTRUSION, GUARDS)
    device = await fleet.device(name="edge-1")
    plan = planner.plan

    def stumbling(signals, *rest):
        if any(signal.event == "ev-2" for signal in signals):
            raise ValueError("a case that nobody thought of")
        return plan(signals, *rest)

    monkeypatch.setattr(planner, "plan", stumbling)
    await fleet.rows(
        "INSERT INTO incidents (incident, key, rule, severity, state, title, opened_ms, changed_ms,"
        " known_ms, due_ms, version, body) VALUES ('in-x', 'x', 'x', 'info', 'open', '', 0, 0, 0,"
        ' 1, 1, \'{"of": "tomorrow"}\') RETURNING 1'
    )
    for number in (1, 2, 3):
        await device.up(event(device, number))
    engine = Engine(fleet.db, fleet.services.bulletin)
    while (await fleet.rows("SELECT count(*) FROM alert_inbox")) != [(0,)]:
        await engine.turn_around_faults(fleet.now_ms)
    assert await fleet.rows("SELECT event FROM incident_events ORDER BY event") == [
        ("ev-1",), ("ev-3",)
    ]  # fmt: skip
    [(due_ms,)] = await fleet.rows("SELECT due_ms FROM incidents WHERE incident = 'in-x'")
    assert due_ms > fleet.now_ms


async def test_incidents_are_counted_for_prometheus_and_forgotten_after_a_time(fleet):
    """What is open stays however old it is; what was over long ago goes with its timeline."""
    await write_book(fleet, INTRUSION, GUARDS)
    device = await fleet.device(name="edge-1")
    await device.up(event(device))
    await turned(fleet)
    async with fleet.db.transaction() as tx:
        said, _ = fleet.services.meters.text(await meters.snapshot(tx, fleet.now_ms))
    assert b'vedette_incidents{severity="warning"} 1.0' in said
    assert b"vedette_central_alert_turn_seconds_count" in said
    long_after_ms = fleet.now_ms + 10 * 86_400_000
    await housework.expire(fleet.db, Retention(incidents_days=7), long_after_ms)
    assert len(await states(fleet)) == 1
    [(name,)] = await fleet.rows("SELECT incident FROM incidents")
    async with fleet.db.transaction() as tx:
        await acting.resolve(tx, name, by="ann", reason="", now_ms=fleet.now_ms)
        await tx.connection.execute(b"UPDATE deliveries SET due_ms = NULL")
    await housework.expire(fleet.db, Retention(incidents_days=7), long_after_ms)
    assert await states(fleet) == []
    assert await fleet.rows("SELECT count(*) FROM incident_history") == [(0,)]


async def test_a_site_that_loses_its_line_is_one_page_through_the_whole_of_central(fleet):
    """Liveness, conditions, incidents, deliveries: three devices fall silent, one notice is made.

    The end is told once too, when the site is back, and nothing of its devices.
    """
    dark = [
        Rule(
            rule="site-dark", health=HealthMatch(is_=Health.SITE_DARK, clear_s=0), ladder="guards"
        ),
        Rule(
            rule="device-dark",
            health=HealthMatch(is_=Health.DEVICE_DARK, clear_s=0),
            ladder="guards",
        ),
    ]
    await write_book(fleet, GUARDS, *dark)
    devices = [await fleet.device(name=f"edge-{n}") for n in range(3)]
    for device in devices:
        await device.up()
        fleet.clock.advance(5)
    engine = Engine(fleet.db, fleet.services.bulletin)

    async def passes(seconds: int) -> None:
        for _ in range(seconds // 5):
            fleet.clock.advance(5)
            await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms)
            await engine.turn(fleet.now_ms, look=True)

    await passes(240)
    told = "SELECT rule, kind FROM deliveries JOIN incidents USING (incident)"
    assert await fleet.rows(told) == [("site-dark", "opened")]
    inhibited = await fleet.rows("SELECT inhibited <> '' FROM incidents WHERE rule = 'device-dark'")
    assert inhibited == [(True,)] * 3
    for device in devices:
        assert (await device.sign_in()).status_code == 200
        await device.up()
    await passes(20)
    assert await fleet.rows("SELECT DISTINCT state FROM incidents") == [("resolved",)]
    assert sorted(await deliveries(fleet)) == ["opened", "resolved"]
