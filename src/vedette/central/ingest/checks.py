"""What a well-formed message may still not say: negative counts, NaN, control characters. Pure.

`problem` walks any wire struct by its types; `meaning` holds the rules that types cannot say. A
message with a problem is refused alone and blocks nothing.
"""

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from vedette.ids import is_slug
from vedette.stats.sketch import MAX_COUNT, MAX_EXPONENT, MAX_SCALE, MIN_EXPONENT
from vedette.stats.summing import MAX_LEFT_OUT
from vedette.wire import limits, messages

_MAX_INT: Final = 2**53
_MAX_LIST: Final = 20_000
_MAX_LENGTH_MS: Final = 120_000
_MAX_SECONDS: Final = 1e9  # of one minute, summed over all tracks; beyond 1e305 no sum is exact
_FUTURE_MS: Final = int(limits.MAX_FUTURE_S * 1000)
_AGE_MS: Final = int(limits.MAX_AGE_S * 1000)

# Integers that may be below zero; every other integer on the wire is a count, a size or a time.
_SIGNED: Final = frozenset({"offset"})
# Texts are stored in text columns; NUL and other controls have no business there.
_CONTROLS: Final = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])


def problem(value: object, name: str = "") -> str | None:
    """Return what is wrong with `value` in words, None where nothing is."""
    check = _BY_TYPE.get(type(value))
    if check is not None:
        return check(value, name)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, msgspec.Struct):
        return _struct_problem(value)
    if isinstance(value, str):  # an enum's value
        return _text_problem(value, name)
    return f"{name} has an unexpected type"


def _float_problem(value: float, name: str) -> str | None:
    return None if math.isfinite(value) else f"{name} is not a finite number"


def _number_problem(value: int, name: str) -> str | None:
    if -1 < value <= _MAX_INT or (name in _SIGNED and -_MAX_INT <= value < 0):
        return None
    return f"{name} of {value} is out of range"


def _text_problem(text: str, name: str) -> str | None:
    if text.isprintable() and len(text) <= limits.MAX_TEXT_CHARS:
        return None
    if len(text) > limits.MAX_TEXT_CHARS:
        return f"{name} has more than {limits.MAX_TEXT_CHARS} characters"
    if text.translate(_CONTROLS) != text:
        return f"{name} holds control characters"
    return None


def _struct_problem(value: msgspec.Struct) -> str | None:
    kind = type(value)
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(value)
    for name in kind.__struct_fields__:
        field = getattr(value, name)
        # The common cases here, before any call: this is the hottest loop of ingest.
        if not field and field != 0.0:
            continue
        found = problem(field, name)
        if found is not None:
            return found
    return None


def _histogram_problem(value: messages.Histogram) -> str | None:
    """Return what `stats.sketch` would refuse, without building a sketch."""
    counts, size = value.counts, len(value.counts)
    if not 0 <= value.scale <= MAX_SCALE:
        return f"histogram scale {value.scale} is out of range"
    first, end = MIN_EXPONENT << value.scale, MAX_EXPONENT << value.scale
    if size and not first <= value.offset <= end - size:
        return "histogram buckets leave the grid's range"
    if value.zero < 0 or (size and min(counts) < 0):
        return "histogram has a negative count"
    total = value.zero + sum(counts)
    if total > MAX_COUNT:
        return "histogram claims more observations than can be counted"
    # NaN fails both comparisons
    if not 0.0 <= value.sum <= total * 2.0**MAX_EXPONENT:
        return "histogram sum cannot be that of its observations"
    return None


def _counts_problem(counts: list[int], name: str) -> str | None:
    if not counts or len(counts) > _MAX_LIST:
        return f"{name} has no elements or more than {_MAX_LIST}"
    if min(counts) < 0 or sum(counts) > MAX_COUNT:
        return f"{name} has a negative or impossible count"
    return None


def _bins_problem(value: messages.Bins) -> str | None:
    return _counts_problem(value.counts, "bins")


def _heatmap_problem(value: messages.Heatmap) -> str | None:
    if value.rows < 1 or value.columns < 1 or value.rows * value.columns != len(value.deciseconds):
        return "heatmap has another size than it says"
    return _counts_problem(value.deciseconds, "heatmap")


_SPECIAL: Final[dict[type, Callable[[Any], str | None]]] = {
    messages.Histogram: _histogram_problem,
    messages.Bins: _bins_problem,
    messages.Heatmap: _heatmap_problem,
}


def _list_problem(values: list[object] | tuple[object, ...], name: str) -> str | None:
    if len(values) > _MAX_LIST:
        return f"{name} has more than {_MAX_LIST} elements"
    for value in values:
        found = problem(value, name)
        if found is not None:
            return found
    return None


