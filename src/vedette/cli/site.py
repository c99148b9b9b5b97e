"""`vedette site`: the owner's side of a site: its key, and what that key signs.

Meant for a machine that is not central: whoever has this key decides which pixels leave the site.
Thin: reads, calls `vedette.trust`, prints.
"""

from pathlib import Path

import click
import msgspec

from vedette import config
from vedette.cli.site_keys import read_file, replace_keys, show_chain
from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError, MalformedReport
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, SigningKey, write_private
from vedette.trust.site_policy import PolicyFile, bears_passwords, sign_policy
from vedette.wire.signed import POLICY_TYPE, Signed, SitePolicy

_key_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def command() -> None:
    """Make a site's key, and sign what only the site may say."""


@command.command("key", short_help="Make or read the site's key; print its public half.")
@click.argument("file", type=_key_file)
def key(file: Path) -> None:
    """Make the site's key in FILE, or read the one there; print its public half.

    Keep FILE away from central and in a backup. The public half goes to central with
    `vedette central site add --key`, and devices pin it when they are enrolled.
    """
    public = SigningKey.load_or_make(file).public
    click.echo(f"key id {public.keyid}, as `vedette edge enrol` will show it", err=True)
    click.echo(public.text)


command.add_command(replace_keys)


@command.command("sign", short_help="Sign POLICY: which pixels may leave the site.")
@click.argument("policy", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    "key_files",
    required=True,
    multiple=True,
    type=_key_file,
    help="A file of `vedette site key`; repeatable.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the signed document goes. Default: beside POLICY, as .json.",
)
def sign(policy: Path, key_files: tuple[Path, ...], output: Path | None) -> None:
    """Sign POLICY, a YAML file: which pixels may leave the site, and where its cameras are."""
    output = output or policy.with_suffix(".signed.json" if policy.suffix == ".json" else ".json")
    said = config.load(policy, PolicyFile)
    keys = [SigningKey.load(file) for file in key_files]
    signed = sign_policy(said, keys, now_ms=wall_ms(SystemClock().now_at()))
    try:
        # private: addresses of cameras may hold passwords
        write_private(output, msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"version {said.version} for {said.site}, signed by {len(keys)}: {output}")
    if bears_passwords(said):
        click.echo(
            "passwords of cameras stand in it in clear, and central keeps it: seal them with"
            " `seal_for:` and what `vedette edge sealing-key` prints on each device",
            err=True,
        )


@command.command("show", short_help="Print what a SIGNED policy says.")
@click.argument("signed", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--key", "keys", required=True, multiple=True, help="A site's public key.")
@click.option(
    "--threshold", default=1, show_default=True, help="How many of them must have signed."
)
def show(signed: Path, keys: tuple[str, ...], threshold: int) -> None:
    """Print what a SIGNED policy says, if one of the keys signed it. Addresses are shown.

    \b
    A chain of `vedette site replace-keys` too: then --key and --threshold are
    those of the keys before its first document.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    pinned = [PublicKey.from_text(text) for text in keys]
    try:
        if b'"documents"' in signed.read_bytes()[:64]:
            show_chain(read_file(signed), pinned, threshold)
            return
        document = msgspec.json.decode(signed.read_bytes(), type=Signed)
    except OSError as error:
        raise ConfigError(f"cannot read {signed}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReport(f"{signed} is not a signed document: {error}") from error
    said = dsse.open_struct(
        document, SitePolicy, pinned, payload_type=POLICY_TYPE, threshold=threshold
    )
    click.echo(msgspec.json.format(msgspec.json.encode(said), indent=2).decode())
