"""The embedded server: what an operator's machine does to it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from tests import prepared
from vedette.central.store import cluster
from vedette.central.store.account import Account, can_enter, choose
from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.errors import ConfigError

_NEVER = threading.Event()


def _answers(conninfo: str, tries: int = 200) -> bool:
    """True as soon as the server answers."""
    for _ in range(tries):
        try:
            psycopg.connect(conninfo).close()
        except psycopg.Error:
            _NEVER.wait(0.05)
        else:
            return True
    return False


def _runs(pid: int) -> bool:
    """True where the process is there and not merely waiting to be collected."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_committed_rows_survive_a_killed_server(open_folder: Path) -> None:
    """Kill -9 of the server: it comes back by itself, with everything that was committed."""
    with EmbeddedPostgres(prepared.lay_out(open_folder / "killed")) as server:
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (x int)")
            connection.execute("INSERT INTO t VALUES (7)")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert _answers(server.conninfo)
        with psycopg.connect(server.conninfo) as connection:
            assert connection.execute("SELECT x FROM t").fetchone() == (7,)
        assert server.restarts >= 1


def test_a_killed_owner_takes_the_server_with_it_and_the_next_start_works(
    open_folder: Path,
) -> None:
    """Kill -9 of the owner: no server outlives it for long, and its lock file stops nobody."""
    folder = open_folder / "orphan"
    code = (
        "import os, pathlib, signal, sys\n"
        "from vedette.central.store.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(pathlib.Path(sys.argv[1])); server.start()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    owner = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert owner.returncode == -signal.SIGKILL, owner.stderr
    old_pid = int(owner.stdout)
    with EmbeddedPostgres(folder) as server:
        assert server.pid != old_pid
        assert not _runs(old_pid)
        assert _answers(server.conninfo)


def test_a_lock_file_with_somebody_elses_process_id_stops_nobody(open_folder: Path) -> None:
    """After a reboot the id in the lock file may belong to any process."""
    folder = prepared.lay_out(open_folder / "reused")
    with EmbeddedPostgres(folder) as server:
        lock = folder / "data" / "postmaster.pid"
        text = lock.read_text()
    account = server._account
    other = subprocess.Popen(
        ["/bin/sh", "-c", "read line"],
        stdin=subprocess.PIPE,
        cwd="/",
        user=account.become_uid,
        group=account.become_gid,
    )
    try:
        lock.write_text(f"{other.pid}\n{text.partition(chr(10))[2]}")
        account.own(lock)
        with EmbeddedPostgres(folder) as again:
            assert _answers(again.conninfo)
        assert other.poll() is None
    finally:
        other.communicate(b"\n", timeout=10)


def test_two_owners_of_one_folder_are_refused(
    postgres_server: EmbeddedPostgres,
) -> None:
    """A second central on the same state directory is told so."""
    with pytest.raises(ConfigError, match="another central"):
        EmbeddedPostgres(postgres_server.folder).start()


def test_a_password_is_asked_for(postgres_server: EmbeddedPostgres) -> None:
    """Nobody gets in without the password, not even on the local socket."""
    wrong = psycopg.conninfo.make_conninfo(postgres_server.conninfo, password="guess")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(wrong)
    secret = postgres_server.folder / "password"
    assert secret.stat().st_mode & 0o777 == 0o600


def test_a_folder_nobody_may_enter_is_named(tmp_path: Path) -> None:
    """The operator learns which folder stops the database's account."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    account = Account("somebody", uid=54321, gid=54321)
    assert can_enter(closed, account) is not None


def test_binaries_are_copied_where_the_account_cannot_reach_them(open_folder: Path) -> None:
    """A virtual environment below a closed home directory: the copy runs as well."""
    original = cluster.find_install(open_folder, choose())
    copied = cluster.copy_install(original, open_folder / "copied")
    assert copied != original
    for program in ("postgres", "initdb"):
        said = subprocess.run(
            [copied / "bin" / program, "--version"],
            capture_output=True,
            text=True,
            check=True,
            env=cluster.environment(),
        )
        assert f" {cluster.MAJOR}." in said.stdout


def test_a_changed_migration_is_refused(conninfo: str) -> None:
    """A migration that ran is history: editing it is refused, not run half."""
    import asyncio

    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("UPDATE schema_versions SET sha256 = 'x'")
    with pytest.raises(ConfigError, match="changed"):
        asyncio.run(migrate(conninfo))


def test_a_newer_database_is_refused(conninfo: str) -> None:
    """An older central does not touch a database that a newer one wrote."""
    import asyncio

    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_versions VALUES ('9999_x.pre.sql', 'x')")
    with pytest.raises(ConfigError, match="newer"):
        asyncio.run(migrate(conninfo))
