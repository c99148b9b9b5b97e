"""Templates and what they may call.

One Jinja2 environment, autoescape always on, undefined names are errors. The rule: a template only
places things; sums, orders and words are made in Python where they can be tested.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import jinja2
import msgspec
from markupsafe import Markup

from vedette.amounts import counted
from vedette.central.accounts import ROLES
from vedette.central.console import drawing, navigation, strip, text, urls, words
from vedette.central.console.assets import asset_version
from vedette.central.throttle_words import flag_text

_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "clock": text.clock_text,
    "flags": flag_text,
    "moment": text.moment_text,
    "minute": text.minute_text,
    "iso": text.iso_text,
    "duration": text.duration_text,
    "number": text.number_text,
    "counted": counted,
    "percent": text.percent_text,
    "ms": text.ms_text,
    "bytes_text": text.bytes_text,
}

_GLOBALS: Final[dict[str, Any]] = {
    "age": text.age_text,
    "state_word": words.state_word,
    "cause_word": words.cause_word,
    "CAMERA_STATES": words.CAMERA_STATES,
    "STATES": words.STATES,
    "CAUSES": words.CAUSES,
    "EVENT_KINDS": words.EVENT_KINDS,
    "SCORES": words.SCORES,
    "COUNT_KINDS": words.COUNT_KINDS,
    "left_out": words.left_out,
    "EVIDENCE": words.EVIDENCE,
    "CLIP_STATES": words.CLIP_STATES,
    "SIGNS": words.SIGNS,
    "in_words": words.in_words,
    "strip_pieces": strip.pieces,
    "strip_summary": strip.summary,
    "strip_ticks": strip.ticks,
    "drawing": drawing,
    "menu": navigation.entries,
    "site_url": urls.site_url,
    "device_url": urls.device_url,
    "camera_url": urls.camera_url,
    "event_url": urls.event_url,
}


@cache
def environment() -> jinja2.Environment:
    """Return the one environment. Thread: any; it is never changed after it was made."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("vedette.central.console", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(_FILTERS)
    made.globals.update(_GLOBALS)
    made.globals["asset_version"] = asset_version()
    return made


class Looker(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever has the page open, as far as a page needs to know.

    Attributes:
        whole: They see the whole fleet: who is told, and by what, is no business of a part.
    """

    username: str
    role: str
    csrf: str
    whole: bool = True

    def may(self, role: str) -> bool:
        """True where they have this role or a stronger one."""
        return self.role in ROLES[ROLES.index(role) :]


def render(template: str, *, looker: Looker | None, now_ms: int, **context: object) -> str:
    """Return a whole page, or a part of one where `template` is a part."""
    page = environment().get_template(template)
    return page.render(looker=looker, now_ms=now_ms, **context)


def part(template: str, **context: object) -> Markup:
    """Return a part of a page that was rendered by itself, to be placed in one as it is."""
    return Markup(environment().get_template(template).render(**context))  # noqa: S704 - escaped there
