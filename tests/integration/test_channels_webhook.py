"""Webhooks to real receivers on loopback: good, slow, failing, lying, inside the network."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.alerting_receivers import Got, Receiver, answer, receiving
from vedette.central.alerting.channels import egress, signing, webhook
from vedette.central.alerting.channels.facts import (
    Channel,
    Delivery,
    End,
    Outcome,
    Secret,
    SharedSecret,
    Webhook,
)
from vedette.central.alerting.channels.webhook import WebhookSender

pytestmark = pytest.mark.anyio
SECRET = Secret(shared=[SharedSecret(secret=signing.fresh("v1"), made_ms=0)], query="token=hush")


def delivery() -> Delivery:
    """Something to be sent."""
    return Delivery(
        delivery="dl-1", key="k", channel="hook", address="", person="", incident="", kind="x",
        media="application/json", subject="", body=b"{}", tries=1, made_ms=0, asked_ms=0,
        until_ms=0, leased_ms=0, lease="",
    )  # fmt: skip


def sender(receiver: Receiver, tls: ssl.SSLContext | None = None) -> WebhookSender:
    """A sender that may connect to the receiver, on 127.0.0.1 alone."""
    return WebhookSender(egress.rules(["127.0.0.1/32"], [receiver.port]), tls=tls)


async def send(receiver: Receiver, url: str = "", tls: ssl.SSLContext | None = None) -> Outcome:
    """Send to the receiver, or to a name of it."""
    there = url or f"http://127.0.0.1:{receiver.port}/hook"
    channel = Channel(channel="hook", settings=Webhook(url=there), secret=SECRET)
    return await sender(receiver, tls).send(channel, delivery(), 1_772_438_400_000)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver without TLS."""
    async with receiving() as made:
        yield made


