"""The slots of a device that something can be installed into, and how far that is.

A slot is a name that stays while what is in it changes: a model by the name that cameras use, `app`
for the program, `system` for the operating system, `config` for the configuration.
"""

import enum

import msgspec

from vedette.wire.numbers import Count, Finite


class ArtefactKind(enum.StrEnum):
    """What can be rolled out. Each has a TUF role of its own of this name, with a folder."""

    MODEL = "models"
    CONFIG = "config"
    APP = "app"
    SYSTEM = "system"


class UpdateState(enum.StrEnum):
    """Where a device is with one assigned artefact. `LOST` and `SKIPPED` are central's words."""

    ASSIGNED = "assigned"
    DOWNLOADED = "downloaded"
    VERIFIED = "verified"
    WAITING_WINDOW = "waiting_window"
    ACTIVATING = "activating"
    PROBATION = "probation"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"  # it was tried, or refused, and what was before runs
    SHADOWING = "shadowing"
    LOST = "lost"
    SKIPPED = "skipped"


class UpdateHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One slot in the health report.

    Attributes:
        digest: Of what was assigned.
        running: Digest of what runs in the slot now, as the process that runs it says.
        previous: Digest of what stays installed to go back to; empty: none.
        problem: Why it does not get on, or why it went back; in words.
        load_s: Loading and golden frames, of the one that runs.
        saved_bytes: Of the file, that did not have to come because a difference was enough.
    """

    slot: str
    kind: ArtefactKind
    rollout: str = ""
    attempt: Count = 0
    state: UpdateState | None = None
    since_ms: Count | None = None
    digest: str = ""
    running: str = ""
    previous: str = ""
    bytes_done: Count = 0
    bytes: Count = 0
    problem: str = ""
    load_s: Finite | None = None
    golden_ok: bool | None = None
    saved_bytes: Count = 0
