"""Sites, folders, groups and claims in, their settings pages out.

Pure: no request, no database, no clock.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from vedette.central import hours
from vedette.central.console.settings import week
from vedette.central.console.settings.frame import Frame, framed
from vedette.central.console.settings.present import Secret
from vedette.central.console.settings.week import HoursForm
from vedette.central.enrolment import Claim, Site
from vedette.central.tree import Folder, Group, Moved, SitePlace

Step = Literal["done", "next", "later"]


class SiteLine(msgspec.Struct, frozen=True, kw_only=True):
    """A site in the list."""

    place: SitePlace
    has_hours: bool
    is_open: bool
    next_change_ms: int | None


class NewSite(msgspec.Struct, frozen=True, kw_only=True):
    """What the form for a new site holds."""

    site: str = ""
    name: str = ""
    folder: str = ""
    time_zone: str = "UTC"
    keys: str = ""
    threshold: str = "1"


class SitePage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of one site knows.

    Attributes:
        devices: Names of those that are enrolled.
        claims: Those that can still be used.
    """

    place: SitePlace
    site: Site
    devices: list[str]
    claims: list[Claim]


def line_of(place: SitePlace, now_ms: int) -> SiteLine:
    """Return a site as the list shows it."""
    opening, zone = place.opening(), hours.zone_of(place.time_zone)
    return SiteLine(
        place=place,
        has_hours=opening is not None,
        is_open=hours.is_open(opening, zone, now_ms),
        next_change_ms=hours.next_change_ms(opening, zone, now_ms),
    )


def opening_words(line: SiteLine) -> str:
    """Return whether a site is open now, and until when, by its own clock."""
    if not line.has_hours:
        return "always open"
    word = "open" if line.is_open else "closed"
    if line.next_change_ms is None:
        return word
    zone = hours.zone_of(line.place.time_zone)
    at = datetime.fromtimestamp(line.next_change_ms / 1000, zone)
    return f"{word} until {at:%a %H:%M}"


def sites_html(
    frame: Frame,
    lines: Sequence[SiteLine],
    q: str,
    form: NewSite,
    *,
    total: int,
    folders: Sequence[str],
    zones: Sequence[str],
) -> str:
    """Return the list of sites with the form for a new one."""
    return framed(
        "sites",
        frame,
        "sites",
        lines=lines,
        opening=opening_words,
        q=q,
        total=total,
        form=form,
        folders=folders,
        zones=zones,
        may_add=frame.may("admin"),
    )


def steps(known: SitePage) -> list[tuple[str, Step]]:
    """Return what a site still needs, in order: a key, a claim, a device, a policy."""
    has = [
        ("key", bool(known.site.site_keys)),
        ("claim", bool(known.claims or known.devices)),
        ("device", bool(known.devices)),
        ("policy", known.site.policy_version > 0),
    ]
    found: list[tuple[str, Step]] = []
    for name, done in has:
        is_next = not done and all(step == "done" for _, step in found)
        found.append((name, "done" if done else "next" if is_next else "later"))
    return found


def site_html(
    frame: Frame,
    known: SitePage,
    *,
    folders: Sequence[str] = (),
    zones: Sequence[str] = (),
    hours_form: HoursForm | None = None,
    fresh: Secret | None = None,
) -> str:
    """Return the page of one site's settings."""
    opening = known.place.opening()
    form = hours_form or week.form_of(opening)
    zone = hours.zone_of(known.place.time_zone)
    now_ms = frame.page.now_ms
    return framed(
        "site",
        frame,
        "sites",
        known=known,
        opening=opening_words,
        line=line_of(known.place, now_ms),
        steps=steps(known),
        is_whole=all(step == "done" for _, step in steps(known)),
        folders=folders,
        zones=zones,
        hours_form=form,
        week=week.rows(form, opening),
        ahead=week.ahead(opening, zone, now_ms),
        fresh=fresh,
        may_admin=frame.may("admin"),
    )


def folders_html(
    frame: Frame,
    folders: Sequence[Folder],
    moved: Moved | None = None,
    *,
    old: str = "",
    new: str = "",
) -> str:
    """Return the tree of folders with the forms that change it."""
    return framed(
        "folders",
        frame,
        "folders",
        folders=[one for one in folders if one.folder],
        top=next((one for one in folders if not one.folder), None),
        moved=moved,
        old=old,
        new=new,
        may_admin=frame.may("admin"),
    )


def groups_html(
    frame: Frame,
    groups: Sequence[Group],
    counts: Mapping[str, int],
    form: tuple[str, str, str] = ("", "", ""),
) -> str:
    """Return the groups; `form` is name, selection and note as they were typed."""
    return framed(
        "groups",
        frame,
        "groups",
        groups=groups,
        counts=counts,
        form=form,
        may_change=frame.may("admin") and frame.whole,
    )


def claims_html(
    frame: Frame,
    claims: Sequence[Claim],
    sites: Sequence[str],
    *,
    used: bool,
    fresh: Secret | None = None,
    form: tuple[str, str] = ("", ""),
) -> str:
    """Return the claims; `form` is site and device as they were typed."""
    return framed(
        "claims",
        frame,
        "claims",
        claims=claims,
        sites=sites,
        used=used,
        fresh=fresh,
        form=form,
    )
