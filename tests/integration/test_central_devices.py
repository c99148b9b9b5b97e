"""Enrolment, tokens, time, desired state, liveness: what devices and operators see of central."""

import asyncio

import msgspec
import pytest

from vedette.central import (
    accounts,
    audit,
    desired,
    enrolment,
    events,
    jobs,
    liveness,
    reference,
    rollups,
)
from vedette.central import fleet as looking
from vedette.errors import BadSignature, ConflictError, NotAllowed, RollbackAttempt
from vedette.trust.dsse import open_struct, sign_struct
from vedette.trust.keys import SigningKey, prove_possession
from vedette.wire import messages
from vedette.wire.enrol import EnrolRequest, TimeStatement
from vedette.wire.messages import Aggregate, Cause, Frames, HealthReport, Span
from vedette.wire.signed import (
    POLICY_TYPE,
    SETTINGS_TYPE,
    TIME_TYPE,
    CameraSettings,
    DeviceSettings,
    Signed,
    SitePolicy,
    Zone,
)

pytestmark = pytest.mark.anyio

MINUTE = 60_000


def observed(start_ms: int, camera: str = "door") -> Aggregate:
    """One observed minute."""
    end_ms = start_ms + MINUTE
    return Aggregate(
        camera=camera,
        start_ms=start_ms,
        end_ms=end_ms,
        spans=[Span(start_ms=start_ms, end_ms=end_ms, rate_fps=5.0)],
        frames=Frames(captured=300, analysed=300),
    )


def minute(now_ms: int) -> int:
    """The start of the minute."""
    return now_ms - now_ms % MINUTE


# ------------------------------------------------------------------------------- enrolment


async def test_a_claim_token_works_once(fleet) -> None:
    """The second device with the same token is refused; the first may ask again."""
    token = await fleet.claim()
    first, second = fleet.stranger(), fleet.stranger()
    assert (await first.enrol(token)).status_code == 200
    assert (await second.enrol(token)).status_code == 403
    again = await first.enrol(token)  # its answer was lost on the way
    assert again.status_code == 200
    assert again.json()["device"] == first.device
    assert await fleet.rows("SELECT count(*) FROM devices") == [(1,)]


async def test_an_expired_or_invented_claim_token_is_refused(fleet) -> None:
    """Claim tokens live for a day."""
    token = await fleet.claim()
    assert (await fleet.stranger().enrol("vc-invented")).status_code == 403
    fleet.clock.advance(enrolment.CLAIM_S + 1)
    assert (await fleet.stranger().enrol(token)).status_code == 403


async def test_nobody_enrols_somebody_elses_key(fleet) -> None:
    """Without the private half there is no proof of possession; the token stays unused."""
    token = await fleet.claim()
    mine, theirs = SigningKey.generate(), SigningKey.generate()
    request = EnrolRequest(
        claim_token=token,
        public_key=theirs.public.text,
        proof=prove_possession(mine, token),
    )
    answer = await fleet.http.post("/v1/enrol", content=msgspec.json.encode(request))
    assert answer.status_code == 401
    assert (await fleet.stranger().enrol(token)).status_code == 200


async def test_a_name_is_given_once(fleet) -> None:
    """A second box cannot take over an enrolled one's name, also with a claim from before it."""
    earlier = await fleet.claim(device="box-1")
    first = await fleet.device(name="box-1")
    assert first.device == "box-1"
    assert (await fleet.stranger().enrol(earlier)).status_code == 409
    with pytest.raises(ConflictError, match="box-1 is taken"):
        await fleet.claim(device="box-1")


async def test_a_nonce_works_once_and_not_for_long(fleet) -> None:
    """Replaying an assertion gives no second token."""
    device = await fleet.device()
    nonce = (await fleet.http.post("/v1/nonce")).json()["nonce"]
    assert (await device.sign_in(nonce)).status_code == 200
    assert (await device.sign_in(nonce)).status_code == 401
    late = (await fleet.http.post("/v1/nonce")).json()["nonce"]
    fleet.clock.advance(enrolment.NONCE_S + 1)
    assert (await device.sign_in(late)).status_code == 401
    assert (await device.sign_in("invented")).status_code == 401


