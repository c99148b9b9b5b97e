"""Text from elsewhere, made harmless for a terminal.

A model's card, a camera's error, a package's facts: whoever wrote them may have put in escape codes
that steer a terminal, or brackets that Rich takes for markup and stumbles over. The rule: what this
program did not write itself goes through here before it is printed.
"""

from rich.markup import escape as escape_markup
from rich.table import Table


def clean(text: str) -> str:
    """Return text in which nothing steers a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def escape(text: str) -> str:
    """Return text for Rich's markup: printed as it stands, and steering nothing."""
    return escape_markup(clean(text))


def add_row(table: Table, *cells: str) -> None:
    """Add a row of plain text, whatever is in it."""
    table.add_row(*map(escape, cells))
