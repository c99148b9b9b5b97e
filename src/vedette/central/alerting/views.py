"""What API and console show of alerts: plain structs, no SQL and no clock.

Here: the shapes that `looking`, `channels` and the others return. The rule: what a looker may not
know of is not in them; secrets never are.
"""

import msgspec

from vedette.central.alerting.channels.looking import DeliveryRow
from vedette.central.alerting.facts import (
    Climb,
    History,
    Incident,
    Ladder,
    Rule,
    Schedule,
    Severity,
    Silence,
)
from vedette.central.views import EventRow


class IncidentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An incident in a list.

    Attributes:
        site_name: Of its site; empty where it is about several.
        next_ms: When somebody is told next, if nobody acknowledges; None: nobody will be.
        next_tell: Who, in words: `anna by mail`, `control-room`; whoever is on call by name.
    """

    incident: Incident
    site_name: str = ""
    sites: int = 1
    next_ms: int | None = None
    next_tell: list[str] = []


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an incident's timeline, with its number for paging."""

    number: int
    history: History


class IncidentView(msgspec.Struct, frozen=True, kw_only=True):
    """One incident whole; newest of its timeline first.

    Attributes:
        deliveries: The newest ones; addresses are for operators, others get none.
    """

    row: IncidentRow
    ladder: Ladder | None = None
    timeline: list[TimelineRow] = []
    deliveries: list[DeliveryRow] = []
    events: list[EventRow] = []
    events_count: int = 0
    may_act: bool = False


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many incidents are how, for a looker's sites."""

    open: dict[Severity, int] = {}
    acknowledged: int = 0
    silenced: int = 0
    inhibited: int = 0


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with what came of it lately.

    Attributes:
        last_ms: When its last incident of these days began.
        at_least: There were more incidents in these days than were counted.
    """

    rule: Rule
    version: int
    changed_by: str
    changed_ms: int
    open: int = 0
    fired_7d: int = 0
    last_ms: int | None = None
    at_least: bool = False


class LadderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A ladder, and which rules climb it."""

    ladder: Ladder
    version: int
    changed_by: str
    changed_ms: int
    rules: list[str] = []
    problems: list[str] = []


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is on call in a stretch; `person` empty: nobody is."""

    person: str
    from_ms: int
    to_ms: int
    override: str = ""


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule with who is on call now and in the days to come."""

    schedule: Schedule
    version: int
    changed_by: str
    changed_ms: int
    now: Duty | None = None
    spans: list[Duty] = []
    ladders: list[str] = []
    problems: list[str] = []


class SilenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A silence.

    Attributes:
        state: now, to_come or over.
        hides: Open incidents that it keeps quiet.
        hidden: What planned work kept from becoming one.
    """

    silence: Silence
    state: str
    hides: int = 0
    hidden: int = 0


class FollowStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a simulated course."""

    at_ms: int
    kind: str
    round: int = 1
    tell: str
    channel: str = ""
    address: str = ""
    problem: str = ""


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen: who is told when, and how it ends."""

    start_ms: int
    ack_ms: int | None = None
    steps: list[FollowStep] = []
    end: str = ""
    climb: Climb = msgspec.field(default_factory=Climb)
