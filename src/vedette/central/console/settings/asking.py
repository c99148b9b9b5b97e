"""What the handlers of the settings share: who asks, what was posted, what a refusal becomes."""

import re
from typing import Annotated, Final
from zoneinfo import available_timezones

from litestar.params import QueryParameter

from vedette.central.accounts import Origin, Session
from vedette.central.api import access
from vedette.central.api.access import AnyRequest
from vedette.central.console.page import page_of
from vedette.central.console.settings.frame import Frame
from vedette.central.console.settings.present import Form, Secret
from vedette.central.people import Wanted
from vedette.central.services import Services
from vedette.errors import VedetteError

Done = Annotated[str, QueryParameter(name="done")]
_PARTS: Final = re.compile(r"[\s,;]+")
_MAX_CHARS: Final = 20_000


def frame_of(
    request: AnyRequest,
    services: Services,
    session: Session,
    *,
    done: str = "",
    wrong: VedetteError | None = None,
) -> Frame:
    """Return what is around a page of the settings for whoever asks."""
    return Frame(
        page=page_of(request, services, session),
        whole=session.sites is None,
        done=done,
        problem=_sentence(str(wrong)) if wrong else "",
        hint=_sentence(wrong.operator_hint or "") if wrong else "",
    )


def _sentence(text: str) -> str:
    said = text[:500].strip()
    return said[:1].upper() + said[1:] + ("" if not said or said.endswith((".", "?")) else ".")


def origin_of(request: AnyRequest, services: Services) -> Origin:
    """Return from where a request comes."""
    return Origin(
        address=access.address_of(request, services), agent=request.headers.get("user-agent", "")
    )


def require_whole_admin(session: Session) -> None:
    """Return where an administrator of the whole fleet asks, by a browser or a token.

    Raises:
        Forbidden: Somebody else does.
    """
    access.require(session, "admin")
    access.require_whole(session)


def sees_everybody(session: Session) -> bool:
    """True where other people's sessions and tokens may be shown and ended."""
    return access.may(session, "admin") and session.sites is None


def zones() -> list[str]:
    """Return the names of time zones that a form offers."""
    return sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")


def words_of(text: str) -> list[str]:
    """Return the parts of a field that takes several, by blanks, lines or commas."""
    return [part.strip("/") for part in _PARTS.split(text[:_MAX_CHARS]) if part.strip("/")]


def keys_of(text: str) -> list[str]:
    """Return public keys, one on each line; they hold characters that names do not."""
    return [line.strip() for line in text[:_MAX_CHARS].splitlines() if line.strip()]


def form_of(data: dict[str, str]) -> Form:
    """Return what a form about a user held."""
    return Form(
        username=data.get("username", "").strip()[:128],
        role=data.get("role", "")[:20],
        everything=data.get("sees") == "everything",
        folders=data.get("folders", "")[:_MAX_CHARS],
        sites=data.get("sites", "")[:_MAX_CHARS],
    )


def wanted_of(form: Form) -> Wanted:
    """Return the role and scope that a form asks for."""
    return Wanted(
        role=form.role,
        everything=form.everything,
        folders=[] if form.everything else words_of(form.folders),
        sites=[] if form.everything else words_of(form.sites),
    )


def link_secret(services: Services, username: str, token: str) -> Secret:
    """Return a one-time link as it is shown, once."""
    return Secret(
        what=f"One-time link for {username}, shown this once",
        text=f"{services.config.url}/setup/{token}",
        use="Give it to them over a way that you trust. It sets a password, works once, for a day.",
    )
