"""How long a device was held back, from its health reports."""

from vedette.central.query import scalars
from vedette.central.rows import is_throttled
from vedette.wire.messages import HealthReport, NetworkHealth, SpoolHealth, SystemHealth


def report(flags: list[str] | None) -> HealthReport:
    """Return a report of half a minute with these flags."""
    return HealthReport(
        at_ms=0,
        period_s=30.0,
        version="1",
        system=SystemHealth(throttle_flags=flags),
        network=NetworkHealth(),
        spool=SpoolHealth(),
    )


def throttled_s(*flags: list[str] | None) -> float | None:
    """Return what is laid out of an hour with such reports; None where nothing is."""
    laid = scalars.lay_health(((n, report(f)) for n, f in enumerate(flags)), 5)
    series = laid.get(scalars.THROTTLED_S)
    return None if series is None else float(series["", "", ""][5])


def test_reports_that_say_it_is_held_back_are_added_up() -> None:
    """Two of four reports, whatever holds it back; a machine that cannot tell adds nothing."""
    assert throttled_s([], ["thermal-throttled"], ["frequency-capped"], []) == 60.0
    assert throttled_s(None, None) is None


def test_a_mark_of_the_past_counts_once() -> None:
    """A mark that stays until the next start counts where it appears, once."""
    assert throttled_s([], ["throttled-occurred"], ["throttled-occurred"]) == 30.0
    assert throttled_s(["throttled-occurred"], ["throttled-occurred"]) is None
    assert not is_throttled(["throttled-occurred"])
    assert is_throttled(["throttled-occurred", "throttled"])
