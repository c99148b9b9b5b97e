"""From a network and what is known about it to a bundle with a golden frame.

The rule: the expected answers are taken from the bundle as it stands on disk, by the code that will
check them later, so a bundle that was written has passed its own check once.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from vedette.errors import ModelLoadFailed
from vedette.inference import bundle as bundles
from vedette.inference import golden
from vedette.inference.bundle import Bundle
from vedette.inference.manifest import Manifest
from vedette.inference.model import Model
from vedette.lab import scene
from vedette.lab.scene import Bgr

MODEL_FILE = "model.onnx"
GOLDEN_FILE = "golden/scene.png"


def assemble(
    target: Path,
    manifest: Manifest,
    model: bytes,
    *,
    more: Mapping[str, bytes] | None = None,
    scene_bgr: Bgr | None = None,
) -> Bundle:
    """Write a bundle of `model` with the rendered scene as its golden frame; return it opened.

    Args:
        target: The bundle's folder; replaced where it exists.
        manifest: Without files and golden frames; `model` names the ONNX file.
        model: The ONNX file, in one piece.
        more: Further files of the bundle, such as reference vectors.
        scene_bgr: uint8 (h, w, 3) BGR, the golden frame instead of the rendered scene.

    Raises:
        ModelLoadFailed: The network does not fit the manifest, or does not answer twice alike.
        ConfigError: The folder cannot be written.
    """
    picture = golden.encode_picture(scene.render() if scene_bgr is None else scene_bgr)
    files = {manifest.model: model, GOLDEN_FILE: picture, **(more or {})}
    with tempfile.TemporaryDirectory(prefix="vedette-bundle-") as folder:
        draft = bundles.write(Path(folder) / manifest.name, manifest, files)
        loaded = Model.load(draft)
        frame = golden.decode_picture(picture, GOLDEN_FILE)
        expected = loaded.expect_golden(GOLDEN_FILE, frame)
        whole = msgspec.structs.replace(manifest, golden=[expected])
        checked = Model.load(bundles.write(Path(folder) / manifest.name, whole, files))
        result = checked.check_golden()
        if not result.ok:
            raise ModelLoadFailed(
                f"{manifest.name} does not answer twice alike: {'; '.join(result.failures)}",
                operator_hint="A network with random or stateful operations cannot be checked.",
            )
    return bundles.write(target, whole, files)
