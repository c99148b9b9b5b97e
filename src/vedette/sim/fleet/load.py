"""The load generator: many devices from one process, as fast as one core can make reports.

    async with Pool(url, 200) as pool:
        load = Load(pool, members, clock)
        result = await load.paced(period_s=30.0, duration_s=60.0)

`paced` keeps real time: each device has its phase in the period, and the latency of a report counts
from the moment it was due, not from when a slow central let it be sent. With `backlog_s` devices
come back after that long away and send what waited besides, as the real spool does: fresh first.
`closed` sends the next report as soon as one is acknowledged: the ceiling.

The content is real (health of every camera each period, one aggregate per camera and minute), made
from `template`. A report that fails is sent again with its numbers until it is acknowledged.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from vedette.clock import NS_PER_MS, NS_PER_S, Clock, wall_ms
from vedette.errors import VedetteError
from vedette.sim.fleet import template
from vedette.sim.fleet.content import MINUTE_MS
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.meter import Meter, Result, latency
from vedette.sim.fleet.roll import Member, sign_in
from vedette.sim.fleet.template import PERIOD_MS, Compressor, Template
from vedette.wire.envelope import UpAnswer

VARIANTS: Final = 8
CHUNK_REPORTS: Final = 20
"""Periods in one batch of a backlog: about what the device's limit of 256 kB holds."""

BACKFILL_BYTES_PER_S: Final = 128_000
_BACKOFF_S: Final = (1.0, 60.0)
_UP_MS: Final = 24 * 3_600_000  # every device has run for a day: nothing was made before its boot
_decoder: Final = msgspec.msgpack.Decoder(UpAnswer)


class Paused(msgspec.Struct, frozen=True):
    """Where a load stood.

    Attributes:
        devices: Of each its next number and last minute; of its backlog the next number, its time
            and how many chunks are left.
    """

    epoch: int
    devices: list[tuple[int, int, int, int, int]]


class _Device:
    """One device while it is driven: its numbers, its clock, its request under way."""

    __slots__ = (
        "backlog", "busy", "due_ns", "failures", "head", "live", "load", "member",
        "messages", "minute_ms", "name", "old_ms", "old_seq", "owed_ns", "pause_s", "payload",
        "reports", "sent_ns", "seq", "top_seq", "virtual_ms",
    )  # fmt: skip

    def __init__(self, load: "Load", member: Member) -> None:
        self.load = load
        self.member = member
        self.name = member.name.encode()
        self.seq = 1
        self.top_seq = 0
        self.minute_ms = 0
        self.virtual_ms = 0
        self.busy = False
        self.live = True
        self.owed_ns: deque[int] = deque()  # when reports were due that could not be sent
        self.due_ns = self.sent_ns = 0
        self.failures = 0
        self.payload = b""
        self.messages = self.reports = 0
        self.backlog = 0  # chunks that still wait
        self.old_seq = 1
        self.old_ms = 0
        self.pause_s = 0.0  # what central asked for, before the next chunk
        self.head = b""
        self.sign()

    def sign(self) -> None:
        """Take the member's token into every request."""
        forwarded = "".join(f"{k}: {v}\r\n" for k, v in self.member.headers.items())
        self.head = (
            f"POST /v1/up HTTP/1.1\r\nHost: {self.load.pool.host}\r\n"
            f"Authorization: Bearer {self.member.token}\r\n{forwarded}"
            "Content-Type: application/msgpack\r\nContent-Encoding: zstd\r\nContent-Length: "
        ).encode("latin-1")

    def answered(self, status: int, data: bytes) -> None:
        """Take the answer to the request under way."""
        self.load.answered(self, status, data)


