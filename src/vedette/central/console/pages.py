"""The screens, and the files that browsers load: every route of the console behind the door.

A screen is a package: `pages` (handlers; their list is `OWN`), `present` (pure: views in, HTML
out), `specimens` (its page in every state, for `/-/patterns`), its templates under the same name,
and where it needs them `static/<screen>.css` and `static/<screen>.js`, which only its own pages
load.
"""

from typing import Any, Final

from litestar import Response, get
from litestar.params import FromPath

from vedette.central.api.access import AnyRequest, NotThere, TheSession
from vedette.central.console import assets, places
from vedette.central.console.alerts import pages as alerts
from vedette.central.console.alerts import pages_channels as alert_channels
from vedette.central.console.alerts import pages_exports as alert_exports
from vedette.central.console.alerts import pages_rota as alert_rota
from vedette.central.console.alerts import pages_rules as alert_rules
from vedette.central.console.alerts import pages_take as alert_links
from vedette.central.console.business import pages as business
from vedette.central.console.camera import pages as camera
from vedette.central.console.camera import tabs as camera_tabs
from vedette.central.console.device import pages as device
from vedette.central.console.events import pages as events
from vedette.central.console.fleet import pages as fleet
from vedette.central.console.headers import SECURITY_HEADERS
from vedette.central.console.models import pages as models
from vedette.central.console.page import looker_of, page
from vedette.central.console.patterns import pattern_html
from vedette.central.console.review import pages as review
from vedette.central.console.rollouts import pages as rollouts
from vedette.central.console.settings import pages as settings
from vedette.central.console.site import pages as site


@get(["/-/patterns", "/-/patterns/{name:str}"], include_in_schema=False)
async def patterns_page(
    request: AnyRequest, session: TheSession, name: FromPath[str] = ""
) -> Response[str]:
    """Show every component in every state."""
    part = request.headers.get("hx-request") == "true"
    html = pattern_html(name, looker_of(session), part=part)
    if html is None:
        raise NotThere(detail="there is no such pattern")
    return page(html)


@get("/static/{version:str}/{name:path}", include_in_schema=False)
async def static_file(
    request: AnyRequest, version: FromPath[str], name: FromPath[str]
) -> Response[bytes]:
    """Send a file that a page loads; under the present version it may be kept forever."""
    found = assets.asset(str(name).lstrip("/"))
    if found is None:
        raise NotThere(detail="there is no such file")
    kept = "public, max-age=31536000, immutable"
    headers = SECURITY_HEADERS | {
        "Cache-Control": kept if version == assets.asset_version() else "no-store",
        "Vary": "Accept-Encoding",
    }
    body = found[0]
    if "gzip" in request.headers.get("accept-encoding", ""):
        smaller = assets.asset_gzip(str(name).lstrip("/"))
        if smaller is not None:
            body, headers = smaller, headers | {"Content-Encoding": "gzip"}
    return Response(body, media_type=found[1], headers=headers)


OPEN: Final = [static_file, *alert_links.OPEN]
"""Reached without a session."""

OWN: Final[list[Any]] = [
    *fleet.OWN,
    *business.OWN,
    *site.OWN,
    *device.OWN,
    *camera.OWN,
    *camera_tabs.OWN,
    *events.OWN,
    *alerts.OWN,
    *alert_channels.OWN,
    *alert_exports.OWN,
    *alert_rota.OWN,
    *alert_rules.OWN,
    *rollouts.OWN,
    *models.OWN,
    *review.OWN,
    *places.OWN,
    *settings.OWN,
    patterns_page,
]
