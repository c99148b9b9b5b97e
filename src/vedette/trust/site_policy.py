"""A site's policy as its owner writes it, and its way into a signed document.

The file says which pixels may leave and where the cameras are; signing adds the time. Who may
accept it is decided on the device (`edge.desired`), never here.
"""

from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from vedette.config import entry
from vedette.errors import ConfigError
from vedette.ids import is_slug
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.trust.local_alerts import bears_secret, check_alerts
from vedette.trust.sealing import seal, seal_channels
from vedette.wire.alerts import LocalAlerts, without_secrets
from vedette.wire.signed import (
    POLICY_TYPE,
    CameraAddress,
    PixelPolicy,
    SealedAddresses,
    Signed,
    SitePolicy,
)

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
    seal_for: Annotated[
        dict[str, str],
        entry("Devices by name, each with its sealing key: only they can read where cameras are"),
    ] = {}
    diagnostics: (
        Annotated[
            list[Literal["log", "config", "network", "doctor"]],
            entry("What central may ask devices for besides pixels; null: all; []: nothing"),
        ]
        | None
    ) = None
    alerts: Annotated[
        LocalAlerts,
        entry("What devices do about alerts on their own: `channels:` and `rules:`"),
    ] = LocalAlerts()


def sign_policy(said: PolicyFile, keys: Sequence[SigningKey], *, now_ms: int) -> Signed:
    """Return the policy, signed by each of `keys` and dated `now_ms`.

    Raises:
        ConfigError: A name, width or local channel that no device would take; or the secret of a
            local channel would go through central in clear.
    """
    for name in (said.site, *said.seal_for, *(camera.camera for camera in said.cameras)):
        if not is_slug(name):
            raise ConfigError(
                f"{name!r} is no short name", operator_hint="use 1 to 64 of a-z 0-9 . _ -"
            )
    if not 1 <= said.pixels.thumbnail_px <= MAX_THUMBNAIL_PX:
        raise ConfigError(
            f"thumbnail_px is {said.pixels.thumbnail_px}",
            operator_hint=f"write a width from 1 to {MAX_THUMBNAIL_PX}; the default is 48",
        )
    _check_alerts(said)
    policy = SitePolicy(
        site=said.site,
        version=said.version,
        issued_ms=now_ms,
        pixels=said.pixels,
        cameras=_without_sources(said.cameras) if said.seal_for else said.cameras,
        sealed=_sealed(said) if said.seal_for else msgspec.UNSET,
        diagnostics=msgspec.UNSET if said.diagnostics is None else list(said.diagnostics),
        alerts=_public(said) if said.alerts != LocalAlerts() else msgspec.UNSET,
        sealed_alerts=_sealed_alerts(said)
        if said.seal_for and said.alerts.channels
        else msgspec.UNSET,
    )
    return sign_struct(policy, POLICY_TYPE, keys)


def bears_passwords(said: PolicyFile) -> bool:
    """True where this policy, as it would be signed, has a camera's password in clear."""
    sources = [camera.source for camera in said.cameras]
    sources += [camera.evidence_source for camera in said.cameras]
    return not said.seal_for and any(urlsplit(source).password for source in sources)


def _without_sources(cameras: Sequence[CameraAddress]) -> list[CameraAddress]:
    """Return what central may know: that there is such a camera, and its name."""
    return [CameraAddress(camera=one.camera, source="", name=one.name) for one in cameras]


def _sealed(said: PolicyFile) -> list[SealedAddresses]:
    return [
        seal(said.cameras, site=said.site, device=device, version=said.version, key=key)
        for device, key in sorted(said.seal_for.items())
    ]


def _check_alerts(said: PolicyFile) -> None:
    check_alerts(said.alerts)
    if said.seal_for:
        return
    for channel in said.alerts.channels:
        if bears_secret(channel):
            raise ConfigError(
                f"alerts: channel {channel.channel!r} has a secret, which central would read",
                operator_hint="name each device in `seal_for:`, with what `vedette edge"
                " sealing-key` prints there",
            )


def _public(said: PolicyFile) -> LocalAlerts:
    """Return the rules, and of the channels what central may know."""
    if not said.seal_for:
        return said.alerts
    stubs = [without_secrets(channel) for channel in said.alerts.channels]
    return LocalAlerts(channels=stubs, rules=said.alerts.rules)


def _sealed_alerts(said: PolicyFile) -> list[SealedAddresses]:
    """Return a box for each device, with those channels alone that it has."""
    boxes: list[SealedAddresses] = []
    for device, key in sorted(said.seal_for.items()):
        channels = [one for one in said.alerts.channels if not one.devices or device in one.devices]
        boxes.append(
            seal_channels(channels, site=said.site, device=device, version=said.version, key=key)
        )
    return boxes
