"""Local channels in signed documents: who may say them, and what a person at the device can try."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from vedette.cli.edge_alerts import alerts
from vedette.edge.desired import DesiredStore
from vedette.edge.doctor.alerts import local_channels
from vedette.edge.doctor.finding import Verdict
from vedette.edge.enrolment import Identity, sealing_key
from vedette.edge.settings import EdgeConfig
from vedette.ids import DeviceId, SiteId
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.trust.sealing import SealingKey
from vedette.trust.site_policy import PolicyFile, sign_policy
from vedette.wire.alerts import ChannelKind, EventMatch, LocalAlerts, LocalChannel, LocalRule
from vedette.wire.enrol import Desired
from vedette.wire.messages import EventKind
from vedette.wire.signed import POLICY_TYPE, SETTINGS_TYPE, DeviceSettings, Signed, SitePolicy

CENTRAL, SITE = SigningKey.generate(), SigningKey.generate()
IDENTITY = Identity(
    device=DeviceId("box"),
    site=SiteId("yard"),
    central_key=CENTRAL.public.text,
    site_keys=[SITE.public.text],
)
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
HOOK = LocalChannel(
    channel="siren", kind=ChannelKind.WEBHOOK, url="http://10.0.0.7/", secret=SECRET
)
LAMP = LocalChannel(channel="lamp", kind=ChannelKind.COMMAND, argv=["/bin/sh", "-c", "exit 0"])
RULE = LocalRule(rule="in", channels=["lamp"], event=EventMatch(kinds=[EventKind.ZONE_ENTERED]))


class Device:
    """A device that was enrolled, and its signed documents."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.path = folder / "edge.yaml"
        self.path.write_text(
            yaml.safe_dump({"state_dir": str(self.state), "models_dir": str(folder)})
        )
        self.config = EdgeConfig(state_dir=self.state, models_dir=folder)
        (self.state / "identity").mkdir()
        (self.state / "identity" / "identity.json").write_bytes(msgspec.json.encode(IDENTITY))
        self.store = DesiredStore(self.state, self.config, IDENTITY)
        self.version = 0

    def policy(self, *channels: LocalChannel, seal: bool = False, **said: Any) -> None:
        """Have the site's policy say these channels."""
        self.version += 1
        key = {"box": sealing_key(self.state).text} if seal else {}
        said_of = LocalAlerts(channels=list(channels), rules=[RULE] if LAMP in channels else [])
        file = PolicyFile(site="yard", version=self.version, alerts=said_of, seal_for=key, **said)
        self.store.apply(Desired(etag="", site_policy=sign_policy(file, [SITE], now_ms=1)))

    def take(self, signed: Signed, *, settings: bool = False) -> None:
        """Have a signed document come."""
        both = {"settings": signed} if settings else {"site_policy": signed}
        self.store.apply(Desired(etag="", **both))

    def channels(self) -> list[str]:
        """Return what holds, and holds after a start too."""
        again = DesiredStore(self.state, self.config, IDENTITY)
        assert again.effective.alerts == self.store.effective.alerts
        return [one.channel for one in self.store.effective.alerts.channels]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """An enrolled device without any policy."""
    return Device(tmp_path)


def test_channels_come_with_the_sites_policy_and_go_with_it(device: Device) -> None:
    """Sealed or not; the next policy without them ends them; nothing changes for the pipeline."""
    assert device.channels() == []
    device.policy(HOOK, LAMP, seal=True)
    assert device.channels() == ["siren", "lamp"]
    assert device.store.effective.alerts.channels[0] == HOOK
    device.policy(LAMP)
    assert device.channels() == ["lamp"]
    device.policy()
    assert device.channels() == []


