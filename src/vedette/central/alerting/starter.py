"""The rules to begin with, as a file that people change.

The rule: it can be applied as it is, to an empty central too; without somebody to tell its
incidents stand in the console.
"""

import re
from importlib import resources
from typing import Final

from vedette.central.alerting.rules import TARGETS
from vedette.errors import ConfigError

_LADDERS: Final = "# ------------------------------------------------------------------ who is told"


def text(tell: str = "") -> str:
    """Return the file; `tell` as in a ladder's step: `channel:ops`, `oncall:night`.

    Raises:
        ConfigError: `tell` is nobody.
    """
    folder = resources.files("vedette.central.alerting")
    found = (folder / "starter.yaml").read_text(encoding="utf-8")
    if not tell:
        rules = found.partition(_LADDERS)[0]
        rules = re.sub(r"^    ladder: .*\n", "", rules, flags=re.MULTILINE)
        return f"{rules.rstrip()}\n"
    kind, _, name = tell.partition(":")
    if kind not in TARGETS or not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
        raise ConfigError(
            f"{tell[:40]!r} is nobody",
            operator_hint="channel:NAME, person:USER or oncall:SCHEDULE",
        )
    return found.replace("TELL", tell)
