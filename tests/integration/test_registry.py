"""The registry of models through the operator API: register, evaluate, judge, waive."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar.testing import AsyncTestClient

from vedette.central import accounts, audit
from vedette.central.app import build_services
from vedette.central.registry import waivers
from vedette.central.registry.gates import Verdict, verdict_of
from vedette.central.services import Services
from vedette.central.settings import CentralConfig
from vedette.central.web import build_web
from vedette.clock import ManualClock
from vedette.trust.keys import SigningKey
from vedette.wire.evaluation import (
    CameraDay,
    DataSet,
    EvaluationRecord,
    HardwareTimes,
    StepTime,
    Tally,
    Waiver,
    manifest_digest,
)

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000
PICTURES = hashlib.sha256(b"pictures").hexdigest()


def manifest(version: str = "1", **more: object) -> dict[str, Any]:
    """A manifest of a detector of persons."""
    file = {"sha256": hashlib.sha256(version.encode()).hexdigest(), "bytes": 4_000_000}
    said = {
        "format": 1, "name": "door-watch", "version": version, "model": "model.onnx",
        "files": {"model.onnx": file}, "labels": ["person"],
        "preprocess": {"size": [416, 416], "color": "BGR"},
        "head": {"kind": "yolox", "classes": 1}, "threshold": 0.4, "later": {"of": "another day"},
    }  # fmt: skip
    return said | more


def digest_of(said: dict[str, Any]) -> str:
    """The bundle's identity, as a device has it."""
    return manifest_digest(msgspec.json.encode(said))


def record(digest: str, tally: tuple[int, int, int], days: int = 120) -> EvaluationRecord:
    """So many camera-days at three sites, all alike, and times within every budget."""
    quick = StepTime(runs=100, p50_ms=3, p95_ms=4, p99_ms=5, p95_low_ms=3.5, p95_high_ms=5)
    steps: dict[str, StepTime] = dict.fromkeys(
        ("preprocess", "inference", "postprocess", "model"), quick
    )
    return EvaluationRecord(
        digest=digest,
        at_ms=1,
        data=DataSet(name="doors", sha256=PICTURES, pictures=10 * days),
        days=[
            CameraDay(site=f"shop-{n % 3}", camera="door", day=f"2026-{n // 28 + 1:02d}-"
                      f"{n % 28 + 1:02d}", pictures=10, tallies={"person": Tally(*tally)})
            for n in range(days)
        ],
        hardware=[HardwareTimes(hardware="test box", steps=steps, load_s=2.0, golden_ok=True)],
    )  # fmt: skip


class Registry:
    """A central in this process with three people: an admin, an operator, a viewer of one site."""

    def __init__(self, services: Services, clock: ManualClock, client: AsyncTestClient) -> None:
        self.services = services
        self.db = services.db
        self.clock = clock
        self.client = client
        self.tokens: dict[str, str] = {}

    @property
    def now_ms(self) -> int:
        return self.services.now_ms()

    async def __call__(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[who]}", **more.pop("headers", {})}
        if "content" in more:
            headers["content-type"] = "application/json"
        return await self.client.request(method, path, headers=headers, **more)


@pytest.fixture
async def ask(conninfo: str) -> AsyncIterator[Registry]:
    """Somebody to ask with a name, a method and a path."""
    clock = ManualClock()
    services = build_services(CentralConfig(), conninfo, SigningKey.generate(), clock)
    await services.db.open()
    web: Any = build_web(services)
    async with AsyncTestClient(web, base_url="http://127.0.0.1:8080") as client:
        made = Registry(services, clock, client)
        people = {"ada": ("admin", None), "ole": ("operator", None), "vic": ("viewer", ["shop-0"])}
        async with services.db.transaction() as tx:
            for name, (role, sites) in people.items():
                await accounts.put_user(tx, name, role, sites, made.now_ms)
                made.tokens[name], _ = await accounts.open_session(
                    tx, name, made.now_ms, life_s=86_400 * 90, kind="api"
                )
        yield made
    await services.db.close()