def _map_problem(values: dict[object, object], name: str) -> str | None:
    if len(values) > _MAX_LIST:
        return f"{name} has more than {_MAX_LIST} entries"
    for key, value in values.items():
        if isinstance(key, str):
            if len(key) > limits.MAX_NAME_CHARS:
                return f"a name in {name} has more than {limits.MAX_NAME_CHARS} characters"
            if not key.isprintable():
                return f"a name in {name} holds control characters"
        found = problem(value, name)
        if found is not None:
            return found
    return None


_BY_TYPE: Final[dict[type, Callable[[Any, str], str | None]]] = {
    int: _number_problem,
    float: _float_problem,
    str: _text_problem,
    list: _list_problem,
    tuple: _list_problem,
    dict: _map_problem,
}


def meaning(body: msgspec.Struct, made_ms: int) -> str | None:
    """Return what `body` claims that cannot be, None where all of it can.

    `made_ms` is when it was made by the clock that its own times are in: the device's.
    """
    rule = _RULES.get(type(body))
    return rule(body, made_ms) if rule else None


def _time_problem(start_ms: int, end_ms: int, made_ms: int) -> str | None:
    if end_ms <= start_ms:
        return "ends before it starts"
    if end_ms > made_ms + _FUTURE_MS:
        return "speaks of time to come"
    if start_ms < made_ms - 2 * _AGE_MS:
        return "speaks of time longer ago than any spool holds"
    return None


def _camera_problem(camera: str) -> str | None:
    return None if is_slug(camera) else "camera is not a valid name"


def _aggregate(body: messages.Aggregate, made_ms: int) -> str | None:
    if body.end_ms - body.start_ms > _MAX_LENGTH_MS:
        return "an aggregate of more than a minute"
    for span in body.spans:
        if span.end_ms <= span.start_ms:
            return "a span ends before it starts"
    seconds = [body.slow_path_shed_s, *body.presence_s.values(), *body.class_s.values()]
    seconds += [c.occupancy_s for zone in body.zones.values() for c in zone.values()]
    if seconds and not 0.0 <= min(seconds) <= max(seconds) <= _MAX_SECONDS:
        return "more seconds than there can be, or fewer than none"
    if len(body.left_out) > MAX_LEFT_OUT:
        return f"more than {MAX_LEFT_OUT} things left out"
    return _camera_problem(body.camera) or _time_problem(body.start_ms, body.end_ms, made_ms)


def _coverage(body: messages.CoverageReport, made_ms: int) -> str | None:
    for span in body.spans:
        found = _time_problem(span.start_ms, span.end_ms, made_ms)
        if found:
            return found
    return _camera_problem(body.camera)


def _tombstone(body: messages.Tombstone, _made_ms: int) -> str | None:
    for low, high in body.ranges:
        if not 1 <= low <= high:
            return "a range of sequence numbers is not one"
    for camera in body.cameras:
        if not is_slug(camera):
            return "camera is not a valid name"
    return None


def _state(body: messages.CameraState, made_ms: int) -> str | None:
    if body.at_ms > made_ms + _FUTURE_MS:
        return "speaks of time to come"
    return _camera_problem(body.camera)


def _event(body: messages.EventReport, made_ms: int) -> str | None:
    if not is_slug(body.event):
        return "event is not a valid id"
    if body.at_ms > made_ms + _FUTURE_MS:
        return "speaks of time to come"
    if body.confidence is not None and not 0.0 <= body.confidence <= 1.0:
        return "confidence is not within 0 to 1"
    if body.score is not None and not 0.0 <= body.score <= 1.0:
        return "score is not within 0 to 1"
    return _camera_problem(body.camera)


def _evidence(body: messages.EvidenceRecord, _made_ms: int) -> str | None:
    if not is_slug(body.evidence):
        return "evidence is not a valid id"
    return _camera_problem(body.camera)


def _health(body: messages.HealthReport, _made_ms: int) -> str | None:
    cameras = body.pipeline.cameras if body.pipeline else []
    if len(cameras) > limits.MAX_CAMERAS:
        return f"more than {limits.MAX_CAMERAS} cameras"
    return None


_Body = TypeVar("_Body", bound=msgspec.Struct)
_Rule = Callable[[msgspec.Struct, int], str | None]


def _rule(kind: type[_Body], check: Callable[[_Body, int], str | None]) -> tuple[type, _Rule]:
    def run(body: msgspec.Struct, made_ms: int) -> str | None:
        return check(body, made_ms) if isinstance(body, kind) else "another type"

    return kind, run


_RULES: Final[dict[type, _Rule]] = dict(
    (
        _rule(messages.Aggregate, _aggregate),
        _rule(messages.CoverageReport, _coverage),
        _rule(messages.Tombstone, _tombstone),
        _rule(messages.CameraState, _state),
        _rule(messages.EventReport, _event),
        _rule(messages.EvidenceRecord, _evidence),
        _rule(messages.HealthReport, _health),
    )
)
