"""The simulated device: its book, its clocks, its truth; and the eye that compares the truth."""

from pathlib import Path

import pytest

from vedette.errors import ConfigError
from vedette.sim.checker import Spell
from vedette.sim.fleet import scenario as scenarios
from vedette.sim.fleet.book import Book, Stamp, Stretch, envelope, ranges
from vedette.sim.fleet.books import untrue
from vedette.sim.fleet.device import STEP_MS, Device
from vedette.sim.fleet.scenario import Fault, Kind, Scenario
from vedette.wire import codec
from vedette.wire.envelope import ClockState, LaneAck, UpAnswer
from vedette.wire.messages import Aggregate, CoverageReport, HealthReport, Tombstone
from vedette.wire.streams import Lane

START = 1_790_000_040_000


def _health(at_ms: int) -> HealthReport:
    return HealthReport(at_ms=at_ms, period_s=30.0, version="sim")


def _stamp(true_ms: int, state: ClockState = ClockState.TRUSTED, boot: str = "b") -> Stamp:
    return Stamp(true_ms, true_ms, true_ms - START, boot, state)


def _filled(count: int, quota: int = 0) -> Book:
    book = Book(quota)
    for n in range(count):
        at = _stamp(START + n * 60_000)
        stretch = Stretch("c", at.true_ms, at.true_ms + 60_000, frozenset({None}))
        body = Aggregate(camera="c", start_ms=at.true_ms, end_ms=at.true_ms + 60_000)
        spoken = ("c", body.start_ms, body.end_ms)
        book.put("aggregate.v1", body, at, spoken=spoken, stretches=[stretch])
    return book


def _device(*faults: Fault, minutes: int, knows_time: bool = True) -> Device:
    story = Scenario(hours=2, devices=1, cameras=2, faults=list(faults), events_per_h=0)
    made = Device(0, "one", story, scenarios.spells(story)[0], START)
    if knows_time:
        made.learn_time()
    for n in range(1, minutes * 60_000 // STEP_MS + 1):
        made.advance(START + n * STEP_MS)
    return made


def _causes(device: Device, camera: str = "camera-1") -> list[tuple[int, int, set[str | None]]]:
    """Return the truth in minutes since the start."""
    return [
        ((one.start_ms - START) // 60_000, (one.end_ms - START) // 60_000, set(one.causes))
        for one in device.truth[camera]
    ]


def test_only_what_was_acknowledged_leaves_the_book() -> None:
    """Ranges above the acknowledged number leave too; everything else comes again."""
    book = _filled(6)
    ack = LaneAck(epoch=1, lane=Lane.LIVE, acked_through=2, have=[(4, 5)])
    assert book.settle(UpAnswer(acks=[ack]))
    assert sorted(book.waiting) == [(1, "live", 3), (1, "live", 6)]


def test_what_is_fresh_goes_before_what_waited() -> None:
    """As in the real spool: the newest two minutes, aggregates first, then the oldest."""
    book = _filled(6)
    now = _stamp(START + 6 * 60_000)
    book.put("health.v1", _health(now.wall_ms), now)
    assert [kept.key[2] for kept in book.pick(now)] == [5, 6, 7, 1, 2, 3, 4]


def test_numbers_that_were_never_given_begin_a_new_epoch_and_lose_nothing() -> None:
    """A copied spool: what waits gets new numbers, and the books forget the old ones."""
    book = _filled(3)
    told = UpAnswer(acks=[LaneAck(epoch=1, lane=Lane.LIVE, acked_through=2**53)])
    assert not book.settle(told)
    book.renumber(9)
    assert sorted(book.waiting) == sorted(book.made) == [(9, "live", n) for n in (1, 2, 3)]
    assert [envelope(kept).epoch for kept in book.waiting.values()] == [9, 9, 9]


def test_a_full_book_says_what_it_dropped() -> None:
    """The tombstone names numbers, camera and time; the truth is EVICTED from then on."""
    book = _filled(12, quota=10)
    stones = [
        codec.decode(kept.body, Tombstone)
        for kept in book.waiting.values()
        if kept.schema == "tombstone.v1"
    ]
    named = [n for stone in stones for low, high in stone.ranges for n in range(low, high + 1)]
    assert named == [1, 2]
    assert {(1, "live", n) for n in named} == book.gone
    assert (stones[0].start_ms, stones[0].cameras) == (START, ["c"])


def test_a_lost_spool_leaves_a_hole_that_may_have_any_cause_but_is_not_observed() -> None:
    """Nobody was told of it, so nothing more can be asked of central."""
    book = _filled(2)
    stretch = next(iter(book.waiting.values())).stretches[0]
    book.lose()
    assert (book.waiting, book.epoch, stretch.causes) == ({}, 2, frozenset())


def test_ranges_of_numbers() -> None:
    """Closed, ascending, as few as possible."""
    assert ranges([5, 1, 2, 7, 6]) == [(1, 2), (5, 7)]


def test_power_that_goes_is_dark_from_the_last_aggregate_to_the_boot() -> None:
    """The minute under way is lost with it, and the boot states the whole spell."""
    device = _device(Fault(kind=Kind.POWER, at_min=2.5, for_min=2), minutes=6)
    assert _causes(device) == [
        (0, 1, {None}),
        (1, 2, {None}),
        (2, 4, {"DEVICE_DARK"}),
        (4, 5, {None}),
        (5, 6, {None}),
    ]
    stated = [k for k in device.book.waiting.values() if k.schema == "coverage.v1"]
    spans = [codec.decode(one.body, CoverageReport).spans[0] for one in stated]
    assert {(one.start_ms, one.end_ms) for one in spans} == {(START + 120_000, START + 270_000)}
    assert device.stamp.boot_id == "boot-1"
    assert device.stamp.state is ClockState.FLOOR


def test_a_camera_that_flaps_is_down_in_its_turns() -> None:
    """The first camera goes and comes; the second never notices."""
    device = _device(Fault(kind=Kind.FLAP, at_min=1, for_min=4, every_min=1), minutes=6)
    down = [(a, b) for a, b, causes in _causes(device) if causes == {"CAMERA_DOWN"}]
    assert down == [(1, 2), (3, 4)]
    assert all(causes == {None} for _, _, causes in _causes(device, "camera-2"))


def test_a_clock_at_1970_is_untrusted_and_its_messages_say_so() -> None:
    """Wall times are near zero, monotonic ones go on, and the truth stays in true time."""
    device = _device(Fault(kind=Kind.WAKE_1970, at_min=2, for_min=3), minutes=4)
    last = list(device.book.waiting.values())[-1]
    assert last.at.state is ClockState.UNTRUSTED
    assert 0 <= last.at.wall_ms < 600_000
    assert last.at.true_ms == START + 240_000
    assert _causes(device)[-1] == (3, 4, {None})


def test_a_wrong_clock_is_noticed_once_central_told_the_time() -> None:
    """Without it a clock that is ahead passes for unconfirmed; with it, for wrong."""
    fault = Fault(kind=Kind.CLOCK, at_min=1, for_min=60, by_min=60)
    device = _device(fault, minutes=3, knows_time=False)
    assert device.stamp.state is ClockState.FLOOR
    device.learn_time()
    assert device.stamp.state is ClockState.UNTRUSTED


def test_messages_of_another_boot_without_a_trusted_clock_cannot_be_dated() -> None:
    """The truth of their time is then any gap, as central can only guess."""
    book = Book()
    at = _stamp(START, ClockState.FLOOR, "before")
    stretch = Stretch("c", START - 60_000, START, frozenset({None}))
    body = Aggregate(camera="c", start_ms=START - 60_000, end_ms=START)
    book.put("aggregate.v1", body, at, stretches=[stretch])
    book.cannot_be_dated("before")
    assert stretch.causes == {None}
    book.cannot_be_dated("after")
    assert stretch.causes == frozenset()


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        ([Spell(0, 60, None), Spell(60, 90, "CAMERA_DOWN"), Spell(90, 99, "AWAITING")], []),
        ([Spell(0, 99, None)], ["CAMERA_DOWN"]),
        ([Spell(0, 59, None), Spell(59, 99, "CAMERA_DOWN")], ["observed"]),
        ([Spell(0, 60, "DEVICE_DARK"), Spell(60, 99, "CAMERA_DOWN")], ["observed"]),
    ],
)
def test_what_is_shown_is_held_against_what_was(shown: list[Spell], wrong: list[str]) -> None:
    """One millisecond too many under the wrong cause is found, and named."""
    truth = [
        Stretch("c", 60, 90, frozenset({"CAMERA_DOWN"})),
        Stretch("c", 0, 60, frozenset({None})),
    ]
    found = untrue("c", shown, truth)
    assert [one.detail.partition(" was ")[2].partition(",")[0] for one in found] == wrong


