"""Channels through the operator API and at the terminal: what goes in and never comes out."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from litestar.testing import AsyncTestClient
from standardwebhooks import Webhook as Verifier

from tests.integration.alerting_receivers import Receiver, answer, receiving_apart
from vedette.central import accounts
from vedette.central.alerting import applying, documents, people, rules
from vedette.central.alerting.channels import managing
from vedette.central.alerting.channels.sealing import Seal
from vedette.central.app import build_services
from vedette.central.console.alerts import channels, pages_channels
from vedette.central.services import Services
from vedette.central.settings import Alerts, CentralConfig
from vedette.central.web import build_web
from vedette.cli.main import cli
from vedette.clock import ManualClock, SystemClock
from vedette.errors import ConfigError
from vedette.trust.keys import SigningKey

pytestmark = pytest.mark.anyio
SECRETS = ("hush-password", "hush-query", "hush-token", "HUSH-ID", "hush-key")


class House:
    """A central with an administrator's program, and a receiver that it may connect to."""

    def __init__(self, services: Services, client: AsyncTestClient, receiver: Receiver) -> None:
        self.services = services
        self.client = client
        self.receiver = receiver
        self.tokens: dict[str, str] = {}

    async def ask(
        self, method: str, path: str, body: Any = None, *, who: str = "admin"
    ) -> tuple[int, Any]:
        """Return status and body of a request."""
        if who not in self.tokens:
            async with self.services.db.transaction() as tx:
                now_ms = self.services.now_ms()
                await accounts.put_user(tx, who, who, None, now_ms)
                self.tokens[who], _ = await accounts.open_session(
                    tx, who, now_ms, life_s=3600, kind="api"
                )
        got = await self.client.request(
            method, f"/v1{path}", json=body, headers={"Authorization": f"Bearer {self.tokens[who]}"}
        )
        return got.status_code, got.json() if got.content else None

    def hook(self, **more: Any) -> dict[str, Any]:
        """A webhook to the receiver."""
        url = f"http://127.0.0.1:{self.receiver.port}/hook?sig=hush-query"
        return {"settings": {"type": "webhook", "url": url, **more}}


@pytest.fixture
async def house(conninfo: str, tmp_path: Path) -> AsyncIterator[House]:
    """A central without anything."""
    with receiving_apart() as receiver:
        alerts = Alerts(allow_private=["127.0.0.0/8"], ports=[receiver.port])
        config = CentralConfig(state_dir=str(tmp_path), alerts=alerts)
        clock = ManualClock(SystemClock().now_at())
        services = build_services(config, conninfo, SigningKey.generate(), clock)
        await services.db.open()
        web: Any = build_web(services)
        async with AsyncTestClient(web, base_url="http://127.0.0.1:8080") as client:
            yield House(services, client, receiver)
        await services.db.close()


