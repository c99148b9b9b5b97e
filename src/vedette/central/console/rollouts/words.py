"""What states of rollouts, devices and gates are called, and how they look.

State is shape + word + colour, as everywhere. The rule: only what is proved is green; what has not
enough evidence is hatched, and what waits has the colour of waiting.
"""

from typing import Final

import msgspec

from vedette.central.rollouts.facts import RolloutState, Verdict
from vedette.wire.slots import UpdateState


class Word(msgspec.Struct, frozen=True):
    """What something is called, its shape, the class of its colour, and what it means."""

    word: str
    shape: str
    css: str
    meaning: str


ROLLOUTS: Final[dict[str, Word]] = {
    RolloutState.ROLLING_BACK: Word(
        "rolling back", "back", "tampered", "devices go back to what they ran before"
    ),
    RolloutState.INCONCLUSIVE: Word(
        "inconclusive", "question", "hatched", "the time is over and the evidence does not suffice"
    ),
    RolloutState.STOPPED: Word(
        "stopped", "cross", "down", "nothing more is assigned; what was taken up stays"
    ),
    RolloutState.PAUSED: Word("paused", "pause", "off", "nothing more is assigned until resumed"),
    RolloutState.SHADOW: Word(
        "shadow", "half", "pending", "the candidate runs beside the old one, without consequences"
    ),
    RolloutState.CANARY: Word("canary", "clock", "pending", "the first devices run it"),
    RolloutState.PILOT: Word("pilot", "clock", "pending", "a small part of the fleet runs it"),
    RolloutState.WAVE: Word("wave", "clock", "pending", "it goes out to the rest, in parts"),
    RolloutState.APPROVED: Word(
        "approved", "lock", "pending", "signed by the offline keys; it waits to be started"
    ),
    RolloutState.GATED: Word(
        "gates passed", "half", "off", "it waits for an approval of the offline keys"
    ),
    RolloutState.DRAFT: Word("draft", "question", "off", "its artefact has not passed its gates"),
    RolloutState.ROLLED_BACK: Word(
        "rolled back", "back", "tampered", "every device that can be reached runs the old one again"
    ),
    RolloutState.SUPERSEDED: Word(
        "superseded", "pause", "off", "a later rollout of the same slot took its place"
    ),
    RolloutState.DONE: Word("done", "disc", "ok", "every stage passed its gates"),
}
"""What needs a person first."""

UNDER_WAY: Final = frozenset(
    {
        RolloutState.SHADOW,
        RolloutState.CANARY,
        RolloutState.PILOT,
        RolloutState.WAVE,
        RolloutState.PAUSED,
        RolloutState.INCONCLUSIVE,
        RolloutState.ROLLING_BACK,
    }
)

NOTHING_YET: Final = ""
"""Instead of a device's state: nothing was assigned to it so far."""

DEVICES: Final[dict[str, Word]] = {
    UpdateState.LOST: Word(
        "lost", "moon", "dark", "silent since it was told to change over; counts as a failure"
    ),
    UpdateState.REVERTED: Word(
        "went back", "back", "tampered", "it tried, or refused, and runs the old one"
    ),
    UpdateState.PROBATION: Word(
        "on probation", "clock", "pending", "it runs the new one and has to run it well for a while"
    ),
    UpdateState.ACTIVATING: Word("changing over", "half", "pending", "it loads and tries it"),
    UpdateState.WAITING_WINDOW: Word(
        "waits for its hours", "clock", "off", "it is ready, and waits for its local window"
    ),
    UpdateState.VERIFIED: Word("verified", "half", "off", "signatures and hashes hold"),
    UpdateState.DOWNLOADED: Word("downloaded", "half", "off", "it has all bytes"),
    UpdateState.ASSIGNED: Word("assigned", "half", "off", "it was told"),
    UpdateState.SHADOWING: Word(
        "in shadow", "half", "pending", "it runs it beside the old one, without consequences"
    ),
    UpdateState.SKIPPED: Word("skipped", "pause", "off", "it takes no part any more"),
    UpdateState.CONFIRMED: Word(
        "confirmed", "disc", "ok", "its own report says that it runs the new one, and well"
    ),
    NOTHING_YET: Word("not yet", "pause", "off", "its stage has not come"),
}
"""Worst first."""

FILLS: Final[dict[str, str]] = {
    UpdateState.LOST: "url(#p-dark)",
    UpdateState.REVERTED: "url(#p-tampered)",
    UpdateState.SKIPPED: "url(#p-off)",
}
"""Of those in a bar that are not told by a plain colour: they have a pattern."""

VERDICTS: Final[dict[str, Word]] = {
    Verdict.FAIL: Word("fails", "cross", "down", "it is worse, beyond doubt"),
    Verdict.INCONCLUSIVE: Word(
        "inconclusive", "question", "hatched", "too little to say; never taken for a pass"
    ),
    Verdict.WAIT: Word("not yet", "clock", "pending", "evidence still comes in"),
    Verdict.PASS: Word("passes", "disc", "ok", "the whole interval is on the good side"),
}
"""Worst first."""

