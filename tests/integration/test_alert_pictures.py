"""Pictures on notices: asked for by a ladder's step, sent on as the site's policy lets them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.integration.alerting_receivers import answer
from tests.integration.conftest import FakeDevice
from tests.integration.test_channels_mail import Box, Server, serving
from tests.integration.test_clips import facts, named, offer, open_request, put
from tests.integration.test_take_links import RULE, World, world
from vedette.central import accounts
from vedette.central.alerting import asking, documents, picturing
from vedette.central.alerting.channels import store
from vedette.central.alerting.channels.facts import Apprise, Mail, Secret
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import Contact, Ladder, LadderStep
from vedette.trust.keys import to_text
from vedette.wire.messages import EventReport
from vedette.wire.signed import PixelPolicy, Signed, SitePolicy

pytestmark = pytest.mark.anyio
__all__ = ["world"]

POSTER = b"\xff\xd8\xff" + b"a street at night " * 50
LADDER = Ladder(
    ladder="guards",
    steps=[
        LadderStep(tell=["person:cleo"], ask_clip=True),
        LadderStep(after_s=300, tell=["person:cleo", "person:ben", "channel:phones"]),
    ],
    repeat_s=600,
    rounds=9,
)


class Mails(Box):
    """Takes mail, but no large one while it is told so."""

    refuses_large = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take a message."""
        if self.refuses_large and b"image/jpeg" in envelope.content:
            return "552 5.3.4 message too big"
        return await super().handle_DATA(server, session, envelope)

    async def wait_for(self, count: int) -> Any:
        """Wait for so many messages; return the newest."""
        async with asyncio.timeout(20):
            while len(self.taken) < count:  # noqa: ASYNC110 - a server of another library
                await asyncio.sleep(0.02)
        return self.taken[count - 1][1]


