"""Taking secrets out of text that leaves the site.

Two nets, one behind the other. What is known to be secret here (passwords in addresses, tokens and
keys in files) is taken out wherever it stands and however it is written; then whatever has the
shape of a secret is, known or not. The rule: too much is taken out rather than too little.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from vedette.edge.settings import EdgeConfig
from vedette.logs import redact_text, redact_url

GONE: Final = "…"
LEAST_CHARS: Final = 4
"""Shorter passwords are found by where they stand alone: else every `1` in a log would go."""

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s\"'<>\\]+")
_PIPELINE: Final = re.compile(r"gst:[^\n]*")
_HEADER: Final = re.compile(
    r"(?i)((?:proxy-)?authorization|(?:set-)?cookie|x-csrf-token)(\"?\s*[:=]\s*).*"
)
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic|digest)\s+[^\s\"',]{6,}[^\n\"]*")
_NAMED: Final = re.compile(
    r"""(?ix) (["']?) \b (\w*(?:passw(?:or)?d|passphrase|secret|token|api_?key|private_?key|pwd)\w*)
        \1 (\s*[:=]\s*) ("(?:[^"\\]|\\.)*" | '[^']*' | [^\s,;&}]+)"""
)
_OPAQUE: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{40,}(?![A-Za-z0-9_-])")
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_IN_PIPELINE: Final = re.compile(
    r"""(?i)\b(?:user-pw|user-id|passw(?:or)?d|token)\s*=\s*("[^"]*"|'[^']*'|\S+)"""
)


class Redactor:
    """Takes out what is secret on this device. Thread: any; nothing changes after the start."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._known: Final = sorted(forms, key=len, reverse=True)

    @staticmethod
    def of(config: EdgeConfig) -> "Redactor":
        """Return one that knows the secrets of a configuration and of the files beside it."""
        addresses = [config.central.url] if config.central else []
        for camera in config.cameras:
            addresses += [camera.source, camera.evidence_source]
        return Redactor([*_in_addresses(addresses), *_in_files(config)])

    def text(self, text: str) -> str:
        """Return text without secrets; lines stay lines, and nothing in them steers a terminal."""
        text = _KEY_BLOCK.sub(GONE, text)
        for secret in self._known:
            text = text.replace(secret, GONE)
        text = _ADDRESS.sub(lambda found: redact_url(found[0]), text)
        text = redact_text(text)
        text = _PIPELINE.sub(lambda found: redact_url(found[0]), text)
        text = _HEADER.sub(rf"\1\2{GONE}", text)
        text = _SCHEME.sub(rf"\1 {GONE}", text)
        text = _NAMED.sub(rf"\1\2\1\3{GONE}", text)
        text = _OPAQUE.sub(GONE, text)
        return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)

    def tree(self, value: object, name: str = "") -> object:
        """Return plain data with every text in it, keys too, redacted; addresses by their place."""
        if isinstance(value, str):
            return self.text(redact_url(value) if name in {"source", "evidence_source"} else value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.tree(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(item, name) for item in value]
        return value


def _in_addresses(addresses: Iterable[str]) -> Iterable[str]:
    """Give every user and password, and every value of a query, that an address may hold."""
    for address in filter(None, addresses):
        for found in _IN_PIPELINE.findall(address):
            yield found.strip("\"'")
        _, mark, rest = address.partition("://")
        login, at, _ = rest.rpartition("@")
        if mark and at:
            user, _, password = login.partition(":")
            yield login
            yield password
            yield b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        try:
            yield from (value for _, value in parse_qsl(urlsplit(address).query))
        except ValueError:
            yield rest


def _in_files(config: EdgeConfig) -> Iterable[str]:
    """Give the tokens and keys that lie in files of this device."""
    paths = [config.state_dir / "local-api.token", *(config.state_dir / "identity").glob("*.key")]
    if config.local_api.token_file:
        paths.append(config.local_api.token_file)
    for path in paths:
        yield _small_text(path)


def _small_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _forms(secret: str) -> set[str]:
    """Return a secret as it may be written: plain, in an address, in JSON."""
    plain = unquote(secret)
    forms = {secret, plain, quote(plain), quote(plain, safe="")}
    forms |= {json.dumps(form)[1:-1] for form in (secret, plain)}
    return {form for form in forms if len(form) >= LEAST_CHARS}
