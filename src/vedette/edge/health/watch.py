"""Everything of a machine's health that outlasts one reading: boots, crashes, trends.

The agent asks here once a report. Not here: reading the machine (`system`), what a trend is
(`memory`), why it started anew (`boots`).
"""

import os
from pathlib import Path
from typing import Final, Protocol

import msgspec

from vedette.clock import Clock
from vedette.edge.health.boots import Boots
from vedette.edge.health.memory import MemoryTrend
from vedette.wire.messages import HealthReport, SystemHealth

SILENT_S: Final = 60.0
"""Sensors that have not answered for so long are a problem to be told."""


class Probe(Protocol):
    """What reads the machine: `edge.health.system`."""

    def collect(self, *, boot_id: str = "", pipeline_pid: int | None = None) -> SystemHealth:
        """Return the machine's state since the last call."""
        ...


class HealthWatch:
    """The machine over time. Thread: one report at a time; `end` when no report is made any more.

    Attributes:
        problems: In words, as of the last `collect`; what is new since the last life is in it once.
    """

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        boot_id: str,
        probe: Probe,
        *,
        last: HealthReport | None = None,
        boots: Boots | None = None,
    ) -> None:
        """Find out how the time before ended.

        Args:
            state_dir: Where the boot record is.
            clock: The machine's.
            boot_id: Of this boot.
            probe: Reads the machine.
            last: The last report of the agent before, where there is one.
            boots: The boot record, opened already; for tests with a machine of their own.
        """
        self._clock: Final = clock
        self._boot_id: Final = boot_id
        self._probe: Final = probe
        self._boots: Final = boots or Boots(state_dir, clock, boot_id, last=last)
        self._trend: Final = MemoryTrend()
        self._news: list[str] = list(self._boots.news)
        self.problems: list[str] = []

    def collect(self, pipeline_pid: int | None) -> SystemHealth:
        """Return the machine's state since the last call, with what outlasts it."""
        system = self._probe.collect(boot_id=self._boot_id, pipeline_pid=pipeline_pid)
        now_ns = self._clock.mono_ns()
        self._trend.note("agent", os.getpid(), system.agent_rss_mb, now_ns)
        self._trend.note("pipeline", pipeline_pid, system.pipeline_rss_mb, now_ns)
        self.problems, self._news = [*self._news, *self._lasting(system)], []
        record = self._boots.record
        return msgspec.structs.replace(
            system,
            reboot_cause=record.cause,
            reboot_detail=record.detail,
            reboots=record.reboots,
            agent_crashes=record.agent_crashes,
            agent_exit=record.agent_exit,
            growth_mb_per_h=dict(self._trend.growth_mb_per_h),
        )

    def end(self) -> None:
        """Write down that the agent ends in order, and whether the whole system does."""
        self._boots.end()

    def _lasting(self, system: SystemHealth) -> list[str]:
        found = []
        silent_s = getattr(self._probe, "silent_s", 0.0)
        if silent_s > SILENT_S:
            found.append(f"the sensors of this machine have not answered for {silent_s:.0f} s")
        available_mb = None
        if system.memory_mb is not None and system.memory_used_fraction is not None:
            available_mb = system.memory_mb * (1 - system.memory_used_fraction)
        growing = self._trend.problem(available_mb)
        return [*found, growing] if growing else found
