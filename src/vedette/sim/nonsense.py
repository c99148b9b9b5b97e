"""A device that sends what no device should, to a real central, and counts what became of it.

An enrolled device of its own: its token is good, its messages are not. Each is refused, settled or
dated by central; none counts, and after each the lane goes on. What a well-formed but lying message
may not say in detail is `central.ingest.checks`; here is what reaches central over HTTP.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import psycopg
import zstandard

from vedette.clock import NS_PER_MS, Clock, wall_ms
from vedette.errors import CentralUnreachable, StoreError
from vedette.sim.checker import Difference
from vedette.sim.fleet import roll
from vedette.sim.fleet.http import Pool
from vedette.wire import codec, limits
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.messages import EventKind, EventReport
from vedette.wire.streams import Lane

BOOT: Final = "boot-nonsense"
_DAY_MS: Final = 86_400_000
_NEAR_MS: Final = 300_000
_LOST: Final = 0
_HEADERS: Final = {"Content-Type": codec.MSGPACK, "Content-Encoding": "zstd"}
_PLAIN: Final = {"Content-Type": codec.JSON}

_ENVELOPES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("a schema of a later version", {"schema": "event.v99"}),
    ("a schema that nobody knows", {"schema": "gossip.v1"}),
    ("a lane that is not its own", {"lane": Lane.LIVE}),
    ("no message", {"body": msgspec.Raw(b"\xa3abc")}),
    ("half a message", {"body": msgspec.Raw(b"\x82\xa5event\xa1x\xa6camera\xa1d")}),
    ("a text of twenty kilobytes", {"body": msgspec.Raw(codec.encode("x" * 20_000))}),  # pyright: ignore[reportArgumentType]
    ("a message of 31 days ago", {"t_wall_ms": -31 * _DAY_MS}),
)
"""What is wrong with an envelope, and its changed fields; `t_wall_ms` is counted from now."""

_DATED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("dated 1970", {"t_wall_ms": -(2**60), "clock_state": ClockState.UNTRUSTED}),
    ("dated in 400 days", {"t_wall_ms": 400 * _DAY_MS}),
)
"""Events with an impossible date, which central dates by its own clock."""


class Sender:
    """The device. Thread: one event loop."""

    def __init__(self, pool: Pool, member: roll.Member, clock: Clock) -> None:
        self.member = member
        self.good: set[str] = set()
        self.odd: list[Difference] = []
        self.sent = 0
        self._pool = pool
        self._clock = clock
        self._numbers = itertools.count(1)
        self._last = 0

    async def everything(self) -> None:
        """Send all of it; `good` are the events that central must have, and no others."""
        first = [self._event("first")]
        await self._settled("a good event", first)
        for what, changes in _ENVELOPES:
            bad = self._event("", **changes)
            good = self._event(f"after {what}")
            await self._settled(what, [bad, good], refused=1)
        for what, changes in _DATED:
            await self._settled(what, [self._event(what, **changes)])
        await self._settled("a request of before, again", first)
        for what, headers, body, wanted in self._bodies():
            status, data = await self._post(headers, body)
            if status not in wanted:
                text = f"{what}: answered {status} {data[:100]!r}, not {sorted(wanted)}"
                self.odd.append(Difference("nonsense", text))
        await self._settled("a good event in the end", [self._event("last")])

    def _bodies(self) -> Sequence[tuple[str, dict[str, str], bytes, set[int]]]:
        """Return requests that are refused whole: what, headers, body, status."""
        squeeze = zstandard.ZstdCompressor().compress
        whole = codec.encode_batch(self._batch([self._envelope(10_000, b"\xc0")]))
        many = [self._envelope(10_000 + n, b"\xc0") for n in range(limits.MAX_ENVELOPES + 1)]
        huge = [self._envelope(2**63, b"\xc0")]
        foreign = msgspec.structs.replace(self._batch([]), device="somebody-else")
        garbage = {400, 413}
        return (
            ("nothing", _HEADERS, b"", garbage),
            ("not zstd", _HEADERS, b"hello", garbage),
            ("half a body", _HEADERS, whole[: len(whole) // 2], garbage),
            ("not msgpack", _HEADERS, squeeze(b"\xc1" * 50), garbage),
            ("arrays 100,000 deep", _HEADERS, squeeze(b"\x91" * 100_000 + b"\xc0"), garbage),
            ("JSON 100,000 deep", _PLAIN, b"[" * 100_000, garbage),
            ("a bomb of 64 MB", _HEADERS, squeeze(bytes(64 << 20)), {413, 400}),
            # Refused while it arrives: the answer may be lost with the connection.
            ("a body over the limit", _HEADERS, bytes(limits.MAX_BODY_BYTES + 1), {413, _LOST}),
            ("too many envelopes", _HEADERS, codec.encode_batch(self._batch(many)), garbage),
            ("a number over 2^53", _HEADERS, codec.encode_batch(self._batch(huge)), garbage),
            ("another device's name", _HEADERS, codec.encode_batch(foreign), {403}),
        )

    async def _settled(self, what: str, envelopes: list[Envelope], *, refused: int = 0) -> None:
        """Send a batch of which so many are refused and all are settled."""
        status, data = await self._post(_HEADERS, codec.encode_batch(self._batch(envelopes)))
        if status != 200:
            text = f"{what}: the batch was answered {status} {data[:100]!r}"
            self.odd.append(Difference("nonsense", text))
            return
        answer = codec.decode_answer(data)
        through = max((a.acked_through for a in answer.acks if a.lane is Lane.ALERT), default=0)
        if len(answer.rejected) != refused:
            text = f"{what}: {len(answer.rejected)} refused, not {refused}"
            self.odd.append(Difference("nonsense", text))
        if through < self._last and not any(one.lane is not Lane.ALERT for one in envelopes):
            text = f"{what}: settled through {through} of {self._last}: the lane is blocked"
            self.odd.append(Difference("nonsense", text))

    async def _post(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.sent += 1
        bearer = {"Authorization": f"Bearer {self.member.token}"}
        for _ in range(2):  # a refusal may close the connection that the next request takes
            try:
                return await self._pool.ask("POST", "/v1/up", body, headers | bearer)
            except CentralUnreachable:
                continue
        return _LOST, b"the connection was closed"

    def _event(self, name: str, **changes: Any) -> Envelope:
        """Return the next envelope, with an event that must count where it has a name."""
        now_ms = wall_ms(self._clock.now_at())
        moved_ms = changes.pop("t_wall_ms", 0)
        at_ms = max(now_ms + moved_ms, 1_000)
        event = f"nonsense-{name.replace(' ', '-')}" if name else f"bad-{self._last}"
        if name:
            self.good.add(event)
        body = EventReport(event=event, camera="door", kind=EventKind.PRESENCE, at_ms=at_ms)
        made = msgspec.structs.replace(
            self._envelope(0, codec.encode(body)), t_wall_ms=at_ms, **changes
        )
        if made.lane is not Lane.ALERT:
            return msgspec.structs.replace(made, seq=1)
        self._last = next(self._numbers)
        return msgspec.structs.replace(made, seq=self._last)

    def _envelope(self, seq: int, body: bytes) -> Envelope:
        return Envelope(
            epoch=1,
            boot_id=BOOT,
            lane=Lane.ALERT,
            seq=seq,
            t_wall_ms=wall_ms(self._clock.now_at()),
            t_mono_ms=self._clock.mono_ns() // NS_PER_MS,
            clock_state=ClockState.TRUSTED,
            schema="event.v1",
            body=msgspec.Raw(body),
        )

    def _batch(self, envelopes: list[Envelope]) -> Batch:
        return Batch(
            device=self.member.name,
            boot_id=BOOT,
            sent_mono_ms=self._clock.mono_ns() // NS_PER_MS,
            sent_wall_ms=wall_ms(self._clock.now_at()),
            envelopes=envelopes,
        )


def send(
    url: str, claim_token: str, database_url: str, clock: Clock
) -> tuple[int, list[Difference]]:
    """Send everything as a new device; return how many requests, and what central did wrong.

    Raises:
        CentralUnreachable, NotAllowed: Central is not there, or does not take the device.
        StoreError: Its database does not answer.
    """

    async def main() -> Sender:
        async with Pool(url, 1) as pool:
            sender = Sender(pool, await roll.enrol(pool, claim_token, clock), clock)
            await sender.everything()
            return sender

    sender = asyncio.run(main())
    return sender.sent, [*sender.odd, *_effects(sender, database_url, clock)]


def _effects(sender: Sender, database_url: str, clock: Clock) -> list[Difference]:
    """Compare what counts with what should: the good events, once, with dates that can be."""
    try:
        with psycopg.connect(database_url, connect_timeout=10) as db:
            rows = db.execute(
                "SELECT event, at_ms FROM events WHERE device = %s", (sender.member.name,)
            ).fetchall()
            counted = db.execute(
                "SELECT count(*) FROM rollup_minute WHERE device = %s", (sender.member.name,)
            ).fetchone()
    except psycopg.Error as error:
        raise StoreError(f"cannot read central's database: {error}") from error
    found = [
        Difference("nonsense", f"{event}: dated {at_ms}")
        for event, at_ms in rows
        if abs(at_ms - wall_ms(clock.now_at())) > _NEAR_MS
    ]
    events = [event for event, _ in rows]
    if sorted(events) != sorted(sender.good):
        text = f"events are {sorted(events)}, not {sorted(sender.good)}"
        found.append(Difference("nonsense", text))
    if counted and counted[0]:
        found.append(Difference("nonsense", f"{counted[0]} minutes were counted"))
    return found
