"""Who is in the fleet: names, keys, tokens, and the two ways in.

`enrol` goes through the protocol as every device does: claim token, proof of possession, nonce,
signed assertion, access token. Central limits how many may do so from one address; where it stands
behind a proxy (`behind_proxy`), each simulated device has an address of its own.

`enrol_in_bulk` writes the same rows into central's database, ten thousand in a second: with real
keys, so that tokens are renewed by the protocol, but without audit entries. For benchmarks.
"""

import asyncio
import secrets
from typing import Final
from urllib.parse import urlencode

import msgspec
import psycopg

from vedette.central.enrolment import secret_hash
from vedette.clock import Clock, wall_ms
from vedette.errors import CentralUnreachable, NotAllowed, StoreError
from vedette.sim.fleet.http import Pool
from vedette.trust.assertion import ASSERTION_TYPE, GRANT_TYPE, make_assertion
from vedette.trust.keys import PublicKey, SigningKey, prove_possession
from vedette.wire.enrol import EnrolAnswer, EnrolRequest, Nonce, TokenAnswer

BULK_TOKEN_S: Final = 24 * 3600
_JSON: Final = {"Content-Type": "application/json"}
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_MAX_PATIENCE: Final = 120
_PATIENCE_S: Final = 1.0


class Member:
    """One device of the fleet, as far as its identity goes."""

    __slots__ = ("address", "audience", "key", "name", "site", "token")

    def __init__(self, name: str, site: str, key: SigningKey, address: str = "") -> None:
        self.name = name
        self.site = site
        self.key = key
        self.audience = ""
        self.token = ""
        self.address = address

    @property
    def headers(self) -> dict[str, str]:
        """What a proxy in front of central would say of it."""
        return {"X-Forwarded-For": self.address} if self.address else {}


def address_of(number: int) -> str:
    """Return the simulated address of the device of this number."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def names(count: int, tag: str = "") -> list[str]:
    """Return `count` device names of equal length, unlike those of any other fleet."""
    tag = tag or secrets.token_hex(2)
    return [f"l{tag[:4]:0<4}-{n:06d}" for n in range(count)]


async def enrol(
    pool: Pool, claim_token: str, clock: Clock, *, key: SigningKey | None = None, address: str = ""
) -> Member:
    """Return a new device with an access token, enrolled as a device enrols.

    Raises:
        NotAllowed: The claim token does not hold, or central refuses a token.
        CentralUnreachable: No answer, or limited for longer than we wait.
    """
    key = key or SigningKey.generate()
    request = EnrolRequest(
        claim_token=claim_token,
        public_key=key.public.text,
        proof=prove_possession(key, claim_token),
        hardware="simulated",
        version="sim",
    )
    member = Member("", "", key, address)
    body = msgspec.json.encode(request)
    data = await _patiently(pool, "/v1/enrol", body, {**_JSON, **member.headers})
    answer = msgspec.json.decode(data, type=EnrolAnswer)
    member.name, member.site = answer.device, answer.site
    member.audience = PublicKey.from_text(answer.central_key).keyid
    await sign_in(pool, member, clock)
    return member


async def sign_in(pool: Pool, member: Member, clock: Clock) -> None:
    """Have a fresh access token: nonce, assertion, token (RFC 7523).

    Raises:
        NotAllowed: Central refuses.
        CentralUnreachable: No answer.
    """
    data = await _patiently(pool, "/v1/nonce", b"", {**_JSON, **member.headers})
    assertion = make_assertion(
        member.key,
        device=member.name,
        audience=member.audience,
        nonce=msgspec.json.decode(data, type=Nonce).nonce,
        now_s=wall_ms(clock.now_at()) // 1000,
    )
    form = {
        "grant_type": GRANT_TYPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }
    body = urlencode(form).encode()
    data = await _patiently(pool, "/v1/token", body, {**_FORM, **member.headers})
    member.token = msgspec.json.decode(data, type=TokenAnswer).access_token


async def _patiently(pool: Pool, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return the answer, waiting where central asks for patience."""
    for _ in range(_MAX_PATIENCE):
        status, data = await pool.ask("POST", path, body, headers)
        if status == 200:
            return data
        if status not in {429, 503}:
            text = data[:300].decode(errors="replace")
            raise NotAllowed(
                f"central answered {status} to {path}: {text}",
                operator_hint="make fresh claim tokens",
            )
        await asyncio.sleep(_PATIENCE_S)
    raise CentralUnreachable(
        f"{path}: central limits us for longer than we wait",
        operator_hint="run central behind_proxy, or enrol with --database",
    )


def enrol_in_bulk(
    database_url: str,
    count: int,
    audience: str,
    clock: Clock,
    *,
    per_site: int = 10,
    tag: str = "",
) -> list[Member]:
    """Return `count` devices with access tokens for a day, written into central's database.

    Args:
        database_url: Of central.
        count: How many.
        audience: Key id of central's online key; empty where no token will be renewed.
        clock: Central's.
        per_site: Devices of one site.
        tag: Four characters of the names; random where empty.

    Raises:
        StoreError: The database does not answer or has other tables.
    """
    members: list[Member] = []
    for number, name in enumerate(names(count, tag)):
        site = f"{name.partition('-')[0]}-s{number // per_site:05d}"
        member = Member(name, site, SigningKey.generate(), address_of(number))
        member.audience, member.token = audience, secrets.token_urlsafe(32)
        members.append(member)
    try:
        with psycopg.connect(database_url, connect_timeout=10) as db:
            _write(db, members, wall_ms(clock.now_at()))
    except psycopg.Error as error:
        raise StoreError(f"cannot enrol into central's database: {error}") from error
    return members


def _write(db: psycopg.Connection[tuple[object, ...]], members: list[Member], now_ms: int) -> None:
    with db.cursor() as cursor:
        with cursor.copy("COPY sites (site, name, created_ms) FROM STDIN") as copy:
            for site in sorted({member.site for member in members}):
                copy.write_row((site, site, now_ms))
        columns = "device, site, public_key, hardware, version, enrolled_ms"
        with cursor.copy(f"COPY devices ({columns}) FROM STDIN".encode()) as copy:
            for member in members:
                key = member.key.public.text
                copy.write_row((member.name, member.site, key, "simulated", "sim", now_ms))
        until_ms = now_ms + BULK_TOKEN_S * 1000
        with cursor.copy("COPY access_tokens (token_hash, device, expires_ms) FROM STDIN") as copy:
            for member in members:
                copy.write_row((secret_hash(member.token), member.name, until_ms))
