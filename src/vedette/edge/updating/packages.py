"""Debian packages as one artefact: installed together, offline, and put back together.

    packages.json     names and versions
    packages/*.deb    what is installed
    before/*.deb      optional: what to go back to, where the device may not have it any more

apt has no second slot. So before anything is touched the way back is made sure of: for each package
that is there in another version, a file of exactly that version has to be at hand (in `before/`, kept
from the artefact before, or in apt's own archive), else the artefact is refused. A package that was
not there is removed again. What maintainer scripts did to the machine beside that comes back only as
far as the old version's scripts undo it: that cannot be promised, and is said.

Source: apt-get(8), dpkg-query(1).
"""  # noqa: E501

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from vedette.edge.install import launch
from vedette.edge.updating import archive, tool
from vedette.errors import ConfigError

MANIFEST: Final = "packages.json"
FORMAT: Final = 1
ARCHIVE: Final = Path("/var/cache/apt/archives")
_ASK_S: Final = 60.0
_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+~:-]{1,100}")
_MAX_PACKAGES: Final = 200


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One package in an artefact, or on the machine."""

    name: str
    version: str
    file: str = ""


class PackagesManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`packages.json`.

    Attributes:
        boot: The machine has to boot for it to run, as after a new kernel.
    """

    format: int
    name: str
    version: str
    packages: Annotated[list[Package], msgspec.Meta(min_length=1, max_length=_MAX_PACKAGES)]
    before: list[Package] = []
    boot: bool = False


