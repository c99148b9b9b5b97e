"""What a delta saves of a download, and what it costs a device: bytes, CPU ms, peak memory.

Run: python benchmarks/bench_delta.py [--rounds N] [--pair OLD NEW]…. Prints machine and versions,
writes benchmarks/results/delta.json. Each file is made by `trust.delta_making`, as `vedette keys
add-target` does, and applied from disk to disk with its hash, as a device does, in a process of its
own each time: its peak memory is that of the process, less what the same process takes with nothing
to do. Beside it, in turns: `zstd --patch-from` of the same two files, where that program is
installed, and reading and hashing the new file alone, which a whole download costs, too.

- `model, threshold`: a bundle of the network beside the checkout (else 4 MB of noise), one number
  in its manifest changed.
- `model, retrained`: a million weights, each moved by a thousandth of itself. No weights of two
  real trainings lie here; decision 0064 has a published pair.
- `program`: the installed packages that a device needs, each packed as a wheel is, and Vedette's
  own in two versions: a line was added to one module in twenty.

`minutes` are those of the download at 1 Mbit/s.
"""

import argparse
import io
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Final

import numpy as np
import zstandard

from vedette.trust import delta_file, delta_making
from vedette.wire.slots import ArtefactKind

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "delta.json"
TESTDATA = Path(os.environ.get("VEDETTE_TESTDATA", HERE.parents[1] / "shared" / "testdata"))
PACKAGES: Final = ("numpy", "onnxruntime", "cv2", "av", "cryptography", "msgspec", "zstandard")
LINE_BITS_S: Final = 1e6
PATCH: Final = "zstd --patch-from"


