"""How many of what, as people say it: `1 camera`, `1,204 cameras`. Pure.

What lives here: a count with its word. What does not: other numbers and times (`console.text`).
"""


def counted(count: float, one: str, many: str = "") -> str:
    """Return a count with its word: `1 camera`, `0 cameras`, `1,204 cameras`.

    Args:
        count: Shown as a whole number.
        one: The word for a single one.
        many: The word for any other count; empty: `one` with an s.
    """
    whole = round(count)
    return f"{whole:,} {one if whole == 1 else many or one + 's'}"
