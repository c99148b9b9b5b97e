"""What the query commands read and draw."""

import pytest

from vedette.cli.central_query import course, lasted, moment
from vedette.errors import ConfigError

NOW = 1_772_442_000_000


def test_times_are_said_as_people_say_them() -> None:
    """Spans back from now, dates, and times with a zone."""
    assert moment("now", NOW) == NOW
    assert moment("7d", NOW) == NOW - 7 * 86_400_000
    assert moment("2026-03-02", NOW) == 1_772_409_600_000
    assert moment("2026-03-02T01:00+01:00", NOW) == 1_772_409_600_000
    with pytest.raises(ConfigError):
        moment("yesterday", NOW)


def test_a_gap_in_a_course_is_no_bar() -> None:
    """What was not observed is a dot; zero is the lowest bar."""
    assert course([0.0, None, 4.0]) == "▁·█"
    assert course([None, None]) == "··"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (150, "2 min"), (5400, "1.5 h")]
)
def test_a_short_absence_is_no_zero_hours(seconds: float, words: str) -> None:
    """A gap of a minute is told in minutes, not as 0.0 h."""
    assert lasted(seconds) == words
