"""Users, sessions, tokens, places and the log by forms: effects at once, nobody locked out."""

import re

import pytest

from tests.integration.test_api_operator import PASSWORD, House, house
from vedette.central import accounts, audit, jobs, people, upkeep
from vedette.central.settings import Retention
from vedette.errors import ConfigError

pytestmark = pytest.mark.anyio

__all__ = ["house"]

LINK = re.compile(r"<code>http[^<]*/setup/([^<]+)</code>")


async def post(house: House, path: str, **form: str) -> tuple[int, str]:
    """Post a form as the signed-in browser does; status, and the page or where it leads."""
    data = {"csrf": await house.csrf(), **form}
    answer = await house.client.post(path, data=data, follow_redirects=False)
    return answer.status_code, answer.headers.get("location", answer.text)


async def test_an_administrator_adds_resets_and_deletes_somebody(house: House) -> None:
    """The link is shown once and works once; a reset ends password, links and sessions at once."""
    await house.add_user("ada", "admin")
    await house.sign_in("ada")
    form = {"username": "olga", "role": "operator", "sees": "some", "sites": "north"}
    status, text = await post(house, "/settings/users", **form)
    link = LINK.search(text)
    assert status == 200
    assert link
    assert link[1] not in (await house.client.get("/settings/users")).text
    assert (await post(house, "/settings/users", **form))[0] == 422
    async with house.services.db.transaction() as tx:
        assert await accounts.use_setup_token(tx, link[1], PASSWORD, house.services.now_ms())
    mine = house.client.cookies["vedette"]
    await house.sign_in("olga")
    hers = {"Cookie": f"vedette={house.client.cookies['vedette']}"}
    assert (await house.client.get("/v1/fleet", headers=hers)).status_code == 200
    house.client.cookies.clear()
    house.client.cookies.set("vedette", mine)
    status, text = await post(house, "/settings/users/olga/reset")
    assert status == 200
    assert LINK.search(text)
    assert (await house.client.get("/v1/fleet", headers=hers)).status_code == 401
    assert await accounts.check_password(house.services.db, "olga", PASSWORD) is None
    assert (await post(house, "/settings/users/olga/disable"))[0] == 303
    again = LINK.search(text)
    assert again
    async with house.services.db.transaction() as tx:
        assert await accounts.setup_user(tx, again[1], house.services.now_ms()) is None
    assert (await post(house, "/settings/users/olga/enable"))[0] == 303
    assert (await post(house, "/settings/users/olga/explode"))[0] == 404
    status, there = await post(house, "/settings/users/olga/delete")
    assert (status, there) == (303, "/settings/users?done=deleted")
    assert (await house.client.get("/settings/users/olga")).status_code == 404
    done = [action for _, action in await house.actions()]
    for action in ("user.add", "user.password_reset", "user.disable", "user.enable", "user.delete"):
        assert action in done


async def test_the_last_administrator_cannot_go_in_any_way(house: House) -> None:
    """Not disabled, deleted, reset or given less, while no other has a password."""
    await house.add_user("ada", "admin")
    await house.sign_in("ada")
    async with house.services.db.transaction() as tx:
        await accounts.put_user(tx, "bea", "admin", None, house.services.now_ms())
    for act in ("disable", "delete", "reset"):
        status, text = await post(house, f"/settings/users/ada/{act}")
        assert status == 422, act
        assert "last administrator" in text
    less = {"role": "viewer", "sees": "everything"}
    assert (await post(house, "/settings/users/ada/scope", **less))[0] == 422
    headers = await house.token("api", "admin")
    assert (await house.client.delete("/v1/users/ada", headers=headers)).status_code == 204
    with pytest.raises(ConfigError, match="last administrator"):
        async with house.services.db.transaction() as tx:
            await people.delete(tx, "api", actor="x", now_ms=1)


