"""Sealed camera addresses: only the device they are for opens them, and only where they belong."""

from pathlib import Path

import msgspec
import pytest

from vedette.errors import ConfigError, NotAllowed, TrustError
from vedette.trust.dsse import open_struct, sign_struct
from vedette.trust.keys import SigningKey, from_text, to_text
from vedette.trust.sealing import SealingKey, seal
from vedette.trust.site_policy import PolicyFile, bears_passwords, sign_policy
from vedette.wire.signed import POLICY_TYPE, CameraAddress, SealedAddresses, Signed, SitePolicy

DOOR = CameraAddress(
    camera="door",
    source="rtsp://user:hunter2@192.0.2.7/s",
    name="Front door",
    evidence_source="rtsp://user:hunter2@192.0.2.7/large",
)
BOX, OTHER, SITE = SealingKey.generate(), SealingKey.generate(), SigningKey.generate()


def sealed(**changes: object) -> SealedAddresses:
    """The door's address, sealed for `box` at the shop in version 3."""
    of = {"site": "shop", "device": "box", "version": 3, "key": BOX.text} | changes
    return seal([DOOR], **of)  # pyright: ignore[reportArgumentType]


def test_the_device_it_is_for_reads_what_was_sealed() -> None:
    """All of it, as it was written; sealed twice, two boxes that have nothing in common."""
    assert BOX.open(sealed(), site="shop", version=3) == [DOOR]
    assert sealed().box[:43] != sealed().box[:43]
    assert "hunter2" not in repr(BOX)


@pytest.mark.parametrize(
    "changes",
    [{"site": "mall"}, {"device": "till"}, {"version": 4}, {"key": OTHER.text}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_box_opens_nowhere_but_where_its_owner_put_it(changes: dict[str, object]) -> None:
    """Moved to another site, device, version or key by whoever carries it: refused."""
    box = msgspec.structs.replace(sealed(**changes), device="box", keyid=BOX.keyid)
    with pytest.raises(NotAllowed):
        BOX.open(box, site="shop", version=3)


def test_what_was_changed_cut_or_is_no_box_is_refused() -> None:
    """Each byte counts; nonsense and too much are refused in words."""
    good = sealed()
    raw = bytearray(from_text(good.box))
    boxes = ["", "!", "A" * 43, to_text(bytes(raw[:-1])), "A" * 600_000]
    for at in (0, 31, 32, len(raw) - 1):
        raw[at] ^= 1
        boxes.append(to_text(bytes(raw)))
        raw[at] ^= 1
    for box in boxes:
        with pytest.raises(NotAllowed):
            BOX.open(msgspec.structs.replace(good, box=box), site="shop", version=3)


@pytest.mark.parametrize("key", ["", "x", "A" * 42, "A" * 43, SITE.public.text + "A"], ids=range(5))
def test_what_is_no_sealing_key_is_refused_where_it_is_written(key: str) -> None:
    """A slip of the hand, or the point that gives everybody the same secret."""
    with pytest.raises(ConfigError, match="seal_for: box"):
        sealed(key=key)


def test_the_key_is_made_once_private_and_never_overwritten(tmp_path: Path) -> None:
    """The same after a restart; a file that is none is an error with what to do."""
    path = tmp_path / "identity" / "sealing.key"
    made = SealingKey.load_or_make(path)
    assert SealingKey.load_or_make(path).text == made.text
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("nonsense\n")
    with pytest.raises(TrustError):
        SealingKey.load_or_make(path)
    assert path.read_text() == "nonsense\n"


def test_a_signed_policy_with_boxes_shows_no_address_to_who_carries_it() -> None:
    """Names stay readable, for the console; without `seal_for` it is the document it was."""
    said = PolicyFile(
        site="shop", version=3, cameras=[DOOR], seal_for={"box": BOX.text, "till": OTHER.text}
    )
    signed = sign_policy(said, [SITE], now_ms=1)
    carried = from_text(signed.payload)
    assert b"hunter2" not in carried
    assert b"192.0.2.7" not in carried
    policy = open_struct(signed, SitePolicy, [SITE.public], payload_type=POLICY_TYPE)
    assert [(one.camera, one.source, one.name) for one in policy.cameras] == [
        ("door", "", "Front door")
    ]
    assert isinstance(policy.sealed, list)
    for key, box in zip((BOX, OTHER), policy.sealed, strict=True):
        assert key.open(box, site="shop", version=3) == [DOOR]
    plain = PolicyFile(site="shop", version=3, cameras=[DOOR])
    assert b"sealed" not in from_text(sign_policy(plain, [SITE], now_ms=1).payload)
    assert (bears_passwords(plain), bears_passwords(said)) == (True, False)


class PolicyOfBefore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device of an older version takes for a policy."""

    site: str
    version: int
    issued_ms: int
    pixels: object = None
    cameras: list[CameraAddress] = []
    diagnostics: list[str] | None = None


def test_an_older_device_refuses_boxes_whole_and_takes_a_policy_without() -> None:
    """It would otherwise take cameras without addresses for cameras without addresses."""

    def read(signed: Signed) -> PolicyOfBefore:
        return msgspec.json.decode(from_text(signed.payload), type=PolicyOfBefore)

    plain = SitePolicy(site="shop", version=1, issued_ms=1, cameras=[DOOR])
    assert read(sign_struct(plain, POLICY_TYPE, [SITE])).cameras == [DOOR]
    with pytest.raises(msgspec.ValidationError, match="sealed"):
        read(sign_struct(msgspec.structs.replace(plain, sealed=[sealed()]), POLICY_TYPE, [SITE]))
