"""Rules against history: the same as what was said live, and where history cannot tell."""

import msgspec
import pytest

from tests.integration.test_alert_rules import Rulebook, T, book, of
from vedette.central.alerting import documents, history, matching
from vedette.central.alerting.facts import EventMatch, Health, Rule, Where
from vedette.central.hours import Hours
from vedette.wire.messages import EventKind, HealthReport, SystemHealth

pytestmark = pytest.mark.anyio

__all__ = ["book"]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


async def tried(book: Rulebook, rule: Rule, days: int = 7) -> history.Hindsight:
    """Try a rule out on the days before now."""
    return await history.try_out(
        book.db, rule, from_ms=T, to_ms=T + days * DAY_MS, now_ms=T + days * DAY_MS, scope=None
    )


async def test_events_fire_in_hindsight_as_they_did_live(book: Rulebook):
    """The same signals; those that belong to one incident count as one, late ones are apart."""
    await book.site("shop", "box")
    several = EventMatch(kinds=[EventKind.LINE_CROSSED], places=["do*"], at_least=2, within_s=60)
    rule = Rule(rule="rush", event=several, resolve_s=600)
    await book.put(rule)
    for at_s in (0, 30, 40, 5000, 9000, 9050, 9055):
        await book.event("box", T + at_s * 1000)
    await book.event("box", T + 9056 * 1000, where="window")
    for at_s in (20_000, 20_001):
        await book.event("box", T + at_s * 1000, late=True)
    async with book.db.transaction() as tx:
        live = await matching.take_inbox(tx, await documents.current(tx), T)
    found = (await tried(book, rule)).fired
    assert (found.fired, found.late) == (2, 1)
    assert found.signals == sum(not one.late for one in live) == 4
    assert [one.at_ms for one in found.examples] == [T + 30_000, T + 9_050_000]
    assert found.by_site == {"shop": 2}
    assert found.worst == [("shop/box/cam/door", 2)]


async def test_hours_are_those_of_the_site_and_what_they_leave_out_is_counted(book: Rulebook):
    """Open from 9 to 17 in Lisbon; a site without hours never fires, and that is said."""
    await book.site("shop", "box")
    await book.site("bare", "other")
    hours = Hours(weekly={"mo": [("09:00", "17:00")]})
    await book.sql(
        "UPDATE sites SET hours = %s, time_zone = 'Europe/Lisbon' WHERE site = 'shop'",
        msgspec.json.encode(hours),
    )
    for hour in (0, 2, 12):
        await book.event("box", T + hour * HOUR_MS)
    await book.event("other", T + HOUR_MS, site="bare")
    rule = Rule(rule="a", event=EventMatch(kinds=[EventKind.LINE_CROSSED]), hours="closed")
    found = await tried(book, rule)
    assert (found.fired.fired, found.fired.outside_hours) == (2, 2)
    assert found.cannot == ["1 site has no opening hours: it never fires there"]


async def test_a_dark_device_of_a_dark_site_is_counted_and_said_to_be_kept_quiet(book: Rulebook):
    """Spells that are too short do not count."""
    await book.site("shop", "box", "till")
    for device, begin_h, end_h in (("box", 1, 2), ("till", 1, 2), ("box", 5, 5.01), ("box", 9, 10)):
        for hour, state in ((begin_h, "dark"), (end_h, "ok")):
            at_ms = T + round(hour * HOUR_MS)
            await book.sql(
                "INSERT INTO device_transitions (device, at_ms, noticed_ms, state)"
                " VALUES (%s, %s, %s, %s)",
                device,
                at_ms,
                at_ms,
                state,
            )
    for hour, state in ((1, "dark"), (2, "ok")):
        await book.sql(
            "INSERT INTO site_transitions (site, at_ms, noticed_ms, state, devices)"
            " VALUES ('shop', %s, %s, %s, '{}')",
            T + hour * HOUR_MS,
            T + hour * HOUR_MS,
            state,
        )
    found = (await tried(book, of(Health.DEVICE_DARK, for_s=300.0))).fired
    assert (found.fired, found.inhibited) == (3, 2)
    assert (await tried(book, of(Health.SITE_DARK))).fired.fired == 1
    elsewhere = of(Health.DEVICE_DARK, where=Where(sites=["depot"]))
    assert (await tried(book, elsewhere)).fired.fired == 0


