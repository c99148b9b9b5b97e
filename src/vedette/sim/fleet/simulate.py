"""Hours of a fleet in seconds: simulated devices, real HTTP, real ingest, real PostgreSQL.

Time moves in steps. In each, every device lives through it, those that are due send their requests
at once over the pool, and central, whose clock is the same one, does what it does by itself
(liveness each step, merging each ten minutes). Nothing waits for real time.

What is not simulated: latency (an answer comes within its step), TCP's own faults, TLS, and what
central's loops would do between two steps. The limits are said in docs/simulate.md.
"""

import asyncio
import copy
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.clock import ManualClock, wall_ms
from vedette.errors import VedetteError
from vedette.sim.fleet.book import Kept, envelope
from vedette.sim.fleet.device import Device
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.inside import Inside
from vedette.sim.fleet.roll import Member, sign_in
from vedette.sim.fleet.scenario import STEP_S, Kind, Scenario, spells
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, to_text
from vedette.wire import codec
from vedette.wire.enrol import TimeRequest, TimeStatement
from vedette.wire.envelope import Batch, Envelope
from vedette.wire.signed import TIME_TYPE, Signed

TAIL_MIN: Final = 6
MAX_TAIL_MIN: Final = 120
WORK_EVERY: Final = 60
_HEADERS: Final = {"Content-Type": codec.MSGPACK, "Content-Encoding": "zstd"}


class Driven(msgspec.Struct):
    """A device, its identity, and what central must know of its silence.

    Attributes:
        contact_ms: When central last took something from it.
        dark: When central said that it is dark, and its last contact then.
        replayable: A request that central has taken before.
    """

    device: Device
    member: Member
    contact_ms: int | None = None
    dark: list[tuple[int, int | None]] = []
    replayable: bytes = b""
    is_twin: bool = False


