"""Pixels that waited in the spool stay where consent was withdrawn meanwhile."""

import msgspec
import pytest

from vedette.edge import leaving
from vedette.edge.uplink import Prepared
from vedette.wire import codec
from vedette.wire.envelope import Batch, ClockState, Envelope, UpAnswer
from vedette.wire.messages import Box
from vedette.wire.signed import PixelPolicy
from vedette.wire.streams import stream
from vedette.wire.updates import Disagreement

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def envelope(schema: str, body: msgspec.Struct, seq: int = 1) -> Envelope:
    """A message as it waits in the spool."""
    return Envelope(
        epoch=1, boot_id="boot", lane=stream(schema).lane, seq=seq, t_wall_ms=1, t_mono_ms=1,
        clock_state=ClockState.TRUSTED, schema=schema, body=msgspec.Raw(codec.encode(body)),
    )  # fmt: skip


def disagreement(picture: bytes) -> Disagreement:
    """A picture on which two models differ."""
    box = Box(xyxy=(1.0, 2.0, 3.0, 4.0), label="person", confidence=0.5)
    return Disagreement(
        disagreement="dis-1", rollout="ro", slot="people", camera="door", at_ms=1, a=A, b=B,
        picture_px=(64, 48), boxes_a=[box], weight=3.0, picture=picture, crop_px=(0, 0, 64, 48),
    )  # fmt: skip


class Sent:
    """Central, which keeps what came."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def up(self, batch: Batch) -> UpAnswer:
        """Take it."""
        self.batches.append(batch)
        return UpAnswer(acks=[], desired_etag="")


@pytest.mark.parametrize("may_leave", [True, False])
def test_a_picture_leaves_by_the_policy_of_the_moment_of_sending(may_leave):
    """The boxes are told in any case, with the reason; other messages are not touched."""
    said = disagreement(b"\xff\xd8picture")
    pictured = envelope("disagreement.v1", said)
    bare = envelope("disagreement.v1", disagreement(b""), seq=2)
    central, policy = Sent(), [PixelPolicy(review_frames=True)]
    guarded = Prepared(central, lambda: None, lambda: policy[0])
    policy[0] = PixelPolicy(review_frames=may_leave)
    batch = Batch(
        device="box", boot_id="boot", sent_mono_ms=1, sent_wall_ms=1, envelopes=[pictured, bare]
    )
    guarded.up(batch)
    first, second = central.batches[0].envelopes
    came = codec.decode(first.body, Disagreement)
    assert bool(came.picture) is may_leave
    assert (came.withheld == leaving.WITHDRAWN) is not may_leave
    assert (came.boxes_a, came.weight) == (said.boxes_a, 3.0)
    assert second is bare
    assert batch.envelopes[0] is pictured, "what waits is what is settled"
    assert codec.decode_batch(codec.encode_batch(central.batches[0])).envelopes[0].seq == 1
