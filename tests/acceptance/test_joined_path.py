"""Device, network and central break at random moments under load; the books stay equal.

Everything is real but the pictures: agent, spool, HTTP, ingest, PostgreSQL. One checker decides.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from vedette.clock import SystemClock
from vedette.sim.netcut import Link
from vedette.sim.rig import Rig

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A running central and a loaded device."""
    with Rig(tmp_path, SystemClock()) as running:
        running.load(50)
        yield running


def _assert_books_equal(rig: Rig) -> None:
    rig.drain()
    verdict = rig.verdict()
    assert verdict.counts["committed"] > 200
    assert verdict.counts["events"] > 20
    assert verdict.counts["cameras"] == 3
    assert verdict.holds, str(verdict)


def test_in_peace_the_books_are_equal(rig: Rig) -> None:
    """The campaign's own ground: without a fault nothing differs."""
    rig.load(300)
    _assert_books_equal(rig)


def test_kill_nine_of_agent_and_pipeline(rig: Rig) -> None:
    """Each is killed at random moments; the other goes on or is ended by the next agent."""
    moments = random.Random(11)
    for kill in (rig.kill_pipeline, rig.kill_agent, rig.kill_agent, rig.kill_pipeline):
        rig.load(moments.randint(30, 150))
        kill()
    rig.load(50)
    _assert_books_equal(rig)


def test_kill_nine_of_central_and_its_database(rig: Rig) -> None:
    """Acknowledged means committed, whoever dies between the two."""
    moments = random.Random(12)
    kills = (rig.kill_central, rig.kill_postgres_backend, rig.kill_postgres, rig.kill_central)
    for kill in kills:
        rig.load(moments.randint(30, 150))
        kill()
        rig.wait_for("central is back", rig.operator.is_up)
    rig.load(50)
    _assert_books_equal(rig)


def test_network_cut_and_black_hole(rig: Rig) -> None:
    """Answers are lost after central committed: what is sent again counts once."""
    moments = random.Random(13)
    for link in (Link.CUT, Link.BLACKHOLE, Link.CUT, Link.CUT, Link.BLACKHOLE):
        rig.load(moments.randint(20, 80))
        rig.network.set_link(link)
        rig.load(moments.randint(20, 80))
        rig.network.set_link(Link.UP)
    rig.load(50)
    _assert_books_equal(rig)
