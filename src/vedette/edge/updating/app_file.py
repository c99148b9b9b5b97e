"""The artefact of the kind `app`: wheels, and a lock that names each of them by its hash.

    app.json            what it is, what it needs, how it is proven after it was installed
    requirements.lock   for `pip install --require-hashes`, made from the wheels by `build`
    wheels/*.whl        the program and everything that it imports: devices install offline

The rule about what is recorded: a version reads what the version before it writes, and until the
version before is out of use it writes nothing that that one cannot read. So going back needs no
conversion. `state-format.json` in the package says what a version reads and writes; an artefact
that breaks the rule towards the version that runs is refused before anything is installed.
"""

import hashlib
import json
import platform
import re
import zipfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import msgspec

from vedette.edge.updating import archive
from vedette.errors import ConfigError

MANIFEST: Final = "app.json"
LOCK: Final = "requirements.lock"
WHEELS: Final = "wheels"
FORMAT: Final = 1
STATE_FORMAT: Final = "state-format.json"
IN_WHEEL: Final = f"vedette/edge/updating/{STATE_FORMAT}"
_MAX_CHECKS: Final = 8
_ENTRY: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_WHEEL: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9._+!]+)(?:-\d[A-Za-z0-9._]*)?"
    r"-(?P<python>[A-Za-z0-9._]+)-(?P<abi>[A-Za-z0-9._]+)-(?P<platform>[A-Za-z0-9._]+)\.whl"
)

CHECKS: Final = (
    ("vedette", "edge", "check-config", "--config", "{config}"),
    ("python", "-I", "-c", "import vedette.edge.pipeline_main"),
)
"""The new version reads this device's configuration, and its native libraries load."""


class StateFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which formats of the state directory a version reads, first and last, and which it writes."""

    reads: tuple[int, int]
    writes: int


class AppManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`app.json`.

    Attributes:
        entry: Name of the command in the environment's `bin`.
        python: As `3.11`, where the wheels are made for one; empty: any.
        machine: As `platform.machine()` says; empty: any.
        checks: Commands of the environment that must end with status 0; `{config}` stands for the
            effective configuration.
    """

    format: int
    name: str
    version: str
    state: StateFormat
    entry: str = "vedette"
    python: str = ""
    machine: str = ""
    checks: Annotated[list[list[str]], msgspec.Meta(max_length=_MAX_CHECKS)] = []


def state_format() -> StateFormat:
    """Return what this program reads and writes."""
    text = resources.files("vedette.edge.updating").joinpath(STATE_FORMAT).read_bytes()
    return msgspec.json.decode(text, type=StateFormat)


def read(file: Path) -> AppManifest:
    """Return what an artefact says about itself.

    Raises:
        ConfigError: It is none.
    """
    try:
        found = msgspec.json.decode(archive.manifest(file, MANIFEST), type=AppManifest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{MANIFEST}: {error}", operator_hint=archive.HINT) from error
    if found.format != FORMAT or not _ENTRY.fullmatch(found.entry):
        raise ConfigError(
            f"{MANIFEST} has format {found.format} and entry {found.entry[:40]!r}",
            operator_hint="this version of Vedette installs format 1; update in two steps",
        )
    return found


def why_not(manifest: AppManifest, here: StateFormat, python: str, machine: str) -> str:
    """Return why an artefact cannot be installed beside what runs; empty: it can. Pure."""
    if manifest.python and manifest.python != python:
        return f"made for Python {manifest.python}; this device has {python}"
    if manifest.machine and manifest.machine != machine:
        return f"made for {manifest.machine}; this device is {machine}"
    first, last = manifest.state.reads
    if not first <= here.writes <= last:
        return f"it reads state of format {first} to {last}; this device's has {here.writes}"
    first, last = here.reads
    if not first <= manifest.state.writes <= last:
        return (
            f"it writes state of format {manifest.state.writes}, which the version that runs "
            "could not read after going back"
        )
    return ""


def build(
    out: Path,
    wheels: Sequence[Path],
    *,
    entry: str = "vedette",
    extras: Sequence[str] = ("edge", "local"),
    checks: Sequence[Sequence[str]] = CHECKS,
) -> AppManifest:
    """Write an artefact of wheels, one of which is `entry`'s; return what it says about itself.

    Raises:
        ConfigError: A file is no wheel, two are of one project, or `entry` is not among them.
        OSError: A file cannot be read or written.
    """
    named: dict[str, tuple[Path, re.Match[str]]] = {}
    for wheel in wheels:
        match = _WHEEL.fullmatch(wheel.name)
        if match is None:
            raise ConfigError(f"{wheel.name} is no wheel", operator_hint="give *.whl files")
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        if name in named:
            raise ConfigError(f"two wheels of {name}", operator_hint="leave one")
        named[name] = wheel, match
    if entry not in named:
        raise ConfigError(
            f"no wheel of {entry} among {len(named)}",
            operator_hint="pip wheel --no-deps -w wheels . puts it there",
        )
    own, match = named[entry]
    manifest = AppManifest(
        format=FORMAT,
        name=entry,
        version=match["version"],
        state=_state_in(own),
        entry=entry,
        python=_python([m for _, m in named.values()]),
        machine="" if all(m["platform"] == "any" for _, m in named.values()) else _machine(),
        checks=[list(check) for check in checks],
    )
    with_extras = f"{entry}[{','.join(extras)}]" if extras else entry
    lock = "".join(
        f"{with_extras if name == entry else name}=={m['version']} --hash=sha256:{_sha256(path)}\n"
        for name, (path, m) in sorted(named.items())
    )
    members: list[tuple[str, Path | bytes]] = [
        (MANIFEST, json.dumps(msgspec.to_builtins(manifest), indent=1).encode()),
        (LOCK, lock.encode()),
    ]
    members += [(f"{WHEELS}/{path.name}", path) for _, (path, _) in sorted(named.items())]
    archive.pack(out, members)
    return manifest


def pip_install(parts: Path) -> list[str]:
    """Return what `pip install` is told: from the unpacked artefact alone, every hash checked."""
    return [
        "--no-index", "--find-links", str(parts / WHEELS), "--require-hashes",
        "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check",
        "--quiet", "-r", str(parts / LOCK),
    ]  # fmt: skip


def _state_in(wheel: Path) -> StateFormat:
    """Return what the program in a wheel reads and writes."""
    try:
        with zipfile.ZipFile(wheel) as inside:
            return msgspec.json.decode(inside.read(IN_WHEEL), type=StateFormat)
    except (zipfile.BadZipFile, KeyError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{wheel.name} does not say which state it reads and writes",
            operator_hint=f"its {IN_WHEEL} is missing or wrong",
        ) from error


def _python(matches: Sequence[re.Match[str]]) -> str:
    """Return the one Python that wheels with code for an interpreter are made for; or empty."""
    for match in matches:
        found = re.fullmatch(r"cp(\d)(\d+)", match["python"])
        if found is not None and match["abi"] not in {"abi3", "none"}:
            return f"{found[1]}.{found[2]}"
    return ""


def _machine() -> str:
    return platform.machine()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
