"""The still of a blurred copy: the covered picture of the event's moment, or none at all."""

import dataclasses
import threading
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
import pytest

from tests.unit.edge.evidence_kit import DOOR, decoded, event, full_ring, packets_of, settings
from vedette.clock import ManualClock
from vedette.edge.capture import EncodedPacket
from vedette.edge.evidence import blur, facts
from vedette.edge.evidence.blur import BlurredCopy, blurred_copy, covered
from vedette.edge.evidence.cover import Cover
from vedette.edge.evidence.examine import examine
from vedette.edge.evidence.export import export
from vedette.edge.evidence.facts import Facts, read_facts
from vedette.edge.evidence.leaving import Stays, leaving
from vedette.edge.evidence.origin import own_keys
from vedette.edge.evidence.poster import poster_px
from vedette.edge.evidence.signing import PackageSigner
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.frame import planes
from vedette.errors import EvidenceError
from vedette.sim import footage
from vedette.vision.picture import Picture, Plane
from vedette.wire.envelope import ClockState
from vedette.wire.evidence import BlurredFacts, signature_of
from vedette.wire.messages import Box
from vedette.wire.signed import PixelPolicy

FPS = 10
COPIES = PixelPolicy(evidence_leaves=True, evidence_blurred=True)
CLEAR = PixelPolicy(evidence_leaves=True, evidence_blurred=False)


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


class Street(NamedTuple):
    """Real footage: pedestrians, 768 x 576, and where they are by frame, as people marked them."""

    packets: list[EncodedPacket]
    people: dict[int, list[Box]]


@pytest.fixture(scope="module")
def street(testdata: Path) -> Street:
    """Ten seconds, ten pictures a second."""
    rows = np.loadtxt(testdata / "video" / "vtest-gt-frames-1-400.txt", delimiter=",").tolist()
    people: dict[int, list[Box]] = {}
    for number, track, x, y, width, height, *_ in rows:
        xyxy = (x, y, x + width, y + height)
        box = Box(xyxy=xyxy, label="person", confidence=1.0, track=int(track))
        people.setdefault(int(number) - 1, []).append(box)
    packets = packets_of(testdata / "video" / "vtest.mp4")
    return Street([p for p in packets if p.t_s < 1010], people)


def packed(
    folder: Path, clock: ManualClock, street: Street, mode: str = "people"
) -> tuple[EvidenceStore, Path]:
    """Return a store with one reported package of the street, looked at five times a second."""
    store = EvidenceStore(folder / "evidence", settings(blur=mode), clock, min_free_bytes=0)
    for number in range(0, 100, 2):
        store.note(DOOR, 1000 + number / FPS, street.people[number])
    wanted = dataclasses.replace(event(clock), watches_people=True)
    store.request(wanted, full_ring(store, street.packets))
    (record,) = store.work()
    assert record.status == "complete", record.detail
    store.mark_reported(record.evidence)
    return store, store.list_packages()[0].path


