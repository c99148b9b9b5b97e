"""What the doctor says of local channels: whether this device has what they need. Sends nothing.

The rule: what is sealed for this device is not named. Central may ask for the doctor's findings.
"""

import importlib.util
import os
from pathlib import Path

from vedette.edge.desired import DesiredStore
from vedette.edge.doctor.finding import Finding, Verdict
from vedette.edge.enrolment import load_identity
from vedette.edge.settings import EdgeConfig
from vedette.errors import VedetteError
from vedette.wire.alerts import ChannelKind, LocalChannel


def local_channels(config: EdgeConfig) -> list[Finding]:
    """Return one finding for each local channel that the site's policy gives this device."""
    try:
        identity = load_identity(config.state_dir)
        if identity is None:
            return []
        said = DesiredStore(config.state_dir, config, identity).effective.alerts
    except VedetteError:
        return []  # what is wrong with identity or policy is said where those are looked at
    return [judge_channel(channel) for channel in said.channels]


def judge_channel(channel: LocalChannel) -> Finding:
    """Return whether a channel can be driven from here, as far as can be told without a try."""
    about = f"local channel {channel.channel}"
    if channel.kind is ChannelKind.COMMAND:
        program = Path(channel.argv[0])
        if not program.is_file():
            return _failed(about, "its program is not there", "install it, or sign another")
        if not os.access(program, os.X_OK):
            return _failed(about, "its program may not be run by this user", "chmod 755")
    if channel.kind is ChannelKind.MQTT and importlib.util.find_spec("paho") is None:
        return _failed(about, "the library for MQTT is missing", "pip install 'vedette[edge]'")
    detail = f"{channel.kind}; try it: vedette edge alerts test {channel.channel}"
    return Finding(about="machine", check=about, verdict=Verdict.OK, detail=detail)


def _failed(check: str, detail: str, advice: str) -> Finding:
    return Finding(
        about="machine", check=check, verdict=Verdict.FAILED, detail=detail, advice=advice
    )
