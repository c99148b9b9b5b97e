"""An archive as a folder: stopped anywhere and gone on with; what counts, and what never does."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from vedette.central.clips.blobs import Blobs
from vedette.central.clips.fetching import StoredFile
from vedette.central.clips.looking import CHUNK
from vedette.central.exporting import archive, folder
from vedette.central.exporting.archive import Packed, Plan, Wish
from vedette.central.exporting.folder import Filling, Note
from vedette.errors import ConfigError

NOW_MS = 1_772_438_400_000
CONTENT = {f"clip-{n}.mp4": bytes([n]) * (CHUNK * 2 + n) for n in range(4)}
FILES = {
    name: StoredFile(name=name, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body))
    for name, body in CONTENT.items()
}


def packed(name: str, *files: str) -> Packed:
    """Return a package of some of the files."""
    return Packed(
        folder=name, site="shop", device="box", camera="door", event=name, kind="loiter",
        at_ms=NOW_MS, evidence=name, form="clip", signed=True, held=False,
        files=[FILES[one] for one in files],
    )  # fmt: skip


ONE = packed("one", "clip-0.mp4", "clip-1.mp4")
TWO = packed("two", "clip-2.mp4", "clip-3.mp4")
BOTH = {"one", "two"}
PLAN = Plan(
    wish=Wish(from_ms=0, to_ms=NOW_MS),
    packages=[ONE, TWO],
    left_out=[],
    size_bytes=sum(map(len, CONTENT.values())),
    said={"one": b'{"id": "one"}', "two": b'{"id": "two"}'},
)
NOTE = Note(asked={"start": "7d"}, plan=PLAN)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Every file is at central."""
    found = Blobs(tmp_path / "blobs")
    for name, body in CONTENT.items():
        path = found.path(FILES[name].sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that was begun."""
    made = tmp_path / "week"
    with folder.kept(made):
        folder.begin(made, NOTE)
    return made


def fill(root: Path, blobs: Blobs, here: set[str] = BOTH, pieces: int = 10_000) -> Filling:
    """Copy until so many pieces are there, and be stopped then as by Ctrl-C."""
    filling = Filling(root, blobs, PLAN, here)
    with folder.kept(root):
        for count, _ in enumerate(filling.run(actor="anna", now_ms=NOW_MS), start=1):
            if count >= pieces:
                raise KeyboardInterrupt
    return filling


def require_whole(root: Path) -> set[str]:
    """Return the files that SHA256SUMS names, each as it says; no other is there."""
    lines = (root / folder.LAST).read_text().splitlines()
    sums = {name: said for said, _, name in (line.partition("  ") for line in lines)}
    for name, said in sums.items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == said, name
    there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert there == sums.keys() | {folder.LAST, folder.NOTE}
    return set(sums)


@pytest.mark.parametrize("pieces", range(1, 12))
def test_a_copy_that_is_stopped_anywhere_goes_on_and_comes_to_the_same(
    root: Path, blobs: Blobs, pieces: int
) -> None:
    """What has a name is whole, what is whole is not written again, and the end is the same."""
    with pytest.raises(KeyboardInterrupt):
        fill(root, blobs, pieces=pieces)
    assert not (root / folder.PART).exists()
    assert not (root / folder.LAST).exists()
    before = {path.name: path for path in root.rglob("*.mp4")}
    for name, path in before.items():
        assert path.read_bytes() == CONTENT[name]
    nodes = {name: path.stat().st_ino for name, path in before.items()}
    assert folder.begun(root) == NOTE
    done = fill(root, blobs)
    assert done.whole == 2
    assert done.kept_bytes == sum(len(CONTENT[name]) for name in before)
    assert {name: path.stat().st_ino for name, path in before.items()} == nodes
    found = require_whole(root)
    assert {name for name in found if name.endswith(".mp4")} == {
        "packages/one/clip-0.mp4", "packages/one/clip-1.mp4",
        "packages/two/clip-2.mp4", "packages/two/clip-3.mp4",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="whole archive already"):
        folder.begun(root)


@pytest.mark.parametrize("damage", ["short", "altered", "link"])
def test_what_is_there_and_not_whole_is_copied_again(
    root: Path, blobs: Blobs, tmp_path: Path, damage: str
) -> None:
    """A power cut's half, another content of the same length, a link: none of them counts."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENT["clip-0.mp4"])
    place = root / "packages" / "one" / "clip-0.mp4"
    place.parent.mkdir(parents=True)
    if damage == "link":
        place.symlink_to(elsewhere)
    else:
        whole = CONTENT["clip-0.mp4"]
        place.write_bytes(whole[:-1] if damage == "short" else whole[:-1] + b"!")
    assert fill(root, blobs).kept_bytes == 0
    require_whole(root)
    assert not place.is_symlink()
    assert elsewhere.read_bytes() == CONTENT["clip-0.mp4"]


def test_what_central_let_go_of_meanwhile_is_left_out_and_what_is_there_whole_stays(
    root: Path, blobs: Blobs
) -> None:
    """Half of a package proves nothing and is not kept; the manifest says what is not inside."""
    with pytest.raises(KeyboardInterrupt):
        fill(root, blobs, pieces=9)
    assert (root / "packages" / "two" / "clip-2.mp4").exists()
    done = fill(root, blobs, here=set())
    assert [(one.event, one.why) for one in done.left_out] == [
        ("two", "its files are not here any more")
    ]
    assert {name for name in require_whole(root) if name.endswith(".mp4")} == {
        "packages/one/clip-0.mp4", "packages/one/clip-1.mp4",
    }  # fmt: skip
    manifest = msgspec.json.decode((root / "manifest.json").read_bytes())
    assert [one["event"] for one in manifest["packages"]] == ["one"]
    assert [one["event"] for one in manifest["left_out"]] == ["two"]


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "altered"])
def test_what_is_not_whole_at_central_is_never_inside(
    root: Path, blobs: Blobs, *, lost: bool
) -> None:
    """Its hash is what the device said, or it does not come in."""
    path = blobs.path(FILES["clip-1.mp4"].sha256)
    path.unlink() if lost else path.write_bytes(b"rot")
    done = fill(root, blobs)
    assert (done.whole, [one.event for one in done.left_out]) == (1, ["one"])
    assert not any("one" in name for name in require_whole(root))


