"""The agent's parts: one pipeline at a time, its report, requests of an operator."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from vedette.clock import ManualClock, SystemClock, wall_ms
from vedette.edge import heartbeat, requests, service
from vedette.edge import supervisor as supervisor_module
from vedette.edge.agent import Agent
from vedette.edge.attendant import Attendant
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import Identity
from vedette.edge.evidence.holds import Holds
from vedette.edge.heartbeat import Heartbeat
from vedette.edge.holding import HoldKeeper
from vedette.edge.settings import Camera, CentralLink, EdgeConfig, EvidenceSettings
from vedette.edge.spool import Spool
from vedette.edge.status import read_status, write_status
from vedette.edge.supervisor import AgentLock, Supervisor, end_orphan
from vedette.errors import CentralUnreachable, ConfigError
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire.codec import decode_body
from vedette.wire.enrol import Desired, Request
from vedette.wire.envelope import UpAnswer
from vedette.wire.messages import (
    Aggregate,
    CameraHealth,
    Cause,
    CoverageReport,
    Frames,
    HealthReport,
    ModelHealth,
    State,
    SystemHealth,
)
from vedette.wire.signed import POLICY_TYPE, SETTINGS_TYPE, DeviceSettings, PixelPolicy, SitePolicy
from vedette.wire.streams import stream

PAUSE = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
_IGNORE = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
STUBBORN = [sys.executable, "-c", f"{_IGNORE}\nwhile True: signal.pause()"]


class Rig:
    """A supervisor over real processes, with time by hand."""

    def __init__(self, tmp_path: Path, argv: list[str]) -> None:
        self.clock = ManualClock()
        self.path = tmp_path
        reader, writer = os.pipe()
        self.output = os.fdopen(reader, "rb")
        self.supervisor = Supervisor(
            argv, tmp_path, self.clock, log_file=os.fdopen(writer, "wb"), jitter=random.Random(1)
        )

    def up(self) -> int:
        """Tick, wait until the new process speaks, and return its id."""
        self.supervisor.tick()
        assert self.output.readline() == b"up\n"
        assert self.supervisor.pid
        return self.supervisor.pid

    def wait(self) -> None:
        """Wait for the process to end, without telling the supervisor."""
        assert self.supervisor._child is not None
        os.waitid(os.P_PID, self.supervisor._child.pid, os.WEXITED | os.WNOWAIT)

    def beat(self, **fields: object) -> None:
        """Write a heartbeat of the running process."""
        beat = Heartbeat(
            pid=self.supervisor.pid or 0,
            boot_id="b",
            mono_ns=self.clock.mono_ns(),
            started_ms=0,
        )
        heartbeat.write(self.path, msgspec.structs.replace(beat, **fields))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a rig over a process that does nothing until it is told to end."""
    made = Rig(tmp_path, PAUSE)
    yield made
    made.supervisor.stop()
    made.output.close()
    made.supervisor._log_file.close()  # type: ignore[union-attr]


# ----------------------------------------------------------------------------------- supervisor


def test_a_pipeline_that_died_is_started_again_after_a_growing_pause(rig: Rig) -> None:
    """Killed with -9: another one soon, later and later while it keeps dying."""
    pauses = []
    for _ in range(4):
        os.kill(rig.up(), signal.SIGKILL)
        rig.wait()
        rig.supervisor.tick()
        assert not rig.supervisor.running
        assert rig.supervisor.last_exit == "signal SIGKILL"
        waited = 0.0
        while rig.clock.mono_ns() < rig.supervisor._not_before_ns:
            rig.clock.advance(0.25)
            waited += 0.25
        pauses.append(waited)
    assert pauses == sorted(pauses)
    assert 0.5 <= pauses[0] <= 1.0
    assert 4.0 <= pauses[-1] <= 8.25
    rig.up()
    assert rig.supervisor.restarts == 4


def test_a_pipeline_with_a_stale_heartbeat_is_killed(rig: Rig) -> None:
    """A hung native call cannot be asked to end."""
    first = rig.up()
    rig.beat()
    rig.clock.advance(heartbeat.STALE_AFTER_S - 1)
    rig.supervisor.tick()
    assert rig.supervisor.pid == first
    rig.clock.advance(2)
    rig.supervisor.tick()
    assert "heartbeat was older" in rig.supervisor.last_exit
    rig.clock.advance(5)
    assert rig.up() != first


