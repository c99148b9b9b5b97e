"""Devices that take part in rollouts, and a central to do it with: what its tests share.

Real messages over the real protocol; time moves by hand. No test lives here.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest

from tests.integration.conftest import FakeDevice, Fleet, _no_web
from vedette.central import rollups
from vedette.central.app import Central, build_services
from vedette.central.query import packing, runs
from vedette.central.releases import keeping
from vedette.central.rollouts import jobs, ordering, store
from vedette.central.rollouts.facts import Asked, Gates, Order, Plan, RolloutState, Stage
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.clock import ManualClock
from vedette.stats.sketch import ExpHistogram, LinearBins
from vedette.trust.dsse import open_struct
from vedette.trust.keys import SigningKey
from vedette.trust.tuf.approvals import approval_path
from vedette.wire import codec
from vedette.wire.enrol import Desired
from vedette.wire.messages import Aggregate, Bins, HealthReport, PipelineHealth, SystemHealth
from vedette.wire.slots import ArtefactKind, UpdateHealth, UpdateState
from vedette.wire.updates import (
    ASSIGNMENT_TYPE,
    Approval,
    Artefact,
    Assigned,
    Assignment,
    UpdateReport,
)

HOUR_MS = 3_600_000
STEPS = (
    UpdateState.DOWNLOADED,
    UpdateState.VERIFIED,
    UpdateState.WAITING_WINDOW,
    UpdateState.ACTIVATING,
    UpdateState.PROBATION,
    UpdateState.CONFIRMED,
)


def artefact(name: str, kind: ArtefactKind = ArtefactKind.APP) -> Artefact:
    """An artefact whose hashes follow from its name."""
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Artefact(
        kind=kind, target=f"{kind}/{name}", sha256=sha256, bytes=100, digest=f"sha256:{sha256}"
    )


OLD, NEW = artefact("one/1.0"), artefact("one/1.1")


async def _never(_services: Services) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def central_of_rollouts(conninfo: str, folder: Path) -> AsyncIterator[Fleet]:
    """A running central without its pages, with a folder of its own.

    It decides about rollouts in `turn` alone: by itself it would also look while a test is half
    way through what it has devices say.
    """
    clock = ManualClock()
    config = CentralConfig(state_dir=str(folder))
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    central = Central(services, _no_web)
    transport = httpx.ASGITransport(app=central)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jobs, "run", _never)
        async with (
            central.running(),
            httpx.AsyncClient(transport=transport, base_url="http://central") as http,
        ):
            yield Fleet(central, http, clock)


class Box:
    """A device that takes part: what runs in its slot, and what it makes of assignments."""

    def __init__(
        self, fleet: Fleet, fake: FakeDevice, running: Artefact = OLD, slot: str = "app"
    ) -> None:
        self.fleet = fleet
        self.slot = slot
        self.fake = fake
        self.running = running
        self.previous = ""
        self.version = 0
        self.item: Assigned | None = None
        self.state: UpdateState | None = None
        self.crashes = 0
        self.latency_ms = 100.0
        self.flags: list[str] = []
        self.brightness = 0.5

    @property
    def name(self) -> str:
        return self.fake.device

    async def beat(self, *steps: UpdateState) -> None:
        """Send steps of the present item, then a heartbeat that says what runs."""
        said = [self.fake.envelope("update.v1", self.report(step)) for step in steps]
        if steps:
            self.state = steps[-1]
        await self.fake.up(*said, self.fake.envelope("health.v1", self.health()))

    def report(self, state: UpdateState, **changes: object) -> UpdateReport:
        """One step of the present item."""
        assert self.item is not None
        made = UpdateReport(
            at_ms=self.fake.now_ms,
            rollout=self.item.rollout,
            slot=self.item.slot,
            kind=self.item.artefact.kind,
            attempt=self.item.attempt,
            digest=self.item.artefact.digest,
            state=state,
            running=self.running.digest,
        )
        return msgspec.structs.replace(made, **changes)

    def health(self) -> HealthReport:
        """A heartbeat."""
        item = self.item
        slot = UpdateHealth(
            slot=self.slot,
            kind=self.running.kind,
            rollout=item.rollout if item else "",
            attempt=item.attempt if item else 0,
            state=self.state,
            digest=item.artefact.digest if item else "",
            running=self.running.digest,
            previous=self.previous,
        )
        return HealthReport(
            at_ms=self.fake.now_ms,
            period_s=30.0,
            version="1.0",
            system=SystemHealth(throttle_flags=self.flags),
            assignment_version=self.version,
            updates=[slot],
            pipeline=PipelineHealth(running=True, crashes=self.crashes),
        )

    async def look(self) -> Assignment | None:
        """Fetch the desired state and take up what central signed, as a device does."""
        answer = await self.fake.http.get(
            "/v1/desired", headers={"Authorization": f"Bearer {self.fake.token}"}
        )
        assert answer.status_code == 200, answer.text
        desired = codec.decode(answer.content, Desired, json=True)
        if desired.assignment is None:
            return None
        assignment = open_struct(
            desired.assignment, Assignment, [self.fake.central], payload_type=ASSIGNMENT_TYPE
        )
        assert assignment.device == self.name
        if assignment.version > self.version:
            self.version = assignment.version
            item = next((one for one in assignment.items if one.slot == self.slot), None)
            if item != self.item:
                self.item, self.state = item, None
        return assignment

    async def install(self) -> None:
        """Go through every step of the present item and run it."""
        assert self.item is not None
        self.previous, self.running = self.running.digest, self.item.artefact
        await self.beat(*STEPS)


def plan(rollout: str = "ro-1", **changes: object) -> Plan:
    """Two stages without windows: one device, then all."""
    made = Plan(
        rollout=rollout,
        kind=ArtefactKind.APP,
        slot="app",
        artefact=NEW,
        back=OLD,
        stages=[
            Stage(state=RolloutState.CANARY, devices=1, soak_h=0.0),
            Stage(state=RolloutState.WAVE, share=1.0, soak_h=0.0),
        ],
        gates=Gates(needs_shadow=False),
    )
    return msgspec.structs.replace(made, **changes)


async def approved(fleet: Fleet, rollout: str, **changes: object) -> None:
    """Have the offline keys approve both artefacts everywhere for a month."""
    approval = Approval(
        rollout=rollout,
        issued_ms=fleet.now_ms,
        expires_ms=fleet.now_ms + 30 * 24 * HOUR_MS,
        artefacts=[OLD, NEW],
        sites=["*"],
    )
    body = msgspec.json.encode(msgspec.structs.replace(approval, **changes))
    sha256 = hashlib.sha256(body).hexdigest()
    blobs = keeping.release_blobs(fleet.services.config.state)
    blobs.append(sha256, "test", 0, body, len(body))
    blobs.finish(sha256, "test")
    async with fleet.db.transaction() as tx:
        await tx.run(
            "release_file_put", path=approval_path(rollout), sha256=sha256, bytes=len(body)
        )


async def started(fleet: Fleet, wanted: Plan, **changes: object) -> None:
    """Make a rollout, have everybody approve it, and start it."""
    async with fleet.db.transaction() as tx:
        await ordering.make(tx, wanted, actor="mia", note="", now_ms=fleet.now_ms)
        await ordering.approve(
            tx, wanted.rollout, actor="otto", two_people=True, now_ms=fleet.now_ms
        )
    await approved(fleet, wanted.rollout, **changes)
    await order(fleet, wanted.rollout, Order.START)


async def order(fleet: Fleet, rollout: str, what: Order, why: str = "") -> None:
    """Give an order and have it carried out."""
    asked = Asked(order=what, at_ms=fleet.now_ms, by="mia", why=why)
    async with fleet.db.transaction() as tx:
        await ordering.order(tx, rollout, asked, now_ms=fleet.now_ms)
    await turn(fleet)


async def turn(fleet: Fleet, times: int = 2) -> None:
    """Have central decide and sign; as often as it takes to go on by itself."""
    for _ in range(times):
        fleet.clock.advance(30)
        await jobs.turn(fleet.services, fleet.now_ms)


async def state(fleet: Fleet, rollout: str = "ro-1") -> RolloutState:
    """Where a rollout is."""
    async with fleet.db.transaction() as tx:
        row = await store.get(tx, rollout)
    assert row is not None
    return row.at


async def states(fleet: Fleet, rollout: str = "ro-1") -> dict[str, str | None]:
    """Where each device is."""
    rows = await fleet.rows(
        "SELECT device, state FROM rollout_devices WHERE rollout = %s ORDER BY device", rollout
    )
    return dict(rows)


async def boxes(
    fleet: Fleet, count: int, site: str = "shop", running: Artefact = OLD, slot: str = "app"
) -> list[Box]:
    """Devices that run the same, and have said so."""
    made = [
        Box(fleet, await fleet.device(site, name=f"{site}-{number}"), running, slot)
        for number in range(count)
    ]
    for box in made:
        await box.beat()
    return made


async def observed(fleet: Fleet, found: list[Box], hours: int) -> None:
    """Let hours pass in which every device's camera was observed, and have the ledger keep them."""
    began_ms = fleet.now_ms
    fleet.clock.advance(hours * 3600)
    through_ms = fleet.now_ms - fleet.now_ms % HOUR_MS
    days: dict[int, list[float]] = {}
    for hour_ms in range(began_ms - began_ms % HOUR_MS, through_ms, HOUR_MS):
        day_ms = hour_ms - hour_ms % (24 * HOUR_MS)
        days.setdefault(day_ms, [0.0] * 24)[(hour_ms - day_ms) // HOUR_MS] = float(HOUR_MS)
    async with fleet.db.transaction() as tx:
        for box in found:
            for day_ms, values in days.items():
                present = await packing.read(tx, box.name, day_ms, packing.COVERAGE)
                series = present.get(runs.OBSERVED, {("door", "", ""): np.zeros(24)})
                merged = np.maximum(series["door", "", ""], np.array(values))
                laid = {runs.OBSERVED: {("door", "", ""): merged}}
                await packing.write(tx, box.name, day_ms, packing.COVERAGE, laid)
            await tx.run("coverage_through_put", device=box.name, through_ms=through_ms)
            for hour_ms in range(began_ms - began_ms % HOUR_MS, through_ms, HOUR_MS):
                body = hour_body(hour_ms, box.latency_ms, box.brightness)
                of = {"device": box.name, "camera": "door", "start_ms": hour_ms}
                await tx.run("hour_put", **of, body=body)
    for box in found:
        await box.fake.sign_in()
        await box.beat()


def hour_body(hour_ms: int, latency_ms: float, brightness: float = 0.5) -> bytes:
    """A merged hour of a camera whose pictures took so long."""
    sketch = ExpHistogram()
    sketch.add(latency_ms, 3600)
    seen = LinearBins(20)
    seen.add(brightness, 60)
    made = Aggregate(
        camera="door",
        start_ms=hour_ms,
        end_ms=hour_ms + HOUR_MS,
        stage_ms={"total": sketch.to_wire()},
        quality={"brightness": seen.to_wire()},
        confidence={"person": Bins(counts=[0, 100, 900, 100])},
    )
    return rollups.encode(made)


async def go_on(fleet: Fleet, found: list[Box], hours: int = 0) -> None:
    """Have devices take up what they are assigned, then let observed hours pass."""
    await turn(fleet)
    for box in found:
        await box.look()
        if box.item is not None and box.running != box.item.artefact:
            await box.install()
    await turn(fleet, 1)
    for box in found:
        await box.beat()
    await turn(fleet, 1)
    if hours:
        await observed(fleet, found, hours)
    await turn(fleet)
