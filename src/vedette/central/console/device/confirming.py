"""What an administrator can do with a device, said before it is done. Pure.

The rule: the page of an action says what it does, what it cannot take back, and what is left to do;
nothing happens before its form is posted.
"""

from typing import Final

import msgspec

from vedette.central.condition.reading import Machine
from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.console.urls import device_url
from vedette.central.quarantine import Suspect


class Action(msgspec.Struct, frozen=True):
    """An action: its title, what it does, and what its button says."""

    title: str
    about: str
    button: str


ACTIONS: Final[dict[str, Action]] = {
    "release": Action(
        "Release it from quarantine",
        "It counts again from now on, and what was set aside is counted too: of the copy that you "
        "choose, or of all. Stop the other copy first: two that still live are found again within "
        "minutes. What is counted cannot be taken back.",
        "Release it",
    ),
    "drop": Action(
        "Drop what was set aside",
        "Every message that was set aside is forgotten, for good. The quarantine goes on.",
        "Drop it",
    ),
    "revoke": Action(
        "Revoke it",
        "Central takes nothing from it any more, at once and everywhere; what it sent stays. It "
        "held a key of its own and camera passwords: change those. Undo it by replacing it.",
        "Revoke it",
    ),
    "rotate-key": Action(
        "Ask it for another key",
        "At its next contact it makes itself a fresh key; from the first use of that one on, the "
        "old key never speaks again. Nothing is lost, and nobody has to go there.",
        "Ask for another key",
    ),
    "replace": Action(
        "Give its name to another machine",
        "Its present key is worth nothing from now on, and you get a claim token, shown once, with "
        "which another machine takes the name over, with all its history.",
        "End its key and make a claim token",
    ),
}


class Confirm(msgspec.Struct, frozen=True, kw_only=True):
    """An action before it is done; `token` after one was made."""

    machine: Machine
    action: str
    suspect: Suspect | None = None
    problem: str = ""
    token: str = ""


def actions_of(machine: Machine) -> list[tuple[str, str]]:
    """Return the actions that make sense for a device as it is, as name and title."""
    wanted = ["replace"] if machine.revoked_ms else ["rotate-key", "replace", "revoke"]
    if machine.quarantined_ms or machine.set_aside_bytes:
        wanted = ["release", "drop", *wanted]
    return [(name, ACTIONS[name].title) for name in wanted]


def confirm_html(asked: Confirm, page: Page) -> str:
    """Return the page that says what an action does, with the form that does it."""
    evidence = asked.suspect.evidence if asked.suspect else None
    return render(
        "device/confirm.html",
        looker=page.looker,
        now_ms=page.now_ms,
        base_url=device_url(asked.machine.site, asked.machine.device),
        asked=asked,
        machine=asked.machine,
        action=ACTIONS[asked.action],
        copies=evidence.copies if evidence else [],
        aside=asked.suspect.set_aside if asked.suspect else [],
    )
