"""Rules on pages, through the API and at the terminal: written, tried, switched, had back."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from tests.integration.test_alert_rules import Rulebook
from tests.integration.test_api_operator import House, house
from vedette.central import accounts
from vedette.central.alerting import documents, starter
from vedette.central.alerting import rules as files
from vedette.central.alerting.facts import Rule
from vedette.central.api import ruling
from vedette.central.api.tagging import ChangedMeanwhile
from vedette.central.store.db import Database, Tx
from vedette.cli.central import command
from vedette.errors import ConfigError

pytestmark = pytest.mark.anyio
__all__ = ["house"]

DAY_MS = 86_400_000
DOOR = """\
rules:
  - rule: door
    severity: critical
    event: {kinds: [line_crossed], labels: [person]}
"""
QUARANTINE = """\
rules:
  - rule: copies
    health: {is: quarantined}
"""
SHOPS = """\
ladders:
  - ladder: shops
    steps: [{tell: ["person:ann"]}]
"""
EASED = DOOR.replace("critical", "warning")
Form = dict[str, str]


class Browser:
    """Somebody at the pages of rules."""

    def __init__(self, house: House, headers: dict[str, str]) -> None:
        self.house = house
        self.headers = headers

    async def see(self, there: str, status: int = 200) -> str:
        """Look at a page."""
        got = await self.house.client.get(there, headers=self.headers)
        assert got.status_code == status, got.text
        return got.text

    async def send(self, there: str, status: int = 303, **form: str) -> httpx.Response:
        """Send a form."""
        got = await self.house.client.post(
            there, headers=self.headers, data=form, follow_redirects=False
        )
        assert got.status_code == status, (got.status_code, got.text)
        return got


async def here(house: House, name: str, role: str, sites: list[str] | None = None) -> Browser:
    """Return somebody of a role."""
    return Browser(house, await house.token(name, role, sites))


def field(html: str, name: str) -> str:
    """Return what a hidden field or the text holds."""
    found = re.search(rf'name="{name}"(?: value="([^"]*)"|[^>]*>([^<]*)</textarea>)', html)
    assert found, f"no field {name}"
    return found[1] or found[2] or ""


async def events(house: House, *hours_ago: int) -> None:
    """Have somebody come through the door of north, so many hours ago each."""
    now_ms, of = house.services.now_ms(), Rulebook(house.services.db)
    for hours in hours_ago:
        await of.event("north-1", now_ms - hours * 3_600_000, "north")


async def test_a_new_fleet_begins_with_rules_and_changes_them_on_pages(house: House) -> None:
    """One button has the starter; a rule is written, switched, removed and had back again."""
    ann = await here(house, "ann", "admin")
    empty = await ann.see("/rules")
    assert "No rule yet" in empty
    given = files.load(starter.text().encode()).rules
    assert f"Have these {len(given)} rules" in empty
    nobody = await ann.send("/rules", 422, tell="channel:none")
    assert "there is no channel" in nobody.text
    assert (await ann.send("/rules")).headers["location"] == "/rules?done=started"
    again = await ann.send("/rules", 422)
    assert "There are rules already" in again.text
    listed = await ann.see("/rules")
    assert listed.count("<tr") == len(given) + 1
    assert "by ann" in listed
    assert "begin with" not in listed

    like = await ann.see("/rules/new?like=after-hours")
    assert "zone_entered" in field(like, "text")
    made = await ann.send("/rules/new", text=DOOR, note="the back door", version="")
    assert made.headers["location"] == "/rules/door?done=kept"
    shown = await ann.see("/rules/door?done=kept")
    assert "it counts from now on" in shown
    assert "the back door" in shown
    assert "nobody is told" in shown, "what is doubtful is said"
    taken = await ann.send("/rules/new", 422, text=EASED)
    assert "There is a rule of that name already" in taken.text
    assert "severity: warning" in field(taken.text, "text")

    await ann.send("/rules/door/off")
    assert "<b>off</b>" in await ann.see("/rules/door")
    await ann.send("/rules/door/on")
    await ann.send("/rules/door/nonsense", 404)
    await ann.send("/rules/door", text=EASED, version="3")
    changed = await ann.see("/rules/door")
    assert "severity: &#34;critical&#34; → &#34;warning&#34;" in changed
    await ann.send("/rules/door/back", 422, to="1", version="2")
    await ann.send("/rules/door/back", to="1", version="4")
    assert "as version 1" in await ann.see("/rules/door")
    await ann.send("/rules/door/remove", 422, version="4")
    gone = await ann.send("/rules/door/remove", version="5")
    assert "/rules/door" in await ann.see(gone.headers["location"])
    assert "door" not in [rule.rule for rule in (await standing(house)).values()]
    assert "<b>removed</b>" in await ann.see("/rules/door")
    await ann.send("/rules/door/back", to="4", version="0")
    assert str((await standing(house))["door"].severity) == "warning"
    acted = [action for actor, action in await house.actions() if actor == "ann"]
    assert acted[:2] == ["alerts.rule.put", "alerts.rule.remove"]


async def standing(house: House) -> dict[str, Rule]:
    """Return the rules that stand."""
    async with house.services.db.transaction() as tx:
        return (await documents.current(tx)).rules


async def test_what_was_typed_stays_and_whoever_was_faster_is_named(house: House) -> None:
    """A text that cannot be, a ladder that nobody has, a change over an older version."""
    ann, ben = await here(house, "ann", "operator"), await here(house, "ben", "operator")
    wrong = await ann.send("/rules/new", 422, text=DOOR + "    colour: red\n", note="why not")
    assert "colour" in field(wrong.text, "text")
    assert ":5" in wrong.text, "the line is named"
    assert 'value="why not"' in wrong.text
    unheard = await ann.send("/rules/new", 422, text=DOOR + "    ladder: none\n")
    assert "There is no ladder" in unheard.text or "there is no ladder" in unheard.text
    two = await ann.send("/rules/new", 422, text=DOOR + EASED.partition("\n")[2])
    assert "stands twice" in two.text
    for name in ("new", "Bad Name"):
        await ann.send("/rules/new", 422, text=DOOR.replace("rule: door", f"rule: {name}"))
    huge = await ann.send("/rules/new", 422, text=DOOR + "#" * 30_000)
    assert "characters" in huge.text
    assert await standing(house) == {}

    await ann.send("/rules/new", text=DOOR)
    theirs = field(await ann.see("/rules/door"), "version")
    await ben.send("/rules/door", text=EASED, version=theirs)
    mine = DOOR + "    hours: closed\n"
    late = await ann.send("/rules/door", 422, text=mine, version=theirs)
    assert "ben wrote version 2 while you wrote" in late.text
    assert "hours: closed" in field(late.text, "text")
    await ann.send("/rules/door", text=mine, version=field(late.text, "version"))
    assert (await standing(house))["door"].hours == "closed"
    other = await ann.send("/rules/door", 422, text=DOOR.replace("rule: door", "rule: gate"))
    assert "calls itself" in other.text
    await ben.send("/rules/door/remove", version="3")
    gone = await ann.send("/rules/door", 422, text=mine, version="3")
    assert "ben removed it while you wrote" in gone.text
    await ann.send("/rules/door", text=mine, version="")
    assert "door" in await standing(house)
    await ann.send("/rules/never", 404, text=DOOR)


async def test_a_draft_is_tried_on_history_and_what_was_not_known_is_said(house: House) -> None:
    """14 times would be 14 times; days before the first device joined are no quiet days."""
    house.clock.advance(4 * 86_400)
    await events(house, 1, 2, 30, 31, 32)
    ann = await here(house, "ann", "operator")
    tried = (await ann.send("/rules/new", 200, text=DOOR, days="7", do="try")).text
    assert "It would have opened 5 incidents" in tried
    assert "nobody was told" in tried
    assert re.findall(r'class="num">(<span class="no-data">|\d)', tried) == [
        *['<span class="no-data">'] * 2, "0", "0", "0", "3", "2"
    ]  # fmt: skip
    assert "the first device joined at 2026-03-02 08:00 UTC" in tried
    assert re.search(r"History tells of 6\d\.\d %", tried)
    assert "north/north-1/cam/door" in tried
    assert "line_crossed" in field(tried, "text")
    assert await standing(house) == {}, "nothing was kept"
    unkept = (await ann.send("/rules/new", 200, text=QUARANTINE, do="try", days="1")).text
    assert "History cannot tell" in unkept
    assert "by-day" not in unkept
    bare = await ann.send("/rules/new", 422, text="rules: []", do="try")
    assert "keeps one rule" in bare.text
    seen = Browser(house, await house.token("sue", "operator", ["south"]))
    theirs = (await seen.send("/rules/new", 200, text=DOOR, days="7", do="try")).text
    assert "It would have opened 0 incidents" in theirs


async def test_a_look_into_history_that_takes_too_long_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says so over what was typed; whoever comes next is not held up by it."""
    ann = await here(house, "ann", "operator")
    with monkeypatch.context() as patched:
        patched.setattr(ruling, "MAX_TRY_S", 0.0)
        late = await ann.send("/rules/new", 422, text=DOOR, do="try")
    assert "ask for fewer days" in late.text
    assert "line_crossed" in field(late.text, "text")
    await ann.send("/rules/new", 200, text=DOOR, do="try")


