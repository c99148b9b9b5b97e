"""Named queries, kept in `.sql` files so that SQL reads as SQL.

A file holds queries one after another; each starts with `-- name: what_it_is` followed by a
comment line that says in words what it returns. Names are unique over all files.
"""

import re
from functools import cache
from importlib import resources
from typing import Final

from vedette.errors import StoreError

_PARAMETER: Final = re.compile(r"(?<!%)%\(([a-z0-9_]+)\)[sb]")
_NAME: Final = re.compile(r"^-- name: ([a-z0-9_]+)\s*\n-- (.+)$", re.MULTILINE)


def parse(text: str) -> dict[str, tuple[str, str]]:
    """Return `{name: (description, sql)}` of one file's text."""
    found: dict[str, tuple[str, str]] = {}
    heads = list(_NAME.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        end = following.start() if following else len(text)
        if head[1] in found:
            raise StoreError(f"two queries are named {head[1]}")
        found[head[1]] = (head[2].strip(), text[head.end() : end].strip())
    return found


@cache
def load() -> dict[str, tuple[str, str]]:
    """Return every query of the package, `{name: (description, sql)}`."""
    queries: dict[str, tuple[str, str]] = {}
    folder = resources.files("vedette.central.store") / "queries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        for name, query in parse(file.read_text(encoding="utf-8")).items():
            if name in queries:
                raise StoreError(f"two queries are named {name}")
            queries[name] = query
    return queries


@cache
def call(name: str) -> tuple[bytes, tuple[str, ...]]:
    """Return one query with its parameters by number, and their names in that order.

    Found out once per query here; the driver would look through a long one at each use.

    Raises:
        StoreError: No such query.
    """
    try:
        text = load()[name][1]
    except KeyError:
        raise StoreError(f"no query is named {name!r}") from None
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    text = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text)
    return text.replace("%%", "%").encode(), names
