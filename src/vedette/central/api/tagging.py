"""Entity tags: whether what somebody holds is still what is here.

A read answers with `ETag`; shown again as `If-None-Match` it spares sending the same once more
(304). A change that shows one as `If-Match` is refused with 412 where somebody else changed the
same in between, so that nobody's work is overwritten unseen. The rule: a tag is made from what is
stored, not from when; whoever changes checks it while what it is of is held in their transaction.

Source: RFC 9110, sections 8.8.3, 13.1.1, 13.1.2 and 15.5.13. Tags of lists are weak, being of
their content. `If-Match` takes a tag with or without `W/`: proxies that compress weaken it.
"""

import hashlib
import re
from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response
from litestar.params import HeaderParameter

from vedette.central.api.access import AnyRequest, HTTPException

T = TypeVar("T")

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_MAX_CHARS: Final = 2_000
_DIGEST_BYTES: Final = 12

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match", description="Only where it is still as this `etag` says; else 412"
    ),
]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="`*`: only where there is none")
]


class ChangedMeanwhile(HTTPException):
    """Somebody else changed it since it was read."""

    status_code = 412


def tag_of(*parts: object) -> str:
    """Return the tag of something stored: another where any of it is another."""
    digest = hashlib.blake2b(msgspec.json.encode(parts), digest_size=_DIGEST_BYTES)
    return f'"{digest.hexdigest()}"'


def require_match(if_match: str | None, present: str | None) -> None:
    """Return where a change may go on: nothing was demanded, or what is there is what was read.

    Raises:
        ChangedMeanwhile: It is another, or not there (`present` None).
    """
    if if_match is not None and not _is_among(present, if_match):
        raise ChangedMeanwhile(detail="it was changed since you read it: read it again")


def require_none(if_none_match: str | None, present: str | None) -> None:
    """Return where something new may be made: nothing was demanded, or nothing is there yet.

    Raises:
        ChangedMeanwhile: There is one.
    """
    if if_none_match is not None and _is_among(present, if_none_match):
        raise ChangedMeanwhile(detail="there is one already: read it first")


def tagged(
    request: AnyRequest, body: T, tag: str = "", headers: dict[str, str] | None = None
) -> Response[T]:
    """Return a body under its tag (empty: of its content), or 304 to whoever holds the same."""
    content = msgspec.json.encode(body)
    tag = tag or f"W/{tag_of(content)}"
    head = {"ETag": tag} | (headers or {})
    if request.method == "GET" and _is_among(tag, request.headers.get("if-none-match", "")):
        return Response(b"", status_code=304, headers=head)  # type: ignore[return-value]
    return Response(  # type: ignore[return-value]
        content, media_type="application/json", headers=head
    )


def _is_among(tag: str | None, shown: str) -> bool:
    """True where a header's list has this tag; `*` is any that is there."""
    if tag is None:
        return False
    if shown.strip() == "*":
        return True
    return tag.removeprefix("W/") in _TAG.findall(shown[:_MAX_CHARS])
