"""Labels as people type them: a line each, `tier=gold`. Pure."""

from collections.abc import Mapping

from vedette.errors import ConfigError

MAX_CHARS = 5_000


def label_text(labels: Mapping[str, str]) -> str:
    """Return labels as `label_changes` reads them."""
    return "\n".join(f"{key}={value}" for key, value in sorted(labels.items()))


def label_changes(have: Mapping[str, str], text: str) -> dict[str, str | None]:
    """Return what to change so that exactly the labels in `text` are there.

    Raises:
        ConfigError: A line that is no label.
    """
    wanted: dict[str, str] = {}
    for line in text[:MAX_CHARS].splitlines():
        if not line.strip():
            continue
        key, mark, value = line.partition("=")
        if not mark or not key.strip():
            raise ConfigError(
                f"{line.strip()[:60]!r} is no label", operator_hint="a line each, as tier=gold"
            )
        wanted[key.strip()] = value.strip()
    changed = {key: value for key, value in wanted.items() if have.get(key) != value}
    return changed | {key: None for key in have if key not in wanted}
