"""What a device does with what it was assigned: takes it, watches it, takes it back, refuses it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.edge.updating_kit import (
    CAME_WITH,
    CENTRAL,
    DAY_MS,
    IDENTITY,
    SITE,
    Device,
    artefact_of,
    item_of,
)
from vedette.clock import wall_ms
from vedette.edge import slots
from vedette.edge.updating import machine, windows
from vedette.edge.updating.doing import Connection
from vedette.edge.updating.journal import ACTIVE, ENDED, Job
from vedette.edge.updating.kinds import Standing
from vedette.edge.updating.machine import Action, Facts
from vedette.errors import CentralUnreachable, Expired
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire.signed import POLICY_TYPE, SETTINGS_TYPE, DeviceSettings, PixelPolicy, SitePolicy
from vedette.wire.slots import ArtefactKind, UpdateState
from vedette.wire.updates import ShadowPlan

ONE = b"model one" * 1000
TWO = b"model two" * 1500
BAD = b"model bad" * 1200
S = UpdateState


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Return a device that runs what it came with."""
    return Device(tmp_path)


@pytest.fixture
def one(device: Device) -> Device:
    """Return a device on which the first model is confirmed."""
    device.give(ONE)
    assert device.settle() is S.CONFIRMED
    return device


# ------------------------------------------------------------------------------------- the good way


def test_an_assigned_model_is_fetched_proven_activated_and_confirmed(device: Device) -> None:
    """Every step is reported once and in order, and the pipeline is asked for the new digest."""
    item = device.give(ONE)
    assert device.settle() is S.CONFIRMED
    assert device.wanted == item.artefact.digest
    assert [report.state for report in device.reports] == [
        S.ASSIGNED,
        S.DOWNLOADED,
        S.VERIFIED,
        S.WAITING_WINDOW,
        S.ACTIVATING,
        S.PROBATION,
        S.CONFIRMED,
    ]
    health = device.health()
    assert (health.running, health.previous) == (item.artefact.digest, CAME_WITH)
    assert device.updater.assignment_version == 1
    assert device.updater.tuf_versions["root"] == 1


