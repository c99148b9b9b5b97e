"""What a browser calls itself, in words: enough to know one's own again. Pure.

The rule: it is what a visitor wrote and nothing more; what is not known is said to be unknown.
"""

import re
from typing import Final

_BROWSERS: Final = (
    ("Edge", re.compile(r"\bEdgA?(?:iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS|Chromium)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)[^ ]* (?:Mobile/\S+ )?Safari/")),
)
"""In this order: each of the later names itself beside an earlier one."""

_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_PROGRAM: Final = re.compile(r"([A-Za-z][\w.-]{0,30})/(\d[\w.]{0,15})")


def agent_words(agent: str) -> str:
    """Return `Firefox 131 on Linux`, the name of a program, or `unknown`."""
    browser = next(
        (f"{name} {found[1]}" for name, shape in _BROWSERS if (found := shape.search(agent))), ""
    )
    if not browser:
        program = _PROGRAM.match(agent)
        return f"{program[1]} {program[2]}" if program and program[1] != "Mozilla" else "unknown"
    system = next((word for mark, word in _SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if system else browser