@pytest.mark.parametrize(
    "wrong",
    [
        packed("../../etc"), packed(".ssh"), packed("three"),
        msgspec.structs.replace(ONE, files=[msgspec.structs.replace(
            FILES["clip-0.mp4"], name="../x"
        )]),
        msgspec.structs.replace(ONE, files=[msgspec.structs.replace(
            FILES["clip-0.mp4"], sha256="../../x"
        )]),
    ],
    ids=["up", "hidden", "not-said", "file", "hash"],
)  # fmt: skip
def test_a_note_that_leads_elsewhere_is_refused(root: Path, wrong: Packed) -> None:
    """Whoever may write into the folder cannot have other files written."""
    plan = msgspec.structs.replace(PLAN, packages=[wrong])
    folder.begin(root, msgspec.structs.replace(NOTE, plan=plan))
    with pytest.raises(ConfigError, match="not one of ours"):
        folder.begun(root)


def test_a_folder_of_something_else_is_left_alone(root: Path, blobs: Blobs, tmp_path: Path) -> None:
    """Other files, a file, no note that can be read, a link instead of a folder, another copy."""
    assert folder.begun(tmp_path / "none") is None
    other = tmp_path / "other"
    other.mkdir()
    assert folder.begun(other) is None
    (other / "photo.jpg").touch()
    with pytest.raises(ConfigError, match="other things"):
        folder.begun(other)
    with pytest.raises(ConfigError, match="no folder"):
        folder.begun(other / "photo.jpg")
    with folder.kept(root), pytest.raises(ConfigError, match="another archive"):
        fill(root, blobs)
    (root / "packages").symlink_to(other)
    with pytest.raises(ConfigError, match="leads elsewhere"):
        fill(root, blobs)
    assert [path.name for path in other.iterdir()] == ["photo.jpg"]
    (root / folder.NOTE).write_bytes(b"{")
    with pytest.raises(ConfigError, match="cannot be read"):
        folder.begun(root)


def test_folders_of_a_plan_are_such_as_a_note_may_name() -> None:
    """What is begun can be gone on with, whatever sites and events are called."""
    for name in ("Ä b", "..", "a" * 99, "-x", "a.b"):
        safe = f"2026-03-02_{archive._safe(name)}_{archive._safe(name)}_{archive._safe(name)}~2"
        assert folder._FOLDER.fullmatch(safe), safe