def test_a_download_that_runs_does_not_say_that_it_waits_for_central(device: Device) -> None:
    """What was in the way after a restart is not shown for the minutes that the file takes."""
    device.shelf.trouble = CentralUnreachable("no network")
    device.give(ONE)
    device.pass_s(3)
    device.shelf.trouble = None
    device.start(joined=False)
    device.pass_s(3)
    assert "waits for central" in device.health().problem
    shown: list[str] = []

    def fetch(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        shown.append(device.health().problem)
        yield from device.shelf.fetch(path, offset, max_bytes)

    device.updater.connect(Connection(IDENTITY, device.shelf, fetch, device.line))
    assert device.settle() is S.CONFIRMED
    assert shown
    assert set(shown) == {""}


def test_the_version_before_stays_installed_and_older_ones_go(one: Device) -> None:
    """Two versions lie on the disk: what runs, and what ran before."""
    first = artefact_of(ONE, "").digest
    for data in (TWO, BAD):
        one.give(data, f"{data[6:9].decode()}.vbundle", f"r-{data[6:9].decode()}")
        assert one.settle() is S.CONFIRMED
    kept = {path.name for path in (one.state_dir / "updates/installed/models").iterdir()}
    assert kept == {artefact_of(data, "").digest[7:] for data in (TWO, BAD)}
    assert first[7:] not in kept
    files = [path.name for path in (one.state_dir / "updates/files").iterdir()]
    assert files == [artefact_of(BAD, "").sha256]  # of what runs: for a difference to the next one
    filled = slots.read(one.state_dir).filled["yolox"]
    assert (filled.digest, filled.before_digest) == tuple(
        artefact_of(data, "").digest for data in (BAD, TWO)
    )


def test_an_authorised_way_back_is_a_new_assignment_and_needs_no_download(one: Device) -> None:
    """The approval that names both lets the device go back at once to what it has."""
    first, second = artefact_of(ONE, "yolox/1.vbundle"), one.offer(TWO, "2.vbundle")
    one.shelf.approve("r2", [first, second], {"issued_ms": 5_000})
    one.assign(item_of(second, "r2"))
    assert one.settle() is S.CONFIRMED
    one.shelf.asked.clear()
    one.assign(item_of(first, "r2", attempt=2))
    assert one.settle() is S.CONFIRMED
    assert one.wanted == first.digest
    assert not one.shelf.asked


def test_going_back_to_what_the_device_came_with_leaves_the_library_alone(one: Device) -> None:
    """An assignment of the library's own digest empties the slot, and is confirmed like any."""
    came = msgspec.structs.replace(one.offer(b"library's", "0.vbundle"), digest=CAME_WITH)
    one.shelf.approve("r0", [came], {"issued_ms": 9_000})
    one.assign(item_of(came, "r0"))
    assert one.settle() is S.CONFIRMED
    assert "yolox" not in slots.read(one.state_dir).filled


def test_what_is_not_in_the_assignment_any_more_is_not_taken_away(one: Device) -> None:
    """An empty assignment leaves what runs; what was only on its way is dropped."""
    one.give(TWO, "2.vbundle", "r2", not_before_ms=2**50)
    assert one.settle(S.WAITING_WINDOW) is S.WAITING_WINDOW
    one.assign()
    one.pass_s(5)
    assert one.health().state is None
    assert one.wanted == artefact_of(ONE, "").digest


def test_a_window_in_local_time_is_waited_for(device: Device) -> None:
    """At 09:00 in Berlin nothing is activated before 22:00 there."""
    device.give(ONE, windows=[("22:00", "05:00")])
    assert device.settle(S.WAITING_WINDOW) is S.WAITING_WINDOW
    device.pass_s(1)
    assert "22:00-05:00" in device.health().problem
    device.pass_s(12.9 * 3600, each_s=600)
    assert (device.state, device.wanted) == (S.WAITING_WINDOW, CAME_WITH)
    device.pass_s(1200, each_s=600)
    assert device.state in ACTIVE


def test_a_clock_that_cannot_be_believed_keeps_no_window_until_its_limit(device: Device) -> None:
    """A window is open by the wall clock, but nobody vouches for it: a day is waited, no longer."""
    device.is_timed = False
    device.give(ONE, windows=[("00:00", "24:00")])
    device.settle(S.WAITING_WINDOW)
    device.pass_s(23.9 * 3600, each_s=1800)
    assert device.state is S.WAITING_WINDOW
    assert "the clock cannot be believed" in device.health().problem
    device.pass_s(3600, each_s=600)
    assert device.wanted != CAME_WITH


def test_a_pipeline_that_is_down_already_is_not_charged_to_what_is_new(device: Device) -> None:
    """Its activation waits a while; then it is tried all the same: it may be the remedy."""
    device.pipeline.is_up = False
    device.pipeline.look = lambda: None
    device.give(ONE)
    assert device.settle(S.WAITING_WINDOW, limit_s=10) is S.WAITING_WINDOW
    device.pass_s(machine.SILENT_WAIT_S - 60, each_s=20)
    assert device.state is S.WAITING_WINDOW
    assert "nothing says what runs" in device.health().problem
    device.pass_s(120, each_s=20)
    assert device.state in ACTIVE


def test_a_candidate_in_shadow_runs_beside_and_ends_with_its_assignment(one: Device) -> None:
    """It never fills the slot; when it is not assigned any more, it is asked for no more."""
    item = one.give(TWO, "2.vbundle", "r2", shadow=ShadowPlan(every_s=5.0))
    one.pass_s(5)
    assert one.health(shadow=True).state is S.SHADOWING
    beside = slots.read(one.state_dir).shadows["yolox"]
    assert (beside.digest, beside.plan.every_s) == (item.artefact.digest, 5.0)
    assert one.wanted == artefact_of(ONE, "").digest
    one.assign()
    one.pass_s(3)
    assert not slots.read(one.state_dir).shadows
    assert not (one.state_dir / "updates/installed/models" / item.artefact.sha256).exists()


# ------------------------------------------------------------------------------------- taking back


def test_a_pipeline_that_dies_twice_goes_back_within_seconds(one: Device) -> None:
    """Without any network: what ran before is asked for, and started without a pause."""
    bad = one.give(BAD, "bad.vbundle", "r9")
    one.settle(S.WAITING_WINDOW, S.ACTIVATING)
    one.shelf.trouble = CentralUnreachable("no network")
    one.pipeline.dies_on.add(bad.artefact.digest)
    assert one.settle(limit_s=10) is S.REVERTED
    assert one.wanted == artefact_of(ONE, "").digest
    assert one.pipeline.hurried == 1
    assert "SIGSEGV" in one.health().problem


def test_a_model_that_the_pipeline_refuses_goes_back(one: Device) -> None:
    """Why is said in its words."""
    bad = one.give(BAD, "bad.vbundle", "r9")
    one.pipeline.refuses[bad.artefact.digest] = "its golden frames differ"
    assert one.settle() is S.REVERTED
    assert "golden frames differ" in one.reports[-1].detail


def test_a_model_that_fails_on_more_frames_than_it_answers_goes_back(one: Device) -> None:
    """Bad outputs are counted from the first window that is wholly its own."""
    one.give(BAD, "bad.vbundle", "r9")
    one.settle(S.PROBATION)
    one.pipeline.analyses, one.pipeline.fails = 1, 30
    assert one.settle() is S.REVERTED
    assert "it failed on" in one.health().problem


def test_a_model_without_a_single_result_is_not_confirmed(one: Device) -> None:
    """Cameras that give nothing prove nothing: it stays on probation, and says so."""
    one.give(TWO, "2.vbundle", "r2")
    one.settle(S.PROBATION)
    one.pipeline.analyses = 0
    one.updater = one.start()  # what an earlier window showed is forgotten with the process
    one.pass_s(200, each_s=5)
    assert one.state is S.PROBATION
    assert "no frame" in one.health().problem
    one.pipeline.analyses = 3
    assert one.settle() is S.CONFIRMED


def test_what_never_comes_to_run_goes_back_when_its_time_is_over(one: Device) -> None:
    """The pipeline says nothing of the new digest for five minutes."""
    one.pipeline.look = lambda: None
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle(limit_s=400) is S.REVERTED
    assert "did not run within" in one.health().problem


def test_a_device_that_starts_again_and_again_goes_back(one: Device) -> None:
    """A machine that falls over each time falls over for what was installed last."""
    one.give(TWO, "2.vbundle", "r2")
    one.settle(S.PROBATION)
    for _ in range(machine.MAX_STARTS + 1):
        assert one.wanted == artefact_of(TWO, "").digest
        one.updater = one.start()
    assert (one.state, one.wanted) == (S.REVERTED, artefact_of(ONE, "").digest)


def test_what_was_tried_in_vain_is_tried_again_only_under_a_higher_attempt(one: Device) -> None:
    """The same item in a newer assignment changes nothing; attempt 2 does."""
    bad = one.give(BAD, "bad.vbundle", "r9")
    one.pipeline.refuses[bad.artefact.digest] = "no"
    assert one.settle() is S.REVERTED
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    one.shelf.approve("r9", [bad.artefact], {"issued_ms": 2_000})
    one.assign(bad)
    one.pass_s(10)
    assert (one.state, one.health().rollout) == (S.CONFIRMED, "r2")
    one.pipeline.refuses.clear()
    one.assign(msgspec.structs.replace(bad, attempt=2))
    assert one.settle(S.CONFIRMED) is S.CONFIRMED
    assert one.wanted == bad.artefact.digest


def test_another_assignment_during_probation_goes_back_first(one: Device) -> None:
    """What is unconfirmed is taken back before something else is tried."""
    one.give(TWO, "2.vbundle", "r2")
    one.settle(S.PROBATION)
    third = one.give(BAD, "3.vbundle", "r3")
    assert one.settle(S.CONFIRMED) is S.CONFIRMED
    went = [(r.digest, r.state) for r in one.reports]
    two = artefact_of(TWO, "").digest
    assert went.index((two, S.REVERTED)) < went.index((third.artefact.digest, S.ACTIVATING))
    assert one.health().previous == artefact_of(ONE, "").digest


# ---------------------------------------------------------------------------------------- refusing


def refused(device: Device, *words: str) -> None:
    """Assert that a whole assignment was refused in these words, and nothing changed."""
    device.pass_s(5)
    assert device.updater.problems
    assert all(word in device.updater.problems[0] for word in words), device.updater.problems
    assert device.state is None
    assert device.wanted == CAME_WITH


def test_an_assignment_for_another_device_is_refused(device: Device) -> None:
    """Signed well, for somebody else."""
    device.assign(item_of(device.offer(ONE)), device="dev-2")
    refused(device, "assigned to 'dev-2'")


def test_a_stranger_and_the_site_assign_nothing(device: Device) -> None:
    """Only central's pinned key assigns."""
    for key in (SigningKey.generate(), SITE):
        device.assign(item_of(device.offer(ONE)), key=key)
        refused(device, "0 of 1 wanted signatures")


def test_settings_and_policies_are_no_assignments(device: Device) -> None:
    """A document of another type, though well signed, is never taken for one."""
    settings = DeviceSettings(device="dev-1", version=9, issued_ms=9)
    device.updater.take(sign_struct(settings, SETTINGS_TYPE, [CENTRAL]))
    refused(device, "signed as")
    policy = SitePolicy(site="lobby", version=9, issued_ms=9, pixels=PixelPolicy(thumbnails=True))
    device.updater.take(sign_struct(policy, POLICY_TYPE, [CENTRAL]))
    refused(device, "signed as")


def test_a_replayed_or_older_assignment_is_refused(one: Device) -> None:
    """Also after a restart: the newest version is on the disk."""
    old = one.assign()
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    one.updater = one.start()
    one.updater.take(old)
    one.pass_s(3)
    assert "version 2; version 3 was accepted before" in one.updater.problems[0]
    assert one.wanted == artefact_of(TWO, "").digest


def test_another_text_of_the_same_version_is_refused(one: Device) -> None:
    """Central may not say two things under one number."""
    one.version = 0
    one.assign(item_of(one.offer(TWO, "2.vbundle"), "r2"))
    one.pass_s(2)
    assert "version 1 was accepted before" in one.updater.problems[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires_ms": 2_000}, "is over"),
        ({"sites": ["elsewhere"]}, "does not name the site lobby"),
        ({"artefacts": []}, "does not name models/yolox/1.vbundle"),
        ({"rollout": "another"}, "is not one of r1"),
    ],
)
def test_an_approval_that_does_not_cover_it_refuses_it(
    device: Device, changes: dict[str, object], words: str
) -> None:
    """Expired, for another site, of other artefacts, of another rollout: nothing is fetched."""
    artefact = device.offer(ONE)
    device.shelf.approve("r1", [artefact], changes)
    device.assign(item_of(artefact))
    assert device.settle() is S.REVERTED
    assert words in device.reports[-1].detail
    assert not device.shelf.asked
    assert device.wanted == CAME_WITH


