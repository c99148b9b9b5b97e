"""`vedette keys`: the keys by which everything that devices install is signed, step by step.

Meant for machines that are not central, and for several people who never put their keys in one
place: each signs what is staged in a folder and passes it on. Thin: reads, asks, calls
`vedette.trust.tuf`, prints. The rule: whoever signs is shown what, before; a passphrase or PIN is
asked for or read from a file, and never stands on a command line or in a log.
"""

from pathlib import Path

import click
import msgspec

from vedette.cli import keys_change, keys_publish
from vedette.cli.keys_words import (
    asking,
    opened,
    passphrase_option,
    repository_option,
    show_staged,
    show_status,
)
from vedette.clock import SystemClock
from vedette.errors import ConfigError
from vedette.trust.tuf.keyfiles import make_key, note_hardware_key, open_key, read_public
from vedette.trust.tuf.offline import DELEGATED, ROLES, RolePlan

_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def command() -> None:
    """Sign what devices may install: a ceremony in small steps."""


@command.command("new", short_help="Make a key in FILE, encrypted; its public half beside it.")
@click.argument("file", type=_file)
@passphrase_option
def new(file: Path, passphrase_file: Path | None) -> None:
    """Make a key in FILE, encrypted by a passphrase, and its public half in FILE.pub.

    Each person makes their own and gives away only the .pub file.
    """
    public = make_key(file, asking(passphrase_file, confirm=True)(str(file)))
    click.echo(f"key {public.keyid[:16]}: {file}, public half {file.with_suffix('.pub')}")


@command.command("hardware", short_help="Use a key in a PKCS#11 token; note in FILE where it is.")
@click.argument("file", type=_file)
@click.option("--module", type=_file, required=True, help="The token's PKCS#11 library (.so).")
@click.option("--token", required=True, help="The token's label.")
@click.option("--id", "key_id", type=int, default=2, show_default=True, help="Of the key pair.")
@passphrase_option
def hardware(
    file: Path, module: Path, token: str, key_id: int, passphrase_file: Path | None
) -> None:
    """Note in FILE where a key pair (ECDSA, P-256 or P-384) is; it never leaves its token."""
    public = note_hardware_key(
        file, module=module, token=token, key_id=key_id, ask=asking(passphrase_file)
    )
    click.echo(f"key {public.keyid[:16]} in {token}: {file}, public {file.with_suffix('.pub')}")


@command.command("init", short_help="Begin a repository: whose keys, and how many must sign.")
@repository_option
@click.option(
    "--key", "keys", multiple=True, type=_file, required=True, help="Public half; repeatable."
)
@click.option("--threshold", default=1, show_default=True, help="How many of them must sign.")
@click.option(
    "--role",
    "own",
    multiple=True,
    metavar="ROLE=FILE",
    help="A role with keys of its own, one of which must sign; repeatable.",
)
@click.option(
    "--central",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder with what `vedette central releases keys` wrote.",
)
def init(
    repository: Path, keys: tuple[Path, ...], threshold: int, own: tuple[str, ...], central: Path
) -> None:
    """Stage the first version of every role; nothing holds before enough have signed.

    \b
    Three people, two of whom must sign; models by one key of the team that
    trains them:
      vedette keys init --key anna.pub --key ben.pub --key cleo.pub \\
          --threshold 2 --role models=team.pub --central from-central
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    shared = RolePlan([read_public(file) for file in keys], threshold)
    plan = dict.fromkeys(ROLES, shared)
    theirs: dict[str, list[Path]] = {}
    for text in own:
        role, _, file = text.partition("=")
        if role not in DELEGATED or not file:
            raise ConfigError(f"{text!r}: as models=team.pub; roles: {', '.join(DELEGATED)}")
        theirs.setdefault(role, []).append(Path(file))
    for role, files in theirs.items():
        plan[role] = RolePlan([read_public(file) for file in files])
    for role in ("snapshot", "timestamp"):
        plan[role] = RolePlan([read_public(central / f"central-{role}.pub")])
    offline = opened(repository)
    offline.create(plan, SystemClock().now_at())
    show_status(offline)


@command.command("status", short_help="Roles, keys, thresholds, expiry; who must still sign.")
@repository_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(repository: Path, *, as_json: bool) -> None:
    """Show how every role stands, and what to do about it."""
    offline = opened(repository)
    if as_json:
        rows = msgspec.json.encode(offline.status(SystemClock().now_at()))
        click.echo(msgspec.json.format(rows, indent=2).decode())
    else:
        show_status(offline)


@command.command("show", short_help="Print what waits for signatures, as one would sign it.")
@repository_option
def show(repository: Path) -> None:
    """Print what waits for signatures: files, approvals, keys."""
    offline = opened(repository)
    show_staged(offline, [role for role in ROLES if offline.staged(role)])


@command.command("sign", short_help="Sign what is staged, after reading it.")
@repository_option
@click.option("--key", "keys", multiple=True, type=_file, required=True, help="Key file.")
@click.option("--role", "roles", multiple=True, help="Only these. Default: all it may sign.")
@click.option("--yes", is_flag=True, help="Do not ask; what is signed is printed all the same.")
@passphrase_option
def sign(
    repository: Path,
    keys: tuple[Path, ...],
    roles: tuple[str, ...],
    passphrase_file: Path | None,
    *,
    yes: bool,
) -> None:
    """Sign what is staged with one's own key; with enough signatures it is complete."""
    offline = opened(repository)
    for file in keys:
        keyid = read_public(file).keyid
        mine = [role for role in offline.signable(keyid) if not roles or role in roles]
        show_staged(offline, mine)
        if mine and not yes:
            click.confirm(f"Sign {', '.join(mine)} with {file}?", abort=True)
        done = offline.sign(open_key(file, asking(passphrase_file)), roles)
        click.echo(f"{file} signed {', '.join(done)}")
    show_status(offline)


for _further in (*keys_change.COMMANDS, keys_publish.publish):
    command.add_command(_further)
