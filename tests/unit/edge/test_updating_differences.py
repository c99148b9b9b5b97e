"""A new version comes as a difference to the one that runs; whatever is wrong with it, it comes."""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.unit.edge.updating_kit import Device, artefact_of, item_of
from vedette.edge.updating import differences, shelf
from vedette.edge.updating.differences import Bringing, Brought
from vedette.edge.updating.download import Stopped, Wanted
from vedette.errors import CentralUnreachable
from vedette.trust import delta_file, delta_making
from vedette.trust.delta_file import LENGTH, MAGIC, PART
from vedette.wire.slots import UpdateState

S = UpdateState
ONE = random.Random(1).randbytes(200_000)
TWO = ONE[:90_000] + b"another threshold" + ONE[90_000:]
OTHER = random.Random(2).randbytes(200_000)


@pytest.fixture
def one(tmp_path: Path) -> Device:
    """Return a device on which the first model is confirmed."""
    device = Device(tmp_path)
    device.give(ONE)
    assert device.settle() is S.CONFIRMED
    device.shelf.asked.clear()
    return device


def asked(device: Device) -> dict[str, int]:
    """Return how many bytes of which files were asked for, by ending."""
    found: dict[str, int] = {}
    for path, _, size in device.shelf.asked:
        end = path.rpartition(".")[2]
        found[end] = found.get(end, 0) + size
    return found


def names(device: Device) -> list[str]:
    """Return what lies among parts and files."""
    home = device.state_dir / "updates"
    return sorted(path.name for name in ("parts", "files") for path in (home / name).iterdir())


def test_a_new_version_comes_as_a_difference_and_says_what_that_saved(one: Device) -> None:
    """Only the difference is asked for; the next version builds on what it made."""
    path = one.offer_delta(ONE, TWO)
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    delta = len(one.shelf.targets[path])
    assert asked(one) == {"vdelta": delta}
    assert delta < 1000
    assert {r.saved_bytes for r in one.reports if r.state is S.DOWNLOADED} == {0, len(TWO) - delta}
    assert one.health().saved_bytes == len(TWO) - delta
    assert names(one) == [artefact_of(TWO, "").sha256]
    one.shelf.asked.clear()
    three = TWO + b"and more"
    one.offer_delta(TWO, three)
    one.give(three, "3.vbundle", "r3")
    assert one.settle() is S.CONFIRMED
    assert set(asked(one)) == {"vdelta"}


def packed(size: int) -> bytes:
    """Return a part that holds zeros."""
    frame = zstandard.ZstdCompressor(level=1).compress(bytes(size))
    return PART.pack(0, len(frame)) + frame


def bomb(good: bytes) -> bytes:
    """Return a delta whose first part is a bomb."""
    header = good[: good.index(b"}}") + 2]
    return header + packed(64 << 20)


def other_kind(good: bytes) -> bytes:
    """Return a delta that says that it is for the program."""
    text = good.replace(b'"models"', b'"app"')
    size = text.index(b"}}") + 2 - len(MAGIC) - LENGTH.size
    return MAGIC + LENGTH.pack(size) + text[len(MAGIC) + LENGTH.size :]


SIGNED_AND_WRONG: dict[str, Callable[[bytes], bytes]] = {
    "bomb": bomb,
    "other-kind": other_kind,
    "truncated": lambda good: good[:-5],
    "prolonged": lambda good: good + b"0" * 100,
    "altered": lambda good: good[:-9] + bytes([good[-9] ^ 4]) + good[-8:],
    "no-delta": lambda good: b"<html>" + good,
    "empty-part": lambda good: good[: good.index(b"}}") + 2],
}


@pytest.mark.parametrize("wrong", sorted(SIGNED_AND_WRONG))
def test_a_difference_that_is_signed_and_wrong_costs_one_attempt(one: Device, wrong: str) -> None:
    """The whole file comes at once, the state says why, and nothing of the attempt stays."""
    path = one.offer_delta(ONE, TWO)
    one.shelf.targets[path] = SIGNED_AND_WRONG[wrong](one.shelf.targets[path])
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    assert asked(one) == {"vdelta": len(one.shelf.targets[path]), "vbundle": len(TWO)}
    [told] = [r for r in one.reports if r.state is S.DOWNLOADED and r.rollout == "r2"]
    assert "the difference did not help" in told.detail
    assert told.saved_bytes == 0
    assert names(one) == [artefact_of(TWO, "").sha256]


