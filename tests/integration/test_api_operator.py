"""The operator API and the doors to it, over the real database: who gets in, and who does not."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import msgspec
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, audit, enrolment
from vedette.central.app import build_services
from vedette.central.console import doors
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.dsse import open_struct, sign_struct
from vedette.trust.keys import SigningKey
from vedette.trust.site_keys import KeySet, make
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    DeviceSettings,
    Signed,
    SitePolicy,
)

pytestmark = pytest.mark.anyio

PASSWORD = "nine clever otters"
CAMERA = "/v1/sites/north/devices/north-1/cameras/door"
CAMERA_PAGE = "/sites/north/cameras/north-1/door"
SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]


class House:
    """A central with two sites, one camera each, and a client for each kind of visitor."""

    def __init__(self, services: Services, client: AsyncTestClient, clock: ManualClock) -> None:
        self.services = services
        self.clock = clock
        self.client = client

    async def add_user(self, name: str, role: str, sites: list[str] | None = None) -> None:
        """Have a user with PASSWORD."""
        async with self.services.db.transaction() as tx:
            await accounts.put_user(tx, name, role, sites, self.services.now_ms())
            await accounts.set_password(tx, name, PASSWORD)

    async def token(self, name: str, role: str, sites: list[str] | None = None) -> dict[str, str]:
        """Return the headers of a program with this role and scope."""
        await self.add_user(name, role, sites)
        async with self.services.db.transaction() as tx:
            token, _ = await accounts.open_session(
                tx, name, self.services.now_ms(), life_s=3600, kind="api"
            )
        return {"Authorization": f"Bearer {token}"}

    async def sign_in(
        self, name: str, password: str = PASSWORD, there: str = "/"
    ) -> httpx.Response:
        """Go through the door as a browser does."""
        page = await self.client.get("/sign-in")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert csrf
        form = {"csrf": csrf[1], "username": name, "password": password, "next": there}
        return await self.client.post("/sign-in", data=form, follow_redirects=False)

    async def csrf(self) -> str:
        """Return the CSRF token of the signed-in browser."""
        page = await self.client.get("/settings/account")
        found = re.search(r'<meta name="csrf" content="([^"]+)"', page.text)
        assert found
        return found[1]

    async def actions(self) -> list[tuple[str, str]]:
        """Return who did what, newest first."""
        return [(e.actor, e.action) for e in await audit.page(self.services.db)]


@pytest.fixture
async def house(conninfo: str) -> AsyncIterator[House]:
    """A central in this process, over a fresh database."""
    clock = ManualClock(datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    async with services.db.transaction() as tx:
        now_ms = services.now_ms()
        for site in ("north", "south"):
            await enrolment.add_site(tx, site, actor="test", now_ms=now_ms)
            device = f"{site}-1"
            await tx.run(
                "device_add", device=device, site=site, public_key=f"key of {site}",
                hardware="", version="", now_ms=now_ms,
            )  # fmt: skip
            known = {"devices": [device], "cameras": ["door"], "from_ms": [now_ms]}
            await tx.run("cameras_know", **known)
    async with AsyncTestClient(build_web(services), base_url="http://127.0.0.1:8080") as client:
        yield House(services, client, clock)
    await services.db.close()


async def test_nobody_gets_anything_without_a_session(house: House) -> None:
    """Programs are told so, people are led to the door; only door and static files are open.

    Links that carry a signature of their own open nothing without it.
    """
    open_paths = {"/sign-in", "/sign-in/oidc", "/sign-in/oidc/callback", "/setup",
                  "/setup/{token:str}", "/static/{version:str}/{name:path}"}  # fmt: skip
    app = house.client.app
    for route in app.routes:
        path = route.path
        if path in open_paths or path.startswith("/schema"):
            continue
        there = re.sub(r"\{[^}]*\}", "x", path)
        for method in sorted(set(getattr(route, "methods", [])) - {"OPTIONS", "HEAD"}):
            answer = await house.client.request(method, there, json={}, follow_redirects=False)
            if there.startswith(("/take/", "/links/")):
                assert answer.status_code in {400, 403}, (method, there)
            elif there.startswith("/v1/") or there in {"/places", "/metrics"}:
                assert answer.status_code == 401, (method, there)
                assert answer.headers["content-type"] == "application/problem+json"
            else:
                assert answer.status_code == 303, (method, there)
                assert answer.headers["location"].startswith("/sign-in"), (method, there)


async def test_the_right_password_opens_and_the_wrong_one_does_not(house: House) -> None:
    """A wrong name and a wrong password are the same answer."""
    await house.add_user("ada", "viewer")
    wrong = await house.sign_in("ada", "not the password")
    nobody = await house.sign_in("nobody", "not the password")
    assert wrong.status_code == nobody.status_code == 401
    assert doors._WRONG in wrong.text
    assert doors._WRONG in nobody.text
    right = await house.sign_in("ada", there="//evil.example/x")
    assert right.status_code == 303
    assert right.headers["location"] == "/"
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert ("nobody", "session.refuse") in await house.actions()


async def test_guessing_is_slowed_down_and_the_right_password_waits_too(house: House) -> None:
    """After ten tries a minute passes for each further one; time is the only way out."""
    await house.add_user("ada", "viewer")
    answers = [(await house.sign_in("ada", f"guess number {n}")).status_code for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert (await house.sign_in("ada")).status_code == 429
    house.clock.advance(61)
    assert (await house.sign_in("ada")).status_code == 303


async def test_a_sign_in_form_from_another_site_is_refused(house: House) -> None:
    """Without the door's cookie the form is not ours."""
    await house.add_user("ada", "viewer")
    form = {"csrf": "guessed", "username": "ada", "password": PASSWORD}
    answer = await house.client.post("/sign-in", data=form, follow_redirects=False)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_a_change_without_the_csrf_token_is_refused(house: House) -> None:
    """A cookie alone changes nothing; with the session's token it does."""
    await house.add_user("ada", "operator")
    await house.sign_in("ada")
    assert (await house.client.post(f"{CAMERA}/thumbnail")).status_code == 403
    wrong = await house.client.post(f"{CAMERA_PAGE}/thumbnail", data={"csrf": "wrong"})
    assert wrong.status_code == 403
    headers = {"X-CSRF-Token": await house.csrf()}
    assert (await house.client.post(f"{CAMERA}/thumbnail", headers=headers)).status_code == 202


