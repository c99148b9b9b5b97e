"""Capture threads under supervision: sources that fail, hang and come back, with time by hand."""

import random
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from vedette.clock import NS_PER_S, ManualClock
from vedette.edge import frame as frames
from vedette.edge.capture import (
    CameraDown,
    CameraSays,
    CameraUp,
    CaptureSettings,
    CaptureSupervisor,
    Decode,
    EncodedPacket,
    Loss,
    SourceLost,
    StreamInfo,
)
from vedette.edge.capture.feed import DOWN_AFTER_S, CameraFeed, Phase
from vedette.edge.capture.source import OpenStream
from vedette.edge.capture.thread import BACKOFF_CAP_S, backoff_s
from vedette.edge.frame import Frame
from vedette.errors import ConfigError, DecodeFailed
from vedette.ids import CameraId
from vedette.wire.streams import CAMERA_DOWN_AFTER_S

DOOR = CameraId("door")


class Notebook:
    """A sink that writes down what is said; to be read once the streams rest."""

    def __init__(self) -> None:
        self.said: list[CameraSays] = []
        self.frames: list[Frame] = []
        self.packets = 0
        self.undecodable = 0

    def on_packet(self, camera: CameraId, packet: EncodedPacket) -> None:
        """Count it."""
        del camera, packet
        self.packets += 1

    def on_frame(self, frame: Frame) -> None:
        """Keep it."""
        self.frames.append(frame)

    def on_undecodable(self, camera: CameraId, count: int) -> None:
        """Count them."""
        del camera
        self.undecodable += count

    def on_state(self, state: CameraSays) -> None:
        """Keep it."""
        self.said.append(state)


class PatientClock(ManualClock):
    """Moves only by hand; waits end when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._is_over = False
        self._gate = threading.Semaphore(0)
        self._asked = threading.Condition()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Note the wait and block until `let_go`."""
        with self._asked:
            self.waits.append(timeout_s)
            self._asked.notify_all()
        if not self._is_over:
            self._gate.acquire()
        return event.is_set()

    def let_go(self, times: int = 1) -> None:
        """End so many waits."""
        self._gate.release(times)

    def end(self) -> None:
        """Let every wait end from now on, so that a thread can be stopped."""
        self._is_over = True
        self._gate.release(9)

    def until_waits(self, count: int) -> None:
        """Return once so many waits were begun."""
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.waits) >= count, 20.0)


class Rest:
    """Where streams rest until the test wakes them, and where it can wait until one does.

    A stream that rests has been asked for its next packet: all that it gave was handled wholly, and
    nothing more will come. A count that is taken then is the last one.
    """

    def __init__(self) -> None:
        self._resting = threading.Semaphore(0)
        self._go = threading.Event()

    def wait(self) -> None:
        """Rest here; called by the stream."""
        self._resting.release()
        self._go.wait(50)

    def reached(self) -> None:
        """Return once one more stream rests here."""
        assert self._resting.acquire(timeout=20)

    def end(self) -> None:
        """Wake all that rest here, now and later."""
        self._go.set()


class Camera:
    """A live source whose connections behave as told, one after another."""

    live = True
    name = "rtsp://camera/one"

    def __init__(self, *behaviour: Callable[[], OpenStream]) -> None:
        self._behaviour = list(behaviour)
        self.opened = 0
        self.threads: list[threading.Thread] = []

    def open(self) -> OpenStream:
        """Behave as the next in the list, the last one forever."""
        self.threads.append(threading.current_thread())
        index = min(self.opened, len(self._behaviour) - 1)
        self.opened += 1
        return self._behaviour[index]()


class Pictures:
    """A stream of encoded pictures that were made here; ends by being lost."""

    def __init__(self, packets: list[av.Packet], *, then: Rest | None = None) -> None:
        self.info = StreamInfo("mpeg4", b"", 32, 32)
        self._packets = packets
        self._then = then
        self._context: VideoCodecContext = av.CodecContext.create("mpeg4", "r")

    @property
    def codec_context(self) -> VideoCodecContext:
        """A real decoder."""
        return self._context

    def packets(self) -> Iterator[av.Packet]:
        """Give the packets, then rest where told, then be gone."""
        yield from self._packets
        if self._then:
            self._then.wait()
        raise SourceLost(Loss.CLOSED)

    def close(self) -> None:
        """Nothing to give back."""


