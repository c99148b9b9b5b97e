"""What to say at the terminal where a selection means nothing: is there such a site at all?

The rule: only where nothing was found. A selection may name a site that is no more beside others.
"""

import difflib
from collections.abc import Mapping
from typing import Final

from vedette.central import selection, tree
from vedette.central.store.db import Tx
from vedette.errors import ConfigError

_NEAR: Final = 3


async def must_name_sites(tx: Tx, expression: str) -> None:
    """Raise where a selection that found nothing names a site that is not there.

    Raises:
        ConfigError: There is no such site; the hint has those that are called nearly so.
    """
    named = [one for one in selection.named(selection.parse(expression), "site") if "*" not in one]
    if not named:
        return
    names = {place.site: place.name for place in await tree.sites(tx, None)}
    for one in named:
        if one.lower() not in names:
            close = near(one, names)
            advice = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise ConfigError(
                f"there is no site {one[:40]!r}",
                operator_hint=f"{advice}`vedette central site list` has them all",
            )


def near(wanted: str, names: Mapping[str, str]) -> list[str]:
    """Return the sites of `names` (by identifier) that are called so, or nearly so."""
    by_text = {text.lower(): site for site, name in names.items() for text in (name, site) if text}
    found = difflib.get_close_matches(wanted.lower(), by_text, n=_NEAR)
    return list(dict.fromkeys(by_text[text] for text in found))
