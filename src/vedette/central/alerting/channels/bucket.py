"""One bucket: what may be written about it, and objects put, looked at, removed.

What lives here: addresses, requests, and what a server's refusal means. What does not: which
objects (`s3`), signatures (`sigv4`). The rule: a refusal is told in words that say what to change;
whatever a person can put right at the server is tried again, so that nothing is lost meanwhile.

obstore, the usual client, resolves names by itself and follows redirects; `egress` wants each
connection at an address that was looked at. Three requests are all that is needed.

Source: Amazon S3 API reference: PutObject, HeadObject, DeleteObject, "Error responses".
"""

import base64
import re
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from vedette.central.alerting.channels import pinned, sigv4
from vedette.central.alerting.channels.facts import (
    MAX_URL_CHARS,
    S3,
    Channel,
    End,
    Outcome,
    Secret,
    told,
)
from vedette.central.alerting.channels.pinned import Answer, Ask, Way
from vedette.central.alerting.channels.sigv4 import EMPTY, Key
from vedette.central.alerting.channels.webhook import retry_after_s
from vedette.errors import ConfigError, VedetteError

PORTS: Final = (443, 8443, 9000, 80)
"""9000 is what servers of one's own mostly listen on."""

MAX_KEY_BYTES: Final = 1024
MAX_SECRET_CHARS: Final = 200
HASH: Final = "x-amz-meta-sha256"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PREFIX: Final = re.compile(r"[A-Za-z0-9_=.-]{1,100}(?:/[A-Za-z0-9_=.-]{1,100}){0,7}")
_KEY_ID: Final = re.compile(r"[!-~]{1,128}")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_THERE: Final = re.compile(rb"<Region>([a-z0-9-]{1,64})</Region>")
_SAID: Final = {
    "NoSuchBucket": "there is no bucket {bucket} at this server",
    "InvalidAccessKeyId": "the server does not know this access key",
    "SignatureDoesNotMatch": "the secret of the access key is wrong, or a proxy changes requests",
    "AccessDenied": "the access key may not {do} bucket {bucket}: it needs {right}",
    "AllAccessDisabled": "the bucket is switched off at the server",
    "AccountProblem": "the server has a problem with the account",
    "ExpiredToken": "the access key is not good any more",
    "RequestTimeTooSkewed": "central's clock and the server's differ by too much",
    "PermanentRedirect": "bucket {bucket} is in another region{region}",
    "TemporaryRedirect": "bucket {bucket} is in another region{region}",
    "AuthorizationHeaderMalformed": "bucket {bucket} is in another region{region}",
    "IllegalLocationConstraintException": "bucket {bucket} is in another region{region}",
    "QuotaExceeded": "the bucket is full: its quota is reached",
    "XMinioStorageFull": "the server's disk is full",
    "SlowDown": "the server asks for less at once",
}
_NEVER: Final = frozenset(
    {
        "BadDigest",
        "EntityTooLarge",
        "InvalidDigest",
        "KeyTooLongError",
        "XAmzContentSHA256Mismatch",
    }
)
_RIGHTS: Final = {
    "PUT": ("write to", "s3:PutObject"),
    "DELETE": ("remove from", "s3:DeleteObject"),
}


class NotTaken(VedetteError):
    """The server, or what was to be put, stood in the way; `outcome` says how."""

    def __init__(self, outcome: Outcome) -> None:
        """Have it said."""
        super().__init__(outcome.said)
        self.outcome: Final = outcome


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """What an object is to be.

    Attributes:
        body: Bytes, or what gives them anew for each connection that is tried.
    """

    key: str
    sha256: str
    size_bytes: int
    media: str
    body: bytes | Callable[[], AsyncIterator[bytes]]


def checked(settings: S3) -> S3:
    """Return settings of a bucket as they are kept.

    Raises:
        ConfigError: Something cannot be so.
    """
    endpoint = settings.endpoint.rstrip("/")
    hint = "as https://s3.eu-central-1.amazonaws.com or https://minio.example:9000"
    printable = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError as error:
        raise ConfigError("this is no address of a server", operator_hint=hint) from error
    if (
        parts.scheme not in {"https", "http"}
        or not parts.hostname
        or not printable
        or len(endpoint) > MAX_URL_CHARS
        or "@" in parts.netloc
        or parts.path + parts.query + parts.fragment
    ):
        raise ConfigError(
            "a server's address is https://, a host and perhaps a port", operator_hint=hint
        )
    if not _BUCKET.fullmatch(settings.bucket) or ".." in settings.bucket:
        raise ConfigError(
            f"{settings.bucket[:64]!r} cannot name a bucket",
            operator_hint="3 to 63 of a-z, 0-9, dot and dash",
        )
    if not _REGION.fullmatch(settings.region):
        raise ConfigError(f"{settings.region[:64]!r} is no region", operator_hint="as eu-central-1")
    prefix = settings.prefix.strip("/")
    if prefix and (
        not _PREFIX.fullmatch(prefix) or any(part in {".", ".."} for part in prefix.split("/"))
    ):
        raise ConfigError(
            "a prefix is letters, digits, _ = . and -, in up to eight parts with / between",
            operator_hint="as vedette or archive/vedette",
        )
    return msgspec.structs.replace(settings, endpoint=endpoint, prefix=prefix)


