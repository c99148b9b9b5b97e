"""Review through the operator API: how far it is, the next disagreement, its picture, a verdict.

The rule: it takes the role reviewer and the site in scope; each look at a picture and each verdict
stands in the audit log; no answer says which side is the model in use.
"""

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody

from vedette.central.accounts import Session
from vedette.central.api import access
from vedette.central.api.access import NotThere, TheServices, TheSession
from vedette.central.review import queue
from vedette.central.review.queue import Progress, ReviewItem
from vedette.central.services import Services
from vedette.ids import is_slug

ITEM: Final = "/review/{rollout:str}/items/{device:str}/{disagreement:str}"
PICTURE_HEADERS: Final = {
    # Not guessed at, and nothing in it is run, should a browser ever show it as a page.
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=300",
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reviewer makes of a disagreement: which side is right."""

    side: Annotated[str, msgspec.Meta(max_length=20)]


class Reviews(msgspec.Struct, frozen=True, kw_only=True):
    """How far the review of every candidate in shadow is."""

    rollouts: list[Progress]


async def read(services: Services, session: Session, rollout: str = "") -> list[Progress]:
    """Return how far review is.

    Raises:
        Forbidden: The asker is no reviewer.
    """
    access.require(session, "reviewer")
    async with services.db.transaction() as tx:
        return await queue.progress(tx, session.username, session.sites, rollout=rollout)


async def next_of(services: Services, session: Session, rollout: str) -> ReviewItem | None:
    """Return the asker's next disagreement of a rollout.

    Raises:
        Forbidden: The asker is no reviewer.
    """
    access.require(session, "reviewer")
    async with services.db.transaction() as tx:
        return await queue.next_item(tx, session.username, session.sites, rollout[:64])


async def item_of(
    services: Services, session: Session, rollout: str, place: tuple[str, str]
) -> ReviewItem:
    """Return a disagreement in the asker's scope.

    Raises:
        Forbidden: The asker is no reviewer.
        NotThere: No such one.
    """
    access.require(session, "reviewer")
    found: ReviewItem | None = None
    if all(map(is_slug, (rollout, *place))):
        async with services.db.transaction() as tx:
            found = await queue.one_item(tx, session.username, session.sites, place)
    if found is None or found.rollout != rollout:
        raise NotThere(detail="there is no such disagreement")
    return found


async def judge(services: Services, session: Session, item: ReviewItem, side: str) -> None:
    """Note the asker's verdict.

    Raises:
        ConfigError: No such verdict.
    """
    async with services.db.transaction() as tx:
        await queue.judge(tx, session.username, item, side, now_ms=services.now_ms())
    services.bulletin.publish(f"rollout:{item.rollout}")


async def take_back(services: Services, session: Session, rollout: str) -> None:
    """Have the asker's last verdict of a rollout no more.

    Raises:
        Forbidden: The asker is no reviewer.
        NotThere: There is none that is not older than some minutes.
    """
    access.require(session, "reviewer")
    async with services.db.transaction() as tx:
        found = await queue.take_back(
            tx, session.username, session.sites, rollout[:64], now_ms=services.now_ms()
        )
    if found is None:
        raise NotThere(detail="there is no verdict of the last ten minutes to take back")
    services.bulletin.publish(f"rollout:{rollout}")


async def picture_answer(
    services: Services, session: Session, rollout: str, place: tuple[str, str]
) -> Response[Any]:
    """Return the picture of a disagreement, after the look was recorded.

    Raises:
        Forbidden, NotThere: As `item_of`; also where there is no picture.
    """
    item = await item_of(services, session, rollout, place)
    async with services.db.transaction() as tx:
        data = await queue.picture(tx, session.username, item, now_ms=services.now_ms())
    if data is None:
        raise NotThere(detail=f"there is no picture: {item.withheld}")
    return Response(data, media_type="image/jpeg", headers=PICTURE_HEADERS)


@get("/review", summary="How far the review of candidates in shadow is (reviewer)")
async def read_progress(services: TheServices, session: TheSession) -> Reviews:
    """Return each rollout with something in shadow: compared, sent, judged, needed, verdict."""
    return Reviews(rollouts=await read(services, session))


@get("/review/{rollout:str}/next", summary="The next disagreement, blind (reviewer)")
async def read_next(
    services: TheServices, session: TheSession, rollout: FromPath[str]
) -> ReviewItem:
    """Return two answers about one picture, sides by chance; 404 where none waits for the asker."""
    found = await next_of(services, session, rollout)
    if found is None:
        raise NotThere(detail="nothing waits for you")
    return found


@get(ITEM + "/picture", summary="The picture of a disagreement (looks are recorded)")
async def read_picture(
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    device: FromPath[str],
    disagreement: FromPath[str],
) -> Response[Any]:
    """Return what the site's policy let go: a JPEG."""
    return await picture_answer(services, session, rollout, (device, disagreement))


@post(ITEM + "/verdict", status_code=204, summary="Judge a disagreement (reviewer)")
async def put_verdict(
    *,
    data: JSONBody[Verdict],
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    device: FromPath[str],
    disagreement: FromPath[str],
) -> None:
    """Take `first`, `second`, `neither` or `unclear`; a second thought replaces the first."""
    item = await item_of(services, session, rollout, (device, disagreement))
    await judge(services, session, item, data.side)


@delete("/review/{rollout:str}/last", status_code=204, summary="Take the last verdict back")
async def drop_last(services: TheServices, session: TheSession, rollout: FromPath[str]) -> None:
    """Take back the asker's own last verdict of this rollout, of the last ten minutes."""
    await take_back(services, session, rollout)


ROUTES: Final = [read_progress, read_next, read_picture, put_verdict, drop_last]
