"""What an incident is called. Pure.

What lives here: titles from what a rule says, or from what happened. What does not: escaping, which
is for whoever writes the title somewhere. The rule: only known placeholders are filled, text of
devices and operators loses what is no text, and nothing grows beyond a line.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from vedette.central.alerting.facts import Health, Member, Rule, Signal
from vedette.central.alerting.places import Places

MAX_TITLE_CHARS: Final = 160
MAX_TODO_CHARS: Final = 1_000
_HOLE: Final = re.compile(r"\{(camera|device|site|place|label|count|value)\}")
_NO_TEXT: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

HEALTH: Final[dict[Health, str]] = {
    Health.SITE_DARK: "Site dark",
    Health.DEVICE_DARK: "Device dark",
    Health.CAMERA_DOWN: "Camera down",
    Health.TAMPERED: "Camera tampered with",
    Health.DEGRADED: "Picture degraded",
    Health.THROTTLED: "Throttled by heat or power",
    Health.MEMORY_LEAK: "Memory grows",
    Health.DISK: "Disk nearly full",
    Health.NETWORK_LOSS: "Network loses packets",
    Health.SPOOL_FILLING: "Spool fills",
    Health.CLOCK: "Clock not trusted",
    Health.LATENCY_BUDGET: "Latency budget burned",
    Health.PIPELINE_CRASHED: "Pipeline crashed",
    Health.ACCURACY: "Accuracy in doubt",
    Health.DRIFT: "Drift",
    Health.ROLLOUT: "Rollout in trouble",
    Health.COVERAGE: "Coverage below its promise",
    Health.QUARANTINED: "Device in quarantine",
    Health.UPDATE_FAILED: "Update failed",
}

SIGNS: Final[dict[str, str]] = {
    "Covered": "lens covered",
    "ImageTooDark": "picture too dark",
    "ImageTooBright": "picture too bright",
    "ImageTooBlurry": "picture blurred",
    "FrozenPicture": "picture frozen",
    "GlobalSceneChange": "view changed",
}
"""What a device sees wrong with a picture → what people call it."""


def signs(text: str) -> str:
    """Return text of a device with the signs in it by their words; the rest stays."""
    return "; ".join(
        ", ".join(SIGNS.get(one, one) for one in part.split(", ")) for part in text.split("; ")
    )


def plain(text: str, most: int) -> str:
    """Return text in one line without controls and marks that turn it around, `most` long."""
    spaced = re.sub(r"\s", " ", text[: 4 * most])
    kept = "".join(char for char in spaced if unicodedata.category(char) not in _NO_TEXT)
    kept = " ".join(kept.split())
    return kept if len(kept) <= most else kept[: most - 1].rstrip() + "…"


def title(rule: Rule, members: Sequence[Member], signal: Signal, count: int, places: Places) -> str:
    """Return what an incident with these members is called, `signal` being its newest."""
    wrong = [one for one in members if one.ended_ms is None] or members
    said = {
        "camera": _one_of((one.subject.camera for one in wrong), "cameras"),
        "device": _one_of((one.subject.device for one in wrong), "devices"),
        "site": _site(_one_of((one.subject.site for one in wrong), "sites"), places),
        "place": _one_of((one.subject.place for one in wrong), "places"),
        "label": signal.label,
        "count": str(count),
        "value": "" if signal.value is None else f"{signal.value:g}",
    }
    text = rule.title or _made(rule, signal, said)
    return plain(_HOLE.sub(lambda hole: said[hole[1]], text[:1_000]), MAX_TITLE_CHARS) or rule.rule


def _made(rule: Rule, signal: Signal, said: dict[str, str]) -> str:
    where = ", ".join(said[part] for part in ("camera", "device", "site") if said[part])
    if rule.health is not None:
        return f"{HEALTH.get(rule.health.is_, rule.rule)}: {where}"
    return f"{signal.text or rule.rule}: {where}"


def _site(site: str, places: Places) -> str:
    known = places.sites.get(site)
    return known.name or site if known else site


def _one_of(names: Iterable[str], plural: str) -> str:
    """Return the one name, or how many there are; who sees one must not learn of the others."""
    distinct = {name for name in names if name}
    return f"{len(distinct)} {plural}" if len(distinct) > 1 else next(iter(distinct), "")
