"""Client assertions under attack."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jwt

from vedette.errors import BadSignature, Expired
from vedette.trust.assertion import Assertion, make_assertion, verify_assertion
from vedette.trust.keys import PublicKey, SigningKey

KEY, OTHER = SigningKey.generate(), SigningKey.generate()


def key_of(device: str) -> PublicKey | None:
    """Know two devices."""
    return {"box-1": KEY.public, "box-2": OTHER.public}.get(device)


def verify(token: str) -> Assertion:
    """Verify as the central called `central`."""
    return verify_assertion(token, key_of=key_of, audience="central")


def forge(key: SigningKey, **changed: object) -> str:
    """Return an assertion of box-1 with some claims changed, signed by `key`."""
    claims = {
        "iss": "box-1",
        "sub": "box-1",
        "aud": "central",
        "jti": "j",
        "nonce": "n",
        "iat": 10,
        "exp": 100,
    } | changed
    return jwt.encode(
        {"alg": "Ed25519"}, claims, jwk.OKPKey.import_key(key.native), algorithms=["Ed25519"]
    )


@pytest.mark.parametrize("now_s", [0, 1_700_000_000, 4_000_000_000])
def test_a_device_with_any_clock_is_known(now_s: int) -> None:
    """1970 and 2096 are as good as today: freshness is the nonce's business."""
    token = make_assertion(
        KEY, device="box-1", audience="central", nonce="n-1", now_s=now_s, jti="j"
    )
    assert verify(token) == Assertion(device="box-1", nonce="n-1", jti="j")


def test_a_device_cannot_speak_for_another() -> None:
    """Signed by box-2's key, a claim to be box-1 fails."""
    with pytest.raises(BadSignature):
        verify(forge(OTHER))


def test_an_unknown_device_is_refused() -> None:
    """No key, no verification."""
    with pytest.raises(BadSignature, match="no such device"):
        verify(forge(KEY, iss="box-9", sub="box-9"))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"aud": ["central", "another"]},
        {"sub": "box-2"},
        {"nonce": ""},
        {"jti": ""},
        {"nonce": None},
        {"exp": "soon"},
    ],
)
def test_wrong_claims_are_refused(claims: dict[str, object]) -> None:
    """Another audience, another subject, no nonce, no id, no number."""
    with pytest.raises(BadSignature):
        verify(forge(KEY, **claims))


@pytest.mark.parametrize("exp", [9, 10, 311])
def test_a_long_lived_assertion_is_refused(exp: int) -> None:
    """`exp` is bounded relative to `iat`."""
    with pytest.raises(Expired):
        verify(forge(KEY, exp=exp))


@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA"])
def test_the_token_does_not_choose_the_algorithm(alg: str) -> None:
    """`none`, and the public key used as an HMAC secret, are the classic attacks."""
    head, body, signature = forge(KEY).split(".")
    changed = base64.urlsafe_b64encode(json.dumps({"alg": alg}).encode()).rstrip(b"=").decode()
    assert head != changed
    for tail in ("", signature):
        with pytest.raises(BadSignature):
            verify(f"{changed}.{body}.{tail}")


@given(st.text(max_size=200))
def test_garbage_is_refused(token: str) -> None:
    """Whatever is no assertion is a bad signature, never another error."""
    with pytest.raises(BadSignature):
        verify(token)


def test_an_endless_token_is_refused() -> None:
    """Length is bounded before anything is decoded."""
    with pytest.raises(BadSignature, match="at most"):
        verify("a" * 5_000)
