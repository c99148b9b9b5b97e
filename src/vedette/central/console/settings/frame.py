"""What every page of the settings has around it: its tabs, what was just done, what went wrong.

Pure. The rule: a tab that a person may not open is not offered; what was done is a sentence of this
table, named in the address, so that nobody can put words into our page with a link.
"""

from typing import Final
from urllib.parse import urlencode

import msgspec

from vedette.central.console.page import Page
from vedette.central.console.render import render


class Tab(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the settings; `whole`: only for administrators of the whole fleet."""

    name: str
    title: str
    group: str
    role: str = "viewer"
    whole: bool = False

    @property
    def href(self) -> str:
        """Return where it is."""
        return f"/settings/{self.name}"


TABS: Final = (
    Tab(name="account", title="Account", group="You"),
    Tab(name="sessions", title="Sessions", group="You"),
    Tab(name="tokens", title="API tokens", group="You"),
    Tab(name="users", title="Users", group="People", role="admin", whole=True),
    Tab(name="sites", title="Sites", group="Places", role="operator"),
    Tab(name="folders", title="Folders", group="Places", role="operator"),
    Tab(name="groups", title="Groups", group="Places", role="operator"),
    Tab(name="claims", title="Claims", group="Places", role="admin"),
    Tab(name="health", title="Health", group="Central", role="admin", whole=True),
    Tab(name="retention", title="Retention", group="Central", role="admin", whole=True),
    Tab(name="audit", title="Audit log", group="Central", role="admin", whole=True),
)

DONE: Final = {
    "session-ended": "That session has ended: its next request is refused.",
    "sessions-ended": "Those sessions have ended: their next request is refused.",
    "token-ended": "That token is worth nothing any more.",
    "tokens-ended": "Those tokens are worth nothing any more.",
    "contacts": "You are reached as it stands here, from the next notice on.",
    "tested": "A test is on its way to each contact that carries.",
    "chain": "The chain was followed from its beginning.",
    "scope": "Role and scope are changed; they hold from the user's next request on.",
    "disabled": "The user is disabled; their sessions, tokens and links have ended.",
    "enabled": "The user may sign in again.",
    "site-added": "The site is there. What it needs next stands below.",
    "place": "Name, folder and time zone are as they stand here.",
    "hours": "The opening hours are changed.",
    "labels": "The labels are changed.",
    "moved": "The folder has moved; scopes and groups that named it followed.",
    "filled": "The sites lie in that folder now.",
    "group": "The group means that from now on.",
    "group-dropped": "There is no such group any more.",
    "withdrawn": "That claim is worth nothing any more.",
    "deleted": "The user is deleted; what they did stays in the audit log.",
}


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the settings for somebody: what they may open, and what was just done.

    Attributes:
        whole: True where they know of the whole fleet.
        done: A word of `DONE`.
    """

    page: Page
    whole: bool = True
    done: str = ""
    problem: str = ""
    hint: str = ""

    def tabs(self) -> dict[str, list[Tab]]:
        """Return the tabs that they may open, by group."""
        found: dict[str, list[Tab]] = {}
        for tab in TABS:
            if self.may(tab.role) and (self.whole or not tab.whole):
                found.setdefault(tab.group, []).append(tab)
        return found

    def may(self, role: str) -> bool:
        """True where they have this role or a stronger one."""
        return self.page.looker.may(role)


def done_url(path: str, done: str, **query: str) -> str:
    """Return the address of a page that says what was done."""
    return f"{path}?{urlencode({**query, 'done': done})}"


def framed(template: str, frame: Frame, tab: str, **context: object) -> str:
    """Return a page of the settings."""
    tabs = frame.tabs()
    return render(
        f"settings/{template}.html",
        looker=frame.page.looker,
        now_ms=frame.page.now_ms,
        self_url=frame.page.self_url,
        tabs=tabs,
        tabs_names=[one.name for found in tabs.values() for one in found],
        tab=next(one for one in TABS if one.name == tab),
        done=DONE.get(frame.done, ""),
        problem=frame.problem,
        hint=frame.hint,
        **context,
    )
