"""`POST /v1/up`: who it is, how much it is, what it is; then the committer.

Receive time is taken when the body is complete. Fresh messages are decoded here, while the database
works on the group before; a backlog is decoded when its turn has come.
"""

import math
from functools import partial

import msgspec

from vedette.central.boundary import Answer, Request
from vedette.central.enrolment import Tokens
from vedette.central.ingest.committer import Busy, Committer, Parcel
from vedette.central.ingest.incoming import Incoming
from vedette.central.ingest.unpack import check_batch, unpack, without_backlog
from vedette.clock import Clock, wall_ms
from vedette.errors import NotAllowed
from vedette.wire import codec, limits
from vedette.wire.envelope import UpAnswer

_encode_msgpack = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode


class Up:
    """The handler, with what it needs."""

    def __init__(self, tokens: Tokens, committer: Committer, clock: Clock) -> None:
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
            raise NotAllowed("this device is not enrolled any more")
        return _answer(answer, is_json=is_json)


def _answer(answer: UpAnswer, *, is_json: bool, status: int = 200) -> Answer:
    headers = {} if status == 200 else {"retry-after": str(math.ceil(answer.retry_after_s))}
    if is_json:
        return Answer(status=status, body=_encode_json(answer), headers=headers)
    return Answer(
        status=status, body=_encode_msgpack(answer), content_type=codec.MSGPACK, headers=headers
    )
