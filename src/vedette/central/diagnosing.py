"""Questions about a device that operators ask from afar, and what it answered.

A question is a row of `requests`, which the device sees in its desired state; the forms of answers
are in `wire.diagnostics`. The rule: who asked and each look at an answer stand in the audit log; an
answer is taken once, from the device that was asked, in the form of its kind, and kept for days.
"""

from typing import Final

import msgspec

from vedette.central import audit, desired
from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Database, Tx
from vedette.errors import ConfigError, MalformedReport, NotAllowed, TooLarge
from vedette.ids import is_slug, new_id
from vedette.wire import codec, holds
from vedette.wire.diagnostics import (
    DEFAULT_LINES,
    DOCTOR,
    FORMS,
    LOG,
    MAX_LINES,
    MAX_REFUSAL_BYTES,
    NETWORK,
    PROBLEM,
    SHAPES,
    TEXT,
    Refusal,
)
from vedette.wire.holds import HoldAnswer

ANSWERS: Final = FORMS | holds.FORMS
"""What a device may answer; holds of evidence are asked for elsewhere."""

ASK_S: Final = 900
MAX_OPEN: Final = 8
MAX_PAGE: Final = 500


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a device; `lines` of a log, `with_cameras` of the doctor."""

    kind: str
    lines: int = 0
    with_cameras: bool = False


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True):
    """A question and how far it is, without the answer itself.

    Attributes:
        state: `waiting`, `answered`, `refused` (by the device, `refused` says why) or `expired`.
    """

    request: str
    device: str
    kind: str
    camera: str
    asked_by: str
    asked_ms: int
    expires_ms: int
    answered_ms: int | None
    lines: int
    with_cameras: bool
    content_type: str
    refused: str
    size_bytes: int | None
    state: str = "waiting"


def checked(question: Question) -> Question:
    """Return the question as it is asked.

    Raises:
        ConfigError: No such kind, or a number of lines that no device gives.
    """
    if question.kind not in FORMS:
        raise ConfigError(
            f"{question.kind[:40]!r} cannot be asked", operator_hint=f"one of {', '.join(FORMS)}"
        )
    if not 0 <= question.lines <= MAX_LINES:
        raise ConfigError(f"lines: {question.lines}", operator_hint=f"1 to {MAX_LINES}")
    lines = (question.lines or DEFAULT_LINES) if question.kind == LOG else 0
    cameras = question.with_cameras and question.kind == DOCTOR
    return Question(kind=question.kind, lines=lines, with_cameras=cameras)


async def ask(
    db: Database, bulletin: Bulletin, device: str, question: Question, *, actor: str, now_ms: int
) -> str:
    """Ask a device; return the request's id (the same one where it is asked already).

    Raises:
        ConfigError: No such device or kind.
        NotAllowed: It has too many open questions.
    """
    wanted = checked(question)
    of = {"device": device, **msgspec.to_builtins(wanted)}
    async with db.transaction() as tx:
        if await tx.value("diagnostics_device", device=device) is None:
            raise ConfigError(
                f"there is no device {device[:64]!r}",
                operator_hint="`vedette central devices list` names those that are enrolled",
            )
        waiting = await tx.value("diagnostics_open_for", **of, now_ms=now_ms)
        if waiting is not None:
            return str(waiting)
        count = await tx.value("diagnostics_open_count", device=device, now_ms=now_ms)
        if isinstance(count, int) and count >= MAX_OPEN:
            raise NotAllowed(
                f"{device} has {count} open questions", operator_hint="wait until it has answered"
            )
        request = new_id("rq")
        await tx.run(
            "diagnostics_put",
            **of,
            request=request,
            asked_by=actor,
            now_ms=now_ms,
            expires_ms=now_ms + ASK_S * 1000,
        )
        await desired.refresh(tx, device, now_ms)
        await tx.run("device_attend", device=device, until_ms=now_ms + desired.ATTEND_S * 1000)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="diagnostics.ask",
            target=device,
            detail={"request": request, **msgspec.to_builtins(wanted)},
        )
    bulletin.publish(f"desired:{device}", f"device:{device}")
    return request


async def open_kind(db: Database, device: str, request: str, now_ms: int) -> str:
    """Return the kind of an open question to this device.

    Raises:
        NotAllowed: Nobody asked this device for it, or too long ago, or it has answered.
    """
    if not is_slug(request):
        raise NotAllowed("nobody is waiting for this answer")
    async with db.transaction() as tx:
        kind = await tx.value(
            "diagnostics_kind_open", request=request, device=device, now_ms=now_ms
        )
    if kind not in ANSWERS:
        raise NotAllowed("nobody is waiting for this answer")
    return str(kind)


async def answer(
    db: Database,
    bulletin: Bulletin,
    device: str,
    request: str,
    *,
    content_type: str,
    body: bytes,
    now_ms: int,
) -> None:
    """Store what `device` was asked for, once.

    Raises:
        NotAllowed: Nobody is waiting for it, or the form is not that of its kind.
        MalformedReport, TooLarge: The answer is not what it says that it is.
    """
    kind = await open_kind(db, device, request, now_ms)
    refused = ""
    if content_type.partition(";")[0].strip().lower() == PROBLEM:
        refused, content_type, body = refusal(body), PROBLEM, b""
    else:
        _check(kind, content_type, body)
        content_type = ANSWERS[kind].content_type
    async with db.transaction() as tx:
        stored = await tx.run(
            "diagnostics_answer",
            request=request,
            device=device,
            kind=kind,
            answer=body,
            content_type=content_type,
            refused=refused,
            now_ms=now_ms,
        )
        if not stored:
            raise NotAllowed("nobody is waiting for this answer")
        await desired.refresh(tx, device, now_ms)
    bulletin.publish(f"device:{device}", f"desired:{device}")


def refusal(body: bytes) -> str:
    """Return a device's reason as one clean line; raises `TooLarge` and `MalformedReport`."""
    if len(body) > MAX_REFUSAL_BYTES:
        raise TooLarge(f"a refusal of more than {MAX_REFUSAL_BYTES} bytes")
    said = codec.decode(body, Refusal, json=True)
    text = said.detail or said.title or "without a reason"
    return "".join(c if c.isprintable() else "?" for c in text)[:1000]


