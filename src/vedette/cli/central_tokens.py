"""`vedette central token add, list, revoke`: API tokens, by hand.

Thin: reads arguments, calls `central.accounts`, prints. A token is printed once and stored as a
hash; it may do what its user may, looked up with every request. The rule: whoever is at this
terminal has the database anyway, so a token is made here for any user; the audit log says so.
"""

from datetime import timedelta

import click
import msgspec

from vedette.central import accounts, audit
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Tx
from vedette.cli.at_central import ACTOR, in_transaction, now_ms, show_json, show_table
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError


@click.group("token")
def token_group() -> None:
    """API tokens: make one, list them, end one."""


@token_group.command("add")
@click.argument("username")
@click.option("--label", required=True, help="What it is for; `token list` shows it.")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 366))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def token_add(
    config: CentralConfig, username: str, label: str, days: int, *, as_json: bool
) -> None:
    """Print a token that may do what USERNAME may, once.

    The token alone goes to standard output; until when it holds to standard error.
    """
    label = label.strip()
    if not 0 < len(label) <= 60 or not label.isprintable():
        raise ConfigError("--label has 1 to 60 printable characters")
    life_s = int(timedelta(days=days).total_seconds())
    made_ms = now_ms()

    async def add(tx: Tx) -> str:
        await accounts.require_user(tx, username)
        token, _ = await accounts.open_session(
            tx, username, made_ms, life_s=life_s, kind="api", label=label
        )
        await audit.write(
            tx,
            at_ms=made_ms,
            actor=ACTOR,
            action="token.make",
            target=username,
            detail={"label": label, "days": days},
        )
        return token

    token, expires_ms = in_transaction(config, add), made_ms + life_s * 1000
    if as_json:
        show_json({"token": token, "username": username, "expires_ms": expires_ms})
        return
    click.echo(token)
    click.echo(f"{username}'s, until {_at(expires_ms)}; it is not shown again", err=True)


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    username: str
    kind: str
    label: str
    created_ms: int
    seen_ms: int
    expires_ms: int


@token_group.command("list")
@click.option("--user", "username", help="Only of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def token_list(config: CentralConfig, username: str | None, *, as_json: bool) -> None:
    """List API tokens that still hold, without the tokens."""

    async def read(tx: Tx) -> list[_Row]:
        from_the_first = {"after_username": "", "after_ms": 0, "after_token": "", "limit": None}
        found = await tx.all(
            "sessions_page", _Row, username=username, now_ms=now_ms(), **from_the_first
        )
        return [row for row in found if row.kind == "api"]

    found = in_transaction(config, read)
    if as_json:
        show_json(found)
        return
    cells = [
        [row.token, row.username, row.label, _at(row.created_ms), _at(row.seen_ms),
         _at(row.expires_ms)]
        for row in found
    ]  # fmt: skip
    head = ["token", "user", "for", "made", "last used", "until"]
    show_table(head, cells, "no API token: vedette central token add USERNAME --label PURPOSE")


@token_group.command("revoke")
@click.argument("token")
@click.pass_obj
def token_revoke(config: CentralConfig, token: str) -> None:
    """End a token at once; name it as `token list` does."""

    async def end(tx: Tx) -> str:
        owner = await tx.value("session_end_named", token=token[:64], username=None)
        if owner is None:
            raise ConfigError(
                f"there is no token {token[:20]!r}", operator_hint="vedette central token list"
            )
        await audit.write(
            tx,
            at_ms=now_ms(),
            actor=ACTOR,
            action="token.end",
            target=str(owner),
            detail={"token": token[:64]},
        )
        return str(owner)

    click.echo(f"ended; it was {in_transaction(config, end)}'s")


def _at(ms: int) -> str:
    return f"{from_wall_ms(ms):%Y-%m-%d %H:%M}"