def still(path: Path) -> tuple[Plane, BlurredFacts]:
    """Return a package's still picture (luma) and what is said of the copy."""
    said = facts.read_blurred(path)
    data = np.frombuffer((path / facts.BLURRED_POSTER).read_bytes(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8), said


def grey(picture: Picture, size_px: tuple[int, int]) -> Plane:
    """Return a picture's luma as an encoder of JPEG sees it."""
    return np.asarray(cv2.cvtColor(picture.to_bgr(size_px), cv2.COLOR_BGR2GRAY), np.uint8)


def made(path: Path, said: Facts) -> BlurredCopy:
    """Return a copy of a package's clip, made again under other facts."""
    data = (path / "clip.mp4").read_bytes()
    return blurred_copy(data, said, "people", should_stop=lambda: "")


def test_whoever_is_covered_in_the_video_is_covered_in_the_still(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
) -> None:
    """Real pedestrians at the event's moment: squares in the still where the video has them."""
    store, path = packed(tmp_path, clock, street)
    assert store.blur_one(threading.Event()) is not None
    (shown, said), package = still(path), read_facts(path)
    assert said.poster is not None
    assert said.whole_ms == []
    assert shown.shape == (576, 768)
    assert said.poster.picture_px == (768, 576)
    assert said.poster.at_ms == pytest.approx(package.event.at_ms, abs=2)
    first_ms = package.clips[0].window_ms[0]
    pairs = zip(
        decoded((path / "clip.mp4").read_bytes()),
        decoded((path / "blurred.mp4").read_bytes()),
        strict=True,
    )
    before, after = next(
        pair for pair in pairs if first_ms + round(pair[0].time * 1000) == said.poster.at_ms
    )
    clear, video = grey(planes(before), (768, 576)), grey(planes(after), (768, 576))
    there = street.people[50]
    assert len(there) >= 5
    for box in there:
        x0, y0, x1, y1 = (round(value) for value in box.xyxy)
        place = (slice(max(y0, 0), y1), slice(max(x0, 0), x1))
        squares = shown[place].astype(int)
        assert np.abs(squares - clear[place]).mean() > 8, "somebody can be seen"
        assert np.abs(squares - video[place]).mean() < 6, "another cover than the video's"
    areas = Cover(package.frames, watched=True).areas(said.poster.at_ms)
    expected = grey(covered(planes(before), areas), (768, 576)).astype(int)
    assert np.abs(expected - shown).mean() < 3
    assert examine(path).problems == ()


def test_a_still_of_a_picture_that_is_covered_whole_is_squares_all_over(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
) -> None:
    """Nobody looked for people: what is left has the detail of some dozens of squares."""
    store, path = packed(tmp_path, clock, street, mode="picture")
    assert store.blur_one(threading.Event()) is not None
    shown, said = still(path)
    assert said.whole_ms == [said.clip.window_ms]
    (cell,) = said.cells_px
    insides = [
        shown[y + 8 : y + cell - 8, x + 8 : x + cell - 8].astype(int)
        for y in range(0, 576 - cell + 1, cell)
        for x in range(0, 768 - cell + 1, cell)
    ]
    assert max(int(np.ptp(inside)) for inside in insides) < 12


@pytest.mark.parametrize(
    ("at_s", "expected_s"),
    [(5.0, 5.0), (5.03, 5.1), (3.0, 3.0), (-50.0, None), (50.0, None)],
)
def test_it_is_the_picture_at_the_event_or_next_after_it_else_the_first(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
    at_s: float,
    expected_s: float | None,
) -> None:
    """An event between two pictures, and one that lies before or behind the clip."""
    _, path = packed(tmp_path, clock, street)
    said = read_facts(path)
    begins_ms = said.clips[0].window_ms[0]
    zero_ms = said.event.at_ms - 5000
    moved = msgspec.structs.replace(said.event, at_ms=round(zero_ms + at_s * 1000))
    poster = made(path, msgspec.structs.replace(said, event=moved)).facts.poster
    assert poster is not None
    at_ms = begins_ms if expected_s is None else zero_ms + expected_s * 1000
    assert poster.at_ms == pytest.approx(at_ms, abs=2)


def test_what_cannot_be_covered_gives_no_still_and_no_copy(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Squares fail at the first picture, or after the event's: nothing is kept, and it is said."""
    store, path = packed(tmp_path, clock, street)
    count = 0

    def fails(*_args: object, **_named: object) -> Picture:
        nonlocal count
        count += 1
        if count in {1, 35}:
            raise cv2.error("no memory")
        return real(*_args, **_named)  # type: ignore[arg-type]

    real = blur.pixelation.pixelated
    monkeypatch.setattr(blur.pixelation, "pixelated", fails)
    with pytest.raises(EvidenceError, match="no memory"):
        made(path, read_facts(path))
    assert count == 1
    assert store.blur_one(threading.Event()) is None
    assert count == 35
    assert not [p.name for p in path.iterdir() if p.name.startswith("blurred")]
    assert "no memory" in (path / facts.BLUR_FAILED).read_text()
    with pytest.raises(Stays, match="this clip has none"):
        leaving(tmp_path / "evidence", path.name, COPIES)


def test_a_still_that_cannot_be_encoded_leaves_the_copy_as_it_was_before_there_were_any(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The encoder refuses, or makes more than central takes: the video goes alone, and verifies."""
    _, path = packed(tmp_path, clock, street)

    def refuses(_picture: Picture) -> bytes:
        raise EvidenceError("the poster could not be encoded")

    for encode in (refuses, lambda _picture: b"\xff\xd8\xff" + bytes(4 * 1024 * 1024)):
        monkeypatch.setattr(blur, "poster_jpeg", encode)
        copy = made(path, read_facts(path))
        assert list(copy.files) == [facts.BLURRED_CLIP, facts.BLURRED_FACTS]
        assert copy.facts.poster is None
        assert b'"poster":null' in copy.files[facts.BLURRED_FACTS]


def test_a_large_picture_makes_a_still_of_960_pixels_with_nothing_else_in_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    """No Exif, comment, thumbnail or anything that is no picture."""
    film = tmp_path / "wide.mp4"
    footage.render(film, seconds=6.0, fps=FPS, size_px=(1280, 720))
    store = EvidenceStore(tmp_path / "evidence", settings(blur="picture"), clock)
    store.request(event(clock), full_ring(store, packets_of(film)))
    (record,) = store.work(everything=True)
    store.mark_reported(record.evidence)
    assert store.blur_one(threading.Event()) is not None
    path = store.list_packages()[0].path
    shown, said = still(path)
    assert shown.shape == (540, 960)
    assert said.poster is not None
    assert said.poster.picture_px == (960, 540)
    data = (path / facts.BLURRED_POSTER).read_bytes()
    place, kinds = 2, []
    while data[place + 1] != 0xDA:  # the picture itself
        size = int.from_bytes(data[place + 2 : place + 4], "big")
        kinds.append((data[place + 1], size))
        place += 2 + size
    assert {kind for kind, _ in kinds} == {0xE0, 0xDB, 0xC0, 0xC4}  # JFIF, tables, the frame
    assert (0xE0, 16) in kinds
    assert data.endswith(b"\xff\xd9")
    assert poster_px((1280, 720)) == (960, 540)


def test_it_is_signed_leaves_and_is_copied_with_the_blurred_form_alone(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
) -> None:
    """Under its own hash in `blurred.json` and in the signature; the clear form has none of it."""
    store, path = packed(tmp_path, clock, street)
    agent = PackageSigner(tmp_path, clock, lambda: ClockState.TRUSTED)
    assert store.blur_one(threading.Event()) is not None
    assert agent.step() == 2
    files = {
        "blurred.mp4",
        "blurred.jpg",
        "blurred.json",
        "evidence.json",
        signature_of("blurred"),
    }
    gone = {file.name: file for file, _ in leaving(tmp_path / "evidence", path.name, COPIES).files}
    assert set(gone) == files
    said = facts.read_blurred(path)
    assert said.poster is not None
    named = (said.poster.file, said.poster.sha256, said.poster.bytes)
    jpg = gone["blurred.jpg"]
    assert named == (jpg.name, jpg.sha256, jpg.bytes)
    clear = {file.name for file, _ in leaving(tmp_path / "evidence", path.name, CLEAR).files}
    assert clear == {"clip.mp4", "evidence.json", "poster.jpg", signature_of("clip")}
    for name, pixels, on_site in (("out", COPIES, False), ("all", COPIES, True)):
        export(
            store.list_packages(),
            tmp_path / name,
            pixels=pixels,
            on_site=on_site,
            log=tmp_path / "log",
            now_at=clock.now_at() + timedelta(1),
        )
    copy, keys = tmp_path / "out" / path.name, own_keys(tmp_path)
    assert {one.name for one in copy.iterdir()} == files | {facts.SUMS}
    assert examine(copy, keys=keys, is_copy=True).problems == ()
    assert examine(tmp_path / "all" / path.name, keys=keys, is_copy=True).problems == ()


def test_a_still_that_is_not_the_one_that_was_made_does_not_leave(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
) -> None:
    """The clear poster put in its place, signed or not; and beside a copy that has none."""
    store, path = packed(tmp_path, clock, street)
    assert store.blur_one(threading.Event()) is not None
    jpg, root = path / facts.BLURRED_POSTER, tmp_path / "evidence"
    real = jpg.read_bytes()
    jpg.write_bytes((path / facts.POSTER).read_bytes())
    agent = PackageSigner(tmp_path, clock, lambda: ClockState.TRUSTED)
    assert agent.step() == 1  # the clip; nobody vouches for the copy
    with pytest.raises(Stays, match="does not verify"):
        leaving(root, path.name, COPIES)
    assert "blurred.jpg is not the one that was recorded" in examine(path).problems
    jpg.unlink()
    with pytest.raises(Stays, match="does not verify"):
        leaving(root, path.name, COPIES)
    jpg.write_bytes(real)
    (root / ".unsigned" / path.name).touch()
    assert agent.step() == 1
    assert examine(path, keys=own_keys(tmp_path)).problems == ()
    jpg.write_bytes(real + b"!")
    assert "blurred.jpg is not the one that was signed" in examine(path).problems
    said = msgspec.structs.replace(facts.read_blurred(path), poster=None)
    (path / facts.BLURRED_FACTS).write_bytes(msgspec.json.encode(said))
    (path / signature_of("blurred")).unlink()
    assert any("says of none" in text for text in examine(path).problems)
    (root / ".unsigned" / path.name).touch()
    assert agent.step() == 1
    gone = {file.name for file, _ in leaving(root, path.name, COPIES).files}
    assert gone == {"blurred.mp4", "blurred.json", "evidence.json", signature_of("blurred")}


def test_a_copy_of_before_there_were_stills_verifies_and_leaves_as_before(
    tmp_path: Path,
    clock: ManualClock,
    street: Street,
) -> None:
    """Its `blurred.json` does not have the word."""
    store, path = packed(tmp_path, clock, street)
    assert store.blur_one(threading.Event()) is not None
    said = msgspec.json.decode((path / facts.BLURRED_FACTS).read_bytes())
    del said["poster"]
    (path / facts.BLURRED_FACTS).write_bytes(msgspec.json.encode(said))
    (path / facts.BLURRED_POSTER).unlink()
    agent = PackageSigner(tmp_path, clock, lambda: ClockState.TRUSTED)
    assert agent.step() == 2
    assert examine(path, keys=own_keys(tmp_path)).problems == ()
    gone = {file.name for file, _ in leaving(tmp_path / "evidence", path.name, COPIES).files}
    assert gone == {"blurred.mp4", "blurred.json", "evidence.json", signature_of("blurred")}
