"""Local alerts with real receivers: a webhook, a broker, a program; central there and cut off."""

import base64
import http.server
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import msgspec
import paho.mqtt.client as paho
import pytest
import standardwebhooks

from tests.conftest import skip_or_fail
from vedette.clock import SystemClock
from vedette.edge.agent import Agent
from vedette.edge.alerts.desk import NOTE, Desk
from vedette.edge.alerts.matching import Place
from vedette.edge.enrolment import Identity, sealing_key
from vedette.edge.settings import CentralLink, EdgeConfig
from vedette.edge.spool import Listener, Spool
from vedette.edge.uplink import Uplink
from vedette.errors import CentralUnreachable
from vedette.ids import DeviceId, SiteId
from vedette.trust.keys import SigningKey, write_private
from vedette.trust.site_policy import PolicyFile, sign_policy
from vedette.wire.alerts import (
    ChannelKind,
    EventMatch,
    LocalAlert,
    LocalAlerts,
    LocalChannel,
    LocalHealth,
    LocalHealthMatch,
    LocalRule,
    Turn,
    When,
)
from vedette.wire.envelope import Batch, LaneAck, UpAnswer
from vedette.wire.messages import (
    CameraState,
    EventKind,
    EventReport,
    HealthReport,
    State,
    SystemHealth,
)

SECRET = "whsec_" + base64.b64encode(b"r" * 32).decode()
WAIT_S = 30.0


def wait_for(met: Callable[[], bool]) -> None:
    """Return when `met` is; fail after a while."""
    never, clock = threading.Event(), SystemClock()
    end_ns = clock.mono_ns() + round(WAIT_S * 1e9)
    while not met():
        assert clock.mono_ns() < end_ns, "waited too long"
        clock.wait(never, 0.005)


