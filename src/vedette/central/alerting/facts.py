"""The words of alerting: what people write, what happens, what is decided. Pure.

What lives here: the structs that the parts hand to one another. What does not: reading a file
(`rules`), deciding (`planner`, `ladder`), tables (`store`). The rule: nothing here reads a clock or
a database; what people write refuses fields that it does not know.
"""

import enum
from typing import Final

import msgspec

from vedette.central.hours import Stretch
from vedette.wire.alerts import EventMatch, Severity

MAX_RULES: Final = 500
MAX_LADDER_STEPS: Final = 20
MAX_NAME_CHARS: Final = 64
MAX_TEXT_CHARS: Final = 500


class Health(enum.StrEnum):
    """What may be wrong with a device, a camera or a site. `conditions` says when each is true."""

    SITE_DARK = "site_dark"
    DEVICE_DARK = "device_dark"
    CAMERA_DOWN = "camera_down"
    TAMPERED = "tampered"
    DEGRADED = "degraded"  # the picture: blurred, dark, moved
    THROTTLED = "throttled"
    MEMORY_LEAK = "memory_leak"  # by trend, MB an hour
    DISK = "disk"  # part of it that is used
    NETWORK_LOSS = "network_loss"  # part of segments sent again
    SPOOL_FILLING = "spool_filling"  # part of its quota
    CLOCK = "clock"
    LATENCY_BUDGET = "latency_budget"  # part of frames over the budget
    PIPELINE_CRASHED = "pipeline_crashed"
    ACCURACY = "accuracy"  # what reviewers made of shadow or audit pictures
    DRIFT = "drift"  # confidence now against the reference
    ROLLOUT = "rollout"  # rolled back, stopped, inconclusive
    COVERAGE = "coverage"  # below the share of the month that was promised
    QUARANTINED = "quarantined"
    UPDATE_FAILED = "update_failed"


class Group(enum.StrEnum):
    """What makes signals of one rule one incident."""

    RULE = "rule"  # the whole fleet
    SITE = "site"
    DEVICE = "device"
    CAMERA = "camera"
    PLACE = "place"  # a camera's zone or line


# --------------------------------------------------------------------------- what people write


