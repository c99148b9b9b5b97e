"""What answers for review: the rollouts, the next disagreement, its picture, a verdict."""

from typing import Any, Final

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from vedette.central.api import reviewing
from vedette.central.api.access import AnyRequest, NotThere, TheServices, TheSession
from vedette.central.console.doors import Form
from vedette.central.console.page import page, page_of, see_other
from vedette.central.console.review import present
from vedette.ids import is_slug

SAID: Final = {"judged": "Noted.", "back": "Taken back: here it is again."}


@get("/review", include_in_schema=False)
async def review_page(
    request: AnyRequest, services: TheServices, session: TheSession
) -> Response[str]:
    """Show what can be reviewed."""
    found = await reviewing.read(services, session)
    return page(present.list_html(found, page_of(request, services, session)))


@get("/review/{rollout:str}", include_in_schema=False)
async def next_page(
    request: AnyRequest,
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    said: FromQuery[str] = "",
) -> Response[str]:
    """Show the next disagreement."""
    found = await reviewing.read(services, session, _slug(rollout))
    if not found:
        raise NotThere(detail="nothing of this rollout runs in shadow")
    item = await reviewing.next_of(services, session, rollout)
    made = page_of(request, services, session)
    words = SAID.get(said, "")
    return page(present.one_html(item, found[0], made, rollout=rollout, said=words))


@get("/review/{rollout:str}/{device:str}/{disagreement:str}/picture", include_in_schema=False)
async def picture(
    services: TheServices,
    session: TheSession,
    rollout: FromPath[str],
    device: FromPath[str],
    disagreement: FromPath[str],
) -> Response[Any]:
    """Send the picture; the look is recorded."""
    return await reviewing.picture_answer(services, session, rollout, (device, disagreement))


@post("/review/{rollout:str}/back", include_in_schema=False, status_code=200)
async def take_back(
    services: TheServices, session: TheSession, rollout: FromPath[str]
) -> Response[str]:
    """Take the last verdict back and show it again."""
    await reviewing.take_back(services, session, _slug(rollout))
    return see_other(f"/review/{rollout}?said=back")


@post(
    "/review/{rollout:str}/{device:str}/{disagreement:str}",
    include_in_schema=False,
    status_code=200,
)
async def judge(
    *,
    services: TheServices,
    session: TheSession,
    data: Form,
    rollout: FromPath[str],
    device: FromPath[str],
    disagreement: FromPath[str],
) -> Response[str]:
    """Take a verdict and go on to the next."""
    item = await reviewing.item_of(services, session, rollout, (device, disagreement))
    await reviewing.judge(services, session, item, data.get("side", ""))
    return see_other(f"/review/{item.rollout}?said=judged")


def _slug(rollout: str) -> str:
    if not is_slug(rollout):
        raise NotThere(detail="there is no such rollout")
    return rollout


OWN: Final = [review_page, next_page, picture, take_back, judge]
