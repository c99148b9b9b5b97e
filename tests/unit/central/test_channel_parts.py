"""The parts of channels that decide: words, where to connect, pauses, seals, signatures, topics."""

import base64
import email
import json
import subprocess
import sys
from pathlib import Path
from shutil import which

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from tests.conftest import skip_or_fail
from vedette import npm
from vedette.central.alerting.channels import (
    backoff,
    checking,
    discovery,
    egress,
    mail,
    signing,
    webhook,
    words,
)
from vedette.central.alerting.channels.apprise import SERVICES, service_of
from vedette.central.alerting.channels.apprise_child import scrub
from vedette.central.alerting.channels.checking import NewChannel
from vedette.central.alerting.channels.discovery import Place
from vedette.central.alerting.channels.facts import (
    Apprise,
    End,
    Kind,
    Mail,
    Mqtt,
    Outcome,
    Secret,
    Settings,
    SharedSecret,
    State,
    Webhook,
    split_url,
    told,
)
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.alerting.facts import (
    Incident,
    IncidentState,
    Member,
    Notice,
    NoticeKind,
    Severity,
    Subject,
)
from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError, TrustError
from vedette.npm import PackageUnavailable

AT_MS = 1_772_438_400_000


def incident(**changes: object) -> Incident:
    """A dark site."""
    made = Incident(
        incident="inc-1",
        key="dark/shop",
        rule="dark",
        severity=Severity.CRITICAL,
        state=IncidentState.OPEN,
        title="No word from the site",
        todo="Call the shop.",
        subject=Subject(site="shop"),
        opened_ms=AT_MS,
        changed_ms=AT_MS,
        known_ms=AT_MS,
    )
    return msgspec.structs.replace(made, **changes)


def notice(kind: NoticeKind = NoticeKind.OPENED, of: Incident | None = None) -> Notice:
    """What somebody is told of it."""
    return Notice(
        key="k", kind=kind, channel="c", due_ms=AT_MS, incident=of or incident(),
        url="https://vedette.example/incidents/inc-1",
    )  # fmt: skip


# ------------------------------------------------------------------------------------ words


def test_a_phone_is_told_what_where_since_when_what_to_do_and_the_link() -> None:
    """In this order, in at most 400 characters."""
    assert words.short(notice()) == (
        "[critical] No word from the site (shop)\nsince 2026-03-02 08:00 UTC\nCall the shop.\n"
        "https://vedette.example/incidents/inc-1"
    )


def test_the_end_says_how_long_it_lasted() -> None:
    """Whoever was told hears that it is over, and no longer what to do."""
    over = incident(
        state=IncidentState.RESOLVED, resolved_ms=AT_MS + 3_720_000, resolved_why="well again"
    )
    text = words.short(notice(NoticeKind.RESOLVED, over))
    assert "over: No word from the site" in text
    assert "lasted 1 h 2 min (well again)" in text
    assert "Call" not in text


@settings(max_examples=30)
@given(st.text(max_size=600), st.text(max_size=600), st.sampled_from(NoticeKind))
def test_no_title_breaks_a_line_or_a_limit(title: str, todo: str, kind: NoticeKind) -> None:
    """Whatever a rule's author or a device wrote: one line of subject, a bounded text, the link."""
    made = notice(kind, incident(title=title, todo=todo, ack_by=title, ack_note=todo))
    subject, short = words.subject(made), words.short(made)
    assert len(subject) <= 120
    assert subject.isprintable()
    assert len(short) <= 400
    assert short.endswith(made.url)
    message = mail.compose(made, "dl-1", "vedette@example.com", ["ann@example.com"], AT_MS)
    parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert parsed["To"] == "ann@example.com"
    assert parsed.get_all("Subject") == [message["Subject"]]
    assert "Bcc" not in parsed


def test_a_mail_is_of_its_incidents_thread_and_loads_nothing() -> None:
    """One Message-ID for a delivery at each try; what is written in it is text, never markup."""
    evil = incident(title='<img src="https://evil.example/x">')
    made = [
        mail.compose(notice(NoticeKind.OPENED, evil), "dl-1", "v@example.com", ["a@b.c"], at)
        for at in (AT_MS, AT_MS + 60_000)
    ]
    assert made[0]["Message-ID"] == made[1]["Message-ID"] == "<dl-1@example.com>"
    assert made[0]["References"] == "<incident.inc-1@example.com>"
    html = made[0].get_body(("html",))
    assert html is not None
    assert "<img" not in html.get_content()
    assert "src=" not in html.get_content().replace("src=&quot;", "")


# ----------------------------------------------------------------------------------- egress

INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "192.88.99.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::127.0.0.1", "2001:db8::1",
    "2001::1", "fec0::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_no_address_inside_the_network_is_connected_to(address: str) -> None:
    """Loopback, private, link-local, metadata, and each of them dressed up as IPv6."""
    with pytest.raises(egress.Refused, match="inside the network"):
        egress.choose(egress.Rules(), "receiver.example", [address])


@pytest.mark.parametrize("address", OUTSIDE)
def test_the_internet_may_be_connected_to(address: str) -> None:
    """Public addresses need no permission."""
    (found,) = egress.choose(egress.Rules(), "receiver.example", [address])
    assert egress.parsed([found]) == egress.parsed([address])


def test_a_name_with_both_leads_to_the_permitted_address_only() -> None:
    """The connection goes to what was looked at, never to the other one."""
    found = ["10.0.0.1", "8.8.8.8", "::ffff:10.0.0.1"]
    assert egress.choose(egress.Rules(), "mixed.example", found) == ["8.8.8.8"]
    allowed = egress.rules(["10.0.0.0/8"], [])
    assert len(egress.choose(allowed, "mixed.example", found)) == 3


def test_a_network_that_is_none_is_refused_with_its_name() -> None:
    """A typing error in the configuration is no permission."""
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1/8"):
        egress.rules(["10.0.0.1/8"], [])


@given(st.ip_addresses(v=6))
def test_what_is_public_stays_so_in_its_ipv4_form(address: object) -> None:
    """No IPv6 address is public while the IPv4 address in it is not."""
    found = egress.parsed([str(address)])[0]
    if egress.is_public(found):
        assert egress.inner(found).is_global


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/", "file:///etc/passwd", "https://", "https://u:p@a/", "https://a/#x", "//a/b",
        "https://a b/", "https://a/\r\nHost: b", "https://a:99999/", "https://[::1", "x" * 3000,
        "gopher://a:25/_EHLO", "https://ä.example/",
    ],
)  # fmt: skip
def test_an_address_that_is_no_webhooks_is_refused(url: str) -> None:
    """Other protocols, passwords, control characters, endless ones."""
    with pytest.raises(ConfigError):
        split_url(url)


def test_the_query_of_an_address_is_a_secret() -> None:
    """It often holds the receiver's token: it is not kept with what is shown."""
    assert split_url("https://a.example/x?sig=abc") == ("https://a.example/x", "sig=abc")


# ----------------------------------------------------------------------------------- pauses


def test_pauses_grow_from_seconds_to_hours_and_end_after_days() -> None:
    """Some twenty-five tries in three days, the last at the very end."""
    now_ms, until_ms, tries, pauses = 0, 3 * 86_400_000, 0, []
    again = Outcome(end=End.AGAIN, said="")
    while True:
        tries += 1
        state, due_ms = backoff.decide(
            again, tries=tries, now_ms=now_ms, until_ms=until_ms, chance=0.5
        )
        if state is State.DEAD:
            break
        assert due_ms is not None
        pauses.append((due_ms - now_ms) / 1000)
        now_ms = due_ms
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert max(pauses) == 5 * 3600
    assert now_ms == until_ms
    assert 20 <= tries <= 30


@given(st.integers(1, 100), st.floats(0, 0.999), st.none() | st.floats(0, 1e12))
def test_no_pause_is_shorter_than_asked_or_longer_than_a_day(
    tries: int, chance: float, asked_s: float | None
) -> None:
    """Retry-After is honoured, but nobody puts us off for longer than a day."""
    pause = backoff.wait_s(tries, asked_s, chance)
    assert min(asked_s or 0, 86_400) <= pause <= max(86_400, 5 * 3600 * 1.2)
    assert pause >= 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", 120.0), ("", None), ("soon", None), ("-5", None), ("99999999999999", 999999999.0),
        ("Mon, 02 Mar 2026 08:01:00 GMT", 60.0), ("Mon, 02 Mar 2020 08:01:00 GMT", 0.0),
        ("\u0661", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str, expected: float | None) -> None:
    """And anything else is nothing."""
    assert webhook.retry_after_s(text, AT_MS) == expected


# ------------------------------------------------------------------------------------ seals


