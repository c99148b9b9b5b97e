"""Central's configuration: the one tree that `central.yaml` holds; every entry has a default."""

import os
from pathlib import Path
from typing import Annotated

import msgspec

from vedette import config
from vedette.config import entry


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the merged numbers are kept; raw messages follow the stream table."""

    minutes_days: Annotated[int, entry("Keep minutes", unit="days", ge=2)] = 7
    hours_days: Annotated[int, entry("Keep hours", unit="days", ge=31)] = 90
    days_days: Annotated[int, entry("Keep days", unit="days", ge=365)] = 3650
    thumbnails_days: Annotated[int, entry("Keep thumbnails", unit="days", ge=1)] = 7
    diagnostics_days: Annotated[
        int, entry("Keep logs, configurations and findings that devices sent", unit="days", ge=1)
    ] = 7


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often the operator API may be asked; half a minute's worth may come at once."""

    requests_per_minute: Annotated[
        int, entry("Requests of one user, all tokens together; one token alone: half", ge=2)
    ] = 2400
    refused_per_minute: Annotated[
        int, entry("Requests without a good token, from one address", ge=1)
    ] = 300


class CentralConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One central."""

    state_dir: Annotated[str, entry("Keys and the embedded database live here")] = "./central"
    listen: Annotated[str, entry("Address and port", examples=["0.0.0.0:8080"])] = "127.0.0.1:8080"
    public_url: Annotated[
        str, entry("How browsers and devices reach it, where a proxy stands before it")
    ] = ""
    database_url: Annotated[
        str,
        entry(
            "Your own PostgreSQL; empty: the embedded one. VEDETTE_DATABASE_URL overrides it",
            examples=["postgresql://vedette@db/vedette"],
        ),
    ] = ""
    tls_certificate: Annotated[str, entry("PEM file; empty: plain HTTP")] = ""
    tls_key: Annotated[str, entry("PEM file of the certificate's key")] = ""
    access_token_s: Annotated[
        int, entry("Life of a device's access token", unit="s", ge=60, le=86_400)
    ] = 3600
    device_key_days: Annotated[
        int, entry("Ask devices for another key at this age; 0: never", unit="days", ge=0)
    ] = 365
    session_h: Annotated[int, entry("Life of an operator's session", unit="h", ge=1)] = 12
    behind_proxy: Annotated[
        bool, entry("Take a client's address from X-Forwarded-For for the rate limits")
    ] = False
    limits: Annotated[Limits, entry("How often the operator API may be asked")] = Limits()
    retention: Annotated[Retention, entry("How long numbers are kept")] = Retention()

    @property
    def state(self) -> Path:
        """The state directory as an absolute path."""
        return Path(self.state_dir).expanduser().resolve()

    @property
    def url(self) -> str:
        """Where people find it."""
        scheme = "https" if self.tls_certificate else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{self.listen}"

    @property
    def own_database(self) -> str:
        """The address of an operator's own PostgreSQL, or empty."""
        return os.environ.get("VEDETTE_DATABASE_URL", "") or self.database_url


def load(path: Path) -> CentralConfig:
    """Return central's configuration with paths made absolute, relative to the file.

    Why: the same file must mean the same database from wherever a command is typed.

    Raises:
        ConfigError: As `config.load`.
    """
    loaded = config.load(path, CentralConfig)
    base = path.resolve().parent
    here = {
        name: str(base / Path(value).expanduser())
        for name in ("state_dir", "tls_certificate", "tls_key")
        if (value := getattr(loaded, name))
    }
    return msgspec.structs.replace(loaded, **here)
