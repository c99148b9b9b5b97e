"""A device that speaks the real protocol to a real central, with whatever history a test wants."""

import math
import secrets
import time
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from vedette.stats.sketch import ExpHistogram
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE, make_assertion
from vedette.trust.dsse import open_struct
from vedette.trust.keys import PublicKey, SigningKey, prove_possession
from vedette.wire import codec, streams
from vedette.wire.enrol import Desired, EnrolAnswer, EnrolRequest, Nonce, TokenAnswer
from vedette.wire.envelope import Batch, ClockState, Envelope, UpAnswer
from vedette.wire.messages import (
    Aggregate,
    Bins,
    Drop,
    EventKind,
    EventReport,
    Frames,
    Heatmap,
    LineCounts,
    Span,
    ZoneCounts,
)
from vedette.wire.updates import ASSIGNMENT_TYPE, Assignment

T = TypeVar("T")
MINUTE_MS = 60_000


class SmallDevice:
    """Enrols with a claim token, then sends messages made at any moment of the past."""

    def __init__(self, url: str, claim: str) -> None:
        self.url = url
        self._http = urllib3.PoolManager()
        self._key = SigningKey.generate()
        asked = EnrolRequest(
            claim_token=claim,
            public_key=self._key.public.text,
            proof=prove_possession(self._key, claim),
            hardware="Raspberry Pi 5",
            version="0.1.0",
        )
        answer = self._json("/v1/enrol", asked, EnrolAnswer)
        self.device, self.site = answer.device, answer.site
        self._central = PublicKey.from_text(answer.central_key)
        self._boot = f"boot-{secrets.token_hex(4)}"
        self._seq: dict[str, int] = {}
        self._token = self._sign_in()

    def _json(self, path: str, message: msgspec.Struct | None, kind: type[T]) -> T:
        body = msgspec.json.encode(message) if message else b""
        answer = self._http.request("POST", self.url + path, body=body)
        assert answer.status == 200, answer.data
        return msgspec.json.decode(answer.data, type=kind)

    def _sign_in(self) -> str:
        nonce = self._json("/v1/nonce", None, Nonce).nonce
        assertion = make_assertion(
            self._key, device=self.device, audience=self._central.keyid, nonce=nonce, now_s=1
        )
        form = urlencode(
            {
                "grant_type": GRANT_TYPE,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": assertion,
            }
        )
        answer = self._http.request("POST", f"{self.url}/v1/token", body=form.encode())
        assert answer.status == 200, answer.data
        return msgspec.json.decode(answer.data, type=TokenAnswer).access_token

    def send(self, now_ms: int, *messages: tuple[str, int, msgspec.Struct]) -> list[UpAnswer]:
        """Send `(schema, made_ms, body)`; return central's answers, after everything is durable."""
        answers: list[UpAnswer] = []
        for start in range(0, len(messages), 1000):
            envelopes = [self._envelope(*m) for m in messages[start : start + 1000]]
            batch = Batch(
                device=self.device,
                boot_id=self._boot,
                sent_mono_ms=10**9,
                sent_wall_ms=now_ms,
                envelopes=envelopes,
            )
            answer = self._http.request(
                "POST",
                f"{self.url}/v1/up",
                body=codec.encode_batch(batch),
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Content-Type": codec.MSGPACK,
                    "Content-Encoding": "zstd",
                },
            )
            assert answer.status == 200, answer.data
            said = codec.decode_answer(answer.data)
            assert not said.rejected, said.rejected[:3]
            answers.append(said)
        return answers

    def answer_requests(self, picture: bytes) -> int:
        """Fetch the desired state and answer every open request with `picture`; return how many."""
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self._http.request("GET", f"{self.url}/v1/desired", headers=headers)
        assert answer.status == 200, answer.data
        wanted = msgspec.json.decode(answer.data, type=Desired).requests
        for request in wanted:
            there = f"{self.url}/v1/thumbnail/{request.request}"
            done = self._http.request("POST", there, body=picture, headers=headers)
            assert done.status == 204, done.data
        return len(wanted)

    def assignment(self) -> Assignment | None:
        """Fetch the desired state; return what is assigned, where central signed it."""
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self._http.request("GET", f"{self.url}/v1/desired", headers=headers)
        assert answer.status == 200, answer.data
        signed = msgspec.json.decode(answer.data, type=Desired).assignment
        if signed is None:
            return None
        return open_struct(signed, Assignment, [self._central], payload_type=ASSIGNMENT_TYPE)

    def answer(self, request: str, body: bytes, content_type: str) -> None:
        """Answer one question with `body`."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        done = self._http.request(
            "POST", f"{self.url}/v1/answer/{request}", body=body, headers=headers
        )
        assert done.status == 204, done.data

    def send_event(self, event: str, *, camera: str, where: str) -> None:
        """Send one event that happened just now."""
        now_ms = round(time.time() * 1000)
        body = EventReport(
            event=event, camera=camera, kind=EventKind.ZONE_ENTERED, at_ms=now_ms, where=where
        )
        self.send(now_ms, ("event.v1", now_ms, body))

    def _envelope(self, schema: str, made_ms: int, body: msgspec.Struct) -> Envelope:
        lane = streams.stream(schema).lane
        self._seq[lane] = self._seq.get(lane, 0) + 1
        return Envelope(
            epoch=1,
            boot_id=self._boot,
            lane=lane,
            seq=self._seq[lane],
            t_wall_ms=made_ms,
            t_mono_ms=1,
            clock_state=ClockState.TRUSTED,
            schema=schema,
            body=msgspec.Raw(codec.encode(body)),
        )


def histogram(middle: float, spread: float, count: int) -> ExpHistogram:
    """Return a plausible latency sketch around `middle`."""
    sketch = ExpHistogram()
    for n in range(count):
        sketch.add(middle * math.exp(spread * math.sin(n * 2.399)))
    return sketch


def minute(camera: str, start_ms: int, number: int) -> tuple[str, int, msgspec.Struct]:
    """Return one observed minute of a camera that sees people come and go."""
    busy = 0.5 + 0.5 * math.sin(number / 140)
    entered = round(3 * busy)
    end_ms = start_ms + MINUTE_MS
    cells = [0] * (18 * 32)
    for n in range(12):
        x = int(10 + 6 * math.sin(number / 9 + n))
        y = int(11 + 4 * math.cos(number / 7 + n * 1.3))
        cells[y * 32 + x] += 20
    body = Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=end_ms,
        spans=[Span(start_ms=start_ms, end_ms=end_ms, rate_fps=4.9)],
        frames=Frames(captured=300, analysed=180, gated=117, dropped={Drop.STALE: 3}),
        model="centernet@1",
        zones={
            "entrance": {"person": ZoneCounts(entered=entered, left=entered, occupancy_s=60 * busy)}
        },
        lines={"doorway": {"person": LineCounts(forward=entered, backward=entered // 2)}},
        presence_s={"person": 60 * busy},
        heatmap=Heatmap(rows=18, columns=32, deciseconds=cells),
        stage_ms={
            name: histogram(middle, 0.35, 24).to_wire()
            for name, middle in (
                ("capture", 7.0),
                ("preprocess", 2.1),
                ("inference", 71.0 + 9 * busy),
                ("postprocess", 1.4),
                ("dispatch", 4.0),
                ("total", 88.0 + 12 * busy),
            )
        },
        confidence={"person": Bins(counts=[max(0, 30 - abs(n - 36) * 3) for n in range(50)])},
        detections={"person": 90},
    )
    return "aggregate.v1", end_ms, body
