"""Why this machine started anew, and how the agent's last life ended.

A record in the state directory outlives both. It is written when the agent starts and when it ends
(two synced writes a life, nothing in between); when it was last alive stands in the status that is
kept for every report. `decide` is pure: facts in, a cause and its reason in words out.

    clean         the system was shut down in order
    update        … and it asked for that itself, or another kernel runs now
    kernel_panic  the kernel left its last words in pstore
    thermal       the hardware says so, or the last reading stood at the critical trip point
    watchdog      the hardware watchdog ended a machine that hung
    power_lost    the hardware came up from no power, or nothing else can have been it
    unknown       it was not shut down in order, and this machine cannot tell why

Order matters: an orderly shutdown comes first, because a Raspberry Pi and others reboot *by* their
watchdog; the kernel's own words come before the hardware's for the same reason.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import Clock, wall_ms
from vedette.edge.health.exits import (
    FOR_MEMORY,
    PROBABLY_FOR_MEMORY,
    machine_kills,
    named_in_log,
)
from vedette.edge.health.sysfs import Tree
from vedette.edge.health.tool import Run, run
from vedette.edge.health.traces import Traces, is_shutting_down, look, wants_reboot
from vedette.trust.keys import write_private
from vedette.wire.messages import HealthReport

log = logging.getLogger(__name__)

FILE: Final = "boots.json"
GOOD: Final = frozenset({"", "clean", "update"})
_MAX_BYTES: Final = 64 * 1024


class BootRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the machine's reboot and the agent's end.

    Attributes:
        boot_id: Of the boot that wrote this.
        reboots: Boots seen after the first.
        cause, detail: Why this boot happened; empty for the first that was seen.
        pid: Of the agent that wrote this.
        ended: How that agent ended: empty while it lives or where it died, `stopped`, `shutdown`.
        update: The system wanted a reboot after an update when it was shut down.
        kernel: The kernel that ran.
        panics: Last words in pstore that are known already.
        memory_kills: The machine's counter when the agent started.
        agent_crashes: Agents that died without a word.
        agent_exit: How the agent before this one ended, in words.
    """

    boot_id: str = ""
    reboots: int = 0
    cause: str = ""
    detail: str = ""
    pid: int = 0
    ended: str = ""
    update: bool = False
    kernel: str = ""
    panics: list[str] = []
    memory_kills: int | None = None
    agent_crashes: int = 0
    agent_exit: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the time before this boot."""

    record: BootRecord
    last: HealthReport | None
    kernel: str


def decide(past: Past, traces: Traces) -> tuple[str, str]:
    """Return the cause of a reboot and the reason for it in words."""
    record = past.record
    if record.ended == "shutdown" or traces.shutdown_logged:
        if record.update:
            return "update", "the system wanted a reboot after an update"
        if past.kernel and record.kernel and past.kernel != record.kernel:
            return "update", f"kernel {record.kernel} before, {past.kernel} now"
        return "clean", "the system was shut down in order"
    fresh = [name for name in traces.panics if name not in record.panics]
    if fresh:
        return "kernel_panic", traces.panic_words or f"last words in pstore: {fresh[-1]}"
    if traces.hardware == "thermal":
        return "thermal", traces.hardware_words
    hot = _stood_at_trip(past.last, traces)
    if hot and traces.hardware != "watchdog":
        return "thermal", hot
    if traces.hardware == "watchdog":
        return "watchdog", traces.hardware_words
    weak = "under-voltage" in (past.last.system.throttle_flags or []) if past.last else False
    if traces.hardware == "power_lost" or weak:
        words = traces.hardware_words or "the machine went without a word"
        return "power_lost", f"{words}; the supply was too weak just before" if weak else words
    if traces.would_tell_panic and traces.would_tell_watchdog:
        return "power_lost", "neither the kernel nor the watchdog left a word"
    return "unknown", "not shut down in order, and this machine cannot tell why"


class Boots:
    """The boot record of this device. Thread: one at a time.

    Attributes:
        news: What somebody should hear of once: how the time before ended, where that was bad.
        record: What was written last.
    """

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        boot_id: str,
        *,
        last: HealthReport | None = None,
        root: Path = Path("/"),
        ask: Run | None = None,
    ) -> None:
        """Find out what happened since the last life, and write down that a new one began.

        Args:
            state_dir: Where the record is.
            clock: For the time of shutdowns.
            boot_id: Of this boot.
            last: The last report of the agent before, where there is one.
            root: Where `/sys`, `/proc`, `/run` and `/var` are.
            ask: Runs `systemctl`; a recorded answer in tests.
        """
        self._path: Final = state_dir / FILE
        self._clock: Final = clock
        self._tree: Final = Tree(root)
        self._ask: Final = ask or _any_status
        self._started_ms: Final = wall_ms(clock.now_at())
        self.news: Final[list[str]] = []
        before = _read(self._path)
        self.record: BootRecord = self._begin(before, boot_id, last)
        self._write()

    def end(self) -> None:
        """Write down that the agent ends in order, and whether the whole system does."""
        shutting_down = is_shutting_down(self._tree, self._ask, since_ms=self._started_ms)
        self.record = msgspec.structs.replace(
            self.record,
            ended="shutdown" if shutting_down else "stopped",
            update=shutting_down and wants_reboot(self._tree),
        )
        self._write()

    def _begin(
        self, before: BootRecord | None, boot_id: str, last: HealthReport | None
    ) -> BootRecord:
        kernel = self._tree.text("proc/sys/kernel/osrelease")[:100]
        traces = look(self._tree, after_ms=last.at_ms if last else None)
        fresh = BootRecord(
            boot_id=boot_id,
            pid=os.getpid(),
            kernel=kernel,
            panics=traces.panics,
            memory_kills=machine_kills(self._tree),
        )
        if before is None:
            return fresh
        kept = msgspec.structs.replace(
            fresh, reboots=before.reboots, agent_crashes=before.agent_crashes
        )
        if before.boot_id == boot_id:
            kept = msgspec.structs.replace(kept, cause=before.cause, detail=before.detail)
            return self._same_boot(before, kept)
        cause, detail = decide(Past(before, last, kernel), traces)
        if cause not in GOOD:
            self.news.append(f"this machine started anew: {cause.replace('_', ' ')} ({detail})")
        log.log(
            logging.INFO if cause in GOOD else logging.WARNING,
            "the machine started anew",
            extra={"event": "health.reboot", "cause": cause, "detail": detail},
        )
        return msgspec.structs.replace(
            kept, reboots=before.reboots + 1, cause=cause, detail=detail, agent_exit="the reboot"
        )

    def _same_boot(self, before: BootRecord, kept: BootRecord) -> BootRecord:
        if before.ended:
            return msgspec.structs.replace(kept, agent_exit="stopped in order")
        how = "it died without a word"
        kills = machine_kills(self._tree)
        if named_in_log(self._tree, before.pid):
            how = FOR_MEMORY
        elif kills is not None and before.memory_kills is not None and kills > before.memory_kills:
            how = PROBABLY_FOR_MEMORY
        self.news.append(f"the agent before this one did not end in order: {how}")
        return msgspec.structs.replace(kept, agent_crashes=before.agent_crashes + 1, agent_exit=how)

    def _write(self) -> None:
        try:
            write_private(self._path, msgspec.json.encode(self.record))
        except OSError as error:
            log.warning(
                "boot record not kept", extra={"event": "health.boots", "reason": str(error)}
            )


def _read(path: Path) -> BootRecord | None:
    """Return the record, or None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=BootRecord)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _stood_at_trip(last: HealthReport | None, traces: Traces) -> str:
    """Return in words that the last reading stood within 3 °C of where the hardware gives up."""
    if last is None:
        return ""
    for name, degrees in last.system.temperatures_c.items():
        trip = traces.critical_c.get(name)
        if trip is not None and degrees >= trip - 3:
            return f"{name} stood at {degrees:.0f} °C; {trip:.0f} °C is where it switches off"
    return ""


def _any_status(argv: Sequence[str]) -> str:
    return run(argv, any_status=True)