class Receiver(http.server.BaseHTTPRequestHandler):
    """A webhook's receiver that believes only what is signed."""

    protocol_version = "HTTP/1.1"
    got: ClassVar[list[LocalAlert]] = []
    statuses: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        """Verify, note, answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        standardwebhooks.Webhook(SECRET).verify(body, headers)
        status = self.statuses.pop(0) if self.statuses else 204
        if status < 300:
            self.got.append(msgspec.json.decode(body, type=LocalAlert))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_said: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[LocalChannel]:
    """A channel to a real receiver, driven always."""
    Receiver.got, Receiver.statuses = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield LocalChannel(
        channel="siren",
        kind=ChannelKind.WEBHOOK,
        when=When.ALWAYS,
        url=f"http://127.0.0.1:{server.server_port}/alert",
        secret=SECRET,
        timeout_s=20.0,
    )
    server.shutdown()
    server.server_close()


class Central:
    """Central in memory, whose line can be cut."""

    def __init__(self) -> None:
        self.cut = False
        self.asked = 0
        self.took: list[str] = []

    def up(self, batch: Batch) -> UpAnswer:
        """Take a batch, or not."""
        self.asked += 1
        if self.cut:
            raise CentralUnreachable("cut")
        self.took += [f"{e.schema}-{e.lane}-{e.seq}" for e in batch.envelopes]
        last: dict[tuple[int, str], LaneAck] = {}
        for e in batch.envelopes:
            last[e.epoch, e.lane] = LaneAck(epoch=e.epoch, lane=e.lane, acked_through=e.seq)
        return UpAnswer(acks=list(last.values()))


def event(name: str) -> EventReport:
    """Return an event that the rule is about."""
    return EventReport(event=name, camera="door", kind=EventKind.LINE_CROSSED, at_ms=7)


class Device:
    """Spool, bell, uplink and desk in their threads, as the agent has them."""

    def __init__(self, folder: Path, *channels: LocalChannel, by_hand: bool = False) -> None:
        self.clock = SystemClock()
        self.folder = folder
        self.central = Central()
        self.said = LocalAlerts(
            channels=list(channels),
            rules=[
                LocalRule(
                    rule="door",
                    channels=[one.channel for one in channels],
                    event=EventMatch(kinds=[EventKind.LINE_CROSSED]),
                )
            ],
        )
        self.pipeline = Spool.open(folder / "spool", 1 << 26, self.clock, "b")
        self.spool = Spool.open(folder / "spool", 1 << 26, self.clock, "b", writer=False)
        self.stop = threading.Event()
        self.bell = Listener(folder / "spool")
        self.desk = Desk(
            folder,
            self.spool,
            self.clock,
            place=Place("yard", "box"),
            boot_id="b",
            says=lambda: self.said,
            line=lambda: self.uplink.line,
        )
        self.uplink = Uplink(
            self.spool,
            self.central,
            self.clock,
            device="box",
            boot_id="b",
            report=self._report,
            answered=lambda _: None,
            period_s=lambda: 30.0,
            settling=self.desk.before_settling,
        )
        self.desk.step()  # what was before the policy is not driven by it
        works = [self.uplink.run, self.desk.run, lambda stop: self.bell.run(stop, self._hear)]
        works = works[2:] if by_hand else works
        self.threads = [
            threading.Thread(target=work, args=(self.stop,), daemon=True) for work in works
        ]
        for thread in self.threads:
            thread.start()

    def _hear(self) -> None:
        self.uplink.hear()
        self.desk.hear()

    def _report(self) -> None:
        report = HealthReport(at_ms=1, period_s=30.0, version="1")
        self.spool.put("health.v1", report, at_once=True)
        self.desk.take(report)

    def happens(self, name: str) -> None:
        """Have the pipeline hand over an event."""
        self.pipeline.hand_over("event.v1", event(name))

    def cut(self) -> None:
        """Have central away, and known to be."""
        self.central.cut = True
        self.uplink.wake()
        wait_for(lambda: self.uplink.line.silent_ns is not None)

    def heal(self) -> None:
        """Have central back, and everything there."""
        self.central.cut = False
        wait_for(self._asked_again)

    def _asked_again(self) -> bool:
        self.uplink.wake()
        return self.uplink.line.silent_ns is None

    def close(self) -> None:
        """End, as the agent does."""
        self.stop.set()
        self.bell.close()
        self._hear()
        for thread in self.threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        self.pipeline.close()
        self.spool.close()


@pytest.fixture
def device(tmp_path: Path, hook: LocalChannel) -> Iterator[Device]:
    """A device whose one channel is driven always."""
    made = Device(tmp_path, hook)
    yield made
    made.close()


def events() -> list[str]:
    """Return the events of which the receiver was told, in order."""
    return [one.event for one in Receiver.got]


def test_a_cut_off_device_tells_people_at_the_site(tmp_path: Path, hook: LocalChannel) -> None:
    """While central is away events are driven at once; before and after, central has them alone."""
    local = msgspec.structs.replace(hook, when=When.UNREACHABLE, after_s=0.0)
    device = Device(tmp_path, local)
    wait_for(lambda: device.uplink.line.answered_ns is not None)
    device.cut()
    device.happens("away-1")
    device.happens("away-2")
    wait_for(lambda: events() == ["away-1", "away-2"])
    assert {one.central for one in Receiver.got} == {"unreachable"}
    device.heal()
    patient = msgspec.structs.replace(local, after_s=1.0)
    device.said = msgspec.structs.replace(device.said, channels=[patient])
    device.desk.hear()
    wait_for(lambda: [one.channel for one in device.desk.health()] == ["siren"])
    device.happens("back")
    wait_for(lambda: "event.v1-alert-3" in device.central.took)
    device.cut()
    device.happens("away-3")
    wait_for(lambda: events()[2:] == ["away-3"])
    device.close()
    driven = device.desk.take_driven()
    assert [(one.event, one.channel, one.central) for one in driven] == [
        (name, "siren", "unreachable") for name in ("away-1", "away-2", "away-3")
    ]


def test_always_is_told_whether_central_takes_it_or_not(device: Device) -> None:
    """Also where central's answer comes first; each event once."""
    for number in range(20):
        device.happens(f"e{number}")
    wait_for(lambda: len(Receiver.got) >= 20)
    device.cut()
    device.happens("last")
    wait_for(lambda: events()[-1] == "last")
    assert events() == [*(f"e{n}" for n in range(20)), "last"]


