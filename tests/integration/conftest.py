"""One embedded PostgreSQL for the session, a fresh migrated database for each test."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from vedette.central.store.migrate import migrate
from vedette.central.store.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as central does."""
    return "asyncio"


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other accounts may enter (pytest's own is 0700 and the server is not root)."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The real server, started once; `vedette` in it is migrated and only ever copied."""
    with EmbeddedPostgres(open_folder / "shared-pg") as server:
        asyncio.run(migrate(server.conninfo))
        yield server


@pytest.fixture
def conninfo(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """How to reach a fresh, migrated, empty database of this test alone."""
    name = f"test_{uuid.uuid4().hex}"
    admin = postgres_server.conninfo_for("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE vedette".encode())
    yield postgres_server.conninfo_for(name)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