async def everything(services: Services) -> str:
    """Return every text and byte that the database holds."""
    found: list[str] = []
    async with services.db.transaction() as tx:
        cursor = await tx.connection.execute(
            b"SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        for (table,) in await cursor.fetchall():
            rows = await tx.connection.execute(f"SELECT * FROM {table}".encode())
            found += [repr(row) for row in await rows.fetchall()]
    return "\n".join(found)


async def test_a_channel_from_its_beginning_to_its_end(house: House) -> None:
    """Had, tried, given a new secret while the old one still signs, disabled, removed."""
    status, made = await house.ask("POST", "/channels", {"channel": "hook", **house.hook()})
    assert status == 201, made
    first = made["secret"]
    assert first.startswith("whsec_")
    status, sent = await house.ask("POST", "/channels/hook/test", {})
    assert (status, sent["row"]["state"]) == (200, "sent"), sent
    got = house.receiver.got[-1]
    assert got.path == "/hook?sig=hush-query"
    assert Verifier(first).verify(got.body, got.headers)["data"]["kind"] == "test"

    status, rotated = await house.ask("POST", "/channels/hook/rotate-secret", {})
    second = rotated["secret"]
    assert second != first
    await house.ask("POST", "/channels/hook/test", {})
    got = house.receiver.got[-1]
    for secret in (first, second):
        Verifier(secret).verify(got.body, got.headers)

    house.receiver.answers = [answer(400)]
    status, failed = await house.ask("POST", "/channels/hook/test", {}, who="operator")
    assert (status, failed["row"]["state"]) == (200, "dead")
    assert failed["tries"][0]["said"] == "answered 400"
    house.receiver.answers = [answer(200)]
    name = failed["row"]["delivery"]
    status, again = await house.ask("POST", f"/deliveries/{name}/replay")
    assert (status, again["row"]["state"]) == (200, "waiting")
    status, cancelled = await house.ask("POST", f"/deliveries/{name}/cancel")
    assert (status, cancelled["row"]["state"]) == (200, "cancelled")
    assert (await house.ask("POST", f"/deliveries/{name}/cancel"))[0] == 400
    _, listed = await house.ask("GET", "/deliveries?state=sent&channel=hook")
    assert len(listed["deliveries"]) == 2

    status, off = await house.ask("POST", "/channels/hook/disable", {"why": "holidays"})
    assert (status, off["state"], off["disabled_why"]) == (200, "disabled", "holidays")
    assert (await house.ask("POST", "/channels/hook/test", {}))[0] == 400
    assert (await house.ask("POST", "/channels/hook/enable"))[1]["enabled"]
    status, changed = await house.ask("PUT", "/channels/hook", house.hook(per_minute=7))
    assert (status, changed["secret"]) == (200, ""), "what stays is not shown again"
    assert changed["channel"]["settings"]["per_minute"] == 7
    assert (await house.ask("DELETE", "/channels/hook"))[0] == 204
    assert (await house.ask("GET", "/channels/hook"))[0] == 404


async def test_no_secret_comes_out_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Not in answers, lists, the audit log, any table, nor what is logged, whatever went wrong."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    wanted = [
        {"channel": "hook", **house.hook()},
        {
            "channel": "mail",
            "password": "hush-password",
            "settings": {
                "type": "mail", "host": "127.0.0.1", "port": house.receiver.port, "sender": "v@a.b",
                "username": "v", "to": ["ann@a.b"],
            },
        },
        {
            "channel": "plant",
            "password": "hush-password",
            "settings": {
                "type": "mqtt", "host": "127.0.0.1", "port": house.receiver.port, "tls": False,
                "username": "v",
            },
        },
        {
            "channel": "phone",
            "settings": {"type": "apprise"},
            "url": f"ntfy://127.0.0.1:{house.receiver.port}/hush-token",
        },
        {
            "channel": "archive",
            "key_id": "HUSH-ID",
            "secret": "hush-key",
            "settings": {
                "type": "s3", "endpoint": f"http://127.0.0.1:{house.receiver.port}/",
                "bucket": "archive", "prefix": "/vedette/",
            },
        },
    ]  # fmt: skip
    house.receiver.answers = [answer(500)]
    for one in wanted:
        status, made = await house.ask("POST", "/channels", one)
        assert status == 201, made
        secret = made.pop("secret")
        shown.append(json.dumps(made))
        if one["channel"] in {"hook", "phone", "archive"}:
            _, sent = await house.ask("POST", f"/channels/{one['channel']}/test", {})
            assert sent["row"]["state"] == "waiting"
            shown.append(json.dumps(sent))
        paths = (f"/channels/{one['channel']}", "/channels", "/deliveries", "/audit")
        shown += [json.dumps((await house.ask("GET", path))[1]) for path in paths]
        if secret:
            assert secret not in "".join(shown)
            assert secret not in await everything(house.services)
    texts = {"answers": "".join(shown), "tables": await everything(house.services)}
    texts["logs"] = "\n".join(
        f"{r.getMessage()} {r.__dict__}" for r in caplog.records if r.name.startswith("vedette")
    )
    for where, text in texts.items():
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {where}"
    assert len(house.receiver.got) >= 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"type": "webhook", "url": "https://10.0.0.1/"}, "inside the network"),
        ({"type": "webhook", "url": "https://169.254.169.254/latest"}, "inside the network"),
        ({"type": "webhook", "url": "https://[::ffff:10.0.0.1]/"}, "inside the network"),
        ({"type": "webhook", "url": "https://8.8.8.8:22/"}, "port 22"),
        ({"type": "webhook", "url": "http://8.8.8.8/"}, "not encrypted"),
        ({"type": "mail", "host": "10.0.0.1", "sender": "a@b.c"}, "inside the network"),
        ({"type": "mqtt", "host": "8.8.8.8", "port": 1883, "tls": False}, "not encrypted"),
        ({"type": "s3", "endpoint": "https://10.0.0.1", "bucket": "abc"}, "inside the network"),
        ({"type": "s3", "endpoint": "https://8.8.8.8:25", "bucket": "abc"}, "port 25"),
        ({"type": "s3", "endpoint": "https://8.8.8.8", "bucket": "abc"}, "needs an access key"),
        ({"type": "telepathy"}, ""),
        ({"type": "webhook", "url": "https://8.8.8.8/", "extra": 1}, "extra"),
    ],
    ids=["private", "metadata", "mapped", "ssh", "plain", "mail", "mqtt", "s3", "s3-port",
         "s3-key", "kind", "field"],
)  # fmt: skip
async def test_a_hostile_channel_is_refused_when_it_is_asked_for(
    house: House, settings: dict[str, Any], said: str
) -> None:
    """Early word, with what to write instead; nothing of it is kept."""
    status, body = await house.ask("POST", "/channels", {"channel": "x", "settings": settings})
    assert status == 400, body
    assert said in json.dumps(body)
    assert (await house.ask("GET", "/channels"))[1]["channels"] == []


