"""HTTP to central: one keep-alive connection, one method per address, every failure translated.

TLS is always verified; plain HTTP only to this machine itself or where the configuration allows
it. Redirects are not followed: an address that moves is a change for a person to make. Nothing is
retried here except once after a token ran out; when to try again is `edge.uplink`'s decision.
"""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from weakref import WeakKeyDictionary

import msgspec
import urllib3

from vedette import __version__
from vedette.clock import NS_PER_MS, NS_PER_S, Clock, wall_ms
from vedette.edge.enrolment import Identity
from vedette.edge.keyring import Keyring
from vedette.edge.network import Segments, segments
from vedette.edge.settings import CentralLink
from vedette.errors import CentralUnreachable, ConfigError, NotAllowed, ReportRejected, WireError
from vedette.stats.sketch import ExpHistogram
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE, make_assertion
from vedette.trust.keys import PublicKey, SigningKey, to_text
from vedette.trust.tuf.refusals import NotThere
from vedette.wire import codec
from vedette.wire.diagnostics import PROBLEM, Refusal
from vedette.wire.enrol import (
    Desired,
    EnrolAnswer,
    EnrolRequest,
    Nonce,
    RotateAnswer,
    RotateRequest,
    TimeRequest,
    TokenAnswer,
)
from vedette.wire.envelope import Batch, UpAnswer
from vedette.wire.evidence import Offer, Standing, Taken, content_range
from vedette.wire.messages import NetworkHealth
from vedette.wire.signed import Signed

T = TypeVar("T")

CONNECT_S: Final = 5.0
READ_S: Final = 20.0
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
TELLING_BYTES: Final = 64 * 1024
"""A body of this size takes long enough for its time to say something about the line."""

RENEW_BEFORE_S: Final = 60.0
_PIECE_BYTES: Final = 64 * 1024
_REFUSED: Final = {400, 409, 410, 413, 415, 422}


class CentralBusy(CentralUnreachable):
    """Central asks to come back later.

    Attributes:
        retry_after_s: How much later, at least.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, operator_hint="wait; central is shedding load or restarting")
        self.retry_after_s = retry_after_s


class _Refusal(msgspec.Struct, frozen=True):
    """How central says no."""

    error: str
    hint: str = ""


class _TokenRefused(Exception):
    """401: the access token is not good any more."""


class Meter:
    """What the way to central was like since the last report. Thread: any."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._counted: WeakKeyDictionary[socket.socket, Segments] = WeakKeyDictionary()
        self._clear()
        self._offset_ms: float | None = None
        self._contact_ms: int | None = None

    def _clear(self) -> None:
        self._sent = self._received = self._requests = self._failures = self._backfill = 0
        self._segments = self._again = 0
        self._throughput_mbps: float | None = None
        self._round_trip_ms = ExpHistogram()

    def count(self, sent: int, received: int, round_trip_ms: float) -> None:
        """Count one request that was answered."""
        with self._lock:
            self._requests += 1
            self._sent += sent
            self._received += received
            self._round_trip_ms.add(round_trip_ms)
            if sent >= TELLING_BYTES and round_trip_ms > 0:
                seen_mbps = sent * 8 / round_trip_ms / 1000
                self._throughput_mbps = max(seen_mbps, self._throughput_mbps or 0.0)
            self._contact_ms = wall_ms(self._clock.now_at())

    def count_failure(self, sent: int) -> None:
        """Count one request that was not."""
        with self._lock:
            self._requests += 1
            self._failures += 1
            self._sent += sent

    def watch(self, connection: socket.socket) -> None:
        """Count the segments that a connection sent since it was last watched."""
        now = segments(connection)
        if now is None:
            return
        with self._lock:
            before = self._counted.get(connection, Segments(0, 0))
            self._counted[connection] = now
            self._segments += max(now.sent - before.sent, 0)
            self._again += max(now.again - before.again, 0)

    def count_backfill(self, size: int) -> None:
        """Count bytes of a batch that had waited, before compression."""
        with self._lock:
            self._backfill += size

    def note_offset(self, offset_ms: float) -> None:
        """Keep how far the device's wall clock is ahead of central's."""
        with self._lock:
            self._offset_ms = offset_ms

    @property
    def last_contact_ms(self) -> int | None:
        """Wall time of the last answer."""
        with self._lock:
            return self._contact_ms

    def take(self) -> NetworkHealth:
        """Return the figures since the last call and begin anew."""
        with self._lock:
            taken = NetworkHealth(
                sent_bytes=self._sent,
                received_bytes=self._received,
                requests=self._requests,
                failures=self._failures,
                round_trip_ms=self._round_trip_ms.to_wire() if self._round_trip_ms.count else None,
                clock_offset_ms=self._offset_ms,
                last_contact_ms=self._contact_ms,
                backfill_bytes=self._backfill,
                loss_fraction=min(self._again / self._segments, 1.0) if self._segments else None,
                throughput_mbps=self._throughput_mbps,
            )
            self._clear()
            return taken


