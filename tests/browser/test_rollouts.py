"""The life of a rollout in a real browser: seen in canary, understood, stopped, sent back."""

import hashlib
import time
from collections.abc import Callable

import msgspec
import psycopg
import pytest
from conftest import Fleet, Window
from playwright.sync_api import Browser, expect
from small_device import SmallDevice

from vedette.central.releases import keeping
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.trust.tuf.approvals import approval_path
from vedette.wire.messages import HealthReport, PipelineHealth
from vedette.wire.slots import ArtefactKind, UpdateHealth, UpdateState
from vedette.wire.updates import Approval, Artefact, Assigned, UpdateReport

pytestmark = [pytest.mark.browser, pytest.mark.timeout(150)]  # central turns each 10 s

HOUR_MS = 3_600_000
STEPS = (
    UpdateState.DOWNLOADED,
    UpdateState.VERIFIED,
    UpdateState.WAITING_WINDOW,
    UpdateState.ACTIVATING,
    UpdateState.PROBATION,
    UpdateState.CONFIRMED,
)


def _artefact(version: str) -> Artefact:
    sha256 = hashlib.sha256(version.encode()).hexdigest()
    return Artefact(
        kind=ArtefactKind.APP, target=f"app/vedette/{version}", sha256=sha256, bytes=9_000_000,
        digest=f"sha256:{sha256}", name="vedette", version=version,
    )  # fmt: skip


OLD, NEW = _artefact("1.1.4"), _artefact("1.2.0")


class Box:
    """A device that takes part: what it runs, and what it was told."""

    def __init__(self, device: SmallDevice) -> None:
        self.device = device
        self.running, self.previous = OLD, ""
        self.version = 0
        self.item: Assigned | None = None

    def beat(self, *steps: UpdateState) -> None:
        """Report steps of what is assigned, then what runs."""
        now_ms = round(time.time() * 1000)
        item = self.item
        told = [] if item is None else [
            UpdateReport(
                at_ms=now_ms, rollout=item.rollout, slot="app", kind=ArtefactKind.APP,
                attempt=item.attempt, digest=item.artefact.digest, state=step,
                running=self.running.digest,
            )
            for step in steps
        ]  # fmt: skip
        slot = UpdateHealth(
            slot="app", kind=ArtefactKind.APP, rollout=item.rollout if item else "",
            attempt=item.attempt if item else 0, state=steps[-1] if steps else None,
            digest=item.artefact.digest if item else "", running=self.running.digest,
            previous=self.previous,
        )  # fmt: skip
        health = HealthReport(
            at_ms=now_ms, period_s=30, version="1.0", assignment_version=self.version,
            updates=[slot], pipeline=PipelineHealth(running=True),
        )  # fmt: skip
        messages = [("update.v1", now_ms, one) for one in told] + [("health.v1", now_ms, health)]
        self.device.send(now_ms, *messages)

    def is_told(self, artefact: Artefact) -> bool:
        """Fetch what should run; True where it is this now."""
        said = self.device.assignment()
        if said is None:
            return False
        self.version = said.version
        self.item = next((one for one in said.items if one.slot == "app"), None)
        return self.item is not None and self.item.artefact.digest == artefact.digest

    def install(self) -> None:
        """Go through all steps, and run it."""
        assert self.item is not None
        self.previous, self.running = self.running.digest, self.item.artefact
        self.beat(*STEPS)
        self.beat()


def _until(what: str, check: Callable[[], bool], window: Window) -> None:
    """Wait for central's next turns."""
    for _ in range(120):
        if check():
            return
        window.page.wait_for_timeout(250)
    raise AssertionError(f"never: {what}")


def _approve(fleet: Fleet, rollout: str) -> None:
    """Have the repository name an approval, and a second person agree."""
    url = EmbeddedPostgres(fleet.site.state / "pg").attach()
    assert url is not None
    body = msgspec.json.encode(
        Approval(
            rollout=rollout, issued_ms=fleet.now_ms, expires_ms=fleet.now_ms + 900 * HOUR_MS,
            artefacts=[OLD, NEW], sites=["*"],
        )
    )  # fmt: skip
    sha256 = hashlib.sha256(body).hexdigest()
    blobs = keeping.release_blobs(fleet.site.state)
    blobs.append(sha256, "test", 0, body, len(body))
    blobs.finish(sha256, "test")
    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO release_files (path, sha256, bytes) VALUES (%s, %s, %s)",
            (approval_path(rollout), sha256, len(body)),
        )
        db.execute(
            "UPDATE rollouts SET approved_by = '{otto}', approved_ms = %s WHERE rollout = %s",
            (fleet.now_ms, rollout),
        )


