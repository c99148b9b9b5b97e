"""Copies of packages for a person who stands at the device.

Here: what may be in a copy, writing it whole or not at all, and the line that says who took it. The
rules: what the site's signed pixel policy does not let leave is copied only where the person says
that the copy stays on the site; every copy leaves a line in `exports.jsonl` before its first byte;
nothing is ever overwritten; what does not verify is not handed out as evidence.
"""

import getpass
import os
import shutil
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from vedette.clock import wall_ms
from vedette.edge.evidence import facts
from vedette.edge.evidence.catalog import PackageInfo
from vedette.edge.evidence.examine import MAX_CLIP_BYTES, examine
from vedette.errors import EvidenceError, NotAllowed
from vedette.wire.evidence import BLURRED, CLIP, signature_of
from vedette.wire.signed import PixelPolicy

LOG: Final = "exports.jsonl"
_PARTIAL: Final = ".partial"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `exports.jsonl`."""

    at_ms: int
    user: str
    evidence: list[str]
    out: str
    blurred_only: bool
    stays_on_site: bool


def export(
    packages: Sequence[PackageInfo],
    out: Path,
    *,
    pixels: PixelPolicy,
    on_site: bool,
    log: Path,
    now_at: datetime,
) -> Exported:
    """Copy packages into the folder `out`, or into one file where it ends in `.zip`.

    Args:
        packages: What to copy.
        out: Where to; the folder may exist, copies in it may not.
        pixels: The site's policy, as this device accepted it.
        on_site: The person says that the copy does not leave the site.
        log: The file that gets a line about it.
        now_at: Now.

    Raises:
        NotAllowed: The policy forbids it.
        EvidenceError: A package does not verify, a copy is there already, or the disk refuses.
    """
    blurred_only = not on_site
    if not on_site and not pixels.evidence_leaves:
        raise NotAllowed(
            "the site's pixel policy lets no clip leave this site",
            operator_hint="add --on-site where the copy stays here; the site's owner may sign "
            "another policy",
        )
    if pixels.evidence_leaves and not pixels.evidence_blurred:
        blurred_only = False
    content = {one.evidence: _content(one, blurred_only=blurred_only) for one in packages}
    line = Exported(
        at_ms=wall_ms(now_at),
        user=user(),
        evidence=list(content),
        out=str(out),
        blurred_only=blurred_only,
        stays_on_site=on_site,
    )
    targets = [out] if out.suffix == ".zip" else [out / name for name in content]
    for target in targets:
        if target.exists() or target.is_symlink():
            raise EvidenceError(
                f"{target} is there already", operator_hint="choose another place: nothing is lost"
            )
    facts.append_line(log, msgspec.json.encode(line))
    with facts.translated(f"{out} could not be written"):
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".zip":
            _write_zip(content, out)
        else:
            out.mkdir(exist_ok=True)
            for name, paths in content.items():
                _write_folder(paths, out / name)
    return line


def _content(package: PackageInfo, *, blurred_only: bool) -> list[Path]:
    """Return the files of a package that a copy has, after checking all of it."""
    verdict = examine(package.path)
    if not verdict.is_whole:
        raise EvidenceError(
            f"{package.evidence} does not verify: {verdict.problems[0]}",
            operator_hint=f"`vedette evidence verify {package.evidence}` says everything",
        )
    if blurred_only:
        if not package.has_blurred:
            raise NotAllowed(
                f"{package.evidence} has no blurred copy, and only such may leave this site",
                operator_hint="set evidence.blur and wait for it, or add --on-site",
            )
        names = {*_blurred(package.path), facts.FACTS}
        return _with_signature(package.path, names, [BLURRED])
    names = {*facts.read_sums(package.path), facts.FACTS, facts.CLIP}
    if package.has_blurred:
        names |= _blurred(package.path)
    return _with_signature(package.path, names, [CLIP, BLURRED])


def _blurred(path: Path) -> set[str]:
    return {*facts.blurred_files(facts.read_blurred(path)), facts.BLURRED_FACTS}


def _with_signature(path: Path, names: set[str], forms: Sequence[str]) -> list[Path]:
    signatures = {signature_of(form) for form in forms}
    names = names | {name for name in signatures if (path / name).exists()}
    return [path / name for name in sorted(names)]


def _write_zip(content: dict[str, list[Path]], out: Path) -> None:
    partial = out.with_name(f"{out.name}{_PARTIAL}")
    with partial.open("xb") as scratch:  # one that is there already is somebody else's
        try:
            with zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as archive:
                for name, paths in content.items():
                    files = _read(paths)
                    files[facts.SUMS] = facts.sums_text(files)
                    for file, data in files.items():
                        archive.writestr(f"{name}/{file}", data)
            scratch.flush()
            os.link(partial, out)  # unlike a rename it never replaces
        finally:
            partial.unlink(missing_ok=True)


def _write_folder(paths: list[Path], out: Path) -> None:
    partial = out.with_name(f"{out.name}{_PARTIAL}")
    partial.mkdir(mode=0o700)  # one that is there already is somebody else's
    try:
        files = _read(paths)
        files[facts.SUMS] = facts.sums_text(files)
        for file, data in files.items():
            (partial / file).write_bytes(data)
        partial.rename(out)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _read(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: facts.read_limited(path, MAX_CLIP_BYTES) for path in paths}


def user() -> str:
    """Return who runs this program, as the machine calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
