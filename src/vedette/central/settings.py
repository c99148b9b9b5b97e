"""Central's configuration: the one tree that `central.yaml` holds; every entry has a default."""

import os
from pathlib import Path
from typing import Annotated, Literal

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
    clips_days: Annotated[
        int, entry("Keep clips that operators fetched from devices", unit="days", ge=1)
    ] = 30
    review_days: Annotated[
        int, entry("Keep pictures that devices sent for review", unit="days", ge=1)
    ] = 30
    incidents_days: Annotated[
        int,
        entry(
            "Keep incidents that are over, with their timelines, and silences", unit="days", ge=7
        ),
    ] = 400
    deliveries_days: Annotated[
        int,
        entry("Keep what was sent to people and programs, and what came of it", unit="days", ge=7),
    ] = 90
    clips_mb: Annotated[
        int, entry("All fetched clips at most; past that none is taken", unit="MB", ge=0)
    ] = 10_240


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often the operator API may be asked; half a minute's worth may come at once."""

    requests_per_minute: Annotated[
        int, entry("Requests of one user, all tokens together; one token alone: half", ge=2)
    ] = 2400
    refused_per_minute: Annotated[
        int, entry("Requests without a good token, from one address", ge=1)
    ] = 300


class OidcRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people with a value in the provider's claim may do and see."""

    value: Annotated[str, entry("A value of role_claim, as a group's name", examples=["ops"])]
    role: Annotated[
        Literal["viewer", "reviewer", "operator", "admin"], entry("What they may do here")
    ]
    everything: Annotated[bool, entry("They see the whole fleet")] = False
    folders: Annotated[list[str], entry("Folders that they see, now and later")] = []
    sites: Annotated[list[str], entry("Sites that they see")] = []


class Oidc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signing in by an OpenID provider of yours, beside passwords."""

    issuer: Annotated[
        str, entry("The provider's address; empty: off", examples=["https://login.example/realm"])
    ] = ""
    client_id: Annotated[str, entry("How the provider calls this central")] = ""
    client_secret_file: Annotated[
        str, entry("File with the client's secret. VEDETTE_OIDC_CLIENT_SECRET overrides it")
    ] = ""
    title: Annotated[str, entry("What the button at the sign-in says", max_length=40)] = (
        "Sign in with your organisation"
    )
    scopes: Annotated[list[str], entry("What is asked for beside openid and profile")] = []
    name_claim: Annotated[str, entry("The claim that names the user here")] = "preferred_username"
    role_claim: Annotated[str, entry("The claim whose values decide role and scope")] = "groups"
    roles: Annotated[
        list[OidcRole], entry("Who may do what; the first whose value somebody has decides")
    ] = []
    clock_skew_s: Annotated[
        int, entry("How far the provider's clock may be off", unit="s", ge=0, le=300)
    ] = 60


class Rollouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How rollouts are approved here; what the offline keys approve is needed in any case."""

    two_people: Annotated[
        bool, entry("Who made a rollout needs somebody else to approve it at central")
    ] = True


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where channels may reach from here (the internet always), and links in notices."""

    allow_private: Annotated[
        list[str],
        entry("Networks inside which channels may connect", examples=["10.20.0.0/16"]),
    ] = []
    ports: Annotated[list[int], entry("Further ports that channels may use")] = []
    proxy: Annotated[
        str,
        entry("Proxy for webhooks and Apprise", examples=["http://proxy.internal:3128"]),
    ] = ""
    take_links: Annotated[
        bool, entry("Notices to people carry a link to take the incident on without signing in")
    ] = True
    take_link_h: Annotated[int, entry("How long such a link holds", unit="h", ge=1, le=168)] = 24


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
    oidc: Annotated[Oidc, entry("Signing in by an OpenID provider")] = Oidc()
    limits: Annotated[Limits, entry("How often the operator API may be asked")] = Limits()
    rollouts: Annotated[Rollouts, entry("How rollouts are approved")] = Rollouts()
    alerts: Annotated[Alerts, entry("Where channels may reach; links in notices")] = Alerts()
    retention: Annotated[Retention, entry("How long numbers are kept")] = Retention()

    @property
    def state(self) -> Path:
        """The state directory as an absolute path."""
        return Path(self.state_dir).expanduser().resolve()

    @property
    def blobs(self) -> Path:
        """Where files named by their content lie."""
        return self.state / "blobs"

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
    if loaded.oidc.client_secret_file:
        secret = str(base / Path(loaded.oidc.client_secret_file).expanduser())
        oidc = msgspec.structs.replace(loaded.oidc, client_secret_file=secret)
        return msgspec.structs.replace(loaded, oidc=oidc, **here)
    return msgspec.structs.replace(loaded, **here)
