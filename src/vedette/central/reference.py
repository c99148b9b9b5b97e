"""How a camera looked when a person said that it is right, beside how it lies on that now.

    read     when it was pinned or kept, by whom, and how the device's last picture compares
    newest   the picture itself; the caller writes the look into the audit log
    keep     the newest picture, as how it shall look from now on

Pictures come as coarse as every other that leaves a site, or not at all: its policy decides. The
rule: by eye one compares with the picture here; the device compares with its own pin, which is made
by commissioning and finer.
"""

from typing import Final

import msgspec

from vedette.central import audit, rows
from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Database, Tx
from vedette.errors import NotAllowed
from vedette.ids import new_id
from vedette.wire.messages import SceneHealth

SHIFTED: Final = 0.025
STANDS_OUT: Final = 12.0
"""The device's own limits (`TamperSettings.shift`, `moved_strength`)."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that is kept: `kind` is `reference` (pinned on the device) or `kept` (here)."""

    request: str
    kind: str
    asked_by: str
    answered_ms: int


class Picture(Facts, frozen=True, kw_only=True):
    """The same with its JPEG."""

    answer: bytes


class Then(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows beside the newest picture.

    Attributes:
        pending: Who asked for the pinned scene and has no answer yet; empty: nobody.
        scene: What the device said of its last picture; None where it did not.
        said_ms: When it said so.
    """

    kept: Facts | None = None
    pending: str = ""
    scene: SceneHealth | None = None
    said_ms: int | None = None


async def read(tx: Tx, device: str, camera: str, now_ms: int) -> Then:
    """Return what is known of how a camera shall look. The caller saw to it that it is there."""
    of: dict[str, object] = {"device": device, "camera": camera}
    facts = await tx.one("camera_settings_device", rows.DeviceFacts, device=device)
    report = facts.report() if facts else None
    listed = report.pipeline.cameras if report and report.pipeline else []
    health = next((row for row in listed if row.camera == camera), None)
    return Then(
        kept=await tx.one("reference_facts", Facts, **of),
        pending=str(await tx.value("reference_pending", **of, now_ms=now_ms) or ""),
        scene=health.scene if health else None,
        said_ms=report.at_ms if report and health else None,
    )


async def newest(db: Database, device: str, camera: str) -> Picture | None:
    """Return the picture. The caller writes the look into the audit log."""
    async with db.transaction() as tx:
        return await tx.one("reference_newest", Picture, device=device, camera=camera)


async def keep(
    db: Database, bulletin: Bulletin, device: str, camera: str, *, actor: str, now_ms: int
) -> None:
    """Keep the newest picture as how the camera shall look; what was kept before goes.

    Raises:
        NotAllowed: No picture was ever taken.
    """
    async with db.transaction() as tx:
        of: dict[str, object] = {"device": device, "camera": camera}
        kept = new_id("rq")
        if not await tx.run("reference_keep", **of, request=kept, actor=actor, now_ms=now_ms):
            raise NotAllowed("no picture was taken yet", operator_hint="ask for one first")
        await tx.run("references_trim", device=device)
        await audit.write(
            tx,
            at_ms=now_ms,
            actor=actor,
            action="reference.keep",
            target=f"{device}/{camera}",
            detail={"request": kept},
        )
    bulletin.publish(f"device:{device}")


def verdict(scene: SceneHealth | None) -> tuple[str, str]:
    """Return a state and words for how the device's last picture lies on what it knows."""
    if scene is None:
        return "unknown", "the device did not say how its picture compares"
    if scene.likeness is None:
        return "unknown", "nothing to compare: nothing is seen, or nothing is known yet"
    alike = f"likeness {scene.likeness:.2f}"
    if scene.right is None or scene.down is None:
        return "ok", f"as it was: {alike}"
    by = f"{_way(scene.right, 'right', 'left')}, {_way(scene.down, 'down', 'up')}"
    strength = f"strength {scene.strength or 0.0:.0f}"
    if (scene.strength or 0.0) < STANDS_OUT:
        return "unknown", f"no clear shift ({by}, {strength}); {alike}"
    if max(abs(scene.right), abs(scene.down)) < SHIFTED:
        return "ok", f"in place: shifted by {by} ({strength}); {alike}"
    return "degraded", f"moved: its content lies {by} ({strength}); {alike}"


def _way(part: float, more: str, less: str) -> str:
    return f"{abs(part) * 100:.1f} % {more if part >= 0 else less}"
