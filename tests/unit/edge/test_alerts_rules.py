"""Which local rules fire, what is told of trouble, and what is left to central. Pure."""

import msgspec
import pytest

from vedette.edge.alerts.conditions import Conditions, Facts
from vedette.edge.alerts.deciding import Line, Pending, due_ns, is_taken
from vedette.edge.alerts.matching import Matcher, Place, alert_of
from vedette.edge.alerts.said import for_device, merged
from vedette.errors import ConfigError
from vedette.wire.alerts import (
    ChannelKind,
    EventMatch,
    LocalAlerts,
    LocalChannel,
    LocalHealth,
    LocalHealthMatch,
    LocalRule,
    Turn,
    When,
)
from vedette.wire.messages import (
    CameraHealth,
    EventKind,
    EventReport,
    HealthReport,
    PipelineHealth,
    State,
    SystemHealth,
)

PLACE = Place("yard", "box")
LAMP = LocalChannel(channel="lamp", kind=ChannelKind.COMMAND, argv=["/bin/lamp"])
EVENT = EventReport(
    event="ev-1", camera="door", kind=EventKind.ZONE_ENTERED, at_ms=5, where="till", label="person"
)
S = 1_000_000_000


def rule(match: EventMatch, quiet_s: float = 0.0, cameras: list[str] | None = None) -> LocalRule:
    """Return a rule about events."""
    return LocalRule(
        rule="r", channels=["lamp"], event=match, quiet_s=quiet_s, cameras=cameras or []
    )


MATCHES = [
    (EventMatch(kinds=[EventKind.ZONE_ENTERED]), True),
    (EventMatch(kinds=[EventKind.DWELL]), False),
    (EventMatch(kinds=[EventKind.ZONE_ENTERED], places=["t*"]), True),
    (EventMatch(kinds=[EventKind.ZONE_ENTERED], places=["door"]), False),
    (EventMatch(kinds=[EventKind.ZONE_ENTERED], labels=["cart"]), False),
    (EventMatch(kinds=[EventKind.ZONE_ENTERED], confidence=0.5), False),  # it has none
    (EventMatch(kinds=[EventKind.ZONE_ENTERED], direction="forward"), False),
]


@pytest.mark.parametrize(("match", "fires"), MATCHES, ids=range(len(MATCHES)))
def test_all_that_a_match_says_holds(match: EventMatch, fires: bool) -> None:
    """One thing that does not hold is enough for silence; what was not measured does not hold."""
    assert bool(list(Matcher().fire([rule(match)], EVENT, PLACE, 0.0))) is fires


def test_cameras_counts_and_quiet_times_are_kept_apart() -> None:
    """The third within ten seconds on one camera fires; then it is quiet there, and only there."""
    match = EventMatch(kinds=[EventKind.ZONE_ENTERED], at_least=3, within_s=10.0)
    counted = [rule(match, quiet_s=60.0)]
    matcher = Matcher()
    yard = msgspec.structs.replace(EVENT, camera="yard")

    def fired(event: EventReport, *at_s: float) -> list[float]:
        return [t for t in at_s if list(matcher.fire(counted, event, PLACE, t))]

    assert fired(EVENT, 0, 9, 18, 19) == [19]
    assert fired(yard, 20, 20.5, 21) == [21]
    assert fired(EVENT, 22, 23, 24) == []
    assert fired(EVENT, 80, 81, 82) == [82]
    outside = [rule(match, cameras=["gate*"])]
    assert not list(Matcher().fire(outside, EVENT, PLACE, 0.0))


def test_the_same_event_and_rule_give_the_same_name() -> None:
    """A receiver knows a repetition after a crash by it; it holds no full stop, which signs."""
    match = rule(EventMatch(kinds=[EventKind.ZONE_ENTERED]))
    first, again = alert_of(match, EVENT, PLACE), alert_of(match, EVENT, PLACE)
    other = alert_of(msgspec.structs.replace(match, rule="s"), EVENT, PLACE)
    assert first.alert == again.alert != other.alert
    assert "." not in first.alert
    assert first.text == "door: zone entered at till (person)"


def health(is_: LocalHealth, for_s: float = 0.0, above: float | None = None) -> LocalRule:
    """Return a rule about trouble."""
    match = LocalHealthMatch(is_=is_, for_s=for_s, above=above)
    return LocalRule(rule="h", channels=["lamp"], health=match)


def test_trouble_is_told_once_after_its_time_and_its_end_once() -> None:
    """A camera that comes back before its time was never told of."""
    conditions, rules = Conditions(), [health(LocalHealth.CAMERA_DOWN, for_s=10.0)]
    down = Facts(cameras={"door": (State.DOWN, "no route")})
    up = Facts(cameras={"door": (State.OK, "")})

    def told(facts: Facts, at_s: float) -> list[tuple[Turn, str]]:
        now = (at_s, round(at_s * 1000))
        return [(a.turn, a.text) for _, a in conditions.look(rules, facts, PLACE, now)]

    assert told(down, 0) == []
    assert told(up, 5) == []
    assert told(down, 6) == []
    assert told(down, 15) == []
    assert told(down, 16) == [(Turn.RAISED, "door: camera down: no route")]
    assert told(down, 30) == []
    assert told(up, 31) == [(Turn.CLEARED, "door: camera down: over")]
    assert told(up, 32) == []


