"""What devices may ask, besides `/v1/up`: enrolment, nonces, tokens, time, desired state, pictures.

The messages are in `wire.enrol`. Everything unauthenticated is rate-limited by address.
"""

import asyncio
import os
from typing import Final
from urllib.parse import parse_qs

import msgspec

from vedette.central import desired, diagnosing, enrolment, rotation
from vedette.central.boundary import Answer, Handler, Request, json_answer
from vedette.central.clips import taking
from vedette.central.clips.taking import Sender
from vedette.central.rate import RateLimit
from vedette.central.services import Services
from vedette.central.tokens import Bearer, Tokens
from vedette.errors import BadSignature, MalformedReport, TooLarge
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE, MAX_CHARS
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import from_text
from vedette.wire import codec
from vedette.wire.diagnostics import MAX_ANSWER_BYTES, MAX_SPEED_BYTES, PROBLEM
from vedette.wire.enrol import Desired, EnrolRequest, RotateRequest, TimeRequest, TimeStatement
from vedette.wire.evidence import MAX_PART_BYTES, Offer, read_range
from vedette.wire.signed import TIME_TYPE

_MAX_BODY_BYTES: Final = 16 * 1024
_MAX_WAIT_S: Final = 55.0
_MIN_NONCE_CHARS: Final = 22  # 16 bytes in base64url
_MAX_NONCE_CHARS: Final = 128


