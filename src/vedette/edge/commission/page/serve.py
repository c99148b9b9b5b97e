"""The socket of the commissioning page, and the words that lead a phone to it."""

import contextlib
import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Final

import uvicorn

from vedette.clock import Clock
from vedette.edge.commission.page.app import build
from vedette.edge.commission.page.floor import Floor
from vedette.edge.commission.page.hurry import AT_ONCE, Hurried
from vedette.errors import ConfigError

DEFAULT_LISTEN: Final = "0.0.0.0:8090"
_NOBODY: Final = ("192.0.2.1", 9)  # RFC 5737: for documentation; nothing is ever sent there


def make_pin() -> str:
    """Return six random digits."""
    return f"{secrets.randbelow(1_000_000):06d}"


def address_of(listen: str) -> tuple[str, int]:
    """Return (host, port) of `host:port`.

    Raises:
        ConfigError: It is not that.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - phones have to reach it; app lets in the site only
    try:
        ipaddress.ip_address(host)
        number = int(port)
    except ValueError as error:
        raise ConfigError(
            f"{listen!r} is no address to listen on", operator_hint="for example 0.0.0.0:8090"
        ) from error
    if not 0 <= number <= 65_535:
        raise ConfigError(f"{number} is no port", operator_hint="1 to 65535; 0 takes a free one")
    return host, number


def own_address(host: str) -> str:
    """Return the address under which phones reach a socket that listens on `host`."""
    if not ipaddress.ip_address(host).is_unspecified:
        return f"[{host}]" if ":" in host else host
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_NOBODY)  # of a datagram socket: only chooses the way
        return probe.getsockname()[0]
    return socket.gethostname()


def serve(
    floor: Floor,
    clock: Clock,
    stop: threading.Event,
    *,
    device: str,
    listen: tuple[str, int],
    told: Callable[[str, str], None],
) -> None:
    """Serve until `stop` is set; what is under way then is broken off.

    Args:
        floor: The cameras.
        clock: Time.
        stop: Ends it.
        device: What the device is called.
        listen: Host and port; port 0 takes a free one.
        told: Is given the address and the PIN once the page answers.

    Raises:
        ConfigError: The address cannot be had.
    """
    host, port = listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            operator_hint="another program has the port; use --listen",
        ) from error
    pin = make_pin()
    config = uvicorn.Config(
        build(floor, pin, clock, device=device),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        limit_concurrency=AT_ONCE,
        http=Hurried,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, args=([bound],), name="commissioning-page", daemon=True
    )
    thread.start()
    told(f"http://{own_address(host)}:{bound.getsockname()[1]}/", pin)
    try:
        stop.wait()
    finally:
        floor.stop()
        server.should_exit = True
        thread.join(timeout=10)
        bound.close()
