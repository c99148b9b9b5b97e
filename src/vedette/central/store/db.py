"""The pool and the transaction: how everything in central talks to PostgreSQL.

    async with db.transaction() as tx:
        rows = await tx.all("devices_due", DeviceDue, now_ms=now)

Queries are named (`store/queries/*.sql`) and take keyword parameters. Rows become structs by
their column names. Errors of the driver become `StoreError` here and nowhere else.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from vedette.central.store import queries
from vedette.errors import StoreError

T = TypeVar("T", bound=msgspec.Struct)

_POOL_TIMEOUT_S = 10.0


class DataRefused(StoreError):
    """PostgreSQL refused a value, not the connection: the same call will never work."""


class Tx:
    """One open transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self.connection = connection

    async def all(self, query: str, kind: type[T], /, **params: object) -> list[T]:
        """Return every row of a named query as `kind`, by column names."""
        async with self.connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(queries.sql(query), params)
            return await cursor.fetchall()

    async def one(self, query: str, kind: type[T], /, **params: object) -> T | None:
        """Return the first row as `kind`, or None."""
        async with self.connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(queries.sql(query), params)
            return await cursor.fetchone()

    async def value(self, query: str, /, **params: object) -> object:
        """Return the first column of the first row, or None."""
        cursor = await self.connection.execute(queries.sql(query), params)
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row else None

    async def tuples(self, query: str, /, **params: object) -> list[TupleRow]:
        """Return every row as a plain tuple: for wide reads where structs would cost."""
        cursor = await self.connection.execute(queries.sql(query), params)
        return await cursor.fetchall()

    async def packed(self, query: str, /, **params: object) -> list[TupleRow]:
        """Return every row as a tuple, sent in binary: for columns of many bytes."""
        cursor = await self.connection.execute(queries.sql(query), params, binary=True)
        return await cursor.fetchall()

    async def run(self, query: str, /, **params: object) -> int:
        """Run a named query; return how many rows it touched."""
        cursor = await self.connection.execute(queries.sql(query), params)
        return cursor.rowcount

    async def many(self, query: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a named query once per row, in one round trip."""
        if rows:
            async with self.connection.cursor() as cursor:
                await cursor.executemany(queries.sql(query), rows)

    async def copy_in(
        self, query: str, types: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Feed rows to a named binary `COPY … FROM STDIN`; `types` are its column types."""
        async with (
            self.connection.cursor() as cursor,
            cursor.copy(queries.sql(query)) as copy,
        ):
            copy.set_types(types)
            for row in rows:
                await copy.write_row(row)


class Database:
    """A pool of connections. Thread: one event loop."""

    def __init__(self, conninfo: str, *, min_size: int = 1, max_size: int = 8) -> None:
        self.conninfo = conninfo
        self._pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            conninfo,
            min_size=min_size,
            max_size=max_size,
            timeout=_POOL_TIMEOUT_S,
            open=False,
            kwargs={"application_name": "vedette-central"},
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        """Open the pool; raises `StoreError` where no connection can be had."""
        try:
            await self._pool.open(wait=True, timeout=_POOL_TIMEOUT_S)
        except (PoolTimeout, psycopg.Error) as error:
            raise StoreError(
                f"the database does not answer: {error}",
                operator_hint="check VEDETTE_DATABASE_URL, or postgres.log in the state directory",
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

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
        except psycopg.DataError as error:
            raise DataRefused(f"the database refused a value: {error}") from error
        except psycopg.IntegrityError as error:
            raise DataRefused(f"the database refused a row: {error}") from error
        except (psycopg.Error, PoolTimeout) as error:
            raise StoreError(f"the database failed: {error}") from error
