"""The devices of a simulated rollout, and the people who review: what they do in each step.

The rule: what a device is told it believes only where it is signed and approved, as a real one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from vedette.central.rollouts import jobs
from vedette.clock import ManualClock
from vedette.errors import VedetteError
from vedette.sim.fleet import content, performance
from vedette.sim.fleet.beside import Beside, Truths
from vedette.sim.fleet.device import Device
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.inside import Inside
from vedette.sim.fleet.performance import Performance
from vedette.sim.fleet.registering import digest_of
from vedette.sim.fleet.reviewing import Reviewer
from vedette.sim.fleet.roll import Member
from vedette.sim.fleet.scenario import STEP_S, Scenario
from vedette.sim.fleet.signing import Signers
from vedette.sim.fleet.simulate import Driven, Simulation
from vedette.sim.fleet.taking import Conduct, Taking
from vedette.sim.fleet.wish import BEGINS_H, NEW, OLD, ROLLOUT, SLOT, Wish, spells
from vedette.trust import dsse
from vedette.trust.tuf.approvals import covers
from vedette.wire import codec
from vedette.wire.enrol import Desired
from vedette.wire.envelope import ClockState
from vedette.wire.updates import ASSIGNMENT_TYPE, Approval, Assigned, Assignment

ZONES: Final = ("Europe/Oslo", "Europe/London", "Europe/Athens", "Atlantic/Reykjavik")
REVIEWERS: Final = ("vera", "rolf")
_REPORT_EVERY: Final = 9
"""Steps: 90 s, before a device counts as dark."""

_SLOWNESS: Final = (0.92, 1.0, 1.07, 0.97, 1.12, 1.03, 0.95)
"""Of devices against each other: no two machines are alike."""

_BEFORE_EVERY: Final = 60
"""In the night before, which only has to be known afterwards: each ten minutes."""

_TURN_EVERY: Final = 3
_REVIEW_EVERY: Final = 6
_HOUR_MS: Final = 3_600_000
_FAULTS: Final = (Conduct.SLOW, Conduct.WAKES_1970, Conduct.WRONG_WINDOW, Conduct.SILENT)
"""What a good rollout has to live with. A device that dies or goes back stops a small stage."""


class Fleet(Simulation):
    """The simulation of devices that take part."""

    def __init__(  # noqa: PLR0917 - what a simulation needs, and a folder for the signers
        self,
        inside: Inside,
        pool: Pool,
        members: Sequence[Member],
        wish: Wish,
        clock: ManualClock,
        folder: Path,
    ) -> None:
        scenario = Scenario(
            devices=wish.devices,
            cameras=1,
            per_site=wish.per_site,
            seed=wish.seed,
            hours=BEGINS_H + wish.max_h,
            events_per_h=0.0,
            faults=spells(wish),
        )
        super().__init__(inside, pool, members, scenario, clock)
        self.signers = Signers(folder, inside.services)
        self.old = self.signers.add(OLD, digest_of(OLD), seed=wish.seed)
        self.new = self.signers.add(NEW, digest_of(NEW), seed=wish.seed)
        self.models: dict[str, Performance] = {
            self.old.digest: performance.incumbent(self.old.digest),
            self.new.digest: performance.candidate(self.new.digest, wish.model),
        }
        self.approval: Approval | None = None
        self.touched = 0
        self.truths: Truths = {}
        self.reviewers = [Reviewer(name, self.truths, wish.seed) for name in REVIEWERS]
        self._inside_ = inside
        self._etags: dict[str, tuple[str, str]] = {}
        conducts = _conducts(wish)
        for number, one in enumerate(self.driven):
            zone = ZONES[number // wish.per_site % len(ZONES)]
            one.device.report_every = _BEFORE_EVERY
            one.device.taking = Taking(
                SLOT,
                self.models[self.old.digest],
                self.models,
                time_zone=zone,
                conduct=conducts[number],
                slowness=_SLOWNESS[number % len(_SLOWNESS)],
                begin=partial(self._beside, one.device),
            )

    def _beside(self, device: Device, item: Assigned, now_ms: int) -> Beside:
        """Return a candidate beside what a device runs."""
        rng = random.Random(f"{self.scenario.seed}{device.number}{item.attempt}")  # noqa: S311
        candidate = self.models[item.artefact.digest]
        cameras = content.camera_names(self.scenario.cameras)
        return Beside(device.name, item, candidate, cameras, self.truths, rng, now_ms)

    async def sleep(self, hours: float) -> None:
        """Have everything off for so long: what is compared is the same hours of two nights."""
        for one in self.driven:
            one.device.power_off()
        self._clock.advance(hours * 3600)
        await self._inside_.beat()
        for one in self.driven:
            one.device.now_ms = self.now_ms
            one.device.boot()
            one.device.report_every = _REPORT_EVERY
            one.contact_ms = None
        await self._inside_.work()

    async def live(self, hours: float) -> None:
        """Live on for so long."""
        for _ in range(round(hours * 3600 / STEP_S)):
            self._steps += 1
            await self._step(self._steps)

    _steps = 0

    async def _step(self, number: int) -> None:
        await super()._step(number)
        for one in self.driven:
            self._go_on(one.device)
        await asyncio.gather(*(self._look(one) for one in self.driven if self._is_news(one)))
        self.touched = max(self.touched, self.running()[self.models[self.new.digest].name])
        if number % _TURN_EVERY == 0:
            await jobs.turn(self._inside_.services, self.now_ms)
        if number % _REVIEW_EVERY == 0 and self._is_in_shadow():
            minutes = _REVIEW_EVERY * STEP_S / 60
            for person in self.reviewers:
                await person.work(self._inside_.services.db, ROLLOUT, self.now_ms, minutes)

    def _go_on(self, device: Device) -> None:
        taking = device.taking
        if taking is None:
            return
        before = taking.state
        said = taking.step(device.now_ms, is_timed=device.stamp.state is ClockState.TRUSTED)
        if said is not None:
            stamped = msgspec.structs.replace(said, at_ms=max(device.stamp.wall_ms, 0))
            device.book.put("update.v1", stamped, device.stamp)
        if taking.beside is not None and device.is_on:
            for schema, body in taking.beside.step(device.now_ms, taking.running):
                device.book.put(schema, body, device.stamp)
        if taking.has_died and device.is_on:
            device.power_off()
        if taking.conduct is Conduct.WAKES_1970 and before is None and taking.state is not None:
            device.boot(-(device.now_ms - 60_000))
        wrong = device.stamp.wall_ms < _HOUR_MS * 24
        if wrong and device.stamp.mono_ms > _HOUR_MS:
            device.set_clock(0)

    def _is_in_shadow(self) -> bool:
        takings = (one.device.taking for one in self.driven)
        return any(one is not None and one.beside is not None for one in takings)

    @property
    def reviewed(self) -> int:
        """Judgements so far."""
        return sum(one.judged for one in self.reviewers)

    @property
    def held_up(self) -> int:
        """Devices that do not behave, or were away for a while."""
        return sum(
            one.device.has_spells
            or (one.device.taking is not None and one.device.taking.conduct is not Conduct.NORMAL)
            for one in self.driven
        )

    def running(self) -> Counter[str]:
        """Return how many devices truly run what."""
        return Counter(
            one.device.taking.running.name for one in self.driven if one.device.taking is not None
        )

    # ---------------------------------------------------------------------------------- protocol

    def _settle(self, device: Device, status: int, data: bytes) -> None:
        super()._settle(device, status, data)
        if status == 200:
            _, seen = self._etags.get(device.name, ("", ""))
            self._etags[device.name] = (codec.decode_answer(data).desired_etag, seen)

    def _is_news(self, one: Driven) -> bool:
        told, seen = self._etags.get(one.device.name, ("", ""))
        return one.device.is_reachable and told != seen

    async def _look(self, one: Driven) -> None:
        """Fetch what should run, as a device does, and believe of it what is signed."""
        told, _ = self._etags[one.device.name]
        bearer = {"Authorization": f"Bearer {one.member.token}"} | one.member.headers
        status, data = await self._pool.ask("GET", "/v1/desired", headers=bearer)
        if status != 200:
            self.odd.append(f"{one.device.name}: desired: {status}")
            return
        self._etags[one.device.name] = (told, told)
        wanted = msgspec.json.decode(data, type=Desired)
        taking = one.device.taking
        if wanted.assignment is None or taking is None:
            return
        try:
            said = dsse.open_struct(
                wanted.assignment, Assignment, [self._central_key], payload_type=ASSIGNMENT_TYPE
            )
        except VedetteError as error:
            self.odd.append(f"{one.device.name}: assignment: {error}")
            return
        if said.device == one.device.name:
            site = one.member.site
            taking.hear(said, lambda item: self._refused(item, site), one.device.now_ms)

    def _refused(self, item: Assigned, site: str) -> str:
        """Return why the offline key does not let this artefact run here; empty: it does."""
        if self.approval is None or self.approval.rollout != item.rollout:
            return "no approval of the offline keys"
        return covers(self.approval, item.artefact, site, self.now_ms)


def _conducts(wish: Wish) -> list[Conduct]:
    rng = random.Random(wish.seed)  # noqa: S311 - repeatable chance, no secrets
    found = [Conduct.NORMAL] * wish.devices
    odd = [conduct for conduct in _FAULTS for _ in range(wish.faults)]
    for number, conduct in zip(rng.sample(range(wish.devices), len(odd)), odd, strict=True):
        found[number] = conduct
    return found
