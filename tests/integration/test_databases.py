"""Databases that tests share one after the other are as if nobody had ever used them."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.conftest import Fleet
from tests.integration.databases import TEMPLATE, Databases, schema_of
from vedette.central import jobs
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.wire.messages import CameraState, State

pytestmark = pytest.mark.anyio

_TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1
"""
_PAGES = """
SELECT oid::regclass::text, pg_relation_size(oid), relpages, reltuples FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND relname <> 'schema_versions' ORDER BY 1
"""
_SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
_STATISTICS = "SELECT count(*) FROM pg_statistic WHERE starelid >= 16384"


def everything(server: EmbeddedPostgres, name: str) -> list[object]:
    """Return all that a test could find in a database."""
    with psycopg.connect(server.conninfo_for(name), autocommit=True) as db:
        tables = [table for (table,) in db.execute(_TABLES).fetchall()]
        rows = [
            (table, db.execute(f"SELECT * FROM {table} ORDER BY 1".encode()).fetchall())
            for table in tables
        ]
        told = [db.execute(one.encode()).fetchall() for one in (_PAGES, _SEQUENCES, _STATISTICS)]
        return [schema_of(db), rows, *told]


@pytest.fixture
def copies(postgres_server: EmbeddedPostgres) -> Iterator[Databases]:
    """Databases of this test alone."""
    own = Databases(postgres_server)
    yield own
    own.close()


async def test_a_database_in_which_central_worked_comes_back_as_the_template(
    fleet: Fleet, copies: Databases, postgres_server: EmbeddedPostgres
) -> None:
    """Rows, partitions, sequences, statistics, dead rows: nothing is left, and nothing missing."""
    device = await fleet.device()
    at_ms = device.now_ms
    await device.up(
        device.envelope(
            "camera_state.v1",
            CameraState(camera="door", at_ms=at_ms, noticed_ms=at_ms, state=State.OK),
        )
    )
    await jobs.make_partitions(fleet.db, fleet.now_ms + 40 * 86_400_000)
    await fleet.rows("SELECT setval(seqrelid, 77) FROM pg_sequence")
    await fleet.db.close()
    name = psycopg.conninfo.conninfo_to_dict(fleet.db.conninfo)["dbname"]
    with psycopg.connect(fleet.db.conninfo, autocommit=True) as db:
        db.execute("ANALYZE")
        db.execute("UPDATE devices SET hardware = 'n' || hardware")
    template = everything(postgres_server, TEMPLATE)
    assert everything(postgres_server, name) != template
    assert copies._is_emptied(name)
    assert everything(postgres_server, name) == template


_CHANGES = {
    "a column more": "ALTER TABLE sites ADD COLUMN more int",
    "a column with another default": "ALTER TABLE sites ALTER name SET DEFAULT 'x'",
    "an index less": "DROP INDEX reports_key",
    "a table less": "DROP TABLE sites CASCADE",
    "a trigger that is off": "ALTER TABLE events DISABLE TRIGGER metric_mark",
    "a function that does otherwise": (
        "CREATE OR REPLACE FUNCTION ceil_hour(at_ms bigint) RETURNS bigint LANGUAGE sql AS"
        " 'SELECT at_ms'"
    ),
    "a function more": "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a view": "CREATE VIEW seen AS SELECT 1 AS one",
    "a schema": "CREATE SCHEMA elsewhere CREATE TABLE kept (one int)",
    "a type": "CREATE TYPE mood AS ENUM ('calm')",
    "a setting": (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = on', current_database()); END $$"
    ),
    "a migration that is not there": "DELETE FROM schema_versions WHERE name LIKE '0005%'",
    "another migration": "UPDATE schema_versions SET sha256 = 'other' WHERE name LIKE '0005%'",
    "no tables at all": "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
    "a large object": "SELECT lo_create(0)",
    "a right less": "REVOKE ALL ON sites FROM vedette",
}


@pytest.mark.parametrize("what", list(_CHANGES))
def test_every_alteration_of_a_schema_is_seen(what: str, conninfo: str) -> None:
    """Whatever a test does to tables, it does not pass for what the migrations made."""
    with psycopg.connect(conninfo) as db:
        before = schema_of(db)
        db.execute(_CHANGES[what].encode())
        try:
            after = schema_of(db)
        except psycopg.errors.UndefinedTable:
            after = ""
        assert after != before
        db.rollback()
        assert schema_of(db) == before


def test_an_altered_database_is_thrown_away(
    copies: Databases, postgres_server: EmbeddedPostgres
) -> None:
    """Whoever asks next gets a new copy of the template."""
    name = copies.lend()
    with psycopg.connect(postgres_server.conninfo_for(name)) as db:
        db.execute("DROP SCHEMA public CASCADE")
    copies.take_back(name)
    assert copies.thrown_away == 1
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(postgres_server.conninfo_for(name))


def test_who_comes_late_finds_no_database(
    copies: Databases, postgres_server: EmbeddedPostgres
) -> None:
    """A process that a test left behind is cut off, and cannot write into the next one's rows."""
    name = copies.lend()
    late = psycopg.connect(postgres_server.conninfo_for(name))
    late.execute("LOCK TABLE sites IN ACCESS EXCLUSIVE MODE")
    copies.take_back(name)
    assert copies.thrown_away == 0
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        late.execute("SELECT 1")
    late.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(postgres_server.conninfo_for(name))
    again = copies.lend()
    assert again != name
    copies.take_back(again)
