"""Rules over the real database: documents by version, the inbox, counting."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from vedette.central import enrolment
from vedette.central.alerting import (
    applying,
    conditions,
    documents,
    lasting,
    matching,
    rules,
    slow,
    starter,
)
from vedette.central.alerting.facts import (
    EventMatch,
    Health,
    HealthMatch,
    Rule,
    Signal,
    Subject,
    Where,
)
from vedette.central.alerting.lasting import key_of
from vedette.central.store.db import Database
from vedette.errors import ConfigError
from vedette.stats.sketch import ExpHistogram
from vedette.wire.messages import (
    Bins,
    CameraHealth,
    EventKind,
    EventReport,
    HealthReport,
    PipelineHealth,
    State,
    SystemHealth,
)

pytestmark = pytest.mark.anyio

T = 1_772_438_400_000  # Monday 2026-03-02 08:00 UTC


class Rulebook:
    """A database without anybody who turns: what rules make of it is asked for by the test."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.events = 0

    async def site(self, site: str, *devices: str, folder: str = "") -> None:
        """Have a site with devices."""
        async with self.db.transaction() as tx:
            await enrolment.add_site(tx, site, actor="test", now_ms=T)
            await tx.connection.execute(
                "UPDATE sites SET folder = %s WHERE site = %s", (folder, site)
            )
            for device in devices:
                await tx.connection.execute(
                    "INSERT INTO devices (device, site, public_key, enrolled_ms, state, since_ms,"
                    " last_contact_ms) VALUES (%s, %s, %s, %s, 'ok', %s, %s)",
                    (device, site, f"key of {device}", T, T, T),
                )

    async def event(
        self, device: str, at_ms: int, site: str = "shop", *, late: bool = False, **more: object
    ) -> str:
        """Have an event come in, as ingest writes it."""
        self.events += 1
        given = {"kind": EventKind.LINE_CROSSED, "label": "person", "where": "door"} | more
        report = EventReport(event=f"ev-{self.events}", camera="cam", at_ms=at_ms, **given)
        async with self.db.transaction() as tx:
            await tx.run(
                "event_add",
                device=device,
                event=report.event,
                site=site,
                camera=report.camera,
                kind=str(report.kind),
                at_ms=at_ms,
                received_ms=at_ms + 900,
                late=late,
                dated=True,
                label=report.label,
                where_name=report.where,
                evidence="",
                body=msgspec.msgpack.encode(report),
            )
        return report.event

    async def put(self, *written: Rule) -> None:
        """Have these rules."""
        async with self.db.transaction() as tx:
            for rule in written:
                await documents.put(tx, "rule", rule.rule, rule, "anna", T)

    async def sql(self, statement: str, *params: object) -> None:
        """Have something else in the database."""
        async with self.db.transaction() as tx:
            await tx.connection.execute(statement.encode(), params or None)

    async def look(self, now_ms: int) -> list[tuple[str, str, str]]:
        """Have one turn look at health: what began and ended, as rule, turn and subject."""
        async with self.db.transaction() as tx:
            found = await conditions.look(tx, await documents.current(tx), now_ms)
        return sorted((one.rule, str(one.turn), key_of(one.subject)) for one in found)

    async def report(self, device: str, at_ms: int, **more: object) -> None:
        """Have a device's newest health report."""
        report = HealthReport(at_ms=at_ms, period_s=30, version="1", **more)
        await self.sql(
            "UPDATE devices SET health = %s, health_at_ms = %s, last_contact_ms = %s,"
            " clock_state = 'trusted' WHERE device = %s",
            msgspec.msgpack.encode(report),
            at_ms,
            at_ms,
            device,
        )

    async def turn(self, now_ms: int) -> list[tuple[str, str, str]]:
        """Have the jobs look, then a turn: what began and ended."""
        await conditions.observe(self.db, now_ms)
        return await self.look(now_ms)

    async def take(self, now_ms: int = T) -> list[Signal]:
        """Have one turn look at the inbox."""
        async with self.db.transaction() as tx:
            return await matching.take_inbox(tx, await documents.current(tx), now_ms)


