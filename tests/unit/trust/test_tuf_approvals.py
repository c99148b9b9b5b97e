"""Where artefacts may run: what an approval covers, and what is none."""

import msgspec
import pytest

from vedette.errors import MalformedReport, TooLarge
from vedette.trust.tuf.approvals import approval_path, covers, read_approval
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Approval, Artefact

DAY_MS = 86_400_000
NOW_MS = 1_770_000_000_000
MODEL = Artefact(
    kind=ArtefactKind.MODEL,
    target="models/yolox/1.2.0.vbundle",
    sha256="ab" * 32,
    bytes=4_000_000,
    digest="sha256:" + "cd" * 32,
    name="yolox",
)
APPROVAL = Approval(
    rollout="r1",
    issued_ms=NOW_MS,
    expires_ms=NOW_MS + 30 * DAY_MS,
    artefacts=[MODEL],
    sites=["berlin-1"],
)


def written(approval: Approval) -> bytes:
    """Return an approval as it lies in the repository."""
    return msgspec.json.encode(approval)


def test_an_approval_is_read_as_it_was_written() -> None:
    """What the signers wrote is what device and central read, at the path of its rollout."""
    assert read_approval(written(APPROVAL)) == APPROVAL
    assert approval_path("r1") == "approvals/r1.json"


def test_an_approved_artefact_may_run_at_a_named_site_until_the_last_day() -> None:
    """Named bytes, named site, in time: yes; a name for people may differ."""
    renamed = msgspec.structs.replace(MODEL, name="other", version="9")
    assert covers(APPROVAL, MODEL, "berlin-1", NOW_MS) == ""
    assert covers(APPROVAL, renamed, "berlin-1", APPROVAL.expires_ms - 1) == ""
    everywhere = msgspec.structs.replace(APPROVAL, sites=["*"])
    assert covers(everywhere, MODEL, "anywhere", NOW_MS) == ""


def test_an_expired_approval_begins_nothing() -> None:
    """At its end and after, and long before its beginning, it covers nothing."""
    assert "over" in covers(APPROVAL, MODEL, "berlin-1", APPROVAL.expires_ms)
    assert "not in force" in covers(APPROVAL, MODEL, "berlin-1", NOW_MS - 2 * DAY_MS)


def test_an_approval_for_another_site_covers_nothing_here() -> None:
    """Neither another name, nor part of one, nor another case."""
    for site in ("berlin-2", "berlin", "BERLIN-1", ""):
        assert "does not name the site" in covers(APPROVAL, MODEL, site, NOW_MS)


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "00" * 32},
        {"bytes": 4_000_001},
        {"digest": "sha256:" + "00" * 32},
        {"target": "models/yolox/1.3.0.vbundle"},
        {"kind": ArtefactKind.APP},
    ],
)
def test_an_artefact_that_differs_in_anything_is_not_the_approved_one(
    other: dict[str, object],
) -> None:
    """Every part that identifies bytes counts."""
    assert "as it is" in covers(
        APPROVAL, msgspec.structs.replace(MODEL, **other), "berlin-1", NOW_MS
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"expires_ms": NOW_MS},
        {"sites": ["x" * 129]},
        {"rollout": "../../etc"},
        {"note": "x" * 2_001},
        {"artefacts": [msgspec.structs.replace(MODEL, target="app/yolox.vbundle")]},
        {"artefacts": [msgspec.structs.replace(MODEL, sha256="AB" * 32)]},
    ],
)
def test_an_approval_that_says_the_impossible_is_refused(broken: dict[str, object]) -> None:
    """Each with a reason, before anything is decided by it."""
    with pytest.raises(MalformedReport):
        read_approval(written(msgspec.structs.replace(APPROVAL, **broken)))


def test_a_huge_or_foreign_approval_is_refused() -> None:
    """Size first, then shape; an unknown field may narrow what was signed, so it refuses."""
    with pytest.raises(TooLarge):
        read_approval(b" " * (1024 * 1024 + 1))
    with pytest.raises(TooLarge):
        read_approval(written(msgspec.structs.replace(APPROVAL, artefacts=[MODEL] * 257)))
    with pytest.raises(MalformedReport):
        read_approval(written(APPROVAL)[:-1] + b',"only_on_mondays":true}')
    with pytest.raises(MalformedReport):
        read_approval(b"\xff\x00")
