"""The systemd units of a device. Pure.

The agent tells systemd that it is ready, pets its watchdog twice a second and stops doing so when
its uplink hangs; systemd then restarts it. Restarts are never given up: a box in a closet has
nobody to type `reset-failed`. The service may write its own folders and nothing else.

Source: systemd.service(5), systemd.exec(5), systemd-system.conf(5) (`RuntimeWatchdogSec=`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

WATCHDOG_S: Final = 60
HARDWARE_WATCHDOG_S: Final = 30
STOP_S: Final = 60

_HARDENING: Final = (
    "NoNewPrivileges=true",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=true",
    "PrivateTmp=true",
    "ProtectKernelTunables=true",
    "ProtectKernelModules=true",
    "ProtectControlGroups=true",
    "ProtectHostname=true",
    "RestrictSUIDSGID=true",
    "RestrictNamespaces=true",
    "RestrictRealtime=true",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "LockPersonality=true",
    "SystemCallArchitectures=native",
)


def service(
    *,
    program: Path,
    config: Path,
    user: str,
    writes: Sequence[Path],
    groups: Sequence[str] = (),
    launcher: Sequence[Path] = (),
) -> str:
    """Return `vedette-edge.service`.

    Args:
        program: The `vedette` command.
        config: `edge.yaml`, readable for `user`.
        user: Runs it.
        writes: Folders that it may write.
        groups: Further groups, such as `video` for cameras at the machine.
        launcher: Interpreter, `launch.py`, and the folder of the program's environments; empty: the
            program is started itself, and cannot be updated.
    """
    start = [quoted(program)]
    if launcher:
        python, script, folder = (quoted(path) for path in launcher)
        start = [python, "-I", "-S", script, folder, quoted(program)]
    lines = [
        "[Unit]",
        "Description=Vedette on this device",
        "Documentation=man:systemd.service(5)",
        "After=network-online.target time-sync.target",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        f"User={user}",
        *([f"SupplementaryGroups={' '.join(groups)}"] if groups else []),
        f"ExecStart={' '.join(start)} edge run --config {quoted(config)}",
        f"WatchdogSec={WATCHDOG_S}",
        "Restart=always",
        "RestartSec=5",
        f"TimeoutStopSec={STOP_S}",
        "KillMode=mixed",
        "# One process of ours that the kernel ends for memory does not end the others.",
        "OOMPolicy=continue",
        "UMask=0077",
        "# In memory: the heartbeat, a file replaced each second, wears no SD card there.",
        "RuntimeDirectory=vedette",
        "RuntimeDirectoryMode=0700",
        f"ReadWritePaths={' '.join(quoted(path) for path in writes)}",
        *_HARDENING,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def door(*, program: Path, config: Path) -> str:
    """Return `vedette-system.service`: root's half of the door, one request at a time."""
    return "\n".join(
        [
            "[Unit]",
            "Description=Installs systems that Vedette was signed and asked to",
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={quoted(program)} edge system-door --config {quoted(config)}",
            "TimeoutStartSec=infinity",
            "UMask=0022",
            "",
        ]
    )


def door_path(*, request: Path) -> str:
    """Return `vedette-system.path`: root looks when the agent has written a request."""
    return "\n".join(
        [
            "[Unit]",
            "Description=Requests of Vedette to root",
            "",
            "[Path]",
            f"PathChanged={quoted(request)}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def hardware_watchdog() -> str:
    """Return the drop-in that has the machine itself reset when its kernel or systemd hangs."""
    return (
        "# The machine's own watchdog: it resets a machine whose kernel or systemd hangs.\n"
        f"[Manager]\nRuntimeWatchdogSec={HARDWARE_WATCHDOG_S}\n"
    )


def quoted(path: Path) -> str:
    """Return a path as one word of a unit: `%` doubled, quoted where it needs to be."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if any(c in text for c in " \t'\"\\;") else text
