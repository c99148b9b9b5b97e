"""What is said to a camera's ONVIF device service, and what its answers mean. Pure.

The rules: a document with a DTD or an entity is refused before anything in it is believed; depth,
elements and texts have limits; the password never stands in a request, only its digest.

Source: ONVIF Core Specification (8.1 GetDeviceInformation, GetSystemDateAndTime); OASIS Web
Services Security UsernameToken Profile 1.0 (3.1: Base64(SHA-1(nonce + created + password))).
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Final, NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape

from vedette.edge.identity import Identity
from vedette.errors import CaptureError

MAX_BYTES: Final = 64 * 1024
_MAX_DEPTH: Final = 24
_MAX_ELEMENTS: Final = 1_000
_MAX_TEXT: Final = 120

_ENVELOPE: Final = "http://www.w3.org/2003/05/soap-envelope"
_DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
_WSS: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_DIGEST: Final = f"{_WSS}-username-token-profile-1.0#PasswordDigest"
_BASE64: Final = f"{_WSS}-soap-message-security-1.0#Base64Binary"
_CLOCK: Final = ("Year", "Month", "Day", "Hour", "Minute", "Second")


class NotOnvif(CaptureError):
    """What answered is no ONVIF device service, or will not say."""


def action(question: str) -> str:
    """Return the SOAP action of a question."""
    return f"{_DEVICE}/{question}"


def request(question: str, security: str = "") -> bytes:
    """Return the envelope of a question without arguments."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="{_ENVELOPE}">'
        f"<s:Header>{security}</s:Header>"
        f'<s:Body><{question} xmlns="{_DEVICE}"/></s:Body></s:Envelope>'
    ).encode()


def username_token(login: tuple[str, str], nonce: bytes, at: datetime) -> str:
    """Return the security header for a user; `at` is the time by the camera's own clock."""
    created = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    mixed = hashlib.sha1(nonce + created.encode() + login[1].encode(), usedforsecurity=False)
    digest = base64.b64encode(mixed.digest()).decode()
    return (
        f'<Security s:mustUnderstand="1" xmlns="{_WSS}-wssecurity-secext-1.0.xsd"><UsernameToken>'
        f"<Username>{escape(login[0])}</Username>"
        f'<Password Type="{_DIGEST}">{digest}</Password>'
        f'<Nonce EncodingType="{_BASE64}">{base64.b64encode(nonce).decode()}</Nonce>'
        f'<Created xmlns="{_WSS}-wssecurity-utility-1.0.xsd">{created}</Created>'
        "</UsernameToken></Security>"
    )


def read_time(body: bytes) -> datetime | None:
    """Return the camera's time; None where it is an ONVIF service that does not tell.

    Raises:
        NotOnvif: Not the answer of one.
    """
    found = _read(body)
    if "Fault" in found:
        return None
    if "GetSystemDateAndTimeResponse" not in found:
        raise NotOnvif("it speaks XML, but not ONVIF")
    try:
        parts = [int(found[f"UTCDateTime/{name}"]) for name in _CLOCK]
        return datetime(*parts[:6], tzinfo=UTC)
    except (KeyError, ValueError, OverflowError):
        return None


def read_identity(body: bytes) -> Identity:
    """Return what the camera says that it is.

    Raises:
        NotOnvif: It refuses, or says something else.
    """
    found = _read(body)
    if "Fault" in found:
        raise NotOnvif("it refuses to say", operator_hint="check the camera's ONVIF users")
    if "GetDeviceInformationResponse" not in found:
        raise NotOnvif("it speaks XML, but not ONVIF")
    return Identity(
        make=found.get("Manufacturer", ""),
        model=found.get("Model", ""),
        firmware=found.get("FirmwareVersion", ""),
        serial=found.get("SerialNumber", ""),
    )


class _Reader:
    """Collects the text of elements by local name, those of the time below `UTCDateTime/`."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._path: list[str] = []
        self._elements = 0
        self._text = ""

    def start(self, name: str, _attributes: object) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS or len(self._path) >= _MAX_DEPTH:
            raise NotOnvif("its answer has no end")
        local = name.rpartition(":")[2]
        self._path.append(local)
        self._text = ""
        if local == "Fault" or local.endswith("Response"):
            self.found.setdefault(local, "")

    def end(self, _name: str) -> None:
        local = self._path.pop()
        key = f"UTCDateTime/{local}" if "UTCDateTime" in self._path else local
        plain = "".join(char for char in self._text if char.isprintable()).strip()
        if plain:
            self.found.setdefault(key, plain)
        self._text = ""

    def text(self, text: str) -> None:
        self._text = (self._text + text)[:_MAX_TEXT]


def _forbidden(*_: object) -> NoReturn:
    raise NotOnvif("its answer holds a DTD or an entity")


def _read(body: bytes) -> dict[str, str]:
    """Return the texts in an answer by local name.

    Raises:
        NotOnvif: Too long, not XML, with a DTD, or without end.
    """
    if len(body) > MAX_BYTES:
        raise NotOnvif("its answer is too long")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _forbidden
    parser.EntityDeclHandler = _forbidden
    parser.ExternalEntityRefHandler = _forbidden
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise NotOnvif("what it answers is no XML") from error
    return reader.found
