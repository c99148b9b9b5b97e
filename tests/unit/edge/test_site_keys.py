"""A device whose site gets other keys: what it follows, what it keeps, what a person may do."""

import itertools
from pathlib import Path

import msgspec
import pytest

from vedette.edge import enrolment, site_keys
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import Identity, load_identity, save_identity
from vedette.edge.settings import EdgeConfig
from vedette.errors import BadSignature, ConfigError, TrustError
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.trust.site_keys import KeySet, make
from vedette.wire.enrol import Desired
from vedette.wire.signed import POLICY_TYPE, PixelPolicy, Signed, SitePolicy

CENTRAL, OLD, NEW, NEWER = (SigningKey.generate() for _ in range(4))
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("shop"),
    central_key=CENTRAL.public.text,
    site_keys=[OLD.public.text],
)
_etags = itertools.count()


def change(version: int, to: SigningKey, *signers: SigningKey, site: str = "shop") -> Signed:
    """Return a replacement of the site's keys by one other."""
    return make(site, KeySet.of([to.public.text], 1, version), [*signers, to], now_ms=1)


def policy(version: int, key: SigningKey, px: int = 16) -> Signed:
    """Return a policy by this key."""
    said = SitePolicy(
        site="shop", version=version, issued_ms=1, pixels=PixelPolicy(thumbnail_px=px)
    )
    return sign_struct(said, POLICY_TYPE, [key])


def store(tmp_path: Path) -> DesiredStore:
    """Return the device as it is after a start, enrolled before."""
    (tmp_path / "identity").mkdir(exist_ok=True)
    identity = load_identity(tmp_path)
    if identity is None:
        save_identity(tmp_path, IDENTITY)
    return DesiredStore(
        tmp_path, EdgeConfig(state_dir=tmp_path, models_dir=tmp_path), identity or IDENTITY
    )


def give(held: DesiredStore, *documents: Signed, site_policy: Signed | None = None) -> list[str]:
    """Bring documents as central does; return what was refused."""
    etag = f"e{next(_etags)}"
    held.apply(Desired(etag=etag, site_keys=list(documents), site_policy=site_policy))
    return held.problems


def pinned(tmp_path: Path) -> tuple[list[str], int]:
    """Return the keys on disk, and their version."""
    identity = load_identity(tmp_path)
    assert identity is not None
    return identity.site_keys, identity.site_keys_version


TO_NEW = change(2, NEW, OLD)
TO_NEWER = change(3, NEWER, NEW)


def test_the_policy_stays_until_the_new_keys_sign_a_newer_one(tmp_path: Path) -> None:
    """Also over restarts; and what removed keys sign is refused, however high its version."""
    held = store(tmp_path)
    assert give(held, site_policy=policy(5, OLD)) == []
    assert give(held, TO_NEW, site_policy=policy(5, OLD)) == []
    for device in (held, store(tmp_path), store(tmp_path)):
        assert device.policy is not None
        assert (device.policy.version, device.effective.pixels.thumbnail_px) == (5, 16)
        assert give(device, TO_NEW, site_policy=policy(5, OLD)) == []
        assert "site policy refused" in give(device, site_policy=policy(9, OLD, px=99))[0]
        assert device.effective.pixels.thumbnail_px == 16
        assert "version 5" in give(device, site_policy=policy(4, NEW))[0]
    assert give(held, TO_NEW, site_policy=policy(6, NEW, px=8)) == []
    assert store(tmp_path).effective.pixels.thumbnail_px == 8
    assert pinned(tmp_path) == ([NEW.public.text], 2)


def test_a_device_that_was_away_follows_every_step(tmp_path: Path) -> None:
    """Two at once, in their order, and the policy of the first keys outlives both."""
    held = store(tmp_path)
    give(held, site_policy=policy(5, OLD))
    assert give(held, TO_NEW, TO_NEWER) == []
    assert pinned(tmp_path) == ([NEWER.public.text], 3)
    again = store(tmp_path)
    assert again.problems == []
    assert again.policy is not None


