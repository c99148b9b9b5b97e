"""In which forms the operator API is spoken to: checked before a route is looked at more closely.

The rule: a body is JSON and says so; who asks only for a form that no route gives is told so,
instead of being given another one.
"""

from typing import Final

from vedette.central.api.access import AnyRequest, HTTPException

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_GIVEN: Final = ("application/json", "application/problem+json", "text/plain", "image/jpeg",
                 "application/octet-stream")  # fmt: skip
MAX_ACCEPT_CHARS: Final = 2_000


class NotThatForm(HTTPException):
    """The body is not in a form that is read here."""

    status_code = 415


class NoSuchForm(HTTPException):
    """The answer cannot be given in a form that was asked for."""

    status_code = 406


async def check_forms(request: AnyRequest) -> None:
    """Return where body and answer are in forms of this API.

    Raises:
        NotThatForm: A body that is not said to be JSON.
        NoSuchForm: `Accept` leaves nothing that is given here.
    """
    has_body = "transfer-encoding" in request.headers or request.headers.get(
        "content-length", "0"
    ) not in {"", "0"}
    if request.method in _WITH_BODY and has_body:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (
            kind.startswith("application/") and kind.endswith("+json")
        ):
            raise NotThatForm(detail="send the body as application/json")
    if not accepts(request.headers.get("accept", "")):
        raise NoSuchForm(detail="the answer is application/json")


def accepts(accept: str) -> bool:
    """True where an `Accept` header leaves a form that is given here; RFC 9110, section 12.5.1."""
    ranges = [part for part in accept[:MAX_ACCEPT_CHARS].split(",") if part.strip()]
    for one in ranges:
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if any(p.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for p in parameters):
            continue
        family, _, rest = kind.partition("/")
        if kind == "*/*" or kind in _GIVEN:
            return True
        if rest == "*" and any(given.startswith(f"{family}/") for given in _GIVEN):
            return True
    return not ranges
