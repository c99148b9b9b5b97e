"""The pages of exports over the real database: who may see and change them, and what they say."""

import msgspec
import pytest

from tests.integration.test_api_operator import House, house
from vedette.central.alerting.channels import outbox
from vedette.central.alerting.channels.facts import CLOUD_EVENT
from vedette.central.alerting.channels.outbox import Parcel
from vedette.central.alerting.facts import Where
from vedette.central.exporting import looking, store
from vedette.central.exporting.facts import Export
from vedette.central.exporting.looking import ExportState, Standing

pytestmark = pytest.mark.anyio
__all__ = ["house"]

HOSTILE = "<script>alert(1)</script>"
HOOK = msgspec.json.encode({"type": "webhook", "url": "https://192.0.2.1/"})
FORM = {
    "export": "erp", "channel": "hook", "kind": "line_crossed", "labels": "person",
    "sites": "north", "tell_event": "yes", "tell_clip": "yes", "late": "yes", "link_h": "24",
}  # fmt: skip


async def _have_channel(house: House) -> None:
    async with house.services.db.transaction() as tx:
        await tx.connection.execute(
            b"INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
            b" VALUES ('hook', 'webhook', %s, 'test', 0)",
            (HOOK,),
        )


async def _tell(house: House, export: str, number: int, state: str, said: str = "") -> None:
    """Have something that an export told, in this state."""
    now_ms = house.services.now_ms()
    parcel = Parcel(
        key=f"export:{export}:north-1:event:ev-{number}", channel="hook", kind="event",
        media=CLOUD_EVENT, body=b"{}", subject=f"line_crossed {HOSTILE}",
    )  # fmt: skip
    async with house.services.db.transaction() as tx:
        assert await outbox.put_parcel(tx, parcel, now_ms)
        await tx.connection.execute(
            b"UPDATE deliveries SET state = %s::text, said = %s, due_ms = CASE WHEN %s::text ="
            b" 'waiting' THEN due_ms END, done_ms = CASE WHEN %s::text = 'waiting' THEN NULL ELSE"
            b" %s::bigint END WHERE key = %s",
            (state, said, state, state, now_ms, parcel.key),
        )


async def _standing(house: House, export: str) -> Standing:
    async with house.services.db.transaction() as tx:
        found = await looking.standings(tx, "https://vedette.example", house.services.now_ms())
    return next(one for one in found if one.view.settings.export == export)


async def test_exports_are_seen_by_operators_and_changed_by_administrators_of_the_whole_fleet(
    house: House,
) -> None:
    """Nobody is offered what they may not do, and it is refused where they post it all the same."""
    await _have_channel(house)
    root = await house.token("root", "admin")
    for form, word in ((FORM | {"link_h": "x"}, "number"), (FORM | {"kind": "x"}, "kind")):
        refused = await house.client.post("/exports", data=form, headers=root)
        assert refused.status_code == 422, word
        assert 'value="erp"' in refused.text
    made = await house.client.post("/exports", data=FORM, headers=root, follow_redirects=False)
    assert made.headers["location"] == "/exports/erp?done=made"
    again = await house.client.post("/exports", data=FORM | {"sites": ""}, headers=root)
    assert again.status_code == 422
    kept = (await house.client.get("/v1/exports/erp", headers=root)).json()["settings"]
    assert (kept["tell"], kept["where"]["sites"], kept["link_h"]) == (
        ["event", "clip"], ["north"], 24.0,
    )  # fmt: skip
    olga = await house.token("olga", "operator")
    for there in ("/exports", "/exports/erp"):
        seen = await house.client.get(there, headers=olga)
        assert seen.status_code == 200
        assert "events and clips of line crossed, of person only" in seen.text
        assert "<form" not in seen.text.partition("<main")[2]
        for who, role, sites in (("vic", "viewer", None), ("ann", "admin", ["north"])):
            headers = await house.token(who, role, sites)
            refused = await house.client.get(there, headers=headers)
            assert refused.status_code == 403, (who, there)
            assert "erp" not in refused.text.replace(there, "")
    for action in ("on", "off", "try", "remove"):
        refused = await house.client.post(f"/exports/erp/{action}", headers=olga)
        assert refused.status_code == 403, action
    assert (await house.client.post("/exports", data=FORM, headers=olga)).status_code == 403


