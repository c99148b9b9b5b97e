"""The agent: the process that never touches video and outlives everything that does.

    main loop   supervise the pipeline, state gaps nobody else can, pet the watchdog; without
                central, keep the status that `vedette edge status` shows
    uplink      reports and alerts to central, trusted time (`edge.uplink`, `edge.timekeeper`)
    attendant   what should run here, and what an operator asks (`edge.attendant`)
    diagnostics answers about this device, one at a time (`edge.diagnostics.answering`)

The spool on disk is the only hand-over that must survive. The rule for coverage: the time before
this agent started is `DEVICE_DARK`, time without a pipeline is `PIPELINE_STOPPED`; both are stated
from each camera's watermark in the spool, so nothing is stated twice and nothing is left out.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from vedette import __version__
from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge import service
from vedette.edge.attendant import Attendant
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.central_client import CentralClient
from vedette.edge.desired import DesiredStore, Effective
from vedette.edge.diagnostics.answering import Answerer
from vedette.edge.enrolment import Identity, device_key, keyring, load_identity
from vedette.edge.health.watch import HealthWatch, Probe
from vedette.edge.network import read_link, with_link
from vedette.edge.settings import CentralLink, EdgeConfig
from vedette.edge.site_keys import by_hand_texts
from vedette.edge.spool import ClockNote, Spool
from vedette.edge.supervisor import AgentLock, Supervisor, end_orphan
from vedette.edge.timekeeper import Timekeeper
from vedette.edge.uplink import Uplink
from vedette.edge.wear import WearMeter
from vedette.errors import SpoolUnwritable, TooLarge, TrustError
from vedette.wire.envelope import Batch, ClockState, UpAnswer
from vedette.wire.messages import (
    CameraHealth,
    Cause,
    Frames,
    HealthReport,
    ModelHealth,
    NetworkHealth,
    PipelineHealth,
)

if TYPE_CHECKING:
    from vedette.edge.page.serve import LocalPage

log = logging.getLogger(__name__)

STATUS: Final = "agent.json"
TICK_S: Final = 0.5
STATE_GAP_EVERY_S: Final = 20.0
STATUS_SOON_S: Final = 2.0
"""How soon a device without central looks again while its pipeline told of no camera yet."""

NOTE_STEP_MS: Final = 200
"""The two clocks may drift apart by this much before the spool is told: each note is a synced
commit, and two readings are never the same millisecond. A tenth of what the spool calls a step."""

HUNG_AFTER_S: Final = 120.0
"""An uplink silent for longer than its longest request hangs: the watchdog is not petted."""


class Agent:
    """Everything that the agent process does.

    Thread: `run` on the main thread; it starts and joins the others.
    """

    def __init__(
        self,
        config: EdgeConfig,
        clock: Clock,
        *,
        boot_id: str,
        pipeline: Callable[[Path], Sequence[str]],
        probe: Probe,
    ) -> None:
        """Take the state directory and open what is in it; nothing runs yet.

        Args:
            config: The local configuration.
            clock: The machine's.
            boot_id: Of this boot.
            pipeline: The command that runs the effective configuration at a path.
            probe: Reads the machine.

        Raises:
            ConfigError: Another agent works here, or an old pipeline cannot be ended.
            SpoolError: The disk refuses.
            TrustError: The identity is damaged.
        """
        self._clock: Final = clock
        self._config: Final = config
        self._boot_id: Final = boot_id
        self._lock: Final = AgentLock(config.state_dir)
        last = read_status(config.state_dir)
        self._health: Final = HealthWatch(config.state_dir, clock, boot_id, probe, last=last)
        end_orphan(config.state_dir, clock)
        self._time: Final = Timekeeper(clock, config.state_dir / "time.json", boot_id)
        quota_bytes = round(config.spool.quota_mb * 1024 * 1024)
        self.spool: Final = Spool.open(config.state_dir / "spool", quota_bytes, clock, boot_id)
        self.spool.verify_later()
        self.spool.keep_s = config.uplink.keep_acknowledged_h * 3600
        self._stop: Final = threading.Event()
        self._clock_noted: ClockNote | None = None
        self._wear: Final = WearMeter()
        self._identity_problem = ""
        self._window = 0
        self._gap_ns = 0
        self._status_ns = 0
        self._identity: Identity | None = None
        self._desired = DesiredStore(config.state_dir, config, None)
        self._client: CentralClient | None = None
        self._uplink: Uplink | None = None
        self._attendant: Attendant | None = None
        self._answerer: Answerer | None = None
        self._threads: list[threading.Thread] = []
        self._page: LocalPage | None = None
        self._supervisor: Final = Supervisor(
            pipeline(config.state_dir / "effective.yaml"),
            config.state_dir,
            clock,
        )

    def stop(self) -> None:
        """Have `run` return soon. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`; then end the pipeline cleanly and close the spool."""
        try:
            self._begin()
            service.notify("READY=1")
            while not self._clock.wait(self._stop, TICK_S):
                self.tick()
        finally:
            in_order = self._stop.is_set()  # else this is an error's way out: a crash to be told
            service.notify("STOPPING=1")
            self._stop.set()
            if self._attendant is not None:
                self._attendant.wake()
            if self._answerer is not None:
                self._answerer.wake()
            self._supervisor.stop()
            self._last_words()
            for thread in self._threads:
                thread.join(30)
            if self._client is not None:
                self._client.close()
            if self._page is not None:
                self._page.close()
            if in_order:
                self._health.end()
            self.spool.close()
            self._lock.release()

    def tick(self) -> None:
        """Do what the main loop does twice a second."""
        if self._identity is None and self._config.central is not None:
            self._join_central(self._config.central)
        change = self._attendant.take_change() if self._attendant else ""
        if change:
            self._supervisor.restart(change)
        self._supervisor.tick()
        now_ns = self._clock.mono_ns()
        if not self._supervisor.running and now_ns >= self._gap_ns:
            self._gap_ns = now_ns + round(STATE_GAP_EVERY_S * NS_PER_S)
            self._state_gap(Cause.PIPELINE_STOPPED, self._supervisor.last_exit)
        if self._uplink is None:
            self._check_clock()
            if now_ns >= self._status_ns:
                self._status_ns = now_ns + round(self._keep_status() * NS_PER_S)
        if not self._is_hung():
            service.notify("WATCHDOG=1")

    # --------------------------------------------------------------------------------- starting

    def _begin(self) -> None:
        self._check_clock()
        if self._config.local_metrics.enabled:
            from vedette.edge.page.serve import LocalPage  # its library is only loaded where used

            self._page = LocalPage(self._config, self._clock, self._who)
        if self._config.central is not None:
            self._join_central(self._config.central)
        self._desired.write_effective()
        self._state_gap(Cause.DEVICE_DARK, "the agent was not running")
        self._supervisor.tick()

    def _join_central(self, link: CentralLink) -> None:
        """Begin to speak to central once this device is enrolled."""
        try:
            identity = load_identity(self._config.state_dir)
            if identity is not None:
                device_key(self._config.state_dir)
        except TrustError as error:
            if not self._identity_problem:
                log.warning(
                    "reports wait: this device cannot prove who it is",
                    extra={"event": "agent.identity", "reason": str(error)},
                )
            self._identity_problem = str(error)
            return
        if identity is None:
            return
        client = CentralClient(
            link, self._clock, identity=identity, keyring=keyring(self._config.state_dir)
        )
        before = self._desired.effective.config
        self._desired = DesiredStore(self._config.state_dir, self._config, identity)
        self._desired.write_effective()
        if self._desired.effective.config != before and self._supervisor.running:
            self._supervisor.restart("the device was enrolled")
        self._identity, self._client = identity, client
        self._answerer = Answerer(self._config, self._desired, client, self._clock)
        self._attendant = Attendant(
            self._config.state_dir, self._desired, client, self._clock, self._answerer
        )
        self._uplink = Uplink(
            self.spool,
            _Timed(client, self._learn_time),
            self._clock,
            device=identity.device,
            boot_id=self._boot_id,
            report=self._put_report,
            answered=self._take_answer,
            etag=lambda: self._desired.etag,
            period_s=lambda: self._effective.config.telemetry.report_period_s,
            bandwidth=Bandwidth(
                lambda: self._effective.config.uplink,
                lambda: self._effective.config.time_zone,
                self._clock,
            ),
            backfilled=client.meter.count_backfill,
        )
        for name, work in (("uplink", self._uplink.run), ("attendant", self._attendant.run)):
            thread = threading.Thread(target=work, args=(self._stop,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        # Nobody waits for it at the end: what it makes is asked for again, or expires.
        threading.Thread(
            target=self._answerer.run, args=(self._stop,), name="diagnostics", daemon=True
        ).start()
        log.info(
            "reports go to central",
            extra={"event": "agent.joined", "device": identity.device, "site": identity.site},
        )

    @property
    def _effective(self) -> Effective:
        return self._desired.effective

    # --------------------------------------------------------------------------------- coverage

    def _state_gap(self, cause: Cause, detail: str) -> None:
        """Say why no camera was watched until now. Only while no pipeline runs."""
        cameras = [camera.id for camera in self._effective.config.cameras]
        try:
            self.spool.state_gap(cameras, cause, detail)
        except SpoolUnwritable as error:
            # The watermarks stay: the same time is stated at the next attempt.
            log.warning("gap not stated", extra={"event": "agent.gap", "reason": str(error)})

    # ------------------------------------------------------------------------------------- time

    def _check_clock(self) -> None:
        self._time.check()
        note = self._time.note
        noted = self._clock_noted
        if (
            noted is None
            or note.state is not noted.state
            or abs(note.offset_ms - noted.offset_ms) > NOTE_STEP_MS
        ):
            try:
                self.spool.note_clock(note)
                self._clock_noted = note
            except SpoolUnwritable as error:
                log.warning("clock not noted", extra={"event": "agent.clock", "reason": str(error)})

    def _learn_time(self, client: CentralClient) -> None:
        """Before each request: judge the clock, and ask central where that is wanted.

        Raises:
            UplinkError: No answer.
        """
        identity = self._identity
        if identity is not None and self._time.wants_time:
            try:
                self._time.learn(client.time(self._time.ask()), identity.central)
            except TrustError as error:
                log.warning(
                    "central's time was not believed",
                    extra={"event": "agent.time_refused", "reason": str(error)},
                )
        self._check_clock()

    # ----------------------------------------------------------------------------------- health

    def _put_report(self) -> None:
        """Put the health report. Thread: the uplink's."""
        self._check_clock()
        report = self.report()
        try:
            self.spool.put("health.v1", report)
        except TooLarge as error:
            lean = msgspec.structs.replace(report, models=[], problems=[str(error)])
            self.spool.put("health.v1", lean)
        self.spool.flush()
        self._show_here(self._for_people_here(report))

    def _keep_status(self) -> float:
        """Keep the report for people at this device alone; return seconds until the next.

        Without central nobody else reads it: it is neither sent nor put into the spool.
        """
        config = self._effective.config
        report = self.report()
        self._show_here(report)
        told = report.pipeline is not None and len(report.pipeline.cameras) > 0
        period_s = config.telemetry.report_period_s
        return period_s if told or not config.cameras else min(period_s, STATUS_SOON_S)

    def report(self) -> HealthReport:
        """Return how everything is since the last report."""
        beat = self._supervisor.beat()
        cameras: list[CameraHealth] = []
        models: list[ModelHealth] = []
        if beat is not None:
            fresh = beat.window > self._window
            self._window = beat.window
            cameras = beat.cameras if fresh else [_without_counts(c) for c in beat.cameras]
            models = beat.models if fresh else []
        supervisor = self._supervisor
        return HealthReport(
            at_ms=wall_ms(self._clock.now_at()),
            period_s=self._effective.config.telemetry.report_period_s,
            version=__version__,
            system=self._health.collect(supervisor.pid),
            pipeline=PipelineHealth(
                running=supervisor.running,
                since_ms=supervisor.started_ms,
                restarts=supervisor.restarts,
                last_exit=supervisor.last_exit,
                cameras=cameras,
                crashes=supervisor.crashes,
                memory_kills=supervisor.memory_kills,
            ),
            models=models,
            network=with_link(
                self._client.meter.take() if self._client else NetworkHealth(), read_link()
            ),
            spool=msgspec.structs.replace(
                self.spool.health(may_return=self._uplink is not None and not self._uplink.agreed),
                written_bytes=self._wear.take(supervisor.pid),
            ),
            config_version=str(self._effective.settings_version or ""),
            site_policy_version=self._effective.policy_version,
            site_keys_version=self._desired.keys_version,
            problems=self._problem_texts(),
        )

    def _show_here(self, report: HealthReport) -> None:
        """Have a report in the state directory and on the device's page."""
        write_status(self._config.state_dir, report)
        if self._page is not None:
            self._page.take(report)

    def _who(self) -> tuple[str, str]:
        identity = self._identity
        return (str(identity.device), str(identity.site)) if identity else ("", "")

    def _for_people_here(self, report: HealthReport) -> HealthReport:
        """Return the report with what only somebody at this device can use: why it is not sent."""
        trouble = self._uplink.problem if self._uplink else ""
        if not trouble:
            return report
        said = f"central does not take our reports: {trouble}"[:500]
        return msgspec.structs.replace(report, problems=[*report.problems, said])

    def _problem_texts(self) -> list[str]:
        problems = [*self._desired.problems, *self._health.problems]
        problems[:0] = by_hand_texts(self._desired.identity, wall_ms(self._clock.now_at()))
        if self._page is not None and self._page.problem:
            problems.append(self._page.problem)
        status = self.spool.status()
        if status.problem:
            problems.append(f"{status.problem} ({status.held} messages wait in memory)")
        if status.dropped:
            problems.append(f"{status.dropped} messages were lost because the disk refused")
        if self._time.state is ClockState.UNTRUSTED:
            problems.append("the wall clock is wrong; set it, or let NTP do so")
        stopping = self._stop.is_set()
        if not stopping and not self._supervisor.running and self._supervisor.last_exit:
            problems.append(f"the pipeline is down: {self._supervisor.last_exit}")
        return [text[:500] for text in problems[:20]]

    # ---------------------------------------------------------------------------------- desired

    def _take_answer(self, answer: UpAnswer) -> None:
        """Look at an answer of central. Thread: the uplink's."""
        if self._client is not None and answer.server_time_ms:
            offset_ms = wall_ms(self._clock.now_at()) - answer.server_time_ms
            self._client.meter.note_offset(float(offset_ms))
        if self._attendant is not None:
            self._attendant.look(answer)

    # ---------------------------------------------------------------------------------- stopping

    def _is_hung(self) -> bool:
        if self._uplink is None:
            return False
        silent_ns = self._clock.mono_ns() - self._uplink.beat_mono_ns
        return silent_ns > HUNG_AFTER_S * NS_PER_S

    def _last_words(self) -> None:
        """Send what the pipeline flushed at its end, once, before this process ends."""
        if self._uplink is None:
            return
        for thread in self._threads:
            thread.join(5)
            if thread.name == "uplink" and thread.is_alive():
                return  # it is in a request that takes long; what waits is in the spool
        self._uplink.wake()
        self._uplink.step()


class _Timed:
    """Central with the clock judged, and asked for where wanted, before every batch."""

    def __init__(self, client: CentralClient, before: Callable[[CentralClient], None]) -> None:
        self._client = client
        self._before = before

    def up(self, batch: Batch) -> UpAnswer:
        """Send a batch."""
        self._before(self._client)
        return self._client.up(batch)


def write_status(state_dir: Path, report: HealthReport) -> None:
    """Replace the copy of the last report that `vedette edge status` reads; not synced."""
    temporary = state_dir / f".{STATUS}.{os.getpid()}"
    try:
        temporary.write_bytes(msgspec.json.encode(report))
        temporary.replace(state_dir / STATUS)
    except OSError as error:
        log.warning("status not kept", extra={"event": "agent.status", "reason": str(error)})


def read_status(state_dir: Path) -> HealthReport | None:
    """Return the last report that the agent wrote; None where there is none."""
    try:
        return msgspec.json.decode((state_dir / STATUS).read_bytes(), type=HealthReport)
    except (OSError, msgspec.DecodeError):
        return None


def _without_counts(camera: CameraHealth) -> CameraHealth:
    """Return the state alone: these counts were reported before and must not be counted twice."""
    return msgspec.structs.replace(camera, frames=Frames(), stage_ms={}, reconnects=0)