@pytest.fixture
async def book(conninfo: str, anyio_backend: str) -> AsyncIterator[Rulebook]:
    """An empty rulebook over a fresh database."""
    db = Database(conninfo)
    await db.open()
    try:
        yield Rulebook(db)
    finally:
        await db.close()


async def test_an_event_makes_a_signal_once_where_a_rule_means_it(book: Rulebook):
    """What is out of the inbox does not come again; another place or label is not meant."""
    await book.site("shop", "box")
    await book.site("depot", "dock")
    crossing = EventMatch(kinds=[EventKind.LINE_CROSSED], places=["do*"], labels=["person"])
    await book.put(Rule(rule="door", event=crossing, where=Where(sites=["shop"])))
    first = await book.event("box", T)
    await book.event("box", T + 1, label="dog")
    await book.event("box", T + 2, where="window")
    await book.event("dock", T + 3, site="depot")
    (signal,) = await book.take(T + 2_000)
    assert (signal.rule, signal.event, signal.at_ms, signal.known_ms) == (
        "door",
        first,
        T,
        T + 2_000,
    )
    assert signal.subject == Subject(site="shop", device="box", camera="cam", place="door")
    assert await book.take() == []


async def test_several_within_a_time_are_counted_over_turns_and_late_ones_apart(book: Rulebook):
    """Three within ten seconds, whichever turn took them; what waited on the device is no part."""
    await book.site("shop", "box")
    several = EventMatch(kinds=[EventKind.LINE_CROSSED], at_least=3, within_s=10)
    await book.put(Rule(rule="rush", event=several))
    for at_s in (0, 4):
        await book.event("box", T + at_s * 1000)
    await book.event("box", T + 5_000, late=True)
    assert await book.take() == []
    third = await book.event("box", T + 9_000)
    assert [signal.event for signal in await book.take()] == [third]
    for at_s in (6, 7):
        await book.event("box", T + at_s * 1000, late=True)
    (late,) = await book.take()
    assert late.late
    await book.event("box", T + 30_000)
    assert await book.take() == []


async def test_what_was_written_is_kept_by_version_and_in_the_audit_log(book: Rulebook):
    """Changed, removed and written again: each is a version; the same once more is none."""
    rule = Rule(rule="dark", event=EventMatch(kinds=[EventKind.TAMPER]))
    await book.put(rule)
    await book.put(rule)
    off = msgspec.structs.replace(rule, enabled=False)
    async with book.db.transaction() as tx:
        assert await documents.put(tx, "rule", "dark", off, "bert", T + 1, "too loud") == 2
        assert (await documents.current(tx)).enabled() == []
        assert await documents.put(tx, "rule", "dark", None, "bert", T + 2) == 3
        now = await documents.current(tx)
        assert (now.rules, now.version) == ({}, 3)
        kept = await documents.versions(tx, "rule", "dark")
        audited = await tx.tuples("audit_page", below=2**62, limit=10)
    assert [(one.version, one.changed_by, one.note) for one in kept] == [
        (3, "bert", ""),
        (2, "bert", "too loud"),
        (1, "anna", ""),
    ]
    assert [row[3] for row in audited][:3] == [
        "alerts.rule.remove",
        "alerts.rule.put",
        "alerts.rule.put",
    ]


async def test_a_document_that_cannot_be_is_refused(book: Rulebook):
    """A rule without a subject, or under another name, is not kept."""
    async with book.db.transaction() as tx:
        with pytest.raises(ConfigError, match="events or of health"):
            await documents.put(tx, "rule", "x", Rule(rule="x"), "anna", T)
        found = rules.load(b"rules: [{rule: a, health: {is: device_dark}}]").rules[0]
        with pytest.raises(ConfigError, match="calls itself"):
            await documents.put(tx, "rule", "b", found, "anna", T)