def keys(key_id: str, secret: str, before: Secret) -> Secret:
    """Return the access key as it is kept: a new one, or the one before.

    Raises:
        ConfigError: Half of one, or none.
    """
    if bool(key_id) != bool(secret):
        raise ConfigError(
            "an access key is two parts: its id and its secret", operator_hint="give both"
        )
    if not key_id:
        if before.key_id and before.password:
            return Secret(key_id=before.key_id, password=before.password)
        raise ConfigError(
            "a bucket needs an access key", operator_hint="give its id and its secret"
        )
    if not _KEY_ID.fullmatch(key_id) or "/" in key_id or "," in key_id:
        raise ConfigError("this is no id of an access key", operator_hint="as AKIA…")
    if len(secret) > MAX_SECRET_CHARS or not secret.isascii() or not secret.isprintable():
        raise ConfigError(f"a secret has at most {MAX_SECRET_CHARS} printable characters")
    return Secret(key_id=key_id, password=secret)


def base(settings: S3) -> str:
    """Return the address that keys are appended to, without `/` at its end."""
    if settings.path_style:
        return f"{settings.endpoint}/{settings.bucket}"
    scheme, _, place = settings.endpoint.partition("://")
    return f"{scheme}://{settings.bucket}.{place}"


class Bucket:
    """A bucket as one channel reaches it. Thread: the event loop's."""

    def __init__(self, way: Way, channel: Channel, now_ms: int) -> None:
        """Prepare; each request is a connection of its own."""
        settings = channel.settings
        assert isinstance(settings, S3)
        self._settings: Final = settings
        self._way: Final = way
        self._now_ms: Final = now_ms
        self._key: Final = Key(
            key_id=channel.secret.key_id, secret=channel.secret.password, region=settings.region
        )

    async def put(self, thing: Thing) -> None:
        """Have an object, whole; where the server cannot have it whole it has none.

        Raises:
            NotTaken: It has not; or what was to be put is not what it was said to be.
        """
        digest = base64.b64encode(bytes.fromhex(thing.sha256)).decode()
        headers = {
            "content-type": thing.media,
            "x-amz-checksum-sha256": digest,
            HASH: thing.sha256,
        }
        answer = await self._ask("PUT", thing.key, headers, thing)
        if not 200 <= answer.status < 300:
            raise NotTaken(self._refused("PUT", answer))

    async def has(self, thing: Thing) -> bool:
        """True where the object is there already as it is to be; False too where nobody says.

        Raises:
            NotTaken: There is no answer.
        """
        answer = await self._ask("HEAD", thing.key, {})
        return (
            answer.status == 200
            and answer.headers.get(HASH) == thing.sha256
            and answer.headers.get("content-length") == str(thing.size_bytes)
        )

    async def remove(self, key: str) -> None:
        """Have no such object.

        Raises:
            NotTaken: It cannot be removed.
        """
        answer = await self._ask("DELETE", key, {})
        if not 200 <= answer.status < 300:
            raise NotTaken(self._refused("DELETE", answer))

    async def _ask(
        self, method: str, key: str, given: dict[str, str], thing: Thing | None = None
    ) -> Answer:
        if len(key.encode()) > MAX_KEY_BYTES:
            raise NotTaken(Outcome(end=End.REFUSED, said="the object's key would be too long"))
        url = f"{base(self._settings)}/{sigv4.path_of(key)}"
        named = {**given, "host": pinned.host_header(url)}
        sha256 = thing.sha256 if thing else EMPTY
        path = urlsplit(url).path
        headers = sigv4.headers(method, path, named, sha256, self._key, self._now_ms)
        if thing:
            headers["content-length"] = str(thing.size_bytes)
        asked = Ask(method=method, url=url, headers=headers, body=thing.body if thing else b"")
        try:
            return await pinned.ask(self._way, asked)
        except pinned.NoAnswer as error:
            said = told(str(error))
            raise NotTaken(Outcome(end=End.AGAIN, said=said, is_channels=True)) from error

    def _refused(self, method: str, answer: Answer) -> Outcome:
        """Return what a refusal means, in words that say what to change."""
        found = _CODE.search(answer.body)
        code = found[1].decode() if found else ""
        do, right = _RIGHTS[method]
        there = _THERE.search(answer.body)
        region = there[1].decode() if there else answer.headers.get("x-amz-bucket-region", "")
        words = _SAID.get(code, "").format(
            bucket=self._settings.bucket,
            do=do,
            right=right,
            region=f": {region[:64]}" if region else "",
        )
        if not words and 300 <= answer.status < 400:
            words = "another server would answer; redirects are not followed"
        answered = f"answered {answer.status}{f' {code}' if code else ''}"
        said = told(f"{words} ({answered})" if words else answered)
        if code in _NEVER:
            return Outcome(end=End.REFUSED, said=said)
        after_s = retry_after_s(answer.headers.get("retry-after", ""), self._now_ms)
        return Outcome(end=End.AGAIN, said=said, after_s=after_s, is_channels=True)
