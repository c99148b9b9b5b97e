"""The load generator against a real central over HTTP: every report once, whatever goes wrong."""

import asyncio
import contextlib
from collections.abc import Callable

import psycopg
import pytest

from vedette.central import enrolment
from vedette.clock import SystemClock
from vedette.errors import CentralUnreachable, NotAllowed
from vedette.sim.fleet import roll
from vedette.sim.fleet.http import Pool
from vedette.sim.fleet.inside import Inside, central_inside
from vedette.sim.fleet.load import CHUNK_REPORTS, Load
from vedette.sim.fleet.roll import Member

pytestmark = pytest.mark.anyio


def _bulk(conninfo: str, inside: Inside, count: int) -> list[Member]:
    audience = inside.services.online_key.public.keyid
    return roll.enrol_in_bulk(conninfo, count, audience, SystemClock(), per_site=3)


def _committed(conninfo: str) -> tuple[int, int, int]:
    """Return raw messages, those that were not accepted, and different ones."""
    with psycopg.connect(conninfo) as db:
        row = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE outcome <> 'accepted'),"
            " count(DISTINCT (device, epoch, lane, seq)) FROM reports"
        ).fetchone()
    assert row
    return row


async def test_a_closed_loop_commits_exactly_what_was_acknowledged(conninfo: str) -> None:
    """Reports per second mean reports in the database, each once and none refused."""
    async with central_inside(conninfo) as inside, Pool(inside.url, 4) as pool:
        load = Load(pool, _bulk(conninfo, inside, 10), SystemClock(), cameras=2)
        result = await load.closed(duration_s=0.3, concurrency=8)
        assert result.errors == {}
        assert result.reports > 0
        assert result.connections <= 4
        assert _committed(conninfo) == (result.messages, 0, result.messages)


async def test_a_fleet_that_was_away_sends_what_waited_besides_what_is_new(conninfo: str) -> None:
    """Numbers of the backlog lie below those of live reports; in the end no hole is left."""
    async with central_inside(conninfo) as inside, Pool(inside.url, 8) as pool:
        load = Load(pool, _bulk(conninfo, inside, 3), SystemClock(), cameras=1)
        away_s = 2 * CHUNK_REPORTS * 30.0
        result = await load.paced(
            period_s=1.0, duration_s=30.0, backlog_s=away_s, until_drained=True
        )
        assert result.errors == {}
        assert (result.backlog_reports, result.backlog_left) == (3 * 2 * CHUNK_REPORTS, 0)
        assert result.reports > result.backlog_reports
        assert _committed(conninfo) == (result.messages, 0, result.messages)
    with psycopg.connect(conninfo) as db:
        assert db.execute("SELECT DISTINCT have FROM lanes").fetchall() == [([],)]


async def test_a_device_enrols_and_signs_in_by_the_protocol(conninfo: str) -> None:
    """Claim, key, nonce and assertion are those of a real device; each has its own address."""
    async with central_inside(conninfo) as inside, Pool(inside.url, 4) as pool:
        (stranger,) = _bulk(conninfo, inside, 1)
        stranger.token = "worn-out"
        load = Load(pool, [stranger], SystemClock(), cameras=1)
        result = await load.closed(duration_s=2.0, concurrency=1)
        assert result.errors == {"401": 1}
        assert result.reports > 0
        services = inside.services
        async with services.db.transaction() as tx:
            claim = await enrolment.make_claim(
                tx, stranger.site, device="new", actor="test", now_ms=services.now_ms()
            )
        made = await roll.enrol(pool, claim, SystemClock(), address="10.0.0.9")
        assert (made.name, made.site) == ("new", stranger.site)
        assert made.token
        with pytest.raises(NotAllowed, match="claim token"):
            await roll.enrol(pool, claim, SystemClock())


async def _odd_server(answer: Callable[[asyncio.StreamWriter], None]) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"\0" * (5 * 1024 * 1024),
    ],
)
async def test_an_answer_that_is_none_fails_the_request_and_not_the_fleet(sent: bytes) -> None:
    """Whatever answers in central's place, the request ends with words."""
    async with await _odd_server(lambda writer: writer.write(sent)) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Pool(url, 1) as pool:
            with pytest.raises(CentralUnreachable):
                await pool.ask("GET", "/")


async def test_everybody_who_waits_learns_that_nobody_answers() -> None:
    """More requests than connections, and no central: each of them fails, none hangs."""
    async with Pool("http://127.0.0.1:9", 2) as pool:
        asked = [pool.ask("GET", "/") for _ in range(9)]
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [CentralUnreachable] * 9


async def test_a_central_that_hangs_is_given_up_in_time() -> None:
    """No answer within the limit is a failure, and the connection is not used again."""
    async with await _odd_server(lambda _writer: None) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Pool(url, 1, timeout_s=0.2) as pool:
            with pytest.raises(CentralUnreachable, match="in time"):
                await pool.ask("GET", "/")
            assert pool.connections == 0