def of(health: Health, **more: object) -> Rule:
    """Return a rule named after its trouble, without delays."""
    given = {"clear_s": 0.0} | {k: v for k, v in more.items() if k in {"for_s", "clear_s", "above"}}
    rest = {k: v for k, v in more.items() if k not in given}
    return Rule(rule=str(health), health=HealthMatch(is_=health, **given), **rest)


async def test_a_dark_device_and_site_are_trouble_once_and_over_when_they_are_back(book: Rulebook):
    """Turn after turn says nothing more; the rules are told when it is over."""
    await book.site("shop", "box")
    await book.put(of(Health.DEVICE_DARK), of(Health.SITE_DARK))
    assert await book.look(T) == []
    await book.sql("UPDATE devices SET state = 'dark', since_ms = %s", T + 1_000)
    await book.sql("UPDATE sites SET dark_since_ms = %s", T + 1_000)
    first = await book.look(T + 110_000)
    assert first == [
        ("device_dark", "raised", "shop|box|||"),
        ("site_dark", "raised", "shop||||"),
    ]
    for after_s in (1, 3, 400):
        assert await book.look(T + 110_000 + after_s * 1000) == []
    await book.sql("UPDATE devices SET state = 'ok', since_ms = %s", T + 600_000)
    await book.sql("UPDATE sites SET dark_since_ms = NULL")
    assert [turn for _, turn, _ in await book.look(T + 602_000)] == ["cleared", "cleared"]
    assert await book.look(T + 700_000) == []


async def test_what_is_well_but_not_yet_over_is_known_to_be_mending(book: Rulebook):
    """From when it is well until it is over, and not while it is bad again."""
    await book.site("shop", "box")
    await book.put(of(Health.DEVICE_DARK, clear_s=60.0))

    async def mending() -> list[tuple[str, str]]:
        async with book.db.transaction() as tx:
            found = await lasting.mending(tx)
        return [(rule, lasting.key_of(subject)) for rule, subject in found]

    seen = []
    for state, after_s in (("dark", 0), ("ok", 10), ("dark", 20), ("ok", 30), ("ok", 95)):
        at_ms = T + after_s * 1000
        await book.sql("UPDATE devices SET state = %s, since_ms = %s", state, at_ms)
        await book.look(at_ms)
        seen.append(await mending())
    well = [("device_dark", "shop|box|||")]
    assert seen == [[], well, [], well, []]


async def test_a_camera_of_a_dark_device_is_neither_well_nor_ill(book: Rulebook):
    """It was down and stays so until its device is heard; tampering is not judged while down."""
    await book.site("shop", "box")
    await book.put(of(Health.CAMERA_DOWN), of(Health.TAMPERED))
    await book.sql(
        "INSERT INTO cameras (device, camera, known_from_ms, state, since_ms, signs)"
        " VALUES ('box', 'cam', %s, 'tampered', %s, '{Covered}')",
        T,
        T,
    )
    assert await book.look(T) == [("tampered", "raised", "shop|box|cam||")]
    await book.sql("UPDATE cameras SET state = 'down', since_ms = %s", T + 10_000)
    assert await book.look(T + 12_000) == [("camera_down", "raised", "shop|box|cam||")]
    await book.sql("UPDATE devices SET state = 'dark', since_ms = %s", T + 20_000)
    await book.sql("UPDATE cameras SET state = 'ok', since_ms = %s", T + 21_000)
    assert await book.look(T + 30_000) == []
    await book.sql("UPDATE devices SET state = 'ok', since_ms = %s", T + 50_000)
    assert [turn for _, turn, _ in await book.look(T + 52_000)] == ["cleared", "cleared"]


