"""Every list of the operator API is walked to its end: each row once, whatever comes or goes."""

import random
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, audit
from vedette.central.alerting.facts import (
    History,
    Incident,
    IncidentState,
    Override,
    Schedule,
    Severity,
    Shift,
    Silence,
    Subject,
)
from vedette.central.app import build_services
from vedette.central.registry.manifest import Facts, FileFact
from vedette.central.rollouts import ordering
from vedette.central.rollouts.facts import Plan
from vedette.central.services import Services
from vedette.central.settings import CentralConfig, Limits
from vedette.central.store.db import Tx
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey
from vedette.wire.evaluation import EvaluationRecord
from vedette.wire.messages import CommissionReport, EventKind, EventReport
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Artefact

pytestmark = pytest.mark.anyio

DIGEST = f"sha256:{'c' * 64}"
PLACE = "/v1/sites/site-m/devices/box-m"


@dataclass(frozen=True, slots=True)
class Listed:
    """One list: where it is, what names a row, and the SQL that adds and removes one by number."""

    path: str
    name: Callable[[dict[str, Any]], object]
    add: str
    remove: str = ""
    field: str = ""
    query: str = ""
    body: Callable[[int], bytes] | None = None


def commission_body(number: int) -> bytes:
    """Return what came of commissioning as it is stored."""
    return msgspec.msgpack.encode(CommissionReport(camera="door", at_ms=10 + number))


def event_body(number: int) -> bytes:
    """Return an event as it is stored."""
    report = EventReport(event=f"ev-{number}", camera="door", kind=EventKind.PRESENCE, at_ms=number)
    return msgspec.msgpack.encode(report)


def incident_body(number: int) -> bytes:
    """Return an incident as it is stored."""
    at_ms = number // 3
    return msgspec.json.encode(
        Incident(
            incident=f"in-{number}", key=f"k{number}", rule="r", severity=Severity.INFO,
            state=IncidentState.OPEN, title="", subject=Subject(), opened_ms=at_ms,
            changed_ms=at_ms, known_ms=at_ms,
        )
    )  # fmt: skip


def history_body(number: int) -> bytes:
    """Return a line of a timeline as it is stored."""
    return msgspec.json.encode(History(incident="in-m", at_ms=number, kind="note"))