@pytest.mark.parametrize("shown", [None, "PENDING_BACKFILL", "AWAITING"])
def test_a_hole_nobody_can_explain_must_still_be_a_gap(shown: str | None) -> None:
    """Observed, or promised for later, is wrong where the record is gone for ever."""
    truth = [Stretch("c", 0, 60, frozenset())]
    assert untrue("c", [Spell(0, 60, shown)], truth)
    assert not untrue("c", [Spell(0, 60, "PIPELINE_STOPPED")], truth)


def test_a_scenario_is_read_from_a_file_and_drawn_the_same_each_time(tmp_path: Path) -> None:
    """The seed decides who is hit; what needs a device for itself gets one."""
    path = tmp_path / "story.yaml"
    path.write_text(
        "hours: 1\ndevices: 4\nseed: 3\nfaults:\n"
        "  - {kind: clock, devices: 2, at_min: 5, for_min: 10, by_min: 60}\n"
        "  - {kind: offline, devices: 2, at_min: 5, for_min: 10}\n"
    )
    story = scenarios.load(path)
    drawn = scenarios.spells(story)
    assert drawn == scenarios.spells(story)
    assert sorted(len(one) for one in drawn) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hours: 1\nfaults: [{kind: earthquake}]", "earthquake"),
        ("hours: 1\nfaults: [{kind: power, at_min: 50, for_min: 20}]", "ends after the run"),
        ("hours: 1\ndevices: 2\nfaults: [{kind: power, devices: 3}]", "more devices"),
        ("hours: .inf", "hours"),
        ("devices: 99999999", "devices"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_in_words(
    tmp_path: Path, text: str, word: str
) -> None:
    """The message names what is wrong."""
    path = tmp_path / "story.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word):
        scenarios.load(path)


def test_the_scenario_that_ships_can_be_run() -> None:
    """It holds every kind but the clone, whose coverage nobody can judge."""
    scenarios.check(scenarios.DEFAULT)
    assert len(scenarios.spells(scenarios.DEFAULT)) == scenarios.DEFAULT.devices
    assert {fault.kind for fault in scenarios.DEFAULT.faults} == set(Kind) - {Kind.CLONE}
