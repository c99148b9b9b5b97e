"""The uplink's schedule, against a central in memory and against real sockets."""

import http.server
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock, SystemClock
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.central_client import MAX_ANSWER_BYTES, CentralBusy, CentralClient, check_link
from vedette.edge.enrolment import Identity
from vedette.edge.settings import BandwidthWindow, CentralLink, UplinkSettings
from vedette.edge.spool import Spool
from vedette.edge.uplink import BATCH_BYTES, POLL_S, Uplink
from vedette.errors import CentralUnreachable, ConfigError, NotAllowed, ReportRejected
from vedette.ids import DeviceId, SiteId
from vedette.trust.assertion import verify_assertion
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.enrol import Nonce, TokenAnswer
from vedette.wire.envelope import Batch, LaneAck, UpAnswer
from vedette.wire.messages import EventKind, EventReport, HealthReport
from vedette.wire.streams import Lane, stream

PERIOD_S = 30.0


class MemoryCentral:
    """Central in memory: takes batches, acknowledges everything, fails when told."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.fail: Callable[[Batch], Exception | None] = lambda batch: None
        self.answer = UpAnswer()
        self.seen: set[tuple[int, str, int]] = set()

    def up(self, batch: Batch) -> UpAnswer:
        """Take one batch."""
        self.batches.append(batch)
        error = self.fail(batch)
        if error is not None:
            raise error
        self.seen |= {(e.epoch, e.lane.value, e.seq) for e in batch.envelopes}
        acks = []
        asked = {(e.epoch, e.lane) for e in [*batch.envelopes, *batch.believed]}
        for epoch, lane in sorted(asked):
            numbers = sorted(n for e, name, n in self.seen if (e, name) == (epoch, lane.value))
            through = 0
            while through + 1 in numbers:
                through += 1
            have = [(n, n) for n in numbers if n > through]
            acks.append(LaneAck(epoch=epoch, lane=lane, acked_through=through, have=have))
        return msgspec.structs.replace(self.answer, acks=acks)


class Rig:
    """A device's spool and uplink over a central in memory, with time by hand."""

    def __init__(self, tmp_path: Path, settings: UplinkSettings | None = None) -> None:
        self.clock = ManualClock()
        self.backfilled: list[int] = []
        self.spool = Spool.open(tmp_path / "spool", 1 << 28, self.clock, "b", writer=False)
        self.central = MemoryCentral()
        self.answers: list[UpAnswer] = []
        self.reports = 0
        self.uplink = Uplink(
            self.spool,
            self.central,
            self.clock,
            device="box",
            boot_id="b",
            report=self._report,
            answered=self.answers.append,
            period_s=lambda: PERIOD_S,
            bandwidth=Bandwidth(lambda: settings or UplinkSettings(), lambda: "UTC", self.clock),
            backfilled=self.backfilled.append,
            jitter=random.Random(1),
        )

    def _report(self) -> None:
        self.reports += 1
        self.put_health()
        self.spool.flush()

    def put_health(self, size: int = 10) -> None:
        """Put a report of about `size` bytes."""
        report = HealthReport(at_ms=1, period_s=30, version="t", problems=["x" * size])
        self.spool.put("health.v1", report)

    def alert(self, name: str = "ev") -> None:
        """Put an alert."""
        self.spool.put(
            "event.v1", EventReport(event=name, camera="c", kind=EventKind.PRESENCE, at_ms=1)
        )

    def run_s(self, seconds: float) -> None:
        """Let the uplink work for a while."""
        end = self.clock.mono_ns() + round(seconds * 1e9)
        while self.clock.mono_ns() < end:
            self.clock.advance(self.uplink.step())

    @property
    def sent(self) -> list[list[tuple[str, int]]]:
        """Lane and number of every envelope, batch by batch."""
        return [[(e.lane.value, e.seq) for e in b.envelopes] for b in self.central.batches]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a rig."""
    made = Rig(tmp_path)
    yield made
    made.spool.close()


def test_one_request_each_period_is_heartbeat_and_telemetry(rig: Rig) -> None:
    """Ten minutes: a report each period, jittered, and nothing left behind."""
    rig.run_s(600)
    assert 20 <= len(rig.central.batches) <= 23
    assert all(len(sent) == 1 for sent in rig.sent)
    assert rig.spool.health().depth["live"] == 0
    assert len(rig.answers) == len(rig.central.batches)


def test_an_alert_goes_at_once(rig: Rig) -> None:
    """The next look at the spool sends it, whichever process put it."""
    rig.run_s(1)
    other = Spool.open(rig.spool._file._folder, 1 << 28, rig.clock, "b", writer=False)
    other.put("event.v1", EventReport(event="e", camera="c", kind=EventKind.DWELL, at_ms=1))
    other.close()
    rig.run_s(POLL_S)
    assert rig.sent[-1] == [("alert", 1)]
    rig.run_s(5)
    assert len(rig.sent) == 2


def test_every_later_alert_goes_at_once_too(rig: Rig) -> None:
    """Also where the spool was empty in between, so that the database uses its row ids again."""
    rig.run_s(1)
    for number in range(1, 5):
        rig.alert(f"ev-{number}")
        rig.run_s(1)
        assert rig.sent[-1] == [("alert", number)]


def test_a_backlog_is_drained_under_a_cap_and_alerts_overtake_it(rig: Rig) -> None:
    """Ten megabytes wait; an alert in the middle leaves with the next batch, in front."""
    for _ in range(100):
        rig.put_health(100_000)
    rig.spool.flush()
    rig.clock.advance(300)
    rig.run_s(2)
    before = len(rig.sent)
    rig.alert()
    rig.run_s(1)
    assert rig.sent[before][0] == ("alert", 1)
    assert 0 < rig.spool.health().depth["live"] < 100
    rig.run_s(40)
    assert rig.spool.health().depth["live"] == 0
    sizes = [sum(len(memoryview(e.body)) for e in b.envelopes) for b in rig.central.batches]
    assert max(sizes) <= BATCH_BYTES


def test_an_outage_loses_nothing_and_backs_off(rig: Rig) -> None:
    """Reports go on into the spool; requests become rare; afterwards everything arrives once."""
    rig.central.fail = lambda batch: CentralUnreachable("cut")
    rig.run_s(1800)
    tries = len(rig.central.batches)
    assert tries < 60
    assert rig.uplink.problem == "cut"
    rig.central.fail = lambda batch: None
    rig.run_s(90)
    assert rig.uplink.problem == ""
    assert rig.spool.health().depth["live"] == 0
    assert {n for _, lane, n in rig.central.seen if lane == "live"} == set(
        range(1, rig.reports + 1)
    )


def test_an_alert_during_an_outage_tries_soon(rig: Rig) -> None:
    """A new alert shortens the pause, but does not hammer."""
    rig.central.fail = lambda batch: CentralUnreachable("cut")
    rig.run_s(600)
    before = len(rig.central.batches)
    for n in range(20):
        rig.alert(f"ev-{n}")
        rig.run_s(1)
    assert before + 3 <= len(rig.central.batches) <= before + 6


def test_central_says_when_to_come_back(rig: Rig) -> None:
    """A 503 holds everything back as long as it says."""
    rig.run_s(1)
    rig.central.fail = lambda batch: CentralBusy("busy", 400.0)
    rig.run_s(30)
    count = len(rig.central.batches)
    rig.run_s(150)
    assert len(rig.central.batches) == count == 2


def test_a_backlog_that_is_put_off_holds_nothing_fresh_back(rig: Rig) -> None:
    """`retry_after` of an answer is about what had waited: reports and alerts go as ever."""
    for _ in range(300):
        rig.put_health(2_000)
    rig.spool.flush()
    rig.clock.advance(200)  # all of it is backlog now
    rig.central.answer = UpAnswer(retry_after_s=100.0)
    rig.run_s(1)
    assert len(rig.backfilled) == 1
    rig.run_s(95)
    assert len(rig.central.batches) == 4
    rig.alert()
    rig.run_s(1)
    assert rig.sent[-1][0][0] == "alert"
    assert sum(1 for size in rig.backfilled if size) == 1
    rig.central.answer = UpAnswer()
    rig.run_s(60)
    assert not rig.spool.has_backfill()


def test_the_one_message_that_central_will_not_see_is_found(rig: Rig) -> None:
    """Batches are halved until it stands alone; it goes with a tombstone, all others arrive."""
    rig.central.fail = lambda batch: (
        ReportRejected("too odd")
        if any((e.lane, e.seq) == (Lane.LIVE, 37) for e in batch.envelopes)
        else None
    )
    for _ in range(100):
        rig.put_health()
    rig.run_s(60)
    live = {n for _, lane, n in rig.central.seen if lane == "live"}
    assert set(range(1, 101)) - live == {37}
    stones = [e for b in rig.central.batches for e in b.envelopes if e.schema == "tombstone.v1"]
    stone = codec.decode_body(stones[0].body, stream("tombstone.v1"))
    assert stone.ranges == [(37, 37)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [NotAllowed("unknown device"), ReportRejected("who knows")])
def test_a_central_that_refuses_everything_loses_nothing(rig: Rig, error: Exception) -> None:
    """A wrong server behind the address refuses even an empty batch: no message is blamed."""
    rig.central.fail = lambda batch: error
    rig.run_s(600)
    assert len(rig.central.batches) <= 20
    assert rig.spool.health().depth == {"alert": 0, "live": rig.reports, "evidence": 0}
    assert rig.uplink.problem == str(error)


def test_central_is_asked_what_it_has_at_first_then_rarely_and_after_a_loss(rig: Rig) -> None:
    """First contact, every ten minutes, and the first answer after silence."""
    assert not rig.uplink.agreed
    rig.run_s(60)
    assert rig.uplink.agreed
    assert [bool(b.believed) for b in rig.central.batches] == [True, False, False]
    rig.run_s(600)
    assert sum(bool(b.believed) for b in rig.central.batches) == 2
    rig.central.fail = lambda batch: CentralUnreachable("cut")
    rig.run_s(60)
    assert not rig.uplink.agreed
    rig.central.fail = lambda batch: None
    count = len(rig.central.batches)
    rig.run_s(60)
    assert rig.uplink.agreed
    later = [bool(b.believed) for b in rig.central.batches[count:]]
    assert later[0]
    assert not any(later[1:])


def test_a_central_put_back_to_nothing_has_everything_again(rig: Rig) -> None:
    """It lost its database to an older backup while the device was away."""
    rig.spool.keep_s = 86_400.0
    rig.run_s(600)
    rig.alert()
    rig.run_s(10)
    had = rig.central.seen
    rig.central.seen = set()
    rig.run_s(120)
    assert rig.central.seen >= had
    rig.run_s(10)
    assert not rig.spool.has_backfill()


def test_a_shut_window_holds_the_backlog_and_nothing_else(tmp_path: Path) -> None:
    """Nothing of the backlog for an hour; alerts at once, reports in time; then it drains."""
    shut = BandwidthWindow(start="08:00", end="09:00", backfill_kbit_s=0)
    rig = Rig(tmp_path, UplinkSettings(backfill_kbit_s=16.0, windows=[shut]))
    for _ in range(40):
        rig.put_health(5_000)
    rig.spool.flush()
    rig.clock.advance(300)
    rig.run_s(1200)
    rig.alert()
    rig.run_s(2 * POLL_S)
    assert ("alert", 1) in rig.sent[-1]
    assert rig.spool.health().depth["live"] == 40
    assert len(rig.central.seen) == rig.reports + 1
    rig.run_s(2100)  # until 09:00, and a little
    rig.run_s(40)
    assert 0 < rig.spool.health().depth["live"] < 40
    rig.run_s(120)
    assert rig.spool.health().depth["live"] == 0
    assert sum(rig.backfilled) >= 40 * 5_000
    rig.spool.close()


def test_what_central_does_not_acknowledge_stays(rig: Rig) -> None:
    """An answer without acknowledgement settles nothing and does not spin."""
    rig.central.up = lambda batch: rig.central.batches.append(batch) or UpAnswer()  # type: ignore[method-assign]
    rig.run_s(100)
    assert len(rig.central.batches) <= 5
    assert rig.spool.health().depth["live"] == rig.reports


# ------------------------------------------------------------------------------------ real sockets

KEY, CENTRAL_KEY, SITE_KEY = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL_KEY.public.text,
    site_keys=[SITE_KEY.public.text],
)


class Handler(http.server.BaseHTTPRequestHandler):
    """A small central over HTTP/1.1 that spends each nonce once."""

    protocol_version = "HTTP/1.1"
    nonces: set[str]
    tokens: set[str]
    broken: str

    def _answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _json(self, message: msgspec.Struct) -> None:
        self._answer(200, msgspec.json.encode(message))

    def do_POST(self) -> None:
        """Answer as central does."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        state = self.server
        if state.broken == "hang up":
            self.close_connection = True
            return
        if state.broken == "huge":
            self._answer(200, b"x" * (MAX_ANSWER_BYTES + 10))
        elif state.broken.isdigit():
            self._answer(int(state.broken), b"no", Retry_After="7")
        elif self.path == "/v1/nonce":
            nonce = f"n-{len(state.nonces)}"
            state.nonces.add(nonce)
            self._json(Nonce(nonce=nonce, expires_in_s=60))
        elif self.path == "/v1/token":
            fields = dict(pair.split("=", 1) for pair in body.decode().split("&"))
            said = verify_assertion(
                fields["client_assertion"],
                key_of=lambda device: KEY.public if device == "box" else None,
                audience=CENTRAL_KEY.public.keyid,
            )
            state.nonces.remove(said.nonce)
            token = f"t-{len(state.given)}"
            state.given.append(token)
            state.tokens.add(token)
            self._json(TokenAnswer(access_token=token, expires_in=3600))
        elif self.headers["Authorization"].removeprefix("Bearer ") not in state.tokens:
            self._answer(401, b"who are you?")
        else:
            state.batches.append(codec.decode_batch(body))
            self._answer(200, codec.encode(UpAnswer(desired_etag="x")))

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""


