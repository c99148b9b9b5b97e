"""What a transaction of ingest works on: the batches that came, and their devices' rows."""

import msgspec

from vedette.central.ingest.unpack import Item
from vedette.wire.streams import Lane


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """One device's batch, unpacked.

    Attributes:
        believed: Lanes that the device wants to hear of, whatever this batch brings.
        sent_mono_ms: By the device's monotonic clock.
        address: Where it came from, for a person who looks for a copy.
        generation: Of the key that its token was given to; None: any.
        replay: Set aside before, and now to be counted: its numbers are known already.
    """

    device: str
    boot_id: str
    received_ms: int
    items: list[Item]
    believed: list[tuple[int, Lane]] = []
    sent_mono_ms: int | None = None
    address: str = ""
    generation: int | None = None
    replay: bool = False


class SenderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the transaction found it."""

    device: str
    site: str
    state: str
    contact_before_ms: int
    desired_etag: str
    attended_until_ms: int
    generation: int
    boot_id: str
    sent_mono_ms: int | None
    last_contact_ms: int | None
    lives: bytes | None
    quarantined_ms: int | None
    set_aside_bytes: int
    min_epoch: int
