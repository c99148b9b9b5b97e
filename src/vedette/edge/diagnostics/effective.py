"""The configuration in effect, without secrets, and who decided which part of it."""

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from vedette.edge.desired import FOLDER, DesiredStore
from vedette.edge.diagnostics.redaction import Redactor
from vedette.wire.diagnostics import ConfigAnswer, Document, Origin
from vedette.wire.signed import DeviceSettings, Signed, SitePolicy

_SET = ("zones", "lines", "threshold", "labels", "off_hours", "regions")


def effective_configuration(state_dir: Path, store: DesiredStore, redactor: Redactor) -> bytes:
    """Return what this device runs by as a `ConfigAnswer` in JSON."""
    effective = store.effective
    plain: Any = msgspec.to_builtins(effective.config, enc_hook=str)
    config: Any = redactor.tree(plain)
    config["pixels"] = msgspec.to_builtins(effective.pixels)
    config["diagnostics"] = sorted(effective.diagnostics)
    answer = ConfigAnswer(
        config=config,
        documents=_documents(state_dir, store),
        origins=_origins(store),
        problems=[redactor.text(text) for text in store.problems[:20]],
    )
    return msgspec.json.format(msgspec.json.encode(answer), indent=2)


def _documents(state_dir: Path, store: DesiredStore) -> list[Document]:
    pairs: tuple[tuple[str, str, SitePolicy | DeviceSettings | None], ...] = (
        ("site_policy", "site", store.policy),
        ("settings", "central", store.settings),
    )
    return [
        Document(
            name=name,
            signer=signer,
            version=said.version,
            issued_ms=said.issued_ms,
            keyids=_keyids(state_dir / FOLDER / f"{name}.json"),
        )
        for name, signer, said in pairs
        if said is not None
    ]


def _keyids(path: Path) -> list[str]:
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        signed = msgspec.json.decode(path.read_bytes(), type=Signed)
        return [signature.keyid[:64] for signature in signed.signatures[:16]]
    return []


def _origins(store: DesiredStore) -> list[Origin]:
    """Return what is not the local file's own: later ones stand over earlier ones."""
    found: list[Origin] = []
    policy, settings = store.policy, store.settings
    if policy is not None:
        found += [Origin(part="pixels", signer="site"), Origin(part="diagnostics", signer="site")]
        for address in policy.cameras:
            names = ("source", "evidence_source", *(("name",) if address.name else ()))
            found += [Origin(part=f"cameras.{address.camera}.{n}", signer="site") for n in names]
    known = {camera.id for camera in store.effective.config.cameras}
    for camera in settings.cameras if settings else []:
        if camera.camera in known:
            found += [
                Origin(part=f"cameras.{camera.camera}.{name}", signer="central")
                for name in _SET
                if getattr(camera, name) is not None
            ]
    for name in ("report_period_s", "aggregate_period_s"):
        if settings is not None and getattr(settings, name):
            found.append(Origin(part=f"telemetry.{name}", signer="central"))
    if settings is not None and settings.uplink is not msgspec.UNSET:
        found += [
            Origin(part=f"uplink.{name}", signer="central")
            for name in ("backfill_kbit_s", "windows")
            if getattr(settings.uplink, name) is not None
        ]
    if store.time_zone_signer:
        found.append(Origin(part="time_zone", signer=store.time_zone_signer))
    return found