def test_a_seal_opens_for_its_channel_only(tmp_path: Path) -> None:
    """Moved to another channel or kind, or changed by one bit, it opens nowhere."""
    seal, secret = Seal(tmp_path), Secret(password="hunter2 and more")
    sealed = seal.close("ops", Kind.MAIL, secret)
    assert sealed is not None
    assert b"hunter2" not in sealed
    assert seal.open("ops", Kind.MAIL, sealed) == secret
    for name, kind in (("other", Kind.MAIL), ("ops", Kind.MQTT)):
        with pytest.raises(TrustError, match="another channel"):
            seal.open(name, kind, sealed)
    for at in (0, 5, 15, len(sealed) - 1):
        changed = bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]])
        with pytest.raises(TrustError):
            seal.open("ops", Kind.MAIL, changed)


def test_keys_are_replaced_without_a_moment_in_which_a_seal_does_not_open(tmp_path: Path) -> None:
    """The new key seals, both open, and the old one is gone at the end; nobody else may read it."""
    seal, secret = Seal(tmp_path), Secret(url="tgram://token")
    old = seal.close("c", Kind.APPRISE, secret)
    seal.renew()
    assert Seal(tmp_path).open("c", Kind.APPRISE, old) == secret
    new = seal.close("c", Kind.APPRISE, secret)
    seal.drop_old()
    assert Seal(tmp_path).open("c", Kind.APPRISE, new) == secret
    with pytest.raises(TrustError, match="not in"):
        seal.open("c", Kind.APPRISE, old)
    assert seal.path.stat().st_mode & 0o077 == 0
    assert "token" not in repr(seal)


def test_a_broken_key_file_is_said_and_not_replaced(tmp_path: Path) -> None:
    """A fresh key would make every secret worthless without a word."""
    seal = Seal(tmp_path)
    seal.path.parent.mkdir()
    seal.path.write_text("not a key\n")
    with pytest.raises(TrustError, match=r"alerts\.key"):
        seal.close("c", Kind.MAIL, Secret(password="x"))
    assert seal.path.read_text() == "not a key\n"


# ------------------------------------------------------------------------------- signatures


def test_the_standards_own_library_verifies_both_secrets_while_they_change() -> None:
    """The receiver may have the old one or the new one; a changed body is refused by both."""
    now_ms = wall_ms(SystemClock().now_at())
    old, new = signing.fresh("v1"), signing.fresh("v1")
    shared = [
        SharedSecret(secret=new, made_ms=now_ms),
        SharedSecret(secret=old, made_ms=0, until_ms=now_ms + 60_000),
        SharedSecret(secret=signing.fresh("v1"), made_ms=0, until_ms=now_ms),
    ]
    body = words.encoded(notice(), "dl-1")
    headers = signing.headers(shared, "dl-1", body, now_ms)
    assert len(headers["webhook-signature"].split()) == 2, "the third one is over"
    for secret in (old, new):
        assert Verifier(secret).verify(body, headers)["id"] == "dl-1"
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(body.replace(b"critical", b"info"), headers)
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(body, headers | {"webhook-id": "dl-2"})


def test_a_signature_by_a_private_key_is_verified_by_the_public_one() -> None:
    """v1a: the receiver can verify, and cannot sign."""
    secret = signing.fresh("v1a")
    public = signing.receivers(secret)
    assert public.startswith("whpk_")
    headers = signing.headers([SharedSecret(secret=secret, made_ms=0)], "m", b"{}", 5000)
    scheme, _, signature = headers["webhook-signature"].partition(",")
    assert scheme == "v1a"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(signature), b"m.5.{}")


@pytest.mark.parametrize("secret", ["", "x", "whsec_", "whsec_AAAA", "whsec_%%%%", "whsk_AAAA"])
def test_a_secret_that_is_too_weak_or_none_is_refused(secret: str) -> None:
    """At least 24 bytes of base64 under the usual prefix."""
    with pytest.raises(ConfigError, match="no secret"):
        signing.check(secret)


NPM = {
    "standardwebhooks": (
        "1.1.1",
        (
            "sha512-bCbX9ZEyFkWPsRz7Bl3NuQUJohmwGSev/yhr7vhaGPlc4AfIrspIRa6cPTBuI1ItmrTDJ4d/S2hCsfe4"
            "+vQGnQ=="
        ),
        ("dist/index.js", "dist/timing_safe_equal.js", "package.json"),
    ),
    "@stablelib/base64": (
        "1.0.0",
        (
            "sha512-s/wTc/3+vYSalh4gfayJrupzhT7SDBqNtiYOeEMlkSDqL/8cExh5FAeTzLpmYq+7BLLv36EjBL5xrb0b"
            "UHWJWQ=="
        ),
        ("lib/base64.js", "package.json"),
    ),
    "fast-sha256": (
        "1.3.0",
        (
            "sha512-n11RGP/lrWEFI/bWdygLxhI+pVeo1ZYIVwvvPkW7azl/rOy+F3HYRZ2K5zeE9mmkhQppyv9sQFx0JM9U"
            "abnpPQ=="
        ),
        ("sha256.js", "package.json"),
    ),
}
VERIFY = """
const { Webhook } = require("standardwebhooks");
const job = JSON.parse(require("fs").readFileSync(0, "utf8"));
const seen = job.bodies.map((body) => {
  try { return new Webhook(job.secret).verify(body, job.headers).id; } catch { return "refused"; }
});
console.log(JSON.stringify(seen));
"""


