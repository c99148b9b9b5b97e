"""Thumbnail requests as files between two processes: whole or not there, and never elsewhere."""

from pathlib import Path

import pytest

from vedette.edge import requests
from vedette.edge.requests import FOLDER, MAX_OPEN, ThumbnailRequest


def wanted(name: str) -> ThumbnailRequest:
    """Return a request."""
    return ThumbnailRequest(request=name, camera="door", width_px=48, expires_ms=5)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with its folder for requests."""
    (tmp_path / FOLDER).mkdir()
    return tmp_path


def test_a_request_waits_until_it_is_answered(state: Path) -> None:
    """Asked, seen, answered with a picture, seen no more."""
    requests.ask(state, wanted("req-1"))
    assert requests.waiting(state) == [wanted("req-1")]
    assert requests.answered(state, "req-1") is None
    requests.answer(state, "req-1", b"\xff\xd8picture")
    assert requests.waiting(state) == []
    assert requests.answered(state, "req-1") == (b"\xff\xd8picture", "")


def test_a_refusal_is_an_answer_in_words(state: Path) -> None:
    """Why there is no picture crosses as it was written."""
    requests.ask(state, wanted("req-1"))
    requests.answer(state, "req-1", None, "not enough of the background was seen yet")
    assert requests.waiting(state) == []
    picture, why = requests.answered(state, "req-1") or (b"", "")
    assert picture is None
    assert why == "not enough of the background was seen yet"


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "A", "x" * 65])
def test_an_id_that_could_leave_the_folder_is_refused(state: Path, name: str) -> None:
    """No request is written under such a name."""
    with pytest.raises(ValueError, match="no request id"):
        requests.ask(state, wanted(name))
    assert not list(state.rglob("*.json"))


def test_broken_and_foreign_files_are_passed_over(state: Path) -> None:
    """Half a file, no JSON, other bytes: the request beside them is seen all the same."""
    for name, data in (("a", b'{"request": "a"'), ("b", b"\xff\xfe\x00"), ("c", b"[]")):
        (state / FOLDER / f"{name}.json").write_bytes(data)
    requests.ask(state, wanted("req-1"))
    assert [one.request for one in requests.waiting(state)] == ["req-1"]


def test_a_flood_of_requests_is_bounded(state: Path) -> None:
    """No more than `MAX_OPEN` are looked at in one go."""
    for number in range(MAX_OPEN + 5):
        requests.ask(state, wanted(f"req-{number:02}"))
    assert len(requests.waiting(state)) == MAX_OPEN


def test_no_folder_is_no_request(tmp_path: Path) -> None:
    """Before anybody asked, nothing waits and an answer goes nowhere without an error."""
    assert requests.waiting(tmp_path / "missing") == []
    assert requests.answered(tmp_path / "missing", "req-1") is None


def test_no_temporary_file_stays(state: Path) -> None:
    """Requests and answers are put in place by a rename."""
    requests.ask(state, wanted("req-1"))
    requests.answer(state, "req-1", b"x")
    assert {path.name for path in (state / FOLDER).iterdir()} == {"req-1.json", "req-1.jpg"}
