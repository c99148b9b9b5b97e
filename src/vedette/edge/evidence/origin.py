"""Where a package comes from: its signatures, and whose key made them.

Here: the verdict on a package's signatures, in words that say what is proven and what is not, and
the places that public keys are known from. Not here: bytes, facts and video (`examine`). The rule:
a signature that holds says only that the files are as the holder of one key signed them; whose key
it is, somebody else than the package has to say.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import urllib3

from vedette.clock import from_wall_ms
from vedette.edge.central_client import check_link
from vedette.edge.evidence import facts
from vedette.edge.evidence.facts import Facts
from vedette.edge.evidence.signing import known_keys
from vedette.edge.settings import CentralLink
from vedette.errors import BadSignature, ConfigError, EvidenceError, NotAllowed
from vedette.trust.evidence import changes, read_signature
from vedette.trust.keys import PublicKey
from vedette.wire.evidence import (
    BLURRED,
    CLIP,
    MAX_SIGNATURE_BYTES,
    BlobFile,
    Statement,
    signature_of,
)

MAX_LIST_BYTES: Final = 1024 * 1024
_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Keys:
    """Public keys that somebody vouches for.

    Attributes:
        source: Who does, in words.
        denial: What is said of a key that is none of them.
        of: Returns the keys of the device of a statement: key or key id to what is known of it.
        must_sign: A package without a signature is refused, and not only told.
    """

    source: str
    denial: str
    of: Callable[[Statement], Mapping[str, str]]
    must_sign: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """The verdict on the signature of one form of a package.

    Attributes:
        statement: What was signed; None where nothing was, or it does not hold.
        whose: What is known of the key; empty where nobody was asked.
    """

    form: str
    statement: Statement | None = None
    keyid: str = ""
    whose: str = ""
    problems: tuple[str, ...] = ()
    proven: tuple[str, ...] = field(default=())
    unproven: tuple[str, ...] = field(default=())


def origins(path: Path, said: Facts, keys: Keys | None) -> list[Origin]:
    """Return the verdict on each form that is there."""
    forms = [(CLIP, facts.CLIP), (BLURRED, facts.BLURRED_CLIP)]
    return [_origin(path, said, form, keys) for form, main in forms if (path / main).exists()]


def _origin(path: Path, said: Facts, form: str, keys: Keys | None) -> Origin:
    name = signature_of(form)
    if not (path / name).exists():
        wrong = (f"it is not signed ({name} is missing)",) if keys and keys.must_sign else ()
        return Origin(form, problems=wrong, unproven=(f"who made it: there is no {name}",))
    try:
        proof = read_signature(facts.read_limited(path / name, MAX_SIGNATURE_BYTES))
        problems = changes(proof.statement, dict(_there(path, said, form)))
        known = keys.of(proof.statement) if keys else {}
    except (BadSignature, NotAllowed, EvidenceError) as problem:
        return Origin(form, problems=(f"{name}: {problem}",))
    statement, key = proof.statement, proof.key
    named = (said.record.evidence, said.event.event, said.event.camera)
    if (statement.evidence, statement.event, statement.camera) != named:
        problems.append(f"{name} is of {statement.evidence[:64]!r}")
    whose = known.get(key.text) or known.get(key.keyid) or ""
    if keys is not None and not whose:
        problems.append(f"signed by key {key.keyid}, which {keys.denial}")
    if problems:
        return Origin(form, statement, key.keyid, whose, tuple(problems))
    proven, unproven = _words(statement, key, whose, keys)
    return Origin(form, statement, key.keyid, whose, (), proven, unproven)


def _there(path: Path, said: Facts, form: str) -> Iterator[tuple[str, BlobFile]]:
    """Give every file of a form that is there, with its length and hash."""
    if form == BLURRED:
        names = [facts.BLURRED_CLIP, facts.BLURRED_POSTER, facts.BLURRED_FACTS]
    else:
        names = [facts.CLIP, *(entry.file for entry in said.clips), facts.POSTER]
    for name in dict.fromkeys([*names, facts.FACTS]):
        if facts.is_plain_name(name) and (path / name).exists():
            size = (path / name).stat().st_size
            yield name, BlobFile(name=name, sha256=facts.digest(path / name), bytes=size)


def _words(
    statement: Statement, key: PublicKey, whose: str, keys: Keys | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a signature that holds proves, and what it does not."""
    device = statement.device or "a device of no central"
    at = from_wall_ms(statement.signed_ms).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    files = f"all {len(statement.files)} files are as they were signed at {at}"
    proven = [f"{files}, with key {key.keyid}"]
    unproven = ["what the camera saw: whoever stands before it decides that"]
    if keys is None:
        unproven.insert(0, f"that this is the key of {device}: give --central, --keys or --key")
    else:
        proven.append(f"{keys.source} knows that key: {whose}")
    if statement.clock != "trusted":
        unproven.insert(0, "the time: the device's clock was not confirmed when it signed")
    return tuple(proven), tuple(unproven)


