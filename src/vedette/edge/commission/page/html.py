"""The pages: the PIN, the cameras, the step that is being taken. Pure: state in, HTML out.

Large targets and few words: who reads this stands on a ladder with a phone in one hand. Everything
works without script, which only saves pressing *Look again*. The rule: every text goes through
`escape`.
"""

from html import escape
from importlib import resources
from typing import Final

from vedette.clock import from_wall_ms
from vedette.edge.commission.page.desk import Question, Shown, step_number
from vedette.edge.commission.page.floor import CameraLine, Failed
from vedette.edge.commission.record import CommissionRecord, Sample
from vedette.edge.commission.session import STEPS

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_STATES: Final = {
    "never": ("○", "none", "not commissioned yet"),
    "complete": ("●", "ok", "complete"),
    "incomplete": ("▲", "warn", "incomplete"),
    "changed": ("▲", "warn", "zones or lines were changed since"),
}

_TITLES: Final = {
    "view": "View",
    "focus": "Focus",
    "light": "Light",
    "zones": "Zones and lines",
    "reference": "Reference",
    "sample": "Sample",
    "baseline": "Baseline",
}


def asset(name: str) -> tuple[bytes, str] | None:
    """Return (bytes, media type) of the page's style or script; None for any other name."""
    kinds = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
    if name not in kinds:
        return None
    file = resources.files(__package__ or "") / name
    return file.read_bytes(), kinds[name]


def _page(title: str, body: str, *, device: str, script: bool = False) -> str:
    js = '<script src="/page.js" type="module"></script>' if script else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/page.css">{js}</head>'
        f'<body><header><b>{escape(device)}</b> <span class="dim">commissioning</span></header>'
        f"<main>{body}</main></body></html>"
    )


def pin_page(device: str, problem: str = "") -> str:
    """Return the page that asks for the PIN."""
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    body = (
        f"<h1>PIN</h1>{said}<p>It stands on the device's terminal, where this page was started.</p>"
        '<form method="post" action="/pin"><label>Six digits '
        '<input name="pin" inputmode="numeric" pattern="[0-9]{6}" maxlength="6" required autofocus '
        'autocomplete="one-time-code"></label><button class="primary">Continue</button></form>'
    )
    return _page("PIN", body, device=device)


def list_page(
    device: str,
    cameras: list[CameraLine],
    csrf: str,
    *,
    done: CommissionRecord | None,
    failed: Failed | None,
    by: str = "",
) -> str:
    """Return the page of all cameras, with what came of the last commissioning."""
    parts = ["<h1>Cameras</h1>"]
    if failed is not None:
        hint = f"<br>{escape(failed.hint)}" if failed.hint else ""
        parts.append(
            f'<p class="problem" role="alert"><b>{escape(failed.camera)}</b>: '
            f"{escape(failed.why)}.{hint}</p>"
        )
    if done is not None:
        parts.append(f'<section class="done" role="status">{_record(done)}</section>')
    parts.append('<ul class="cameras">')
    for one in cameras:
        shape, colour, words = _STATES[one.state]
        when = ""
        if one.record is not None:
            by_whom = f", {escape(one.record.by)}" if one.record.by else ""
            when = f" · {from_wall_ms(one.record.at_ms):%d %b %Y %H:%M} UTC{by_whom}"
        parts.append(
            f"<li><h2>{escape(one.name or one.camera)}</h2>"
            f'<p><span class="{colour}">{shape} {words}</span><span class="dim">{when}</span></p>'
            f'<form method="post" action="/start">{_csrf(csrf)}'
            f'<input type="hidden" name="camera" value="{escape(one.camera)}">'
            f'<label>Who does it <input name="by" maxlength="60" value="{escape(by)}" '
            'autocomplete="name"></label>'
            f'<button class="primary">Begin with {escape(one.name or one.camera)}</button>'
            "</form></li>"
        )
    parts.append("</ul>")
    if not cameras:
        parts.append("<p>This device has no camera yet: write one into its edge.yaml.</p>")
    parts.append(f'<form method="post" action="/leave">{_csrf(csrf)}<button>Leave</button></form>')
    return _page("Cameras", "".join(parts), device=device)


