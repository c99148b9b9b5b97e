"""Empty migrated databases for tests: copies of one template, emptied and given out again.

To copy a database costs all its files; to empty one costs what was written to it. What a test gets
equals the template in tables, rows, sequences and settings, and has a name that nobody had before,
so that nothing left over from another test can reach it. The rule: where emptying does not lead
there (a test altered a table, or hangs on to a lock), the copy is thrown away.
"""

import hashlib
import uuid
from typing import Final

import psycopg
from psycopg import sql

from vedette.central.store.postgres import EmbeddedPostgres

TEMPLATE: Final = "vedette"
_IDLE: Final = 2
_LARGE_BYTES: Final = 1 << 20

_LEFT: Final = """
SELECT c.oid::regclass::text, c.oid::bigint = ANY (%(known)s), pg_relation_size(c.oid) > %(large)s
    AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid)
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND (
    c.relkind = 'r' AND c.relname <> 'schema_versions' AND pg_relation_size(c.oid) > 0
    OR c.relkind IN ('r', 'p') AND c.oid::bigint <> ALL (%(known)s))
ORDER BY c.oid
"""
"""Tables that a test has made or filled: name, whether the template has it, whether it is large
and may be cut off in one go, nothing referring to it."""

_SEEDED: Final = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_versions'
    AND pg_relation_size(oid) > 0 ORDER BY oid
"""

_SEQUENCES: Final = """
SELECT seqrelid::bigint, coalesce(pg_sequence_last_value(seqrelid), seqstart),
    pg_sequence_last_value(seqrelid) IS NOT NULL
FROM pg_sequence ORDER BY 1
"""

_REST: Final = """
DELETE FROM pg_statistic WHERE starelid >= 16384;
SELECT pg_clear_relation_stats('public', relname::text) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname <> 'schema_versions'
    AND (relpages, reltuples) <> (0, -1) AND relkind IN ('r', 'p');
SELECT pg_stat_reset()
"""

_SCHEMA: Final = """
SELECT 'namespace', oid::bigint, nspname, nspowner, nspacl::text FROM pg_namespace
WHERE nspname !~ '^pg_(toast_)?temp_'
UNION ALL SELECT 'class', c.oid::bigint, c.relname, c.relowner, concat_ws(' ', c.relkind,
    c.relpersistence, c.relnamespace, c.reltablespace, c.relnatts, c.relhasrules, c.relhastriggers,
    c.relrowsecurity, c.relreplident, c.relacl, c.reloptions, c.relpartbound)
    FROM pg_class c WHERE c.oid >= 16384
UNION ALL SELECT 'inherits', i.inhrelid::bigint, i.inhparent::text, 0, '' FROM pg_inherits i
UNION ALL SELECT 'column', a.attrelid::bigint, a.attname, a.attnum, concat_ws(' ', a.atttypid,
    a.atttypmod, a.attnotnull, a.attidentity, a.attgenerated, a.attisdropped, a.attcollation,
    a.attstorage, a.attcompression, a.attstattarget, a.attacl, a.attoptions, a.attmissingval)
    FROM pg_attribute a WHERE a.attrelid >= 16384 AND a.attnum > 0
UNION ALL SELECT 'default', d.oid::bigint, d.adbin::text, d.adnum, d.adrelid::text FROM pg_attrdef d
UNION ALL SELECT 'constraint', k.oid::bigint, k.conname, k.conrelid, concat_ws(' ', k.contype,
    k.condeferrable, k.condeferred, k.convalidated, k.conindid, k.confrelid, k.confupdtype,
    k.confdeltype, k.conkey, k.confkey, k.conbin) FROM pg_constraint k WHERE k.oid >= 16384
UNION ALL SELECT 'index', x.indexrelid::bigint, '', x.indrelid, concat_ws(' ', x.indisunique,
    x.indisprimary, x.indisvalid, x.indisready, x.indkey, x.indclass, x.indoption, x.indexprs,
    x.indpred) FROM pg_index x WHERE x.indexrelid >= 16384
UNION ALL SELECT 'function', p.oid::bigint, p.proname, p.proowner, concat_ws(' ', p.prosrc,
    p.proargtypes, p.prorettype, p.provolatile, p.proisstrict, p.proparallel, p.proconfig, p.proacl)
    FROM pg_proc p WHERE p.oid >= 16384
UNION ALL SELECT 'trigger', t.oid::bigint, t.tgname, t.tgrelid, concat_ws(' ', t.tgfoid, t.tgtype,
    t.tgenabled, t.tgconstraint, t.tgattr, t.tgargs, t.tgqual, t.tgoldtable, t.tgnewtable)
    FROM pg_trigger t
UNION ALL SELECT 'sequence', s.seqrelid::bigint, concat_ws(' ', s.seqstart, s.seqincrement,
    s.seqmax, s.seqmin, s.seqcache, s.seqcycle), 0, '' FROM pg_sequence s
