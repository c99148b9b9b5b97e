"""The sheet of labels: one HTML file, nothing loaded from anywhere, sized for A4.

A label names a thing in words and in a QR code. The code holds central's address for that thing
(`/at/SITE/DEVICE/CAMERA`, which outlives changes of the console), or plain words where there is no
central. It holds no secret: whoever scans it still has to sign in.
"""

import enum
from collections.abc import Sequence
from html import escape
from typing import Final
from urllib.parse import quote

import msgspec
import segno

from vedette.edge.labels.words import LANGUAGES, Words
from vedette.errors import ConfigError

MAX_LABELS: Final = 500
_QR_ERROR: Final = "q"  # a quarter of the code may be scratched or stained

_STYLE: Final = """
@page{size:A4;margin:10mm}
*{box-sizing:border-box}
body{margin:0;font:10.5pt/1.3 "Helvetica Neue",Arial,sans-serif;color:#000;background:#fff}
.note{font-size:9pt;color:#444;margin:4mm}
main{display:grid;grid-template-columns:repeat(auto-fill,93mm);gap:2mm;justify-content:center}
section{width:93mm;height:67mm;border:.25mm dashed #888;padding:4mm;overflow:hidden;
break-inside:avoid;display:grid;grid-template-columns:1fr 25mm;
grid-template-rows:auto 1fr auto;gap:1.5mm 3mm}
h2{grid-column:1/-1;margin:0;font-size:13.5pt;line-height:1.15}
.power h2{background:#000;color:#fff;margin:-4mm -4mm 0;padding:2.5mm 4mm;text-align:center;
font-size:16pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
p{margin:0 0 1mm}.name{font-weight:700;font-size:11.5pt;line-height:1.15}
.small{font-size:9.3pt}
svg{width:25mm;height:25mm;display:block}
.id{font:7.5pt/1.2 ui-monospace,monospace;overflow-wrap:anywhere;margin-top:.5mm}
.call{grid-column:1/-1;border-top:.25mm solid #000;padding-top:1mm;font-size:9.5pt}
.call b{font-size:12pt;white-space:nowrap}
@media screen{body{background:#eee}main{padding:6mm;background:#fff;max-width:210mm;margin:auto}}
@media print{.note{display:none}}
"""


class Kind(enum.StrEnum):
    """What a label is stuck to."""

    DEVICE = "device"
    CAMERA = "camera"
    POWER = "power"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One label.

    Attributes:
        name: What people call the thing.
        path: Site, device and, for a camera, camera.
    """

    kind: Kind
    name: str
    path: tuple[str, ...]


def for_device(
    site: str, device: str, cameras: Sequence[tuple[str, str]], *, name: str = ""
) -> list[Label]:
    """Return the labels of one device: the box and its plug, each camera and its plug.

    Args:
        site: The site's name.
        device: The device's name.
        cameras: `(id, what people call it)` each.
        name: What people call the box.
    """
    box = (site, device)
    called = name or device
    labels = [
        Label(kind=Kind.DEVICE, name=called, path=box),
        Label(kind=Kind.POWER, name=called, path=box),
    ]
    for camera, words in cameras:
        path = (*box, camera)
        labels += [
            Label(kind=Kind.CAMERA, name=words or camera, path=path),
            Label(kind=Kind.POWER, name=words or camera, path=path),
        ]
    return labels


def address(central: str, path: Sequence[str]) -> str:
    """Return what a label's QR code says."""
    if not central:
        return "vedette " + " / ".join(path)
    return central.rstrip("/") + "/at/" + "/".join(quote(part, safe="") for part in path)


def sheet(labels: Sequence[Label], *, language: str, central: str, contact: str) -> str:
    """Return the sheet as one HTML document.

    Raises:
        ConfigError: No such language, no label, or more than a stack of sheets should have.
    """
    words = LANGUAGES.get(language)
    if words is None:
        raise ConfigError(
            f"there are no labels in {language!r}",
            operator_hint=f"one of {', '.join(sorted(LANGUAGES))}",
        )
    if not labels or len(labels) > MAX_LABELS:
        raise ConfigError(
            f"a sheet has 1 to {MAX_LABELS} labels, not {len(labels)}",
            operator_hint="name a device and its cameras",
        )
    made = "\n".join(_label(label, words, central, contact) for label in labels)
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>Vedette labels</title><style>{_STYLE}</style></head><body>"
        '<p class="note">Print on A4 at 100 %, best on self-adhesive film; cut along the dashes. '
        "Stick each where it is seen before the cable is reached for.</p>"
        f"<main>{made}</main></body></html>\n"
    )


def _label(label: Label, words: Words, central: str, contact: str) -> str:
    title, lines = _said(label, words)
    call = (
        f'<div class="call">{escape(words.call)} <b>{escape(contact)}</b></div>' if contact else ""
    )
    code = _code(address(central, label.path))
    said = "".join(f'<p class="{style}">{escape(text)}</p>' for style, text in lines)
    return (
        f'<section class="{label.kind.value}"><h2>{escape(title)}</h2><div>{said}</div>'
        f'<div>{code}<div class="id">{escape(" / ".join(label.path))}</div></div>{call}</section>'
    )


def _said(label: Label, words: Words) -> tuple[str, list[tuple[str, str]]]:
    """Return `(title, (class, text) of each paragraph)`."""
    if label.kind is Kind.POWER:
        fed = words.power_of.format(what=label.name)
        return words.power, [("name", fed), ("small", words.power_please)]
    if label.kind is Kind.CAMERA:
        return words.camera, [("name", label.name), ("small", words.camera_please)]
    return words.device, [("name", label.name), ("small", words.device_please)]


def _code(text: str) -> str:
    """Return a QR code as SVG that scales to its box.

    Raises:
        ConfigError: More text than a QR code of a label's size can hold.
    """
    try:
        code = segno.make(text, error=_QR_ERROR, micro=False, boost_error=False, version=None)
    except segno.DataOverflowError as error:
        raise ConfigError(
            "central's address and these names are too long for a QR code",
            operator_hint="use a shorter address for central",
        ) from error
    drawn: str = code.svg_inline(scale=1, border=2, omitsize=True)
    return drawn
