"""From an event to its clip in a real browser: a real device's files, sent by a real sender."""

import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from conftest import Fleet, Window
from playwright.sync_api import Browser, Page, expect

from tests.unit.edge.evidence_kit import full_ring, packets_of, settings
from vedette.clock import ManualClock, SystemClock, wall_ms
from vedette.edge.bandwidth import Bandwidth
from vedette.edge.central_client import CentralClient
from vedette.edge.clips import ClipSender
from vedette.edge.desired import DesiredStore
from vedette.edge.enrolment import enrol, keyring
from vedette.edge.evidence import copies
from vedette.edge.evidence.examine import examine
from vedette.edge.evidence.holds import Holds
from vedette.edge.evidence.origin import keys_in
from vedette.edge.evidence.signing import PackageSigner
from vedette.edge.evidence.store import EvidenceStore, Wanted
from vedette.edge.holding import HoldKeeper
from vedette.edge.settings import CentralLink, EdgeConfig, UplinkSettings
from vedette.ids import CameraId
from vedette.sim import footage
from vedette.trust.dsse import sign_struct
from vedette.trust.keys import SigningKey
from vedette.wire import codec
from vedette.wire.envelope import Batch, ClockState, Envelope
from vedette.wire.holds import FORMS
from vedette.wire.messages import Box, EventKind, EventReport, EvidenceRecord
from vedette.wire.signed import POLICY_TYPE, PixelPolicy, SitePolicy
from vedette.wire.streams import stream

pytestmark = pytest.mark.browser

DOOR = CameraId("door")
SIZE_PX = (320, 180)
FPS = 10


class Shop(NamedTuple):
    """A device with one event and its clip, and the site's key."""

    sender: ClipSender
    keeper: HoldKeeper
    holds: Holds
    store: DesiredStore
    client: CentralClient
    key: SigningKey
    event: EventReport
    record: EvidenceRecord

    def look(self) -> None:
        """Learn what is wanted, and do it until nothing is left to do at once."""
        desired = self.client.desired(self.store.etag)
        assert desired is not None
        self.store.apply(desired)
        for request in desired.requests:
            (self.keeper if request.kind in FORMS else self.sender).take(request)
        self.keeper.step()
        for _ in range(50):
            if self.sender.step() > 1:
                return


