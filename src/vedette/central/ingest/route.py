"""`POST /v1/up`: who it is, how much it is, what it is; then the committer.

Receive time is taken when the body is complete. Fresh messages are decoded here, while the database
works on the group before; a backlog is decoded when its turn has come.
"""

import logging
import math
from functools import partial
from typing import Final

import msgspec

from vedette.central.boundary import Answer, Request
from vedette.central.ingest.committer import Busy, Committer, Parcel
from vedette.central.ingest.incoming import Incoming
from vedette.central.ingest.unpack import check_batch, unpack, without_backlog
from vedette.central.steady import SteadyClock
from vedette.central.tokens import Tokens
from vedette.clock import wall_ms
from vedette.errors import BadSignature, NotAllowed
from vedette.wire import codec, limits
from vedette.wire.envelope import Batch, ClockState, UpAnswer

_log = logging.getLogger(__name__)

_DOUBT_RETRY_S: Final = 60.0
_DOUBT_MS: Final = 2 * 86_400_000
_encode_msgpack = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode


class Up:
    """The handler, with what it needs."""

    def __init__(self, tokens: Tokens, committer: Committer, clock: SteadyClock) -> None:
        self._tokens = tokens
        self._committer = committer
        self._clock = clock
        self._inflater = codec.Inflater()

    async def __call__(self, request: Request) -> Answer:
        """Answer one batch after its commit.

        Raises:
            BadSignature: No valid token.
            NotAllowed: The batch speaks for another device.
            WireError: Over a limit, or not a batch.
            StoreError: The database is away.
        """
        holder = await self._tokens.holder_of(request.bearer)
        body = await request.body(limits.MAX_BODY_BYTES)
        received_ms = wall_ms(self._clock.now_at())
        is_json = request.headers.get("content-type", "").startswith(codec.JSON)
        # msgpack always comes in a zstd frame; JSON only where the device says so
        is_zstd = request.headers.get("content-encoding", "") == "zstd" or not is_json
        batch = codec.decode_batch(body, json=is_json, zstd=is_zstd, inflater=self._inflater)
        if batch.device != holder.device:
            raise NotAllowed(
                "this batch speaks for another device than its token",
                operator_hint="a device that was cloned needs its own key: enrol it",
            )
        check_batch(batch)
        is_doubtful = self._is_doubtful(batch, received_ms)
        if is_doubtful:
            batch = msgspec.structs.replace(batch, envelopes=[], believed=[])
        fresh = without_backlog(batch, received_ms)
        parcel = Parcel(
            contact=Incoming(
                device=holder.device,
                boot_id=batch.boot_id,
                received_ms=received_ms,
                items=[],
                believed=[(lane.epoch, lane.lane) for lane in batch.believed],
                sent_mono_ms=batch.sent_mono_ms,
                address=request.client,
                generation=holder.generation,
            ),
            fresh=unpack(fresh, received_ms, json=is_json),
            late=len(batch.envelopes) - len(fresh.envelopes),
            unpack=partial(unpack, batch, received_ms, json=is_json),
        )
        try:
            answer = await self._committer.submit(parcel)
        except Busy as busy:
            answer = UpAnswer(server_time_ms=received_ms, retry_after_s=busy.retry_after_s)
            return _answer(answer, is_json=is_json, status=503)
        if answer is None:
            # Asked for another token, a device that changed its key meanwhile speaks on at once;
            # one that was revoked gets none.
            raise BadSignature("the access token is not good any more")
        if is_doubtful:
            answer = msgspec.structs.replace(answer, acks=[], retry_after_s=_DOUBT_RETRY_S)
        return _answer(answer, is_json=is_json)

    def _is_doubtful(self, batch: Batch, received_ms: int) -> bool:
        """True where this device's trusted clock and ours are days apart: one of them is wrong.

        It was heard, but nothing is taken: by a date a month or a year off its messages would be
        refused as too old, and so be lost. They stay on the device until the clocks agree.
        """
        if not batch.envelopes or batch.envelopes[-1].clock_state is not ClockState.TRUSTED:
            return False
        self._clock.witness(batch.device, batch.sent_wall_ms)
        behind_ms = received_ms - batch.sent_wall_ms
        if behind_ms <= _DOUBT_MS:
            return False
        _log.error(
            "central's clock is days ahead of a device's trusted one: nothing is taken",
            extra={"event": "ingest.clocks_differ", "device": batch.device, "by_ms": behind_ms},
        )
        return True


def _answer(answer: UpAnswer, *, is_json: bool, status: int = 200) -> Answer:
    headers = {} if status == 200 else {"retry-after": str(math.ceil(answer.retry_after_s))}
    if is_json:
        return Answer(status=status, body=_encode_json(answer), headers=headers)
    return Answer(
        status=status, body=_encode_msgpack(answer), content_type=codec.MSGPACK, headers=headers
    )
