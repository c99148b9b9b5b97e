"""The keys of a site and their replacement by others: a chain of documents, step by step. Pure.

What lives here: making such a document, and whether one document or a whole chain may be followed
from the keys that are held. What does not: keeping them (`edge.site_keys`, `central.site_keys`).
The rule: a document counts only where enough of the keys before it and enough of the keys in it
signed it, and its version is one more than the one before. Nobody else has a say, central neither.

Source: The Update Framework, specification 1.0.33, section 5.3 "Update the root role": 5.3.4
(signed by a threshold of the trusted and of the new keys), 5.3.5 (the version is exactly one more),
5.3.3 (a limit on the size of what is read).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from vedette.errors import (
    BadSignature,
    MalformedReport,
    NotAllowed,
    RollbackAttempt,
    TrustError,
    VedetteError,
    WireError,
)
from vedette.ids import is_slug
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, SigningKey, from_text
from vedette.wire.codec import decode
from vedette.wire.signed import SITE_KEYS_TYPE, Signed, SiteKeyChain, SiteKeys

MAX_KEYS: Final = 8
"""Of a site: the old ones and the new ones together fit the signatures of one document."""
MAX_CHAIN: Final = 32
"""Documents that are sent or read at once; who is further behind needs a person."""
MAX_DOCUMENT_BYTES: Final = 8 * 1024
"""Of the payload; eight keys take less than one kilobyte."""
MAX_CHAIN_FILE_BYTES: Final = 1024 * 1024
MAX_VERSION: Final = 1_000_000
"""More replacements than any site will see; a number that a person typed wrong is far above."""


@dataclass(frozen=True, kw_only=True)
class KeySet:
    """The keys that speak for a site at one version, and how many of them must."""

    version: int
    keys: tuple[PublicKey, ...]
    threshold: int

    @classmethod
    def of(cls, keys: Iterable[str], threshold: int, version: int = 1) -> "KeySet":
        """Return the set of these texts.

        Raises:
            BadSignature: A text that is no key, a key twice, none or too many, or a threshold that
                nobody or everybody could reach.
        """
        made = tuple(PublicKey.from_text(text) for text in keys)
        if not 1 <= len(made) <= MAX_KEYS:
            raise BadSignature(f"{len(made)} site keys; a site has 1 to {MAX_KEYS}")
        if len(set(made)) != len(made):
            raise BadSignature("the same site key stands there twice")
        if not 1 <= version <= MAX_VERSION:
            raise BadSignature(f"site keys version {version}; they go from 1 to {MAX_VERSION}")
        if not 1 <= threshold <= len(made):
            raise BadSignature(f"a threshold of {threshold} with {len(made)} site keys")
        return cls(version=version, keys=made, threshold=threshold)


def make(site: str, wanted: KeySet, signers: Sequence[SigningKey], *, now_ms: int) -> Signed:
    """Return the document that makes `wanted` the keys of `site`, signed by each of `signers`.

    Raises:
        NotAllowed: No such site name can be.
    """
    if not is_slug(site):
        raise NotAllowed(f"{site[:64]!r} is no short name")
    said = SiteKeys(
        site=site,
        version=wanted.version,
        issued_ms=now_ms,
        keys=[key.text for key in wanted.keys],
        threshold=wanted.threshold,
    )
    return dsse.sign_struct(said, SITE_KEYS_TYPE, signers)


def step(held: KeySet, signed: Signed, site: str) -> KeySet:
    """Return the keys that follow on `held` by this one document.

    Raises:
        BadSignature: Too few of the held keys or of the new ones signed it, or limits are broken.
        NotAllowed: For another site, another kind of document, or it leaves a version out.
        RollbackAttempt: Not newer than what is held.
        MalformedReport: Signed, but no such document.
    """
    _check_size(signed)
    said = dsse.open_struct(
        signed, SiteKeys, held.keys, payload_type=SITE_KEYS_TYPE, threshold=held.threshold
    )
    if said.site != site:
        raise NotAllowed(f"keys for site {said.site[:64]!r}, this is {site!r}")
    if said.version <= held.version:
        raise RollbackAttempt(f"site keys version {said.version}; version {held.version} is held")
    if said.version != held.version + 1:
        raise NotAllowed(
            f"site keys version {said.version} does not follow on {held.version}: one is missing"
        )
    wanted = KeySet.of(said.keys, said.threshold, said.version)
    # Proof of possession: keys that nobody holds must not lock everybody out.
    dsse.verify(signed, wanted.keys, payload_type=SITE_KEYS_TYPE, threshold=wanted.threshold)
    return wanted


def follow(
    held: KeySet, documents: Sequence[Signed], site: str
) -> tuple[KeySet, VedetteError | None]:
    """Return the newest keys that `documents` lead to from `held`, and why it ended before the end.

    Documents of versions that are held already are passed over: a chain is sent again and again.
    """
    if len(documents) > MAX_CHAIN:
        return held, BadSignature(f"{len(documents)} documents; at most {MAX_CHAIN}")
    for signed in documents:
        try:
            if claimed(signed).version <= held.version:
                continue
            held = step(held, signed, site)
        except (TrustError, WireError) as error:
            return held, error
    return held, None


def claimed(signed: Signed) -> SiteKeys:
    """Return what a document says, whoever signed it: for showing and choosing, never to believe.

    Raises:
        BadSignature: Too large.
        NotAllowed: Another kind of document.
        MalformedReport: It says nothing that could be understood.
    """
    _check_size(signed)
    if signed.payload_type != SITE_KEYS_TYPE:
        raise NotAllowed(f"signed as {signed.payload_type[:64]!r}, wanted {SITE_KEYS_TYPE!r}")
    return decode(from_text(signed.payload), SiteKeys, json=True)


def read_chain(data: bytes) -> SiteKeyChain:
    """Return a chain from its file.

    Raises:
        MalformedReport: Too large, truncated, or something else.
    """
    if len(data) > MAX_CHAIN_FILE_BYTES:
        raise MalformedReport(f"a chain of site keys of more than {MAX_CHAIN_FILE_BYTES} bytes")
    try:
        chain = msgspec.json.decode(data, type=SiteKeyChain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedReport(
            f"not a chain of site keys: {error}",
            operator_hint="make one with `vedette site replace-keys`, and copy it whole",
        ) from error
    if not chain.documents:
        raise MalformedReport("a chain of site keys without a document")
    return chain


def signers_of(signed: Signed, keys: Iterable[PublicKey]) -> list[PublicKey]:
    """Return which of `keys` really signed this document, each once."""
    found: list[PublicKey] = []
    for key in dict.fromkeys(keys):
        try:
            dsse.verify(signed, [key], payload_type=SITE_KEYS_TYPE)
        except BadSignature:
            continue
        found.append(key)
    return found


def _check_size(signed: Signed) -> None:
    if len(signed.payload) > MAX_DOCUMENT_BYTES * 4 // 3:
        raise BadSignature(f"a site keys document of more than {MAX_DOCUMENT_BYTES} bytes")
