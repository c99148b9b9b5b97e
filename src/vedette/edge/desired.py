"""What should run here: which signed documents are accepted, and what comes of them.

Two signers, two documents, and neither may speak for the other. Central's pinned key signs
`DeviceSettings` (zones, thresholds, periods), which has no field for addresses or pixels. The
site's pinned keys sign `SitePolicy` (pixels, camera addresses). A document is refused whole:
for a wrong signer, another device or site, an older version, anything its signer may not say, or
values that make no sense. What was accepted before goes on running.

Accepted documents are kept as they were signed, and verified again each time they are read. Before
either, the site's keys are followed to their newest version (`edge.site_keys`).

    policy/settings.json   policy/site_policy.json   the signed documents
    effective.yaml         the configuration with both laid over it, for the pipeline
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import yaml

from vedette.edge import overlay, site_keys
from vedette.edge.alerts import said as alerts_said
from vedette.edge.enrolment import Identity, sealing_key
from vedette.edge.settings import (
    BandwidthWindow,
    Camera,
    EdgeConfig,
    Telemetry,
    UplinkSettings,
    check,
)
from vedette.errors import (
    BadSignature,
    ConfigError,
    MalformedReport,
    NotAllowed,
    RollbackAttempt,
    TrustError,
    VedetteError,
    WireError,
)
from vedette.trust import dsse
from vedette.trust.keys import from_text, write_private
from vedette.wire import diagnostics
from vedette.wire.alerts import LocalAlerts, LocalChannel
from vedette.wire.codec import decode
from vedette.wire.enrol import Desired
from vedette.wire.limits import MAX_LINE_WINDOWS
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    CameraSettings,
    DeviceSettings,
    PixelPolicy,
    SealedAddresses,
    Signed,
    SitePolicy,
)

log = logging.getLogger(__name__)
D = TypeVar("D", DeviceSettings, SitePolicy)

FOLDER: Final = "policy"
EFFECTIVE: Final = "effective.yaml"
NOTHING_LEAVES: Final = PixelPolicy(thumbnails=False)
"""Holds where a policy was accepted once and cannot be read any more."""

_HEAD: Final = (
    "# Written by the agent from its own configuration and the signed documents. Do not edit.\n"
)


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What this device runs by: the local file with the accepted documents laid over it.

    Attributes:
        diagnostics: What central may ask for, as the site says; nothing of it has pixels.
        alerts: What this device does about alerts on its own.
        alert_problems: Rules of central's that it does not follow, in words.
    """

    config: EdgeConfig
    pixels: PixelPolicy = PixelPolicy()
    diagnostics: frozenset[str] = frozenset(diagnostics.FORMS)
    settings_version: int = 0
    policy_version: int = 0
    alerts: LocalAlerts = alerts_said.NOTHING
    alert_problems: list[str] = []


# ------------------------------------------------------------------------------------ deciding


def accept_settings(
    signed: Signed, identity: Identity, held: DeviceSettings | None
) -> DeviceSettings:
    """Return the settings in `signed` where this device may follow them.

    Raises:
        BadSignature: Not signed by central's pinned key.
        NotAllowed: For another device, or saying what settings may not say.
        RollbackAttempt: Older than what is held, or another text of the same version.
        MalformedReport: Signed, but no settings.
    """
    said = dsse.open_struct(signed, DeviceSettings, [identity.central], payload_type=SETTINGS_TYPE)
    if said.device != identity.device:
        raise NotAllowed(f"settings for {said.device[:64]!r}, this is {identity.device!r}")
    _refuse_rollback(said, held, "settings")
    return said


def accept_policy(signed: Signed, identity: Identity, held: SitePolicy | None) -> SitePolicy:
    """Return the site policy in `signed` where this device may follow it.

    Raises:
        BadSignature: Too few of the site's pinned keys signed it; central's key is none of them.
        NotAllowed: For another site, or saying what a policy may not say.
        RollbackAttempt: Older than what is held, or another text of the same version.
        MalformedReport: Signed, but no policy.
    """
    said = dsse.open_struct(
        signed,
        SitePolicy,
        identity.site_signers,
        payload_type=POLICY_TYPE,
        threshold=identity.site_threshold,
    )
    if said.site != identity.site:
        raise NotAllowed(f"a policy for {said.site[:64]!r}, this is {identity.site!r}")
    _refuse_rollback(said, held, "site policy")
    return said