class Load:
    """Drives devices. Thread: one event loop; one run at a time."""

    def __init__(
        self,
        pool: Pool,
        members: Sequence[Member],
        clock: Clock,
        *,
        cameras: int = 4,
        seed: int = 1,
    ) -> None:
        self.pool = pool
        self.meter = Meter()
        self._clock = clock
        self._cameras = cameras
        self._random = random.Random(seed)  # noqa: S311 - load, not secrets
        self._compress: Final = Compressor().compress
        self._devices = [_Device(self, member) for member in members]
        self._epoch = wall_ms(clock.now_at()) // 1000
        self._plain = self._templates([False])
        self._full = self._templates([True])
        self._chunks: list[Template] = []
        self._next: Callable[[_Device], None] | None = None
        self._pause_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._is_recalled = False

    def _templates(self, minutes: Sequence[bool]) -> list[Template]:
        return [template.make(self._random, self._cameras, minutes) for _ in range(VARIANTS)]

    # ------------------------------------------------------------------------------------- runs

    async def paced(
        self,
        *,
        period_s: float = 30.0,
        duration_s: float = 60.0,
        backlog_s: float = 0.0,
        until_drained: bool = False,
        stop: asyncio.Event | None = None,
    ) -> Result:
        """Return what came of `duration_s` in step with time; see the module.

        Args:
            period_s: Between the reports of one device.
            duration_s: How long; with `until_drained` at most so long.
            backlog_s: How long every device was away before.
            until_drained: End when every backlog was acknowledged.
            stop: Ends it early.
        """
        began = self._begin()
        self._next = self._continue_backlog if backlog_s else None
        if backlog_s:
            self._give_backlog(backlog_s)
        count, step_ns = len(self._devices), period_s * NS_PER_S / len(self._devices)
        start_ns, end_ns = began[0], began[0] + round(duration_s * NS_PER_S)
        turn = 0
        while not (stop and stop.is_set()):
            now_ns = self._clock.mono_ns()
            while (due_ns := start_ns + round(turn * step_ns)) <= now_ns and due_ns < end_ns:
                self._live_due(self._devices[turn % count], due_ns)
                turn += 1
            if now_ns >= end_ns or (until_drained and backlog_s and self._is_drained()):
                break
            await asyncio.sleep(min(max((due_ns - now_ns) / NS_PER_S, 0.0), 0.25))
        return await self._end(began)

    async def closed(
        self,
        *,
        duration_s: float = 10.0,
        concurrency: int = 64,
        hours_ago: int = 24,
        stop: asyncio.Event | None = None,
    ) -> Result:
        """Return what came of `duration_s` with `concurrency` requests always under way.

        Time on the devices begins `hours_ago` and goes as fast as it must: each report is a period
        after the one before, so central sees neither the future nor a minute twice. Who drives the
        same devices again begins at another hour: minutes that are said again are merged, which
        costs several times what a new one does.
        """
        began = self._begin()
        start_ms = (wall_ms(self._clock.now_at()) // MINUTE_MS - hours_ago * 60) * MINUTE_MS
        for number, device in enumerate(self._devices):
            device.virtual_ms = start_ms + number % 2 * PERIOD_MS  # half of them end a minute now
        idle = deque(self._devices)
        end_ns = began[0] + round(duration_s * NS_PER_S)

        def following(done: _Device) -> None:
            idle.append(done)
            if self._clock.mono_ns() < end_ns:
                self._send_virtual(idle.popleft())

        self._next = following
        for _ in range(min(concurrency, len(idle))):
            self._send_virtual(idle.popleft())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await (stop or asyncio.Event()).wait()
        return await self._end(began)

    # ---------------------------------------------------------------------------------- driving

    def _begin(self) -> tuple[int, float]:
        self.meter = Meter()
        self._stopping = False
        return self._clock.mono_ns(), time.process_time()

    async def _end(self, began: tuple[int, float]) -> Result:
        """Wait for what is under way, then add up."""
        seconds = (self._clock.mono_ns() - began[0]) / NS_PER_S
        self._stopping = True
        for _ in range(100):
            if not any(device.busy for device in self._devices):
                break
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()
        meter = self.meter
        return Result(
            seconds=seconds,
            devices=len(self._devices),
            cameras=self._cameras,
            requests=meter.requests,
            reports=meter.reports,
            messages=meter.messages,
            sent_mb=round(meter.sent_bytes / 1e6, 2),
            ack_ms=latency(meter.ack_ms),
            request_ms=latency(meter.request_ms),
            backlog_ms=latency(meter.backlog_ms),
            backlog_reports=meter.backlog_reports,
            backlog_left=self.backlog_reports,
            overdue=meter.overdue,
            errors=dict(meter.errors),
            connections=self.pool.connections,
            cpu_s=round(time.process_time() - began[1], 3),
        )

    def _live_due(self, device: _Device, due_ns: int) -> None:
        if device.busy:
            self.meter.overdue += device.live
            device.owed_ns.append(due_ns)
        else:
            self._send_live(device, due_ns)

    def _send_live(self, device: _Device, due_ns: int) -> None:
        now_ms = wall_ms(self._clock.now_at())
        minute_ms = (now_ms // MINUTE_MS - 1) * MINUTE_MS
        chosen = self._plain
        if minute_ms > device.minute_ms:
            device.minute_ms, chosen = minute_ms, self._full
        device.live = True
        device.due_ns = due_ns
        self._send(device, self._random.choice(chosen), now_ms, minute_ms, device.seq)
        device.seq += device.messages

    def _send_virtual(self, device: _Device) -> None:
        device.virtual_ms += PERIOD_MS
        at_ms = device.virtual_ms
        whole = at_ms % MINUTE_MS == 0
        chosen = self._random.choice(self._full if whole else self._plain)
        device.live = True
        device.due_ns = self._clock.mono_ns()
        self._send(device, chosen, at_ms, at_ms - MINUTE_MS, device.seq)
        device.seq += device.messages

    def _send(self, device: _Device, chosen: Template, wall: int, minute_ms: int, seq: int) -> None:
        mono_ms = self._clock.mono_ns() // NS_PER_MS + _UP_MS
        plain = chosen.fill(device.name, (seq, self._epoch, wall, minute_ms, mono_ms))
        body = self._compress(plain)
        device.payload = b"%b%d\r\n\r\n%b" % (device.head, len(body), body)
        device.messages, device.reports = chosen.messages, chosen.reports
        device.top_seq = seq + chosen.messages - 1
        self._transmit(device)

    def _transmit(self, device: _Device) -> None:
        device.busy = True
        device.sent_ns = self._clock.mono_ns()
        self.meter.requests += 1
        self.meter.sent_bytes += len(device.payload)
        self.pool.send(device.payload, device.answered)

    # ---------------------------------------------------------------------------------- answers

    def answered(self, device: _Device, status: int, data: bytes) -> None:
        """Settle what `device` sent, or have it sent again."""
        if status != 200:
            self._failed(device, status)
            return
        answer = _decoder.decode(data)
        if not device.live and answer.retry_after_s:
            device.pause_s = answer.retry_after_s
            if not _settles(answer, self._epoch, device.top_seq):
                self._take_back(device)
                return
        meter = self.meter
        if answer.rejected:
            meter.errors[f"rejected: {answer.rejected[0].reason}"[:80]] += len(answer.rejected)
        if not _settles(answer, self._epoch, device.top_seq):
            meter.errors["not acknowledged"] += 1
        now_ns = self._clock.mono_ns()
        device.failures = 0
        device.busy = False
        meter.reports += device.reports
        meter.messages += device.messages
        if device.live:
            meter.ack_ms.append((now_ns - device.due_ns) / NS_PER_MS)
            meter.request_ms.append((now_ns - device.sent_ns) / NS_PER_MS)
        else:
            device.backlog -= 1
            meter.backlog_reports += device.reports
            meter.backlog_ms.append((now_ns - device.sent_ns) / NS_PER_MS)
        if self._stopping:
            return
        if device.owed_ns:
            self._send_live(device, device.owed_ns.popleft())
        elif self._next is not None:
            self._next(device)

    def _failed(self, device: _Device, status: int) -> None:
        self.meter.errors[str(status) if status else "no answer"] += 1
        device.failures += 1
        if self._stopping:
            device.busy = False
            return
        if status == 401 and device.failures == 1:
            task = asyncio.get_running_loop().create_task(self._renew(device))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        first_s, most_s = _BACKOFF_S
        pause_s = min(most_s, first_s * 2 ** min(device.failures - 1, 10))
        asyncio.get_running_loop().call_later(
            pause_s * self._random.uniform(0.5, 1.0), self._again, device
        )

    def _again(self, device: _Device) -> None:
        if self._stopping:
            device.busy = False
        else:
            self._transmit(device)

    async def _renew(self, device: _Device) -> None:
        """Get a fresh token by the protocol, then send the same report again."""
        try:
            await sign_in(self.pool, device.member, self._clock)
        except VedetteError as error:
            self.meter.errors[f"no token: {error}"[:80]] += 1
            self._failed(device, 0)
            return
        old = device.head
        device.sign()
        device.payload = device.head + device.payload[len(old) :]
        self._again(device)

    # ---------------------------------------------------------------------------------- backlog

    def remember(self) -> Paused:
        """Return where every device stands, for `recall` in another process; nothing may run.

        What was not acknowledged counts as not sent: central passes over what it has.
        """
        devices: list[tuple[int, int, int, int, int]] = []
        for one in self._devices:
            messages = one.messages if one.busy else 0
            live, old = (messages, 0) if one.live else (0, messages)
            old_ms = one.old_ms - (CHUNK_REPORTS * PERIOD_MS if old else 0)
            devices.append((one.seq - live, one.minute_ms, one.old_seq - old, old_ms, one.backlog))
        return Paused(epoch=self._epoch, devices=devices)

    def recall(self, paused: Paused) -> None:
        """Have every device where it stood; the backlog of the next run is what was left."""
        self._epoch, self._is_recalled = paused.epoch, True
        for device, stood in zip(self._devices, paused.devices, strict=True):
            device.seq, device.minute_ms, device.old_seq, device.old_ms, device.backlog = stood

    @property
    def backlog_reports(self) -> int:
        """Reports of the backlog that still wait."""
        return sum(device.backlog for device in self._devices) * CHUNK_REPORTS

    def _give_backlog(self, backlog_s: float) -> None:
        """Have `backlog_s` of reports wait on every device, under the numbers before its next."""
        each = CHUNK_REPORTS * PERIOD_MS
        chunks = max(1, round(backlog_s * 1000 / each))
        self._chunks = self._templates([n % 2 == 1 for n in range(CHUNK_REPORTS)])
        now_ms = wall_ms(self._clock.now_at()) // MINUTE_MS * MINUTE_MS - MINUTE_MS
        self._pause_ns = round(len(self._chunks[0].plain) / BACKFILL_BYTES_PER_S * NS_PER_S)
        for device in self._devices:
            if not self._is_recalled:
                device.backlog = chunks
                device.old_seq = device.seq
                device.old_ms = now_ms - chunks * each
                device.seq += chunks * self._chunks[0].messages
                device.minute_ms = now_ms - MINUTE_MS
            asyncio.get_running_loop().call_later(
                self._random.uniform(0.0, self._pause_ns / NS_PER_S), self._send_backlog, device
            )

    def _take_back(self, device: _Device) -> None:
        """Keep a chunk that central has no room for yet; it goes when central said."""
        self.meter.errors["backlog put off"] += 1
        device.old_ms -= CHUNK_REPORTS * PERIOD_MS
        device.old_seq -= device.messages
        device.busy = False
        if device.owed_ns:
            self._send_live(device, device.owed_ns.popleft())
        elif not self._stopping:
            self._continue_backlog(device)

    def _continue_backlog(self, device: _Device) -> None:
        if device.backlog:
            pause_s = max(self._pause_ns / NS_PER_S, device.pause_s)
            pause_s *= self._random.uniform(0.9, 1.1)
            device.pause_s = 0.0
            asyncio.get_running_loop().call_later(pause_s, self._send_backlog, device)

    def _send_backlog(self, device: _Device) -> None:
        """Send the oldest that waits, unless something is under way: its answer leads here."""
        if device.busy or not device.backlog or self._stopping:
            return
        device.old_ms += CHUNK_REPORTS * PERIOD_MS
        chosen = self._random.choice(self._chunks)
        device.live = False
        self._send(device, chosen, device.old_ms, device.old_ms - MINUTE_MS, device.old_seq)
        device.old_seq += chosen.messages

    def _is_drained(self) -> bool:
        return not any(device.backlog for device in self._devices)


def _settles(answer: UpAnswer, epoch: int, seq: int) -> bool:
    for ack in answer.acks:
        if ack.epoch == epoch:
            if ack.acked_through >= seq:
                return True
            return any(low <= seq <= high for low, high in ack.have)
    return False