async def test_reports_are_judged_as_far_as_they_are_kept(book: Rulebook):
    """A disk that was full twice; of the weeks before a week history says that it cannot tell."""
    await book.site("shop", "box")
    for n in range(120):
        used = 0.97 if 20 <= n < 50 or 80 <= n < 88 else 0.5
        at_ms = T + n * 60_000
        report = HealthReport(
            at_ms=at_ms, period_s=60, version="1", system=SystemHealth(disk_used_fraction=used)
        )
        await book.sql(
            "INSERT INTO reports (keep_days, day, device, epoch, lane, seq, received_ms, made_ms,"
            " schema, outcome, boot_id, t_wall_ms, t_mono_ms, clock_state, body) VALUES (7,"
            " DATE '2026-03-02', 'box', 1, 'live', %s, %s, %s, 'health.v1', 'accepted', 'b', 0, 0,"
            " 'trusted', %s)",
            n,
            at_ms,
            at_ms,
            msgspec.msgpack.encode(report),
        )
    found = await tried(book, of(Health.DISK, for_s=600.0), days=1)
    assert (found.fired.fired, found.told, found.cannot) == (1, 1.0, [])
    assert found.fired.examples[0].at_ms == T + 30 * 60_000
    longer = await tried(book, of(Health.DISK, for_s=600.0), days=28)
    assert longer.told == pytest.approx(0.25)
    assert "kept for 7 days" in longer.cannot[0]


async def test_what_no_history_can_tell_is_said_and_never_zero(book: Rulebook):
    """When devices were in quarantine is not kept."""
    found = await tried(book, of(Health.QUARANTINED))
    assert found.told is None
    assert "cannot be told" in found.cannot[0]


async def test_cameras_and_rollouts_are_told_by_what_they_went_through(book: Rulebook):
    """A tampered camera that goes down stays tampered; a rollout that rolled back fired."""
    await book.site("shop", "box")
    await book.sql("INSERT INTO cameras (device, camera, known_from_ms) VALUES ('box', 'cam', 0)")
    states = ("ok", "tampered", "down", "tampered", "ok", "tampered")
    for n, state in enumerate(states):
        await book.sql(
            "INSERT INTO camera_states (device, camera, epoch, seq, at_ms, noticed_ms, state)"
            " VALUES ('box', 'cam', 1, %s, %s, %s, %s)",
            n,
            T + n * HOUR_MS,
            T + n * HOUR_MS,
            state,
        )
    await book.sql(
        "INSERT INTO rollouts (rollout, kind, slot, digest, plan, sites, state, since_ms,"
        " progress, made_by, made_ms) VALUES ('ro-1', 'app', 'app', 'd', '{}', '{*}',"
        " 'rolled_back', %s, '{}', 'anna', %s)",
        T,
        T,
    )
    for device, state in (("", "canary"), ("box", "reverted"), ("", "rolled_back")):
        await book.sql(
            "INSERT INTO rollout_history (rollout, device, at_ms, actor, state)"
            " VALUES ('ro-1', %s, %s, 'central', %s)",
            device,
            T + HOUR_MS,
            state,
        )
    fired = {
        health: (await tried(book, of(health))).fired.fired
        for health in (Health.TAMPERED, Health.CAMERA_DOWN, Health.ROLLOUT, Health.UPDATE_FAILED)
    }
    assert list(fired.values()) == [2, 1, 1, 1]


async def test_time_before_a_device_joined_is_not_counted_as_quiet(book: Rulebook):
    """A fleet of an hour says nothing of a week; one without such a device says nothing at all."""
    await book.site("shop", "box")
    joined_ms = T + 7 * DAY_MS - HOUR_MS
    await book.sql("UPDATE devices SET enrolled_ms = %s", joined_ms)
    rule = of(Health.DEVICE_DARK)
    found = await tried(book, rule)
    assert (found.fired.fired, found.since_ms) == (0, joined_ms)
    assert found.told == pytest.approx(1 / (7 * 24))
    assert "the first device joined at" in found.cannot[0]
    elsewhere = msgspec.structs.replace(rule, where=Where(sites=["nowhere"]))
    found = await tried(book, elsewhere)
    assert found.told is None
    assert found.cannot == ["no device is known that it speaks of, in that time"]
