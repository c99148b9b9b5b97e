"""Power cut at every step of an update: the device comes back on a version that works."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.edge.power_cuts import DIGEST
from vedette.wire.slots import UpdateState

Cuts = dict[str, dict[str, Any]]

LEAST_STEPS = {"good": 20, "bad": 20, "shadow": 10}
"""Fewer would mean that steps were lost from the enumeration."""


@pytest.fixture(scope="module")
def cuts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cuts]:
    """Return what was left after each cut of each scenario; real processes were killed for it."""
    folder = tmp_path_factory.mktemp("cuts")
    command = [sys.executable, "-m", "tests.unit.edge.power_cuts", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=55)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("scenario", ["good", "bad", "shadow"])
def test_a_power_cut_at_any_step_leaves_a_version_that_works(
    cuts: dict[str, Cuts], scenario: str
) -> None:
    """At once, with no network: what is asked for is whole on the disk, and the pipeline is up."""
    found = cuts[scenario]
    made = [step.split()[-1] for step in found if step.endswith((":delta", ":making", ":made"))]
    assert len(made) == (3 if scenario == "good" else 0)
    assert len(found) >= LEAST_STEPS[scenario]
    for step, left in found.items():
        assert left["killed"], step
        assert left["at_start"][1:] == [], step
        assert left["alone"] in {DIGEST["one"], DIGEST["two"]}, step


@pytest.mark.parametrize(
    ("scenario", "end", "runs"),
    [
        ("good", UpdateState.CONFIRMED, "two"),
        ("bad", UpdateState.REVERTED, "one"),
        ("shadow", UpdateState.SHADOWING, "one"),
    ],
)
def test_an_update_that_was_cut_anywhere_goes_on_to_its_end(
    cuts: dict[str, Cuts], scenario: str, end: UpdateState, runs: str
) -> None:
    """With the network back it ends as if nothing had been, told, with nothing left over."""
    for step, left in cuts[scenario].items():
        assert (left["end"], left["runs"]) == (end, DIGEST[runs]), step
        assert left["broken"] == [], step
        assert left["told"] in ([end], []), step
        allowed = {digest[7:] for digest in DIGEST.values()} - {DIGEST["bad"][7:]}
        assert set(left["kept"]) <= allowed, step
        assert DIGEST["one"][7:] in left["kept"], step
        asked = {DIGEST["two"][7:]} if scenario == "shadow" else set()
        assert set(left["files"]) == asked | {DIGEST[runs][7:]}, step