def main() -> None:
    """Measure, print and write; or be one process that applies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pair", nargs=2, action="append", default=[], type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        way, *paths = asked.child
        print(json.dumps(one(way, [Path(path) for path in paths])))
        return
    machine = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "zstandard": zstandard.__version__,
    }
    print(machine)
    figures: dict[str, Any] = {"machine": machine, "rounds": asked.rounds}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pairs = {"model, threshold": models(folder), "model, retrained": retrained(folder)}
        pairs["program"] = programs(folder)
        pairs |= {new.name: (old, new) for old, new in asked.pair}
        for name, (old, new) in pairs.items():
            figures[name] = measured(old, new, folder, asked.rounds)
            print(f"{name}: {figures[name]}", flush=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


def measured(old: Path, new: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return sizes, CPU ms and MB of both ways, and of hashing alone."""
    began_s = time.process_time()
    size = delta_making.make(old, new, ArtefactKind.APP, folder / "delta")
    whole = new.stat().st_size
    made_s = time.process_time() - began_s
    ways = {"delta": folder / "delta", "hash alone": new}
    if which("zstd"):
        ways[PATCH] = folder / "frame"
        words = ["zstd", "-19", "--long=31", "-q", "-f", f"--patch-from={old}", str(new), "-o"]
        subprocess.run([*words, str(ways[PATCH])], check=True, stderr=subprocess.DEVNULL)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (*ways, "nothing")}
    for _ in range(rounds):
        for way, path in ways.items():
            found[way].append(alone(way, old, new, path, folder / "out"))
        found["nothing"].append(alone("nothing", old, new, new, folder / "out"))
    idle_mb = float(np.median([one["peak_mb"] for one in found.pop("nothing")]))
    return {
        "bytes": whole,
        "delta_bytes": size,
        "patch_from_bytes": ways[PATCH].stat().st_size if PATCH in ways else None,
        "saved": round(1 - size / whole, 4),
        "minutes": [round(n * 8 / LINE_BITS_S / 60, 2) for n in (whole, size)],
        "make_cpu_s": round(made_s, 1),
        "cpu_ms": {way: spread([one["cpu_ms"] for one in all_]) for way, all_ in found.items()},
        "peak_mb": {
            way: round(max(one["peak_mb"] for one in all_) - (0 if way == PATCH else idle_mb), 1)
            for way, all_ in found.items()
        },
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return p50, p95 and p99."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "p99": round(float(p99), 1)}


def alone(way: str, *paths: Path) -> dict[str, float]:
    """Return what one process of its own took."""
    words = [sys.executable, __file__, "--child", way, *map(str, paths)]
    done = subprocess.run(words, check=True, capture_output=True)
    return json.loads(done.stdout)


def one(way: str, paths: list[Path]) -> dict[str, float]:
    """Apply, or only hash, from disk to disk; return CPU ms and the process's peak MB."""
    old, new, delta, out = paths
    header = delta_file.Header(
        kind=ArtefactKind.APP, before=delta_making.named(old), after=delta_making.named(new)
    )
    began_ns = time.process_time_ns()
    if way == "delta":
        with delta.open("rb") as said, old.open("rb") as held, out.open("wb") as made:
            delta_file.apply(said, held, made, header)
    elif way == PATCH:
        words = ["zstd", "-d", "--long=31", "-q", "-f", f"--patch-from={old}", str(delta), "-o"]
        subprocess.run([*words, str(out)], check=True)
        delta_making.named(out)
    elif way == "hash alone":
        delta_making.named(new)
    spent_ms = (time.process_time_ns() - began_ns) / 1e6
    if way == PATCH:
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_ms += (child.ru_utime + child.ru_stime) * 1000
        return {"cpu_ms": spent_ms, "peak_mb": child.ru_maxrss / 1024}
    return {"cpu_ms": spent_ms, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Return this process's peak; what it had before it became this program does not count."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1]) / 1024


def models(folder: Path) -> tuple[Path, Path]:
    """Return two bundles that differ in one number."""
    network = network_bytes()
    return tuple(
        packed(folder / f"model-{threshold}", {"bundle.json": manifest(threshold), "m": network})
        for threshold in (0.4, 0.45)
    )  # type: ignore[return-value]


def retrained(folder: Path) -> tuple[Path, Path]:
    """Return two bundles of which one has every weight moved."""
    noise = np.random.default_rng(0)
    weights = noise.standard_normal(10**6).astype(np.float32)
    moved = weights * (1 + 1e-3 * noise.standard_normal(weights.shape).astype(np.float32))
    names = {"tuned-1": weights.tobytes(), "tuned-2": moved.tobytes()}
    return tuple(
        packed(folder / name, {"bundle.json": manifest(0.4), "m": data})
        for name, data in names.items()
    )  # type: ignore[return-value]


def manifest(threshold: float) -> bytes:
    """Return something like a bundle's."""
    return json.dumps(
        {"threshold": threshold, "labels": [f"class-{n}" for n in range(80)]}
    ).encode()


def network_bytes() -> bytes:
    """Return a real network, or noise where there is none."""
    file = TESTDATA / "models" / "yolox_nano.onnx"
    if file.exists():
        return file.read_bytes()
    return np.random.default_rng(1).standard_normal(10**6).astype(np.float32).tobytes()


def programs(folder: Path) -> tuple[Path, Path]:
    """Return two artefacts of the program."""
    shared = {f"wheels/{name}.whl": wheel(at(name)) for name in PACKAGES if find_spec(name)}
    own = {path: path.read_bytes() for path in sorted(at("vedette").rglob("*.py"))}
    found: list[Path] = []
    for name in ("app-1", "app-2"):
        made = wheel(at("vedette"), own)
        found.append(packed(folder / name, {**shared, "wheels/vedette.whl": made}))
        choice = random.Random(1).sample(sorted(own), len(own) // 20)
        own |= {path: own[path] + b"\nNEXT = 1\n" for path in choice}
    return found[0], found[1]


def at(package: str) -> Path:
    """Return a package's folder."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def wheel(folder: Path, changed: dict[Path, bytes] | None = None) -> bytes:
    """Return a package packed as wheels are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                data = (changed or {}).get(path) or path.read_bytes()
                entry = zipfile.ZipInfo(str(path.relative_to(folder.parent)))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, data)
    return buffer.getvalue()


def packed(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar; return where."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


if __name__ == "__main__":
    main()
