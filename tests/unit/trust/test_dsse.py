"""Signed documents under attack."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import BadSignature, MalformedReport, NotAllowed, VedetteError
from vedette.trust import dsse
from vedette.trust.keys import SigningKey, from_text, to_text
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraSettings,
    DeviceSettings,
    Signature,
    Signed,
)

KEY, OTHER, THIRD = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
SETTINGS = DeviceSettings(
    device="d", version=1, issued_ms=1, cameras=[CameraSettings(camera="door", threshold=0.5)]
)


def signed_json(document: object, *keys: SigningKey) -> Signed:
    """Return any JSON, signed as device settings."""
    return dsse.sign(msgspec.json.encode(document), SETTINGS_TYPE, keys)


def test_the_encoding_is_the_one_of_the_specification() -> None:
    """The example of DSSE's protocol.md."""
    encoded = dsse.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_signed_message_comes_back() -> None:
    """Sign and open round."""
    signed = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [KEY])
    opened = dsse.open_struct(
        signed, DeviceSettings, [OTHER.public, KEY.public], payload_type=SETTINGS_TYPE
    )
    assert opened == SETTINGS


def test_another_key_is_not_enough() -> None:
    """A valid signature by a key that is not pinned counts nothing, whatever id it claims."""
    signed = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [OTHER])
    liar = Signed(
        payload_type=signed.payload_type,
        payload=signed.payload,
        signatures=[Signature(keyid=KEY.public.keyid, sig=signed.signatures[0].sig)],
    )
    for document in (signed, liar):
        with pytest.raises(BadSignature):
            dsse.verify(document, [KEY.public], payload_type=SETTINGS_TYPE)


def test_one_signer_counts_once_towards_a_threshold() -> None:
    """Repeating a signature does not make two signers of one; two pinned keys do."""
    once = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [KEY])
    twice = msgspec.structs.replace(once, signatures=once.signatures * 2)
    pinned = [KEY.public, KEY.public, OTHER.public]
    with pytest.raises(BadSignature, match="1 of 2"):
        dsse.verify(twice, pinned, payload_type=SETTINGS_TYPE, threshold=2)
    both = dsse.add_signature(once, OTHER)
    dsse.verify(both, pinned, payload_type=SETTINGS_TYPE, threshold=2)


def test_a_threshold_of_zero_accepts_nothing() -> None:
    """A broken threshold must not turn verification off."""
    signed = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [])
    with pytest.raises(BadSignature):
        dsse.verify(signed, [KEY.public], payload_type=SETTINGS_TYPE, threshold=0)


def test_a_document_of_one_type_is_not_taken_for_another() -> None:
    """Relabelling fails: the type is in what was signed, and it is checked first."""
    signed = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [KEY])
    with pytest.raises(NotAllowed):
        dsse.verify(signed, [KEY.public], payload_type=POLICY_TYPE)
    relabelled = msgspec.structs.replace(signed, payload_type=POLICY_TYPE)
    with pytest.raises(BadSignature):
        dsse.verify(relabelled, [KEY.public], payload_type=POLICY_TYPE)


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_flipped_bit_anywhere_is_noticed(position: int, flip: int) -> None:
    """No byte of payload or signature can change."""
    signed = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [KEY])
    payload = bytearray(from_text(signed.payload))
    payload[position % len(payload)] ^= flip
    changed = msgspec.structs.replace(signed, payload=to_text(bytes(payload)))
    with pytest.raises(BadSignature):
        dsse.verify(changed, [KEY.public], payload_type=SETTINGS_TYPE)


@given(payload=st.text(max_size=60), sig=st.text(max_size=90))
def test_garbage_is_refused_in_our_own_words(payload: str, sig: str) -> None:
    """Hostile text raises only what the caller expects."""
    signed = Signed(
        payload_type=SETTINGS_TYPE,
        payload=payload,
        signatures=[Signature(keyid=KEY.public.keyid, sig=sig)],
    )
    with pytest.raises(VedetteError):
        dsse.open_struct(signed, DeviceSettings, [KEY.public], payload_type=SETTINGS_TYPE)


def test_too_many_signatures_or_bytes_are_refused_before_any_work() -> None:
    """Limits hold for size and number."""
    signed = dsse.sign_struct(SETTINGS, SETTINGS_TYPE, [KEY])
    many = msgspec.structs.replace(signed, signatures=signed.signatures * 17)
    huge = dsse.sign(b"x" * (dsse.MAX_PAYLOAD_BYTES + 100), SETTINGS_TYPE, [KEY])
    for document in (many, huge):
        with pytest.raises(BadSignature, match=r"at most|more than"):
            dsse.verify(document, [KEY.public], payload_type=SETTINGS_TYPE)


@pytest.mark.parametrize(
    "document",
    [
        {"device": "d", "version": 1, "issued_ms": 1, "pixels": {"evidence_leaves": True}},
        {"device": "d", "version": 1, "issued_ms": 1, "cameras": [{"camera": "a", "source": "x"}]},
        {
            "device": "d",
            "version": 1,
            "issued_ms": 1,
            "cameras": [
                {"camera": "a", "lines": [{"name": "l", "a": [0, 0], "b": [1, 1], "url": "x"}]}
            ],
        },
    ],
)
def test_a_stolen_central_cannot_slip_in_more_than_settings(document: object) -> None:
    """A field that settings do not have is refused at every depth, though it is well signed."""
    with pytest.raises(NotAllowed):
        dsse.open_struct(
            signed_json(document, KEY), DeviceSettings, [KEY.public], payload_type=SETTINGS_TYPE
        )


@pytest.mark.parametrize("document", [[], 1, {"device": 1}, {"device": "d"}])
def test_signed_nonsense_is_malformed(document: object) -> None:
    """A good signature does not make a message of it."""
    with pytest.raises(MalformedReport):
        dsse.open_struct(
            signed_json(document, KEY), DeviceSettings, [KEY.public], payload_type=SETTINGS_TYPE
        )
