"""The agent: the process that never touches video and outlives everything that does.

    main loop   supervise the pipeline, state gaps nobody else can, pet the watchdog; without
                central, keep the status that `vedette edge status` shows
    uplink      reports and alerts to central, trusted time (`edge.uplink`, `edge.timekeeper`)
    attendant   what should run here, and what an operator asks (`edge.attendant`)
    diagnostics answers about this device, one at a time (`edge.diagnostics.answering`)
    clips       evidence that an operator asked for, where the site lets it go (`edge.clips`)
    signatures  what the pipeline packed as evidence, signed (`edge.evidence.signing`)
    updates     what central assigned: fetched, proven, activated, taken back (`edge.updating`)

The spool on disk is the only hand-over that must survive. The rule for coverage: the time before
this agent started is `DEVICE_DARK`, time without a pipeline is `PIPELINE_STOPPED`; both are stated
from each camera's watermark in the spool, so nothing is stated twice and nothing is left out.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from vedette import __version__
from vedette.amounts import counted
from vedette.clock import NS_PER_S, Clock, wall_ms
from vedette.edge import service
from vedette.edge.alerts.deciding import Line
from vedette.edge.alerts.desk import Desk
from vedette.edge.alerts.matching import Place
from vedette.edge.attendant import Attendant
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.central_client import CentralClient
from vedette.edge.clips import ClipSender
from vedette.edge.commissioned import Telling
from vedette.edge.desired import DesiredStore, Effective
from vedette.edge.diagnostics.answering import Answerer
from vedette.edge.enrolment import Identity, device_key, keyring, load_identity
from vedette.edge.evidence.holds import Holds
from vedette.edge.evidence.signing import PackageSigner
from vedette.edge.health.watch import HealthWatch, Probe
from vedette.edge.holding import HoldKeeper
from vedette.edge.kept import KeptThread
from vedette.edge.network import read_link, with_link
from vedette.edge.settings import CentralLink, EdgeConfig
from vedette.edge.site_keys import by_hand_texts
from vedette.edge.spool import ClockNote, Listener, Spool
from vedette.edge.status import (
    QUARANTINED,
    log_quarantine,
    read_status,
    without_counts,
    write_status,
)
from vedette.edge.supervisor import AgentLock, Supervisor, end_orphan
from vedette.edge.timekeeper import Timekeeper
from vedette.edge.updating.fitting import others
from vedette.edge.updating.joining import TrustedClock, Way, updater
from vedette.edge.uplink import Prepared, Uplink
from vedette.edge.wear import WearMeter
from vedette.errors import SpoolUnwritable, TooLarge, TrustError
from vedette.wire.envelope import ClockState, UpAnswer
from vedette.wire.messages import (
    CameraHealth,
    Cause,
    HealthReport,
    ModelHealth,
    NetworkHealth,
    PipelineHealth,
)

if TYPE_CHECKING:
    from vedette.edge.page.serve import LocalPage

log = logging.getLogger(__name__)

END_S: Final = 30.0
_JOIN_S: Final = 0.2
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
        self._bell: Final = Listener(config.state_dir / "spool")
        self._stop: Final = threading.Event()
        self._clock_noted: ClockNote | None = None
        self._wear: Final = WearMeter()
        self._identity_problem = ""
        self._quarantined = False
        self._runs_since_ms: int | None = None
        self._runs = self._alerts_of = Effective(config=config)
        self._window = self._gap_ns = self._status_ns = 0
        self._identity: Identity | None = None
        self._desired = DesiredStore(config.state_dir, config, None)
        self._client: CentralClient | None = None
        self._uplink: Uplink | None = None
        self._attendant: Attendant | None = None
        self._answerer: Answerer | None = None
        self._desk: Desk | None = None
        self._threads: list[threading.Thread] = []
        self._page: LocalPage | None = None
        self._commissioned: Final = Telling(config.state_dir, self.spool.put)
        self._supervisor: Final = Supervisor(
            pipeline(config.state_dir / "effective.yaml"), config.state_dir, clock
        )
        self._signer: Final = PackageSigner(config.state_dir, clock, lambda: self._time.state)
        self._holds: Final = Holds(config.state_dir / "evidence", config.evidence, clock)
        self._way: Way | None = None
        self._reported: HealthReport | None = None
        self._overlaid: Final = threading.Event()
        self._updater: Final = updater(
            config.state_dir,
            clock,
            self._time,
            lambda: self._effective.config,
            pipeline=self._supervisor,
            report=lambda said: self.spool.put("update.v1", said),
            others=others(
                config,
                clock,
                boot_id,
                desired=lambda: self._desired,
                report=lambda: self._reported,
                leave=self.stop,
                changed=self._take_overlay,
            ),
        )
        self._updates: Final = KeptThread("updates", self._updater.run, self._stop, clock)

    def stop(self) -> None:
        """Have `run` return soon. Safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until `stop`; then end the pipeline cleanly and close the spool."""
        try:
            self._begin()
            self._updates.start()
            self._start_thread("bell", lambda stop: self._bell.run(stop, self._hear))
            self._start_thread("signatures", self._signer.run)
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
            if self._desk is not None:
                self._desk.hear()
            self._updater.wake()
            self._bell.close()
            self._supervisor.stop()
            self._signer.step()  # what the pipeline packed as it ended
            self._last_words()
            for thread in [*self._threads, *self._updates.threads]:
                self._wait_for(thread)
            if self._client is not None:
                self._client.close()
            if self._page is not None:
                self._page.close()
            if in_order:
                self._health.end()
            self.spool.close()
            self._lock.release()

    def _wait_for(self, thread: threading.Thread) -> None:
        """Wait for a thread to end; not for one that only listens whether central has news."""
        attendant = self._attendant
        for _ in range(round(END_S / _JOIN_S)):
            thread.join(_JOIN_S)
            listens = attendant is not None and attendant.is_listening
            if not thread.is_alive() or (listens and thread.name == "attendant"):
                return

    def tick(self) -> None:
        """Do what the main loop does twice a second."""
        if self._identity is None and self._config.central is not None:
            self._join_central(self._config.central)
        connection = self._way.look() if self._way is not None else None
        if connection is not None:
            self._updater.connect(connection)
        change = self._attendant.take_change() if self._attendant else ""
        if self._overlaid.is_set():
            self._overlaid.clear()
            change = change or "another configuration was installed"
        if change:
            self._supervisor.restart(change)
        self._updates.tend()
        self._tend_pipeline()
        if self._desk is not None and self._effective is not self._alerts_of:
            self._alerts_of = self._effective
            self._desk.hear()
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

    def _hear(self) -> None:
        """Have an alert that was just committed looked at. Thread: the bell's."""
        if self._uplink is not None:
            self._uplink.hear()
        if self._desk is not None:
            self._desk.hear()

    # --------------------------------------------------------------------------------- starting

    def _begin(self) -> None:
        self._check_clock()
        if self._config.local_metrics.enabled:
            from vedette.edge.page.serve import LocalPage  # its library is only loaded where used

            self._page = LocalPage(self._config, self._clock, self._who)
        if self._config.central is not None:
            self._join_central(self._config.central)
        self._desired.write_effective()
        self._updater.begin()
        self._state_gap(Cause.DEVICE_DARK, "the agent was not running")
        self._tend_pipeline()

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
        bandwidth = Bandwidth(
            lambda: self._effective.config.uplink,
            lambda: self._effective.config.time_zone,
            self._clock,
        )
        clips = ClipSender(self._config.state_dir, self._desired, client, self._clock, bandwidth)
        self._attendant = Attendant(
            self._config.state_dir,
            self._desired,
            client,
            self._clock,
            self._answerer,
            clips=clips,
            assigned=self._updater.take,
            keeper=HoldKeeper(self._holds, client),
        )
        self._way = Way(
            self._config.state_dir,
            identity,
            client,
            bandwidth,
            TrustedClock(self._clock, self._time),
        )
        desk = self._desk = self._make_desk(identity)
        self._uplink = Uplink(
            self.spool,
            Prepared(client, lambda: self._learn_time(client), lambda: self._effective.pixels),
            self._clock,
            device=identity.device,
            boot_id=self._boot_id,
            report=self._put_report,
            answered=self._take_answer,
            etag=lambda: self._desired.etag,
            period_s=lambda: self._effective.config.telemetry.report_period_s,
            bandwidth=bandwidth,
            backfilled=client.meter.count_backfill,
            settling=desk.before_settling,
        )
        for name, work in (
            ("uplink", self._uplink.run),
            ("attendant", self._attendant.run),
            ("alerts", desk.run),
        ):
            self._start_thread(name, work)
        # Nobody waits for these at the end: what they make is asked for again, or expires.
        for name, work in (("diagnostics", self._answerer.run), ("clips", clips.run)):
            threading.Thread(target=work, args=(self._stop,), name=name, daemon=True).start()
        log.info(
            "reports go to central",
            extra={"event": "agent.joined", "device": identity.device, "site": identity.site},
        )

    def _make_desk(self, identity: Identity) -> Desk:
        """Return who drives local channels."""
        desk = Desk(
            self._config.state_dir,
            self.spool,
            self._clock,
            place=Place(identity.site, identity.device),
            boot_id=self._boot_id,
            says=lambda: self._effective.alerts,
            line=lambda: self._uplink.line if self._uplink is not None else Line(),
            hears=self._bell.hears,
        )
        desk.step()  # whatever the pipeline sees from here on is news
        return desk

    def _start_thread(self, name: str, work: Callable[[threading.Event], None]) -> None:
        """Start what is waited for at the end."""
        thread = threading.Thread(target=work, args=(self._stop,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def _effective(self) -> Effective:
        return self._desired.effective

    def _take_overlay(self) -> None:
        """Run by the configuration that was installed. Thread: the updater's."""
        if self._desired.take_overlay():
            self._overlaid.set()

    def _tend_pipeline(self) -> None:
        """Keep the pipeline running, and note by which settings it was started.

        Settings that come at the very moment of a start are followed by another start, which
        corrects the note.
        """
        effective = self._effective
        self._supervisor.tick()
        if self._supervisor.started_ms != self._runs_since_ms:
            self._runs_since_ms, self._runs = self._supervisor.started_ms, effective

    def _running_version(self) -> int:
        """Return the settings that the pipeline works by; what changes nothing needs no start."""
        effective = self._effective
        same = effective.config == self._runs.config
        return (effective if same else self._runs).settings_version

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
        self._commissioned.tell(camera.id for camera in self._effective.config.cameras)
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
            cameras = beat.cameras if fresh else [without_counts(c) for c in beat.cameras]
            models = beat.models if fresh else []
        supervisor, desk = self._supervisor, self._desk
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
                settings_version=self._running_version(),
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
            time_zone=self._desired.told_zone,
            assignment_version=self._updater.assignment_version,
            updates=self._updater.health(),
            tuf_versions=self._updater.tuf_versions,
            local_channels=desk.health() if desk else [],
            locally_driven=desk.take_driven() if desk else [],
        )

    def _show_here(self, report: HealthReport) -> None:
        """Have a report in the state directory and on the device's page."""
        self._reported = report
        if self._desk is not None:
            self._desk.take(report)
        write_status(self._config.state_dir, report)
        if self._page is not None:
            self._page.take(report)

    def _who(self) -> tuple[str, str]:
        identity = self._identity
        return (str(identity.device), str(identity.site)) if identity else ("", "")

    def _for_people_here(self, report: HealthReport) -> HealthReport:
        """Return the report with what only somebody at this device can use: why nothing counts."""
        said = [QUARANTINED] if self._quarantined else []
        if self._uplink is not None and self._uplink.problem:
            said.append(f"central does not take our reports: {self._uplink.problem}"[:500])
        return msgspec.structs.replace(report, problems=[*report.problems, *said])

    def _problem_texts(self) -> list[str]:
        problems = [*self._desired.problems, *self._health.problems]
        problems += self._effective.alert_problems
        problems += [*self._updater.problems, *self._updates.problems]
        if self._signer.problem:
            problems.append(f"evidence is not signed: {self._signer.problem}")
        problems += filter(None, [self._holds.warning()])
        if self._way is not None and self._way.problem:
            problems.append(self._way.problem)
        problems[:0] = by_hand_texts(self._desired.identity, wall_ms(self._clock.now_at()))
        if self._page is not None and self._page.problem:
            problems.append(self._page.problem)
        status = self.spool.status()
        if status.problem:
            held = counted(status.held, "message waits", "messages wait")
            problems.append(f"{status.problem} ({held} in memory)")
        if status.dropped:
            lost = counted(status.dropped, "message was", "messages were")
            problems.append(f"{lost} lost because the disk refused")
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
        if answer.quarantined != self._quarantined:
            self._quarantined = answer.quarantined
            log_quarantine(quarantined=answer.quarantined)
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