def test_the_javascript_library_of_the_standard_verifies_it_too(tmp_path: Path) -> None:
    """Another language, other authors: the body is taken, and refused where it was changed."""
    node = which("node")
    if node is None:
        skip_or_fail("verifying a webhook in another language needs node")
    try:
        for name, (version, integrity, files) in NPM.items():
            wanted = {file: f"node_modules/{name}/{file}" for file in files}
            npm.fetch(name, version, integrity, wanted, tmp_path)
    except PackageUnavailable as error:
        skip_or_fail(f"verifying a webhook in another language needs npm: {error}")
    now_ms = wall_ms(SystemClock().now_at())
    secret, body = signing.fresh("v1"), words.encoded(notice(), "dl-1")
    shared = [SharedSecret(secret=secret, made_ms=0)]
    job = {
        "secret": secret,
        "headers": signing.headers(shared, "dl-1", body, now_ms),
        "bodies": [body.decode(), body.decode().replace("critical", "info")],
    }
    done = subprocess.run(
        [node, "-e", VERIFY], input=json.dumps(job), cwd=tmp_path, capture_output=True, text=True,
        check=True, timeout=30,
    )  # fmt: skip
    assert json.loads(done.stdout) == ["dl-1", "refused"]


# ------------------------------------------------------------------------------------ checks

WRONG: list[tuple[Settings, dict[str, str], str]] = [
    (Webhook(url="https://a/", per_minute=0), {}, "per_minute"),
    (Webhook(url="https://a/", at_once=99), {}, "at_once"),
    (Webhook(url="https://a/"), {"secret": "short"}, "no secret"),
    (Webhook(url="https://a/", signs="v1a"), {"secret": signing.fresh("v1")}, "made here"),
    (Mail(host="", sender="a@b.c"), {}, "no host"),
    (Mail(host="m x", sender="a@b.c"), {}, "no host"),
    (Mail(host="m", sender="a@b.c\r\nBcc: x@y.z"), {}, "no mail address"),
    (Mail(host="m", sender="a@b.c", to=["Ann <a@b.c>"]), {}, "no mail address"),
    (Mail(host="m", sender="a@b.c", to=["a@b.c"] * 51), {}, "at most"),
    (Mail(host="m", sender="a@b.c", tls="none", username="u"), {"password": "p"}, "without TLS"),
    (Mail(host="m", sender="a@b.c", username="u"), {}, "without a password"),
    (Mqtt(host="m", prefix="a/+/b"), {}, "prefix"),
    (Mqtt(host="m", prefix="#"), {}, "prefix"),
    (Mqtt(host="m", discovery="home assistant"), {}, "discovery"),
    (Mqtt(host="m"), {"password": "a\nb"}, "printable"),
    (Apprise(), {}, "Apprise address"),
    (Apprise(), {"url": "file:///etc/passwd"}, "Apprise address"),
    (Apprise(), {"url": "dbus://"}, "Apprise address"),
    (Apprise(), {"url": "syslog://x"}, "Apprise address"),
    (Apprise(), {"url": "jsons://10.0.0.1/"}, "Apprise address"),
    (Apprise(), {"url": "tgram://a b"}, "Apprise address"),
]


@pytest.mark.parametrize(
    ("wanted", "secrets", "said"),
    WRONG,
    ids=[f"{n}-{said}" for n, (_, _, said) in enumerate(WRONG)],
)
def test_a_hostile_or_mistaken_channel_is_refused_in_words(
    wanted: Settings, secrets: dict[str, str], said: str
) -> None:
    """What could inject headers, wildcards or programs never becomes a channel."""
    with pytest.raises(ConfigError, match=said):
        checking.taken(NewChannel(settings=wanted, **secrets), Secret(), AT_MS)


def test_secrets_that_are_left_out_stay() -> None:
    """Changing a rate changes no secret; another address without a query keeps the old query."""
    before = checking.taken(NewChannel(settings=Webhook(url="https://a/x?t=1")), Secret(), AT_MS)[1]
    again = checking.taken(NewChannel(settings=Webhook(url="https://a/x")), before, AT_MS)[1]
    assert again == before
    assert before.query == "t=1"


