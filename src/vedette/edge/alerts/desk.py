"""The desk: reads what is new in the spool, has it matched, and hands what is due to its channel.

How far it came is kept beside the spool, so that an agent that starts anew neither repeats what was
delivered nor forgets what was not: all up to there is delivered or given up. What had waited when
it is first seen is no news any more and drives nothing.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_MS, NS_PER_S, Clock, wall_ms
from vedette.edge.alerts import deciding
from vedette.edge.alerts.carrier import Carried, Carrier
from vedette.edge.alerts.command import Command
from vedette.edge.alerts.conditions import Conditions, Facts
from vedette.edge.alerts.deciding import Line, Pending
from vedette.edge.alerts.matching import Matcher, Place
from vedette.edge.alerts.mqtt import Mqtt
from vedette.edge.alerts.outcome import Way
from vedette.edge.alerts.webhook import Webhook
from vedette.edge.spool import Spool
from vedette.errors import SpoolError, WireError
from vedette.wire import codec
from vedette.wire.alerts import (
    ChannelKind,
    LocalAlert,
    LocalAlerts,
    LocalChannel,
    LocalRule,
    Turn,
)
from vedette.wire.envelope import Envelope
from vedette.wire.messages import (
    CameraState,
    EventReport,
    HealthReport,
    LocalChannelHealth,
    LocallyDriven,
)
from vedette.wire.streams import BACKFILL_AFTER_S

log = logging.getLogger(__name__)

NOTE: Final = "alerts.json"
IDLE_S: Final = 1.0
"""So often is looked without anybody ringing."""

BLIND_S: Final = 0.25
"""So often where nobody can ring, and while trouble waits to have lasted long enough."""

NEWS_N: Final = 200
DRIVEN_N: Final = 50
_SAVE_NS: Final = 5 * NS_PER_S
_FRESH_MS: Final = round(BACKFILL_AFTER_S * 1000)


class Seen(msgspec.Struct, frozen=True):
    """Until where, in the lane of alerts, everything is delivered or given up."""

    epoch: int = 0
    seq: int = 0


class Desk:
    """Local alerts of one device. Thread: `run` on its own; everything else any."""

    def __init__(
        self,
        state_dir: Path,
        spool: Spool,
        clock: Clock,
        *,
        place: Place,
        boot_id: str,
        says: Callable[[], LocalAlerts],
        line: Callable[[], Line],
        hears: bool = True,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            state_dir: Where it is kept how far the desk came.
            spool: Where events are, also while central takes nothing.
            clock: Monotonic time decides; the wall's is only told.
            place: Whose alerts these are.
            boot_id: Of this boot.
            says: Channels and rules that hold here now.
            line: How the way to central is.
            hears: `hear` is called after each commit of an alert.
        """
        self._path: Final = state_dir / NOTE
        self._spool: Final = spool
        self._clock: Final = clock
        self._place: Final = place
        self._boot_id: Final = boot_id
        self._says: Final = says
        self._line: Final = line
        self._hears: Final = hears
        self._news: Final = threading.Event()
        self._lock: Final = threading.Lock()
        self._said = LocalAlerts()
        self._began = False
        self._carriers: dict[str, Carrier] = {}
        self._matcher: Final = Matcher()
        self._conditions: Final = Conditions()
        self._facts: Final = Facts(cameras={})
        self._crashes = 0
        self._pending: deque[Pending] = deque()
        self._open_lock: Final = threading.Lock()
        self._open: dict[tuple[int, int], int] = {}  # events that are not over, how many alerts of
        self._seen = self._kept()
        self._noted: Seen | None = self._seen
        self._note_ns = 0
        self._version: tuple[int, int] | None = None
        self._raised: set[tuple[str, str, str]] = set()  # rule, camera, channel: to be told its end
        self._driven: deque[LocallyDriven] = deque(maxlen=DRIVEN_N)
        self._problem = ""

    def hear(self) -> None:
        """Have the spool and the policy looked at now."""
        self._news.set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`, then stop every channel. Thread: the desk's."""
        try:
            while not stop.is_set():
                self._clock.wait(self._news, self.step())
                self._news.clear()
        finally:
            with self._lock:
                for carrier in self._carriers.values():
                    carrier.stop()
                self._save(now=True)

    def step(self) -> float:
        """Do what is due; return seconds until something may be due again."""
        try:
            with self._lock:
                self._follow()
                if not self._said.rules:
                    return IDLE_S
                self._read()
                self._look()
                pause_s = self._hand_over()
                self._save(now=False)
        except SpoolError as error:
            self._fail(error)
            return BLIND_S
        self._problem = ""
        return pause_s

    def before_settling(self) -> None:
        """Read what is new before central's answer lets it leave the spool. Thread: the uplink's.

        One look at an index where nothing is new; it never waits for a channel.
        """
        if not self._said.rules:
            return
        try:
            with self._lock:
                self._read()
        except SpoolError as error:
            self._fail(error)
        self._news.set()

    def take(self, report: HealthReport) -> None:
        """Look at a health report that was just made."""
        with self._lock:
            pipeline = report.pipeline
            crashes = pipeline.crashes if pipeline is not None else 0
            self._facts.crashed, self._crashes = crashes > self._crashes, crashes
            self._facts.report = report
            for camera in pipeline.cameras if pipeline is not None else []:
                self._facts.cameras[camera.camera] = (camera.state, camera.detail)
        self._news.set()

    def health(self) -> list[LocalChannelHealth]:
        """Return how the channels are. Takes no lock that a channel holds for long."""
        return [carrier.health() for carrier in list(self._carriers.values())]

    def take_driven(self) -> list[LocallyDriven]:
        """Return, once, what was delivered since the last call."""
        found: list[LocallyDriven] = []
        while self._driven:
            found.append(self._driven.popleft())
        return found

    def _fail(self, error: SpoolError) -> None:
        if str(error) != self._problem:
            log.warning("alerts wait", extra={"event": "alerts.spool", "reason": str(error)})
        self._problem = str(error)

    # -------------------------------------------------------------------------------- channels

    def _follow(self) -> None:
        """Have exactly the channels that the policy says; what is not said any more stops now."""
        said = self._says()
        if said == self._said:
            return
        wanted = {channel.channel: channel for channel in said.channels}
        for name, carrier in list(self._carriers.items()):
            if wanted.get(name) != carrier.channel:
                carrier.stop()
                del self._carriers[name]
        if said.rules and not self._said.rules and (self._began or self._seen == Seen()):
            self._seen = Seen(*self._spool.last_alert())  # what was before it is not driven by it
        self._began = True
        for name, channel in wanted.items():
            if name not in self._carriers:
                way = way_of(channel, self._place.device, self._clock)
                carrier = Carrier(channel, way, self._clock, allowed=self._is_said)
                carrier.start()
                self._carriers[name] = carrier
        for one in self._pending:
            if one.channel not in said.channels:
                self._finish(one.key)
        self._pending = deque(one for one in self._pending if one.channel in said.channels)
        self._said = said
        rules = {rule.rule for rule in said.rules}
        self._raised = {key for key in self._raised if key[0] in rules and key[2] in wanted}
        self._matcher.keep(said.rules)

    def _is_said(self, channel: LocalChannel) -> bool:
        return channel in self._says().channels

    # -------------------------------------------------------------------------------------- in

    def _read(self) -> None:
        """Take what is new in the lane of alerts."""
        version = self._spool.version()
        if version == self._version:
            return
        news = self._spool.alerts_after((self._seen.epoch, self._seen.seq), NEWS_N)
        if len(news) < NEWS_N:
            self._version = version
        now_ns = self._clock.mono_ns()
        for envelope in news:
            self._seen = Seen(envelope.epoch, envelope.seq)
            age_ms = now_ns // NS_PER_MS - envelope.t_mono_ms
            if envelope.boot_id == self._boot_id and age_ms <= _FRESH_MS:
                self._take_in(envelope, now_ns)

    def _take_in(self, envelope: Envelope, now_ns: int) -> None:
        try:
            if envelope.schema == "event.v1":
                event = codec.decode(envelope.body, EventReport)
                fired = list(
                    self._matcher.fire(self._said.rules, event, self._place, now_ns / NS_PER_S)
                )
                key = (envelope.epoch, envelope.seq)
                for rule, alert in fired:
                    self._add(rule, alert, envelope.t_mono_ms * NS_PER_MS, key)
            elif envelope.schema == "camera_state.v1":
                state = codec.decode(envelope.body, CameraState)
                self._facts.cameras[state.camera] = (state.state, state.detail)
        except WireError as error:
            log.warning("alert not read", extra={"event": "alerts.body", "reason": str(error)})

    def _look(self) -> None:
        """Have trouble told that is new, and trouble that is over."""
        now_ns = self._clock.mono_ns()
        silent_ns = self._line().silent_ns
        self._facts.cut_off_s = None if silent_ns is None else (now_ns - silent_ns) / NS_PER_S
        now = (now_ns / NS_PER_S, wall_ms(self._clock.now_at()))
        for rule, alert in self._conditions.look(self._said.rules, self._facts, self._place, now):
            self._add(rule, alert, now_ns, None)
        self._facts.crashed = False

    def _add(
        self, rule: LocalRule, alert: LocalAlert, made_ns: int, key: tuple[int, int] | None
    ) -> None:
        channels = {channel.channel: channel for channel in self._said.channels}
        for name in rule.channels:
            if name not in channels:
                continue
            if len(self._pending) >= deciding.MAX_PENDING:
                lost = self._pending.popleft()
                self._carriers[lost.channel.channel].miss()
                self._finish(lost.key)
            self._pending.append(Pending(alert, channels[name], made_ns, key))
            if key is not None:
                with self._open_lock:
                    self._open[key] = self._open.get(key, 0) + 1

    # ------------------------------------------------------------------------------------- out

    def _hand_over(self) -> float:
        """Give channels what is due; return seconds until the next is."""
        now_ns, line = self._clock.mono_ns(), self._line()
        pause_s = IDLE_S if self._hears and not self._conditions.waits else BLIND_S
        kept: deque[Pending] = deque()
        for one in self._pending:
            owed = one.alert.turn is Turn.CLEARED and _subject(one) in self._raised
            due_ns = now_ns if owed else deciding.due_ns(one, line)
            if due_ns > now_ns:
                kept.append(one)
                pause_s = min(pause_s, (due_ns - now_ns) / NS_PER_S)
                continue
            waits = one.key is not None and self._spool.has_alert(one.key)
            if not owed and deciding.is_taken(one, line, waits=waits):
                self._finish(one.key)
                continue
            self._drive(one, line)
        self._pending = kept
        return max(pause_s, 0.001)

    def _drive(self, one: Pending, line: Line) -> None:
        """Hand one over; whoever is told that trouble began is told of its end too."""
        if one.alert.turn is Turn.RAISED:
            self._raised.add(_subject(one))
        elif one.alert.turn is Turn.CLEARED:
            self._raised.discard(_subject(one))
        away = line.silent_ns is not None or line.answered_ns is None
        central = "unreachable" if away else "reachable"
        alert = msgspec.structs.replace(one.alert, central=central)
        key = one.key

        def over(told: LocalAlert, delivered: bool) -> None:
            if delivered:
                self._driven.append(_driven(told, one.channel, wall_ms(self._clock.now_at())))
            self._finish(key)

        self._carriers[one.channel.channel].offer(Carried(alert, over))

    def _finish(self, key: tuple[int, int] | None) -> None:
        """Note that one alert of an event is delivered or given up. Thread: any."""
        if key is None:
            return
        with self._open_lock:
            left = self._open.pop(key, 0) - 1
            if left > 0:
                self._open[key] = left

    # ------------------------------------------------------------------------------- how far

    def _kept(self) -> Seen:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Seen)
        except (OSError, msgspec.DecodeError):
            return Seen()

    def _save(self, *, now: bool) -> None:
        """Keep until where all is over, not more often than each five seconds.

        Unsynced: after a power cut it is another boot, and nothing of the one before is news.
        """
        done = self._seen
        with self._open_lock:
            first = min(self._open, default=None)
        if first is not None and first <= (done.epoch, done.seq):
            done = Seen(first[0], first[1] - 1)
        now_ns = self._clock.mono_ns()
        if done == self._noted or (not now and now_ns < self._note_ns):
            return
        self._note_ns = now_ns + _SAVE_NS
        scratch = self._path.with_name(f".{NOTE}")
        try:
            scratch.write_bytes(msgspec.json.encode(done))
            scratch.replace(self._path)
            self._noted = done
        except OSError as error:
            log.warning("not kept", extra={"event": "alerts.not_kept", "reason": str(error)})


def way_of(channel: LocalChannel, device: str, clock: Clock) -> Way:
    """Return what makes attempts for a channel."""
    if channel.kind is ChannelKind.WEBHOOK:
        return Webhook(channel, clock)
    if channel.kind is ChannelKind.MQTT:
        return Mqtt(channel, device, clock)
    return Command(channel, clock)


def _subject(one: Pending) -> tuple[str, str, str]:
    return one.alert.rule, one.alert.camera, one.channel.channel


def _driven(alert: LocalAlert, channel: LocalChannel, at_ms: int) -> LocallyDriven:
    return LocallyDriven(
        rule=alert.rule,
        channel=channel.channel,
        at_ms=at_ms,
        event=alert.event,
        camera=alert.camera,
        central=alert.central,
    )
