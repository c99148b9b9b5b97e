"""Agent and pipeline as real processes, killed at bad moments: no hole, no overlap."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.edge import heartbeat
from vedette.edge.spool import Spool
from vedette.wire.codec import decode_body
from vedette.wire.messages import Aggregate, Cause, CoverageReport
from vedette.wire.streams import stream

# Real processes in real time: a busy machine may be many times slower, and a wait costs nothing
# where what it waits for comes.
pytestmark = pytest.mark.timeout(240)

BOOT = "boot-of-this-test"

PIPELINE = f"""
import os, signal, sys, threading
from pathlib import Path
from vedette.clock import SystemClock, wall_ms
from vedette.edge import heartbeat
from vedette.edge.spool import Spool
from vedette.wire.messages import Aggregate

state = Path(sys.argv[1]).parent
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
clock = SystemClock()
spool = Spool.open(state / "spool", 1 << 26, clock, {BOOT!r})
start = wall_ms(clock.now_at())
while not stop.is_set():
    beat = heartbeat.Heartbeat(
        pid=os.getpid(), boot_id={BOOT!r}, mono_ns=clock.mono_ns(), started_ms=start
    )
    heartbeat.write(state, beat)
    clock.wait(stop, 0.05)
    end = wall_ms(clock.now_at())
    spool.put("aggregate.v1", Aggregate(camera="door", start_ms=start, end_ms=end))
    start = end
spool.close()
"""

AGENT = f"""
import signal, sys
from pathlib import Path
from vedette.clock import SystemClock
from vedette.edge.agent import Agent
from vedette.edge.settings import Camera, EdgeConfig
from vedette.wire.messages import SystemHealth

class Probe:
    def collect(self, *, boot_id="", pipeline_pid=None):
        return SystemHealth(boot_id=boot_id)

state, script = Path(sys.argv[1]), sys.argv[2]
config = EdgeConfig(state_dir=state, models_dir=state, cameras=[Camera(id="door")])
agent = Agent(
    config, SystemClock(), boot_id={BOOT!r}, probe=Probe(),
    pipeline=lambda effective: [sys.executable, script, str(effective)],
)
signal.signal(signal.SIGTERM, lambda *_: agent.stop())
agent.run()
"""


def wait_for(met: Callable[[], bool], what: str) -> None:
    """Return when `met` is; fail after a while."""
    never, clock = threading.Event(), SystemClock()
    end_ns = clock.mono_ns() + 90 * 10**9
    while not met():
        assert clock.mono_ns() < end_ns, f"waited too long for {what}"
        clock.wait(never, 0.02)


class Device:
    """One state directory, with an agent process that can be killed and started."""

    def __init__(self, tmp_path: Path) -> None:
        self.state = tmp_path / "state"
        self.pipeline_script = tmp_path / "pipeline.py"
        self.pipeline_script.write_text(PIPELINE)
        self.agent_script = tmp_path / "agent.py"
        self.agent_script.write_text(AGENT)
        self.agent: subprocess.Popen[bytes] | None = None
        self.seen: set[int] = set()

    def start(self) -> None:
        """Start the agent and wait until a pipeline that was not there before works."""
        self.agent = subprocess.Popen(
            [sys.executable, self.agent_script, self.state, self.pipeline_script]
        )
        self.wait_for_new_pipeline()

    def pipeline_pid(self) -> int:
        """Return the id in the heartbeat; 0 where there is none."""
        beat = heartbeat.read(self.state)
        return beat.pid if beat else 0

    def wait_for_new_pipeline(self) -> None:
        """Return when a pipeline beats that was not seen before."""
        wait_for(lambda: self.pipeline_pid() not in self.seen | {0}, "a new pipeline")
        self.seen.add(self.pipeline_pid())

    def kill_agent(self, number: int) -> None:
        """End the agent, cleanly or not."""
        assert self.agent is not None
        self.agent.send_signal(number)
        self.agent.wait(40)

    def living(self) -> set[int]:
        """Return the pipelines of this device that run now."""
        found: set[int] = set()
        for pid in self.seen:
            try:
                text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
            except OSError:
                continue
            if text.rpartition(")")[2].split()[0] != "Z":
                found.add(pid)
        return found


def spans(state: Path) -> list[tuple[int, int, Cause | None]]:
    """Return all time that committed messages account for, in order."""
    spool = Spool.open(state / "spool", 1 << 26, SystemClock(), BOOT, writer=False)
    waiting = spool.next_batch(max_bytes=1 << 30, max_n=100_000)
    spool.close()
    keys = [(e.epoch, e.lane, e.seq) for e in waiting]
    assert len(set(keys)) == len(keys)
    found: list[tuple[int, int, Cause | None]] = []
    for envelope in waiting:
        body = decode_body(envelope.body, stream(envelope.schema))
        if isinstance(body, Aggregate):
            found.append((body.start_ms, body.end_ms, None))
        elif isinstance(body, CoverageReport):
            found += [(s.start_ms, s.end_ms, s.cause) for s in body.spans]
    return sorted(found, key=lambda span: span[:2])


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1, 2])
def test_every_moment_is_accounted_for_once_whoever_is_killed(tmp_path: Path, seed: int) -> None:
    """After kill -9 of agent and pipeline in any order, time is tiled without hole or overlap."""
    order = random.Random(seed)
    device = Device(tmp_path)
    device.start()
    never, clock = threading.Event(), SystemClock()
    for _ in range(4):
        clock.wait(never, order.uniform(0.0, 1.5))
        if order.random() < 0.5:
            os.kill(device.pipeline_pid(), signal.SIGKILL)
            device.wait_for_new_pipeline()
        else:
            device.kill_agent(signal.SIGKILL)
            device.start()
        assert len(device.living()) == 1
    clock.wait(never, 0.5)
    device.kill_agent(signal.SIGTERM)
    assert device.living() == set()
    accounted = spans(device.state)
    assert len({cause for _, _, cause in accounted}) >= 2
    for (_, end, _), (start, _, _) in itertools.pairwise(accounted):
        assert start == end
