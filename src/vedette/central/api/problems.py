"""How a request fails, in words: JSON for programs, a page for people.

Source: RFC 9457 for the JSON. The rule: what broke inside is logged with an id and never shown; the
answer carries the id, so that the log line can be found.
"""

import logging
from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from vedette.central.alerting.places import Impossible
from vedette.central.api import access
from vedette.central.api.shares import headers_of_refusal
from vedette.central.boundary import LEFT, TooManyRequests
from vedette.central.console.headers import PAGE_HEADERS, SECURITY_HEADERS
from vedette.central.console.page import error_html, looker_of
from vedette.central.registry.store import NoSuchModel
from vedette.central.store.db import DataRefused
from vedette.errors import ConflictError, StoreError, TrustError, VedetteError
from vedette.ids import new_id

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "Not understood",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Not that way",
    409: "Somebody else was first",
    406: "Not in that form",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Not in that form",
    422: "It cannot be so",
    429: "Too often",
    500: "Something broke here",
    503: "Not ready",
}


_STATUSES: Final[tuple[tuple[type[VedetteError], int], ...]] = (
    (DataRefused, 400),
    (StoreError, 503),
    (TooManyRequests, 429),
    (NoSuchModel, 404),
    (TrustError, 403),
    (ConflictError, 409),
    (Impossible, 422),
    (VedetteError, 400),
)
"""The first that fits."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457, section 3.1; `type` is left out, which means `about:blank`: the status says it."""

    title: str
    status: int
    detail: str = ""
    instance: str = ""
    errors: list[dict[str, object]] = []


def is_for_programs(path: str) -> bool:
    """True where the answer to a failure is JSON."""
    return path.startswith(("/v1/", "/schema", "/links/")) or path in {"/places", "/metrics"}


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Return a problem as an answer."""
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=SECURITY_HEADERS | {"Cache-Control": "no-store"} | (headers or {}),
    )


def http_failed(request: Request[Any, Any, State], error: HTTPException) -> Response[Any]:
    """Answer a failure that a route or Litestar raised on purpose."""
    if request.scope.get(LEFT):
        return _answer(request, _gone(), {})
    extra = error.extra if isinstance(error.extra, list) else []
    problem = Problem(
        title=_TITLES.get(error.status_code, "It did not work"),
        status=error.status_code,
        detail=str(error.detail or ""),
        errors=[item for item in extra if isinstance(item, dict)],
    )
    return _answer(request, problem, dict(error.headers or {}))


def vedette_failed(request: Request[Any, Any, State], error: VedetteError) -> Response[Any]:
    """Answer one of our own errors: what to do about it is for whoever asked."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    detail = str(error) if status != 503 else "the database does not answer; try again shortly"
    if error.operator_hint and status != 503:
        detail = f"{detail}: {error.operator_hint}"
    if status == 503:
        _log.warning("store failed: %s", error, extra={"event": "api.store_failed"})
    problem = Problem(title=_TITLES[status], status=status, detail=detail)
    headers = {"Retry-After": "5"} if status == 503 else {}
    if isinstance(error, TooManyRequests):
        headers = headers_of_refusal(error)
    return _answer(request, problem, headers)


def _gone() -> Problem:
    """Return what nobody reads any more: a client that leaves is no failure of ours."""
    return Problem(title=_TITLES[400], status=400, detail="the body did not arrive")


def too_deep(request: Request[Any, Any, State], error: RecursionError) -> Response[Any]:
    """Answer a body that is nested deeper than any of ours: it was not even decoded."""
    _log.warning("body too deep: %s", error, extra={"event": "api.too_deep"})
    problem = Problem(title=_TITLES[400], status=400, detail="the body is nested too deeply")
    return _answer(request, problem, {})


def crashed(request: Request[Any, Any, State], error: Exception) -> Response[Any]:
    """Answer what nobody expected, and log it under the id that the answer carries."""
    if request.scope.get(LEFT):
        return _answer(request, _gone(), {})
    instance = new_id("err")
    _log.error(
        "request failed",
        exc_info=error,
        extra={"event": "api.crashed", "instance": instance, "path": request.url.path},
    )
    detail = f"it was logged as {instance}"
    return _answer(
        request, Problem(title=_TITLES[500], status=500, detail=detail, instance=instance), {}
    )


def _answer(
    request: Request[Any, Any, State], problem: Problem, headers: dict[str, str]
) -> Response[Any]:
    """Return JSON to a program, a page to a person, the way to sign in to whoever must."""
    if is_for_programs(request.url.path):
        challenge = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
        return problem_response(problem, headers | challenge)
    if problem.status == 401 and "hx-request" not in request.headers:
        there = request.url.path if request.method == "GET" else "/"
        query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
        return _to_sign_in(there + query)
    services = access.services_of(request.app.state)
    session = access.seen_session(request)
    looker = looker_of(session) if session else None
    html = error_html(problem.title, problem.detail, looker, services.now_ms())
    return Response(
        html,
        status_code=problem.status,
        media_type="text/html; charset=utf-8",
        headers=PAGE_HEADERS | headers,
    )


def _to_sign_in(there: str) -> Response[Any]:
    """Return a redirect to the sign-in page that comes back here afterwards."""
    target = "/sign-in" if there == "/" else f"/sign-in?next={quote(there, safe='')}"
    return Response(b"", status_code=303, headers=PAGE_HEADERS | {"Location": target})


HANDLERS: dict[type[Exception] | int, Any] = {
    HTTPException: http_failed,
    VedetteError: vedette_failed,
    RecursionError: too_deep,
    Exception: crashed,
}
