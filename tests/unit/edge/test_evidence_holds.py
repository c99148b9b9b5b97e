"""What must stay stays: over budgets, age, restarts and the moment of deletion; within a bound."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from vedette.clock import ManualClock
from vedette.edge.evidence import facts, holds
from vedette.edge.evidence.holds import CENTRAL, HERE, Holds
from vedette.edge.evidence.shelf import Shelf
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.holding import HoldKeeper
from vedette.edge.settings import EvidenceSettings
from vedette.errors import CentralUnreachable, EvidenceError, NotAllowed
from vedette.wire.diagnostics import JSON, PROBLEM, Refusal
from vedette.wire.enrol import Request
from vedette.wire.holds import HoldAnswer

MB = 1024 * 1024
BODY = b"x" * (MB // 4 - 1000)


@pytest.fixture
def clock() -> ManualClock:
    """Time by hand."""
    return ManualClock()


@pytest.fixture
def limits() -> EvidenceSettings:
    """Four packages may be kept; two of them held."""
    return EvidenceSettings(daily_mb=100.0, keep_mb=1.0, hold_mb=10.0)


def shelf(root: Path, clock: ManualClock) -> Shelf:
    """Return the pipeline's shelf of one megabyte."""
    return Shelf(root, clock, daily_bytes=100 * MB, keep_bytes=MB, min_free_bytes=0)


def put(made: Shelf, clock: ManualClock, *names: str) -> None:
    """Write packages, a second apart."""
    for name in names:
        clock.advance(1)
        assert made.refusal(len(BODY), 1) == ""
        path = made.write(name, {facts.FACTS: BODY})
        at_ns = round(clock.now_at().timestamp() * 1e9)
        os.utime(path, ns=(at_ns, at_ns))


def there(made: Shelf) -> set[str]:
    """Return what is on the shelf."""
    return {package.evidence for package in made.packages()}


def test_what_is_held_outlives_what_came_after_it(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings
) -> None:
    """The budget takes the next oldest; after a restart too; released it goes first."""
    made = shelf(tmp_path, clock)
    put(made, clock, "evd-1", "evd-2")
    kept = Holds(tmp_path, limits, clock)
    kept.hold("evd-1", HERE, by="ada", reason="case 7")
    put(made, clock, "evd-3", "evd-4", "evd-5", "evd-6")
    assert there(made) == {"evd-1", "evd-4", "evd-5", "evd-6"}
    again = shelf(tmp_path, clock)
    put(again, clock, "evd-7")
    assert there(again) == {"evd-1", "evd-5", "evd-6", "evd-7"}
    assert kept.release("evd-1", HERE, by="ada")
    assert not kept.release("evd-1", HERE)
    put(again, clock, "evd-8")
    assert there(again) == {"evd-5", "evd-6", "evd-7", "evd-8"}
    lines = [json.loads(line) for line in (tmp_path / holds.LOG).read_text().splitlines()]
    assert [(x["evidence"], x["done"], x["by"], x["reason"]) for x in lines] == [
        ("evd-1", "held", "ada", "case 7"),
        ("evd-1", "released", "ada", ""),
    ]


def test_each_holder_releases_their_own(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings
) -> None:
    """Central and a person hold it: it may go when both let it go."""
    put(shelf(tmp_path, clock), clock, "evd-1")
    kept = Holds(tmp_path, limits, clock)
    kept.hold("evd-1", HERE)
    kept.hold("evd-1", CENTRAL)
    assert kept.release("evd-1", HERE)
    assert kept.is_held("evd-1")
    assert set(holds.held(tmp_path)[0].holders) == {CENTRAL}
    assert kept.release("evd-1", CENTRAL)
    assert not kept.is_held("evd-1")


def test_holds_have_a_bound_and_say_so_before_they_reach_it(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings
) -> None:
    """Half of what may be kept, whatever is set: more is refused, and new clips find room."""
    made = shelf(tmp_path, clock)
    put(made, clock, "evd-1", "evd-2", "evd-3")
    kept = Holds(tmp_path, limits, clock)
    kept.hold("evd-1", CENTRAL)
    assert kept.warning() == ""
    kept.hold("evd-2", CENTRAL)
    kept.hold("evd-2", HERE)
    assert "release what nobody needs" in kept.warning()
    with pytest.raises(NotAllowed, match=r"evidence\.hold_mb"):
        kept.hold("evd-3", CENTRAL)
    put(made, clock, "evd-4", "evd-5", "evd-6")
    assert there(made) == {"evd-1", "evd-2", "evd-5", "evd-6"}


def test_where_held_clips_leave_no_room_a_new_one_is_refused_in_words(
    tmp_path: Path, clock: ManualClock
) -> None:
    """`keep_mb` was lowered after they were held: they stay, and the new one's record says why."""
    put(shelf(tmp_path, clock), clock, "evd-1", "evd-2", "evd-3", "evd-4")
    kept = Holds(tmp_path, EvidenceSettings(keep_mb=100.0), clock)
    for name in ("evd-1", "evd-2", "evd-3", "evd-4"):
        kept.hold(name, HERE)
    made = shelf(tmp_path, clock)
    assert "held leave no room" in made.refusal(len(BODY), 0)
    assert made.refusal(0, 0) == ""


