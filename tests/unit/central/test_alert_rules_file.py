"""The file of rules: what it may say, errors that name the line, hostile files."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from vedette.central.alerting import applying, rules, starter
from vedette.central.alerting.applying import Known
from vedette.central.alerting.facts import (
    Book,
    Contact,
    EventMatch,
    Group,
    Health,
    HealthMatch,
    Ladder,
    LadderStep,
    Rule,
    Schedule,
    Severity,
    Shift,
    Where,
)
from vedette.errors import ConfigError
from vedette.wire.messages import EventKind


@pytest.mark.parametrize("tell", ["", "channel:ops", "person:anna@shop", "oncall:night"])
def test_the_starter_can_be_applied_and_says_the_usual(tell):
    """To an empty central too; with somebody to tell every ladder leads there."""
    file = rules.load(starter.text(tell).encode())
    kinds = {rule.health.is_ for rule in file.rules if rule.health}
    assert kinds == set(Health)
    assert bool(file.ladders) == bool(tell)
    named = {rule.ladder for rule in file.rules} - {""}
    assert named <= {ladder.ladder for ladder in file.ladders}
    (ended,) = [
        rule.health
        for rule in file.rules
        if rule.health and rule.health.is_ is Health.PIPELINE_CRASHED
    ]
    assert ended.for_s >= 60, "a device that has just started does not run its pipeline yet"


def test_the_starter_tells_nobody_whose_name_would_be_more_than_a_name():
    """What stands on the command line does not become YAML."""
    with pytest.raises(ConfigError, match="is nobody"):
        starter.text("channel:ops]}\nrules: []")


WRONG = {
    "unknown-field": ("rules:\n- rule: a\n  sverity: info", ":3", "did you mean 'severity'"),
    "unknown-event": ("rules:\n- rule: a\n  event: {kinds: [walked]}", ":3", "walked"),
    "both": (
        "rules:\n- rule: a\n  event: {kinds: [tamper]}\n  health: {is: disk}",
        ":2",
        "events or of health",
    ),
    "within": ("rules:\n- rule: a\n  event: {kinds: [tamper], at_least: 3}", ":3", "within"),
    "share": ("rules:\n- rule: a\n  event: {kinds: [tamper], score: 60}", ":3", "no share"),
    "above": ("rules:\n- rule: a\n  health: {is: site_dark, above: 3}", ":3", "no number"),
    "nan": ("rules:\n- rule: a\n  health: {is: disk, above: .nan}", ":3", "never be passed"),
    "hours": ("rules:\n- rule: a\n  hours: night\n  health: {is: disk}", ":3", "always, open"),
    "title": ("rules:\n- rule: a\n  title: '{disk}'\n  health: {is: disk}", ":3", "{disk}"),
    "attribute": (
        "rules:\n- rule: a\n  title: '{site.__class__}'\n  health: {is: disk}",
        ":3",
        "not known",
    ),
    "cameras-of-a-site": (
        "rules:\n- rule: a\n  health: {is: site_dark}\n  where: {cameras: [c]}",
        ":4",
        "no camera",
    ),
    "rollout-somewhere": (
        "rules:\n- rule: a\n  health: {is: rollout}\n  where: {sites: [s]}",
        ":4",
        "of the fleet",
    ),
    "twice": (
        "rules:\n- rule: a\n  health: {is: disk}\n- rule: a\n  health: {is: clock}",
        ":4",
        "twice",
    ),
    "name": ("rules:\n- rule: A b\n  health: {is: disk}", ":2", "cannot be a name"),
    "steps": ("ladders:\n- ladder: a\n  steps: []", ":3", "0 steps"),
    "order": (
        (
            "ladders:\n- ladder: a\n  steps:\n"
            "  - {after_s: 9, tell: [channel:x]}\n  - {after_s: 1, tell: [channel:x]}"
        ),
        ":5",
        "before the step above",
    ),
    "tell": ("ladders:\n- ladder: a\n  steps:\n  - {tell: [ops]}", ":4", "channel:NAME"),
    "zone": (
        (
            "schedules:\n- schedule: a\n  time_zone: Mars/Base\n  shifts:\n"
            "  - {people: [anna], start: 2026-03-02T09:00}"
        ),
        ":3",
        "time zone",
    ),
    "start": (
        (
            "schedules:\n- schedule: a\n  time_zone: UTC\n  shifts:\n"
            "  - {people: [anna], start: monday}"
        ),
        ":5",
        "local date",
    ),
    "unquoted-time": (
        (
            "schedules:\n- schedule: a\n  time_zone: UTC\n  shifts:\n"
            "  - {people: [anna], start: 2026-03-02T09:00, weekly: {mo: [[10:00, 12:00]]}}"
        ),
        ":5",
        "str",
    ),
    "contact": ("contacts:\n  anna:\n  - {channel: 'A B'}", ":3", "cannot name a channel"),
}


@pytest.mark.parametrize(("text", "line", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_its_line_and_what_to_do(text, line, said):
    """Whoever reads the error can mend the file."""
    with pytest.raises(ConfigError) as caught:
        rules.load(text.encode(), name="r.yaml")
    assert f"r.yaml{line}:" in str(caught.value)
    assert said in f"{caught.value} {caught.value.operator_hint}"


HOSTILE = {
    "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(
        f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]"
        for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "deep": "rules: " + "[" * 50_000,
    "deep-maps": "{a: " * 5_000 + "1" + "}" * 5_000,
    "itself": "rules: &r [*r]",
    "tag": "rules: !!python/object/apply:os.system ['true']",
    "merge": "x: &x {rule: a}\nrules:\n- {<<: *x, health: {is: disk}}",
    "huge": "rules: [" + "x," * 200_000 + "]",
    "no-text": "\ud800",
    "list": "- 1",
    "number": "7",
    "many-errors": "rules:\n" + "- {rule: a}\n" * 3_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_within_a_moment(text):
    """No bomb, depth, tag or size makes more than an error."""
    with pytest.raises(ConfigError):
        rules.load(text.encode(errors="surrogatepass"))


def test_names_that_nobody_has_are_refused_with_those_that_there_are():
    """A ladder, channel, schedule or person that is misspelt would tell nobody."""
    names = Known(channels=frozenset({"ops"}), users=frozenset({"anna"}))
    for text, said in (
        ("rules: [{rule: a, health: {is: disk}, ladder: loud}]", "no ladder 'loud'"),
        ("ladders: [{ladder: a, steps: [{tell: [channel:opps]}]}]", "no channel 'opps'"),
        ("ladders: [{ladder: a, steps: [{tell: [person:ana]}]}]", "no user 'ana'"),
        ("ladders: [{ladder: a, steps: [{tell: [oncall:x]}]}]", "no schedule 'x'"),
        ("contacts: {anna: [{channel: mail}]}", "no channel 'mail'"),
        ("rules: [{rule: a, health: {is: disk}, where: {groups: [g]}}]", "no group 'g'"),
    ):
        file, line_of = rules.load_lines(text.encode())
        with pytest.raises(ConfigError, match=said):
            applying.check(file, Book(), names, line_of)


def test_the_difference_says_what_of_a_rule_is_other():
    """Entry by entry; what the file does not name stays, or goes where that is asked for."""
    before = rules.load(b"rules: [{rule: a, health: {is: disk}}, {rule: b, health: {is: clock}}]")
    book = Book(rules={rule.rule: rule for rule in before.rules})
    file = rules.load(b"rules: [{rule: a, severity: critical, health: {is: disk, above: 0.8}}]")
    changed, kept = applying.difference(file, book)
    assert (changed.what, changed.lines) == (
        "changed",
        ["health.above: null → 0.8", 'severity: "warning" → "critical"'],
    )
    assert (kept.what, kept.name) == ("kept", "b")
    assert [one.what for one in applying.difference(file, book, prune=True)] == [
        "changed",
        "removed",
    ]


_SLUGS = st.sampled_from(["a", "shop-1", "no", "on", "true", "x.y_z"])
_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=30).filter(
    lambda text: text.isprintable() and "{" not in text and "}" not in text
)
_WHERE = st.builds(
    Where,
    sites=st.lists(_SLUGS, max_size=2),
    cameras=st.lists(st.sampled_from(["*", "door?", "box/cam"]), max_size=2),
)
_EVENTS = st.builds(
    EventMatch,
    kinds=st.lists(st.sampled_from(list(EventKind)), min_size=1, max_size=3),
    places=st.lists(st.sampled_from(["*", "till*", "yes"]), max_size=2),
    confidence=st.none() | st.floats(0, 1),
    at_least=st.integers(1, 9),
    within_s=st.floats(1, 600),
)
_RULES = st.builds(
    Rule,
    rule=_SLUGS,
    severity=st.sampled_from(list(Severity)),
    title=_TEXT,
    todo=_TEXT,
    enabled=st.booleans(),
    event=_EVENTS,
    where=_WHERE,
    group=st.none() | st.sampled_from(list(Group)),
)


@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(st.lists(_RULES, max_size=4, unique_by=lambda rule: rule.rule), _TEXT)
def test_what_stands_comes_back_from_the_file_that_is_made_of_it(listed, address):
    """Whatever it says: `show` makes what `apply` takes."""
    book = Book(
        rules={rule.rule: rule for rule in listed},
        ladders={"l": Ladder(ladder="l", steps=[LadderStep(tell=["channel:on"])], repeat_s=60.0)},
        schedules={
            "s": Schedule(
                schedule="s",
                time_zone="Europe/Lisbon",
                shifts=[
                    Shift(
                        people=["anna", "no"],
                        start="2026-03-02T09:00",
                        weekly={"mo": [("10:00", "12:00")]},
                    )
                ],
            )
        },
        contacts={"anna@x": [Contact(channel="mail", address=address)]},
    )
    read = rules.load(applying.text_of(book).encode())
    assert applying.difference(read, book, prune=True) == [
        msg for msg in applying.difference(read, book) if msg.what == "same"
    ]
    assert len(applying.difference(read, book)) == len(listed) + 3


def test_a_condition_takes_its_number_where_it_has_one():
    """So that `above` is never read by nobody."""
    for health in Health:
        match = HealthMatch(is_=health, above=0.5)
        wrong = [path for path, _ in rules.rule_problems(Rule(rule="a", health=match))]
        takes = health in rules.DEFAULT_ABOVE or health is Health.THROTTLED
        assert (("health", "above") in wrong) == (not takes)
