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
