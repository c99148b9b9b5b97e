"""The console over a large fleet: weight over the wire, time to the first page, smoothness.

Two centrals with histories written by COPY, as the jobs would have left them, each a real process
with its own database, looked at by Chromium on loopback:

    200 sites × 3 cameras × 90 days    bytes of the first page, everything counted, and its time
    2,000 sites × 3 cameras            processor time of central and its database for a page, bytes,
                                       elements, frames while scrolling, refreshes, the palette

Two of a hundred cameras are covered, one site in fifty is dark. `cpu` is the processor time of
central and of everything that its database runs, background jobs included.

    python benchmarks/bench_console.py
    python benchmarks/bench_console.py --small-sites 20 --days 3 --large-sites 200   # quicker

Writes benchmarks/results/console.json.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bench_queries
import psutil
import psycopg
import urllib3
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

from vedette.central.query import packing, runs
from vedette.central.rollups import DAY_MS, HOUR_MS, MINUTE_MS
from vedette.central.store.postgres import EmbeddedPostgres
from vedette.sim.faults import free_port

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

import pattern_site  # noqa: E402 - found by the line above

PASSWORD = "nine clever otters"
LOADS = 8
ASKS = 20

SCROLL = """async () => {
  const deltas = [];
  let last = performance.now();
  const end = document.documentElement.scrollHeight - innerHeight;
  const step = Math.max(60, end / 240);
  for (let at = 0; at <= end; at += step) {
    scrollTo(0, at);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    deltas.push(now - last);
    last = now;
  }
  scrollTo(0, 0);
  return deltas.slice(2);
}"""

TIMES = """() => {
  const [nav] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return { load: nav.loadEventEnd, paint: paint ? paint.startTime : null,
           answer: nav.responseEnd - nav.requestStart };
}"""

PALETTE = """async (asked) => {
  const taken = [];
  for (const q of asked) {
    const began = performance.now();
    const answer = await fetch(`/places?q=${encodeURIComponent(q)}`);
    await answer.json();
    taken.push(performance.now() - began);
  }
  return taken;
}"""


class Lean(bench_queries.Fleet):
    """A fleet of which only what the fleet page reads is written."""

    def rollup_hours(self) -> Iterator[tuple]:
        """Give none."""
        yield from ()

    rollup_days = rollup_minutes = events = rollup_hours

    def metric_days(self) -> Iterator[tuple]:
        """Give coverage alone."""
        for number, device in enumerate(self.devices):
            for day in range(self.start, self.hour, DAY_MS):
                segments = {c: self.segments(number, c, day) for c in bench_queries.CAMERAS}
                for metric, series in runs.day_sums(segments, day).items():
                    yield device, metric, day, *packing.encode(series)

    def claims(self) -> Iterator[tuple]:
        """Give the last three hours by the minute: older ones are resolved and kept."""
        for _, device, _, camera in self.each():
            for at in range(self.hour - 3 * HOUR_MS, bench_queries.NOW - 2 * MINUTE_MS, MINUTE_MS):
                yield device, camera, at, at + MINUTE_MS, None, False, 5.0, ""


class Served:
    """A central as a process, with a fleet in it and somebody signed in."""

    def __init__(self, folder: Path, browser: Browser) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "log"
        self.process = self.start()
        self.cookies = self._sign_in(browser)

    def start(self) -> subprocess.Popen[bytes]:
        """Start central and return once it serves."""
        command = [sys.executable, "-m", "vedette.cli.main", "central", "run"]
        listen = self.url.removeprefix("http://")
        with self.log.open("wb") as stream:
            process = subprocess.Popen(
                [*command, "--state", str(self.folder / "central"), "--listen", listen],
                stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
        for _ in range(900):
            if self._serves():
                return process
            time.sleep(0.1)
        process.kill()
        raise SystemExit(f"central did not come up:\n{self.log.read_text()[-2000:]}")

    def _sign_in(self, browser: Browser) -> list[Any]:
        found = re.search(r"https?://\S+/setup/\S+", self.log.read_text())
        if found is None:
            raise SystemExit("central printed no link to begin with")
        context = browser.new_context()
        page = context.new_page()
        page.goto(found[0])
        page.get_by_label("Password, 10 characters or more").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password").click()
        page.wait_for_url(f"{self.url}/")
        cookies = context.cookies()
        context.close()
        return cookies

    def _serves(self) -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return urllib3.request("GET", f"{self.url}/-/healthz", retries=False).status == 200
        return False

    def refill(self, made: bench_queries.Fleet) -> None:
        """Write a fleet while central is away, so that its jobs do not write the same."""
        self.close()
        lock = next((self.folder / "central").rglob("owner.lock"))
        with EmbeddedPostgres(lock.parent) as server:
            bench_queries.fill(server.conninfo, made)
            with ThreadPoolExecutor(1) as pool:  # in this thread a loop of the browser's runs
                pool.submit(asyncio.run, bench_queries.derive(server.conninfo)).result()
            trouble(server.conninfo)
        self.process = self.start()

    def busy_s(self) -> float:
        """Return the processor time so far of central and of all that it started."""
        total = 0.0
        me = psutil.Process(self.process.pid)
        for process in [me, *me.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                # The time of backends that ended is with their parent.
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=60)
        self.process.kill()


@contextlib.contextmanager
def serving(browser: Browser, made: bench_queries.Fleet) -> Iterator[Served]:
    """Give a central that holds `made`."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-console-"))
    folder.chmod(0o755)
    served = Served(folder, browser)
    try:
        served.refill(made)
        yield served
    finally:
        served.close()
        shutil.rmtree(folder, ignore_errors=True)


