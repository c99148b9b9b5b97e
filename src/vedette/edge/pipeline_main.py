"""The pipeline process: started and supervised by the agent, or by hand to look at it.

    python -m vedette.edge.pipeline_main --config effective.yaml

Ends cleanly at SIGTERM or SIGINT: cameras stop, what is being analysed is finished, the last slice
is cut and the spool is flushed. Killed instead, it loses at most what the spool had not committed.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import msgspec

from vedette import logs
from vedette.clock import SystemClock
from vedette.edge import settings
from vedette.edge.assembly import Assembly, report
from vedette.edge.desired import NOTHING_LEAVES, DesiredStore
from vedette.edge.diagnostics.tail import tail_file
from vedette.edge.enrolment import load_identity
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.evidence.surroundings import Memory
from vedette.edge.health.system import boot_id
from vedette.edge.models import Models, worker_count
from vedette.edge.onvif.inquiry import Inquirer
from vedette.edge.pipeline import Pipeline
from vedette.edge.reporter import Reporter
from vedette.edge.settings import EdgeConfig
from vedette.edge.shadow.desk import ShadowDesk
from vedette.edge.spool import Kept, Spool
from vedette.edge.steady import SteadyClock
from vedette.edge.swapping import Swapper
from vedette.errors import SpoolError, VedetteError, WireError
from vedette.wire.signed import PixelPolicy
from vedette.wire.streams import STREAMS

_LOG = logging.getLogger("vedette.edge.pipeline_main")

_SCHEMA: Final = {row.body: row.schema for row in STREAMS}
_EVIDENCE_EVERY_S: Final = 0.5
_SWAP_ENDS_S: Final = 10.0
_BLUR_NICENESS: Final = 19
SWITCH_INTERVAL_S: Final = 0.001
"""Threads hand over sooner than Python's default: a capture thread must not wait for a worker."""


@dataclass(slots=True)
class SpoolDoor:
    """Puts messages into the spool; what it refuses is logged, never raised into a camera.

    Attributes:
        told: Listens to every message.
    """

    spool: Spool
    told: Callable[[msgspec.Struct], None] = lambda _message: None

    def __call__(self, message: msgspec.Struct) -> None:
        """Take one message; nobody waits for the disk. Thread: any."""
        self.told(message)
        schema = _SCHEMA[type(message)]
        try:
            self.spool.hand_over(schema, message)
        except WireError as error:
            _LOG.error("%s was not kept: %s", schema, error, extra={"event": "spool.refused"})

    def keep(self, message: msgspec.Struct) -> bool:
        """Take one message and return whether it is on the disk, and not only on its way there."""
        schema = _SCHEMA[type(message)]
        try:
            return self.spool.put(schema, message, at_once=True) is Kept.DURABLE
        except (SpoolError, WireError) as error:
            _LOG.error("%s was not kept: %s", schema, error, extra={"event": "spool.refused"})
            return False


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; 2 where the configuration or a model is not usable."""
    parser = argparse.ArgumentParser(prog="vedette-pipeline", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the device's configuration")
    parser.add_argument("--log-level", default="INFO")
    given = parser.parse_args(arguments)
    logs.setup(level=given.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        config = settings.load(given.config)
        logs.keep_tail(tail_file(config.state_dir, "pipeline"))
        run(config, stop)
    except VedetteError as error:
        _LOG.error("%s. %s", error, error.operator_hint or "", extra={"event": "pipeline.refused"})
        return 2
    return 0


def tune() -> None:
    """Set what holds for the whole process: how threads share the interpreter and the cores."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # The pipeline's own threads keep every core busy; a pool inside OpenCV would fight them.
    cv2.setNumThreads(1)


