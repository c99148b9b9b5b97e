"""What goes wrong in a campaign: one function per fault, over a central and a loaded device.

Each breaks things through the handles of `sim.rig`, says in words what happened, and returns what
it saw itself that must not be; the books are compared afterwards by `sim.campaign`. The rule: a
trouble that did not really happen is an error, never a pass.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import NS_PER_MS, wall_ms
from vedette.edge.health.system import boot_id
from vedette.edge.spool import Spool
from vedette.errors import StoreError
from vedette.sim import faults, ledger, nonsense, receipts
from vedette.sim.books import database_of
from vedette.sim.checker import Difference
from vedette.sim.netcut import Link
from vedette.sim.rig import DEVICE, SITE, Rig
from vedette.wire.envelope import Batch, Envelope

_PIECE: Final = 37
_LOOKS_S: Final = 6.0
_ENOUGH: Final = 80
"""Messages by each clock: a second of them. A clock that is made up costs its process dearly."""
_STILL: Final = 150
"""Messages that the next few commits may still drop once a full disk has room again."""


class Happened(msgspec.Struct, frozen=True):
    """What a trouble was, in words, and what was wrong to see."""

    words: str
    differences: list[Difference] = []


class Stand(msgspec.Struct, frozen=True):
    """Where a trouble happens.

    Attributes:
        folder: For files of its own.
        disk: The small disk, where the fault asked for one.
        shift: The file that moves a clock, where the fault asked for it.
        wrong: By how much the clock is wrong.
    """

    rig: Rig
    folder: Path
    disk: Path
    shift: Path
    wrong: str


def peace(stand: Stand) -> Happened:
    """Work for a while."""
    stand.rig.load(300)
    return Happened("nothing")


def kill_the_device(stand: Stand) -> Happened:
    """Each is killed at random moments; the other goes on or is ended by the next agent."""
    rig, moments = stand.rig, random.Random(11)  # noqa: S311 - repeatable, no secret
    for kill in (rig.kill_pipeline, rig.kill_agent, rig.kill_agent, rig.kill_pipeline):
        rig.load(moments.randint(30, 150))
        kill()
    rig.load(50)
    return Happened("agent killed twice, pipeline twice")


def kill_central(stand: Stand) -> Happened:
    """Acknowledged means committed, whoever dies between the two."""
    rig, moments = stand.rig, random.Random(12)  # noqa: S311 - repeatable, no secret
    kills = (rig.kill_central, rig.kill_postgres_backend, rig.kill_postgres, rig.kill_central)
    for kill in kills:
        rig.load(moments.randint(30, 150))
        kill()
        rig.wait_for("central is back", rig.operator.is_up)
    rig.load(50)
    return Happened("central killed twice, PostgreSQL once, one connection once")


def break_the_network(stand: Stand) -> Happened:
    """Answers are lost after central committed: what is sent again counts once."""
    rig, moments = stand.rig, random.Random(13)  # noqa: S311 - repeatable, no secret
    for link in (Link.CUT, Link.BLACKHOLE, Link.CUT, Link.CUT, Link.BLACKHOLE):
        rig.load(moments.randint(20, 80))
        rig.network.set_link(link)
        rig.load(moments.randint(20, 80))
        rig.network.set_link(Link.UP)
    rig.load(50)
    return Happened("cut three times, held back twice")


def repeat_and_shuffle(stand: Stand) -> Happened:
    """What impatient senders repeat and shuffle is committed once."""
    rig = stand.rig
    rig.network.set_link(Link.CUT)
    rig.load(400)
    rig.agent.stop()
    rig.network.set_link(Link.UP)
    spool = Spool.open(rig.state_dir / "spool", 64 << 20, rig.clock, boot_id(), writer=False)
    envelopes = spool.next_batch(max_bytes=4 << 20, max_n=2000)
    spool.close()
    pieces = [envelopes[n : n + _PIECE] for n in range(0, len(envelopes), _PIECE)] * 2
    random.Random(14).shuffle(pieces)  # noqa: S311 - repeatable, no secret
    with ThreadPoolExecutor(3) as pool:
        answered = list(pool.map(lambda piece: _send(rig, piece), pieces))
    rig.agent.start()
    rig.load(50)
    words = f"{len(envelopes)} messages sent in {len(pieces)} batches by three at once"
    unheard = answered.count(False)
    wrong = [Difference("repeats", f"{unheard} batches were not acknowledged")] if unheard else []
    return Happened(words, wrong)


def _send(rig: Rig, envelopes: list[Envelope]) -> bool:
    client = rig.client()
    batch = Batch(
        device=DEVICE,
        boot_id=boot_id(),
        sent_mono_ms=rig.clock.mono_ns() // NS_PER_MS,
        sent_wall_ms=wall_ms(rig.clock.now_at()),
        envelopes=envelopes,
    )
    is_heard = bool(client.up(batch).acks)
    client.close()
    return is_heard


def overflow_the_spool(stand: Stand) -> Happened:
    """A long time without a network on a small quota: tombstones name every message that went."""
    rig = stand.rig
    rig.network.set_link(Link.CUT)
    rig.wait_for("something was evicted", lambda: len(rig.made().tombstoned) > 200)
    rig.network.set_link(Link.UP)
    return Happened(f"{len(rig.made().tombstoned)} messages dropped, each named")


def tear_a_page(stand: Stand) -> Happened:
    """The spool is set aside, what is whole is carried over, the rest is stated by number."""
    rig = stand.rig
    page = rig.tear_page()
    lost = len(rig.made().tombstoned)
    rig.load(100)
    aside = len(ledger.spools(rig.spool_db)) - 1
    epochs = {key[0] for key in rig.made().messages}
    wrong: list[Difference] = []
    if aside != 1 or len(epochs) != 2:
        wrong.append(Difference("torn", f"{aside} spools set aside, epochs {sorted(epochs)}"))
    if not lost:
        wrong.append(Difference("torn", "nothing was stated lost: the page held no message"))
    words = f"page {page} torn: spool set aside, new epoch, {lost} messages stated lost"
    return Happened(words, wrong)


def fill_the_device(stand: Stand) -> Happened:
    """Nothing committed is lost, the file is whole."""
    rig = stand.rig
    rig.load(100)
    rig.network.set_link(Link.CUT)  # otherwise the space of what was sent is used again
    ballast = faults.fill_disk(stand.disk)

    def is_felt() -> bool:
        return "unwritable" in rig.agent.tail(200) or bool(rig.made().tombstoned)

    rig.wait_for("the full disk is noticed", is_felt)
    ballast.unlink()
    rig.network.set_link(Link.UP)
    freed = len(rig.made().tombstoned)
    rig.load(500)
    dropped = len(rig.made().tombstoned)
    wrong: list[Difference] = []
    if dropped - freed > _STILL:
        wrong.append(Difference("disk", f"{dropped - freed} dropped after the disk was freed"))
    return Happened(f"full, then freed; {dropped} messages dropped, each named", wrong)


def fill_central(stand: Stand) -> Happened:
    """PostgreSQL cannot write: nothing is acknowledged, and all arrives once there is room."""
    rig = stand.rig
    rig.load(100)
    taken_ms = _full_until_refused(rig, stand.disk)
    rig.load(200)
    (stand.disk / ".ballast").unlink()
    rig.wait_for("central is back", rig.operator.is_up)
    rig.load(100)
    said = "No space left" in rig.central.tail(2_000)
    wrong = [] if said else [Difference("disk", "central never met the full disk")]
    words = f"full: refused after {taken_ms / 1000:.0f} s, then freed, and back by itself"
    return Happened(words, wrong)


def _full_until_refused(rig: Rig, disk: Path) -> int:
    """Fill central's disk and keep it full until nothing is committed any more."""
    start_ns = rig.clock.mono_ns()
    pause = threading.Event()

    def committed() -> int:
        try:
            return len(receipts.read_committed(database_of(rig.central_dir), DEVICE).receipts)
        except StoreError:
            return -1

    before = -2
    while (now := committed()) != before:
        before = now
        faults.fill_disk(disk)
        rig.clock.wait(pause, 2.0)
    return (rig.clock.mono_ns() - start_ns) // NS_PER_MS


