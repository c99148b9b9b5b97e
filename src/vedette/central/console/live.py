"""The stream of news that open pages listen to.

It says which topics changed and nothing else; a page then asks for the panel that shows them, with
its own rights. The rule: a stream ends when the session that listens is over, and by itself after a
while.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from vedette.central import desired
from vedette.central.accounts import Session
from vedette.central.alerting import looking
from vedette.central.api import access
from vedette.central.api.access import AnyRequest, TheServices, TheSession
from vedette.central.bulletin import Bulletin
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.services import Services
from vedette.clock import NS_PER_S, Clock
from vedette.errors import StoreError
from vedette.ids import is_slug

MAX_TOPICS: Final = 8
MAX_STREAMS: Final = 32
"""Open pages of one person; the others go on without news, as pages do where a stream fails."""

LIFE_S: Final = 600
KEEPALIVE_S: Final = 15.0
RETRY_MS: Final = 3000
_OF_ALL: Final = frozenset(
    {"fleet", "events", "incidents", "deliveries", "ladders", "models", "rollouts", "settings"}
)
PACE_S: Final = 1.0
"""What comes faster is told together: a busy fleet commits many times a second."""


@get("/events-stream", include_in_schema=False)
async def events_stream(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    topics: Annotated[str, QueryParameter(name="for", description="with commas between")] = "",
) -> ServerSentEvent:
    """Stream `news` events, each a JSON list of those topics of the asked ones that changed."""
    wanted = topics.split(",")[:MAX_TOPICS]
    asked = [topic for topic in wanted if await _may_hear(services, session, topic)]
    return ServerSentEvent(
        news(
            services.bulletin,
            services.clock,
            asked or ["fleet"],
            partial(still_there, request, services, session),
            by=session.username,
        ),
        headers=SECURITY_HEADERS | {"X-Accel-Buffering": "no"},
    )


async def still_there(request: AnyRequest, services: Services, session: Session) -> bool:
    """True while the session that listens holds, with the role and scope that it began with.

    Where the database fails, it is asked later.
    """
    try:
        now = await access.find(request, services)
    except StoreError:
        return True
    return now is not None and (now.role, now.sites) == (session.role, session.sites)


async def _may_hear(services: Services, session: Session, topic: str) -> bool:
    """True where a topic is one of ours, and about nothing outside the asker's scope."""
    if topic in _OF_ALL:
        return True
    kind, _, name = topic.partition(":")
    if not is_slug(name):
        return False
    if kind == "site":
        return access.in_scope(session, name)
    if kind not in {"device", "incident"} or session.sites is None:
        return kind in {"device", "incident"}
    if kind == "incident":
        async with services.db.transaction() as tx:
            return await looking.in_scope(tx, name, session.sites)
    async with services.db.transaction() as tx:
        facts = await tx.one("desired_facts", desired.Facts, device=name)
    return facts is not None and access.in_scope(session, facts.site)


async def news(
    bulletin: Bulletin,
    clock: Clock,
    topics: Sequence[str],
    still_there: Callable[[], Awaitable[bool]] | None = None,
    *,
    by: str = "",
) -> AsyncIterator[ServerSentEventMessage]:
    """Yield what changed, or a comment where nothing did, until the stream's life is over.

    It is over too when `still_there` says no, which is asked about every `KEEPALIVE_S`, and at once
    where `by` has `MAX_STREAMS` open: one reader's many must not be everybody's cost.
    """
    if by and bulletin.readers_of(by) >= MAX_STREAMS:
        yield ServerSentEventMessage(data=None, comment="too many", retry=LIFE_S * 1000)
        return
    asked_ns = clock.mono_ns()
    end_ns = clock.mono_ns() + LIFE_S * NS_PER_S
    async with bulletin.subscribe(*topics, by=by) as subscription:
        yield ServerSentEventMessage(data=None, comment="listening", retry=RETRY_MS)
        while clock.mono_ns() < end_ns:
            changed = sorted(await subscription.wait(KEEPALIVE_S))
            if still_there and clock.mono_ns() - asked_ns >= (KEEPALIVE_S - 1) * NS_PER_S:
                asked_ns = clock.mono_ns()
                if not await still_there():
                    return
            if changed:
                text = msgspec.json.encode(changed).decode()
                yield ServerSentEventMessage(data=text, event="news")
                await asyncio.sleep(PACE_S)
            else:
                yield ServerSentEventMessage(data=None, comment="still here")
