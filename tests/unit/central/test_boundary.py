"""The boundary: how long a body may take to arrive."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from vedette.central.boundary import Receive, within_time


def receiving(*messages: dict[str, Any]) -> Receive:
    """Return a receive that gives these messages and then nothing, for ever."""
    left = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return receive


def test_a_body_that_never_ends_is_a_client_that_left() -> None:
    """One byte and then silence holds nothing open."""

    async def run() -> list[str]:
        part = {"type": "http.request", "body": b"a", "more_body": True}
        receive = within_time(receiving(part), 0.0)
        return [str((await receive())["type"]) for _ in range(2)]

    assert asyncio.run(run())[-1] == "http.disconnect"


def test_a_stream_is_not_hurried_once_the_question_is_there() -> None:
    """Server-sent events wait for the client to leave, however long that takes."""

    async def run() -> bool:
        question = {"type": "http.request", "body": b"", "more_body": False}
        receive = within_time(receiving(question), 0.0)
        assert (await receive())["type"] == "http.request"
        waiting = asyncio.ensure_future(receive())
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        waiting.cancel()
        return not done

    assert asyncio.run(run())