async def test_who_sees_a_part_has_rules_of_that_part(house: House) -> None:
    """They see, write, try and have back rules of their sites; of others they learn nothing."""
    ann = await here(house, "ann", "admin")
    sue = await here(house, "sue", "operator", ["south"])
    vic = await here(house, "vic", "viewer")
    await ann.send("/rules/new", text=DOOR)
    assert "No rule is about your sites alone" in await sue.see("/rules")
    for there in ("/rules/door", "/rules/none"):
        await sue.see(there, 404)
        await sue.send(there, 404, text=DOOR)
        for action in ("on", "off", "remove", "back"):
            await sue.send(f"{there}/{action}", 404, to="1", version="1")
    wide = await sue.send("/rules/new", 422, text=DOOR.replace("rule: door", "rule: wide"))
    assert "within your sites" in wide.text
    assert "rule: wide" in field(wide.text, "text")
    ours = DOOR.replace("rule: door", "rule: ours") + "    where: {sites: [south]}\n"
    await sue.send("/rules/new", text=ours)
    taken = await sue.send("/rules/new", 422, text=ours.replace("rule: ours", "rule: door"))
    assert "already" in taken.text
    [theirs] = files.load(ours.replace("rule: ours", "rule: door").encode()).rules
    over = await house.client.put(
        "/v1/rules/door", headers=sue.headers, json=msgspec.to_builtins(theirs)
    )
    assert over.status_code == 404
    assert (await standing(house))["door"].where.sites == []
    listed = await sue.see("/rules")
    assert "ours" in listed
    assert "door" not in listed
    await ann.send("/rules/ours", text=ours.replace("south", "north"), version="1")
    await sue.see("/rules/ours", 404)
    await sue.send("/rules/ours/back", 404, to="1", version="2")
    await ann.send("/rules/ours/back", to="1", version="2")
    assert "north" not in await sue.see("/rules/ours"), "what it said elsewhere is not theirs"
    await sue.see("/rules-file", 403)
    await sue.see("/rules.yaml", 403)
    await sue.send("/rules", 403)
    await sue.send("/rules-file", 403, text="rules: []")
    await vic.see("/rules", 403)
    await vic.send("/rules/door/off", 403)