def test_a_pipeline_that_never_beats_is_killed_after_its_models_had_time(rig: Rig) -> None:
    """A heartbeat of the life before does not count."""
    rig.up()
    heartbeat.write(rig.path, Heartbeat(pid=1, boot_id="b", mono_ns=2**62, started_ms=0))
    rig.clock.advance(119)
    rig.supervisor.tick()
    assert rig.supervisor.running
    rig.clock.advance(2)
    rig.supervisor.tick()
    assert "no heartbeat" in rig.supervisor.last_exit


def test_a_pipeline_that_wants_a_restart_gets_it_without_a_pause(rig: Rig) -> None:
    """Asked to end, started again in the tick that sees it gone."""
    first = rig.up()
    rig.beat(needs_restart="three capture threads hang")
    rig.supervisor.tick()
    rig.wait()
    assert rig.up() != first
    assert rig.supervisor.last_exit == "three capture threads hang: signal SIGTERM"


def test_a_pipeline_that_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    """SIGTERM ignored: SIGKILL after a while."""
    stubborn = Rig(tmp_path, STUBBORN)
    stubborn.up()
    stubborn.supervisor.restart("new configuration")
    stubborn.supervisor.tick()
    assert stubborn.supervisor.running
    stubborn.clock.advance(16)
    stubborn.supervisor.tick()
    assert "did not end when asked" in stubborn.supervisor.last_exit
    stubborn.up()
    os.kill(stubborn.supervisor.pid or 0, signal.SIGKILL)
    stubborn.supervisor.stop()
    stubborn.output.close()
    stubborn.supervisor._log_file.close()  # type: ignore[union-attr]


def test_a_second_agent_is_refused(tmp_path: Path) -> None:
    """Two agents on one state directory would send everything twice."""
    held = AgentLock(tmp_path)
    with pytest.raises(ConfigError, match="another agent"):
        AgentLock(tmp_path)
    assert AgentLock.is_held(tmp_path)
    held.release()
    assert not AgentLock.is_held(tmp_path)
    AgentLock(tmp_path).release()