def test_what_was_not_measured_is_no_trouble() -> None:
    """A machine without a figure raises nothing; one above its bound does."""
    rules = [health(LocalHealth.DISK, above=0.8)]

    def told(used: float | None) -> list[float | None]:
        report = HealthReport(
            at_ms=1, period_s=30, version="1", system=SystemHealth(disk_used_fraction=used)
        )
        facts = Facts(cameras={}, report=report)
        return [a.value for _, a in Conditions().look(rules, facts, PLACE, (0.0, 0))]

    assert told(None) == told(0.8) == []
    assert told(0.93) == [0.93]


def test_a_pipeline_that_is_down_and_a_central_that_is_away_are_told() -> None:
    """Both stand in no number."""
    report = HealthReport(
        at_ms=1,
        period_s=30,
        version="1",
        pipeline=PipelineHealth(
            running=False,
            last_exit="killed",
            cameras=[CameraHealth(camera="door", state=State.OK, since_ms=1)],
        ),
    )
    facts = Facts(cameras={}, report=report, cut_off_s=61.0)
    rules = [
        health(LocalHealth.PIPELINE_CRASHED),
        msgspec.structs.replace(health(LocalHealth.CENTRAL_UNREACHABLE), rule="away"),
    ]
    told = [a.text for _, a in Conditions().look(rules, facts, PLACE, (0.0, 0))]
    assert told == ["the pipeline ended: killed", "central does not answer since 61 s"]


def test_nothing_waits_while_central_is_known_to_be_away() -> None:
    """Due at once then; else central has its time, from the event or from its silence."""
    alert = alert_of(rule(EventMatch(kinds=[EventKind.ZONE_ENTERED])), EVENT, PLACE)
    away = msgspec.structs.replace(LAMP, after_s=10.0)
    one = Pending(alert, away, 100 * S, (1, 7))
    assert due_ns(one, Line(answered_ns=99 * S)) == 110 * S
    assert due_ns(one, Line(silent_ns=95 * S)) == 105 * S
    assert due_ns(one, Line(silent_ns=20 * S)) == 30 * S
    always = Pending(alert, msgspec.structs.replace(away, when=When.ALWAYS), 100 * S)
    assert due_ns(always, Line(answered_ns=99 * S)) == 100 * S


def test_what_central_took_is_not_told_again() -> None:
    """An event that left the spool, and trouble of which a report was answered since."""
    alert = alert_of(rule(EventMatch(kinds=[EventKind.ZONE_ENTERED])), EVENT, PLACE)
    event = Pending(alert, LAMP, 100 * S, (1, 7))
    trouble = Pending(alert, LAMP, 100 * S)
    assert is_taken(event, Line(), waits=False)
    assert not is_taken(event, Line(), waits=True)
    assert is_taken(trouble, Line(answered_ns=101 * S), waits=False)
    assert not is_taken(trouble, Line(answered_ns=99 * S), waits=False)
    always = msgspec.structs.replace(LAMP, when=When.ALWAYS)
    assert not is_taken(Pending(alert, always, 100 * S, (1, 7)), Line(), waits=False)


def test_centrals_rules_name_only_what_the_site_opened_to_them() -> None:
    """A stolen central can drive no command that the site's key kept to itself."""
    horn = msgspec.structs.replace(LAMP, channel="horn", from_central=True)
    own = rule(EventMatch(kinds=[EventKind.DWELL]))
    said = LocalAlerts(channels=[LAMP, horn], rules=[own])
    to_horn = msgspec.structs.replace(own, rule="c", channels=["horn"])
    to_lamp = msgspec.structs.replace(own, rule="d", channels=["horn", "lamp"])
    disguised = msgspec.structs.replace(own, channels=["horn"])
    held, problems = for_device(said, [to_horn, to_lamp, disguised], "box")
    assert held.rules == [own, to_horn]
    assert len(problems) == 2


def test_a_device_has_only_its_own_channels_and_rules() -> None:
    """A rule whose channels are all on other devices is none here."""
    theirs = msgspec.structs.replace(LAMP, channel="horn", devices=["other"])
    both = msgspec.structs.replace(
        rule(EventMatch(kinds=[EventKind.DWELL])), channels=["lamp", "horn"]
    )
    alone = msgspec.structs.replace(both, rule="a", channels=["horn"])
    held, problems = for_device(
        LocalAlerts(channels=[LAMP, theirs], rules=[both, alone]), [], "box"
    )
    assert [one.channel for one in held.channels] == ["lamp"]
    assert [(one.rule, one.channels) for one in held.rules] == [("r", ["lamp"])]
    assert problems == []


def test_what_was_sealed_is_checked_after_it_was_opened() -> None:
    """Whoever signs may be careless: a command by a relative path in a box refuses the policy."""
    stub = msgspec.structs.replace(LAMP, argv=[])
    assert merged(LocalAlerts(channels=[stub]), [LAMP]).channels == [LAMP]
    bad = msgspec.structs.replace(LAMP, argv=["lamp"])
    with pytest.raises(ConfigError, match="no absolute path"):
        merged(LocalAlerts(channels=[stub]), [bad])
