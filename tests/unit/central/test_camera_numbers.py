"""What a camera's pages say of numbers: distances, columns, where the picture lies."""

import pytest

from vedette.central.camera_numbers import Camera, Columns, Compared, distance
from vedette.central.console.camera import numbers
from vedette.central.reference import verdict
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.views import Coverage
from vedette.wire.messages import Cause, SceneHealth

WHOLE = Coverage(fraction=1.0, observed_s=3600.0, accountable_s=3600.0)
HOLE = Coverage(
    fraction=0.0, observed_s=0.0, accountable_s=3600.0, causes={Cause.CAMERA_DOWN: 3600.0}
)


def test_distributions_are_compared_only_where_both_have_enough() -> None:
    """Alike is 0, apart is 1, one bin further is in between; 199 detections are too little."""
    assert distance([0, 300, 0], [0, 600, 0]) == 0
    assert distance([300, 0, 0], [0, 0, 300]) == 1
    assert distance([150, 150, 0], [0, 150, 150]) == pytest.approx(0.5)
    assert distance([199, 0], [0, 300]) is None
    assert distance([300, 0], [0, 300, 0]) is None
    assert distance([], [0, 300]) is None


@pytest.mark.parametrize(
    ("now", "before", "state", "said"),
    [
        ([300, 0], [300, 0], "ok", "as before"),
        ([250, 50], [300, 0], "degraded", "somewhat"),
        ([100, 200], [300, 0], "tampered", "different"),
        ([10, 0], [300, 0], "unknown", "too little to compare: 10 now, 300 before"),
    ],
)
def test_a_difference_has_a_word_and_both_sample_sizes(
    now: list[int], before: list[int], state: str, said: str
) -> None:
    """Nobody has to read the number to see it."""
    one = Compared(label="person", now=now, before=before, distance=distance(now, before))
    found, words = numbers.verdict(one)
    assert found == state
    assert said in words


def test_a_column_without_data_has_no_height_and_says_why() -> None:
    """Zero is a height; a hole is none. Columns are as wide as their time."""
    steps = [
        (0, HOUR_MS, 4.0, WHOLE),
        (HOUR_MS, 2 * HOUR_MS, 0.0, WHOLE),
        (2 * HOUR_MS, 4 * HOUR_MS, None, HOLE),
    ]
    drawn = numbers.columns_of(Columns(name="till", kind="entered", steps=steps, total=4.0))
    assert [column.height for column in drawn] == [96, 0, None]
    assert drawn[2].x == 50
    assert "no data, 0 % observed; camera down" in drawn[2].title
    assert "4, 100 % observed" in drawn[0].title


@pytest.mark.parametrize(
    ("span_ms", "step"), [(HOUR_MS, "minute"), (DAY_MS, "hour"), (90 * DAY_MS, "day")]
)
def test_lines_are_as_fine_as_the_time_shown_allows(span_ms: int, step: str) -> None:
    """Minutes of hours, hours of weeks, days of months."""
    of = Camera(device="d", camera="c", from_ms=0, to_ms=span_ms, now_ms=span_ms)
    assert of.step == step


@pytest.mark.parametrize(
    ("scene", "state", "said"),
    [
        (None, "unknown", "did not say"),
        (SceneHealth(), "unknown", "nothing to compare"),
        (SceneHealth(likeness=0.93), "ok", "as it was: likeness 0.93"),
        (SceneHealth(likeness=0.7, right=0.01, down=-0.002, strength=30), "ok", "1.0 % right"),
        (SceneHealth(likeness=0.3, right=-0.05, down=0.0, strength=25), "degraded", "5.0 % left"),
        (SceneHealth(likeness=0.1, right=0.3, down=0.2, strength=6), "unknown", "no clear shift"),
    ],
)
def test_where_a_picture_lies_is_said_in_words(
    scene: SceneHealth | None, state: str, said: str
) -> None:
    """In place, moved and where to, or not known: never a guess."""
    found, words = verdict(scene)
    assert found == state
    assert said in words
