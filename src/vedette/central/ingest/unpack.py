"""From a decoded batch to checked and dated items. Pure.

Whatever is wrong with one message is a refusal of that message; the batch goes on.
"""

import msgspec

from vedette.central.ingest import checks
from vedette.central.ingest.dating import Dating, date
from vedette.errors import MalformedReport, UnknownSchema, WireError
from vedette.wire import codec, limits
from vedette.wire.envelope import Batch, Envelope
from vedette.wire.streams import BACKFILL_AFTER_S, Stream, stream

_MAX_INT = 2**53
_MAX_KEPT_OF_REFUSED = 1024
_MAX_BOOT_CHARS = 128
_BACKFILL_AFTER_MS = int(BACKFILL_AFTER_S * 1000)

MAX_LATE_AMONG_FRESH = 20
"""A batch with no more messages than this that waited is as good as fresh."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One message, ready for the database.

    Attributes:
        body: None where it is refused.
        stored: The body's bytes as they are kept (msgpack).
    """

    envelope: Envelope
    dating: Dating
    row: Stream | None
    body: msgspec.Struct | None
    stored: bytes
    refusal: str = ""


def check_batch(batch: Batch) -> None:
    """Return where the frame around the messages is sane: numbers that fit, texts that print.

    Raises:
        MalformedReport: It is not.
    """
    found: str | None = None
    for text in (batch.device, batch.boot_id, batch.desired_etag):
        found = found or checks.text_problem(text, "batch")
    if not 0 <= batch.sent_mono_ms <= _MAX_INT or abs(batch.sent_wall_ms) > _MAX_INT:
        found = found or "sent: out of range"
    for envelope in batch.envelopes:
        high = max(envelope.epoch, envelope.seq, envelope.t_mono_ms, abs(envelope.t_wall_ms))
        if envelope.t_mono_ms < 0 or high > _MAX_INT or len(envelope.boot_id) > _MAX_BOOT_CHARS:
            found = "envelope number out of range"
        found = found or checks.text_problem(envelope.boot_id, "boot_id")
    if len(batch.believed) > limits.MAX_BELIEVED:
        found = found or f"believed: more than {limits.MAX_BELIEVED} lanes"
    if not all(1 <= lane.epoch <= _MAX_INT for lane in batch.believed):
        found = found or "believed: epoch out of range"
    if found:
        raise MalformedReport(found)


def unpack(batch: Batch, received_ms: int, *, json: bool = False) -> list[Item]:
    """Return one item per envelope, in the batch's order."""
    return [_item(envelope, batch, received_ms, json=json) for envelope in batch.envelopes]


def without_backlog(batch: Batch, received_ms: int) -> Batch:
    """Return the batch with only its fresh messages; with all where few of them waited."""
    limit_ms = received_ms - _BACKFILL_AFTER_MS
    fresh = [one for one in batch.envelopes if date(one, batch, received_ms).latest_ms >= limit_ms]
    if len(batch.envelopes) - len(fresh) <= MAX_LATE_AMONG_FRESH:
        return batch
    return msgspec.structs.replace(batch, envelopes=fresh)


def _item(envelope: Envelope, batch: Batch, received_ms: int, *, json: bool) -> Item:
    dating = date(envelope, batch, received_ms)
    raw = bytes(envelope.body)
    row: Stream | None = None
    try:
        row = stream(envelope.schema)
        if envelope.lane is not row.lane:
            raise MalformedReport(f"{row.schema} does not travel on lane {envelope.lane}")
        body = codec.decode_body(raw, row, json=json)
        found = dating.refusal or checks.problem(body) or checks.meaning(body, envelope.t_wall_ms)
        if found:
            raise MalformedReport(found)
    except (WireError, UnknownSchema) as error:
        return Item(
            envelope=envelope,
            dating=dating,
            row=row,
            body=None,
            stored=raw[:_MAX_KEPT_OF_REFUSED],
            refusal=str(error)[:300],
        )
    stored = codec.encode(body) if json else raw
    return Item(envelope=envelope, dating=dating, row=row, body=body, stored=stored)
