"""What a site may say about local alerts: signed, sealed, and refused where it makes no sense."""

import base64
from datetime import UTC, datetime

import msgspec
import pytest
import standardwebhooks

from vedette.errors import ConfigError, NotAllowed
from vedette.trust import dsse
from vedette.trust.keys import SigningKey, from_text
from vedette.trust.local_alerts import check_alerts
from vedette.trust.sealing import SealingKey
from vedette.trust.site_policy import PolicyFile, sign_policy
from vedette.trust.webhooks import signed_headers
from vedette.wire.alerts import (
    ChannelKind,
    EventMatch,
    LocalAlerts,
    LocalChannel,
    LocalHealth,
    LocalHealthMatch,
    LocalRule,
)
from vedette.wire.messages import EventKind
from vedette.wire.signed import POLICY_TYPE, SitePolicy

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
HOOK = LocalChannel(
    channel="siren", kind=ChannelKind.WEBHOOK, url="http://10.0.0.7/alert", secret=SECRET
)
LAMP = LocalChannel(
    channel="lamp", kind=ChannelKind.COMMAND, argv=["/usr/local/bin/lamp", "--pin", "17"]
)
BROKER = LocalChannel(
    channel="plant", kind=ChannelKind.MQTT, url="mqtts://box:secret@broker.plant:8883"
)
RULE = LocalRule(rule="door", channels=["siren"], event=EventMatch(kinds=[EventKind.LINE_CROSSED]))


def policy(*channels: LocalChannel, seal_for: dict[str, str] | None = None) -> PolicyFile:
    """Return a file that says these channels."""
    alerts = LocalAlerts(channels=list(channels), rules=[RULE])
    return PolicyFile(site="yard", version=3, alerts=alerts, seal_for=seal_for or {})


def test_what_is_sealed_is_read_by_its_device_alone() -> None:
    """Central sees that there is a channel; address and secret are in the box of each device."""
    site, mine, other = SigningKey.generate(), SealingKey.generate(), SealingKey.generate()
    signed = sign_policy(policy(HOOK, BROKER, LAMP, seal_for={"box": mine.text}), [site], now_ms=1)
    clear = from_text(signed.payload)
    assert SECRET.encode() not in clear
    assert b"10.0.0.7" not in clear
    assert b"broker.plant" not in clear
    assert b"--pin" not in clear
    said = dsse.open_struct(signed, SitePolicy, [site.public], payload_type=POLICY_TYPE)
    assert isinstance(said.alerts, LocalAlerts)
    assert [one.channel for one in said.alerts.channels] == ["siren", "plant", "lamp"]
    assert said.alerts.rules == [RULE]
    assert isinstance(said.sealed_alerts, list)
    [box] = said.sealed_alerts
    assert mine.open_channels(box, site="yard", version=3) == [HOOK, BROKER, LAMP]
    with pytest.raises(NotAllowed):
        other.open_channels(box, site="yard", version=3)
    with pytest.raises(NotAllowed, match="another site, device or version"):
        mine.open_channels(box, site="yard", version=4)
    with pytest.raises(NotAllowed):  # a box of channels is none of addresses
        mine.open(box, site="yard", version=3)


def test_a_device_gets_no_channel_that_is_not_its_own() -> None:
    """The box of a device holds only the channels that the policy gives to it."""
    site, mine = SigningKey.generate(), SealingKey.generate()
    theirs = msgspec.structs.replace(BROKER, devices=["other"])
    signed = sign_policy(policy(HOOK, theirs, seal_for={"box": mine.text}), [site], now_ms=1)
    said = dsse.open_struct(signed, SitePolicy, [site.public], payload_type=POLICY_TYPE)
    assert isinstance(said.sealed_alerts, list)
    assert mine.open_channels(said.sealed_alerts[0], site="yard", version=3) == [HOOK]


@pytest.mark.parametrize("channel", [HOOK, BROKER], ids=["webhook", "mqtt"])
def test_no_secret_goes_through_central_in_clear(channel: LocalChannel) -> None:
    """Signing refuses a channel with a secret that is sealed for nobody."""
    said = msgspec.structs.replace(
        policy(channel), alerts=LocalAlerts(channels=[channel], rules=[])
    )
    with pytest.raises(ConfigError, match="which central would read"):
        sign_policy(said, [SigningKey.generate()], now_ms=1)


def test_devices_of_before_get_the_policy_that_they_know() -> None:
    """Where nothing is said about alerts the document has no field for them."""
    signed = sign_policy(PolicyFile(site="yard", version=1), [SigningKey.generate()], now_ms=1)
    assert b"alerts" not in from_text(signed.payload)


