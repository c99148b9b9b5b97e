"""A backup of central, and the way back: whole or not at all."""

import hashlib
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from vedette.central.releases.keeping import OnlineKeys, release_blobs
from vedette.central.store import backup
from vedette.cli.main import cli
from vedette.errors import StoreError
from vedette.trust.keys import SigningKey

Central = Callable[..., Result]


@pytest.fixture
def central(
    conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Central, str, Path]:
    """`vedette central …` over an empty database, that database, and the state folder."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    state = tmp_path / "state"
    SigningKey.load_or_make(state / "keys" / "online.key")

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, ["central", "--state", str(state), *words])

    return call, conninfo, state


def _sites(conninfo: str) -> list[str]:
    with psycopg.connect(conninfo) as db:
        return [row[0] for row in db.execute("SELECT site FROM sites ORDER BY site")]


def test_a_backup_brings_back_what_was_known_and_nothing_else(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """Key and database are as they were, twice in a row; what came later is gone."""
    call, conninfo, state = central
    call("site", "add", "shop")
    key = (state / "keys" / "online.key").read_bytes()
    file = tmp_path / "one.vbk"
    made = call("backup", str(file))
    assert made.exit_code == 0, made.output
    assert file.stat().st_mode & 0o777 == 0o600
    call("site", "add", "later")
    for _ in range(2):
        again = call("restore", str(file), "--force")
        assert again.exit_code == 0, again.output
        assert _sites(conninfo) == ["shop"]
    (state / "keys" / "online.key").unlink()
    assert call("restore", str(file), "--force").exit_code == 0
    assert (state / "keys" / "online.key").read_bytes() == key
    with psycopg.connect(conninfo) as db:
        done = [row[0] for row in db.execute("SELECT action FROM audit_log ORDER BY number")]
    assert done[-1] == "backup.restored"
    assert file.name in {path.name for path in tmp_path.iterdir()}
    assert call("backup", str(file)).exception is not None  # an older backup is never overwritten


def test_a_central_that_knows_something_is_not_replaced_by_a_slip(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """Without --force nothing is lost: neither data, nor the key by which devices know it."""
    call, conninfo, state = central
    call("site", "add", "shop")
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    call("site", "add", "later")
    refused = call("restore", str(file))
    assert "2 sites" in str(refused.exception)
    (state / "keys" / "online.key").unlink()
    SigningKey.load_or_make(state / "keys" / "online.key")
    refused = call("restore", str(file))
    assert "key of another central" in str(refused.exception)
    assert _sites(conninfo) == ["later", "shop"]


def test_a_running_central_is_not_restored_under_its_feet(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """Even --force does not replace the tables of a central that is connected."""
    call, conninfo, _ = central
    call("site", "add", "shop")
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    with psycopg.connect(conninfo, application_name="vedette-central"):
        refused = call("restore", str(file), "--force")
    assert "a central is connected" in str(refused.exception)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "swapped", "newer"])
def test_a_damaged_backup_changes_nothing(
    central: tuple[Central, str, Path], tmp_path: Path, damage: str
) -> None:
    """Cut off, altered, no backup at all, or of a later version: refused in words."""
    call, conninfo, _ = central
    call("site", "add", "shop")
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    data = bytearray(file.read_bytes())
    match damage:
        case "cut":
            del data[len(data) // 2 :]
        case "flipped":
            data[data.index(b"PGDMP") + 3_000] ^= 1
        case "text":
            data = bytearray(b"not a backup")
        case "newer":
            at = data.index(b'"0001_ground')
            data[at + 1 : at + 5] = b"9001"
        case _:
            with tarfile.open(file, "w") as packed:
                packed.add(__file__, arcname="../../evil")
            data = bytearray(file.read_bytes())
    file.write_bytes(data)
    refused = call("restore", str(file), "--force")
    assert refused.exception is not None
    words = "newer than this one" if damage == "newer" else "not a whole backup"
    assert words in str(refused.exception)
    assert _sites(conninfo) == ["shop"]


def test_a_restore_that_breaks_half_way_changes_nothing(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """Everything is dropped and made anew in one transaction: a dump that ends early ends it."""
    call, conninfo, _ = central
    call("site", "add", "shop")
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    call("site", "add", "later")
    with backup.opened(file) as (_, folder):
        dump = folder / backup.DUMP
        dump.write_bytes(dump.read_bytes()[:-500])  # as where the disk fails while it is read
        with pytest.raises(StoreError, match="nothing has changed"):
            backup.restore(conninfo, folder)
    assert _sites(conninfo) == ["later", "shop"]


def _release(conninfo: str, state: Path, data: bytes) -> str:
    """Have a file in the repository, and metadata that names it."""
    sha256 = hashlib.sha256(data).hexdigest()
    blobs = release_blobs(state)
    blobs.append(sha256, "test", 0, data, len(data))
    blobs.finish(sha256, "test")
    with psycopg.connect(conninfo) as db:
        db.execute(
            "INSERT INTO release_files (path, sha256, bytes) VALUES (%s, %s, %s)",
            (f"models/{sha256[:8]}", sha256, len(data)),
        )
    return sha256


def test_the_repository_of_updates_comes_back_with_its_keys_and_files(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """On an empty machine central signs with the same keys and hands out the same bytes."""
    call, conninfo, state = central
    call("site", "add", "shop")
    before = OnlineKeys.load_or_make(state).ids
    sha256 = _release(conninfo, state, b"bundle" * 9000)
    whole, small = tmp_path / "whole.vbk", tmp_path / "small.vbk"
    assert call("backup", str(whole)).exit_code == 0
    assert call("backup", str(small), "--no-files").exit_code == 0
    assert small.stat().st_size < whole.stat().st_size
    shutil.rmtree(state)
    assert call("restore", str(small), "--force").exit_code == 0
    assert OnlineKeys.load_or_make(state).ids == before
    assert not release_blobs(state).has(sha256)
    assert call("restore", str(whole), "--force").exit_code == 0
    with release_blobs(state).open(sha256) as file:
        assert file.read() == b"bundle" * 9000
    release_blobs(state).path(sha256).unlink()
    told = call("backup", str(tmp_path / "third.vbk"))
    assert "1 file that the repository names is not here" in told.output


def test_other_keys_of_the_repository_are_not_replaced_by_a_slip(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """Devices of this central would not believe them."""
    call, _, state = central
    OnlineKeys.load_or_make(state)
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    (state / "keys" / "releases-snapshot.key").unlink()
    OnlineKeys.load_or_make(state)
    refused = call("restore", str(file))
    assert "key of another central" in str(refused.exception)


def test_a_backup_names_no_file_outside_of_itself(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """A manifest with a part of another name, or a file under a hash that is not its own."""
    call, conninfo, state = central
    sha256 = _release(conninfo, state, b"bundle" * 9000)
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    data = file.read_bytes()
    for old, new in (
        (f'"releases/{sha256}"', f'"releases/../{sha256[3:]}"'),
        ("bundlebundle", "bundlebundlf"),
    ):
        file.write_bytes(data.replace(old.encode(), new.encode(), 1))
        refused = call("restore", str(file), "--force")
        assert "not a whole backup" in str(refused.exception), old


def test_a_backup_from_before_the_repository_was_in_it_is_restored(
    central: tuple[Central, str, Path], tmp_path: Path
) -> None:
    """Format 1 has a key and a dump."""
    call, conninfo, state = central
    call("site", "add", "shop")
    file = tmp_path / "one.vbk"
    call("backup", str(file))
    file.write_bytes(file.read_bytes().replace(b'"format":2', b'"format":1', 1))
    call("site", "add", "later")
    assert call("restore", str(file), "--force").exit_code == 0
    assert _sites(conninfo) == ["shop"]
    assert (state / "keys" / "online.key").is_file()
