"""The HTTP side of the device's own interface.

The rules: nobody without the token; a body is counted while it arrives and has a time limit; so
many pictures at once and no more (429 says when to come back); errors are RFC 9457 problems and
never show a traceback or an address. A broad catch stands at this boundary and nowhere below.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vedette.clock import NS_PER_MS, Clock
from vedette.edge.local import stills, verdict
from vedette.edge.local.verdict import Assessment, Inference, Verdict
from vedette.edge.models import Models
from vedette.errors import ConfigError, DecodeFailed, InferenceError, VedetteError
from vedette.inference.model import Model
from vedette.vision.picture import Picture
from vedette.vision.quality import QualityLimits, QualityVerdict, assess

_LOG = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 24 * 1024 * 1024
BODY_S: Final = 20.0
RETRY_AFTER_S: Final = 1

Handler = Callable[[Request], Awaitable[Response]]


class Problem(Exception):
    """An answer that is none, as RFC 9457 has it."""

    def __init__(
        self, status: int, title: str, detail: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class StillService:
    """What the interface can do. Thread: any.

    Attributes:
        models: The device's models; loaded when first asked for, or before.
        names: Those that may be asked for, the default first.
        sure: Confidence from which nobody has to look, 0 to 1.
        clock: For timings.
    """

    models: Models
    names: tuple[str, ...]
    sure: float
    clock: Clock
    _loading: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def model(self, name: str) -> Model:
        """Return the model, loaded once.

        Raises:
            ConfigError, InferenceError: It is not there or cannot be used.
        """
        with self._loading:
            return self.models.get(name)

    def assess(self, data: bytes) -> Assessment:
        """Return how good the picture is.

        Raises:
            DecodeFailed: It is none.
        """
        still = stills.decode(data)
        judged = _judged(still.picture)
        return Assessment(
            verdict=Verdict.ACCEPTED if judged.is_usable else Verdict.RECAPTURE,
            quality=verdict.quality_of(judged),
            picture_px=still.picture.size,
            format=still.format,
            turned_deg=still.turned_deg,
        )

    def infer(self, data: bytes, name: str, *, force: bool) -> Inference:
        """Return what the model makes of the picture, and whether that is enough.

        Args:
            data: The picture.
            name: One of `names`.
            force: Run the model even where the picture is not good enough.

        Raises:
            DecodeFailed: It is none.
            InferenceError: The model cannot be used, or failed.
        """
        still = stills.decode(data)
        model = self.model(name)
        judged = _judged(still.picture, _limits_of(model))
        poor = [] if judged.is_usable else list(judged.problems)
        answer = Inference(
            verdict=Verdict.RECAPTURE,
            why=poor,
            quality=verdict.quality_of(judged),
            picture_px=still.picture.size,
            format=still.format,
            turned_deg=still.turned_deg,
            model=model.name,
            digest=model.digest,
            threshold=model.threshold,
            sure=self.sure,
        )
        if poor and not force:
            return answer
        began_ns = self.clock.mono_ns()
        result = model.detect(still.picture)
        took_ms = (self.clock.mono_ns() - began_ns) / NS_PER_MS
        why = verdict.unsure(result, model.labels, self.sure)
        detects = result.classes is None and result.anomaly is None and result.embedding is None
        decided = Verdict.NEEDS_HUMAN if why else Verdict.ACCEPTED
        return msgspec.structs.replace(
            answer,
            verdict=Verdict.RECAPTURE if poor else decided,
            why=[*poor, *why],
            objects=verdict.objects_of(result, model.labels) if detects else None,
            classes=verdict.classes_of(result, model.labels),
            anomaly=None if result.anomaly is None else round(result.anomaly.score, 4),
            model_ms=round(took_ms, 3),
        )


def build(
    service: StillService,
    token: str,
    *,
    at_once: int,
    max_body_bytes: int = MAX_BODY_BYTES,
    body_s: float = BODY_S,
) -> Starlette:
    """Return the application.

    Args:
        service: What it can do.
        token: What callers must show, as `Authorization: Bearer …`.
        at_once: Pictures worked on at once; as many again may wait.
        max_body_bytes: Larger bodies are refused.
        body_s: A body must be here by then.
    """
    door = _Door(token, at_once, max_body_bytes, body_s)

    async def healthz(_request: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    async def assess_picture(request: Request) -> Response:
        async with door.enter(request) as data:
            return _json(await run_in_threadpool(service.assess, data))

    async def infer(request: Request) -> Response:
        name = request.query_params.get("model", service.names[0])
        if name not in service.names:
            raise Problem(404, "no such model", f"there are: {', '.join(service.names)}")
        force = request.query_params.get("force", "") in {"1", "true"}
        async with door.enter(request) as data:
            return _json(await run_in_threadpool(service.infer, data, name, force=force))

    app = Starlette(
        routes=[
            Route("/-/healthz", healthz),
            Route("/v1/assess", _guarded(assess_picture), methods=["POST"]),
            Route("/v1/infer", _guarded(infer), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _no_route},
    )
    app.state.door = door
    return app


class _Door:
    """Who comes in, with how much, and how many at once."""

    def __init__(self, token: str, at_once: int, max_body_bytes: int, body_s: float) -> None:
        self._token = token.encode()
        self._room = asyncio.Semaphore(at_once)
        self._inside = 0
        self._most = 2 * at_once
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s

    @property
    def inside(self) -> int:
        """Callers that were let in and have no answer yet."""
        return self._inside

    def enter(self, request: Request) -> "_Visit":
        return _Visit(self, request)

    async def admit(self, request: Request) -> bytes:
        """Return the body of a caller who may come in; `leave` must follow.

        Raises:
            Problem: 401, 408, 413 or 429.
        """
        shown = request.headers.get("authorization", "")
        kind, _, value = shown.partition(" ")
        if kind.lower() != "bearer" or not secrets.compare_digest(value.encode(), self._token):
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "token missing or wrong", "Authorization: Bearer …", headers)
        if self._inside >= self._most:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem(429, "busy", "come back in a moment", headers)
        self._inside += 1
        try:
            async with asyncio.timeout(self._body_s):
                data = await self._body(request)
            await self._room.acquire()
        except TimeoutError:
            self._inside -= 1
            raise Problem(408, "the picture did not arrive in time") from None
        except BaseException:
            self._inside -= 1
            raise
        return data

    def leave(self) -> None:
        self._inside -= 1
        self._room.release()

    async def _body(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > self._max_body_bytes:
            raise self._too_large()
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > self._max_body_bytes:
                raise self._too_large()
        return bytes(data)

    def _too_large(self) -> Problem:
        limit = self._max_body_bytes // (1024 * 1024)
        return Problem(413, "the picture is too large", f"send at most {limit} MB")


class _Visit:
    """One caller inside: a context whose value is the body."""

    def __init__(self, door: _Door, request: Request) -> None:
        self._door = door
        self._request = request

    async def __aenter__(self) -> bytes:
        return await self._door.admit(self._request)

    async def __aexit__(self, *_error: object) -> None:
        self._door.leave()


def _judged(picture: Picture, limits: QualityLimits | None = None) -> QualityVerdict:
    """Return how good a picture is.

    Without noise and blocks, whose limits were measured on video and not on still pictures.
    """
    return assess(picture.small_luma(), limits, picture_px=picture.size)


def _limits_of(model: Model) -> QualityLimits:
    """Return limits by which a picture as large as the model's input is large enough.

    The usual ones are of whole scenes. A larger input does not raise them: pictures are enlarged.
    """
    width, height = model.manifest.preprocess.size
    usual = QualityLimits()
    least = (min(usual.picture_px[0], width), min(usual.picture_px[1], height))
    return msgspec.structs.replace(usual, picture_px=least)


def _guarded(handler: Handler) -> Handler:
    """Turn what goes wrong into problems."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except Problem as problem:
            return _problem(problem)
        except DecodeFailed as error:
            return _problem(Problem(422, str(error), error.operator_hint or ""))
        except (ConfigError, InferenceError) as error:
            _LOG.error("%s", error, extra={"event": "local.model_failed"})
            return _problem(Problem(503, "the model cannot be used", str(error)))
        except VedetteError as error:
            _LOG.error("%s", error, extra={"event": "local.failed"})
            return _problem(Problem(500, "failed"))
        except Exception:  # the HTTP boundary
            _LOG.exception("a request failed", extra={"event": "local.failed"})
            return _problem(Problem(500, "failed"))

    return guarded


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer for a path or a method that there is not."""
    if not isinstance(error, HTTPException):
        raise error
    detail = "there are: POST /v1/assess, POST /v1/infer, GET /-/healthz"
    title = {404: "no such path", 405: f"no {request.method} here"}.get(error.status_code)
    headers = dict(error.headers or {})
    return _problem(Problem(error.status_code, title or error.detail, detail, headers))


def _problem(problem: Problem) -> Response:
    body = {"type": "about:blank", "title": problem.title, "status": problem.status}
    if problem.detail:
        body["detail"] = problem.detail
    return Response(
        msgspec.json.encode(body),
        problem.status,
        {"Content-Type": "application/problem+json", **problem.headers},
    )


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
