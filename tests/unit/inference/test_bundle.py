"""Bundles: what is written opens again, and nothing that was tampered with does."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.errors import ConfigError, HashMismatch, InferenceError, ModelLoadFailed
from vedette.inference import bundle as bundles
from vedette.inference import manifest as manifests
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import Manifest
from vedette.wire.evaluation import canonical, manifest_digest


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write a tar of exactly these members."""
    with tarfile.open(path, "w:") as archive:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data))
    return path


def members_of(bundle: Bundle) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the members of a whole archive of `bundle`."""
    return [
        (tarfile.TarInfo("bundle.json"), bundle.manifest_bytes),
        *((tarfile.TarInfo(name), bundle.read(name)) for name in bundle.manifest.files),
    ]


def rewrite(bundle: Bundle, **changes: object) -> None:
    """Change top-level fields of `bundle.json` on disk."""
    path = bundle.path / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_written_bundle_opens_with_the_same_manifest(bundle: Bundle):
    """What was written is what is read."""
    again = Bundle.open(bundle.path)
    assert again.manifest == bundle.manifest
    assert again.digest == bundle.digest
    assert again.digest.startswith("sha256:")


def test_digest_ignores_spacing_and_order_but_no_value(bundle: Bundle):
    """The identity is of the contents, not of how the JSON was laid out."""
    shuffled = dict(reversed(json.loads(bundle.manifest_bytes).items()))
    assert manifest_digest(json.dumps(shuffled, indent=7).encode()) == bundle.digest
    shuffled["threshold"] = 0.41
    assert manifest_digest(json.dumps(shuffled).encode()) != bundle.digest


def test_unknown_fields_are_ignored_but_count_in_the_digest(bundle: Bundle):
    """A bundle of a later minor format opens, and is not mistaken for another."""
    rewrite(bundle, something_new={"a": 1})
    again = Bundle.open(bundle.path)
    assert again.manifest == bundle.manifest
    assert again.digest != bundle.digest


def test_packed_bundle_is_the_same_bundle(bundle: Bundle, tmp_path: Path):
    """A folder and its archive have one identity, and packing twice gives the same bytes."""
    bundles.pack(bundle, tmp_path / "a.vbundle")
    bundles.pack(bundle, tmp_path / "b.vbundle")
    opened = Bundle.open(tmp_path / "a.vbundle")
    assert opened.digest == bundle.digest
    assert opened.read("model.onnx") == bundle.read("model.onnx")
    assert (tmp_path / "a.vbundle").read_bytes() == (tmp_path / "b.vbundle").read_bytes()


def test_copy_keeps_the_digest_of_a_manifest_with_unknown_fields(bundle: Bundle, tmp_path: Path):
    """Taking a bundle in does not turn it into another one."""
    rewrite(bundle, something_new=1)
    source = Bundle.open(bundle.path)
    assert bundles.copy(source, tmp_path / "copy").digest == source.digest


def test_rewriting_a_bundle_replaces_it_whole(bundle: Bundle, manifest: Callable[..., Manifest]):
    """Nothing of the old bundle, and no temporary folder, is left."""
    (bundle.path / "stray.txt").write_text("old")
    data = {"model.onnx": bundle.read("model.onnx")}
    made = bundles.write(bundle.path, manifest(version="2.0"), data)
    assert made.manifest.version == "2.0"
    assert sorted(p.name for p in bundle.path.iterdir()) == ["bundle.json", "model.onnx"]
    assert [p.name for p in bundle.path.parent.iterdir()] == ["tiny"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_bit_is_noticed(bundle: Bundle, data: st.DataObject):
    """A changed byte in any file is refused, or gives another digest where it is the manifest."""
    name = data.draw(st.sampled_from(["model.onnx", "bundle.json"]))
    path = bundle.path / name
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(broken)
    try:
        opened = Bundle.open(bundle.path)
    except (HashMismatch, ModelLoadFailed):
        opened = None
    finally:
        path.write_bytes(whole)
    if opened is not None:
        assert name == "bundle.json"
        same = canonical(bytes(broken)) == canonical(whole)
        assert (opened.digest == bundle.digest) is same


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_truncated_model_is_a_hash_mismatch(bundle: Bundle, keep: int):
    """A download that stopped is not loaded."""
    path = bundle.path / "model.onnx"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(HashMismatch, match=r"model\.onnx"):
        Bundle.open(bundle.path)


def test_file_changed_after_opening_is_noticed(bundle: Bundle):
    """The hash is checked in the read that is used, not only at the door."""
    (bundle.path / "model.onnx").write_bytes(b"another")
    with pytest.raises(HashMismatch):
        bundle.read("model.onnx")


def test_missing_file_is_named(bundle: Bundle):
    """The error says which file is missing."""
    (bundle.path / "model.onnx").unlink()
    with pytest.raises(ModelLoadFailed, match=r"model\.onnx"):
        Bundle.open(bundle.path)


def test_symbolic_link_to_a_right_file_is_refused(bundle: Bundle, tmp_path: Path):
    """Even a link to the very bytes is refused: it could point elsewhere a moment later."""
    path = bundle.path / "model.onnx"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelLoadFailed, match="symbolic link"):
        Bundle.open(bundle.path)


def test_linked_manifest_is_refused(bundle: Bundle, tmp_path: Path):
    """The manifest itself may not be a link."""
    path = bundle.path / "bundle.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelLoadFailed, match="symbolic link"):
        Bundle.open(bundle.path)


def test_named_pipe_does_not_hang_the_reader(bundle: Bundle):
    """A device or pipe in the place of a file is refused before it is opened."""
    path = bundle.path / "model.onnx"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ModelLoadFailed, match="not a plain file"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    "path",
    [
        "../model.onnx",
        "/etc/passwd",
        "a/../../b",
        "a\\b",
        "C:x",
        "",
        ".hidden",
        "a//b",
        "bundle.json",
    ],
)
def test_manifest_cannot_name_a_file_outside(bundle: Bundle, path: str):
    """Path traversal in the list of files is refused."""
    entry = json.loads(bundle.manifest_bytes)["files"]["model.onnx"]
    rewrite(bundle, files={path: entry}, model=path)
    with pytest.raises(ModelLoadFailed, match="not allowed"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "format 2"),
        ({"name": "../x"}, "name"),
        ({"version": "a b"}, "version"),
        ({"labels": []}, "labels"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"labels": ["a", "\x1b[31m"]}, "printable"),
        ({"threshold": 1.5}, "threshold"),
        ({"thresholds": {"green": 0.5}}, "green"),
        ({"model": "other.onnx"}, "other.onnx"),
        ({"files": {}}, "files"),
        ({"preprocess": {"size": [10**9, 2]}}, "size"),
        ({"head": {"kind": "unheard-of", "classes": 2}}, "kind"),
        ({"golden": [{"picture": "no.png", "outputs": {}}]}, r"no\.png"),
    ],
)
def test_wrong_manifest_says_what_is_wrong(bundle: Bundle, changes: dict[str, object], says: str):
    """Every inconsistency has its own message."""
    rewrite(bundle, **changes)
    with pytest.raises(ModelLoadFailed, match=says):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[]",
        b'{"format": 1}',
        b"[" * 100_000,
        b'{"format": 1, "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b" " * (manifests.MAX_MANIFEST_BYTES + 1),
        b'{"format": 1e999}',
        b'"' + b"\\" * 1001,
    ],
    ids=["empty", "text", "list", "bare", "deep", "deep-inside", "huge", "infinite", "escapes"],
)
def test_hostile_manifest_is_refused(bundle: Bundle, text: bytes):
    """Nesting and size bombs end as one clear error."""
    (bundle.path / "bundle.json").write_bytes(text)
    with pytest.raises(ModelLoadFailed):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_archive_member_cannot_leave_the_bundle(bundle: Bundle, tmp_path: Path, name: str):
    """Path traversal in an archive is refused, and nothing is written anywhere."""
    archive = tar_of(tmp_path / "x.vbundle", [*members_of(bundle), (tarfile.TarInfo(name), b"x")])
    with pytest.raises(ModelLoadFailed, match="not allowed"):
        Bundle.open(archive)
    assert not list(tmp_path.glob("**/evil"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_archive_with_links_or_devices_is_refused(bundle: Bundle, tmp_path: Path, kind: bytes):
    """Only plain files may stand in an archive."""
    odd = tarfile.TarInfo("golden")
    odd.type, odd.linkname = kind, "/etc/passwd"
    archive = tar_of(tmp_path / "x.vbundle", [*members_of(bundle), (odd, b"")])
    with pytest.raises(ModelLoadFailed, match="not a plain file"):
        Bundle.open(archive)


def test_archive_with_a_file_twice_is_refused(bundle: Bundle, tmp_path: Path):
    """The second of two files of one name cannot replace the first after it was checked."""
    members = [*members_of(bundle), (tarfile.TarInfo("model.onnx"), b"other")]
    with pytest.raises(ModelLoadFailed, match="twice"):
        Bundle.open(tar_of(tmp_path / "x.vbundle", members))


def test_archive_that_announces_terabytes_is_refused(tmp_path: Path):
    """A header's size is believed only up to the limit, before anything is read."""
    member = tarfile.TarInfo("bundle.json")
    member.size = 10**12
    (tmp_path / "x.vbundle").write_bytes(member.tobuf() + b"\0" * 1024)
    with pytest.raises(ModelLoadFailed, match="larger"):
        Bundle.open(tmp_path / "x.vbundle")