async def test_who_may_do_what(house: House) -> None:
    """Operators look, test and replay; only administrators change; viewers see nothing of it."""
    await house.ask("POST", "/channels", {"channel": "hook", **house.hook()})
    for who, method, path, body, expected in (
        ("viewer", "GET", "/channels", None, 403), ("viewer", "GET", "/deliveries", None, 403),
        ("operator", "GET", "/channels", None, 200), ("operator", "GET", "/deliveries", None, 200),
        ("operator", "PUT", "/channels/hook", house.hook(), 403),
        ("operator", "DELETE", "/channels/hook", None, 403),
        ("operator", "POST", "/channels/hook/rotate-secret", {}, 403),
        ("operator", "POST", "/channels/hook/replay", None, 200),
        ("operator", "GET", "/deliveries/none", None, 404),
        ("operator", "POST", "/channels/none/test", {}, 404),
    ):  # fmt: skip
        status, answered = await house.ask(method, path, body, who=who)
        assert status == expected, (who, method, path, answered)


async def test_a_bucket_tells_nobody(house: House) -> None:
    """It is named in no contact, is not among what people choose from, and a form makes one too."""
    form = {
        "channel": "archive", "kind": "s3", "username": "HUSH-ID", "secret": "hush-key",
        "url": f"http://127.0.0.1:{house.receiver.port}/archive/plant/7", "region": "eu-1",
    }  # fmt: skip
    async with house.services.db.transaction() as tx:
        wanted = pages_channels.wanted(form)
        seal = Seal(house.services.config.state)
        await managing.put(
            tx, seal, "archive", wanted, new=True, actor="anna", now_ms=house.services.now_ms()
        )
    _, found = await house.ask("GET", "/channels/archive")
    assert found["settings"] == {
        "type": "s3", "endpoint": f"http://127.0.0.1:{house.receiver.port}", "bucket": "archive",
        "prefix": "plant/7", "region": "eu-1", "path_style": True, "per_minute": 120, "at_once": 2,
    }  # fmt: skip
    settings = pages_channels.wanted(form).settings
    assert channels.target_of(settings) == form["url"]
    assert channels.settings_of(settings)["carries"] == "exports, no notices"
    status, said = await house.ask("PUT", "/contacts/admin", {"contacts": [{"channel": "archive"}]})
    assert status >= 400, said
    assert "carries exports, no notices" in json.dumps(said)
    async with house.services.db.transaction() as tx:
        assert await people.choices(tx, whole=True) == []
        book = await documents.current(tx)
        text = b"ladders: [{ladder: ops, steps: [{tell: ['channel:archive']}]}]"
        with pytest.raises(ConfigError, match="archive cannot tell anybody: a bucket carries"):
            applying.check(rules.load(text), book, await applying.known(tx, book), str)


