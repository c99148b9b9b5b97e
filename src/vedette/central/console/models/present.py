"""The registry's pages from its views. Pure: views in, HTML out.

The rule: an interval is drawn with its limit in the same scale, only a proven pass is green, what
is not known is hatched, and a waiver stands wherever the verdict does.
"""

from typing import Final
from urllib.parse import quote

import msgspec

from vedette.central.console.page import Page
from vedette.central.console.render import render
from vedette.central.registry.looking import ModelListed, ModelView, VersionListed, VersionView
from vedette.stats.gates import BUDGET_MS, MODEL_STEPS, Gate, Verdict
from vedette.wire.evaluation import BACKGROUND, HardwareTimes

MAX_GATES: Final = 60
MAX_CLASSES: Final = 12
MAX_SLICES: Final = 50


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as it is shown: shape, word, colour and meaning."""

    word: str
    shape: str
    css: str
    meaning: str


WORDS: Final = {
    "pass": Word(
        word="pass", shape="disc", css="ok", meaning="the bound that speaks against it is beyond"
    ),
    "fail": Word(
        word="fail", shape="cross", css="down", meaning="it is proven to be below what is asked"
    ),
    "inconclusive": Word(
        word="insufficient data",
        shape="question",
        css="hatched",
        meaning="too little is known to say; this is never a pass",
    ),
}
KINDS: Final = (
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("f1", "F1"),
    ("site_precision", "The worst site: precision"),
    ("site_recall", "The worst site: recall"),
    ("no_worse", "Against the incumbent, on the same pictures"),
    ("latency", "Latency"),
    ("load", "Loading"),
    ("golden", "Golden frames"),
)


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """Where a gate's numbers lie, in percent of its scale; None: not to be drawn."""

    low: float | None
    high: float | None
    value: float | None
    limit: float | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A gate on the page."""

    gate: Gate
    name: str
    drawn: Drawn | None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Gates of one kind; `left_out`: passes beyond those that fit."""

    title: str
    gates: list[Shown]
    left_out: int = 0


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of the confusion matrix; `shade` 0 to 4 by its part of the row."""

    objects: int
    shade: int
    is_right: bool


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """The confusion matrix: what is there, row by row, and what it was taken for."""

    labels: list[str]
    rows: list[tuple[str, list[Cell]]]
    left_out: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step on one machine against its budget, in percent of the scale."""

    name: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    high_ms: float | None
    runs: int
    budget_ms: float | None
    p95: float
    budget: float | None
    is_over: bool


def model_url(model: str) -> str:
    """Return where a model's page is."""
    return f"/models/{quote(model, safe='')}"


def version_url(model: str, digest: str) -> str:
    """Return where a version's page is."""
    return f"{model_url(model)}/{quote(digest, safe=':')}"


def drawn(gate: Gate) -> Drawn | None:
    """Return where a gate's interval lies; None where nothing was measured."""
    told = [x for x in (gate.value, gate.low, gate.high, gate.limit) if x is not None]
    if gate.value is None or not told:
        return None
    if gate.unit == "share" and gate.kind != "no_worse":
        left, right = min(0.5, *told), 1.0
    else:
        left, right = min(0.0, *told), max(*told, 0.0)
    room = (right - left) * 0.06 or 1.0
    left, right = (left - room if left < 0 else left), right + (room if right != 1.0 else 0)

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - left) / (right - left), 2)

    return Drawn(low=at(gate.low), high=at(gate.high), value=at(gate.value), limit=at(gate.limit))


def groups(gates: list[Gate]) -> list[Group]:
    """Return gates by kind, what speaks against the version first."""
    order = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}
    made: list[Group] = []
    for kind, title in KINDS:
        of_kind = sorted(
            (gate for gate in gates if gate.kind == kind), key=lambda gate: order[gate.verdict]
        )
        if of_kind:
            shown = [_shown(gate) for gate in of_kind[:MAX_GATES]]
            made.append(Group(title=title, gates=shown, left_out=len(of_kind) - len(shown)))
    return made


def _shown(gate: Gate) -> Shown:
    name = gate.gate.partition("/")[2].replace("/", " · ") or gate.where
    return Shown(gate=gate, name=name, drawn=drawn(gate))


def matrix(view: VersionView) -> Matrix | None:
    """Return the confusion matrix of the classes with most objects; None without one."""
    if not view.confusion:
        return None
    weight: dict[str, int] = {}
    for cell in view.confusion:
        for label in {cell.truth, cell.found} - {BACKGROUND}:
            weight[label] = weight.get(label, 0) + cell.objects
    ordered = sorted(weight, key=lambda label: (-weight[label], label))
    labels = [*ordered[:MAX_CLASSES], BACKGROUND]
    counts = {(cell.truth, cell.found): cell.objects for cell in view.confusion}
    rows: list[tuple[str, list[Cell]]] = []
    for truth in labels:
        row = [counts.get((truth, found), 0) for found in labels]
        whole = sum(row) or 1
        rows.append(
            (
                truth,
                [
                    Cell(objects=n, shade=round(4 * n / whole), is_right=truth == found != "")
                    for found, n in zip(labels, row, strict=True)
                ],
            )
        )
    return Matrix(labels=labels, rows=rows, left_out=max(0, len(ordered) - MAX_CLASSES))


def steps(times: HardwareTimes, budget_ms: dict[str, float]) -> list[Step]:
    """Return the steps of a machine with their budgets, in one scale."""
    budgets = dict(budget_ms)
    spent = sum(budgets.get(name, 0.0) for name in ("capture", "dispatch"))
    if "total" in budgets:
        budgets["model"] = max(0.0, budgets["total"] - spent)
    known = [name for name in (*MODEL_STEPS, "capture", "dispatch", "model") if name in times.steps]
    scale = max(
        [budgets.get(name, 0.0) for name in known] + [times.steps[n].p99_ms for n in known] + [1.0]
    )
    made: list[Step] = []
    for name in known:
        step, budget = times.steps[name], budgets.get(name)
        made.append(
            Step(
                name="all of the model" if name == "model" else name,
                p50_ms=step.p50_ms,
                p95_ms=step.p95_ms,
                p99_ms=step.p99_ms,
                high_ms=step.p95_high_ms,
                runs=step.runs,
                budget_ms=budget,
                p95=round(100 * step.p95_ms / scale, 2),
                budget=None if budget is None else round(100 * budget / scale, 2),
                is_over=budget is not None and step.p95_ms > budget,
            )
        )
    return made


def list_html(rows: list[ModelListed], page: Page, *, cut: bool = False) -> str:
    """Return the page of all models."""
    return _page("models/list.html", page, rows=rows, cut=cut)


def model_html(view: ModelView, rows: list[VersionListed], page: Page) -> str:
    """Return the page of a model."""
    return _page("models/model.html", page, view=view, rows=rows, budget=BUDGET_MS)


def version_html(view: VersionView, page: Page, *, problem: str = "", done: str = "") -> str:
    """Return the page of a version."""
    return _page(
        "models/version.html",
        page,
        view=view,
        groups=groups(view.gates),
        matrix=matrix(view),
        machines=[(one, steps(one, view.policy.budget_ms)) for one in view.hardware],
        slices=view.slices[:MAX_SLICES],
        problem=problem,
        done=done,
    )


def _page(template: str, page: Page, **context: object) -> str:
    name = template.replace(".html", "_body.html") if page.part else template
    return render(
        name,
        looker=page.looker,
        now_ms=page.now_ms,
        self_url=page.self_url,
        words=WORDS,
        model_url=model_url,
        version_url=version_url,
        **context,
    )