def test_compressed_archive_is_refused(bundle: Bundle, tmp_path: Path):
    """Compression, and with it every decompression bomb, is outside the format."""
    with tarfile.open(tmp_path / "x.vbundle", "w:gz") as archive:
        archive.add(bundle.path, ".")
    with pytest.raises(ModelLoadFailed, match="cannot be read"):
        Bundle.open(tmp_path / "x.vbundle")


@pytest.mark.parametrize("keep", [0, 10, 512, 700, 3000])
def test_truncated_archive_is_refused(bundle: Bundle, tmp_path: Path, keep: int):
    """An archive that was cut short anywhere does not open."""
    bundles.pack(bundle, tmp_path / "x.vbundle")
    whole = (tmp_path / "x.vbundle").read_bytes()
    (tmp_path / "x.vbundle").write_bytes(whole[:keep])
    with pytest.raises(InferenceError):
        Bundle.open(tmp_path / "x.vbundle")


def test_missing_bundle_says_how_to_get_one(tmp_path: Path):
    """The hint names the command."""
    with pytest.raises(ModelLoadFailed) as caught:
        Bundle.open(tmp_path / "nothing")
    assert "vedette model pull" in (caught.value.operator_hint or "")


def test_writing_where_a_file_stands_is_a_configuration_error(
    bundle: Bundle, tmp_path: Path, manifest: Callable[..., Manifest]
):
    """A folder that cannot be made is the operator's to change."""
    (tmp_path / "file").write_text("")
    data = {"model.onnx": bundle.read("model.onnx")}
    with pytest.raises(ConfigError):
        bundles.write(tmp_path / "file" / "tiny", manifest(), data)
