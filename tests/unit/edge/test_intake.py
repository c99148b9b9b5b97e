"""The slots between capture and workers: newest wins, files never drop, nobody starves."""

import threading

from vedette.edge.intake import Intake


def make(cameras, *, now_ns=0, deadline_ms=500.0):
    """Return an intake, what it dropped as stale, and a clock that can be set."""
    stale, clock = [], [now_ns]
    intake = Intake(
        cameras,
        deadline_ms=deadline_ms,
        mono_ns=lambda: clock[0],
        on_stale=lambda camera, frame: stale.append((camera, frame)),
    )
    return intake, stale, clock


def test_a_newer_live_frame_replaces_the_waiting_one_and_hands_it_back():
    """There is no queue for a live camera."""
    intake, stale, _ = make({"door": True})
    intake.offer("door", "old", 0)
    intake.offer("door", "new", 1)
    assert stale == [("door", "old")]
    assert intake.take() == ("door", "new")


def test_a_frame_past_its_deadline_is_handed_back_instead_of_analysed():
    """Under overload the machine stays current."""
    intake, stale, clock = make({"door": True, "gate": True}, deadline_ms=100)
    intake.offer("door", "late", 0)
    clock[0] = 200_000_000
    intake.offer("gate", "fresh", clock[0])
    assert intake.take() == ("gate", "fresh")
    assert stale == [("door", "late")]


def test_the_camera_with_fewer_frames_in_flight_comes_first():
    """A busy camera cannot starve another, whatever the deadlines."""
    intake, _, _ = make({"busy": True, "calm": True})
    intake.offer("busy", 1, 0)
    assert intake.take() == ("busy", 1)
    intake.offer("busy", 2, 1)
    intake.offer("calm", 3, 2)
    assert intake.take() == ("calm", 3)
    assert intake.take() == ("busy", 2)


def test_a_file_waits_for_its_slot_and_loses_nothing():
    """A file's capture thread is held back until a worker took the frame before."""
    intake, stale, clock = make({"clip": False}, deadline_ms=1)
    clock[0] = 10**12

    def feed():
        for number in range(50):
            assert intake.offer("clip", number, 0)

    thread = threading.Thread(target=feed)
    thread.start()
    taken = []
    for _ in range(50):
        taken.append(intake.take())
        intake.done("clip")
    thread.join(5)
    assert not thread.is_alive()
    assert [frame for _, frame in taken] == list(range(50))
    assert stale == []


def test_closing_wakes_a_waiting_worker_and_a_waiting_file():
    """Shutdown hangs on nobody, and what still waited is handed back to be counted."""
    intake, _, _ = make({"clip": False, "door": True})
    results = []
    intake.offer("clip", "waiting", 0)
    blocked = threading.Thread(target=lambda: results.append(intake.offer("clip", "second", 0)))
    blocked.start()
    rest = intake.close()
    blocked.join(5)
    assert rest == [("clip", "waiting")]
    assert results == [False]
    assert intake.take() is None
