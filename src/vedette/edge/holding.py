"""Central's holds and releases of evidence, done and answered.

Here: each request once, in order; the answer is kept until central has it. What a hold is stands in
`edge.evidence.holds`. The rule: what is asked is done at once, before anything else is deleted;
only the answer waits for the line.

Thread: `take` and `step` the attendant's.
"""

import logging
from typing import Final, Protocol

import msgspec

from vedette.edge.evidence.holds import CENTRAL, Holds
from vedette.errors import EvidenceError, NotAllowed, ReportRejected
from vedette.ids import is_slug
from vedette.wire.diagnostics import JSON, PROBLEM, Refusal
from vedette.wire.enrol import Request
from vedette.wire.holds import FORMS, HOLD, HoldAnswer

log = logging.getLogger(__name__)

MAX_WAITING: Final = 64
MAX_DONE: Final = 256


class Central(Protocol):
    """The part of `CentralClient` that is used here."""

    def answer(self, request: str, content_type: str, body: bytes) -> None:
        """Send an answer."""
        ...


class HoldKeeper:
    """Does what central asks of holds."""

    def __init__(self, kept: Holds, central: Central) -> None:
        self._holds: Final = kept
        self._central: Final = central
        self._answers: dict[str, tuple[str, bytes]] = {}
        self._done: dict[str, None] = {}

    def take(self, request: Request) -> None:
        """Hold or release; a request that is known, or makes no sense, is left alone."""
        name = request.request
        if request.kind not in FORMS or not is_slug(name) or not is_slug(request.evidence):
            return
        if name in self._answers or name in self._done or len(self._answers) >= MAX_WAITING:
            return
        self._answers[name] = self._do(request)

    def step(self) -> None:
        """Send the answers that wait.

        Raises:
            UplinkError: Central did not answer; they are kept.
        """
        for name, (content_type, body) in list(self._answers.items()):
            try:
                self._central.answer(name, content_type, body)
            except (NotAllowed, ReportRejected) as error:  # nobody waits for it any more
                log.info(
                    "central does not take an answer about a hold",
                    extra={"event": "holds.not_taken", "reason": str(error)},
                )
            del self._answers[name]
            self._done[name] = None
            while len(self._done) > MAX_DONE:
                self._done.pop(next(iter(self._done)))

    def _do(self, request: Request) -> tuple[str, bytes]:
        evidence, by = request.evidence, "an operator at central"
        try:
            if request.kind == HOLD:
                size = self._holds.hold(evidence, CENTRAL, by=by, reason=request.reason)
            else:
                self._holds.release(evidence, CENTRAL, by=by, reason=request.reason)
                size = self._holds.size(evidence)
            answer = HoldAnswer(
                evidence=evidence,
                held=self._holds.is_held(evidence),
                bytes=size,
                held_bytes=self._holds.used_bytes(),
                limit_bytes=self._holds.limit_bytes,
            )
        except (EvidenceError, NotAllowed) as error:
            refusal = Refusal(title="This evidence is not held", detail=str(error)[:500])
            return PROBLEM, msgspec.json.encode(refusal)
        log.info(
            "evidence is held for central" if request.kind == HOLD else "central released evidence",
            extra={"event": f"holds.{request.kind}", "evidence": evidence},
        )
        return JSON, msgspec.json.encode(answer)