def read(file: Path) -> PackagesManifest:
    """Return what an artefact says about itself.

    Raises:
        ConfigError: It is none.
    """
    try:
        found = msgspec.json.decode(archive.manifest(file, MANIFEST), type=PackagesManifest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{MANIFEST}: {error}", operator_hint=archive.HINT) from error
    wrong = [
        one.name
        for one in (*found.packages, *found.before)
        if not _PACKAGE.fullmatch(one.name) or not _VERSION.fullmatch(one.version)
    ]
    if found.format != FORMAT or wrong:
        raise ConfigError(
            f"{MANIFEST}: format {found.format}, {wrong[:1]}", operator_hint=archive.HINT
        )
    return found


def build(
    out: Path,
    debs: Sequence[Path],
    before: Sequence[Path] = (),
    *,
    name: str,
    version: str,
    boot: bool = False,
) -> PackagesManifest:
    """Write an artefact of packages; return what it says about itself.

    Raises:
        ConfigError: A file is no package.
        OSError: A file cannot be read or written.
    """
    manifest = PackagesManifest(
        format=FORMAT,
        name=name,
        version=version,
        packages=[_of(deb, "packages") for deb in debs],
        before=[_of(deb, "before") for deb in before],
        boot=boot,
    )
    members: list[tuple[str, Path | bytes]] = [(MANIFEST, msgspec.json.encode(manifest))]
    members += [(f"packages/{deb.name}", deb) for deb in debs]
    members += [(f"before/{deb.name}", deb) for deb in before]
    archive.pack(out, members)
    return manifest


def _of(deb: Path, folder: str) -> Package:
    """Return name and version as the package itself says them."""
    argv = ["dpkg-deb", "--show", "--showformat=${Package} ${Version}", str(deb)]
    ended = tool.call(argv, limit_s=_ASK_S)
    name, _, version = ended.said.strip().partition(" ")
    if ended.status != 0 or not version:
        raise ConfigError(f"{deb.name}: {ended.why()}", operator_hint="give *.deb files")
    return Package(name=name, version=version, file=f"{folder}/{deb.name}")


class Apt:
    """Installs packages by `apt-get`, offline."""

    def __init__(
        self,
        *,
        limit_s: float = 3600.0,
        apt: Sequence[str] = (),
        dpkg: Sequence[str] = (),
        archives: Path = ARCHIVE,
    ) -> None:
        """Take further options of the two tools: another root or database.

        Args:
            limit_s: Of one installation.
            apt: For `apt-get`.
            dpkg: For `dpkg` and `dpkg-query`.
            archives: Where apt keeps what it downloaded.
        """
        self._limit_s: Final = limit_s
        self._apt: Final = list(apt)
        self._dpkg: Final = list(dpkg)
        self._archives: Final = archives

    def examine(self, file: Path) -> None:
        """Refuse what is no artefact of packages.

        Raises:
            ConfigError: It is none.
        """
        read(file)

    def install(self, file: Path, kept: Path) -> bool:
        """Have the packages installed in exactly these versions; return whether to boot.

        Raises:
            ConfigError: There is no way back, or apt refused; half an installation is put back.
            OSError: The disk refuses.
        """
        manifest = read(file)
        parts = kept / "parts"
        shutil.rmtree(parts, ignore_errors=True)
        archive.unpack(file, parts)
        self._finish_what_was_cut()
        if not (kept / "before.json").exists():
            self._make_way_back(manifest, parts, kept)
        self._get("install", *(str(parts / one.file) for one in manifest.packages))
        wrong = [one.name for one in manifest.packages if self._version(one.name) != one.version]
        if wrong:
            raise ConfigError(
                f"apt-get ended well, and {wrong[0]} is not what was signed",
                operator_hint="the version in packages.json and in the package differ",
            )
        return manifest.boot

    def running(self) -> str:
        """Return nothing: there is one system, and its packages are looked at one by one."""
        return ""

    def keep(self) -> None:
        """Do nothing: installed is installed."""

    def take_back(self, was: str, kept: Path) -> bool:  # noqa: ARG002
        """Have every package as it was before `install`.

        Raises:
            ConfigError: apt refused.
        """
        way = launch.read(kept / "before.json")
        if way is None:
            return False  # it was refused before anything was touched
        self._finish_what_was_cut()
        packages = dict(way.get("packages", {}))
        back = [str(kept / "back" / found) for found in packages.values() if found]
        gone = [name for name, found in packages.items() if not found]
        if back:
            self._get("install", *back)
        if gone:
            self._get("remove", *gone)
        return bool(way.get("boot"))

    def _make_way_back(self, manifest: PackagesManifest, parts: Path, kept: Path) -> None:
        """Have a file of each version that is installed now, and note which; nothing is touched."""
        packages: dict[str, str] = {}
        (kept / "back").mkdir(exist_ok=True)
        for one in manifest.packages:
            now = self._version(one.name)
            if now in ("", one.version):
                packages.update({one.name: ""} if not now else {})
                continue
            found = self._file_of(one.name, now, manifest, parts)
            if found is None:
                raise ConfigError(
                    f"there is no way back: no package file of {one.name} {now} on this device",
                    operator_hint=f"build the artefact with --before {one.name}_{now}_….deb",
                )
            shutil.copy(found, kept / "back" / found.name)
            packages[one.name] = found.name
        launch.write(kept / "before.json", {"packages": packages, "boot": manifest.boot})

    def _file_of(
        self, name: str, version: str, manifest: PackagesManifest, parts: Path
    ) -> Path | None:
        """Return a package file of exactly this version."""
        for one in manifest.before:
            if (one.name, one.version) == (name, version):
                return parts / one.file
        quoted = version.replace(":", "%3a")
        found = sorted(self._archives.glob(f"{name}_{quoted}_*.deb"))
        return found[0] if found else None

    def _version(self, name: str) -> str:
        """Return the installed version of a package; empty: it is not installed."""
        asked = ["dpkg-query", *self._dpkg, "-W", "-f=${db:Status-Status} ${Version}", name]
        ended = tool.call(asked, limit_s=_ASK_S)
        status, _, version = ended.said.strip().partition(" ")
        return version if ended.status == 0 and status == "installed" else ""

    def _finish_what_was_cut(self) -> None:
        """Have dpkg finish what a power cut left half configured; what it cannot, apt mends."""
        self._call(["dpkg", *self._dpkg, "--configure", "-a"])

    def _get(self, what: str, *names: str) -> None:
        argv = [
            # Without sources nothing can be downloaded, whatever a package depends on.
            "apt-get", "-y", "-q", "-o", "Dir::Etc::SourceList=/dev/null",
            "-o", "Dir::Etc::SourceParts=-", "--no-install-recommends", "--allow-downgrades",
            "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold",
            *self._apt, what, *names,
        ]  # fmt: skip
        ended = self._call(argv)
        if ended.status != 0:
            raise ConfigError(
                f"apt-get {what}: {why_of(ended)}",
                operator_hint="what these depend on must be on the device, or in the artefact",
            )

    def _call(self, argv: Sequence[str]) -> tool.Ended:
        extra = {"DEBIAN_FRONTEND": "noninteractive"}
        return tool.call(argv, limit_s=self._limit_s, extra=extra)


def why_of(ended: tool.Ended) -> str:
    """Return why apt failed: what the package or dpkg said, which apt's last line keeps to itself.

    A maintainer script speaks right before dpkg names its package; what a package lacks stands
    under "unmet dependencies".
    """
    lines = [line.strip() for line in ended.said.splitlines() if line.strip()]
    for at, line in enumerate(lines):
        if line.startswith("dpkg: error"):
            return f"status {ended.status}: {'; '.join(lines[max(at - 1, 0) : at + 2])}"[:400]
        if line.endswith("have unmet dependencies:"):
            needs = [text for text in lines[at + 1 :] if not text.startswith("E: ")]
            return f"status {ended.status}: {'; '.join(needs[:5])}"[:400]
    return ended.why()