async def test_an_export_of_a_place_that_cannot_be_is_refused_where_it_was_typed(
    house: House,
) -> None:
    """At the form, by name and with what to do; nothing is kept; the API says the same as 422."""
    await _have_channel(house)
    root = await house.token("root", "admin")
    typed = FORM | {"folders": "plants/north, plants//south"}
    refused = await house.client.post("/exports", data=typed, headers=root)
    assert refused.status_code == 422
    form = refused.text.partition('action="/exports#h-new"')[2].partition("</form>")[0]
    assert "&#39;plants//south&#39; cannot be a folder. as in europe/portugal/lisbon" in form
    assert 'value="plants/north, plants//south"' in form
    assert refused.text.count("cannot be a folder") == 1
    wrong = {"channel": "hook", "where": {"devices": ["till\x07"]}}
    refused = await house.client.put("/v1/exports/erp", headers=root, json=wrong)
    assert refused.status_code == 422
    assert refused.headers["content-type"].startswith("application/problem+json")
    said = refused.json()["detail"]
    assert said.startswith(r"'till\x07' cannot be a device: the name as in central: 1 to 64 of a-z")
    assert (await house.client.get("/v1/exports/erp", headers=root)).status_code == 404
    silence = {"to_ms": house.services.now_ms() + 1000, "where": {"folders": ["/"]}}
    refused = await house.client.post("/v1/silences", headers=root, json=silence)
    assert (refused.status_code, "'/' cannot be a folder" in refused.text) == (422, True)
    root_folder = {"channel": "hook", "where": {"folders": [""]}}
    kept = await house.client.put("/v1/exports/erp", headers=root, json=root_folder)
    assert kept.status_code == 200


async def test_an_export_from_before_such_places_were_refused_says_that_it_tells_nothing(
    house: House,
) -> None:
    """It can be switched off, and not on again."""
    await _have_channel(house)
    root = await house.token("root", "admin")
    await house.client.put("/v1/exports/erp", headers=root, json={"channel": "hook"})
    old = Export(export="erp", channel="hook", where=Where(sites=["no such"]))
    async with house.services.db.transaction() as tx:
        await tx.run(
            "export_put", export="erp", enabled=True, body=msgspec.json.encode(old), by="old",
            now_ms=0,
        )  # fmt: skip
    found = await _standing(house, "erp")
    assert found.state is ExportState.STUCK
    assert "it tells nothing: 'no such' cannot be a site" in found.view.trouble
    off = await house.client.post("/v1/exports/erp/disable", headers=root)
    assert off.status_code == 200
    on = await house.client.post("/v1/exports/erp/enable", headers=root)
    assert on.status_code == 422


async def test_what_became_of_an_export_is_said_as_it_is(house: House) -> None:
    """Nothing sent is not "works"; what was given up is counted, said why, and sent again."""
    root = await house.token("root", "admin")
    none = await house.client.get("/exports", headers=root)
    assert "No export yet" in none.text
    assert "There is no channel that an export could go by" in none.text
    await _have_channel(house)
    await house.client.post("/exports", data=FORM, headers=root)
    async with house.services.db.transaction() as tx:
        other = Export(export="mes", channel="hook")
        await store.put(tx, other, enabled=True, by=HOSTILE, now_ms=house.services.now_ms())
    assert (await _standing(house, "erp")).state is ExportState.QUIET
    await _tell(house, "erp", 1, "sent")
    assert (await _standing(house, "erp")).state is ExportState.WELL
    house.clock.advance(60)
    await _tell(house, "erp", 2, "dead", f"500 {HOSTILE}")
    await _tell(house, "erp", 3, "waiting")
    await _tell(house, "mes", 4, "dead", "another's")
    found = await _standing(house, "erp")
    assert found.state is ExportState.FAILING
    assert (found.sent_day, found.waiting, found.dead) == (1, 1, 1)
    for there in ("/exports", "/exports/erp", "/exports/mes", "/deliveries?export=erp"):
        text = (await house.client.get(there, headers=root)).text
        assert HOSTILE not in text
        assert "&lt;script&gt;" in text
    olga = await house.token("olga", "operator")
    again = await house.client.post("/exports/erp/replay", headers=olga, follow_redirects=False)
    assert again.headers["location"] == "/exports/erp?done=replayed"
    found = await _standing(house, "erp")
    assert (found.waiting, found.dead, (await _standing(house, "mes")).dead) == (2, 0, 1)
    nothing = await house.client.post("/exports/erp/replay", headers=olga)
    assert nothing.status_code == 422
    assert "Nothing is sent again" in nothing.text
    house.clock.advance(3 * 86_400)
    found = await _standing(house, "erp")
    assert (found.sent_day, found.sent_ms is None) == (0, False)  # days ago is not "never"
    house.clock.advance(5 * 86_400)
    assert (await _standing(house, "erp")).sent_ms is None