async def test_a_rule_that_is_switched_off_or_asks_elsewhere_ends_what_it_began(book: Rulebook):
    """The incident does not stand for ever; switched on again it begins anew."""
    await book.site("shop", "box", folder="north")
    await book.sql("UPDATE devices SET state = 'dark', since_ms = %s", T)
    rule = of(Health.DEVICE_DARK)
    await book.put(rule)
    assert [turn for _, turn, _ in await book.look(T + 1_000)] == ["raised"]
    await book.put(msgspec.structs.replace(rule, where=Where(folders=["south"])))
    assert [turn for _, turn, _ in await book.look(T + 4_000)] == ["cleared"]
    await book.put(msgspec.structs.replace(rule, where=Where(folders=["north"])))
    assert [turn for _, turn, _ in await book.look(T + 7_000)] == ["raised"]
    await book.put(msgspec.structs.replace(rule, enabled=False))
    assert [turn for _, turn, _ in await book.look(T + 10_000)] == ["cleared"]
    await book.sql("UPDATE devices SET revoked_ms = %s", T)
    await book.put(rule)
    assert await book.look(T + 13_000) == []


async def test_quarantine_a_reverted_update_and_a_rollout_are_trouble(book: Rulebook):
    """Each with its own subject; a rollout that ended badly is news for a day."""
    await book.site("shop", "box")
    await book.put(of(Health.QUARANTINED), of(Health.UPDATE_FAILED), of(Health.ROLLOUT))
    await book.sql("UPDATE devices SET quarantined_ms = %s", T)
    await book.sql(
        "INSERT INTO device_slots (device, slot, kind, state, problem, epoch, seq, changed_ms)"
        " VALUES ('box', 'app', 'app', 'reverted', 'golden frames differ', 1, 1, %s)",
        T,
    )
    await book.sql(
        "INSERT INTO rollouts (rollout, kind, slot, digest, plan, sites, state, since_ms,"
        " progress, made_by, made_ms) VALUES ('ro-1', 'app', 'app', 'd', '{}', '{*}',"
        " 'rolled_back', %s, '{}', 'anna', %s)",
        T,
        T,
    )
    assert await book.look(T + 1_000) == [
        ("quarantined", "raised", "shop|box|||"),
        ("rollout", "raised", "||||ro-1"),
        ("update_failed", "raised", "shop|box|||app"),
    ]
    assert await book.look(T + 86_401_000) == [("rollout", "cleared", "||||ro-1")]


async def test_a_report_begins_and_ends_trouble_and_silence_does_neither(book: Rulebook):
    """A full disk; a report that cannot tell, and a device that is dark, leave it as it is."""
    await book.site("shop", "box", "other")
    await book.put(of(Health.DISK, for_s=60))
    full, fine = SystemHealth(disk_used_fraction=0.97), SystemHealth(disk_used_fraction=0.5)
    await book.report("box", T, system=full)
    await book.report("other", T, system=fine)
    assert await book.turn(T + 1_000) == []
    assert await book.turn(T + 61_000) == [("disk", "raised", "shop|box|||")]
    await book.report("box", T + 90_000, system=SystemHealth())
    assert await book.turn(T + 91_000) == []
    await book.sql("UPDATE devices SET state = 'dark' WHERE device = 'box'")
    await book.report("box", T + 120_000, system=fine)
    assert await book.turn(T + 121_000) == []
    await book.sql("UPDATE devices SET state = 'ok' WHERE device = 'box'")
    await book.report("box", T + 150_000, system=fine)
    assert await book.turn(T + 151_000) == [("disk", "cleared", "shop|box|||")]


async def test_a_crash_is_trouble_for_an_hour_and_a_first_report_tells_of_none(book: Rulebook):
    """How many there were before says nothing of when."""
    await book.site("shop", "box")
    await book.put(of(Health.PIPELINE_CRASHED))
    for at_s, crashes in ((0, 4), (30, 4), (60, 5), (90, 5)):
        pipeline = PipelineHealth(running=True, crashes=crashes, last_exit="segmentation fault")
        await book.report("box", T + at_s * 1000, pipeline=pipeline)
        expected = [("pipeline_crashed", "raised", "shop|box|||")] if at_s == 60 else []
        assert await book.turn(T + at_s * 1000 + 500) == expected
    await book.report("box", T + 3_700_000, pipeline=PipelineHealth(running=True, crashes=5))
    assert [turn for _, turn, _ in await book.turn(T + 3_701_000)] == ["cleared"]