# ---------------------------------------------------------------------------------- Apprise


def test_every_service_is_one_of_apprises_and_none_runs_here() -> None:
    """The list is of services that exist; desktops, files, logs, mail and callbacks are not."""
    ask = "import apprise, json; found = apprise.Apprise().details()['schemas'];"
    ask += "print(json.dumps(found, default=str))"
    done = subprocess.run(  # its plugins warn of Python's future: not in this process
        [sys.executable, "-W", "ignore", "-c", ask], capture_output=True, check=True, timeout=50
    )
    known: set[str] = set()
    for one in json.loads(done.stdout):
        known |= {*(one["protocols"] or ()), *(one["secure_protocols"] or ())}
    assert known >= SERVICES
    here = {"dbus", "glib", "gnome", "kde", "macosx", "windows", "syslog", "rsyslog", "mailto",
            "mailtos", "mqtt", "mqtts", "json", "jsons", "xml", "xmls", "form", "forms", "apprise",
            "apprises", "file", "irc", "aprs", "smpp", "amqp"}  # fmt: skip
    assert not SERVICES & here
    assert service_of("tgram://123:abc/456") == "tgram"


def test_the_page_on_channels_lists_every_service() -> None:
    """A refused address sends people to that page."""
    page = Path(__file__).parents[3].joinpath("docs/channels.md").read_text(encoding="utf-8")
    assert [one for one in sorted(SERVICES) if f"`{one}`" not in page] == []


def test_a_port_that_is_refused_says_which_are_not_and_what_to_restart() -> None:
    """Central reads its configuration when it starts: allowing a port alone changes nothing."""
    with pytest.raises(egress.Refused) as caught:
        egress.check_port(egress.rules([], [9]), 18080, (443, 80))
    assert caught.value.operator_hint.endswith("restart central, or use 80, 443")


def test_what_a_service_says_is_kept_without_its_secrets() -> None:
    """Apprise's words go into tables that people read; its address does not."""
    url = "tgram://123456:TopSecretToken/-100200300?silent=yes&key=AnotherOne"
    text = scrub("Failed at TopSecretToken for -100200300 with key AnotherOne: error=404", url)
    assert "Secret" not in text
    assert "AnotherOne" not in text
    assert "error=404" in text


def test_a_receivers_words_become_one_harmless_line() -> None:
    """Escape codes, line breaks and books stay outside of logs and pages."""
    assert told("550\r\n\x1b[31mno\u202e") == "550 [31mno"
    assert len(told("x" * 10_000)) == 300


# ------------------------------------------------------------------------------------- MQTT


def test_a_brokers_topics_follow_from_what_is_open() -> None:
    """A camera's trouble is its device's and its site's; a member that is over is nobody's."""
    broker = Mqtt(host="m", discovery="homeassistant")
    places = [
        Place(site="shop", name="The shop"), Place(site="shop", device="box"),
        Place(site="shop", device="box", camera="door"),
        Place(site="shop", device="box", camera="till"),
    ]  # fmt: skip
    at = Subject(site="shop", device="box", camera="door")
    over = Subject(site="shop", device="box", camera="till")
    open_ = incident(
        members=[
            Member(subject=at, began_ms=1, last_ms=1),
            Member(subject=over, began_ms=1, last_ms=1, ended_ms=2),
        ]
    )
    found = discovery.desired(broker, places, [open_], "https://vedette.example")
    states = {
        topic: json.loads(body)["problem"]
        for topic, body in found.items()
        if topic.startswith(("vedette/sites", "vedette/devices", "vedette/cameras"))
    }
    assert states == {
        "vedette/sites/shop": "ON", "vedette/devices/box": "ON",
        "vedette/cameras/box/door": "ON", "vedette/cameras/box/till": "OFF",
    }  # fmt: skip
    configs = [json.loads(body) for topic, body in found.items() if topic.endswith("/config")]
    assert len({one["unique_id"] for one in configs}) == 4
    assert {one["availability_topic"] for one in configs} == {"vedette/status"}
    assert all(one["state_topic"] in found for one in configs)
    assert json.loads(found["vedette/incidents/inc-1"])["severity"] == "critical"


def test_two_names_never_become_one_sensor() -> None:
    """A dot is not taken by Home Assistant: what stands for it differs from another name."""
    broker = Mqtt(host="m", discovery="homeassistant")
    places = [Place(site="a.b"), Place(site="a_b"), Place(site="a-b")]
    found = discovery.desired(broker, places, [], "u")
    topics = [topic for topic in found if topic.endswith("/config")]
    assert len(topics) == 3