async def test_an_export_whose_channel_is_gone_says_so_and_can_be_switched_off(
    house: House,
) -> None:
    """It cannot be switched on before its channel is there; the rest of it stays as it was."""
    root = await house.token("root", "admin")
    await _have_channel(house)
    await house.client.post("/exports", data=FORM, headers=root)
    assert (await house.client.delete("/v1/channels/hook", headers=root)).status_code == 204
    listed = (await house.client.get("/exports", headers=root)).text
    assert "there is no channel hook: nothing is sent" in listed
    await house.client.post("/exports/erp/off", headers=root)
    assert (await _standing(house, "erp")).state is ExportState.OFF
    on = await house.client.post("/exports/erp/on", headers=root)
    assert on.status_code == 422
    assert "There is no channel" in on.text
    await _have_channel(house)
    await house.client.post("/exports/erp/on", headers=root)
    kept = (await house.client.get("/v1/exports/erp", headers=root)).json()
    assert kept["enabled"]
    assert kept["settings"]["labels"] == ["person"]
    entries = (await house.client.get("/v1/audit", headers=root)).json()
    assert [one["action"] for one in entries if one["target"] == "erp"] == ["export.put"] * 3
    assert (await house.client.post("/exports/erp/explode", headers=root)).status_code == 404
    await house.client.post("/exports/erp/remove", headers=root)
    assert (await house.client.get("/exports/erp", headers=root)).status_code == 404


async def test_an_export_that_is_off_may_name_a_channel_that_is_gone_and_one_that_is_on_may_not(
    house: House,
) -> None:
    """By PUT too, changed or new; what kind of channel has its name now does not matter then."""
    root = await house.token("root", "admin")
    on = {"channel": "hook", "labels": ["person"]}
    off = on | {"enabled": False}
    erp = "/v1/exports/erp"
    refused = await house.client.put(erp, headers=root, json=on)
    assert (refused.status_code, "there is no channel" in refused.text) == (400, True)
    assert (await house.client.get(erp, headers=root)).status_code == 404
    await _have_channel(house)
    assert (await house.client.put(erp, headers=root, json=on)).status_code == 200
    await house.client.delete("/v1/channels/hook", headers=root)
    assert (await house.client.put(erp, headers=root, json=on)).status_code == 400
    kept = await house.client.put(erp, headers=root, json=off)
    assert kept.status_code == 200
    assert kept.json()["trouble"] == "there is no channel hook: nothing is sent"
    assert (await _standing(house, "erp")).state is ExportState.OFF
    other = await house.client.put(erp, headers=root, json=off | {"labels": ["cat"]})
    assert other.json()["settings"]["labels"] == ["cat"]
    assert (await house.client.put("/v1/exports/new", headers=root, json=off)).status_code == 200
    assert (await house.client.put(erp, headers=root, json=on)).status_code == 400
    async with house.services.db.transaction() as tx:
        await tx.connection.execute(
            b"INSERT INTO alert_channels (channel, kind, body, changed_by, changed_ms)"
            b" VALUES ('hook', 'mail', '{}', 'test', 0)"
        )
    kept = await house.client.put(erp, headers=root, json=off)
    assert kept.json()["trouble"] == "channel hook carries notices only: nothing is sent"
    assert (await house.client.put(erp, headers=root, json=on)).status_code == 400
