"""Where things are, as rules and silences ask for it: sites, folders, groups, opening hours.

Here: the pure answer to "does this place lie where that holds", the check that such a place can be
at all, and reading what it needs of the sites that are asked about. Not here: what is matched
(`matching`), whom a silence silences.

The rule: all that a `Where` gives has to hold, and a word that a subject has nothing of never does:
a rule for one device does not speak of a whole site.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from vedette.central import hours, selection, tree
from vedette.central.alerting.facts import Subject, Where
from vedette.central.hours import Hours
from vedette.central.selection_index import Index
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import is_slug

MAX_NAMES: Final = 200
"""In each list of places that a silence or an export names."""

_EVERYWHERE: Final = Where()
_CAMERAS: Final = re.compile(r"(?:[a-z0-9._*?-]{1,64}/)?[a-z0-9._*?-]{1,64}")
_NAME_HINT: Final = "the name as in central: 1 to 64 of a-z 0-9 . _ -"


class Impossible(ConfigError):
    """What is asked for is understood, and nothing can ever be so."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site as far as rules ask; `opening` None: no hours were set."""

    site: str
    name: str = ""
    folder: str = ""
    time_zone: str = "UTC"
    opening: Hours | None = None

    def zone(self) -> ZoneInfo:
        """Return its time zone; UTC where the name is not known any more."""
        try:
            return hours.zone_of(self.time_zone)
        except ConfigError:
            return ZoneInfo("UTC")


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of operators means, at each level."""

    sites: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    cameras: frozenset[tuple[str, str]] = frozenset()

    def has(self, subject: Subject) -> bool:
        """True where the group means this subject, by the smallest thing that it is."""
        if subject.camera:
            return (subject.device, subject.camera) in self.cameras
        return subject.device in self.devices if subject.device else subject.site in self.sites


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Sites by name and groups by name: as many as were asked for."""

    sites: dict[str, Site] = {}
    groups: dict[str, Members] = {}

    def hours_hold(self, wanted: str, site: str, at_ms: int) -> bool:
        """True where `always`, `open` or `closed` is so at a site; without hours neither is."""
        if wanted == "always":
            return True
        place = self.sites.get(site)
        if place is None or place.opening is None:
            return False
        return hours.is_open(place.opening, place.zone(), at_ms) == (wanted == "open")


def holds(where: Where, subject: Subject, places: Places) -> bool:
    """True where a subject lies in `where`."""
    if where == _EVERYWHERE:
        return True
    if where.sites and subject.site not in where.sites:
        return False
    if where.devices and subject.device not in where.devices:
        return False
    if where.folders:
        place = places.sites.get(subject.site)
        if place is None or not any(selection.is_in(place.folder, one) for one in where.folders):
            return False
    if where.cameras and not _is_camera(where.cameras, subject):
        return False
    return not where.groups or any(
        name in places.groups and places.groups[name].has(subject) for name in where.groups
    )


def check(where: Where) -> Where:
    """Return places that can be; the top folder, which has no name, is one of them.

    What is refused could hold nowhere, so that whatever asks for it would never say a word.

    Raises:
        Impossible: One of them cannot be; the message says which, the hint what to write instead.
    """
    lists = msgspec.structs.asdict(where)
    for of, names in lists.items():
        if len(names) > MAX_NAMES:
            raise Impossible(
                f"{len(names)} {of}; at most {MAX_NAMES}", operator_hint="use folders or a group"
            )
    for of in ("sites", "groups", "devices"):
        for name in lists[of]:
            if not is_slug(name):
                raise Impossible(f"{name[:80]!r} cannot be a {of[:-1]}", operator_hint=_NAME_HINT)
    for folder in where.folders:
        try:
            selection.check_folder(folder)
        except ConfigError as error:
            raise Impossible(str(error), operator_hint=error.operator_hint) from error
    for pattern in where.cameras:
        if _CAMERAS.fullmatch(pattern) is None:
            raise Impossible(
                f"{pattern[:80]!r} cannot be a camera",
                operator_hint="a camera's name, with * and ?, or device/camera: a-z 0-9 . _ -",
            )
    return where


def _is_camera(patterns: Iterable[str], subject: Subject) -> bool:
    if not subject.camera:
        return False
    whole = f"{subject.device}/{subject.camera}"
    return any(fits(one, whole if "/" in one else subject.camera) for one in patterns)


def fits(pattern: str, name: str) -> bool:
    """True where `name` is `pattern`, in which `*` is any text and `?` one character.

    The last `*` alone is tried again, so that no pattern makes it slow: lengths multiply at worst.
    """
    at, back, mark = 0, -1, 0
    n = 0
    while n < len(name):
        if at < len(pattern) and pattern[at] == "*":
            back, mark = at, n
            at += 1
        elif at < len(pattern) and pattern[at] in {"?", name[n]}:
            at, n = at + 1, n + 1
        elif back >= 0:
            mark += 1
            at, n = back + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


async def read(tx: Tx, sites: Collection[str] | None, groups: Collection[str] = ()) -> Places:
    """Return these sites (None: all) and, of the groups that are named, their members there.

    A group that is not there any more has no members.
    """
    listed = None if sites is None else list(sites)
    found = {
        one.site: Site(
            site=one.site,
            name=one.name,
            folder=one.folder,
            time_zone=one.time_zone,
            opening=one.opening(),
        )
        for one in await tree.sites(tx, listed)
    }
    return Places(sites=found, groups=await _members(tx, listed, groups))


async def _members(tx: Tx, sites: list[str] | None, groups: Collection[str]) -> dict[str, Members]:
    if not groups:
        return {}
    words = {name: group.expression for name, group in (await tree.groups(tx, None)).items()}
    at_site = Index(await tree.subjects(tx, "site", sites))
    at_device = Index(await tree.subjects(tx, "device", sites))
    at_camera = Index(await tree.subjects(tx, "camera", sites))
    found: dict[str, Members] = {}
    for name in groups:
        if name not in words:
            continue
        node = selection.resolve_groups(selection.parse(words[name]), words)
        found[name] = Members(
            sites=frozenset(one.site for one in at_site.found(node)),
            devices=frozenset(one.device for one in at_device.found(node)),
            cameras=frozenset((one.device, one.camera) for one in at_camera.found(node)),
        )
    return found
