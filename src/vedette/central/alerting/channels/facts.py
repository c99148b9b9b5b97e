"""The words of channels: their settings, their secrets, a delivery, what a try came to. Pure.

What lives here: structs, and the checks of what people write. What does not: sending, tables. The
rule: settings hold nothing secret; secrets are a struct of their own that is only ever kept sealed.
"""

import enum
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from vedette.central.alerting.facts import NoticeKind
from vedette.errors import ConfigError

NOW: Final = "deliveries:now"
"""The bulletin's topic that wakes the dispatcher."""

CHANGED: Final = "deliveries"
"""The bulletin's topic of pages: something was sent, or was not."""

PAGES: Final = frozenset(
    {
        NoticeKind.OPENED,
        NoticeKind.REPEATED,
        NoticeKind.ESCALATED,
        NoticeKind.ACK_EXPIRED,
        NoticeKind.GREW,
    }
)
"""What asks somebody to do something now: pointless once the incident is over."""

CLOUD_EVENT: Final = "application/cloudevents+json"
PACKAGE: Final = "application/vnd.vedette.package+json"
"""Media types of what is exported: one thing, and one thing with the files of its clip."""

NO_NOTICES: Final = "a bucket carries exports, no notices"
MAX_SAID_CHARS: Final = 300
MAX_URL_CHARS: Final = 2000


class Kind(enum.StrEnum):
    """How a channel carries what it is given."""

    WEBHOOK = "webhook"
    MAIL = "mail"
    MQTT = "mqtt"
    APPRISE = "apprise"
    S3 = "s3"


# ------------------------------------------------------------------------------- settings


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="webhook"):
    """A program that takes signed POSTs by the Standard Webhooks specification.

    Attributes:
        url: Without its query, which is kept as a secret.
        signs: `v1` HMAC-SHA256 with a shared secret, `v1a` Ed25519 with a key of central's.
    """

    url: str
    signs: Literal["v1", "v1a"] = "v1"
    per_minute: int = 120
    at_once: int = 4


class Mail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mail"):
    """An SMTP server that takes messages from us.

    Attributes:
        tls: `starttls` and `tls` are required to hold; `none` only inside the network.
        sender: The address in `From`.
        to: Recipients where a delivery names none.
        username: Empty: no sign-in; the password is a secret.
        pictures: Messages carry the picture of an event where the site's policy lets it leave.
    """

    host: str
    port: int = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    sender: str
    to: list[str] = []
    username: str = ""
    pictures: bool = True
    per_minute: int = 60
    at_once: int = 2


class Mqtt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mqtt"):
    """A broker; notices as messages, incidents as retained state.

    Attributes:
        prefix: Of every topic.
        discovery: Home Assistant's prefix (`homeassistant`); empty: none is told.
    """

    host: str
    port: int = 8883
    tls: bool = True
    username: str = ""
    prefix: str = "vedette"
    discovery: str = ""
    per_minute: int = 600
    at_once: int = 4


class Apprise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="apprise"):
    """A service that Apprise knows. Its URL is a secret; `service` is the URL's scheme.

    Attributes:
        pictures: As of mail.
    """

    service: str = ""
    pictures: bool = True
    per_minute: int = 30
    at_once: int = 1


class S3(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="s3"):
    """A bucket of a server that speaks S3; exports only. The access key is a secret, both parts.

    Attributes:
        endpoint: Of the server, without the bucket: `https://s3.eu-central-1.amazonaws.com`.
        region: As the server calls it; servers of your own mostly take any.
        prefix: Of every key, without `/` at its ends.
        path_style: The bucket in the path; otherwise in the host's name.
    """

    endpoint: str
    region: str = "us-east-1"
    bucket: str
    prefix: str = ""
    path_style: bool = True
    per_minute: int = 120
    at_once: int = 2


Settings = Webhook | Mail | Mqtt | Apprise | S3


class SharedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook's secret; after another took its place it still signs until `until_ms`."""

    secret: str
    made_ms: int
    until_ms: int | None = None


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody may read: sealed in the database, opened where it is used."""

    shared: list[SharedSecret] = []  # newest first
    query: str = ""  # of a webhook's address
    password: str = ""
    url: str = ""  # Apprise's
    key_id: str = ""  # of a bucket's access key; its secret part is `password`


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel with what it needs to send."""

    channel: str
    settings: Settings
    secret: Secret = Secret()
    version: int = 1

    @property
    def kind(self) -> Kind:
        """How it carries."""
        return kind_of(self.settings)


def kind_of(settings: Settings) -> Kind:
    """Return the kind of channel that these settings are of."""
    match settings:
        case Webhook():
            return Kind.WEBHOOK
        case Mail():
            return Kind.MAIL
        case Mqtt():
            return Kind.MQTT
        case Apprise():
            return Kind.APPRISE
        case S3():
            return Kind.S3


def carries(kind: Kind, media: str) -> bool:
    """True where a channel of this kind carries a body of this type; empty: a notice."""
    if not media:
        return kind is not Kind.S3
    if kind in {Kind.MAIL, Kind.APPRISE}:
        return False
    if kind is Kind.S3:
        return media in {CLOUD_EVENT, PACKAGE}
    return media != PACKAGE


def require_carries(channel: str, kind: Kind, media: str) -> None:
    """Return where a channel carries a body of this type.

    Raises:
        ConfigError: It does not; the hint says which do.
    """
    if carries(kind, media):
        return
    others = ", ".join(sorted(str(one) for one in Kind if carries(one, media)))
    why = NO_NOTICES if not media else "it carries notices only"
    if media and kind not in {Kind.MAIL, Kind.APPRISE}:
        why = f"it does not carry {media[:80]}"
    raise ConfigError(
        f"channel {channel} is of kind {kind}: {why}",
        operator_hint=f"take a channel of kind {others}" if others else "leave it out",
    )


# ------------------------------------------------------------------------------ deliveries


class State(enum.StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery while a worker has it.

    Attributes:
        delivery: Its id, the same at each try: `webhook-id`, and part of `Message-ID`.
        media: Empty: `body` is a Notice; otherwise the media type of `body`, sent as it is.
        tries: This one counted; `replayed` of them before a person sent it again.
        incident_state: Of its incident now; empty: no incident of central's.
        picture: A JPEG that goes with it; in no row, found when it is sent.
    """

    delivery: str
    key: str
    channel: str
    address: str
    person: str
    incident: str
    kind: str
    media: str
    subject: str
    body: bytes
    tries: int
    made_ms: int
    asked_ms: int
    until_ms: int
    leased_ms: int
    lease: str
    replayed: int = 0
    incident_state: str = ""
    picture: bytes = b""


class End(enum.StrEnum):
    """What a try came to."""

    SENT = "sent"
    AGAIN = "again"  # not now; later it may work
    REFUSED = "refused"  # this delivery never will
    GONE = "gone"  # nothing will: the receiver asks not to be told any more


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a try came to.

    Attributes:
        said: In words, without any secret; at most `MAX_SAID_CHARS`.
        after_s: The receiver asks not to be tried before.
        is_channels: The channel itself did not work, not only this delivery.
    """

    end: End
    said: str
    after_s: float | None = None
    is_channels: bool = False


class Sender(Protocol):
    """Carries deliveries on a channel of one kind."""

    async def send(self, channel: Channel, delivery: Delivery, now_ms: int) -> Outcome:
        """Return what the try came to; what was expected to go wrong is no exception."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def told(text: str) -> str:
    """Return text that a receiver wrote as one line of printable characters, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return line if len(line) <= MAX_SAID_CHARS else line[: MAX_SAID_CHARS - 1] + "…"


# ---------------------------------------------------------------------------------- checks


def split_url(url: str) -> tuple[str, str]:
    """Return a webhook's address without its query, and the query.

    Raises:
        ConfigError: It is no http(s) address, or holds a password or a fragment.
    """
    hint = "as https://receiver.example/hooks/vedette"
    if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("this is no address of a webhook", operator_hint=hint)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError("this is no address of a webhook", operator_hint=hint) from error
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ConfigError("a webhook's address begins with https://", operator_hint=hint)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigError("a webhook's address has no password and no #", operator_hint=hint)
    return parts._replace(query="").geturl(), parts.query
