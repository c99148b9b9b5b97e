"""Rollouts over the real protocol and database: from an order to a device that confirms."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import AsyncTestClient

from tests.integration.conftest import Fleet
from tests.integration.rollout_rig import (
    NEW,
    OLD,
    STEPS,
    Box,
    approved,
    artefact,
    boxes,
    central_of_rollouts,
    go_on,
    observed,
    order,
    plan,
    started,
    state,
    states,
    turn,
)
from vedette.central import accounts
from vedette.central.releases import keeping
from vedette.central.rollouts import (
    evidence,
    forecast,
    jobs,
    looking,
    ordering,
    returning,
    taking,
)
from vedette.central.rollouts.facts import Order, RolloutState, Stage
from vedette.central.store import listening
from vedette.central.store.db import Database
from vedette.central.web import build_web
from vedette.errors import NotAllowed
from vedette.wire.envelope import ClockState
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import (
    Assigned,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fleet(conninfo: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A running central without its pages, with a folder of its own."""
    async with central_of_rollouts(conninfo, tmp_path) as running:
        yield running


async def test_an_order_becomes_an_assignment_and_its_reports_move_the_device(fleet: Fleet) -> None:
    """What was approved and started is signed for one device, which goes through all its steps."""
    found = await boxes(fleet, 3)
    await started(fleet, plan())
    await turn(fleet)
    looked = [await box.look() for box in found]
    taken = [box for box in found if box.item]
    assert len(taken) == 1
    assert sum(one is not None for one in looked) == 1
    box = taken[0]
    assert (await states(fleet))[box.name] == "assigned"
    saved = box.report(UpdateState.DOWNLOADED, saved_bytes=90)
    await box.fake.up(box.fake.envelope("update.v1", saved))
    for step in STEPS[:-1]:
        await box.beat(step)
        assert (await states(fleet))[box.name] == step
    async with fleet.db.transaction() as tx:
        shown = await looking.one(tx, "ro-1", None, now_ms=fleet.now_ms)
        assert await keeping.saved(tx) == (1, 90)
    assert shown is not None
    assert (shown.by_difference, shown.saved_bytes) == (1, 90)
    assert [one.saved_bytes for one in shown.devices if one.saved_bytes] == [90]
    box.running = NEW
    await box.beat(UpdateState.CONFIRMED)
    await turn(fleet, 1)
    confirmed = await fleet.rows(
        "SELECT confirmed_ms FROM rollout_devices WHERE device = %s", box.name
    )
    assert confirmed[0][0] is None, "its own word is not enough"
    await box.beat()
    await turn(fleet, 1)
    confirmed = await fleet.rows(
        "SELECT confirmed_ms FROM rollout_devices WHERE device = %s", box.name
    )
    assert confirmed[0][0] is not None


async def test_a_good_rollout_goes_through_its_stages_by_covered_hours(fleet: Fleet) -> None:
    """Canary, then all: each stage only after its devices have the hours that it asks for."""
    found = await boxes(fleet, 6)
    await observed(fleet, found, 48)
    wanted = plan(
        stages=[
            Stage(state=RolloutState.CANARY, devices=2, soak_h=4.0, worst_ratio=1000.0),
            Stage(state=RolloutState.WAVE, share=1.0, soak_h=2.0, worst_ratio=1000.0),
        ]
    )
    await started(fleet, wanted)
    await go_on(fleet, found)
    assert await state(fleet) is RolloutState.CANARY
    assert sum(box.running == NEW for box in found) == 2
    await go_on(fleet, found, hours=3)
    assert await state(fleet) is RolloutState.CANARY, "three hours are not four"
    await go_on(fleet, found, hours=3)
    gates = await fleet.rows(
        "SELECT gate, verdict, convert_from(result, 'UTF8') FROM rollout_gates"
    )
    assert await state(fleet) is RolloutState.WAVE, gates
    await go_on(fleet, found)
    assert all(box.running == NEW for box in found)
    await go_on(fleet, found, hours=4)
    assert await state(fleet) is RolloutState.DONE
    assert {box.version for box in found} == {1}, "nobody was assigned anything twice"