def encoded(count: int) -> list[av.Packet]:
    """Return small grey pictures as MPEG-4, one a tenth of a second.

    None refers to a later one, so the decoder gives each as soon as it has its packet.
    """
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 32, 32, "yuv420p"
    encoder.framerate = Fraction(10)
    packets: list[av.Packet] = []
    for number in range(count):
        picture = av.VideoFrame(32, 32, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        picture.pts = number
        packets += encoder.encode(picture)
    return packets + encoder.encode(None)


def refuse(reason: Loss) -> Callable[[], OpenStream]:
    """Return a connection that is refused."""

    def behave() -> OpenStream:
        raise SourceLost(reason)

    return behave


def make(camera: Camera, clock: ManualClock, **options: int) -> tuple[Notebook, CaptureSupervisor]:
    """Return a supervisor of this one camera, started."""
    book = Notebook()
    supervisor = CaptureSupervisor(
        book, clock, make=lambda *_: camera, rng=random.Random(7), **options
    )
    supervisor.add(CaptureSettings(camera=DOOR, source="rtsp://camera/one"))
    supervisor.start()
    return book, supervisor


def test_backoff_doubles_to_a_cap_and_half_of_it_is_random() -> None:
    """Fifty devices behind one switch do not come back in step."""
    waits = [backoff_s(n, random.Random(n)) for n in range(1, 40)]
    assert waits[0] <= 0.5
    assert max(waits) <= BACKOFF_CAP_S
    assert min(waits[10:]) >= BACKOFF_CAP_S / 2
    assert len(set(waits[10:])) > 20


def test_a_camera_that_refuses_is_tried_forever_and_said_to_be_down_once() -> None:
    """Twenty refusals: one `CameraDown`, dated at the start, each wait within the cap."""
    clock = PatientClock()
    start_at = clock.now_at()
    camera = Camera(refuse(Loss.REFUSED))
    book, supervisor = make(camera, clock)
    clock.let_go(20)
    clock.until_waits(21)
    clock.end()
    supervisor.stop()
    (down,) = book.said
    assert isinstance(down, CameraDown)
    assert down.at == start_at
    assert down.reason is Loss.REFUSED
    assert camera.opened >= 20
    assert max(clock.waits) <= BACKOFF_CAP_S


def test_a_changed_reason_is_said_with_the_same_beginning() -> None:
    """Refused, then the password is wrong: down since the same moment, for another reason."""
    clock = PatientClock()
    book, supervisor = make(Camera(refuse(Loss.REFUSED), refuse(Loss.UNAUTHORISED)), clock)
    clock.let_go()
    clock.until_waits(2)
    first, second = book.said
    assert isinstance(first, CameraDown)
    assert isinstance(second, CameraDown)
    assert (first.reason, second.reason) == (Loss.REFUSED, Loss.UNAUTHORISED)
    assert first.at == second.at
    clock.end()
    supervisor.stop()


def test_a_camera_that_hangs_is_down_within_ten_seconds_and_replaced() -> None:
    """Native code never returns: down is dated at the last frame, a new thread carries on."""
    clock, hang = ManualClock(), Rest()
    packets = encoded(5)
    camera = Camera(lambda: Pictures(packets, then=hang), lambda: Pictures(packets, then=hang))
    book, supervisor = make(camera, clock)
    hang.reached()
    assert len(book.frames) == 5
    last = book.frames[-1]
    clock.advance(DOWN_AFTER_S)
    supervisor.check()
    (down,) = [state for state in book.said if isinstance(state, CameraDown)]
    assert down.at == last.captured_at
    assert (down.noticed_at - down.at).total_seconds() <= CAMERA_DOWN_AFTER_S
    assert camera.opened == 1
    clock.advance(CAMERA_DOWN_AFTER_S)
    supervisor.check()
    hang.reached()
    assert len(book.frames) == 10
    assert supervisor.status()[0].abandoned == 1
    assert supervisor.status()[0].state == "up"
    hang.end()
    supervisor.stop()


def test_a_thread_that_was_given_up_says_nothing_any_more() -> None:
    """It wakes after its replacement has begun: none of its pictures or words are taken."""
    clock, hang, rest = ManualClock(), Rest(), Rest()
    late = encoded(5)

    class Sleeper(Pictures):
        def packets(self) -> Iterator[av.Packet]:
            """Hang first, then give pictures that nobody wants any more."""
            hang.wait()
            yield from late

    camera = Camera(lambda: Sleeper(late), lambda: Pictures(encoded(3), then=rest))
    book, supervisor = make(camera, clock)
    hang.reached()
    clock.advance(2 * CAMERA_DOWN_AFTER_S + 1)
    supervisor.check()
    rest.reached()
    taken = (len(book.frames), book.packets, [type(said) for said in book.said])
    assert taken == (3, 3, [CameraDown, CameraUp])
    hang.end()
    sleeper = camera.threads[0]
    sleeper.join(20)
    assert not sleeper.is_alive()
    assert (len(book.frames), book.packets, [type(said) for said in book.said]) == taken
    rest.end()
    supervisor.stop()


def test_the_feed_takes_nothing_from_an_older_generation() -> None:
    """Whatever a given-up thread calls, and however late: no word reaches the sink."""
    book = Notebook()
    feed = CameraFeed(DOOR, "rtsp://camera/one", book, ManualClock())
    old = feed.new_generation()
    new = feed.new_generation()
    assert not feed.beat(old, Phase.READING)
    assert feed.number_next(old) is None
    info = StreamInfo("h264", b"")
    feed.packet(old, EncodedPacket(b"x", 1.0, 1.0, True, 0, 0, info))
    feed.lost(old, SourceLost(Loss.CLOSED))
    feed.ended(old, complete=True)
    feed.undecodable(old, 3)
    feed.opened(old)
    status = feed.status()
    assert (book.said, book.packets) == ([], 0)
    assert (status.packets, status.undecodable, status.opened) == (0, 0, 0)
    assert feed.beat(new, Phase.READING)
    assert feed.number_next(new) == 0


def test_an_idle_camera_with_rare_keyframes_is_not_called_down() -> None:
    """Keyframes only, and the next one is far: the packets in between show that it lives."""
    clock, turns, asked = ManualClock(), threading.Semaphore(0), threading.Semaphore(0)
    packets = encoded(8)

    class Slow(Pictures):
        def packets(self) -> Iterator[av.Packet]:
            """Give each packet when told, and say when the one before was handled wholly."""
            for packet in packets:
                asked.release()
                turns.acquire()
                yield packet
            raise SourceLost(Loss.CLOSED)

    camera = Camera(lambda: Slow(packets))
    book, supervisor = make(camera, clock)
    supervisor.set_decode(DOOR, Decode.KEYFRAMES)
    assert asked.acquire(timeout=20)
    for count in range(1, 7):
        turns.release()
        assert asked.acquire(timeout=20)
        assert book.packets == count
        supervisor.check()
        clock.advance(DOWN_AFTER_S / 2)
    assert len(book.frames) == 1
    assert not [state for state in book.said if isinstance(state, CameraDown)]
    clock.advance(DOWN_AFTER_S)
    supervisor.check()
    assert [state for state in book.said if isinstance(state, CameraDown)]
    turns.release(9)
    supervisor.stop()


def test_pictures_in_a_format_that_cannot_be_converted_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No frame of them reaches the pipeline, and the thread lives on."""

    def refuse(video: av.VideoFrame) -> None:
        raise DecodeFailed(video.format.name)

    monkeypatch.setattr(frames, "_PLANAR", frozenset[str]())
    monkeypatch.setattr(frames, "planes", refuse)
    rest = Rest()
    book, supervisor = make(Camera(lambda: Pictures(encoded(5), then=rest)), ManualClock())
    rest.reached()
    assert book.undecodable == 5
    assert book.frames == []
    rest.end()
    supervisor.stop()


def test_too_many_hanging_threads_ask_for_a_new_process() -> None:
    """Two hang for good where two are the limit; once they let go, all is well again."""
    clock, hang = ManualClock(), Rest()
    camera = Camera(lambda: Pictures([], then=hang))
    _, supervisor = make(camera, clock, max_abandoned=2)
    for _ in range(2):
        hang.reached()
        assert not supervisor.needs_process_restart
        clock.advance(3 * CAMERA_DOWN_AFTER_S)
        supervisor.check()
    assert supervisor.needs_process_restart
    hang.reached()  # the third thread: it speaks for the camera now
    hang.end()
    for thread in camera.threads[:2]:
        thread.join(20)
        assert not thread.is_alive()
    assert not supervisor.needs_process_restart
    supervisor.stop()


def test_frames_are_numbered_without_gaps_over_reconnects_and_time_never_goes_back() -> None:
    """Three connections of five pictures each, with the same timestamps every time."""
    clock, hang = ManualClock(), Rest()
    camera = Camera(*[lambda: Pictures(encoded(5))] * 2, lambda: Pictures(encoded(5), then=hang))
    book, supervisor = make(camera, clock)
    hang.reached()
    numbers = [frame.number for frame in book.frames]
    times = [frame.t_s for frame in book.frames]
    assert numbers == list(range(15))
    assert times == sorted(set(times))
    assert sum(frame.discontinuity for frame in book.frames) >= 3
    assert book.frames[0].captured_mono_ns >= 1000 * NS_PER_S
    hang.end()
    supervisor.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sink_that_breaks_kills_one_thread_which_is_started_again() -> None:
    """A bug behind `on_frame` ends the thread; the next check starts another."""
    clock = ManualClock()
    rest = Rest()
    camera = Camera(lambda: Pictures(encoded(3), then=rest))
    book = Notebook()
    broken = threading.Event()

    def explode(frame: Frame) -> None:
        del frame
        broken.set()
        raise ZeroDivisionError

    book.on_frame = explode
    supervisor = CaptureSupervisor(book, clock, make=lambda *_: camera)
    supervisor.add(CaptureSettings(camera=DOOR, source="rtsp://camera/one"))
    supervisor.start()
    assert broken.wait(20)
    camera.threads[0].join(20)
    del book.on_frame
    supervisor.check()
    rest.reached()
    assert len(book.frames) == 3
    assert camera.opened == 2
    rest.end()
    supervisor.stop()


def test_two_cameras_of_one_name_are_refused() -> None:
    """The second would speak for the first."""
    supervisor = CaptureSupervisor(Notebook(), ManualClock())
    supervisor.add(CaptureSettings(camera=DOOR, source="a.mp4"))
    with pytest.raises(ConfigError, match="twice"):
        supervisor.add(CaptureSettings(camera=DOOR, source="b.mp4"))
