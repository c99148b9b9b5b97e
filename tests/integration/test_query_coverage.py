"""Kept coverage against the live ledger: equal at every moment, whatever arrived and when."""

import random

import pytest

from vedette.central import jobs, ledger, rows
from vedette.central.query import keeping, runs, strips
from vedette.central.rollups import HOUR_MS, MINUTE_MS
from vedette.wire.messages import Cause, State

pytestmark = pytest.mark.anyio

CAMERAS = ("door", "till")


class History:
    """A device whose past is written straight into the tables, as the other rooms write it."""

    def __init__(self, fleet, seed: int) -> None:
        self.fleet = fleet
        self.dice = random.Random(seed)
        self.device = ""
        self.seq = 0
        self.start_ms = 0

    @property
    def now_ms(self) -> int:
        return self.fleet.now_ms

    async def sql(self, text: str, *params: object) -> None:
        async with self.fleet.db.transaction() as tx:
            await tx.connection.execute(text.encode(), params)

    async def begin(self) -> None:
        self.device = (await self.fleet.device()).device
        self.start_ms = self.now_ms
        for camera in CAMERAS:
            await self.sql(
                "INSERT INTO cameras (device, camera, known_from_ms) VALUES (%s, %s, %s)",
                self.device, camera, self.now_ms,
            )  # fmt: skip

    def _past(self) -> int:
        """Return a moment, mostly of late and sometimes of long ago."""
        back = self.dice.choice([5 * MINUTE_MS, 3 * HOUR_MS, self.now_ms - self.start_ms])
        return self.now_ms - self.dice.randint(0, max(1, min(back, self.now_ms - self.start_ms)))

    async def claim(self) -> None:
        start = self._past()
        cause = self.dice.choice([None, None, None, *Cause])
        await self.sql(
            "INSERT INTO coverage_claims VALUES (%s, %s, %s, %s, %s, %s, %s, 'words')",
            self.device, self.dice.choice(CAMERAS), start,
            start + self.dice.choice([1, 999, MINUTE_MS, 2 * HOUR_MS]),
            cause, self.dice.random() < 0.1, self.dice.choice([None, 5.0]),
        )  # fmt: skip

    async def state(self) -> None:
        self.seq += 1
        state = self.dice.choice([State.OK, State.DOWN, State.TAMPERED, State.OFF])
        late_ms = self.dice.choice([30_000, 30_000, 5 * HOUR_MS])  # as under a clock set back
        at_ms = self.now_ms - self.dice.randint(0, late_ms)
        await self.sql(
            "INSERT INTO camera_states (device, camera, epoch, seq, at_ms, noticed_ms, state)"
            " VALUES (%s, %s, 1, %s, %s, %s, %s)",
            self.device, self.dice.choice(CAMERAS), self.seq, at_ms, at_ms, str(state),
        )  # fmt: skip

    async def silence(self) -> None:
        at_ms = self.now_ms - self.dice.choice([120_000, 3 * HOUR_MS])
        await self.sql(
            "INSERT INTO device_transitions VALUES (%s, %s, %s, 'dark') ON CONFLICT DO NOTHING",
            self.device, at_ms, self.now_ms,
        )  # fmt: skip
        if self.dice.random() < 0.8:
            await self.sql(
                "INSERT INTO device_transitions VALUES (%s, %s, %s, 'ok') ON CONFLICT DO NOTHING",
                self.device, self.now_ms, self.now_ms,
            )  # fmt: skip

    async def central_away(self) -> None:
        start = self._past()
        await self.sql(
            "INSERT INTO central_downs VALUES (%s, %s) ON CONFLICT DO NOTHING",
            start, start + self.dice.choice([30_000, HOUR_MS]),
        )  # fmt: skip

    async def drain(self) -> None:
        await self.sql(
            "UPDATE devices SET drained_to_ms = greatest(drained_to_ms, %s) WHERE device = %s",
            self.now_ms - self.dice.choice([180_000, 180_000, 4 * HOUR_MS]), self.device,
        )  # fmt: skip

    async def know_earlier(self) -> None:
        await self.sql(
            "UPDATE cameras SET known_from_ms = known_from_ms - 3333333 WHERE camera = %s",
            self.dice.choice(CAMERAS),
        )

    async def beat(self) -> None:
        """Have central here all the while."""
        await self.sql("UPDATE central_heartbeat SET beat_ms = %s", self.now_ms)

    async def keep(self) -> None:
        await keeping.advance(self.fleet.db, self.now_ms)

    async def join(self) -> None:
        async with self.fleet.db.transaction() as tx:
            await tx.value("claims_same")
            before_ms = self.now_ms - HOUR_MS
            await tx.run("claims_join", device=self.device, camera="door", before_ms=before_ms)

    async def step(self) -> None:
        do = self.dice.choices(
            (self.claim, self.state, self.silence, self.central_away, self.drain,
             self.know_earlier, self.keep, self.join),
            (30, 6, 2, 2, 12, 1, 12, 1),
        )[0]  # fmt: skip
        self.fleet.clock.advance(self.dice.choice([0, 1, 60, 1800]))
        await self.beat()
        await do()

    async def compare(self, from_ms: int, to_ms: int) -> None:
        """Both ways say the same of every camera."""
        window = {"from_ms": from_ms, "to_ms": to_ms, "now_ms": self.now_ms}
        async with self.fleet.db.transaction() as tx:
            await tx.connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            kept = await strips.read(tx, [self.device], **window)
            live = await ledger.read(tx, [self.device], **window)
            cameras = await tx.all(
                "look_cameras", rows.CameraFacts, devices=[self.device], camera=None
            )
            drained = await tx.value("coverage_drained", device=self.device)
        for camera in cameras:
            asked = (self.device, camera.camera, camera.known_from_ms, drained)
            assert kept.segments(*asked) == live.segments(*asked), (from_ms, to_ms, self.now_ms)


