"""The menu: which pages there are, for whom, and under which key.

The rule: no page stands in the menu before it shows something; the palette and the keys offer the
same pages.
"""

from typing import Final

import msgspec

from vedette.central.accounts import ROLES

_RANKS: Final = {role: rank for rank, role in enumerate(ROLES)}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the menu; `section` is what its templates call themselves."""

    section: str
    title: str
    href: str
    key: str = ""
    least: str = "viewer"


ENTRIES: Final = (
    Entry(section="fleet", title="Fleet", href="/", key="g"),
    Entry(section="incidents", title="Incidents", href="/incidents", key="i"),
    Entry(section="business", title="Business", href="/business", key="b"),
    Entry(section="events", title="Events", href="/events", key="e"),
    Entry(section="rollouts", title="Rollouts", href="/rollouts", key="r"),
    Entry(section="models", title="Models", href="/models", key="m"),
    Entry(section="review", title="Review", href="/review", key="v", least="reviewer"),
    Entry(section="settings", title="Settings", href="/settings", key="s"),
)


def entries(role: str) -> list[Entry]:
    """Return the menu for a role."""
    return [entry for entry in ENTRIES if _RANKS.get(role, -1) >= _RANKS[entry.least]]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do that the palette offers: where its form is.

    Attributes:
        whole: Only for those who see the whole fleet.
    """

    title: str
    href: str
    least: str = "viewer"
    whole: bool = False


ACTIONS: Final[tuple[Action, ...]] = (
    Action(title="Show what is wrong", href="/?state=trouble"),
    Action(title="Show covered lenses", href="/?cause=Covered"),
    Action(title="Show devices throttled in the last 7 days", href="/?cause=throttled-7d"),
    Action(title="Show the fleet as a grid", href="/?view=grid"),
    Action(title="Show incidents that are not over", href="/incidents"),
    Action(title="Silences and planned work", href="/silences"),
    Action(title="Keep something quiet", href="/silences#new", least="operator"),
    Action(title="Rules: what is worth an incident", href="/rules", least="operator"),
    Action(title="Ladders: who is told", href="/ladders", least="operator", whole=True),
    Action(title="On call: who is, who takes over", href="/oncall", least="operator", whole=True),
    Action(title="Channels: where notices go", href="/channels", least="operator", whole=True),
    Action(title="Exports: what other systems get", href="/exports", least="operator", whole=True),
    Action(title="Deliveries: what was sent", href="/deliveries", least="operator"),
    Action(title="Show held events", href="/holds"),
    Action(title="Show rollouts under way", href="/rollouts?state=open"),
)
"""What screens offer from everywhere. What is done on the page that is open needs no entry here:
an element with `data-action="…"` is offered on its own page."""


SETTINGS: Final[tuple[Action, ...]] = (
    Action(title="Account", href="/settings/account"),
    Action(title="Sessions", href="/settings/sessions"),
    Action(title="API tokens", href="/settings/tokens"),
    Action(title="Users", href="/settings/users", least="admin"),
    Action(title="Sites", href="/settings/sites", least="operator"),
    Action(title="Folders", href="/settings/folders", least="operator"),
    Action(title="Groups", href="/settings/groups", least="operator"),
    Action(title="Claims", href="/settings/claims", least="admin"),
    Action(title="Health", href="/settings/health", least="admin"),
    Action(title="Retention", href="/settings/retention", least="admin"),
    Action(title="Audit log", href="/settings/audit", least="admin"),
)
"""The pages of the settings; who may not open one is told so there."""


def offered(role: str, *, whole: bool = True) -> list[tuple[str, str, str]]:
    """Return what the palette offers a role from everywhere: text, kind, address."""
    rank = _RANKS.get(role, -1)
    pages = [(entry.title, "page", entry.href) for entry in entries(role)]
    pages += [(f"Settings: {a.title}", "page", a.href) for a in SETTINGS if rank >= _RANKS[a.least]]
    acts = [a for a in ACTIONS if rank >= _RANKS[a.least] and (whole or not a.whole)]
    return pages + [(a.title, "action", a.href) for a in acts]
