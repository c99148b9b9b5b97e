"""Made-up versions for `/-/patterns`: passed, failed, waived, unknown, hostile. Nothing real."""

from collections.abc import Callable
from typing import Final

import msgspec

from vedette.central.console.models import present
from vedette.central.console.page import Page
from vedette.central.console.specimens import DAY_MS, NOW_MS
from vedette.central.registry.looking import (
    ClassTotal,
    EvaluationListed,
    ModelListed,
    ModelView,
    SiteSlice,
    VersionListed,
    VersionView,
)
from vedette.central.registry.manifest import CardFact, Lineage, MadeFigures
from vedette.central.registry.waivers import WaiverView
from vedette.stats.clustered import share_of
from vedette.stats.gates import Evidence, Policy, Verdict, judge, overall
from vedette.wire.evaluation import CameraDay, Confused, DataSet, HardwareTimes, StepTime, Tally

HOSTILE: Final = "<script>alert('x')</script>" + "mouse" * 12
DIGEST: Final = "sha256:" + "3f9a" * 16
OLD: Final = "sha256:" + "77c0" * 16


def days(person: tuple[int, int, int], bag: tuple[int, int, int], count: int) -> list[CameraDay]:
    """Return camera-days at four sites; every ninth is a bad one."""
    made = []
    for n in range(count):
        bad = 6 if n % 9 == 0 else 0
        tallies = {
            "person": Tally(person[0] - bad, person[1], person[2] + bad),
            "bag": Tally(*bag),
        }
        made.append(
            CameraDay(site=f"branch-{n % 4}", camera=f"door-{n}", day="2026-05-17", pictures=40,
                      tallies=tallies)
        )  # fmt: skip
    return made


def times(hardware: str, factor: float, *, golden: bool | None = True) -> HardwareTimes:
    """Return times of a machine."""

    def step(ms: float) -> StepTime:
        p50 = ms * factor
        return StepTime(runs=100, p50_ms=p50, p95_ms=p50 * 1.3, p99_ms=p50 * 1.6,
                        p95_low_ms=p50 * 1.2, p95_high_ms=p50 * 1.5)  # fmt: skip

    steps = {"preprocess": step(2), "inference": step(45), "postprocess": step(3)}
    return HardwareTimes(
        hardware=hardware,
        runtime="onnxruntime CPU",
        threads=2,
        steps={**steps, "model": step(51)},
        load_s=1.4 * factor,
        golden_ok=golden,
    )


def version(
    made: list[CameraDay], hardware: list[HardwareTimes], incumbent: list[CameraDay] | None = None
) -> VersionView:
    """Return a version as these counts and times make it."""
    labels = ["person", "bag"]
    evidence = Evidence(labels=labels, days=made, incumbent=incumbent,
                        has_incumbent=incumbent is not None, hardware=hardware)  # fmt: skip
    gates = judge(Policy(), evidence)
    data = DataSet(name="branches-2026-05", sha256="0" * 64, pictures=40 * len(made))
    record = EvaluationListed(
        evaluation="e" * 64, at_ms=NOW_MS - DAY_MS, received_ms=NOW_MS - DAY_MS,
        received_from="ci", by="vedette bundle evaluate", method="boxes", iou=0.5, data=data,
        camera_days=len(made), hardware=[one.hardware for one in hardware], counts=True,
    )  # fmt: skip
    return VersionView(
        model="branch-watch", version="2.1.0", digest=DIGEST, state="registered",
        registered_ms=NOW_MS - 2 * DAY_MS, registered_by="ci", labels=labels, head="yolox",
        input_px=(416, 416), preprocess_version="5be1c07d9a42", threshold=0.4, thresholds={},
        files={"model.onnx": 3_700_000, "golden/scene.png": 240_000}, golden=1,
        calibration_sha256="", card=CardFact(license="Apache-2.0"),
        made=[MadeFigures(data="held-out", figures={"recall": 0.97})],
        lineage=Lineage(data_version="branches-7", training_run="run-118", parent=OLD),
        policy=Policy(), incumbent=OLD if incumbent is not None else "",
        bare=overall(gates), verdict=overall(gates), reasons=[], gates=gates, waivers=[],
        waived_ms=None, evaluation=record if made else None, evaluations=[record] if made else [],
        totals=[ClassTotal(label="person", right=1, wrong=0, missed=0)], slices=_slices(made),
        confusion=[
            Confused("person", "person", 9_410), Confused("bag", "bag", 2_204),
            Confused("person", "bag", 21), Confused("bag", "person", 34),
            Confused("person", "", 120), Confused("", "person", 88), Confused("", "bag", 40),
            Confused("bag", "", 61),
        ] if made else [],
        hardware=hardware,
    )  # fmt: skip


