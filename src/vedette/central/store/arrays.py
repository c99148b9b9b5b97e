"""Columns of values as PostgreSQL array literals: what `unnest(%(x)s::text[])` takes. Pure.

The driver writes an array element by element in Python; here a column is one string, joined in C.
Queries cast each of them, as they must anyway.
"""

from collections.abc import Iterable, Sequence


def integers(values: Iterable[int | None]) -> str:
    """Return an array of whole numbers, for `::bigint[]`."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def texts(values: Sequence[str]) -> str:
    """Return an array of texts, for `::text[]`; any text but one with NUL comes back as it was."""
    if not values:
        return "{}"
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        joined = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return '{"' + joined + '"}'


def columns(rows: Iterable[Sequence[str | int]], *names: str) -> dict[str, object]:
    """Return rows as one array per column; a column is all texts or all whole numbers."""
    listed = list(rows)
    found = zip(*listed, strict=True) if listed else ([] for _ in names)
    return {name: _array(column) for name, column in zip(names, found, strict=True)}


def _array(column: Sequence[object]) -> str:
    whole = [value for value in column if isinstance(value, int)]
    if len(whole) == len(column):
        return integers(whole)
    return texts([str(value) for value in column])
