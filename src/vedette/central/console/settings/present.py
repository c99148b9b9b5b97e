"""What the settings know in, pages out. Pure: no request, no database, no clock."""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.central import accounts
from vedette.central.accounts import ROLES
from vedette.central.alerting.facts import Contact, Severity
from vedette.central.console.settings.agents import agent_words
from vedette.central.console.settings.frame import Frame, framed
from vedette.central.console.settings.quiet import QuietForm
from vedette.central.people import MAX_SHOWN, Held, Person

ROLE_WORDS: Final = {
    "viewer": "looks at everything in their scope, changes nothing",
    "reviewer": "also judges what was detected",
    "operator": "also acts on sites, devices and cameras",
    "admin": "also decides who may do what, and how the fleet is organised",
}


_PARTS_SHOWN: Final = 3


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is shown this once: `what` it is, the `text`, and how it is used."""

    what: str
    text: str
    use: str = ""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may see."""

    sites: list[str] | None
    folders: list[str]

    @property
    def parts(self) -> list[str]:
        """Return the folders and sites."""
        return [f"{folder}/**" for folder in self.folders] + (self.sites or [])

    @property
    def words(self) -> str:
        """Return it in words, cut to what fits into a line."""
        if self.sites is None:
            return "everything"
        more = len(self.parts) - _PARTS_SHOWN
        shown = ", ".join(self.parts[:_PARTS_SHOWN])
        return f"{shown} and {more} more" if more > 0 else shown or "nothing"

    @property
    def whole(self) -> str:
        """Return all of it, for whoever points at it."""
        return "everything" if self.sites is None else "\n".join(self.parts[:200])


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a form about a user holds; shown again where it was refused."""

    username: str = ""
    role: str = "viewer"
    everything: bool = False
    folders: str = ""
    sites: str = ""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody is reached, when not, and by which channels they could be."""

    contacts: list[Contact] = []
    quiet: list[QuietForm] = []
    channels: list[str] = []
    zones: list[str] = []
    problems: list[str] = []


def account_html(
    frame: Frame,
    scope: Scope,
    ends_ms: int,
    *,
    has_password: bool,
    reached: Reached,
) -> str:
    """Return the page of one's own account."""
    return framed(
        "account",
        frame,
        "account",
        scope=scope,
        ends_ms=ends_ms,
        has_password=has_password,
        reached=reached,
        severities=list(Severity),
        min_chars=accounts.MIN_PASSWORD_CHARS,
    )


def sessions_html(frame: Frame, rows: Sequence[Held], mine: str, *, everybody: bool) -> str:
    """Return the page of sessions; `mine` names the one that asks."""
    return framed(
        "sessions",
        frame,
        "sessions",
        rows=rows,
        mine=mine,
        everybody=everybody,
        agents={row.token: agent_words(row.agent) for row in rows},
        others=sum(
            row.username == frame.page.looker.username and row.token != mine for row in rows
        ),
        cut_at=MAX_SHOWN if len(rows) >= MAX_SHOWN else 0,
    )


def tokens_html(
    frame: Frame, rows: Sequence[Held], *, everybody: bool, fresh: Secret | None = None
) -> str:
    """Return the page of API tokens; `fresh` is shown this once."""
    return framed(
        "tokens",
        frame,
        "tokens",
        rows=rows,
        everybody=everybody,
        fresh=fresh,
        list_url="/settings/tokens?of=all" if everybody else "/settings/tokens",
        cut_at=MAX_SHOWN if len(rows) >= MAX_SHOWN else 0,
    )


def users_html(
    frame: Frame, people: Sequence[Person], form: Form, fresh: Secret | None = None
) -> str:
    """Return the page of users with the form for a new one."""
    return framed(
        "users",
        frame,
        "users",
        people=people,
        scopes={one.username: _scope(one) for one in people},
        signs_in=signs_in,
        form=form,
        fresh=fresh,
        roles={role: ROLE_WORDS[role] for role in ROLES},
    )


def user_html(
    frame: Frame,
    person: Person,
    held: Sequence[Held],
    form: Form | None = None,
    fresh: Secret | None = None,
) -> str:
    """Return the page of one user."""
    return framed(
        "user",
        frame,
        "users",
        person=person,
        scope=_scope(person),
        signs_in=signs_in,
        held=held,
        agents={row.token: agent_words(row.agent) for row in held},
        form=form or form_of(person),
        fresh=fresh,
        is_me=person.username == frame.page.looker.username,
        roles={role: ROLE_WORDS[role] for role in ROLES},
    )


def signs_in(person: Person) -> str:
    """Return in words how somebody comes in."""
    if person.issuer:
        return "identity provider"
    if person.has_password:
        return "password"
    return "one-time link" if person.link_until_ms else "no password yet"


def form_of(person: Person) -> Form:
    """Return the form as it stands for a user."""
    return Form(
        username=person.username,
        role=person.role,
        everything=person.sites is None,
        folders="\n".join(person.folders),
        sites="\n".join(person.sites or []),
    )


def _scope(person: Person) -> Scope:
    return Scope(sites=person.sites, folders=person.folders)
