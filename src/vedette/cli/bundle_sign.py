"""`vedette bundle sign`, and the signers that `vedette bundle verify` asks for."""

from pathlib import Path
from typing import Final

import click
import msgspec

from vedette.cli.keys_words import asking
from vedette.errors import ConfigError
from vedette.inference.bundle import Bundle
from vedette.trust.keys import write_private
from vedette.trust.tuf import bundles
from vedette.trust.tuf.bundles import BundleStatement
from vedette.trust.tuf.keyfiles import open_key, read_public

SUFFIX: Final = ".sig"
"""A signature stands beside its bundle, under its name and this."""


def statement_of(bundle: Bundle) -> BundleStatement:
    """Return what is signed of a bundle."""
    said = bundle.manifest
    return BundleStatement(name=said.name, version=said.version, digest=bundle.digest)


def place(bundle: Bundle) -> Path:
    """Return where a bundle's signature is looked for."""
    path = bundle.path if bundle.path.name else bundle.path.resolve()  # `.` has no name
    return path.with_name(path.name + SUFFIX)


def signed_by(
    bundle: Bundle, signature: Path | None, signers: tuple[Path, ...], threshold: int
) -> list[str]:
    """Return the key ids of those signers that signed it; none where none are asked for.

    Raises:
        ConfigError: More are wanted than are named.
        TrustError: Too few signed, or the signature is another's.
    """
    if not signers:
        if signature is not None:
            raise ConfigError(
                "a signature proves nothing without knowing whose it is",
                operator_hint="--signer FILE.pub: the public key of somebody you trust",
            )
        return []
    if threshold > len(signers):
        raise ConfigError(f"--threshold {threshold} needs as many --signer, not {len(signers)}")
    found = bundles.read(signature or place(bundle))
    keys = [read_public(file) for file in signers]
    return [key.keyid for key in bundles.verify(found, statement_of(bundle), keys, threshold)]


def write(bundle: Bundle, keys: tuple[Path, ...], passphrase: Path | None, file: Path) -> list[str]:
    """Sign a bundle with each key file, beside whoever signed before; return the key ids."""
    signed = bundles.read(file) if file.exists() else None
    done: list[str] = []
    for key in keys:
        signer = open_key(key, asking(passphrase))
        signed = bundles.sign(statement_of(bundle), signer, signed)
        done.append(signer.public_key.keyid)
    try:
        write_private(file, msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n")
        file.chmod(0o644)  # nothing in it is secret, and it travels with the bundle
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    return done


signer_option = click.option(
    "--signer",
    "signers",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A public key (.pub) that must have signed it.",
)
threshold_option = click.option(
    "--threshold",
    default=1,
    show_default=True,
    type=click.IntRange(1, 16),
    help="How many of the signers must have.",
)
signature_option = click.option(
    "--signature",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Where the signature is. Default: beside the bundle, NAME{SUFFIX}.",
)
