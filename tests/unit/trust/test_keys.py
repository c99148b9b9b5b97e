"""Keys: kept private, whole, and known by one text each."""

import stat
from pathlib import Path

import pytest

from vedette.errors import BadSignature, TrustError
from vedette.trust.keys import (
    PublicKey,
    SigningKey,
    check_possession,
    from_text,
    prove_possession,
    to_text,
)


def test_a_saved_key_is_private_and_signs_as_before(tmp_path: Path) -> None:
    """The file has mode 0600 and the loaded key is the same key."""
    path = tmp_path / "identity" / "device.key"
    key = SigningKey.load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    again = SigningKey.load_or_make(path)
    key.public.verify(again.sign(b"hello"), b"hello")
    assert again.public == key.public


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    """A readable private key must be noticed, not used."""
    path = tmp_path / "device.key"
    SigningKey.generate().save(path)
    path.chmod(0o644)
    with pytest.raises(TrustError, match="open to others") as caught:
        SigningKey.load(path)
    assert "chmod 600" in str(caught.value.operator_hint)


@pytest.mark.parametrize("text", ["", "x", "vedette-ed25519-private ", "other " + "A" * 43])
def test_a_broken_key_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    """`load_or_make` never replaces a file that it cannot read: that would lose an identity."""
    path = tmp_path / "device.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(TrustError, match="not an Ed25519 key file"):
        SigningKey.load_or_make(path)
    assert path.read_text() == text


def test_one_text_per_key() -> None:
    """Padding, other alphabets and loose bits are refused, so that a text can be compared."""
    raw = bytes(range(32))
    text = to_text(raw)
    assert from_text(text) == raw
    for bad in (
        text + "=",
        text[:-1] + "+",
        text[:-1],
        text + "\n",
        text[:-1] + chr(ord(text[-1]) + 1),
    ):
        with pytest.raises(BadSignature):
            PublicKey.from_text(bad)


def test_the_private_key_shows_in_no_repr() -> None:
    """Logs may print keys by mistake; the secret is not in there."""
    key = SigningKey.generate()
    assert to_text(key.native.private_bytes_raw()) not in repr(key)
    assert key.public.keyid in repr(key)


def test_enrolling_somebody_elses_key_fails() -> None:
    """A proof by one key is none for another key or another claim token."""
    mine, other = SigningKey.generate(), SigningKey.generate()
    proof = prove_possession(mine, "claim")
    check_possession(mine.public, "claim", proof)
    for public, claim in ((other.public, "claim"), (mine.public, "other")):
        with pytest.raises(BadSignature):
            check_possession(public, claim, proof)
    with pytest.raises(BadSignature, match="too long"):
        check_possession(mine.public, "claim", "A" * 10_000)
