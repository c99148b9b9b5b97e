"""The slots between capture and workers: newest wins, files never drop, nobody starves."""

import heapq
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.edge.buckets import Buckets
from vedette.edge.intake import BATCH_SHARE, Intake, Terms


def make(cameras, *, now_ns=0, deadline_ms=500.0):
    """Return an intake, what it dropped as stale, and a clock that can be set."""
    stale, clock = [], [now_ns]
    intake = Intake(
        {name: Terms(live=live, budget_ms=deadline_ms) for name, live in cameras.items()},
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
    assert intake.take() == [("door", "new")]


def test_a_frame_past_its_deadline_is_handed_back_instead_of_analysed():
    """Under overload the machine stays current."""
    intake, stale, clock = make({"door": True, "gate": True}, deadline_ms=100)
    intake.offer("door", "late", 0)
    clock[0] = 200_000_000
    intake.offer("gate", "fresh", clock[0])
    assert intake.take() == [("gate", "fresh")]
    assert stale == [("door", "late")]


def test_the_camera_with_fewer_frames_in_flight_comes_first():
    """A busy camera cannot starve another, whatever the deadlines."""
    intake, _, _ = make({"busy": True, "calm": True})
    intake.offer("busy", 1, 0)
    assert intake.take() == [("busy", 1)]
    intake.offer("busy", 2, 1)
    intake.offer("calm", 3, 2)
    assert intake.take() == [("calm", 3)]
    assert intake.take() == [("busy", 2)]


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
        taken += intake.take()
        intake.done("clip")
    thread.join(20)
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
    blocked.join(20)
    assert rest == [("clip", "waiting")]
    assert results == [False]
    assert intake.take() is None


def mixed(terms, *, workers=1, buckets=None):
    """Return an intake of cameras with their terms, what went stale, and a clock."""
    stale, clock = [], [0]
    intake = Intake(
        terms,
        mono_ns=lambda: clock[0],
        on_stale=lambda camera, frame: stale.append((camera, frame)),
        workers=workers,
        buckets=buckets,
    )
    return intake, stale, clock


def test_the_shorter_budget_comes_first():
    """Deadlines decide, not who offered first."""
    intake, _, _ = mixed(
        {"slow": Terms(live=True, budget_ms=900), "fast": Terms(live=True, budget_ms=100)}
    )
    intake.offer("slow", 1, 0)
    intake.offer("fast", 2, 1)
    assert intake.take() == [("fast", 2)]


def test_who_waits_grows_more_urgent_although_its_frame_is_replaced():
    """A long budget and a newer frame each time do not put a camera off for ever."""
    intake, _, clock = mixed(
        {"slow": Terms(live=True, budget_ms=300), "fast": Terms(live=True, budget_ms=100)}
    )
    served = []
    for n in range(12):
        clock[0] = n * 50_000_000
        intake.offer("slow", n, clock[0])
        intake.offer("fast", n, clock[0])
        ((camera, _),) = intake.take()
        intake.done(camera)
        served.append(camera)
    assert 2 <= served.count("slow") <= 5


def test_batch_is_served_when_nobody_else_waits():
    """Idle capacity goes to the tier batch, one frame at a time."""
    intake, _, _ = mixed({"yard": Terms(live=True, every_s=5.0, most=1), "door": Terms(live=True)})
    intake.offer("yard", 1, 0)
    intake.offer("door", 2, 0)
    assert intake.take() == [("door", 2)]
    assert intake.take() == [("yard", 1)]
    intake.offer("yard", 3, 1)
    assert intake.take(wait=False) == []
    intake.done("yard")
    assert intake.take(wait=False) == [("yard", 3)]


def test_an_overdue_batch_camera_gets_its_share_of_a_busy_machine():
    """After half a period of waiting every eighth turn is its own, and not before."""
    intake, stale, clock = mixed(
        {"yard": Terms(live=True, every_s=1.0, most=1), "door": Terms(live=True)}
    )
    served = []
    for n in range(100):
        clock[0] = n * 50_000_000
        intake.offer("door", n, clock[0])
        if n % 20 == 0:
            intake.offer("yard", n, clock[0])
        ((camera, _),) = intake.take()
        intake.done(camera)
        served.append(camera)
    first = served.index("yard")
    assert 10 <= first <= 10 + BATCH_SHARE
    assert served.count("yard") == 5
    assert all(camera != "yard" or frame % 20 == 0 for camera, frame in stale)


def test_one_worker_stays_free_for_realtime():
    """Two batch frames never take both workers."""
    batch = Terms(live=True, every_s=5.0, most=1)
    terms = {"yard": batch, "roof": batch, "door": Terms(live=True)}
    intake, _, _ = mixed(terms, workers=2)
    intake.offer("yard", 1, 0)
    intake.offer("roof", 2, 0)
    assert len(intake.take()) == 1
    assert intake.take(wait=False) == []
    intake.offer("door", 3, 0)
    assert intake.take() == [("door", 3)]


def test_frames_of_one_model_go_together_and_no_others():
    """A full bucket goes at once; a camera of another model is not in it and is not held up."""
    terms = {name: Terms(live=True, group="people") for name in ("a", "b", "c")}
    terms["d"] = Terms(live=True, group="cars")
    buckets = Buckets([1, 2])
    buckets.ran(1, 20.0)
    intake, _, clock = mixed(terms, buckets={"people": buckets})
    intake.offer("a", 1, 0)
    assert intake.take(wait=False) == []
    intake.offer("d", 2, 5)
    assert intake.take(wait=False) == [("d", 2)]
    intake.offer("b", 3, 10)
    intake.offer("c", 4, 20)
    assert intake.take(wait=False) == [("a", 1), ("b", 3)]
    clock[0] = 470_000_000
    assert intake.take(wait=False) == [("c", 4)]


def test_a_bucket_that_never_fills_starts_before_its_deadline():
    """A worker waits by itself until the predicted time is all that is left."""
    buckets = Buckets([4])
    buckets.ran(4, 10.0)
    intake, stale, clock = mixed(
        {"a": Terms(live=True, budget_ms=60, group="m")}, buckets={"m": buckets}
    )

    class Passing(threading.Condition):
        """Time passes while somebody waits, and only then."""

        def wait(self, timeout=None):
            assert timeout is not None, "nobody would ever wake it"
            clock[0] += round(timeout * 1e9)
            return False

    intake._changed = Passing()
    intake.offer("a", 1, 0)
    assert intake.take() == [("a", 1)]
    assert stale == []
    assert 30_000_000 <= clock[0] <= 50_000_000


camera_terms = st.builds(
    lambda budget_ms, fps, every_s: (
        Terms(live=True, budget_ms=budget_ms, every_s=every_s, most=1 if every_s else 64),
        1.0 / every_s if every_s else fps,
    ),
    st.floats(50.0, 1000.0),
    st.floats(1.0, 30.0),
    st.none() | st.none() | st.floats(1.0, 5.0),
)


def test_cameras_in_step_are_both_looked_at():
    """Each frame of the second comes just behind one of the first, and is late when it is done."""
    terms = {name: Terms(live=True, budget_ms=50.0) for name in ("c0", "c1")}
    intake, _, clock = mixed(terms, workers=1)
    cameras = [(one, 1.0) for one in terms.values()]
    longest_s = simulate(intake, clock, cameras, 1, 0.06, length_s=30.0)
    assert max(longest_s.values()) < 2.5


@given(
    st.lists(camera_terms, min_size=1, max_size=6),
    st.integers(1, 3),
    st.floats(5.0, 120.0),
)
@settings(max_examples=60, deadline=None)
def test_nobody_starves_however_busy_the_machine_is(cameras, workers, service_ms):
    """Over simulated time the longest wait of any camera is bounded by everybody's work."""
    terms = {f"c{n}": one for n, (one, _) in enumerate(cameras)}
    intake, _, clock = mixed(terms, workers=workers)
    longest_s = simulate(intake, clock, cameras, workers, service_ms / 1e3, length_s=30.0)
    n = len(cameras)
    for name, one in terms.items():
        period_s = 1.0 / cameras[int(name[1:])][1]
        turn_s = one.every_s or one.budget_ms / 1e3
        slowest_s = max(t.budget_ms / 1e3 for t in terms.values())
        share = BATCH_SHARE if one.every_s else 1
        bound_s = turn_s + slowest_s + 2 * period_s + share * 2 * (n + workers) * service_ms / 1e3
        assert longest_s[name] <= bound_s, (name, longest_s, bound_s)


def simulate(intake, clock, cameras, workers, service_s, *, length_s):
    """Run cameras against workers in simulated time; return each one's longest wait for a turn."""
    happens = [(0.001 * n, 0, n) for n in range(len(cameras))]
    heapq.heapify(happens)
    free, served_s = workers, dict.fromkeys((f"c{n}" for n in range(len(cameras))), 0.0)
    longest_s = dict.fromkeys(served_s, 0.0)
    while happens:
        at_s, kind, n = heapq.heappop(happens)
        if at_s > length_s:
            break
        clock[0] = round(at_s * 1e9)
        if kind == 0:
            intake.offer(f"c{n}", at_s, clock[0])
            heapq.heappush(happens, (at_s + 1.0 / cameras[n][1], 0, n))
        else:
            intake.done(f"c{n}")
            free += 1
        while free and (taken := intake.take(wait=False)):
            for name, _ in taken:
                free -= 1
                longest_s[name] = max(longest_s[name], at_s - served_s[name])
                served_s[name] = at_s
                heapq.heappush(happens, (at_s + service_s, 1, int(name[1:])))
    return {name: max(longest_s[name], length_s - served_s[name]) for name in served_s}
