"""What the doctor says of the machine: clock, disk, memory, heat, spool, central.

Each check is a function that returns findings; what it reads comes in, so that a test can hand in
another machine.
"""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from vedette.amounts import counted
from vedette.clock import NS_PER_MS, Clock, wall_ms
from vedette.edge.central_client import CentralClient
from vedette.edge.doctor.alerts import local_channels
from vedette.edge.doctor.finding import Finding, Verdict
from vedette.edge.enrolment import Identity, load_identity
from vedette.edge.health import SystemProbe
from vedette.edge.health.boots import GOOD
from vedette.edge.health.sysfs import Tree
from vedette.edge.health.system import memory_mb
from vedette.edge.settings import CentralLink, EdgeConfig
from vedette.edge.spool import peek
from vedette.edge.status import read_status
from vedette.edge.supervisor import AgentLock
from vedette.edge.timekeeper import BUILD_AT
from vedette.errors import BadSignature, VedetteError
from vedette.trust import dsse
from vedette.trust.keys import to_text
from vedette.wire.enrol import TimeRequest, TimeStatement
from vedette.wire.messages import HealthReport, SystemHealth
from vedette.wire.signed import TIME_TYPE

SYNC_ROUNDS: Final = 5
SLOW_SYNC_MS: Final = 100.0
HOT_C: Final = 80.0
LEAST_MEMORY_MB: Final = 512.0
MAX_OFFSET_MS: Final = 2_000
_MB: Final = 1024 * 1024
_REBOOT_ADVICE: Final = {
    "power_lost": "find out who unplugs it, or whether the supply is too weak",
    "thermal": "give the box air before it runs again: no closed cabinet, no dust, no sun",
    "kernel_panic": "look at the words the kernel left; update the system, test the memory",
    "watchdog": "the machine hung: look at its log, its disk and its heat",
    "unknown": "a hardware watchdog and pstore would let it tell the next time",
}


def machine_findings(config: EdgeConfig, clock: Clock, boot: str) -> list[Finding]:
    """Return what is to be said of this machine; writes one small file and removes it."""
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = [judge_wall_clock(wall_ms(clock.now_at())), *disk(config, clock)]
    health = SystemProbe(config.state_dir).collect(boot_id=boot)
    found += judge_health(health, memory_mb(Tree())[1])
    found += [agent(config), *last_report(read_status(config.state_dir)), *spool(config)]
    return [*found, *central(config, clock), *local_channels(config)]


def judge_wall_clock(now_ms: int) -> Finding:
    """Return whether the clock can be right at all."""
    if now_ms < wall_ms(BUILD_AT):
        return Finding(
            about="machine",
            check="clock",
            verdict=Verdict.FAILED,
            detail="stands before this program was built",
            advice="switch time synchronisation on (timedatectl set-ntp true) or fit a battery",
        )
    return Finding(about="machine", check="clock", verdict=Verdict.OK, detail="plausible")


def disk(config: EdgeConfig, clock: Clock) -> list[Finding]:
    """Write and sync a small file where the spool is; compare free room with what may fill up."""
    probe = config.state_dir / f".doctor-{os.getpid()}"
    try:
        worst_ms = _slowest_sync_ms(probe, clock)
    except OSError as error:
        return [
            Finding(
                about="machine",
                check="disk",
                verdict=Verdict.FAILED,
                detail=f"{config.state_dir} cannot be written: {error.strerror}",
                advice="make the folder writable for this user, or give another state_dir",
            )
        ]
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    slow = worst_ms > SLOW_SYNC_MS
    found = [
        Finding(
            about="machine",
            check="disk speed",
            verdict=Verdict.WARNING if slow else Verdict.OK,
            detail=f"slowest of {SYNC_ROUNDS} synced writes {worst_ms:.1f} ms",
            advice="use an SSD: every alert is synced before it counts as kept" if slow else "",
        )
    ]
    return [*found, judge_room(config, shutil.disk_usage(config.state_dir).free)]