async def evaluate(ask: Registry, said: dict[str, Any], tally: tuple[int, int, int]) -> str:
    """Register a version and send its record; return its path."""
    assert (await ask("ole", "POST", "/v1/models/versions", json={"manifest": said})).is_success
    digest = digest_of(said)
    path = f"/v1/models/door-watch/versions/{digest}"
    body = msgspec.json.encode(record(digest, tally))
    sent = await ask("ole", "POST", f"{path}/evaluations", content=body)
    assert sent.status_code == 201, sent.text
    return path


async def test_a_bundle_is_registered_once_and_told_what_its_gates_lack(ask: Registry) -> None:
    """The digest is that of the whole manifest, unknown fields too; nothing measured: no pass."""
    said = manifest()
    made = await ask("ole", "POST", "/v1/models/versions", json={"manifest": said})
    assert (made.status_code, made.json()["digest"]) == (201, digest_of(said))
    assert made.json()["verdict"] == "inconclusive"
    again = await ask("ole", "POST", "/v1/models/versions", json={"manifest": said})
    assert again.json() == made.json()
    seen = (await ask("vic", "GET", f"/v1/models/door-watch/versions/{digest_of(said)}")).json()
    assert seen["input_px"] == [416, 416]
    assert all("insufficient data" in gate["reason"] for gate in seen["gates"])
    listed = (await ask("vic", "GET", "/v1/models")).json()
    assert [(row["model"], row["versions"], row["verdict"]) for row in listed] == [
        ("door-watch", 1, "inconclusive")
    ]
    refused = await ask(
        "ole", "POST", "/v1/models/versions", json={"manifest": manifest(threshold=0.6)}
    )
    assert (refused.status_code, "version of its own" in refused.text) == (409, True)
    log = await audit.page(ask.db)
    assert [entry.action for entry in log].count("model.register") == 1


async def test_good_counts_pass_and_bad_ones_fail(ask: Registry) -> None:
    """120 camera-days of 98 % pass every gate; 80 % fail, and the rollout is told why."""
    good = await evaluate(ask, manifest("1"), (49, 1, 1))
    assert (await ask("vic", "GET", good)).json()["verdict"] == "pass"
    bad = manifest("2")
    path = await evaluate(ask, bad, (40, 10, 10))
    seen = (await ask("vic", "GET", path)).json()
    assert seen["verdict"] == "fail"
    judged = await verdict_of(ask.db, digest_of(bad), ask.now_ms)
    assert judged.verdict is Verdict.FAIL
    assert any(reason.startswith("precision/person fail") for reason in judged.reasons)
    rows = (await ask("vic", "GET", "/v1/models/door-watch/versions")).json()
    assert [row["verdict"] for row in rows if row["version"] == "2"] == ["fail"]


async def test_a_candidate_is_compared_with_the_incumbent_on_the_same_pictures(
    ask: Registry,
) -> None:
    """Worse by 4 % of all objects, day by day, is a failure even where the thresholds hold."""
    await evaluate(ask, manifest("1"), (100, 0, 0))
    path = await evaluate(ask, manifest("2"), (96, 0, 4))
    asked = {"incumbent": digest_of(manifest("1")), "policy": {}}
    assert (await ask("ole", "PUT", "/v1/models/door-watch", json=asked)).status_code == 403
    assert (await ask("ada", "PUT", "/v1/models/door-watch", json=asked)).status_code == 200
    seen = (await ask("vic", "GET", path)).json()
    gates = {gate["gate"]: gate["verdict"] for gate in seen["gates"]}
    assert gates["no_worse/recall"] == "fail"
    assert gates["no_worse/precision"] == gates["recall/person"] == "pass"
    assert seen["verdict"] == "fail"


