"""Rules by place: a site's own, then its folder's, the nearest first, then everybody's. Pure.

A place is written `site:lisbon-3`, `folder:europe/portugal`, or nothing for everywhere.
"""

from collections.abc import Mapping
from typing import TypeVar

from vedette.central import selection
from vedette.errors import ConfigError
from vedette.ids import is_slug

T = TypeVar("T")


def check(place: str) -> str:
    """Return a place that can be.

    Raises:
        ConfigError: Neither a site, a folder nor everywhere.
    """
    kind, colon, name = place.partition(":")
    if not place:
        return place
    if colon and kind == "site" and is_slug(name):
        return place
    if colon and kind == "folder" and selection.check_folder(name):
        return place
    raise ConfigError(
        f"{place[:80]!r} is no place", operator_hint="site:NAME, folder:PATH, or empty: everywhere"
    )


def nearest(rules: Mapping[str, T], site: str, folder: str) -> tuple[str, T] | None:
    """Return `(place, rule)` that holds for a site; None where no rule does."""
    steps = folder.split("/") if folder else []
    tried = [f"site:{site}"]
    tried += [f"folder:{'/'.join(steps[:end])}" for end in range(len(steps), 0, -1)]
    return next(((place, rules[place]) for place in [*tried, ""] if place in rules), None)
