"""Where a path of an image lies on this machine: links in it mean the image, never this machine.

What lives here: following a path below a root as a process would whose root it is. What does not:
what is written there (`carry`). The rule: an image is at rest while it is being made, so it is
enough that nothing that lies in it can lead out; nobody races with us.

Source: openat2(2), RESOLVE_IN_ROOT: absolute links and `..` are resolved as under chroot(2).
"""

from pathlib import Path
from typing import Final

from vedette.errors import ConfigError

_MAX_LINKS: Final = 40
"""As the kernel's own limit (path_resolution(7))."""


def inside(root: Path, path: Path) -> Path:
    """Return where `path` of the image at `root` lies, with no link left in it.

    What is not there is returned as it would be made. For `/` as the root: `path` itself.

    Raises:
        ConfigError: Links lead in a circle.
    """
    if root == Path("/"):
        return path
    base = root.resolve()
    at, links = base, 0
    ahead = list(path.relative_to("/").parts)
    while ahead:
        name = ahead.pop(0)
        if name == "..":
            at = at if at == base else at.parent
            continue
        below = at / name
        if not below.is_symlink():
            at = below
            continue
        links += 1
        if links > _MAX_LINKS:
            raise ConfigError(
                f"{path} in {root} leads in a circle: {name} is one of its links",
                operator_hint="mend the links in the image, then install again",
            )
        target = below.readlink()
        if target.is_absolute():
            at = base
        ahead[:0] = [part for part in target.parts if part != "/"]
    return at


def entry(root: Path, path: Path) -> Path:
    """Return where the entry `path` itself lies: links before its last name are followed, not it.

    Raises:
        ConfigError: Links lead in a circle.
    """
    return inside(root, path.parent) / path.name
