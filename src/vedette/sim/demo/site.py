"""The demo's one site: which cameras it has, what they look for, and the site's own signature.

Here the operator's and the installer's paperwork is made: the device's configuration file, the
site's key, and the policy, signed by that key, with the cameras' addresses. What central does with
it is in `sim.demo.operator`; what runs is in `sim.demo.stage`.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire.signed import POLICY_TYPE, CameraAddress, PixelPolicy, Signed, SitePolicy

SITE: Final = "harbour"
SITE_NAME: Final = "Harbour square"
DEVICE: Final = "closet-1"
REPORT_S: Final = 10.0
AGGREGATE_S: Final = 5.0
"""Instead of 30 and 60 s, so that a visitor need not wait."""

CUT, COVERED, STEADY = "west", "east", "square"


class CameraPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One camera of the demo.

    Attributes:
        view: The view of the footage that it shows.
        rtsp: Read over RTSP from our server; else a looping file.
    """

    camera: str
    name: str
    view: str
    rtsp: bool
    zones: list[dict[str, Any]]
    lines: list[dict[str, Any]]


def _rectangle(name: str, x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
    return {
        "name": name,
        "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]],
        "labels": ["person"],
        "dwell_s": 20.0,
    }


def _upright(name: str, x: float) -> dict[str, Any]:
    ends = {"a": [x, 0.15], "b": [x, 0.98]}
    return {"name": name, **ends, "labels": ["person"], "evidence": True}


CAMERAS: Final = (
    CameraPlan(
        camera=STEADY,
        name="Square, whole view",
        view="full",
        rtsp=False,
        zones=[_rectangle("plaza", 0.15, 0.35, 0.85, 0.8)],
        lines=[_upright("middle", 0.5)],
    ),
    CameraPlan(
        camera=CUT,
        name="West corner",
        view="left",
        rtsp=True,
        zones=[_rectangle("path", 0.05, 0.3, 0.95, 0.6)],
        lines=[_upright("kiosk", 0.55)],
    ),
    CameraPlan(
        camera=COVERED,
        name="East corner",
        view="right",
        rtsp=True,
        zones=[_rectangle("lawn", 0.05, 0.3, 0.95, 0.7)],
        lines=[_upright("gate", 0.45)],
    ),
)


def write_config(
    path: Path, *, central_url: str, state_dir: Path, models_dir: Path, threshold: float | None
) -> None:
    """Write the device's `edge.yaml`; camera addresses are not in it, they come signed."""
    cameras = [
        {
            "id": plan.camera,
            "name": plan.name,
            "model": "centernet",
            "max_fps": 5.0,
            "loop": not plan.rtsp,
            "labels": ["person"],
            "threshold": threshold,
            "zones": plan.zones,
            "lines": plan.lines,
        }
        for plan in CAMERAS
    ]
    tree = {
        "state_dir": str(state_dir),
        "models_dir": str(models_dir),
        "central": {"url": central_url},
        "telemetry": {"report_period_s": REPORT_S, "aggregate_period_s": AGGREGATE_S},
        "evidence": {"before_s": 3.0, "after_s": 3.0, "daily_mb": 256.0, "keep_mb": 256.0},
        "build_hint": "demo device",
        "cameras": cameras,
    }
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def write_central(path: Path, state_dir: Path, port: int, *, told_at: int) -> None:
    """Write central's `central.yaml`; its channels may reach one receiver on this machine."""
    tree = {
        "state_dir": str(state_dir),
        "listen": f"127.0.0.1:{port}",
        "alerts": {"allow_private": ["127.0.0.1/32"], "ports": [told_at]},
    }
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def sign_policy(key: SigningKey, addresses: dict[str, str], *, version: int, now_ms: int) -> Signed:
    """Return the site's policy over where its cameras are and which pixels may leave: none."""
    policy = SitePolicy(
        site=SITE,
        version=version,
        issued_ms=now_ms,
        pixels=PixelPolicy(),
        cameras=[
            CameraAddress(camera=plan.camera, source=addresses[plan.camera], name=plan.name)
            for plan in CAMERAS
        ],
    )
    return sign_struct(policy, POLICY_TYPE, [key])
