"""Clips that leave a site: by its policy alone, in parts, through restarts; a stolen central."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock, wall_ms
from vedette.edge.bandwidth import CHUNK_BYTES, Bandwidth
from vedette.edge.clips import LATER_S, ClipSender
from vedette.edge.desired import Effective
from vedette.edge.evidence import facts
from vedette.edge.evidence.leaving import GONE, STAYS, Stays, leaving
from vedette.edge.evidence.shelf import Shelf
from vedette.edge.settings import BandwidthWindow, EdgeConfig, UplinkSettings
from vedette.errors import CentralUnreachable, NotAllowed, ReportRejected
from vedette.wire.diagnostics import Refusal
from vedette.wire.enrol import Request
from vedette.wire.evidence import (
    BLURRED_SIGNATURE,
    SIGNATURE,
    BlurredFacts,
    BlurredPoster,
    ClipFile,
    Facts,
    Offer,
    Standing,
    Taken,
    content_range,
    read_range,
)
from vedette.wire.messages import EventKind, EventReport, EvidenceRecord
from vedette.wire.signed import PixelPolicy

CLIP = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 400
BLURRED = b"\0\0\0\x18ftypisom" + b"blurred" * 1000
STILL = b"\xff\xd8\xff" + b"still" * 100
EVERYTHING = PixelPolicy(evidence_leaves=True, evidence_blurred=False)
COPIES = PixelPolicy(evidence_leaves=True, evidence_blurred=True)


class Policy:
    """Stands where the accepted documents do: what the site's policy says now."""

    def __init__(self, pixels: PixelPolicy) -> None:
        self.pixels = pixels

    @property
    def effective(self) -> Effective:
        """What holds."""
        return Effective(config=EdgeConfig(state_dir=Path(), models_dir=Path()), pixels=self.pixels)


@dataclass
class Desk:
    """A central that keeps what it is given, as strictly as the real one."""

    offers: list[Offer] = field(default_factory=list)
    parts: dict[str, bytearray] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    before_part: Callable[[], None] = lambda: None
    lies: dict[str, int] | None = None

    def offer(self, request: str, offer: Offer) -> Standing:
        """Say how much is here."""
        self.offers.append(offer)
        have = {f.sha256: len(self.parts.get(f.sha256, b"")) for f in offer.files}
        return Standing(have=self.lies or have)

    def withhold(self, request: str, why: Refusal) -> None:
        """Keep the reason."""
        self.refusals.append(why.detail)

    def put_part(self, sha256: str, start: int, part: bytes, total: int) -> Taken:
        """Keep a part that follows."""
        self.before_part()
        kept = self.parts.setdefault(sha256, bytearray())
        if start != len(kept):
            raise ReportRejected(f"{len(kept)} bytes are here")
        kept += part
        sizes = {f.sha256: f.bytes for f in self.offers[-1].files}
        done = all(len(self.parts.get(h, b"")) == size for h, size in sizes.items())
        return Taken(have=len(kept), done=done)


def record() -> EvidenceRecord:
    """Return the record of the one package."""
    return EvidenceRecord(
        evidence="evd-1",
        event="ev-1",
        camera="door",
        wanted_ms=(0, 1),
        sha256=hashlib.sha256(CLIP).hexdigest(),
        bytes=len(CLIP),
    )


def clip_file(name: str, data: bytes) -> ClipFile:
    """Return what a package says of a video."""
    return ClipFile(
        file=name,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        codec="h264",
        picture_px=(64, 48),
        window_ms=(0, 1),
        packets=1,
    )


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
def shelf(tmp_path: Path, clock: ManualClock) -> Shelf:
    """A device with one package."""
    made = Shelf(
        tmp_path / "evidence", clock, daily_bytes=10**8, keep_bytes=10**8, min_free_bytes=0
    )
    event = EventReport(event="ev-1", camera="door", kind=EventKind.DWELL, at_ms=1)
    said = Facts(record=record(), event=event, frames=[], clips=[clip_file("clip.mp4", CLIP)])
    made.write("evd-1", {facts.CLIP: CLIP, facts.FACTS: msgspec.json.encode(said)})
    return made


def blur(shelf: Shelf, made_of: bytes = BLURRED) -> None:
    """Have a blurred copy beside the clip, stated as `BLURRED`."""
    said = BlurredFacts(
        evidence="evd-1", made_from="", clip=clip_file("blurred.mp4", BLURRED), mode="picture"
    )
    named = {facts.BLURRED_CLIP: made_of, facts.BLURRED_FACTS: msgspec.json.encode(said)}
    shelf.add("evd-1", named)


