"""Fetching from npm: with a client of our own making, and every way in which it can go wrong."""

import base64
import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from vedette import npm
from vedette.errors import ConfigError, HashMismatch

FILES = {"a.txt": "b/a.txt"}


def tarball(path: Path, members: dict[str, bytes | None]) -> str:
    """Write a package (None: a symbolic link) and return its integrity."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = len(data or b"")
            archive.addfile(member, io.BytesIO(data or b""))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a client first in PATH that hands out `tmp_path/served.tgz`, and counts its calls."""
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> "{tmp_path}/calls"\n'
        f'test -f "{tmp_path}/served.tgz" || {{ echo "npm error offline" >&2; exit 1; }}\n'
        'for arg in "$@"; do case "$arg" in --pack-destination=*) to="${arg#*=}";; esac; done\n'
        f'cp "{tmp_path}/served.tgz" "$to/x.tgz"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VEDETTE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def calls(client: Path) -> list[str]:
    """Return the command lines that the client got."""
    log = client / "calls"
    return log.read_text().splitlines() if log.exists() else []


def test_only_the_named_files_are_written(client: Path):
    """The rest of the package stays in the tarball, and scripts are not run."""
    pin = tarball(client / "served.tgz", {"package/a.txt": b"A", "package/evil.js": b"x"})
    written = npm.fetch("@some/thing", "1.2.3", pin, FILES, client / "out")
    assert written == {"a.txt": client / "out" / "b" / "a.txt"}
    assert [p.read_bytes() for p in (client / "out").rglob("*") if p.is_file()] == [b"A"]
    assert "@some/thing@1.2.3" in calls(client)[0]
    assert "--ignore-scripts" in calls(client)[0]


def test_second_fetch_needs_no_client(client: Path):
    """A verified tarball is kept."""
    pin = tarball(client / "served.tgz", {"package/a.txt": b"A"})
    for folder in ("one", "two"):
        npm.fetch("thing", "1.2.3", pin, FILES, client / folder)
    assert len(calls(client)) == 1


def test_damaged_cache_is_fetched_again(client: Path):
    """A tarball in the cache is believed only by its hash."""
    pin = tarball(client / "served.tgz", {"package/a.txt": b"A"})
    npm.fetch("thing", "1.2.3", pin, FILES, client / "one")
    (kept,) = (client / "cache" / "npm").glob("*.tgz")
    kept.write_bytes(b"damaged")
    written = npm.fetch("thing", "1.2.3", pin, FILES, client / "two")
    assert written["a.txt"].read_bytes() == b"A"
    assert len(calls(client)) == 2


def test_package_with_another_hash_is_refused_and_not_kept(client: Path):
    """A mirror that serves something else gets nowhere, whatever the client thinks of it."""
    pin = tarball(client / "served.tgz", {"package/a.txt": b"A"})
    tarball(client / "served.tgz", {"package/a.txt": b"B"})
    with pytest.raises(HashMismatch, match="SHA-512"):
        npm.fetch("thing", "1.2.3", pin, FILES, client / "out")
    assert not (client / "out").exists()
    assert not list((client / "cache").rglob("*.tgz"))


def test_offline_says_what_the_client_said_and_what_to_do(client: Path):
    """Without a network the message is the client's, the hint is ours."""
    pin = "sha512-" + base64.b64encode(bytes(64)).decode()
    with pytest.raises(npm.PackageUnavailable, match="npm error offline") as caught:
        npm.fetch("thing", "1.2.3", pin, FILES, client / "out")
    assert "VEDETTE_CACHE" in (caught.value.operator_hint or "")


def test_no_client_at_all_names_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Where neither npm nor the wheel is there, the hint says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npm.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(npm.PackageUnavailable) as caught:
        npm.npm_command()
    assert "vedette[lab]" in (caught.value.operator_hint or "")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"package/other.txt": b"A"}, "holds no file"),
        ({"package/a.txt": None}, "plain file"),
        ({"a.txt": b"A"}, "holds no file"),
    ],
    ids=["absent", "link", "outside"],
)
def test_file_that_is_not_in_the_package_is_an_error(
    client: Path, members: dict[str, bytes | None], says: str
):
    """A wanted file has to be a plain file in the package."""
    pin = tarball(client / "served.tgz", members)
    with pytest.raises(HashMismatch, match=says):
        npm.fetch("thing", "1.2.3", pin, FILES, client / "out")


def test_oversized_file_is_refused(client: Path, monkeypatch: pytest.MonkeyPatch):
    """A file over the limit is refused by its header, before it is unpacked."""
    monkeypatch.setattr(npm, "MAX_FILE_BYTES", 10)
    pin = tarball(client / "served.tgz", {"package/a.txt": b"x" * 11})
    with pytest.raises(HashMismatch, match="10 bytes"):
        npm.fetch("thing", "1.2.3", pin, FILES, client / "out")


@pytest.mark.parametrize(
    ("package", "version", "files"),
    [
        ("--registry=evil", "1.2.3", FILES),
        ("thing", "latest", FILES),
        ("thing", "^1.2.3", FILES),
        ("thing", "1.2.3", {"a.txt": "../a.txt"}),
        ("thing", "1.2.3", {"../a.txt": "a.txt"}),
        ("thing", "1.2.3", {"a.txt": "/a.txt"}),
        ("thing", "1.2.3", {"a.txt": ""}),
    ],
)
def test_request_that_is_not_a_pin_is_refused(
    client: Path, package: str, version: str, files: dict[str, str]
):
    """Options, ranges and paths that lead out never reach the client."""
    pin = "sha512-" + base64.b64encode(bytes(64)).decode()
    with pytest.raises(ConfigError):
        npm.fetch(package, version, pin, files, client / "out")
    assert not calls(client)


@pytest.mark.parametrize("pin", ["", "sha1-AAAA", "sha512-", "sha512-AAAA", "sha512-!!!"])
def test_weak_or_broken_integrity_is_refused(client: Path, pin: str):
    """Only a whole SHA-512 is a pin."""
    with pytest.raises(ConfigError, match="integrity"):
        npm.fetch("thing", "1.2.3", pin, FILES, client / "out")
    assert not calls(client)