def _slices(made: list[CameraDay]) -> list[SiteSlice]:
    found = []
    for site in sorted({day.site for day in made}):
        of = [day.tallies["person"] for day in made if day.site == site]
        found.append(
            SiteSlice(
                site=site, camera_days=len(of), pictures=40 * len(of),
                precision=share_of([(t.right, t.right + t.wrong) for t in of]),
                recall=share_of([(t.right, t.right + t.missed) for t in of]),
            )
        )  # fmt: skip
    return found


def good() -> VersionView:
    """Return a version that passes on two kinds of machine."""
    made = days((79, 1, 1), (30, 0, 0), 160)
    return version(made, [times("Jetson Orin Nano", 0.4), times("Raspberry Pi 5", 1.1)], made)


def bad() -> VersionView:
    """Return a version that finds too little, is slow on one machine and fails its golden frame."""
    made = days((58, 2, 20), (30, 0, 0), 160)
    before = days((79, 1, 1), (30, 0, 0), 160)
    slow = times("Raspberry Pi 4", 2.6, golden=False)
    return version(made, [times("Jetson Orin Nano", 0.4), slow], before)


def waived() -> VersionView:
    """Return a version that somebody signed for, and a waiver that is over."""
    view = bad()
    until = NOW_MS + 9 * DAY_MS
    gates = [
        msgspec.structs.replace(gate, waived=until) if gate.verdict is not Verdict.PASS else gate
        for gate in view.gates
    ]
    waiver = WaiverView(
        waiver="a" * 64, gates=["recall/person", "f1/*", "no_worse/*", "latency/*", "golden/*"],
        reason="Night cameras only, until run-121 is measured.", by="Ann, vision",
        issued_ms=NOW_MS - 5 * DAY_MS, expires_ms=until, received_ms=NOW_MS - 5 * DAY_MS,
        received_from="ada", signers=["Release"], stands=True,
    )  # fmt: skip
    over = msgspec.structs.replace(waiver, waiver="b" * 64, stands=False, why_not="it is over",
                                   reason=HOSTILE, signers=[])  # fmt: skip
    return msgspec.structs.replace(
        view, gates=gates, verdict=overall(gates), waivers=[over, waiver], waived_ms=until
    )


def unknown() -> VersionView:
    """Return a version of which nothing is known but its manifest, with hostile names."""
    view = version([], [])
    return msgspec.structs.replace(
        view, model="m" * 64, version="9" * 60, registered_by=HOSTILE, state="withdrawn",
        lineage=Lineage(data_version=HOSTILE, note=HOSTILE * 8),
        card=CardFact(license=HOSTILE * 3), input_px=None,
    )  # fmt: skip


def listed(name: str, verdict: str | None, *, is_waived: bool = False) -> ModelListed:
    """Return a model of the list."""
    is_empty = verdict is None
    return ModelListed(
        model=name, created_ms=NOW_MS - 90 * DAY_MS, versions=0 if is_empty else 12,
        incumbent=OLD, digest=None if is_empty else DIGEST, version=None if is_empty else "2.1.0",
        registered_ms=None if is_empty else NOW_MS - 2 * DAY_MS, verdict=verdict, waived=is_waived,
    )  # fmt: skip


MODELS: Final = [
    listed("branch-watch", "pass"),
    listed("shelf-pick", "fail"),
    listed("night-door", "pass", is_waived=True),
    listed("queue-length", "inconclusive"),
    listed("w" * 64, None),
]


def _versions() -> list[VersionListed]:
    made = []
    for number, (verdict, state) in enumerate(
        [("pass", "registered"), ("fail", "withdrawn"), ("inconclusive", "registered")]
    ):
        made.append(
            VersionListed(
                digest=DIGEST if number else OLD, version=f"2.{3 - number}.0", state=state,
                registered_ms=NOW_MS - (number + 1) * 9 * DAY_MS, registered_by="ci",
                verdict=verdict, waived=number == 0, head="yolox", labels=2, input_px=(416, 416),
                bytes=3_940_000,
            )
        )  # fmt: skip
    return made


def _model(page: Page) -> str:
    view = ModelView(
        model="branch-watch", created_ms=NOW_MS, policy=Policy(classes=["person", "bag"]),
        incumbent=OLD,
    )  # fmt: skip
    return present.model_html(view, _versions(), page)


PATTERNS: Final[dict[str, Callable[[Page], str]]] = {
    "models": lambda page: present.list_html(MODELS, page),
    "models-empty": lambda page: present.list_html([], page),
    "model": _model,
    "model-good": lambda page: present.version_html(good(), page),
    "model-bad": lambda page: present.version_html(bad(), page),
    "model-waived": lambda page: present.version_html(waived(), page),
    "model-unknown": lambda page: present.version_html(unknown(), page, problem=HOSTILE),
}