def sender(
    tmp_path: Path, clock: ManualClock, desk: Desk, policy: Policy, **line: object
) -> ClipSender:
    """Return a sender over a line of these settings."""
    line = {"backfill_kbit_s": 80_000.0, **line}
    bandwidth = Bandwidth(lambda: UplinkSettings(**line), lambda: "UTC", clock)
    return ClipSender(tmp_path, policy, desk, clock, bandwidth)  # type: ignore[arg-type]


def asked(clock: ManualClock, evidence: str = "evd-1", request: str = "rq-1") -> Request:
    """Return a request for a clip, good for an hour."""
    until_ms = wall_ms(clock.now_at()) + 3_600_000
    return Request(request=request, kind="evidence", evidence=evidence, expires_ms=until_ms)


def drain(one: ClipSender, clock: ManualClock, most_s: float = 3600.0) -> None:
    """Work, by the pauses that it asks for, until nothing is waited for or the time is over."""
    end_ns = clock.mono_ns() + round(most_s * 1e9)
    while clock.mono_ns() < end_ns:
        pause_s = one.step()
        if pause_s >= 60 and not one.is_busy:
            return
        clock.advance(max(pause_s, 0.001))


FORMS = {
    "clip": {"clip.mp4", "evidence.json"},
    "blurred": {"blurred.mp4", "blurred.json", "evidence.json"},
}


@pytest.mark.parametrize("pixels", [EVERYTHING, COPIES])
def test_what_the_policy_lets_go_arrives_whole(
    shelf: Shelf, tmp_path: Path, clock: ManualClock, pixels: PixelPolicy
) -> None:
    """The clip, or the blurred copy and never the clip; byte for byte; once."""
    blur(shelf)
    desk = Desk()
    one = sender(tmp_path, clock, desk, Policy(pixels))
    one.take(asked(clock))
    drain(one, clock)
    one.take(asked(clock))
    drain(one, clock)
    (offer,) = desk.offers
    assert offer.form == ("blurred" if pixels.evidence_blurred else "clip")
    assert {f.name for f in offer.files} == FORMS[offer.form]
    sent = {f.name: bytes(desk.parts[f.sha256]) for f in offer.files}
    assert sent.get("clip.mp4", CLIP) == CLIP
    assert sent.get("blurred.mp4", BLURRED) == BLURRED
    assert desk.refusals == []


@pytest.mark.parametrize("pixels", [PixelPolicy(), PixelPolicy(evidence_blurred=False)])
def test_a_stolen_central_gets_nothing_that_the_site_keeps(
    shelf: Shelf, tmp_path: Path, clock: ManualClock, pixels: PixelPolicy
) -> None:
    """However it asks: not a byte, not a hash, only the reason."""
    blur(shelf)
    desk = Desk()
    one = sender(tmp_path, clock, desk, Policy(pixels))
    one.take(asked(clock))
    drain(one, clock)
    assert (desk.offers, desk.parts, desk.refusals) == ([], {}, [STAYS])
    with pytest.raises(Stays, match="lets no clip leave"):
        leaving(tmp_path / "evidence", "evd-1", pixels)


PATHS = ["../../identity", "/etc/passwd", "evd-1/../evd-1", "", ".", "..", "evd-1\0", "EVD-1"]


@pytest.mark.parametrize("evidence", PATHS)
def test_a_request_names_a_package_and_no_path(
    shelf: Shelf, tmp_path: Path, clock: ManualClock, evidence: str
) -> None:
    """What could lead elsewhere is not looked at."""
    desk = Desk()
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING))
    one.take(asked(clock, evidence))
    one.take(asked(clock, request="../rq"))
    drain(one, clock)
    assert (desk.offers, desk.refusals) == ([], [])


def test_a_link_in_a_package_is_not_followed(
    shelf: Shelf, tmp_path: Path, clock: ManualClock
) -> None:
    """Somebody put a link to the device's key where the clip was."""
    (path,) = [p.path for p in shelf.packages()]
    secret = tmp_path / "device.key"
    secret.write_bytes(CLIP)
    (path / facts.CLIP).unlink()
    (path / facts.CLIP).symlink_to(secret)
    desk = Desk()
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING))
    one.take(asked(clock))
    drain(one, clock)
    assert desk.offers == []
    assert "it is a link" in desk.refusals[0]


