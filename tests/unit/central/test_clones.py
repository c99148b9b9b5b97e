"""Who is alive behind one key: one device's whole life is never taken for two, two always are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.central.ingest import clones
from vedette.central.ingest.clones import Lives, Sight

PERIOD_MS = 30_000
START_MS = 1_800_000_000_000


class Row:
    """What central keeps of a device, fed batch by batch as `commit` does."""

    def __init__(self) -> None:
        self.lives = Lives()
        self.boot_id = ""
        self.mono_ms: int | None = None
        self.seen_ms: int | None = None
        self.writes = 0
        self.evidence: clones.Evidence | None = None

    def take(self, sight: Sight, made: list[tuple[int, str, int]] | None = None) -> None:
        """Take one batch in."""
        before = clones.current(self.lives, self.boot_id, self.mono_ms, self.seen_ms)
        stale = clones.find_stale(before, sight.boot_id, made or [])
        sight = Sight(
            boot_id=sight.boot_id,
            mono_ms=sight.mono_ms,
            received_ms=sight.received_ms,
            address=sight.address,
            epoch=sight.epoch,
            stale=stale,
        )
        after = clones.look(before, sight)
        if after != before:
            self.lives = after
            self.writes += 1
        self.boot_id, self.mono_ms, self.seen_ms = sight.boot_id, sight.mono_ms, sight.received_ms
        self.evidence = self.evidence or clones.decide(after, sight.received_ms)


def sight(boot: str, mono_ms: int, received_ms: int, epoch: int = 1) -> Sight:
    """One batch."""
    return Sight(boot_id=boot, mono_ms=mono_ms, received_ms=received_ms, epoch=epoch)


def test_one_device_writes_nothing_from_batch_to_batch() -> None:
    """What is remembered changes with a boot or an epoch, not with every report."""
    row = Row()
    for step in range(1_000):
        row.take(sight("a", 5_000 + step * PERIOD_MS, START_MS + step * PERIOD_MS))
    assert row.writes == 1
    for step in range(1_000, 2_000):
        row.take(sight("b", (step - 999) * PERIOD_MS, START_MS + step * PERIOD_MS))
    assert row.writes == 2
    assert row.evidence is None


batches = st.lists(
    st.tuples(
        st.floats(0.2, 900.0),  # seconds to the next batch
        st.sampled_from(["go"] * 12 + ["reboot", "epoch", "snapshot"]),
        st.integers(0, 3),  # how many times it arrives in addition
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(
    batches=batches,
    late=st.dictionaries(st.integers(0, 59), st.floats(0.0, 3_600.0), max_size=2),
    jumps=st.dictionaries(st.integers(0, 200), st.integers(-(10**11), 10**11), max_size=3),
    forget=st.sets(st.integers(0, 200), max_size=2),
)
def test_one_device_is_never_taken_for_two(
    batches: list[tuple[float, str, int]],
    late: dict[int, float],
    jumps: dict[int, int],
    forget: set[int],
) -> None:
    """Nothing that happens to one looks like two.

    Reboots, new epochs, a resumed snapshot, repeats, late batches, jumps of central's clock, and a
    central put back to an older state.
    """
    arrivals: list[tuple[float, int, Sight, list[tuple[int, str, int]]]] = []
    t_s, boot, mono_ms, epoch, resumed = 0.0, 0, 10_000, 1, False
    for number, (gap_s, what, again) in enumerate(batches):
        t_s += gap_s
        mono_ms += round(gap_s * 1000)
        if what == "reboot":
            boot, mono_ms = boot + 1, 5_000
            t_s += 20.0
        elif what == "epoch":
            epoch += 1
        elif what == "snapshot" and not resumed:
            resumed, mono_ms = True, max(mono_ms - 400_000, 1_000)
        sent = sight(f"boot-{boot}", mono_ms, 0, epoch)
        made = [(epoch, sent.boot_id, mono_ms - 1)]
        for copy in range(again + 1):
            delay_s = late.get(number, 0.0) if copy == 0 else 0.0
            arrivals.append((t_s + delay_s + copy * 0.5, number, sent, made))
    row, offset_ms = Row(), 0
    older = row.lives
    for count, (at_s, _, sent, made) in enumerate(sorted(arrivals, key=lambda a: a[:2])):
        offset_ms += jumps.get(count, 0)
        if count in forget:
            row.lives = older
        if count == len(arrivals) // 3:
            older = row.lives
        received_ms = START_MS + round(at_s * 1000) + offset_ms
        row.take(sight(sent.boot_id, sent.mono_ms, received_ms, sent.epoch), made)
    assert row.evidence is None


@settings(max_examples=100, deadline=None)
@given(
    lead_s=st.floats(-500.0, 500.0),
    phase_s=st.floats(0.5, 29.5),
    before=st.integers(0, 20),
    shared_boot=st.booleans(),
    jump_ms=st.integers(0, 10**11),
)
def test_two_living_copies_are_found_within_minutes(
    lead_s: float, phase_s: float, before: int, *, shared_boot: bool, jump_ms: int
) -> None:
    """Whatever their clocks, and also where central's clock jumps ahead in between."""
    if shared_boot and abs(lead_s) < 100:
        lead_s += 300.0  # closer ones are told apart by epochs: the test below
    row = Row()
    for step in range(before):
        row.take(sight("a", (step + 20) * PERIOD_MS, START_MS + step * PERIOD_MS))
    other = "a" if shared_boot else "b"
    for step in range(before, before + 10):
        jumped_ms = jump_ms if step > before + 3 else 0
        at_ms = START_MS + step * PERIOD_MS + jumped_ms
        mono_ms = (step + 20) * PERIOD_MS
        row.take(sight("a", mono_ms, at_ms))
        late_ms = round(phase_s * 1000)
        row.take(sight(other, mono_ms + late_ms + round(lead_s * 1000), at_ms + late_ms))
        if row.evidence:
            break
    assert row.evidence is not None
    assert step - before <= (8 if shared_boot and jump_ms else 7)  # 210 s; after a jump anew
    assert len(row.evidence.copies) == 2