def test_what_central_takes_first_is_read_before_it_leaves(
    tmp_path: Path, hook: LocalChannel
) -> None:
    """The desk came too late for the spool, and not for the event."""
    device = Device(tmp_path, hook, by_hand=True)
    device.pipeline.put("event.v1", event("quick"))
    device.uplink.step()
    assert device.central.took[0] == "event.v1-alert-1"
    assert device.spool.alerts_after((0, 0), 10) == []
    device.desk.step()
    wait_for(lambda: events() == ["quick"])
    device.desk.run(_set())
    device.close()


def _set() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def test_a_receiver_that_fails_or_redirects_is_tried_again(device: Device) -> None:
    """503 and 302 come again under the same name; 410 is given up; nothing is told twice."""
    Receiver.statuses = [503]
    device.happens("again")
    wait_for(lambda: events() == ["again"])
    Receiver.statuses = [410]
    device.happens("gone")
    device.happens("next")
    wait_for(lambda: events() == ["again", "next"])
    wait_for(lambda: device.desk.health()[0].sent == 2)  # noted after the receiver had it
    [health] = device.desk.health()
    assert (health.sent, health.failed, health.dropped) == (2, 2, {"refused": 1})


def test_a_policy_without_the_channel_stops_it(device: Device) -> None:
    """What waits for a dead receiver is dropped; said again, it begins with new news."""
    Receiver.statuses = [503] * 50
    device.happens("old")
    wait_for(lambda: device.desk.health()[0].failed > 0)
    before, device.said = device.said, LocalAlerts()
    device.desk.hear()
    wait_for(lambda: device.desk.health() == [])
    device.cut()  # so that it stays where the desk would find it
    device.happens("between")
    wait_for(lambda: device.spool.last_alert()[1] == 2)
    Receiver.statuses = []
    device.said = before
    device.desk.hear()
    wait_for(lambda: device.desk.health() != [])
    wait_for(lambda: device.desk.step() > 0)
    device.happens("new")
    wait_for(lambda: events() != [])
    assert events() == ["new"]


def test_an_agent_that_starts_anew_repeats_nothing_and_forgets_nothing(
    tmp_path: Path, hook: LocalChannel
) -> None:
    """Delivered ones are over; one whose receiver was away is told by the next agent."""
    device = Device(tmp_path, hook)
    device.happens("told")
    wait_for(lambda: events() == ["told"])
    device.cut()
    Receiver.statuses = [503] * 100
    device.happens("waits")
    wait_for(lambda: device.desk.health()[0].failed > 0)
    device.close()
    assert (tmp_path / NOTE).exists()
    Receiver.statuses = []
    again = Device(tmp_path, hook)
    wait_for(lambda: events() == ["told", "waits"])
    again.close()


def test_trouble_is_told_and_its_end(tmp_path: Path, hook: LocalChannel) -> None:
    """A camera that goes down is told from its own news, not at the next report."""
    device = Device(tmp_path, hook)
    down = LocalHealthMatch(is_=LocalHealth.CAMERA_DOWN)
    device.said = LocalAlerts(
        channels=[hook], rules=[LocalRule(rule="down", channels=["siren"], health=down)]
    )
    device.desk.hear()
    wait_for(lambda: device.desk.step() > 0)
    for state, turn in ((State.DOWN, Turn.RAISED), (State.OK, Turn.CLEARED)):
        device.pipeline.put(
            "camera_state.v1", CameraState(camera="door", at_ms=1, noticed_ms=1, state=state)
        )
        wait_for(lambda turn=turn: bool(Receiver.got) and Receiver.got[-1].turn is turn)
    device.close()
    assert [one.text for one in Receiver.got] == ["door: camera down", "door: camera down: over"]