async def test_a_leak_is_of_its_process_and_a_late_budget_of_its_camera(book: Rulebook):
    """Which process grows, which camera is slow; too few pictures say nothing."""
    await book.site("shop", "box")
    await book.put(of(Health.MEMORY_LEAK, above=5.0), of(Health.LATENCY_BUDGET))
    often, few = ExpHistogram(), ExpHistogram()
    often.add(50, 60)
    often.add(400, 40)
    few.add(400, 10)
    cameras = [
        CameraHealth(camera=name, state=State.OK, since_ms=T, stage_ms={"total": made.to_wire()})
        for name, made in (("slow", often), ("few", few))
    ]
    grows = SystemHealth(agent_rss_mb=90, growth_mb_per_h={"pipeline": 12.0, "agent": 2.0})
    await book.report(
        "box", T, system=grows, pipeline=PipelineHealth(running=True, cameras=cameras)
    )
    assert await book.turn(T + 1_000) == [
        ("latency_budget", "raised", "shop|box|slow||"),
        ("memory_leak", "raised", "shop|box|||pipeline"),
    ]


async def test_people_who_override_often_are_trouble_only_where_it_is_sure(book: Rulebook):
    """Three wrong of four is no share; thirty of sixty is."""
    await book.site("shop", "box")
    await book.put(of(Health.ACCURACY, above=0.2))
    for camera, wrong, right in (("few", 3, 1), ("sure", 30, 30), ("fine", 2, 58)):
        for n in range(wrong + right):
            await book.sql(
                "INSERT INTO overrides (override, site, device, camera, at_ms, verdict, said_by,"
                " received_ms) VALUES (%s, 'shop', 'box', %s, %s, %s, 'anna', %s)",
                f"{camera}-{n}",
                camera,
                T,
                "wrong" if n < wrong else "right",
                T,
            )
    assert await book.turn(T + 1_000) == [("accuracy", "raised", "shop|box|sure||")]


async def test_other_confidences_than_last_week_are_drift_under_the_same_model(book: Rulebook):
    """Looked at once a day; a model that changed cannot be compared."""
    await book.site("shop", "box")
    await book.put(of(Health.DRIFT))
    day_ms = T // 86_400_000 * 86_400_000
    high, low = [0] * 40 + [100] * 10, [100] * 10 + [0] * 40
    for camera, model in (("same", "m1"), ("moved", "m1"), ("new", "m2")):
        for days in range(1, 7):
            is_last = days == 1
            day = slow.Day(
                model=model if is_last else "m1",
                confidence={"person": Bins(counts=low if is_last and camera != "same" else high)},
            )
            await book.sql(
                "INSERT INTO rollup_day (device, camera, start_ms, body) VALUES"
                " ('box', %s, %s, %s)",
                camera,
                day_ms - days * 86_400_000,
                msgspec.msgpack.encode(day),
            )
    assert await book.turn(T) == [("drift", "raised", "shop|box|moved||")]
    assert await book.turn(T + 30_000) == []


async def test_a_month_below_what_was_promised_is_trouble_of_the_site(book: Rulebook):
    """A camera that was off for a day; nothing is said of a site that has little to account for."""
    await book.site("shop", "box")
    await book.put(of(Health.COVERAGE))
    now_ms = T + 20 * 86_400_000
    await book.sql("UPDATE devices SET last_contact_ms = %s, drained_to_ms = %s", now_ms, now_ms)
    await book.sql(
        "INSERT INTO cameras (device, camera, known_from_ms) VALUES ('box', 'cam', %s)", T
    )
    for start_ms, end_ms, cause in (
        (T, now_ms - 2 * 86_400_000, None),
        (now_ms - 2 * 86_400_000, now_ms, "CAMERA_DOWN"),
    ):
        await book.sql(
            "INSERT INTO coverage_claims (device, camera, start_ms, end_ms, cause)"
            " VALUES ('box', 'cam', %s, %s, %s)",
            start_ms,
            end_ms,
            cause,
        )
    assert await book.turn(now_ms) == [("coverage", "raised", "shop||||")]