def judge_room(config: EdgeConfig, free_bytes: int) -> Finding:
    """Return whether spool and evidence can grow to what the configuration allows them."""
    wanted_mb = config.spool.quota_mb + config.evidence.keep_mb
    free_mb = free_bytes / _MB
    detail = f"{free_mb:.0f} MB free; spool and evidence may take {wanted_mb:.0f} MB"
    if free_mb >= wanted_mb:
        return Finding(about="machine", check="disk room", verdict=Verdict.OK, detail=detail)
    return Finding(
        about="machine",
        check="disk room",
        verdict=Verdict.WARNING,
        detail=detail,
        advice="lower spool.quota_mb and evidence.keep_mb, or make room",
    )


def judge_health(health: SystemHealth, available_mb: float | None) -> list[Finding]:
    """Return what is to be said of board, memory, heat and throttling."""
    found = [_board(health)]
    if available_mb is None:
        found.append(_unknown("memory", "this machine does not tell"))
    else:
        tight = available_mb < LEAST_MEMORY_MB
        found.append(
            Finding(
                about="machine",
                check="memory",
                verdict=Verdict.WARNING if tight else Verdict.OK,
                detail=f"{available_mb:.0f} MB available",
                advice="stop other programs or use a smaller model" if tight else "",
            )
        )
    hottest = max(health.temperatures_c.items(), key=lambda item: item[1], default=None)
    if hottest is None:
        found.append(_unknown("heat", "this machine shows no temperatures"))
    else:
        hot = hottest[1] >= HOT_C
        found.append(
            Finding(
                about="machine",
                check="heat",
                verdict=Verdict.WARNING if hot else Verdict.OK,
                detail=f"{hottest[0]} {hottest[1]:.0f} °C",
                advice="give the box air: no closed cabinet, no dust, no sun" if hot else "",
            )
        )
    if health.throttle_flags is None:
        found.append(_unknown("throttling", "this machine cannot tell"))
    else:
        flags = ", ".join(health.throttle_flags)
        found.append(
            Finding(
                about="machine",
                check="throttling",
                verdict=Verdict.WARNING if flags else Verdict.OK,
                detail=flags or "none",
                advice="a weak power supply or heat holds the machine back" if flags else "",
            )
        )
    return found


def _board(health: SystemHealth) -> Finding:
    """Return what this machine is and what it draws, where it tells."""
    parts = [
        health.hardware or "unnamed board",
        f"read as {health.probe}" if health.probe else "",
        f"mode {health.power_mode}" if health.power_mode else "",
        f"{health.power_w:.1f} W" if health.power_w is not None else "",
    ]
    detail = ", ".join(part for part in parts if part)
    return Finding(about="machine", check="board", verdict=Verdict.OK, detail=detail)


def agent(config: EdgeConfig) -> Finding:
    """Return whether an agent runs here."""
    runs = AgentLock.is_held(config.state_dir)
    return Finding(
        about="machine",
        check="agent",
        verdict=Verdict.OK if runs else Verdict.WARNING,
        detail="runs" if runs else "does not run",
        advice="" if runs else "start it: vedette edge run --config …",
    )


def last_report(report: HealthReport | None) -> list[Finding]:
    """Return what the agent last told of its past: reboots, crashes, memory that grows."""
    if report is None:
        return []
    system, found = report.system, []
    if system.reboot_cause:
        bad = system.reboot_cause not in GOOD
        found.append(
            Finding(
                about="machine",
                check="last reboot",
                verdict=Verdict.WARNING if bad else Verdict.OK,
                detail=f"{system.reboot_cause.replace('_', ' ')}: {system.reboot_detail}",
                advice=_REBOOT_ADVICE.get(system.reboot_cause, "") if bad else "",
            )
        )
    crashes = (system.agent_crashes or 0) + (report.pipeline.crashes if report.pipeline else 0)
    if crashes:
        last = report.pipeline.last_exit if report.pipeline else ""
        found.append(
            Finding(
                about="machine",
                check="crashes",
                verdict=Verdict.WARNING,
                detail=f"{crashes} of agent and pipeline; last end: {last or system.agent_exit}",
                advice="look at the log around that time; free memory where it was for want of it",
            )
        )
    for name, rate in system.growth_mb_per_h.items():
        found.append(
            Finding(
                about="machine",
                check=f"memory of the {name}",
                verdict=Verdict.WARNING,
                detail=f"grows by {rate:.1f} MB an hour",
                advice="restart it before the memory is used up, and report this as a fault",
            )
        )
    return found


