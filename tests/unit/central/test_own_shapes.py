"""What a device has drawn of its own: from what it told, and never what central decided."""

from typing import Any

import msgspec
import pytest

from vedette.central.own_shapes import shapes_in
from vedette.wire.diagnostics import ConfigAnswer, Origin
from vedette.wire.signed import Line, Zone

ZONE = Zone(name="till", polygon=[(0.1, 0.1), (0.5, 0.1), (0.5, 0.5)])
LINE = Line(name="door", a=(0.2, 0.2), b=(0.8, 0.2))


def answer(origins: list[Origin] | None = None, **camera: Any) -> bytes:
    """Return what a device answers to `config`, with two cameras of which one has shapes."""
    own = {"id": "hall", "zones": [ZONE], "lines": [LINE]} | camera
    config = {"cameras": [{"id": "yard", "zones": [], "lines": []}, own]}
    return msgspec.json.encode(ConfigAnswer(config=config, documents=[], origins=origins or []))


def test_own_shapes_are_those_of_the_camera() -> None:
    """Outline and name of this camera alone; another camera of the device has none."""
    assert shapes_in(answer(), "hall") == ([ZONE], [LINE])
    assert shapes_in(answer(), "yard") == ([], [])
    assert shapes_in(answer(), "gone") == ([], [])


def test_what_central_had_decided_is_not_the_devices_own() -> None:
    """Settings of central stand in the effective configuration too, and say so."""
    by_central = [Origin(part="cameras.hall.zones", signer="central")]
    assert shapes_in(answer(by_central), "hall") == ([], [LINE])


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"{}",
        b"not json",
        answer(zones=[{"name": "x", "polygon": "everywhere"}]),
        answer(zones=7),
        msgspec.json.encode(ConfigAnswer(config={"cameras": 1}, documents=[], origins=[])),
    ],
)
def test_an_answer_that_is_not_well_made_says_nothing(told: bytes) -> None:
    """The page shows nothing of it rather than break."""
    assert shapes_in(told, "hall") == ([], [])


def test_no_more_is_shown_than_could_be_drawn() -> None:
    """A device that tells thousands does not fill the page."""
    zones, _ = shapes_in(answer(zones=[ZONE] * 1000), "hall")
    assert len(zones) == 32
