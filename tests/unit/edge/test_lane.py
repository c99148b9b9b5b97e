"""One camera's lane: order, accounting and state, whoever finishes first."""

import dataclasses
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.clock import NS_PER_S, ManualClock, wall_ms
from vedette.edge.capture import CameraDown, CameraUp, EvidenceStream, Loss, SourceEnded
from vedette.edge.identity import Identity
from vedette.edge.lane import CameraLane
from vedette.ids import CameraId
from vedette.sim.closed_world import World, back_and_forth
from vedette.wire.messages import (
    Aggregate,
    CameraState,
    Cause,
    CoverageReport,
    Drop,
    EventKind,
    EventReport,
    State,
)

DOOR = CameraId("door")
MakeStreet = Callable[..., Any]


def up(clock: ManualClock, after_s: float = 0.0) -> CameraUp:
    """Return that pictures come."""
    at = clock.now_at() + timedelta(seconds=after_s)
    t_s = clock.mono_ns() / NS_PER_S + after_s
    return CameraUp(DOOR, at, t_s, "h264", (320, 192), "rtsp://door")


def down(clock: ManualClock, after_s: float, noticed_s: float) -> CameraDown:
    """Return that no picture came since `after_s`."""
    now = clock.now_at()
    return CameraDown(
        DOOR,
        now + timedelta(seconds=after_s),
        clock.mono_ns() / NS_PER_S + after_s,
        now + timedelta(seconds=noticed_s),
        Loss.SILENT,
        "",
    )


def walk(street: Any, seconds: float, *, fps: int = 5, start_s: float = 0.0) -> None:
    """Let the camera look at its world, each picture analysed at once."""
    for number in range(round(seconds * fps)):
        t_s = start_s + number / fps
        frame = street.frame(t_s, number)
        ticket = street.lane.look(frame)
        if ticket is not None:
            street.lane.finish(ticket, frame, "analysed", street.result(t_s))


@given(data=st.data())
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_frames_are_applied_in_order_whatever_order_they_finish_in(
    street: MakeStreet, data: st.DataObject
) -> None:
    """Any order of finishing, with any outcomes, gives what the order of capture gives."""
    n = 24
    outcomes = data.draw(
        st.lists(
            st.sampled_from(["analysed", Drop.STALE, Drop.BAD_OUTPUT, Drop.BACKEND]),
            min_size=n,
            max_size=n,
        )
    )
    order = data.draw(st.permutations(range(n)))

    def run(sequence: list[int]) -> Any:
        made = street()
        made.lane.says(up(made.clock))
        frames = [made.frame(k / 5, k) for k in range(n)]
        tickets = [made.lane.look(frame) for frame in frames]
        for k in sequence:
            result = made.result(k / 5) if outcomes[k] == "analysed" else None
            made.lane.finish(tickets[k], frames[k], outcomes[k], result)
        made.cuts = made.lane.cut(wall_ms(made.clock.now_at()) + 5_000)
        return made

    straight, mixed = run(list(range(n))), run(order)
    assert [number for number, _ in mixed.observed] == [
        k for k in range(n) if outcomes[k] == "analysed"
    ]
    assert mixed.observed == straight.observed
    (one,), (other,) = straight.cuts, mixed.cuts
    assert one == other
    frames = other.frames
    assert frames.captured == n == frames.analysed + sum(frames.dropped.values())
    assert [(e.kind, e.at_ms) for e in mixed.of(EventReport)] == [
        (e.kind, e.at_ms) for e in straight.of(EventReport)
    ]


def test_a_frame_in_flight_holds_back_those_behind_it(street: MakeStreet) -> None:
    """Nothing is tracked out of order: the second frame waits for the first, then both pass."""
    made = street()
    first, second = made.frame(0.0, 0), made.frame(0.2, 1)
    tickets = [made.lane.look(frame) for frame in (first, second)]
    made.lane.finish(tickets[1], second, "analysed", made.result(0.2))
    assert made.observed == []
    made.lane.finish(tickets[0], first, Drop.STALE)
    assert [number for number, _ in made.observed] == [1]