def test_a_changed_clip_is_no_evidence(shelf: Shelf, tmp_path: Path, clock: ManualClock) -> None:
    """One byte is another: it does not leave as the clip that it was."""
    blur(shelf, made_of=BLURRED[:-1] + b"!")
    (path,) = [p.path for p in shelf.packages()]
    (path / facts.CLIP).write_bytes(CLIP[:-1] + b"!")
    for pixels in (EVERYTHING, COPIES):
        with pytest.raises(Stays, match="does not verify"):
            leaving(tmp_path / "evidence", "evd-1", pixels)


def test_a_policy_withdrawn_between_two_parts_stops_it(
    shelf: Shelf, tmp_path: Path, clock: ManualClock
) -> None:
    """The part that is on its way arrives, the next one never leaves."""
    desk, policy = Desk(), Policy(EVERYTHING)
    one = sender(tmp_path, clock, desk, policy, backfill_kbit_s=160.0)

    def withdraw() -> None:
        policy.pixels = PixelPolicy()

    desk.before_part = withdraw
    one.take(asked(clock))
    drain(one, clock)
    assert sum(map(len, desk.parts.values())) == 20_000
    assert desk.refusals == [STAYS]


def test_only_a_blurred_copy_may_leave_and_is_waited_for(
    tmp_path: Path, clock: ManualClock, shelf: Shelf
) -> None:
    """None made here: said. Being made: asked again until it is there."""
    with pytest.raises(Stays, match="this clip has none"):
        leaving(tmp_path / "evidence", "evd-1", COPIES)
    (path,) = [p.path for p in shelf.packages()]
    (path / facts.BLUR_WANTED).touch()
    desk = Desk()
    one = sender(tmp_path, clock, desk, Policy(COPIES))
    one.take(asked(clock))
    assert one.step() == LATER_S
    assert (desk.offers, desk.refusals) == ([], [])
    blur(shelf)
    (path / facts.BLUR_WANTED).unlink()
    clock.advance(LATER_S + 1)
    drain(one, clock)
    assert [f.name for f in desk.offers[0].files] == [
        "blurred.mp4",
        "blurred.json",
        "evidence.json",
    ]


def test_what_was_deleted_meanwhile_is_said(
    shelf: Shelf, tmp_path: Path, clock: ManualClock
) -> None:
    """Before the first part and between two."""
    desk = Desk()
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING), backfill_kbit_s=160.0)
    one.take(asked(clock, "evd-2", "rq-2"))
    drain(one, clock)
    desk.before_part = lambda: shelf.delete("evd-1")
    one.take(asked(clock))
    drain(one, clock)
    assert desk.refusals == [GONE, GONE]


def test_it_goes_on_where_it_stopped_whoever_was_restarted(
    shelf: Shelf, tmp_path: Path, clock: ManualClock
) -> None:
    """Central away in the middle, then another process on the device: no byte twice."""
    desk = Desk()
    sent: list[int] = []

    def fail_later() -> None:
        sent.append(1)
        if len(sent) == 3:
            raise CentralUnreachable("restarting")

    desk.before_part = fail_later
    first = sender(tmp_path, clock, desk, Policy(EVERYTHING), backfill_kbit_s=160.0)
    first.take(asked(clock))
    while len(sent) < 4:
        clock.advance(max(first.step(), 0.001))
    second = sender(tmp_path, clock, desk, Policy(EVERYTHING))
    second.take(asked(clock))
    drain(second, clock)
    hashes = [hashlib.sha256(part).hexdigest() for part in desk.parts.values()]
    assert hashes == list(desk.parts)
    assert len(desk.offers) == 3


def test_a_central_of_before_signatures_still_gets_the_clip(
    shelf: Shelf, tmp_path: Path, clock: ManualClock
) -> None:
    """It refuses a file that it does not know: the clip goes without its signature."""
    package = next(p.path for p in shelf.packages())
    (package / SIGNATURE).write_bytes(b"{}")

    class OldDesk(Desk):
        """Knows no signatures."""

        def offer(self, request: str, offer: Offer) -> Standing:
            """Refuse what it does not know."""
            if any(file.name == SIGNATURE for file in offer.files):
                self.offers.append(offer)
                raise ReportRejected("a clip has no file 'signature.json'")
            return super().offer(request, offer)

    desk = OldDesk()
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING))
    one.take(asked(clock))
    drain(one, clock)
    assert SIGNATURE in {file.name for file in desk.offers[0].files}
    assert [bytes(part) for part in desk.parts.values()].count(CLIP) == 1
    assert not one.is_busy
    assert desk.refusals == []


