"""One embedded PostgreSQL for the session, an empty migrated database for each test."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import prepared
from tests.integration.databases import Databases
from vedette.central import accounts, enrolment, jobs, liveness
from vedette.central.app import Central, build_services
from vedette.central.settings import CentralConfig
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.clock import ManualClock, wall_ms
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE, make_assertion
from vedette.trust.keys import PublicKey, SigningKey, prove_possession
from vedette.wire import codec
from vedette.wire.enrol import EnrolRequest
from vedette.wire.envelope import Batch, ClockState, Envelope, UpAnswer
from vedette.wire.streams import Lane, stream


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as central does."""
    return "asyncio"


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other accounts may enter (pytest's own is 0700 and the server is not root)."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The real server, started once; `vedette` in it is migrated and only ever copied."""
    with EmbeddedPostgres(prepared.lay_out(open_folder / "shared")) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres_server: EmbeddedPostgres) -> Iterator[Databases]:
    """Copies of that database, emptied and given out again."""
    copies = Databases(postgres_server)
    yield copies
    copies.close()


@pytest.fixture
def conninfo(postgres_server: EmbeddedPostgres, databases: Databases) -> Iterator[str]:
    """How to reach a migrated, empty database of this test alone, under a name of its own."""
    name = databases.lend()
    yield postgres_server.conninfo_for(name)
    databases.take_back(name)


@pytest.fixture(autouse=True, scope="module")
def cheap_passwords() -> Iterator[None]:
    """Passwords are hashed as always, at the least cost; what it costs really, a unit test says."""
    with pytest.MonkeyPatch.context() as patch:
        least = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        patch.setattr(accounts, "_hasher", least)
        patch.setattr(accounts, "_nobody", accounts._of_nobody(least))
        yield


class FakeDevice:
    """A device that speaks the real protocol to the application, without a network."""

    def __init__(self, http: httpx.AsyncClient, clock: ManualClock, central_key: str) -> None:
        self.http = http
        self.clock = clock
        self.key = SigningKey.generate()
        self.central = PublicKey.from_text(central_key)
        self.device = ""
        self.token = ""
        self.boot = "boot-1"
        self.epoch = 1
        self.next_seq: dict[Lane, int] = dict.fromkeys(Lane, 1)

    @property
    def now_ms(self) -> int:
        return wall_ms(self.clock.now_at())

    @property
    def mono_ms(self) -> int:
        return self.clock.mono_ns() // 1_000_000

    async def enrol(self, claim_token: str) -> httpx.Response:
        """Present a claim token."""
        request = EnrolRequest(
            claim_token=claim_token,
            public_key=self.key.public.text,
            proof=prove_possession(self.key, claim_token),
        )
        answer = await self.http.post("/v1/enrol", content=msgspec.json.encode(request))
        if answer.status_code == 200:
            self.device = answer.json()["device"]
        return answer

    async def sign_in(self, nonce: str | None = None) -> httpx.Response:
        """Ask for an access token."""
        if nonce is None:
            nonce = (await self.http.post("/v1/nonce")).json()["nonce"]
        assertion = make_assertion(
            self.key, device=self.device, audience=self.central.keyid, nonce=nonce, now_s=0
        )
        form = {
            "grant_type": GRANT_TYPE,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        answer = await self.http.post("/v1/token", data=form)
        if answer.status_code == 200:
            self.token = answer.json()["access_token"]
        return answer

    def envelope(self, schema: str, body: msgspec.Struct, /, **changes: object) -> Envelope:
        """Wrap a body in the next sequence number of its lane."""
        lane = stream(schema).lane
        seq = self.next_seq[lane]
        self.next_seq[lane] += 1
        made = Envelope(
            epoch=self.epoch,
            boot_id=self.boot,
            lane=lane,
            seq=seq,
            t_wall_ms=self.now_ms,
            t_mono_ms=self.mono_ms,
            clock_state=ClockState.TRUSTED,
            schema=schema,
            body=msgspec.Raw(codec.encode(body)),
        )
        return msgspec.structs.replace(made, **changes)

    def batch(self, *envelopes: Envelope, **changes: object) -> Batch:
        """Put envelopes into one batch."""
        made = Batch(
            device=self.device,
            boot_id=self.boot,
            sent_mono_ms=self.mono_ms,
            sent_wall_ms=self.now_ms,
            envelopes=list(envelopes),
        )
        return msgspec.structs.replace(made, **changes)

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        """Send raw bytes to /v1/up."""
        return await self.http.post(
            "/v1/up", content=body, headers={"Authorization": f"Bearer {self.token}", **headers}
        )

    async def up(self, *envelopes: Envelope, **changes: object) -> UpAnswer:
        """Send one batch and return the answer."""
        answer = await self.post(codec.encode_batch(self.batch(*envelopes, **changes)))
        assert answer.status_code == 200, answer.text
        return codec.decode_answer(answer.content)


class Fleet:
    """A running central over a fresh database, with its clock in the test's hand."""

    def __init__(self, central: Central, http: httpx.AsyncClient, clock: ManualClock) -> None:
        self.central = central
        self.services = central.services
        self.db = central.services.db
        self.http = http
        self.clock = clock

    @property
    def now_ms(self) -> int:
        return self.services.now_ms()

    async def claim(self, site: str = "shop", **more: object) -> str:
        """Make the site where needed, and a claim token for it."""
        async with self.db.transaction() as tx:
            await enrolment.add_site(tx, site, actor="test", now_ms=self.now_ms)
            return await enrolment.make_claim(tx, site, actor="test", now_ms=self.now_ms, **more)

    def stranger(self) -> FakeDevice:
        """A device that has not enrolled."""
        return FakeDevice(self.http, self.clock, self.services.online_key.public.text)

    async def device(self, site: str = "shop", name: str | None = None) -> FakeDevice:
        """A device that is enrolled and has a token."""
        device = self.stranger()
        answer = await device.enrol(await self.claim(site, device=name))
        assert answer.status_code == 200, answer.text
        answer = await device.sign_in()
        assert answer.status_code == 200, answer.text
        return device

    async def rows(self, sql: str, *params: object) -> list[tuple]:
        """Look into the database."""
        async with self.db.transaction() as tx:
            cursor = await tx.connection.execute(sql.encode(), params or None)
            return await cursor.fetchall()


async def _no_web(
    _scope: object, _receive: object, send: Callable[[dict], Awaitable[None]]
) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _never(*_given: object, **_named: object) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def fleet(
    conninfo: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Fleet]:
    """A running central without its pages; who is silent is looked at when the test says so.

    So are the slow jobs done: both go by time, which the test has in its hand.
    """
    monkeypatch.setattr(liveness, "run", _never)
    monkeypatch.setattr(jobs, "run", _never)
    clock = ManualClock()
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    central = Central(services, _no_web)
    transport = httpx.ASGITransport(app=central)
    async with (
        central.running(),
        httpx.AsyncClient(transport=transport, base_url="http://central") as http,
    ):
        yield Fleet(central, http, clock)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that a camera signed itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "camera.pem"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, form, plain) + made.public_bytes(pem))
    return path