def test_copies_that_share_boot_and_clock_are_told_apart_by_their_epochs() -> None:
    """Two containers of one host: the first collision gave one of them a new epoch."""
    row = Row()
    for step in range(4):
        mono_ms = (step + 20) * PERIOD_MS
        at_ms = START_MS + step * PERIOD_MS
        row.take(sight("a", mono_ms, at_ms, epoch=2), [(2, "a", mono_ms - 5)])
        row.take(sight("a", mono_ms + 9_000, at_ms + 9_000), [(1, "a", mono_ms + 8_990)])
    assert row.evidence is not None
    assert [copy.copy for copy in row.evidence.copies] == ["a/1", "a/2"]


def test_a_backlog_of_an_older_epoch_is_no_copy() -> None:
    """After a lost spool what was rescued is sent for hours under the epoch that it had."""
    row = Row()
    row.take(sight("a", 1_000_000, START_MS), [(1, "a", 999_000)])
    for step in range(100):
        mono_ms = 1_100_000 + step * 1_000
        made = [(2, "a", mono_ms - 5), (1, "a", 500_000 + step * 1_000)]
        row.take(sight("a", mono_ms, START_MS + step * 1_000, epoch=2), made)
    assert row.evidence is None


def test_what_waited_in_a_proxy_and_arrives_at_once_is_no_copy() -> None:
    """Requests of a boot that ended, let go minutes later between those of the next boot."""
    row = Row()
    row.take(sight("a", 1_000_000, START_MS))
    row.take(sight("b", 5_000, START_MS + 400_000))
    for number in range(6):
        at_ms = START_MS + 500_000 + number * 2_000
        row.take(sight("a", 1_100_000 + number * 25_000, at_ms))
        row.take(sight("b", 105_000 + number * 2_000, at_ms + 1_000))
    assert row.evidence is None


def test_a_machine_that_is_put_back_to_a_snapshot_each_night_is_one() -> None:
    """Its boot id stays, its clock goes back and passes the same times again."""
    row = Row()
    for night in range(14):
        for step in range(40):
            at_ms = START_MS + night * 86_400_000 + step * 2 * 1_000_000
            row.take(sight("a", 10_000_000 + night * 70 + step * 2_000_000, at_ms))
    assert row.evidence is None
