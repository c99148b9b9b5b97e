"""People's word on what a model said: right, wrong, unsure. Counted with how sure the share is.

Each person has one word on an event, the last one. The share of overridden answers stands beside
how many people looked at and its interval: three wrong of four is no 75 %. People look at what
looks odd, so this is no estimate of a model's error; it is how often somebody had to step in.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from vedette.central import audit
from vedette.central.store.db import Tx
from vedette.errors import ConfigError
from vedette.ids import new_id
from vedette.stats.intervals import clopper_pearson
from vedette.wire.messages import EventReport

MAX_ROWS: Final = 1_000
MAX_NOTE_CHARS: Final = 500
_MOST_TRIALS: Final = 100_000

Verdict = Literal["right", "wrong", "unsure"]

_event = msgspec.msgpack.Decoder(EventReport)


class NewOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of an event; `correct` is what it was, where it was wrong."""

    event: str
    verdict: Verdict
    correct: str = ""
    note: str = ""


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A word that stands."""

    override: str
    event: str
    verdict: Verdict


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """People's words on what one model said on one camera.

    Attributes:
        overridden_share: Wrong of right and wrong; null where nobody said either.
        interval: 95 % Clopper–Pearson interval of that share.
    """

    site: str
    device: str
    camera: str
    model: str
    said: str
    agreed: int
    overridden: int
    unsure: int
    overridden_share: float | None = None
    interval: tuple[float, float] | None = None


class _Judged(msgspec.Struct, frozen=True, kw_only=True):
    device: str
    site: str
    camera: str
    at_ms: int
    label: str
    body: bytes


async def say(
    tx: Tx, wanted: NewOverride, *, scope: Sequence[str] | None, actor: str, now_ms: int
) -> Override | None:
    """Have this person's word on an event; None where there is no such event in scope.

    Raises:
        ConfigError: Too many words, or two devices gave the event the same id.
    """
    for text in (wanted.correct, wanted.note):
        if len(text) > MAX_NOTE_CHARS or not text.isprintable():
            raise ConfigError(f"at most {MAX_NOTE_CHARS} printable characters")
    if wanted.correct and wanted.verdict != "wrong":
        raise ConfigError("only a wrong answer has a correct one")
    found = await tx.all(
        "override_event",
        _Judged,
        event=wanted.event[:128].replace("\0", ""),
        scope=None if scope is None else list(scope),
    )
    if not found:
        return None
    if len(found) > 1:
        raise ConfigError("two devices have an event of this id: it cannot be told which is meant")
    judged = found[0]
    override = await tx.value(
        "override_put",
        override=new_id("ov"),
        site=judged.site,
        device=judged.device,
        camera=judged.camera,
        event=wanted.event,
        at_ms=judged.at_ms,
        model=_event.decode(judged.body).model,
        said=judged.label,
        verdict=wanted.verdict,
        correct=wanted.correct,
        note=wanted.note,
        said_by=actor,
        now_ms=now_ms,
    )
    await audit.write(
        tx,
        at_ms=now_ms,
        actor=actor,
        action="override.say",
        target=f"{judged.device}/{judged.camera}/{wanted.event}",
        detail={"verdict": wanted.verdict},
    )
    return Override(override=str(override), event=wanted.event, verdict=wanted.verdict)


async def counted(tx: Tx, sites: Sequence[str], *, from_ms: int, to_ms: int) -> list[Counted]:
    """Return people's words in a window, most overridden first."""
    found = await tx.all(
        "overrides_counted",
        Counted,
        sites=list(sites),
        from_ms=from_ms,
        to_ms=to_ms,
        limit=MAX_ROWS,
    )
    return [_with_share(row) for row in found]


def _with_share(row: Counted) -> Counted:
    trials = row.agreed + row.overridden
    if not 0 < trials <= _MOST_TRIALS:
        return row
    return msgspec.structs.replace(
        row,
        overridden_share=row.overridden / trials,
        interval=clopper_pearson(row.overridden, trials),
    )
