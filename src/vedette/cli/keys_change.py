"""`vedette keys add-target, approve, …`: what changes a repository, signed afterwards. Thin."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import click
import msgspec

from vedette.cli.keys_words import opened, repository_option, show_approval, show_status
from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError
from vedette.trust.tuf import deltas
from vedette.trust.tuf.approvals import approval_path
from vedette.trust.tuf.keyfiles import read_public
from vedette.trust.tuf.offline import DELEGATED, ROLES, OfflineRepository
from vedette.wire.slots import ArtefactKind
from vedette.wire.updates import Approval, Artefact

_SUFFIXES: Final = (".vbundle", ".vapp", ".vdeb", ".raucb", ".mender", ".json")
_file = click.Path(path_type=Path, dir_okay=False)


@click.command("add-target", short_help="Put FILE into the repository; its role is to be signed.")
@repository_option
@click.argument("file", type=_file)
@click.option("--as", "path", required=True, help="As models/yolox/1.2.0.vbundle.")
@click.option(
    "--delta-from",
    "before",
    multiple=True,
    metavar="PATH",
    help="Version to make a delta from; repeatable. Default: the 3 before it.",
)
@click.option("--no-deltas", is_flag=True, help="Devices download the whole file.")
def add_target(
    repository: Path, file: Path, path: str, before: tuple[str, ...], *, no_deltas: bool
) -> None:
    """Copy FILE into the repository under a path that begins with its role's folder.

    Deltas to it from versions before it, in the same folder, are made and put
    beside it where they save at least a quarter; they are signed with it.
    """
    offline, now_at = opened(repository), SystemClock().now_at()
    target = offline.add_target(path, file, now_at)
    click.echo(f"{path}: {target.length} bytes, sha256 {target.hashes['sha256']}")
    if not no_deltas and path.partition("/")[0] in set(ArtefactKind):
        deltas.remove_deltas(offline, now_at)
        for one in deltas.add_deltas(offline, path, _before(offline, path, before), now_at):
            share = f"{one.bytes} bytes, {100 * one.bytes / one.whole_bytes:.1f} %"
            kept = f"delta from {one.before}: {share} of the file"
            click.echo(kept if one.is_kept else f"no {kept}: it saves too little")
    show_status(offline)


def _before(offline: OfflineRepository, path: str, named: tuple[str, ...]) -> list[str]:
    """Return the versions that deltas are made from."""
    files = offline.named(path.partition("/")[0])
    missing = [one for one in named if one not in files]
    if missing:
        raise ConfigError(
            f"the repository has no {missing[0]}", operator_hint="vedette keys status"
        )
    return list(named) or deltas.versions_before(list(files), path)


@click.command("remove-target", short_help="Take PATH out of the repository.")
@repository_option
@click.argument("path")
def remove_target(repository: Path, path: str) -> None:
    """Take PATH out; what has it runs on, and nobody installs it any more."""
    offline, now_at = opened(repository), SystemClock().now_at()
    offline.remove_target(path, now_at)
    for gone in deltas.remove_deltas(offline, now_at):
        click.echo(f"{gone} goes with it")
    show_status(offline)


@click.command("approve", short_help="Approve targets for sites until a day, for ROLLOUT.")
@repository_option
@click.argument("rollout")
@click.option(
    "--target", "targets", multiple=True, required=True, help="Path; those to go back to, too."
)
@click.option("--site", "sites", multiple=True, required=True, help="A site; `*` is all of them.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 366))
@click.option("--note", default="", help="What the signers read.")
@click.option("--shadow/--no-shadow", default=True, help="May also run beside what is in use.")
@click.option(
    "--digest",
    "digests",
    multiple=True,
    metavar="PATH=sha256:…",
    help="What a model calls itself, where the bundle cannot be read here.",
)
def approve(  # noqa: PLR0917 - click passes them by name
    repository: Path,
    rollout: str,
    targets: tuple[str, ...],
    sites: tuple[str, ...],
    days: int,
    note: str,
    digests: tuple[str, ...],
    *,
    shadow: bool,
) -> None:
    """Stage the approval of a rollout: which files, at which sites, until when."""
    offline, now_at = opened(repository), SystemClock().now_at()
    said = {path: digest for path, _, digest in (text.partition("=") for text in digests)}
    approval = Approval(
        rollout=rollout,
        issued_ms=wall_ms(now_at),
        expires_ms=wall_ms(now_at + timedelta(days=days)),
        artefacts=[_artefact(offline, path, said.get(path, "")) for path in targets],
        sites=list(sites),
        shadow=shadow,
        note=note,
    )
    offline.approve(approval, now_at)
    show_approval(approval)
    show_status(offline)


@click.command("draft", short_help="Print a rollout of TARGET, for central to plan.")
@repository_option
@click.argument("rollout")
@click.option("--target", required=True, help="Path of what is rolled out.")
@click.option("--back", help="Path of what runs today, to which devices go back.")
@click.option("--slot", help="Name that cameras use the model by; needed for models.")
@click.option("--site", "sites", multiple=True, help="A site; repeatable. Default: all of them.")
@click.option("--window", nargs=2, help="Local hours to change over in, as 22:00 05:00.")
def draft(  # noqa: PLR0917 - click passes them by name
    repository: Path,
    rollout: str,
    target: str,
    back: str | None,
    slot: str | None,
    sites: tuple[str, ...],
    window: tuple[str, str] | None,
) -> None:
    """Print the file that `vedette central rollouts plan` and `create` read, as JSON.

    It needs no key, and signs nothing: hashes and lengths come from the folder.
    """
    offline = opened(repository)
    artefact = _artefact(offline, target, "")
    if slot is None and artefact.kind is ArtefactKind.MODEL:
        raise ConfigError(
            "into which slot?",
            operator_hint="--slot is the name that cameras use the model by;"
            " `vedette edge updates` prints a device's slots",
        )
    said: dict[str, object] = {
        "rollout": rollout,
        "kind": artefact.kind,
        "slot": slot or str(artefact.kind),
        "artefact": artefact,
    }
    if back:
        said["back"] = _artefact(offline, back, "")
    said["sites"] = list(sites) or ["*"]
    if window:
        said["windows"] = [window]
    click.echo(msgspec.json.format(msgspec.json.encode(said), indent=2).decode())


@click.command("revoke-approval", short_help="Take the approval of ROLLOUT back.")
@repository_option
@click.argument("rollout")
def revoke_approval(repository: Path, rollout: str) -> None:
    """Take an approval back: nothing of it is installed any more; what runs, runs on."""
    offline = opened(repository)
    offline.remove_target(approval_path(rollout), SystemClock().now_at())
    show_status(offline)


@click.command("rotate", short_help="Give ROLE other keys or another threshold.")
@repository_option
@click.argument("role", type=click.Choice([*ROLES, "snapshot", "timestamp"]))
@click.option("--add", multiple=True, type=_file, help="Public half of a new key; repeatable.")
@click.option("--remove", multiple=True, help="Beginning of a key's id; repeatable.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many must sign from now on.")
def rotate(
    repository: Path,
    role: str,
    add: tuple[Path, ...],
    remove: tuple[str, ...],
    threshold: int | None,
) -> None:
    """Stage other keys for ROLE; whoever gives the role must sign, and then the new keys.

    For root, enough of the keys before and enough of the new ones must sign.
    """
    offline = opened(repository)
    offline.rekey(
        role,
        SystemClock().now_at(),
        add=[read_public(file) for file in add],
        remove=remove,
        threshold=threshold,
    )
    show_status(offline)


@click.command("prolong", short_help="Have ROLES last anew, without any change.")
@repository_option
@click.argument("roles", nargs=-1, required=True, type=click.Choice(ROLES))
def prolong(repository: Path, roles: tuple[str, ...]) -> None:
    """Stage the next version of each role, saying the same, to be signed before it expires."""
    offline = opened(repository)
    for role in roles:
        offline.prolong(role, SystemClock().now_at())
    show_status(offline)


def _artefact(offline: OfflineRepository, path: str, digest: str) -> Artefact:
    """Return how an approval names a target of the repository."""
    found = next(
        (files[path] for role in DELEGATED if path in (files := offline.named(role))), None
    )
    if found is None or path.partition("/")[0] not in set(ArtefactKind):
        raise ConfigError(
            f"the repository has no {path}", operator_hint="vedette keys add-target FILE --as PATH"
        )
    sha256, size, file = found
    kind = ArtefactKind(path.partition("/")[0])
    return Artefact(
        kind=kind,
        target=path,
        sha256=sha256,
        bytes=size,
        digest=digest or (_digest_of(file) if kind is ArtefactKind.MODEL else f"sha256:{sha256}"),
        name=path.split("/")[1],
        version=_version(path),
    )


def _version(path: str) -> str:
    """Return what people read as the version: the last part of a path, without our suffixes."""
    last = path.rpartition("/")[2]
    return next((last.removesuffix(end) for end in _SUFFIXES if last.endswith(end)), last)


def _digest_of(file: Path) -> str:
    """Return what a model bundle calls itself."""
    try:
        from vedette.inference.bundle import Bundle
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the model bundle cannot be read here: {error.name} is not installed",
            operator_hint="give --digest PATH=sha256:…, or pip install 'vedette[edge]'",
        ) from error
    return Bundle.open(file).digest


COMMANDS: Final = (add_target, remove_target, draft, approve, revoke_approval, rotate, prolong)