def step_page(device: str, shown: Shown, csrf: str, *, clear: bool, may_clear: bool) -> str:
    """Return the page of the step that is being taken."""
    steps = "".join(
        f'<li{_current(step, shown.step)}><span class="out">{_TITLES[step]}</span></li>'
        for step in STEPS
    )
    number = step_number(shown.step)
    title = _TITLES.get(shown.step, "The first picture is awaited")
    view = "clear" if clear else "safe"
    picture = (
        f'<img id="view" alt="what the camera sees now, {_view_words(clear=clear)}" '
        f'src="/view.jpg?kind={view}&amp;n={shown.picture}" data-kind="{view}">'
        if shown.picture
        else '<div class="no-picture" id="view-none">no picture yet</div>'
    )
    other = ""
    if may_clear:
        to, words = (
            ("?view=safe", "Show it reduced") if clear else ("?view=clear", "Show it clearly")
        )
        other = f'<p><a class="button" href="/{to}">{words}</a></p>'
    body = (
        f'<ol class="steps" aria-label="Steps">{steps}</ol>'
        f"<h1>{number}/{len(STEPS)} {title}</h1>"
        f'<p id="step-words">{escape(shown.step_words)}</p>'
        f'{picture}<p class="dim">{_view_words(clear=clear)}; this page stores none of it</p>'
        f'<p id="words" class="big" aria-live="polite">{escape(shown.words)}</p>'
        f"{_progress(shown)}"
        f'<div id="question">{question_html(shown.question, csrf)}</div>{other}'
        f'<noscript><p><a class="button" href="">Look again</a></p></noscript>'
        f'<form method="post" action="/stop" class="stop">{_csrf(csrf)}'
        "<button>Break off; store nothing</button></form>"
    )
    where = f'<div id="step" data-version="{shown.version}" data-step="{escape(shown.step)}">'
    return _page(title, f"{where}{body}</div>", device=device, script=True)


def question_html(asked: Question | None, csrf: str) -> str:
    """Return the open question as forms of one button each; words to wait where there is none."""
    if asked is None:
        return '<p class="dim">Working; the next question comes by itself.</p>'
    head = f'{_csrf(csrf)}<input type="hidden" name="question" value="{asked.number}">'

    def button(answer: str, words: str, kind: str = "") -> str:
        return (
            f'<form method="post" action="/answer">{head}'
            f'<button name="answer" value="{answer}" class="{kind}">{words}</button></form>'
        )

    words = f'<p class="asked">{escape(asked.words)}</p>'
    if asked.kind == "follow":
        return words + button("enough", "Done", "primary")
    if asked.kind == "confirm":
        buttons = button("yes", "Yes", "primary") + button("no", "No") + button("skip", "Skip")
        return f'{words}<div class="row">{buttons}</div>'
    most = "" if asked.at_most is None else f' max="{asked.at_most}"'
    return (
        f'{words}<form method="post" action="/answer" class="row">{head}'
        f'<label class="out" for="count">A number</label><input id="count" name="count" '
        f'type="number" inputmode="numeric" min="0"{most} required>'
        f'<button name="answer" value="count" class="primary">That many</button></form>'
        f"{button('skip', 'Skip the rest')}"
    )


def _progress(shown: Shown) -> str:
    if shown.part is None:
        return '<p id="progress" hidden></p>'
    return (
        f'<p id="progress"><label>{escape(shown.progress)} '
        f'<progress max="1" value="{shown.part:.3f}"></progress> '
        f"<span>{shown.part:.0%}</span></label></p>"
    )


def _view_words(*, clear: bool) -> str:
    return "clear, for people on the site" if clear else "reduced so that nobody is recognised"


def _current(step: str, now: str) -> str:
    at, here = step_number(step), step_number(now)
    return ' aria-current="step"' if at == here else ' class="past"' if at < here else ""


def _csrf(token: str) -> str:
    return f'<input type="hidden" name="csrf" value="{escape(token)}">'


def _record(record: CommissionRecord) -> str:
    """Return what came of a commissioning, in lines."""
    rows = [f"<h2>{escape(record.camera)} is stored</h2><dl>"]
    for words, steps, colour in (
        ("confirmed", record.confirmed, "ok"),
        ("answered no", record.refused, "bad"),
        ("skipped", record.skipped, "warn"),
    ):
        if steps:
            rows.append(f'<dt>{words}</dt><dd class="{colour}">{escape(", ".join(steps))}</dd>')
    if record.sample is not None:
        rows.append(f"<dt>precision</dt><dd>{_interval(record.sample, 'precision')}</dd>")
        rows.append(f"<dt>recall</dt><dd>{_interval(record.sample, 'recall')}</dd>")
    if record.baseline is not None:
        base = record.baseline
        rows.append(
            f"<dt>baseline</dt><dd>{base.observed_fraction:.0%} of {base.seconds:.0f} s observed, "
            f"{base.analysed} of {base.captured} pictures analysed</dd>"
        )
    if not record.is_complete:
        rows.append("<dt></dt><dd>This camera is not ready: do the steps above again.</dd>")
    return "".join(rows) + "</dl>"


def _interval(sample: Sample, what: str) -> str:
    interval = sample.precision if what == "precision" else sample.recall
    if interval is None:
        return "unknown: there was nothing to judge"
    of = sample.right + (sample.wrong if what == "precision" else sample.missed)
    return f"{sample.right} of {of}: between {interval[0]:.0%} and {interval[1]:.0%} (95 %)"
