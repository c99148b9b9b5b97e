"""Three commands, `init`, `refresh` and `download`, by which others judge the client.

    python -m vedette.trust.tuf.three --metadata-dir DIR init ROOT
    python -m vedette.trust.tuf.three --metadata-dir DIR --metadata-url URL refresh
    … --metadata-url URL --target-name PATH --target-base-url URL --target-dir DIR download

The public suite drives any client in this way; ours is `client.Repository`, as devices use it. For
tests of a repository by hand too. Source: theupdateframework/tuf-conformance, CLIENT-CLI.md.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import urllib3

from vedette.clock import SystemClock
from vedette.errors import CentralUnreachable, VedetteError
from vedette.trust.keys import write_private
from vedette.trust.tuf.client import Repository
from vedette.trust.tuf.fetching import METADATA, TARGETS
from vedette.trust.tuf.refusals import NotThere

_PIECE_BYTES: Final = 64 * 1024
_MISSING: Final = (403, 404)


class UrlFetch:
    """Brings files from two addresses, with no authentication."""

    def __init__(self, metadata_url: str, targets_url: str) -> None:
        self._bases: Final = {METADATA: metadata_url, TARGETS: targets_url}
        self._pool: Final = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=10, read=10)
        )

    def __call__(self, path: str, offset: int, max_bytes: int) -> Iterator[bytes]:
        """Return the bytes of a file, as `Fetch` says."""
        folder, _, name = path.partition("/")
        # `%`: names of roles come quoted once, and are so on the server's disk too
        url = f"{self._bases[f'{folder}/'].rstrip('/')}/{quote(name, safe='/%')}"
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            with self._pool.request("GET", url, headers=headers, preload_content=False) as answer:
                if answer.status in _MISSING:
                    raise NotThere(f"{path}: status {answer.status}")
                if answer.status not in {200, 206}:
                    raise CentralUnreachable(f"{path}: status {answer.status}")
                left = max_bytes
                while left > 0 and (piece := answer.read(min(_PIECE_BYTES, left))):
                    left -= len(piece)
                    yield piece
        except urllib3.exceptions.HTTPError as error:
            raise CentralUnreachable(f"{path}: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """Do one of the three; return 0, or 1 where it failed, with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="three", description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url", default="")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    said = parser.parse_args(arguments)
    if said.command == "init":
        shutil.copyfile(said.root, said.metadata_dir / "root.json")
        return 0
    try:
        _refresh_and_download(said)
    except (VedetteError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _refresh_and_download(said: argparse.Namespace) -> None:
    repository = Repository(
        said.metadata_dir,
        UrlFetch(said.metadata_url, said.target_base_url),
        root=(said.metadata_dir / "root.json").read_bytes(),
        clock=SystemClock(),
    )
    repository.refresh(delegated=False)
    wanted: list[str] = said.target_name if said.command == "download" else []
    for name in wanted:
        file = said.target_dir / quote(name, safe="")
        try:
            repository.verify(name, file)
        except VedetteError:
            write_private(file, repository.read(name))


if __name__ == "__main__":
    sys.exit(main())
