"""The device's spans: they tile every slice, and every hole has a cause."""

from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.spans import MAX_SILENCE_MS, SpanBuilder
from vedette.wire.messages import Cause


def looks(builder, start_ms, end_ms, step_ms=200):
    """Look at a picture every `step_ms`."""
    for at_ms in range(start_ms, end_ms, step_ms):
        builder.look(at_ms)


def test_a_camera_that_is_looked_at_is_observed_at_its_rate():
    """One span over the whole slice, with the true rate."""
    builder = SpanBuilder(0)
    looks(builder, 0, 60_000)
    spans, corrections = builder.cut(60_000)
    assert [(s.start_ms, s.end_ms, s.cause) for s in spans] == [(0, 60_000, None)]
    assert spans[0].rate_fps == 5.0
    assert corrections == []


def test_a_camera_down_is_a_gap_from_its_last_frame_until_it_is_back():
    """The gap is dated when it happened, not when it was noticed."""
    builder = SpanBuilder(0)
    looks(builder, 0, 20_000)
    builder.open_gap(Cause.CAMERA_DOWN, 20_000, "no packets")
    builder.close_gap(Cause.CAMERA_DOWN, 35_000)
    looks(builder, 35_000, 60_000)
    spans, _ = builder.cut(60_000)
    assert [(s.start_ms, s.end_ms, s.cause) for s in spans] == [
        (0, 20_000, None),
        (20_000, 35_000, Cause.CAMERA_DOWN),
        (35_000, 60_000, None),
    ]


def test_looks_within_a_gap_do_not_raise_the_rate_of_what_was_observed():
    """A covered camera still gives pictures; they are no observation."""
    builder = SpanBuilder(0)
    builder.open_gap(Cause.TAMPERED, 0)
    looks(builder, 0, 50_000)
    builder.close_gap(Cause.TAMPERED, 50_000)
    looks(builder, 50_000, 60_000)
    spans, _ = builder.cut(60_000)
    assert spans[-1].rate_fps == 5.0


def test_a_gap_noticed_after_the_cut_corrects_the_slice_before():
    """What was called observed for want of knowledge is taken back."""
    builder = SpanBuilder(0)
    looks(builder, 0, 55_000)
    builder.cut(60_000)
    builder.open_gap(Cause.CAMERA_DOWN, 55_000)
    spans, corrections = builder.cut(120_000)
    assert [(s.start_ms, s.end_ms, s.cause) for s in corrections] == [
        (55_000, 60_000, Cause.CAMERA_DOWN)
    ]
    assert [(s.start_ms, s.end_ms, s.cause) for s in spans] == [
        (60_000, 120_000, Cause.CAMERA_DOWN)
    ]


def test_silence_without_another_reason_is_the_pipelines_fault():
    """No picture looked at for long is never "observed"."""
    builder = SpanBuilder(0)
    looks(builder, 0, 10_000)
    spans, _ = builder.cut(60_000)
    assert spans[-1].cause is Cause.PIPELINE_STOPPED
    assert spans[-1].start_ms == 9_800


def test_the_stronger_cause_wins_where_two_overlap():
    """Precedence as in the design: a camera that is down is not merely tampered."""
    builder = SpanBuilder(0)
    builder.open_gap(Cause.TAMPERED, 0)
    builder.open_gap(Cause.CAMERA_DOWN, 10_000)
    builder.close_gap(Cause.CAMERA_DOWN, 20_000)
    spans, _ = builder.cut(30_000)
    assert [s.cause for s in spans] == [Cause.TAMPERED, Cause.CAMERA_DOWN, Cause.TAMPERED]


GAPS = st.sampled_from([Cause.CAMERA_DOWN, Cause.TAMPERED, Cause.SCHEDULED_OFF])
STEPS = st.lists(
    st.tuples(
        st.integers(0, 15_000),
        st.one_of(
            st.just(("look",)),
            st.tuples(st.just("open"), GAPS, st.integers(0, 12_000)),
            st.tuples(st.just("close"), GAPS),
            st.just(("cut",)),
        ),
    ),
    max_size=60,
)


@given(STEPS)
def test_spans_tile_every_slice_and_no_unlooked_silence_is_observed(steps):
    """No hole, no overlap, and no observed stretch longer than a silence allows."""
    builder, now, edge, seen = SpanBuilder(0), 0, 0, [0]
    observed, corrected = [], []
    for step_ms, action in [*steps, (1, ("cut",))]:
        now += step_ms
        if action[0] == "look":
            builder.look(now)
            seen.append(now)
        elif action[0] == "open":
            at_ms = max(0, now - action[2])
            builder.open_gap(action[1], at_ms, "")
            seen.append(max(seen[-1], at_ms))
        elif action[0] == "close":
            builder.close_gap(action[1], now)
            seen.append(now)
        else:
            spans, corrections = builder.cut(now)
            for span in spans:
                assert span.start_ms == edge
                assert span.end_ms > span.start_ms
                edge = span.end_ms
                if span.cause is None:
                    observed.append((span.start_ms, span.end_ms))
            assert edge == now
            corrected += [(c.start_ms, c.end_ms) for c in corrections]
    for left, right in observed:
        for quiet_from, quiet_to in zip(seen, [*seen[1:], now], strict=True):
            start, end = max(left, quiet_from), min(right, quiet_to)
            if quiet_to - quiet_from > MAX_SILENCE_MS and end > start:
                covered = sum(max(0, min(end, b) - max(start, a)) for a, b in corrected)
                assert covered >= end - start


@given(
    flips=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 59), unique=True, max_size=6),
    late=st.integers(0, 5),
)
def test_a_cut_that_comes_late_changes_nothing_that_is_stated(flips, cuts, late):
    """What began or ended between a slice's end and its cut stands in the next slice, to the ms."""

    def stated(edges):
        """Return the causes second by second, looking each second and cutting `late` seconds on."""
        builder = SpanBuilder(0)
        cause_at = {}
        down = False
        turns = {sum(flips[: n + 1]) for n in range(len(flips))}
        todo = sorted(edges)
        for second in range(60 + late):
            if second in turns:
                down = not down
                change = builder.open_gap if down else builder.close_gap
                change(Cause.CAMERA_DOWN, second * 1000)
            if not down:
                builder.look(second * 1000)
            while todo and second >= todo[0] + late:
                cause_at |= by_second(builder.cut(todo.pop(0) * 1000)[0])
        return cause_at | by_second(builder.cut(60_000)[0])

    def by_second(spans):
        return {
            second: span.cause
            for span in spans
            for second in range(span.start_ms // 1000, span.end_ms // 1000)
        }

    assert stated(cuts) == stated([])
