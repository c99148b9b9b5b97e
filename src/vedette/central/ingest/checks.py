"""What a well-formed message may still not say: negative counts, NaN, control characters. Pure.

`problem` walks any wire struct by its types; `meaning` holds the rules that types cannot say. A
message with a problem is refused alone and blocks nothing.
"""

import math
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from vedette.errors import MalformedReport
from vedette.ids import is_slug
from vedette.stats.sketch import ExpHistogram
from vedette.wire import limits, messages

_MAX_INT: Final = 2**53
_MAX_LIST: Final = 20_000
_MAX_LENGTH_MS: Final = 120_000
_FUTURE_MS: Final = int(limits.MAX_FUTURE_S * 1000)
_AGE_MS: Final = int(limits.MAX_AGE_S * 1000)

# Integers that may be below zero; every other integer on the wire is a count, a size or a time.
_SIGNED: Final = frozenset({"offset"})
# Texts are stored in text columns; NUL and other controls have no business there.
_CONTROLS: Final = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])

_fields: dict[type, tuple[str, ...]] = {}


def problem(value: object, name: str = "") -> str | None:
    """Return what is wrong with `value` in words, None where nothing is."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _text_problem(value, name)
    if isinstance(value, int):
        if (value < 0 and name not in _SIGNED) or abs(value) > _MAX_INT:
            return f"{name} of {value} is out of range"
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{name} is not a finite number"
    if isinstance(value, msgspec.Struct):
        return _struct_problem(value)
    if isinstance(value, list | tuple):
        return _list_problem(value, name)
    if isinstance(value, dict):
        return _map_problem(value, name)
    return f"{name} has an unexpected type"


def _text_problem(text: str, name: str) -> str | None:
    if len(text) > limits.MAX_TEXT_CHARS:
        return f"{name} has more than {limits.MAX_TEXT_CHARS} characters"
    if not text.isprintable() and text.translate(_CONTROLS) != text:
        return f"{name} holds control characters"
    return None


def _struct_problem(value: msgspec.Struct) -> str | None:
    kind = type(value)
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = kind.__struct_fields__
    if isinstance(value, messages.Histogram):
        try:
            ExpHistogram.from_wire(value)
        except MalformedReport as error:
            return str(error)
        return None
    for name in names:
        found = problem(getattr(value, name), name)
        if found is not None:
            return found
    return None


def _list_problem(values: list[object] | tuple[object, ...], name: str) -> str | None:
    if len(values) > _MAX_LIST:
        return f"{name} has more than {_MAX_LIST} elements"
    if values and type(values[0]) is int:  # long lists of counts: look at the extremes only
        whole = [value for value in values if isinstance(value, int)]
        if len(whole) == len(values):
            return problem(min(whole), name) or problem(max(whole), name)
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
            found = _text_problem(key, name)
            if found is not None:
                return found
        found = problem(value, name)
        if found is not None:
            return found
    return None


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
    heatmap = body.heatmap
    if heatmap and heatmap.rows * heatmap.columns != len(heatmap.deciseconds):
        return "heatmap has another size than it says"
    for span in body.spans:
        if span.end_ms <= span.start_ms:
            return "a span ends before it starts"
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
