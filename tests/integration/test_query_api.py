"""The routes of questions, over the real database with data in it: what they say, and to whom."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar.testing import AsyncTestClient

from tests.integration.test_query import Told, told  # noqa: F401 - the fixture
from vedette.central import accounts
from vedette.central.query.catalogue import METRICS
from vedette.central.rollups import DAY_MS, HOUR_MS
from vedette.central.web import build_web

pytestmark = pytest.mark.anyio

ROUTES = ("query", "worst", "distribution", "dwell", "heatmap")


class Asker:
    """Programs that put questions to central over HTTP."""

    def __init__(self, told: Told, client: AsyncTestClient[Any]) -> None:  # noqa: F811
        self.told = told
        self.client = client
        self.headers: dict[str, dict[str, str]] = {}

    async def token(self, name: str, sites: list[str] | None) -> None:
        """Have a viewer with this scope."""
        now_ms = self.told.now_ms
        async with self.told.fleet.db.transaction() as tx:
            await accounts.put_user(tx, name, "viewer", sites, now_ms)
            token, _ = await accounts.open_session(tx, name, now_ms, life_s=3600, kind="api")
        self.headers[name] = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, user: str = "ada", **asked: object) -> httpx.Response:
        """Ask over the three hours of which things were told, unless the question says another."""
        start = self.told.start_ms
        params = {"from_ms": start, "to_ms": start + 3 * HOUR_MS, **asked}
        return await self.client.get(f"/v1/{path}", params=params, headers=self.headers[user])


@pytest.fixture
async def asker(told: Told) -> AsyncIterator[Asker]:  # noqa: F811
    """`ada` sees both sites, `ben` sees `far` alone."""
    await told.settle()
    async with AsyncTestClient(
        build_web(told.fleet.services), base_url="http://127.0.0.1:8080"
    ) as client:
        made = Asker(told, client)
        await made.token("ada", None)
        await made.token("ben", ["far"])
        yield made


async def test_values_come_with_coverage_and_causes(asker: Asker) -> None:
    """Hours of two sites: what was counted, and null with its cause where nothing was seen."""
    answer = await asker.get("query", metric="zone.visits", step="hour", group_by="site")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["unit"], said["kind"], said["cameras"]) == ("1", "counter", 2)
    lines = {line["group"]["site"]: line["points"] for line in said["lines"]}
    assert [point["value"] for point in lines["shop"]] == [300.0, 300.0, None]
    assert [point["value"] for point in lines["far"]] == [300.0, None, None]
    first, _, last = lines["shop"]
    assert first["coverage"]["fraction"] == 1.0
    assert first["coverage"]["causes"] == {}
    assert last["coverage"] == {
        "fraction": 0.0, "observed_s": 0.0, "accountable_s": 3600.0,
        "causes": {"CAMERA_DOWN": 3600.0},
    }  # fmt: skip
    assert last["note"] == "nothing was observed"


async def test_every_metric_of_the_catalogue_can_be_asked_for(asker: Asker) -> None:
    """Whatever `/v1/metrics` lists is answered, by model where it may, with its coverage."""
    listed = (await asker.client.get("/v1/metrics", headers=asker.headers["ben"])).json()
    assert [row["name"] for row in listed] == [metric.name for metric in METRICS]
    for row in listed:
        by = "site,model" if "model" in row["levels"] else "site"
        answer = await asker.get("query", metric=row["name"], group_by=by)
        assert answer.status_code == 200, (row["name"], answer.text)
        for line in answer.json()["lines"]:
            assert all(point["coverage"] is not None for point in line["points"])


async def test_the_other_shapes_over_http(asker: Asker) -> None:
    """Worst first, dwell, distribution and heatmap: each with its coverage."""
    worst = (await asker.get("worst", metric="coverage")).json()
    assert [row["group"]["site"] for row in worst["ranked"]] == ["far", "shop"]
    assert worst["ranked"][1]["coverage"]["causes"] == {"CAMERA_DOWN": 3600.0}
    one = (await asker.get("worst", metric="coverage", limit=1, order="high")).json()
    assert [row["group"]["site"] for row in one["ranked"]] == ["shop"]
    dwell = (await asker.get("dwell")).json()
    (till,) = dwell["lines"]
    assert till["group"] == {"name": "till"}
    assert till["count"] == sum(till["counts"]) == 360
    assert till["p50"] == pytest.approx(10, rel=0.011)
    assert till["p99"] == pytest.approx(40, rel=0.011)
    assert 0 < till["coverage"]["fraction"] < 1
    same = (await asker.get("distribution", metric="dwell", group_by="name")).json()
    assert same == dwell
    models = (await asker.get("distribution", metric="dwell", group_by="model")).json()
    assert {row["group"]["model"]: row["count"] for row in models["lines"]} == {
        "m@1": 240, "m@2": 120,
    }  # fmt: skip
    only = (await asker.get("dwell", model="m@2")).json()
    assert [line["count"] for line in only["lines"]] == [120]
    heat = (await asker.get("heatmap", of="site:far")).json()
    assert (heat["rows"], heat["columns"], heat["seconds"]) == (1, 2, [60.0, 120.0])
    assert heat["coverage"]["observed_s"] == 3600.0


async def test_a_scoped_user_sees_only_what_is_theirs(asker: Asker) -> None:
    """By no route: neither another's site by name, nor its share in a sum, a list or a sketch."""
    alone = (await asker.get("query", "ben", metric="zone.visits")).json()
    assert alone["cameras"] == 1
    assert alone["lines"][0]["points"][0]["value"] == 300.0
    theirs = (await asker.get("query", "ben", metric="zone.visits", of="site:shop")).json()
    assert (theirs["cameras"], theirs["lines"]) == (0, [])
    worst = (await asker.get("worst", "ben", metric="coverage")).json()
    assert [row["group"]["site"] for row in worst["ranked"]] == ["far"]
    dwell = (await asker.get("dwell", "ben")).json()
    assert [line["count"] for line in dwell["lines"]] == [120]
    heat = await asker.get("heatmap", "ben", of="site:shop")
    assert heat.status_code == 400
    readings = (await asker.get("query", "ben", metric="device.cpu", group_by="site")).json()
    assert {line["group"]["site"] for line in readings["lines"]} == {"far"}


