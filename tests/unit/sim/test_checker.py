"""The checker sees every kind of broken promise; each is planted here once."""

import msgspec
import pytest

from vedette.sim.checker import (
    CameraCoverage,
    Committed,
    Difference,
    Produced,
    Receipt,
    Spell,
    holes,
    judge,
)

LIVE = [(1, "live", seq) for seq in range(1, 6)]
ALERT = [(1, "alert", seq) for seq in range(1, 3)]


def _produced() -> Produced:
    messages = {key: ("aggregate.v1", 100 + key[2]) for key in LIVE}
    messages |= {key: ("event.v1", 200 + key[2]) for key in ALERT}
    return Produced(device="box", messages=messages, events={"ev-1": ALERT[0], "ev-2": ALERT[1]})


def _committed() -> Committed:
    made = _produced().messages
    return Committed(
        device="box",
        receipts=[Receipt(key, schema, crc, "accepted") for key, (schema, crc) in made.items()],
        settled={(1, "live"): (3, [(4, 5)]), (1, "alert"): (2, [])},
        events=["ev-1", "ev-2"],
        captured_sent={"door": 50},
        captured_counted={"door": 50},
    )


def _kinds(produced: Produced, committed: Committed, *, drained: bool = True) -> set[str]:
    return {one.kind for one in judge(produced, committed, drained=drained).differences}


def _with(committed: Committed, **change: object) -> Committed:
    return msgspec.structs.replace(committed, **change)


def test_a_perfect_delivery_holds_and_says_over_how_much() -> None:
    """Nothing planted, nothing found, and the counts show that something was looked at."""
    verdict = judge(_produced(), _committed())
    assert verdict.holds
    assert "7 produced" in str(verdict)


def test_a_lost_message_is_found_even_where_it_was_acknowledged() -> None:
    """The set lacks it, and the acknowledgement lied."""
    short = [one for one in _committed().receipts if one.key != LIVE[2]]
    assert _kinds(_produced(), _with(_committed(), receipts=short)) == {"lost", "acknowledged"}


def test_a_message_counted_twice_is_found() -> None:
    """The same key in two rows."""
    twice = [*_committed().receipts, _committed().receipts[0]]
    assert _kinds(_produced(), _with(_committed(), receipts=twice)) == {"twice"}


def test_an_invented_message_is_found() -> None:
    """A key that the device never gave out."""
    extra = [*_committed().receipts, Receipt((1, "live", 9), "aggregate.v1", 1, "accepted")]
    assert _kinds(_produced(), _with(_committed(), receipts=extra)) == {"invented"}


def test_an_altered_message_is_found() -> None:
    """Right key, other bytes."""
    receipts = list(_committed().receipts)
    receipts[0] = Receipt(receipts[0].key, receipts[0].schema, 999, "accepted")
    assert _kinds(_produced(), _with(_committed(), receipts=receipts)) == {"altered"}


def test_a_refused_message_is_found() -> None:
    """A rejection settles the device; it is still a loss for the people."""
    receipts = list(_committed().receipts)
    receipts[0] = Receipt(receipts[0].key, receipts[0].schema, receipts[0].crc, "rejected: no")
    assert _kinds(_produced(), _with(_committed(), receipts=receipts)) == {"rejected"}


def test_a_tombstone_excuses_what_it_names_and_nothing_else() -> None:
    """Without the row and with a tombstone it holds; with another's tombstone it does not."""
    short = _with(
        _committed(), receipts=[one for one in _committed().receipts if one.key != LIVE[0]]
    )
    right = msgspec.structs.replace(_produced(), tombstoned=frozenset({LIVE[0]}))
    wrong = msgspec.structs.replace(_produced(), tombstoned=frozenset({LIVE[1]}))
    assert judge(right, short).holds
    assert _kinds(wrong, short) == {"lost", "acknowledged"}


def test_what_still_waits_is_excused_only_until_it_had_its_time() -> None:
    """Pending is fine in the middle and a fault at the end."""
    waits = msgspec.structs.replace(_produced(), pending=frozenset({LIVE[4]}))
    short = _with(
        _committed(),
        receipts=[one for one in _committed().receipts if one.key != LIVE[4]],
        settled={(1, "live"): (4, [])},
    )
    assert judge(waits, short, drained=False).holds
    assert _kinds(waits, short) == {"lost", "undelivered"}


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (["ev-1"], "event_missing"),
        (["ev-1", "ev-2", "ev-2"], "event_extra"),
        (["ev-1", "ev-2", "ev-3"], "event_extra"),
    ],
)
def test_an_event_missing_doubled_or_made_up_is_found(events: list[str], kind: str) -> None:
    """The effect must match the messages, not only the messages each other."""
    assert _kinds(_produced(), _with(_committed(), events=events)) == {kind}


def test_frames_counted_twice_in_a_rollup_are_found() -> None:
    """The reports say 50, the rollup 100."""
    double = _with(_committed(), captured_counted={"door": 100})
    assert _kinds(_produced(), double) == {"counted"}


def _coverage(*spells: Spell) -> CameraCoverage:
    return CameraCoverage(
        camera="door", from_ms=0, to_ms=1000, shown=spells, observed=[(0, 300), (250, 600)]
    )


def test_a_tiled_time_with_causes_holds() -> None:
    """Observed, a gap with its cause, and the fresh edge."""
    whole = _coverage(
        Spell(0, 600, None), Spell(600, 900, "CAMERA_DOWN"), Spell(900, 1000, "AWAITING")
    )
    assert holes(whole) == []


@pytest.mark.parametrize(
    ("spells", "kind"),
    [
        ((Spell(0, 600, None), Spell(700, 1000, "CAMERA_DOWN")), "hole"),
        ((Spell(0, 600, None), Spell(500, 1000, "CAMERA_DOWN")), "hole"),
        ((Spell(0, 600, None),), "hole"),
        ((Spell(0, 600, None), Spell(600, 1000, "BORED")), "cause"),
        ((Spell(0, 600, None), Spell(600, 1000, "")), "cause"),
        ((Spell(0, 700, None), Spell(700, 1000, "EVICTED")), "made_up"),
        ((Spell(0, 600, None), Spell(600, 1000, "PENDING_BACKFILL")), "still_pending"),
    ],
    ids=["hole", "overlap", "short", "unknown", "empty", "made up", "pending"],
)
def test_each_way_to_lie_about_time_is_found(spells: tuple[Spell, ...], kind: str) -> None:
    """Holes, overlaps, unknown causes, invented observation, backfill that never came."""
    assert {one.kind for one in holes(_coverage(*spells))} == {kind}


def test_awaiting_is_for_the_fresh_edge_only() -> None:
    """A healthy device does not owe an hour."""
    long = CameraCoverage(
        camera="door",
        from_ms=0,
        to_ms=3_600_000,
        shown=[Spell(0, 3_600_000, "AWAITING")],
        observed=[],
    )
    assert {one.kind for one in holes(long)} == {"awaiting_too_long"}


def test_what_is_wrong_on_the_site_is_part_of_the_verdict() -> None:
    """A torn package breaks the promise even when everything arrived."""
    verdict = judge(_produced(), _committed(), site=[Difference("evidence", "torn")])
    assert not verdict.holds
    assert "torn" in str(verdict)
