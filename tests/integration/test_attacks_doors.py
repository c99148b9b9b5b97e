"""Attacks on sessions, links, forms and addresses: by whoever has one of them, or none."""

from typing import Any

import pytest

from tests.integration.test_api_operator import House, house
from tests.integration.test_attacks_scopes import routes
from vedette.central import accounts, people

pytestmark = pytest.mark.anyio
__all__ = ["house"]

NAMES = {
    "site": "north", "device": "north-1", "camera": "door", "what": "disable", "action": "revoke",
    "username": "ann", "event": "ev", "group": "g", "view": "v", "name": "till", "claim": "0" * 16,
    "token": "0" * 16, "session": "0" * 16, "folder": "f", "word": "w", "request_id": "rq",
    "keyid": "f" * 32, "model": "m", "digest": f"sha256:{'d' * 64}", "waiver": "e" * 64,
    "rollout": "r", "order": "stop", "disagreement": "dis", "sha256": "a" * 64,
    "channel": "hook", "delivery": "dl", "export": "mes",
    "incident": "in-1", "silence": "si-1",
    "ladder": "guards", "schedule": "nights", "override": "ov-1", "rule": "night-watch",
}  # fmt: skip


FORM = {"content-type": "application/x-www-form-urlencoded"}
BODIES: list[dict[str, Any]] = [
    {"json": {}},
    {"content": b"csrf=%ED%B2%80", "headers": FORM},
    {"data": {"a": "b"}},
]


async def test_no_route_takes_a_change_that_another_page_had_a_browser_send(house: House) -> None:
    """The session's cookie comes along, its CSRF token does not, nor another session's."""
    await house.add_user("ann", "admin")
    assert (await house.sign_in("ann")).status_code == 303
    changes = [name for name in routes() if not name.startswith(("GET ", "HEAD "))]
    assert len(changes) > 60
    for name in changes:
        method, path = name.split(" ")
        there = path.format(**NAMES)
        for headers in ({}, {"x-csrf-token": "x" * 32}):
            for sent in BODIES[:1] if path.startswith("/v1/") else BODIES:
                shown = headers | sent.get("headers", {})
                answer = await house.client.request(
                    method, there, follow_redirects=False, **(sent | {"headers": shown})
                )
                assert answer.status_code in {403, 400, 415}, (name, answer.status_code)
    assert (await house.client.get("/settings/account")).status_code == 200  # still signed in


async def test_a_link_of_a_disabled_user_is_worth_nothing_then_and_later(house: House) -> None:
    """Whoever kept the link from before sets no password, also once the user may come again."""
    admin = await house.token("root", "admin")
    await house.add_user("root", "admin")
    await house.add_user("ann", "operator")
    now_ms = house.services.now_ms()
    async with house.services.db.transaction() as tx:
        token = await accounts.make_setup_token(tx, "ann", now_ms)
    gone = await house.client.post("/v1/users/ann/disable", headers=admin)
    assert gone.status_code == 200
    async with house.services.db.transaction() as tx:  # one that was made at the same moment
        late = await accounts.make_setup_token(tx, "ann", now_ms)
        for one in (token, late):
            assert await accounts.setup_user(tx, one, now_ms) is None
            assert await accounts.use_setup_token(tx, one, "another good one", now_ms) is None
        await people.enable(tx, "ann", actor="t", now_ms=now_ms)
        assert await accounts.use_setup_token(tx, token, "another good one", now_ms) is None


AWAY = (
    "/\u4e2d\u6587", "/events?label=\u2028", "/\u00e9", "/%0d%0aSet-Cookie:x=y", "/a\\b",
    "//evil.example", "/\\evil.example", "/\t/evil.example", "https:evil.example", "/ /evil",
)  # fmt: skip
LABELS = ("a%0d%0ab", "\u4e2d", "..%2f..%2f", "a%00b", "%2fevil.example")


