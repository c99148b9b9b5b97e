"""`vedette keys publish`: send a signed repository to central: files in parts, then metadata."""

import hashlib
import os
import threading
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import urllib3
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TransferSpeedColumn

from vedette.cli.keys_words import opened, repository_option
from vedette.clock import Clock, SystemClock
from vedette.errors import CentralUnreachable, ConfigError, NotAllowed

_PART_BYTES: Final = 256 * 1024
_TRIES: Final = 7
_PAUSE_S: Final = (1.0, 30.0)
TOKEN: Final = "VEDETTE_TOKEN"  # noqa: S105 - the variable's name


@click.command("publish", short_help="Send the repository to central.")
@repository_option
@click.option("--central", "url", required=True, help="As https://central.example.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"An administrator's API token. Default: the environment's {TOKEN}.",
)
def publish(repository: Path, url: str, token_file: Path | None) -> None:
    """Send what central lacks, then all metadata at once; a broken line goes on where it broke."""
    offline = opened(repository)
    metadata = offline.files()
    central = Central(url, _token(token_file), SystemClock())
    for path, (sha256, size, file) in offline.target_files().items():
        _require_whole(path, sha256, file)
        central.send(path, sha256, size, file)
    taken = central.ask("POST", "/v1/releases/metadata", msgspec.json.encode({"files": metadata}))
    versions: dict[str, int] = taken["versions"]
    click.echo(", ".join(f"{role} {version}" for role, version in versions.items()))


class Central:
    """The operator API, as far as publishing needs it.

    A large file is more requests than central takes from one token at once: it says 429, or closes
    the line before it read the part. Both are waited out.
    """

    def __init__(self, url: str, token: str, clock: Clock) -> None:
        """Take where it is, an API token, and what pauses are measured by."""
        self._clock: Final = clock
        self._url: Final = url.rstrip("/")
        self._headers: Final = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        }
        self._pool: Final = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=10, read=60)
        )

    def send(self, path: str, sha256: str, size: int, file: Path) -> None:
        """Have a file there, from where the last attempt ended."""
        there = f"/v1/releases/files/{sha256}"
        come = self.ask("GET", there)
        if come["whole"]:
            return
        with (
            file.open("rb") as opened_file,
            Progress(
                TextColumn(path, markup=False),
                BarColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
            ) as progress,
        ):
            row = progress.add_task("", total=size, completed=come["bytes"])
            while not come["whole"]:
                opened_file.seek(come["bytes"])
                part = opened_file.read(_PART_BYTES)
                said = {"begin": come["bytes"], "total": size, "data": part}
                come = self.ask("PUT", there, msgspec.json.encode(said))
                progress.update(row, completed=come["bytes"])

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Return central's answer; what fails on the way is tried again.

        Raises:
            NotAllowed: Central refuses; its words say why.
            CentralUnreachable: It does not answer.
        """
        why, (pause_s, most_s) = "", _PAUSE_S
        for tried in range(_TRIES):
            if tried:
                self._clock.wait(threading.Event(), pause_s)
                pause_s = min(2 * pause_s, most_s)
            try:
                answer = self._pool.request(
                    method, self._url + path, body=body, headers=self._headers
                )
            except urllib3.exceptions.HTTPError as error:
                why = str(error)
                continue
            if answer.status < 300:
                return msgspec.json.decode(answer.data)
            if answer.status < 500 and answer.status != 429:
                raise NotAllowed(f"central refuses ({answer.status}): {_words(answer.data)}")
            why = f"status {answer.status}"
            pause_s = max(pause_s, min(_seconds(answer.headers.get("Retry-After")), most_s))
        raise CentralUnreachable(
            f"{self._url} does not answer: {why}",
            operator_hint="run the command again: it goes on where it stopped",
        )


def _token(file: Path | None) -> str:
    try:
        token = file.read_text(encoding="ascii").strip() if file else os.environ.get(TOKEN, "")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    if not token or not token.isprintable():
        raise ConfigError(
            "an administrator's API token is needed",
            operator_hint=f"--token-file, or {TOKEN} in the environment; `vedette central token`",
        )
    return token


def _require_whole(path: str, sha256: str, file: Path) -> None:
    try:
        with file.open("rb") as opened_file:
            found = hashlib.file_digest(opened_file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read {file}: {error.strerror}") from error
    if found != sha256:
        raise ConfigError(f"{path}: {file} is not what was signed")


def _seconds(text: str | None) -> float:
    """Return what `Retry-After` asks for; 0 where it says nothing or a date."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else 0.0


def _words(data: bytes) -> str:
    try:
        said = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return " ".join(str(said[key]) for key in ("detail", "hint") if said.get(key))[:600]