def test_a_stolen_central_pushes_nothing_that_was_not_signed_offline(device: Device) -> None:
    """It has the online key alone: own model, own bytes by a good name, an own approval."""
    mine = artefact_of(b"malware", "yolox/1.vbundle")
    device.assign(item_of(mine))  # no role names the target
    assert device.settle() is S.REVERTED
    assert "no target" in device.reports[-1].detail
    good = device.offer(ONE)
    device.shelf.approve("r1", [good])
    device.assign(item_of(mine, attempt=2))  # the name is good, the bytes are not
    assert device.settle() is S.REVERTED
    assert "is not what the repository has" in device.reports[-1].detail
    device.assign(item_of(good, rollout="r2", attempt=3))  # nobody approved that
    assert device.settle() is S.REVERTED
    assert "no target approvals/r2.json" in device.reports[-1].detail
    assert device.wanted == CAME_WITH


def test_a_stolen_central_cannot_go_back_behind_a_newer_approval(one: Device) -> None:
    """The old approval is still good and names the old model; the slot's floor is higher."""
    old = item_of(artefact_of(ONE, "yolox/1.vbundle"), "r1", attempt=2)
    two = one.offer(TWO, "2.vbundle")
    one.shelf.approve("r2", [two], {"issued_ms": 5_000})
    one.assign(item_of(two, "r2"))
    assert one.settle() is S.CONFIRMED
    one.assign(old)
    assert one.settle() is S.REVERTED
    assert "older than the one by which this slot was filled" in one.reports[-1].detail
    assert one.wanted == two.digest


