"""`vedette central devices` and `claims`: who may speak, and what to do about who should not."""

from datetime import timedelta

import click

from vedette.amounts import counted
from vedette.central import enrolment, quarantine, rotation
from vedette.central.settings import CentralConfig
from vedette.central.store.db import Database
from vedette.cli.at_central import ACTOR, now_ms, with_database
from vedette.clock import from_wall_ms
from vedette.errors import ConfigError


@click.group("devices", short_help="Devices: list, revoke, release, re-enrol, rotate.")
def command() -> None:
    """Devices: list, revoke, release from quarantine, re-enrol, demand another key."""


@command.command("list")
@click.pass_obj
def list_command(config: CentralConfig) -> None:
    """List every device, and why one is in quarantine."""
    print_devices(config, None)
    for suspect in with_database(config, quarantine.suspects):
        if suspect.evidence is not None:
            click.echo(f"\n{suspect.site}/{suspect.device}: {suspect.evidence.why}")
            click.echo(
                f"  since {_at(suspect.evidence.since_ms)},"
                f" known {_at(suspect.evidence.noticed_ms)}"
            )
            for copy in suspect.evidence.copies:
                click.echo(
                    f"  copy {copy.copy}  from {copy.address or '?'}  last {_at(copy.seen_ms)}"
                )
        for aside in suspect.set_aside:
            messages = counted(aside.messages, "message")
            click.echo(
                f"  set aside of {suspect.device}, copy {aside.copy}: {messages},"
                f" {_at(aside.from_ms)} to {_at(aside.to_ms)}"
            )


@command.command("revoke", short_help="Take nothing from a device any more, at once.")
@click.argument("device")
@click.option("--reason", default="", help="Why; stands in the audit log.")
@click.pass_obj
def revoke_command(config: CentralConfig, device: str, reason: str) -> None:
    """Take nothing from a device any more, at once; what it sent stays."""
    revoke(config, device, reason)
    click.echo(f"{device} is revoked; a claim with --replace gives its name to another key")


@command.command("rotate-key")
@click.argument("device")
@click.pass_obj
def rotate_command(config: CentralConfig, device: str) -> None:
    """Have a device make itself another key at its next contact."""

    async def ask(db: Database) -> None:
        async with db.transaction() as tx:
            await rotation.ask_rotation(tx, device, actor=ACTOR, now_ms=now_ms())

    with_database(config, ask)
    click.echo(f"{device} will be asked")


@command.command("release")
@click.argument("device")
@click.option("--copy", default="", help="Count only this copy (its boot id); drop the others.")
@click.option("--drop", is_flag=True, help="Count nothing: forget what was set aside.")
@click.pass_obj
def release(config: CentralConfig, device: str, copy: str, *, drop: bool) -> None:
    """Take a device out of quarantine and count what was set aside.

    With --drop the quarantine goes on and what was set aside is forgotten.
    """
    if copy and drop:
        raise ConfigError("--copy counts one copy and --drop none: choose one")

    async def judge(db: Database) -> quarantine.Judged:
        if drop:
            return await quarantine.drop(db, device, actor=ACTOR, now_ms=now_ms())
        return await quarantine.release(db, device, copy=copy, actor=ACTOR, now_ms=now_ms())

    judged = with_database(config, judge)
    click.echo(f"{counted(judged.counted, 'message')} counted, {judged.dropped} dropped")


@command.command("re-enrol", short_help="Give a device's name to another machine's key.")
@click.argument("device")
@click.option("--reason", default="its key is in the wrong hands", show_default=True)
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 24 * 30))
@click.pass_obj
def re_enrol(config: CentralConfig, device: str, reason: str, hours: int) -> None:
    """Revoke a device's key for ever, and print a claim token that takes over its name.

    \b
    On the machine that is to be the device from now on:
      vedette edge enrol --replace
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped

    async def make(db: Database) -> str:
        async with db.transaction() as tx:
            return await enrolment.re_enrol(
                tx,
                device,
                reason=reason,
                actor=ACTOR,
                now_ms=now_ms(),
                life_s=int(timedelta(hours=hours).total_seconds()),
            )

    click.echo(with_database(config, make))


@click.group("claims")
def claims() -> None:
    """Claim tokens: which are still good, and withdrawing one."""


@claims.command("list")
@click.option("--all", "used", is_flag=True, help="Also those that were used or have expired.")
@click.pass_obj
def claims_list(config: CentralConfig, *, used: bool) -> None:
    """List claim tokens; the tokens themselves are known to nobody."""

    async def find(db: Database) -> list[enrolment.Claim]:
        async with db.transaction() as tx:
            return await enrolment.list_claims(tx, now_ms(), used=used)

    for row in with_database(config, find):
        what = f"replaces {row.device}" if row.replaces else row.device or "any name"
        state = f"used by {row.used_by}" if row.used_ms else f"until {_at(row.expires_ms)}"
        click.echo(f"{row.claim}  {row.site}  {what}  {state}  made by {row.made_by or '?'}")


@claims.command("withdraw")
@click.argument("claim")
@click.pass_obj
def claims_withdraw(config: CentralConfig, claim: str) -> None:
    """Have a claim token worth nothing; name it as `claims list` does."""

    async def withdraw(db: Database) -> None:
        async with db.transaction() as tx:
            await enrolment.withdraw_claim(tx, claim, actor=ACTOR, now_ms=now_ms())

    with_database(config, withdraw)
    click.echo("withdrawn")


def revoke(config: CentralConfig, device: str, reason: str) -> None:
    """Take nothing from this device any more."""

    async def do(db: Database) -> None:
        async with db.transaction() as tx:
            await enrolment.revoke(tx, device, reason=reason, actor=ACTOR, now_ms=now_ms())

    with_database(config, do)


def print_devices(config: CentralConfig, device: str | None) -> None:
    """Print one line for each device, or for one."""

    async def find(db: Database) -> list[tuple[object, ...]]:
        async with db.transaction() as tx:
            return await tx.tuples("devices_list")

    for row in with_database(config, find):
        name, site, state, version, hardware, contact_ms, revoked_ms, reason, quarantined = row[:9]
        if device not in {None, name}:
            continue
        word = "quarantined" if quarantined else state
        if revoked_ms:
            word = f"revoked ({reason})" if reason else "revoked"
        contact = _at(contact_ms) if isinstance(contact_ms, int) else "never"
        click.echo(f"{site}/{name}  {word}  last contact {contact}  {version}  {hardware}")
        down = row[9] if isinstance(row[9], dict) and not revoked_ms else {}
        for camera, detail in sorted(down.items()):
            click.echo(f"  {camera}  down{f': {detail}' if detail else ''}")


def _at(ms: int) -> str:
    return f"{from_wall_ms(ms):%Y-%m-%d %H:%M:%S} UTC"
