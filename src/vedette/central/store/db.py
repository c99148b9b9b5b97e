"""The pool and the transaction: how everything in central talks to PostgreSQL.

    async with db.transaction() as tx:
        rows = await tx.all("devices_due", DeviceDue, now_ms=now)

Queries are named (`store/queries/*.sql`) and take keyword parameters. Rows become structs by
their column names. Errors of the driver become `StoreError` here and nowhere else.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vedette.central.store import queries
from vedette.errors import StoreError

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")

_POOL_TIMEOUT_S = 10.0
_TRUSTED_S = 1.0
"""A connection that was of use so shortly ago is taken without asking whether it still lives."""

_BY_KEY = (
    b"SET plan_cache_mode = force_generic_plan",
    b"SET enable_seqscan = off",
    b"SET enable_hashjoin = off",
    b"SET enable_mergejoin = off",
)


class DataRefused(StoreError):
    """PostgreSQL refused a value, not the connection: the same call will never work."""


class Tx:
    """One open transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self.connection = connection

    async def all(self, query: str, kind: type[T], /, **params: object) -> list[T]:
        """Return every row of a named query as `kind`, by column names."""
        cursor = AsyncRawCursor(self.connection, row_factory=class_row(kind))
        return await (await _run(cursor, query, params)).fetchall()

    async def one(self, query: str, kind: type[T], /, **params: object) -> T | None:
        """Return the first row as `kind`, or None."""
        cursor = AsyncRawCursor(self.connection, row_factory=class_row(kind))
        return await (await _run(cursor, query, params)).fetchone()

    async def value(self, query: str, /, **params: object) -> object:
        """Return the first column of the first row, or None."""
        cursor = await _run(AsyncRawCursor(self.connection), query, params)
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    async def tuples(self, query: str, /, **params: object) -> list[TupleRow]:
        """Return every row as a plain tuple: for wide reads where structs would cost."""
        return await (await _run(AsyncRawCursor(self.connection), query, params)).fetchall()

    async def packed(self, query: str, /, **params: object) -> list[TupleRow]:
        """Return every row as a tuple, sent in binary: for columns of many bytes."""
        cursor = AsyncRawCursor(self.connection)
        return await (await _run(cursor, query, params, binary=True)).fetchall()

    async def run(self, query: str, /, **params: object) -> int:
        """Run a named query; return how many rows it touched."""
        return (await _run(AsyncRawCursor(self.connection), query, params)).rowcount

    async def many(self, query: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a named query once per row, in one round trip."""
        if rows:
            text, names = queries.call(query)
            values = [[row[name] for name in names] for row in rows]
            await AsyncRawCursor(self.connection).executemany(text, values)

    async def copy_in(
        self, query: str, types: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Feed rows to a named binary `COPY … FROM STDIN`; `types` are its column types."""
        text, _ = queries.call(query)
        async with AsyncRawCursor(self.connection) as cursor, cursor.copy(text) as copy:
            copy.set_types(types)
            for row in rows:
                await copy.write_row(row)


async def _run(
    cursor: AsyncRawCursor[R], query: str, params: Mapping[str, object], *, binary: bool = False
) -> AsyncRawCursor[R]:
    """Return `cursor` with the answer to a named query."""
    text, names = queries.call(query)
    return await cursor.execute(text, [params[name] for name in names], binary=binary or None)


class Database:
    """A pool of connections. Thread: one event loop.

    With `by_key` it is for statements that always read and write few rows by their keys: they are
    planned once and never again, which would cost more than running them.
    """

    def __init__(
        self, conninfo: str, *, min_size: int = 1, max_size: int = 8, by_key: bool = False
    ) -> None:
        self.conninfo = conninfo
        self._used_s: WeakKeyDictionary[object, float] = WeakKeyDictionary()
        self._twins: list[Database] = []
        self._pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            conninfo,
            min_size=min_size,
            max_size=max_size,
            timeout=_POOL_TIMEOUT_S,
            open=False,
            kwargs={"application_name": "vedette-central"},
            check=self._check,
            configure=_plan_by_key if by_key else None,
        )

    def twin_by_key(self, size: int) -> "Database":
        """Return another pool on this database, by key, of `size`; open and closed with this."""
        twin = Database(self.conninfo, min_size=size, max_size=size, by_key=True)
        self._twins.append(twin)
        return twin

    async def open(self) -> None:
        """Open the pool; raises `StoreError` where no connection can be had."""
        for twin in self._twins:
            await twin.open()
        try:
            await self._pool.open(wait=True, timeout=_POOL_TIMEOUT_S)
        except (PoolTimeout, psycopg.Error) as error:
            raise StoreError(
                f"the database does not answer: {error}",
                operator_hint="check VEDETTE_DATABASE_URL, or postgres.log in the state directory",
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        for twin in self._twins:
            await twin.close()
        await self._pool.close()

    async def _check(self, connection: AsyncConnection[TupleRow]) -> None:
        if time.monotonic() - self._used_s.get(connection, 0.0) > _TRUSTED_S:
            await AsyncConnectionPool.check_connection(connection)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Give a transaction that commits where the block ends well and rolls back otherwise.

        Raises:
            DataRefused: A value that no column takes.
            StoreError: The database is not there or refuses.
        """
        try:
            async with self._pool.connection() as connection:
                yield Tx(connection)
                self._used_s[connection] = time.monotonic()
        except psycopg.DataError as error:
            raise DataRefused(f"the database refused a value: {error}") from error
        except psycopg.IntegrityError as error:
            raise DataRefused(f"the database refused a row: {error}") from error
        except (psycopg.Error, PoolTimeout) as error:
            raise StoreError(f"the database failed: {error}") from error


async def _plan_by_key(connection: AsyncConnection[TupleRow]) -> None:
    for statement in _BY_KEY:
        await connection.execute(statement)
    await connection.commit()