async def test_the_whole_file_is_looked_at_before_it_is_had(house: House) -> None:
    """What is applied is what was looked at, over what was read; the download is the same text."""
    ann, ben = await here(house, "ann", "admin"), await here(house, "ben", "operator")
    await ann.send("/rules/new", text=DOOR)
    shown = await ann.see("/rules-file")
    form = {"book": field(shown, "book"), "text": EASED + SHOPS, "note": "all at once"}
    unseen = await ann.send("/rules-file", 200, do="apply", **form)
    assert "nothing is done yet" in unseen.text
    assert "It would change 2 documents" in unseen.text
    assert (await standing(house))["door"].severity == "critical"
    form["looked"] = field(unseen.text, "looked")
    await ben.send("/rules/door/off")
    late = await ann.send("/rules-file", 422, do="apply", **form)
    assert "Somebody changed it in between" in late.text
    again = await ann.send("/rules-file", 200, do="look", **form)
    assert "enabled: false → true" in again.text
    form["book"] = field(again.text, "book")
    await ann.send("/rules-file", do="apply", **form)
    got = await house.client.get("/rules.yaml", headers=ann.headers)
    assert "attachment" in got.headers["content-disposition"]
    kept = files.load(got.content)
    assert [rule.severity for rule in kept.rules] == ["warning"]
    assert [one.ladder for one in kept.ladders] == ["shops"]
    wrong = await ann.send("/rules-file", 422, do="look", text="rules: [", book="1")
    assert "rules: [" in field(wrong.text, "text")
    pruned = await ann.send("/rules-file", 200, text="rules: []", prune="yes")
    assert "removed" in pruned.text


async def race(house: House, rule: Rule, tag: str) -> list[bool]:
    """Return which of two changes over one version were refused; both begin before either ends.

    Without the web: its requests have an event loop of their own.
    """
    db = Database(house.services.db.conninfo, min_size=3)
    await db.open()
    services = msgspec.structs.replace(house.services, db=db)
    ann = accounts.Session(
        username="ann", role="operator", sites=None, kind="api", csrf="", expires_ms=2**50
    )

    async def refused(todo: str) -> bool:
        try:
            await ruling.put_rule.fn(
                services=services,
                session=ann,
                rule=rule.rule,
                data=msgspec.structs.replace(rule, todo=todo),
                if_match=tag,
            )
        except ChangedMeanwhile:
            return True
        return False

    async with db.transaction() as tx:
        await documents.hold(tx)
        racing = [asyncio.create_task(refused(todo)) for todo in ("left", "right")]
        await waiting(tx, 2)
    found = sorted(await asyncio.gather(*racing))
    await db.close()
    return found


