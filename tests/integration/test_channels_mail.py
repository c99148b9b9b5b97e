"""Mail through a real SMTP server: TLS, sign-in, refusals, slowness, lines without end."""

import asyncio
import email
import socketserver
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.unit.central.test_channel_parts import notice
from vedette.central.alerting.channels import egress, mail
from vedette.central.alerting.channels.facts import (
    Channel,
    Delivery,
    End,
    Mail,
    Outcome,
    Secret,
)
from vedette.central.alerting.channels.mail import MailSender

pytestmark = pytest.mark.anyio
AT_MS = 1_772_438_400_000


class Box:
    """Takes mail, and answers as the test says."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], Any]] = []
        self.rcpt: dict[str, str] = {}
        self.data = ""

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        said = self.rcpt.get(address, "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.data:
            return self.data
        content = envelope.content
        assert isinstance(content, bytes)
        self.taken.append(
            (
                list(envelope.rcpt_tos),
                email.message_from_bytes(content, policy=email.policy.default),
            )
        )
        return "250 taken"


class Server:
    """An SMTP server, who may sign in there, and a sender that may connect to it."""

    def __init__(self, box: Box, port: int, tls: ssl.SSLContext | None) -> None:
        self.box = box
        self.port = port
        self.tls = tls

    async def send(self, secret: str = "", address: str = "", **changes: object) -> Outcome:
        """Send a notice."""
        settings = Mail(host="127.0.0.1", port=self.port, sender="v@example.com", to=["ann@a.b"])
        settings = msgspec.structs.replace(settings, **changes)
        made = MailSender(
            egress.rules(["127.0.0.0/8"], [self.port]), "https://vedette.example", tls=self.tls
        )
        delivery = Delivery(
            delivery="dl-1", key="k", channel="mail", address=address, person="", incident="",
            kind="opened", media="", subject="", body=msgspec.json.encode(notice()), tries=1,
            made_ms=0, asked_ms=0, until_ms=0, leased_ms=0, lease="",
        )  # fmt: skip
        try:
            channel = Channel(channel="mail", settings=settings, secret=Secret(password=secret))
            return await made.send(channel, delivery, AT_MS)
        finally:
            await made.close()


def _sign_in(_server: object, _session: object, _envelope: object, _how: str, data: Any) -> Any:
    assert isinstance(data, LoginPassword)
    good = (data.login, data.password) == (b"vedette", b"hush-hush")
    return AuthResult(success=good, handled=good)


@asynccontextmanager
async def serving(
    certificate: Path | None, *, at_once: bool = False, auth: bool = False, box: Box | None = None
) -> AsyncIterator[Server]:
    """Give a server, with TLS where it has a certificate."""
    box, context, trusting = box or Box(), None, None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=str(certificate))
    more: dict[str, Any] = {"hostname": "mail.test", "loop": asyncio.get_running_loop()}
    if context is not None and not at_once:
        more |= {"tls_context": context, "require_starttls": True}
    if auth:
        more |= {"authenticator": _sign_in, "auth_required": True}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, **more), "127.0.0.1", 0, ssl=context if at_once else None
    )
    async with server:
        yield Server(box, server.sockets[0].getsockname()[1], trusting)


@pytest.fixture
async def server(certificate: Path) -> AsyncIterator[Server]:
    """A server that wants STARTTLS and a password."""
    async with serving(certificate, auth=True) as made:
        yield made


@pytest.fixture
def box(server: Server) -> Box:
    """What the server took."""
    return server.box


async def test_a_mail_is_sent_under_tls_after_signing_in(server: Server, box: Box) -> None:
    """It arrives at the person's own address, as text and as HTML."""
    outcome = await server.send("hush-hush", "bob@c.d", username="vedette")
    assert outcome.end is End.SENT, outcome
    ((to, message),) = box.taken
    assert to == ["bob@c.d"]
    assert message["Subject"] == "[critical] No word from the site (shop)"
    assert message["Message-ID"] == "<dl-1@example.com>"
    assert message.get_body(("plain",)).get_content().startswith("[critical]")


async def test_a_wrong_password_is_said_and_not_shown(server: Server) -> None:
    """Tried again later, for somebody will mend it."""
    outcome = await server.send("wrong-hush", username="vedette")
    assert outcome.end is End.AGAIN
    assert "does not take the password" in outcome.said
    assert "hush" not in outcome.said