def run(config: EdgeConfig, stop: threading.Event) -> None:
    """Run the cameras of `config` until `stop` is set.

    Raises:
        VedetteError: A model, the spool or the evidence folder cannot be used.
    """
    tune()
    clock = SteadyClock(SystemClock())
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    boot = boot_id()
    quota = round(config.spool.quota_mb * 1024 * 1024)
    spool = Spool.open(config.state_dir / "spool", quota, clock, boot)
    emit = SpoolDoor(spool)
    try:
        memory = memory_of(config, clock, spool, boot)
        evidence = EvidenceStore(
            config.state_dir / "evidence", config.evidence, clock, memory=memory
        )
        emit.told = memory.take
        report(evidence, evidence.leftovers(), emit.keep)
        models = Models.of(config, clock)
        assembly = Assembly(config, models, clock, emit=emit, evidence=evidence)
        plans = assembly.plans()
        for plan in plans:
            memory.watch(plan.lane.name, plan.lane.covered)
        shadows = ShadowDesk(models, clock, emit=emit, pixels=pixels_of(config))
        pipeline = Pipeline(
            plans,
            workers=worker_count(config),
            deadline_ms=config.pipeline.deadline_ms,
            clock=clock,
            tap=shadows,
        )
        used = [plan.lane.model for plan in plans]
        swapper = Swapper(
            models, used, pipeline.serve, clock, beside=shadows, refused=assembly.refused
        )
        reporter = Reporter(
            pipeline,
            [plan.lane for plan in plans],
            models,
            clock,
            settings=config.telemetry,
            state_dir=config.state_dir,
            boot_id=boot,
            emit=emit,
            slots=swapper.running,
            needs_restart=lambda: swapper.needs_restart,
        )

        asks = threading.Thread(
            target=Inquirer(plans, clock).run, args=(stop,), name="inquiry", daemon=True
        )
        swaps = threading.Thread(target=swapper.run, args=(stop,), name="swap", daemon=True)
        looks_on = threading.Thread(target=shadows.run, args=(stop,), name="shadow", daemon=True)
        packager, blurrer = evidence_threads(evidence, memory, emit, clock, stop)
        pipeline.start()
        packager.start()
        asks.start()
        swaps.start()
        looks_on.start()
        if config.evidence.blur != "none":
            blurrer.start()
        _LOG.info("pipeline runs", extra={"event": "pipeline.started"})
        reporter.run(stop)
        swaps.join(_SWAP_ENDS_S)
        looks_on.join(_SWAP_ENDS_S)
        pipeline.stop()
        packager.join(10)
        if blurrer.is_alive():
            blurrer.join(5)
        report(evidence, evidence.work(everything=True), emit.keep)
        reporter.finish()
        memory.save()
        _LOG.info("pipeline stopped", extra={"event": "pipeline.stopped"})
    finally:
        spool.close()


def evidence_threads(
    evidence: EvidenceStore,
    memory: Memory,
    emit: SpoolDoor,
    clock: SteadyClock,
    stop: threading.Event,
) -> tuple[threading.Thread, threading.Thread]:
    """Return what packs clips, and what makes blurred copies; neither runs yet."""

    def package() -> None:
        while not clock.wait(stop, _EVIDENCE_EVERY_S):
            report(evidence, evidence.work(), emit.keep)
            memory.tend()
            evidence.tend(is_clock_believed=memory.is_believed)

    def blur() -> None:
        # Linux: of this thread alone. A copy may wait; pictures may not.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BLUR_NICENESS)
        while not clock.wait(stop, _EVIDENCE_EVERY_S):
            record = evidence.blur_one(stop)
            if record is not None:
                emit.keep(record)

    return (
        threading.Thread(target=package, name="evidence", daemon=True),
        threading.Thread(target=blur, name="blur", daemon=True),
    )


def memory_of(config: EdgeConfig, clock: SteadyClock, spool: Spool, boot: str) -> Memory:
    """Return what remembers the surroundings of events."""
    try:
        identity = load_identity(config.state_dir)
    except VedetteError:
        identity = None  # the agent says so; its signature tells who this device is
    return Memory(
        config.state_dir / "evidence",
        clock,
        boot_id=boot,
        time_zone=config.time_zone,
        who=(identity.site, identity.device) if identity else ("", ""),
        clock_state=spool.clock_state,
    )


def pixels_of(config: EdgeConfig) -> PixelPolicy:
    """Return what may leave the site, by the policy that this device accepted and verified.

    The agent starts this process anew where the policy changes. Without an identity there is
    nobody that anything could leave to; what cannot be read lets nothing leave.
    """
    try:
        identity = load_identity(config.state_dir)
        return DesiredStore(config.state_dir, config, identity).effective.pixels
    except VedetteError as error:
        _LOG.warning("no pixels leave: %s", error, extra={"event": "pixels.unknown"})
        return NOTHING_LEAVES


if __name__ == "__main__":
    sys.exit(main())