async def test_a_bad_rollout_stops_at_canary_and_goes_back_by_itself(fleet: Fleet) -> None:
    """A canary whose pipeline crashes again and again ends it: every device runs the old one."""
    found = await boxes(fleet, 6)
    wanted = plan(stages=[Stage(state=RolloutState.CANARY, devices=2, soak_h=4.0),
                          Stage(state=RolloutState.WAVE, share=1.0)])  # fmt: skip
    await started(fleet, wanted)
    await go_on(fleet, found)
    canaries = [box for box in found if box.running == NEW]
    assert len(canaries) == 2
    canaries[0].crashes = 5
    await canaries[0].beat()
    await turn(fleet, 1)
    assert await state(fleet) is RolloutState.ROLLING_BACK
    await go_on(fleet, found)
    assert [box.running for box in found] == [OLD] * 6
    await turn(fleet)
    assert await state(fleet) is RolloutState.ROLLED_BACK
    gates = await fleet.rows("SELECT gate FROM rollout_gates WHERE verdict = 'fail'")
    assert gates == [("hard",)], "what stopped it is kept"
    history = await fleet.rows(
        "SELECT state FROM rollout_history WHERE device = '' ORDER BY number"
    )
    assert [one for (one,) in history][-2:] == ["rolling_back", "rolled_back"]


async def test_heat_since_the_activation_stops_it_and_heat_from_before_does_not(
    fleet: Fleet,
) -> None:
    """One device was hot already: told. The other one began with the candidate: back."""
    found = await boxes(fleet, 4)
    stages = [Stage(state=RolloutState.CANARY, devices=2, soak_h=4.0),
              Stage(state=RolloutState.WAVE, share=1.0)]  # fmt: skip
    async with fleet.db.transaction() as tx:
        laid_out = await forecast.forecast(tx, plan(stages=stages), fleet.now_ms)
    first, second = [
        box for box in found if box.name in {one.device for one in laid_out.stages[0].devices}
    ]

    async def hot(box: Box) -> None:
        box.flags = ["soft-temperature-limit"]
        for _ in range(evidence.HOT_REPORTS):
            fleet.clock.advance(30)
            await box.beat()

    await hot(first)
    fleet.clock.advance(2 * 3600)
    for box in found:
        await box.fake.sign_in()
        await box.beat()
    await started(fleet, plan(stages=stages))
    await go_on(fleet, found)
    assert [box.running for box in (first, second)] == [NEW, NEW]
    await hot(first)
    await turn(fleet)
    assert await state(fleet) is RolloutState.CANARY
    await hot(second)
    await turn(fleet)
    assert await state(fleet) is RolloutState.ROLLING_BACK
    ((why,),) = await fleet.rows(
        "SELECT reason FROM rollout_history WHERE device = '' AND state = 'rolling_back'"
    )
    assert f"{second.name}: thermal" in why


async def test_canaries_are_of_different_light(fleet: Fleet) -> None:
    """Among six alike but for their light, each kind of light has a canary."""
    found = await boxes(fleet, 6)
    for box in found[:2]:
        box.brightness = 0.1
    await observed(fleet, found, 26)
    await started(fleet, plan(stages=[Stage(state=RolloutState.CANARY, devices=2, soak_h=4.0)]))
    await turn(fleet)
    rows = await fleet.rows(
        "SELECT light, count(*) FILTER (WHERE state = 'assigned') FROM rollout_devices"
        " GROUP BY light ORDER BY light"
    )
    assert rows == [("bright", 1), ("dim", 1)]
    ((why,),) = await fleet.rows(
        "SELECT detail FROM rollout_devices WHERE light = 'dim' AND state = 'assigned'"
    )
    assert "dim" in why


