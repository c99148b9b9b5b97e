"""Central stops when it is told to, and says so when a part of it died."""

import asyncio

import pytest

from vedette.central import app
from vedette.central.bulletin import Bulletin
from vedette.central.ingest.committer import Busy, Committer, Parcel
from vedette.central.ingest.incoming import Incoming
from vedette.central.store.db import Database


def test_a_loop_that_loses_its_first_cancellation_still_ends(monkeypatch):
    """The driver may swallow a cancellation; central must not hang at its end for that."""
    monkeypatch.setattr(app, "_CANCEL_AGAIN_S", 0.01)
    lost = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    async def stop() -> None:
        quick = asyncio.create_task(asyncio.sleep(0))
        loop = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await asyncio.wait_for(app._end(quick, loop), 10)
        assert loop.cancelled()

    asyncio.run(stop())
    assert lost == [True]


def test_whoever_waits_for_a_committer_that_ends_is_told():
    """A device gets "later" at once instead of waiting for an answer that never comes."""
    contact = Incoming(device="d", boot_id="b", received_ms=1, items=[])

    async def end() -> None:
        committer = Committer(Database("host=/nowhere"), Bulletin())
        task = asyncio.create_task(committer.run())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(committer.submit(Parcel(contact=contact, fresh=[])))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(Busy):
            await waiting

    asyncio.run(end())