def _ask(window: Window, method: str, path: str, body: object) -> None:
    csrf = window.page.locator("meta[name=csrf]").get_attribute("content") or ""
    answer = window.page.request.fetch(
        window.url + path, method=method, data=msgspec.to_builtins(body),
        headers={"X-CSRF-Token": csrf},
    )  # fmt: skip
    assert answer.status < 300, answer.text()


def test_a_rollout_is_seen_understood_and_sent_back(
    window: Window, fleet: Fleet, browser: Browser
) -> None:
    """In canary: which device, why it does not go on; then back, and the device runs the old."""
    page = window.open("/rollouts")
    expect(page.get_by_role("heading", name="No rollout yet")).to_be_visible()
    boxes = [Box(fleet.device), Box(_second(window))]
    for box in boxes:
        box.beat()
    plan = {
        "rollout": "ro-1", "kind": "app", "slot": "app", "artefact": NEW, "back": OLD,
        "stages": [{"state": "canary", "devices": 1, "soak_h": 24.0},
                   {"state": "wave", "share": 1.0, "soak_h": 0.0}],
        "gates": {"needs_shadow": False},
    }  # fmt: skip
    _ask(window, "POST", "/v1/rollouts", plan)
    page = window.open("/rollouts/ro-1")
    expect(page.get_by_text("Somebody else than you.")).to_be_visible()
    page.get_by_role("link", name="Plan with dates").first.click()
    expect(page.get_by_text("2 devices take part")).to_be_visible()
    _approve(fleet, "ro-1")
    page = window.open("/rollouts/ro-1/do/start")
    page.get_by_role("button", name="Start the rollout").click()
    expect(page.get_by_role("status").first).to_contain_text("It is started")
    told: list[Box] = []

    def anybody() -> bool:
        told[:] = [box for box in boxes if box.is_told(NEW)]
        return bool(told)

    _until("a canary was told", anybody, window)
    assert len(told) == 1
    told[0].install()
    page = window.open("/rollouts?state=open")
    row = page.locator("#rollout-ro-1")
    expect(row).to_contain_text("canary")
    row.get_by_role("link", name="vedette 1.2.0").click()
    expect(page.locator(".rollout-head")).to_contain_text("canary")
    expect(page.locator(f"#device-{told[0].device.device}")).to_be_visible()
    _read_why(window)
    page.get_by_role("link", name="Roll back now").click()
    expect(page.get_by_role("heading", name="Roll it back")).to_be_visible()
    page.get_by_label("Why").fill("counts fell by a fifth")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_role("status").first).to_contain_text("go back")
    _until("the canary was told to go back", lambda: told[0].is_told(OLD), window)
    told[0].install()
    head = page.locator(".rollout-head")

    def is_back() -> bool:
        told[0].beat()
        return "rolled back" in head.inner_text()

    _until("the rollout is rolled back", is_back, window)
    expect(page.locator(".history")).to_contain_text("counts fell by a fifth")
    assert window.complaints == []
    assert window.foreign == []


def _read_why(window: Window) -> None:
    """The gates say that it is too early, and the stop button is within reach on a phone too."""
    page = window.page
    gates = page.locator("section", has=page.locator("#h-gates"))
    expect(gates).to_contain_text("Soak", timeout=30_000)
    window.picture("rollout")
    page.set_viewport_size({"width": 390, "height": 800})
    assert window.overflow_px() == 0
    stop = page.get_by_role("link", name="Stop the rollout")
    expect(stop).to_be_in_viewport()
    box = stop.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    window.picture("rollout-phone")
    page.set_viewport_size({"width": 1280, "height": 900})


def _second(window: Window) -> SmallDevice:
    """Return another device of the same site."""
    csrf = window.page.locator("meta[name=csrf]").get_attribute("content") or ""
    made = window.page.request.post(
        f"{window.url}/v1/claims",
        data={"site": "north", "device": "north-2"},
        headers={"X-CSRF-Token": csrf},
    )
    assert made.status == 201, made.text()
    return SmallDevice(window.url, made.json()["token"])
