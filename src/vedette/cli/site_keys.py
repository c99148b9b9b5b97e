"""`vedette site replace-keys`: the owner hands a site over to other keys.

Meant for machines that are not central, and for several people who never put their keys in one
place: each adds a signature and passes the file on. Thin: reads, calls `vedette.trust`, prints.
"""

from pathlib import Path

import click
import msgspec

from vedette.clock import SystemClock, wall_ms
from vedette.errors import ConfigError
from vedette.trust import dsse
from vedette.trust.keys import PublicKey, SigningKey, write_private
from vedette.trust.site_keys import (
    MAX_CHAIN_FILE_BYTES,
    KeySet,
    claimed,
    follow,
    make,
    read_chain,
    signers_of,
)
from vedette.wire.signed import Signed, SiteKeyChain, SiteKeys

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("replace-keys")
@click.option("--site", help="The site, as central names it.")
@click.option("--old", "old", multiple=True, type=_file, help="Key file so far; repeatable.")
@click.option("--new", "new", multiple=True, type=_file, help="Key file from now on; repeatable.")
@click.option(
    "--new-public", multiple=True, help="Public half of a new key that somebody else has."
)
@click.option(
    "--threshold", default=1, show_default=True, help="How many of the new keys must sign."
)
@click.option("--from", "source", type=_file, help="The chain so far; it goes on from its end.")
@click.option("--version", type=click.IntRange(min=2), help="Of the new keys; without --from: 2.")
@click.option("--add-signature", is_flag=True, help="Only sign the last document of --from too.")
@click.option("-o", "--output", type=_file, help="Where the chain goes; chain.json, or --from.")
def replace_keys(  # noqa: PLR0917 - click passes them by name
    site: str | None,
    old: tuple[Path, ...],
    new: tuple[Path, ...],
    new_public: tuple[str, ...],
    threshold: int,
    source: Path | None,
    version: int | None,
    output: Path | None,
    *,
    add_signature: bool,
) -> None:
    """Sign that a site has other keys from now on.

    \b
    The first time, with one key before and one after:
      vedette site key new.key
      vedette site replace-keys --site SITE --old old.key --new new.key -o chain.json
    then, at central:
      vedette central site keys SITE chain.json
    and sign the policy again with the new key and a higher version.

    \b
    The next time, from the chain so far (keep it; central writes it too, with
    `vedette central site keys SITE --output chain.json`):
      vedette site replace-keys --from chain.json --old new.key --new newer.key

    \b
    Several people, each with a key of their own. The first names all new keys,
    the others by their public halves, and passes the file on:
      vedette site replace-keys --site SITE --old anna.key --new anna-2.key \\
          --new-public BENS_PUBLIC_HALF --threshold 2 -o chain.json
      vedette site replace-keys --add-signature --from chain.json \\
          --old ben.key --new ben-2.key

    Enough of the old keys and enough of the new ones must sign. Each document
    follows on the one before; devices follow them one by one and leave none
    out. Destroy the old keys only when every device has followed.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    before = read_file(source) if source else SiteKeyChain(documents=[])
    held = [SigningKey.load(file) for file in old]
    coming = [SigningKey.load(file) for file in new]
    if not held and not coming:
        raise ConfigError("nobody signs", operator_hint="give --old and --new key files")
    if add_signature:
        _require(before.documents, "--add-signature needs --from, with the document to be signed")
        if site or new_public or version:
            raise ConfigError("--add-signature signs what the document says and changes nothing")
        signed = _also_signed(before.documents[-1], held, coming)
        documents = [*before.documents[:-1], signed]
    else:
        wanted = _wanted(
            before, site, coming, list(new_public), threshold=threshold, version=version
        )
        signers = list({key.public: key for key in (*held, *coming)}.values())
        _require(held, "no key so far signs: give --old")
        signed = make(wanted[0], wanted[1], signers, now_ms=wall_ms(SystemClock().now_at()))
        documents = [*before.documents, signed]
    target = output or (source or Path("chain.json"))
    _write(target, SiteKeyChain(documents=documents))
    _print(signed, documents[:-1], held)
    click.echo(f"{len(documents)} documents: {target}")


def read_file(file: Path) -> SiteKeyChain:
    """Return the chain in a file.

    Raises:
        ConfigError: It cannot be read.
        MalformedReport: It is no chain.
    """
    try:
        with file.open("rb") as opened:
            return read_chain(opened.read(MAX_CHAIN_FILE_BYTES + 1))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error


def show_chain(chain: SiteKeyChain, keys: list[PublicKey], threshold: int) -> None:
    """Print what a chain says, as far as it follows on these keys.

    Raises:
        VedetteError: It does not follow to its end.
    """
    first = claimed(chain.documents[0])
    start = KeySet(version=first.version - 1, keys=tuple(keys), threshold=threshold)
    _, problem = follow(start, chain.documents, first.site)
    if problem is not None:
        raise problem
    said = [msgspec.to_builtins(claimed(document)) for document in chain.documents]
    click.echo(msgspec.json.format(msgspec.json.encode(said), indent=2).decode())


def _wanted(
    before: SiteKeyChain,
    site: str | None,
    coming: list[SigningKey],
    new_public: list[str],
    *,
    threshold: int,
    version: int | None,
) -> tuple[str, KeySet]:
    """Return the site and the keys that the next document is to name."""
    last = claimed(before.documents[-1]) if before.documents else None
    if last and site not in {None, last.site}:
        raise ConfigError(f"--site is {site}, the chain is of {last.site}")
    if last and version not in {None, last.version + 1}:
        raise ConfigError(f"--version is {version}, the chain goes on with {last.version + 1}")
    name = last.site if last else site
    if not name:
        raise ConfigError(
            "for which site?", operator_hint="give --site, or --from the chain so far"
        )
    if not coming and not new_public:
        raise ConfigError("no new key", operator_hint="make one: vedette site key new.key")
    texts = dict.fromkeys([*(key.public.text for key in coming), *new_public])
    number = last.version + 1 if last else version or 2
    return name, KeySet.of(texts, threshold, number)


def _also_signed(signed: Signed, held: list[SigningKey], coming: list[SigningKey]) -> Signed:
    said = claimed(signed)
    strangers = [key.public.keyid for key in coming if key.public.text not in said.keys]
    if strangers:
        raise ConfigError(
            f"the document does not name {', '.join(strangers)}",
            operator_hint="whoever made it names every new key: --new, or --new-public",
        )
    for key in (*held, *coming):
        signed = dsse.add_signature(signed, key)
    return signed


def _require(there: object, otherwise: str) -> None:
    if not there:
        raise ConfigError(otherwise, operator_hint="vedette site replace-keys --help")


def _write(target: Path, chain: SiteKeyChain) -> None:
    try:
        write_private(target, msgspec.json.format(msgspec.json.encode(chain), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error


def _print(signed: Signed, before: list[Signed], held: list[SigningKey]) -> None:
    """Print who signed, and who is missing as far as the file tells."""
    said = claimed(signed)
    new = [PublicKey.from_text(text) for text in said.keys]
    have = signers_of(signed, new)
    click.echo(f"{said.site}: version {said.version}")
    click.echo(_count("new keys", have, said.threshold))
    old: SiteKeys | None = claimed(before[-1]) if before else None
    if old is None:
        ids = ", ".join(key.public.keyid for key in held)
        click.echo(
            f"old keys: signed just now by {ids or 'none'}; central says whether they suffice"
        )
    else:
        keys = [PublicKey.from_text(text) for text in old.keys]
        click.echo(_count("old keys", signers_of(signed, keys), old.threshold))


def _count(which: str, have: list[PublicKey], threshold: int) -> str:
    ids = ", ".join(key.keyid for key in have) or "none"
    missing = threshold - len(have)
    rest = f"; {missing} more must sign (--add-signature)" if missing > 0 else ""
    return f"{which}: {len(have)} of {threshold} wanted: {ids}{rest}"
