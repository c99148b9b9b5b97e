"""Golden frames of a converted network, tried on every runtime that is installed here.

What lives here: the check, and the tolerance that it leads to. What does not: the comparison itself
(`inference.golden`). The rule: a tolerance is widened only as far as a runtime of this machine
needs, never past `LARGEST_OUTPUT`, and never for boxes: what stays outside is told, not hidden.
"""

import math
import tempfile
from pathlib import Path
from typing import Final, get_args

import msgspec

from vedette.errors import BackendUnavailable
from vedette.inference import bundle as bundles
from vedette.inference.backends import Runtime
from vedette.inference.bundle import Bundle
from vedette.inference.golden import GoldenResult
from vedette.inference.manifest import Manifest
from vedette.inference.model import Model

LARGEST_OUTPUT: Final = 0.15
"""Part of an output's span; past it, a probe could not tell a broken network any more."""
_MARGIN: Final = 1.25
"""The next version of a runtime may round differently."""

Golden = dict[Runtime, GoldenResult]


def check(bundle: Bundle) -> Golden:
    """Return how the golden frames do on each runtime that is installed."""
    found: Golden = {}
    for runtime in get_args(Runtime):
        try:
            model = Model.load(bundle, runtime=runtime)
        except BackendUnavailable:
            continue
        found[runtime] = model.check_golden()
    return found


def settle(bundle: Bundle, manifest: Manifest) -> tuple[Bundle, Golden]:
    """Return the bundle, written with a tolerance that runtimes here keep, and how each does.

    Args:
        bundle: Written already; its files are taken.
        manifest: What to write into it; the tolerance in it is the least.

    Raises:
        ModelLoadFailed: A runtime does not take the network.
        ConfigError: The folder cannot be written.
    """
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    with tempfile.TemporaryDirectory(prefix="vedette-settle-") as folder:
        loose = _tolerating(manifest, LARGEST_OUTPUT)
        found = check(bundles.write(Path(folder) / manifest.name, loose, files))
    needed = max((result.worst for result in found.values() if result.ok), default=0.0)
    if any(needed > frame.tolerance.output for frame in manifest.golden):
        rounded = math.ceil(needed * _MARGIN * 100) / 100
        manifest = _tolerating(manifest, min(rounded, LARGEST_OUTPUT))
    made = bundles.write(bundle.path, manifest, files)
    return made, check(made)


def _tolerating(manifest: Manifest, output: float) -> Manifest:
    """Return the manifest with golden frames whose outputs may be so far away, at least."""
    frames = [
        msgspec.structs.replace(
            frame,
            tolerance=msgspec.structs.replace(
                frame.tolerance, output=max(output, frame.tolerance.output)
            ),
        )
        for frame in manifest.golden
    ]
    return msgspec.structs.replace(manifest, golden=frames)
