"""Device, network and central break at random moments under load; the books stay equal.

Everything is real but the pictures: agent, spool, HTTP, ingest, PostgreSQL. One checker decides.
"""

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from vedette.clock import NS_PER_MS, SystemClock, wall_ms
from vedette.edge.health.system import boot_id
from vedette.edge.spool import Spool
from vedette.errors import ConfigError
from vedette.sim import faults, ledger
from vedette.sim.netcut import Link
from vedette.sim.rig import DEVICE, Rig
from vedette.wire.envelope import Batch, Envelope

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def skip_or_fail(reason: str) -> NoReturn:
    """Skip for want of something on this machine; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"must run in CI, but: {reason}")
    pytest.skip(reason)


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


def test_batches_sent_twice_and_out_of_order(rig: Rig) -> None:
    """What two impatient senders repeat and shuffle is committed once."""
    rig.network.set_link(Link.CUT)
    rig.load(400)
    rig.agent.stop()
    rig.network.set_link(Link.UP)
    envelopes = _waiting(rig)
    pieces = [envelopes[n : n + 37] for n in range(0, len(envelopes), 37)] * 2
    random.Random(14).shuffle(pieces)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda piece: _send(rig, piece), pieces))
    rig.agent.start()
    rig.load(50)
    _assert_books_equal(rig)


def _waiting(rig: Rig) -> list[Envelope]:
    spool = Spool.open(rig.state_dir / "spool", 64 << 20, rig.clock, boot_id(), writer=False)
    found = spool.next_batch(max_bytes=4 << 20, max_n=2000)
    spool.close()
    assert len(found) > 300
    return found


def _send(rig: Rig, envelopes: list[Envelope]) -> None:
    client = rig.client()
    batch = Batch(
        device=DEVICE,
        boot_id=boot_id(),
        sent_mono_ms=rig.clock.mono_ns() // NS_PER_MS,
        sent_wall_ms=wall_ms(rig.clock.now_at()),
        envelopes=envelopes,
    )
    assert client.up(batch).acks
    client.close()


def test_a_full_spool_says_what_it_dropped(tmp_path: Path) -> None:
    """Two days without a network on a small quota: tombstones name every message that went."""
    with Rig(tmp_path, SystemClock(), quota_mb=1.0, every_s=0.005) as rig:
        rig.network.set_link(Link.CUT)
        rig.wait_for("something was evicted", lambda: _tombstoned(rig) > 200)
        rig.network.set_link(Link.UP)
        rig.drain()
        verdict = rig.verdict()
        assert verdict.counts["tombstoned"] > 200
        assert verdict.holds, str(verdict)


def _tombstoned(rig: Rig) -> int:
    return len(ledger.read_produced(DEVICE, rig.spool_db).tombstoned)


def test_a_full_disk_under_load(tmp_path: Path) -> None:
    """The device's disk fills and is freed: nothing committed is lost, the file is whole."""
    try:
        with (
            faults.small_disk(tmp_path / "disk", 24) as disk,
            Rig(tmp_path, SystemClock(), state_dir=disk / "device", every_s=0.01) as rig,
        ):
            rig.load(100)
            rig.network.set_link(Link.CUT)  # otherwise the space of what was sent is used again
            ballast = faults.fill_disk(disk)
            rig.wait_for("it is noticed", lambda: _feels_the_disk(rig))
            ballast.unlink()
            rig.network.set_link(Link.UP)
            rig.load(500)
            _assert_books_equal(rig)
    except ConfigError as error:
        if "mount" not in str(error):
            raise
        skip_or_fail(str(error))


def _feels_the_disk(rig: Rig) -> bool:
    """True where the spool refuses, or made room by dropping something with a tombstone."""
    return "unwritable" in rig.agent.tail(200) or _tombstoned(rig) > 0


@pytest.mark.parametrize("shift", ["-1795000000s", "-3600s", "+3600s"])
def test_a_clock_that_jumps_or_wakes_in_1970(tmp_path: Path, shift: str) -> None:
    """Wrong before the start, right, wrong again: every message once, dated by central's clock."""
    told = tmp_path / "shift"
    told.write_text(shift)
    try:
        environment = faults.wrong_clock(told)
    except ConfigError as error:
        skip_or_fail(str(error))
    with Rig(tmp_path, SystemClock(), environment=environment) as rig:
        rig.load(150)
        told.write_text("+0s")
        rig.load(150)
        told.write_text(shift)
        rig.load(150)
        _assert_books_equal(rig)
