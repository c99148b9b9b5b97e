"""Notices between processes on one database: PostgreSQL's LISTEN.

The rule: a notice is a hint and nothing more. Whoever waits looks again in its own time too, so
one that is lost, or a pooler that carries none, costs seconds and no more.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import sql

_log = logging.getLogger(__name__)

AGAIN_S: Final = 10.0


async def listen(conninfo: str, channel: str, heard: Callable[[str], None]) -> None:
    """Give what is said on a channel to `heard`, until cancelled.

    After each connection an empty text comes first: something may have been missed. Where the
    database goes away, it is tried again every `AGAIN_S`.
    """
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, application_name="vedette-central-listener"
            ) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                heard("")
                async for notice in connection.notifies():
                    heard(notice.payload)
        except psycopg.Error as error:
            _log.warning(
                "notices of other processes are not heard: %s",
                error,
                extra={"event": "store.not_listening", "channel": channel},
            )
        await asyncio.sleep(AGAIN_S)