@pytest.mark.parametrize(
    ("rcpt", "data", "end"),
    [
        ("550 no such box", "", End.REFUSED),
        ("450 full, later", "", End.AGAIN),
        ("", "554 this is spam", End.REFUSED),
        ("", "451 later", End.AGAIN),
    ],
)
async def test_four_hundred_is_later_and_five_hundred_never(
    server: Server, box: Box, rcpt: str, data: str, end: End
) -> None:
    """Of a recipient and of the message; the server's words are handed on."""
    box.data = data
    box.rcpt = {"ann@a.b": rcpt} if rcpt else {}
    outcome = await server.send("hush-hush", username="vedette")
    assert outcome.end is end
    assert (rcpt or data) in outcome.said
    assert not outcome.is_channels, "one recipient's box says nothing of the channel"


async def test_one_refused_among_several_keeps_nobody_from_it(server: Server, box: Box) -> None:
    """Those that the server takes get it, once; the others are counted in words."""
    box.rcpt = {"ann@a.b": "550 no"}
    outcome = await server.send("hush-hush", username="vedette", to=["ann@a.b", "bob@c.d"])
    assert outcome.end is End.SENT
    assert "not for 1 of 2" in outcome.said
    assert box.taken[0][0] == ["bob@c.d"]


async def test_without_starttls_nothing_is_sent() -> None:
    """Whoever took the offer away gets no message and no password."""
    async with serving(None) as server:
        outcome = await server.send()
        assert outcome.end is End.AGAIN
        assert "STARTTLS" in outcome.said
        assert not server.box.taken
        plain = await server.send(tls="none")
        assert plain.end is End.SENT


async def test_a_certificate_of_nobody_known_is_not_taken(server: Server, box: Box) -> None:
    """The system's authorities decide; the message stays here."""
    strange = Server(box, server.port, None)
    outcome = await strange.send("hush-hush", username="vedette")
    assert outcome.end is End.AGAIN
    assert "certificate does not hold" in outcome.said
    assert not box.taken


async def test_tls_from_the_beginning_works_too(certificate: Path) -> None:
    """Port 465 as many have it."""
    async with serving(certificate, at_once=True) as server:
        assert (await server.send(tls="tls")).end is End.SENT


async def test_a_server_inside_the_network_needs_permission(server: Server, box: Box) -> None:
    """Mail is no way around the rules for webhooks."""
    made = MailSender(egress.rules([], [server.port]), "")
    settings = Mail(host="localhost", port=server.port, sender="v@e.f", to=["ann@a.b"])
    delivery = Delivery(
        delivery="d", key="k", channel="m", address="", person="", incident="", kind="opened",
        media="", subject="", body=msgspec.json.encode(notice()), tries=1, made_ms=0, asked_ms=0,
        until_ms=0, leased_ms=0, lease="",
    )  # fmt: skip
    outcome = await made.send(Channel(channel="m", settings=settings), delivery, AT_MS)
    await made.close()
    assert outcome.end is End.REFUSED
    assert "inside the network" in outcome.said
    assert not box.taken


class _Raw(socketserver.BaseRequestHandler):
    """Says what the server was told to say, and then nothing."""

    def handle(self) -> None:
        """Talk until the other side hangs up."""
        server: Any = self.server
        try:
            for chunk in server.says:
                self.request.sendall(chunk)
            server.over.wait(20)
        except OSError:
            return


@contextmanager
def raw(*says: bytes) -> Iterator[Server]:
    """Give a server that is none."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Raw) as made:
        made.daemon_threads = True
        more: Any = made
        more.says, more.over = says, threading.Event()
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Server(Box(), made.server_address[1], None)
        finally:
            more.over.set()
            made.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ((b"220-hello\r\n" * 100_000,), "hung up"),
        ((b"HTTP/1.1 400 Bad\r\n\r\n",), "answered"),
        ((b"554 go away\r\n",), "554 go away"),
        ((b"220 hello\r\n", b"x" * 20_000), "500"),
    ],
    ids=["endless", "another-protocol", "refused-at-once", "endless-line"],
)
async def test_what_is_no_mail_server_is_left(says: tuple[bytes, ...], said: str) -> None:
    """Whatever it says: an outcome in words, in bounded memory."""
    with raw(*says) as server:
        outcome = await server.send()
        assert outcome.end in {End.AGAIN, End.REFUSED}
        assert said in outcome.said


async def test_a_server_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole try is bounded, however slowly it talks; its thread ends too."""
    monkeypatch.setattr(mail, "TOTAL_S", 0.3)
    with raw() as server:
        outcome = await server.send()
    assert outcome.end is End.AGAIN
    assert "not done within" in outcome.said
