"""Evidence packages: whole or not there, within their budgets, and never encoded again."""

import itertools
import weakref
from pathlib import Path
from typing import cast

import av
import msgspec
import pytest

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
from vedette.edge.evidence.clip import remux
from vedette.edge.evidence.facts import Facts
from vedette.edge.evidence.shelf import Shelf, verify
from vedette.edge.evidence.store import EvidenceStore, Wanted
from vedette.errors import EvidenceError
from vedette.sim import footage
from vedette.wire.messages import EventKind, EventReport, EvidenceRecord


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of a rendered street, a keyframe each second, in an MP4."""
    path = tmp_path_factory.mktemp("clips") / "street.mp4"
    footage.render(path, seconds=12.0, fps=FPS)
    return path


@pytest.fixture(scope="module")
def packets(street: Path) -> list[EncodedPacket]:
    """Its packets."""
    return packets_of(street)


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand; its monotonic clock begins at 1000 s, as the packets do."""
    return ManualClock()


def boxes_of(data: bytes) -> list[bytes]:
    """Return the names of an MP4's top boxes in order."""
    names, at = [], 0
    while at + 8 <= len(data):
        names.append(data[at + 4 : at + 8])
        at += max(int.from_bytes(data[at : at + 4], "big"), 8)
    return names


def test_a_package_holds_the_window_that_was_wanted(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Two seconds before to two after, index first, poster and facts beside it."""
    store = EvidenceStore(tmp_path, settings(), clock)
    ring = full_ring(store, packets)
    for n in range(120):
        store.note(DOOR, 1000 + n / FPS, [BOX])
    wanted = event(clock)
    assert store.request(wanted, ring) is None
    (record,) = store.work()
    assert record.status == "complete"
    assert record.shortfall == ""
    assert record.poster == "1 person"
    assert record.stays_on_site
    assert record.actual_ms is not None
    assert record.actual_ms[0] <= record.wanted_ms[0]
    assert record.actual_ms[0] >= record.wanted_ms[0] - 1000
    assert abs(record.actual_ms[1] - record.wanted_ms[1]) <= 300
    (package,) = store.list_packages()
    data = (package.path / "clip.mp4").read_bytes()
    assert boxes_of(data).index(b"moov") < boxes_of(data).index(b"mdat")
    frames = decoded(data)
    assert frames[0].pts == 0
    assert frames[0].key_frame
    assert 40 <= len(frames) <= 53
    times = [frame.time for frame in frames]
    assert times == sorted(set(times))
    assert verify(package.path) == record
    facts = msgspec.json.decode((package.path / "evidence.json").read_bytes(), type=Facts)
    assert facts.event.event == wanted.event.event
    assert 40 <= len(facts.frames) <= 53
    assert (package.path / "poster.jpg").read_bytes().startswith(b"\xff\xd8")


def test_a_package_waits_for_the_time_after_the_event(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Nothing before the ring has what comes after; a ring set too short is made long enough."""
    store = EvidenceStore(tmp_path, settings(ring_s=1.0), clock)
    ring = store.make_ring()
    later = [packet for packet in packets if packet.dts_s > 1005.5]
    for packet in packets[: len(packets) - len(later)]:
        ring.put(packet)
    store.request(event(clock, 1005.4), ring)
    assert store.work() == []
    for packet in later:
        ring.put(packet)
    (record,) = store.work()
    assert record.shortfall == ""  # although `ring_s` was a second
    assert store.pending == 0


@pytest.mark.parametrize("ends", ["closed", "silent"])
def test_a_camera_that_ends_in_the_window_gives_what_there_is(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket], ends: str
) -> None:
    """A file's end or a dead camera: no waiting forever, and the shortfall in words."""
    store = EvidenceStore(tmp_path, settings(), clock)
    ring = full_ring(store, [packet for packet in packets if packet.dts_s < 1005.8])
    store.request(event(clock), ring)
    assert store.work() == []
    if ends == "closed":
        ring.close()
    else:
        clock.advance(10.0)
    (record,) = store.work()
    assert record.status == "complete"
    assert "early" in record.shortfall


def test_without_packets_the_record_says_failed(tmp_path: Path, clock: ManualClock) -> None:
    """The event stands without its clip; nothing is raised, nothing left."""
    store = EvidenceStore(tmp_path, settings(), clock)
    store.request(event(clock), store.make_ring())
    (record,) = store.work(everything=True)
    assert record.status == "failed"
    assert record.detail
    assert store.list_packages() == []


