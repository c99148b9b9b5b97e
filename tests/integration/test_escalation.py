"""From a rule to the right person, over the real database: climbing, on call, contacts."""

import asyncio
import json
import re
from collections.abc import AsyncIterator

import msgspec
import pytest
from click.testing import CliRunner

from tests.integration.test_api_operator import House, house
from vedette.central import accounts, enrolment, people
from vedette.central.alerting import acting, documents, handover, simulate
from vedette.central.alerting import people as alerted
from vedette.central.alerting.channels import words
from vedette.central.alerting.facts import (
    Contact,
    EventMatch,
    Ladder,
    LadderStep,
    Notice,
    Override,
    Rule,
    Schedule,
    Severity,
    Shift,
)
from vedette.central.alerting.jobs import Engine
from vedette.central.bulletin import Bulletin
from vedette.central.store.db import Database, Tx
from vedette.cli.central import command
from vedette.errors import ConfigError
from vedette.wire.messages import EventKind, EventReport

pytestmark = pytest.mark.anyio
__all__ = ["house"]

T = 1_772_438_400_000  # Monday 2026-03-02 08:00 UTC, 09:00 in Berlin
MINUTE_MS = 60_000

DOOR = Rule(
    rule="door",
    event=EventMatch(kinds=[EventKind.LINE_CROSSED]),
    ladder="guards",
    resolve_s=6 * 3600,
)
GUARDS = Ladder(
    ladder="guards",
    steps=[
        LadderStep(tell=["oncall:nights", "oncall:days"]),
        LadderStep(after_s=600, tell=["person:bo", "channel:desk"]),
    ],
    repeat_s=1800,
    rounds=2,
    ack_s=3600,
)
DAYS = Schedule(
    schedule="days",
    time_zone="Europe/Berlin",
    shifts=[Shift(people=["cem", "anna"], start="2026-02-23T10:00", turn_days=7)],
)
"""Cem is on call until ten in Berlin, anna from then on."""

NIGHTS = Schedule(
    schedule="nights",
    time_zone="Europe/Berlin",
    shifts=[Shift(people=["bo"], start="2026-01-05T00:00", weekly={"mo": [("20:00", "06:00")]})],
)


async def write_book(tx: Tx) -> None:
    """Have channels, people, their contacts, schedules, a ladder and a rule."""
    for channel in ("mail", "desk"):
        await tx.connection.execute(
            b"INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
            b" VALUES (%s, 'mqtt', '{}', 't', 0)",
            (channel,),
        )
    await accounts.put_user(tx, "root", "admin", None, T)
    for person in ("anna", "bo", "cem"):
        await accounts.put_user(tx, person, "operator", None, T)
        contact = Contact(channel="mail", address=f"{person}@example.org")
        await documents.put(tx, "contacts", person, [contact], "root", T)
    for schedule in (DAYS, NIGHTS):
        await documents.put(tx, "schedule", schedule.schedule, schedule, "root", T)
    await documents.put(tx, "ladder", "guards", GUARDS, "root", T)
    await documents.put(tx, "rule", "door", DOOR, "root", T)