async def test_a_token_for_another_device_is_not_given(fleet) -> None:
    """The name in an assertion only chooses the key that must have signed it."""
    device, other = await fleet.device(), await fleet.device()
    device.device = other.device
    assert (await device.sign_in()).status_code == 401


@pytest.mark.parametrize("assertion", ["", "a.b.c", "...", "\u00e9.x.y", "x" * 10_000])
async def test_a_broken_assertion_is_refused(fleet, assertion: str) -> None:
    """Nothing that is sent as an assertion is an error of ours."""
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion,
    }
    assert (await fleet.http.post("/v1/token", data=form)).status_code in {400, 401, 413}


async def test_guessing_claim_tokens_is_slow(fleet) -> None:
    """One address may try a few times a minute."""
    codes = [(await fleet.stranger().enrol("vc-guess")).status_code for _ in range(25)]
    assert codes.count(429) >= 4
    fleet.clock.advance(60)
    assert (await fleet.stranger().enrol("vc-guess")).status_code == 403


async def test_time_is_signed_over_the_devices_nonce(fleet) -> None:
    """A box that wakes in 1970 learns the time from the key that it pinned."""
    answer = await fleet.http.post("/v1/time", json={"nonce": "n" * 22})
    signed = msgspec.json.decode(answer.content, type=Signed)
    said = open_struct(
        signed, TimeStatement, [fleet.services.online_key.public], payload_type=TIME_TYPE
    )
    assert said == TimeStatement(nonce="n" * 22, time_ms=fleet.now_ms)
    assert (await fleet.http.post("/v1/time", json={"nonce": "short"})).status_code == 400


# ---------------------------------------------------------------------------- desired state


async def _change(fleet, device: str, threshold: float | None = None) -> None:
    zone = Zone(name="till", polygon=[(0, 0), (1, 0), (1, 1)])
    await desired.change_camera(
        fleet.db,
        fleet.services.bulletin,
        fleet.services.online_key,
        device,
        CameraSettings(camera="door", zones=[zone], threshold=threshold),
        actor="alice",
        now_ms=fleet.now_ms,
    )


async def test_a_restored_central_signs_versions_that_the_device_has_not_seen(fleet) -> None:
    """The version passes what the device reports; nonsense in a report pushes it nowhere."""
    device = await fleet.device()
    for said, wanted, threshold in (("41", 42, 0.4), ("9" * 30, 43, 0.5), ("-5", 44, 0.6)):
        health = HealthReport(
            at_ms=device.now_ms, period_s=30, version="0.1.0", config_version=said
        )
        await device.up(device.envelope("health.v1", health))
        await _change(fleet, device.device, threshold)
        found = await desired.settings_of(fleet.db, device.device)
        assert found is not None
        assert found.version == wanted


async def test_changed_settings_reach_the_device_signed(fleet) -> None:
    """The tag in the next answer changes; the document is signed by the online key."""
    device = await fleet.device()
    before = (await device.up()).desired_etag
    await _change(fleet, device.device)
    after = (await device.up()).desired_etag
    assert after != before
    headers = {"Authorization": f"Bearer {device.token}"}
    answer = await fleet.http.get("/v1/desired", headers=headers)
    signed = msgspec.convert(answer.json()["settings"], Signed)
    settings = open_struct(
        signed, DeviceSettings, [fleet.services.online_key.public], payload_type=SETTINGS_TYPE
    )
    assert (settings.device, settings.version) == (device.device, 1)
    headers["If-None-Match"] = answer.headers["etag"]
    assert (await fleet.http.get("/v1/desired", headers=headers)).status_code == 304


async def test_a_waiting_device_hears_of_a_change_at_once(fleet) -> None:
    """The long poll ends when something changes, not when its time is over."""
    device = await fleet.device()
    headers = {
        "Authorization": f"Bearer {device.token}",
        "If-None-Match": (await device.up()).desired_etag,
    }
    poll = asyncio.create_task(fleet.http.get("/v1/desired?wait=50", headers=headers))
    async with asyncio.timeout(20):
        while not fleet.services.bulletin.readers:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0)
        await _change(fleet, device.device)
        assert (await poll).status_code == 200


