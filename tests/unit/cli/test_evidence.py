"""`vedette evidence` as a person uses it, beside a device that goes on."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.edge.evidence_kit import FPS, event, full_ring, packets_of, settings
from vedette.cli.evidence import command
from vedette.clock import ManualClock
from vedette.edge.enrolment import device_key
from vedette.edge.evidence.facts import BLUR_WANTED
from vedette.edge.evidence.holds import CENTRAL, Holds
from vedette.edge.evidence.signing import PackageSigner
from vedette.edge.evidence.store import EvidenceStore
from vedette.edge.settings import EvidenceSettings
from vedette.edge.supervisor import AgentLock
from vedette.errors import ConfigError, EvidenceError, NotAllowed
from vedette.sim import footage
from vedette.wire.envelope import ClockState


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device's folder with two packages in it."""
    folder = tmp_path_factory.mktemp("device")
    (folder / "edge.yaml").write_text("state_dir: state\nmodels_dir: models\n")
    footage.render(folder / "street.mp4", seconds=12.0, fps=FPS, size_px=(160, 96))
    packets = packets_of(folder / "street.mp4")
    clock = ManualClock()
    store = EvidenceStore(folder / "state" / "evidence", settings(), clock)
    for at_t_s in (1005.0, 1000.5):
        store.request(event(clock, at_t_s), full_ring(store, packets))
        assert store.work()[0].status == "complete"
    return folder


def run(device: Path, *arguments: object, ok: bool = True, columns: int = 200) -> Result:
    """Run a subcommand on a terminal so wide; raise what it raises."""
    words = [*map(str, arguments), "--config", str(device / "edge.yaml")]
    env = {"COLUMNS": str(columns)}
    done = CliRunner().invoke(command, words, catch_exceptions=not ok, env=env)
    assert not ok or done.exit_code == 0, done.output
    return done


def ids(device: Path, *more: object) -> list[str]:
    """Return the ids that `list --json` names."""
    return [row["evidence"] for row in json.loads(run(device, "list", "--json", *more).stdout)]


def test_a_list_says_when_what_how_long_and_what_it_lacks(device: Path) -> None:
    """In a table; newest first; filters narrow it."""
    table = run(device, "list").stdout
    assert "2026-03-02 08:00:05" in table
    assert "line_crossed" in table
    assert "late" in table
    assert len(ids(device)) == 2
    assert ids(device, "--limit", 1) == ids(device)[:1]
    assert len(ids(device, "--since", "2026-03-02T08:00:03")) == 1
    assert ids(device, "--since", "2026-03-02T09:00") == []
    assert len(ids(device, "--camera", "door", "--kind", "line_crossed")) == 2
    assert ids(device, "--camera", "yard") == []
    assert run(device, "list", "--since", "yesterday", ok=False).exit_code == 2


def test_newest_first_is_by_the_event_and_not_by_the_file(device: Path) -> None:
    """A blurred copy made later touches the older event's folder."""
    newest, oldest = ids(device)
    (folder,) = (device / "state" / "evidence").glob(f"2026-*/{oldest}")
    os.utime(folder, ns=(2**62, 2**62))
    assert ids(device) == [newest, oldest]
    (folder,) = (device / "state" / "evidence").glob(f"2026-*/{newest}")
    os.utime(folder, ns=(2**62, 2**62))
    assert ids(device) == [newest, oldest]
    assert ids(device, "--limit", 1) == [newest]


def test_a_blurred_copy_is_being_made_only_where_a_device_runs(device: Path) -> None:
    """Beside a running agent it is being made; after it stopped nobody makes it."""
    evidence = ids(device)[0]
    (folder,) = (device / "state" / "evidence").glob(f"2026-*/{evidence}")
    (folder / BLUR_WANTED).touch()
    assert "not made" in run(device, "list").stdout
    assert "is the device running?" in run(device, "show", evidence).stdout
    lock = AgentLock(device / "state")
    for words in (["list"], ["show", evidence]):
        assert "being made" in run(device, *words).stdout
    lock.release()
    (folder / BLUR_WANTED).unlink()


def test_a_narrow_terminal_gets_one_line_per_package(device: Path) -> None:
    """At 80 columns: fewer columns, ids cut as far as they stay unambiguous, nothing wrapped."""
    head, *lines = run(device, "list", columns=80).stdout.splitlines()
    assert "lacks" not in head
    assert len(lines) == 2
    for line, evidence in zip(lines, ids(device), strict=True):
        assert len(line) <= 80
        short = line.split()[2]
        assert evidence.startswith(short)
        assert evidence in run(device, "show", short).stdout
        assert "line_crossed" in line


def test_the_folder_is_printed_whole(device: Path) -> None:
    """To be copied into another command, however narrow the terminal."""
    evidence = ids(device)[0]
    (folder,) = (device / "state" / "evidence").glob(f"2026-*/{evidence}")
    assert str(folder) in run(device, "show", evidence, columns=40).stdout


def test_one_package_is_shown_with_its_window_and_hashes(device: Path) -> None:
    """By the beginning of its id too."""
    evidence = ids(device, "--since", "2026-03-02T08:00:03")[0]
    text = run(device, "show", evidence).stdout
    assert "2.000 s before to 2.000 s after the event" in text
    assert "sha256" in text
    assert evidence in text
    document = json.loads(run(device, "show", evidence[:12], "--json").stdout)
    assert document["facts"]["clips"][0]["file"] == "clip.mp4"
    with pytest.raises(EvidenceError, match="no package"):
        run(device, "show", "evd-none")


