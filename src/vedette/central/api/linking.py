"""Files of clips by a link that central signed: no session, no token, one file each.

The rule: what does not hold is refused in the same words, whatever is wrong with it; a link that
holds leads to the one file that it names, while its export is on and the clip is here; each look
stands in the audit log under the export's name.
"""

from typing import Annotated, Final

from litestar import get
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from vedette.central.api import access
from vedette.central.api.access import AnyRequest, NotThere, TheServices
from vedette.central.api.clips import base_of, sent
from vedette.central.api.shares import Shares
from vedette.central.clips import fetching, looking
from vedette.central.clips.fetching import Clip, StoredFile
from vedette.central.exporting import links, store
from vedette.central.exporting.links import Link
from vedette.central.services import Services
from vedette.errors import NotAllowed

_MOST_DIGITS: Final = 15


@get(
    "/links/{device:str}/{evidence:str}/{name:str}",
    include_in_schema=False,
)
async def read_linked(  # noqa: PLR0917 - as the link has them
    request: AnyRequest,
    services: TheServices,
    device: FromPath[str],
    evidence: FromPath[str],
    name: FromPath[str],
    export: Annotated[str, QueryParameter(name="for")] = "",
    until: Annotated[str, QueryParameter()] = "",
    signature: Annotated[str, QueryParameter()] = "",
) -> Stream:
    """Return the file, or the asked range of it."""
    shares: Shares = request.app.state.shares
    address = access.address_of(request, services)
    plain = until.isascii() and until.isdigit() and len(until) <= _MOST_DIGITS
    link = Link(
        export=export,
        device=device,
        evidence=evidence,
        name=name,
        expires_ms=int(until) if plain else 0,
    )
    try:
        links.require(links.key_of(services.config.state), link, signature, services.now_ms())
    except NotAllowed:
        shares.spend_refused(address)
        raise
    shares.spend_link(address)
    clip, stored = await _found(services, link)
    shown = f"attachment {base_of(clip.device, clip.event)}"
    return sent(request, services, stored, looking.media_of(clip.form, name), shown)


async def _found(services: Services, link: Link) -> tuple[Clip, StoredFile]:
    """Return the file that a good link leads to; the look stands in the audit log.

    Raises:
        NotThere: The export is off, or the clip is not here any more.
    """
    now_ms = services.now_ms()
    async with services.db.transaction() as tx:
        exports = {row.export for row in await store.all_of(tx) if row.enabled}
        clip = await fetching.one(tx, link.device, link.evidence, now_ms)
        files = await fetching.files(tx, link.device, link.evidence)
        stored = next((file for file in files if file.name == link.name), None)
        is_here = clip is not None and clip.state == "here" and stored is not None
        if clip is None or stored is None or not is_here or link.export not in exports:
            raise NotThere(detail="what this link led to is not here any more")
        if not services.blobs.has(stored.sha256):
            raise NotThere(detail="what this link led to is not here any more")
        await looking.look(
            tx,
            (link.device, link.evidence),
            link.name,
            how="download",
            actor=f"link of {link.export}",
            now_ms=now_ms,
        )
    return clip, stored


ROUTES: Final = [read_linked]