class Plant:
    """A site whose door is watched, and an engine that is a new one at each turn."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def somebody_comes(self, at_ms: int) -> None:
        """Have an event come in, as ingest writes it."""
        report = EventReport(
            event=f"ev-{at_ms}", camera="cam", at_ms=at_ms, kind=EventKind.LINE_CROSSED,
            label="person", where="door",
        )  # fmt: skip
        async with self.db.transaction() as tx:
            await tx.run(
                "event_add", device="box", event=report.event, site="plant", camera="cam",
                kind=str(report.kind), at_ms=at_ms, received_ms=at_ms, late=False, dated=True,
                label="person", where_name="door", evidence="",
                body=msgspec.msgpack.encode(report),
            )  # fmt: skip

    async def turn(self, now_ms: int) -> None:
        """Have two workers look at once, each fresh from a restart."""
        engines = [Engine(self.db, Bulletin()) for _ in range(2)]
        await asyncio.gather(*(engine.turn(now_ms, look=False) for engine in engines))

    async def turn_until(self, now_ms: int, end_ms: int) -> None:
        """Have the engine look whenever something is due, and at the end."""
        while now_ms < end_ms:
            await self.turn(now_ms)
            due = await self.rows("SELECT min(due_ms) FROM incidents")
            now_ms = min(due[0][0] or end_ms, end_ms)
        await self.turn(end_ms)

    async def rows(self, sql: str) -> list[tuple]:
        """Look into the database."""
        async with self.db.transaction() as tx:
            return await (await tx.connection.execute(sql.encode())).fetchall()

    async def told(self) -> list[tuple[int, str, str]]:
        """Return (minute, kind, whom) of every delivery, by when it was decided."""
        rows = await self.rows(
            "SELECT (made_ms - 1772438400000) / 60000, kind, coalesce(nullif(person, ''), channel)"
            " FROM deliveries ORDER BY made_ms, channel DESC, person"
        )
        return [(int(minute), kind, whom) for minute, kind, whom in rows]


@pytest.fixture
async def plant(conninfo: str, anyio_backend: str) -> AsyncIterator[Plant]:
    """A plant with a written book; nobody but the test turns."""
    db = Database(conninfo)
    await db.open()
    async with db.transaction() as tx:
        await enrolment.add_site(tx, "plant", actor="t", now_ms=T)
        await tx.run(
            "device_add", device="box", site="plant", public_key="k", hardware="", version="1",
            now_ms=T,
        )  # fmt: skip
        await write_book(tx)
    yield Plant(db)
    await db.close()


async def test_what_is_simulated_is_what_happens(plant: Plant) -> None:
    """Two workers and a restart at each turn tell whom the simulation told, once, at its times."""
    async with plant.db.transaction() as tx:
        book = await documents.current(tx)
    thought = simulate.in_thought(book, [], GUARDS, severity=Severity.WARNING, start_ms=T)
    await plant.somebody_comes(T)
    await plant.turn_until(T, T + 120 * MINUTE_MS)
    told = await plant.told()
    assert told == [
        (0, "opened", "cem"),
        (10, "opened", "bo"),
        (10, "opened", "desk"),
        (30, "repeated", "cem"),
        (40, "repeated", "bo"),
        (40, "repeated", "desk"),
    ]
    assert told == [
        ((step.at_ms - T) // MINUTE_MS, step.kind, step.tell.removesuffix(" by mail"))
        for step in thought.steps
        if not step.problem
    ]
    [(said,)] = await plant.rows(
        "SELECT string_agg(text, ';') FROM incident_history WHERE kind = 'unreached'"
    )
    assert "nobody is on call in nights until Mon 02 Mar 20:00 CET" in said
    assert "nobody is on call in nights until Mon 02 Mar 20:00 CET" in {
        step.problem.removeprefix("step 1: ") for step in thought.steps
    }


async def test_an_acknowledgement_that_runs_out_reaches_who_is_on_call_then(plant: Plant) -> None:
    """Cem took it on and went home; an hour later anna is on call, and hears of it."""
    await plant.somebody_comes(T)
    await plant.turn(T)
    [(incident,)] = await plant.rows("SELECT incident FROM incidents")
    async with plant.db.transaction() as tx:
        await acting.acknowledge(tx, incident, by="cem", now_ms=T + MINUTE_MS)
    await plant.turn_until(T + MINUTE_MS, T + 70 * MINUTE_MS)
    assert await plant.told() == [(0, "opened", "cem"), (61, "ack_expired", "anna")]
    async with plant.db.transaction() as tx:
        await acting.resolve(tx, incident, by="anna", reason="", now_ms=T + 70 * MINUTE_MS)
    await plant.turn(T + 71 * MINUTE_MS)
    assert {(kind, whom) for _, kind, whom in (await plant.told())[2:]} == {
        ("resolved", "anna"),
        ("resolved", "cem"),
    }


async def test_whoever_comes_on_call_is_told_once_with_what_is_open(plant: Plant) -> None:
    """By two workers, over restarts, late, by an override, and back; with the note, once."""
    tells = msgspec.structs.replace(DAYS, tell=True)
    async with plant.db.transaction() as tx:
        await documents.put(tx, "schedule", "days", tells, "root", T)
    await plant.turn(T)  # looked at for the first time: nothing was handed over
    await plant.somebody_comes(T)
    await plant.turn(T)
    async with plant.db.transaction() as tx:
        book = await documents.current(tx)
        await handover.leave(tx, book, "days", "the gate\nsticks", by="cem", now_ms=T)
    await plant.turn(T + 59 * MINUTE_MS)
    before = await plant.told()
    assert [one for one in before if one[1] == "on_call"] == []
    late = T + 65 * MINUTE_MS  # central was down at the hand-over
    await plant.turn(late)
    await plant.turn(late + 1)
    rows = await plant.rows("SELECT person, body FROM deliveries WHERE kind = 'on_call'")
    [(person, body)] = rows
    assert person == "anna"
    said = words.long(msgspec.json.decode(body, type=Notice))
    assert said.splitlines()[0] == "[info] You are on call now: days; 1 incident is open"
    assert "Until Mon 09 Mar 10:00 CET at least." in said
    assert "line crossed: person at door" in said
    assert "nobody is on it" in said
    assert "cem leaves you: the gate sticks" in said
    async with plant.db.transaction() as tx:
        wanted = Override(
            override="", schedule="days", person="bo", from_ms=late, to_ms=late + 30 * MINUTE_MS,
            made_by="anna", made_ms=late,
        )  # fmt: skip
        await alerted.take_over(tx, book, wanted)
    await plant.turn(late + 2)
    await plant.turn(late + 31 * MINUTE_MS)
    async with plant.db.transaction() as tx:
        await documents.put(tx, "schedule", "days", DAYS, "root", late)  # tells nobody any more
    await plant.turn(late + 40 * MINUTE_MS)
    rows = await plant.rows(
        "SELECT person, body FROM deliveries WHERE kind = 'on_call' ORDER BY made_ms"
    )
    assert [person for person, _ in rows] == ["anna", "bo", "anna"]
    assert b"leaves you" not in rows[1][1]
    assert await plant.rows("SELECT 1 FROM alert_duties") == []


async def test_who_takes_over_is_told_from_then_on(plant: Plant) -> None:
    """An override holds for the next round; ended, the schedule decides again."""
    await plant.somebody_comes(T)
    await plant.turn(T)
    async with plant.db.transaction() as tx:
        wanted = Override(
            override="", schedule="days", person="root", from_ms=T, to_ms=T + 86_400_000,
            made_by="cem", made_ms=T,
        )  # fmt: skip
        book = await documents.current(tx)
        made = await alerted.take_over(tx, book, wanted)
        for wrong in ({"schedule": "x"}, {"person": "x"}, {"to_ms": T}, {"to_ms": T + 2**43}):
            with pytest.raises(ConfigError):
                await alerted.take_over(tx, book, msgspec.structs.replace(wanted, **wrong))
        await documents.put(
            tx, "contacts", "root", [Contact(channel="mail", address="root@x")], "root", T
        )
    await plant.turn_until(T, T + 31 * MINUTE_MS)
    assert (await plant.told())[-1] == (30, "repeated", "root")
    async with plant.db.transaction() as tx:
        await alerted.give_back(tx, made.override, actor="cem", now_ms=T + 31 * MINUTE_MS)
        assert await alerted.overrides(tx, T + 31 * MINUTE_MS) == []
        with pytest.raises(ConfigError):
            await alerted.give_back(tx, made.override, actor="cem", now_ms=T + 32 * MINUTE_MS)


async def test_a_person_who_goes_leaves_no_address_and_no_silence(plant: Plant) -> None:
    """Disabled: the next step is taken at once. Deleted: no version of their contacts is kept."""
    async with plant.db.transaction() as tx:
        await tx.run("user_disable", username="cem", now_ms=T)
    await plant.somebody_comes(T)
    await plant.turn(T)
    assert await plant.told() == [(0, "opened", "bo"), (0, "opened", "desk")]
    async with plant.db.transaction() as tx:
        await people.delete(tx, "cem", actor="root", now_ms=T)
    assert await plant.rows("SELECT count(*) FROM alert_documents WHERE name = 'cem'") == [(0,)]


# --------------------------------------------------------------------------------- people's ways


async def test_addresses_are_for_their_owner_and_for_administrators(house: House) -> None:
    """Others are refused; an administrator's look is in the audit log; a test is sent once."""
    async with house.services.db.transaction() as tx:
        await write_book(tx)
    anna, root = await house.token("anna", "operator"), await house.token("root", "admin")
    mine = [{"channel": "mail", "address": "anna@home.example"}]
    put = await house.client.put("/v1/contacts/anna", headers=anna, json={"contacts": mine})
    assert put.status_code == 200
    assert put.json()["contacts"][0]["address"] == "anna@home.example"
    for method, there in (
        ("GET", "/v1/contacts/cem"),
        ("PUT", "/v1/contacts/cem"),
        ("DELETE", "/v1/contacts/cem"),
        ("POST", "/v1/contacts/cem/test"),
        ("GET", "/v1/contacts"),
    ):
        answer = await house.client.request(method, there, headers=anna, json={"contacts": []})
        assert answer.status_code == 403, there
    assert "example" not in (await house.client.get("/v1/contacts", headers=root)).text
    looked = await house.client.get("/v1/contacts/anna", headers=root)
    assert "anna@home.example" in looked.text
    unknown = {"contacts": [{"channel": "pigeon"}]}
    refused = await house.client.put("/v1/contacts/anna", headers=anna, json=unknown)
    assert refused.status_code == 422
    for _ in range(2):
        tested = await house.client.post("/v1/contacts/anna/test", headers=anna)
        assert tested.json() == [{"channel": "mail", "why": ""}]
    async with house.services.db.transaction() as tx:
        cursor = await tx.connection.execute(b"SELECT kind, person, address FROM deliveries")
        assert await cursor.fetchall() == [("test", "anna", "anna@home.example")]
        cursor = await tx.connection.execute(
            b"SELECT actor, action, target, convert_from(detail, 'UTF8') FROM audit_log"
        )
        log = await cursor.fetchall()
    assert ("root", "alerts.contacts.look", "anna", "{}") in log
    assert "home.example" not in str(log)
    gone = await house.client.delete("/v1/contacts/anna", headers=anna)
    assert gone.status_code == 204
    again = await house.client.get("/v1/contacts/anna", headers=anna)
    assert again.json()["contacts"] == []


