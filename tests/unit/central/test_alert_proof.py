"""What a notice about an event says: what was seen, where, when by its site, and how sure."""

from functools import partial

import msgspec

from tests.unit.central.alert_world import START, Memory, S
from vedette.central.alerting import looking, picturing, seeing
from vedette.central.alerting.channels import words
from vedette.central.alerting.facts import (
    EventMatch,
    Group,
    Notice,
    Rule,
    Seen,
    Signal,
    Subject,
    Turn,
)
from vedette.central.alerting.places import Site
from vedette.central.clips.fetching import Clip, StoredFile
from vedette.wire.messages import EventKind


def event(number: int, at_ms: int, **changes: object) -> Signal:
    """Return somebody in the zone."""
    made = Signal(
        rule="intrusion", turn=Turn.EVENT, at_ms=at_ms, known_ms=at_ms, event=f"ev-{number}",
        subject=Subject(site="s1", device="d1", camera="door", place="entrance"),
        kind=EventKind.ZONE_ENTERED, label="person", confidence=0.871, text="zone entered",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def told(memory: Memory) -> Notice:
    """Return the newest notice, with the links that the dispatcher adds."""
    notice = memory.notices[-1]
    return msgspec.structs.replace(
        notice,
        url=f"https://c.example/incidents/{notice.incident.incident}",
        event_url=f"https://c.example/events/{notice.event}",
    )


def test_a_notice_of_an_event_says_what_was_seen_and_names_its_proof() -> None:
    """Words in the site's own time; the newest event with a clip stands for the incident."""
    memory = Memory()
    place = Site(site="s1", name="North Street", time_zone="Europe/Lisbon")
    memory.places = msgspec.structs.replace(memory.places, sites={"s1": place})
    memory.turn(event(1, START, evidence="cl-1"), event(2, START + S))
    notice = told(memory)
    assert (notice.event, notice.evidence, notice.round, notice.step) == ("ev-1", "cl-1", 1, 1)
    said = (
        "person entered entrance: camera door, North Street (s1),"
        " 2023-11-14 22:13:20 Europe/Lisbon; 87 % sure"
    )
    assert words.short(notice).split("\n")[1] == f"{said} (2 times)"
    long = words.long(notice)
    assert f"Seen: {said}" in long
    assert "since 2023-11-14 22:13 Europe/Lisbon" in long
    assert f"{notice.evidence}: {notice.event_url}" in long
    assert notice.url in long
    body = words.body(notice, "dl-1")["data"]
    assert (body["event"], body["evidence"]) == ("ev-1", "cl-1")
    assert body["incident"]["seen"]["text"] == said
    memory.turn(event(3, START + 2 * S, evidence="cl-3"), event(4, START + S, evidence="cl-4"))
    memory.run(400)
    assert (told(memory).event, told(memory).channel) == ("ev-3", "boss")
    memory.turn(event(5, START + 3 * S, evidence="cl-5", late=True))
    memory.run(700)
    assert (told(memory).kind, told(memory).event) == ("resolved", "ev-3")
    assert "Seen" not in words.short(told(memory))


def test_nothing_is_said_that_the_device_did_not_say() -> None:
    """No label, no zone, no confidence, a kind of a release yet to come, a zone that is no more."""
    seen = Seen(event="e", kind="levitated{at}", at_ms=START, subject=Subject(site="s1"))
    assert seeing.sentence(seen) == "levitated{at}: s1, 2023-11-14 22:13:20 UTC"
    seen = msgspec.structs.replace(seen, kind=EventKind.ANOMALY, time_zone="Atlantis/Capital")
    assert seeing.sentence(seen) == ("unlike what it should look like: s1, 2023-11-14 22:13:20 UTC")
    assert {*seeing._DID} == set(EventKind)


def test_who_sees_one_site_learns_nothing_of_what_was_seen_at_another() -> None:
    """The event that stands for an incident is shown to whoever sees its site, and nobody else."""
    rule = Rule(rule="intrusion", event=EventMatch(kinds=[EventKind.ZONE_ENTERED]),
                group=Group.RULE, ladder="guards")  # fmt: skip
    memory = Memory(rule)
    other = Subject(site="s2", device="d2", camera="gate", place="gate")
    memory.turn(event(1, START), event(2, START + S, subject=other, evidence="cl-2"))
    [incident] = memory.open
    assert looking.seen(incident, ["s2"]).seen is not None
    shown = msgspec.json.encode(looking.seen(incident, ["s1"])).decode()
    assert "s2" not in shown
    assert "cl-2" not in shown


def test_a_picture_goes_only_as_the_policy_has_it_now() -> None:
    """What came whole stays once only blurred ones may leave; every other case is a sentence."""
    seen = Seen(event="e", evidence="cl", kind="x", at_ms=START, subject=Subject(site="s1"))
    poster = StoredFile(name="poster.jpg", sha256="a" * 64, bytes=9, whole=True)
    here = Clip(
        device="d", evidence="cl", event="e", site="s1", camera="c", request="r", asked_by="a",
        asked_ms=0, expires_ms=9, state="here", form="clip",
    )  # fmt: skip
    clip = partial(msgspec.structs.replace, here)
    large = msgspec.structs.replace(poster, bytes=2**21)
    part = msgspec.structs.replace(poster, whole=False)
    cases = [
        ("clip", here, [poster], ""), ("", here, [poster], picturing.STAYS),
        ("blurred", here, [poster], picturing.ONLY_BLURRED),
        ("clip", here, [], picturing.ONLY_BLURRED), ("clip", here, [part], picturing.ONLY_BLURRED),
        ("clip", here, [large], picturing.TOO_LARGE), ("clip", None, [], picturing.NOT_ASKED),
        ("clip", clip(state="sending"), [poster], picturing.COMING),
        ("clip", clip(state="expired"), [], picturing.NOT_ASKED),
        ("clip", clip(state="refused", said="gone"), [], f"{picturing.NONE_SENT} (gone)."),
    ]  # fmt: skip
    for leaves, one, files, said in cases:
        found = picturing.judged(seen, leaves, one, files, asked=False)
        assert (found.said, found.file) == (said, None if said else poster)
    assert picturing.judged(seen, "clip", None, [], asked=True).said == picturing.COMING
    still = msgspec.structs.replace(poster, name="blurred.jpg")
    blurred, like = clip(form="blurred"), partial(msgspec.structs.replace, still)
    cases = [
        ("blurred", blurred, [still], ""), ("", blurred, [still], picturing.STAYS),
        ("clip", blurred, [still], ""),  # the policy lets more go since it came
        ("blurred", blurred, [], picturing.ONLY_BLURRED),  # made before there were stills
        ("blurred", blurred, [like(whole=False)], picturing.ONLY_BLURRED),
        ("blurred", blurred, [like(bytes=2**21)], picturing.TOO_LARGE),
        ("blurred", blurred, [like(name="Blurred.jpg")], picturing.ONLY_BLURRED),
    ]  # fmt: skip
    for leaves, one, files, said in cases:
        found = picturing.judged(seen, leaves, one, files, asked=False)
        assert (found.said, found.file) == (said, None if said else still)
    both = picturing.judged(seen, "blurred", here, [poster, still], asked=False)
    assert both.file == still
    none = msgspec.structs.replace(seen, evidence="")
    assert picturing.judged(none, "clip", None, [], asked=True).said == picturing.NO_CLIP
