"""What a device answers from afar: nothing secret, nothing forbidden, once, within bounds."""

import json
import logging
import socket
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette import logs
from vedette.clock import ManualClock, wall_ms
from vedette.edge.desired import DesiredStore
from vedette.edge.diagnostics import route
from vedette.edge.diagnostics.answering import MAX_WAITING, Answerer
from vedette.edge.diagnostics.effective import effective_configuration
from vedette.edge.diagnostics.network import Examination
from vedette.edge.diagnostics.redaction import Redactor
from vedette.edge.diagnostics.tail import log_tail, tail_file
from vedette.edge.enrolment import Identity
from vedette.edge.settings import (
    BandwidthWindow,
    Camera,
    CentralLink,
    EdgeConfig,
    UplinkSettings,
)
from vedette.errors import CentralUnreachable, NotAllowed
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire import diagnostics as wire
from vedette.wire.enrol import Desired, Request
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraAddress,
    CameraSettings,
    DeviceSettings,
    SitePolicy,
)

CENTRAL, SITE = SigningKey.generate(), SigningKey.generate()
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL.public.text,
    site_keys=[SITE.public.text],
    time_zone="UTC",
)
SOURCE = "rtsp://admin:hunter22@192.0.2.7:554/stream1?channel=1&pwd=query-pass"
PLANTED = ("hunter22", "query-pass", "sub-secret", "gst-secret", "token-in-a-file-1234")
DOCTOR = (
    '{"verdict":"ok","findings":[{"about":"x","check":"y","verdict":"ok","detail":"hunter22"}]}'
)


def config_in(folder: Path, **changes: object) -> EdgeConfig:
    """Return a configuration with a secret in every place that can hold one."""
    (folder / "local-api.token").write_text("token-in-a-file-1234\n")
    made = EdgeConfig(
        state_dir=folder,
        models_dir=folder / "models",
        central=CentralLink(url="http://127.0.0.1:1"),
        cameras=[
            Camera(id="door", source=SOURCE, evidence_source="rtsp://u:sub-secret@192.0.2.7/main"),
            Camera(id="back", source='gst:rtspsrc location=x user-pw="gst-secret" ! fakesink'),
        ],
    )
    return msgspec.structs.replace(made, **changes)


class Central:
    """Takes answers, and bodies that mean nothing."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, bytes]] = []
        self.moved = 0
        self.down = False
        self.refuses = False

    def answer(self, request: str, content_type: str, body: bytes) -> None:
        """Take an answer."""
        if self.down:
            raise CentralUnreachable("cut")
        if self.refuses:
            raise NotAllowed("nobody is waiting for this answer")
        self.answers.append((request, content_type, body))

    def send_nothing(self, body: bytes) -> None:
        """Count a body."""
        if self.down:
            raise CentralUnreachable("cut")
        self.moved += len(body)

    def take_nothing(self, size: int) -> int:
        """Give a body."""
        if self.down:
            raise CentralUnreachable("cut")
        self.moved += size
        return size


class Box:
    """An answerer with its store, central and clock."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.clock = ManualClock()
        self.central = Central()
        config = config_in(folder, **changes)
        self.store = DesiredStore(folder, config, IDENTITY)
        self.store.write_effective()
        command = [sys.executable, "-c", f"print({DOCTOR!r})"]
        self.answerer = Answerer(
            config, self.store, self.central, self.clock, examine=lambda *_: command
        )

    def ask(self, kind: str, request: str = "rq-1", **more: object) -> None:
        """Take a request and do one step."""
        expires_ms = wall_ms(self.clock.now_at()) + 600_000
        asked = Request(request=request, kind=kind, expires_ms=expires_ms)
        self.answerer.take(msgspec.structs.replace(asked, **more))
        self.answerer.step()

    def policy(self, allowed: list[str]) -> None:
        """Have the site sign what may be asked."""
        version = self.store.effective.policy_version + 1
        policy = SitePolicy(site="shop", version=version, issued_ms=1, diagnostics=allowed)
        signed = sign_struct(policy, POLICY_TYPE, [SITE])
        self.store.apply(Desired(etag=f"e{version}", site_policy=signed))
        assert not self.store.problems