@pytest.mark.parametrize("knows", ["nothing", "signatures", "stills"])
def test_a_central_of_before_stills_gets_the_blurred_copy_without(
    shelf: Shelf, tmp_path: Path, clock: ManualClock, knows: str
) -> None:
    """It refuses `blurred.jpg`: a signature over it goes neither, for it would not hold."""
    blur(shelf)
    (path,) = [p.path for p in shelf.packages()]
    said = facts.read_blurred(path)
    poster = BlurredPoster(
        file="blurred.jpg",
        sha256=hashlib.sha256(STILL).hexdigest(),
        bytes=len(STILL),
        picture_px=(64, 48),
        at_ms=1,
    )
    (path / facts.BLURRED_POSTER).write_bytes(STILL)
    (path / facts.BLURRED_FACTS).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(said, poster=poster))
    )
    (path / BLURRED_SIGNATURE).write_bytes(b"{}")
    known = {"blurred.mp4", "blurred.json", "evidence.json"}
    later = {BLURRED_SIGNATURE, "blurred.jpg"}
    known |= {"nothing": set(), "signatures": {BLURRED_SIGNATURE}, "stills": later}[knows]

    class OldDesk(Desk):
        """Knows the files of its time."""

        def offer(self, request: str, offer: Offer) -> Standing:
            """Refuse what it does not know."""
            if not {file.name for file in offer.files} <= known:
                self.offers.append(offer)
                raise ReportRejected("a blurred has no such file")
            return super().offer(request, offer)

    desk = OldDesk()
    one = sender(tmp_path, clock, desk, Policy(COPIES))
    one.take(asked(clock))
    drain(one, clock)
    first, last = (
        {file.name for file in offer.files} for offer in (desk.offers[0], desk.offers[-1])
    )
    assert later < first
    assert last == (first if knows == "stills" else first - later)
    parts = [bytes(part) for part in desk.parts.values()]
    assert parts.count(BLURRED) == 1
    assert parts.count(STILL) == (1 if knows == "stills" else 0)
    assert desk.refusals == []
    assert not one.is_busy


def test_it_keeps_to_the_cap_and_waits_for_the_window(
    shelf: Shelf, tmp_path: Path, clock: ManualClock
) -> None:
    """A second's worth at a time; nothing while the site's hours let no backlog go."""
    desk = Desk()
    shut = BandwidthWindow(start="08:00", end="09:00", backfill_kbit_s=0.0)
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING), backfill_kbit_s=160.0, windows=[shut])
    one.take(asked(clock))
    one.step()
    one.step()
    assert one.step() == 60.0
    assert desk.parts == {}
    clock.advance(3_590.0)  # the request is good for an hour, the window ends with it
    while wall_ms(clock.now_at()) % 86_400_000 < 9 * 3_600_000:
        clock.advance(1.0)
    one.take(asked(clock, request="rq-2"))
    begin_ns = clock.mono_ns()
    drain(one, clock)
    took_s = (clock.mono_ns() - begin_ns) / 1e9
    total = sum(map(len, desk.parts.values()))
    assert total / took_s <= 20_000 * 1.3
    assert CHUNK_BYTES <= 20_000


@pytest.mark.parametrize("lie", [10**9, 7])
def test_a_central_that_lies_about_what_it_has_is_given_up(
    shelf: Shelf, tmp_path: Path, clock: ManualClock, lie: int
) -> None:
    """It says that it has more, or less, than it has: some tries, then a reason, and an end."""
    desk = Desk()
    desk.lies = {hashlib.sha256(CLIP).hexdigest(): lie}
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING))
    one.take(asked(clock))
    drain(one, clock)
    assert "central did not take it" in desk.refusals[0]
    assert len(desk.offers) < 10


def test_who_is_not_waited_for_stops(shelf: Shelf, tmp_path: Path, clock: ManualClock) -> None:
    """The operator took the question back: no more parts, and no refusal either."""
    desk = Desk()

    def nobody() -> None:
        raise NotAllowed("nobody is waiting for this file")

    desk.before_part = nobody
    one = sender(tmp_path, clock, desk, Policy(EVERYTHING))
    one.take(asked(clock))
    drain(one, clock)
    assert (desk.parts, desk.refusals) == ({}, [])


RANGES = [
    ("bytes 0-9/10", (0, 10, 10)),
    ("bytes 5-9/10", (5, 5, 10)),
    ("bytes 9-5/10", None),
    ("bytes 0-10/10", None),
    ("bytes */10", None),
    ("bytes 0-9/*", None),
    ("bytes -1-9/10", None),
    ("bytes 0-9/9999999999999999", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "said"), RANGES)
def test_a_part_says_where_it_belongs(text: str, said: tuple[int, int, int] | None) -> None:
    """Or it makes no sense, and is no part."""
    assert read_range(text) == said
    if said is not None:
        assert content_range(*said) == text