async def test_a_device_that_falls_silent_after_activation_is_lost_and_stops_it(
    fleet: Fleet,
) -> None:
    """Silence is no success: the rollout goes back, and the silent one when it returns."""
    found = await boxes(fleet, 4)
    await started(fleet, plan(stages=[Stage(state=RolloutState.CANARY, devices=1, soak_h=4.0),
                                      Stage(state=RolloutState.WAVE, share=1.0)]))  # fmt: skip
    await turn(fleet)
    for box in found:
        await box.look()
    [box] = [box for box in found if box.item]
    await box.beat(UpdateState.DOWNLOADED, UpdateState.ACTIVATING)
    fleet.clock.advance(3 * 3600)
    for other in found:
        if other is not box:
            await other.fake.sign_in()
            await other.beat()
    await turn(fleet, 1)
    rows = await fleet.rows("SELECT was, state FROM rollout_history WHERE device = %s", box.name)
    assert ("activating", "lost") in rows
    assert await state(fleet) in {RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK}
    await box.fake.sign_in()
    await box.look()
    assert box.item is not None
    assert box.item.artefact == OLD, "it finds the way back when it returns"


async def test_late_repeated_and_forged_reports_move_nothing(fleet: Fleet) -> None:
    """Of another rollout, attempt, digest or device, in any order: no row and no harm."""
    found = await boxes(fleet, 3)
    await started(fleet, plan())
    await turn(fleet)
    for box in found:
        await box.look()
    [box] = [box for box in found if box.item]
    [other, *_] = [one for one in found if one is not box]
    await box.beat(UpdateState.DOWNLOADED, UpdateState.VERIFIED, UpdateState.PROBATION)
    before = await fleet.rows("SELECT * FROM rollout_devices ORDER BY device")
    history = await fleet.rows("SELECT count(*) FROM rollout_history")
    late = box.report(UpdateState.DOWNLOADED)
    forged = [
        box.report(UpdateState.CONFIRMED, rollout="no-such"),
        box.report(UpdateState.REVERTED, attempt=7),
        box.report(UpdateState.REVERTED, digest=f"sha256:{'0' * 64}"),
        box.report(UpdateState.REVERTED, attempt=2**40),
        box.report(UpdateState.LOST),
        box.report(UpdateState.SKIPPED),
        late,
        late,
    ]
    await box.fake.up(*[box.fake.envelope("update.v1", one) for one in forged])
    said = other.fake.envelope("update.v1", box.report(UpdateState.REVERTED))
    await other.fake.up(said)
    await other.fake.up(said)
    assert await fleet.rows("SELECT * FROM rollout_devices ORDER BY device") == before
    assert await fleet.rows("SELECT count(*) FROM rollout_history") == history


async def test_a_stop_acts_within_one_turn_and_leaves_what_was_taken_up(fleet: Fleet) -> None:
    """Who had begun goes on; who had not is not asked any more; nobody new is assigned."""
    found = await boxes(fleet, 4)
    await started(fleet, plan(stages=[Stage(state=RolloutState.WAVE, share=1.0, soak_h=4.0)]))
    await turn(fleet)
    for box in found:
        await box.look()
    assert all(box.item for box in found)
    await found[0].install()
    await order(fleet, "ro-1", Order.STOP)
    assert await state(fleet) is RolloutState.STOPPED
    for box in found:
        await box.look()
    assert [box.item is None for box in found] == [False, True, True, True]
    await turn(fleet, 3)
    assert found[0].running == NEW


async def test_two_workers_and_a_restart_double_nothing(fleet: Fleet) -> None:
    """Turns at the same moment, and the same turn again, assign each device once."""
    found = await boxes(fleet, 5)
    await started(fleet, plan(stages=[Stage(state=RolloutState.WAVE, share=1.0, soak_h=4.0)]))
    for _ in range(3):
        fleet.clock.advance(30)
        await asyncio.gather(*(jobs.turn(fleet.services, fleet.now_ms) for _ in range(4)))
    rows = await fleet.rows("SELECT count(*), max(attempt) FROM rollout_devices")
    assert rows == [(5, 1)]
    assert await fleet.rows(
        "SELECT DISTINCT assignment_version FROM devices WHERE assignment IS NOT NULL"
    ) == [(1,)]
    assigned = await fleet.rows("SELECT count(*) FROM rollout_history WHERE state = 'assigned'")
    assert assigned == [(len(found),)]


