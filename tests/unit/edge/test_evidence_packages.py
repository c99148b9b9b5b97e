"""What stands in a package, whether it is whole, and copies of it."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.edge.evidence_kit import (
    BOX,
    DOOR,
    FPS,
    decoded,
    event,
    full_ring,
    packets_of,
    settings,
)
from vedette.clock import ManualClock
from vedette.edge.capture import EncodedPacket, StreamInfo
from vedette.edge.evidence import budget, catalog, facts
from vedette.edge.evidence.budget import DayBudget
from vedette.edge.evidence.clip import remux
from vedette.edge.evidence.examine import examine
from vedette.edge.evidence.export import export
from vedette.edge.evidence.facts import Facts, read_facts
from vedette.edge.evidence.shelf import Shelf
from vedette.edge.evidence.store import EvidenceStore, Wanted
from vedette.edge.frame import stated_rotation
from vedette.errors import EvidenceError, NotAllowed
from vedette.sim import footage
from vedette.wire.signed import PixelPolicy


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[EncodedPacket]:
    """Twelve seconds of a rendered street, a keyframe each second."""
    path = tmp_path_factory.mktemp("clips") / "street.mp4"
    footage.render(path, seconds=12.0, fps=FPS, size_px=(160, 96))
    return packets_of(path)


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
def package(tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]) -> Path:
    """One finished package, with boxes."""
    store = EvidenceStore(tmp_path / "evidence", settings(), clock)
    for n in range(120):
        store.note(DOOR, 1000 + n / FPS, [BOX])
    return make(store, clock, packets)


def make(store: EvidenceStore, clock: ManualClock, packets: list[EncodedPacket]) -> Path:
    """Return the folder of one more package."""
    store.request(event(clock), full_ring(store, packets))
    (record,) = store.work()
    assert record.status == "complete", record.detail
    return next(p.path for p in store.list_packages() if p.evidence == record.evidence)


def info_of(package: Path) -> catalog.PackageInfo:
    """Return the catalogue's row of a package."""
    return catalog.find(package.parent.parent, package.name)


# ------------------------------------------------------------------------------------- in a package


def test_the_actual_window_is_that_of_the_clip_to_the_millisecond(package: Path) -> None:
    """What the record says is what a player shows."""
    said = read_facts(package)
    frames = decoded((package / "clip.mp4").read_bytes())
    (entry,) = said.clips
    assert said.record.actual_ms == entry.window_ms
    shown_s = frames[-1].time - frames[0].time
    assert (entry.window_ms[1] - entry.window_ms[0]) == pytest.approx(shown_s * 1000, abs=1)
    assert len(frames) == entry.packets


def test_checksums_can_be_checked_without_this_program(package: Path) -> None:
    """`sha256sum -c` agrees; it is on every machine."""
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=package, check=False, capture_output=True, timeout=20
    )
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == 3


