"""Batches with holes: what is written in is what central reads."""

import random

import pytest

from vedette.central.ingest.unpack import check_batch, unpack
from vedette.sim.fleet import template
from vedette.sim.fleet.meter import latency
from vedette.sim.fleet.template import Compressor
from vedette.wire import codec
from vedette.wire.envelope import Batch
from vedette.wire.messages import Aggregate, HealthReport
from vedette.wire.streams import stream

NOW = 1_790_000_040_000
DEVICE = b"l0000-000001"


def _filled(minutes: list[bool], seq: int = 7) -> bytes:
    made = template.make(random.Random(1), 4, minutes)
    minute = (NOW // 60_000 - 1) * 60_000
    return made.fill(DEVICE, (seq, 3, NOW, minute, 90_000_000))


@pytest.mark.parametrize("minutes", [[False], [True], [n % 2 == 1 for n in range(20)]])
def test_a_filled_batch_is_one_that_central_takes_whole(minutes: list[bool]) -> None:
    """Sizes, meanings and dates pass every check of ingest; numbers are without a gap."""
    batch = codec.decode_batch(Compressor().compress(_filled(minutes)))
    check_batch(batch)
    items = unpack(batch, NOW)
    assert batch.device == DEVICE.decode()
    assert [item.refusal for item in items] == [""] * len(items)
    assert [one.seq for one in batch.envelopes] == list(range(7, 7 + len(items)))
    assert len(items) == len(minutes) + 4 * sum(minutes)


def test_every_camera_has_every_minute_once_and_the_last_one_ended_just_now() -> None:
    """Twenty reports hold ten minutes of four cameras, each observed from edge to edge."""
    batch = codec.decode(_filled([n % 2 == 1 for n in range(20)]), Batch)
    seen: list[tuple[str, int]] = []
    for envelope in batch.envelopes:
        body = codec.decode_body(envelope.body, stream(envelope.schema))
        if isinstance(body, Aggregate):
            assert [(one.start_ms, one.end_ms) for one in body.spans] == [
                (body.start_ms, body.start_ms + 60_000)
            ]
            assert body.end_ms <= envelope.t_wall_ms
            seen.append((body.camera, body.start_ms))
        else:
            assert isinstance(body, HealthReport)
            assert body.at_ms == envelope.t_wall_ms
    first = (NOW // 60_000 - 10) * 60_000
    wanted = {(f"camera-{c}", first + m * 60_000) for c in range(1, 5) for m in range(10)}
    assert len(seen) == len(wanted)
    assert set(seen) == wanted


def test_filling_in_changes_nothing_but_the_holes() -> None:
    """Two devices at two times differ in name and numbers alone: a template is never spoiled."""
    made = template.make(random.Random(1), 2, [True])
    first = made.fill(DEVICE, (1, 1, NOW, NOW, 5))
    made.fill(b"l0000-000002", (9, 9, NOW + 1, NOW + 2, 6))
    assert made.fill(DEVICE, (1, 1, NOW, NOW, 5)) == first


def test_ranks_of_latencies() -> None:
    """The ranks are observations, and nothing measured is zero."""
    found = latency([float(n) for n in range(100, 0, -1)])
    assert (found.p50, found.p95, found.p99, found.max) == (51.0, 96.0, 100.0, 100.0)
    assert latency([]).p99 == 0.0
