"""Workers that decide and send alerts, killed at any moment: is anybody told twice, or never?

What lives here: a worker process (`python -m vedette.sim.alert_kills`), a receiver that remembers
what it got, a load of events, and the count at the end. What does not: ending other processes than
those that were started here.

The rule: what is counted is what a receiver saw and what the database says, never what a worker
said of itself. An id may come twice, because a worker died between sending and writing it down; it
must then carry the same words, so that a receiver that knows ids tells nobody twice.
"""

import asyncio
import hashlib
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import msgspec

from vedette.central.alerting import documents, jobs
from vedette.central.alerting.channels import dispatch, signing, store
from vedette.central.alerting.channels.facts import Secret, SharedSecret, Webhook
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import EventMatch, Ladder, LadderStep, Rule
from vedette.central.app import build_services
from vedette.central.services import Services
from vedette.central.settings import Alerts, CentralConfig
from vedette.central.store.db import Tx
from vedette.clock import Clock
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.messages import EventKind, EventReport

SITE: Final = "kills"
DEVICE: Final = "kills-1"
CHANNELS: Final = ("first", "second")
ESCALATE_S: Final = 2.0
_MAX_BYTES: Final = 1_000_000


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        repeated: Ids that came more than once: sent, and not written down before a kill.
        altered: Ids that came with different words: never.
        missing: Deliveries that no receiver saw: none once everything is settled.
        late_ms: Of each notice: how late it was decided.
    """

    incidents: int
    deliveries: int
    received: int
    ids: int
    repeated: int
    altered: list[str]
    missing: list[str]
    late_ms: list[int]


class Receiver:
    """Takes webhooks on loopback and remembers ids and digests of bodies. Thread: event loop's."""

    def __init__(self) -> None:
        self.got: dict[str, list[str]] = defaultdict(list)
        self.news = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    @property
    def count(self) -> int:
        """How many requests came."""
        return sum(map(len, self.got.values()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) is not None:
                headers = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (
                        line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]
                    )
                }
                size = min(int(headers.get("content-length", "0")), _MAX_BYTES)
                body = await reader.readexactly(size)
                self.got[headers.get("webhook-id", "")].append(hashlib.sha256(body).hexdigest())
                self.news.set()
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def services_for(conninfo: str, state: Path, port: int, clock: Clock | None = None) -> Services:
    """Return what a worker uses: its channels may connect to the receiver."""
    alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[port])
    config = CentralConfig(state_dir=str(state), alerts=alerts)
    return build_services(config, conninfo, SigningKey.generate(), clock)


async def prepare(services: Services, port: int) -> None:
    """Have a site with a device, a rule for its events, a ladder of two steps and its channels."""
    now_ms = services.now_ms()
    seal = Seal(services.config.state)
    rule = Rule(
        rule="kills",
        event=EventMatch(kinds=[EventKind.PRESENCE]),
        ladder="kills",
        resolve_s=86_400,
    )
    steps = [
        LadderStep(tell=[f"channel:{CHANNELS[0]}"]),
        LadderStep(after_s=ESCALATE_S, tell=[f"channel:{CHANNELS[1]}"]),
    ]
    async with services.db.transaction() as tx:
        await tx.connection.execute(
            b"INSERT INTO sites (site, name, created_ms) VALUES (%s, '', 0)", (SITE,)
        )
        await tx.run(
            "device_add", device=DEVICE, site=SITE, public_key="", hardware="", version="",
            now_ms=now_ms,
        )  # fmt: skip
        for channel in CHANNELS:
            settings = Webhook(
                url=f"http://127.0.0.1:{port}/{channel}", at_once=16, per_minute=6000
            )
            secret = Secret(shared=[SharedSecret(secret=signing.fresh("v1"), made_ms=0)])
            await store.put(tx, seal, channel, settings, secret, actor="sim", now_ms=now_ms)
        await documents.put(
            tx, "ladder", "kills", Ladder(ladder="kills", steps=steps), "sim", now_ms
        )
        await documents.put(tx, "rule", "kills", rule, "sim", now_ms)


async def happen(tx: Tx, number: int, now_ms: int) -> None:
    """Have an event of a camera of its own, as ingest writes it: one incident each."""
    report = EventReport(
        event=f"kill-{number}", camera=f"cam-{number}", kind=EventKind.PRESENCE, at_ms=now_ms
    )
    await tx.run(
        "event_add",
        device=DEVICE,
        event=report.event,
        site=SITE,
        camera=report.camera,
        kind=str(report.kind),
        at_ms=now_ms,
        received_ms=now_ms,
        late=False,
        dated=True,
        label="",
        where_name="",
        evidence="",
        body=codec.encode(report),
    )


async def start(conninfo: str, state: Path, port: int) -> asyncio.subprocess.Process:
    """Return a worker process; whoever starts it ends it."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vedette.sim.alert_kills", conninfo, str(state), str(port)
    )


async def tally(tx: Tx, receiver: Receiver) -> Tally:
    """Return what the database and the receiver say together."""
    [(incidents,)] = await (
        await tx.connection.execute(b"SELECT count(*) FROM incidents")
    ).fetchall()
    rows = await (
        await tx.connection.execute(b"SELECT delivery, made_ms - asked_ms FROM deliveries")
    ).fetchall()
    ids = {str(delivery) for delivery, _ in rows}
    return Tally(
        incidents=incidents,
        deliveries=len(rows),
        received=receiver.count,
        ids=len(receiver.got),
        repeated=sum(len(bodies) > 1 for bodies in receiver.got.values()),
        altered=sorted(one for one, bodies in receiver.got.items() if len(set(bodies)) > 1),
        missing=sorted(ids - set(receiver.got)),
        late_ms=sorted(int(late_ms) for _, late_ms in rows),
    )


async def work(conninfo: str, state: Path, port: int) -> None:
    """Decide and send until killed."""
    services = services_for(conninfo, state, port)
    await services.db.open()
    async with asyncio.TaskGroup() as both:
        both.create_task(jobs.run(services))
        both.create_task(dispatch.run(services))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
