"""Matching and counting hold against a naive model over random rules and events."""

from fnmatch import fnmatchcase

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.central.alerting import places
from vedette.central.alerting.facts import EventMatch, Group, Rule, Subject, Where
from vedette.central.alerting.matching import Happened, Matcher
from vedette.central.alerting.places import Members, Places, Site
from vedette.central.hours import Hours
from vedette.wire.messages import EventKind, EventReport

T = 1_772_438_400_000  # Monday 2026-03-02 08:00 UTC

_SITES = {
    "a": Site(site="a", folder="north/x", opening=Hours(weekly={"mo": [("08:00", "08:10")]})),
    "b": Site(site="b", folder="south"),
}
_GROUPS = {"g": Members(cameras=frozenset({("a-1", "cam")}))}
_AT = Places(sites=_SITES, groups=_GROUPS)
_KINDS = [EventKind.TAMPER, EventKind.DWELL, EventKind.ANOMALY]
_NAMES = ["till", "till-1", "door"]
_PATTERNS = ["till*", "?oor", "*", "door", "t*1"]


@st.composite
def _rule(draw: st.DrawFn) -> Rule:
    few = st.lists(st.sampled_from(["a", "b"]), max_size=1)
    match = EventMatch(
        kinds=draw(st.lists(st.sampled_from(_KINDS), min_size=1, max_size=2, unique=True)),
        places=draw(st.lists(st.sampled_from(_PATTERNS), max_size=2)),
        labels=draw(st.lists(st.sampled_from(["person", "dog"]), max_size=1)),
        confidence=draw(st.none() | st.sampled_from([0.3, 0.6])),
        dwell_s=draw(st.none() | st.just(10.0)),
        direction=draw(st.sampled_from(["", "in"])),
        at_least=draw(st.integers(1, 3)),
        within_s=draw(st.sampled_from([5.0, 60.0])),
    )
    where = Where(
        sites=draw(few),
        folders=draw(st.sampled_from([[], ["north"], ["south/x"]])),
        cameras=draw(st.sampled_from([[], ["c*"], ["a-1/cam"], ["b-1/*"]])),
        groups=draw(st.sampled_from([[], ["g"], ["gone"]])),
    )
    return Rule(
        rule="r",
        event=match,
        where=where,
        hours=draw(st.sampled_from(["always", "open", "closed"])),
        group=draw(st.none() | st.sampled_from(list(Group))),
    )


@st.composite
def _event(draw: st.DrawFn) -> Happened:
    site = draw(st.sampled_from(["a", "b"]))
    kind, at_ms = draw(st.sampled_from(_KINDS)), T + draw(st.integers(0, 1200)) * 1000
    place, label = draw(st.sampled_from(_NAMES)), draw(st.sampled_from(["person", "dog", ""]))
    report = EventReport(
        event="e",
        camera="cam",
        kind=kind,
        at_ms=at_ms,
        where=place,
        label=label,
        direction=draw(st.sampled_from(["", "in", "out"])),
        confidence=draw(st.none() | st.sampled_from([0.2, 0.3, 0.9])),
        dwell_s=draw(st.none() | st.sampled_from([9.0, 10.0])),
    )
    return Happened(
        device=f"{site}-{draw(st.sampled_from([1, 2]))}",
        event="e",
        site=site,
        camera=draw(st.sampled_from(["cam", "other"])),
        kind=str(kind),
        at_ms=at_ms,
        received_ms=at_ms,
        late=draw(st.booleans()),
        label=label,
        where_name=place,
        evidence="",
        body=msgspec.msgpack.encode(report),
    )


def _naively_meant(rule: Rule, one: Happened) -> bool:
    match, where, report = rule.event, rule.where, msgspec.msgpack.decode(one.body)
    assert match is not None
    folder = _SITES[one.site].folder
    open_now = one.site == "a" and one.at_ms < T + 600_000
    return all(
        (
            one.kind in match.kinds,
            not match.labels or one.label in match.labels,
            not match.places or any(fnmatchcase(one.where_name, p) for p in match.places),
            match.direction in {"", report["direction"]},
            match.confidence is None or (report["confidence"] or 0) >= match.confidence,
            match.dwell_s is None or (report["dwell_s"] or 0) >= match.dwell_s,
            not where.sites or one.site in where.sites,
            not where.folders or any(f"{folder}/".startswith(f"{f}/") for f in where.folders),
            not where.cameras
            or any(
                fnmatchcase(f"{one.device}/{one.camera}" if "/" in p else one.camera, p)
                for p in where.cameras
            ),
            not where.groups
            or ("g" in where.groups and (one.device, one.camera) == ("a-1", "cam")),
            rule.hours == "always" or (one.site == "a" and open_now == (rule.hours == "open")),
        )
    )


def _naive_key(rule: Rule, one: Happened) -> tuple[object, ...]:
    parts = (one.site, one.device, one.camera, one.where_name)
    size = {None: 3, "rule": 0, "site": 1, "device": 2, "camera": 3, "place": 4}[rule.group]
    return (one.late, *parts[:size])


@settings(max_examples=60)
@given(_rule(), st.lists(_event(), max_size=25))
def test_matching_is_what_a_naive_model_says(rule, events):
    """Places, hours, numbers, and so many within a time, in whichever order they come."""
    matcher = Matcher([rule], _AT)
    before: list[Happened] = []
    match = rule.event
    assert match is not None
    for one in events:
        signals = matcher.take(one)
        expected = False
        if _naively_meant(rule, one):
            before.append(one)
            mine = _naive_key(rule, one)
            times = sorted(e.at_ms for e in before if _naive_key(rule, e) == mine)
            newest = times[-match.at_least :]
            expected = match.at_least == 1 or (
                len(newest) == match.at_least
                and newest[-1] - newest[0] <= match.within_s * 1000
                and one.at_ms >= newest[0]
            )
        assert bool(signals) == expected
        assert all(signal.late == one.late for signal in signals)


@given(st.text(st.sampled_from("ab*?"), max_size=8), st.text(st.sampled_from("ab-"), max_size=8))
def test_a_pattern_fits_what_a_file_name_would(pattern, name):
    """`*` is any text, `?` one character."""
    assert places.fits(pattern, name) == fnmatchcase(name, pattern)


def test_a_pattern_of_many_stars_takes_no_time():
    """What would be tried again and again elsewhere."""
    assert not places.fits("*a" * 60 + "b", "a" * 128)


def test_what_a_subject_has_nothing_of_never_holds():
    """A rule for one device does not speak of a whole site."""
    site = Subject(site="a")
    assert places.holds(Where(sites=["a"]), site, _AT)
    assert not places.holds(Where(devices=["a-1"]), site, _AT)
    assert not places.holds(Where(cameras=["*"]), site, _AT)
