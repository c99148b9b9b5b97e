"""The jobs in a process of their own, so that merging an hour delays no report.

What lives here: both ends of the pipe between. What does not: the jobs (`jobs`), and when each turn
is due and what time it is then, which central says: its clock is the one that doubts. The rule: the
child holds nothing. It ends when its standard input does, however central ended, and whatever it
was doing is rolled back and done again. So one that is silent, or at one turn for an hour, is ended
without a question: a hung child must not end the jobs for good.

    central                                   python -m vedette.central.housework
    {"database": "host=…", "nice": 5}    →    connects
    {"now_ms": 1700000000000, …}         →    one turn
                                         ←    {"at_work": true}, every few seconds
                                         ←    {} or {"error": "the database failed: …"}
"""

import asyncio
import contextlib
import os
import sys
import threading
from asyncio.subprocess import PIPE, Process
from typing import Final

import msgspec

from vedette import logs
from vedette.central import jobs
from vedette.central.store.db import Database
from vedette.errors import StoreError

_NICE: Final = 5
_END_S: Final = 5.0
_BEAT_S: Final = 5.0
SILENT_S: Final = 90.0
"""Longer than a child takes to start on the slowest machine."""

TURN_S: Final = 3600.0
"""What a long turn has done by then is done, and the next one goes on from there."""

_MAX_SAID_CHARS: Final = 1_000
_encode = msgspec.json.Encoder().encode


class _Start(msgspec.Struct, frozen=True):
    database: str
    nice: int
    json_logs: bool


class _Said(msgspec.Struct, frozen=True, omit_defaults=True):
    error: str = ""
    at_work: bool = False


class Housework:
    """Does turns in a child, which is started when it is needed. Thread: one event loop."""

    def __init__(self, database: str) -> None:
        self._start = _Start(database, _NICE, json_logs=not sys.stderr.isatty())
        self.child: Process | None = None
        self.silent_s = SILENT_S
        self.turn_s = TURN_S

    async def do(self, turn: jobs.Turn) -> None:
        """Have one turn done.

        Raises:
            StoreError: It failed, or the child ended or hung; the next turn starts another.
        """
        child = self.child
        if child is None or child.returncode is not None:
            child = self.child = await _child()
            self._write(child, self._start)
        self._write(child, turn)
        try:
            async with asyncio.timeout(self.turn_s):
                said = await self._heard(child)
        except (TimeoutError, ValueError, msgspec.DecodeError) as error:
            why = "hangs" if isinstance(error, TimeoutError) else "says what it should not"
            await self.close(wait_s=0.0)
            raise StoreError(f"the process that does the jobs {why}; it was ended") from error
        if said is None:
            await self.close()
            raise StoreError("the process that does the jobs ended")
        if said.error:
            raise StoreError(said.error)

    async def _heard(self, child: Process) -> _Said | None:
        """Return what came of the turn; None where the child ended."""
        while child.stdout:
            async with asyncio.timeout(self.silent_s):
                line = await child.stdout.readline()
            if not line:
                return None
            said = msgspec.json.decode(line, type=_Said)
            if not said.at_work:
                return said
        return None

    def _write(self, child: Process, message: msgspec.Struct) -> None:
        if child.stdin:
            child.stdin.write(_encode(message) + b"\n")

    async def close(self, wait_s: float = _END_S) -> None:
        """Have no child; one that does not end by itself within `wait_s` is killed."""
        child, self.child = self.child, None
        if child is None:
            return
        if child.stdin:
            child.stdin.close()
        try:
            await asyncio.wait_for(child.wait(), wait_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _child() -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, start_new_session=True
        )
    except OSError as error:
        raise StoreError(f"no process for the jobs can be started: {error.strerror}") from error


def _say(said: _Said) -> None:
    sys.stdout.buffer.write(_encode(said) + b"\n")
    sys.stdout.buffer.flush()


async def _beat() -> None:
    """Say again and again that this process is at work."""
    while True:
        await asyncio.sleep(_BEAT_S)
        _say(_Said(at_work=True))


async def _serve(start: _Start, lines: "asyncio.Queue[bytes]") -> None:
    db = Database(start.database, max_size=2)
    is_open = False
    while True:
        turn = msgspec.json.decode(await lines.get(), type=jobs.Turn)
        beating = asyncio.create_task(_beat(), name="beat")
        try:
            if not is_open:
                await db.open()
                is_open = True
            await jobs.do(db, turn)
            said = _Said()
        except StoreError as error:
            said = _Said(str(error)[:_MAX_SAID_CHARS])
        finally:
            beating.cancel()
        _say(said)


def main() -> None:
    """Do what comes in by standard input until that ends."""
    start = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Start)
    logs.setup(json_lines=start.json_logs)
    os.nice(start.nice)

    async def run() -> None:
        loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes]()

        def listen() -> None:
            for line in sys.stdin.buffer:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            os._exit(0)  # open transactions are rolled back by the database

        threading.Thread(target=listen, name="orders", daemon=True).start()
        await _serve(start, lines)

    asyncio.run(run())


if __name__ == "__main__":
    main()