@pytest.mark.parametrize(
    ("reply", "end"),
    [
        (answer(200), End.SENT), (answer(204), End.SENT), (answer(299), End.SENT),
        (answer(301, "Location: http://127.0.0.1:1/\r\n"), End.REFUSED),
        (answer(400), End.REFUSED), (answer(401), End.REFUSED), (answer(404), End.REFUSED),
        (answer(410), End.GONE), (answer(408), End.AGAIN), (answer(429), End.AGAIN),
        (answer(500), End.AGAIN), (answer(503), End.AGAIN),
        (b"SSH-2.0-OpenSSH_9.2\r\n", End.AGAIN), (b"", End.AGAIN), (b"HTTP/1.1 20", End.AGAIN),
        (b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nabc", End.AGAIN),
    ],
    ids=["200", "204", "299", "301", "400", "401", "404", "410", "408", "429", "500", "503",
         "no-http", "nothing", "cut-head", "cut-body"],
)  # fmt: skip
async def test_each_answer_has_its_meaning(receiver: Receiver, reply: bytes, end: End) -> None:
    """2xx is sent, 410 gone, 4xx and redirects never; everything that may pass is tried again."""
    receiver.answers = [reply]
    outcome = await send(receiver)
    assert outcome.end is end
    assert "hush" not in outcome.said
    (got,) = receiver.got
    assert got.path == "/hook?token=hush"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_a_redirect_inside_is_not_followed(receiver: Receiver) -> None:
    """The classic attack: a public receiver that points to something of ours."""
    async with receiving() as inside:
        receiver.answers = [answer(307, f"Location: http://127.0.0.1:{inside.port}/admin\r\n")]
        outcome = await send(receiver)
        assert outcome.end is End.REFUSED
        assert "redirects are not followed" in outcome.said
        assert inside.connections == 0


async def test_nothing_inside_the_network_is_connected_to(receiver: Receiver) -> None:
    """Without permission not even a connection is made, by whatever name."""
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1"):
        made = WebhookSender(egress.rules([], [receiver.port]))
        settings = Webhook(url=f"http://{host}:{receiver.port}/")
        outcome = await made.send(
            Channel(channel="h", settings=settings, secret=SECRET), delivery(), 0
        )
        assert outcome.end in {End.REFUSED, End.AGAIN}, host
        assert "inside the network" in outcome.said or "not known" in outcome.said
    assert receiver.connections == 0


async def test_a_name_that_changes_its_mind_gains_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is asked once, and the connection goes to the address that was looked at."""
    asked: list[str] = []

    async def resolve(_loop: object, host: str, port: int, **_more: Any) -> list[Any]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    outcome = await send(receiver, f"http://rebinding.example:{receiver.port}/")
    assert outcome.end is End.SENT
    assert asked[0] == "rebinding.example"
    assert asked.count("rebinding.example") == 1
    assert receiver.got[0].headers["host"] == f"rebinding.example:{receiver.port}"


async def test_a_public_name_is_not_spoken_to_in_plain_http(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is signed is not secret, but what it says is: outside only with TLS."""

    async def resolve(*_args: object, **_more: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    outcome = await send(receiver, f"http://public.example:{receiver.port}/")
    assert outcome.end is End.REFUSED
    assert "not encrypted" in outcome.said


async def test_only_the_usual_ports_are_used(receiver: Receiver) -> None:
    """A database or a mail server is no receiver, unless the configuration says so."""
    made = WebhookSender(egress.rules(["127.0.0.0/8"], []))
    settings = Webhook(url=f"http://127.0.0.1:{receiver.port}/")
    outcome = await made.send(Channel(channel="h", settings=settings, secret=SECRET), delivery(), 0)
    assert outcome.end is End.REFUSED
    assert "port" in outcome.said
    assert receiver.connections == 0


async def test_a_receiver_that_hangs_is_left(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the message and says nothing, or one byte now and then: tried again later."""
    monkeypatch.setattr(webhook, "TOTAL_S", 0.3)
    never = asyncio.Event()

    async def hang(_got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        await never.wait()

    receiver.answers = [hang]
    outcome = await send(receiver)
    assert outcome.end is End.AGAIN
    assert outcome.is_channels


async def test_an_answer_without_end_is_not_read(receiver: Receiver) -> None:
    """A good status counts; what follows is left after a little."""
    written = 0

    async def pour(_got: Got, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(4096):
                writer.write(b"x" * 65_536)
                written += 65_536
                await writer.drain()
        except OSError:
            return

    receiver.answers = [pour]
    assert (await send(receiver)).end is End.SENT
    assert written < 64 * 1024 * 1024


async def test_an_endless_head_is_refused(receiver: Receiver) -> None:
    """No receiver fills our memory with headers."""
    receiver.answers = [b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 3_000_000]
    assert (await send(receiver)).end is End.AGAIN


async def test_retry_after_is_handed_on(receiver: Receiver) -> None:
    """How long a receiver asks to be left alone."""
    receiver.answers = [answer(429, "Retry-After: 90\r\n")]
    assert (await send(receiver)).after_s == 90.0


async def test_nobody_there_is_said(receiver: Receiver) -> None:
    """A port that nobody listens on is an outcome, not an exception."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = WebhookSender(egress.rules(["127.0.0.1/32"], [port]))
    settings = Webhook(url=f"http://127.0.0.1:{port}/")
    outcome = await made.send(Channel(channel="h", settings=settings, secret=SECRET), delivery(), 0)
    assert (outcome.end, outcome.said) == (End.AGAIN, "no connection: Connection refused")
    assert receiver.connections == 0


@pytest.fixture(scope="module")
def localhost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `localhost`, with its key, that signed itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


async def test_tls_is_verified_by_the_name_though_an_address_is_connected_to(
    localhost: Path,
) -> None:
    """The right name is taken; a certificate of another name, or of nobody known, is refused."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(localhost)
    async with receiving(server) as receiver:
        trusting = ssl.create_default_context(cafile=str(localhost))
        good = await send(receiver, f"https://localhost:{receiver.port}/", trusting)
        assert good.end is End.SENT
        other = await send(receiver, f"https://127.0.0.1:{receiver.port}/", trusting)
        unknown = await send(receiver, f"https://localhost:{receiver.port}/")
        for outcome in (other, unknown):
            assert outcome.end is End.AGAIN
            assert "certificate does not hold" in outcome.said
        assert len(receiver.got) == 1


async def test_without_tls_there_is_no_talk_of_tls() -> None:
    """A plain server under an https address: said as what it is."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        receiver = Receiver()
        receiver.port = server.sockets[0].getsockname()[1]
        outcome = await send(receiver, f"https://127.0.0.1:{receiver.port}/")
    assert outcome.end is End.AGAIN
    assert outcome.said.startswith("TLS failed")