async def test_the_terminal_does_the_same(
    house: House, conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Add with a secret from a file, test, list, show, replay, rotate, remove; JSON where asked."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    config = tmp_path / "central.yaml"
    port = house.receiver.port
    config.write_text(
        f"state_dir: {tmp_path}\nalerts:\n  allow_private: ['127.0.0.0/8']\n  ports: [{port}]\n"
    )

    async def vedette(*words: str, stdin: str = "") -> tuple[int, str, str]:
        line = ["central", "--config", str(config), *words]
        done = await asyncio.to_thread(CliRunner().invoke, cli, line, stdin)

        return done.exit_code, done.stdout, done.stderr

    url = f"http://127.0.0.1:{port}/x"
    code, out, err = await vedette("channels", "add", "webhook", "hook", url)
    assert code == 0, err
    secret = out.strip()
    code, out, err = await vedette("channels", "test", "hook")
    assert (code, out) == (0, "sent: answered 204\n"), err
    got = house.receiver.got[-1]
    Verifier(secret).verify(got.body, got.headers)
    house.receiver.answers = [answer(404)]
    code, out, _ = await vedette("channels", "test", "hook", "--json")
    assert code == 1
    name = json.loads(out)["row"]["delivery"]
    _, out, _ = await vedette("deliveries", "list", "--state", "dead", "--json")
    assert [row["delivery"] for row in json.loads(out)] == [name]
    _, out, _ = await vedette("deliveries", "show", name)
    assert "answered 404" in out
    assert (await vedette("deliveries", "replay", name))[0] == 0
    assert (await vedette("deliveries", "cancel", name))[1] == "cancelled\n"
    code, out, err = await vedette("channels", "rotate-secret", "hook")
    assert out.startswith("whsec_")
    assert out.strip() != secret
    assert (await vedette("channels", "rotate-key"))[1].startswith("1 secrets sealed anew")
    own = ("channels", "add", "webhook", "own", url, "--secret-file", "-")
    code, out, err = await vedette(*own, stdin=f"{secret}\n")
    assert (code, out) == (0, ""), err
    assert secret not in err, "whoever brought it has it"
    assert (await vedette("channels", "remove", "own"))[0] == 0
    mail = ("channels", "add", "mail", "post", "8.8.8.8", "--sender", "v@a.b", "--username", "v")
    code, out, err = await vedette(*mail, "--secret-file", "-", stdin="hush-password\n")
    assert code == 0, err
    _, out, _ = await vedette("channels", "show", "post")
    assert "hush" not in out
    assert "kept, sealed" in out
    bucket = ("channels", "add", "s3", "archive", f"http://127.0.0.1:{port}", "plant")
    code, out, err = await vedette(*bucket, "--secret-file", "-", stdin="HUSH-ID\nhush-key\n")
    assert code == 0, err
    assert (await vedette(*bucket, "--change", "--prefix", "a/b"))[0] == 0, "its key stays"
    house.receiver.answers = [answer(403, "", b"<Code>InvalidAccessKeyId</Code>")]
    code, out, _ = await vedette("channels", "test", "archive")
    assert code == 1
    assert "the server does not know this access key" in out
    assert house.receiver.got[-1].path.startswith("/plant/a/b/vedette-test-dl-")
    assert (await vedette("channels", "remove", "archive"))[1] == "removed\n"
    _, out, _ = await vedette("channels", "list", "--json")
    assert [one["channel"] for one in json.loads(out)] == ["hook", "post"]
    assert (await vedette("channels", "disable", "post", "--why", "x"))[0] == 0
    assert (await vedette("channels", "enable", "post"))[0] == 0
    assert (await vedette("channels", "remove", "post"))[1] == "removed\n"
    code, _, err = await vedette("channels", "test", "post")
    assert code != 0
