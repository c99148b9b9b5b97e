"""Merging what was counted: aggregates to minutes, minutes to hours, hours to days. Pure.

How two add up is `stats.summing`, the same as on the device. Spans are not here (coverage has
them), so a merged aggregate must never be shown without the coverage of its time.
"""

from collections.abc import Iterable
from functools import reduce
from itertools import chain
from typing import Final

import msgspec

from vedette.errors import MalformedReport
from vedette.stats.summing import merge
from vedette.wire.messages import Aggregate

__all__ = ["add_up", "decode", "encode", "floor_ms", "merge", "merge_all", "strip"]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

MAX_NAMES: Final = 10_000
"""Zones by class, lines by class, classes and stages of one camera that are kept side by side: many
times what any camera has. A device with other names each minute must not make an hour of a million.
"""

_encode = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(Aggregate)


def floor_ms(t_ms: int, step_ms: int) -> int:
    """Return the start of the step that `t_ms` lies in."""
    return t_ms - t_ms % step_ms


def encode(aggregate: Aggregate) -> bytes:
    """Return the bytes of a rollup row."""
    return _encode(aggregate)


def decode(body: bytes) -> Aggregate:
    """Return the aggregate of a rollup row.

    Raises:
        MalformedReport: It holds what no message may.
    """
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise MalformedReport(f"not a rollup: {error}") from error


def strip(aggregate: Aggregate, shift_ms: int = 0) -> Aggregate:
    """Return `aggregate` without spans, moved by `shift_ms`: the form that is merged."""
    return msgspec.structs.replace(
        aggregate,
        spans=[],
        start_ms=aggregate.start_ms + shift_ms,
        end_ms=aggregate.end_ms + shift_ms,
    )


def merge_all(aggregates: Iterable[Aggregate]) -> Aggregate | None:
    """Return all of them together; None for none."""
    found = list(aggregates)
    return reduce(merge, found) if found else None


def add_up(aggregates: Iterable[Aggregate]) -> bytes:
    """Return the bytes of a rollup row that holds all of them, which are at least one.

    Raises:
        MalformedReport: Together they count more than can be read again, or under more than
            `MAX_NAMES` names.
        ArithmeticError: Or more than can be written.
    """
    body = _encode(reduce(_merge_bounded, aggregates))
    decode(body)
    return body


def _merge_bounded(a: Aggregate, b: Aggregate) -> Aggregate:
    merged = merge(a, b)
    if names_in(merged) > MAX_NAMES:
        raise MalformedReport(f"counts of {a.camera} under more than {MAX_NAMES} names")
    return merged


def names_in(aggregate: Aggregate) -> int:
    """Return how many counts, seconds and sketches stand side by side in an aggregate."""
    flat = (
        aggregate.presence_s,
        aggregate.stage_ms,
        aggregate.confidence,
        aggregate.entropy,
        aggregate.detections,
        aggregate.quality,
        aggregate.class_s,
        aggregate.scores,
    )
    nested = chain(aggregate.zones.values(), aggregate.lines.values())
    return sum(map(len, flat)) + sum(map(len, nested))