async def test_only_the_site_signs_its_policy(fleet) -> None:
    """Central's own key, too few keys, another site, and an older version are all refused."""
    keys = [SigningKey.generate() for _ in range(2)]
    async with fleet.db.transaction() as tx:
        await enrolment.add_site(
            tx,
            "vault",
            site_keys=[key.public.text for key in keys],
            site_threshold=2,
            actor="test",
            now_ms=fleet.now_ms,
        )
    device = await fleet.device("vault")

    async def put(policy: SitePolicy, signers: list[SigningKey]) -> None:
        signed = sign_struct(policy, POLICY_TYPE, signers)
        await desired.put_policy(
            fleet.db, fleet.services.bulletin, "vault", signed, actor="x", now_ms=fleet.now_ms
        )

    policy = SitePolicy(site="vault", version=2, issued_ms=1)
    with pytest.raises(BadSignature):
        await put(policy, [fleet.services.online_key])
    with pytest.raises(BadSignature):
        await put(policy, keys[:1])
    with pytest.raises(NotAllowed):
        await put(SitePolicy(site="shop", version=2, issued_ms=1), keys)
    await put(policy, keys)
    with pytest.raises(RollbackAttempt):
        await put(SitePolicy(site="vault", version=1, issued_ms=1), keys)
    answer = await fleet.http.get(
        "/v1/desired", headers={"Authorization": f"Bearer {device.token}"}
    )
    assert answer.json()["site_policy"]["payload_type"] == POLICY_TYPE


async def test_a_thumbnail_is_taken_only_where_one_was_asked_for(fleet) -> None:
    """Unasked, twice, by another device, or not a JPEG: nothing is stored."""
    device, other = await fleet.device(), await fleet.device()
    await device.up(device.envelope("aggregate.v1", observed(minute(device.now_ms))))
    bulletin, jpeg = fleet.services.bulletin, b"\xff\xd8\xff\xe0 picture"

    async def ask() -> str:
        return await desired.ask_thumbnail(
            fleet.db, bulletin, device.device, "door", actor="alice", now_ms=fleet.now_ms
        )

    async def send(who, request: str, body: bytes = jpeg) -> int:
        headers = {"Authorization": f"Bearer {who.token}"}
        url = f"/v1/thumbnail/{request}"
        return (await fleet.http.post(url, content=body, headers=headers)).status_code

    assert await send(device, "rq-invented") == 403
    request = await ask()
    assert await ask() == request
    headers = {"Authorization": f"Bearer {device.token}"}
    state = (await fleet.http.get("/v1/desired", headers=headers)).json()
    assert [r["camera"] for r in state["requests"]] == ["door"]
    assert await send(other, request) == 403
    assert await send(device, request, b"GIF89a") == 403
    assert await send(device, request, jpeg * 20_000) == 413
    assert await send(device, request) == 204
    assert await send(device, request) == 403
    found = await desired.newest_thumbnail(fleet.db, device.device, "door")
    assert found is not None
    assert (found.answer, found.asked_by) == (jpeg, "alice")


async def test_how_a_camera_shall_look_is_kept_once_and_outlives_other_pictures(fleet) -> None:
    """Asked of the device or kept from the newest picture; what is newer takes its place."""
    device = await fleet.device()
    await device.up(device.envelope("aggregate.v1", observed(minute(device.now_ms))))
    of = (fleet.db, fleet.services.bulletin, device.device, "door")
    by = {"actor": "alice", "now_ms": fleet.now_ms}
    with pytest.raises(NotAllowed):
        await reference.keep(*of, **by)

    async def answered(kind: str, jpeg: bytes) -> None:
        request = await desired.ask_thumbnail(*of, **by, kind=kind)
        headers = {"Authorization": f"Bearer {device.token}"}
        sent = await fleet.http.post(f"/v1/thumbnail/{request}", content=jpeg, headers=headers)
        assert sent.status_code == 204

    await answered("thumbnail", b"\xff\xd8\xff now")
    await answered("reference", b"\xff\xd8\xff pinned")
    found = await reference.newest(fleet.db, device.device, "door")
    assert (found.kind, found.answer) == ("reference", b"\xff\xd8\xff pinned")
    shown = await desired.newest_thumbnail(fleet.db, device.device, "door")
    assert shown.answer == b"\xff\xd8\xff now", "a pinned scene is not how it looks now"
    fleet.clock.advance(60)
    await reference.keep(*of, actor="bob", now_ms=fleet.now_ms)
    found = await reference.newest(fleet.db, device.device, "door")
    assert (found.kind, found.asked_by, found.answer) == ("kept", "bob", b"\xff\xd8\xff now")
    async with fleet.db.transaction() as tx:
        later_ms = fleet.now_ms + 86_400_000
        await tx.run("thumbnails_expire", before_ms=later_ms)
        await tx.run("diagnostics_expire", before_ms=later_ms)
    assert await fleet.rows("SELECT kind FROM requests") == [("kept",)]