def trouble(conninfo: str) -> None:
    """Have some cameras covered and some devices dark, and none go dark by itself."""
    now_ms = round(time.time() * 1000)
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("DELETE FROM rollup_dirty")
        db.execute("UPDATE devices SET dark_deadline_ms = %s", (now_ms + DAY_MS,))
        db.execute(
            "UPDATE cameras SET state = 'tampered', signs = '{Covered}', since_ms = %s"
            " WHERE abs(hashtext(device || camera)) %% 100 < 2",
            (now_ms - 26 * HOUR_MS,),
        )
        db.execute(
            "UPDATE devices SET state = 'dark', since_ms = %s, last_contact_ms = %s"
            " WHERE abs(hashtext(device)) %% 50 = 0",
            (now_ms - 3 * HOUR_MS, now_ms - 3 * HOUR_MS),
        )
        db.execute("VACUUM ANALYZE")


def quantiles(values: list[float]) -> dict[str, float]:
    """Return p50, p95 and the largest; nothing of a page too short to scroll."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1), "max": round(max(values), 1)}


def fresh(browser: Browser, served: Served) -> BrowserContext:
    """Return a window with an empty cache, signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies(served.cookies)
    return context


def first_page(browser: Browser, served: Served, path: str, loads: int = LOADS) -> dict[str, Any]:
    """Return bytes over the wire and times of a page in a browser that has nothing yet."""
    loaded: list[float] = []
    painted: list[float] = []
    answered: list[float] = []
    weights: dict[str, int] = {}
    elements = 0
    for _ in range(loads):
        context = fresh(browser, served)
        page = context.new_page()
        weights = {}
        listen(context.new_cdp_session(page), weights)
        page.goto(served.url + path)
        page.wait_for_load_state("load")
        page.wait_for_timeout(300)
        times = page.evaluate(TIMES)
        loaded.append(times["load"])
        painted.append(times["paint"] or times["load"])
        answered.append(times["answer"])
        elements = page.evaluate("document.querySelectorAll('*').length")
        context.close()
    return {
        "wire_bytes": sum(weights.values()),
        "files": {urllib3.util.parse_url(url).path: size for url, size in weights.items()},
        "answer_ms": quantiles(answered),
        "first_paint_ms": quantiles(painted),
        "loaded_ms": quantiles(loaded),
        "elements": elements,
    }


