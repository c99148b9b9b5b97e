"""Exports into a real S3 server on loopback (moto): whole, refused, broken off, killed midway."""

import asyncio
import hashlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.cloud_event_rules import check_cloud_event
from tests.integration.alerting_receivers import Got, answer, receiving
from tests.integration.s3_server import BUCKET, Keys, S3Server, s3_server
from tests.integration.test_channels import KILLED
from tests.integration.test_clips import House, facts, open_request, video
from tests.integration.test_clips import send as send_clip
from vedette.central.alerting.channels import egress, managing, outbox, pinned
from vedette.central.alerting.channels.checking import NewChannel
from vedette.central.alerting.channels.dispatch import Dispatcher
from vedette.central.alerting.channels.facts import (
    CHANGED,
    CLOUD_EVENT,
    PACKAGE,
    S3,
    Channel,
    Delivery,
    End,
    Outcome,
    Secret,
)
from vedette.central.alerting.channels.outbox import Parcel
from vedette.central.alerting.channels.s3 import S3Sender
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.channels.sending import PUSH_LEASE_MS
from vedette.central.app import Central, build_services
from vedette.central.clips.blobs import Blobs
from vedette.central.exporting import feeding
from vedette.central.services import Services
from vedette.central.settings import Alerts, CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock, SystemClock, wall_ms
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio
__all__ = ["video"]
FOLDER = "shop/2026-03-02/box-1/ev-1"
EVENT = b'{"specversion":"1.0","id":"evd-1.clip","source":"/sites/shop/devices/box-1","type":"t"}'
FILES = {"clip.mp4": b"\0video" * 500_000, "poster.jpg": b"\xff\xd8poster", "evidence.json": b"{}"}
WHOLE = {f"{FOLDER}/evd-1.clip/{name}": body for name, body in FILES.items()} | {
    f"{FOLDER}/evd-1.clip.json": EVENT
}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """A server with a bucket, for the tests of this module; each takes a prefix of its own."""
    with s3_server() as made:
        yield made


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Central's clip store, with the files."""
    return stored(Blobs(tmp_path / "blobs"))


def stored(blobs: Blobs) -> Blobs:
    """Have the files of the clip in a store."""
    for body in FILES.values():
        name = hashlib.sha256(body).hexdigest()
        blobs.append(name, "box-1", 0, body, len(body))
        blobs.finish(name, "box-1")
    return blobs


def package(folder: str = FOLDER, event: bytes = EVENT) -> bytes:
    """What an export puts into the outbox for a bucket."""
    files = [
        {
            "name": name, "sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body),
            "media": "video/mp4", "url": "",
        }
        for name, body in FILES.items()
    ]  # fmt: skip
    made = {"folder": folder, "device": "box-1", "evidence": "evd-1", "files": files}
    return msgspec.json.encode(made | {"cloud_event": msgspec.Raw(event)})


def channel(server: S3Server, keys: Keys | None = None, **settings: Any) -> Channel:
    """A channel to the bucket, by a key that may do everything."""
    keys = keys or server.keys["all"]
    fields: dict[str, Any] = {"endpoint": server.url, "bucket": BUCKET} | settings
    secret = Secret(key_id=keys.key_id, password=keys.secret)
    return Channel(channel="bucket", settings=S3(**fields), secret=secret)