async def test_a_viewer_has_an_account_and_nothing_else(house: House) -> None:
    """No other tab is offered; what is posted or asked all the same is refused."""
    await house.add_user("vic", "viewer", ["north"])
    await house.add_user("ada", "admin")
    await house.sign_in("vic")
    page = (await house.client.get("/settings")).text
    tabs = re.findall(r'href="/settings/(\w+)"', page.split('class="settings-page"', maxsplit=1)[0])
    assert sorted(set(tabs) - {"account"}) == ["sessions", "tokens"]
    for path in ("users", "users/ada", "sites", "sites/north", "folders", "groups", "claims",
                 "audit", "audit/export/audit.csv", "retention", "health"):  # fmt: skip
        assert (await house.client.get(f"/settings/{path}")).status_code == 403, path
    for path in ("users", "users/ada/reset", "users/ada/delete", "sites", "sites/north/labels",
                 "folders/move", "groups", "claims", "claims/withdraw", "audit/check"):  # fmt: skip
        assert (await post(house, f"/settings/{path}", folder="a", site="north"))[0] == 403, path
    async with house.services.db.transaction() as tx:
        (other,) = await people.held(tx, "browser", "vic", house.services.now_ms())
        token, _ = await accounts.open_session(tx, "ada", house.services.now_ms(), life_s=60)
    assert other.username == "vic"
    assert (await post(house, "/settings/sessions/end", token=people.name_of(token)))[0] == 400
    assert "ada" not in (await house.client.get("/settings/sessions?of=all")).text


async def test_sessions_are_listed_with_their_browser_and_end_at_once(house: House) -> None:
    """One by one, and all but the present one."""
    await house.add_user("ada", "admin")
    house.client.headers["user-agent"] = "Mozilla/5.0 (X11; Linux x86_64) Firefox/131.0"
    tokens = [(await house.sign_in("ada")).cookies["vedette"] for _ in range(3)]
    text = (await house.client.get("/settings/sessions")).text
    assert text.count("Firefox 131 on Linux") == 3
    assert text.count(">this one<") == 1
    named = people.name_of(tokens[0])
    assert (await post(house, "/settings/sessions/end", token=named))[0] == 303
    first = {"Cookie": f"vedette={tokens[0]}"}
    assert (await house.client.get("/v1/fleet", headers=first)).status_code == 401
    assert (await post(house, "/settings/sessions/end-others"))[0] == 303
    assert (await house.client.get("/settings/sessions")).text.count("Firefox 131") == 1
    assert (await post(house, "/settings/sessions/end", token="' or true --"))[0] == 400
    status, page = await post(house, "/settings/tokens", label="night", days="9")
    token = re.search(r"shown this once</b><code>([^<]+)</code>", page)
    assert status == 200
    assert token
    program = {"Authorization": f"Bearer {token[1]}"}
    assert (await house.client.get("/v1/fleet", headers=program)).status_code == 200
    assert (await post(house, "/settings/tokens", label="", days="9"))[0] == 422
    assert (await post(house, "/settings/tokens", label="x", days="99999"))[0] == 422
    assert (await post(house, "/settings/tokens/end", token=people.name_of(token[1])))[0] == 303
    assert (await house.client.get("/v1/fleet", headers=program)).status_code == 401


async def test_the_chain_is_followed_and_what_was_done_to_it_shows(house: House) -> None:
    """From where it was followed to; a changed entry, and an end that was cut off."""
    await house.add_user("ada", "admin")
    await house.sign_in("ada")
    db, now_ms = house.services.db, house.services.now_ms()
    async with db.transaction() as tx:
        for n in range(5):
            await audit.write(tx, at_ms=now_ms, actor="=cmd()", action="test.put", target=str(n))
    first = await audit.follow(db, now_ms)
    assert first.broken is None
    async with db.transaction() as tx:
        await audit.write(tx, at_ms=now_ms, actor="ada", action="test.put")
    assert (await audit.follow(db, now_ms)).number == first.number + 1
    table = (await house.client.get("/settings/audit/export/audit.csv?who=%3Dcmd()")).text
    assert table.count("'=cmd()") == 5
    listed = (await house.client.get("/settings/audit/export/audit.json?what=test.")).json()
    assert [row["target"] for row in listed] == ["", "4", "3", "2", "1", "0"]
    page = (await house.client.get("/settings/audit?what=test.&target=3")).text
    assert page.count("test.put") == 1
    assert "chain whole up to entry" in page
    house.clock.advance(60)
    async with db.transaction() as tx:
        await tx.connection.execute(b"UPDATE audit_log SET actor = 'eve' WHERE number = 3")
    assert (await audit.follow(db, now_ms + 1)).broken is None  # further back than it looks
    assert (await post(house, "/settings/audit/check"))[0] == 303
    assert "chain broken at entry 3" in (await house.client.get("/settings/audit")).text
    async with db.transaction() as tx:
        await tx.connection.execute(b"UPDATE audit_log SET actor = 'test' WHERE number = 3")
        await tx.connection.execute(b"DELETE FROM audit_checks")
    whole = await audit.follow(db, now_ms)
    async with db.transaction() as tx:
        await tx.connection.execute(b"DELETE FROM audit_log WHERE number = %d" % whole.number)
    assert (await audit.follow(db, now_ms)).broken == whole.number