async def test_a_session_that_ended_is_over_for_whoever_copied_it(house: House) -> None:
    """Signing out ends it in the database, not only in the browser."""
    await house.add_user("ada", "viewer")
    cookie = (await house.sign_in("ada")).cookies["vedette"]
    form = {"csrf": await house.csrf()}
    await house.client.post("/sign-out", data=form)
    answer = await house.client.get("/v1/fleet", headers={"Cookie": f"vedette={cookie}"})
    assert answer.status_code == 401


async def test_an_api_token_is_no_cookie_and_a_cookie_is_no_api_token(house: House) -> None:
    """Each only in its own place."""
    headers = await house.token("ada", "viewer")
    token = headers["Authorization"].removeprefix("Bearer ")
    assert (await house.client.get("/v1/fleet", headers=headers)).status_code == 200
    as_cookie = await house.client.get("/v1/fleet", headers={"Cookie": f"vedette={token}"})
    assert as_cookie.status_code == 401


async def test_an_api_token_does_not_prolong_itself(house: House) -> None:
    """Whoever stole one cannot make another from it, nor set a password with it."""
    headers = await house.token("ada", "admin")
    made = await house.client.post(
        "/settings/tokens", headers=headers, data={"label": "x", "days": "9"}
    )
    assert made.status_code == 403
    form = {"present": PASSWORD, "password": PASSWORD * 2}
    changed = await house.client.post("/settings/account/password", headers=headers, data=form)
    assert changed.status_code == 403


async def test_the_audit_log_is_not_for_some_sites(house: House) -> None:
    """An administrator of one site does not read what was done at others."""
    headers = await house.token("nora", "admin", ["north"])
    assert (await house.client.get("/v1/audit", headers=headers)).status_code == 403
    page = await house.client.get("/settings/account", headers=headers)
    assert page.status_code == 200
    assert "Audit log" not in page.text


async def test_roles_are_asked_for(house: House) -> None:
    """A viewer looks, an operator asks and sets, only an administrator lets devices in."""
    viewer = await house.token("vic", "viewer")
    operator = await house.token("olga", "operator")
    admin = await house.token("ada", "admin")
    claim = {"site": "north", "device": "north-2"}
    for headers, thumbnail, settings, claims, log in (
        (viewer, 403, 403, 403, 403),
        (operator, 202, 200, 403, 403),
        (admin, 202, 200, 201, 200),
    ):
        ask = house.client
        assert (await ask.get("/v1/fleet", headers=headers)).status_code == 200
        assert (await ask.post(f"{CAMERA}/thumbnail", headers=headers)).status_code == thumbnail
        put = await ask.put(f"{CAMERA}/settings", json={"threshold": 0.4}, headers=headers)
        assert put.status_code == settings
        assert (await ask.post("/v1/claims", json=claim, headers=headers)).status_code == claims
        assert (await ask.get("/v1/audit", headers=headers)).status_code == log


