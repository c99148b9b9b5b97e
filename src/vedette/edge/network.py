"""What the way to central is like: retransmissions of our own connection, and the first link.

Read from the kernel alone: nothing is sent for it. What a machine cannot tell is None or empty.
Not here: counting requests and their time (`edge.central_client.Meter`).

The rule: a share of lost segments is only said where segments were sent.
"""

import contextlib
import socket
import struct
from pathlib import Path
from typing import Final

import msgspec

from vedette.wire.messages import NetworkHealth

_FLAG_UP: Final = 0x1
_TYPE_ETHERNET: Final = 1
_TYPE_PPP: Final = 512
_TOTAL_RETRANS_AT: Final = 100
_DATA_SEGS_OUT_AT: Final = 156
_TCP_INFO_BYTES: Final = 192
_MAX_FILE_BYTES: Final = 256 * 1024


class Segments(msgspec.Struct, frozen=True):
    """What one connection sent since it was opened: data segments, and how many of them again."""

    sent: int
    again: int


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The interface of the default route. `kind` is ethernet, wifi, cellular or other."""

    interface: str = ""
    kind: str = ""
    mbps: float | None = None
    signal_dbm: float | None = None


def segments(connection: socket.socket) -> Segments | None:
    """Return the kernel's counts of a TCP connection; None where it does not keep them.

    Source: `struct tcp_info` of linux/tcp.h: eight bytes, 24 words of 32 bits up to
    `tcpi_total_retrans` (offset 100), four of 64 bits, then `tcpi_segs_out` and so on up to
    `tcpi_data_segs_out` (offset 156; Linux 4.6 and later). The struct only ever grows at its end.
    """
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except (OSError, AttributeError):  # not TCP, closed, or not Linux
        return None
    if len(info) < _DATA_SEGS_OUT_AT + 4:
        return None
    (again,) = struct.unpack_from("=I", info, _TOTAL_RETRANS_AT)
    (sent,) = struct.unpack_from("=I", info, _DATA_SEGS_OUT_AT)
    return Segments(sent, again)


def read_link(root: Path = Path("/")) -> Link:
    """Return the link that the default route leaves by; empty where there is none.

    Args:
        root: Where `proc` and `sys` are: another folder in tests.
    """
    name = _default_interface(_text(root / "proc/net/route"))
    if not name:
        return Link()
    device = root / "sys/class/net" / name
    kind = _kind(device, name)
    speed = _number(_text(device / "speed"))
    return Link(
        interface=name,
        kind=kind,
        mbps=speed if speed is not None and speed > 0 else None,
        signal_dbm=_signal_dbm(_text(root / "proc/net/wireless"), name),
    )


def with_link(health: NetworkHealth, link: Link) -> NetworkHealth:
    """Return `health` with what is known of the link."""
    return msgspec.structs.replace(
        health,
        interface=link.interface,
        link=link.kind,
        link_mbps=link.mbps,
        signal_dbm=link.signal_dbm,
    )


def _default_interface(table: str) -> str:
    """Return the interface of the default route with the smallest metric.

    Source: proc_pid_net(5), `route`: Iface Destination Gateway Flags RefCnt Use Metric Mask …, in
    hexadecimal but for the metric.
    """
    best: tuple[int, str] | None = None
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        try:
            flags, metric = int(fields[3], 16), int(fields[6])
        except ValueError:
            continue
        name = fields[0]
        if flags & _FLAG_UP and "/" not in name and (best is None or (metric, name) < best):
            best = metric, name
    return best[1] if best else ""


def _kind(device: Path, name: str) -> str:
    """Return what kind of link it is.

    Source: sysfs-class-net: `type` is an ARPHRD number, `uevent` has DEVTYPE for wlan and wwan.
    """
    kind = _number(_text(device / "type"))
    uevent = _text(device / "uevent")
    if (device / "wireless").is_dir() or "DEVTYPE=wlan" in uevent:
        return "wifi"
    if "DEVTYPE=wwan" in uevent or kind == _TYPE_PPP or name.startswith("wwan"):
        return "cellular"
    if kind == _TYPE_ETHERNET and "DEVTYPE=" not in uevent:
        return "ethernet"
    return "other"


def _signal_dbm(table: str, name: str) -> float | None:
    """Return the signal level of a wireless interface where the driver gives it in dBm.

    Source: proc/net/wireless of the wireless extensions: `wlan0: status link level noise …`.
    """
    for line in table.splitlines():
        head, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and head.strip() == name and len(fields) >= 3:
            level = _number(fields[2].rstrip("."))
            return level if level is not None and -200 < level < 0 else None
    return None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    return ""


def _number(text: str) -> float | None:
    try:
        return float(int(text.strip()))
    except ValueError:
        return None
