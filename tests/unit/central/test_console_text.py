"""Numbers and times as people read them."""

import pytest

from vedette.amounts import counted
from vedette.central.alerting import standing
from vedette.central.console import text, words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (0.25, "250 ms"), (48, "48 s"), (60, "1 min"), (95, "1 min 35 s"),
        (1800, "30 min"), (3599, "60 min"), (3600, "1 h"), (11_100, "3 h 05 min"),
        (86_400, "1 d"), (187_000, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_have_two_parts_at_most(seconds: float, said: str) -> None:
    """Enough to act on, short enough for a column."""
    assert text.duration_text(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 cameras"), (1, "1 camera"), (1.0, "1 camera"), (1204, "1,204 cameras")],
)
def test_one_of_a_thing_is_told_in_the_singular(count: float, said: str) -> None:
    """Also where the count is a sum that came as a float."""
    assert counted(count, "camera") == said
    assert counted(count, "box", "boxes").partition(" ")[2] == ("box" if count == 1 else "boxes")


def test_a_share_is_never_rounded_up_to_all_nor_down_to_none() -> None:
    """100 % and 0 % are promises."""
    assert text.percent_text(0.9999) == "> 99.9 %"
    assert text.percent_text(0.0001) == "< 0.1 %"
    assert text.percent_text(1.0) == "100 %"
    assert text.percent_text(0.0) == "0 %"
    assert text.percent_text(0.938) == "93.8 %"


def test_what_was_never_heard_says_never() -> None:
    """A missing moment is not an age of fifty years."""
    assert text.age_text(None, 1000) == "never"
    assert text.age_text(1000, 500) == "now"


def test_moments_are_utc() -> None:
    """A server in any zone prints the same."""
    assert text.moment_text(0) == "01 Jan 00:00:00"
    assert text.minute_text(59_999) == "01 Jan 00:00"
    assert text.iso_text(1) == "1970-01-01T00:00:00.001Z"


def test_bytes_grow_through_their_units() -> None:
    """From bytes to gigabytes."""
    assert [text.bytes_text(n) for n in (12, 1500, 1_483_220, 5 * 10**12)] == [
        "12 B",
        "1.5 kB",
        "1.5 MB",
        "5000.0 GB",
    ]


@pytest.mark.parametrize(
    ("detail", "shown", "said"),
    [
        ("ImageTooDark", [], "picture too dark"),
        ("ImageTooDark; ImageTooDark", [], "picture too dark"),
        ("Covered, ImageTooDark", ["Covered"], "picture too dark"),
        ("ImageTooDark", ["ImageTooDark"], ""),
        ("closed by the camera, twice; Covered", [], "closed by the camera, twice; lens covered"),
        ("NewSign", [], "NewSign"),
        ("", [], ""),
    ],
)
def test_signs_are_told_in_words_and_once(detail: str, shown: list[str], said: str) -> None:
    """What a tag beside it says already is not repeated; what nobody knows stays as it came."""
    assert words.in_words(detail, shown) == said


@pytest.mark.parametrize(
    ("signs", "detail", "said"),
    [
        (["ImageTooDark"], "ImageTooDark", "picture too dark"),
        (["Covered", "ImageTooDark"], "", "lens covered, picture too dark"),
        (["Covered"], "blocks in the picture", "lens covered: blocks in the picture"),
        ([], "no route to host", "no route to host"),
    ],
)
def test_an_incident_tells_signs_in_words_and_once(
    signs: list[str], detail: str, said: str
) -> None:
    """What people are told of a camera is no name of a constant, and not said twice."""
    assert standing.camera_text(signs, detail) == said
