"""Apprise through its own process: what it may connect to, and what it says."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.integration.alerting_receivers import Got, Receiver, answer, receiving
from tests.unit.central.test_channel_parts import notice
from vedette.central.alerting.channels import apprise as apprise_channel
from vedette.central.alerting.channels import egress
from vedette.central.alerting.channels.apprise import AppriseSender
from vedette.central.alerting.channels.facts import (
    Apprise,
    Channel,
    Delivery,
    End,
    Outcome,
    Secret,
)

pytestmark = pytest.mark.anyio


async def send(url: str, *allowed: str) -> Outcome:
    """Send a notice to a service."""
    delivery = Delivery(
        delivery="d", key="k", channel="c", address="", person="", incident="", kind="opened",
        media="", subject="", body=msgspec.json.encode(notice()), tries=1, made_ms=0, asked_ms=0,
        until_ms=0, leased_ms=0, lease="",
    )  # fmt: skip
    channel = Channel(channel="c", settings=Apprise(), secret=Secret(url=url))
    return await AppriseSender(egress.rules(allowed, [])).send(channel, delivery, 0)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A service on loopback."""
    async with receiving() as made:
        made.answers = [answer(200, "Content-Type: application/json\r\n", b"{}")]
        yield made


async def test_a_service_inside_the_network_needs_permission(receiver: Receiver) -> None:
    """With it the notice arrives, without it no connection is made, and neither by a redirect."""
    url = f"ntfy://127.0.0.1:{receiver.port}/TopSecretTopic"
    sent, refused = await asyncio.gather(send(url, "127.0.0.0/8"), send(url))
    assert sent.end is End.SENT, sent
    (got,) = receiver.got
    assert b"No word from the site" in got.body
    assert refused.end is End.AGAIN
    assert "TopSecret" not in refused.said


async def test_a_redirect_does_not_lead_inside(receiver: Receiver) -> None:
    """Apprise follows redirects; the hook sees where each connection goes."""
    async with receiving() as inside:
        there = f"Location: http://127.0.0.2:{inside.port}/\r\n"
        receiver.answers = [answer(307, there)]
        outcome = await send(f"ntfy://127.0.0.1:{receiver.port}/topic", "127.0.0.1/32")
        assert outcome.end is End.AGAIN
        assert inside.connections == 0
        assert receiver.connections >= 1


async def test_a_service_that_hangs_ends_with_its_process(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed when its time is over; nothing of it stays."""
    monkeypatch.setattr(apprise_channel, "TOTAL_S", 1.5)
    never = asyncio.Event()

    async def hang(_got: Got, _writer: asyncio.StreamWriter) -> None:
        await never.wait()

    receiver.answers = [hang]
    outcome = await send(f"ntfy://127.0.0.1:{receiver.port}/topic", "127.0.0.1/32")
    assert outcome.end is End.AGAIN
    assert "not done within" in outcome.said


async def test_a_failing_service_says_why_without_its_secrets(receiver: Receiver) -> None:
    """The status is handed on, the token is not."""
    receiver.answers = [answer(403)]
    url = f"gotify://127.0.0.1:{receiver.port}/TopSecretToken1"
    outcome = await send(url, "127.0.0.1/32")
    assert outcome.end is End.AGAIN
    assert "403" in outcome.said
    assert "Secret" not in outcome.said