def write_log(folder: Path, process: str, *lines: dict[str, object]) -> None:
    """Have a process that logged these."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    tail_file(folder, process).write_text(text)


# ------------------------------------------------------------------------------------- redaction


@pytest.mark.parametrize("secret", PLANTED)
def test_a_secret_that_is_known_leaves_in_no_form(tmp_path: Path, secret: str) -> None:
    """Bare, in an address, in JSON, in a header: planted in a log, it does not come through."""
    redactor = Redactor.of(config_in(tmp_path))
    for text in (
        f"said {secret}.",
        f"rtsp://admin:{secret}@192.0.2.7/x",
        json.dumps({"why": f"401 for {secret}"}),
        f"x{secret}y",
        f"Authorization: Digest username=admin, response={secret}",
    ):
        assert secret not in redactor.text(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("http://user:unknownpass@host/x?y=1", "unknownpass"),
        ("get https://host/cgi?user=a&password=unknownpass now", "unknownpass"),
        ("GET /x Authorization: Basic YWRtaW46aHVudGVyMg==", "YWRtaW46"),
        ('{"headers": {"authorization": "Bearer abcdefghijkl"}}', "abcdefghijkl"),
        ('"password": "unknown pass"', "unknown pass"),
        ("password='unknown pass' and more", "unknown pass"),
        ("api_key=unknownpass", "unknownpass"),
        ("client_secret: unknownpass", "unknownpass"),
        ("Cookie: __Host-vedette=abc", "abc"),
        ("key " + "Ab-_9" * 9, "Ab-_9Ab"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ\n-----END PRIVATE KEY-----", "MC4CAQAw"),
        ("-----BEGIN EC PRIVATE KEY-----\nMC4CAQAwBQ", "MC4CAQAw"),
    ],
)
def test_what_has_the_shape_of_a_secret_goes_too(text: str, secret: str) -> None:
    """Nobody told the redactor of these."""
    assert secret not in Redactor().text(text)


def test_what_helps_stays() -> None:
    """An address keeps its host and path, a sentence its words."""
    said = Redactor().text(
        "lost rtsp://u:p@192.0.2.7:554/main after 30 s (rq-0123456789abcdef0123)"
    )
    assert said == "lost rtsp://192.0.2.7:554/main after 30 s (rq-0123456789abcdef0123)"


@given(st.text(min_size=4, max_size=40).filter(lambda s: s.strip() == s and "…" not in s))
def test_any_password_is_taken_out(password: str) -> None:
    """Whatever characters it has: what comes back holds it nowhere."""
    assert password not in Redactor([password]).text(f"before {password} after").replace("…", "")


def test_a_log_cannot_steer_a_terminal() -> None:
    """Escape codes of a camera's error become question marks; lines stay lines."""
    assert Redactor().text("a\x1b[2Jb\r\n\tc\x00") == "a?[2Jb?\n\tc?"


# ------------------------------------------------------------------------------------------ log


def test_the_tail_is_in_the_order_of_time_and_bounded(tmp_path: Path) -> None:
    """Two processes, one text; the newest lines fit, older ones are left out."""
    for process, second in (("agent", 1), ("pipeline", 2)):
        write_log(
            tmp_path,
            process,
            {"at": f"2026-01-01T00:00:0{second}", "message": f"{process} one", "camera": "door"},
            {"at": f"2026-01-01T00:00:0{second + 5}", "message": f"{process} two"},
        )
    said = log_tail(tmp_path, 500, 10_000, Redactor()).decode()
    order = [line.split("  ")[-1] for line in said.splitlines()]
    assert order == ["camera=door", "camera=door", "agent two", "pipeline two"]
    assert log_tail(tmp_path, 1, 10_000, Redactor()).decode().endswith("pipeline two\n")
    small = log_tail(tmp_path, 500, 100, Redactor())
    assert len(small) <= 100
    assert b"pipeline two" in small


