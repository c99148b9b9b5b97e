"""The pages of incidents in every state: full, empty, silenced, flapping, late, over, hostile."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.alerting.channels.looking import DeliveryRow
from vedette.central.alerting.facts import (
    Climb,
    History,
    Incident,
    IncidentState,
    Ladder,
    LadderStep,
    Member,
    NoticeKind,
    Severity,
    Subject,
    Target,
)
from vedette.central.alerting.views import (
    IncidentRow,
    IncidentView,
    Tally,
    TimelineRow,
)
from vedette.central.console import specimens
from vedette.central.console.alerts import incidents
from vedette.central.console.alerts.incidents import ListQuery
from vedette.central.console.page import Page

NOW_MS: Final = specimens.NOW_MS
MIN_MS: Final = 60_000
HOUR_MS: Final = specimens.HOUR_MS
_HOSTILE: Final = "<script>alert(1)</script>" + "'\"&" * 12
_LONG: Final = "a-name-that-goes-on-and-on-until-the-very-end-of-everything-there-is"

_DOOR: Final = Subject(site="north", device="north-1", camera="door")
_NORTH: Final = Subject(site="north")

COVERED: Final = Incident(
    incident="inc-7f3a01",
    key="covered|north|north-1|door",
    rule="lens-covered",
    severity=Severity.CRITICAL,
    state=IncidentState.OPEN,
    title="Lens covered: door (north)",
    todo="Look at the camera: tape, a bag, a ladder before it? Then compare the picture.",
    subject=_DOOR,
    opened_ms=NOW_MS - 14 * MIN_MS,
    changed_ms=NOW_MS - 9 * MIN_MS,
    known_ms=NOW_MS - 14 * MIN_MS + 9_000,
    members=[
        Member(
            subject=_DOOR,
            began_ms=NOW_MS - 14 * MIN_MS,
            last_ms=NOW_MS - 14 * MIN_MS,
            text="TAMPERED: the picture is one colour",
        )
    ],
    count=1,
    climb=Climb(
        ladder="shops",
        version=3,
        round=1,
        began_ms=NOW_MS - 14 * MIN_MS,
        step=2,
        due_ms=NOW_MS + 6 * MIN_MS,
        told=[Target(channel="mail", address="anna@example.com"), Target(channel="ops-webhook")],
    ),
    version=4,
)
DARK: Final = msgspec.structs.replace(
    COVERED,
    incident="inc-7f3a02",
    rule="site-dark",
    title="Site dark: Harbour street",
    todo="Call the shop: power? Then the provider.",
    state=IncidentState.ACKNOWLEDGED,
    subject=Subject(site="harbour"),
    opened_ms=NOW_MS - 3 * HOUR_MS,
    ack_by="ben",
    ack_ms=NOW_MS - 2 * HOUR_MS,
    ack_until_ms=NOW_MS + HOUR_MS,
    ack_note="provider says 14:00",
    members=[
        Member(
            subject=Subject(site="harbour", device=f"harbour-{n}"),
            began_ms=NOW_MS - 3 * HOUR_MS + n * 1000,
            last_ms=NOW_MS - 3 * HOUR_MS,
            text="not heard from",
        )
        for n in range(1, 10)
    ],
    count=9,
)
HOT: Final = msgspec.structs.replace(
    COVERED,
    incident="inc-7f3a03",
    rule="throttled",
    title="Throttled: harbour-3",
    todo="Is there air around the case? Look at the power supply.",
    members=[
        Member(
            subject=Subject(site="harbour", device="harbour-3"),
            began_ms=NOW_MS - 5 * HOUR_MS,
            last_ms=NOW_MS - 5 * HOUR_MS,
            text="held back at 84 °C",
        )
    ],
    severity=Severity.WARNING,
    subject=Subject(site="harbour", device="harbour-3"),
    inhibited="inc-7f3a02",
    opened_ms=NOW_MS - 5 * HOUR_MS,
)
PLANNED: Final = msgspec.structs.replace(
    HOT,
    incident="inc-7f3a04",
    title="Camera down: yard (depot-2)",
    todo="Ping it from the device; then the switch.",
    inhibited="",
    silenced="sil-1",
    subject=Subject(site="depot-2", device="depot-2-a", camera="yard"),
)
FLAPPING: Final = msgspec.structs.replace(
    HOT,
    incident="inc-7f3a05",
    rule="camera-down",
    title="Camera down: till 3 (north)",
    todo="Swap the patch cable; see the switch's counters.",
    inhibited="",
    count=37,
    flapping_ms=NOW_MS - 2 * HOUR_MS,
    climb=msgspec.structs.replace(COVERED.climb, due_ms=None),
)
LATE: Final = msgspec.structs.replace(
    FLAPPING,
    incident="inc-7f3a06",
    rule="loitering",
    title="Loitering: back door (depot-2)",
    severity=Severity.INFO,
    state=IncidentState.RESOLVED,
    flapping_ms=None,
    late_only=True,
    count=2,
    resolved_ms=NOW_MS - HOUR_MS,
    resolved_why="it came late: over before it was known",
)
NASTY: Final = msgspec.structs.replace(
    COVERED,
    incident="inc-7f3a07",
    title=f"{_LONG} {_HOSTILE}",
    todo=_HOSTILE,
    rule=_LONG,
    severity=Severity.WARNING,
    subject=Subject(site=_LONG, device=_LONG, camera=_HOSTILE, place=_LONG),
    climb=Climb(),
)

TALLY: Final = Tally(
    open={Severity.CRITICAL: 1, Severity.WARNING: 2}, acknowledged=1, silenced=1, inhibited=1
)


def rows() -> list[IncidentRow]:
    """Return an incident for each way that one can be."""
    told = IncidentRow(
        incident=COVERED,
        site_name="North street",
        next_ms=NOW_MS + 6 * MIN_MS,
        next_tell=["on call of shops (Ben) on phone"],
    )
    others = (DARK, HOT, PLANNED, FLAPPING, LATE, NASTY)
    return [told, *(IncidentRow(incident=one) for one in others)]


def ladder() -> Ladder:
    """Return a ladder of three steps."""
    return Ladder(
        ladder="shops",
        steps=[
            LadderStep(tell=["channel:ops-webhook"]),
            LadderStep(after_s=300, tell=["person:anna"]),
            LadderStep(after_s=1200, tell=["oncall:shops", "channel:phone"]),
        ],
        repeat_s=3600,
        rounds=3,
    )


def _line(number: int, minutes: float, kind: str, text: str, actor: str = "central") -> TimelineRow:
    at_ms = NOW_MS - int(minutes * MIN_MS)
    history = History(incident="inc", at_ms=at_ms, kind=kind, text=text, actor=actor, subject=_DOOR)
    return TimelineRow(number=number, history=history)


def view(incident: Incident, *, may_act: bool = True) -> IncidentView:
    """Return the page of an incident with all that can stand on it."""
    sent = DeliveryRow(
        delivery="del-1",
        channel="ops-webhook",
        incident=incident.incident,
        address="",
        person="",
        subject=incident.title,
        media="",
        due_ms=None,
        said="200",
        kind=NoticeKind.OPENED,
        state="sent",
        made_ms=NOW_MS - 14 * MIN_MS,
        asked_ms=NOW_MS - 14 * MIN_MS,
        done_ms=NOW_MS - 14 * MIN_MS + 300,
        tries=1,
    )
    waiting = msgspec.structs.replace(
        sent,
        delivery="del-2",
        channel="mail",
        person="anna",
        address="anna@example.com",
        kind=NoticeKind.ESCALATED,
        state="waiting",
        done_ms=None,
        said="451 4.3.0 try again later: in 40 s",
        tries=3,
    )
    dead = msgspec.structs.replace(
        waiting, delivery="del-3", state="dead", said="550 no such user; disabled by the server"
    )
    return IncidentView(
        row=IncidentRow(
            incident=incident, next_ms=NOW_MS + 6 * MIN_MS, next_tell=["on call of shops (Ben)"]
        ),
        ladder=ladder() if incident.climb.ladder else None,
        timeline=[
            _line(6, 2, "note", "the shop is closed until eight", "anna"),
            _line(5, 8, "delayed", "anna not told yet by mail: 451 4.3.0 try again later"),
            _line(4, 9, "told", "round 1, step 2: anna by mail"),
            _line(3, 14, "sent", "told by ops-webhook: opened", "dispatcher"),
            _line(2, 14, "told", "round 1, step 1: ops-webhook"),
            _line(1, 14, "opened", "the picture is one colour"),
        ],
        deliveries=[dead, waiting, sent],
        events=specimens.events()[:3],
        events_count=12,
        may_act=may_act,
    )


def _list(found: list[IncidentRow], tally: Tally, **asked: str) -> Callable[[Page], str]:
    return lambda page: incidents.list_html(found, tally, ListQuery(**asked), page)


def _one(incident: Incident, **kinds: bool) -> Callable[[Page], str]:
    return lambda page: incidents.incident_html(view(incident, **kinds), page)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "incidents": _list(rows(), TALLY, state="any"),
    "incidents-empty": _list([], Tally()),
    "incidents-none-match": _list([], TALLY, q="nothing like it"),
    "incident": _one(COVERED),
    "incident-acknowledged": _one(DARK),
    "incident-inhibited": _one(HOT),
    "incident-over": _one(LATE),
    "incident-hostile": _one(NASTY, may_act=False),
    "incident-resolve": lambda page: incidents.resolve_html(COVERED, page),
    "incident-resolve-late": lambda page: incidents.resolve_html(LATE, page),
}