def test_what_cannot_be_followed_is_said_and_what_came_before_it_holds(tmp_path: Path) -> None:
    """A gap, another site's chain, keys by central, and central as a key of the site."""
    held = store(tmp_path)
    by_central = change(2, CENTRAL, OLD)
    for bad in (TO_NEWER, change(2, NEW, OLD, site="mall"), change(2, NEW, CENTRAL), by_central):
        assert "site keys refused" in give(held, bad)[0]
        assert pinned(tmp_path) == ([OLD.public.text], 1)
    assert "site keys refused" in give(held, TO_NEW, change(3, NEWER, OLD))[0]
    assert pinned(tmp_path) == ([NEW.public.text], 2)
    assert give(held, TO_NEW, TO_NEWER) == []


def test_a_crash_while_keys_are_written_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch):
    """A disk that refuses: said, nothing changed; the next contact does it."""
    held = store(tmp_path)
    give(held, site_policy=policy(5, OLD))

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(enrolment, "write_private", full)
        assert "No space left" in give(held, TO_NEW, site_policy=policy(5, OLD))[0]
    assert pinned(tmp_path) == ([OLD.public.text], 1)
    assert held.policy is not None
    assert give(held, TO_NEW) == []
    assert pinned(tmp_path) == ([NEW.public.text], 2)


def test_a_device_that_enrols_after_the_change_lets_nothing_leave_by_an_old_policy(tmp_path: Path):
    """The stored policy is by keys that it never knew and may be stricter than the defaults."""
    (tmp_path / "identity").mkdir()
    late = msgspec.structs.replace(IDENTITY, site_keys=[NEW.public.text], site_keys_version=2)
    save_identity(tmp_path, late)
    held = store(tmp_path)
    give(held, site_policy=policy(5, OLD))
    assert not held.effective.pixels.thumbnails
    assert not held.effective.diagnostics
    assert give(held, site_policy=policy(6, NEW)) == []
    assert held.effective.pixels.thumbnails


def test_a_person_here_can_name_other_keys_and_it_is_told_for_a_day(tmp_path: Path) -> None:
    """The policy in force stays; the chain goes on from the version that was named."""
    held = store(tmp_path)
    give(held, site_policy=policy(5, OLD))
    identity = site_keys.trust_by_hand(tmp_path, [NEW.public.text], 1, 4, now_ms=1_000)
    assert "replaced by hand on 1970-01-01" in site_keys.by_hand_texts(identity, 2_000)[0]
    assert NEW.public.keyid in site_keys.by_hand_texts(identity, 2_000)[0]
    assert site_keys.by_hand_texts(identity, 1_001 + site_keys.SAID_FOR_MS) == []
    assert site_keys.by_hand_texts(IDENTITY, 2_000) == []
    again = store(tmp_path)
    assert again.problems == []
    assert again.policy is not None
    assert give(again, change(5, NEWER, NEW), site_policy=policy(6, NEWER)) == []
    assert pinned(tmp_path) == ([NEWER.public.text], 5)


def test_a_running_agent_does_not_undo_what_a_person_did(tmp_path: Path) -> None:
    """It still believes the old keys, and central brings their replacement at that moment."""
    running = store(tmp_path)
    site_keys.trust_by_hand(tmp_path, [NEWER.public.text], 1, None, now_ms=1_000)
    give(running, TO_NEW)
    assert pinned(tmp_path) == ([NEWER.public.text], 2)
    assert running.identity == load_identity(tmp_path)


def test_by_hand_central_is_never_a_site_key_and_nothing_goes_back(tmp_path: Path) -> None:
    """Nor are keys taken that are pinned already, or none, or by nobody who is enrolled."""
    (tmp_path / "identity").mkdir()
    with pytest.raises(ConfigError, match="not enrolled"):
        site_keys.trust_by_hand(tmp_path, [NEW.public.text], 1, None, now_ms=1)
    store(tmp_path)
    for keys, version, error in (
        ([CENTRAL.public.text], None, TrustError),
        ([OLD.public.text], None, ConfigError),
        ([NEW.public.text], 1, ConfigError),
        ([NEW.public.text], 10**12, BadSignature),
        ([], None, BadSignature),
    ):
        with pytest.raises(error):
            site_keys.trust_by_hand(tmp_path, keys, 1, version, now_ms=1)
    assert pinned(tmp_path) == ([OLD.public.text], 1)