def check_link(link: CentralLink) -> None:
    """Return where this address may be used.

    Raises:
        ConfigError: Plain HTTP to another machine without `allow_insecure`, or no address at all.
    """
    parts = urlsplit(link.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f"central.url: {link.url!r} is no address",
            operator_hint="write https://host or, on this machine only, http://127.0.0.1:8080",
        )
    if parts.scheme == "http" and not link.allow_insecure and not _is_loopback(parts.hostname):
        raise ConfigError(
            f"central.url: http:// to {parts.hostname} would send tokens in clear",
            operator_hint="use https://, or set central.allow_insecure: true on a trusted network",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class CentralClient:
    """Central, as this device calls it. Thread: any."""

    def __init__(
        self,
        link: CentralLink,
        clock: Clock,
        *,
        identity: Identity | None = None,
        key: SigningKey | None = None,
        keyring: Keyring | None = None,
        connect_s: float = CONNECT_S,
        read_s: float = READ_S,
    ) -> None:
        """Prepare; nothing is sent yet. Without identity and keys only `enrol` can be called.

        With a `keyring` whichever of its keys central knows is used, and the key can be changed.

        Raises:
            ConfigError: See `check_link`.
        """
        check_link(link)
        self._base: Final = link.url.rstrip("/")
        self._clock: Final = clock
        self._identity: Final = identity
        self._key: Final = key
        self._keyring: Final = keyring
        self._timeout: Final = (connect_s, read_s)
        self._pool: Final = urllib3.PoolManager(
            num_pools=1,
            maxsize=2,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            headers={"User-Agent": f"vedette/{__version__}"},
        )
        self._token = ""
        self._token_until_ns = 0
        self._token_lock: Final = threading.Lock()
        self.meter: Final = Meter(clock)

    def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Return who this device is from now on.

        Raises:
            CentralUnreachable: No answer.
            NotAllowed, ReportRejected: The claim token is unknown, spent or expired.
        """
        return self._json("/v1/enrol", msgspec.json.encode(request), EnrolAnswer)

    def time(self, request: TimeRequest) -> Signed:
        """Return central's signed time over the device's nonce; needs no token."""
        return self._json("/v1/time", msgspec.json.encode(request), Signed)

    def up(self, batch: Batch) -> UpAnswer:
        """Send one batch.

        Raises:
            CentralUnreachable: No answer, or one that asks to come back (`CentralBusy`).
            ReportRejected: Central will never take this batch as it is.
            NotAllowed: Central does not know this device any more.
        """
        headers = {"Content-Type": codec.MSGPACK, "Content-Encoding": "zstd"}
        body = codec.encode_batch(batch)
        _, data = self._with_token("POST", "/v1/up", body=body, headers=headers)
        try:
            return codec.decode_answer(data)
        except WireError as error:
            raise CentralUnreachable(f"central's answer cannot be read: {error}") from error

    def desired(self, etag: str, wait_s: float = 0.0) -> Desired | None:
        """Return what should run here; None where it still is `etag` after `wait_s`."""
        status, data = self._with_token(
            "GET",
            f"/v1/desired?{urlencode({'wait': round(wait_s)})}",
            headers={"If-None-Match": f'"{etag}"'} if etag else {},
            extra_wait_s=wait_s,
        )
        return None if status == 304 else self._decode(data, Desired)

    def thumbnail(self, request: str, jpeg: bytes) -> None:
        """Send a picture that the operator asked for and the site's policy allows."""
        headers = {"Content-Type": "image/jpeg"}
        self._with_token("POST", f"/v1/thumbnail/{request}", body=jpeg, headers=headers)

    def rotate_key(self) -> str:
        """Have another key speak for this device from now on; return its id.

        Safe to repeat wherever it ended: the next key stays the same until it has spoken.

        Raises:
            CentralUnreachable: No answer; both keys are kept.
            NotAllowed: Central knows none of our keys, or takes no other one now.
            ReportRejected: Central will never take this next key; another is made next time.
            TrustError: The keys cannot be read or moved.
        """
        if self._keyring is None:
            raise NotAllowed("not enrolled", operator_hint="run: vedette edge enrol")
        self._access_token(fresh=True)  # first finish what was begun, or learn which key speaks
        with self._token_lock:
            with self._keyring.held():
                key, following = self._keyring.current(), self._keyring.make_next()
                try:
                    self._announce(key, following)
                except ReportRejected:
                    self._keyring.forget_next()
                    raise
            self._renew_token()
        return following.public.keyid

    def _announce(self, key: SigningKey, following: SigningKey) -> None:
        assertion = self._assert(key, following.public)
        proof = to_text(following.sign(assertion.encode()))
        body = msgspec.json.encode(RotateRequest(assertion=assertion, proof=proof))
        self._json("/v1/rotate", body, RotateAnswer)

    def answer(self, request: str, content_type: str, body: bytes) -> None:
        """Send what an operator asked for; see `wire.diagnostics`."""
        headers = {"Content-Type": content_type}
        self._with_token("POST", f"/v1/answer/{request}", body=body, headers=headers)

    def offer(self, request: str, offer: Offer) -> Standing:
        """Say which files of a clip come; return how much of each central has."""
        body = msgspec.json.encode(offer)
        there = f"/v1/evidence/{request}"
        _, data = self._with_token("POST", there, body=body, headers={"Content-Type": codec.JSON})
        return self._decode(data, Standing)

    def withhold(self, request: str, why: Refusal) -> None:
        """Say why a clip does not come."""
        body = msgspec.json.encode(why)
        headers = {"Content-Type": PROBLEM}
        self._with_token("POST", f"/v1/evidence/{request}", body=body, headers=headers)

    def put_part(self, sha256: str, start: int, part: bytes, total: int) -> Taken:
        """Send a part of a file that was offered."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": content_range(start, len(part), total),
        }
        _, data = self._with_token("PUT", f"/v1/blobs/{sha256}", body=part, headers=headers)
        return self._decode(data, Taken)

    def send_nothing(self, body: bytes) -> None:
        """Send a body that central counts and forgets."""
        headers = {"Content-Type": "application/octet-stream"}
        self._with_token("POST", "/v1/speed", body=body, headers=headers)

    def take_nothing(self, size: int) -> int:
        """Take so many bytes that mean nothing; return how many came."""
        _, data = self._with_token("GET", f"/v1/speed?{urlencode({'bytes': size})}", headers={})
        return len(data)

    def part(self, path: str, offset: int, most: int) -> Iterator[bytes]:
        """Give bytes of a static file from `offset` on, at most so many, as they come.

        Pieces are what one read of the socket brought, so that a slow sender is noticed.

        Raises:
            NotThere: Central has no such file, or none for us.
            CentralUnreachable: No answer, or it gives another part than was asked for.
        """
        wanted = {"Range": f"bytes={offset}-{offset + most - 1}", "Accept-Encoding": "identity"}
        try:
            response = self._get_part(path, wanted, fresh=False)
            if response.status == 401:  # the token was good when it was last asked about
                response.close()
                response = self._get_part(path, wanted, fresh=True)
            try:
                _refuse_part(response, path, offset)
                yield from _pieces(response, most)
            finally:
                response.close()  # what was not read is not waited for
        except urllib3.exceptions.HTTPError as error:
            self.meter.count_failure(0)
            raise CentralUnreachable(
                f"{path}: {type(error).__name__}: {error}",
                operator_hint="check the network, central.url and central itself",
            ) from error

    def _get_part(
        self, path: str, wanted: dict[str, str], *, fresh: bool
    ) -> urllib3.BaseHTTPResponse:
        token = {"Authorization": f"Bearer {self._access_token(fresh=fresh)}"}
        return self._pool.request(
            "GET",
            self._base + quote(path),
            headers={**self._pool.headers, **wanted, **token},
            timeout=urllib3.Timeout(connect=self._timeout[0], read=self._timeout[1]),
            redirect=False,
            preload_content=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # ---------------------------------------------------------------------------- internals

    def _json(self, path: str, body: bytes, kind: type[T]) -> T:
        try:
            _, data = self._send("POST", path, body, {"Content-Type": codec.JSON})
        except _TokenRefused as error:
            raise NotAllowed(
                f"central refused {path}: {error}",
                operator_hint="ask for a new claim token and enrol again",
            ) from error
        return self._decode(data, kind)

    def _decode(self, data: bytes, kind: type[T]) -> T:
        try:
            return codec.decode(data, kind, json=True)
        except WireError as error:
            raise CentralUnreachable(
                f"central's answer cannot be read: {error}",
                operator_hint="something between this device and central answers in its place",
            ) from error

    def _with_token(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        extra_wait_s: float = 0.0,
    ) -> tuple[int, bytes]:
        for fresh in (False, True):
            token = self._access_token(fresh=fresh)
            try:
                return self._send(
                    method,
                    path,
                    body,
                    headers | {"Authorization": f"Bearer {token}"},
                    extra_wait_s=extra_wait_s,
                )
            except _TokenRefused:
                continue
        raise NotAllowed(
            "central gives this device tokens and refuses them",
            operator_hint="look for two centrals behind one address",
        )

    def _access_token(self, *, fresh: bool) -> str:
        """Return a token that is good for a while, a new one where `fresh`."""
        with self._token_lock:
            if fresh or self._clock.mono_ns() >= self._token_until_ns:
                self._renew_token()
            return self._token

    def _renew_token(self) -> None:
        answer = self._ask_for_token()
        renew_s = max(answer.expires_in - RENEW_BEFORE_S, answer.expires_in / 2)
        self._token = answer.access_token
        self._token_until_ns = self._clock.mono_ns() + round(renew_s * NS_PER_S)

    def _ask_for_token(self) -> TokenAnswer:
        """Return a token for whichever of our keys central knows.

        Raises:
            NotAllowed: For none of them.
            TrustError: The keys cannot be read or moved.
        """
        if self._keyring is None:
            if self._key is None:
                raise NotAllowed("not enrolled", operator_hint="run: vedette edge enrol")
            return self._token_for(self._key)
        with self._keyring.held():
            *others, last = self._keyring.speaking()
            for key in others:
                with contextlib.suppress(NotAllowed):
                    answer = self._token_for(key)
                    self._keyring.accepted(key)
                    return answer
            answer = self._token_for(last)
            self._keyring.accepted(last)
            return answer

    def _token_for(self, key: SigningKey) -> TokenAnswer:
        form = urlencode(
            {
                "grant_type": GRANT_TYPE,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self._assert(key),
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            _, data = self._send("POST", "/v1/token", form.encode(), headers)
        except (_TokenRefused, ReportRejected) as error:
            raise NotAllowed(
                f"central gives this device no token: {error}",
                operator_hint="it was revoked, or central was replaced: enrol again",
            ) from error
        return self._decode(data, TokenAnswer)

    def _assert(self, key: SigningKey, next_key: PublicKey | None = None) -> str:
        if self._identity is None:
            raise NotAllowed("not enrolled", operator_hint="run: vedette edge enrol")
        return make_assertion(
            key,
            device=self._identity.device,
            audience=self._identity.central.keyid,
            nonce=self._json("/v1/nonce", b"", Nonce).nonce,
            now_s=wall_ms(self._clock.now_at()) // 1000,
            next_key=next_key,
        )

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        *,
        extra_wait_s: float = 0.0,
    ) -> tuple[int, bytes]:
        """Return status and body of a 2xx or 304; raise for anything else."""
        connect_s, read_s = self._timeout
        sent = len(body or b"")
        began_ns = self._clock.mono_ns()
        try:
            response = self._pool.request(
                method,
                self._base + path,
                body=body,
                headers={**self._pool.headers, **headers},
                timeout=urllib3.Timeout(connect=connect_s, read=read_s + extra_wait_s),
                redirect=False,
                preload_content=False,
            )
            connection = getattr(response.connection, "sock", None)
            if connection is not None:
                self.meter.watch(connection)
            data = _read(response)
        except urllib3.exceptions.HTTPError as error:
            self.meter.count_failure(sent)
            raise CentralUnreachable(
                f"{method} {path.partition('?')[0]}: {type(error).__name__}: {error}",
                operator_hint="check the network, central.url and central itself",
            ) from error
        took_ms = (self._clock.mono_ns() - began_ns) / NS_PER_MS
        self.meter.count(sent, len(data), took_ms)
        if 200 <= response.status < 300 or response.status == 304:
            return response.status, data
        raise _refusal(response.status, response.headers.get("Retry-After", ""), path, data)


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the whole body within the limit, with the connection back in the pool."""
    try:
        data = response.read(MAX_ANSWER_BYTES + 1, decode_content=False)
    except BaseException:
        response.close()
        raise
    if len(data) > MAX_ANSWER_BYTES:
        response.close()
        raise CentralUnreachable(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    response.release_conn()
    return data


def _refuse_part(response: urllib3.BaseHTTPResponse, path: str, offset: int) -> None:
    """Raise where an answer is not the part that was asked for."""
    status = response.status
    if status in {401, 403, 404, 410}:
        raise NotThere(f"central answered {status} to {path}")
    began = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    is_part = status == 206 and began == str(offset)
    if not is_part and not (status == 200 and offset == 0):
        raise CentralBusy(
            f"central answered {status} to {path} from byte {offset}",
            _seconds(response.headers.get("Retry-After", "")),
        )


def _pieces(response: urllib3.BaseHTTPResponse, most: int) -> Iterator[bytes]:
    left = most
    while left > 0 and (piece := response.read1(min(left, _PIECE_BYTES), decode_content=False)):
        left -= len(piece)
        yield piece


def _refusal(status: int, retry_after: str, path: str, data: bytes) -> Exception:
    """Return the error that stands for an answer that is none."""
    said = _Refusal(error=data[:200].decode("utf-8", "replace"))
    with contextlib.suppress(msgspec.DecodeError):
        said = msgspec.json.decode(data, type=_Refusal)
    text = f"central answered {status} to {path.partition('?')[0]}: {said.error[:500]}"
    if status == 401:
        return _TokenRefused(text)
    if status == 403:
        hint = said.hint[:500] or "this device was revoked; enrol it again"
        return NotAllowed(text, operator_hint=hint)
    if status in _REFUSED:
        return ReportRejected(text, operator_hint=said.hint[:500] or None)
    return CentralBusy(text, _seconds(retry_after))


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 3600.0)
    except ValueError:
        return 0.0