# --------------------------------------------------------------------------------- liveness


async def _keep_central_alive(fleet, seconds: int) -> None:
    """Let time pass as it does: central beats all the while."""
    for _ in range(seconds // 15):
        fleet.clock.advance(15)
        await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms)


async def test_a_silent_device_is_dark_in_time_and_dated_when_it_happened(fleet) -> None:
    """Known within 120 s of the last contact, dated at the last contact."""
    device = await fleet.device()
    await device.up(device.envelope("aggregate.v1", observed(minute(device.now_ms))))
    contact = fleet.now_ms
    await _keep_central_alive(fleet, 90)
    assert await fleet.rows("SELECT state FROM devices") == [("ok",)]
    await _keep_central_alive(fleet, 30)
    assert fleet.now_ms == contact + 120_000
    assert await fleet.rows("SELECT state, since_ms FROM devices") == [("dark", contact)]
    view = await looking.fleet_view(fleet.db, fleet.now_ms, None)
    assert view.sites[0].state == "dark"
    assert view.sites[0].devices[0].cameras[0].state == "dark"


async def test_backfill_never_makes_a_device_look_alive_in_the_past(fleet) -> None:
    """A cut network: DEVICE_DARK, then PENDING_BACKFILL, then observed; one transition each."""
    device = await fleet.device()
    start = minute(device.now_ms)
    await device.up(device.envelope("aggregate.v1", observed(start - MINUTE)))
    contact = fleet.now_ms
    backlog = []
    for n in range(10):
        backlog.append(device.envelope("aggregate.v1", observed(start + n * MINUTE)))
        await _keep_central_alive(fleet, 60)

    async def causes() -> list[str | None]:
        view = await looking.camera_view(
            fleet.db, device.device, "door", start, start + 10 * MINUTE, fleet.now_ms, None
        )
        assert view is not None
        return [segment.cause for segment in view.row.strip]

    assert await causes() == [Cause.DEVICE_DARK]
    fleet.clock.advance(1)
    await device.up()
    assert (await causes())[0] == Cause.PENDING_BACKFILL
    assert Cause.DEVICE_DARK not in await causes()
    await device.up(*backlog)
    assert await causes() == [None]
    rows = await fleet.rows("SELECT at_ms, state FROM device_transitions ORDER BY noticed_ms")
    assert rows == [(contact, "ok"), (contact, "dark"), (fleet.now_ms, "ok")]


async def test_centrals_own_absence_is_its_own_and_nobody_is_called_dark_for_it(fleet) -> None:
    """After a stop of ten minutes devices get their full time, and the hole says CENTRAL_DOWN."""
    device = await fleet.device()
    start = minute(device.now_ms)
    await device.up(device.envelope("aggregate.v1", observed(start - MINUTE)))
    gone = fleet.now_ms
    fleet.clock.advance(600)
    await liveness.tick(fleet.db, fleet.services.bulletin, fleet.now_ms)
    assert await fleet.rows("SELECT state FROM devices") == [("ok",)]
    downs = await fleet.rows("SELECT start_ms, end_ms FROM central_downs")
    assert downs == [(gone, fleet.now_ms)]
    view = await looking.camera_view(
        fleet.db, device.device, "door", start + MINUTE, start + 2 * MINUTE, fleet.now_ms, None
    )
    assert view is not None
    assert [s.cause for s in view.row.strip] == [Cause.CENTRAL_DOWN]
    await device.up(device.envelope("aggregate.v1", observed(start + MINUTE)))
    view = await looking.camera_view(
        fleet.db, device.device, "door", start + MINUTE, start + 2 * MINUTE, fleet.now_ms, None
    )
    assert view is not None
    assert [s.cause for s in view.row.strip] == [None]


