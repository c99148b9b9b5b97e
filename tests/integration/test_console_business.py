"""The page about the business and its export, over the real database with data in it."""

import csv
import io
import re

import pytest

from tests.integration.test_query import Told, told  # noqa: F401 - the fixture
from tests.integration.test_query_api import Asker, asker  # noqa: F401 - the fixture
from vedette.central.business import kpi
from vedette.central.business.kpi import Value
from vedette.central.rollups import HOUR_MS
from vedette.clock import from_wall_ms

pytestmark = pytest.mark.anyio


def _day(told: Told) -> str:  # noqa: F811
    return from_wall_ms(told.start_ms).date().isoformat()


async def _page(asker: Asker, path: str, user: str = "ada", **asked: str) -> str:  # noqa: F811
    answer = await asker.client.get(path, params=asked, headers=asker.headers[user])
    assert answer.status_code == 200, answer.text[:2000]
    return answer.text


def _total(html: str) -> str:
    found = re.search(r'id="total">(.*?)</p>', html, re.DOTALL)
    assert found
    return re.sub(r"<[^>]+>", "", found[1]).strip()


async def test_a_site_a_day_a_number_and_how_sure(asker: Asker) -> None:  # noqa: F811
    """`shop` by its plain name: what was counted, what took the rest, the zone with its stays."""
    html = await _page(asker, "/business", of="SHOP", **{"from": _day(asker.told)})
    assert _total(html) == "600"
    assert "At least this many" in html
    assert "camera down 1 h" in html
    row = html[html.index("<b>till</b>") :]
    assert "10 s" in row[:2500] or "40 s" in row[:2500]
    assert "Compare sites" not in html


async def test_sites_are_compared_and_figures_of_others_stand_beside(asker: Asker) -> None:  # noqa: F811
    """Both sites with their own coverage; pushed receipts are divided by visits."""
    told_ = asker.told
    async with told_.fleet.db.transaction() as tx:
        await kpi.put(
            tx, "receipts", title="Receipts", unit="", adds_up=True, actor="ada",
            now_ms=told_.now_ms,
        )  # fmt: skip
        figures = [
            Value(site="shop", start_ms=told_.start_ms, end_ms=told_.start_ms + HOUR_MS, value=90.0)
        ]
        await kpi.push(tx, "receipts", figures, now_ms=told_.now_ms)
    html = await _page(asker, "/business", **{"from": _day(told_)})
    assert _total(html) == "900"
    sites = html[html.index('id="h-sites"') :]
    assert sites.index(">shop</a>") < sites.index(">far</a>")
    beside = html[html.index('id="h-kpis"') :]
    assert "Receipts" in beside
    assert ">0.1<" in beside


async def test_the_export_adds_up_to_the_page_and_leaves_holes_empty(asker: Asker) -> None:  # noqa: F811
    """Rows by camera, zone and hour; an hour that nobody saw is empty and names its cause."""
    asked = {"from": _day(asker.told), "of": "site:shop"}
    answer = await asker.client.get("/business.csv", params=asked, headers=asker.headers["ada"])
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(float(row["value"]) for row in rows if row["value"]) == 600
    hole = from_wall_ms(asker.told.start_ms + 2 * HOUR_MS).isoformat()
    (lost,) = [row for row in rows if row["from_utc"] == hole]
    assert lost["value"] == ""
    assert lost["causes_s"] == "CAMERA_DOWN=3600"


async def test_a_scope_bounds_page_and_export(asker: Asker) -> None:  # noqa: F811
    """`ben` sees `far` alone: neither numbers nor names of the other."""
    html = await _page(asker, "/business", user="ben", **{"from": _day(asker.told)})
    assert _total(html) == "300"
    assert "shop" not in html
    text = await _page(asker, "/business.csv", user="ben", **{"from": _day(asker.told)})
    assert "shop" not in text


@pytest.mark.parametrize(
    "asked",
    [
        {"of": "((("},
        {"of": "x" * 3000},
        {"from": "yesterday"},
        {"from": "9999-12-31"},
        {"figure": "<script>", "range": "\x00", "label": "'; drop table", "hours": "never"},
        {"from": "2026-01-01", "to": "2020-01-01"},
    ],
)
async def test_what_cannot_be_asked_is_refused_in_words(
    asker: Asker,  # noqa: F811
    asked: dict[str, str],
) -> None:
    """Never a server's error; the page stays, with its form."""
    answer = await asker.client.get("/business", params=asked, headers=asker.headers["ada"])
    assert answer.status_code in {200, 422}
    assert "<form" in answer.text
    export = await asker.client.get("/business.csv", params=asked, headers=asker.headers["ada"])
    assert export.status_code < 500