def test_the_tail_of_a_damaged_or_missing_file_is_what_can_be_read(tmp_path: Path) -> None:
    """Half a line, something else's bytes, deep nesting: passed over."""
    assert log_tail(tmp_path, 10, 1000, Redactor()) == b"nothing was logged yet\n"
    good = json.dumps({"at": "2026", "message": "good"})
    tail_file(tmp_path, "agent").write_bytes(
        b'lf": 1}\n\xff\xfe\n[1]\n' + b"[" * 100_000 + b"\n" + good.encode() + b"\n"
    )
    assert b"good" in log_tail(tmp_path, 10, 1000, Redactor())


def test_the_last_lines_are_kept_in_a_file_that_stays_small(tmp_path: Path) -> None:
    """What was logged can be asked for later, and the file does not grow without end."""
    root = logging.getLogger("vedette")
    before, level = root.handlers[:], root.level
    try:
        root.setLevel("INFO")
        logs.keep_tail(tail_file(tmp_path, "agent"), max_bytes=2_000)
        for n in range(100):
            logging.getLogger("vedette.test").info("line %d", n, extra={"camera": "door"})
        assert b"line 99" in log_tail(tmp_path, 5, 10_000, Redactor())
        assert sum(path.stat().st_size for path in tmp_path.glob("agent.log*")) <= 4_200
    finally:
        for handler in root.handlers:
            if handler not in before:
                handler.close()
        root.handlers[:], root.level = before, level


# -------------------------------------------------------------------------------- configuration


def test_the_configuration_tells_who_decided_what_and_no_secret(tmp_path: Path) -> None:
    """The site's address, central's threshold, and neither's password."""
    config = config_in(tmp_path)
    store = DesiredStore(tmp_path, config, IDENTITY)
    address = CameraAddress(camera="door", source="rtsp://root:from-policy@192.0.2.9/x")
    policy = SitePolicy(site="shop", version=3, issued_ms=1, cameras=[address])
    wanted = CameraSettings(camera="door", threshold=0.7)
    settings = DeviceSettings(device="box", version=5, issued_ms=2, cameras=[wanted])
    store.apply(
        Desired(
            etag="e",
            site_policy=sign_struct(policy, POLICY_TYPE, [SITE]),
            settings=sign_struct(settings, SETTINGS_TYPE, [CENTRAL]),
        )
    )
    body = effective_configuration(tmp_path, store, Redactor.of(store.effective.config))
    for secret in (*PLANTED, "from-policy"):
        assert secret.encode() not in body
    said = msgspec.json.decode(body, type=wire.ConfigAnswer)
    cameras = {row["id"]: row for row in said.config["cameras"]}  # type: ignore[attr-defined]
    assert cameras["door"]["source"] == "rtsp://192.0.2.9/x"
    assert cameras["door"]["threshold"] == 0.7
    assert [(d.signer, d.version, d.keyids) for d in said.documents] == [
        ("site", 3, [SITE.public.keyid]),
        ("central", 5, [CENTRAL.public.keyid]),
    ]
    origins = {origin.part: origin.signer for origin in said.origins}
    assert origins["cameras.door.source"] == "site"
    assert origins["cameras.door.threshold"] == "central"


# ------------------------------------------------------------------------------------ answering


def test_each_kind_is_answered_in_its_form_and_within_its_bound(tmp_path: Path) -> None:
    """Log, configuration and doctor; what is planted in any of them stays."""
    write_log(tmp_path, "agent", {"at": "1", "message": "tried hunter22"})
    box = Box(tmp_path)
    for kind in (wire.LOG, wire.CONFIG, wire.DOCTOR):
        box.ask(kind, f"rq-{kind}")
    assert [name for name, *_ in box.central.answers] == ["rq-log", "rq-config", "rq-doctor"]
    for kind, (_, content_type, body) in zip(
        (wire.LOG, wire.CONFIG, wire.DOCTOR), box.central.answers, strict=True
    ):
        assert content_type == wire.FORMS[kind].content_type
        assert len(body) <= wire.FORMS[kind].max_bytes
        assert not [secret for secret in PLANTED if secret.encode() in body]


