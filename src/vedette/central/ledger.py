"""Reading the coverage ledger: from the tables to what `coverage.resolve` takes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from vedette.central.coverage import (
    FRESH_MS,
    Claim,
    Situation,
    StateChange,
    from_states,
    resolve,
)
from vedette.central.store.db import Tx
from vedette.central.views import Segment
from vedette.wire.messages import Cause, State

Key = tuple[str, str]  # device, camera


class Facts(msgspec.Struct, kw_only=True):
    """What is known of one camera's time in a window."""

    claims: list[Claim] = []
    changes: list[StateChange] = []
    silent_ms: int | None = None  # the first silence after the last change, in the window or not


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the time of several cameras in a window; `segments` resolves one."""

    from_ms: int
    to_ms: int
    now_ms: int
    cameras: dict[Key, Facts]
    dark: dict[str, list[tuple[int, int | None]]]
    central_down: list[tuple[int, int]]
    ended_ms: dict[str, int] = {}

    def segments(
        self, device: str, camera: str, known_from_ms: int, drained_to_ms: int | None
    ) -> list[Segment]:
        """Return the resolved coverage of one camera over the window."""
        facts = self.cameras.get((device, camera), Facts())
        gaps, opened = from_states(facts.changes)
        situation = Situation(
            known_from_ms=known_from_ms,
            dark=self.dark.get(device, []),
            central_down=self.central_down,
            drained_to_ms=drained_to_ms,
            open_gap=opened,
            silent_ms=facts.silent_ms,
            ended_ms=self.ended_ms.get(device),
        )
        return resolve(
            [*facts.claims, *gaps],
            situation,
            from_ms=self.from_ms,
            to_ms=self.to_ms,
            now_ms=self.now_ms,
        )


async def read(
    tx: Tx,
    devices: Sequence[str],
    *,
    from_ms: int,
    to_ms: int,
    now_ms: int,
    camera: str | None = None,
) -> Ledger:
    """Return the ledger of every camera of `devices`; of one `camera` with rates and words."""
    listed = list(devices)
    cameras: dict[Key, Facts] = defaultdict(Facts)
    window = {"from_ms": from_ms, "to_ms": to_ms}
    if camera is None:
        for device, name, cause, weak, start_ms, end_ms in await tx.tuples(
            "look_claims_joined", devices=listed, **window
        ):
            cameras[device, name].claims.append(_claim(cause, weak, start_ms, end_ms))
    else:
        for cause, weak, start_ms, end_ms, rate_fps, detail in await tx.tuples(
            "look_claims", device=listed[0], camera=camera, **window
        ):
            found = _claim(cause, weak, start_ms, end_ms, rate_fps=rate_fps, detail=detail)
            cameras[listed[0], camera].claims.append(found)
    for device, name, at_ms, state, cause, detail in await tx.tuples(
        "look_states", devices=listed, from_ms=from_ms
    ):
        cameras[device, name].changes.append(
            StateChange(
                at_ms=at_ms,
                state=State(state),
                cause=Cause(cause) if cause else None,
                detail=detail if camera else "",
            )
        )
    await _find_silences(tx, cameras)
    transitions: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for device, at_ms, state in await tx.tuples(
        "look_transitions", devices=listed, from_ms=from_ms - FRESH_MS
    ):
        transitions[device].append((at_ms, state))
    ended = dict(await tx.tuples("look_ended", devices=listed))
    downs = await tx.tuples("look_central_downs", **window)
    return Ledger(
        from_ms=from_ms,
        to_ms=to_ms,
        now_ms=now_ms,
        cameras=dict(cameras),
        dark={device: dark_spells(changes) for device, changes in transitions.items()},
        central_down=[(start_ms, end_ms) for start_ms, end_ms in downs],
        ended_ms=ended,
    )


async def _find_silences(tx: Tx, cameras: dict[Key, Facts]) -> None:
    """Note when devices first fell silent after a camera's last change, where that was a gap.

    A window may begin long after both: what holds at a moment must not depend on it.
    """
    opened = {key: from_states(facts.changes)[1] for key, facts in cameras.items()}
    gaps = [(key, gap) for key, gap in opened.items() if gap is not None]
    if not gaps:
        return
    for device, camera, at_ms in await tx.tuples(
        "look_silences",
        devices=[key[0] for key, _ in gaps],
        cameras=[key[1] for key, _ in gaps],
        since=[gap.start_ms for _, gap in gaps],
    ):
        cameras[device, camera].silent_ms = at_ms


def dark_spells(changes: Iterable[tuple[int, str]]) -> list[tuple[int, int | None]]:
    """Return the spells of silence in state changes `(at_ms, state)` in order of time."""
    spells: list[tuple[int, int | None]] = []
    began_ms: int | None = None
    for at_ms, state in changes:
        if state == "dark":
            began_ms = at_ms if began_ms is None else began_ms
        elif began_ms is not None:
            if at_ms > began_ms:
                spells.append((began_ms, at_ms))
            began_ms = None
    if began_ms is not None:
        spells.append((began_ms, None))
    return spells


def _claim(
    cause: str | None,
    weak: Any,
    start_ms: int,
    end_ms: int,
    *,
    rate_fps: float | None = None,
    detail: str = "",
) -> Claim:
    return Claim(
        start_ms=start_ms,
        end_ms=end_ms,
        cause=Cause(cause) if cause else None,
        weak=bool(weak),
        rate_fps=None if rate_fps is None else round(rate_fps, 1),
        detail=detail,
    )