UNION ALL SELECT 'type', y.oid::bigint, y.typname, y.typowner, concat_ws(' ', y.typtype, y.typrelid,
    y.typbasetype, y.typdefault) FROM pg_type y WHERE y.oid >= 16384 AND y.typtype IN ('d', 'e')
UNION ALL SELECT 'rule', r.oid::bigint, r.rulename, r.ev_class, r.ev_action::text FROM pg_rewrite r
    WHERE r.oid >= 16384
UNION ALL SELECT 'policy', l.oid::bigint, l.polname, l.polrelid, l.polqual::text FROM pg_policy l
UNION ALL SELECT 'extension', e.oid::bigint, e.extname, e.extowner, e.extversion FROM pg_extension e
UNION ALL SELECT 'setting', 0, u.setrole::text, 0, u.setconfig::text FROM pg_db_role_setting u
    JOIN pg_database b ON b.oid = u.setdatabase AND b.datname = current_database()
UNION ALL SELECT 'large object', m.oid::bigint, '', 0, '' FROM pg_largeobject_metadata m
ORDER BY 1, 2, 3, 4, 5
"""
"""The whole schema by the numbers that a copy shares with the template, down to definitions.

Made again, equal in words, is another number and so not the same: nobody keeps a doubtful copy."""


def schema_of(connection: psycopg.Connection) -> str:
    """Return a digest of everything that is not rows: equal for the template and a true copy."""
    rows = connection.execute(_SCHEMA.encode()).fetchall()
    versions = connection.execute("SELECT * FROM schema_versions ORDER BY name").fetchall()
    return hashlib.sha256(repr((rows, versions)).encode()).hexdigest()


def copy_out(connection: psycopg.Connection, table: str) -> bytes:
    """Return the rows of a table, as `COPY` tells them."""
    with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
        return b"".join(map(bytes, copy))


class Databases:
    """Copies of the template of one server. Thread: one."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._admin = psycopg.connect(server.conninfo_for("postgres"), autocommit=True)
        self._idle: list[str] = []
        self.thrown_away = 0
        with psycopg.connect(server.conninfo_for(TEMPLATE), autocommit=True) as connection:
            self._schema = schema_of(connection)
            self._sequences = connection.execute(_SEQUENCES).fetchall()
            self._seeds = {
                table: copy_out(connection, table)
                for (table,) in connection.execute(_SEEDED).fetchall()
            }
            found = connection.execute(
                "SELECT array_agg(oid::bigint) FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            ).fetchone()
        assert found is not None
        self._known: list[int] = found[0]

    def close(self) -> None:
        """Let go of the server, which ends by itself."""
        self._admin.close()

    def lend(self) -> str:
        """Return the name of an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        if self._idle:
            self._run("ALTER DATABASE {} RENAME TO {}", self._idle.pop(), name)
        else:
            self._run("CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
        return name

    def take_back(self, name: str) -> None:
        """Have a database empty and nameless again, or gone."""
        # Under a name that no test knows: what a test has left behind does not come back to it.
        kept = f"idle_{uuid.uuid4().hex}"
        try:
            if len(self._idle) < _IDLE and self._is_emptied(name):
                self._run("ALTER DATABASE {} RENAME TO {}", name, kept)
                self._idle.append(kept)
                return
        except psycopg.Error:  # a lock that is not given up, a connection that was cut, no table
            pass
        self.thrown_away += 1
        self._run("DROP DATABASE {} WITH (FORCE)", name)

    def _run(self, statement: str, *names: str) -> None:
        self._admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _is_emptied(self, name: str) -> bool:
        self._admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (name,),
        )
        with psycopg.connect(self._server.conninfo_for(name), autocommit=True) as connection:
            connection.execute("SET lock_timeout = '5s'; SET session_replication_role = replica")
            self._empty(connection)
            return schema_of(connection) == self._schema

    def _empty(self, connection: psycopg.Connection) -> None:
        asked = {"known": self._known, "large": _LARGE_BYTES}
        left = connection.execute(_LEFT, asked).fetchall()
        made = [name for name, is_known, _ in left if not is_known]
        large = [name for name, is_known, is_large in left if is_known and is_large]
        small = [name for name, is_known, is_large in left if is_known and not is_large]
        with connection.transaction():
            if made:
                connection.execute(f"DROP TABLE {', '.join(made)}".encode())
            if large:
                connection.execute(f"TRUNCATE {', '.join(large)}".encode())
            for one in small:
                connection.execute(f"DELETE FROM {one}".encode())
        if small:  # no dead rows either: the next test's lie as in a new database
            connection.execute(f"VACUUM {', '.join(small)}".encode())
        for table, rows in self._seeds.items():  # what migrations brought
            with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                copy.write(rows)
        if connection.execute(_SEQUENCES).fetchall() != self._sequences:
            for one in self._sequences:
                connection.execute("SELECT setval(%s::oid::regclass, %s, %s)", one)
        connection.execute(_REST.encode())