async def sign(ask, key: SigningKey, digest: str, gates: list[str], days: float = 10) -> bytes:
    """A waiver by this key."""
    made = Waiver(
        digest=digest, gates=gates, reason="known, mended next week", by="Ann",
        issued_ms=ask.now_ms, expires_ms=ask.now_ms + int(days * DAY_MS),
    )  # fmt: skip
    return msgspec.json.encode(waivers.sign(made, key))


async def test_a_waiver_stands_until_it_ends_and_only_by_a_signer(ask: Registry) -> None:
    """By nobody known: 403. By a signer: the gate still fails, the version passes, then no more."""
    path = await evaluate(ask, manifest("1"), (80, 20, 0))
    digest, key = digest_of(manifest("1")), SigningKey.generate()
    wanted = ["precision/*", "f1/person", "site_precision"]
    body = await sign(ask, key, digest, wanted)
    send = {"content": body}
    assert (await ask("ada", "POST", f"{path}/waivers", **send)).status_code == 403
    signer = {"key": key.public.text, "name": "Release"}
    assert (await ask("ole", "POST", "/v1/model-signers", json=signer)).status_code == 403
    assert (await ask("ada", "POST", "/v1/model-signers", json=signer)).status_code == 201
    assert (await ask("ole", "POST", f"{path}/waivers", **send)).status_code == 403
    assert (await ask("ada", "POST", f"{path}/waivers", **send)).status_code == 201
    seen = (await ask("vic", "GET", path)).json()
    assert (seen["bare"], seen["verdict"]) == ("fail", "pass")
    assert seen["waivers"][0]["signers"] == ["Release"]
    listed = (await ask("vic", "GET", "/v1/models")).json()[0]
    assert (listed["verdict"], listed["waived"]) == ("pass", True)
    ask.clock.advance(11 * DAY_MS / 1000)
    async with ask.db.transaction() as tx:
        judged = await verdict_of(tx, digest, ask.now_ms)
    assert (judged.verdict, judged.waivers[0].why_not) == (Verdict.FAIL, "it is over")
    assert {"model.waive", "model.signer"} <= {e.action for e in await audit.page(ask.db)}


async def test_a_signer_taken_away_takes_their_waivers_away(ask: Registry) -> None:
    """What only they signed stands no more, in the list too; a waiver taken back neither."""
    path = await evaluate(ask, manifest("1"), (80, 20, 0))
    digest, key = digest_of(manifest("1")), SigningKey.generate()
    await ask("ada", "POST", "/v1/model-signers", json={"key": key.public.text, "name": "R"})
    body = await sign(ask, key, digest, ["*"])
    sent = await ask("ada", "POST", f"{path}/waivers", content=body)
    name = sent.json()["waiver"]
    assert (await ask("vic", "GET", "/v1/models")).json()[0]["verdict"] == "pass"
    gone = await ask("ada", "DELETE", f"/v1/model-signers/{key.public.keyid}")
    assert gone.status_code == 204
    assert (await ask("vic", "GET", "/v1/models")).json()[0]["verdict"] == "fail"
    await ask("ada", "POST", "/v1/model-signers", json={"key": key.public.text, "name": "R"})
    assert (await ask("vic", "GET", path)).json()["verdict"] == "pass"
    assert (await ask("ada", "DELETE", f"{path}/waivers/{name}")).status_code == 204
    assert (await ask("vic", "GET", path)).json()["verdict"] == "fail"


async def test_a_waiver_that_may_not_be_is_refused(ask: Registry) -> None:
    """For a year, of another bundle, or over already: 403 each."""
    said = manifest("1")
    await ask("ole", "POST", "/v1/models/versions", json={"manifest": said})
    key = SigningKey.generate()
    await ask("ada", "POST", "/v1/model-signers", json={"key": key.public.text, "name": "R"})
    of, path = digest_of(said), f"/v1/models/door-watch/versions/{digest_of(said)}/waivers"
    for digest, days in ((of, 365), (of, -1), (digest_of(manifest("2")), 5)):
        body = await sign(ask, key, digest, ["*"], days)
        assert (await ask("ada", "POST", path, content=body)).status_code == 403