def test_who_was_told_of_trouble_is_told_of_its_end(tmp_path: Path, hook: LocalChannel) -> None:
    """Told while central was away; over when it is back: a lamp must not burn on."""
    local = msgspec.structs.replace(hook, when=When.UNREACHABLE, after_s=0.5)
    device = Device(tmp_path, local)
    down = LocalHealthMatch(is_=LocalHealth.CAMERA_DOWN)
    device.said = LocalAlerts(
        channels=[local], rules=[LocalRule(rule="down", channels=["siren"], health=down)]
    )
    device.desk.hear()
    wait_for(lambda: device.desk.step() > 0)
    device.cut()
    state = CameraState(camera="door", at_ms=1, noticed_ms=1, state=State.DOWN)
    device.pipeline.put("camera_state.v1", state)
    wait_for(lambda: len(Receiver.got) == 1)
    device.heal()
    state = msgspec.structs.replace(state, state=State.OK)
    device.pipeline.put("camera_state.v1", state)
    wait_for(lambda: len(Receiver.got) == 2)
    device.close()
    assert [one.turn for one in Receiver.got] == [Turn.RAISED, Turn.CLEARED]


def test_a_program_is_run(tmp_path: Path) -> None:
    """As a relay that is switched: a program with the facts of the event."""
    out = tmp_path / "out"
    program = tmp_path / "relay"
    program.write_text(f'#!/bin/sh\necho "$1 $VEDETTE_EVENT" >>{out}\n')
    program.chmod(0o755)
    lamp = LocalChannel(
        channel="lamp",
        kind=ChannelKind.COMMAND,
        when=When.ALWAYS,
        argv=[str(program), "on"],
        timeout_s=20.0,
    )
    device = Device(tmp_path, lamp)
    device.happens("e1")
    wait_for(lambda: bool(device.desk.health()) and device.desk.health()[0].sent == 1)
    device.close()
    assert out.read_text() == "on e1\n"


# ------------------------------------------------------------------------------------- a broker


class Broker:
    """A real mosquitto with a password, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        tool = shutil.which("mosquitto_passwd")
        if program is None or tool is None:
            skip_or_fail("no mosquitto on this machine")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir()
        subprocess.run([tool, "-b", "-c", folder / "users", "box", "s3cret"], check=True)
        (folder / "users").chmod(0o644)
        folder.chmod(0o755)
        (folder / "conf").write_text(
            f"listener {self.port} 127.0.0.1\npassword_file {folder / 'users'}\nuser root\n"
        )
        self.process = subprocess.Popen([program, "-c", folder / "conf"], stderr=subprocess.DEVNULL)
        self.got: list[tuple[str, LocalAlert]] = []
        self.reader = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.reader.username_pw_set("box", "s3cret")
        subscribed = threading.Event()
        self.reader.on_connect = lambda client, *_: client.subscribe("plant/#", qos=1)
        self.reader.on_subscribe = lambda *_: subscribed.set()
        self.reader.on_message = lambda _client, _data, message: self.got.append(
            (message.topic, msgspec.json.decode(message.payload, type=LocalAlert))
        )
        wait_for(self._answers)
        self.reader.connect("127.0.0.1", self.port)
        self.reader.loop_start()
        assert subscribed.wait(WAIT_S)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End it."""
        self.reader.disconnect()
        self.reader.loop_stop()
        self.process.terminate()
        self.process.wait(WAIT_S)