class Server(http.server.ThreadingHTTPServer):
    """The server and what it remembers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.nonces: set[str] = set()
        self.tokens: set[str] = set()
        self.given: list[str] = []
        self.batches: list[Batch] = []
        self.broken = ""


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def client_for(server: Server) -> CentralClient:
    """Return a client of that server."""
    link = CentralLink(url=f"http://127.0.0.1:{server.server_address[1]}")
    return CentralClient(link, SystemClock(), identity=IDENTITY, key=KEY, connect_s=5, read_s=5)


def empty_batch() -> Batch:
    """Return a heartbeat."""
    return Batch(device="box", boot_id="b", sent_mono_ms=1, sent_wall_ms=1)


def test_a_token_is_got_by_nonce_and_kept(server: Server) -> None:
    """One nonce and one token serve many requests; the figures are counted."""
    client = client_for(server)
    for _ in range(3):
        assert client.up(empty_batch()).desired_etag == "x"
    assert len(server.given) == 1
    assert len(server.batches) == 3
    taken = client.meter.take()
    assert taken.requests == 5
    assert taken.sent_bytes > 0
    assert taken.round_trip_ms is not None
    # measured; a kernel under load may send a segment of its own loopback twice
    assert taken.loss_fraction is not None
    assert 0.0 <= taken.loss_fraction < 0.5
    assert client.meter.take().requests == 0
    client.close()


def test_a_revoked_token_is_renewed_once(server: Server) -> None:
    """A 401 leads to one new token and one more try."""
    client = client_for(server)
    client.up(empty_batch())
    server.tokens.clear()
    client.up(empty_batch())
    assert server.given == ["t-0", "t-1"]
    client.close()


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("hang up", CentralUnreachable),
        ("huge", CentralUnreachable),
        ("500", CentralUnreachable),
        ("503", CentralBusy),
        ("429", CentralBusy),
        ("302", CentralUnreachable),
        ("400", ReportRejected),
        ("413", ReportRejected),
        ("403", NotAllowed),
        ("401", NotAllowed),
    ],
)
def test_every_bad_answer_has_a_meaning(
    server: Server, broken: str, error: type[Exception]
) -> None:
    """Each failure becomes the error that says what to do about it."""
    client = client_for(server)
    client.up(empty_batch())
    server.broken = broken
    with pytest.raises(error) as caught:
        client.up(empty_batch())
    if isinstance(caught.value, CentralBusy) and broken in {"429", "503"}:
        assert caught.value.retry_after_s == 7.0
    client.close()


def test_nobody_listens(server: Server) -> None:
    """A refused connection is said as such."""
    client = client_for(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(CentralUnreachable):
        client.up(empty_batch())
    assert client.meter.take().failures == 1
    client.close()


@pytest.mark.parametrize(
    "url",
    ["http://central.example", "ftp://x", "http://", "http://127.0.0.1.example", "http://10.0.0.1"],
)
def test_tokens_do_not_cross_a_network_in_clear(url: str) -> None:
    """Plain HTTP to another machine must be asked for."""
    with pytest.raises(ConfigError):
        check_link(CentralLink(url=url))


@pytest.mark.parametrize(
    "link",
    [
        CentralLink(url="https://central.example"),
        CentralLink(url="http://localhost:8080"),
        CentralLink(url="http://[::1]:80"),
        CentralLink(url="http://10.0.0.1", allow_insecure=True),
    ],
)
def test_these_addresses_are_allowed(link: CentralLink) -> None:
    """TLS, this machine, or an operator who said so."""
    check_link(link)