def test_an_approval_that_ends_while_its_window_is_waited_for_installs_nothing(
    device: Device,
) -> None:
    """No new installation begins afterwards."""
    artefact = device.offer(ONE)
    device.shelf.approve(
        "r1", [artefact], {"expires_ms": wall_ms(device.clock.now_at()) + 3_600_000}
    )
    device.assign(item_of(artefact, windows=[("22:00", "05:00")]))
    assert device.settle(S.WAITING_WINDOW) is S.WAITING_WINDOW
    device.pass_s(4000, each_s=200)
    assert device.state is S.REVERTED
    assert "the approval ended" in device.health().problem


def test_shadow_that_the_approval_does_not_allow_is_refused(one: Device) -> None:
    """The offline signers may forbid it."""
    two = one.offer(TWO, "2.vbundle")
    one.shelf.approve("r2", [two], {"shadow": False})
    one.assign(item_of(two, "r2", shadow=ShadowPlan()))
    one.pass_s(5)
    assert one.health(shadow=True).state is S.REVERTED
    assert "in shadow" in one.reports[-1].detail


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": "../../etc"},
        {"slot": "app"},
        {"rollout": "../r1"},
        {"windows": [("25:61", "x")]},
        {"probation_s": -1.0},
        {"max_kbit_s": 0.0},
        {"attempt": 10**6},
    ],
)
def test_an_item_that_none_can_mean_refuses_the_assignment(
    device: Device, changes: dict[str, object]
) -> None:
    """Names become paths, numbers become waits: neither is left to whoever signs."""
    device.assign(msgspec.structs.replace(item_of(device.offer(ONE)), **changes))
    refused(device, "assignment refused")


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "../" * 21 + "x"},
        {"digest": "sha256:" + "/" * 64},
        {"target": "app/x"},
        {"bytes": 2**60},
        {"kind": ArtefactKind.APP},
    ],
)
def test_an_artefact_that_none_can_mean_refuses_the_assignment(
    device: Device, changes: dict[str, object]
) -> None:
    """Hashes become paths too."""
    artefact = msgspec.structs.replace(device.offer(ONE), **changes)
    device.assign(item_of(artefact))
    refused(device, "assignment refused")