def test_a_request_is_answered_once_however_often_it_is_seen(tmp_path: Path) -> None:
    """Central repeats it until it has the answer; unknown kinds and names that are paths stay."""
    box = Box(tmp_path)
    for _ in range(3):
        box.ask(wire.LOG)
    box.ask("shell", "rq-2")
    box.ask(wire.LOG, "../../etc")
    assert [name for name, *_ in box.central.answers] == ["rq-1"]


def test_an_answer_that_could_not_be_sent_is_sent_later_and_made_once(tmp_path: Path) -> None:
    """Through an outage; a central that does not want it any more is not asked again."""
    box = Box(tmp_path)
    box.central.down = True
    box.ask(wire.LOG)
    write_log(tmp_path, "agent", {"at": "1", "message": "news"})
    box.central.down = False
    box.answerer.step()
    ((_, _, body),) = box.central.answers
    assert b"news" not in body
    box.central.refuses = True
    box.ask(wire.CONFIG, "rq-2")
    box.central.refuses = False
    box.answerer.step()
    assert len(box.central.answers) == 1


@pytest.mark.parametrize("allowed", [[], ["log", "thumbnail", "shell"]])
def test_what_the_site_forbids_is_refused_in_words(tmp_path: Path, allowed: list[str]) -> None:
    """By default everything without pixels is allowed; the site's signed policy narrows it."""
    box = Box(tmp_path)
    assert box.store.effective.diagnostics == frozenset(wire.FORMS)
    box.policy(allowed)
    box.ask(wire.CONFIG)
    ((_, content_type, body),) = box.central.answers
    assert content_type == wire.PROBLEM
    assert "policy" in msgspec.json.decode(body, type=wire.Refusal).detail


def test_a_policy_that_comes_while_an_answer_waits_holds(tmp_path: Path) -> None:
    """The answer was made, central was away, the site forbade it: a refusal leaves instead."""
    box = Box(tmp_path)
    box.central.down = True
    box.ask(wire.CONFIG)
    box.policy([])
    box.central.down = False
    box.answerer.step()
    assert [content_type for _, content_type, _ in box.central.answers] == [wire.PROBLEM]


def test_a_policy_that_cannot_be_read_any_more_forbids_everything(tmp_path: Path) -> None:
    """As with pixels: what the site said is not forgotten by damage."""
    Box(tmp_path).policy(["log"])
    (tmp_path / "policy" / "site_policy.json").write_bytes(b"\0")
    assert Box(tmp_path).store.effective.diagnostics == frozenset()


def test_a_stolen_central_cannot_keep_a_device_busy(tmp_path: Path) -> None:
    """A kind is answered again after a pause, few requests wait, and old ones are dropped."""
    box = Box(tmp_path)
    for n in range(3 * MAX_WAITING):
        box.ask(wire.DOCTOR, f"rq-{n}")
    assert len(box.central.answers) == 1
    box.clock.advance(61)
    box.answerer.step()
    assert len(box.central.answers) == 2
    box.clock.advance(700)
    box.answerer.step()
    box.answerer.step()
    assert len(box.central.answers) == 2


@pytest.mark.parametrize(
    "script",
    [
        "print('no json')",
        "import sys; print('x' * 100_000)",
        "import sys; sys.exit('rtsp://u:hunter22@host/ is broken')",
    ],
)
def test_a_doctor_that_fails_is_a_refusal(tmp_path: Path, script: str) -> None:
    """What goes wrong is said, without secrets; nothing ends."""
    box = Box(tmp_path)
    box.answerer = Answerer(
        box.store.effective.config,
        box.store,
        box.central,
        box.clock,
        examine=lambda *_: [sys.executable, "-c", script],
    )
    box.ask(wire.DOCTOR)
    ((_, content_type, body),) = box.central.answers
    assert content_type == wire.PROBLEM
    assert b"hunter22" not in body