def test_central_cannot_say_a_channel(device: Device) -> None:
    """Settings have no field for one, and a policy by central's key is nobody's."""
    said = SitePolicy(site="yard", version=9, issued_ms=1, alerts=LocalAlerts(channels=[LAMP]))
    device.take(sign_struct(said, POLICY_TYPE, [CENTRAL]))
    assert device.channels() == []
    assert "site policy refused" in device.store.problems[0]
    plain = {"device": "box", "version": 1, "issued_ms": 1, "channels": [{"channel": "lamp"}]}

    class Widened(msgspec.Struct):
        device: str
        version: int
        issued_ms: int
        channels: list[dict[str, str]]

    device.take(sign_struct(Widened(**plain), SETTINGS_TYPE, [CENTRAL]), settings=True)  # type: ignore[arg-type]
    assert device.channels() == []
    assert "settings refused" in device.store.problems[0]


def test_centrals_rules_are_followed_only_as_far_as_the_site_lets_them(device: Device) -> None:
    """A rule to a channel that the policy keeps to itself is left out; the rest holds."""
    open_to = msgspec.structs.replace(LAMP, channel="horn", from_central=True)
    device.policy(LAMP, open_to)
    rules = [
        msgspec.structs.replace(RULE, rule="a", channels=["lamp"]),
        msgspec.structs.replace(RULE, rule="b", channels=["horn"]),
    ]
    said = DeviceSettings(device="box", version=1, issued_ms=1, alerts=rules, report_period_s=9.0)
    device.take(sign_struct(said, SETTINGS_TYPE, [CENTRAL]), settings=True)
    effective = device.store.effective
    assert [rule.rule for rule in effective.alerts.rules] == ["in", "b"]
    assert "no such channel: ['lamp']" in effective.alert_problems[0]
    assert effective.config.telemetry.report_period_s == 9.0


def test_a_policy_whose_channels_make_no_sense_is_refused_whole(device: Device) -> None:
    """What was followed before goes on."""
    device.policy(LAMP)
    bad = msgspec.structs.replace(LAMP, argv=["lamp"])
    said = SitePolicy(site="yard", version=9, issued_ms=1, alerts=LocalAlerts(channels=[bad]))
    device.take(sign_struct(said, POLICY_TYPE, [SITE]))
    assert device.channels() == ["lamp"]
    assert "no absolute path" in device.store.problems[0]


def test_a_box_for_another_key_leaves_the_device_without_channels(device: Device) -> None:
    """It is said, and the rest of the policy holds."""
    said = LocalAlerts(channels=[HOOK])
    other = {"box": SealingKey.generate().text}
    file = PolicyFile(site="yard", version=1, alerts=said, seal_for=other)
    device.take(sign_policy(file, [SITE], now_ms=1))
    assert device.channels() == []
    assert "sealed for key" in device.store.problems[0]
    assert device.store.effective.policy_version == 1


def test_a_person_at_the_device_can_try_a_channel(device: Device) -> None:
    """Delivered, not delivered and why, or which channels there are; no secret is shown."""
    fails = msgspec.structs.replace(LAMP, channel="horn", argv=["/bin/sh", "-c", "exit 3"])
    device.policy(LAMP, fails, HOOK, seal=True)

    def run(*words: str) -> tuple[int, str]:
        said = CliRunner().invoke(alerts, [*words, "--config", str(device.path)])
        return said.exit_code, said.output

    assert run("test", "lamp") == (0, "lamp: delivered\n")
    code, text = run("test", "horn")
    assert code == 1
    assert text.startswith("horn: not delivered: ended with 3")
    code, text = run("test", "bell")
    assert code != 0
    code, text = run("show")
    assert code == 0
    assert "siren" in text
    assert SECRET not in text + run("show", "--json")[1]


def test_the_doctor_says_what_a_channel_lacks_and_names_nothing_sealed(device: Device) -> None:
    """A program that is not there, and one that may not be run; central may read the findings."""
    missing = msgspec.structs.replace(LAMP, channel="horn", argv=["/nowhere/horn"])
    device.policy(LAMP, missing, HOOK, seal=True)
    found = {one.check: one for one in local_channels(device.config)}
    assert [one.verdict for one in found.values()] == [Verdict.OK, Verdict.FAILED, Verdict.OK]
    assert found["local channel horn"].detail == "its program is not there"
    assert not any(secret in str(found) for secret in ("/nowhere", "10.0.0.7", SECRET))