async def waiting(tx: Tx, count: int) -> None:
    """Wait until so many transactions wait for a lock, this one's or one another's."""
    asked = (
        b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        b" AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    async with asyncio.timeout(30):
        found = 0
        while found < count:
            await tx.connection.execute(b"SELECT pg_stat_clear_snapshot()")
            [(found,)] = await (await tx.connection.execute(asked)).fetchall()


async def test_rules_through_the_api(house: House) -> None:
    """Written over what was read, by one of two at once; compared, switched, tried, removed."""
    ann = await house.token("ann", "operator")
    client, there = house.client, "/v1/rules/door"
    body = msgspec.to_builtins(files.load(DOOR.encode()).rules[0])

    async def put(headers: dict[str, str], **changes: object) -> httpx.Response:
        return await client.put(there, headers=ann | headers, json=body | changes)

    made = await put({"If-None-Match": "*"})
    assert made.json()["version"] == 1
    assert "nobody is told" in made.json()["doubts"][0]
    assert (await put({"If-None-Match": "*"})).status_code == 412
    read = await client.get(there, headers=ann)
    assert (read.json()["of"], read.json()["where"]) == ("line_crossed of person", "everywhere")
    tag = {"If-Match": read.headers["etag"]}
    same = await client.get(there, headers=ann | {"If-None-Match": read.headers["etag"]})
    assert same.status_code == 304
    raced = await race(house, files.load(EASED.encode()).rules[0], read.headers["etag"])
    assert raced == [False, True]
    for wrong, status in (
        ({"rule": "gate"}, 400),
        ({"health": {"is": "disk"}}, 400),
        ({"ladder": "none"}, 400),
        ({"colour": "red"}, 400),
        ({"where": {"groups": ["none"]}}, 400),
    ):
        assert (await put({}, **wrong)).status_code == status, wrong
    off = await client.post(f"{there}/disable", headers=ann)
    assert off.json()["version"] == 3
    assert (await client.post(f"{there}/enable", headers=ann | tag)).status_code == 412
    assert (await client.post(f"{there}/enable", headers=ann)).json()["version"] == 4
    versions = (await client.get(f"{there}/versions", headers=ann)).json()
    assert [one["version"] for one in versions] == [4, 3, 2, 1]
    assert versions[0]["changed"] == ["enabled: false → true"]
    assert len(versions[2]["changed"]) == 2

    house.clock.advance(3_000)
    await events(house, 0)
    house.clock.advance(1)
    now_ms = house.services.now_ms()
    tried = (await client.post(f"{there}/test", headers=ann, json={})).json()
    assert (tried["rule"], tried["fired"]["fired"]) == ("door", 1)
    for window in (
        {"from_ms": now_ms - 40 * DAY_MS},
        {"to_ms": now_ms + 3 * DAY_MS},
        {"from_ms": now_ms, "to_ms": now_ms},
        {"from_ms": -1},
    ):
        got = await client.post(f"{there}/test", headers=ann, json=window)
        assert got.status_code == 422, window
    assert (await client.post("/v1/rules/none/test", headers=ann, json={})).status_code == 404

    assert (await client.delete(there, headers=ann | tag)).status_code == 412
    assert (await client.delete(there, headers=ann)).status_code == 204
    assert (await client.delete(there, headers=ann)).status_code == 404
    assert (await client.post(f"{there}/enable", headers=ann)).status_code == 404
    assert (await client.get("/v1/rules", headers=ann)).json() == []
    acted = [action for actor, action in await house.actions() if actor == "ann"]
    assert acted == ["alerts.rule.remove", *["alerts.rule.put"] * 4]


async def test_the_file_through_the_api(house: House) -> None:
    """Compared, then applied whole or not at all, over what was read; for administrators."""
    ada, ann = await house.token("ada", "admin"), await house.token("ann", "operator")

    async def post(text: str, **more: object) -> httpx.Response:
        sent = {"text": text, **more}
        return await house.client.post("/v1/rules-file", headers=ada, json=sent)

    looked = (await post(starter.text())).json()
    assert looked["applied"] is False
    assert {one["what"] for one in looked["changes"]} == {"new"}
    assert await standing(house) == {}
    done = (await post(starter.text(), apply=True, note="first")).json()
    assert done["applied"] is True
    read = (await house.client.get("/v1/rules-file", headers=ada)).json()
    assert {one["what"] for one in (await post(read["text"])).json()["changes"]} == {"same"}
    assert (await post(DOOR, apply=True, book=read["book"])).json()["applied"] is True
    stale = await post("rules: []", apply=True, prune=True, book=read["book"])
    assert stale.status_code == 412
    broken = await post(
        EASED.replace("door", "gate") + DOOR.partition("\n")[2] + "    hours: noon\n", apply=True
    )
    assert broken.status_code == 400
    assert "hours" in broken.json()["detail"]
    assert "gate" not in await standing(house)
    assert (await post("a: " + "&a [*a]" * 9)).status_code == 400
    pruned = (await post("rules: []", apply=True, prune=True)).json()
    assert {one["what"] for one in pruned["changes"]} == {"removed"}
    assert await standing(house) == {}
    for headers in (ann, await house.token("sid", "admin", ["south"])):
        assert (await house.client.get("/v1/rules-file", headers=headers)).status_code == 403
        got = await house.client.post("/v1/rules-file", headers=headers, json={"text": DOOR})
        assert got.status_code == 403


def test_rules_at_the_terminal(
    conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The starter is checked, compared, applied; rules are listed, switched, tried and removed."""
    monkeypatch.setenv("VEDETTE_DATABASE_URL", conninfo)
    monkeypatch.delenv("VEDETTE_CENTRAL_CONFIG", raising=False)
    file = tmp_path / "rules.yaml"

    def said(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(command, ["rules", *words], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    file.write_text(said("starter"))
    count = len(files.load(file.read_bytes()).rules)
    assert f"can be applied: {count} documents" in said("check", str(file))
    assert said("diff", str(file), code=1).count("new      rule ") == count
    assert said("list").startswith("no rules")
    assert said("apply", str(file), "--note", "first").endswith("applied\n")
    assert f"{count} as they are" in said("diff", str(file))
    assert "site-dark" in said("list")
    shown = said("show")
    assert files.load(shown.encode()).rules == sorted(
        files.load(file.read_bytes()).rules, key=lambda rule: rule.rule
    )
    assert json.loads(said("list", "--json"))[0]["rule"] == "after-hours"

    file.write_text(DOOR)
    assert "left as they are" in said("diff", str(file), code=1)
    changed = json.loads(said("apply", str(file), "--prune", "--json"))
    assert sum(one["what"] == "removed" for one in changed["changes"]) == count
    assert [one["rule"] for one in json.loads(said("list", "--json"))] == ["door"]
    assert said("disable", "door", "--note", "too loud") == "door: off\n"
    assert "off" in said("list")
    assert said("enable", "door") == "door: on\n"
    versions = said("show", "door", "--versions")
    assert "enabled: true → false" in versions
    assert "too loud" in versions
    assert [one["version"] for one in json.loads(said("show", "door", "--versions", "--json"))] == [
        3, 2, 1
    ]  # fmt: skip
    tried = said("test", "--rule", "door", "--from", "24h")
    assert "door: history cannot tell" in tried, "nobody has a device yet"
    assert json.loads(said("test", str(file), "--json"))[0]["fired"]["fired"] == 0
    twins = [f"  - {{rule: {name}, event: {{kinds: [tamper]}}}}\n" for name in ("one", "other")]
    file.write_text("rules:\n" + "".join(twins))
    both = said("test", str(file), "--from", "24h")
    assert "of all: cannot tell: " in both, "what holds for each rule is said once"
    assert "  cannot tell" not in both
    file.write_text(DOOR)
    assert said("remove", "door") == "door: removed\n"
    assert "removed" in said("show", "door", "--versions").splitlines()[1]

    def refused(*words: str, match: str) -> None:
        with pytest.raises(ConfigError, match=match):
            said(*words)

    refused("remove", "door", match="there is no rule")
    refused("enable", "door", match="there is no rule")
    refused("show", "door", match="there is no rule")
    refused("test", match="which rules")
    refused("starter", "--tell", "pigeon:x", match="is nobody")
    refused("test", str(file), "--from", "200d", match="at most 92 days")
    file.write_text(said("starter", "--tell", "channel:ops"))
    refused("check", str(file), match="there is no channel 'ops'")
    file.write_bytes(b"rules:\n  - rule: \xff")
    refused("check", str(file), match="not UTF-8")
    file.write_text("rules:\n" + "  - {}\n" * 50_000)
    refused("apply", str(file), match="bytes; such a file has at most")