def delivery(**changes: Any) -> Delivery:
    """A delivery; a message to test the channel where nothing else is said."""
    made = Delivery(
        delivery="dl-1", key="k", channel="bucket", address="", person="", incident="",
        kind="test", media="", subject="", body=b"{}", tries=1, made_ms=0, asked_ms=0,
        until_ms=0, leased_ms=0, lease="",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


CLIP = delivery(kind="clip", media=PACKAGE, body=package())


async def send(there: Channel, what: Delivery, blobs: Blobs, *ports: int) -> Outcome:
    """Send once, where 127.0.0.1 may be connected to."""
    sender = S3Sender(egress.rules(["127.0.0.1/32"], ports), blobs)
    return await sender.send(there, what, wall_ms(SystemClock().now_at()))


def objects(server: S3Server, prefix: str) -> dict[str, bytes]:
    """Everything below a prefix, without it, as another client finds it."""
    found = server.objects()
    return {
        key.removeprefix(f"{prefix}/"): body
        for key, body in found.items()
        if key.startswith(f"{prefix}/")
    }


async def test_the_test_button_says_what_is_wrong(server: S3Server, blobs: Blobs) -> None:
    """A wrong key, no right, no bucket: each in words; a good one leaves nothing behind."""
    known = server.keys
    wrong = Keys(known["all"].key_id, "x" * 40)
    tried = {
        "well": (known["all"], {}, "wrote vedette-test-dl-1.txt and removed it"),
        "only-put": (known["put"], {}, "not removed: .* may not remove from bucket archive"),
        "no-right": (known["none"], {}, "may not write to bucket archive: it needs s3:PutObject"),
        "secret": (wrong, {}, "the secret of the access key is wrong"),
        "unknown": (Keys("AKIANOBODY", "x" * 40), {}, "does not know this access key"),
        "bucket": (known["all"], {"bucket": "nowhere"}, "there is no bucket nowhere"),
    }  # fmt: skip
    for prefix, (keys, settings, said) in tried.items():
        there = channel(server, keys, prefix=prefix, **settings)
        outcome = await send(there, delivery(), blobs, server.port)
        assert_said(outcome, said)
        well = prefix in {"well", "only-put"}
        assert outcome.end is (End.SENT if well else End.AGAIN), prefix
        assert outcome.is_channels is not well, "a person can put it right: nothing is given up"
        assert keys.secret not in outcome.said
    assert objects(server, "well") == {}
    assert list(objects(server, "only-put")) == ["vedette-test-dl-1.txt"]


def assert_said(outcome: Outcome, pattern: str) -> None:
    """Have an outcome said in such words."""
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(outcome.said)


async def test_names_of_any_kind_stay_apart_and_inside_the_prefix(
    server: S3Server, blobs: Blobs
) -> None:
    """A folder that climbs, spaces, umlauts, signs: each signed right, none outside its place."""
    folder = "../tür & co+100%/.././a=b~c/e'v(1)"
    event = EVENT.replace(b"evd-1.clip", b"../x?y#z")
    wanted = delivery(kind="clip", media=PACKAGE, body=package(folder, event))
    outcome = await send(channel(server, prefix="odd"), wanted, blobs, server.port)
    assert outcome.end is End.SENT, outcome.said
    found = objects(server, "odd")
    assert sorted(found.values()) == sorted([*FILES.values(), event])
    (marker,) = [key for key, body in found.items() if body == event]
    assert marker == (
        "%2E%2E/t%C3%BCr%20%26%20co%2B100%25/%2E%2E/%2E/a%3Db~c/e%27v%281%29/..%2Fx%3Fy%23z.json"
    )
    alone = delivery(kind="event", media=CLOUD_EVENT, body=EVENT)
    outcome = await send(channel(server, prefix="alone"), alone, blobs, server.port)
    assert outcome.end is End.SENT, outcome.said
    assert objects(server, "alone") == {"sites/shop/devices/box-1/evd-1.clip.json": EVENT}


async def test_what_is_not_what_the_device_sent_becomes_no_object(
    server: S3Server, blobs: Blobs
) -> None:
    """A file that changed on central's disk, or is gone: no such object, and never a marker."""
    place = blobs.path(hashlib.sha256(FILES["clip.mp4"]).hexdigest())
    place.write_bytes(FILES["clip.mp4"][:-1] + b"X")
    outcome = await send(channel(server, prefix="changed"), CLIP, blobs, server.port)
    assert_said(outcome, "clip.mp4 of the clip is not what came from the device")
    assert outcome.end is End.REFUSED
    place.unlink()
    outcome = await send(channel(server, prefix="changed"), CLIP, blobs, server.port)
    assert_said(outcome, "clip.mp4 of the clip is not here any more")
    assert outcome.end is End.REFUSED
    assert objects(server, "changed") == {}
    for body in (b"[]", b"{", package(""), b'{"folder":"a","cloud_event":{"id":1}}'):
        broken = delivery(kind="clip", media=PACKAGE, body=body)
        assert (await send(channel(server), broken, blobs, server.port)).end is End.REFUSED


async def test_a_server_that_fails_is_tried_again(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs, hangs up, sends elsewhere, asks for time, never ends: said, nothing followed."""
    monkeypatch.setattr(pinned, "STEP_S", 0.3)
    never = asyncio.Event()

    async def hang(_got: Got, _writer: asyncio.StreamWriter) -> None:
        await never.wait()

    def xml(code: str) -> bytes:
        return f"<Error><Code>{code}</Code><Region>eu-west-1</Region></Error>".encode()

    async with receiving() as fake, receiving() as inside:
        there = f"Location: http://127.0.0.1:{inside.port}/latest/meta-data\r\n"
        tried: list[tuple[Any, str, float | None]] = [
            (hang, "no answer within", None),
            (b"", "the answer is no HTTP, or broke off", None),
            (answer(307, there), "redirects are not followed", None),
            (answer(301, there, xml("PermanentRedirect")), "in another region: eu-west-1", None),
            (answer(503, "Retry-After: 77\r\n", xml("SlowDown")), "asks for less at once", 77.0),
            (answer(500, "", b"<Code>" * 50_000), "answered 500$", None),
            (answer(404, "", b"<html>"), "answered 404$", None),
        ]
        made = channel(S3Server(fake.port, {"all": Keys("AKIA", "hush-hush")}))
        for reply, said, after_s in tried:
            fake.answers = [reply]
            outcome = await send(made, CLIP, blobs, fake.port)
            assert_said(outcome, said)
            assert (outcome.end, outcome.after_s) == (End.AGAIN, after_s)
            assert "hush" not in outcome.said
        never_taken = answer(400, "", xml("XAmzContentSHA256Mismatch"))
        fake.answers = [never_taken]
        assert (await send(made, CLIP, blobs, fake.port)).end is End.REFUSED
        assert inside.connections == 0


async def test_nothing_inside_the_network_is_connected_to(blobs: Blobs) -> None:
    """Not without permission, by no name, no style, no port; nor unencrypted to the outside."""
    async with receiving() as fake:
        port = fake.port
        tried = {
            f"http://127.0.0.1:{port}": "inside the network",
            f"http://[::ffff:127.0.0.1]:{port}": "inside the network",
            "http://169.254.169.254": "inside the network",
            "https://10.0.0.1:9000": "inside the network",
            "https://8.8.8.8:22": "port 22 is not used",
            "http://8.8.8.8": "not encrypted",
        }
        sender = S3Sender(egress.rules([], [port]), blobs)
        for endpoint, said in tried.items():
            there = channel(S3Server(port, {"all": Keys("a", "b")}), endpoint=endpoint)
            for what in (delivery(), CLIP):
                outcome = await sender.send(there, what, 0)
                assert outcome.end is End.REFUSED
                assert_said(outcome, said)
        assert fake.connections == 0


async def test_a_bucket_in_the_hosts_name_is_connected_to_where_it_was_looked_at(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name with the bucket is asked once a request; a name that then moves gains nothing."""
    asked: list[str] = []

    async def resolve(_loop: object, host: str, port: int, **_more: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) % 2 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    async with receiving() as fake:
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
        endpoint = f"http://s3.example:{fake.port}"
        keys = S3Server(fake.port, {"all": Keys("a", "b")})
        there = channel(keys, endpoint=endpoint, path_style=False, region="eu-1")
        event = delivery(kind="event", media=CLOUD_EVENT, body=EVENT, address="events")
        outcome = await send(there, event, blobs, fake.port)
        assert outcome.end is End.SENT, outcome.said
        (got,) = fake.got
        assert got.path == "/events/evd-1.clip.json"
        assert got.headers["host"] == f"archive.s3.example:{fake.port}"
        assert got.headers["content-type"] == CLOUD_EVENT
        assert "/eu-1/s3/aws4_request" in got.headers["authorization"]
        assert got.body == EVENT
        assert [host for host in asked if "example" in host] == ["archive.s3.example"]


@asynccontextmanager
async def stuck_at_the_marker(server: S3Server) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Give a port that hands on to the server, but for what puts the marker; and when that came."""
    came, over = asyncio.Event(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"evd-1.clip.json HTTP" in head:
                came.set()
                await over.wait()
            from_there, there = await asyncio.open_connection("127.0.0.1", server.port)
            there.write(head)

            async def up(to: asyncio.StreamWriter) -> None:
                while chunk := await reader.read(65536):
                    to.write(chunk)
                    await to.drain()

            async with asyncio.TaskGroup() as both:
                sent = both.create_task(up(there))
                while chunk := await from_there.read(65536):
                    writer.write(chunk)
                    await writer.drain()
                    sent.cancel()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            if there is not None:
                there.close()
            tasks.discard(task)

    listening = await asyncio.start_server(hand_on, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], came
    finally:
        over.set()
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def have(services: Services, there: Channel, *, new: bool = True) -> None:
    """Have the channel as an administrator makes it."""
    async with services.db.transaction() as tx:
        wanted = NewChannel(
            settings=there.settings, key_id=there.secret.key_id, secret=there.secret.password
        )
        seal = Seal(services.config.state)
        await managing.put(
            tx, seal, "bucket", wanted, new=new, actor="anna", now_ms=services.now_ms()
        )


async def rows(services: Services, sql: str) -> list[Any]:
    """Ask the database."""
    async with services.db.transaction() as tx:
        return list(await (await tx.connection.execute(sql.encode())).fetchall())


async def test_a_kill_between_files_and_marker_leaves_no_half_that_looks_whole(
    server: S3Server, conninfo: str, tmp_path: Path
) -> None:
    """The next worker ends it under the same keys, without sending again what was there."""
    clock = ManualClock(SystemClock().now_at())
    async with stuck_at_the_marker(server) as (port, came):
        alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[port, server.port])
        config = CentralConfig(state_dir=str(tmp_path), alerts=alerts)
        services = build_services(config, conninfo, SigningKey.generate(), clock)
        stored(services.blobs)
        await services.db.open()
        dispatcher = Dispatcher(services)
        try:
            way = f"http://127.0.0.1:{port}"
            await have(services, channel(server, prefix="killed", endpoint=way))
            async with services.db.transaction() as tx:
                parcel = Parcel(
                    key="export:plant:box-1:clip:evd-1.clip", channel="bucket", kind="clip",
                    media=PACKAGE, body=package(), subject="alert door (shop)",
                )  # fmt: skip
                assert await outbox.put_parcel(tx, parcel, services.now_ms())
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", KILLED, conninfo, str(tmp_path), str(port)
            )
            async with asyncio.timeout(40):
                await came.wait()
            process.kill()
            await process.wait()
            files = {key: body for key, body in WHOLE.items() if key.endswith(tuple(FILES))}
            assert objects(server, "killed") == files, "all files, and nothing that says so"

            await have(services, channel(server, prefix="killed"), new=False)
            services.blobs.path(hashlib.sha256(FILES["clip.mp4"]).hexdigest()).write_bytes(b"X")
            clock.advance(PUSH_LEASE_MS / 1000 + 120)
            await dispatcher.turn(services.now_ms())
            await dispatcher.settled()
            assert await rows(services, "SELECT state, tries FROM deliveries") == [("sent", 2)]
            assert objects(server, "killed") == WHOLE
            ((target, detail),) = await rows(
                services, "SELECT target, detail FROM audit_log WHERE action = 'export.push'"
            )
            said = detail if isinstance(detail, dict) else json.loads(detail)
            assert (target, said["channel"]) == ("box-1/evd-1", "bucket")
            assert "3 files, 2.9 MiB" in said["said"]
            kept = repr(await rows(services, "SELECT * FROM alert_channels"))
            for secret in (server.keys["all"].key_id, server.keys["all"].secret):
                assert secret not in kept
        finally:
            await dispatcher.close()
            await services.db.close()


async def test_an_event_and_its_clip_go_from_the_device_into_the_bucket(
    server: S3Server, conninfo: str, anyio_backend: str, tmp_path: Path, video: bytes
) -> None:
    """Through a whole central: each thing is said by a CloudEvent, the clip's files beside it."""
    clock = ManualClock(SystemClock().now_at())
    alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[server.port])
    config = CentralConfig(state_dir=str(tmp_path), alerts=alerts)
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    central = Central(services, build_web(services))
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
        services.bulletin.subscribe(CHANGED) as news,
    ):
        house = House(central, http, clock)
        admin = await house.program("admin")
        await have(services, channel(server, prefix="plant"))
        mail = {
            "channel": "post",
            "settings": {"type": "mail", "host": "8.8.8.8", "sender": "v@a.b"},
        }
        await http.post("/v1/channels", headers=admin, json=mail)
        export = {"channel": "post", "fetch": True}
        refused = await http.put("/v1/exports/plant", headers=admin, json=export)
        assert refused.status_code == 400
        assert "of kind mail: it carries notices only" in refused.text
        export["channel"] = "bucket"
        made = await http.put("/v1/exports/plant", headers=admin, json=export)
        assert made.status_code == 200, made.text
        device = await house.box()

        async def sent(count: int) -> None:
            async with asyncio.timeout(30):
                while (
                    await rows(services, "SELECT 1 FROM deliveries WHERE state = 'sent'")
                    != [(1,)] * count
                ):
                    await news.wait(1.0)

        await feeding.turn(services, house.now_ms)
        await sent(2)
        request = await open_request(device)
        files = {"clip.mp4": video, "evidence.json": facts(house.now_ms)}
        await send_clip(device, request["request"], files)
        await feeding.turn(services, house.now_ms)
        await sent(3)
        found = objects(server, "plant")
        said = {key: json.loads(body) for key, body in found.items() if key.endswith(".json")}
        markers = {key: one for key, one in said.items() if "specversion" in one}
        assert len(markers) == 3
        for one in markers.values():
            check_cloud_event(one)
        ((marker, clip),) = [(k, m) for k, m in markers.items() if "clip" in m["data"]]
        beside = {key: body for key, body in found.items() if key not in markers}
        assert beside == {
            f"{marker.removesuffix('.json')}/{file['name']}": files[file["name"]]
            for file in clip["data"]["clip"]["files"]
        }
        tried = (await http.post("/v1/exports/plant/try", headers=admin)).json()
        assert tried["delivery"]["row"]["state"] == "sent", tried
