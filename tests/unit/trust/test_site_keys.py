"""Whose keys are a site's: what may follow on what, and every attack on it."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import BadSignature, MalformedReport, NotAllowed, RollbackAttempt
from vedette.trust import dsse
from vedette.trust.keys import SigningKey
from vedette.trust.site_keys import MAX_CHAIN, KeySet, follow, make, read_chain, step
from vedette.wire.signed import POLICY_TYPE, SITE_KEYS_TYPE, Signed, SiteKeyChain, SiteKeys

A, B, C, D, E, CENTRAL = KEYS = [SigningKey.generate() for _ in range(6)]


def keys(version: int, *of: SigningKey, threshold: int = 1) -> KeySet:
    """Return a set of keys at a version."""
    return KeySet.of([key.public.text for key in of], threshold, version)


def change(wanted: KeySet, *signers: SigningKey, site: str = "shop") -> Signed:
    """Return a signed replacement."""
    return make(site, wanted, signers, now_ms=1)


FIRST = keys(1, A)


def test_both_the_keys_before_and_the_new_ones_must_sign() -> None:
    """With either alone nothing changes; with both the new keys hold."""
    for signers in ([A], [B], [CENTRAL, B], []):
        with pytest.raises(BadSignature):
            step(FIRST, change(keys(2, B), *signers), "shop")
    assert step(FIRST, change(keys(2, B), A, B), "shop") == keys(2, B)


def test_a_stolen_old_key_below_the_threshold_changes_nothing() -> None:
    """One of two, however often it signs, and with whomever the thief has."""
    held = keys(1, A, B, threshold=2)
    signed = change(keys(2, C), A, C)
    with pytest.raises(BadSignature):
        step(held, signed, "shop")
    twice = msgspec.structs.replace(signed, signatures=[signed.signatures[0]] * 2)
    with pytest.raises(BadSignature):
        step(held, twice, "shop")
    relabelled = msgspec.structs.replace(signed.signatures[0], keyid=B.public.keyid)
    with pytest.raises(BadSignature):
        step(
            held,
            msgspec.structs.replace(signed, signatures=[*signed.signatures, relabelled]),
            "shop",
        )
    assert step(held, dsse.add_signature(signed, B), "shop") == keys(2, C)


def test_the_new_threshold_counts_new_keys_only() -> None:
    """A mix of old and new that only together is enough is not; nor is one new key, twice.

    Source: GHSA-r7vq-6425-j94w, where an update client counted such a key twice.
    """
    held, wanted = keys(1, A, B), keys(2, C, D, threshold=2)
    with pytest.raises(BadSignature):
        step(held, change(wanted, A, B, C), "shop")
    twice = change(wanted, A, C, C)
    with pytest.raises(BadSignature):
        step(held, twice, "shop")
    assert step(held, change(wanted, A, C, D), "shop") == wanted


def test_a_key_that_stays_signs_for_both() -> None:
    """One signature by a key in both sets counts on both sides."""
    assert step(FIRST, change(keys(2, A, B), A), "shop") == keys(2, A, B)


def test_rollback_and_replay_of_the_same_version_are_refused() -> None:
    """An older version, and another text of the one that is held."""
    held = keys(3, A)
    for version in (1, 2, 3):
        with pytest.raises(RollbackAttempt):
            step(held, change(keys(version, B), A, B), "shop")


def test_a_gap_is_refused() -> None:
    """Well signed, but one step is left out: keys that were removed in it might sign."""
    with pytest.raises(NotAllowed, match="missing"):
        step(FIRST, change(keys(3, B), A, B), "shop")
    second, third = change(keys(2, B), A, B), change(keys(3, C), B, C)
    reached, problem = follow(FIRST, [third, second], "shop")
    assert (reached, type(problem)) == (FIRST, BadSignature)


def test_a_replay_to_another_site_is_refused() -> None:
    """One owner, one key for two sites: what was said of one is not said of the other."""
    with pytest.raises(NotAllowed, match="mall"):
        step(FIRST, change(keys(2, B), A, B, site="mall"), "shop")


def test_another_kind_of_document_is_not_taken_for_it() -> None:
    """The same bytes, signed as a policy."""
    said = SiteKeys(site="shop", version=2, issued_ms=1, keys=[B.public.text], threshold=1)
    with pytest.raises(NotAllowed):
        step(FIRST, dsse.sign_struct(said, POLICY_TYPE, [A, B]), "shop")


@pytest.mark.parametrize(
    ("of", "threshold"),
    [([B], 0), ([B], -1), ([B], 2), ([], 0), ([], 1), ([B, B], 2), ([B] * 9, 1)],
)
def test_keys_that_could_never_or_always_sign_are_refused(of: list[SigningKey], threshold: int):
    """A threshold of nothing, of more than there are, no keys, a key twice, too many keys."""
    said = SiteKeys(
        site="shop", version=2, issued_ms=1, keys=[k.public.text for k in of], threshold=threshold
    )
    signed = dsse.sign_struct(said, SITE_KEYS_TYPE, [A, B])
    with pytest.raises(BadSignature):
        step(FIRST, signed, "shop")


def test_truncated_and_huge_documents_are_refused_before_they_are_believed() -> None:
    """Cut off, padded to megabytes, a hundred signatures, a chain without end, nonsense."""
    good = change(keys(2, B), A, B)
    for payload in (good.payload[:-5], good.payload * 1000, "!", ""):
        with pytest.raises((BadSignature, MalformedReport)):
            step(FIRST, msgspec.structs.replace(good, payload=payload), "shop")
    many = msgspec.structs.replace(good, signatures=good.signatures * 50)
    with pytest.raises(BadSignature):
        step(FIRST, many, "shop")
    reached, problem = follow(FIRST, [good] * (MAX_CHAIN + 1), "shop")
    assert (reached, type(problem)) == (FIRST, BadSignature)
    whole = msgspec.json.encode(SiteKeyChain(documents=[good]))
    assert read_chain(whole).documents == [good]
    for data in (whole[:-9], b"", b"[" * 100_000, b'{"documents":[]}', b" " * 2_000_000):
        with pytest.raises(MalformedReport):
            read_chain(data)


def test_what_is_signed_but_says_more_is_refused() -> None:
    """A field that nobody knows might mean something to somebody."""
    said = {"site": "shop", "version": 2, "issued_ms": 1, "keys": [B.public.text], "threshold": 1}
    signed = dsse.sign(msgspec.json.encode(said | {"policy": {}}), SITE_KEYS_TYPE, [A, B])
    with pytest.raises(NotAllowed):
        step(FIRST, signed, "shop")


_sets = st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True)


@settings(max_examples=40, deadline=None)
@given(
    history=st.lists(st.tuples(_sets, st.integers(1, 3)), min_size=2, max_size=5),
    spoiled=st.integers(0, 3),
    stops=st.integers(0, 4),
)
def test_a_device_ends_where_the_owner_did_from_wherever_it_left_off(
    history: list[tuple[list[int], int]], spoiled: int, stops: int
) -> None:
    """Over random key sets: any prefix, then the rest, is the whole; a spoiled step ends it there.

    A step is spoiled by leaving it one signature less of the keys before than their threshold.
    """
    sets = [
        KeySet.of([KEYS[i].public.text for i in of], min(threshold, len(of)), version)
        for version, (of, threshold) in enumerate(history, start=1)
    ]
    documents = []
    for before, after in itertools.pairwise(sets):
        signing = {*before.keys[: before.threshold], *after.keys[: after.threshold]}
        documents.append(change(after, *(k for k in KEYS if k.public in signing)))
    middle, problem = follow(sets[0], documents[:stops], "shop")
    assert problem is None
    assert follow(middle, documents, "shop") == (sets[-1], None)
    at = spoiled % len(documents)
    old = {key.keyid for key in sets[at].keys}
    by_old = [s for s in documents[at].signatures if s.keyid in old]
    gone = by_old[sets[at].threshold - 1 :]
    left = [s for s in documents[at].signatures if s not in gone]
    documents[at] = msgspec.structs.replace(documents[at], signatures=left)
    reached, problem = follow(sets[0], documents, "shop")
    assert reached == sets[at]
    assert isinstance(problem, BadSignature)
