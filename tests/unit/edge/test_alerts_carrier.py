"""One channel's queue: order, backoff, bounds, and programs that do not behave."""

import random
import threading
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock, SystemClock
from vedette.edge.alerts.carrier import QUEUE_N, Carried, Carrier
from vedette.edge.alerts.command import Command, environment
from vedette.edge.alerts.mqtt import topic_of
from vedette.edge.alerts.outcome import Outcome, Result
from vedette.wire.alerts import ChannelKind, LocalAlert, LocalChannel, Severity, Turn

LAMP = LocalChannel(
    channel="lamp", kind=ChannelKind.COMMAND, argv=["/bin/true"], per_minute=600, keep_s=100.0
)
ALERT = LocalAlert(
    alert="la-1",
    rule="door",
    severity=Severity.WARNING,
    turn=Turn.EVENT,
    site="yard",
    device="box",
    at_ms=5,
    text="door: line crossed",
    camera="door",
)


class Scripted:
    """A way whose attempts end as they are told to."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.tried: list[str] = []
        self.closed = False

    def send(self, alert: LocalAlert, _stop: threading.Event, /) -> Outcome:
        """Make one attempt."""
        self.tried.append(alert.alert)
        return self.outcomes.pop(0) if self.outcomes else Outcome(Result.SENT)

    def close(self) -> None:
        """Note it."""
        self.closed = True


class Rig:
    """A carrier with time by hand."""

    def __init__(self, *outcomes: Outcome, channel: LocalChannel = LAMP) -> None:
        self.clock = ManualClock()
        self.way = Scripted(*outcomes)
        self.allowed = True
        self.over: list[tuple[str, bool]] = []
        self.carrier = Carrier(
            channel,
            self.way,
            self.clock,
            allowed=lambda _: self.allowed,
            jitter=random.Random(1),
        )

    def offer(self, *names: str) -> None:
        """Offer alerts of these names."""
        for name in names:
            alert = msgspec.structs.replace(ALERT, alert=name)
            self.carrier.offer(Carried(alert, lambda a, ok: self.over.append((a.alert, ok))))

    def work(self, seconds: float) -> None:
        """Let time pass, with every attempt that becomes due."""
        until_ns = self.clock.mono_ns() + round(seconds * 1e9)
        while (left_s := (until_ns - self.clock.mono_ns()) / 1e9) > 0:
            self.clock.advance(min(left_s, self.carrier.step() or 0.001))


LATER = Outcome(Result.LATER, "the receiver answers 503")


def test_alerts_go_in_order_and_again_until_they_are_taken() -> None:
    """What fails is tried again before what came after it; pauses grow."""
    rig = Rig(LATER, LATER, LATER)
    rig.offer("a", "b")
    rig.work(0.1)
    assert rig.way.tried == ["a"]
    rig.work(20)
    assert rig.way.tried == ["a", "a", "a", "a", "b"]
    assert rig.over == [("a", True), ("b", True)]
    health = rig.carrier.health()
    assert (health.sent, health.failed, health.waiting, health.problem) == (2, 3, 0, "")


def test_what_nobody_takes_is_given_up_and_counted() -> None:
    """After `keep_s`; what is refused for good at once, and does not hold up the next."""
    rig = Rig(*[LATER] * 1000)
    rig.offer("a")
    rig.work(300)
    assert rig.over == [("a", False)]
    assert rig.carrier.health().dropped == {"expired": 1}
    assert len(rig.way.tried) < 15
    refused = Rig(Outcome(Result.REFUSED, "the receiver answers 410"))
    refused.offer("a", "b")
    refused.work(1)
    assert refused.over == [("a", False), ("b", True)]
    assert refused.carrier.health().dropped == {"refused": 1}


def test_a_full_queue_loses_its_oldest_and_says_so() -> None:
    """The newest alert matters most; nobody who offers waits."""
    rig = Rig(channel=msgspec.structs.replace(LAMP, per_minute=QUEUE_N + 5))
    rig.offer(*(f"a{n}" for n in range(QUEUE_N + 5)))
    assert rig.over == [(f"a{n}", False) for n in range(5)]
    assert rig.carrier.health().dropped == {"full": 5}
    assert rig.carrier.health().waiting == QUEUE_N


def test_more_than_a_channel_may_carry_are_dropped() -> None:
    """Ten a minute: the eleventh is dropped, and six seconds later there is room for one."""
    rig = Rig(channel=msgspec.structs.replace(LAMP, per_minute=10))
    rig.offer(*map(str, range(11)))
    rig.work(6.1)
    rig.offer("later", "too-soon")
    rig.work(1)
    assert [name for name, ok in rig.over if not ok] == ["10", "too-soon"]
    assert rig.carrier.health().dropped == {"rate": 2}


def test_a_channel_that_the_policy_does_not_say_any_more_stops_at_once() -> None:
    """Before its next attempt, whatever waits; those are given up."""
    rig = Rig()
    rig.offer("a", "b")
    rig.allowed = False
    rig.carrier.run()
    assert rig.way.tried == []
    assert rig.way.closed
    assert rig.over == [("a", False), ("b", False)]
    rig.offer("c")
    assert rig.over[-1] == ("c", False)


# ------------------------------------------------------------------------------------ commands


def script(tmp_path: Path, text: str) -> LocalChannel:
    """Return a channel that runs this shell script."""
    path = tmp_path / "lamp"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return msgspec.structs.replace(LAMP, argv=[str(path), "--pin", "17"], timeout_s=20.0)


def run(channel: LocalChannel, alert: LocalAlert = ALERT) -> Outcome:
    """Make one attempt."""
    return Command(channel, SystemClock()).send(alert, threading.Event())


def test_a_command_gets_its_own_arguments_and_the_facts_apart(tmp_path: Path) -> None:
    """Whatever a zone is called, it stays text in the environment and on standard input."""
    out = tmp_path / "out"
    channel = script(tmp_path, f'echo "$@" >{out}; echo "$VEDETTE_PLACE" >>{out}; cat >>{out}')
    nasty = msgspec.structs.replace(ALERT, place="$(touch /x); `id` \"'\0")
    assert run(channel, nasty) == Outcome(Result.SENT)
    arguments, place, body = out.read_text().split("\n")
    assert arguments == "--pin 17"
    assert place == "$(touch /x); `id` \"'"
    assert msgspec.json.decode(body, type=LocalAlert) == nasty


def test_a_command_has_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of the agent's service do not reach it."""
    monkeypatch.setenv("VEDETTE_TOKEN", "secret")
    assert "secret" not in environment(ALERT).values()
    assert set(environment(ALERT)) - {"PATH", "LANG"} == {
        f"VEDETTE_{name.upper()}"
        for name, value in msgspec.to_builtins(ALERT).items()
        if value is not None
    }


