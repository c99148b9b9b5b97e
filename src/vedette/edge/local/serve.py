"""The process of the device's own interface: token, models, socket.

It yields to the pipeline: its niceness is raised, and it works on few pictures at once.
"""

import contextlib
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Final

import uvicorn

from vedette.clock import Clock
from vedette.edge.local.app import StillService, build
from vedette.edge.models import Models
from vedette.edge.settings import EdgeConfig
from vedette.errors import ConfigError
from vedette.inference.library import Library
from vedette.trust.keys import write_private

_LOG = logging.getLogger(__name__)

TOKEN_FILE: Final = "local-api.token"  # noqa: S105 - a file's name
NICENESS: Final = 5
LEAST_TOKEN_CHARS: Final = 16
KEEP_ALIVE_S: Final = 5
GRACE_S: Final = 10


def read_token(config: EdgeConfig) -> tuple[str, Path]:
    """Return the token that callers must show and its file; one is made where there is none.

    Raises:
        ConfigError: It cannot be read or made, is too short, or others may read it.
    """
    path = config.local_api.token_file or config.state_dir / TOKEN_FILE
    try:
        if config.local_api.token_file is None and not path.exists():
            config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, secrets.token_urlsafe(32).encode())
        token = path.read_text(encoding="ascii").strip()
        is_open = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the token of the local interface cannot be read: {path}",
            operator_hint="local_api.token_file names a file with one line of ASCII",
        ) from error
    if len(token) < LEAST_TOKEN_CHARS or is_open:
        raise ConfigError(
            f"{path}: {'others may read it' if is_open else 'the token is too short'}",
            operator_hint=f"chmod 600, and at least {LEAST_TOKEN_CHARS} characters",
        )
    return token, path


def make_service(config: EdgeConfig, clock: Clock) -> StillService:
    """Return the service over the device's models; the first one is loaded at once.

    Raises:
        ConfigError: There is no model.
        InferenceError: The first one cannot be used.
    """
    used = [camera.model for camera in config.cameras]
    names = tuple(dict.fromkeys([*used, *Library(config.models_dir).names()]))
    if not names:
        raise ConfigError(
            f"there is no model in {config.models_dir}",
            operator_hint=f"vedette model pull --models-dir {config.models_dir}",
        )
    service = StillService(Models.of(config, clock), names, config.local_api.sure, clock)
    service.model(names[0])
    return service


def serve(config: EdgeConfig, clock: Clock, stop: threading.Event) -> None:
    """Serve until `stop` is set.

    Raises:
        ConfigError: Token, models or address cannot be used.
    """
    token, path = read_token(config)
    service = make_service(config, clock)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    app = build(service, token, at_once=config.local_api.at_once)
    listening = config.local_api
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=listening.host,
            port=listening.port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            limit_concurrency=64,
            h11_max_incomplete_event_size=16 * 1024,
        )
    )
    _LOG.info(
        "the local interface listens",
        extra={
            "event": "local.started",
            "host": listening.host,
            "port": listening.port,
            "token_file": str(path),
            "models": list(service.names),
        },
    )
    # In a thread, uvicorn leaves signals alone; in the main one it would die of SIGTERM.
    thread = threading.Thread(target=_run, args=(server, stop), name="local-api", daemon=True)
    thread.start()
    stop.wait()
    server.should_exit = True
    thread.join(2 * GRACE_S)
    if not server.started:
        raise ConfigError(
            f"cannot listen on {listening.host}:{listening.port}",
            operator_hint="another program has the port; set local_api.port",
        )


def _run(server: uvicorn.Server, stop: threading.Event) -> None:
    """Serve; however it ends, say so."""
    try:
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that the address is taken
            server.run()
    finally:
        stop.set()