def test_a_frame_settled_twice_is_a_bug_that_shows(street: MakeStreet) -> None:
    """The second settling is refused loudly, and the count stays right."""
    made = street()
    frame = made.frame(0.0)
    ticket = made.lane.look(frame)
    made.lane.finish(ticket, frame, "analysed", made.result(0.0))
    ticket.number = 2
    with pytest.raises(AssertionError, match="twice"):
        made.lane.finish(ticket, frame, Drop.STALE)
    (cut,) = made.lane.cut(wall_ms(made.clock.now_at()) + 1_000)
    assert cut.frames.captured == 1


def test_an_analysis_that_fails_does_not_stop_the_lane(
    street: MakeStreet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while tracking costs one frame's content; the frames behind it are applied."""
    made = street()
    advance = made.analysis.advance
    frames = [made.frame(k / 5, k) for k in range(4)]
    tickets = [made.lane.look(frame) for frame in frames]

    def faulty(frame: Any, result: Any) -> Any:
        if frame.number == 1:
            raise RuntimeError("a bug")
        return advance(frame, result)

    monkeypatch.setattr(made.analysis, "advance", faulty)
    for k in (3, 2, 1):
        made.lane.finish(tickets[k], frames[k], "analysed", made.result(k / 5))
    with pytest.raises(RuntimeError, match="a bug"):
        made.lane.finish(tickets[0], frames[0], "analysed", made.result(0.0))
    assert [number for number, _ in made.observed] == [0, 2, 3], "those behind it were held back"
    last = made.frame(0.8, 4)
    made.lane.finish(made.lane.look(last), last, "analysed", made.result(0.8))
    assert [number for number, _ in made.observed] == [0, 2, 3, 4]
    (cut,) = made.lane.cut(wall_ms(made.clock.now_at()) + 1_000)
    assert cut.frames.captured == cut.frames.analysed == 5


def test_events_before_a_fault_are_told(
    street: MakeStreet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several frames are applied at once, a fault in the last loses no event of the first."""
    made = street()
    walk(made, 1.6)  # the walker is confirmed and stands left of the line
    assert not [e for e in made.of(EventReport) if e.kind is EventKind.LINE_CROSSED]
    advance = made.analysis.advance
    frames = [made.frame(1.6 + k / 5, 50 + k) for k in range(5)]
    tickets = [made.lane.look(frame) for frame in frames]

    def faulty(frame: Any, result: Any) -> Any:
        if frame.number == 54:
            raise RuntimeError("a bug")
        return advance(frame, result)

    monkeypatch.setattr(made.analysis, "advance", faulty)
    for k in (4, 3, 2, 1):
        made.lane.finish(tickets[k], frames[k], "analysed", made.result(1.6 + k / 5))
    with pytest.raises(RuntimeError, match="a bug"):
        made.lane.finish(tickets[0], frames[0], "analysed", made.result(1.6))
    assert [e for e in made.of(EventReport) if e.kind is EventKind.LINE_CROSSED]


def test_a_camera_is_starting_until_there_is_evidence_that_it_is_fine(street: MakeStreet) -> None:
    """Not "ok" at the first picture: first it must have been seen to be fine for a while."""
    made = street()
    made.lane.says(up(made.clock))
    walk(made, 8)
    states = [m.state for m in made.of(CameraState)]
    assert states == [State.STARTING, State.OK]
    ok = made.of(CameraState)[-1]
    assert ok.at_ms - wall_ms(made.clock.now_at()) >= 4_000


def test_down_is_dated_at_the_last_frame_and_corrects_the_slice_before(street: MakeStreet) -> None:
    """Noticed ten seconds late, the gap still begins where pictures ended."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.says(up(made.clock))
    walk(made, 8)
    made.lane.cut(now_ms + 10_000)
    made.lane.says(down(made.clock, 8.0, 18.0))
    state = made.of(CameraState)[-1]
    assert (state.state, state.cause) == (State.DOWN, Cause.CAMERA_DOWN)
    assert (state.at_ms - now_ms, state.noticed_ms - now_ms) == (8_000, 18_000)
    aggregate, correction = made.lane.cut(now_ms + 20_000)
    assert isinstance(correction, CoverageReport)
    assert [(s.start_ms - now_ms, s.end_ms - now_ms, s.cause) for s in correction.spans] == [
        (8_000, 10_000, Cause.CAMERA_DOWN)
    ]
    assert [(s.start_ms - now_ms, s.cause) for s in aggregate.spans] == [
        (10_000, Cause.CAMERA_DOWN)
    ]


def test_another_reason_for_being_down_is_told_without_another_date(street: MakeStreet) -> None:
    """First it closed, now it refuses the password: an installer must read the present reason."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.says(up(made.clock))
    walk(made, 2)
    first = down(made.clock, 2.0, 12.0)
    made.lane.says(first)
    count = len(made.of(CameraState))
    made.lane.says(first)
    assert len(made.of(CameraState)) == count, "nothing new was said"
    made.lane.says(dataclasses.replace(first, reason=Loss.UNAUTHORISED))
    state = made.of(CameraState)[-1]
    assert len(made.of(CameraState)) == count + 1
    assert (state.state, state.at_ms - now_ms) == (State.DOWN, 2_000)
    assert "401" in state.detail
    for said in (made.lane.snapshot(), made.lane.health(now_ms + 20_000, 0)):
        assert (said.state, said.detail) == (State.DOWN, state.detail), "health says why, too"


@pytest.mark.parametrize("discontinuity", [True, False])
def test_nobody_jumps_across_a_gap(street: MakeStreet, *, discontinuity: bool) -> None:
    """Left of the line before a gap and right of it after: that crossing was not seen."""
    world = World([back_and_forth(1, y=0.8, start_s=0.0, legs=1, leg_s=8.0)])
    made = street(world=world)
    made.lane.says(up(made.clock))
    walk(made, 3)
    made.lane.says(down(made.clock, 3.0, 4.0))
    made.lane.says(up(made.clock, 5.0))
    frame = made.frame(5.0, 99, discontinuity=discontinuity)
    made.lane.finish(made.lane.look(frame), frame, "analysed", made.result(5.0))
    walk(made, 2.8, start_s=5.2)
    assert EventKind.LINE_CROSSED not in {e.kind for e in made.of(EventReport)}
    (cut,) = made.lane.cut(wall_ms(made.clock.now_at()) + 8_000)
    assert not cut.lines.get("mid")


def test_a_tampered_camera_makes_no_events_whatever_the_model_says(street: MakeStreet) -> None:
    """Detections in the dark are dreams: they are analysed frames and nothing else."""
    walk_by = back_and_forth(1, y=0.8, start_s=0.0, legs=20, leg_s=4.0)
    made = street(world=World([walk_by], dark_s=[(6.0, 40.0)]))
    made.lane.says(up(made.clock))
    walk(made, 15)
    assert made.of(CameraState)[-1].state is State.TAMPERED
    told, seen = len(made.of(EventReport)), len(made.observed)
    walk(made, 15, start_s=15.0)
    assert len(made.of(EventReport)) == told
    assert len(made.observed) == seen
    (cut,) = made.lane.cut(wall_ms(made.clock.now_at()) + 30_000)
    assert cut.frames.analysed == 150


def test_a_late_cut_is_split_at_minutes_and_counts_stand_once(street: MakeStreet) -> None:
    """Three minutes without a cut: slices end at each minute, frames are counted in one of them."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    assert now_ms % 60_000 == 0
    made.lane.says(up(made.clock))
    walk(made, 3)
    cuts = [m for m in made.lane.cut(now_ms + 150_000) if isinstance(m, Aggregate)]
    assert [(c.start_ms - now_ms, c.end_ms - now_ms) for c in cuts] == [
        (0, 60_000),
        (60_000, 120_000),
        (120_000, 150_000),
    ]
    assert sum(c.frames.captured for c in cuts) == 15
    assert made.lane.start_ms == now_ms + 150_000
    assert made.lane.cut(now_ms + 150_000) == []
    silent = [s for c in cuts[1:] for s in c.spans]
    assert {s.cause for s in silent} == {Cause.PIPELINE_STOPPED}


def test_off_hours_outrank_signs_and_end(street: MakeStreet) -> None:
    """In off-hours nothing is analysed and nothing observed; afterwards it goes on."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made = street(is_off=lambda ms: 2_000 <= ms - now_ms < 6_000)
    made.lane.says(up(made.clock))
    walk(made, 10)
    (cut,) = made.lane.cut(now_ms + 10_000)
    assert [(s.start_ms - now_ms, s.end_ms - now_ms, s.cause) for s in cut.spans] == [
        (0, 2_000, None),
        (2_000, 6_000, Cause.SCHEDULED_OFF),
        (6_000, 10_000, None),
    ]
    assert (cut.frames.gated, cut.frames.analysed) == (20, 30)
    assert [m.state for m in made.of(CameraState)].count(State.OFF) == 1


@pytest.mark.parametrize(
    ("step_s", "stated_s"), [(300, 300), (3600, 0), (-3600, 0), (60 * 365 * 86_400, 0)]
)
def test_a_clock_that_was_set_leaves_no_overlap(
    street: MakeStreet, step_s: int, stated_s: int
) -> None:
    """A small jump is stated as untrusted; else slices begin anew, none for decades of 1970."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.says(up(made.clock))
    walk(made, 5)
    made.lane.cut(now_ms + 5_000)
    to_ms = now_ms + 5_000 + step_s * 1000
    made.lane.clock_stepped(to_ms)
    cuts = [m for m in made.lane.cut(to_ms + 2_000) if isinstance(m, Aggregate)]
    spans = [s for c in cuts for s in c.spans]
    for before, after in itertools.pairwise(spans):
        assert before.end_ms == after.start_ms
    assert spans[-1].end_ms == to_ms + 2_000
    untrusted = sum(s.end_ms - s.start_ms for s in spans if s.cause is Cause.CLOCK_UNTRUSTED)
    assert untrusted == stated_s * 1000
    assert spans[0].start_ms == (now_ms + 5_000 if stated_s else to_ms)
    assert len(cuts) == 1 + stated_s // 60


def test_a_clock_set_while_the_camera_is_down_keeps_the_gap(street: MakeStreet) -> None:
    """The camera is still down after the step, and the gap's detail is kept."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.says(up(made.clock))
    walk(made, 2)
    made.lane.says(down(made.clock, 2.0, 3.0))
    made.lane.cut(now_ms + 5_000)
    made.lane.clock_stepped(now_ms - 100_000)
    cuts = made.lane.cut(now_ms - 98_000)
    spans = [s for c in cuts if isinstance(c, Aggregate) for s in c.spans]
    assert {s.cause for s in spans} == {Cause.CAMERA_DOWN}
    assert spans[0].start_ms == now_ms - 100_000
    assert "no picture" in spans[0].detail


def test_undecodable_packets_are_frames_that_were_lost(street: MakeStreet) -> None:
    """They are captured and dropped, and do not make the camera observed."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.undecodable(7)
    (cut,) = made.lane.cut(now_ms + 20_000)
    assert cut.frames.captured == 7
    assert cut.frames.dropped == {Drop.UNDECODABLE: 7}
    assert {s.cause for s in cut.spans} == {Cause.CAMERA_DOWN}


def test_health_is_the_window_and_not_the_sum(street: MakeStreet) -> None:
    """Two windows speak of their own frames; a camera that is down has no rate, not zero."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.says(up(made.clock))
    walk(made, 4)
    first = made.lane.health(now_ms + 4_000, 1)
    made.lane.says(down(made.clock, 4.0, 14.0))
    second = made.lane.health(now_ms + 34_000, 0)
    assert (first.frames.captured, second.frames.captured) == (20, 0)
    assert first.rate_fps == 5.0
    assert second.rate_fps is None
    assert set(first.stage_ms) == {"preprocess", "inference", "postprocess", "tracking", "total"}
    assert second.stage_ms == {}
    assert first.picture_px == (320, 192)
    assert made.lane.snapshot().state is State.DOWN


def test_the_end_of_a_file_is_said_as_such(street: MakeStreet) -> None:
    """Down, because nothing comes any more, with the words that explain it."""
    made = street()
    made.lane.says(up(made.clock))
    walk(made, 1)
    at = made.clock.now_at() + timedelta(seconds=1)
    made.lane.says(SourceEnded(DOOR, at, 1.0, 5))
    assert made.of(CameraState)[-1].detail == "the file ended."


def test_messages_are_emitted_outside_the_lock(street: MakeStreet) -> None:
    """Whoever takes a message may ask the lane: the spool may block, the lane must not."""
    made = street()
    asked: list[int] = []
    lane: CameraLane = made.lane
    lane._emit = lambda _message: asked.append(lane.start_ms)
    lane.says(up(made.clock))
    walk(made, 3)
    assert asked


def test_a_lost_stream_for_clips_degrades_and_is_no_gap(street: MakeStreet) -> None:
    """The second stream goes: the camera is degraded and says why; what it sees is observed."""
    made = street()
    now_ms = wall_ms(made.clock.now_at())
    made.lane.says(up(made.clock))
    walk(made, 8)
    at = made.clock.now_at() + timedelta(seconds=8)
    gone = EvidenceStream(DOOR, at, 8.0, up=False, detail="closed by the camera")
    made.lane.says(gone)
    state = made.of(CameraState)[-1]
    assert state.state is State.DEGRADED
    assert state.cause is None
    assert state.signs == ["EvidenceStreamDown"]
    assert "closed by the camera" in state.detail
    walk(made, 2, start_s=8.2)
    (cut,) = made.lane.cut(now_ms + 10_000)
    assert cut.spans[-1].cause is None
    made.lane.says(dataclasses.replace(gone, up=True))
    assert made.of(CameraState)[-1].state is State.OK


def test_a_degraded_camera_says_that_its_second_stream_went_too(street: MakeStreet) -> None:
    """The state is the same, what is wrong is not: told once each, and dated when each began."""
    made = street()
    lane, now_ms = made.lane, wall_ms(made.clock.now_at())
    lane.says(up(made.clock))
    walk(made, 8)
    blurred = {"signs": ("ImageTooBlurry",), "since_ms": now_ms + 8_000}
    lane._change(now_ms + 9_000, **blurred)
    at = made.clock.now_at() + timedelta(seconds=10)
    gone = EvidenceStream(DOOR, at, 10.0, up=False, detail="closed by the camera")
    lane.says(gone)
    lane._change(now_ms + 11_000, **blurred)
    lane.says(gone)
    first, second = made.of(CameraState)[-2:]
    assert (first.state, second.state) == (State.DEGRADED, State.DEGRADED)
    assert first.signs == ["ImageTooBlurry"]
    assert second.signs == ["ImageTooBlurry", "EvidenceStreamDown"]
    assert "closed by the camera" in second.detail
    assert (first.at_ms - now_ms, second.at_ms - now_ms) == (8_000, 10_000)
    assert lane.snapshot().since_ms == first.at_ms
    lane.says(dataclasses.replace(gone, up=True))
    assert made.of(CameraState)[-1].signs == ["ImageTooBlurry"]


def test_a_cut_that_the_tier_batch_passes_over_is_not_lost(street: MakeStreet) -> None:
    """Tracks end at a discontinuity also where nobody looked at the very picture."""
    made = street(every_s=1.0)
    made.lane.says(up(made.clock))
    cuts = []
    for number in range(30):
        frame = made.frame(number / 5, number, discontinuity=number == 12)
        ticket = made.lane.look(frame)
        if ticket is not None:
            cuts += [number] * frame.discontinuity
            made.lane.finish(ticket, frame, "analysed", made.result(number / 5))
    assert cuts == [15]
    (cut,) = made.lane.cut(wall_ms(made.clock.now_at()) + 6_000)
    assert (cut.frames.analysed, cut.frames.gated) == (6, 24)
    assert {span.rate_fps for span in cut.spans if span.cause is None} == {1.0}


def test_off_hours_are_no_reason_to_decode_every_picture(street: MakeStreet) -> None:
    """Whoever walks there, nobody looks: keyframes are enough."""
    made = street(is_off=lambda _ms: True)
    assert made.lane.moves
    assert made.lane.look(made.frame(0.0)) is None
    assert not made.lane.moves


def test_a_cut_that_stands_on_a_dropped_frame_still_cuts(street: MakeStreet) -> None:
    """The frame that did not continue the one before it came too late: nobody jumps all the same.

    Without that the walker of before would cross the line in one step.
    """
    made = street()
    made.lane.says(up(made.clock))
    walk(made, 1.6)  # left of the line
    cut = made.frame(1.8, 8, discontinuity=True)
    made.lane.finish(made.lane.look(cut), cut, Drop.STALE)
    walk(made, 1.4, start_s=2.4)  # right of it
    assert not [e for e in made.of(EventReport) if e.kind is EventKind.LINE_CROSSED]


def test_a_picture_that_cannot_be_judged_holds_nobody_back(
    street: MakeStreet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault before inference is counted as one dropped frame; those behind it are applied."""
    made = street()
    made.lane.says(up(made.clock))
    judge = made.lookout.look

    def faulty(frame: Any, *, tracked: bool) -> Any:
        if frame.number == 1:
            raise RuntimeError("a bug")
        return judge(frame, tracked=tracked)

    monkeypatch.setattr(made.lookout, "look", faulty)
    walk(made, 0.2)
    with pytest.raises(RuntimeError, match="a bug"):
        made.lane.look(made.frame(0.2, 1))
    after = made.frame(0.4, 2)
    made.lane.finish(made.lane.look(after), after, "analysed", made.result(0.4))
    assert [number for number, _ in made.observed] == [0, 2]
    (cut,) = made.lane.cut(wall_ms(made.clock.now_at()) + 1_000)
    assert cut.frames.dropped == {Drop.BACKEND: 1}


def test_an_analysis_that_always_fails_is_no_observation(
    street: MakeStreet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures come and inference answers, but nothing is made of it: a gap, not observed time."""
    made = street()
    made.lane.says(up(made.clock))

    def faulty(_frame: Any, _result: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(made.analysis, "advance", faulty)
    for n in range(40):
        frame = made.frame(float(n), n)
        ticket = made.lane.look(frame)
        with pytest.raises(RuntimeError):
            made.lane.finish(ticket, frame, "analysed", made.result(float(n)))
    cuts = made.lane.cut(wall_ms(made.clock.now_at()) + 40_000)
    spans = [span for cut in cuts if isinstance(cut, Aggregate) for span in cut.spans]
    assert {span.cause for span in spans if span.end_ms - span.start_ms > 1} == {
        Cause.PIPELINE_STOPPED
    }


def test_a_reconnect_is_told_in_one_window_only(street: MakeStreet, clock: ManualClock) -> None:
    """The report says what happened since the last one: sums of reports must not count it again."""
    at = street()
    counts = []
    for ups in (1, 2, 0, 1):
        for _ in range(ups):
            at.lane.says(up(clock))
        counts.append(at.lane.health(wall_ms(clock.now_at()), 0).reconnects)
    assert counts == [0, 2, 0, 1]


def test_what_the_camera_says_of_itself_is_in_its_health(
    street: MakeStreet, clock: ManualClock
) -> None:
    """The server's name until ONVIF says more; the announced rate beside the real one."""
    at = street()
    said = dataclasses.replace(up(clock), announced_fps=25.0, server="Hipcam RealServer/V1.0")
    at.lane.says(said)
    health = at.lane.health(wall_ms(clock.now_at()), 0)
    assert (health.make, health.firmware) == ("Hipcam RealServer", "V1.0")
    assert health.announced_fps == 25.0
    at.lane.identify(Identity(make="ACME", model="Eye", firmware="2", serial="7"))
    health = at.lane.health(wall_ms(clock.now_at()), 0)
    assert (health.make, health.model, health.firmware, health.serial) == ("ACME", "Eye", "2", "7")