async def let(world: World, pixels: PixelPolicy) -> None:
    """Have the site's policy say what may leave."""
    policy = msgspec.json.encode(SitePolicy(site="shop", version=1, issued_ms=0, pixels=pixels))
    signed = Signed(payload_type="t", payload=to_text(policy), signatures=[])
    async with world.db.transaction() as tx:
        await tx.connection.execute(
            b"UPDATE sites SET policy = %s, policy_version = 1", (msgspec.json.encode(signed),)
        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A mail server inside the network."""
    async with serving(None, box=Mails()) as made:
        yield made


@pytest.fixture
def ports(server: Server) -> list[int]:
    """Central may use its port."""
    return [server.port]


async def reach(world: World, server: Server) -> None:
    """Have cleo told by mail, and a service that Apprise knows."""
    seal, now_ms = Seal(world.services.config.state), world.now_ms
    mail = Mail(host="127.0.0.1", port=server.port, tls="none", sender="v@example.com")
    phones = Secret(url=f"ntfy://127.0.0.1:{world.receiver.port}/topic")
    async with world.db.transaction() as tx:
        await store.put(tx, seal, "mail", mail, Secret(), actor="t", now_ms=0)
        await store.put(tx, seal, "phones", Apprise(service="ntfy"), phones, actor="t", now_ms=0)
        await accounts.put_user(tx, "cleo", "operator", None, now_ms)
        contact = [Contact(channel="mail", address="cleo@example.com")]
        await documents.put(tx, "contacts", "cleo", contact, "t", now_ms)
        await documents.put(tx, "ladder", "guards", LADDER, "t", now_ms)


async def seen_at(world: World, device: FakeDevice, camera: str) -> None:
    """Have somebody seen."""
    report = EventReport(
        event=f"ev-{camera}", camera=camera, kind=RULE.event.kinds[0], at_ms=world.now_ms,
        label="person", evidence="evd-one" if camera == "door" else "evd-two",
    )  # fmt: skip
    await device.up(device.envelope("event.v1", report))


async def pictures(world: World) -> list[str]:
    """Return what timelines say of pictures."""
    rows = await world.rows(
        "SELECT text FROM incident_history WHERE kind = 'picture' ORDER BY number"
    )
    return [text for (text,) in rows]


async def until(world: World, count: int) -> list[str]:
    """Return those lines once there are so many; central's own loop writes them."""
    async with asyncio.timeout(20):
        while len(found := await pictures(world)) < count:
            world.services.bulletin.publish(asking.NOW)
            await asyncio.sleep(0.05)
    return found


async def sent(world: World, device: FakeDevice, form: str, files: dict[str, bytes]) -> None:
    """Have a device send the clip that it is asked for."""
    request = (await open_request(device))["request"]
    named_files = [named(name, data) for name, data in files.items()]
    assert (await offer(device, request, named_files, form)).status_code == 200
    for file in named_files:
        assert (await put(device, file, 0, files[file.name])).status_code == 200
    assert (await until(world, 2))[1] == "the clip came"


REFUSED = "SELECT 1 FROM deliveries WHERE said LIKE '%without the%' AND state = 'waiting'"
SENT = "SELECT 1 FROM deliveries WHERE state = 'sent' OFFSET "


async def test_a_picture_follows_as_the_policy_lets_it_and_no_notice_waits(
    world: World, server: Server
) -> None:
    """Nothing where it stays; asked for at the first step, sent with the next; refused: without."""
    world.receiver.answers = [answer(200, "Content-Type: application/json\r\n", b"{}")]
    mails = server.box
    assert isinstance(mails, Mails)
    await reach(world, server)
    device = await world.device(name="edge-1")
    await seen_at(world, device, "yard")  # no policy: nothing leaves
    first = await mails.wait_for(1)
    await world.until(SENT + "0")
    assert picturing.STAYS in first.get_body(("plain",)).get_content()
    assert list(first.iter_attachments()) == []
    world.clock.advance(16)
    assert await until(world, 1) == [picturing.STAYS]
    assert await world.rows("SELECT 1 FROM clips") == []
    async with world.db.transaction() as tx:  # that one is over
        await tx.connection.execute(b"DELETE FROM incidents")
    await let(world, PixelPolicy(evidence_leaves=True, evidence_blurred=False))
    await seen_at(world, device, "door")
    second = await mails.wait_for(2)
    await world.until(SENT + "1")
    said = second.get_body(("plain",)).get_content()
    assert " ".join(picturing.COMING.split()) in " ".join(said.split())
    assert "/take/" in said
    world.clock.advance(16)
    assert await until(world, 1) == ["the device is asked for the clip"]
    files = {"clip.mp4": b"\0\0\0\x18ftypisom", "evidence.json": facts(world.now_ms),
             "poster.jpg": POSTER}  # fmt: skip
    await sent(world, device, "clip", files)
    mails.refuses_large = True
    world.clock.advance(300)
    await world.until(SENT + "3")  # two mails, ben, and the phones
    await world.until(REFUSED)
    world.clock.advance(10)
    await world.until(SENT + "4")
    third = await mails.wait_for(3)  # refused with its picture, it came without
    assert list(third.iter_attachments()) == []
    mails.refuses_large = False
    world.clock.advance(300)
    fourth = await mails.wait_for(4)
    (attached,) = fourth.iter_attachments()
    assert (attached.get_content_type(), attached.get_content()) == ("image/jpeg", POSTER)
    bodies = {got.path: got.body for got in world.receiver.got}
    ben = msgspec.json.decode(bodies.pop("/phone"))["data"]
    assert ben["picture_url"].endswith("/v1/events/ev-door/clip/poster.jpg")
    assert POSTER not in bodies.pop("/phone", b"")
    assert any(POSTER in body for body in bodies.values())
    [(count,)] = await world.rows("SELECT count(*) FROM audit_log WHERE action = 'clip.send'")
    assert count == 3


async def test_where_only_blurred_clips_leave_their_own_still_goes_with_notices(
    world: World, server: Server
) -> None:
    """By mail, as a link and in the audit log under its own name; not once the site says no."""
    mails = server.box
    assert isinstance(mails, Mails)
    world.receiver.answers = [answer(200, "Content-Type: application/json\r\n", b"{}")]
    await reach(world, server)
    device = await world.device(name="edge-1")
    await let(world, PixelPolicy(evidence_leaves=True))
    await seen_at(world, device, "door")
    await mails.wait_for(1)
    await world.until(SENT + "0")
    world.clock.advance(16)
    assert await until(world, 1) == ["the device is asked for the clip"]
    files = {"blurred.mp4": b"\0\0\0\x18ftypisom", "evidence.json": facts(world.now_ms),
             "blurred.jpg": POSTER}  # fmt: skip
    await sent(world, device, "blurred", files)
    world.clock.advance(300)
    second = await mails.wait_for(2)
    await world.until(SENT + "3")
    (attached,) = second.iter_attachments()
    assert (attached.get_content_type(), attached.get_content()) == ("image/jpeg", POSTER)
    bodies = [got.body for got in world.receiver.got if got.path == "/phone"]
    ben = msgspec.json.decode(bodies[-1])["data"]
    assert ben["picture_url"].endswith("/v1/events/ev-door/clip/blurred.jpg")
    written = await world.rows("SELECT detail FROM audit_log WHERE action = 'clip.send'")
    assert {msgspec.json.decode(detail)["file"] for (detail,) in written} == {"blurred.jpg"}
    await let(world, PixelPolicy(evidence_leaves=False))
    world.clock.advance(300)
    third = await mails.wait_for(3)
    assert list(third.iter_attachments()) == []
    assert picturing.STAYS in third.get_body(("plain",)).get_content()