def turn_the_clock(stand: Stand) -> Happened:
    """Wrong before the start, right, wrong again: each message once, dated by central's clock."""
    stand.rig.load(_ENOUGH)
    stand.shift.write_text("+0s", encoding="ascii")
    stand.rig.load(_ENOUGH)
    stand.shift.write_text(stand.wrong, encoding="ascii")
    stand.rig.load(_ENOUGH)
    return Happened(f"{stand.wrong}, +0s, {stand.wrong}")


def turn_centrals_clock(stand: Stand) -> Happened:
    """Central doubts its own clock: nobody flips to dark, and nothing is dated wrongly."""
    rig, pause = stand.rig, threading.Event()
    stand.shift.write_text("+0s", encoding="ascii")
    rig.central.environment |= faults.wrong_clock(stand.shift)
    rig.central.stop()
    rig.central.start()
    rig.wait_for("central is back", rig.operator.is_up)
    rig.load(100)
    for shift in ("+86400s", "-86400s", "+0s"):
        stand.shift.write_text(shift, encoding="ascii")
        rig.clock.wait(pause, _LOOKS_S)  # several looks for silence by the wrong clock
        rig.load(100)
    dark = receipts.count_dark(database_of(rig.central_dir))
    wrong = [Difference("dark", f"{dark} devices were called dark")] if dark else []
    return Happened("+1 day, -1 day, and back; nobody called dark", wrong)


def send_nonsense(stand: Stand) -> Happened:
    """Each is refused, settled or dated; none counts, and no lane is blocked."""
    rig = stand.rig
    token = rig.operator.claim_token(SITE, "liar")
    sent, wrong = nonsense.send(rig.operator.url, token, database_of(rig.central_dir), rig.clock)
    rig.load(300)
    return Happened(f"{sent} requests of a second device", wrong)


def restore_central(stand: Stand) -> Happened:
    """Devices send again what the restored state lacks."""
    rig = stand.rig
    rig.load(100)
    backup = stand.folder / "central.backup"
    rig.at_central("backup", str(backup))
    had = _committed(rig)
    rig.load(200)
    rig.wait_for("much more is committed", lambda: _committed(rig) > had + 150)
    lost = _committed(rig) - had
    rig.restore_central(backup)
    rig.wait_for("central is back", rig.operator.is_up)
    rig.load(50)
    return Happened(f"some {lost} acknowledged messages were lost by central and sent again")


def _committed(rig: Rig) -> int:
    return len(receipts.read_committed(database_of(rig.central_dir), DEVICE).receipts)


def revoke_the_device(stand: Stand) -> Happened:
    """Nothing more is taken; what the device has stays on it."""
    rig = stand.rig
    rig.load(100)
    rig.wait_for("something is committed", lambda: _committed(rig) > 50)
    rig.at_central("device", DEVICE, "--revoke")
    rig.wait_for("the device learns it", lambda: "does not take" in rig.agent.tail(400))
    before = _committed(rig)
    rig.load(200)
    after = _committed(rig)
    wrong = [Difference("revoked", f"{after - before} taken afterwards")] if after > before else []
    return Happened(f"{len(rig.made().pending)} messages stay on the device", wrong)
