"""Artefacts of several files: what may be in one, and what is refused untouched."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from vedette.cli.artefact import command
from vedette.edge.updating import app_file, archive
from vedette.edge.updating.app_file import AppManifest, StateFormat
from vedette.errors import ConfigError


def tar(*entries: tuple[str, bytes, bytes]) -> bytes:
    """Return an archive with entries (name, content, type)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, content, kind in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


REG, LINK, HARD, DIR, FIFO = b"0", b"2", b"1", b"5", b"6"
GOOD = tar(("app.json", b"{}", REG), ("wheels/a.whl", b"a" * 2000, REG))


@pytest.mark.parametrize(
    "data",
    [
        tar(("../../etc/cron.d/x", b"x", REG)),
        tar(("/etc/cron.d/x", b"x", REG)),
        tar(("wheels/../../x", b"x", REG)),
        tar(("a/b/c", b"x", REG)),
        tar((".hidden", b"x", REG)),
        tar(("link", b"", LINK)),
        tar(("hard", b"", HARD)),
        tar(("folder", b"", DIR)),
        tar(("pipe", b"", FIFO)),
        tar(("a", b"1", REG), ("a", b"2", REG)),
        tar(*((f"f{n}", b"", REG) for n in range(archive.MAX_MEMBERS + 1))),
        GOOD[:700],
        GOOD[:1400],
        GOOD[:300],
        b"",
        b"\0" * 511,
        b"PK\3\4" + b"x" * 2000,
    ],
)
def test_a_hostile_or_torn_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """Climbing names, links, pipes, doubles, too many, cut off: nothing outside the folder."""
    file, folder = tmp_path / "x.vapp", tmp_path / "in" / "parts"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        archive.unpack(file, folder)
    assert refused.value.operator_hint
    found = [path for path in tmp_path.rglob("*") if path.is_file() and path != file]
    assert all(path.is_relative_to(folder) for path in found)


def test_an_archive_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    """A size of terabytes in a header reads nothing and writes nothing."""
    info = tarfile.TarInfo("app.json")
    info.size = 8**11 - 1
    (tmp_path / "x").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 2048)
    with pytest.raises(ConfigError, match="cut off"):
        archive.unpack(tmp_path / "x", tmp_path / "parts")


def test_an_archive_comes_out_as_it_went_in_and_is_the_same_twice(tmp_path: Path) -> None:
    """Whoever builds it again gets the same digest to compare."""
    (tmp_path / "wheel").write_bytes(b"w" * 100_000)
    members: list[tuple[str, Path | bytes]] = [
        ("app.json", b"{}"),
        ("wheels/a-1.whl", tmp_path / "wheel"),
    ]
    for name in ("one", "two"):
        archive.pack(tmp_path / name, members)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    archive.unpack(tmp_path / "one", tmp_path / "parts")
    assert (tmp_path / "parts" / "wheels" / "a-1.whl").read_bytes() == b"w" * 100_000


@pytest.mark.parametrize(
    ("reads", "writes", "refused"),
    [
        ((1, 1), 1, False),
        ((1, 2), 1, False),
        ((1, 2), 2, True),  # what runs could not read it after going back
        ((2, 2), 2, True),  # it cannot read what is here
        ((2, 3), 1, True),
    ],
)
def test_the_version_before_can_always_read_what_this_one_wrote(
    *, reads: tuple[int, int], writes: int, refused: bool
) -> None:
    """N and N-1 both read it: a new format is read one version before it is written."""
    manifest = AppManifest(
        format=1, name="v", version="2", state=StateFormat(reads=reads, writes=writes)
    )
    here = StateFormat(reads=(1, 1), writes=1)
    assert bool(app_file.why_not(manifest, here, "3.11", "x86_64")) is refused


def test_an_artefact_for_another_python_or_machine_is_refused() -> None:
    """Before an hour of pip says it."""
    manifest = AppManifest(
        format=1,
        name="v",
        version="2",
        state=app_file.state_format(),
        python="3.12",
        machine="aarch64",
    )
    here = app_file.state_format()
    assert "Python 3.12" in app_file.why_not(manifest, here, "3.11", "aarch64")
    assert "aarch64" in app_file.why_not(manifest, here, "3.12", "x86_64")
    assert app_file.why_not(manifest, here, "3.12", "aarch64") == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda root: ["app", str(root / "notes.txt"), "--out", str(root / "o")], "no wheel"),
        (lambda root: ["show", str(root / "notes.txt")], "none of these"),
        (
            lambda root: ["config", str(root / "bad.yaml"), "--name", "x", "--version", "1",
                          "--out", str(root / "o")],
            "source",
        ),
    ],
)  # fmt: skip
def test_what_is_no_artefact_is_refused_where_it_is_made(
    tmp_path: Path, arguments: Callable[[Path], list[str]], words: str
) -> None:
    """The mistake is seen on the desk, not on two hundred devices."""
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "bad.yaml").write_text("cameras: {door: {source: x}}\n")
    done = CliRunner().invoke(command, arguments(tmp_path))
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)
    assert not (tmp_path / "o").exists()


def test_an_overlay_in_yaml_becomes_an_artefact(tmp_path: Path) -> None:
    """As the guide has it."""
    (tmp_path / "o.yaml").write_text("cameras:\n  '*': {threshold: 0.5}\n")
    out = tmp_path / "o.json"
    arguments = ["config", str(tmp_path / "o.yaml"), "--name", "t", "--version", "1"]
    done = CliRunner().invoke(command, [*arguments, "--out", str(out)])
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(command, ["show", str(out)])
    assert '"threshold": 0.5' in shown.output


def wheel(folder: Path, name: str, *needs: str) -> Path:
    """Have a wheel of nothing, that needs other projects."""
    info, file = f"{name}-1.0.dist-info", folder / f"{name}-1.0-py3-none-any.whl"
    needed = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{name}/{app_file.IN_WHEEL.partition('/')[2]}", '{"reads":[1,1],"writes":1}')
        made.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            f"Provides-Extra: edge\nProvides-Extra: local\n{needed}",
        )
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")
    return file


def test_a_program_that_lacks_a_wheel_is_not_packed(tmp_path: Path) -> None:
    """What a device has to have, and nobody brought, is named where it can still be brought."""
    own = str(wheel(tmp_path, "vedette", 'tracking-that-nobody-has>=2; extra == "edge"'))
    out = tmp_path / "p.vapp"
    done = CliRunner().invoke(command, ["app", own, "--out", str(out)])
    assert isinstance(done.exception, ConfigError)
    assert "tracking-that-nobody-has>=2" in str(done.exception)
    assert not out.exists()
    done = CliRunner().invoke(command, ["app", own, "--out", str(out), "--no-rehearsal"])
    assert done.exit_code == 0, done.output
    assert out.exists()


def test_a_program_with_all_its_wheels_is_packed(tmp_path: Path) -> None:
    """Pip finds everything in it, as it would on a device."""
    wheels = [wheel(tmp_path, "vedette", 'tracking; extra == "edge"'), wheel(tmp_path, "tracking")]
    arguments = ["app", *map(str, wheels), "--out", str(tmp_path / "p.vapp")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "warning" not in done.output
