"""Signed documents: the envelope, the two documents that configure a device, and a site's keys.

Who may say what is the point: `SitePolicy` is signed by the site's key and is the only place
where camera addresses and the pixel policy stand. `SiteKeys` names the site's next keys, signed by
those before and by themselves. `DeviceSettings` is signed by central's online
key and has no field for either, so a stolen central cannot point a camera elsewhere or widen what
leaves the site. `trust.dsse` signs and verifies; `edge.desired` decides.

Source: DSSE v1, the pre-authentication encoding of in-toto.
"""

import msgspec

from vedette.wire.alerts import LocalAlerts, LocalRule

SETTINGS_TYPE = "vedette/device-settings"
POLICY_TYPE = "vedette/site-policy"
TIME_TYPE = "vedette/time"
SITE_KEYS_TYPE = "vedette/site-keys"


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature over the pre-authentication encoding, base64url without padding."""

    keyid: str
    sig: str


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A payload (base64url of its JSON bytes), its type, and who signed it."""

    payload_type: str
    payload: str
    signatures: list[Signature]


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A polygon, in fractions of width and height (0 to 1), three to 32 corners."""

    name: str
    polygon: list[tuple[float, float]]
    labels: list[str] = []  # empty: all
    dwell_s: float | None = None  # an event when somebody stays longer
    events: bool = True
    evidence: bool = False
    loiter_s: float | None = None  # an event when visits of the last 10 minutes add up to this
    heading_deg: float | None = None  # an event for who moves this way: 0 right, 90 down
    heading_tolerance_deg: float = 45.0  # more than 0, at most 180
    shelf: bool = False  # reaching in and a lasting change of what stands there is a pick


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line A→B, in fractions of width and height."""

    name: str
    a: tuple[float, float]
    b: tuple[float, float]
    labels: list[str] = []
    events: bool = True
    evidence: bool = False
    confirm_s: float = 0.0  # counts once the far side was kept for so long


class CameraSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What central may set for one camera: where to look and how sure to be."""

    camera: str
    zones: list[Zone] | None = None
    lines: list[Line] | None = None
    threshold: float | None = None
    labels: list[str] | None = None
    off_hours: list[tuple[str, str]] | None = None  # local times "22:00" to "06:00"
    regions: list[list[tuple[float, float]]] | None = None  # only these parts are looked at


class LineWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local times with another cap on what had waited; 0: none of it then."""

    start: str  # "09:00"
    end: str  # before `start`: past midnight
    backfill_kbit_s: float
    days: list[str] = []  # mon tue wed thu fri sat sun; empty: every day


class LineLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the line what had waited may use; None leaves it to the device's own file."""

    backfill_kbit_s: float | None = None
    windows: list[LineWindow] | None = None


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed by central's online key. `forbid_unknown_fields`: it may say nothing else.

    Attributes:
        time_zone: The site's, where it is another than the one given at enrolment.
        uplink: Left out where central says nothing of the line.
        alerts: Rules besides those of the site's policy; they may name only channels that the
            policy opens to central. All three are left out of the document where they are not
            said, because devices of before refuse fields that they do not know.
    """

    device: str
    version: int
    issued_ms: int
    cameras: list[CameraSettings] = []
    report_period_s: float | None = None
    aggregate_period_s: float | None = None
    time_zone: str | msgspec.UnsetType = msgspec.UNSET
    uplink: LineLimits | msgspec.UnsetType = msgspec.UNSET
    alerts: list[LocalRule] | msgspec.UnsetType = msgspec.UNSET


class CameraAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a camera is. May hold credentials, so it never leaves the site in clear logs."""

    camera: str
    source: str
    name: str = ""
    evidence_source: str = ""  # the camera's second, larger stream, only kept for clips


class PixelPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What pixels may leave the site; the defaults are the design's."""

    thumbnails: bool = True
    thumbnail_px: int = 48  # width of the reduced picture; larger shows more
    evidence_leaves: bool = False
    evidence_blurred: bool = True
    review_frames: bool = False


class SealedAddresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Addresses that only one device can read (`trust.sealing`).

    Attributes:
        keyid: Of the sealing key that it is for: the head of the hash of its public half.
        box: HPKE, base mode, single shot: a list of `CameraAddress`, or of `LocalChannel` in
            `SitePolicy.sealed_alerts`, as JSON; base64url.
    """

    device: str
    keyid: str
    box: str


class SitePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signed by the site's key.

    Attributes:
        diagnostics: Kinds of `wire.diagnostics` that central may ask for; left out: all of them
            (none has pixels), which is also how devices of before read it.
        sealed: Camera addresses for one device each. Where there are any, those in `cameras` have
            no source. Left out where nothing is sealed: devices of before refuse a policy that has
            it, and keep the one they follow.
        alerts: What devices do on their own. Left out where there is nothing of it.
        sealed_alerts: Its channels for one device each, with addresses, secrets and commands, which
            then are not in `alerts`.
    """

    site: str
    version: int
    issued_ms: int
    pixels: PixelPolicy = PixelPolicy()
    cameras: list[CameraAddress] = []
    diagnostics: list[str] | msgspec.UnsetType = msgspec.UNSET
    sealed: list[SealedAddresses] | msgspec.UnsetType = msgspec.UNSET
    alerts: LocalAlerts | msgspec.UnsetType = msgspec.UNSET
    sealed_alerts: list[SealedAddresses] | msgspec.UnsetType = msgspec.UNSET


class SiteKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a site from now on: signed by enough of those before, and by enough of these.

    Attributes:
        version: One more than that of the keys before; the first ones, pinned at enrolment, are 1.
        keys: Raw Ed25519 public keys, base64url without padding.
        threshold: How many of them must sign.
    """

    site: str
    version: int
    issued_ms: int
    keys: list[str]
    threshold: int


class SiteKeyChain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replacements of a site's keys (`SiteKeys`, signed), oldest first, none left out."""

    documents: list[Signed]
