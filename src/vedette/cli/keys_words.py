"""What the commands of `vedette keys` share: the folder, secrets, and what people read."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from vedette.cli.printable import add_row, clean
from vedette.clock import SystemClock, from_wall_ms
from vedette.errors import ConfigError
from vedette.trust.tuf.keyfiles import Ask
from vedette.trust.tuf.library import Root, Targets
from vedette.trust.tuf.offline import OfflineRepository
from vedette.wire.updates import APPROVALS, Approval

repository_option = click.option(
    "--repository",
    envvar="VEDETTE_REPOSITORY",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("repository"),
    show_default=True,
    help="The folder. Environment: VEDETTE_REPOSITORY.",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read the passphrase or PIN from here instead of asking.",
)
_MAX_SECRET_BYTES: Final = 1024
_SHOWN: Final = 200


def opened(repository: Path) -> OfflineRepository:
    """Return the folder as a repository; it need not exist."""
    return OfflineRepository(repository)


def asking(file: Path | None, *, confirm: bool = False) -> Ask:
    """Return what asks for a passphrase or PIN, at the terminal or from a file's first line."""

    def ask(what: str) -> str:
        if file is None:
            said: str = click.prompt(
                f"Passphrase of {what}", hide_input=True, confirmation_prompt=confirm, err=True
            )
            return said
        try:
            with file.open("rb") as source:
                return source.read(_MAX_SECRET_BYTES).decode().split("\n", 1)[0]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {file}: {error}") from error

    return ask


def show_status(offline: OfflineRepository) -> None:
    """Print how every role stands."""
    rows = offline.status(SystemClock().now_at())
    if not rows:
        click.echo(f"{offline.folder} has no repository: vedette keys init")
        return
    table = Table("role", "version", "expires", "signed", "missing", "", box=None, pad_edge=False)
    for row in rows:
        version = f"{row.version or '–'}" + (f" → {row.staged}" if row.staged else "")
        wants = f"{row.wants} more must sign" if row.wants else ""
        add_row(
            table,
            row.role,
            version,
            f"{row.expires_at:%Y-%m-%d}" if row.expires_at else "",
            f"{len(row.signed)} (needs {row.threshold})",
            " ".join(keyid[:16] for keyid in row.missing) if row.staged else "",
            wants or row.problem,
        )
    Console(width=None if Console().is_terminal else 160).print(table)


def show_staged(offline: OfflineRepository, roles: Sequence[str]) -> None:
    """Print what a signature on these roles would say, and what it changes."""
    for role in roles:
        staged, before = offline.staged(role), offline.complete(role)
        if staged is None:
            continue
        signed = staged.signed
        click.echo(f"\n{role} version {signed.version}, until {_day(signed.expires)}")
        if isinstance(signed, Root):
            for name, known in signed.roles.items():
                keys = " ".join(keyid[:16] for keyid in known.keyids)
                click.echo(f"  {name}: {known.threshold} of {keys}")
            continue
        for name, one in ((signed.delegations.roles if signed.delegations else None) or {}).items():
            keys = " ".join(keyid[:16] for keyid in one.keyids)
            click.echo(f"  {name}: {one.threshold} of {keys}")
        old = before.signed.targets if before and isinstance(before.signed, Targets) else {}
        for path in sorted({*signed.targets, *old}):
            _show_change(path, signed.targets.get(path), old.get(path))
    if APPROVALS in roles:
        for approval in offline.approvals():
            show_approval(approval)


def show_approval(approval: Approval) -> None:
    """Print an approval as its signers read it."""
    begins, ends = from_wall_ms(approval.issued_ms), from_wall_ms(approval.expires_ms)
    sites = ", ".join(clean(site) for site in approval.sites[:_SHOWN])
    more = f" and {len(approval.sites) - _SHOWN} more" if len(approval.sites) > _SHOWN else ""
    click.echo(f"\napproval {clean(approval.rollout)}: {_day(begins)} to {_day(ends)}")
    click.echo(f"  sites: {'ALL SITES' if '*' in approval.sites else sites + more}")
    for artefact in approval.artefacts:
        click.echo(f"  {clean(artefact.target)} {artefact.bytes} bytes")
        click.echo(f"    sha256 {artefact.sha256}\n    runs as {clean(artefact.digest)}")
    if approval.note:
        click.echo(f"  note: {clean(approval.note)}")
    if not approval.shadow:
        click.echo("  not beside what is in use (no shadow)")


def show_json(found: object) -> None:
    """Print JSON, indented."""
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def _show_change(path: str, new: object, old: object) -> None:
    mark = " " if new == old else "-" if new is None else "+" if old is None else "!"
    length, hashes = getattr(new or old, "length", 0), getattr(new or old, "hashes", {})
    click.echo(f"  {mark} {clean(path)}  {length} bytes  sha256 {hashes.get('sha256', '')}")


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"
