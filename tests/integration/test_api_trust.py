"""Who may speak, through the operator API: devices, claims, tokens, users; by role and scope."""

import pytest

from tests.integration.test_api_operator import House, house
from vedette.central import enrolment

pytestmark = pytest.mark.anyio

__all__ = ["house"]


async def test_only_administrators_judge_devices_and_only_their_own(house: House) -> None:
    """Others are refused; a device out of scope is not there."""
    operator = await house.token("olga", "operator")
    elsewhere = await house.token("ann", "admin", ["south"])
    for path in ("revoke", "release", "re-enrol"):
        url = f"/v1/devices/north-1/{path}"
        assert (await house.client.post(url, json={}, headers=operator)).status_code == 403
        assert (await house.client.post(url, json={}, headers=elsewhere)).status_code == 404
    url = "/v1/devices/north-1/rotate-key"
    assert (await house.client.post(url, headers=elsewhere)).status_code == 404
    assert (await house.client.get("/v1/quarantine", headers=operator)).status_code == 403
    assert (await house.client.get("/v1/quarantine", headers=elsewhere)).json() == []


async def test_a_device_is_revoked_and_its_name_given_to_another_key(house: House) -> None:
    """With a reason in the audit log, and a claim that takes the name over."""
    admin = await house.token("ann", "admin")
    answer = await house.client.post(
        "/v1/devices/north-1/revoke", json={"reason": "stolen"}, headers=admin
    )
    assert answer.json() == {"device": "north-1", "state": "revoked"}
    answer = await house.client.post(
        "/v1/devices/north-1/re-enrol", json={"reason": "stolen"}, headers=admin
    )
    assert answer.status_code == 201
    assert answer.json()["token"].startswith("vc-")
    (claim,) = (await house.client.get("/v1/claims", headers=admin)).json()
    assert (claim["device"], claim["replaces"], claim["made_by"]) == ("north-1", True, "ann")
    gone = await house.client.delete(f"/v1/claims/{claim['claim']}", headers=admin)
    assert gone.status_code == 204
    assert (await house.client.get("/v1/claims", headers=admin)).json() == []
    async with house.services.db.transaction() as tx:
        assert len(await enrolment.list_claims(tx, house.services.now_ms(), used=True)) <= 10


async def test_tokens_are_listed_and_ended_by_their_owner_and_by_an_administrator(
    house: House,
) -> None:
    """Nobody sees or ends another's; an administrator of the whole fleet does. It holds at once."""
    admin, viewer = await house.token("ann", "admin"), await house.token("vic", "viewer")
    mine = (await house.client.get("/v1/tokens", headers=viewer)).json()
    assert [row["username"] for row in mine] == ["vic"]
    everybody = (await house.client.get("/v1/tokens", headers=admin)).json()
    assert {"ann", "vic"} <= {row["username"] for row in everybody}
    other = next(row["token"] for row in everybody if row["username"] == "ann")
    refused = await house.client.delete(f"/v1/tokens/{other}", headers=viewer)
    assert refused.status_code == 404
    ended = await house.client.delete(f"/v1/tokens/{mine[0]['token']}", headers=admin)
    assert ended.status_code == 204
    assert (await house.client.get("/v1/tokens", headers=viewer)).status_code == 401


async def test_a_disabled_user_is_out_at_once_and_the_last_administrator_stays(
    house: House,
) -> None:
    """Sessions and tokens end with the user; a fleet is never left without an administrator."""
    admin, viewer = await house.token("ann", "admin"), await house.token("vic", "viewer")
    assert (await house.client.get("/v1/users", headers=viewer)).status_code == 403
    done = await house.client.post("/v1/users/vic/disable", headers=admin)
    assert done.status_code == 200
    assert (await house.client.get("/v1/fleet", headers=viewer)).status_code == 401
    users = (await house.client.get("/v1/users", headers=admin)).json()
    assert next(row["disabled"] for row in users if row["username"] == "vic")
    assert "password_hash" not in str(users)
    for row in users:
        if row["role"] == "admin" and row["username"] != "ann" and not row["disabled"]:
            await house.client.post(f"/v1/users/{row['username']}/disable", headers=admin)
    last = await house.client.post("/v1/users/ann/disable", headers=admin)
    assert last.status_code == 400
    link = await house.client.post("/v1/users/ann/password-link", headers=admin)
    assert "/setup/" in link.json()["url"]
    nobody = await house.client.post("/v1/users/nobody/password-link", headers=admin)
    assert nobody.status_code == 400


async def test_the_clock_and_dark_sites_can_be_read(house: House) -> None:
    """What happened to central's clock, and when a site was dark as a whole."""
    operator = await house.token("olga", "operator", ["north"])
    seen = (await house.client.get("/v1/clock", headers=operator)).json()
    assert seen == {"held_by_ms": None, "steps": [], "next_cursor": None}
    assert (await house.client.get("/v1/sites/north/darkness", headers=operator)).json() == []
    answer = await house.client.get("/v1/sites/south/darkness", headers=operator)
    assert answer.status_code == 404
