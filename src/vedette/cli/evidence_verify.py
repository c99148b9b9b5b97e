"""`vedette evidence verify`: is a package what was written, and who made it? Thin."""

import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from vedette.cli.printable import clean
from vedette.edge import settings
from vedette.edge.evidence import catalog, copies
from vedette.edge.evidence.examine import Examination, examine
from vedette.edge.evidence.origin import (
    Keys,
    Origin,
    given_keys,
    keys_in,
    keys_of_central,
    own_keys,
)
from vedette.errors import ConfigError

NOT_WHOLE: Final = 1
"""Exit status where a package is not what was written."""


@click.command("verify", short_help="Check packages, and who made them.")
@click.argument("packages", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every package; also where none is named.")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
@click.option("--key", "given", multiple=True, help="The device's public key, or its id.")
@click.option(
    "--keys",
    "listed",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with such keys, or central's list.",
)
@click.option("--central", metavar="URL", help="Ask this central which keys are the device's.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="VEDETTE_TOKEN_FILE",
    help="File with an API token, for --central.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    packages: tuple[str, ...],
    path: Path,
    given: tuple[str, ...],
    listed: Path | None,
    central: str | None,
    *,
    token_file: Path | None,
    every: bool,
    as_json: bool,
) -> None:
    """Check packages: hashes, signature, facts, video and times.

    \b
    On the device, PACKAGES are ids; elsewhere they are folders or .zip files,
    from central or `evidence export`:
      vedette evidence verify --all
      vedette evidence verify clip.zip --central https://central \\
          --token-file token
      vedette evidence verify handover/ --key 4b5a...

    \b
    A signature proves that nothing was changed since the device signed it;
    whose key it is, --central, --keys or --key say. What could not be proven
    is printed too. Exit status 1 where a package is not what was written, or
    not signed by a key that you gave.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    keys = _keys(list(given), listed, central, token_file)
    places = [Path(one) for one in packages if _is_place(one)]
    ids = [one for one in packages if not _is_place(one)]
    verdicts: list[Examination] = []
    for place in places:
        with copies.opened(place) as found:
            verdicts += [examine(folder, keys=keys, is_copy=True) for folder in found]
    if ids or every or not places:
        verdicts += _on_device(path, ids, keys, every=every)
    bad = [verdict for verdict in verdicts if not verdict.is_whole]
    if as_json:
        said = msgspec.json.encode([_as_builtins(verdict) for verdict in verdicts])
        click.echo(msgspec.json.format(said, indent=2).decode())
    else:
        for verdict in verdicts:
            _print(verdict, in_full=len(verdicts) == 1)
        click.echo(f"{len(verdicts) - len(bad)} of {len(verdicts)} packages are whole")
    if bad:
        sys.exit(NOT_WHOLE)


def _is_place(text: str) -> bool:
    return "/" in text or text.endswith(".zip") or Path(text).is_dir()


def _on_device(path: Path, ids: list[str], keys: Keys | None, *, every: bool) -> list[Examination]:
    config = settings.load(path)
    root = config.state_dir / "evidence"
    if ids and not every:
        chosen = [catalog.find(root, one) for one in ids]
    else:
        chosen = catalog.packages(root)
    keys = keys or own_keys(config.state_dir)
    return [examine(package.path, keys=keys) for package in chosen]


def _keys(
    given: list[str], listed: Path | None, central: str | None, token_file: Path | None
) -> Keys | None:
    """Return whose signatures are believed.

    Raises:
        ConfigError: More than one source, or one that makes no sense.
    """
    if sum(map(bool, (given, listed, central))) > 1:
        raise ConfigError("give one of --key, --keys and --central")
    if given:
        return given_keys(given)
    if listed:
        return keys_in(listed)
    if not central:
        return None
    if token_file is None:
        raise ConfigError("--central needs --token-file, a file with an API token")
    try:
        token = token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{token_file} cannot be read: {error}") from error
    return keys_of_central(central, token)


def _print(verdict: Examination, *, in_full: bool) -> None:
    signed = [one for one in verdict.origins if one.statement is not None]
    who = "not signed"
    if signed and signed[0].statement is not None:
        statement = signed[0].statement
        by = "signed by" if signed[0].whose else "signed, as it says, by"
        who = f"{by} {statement.device or 'a device of no central'}"
        who += f" at {statement.site}" if statement.site else ""
    state = f"whole, {who}" if verdict.is_whole else "NOT WHOLE"
    click.echo(f"{verdict.evidence}  {clean(state)}")
    for problem in verdict.problems:
        click.echo(f"  {clean(problem)}")
    for one in verdict.origins if in_full and verdict.is_whole else ():
        what = "blurred copy: " if one.form == "blurred" else ""
        for text in one.proven:
            click.echo(f"  proven      {what}{clean(text)}")
        for text in one.unproven:
            click.echo(f"  not proven  {what}{clean(text)}")


def _as_builtins(verdict: Examination) -> dict[str, Any]:
    return {
        "evidence": verdict.evidence,
        "whole": verdict.is_whole,
        "problems": list(verdict.problems),
        "signatures": [_signature(one) for one in verdict.origins],
    }


def _signature(one: Origin) -> dict[str, Any]:
    return {
        "form": one.form,
        "signed": one.statement is not None,
        "keyid": one.keyid,
        "key_is_known": one.whose,
        "statement": msgspec.to_builtins(one.statement),
        "proven": list(one.proven),
        "not_proven": list(one.unproven),
    }