async def test_where_to_go_next_breaks_nothing_and_leads_nowhere_else(house: House) -> None:
    """The redirect stays on this host, whatever characters its address has."""
    await house.add_user("ann", "viewer")
    for there in AWAY:
        answer = await house.sign_in("ann", there=there)
        assert answer.status_code == 303, there
        location = answer.headers["location"]
        assert location.startswith("/")
        assert location[1:2] not in {"/", "\\"}
        assert location.isascii()
        assert location.isprintable()
        house.clock.advance(120)


async def test_a_printed_label_leads_nowhere_else(house: House) -> None:
    """What stands in the address of a label is quoted where it leads to."""
    ann = await house.token("ann", "viewer")
    for site in LABELS:
        for path in (f"/at/{site}/box", f"/at/{site}/box/door", f"/at/north/{site}/{site}"):
            answer = await house.client.get(path, headers=ann, follow_redirects=False)
            assert answer.status_code in {303, 404}
            location = answer.headers.get("location", "/sites/")
            assert location.startswith("/sites/")
            assert location.isascii()
            assert location.isprintable()


CAMERA = "/v1/sites/north/devices/north-1/cameras/door"
TRIANGLE = [[0, 0], [0, 1], [1, 1]]


async def test_no_settings_are_signed_that_no_device_can_read(house: House) -> None:
    """Regions or labels without end are refused in few words; what was there goes on working."""
    olga = await house.token("olga", "operator", sites=["north"])
    good = await house.client.put(f"{CAMERA}/settings", json={"threshold": 0.4}, headers=olga)
    assert good.status_code == 200
    zones = [{"name": f"z{n}", "polygon": TRIANGLE} for n in range(15_000)]
    for wrong in (
        {"regions": [TRIANGLE] * 40_000},
        {"labels": [f"label-{n}" for n in range(60_000)]},
        {"zones": zones},
        {"off_hours": [["22:00", "06:00"]] * 40_000},
        {"zones": [{"name": "z", "polygon": TRIANGLE, "labels": ["x"] * 100_000}]},
        {"labels": ["x" * 900_000]},
        {"zones": [{"name": "x" * 900_000, "polygon": TRIANGLE}]},
    ):
        answer = await house.client.put(f"{CAMERA}/settings", json=wrong, headers=olga)
        assert answer.status_code == 422, (list(wrong), answer.status_code)
        assert len(answer.content) < 20_000
    again = await house.client.put(f"{CAMERA}/settings", json={"threshold": 0.5}, headers=olga)
    assert again.status_code == 200
    assert (await house.client.get(f"{CAMERA}/settings", headers=olga)).json()["threshold"] == 0.5


async def test_settings_of_many_cameras_stay_within_what_a_device_reads(house: House) -> None:
    """Each camera's are good, all together are too many: the last is refused, none is lost."""
    olga = await house.token("olga", "operator", sites=["north"])
    names = [f"camera-{n}" for n in range(64)]
    async with house.services.db.transaction() as tx:
        known = {"devices": ["north-1"] * 64, "cameras": names, "from_ms": [1] * 64}
        await tx.run("cameras_know", **known)
    polygon = [[n / 31.1234567, (n * n) / 961.1234567] for n in range(30)] + [[0.0, 0.9999999]]
    zones = [
        {
            "name": f"{n:02}-{'z' * 58}",
            "polygon": polygon,
            "labels": [f"{m:064}" for m in range(60)],
        }
        for n in range(32)
    ]
    statuses: set[int] = set()
    for name in names[:12]:
        there = f"/v1/sites/north/devices/north-1/cameras/{name}/settings"
        answer = await house.client.put(there, json={"zones": zones}, headers=olga)
        statuses.add(answer.status_code)
        if answer.status_code == 400:
            assert "device" in answer.json()["detail"]
            break
    assert statuses == {200, 400}
    first = await house.client.get(
        f"/v1/sites/north/devices/north-1/cameras/{names[0]}/settings", headers=olga
    )
    assert len(first.json()["zones"]) == 32