def test_the_days_budget_refuses_the_less_important_first(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Priority 2 is refused at 60 % of the day, priority 0 not before the end; then a new day."""
    size = len(remux(packets[:70]).data)
    store = EvidenceStore(tmp_path, settings(daily_mb=2.5 * size / 2**20), clock)
    ring = full_ring(store, packets)
    statuses = []
    for priority in (1, 2, 1, 0, 0, 0):
        asked = Wanted(event=event(clock).event, at_t_s=1005.0, priority=priority)
        refused = store.request(asked, ring)
        statuses.append(refused.status if refused else store.work()[0].status)
    assert statuses[0] == "complete"
    assert statuses[-1] == "refused"
    assert statuses.index("refused") < len(statuses) - 1
    clock.advance(86_400 + 600)
    tomorrow = Wanted(event=event(clock).event, at_t_s=1005.0)
    assert store.request(tomorrow, ring) is None
    assert store.work()[0].status == "complete"


def test_the_oldest_packages_make_room(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Room for two: the first of three is gone, the last two are whole."""
    store = EvidenceStore(tmp_path / "probe", settings(), clock)
    store.request(event(clock), full_ring(store, packets))
    store.work()
    size = store.list_packages()[0].bytes
    store = EvidenceStore(tmp_path / "real", settings(keep_mb=2.5 * size / 2**20), clock)
    ring = full_ring(store, packets)
    made = []
    for _ in range(3):
        store.request(event(clock), ring)
        made.append(store.work()[0].evidence)
    assert [package.evidence for package in store.list_packages()] == made[1:]
    for package in store.list_packages():
        verify(package.path)


def test_a_nearly_full_disk_refuses(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Evidence does not take the space that the spool needs."""
    store = EvidenceStore(tmp_path, settings(), clock, min_free_bytes=1 << 60)
    refused = store.request(event(clock), full_ring(store, packets))
    assert refused is not None
    assert refused.status == "refused"
    assert "nearly full" in refused.detail


def test_a_disk_that_refuses_to_write_harms_one_record_only(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """The folder for what is being written is gone: failed, in words; repaired, the next works."""
    store = EvidenceStore(tmp_path, settings(), clock)
    ring = full_ring(store, packets)
    (tmp_path / ".partial").rmdir()
    store.request(event(clock), ring)
    assert store.work()[0].status == "failed"
    (tmp_path / ".partial").mkdir()
    store.request(event(clock), ring)
    assert store.work()[0].status == "complete"


def test_half_written_packages_are_swept_at_start(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """What a killed process left under `.partial` is gone, whole packages are found again."""
    store = EvidenceStore(tmp_path, settings(), clock)
    store.request(event(clock), full_ring(store, packets))
    (record,) = store.work()
    half = tmp_path / ".partial" / "evd-half"
    half.mkdir()
    (half / "clip.mp4").write_bytes(b"half")
    again = EvidenceStore(tmp_path, settings(), clock)
    assert not half.exists()
    assert [package.evidence for package in again.list_packages()] == [record.evidence]
    assert again.leftovers() == [record]
    again.mark_reported(record.evidence)
    assert EvidenceStore(tmp_path, settings(), clock).leftovers() == []


def test_a_request_lost_with_the_process_is_reported_as_failed(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """Asked for, killed before the time after it had passed: central hears of it exactly once."""
    store = EvidenceStore(tmp_path, settings(), clock)
    wanted = event(clock)
    store.request(wanted, full_ring(store, packets[:20]))
    again = EvidenceStore(tmp_path, settings(), clock)
    (lost,) = again.leftovers()
    assert lost.evidence == wanted.event.evidence
    assert lost.status == "failed"
    again.mark_reported(lost.evidence)
    assert EvidenceStore(tmp_path, settings(), clock).leftovers() == []


def test_a_changed_clip_is_found_out(
    tmp_path: Path, clock: ManualClock, packets: list[EncodedPacket]
) -> None:
    """One flipped bit and the package is no evidence any more."""
    store = EvidenceStore(tmp_path, settings(), clock)
    store.request(event(clock), full_ring(store, packets))
    store.work()
    path = store.list_packages()[0].path / "clip.mp4"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(EvidenceError, match="not the one"):
        verify(path.parent)
    path.unlink()
    with pytest.raises(EvidenceError, match="cannot be read"):
        verify(path.parent)


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", ".hidden", "A"])
def test_an_id_that_leaves_the_folder_is_refused(
    tmp_path: Path, clock: ManualClock, name: str
) -> None:
    """Ids become folder names."""
    store = EvidenceStore(tmp_path, settings(), clock)
    wanted = msgspec.structs.replace(event(clock).event, evidence=name)
    with pytest.raises(ValueError, match="no id"):
        store.request(Wanted(event=wanted, at_t_s=1005.0), store.make_ring())


def test_more_requests_than_can_wait_are_refused(tmp_path: Path, clock: ManualClock) -> None:
    """A storm of events cannot pin the memory of the device."""
    store = EvidenceStore(tmp_path, settings(), clock)
    ring = store.make_ring()
    answers = [store.request(event(clock), ring) for _ in range(40)]
    refused = [answer for answer in answers if answer]
    assert len(refused) == 8
    assert {answer.status for answer in refused} == {"refused"}


RAW = {"h264": "h264", "libx265": "hevc", "mpeg4": "m4v", "mjpeg": "mjpeg"}


@pytest.mark.parametrize("codec", list(RAW))
def test_clips_of_raw_streams_play(tmp_path: Path, street: Path, codec: str) -> None:
    """Annex-B H.264 and H.265 as cameras send them, and old codecs; pictures are the very same."""
    path = tmp_path / f"raw.{codec}"
    convert(street, path, codec)
    packets = packets_of(path, fmt=RAW[codec])
    clip = remux(packets)
    assert clip.picture_px == footage.picture_size(street)
    with av.open(str(path), "r", format=RAW[codec]) as original:
        pictures = [bytes(frame.planes[0]) for frame in original.decode(video=0)]
    assert [bytes(frame.planes[0]) for frame in decoded(clip.data)] == pictures


def test_clips_of_hevc_in_mp4_play(tmp_path: Path, street: Path) -> None:
    """H.265 with its parameter sets in an hvcC record and lengths before its units."""
    path = tmp_path / "hevc.mp4"
    convert(street, path, "libx265", container="mp4")
    clip = remux(packets_of(path))
    assert clip.codec == "hevc"
    assert len(decoded(clip.data)) == 40


def convert(source: Path, target: Path, codec: str, container: str = "") -> None:
    """Write a raw stream: remuxed for H.264, forty pictures encoded for the others."""
    with (
        av.open(str(source), "r") as read,
        av.open(str(target), "w", format=container or RAW[codec]) as write,
    ):
        video = read.streams.video[0]
        if codec == "h264":
            out = write.add_stream_from_template(video, opaque=True)
            for packet in read.demux(video):
                if packet.size:
                    packet.stream = out
                    write.mux(packet)
            return
        options = {"x265-params": "log-level=none:pools=1", "preset": "ultrafast"}
        out = cast(
            "av.VideoStream",
            write.add_stream(codec, rate=FPS, options=options if codec == "libx265" else {}),
        )
        out.width, out.height = video.width, video.height
        out.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in itertools.islice(read.decode(video), 40):
            write.mux(out.encode(frame.reformat(format=out.pix_fmt)))
        write.mux(out.encode(None))


def test_packets_that_are_no_video_are_an_evidence_error() -> None:
    """Random bytes with the name of a codec."""
    junk = [
        EncodedPacket(bytes(range(256)), 1.0, 1.0, True, 0, 0, StreamInfo("h264", b"\x01" * 20)),
        EncodedPacket(b"\x00" * 50, 1.1, 1.1, False, 0, 0, StreamInfo("h264", b"\x01" * 20)),
    ]
    with pytest.raises(EvidenceError):
        remux(junk)
    with pytest.raises(EvidenceError):
        remux(junk[1:])
    with pytest.raises(EvidenceError):
        remux([])


def test_timestamps_that_fall_back_are_made_to_rise(packets: list[EncodedPacket]) -> None:
    """Whatever the times say, the muxer gets rising decoding times and all pictures stay."""
    broken = [
        EncodedPacket(p.data, 1005 - n % 7, 1005 - n % 7, p.keyframe, 0, 0, p.info)
        for n, p in enumerate(packets[:30])
    ]
    assert len(decoded(remux(broken).data)) == 30


def test_a_shelf_finds_only_whole_packages(tmp_path: Path, clock: ManualClock) -> None:
    """Foreign files and empty folders are none."""
    (tmp_path / "2026-03-02" / "evd-empty").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "2026-03-02" / "stray.txt").write_text("x")
    shelf = Shelf(tmp_path, clock, daily_bytes=1 << 30, keep_bytes=1 << 30)
    assert shelf.packages() == []
    record = EvidenceRecord(evidence="evd-1", event="ev-1", camera="door", wanted_ms=(0, 1))
    facts = Facts(
        record=record,
        event=EventReport(event="ev-1", camera="door", kind=EventKind.TAMPER, at_ms=0),
        frames=[],
    )
    shelf.write("evd-1", {"evidence.json": msgspec.json.encode(facts)})
    assert [package.evidence for package in shelf.packages()] == ["evd-1"]


def test_a_poster_picture_is_let_go_once_it_is_encoded(tmp_path: Path, clock: ManualClock) -> None:
    """A waiting request holds a small JPEG, not the decoder's picture."""
    store = EvidenceStore(tmp_path, settings(), clock, min_free_bytes=0)
    wanted = event(clock)
    assert wanted.picture is not None
    gone = weakref.ref(
        wanted.picture.y.base if wanted.picture.y.base is not None else wanted.picture.y
    )
    store.request(wanted, store.make_ring())
    del wanted
    store.work()
    assert store.pending == 1
    assert gone() is None
