"""What the gates of a model look like in a terminal."""

import pytest

from vedette.cli.central_models import FOLDED_GATES, _print_gates
from vedette.stats.gates import Gate, Verdict


def test_gates_of_classes_that_nobody_saw_are_counted_and_not_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A detector of 80 classes has 250 gates: those that say something stay readable."""
    unseen = [
        Gate(gate=f"recall/class-{number}", kind="recall", verdict=Verdict.INCONCLUSIVE)
        for number in range(FOLDED_GATES + 1)
    ]
    seen = Gate(gate="recall/person", kind="recall", verdict=Verdict.FAIL, value=0.5)
    _print_gates(Verdict.FAIL, [seen, *unseen])
    shown = capsys.readouterr().out
    assert "recall/person" in shown
    assert "recall/class-1" not in shown
    assert f"and {len(unseen)} gates" in shown
    assert "models ask MODEL --class" in shown
    _print_gates(Verdict.FAIL, [seen, *unseen[1:]])
    assert "recall/class-1" in capsys.readouterr().out
