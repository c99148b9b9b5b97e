"""Running central: database, keys, first administrator, then the server; and the way back down."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from vedette.central import accounts, audit
from vedette.central.app import ONLINE_KEY, Central, build_services
from vedette.central.housework import Housework
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError
from vedette.trust.keys import SigningKey

_log = logging.getLogger(__name__)

ADMIN: Final = "admin"
_BACKLOG: Final = 1024
_STOP_S: Final = 5.0
_COLLECT_AFTER: Final = (50_000, 20, 50)


@contextlib.contextmanager
def database(config: CentralConfig, *, attach: bool = False) -> Iterator[str]:
    """Give a migrated database: the operator's own, or the embedded one for this block's time.

    With `attach` the server of a central that runs already is used where there is one.
    """
    own = config.own_database
    if own:
        asyncio.run(migrate(own))
        yield own
        return
    server = EmbeddedPostgres(config.state / "pg")
    running = server.attach() if attach else None
    if running:
        yield running
        return
    with server:
        asyncio.run(migrate(server.conninfo))
        yield server.conninfo


def online_key(state: Path) -> SigningKey:
    """Return central's own key; made on first use, readable by us only."""
    return SigningKey.load_or_make(state / ONLINE_KEY)


async def setup_link(db: Database, config: CentralConfig, username: str = ADMIN) -> str:
    """Return a one-time link with which `username`, an administrator, sets a password.

    Raises:
        ConfigError: There is such a user of another role or scope: a forgotten password must not
            make them administrator of everything. The first administrator is always let in.
    """
    now_ms = wall_ms(SystemClock().now_at())
    async with db.transaction() as tx:
        users = {user.username: user for user in await tx.all("users_all", accounts.User)}
        known = users.get(username)
        if known and username != ADMIN and (known.role != "admin" or known.sites is not None):
            raise ConfigError(
                f"{username} is no administrator of the whole fleet",
                operator_hint=f"vedette central user link {username} keeps role and scope",
            )
        await accounts.put_user(tx, username, "admin", None, now_ms)
        token = await accounts.make_setup_token(tx, username, now_ms)
        await audit.write(
            tx, at_ms=now_ms, actor="terminal", action="user.password_link", target=username
        )
    return f"{config.url}/setup/{token}"


async def first_link(db: Database, config: CentralConfig) -> str | None:
    """Return a setup link where nobody can sign in yet."""
    return None if await accounts.has_users(db) else await setup_link(db, config)


def listen_address(listen: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`.

    Raises:
        ConfigError: Not that.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigError(
            f"cannot listen on {listen!r}", operator_hint="for example 127.0.0.1:8080"
        )
    return host.strip("[]"), int(port)


def check_free(host: str, port: int) -> None:
    """Return where nobody listens on this address.

    The server itself shares its port with whoever else asks to, so two centrals on one address
    would each get half of the requests and neither would notice.

    Raises:
        ConfigError: Somebody does, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            operator_hint="stop the program that listens there, or choose another --listen",
        ) from error


def run(config: CentralConfig, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `say` prints the few lines that a person waits for."""
    check_free(*listen_address(config.listen))
    config.state.mkdir(parents=True, exist_ok=True)
    key = online_key(config.state)
    with database(config) as conninfo:
        asyncio.run(_serve(config, conninfo, key, say))


def calm_collector() -> None:
    """Have the cycle collector look rarely, and never at what stays for good.

    Decoded reports are many small objects without cycles, which counting references frees; looking
    through them all again and again was a third of what a report cost (benchmarks/bench_ingest.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def _serve(
    config: CentralConfig,
    conninfo: str,
    key: SigningKey,
    say: Callable[[str], None],
) -> None:
    # Only here: every command at central's terminal imports this module, and no other one needs
    # the pages, a third of what a command costs.
    from vedette.central.web import build_web

    host, port = listen_address(config.listen)
    services = build_services(config, conninfo, key)
    central = Central(services, build_web(services), Housework(conninfo))
    server = Server(
        central,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        backlog=_BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=15_000),
        websockets=False,
        log_enabled=False,
        ssl_cert=Path(config.tls_certificate) if config.tls_certificate else None,
        ssl_key=Path(config.tls_key) if config.tls_key else None,
    )
    calm_collector()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
    async with central.running():
        link = await first_link(services.db, config)
        serving = asyncio.create_task(server.serve(), name="server")
        say(f"Vedette central listens on {config.url}")
        if link:
            say(f"Nobody can sign in yet. Set the administrator's password here, once:\n  {link}")
        waiting = asyncio.create_task(stopping.wait(), name="signals")
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if serving.done():
            serving.result()
            raise ConfigError(f"the server on {config.listen} ended by itself")
        _log.info("stopping", extra={"event": "central.stopping"})
        server.stop()
        await asyncio.wait({serving}, timeout=_STOP_S)
