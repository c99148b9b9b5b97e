"""Kill -9 of central and of its database under load: every report is there exactly once after."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest

from tests import prepared
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.sim.faults import free_port
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE, make_assertion
from vedette.trust.keys import PublicKey, SigningKey, prove_possession
from vedette.wire import codec
from vedette.wire.enrol import EnrolRequest
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.messages import Aggregate, Frames, Span
from vedette.wire.streams import Lane

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(150)]

MINUTE = 60_000
REPORTS = 1_500
DEVICES = 3
_NEVER = threading.Event()


class CentralProcess:
    """The real program on a state directory, killed and started at will."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def vedette(self, *arguments: str) -> str:
        """Run a subcommand of `vedette central`."""
        line = [sys.executable, "-m", "vedette.cli.main", "central", "--state", str(self.state)]
        done = subprocess.run(
            [*line, *arguments], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    def start(self) -> None:
        """Start and wait until it answers."""
        line = [sys.executable, "-m", "vedette.cli.main", "central", "run"]
        with (self.state.parent / "central.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*line, "--state", str(self.state), "--listen", f"127.0.0.1:{self.port}"],
                stdout=log,
                stderr=log,
            )
        for _ in range(400):
            try:
                if httpx.get(f"{self.url}/-/healthz", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                _NEVER.wait(0.05)
        pytest.fail((self.state.parent / "central.log").read_text()[-3000:])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the process by `number`."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def kill_database(self) -> None:
        """Kill -9 of the PostgreSQL that this central started."""
        lock = (self.state / "pg" / "data" / "postmaster.pid").read_text()
        os.kill(int(lock.split("\n")[0]), signal.SIGKILL)


class Sender(threading.Thread):
    """A device that sends what is not acknowledged until all of it is, over any failure."""

    def __init__(self, url: str, claim: str, seed: int) -> None:
        super().__init__()
        self.http = httpx.Client(base_url=url, timeout=15)
        self.claim = claim
        self.order = random.Random(seed)
        self.key = SigningKey.generate()
        self.identity: dict[str, str] = {}
        self.first_ms = int(time.time() * 1000) // MINUTE * MINUTE - (REPORTS + 5) * MINUTE
        self.settled: set[int] = set()
        self.give_up = threading.Event()

    def run(self) -> None:
        """Enrol, then send until everything is settled."""
        while len(self.settled) < REPORTS and not self.give_up.is_set():
            try:
                if not self.identity:
                    self._enrol()
                self._send(self._token())
            except (httpx.HTTPError, KeyError, msgspec.DecodeError):
                _NEVER.wait(0.05)
        self.http.close()

    def _enrol(self) -> None:
        request = EnrolRequest(
            claim_token=self.claim,
            public_key=self.key.public.text,
            proof=prove_possession(self.key, self.claim),
        )
        answer = self.http.post("/v1/enrol", content=msgspec.json.encode(request))
        if answer.status_code == 200:
            self.identity = answer.json()

    def _token(self) -> str:
        nonce = self.http.post("/v1/nonce").json()["nonce"]
        audience = PublicKey.from_text(self.identity["central_key"]).keyid
        assertion = make_assertion(
            self.key, device=self.identity["device"], audience=audience, nonce=nonce, now_s=0
        )
        form = {
            "grant_type": GRANT_TYPE,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return self.http.post("/v1/token", data=form).json()["access_token"]

    def _send(self, token: str) -> None:
        """Send overlapping, unordered batches; forget only what was acknowledged."""
        while len(self.settled) < REPORTS and not self.give_up.is_set():
            _NEVER.wait(0.01)
            left = [seq for seq in range(1, REPORTS + 1) if seq not in self.settled]
            some = self.order.sample(left, min(len(left), 12)) + self.order.sample(
                range(1, REPORTS + 1), 3
            )
            now_ms = int(time.time() * 1000)
            batch = Batch(
                device=self.identity["device"],
                boot_id="b",
                sent_mono_ms=now_ms,
                sent_wall_ms=now_ms,
                envelopes=[self._envelope(seq, now_ms) for seq in some],
            )
            answer = self.http.post(
                "/v1/up",
                content=codec.encode_batch(batch),
                headers={"Authorization": f"Bearer {token}"},
            )
            if answer.status_code == 401:
                return
            if answer.status_code != 200:
                _NEVER.wait(0.02)
                continue
            for ack in codec.decode_answer(answer.content).acks:
                self.settled.update(range(1, ack.acked_through + 1))
                for low, high in ack.have:
                    self.settled.update(range(low, high + 1))

    def _envelope(self, seq: int, now_ms: int) -> Envelope:
        start_ms = self.first_ms + seq * MINUTE
        body = Aggregate(
            camera="door",
            start_ms=start_ms,
            end_ms=start_ms + MINUTE,
            spans=[Span(start_ms=start_ms, end_ms=start_ms + MINUTE)],
            frames=Frames(captured=seq, analysed=seq),
        )
        return Envelope(
            epoch=1,
            boot_id="b",
            lane=Lane.LIVE,
            seq=seq,
            t_wall_ms=start_ms + MINUTE,
            t_mono_ms=now_ms,
            clock_state=ClockState.TRUSTED,
            schema="aggregate.v1",
            body=msgspec.Raw(codec.encode(body)),
        )


def test_every_report_is_there_exactly_once_after_kills_under_load(open_folder: Path) -> None:
    """Central and PostgreSQL are killed at random while three devices send."""
    central = CentralProcess(open_folder / "crash" / "state")
    prepared.lay_out(central.state)
    central.vedette("init")
    central.vedette("site", "add", "shop")
    senders = [
        Sender(central.url, re.findall(r"vc-\S+", central.vedette("claim", "--site", "shop"))[0], n)
        for n in range(DEVICES)
    ]
    central.start()
    when = random.Random(3)
    try:
        for sender in senders:
            sender.start()
        for what in ("database", "central", "database", "central"):
            _NEVER.wait(when.uniform(0.2, 0.7))
            assert any(len(sender.settled) < REPORTS for sender in senders), "nothing left to lose"
            if what == "database":
                central.kill_database()
            else:
                central.kill()
                central.start()
        for sender in senders:
            sender.join(60)
        assert all(len(sender.settled) == REPORTS for sender in senders)
    finally:
        for sender in senders:
            sender.give_up.set()
        central.kill(signal.SIGTERM)
    with (
        EmbeddedPostgres(central.state / "pg") as server,
        psycopg.connect(server.conninfo) as connection,
    ):
        for table, want in (
            ("reports", "SELECT count(*), count(DISTINCT (device, seq)) FROM reports"),
            ("claims", "SELECT count(*), count(DISTINCT (device, start_ms)) FROM coverage_claims"),
            ("minutes", "SELECT count(*), count(DISTINCT (device, start_ms)) FROM rollup_minute"),
        ):
            row = connection.execute(want).fetchone()
            assert row == (REPORTS * DEVICES, REPORTS * DEVICES), table
        lanes = connection.execute("SELECT acked_through, have FROM lanes").fetchall()
        assert lanes == [(REPORTS, [])] * DEVICES
        bodies = connection.execute("SELECT body FROM rollup_minute").fetchall()
    counted = sum(
        msgspec.msgpack.decode(body, type=Aggregate).frames.captured for (body,) in bodies
    )
    assert counted == DEVICES * REPORTS * (REPORTS + 1) // 2