def _refuse_rollback(said: D, held: D | None, what: str) -> None:
    if held is None or said == held:
        return
    if said.version <= held.version:
        raise RollbackAttempt(
            f"{what} version {said.version}; version {held.version} was accepted before",
            operator_hint="sign it again with a higher version",
        )


def lay_over(
    config: EdgeConfig,
    settings: DeviceSettings | None,
    policy: SitePolicy | None,
    time_zone: str = "UTC",
    overlaid: overlay.Overlay | None = None,
) -> Effective:
    """Return `config` with the site's policy, then central's settings laid over it.

    `overlaid` lies under `config` already; cameras that only the policy has get their share of it.

    Raises:
        ConfigError: The result makes no sense: the document that causes it is to be refused.
    """
    cameras = {camera.id: camera for camera in config.cameras}
    for address in policy.cameras if policy else []:
        if not address.source and policy and policy.sealed is not msgspec.UNSET:
            continue  # sealed, and not for this device: what it has of its own stays
        camera = cameras.get(address.camera)
        if camera is None:
            camera = overlay.lay_camera(Camera(id=address.camera), overlaid or overlay.Overlay())
        cameras[address.camera] = msgspec.structs.replace(
            camera,
            source=address.source,
            evidence_source=address.evidence_source,
            name=address.name or camera.name,
        )
    for wanted in settings.cameras if settings else []:
        if wanted.camera in cameras:  # a camera that is not here yet, or not any more
            cameras[wanted.camera] = _with_settings(cameras[wanted.camera], wanted)
    telemetry = config.telemetry
    if settings is not None:
        telemetry = Telemetry(
            report_period_s=settings.report_period_s or telemetry.report_period_s,
            aggregate_period_s=settings.aggregate_period_s or telemetry.aggregate_period_s,
        )
    result = msgspec.structs.replace(
        config,
        cameras=list(cameras.values()),
        telemetry=telemetry,
        time_zone=told_zone(settings, time_zone) if config.time_zone == "UTC" else config.time_zone,
        uplink=_uplink(config.uplink, settings),
    )
    return Effective(
        config=_checked(result),
        pixels=policy.pixels if policy else PixelPolicy(),
        settings_version=settings.version if settings else 0,
        policy_version=policy.version if policy else 0,
    )


def told_zone(settings: DeviceSettings | None, enrolled: str) -> str:
    """Return the site's time zone as central said it last.

    Raises:
        ConfigError: This machine knows no such zone.
    """
    zone = settings.time_zone if settings else msgspec.UNSET
    if zone is msgspec.UNSET:
        return enrolled
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"no time zone {zone[:64]!r} on this machine",
            operator_hint="update its time zones (tzdata), or correct the site's",
        ) from error
    return zone


def _uplink(uplink: UplinkSettings, settings: DeviceSettings | None) -> UplinkSettings:
    said = settings.uplink if settings else msgspec.UNSET
    if said is msgspec.UNSET:
        return uplink
    changes: dict[str, Any] = {}
    if said.backfill_kbit_s is not None:
        changes["backfill_kbit_s"] = said.backfill_kbit_s
    if said.windows is not None:
        if len(said.windows) > MAX_LINE_WINDOWS:
            raise ConfigError(f"{len(said.windows)} windows for one line")
        windows = (msgspec.structs.asdict(window) for window in said.windows)
        changes["windows"] = [BandwidthWindow(**window) for window in windows]
    return msgspec.structs.replace(uplink, **changes)


def _with_settings(camera: Camera, wanted: CameraSettings) -> Camera:
    changes: dict[str, Any] = {
        name: value
        for name in ("zones", "lines", "threshold", "labels", "off_hours", "regions")
        if (value := getattr(wanted, name)) is not None
    }
    return msgspec.structs.replace(camera, **changes)