class Simulation:
    """One run. Thread: one event loop."""

    def __init__(
        self,
        inside: Inside,
        pool: Pool,
        members: Sequence[Member],
        scenario: Scenario,
        clock: ManualClock,
    ) -> None:
        """Prepare; `clock` is central's, at the start of a minute."""
        self.scenario: Final = scenario
        self.start_ms: Final = wall_ms(clock.now_at())
        self._inside: Final = inside
        self._pool: Final = pool
        self._clock: Final = clock
        self._random: Final = random.Random(scenario.seed)  # noqa: S311 - load, not secrets
        self._central_key: Final[PublicKey] = inside.services.online_key.public
        drawn = spells(scenario)
        self.driven: list[Driven] = [
            Driven(Device(n, member.name, scenario, drawn[n], self.start_ms), member)
            for n, member in enumerate(members)
        ]
        self.twins: list[Driven] = []
        self.cloned: set[str] = set()
        self.wrongly_dark: list[str] = []
        self.late_dark: list[str] = []
        self.requests = 0
        self.odd: list[str] = []

    @property
    def now_ms(self) -> int:
        """Simulated time."""
        return wall_ms(self._clock.now_at())

    async def run(self, watch: Callable[["Simulation"], None] | None = None) -> None:
        """Live through the scenario, then on until every device has sent everything."""
        steps = round(self.scenario.hours * 3600 / STEP_S)
        for step in range(1, steps + 1):
            await self._step(step)
            if watch and step % 60 == 0:
                watch(self)
        per_min = 60 // STEP_S
        for step in range(steps + 1, steps + MAX_TAIL_MIN * per_min):
            await self._step(step)
            if step >= steps + TAIL_MIN * per_min and not any(
                one.device.book.waiting for one in self.driven if not one.device.refused
            ):
                return

    async def _step(self, number: int) -> None:
        self._clock.advance(STEP_S)
        now_ms = self.now_ms
        everyone = [*self.driven, *self.twins]
        for one in everyone:
            one.device.advance(now_ms)
            if one.device.is_due:
                one.device.report()
        self._clone()
        sending = [one for one in [*self.driven, *self.twins] if self._sends(one)]
        await asyncio.gather(*(self._send(one) for one in sending))
        await self._beat(now_ms)
        if number % WORK_EVERY == 0:
            await self._inside.work()

    def _sends(self, one: Driven) -> bool:
        device = one.device
        # A backlog is drained between reports too, as the real uplink does.
        return device.is_reachable and (device.is_due or len(device.book.waiting) > 20)

    def _clone(self) -> None:
        for one in self.driven:
            spell = one.device.active(Kind.CLONE)
            if spell and one.device.name not in self.cloned:
                self.cloned.add(one.device.name)
                twin = Driven(copy.deepcopy(one.device), one.member, is_twin=True)
                self.twins.append(twin)
        lasting = [one for one in self.twins if one.device.active(Kind.CLONE)]
        self.twins = lasting

    # ---------------------------------------------------------------------------------- central

    async def _beat(self, now_ms: int) -> None:
        """Let central look for silence, and compare with what we know of it."""
        dark = set(await self._inside.beat())
        for one in self.driven:
            if one.device.name in dark:
                one.dark.append((now_ms, one.contact_ms))
                if one.contact_ms is None or now_ms - one.contact_ms < 105_000:
                    self.wrongly_dark.append(f"{one.device.name} at {now_ms}")
            elif one.contact_ms is not None and now_ms - one.contact_ms > 125_000:
                known = one.dark and one.dark[-1][1] == one.contact_ms
                if not known:
                    self.late_dark.append(f"{one.device.name} at {now_ms}")

    async def _send(self, one: Driven) -> None:
        device = one.device
        if device.wants_time:
            await self._ask_time(device)
        chosen = device.book.pick(device.stamp)
        body = _encoded(device, [envelope(kept) for kept in chosen])
        if device.strikes(Kind.TRUNCATE):
            status, _ = await self._up(one, body[: len(body) // 2])
            if status != 400:
                self.odd.append(f"a truncated body was answered {status}")
            return
        if device.strikes(Kind.REPLAY) and one.replayable:
            await self._up(one, one.replayable)
        if device.strikes(Kind.REORDER) and len(chosen) > 1:
            await self._reordered(one, chosen)
            return
        copies = 2 if device.strikes(Kind.DUPLICATE) else 1
        answers = await asyncio.gather(*(self._up(one, body) for _ in range(copies)))
        if not device.strikes(Kind.LOSE_ANSWER):
            for status, data in answers:
                self._settle(device, status, data)
        one.replayable = body

    async def _reordered(self, one: Driven, chosen: list[Kept]) -> None:
        """Send the second half first, then the first, and hear both answers."""
        half = len(chosen) // 2
        for part in (chosen[half:], chosen[:half]):
            body = _encoded(one.device, [envelope(kept) for kept in part])
            status, data = await self._up(one, body)
            self._settle(one.device, status, data)

    def _settle(self, device: Device, status: int, data: bytes) -> None:
        if status == 403:
            device.refused = True
        if status != 200:
            return
        answer = codec.decode_answer(data)
        for refused in answer.rejected:
            self.odd.append(f"{device.name}: {refused.lane}/{refused.seq} {refused.reason}")
        if not device.book.settle(answer):
            device.book.renumber(device.book.epoch + self._random.randint(1, 1_000))

    async def _up(self, one: Driven, body: bytes) -> tuple[int, bytes]:
        status, data = await self._post(one.member, body)
        if status == 401:
            await sign_in(self._pool, one.member, self._clock)
            status, data = await self._post(one.member, body)
        if status == 200:
            self._contact(one)
        elif status not in {400, 403}:
            self.odd.append(f"{one.device.name}: {status} {data[:100]!r}")
        return status, data

    async def _post(self, member: Member, body: bytes) -> tuple[int, bytes]:
        self.requests += 1
        bearer = {"Authorization": f"Bearer {member.token}"}
        return await self._pool.ask("POST", "/v1/up", body, _HEADERS | bearer | member.headers)

    def _contact(self, one: Driven) -> None:
        for other in self.driven:  # a twin speaks for its original
            if other is one or (one.is_twin and other.device.name == one.device.name):
                other.contact_ms = self.now_ms

    async def _ask_time(self, device: Device) -> None:
        """Learn the time from central's signed answer over a nonce of ours."""
        nonce = to_text(self._random.randbytes(24))
        status, data = await self._pool.ask(
            "POST",
            "/v1/time",
            msgspec.json.encode(TimeRequest(nonce=nonce)),
            {"Content-Type": codec.JSON, "X-Forwarded-For": f"10.9.0.{device.number % 250}"},
        )
        try:
            if status != 200:
                return
            said = dsse.open_struct(
                msgspec.json.decode(data, type=Signed),
                TimeStatement,
                [self._central_key],
                payload_type=TIME_TYPE,
            )
        except (VedetteError, msgspec.DecodeError) as error:
            self.odd.append(f"{device.name}: time: {error}")
            return
        if said.nonce == nonce and said.time_ms == device.now_ms:
            device.learn_time()
        else:
            self.odd.append(f"{device.name}: central says {said.time_ms}, it is {device.now_ms}")


def _encoded(device: Device, envelopes: list[Envelope]) -> bytes:
    at = device.stamp
    batch = Batch(
        device=device.name,
        boot_id=at.boot_id,
        sent_mono_ms=at.mono_ms,
        sent_wall_ms=at.wall_ms,
        envelopes=envelopes,
    )
    return codec.encode_batch(batch)