def test_age_takes_what_nobody_holds(tmp_path: Path, clock: ManualClock) -> None:
    """After `keep_days`; not by a clock that is known to be wrong; held ones stay."""
    settings = EvidenceSettings(keep_days=2.0)
    put(shelf(tmp_path, clock), clock, "evd-1", "evd-2")
    clock.advance(86_400)
    put(shelf(tmp_path, clock), clock, "evd-3")
    store = EvidenceStore(tmp_path, settings, clock, min_free_bytes=0)
    Holds(tmp_path, settings, clock).hold("evd-1", HERE)
    clock.advance(86_400)
    store.tend(is_clock_believed=False)
    assert len(store.list_packages()) == 3
    store.tend(is_clock_believed=True)
    assert {package.evidence for package in store.list_packages()} == {"evd-1", "evd-3"}


def test_a_hold_at_the_moment_of_deletion_is_kept_or_refused(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Placed while the folder is already moved away: it comes back, with its hold."""
    made = shelf(tmp_path, clock)
    put(made, clock, "evd-1")
    rename: Callable[[Path, Path], Path] = Path.rename

    def and_then_it_is_held(source: Path, target: Path) -> Path:
        moved = rename(source, target)
        if target.name == "evd-1.gone":
            (tmp_path / holds.FOLDER).mkdir(exist_ok=True)
            (tmp_path / holds.FOLDER / "evd-1.json").write_bytes(b"{}")
        return moved

    monkeypatch.setattr(Path, "rename", and_then_it_is_held)
    assert not made.delete("evd-1")
    assert there(made) == {"evd-1"}
    assert (made.packages()[0].path / facts.FACTS).exists()
    monkeypatch.undo()
    (tmp_path / holds.FOLDER / "evd-1.json").unlink()
    assert made.delete("evd-1")
    with pytest.raises(EvidenceError, match="no package"):
        Holds(tmp_path, limits, clock).hold("evd-1", HERE)
    assert not (tmp_path / holds.FOLDER / "evd-1.json").exists()


def test_what_is_being_packed_can_be_held(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings
) -> None:
    """An alert's clip, seconds after the event."""
    made = shelf(tmp_path, clock)
    (tmp_path / ".wanted" / "evd-1").write_bytes(b"{}")
    Holds(tmp_path, limits, clock).hold("evd-1", CENTRAL)
    put(made, clock, "evd-1", "evd-2", "evd-3", "evd-4", "evd-5")
    assert "evd-1" in there(made)


@pytest.mark.parametrize("name", ["../evd-1", "", ".", "evd-1/../..", "a" * 300, "evd\0"])
def test_a_name_that_leads_elsewhere_holds_nothing(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings, name: str
) -> None:
    """Refused before anything is written."""
    put(shelf(tmp_path, clock), clock, "evd-1")
    with pytest.raises(EvidenceError):
        Holds(tmp_path, limits, clock).hold(name, CENTRAL)
    assert not (tmp_path / holds.FOLDER).exists()


@pytest.mark.parametrize("junk", [b"", b"\xff", b"[" * 50_000, b"x" * 100_000])
def test_a_hold_that_cannot_be_read_still_holds(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings, junk: bytes
) -> None:
    """Damaged on the disk: nothing is deleted for that; a person can release it."""
    made = shelf(tmp_path, clock)
    put(made, clock, "evd-1")
    kept = Holds(tmp_path, limits, clock)
    kept.hold("evd-1", CENTRAL)
    (tmp_path / holds.FOLDER / "evd-1.json").write_bytes(junk)
    assert not made.delete("evd-1")
    assert kept.release("evd-1", HERE)
    assert made.delete("evd-1")


# ------------------------------------------------------------------------------- asked by central


class Desk:
    """A central that takes answers, when it is there."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, bytes]] = []
        self.is_there = True

    def answer(self, request: str, content_type: str, body: bytes) -> None:
        """Take one."""
        if not self.is_there:
            raise CentralUnreachable("no line")
        self.answers.append((request, content_type, body))


def test_central_holds_and_releases_and_is_told(
    tmp_path: Path, clock: ManualClock, limits: EvidenceSettings
) -> None:
    """Done at once, answered when there is a line, each once; what cannot be held says why."""
    put(shelf(tmp_path, clock), clock, "evd-1")
    desk = Desk()
    kept = Holds(tmp_path, limits, clock)
    keeper = HoldKeeper(kept, desk)
    desk.is_there = False
    hold = Request(request="rq-1", kind="hold", evidence="evd-1", reason="case 7")
    keeper.take(hold)
    with pytest.raises(CentralUnreachable):
        keeper.step()
    assert kept.is_held("evd-1")
    desk.is_there = True
    keeper.step()
    keeper.take(hold)
    keeper.take(Request(request="rq-2", kind="hold", evidence="evd-none"))
    keeper.take(Request(request="rq-3", kind="release", evidence="evd-1"))
    keeper.take(Request(request="rq-4", kind="hold", evidence="../evd-1"))
    keeper.take(Request(request="../rq", kind="hold", evidence="evd-1"))
    keeper.take(Request(request="rq-5", kind="log", evidence="evd-1"))
    keeper.step()
    assert [(name, kind) for name, kind, _ in desk.answers] == [
        ("rq-1", JSON),
        ("rq-2", PROBLEM),
        ("rq-3", JSON),
    ]
    first = msgspec.json.decode(desk.answers[0][2], type=HoldAnswer)
    assert (first.held, first.limit_bytes) == (True, MB // 2)
    assert first.bytes == first.held_bytes > len(BODY)
    assert "no package" in msgspec.json.decode(desk.answers[1][2], type=Refusal).detail
    last = msgspec.json.decode(desk.answers[2][2], type=HoldAnswer)
    assert (last.held, last.held_bytes) == (False, 0)