def silence_body(number: int) -> bytes:
    """Return a silence as it is stored."""
    return msgspec.json.encode(Silence(silence=f"si-{number}", from_ms=0, to_ms=number // 3))


def manifest_body(number: int) -> bytes:
    """Return a bundle's manifest as it is stored."""
    file = FileFact(sha256="0" * 64, bytes=number)
    return msgspec.json.encode(
        Facts(format=1, name="mo-m", version="1", model="m", files={"m": file}, labels=["x"],
              preprocess={})
    )  # fmt: skip


def record_body(number: int) -> bytes:
    """Return an evaluation as it is stored."""
    return msgspec.json.encode(EvaluationRecord(digest=DIGEST, at_ms=number))


def schedule_body(number: int) -> bytes:
    """Return an on-call schedule as it is stored."""
    shift = Shift(people=["ann"], start="2026-01-05T09:00")
    return msgspec.json.encode(
        Schedule(schedule=f"plan-{number}", time_zone="UTC", shifts=[shift])
    )  # fmt: skip


def override_body(number: int) -> bytes:
    """Return somebody who takes over, as it is stored."""
    return msgspec.json.encode(
        Override(override=f"ov-{number}", schedule="plan-m", person="ann", from_ms=number // 3,
                 to_ms=4_000_000_000_000)
    )  # fmt: skip


WRITTEN = "INSERT INTO alert_documents (kind, name, version, body, changed_by, changed_ms) VALUES"

# `{n}` is the number of a row, `{t}` a time that several rows share.
LISTS = [
    Listed(
        "/v1/sites", lambda row: row["site"],
        "INSERT INTO sites (site, name, created_ms) VALUES ('site-{n}', '', 0)",
        "DELETE FROM sites WHERE site = 'site-{n}'",
    ),
    Listed(
        "/v1/folders", lambda row: row["folder"],
        "INSERT INTO sites (site, name, created_ms, folder)"
        " VALUES ('f-{n}', '', 0, 'folder-{n}')",
        "DELETE FROM sites WHERE site = 'f-{n}'",
    ),
    Listed(
        "/v1/select", lambda row: row["site"],
        "INSERT INTO sites (site, name, created_ms) VALUES ('s-{n}', '', 0)",
        "DELETE FROM sites WHERE site = 's-{n}'", field="found", query="level=site&q=site:*",
    ),
    Listed(
        "/v1/groups", lambda row: row["name"],
        "INSERT INTO selections (name, expression, changed_ms, changed_by)"
        " VALUES ('group-{n}', '*', 0, '')",
        "DELETE FROM selections WHERE name = 'group-{n}'",
    ),
    Listed(
        "/v1/devices", lambda row: row["device"],
        "INSERT INTO devices (device, site, public_key, enrolled_ms)"
        " VALUES ('box-{n}', 'site-' || chr(97 + {n} % 3), 'key {n}', 0)",
        "DELETE FROM devices WHERE device = 'box-{n}'", field="devices",
    ),
    Listed(
        "/v1/cameras", lambda row: (row["device"], row["camera"]),
        "WITH c AS (INSERT INTO cameras (device, camera, known_from_ms)"
        " VALUES ('box-' || chr(97 + {n} % 3), 'cam-{n}', 0) RETURNING device, camera)"
        " INSERT INTO camera_inventory (device, camera, since_ms, make, model, firmware, serial,"
        " codec, source_kind, seen_ms) SELECT device, camera, 1, '', '', '', '', '', '', 0 FROM c",
        "DELETE FROM cameras WHERE camera = 'cam-{n}'", field="cameras", query="q=camera:cam-*",
    ),
    Listed(
        f"{PLACE}/cameras/door/inventory", lambda row: row["since_ms"],
        "INSERT INTO camera_inventory (device, camera, since_ms, make, model, firmware, serial,"
        " codec, source_kind, seen_ms) VALUES ('box-m', 'door', 10 + {n}, '', '', '', '', '', '',"
        " 0)",
        "DELETE FROM camera_inventory WHERE device = 'box-m' AND since_ms = 10 + {n}",
    ),
    Listed(
        "/v1/events", lambda row: (row["device"], row["event"]),
        "INSERT INTO events (device, event, site, camera, kind, at_ms, received_ms, late, body)"
        " VALUES ('box-' || chr(97 + {n} % 2), 'ev-' || {n} / 2, 'site-a', 'door', 'presence',"
        " {t}, 0, false, %(body)s)",
        "DELETE FROM events WHERE device = 'box-' || chr(97 + {n} % 2)"
        " AND event = 'ev-' || {n} / 2",
        field="events",
    ),
    Listed(
        f"{PLACE}/diagnostics", lambda row: row["request"],
        "INSERT INTO requests (request, device, kind, asked_by, asked_ms, expires_ms)"
        " VALUES ('req-{n}', 'box-m', 'log', 'ada', {t}, 9)",
        "DELETE FROM requests WHERE request = 'req-{n}'", field="diagnostics",
    ),
    Listed(
        "/v1/sites/site-m/darkness", lambda row: (row["at_ms"], row["state"]),
        "INSERT INTO site_transitions (site, at_ms, noticed_ms, state, devices) VALUES"
        " ('site-m', {n} / 2, 0, (ARRAY['ok', 'dark'])[1 + {n} % 2], '{{}}')",
        "DELETE FROM site_transitions WHERE at_ms = {n} / 2"
        " AND state = (ARRAY['ok', 'dark'])[1 + {n} % 2]",
    ),
    Listed(
        "/v1/claims", lambda row: row["claim"],
        "INSERT INTO claim_tokens (token_hash, site, created_ms, expires_ms)"
        " VALUES (sha256('{n}'), 'site-a', {t}, 9e15)",
        "DELETE FROM claim_tokens WHERE token_hash = sha256('{n}')",
    ),
    Listed(
        "/v1/tokens", lambda row: row["token"],
        "INSERT INTO sessions (token_hash, username, kind, csrf, created_ms, seen_ms, expires_ms)"
        " VALUES (sha256('{n}'), 'user-' || chr(97 + {n} % 3), 'api', '', {t}, 0, 9e15)",
        "DELETE FROM sessions WHERE token_hash = sha256('{n}')",
    ),
    Listed(
        "/v1/users", lambda row: row["username"],
        "INSERT INTO users (username, password_hash, role, created_ms)"
        " VALUES ('User-{n}', '', 'viewer', 0)",
        "DELETE FROM users WHERE username = 'User-{n}'",
    ),
    Listed(
        "/v1/quarantine", lambda row: row["device"],
        "INSERT INTO devices (device, site, public_key, enrolled_ms, set_aside_bytes)"
        " VALUES ('twin-{n}', 'site-a', 'twin {n}', 0, 1)",
        "DELETE FROM devices WHERE device = 'twin-{n}'",
    ),
    Listed(
        "/v1/kpis", lambda row: row["kpi"],
        "INSERT INTO kpis (kpi, title, adds_up, changed_ms, changed_by)"
        " VALUES ('kpi-{n}', '', true, 0, '')",
        "DELETE FROM kpis WHERE kpi = 'kpi-{n}'",
    ),
    Listed(
        "/v1/clock", lambda row: row["by_ms"],
        "INSERT INTO clock_steps (noticed_ms, by_ms, outcome) VALUES (0, {n}, 'held')",
        "DELETE FROM clock_steps WHERE by_ms = {n}", field="steps",
    ),
    Listed(
        "/v1/audit", lambda row: row["number"],
        "INSERT INTO audit_log (number, at_ms, actor, action, target, detail, prev_hash, hash)"
        " VALUES (1000 + {n}, 0, '', '', '', '{{}}', '', '')",
    ),
    Listed("/v1/metrics", lambda row: row["name"], ""),
    Listed(
        "/v1/views", lambda row: (row["owner"], row["name"]),
        "INSERT INTO saved_views (owner, name, query, shared, changed_ms)"
        " VALUES ('user-' || chr(97 + {n} % 3), 'view-{n}', 'q=x', true, 0)",
        "DELETE FROM saved_views WHERE name = 'view-{n}'",
    ),
    Listed(
        f"{PLACE}/cameras/door/commissionings", lambda row: row["at_ms"],
        "INSERT INTO commissions (device, camera, at_ms, received_ms, body)"
        " VALUES ('box-m', 'door', 10 + {n}, 0, %(body)s)",
        "DELETE FROM commissions WHERE device = 'box-m' AND at_ms = 10 + {n}",
        body=commission_body,
    ),
    Listed(
        "/v1/rollouts", lambda row: row["plan"]["rollout"],
        "INSERT INTO rollouts (rollout, kind, slot, digest, plan, sites, state, since_ms, progress,"
        " made_by, made_ms) SELECT 'ro-{n}', kind, slot, digest, convert_to(replace("
        "convert_from(plan, 'UTF8'), 'ro-m', 'ro-{n}'), 'UTF8'), sites, state, 0, progress, '', {t}"
        " FROM rollouts WHERE rollout = 'ro-m'",
        "DELETE FROM rollouts WHERE rollout = 'ro-{n}'", field="rollouts",
    ),
    Listed(
        "/v1/rollouts/ro-m/devices", lambda row: row["device"],
        "WITH d AS (INSERT INTO devices (device, site, public_key, enrolled_ms)"
        " VALUES ('ro-box-{n}', 'site-a', 'ro key {n}', 0) RETURNING device)"
        " SELECT 1; INSERT INTO rollout_devices (rollout, device) VALUES ('ro-m', 'ro-box-{n}')",
        "DELETE FROM devices WHERE device = 'ro-box-{n}'", field="devices",
    ),
    Listed(
        "/v1/rollouts/ro-m/history", lambda row: row["number"],
        "INSERT INTO rollout_history (rollout, at_ms, actor, state) VALUES ('ro-m', {n}, '', 'x')",
        "DELETE FROM rollout_history WHERE rollout = 'ro-m' AND at_ms = {n}", field="history",
    ),
    Listed(
        "/v1/channels", lambda row: row["channel"],
        "INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
        " VALUES ('hook-{n}', 'webhook',"
        ' convert_to(\'{{"type":"webhook","url":""}}\', \'UTF8\'),'
        " '', 0)",
        "DELETE FROM alert_channels WHERE channel = 'hook-{n}'", field="channels",
    ),
    Listed(
        "/v1/deliveries", lambda row: row["delivery"],
        "INSERT INTO deliveries (delivery, key, channel, kind, state, made_ms, asked_ms, body)"
        " VALUES ('dl-{n}', 'key-{n}', 'hook', 'opened', 'sent', {t}, 0, '')",
        "DELETE FROM deliveries WHERE delivery = 'dl-{n}'", field="deliveries",
    ),
    Listed(
        "/v1/exports", lambda row: row["settings"]["export"],
        "INSERT INTO exports (export, body, changed_by, changed_ms) VALUES ('ex-{n}', convert_to("
        '\'{{"export":"ex-{n}","channel":"hook"}}\', \'UTF8\'), \'\', 0)',
        "DELETE FROM exports WHERE export = 'ex-{n}'", field="exports",
    ),
    Listed(
        "/v1/holds", lambda row: row["event"],
        "INSERT INTO evidence_holds (device, event, evidence, site, camera, reason, held_by,"
        " held_ms) VALUES ('box-m', 'held-{n}', '', 'site-m', 'door', 'x', '', {t})",
        "DELETE FROM evidence_holds WHERE event = 'held-{n}'", field="holds",
    ),
    Listed(
        "/v1/incidents", lambda row: row["incident"]["incident"],
        "INSERT INTO incidents (incident, key, rule, severity, state, title, opened_ms, changed_ms,"
        " known_ms, version, body) VALUES ('in-{n}', 'k{n}', 'r', 'info', 'open', '', {t}, {t},"
        " {t}, 1, %(body)s)",
        "DELETE FROM incidents WHERE incident = 'in-{n}'", field="incidents", body=incident_body,
    ),
    Listed(
        "/v1/incidents/in-m/timeline", lambda row: row["number"],
        "INSERT INTO incident_history (incident, at_ms, kind, actor, body)"
        " VALUES ('in-m', {n}, 'note', '', %(body)s)",
        "DELETE FROM incident_history WHERE incident = 'in-m' AND at_ms = {n}", field="timeline",
        body=history_body,
    ),
    Listed(
        "/v1/incidents/in-m/events", lambda row: (row["event"], row["device"]),
        "WITH added AS (INSERT INTO events (device, event, site, camera, kind, at_ms, received_ms,"
        " late, dated, label, where_name, evidence, body) VALUES ('box-m', 'iev-{n}', 'site-m',"
        " 'door', 'presence', {t}, {t}, false, true, '', '', '', %(body)s) RETURNING *)"
        " INSERT INTO incident_events SELECT 'in-m', device, event, at_ms, false FROM added",
        "DELETE FROM incident_events WHERE event = 'iev-{n}';"
        "DELETE FROM events WHERE event = 'iev-{n}'",
        field="events",
    ),
    Listed(
        "/v1/silences", lambda row: row["silence"]["silence"],
        "INSERT INTO alert_silences (silence, from_ms, to_ms, body)"
        " VALUES ('si-{n}', 0, {t}, %(body)s)",
        "DELETE FROM alert_silences WHERE silence = 'si-{n}'", field="silences",
        body=silence_body,
    ),
    Listed(
        "/v1/models", lambda row: row["model"],
        "INSERT INTO models (model, created_ms, policy) VALUES ('mo-{n}', 0, '')",
        "DELETE FROM models WHERE model = 'mo-{n}'",
    ),
    Listed(
        "/v1/models/mo-m/versions", lambda row: row["digest"],
        "INSERT INTO model_versions (digest, model, version, registered_ms, registered_by,"
        " manifest, lineage) VALUES ('sha256:{n}', 'mo-m', 'v{n}', {t}, '', %(body)s, '')",
        "DELETE FROM model_versions WHERE digest = 'sha256:{n}'", body=manifest_body,
    ),
    Listed(
        f"/v1/models/mo-m/versions/{DIGEST}/evaluations", lambda row: row["evaluation"],
        "INSERT INTO model_evaluations (evaluation, digest, received_ms, actor, has_times, record)"
        f" VALUES ('e{{n}}', '{DIGEST}', {{t}}, '', false, %(body)s)",
        "DELETE FROM model_evaluations WHERE evaluation = 'e{n}'", body=record_body,
    ),
    Listed(
        "/v1/model-signers", lambda row: row["keyid"],
        "INSERT INTO model_signers (keyid, key, name, added_ms, added_by)"
        " VALUES ('key-{n}', '', 'name-' || chr(97 + {n} % 2), 0, '')",
        "DELETE FROM model_signers WHERE keyid = 'key-{n}'",
    ),
    Listed(
        "/v1/ladders", lambda row: row["ladder"]["ladder"],
        f"{WRITTEN} ('ladder', 'ladder-{{n}}', 1, %(body)s, '', 0)",
        "DELETE FROM alert_documents WHERE name = 'ladder-{n}'",
        body=lambda n: b'{"ladder":"ladder-%d","steps":[{"tell":["channel:x"]}]}' % n,
    ),
    Listed(
        "/v1/rules", lambda row: row["rule"]["rule"],
        f"{WRITTEN} ('rule', 'rule-{{n}}', 1, %(body)s, '', 0)",
        "DELETE FROM alert_documents WHERE name = 'rule-{n}'",
        body=lambda n: b'{"rule":"rule-%d","health":{"is":"disk"}}' % n,
    ),
    Listed(
        "/v1/rules/rule-m/versions", lambda row: row["version"],
        f"{WRITTEN} ('rule', 'rule-m', {{n}} + 1, %(body)s, '', 0)",
        "DELETE FROM alert_documents WHERE name = 'rule-m' AND version = {n} + 1",
        body=lambda n: b'{"rule":"rule-m","resolve_s":%d,"health":{"is":"disk"}}' % (n + 1),
    ),
    Listed(
        "/v1/schedules", lambda row: row["schedule"]["schedule"],
        f"{WRITTEN} ('schedule', 'plan-{{n}}', 1, %(body)s, '', 0)",
        "DELETE FROM alert_documents WHERE name = 'plan-{n}'", body=schedule_body,
    ),
    Listed(
        "/v1/oncall", lambda row: row["schedule"],
        f"{WRITTEN} ('schedule', 'duty-{{n}}', 1, %(body)s, '', 0)",
        "DELETE FROM alert_documents WHERE name = 'duty-{n}'",
        body=lambda n: schedule_body(n).replace(b"plan-", b"duty-"),
    ),
    Listed(
        "/v1/oncall/plan-m/overrides", lambda row: row["override"],
        "INSERT INTO alert_overrides (override, schedule, person, from_ms, to_ms, body)"
        " VALUES ('ov-{n}', 'plan-m', '', {t}, 4000000000000, %(body)s)",
        "DELETE FROM alert_overrides WHERE override = 'ov-{n}'", body=override_body,
    ),
    Listed(
        "/v1/contacts", lambda row: row["username"],
        f"{WRITTEN} ('contacts', 'who-{{n}}', 1, %(body)s, '', 0)",
        "DELETE FROM alert_documents WHERE name = 'who-{n}'",
        body=lambda n: b'[{"channel":"mail","address":"%d@x"}]' % n,
    ),
]  # fmt: skip

ELSEWHERE = {f"{PLACE}/timeline", "/v1/sites/site-m/timeline"}
"""Made of many tables: they are walked in test_timeline."""


class House:
    """A central, an administrator's program, and the database to add to and take from."""

    def __init__(self, services: Services, client: AsyncTestClient, token: str) -> None:
        self.services = services
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}

    async def do(self, sql: str, number: int, body: Callable[[int], bytes] | None = None) -> None:
        """Run a statement of `LISTS` for one row."""
        if sql:
            said = sql.format(n=number, t=number // 3)
            params = {"body": (body or event_body)(number)} if "%(body)s" in said else None
            if params:
                said = said.replace(" % 2", " %% 2")
            async with self.services.db.transaction() as tx:
                await tx.connection.execute(said.encode(), params)

    async def ask(self, there: str) -> httpx.Response:
        """Return a page that is there."""
        answer = await self.client.get(there, headers=self.headers)
        assert answer.status_code == 200, f"{there}: {answer.text}"
        return answer

    async def walk(
        self, of: Listed, limit: int, between: Callable[[], Any] | None = None
    ) -> list[object]:
        """Return the names of all rows in the order of their pages, `limit` on each at most."""
        names: list[object] = []
        there: str | None = f"{of.path}?limit={limit}" + (f"&{of.query}" if of.query else "")
        while there is not None:
            answer = await self.ask(there)
            body = answer.json()
            rows = body[of.field] if of.field else body
            assert len(rows) <= limit
            if between is None:
                assert rows or not names, "a page that has nothing is never pointed at"
            names += [of.name(row) for row in rows]
            there = next_of(answer)
            if of.field:
                assert (body["next_cursor"] is None) == (there is None)
            if between is not None:
                await between()
                assert len(names) < 500
        return names


def next_of(answer: httpx.Response) -> str | None:
    """Return where a list goes on, as RFC 8288 says it."""
    link = answer.headers.get("link")
    if link is None:
        return None
    found = re.fullmatch(r'<([^>]+)>; rel="next"', link)
    assert found
    return found[1]


async def furnish(tx: Tx, now_ms: int) -> str:
    """Have three sites with a device each, and users; return an administrator's token."""
    for letter in ("a", "b", "c", "m"):
        await tx.connection.execute(
            f"INSERT INTO sites (site, name, created_ms) VALUES ('site-{letter}', '', 0);"
            "INSERT INTO devices (device, site, public_key, enrolled_ms)"
            f" VALUES ('box-{letter}', 'site-{letter}', 'key {letter}', 0);"
            "INSERT INTO users (username, password_hash, role, created_ms)"
            f" VALUES ('user-{letter}', '', 'viewer', 0)".encode()
        )
    await tx.run("cameras_know", devices=["box-m"], cameras=["door"], from_ms=[1])
    await accounts.put_user(tx, "ada", "admin", None, now_ms)
    token, _ = await accounts.open_session(tx, "ada", now_ms, life_s=3600, kind="api")
    await audit.write(tx, at_ms=now_ms, actor="ada", action="test")
    await tx.connection.execute(
        b"INSERT INTO models (model, created_ms, policy) VALUES ('mo-m', 0, '')"
    )
    await tx.connection.execute(
        b"INSERT INTO model_versions (digest, model, version, registered_ms, registered_by,"
        b" manifest, lineage) VALUES (%s, 'mo-m', '1', 0, '', %s, '')",
        (DIGEST, manifest_body(0)),
    )
    artefact = Artefact(
        kind=ArtefactKind.APP, target="app/one", sha256="a" * 64, bytes=1,
        digest=f"sha256:{'a' * 64}",
    )  # fmt: skip
    plan = Plan(rollout="ro-m", kind=ArtefactKind.APP, slot="app", artefact=artefact)
    await ordering.make(tx, plan, actor="ada", note="", now_ms=now_ms)
    await tx.connection.execute(
        b"INSERT INTO incidents (incident, key, rule, severity, state, title, opened_ms,"
        b" changed_ms, known_ms, version, body) VALUES ('in-m', 'm', 'r', 'info', 'resolved', '',"
        b" 1000000, 0, 0, 1, %s)",
        (incident_body(1000),),
    )
    return token


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[House]:
    """A central in this process, over a fresh database."""
    config = CentralConfig(limits=Limits(requests_per_minute=10**6))
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    services = build_services(config, conninfo, SigningKey.generate(), clock)
    await services.db.open()
    async with services.db.transaction() as tx:
        token = await furnish(tx, services.now_ms())
    web: Any = build_web(services)
    async with AsyncTestClient(web, base_url="http://127.0.0.1:8080") as client:
        yield House(services, client, token)
    await services.db.close()


async def test_every_list_is_walked_row_by_row(house: House) -> None:
    """With any number of rows on a page the pages together are the list, in the same order."""
    for of in LISTS:
        for number in range(5):
            await house.do(of.add, number, of.body)
        whole = await house.walk(of, 1000)
        assert len(whole) == len(set(whole)) >= 5, of.path
        for limit in (1, 2, len(whole) - 1, len(whole), len(whole) + 1):
            assert await house.walk(of, limit) == whole, (of.path, limit)
        for number in range(5):
            await house.do(of.remove, number)


async def test_rows_that_come_and_go_hide_and_repeat_no_other(house: House) -> None:
    """What is there from beginning to end is seen once; nothing is seen twice."""
    for of in LISTS:
        if of.add:
            await come_and_go(house, of, random.Random(of.path))


async def come_and_go(house: House, of: Listed, dice: random.Random) -> None:
    """Walk a list while rows are added and removed after each of its pages."""
    for number in range(0, 20, 2):
        await house.do(of.add, number, of.body)
    before = set(await house.walk(of, 1000))
    free, there = list(range(1, 20, 2)), list(range(0, 20, 2))

    async def stir() -> None:
        if free and dice.random() < 0.7:
            await house.do(of.add, free.pop(dice.randrange(len(free))), of.body)
        if there and of.remove and dice.random() < 0.5:
            await house.do(of.remove, there.pop(dice.randrange(len(there))))

    seen = await house.walk(of, dice.choice((1, 2, 3)), stir)
    after = set(await house.walk(of, 1000))
    assert len(seen) == len(set(seen)), of.path
    assert before & after <= set(seen), of.path
    assert after != before, of.path
    for number in there:
        await house.do(of.remove, number)


async def test_no_list_is_without_pages(house: House) -> None:
    """Whatever the description calls a list takes a cursor and a limit, and is tested here."""
    described = (await house.client.get("/schema/openapi.json")).json()
    schemas = described["components"]["schemas"]
    found: set[str] = set()
    for path, methods in described["paths"].items():
        operation = methods.get("get", {})
        content = operation.get("responses", {}).get("200", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        if schema.get("type") == "array" or "next_cursor" in schema.get("properties", {}):
            assert {"cursor", "limit"} <= names, path
            assert "Link" in operation["responses"]["200"]["headers"], path
            found.add(path)
        else:
            assert "cursor" not in names, path
    places = {"site-m": "{site}", "box-m": "{device}", "door": "{camera}", "ro-m": "{rollout}",
              "mo-m": "{model}", "in-m": "{incident}", DIGEST: "{digest}",
              "plan-m": "{schedule}", "rule-m": "{rule}"}  # fmt: skip
    paths = {one.path for one in LISTS} | ELSEWHERE
    tested = {"/".join(places.get(step, step) for step in path.split("/")) for path in paths}
    assert found == tested


async def test_a_cursor_of_another_list_opens_nothing(house: House) -> None:
    """Another list's, other filters' and an invented one are refused in words."""
    for number in range(3):
        await house.do(LISTS[0].add, number)
    there = next_of(await house.ask("/v1/sites?limit=1"))
    assert there
    cursor = there.partition("cursor=")[2]
    wrong = [
        f"/v1/users?cursor={cursor}",
        f"/v1/sites?cursor={cursor[:-3]}xxx",
        "/v1/sites?cursor=site-a",
        "/v1/audit?cursor=5",
        "/v1/events?cursor=1000.ev-1",
    ]
    for one in wrong:
        answer = await house.client.get(one, headers=house.headers)
        assert answer.status_code == 400, one
        assert "begin again without it" in answer.json()["detail"]
    other = next_of(await house.ask("/v1/events?limit=1&kind=presence"))
    assert other is None
    for limit in ("0", "1001", "x"):
        answer = await house.client.get(f"/v1/sites?limit={limit}", headers=house.headers)
        assert answer.status_code == 400, limit
