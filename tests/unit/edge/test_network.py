"""The way to central as the kernel knows it: recorded trees, and a real connection."""

import socket
from pathlib import Path

import pytest

from vedette.clock import ManualClock
from vedette.edge.central_client import Meter
from vedette.edge.network import Link, read_link, segments, with_link
from vedette.wire.messages import NetworkHealth

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ETH0 = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
WLAN0 = "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
WWAN0 = "wwan0\t00000000\t00000000\t0001\t0\t0\t700\t00000000\t0\t0\t0\n"
LOCAL = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
WIRELESS = """Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   58.  -52.  -256        0      0      0      0      3        0
"""


def tree(root: Path, routes: str, **files: str) -> Path:
    """Lay out a machine's files; keys are paths with `__` for `/`."""
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/net/route").write_text(HEAD + routes)
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_wired_box_names_its_speed(tmp_path: Path) -> None:
    """The default route with the smallest metric counts, not a bridge's."""
    root = tree(
        tmp_path,
        LOCAL + WLAN0 + ETH0,
        sys__class__net__eth0__type="1\n",
        sys__class__net__eth0__uevent="INTERFACE=eth0\nIFINDEX=2\n",
        sys__class__net__eth0__speed="1000\n",
    )
    assert read_link(root) == Link(interface="eth0", kind="ethernet", mbps=1000.0)


def test_a_box_on_wifi_names_its_signal(tmp_path: Path) -> None:
    """Wi-Fi has no `speed`; its level is in dBm."""
    root = tree(
        tmp_path,
        WLAN0,
        sys__class__net__wlan0__type="1\n",
        sys__class__net__wlan0__uevent="DEVTYPE=wlan\nINTERFACE=wlan0\n",
        proc__net__wireless=WIRELESS,
    )
    link = read_link(root)
    assert link == Link(interface="wlan0", kind="wifi", signal_dbm=-52.0)
    health = with_link(NetworkHealth(requests=3), link)
    assert (health.link, health.signal_dbm, health.requests) == ("wifi", -52.0, 3)


def test_a_modem_is_cellular_and_its_speed_unknown(tmp_path: Path) -> None:
    """-1 stands for unknown, and is not a speed."""
    root = tree(
        tmp_path,
        WWAN0,
        sys__class__net__wwan0__type="65534\n",
        sys__class__net__wwan0__uevent="DEVTYPE=wwan\n",
        sys__class__net__wwan0__speed="-1\n",
    )
    assert read_link(root) == Link(interface="wwan0", kind="cellular")


@pytest.mark.parametrize(
    "routes", ["", LOCAL, "eth0\tx\n", "eth0\t00000000\tx\tzz\t0\t0\ty\t00000000\n"]
)
def test_a_machine_that_cannot_tell_says_nothing(tmp_path: Path, routes: str) -> None:
    """No default route, or a table that is none."""
    assert read_link(tree(tmp_path, routes)) == Link()
    assert read_link(tmp_path / "nothing") == Link()


def test_retransmissions_of_a_real_connection_are_a_share_of_what_was_sent() -> None:
    """Loopback loses nothing: segments were sent, none of them again; each is counted once."""
    meter = Meter(ManualClock())
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as near:
            far, _ = server.accept()
            with far:
                near.sendall(b"x" * 10_000)
                read = 0
                while read < 10_000:
                    read += len(far.recv(65_536))
                first = segments(near)
                assert first is not None
                assert first.sent >= 1
                assert first.again == 0
                meter.watch(near)
                assert meter.take().loss_fraction == 0.0
                assert meter.take().loss_fraction is None  # nothing was sent since


def test_what_is_no_connection_has_no_segments() -> None:
    """A datagram socket and a closed one cannot tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        assert segments(other) is None
    gone = socket.socket()
    gone.close()
    assert segments(gone) is None


def test_throughput_is_said_only_of_large_bodies() -> None:
    """A heartbeat's time is the round trip, not the line."""
    meter = Meter(ManualClock())
    meter.count(500, 100, 50.0)
    assert meter.take().throughput_mbps is None
    meter.count(250_000, 100, 1_000.0)
    meter.count_backfill(240_000)
    taken = meter.take()
    assert taken.throughput_mbps == pytest.approx(2.0)
    assert taken.backfill_bytes == 240_000