def spool(config: EdgeConfig) -> list[Finding]:
    """Return how full the spool is, where there is one."""
    health = peek(config.state_dir / "spool", round(config.spool.quota_mb * _MB))
    if health is None:
        return [_unknown("spool", "there is none yet, or it cannot be read")]
    waiting = sum(health.depth.values())
    if health.evicted:
        lost = counted(health.evicted, "message")
        return [
            Finding(
                about="machine",
                check="spool",
                verdict=Verdict.WARNING,
                detail=f"{lost} had to go for want of room; {waiting} wait",
                advice="raise spool.quota_mb, or find out why central is not reached",
            )
        ]
    return [
        Finding(about="machine", check="spool", verdict=Verdict.OK, detail=f"{waiting} waiting")
    ]


def central(config: EdgeConfig, clock: Clock) -> list[Finding]:
    """Ask central for its signed time; compare the clocks."""
    if config.central is None:
        return [_unknown("central", "none is configured: this device works alone")]
    identity = load_identity(config.state_dir)
    client = CentralClient(config.central, clock, identity=identity)
    try:
        return _ask_central(config.central, client, identity, clock)
    except VedetteError as error:
        return [
            Finding(
                about="central",
                check="reachable",
                verdict=Verdict.FAILED,
                detail=str(error),
                advice=error.operator_hint or "",
            )
        ]
    finally:
        client.close()


def _ask_central(
    link: CentralLink, client: CentralClient, identity: Identity | None, clock: Clock
) -> list[Finding]:
    nonce = to_text(secrets.token_bytes(32))
    asked_ns = clock.mono_ns()
    signed = client.time(TimeRequest(nonce=nonce))
    took_ms = (clock.mono_ns() - asked_ns) / NS_PER_MS
    here_ms = wall_ms(clock.now_at()) - took_ms / 2
    found = [
        Finding(
            about="central",
            check="reachable",
            verdict=Verdict.OK,
            detail=f"{link.url} answers in {took_ms:.0f} ms",
        )
    ]
    if identity is None:
        return [
            *found,
            Finding(
                about="central",
                check="enrolment",
                verdict=Verdict.WARNING,
                detail="this device is not enrolled",
                advice="vedette edge enrol --token CLAIM_TOKEN",
            ),
        ]
    said = dsse.open_struct(signed, TimeStatement, [identity.central], payload_type=TIME_TYPE)
    if said.nonce != nonce:
        raise BadSignature("a statement of time over a nonce that is not ours")
    offset_ms = here_ms - said.time_ms
    wrong = abs(offset_ms) > MAX_OFFSET_MS
    return [
        *found,
        Finding(
            about="central",
            check="enrolment",
            verdict=Verdict.OK,
            detail=f"{identity.device} at {identity.site}; the answer bears the pinned key",
        ),
        Finding(
            about="central",
            check="clock against central's",
            verdict=Verdict.WARNING if wrong else Verdict.OK,
            detail=f"{offset_ms / 1000:+.2f} s",
            advice="switch time synchronisation on; until then times are corrected in central"
            if wrong
            else "",
        ),
    ]


def _slowest_sync_ms(probe: Path, clock: Clock) -> float:
    block = b"\0" * 16_384
    worst_ns = 0
    with probe.open("wb") as file:
        for _ in range(SYNC_ROUNDS):
            began_ns = clock.mono_ns()
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            worst_ns = max(worst_ns, clock.mono_ns() - began_ns)
    return worst_ns / NS_PER_MS


def _unknown(check: str, detail: str) -> Finding:
    about = "central" if check == "central" else "machine"
    return Finding(about=about, check=check, verdict=Verdict.UNKNOWN, detail=detail)
