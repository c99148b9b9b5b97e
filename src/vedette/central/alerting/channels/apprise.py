"""Services that Apprise knows, each message in a process of its own.

What lives here: which services, and the process's life. What does not: Apprise itself, which only
the process loads (`apprise_child`). The rule: a service stands on the list or is refused; the
process gets the address, which is a secret, by its standard input, lives `TOTAL_S` at most, and is
held to the egress rules by a hook that sees each connection.

Kept out: whatever speaks to this machine (desktops, syslog, files), plain mail, MQTT and HTTP
callbacks, which have channels of their own here, and services that need another program.
"""

import asyncio
import os
import re
import sys
from typing import Final

import msgspec

from vedette.central.alerting.channels import words
from vedette.central.alerting.channels.apprise_child import Answer, Job
from vedette.central.alerting.channels.egress import Rules
from vedette.central.alerting.channels.facts import Apprise, Channel, Delivery, End, Outcome, told
from vedette.central.alerting.facts import Notice, Severity
from vedette.errors import ConfigError

SERVICES: Final = frozenset(
    {
        "46elks", "atalk", "bark", "barks", "betterstack", "brevo", "bulksms", "bulkvs",
        "burstsms", "chanify", "clickatell", "clicksend", "d7sms", "dingtalk", "discord", "feishu",
        "firehydrant", "flock", "fcm", "freemobile", "gchat", "goalert", "goalerts", "gotify",
        "gotifys", "groupme", "hassio", "hassios", "httpsms", "ifttt", "ilert", "incidentio",
        "infobip", "jira", "join", "lark", "line", "mailgun", "mailersend", "mastodon", "mastodons",
        "matrix", "matrixs", "mmost", "mmosts", "msg91", "msgbird", "nctalk", "nctalks",
        "ncloud", "nclouds", "notifiarr", "ntfy", "ntfys", "octopush", "onesignal", "opsgenie",
        "pagerduty", "pagertree", "pbul", "plivo", "postmark", "pover", "prowl", "psafer",
        "psafers", "push", "pushdeer", "pushdeers", "pushed", "pushme", "pushplus", "pushy",
        "resend", "revolt", "ringc", "rocket", "rockets", "schan", "sendgrid", "ses", "seven",
        "signal", "signals", "signl4", "sinch", "slack", "smseagle", "smseagles", "smtp2go", "sns",
        "sparkpost", "spike", "splunk", "spush", "squadcast", "synology", "synologys", "telnyx",
        "tgram", "threema", "twilio", "twist", "viber", "victorops", "voipms", "vonage", "webex",
        "wechat", "wecombot", "whatsapp", "workflow", "workflows", "wxpusher", "wxteams",
        "xmatters", "zoom", "zulip",
    }
)  # fmt: skip
TOTAL_S: Final = 30.0
MAX_URL_CHARS: Final = 2000
_MAX_ANSWER: Final = 64 * 1024
_SCHEME: Final = re.compile(r"([a-z0-9]{2,20})://")
_KIND: Final = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}


def service_of(url: str) -> str:
    """Return the service that an Apprise address is of.

    Raises:
        ConfigError: None that is carried here.
    """
    found = _SCHEME.match(url)
    if (
        found is None
        or found[1] not in SERVICES
        or len(url) > MAX_URL_CHARS
        or not (url.isascii() and url.isprintable() and " " not in url)
    ):
        raise ConfigError(
            "this is no Apprise address of a service that is carried here",
            operator_hint="as discord://… or tgram://…; docs/channels.md lists the services. Mail,"
            " MQTT and webhooks have channels of their own",
        )
    return found[1]


class AppriseSender:
    """Sends on channels of kind apprise."""

    def __init__(self, rules: Rules, *, proxy: str = "") -> None:
        """Prepare; a process begins with each message."""
        self._rules = rules
        self._proxy = proxy

    async def send(self, channel: Channel, delivery: Delivery, now_ms: int) -> Outcome:
        """Return what one message came to."""
        del now_ms
        assert isinstance(channel.settings, Apprise)
        notice = msgspec.json.decode(delivery.body, type=Notice)
        try:
            service_of(channel.secret.url)
        except ConfigError as error:
            return Outcome(end=End.REFUSED, said=str(error), is_channels=True)
        job = Job(
            url=channel.secret.url,
            title=words.subject(notice),
            body=words.short(notice),
            kind="success" if notice.kind == "resolved" else _KIND[notice.incident.severity],
            allow_private=[str(network) for network in self._rules.allow_private],
            proxy=self._proxy,
            picture=delivery.picture,
        )
        answer = await self._done(job)
        if answer is None:
            said = f"the service was not done within {TOTAL_S:.0f} s, or failed"
            return Outcome(end=End.AGAIN, said=said, is_channels=True)
        if answer.ok:
            return Outcome(end=End.SENT, said="taken by the service")
        said = told(answer.said) or "the service did not take it"
        return Outcome(end=End.AGAIN, said=said, is_channels=True)

    async def close(self) -> None:
        """Nothing stays open between messages."""

    async def _done(self, job: Job) -> Answer | None:
        """Return what the process says; None where it says nothing in time."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-B",
            "-m",
            "vedette.central.alerting.channels.apprise_child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(job.proxy),
        )
        try:
            async with asyncio.timeout(TOTAL_S):
                said, _ = await process.communicate(msgspec.json.encode(job))
            return msgspec.json.decode(said[:_MAX_ANSWER], type=Answer)
        except (TimeoutError, msgspec.DecodeError):
            return None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _environment(proxy: str) -> dict[str, str]:
    """Return an environment without anything of ours but where Python and certificates are."""
    kept = ("PATH", "PYTHONPATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return found | ({"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy} if proxy else {})