async def test_a_withdrawn_version_fails_whatever_its_gates_say(ask: Registry) -> None:
    """Withdrawn by an administrator who read it last; somebody else's change is not overwritten."""
    path = await evaluate(ask, manifest("1"), (49, 1, 1))
    etag = (await ask("vic", "GET", path)).json()["etag"]
    change = {"state": "withdrawn"}
    stale = await ask("ada", "PUT", path, json=change, headers={"if-match": '"old"'})
    assert stale.status_code == 412
    done = await ask("ada", "PUT", path, json=change, headers={"if-match": etag})
    assert (done.json()["state"], done.json()["verdict"]) == ("withdrawn", "fail")
    assert (await ask("vic", "GET", path)).json()["reasons"][0] == "it was withdrawn"


async def test_what_is_not_there_or_out_of_scope_is_not_told(ask: Registry) -> None:
    """Vic knows one of three sites: one slice, no other name anywhere, no raw record."""
    path = await evaluate(ask, manifest("1"), (40, 10, 10))
    seen = await ask("vic", "GET", path)
    assert [one["site"] for one in seen.json()["slices"]] == ["shop-0"]
    assert "shop-1" not in seen.text
    assert "shop-2" not in seen.text
    whole = (await ask("ole", "GET", path)).json()
    assert len(whole["slices"]) == 3
    name = whole["evaluations"][0]["evaluation"]
    assert (await ask("vic", "GET", f"{path}/evaluations/{name}")).status_code == 403
    assert (await ask("ole", "GET", f"{path}/evaluations/{name}")).status_code == 200
    for there in (
        "/v1/models/none",
        "/v1/models/none/versions",
        path.replace("door-watch", "other"),
        f"{path[:-4]}0000",
        f"{path}/evaluations/nothing",
    ):
        assert (await ask("ole", "GET", there)).status_code == 404, there


async def test_hostile_manifests_and_records_are_refused_in_words(ask: Registry) -> None:
    """Huge, deep, of another digest, counts that do not add up, NaN: never a 500, never stored."""
    path = await evaluate(ask, manifest("1"), (49, 1, 1))
    digest = digest_of(manifest("1"))
    good = msgspec.to_builtins(record(digest, (49, 1, 1), days=6))
    deep = b'{"manifest":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    records = [
        good | {"digest": digest_of(manifest("2"))},
        good | {"confusion": [["person", "person", 1]]},
        good | {"data": good["data"] | {"pictures": 7}},
        good | {"days": [good["days"][0]] * 2, "data": good["data"] | {"pictures": 20}},
        good | {"days": [good["days"][0] | {"tallies": {"person": [-1, 0, 0]}}]},
        good | {"days": [good["days"][0] | {"tallies": {"cow": [1, 0, 0]}}],
                "data": good["data"] | {"pictures": 10}},
        {"digest": digest, "at_ms": 0},
    ]  # fmt: skip
    bodies = [msgspec.json.encode(one) for one in records]
    bodies += [b'{"digest": NaN', bodies[0][:-20], b"[" * 100_000, b'{"at_ms":1e999}', b"\xff"]
    for body in bodies:
        sent = await ask("ole", "POST", f"{path}/evaluations", content=body)
        assert sent.status_code in {400, 413}, (body[:80], sent.text)
    wrong = [deep, b'{"manifest":{}}', msgspec.json.encode({"manifest": manifest(name="../x")}),
             b'{"manifest":{"a":"' + b"x" * 2_000_000 + b'"}}']  # fmt: skip
    for body in wrong:
        sent = await ask("ole", "POST", "/v1/models/versions", content=body)
        assert sent.status_code in {400, 413}, (body[:80], sent.text)
    assert len((await ask("ole", "GET", f"{path}/evaluations")).json()) == 1
