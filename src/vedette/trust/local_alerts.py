"""What a site may say about local alerts, and what makes no sense of it.

Checked by whoever signs a policy and by every device that is to follow it: the owner is told before
anything goes out, and a device believes nobody's word that it was checked.
"""

import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from string import Formatter
from typing import Final
from urllib.parse import urlsplit

from vedette.errors import ConfigError
from vedette.ids import is_slug
from vedette.trust.webhooks import secret_bytes
from vedette.wire.alerts import ChannelKind, EventMatch, LocalAlerts, LocalChannel, LocalRule

MAX_CHANNELS: Final = 16
MAX_RULES: Final = 64
MAX_ARGUMENTS: Final = 32
MAX_TEXT_CHARS: Final = 1024
MAX_PATTERNS: Final = 64
MAX_AFTER_S: Final = 300.0
MAX_TIMEOUT_S: Final = 60.0
MAX_PER_MINUTE: Final = 600
MAX_KEEP_S: Final = 86_400.0
MAX_WITHIN_S: Final = 3600.0
MAX_AT_LEAST: Final = 1000
TOPIC_FIELDS: Final = frozenset({"site", "device", "camera", "rule"})

_SCHEMES: Final = {
    ChannelKind.WEBHOOK: {"http", "https"},
    ChannelKind.MQTT: {"mqtt", "mqtts"},
}


def check_alerts(said: LocalAlerts, *, stubs: bool = False) -> None:
    """Return where every channel and rule makes sense.

    Args:
        said: Channels and rules.
        stubs: Of the channels only what everybody may know stands there, the rest is sealed.

    Raises:
        ConfigError: Something does not; it names what.
    """
    _at_most(said.channels, MAX_CHANNELS, "channels")
    _at_most(said.rules, MAX_RULES, "rules")
    _named("channel", [one.channel for one in said.channels])
    for channel in said.channels:
        _check_times(channel)
        if not stubs:
            _check_address(channel)
    check_rules(said.rules, {one.channel for one in said.channels})


def check_rules(rules: Sequence[LocalRule], channels: set[str]) -> None:
    """Return where every rule makes sense and names channels that there are.

    Raises:
        ConfigError: One does not.
    """
    _named("rule", [one.rule for one in rules])
    for rule in rules:
        what = f"alerts: rule {rule.rule!r}"
        if (rule.event is None) == (rule.health is None):
            raise _wrong(f"{what} has both `event:` and `health:`, or neither", "write one of them")
        if not rule.channels or not set(rule.channels) <= channels:
            missing = sorted(set(rule.channels) - channels)
            raise _wrong(f"{what}: no such channel: {missing}", "name one of `alerts.channels`")
        for patterns in (rule.cameras, rule.devices):
            _patterns(what, patterns)
        _between(what, "quiet_s", rule.quiet_s, 0, MAX_KEEP_S)
        if rule.event is not None:
            _check_event(what, rule.event)
        if rule.health is not None:
            _between(what, "for_s", rule.health.for_s, 0, MAX_WITHIN_S)


def bears_secret(channel: LocalChannel) -> bool:
    """True where nobody but the device may read this channel."""
    return bool(channel.secret or urlsplit(channel.url).password)


# ------------------------------------------------------------------------------------- internals


def _check_times(channel: LocalChannel) -> None:
    what = f"alerts: channel {channel.channel!r}"
    _between(what, "after_s", channel.after_s, 0, MAX_AFTER_S)
    _between(what, "timeout_s", channel.timeout_s, 0.1, MAX_TIMEOUT_S)
    _between(what, "keep_s", channel.keep_s, 0, MAX_KEEP_S)
    _between(what, "per_minute", channel.per_minute, 1, MAX_PER_MINUTE)
    _patterns(what, channel.devices)


def _check_address(channel: LocalChannel) -> None:
    """Check what only its own kind of channel has, and that it has nothing of the others."""
    what = f"alerts: channel {channel.channel!r}"
    is_command = channel.kind is ChannelKind.COMMAND
    if bool(channel.argv) != is_command or bool(channel.url) == is_command:
        raise _wrong(f"{what} mixes kinds", "a command has `argv:`, the others have `url:`")
    if is_command:
        _check_command(what, channel.argv)
        return
    try:
        parts = urlsplit(channel.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in _SCHEMES[channel.kind] or not host or len(channel.url) > MAX_TEXT_CHARS:
        wanted = " or ".join(f"{scheme}://host" for scheme in sorted(_SCHEMES[channel.kind]))
        raise _wrong(f"{what}: no such address", f"write {wanted}")
    if channel.kind is ChannelKind.WEBHOOK:
        secret_bytes(channel.secret)
    else:
        _check_topic(what, channel.topic, channel.qos)


def _check_command(what: str, argv: list[str]) -> None:
    _at_most(argv, MAX_ARGUMENTS, "arguments")
    if any("\0" in part or len(part) > MAX_TEXT_CHARS for part in argv):
        raise _wrong(f"{what}: an argument that no program can get", "shorten it")
    program = PurePosixPath(argv[0])
    if not program.is_absolute() or ".." in program.parts:
        raise _wrong(f"{what}: {argv[0][:64]!r} is no absolute path", "write /usr/local/bin/…")


def _check_topic(what: str, topic: str, qos: int) -> None:
    try:
        fields = {name for _, name, _, _ in Formatter().parse(topic) if name is not None}
    except ValueError:
        fields = {topic}
    bad = any(sign in topic for sign in "#+\0") or topic.startswith("$")
    if not topic or bad or len(topic) > MAX_TEXT_CHARS or not fields <= TOPIC_FIELDS:
        raise _wrong(f"{what}: no topic to publish to", f"only {sorted(TOPIC_FIELDS)} in braces")
    if qos not in {0, 1}:
        raise _wrong(f"{what}: qos is {qos}", "write 0 or 1")


def _check_event(what: str, match: EventMatch) -> None:
    if not match.kinds:
        raise _wrong(f"{what}: `kinds:` is empty", "write which events it is about")
    for patterns in (match.places, match.labels):
        _patterns(what, patterns)
    _between(what, "at_least", match.at_least, 1, MAX_AT_LEAST)
    _between(what, "within_s", match.within_s, 0, MAX_WITHIN_S)
    if match.at_least > 1 and match.within_s <= 0:
        raise _wrong(f"{what}: `at_least:` without `within_s:`", "write within which time")


def _patterns(what: str, patterns: Sequence[str]) -> None:
    _at_most(patterns, MAX_PATTERNS, "names")
    if any(not 0 < len(one) <= MAX_TEXT_CHARS for one in patterns):
        raise _wrong(f"{what}: a name that is empty or too long", "shorten it")


def _named(what: str, names: list[str]) -> None:
    for name in names:
        if not is_slug(name):
            raise _wrong(f"alerts: {what} {name[:64]!r} is no short name", "use a-z 0-9 . _ -")
    if len(set(names)) < len(names):
        raise _wrong(f"alerts: a {what} is named twice", "give each its own name")


def _at_most(found: Sequence[object], most: int, what: str) -> None:
    if len(found) > most:
        raise _wrong(f"alerts: {len(found)} {what}", f"at most {most}")


def _between(what: str, name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise _wrong(f"{what}: {name} is {value}", f"write {least:g} to {most:g}")


def _wrong(message: str, hint: str) -> ConfigError:
    return ConfigError(message, operator_hint=hint)