@pytest.mark.parametrize("argv", [PAUSE, STUBBORN])
def test_a_pipeline_that_outlived_its_agent_is_ended(
    tmp_path: Path, argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock lives in the orphan itself; whoever starts next ends it first."""
    source = (
        "import sys; from pathlib import Path; from vedette.clock import SystemClock\n"
        "from vedette.edge.supervisor import Supervisor\n"
        f"s = Supervisor({argv!r}, Path({str(tmp_path)!r}), SystemClock())\n"
        "s.tick(); print(s.pid, flush=True); sys.stdin.read()"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert agent.stdout is not None
    assert agent.stdin is not None
    words = {agent.stdout.readline().strip(), agent.stdout.readline().strip()}
    orphan = int((words - {b"up"}).pop())
    agent.kill()
    agent.wait(20)
    os.kill(orphan, 0)
    monkeypatch.setattr(supervisor_module, "STOP_S", 2.0)
    assert end_orphan(tmp_path, SystemClock())
    assert not end_orphan(tmp_path, SystemClock())
    agent.stdout.close()
    agent.stdin.close()


def test_the_heartbeat_stands_in_memory_where_the_service_manager_gives_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SD card is not worn by a file a second; a folder that is not there is not used."""
    state, runtime = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    beat = Heartbeat(pid=1, boot_id="b", mono_ns=1, started_ms=1)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    heartbeat.write(state, beat)
    assert (state / heartbeat.FILE).exists()
    runtime.mkdir()
    assert heartbeat.read(state) is None
    heartbeat.write(state, beat)
    assert heartbeat.read(state) == beat
    assert [file.name for file in runtime.iterdir()] == [heartbeat.FILE]
    heartbeat.forget(state)
    assert heartbeat.read(state) is None
    heartbeat.forget(state)


# ---------------------------------------------------------------------------------------- agent


class Probe:
    """A machine that says little."""

    def collect(self, *, boot_id: str = "", pipeline_pid: int | None = None) -> SystemHealth:
        """Return who asked."""
        return SystemHealth(boot_id=boot_id)


def agent_for(tmp_path: Path, clock: ManualClock, central: CentralLink | None = None) -> Agent:
    """Return an agent over a pipeline that does nothing."""
    config = EdgeConfig(
        state_dir=tmp_path / "state",
        models_dir=tmp_path / "models",
        cameras=[Camera(id="door"), Camera(id="yard")],
        central=central,
    )
    return Agent(config, clock, boot_id="b", pipeline=lambda _: PAUSE, probe=Probe())


def close(agent: Agent) -> None:
    """End an agent that never ran."""
    agent._supervisor.stop()
    agent.spool.close()
    agent._lock.release()


def test_the_spool_is_told_of_a_step_of_the_clock_but_not_of_each_millisecond(
    tmp_path: Path,
) -> None:
    """Two clocks read one after the other differ each time; a note is a synced commit."""
    clock = ManualClock()
    agent = agent_for(tmp_path, clock)
    try:
        agent._check_clock()
        noted = agent.spool.version()
        for step_ms in (60, 60, 60, -150):
            clock.step_wall(clock.now_at() + timedelta(milliseconds=step_ms))
            agent._check_clock()
        assert agent.spool.version() == noted
        clock.step_wall(clock.now_at() + timedelta(milliseconds=190))
        agent._check_clock()
        assert agent.spool.version() != noted
    finally:
        close(agent)


def test_a_report_says_what_was_written_since_the_one_before(tmp_path: Path) -> None:
    """By the kernel's books where it keeps them; each byte once."""
    agent = agent_for(tmp_path, ManualClock())
    try:
        first, second = agent.report().spool, agent.report().spool
        if not Path("/proc/self/io").exists():
            assert first.written_bytes is None
        else:
            assert (first.written_bytes or 0) > (second.written_bytes or 0)
    finally:
        close(agent)


def test_a_device_that_works_alone_keeps_its_status_and_sends_none(tmp_path: Path) -> None:
    """No central: cameras are told as soon as the pipeline beats, then once each report period."""
    clock = ManualClock()
    agent = agent_for(tmp_path, clock)
    try:
        agent.tick()
        state = tmp_path / "state"
        report = read_status(state)
        assert report is not None
        assert report.pipeline is not None
        assert report.pipeline.running
        assert report.pipeline.cameras == []
        door = CameraHealth(camera="door", state=State.DOWN, since_ms=0, advice=["no cable"])
        beat = Heartbeat(
            pid=agent._supervisor.pid or 0, boot_id="b", mono_ns=clock.mono_ns(), started_ms=0
        )
        heartbeat.write(state, msgspec.structs.replace(beat, window=1, cameras=[door]))
        clock.advance(2)
        agent.tick()
        report = read_status(state)
        assert report is not None
        assert report.pipeline is not None
        assert report.pipeline.cameras == [door]
        at_ms = report.at_ms
        clock.advance(14)
        agent.tick()
        assert (read_status(state) or report).at_ms == at_ms
        heartbeat.write(
            state, msgspec.structs.replace(beat, mono_ns=clock.mono_ns(), cameras=[door])
        )
        clock.advance(14)
        agent.tick()
        clock.advance(2)
        agent.tick()
        assert (read_status(state) or report).at_ms == at_ms + 30_000
        schemas = [envelope.schema for envelope in agent.spool.next_batch(max_n=100)]
        assert "health.v1" not in schemas
    finally:
        close(agent)


def gaps(spool: Spool) -> list[tuple[str, int, int, Cause | None]]:
    """Return every gap that waits in the spool."""
    found = []
    for envelope in spool.next_batch(max_n=10_000):
        body = decode_body(envelope.body, stream(envelope.schema))
        if isinstance(body, CoverageReport):
            found += [(body.camera, s.start_ms, s.end_ms, s.cause) for s in body.spans]
    return sorted(found)


def test_time_without_the_agent_is_dark_and_without_pipeline_stopped(tmp_path: Path) -> None:
    """Off for a minute, then a pipeline that cannot start: two causes, one seam, no hole."""
    clock = ManualClock()
    t0 = wall_ms(clock.now_at())
    before = agent_for(tmp_path, clock)
    for camera in ("door", "yard"):
        before.spool.put("aggregate.v1", Aggregate(camera=camera, start_ms=t0, end_ms=t0))
    close(before)
    clock.advance(60)
    agent = agent_for(tmp_path, clock)
    agent._begin()
    agent._supervisor.stop()
    clock.advance(30)
    agent._supervisor._not_before_ns = 2**62
    agent.tick()
    expected = []
    for camera in ("door", "yard"):
        expected.append((camera, t0, t0 + 60_000, Cause.DEVICE_DARK))
        expected.append((camera, t0 + 60_000, t0 + 90_000, Cause.PIPELINE_STOPPED))
    found = gaps(agent.spool)
    assert [(c, a - t0, b - t0, k) for c, a, b, k in found] == [
        (c, a - t0, b - t0, k) for c, a, b, k in expected
    ]
    close(agent)


def test_a_running_pipeline_has_its_time_stated_by_nobody_else(tmp_path: Path) -> None:
    """While the pipeline is there, the agent says nothing about coverage."""
    clock = ManualClock()
    agent = agent_for(tmp_path, clock)
    agent._begin()
    agent.spool.put("aggregate.v1", Aggregate(camera="door", start_ms=0, end_ms=1))
    for _ in range(20):
        clock.advance(0.5)
        agent.tick()
    agent.spool.flush()
    assert [gap for gap in gaps(agent.spool) if gap[3] is Cause.PIPELINE_STOPPED] == []
    close(agent)


def test_a_window_of_the_pipeline_is_reported_once(tmp_path: Path) -> None:
    """The counts of a window are in one report; the next repeats the state alone."""
    clock = ManualClock()
    agent = agent_for(tmp_path, clock)
    agent._begin()
    camera = CameraHealth(
        camera="door", state=State.OK, since_ms=1, frames=Frames(captured=5, analysed=5)
    )
    beat = Heartbeat(
        pid=agent._supervisor.pid or 0,
        boot_id="b",
        mono_ns=clock.mono_ns(),
        started_ms=0,
        window=1,
        cameras=[camera],
        models=[ModelHealth(model="m", inferences=5)],
    )
    heartbeat.write(tmp_path / "state", beat)
    first, second = agent.report(), agent.report()
    assert first.pipeline is not None
    assert second.pipeline is not None
    assert first.pipeline.running
    assert [c.frames.captured for c in first.pipeline.cameras] == [5]
    assert [c.frames.captured for c in second.pipeline.cameras] == [0]
    assert second.pipeline.cameras[0].state is State.OK
    assert (len(first.models), len(second.models)) == (1, 0)
    close(agent)


def test_problems_are_in_the_report_in_words(tmp_path: Path) -> None:
    """A clock before the floor and a pipeline that died are said."""
    clock = ManualClock()
    clock.step_wall(clock.now_at().replace(year=1999))
    agent = agent_for(tmp_path, clock)
    agent._begin()
    agent._supervisor.stop()
    problems = agent.report().problems
    assert any("clock" in text for text in problems)
    assert any("pipeline is down" in text for text in problems)
    close(agent)


def test_a_report_says_whose_keys_are_pinned_and_that_a_person_changed_them(tmp_path: Path) -> None:
    """Central and the owner see what was done at the device, for a day."""
    clock = ManualClock()
    agent = agent_for(tmp_path, clock)
    assert agent.report().site_keys_version == 0
    changed = {"site_keys_version": 4, "by_hand_ms": wall_ms(clock.now_at())}
    identity = msgspec.structs.replace(IDENTITY, **changed)
    agent._desired = DesiredStore(tmp_path / "state", agent._config, identity)
    report = agent.report()
    assert report.site_keys_version == 4
    assert any("replaced by hand" in text for text in report.problems)
    clock.advance(25 * 3600)
    assert not any("replaced by hand" in text for text in agent.report().problems)
    close(agent)


def test_why_reports_do_not_arrive_is_said_at_the_device_alone(tmp_path: Path) -> None:
    """The status has the uplink's reason; the report, which comes late or never, has not."""
    agent = agent_for(tmp_path, ManualClock())
    agent._uplink = SimpleNamespace(problem="403: not enrolled any more", agreed=True)  # type: ignore[assignment]
    assert not any("403" in text for text in agent.report().problems)
    agent._put_report()
    status = read_status(tmp_path / "state")
    assert status is not None
    assert any("403" in text for text in status.problems)
    agent._uplink = None
    close(agent)


def test_a_damaged_identity_does_not_stop_counting(tmp_path: Path) -> None:
    """Reports wait until somebody repairs it; the pipeline runs."""
    folder = tmp_path / "state" / "identity"
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text("{}")
    clock = ManualClock()
    agent = agent_for(tmp_path, clock, CentralLink(url="http://127.0.0.1:1"))
    agent._begin()
    agent.tick()
    assert agent._supervisor.running
    assert agent._uplink is None
    close(agent)


def test_the_status_file_is_whole_or_absent(tmp_path: Path) -> None:
    """What `status` reads comes back; garbage is as good as nothing."""
    assert read_status(tmp_path) is None
    report = HealthReport(at_ms=1, period_s=30, version="x")
    write_status(tmp_path, report)
    assert read_status(tmp_path) == report
    (tmp_path / "agent.json").write_text("{")
    assert read_status(tmp_path) is None


# ------------------------------------------------------------------------------------- attendant

CENTRAL_KEY, SITE_KEY = SigningKey.generate(), SigningKey.generate()
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL_KEY.public.text,
    site_keys=[SITE_KEY.public.text],
)