async def test_places_are_organised_by_forms_and_only_within_the_scope(house: House) -> None:
    """A site with hours, labels, folder and claim; another's site is not there."""
    await house.add_user("ada", "admin")
    await house.sign_in("ada")
    new = {"site": "west", "name": "West", "time_zone": "Europe/Lisbon", "folder": "europe"}
    assert (await post(house, "/settings/sites", **new))[
        1
    ] == "/settings/sites/west?done=site-added"
    assert (await post(house, "/settings/sites", **new))[0] == 422
    assert "What it needs next" in (await house.client.get("/settings/sites/west")).text
    hours = {"when": "hours", "mo": "09:00–12:00, 13:00-20:00", "exceptions": "2026-12-25 closed"}
    assert (await post(house, "/settings/sites/west/hours", **hours))[0] == 303
    answer = (await house.client.get("/v1/sites")).json()
    west = next(row for row in answer if row["site"] == "west")
    assert west["hours"]["weekly"] == {"mo": [["09:00", "12:00"], ["13:00", "20:00"]]}
    assert west["hours"]["exceptions"] == {"2026-12-25": []}
    for wrong in ({"mo": "9-12"}, {"mo": "09:00-12:00; tu 1"}, {"exceptions": "soon"}):
        status, text = await post(house, "/settings/sites/west/hours", when="hours", **wrong)
        assert status == 422, wrong
        assert next(iter(wrong.values()))[:4] in text
    assert (await post(house, "/settings/sites/west/labels", key="tier", value="gold"))[0] == 303
    assert (await post(house, "/settings/sites/west/labels", key="A B", value="x"))[0] == 422
    assert "tier=gold" in (await house.client.get("/settings/sites?q=label:tier=gold")).text
    assert (await post(house, "/settings/folders/fill", folder="emea", sites="west north"))[
        0
    ] == 303
    assert (await post(house, "/settings/folders/move", folder="emea", to="world/emea"))[0] == 303
    assert (await post(house, "/settings/groups", name="g", expression="folder:world/**"))[0] == 303
    assert (await post(house, "/settings/groups", name="g", expression="((("))[0] == 422
    status, text = await post(house, "/settings/claims", site="west", device="west-1")
    assert status == 200
    assert "vedette edge enrol --config edge.yaml --token vc-" in text
    assert (await post(house, "/settings/claims", site="nowhere"))[0] == 422
    for path in ("sites", "folders", "groups", "claims?used=true", "retention", "health"):
        assert (await house.client.get(f"/settings/{path}")).status_code == 200, path
    await house.add_user("nora", "admin", ["north"])
    house.client.cookies.clear()
    await house.sign_in("nora")
    assert (await house.client.get("/settings/sites/west")).status_code == 404
    assert (await post(house, "/settings/sites/west/labels", key="a", value="b"))[0] == 404
    assert (await post(house, "/settings/claims", site="west"))[0] == 404
    assert (await post(house, "/settings/groups", name="h", expression="*"))[0] == 403


async def test_jobs_say_what_became_of_them_and_sizes_grow(house: House) -> None:
    """After a turn every job has ended well; sizes a day later tell the growth."""
    db, now_ms = house.services.db, house.services.now_ms()
    turn = jobs.Turn(now_ms=now_ms, retention=Retention(), expire=True)
    await jobs.do(db, turn)
    async with db.transaction() as tx:
        runs = await tx.all("job_runs_all", upkeep.JobRun)
        young = await upkeep.kept(tx, Retention(), now_ms)
        later = await upkeep.kept(tx, Retention(), now_ms + upkeep.DAY_MS)
    assert {run.job for run in runs} >= {"partitions", "retention", "sizes", "audit chain"}
    assert all(run.ended_ms and run.failed_ms is None for run in runs)
    assert all(one.growth_bytes is None for one in young)
    assert all(one.growth_bytes is not None for one in later)
    assert sum(one.bytes for one in young) > 100_000
    assert all(one.rows != 0 or not one.oldest_ms for one in young)
