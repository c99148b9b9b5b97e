"""The way from this device to central, step by step: name, connection, TLS, HTTP, speed.

Each step is tried by itself and says in words why it did not work; those behind it are tried where
they still make sense. The rule: the test never sends or takes more than `MAX_SPEED_BYTES`, nor more
than `uplink.windows` would let the backlog have in `CAP_S`; where they allow nothing, it sends
nothing. Time is bounded by a deadline over everything.
"""

import os
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from vedette.clock import NS_PER_MS, NS_PER_S, Clock
from vedette.edge.diagnostics.route import hops
from vedette.errors import VedetteError
from vedette.wire.diagnostics import MAX_SPEED_BYTES, Address, NetworkAnswer, Speed

STEP_S: Final = 5.0
DEADLINE_S: Final = 60.0
MAX_ADDRESSES: Final = 4
ROUND_TRIPS: Final = 5
CAP_S: Final = 10.0
AIM_S: Final = 4.0
"""How long one direction should take: long enough for TCP to find its pace."""

FIRST_BYTES: Final = 64 * 1024
_MOST_AT_ONCE: Final = MAX_SPEED_BYTES // 2
_TCP_INFO_BYTES: Final = 104
_PMTU_AT, _RTT_AT, _RETRANS_AT = 60, 68, 100
"""Offsets in `struct tcp_info`. Source: linux/tcp.h, fixed by the kernel's ABI."""


class Line(Protocol):
    """The part of `CentralClient` that carries bodies that mean nothing."""

    def send_nothing(self, body: bytes) -> None:
        """Send a body that central counts and forgets."""
        ...

    def take_nothing(self, size: int) -> int:
        """Take so many bytes that mean nothing; return how many came."""
        ...