def _check(kind: str, content_type: str, body: bytes) -> None:
    form = ANSWERS[kind]
    if content_type.partition(";")[0].strip().lower() != form.content_type.partition(";")[0]:
        raise NotAllowed(f"an answer to {kind} is {form.content_type}")
    if len(body) > form.max_bytes:
        raise TooLarge(f"an answer of {len(body)} bytes; at most {form.max_bytes} are allowed")
    shape = HoldAnswer if kind in holds.FORMS else SHAPES.get(kind)
    if shape is not None:
        codec.decode(body, shape, json=True)
        return
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedReport(f"an answer to {kind} is {TEXT}") from error
    if any(not c.isprintable() and c not in "\n\t" for c in text):
        raise MalformedReport("control characters in a log")


async def require_network_test(db: Database, device: str, now_ms: int) -> None:
    """Return where this device has an open question of kind `network`.

    Raises:
        NotAllowed: It has not: bodies that mean nothing are taken and given for a test alone.
    """
    of = {"device": device, "kind": NETWORK, "now_ms": now_ms}
    async with db.transaction() as tx:
        if await tx.value("diagnostics_open_of_kind", **of) is None:
            raise NotAllowed("nobody asked this device to measure its line")


async def page(
    tx: Tx, device: str, after: tuple[int, str] | None, limit: int, now_ms: int
) -> list[Diagnostic]:
    """Return questions about a device, newest first, older than `after`."""
    cursor_ms, cursor_request = after or (2**62, "")
    rows = await tx.all(
        "diagnostics_page",
        Diagnostic,
        device=device,
        cursor_ms=cursor_ms,
        cursor_request=cursor_request,
        limit=limit,
    )
    return [with_state(row, now_ms) for row in rows]


async def one(tx: Tx, device: str, request: str, now_ms: int) -> Diagnostic | None:
    """Return one question about a device."""
    clean = request[:128].replace("\0", "")
    row = await tx.one("diagnostics_one", Diagnostic, device=device, request=clean)
    return with_state(row, now_ms) if row else None


def with_state(row: Diagnostic, now_ms: int) -> Diagnostic:
    """Return the same, with its state at this time."""
    if row.answered_ms is not None:
        state = "refused" if row.refused else "answered"
    else:
        state = "expired" if row.expires_ms <= now_ms else "waiting"
    return msgspec.structs.replace(row, state=state)


async def look(tx: Tx, row: Diagnostic, *, actor: str, now_ms: int) -> bytes:
    """Return the answer; the look stands in the audit log."""
    body = await tx.value("diagnostics_body", request=row.request, device=row.device)
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="diagnostics.look" if row.kind in FORMS else f"{row.kind}.look",
        target=f"{row.device}/{row.camera}" if row.camera else row.device,
        detail={"request": row.request, "kind": row.kind},
    )
    return bytes(body) if isinstance(body, bytes | memoryview) else b""