class Where(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a rule, a silence or a ladder holds; empty lists: everywhere. All that is given holds.

    Attributes:
        sites, devices: Ids.
        folders: With everything below.
        groups: Of sites or devices, as operators named them.
        cameras: Names; `*` and `?` as in file names, and `device/camera` for one alone.
    """

    sites: list[str] = []
    folders: list[str] = []
    groups: list[str] = []
    devices: list[str] = []
    cameras: list[str] = []


class HealthMatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which trouble.

    Attributes:
        is_: What is wrong.
        above: The number that it has to pass, where the condition has one; None: its default.
        for_s: It has to last so long before it counts.
        clear_s: It has to be well so long before it is over.
    """

    is_: Health = msgspec.field(name="is")
    above: float | None = None
    for_s: float = 0.0
    clear_s: float = 60.0


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is worth an incident. One of `event` and `health` is given.

    Attributes:
        rule: Its name.
        title: What the incident is called; `{camera}`, `{device}`, `{site}`, `{place}`, `{label}`,
            `{count}` and `{value}` are filled in. Empty: made from what happened.
        todo: What a person should do about it.
        hours: `always`, `open` or `closed`: by the site's opening hours; where none are set, a rule
            that asks for them says so and does not fire.
        group: Empty: `camera` for events; for health, what it is about.
        ladder: Who is told; empty: nobody, the incident stands in the console.
        resolve_s: For events: over when none came for so long.
        inhibit: Suppressed while its device or site is dark. Health rules only.
    """

    rule: str
    severity: Severity = Severity.WARNING
    title: str = ""
    todo: str = ""
    enabled: bool = True
    event: EventMatch | None = None
    health: HealthMatch | None = None
    where: Where = msgspec.field(default_factory=Where)
    hours: str = "always"
    group: Group | None = None
    ladder: str = ""
    resolve_s: float = 900.0
    inhibit: bool = True


class LadderStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rung: who is told, so long after the incident began (or was escalated again).

    Attributes:
        after_s: Since the round began.
        tell: `channel:NAME`, `person:USER` (by their own contacts), `oncall:SCHEDULE`.
        ask_clip: Ask the device for the clip of the incident's event; nobody waits for it.
    """

    after_s: float = 0.0
    tell: list[str]
    ask_clip: bool = False


class Ladder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who, by which channel, after how long, again until somebody acknowledges.

    Attributes:
        steps: In order of `after_s`.
        repeat_s: After the last step the round begins anew so long after it began; 0: never.
        rounds: At most so many.
        ack_s: An acknowledgement holds so long; after it, if the incident is still open, the
            next round begins. 0: for good.
        tell_acknowledged: Whoever was told is told who took it on.
        tell_resolved: Whoever was told that it is open is told that it is over.
        least: Incidents less severe than this climb no rung.
    """

    ladder: str
    steps: list[LadderStep]
    repeat_s: float = 0.0
    rounds: int = 3
    ack_s: float = 0.0
    tell_acknowledged: bool = True
    tell_resolved: bool = True
    least: Severity = Severity.INFO


class Shift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One layer of a schedule: people in turn.

    Attributes:
        people: In order of their turns.
        start: Local date and time of the first hand-over, `2026-03-02T09:00`.
        turn_days: Length of a turn, in days by the wall clock (a day of 23 hours is a day).
        weekly: Only in these stretches, as opening hours; empty: always.
    """

    people: list[str]
    start: str
    turn_days: int = 7
    weekly: dict[str, list[Stretch]] = {}


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is on call. The first layer that has somebody decides; none: nobody is, and that is said.

    Attributes:
        time_zone: IANA name; turns change by this wall clock.
        tell: Whoever comes on call is told so, and what is open.
    """

    schedule: str
    time_zone: str
    shifts: list[Shift]
    tell: bool = False


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody takes over for a while. Later ones stand before earlier ones."""

    override: str
    schedule: str
    person: str
    from_ms: int
    to_ms: int
    made_by: str = ""
    made_ms: int = 0
    note: str = ""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody is told in this window; incidents are kept and say that they are silenced.

    Attributes:
        is_maintenance: Planned work: what begins and ends within it opens no incident at all.
        rules: By name, `*` and `?` as in file names; empty: all.
        weekly: Repeats by the site's clock in these stretches, between `from_ms` and `to_ms`.
    """

    silence: str
    from_ms: int
    to_ms: int
    where: Where = msgspec.field(default_factory=Where)
    rules: list[str] = []
    weekly: dict[str, list[Stretch]] = {}
    is_maintenance: bool = False
    reason: str = ""
    made_by: str = ""
    made_ms: int = 0
    ended_ms: int | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a person is reached: a channel and the address on it (empty: the channel's own).

    Attributes:
        quiet: Stretches in which only what is critical comes this way; by `time_zone`.
    """

    channel: str
    address: str = ""
    least: Severity = Severity.INFO
    quiet: dict[str, list[Stretch]] = {}
    time_zone: str = "UTC"


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Who can be reached at all, now; what a ladder does not know it takes for reachable.

    Attributes:
        admins: Who is told where a ladder leads to nobody.
        away: People who are not to be told: disabled or gone; why, in words.
        channels: Every channel there is: "" where it carries, else why not. None: not known.
    """

    admins: list[str] = []
    away: dict[str, str] = {}
    channels: dict[str, str] | None = None


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All that people wrote, as it stands now.

    Attributes:
        version: Grows with each change.
        ladder_versions: Of each ladder; what an incident's timeline names.
    """

    version: int = 0
    rules: dict[str, Rule] = {}
    ladders: dict[str, Ladder] = {}
    schedules: dict[str, Schedule] = {}
    contacts: dict[str, list[Contact]] = {}
    ladder_versions: dict[str, int] = {}
    reach: Reach = Reach()

    def enabled(self) -> list[Rule]:
        """Return the rules that are switched on."""
        return [rule for rule in self.rules.values() if rule.enabled]


# ------------------------------------------------------------------------------ what happens


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a signal is about; empty where it is about more than that.

    Attributes:
        what: Sets apart within the rest: a process, a rollout, a disk.
    """

    site: str = ""
    device: str = ""
    camera: str = ""
    place: str = ""
    what: str = ""


class Turn(enum.StrEnum):
    """What a signal says."""

    EVENT = "event"  # it happened; there is no end to it
    RAISED = "raised"
    CLEARED = "cleared"


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A rule held, once, somewhere.

    Attributes:
        at_ms: When it happened, by central's clock. Of what was silence: since when.
        known_ms: When central knew.
        late: It had waited on the device: written down, pages nobody, opens nothing that pages.
        device, event: Of the event; the name of an event is its device's own.
        text: What happened, in words.
    """

    rule: str
    turn: Turn
    subject: Subject
    at_ms: int
    known_ms: int
    severity: Severity = Severity.WARNING
    late: bool = False
    event: str = ""
    evidence: str = ""
    kind: str = ""
    label: str = ""
    confidence: float | None = None
    value: float | None = None
    text: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An event as people are told of it.

    Attributes:
        evidence: Of its clip; empty: the device kept none.
        site_name, time_zone: Of its site, as they were then.
        confidence: How sure the model was, 0 to 1; None: not stated.
    """

    event: str
    evidence: str = ""
    kind: str
    at_ms: int
    subject: Subject
    label: str = ""
    confidence: float | None = None
    site_name: str = ""
    time_zone: str = "UTC"


class IncidentState(enum.StrEnum):
    """Where an incident is."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong within an incident; `ended_ms` None: it still is."""

    subject: Subject
    began_ms: int
    last_ms: int
    ended_ms: int | None = None
    count: int = 1
    late: int = 0
    value: float | None = None
    text: str = ""


class NoticeKind(enum.StrEnum):
    """Why somebody is told."""

    OPENED = "opened"
    REPEATED = "repeated"
    ESCALATED = "escalated"
    ACK_EXPIRED = "ack_expired"
    GREW = "grew"  # twice as much is wrong as when they were told last
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    ON_CALL = "on_call"  # about no incident: duty changed hands
    TEST = "test"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody was told: a channel, the address on it, and whose it is."""

    channel: str
    address: str = ""
    person: str = ""


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """How far up its ladder an incident is.

    Attributes:
        ladder: Its name; empty: none.
        version: As it was when the round began.
        as_was: The ladder itself as it was then: what changes since counts from the next round.
        round: Counts from 1 and never back; 0: nobody was told yet.
        first_round: Where this climb began; an acknowledgement that ran out begins a new one.
        kind: Why this round's notices are sent.
        severity: For which it climbs; a graver incident climbs again.
        began_ms: Of the round.
        step: The next one to take; len(steps): all were taken.
        due_ms: When something is to be decided again; None: never.
        told: Everybody who was told, for word of the end.
    """

    ladder: str = ""
    version: int = 0
    as_was: Ladder | None = None
    round: int = 0
    first_round: int = 1
    kind: NoticeKind = NoticeKind.OPENED
    severity: Severity = Severity.INFO
    began_ms: int = 0
    step: int = 0
    due_ms: int | None = None
    told: list[Target] = []


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """What people act on.

    Attributes:
        key: Rule and group; one incident at most is open of each.
        members: Of events at most 200; `more` counts the others. Of health all: what has an end
            has to be followed to it.
        flapping: It came and went so often that it is held open; since when.
        silenced: By which silence, now; empty: none.
        inhibited: By which incident (a dark site, a dark device), now; empty: none.
        late_only: Nothing but late news so far.
        reopened_ms: A person opened it again then: what was over by then does not resolve it.
        quiet_until_ms: Nobody is told before: it waits whether it is part of something larger.
        told_members: How many things were wrong when somebody was told last.
        seen: The newest event in it, one with a clip before one without; None: it is no event's.
        due_ms: When it is looked at next; None: not before news.
    """

    incident: str
    key: str
    rule: str
    severity: Severity
    state: IncidentState
    title: str
    todo: str = ""
    subject: Subject
    opened_ms: int
    changed_ms: int
    known_ms: int
    resolved_ms: int | None = None
    resolved_why: str = ""
    members: list[Member] = []
    more: int = 0
    count: int = 0
    climb: Climb = msgspec.field(default_factory=Climb)
    ack_by: str = ""
    ack_ms: int | None = None
    ack_until_ms: int | None = None
    ack_note: str = ""
    flaps: list[int] = []
    flapping_ms: int | None = None
    silenced: str = ""
    inhibited: str = ""
    late_only: bool = False
    reopened_ms: int | None = None
    quiet_until_ms: int | None = None
    told_members: int = 0
    seen: Seen | None = None
    due_ms: int | None = None
    version: int = 0


# ----------------------------------------------------------------------------- what is decided


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is to be told. What channels make words of; what a webhook's body is made from.

    Attributes:
        key: Unique: incident, round, step, kind and target. The same notice decided twice is one.
        channel: Name of the channel.
        address: On it; empty: the channel's own.
        person: Who it is, where it is a person.
        due_ms: When it was to be told; how late it was is measured by it.
        round, step: Of its ladder; 0: it is word of what became of it.
        event, evidence: Which event is the proof of it, and that event's clip.
        url: Of the incident; `event_url` of the event with its clip.
        take_url: Where `person` may take it on without signing in; empty: nowhere.
        picture: Why no picture goes with it, or that one does, in words.
        text: What it says beside its incident, by lines.
        picture_url: Where programs with a token find it; empty: it is not in central, or stays.
    """

    key: str
    kind: NoticeKind
    channel: str
    address: str = ""
    person: str = ""
    due_ms: int
    incident: Incident
    round: int = 0
    step: int = 0
    event: str = ""
    evidence: str = ""
    url: str = ""
    event_url: str = ""
    take_url: str = ""
    picture: str = ""
    picture_url: str = ""
    text: str = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A device is to be asked for the clip of an event."""

    incident: str
    seen: Seen


class History(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an incident's timeline: opened, joined, ended, told, acknowledged and so on."""

    incident: str
    at_ms: int
    kind: str
    actor: str = "central"
    text: str = ""
    subject: Subject = Subject()
    event: str = ""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """An event that belongs to an incident."""

    incident: str
    device: str
    event: str
    at_ms: int
    late: bool = False


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Trouble that began during planned work; it becomes an incident where it outlasts that."""

    signal: Signal
    silence: str
    until_ms: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at news and time comes to.

    Attributes:
        held: Waits for the end of planned work.
        dropped: Rule and subject of what was held and is well again, or became an incident.
        wake: Incidents and sites to look at again now: what kept them quiet changed.
        hidden: How much each silence has kept from being an incident.
    """

    incidents: list[Incident] = []  # changed or new
    notices: list[Notice] = []
    asks: list[Ask] = []
    history: list[History] = []
    happened: list[Happened] = []
    held: list[Held] = []
    dropped: list[tuple[str, Subject]] = []
    wake: list[str] = []
    wake_sites: list[str] = []
    hidden: dict[str, int] = {}