async def test_bad_questions_are_problems_that_say_what_to_change(asker: Asker) -> None:
    """RFC 9457: 400 for words, windows and selections that cannot be; 401 before any of it."""
    for route in (*ROUTES, "metrics"):
        answer = await asker.client.get(f"/v1/{route}", params={"metric": "coverage"})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
    far_off = asker.told.now_ms + 10 * DAY_MS
    cases: list[tuple[str, dict[str, object], str]] = [
        ("query", {"metric": ""}, "no metric"),
        ("query", {"metric": "zone.visit"}, "zone.visits"),
        ("query", {"metric": "coverage", "step": "fortnight"}, "total, minute"),
        ("query", {"metric": "coverage", "clock": "sundial"}, "site or utc"),
        ("query", {"metric": "coverage", "hours": "lunch"}, "all, open or closed"),
        ("query", {"metric": "coverage", "group_by": "colour"}, "site, device, camera"),
        ("query", {"metric": "coverage", "stat": "p95"}, "one number"),
        ("query", {"metric": "latency", "stat": "p42"}, "p50, p95, p99"),
        ("query", {"metric": "coverage", "of": "(("}, "selection"),
        ("query", {"metric": "coverage", "from_ms": far_off, "to_ms": far_off}, "empty"),
        ("query", {"metric": "coverage", "from_ms": 0, "step": "day"}, "too long"),
        ("query", {"metric": "coverage", "from_ms": "soon"}, "from_ms"),
        ("query", {"metric": "coverage", "from_ms": -1}, "from_ms"),
        ("query", {"metric": "x" * 65}, "metric"),
        ("query", {"metric": "coverage", "of": "x" * 2001}, "of"),
        ("query", {"metric": "device.cpu", "group_by": "camera"}, "site, device or name"),
        ("query", {"metric": "device.cpu", "model": "m@1"}, "devices"),
        ("query", {"metric": "dwell", "per_hour": "true"}, "per hour"),
        ("worst", {"metric": "coverage", "order": "sideways"}, "low or high"),
        ("worst", {"metric": "coverage", "limit": 0}, "limit"),
        ("worst", {"metric": "coverage", "limit": 501}, "limit"),
        ("distribution", {"metric": "zone.visits"}, "latency, dwell"),
        ("heatmap", {"of": "*"}, "one camera"),
    ]
    for route, asked, words in cases:
        answer = await asker.get(route, **asked)
        assert answer.status_code == 400, (route, asked, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == 400
        assert words in answer.text, (asked, answer.text)
