"""Columns of values as PostgreSQL array literals: what `unnest(%(x)s::text[])` takes. Pure.

The driver writes an array element by element in Python; here a column is one string, joined in C.
Queries cast each of them, as they must anyway.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

_WORDS = {None: "NULL", True: "t", False: "f"}


def column(values: Iterable[object]) -> str:
    """Return an array of texts, numbers, truths or nothing, for a cast to what they are."""
    listed = list(values)
    kinds = set(map(type, listed))
    if kinds <= {int}:
        return "{" + ",".join(map(str, listed)) + "}"
    if kinds <= {str}:
        return _texts(listed)  # type: ignore[arg-type] - all of them are
    return "{" + ",".join([_one(value) for value in listed]) + "}"


def columns(rows: Iterable[Sequence[object]], *names: str) -> dict[str, object]:
    """Return rows as one array per column."""
    listed = list(rows)
    found = zip(*listed, strict=True) if listed else ([] for _ in names)
    return {name: column(values) for name, values in zip(names, found, strict=True)}


def blob(values: Iterable[bytes]) -> tuple[bytes, str, str]:
    """Return values as one, with arrays of where each begins (from 1 on) and how long it is."""
    listed = list(values)
    sizes = list(map(len, listed))
    starts = list(accumulate(sizes[:-1], initial=1)) if sizes else []
    return b"".join(listed), column(starts), column(sizes)


def _texts(values: Sequence[str]) -> str:
    """Return an array of texts; any text but one with NUL comes back as it was."""
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        joined = '","'.join([_escaped(value) for value in values])
    return '{"' + joined + '"}'


def _one(value: object) -> str:
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    return f'"{_escaped(value)}"' if isinstance(value, str) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