@pytest.mark.parametrize("seed", range(2))
async def test_kept_coverage_equals_the_live_ledger_over_random_histories(fleet, seed) -> None:
    """Late claims, states, silence, absences of central, backlogs: at every step the same."""
    history = History(fleet, seed)
    await history.begin()
    for _ in range(12):
        for _ in range(10):
            await history.step()
        await history.compare(history.start_ms - HOUR_MS, history.now_ms)
        from_ms = history.now_ms - history.dice.randint(1, 24 * HOUR_MS)
        await history.compare(from_ms, history.now_ms - history.dice.randint(0, 1) * 777_777)
    kept = await fleet.rows("SELECT count(*) FROM coverage_day")
    assert kept[0][0] > 0


async def test_coverage_of_a_moment_does_not_depend_on_the_window(fleet) -> None:
    """Any window of a history with states dated backwards says what the whole of it says there."""
    history = History(fleet, 5)
    await history.begin()
    for _ in range(60):
        await history.step()
    now_ms = history.now_ms

    async def asked(from_ms: int, to_ms: int, camera: str):
        async with fleet.db.transaction() as tx:
            window = {"from_ms": from_ms, "to_ms": to_ms, "now_ms": now_ms}
            book = await ledger.read(tx, [history.device], **window)
            of = {"devices": [history.device], "camera": camera}
            (facts,) = await tx.all("look_cameras", rows.CameraFacts, **of)
            drained = await tx.value("coverage_drained", device=history.device)
        return book.segments(history.device, camera, facts.known_from_ms, drained)

    dated = await fleet.rows("SELECT at_ms FROM camera_states ORDER BY seq")
    assert dated != sorted(dated)
    for camera in CAMERAS:
        whole = await asked(history.start_ms, now_ms, camera)
        for _ in range(20):
            from_ms, to_ms = sorted(history.dice.sample(range(history.start_ms, now_ms), 2))
            part = await asked(from_ms, to_ms, camera)
            assert part == runs.clip(whole, from_ms, to_ms), (camera, from_ms, to_ms)


