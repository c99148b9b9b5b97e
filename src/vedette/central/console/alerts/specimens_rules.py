"""The pages of rules, ladders, schedules, silences, channels and deliveries, in every state."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.alerting.applying import Change, Outcome
from vedette.central.alerting.channels.facts import Mail, Mqtt, Webhook
from vedette.central.alerting.channels.looking import ChannelState, ChannelView, DeliveryRow
from vedette.central.alerting.facts import (
    EventMatch,
    Health,
    HealthMatch,
    NoticeKind,
    Rule,
    Schedule,
    Severity,
    Shift,
    Silence,
    Where,
)
from vedette.central.alerting.handing import Left
from vedette.central.alerting.views import (
    Duty,
    Followed,
    FollowStep,
    LadderRow,
    RuleRow,
    ScheduleRow,
    SilenceRow,
)
from vedette.central.console import specimens
from vedette.central.console.alerts import channels, ladders, rules, silences, writing
from vedette.central.console.alerts import specimens as incidents
from vedette.central.console.alerts.channels import DeliveryQuery
from vedette.central.console.alerts.rules import Edited, Start, Tried, Version
from vedette.central.console.page import Page
from vedette.wire.messages import EventKind

NOW_MS: Final = specimens.NOW_MS
MIN_MS: Final = 60_000
HOUR_MS: Final = specimens.HOUR_MS
DAY_MS: Final = specimens.DAY_MS
WINDOW_MS: Final = (NOW_MS, NOW_MS + 28 * DAY_MS)
_HOSTILE: Final = "<script>alert(1)</script>" + "'\"&" * 12
_LONG: Final = "a-name-that-goes-on-and-on-until-the-very-end-of-everything-there-is"

_COVERED: Final = Rule(
    rule="lens-covered",
    severity=Severity.CRITICAL,
    todo="Look at the camera: tape, a bag, a ladder before it?",
    health=HealthMatch(is_=Health.TAMPERED, for_s=30.0),
    ladder="shops",
)
_LOITER: Final = Rule(
    rule="loitering-at-night",
    event=EventMatch(kinds=[EventKind.LOITER], places=["back door*"], labels=["person"]),
    where=Where(folders=["Norway"], cameras=["yard", "dock-*"]),
    hours="closed",
    ladder="guards",
)
_OFF: Final = Rule(
    rule="spool",
    severity=Severity.INFO,
    enabled=False,
    health=HealthMatch(is_=Health.SPOOL_FILLING, above=0.8, for_s=3600.0),
)
_SHOWN_ONCE: Final = "whsec_" + "c2hvd24gb25jZQ=="
_TEXT: Final = """\
rule: lens-covered
severity: critical
todo: "Look at the camera: tape, a bag, a ladder before it?"
health:
  is: tampered
  for_s: 30