def test_a_command_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """Its time is over; the program that it left running is gone too."""
    pid = tmp_path / "pid"
    channel = script(tmp_path, f"sleep 300 & echo $! >{pid}.new; mv {pid}.new {pid}; sleep 300")
    clock = SystemClock()
    stop = threading.Event()

    class UntilThere(SystemClock):
        """A clock whose time is over once the program has started its own."""

        def mono_ns(self) -> int:
            """Return a time far ahead once the file is there."""
            return clock.mono_ns() + (10**12 if pid.exists() else 0)

    patient = msgspec.structs.replace(channel, timeout_s=60.0)
    outcome = Command(patient, UntilThere()).send(ALERT, stop)
    assert outcome == Outcome(Result.LATER, "not done after 60 s")
    status = Path(f"/proc/{int(pid.read_text())}/status")
    assert _ends(status)


def _ends(status: Path) -> bool:
    """True once the process behind `status` is gone or dead."""
    never, clock = threading.Event(), SystemClock()
    for _ in range(500):
        try:
            if "State:\tZ" in status.read_text():
                return True
        except OSError:
            return True
        clock.wait(never, 0.01)
    return False


def test_a_command_that_fails_or_floods_costs_a_few_kilobytes(tmp_path: Path) -> None:
    """Its status counts; of a million lines the first are kept, and stay here."""
    channel = script(tmp_path, "yes wrong | head -n 1000000; exit 3")
    outcome = run(channel)
    assert outcome.result is Result.LATER
    assert outcome.detail == "ended with 3"  # what it printed is not central's to read
    assert outcome.here.startswith("wrong\nwrong")
    assert len(outcome.here) <= 200
    missing = run(msgspec.structs.replace(channel, argv=[str(tmp_path / "none")]))
    assert missing.detail == "its program cannot be started: No such file or directory"
    assert str(tmp_path) in missing.here


def test_a_command_stops_with_its_channel(tmp_path: Path) -> None:
    """A policy without it ends what runs, not only what would come."""
    stop = threading.Event()
    stop.set()
    outcome = Command(script(tmp_path, "sleep 300"), SystemClock()).send(ALERT, stop)
    assert outcome == Outcome(Result.LATER, "stopped")


def test_a_topic_is_filled_in_without_signs_of_mqtt() -> None:
    """A camera's name cannot lead to another topic."""
    nasty = msgspec.structs.replace(ALERT, camera="a/b#+")
    assert topic_of("plant/{site}/{camera}/{rule}", nasty) == "plant/yard/a_b__/door"
    assert topic_of("{camera}", msgspec.structs.replace(ALERT, camera="")) == "-"
