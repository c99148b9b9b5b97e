"""Evaluation records from elsewhere: what adds up is read, everything else is refused in words."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import MalformedReport, TooLarge
from vedette.wire.evaluation import (
    MAX_RECORD_BYTES,
    CameraDay,
    Confused,
    DataSet,
    EvaluationRecord,
    HardwareTimes,
    StepTime,
    Tally,
    depth,
    problem_of,
    read_record,
)

DIGEST = "sha256:" + "0" * 64


def record(**more: Any) -> EvaluationRecord:
    """Two camera-days whose confusion matrix adds up."""
    days = [
        CameraDay(site="a", camera="c", day="2026-05-17", pictures=2,
                  tallies={"person": Tally(3, 1, 2), "dog": Tally(1, 1, 0)}),
        CameraDay(site="a", camera="c", day="2026-05-18", pictures=1),
    ]  # fmt: skip
    said: dict[str, Any] = {
        "digest": DIGEST, "at_ms": 1, "days": days,
        "data": DataSet(name="d", sha256="1" * 64, pictures=3),
        "confusion": [Confused("person", "person", 3), Confused("dog", "dog", 1),
                      Confused("person", "dog", 1), Confused("person", "", 1),
                      Confused("", "person", 1)],
    }  # fmt: skip
    return EvaluationRecord(**(said | more))


def test_a_record_that_adds_up_is_read_as_it_was_written() -> None:
    """Through JSON and back."""
    assert read_record(msgspec.json.encode(record())) == record()


STEP = StepTime(runs=9, p50_ms=1, p95_ms=2, p99_ms=3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"digest": "sha256:zz"}, "digest"),
        ({"format": 2}, "format 2"),
        ({"days": [], "data": None, "confusion": []}, "neither"),
        ({"data": None}, "without the data"),
        ({"data": DataSet(name="d", sha256="1", pictures=3)}, "64 hex"),
        ({"data": DataSet(name="d", sha256="1" * 64, pictures=9)}, "pictures"),
        ({"confusion": [Confused("person", "person", 4)]}, "matrix says"),
        ({"confusion": [Confused("", "", 1)]}, "nothing taken for nothing"),
        ({"confusion": [Confused("dog", "dog", 1)] * 2}, "twice"),
        ({"days": [CameraDay(pictures=1), CameraDay(pictures=2)]}, "twice"),
        ({"days": [CameraDay(pictures=0)]}, "without a picture"),
        ({"days": [CameraDay(day="2026-13-01", pictures=1)]}, "not a day"),
        ({"hardware": [HardwareTimes(hardware="")]}, "without the hardware"),
        ({"hardware": [HardwareTimes(hardware="x")] * 2}, "twice"),
        ({"hardware": [HardwareTimes(hardware="x", load_s=-1)]}, "below zero"),
        ({"hardware": [HardwareTimes(hardware="x", steps={"a": msgspec.structs.replace(
            STEP, p99_ms=1.0)})]}, "percentiles fall"),
        ({"hardware": [HardwareTimes(hardware="x", steps={"a": msgspec.structs.replace(
            STEP, p95_high_ms=1.0)})]}, "bounds"),
        ({"hardware": [HardwareTimes(hardware="x", steps={"a": msgspec.structs.replace(
            STEP, runs=0)})]}, "no run"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(wrong: dict[str, object], words: str) -> None:
    """One thing wrong at a time; the answer names it."""
    with pytest.raises(MalformedReport, match=words):
        read_record(msgspec.json.encode(record(**wrong)))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b'{"digest":NaN}', b'{"digest":"x","at_ms":1e999}', b"null",
     msgspec.json.encode(record())[:-40], b'{"at_ms":-1,"digest":"x"}'],
)  # fmt: skip
def test_no_record_at_all_is_refused(data: bytes) -> None:
    """Empty, truncated, not text, not a number."""
    with pytest.raises(MalformedReport):
        read_record(data)


def test_huge_and_deep_records_are_refused_before_they_are_decoded() -> None:
    """By length and by nesting."""
    with pytest.raises(TooLarge, match="bytes"):
        read_record(b" " * (MAX_RECORD_BYTES + 1))
    with pytest.raises(TooLarge, match="nested"):
        read_record(b'{"x":' * 10_000)


@settings(max_examples=30)
@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
def test_depth_is_that_of_the_brackets_outside_of_strings(value: object) -> None:
    """Whatever brackets and quotes the texts hold."""

    def deep(of: object) -> int:
        return 1 + max(map(deep, of), default=0) if isinstance(of, list) else 0

    assert depth(msgspec.json.encode(value)) == deep(value)


def test_times_alone_are_a_record() -> None:
    """What `vedette bundle test` writes has no camera-days."""
    times = HardwareTimes(hardware="x", steps={"inference": STEP}, load_s=1.0, golden_ok=True)
    assert not problem_of(EvaluationRecord(digest=DIGEST, at_ms=1, hardware=[times]))
