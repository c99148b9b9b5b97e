"""A site's policy as its owner writes it, and its way into a signed document.

The file says which pixels may leave and where the cameras are; signing adds the time. Who may
accept it is decided on the device (`edge.desired`), never here.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from vedette.config import entry
from vedette.errors import ConfigError
from vedette.ids import is_slug
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire.signed import POLICY_TYPE, CameraAddress, PixelPolicy, Signed, SitePolicy

MAX_THUMBNAIL_PX = 128
"""As many columns as the device keeps of its background; more would show no more."""


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in `site-policy.yaml`."""

    site: Annotated[str, entry("The site, as central names it")]
    version: Annotated[int, entry("Higher than the one before; devices refuse others", ge=1)]
    pixels: Annotated[PixelPolicy, entry("Which pixels may leave the site")] = PixelPolicy()
    cameras: Annotated[
        list[CameraAddress],
        entry("Where cameras are; such an address replaces that of `edge.yaml`"),
    ] = []
    diagnostics: (
        Annotated[
            list[Literal["log", "config", "network", "doctor"]],
            entry("What central may ask devices for besides pixels; null: all; []: nothing"),
        ]
        | None
    ) = None


def sign_policy(said: PolicyFile, keys: Sequence[SigningKey], *, now_ms: int) -> Signed:
    """Return the policy, signed by each of `keys` and dated `now_ms`.

    Raises:
        ConfigError: A name or a width that no device would take.
    """
    for name in (said.site, *(camera.camera for camera in said.cameras)):
        if not is_slug(name):
            raise ConfigError(
                f"{name!r} is no short name", operator_hint="use 1 to 64 of a-z 0-9 . _ -"
            )
    if not 1 <= said.pixels.thumbnail_px <= MAX_THUMBNAIL_PX:
        raise ConfigError(
            f"thumbnail_px is {said.pixels.thumbnail_px}",
            operator_hint=f"write a width from 1 to {MAX_THUMBNAIL_PX}; the default is 48",
        )
    policy = SitePolicy(
        site=said.site,
        version=said.version,
        issued_ms=now_ms,
        pixels=said.pixels,
        cameras=said.cameras,
        diagnostics=msgspec.UNSET if said.diagnostics is None else list(said.diagnostics),
    )
    return sign_struct(policy, POLICY_TYPE, keys)