async def test_a_device_that_is_revoked_leaves_no_trouble(book: Rulebook):
    """Nobody waits for the end of what can never be told of again."""
    await book.site("shop", "box")
    await book.put(of(Health.DISK))
    await book.report("box", T, system=SystemHealth(disk_used_fraction=0.97))
    assert [turn for _, turn, _ in await book.turn(T + 1_000)] == ["raised"]
    await book.sql("UPDATE devices SET revoked_ms = %s", T + 2_000)
    assert [turn for _, turn, _ in await book.turn(T + 400_000)] == ["cleared"]


async def test_a_camera_that_was_taken_away_leaves_no_trouble(book: Rulebook):
    """A pipeline that began since runs without it; one that cannot run is not listed, and stays."""
    await book.site("shop", "box")
    await book.put(of(Health.CAMERA_DOWN))
    began_ms = T + 1_000_000
    for camera, since_ms in (("gone", T), ("refused", began_ms + 900)):
        await book.sql(
            "INSERT INTO cameras (device, camera, known_from_ms, state, since_ms)"
            " VALUES ('box', %s, %s, 'down', %s)",
            camera,
            T,
            since_ms,
        )
    raised = [("camera_down", "raised", f"shop|box|{name}||") for name in ("gone", "refused")]
    other = CameraHealth(camera="other", state=State.OK, since_ms=T)
    before = PipelineHealth(running=True, since_ms=T - 5_000, cameras=[other])
    await book.report("box", T + 900_000, pipeline=before)
    assert await book.turn(T + 900_000) == raised, "nobody begins anew: it may only be late"
    bare = PipelineHealth(running=True, since_ms=began_ms)
    await book.report("box", began_ms + 200_000, pipeline=bare)
    assert await book.turn(began_ms + 210_000) == [], "it lists none at all yet"
    after = PipelineHealth(running=True, since_ms=began_ms, cameras=[other])
    await book.report("box", began_ms + 500_000, pipeline=after)
    cleared = [("camera_down", "cleared", "shop|box|gone||")]
    assert await book.turn(began_ms + 520_000) == cleared
    assert await book.turn(began_ms + 900_000) == []
    await book.sql("UPDATE cameras SET since_ms = %s WHERE camera = 'gone'", began_ms + 1_000_000)
    assert await book.turn(began_ms + 1_002_000) == raised[:1], "it is there again"


async def test_the_starter_is_applied_whole_and_again_changes_nothing(book: Rulebook):
    """Each document is a version; a file with an unknown channel leaves everything as it is."""
    await book.site("shop", "box")
    await book.sql(
        "INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
        " VALUES ('ops', 'webhook', '{}', 'anna', %s)",
        T,
    )
    text = starter.text("channel:ops").encode()
    for expected in ({"new"}, {"same"}):
        async with book.db.transaction() as tx:
            outcome = await applying.look(tx, text, T, name="r.yaml")
            assert {one.what for one in outcome.changes} == expected
            await applying.apply(tx, rules.load(text), outcome, by="anna", now_ms=T, note="first")
    async with book.db.transaction() as tx:
        shown = applying.text_of(await documents.current(tx)).encode()
        again = await applying.look(tx, shown, T, name="r.yaml", prune=True)
        assert {one.what for one in again.changes} == {"same"}
        wrong = starter.text("channel:none").encode()
        with pytest.raises(ConfigError, match=r"r\.yaml:\d+: ladders.0.steps.0.tell.0: .*'none'"):
            await applying.look(tx, wrong, T, name="r.yaml")