async def test_another_site_is_not_there(house: House) -> None:
    """Somebody bound to the south sees no north: not in lists, not by name, not as a stream."""
    south = await house.token("sam", "admin", ["south"])
    ask = house.client
    seen = (await ask.get("/v1/fleet", headers=south)).json()
    assert [site["site"] for site in seen["sites"]] == ["south"]
    assert [s["site"] for s in (await ask.get("/v1/sites", headers=south)).json()] == ["south"]
    for path in (CAMERA, f"{CAMERA}/coverage", "/v1/sites/north", f"{CAMERA}/thumbnail"):
        assert (await ask.get(path, headers=south)).status_code == 404, path
    moved = CAMERA.replace("/sites/north/", "/sites/south/")
    assert (await ask.get(moved, headers=south)).status_code == 404
    assert (await ask.post("/v1/claims", json={"site": "north"}, headers=south)).status_code == 404
    put = await ask.put(f"{moved}/settings", json={"threshold": 0.4}, headers=south)
    assert put.status_code == 404
    places = await ask.get("/places", headers=south)
    assert "north" not in places.text


async def test_settings_are_signed_by_central_and_count_up(house: House) -> None:
    """What the device will get is signed by the online key and keeps the other cameras."""
    headers = await house.token("olga", "operator")
    body = {"zones": [{"name": "entrance", "polygon": SQUARE}], "threshold": 0.5}
    first = await house.client.put(f"{CAMERA}/settings", json=body, headers=headers)
    assert first.json() == {"version": 1}
    again = await house.client.put(f"{CAMERA}/settings", json=body, headers=headers)
    assert again.json() == {"version": 1}, "the same settings are not signed again"
    stale = await house.client.put(
        f"{CAMERA}/settings", params={"if_version": 0}, json={"threshold": 0.6}, headers=headers
    )
    assert stale.status_code == 409
    async with house.services.db.transaction() as tx:
        from vedette.central.desired import desired

        state = await desired(tx, "north-1", house.services.now_ms())
    assert isinstance(state.settings, Signed)
    key = house.services.online_key.public
    opened = open_struct(state.settings, DeviceSettings, [key], payload_type=SETTINGS_TYPE)
    assert opened.version == 1
    assert opened.cameras[0].threshold == 0.5
    read = (await house.client.get(f"{CAMERA}/settings", headers=headers)).json()
    assert read["zones"][0]["name"] == "entrance"
    view = (await house.client.get(CAMERA, headers=headers)).json()
    assert view["zones"][0]["name"] == "entrance"
    assert ("olga", "settings.change") in await house.actions()