def test_a_kind_or_slot_that_this_device_has_not_is_refused(device: Device) -> None:
    """No camera uses the model, nothing installs a system: said at once."""
    device.assign(msgspec.structs.replace(item_of(device.offer(ONE)), slot="nanodet"))
    device.pass_s(3)
    assert device.reports[-1].state is S.REVERTED
    assert "no slot 'nanodet'" in device.reports[-1].detail


def test_metadata_that_expired_only_waits(device: Device) -> None:
    """A repository whose signers are late stops new installations and nothing else."""
    device.give(ONE)
    device.shelf.trouble = Expired("timestamp is over")
    device.pass_s(60)
    assert device.state is S.ASSIGNED
    assert "timestamp is over" in device.health().problem
    device.shelf.trouble = None
    assert device.settle() is S.CONFIRMED


def test_a_full_disk_is_said_before_a_byte_is_asked_for(device: Device) -> None:
    """And the download begins by itself when there is room."""
    device.free = 1000
    device.give(ONE)
    device.pass_s(30)
    assert "MB are needed" in device.health().problem
    assert not device.shelf.asked
    device.free = 10**12
    assert device.settle() is S.CONFIRMED


def test_other_bytes_are_discarded_and_given_up_after_some_tries(device: Device) -> None:
    """A flipped bit, each time: nothing of it is kept, and the attempt ends."""
    item = device.give(ONE)
    device.shelf.served[item.artefact.target] = b"M" + ONE[1:]
    device.pass_s(3)
    assert device.state is S.ASSIGNED
    assert not list((device.state_dir / "updates/parts").iterdir())
    assert device.settle(limit_s=5_000) is S.REVERTED
    assert "other bytes came" in device.reports[-1].detail
    assert len({offset for _, offset, _ in device.shelf.asked}) == 1
    assert len(device.shelf.asked) == machine.MAX_SPOILED


def test_a_truncated_file_is_waited_for_and_resumed(device: Device) -> None:
    """What came is kept; the rest is asked for from where it stopped."""
    item = device.give(ONE)
    device.shelf.served[item.artefact.target] = ONE[:5000]
    device.pass_s(3)
    assert device.state is S.ASSIGNED
    assert "no more" in device.health().problem
    del device.shelf.served[item.artefact.target]
    assert device.settle() is S.CONFIRMED
    assert 5000 in {offset for _, offset, _ in device.shelf.asked}


