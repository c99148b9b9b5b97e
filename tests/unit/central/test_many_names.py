"""A device that counts under other names each minute: what it may cost central has an end."""

import pytest

from vedette.central import rollups
from vedette.central.query import scalars
from vedette.errors import MalformedReport
from vedette.wire.messages import Aggregate, ZoneCounts


def minute(n: int, names: int) -> Aggregate:
    """A minute of detections under names that no other minute has, and one zone by class."""
    return Aggregate(
        camera="door",
        start_ms=n * 60_000,
        end_ms=(n + 1) * 60_000,
        detections={f"{n}-{i}": 1 for i in range(names)},
        zones={"till": {f"{n}": ZoneCounts(entered=1)}},
    )


def test_minutes_of_ever_new_names_do_not_add_up_to_an_hour_without_end() -> None:
    """Honest minutes share their names; these would be a row of megabytes and hours of work."""
    many = rollups.MAX_NAMES // 4
    few = rollups.decode(rollups.add_up(minute(n, many) for n in range(3)))
    assert rollups.names_in(few) == 3 * many + 3
    with pytest.raises(MalformedReport, match="names"):
        rollups.add_up(minute(n, many) for n in range(60))


def test_a_day_is_laid_out_under_so_many_names_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first are there; the device is named in the log."""
    monkeypatch.setattr(scalars, "MAX_SERIES", 10)
    counts = scalars.counts_of(rollups.encode(minute(0, 100)))
    laid = scalars.lay([("door", 0, counts)], 0)
    assert sum(map(len, laid.values())) == 10
