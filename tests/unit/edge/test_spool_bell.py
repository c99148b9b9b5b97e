"""The bell between two processes on one spool, with real pipes."""

import contextlib
import os
import select
import threading
from pathlib import Path

from vedette.clock import SystemClock
from vedette.edge.spool import Kept, Listener, Spool
from vedette.edge.spool.bell import NAME, ring
from vedette.wire.messages import EventKind, EventReport, HealthReport

EVENT = EventReport(event="e1", camera="door", kind=EventKind.PRESENCE, at_ms=1)


class Ear:
    """A listener in its thread."""

    def __init__(self, folder: Path) -> None:
        self.heard = threading.Event()
        self.stop = threading.Event()
        self.listener = Listener(folder)
        self.thread = threading.Thread(
            target=self.listener.run, args=(self.stop, self.heard.set), daemon=True
        )
        self.thread.start()

    def end(self) -> None:
        """Stop, as the agent does."""
        self.stop.set()
        self.listener.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_an_alert_is_heard_once_it_is_committed(tmp_path: Path) -> None:
    """Whoever listens finds the event in the spool: the bell rings after the commit, not before."""
    spool = Spool.open(tmp_path, 1 << 20, SystemClock(), "b", writer=False)
    ear = Ear(tmp_path)
    spool.put("event.v1", EVENT)
    assert ear.heard.wait(10)
    assert [e.schema for e in spool.next_batch()] == ["event.v1"]
    ear.end()
    spool.close()


def test_what_is_no_alert_rings_no_bell(tmp_path: Path) -> None:
    """A health report waits for its own time; the event after it rings."""
    listener = Listener(tmp_path)
    pipe = os.open(tmp_path / NAME, os.O_RDONLY | os.O_NONBLOCK)
    spool = Spool.open(tmp_path, 1 << 20, SystemClock(), "b", writer=False)
    spool.put("health.v1", HealthReport(at_ms=1, period_s=30.0, version="1"), at_once=True)
    assert select.select([pipe], [], [], 0)[0] == []
    spool.put("event.v1", EVENT)
    assert select.select([pipe], [], [], 0)[0] == [pipe]
    spool.close()
    os.close(pipe)
    over(listener)


def test_nobody_listening_and_a_full_pipe_hold_up_nobody(tmp_path: Path) -> None:
    """Without an agent, and with one that reads nothing, ringing returns and a commit is kept."""
    ring(tmp_path)  # no pipe at all
    deaf = Listener(tmp_path)
    pipe = os.open(tmp_path / NAME, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"!" * 4096):
            pass
    os.close(pipe)
    spool = Spool.open(tmp_path, 1 << 20, SystemClock(), "b", writer=False)
    assert spool.put("event.v1", EVENT) is Kept.DURABLE
    assert len(spool.next_batch()) == 1
    spool.close()
    over(deaf)


def over(listener: Listener) -> None:
    """Have a listener that never ran let go of its pipe."""
    stop = threading.Event()
    stop.set()
    listener.run(stop, lambda: None)


def test_a_file_in_the_bells_place_is_replaced(tmp_path: Path) -> None:
    """A restored backup may have a plain file there, in which every ring would be kept for ever."""
    (tmp_path / NAME).write_bytes(b"!!!")
    ear = Ear(tmp_path)
    assert ear.listener.hears
    ring(tmp_path)
    assert ear.heard.wait(10)
    ear.end()