async def test_central_signs_nothing_outside_the_approval(fleet: Fleet) -> None:
    """Another site, a day too late, or an artefact that is not named: no device is assigned it."""
    await boxes(fleet, 2)
    others = await boxes(fleet, 2, site="bank")
    await started(fleet, plan(stages=[Stage(state=RolloutState.WAVE, share=1.0, soak_h=4.0)]),
                  sites=["shop"])  # fmt: skip
    await turn(fleet)
    assert [await box.look() for box in others] == [None, None]
    rows = await fleet.rows(
        "SELECT d.site, count(*) FROM assigned a JOIN devices d USING (device) GROUP BY d.site"
    )
    assert rows == [("shop", 2)]
    # Whoever holds the database and the online key alone still gets nothing signed by this code.
    item = Assigned(rollout="ro-1", slot="app", artefact=artefact("evil/9"))
    async with fleet.db.transaction() as tx:
        await tx.connection.execute(
            b"INSERT INTO assigned VALUES (%s, 'app', 'ro-1', %s)",
            (others[0].name, msgspec.json.encode(item)),
        )
        await tx.connection.execute(b"INSERT INTO assigned_dirty VALUES (%s)", (others[0].name,))
    await jobs.turn(fleet.services, fleet.now_ms)
    looked = await others[0].look()
    assert looked is None or not looked.items


async def test_a_way_back_that_is_approved_no_more_is_signed_once_it_is(fleet: Fleet) -> None:
    """Whoever withdrew the approval of the old one renews it, and the rollback goes on."""
    [box] = await boxes(fleet, 1)
    await started(fleet, plan())
    await turn(fleet)
    await box.look()
    await box.install()
    async with fleet.db.transaction() as tx:
        await tx.run("release_files_clear")
    await approved(fleet, "ro-1", artefacts=[NEW])
    await order(fleet, "ro-1", Order.ROLL_BACK)
    await turn(fleet)
    looked = await box.look()
    assert looked is None or not looked.items
    rows = await fleet.rows("SELECT state, detail FROM rollout_devices")
    assert rows[0][0] == "skipped"
    assert "does not name app/one/1.0" in str(rows[0][1])
    async with fleet.db.transaction() as tx:
        await tx.run("release_files_clear")
    await approved(fleet, "ro-1")
    await turn(fleet)
    await box.look()
    assert box.item is not None
    assert box.item.artefact == OLD
    await box.install()
    await turn(fleet)
    assert await state(fleet) is RolloutState.ROLLED_BACK


async def test_what_was_taken_back_is_nobodys_way_back_next_time(fleet: Fleet) -> None:
    """The rollout is over before the old version is confirmed again; it is known all the same."""
    found = await boxes(fleet, 1)
    await started(fleet, plan(stages=[Stage(state=RolloutState.WAVE, share=1.0, soak_h=4.0)]))
    await go_on(fleet, found)
    known = b"SELECT convert_from(artefact, 'UTF8')::jsonb ->> 'target' FROM installed"
    assert await fleet.rows(known.decode()) == [(NEW.target,)], "it was confirmed"
    await order(fleet, "ro-1", Order.ROLL_BACK)
    await go_on(fleet, found)
    assert found[0].running == OLD
    assert await state(fleet) is RolloutState.ROLLED_BACK
    async with fleet.db.transaction() as tx:
        later = plan("ro-2", artefact=artefact("one/1.2"))
        [device] = await returning.candidates(tx, later, fleet.now_ms)
    assert taking.back_to(later, device) == OLD
    assert not taking.is_doubtful(later, device), "it may take part"