class DeviceApi:
    """The handlers, with what they share."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens
        self._enrol_limit = RateLimit(services.clock, per_minute=20, burst=20)
        self._token_limit = RateLimit(services.clock, per_minute=300, burst=150)
        self._offer_limit = RateLimit(services.clock, per_minute=60, burst=30)
        self._part_limit = RateLimit(services.clock, per_minute=1200, burst=200)
        self._speed_limit = RateLimit(services.clock, per_minute=20, burst=20)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """Return what answers where; a path that ends in a slash takes whatever follows."""
        return {
            ("POST", "/v1/enrol"): self.enrol,
            ("POST", "/v1/nonce"): self.nonce,
            ("POST", "/v1/token"): self.token,
            ("POST", "/v1/rotate"): self.rotate,
            ("POST", "/v1/time"): self.time,
            ("GET", "/v1/desired"): self.desired,
            ("POST", "/v1/thumbnail/"): self.thumbnail,
            ("POST", "/v1/answer/"): self.answer,
            ("POST", "/v1/evidence/"): self.evidence,
            ("PUT", "/v1/blobs/"): self.blob,
            ("POST", "/v1/speed"): self.take_nothing,
            ("GET", "/v1/speed"): self.give_nothing,
        }

    async def enrol(self, request: Request) -> Answer:
        """Let a new device in."""
        self._enrol_limit.spend(request.client)
        body = await request.body(_MAX_BODY_BYTES)
        asked = codec.decode(body, EnrolRequest, json=True)
        services = self._services
        now_ms = services.now_ms()
        async with services.db.transaction() as tx:
            answer = await enrolment.enrol(
                tx, asked, central_key=services.online_key.public, now_ms=now_ms
            )
            await desired.refresh(tx, answer.device, now_ms)
        services.bulletin.publish("fleet", f"site:{answer.site}")
        return json_answer(answer)

    async def nonce(self, request: Request) -> Answer:
        """Give out a nonce."""
        self._token_limit.spend(request.client)
        async with self._services.db.transaction() as tx:
            return json_answer(await enrolment.make_nonce(tx, self._services.now_ms()))

    async def token(self, request: Request) -> Answer:
        """Give an access token for an assertion (RFC 6749 section 4.4, RFC 7523 section 2.2)."""
        self._token_limit.spend(request.client)
        body = (await request.body(_MAX_BODY_BYTES)).decode("latin-1")
        try:
            form = parse_qs(body, max_num_fields=20)
        except ValueError as error:
            raise MalformedReport("a form of more than 20 fields") from error
        if form.get("grant_type", [""])[0] != GRANT_TYPE:
            return json_answer({"error": "unsupported_grant_type"}, status=400)
        if form.get("client_assertion_type", [""])[0] != ASSERTION_TYPE:
            return json_answer({"error": "invalid_client"}, status=401)
        assertion = form.get("client_assertion", [""])[0]
        services = self._services
        async with services.db.transaction() as tx:
            answer = await rotation.make_token(
                tx,
                assertion,
                device=_name_in(assertion),
                audience=services.online_key.public.keyid,
                life_s=services.config.access_token_s,
                now_ms=services.now_ms(),
            )
        return json_answer(answer)

    async def rotate(self, request: Request) -> Answer:
        """Take a device's next key; both are good until the next one is first used."""
        self._token_limit.spend(request.client)
        body = await request.body(_MAX_BODY_BYTES)
        asked = codec.decode(body, RotateRequest, json=True)
        services = self._services
        async with services.db.transaction() as tx:
            answer = await rotation.announce(
                tx,
                asked,
                device=_name_in(asked.assertion),
                audience=services.online_key.public.keyid,
                now_ms=services.now_ms(),
            )
        return json_answer(answer)

    async def time(self, request: Request) -> Answer:
        """Say what time it is, signed over the device's own nonce."""
        self._token_limit.spend(request.client)
        asked = codec.decode(await request.body(_MAX_BODY_BYTES), TimeRequest, json=True)
        if not _MIN_NONCE_CHARS <= len(asked.nonce) <= _MAX_NONCE_CHARS:
            raise MalformedReport("a nonce has at least 16 bytes and at most 128 characters")
        services = self._services
        statement = TimeStatement(nonce=asked.nonce, time_ms=services.now_ms())
        return json_answer(sign_struct(statement, TIME_TYPE, [services.online_key]))

    async def desired(self, request: Request) -> Answer:
        """Say what should run; wait for a change where the device asks for it."""
        holder = await self._tokens.holder_of(request.bearer)
        known = request.headers.get("if-none-match", "").removeprefix("W/").strip('" ')
        try:
            wait_s = min(max(float(request.query.get("wait", "0")), 0.0), _MAX_WAIT_S)
        except ValueError as error:
            raise MalformedReport("wait is a number of seconds") from error
        state = await self._wait_for_change(holder, known, wait_s)
        headers = {"etag": f'"{state.etag}"'}
        if known and state.etag == known:
            return Answer(status=304, headers=headers)
        return json_answer(state, headers=headers)

    async def _wait_for_change(self, holder: Bearer, known: str, wait_s: float) -> Desired:
        services = self._services
        deadline = asyncio.get_running_loop().time() + wait_s
        async with services.bulletin.subscribe(f"desired:{holder.device}") as news:
            while True:
                async with services.db.transaction() as tx:
                    await enrolment.require_speaker(tx, holder)
                    state = await desired.desired(tx, holder.device, services.now_ms())
                left_s = deadline - asyncio.get_running_loop().time()
                if state.etag != known or left_s <= 0:
                    return state
                await news.wait(left_s)

    async def thumbnail(self, request: Request) -> Answer:
        """Take a picture that this device was asked for."""
        holder = await self._tokens.holder_of(request.bearer)
        picture = await request.body(desired.MAX_THUMBNAIL_BYTES)
        async with self._services.db.transaction() as tx:
            await enrolment.require_speaker(tx, holder)
        await desired.answer_request(
            self._services.db,
            self._services.bulletin,
            holder.device,
            request.path.rpartition("/")[2][:128],
            picture,
            now_ms=self._services.now_ms(),
        )
        return Answer(status=204)

    async def answer(self, request: Request) -> Answer:
        """Take an answer to what an operator asked about this device."""
        holder = await self._tokens.holder_of(request.bearer)
        device, services = holder.device, self._services
        name = request.path.rpartition("/")[2][:128]
        # Before the body is read: who was not asked sends none.
        await diagnosing.open_kind(services.db, device, name, services.now_ms())
        body = await request.body(MAX_ANSWER_BYTES)
        async with services.db.transaction() as tx:
            await enrolment.require_speaker(tx, holder)
        await diagnosing.answer(
            services.db,
            services.bulletin,
            device,
            name,
            content_type=request.headers.get("content-type", "")[:200],
            body=body,
            now_ms=services.now_ms(),
        )
        return Answer(status=204)

    async def evidence(self, request: Request) -> Answer:
        """Take word of what comes of a clip that this device was asked for, or why nothing does."""
        holder = await self._tokens.holder_of(request.bearer)
        device, services = holder.device, self._services
        self._offer_limit.spend(device)
        name = request.path.rpartition("/")[2][:128]
        body = await request.body(_MAX_BODY_BYTES)
        async with services.db.transaction() as tx:
            await enrolment.require_speaker(tx, holder)
        sender = Sender(services.db, services.bulletin, services.blobs, device)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == PROBLEM:
            why = diagnosing.refusal(body)
            await taking.refuse(sender, name, why, now_ms=services.now_ms())
            return Answer(status=204)
        standing = await taking.take_offer(
            sender,
            name,
            codec.decode(body, Offer, json=True),
            keep_bytes=services.config.retention.clips_mb * taking.MB,
            now_ms=services.now_ms(),
        )
        return json_answer(standing)

    async def blob(self, request: Request) -> Answer:
        """Take a part of a file that this device announced."""
        holder = await self._tokens.holder_of(request.bearer)
        device, services = holder.device, self._services
        self._part_limit.spend(device)
        sha256 = request.path.rpartition("/")[2][:128]
        said = read_range(request.headers.get("content-range", "")[:100])
        if said is None:
            raise MalformedReport("Content-Range says which part this is: bytes 0-65535/1048576")
        start, size, total = said
        sender = Sender(services.db, services.bulletin, services.blobs, device)
        # Before the body is read: who was not asked sends none.
        await taking.announced(sender, sha256, total, services.now_ms())
        body = await request.body(MAX_PART_BYTES)
        if len(body) != size:
            raise MalformedReport(f"{len(body)} bytes, and Content-Range says {size}")
        async with services.db.transaction() as tx:
            await enrolment.require_speaker(tx, holder)
        taken = await taking.take_part(
            sender,
            sha256,
            body,
            start=start,
            total=total,
            now_ms=services.now_ms(),
        )
        return json_answer(taken)

    async def take_nothing(self, request: Request) -> Answer:
        """Count a body and forget it, for a device that was asked to measure its line."""
        await self._measuring(request)
        await request.body(MAX_SPEED_BYTES // 2)
        return Answer(status=204)

    async def give_nothing(self, request: Request) -> Answer:
        """Give bytes that mean nothing, for a device that was asked to measure its line."""
        await self._measuring(request)
        said = request.query.get("bytes", "0")
        if not (said.isascii() and said.isdigit() and len(said) <= 8):
            raise MalformedReport("bytes is a number")
        if int(said) > MAX_SPEED_BYTES // 2:
            raise TooLarge(f"at most {MAX_SPEED_BYTES // 2} bytes")
        return Answer(body=os.urandom(int(said)), content_type="application/octet-stream")

    async def _measuring(self, request: Request) -> None:
        holder = await self._tokens.holder_of(request.bearer)
        self._speed_limit.spend(holder.device)
        now_ms = self._services.now_ms()
        await diagnosing.require_network_test(self._services.db, holder.device, now_ms)


class _Named(msgspec.Struct, frozen=True):
    iss: str


def _name_in(assertion: str) -> str:
    """Return the name that an assertion claims, to find its key by; nothing is believed yet."""
    parts = assertion.split(".")
    if len(assertion) > MAX_CHARS or len(parts) != 3:
        raise BadSignature("not an assertion")
    try:
        return msgspec.json.decode(from_text(parts[1]), type=_Named).iss
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSignature("not an assertion") from error
