"""Cursors: where a list goes on, in a form that nobody but this central can make.

A cursor holds the sort key of the last row that was given and a code over it, the list's name and
its filters. So a page goes on where the last one ended, whatever was added or removed meanwhile,
and a cursor of another list, of other filters or of somebody's invention is refused. The rule: a
cursor grants nothing; whoever shows one sees what their scope lets them see.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from vedette.central.api.access import AnyRequest, HTTPException
from vedette.central.api.tagging import tagged
from vedette.central.services import Services

T = TypeVar("T")
Key = tuple[str | int, ...]
"""The sort key of a row: no two rows of a list have the same."""

MAX_CHARS: Final = 1_000
DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 1_000
_CODE_BYTES: Final = 16
_PURPOSE: Final = b"vedette cursor key, version 1"

Cursor = Annotated[
    str, QueryParameter(description="Where the last page says it goes on", max_length=MAX_CHARS)
]
Limit = Annotated[
    int, QueryParameter(description="Rows on one page at most", ge=1, le=MAX_LIMIT)
]  # fmt: skip


class BadCursor(HTTPException):
    """Not a cursor of this list and these filters."""

    status_code = 400


class Cursors:
    """The cursors of one list with its filters."""

    def __init__(self, services: Services, of: str, *filters: object) -> None:
        """Prepare; the key follows from central's own, so cursors outlive a restart."""
        self._key: Final = hashlib.sha256(services.online_key.sign(_PURPOSE)).digest()
        self._of: Final = msgspec.msgpack.encode([of, *filters])

    def after(self, *parts: str | int) -> str:
        """Return the cursor that goes on after the row with this sort key."""
        body = msgspec.msgpack.encode(parts)
        return urlsafe_b64encode(self._code(body) + body).rstrip(b"=").decode()

    def read(self, cursor: str, shape: type[T]) -> T | None:
        """Return the sort key in a cursor; None without one.

        Raises:
            BadCursor: It is not one of these.
        """
        if not cursor:
            return None
        try:
            data = urlsafe_b64decode(cursor[:MAX_CHARS].encode("ascii") + b"==")
            code, body = data[:_CODE_BYTES], data[_CODE_BYTES:]
            if not hmac.compare_digest(code, self._code(body)):
                raise BadCursor(detail="this cursor is not of this list: begin again without it")
            return msgspec.msgpack.decode(body, type=shape)
        except (ValueError, msgspec.DecodeError) as error:
            raise BadCursor(detail="this is no cursor: begin again without it") from error

    def _code(self, body: bytes) -> bytes:
        return hmac.digest(self._key, self._of + b"\0" + body, "sha256")[:_CODE_BYTES]

    def ends(
        self, rows: list[T], key: Callable[[T], Key], limit: int
    ) -> tuple[list[T], str | None]:
        """Return at most `limit` rows of `limit + 1` that were asked for, and where to go on."""
        page = rows[:limit]
        return page, self.after(*key(page[-1])) if len(rows) > limit else None


def cut(
    rows: Iterable[T], key: Callable[[T], Key], cursors: Cursors, cursor: str, limit: int
) -> tuple[list[T], str | None]:
    """Return a page of a list that is short enough to be read whole, in the order of its keys.

    Raises:
        BadCursor: Not one of this list.
    """
    after = cursors.read(cursor, tuple[str | int, ...])
    rest = sorted((row for row in rows if after is None or key(row) > after), key=key)
    return cursors.ends(rest, key, limit)


def paged(request: AnyRequest, body: T, next_cursor: str | None) -> Response[T]:
    """Return a page under its tag; where the list goes on stands in `Link` (RFC 8288)."""
    if next_cursor is None:
        return tagged(request, body)
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
    there = f"{request.url.path}?{urlencode([*pairs, ('cursor', next_cursor)])}"
    return tagged(request, body, headers={"Link": f'<{there}>; rel="next"'})
