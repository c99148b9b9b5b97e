"""What an operator may ask of a device from afar, and the shape of each answer.

    POST /v1/answer/{request}            the answer, in the content type of its kind
    POST /v1/answer/{request}            `application/problem+json`: why there is none
    POST /v1/speed, GET /v1/speed        bodies that mean nothing, only while `network` is asked

A device answers kinds that it knows and its site's policy allows (`SitePolicy.diagnostics`); none
of them holds pixels. The rule: secrets are taken out on the device, before anything is sent, and
every answer has a bound that both sides hold it to.
"""

from typing import Final

import msgspec

LOG: Final = "log"
CONFIG: Final = "config"
NETWORK: Final = "network"
DOCTOR: Final = "doctor"
THUMBNAIL: Final = "thumbnail"
"""Has pixels: `SitePolicy.pixels` decides, and its way is `POST /v1/thumbnail/{request}`."""

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

DEFAULT_LINES: Final = 500
MAX_LINES: Final = 5_000
MAX_REFUSAL_BYTES: Final = 4_096
MAX_SPEED_BYTES: Final = 8 * 1024 * 1024
"""Up and down together, in one test."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind is answered."""

    content_type: str
    max_bytes: int


FORMS: Final[dict[str, Form]] = {
    LOG: Form(content_type=TEXT, max_bytes=256 * 1024),
    CONFIG: Form(content_type=JSON, max_bytes=256 * 1024),
    NETWORK: Form(content_type=JSON, max_bytes=64 * 1024),
    DOCTOR: Form(content_type=JSON, max_bytes=64 * 1024),
}
"""Every kind without pixels."""

MAX_ANSWER_BYTES: Final = max(form.max_bytes for form in FORMS.values())


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a device gives no answer, as an RFC 9457 problem."""

    title: str
    detail: str = ""


# ------------------------------------------------------------------------------- configuration


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A signed document that is in force, without what it says.

    Attributes:
        signer: Whose key: `site` or `central`.
        keyids: The keys that signed it.
    """

    name: str
    signer: str
    version: int
    issued_ms: int
    keyids: list[str]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided one part of the configuration: `site`, `central` or `enrolment`."""

    part: str
    signer: str


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in effect, without secrets.

    Attributes:
        config: As in `edge.yaml`; addresses without user, password and query.
        origins: Parts that somebody else than the local file decided; all others are its own.
    """

    config: dict[str, object]
    documents: list[Document]
    origins: list[Origin]
    problems: list[str] = []


# -------------------------------------------------------------------------------------- network


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One address of central, tried; a time is None where that step did not work."""

    address: str
    connect_ms: float | None = None
    tls_ms: float | None = None
    tls_version: str = ""
    certificate_until: str = ""
    mtu_bytes: int | None = None
    kernel_rtt_ms: float | None = None
    retransmits: int | None = None
    trouble: str = ""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One router on the way; an empty address did not answer."""

    ttl: int
    address: str
    ms: float | None = None


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One direction; `mbit_s` None where it was not measured, and `trouble` says why."""

    sent_bytes: int = 0
    seconds: float | None = None
    mbit_s: float | None = None
    trouble: str = ""


class NetworkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The way from this device to central, step by step.

    Attributes:
        dns_ms: None where the name was not resolved.
        round_trips_ms: Of requests over one open connection.
        cap_kbit_s: What `uplink.windows` allow at this time; the test's size keeps to it.
        hops: Empty where this machine lets nobody ask without being root.
    """

    host: str
    port: int
    dns_ms: float | None = None
    dns_trouble: str = ""
    addresses: list[Address] = []
    round_trips_ms: list[float] = []
    http_trouble: str = ""
    up: Speed = Speed()
    down: Speed = Speed()
    cap_kbit_s: float = 0.0
    hops: list[Hop] = []
    hops_trouble: str = ""


# --------------------------------------------------------------------------------------- doctor


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the doctor looked at; `verdict` is ok, unknown, warning or failed."""

    about: str
    check: str
    verdict: str
    detail: str = ""
    advice: str = ""


class DoctorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `vedette edge doctor` finds, without running models."""

    verdict: str
    findings: list[DoctorFinding]


SHAPES: Final[dict[str, type[msgspec.Struct]]] = {
    CONFIG: ConfigAnswer,
    NETWORK: NetworkAnswer,
    DOCTOR: DoctorAnswer,
}
"""What a JSON answer must be."""