def test_a_difference_whose_bytes_were_changed_on_the_way_is_not_opened(
    one: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bytes than were signed, and more of them: nothing unpacks them."""

    def never(*_: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(differences, "apply", never)
    path = one.offer_delta(ONE, TWO)
    size = len(one.shelf.targets[path])
    one.shelf.served[path] = OTHER * 3
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    assert asked(one) == {"vdelta": size, "vbundle": len(TWO)}
    assert "other bytes came" in next(r.detail for r in one.reports if "difference" in r.detail)


def test_a_difference_to_what_this_device_does_not_hold_is_not_asked_for(one: Device) -> None:
    """From another version, or from one whose file rotted on the disk: whole; no loop."""
    one.offer_delta(OTHER, TWO)
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    assert asked(one) == {"vbundle": len(TWO)}
    three = TWO + b"and more"
    one.offer_delta(TWO, three)
    held = one.state_dir / "updates/files" / artefact_of(TWO, "").sha256
    held.write_bytes(TWO[::-1])
    one.shelf.asked.clear()
    one.give(three, "3.vbundle", "r3")
    assert one.settle() is S.CONFIRMED
    assert asked(one) == {"vbundle": len(three)}


def test_a_difference_for_another_file_under_this_name_makes_nothing(one: Device) -> None:
    """Signed under the right path by mistake: its own words disagree, and the whole file comes."""
    wrong = one.shelf.targets.pop(one.offer_delta(ONE[1:], TWO))
    one.offer_delta(ONE, TWO, says=wrong)
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    assert set(asked(one)) == {"vdelta", "vbundle"}


def test_a_difference_that_is_held_back_is_given_up_for_the_whole_file(one: Device) -> None:
    """A line that breaks goes on with what came; one that never gives it is asked a few times."""
    path = one.offer_delta(ONE, TWO)
    inner, broken = one.shelf.fetch, [0]

    def fetch(where: str, offset: int, most: int) -> Iterator[bytes]:
        if where == path:
            one.shelf.asked.append((where, offset, most))
            broken[0] += 1
            yield one.shelf.targets[path][offset : offset + 40]
            raise CentralUnreachable("the line broke")
        yield from inner(where, offset, most)

    one.shelf.fetch = fetch  # type: ignore[method-assign]
    one.updater = one.start()
    one.give(TWO, "2.vbundle", "r2")
    one.pass_s(5)
    assert (one.state, broken[0]) == (S.ASSIGNED, 1)
    assert "the line broke" in one.health().problem
    one.updater = one.start()  # what was tried in vain is known after a restart
    one.pass_s(200)
    assert broken[0] == differences.MAX_CUT
    assert {offset for _, offset, _ in one.shelf.asked[:3]} == {0, 40, 80}
    assert one.settle() is S.CONFIRMED
    assert names(one) == [artefact_of(TWO, "").sha256]


def test_a_difference_that_is_longer_than_what_is_left_is_not_asked_for(
    one: Device, tmp_path: Path
) -> None:
    """Of a whole file that has nearly come, the rest comes; a longer difference is never used."""
    path = one.offer_delta(ONE, TWO)
    part = one.state_dir / "updates/parts" / artefact_of(TWO, "").sha256
    part.write_bytes(TWO[:-100])
    one.give(TWO, "2.vbundle", "r2")
    assert one.settle() is S.CONFIRMED
    assert asked(one) == {"vbundle": 100}
    assert len(one.shelf.targets[path]) > 100


def test_a_full_disk_gives_up_what_only_saves_a_download(one: Device) -> None:
    """Where room is short the file of what runs goes; the update comes whole."""
    first = artefact_of(ONE, "").sha256
    one.offer_delta(ONE, TWO)
    one.free = shelf.RESERVE_BYTES + 2 * len(TWO) - 1
    one.give(TWO, "2.vbundle", "r2")
    one.pass_s(3)
    assert first not in names(one)
    assert "MB free" in one.health().problem
    one.free = shelf.RESERVE_BYTES + 3 * len(TWO)
    assert one.settle() is S.CONFIRMED
    assert asked(one) == {"vbundle": len(TWO)}
    assert names(one) == []  # there is no room to spare


def test_parts_of_a_difference_are_fetched_and_kept_at_the_items_own_rate(one: Device) -> None:
    """A rate set for the rollout holds for differences, and a stop keeps what came."""
    noise = random.Random(3).randbytes(60_000)
    three = ONE + noise
    one.offer_delta(ONE, three)
    artefact = one.offer(three, "3.vbundle")
    one.shelf.approve("r3", [artefact])
    began_s = one.clock.mono_ns() / 1e9
    one.assign(item_of(artefact, "r3", max_kbit_s=80.0))
    while one.updater.step() == 0.0:
        pass
    assert one.clock.mono_ns() / 1e9 - began_s >= 60_000 / 10_000 - 1
    assert [path.rpartition(".")[2] for path, _, _ in one.shelf.asked].count("vdelta") > 1


def test_a_stop_between_two_parts_keeps_the_difference_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that stops in the middle begins that again, and asks for nothing twice."""
    for name, size in (("PART_BYTES", 1 << 17), ("DICTIONARY_BYTES", 1 << 18)):
        monkeypatch.setattr(delta_file, name, size)
        monkeypatch.setattr(delta_making, name, size)
    for name in ("_BLOCK", "_MARGIN"):
        monkeypatch.setattr(delta_making, name, 1 << 15)
    old = random.Random(5).randbytes(300_000)
    new = old[100_000:] + b"an end"
    device = Device(tmp_path)
    path = device.offer_delta(old, new)
    files = tmp_path / "updates" / "files"
    files.mkdir(parents=True)
    held = hashlib.sha256(old).hexdigest()
    (files / held).write_bytes(old)
    artefact = artefact_of(new, "x")
    wanted = Wanted("x", artefact.sha256, artefact.bytes)
    steps: list[str] = []
    stop = threading.Event()

    def at_step(step: str) -> None:
        steps.append(step)
        if len(steps) == 3:
            stop.set()

    def bring() -> Brought:
        bringing = Bringing(artefact, wanted, tmp_path, device.clock, stop, at_step=at_step)
        return bringing.run(device.shelf, [held], device.shelf.fetch, device.line)

    with pytest.raises(Stopped):
        bring()
    stop.clear()
    assert bring() == Brought(saved_bytes=len(new) - len(device.shelf.targets[path]))
    assert steps == ["delta", "making", "making", "delta", "making", "making", "made"]
    assert asked(device) == {"vdelta": len(device.shelf.targets[path])}
    assert (files / artefact.sha256).read_bytes() == new