async def test_one_adds_tests_and_removes_ones_own_contacts_on_the_page_of_ones_account(
    house: House,
) -> None:
    """A person at a phone says how they are reached, and has a test sent."""
    async with house.services.db.transaction() as tx:
        await write_book(tx)
    await house.add_user("gus", "viewer")
    await house.sign_in("gus")

    async def post(there: str, **form: str) -> tuple[int, str]:
        data = {"csrf": await house.csrf(), **form}
        answer = await house.client.post(there, data=data, follow_redirects=False)
        return answer.status_code, answer.headers.get("location", "")

    mine = {"channel": "mail", "address": "gus@example.org"}
    account = "/settings/account"
    shown = (303, f"{account}?done=contacts")
    assert "gus has no contact" in (await house.client.get(account)).text
    assert await post(f"{account}/contacts", **mine, least="critical") == shown
    assert "gus@example.org" in (await house.client.get(account)).text
    assert await post(f"{account}/contacts/test") == (303, f"{account}?done=tested")
    for wrong in ({"channel": "pigeon"}, mine | {"least": "fatal"}):
        assert (await post(f"{account}/contacts", **wrong))[0] == 422
    text = (await house.client.get(account)).text
    assert "Quiet hours by mail to gus@example.org: none" in text
    seen = re.findall(r'name="seen" value="([0-9a-f]+)"', text)[0]
    hours = mine | {"seen": seen, "time_zone": "Europe/Oslo"}
    data = {"csrf": await house.csrf(), **hours, "mo": "22:00"}
    refused = await house.client.post(f"{account}/contacts/quiet", data=data)
    assert refused.status_code == 422
    form = refused.text.partition('<details class="more quiet-hours" id="quiet-1" open>')[2]
    assert 'value="22:00"' in form.partition("</details>")[0]
    assert "is no time, as in 09:00" in form.partition("</details>")[0]
    assert await post(f"{account}/contacts/quiet", **hours, mo="22:00-06:00") == shown
    kept = (await house.client.get("/v1/contacts/gus")).json()["contacts"][0]
    assert kept == mine | {
        "least": "critical", "quiet": {"mo": [["22:00", "06:00"]]}, "time_zone": "Europe/Oslo",
    }  # fmt: skip
    assert (await post(f"{account}/contacts/quiet", **hours, mo="01:00-02:00"))[0] == 409
    assert (await house.client.get("/v1/contacts/gus")).json()["contacts"][0] == kept
    bare = await house.client.post(f"{account}/contacts/quiet", data=hours, follow_redirects=False)
    assert bare.status_code == 403  # no token of the form
    assert await post(f"{account}/contacts/drop", **mine) == shown
    gone = await post(f"{account}/contacts/quiet", **hours, mo="01:00-02:00")
    assert gone[0] == 409
    assert "gus@example.org" not in (await house.client.get(account)).text