async def test_nobody_is_taken_in_whose_way_back_is_not_approved(fleet: Fleet) -> None:
    """The dry run and the approval say what to name; what is not approved holds the device."""
    [box] = await boxes(fleet, 1)
    async with fleet.db.transaction() as tx:
        laid_out = await forecast.forecast(tx, plan(), fleet.now_ms)
        unknown = await forecast.forecast(tx, plan(back=None), fleet.now_ms)
    assert "--target app/one/1.0" in laid_out.warnings[0]
    assert "1 device has nothing to go back to" in unknown.warnings[0]
    await started(fleet, plan(), artefacts=[NEW])
    await turn(fleet)
    assert await box.look() is None
    async with fleet.db.transaction() as tx:
        shown = await looking.one(tx, "ro-1", None, now_ms=fleet.now_ms)
        warnings = await returning.warnings(tx, plan(), fleet.now_ms)
    assert shown is not None
    assert "would go back to is not approved" in shown.devices[0].why
    assert "vedette keys approve ro-1" in warnings[0]
    async with fleet.db.transaction() as tx:
        await tx.run("release_files_clear")
    await approved(fleet, "ro-1")
    await turn(fleet)
    await box.look()
    assert box.item is not None


async def test_a_device_that_went_back_by_itself_is_told_as_such(fleet: Fleet) -> None:
    """Its own refusal stays in sight, although it confirms what it was before under attempt 2."""
    found = await boxes(fleet, 4)
    stages = [Stage(state=RolloutState.CANARY, devices=2, soak_h=4.0),
              Stage(state=RolloutState.WAVE, share=1.0)]  # fmt: skip
    await started(fleet, plan(stages=stages))
    await turn(fleet)
    for box in found:
        await box.look()
    canaries = [box for box in found if box.item]
    assert len(canaries) == 2
    await canaries[0].install()
    said = canaries[1].report(UpdateState.REVERTED, detail="golden frame 3 differs")
    await canaries[1].fake.up(canaries[1].fake.envelope("update.v1", said))
    canaries[1].state = UpdateState.REVERTED
    await go_on(fleet, found)
    assert canaries[1].item is not None
    if canaries[1].item.attempt == 2:
        await canaries[1].install()
    await turn(fleet)
    assert await state(fleet) is RolloutState.ROLLED_BACK
    async with fleet.db.transaction() as tx:
        shown = await looking.one(tx, "ro-1", None, now_ms=fleet.now_ms)
        row = await looking.in_scope(tx, "ro-1", None)
        assert row is not None
        back = await looking.devices(tx, row, state="reverted", limit=10)
    assert shown is not None
    told = {one.device: (one.state, one.problem) for one in shown.devices}
    assert told[canaries[1].name] == (
        UpdateState.REVERTED, "went back by itself: golden frame 3 differs"
    )  # fmt: skip
    chosen = {one.device: one.why for one in shown.chosen}
    assert set(chosen) == {box.name for box in canaries}
    assert all(why.startswith("by lot among") for why in chosen.values()), chosen
    assert told[canaries[0].name] == (UpdateState.REVERTED, "taken back with the rollout")
    assert shown.row.counts["reverted"] == 2
    assert {one.device for one in back} == {box.name for box in canaries}


async def test_an_order_from_another_process_wakes_central(fleet: Fleet) -> None:
    """What is typed at the command line is looked at when it is stored, not at the next turn."""
    await boxes(fleet, 1)
    other = Database(fleet.db.conninfo)
    await other.open()
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = asyncio.create_task(
        listening.listen(fleet.db.conninfo, jobs.CHANNEL, heard.put_nowait)
    )
    try:
        assert await asyncio.wait_for(heard.get(), 10) == "", "once it listens"
        async with fleet.services.bulletin.subscribe(jobs.NOW) as news:
            async with other.transaction() as tx:
                await ordering.make(tx, plan(), actor="mia", note="", now_ms=fleet.now_ms)
                await ordering.wake(tx, "ro-1")
            assert await asyncio.wait_for(heard.get(), 10) == "ro-1"
            assert await news.wait(10) == {jobs.NOW}
    finally:
        listener.cancel()
        await asyncio.wait([listener])
        await other.close()