def test_two_formats_in_one_window_are_two_files_and_both_play(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """The camera was set to another resolution at 1006.0 s: nothing of the window is lost."""
    other = tmp_path / "other.mp4"
    footage.render(other, seconds=6.0, fps=FPS, size_px=(192, 108), seed=3)
    both = [p for p in packets if p.dts_s < 1005.9] + packets_of(other, 1006.0)
    store = EvidenceStore(tmp_path / "evidence", settings(), clock)
    path = make(store, clock, both)
    said = read_facts(path)
    assert [entry.file for entry in said.clips] == ["clip.mp4", "clip-2.mp4"]
    assert said.clips[1].picture_px == (192, 108)
    assert "2 files" in said.record.shortfall
    assert examine(path).problems == ()
    starts = [entry.window_ms[0] for entry in said.clips]
    assert starts[1] - starts[0] >= 2900


def test_a_clip_across_a_reconnect_plays_with_its_hole(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Away from 1004.0 to 1006.0: one file, times that go on, the hole in facts and words."""
    away = [p for p in packets if not 1004.0 <= p.dts_s < 1006.0]
    store = EvidenceStore(tmp_path, settings(), clock)
    path = make(store, clock, away)
    said = read_facts(path)
    (hole,) = said.holes
    assert hole.window_ms[1] - hole.window_ms[0] == pytest.approx(2100, abs=120)
    assert "within are missing" in said.record.shortfall
    times = [frame.time for frame in decoded((path / "clip.mp4").read_bytes())]
    assert max(b - a for a, b in itertools.pairwise(times)) == pytest.approx(2.1, abs=0.15)
    assert examine(path).is_whole


def test_a_ten_second_group_begins_where_its_keyframe_is(
    tmp_path: Path, clock: ManualClock
) -> None:
    """The clip is longer than wanted, never later: nothing to tell."""
    path = tmp_path / "long.mp4"
    footage.render(path, seconds=12.0, fps=FPS, gop_s=10.0, size_px=(160, 96))
    store = EvidenceStore(tmp_path / "evidence", settings(ring_s=4.0), clock)
    made = make(store, clock, packets_of(path))
    record = read_facts(made).record
    assert record.shortfall == ""
    assert record.actual_ms is not None
    assert record.wanted_ms[0] - record.actual_ms[0] == 3000
    assert examine(made).is_whole


@pytest.mark.parametrize("turn_deg", [90, 180, 270])
def test_a_turned_camera_gives_a_clip_that_players_turn(
    packets: list[EncodedPacket], turn_deg: int
) -> None:
    """The display matrix says what the stream said; the packets are untouched."""
    turned = [_turned(packet, turn_deg) for packet in packets[:20]]
    clip = remux(turned)
    assert clip.rotation_deg == turn_deg
    assert {stated_rotation(frame) for frame in decoded(clip.data)} == {turn_deg}


def _turned(packet: EncodedPacket, turn_deg: int) -> EncodedPacket:
    info = packet.info
    info = StreamInfo(info.codec, info.extradata, info.width, info.height, turn_deg)
    return EncodedPacket(
        packet.data,
        packet.t_s,
        packet.dts_s,
        packet.keyframe,
        packet.received_mono_ns,
        packet.at_ms,
        info,
    )


def test_reordered_pictures_are_shown_in_their_order(tmp_path: Path, clock: ManualClock) -> None:
    """B-frames: decoded in another order than shown, and the window is still the one stated."""
    path = tmp_path / "b.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=FPS, options={"bf": "2", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for n in range(120):
            frame = av.VideoFrame(96, 64, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([n * 2]) * plane.buffer_size)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    packets = packets_of(path)
    assert any(p.t_s > p.dts_s + 0.05 for p in packets)
    made = make(EvidenceStore(tmp_path / "evidence", settings(), clock), clock, packets)
    assert examine(made).problems == ()
    frames = decoded((made / "clip.mp4").read_bytes())
    greys = [bytes(frame.planes[0])[0] for frame in frames]
    assert greys == sorted(greys)
    assert frames[0].pts == 0


def test_boxes_are_in_the_clips_own_pixels(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Analysed at 80x48, clipped from a stream of 160x96: everything twice as large."""
    store = EvidenceStore(tmp_path, settings(), clock)
    store.note(DOOR, 1005.0, [BOX])
    wanted = event(clock)
    report = msgspec.structs.replace(wanted.event, picture_px=(80, 48))
    store.request(Wanted(event=report, at_t_s=1005.0), full_ring(store, packets))
    (record,) = store.work()
    assert record.picture_px == (160, 96)
    assert record.boxes[0].xyxy == (2, 4, 60, 80)
    (found,) = store.list_packages()
    assert read_facts(found.path).frames[0].boxes[0].xyxy == (2, 4, 60, 80)


# ------------------------------------------------------------------------------------- verification


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _edit(package: Path, **changes: object) -> None:
    """Write other facts, and checksums that agree with them: a forger's work."""
    said = msgspec.structs.replace(read_facts(package), **changes)
    (package / "evidence.json").write_bytes(msgspec.json.encode(said))
    names = [*facts.read_sums(package)]
    (package / "SHA256SUMS").write_bytes(
        facts.sums_text({name: (package / name).read_bytes() for name in names})
    )


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


ATTACKS = {
    "clip changed": (lambda p: _flip(p / "clip.mp4"), "not the one"),
    "clip truncated": (lambda p: _truncate(p / "clip.mp4"), "not the one"),
    "clip gone": (lambda p: (p / "clip.mp4").unlink(), "cannot be read"),
    "poster changed": (lambda p: _flip(p / "poster.jpg"), "poster.jpg is not the one"),
    "facts damaged": (lambda p: (p / "evidence.json").write_bytes(b"{"), "facts are damaged"),
    "facts deep": (lambda p: (p / "evidence.json").write_bytes(b"[" * 100_000), "damaged"),
    "facts empty": (lambda p: (p / "evidence.json").write_bytes(b""), "damaged"),
    "sums gone": (lambda p: (p / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    "sums garbage": (lambda p: (p / "SHA256SUMS").write_bytes(b"\xff\x00"), "damaged"),
    "sums outside": (
        lambda p: (p / "SHA256SUMS").write_text("a" * 64 + "  ../../../etc/passwd\n"),
        "damaged",
    ),
    "file added": (lambda p: (p / "clip-9.mp4").write_bytes(b"x"), "not written by this"),
    "clip is a link": (
        lambda p: (
            ((p / "clip.mp4").rename(p.parent / "kept") and None)
            or (p / "clip.mp4").symlink_to(p.parent / "kept")
        ),
        "link",
    ),
    "facts are a pipe": (
        lambda p: (p / "evidence.json").unlink() or os.mkfifo(p / "evidence.json"),
        "no plain file",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_done_to_a_package_is_found_out(package: Path, attack: str) -> None:
    """Damaged, cut, replaced, linked or added to: a verdict in words, never an exception."""
    assert examine(package).is_whole
    do, said = ATTACKS[attack]
    do(package)
    verdict = examine(package)
    assert not verdict.is_whole
    assert said in "; ".join(verdict.problems)


def test_facts_that_do_not_fit_the_video_are_found_out(package: Path) -> None:
    """Every hash agrees, and still the story is another one than the clip's."""
    said = read_facts(package)
    (entry,) = said.clips

    def problems(**changes: object) -> str:
        _edit(package, **changes)
        text = "; ".join(examine(package).problems)
        _edit(package, **{name: getattr(said, name) for name in changes})
        return text

    first, last = entry.window_ms
    longer = msgspec.structs.replace(entry, window_ms=(first - 2000, last))
    assert "stated are" in problems(clips=[longer])
    assert "pictures" in problems(clips=[msgspec.structs.replace(entry, packets=3)])
    assert "other" in problems(clips=[msgspec.structs.replace(entry, picture_px=(9, 9))])
    outside = facts.FrameBoxes(at_ms=last + 1, boxes=[])
    assert "outside the window" in problems(frames=[outside])
    wanted = msgspec.structs.replace(said.record, wanted_ms=(first - 9000, last))
    assert "no shortfall" in problems(record=wanted)
    other = msgspec.structs.replace(said.record, evidence="evd-other")
    assert "facts of" in problems(record=other)
    assert examine(package).is_whole


def test_bytes_that_are_no_video_are_told_though_every_hash_agrees(package: Path) -> None:
    """A forger who hashes well: the file does not play."""
    junk = bytes(range(256)) * 20
    (package / "clip.mp4").write_bytes(junk)
    digest = hashlib.sha256(junk).hexdigest()
    said = read_facts(package)
    (entry,) = said.clips
    _edit(
        package,
        record=msgspec.structs.replace(said.record, sha256=digest),
        clips=[msgspec.structs.replace(entry, sha256=digest)],
    )
    assert "does not play" in "; ".join(examine(package).problems)


def test_huge_facts_are_not_read_to_their_end(package: Path) -> None:
    """A JSON of a gigabyte (sparse) is refused by its size."""
    with (package / "evidence.json").open("r+b") as file:
        file.truncate(1 << 30)
    assert "not written by this program" in examine(package).problems[0]


def test_garbage_in_the_folder_is_passed_over(package: Path) -> None:
    """Links, files, foreign folders and broken packages: the good one is still found."""
    root, day = package.parent.parent, package.parent
    (day / "evd-link").symlink_to(package)
    (root / "2026-01-01").symlink_to(day)
    (root / "not-a-day").mkdir()
    (day / "evd-empty").mkdir()
    (day / "Evil Name").mkdir()
    (root / "2026-13-99").write_text("x")
    loop = day / "evd-loop"
    loop.mkdir()
    (loop / "evidence.json").symlink_to(loop / "evidence.json")
    assert [one.evidence for one in catalog.packages(root)] == [package.name]
    assert catalog.find(root, package.name[:8]).path == package
    with pytest.raises(EvidenceError, match="no package"):
        catalog.find(root, "evd-link")
    assert catalog.packages(root / "nowhere") == []


# ------------------------------------------------------------------------------------------- copies


def _export(package: Path, out: Path, *, on_site: bool = True, **policy: bool) -> object:
    return export(
        [info_of(package)],
        out,
        pixels=PixelPolicy(**policy),
        on_site=on_site,
        log=package.parent.parent / "exports.jsonl",
        now_at=datetime(2026, 3, 2, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", ["copies", "copies.zip"])
def test_a_copy_is_whole_is_noted_and_never_replaces(
    package: Path, tmp_path: Path, name: str
) -> None:
    """Folder or zip: everything with its checksums; the second time is refused."""
    out = tmp_path / "media" / name
    _export(package, out)
    if name.endswith(".zip"):
        with zipfile.ZipFile(out) as archive:
            archive.extractall(tmp_path / "unpacked")
        copy = tmp_path / "unpacked" / package.name
    else:
        copy = out / package.name
    assert (copy / "clip.mp4").read_bytes() == (package / "clip.mp4").read_bytes()
    assert examine(copy).problems == ()
    with pytest.raises(EvidenceError, match="already"):
        _export(package, out)
    lines = (package.parent.parent / "exports.jsonl").read_text().splitlines()
    (line,) = [json.loads(text) for text in lines]
    assert line["evidence"] == [package.name]
    assert line["stays_on_site"]
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_what_the_site_did_not_allow_does_not_leave_it(package: Path, tmp_path: Path) -> None:
    """No policy, or one that wants blurred copies: refused in words, and nothing written."""
    with pytest.raises(NotAllowed, match="no clip leave"):
        _export(package, tmp_path / "a", on_site=False)
    with pytest.raises(NotAllowed, match="no blurred copy"):
        _export(package, tmp_path / "a", on_site=False, evidence_leaves=True)
    assert not (tmp_path / "a").exists()
    assert not (package.parent.parent / "exports.jsonl").exists()
    _export(package, tmp_path / "a", on_site=False, evidence_leaves=True, evidence_blurred=False)
    assert (tmp_path / "a" / package.name / "clip.mp4").exists()


def test_a_package_that_does_not_verify_is_not_handed_out(package: Path, tmp_path: Path) -> None:
    """One flipped bit: no copy, no line."""
    _flip(package / "clip.mp4")
    with pytest.raises(EvidenceError, match="does not verify"):
        _export(package, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_copy_that_cannot_be_written_leaves_nothing_half(package: Path, tmp_path: Path) -> None:
    """The place is a file: an error, and no `.partial` beside it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvidenceError, match="could not be written"):
        _export(package, tmp_path / "file" / "copies.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evidence", "file"]


@pytest.mark.parametrize("name", ["copies", "copies.zip"])
def test_a_copy_deletes_nothing_that_stands_in_its_way(
    package: Path, tmp_path: Path, name: str
) -> None:
    """What is called as its scratch file is somebody else's: refused, and left as it is."""
    (tmp_path / "copies" / f"{package.name}.partial").mkdir(parents=True)
    kept = [
        tmp_path / "copies" / f"{package.name}.partial" / "mine",
        tmp_path / "copies.zip.partial",
    ]
    for path in kept:
        path.write_text("x")
    with pytest.raises(EvidenceError, match="could not be written"):
        _export(package, tmp_path / name)
    assert all(path.exists() for path in kept)


# ------------------------------------------------------------------------------------------ budgets


@given(
    st.lists(st.tuples(st.integers(0, 4 * 3600), st.integers(1, 400)), max_size=60),
    st.sampled_from([(2026, 3, 28), (2026, 10, 24), (2026, 6, 1)]),
)
def test_no_24_hours_ever_hold_more_than_the_budget(
    asks: list[tuple[int, int]], day: tuple[int, int, int]
) -> None:
    """Whenever it is asked, over days on which clocks are put forward or back too."""
    path = Path("/nowhere/budget.json")  # cannot be written: only memory counts here
    held = DayBudget(path, 1000)
    at, taken = datetime(*day, 20, tzinfo=UTC), []
    for later_s, size in asks:
        at += timedelta(seconds=later_s)
        if size <= held.room_bytes(at, 0):
            held.add(at, size)
            taken.append((at, size))
        window = sum(s for t, s in taken if at - t < timedelta(hours=24))
        assert window <= 1000
        recent = sum(s for t, s in taken if at - t <= timedelta(hours=24, minutes=10))
        assert held.room_bytes(at, 0) >= 1000 - recent  # and nothing is withheld for longer


def test_an_alert_always_finds_its_share(tmp_path: Path) -> None:
    """However much less important things ask for, 15 % are left for alerts."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    held = DayBudget(tmp_path / "b", 1000)
    for priority in (2, 1):
        while held.room_bytes(at, priority) >= 10:
            held.add(at, 10)
    assert held.room_bytes(at, 0) >= 150


def test_the_budget_is_remembered_and_outlives_what_was_deleted(tmp_path: Path) -> None:
    """Another process, packages deleted by hand: what was written was written."""
    at = datetime(2026, 3, 2, tzinfo=UTC)
    DayBudget(tmp_path / "b", 1000).add(at, 900)
    again = DayBudget(tmp_path / "b", 1000)
    assert again.was_read
    assert again.room_bytes(at, 0) == 100
    for junk in (b"", b"[]", b"\xff", b'{"x": "y"}', b'{"' + b"9" * 400 + b'": 3}'):
        (tmp_path / "b").write_bytes(junk)
        assert DayBudget(tmp_path / "b", 1000).room_bytes(at, 0) == 1000


def test_a_clock_that_jumps_never_opens_the_budget_twice(tmp_path: Path) -> None:
    """Set back by a year: what was written in that future counts now, for 24 hours, not longer."""
    late = datetime(2027, 3, 2, tzinfo=UTC)
    held = DayBudget(tmp_path / "b", 1000)
    held.add(late, 800)
    back = late - timedelta(days=365)
    assert held.room_bytes(back, 0) == 200
    assert held.room_bytes(back + timedelta(hours=23), 0) == 200
    assert held.room_bytes(back + timedelta(hours=25), 0) == 1000


def test_important_packages_stay_longer_but_not_for_ever() -> None:
    """An alert of three hours outlives a clip of one hour that is nice to have; one of five not."""
    now_s = 1_000_000.0

    def packages(alert_h: float) -> list[tuple[str, float, int]]:
        return [("alert", now_s - alert_h * 3600, 0), ("nice", now_s - 3600, 2)]

    assert budget.first_to_go(packages(3), now_s) == "nice"
    assert budget.first_to_go(packages(5), now_s) == "alert"
    assert budget.first_to_go([], now_s) is None
    future = [("a", now_s + 50, 1), ("b", now_s + 90, 1)]
    assert budget.first_to_go(future, now_s) == "a"


HOLDER = """
import sys
from pathlib import Path
from vedette.clock import ManualClock
from vedette.edge.evidence.shelf import Shelf

shelf = Shelf(Path(sys.argv[1]), ManualClock(), daily_bytes=1, keep_bytes=1)
(Path(sys.argv[1]) / ".partial" / "evd-half").mkdir()
print(shelf.is_sole, flush=True)
sys.stdin.read()
"""


def test_a_second_process_sweeps_nothing_of_the_first(tmp_path: Path, clock: ManualClock) -> None:
    """The first hangs and was given up: its half-written package and its requests are its own."""
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        second = Shelf(tmp_path, clock, daily_bytes=1 << 30, keep_bytes=1 << 30)
        assert not second.is_sole
        assert (tmp_path / ".partial" / "evd-half").exists()
        holder.communicate(timeout=20)
    third = Shelf(tmp_path, clock, daily_bytes=1 << 30, keep_bytes=1 << 30)
    assert third.is_sole
    assert not (tmp_path / ".partial" / "evd-half").exists()


def test_a_package_of_an_older_version_still_verifies(package: Path) -> None:
    """Without checksums, clips and priority in its facts: the clip's hash decides."""
    said = read_facts(package)
    old = {"record": said.record, "event": said.event, "frames": said.frames}
    (package / "evidence.json").write_bytes(msgspec.json.encode(old))
    (package / "SHA256SUMS").unlink()
    (package / "poster.jpg").unlink()
    assert isinstance(read_facts(package), Facts)
    assert examine(package).is_whole
    _flip(package / "clip.mp4")
    assert not examine(package).is_whole