async def test_settings_that_cannot_be_are_refused_in_words(house: House) -> None:
    """Each complaint is in the answer, as RFC 9457 wants it; nothing was signed."""
    headers = await house.token("olga", "operator")
    body = {"zones": [{"name": "Bad Name", "polygon": [[0, 0], [2, 0]]}], "threshold": 7}
    answer = await house.client.put(f"{CAMERA}/settings", json=body, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == 422
    assert len(said["errors"]) == 3
    unknown = await house.client.put(
        f"{CAMERA}/settings", json={"source": "rtsp://evil"}, headers=headers
    )
    assert unknown.status_code == 400, "central cannot say where a camera is"
    read = await house.client.get(f"{CAMERA}/settings", headers=headers)
    assert read.json()["threshold"] is None


async def test_a_policy_is_stored_only_where_the_site_signed_it(house: House) -> None:
    """An administrator's rights are not a site's key."""
    site_key, other = SigningKey.generate(), SigningKey.generate()
    headers = await house.token("ada", "admin")
    site = {"site": "west", "site_keys": [site_key.public.text]}
    assert (await house.client.post("/v1/sites", json=site, headers=headers)).status_code == 201
    policy = SitePolicy(site="west", version=1, issued_ms=1)
    forged = sign_struct(policy, POLICY_TYPE, [other])
    signed = sign_struct(policy, POLICY_TYPE, [site_key])

    for document, status in ((forged, 403), (signed, 200), (signed, 403)):
        body = msgspec.to_builtins(document)
        answer = await house.client.put("/v1/sites/west/policy", json=body, headers=headers)
        assert answer.status_code == status, answer.text


async def test_a_sites_keys_are_replaced_only_by_what_they_signed(house: House) -> None:
    """An administrator of that site hands the chain in; nobody else, and nothing forged."""
    old, new = SigningKey.generate(), SigningKey.generate()
    ada, west = await house.token("ada", "admin"), "/v1/sites/west/keys"
    site = {"site": "west", "site_keys": [old.public.text]}
    assert (await house.client.post("/v1/sites", json=site, headers=ada)).status_code == 201
    wanted = KeySet.of([new.public.text], 1, version=2)
    forged = {"documents": [msgspec.to_builtins(make("west", wanted, [new], now_ms=1))]}
    signed = {"documents": [msgspec.to_builtins(make("west", wanted, [old, new], now_ms=1))]}
    north = await house.token("nora", "admin", ["north"])
    olly = await house.token("olly", "operator")
    for headers, body, status in (
        (north, signed, 404),
        (olly, signed, 403),
        (ada, forged, 403),
        (ada, {"documents": "x"}, 400),
        (ada, signed, 200),
        (ada, signed, 200),
    ):
        answer = await house.client.put(west, json=body, headers=headers)
        assert answer.status_code == status, answer.text
    assert (await house.client.get(west, headers=north)).status_code == 404
    found = (await house.client.get(west, headers=olly)).json()
    assert (found["version"], found["keys"]) == (2, [new.public.text])
    assert found["documents"] == signed["documents"]
    assert (await house.actions())[0] == ("ada", "site.keys")


async def test_no_data_is_null_and_stands_beside_its_coverage(house: House) -> None:
    """A camera that never reported has no fraction, no counts and no rate: not zeros."""
    headers = await house.token("vic", "viewer")
    view = (await house.client.get(CAMERA, headers=headers)).json()
    assert view["row"]["coverage"]["fraction"] is None
    assert view["row"]["rate_fps"] is None
    assert all(point["value"] is None for point in view["rate"])
    ledger = (await house.client.get(f"{CAMERA}/coverage", headers=headers)).json()
    assert ledger["coverage"]["observed_s"] == 0


@pytest.mark.parametrize(
    "query",
    ["from_ms=5&to_ms=4", "from_ms=-1", "from_ms=0&to_ms=99999999999999", "from_ms=x"],
)
async def test_windows_that_make_no_sense_are_refused(house: House, query: str) -> None:
    """Backwards, before time, endless or not a number."""
    headers = await house.token("vic", "viewer")
    answer = await house.client.get(f"{CAMERA}?{query}", headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?cursor=%00%00&kind=%00",
        "/v1/events?cursor=" + "9" * 400,
        "/v1/events/%00",
        "/v1/sites/%00/devices/%00/cameras/%00",
        "/v1/sites/..%2f..%2f/devices/x/cameras/y",
        "/v1/no-such-thing",
        "/events/%00?x=1",
        "/sites/north/cameras/north-1/%00",
        "/events?from=not-a-date&to=%00&site=%27%3B--",
        "/?q=%00%ff&state=nonsense",
        "/static/x/%2e%2e/%2e%2e/pages.py",
        "/setup/%00",
    ],
)
async def test_strange_questions_get_calm_answers(house: House, path: str) -> None:
    """Never a 500, whatever stands in a path or a query."""
    headers = await house.token("ada", "admin")
    answer = await house.client.get(path, headers=headers)
    assert answer.status_code in {200, 400, 403, 404}, answer.text


async def test_a_date_that_cannot_be_is_refused_and_not_left_out(house: House) -> None:
    """Neither the list of events nor its file shows all where a mistyped time was asked for."""
    headers = await house.token("ada", "admin")
    for path in ("/events", "/events.csv"):
        answer = await house.client.get(f"{path}?from=2026-99-99T00:00", headers=headers)
        assert answer.status_code == 400
        assert "2026-99-99T00:00" in answer.text


async def test_the_files_that_the_list_of_events_offers_are_there(house: House) -> None:
    """What the page links as CSV and JSON answers, as a file of that name."""
    headers = await house.token("ada", "admin")
    for kind in ("csv", "json"):
        answer = await house.client.get(f"/events.{kind}?site=north", headers=headers)
        assert answer.status_code == 200
        assert f"vedette-events.{kind}" in answer.headers["content-disposition"]