ladder: shops
"""


def _row(rule: Rule, **changes: int) -> RuleRow:
    made = RuleRow(rule=rule, version=3, changed_by="anna", changed_ms=NOW_MS - DAY_MS)
    return msgspec.structs.replace(made, **changes)


def rule_rows() -> list[RuleRow]:
    """Return a rule for each way that one can be."""
    nasty = msgspec.structs.replace(_LOITER, rule=_LONG, where=Where(sites=[_HOSTILE, _LONG]))
    return [
        _row(_COVERED, open=1, fired_7d=4, last_ms=NOW_MS - 14 * MIN_MS),
        _row(_LOITER, fired_7d=14, last_ms=NOW_MS - 9 * HOUR_MS),
        _row(_OFF),
        _row(nasty),
    ]


TRIED: Final = Tried(
    from_ms=NOW_MS - 7 * DAY_MS,
    to_ms=NOW_MS,
    fired=14,
    days=[
        (NOW_MS - n * DAY_MS, count)
        for n, count in zip(range(7, 0, -1), (2, 0, 5, None, 1, 4, 2), strict=True)
    ],
    told=6 / 7,
    observed=0.942,
    places=[("depot-2/depot-2-a/back door/yard", 9), ("north/north-a/yard/fence", 5)],
    examples=[
        (NOW_MS - 7 * DAY_MS, "depot-2/depot-2-a/back door/yard", ""),
        (NOW_MS - 6 * DAY_MS, "north/north-a/yard/fence", "under a dark site or device"),
    ],
    notes=["events are kept for 30 days: nothing is told of the time before"],
    inhibited=3,
    outside_hours=7,
)
UNKNOWN: Final = Tried(
    from_ms=NOW_MS - 7 * DAY_MS,
    to_ms=NOW_MS,
    fired=0,
    told=None,
    notes=["when something was quarantined is not kept: it cannot be told"],
)
VERSIONS: Final = [
    Version(
        version=3,
        changed_by="anna",
        changed_ms=NOW_MS - DAY_MS,
        note="30 s, not 10",
        changed=["health.for_s: 10.0 → 30.0", 'severity: "warning" → "critical"'],
    ),
    Version(version=2, changed_by="ben", changed_ms=NOW_MS - 9 * DAY_MS, removed=True),
    Version(version=1, changed_by="ben", changed_ms=NOW_MS - 20 * DAY_MS, may_return=True),
]
OUTCOME: Final = Outcome(
    changes=[
        Change(kind="rule", name="lens-covered", what="changed", lines=VERSIONS[0].changed),
        Change(kind="ladder", name="guards", what="new"),
        Change(kind="rule", name=_LONG, what="removed"),
        Change(kind="rule", name="spool", what="same"),
        Change(kind="contacts", name="anna", what="kept"),
    ],
    doubts=["ladder guards: step 2: ben has no contact"],
)
LADDER: Final = LadderRow(
    ladder=incidents.ladder(),
    version=3,
    changed_by="anna",
    changed_ms=NOW_MS - DAY_MS,
    rules=["lens-covered", "site-dark", "camera-down"],
    problems=["on call of shops: nobody from 07 Mar 18:00 to 09 Mar 08:00"],
)
FOLLOWED: Final = Followed(
    start_ms=NOW_MS,
    steps=[
        FollowStep(at_ms=NOW_MS, kind=NoticeKind.OPENED, tell="ops-webhook", channel="ops-webhook"),
        FollowStep(
            at_ms=NOW_MS + 300_000, kind=NoticeKind.OPENED, tell="anna by mail", channel="mail"
        ),
        FollowStep(
            at_ms=NOW_MS + 1_200_000,
            kind="unreached",
            tell="",
            problem="step 3: nobody is on call in shops until Mon 09 Mar 08:00 CET",
        ),
        FollowStep(
            at_ms=NOW_MS + 3_600_000,
            kind=NoticeKind.REPEATED,
            round=2,
            tell="ops-webhook",
            channel="ops-webhook",
        ),
    ],
    end="After 3 rounds nobody is told any more; it stays open in the console.",
)
SCHEDULE: Final = ScheduleRow(
    schedule=Schedule(
        schedule="shops",
        time_zone="Europe/Oslo",
        shifts=[Shift(people=["anna", "ben"], start="2026-03-02T09:00")],
        tell=True,
    ),
    version=2,
    changed_by="anna",
    changed_ms=NOW_MS - DAY_MS,
    now=Duty(person="ben", from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS + 3 * DAY_MS),
    spans=[
        Duty(person="ben", from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS + 3 * DAY_MS),
        Duty(
            person="chris",
            from_ms=NOW_MS + 3 * DAY_MS,
            to_ms=NOW_MS + 4 * DAY_MS,
            override="ovr-1",
        ),
        Duty(person="anna", from_ms=NOW_MS + 4 * DAY_MS, to_ms=NOW_MS + 9 * DAY_MS),
        Duty(person="", from_ms=NOW_MS + 9 * DAY_MS, to_ms=NOW_MS + 10 * DAY_MS),
        Duty(person="ben", from_ms=NOW_MS + 10 * DAY_MS, to_ms=NOW_MS + 17 * DAY_MS),
        Duty(person="anna", from_ms=NOW_MS + 17 * DAY_MS, to_ms=NOW_MS + 24 * DAY_MS),
        Duty(person="ben", from_ms=NOW_MS + 24 * DAY_MS, to_ms=NOW_MS + 28 * DAY_MS),
    ],
    ladders=["shops"],
    problems=["nobody from 11 Mar 10:00 to 12 Mar 10:00"],
)
_NOBODY: Final = msgspec.structs.replace(
    SCHEDULE,
    schedule=msgspec.structs.replace(SCHEDULE.schedule, schedule=_LONG),
    now=None,
    spans=[],
    problems=["nobody is on call at any time"],
)
SILENCES: Final = [
    SilenceRow(
        silence=Silence(
            silence="sil-1",
            from_ms=NOW_MS - HOUR_MS,
            to_ms=NOW_MS + HOUR_MS,
            where=Where(sites=["depot-2"]),
            reason="the electrician is there",
            made_by="anna",
            is_maintenance=True,
        ),
        state="now",
        hides=3,
    ),
    SilenceRow(
        silence=Silence(
            silence="sil-2",
            from_ms=NOW_MS + DAY_MS,
            to_ms=NOW_MS + 90 * DAY_MS,
            rules=["camera-down"],
            where=Where(folders=["Norway"]),
            weekly={"mo": [("02:00", "04:00")]},
            made_by="ben",
        ),
        state="to_come",
    ),
    SilenceRow(
        silence=Silence(
            silence="sil-3",
            from_ms=NOW_MS - 9 * DAY_MS,
            to_ms=NOW_MS - 8 * DAY_MS,
            reason=_HOSTILE,
            made_by=_LONG,
        ),
        state="over",
    ),
]
_OPS: Final = ChannelView(
    channel="ops-webhook",
    kind="webhook",
    settings=Webhook(url="https://ops.example.com/hooks/vedette"),
    state=ChannelState.WELL,
    version=1,
    enabled=True,
    disabled_why="",
    has_secret=True,
    failures=0,
    rests_ms=0,
    sent_ms=NOW_MS - 14 * MIN_MS,
    said="200",
    changed_by="anna",
    changed_ms=NOW_MS - 9 * DAY_MS,
    sent_day=41,
)
CHANNELS: Final = [
    _OPS,
    msgspec.structs.replace(
        _OPS,
        channel="mail",
        kind="mail",
        settings=Mail(host="smtp.example.com", sender="vedette@example.com"),
        state=ChannelState.FAILING,
        said="451 4.3.0 try again later",
        sent_day=6,
        waiting=1,
        dead=2,
    ),
    msgspec.structs.replace(
        _OPS,
        channel="old-pager",
        settings=Webhook(url=f"https://{_LONG}.example/{_HOSTILE}"),
        state=ChannelState.DISABLED,
        enabled=False,
        disabled_why="the other side answered 410 Gone: it wants nothing any more",
    ),
    msgspec.structs.replace(
        _OPS,
        channel="home",
        kind="mqtt",
        settings=Mqtt(host="broker.example"),
        state=ChannelState.UNTRIED,
        sent_ms=None,
        sent_day=0,
    ),
]


def deliveries() -> list[DeliveryRow]:
    """Return a delivery for each way that one can be."""
    made = DeliveryRow(
        delivery="del-1",
        channel="ops-webhook",
        incident="inc-7f3a01",
        address="",
        person="",
        subject="Lens covered: door (north)",
        media="",
        due_ms=None,
        kind=NoticeKind.OPENED,
        state="sent",
        made_ms=NOW_MS - 14 * MIN_MS,
        asked_ms=NOW_MS - 14 * MIN_MS,
        done_ms=NOW_MS - 14 * MIN_MS + 84,
        tries=1,
        said="200",
    )
    change = msgspec.structs.replace
    return [
        made,
        change(
            made,
            delivery="del-2",
            channel="mail",
            person="anna",
            state="waiting",
            done_ms=None,
            due_ms=NOW_MS + 40_000,
            tries=3,
            said="451 4.3.0 try again later",
        ),
        change(
            made,
            delivery="del-3",
            channel="mail",
            address="nobody@example.com",
            state="dead",
            done_ms=NOW_MS - 3 * MIN_MS,
            tries=14,
            said="550 no such user",
        ),
        change(made, delivery="del-4", state="cancelled", said="it was over before it was sent"),
        change(made, delivery="del-5", state="sending", subject=_HOSTILE, done_ms=None),
    ]


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "rules": lambda page: rules.list_html(rule_rows(), page),
    "rules-empty": lambda page: rules.list_html([], page),
    "rules-start": lambda page: rules.list_html(
        [], page, start=Start(rules=22, off=3, tells=["channel:ops-webhook", "oncall:shops"])
    ),
    "rule": lambda page: rules.rule_html(
        Edited(
            name="lens-covered",
            row=rule_rows()[0],
            text=_TEXT,
            doubts=["step 2: ben has no contact"],
            versions=VERSIONS,
            tried=TRIED,
        ),
        page,
    ),
    "rule-new": lambda page: rules.rule_html(
        Edited(text="rule: ", likes=["site-dark", "device-dark", "after-hours"], tried=UNKNOWN),
        page,
        problem="line 1: rule: needs a name, as in lens-covered",
    ),
    "rule-removed": lambda page: rules.rule_html(
        Edited(name=_LONG, text=_TEXT, versions=VERSIONS[1:]),
        page,
        whole=False,
        problem=rules.said_meanwhile("lens-covered", VERSIONS),
    ),
    "rules-file": lambda page: rules.file_html(
        _TEXT, page, book=7, asked={"note": "ours", "prune": "yes"}, outcome=OUTCOME
    ),
    "ladders": lambda page: ladders.ladders_html([LADDER, LADDER], page),
    "ladders-empty": lambda page: ladders.ladders_html([], page),
    "ladder": lambda page: ladders.ladder_html(
        LADDER, writing.text_of(LADDER.ladder), page, followed=FOLLOWED, versions=VERSIONS
    ),
    "oncall": lambda page: ladders.oncall_html([SCHEDULE, _NOBODY], page, WINDOW_MS),
    "oncall-empty": lambda page: ladders.oncall_html([], page, WINDOW_MS),
    "schedule": lambda page: ladders.schedule_html(
        SCHEDULE,
        writing.text_of(SCHEDULE.schedule),
        page,
        WINDOW_MS,
        people=[("anna", True), ("ben", True), ("chris", False)],
        overrides=[("ovr-1", "chris", NOW_MS, NOW_MS + DAY_MS, "wedding")],
        left=Left(note="the back door sticks", made_by="ben", made_ms=NOW_MS),
        told="ben was told by mail",
        versions=VERSIONS,
    ),
    "silences": lambda page: silences.list_html(SILENCES, page, asked={"site": "north"}),
    "silences-empty": lambda page: silences.list_html([], page),
    "channels": lambda page: channels.list_html(CHANNELS, page),
    "channels-empty": lambda page: channels.list_html([], page),
    "channel": lambda page: channels.channel_html(
        CHANNELS[0],
        deliveries()[:3],
        page,
        secret="whsec_c2hvd24gb25jZQ==",  # noqa: S106 - nobody's
    ),
    "deliveries": lambda page: channels.deliveries_html(deliveries(), DeliveryQuery(), page),
    "deliveries-empty": lambda page: channels.deliveries_html([], DeliveryQuery(), page),
}
