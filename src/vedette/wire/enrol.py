"""Messages of enrolment, tokens, trusted time and desired state.

    POST /v1/enrol    EnrolRequest  -> EnrolAnswer      (claim token + public key, once)
    POST /v1/nonce                  -> Nonce            (single use, short-lived)
    POST /v1/token    form, RFC 7523 client assertion -> TokenAnswer
    POST /v1/rotate   RotateRequest -> RotateAnswer     (old key names new, new key signs that)
    POST /v1/time     TimeRequest   -> SignedTime       (over the device's own nonce)
    POST /v1/up       Batch         -> UpAnswer
    GET  /v1/desired?wait=S         -> Desired          (ETag; 304 where unchanged)
    POST /v1/thumbnail/{request_id}                     (JPEG body, only where one was asked for)
    POST /v1/answer/{request_id}                        (`wire.diagnostics`, likewise)

All JSON, except `/v1/up`. Keys are Ed25519; a key on the wire is the 32 raw bytes in base64url
without padding, a key id is the first 32 hex digits of SHA-256 over those bytes.
"""

import msgspec

from vedette.wire.signed import Signed


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new device presents its claim token and the public key that it made itself.

    Attributes:
        proof: Signature by that key over `claim_token` + "." + `public_key`, base64url: proof of
            possession, so that nobody can enrol somebody else's key.
    """

    claim_token: str
    public_key: str
    proof: str
    hardware: str = ""
    version: str = ""


class EnrolAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who the device is from now on, and which keys it pins.

    Attributes:
        min_epoch: The first epoch of its spool may not be lower: it takes over the name of a
            device that gave the numbers of earlier ones. 0 for a new name.
        site_keys_version: Of the site's keys; each replacement counts one up.
        tuf_root: Root metadata of the repository (TUF, JSON), pinned from now on unless a person
            brought another; empty: central has no repository yet.
    """

    device: str
    site: str
    central_key: str
    site_keys: list[str]
    site_threshold: int = 1
    time_zone: str = "UTC"
    min_epoch: int = 0
    site_keys_version: int = 1
    tuf_root: str = ""


class Nonce(msgspec.Struct, frozen=True, kw_only=True):
    """A nonce to be put into the client assertion, so that a wrong clock locks nobody out."""

    nonce: str
    expires_in_s: float


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749 section 5.1."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - a scheme's name, not a secret


class RotateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A device announces its next key. Both keys speak for it until the next one is first used.

    Attributes:
        assertion: By the present key, as for a token, with the next one in the claim `next_key`.
        proof: Signature by the next key over `assertion`, base64url: proof of possession.
    """

    assertion: str
    proof: str


class RotateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The next key may speak from now on."""

    keyid: str


class TimeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """At least 16 random bytes, base64url, fresh for each request."""

    nonce: str


class TimeStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Signed by central's online key (payload type `vedette/time`)."""

    nonce: str
    time_ms: int


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator asks of this device now.

    Attributes:
        kind: `thumbnail`, `reference` (the pinned scene, reduced alike), `evidence`, one of
            `wire.holds`, or one of `wire.diagnostics`; a device leaves others unanswered.
        request: Id; the answer names it.
        lines: How many lines of the log.
        with_cameras: Whether the doctor shall open the cameras too.
        evidence: Which package an operator wants to see, to be held or to be released.
        reason: Why it is to be held or released; stays on the device.
    """

    request: str
    kind: str
    camera: str = ""
    expires_ms: int = 0
    lines: int = 0
    with_cameras: bool = False
    evidence: str = ""
    reason: str = ""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What should run on this device.

    Attributes:
        etag: Of this state, the one in `UpAnswer.desired_etag`.
        settings: `DeviceSettings`, signed by central's online key; None until there are any.
        site_policy: `SitePolicy`, signed by the site's key; None until there is one.
        requests: Open requests for this device.
        rotate_key: The device should make itself another key now.
        site_keys: `SiteKeys`, the newest replacements of the site's keys, oldest first; each signed
            by the site's keys before it. At most `trust.site_keys.MAX_CHAIN`.
        assignment: `wire.updates.Assignment`, signed by central's online key; None until something
            was assigned.
    """

    etag: str
    settings: Signed | None = None
    site_policy: Signed | None = None
    requests: list[Request] = []
    rotate_key: bool = False
    site_keys: list[Signed] = []
    assignment: Signed | None = None