class Examination:
    """One run. Thread: the caller's, for at most `DEADLINE_S` and one step more."""

    def __init__(self, url: str, line: Line, cap_kbit_s: float, clock: Clock) -> None:
        """Prepare; `cap_kbit_s` is what the windows allow at this time."""
        parts = urlsplit(url)
        self._host: Final = parts.hostname or ""
        self._is_tls: Final = parts.scheme == "https"
        self._port: Final = parts.port or (443 if self._is_tls else 80)
        self._line: Final = line
        self._cap: Final = cap_kbit_s
        self._clock: Final = clock
        self._end_ns: Final = clock.mono_ns() + round(DEADLINE_S * NS_PER_S)

    def run(self) -> bytes:
        """Return a `NetworkAnswer` in JSON."""
        found, dns_ms, trouble = self._resolve()
        addresses = [self._try(family, there) for family, there in found[:MAX_ADDRESSES]]
        trips, http_trouble = self._round_trips() if found else ([], "the name is not known here")
        budget = min(MAX_SPEED_BYTES, round(self._cap * 1000 / 8 * CAP_S))
        if not trips:
            up = down = Speed(trouble="not tried: central does not answer")
        else:
            up = self._speed(budget // 2, self._send)
            down = self._speed(budget // 2, self._line.take_nothing)
        route, route_trouble = hops([there for _, there in found], self._clock, self._end_ns)
        answer = NetworkAnswer(
            host=self._host,
            port=self._port,
            dns_ms=dns_ms,
            dns_trouble=trouble,
            addresses=addresses,
            round_trips_ms=trips,
            http_trouble=http_trouble,
            up=up,
            down=down,
            cap_kbit_s=self._cap,
            hops=route,
            hops_trouble=route_trouble,
        )
        return msgspec.json.format(msgspec.json.encode(answer), indent=2)

    # ------------------------------------------------------------------------------ internals

    def _since_ms(self, began_ns: int) -> float:
        return round((self._clock.mono_ns() - began_ns) / NS_PER_MS, 2)

    @property
    def _is_late(self) -> bool:
        return self._clock.mono_ns() >= self._end_ns

    def _resolve(self) -> tuple[list[tuple[int, str]], float | None, str]:
        began_ns = self._clock.mono_ns()
        try:
            answers = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return [], None, f"the name cannot be resolved: {error}"[:300]
        unique = dict.fromkeys((int(family), str(there[0])) for family, *_, there in answers)
        return list(unique), self._since_ms(began_ns), ""

    def _try(self, family: int, there: str) -> Address:
        """Connect and, where central speaks it, do a TLS handshake that verifies as always."""
        began_ns = self._clock.mono_ns()
        with socket.socket(family, socket.SOCK_STREAM) as plain:
            plain.settimeout(STEP_S)
            try:
                plain.connect((there, self._port))
            except OSError as error:
                return Address(address=there, trouble=f"no connection: {error}"[:300])
            found = Address(address=there, connect_ms=self._since_ms(began_ns), **_kernel(plain))
            if not self._is_tls:
                return found
            began_ns = self._clock.mono_ns()
            try:
                context = ssl.create_default_context()
                with context.wrap_socket(plain, server_hostname=self._host) as tls:
                    certificate = tls.getpeercert() or {}
                    return msgspec.structs.replace(
                        found,
                        tls_ms=self._since_ms(began_ns),
                        tls_version=tls.version() or "",
                        certificate_until=str(certificate.get("notAfter", "")),
                    )
            except OSError as error:  # ssl.SSLError is one
                return msgspec.structs.replace(found, trouble=f"no TLS: {error}"[:300])

    def _round_trips(self) -> tuple[list[float], str]:
        """Return the times of small requests; the first opens the connection and is not counted."""
        times: list[float] = []
        try:
            self._line.take_nothing(0)
            for _ in range(ROUND_TRIPS):
                began_ns = self._clock.mono_ns()
                self._line.take_nothing(0)
                times.append(self._since_ms(began_ns))
        except VedetteError as error:
            return times, str(error)[:300]
        return times, ""

    def _send(self, size: int) -> int:
        self._line.send_nothing(os.urandom(size))  # what a line compresses would lie about it
        return size

    def _speed(self, budget: int, move: Callable[[int], int]) -> Speed:
        """Move a little to learn the pace, then what takes about `AIM_S` of what is left."""
        if budget < FIRST_BYTES:
            return Speed(trouble="not tried: uplink.windows leave too little at this time")
        try:
            first = self._timed(move, FIRST_BYTES)
            pace = first.sent_bytes / max(first.seconds or 0.0, 1e-6)
            size = min(budget - FIRST_BYTES, _MOST_AT_ONCE - FIRST_BYTES, round(pace * AIM_S))
            if size <= FIRST_BYTES or self._is_late:
                return first
            whole = self._timed(move, size)
        except VedetteError as error:
            return Speed(trouble=str(error)[:300])
        return msgspec.structs.replace(whole, sent_bytes=whole.sent_bytes + first.sent_bytes)

    def _timed(self, move: Callable[[int], int], size: int) -> Speed:
        began_ns = self._clock.mono_ns()
        moved = move(size)
        seconds = max((self._clock.mono_ns() - began_ns) / NS_PER_S, 1e-6)
        mbit_s = round(moved * 8 / 1e6 / seconds, 3)
        return Speed(sent_bytes=moved, seconds=round(seconds, 4), mbit_s=mbit_s)


def _kernel(connected: socket.socket) -> dict[str, Any]:
    """Return what the kernel knows of a connection: path MTU, round trip, segments sent again."""
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except (OSError, AttributeError):
        return {}
    if len(info) < _TCP_INFO_BYTES:
        return {}
    values = {at: struct.unpack_from("=I", info, at)[0] for at in (_PMTU_AT, _RTT_AT, _RETRANS_AT)}
    return {
        "mtu_bytes": values[_PMTU_AT] or None,
        "kernel_rtt_ms": values[_RTT_AT] / 1000 or None,
        "retransmits": values[_RETRANS_AT],
    }