@pytest.fixture(scope="module")
def shop(fleet: Fleet, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A site whose policy lets clips leave, and a device there that made one."""
    key = SigningKey.generate()
    context = browser.new_context()
    context.add_cookies(fleet.cookies)
    page = context.new_page()
    page.goto(f"{fleet.site.url}/events")
    csrf = page.locator("meta[name=csrf]").get_attribute("content") or ""

    def call(method: str, path: str, body: object) -> dict[str, str]:
        answer = context.request.fetch(
            fleet.site.url + path,
            method=method,
            data=msgspec.json.encode(body),
            headers={"X-CSRF-Token": csrf, "Content-Type": "application/json"},
        )
        assert answer.ok, answer.text()
        return answer.json()

    call("POST", "/v1/sites", {"site": "street", "site_keys": [key.public.text]})
    pixels = PixelPolicy(evidence_leaves=True, evidence_blurred=False)
    policy = SitePolicy(site="street", version=1, issued_ms=fleet.now_ms, pixels=pixels)
    call("PUT", "/v1/sites/street/policy", sign_struct(policy, POLICY_TYPE, [key]))
    claim = call("POST", "/v1/claims", {"site": "street", "device": "street-1"})["token"]
    context.close()
    folder = tmp_path_factory.mktemp("device")
    link, clock = CentralLink(url=fleet.site.url), SystemClock()
    identity = enrol(folder, CentralClient(link, clock), claim, version="0.1.0")
    client = CentralClient(link, clock, identity=identity, keyring=keyring(folder))
    store = DesiredStore(folder, EdgeConfig(state_dir=folder, models_dir=folder), identity)
    bandwidth = Bandwidth(lambda: UplinkSettings(backfill_kbit_s=80_000), lambda: "UTC", clock)
    sender = ClipSender(folder, store, client, clock, bandwidth)
    event, record = _made(folder)
    assert PackageSigner(folder, clock, lambda: ClockState.TRUSTED).step() == 1
    _tell(client, identity.device, event, record)
    holds = Holds(folder / "evidence", settings(), clock)
    keeper = HoldKeeper(holds, client)
    return Shop(sender, keeper, holds, store, client, key, event, record)


def _made(folder: Path) -> tuple[EventReport, EvidenceRecord]:
    """Return an event whose clip lies on the device, with a box that walks."""
    film = folder / "street.mp4"
    footage.render(film, seconds=12.0, fps=FPS, size_px=SIZE_PX)
    clock = ManualClock()
    evidence = EvidenceStore(folder / "evidence", settings(), clock, min_free_bytes=0)
    for n in range(120):
        walker = Box(xyxy=(n, 40, n + 40, 140), label="person", confidence=0.9, track=1)
        evidence.note(DOOR, 1000 + n / FPS, [walker])
    event = EventReport(
        event="ev-street",
        camera=DOOR,
        kind=EventKind.LINE_CROSSED,
        at_ms=round(time.time() * 1000) - 60_000,
        where="kerb",
        label="person",
        track=1,
        boxes=[Box(xyxy=(50, 40, 90, 140), label="person", confidence=0.9, track=1)],
        picture_px=SIZE_PX,
        evidence="evd-street",
    )
    wanted = Wanted(event=event, at_t_s=1005.0, stays_on_site=False)
    assert evidence.request(wanted, full_ring(evidence, packets_of(film))) is None
    (record,) = evidence.work()
    assert record.status == "complete", record.detail
    return event, record


def _tell(client: CentralClient, device: str, *bodies: msgspec.Struct) -> None:
    now_ms = wall_ms(SystemClock().now_at())
    envelopes = [
        Envelope(
            epoch=1,
            boot_id="boot-1",
            lane=stream(schema).lane,
            seq=1,
            t_wall_ms=now_ms,
            t_mono_ms=1,
            clock_state=ClockState.TRUSTED,
            schema=schema,
            body=msgspec.Raw(codec.encode(body)),
        )
        for schema, body in zip(("event.v1", "evidence.v1"), bodies, strict=True)
    ]
    batch = Batch(
        device=device,
        boot_id="boot-1",
        sent_mono_ms=1,
        sent_wall_ms=now_ms,
        envelopes=envelopes,
    )
    assert not client.up(batch).rejected


def until(page: Page, script: str) -> None:
    """Wait until a script in the page is true; the page's own rules forbid Playwright's way."""
    for _ in range(400):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {script}")


def test_a_clip_is_fetched_and_played_with_its_boxes(
    window: Window, shop: Shop, tmp_path: Path
) -> None:
    """Asked for on the page, sent by the device, played in step with its boxes, all by keys.

    What is downloaded then proves which device made it, by the keys that central lists.
    """
    page = window.open("/events/ev-street")
    expect(page.locator("#clip-state")).to_contain_text("not fetched")
    page.get_by_role("button", name="Fetch the clip").click()
    expect(page.locator("#clip-state")).to_contain_text("asked for")
    shop.look()
    expect(page.locator("#clip-state")).to_contain_text("signed by the device", timeout=20_000)
    player = page.locator("vedette-player[data-ready]")
    expect(player).to_have_count(1, timeout=20_000)
    video = player.locator("video")
    until(page, "document.querySelector('video').readyState >= 2")
    assert page.evaluate("document.querySelector('video').duration") > 3.5
    player.locator("[role=slider]").focus()
    page.keyboard.press("Home")
    expect(player).to_have_attribute("data-boxes", "1")
    first = float(player.locator("rect.box").get_attribute("x") or "nan")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('video').currentTime > 0.9")
    expect(player.locator("text").filter(has_text="person 0.90 #1")).to_have_count(1)
    until(
        page, f"Math.abs(document.querySelector('rect.box').getAttribute('x') - {first + 10}) < 2.1"
    )
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("b")
    expect(player).to_have_attribute("data-boxes", "0")
    page.keyboard.press("b")
    page.keyboard.press(" ")
    until(page, "document.querySelector('video').currentTime > 1.5")
    page.keyboard.press(" ")
    expect(player.get_by_role("button", name="Play")).to_be_visible()
    window.picture("event-playing")
    with page.expect_download() as waited:
        page.get_by_role("link", name="All in one zip").click()
    assert waited.value.suggested_filename == "street-1-ev-street.zip"
    (tmp_path / "clip.zip").write_bytes(Path(waited.value.path()).read_bytes())
    keys = page.request.get(f"{window.url}/v1/devices/street-1/keys")
    (tmp_path / "keys.json").write_bytes(keys.body())
    with copies.opened(tmp_path / "clip.zip") as (found,):
        verdict = examine(found, keys=keys_in(tmp_path / "keys.json"), is_copy=True)
    assert verdict.problems == ()
    assert "knows that key" in verdict.origins[0].proven[1]
    assert window.complaints == []
    assert window.foreign == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert window.overflow_px() == 0
    window.picture("event-playing-phone")
    assert video.count() == 1


def test_a_terminal_at_central_copies_what_is_there(fleet: Fleet, tmp_path: Path) -> None:
    """`vedette central clip` beside the running central: the same files, in one zip."""
    config, out = tmp_path / "central.yaml", tmp_path / "clip.zip"
    config.write_text(f"state_dir: {fleet.site.state}\n")
    command = [sys.executable, "-m", "vedette.cli.main", "central", "--config", str(config)]
    done = subprocess.run(
        [*command, "clip", "ev-street", "--out", str(out)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("here: the clip, ")
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert "street-1-ev-street/clip.mp4" in archive.namelist()


def test_an_event_is_held_here_and_on_its_device_until_somebody_lets_it_go(
    window: Window, shop: Shop
) -> None:
    """With a reason; the page says without reload that the device holds it too; both are kept."""
    page = window.open("/events/ev-street")
    expect(page.get_by_role("heading", name="Was it watched then?")).to_be_visible()
    hold = page.locator("#hold")
    hold.get_by_label("Why keep it").fill("claim 7")
    hold.get_by_role("button", name="Hold it").click()
    expect(hold).to_contain_text("was asked")
    expect(hold).to_contain_text("claim 7")
    shop.look()
    expect(hold).to_contain_text("holds it too", timeout=20_000)
    window.open("/holds")
    expect(page.locator(".holds-list tbody tr")).to_contain_text("holds it too")
    page.get_by_role("link", name="claim 7").click()
    assert shop.holds.is_held("evd-street")
    hold.get_by_label("Why let it go").fill("paid")
    hold.get_by_role("button", name="Let it go").click()
    expect(hold).to_contain_text("not held")
    shop.look()
    assert not shop.holds.is_held("evd-street")
    window.open("/settings/audit?action=evidence.")
    expect(page.locator("main")).to_contain_text("evidence.release")
    expect(page.locator("main")).to_contain_text("claim 7")
    assert window.complaints == []


def test_a_policy_that_was_withdrawn_is_obeyed_and_quoted(window: Window, shop: Shop) -> None:
    """Central's copy is deleted; the site lets nothing leave any more; the device refuses."""
    page = window.open("/events/ev-street")
    page.get_by_role("button", name="Delete central’s copy").click()
    page.get_by_role("button", name="Fetch the clip").click()
    expect(page.locator("#clip-state")).to_contain_text("asked for")
    policy = SitePolicy(site="street", version=2, issued_ms=wall_ms(SystemClock().now_at()))
    csrf = page.locator("meta[name=csrf]").get_attribute("content") or ""
    answer = page.request.put(
        f"{window.url}/v1/sites/street/policy",
        data=msgspec.json.encode(sign_struct(policy, POLICY_TYPE, [shop.key])),
        headers={"X-CSRF-Token": csrf, "Content-Type": "application/json"},
    )
    assert answer.ok, answer.text()
    shop.look()
    expect(page.locator("#clip-state")).to_contain_text("lets no clip leave", timeout=20_000)
    expect(page.locator("vedette-player")).to_have_count(0)
    expect(page.get_by_role("button", name="Ask again")).to_have_count(0)
    window.picture("event-refused")
    assert window.complaints == []