async def test_an_approval_that_is_over_assigns_nobody(fleet: Fleet) -> None:
    """After its last day nothing new is assigned, and what runs runs on."""
    found = await boxes(fleet, 2)
    await started(fleet, plan(), expires_ms=fleet.now_ms + 1000)
    await turn(fleet)
    assert [await box.look() for box in found] == [None, None]
    assert await fleet.rows("SELECT count(*) FROM assigned") == [(0,)]


async def test_a_central_from_last_weeks_backup_is_heard_again(fleet: Fleet) -> None:
    """Devices have newer assignments than it remembers: it asks, and signs above what they have."""
    found = await boxes(fleet, 2)
    for box in found:
        box.version = 41
        await box.beat()
    wanted = plan(stages=[Stage(state=RolloutState.WAVE, share=1.0, soak_h=4.0)])
    await started(fleet, wanted)
    await turn(fleet)
    assert [await box.look() for box in found] == [None, None], "it does not know what they have"
    async with fleet.db.transaction() as tx:
        await ordering.choose(
            tx, "ro-1", [box.name for box in found], "trust", actor="mia", now_ms=fleet.now_ms
        )
    await turn(fleet)
    looked = [await box.look() for box in found]
    assert [one.version for one in looked if one] == [42, 42]
    assert all(box.item for box in found)


async def test_a_device_whose_clock_stands_at_1970_takes_part(fleet: Fleet) -> None:
    """Its own dates are nowhere used: states are dated by when central heard them."""
    found = await boxes(fleet, 1)
    await started(fleet, plan(stages=[Stage(state=RolloutState.WAVE, share=1.0, soak_h=0.0)]))
    await turn(fleet)
    box = found[0]
    await box.look()
    said = box.fake.envelope(
        "update.v1", box.report(UpdateState.ACTIVATING, at_ms=1000),
        t_wall_ms=1000, clock_state=ClockState.UNTRUSTED,
    )  # fmt: skip
    await box.fake.up(said)
    rows = await fleet.rows("SELECT state, since_ms FROM rollout_devices")
    assert rows == [("activating", fleet.now_ms)]


async def test_who_made_a_rollout_does_not_approve_it(fleet: Fleet) -> None:
    """One person alone begins nothing; where central is told that one is enough, one is."""
    await boxes(fleet, 1)
    async with fleet.db.transaction() as tx:
        await ordering.make(tx, plan(), actor="mia", note="", now_ms=fleet.now_ms)
    await approved(fleet, "ro-1")
    with pytest.raises(NotAllowed, match="somebody else"):
        async with fleet.db.transaction() as tx:
            await ordering.approve(tx, "ro-1", actor="mia", two_people=True, now_ms=fleet.now_ms)
    await order(fleet, "ro-1", Order.START)
    await turn(fleet)
    assert await state(fleet) is RolloutState.GATED
    async with fleet.db.transaction() as tx:
        await ordering.approve(tx, "ro-1", actor="mia", two_people=False, now_ms=fleet.now_ms)
    fleet.clock.advance(600)
    await jobs.tick(
        fleet.db,
        fleet.services.bulletin,
        state=fleet.services.config.state,
        now_ms=fleet.now_ms,
        two_people=False,
    )
    assert await state(fleet) is RolloutState.CANARY
    actions = [one for (one,) in await fleet.rows("SELECT action FROM audit_log ORDER BY number")]
    assert actions[-3:] == ["rollout.make", "rollout.start", "rollout.approve"]