WRONG = {
    "relative-program": msgspec.structs.replace(LAMP, argv=["lamp"]),
    "program-by-detour": msgspec.structs.replace(LAMP, argv=["/usr/../tmp/lamp"]),
    "null-byte": msgspec.structs.replace(LAMP, argv=["/bin/lamp", "a\0b"]),
    "too-many-arguments": msgspec.structs.replace(LAMP, argv=["/bin/lamp", *"x" * 40]),
    "no-program": msgspec.structs.replace(LAMP, argv=[]),
    "program-and-address": msgspec.structs.replace(LAMP, url="http://a"),
    "file-address": msgspec.structs.replace(HOOK, url="file:///etc/passwd"),
    "no-host": msgspec.structs.replace(HOOK, url="http:///x"),
    "bad-port": msgspec.structs.replace(HOOK, url="http://a:99999999/"),
    "no-secret": msgspec.structs.replace(HOOK, secret=""),
    "short-secret": msgspec.structs.replace(HOOK, secret="whsec_YWJj"),
    "long-address": msgspec.structs.replace(HOOK, url="http://a/" + "x" * 5000),
    "topic-wildcard": msgspec.structs.replace(BROKER, topic="plant/#"),
    "topic-attribute": msgspec.structs.replace(BROKER, topic="{site.__class__}"),
    "topic-unclosed": msgspec.structs.replace(BROKER, topic="{site"),
    "topic-of-the-broker": msgspec.structs.replace(BROKER, topic="$SYS/x"),
    "qos": msgspec.structs.replace(BROKER, qos=2),
    "endless": msgspec.structs.replace(HOOK, timeout_s=float("inf")),
    "not-a-number": msgspec.structs.replace(HOOK, after_s=float("nan")),
    "flood": msgspec.structs.replace(HOOK, per_minute=10**9),
    "name": msgspec.structs.replace(HOOK, channel="../siren"),
}


@pytest.mark.parametrize("channel", WRONG.values(), ids=WRONG.keys())
def test_a_channel_that_makes_no_sense_is_refused(channel: LocalChannel) -> None:
    """Signing and devices refuse it whole, and say which one it is."""
    with pytest.raises(ConfigError, match=r"alerts|secret"):
        check_alerts(LocalAlerts(channels=[channel]))


WRONG_RULES = {
    "unknown-channel": msgspec.structs.replace(RULE, channels=["horn"]),
    "no-channel": msgspec.structs.replace(RULE, channels=[]),
    "nothing": msgspec.structs.replace(RULE, event=None),
    "both": msgspec.structs.replace(RULE, health=LocalHealthMatch(is_=LocalHealth.DISK)),
    "no-kinds": msgspec.structs.replace(RULE, event=EventMatch(kinds=[])),
    "count-without-time": msgspec.structs.replace(
        RULE, event=EventMatch(kinds=[EventKind.DWELL], at_least=3)
    ),
}


@pytest.mark.parametrize("rule", WRONG_RULES.values(), ids=WRONG_RULES.keys())
def test_a_rule_that_makes_no_sense_is_refused(rule: LocalRule) -> None:
    """A rule must be about one thing and name channels that there are."""
    with pytest.raises(ConfigError, match="rule 'door'"):
        check_alerts(LocalAlerts(channels=[HOOK], rules=[rule]))


def test_too_much_and_the_same_name_twice_are_refused() -> None:
    """Counts are bounded, names are unique."""
    check_alerts(LocalAlerts(channels=[HOOK, LAMP, BROKER], rules=[RULE]))
    with pytest.raises(ConfigError, match="named twice"):
        check_alerts(LocalAlerts(channels=[HOOK, HOOK]))
    many = [msgspec.structs.replace(LAMP, channel=f"lamp{n}") for n in range(17)]
    with pytest.raises(ConfigError, match="17 channels"):
        check_alerts(LocalAlerts(channels=many))


def test_an_independent_receiver_believes_the_signature() -> None:
    """The reference library of Standard Webhooks verifies what is sent, and no other body."""
    at_s = round(datetime.now(UTC).timestamp())
    headers = signed_headers(SECRET, "la-1", at_s, b'{"a": 1}')
    receiver = standardwebhooks.Webhook(SECRET)
    assert receiver.verify(b'{"a": 1}', headers) == {"a": 1}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        receiver.verify(b'{"a": 2}', headers)