class Central:
    """Central, as far as desired state and pictures go."""

    def __init__(self, desired: Desired) -> None:
        self.state: Desired | None = desired
        self.asked: list[tuple[str, float]] = []
        self.pictures: list[tuple[str, bytes]] = []
        self.down = False

    def desired(self, etag: str, wait_s: float = 0.0) -> Desired | None:
        """Return the state once."""
        if self.down:
            raise CentralUnreachable("cut")
        self.asked.append((etag, wait_s))
        return self.state if self.state and self.state.etag != etag else None

    def thumbnail(self, request: str, jpeg: bytes) -> None:
        """Take a picture."""
        if self.down:
            raise CentralUnreachable("cut")
        self.pictures.append((request, jpeg))


def attendant_for(tmp_path: Path, central: Central) -> tuple[Attendant, DesiredStore]:
    """Return an attendant and its store."""
    config = EdgeConfig(
        state_dir=tmp_path, models_dir=tmp_path / "models", cameras=[Camera(id="door")]
    )
    kept = DesiredStore(tmp_path, config, IDENTITY)
    return Attendant(tmp_path, kept, central, ManualClock()), kept


def test_a_hold_that_central_asks_for_is_done_and_answered(tmp_path: Path) -> None:
    """From the desired state to the answer, in one turn."""

    class Holder(Central):
        """Takes answers too."""

        def answer(self, request: str, content_type: str, body: bytes) -> None:
            """Keep it."""
            self.pictures.append((request, body))

    (tmp_path / "evidence" / ".wanted").mkdir(parents=True)
    (tmp_path / "evidence" / ".wanted" / "evd-1").touch()
    request = Request(request="r-1", kind="hold", evidence="evd-1", expires_ms=2**50)
    central = Holder(Desired(etag="e-1", requests=[request]))
    kept = Holds(tmp_path / "evidence", EvidenceSettings(), ManualClock())
    _, store = attendant_for(tmp_path, central)
    keeper = HoldKeeper(kept, central)
    attendant = Attendant(tmp_path, store, central, ManualClock(), keeper=keeper)
    attendant.look(UpAnswer(desired_etag="e-1"))
    assert attendant.step()
    ((name, body),) = central.pictures
    assert name == "r-1"
    assert b'"held":true' in body
    assert kept.is_held("evd-1")


