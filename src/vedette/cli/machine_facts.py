"""How a machine's health reads: rows of name and words, for `vedette edge status`."""

from vedette.cli.printable import escape
from vedette.wire.messages import SystemHealth


def machine_facts(system: SystemHealth) -> list[tuple[str, str]]:
    """Return what is known of a machine, a row each; what it cannot tell has no row."""
    rows = [
        ("machine", _board(system)),
        ("load", _load(system)),
        ("heat", _heat(system)),
        ("throttling", _throttling(system)),
        ("last reboot", _reboot(system)),
        ("agent", _crashes(system)),
        ("memory grows", _growth(system)),
    ]
    return [(name, escape(words)) for name, words in rows if words]


def _board(system: SystemHealth) -> str:
    parts = [system.hardware, f"as {system.probe}" if system.probe else ""]
    parts.append(f"mode {system.power_mode}" if system.power_mode else "")
    parts.append(f"{system.power_w:.1f} W" if system.power_w is not None else "")
    parts.append(f"up {system.uptime_s / 3600:.1f} h" if system.uptime_s is not None else "")
    return ", ".join(part for part in parts if part)


def _load(system: SystemHealth) -> str:
    parts = [
        f"{name} {value:.0%}"
        for name, value in (
            ("CPU", system.cpu_fraction),
            ("GPU", system.gpu_fraction),
            ("GPU memory", system.gpu_memory_fraction),
            ("memory", system.memory_used_fraction),
            ("disk", system.disk_used_fraction),
            ("fan", system.fan_fraction),
        )
        if value is not None
    ]
    return ", ".join(parts)


def _heat(system: SystemHealth) -> str:
    hottest = sorted(system.temperatures_c.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {degrees:.0f} °C" for name, degrees in hottest)


def _throttling(system: SystemHealth) -> str:
    if system.throttle_flags is None:
        return ""
    return ", ".join(system.throttle_flags) or "none"


def _reboot(system: SystemHealth) -> str:
    if not system.reboot_cause:
        return ""
    count = f"; {system.reboots} so far" if system.reboots else ""
    return f"{system.reboot_cause.replace('_', ' ')} ({system.reboot_detail}){count}"


def _crashes(system: SystemHealth) -> str:
    if not system.agent_crashes:
        return ""
    return f"{system.agent_crashes} crashes so far; the one before: {system.agent_exit}"


def _growth(system: SystemHealth) -> str:
    rates = system.growth_mb_per_h.items()
    return ", ".join(f"the {name} by {rate:.1f} MB an hour" for name, rate in rates)
