"""What a check of the doctor says: a value, never an exception."""

import enum
from collections.abc import Iterable

import msgspec


class Verdict(enum.StrEnum):
    """How a checked thing is."""

    OK = "ok"
    UNKNOWN = "unknown"  # could not be checked: not fine
    WARNING = "warning"  # works, but not as well as it should
    FAILED = "failed"  # does not work


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was checked.

    Attributes:
        about: What: a camera's id, or a part of the machine.
        check: Which check.
        verdict: How it is.
        detail: What was measured or seen, in words, without credentials.
        advice: What a person should do; empty where nothing.
    """

    about: str
    check: str
    verdict: Verdict
    detail: str = ""
    advice: str = ""


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the worst verdict; unknown where nothing was checked."""
    order = list(Verdict)
    return max((f.verdict for f in findings), key=order.index, default=Verdict.UNKNOWN)
