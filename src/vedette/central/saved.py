"""Saved views of the fleet page: a name for the filters that stand in its URL.

Here: keeping, sharing and dropping them, with the entry in the audit log. Not here: what a query
string means (the console's filters) and who may share (the API). The rule: a view holds a question,
never an answer, so whoever opens it sees what their own scope lets them see; and since a question
can name places, those that do are not shown to readers who see a part of the fleet.
"""

from typing import Final
from urllib.parse import parse_qsl

import msgspec

from vedette.central import audit
from vedette.central.events import Scope
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

MAX_VIEWS: Final = 100
MAX_NAME_CHARS: Final = 60
MAX_QUERY_CHARS: Final = 3_000
_PLACES: Final = frozenset({"q", "sel", "folder", "group"})


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A saved view; `is_start` where it is the asker's start page."""

    owner: str
    name: str
    query: str
    shared: bool
    changed_ms: int
    is_start: bool = False

    def names_places(self) -> bool:
        """True where the question itself could tell of places."""
        return any(key in _PLACES for key, _ in parse_qsl(self.query))


async def views(tx: Tx, username: str, scope: Scope) -> list[View]:
    """Return what a user may open: their own first, then what others share."""
    found = await tx.all("views_of", View, username=username)
    return [
        view for view in found if view.owner == username or scope is None or not view.names_places()
    ]


async def put(tx: Tx, username: str, name: str, query: str, *, shared: bool, now_ms: int) -> View:
    """Have a view of this name of this user.

    Raises:
        ConfigError: A name or a query that cannot be, or too many views.
    """
    name = check_name(name)
    if len(query) > MAX_QUERY_CHARS or not query.isprintable():
        raise ConfigError(f"a view has at most {MAX_QUERY_CHARS} printable characters")
    await tx.value("view_owner_hold", username=username)
    own = {v.name for v in await tx.all("views_of", View, username=username) if v.owner == username}
    if len(own | {name}) > MAX_VIEWS:
        raise ConfigError(f"at most {MAX_VIEWS} views", operator_hint="delete one first")
    values = {"owner": username, "name": name, "query": query, "shared": shared}
    await tx.run("view_put", now_ms=now_ms, **values)
    if not shared:
        await tx.run("views_unstart", owner=username, name=name)
    detail: dict[str, object] = {"query": query, "shared": shared}
    await audit.write(
        tx, at_ms=now_ms, actor=username, action="view.put", target=name, detail=detail
    )
    return View(owner=username, name=name, query=query, shared=shared, changed_ms=now_ms)


def check_name(name: str) -> str:
    """Return a name that a view can have.

    Raises:
        ConfigError: It is none.
    """
    plain = " ".join(name.split())
    if not plain or len(plain) > MAX_NAME_CHARS or not plain.isprintable() or "/" in plain:
        raise ConfigError(
            "a view needs a name",
            operator_hint=f"up to {MAX_NAME_CHARS} printable characters, without /",
        )
    return plain


async def drop(tx: Tx, username: str, name: str, *, now_ms: int) -> bool:
    """Have no such view of this user any more; False where there was none."""
    if not await tx.run("view_drop", owner=username, name=name):
        return False
    await audit.write(tx, at_ms=now_ms, actor=username, action="view.drop", target=name)
    return True


async def start_with(
    tx: Tx, username: str, scope: Scope, view: tuple[str, str] | None, *, now_ms: int
) -> None:
    """Have a view (owner and name) as a user's start page; None: the plain one.

    Raises:
        ConfigError: There is no such view for them.
    """
    if view is None:
        await tx.run("view_start_drop", username=username)
    else:
        owner, name = view
        known = {(v.owner, v.name) for v in await views(tx, username, scope)}
        if (owner, name) not in known:
            raise ConfigError("there is no such view")
        await tx.run("view_start_put", username=username, owner=owner, name=name)
    target = "/".join(view) if view else ""
    await audit.write(tx, at_ms=now_ms, actor=username, action="view.start", target=target)
