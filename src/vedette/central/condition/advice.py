"""What is wrong at a site, worst first, and what a person does about it. Pure.

    findings(site, now_ms) -> [Finding(what, where, since_ms, todo)]

The words are those of docs/handle-an-incident.md, short. The rule: one fact is told once. A site
that is dark as a whole is one finding, not one for each device; a dark device speaks for its
cameras; and whatever is told says what to do, or that nothing has to be done.
"""

from typing import Final

import msgspec

from vedette.central.rows import badness
from vedette.central.views import CameraRow, DeviceRow, SiteRow


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        state: The state that it is shown as.
        what: The fact, in words.
        todo: What a person does about it.
        who: Who acts: site, network, you, nobody.
        device, camera: Where; empty: the whole site, all of the device.
    """

    state: str
    what: str
    todo: str
    who: str
    since_ms: int | None = None
    device: str = ""
    camera: str = ""


SITE_DARK: Final = (
    "Power or network of the whole site, hardly every device at once: call the site first, drive "
    "later. It is back with the first device that speaks."
)
DEVICE_DARK: Final = (
    "Power, network or the device itself; central cannot tell which. Have somebody look whether it "
    "has power and a link light. What it sees meanwhile it keeps and sends later."
)
QUARANTINED: Final = (
    "Two copies speak with its key: somebody started a copy of its disk. Find and stop the one "
    "that should not be, then release it; or give its name to a fresh key."
)
NEVER: Final = "Enrolled, but never heard: is it switched on, and may it reach central by HTTPS?"
STOPPED: Final = (
    "The device is there, its video process is not. Ask it for its log: the end has the reason. "
    "Exit status 2 is a setting or model that cannot be used, signal 9 mostly want of memory."
)
PROBLEM: Final = "Its page says which part, and what to do."
CLOCK: Final = "It does not know what time it is and counts nothing: look at NTP and its battery."

_DOWN: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        ("401", "403", "refused the", "password", "unauthor"),
        "The camera refuses user or password: correct them on the device, or sign a new policy.",
    ),
    (
        ("404", "not found"),
        "The camera has no such stream: its address is wrong, or its firmware renamed it.",
    ),
    (
        ("refused", "reset"),
        "The camera's machine is there, its video service is not: restart the camera.",
    ),
    (
        ("no route", "unreachable", "timed out", "timeout", "no answer", "silen"),
        "The camera does not answer: look at its power, its cable and its port at the switch.",
    ),
    (
        ("resolve", "name or service"),
        "Its name is not known on the site's network: use its address, or mend the DNS there.",
    ),
)
DOWN: Final = (
    "The camera gives no pictures: look at power, cable, address and password. It is tried again "
    "forever, and the gap ends with its first picture."
)

_SIGNS: Final = {
    "Covered": "Something covers the lens: have somebody at the site look.",
    "ImageTooDark": "Too dark: lights, or a covered lens. Dark at night on purpose: set off-hours.",
    "ImageTooBright": "Blinded: look for a lamp or the sun straight into the lens.",
    "ImageTooBlurry": "Out of focus or dirty: focus the lens and clean its front.",
    "FrozenPicture": "The stream runs but its picture stands: restart the camera.",
    "GlobalSceneChange": (
        "It looks at something else: turn it back, or confirm the new view by commissioning."
    ),
}
TAMPERED: Final = "Ask for a picture: it cannot show anybody, but a wall, a floor or black it can."
DEGRADED: Final = "It works, but worse than it should: look at its page for what and since when."

_QUIET: Final = frozenset({"ok", "off", "starting", "dark", "revoked"})


def findings(site: SiteRow) -> list[Finding]:
    """Return everything wrong at a site, worst first; of equals the oldest first."""
    if site.dark_since_ms is not None:
        count = len(site.dark_together)
        several = f"{count} devices fell silent together" if count > 1 else "its device is silent"
        whole = Finding(
            state="dark",
            what=f"The whole site is dark: {several}",
            todo=SITE_DARK,
            who="site",
            since_ms=site.dark_since_ms,
        )
        rest = [one for row in site.devices if row.state != "dark" for one in of_device(row)]
        return [whole, *_sorted(rest)]
    return _sorted([one for row in site.devices for one in of_device(row)])


def findings_of(row: DeviceRow) -> list[Finding]:
    """Return what is wrong with one device and its cameras, worst first."""
    return _sorted(of_device(row))


def _sorted(found: list[Finding]) -> list[Finding]:
    return sorted(
        found, key=lambda one: (badness(one.state), one.since_ms or 0, one.device, one.camera)
    )


def of_device(row: DeviceRow) -> list[Finding]:
    """Return what is wrong with a device and its cameras; of a revoked one nothing is asked."""
    if row.state == "revoked":
        return []
    found = _of_itself(row)
    if row.state not in {"dark", "never"}:
        # A device whose pipeline stands still says so once, not once for each camera.
        stands = any(one.todo == STOPPED for one in found)
        cameras = [c for c in row.cameras if c.state not in _QUIET]
        found += [
            of_camera(c) for c in cameras if not (stands and c.detail.startswith("the pipeline"))
        ]
    return found


def _of_itself(row: DeviceRow) -> list[Finding]:
    at = {"device": row.device, "since_ms": row.since_ms}
    if row.state == "quarantined":
        return [
            Finding(state="quarantined", what="in quarantine", todo=QUARANTINED, who="you", **at)
        ]
    if row.state == "dark":
        return [Finding(state="dark", what="not heard from", todo=DEVICE_DARK, who="site", **at)]
    if row.state == "never":
        at["since_ms"] = None
        return [Finding(state="never", what="never heard from", todo=NEVER, who="site", **at)]
    found: list[Finding] = []
    stopped = next((c for c in row.cameras if c.detail.startswith("the pipeline")), None)
    if row.state == "degraded" or stopped:
        what = stopped.detail if stopped else "the pipeline does not run"
        found.append(Finding(state="down", what=what, todo=STOPPED, who="you", **at))
    if row.clock_state == "untrusted":
        found.append(
            Finding(
                state="degraded", what="clock not trusted", todo=CLOCK, who="you", device=row.device
            )
        )
    found += [
        Finding(
            state="degraded",
            what=text,
            todo=PROBLEM,
            who="you",
            device=row.device,
        )
        for text in row.problems
    ]
    return found


def of_camera(row: CameraRow) -> Finding:
    """Return what is wrong with a camera that is not well."""
    at = {"device": row.device, "camera": row.camera, "since_ms": row.since_ms}
    if row.state == "down":
        return Finding(
            state="down",
            what=row.detail or "no pictures",
            todo=_down(row.detail),
            who="site",
            **at,
        )
    if row.state in {"tampered", "degraded"}:
        said = [_SIGNS[sign] for sign in row.signs if sign in _SIGNS]
        fallback = TAMPERED if row.state == "tampered" else DEGRADED
        todo = " ".join([*(said or row.advice[:1]), TAMPERED if said else ""]).strip() or fallback
        if row.state == "degraded" and said:
            todo = " ".join(said)
        return Finding(state=row.state, what=row.detail or row.state, todo=todo, who="site", **at)
    todo = "It never told anything: look whether the device is set up for this camera."
    return Finding(state=row.state, what=row.detail or "no word yet", todo=todo, who="you", **at)


def _down(detail: str) -> str:
    said = detail.lower()
    return next((todo for words, todo in _DOWN if any(word in said for word in words)), DOWN)