def test_verify_tells_a_changed_clip_by_its_exit_status(device: Path) -> None:
    """Whole: 0. One bit in one clip: 1, with the package's name and what is wrong."""
    assert "2 of 2 packages are whole" in run(device, "verify").stdout
    evidence = ids(device)[0]
    (clip,) = (device / "state" / "evidence").glob(f"*/{evidence}/clip.mp4")
    good = clip.read_bytes()
    clip.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    done = run(device, "verify", "--json", ok=False)
    assert done.exit_code == 1
    verdicts = {row["evidence"]: row for row in json.loads(done.stdout)}
    assert not verdicts.pop(evidence)["whole"]
    assert all(row["whole"] for row in verdicts.values())
    done = run(device, "verify", evidence, ok=False)
    assert done.exit_code == 1
    assert "NOT WHOLE" in done.output
    clip.write_bytes(good)
    assert "1 of 1" in run(device, "verify", evidence).stdout
    with pytest.raises(EvidenceError, match=r"^there is no .*clip\.zip$"):
        run(device, "verify", device / "clip.zip")


def test_export_follows_the_policy_and_says_what_it_copied(device: Path, tmp_path: Path) -> None:
    """Not enrolled: nothing may leave; a copy that stays on the site is made and noted."""
    with pytest.raises(NotAllowed) as refused:
        run(device, "export", *ids(device), "--out", tmp_path / "a.zip")
    assert "--on-site" in (refused.value.operator_hint or "")
    done = run(device, "export", *ids(device), "--out", tmp_path / "a.zip", "--on-site")
    assert "2 copied" in done.stdout
    assert (tmp_path / "a.zip").exists()
    assert len((device / "state" / "evidence" / "exports.jsonl").read_text().splitlines()) == 1


def test_a_damaged_package_is_listed_as_such(device: Path, tmp_path: Path) -> None:
    """Whoever looks for it sees that it is there and broken; nothing else is hidden."""
    evidence = ids(device)[1]
    (facts,) = (device / "state" / "evidence").glob(f"*/{evidence}/evidence.json")
    good = facts.read_bytes()
    facts.write_bytes(b"{")
    assert "damaged" in run(device, "list").stdout
    rows = json.loads(run(device, "list", "--json").stdout)
    assert [bool(row["problem"]) for row in rows].count(True) == 1
    facts.write_bytes(good)


def test_what_stands_in_a_package_cannot_steer_the_terminal(device: Path) -> None:
    """A camera's name with escape codes and markup, an impossible date, odd file names."""
    evidence = ids(device)[1]
    (facts,) = (device / "state" / "evidence").glob(f"*/{evidence}/evidence.json")
    good = facts.read_bytes()
    said = json.loads(good)
    said["event"]["camera"] = "\x1b[31m[red]door"
    said["event"]["at_ms"] = 9 * 10**15  # the largest that the facts take: no calendar has it
    facts.write_text(json.dumps(said))
    odd = facts.parent / "\x1b[2J"
    odd.touch()
    for words in (["list"], ["show", evidence], ["verify", evidence]):
        output = run(device, *words, ok=False).output
        assert "\x1b" not in output
    assert "?[31m[red]door" in run(device, "list").stdout
    assert "no date" in run(device, "list").stdout
    odd.unlink()
    facts.write_bytes(good)


def test_a_device_without_evidence_says_so(tmp_path: Path) -> None:
    """A fresh folder: no error, no folder made."""
    (tmp_path / "edge.yaml").write_text("state_dir: state\nmodels_dir: models\n")
    assert "no evidence" in run(tmp_path, "list").stdout
    assert "0 of 0" in run(tmp_path, "verify").stdout
    assert not (tmp_path / "state").exists()


def test_a_package_is_held_listed_and_released(device: Path) -> None:
    """With a reason; `show` says so; what central holds is not released here."""
    first, second = ids(device)
    run(device, "hold", first, second, "--reason", "case 7")
    assert "held          yes" in run(device, "show", first).stdout
    said = run(device, "holds").stdout
    assert said.count("case 7") == 2
    assert "2 packages are held" in said
    Holds(device / "state" / "evidence", EvidenceSettings(), ManualClock()).hold(second, CENTRAL)
    told = run(device, "release", first, second).stdout
    assert f"{first} may go" in told
    assert f"{second} is still held by central" in told
    (left,) = json.loads(run(device, "holds", "--json").stdout)["held"]
    assert (left["evidence"], list(left["holders"])) == (second, ["central"])


def test_what_the_device_signed_is_verified_with_words(device: Path, tmp_path: Path) -> None:
    """One package in full; a copy far away, with the key, with another, and without."""
    state = device / "state"
    PackageSigner(state, ManualClock(), lambda: ClockState.TRUSTED).step()
    one = ids(device)[0]
    said = run(device, "verify", one).stdout
    assert "whole, signed by a device of no central" in said
    assert "proven      all 3 files are as they were signed" in said
    assert "not proven  what the camera saw" in said
    run(device, "export", one, "--out", tmp_path / "copy.zip", "--on-site")
    key = device_key(state).public
    for given, status in (([], 0), (["--key", key.keyid], 0), (["--key", "0" * 32], 1)):
        done = run(device, "verify", tmp_path / "copy.zip", "--json", *given, ok=False)
        assert done.exit_code == status
        (verdict,) = json.loads(done.stdout)
        assert verdict["signatures"][0]["keyid"] == key.keyid
    with pytest.raises(ConfigError, match="one of"):
        run(device, "verify", one, "--key", key.keyid, "--central", "http://127.0.0.1:1")


@pytest.mark.parametrize("document", ["evidence.json", "statement"])
def test_the_schema_is_printed(document: str) -> None:
    """As JSON, without a device."""
    done = CliRunner().invoke(command, ["schema", document])
    assert json.loads(done.stdout)["$ref"].startswith("#/$defs/")