async def test_a_cut_camera_is_seen_before_its_minute_is_reported(fleet) -> None:
    """The state change travels at once; the strip shows the gap up to now."""
    device = await fleet.device()
    start = minute(device.now_ms)
    await device.up(device.envelope("aggregate.v1", observed(start - MINUTE)))
    fleet.clock.advance(20)
    cut = device.now_ms - 10_000
    down = messages.CameraState(
        camera="door", at_ms=cut, noticed_ms=device.now_ms, state=messages.State.DOWN
    )
    await device.up(device.envelope("camera_state.v1", down))
    view = await looking.fleet_view(fleet.db, fleet.now_ms, None)
    camera = view.sites[0].devices[0].cameras[0]
    assert (camera.state, camera.since_ms) == ("down", cut)
    last = camera.strip[-1]
    assert (last.cause, last.start_ms, last.end_ms) == (Cause.CAMERA_DOWN, cut, fleet.now_ms)


# ------------------------------------------------------------------------------ slow work


async def test_hours_and_days_add_up_to_the_minutes(fleet) -> None:
    """Merging again after a late minute counts everything once."""
    device = await fleet.device()
    hour = device.now_ms - device.now_ms % rollups.HOUR_MS - 2 * rollups.HOUR_MS
    for n in range(3):
        await device.up(device.envelope("aggregate.v1", observed(hour + n * MINUTE)))
        fleet.clock.advance(60)
        await jobs.merge_hours(fleet.db, fleet.now_ms)
        for table in ("rollup_hour", "rollup_day"):
            ((body,),) = await fleet.rows(f"SELECT body FROM {table}")
            assert rollups.decode(body).frames.captured == 300 * (n + 1)


async def test_a_minute_later_than_its_retention_is_added_to_the_hour(fleet) -> None:
    """Minutes are gone after a week; one that comes after that still counts, once."""
    device = await fleet.device()
    retention = fleet.services.config.retention
    hour = device.now_ms - device.now_ms % rollups.HOUR_MS
    first, late = (device.envelope("aggregate.v1", observed(hour + n * MINUTE)) for n in (0, 1))
    await device.up(first)
    fleet.clock.advance(3700)
    await jobs.merge_hours(fleet.db, fleet.now_ms)
    fleet.clock.advance(8 * 86_400)
    await jobs.expire(fleet.db, retention, fleet.now_ms)
    assert await fleet.rows("SELECT count(*) FROM rollup_minute") == [(0,)]
    await device.sign_in()
    await device.up(late)
    fleet.clock.advance(60)
    for _ in range(2):
        await jobs.merge_hours(fleet.db, fleet.now_ms)
    ((body,),) = await fleet.rows("SELECT body FROM rollup_hour")
    assert rollups.decode(body).frames.captured == 600
    assert await fleet.rows("SELECT count(*) FROM rollup_minute") == [(0,)]


async def test_joining_old_claims_changes_no_coverage(fleet) -> None:
    """Old coverage takes fewer rows and says the same."""
    device = await fleet.device()
    start = minute(device.now_ms)
    holes = {100, 101, 150}
    await device.up(
        *(device.envelope("aggregate.v1", observed(start + n * MINUTE - 300 * MINUTE))
          for n in range(300) if n not in holes)
    )  # fmt: skip

    async def causes(view_now: int) -> list[tuple[int, int, str | None]]:
        view = await looking.camera_view(
            fleet.db, device.device, "door", start - 300 * MINUTE, start, view_now, None
        )
        assert view is not None
        return [(s.start_ms, s.end_ms, s.cause) for s in view.row.strip]

    before = await causes(fleet.now_ms + 10 * MINUTE)
    fleet.clock.advance(4 * 86_400)
    await jobs.expire(fleet.db, fleet.services.config.retention, fleet.now_ms)
    assert await fleet.rows("SELECT count(*) FROM coverage_claims") == [(3,)]
    assert await causes(fleet.now_ms) == before


