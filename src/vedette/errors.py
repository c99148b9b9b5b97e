"""Everything that Vedette raises on purpose.

    VedetteError            .retry: Retry.NEVER | LATER | NOW   .operator_hint
    ├ ConfigError           the operator must change something; exit at start
    ├ CaptureError
    │ ├ StreamLost          the source stopped or never answered (LATER)
    │ └ DecodeFailed        packets came but no picture could be made of them (NOW)
    ├ InferenceError
    │ ├ ModelLoadFailed     the bundle or its ONNX is broken or not supported
    │ ├ BackendUnavailable  the runtime or accelerator is not there (LATER)
    │ └ BadModelOutput      NaN, wrong shape: the frame is counted as dropped(bad_output)
    │   └ RunFailed         the runtime gave no output at all: dropped(backend)
    ├ EvidenceError         a clip could not be written; the event stands without it
    ├ SpoolError
    │ ├ SpoolCorrupt        a page is torn; the file is set aside and a new epoch begins
    │ └ SpoolUnwritable     disk full or read-only (LATER)
    ├ UplinkError
    │ ├ CentralUnreachable  (LATER)
    │ └ ReportRejected      central will never take this one (NEVER)
    ├ WireError
    │ ├ UnknownSchema
    │ ├ MalformedReport
    │ └ TooLarge            over a limit of `wire.limits`
    ├ TrustError            (NEVER)
    │ ├ BadSignature · NotAllowed · RollbackAttempt · Expired · HashMismatch
    ├ StoreError            central's database is not there or refuses (LATER)
    └ ConflictError         another worker won; the caller continues

Expected outcomes are values, not exceptions: a blurred frame is a `QualityVerdict`, a full spool
an eviction with a tombstone.
"""

import enum


class Retry(enum.Enum):
    """Whether the same call can work another time: retry policy as data."""

    NEVER = "never"
    LATER = "later"
    NOW = "now"


class VedetteError(Exception):
    """The root. `operator_hint` says in words what a person can do about it."""

    retry: Retry = Retry.NEVER

    def __init__(self, message: str, *, operator_hint: str | None = None) -> None:
        super().__init__(message)
        self.operator_hint = operator_hint


class ConfigError(VedetteError):
    """The operator must change something."""


class CaptureError(VedetteError):
    """A camera or file gave no pictures."""

    retry = Retry.LATER


class StreamLost(CaptureError):
    """The source stopped, refused or never answered."""


class DecodeFailed(CaptureError):
    """Packets came but no picture could be made of them."""

    retry = Retry.NOW


class InferenceError(VedetteError):
    """A model could not be loaded or run."""


class ModelLoadFailed(InferenceError):
    """The bundle or its ONNX file is broken or not supported."""


class BackendUnavailable(InferenceError):
    """The runtime or accelerator that was asked for is not there."""

    retry = Retry.LATER


class BadModelOutput(InferenceError):
    """The model answered with NaN, infinity or an unexpected shape."""


class RunFailed(BadModelOutput):
    """The runtime did not run the model through; the next picture may work."""


class EvidenceError(VedetteError):
    """A clip could not be written; the event stands without it."""


class SpoolError(VedetteError):
    """The device's durable queue has a problem."""


class SpoolCorrupt(SpoolError):
    """A page is torn: the file is set aside and a new epoch begins."""


class SpoolUnwritable(SpoolError):
    """Disk full or read-only."""

    retry = Retry.LATER


class UplinkError(VedetteError):
    """The way to central has a problem."""


class CentralUnreachable(UplinkError):
    """No answer, or an answer that asks to come back later."""

    retry = Retry.LATER


class ReportRejected(UplinkError):
    """Central will never take this message."""


class WireError(VedetteError):
    """A message cannot be understood."""


class UnknownSchema(WireError):
    """The stream table has no such schema."""


class MalformedReport(WireError):
    """Not the shape that its schema says."""


class TooLarge(WireError):
    """Over a limit of `wire.limits`."""


class TrustError(VedetteError):
    """Something was signed wrongly, by the wrong key, or not at all."""


class BadSignature(TrustError):
    """No valid signature by a key that is pinned."""


class NotAllowed(TrustError):
    """A valid signature, but its signer may not say this."""


class RollbackAttempt(TrustError):
    """An older version than the one already accepted."""


class Expired(TrustError):
    """Its time is over."""


class HashMismatch(TrustError):
    """The bytes are not the ones that were promised."""


class StoreError(VedetteError):
    """Central's database is not there or refuses."""

    retry = Retry.LATER


class ConflictError(VedetteError):
    """Another worker won; the caller continues."""

    retry = Retry.NOW