def _checked(config: EdgeConfig) -> EdgeConfig:
    """Return `config` with every limit of its declaration checked: replacing checks nothing."""
    try:
        again = msgspec.convert(_plain(config), EdgeConfig, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the resulting configuration: {error}") from error
    check(again, "the resulting configuration")
    return again


# --------------------------------------------------------------------------------------- keeping


class DesiredStore:
    """The accepted documents on disk, and the effective configuration made of them.

    Thread: one at a time; `check_overlay` and `take_overlay` any.
    """

    def __init__(self, state_dir: Path, config: EdgeConfig, identity: Identity | None) -> None:
        """Read what was accepted; a kept document that no longer verifies is ignored and said."""
        self._state_dir: Final = state_dir
        self._local: Final = config
        self._config = config
        self._lock: Final = threading.RLock()
        self.overlay_digest = ""
        self._overlay: overlay.Overlay | None = None
        self._identity = identity
        self.problems: list[str] = []
        self.etag = ""
        self.settings: DeviceSettings | None = None
        self.policy: SitePolicy | None = None
        self._signed_policy: Signed | None = None
        self._without_policy = PixelPolicy()
        if identity is not None:
            self.settings = self._kept("settings", lambda s: accept_settings(s, identity, None))
            self.policy = self._kept("site_policy", lambda s: self._accept_kept(s, identity))
            if self.policy is None and (state_dir / FOLDER / "site_policy.json").exists():
                self._without_policy = NOTHING_LEAVES
        self.effective = self._lay_overlay()

    def check_overlay(self, said: overlay.Overlay) -> None:
        """Raise `ConfigError` where an overlay makes no sense with all that is accepted here."""
        with self._lock:
            zone = self._identity.time_zone if self._identity else "UTC"
            laid = _checked(overlay.lay(self._local, said))
            lay_over(laid, self.settings, self._opened(self.policy), zone, said)

    def take_overlay(self) -> bool:
        """Take over the overlay that lies there; return whether the pipeline must change."""
        with self._lock:
            before = self.effective
            self.effective = self._lay_overlay()
            changed = _for_pipeline(before) != _for_pipeline(self.effective)
            if before != self.effective:
                self.write_effective()
            return changed

    def _lay_overlay(self) -> Effective:
        """Return the effective configuration, with the kept overlay as far as it still fits."""
        self._config, self.overlay_digest, self._overlay = self._local, "", None
        try:
            kept = overlay.read(self._state_dir)
            if kept is not None:
                self._config = _checked(overlay.lay(self._local, kept.overlay))
                self.overlay_digest, self._overlay = kept.digest, kept.overlay
        except ConfigError as error:
            self._refuse("kept configuration", error)
        return self._lay_over_what_is_kept()

    @property
    def time_zone_signer(self) -> str:
        """Who said the time zone: `central`, `enrolment`, or empty: the local file, or nobody."""
        if self._config.time_zone != "UTC":
            return ""
        if self.settings is not None and self.settings.time_zone is not msgspec.UNSET:
            return "central"
        zone = self._identity.time_zone if self._identity else "UTC"
        return "enrolment" if zone != "UTC" else ""

    @property
    def told_zone(self) -> str:
        """The site's time zone as this device was told, whatever its own file says; or empty."""
        if self.settings is not None and self.settings.time_zone is not msgspec.UNSET:
            return self.settings.time_zone
        return self._identity.time_zone if self._identity else ""

    def write_effective(self) -> None:
        """Have the effective configuration where the pipeline reads it, mode 0600.

        Raises:
            OSError: The disk refuses.
        """
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _HEAD + yaml.safe_dump(_plain(self.effective.config), sort_keys=False)
        write_private(self._state_dir / EFFECTIVE, text.encode())

    def apply(self, desired: Desired) -> bool:
        """Accept what may be accepted of `desired`; return whether the pipeline must change.

        Refusals go to `problems`, in words; what was held before stays.
        """
        with self._lock:
            return self._apply(desired)

    def _apply(self, desired: Desired) -> bool:
        identity = self._identity
        if identity is None:
            return False
        before = self.effective
        self.problems = []
        if desired.site_keys:
            identity = self._take_keys(desired.site_keys, identity)
        if desired.site_policy is not None:
            self._take_policy(desired.site_policy, identity)
        if desired.settings is not None:
            self._take_settings(desired.settings, identity)
        self.etag = desired.etag
        changed = _for_pipeline(before) != _for_pipeline(self.effective)
        if before != self.effective:
            self.write_effective()
        return changed

    @property
    def identity(self) -> Identity | None:
        """Who this device is, with the site's keys as they are pinned now."""
        return self._identity

    @property
    def keys_version(self) -> int:
        """Of the site's keys that are pinned; 0 where this device is not enrolled."""
        return self._identity.site_keys_version if self._identity else 0

    def _take_keys(self, documents: list[Signed], identity: Identity) -> Identity:
        try:
            identity, problem = site_keys.take_documents(
                self._state_dir, identity, documents, self._signed_policy
            )
        except (OSError, TrustError) as error:
            problem = error
        if problem is not None:
            said = problem if isinstance(problem, VedetteError) else TrustError(str(problem))
            self._refuse("site keys", said)
        self._identity = identity
        return identity

    def _take_policy(self, signed: Signed, identity: Identity) -> None:
        if self.policy is not None and site_keys.is_kept_over(identity, signed):
            return  # signed by keys that are replaced, and in force until a newer one comes
        try:
            said = accept_policy(signed, identity, self.policy)
            effective = self._lay_over(self.settings, said, identity.time_zone)
        except (TrustError, WireError, ConfigError) as error:
            self._refuse("site policy", error)
            if self.policy is None and identity.site_keys_version > 1:
                self._withhold(error)
            return
        if said != self.policy:
            self._keep("site_policy", signed)
            self.policy, self.effective, self._signed_policy = said, effective, signed

    def _withhold(self, error: VedetteError) -> None:
        """Let nothing leave: there is a policy, by keys that were replaced before we came."""
        if isinstance(error, BadSignature):
            self._without_policy = NOTHING_LEAVES
            self.effective = msgspec.structs.replace(
                self.effective, pixels=NOTHING_LEAVES, diagnostics=self._diagnostics(None)
            )

    def _accept_kept(self, signed: Signed, identity: Identity) -> SitePolicy:
        """Return the kept policy: signed by the keys of today, or in force when they came."""
        if site_keys.is_kept_over(identity, signed):
            said = decode(from_text(signed.payload), SitePolicy, json=True)
        else:
            said = accept_policy(signed, identity, None)
        self._signed_policy = signed
        return said

    def _take_settings(self, signed: Signed, identity: Identity) -> None:
        try:
            said = accept_settings(signed, identity, self.settings)
            effective = self._lay_over(said, self.policy, identity.time_zone)
        except (TrustError, WireError, ConfigError) as error:
            self._refuse("settings", error)
            return
        if said != self.settings:
            self._keep("settings", signed)
            self.settings, self.effective = said, effective

    def _refuse(self, what: str, error: VedetteError) -> None:
        self.problems.append(f"{what} refused: {error}")
        log.warning(
            "signed document refused",
            extra={"event": "desired.refused", "document": what, "reason": str(error)},
        )

    def _lay_over_what_is_kept(self) -> Effective:
        """Lay both over the local file, or one or none where they no longer fit it."""
        zone = self._identity.time_zone if self._identity else "UTC"
        for settings, policy in ((self.settings, self.policy), (None, self.policy), (None, None)):
            try:
                return self._lay_over(settings, policy, zone)
            except ConfigError as error:
                self._refuse("kept documents", error)
        return Effective(
            config=self._config,
            pixels=self._pixels(self.policy),
            diagnostics=self._diagnostics(self.policy),
        )

    def _lay_over(
        self, settings: DeviceSettings | None, policy: SitePolicy | None, zone: str
    ) -> Effective:
        """As `lay_over`; a policy that is held binds the pixels even where the rest fits not."""
        opened = self._opened(policy)
        effective = lay_over(self._config, settings, opened, zone, self._overlay)
        bound = policy or self.policy
        alerts, problems = self._alerts(policy, settings)
        return msgspec.structs.replace(
            effective,
            pixels=self._pixels(bound),
            diagnostics=self._diagnostics(bound),
            alerts=alerts,
            alert_problems=problems,
        )

    def _alerts(
        self, policy: SitePolicy | None, settings: DeviceSettings | None
    ) -> tuple[LocalAlerts, list[str]]:
        """Return what is done about alerts here, and what of central's rules is not.

        Raises:
            ConfigError: The policy says what makes no sense.
        """
        identity = self._identity
        if identity is None:
            return alerts_said.NOTHING, []
        said = policy.alerts if policy else msgspec.UNSET
        merged = alerts_said.NOTHING
        if policy is not None and said is not msgspec.UNSET:
            merged = alerts_said.merged(said, self._opened_channels(policy, identity))
        extra = settings.alerts if settings else msgspec.UNSET
        rules = [] if extra is msgspec.UNSET else extra
        return alerts_said.for_device(merged, rules, identity.device)

    def _opened_channels(self, policy: SitePolicy, identity: Identity) -> list[LocalChannel] | None:
        """Return the channels sealed for this device: none where it has no box, or cannot open it.

        None where channels are not sealed at all.
        """
        if policy.sealed_alerts is msgspec.UNSET:
            return None
        try:
            box = _box_for(policy.sealed_alerts, identity, "local channels are")
            key = sealing_key(self._state_dir)
            return key.open_channels(box, site=identity.site, version=policy.version)
        except TrustError as error:
            self._say_sealed(error)
            return []

    def _opened(self, policy: SitePolicy | None) -> SitePolicy | None:
        """Return the policy with the addresses that are sealed for this device in their places."""
        identity = self._identity
        if policy is None or identity is None or policy.sealed is msgspec.UNSET:
            return policy
        try:
            box = _box_for(policy.sealed, identity, "camera addresses are")
            key = sealing_key(self._state_dir)
            found = key.open(box, site=identity.site, version=policy.version)
        except TrustError as error:
            self._say_sealed(error)
            return policy
        opened = {address.camera: address for address in found}
        kept = [address for address in policy.cameras if address.camera not in opened]
        return msgspec.structs.replace(policy, cameras=[*kept, *found])

    def _say_sealed(self, error: TrustError) -> None:
        said = f"site policy: {error}"
        if said not in self.problems:
            self.problems.append(said)
            log.warning(said, extra={"event": "desired.sealed"})

    def _pixels(self, policy: SitePolicy | None) -> PixelPolicy:
        return policy.pixels if policy else self._without_policy

    def _diagnostics(self, policy: SitePolicy | None) -> frozenset[str]:
        """Return what may be asked: nothing where a policy was accepted and cannot be read."""
        every = frozenset(diagnostics.FORMS)
        if policy is None:
            return frozenset() if self._without_policy is NOTHING_LEAVES else every
        return every if policy.diagnostics is msgspec.UNSET else every & set(policy.diagnostics)

    def _kept(self, name: str, accept: Callable[[Signed], D]) -> D | None:
        path = self._state_dir / FOLDER / f"{name}.json"
        try:
            return accept(msgspec.json.decode(path.read_bytes(), type=Signed))
        except FileNotFoundError:
            return None
        except (
            OSError,
            msgspec.DecodeError,
            UnicodeDecodeError,
            TrustError,
            MalformedReport,
        ) as error:
            reason = error if isinstance(error, VedetteError) else TrustError(str(error))
            self._refuse(f"kept {name}", reason)
            return None

    def _keep(self, name: str, signed: Signed) -> None:
        folder = self._state_dir / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / f"{name}.json", msgspec.json.encode(signed))


def _box_for(boxes: Sequence[SealedAddresses], identity: Identity, what: str) -> SealedAddresses:
    for box in boxes:
        if box.device == identity.device:
            return box
    raise NotAllowed(
        f"{what} sealed, and not for this device",
        operator_hint="add it to `seal_for:` and sign the policy again",
    )


def _for_pipeline(effective: Effective) -> tuple[EdgeConfig, PixelPolicy]:
    """Return what the pipeline runs by; the line is the agent's, which asks for it each time."""
    return msgspec.structs.replace(effective.config, uplink=UplinkSettings()), effective.pixels


def _plain(config: EdgeConfig) -> Any:
    return msgspec.to_builtins(config, enc_hook=str)


def _from_text(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise TypeError(f"{kind.__name__} cannot stand in a configuration")