async def test_ladders_are_changed_over_what_was_read_and_followed_before(house: House) -> None:
    """A draft is followed without being stored; a change over an older version is refused."""
    async with house.services.db.transaction() as tx:
        await write_book(tx)
    anna = await house.token("anna", "operator")
    read = await house.client.get("/v1/ladders/guards", headers=anna)
    assert read.json()["rules"] == ["door"]
    draft = {"ladder": "guards", "steps": [{"tell": ["person:gus"]}, {"tell": ["channel:desk"]}]}
    followed = await house.client.post(
        "/v1/ladders/guards/follow", headers=anna, json={"at_ms": T, "draft": draft}
    )
    steps = followed.json()["steps"]
    assert [(step["kind"], step["tell"] or step["problem"]) for step in steps] == [
        ("unreached", "step 1: gus has no contact"),
        ("unreached", "step 1 reached nobody: the next one is taken at once"),
        ("opened", "desk"),
    ]
    tag = {"If-Match": read.headers["etag"]}
    put = await house.client.put("/v1/ladders/guards", headers=anna | tag, json=draft)
    assert put.json() == {"version": 2, "doubts": ["step 1: gus has no contact"]}
    stale = await house.client.put("/v1/ladders/guards", headers=anna | tag, json=draft)
    assert stale.status_code == 412
    week = await house.client.get(
        f"/v1/oncall/nights?from_ms={T}&to_ms={T + 7 * 86_400_000}", headers=anna
    )
    assert week.json()["gaps"] == [
        "nobody now, until Mon 02 Mar 20:00",
        "nobody from Tue 03 Mar 06:00 on",
    ]
    viewer = await house.token("vic", "viewer")
    assert (await house.client.get("/v1/oncall", headers=viewer)).status_code == 403
    assert (await house.client.get("/v1/ladders/guards", headers=viewer)).status_code == 403


