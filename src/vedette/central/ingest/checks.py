"""What a well-formed message may still not say: control characters, impossible sums. Pure.

Numbers that cannot be (negative counts, NaN) are refused while a message is decoded, by the types
of `wire.messages`. `problem` holds the rules for texts, sizes and sketches; what is to look at in
each type is found out once, at import, so that a report costs microseconds. `meaning` holds the
rules that types cannot say. A message with a problem is refused alone and blocks nothing.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from vedette.ids import is_slug
from vedette.stats.sketch import MAX_COUNT, MAX_EXPONENT, MAX_SCALE, MIN_EXPONENT
from vedette.stats.summing import MAX_LEFT_OUT
from vedette.wire import limits, messages, numbers, updates
from vedette.wire.streams import STREAMS

_MAX_LIST: Final = 20_000
_MAX_LENGTH_MS: Final = 120_000
_MAX_SECONDS: Final = 1e9  # of one minute, summed over all tracks; beyond 1e305 no sum is exact
_MAX_VALUE: Final = 2.0**MAX_EXPONENT
MAX_STEPS: Final = 32
_FUTURE_MS: Final = int(limits.MAX_FUTURE_S * 1000)
_AGE_MS: Final = int(limits.MAX_AGE_S * 1000)

# Texts are stored in text columns; NUL and other controls have no business there.
_CONTROLS: Final = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])

_Check = Callable[[Any], str | None]


def problem(body: msgspec.Struct) -> str | None:
    """Return what is wrong with a decoded message in words, None where nothing is."""
    check = _check_for(type(body))
    return check(body) if check else None


def text_problem(text: str, name: str) -> str | None:
    """Return what is wrong with a text that is stored in a text column."""
    if text.isprintable() and len(text) <= limits.MAX_TEXT_CHARS:
        return None
    if len(text) > limits.MAX_TEXT_CHARS:
        return f"{name} has more than {limits.MAX_TEXT_CHARS} characters"
    if text.translate(_CONTROLS) != text:
        return f"{name} holds control characters"
    return None


def _histogram_problem(value: messages.Histogram) -> str | None:
    """Return what `stats.sketch` would refuse, without building a sketch."""
    counts, scale = value.counts, value.scale
    if scale > MAX_SCALE:
        return f"histogram scale {scale} is out of range"
    if counts and not (
        MIN_EXPONENT << scale <= value.offset <= (MAX_EXPONENT << scale) - len(counts)
    ):
        return "histogram buckets leave the grid's range"
    total = value.zero + sum(counts)
    if total > MAX_COUNT:
        return "histogram claims more observations than can be counted"
    if not 0.0 <= value.sum <= total * _MAX_VALUE:
        return "histogram sum cannot be that of its observations"
    return None


def _counts_problem(counts: list[int], name: str) -> str | None:
    if not counts or len(counts) > _MAX_LIST:
        return f"{name} has no elements or more than {_MAX_LIST}"
    return f"{name} has an impossible count" if sum(counts) > MAX_COUNT else None


def _bins_problem(value: messages.Bins) -> str | None:
    return _counts_problem(value.counts, "bins")


def _heatmap_problem(value: messages.Heatmap) -> str | None:
    if value.rows < 1 or value.columns < 1 or value.rows * value.columns != len(value.deciseconds):
        return "heatmap has another size than it says"
    return _counts_problem(value.deciseconds, "heatmap")


_SPECIAL: Final[dict[type, _Check]] = {
    messages.Histogram: _histogram_problem,
    messages.Bins: _bins_problem,
    messages.Heatmap: _heatmap_problem,
}


def _check_of(kind: inspect.Type, name: str) -> _Check | None:
    """Return what to look at in a value of this type; None: decoding saw to all of it.

    Raises:
        TypeError: A message type that no rule here covers, found at import.
    """
    match kind:
        case inspect.StructType():
            return _SPECIAL.get(kind.cls) or _struct_check(kind)
        case inspect.UnionType(types=(one, inspect.NoneType())):
            return _check_of(one, name)
        case inspect.ListType():
            return _list_check(_check_of(kind.item_type, name), name)
        case inspect.TupleType() if not any(_check_of(one, name) for one in kind.item_types):
            return None
        case inspect.DictType(key_type=inspect.StrType()):
            return _map_check(_check_of(kind.value_type, name), name)
        case inspect.DictType(key_type=inspect.EnumType(), value_type=inspect.IntType()):
            return None
        case inspect.StrType():
            return partial(text_problem, name=name)
        case inspect.IntType() if kind.ge is None or kind.le is None:
            return partial(_number_problem, name=name)
        case inspect.IntType() | inspect.BoolType() | inspect.EnumType() | inspect.BytesType():
            return None
        case inspect.FloatType(ge=float(), le=float()):
            return None
        case _:
            raise TypeError(f"{name}: no rule for {kind}; numbers are Count or Finite")


def _number_problem(value: int, name: str) -> str | None:
    return None if abs(value) <= numbers.MAX_WHOLE else f"{name} of {value} is out of range"


def _struct_check(kind: inspect.StructType) -> _Check | None:
    found = {field.name: _check_of(field.type, field.name) for field in kind.fields}
    named = {name: check for name, check in found.items() if check}
    if not named:
        return None
    checks = tuple(named.values())
    # one call for all fields; the second name of a single one keeps the answer a tuple
    read = attrgetter(*named, *(list(named) if len(named) == 1 else ()))

    def run(value: msgspec.Struct) -> str | None:
        for field, check in zip(read(value), checks):  # noqa: B905 - the doubled name
            if field and (wrong := check(field)):
                return wrong
        return None

    return run


def _list_check(check: _Check | None, name: str) -> _Check:
    def run(values: list[Any]) -> str | None:
        if len(values) > _MAX_LIST:
            return f"{name} has more than {_MAX_LIST} elements"
        return of_each(values) if of_each else None

    of_each = _each_check(check)
    return run


def _map_check(check: _Check | None, name: str) -> _Check:
    def run(values: dict[str, Any]) -> str | None:
        if len(values) > _MAX_LIST:
            return f"{name} has more than {_MAX_LIST} entries"
        for key in values:
            if len(key) > limits.MAX_NAME_CHARS:
                return f"a name in {name} has more than {limits.MAX_NAME_CHARS} characters"
            if not key.isprintable():
                return f"a name in {name} holds control characters"
        return of_each(values.values()) if of_each else None

    of_each = _each_check(check)
    return run


def _each_check(check: _Check | None) -> _Check | None:
    if check is None:
        return None

    def run(values: Iterable[Any]) -> str | None:
        for value in values:
            if wrong := check(value):
                return wrong
        return None

    return run


@cache
def _check_for(kind: type[msgspec.Struct]) -> _Check | None:
    return _check_of(inspect.type_info(kind), "")


for _row in STREAMS:
    _check_for(_row.body)


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
    if max(len(body.local_channels), len(body.locally_driven)) > limits.MAX_CAMERAS:
        return f"more than {limits.MAX_CAMERAS} local channels, or alerts by them"
    return None


def _commission(body: messages.CommissionReport, made_ms: int) -> str | None:
    if body.at_ms > made_ms + _FUTURE_MS:
        return "speaks of time to come"
    if len(body.confirmed) + len(body.refused) + len(body.skipped) > MAX_STEPS:
        return f"more than {MAX_STEPS} steps"
    if body.observed_fraction is not None and not 0.0 <= body.observed_fraction <= 1.0:
        return "observed_fraction is not within 0 to 1"
    return _camera_problem(body.camera)


MAX_JUDGED_BOXES: Final = 256
MAX_WEIGHT: Final = 1e6
_MAX_SIDE_PX: Final = 65_536
_JPEG: Final = b"\xff\xd8\xff"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def _update(body: updates.UpdateReport, _made_ms: int) -> str | None:
    return _slot_problem(body.rollout, body.slot, body.digest)


def _shadow(body: updates.ShadowReport, made_ms: int) -> str | None:
    if body.end_ms < body.start_ms:
        return "ends before it starts"
    if body.end_ms > made_ms + _FUTURE_MS:
        return "speaks of time to come"
    if body.differing > body.frames:
        return "more pictures differ than were compared"
    return _slot_problem(body.rollout, body.slot, body.a, body.b) or _camera_problem(body.camera)


def _disagreement(body: updates.Disagreement, _made_ms: int) -> str | None:
    if not is_slug(body.disagreement):
        return "disagreement is not a valid id"
    if len(body.picture) > updates.MAX_PICTURE_BYTES:
        return f"its picture has more than {updates.MAX_PICTURE_BYTES} bytes"
    if body.picture and not body.picture.startswith(_JPEG):
        return "its picture is no JPEG"
    if len(body.boxes_a) + len(body.boxes_b) > MAX_JUDGED_BOXES:
        return f"more than {MAX_JUDGED_BOXES} boxes"
    if not 1.0 <= body.weight <= MAX_WEIGHT:
        return f"a weight outside of 1 to {MAX_WEIGHT:g}"
    if not all(1 <= side <= _MAX_SIDE_PX for side in body.picture_px):
        return "a picture of an impossible size"
    left, top, right, bottom = body.crop_px or (0, 0, *body.picture_px)
    if not (left < right <= body.picture_px[0] and top < bottom <= body.picture_px[1]):
        return "what was cut out lies outside of the picture"
    return _slot_problem(body.rollout, body.slot, body.a, body.b) or _camera_problem(body.camera)


def _slot_problem(rollout: str, slot: str, *digests: str) -> str | None:
    if not is_slug(rollout) or not is_slug(slot):
        return "rollout or slot is not a valid id"
    bad = next((one for one in digests if one and not _DIGEST.fullmatch(one)), None)
    return None if bad is None else "a digest is not sha256: and 64 hex digits"


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
        _rule(messages.CommissionReport, _commission),
        _rule(updates.UpdateReport, _update),
        _rule(updates.ShadowReport, _shadow),
        _rule(updates.Disagreement, _disagreement),
    )
)