# ------------------------------------------------------------------------------ where keys are from


def own_keys(state_dir: Path) -> Keys:
    """Return the keys that this device signed with, by its own record."""

    def of(_statement: Statement) -> Mapping[str, str]:
        texts = known_keys(state_dir)
        return dict.fromkeys(texts, "it is this device's")

    return Keys("this device", "this device never signed with", of, must_sign=False)


def given_keys(texts: list[str]) -> Keys:
    """Return keys that a person gave: public keys, or their ids.

    Raises:
        ConfigError: Neither.
    """
    for text in texts:
        is_id = len(text) == 32 and not text.strip("0123456789abcdef")
        if not is_id:
            _public(text)
    said = dict.fromkeys(texts, "it was given")
    return Keys("whoever asks", "is not the one that was given", lambda _statement: said)


def keys_in(path: Path) -> Keys:
    """Return the keys in a file: one a line, or the list that central's API gives.

    Raises:
        ConfigError: Not readable, or something else.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    listed, denial = _listed(raw), f"{path} does not list"
    if listed is None:
        words = [line.split("#")[0].strip() for line in raw.decode("utf-8", "replace").splitlines()]
        return Keys(str(path), denial, given_keys([word for word in words if word]).of)
    return Keys(str(path), denial, lambda _statement: listed)


def keys_of_central(url: str, token: str) -> Keys:
    """Return the keys that central knows for the device of a statement, former ones too.

    Raises:
        ConfigError: An address that a token may not be sent to.
    """
    check_link(CentralLink(url=url))

    def of(statement: Statement) -> Mapping[str, str]:
        if not statement.device:
            return {}
        there = f"{url.rstrip('/')}/v1/devices/{quote(statement.device, safe='')}/keys"
        return _asked(there, token)

    return Keys("central", "central does not know as the device's", of)


def _asked(there: str, token: str) -> Mapping[str, str]:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = urllib3.request(
            "GET", there, headers=headers, timeout=_TIMEOUT_S, retries=False, preload_content=False
        )
        raw = answer.read(MAX_LIST_BYTES)
    except urllib3.exceptions.HTTPError as error:
        raise ConfigError(f"central does not answer: {error}") from error
    if answer.status == 404:
        return {}
    listed = _listed(raw) if answer.status == 200 else None
    if listed is None:
        raise ConfigError(
            f"central answers {answer.status} to the question for a device's keys",
            operator_hint="give a token of somebody who may see that device's site",
        )
    return listed


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    state: str = ""
    retired_ms: int | None = None
    why: str = ""


class _List(msgspec.Struct, frozen=True, kw_only=True):
    keys: list[_Listed]


def _listed(raw: bytes) -> dict[str, str] | None:
    """Return the keys of the API's list with what it says of each; None where it is no such."""
    try:
        rows = msgspec.json.decode(raw, type=_List).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    said: dict[str, str] = {}
    for row in rows:
        words = {"speaks": "it speaks for the device", "next": "it is the device's next key"}
        text = words.get(row.state, "it was the device's")
        if row.state == "retired" and row.retired_ms is not None:
            day = from_wall_ms(row.retired_ms).astimezone(UTC).date().isoformat()
            text = f"it was the device's until {day} ({row.why or 'retired'})"
        said[_public(row.key).text] = text
    return said


def _public(text: str) -> PublicKey:
    try:
        return PublicKey.from_text(text)
    except BadSignature as error:
        raise ConfigError(
            f"{text[:50]!r} is no public key of a device",
            operator_hint="a key has 43 characters, its id 32 of 0-9 a-f",
        ) from error