def wanted(**fields: object) -> Desired:
    """Return a desired state with one open request."""
    request = Request(request="r-1", kind="thumbnail", camera="door", expires_ms=2**50)
    return msgspec.structs.replace(Desired(etag="e1", requests=[request]), **fields)


def test_central_is_asked_only_when_something_changed(tmp_path: Path) -> None:
    """A new tag leads to one question, a change to one restart."""
    settings = DeviceSettings(device="box", version=1, issued_ms=1, report_period_s=5.0)
    signed = sign_struct(settings, SETTINGS_TYPE, [CENTRAL_KEY])
    central = Central(Desired(etag="e1", settings=signed))
    attendant, kept = attendant_for(tmp_path, central)
    attendant.step()
    assert central.asked == []
    attendant.look(UpAnswer(desired_etag="e1"))
    attendant.step()
    attendant.look(UpAnswer(desired_etag="e1"))
    attendant.step()
    assert central.asked == [("", 0.0)]
    assert attendant.take_change()
    assert not attendant.take_change()
    assert kept.effective.config.telemetry.report_period_s == 5.0


@pytest.mark.parametrize("allowed", [True, False])
def test_the_pinned_scene_leaves_by_the_same_policy(tmp_path: Path, *, allowed: bool) -> None:
    """A policy that lets no thumbnail leave lets no reference leave either."""
    request = Request(request="r-2", kind="reference", camera="door", expires_ms=2**50)
    pixels = PixelPolicy(thumbnails=allowed, thumbnail_px=24)
    policy = SitePolicy(site="shop", version=1, issued_ms=1, pixels=pixels)
    signed = sign_struct(policy, POLICY_TYPE, [SITE_KEY])
    central = Central(Desired(etag="e1", site_policy=signed, requests=[request]))
    attendant, _ = attendant_for(tmp_path, central)
    attendant.look(UpAnswer(desired_etag="e1", attend=True))
    attendant.step()
    asked = [(one.kind, one.width_px) for one in requests.waiting(tmp_path)]
    assert asked == ([("reference", 24)] if allowed else [])