async def test_every_answer_carries_the_policy(house: House) -> None:
    """Pages, failures and JSON: no inline script, no frame, no sniffing, nothing kept."""
    headers = await house.token("ada", "admin")
    for path in ("/", "/settings/account", "/no-such-page", "/v1/fleet", "/v1/nothing", "/sign-in"):
        answer = await house.client.get(path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "unsafe-inline" not in policy, path
        assert "default-src 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store", path


async def test_what_breaks_inside_is_not_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer names the log line, not the fault."""
    headers = await house.token("ada", "admin")

    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail of our inside")

    monkeypatch.setattr("vedette.central.fleet.fleet_view", broken)
    monkeypatch.setattr("vedette.central.overview.skeleton", broken)
    for path in ("/v1/fleet", "/"):
        answer = await house.client.get(path, headers=headers)
        assert answer.status_code == 500
        assert "secret detail" not in answer.text
        assert "err-" in answer.text


async def test_looking_at_a_picture_is_recorded_before_it_is_sent(house: House) -> None:
    """Who looked at which camera; a camera without a picture has none to look at."""
    headers = await house.token("olga", "operator")
    ask = house.client
    assert (await ask.get(f"{CAMERA}/thumbnail", headers=headers)).status_code == 404
    request = (await ask.post(f"{CAMERA}/thumbnail", headers=headers)).json()["request"]
    from vedette.central.desired import answer_request

    picture = b"\xff\xd8\xff" + b"x" * 50
    services = house.services
    await answer_request(
        services.db, services.bulletin, "north-1", request, picture, now_ms=services.now_ms()
    )
    seen = await ask.get(f"{CAMERA}/thumbnail", headers=headers)
    assert seen.content == picture
    assert seen.headers["content-type"] == "image/jpeg"
    assert (await house.actions())[0] == ("olga", "thumbnail.look")


async def test_setup_works_once_and_only_with_a_good_password(house: House) -> None:
    """The first administrator's link: a short password does not burn it, using it does."""
    services = house.services
    async with services.db.transaction() as tx:
        await accounts.put_user(tx, "admin", "admin", None, services.now_ms())
        token = await accounts.make_setup_token(tx, "admin", services.now_ms())
    assert (await house.client.get("/sign-in", follow_redirects=False)).headers[
        "location"
    ] == "/setup"

    async def set_to(password: str, again: str) -> httpx.Response:
        page = await house.client.get(f"/setup/{token}")
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
        form = {
            "csrf": csrf[1] if csrf else "", "token": token, "password": password, "again": again
        }  # fmt: skip
        return await house.client.post("/setup", data=form, follow_redirects=False)

    assert (await set_to("short", "short")).status_code == 422
    assert (await set_to(PASSWORD, "different, but long")).status_code == 422
    assert (await set_to(PASSWORD, PASSWORD)).status_code == 303
    assert (await set_to(PASSWORD, PASSWORD)).status_code == 403


async def test_a_new_password_ends_every_browser_session(house: House) -> None:
    """Whoever was signed in elsewhere is out."""
    await house.add_user("ada", "viewer")
    old = (await house.sign_in("ada")).cookies["vedette"]
    form = {"csrf": await house.csrf(), "present": PASSWORD, "password": "another good password"}
    done = await house.client.post("/settings/account/password", data=form, follow_redirects=False)
    assert done.headers["location"] == "/sign-in"
    stale = await house.client.get("/v1/fleet", headers={"Cookie": f"vedette={old}"})
    assert stale.status_code == 401
    assert (await house.sign_in("ada", "another good password")).status_code == 303


async def test_the_description_names_every_route_and_how_to_get_in(house: House) -> None:
    """OpenAPI as JSON, without any page that loads script from elsewhere."""
    described = (await house.client.get("/schema/openapi.json")).json()
    paths = {r.path for r in house.client.app.routes if r.path.startswith("/v1/")}
    named = {re.sub(r":\w+\}", "}", path) for path in paths}
    assert set(described["paths"]) == named
    for path, methods in described["paths"].items():
        for method, said in methods.items():
            assert said["security"], (path, method)
            assert said["summary"], (path, method)
    assert (await house.client.get("/schema/swagger")).status_code == 404