def test_endless_data_is_cut_at_what_was_promised(device: Device) -> None:
    """The sender never ends; not one byte more than the target has is written."""

    def endless(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        device.shelf.asked.append((path, offset, max_bytes))
        while True:
            yield b"x" * 4096

    device.shelf.fetch = endless
    device.updater = device.start()
    item = device.give(ONE)
    device.pass_s(3)
    assert device.state is S.ASSIGNED
    assert "other bytes came" in device.health().problem
    assert device.shelf.asked == [(item.artefact.target, 0, len(ONE))]


def test_slow_retrieval_is_given_up_until_later_and_said(device: Device) -> None:
    """One byte every ten seconds is no download."""

    def slow(_path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        for byte in ONE[offset : offset + max_bytes]:
            device.clock.advance(10)
            yield bytes([byte])

    device.shelf.fetch = slow  # type: ignore[method-assign]
    device.updater = device.start()
    device.give(ONE)
    before_ns = device.clock.mono_ns()
    device.updater.step()
    assert device.clock.mono_ns() - before_ns < 100e9
    device.pass_s(2)
    assert "no more" in device.health().problem


def test_a_journal_that_cannot_be_read_leaves_what_runs(one: Device) -> None:
    """It is set aside and said; the pipeline is asked for the same as before."""
    (one.state_dir / "updates/journal.json").write_bytes(b"{ torn")
    one.updater = one.start()
    one.pass_s(3)
    assert one.wanted == artefact_of(ONE, "").digest
    assert "journal of updates" in one.updater.problems[0]
    assert (one.state_dir / "updates/journal.json.broken").exists()
    assert Path(slots.read(one.state_dir).filled["yolox"].path).is_dir()


def test_a_slots_file_that_was_lost_is_written_anew_at_the_next_start(one: Device) -> None:
    """The journal says what is confirmed."""
    (one.state_dir / "updates/slots.json").write_bytes(b"\x00" * 100)
    one.updater = one.start()
    assert one.wanted == artefact_of(ONE, "").digest


# ------------------------------------------------------------------------------------ pure parts


@given(
    job=st.builds(
        Job,
        assigned=st.just(item_of(artefact_of(ONE, "yolox/1.vbundle"))),
        state=st.sampled_from([s for s in UpdateState if s not in {S.LOST, S.SKIPPED}]),
        going_back=st.sampled_from(["", "why"]),
        expires_ms=st.integers(0, 10),
        spoiled=st.integers(0, 6),
        starts=st.integers(0, 5),
    ),
    facts=st.builds(
        Facts,
        now_ms=st.integers(0, 10),
        waited_s=st.floats(0, 1000),
        opens_ms=st.integers(0, 10),
        is_asked=st.booleans(),
        replaced=st.booleans(),
        silent_s=st.floats(0, 1000),
        steady_s=st.floats(0, 1000),
        standing=st.builds(
            Standing,
            running=st.sampled_from(["", CAME_WITH, artefact_of(ONE, "").digest]),
            failed=st.booleans(),
            proven=st.booleans(),
        ),
    ),
)
def test_nothing_is_confirmed_without_proof_and_nothing_ended_moves(job: Job, facts: Facts) -> None:
    """Whatever the facts: only what runs, is proven and steady is confirmed."""
    decision = machine.decide(job, facts)
    if decision.action is Action.CONFIRM:
        assert job.state is S.PROBATION
        assert facts.standing.proven
        assert not facts.standing.failed
        assert facts.standing.running == job.assigned.artefact.digest
        assert facts.steady_s >= job.assigned.probation_s
    if job.state in ENDED:
        assert decision.action is Action.WAIT
    elif job.going_back:
        assert decision.action is Action.GO_BACK
    if decision.action is Action.ACTIVATE:
        assert job.state is S.WAITING_WINDOW
        assert facts.is_asked
        assert not job.expires_ms or facts.now_ms < job.expires_ms
    if decision.action is Action.GO_BACK:
        assert decision.why


def test_windows_hold_by_the_clock_on_the_wall() -> None:
    """Across midnight, whole days, and through the night in which an hour is missing."""
    night = [("22:00", "05:00")]

    def at(*moment: int) -> int:
        return wall_ms(datetime(*moment, tzinfo=UTC))

    assert windows.is_open(night, at(2026, 1, 5, 21, 30), "Europe/Berlin")
    assert not windows.is_open(night, at(2026, 1, 5, 20, 30), "Europe/Berlin")
    assert windows.opens_ms(night, at(2026, 1, 5, 12), "Europe/Berlin") == at(2026, 1, 5, 21)
    assert windows.opens_ms(night, at(2026, 7, 5, 12), "Europe/Berlin") == at(2026, 7, 5, 20)
    assert windows.is_open([("00:00", "00:00")], at(2026, 3, 29, 1), "Europe/Berlin")
    assert windows.is_open([], DAY_MS, "no/such zone")
