"""The owner's side of a site, typed as a person would."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from vedette.cli.site import command
from vedette.errors import BadSignature, ConfigError, TrustError
from vedette.trust import dsse
from vedette.trust.keys import PublicKey
from vedette.wire.signed import POLICY_TYPE, Signed, SitePolicy

POLICY = """
site: harbour
version: 3
pixels: {thumbnail_px: 32}
cameras:
  - {camera: door, source: "rtsp://user:secret@192.0.2.7/stream"}
"""


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, str]:
    """A signed policy and the public key."""
    public = _run("key", str(tmp_path / "site.key"))
    (tmp_path / "policy.yaml").write_text(POLICY)
    target = tmp_path / "signed.json"
    _run(
        "sign",
        str(tmp_path / "policy.yaml"),
        "--key",
        str(tmp_path / "site.key"),
        "--output",
        str(target),
    )
    return target, public


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    """Asking again prints the same public half; the file is private."""
    file = tmp_path / "site.key"
    assert _run("key", str(file)) == _run("key", str(file))
    assert file.stat().st_mode & 0o077 == 0


def test_what_was_signed_is_what_a_device_opens(signed):
    """The document verifies with the pinned key and says what the file said."""
    path, public = signed
    document = msgspec.json.decode(path.read_bytes(), type=Signed)
    said = dsse.open_struct(
        document, SitePolicy, [PublicKey.from_text(public)], payload_type=POLICY_TYPE
    )
    assert (said.site, said.version, said.pixels.thumbnail_px) == ("harbour", 3, 32)
    assert said.cameras[0].source == "rtsp://user:secret@192.0.2.7/stream"
    assert said.issued_ms > 0


def test_a_signed_policy_is_private_because_it_may_hold_passwords(signed):
    """Nobody else on the machine can read it."""
    assert signed[0].stat().st_mode & 0o077 == 0


def test_a_policy_of_another_key_is_not_shown(signed, tmp_path):
    """What nobody trusted signed is never printed as if it held."""
    other = _run("key", str(tmp_path / "other.key"))
    with pytest.raises(BadSignature):
        _run("show", str(signed[0]), "--key", other)
    assert '"harbour"' in _run("show", str(signed[0]), "--key", signed[1])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("site: harbour\nversion: 1\npixel: {}\n", "pixel"),
        ("site: harbour\nversion: 0\n", "version"),
        ("site: Harbour Square\nversion: 1\n", "short name"),
        ("site: harbour\nversion: 1\npixels: {thumbnail_px: 4000}\n", "4000"),
    ],
)
def test_a_policy_that_no_device_would_take_is_not_signed(tmp_path, text, error):
    """The mistake is named where it is made, not at the branch."""
    _run("key", str(tmp_path / "site.key"))
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(ConfigError, match=error):
        _run("sign", str(tmp_path / "policy.yaml"), "--key", str(tmp_path / "site.key"))


def test_a_missing_key_is_not_made_while_signing(tmp_path):
    """A typing error in a path must not sign with a fresh key that nobody pinned."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    with pytest.raises(TrustError):
        _run("sign", str(tmp_path / "policy.yaml"), "--key", str(tmp_path / "typo.key"))
    assert not (tmp_path / "typo.key").exists()


# ------------------------------------------------------------------------------ replacing the keys


def _keys(tmp_path: Path, *names: str) -> list[str]:
    """Make key files; return their public halves."""
    return [_run("key", str(tmp_path / f"{name}.key")) for name in names]


def _replace(tmp_path: Path, *words: str) -> str:
    """Type `replace-keys` in the folder of the test; a name like `old.key` is a file there."""
    files = (".key", ".json")
    return _run("replace-keys", *(str(tmp_path / w) if w.endswith(files) else w for w in words))


def test_several_people_sign_one_after_the_other(tmp_path):
    """Nobody holds another's key; each is told who is still missing."""
    anna, ben, anna2, ben2 = _keys(tmp_path, "anna", "ben", "anna2", "ben2")
    said = _replace(
        tmp_path, "--site", "harbour", "--old", "anna.key", "--new", "anna2.key",
        "--new-public", ben2, "--threshold", "2", "-o", "chain.json",
    )  # fmt: skip
    assert "new keys: 1 of 2 wanted" in said
    chain = str(tmp_path / "chain.json")
    shown = ("show", chain, "--key", anna, "--key", ben, "--threshold", "2")
    with pytest.raises(BadSignature):
        _run(*shown)
    said = _replace(
        tmp_path, "--add-signature", "--from", "chain.json", "--old", "ben.key", "--new", "ben2.key"
    )
    assert "new keys: 2 of 2 wanted" in said
    assert anna2 in _run(*shown)


def test_the_next_replacement_goes_on_from_the_chain(tmp_path):
    """Site and version come from the file, and who is missing of the old ones is known."""
    (old,) = _keys(tmp_path, "old")
    _keys(tmp_path, "new", "newer")
    _replace(tmp_path, "--site", "harbour", "--old", "old.key", "--new", "new.key", "-o", "c.json")
    said = _replace(
        tmp_path, "--from", "c.json", "--old", "old.key", "--new", "newer.key", "-o", "d.json"
    )
    assert "old keys: 0 of 1 wanted" in said
    said = _replace(tmp_path, "--from", "c.json", "--old", "new.key", "--new", "newer.key")
    assert "harbour: version 3" in said
    assert "2 documents" in said
    assert '"version": 3' in _run("show", str(tmp_path / "c.json"), "--key", old)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--site", "harbour", "--new", "new.key"], "no key so far"),
        (["--site", "harbour"], "nobody signs"),
        (["--site", "harbour", "--old", "old.key"], "no new key"),
        (["--old", "old.key", "--new", "new.key"], "which site"),
        (
            ["--site", "other", "--from", "c.json", "--old", "new.key", "--new", "old.key"],
            "chain is of",
        ),
        (
            ["--version", "9", "--from", "c.json", "--old", "new.key", "--new", "old.key"],
            "goes on with 3",
        ),
        (["--add-signature", "--old", "old.key"], "needs --from"),
        (["--add-signature", "--from", "c.json", "--new", "old.key"], "does not name"),
        (["--from", "gone.json", "--old", "old.key", "--new", "new.key"], "cannot read"),
    ],
)
def test_a_mistake_in_replacing_keys_is_named_and_nothing_is_written(tmp_path, words, error):
    """The file of before is as it was."""
    _keys(tmp_path, "old", "new")
    _replace(tmp_path, "--site", "harbour", "--old", "old.key", "--new", "new.key", "-o", "c.json")
    before = (tmp_path / "c.json").read_bytes()
    with pytest.raises(ConfigError, match=error):
        _replace(tmp_path, *words)
    assert (tmp_path / "c.json").read_bytes() == before
    assert not (tmp_path / "chain.json").exists()


def test_a_signed_policy_lies_beside_its_file_and_never_over_anothers(tmp_path, monkeypatch):
    """Two sites' policies, signed one after the other, are two documents."""
    monkeypatch.chdir(tmp_path)
    _run("key", "site.key")
    for name in ("lisbon.yaml", "porto.yaml"):
        (tmp_path / name).write_text(POLICY)
        _run("sign", name, "--key", "site.key")
    assert {file.name for file in tmp_path.glob("*.json")} == {"lisbon.json", "porto.json"}