GATES: Final[dict[str, tuple[str, str]]] = {
    "hard": ("Failed devices", "crashes in a row, silence, going back, golden frames, heat"),
    "soak": ("Soak", "devices that were confirmed, and observed for long enough"),
    "counts": ("Bad events", "how often, against before: an anytime-valid test"),
    "latency_p95_ms": (
        "Latency, p95",
        "each device against itself before, less the same of controls",
    ),
    "lost": ("Devices lost", "silent for too long after they changed over"),
    "reverted": ("Devices that went back", "by themselves, after they had tried"),
    "crash": ("Crashes", "of the program, since the change"),
    "restart": ("Restarts", "of the video pipeline, since the change"),
    "golden": ("Golden frames", "the bundle's own pictures, on this very hardware"),
    "thermal": ("Heat", "devices that throttle since the change"),
    "budget": ("Latency budget", "frames over it, beyond the share that is allowed"),
    "events": ("Bad events", "how often, against before: an anytime-valid test"),
    "latency": ("Latency, p95", "each device against itself before, less the same of controls"),
    "confidence": ("Mean confidence", "each device against itself before, less that of controls"),
    "detections": ("Detections", "each device against itself before, less that of controls"),
    "shadow": ("Shadow review", "frames on which both models differ, judged by people"),
}
"""Name of a gate → its title, and what it looks at."""

GROUPS: Final[dict[str, str]] = {
    "invariant": "Must never happen",
    "soak": "Long enough, on enough devices",
    "counts": "How often something bad happens",
    "difference": "Before and after, against controls",
    "shadow": "Judged by people",
}

CHOICES: Final = frozenset({"pin", "exclude", "include", "trust"})
"""Orders that are about one device."""

KINDS: Final[dict[str, str]] = {
    "models": "model",
    "config": "configuration",
    "app": "program",
    "system": "system",
}


class Order(msgspec.Struct, frozen=True):
    """What can be ordered: its title, what it does, its button, and whether it is grave."""

    title: str
    about: str
    button: str
    grave: bool = False


ORDERS: Final[dict[str, Order]] = {
    "stop": Order(
        "Stop it",
        "Nothing more is assigned from now on, to anybody. Devices that run the new one keep it; "
        "those that wait for their hours will not change over. It cannot be resumed.",
        "Stop the rollout",
        grave=True,
    ),
    "roll_back": Order(
        "Roll it back",
        "Every device that took it is told at once to go back to what it ran before; that lies on "
        "its disk, so nothing is downloaded. Devices that cannot be reached go back when they can.",
        "Roll back now",
        grave=True,
    ),
    "pause": Order(
        "Pause it",
        "Nothing more is assigned until it is resumed. What runs, runs on, and its soak goes on.",
        "Pause",
    ),
    "resume": Order("Resume it", "It goes on in the stage in which it was.", "Resume"),
    "start": Order(
        "Start it",
        "The first stage begins: the devices that were chosen get it in their local hours.",
        "Start the rollout",
    ),
    "extend": Order(
        "Give it more time",
        "The stage may take longer, and evidence goes on coming in. Nothing else changes.",
        "Extend the stage",
    ),
    "pin": Order(
        "Put a device into the first stage",
        "It belongs to the canaries whatever the choice says.",
        "Pin the device",
    ),
    "exclude": Order(
        "Leave a device out",
        "It takes no part any more. If it runs the new one already, it keeps it.",
        "Leave it out",
    ),
    "include": Order(
        "Let a device take part as any other",
        "It is neither pinned nor left out any more.",
        "Let it take part",
    ),
    "trust": Order(
        "Trust what a device runs",
        "It runs what central does not know, or is ahead of it. You have looked at it, and it may "
        "take part all the same.",
        "Trust it",
    ),
    "accept": Order(
        "Accept the evidence as it is",
        "The stage is inconclusive, and you take it for enough. Your name and your reason stand in "
        "the history for good. Devices that were never observed are accepted by nobody.",
        "Accept it by my name",
        grave=True,
    ),
    "approve": Order(
        "Agree to it",
        "Whoever drafts a rollout cannot let it go alone: a second person looks at the plan and "
        "agrees. The offline keys have to agree too; neither stands for the other.",
        "I agree",
    ),
}
"""Those within reach first."""

QUICK: Final = frozenset({"stop", "roll_back"})
"""What is within reach on every width."""

_UNKNOWN: Final = Word("unknown", "question", "hatched", "this page does not know this word")


def rollout_word(state: str) -> Word:
    """Return what a state of a rollout is called."""
    return ROLLOUTS.get(state, _UNKNOWN)


def device_word(state: str | None) -> Word:
    """Return what a state of a device is called; None: nothing was assigned."""
    return DEVICES.get(state or NOTHING_YET, _UNKNOWN)


def verdict_word(verdict: str) -> Word:
    """Return what a verdict is called."""
    return VERDICTS.get(verdict, _UNKNOWN)


BAR: Final = (
    UpdateState.CONFIRMED,
    *(state for state in reversed(DEVICES) if state not in {UpdateState.CONFIRMED, NOTHING_YET}),
    NOTHING_YET,
)
"""From left to right: what is done, what is on its way, what is wrong, what has not begun."""

DEVICE_ORDER: Final = {state: rank for rank, state in enumerate(DEVICES)}
ROLLOUT_ORDER: Final = {state: rank for rank, state in enumerate(ROLLOUTS)}
