"""The routers on the way, without being root: datagrams that may live only so many hops.

A datagram whose time to live runs out comes back as an error, and Linux tells an ordinary socket
who sent it. Where the kernel or the network keeps that to itself, it is said and nothing is
guessed. IPv4 only.

Source: ip(7), IP_RECVERR; the same way as tracepath(8).
"""

import contextlib
import select
import socket
import struct
from collections.abc import Sequence
from typing import Final

from vedette.clock import NS_PER_MS, Clock
from vedette.wire.diagnostics import Hop

MAX_HOPS: Final = 16
HOP_S: Final = 0.7
GIVE_UP_AFTER: Final = 4
_IP_RECVERR: Final = 11
_FIRST_PORT: Final = 33_434  # where nobody listens, by custom of traceroute
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_ICMP: Final = 2
_TIME_EXCEEDED: Final = 11


def hops(addresses: Sequence[str], clock: Clock, end_ns: int) -> tuple[list[Hop], str]:
    """Return the routers towards the first IPv4 address, and why there are none."""
    there = next((a for a in addresses if _is_ipv4(a)), None)
    if there is None:
        return [], "central has no IPv4 address here"
    if not hasattr(socket, "MSG_ERRQUEUE"):
        return [], "this system does not tell programs about routers"
    found: list[Hop] = []
    try:
        for ttl in range(1, MAX_HOPS + 1):
            if clock.mono_ns() >= end_ns:
                return found, "the time for this test was over"
            hop, is_there = _ask(there, ttl, clock)
            found.append(hop)
            if is_there:
                return found, ""
            if len(found) >= GIVE_UP_AFTER and not any(h.address for h in found[-GIVE_UP_AFTER:]):
                return found, "routers here do not answer"
    except OSError as error:
        return found, f"this system does not tell programs about routers: {error.strerror}"
    return found, f"not reached within {MAX_HOPS} hops"


def _is_ipv4(address: str) -> bool:
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET, address)
        return True
    return False


def _ask(there: str, ttl: int, clock: Clock) -> tuple[Hop, bool]:
    """Return who answered a datagram of this life, and whether that was the end of the way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        probe.connect((there, _FIRST_PORT + ttl))
        began_ns = clock.mono_ns()
        with contextlib.suppress(ConnectionRefusedError):
            probe.send(b"vedette")
        poll = select.poll()
        poll.register(probe, select.POLLERR)
        if not poll.poll(round(HOP_S * 1000)):
            return Hop(ttl=ttl, address=""), False
        ms = round((clock.mono_ns() - began_ns) / NS_PER_MS, 2)
        _, control, _, _ = probe.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) and len(data) >= 24:
            _, origin, icmp, *_ = _EXTENDED_ERROR.unpack_from(data)
            # Behind the error stands a sockaddr_in: family, port, then the address of the router.
            who = socket.inet_ntoa(data[20:24]) if origin == _ORIGIN_ICMP else there
            return Hop(ttl=ttl, address=who, ms=ms), icmp != _TIME_EXCEEDED
    return Hop(ttl=ttl, address=""), False
