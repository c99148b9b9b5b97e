"""What people write about a channel, checked before it is kept.

The rule: whatever can be refused is refused here, with words that say what to write instead; the
rules of egress are asked here for early word, and again with every connection.
"""

from typing import Final

import msgspec

from vedette.central.alerting.channels import (
    apprise,
    bucket,
    discovery,
    egress,
    mail,
    mqtt,
    pinned,
    webhook,
)
from vedette.central.alerting.channels.egress import Rules
from vedette.central.alerting.channels.facts import (
    S3,
    Apprise,
    Mail,
    Mqtt,
    Secret,
    Settings,
    SharedSecret,
    Webhook,
    split_url,
)
from vedette.central.alerting.channels.signing import check, fresh
from vedette.errors import ConfigError
from vedette.ids import is_slug

MAX_PER_MINUTE: Final = 6000
MAX_AT_ONCE: Final = 16
MAX_PASSWORD_CHARS: Final = 500


class NewChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel as people write it; what is secret is never shown again.

    Attributes:
        secret: Of a webhook, `whsec_…`; empty: one is made and shown once. Of a bucket, the access
            key's secret part.
        password: Of a mail server or broker.
        url: Of a service that Apprise knows.
        key_id: Of a bucket, the access key's id.
    """

    settings: Settings
    secret: str = ""
    password: str = ""
    url: str = ""
    key_id: str = ""


def checked_name(name: str) -> str:
    """Return a name that a channel may have.

    Raises:
        ConfigError: It may not.
    """
    if not is_slug(name):
        raise ConfigError(
            f"{name[:64]!r} cannot name a channel",
            operator_hint="1 to 64 of a-z, 0-9, dot, underscore and dash, as ops-phones",
        )
    return name


def taken(wanted: NewChannel, before: Secret, now_ms: int) -> tuple[Settings, Secret]:
    """Return settings and secret as they are kept; secrets that are not given stay as they were.

    Raises:
        ConfigError: Something cannot be so; it says what and what to write instead.
    """
    settings = wanted.settings
    _check_rates(settings)
    match settings:
        case Webhook():
            return _webhook(settings, wanted, before, now_ms)
        case Mail():
            _check_mail(settings)
            password = _password(wanted.password or before.password)
            if settings.username and not password:
                raise ConfigError("a user name without a password", operator_hint="give both")
            return settings, Secret(password=password)
        case Mqtt():
            _check_mqtt(settings)
            return settings, Secret(password=_password(wanted.password or before.password))
        case Apprise():
            url = wanted.url or before.url
            service = apprise.service_of(url)
            return msgspec.structs.replace(settings, service=service), Secret(url=url)
        case S3():
            return bucket.checked(settings), bucket.keys(wanted.key_id, wanted.secret, before)


async def check_reach(rules: Rules, settings: Settings) -> None:
    """Return where central may connect to what these settings name; unknown names may come yet.

    Raises:
        ConfigError: It may not.
    """
    match settings:
        case Webhook(url=url):
            there, port = pinned.place_of(url)
            egress.check_port(rules, port, webhook.PORTS)
        case Mail(host=there, port=port):
            egress.check_port(rules, port, mail.PORTS)
        case Mqtt(host=there, port=port):
            egress.check_port(rules, port, mqtt.PORTS)
        case S3():
            there, port = pinned.place_of(bucket.base(settings))
            egress.check_port(rules, port, bucket.PORTS)
        case Apprise():
            return
    try:
        addresses = await egress.resolve(rules, there, port)
    except egress.Unresolved:
        return
    if not is_encrypted(settings):
        egress.check_inside(addresses)


def is_encrypted(settings: Settings) -> bool:
    """True where nobody on the way reads along."""
    match settings:
        case Webhook(url=url):
            return url.startswith("https://")
        case Mail(tls=tls):
            return tls != "none"
        case Mqtt(tls=tls):
            return tls
        case S3(endpoint=endpoint):
            return endpoint.startswith("https://")
        case Apprise():
            return True


def _webhook(
    settings: Webhook, wanted: NewChannel, before: Secret, now_ms: int
) -> tuple[Settings, Secret]:
    url, query = split_url(settings.url)
    kept = [one for one in before.shared if _is_of(one, settings.signs)]
    if wanted.secret:
        if settings.signs == "v1a":
            raise ConfigError("with v1a the key is made here", operator_hint="leave secret out")
        kept = [SharedSecret(secret=check(wanted.secret), made_ms=now_ms)]
    shared = kept or [SharedSecret(secret=fresh(settings.signs), made_ms=now_ms)]
    same_place = not query and bool(before.query)
    return (
        msgspec.structs.replace(settings, url=url),
        Secret(shared=shared, query=before.query if same_place else query),
    )


def _is_of(shared: SharedSecret, signs: str) -> bool:
    return shared.secret.startswith("whsk_") == (signs == "v1a")


def _check_rates(settings: Settings) -> None:
    if not 1 <= settings.per_minute <= MAX_PER_MINUTE or not 1 <= settings.at_once <= MAX_AT_ONCE:
        raise ConfigError(
            f"per_minute is 1 to {MAX_PER_MINUTE}, at_once 1 to {MAX_AT_ONCE}",
            operator_hint="leave them out where you do not mind",
        )


def _check_mail(settings: Mail) -> None:
    _check_host(settings.host)
    mail.check_address(settings.sender)
    for address in settings.to:
        mail.check_address(address)
    if len(settings.to) > mail.MAX_TO:
        raise ConfigError(f"at most {mail.MAX_TO} recipients", operator_hint="use a mailing list")
    if settings.tls == "none" and settings.username:
        raise ConfigError(
            "a password is not sent without TLS", operator_hint="tls: starttls, or no username"
        )


def _check_mqtt(settings: Mqtt) -> None:
    _check_host(settings.host)
    if not discovery.is_prefix(settings.prefix):
        raise ConfigError(
            "a prefix is letters, digits, _ and -, in up to six parts with / between",
            operator_hint="as vedette or plant/vedette",
        )
    if settings.discovery and not discovery.is_prefix(settings.discovery):
        raise ConfigError(
            "discovery is Home Assistant's prefix", operator_hint="usually homeassistant"
        )


def _check_host(host: str) -> None:
    if not host or len(host) > 253 or not host.isascii() or set(host) & set(" /@?#\\\0\r\n"):
        raise ConfigError(f"{host[:60]!r} is no host", operator_hint="a name or an address")


def _password(text: str) -> str:
    if len(text) > MAX_PASSWORD_CHARS or not text.isprintable():
        raise ConfigError(f"a password has at most {MAX_PASSWORD_CHARS} printable characters")
    return text
