"""`vedette edge trust-root`: a person at the device says which repository it believes.

Thin: has the file checked, pins it, prints what people compare.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from vedette.clock import SystemClock
from vedette.edge import settings
from vedette.edge.updating import root
from vedette.errors import ConfigError
from vedette.trust.tuf.client import Repository


@click.command("trust-root", short_help="Trust a repository: its root, brought by hand.")
@click.option(
    "--config",
    "path",
    default="edge.yaml",
    show_default=True,
    envvar="VEDETTE_EDGE_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The device's configuration. Environment: VEDETTE_EDGE_CONFIG.",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def trust_root(path: Path, file: Path) -> None:
    """Trust the repository whose root metadata is in FILE (as `1.root.json`).

    \b
    For a device that was enrolled before central had a repository, or whose
    owner lets no central choose it. Whoever signed this root decides from now
    on what may be installed here: compare what is printed with the holders of
    its keys, by another way than the one the file came by. What runs, runs on.
    """  # noqa: D301 - click's mark for a paragraph that is not rewrapped
    config = settings.load(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(root.MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    root.check_size(data)
    folder = root.metadata_folder(config.state_dir, data)
    Repository(folder, _nothing, root=data, clock=SystemClock())  # raises where it is none
    root.pin(config.state_dir, data, by_hand=True)
    click.echo(f"this device trusts the repository whose root is {root.name_of(data)}")


def _nothing(path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
    del path, offset, max_bytes
    return iter(())