def test_the_terminal_says_who_is_on_call_and_what_a_ladder_would_do(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taking over at the terminal is by the schedule's clock; following tells nobody."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    monkeypatch.delenv("VEDETTE_CENTRAL_CONFIG", raising=False)

    async def furnish() -> None:
        db = Database(conninfo)
        await db.open()
        async with db.transaction() as tx:
            await write_book(tx)
        await db.close()

    asyncio.run(furnish())

    def said(*words: str) -> str:
        return CliRunner().invoke(command, list(words), catch_exceptions=False).output

    made = said("oncall", "override", "nights", "cem", "--hours", "1000", "--json")
    assert json.loads(made)["person"] == "cem"
    now = {one["schedule"]: one for one in json.loads(said("oncall", "now", "--json"))}
    assert now["nights"]["person"] == "cem"
    assert "cem takes over" in said("oncall", "show", "nights")
    with pytest.raises(ConfigError, match="tells nobody"):
        said("oncall", "hand-over", "nights", "--note", "the gate sticks")
    assert "over" in said("oncall", "end", json.loads(made)["override"])
    follow = ("ladders", "follow", "guards", "--at", "2026-03-02T09:00+01:00", "--ack-after", "5")
    shown = said(*follow, "--by", "cem")
    assert "cem by mail" in shown
    assert "cem is on it" in shown
    steps = json.loads(said(*follow, "--json"))["steps"]
    told = [(step["kind"], step["tell"]) for step in steps if step["channel"]]
    assert told[:3] == [
        ("opened", "cem by mail"),
        ("acknowledged", "cem by mail"),
        ("ack_expired", "anna by mail"),
    ]
    assert "guards" in said("ladders", "list")
    assert "+10" not in said("ladders", "show", "guards")
    assert "@" not in said("contacts", "list")
    assert "anna@example.org" in said("contacts", "show", "anna")
    assert "on its way" in said("contacts", "test", "anna")
    assert "no address" in said("contacts", "forget", "anna")
    with pytest.raises(ConfigError, match="there is no ladder"):
        said("ladders", "follow", "none")
