"""A page as an answer: for whom it is made, with which headers, and where a form leads to.

What every screen's handlers share. The rule: a request by htmx gets the live part of the page,
under the same URL.
"""

from typing import Final
from urllib.parse import quote

import msgspec
from litestar import Response
from litestar.datastructures import Cookie

from vedette.central import csrf
from vedette.central.accounts import Session
from vedette.central.api.access import AnyRequest
from vedette.central.console.headers import PAGE_HEADERS
from vedette.central.console.render import Looker, render
from vedette.central.services import Services

_IN_ADDRESSES: Final = "/?#[]@!$&'()*+,;=:%~"
"""What stays as it is in an address that is whole already; RFC 3986, section 2.2."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a page is made, when, under which URL, and whether only its live part is wanted."""

    looker: Looker
    now_ms: int
    self_url: str
    part: bool = False


def page_of(request: AnyRequest, services: Services, session: Session) -> Page:
    """Return for whom and under which URL a page is made."""
    query = f"?{request.url.query}" if request.url.query else ""
    return Page(
        looker=looker_of(session),
        now_ms=services.now_ms(),
        self_url=request.url.path + query,
        part=request.headers.get("hx-request") == "true",
    )


def looker_of(session: Session) -> Looker:
    """Return what a page needs to know of whoever looks at it."""
    return Looker(
        username=session.username,
        role=session.role,
        csrf=csrf.masked(session.csrf),
        whole=session.sites is None,
    )


def page(html: str, status: int = 200, cookies: list[Cookie] | None = None) -> Response[str]:
    """Return HTML with the headers of a page."""
    return Response(
        html,
        status_code=status,
        media_type="text/html; charset=utf-8",
        headers=PAGE_HEADERS,
        cookies=cookies,
    )


def see_other(there: str, cookies: list[Cookie] | None = None) -> Response[str]:
    """Return a redirect after a form was posted; what headers cannot carry is quoted."""
    headers = PAGE_HEADERS | {"Location": quote(there, safe=_IN_ADDRESSES)}
    return Response("", status_code=303, headers=headers, cookies=cookies)


def error_html(title: str, detail: str, looker: Looker | None, now_ms: int) -> str:
    """Return the page for something that did not work: in words, with a way on."""
    return render("error.html", looker=looker, now_ms=now_ms, title=title, detail=detail)