def test_a_real_broker_gets_alerts_and_a_wrong_password_is_said(tmp_path: Path) -> None:
    """Published and acknowledged under the device's topic; who may not connect is told why."""
    broker = Broker(tmp_path / "broker")
    url = f"mqtt://box:s3cret@127.0.0.1:{broker.port}"
    plant = LocalChannel(
        channel="plant",
        kind=ChannelKind.MQTT,
        when=When.ALWAYS,
        url=url,
        topic="plant/{site}/{device}/{camera}",
        timeout_s=20.0,
    )
    wrong = msgspec.structs.replace(
        plant, channel="wrong", url=url.replace("s3cret", "guess"), timeout_s=1.0
    )
    device = Device(tmp_path, plant, wrong)
    device.happens("e1")
    device.happens("e2")
    wait_for(lambda: len(broker.got) == 2)
    assert [(topic, alert.event) for topic, alert in broker.got] == [
        ("plant/yard/box/door", "e1"),
        ("plant/yard/box/door", "e2"),
    ]
    wait_for(lambda: "refuses" in device.desk.health()[1].problem)
    assert device.desk.health()[1].sent == 0
    device.close()
    broker.close()


def test_a_broker_that_hangs_hurts_nobody(tmp_path: Path, hook: LocalChannel) -> None:
    """It accepts and never answers: central and the other channel get everything meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hung = LocalChannel(
            channel="hung",
            kind=ChannelKind.MQTT,
            when=When.ALWAYS,
            url=f"mqtt://127.0.0.1:{silent.getsockname()[1]}",
            timeout_s=60.0,
        )
        device = Device(tmp_path, hung, hook)
        for number in range(5):
            device.happens(f"e{number}")
        wait_for(lambda: len(Receiver.got) == 5)
        wait_for(lambda: "event.v1-alert-5" in device.central.took)
        assert device.desk.health()[0].waiting == 5
        device.close()


# ------------------------------------------------------------------------------- a whole agent

PIPELINE = """
import signal, sys, threading
from pathlib import Path
from vedette.clock import SystemClock
from vedette.edge.spool import Spool
from vedette.wire.messages import EventKind, EventReport

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
state = Path(sys.argv[1]).parent
spool = Spool.open(state / "spool", 1 << 26, SystemClock(), "b")
event = EventReport(event="cut-off", camera="door", kind=EventKind.LINE_CROSSED, at_ms=7)
spool.hand_over("event.v1", event)
stop.wait()
spool.close()
"""


class Probe:
    """A machine of which nothing is known."""

    def collect(self, *, boot_id: str = "", pipeline_pid: int | None = None) -> SystemHealth:
        """Return nothing."""
        return SystemHealth(boot_id=boot_id)


def test_an_agent_without_a_line_tells_the_site_what_its_pipeline_saw(
    tmp_path: Path, hook: LocalChannel
) -> None:
    """Two processes, a policy sealed for this device, and nobody at central's address."""
    site, central, state = SigningKey.generate(), SigningKey.generate(), tmp_path / "state"
    away = msgspec.structs.replace(hook, when=When.UNREACHABLE, after_s=0.0)
    rule = LocalRule(
        rule="door", channels=["siren"], event=EventMatch(kinds=[EventKind.LINE_CROSSED])
    )
    said = PolicyFile(
        site="yard",
        version=1,
        alerts=LocalAlerts(channels=[away], rules=[rule]),
        seal_for={"box": sealing_key(state).text},
    )
    identity = Identity(
        device=DeviceId("box"),
        site=SiteId("yard"),
        central_key=central.public.text,
        site_keys=[site.public.text],
    )
    write_private(state / "identity" / "identity.json", msgspec.json.encode(identity))
    (state / "policy").mkdir()
    write_private(
        state / "policy" / "site_policy.json",
        msgspec.json.encode(sign_policy(said, [site], now_ms=1)),
    )
    script = tmp_path / "pipeline.py"
    script.write_text(PIPELINE)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        link = CentralLink(url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        agent = Agent(
            EdgeConfig(state_dir=state, models_dir=tmp_path, central=link),
            SystemClock(),
            boot_id="b",
            pipeline=lambda effective: [sys.executable, str(script), str(effective)],
            probe=Probe(),
        )
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        wait_for(lambda: events() == ["cut-off"])
        wait_for(lambda: agent.report().local_channels[0].sent == 1)
        agent.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert Receiver.got[0].central == "unreachable"
