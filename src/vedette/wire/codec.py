"""Bytes to messages and back: msgpack + zstd, or JSON, with every limit enforced.

A parser here meets hostile input: sizes are counted before unpacking, depth before decoding,
and every failure is a `WireError` that says which field was wrong.
"""

from typing import Final, TypeVar

import msgspec
import zstandard

from vedette.errors import MalformedReport, TooLarge
from vedette.wire import limits
from vedette.wire.envelope import Batch, UpAnswer
from vedette.wire.streams import Stream

T = TypeVar("T")

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"

_MAX_NUMBER: Final = 2**53
_MAX_S: Final = 86_400.0

_encode_msgpack = msgspec.msgpack.Encoder().encode


def encode(message: msgspec.Struct) -> bytes:
    """Return the message as msgpack."""
    return _encode_msgpack(message)


def decode(data: bytes | msgspec.Raw, kind: type[T], *, json: bool = False) -> T:
    """Return the message that `data` holds.

    Raises:
        TooLarge: Nested deeper than `limits.MAX_DEPTH`.
        MalformedReport: Not that message; the text names the field.
    """
    try:
        if json:
            return msgspec.json.decode(data, type=kind)
        return msgspec.msgpack.decode(data, type=kind)
    except RecursionError as error:
        raise TooLarge("message nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise MalformedReport(f"not a valid {kind.__name__}: {error}") from error


def decode_body(body: msgspec.Raw | bytes, row: Stream, *, json: bool = False) -> msgspec.Struct:
    """Return the struct of one envelope's body by its row of the stream table.

    Raises:
        TooLarge: More bytes than the row allows.
        MalformedReport: Not that message.
    """
    size = len(memoryview(body))
    if size > row.max_bytes:
        raise TooLarge(f"{row.schema} of {size} bytes; at most {row.max_bytes} are allowed")
    return decode(body, row.body, json=json)


def compress(data: bytes) -> bytes:
    """Return `data` as one zstd frame that states its size."""
    return zstandard.ZstdCompressor(level=3).compress(data)


class Inflater:
    """Unpacks zstd frames one after another: making the tool costs more than using it.

    Thread: one at a time.
    """

    def __init__(self) -> None:
        self._tool = zstandard.ZstdDecompressor(max_window_size=1 << 23)

    def inflate(self, data: bytes, max_bytes: int = limits.MAX_INFLATED_BYTES) -> bytes:
        """Return the content of one zstd frame; what came before leaves no trace.

        Raises:
            TooLarge: It would unpack to more than `max_bytes`; nothing beyond that is unpacked.
            MalformedReport: Not zstd, truncated, or followed by other bytes.
        """
        try:
            worker = self._tool.decompressobj()
            stated = zstandard.frame_content_size(data)
            if stated > max_bytes:
                raise TooLarge(f"unpacks to {stated} bytes; at most {max_bytes} are allowed")
            if stated < 0:
                raise MalformedReport("zstd frame does not state its size")
            out = worker.decompress(data)
        except zstandard.ZstdError as error:
            raise MalformedReport(f"not a valid zstd frame: {error}") from error
        if len(out) != stated or worker.unused_data:
            raise MalformedReport("zstd frame is truncated or followed by other bytes")
        return out


def decompress(data: bytes, max_bytes: int = limits.MAX_INFLATED_BYTES) -> bytes:
    """Return the content of one zstd frame, as `Inflater.inflate`, in any thread.

    Raises:
        TooLarge: It would unpack to more than `max_bytes`; nothing beyond that is unpacked.
        MalformedReport: Not zstd, truncated, or followed by other bytes.
    """
    return Inflater().inflate(data, max_bytes)


def encode_batch(batch: Batch) -> bytes:
    """Return the body of `POST /v1/up`: msgpack in one zstd frame."""
    return compress(encode(batch))


def decode_batch(
    data: bytes, *, json: bool = False, zstd: bool = True, inflater: Inflater | None = None
) -> Batch:
    """Return the batch that a request body holds; who decodes many keeps an `inflater`.

    Raises:
        TooLarge: Over any limit of `wire.limits`.
        MalformedReport: Not a batch.
    """
    if len(data) > limits.MAX_BODY_BYTES:
        raise TooLarge(f"body of {len(data)} bytes; at most {limits.MAX_BODY_BYTES} are allowed")
    plain = (inflater or Inflater()).inflate(data) if zstd else data
    batch = decode(plain, Batch, json=json)
    if len(batch.envelopes) > limits.MAX_ENVELOPES:
        raise TooLarge(f"{len(batch.envelopes)} envelopes; at most {limits.MAX_ENVELOPES}")
    for envelope in batch.envelopes:
        if envelope.epoch < 1 or envelope.seq < 1 or not envelope.boot_id:
            raise MalformedReport("epoch and seq start at 1 and boot_id is not empty")
    return batch


def decode_answer(data: bytes) -> UpAnswer:
    """Return central's answer to `POST /v1/up`.

    Raises:
        TooLarge: Nested too deeply.
        MalformedReport: Not an answer, or one in numbers that no clock and no spool can hold.
    """
    answer = decode(data, UpAnswer)
    numbers = [answer.server_time_ms]
    for ack in answer.acks:
        numbers += (ack.epoch, ack.acked_through, *(edge for pair in ack.have for edge in pair))
    for refused in answer.rejected:
        numbers += (refused.epoch, refused.seq)
    # NaN fails the second comparison too
    if min(numbers) < 0 or max(numbers) > _MAX_NUMBER or not 0 <= answer.retry_after_s <= _MAX_S:
        raise MalformedReport("an answer in impossible numbers")
    return answer