async def test_late_news_marks_what_is_kept_and_one_turn_of_the_job_mends_it(fleet) -> None:
    """A claim for an hour long resolved: seen at once, kept again after the next turn."""
    history = History(fleet, 0)
    await history.begin()
    fleet.clock.advance(6 * 3600)
    await history.sql("UPDATE devices SET drained_to_ms = %s", history.now_ms - 180_000)
    await history.beat()
    await history.keep()
    assert await fleet.rows("SELECT count(*) FROM coverage_dirty") == [(0,)]
    start = history.start_ms + HOUR_MS
    await history.sql(
        "INSERT INTO coverage_claims VALUES (%s, 'door', %s, %s, NULL, false, NULL, '')",
        history.device, start, start + MINUTE_MS,
    )  # fmt: skip
    assert await fleet.rows("SELECT camera, from_ms, to_ms FROM coverage_dirty") == [
        ("door", start, start + MINUTE_MS)
    ]
    await history.compare(history.start_ms, history.now_ms)
    await history.keep()
    assert await fleet.rows("SELECT count(*) FROM coverage_dirty") == [(0,)]
    await history.compare(history.start_ms, history.now_ms)
    bodies = await fleet.rows("SELECT day_ms, runs FROM coverage_day WHERE camera = 'door'")
    assert (
        sum(
            s.end_ms - s.start_ms
            for day_ms, body in bodies
            for s in runs.decode(body, day_ms)
            if s.cause is None
        )
        == MINUTE_MS
    )


async def test_joining_old_claims_is_no_news(fleet) -> None:
    """The nightly join says again what was said: nothing is resolved anew for it."""
    history = History(fleet, 1)
    await history.begin()
    for n in range(300):
        start = history.start_ms + n * 1000
        await history.sql(
            "INSERT INTO coverage_claims VALUES (%s, 'door', %s, %s, NULL, false, 5.0, '')",
            history.device, start, start + 1000,
        )  # fmt: skip
    fleet.clock.advance(72 * 3600)
    await history.sql("UPDATE devices SET drained_to_ms = %s", history.now_ms - 180_000)
    await history.beat()
    await history.keep()
    await jobs.expire(fleet.db, fleet.services.config.retention, history.now_ms)
    assert await fleet.rows("SELECT count(*) FROM coverage_claims") == [(1,)]
    assert await fleet.rows("SELECT count(*) FROM coverage_dirty") == [(0,)]


async def test_a_spell_of_two_silences_is_resolved_anew_from_its_beginning(fleet) -> None:
    """Dark, dark again without a word between, then heard: all of it is another thing now."""
    history = History(fleet, 0)
    await history.begin()
    dark = "INSERT INTO device_transitions VALUES (%s, %s, %s, 'dark')"
    for _ in range(2):
        fleet.clock.advance(3 * 3600)
        await history.sql(dark, history.device, history.now_ms, history.now_ms)
    fleet.clock.advance(3 * 3600)
    await history.sql("UPDATE devices SET drained_to_ms = %s", history.now_ms)
    await history.beat()
    await history.keep()
    await history.compare(history.start_ms, history.now_ms)
    await history.sql(
        "INSERT INTO device_transitions VALUES (%s, %s, %s, 'ok')",
        history.device, history.now_ms, history.now_ms,
    )  # fmt: skip
    await history.compare(history.start_ms, history.now_ms)
    await history.keep()
    await history.compare(history.start_ms, history.now_ms)


async def test_a_camera_that_came_back_under_a_clock_set_back_is_not_down_for_ever(fleet) -> None:
    """The later change has the earlier date; every window knows which of them holds."""
    history = History(fleet, 0)
    await history.begin()
    device, at_ms = history.device, history.start_ms
    for seq, state, minute in ((1, State.DOWN, 40), (2, State.OK, 30)):
        await history.sql(
            "INSERT INTO camera_states (device, camera, epoch, seq, at_ms, noticed_ms, state)"
            " VALUES (%s, 'door', 1, %s, %s, %s, %s)",
            device, seq, at_ms + minute * MINUTE_MS, at_ms, str(state),
        )  # fmt: skip
    fleet.clock.advance(2 * 3600)
    window = {"from_ms": at_ms + HOUR_MS, "to_ms": history.now_ms, "now_ms": history.now_ms}
    async with fleet.db.transaction() as tx:
        live = await ledger.read(tx, [device], **window)
    causes = {segment.cause for segment in live.segments(device, "door", at_ms, history.now_ms)}
    assert Cause.CAMERA_DOWN not in causes