async def test_old_partitions_go_and_new_ones_come(fleet) -> None:
    """Raw messages are dropped by the day, each kind after its own time."""
    await jobs.make_partitions(fleet.db, fleet.now_ms)
    days = 86_400 * 8
    fleet.clock.advance(days)
    await jobs.make_partitions(fleet.db, fleet.now_ms)
    names = {name for (name,) in await fleet.rows("SELECT relname FROM pg_class WHERE relkind='r'")}
    assert "reports_7_20260302" not in names
    assert {"reports_90_20260302", "reports_7_20260310", "reports_7_20260312"} <= names


# ------------------------------------------------------------------------ people and audit


async def test_the_audit_chain_shows_a_missing_or_changed_entry(fleet) -> None:
    """Taking one entry out of the middle, or editing one, is found."""
    for n in range(5):
        async with fleet.db.transaction() as tx:
            await audit.write(tx, at_ms=n, actor="a", action="x", detail={"n": n})
    assert await audit.check(fleet.db) is None
    await fleet.rows("UPDATE audit_log SET actor = 'b' WHERE number = 3 RETURNING 1")
    assert await audit.check(fleet.db) == 3
    await fleet.rows("DELETE FROM audit_log WHERE number = 2 RETURNING 1")
    assert await audit.check(fleet.db) == 2


async def test_a_setup_link_works_once_and_sets_the_password(fleet) -> None:
    """The first administrator sets a password; the link is then worth nothing."""
    async with fleet.db.transaction() as tx:
        await accounts.put_user(tx, "admin", "admin", None, fleet.now_ms)
        token = await accounts.make_setup_token(tx, "admin", fleet.now_ms)
    assert not await accounts.has_users(fleet.db)
    async with fleet.db.transaction() as tx:
        done = await accounts.use_setup_token(tx, token, "correct horse battery", fleet.now_ms)
        again = await accounts.use_setup_token(tx, token, "something else long", fleet.now_ms)
    assert (done, again) == ("admin", None)
    assert await accounts.check_password(fleet.db, "admin", "wrong password") is None
    assert await accounts.check_password(fleet.db, "nobody", "correct horse battery") is None
    user = await accounts.check_password(fleet.db, "admin", "correct horse battery")
    assert user is not None
    assert user.role == "admin"


async def test_scope_hides_other_sites(fleet) -> None:
    """A user of one site sees nothing of another: no row, no event, no camera."""
    here, there = await fleet.device("here"), await fleet.device("there")
    for device in (here, there):
        event = messages.EventReport(
            event=f"ev-{device.device}",
            camera="door",
            kind=messages.EventKind.PRESENCE,
            at_ms=device.now_ms,
        )
        await device.up(device.envelope("event.v1", event))
    view = await looking.fleet_view(fleet.db, fleet.now_ms, ["here"])
    assert [site.site for site in view.sites] == ["here"]
    shown = await looking.events_page(fleet.db, looking.EventFilters(), None, 10, ["here"])
    assert [row.device for row in shown] == [here.device]
    assert await looking.event(fleet.db, f"ev-{there.device}", ["here"]) is None
    hidden = await looking.camera_view(
        fleet.db, there.device, "door", 0, fleet.now_ms, fleet.now_ms, ["here"]
    )
    assert hidden is None


async def test_events_are_paged_without_a_gap_or_a_repeat(fleet) -> None:
    """Following the cursor gives every event once, newest first."""
    device = await fleet.device()
    at = device.now_ms
    reports = [
        messages.EventReport(
            event=f"ev-{n:02}", camera="door", kind=messages.EventKind.PRESENCE, at_ms=at - n // 3
        )
        for n in range(25)
    ]
    await device.up(*(device.envelope("event.v1", report) for report in reports))
    seen: list[str] = []
    after = None
    while rows := await looking.events_page(fleet.db, looking.EventFilters(), after, 7, None):
        seen += [row.event for row in rows]
        after = events.key_of(rows[-1])
    assert sorted(seen) == sorted(report.event for report in reports)
    assert len(seen) == 25