def test_a_picture_goes_up_once_and_only_as_the_policy_says(tmp_path: Path) -> None:
    """The pipeline is told the size; its answer is sent, once, through an outage."""
    central = Central(wanted())
    attendant, _ = attendant_for(tmp_path, central)
    attendant.look(UpAnswer(desired_etag="e1", attend=True))
    attendant.step()
    (asked,) = requests.waiting(tmp_path)
    assert (asked.camera, asked.width_px, asked.kind) == ("door", 48, "thumbnail")
    requests.answer(tmp_path, "r-1", b"jpeg")
    central.down = True
    assert not attendant.step()
    central.down = False
    attendant.step()
    central.state = wanted(etag="e2")
    attendant.step()
    attendant.step()
    assert central.pictures == [("r-1", b"jpeg")]
    assert requests.answered(tmp_path, "r-1") is None
    assert requests.waiting(tmp_path) == []


def test_no_picture_leaves_where_the_policy_forbids(tmp_path: Path) -> None:
    """The request never reaches the pipeline."""
    policy = SitePolicy(site="shop", version=1, issued_ms=1, pixels=PixelPolicy(thumbnails=False))
    signed = sign_struct(policy, POLICY_TYPE, [SITE_KEY])
    central = Central(wanted(site_policy=signed))
    attendant, _ = attendant_for(tmp_path, central)
    attendant.look(UpAnswer(desired_etag="e1"))
    attendant.step()
    assert requests.waiting(tmp_path) == []


def test_a_request_cannot_leave_its_folder(tmp_path: Path) -> None:
    """A name that is a path is not taken."""
    request = Request(request="../../evil", kind="thumbnail", camera="door", expires_ms=2**50)
    central = Central(wanted(requests=[request]))
    attendant, _ = attendant_for(tmp_path / "deep" / "er", central)
    attendant.look(UpAnswer(desired_etag="e1"))
    attendant.step()
    assert list(tmp_path.rglob("*evil*")) == []


# --------------------------------------------------------------------------------------- service


def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A datagram per state; silence where nobody listens."""
    assert not service.notify("READY=1")
    address = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert service.notify("WATCHDOG=1")
        assert listener.recv(64) == b"WATCHDOG=1"
    assert not service.notify("READY=1")


def test_nobody_waits_for_a_long_poll_at_the_end_and_nothing_of_it_is_taken(tmp_path: Path) -> None:
    """Told to end while an operator looks: what the held line still brings changes nothing."""
    held, free = threading.Event(), threading.Event()

    class Holding(Central):
        def desired(self, etag: str, wait_s: float = 0.0) -> Desired | None:
            """Hold the line."""
            held.set()
            assert free.wait(30)
            return super().desired(etag, wait_s)

    central = Holding(desired=Desired(etag="e9"))
    attendant, kept = attendant_for(tmp_path, central)
    attendant.look(UpAnswer(desired_etag="e9", attend=True))
    thread = threading.Thread(target=attendant.step, daemon=True)
    thread.start()
    assert held.wait(30)
    assert attendant.is_listening
    attendant.wake()
    free.set()
    thread.join(30)
    assert not attendant.is_listening
    assert kept.etag != "e9"
