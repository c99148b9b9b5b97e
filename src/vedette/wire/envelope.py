"""The envelope around every message, the batch that carries envelopes, and central's answer.

The idempotency key is `(device, epoch, lane, seq)`: whoever sees it twice counts it once. A spool
that was lost starts a new epoch, so that a sequence number is never used for two messages.
"""

import enum

import msgspec

from vedette.wire.streams import Lane


class ClockState(enum.StrEnum):
    """How far the device's wall clock can be believed.

    `trusted`: agreed with central's signed time within its error. `floor`: not confirmed in this
    boot, but not before the floor. `untrusted`: known to be wrong; only `t_mono_ms` counts.
    """

    TRUSTED = "trusted"
    FLOOR = "floor"
    UNTRUSTED = "untrusted"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One message and where it stands in its lane.

    Attributes:
        t_wall_ms: Device's wall clock when the message was made.
        t_mono_ms: Milliseconds since boot when the message was made; comparable within `boot_id`.
        body: The message, still encoded; decoded by its row of the stream table.
    """

    epoch: int
    boot_id: str
    lane: Lane
    seq: int
    t_wall_ms: int
    t_mono_ms: int
    clock_state: ClockState
    schema: str
    body: msgspec.Raw


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one `POST /v1/up` carries.

    Attributes:
        device: Must be the device that the access token was given to.
        boot_id, sent_mono_ms, sent_wall_ms: The device's clocks when it sent, so that central can
            date messages by differences within this boot.
        desired_etag: The desired state that the device has, so the answer can say "newer".
        believed: What this device believes that central has of its lanes; sent at the first
            contact, every few minutes, and after a loss. Central answers with an ack for each of
            them, so that a central restored from an older backup gets again what it lacks.
    """

    device: str
    boot_id: str
    sent_mono_ms: int
    sent_wall_ms: int
    envelopes: list[Envelope] = []
    desired_etag: str = ""
    version: int = 1
    believed: "list[LaneAck]" = []


class LaneAck(msgspec.Struct, frozen=True, kw_only=True):
    """What central has of one lane: everything up to `acked_through`, and `have` beyond it.

    Attributes:
        have: Closed ranges above `acked_through`, ascending.
    """

    epoch: int
    lane: Lane
    acked_through: int
    have: list[tuple[int, int]] = []


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A message that central will never take; counted as settled so that it blocks nothing."""

    epoch: int
    lane: Lane
    seq: int
    reason: str


class UpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Central's answer, given only after the transaction committed.

    Attributes:
        retry_after_s: Wait at least this long before bringing more of what had waited (0: as you
            like); what is fresh comes by its own schedule. With status 503: before anything.
        attend: True while an operator is looking: long poll `/v1/desired`.
        quarantined: Two copies of this device are alive. What it says is kept, acknowledged and not
            counted until an operator judges; it is told so that somebody beside it learns of it.
    """

    acks: list[LaneAck] = []
    rejected: list[Rejection] = []
    server_time_ms: int = 0
    desired_etag: str = ""
    retry_after_s: float = 0.0
    attend: bool = False
    quarantined: bool = False