async def test_people_plan_approve_and_order_through_the_api(fleet: Fleet) -> None:
    """A dry run with dates, then making, approving and stopping; nobody overlooks another."""
    found = await boxes(fleet, 4)
    tokens: dict[str, dict[str, str]] = {}
    async with fleet.db.transaction() as tx:
        for name, role in (("mia", "operator"), ("otto", "admin"), ("vera", "viewer")):
            await accounts.put_user(tx, name, role, None, fleet.now_ms)
            token, _ = await accounts.open_session(tx, name, fleet.now_ms, life_s=3600, kind="api")
            tokens[name] = {"Authorization": f"Bearer {token}"}
    wanted = msgspec.to_builtins(plan()) | {"note": "a try"}
    web: Any = build_web(fleet.services)
    async with AsyncTestClient(web, base_url="http://127.0.0.1:8080") as client:
        mia: dict[str, Any] = {"headers": tokens["mia"]}
        unknown = {name: wanted[name] for name in ("trusted", "pinned")}
        body = {name: value for name, value in wanted.items() if name not in unknown}
        dry = await client.post("/v1/rollouts/plan", json=body, **mia)
        assert dry.status_code == 200, dry.text
        assert dry.json()["taking_part"] == len(found)
        assert dry.json()["counts"] == [1, 3]
        assert (await client.get("/v1/rollouts", **mia)).json()["rollouts"] == []
        made = await client.post("/v1/rollouts", json=body, **mia)
        assert made.status_code == 201, made.text
        assert (await client.post("/v1/rollouts", json=body, **mia)).status_code == 400
        there = "/v1/rollouts/ro-1"
        tag = (await client.get(there, **mia)).headers["etag"]
        refused = await client.put(f"{there}/approval", headers=tokens["mia"])
        assert refused.status_code == 403, "it takes an administrator"
        otto: dict[str, Any] = {"headers": tokens["otto"] | {"If-Match": tag}}
        assert (await client.put(f"{there}/approval", **otto)).status_code == 200
        start = {"order": "start"}
        stale = await client.post(f"{there}/orders", json=start, **otto)
        assert stale.status_code == 412, "it was approved in between"
        assert (
            await client.post(f"{there}/orders", json=start, headers=tokens["vera"])
        ).status_code == 403
        assert (await client.post(f"{there}/orders", json=start, **mia)).status_code == 202
        await approved(fleet, "ro-1")
        shown: dict[str, Any] = {}
        for _ in range(20):  # central's own turns, woken by the orders, may hold it meanwhile
            await turn(fleet, 1)
            shown = (await client.get(there, **mia)).json()
            if "assigned" in shown["row"]["counts"]:
                break
        assert shown["row"]["counts"] == {"": 3, "assigned": 1}
        assert "stop" in shown["orders"]
        wrong = await client.post(f"{there}/orders", json={"order": "resume"}, **mia)
        assert wrong.status_code == 400
        assert "possible now" in wrong.json()["detail"]
        pinned = {"order": "exclude", "devices": [found[0].name]}
        assert (await client.post(f"{there}/orders", json=pinned, **mia)).status_code == 202
        bad = body | {"rollout": "ro-2", "sites": ["shop", "*"], "windows": [["25:00", "x"]]}
        complained = await client.post("/v1/rollouts", json=bad, **mia)
        assert complained.status_code == 422
        said = [one["detail"] for one in complained.json()["errors"]]
        assert "sites: * stands alone" in said
        assert any("windows" in one for one in said), "all that is wrong is said at once"


async def test_a_model_that_the_registry_does_not_know_stays_a_draft(fleet: Fleet) -> None:
    """Without a verdict of its gates nothing begins, whoever approved and started it."""
    await boxes(fleet, 2)
    unknown = artefact("yolox/9", ArtefactKind.MODEL)
    wanted = plan(kind=ArtefactKind.MODEL, artefact=unknown, back=None)
    await started(fleet, wanted, artefacts=[unknown])
    await turn(fleet)
    assert await state(fleet) is RolloutState.DRAFT
    ((why,),) = await fleet.rows("SELECT reason FROM rollouts")
    assert unknown.digest in why