def listen(session: CDPSession, weights: dict[str, int]) -> None:
    """Fill `weights` with what each request brought over the wire, headers included."""
    urls: dict[str, str] = {}
    session.send("Network.enable")
    session.on(
        "Network.requestWillBeSent", lambda e: urls.update({e["requestId"]: e["request"]["url"]})
    )
    session.on(
        "Network.loadingFinished",
        lambda e: weights.update({urls[e["requestId"]]: round(e["encodedDataLength"])}),
    )


def asked(served: Served, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return processor time, wall time and bytes of a page asked for again and again."""
    cookie = "; ".join(f"{c['name']}={c['value']}" for c in served.cookies)
    sent = {"Cookie": cookie, "Accept-Encoding": "gzip"} | (headers or {})
    pool = urllib3.PoolManager()
    pool.request("GET", served.url + path, headers=sent)
    taken: list[float] = []
    size = status = 0
    busy = served.busy_s()
    for _ in range(ASKS):
        began = time.perf_counter()
        answer = pool.request("GET", served.url + path, headers=sent, decode_content=False)
        taken.append((time.perf_counter() - began) * 1000)
        size, status = len(answer.data), answer.status
    cpu_ms = (served.busy_s() - busy) * 1000 / ASKS
    return {
        "status": status,
        "bytes": size,
        "cpu_ms": round(cpu_ms, 1),
        "wall_ms": quantiles(taken),
    }


def versions(page: Page) -> str:
    """Return what an open page says that it has."""
    return page.evaluate(
        "[...document.querySelectorAll('[data-v]')].map(e => e.dataset.v).join(',')"
    )


def large(browser: Browser, served: Served) -> dict[str, Any]:
    """Return the figures of the large fleet."""
    found: dict[str, Any] = {}
    for name, path in (("list", "/?range=24h"), ("list of 500", "/?range=24h&show=500"),
                       ("grid", "/?view=grid")):  # fmt: skip
        page_of = first_page(browser, served, path, 3)
        page_of.pop("files")
        context = fresh(browser, served)
        page = context.new_page()
        page.goto(served.url + path)
        page.wait_for_load_state("load")
        have = versions(page)
        frames = [delta for _ in range(3) for delta in page.evaluate(SCROLL)]
        again = asked(served, path, {"HX-Request": "true", "X-Have": have})
        found[name] = page_of | {
            "scroll_frame_ms": quantiles(frames),
            "page": asked(served, path),
            "refresh": again,
        }
        if name == "list":
            typed = [f"site-{n:03d} do" for n in range(7, 1900, 67)] + ["door", "box-1", "till 77"]
            found["palette_ms"] = quantiles(page.evaluate(PALETTE, typed))
        context.close()
    for name, path in (("covered", "/?cause=Covered"), ("throttled", "/?cause=throttled-7d"),
                       ("selection", "/?sel=camera:door+state:tampered")):  # fmt: skip
        found[f"filter: {name}"] = asked(served, path)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small-sites", type=int, default=200)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--large-sites", type=int, default=2000)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    chromium = os.environ.get("VEDETTE_CHROMIUM") or shutil.which("chromium") or "chromium"
    with sync_playwright() as playwright:
        browser = pattern_site.launch(playwright, chromium)
        if options.large_sites:
            bench_queries.NOW = round(time.time() * 1000)
            with serving(browser, Lean(options.large_sites, 2, 0)) as served:
                found["large"] = large(browser, served)
            print(json.dumps(found["large"], indent=1), flush=True)
        if options.small_sites:
            bench_queries.NOW = round(time.time() * 1000)
            made = bench_queries.Fleet(options.small_sites, options.days, 0)
            with serving(browser, made) as served:
                found["first page"] = first_page(browser, served, "/")
                found["first page"]["page"] = asked(served, "/")
            print(json.dumps(found["first page"], indent=1), flush=True)
        found["browser"] = browser.version
        browser.close()
    found |= {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "small": {"sites": options.small_sites, "cameras": options.small_sites * 3,
                  "days": options.days},
        "sites": options.large_sites,
    }  # fmt: skip
    if (options.small_sites, options.days, options.large_sites) == (200, 90, 2000):
        path = ROOT / "benchmarks/results/console.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
