"""The parts of exports that decide: CloudEvents, links, what an export asks for, names in a zip."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cloud_event_rules import check_cloud_event
from vedette.central.alerting import silences
from vedette.central.alerting.channels import s3
from vedette.central.alerting.facts import Where
from vedette.central.alerting.silences import NewSilence
from vedette.central.exporting import archive, cloudevents, facts, holding, links, packing
from vedette.central.exporting.facts import Export, File, Thing
from vedette.central.exporting.links import Link
from vedette.cli import central_archive
from vedette.errors import ConfigError, NotAllowed, TrustError
from vedette.wire.messages import EventKind, EventReport, EvidenceRecord

NOW_MS = 1_772_438_400_000
KEY = b"k" * 32
GOOD = Link(export="mes", device="box", evidence="evd-1", name="clip.mp4", expires_ms=NOW_MS + 1000)
SLUGS = st.from_regex(r"\A[a-z0-9](?:[a-z0-9._-]{0,20}[a-z0-9])?\Z")


@given(
    told=st.sampled_from(["event", "evidence", "clip"]),
    names=st.tuples(SLUGS, SLUGS, SLUGS, SLUGS, SLUGS),
    kind=st.sampled_from(list(EventKind)),
    words=st.tuples(st.text(max_size=80), st.text(max_size=40), st.text(max_size=300)),
    at_ms=st.integers(0, 4_102_444_800_000),
    late=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_device_says_is_a_cloud_event(  # noqa: PLR0917 - what a device says
    told: facts.Told,
    names: tuple[str, str, str, str, str],
    kind: EventKind,
    words: tuple[str, str, str],
    at_ms: int,
    late: bool,
) -> None:
    """Valid by the specification; the same thing has the same id, other things have others."""
    site, device, camera, event, evidence = names
    where, label, site_name = words
    report = EventReport(
        event=event, camera=camera, kind=kind, at_ms=at_ms, where=where, label=label,
        evidence=evidence,
    )  # fmt: skip
    record = EvidenceRecord(evidence=evidence, event=event, camera=camera, wanted_ms=(1, 2))
    thing = Thing(
        told=told, site=site, site_name=site_name, device=device, camera=camera, event=report,
        received_ms=at_ms, late=late, record=record, form="clip",
        files=[File(name="clip.mp4", sha256="0" * 64, bytes=1, media="video/mp4")],
    )  # fmt: skip
    said = msgspec.json.decode(cloudevents.encoded(thing))
    check_cloud_event(said)
    assert said["data"]["event"]["where"] == where
    assert said["data"]["site"]["name"] == site_name
    others = {
        cloudevents.id_of(msgspec.structs.replace(thing, told=one)) for one in ("evidence", "clip")
    }
    assert len(others) == 2
    topic = cloudevents.topic_of(thing)
    assert not set(topic) & set("+#\0")
    assert topic.count("/") == 3
    assert ".." not in cloudevents.folder_of(thing).split("/")


@given(
    part=st.sampled_from(["export", "device", "evidence", "name"]),
    text=st.text(max_size=80),
    later_ms=st.integers(-(2**60), 2**60),
    given_=st.text(max_size=200),
)
@settings(max_examples=60, deadline=None)
def test_a_link_that_is_another_in_any_part_leads_nowhere(
    part: str, text: str, later_ms: int, given_: str
) -> None:
    """One changed name, another time, another signature, another key: all the same refusal."""
    signature = links.signature(KEY, GOOD)
    links.require(KEY, GOOD, signature, NOW_MS)
    altered = msgspec.structs.replace(GOOD, **{part: text})
    moved = msgspec.structs.replace(GOOD, expires_ms=GOOD.expires_ms + later_ms)
    tries = [(KEY, altered, signature), (KEY, moved, signature), (KEY, GOOD, given_)]
    tries += [(KEY, GOOD, signature + given_), (b"x" * 32, GOOD, signature)]
    said = set()
    for key, link, shown in tries:
        if key == KEY and link == GOOD and shown == signature:
            continue
        with pytest.raises(NotAllowed) as refused:
            links.require(key, link, shown, NOW_MS)
        said.add((str(refused.value), refused.value.operator_hint))
    with pytest.raises(NotAllowed) as over:
        links.require(KEY, GOOD, signature, GOOD.expires_ms)
    said.add((str(over.value), over.value.operator_hint))
    assert len(said) == 1


def test_parts_of_a_link_cannot_be_moved_from_one_to_the_next() -> None:
    """`a` and `bc` are not `ab` and `c`: what is signed says where each part ends."""
    one = msgspec.structs.replace(GOOD, device="a", evidence="bc")
    two = msgspec.structs.replace(GOOD, device="ab", evidence="c")
    assert links.signature(KEY, one) != links.signature(KEY, two)


def test_the_key_of_links_is_made_once_and_a_broken_one_says_what_to_do(tmp_path: Path) -> None:
    """Private; the same for whoever asks next; what is no key is refused and not replaced."""
    key = links.key_of(tmp_path)
    assert links.key_of(tmp_path) == key
    path = tmp_path / links.KEY
    assert path.stat().st_mode & 0o077 == 0
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    for wrong in (b"", b"AAAA", b"!", b"\xff" * 43):
        path.write_bytes(wrong)
        with pytest.raises(TrustError) as refused:
            links.key_of(tmp_path)
        assert "links.key" in (refused.value.operator_hint or "")
        assert path.read_bytes() == wrong


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"export": "No Name"}, "by names"), ({"export": ""}, "by names"),
        ({"channel": "a/b"}, "by names"), ({"link_h": 169.0}, "168 hours"),
        ({"link_h": -1.0}, "168 hours"), ({"link_h": float("nan")}, "168 hours"),
        ({"labels": ["x"] * 101}, "at most 100"), ({"labels": [""]}, "'' cannot be a label"),
        ({"labels": ["per\0son"]}, r"'per\x00son' cannot be a label"),
        ({"where": Where(sites=["x"] * 201)}, "201 sites; at most 200"),
        ({"where": Where(sites=["north\x1b[2J"])}, r"'north\x1b[2J' cannot be a site"),
        ({"where": Where(sites=["North"])}, "'North' cannot be a site"),
        ({"where": Where(groups=["a b"])}, "'a b' cannot be a group"),
        ({"where": Where(devices=["-"])}, "'-' cannot be a device"),
        ({"where": Where(folders=["europe//lisbon"])}, "'europe//lisbon' cannot be a folder"),
        ({"where": Where(folders=["/"])}, "'/' cannot be a folder"),
        ({"where": Where(folders=["../plants"])}, "'../plants' cannot be a folder"),
        ({"where": Where(cameras=["x" * 201])}, "cannot be a camera"),
        ({"where": Where(cameras=["door\n"])}, r"'door\n' cannot be a camera"),
        ({"where": Where(cameras=["/door"])}, "'/door' cannot be a camera"),
        ({"where": Where(cameras=["a/b/c"])}, "'a/b/c' cannot be a camera"),
    ],
    ids=["name", "empty", "channel", "long-links", "negative", "nan", "labels", "no-label",
         "control-label", "sites", "control-site", "upper", "group", "device", "no-step", "slash",
         "dots", "pattern", "line-end", "no-device", "three"],
)  # fmt: skip
def test_an_export_that_cannot_be_says_why(wrong: dict[str, object], said: str) -> None:
    """Names, times and counts have bounds; a place that nothing can be is told by its name."""
    good = Export(export="mes", channel="hook", labels=["traffic light"], where=Where(
        sites=["shop"], folders=["", "europe/lisbon"], cameras=["*", "door?", "box-*/door"]
    ))  # fmt: skip
    assert facts.check(good) == good
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        facts.check(msgspec.structs.replace(good, **wrong))
    assert refused.value.operator_hint


def test_a_silence_refuses_the_same_places_as_an_export() -> None:
    """What nothing can be keeps nothing quiet; the top folder is everything."""
    wanted = NewSilence(to_ms=NOW_MS + 1, where=Where(folders=[""], cameras=["box/*"]))
    assert silences.check(wanted, "anna", NOW_MS).where == wanted.where
    for where in (Where(sites=["a\0b"]), Where(folders=["a b"]), Where(cameras=["a//b"])):
        with pytest.raises(ConfigError, match="cannot be a"):
            silences.check(msgspec.structs.replace(wanted, where=where), "anna", NOW_MS)


@pytest.mark.parametrize("reason", ["", "  ", "a\0b", "a\x1b[2Jb", "x" * 201])
def test_a_hold_without_a_reason_that_people_can_read_is_none(reason: str) -> None:
    """It stands in the audit log for years."""
    assert holding.checked(" claim\n 7 ") == "claim 7"
    with pytest.raises(ConfigError):
        holding.checked(reason)


@given(names=st.lists(st.text(min_size=1, max_size=90), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_names_in_an_archive_stay_inside_it_and_apart(names: list[str]) -> None:
    """Whatever sites, devices and events are called: one plain name each, no two the same."""
    rows = [
        archive._Row(
            number=0, kind="clip", device=name, event=name[::-1], site=name, site_name="",
            camera="", what="", at_ms=0, received_ms=0, late=False, body=b"", evidence="e",
            status=None, evidence_body=None, state="here", form="clip", expires_ms=0, held=False,
        )
        for name in names * 2
    ]  # fmt: skip
    folders = archive._folders(rows)
    assert len({folder.lower() for folder in folders}) == len(rows)
    for folder in folders:
        assert folder.isascii()
        assert folder.isprintable()
        assert len(folder) < 230
        assert not set(folder) & set('/\\:*?"<>| ')


@pytest.mark.parametrize(
    ("url", "only_here"),
    [
        ("http://127.0.0.1:8080", True), ("http://0.0.0.0:8080", True), ("http://[::1]:1", True),
        ("http://localhost", True), ("https://vedette.example", False),
        ("http://10.0.0.7:8080", False), ("https://[2001:db8::1]", False),
    ],
    ids=["loopback", "all", "loopback-6", "name", "public", "inside", "public-6"],
)  # fmt: skip
def test_links_that_lead_only_here_are_noticed(url: str, only_here: bool) -> None:
    """A central without a public address would send addresses that nobody can follow."""
    assert links.leads_only_here(url) == only_here


def test_each_kind_of_channel_gets_what_its_sender_reads() -> None:
    """A webhook and MQTT the CloudEvent, a bucket the package around it; others nothing."""
    event = EventReport(event="ev-1", camera="door", kind=EventKind.PRESENCE, at_ms=NOW_MS)
    record = EvidenceRecord(evidence="evd-1", event="ev-1", camera="door", wanted_ms=(1, 2))
    thing = Thing(
        told="clip", site="shop", site_name="", device="box", camera="door", event=event,
        received_ms=NOW_MS, late=False, record=record, form="clip",
        files=[File(name="clip.mp4", sha256="0" * 64, bytes=1, media="video/mp4")],
    )  # fmt: skip
    made = {
        kind: packing.parcel_of(Export(export="mes", channel="c"), kind, thing)
        for kind in ("webhook", "mqtt", "s3", "mail", "apprise", "")
    }
    assert [kind for kind, parcel in made.items() if parcel] == ["webhook", "mqtt", "s3"]
    keys = {parcel.key for parcel in made.values() if parcel}
    assert keys == {"export:mes:box:clip:evd-1.clip"}
    assert made["webhook"].body == made["mqtt"].body == cloudevents.encoded(thing)
    assert made["mqtt"].address == "events/shop/box/door"
    package = msgspec.json.decode(made["s3"].body, type=s3.Package)
    assert package.folder == "shop/2026-03-02/box/ev-1"
    assert [file.name for file in package.files] == ["clip.mp4"]
    assert msgspec.json.decode(package.cloud_event)["id"] == "evd-1.clip"


@pytest.mark.parametrize(
    "stop", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["stop", "full"]
)
def test_an_archive_that_is_stopped_leaves_nothing(tmp_path: Path, stop: BaseException) -> None:
    """Ctrl-C, a full disk: no part of a file, and no file under its name."""

    def half() -> Iterator[bytes]:
        yield b"PK half"
        raise stop

    with (
        pytest.raises((KeyboardInterrupt, ConfigError)),
        central_archive._named_when_whole(tmp_path / "week.zip") as file,
    ):
        file.writelines(half())
    assert list(tmp_path.iterdir()) == []
