"""What a device shall install: the documents that allow it, and what devices say came of it.

A device installs only what three signers agree on, none of whom can speak for another:

    the repository   TUF metadata: this target, with this hash and length, exists and is current
    `Approval`       a TUF target of the offline role `approvals`: these artefacts, at these sites,
                     until this day
    `Assignment`     signed by central's online key: this artefact, for this device, in this slot

Here: those documents and the reports. `trust.tuf` verifies, `edge.updating` decides and installs,
`central.rollouts` plans. The rule: what runs already, and the version before it, never need any of
these to keep running.
"""

from typing import Annotated, Final

import msgspec

from vedette.wire.messages import Bins, Box, Histogram
from vedette.wire.numbers import Count, Finite
from vedette.wire.slots import ArtefactKind, UpdateState

ASSIGNMENT_TYPE: Final = "vedette/assignment"
APPROVALS: Final = "approvals"
"""The TUF role, and the folder of its targets, whose documents are `Approval`."""

MAX_PICTURE_BYTES: Final = 49_152


class Artefact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to install, named by what it is and not by where it lies.

    Attributes:
        target: Path in the TUF repository, beginning with the kind: `models/yolox/1.2.0.vbundle`.
        sha256: Of the target's bytes, lower-case hex.
        bytes: Its length.
        digest: What the installed thing calls itself: of a model, the bundle's `sha256:…`; of the
            others, `sha256:` and `sha256`.
    """

    kind: ArtefactKind
    target: str
    sha256: str
    bytes: Count
    digest: str
    name: str = ""
    version: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """These artefacts may run at these sites until then. A target of the offline role `approvals`.

    Attributes:
        rollout: Id of the rollout; its target is `approvals/{rollout}.json`.
        artefacts: All that may be assigned, those to go back to included.
        sites: Names; `*` stands for all of them.
        expires_ms: No new installation begins afterwards. What runs, runs on.
        shadow: Whether the artefacts may also run beside what is in use, without consequences.
        note: What the signers read before they signed.
    """

    rollout: str
    issued_ms: Count
    expires_ms: Count
    artefacts: list[Artefact]
    sites: list[str]
    shadow: bool = True
    note: str = ""


class ShadowPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a candidate runs beside the incumbent.

    Attributes:
        every_s: One frame of each camera in this time, at most.
        until_ms: It ends by itself; 0: with the assignment.
        samples_per_day: Most disagreements that a device sends for review in a day.
    """

    every_s: Finite = 10.0
    until_ms: Count = 0
    samples_per_day: Count = 50


class Assigned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One artefact for one slot of one device.

    Attributes:
        slot: Of a model: the name that cameras use it by; `app`, `system`, `config`.
        attempt: Counts up; what failed is tried again only under a higher one.
        windows: Local times between which it may become active, as ("22:00", "05:00"); empty: any.
        not_before_ms: Nor before this.
        probation_s: How long it must run well before the device confirms it; if not, it goes back.
        shadow: Run it beside the incumbent, and nothing else; None: it is to be used.
        max_kbit_s: Of the download.
    """

    rollout: str
    slot: str
    artefact: Artefact
    attempt: Annotated[int, msgspec.Meta(ge=1)] = 1
    windows: list[tuple[str, str]] = []
    not_before_ms: Count = 0
    probation_s: Finite = 600.0
    shadow: ShadowPlan | None = None
    max_kbit_s: Finite | None = None


class Assignment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is assigned to one device now. Signed by central's online key.

    What is not in it any more is not taken away: it only is not asked for.
    """

    device: str
    version: int
    issued_ms: int
    items: list[Assigned] = []


class UpdateReport(msgspec.Struct, frozen=True, kw_only=True):
    """A device went one step on with an assigned artefact.

    Attributes:
        saved_bytes: Of its file, that did not have to come because a difference was enough.
    """

    at_ms: Count
    rollout: str
    slot: str
    kind: ArtefactKind
    attempt: Count
    digest: str
    state: UpdateState
    was: UpdateState | None = None
    running: str = ""
    detail: str = ""
    saved_bytes: Count = 0


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of one class in frames that both models saw. `a` is the incumbent.

    Attributes:
        both: Found by both, overlapping.
        only_a, only_b: Found by one of them, above its threshold.
    """

    both: Count = 0
    only_a: Count = 0
    only_b: Count = 0


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate made of the frames that the incumbent saw, on one camera.

    Attributes:
        a, b: Digests of incumbent and candidate.
        frames: Compared.
        differing: Frames of those with any difference.
        failed: Frames on which the candidate failed; they are not among `frames`.
        shed: Frames that were due and left out for want of time.
        objects: By class.
        stage_ms_a, stage_ms_b: Of the same frames: preprocess, inference, postprocess.
        confidence_a, confidence_b: By class, of the same frames.
    """

    rollout: str
    slot: str
    camera: str
    a: str
    b: str
    start_ms: Count
    end_ms: Count
    frames: Count = 0
    differing: Count = 0
    failed: Count = 0
    shed: Count = 0
    objects: dict[str, Paired] = {}
    stage_ms_a: dict[str, Histogram] = {}
    stage_ms_b: dict[str, Histogram] = {}
    confidence_a: dict[str, Bins] = {}
    confidence_b: dict[str, Bins] = {}


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """One sampled frame on which incumbent and candidate differ, for a person to judge.

    Attributes:
        at_ms: Of the frame.
        boxes_a, boxes_b: What each found, in pixels of `picture_px`.
        weight: How many differing frames this one stands for.
        picture: JPEG, at most `MAX_PICTURE_BYTES`, as far as the site's pixel policy lets it leave
            (`review_frames`); empty: it stays, and only boxes can be judged.
        crop_px: Where the picture was cut out, xyxy; None: the whole, reduced.
    """

    disagreement: str
    rollout: str
    slot: str
    camera: str
    at_ms: Count
    a: str
    b: str
    picture_px: tuple[Count, Count]
    boxes_a: list[Box] = []
    boxes_b: list[Box] = []
    weight: Finite = 1.0
    picture: bytes = b""
    crop_px: tuple[Count, Count, Count, Count] | None = None
    withheld: str = ""  # why there is no picture, in words