def test_the_thread_ends_when_it_is_told(tmp_path: Path) -> None:
    """Waiting for nothing, it stops at once."""
    box = Box(tmp_path)
    stop = threading.Event()
    thread = threading.Thread(target=box.answerer.run, args=(stop,))
    thread.start()
    stop.set()
    box.answerer.wake()
    thread.join(20)
    assert not thread.is_alive()


# -------------------------------------------------------------------------------------- network


def listening() -> socket.socket:
    """Return a socket to which one can connect."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)
    return server


def test_each_step_to_central_is_measured(tmp_path: Path) -> None:
    """Name, connection, what the kernel knows, round trips, both directions."""
    with listening() as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        body = Examination(url, Central(), 4096.0, ManualClock()).run()
    said = msgspec.json.decode(body, type=wire.NetworkAnswer)
    assert said.dns_ms is not None
    (address,) = said.addresses
    assert address.connect_ms is not None
    assert (address.mtu_bytes or 0) >= 576
    assert len(said.round_trips_ms) == 5
    assert said.up.sent_bytes > 0
    assert said.down.mbit_s is not None


@pytest.mark.parametrize(("kbit_s", "most"), [(0.0, 0), (800.0, 1_000_000), (1e9, 8 * 2**20)])
def test_the_speed_test_keeps_to_the_window(kbit_s: float, most: int) -> None:
    """No more than the windows would give the backlog in ten seconds, and never over 8 MB."""
    central = Central()
    with listening() as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        body = Examination(url, central, kbit_s, ManualClock()).run()
    said = msgspec.json.decode(body, type=wire.NetworkAnswer)
    assert central.moved == said.up.sent_bytes + said.down.sent_bytes <= most
    assert (said.up.mbit_s is None) == (most == 0)


def test_windows_are_those_of_the_sites_local_time(tmp_path: Path) -> None:
    """A window that allows nothing now: the answer comes, without a speed."""
    closed = BandwidthWindow(start="00:00", end="00:00", backfill_kbit_s=0)
    with listening() as server:
        link = CentralLink(url=f"http://127.0.0.1:{server.getsockname()[1]}")
        box = Box(tmp_path, central=link, uplink=UplinkSettings(windows=[closed]))
        box.ask(wire.NETWORK)
    ((_, _, body),) = box.central.answers
    said = msgspec.json.decode(body, type=wire.NetworkAnswer)
    assert said.cap_kbit_s == 0
    assert "uplink.windows" in said.up.trouble
    assert box.central.moved == 0


def test_a_way_that_is_cut_says_where(tmp_path: Path) -> None:
    """No such name; nobody listens; central does not answer over HTTP."""
    central = Central()
    central.down = True
    body = Examination("https://no-such-host.invalid", central, 4096.0, ManualClock()).run()
    said = msgspec.json.decode(body, type=wire.NetworkAnswer)
    assert "resolved" in said.dns_trouble
    with listening() as server:
        port = server.getsockname()[1]
    body = Examination(f"http://127.0.0.1:{port}", central, 4096.0, ManualClock()).run()
    said = msgspec.json.decode(body, type=wire.NetworkAnswer)
    assert "no connection" in said.addresses[0].trouble
    assert "cut" in said.http_trouble
    assert said.up.mbit_s is None


def test_the_route_is_told_or_why_not() -> None:
    """Loopback is one hop; without an IPv4 address, or time, it is said."""
    clock = ManualClock()
    end_ns = clock.mono_ns() + 10**10
    found, trouble = route.hops(["::1", "127.0.0.1"], clock, end_ns)
    assert trouble or [hop.address for hop in found] == ["127.0.0.1"]
    assert route.hops(["::1"], clock, end_ns) == ([], "central has no IPv4 address here")
    assert route.hops(["127.0.0.1"], clock, clock.mono_ns())[1] == "the time for this test was over"
