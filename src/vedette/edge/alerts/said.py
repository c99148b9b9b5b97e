"""Which local channels and rules hold on this device. Pure.

The site's policy says both; central's settings may add rules. Those that name a channel which the
policy does not open to central are left out, and that is said: the rest of the settings stands.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from vedette.errors import ConfigError
from vedette.trust.local_alerts import check_alerts, check_rules
from vedette.wire.alerts import LocalAlerts, LocalChannel, LocalRule

NOTHING: Final = LocalAlerts()


def merged(said: LocalAlerts, opened: Sequence[LocalChannel] | None) -> LocalAlerts:
    """Return what the policy says with the channels that were sealed for this device.

    Args:
        said: As it stands in the policy.
        opened: What was in this device's box; None where channels are not sealed.

    Raises:
        ConfigError: Something of it makes no sense: the policy is to be refused.
    """
    check_alerts(said, stubs=opened is not None)
    if opened is None:
        return said
    check_alerts(LocalAlerts(channels=list(opened)))
    return msgspec.structs.replace(said, channels=list(opened))


def for_device(
    said: LocalAlerts, extra: Sequence[LocalRule], device: str
) -> tuple[LocalAlerts, list[str]]:
    """Return what holds on `device`, and in words what of central's rules does not.

    Args:
        said: The policy's.
        extra: Rules in central's settings.
        device: This one.
    """
    channels = [one for one in said.channels if not one.devices or device in one.devices]
    here = {one.channel for one in channels}
    open_to = {one.channel for one in channels if one.from_central}
    rules = [one for one in said.rules if not one.devices or device in one.devices]
    names = {one.rule for one in said.rules}
    problems: list[str] = []
    for rule in extra:
        try:
            check_rules([rule], open_to)
        except ConfigError as error:
            problems.append(f"central's rule is left out: {error}"[:300])
            continue
        if rule.rule in names:
            problems.append(f"central's rule is left out: {rule.rule!r} is the site's own")
        elif not rule.devices or device in rule.devices:
            rules.append(rule)
    kept = [
        msgspec.structs.replace(rule, channels=[name for name in rule.channels if name in here])
        for rule in rules
    ]
    return LocalAlerts(channels=channels, rules=[rule for rule in kept if rule.channels]), problems
