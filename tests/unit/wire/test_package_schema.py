"""The schema of packages: what is written fits it, and what does not fit is told."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.unit.schema_kit import check
from vedette.wire.circumstances import Circumstances, QualityFacts, Surroundings
from vedette.wire.evidence import Facts, FrameBoxes
from vedette.wire.messages import Box, EventKind, EventReport, EvidenceRecord
from vedette.wire.package_schema import DOCUMENTS, explained, package_schema

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def facts() -> Facts:
    """Return what a small package says."""
    event = EventReport(event="ev-1", camera="door", kind=EventKind.DWELL, at_ms=5)
    record = EvidenceRecord(evidence="evd-1", event="ev-1", camera="door", wanted_ms=(1, 9))
    box = Box(xyxy=(1, 2, 3, 4), label="person", confidence=0.5, track=None)
    return Facts(
        record=record,
        event=event,
        frames=[FrameBoxes(at_ms=5, boxes=[box], problems=["ImageTooDark"])],
        version=2,
        circumstances=Circumstances(quality=QualityFacts(scores={"sharpness": 0.5})),
        surroundings=Surroundings(),
    )


def test_a_package_fits_its_schema_and_so_do_older_and_newer_ones() -> None:
    """As written now; without what came later; with what nobody knows yet."""
    now = json.loads(msgspec.json.encode(facts()))
    assert check("evidence.json", json.dumps(now).encode()) == ""
    old = {name: now[name] for name in ("record", "event", "frames")}
    assert check("evidence.json", json.dumps(old).encode()) == ""
    assert check("evidence.json", json.dumps(now | {"later": [1]}).encode()) == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record", {}),
        ("frames", {}),
        ("frames", [{"at_ms": "noon", "boxes": []}]),
        ("version", "2"),
        ("surroundings", {"related_left_out": -1}),
        ("holes", [{"window_ms": [1, 2, 3], "cause": ""}]),
        ("event", {"event": "e", "camera": "c", "kind": "magic", "at_ms": 1}),
    ],
)
def test_what_does_not_fit_is_told_by_schema_and_reader_alike(field: str, value: object) -> None:
    """The validator of these tests can fail, and fails where the struct does."""
    raw = json.dumps(json.loads(msgspec.json.encode(facts())) | {field: value}).encode()
    assert check("evidence.json", raw)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=Facts)


def test_fields_are_explained_where_they_stand() -> None:
    """A docstring's attributes, over several lines and several names; every document has some."""
    text, fields = explained("One.\n\n    Attributes:\n        a, b: Both,\n            long.\n")
    assert (text, fields) == ("One.", {"a": "Both, long.", "b": "Both, long."})
    for name in DOCUMENTS:
        schema = package_schema(name)
        main = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        assert (
            any("description" in one for one in main["properties"].values()) or main["description"]
        )
        assert "Attributes:" not in json.dumps(schema)


def test_the_published_schema_is_this_one() -> None:
    """The file in the docs is what the program prints."""
    published = json.loads((REFERENCE / "evidence.schema.json").read_text())
    assert published == package_schema("evidence.json")
