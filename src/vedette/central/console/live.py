"""The stream of news that open pages listen to.

It says which topics changed and nothing else; a page then asks for the panel that shows them, with
its own rights. The rule: a stream ends by itself after a while, so that a session that is over
stops listening.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from vedette.central import desired
from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import TheServices, TheSession
from vedette.central.bulletin import Bulletin
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.services import Services
from vedette.clock import NS_PER_S, Clock
from vedette.ids import is_slug

MAX_TOPICS: Final = 8
LIFE_S: Final = 600
KEEPALIVE_S: Final = 15.0
RETRY_MS: Final = 3000
PACE_S: Final = 1.0
"""What comes faster is told together: a busy fleet commits many times a second."""


@get("/events-stream", include_in_schema=False)
async def events_stream(
    services: TheServices,
    session: TheSession,
    topics: Annotated[str, QueryParameter(name="for", description="with commas between")] = "",
) -> ServerSentEvent:
    """Stream `news` events, each a JSON list of those topics of the asked ones that changed."""
    wanted = topics.split(",")[:MAX_TOPICS]
    asked = [topic for topic in wanted if await _may_hear(services, session, topic)]
    return ServerSentEvent(
        news(services.bulletin, services.clock, asked or ["fleet"]),
        headers=SECURITY_HEADERS | {"X-Accel-Buffering": "no"},
    )


async def _may_hear(services: Services, session: Session, topic: str) -> bool:
    """True where a topic is one of ours, and about nothing outside the asker's scope."""
    if topic in {"fleet", "events"}:
        return True
    kind, _, name = topic.partition(":")
    if not is_slug(name):
        return False
    if kind == "site":
        return access.in_scope(session, name)
    if kind != "device" or session.sites is None:
        return kind == "device"
    async with services.db.transaction() as tx:
        facts = await tx.one("desired_facts", desired.Facts, device=name)
    return facts is not None and access.in_scope(session, facts.site)


async def news(
    bulletin: Bulletin, clock: Clock, topics: Sequence[str]
) -> AsyncIterator[ServerSentEventMessage]:
    """Yield what changed, or a comment where nothing did, until the stream's life is over."""
    end_ns = clock.mono_ns() + LIFE_S * NS_PER_S
    async with bulletin.subscribe(*topics) as subscription:
        yield ServerSentEventMessage(data=None, comment="listening", retry=RETRY_MS)
        while clock.mono_ns() < end_ns:
            changed = sorted(await subscription.wait(KEEPALIVE_S))
            if changed:
                text = msgspec.json.encode(changed).decode()
                yield ServerSentEventMessage(data=text, event="news")
                await asyncio.sleep(PACE_S)
            else:
                yield ServerSentEventMessage(data=None, comment="still here")
